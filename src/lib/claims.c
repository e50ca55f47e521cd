/*
 * claims.c - claims on tasks: one entry for each answer, with the lapses that it stands on. See
 * claims.h.
 */
#include "lib/claims_look.h"

#include <inttypes.h>
#include <stdio.h>

static struct st_command *add(struct st_claim_entry *e, enum st_command_kind kind, const char *name)
{
    ST_ASSERT(e->count < ST_ENTRY_COMMANDS_MAX);
    struct st_command *c = &e->commands[e->count++];
    *c = (struct st_command){.kind = kind, .key = st_str_of(name), .lease = ST_LEASE_CLAIM};
    return c;
}

/* Copies that are on disk already, by whoever's flush, are told for nothing; for more than these a
 * flush is made. Until they are told, every process looks at them. */
#define UNTOLD_MAX 32

static bool copies_durable(strata *s)
{
    struct st_dot d = s->claims_by;
    if (d.counter == 0 || st_log_durable(&s->log, d.writer.epoch, d.counter))
        return true;
    return s->claims_untold > UNTOLD_MAX &&
           st_log_wait_durable(&s->log, d.writer.epoch, d.counter) == ST_OK;
}

/* Whatever has been copied since the last entry is told first. */
static void entry_begin(strata *s, struct st_claim_entry *e)
{
    e->count = 0;
    if (s->claims_untold == 0 || !copies_durable(s))
        return;
    e->commands[e->count++] =
        (struct st_command){.kind = ST_CMD_CLAIM_COPIED, .position = s->claims_copied};
}

static int entry_submit(strata *s, struct st_claim_entry *e)
{
    int code = st_lib_submit(s, e->commands, e->count, e->results);
    if (code == STRATA_OK && e->commands[0].kind == ST_CMD_CLAIM_COPIED)
        s->claims_untold = 0;
    return code;
}

static struct st_deadline term(strata *s, uint64_t term_ms)
{
    return st_strong_deadline(s->strong,
                              (term_ms != 0 ? term_ms : ST_CLAIM_TERM_MS) * ST_NS_PER_MS);
}

static int check_writable(strata *s)
{
    return s->log.read_only
               ? st_lib_fail(s, ST_READ_ONLY,
                             "the state in %s is read-only here; nothing was recorded", s->log.dir)
               : STRATA_OK;
}

static int check_text(strata *s, const char *what, const char *text, size_t size)
{
    if (size > ST_CLAIM_TEXT_SIZE_MAX)
        return st_lib_fail(s, ST_LIMIT, "the %s is %zu bytes long; the limit is %d", what, size,
                           ST_CLAIM_TEXT_SIZE_MAX);
    return size == 0 || st_value_check((struct st_str){text, size}) == ST_OK
               ? STRATA_OK
               : st_lib_fail(s, ST_INVALID, "the %s has control characters or invalid UTF-8", what);
}

/* --- refusals --------------------------------------------------------------------------------- */

static const char *who(const char *agent)
{
    return agent[0] != '\0' ? agent : "somebody";
}

/* As people write it. */
static const char *id_of(const char *name)
{
    return name[0] == '#' ? name + 1 : name;
}

/* Why it is not to be had: by whom, and for how long. */
static void say_taken(const struct st_claim *c, char *out, size_t size)
{
    const char *id = id_of(c->name);
    if (st_claim_is_over(c->outcome))
        snprintf(out, size, "%s is %s (%s)", id, st_claim_outcome_name(c->outcome), who(c->holder));
    else if (c->held && c->left_ms > 0)
        snprintf(out, size, "%s is claimed by %s, for another %" PRIu64 " s at most", id,
                 who(c->holder), (c->left_ms + 999) / 1000);
    else if (c->held)
        snprintf(out, size, "%s is claimed by %s", id, who(c->holder));
    else
        snprintf(out, size, "%s is not claimed", id);
}

/* A command with a token was not carried out: says who has it now. */
static int refused(strata *s, const char *name, uint64_t token, const struct st_ledger_result *r)
{
    struct st_claim claim;
    char reason[400];
    if (r->verdict == ST_VERDICT_DONE || r->verdict == ST_VERDICT_SAME)
        return STRATA_OK;
    if (r->verdict == ST_VERDICT_INVALID)
        return st_lib_fail(s, ST_INVALID, "%s: not a valid command", name);
    int code = st_claim_look_all(s, &name, 1, &claim, NULL);
    if (code != STRATA_OK)
        return code;
    if (claim.token == 0)
        snprintf(reason, sizeof reason, "%s was never claimed", id_of(name));
    else if (claim.token == token && claim.outcome == ST_CLAIM_RETRY)
        snprintf(reason, sizeof reason, "%s was given back with this token", id_of(name));
    else
        say_taken(&claim, reason, sizeof reason);
    st_lib_fail(s, ST_CONFLICT, "not accepted: %s", reason);
    if (token > claim.token)
        st_lib_hint(s, "that token was never given out; without one your own live claim is meant");
    else if (token != 0 && claim.token != token)
        st_lib_hint(s, "your token is not the current one: your term had ended, and the task is no "
                       "longer yours. Stop working on it");
    return ST_CONFLICT;
}

/* --- taking ----------------------------------------------------------------------------------- */

static void add_end(struct st_claim_entry *e, const struct st_claim_end *end)
{
    struct st_command *c = add(e, ST_CMD_CLAIM_FINISH, end->name);
    c->lease = 0;
    c->token = end->token;
    c->outcome = end->outcome;
    c->result = (struct st_str){end->result, end->result_size};
}

static int check_end(strata *s, const struct st_claim_end *end)
{
    int code = st_claim_name_check(s, end->name, 0);
    return code == STRATA_OK ? check_text(s, "result", end->result, end->result_size) : code;
}

/* Of these one entry asks for some: for more than one, as somebody may be faster. */
#define FREE_MAX 64u
#define ASKED    4u
/* Whether a holder's process still lives is looked up so often; else its term counts. Nanoseconds. */
#define PROBE_NS 200000000ull
/* By who has work, and goes on: that costs a step as much as all the rest. */
#define PROBE_BUSY_NS 2000000000ull

/* Where many take at once each looks for its own among so many numbers, see find_granted(). */
#define SPREAD_MAX 4096u

/* What is known of the names that are wanted. */
struct choice {
    const char *const *names;
    size_t count, equal;
    size_t free[FREE_MAX]; /* which are free, in order */
    size_t free_count, free_equal;
    bool known;                 /* `free` needs no look */
    struct st_claim in_the_way; /* the first that is not free; name NULL: all are */
    size_t asked[FREE_MAX];     /* what the entry asks for */
    size_t asked_count;
};

/* Held, as far as one can tell without looking for its process. */
static bool surely_held(strata *s, const struct st_lease *lease)
{
    struct st_deadline d = st_strong_deadline_here(s->strong, &lease->deadline, lease->earlier);
    return lease->held && lease->run != 0 &&
           st_strong_deadline_state(s->strong, &d) == ST_DEADLINE_AHEAD;
}

static enum st_code choose_one(strata *s, struct choice *x, size_t i, bool probe,
                               struct st_claim_entry *e)
{
    struct st_claim c;
    if (!probe) {
        struct st_lease lease;
        enum st_code code = st_lease_read(st_strong_ledger(s->strong), ST_LEASE_CLAIM,
                                          st_str_of(x->names[i]), &lease);
        if (code == ST_OK && surely_held(s, &lease))
            return ST_OK;
    }
    enum st_code code = st_claim_look_one(s, x->names[i], &c, e);
    if (code != ST_OK)
        return code;
    if (!c.held && !st_claim_is_over(c.outcome)) {
        x->free[x->free_count++] = i;
        x->free_equal += i < x->equal;
    } else if (x->in_the_way.name == NULL && (c.held || x->count == 1)) {
        x->in_the_way = c;
    }
    return ST_OK;
}

static int choose(strata *s, struct choice *x, bool probe, size_t wanted, struct st_claim_entry *e)
{
    if (st_strong_peek(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code code = ST_OK;
    size_t room = ST_ENTRY_COMMANDS_MAX - ST_CLAIMS_MAX - 2;
    for (size_t i = 0; i < x->count && code == ST_OK && x->free_count < wanted && e->count < room;
         i++)
        code = choose_one(s, x, i, probe, e);
    st_strong_end(s->strong);
    return code == ST_OK ? STRATA_OK : st_lib_fail(s, code, "the ledger cannot be read");
}

/* Who was beaten to what it wanted looks further down the list, at a place of its own: of 64 that
 * all want the first, one gets it. */
static size_t start_at(strata *s, const struct choice *x)
{
    size_t among = x->free_equal > 0 ? x->free_equal : x->free_count;
    uint64_t random = 0;
    if (among > s->claim_spread)
        among = s->claim_spread;
    if (x->known || among < 2 || s->log.env->random(s->log.env->ctx, &random, sizeof random) < 0)
        return 0;
    return random % among;
}

static void ask(strata *s, struct choice *x, uint64_t term_ms, uint64_t run,
                struct st_claim_entry *e)
{
    size_t start = start_at(s, x);
    for (size_t k = 0; k < x->free_count && k < ASKED; k++) {
        size_t i = x->free[(start + k) % x->free_count];
        struct st_command *c = add(e, ST_CMD_LEASE_ACQUIRE, x->names[i]);
        c->alternative = true;
        c->run = run;
        c->deadline = term(s, term_ms);
        x->asked[x->asked_count++] = i;
    }
}

/* What the entry from `first` on was granted. */
static void find_granted(strata *s, const struct st_claim_entry *e, size_t first,
                         const struct choice *x, struct st_claim *out)
{
    size_t i = 0;
    while (i < x->asked_count && e->results[first + i].verdict != ST_VERDICT_DONE)
        i++;
    if (i < x->asked_count) {
        out->name = x->names[x->asked[i]];
        out->token = e->results[first + i].token;
        out->held = true;
        out->back = e->results[first + i].count > 0;
    }
    if (x->known || x->asked_count == 0)
        return;
    if (i == 0 && s->claim_spread > 1)
        s->claim_spread -= 1 + s->claim_spread / 16;
    else if (i > 0 && s->claim_spread < SPREAD_MAX)
        s->claim_spread = s->claim_spread * 2 + 1;
}

/* None was free: says so of the first that is in the way. */
static int none_free(strata *s, const struct choice *x, bool ended)
{
    char reason[400] = "others were faster";
    const struct st_claim *c = &x->in_the_way;
    if (c->name != NULL)
        say_taken(c, reason, sizeof reason);
    if (x->count == 1) {
        /* Behind an end a conflict would be that of the end. */
        enum st_code code = c->name == NULL || c->held || ended ? ST_TIMEOUT : ST_CONFLICT;
        st_lib_fail(s, code, "%s", reason);
        if (c->name != NULL && c->held && s->agent[0] != '\0' && strcmp(c->holder, s->agent) == 0)
            st_lib_hint(s,
                        "it is yours already: go on with it, or give it back (`strata release`)");
        return (int)code;
    }
    return st_lib_fail(s, ST_TIMEOUT, "none of %zu is free: %s", x->count, reason);
}

static int take(strata *s, struct choice *x, uint64_t term_ms, uint64_t run,
                const struct st_claim_end *end, struct st_claim *out)
{
    struct st_claim_entry e;
    uint64_t now = s->log.env->boot_ns(s->log.env->ctx);
    uint64_t every_ns = end != NULL ? PROBE_BUSY_NS : PROBE_NS;
    bool probe = x->count == 1 || s->claim_probed_ns == 0 || now - s->claim_probed_ns > every_ns;
    size_t wanted = s->claim_spread > 1 ? FREE_MAX : ASKED;
    entry_begin(s, &e);
    size_t told = e.count;
    int code = x->known ? STRATA_OK : choose(s, x, probe, wanted, &e);
    if (code == STRATA_OK && x->free_count == 0 && !probe) {
        probe = true;
        code = choose(s, x, probe, wanted, &e);
    }
    if (code != STRATA_OK)
        return code;
    if (probe && !x->known)
        s->claim_probed_ns = now;
    size_t end_at = e.count;
    if (end != NULL)
        add_end(&e, end);
    size_t first = e.count;
    ask(s, x, term_ms, run, &e);
    /* Terms of another clock begin anew here and now, or they would never end. */
    if (e.count > told)
        code = entry_submit(s, &e);
    if (code != STRATA_OK)
        return code;
    find_granted(s, &e, first, x, out);
    if (end != NULL && e.results[end_at].verdict != ST_VERDICT_DONE &&
        e.results[end_at].verdict != ST_VERDICT_SAME)
        return refused(s, end->name, end->token, &e.results[end_at]);
    if (out->token != 0 || x->count == 0)
        return STRATA_OK;
    if (x->asked_count > 0 && e.results[first].verdict == ST_VERDICT_STALE)
        return st_lib_replaced(s);
    if (x->known || x->count > 1 || x->asked_count == 0)
        return none_free(s, x, end != NULL);
    x->free_count = x->free_equal = 0;
    code = choose(s, x, true, 1, &e); /* somebody was faster: who? */
    return code == STRATA_OK ? none_free(s, x, end != NULL) : code;
}

static int take_chosen(strata *s, struct choice *x, uint64_t term_ms, uint64_t run,
                       const struct st_claim_end *end, struct st_claim *out)
{
    *out = (struct st_claim){.name = "", .holder = s->agent};
    int code = end != NULL ? check_end(s, end) : STRATA_OK;
    for (size_t i = 0; i < x->count && code == STRATA_OK; i++)
        code = st_claim_name_check(s, x->names[i], term_ms);
    if (code == STRATA_OK)
        code = check_writable(s);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    const struct st_env *env = s->log.env;
    uint64_t asked_ns = env->boot_ns(env->ctx);
    if (code == STRATA_OK)
        code = take(s, x, term_ms, run, end, out);
    out->outrun = out->token == 0 && x->asked_count > 0;
    if (out->token == 0)
        return code;
    out->incarnation = s->incarnation;
    out->run = run;
    out->since_ms = env->wall_ms(env->ctx);
    uint64_t term = term_ms != 0 ? term_ms : ST_CLAIM_TERM_MS;
    uint64_t spent_ms = (env->boot_ns(env->ctx) - asked_ns) / ST_NS_PER_MS;
    out->left_ms = spent_ms < term ? term - spent_ms : 0;
    if (run == 0)
        st_claims_touch_from(s, term);
    return code;
}

int st_claims_take(strata *s, const char *const *names, size_t count, size_t equal,
                   uint64_t term_ms, uint64_t run, const struct st_claim_end *end,
                   struct st_claim *out)
{
    struct choice x = {.names = names, .count = count, .equal = equal};
    return take_chosen(s, &x, term_ms, run, end, out);
}

int st_claims_take_free(strata *s, const char *name, uint64_t term_ms, uint64_t run,
                        const struct st_claim_end *end, struct st_claim *out)
{
    struct choice x = {.names = &name, .count = 1, .known = true, .free_count = 1};
    return take_chosen(s, &x, term_ms, run, end, out);
}

/* --- with a token ----------------------------------------------------------------------------- */

static int with_token(strata *s, struct st_claim_entry *e, const char *name, uint64_t token)
{
    int code = entry_submit(s, e);
    return code == STRATA_OK ? refused(s, name, token, &e->results[e->count - 1]) : code;
}

static int open_for(strata *s, const char *name, uint64_t term_ms, struct st_claim_entry *e)
{
    int code = st_claim_name_check(s, name, term_ms);
    if (code == STRATA_OK)
        code = check_writable(s);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        entry_begin(s, e);
    return code;
}

int st_claims_renew(strata *s, const char *name, uint64_t token, uint64_t term_ms)
{
    struct st_claim_entry e;
    int code = open_for(s, name, term_ms, &e);
    if (code != STRATA_OK)
        return code;
    struct st_command *c = add(&e, ST_CMD_LEASE_RENEW, name);
    c->token = token;
    c->deadline = term(s, term_ms);
    return with_token(s, &e, name, token);
}

int st_claims_release(strata *s, const char *name, uint64_t token)
{
    struct st_claim_entry e;
    int code = open_for(s, name, 0, &e);
    if (code != STRATA_OK)
        return code;
    add(&e, ST_CMD_LEASE_RELEASE, name)->token = token;
    return with_token(s, &e, name, token);
}

int st_claims_checkpoint(strata *s, const char *name, uint64_t token, const char *text, size_t size,
                         uint64_t term_ms)
{
    struct st_claim_entry e;
    int code = check_text(s, "checkpoint", text, size);
    if (code == STRATA_OK)
        code = open_for(s, name, term_ms, &e);
    if (code != STRATA_OK)
        return code;
    struct st_command *c = add(&e, ST_CMD_CLAIM_CHECKPOINT, name);
    c->lease = 0;
    c->token = token;
    c->deadline = term(s, term_ms);
    c->result = (struct st_str){text, size};
    return with_token(s, &e, name, token);
}

/* Whoever ends what nobody has claimed takes it for that, in the same entry. */
static int finish_unclaimed(strata *s, struct st_claim_entry *e, const struct st_claim_end *end)
{
    struct st_claim claim;
    int code = st_claim_look_all(s, &end->name, 1, &claim, e);
    if (code != STRATA_OK)
        return code;
    add(e, ST_CMD_LEASE_ACQUIRE, end->name)->deadline = term(s, 0);
    add_end(e, end);
    return with_token(s, e, end->name, 0);
}

int st_claims_finish(strata *s, const struct st_claim_end *end)
{
    struct st_claim_entry e;
    int code = check_end(s, end);
    if (code == STRATA_OK)
        code = open_for(s, end->name, 0, &e);
    if (code != STRATA_OK)
        return code;
    if (end->token == 0)
        return finish_unclaimed(s, &e, end);
    add_end(&e, end);
    return with_token(s, &e, end->name, end->token);
}

int st_claims_reopen(strata *s, const char *name, const char *reason)
{
    struct st_claim_entry e;
    struct st_claim claim;
    int code = st_lib_text_check(s, "reason", reason, false);
    if (code == STRATA_OK)
        code = open_for(s, name, 0, &e);
    if (code == STRATA_OK)
        code = st_claim_look_all(s, &name, 1, &claim, &e);
    if (code != STRATA_OK)
        return code;
    if (claim.token == 0)
        return STRATA_OK; /* never claimed: free */
    struct st_command *c = add(&e, ST_CMD_CLAIM_REOPEN, name);
    c->lease = 0;
    c->token = claim.token;
    c->evidence = st_str_of(reason);
    return with_token(s, &e, name, claim.token);
}

/* --- runs ------------------------------------------------------------------------------------- */

int st_claims_run_begin(strata *s, uint64_t *run, int *fd)
{
    int code = check_writable(s);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    return st_strong_run_begin(s->strong, run, fd) == ST_OK ? STRATA_OK : st_lib_strong_fault(s);
}

void st_claims_run_end(strata *s, uint64_t run, int fd)
{
    st_strong_run_end(s->strong, run, fd);
}
