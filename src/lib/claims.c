/*
 * claims.c - claims on tasks: one entry for each answer, with the lapses that it stands on. See
 * claims.h.
 */
#include "lib/claims.h"

#include "lib/strong.h"

#include <inttypes.h>
#include <stdio.h>

struct entry {
    struct st_command commands[ST_ENTRY_COMMANDS_MAX];
    struct st_ledger_result results[ST_ENTRY_COMMANDS_MAX];
    size_t count;
};

static struct st_command *add(struct entry *e, enum st_command_kind kind, const char *name)
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
static void entry_begin(strata *s, struct entry *e)
{
    e->count = 0;
    if (s->claims_untold == 0 || !copies_durable(s))
        return;
    e->commands[e->count++] =
        (struct st_command){.kind = ST_CMD_CLAIM_COPIED, .position = s->claims_copied};
}

static int entry_submit(strata *s, struct entry *e)
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

static int check_name(strata *s, const char *name, uint64_t term_ms)
{
    if (term_ms > ST_TERM_MS_MAX)
        return st_lib_fail(s, ST_LIMIT, "a claim is for 30 days at most");
    return st_lib_name(s, "claim's name", name);
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

/* --- looking ---------------------------------------------------------------------------------- */

static bool claim_of(strata *s, const struct st_lease *from, struct st_claim *out)
{
    *out = (struct st_claim){
        .name = st_arena_text(&s->arena, from->name),
        .holder = st_arena_text(&s->arena, from->holder),
        .token = from->token,
        .incarnation = from->incarnation,
        .run = from->run,
        .held = st_strong_lease_holds(s->strong, from),
        .outcome = from->outcome,
        .since_ms = from->since_ms,
        .left_ms = st_lib_deadline_left(s, &from->deadline, from->earlier),
    };
    return out->name != NULL && out->holder != NULL;
}

/* Reads one lease between begin and end; adds to the entry what has to be written down first. */
static enum st_code look_one(strata *s, const char *name, struct st_claim *out, struct entry *e)
{
    struct st_lease lease;
    enum st_code code =
        st_lease_read(st_strong_ledger(s->strong), ST_LEASE_CLAIM, st_str_of(name), &lease);
    if (code != ST_OK && code != ST_NOT_FOUND)
        return code;
    if (!claim_of(s, &lease, out))
        return ST_NO_MEMORY;
    struct st_command first;
    if (e != NULL && st_strong_expire(s->strong, &lease, &first)) {
        first.key = st_str_of(name); /* the lease's own was lent */
        ST_ASSERT(e->count < ST_ENTRY_COMMANDS_MAX);
        e->commands[e->count++] = first;
    }
    return ST_OK;
}

static int look_all(strata *s, const char *const *names, size_t count, struct st_claim *out,
                    struct entry *e)
{
    memset(out, 0, count * sizeof *out);
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code code = ST_OK;
    for (size_t i = 0; i < count && code == ST_OK; i++)
        code = look_one(s, names[i], &out[i], e);
    st_strong_end(s->strong);
    return code == ST_OK ? STRATA_OK : st_lib_fail(s, code, "the ledger cannot be read");
}

int st_claims_look(strata *s, const char *const *names, size_t count, struct st_claim *out)
{
    int code = STRATA_OK;
    for (size_t i = 0; i < count && code == STRATA_OK; i++)
        code = check_name(s, names[i], 0);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    return code == STRATA_OK ? look_all(s, names, count, out, NULL) : code;
}

struct listing {
    strata *s;
    int (*visit)(void *arg, const struct st_claim *c);
    void *arg;
    int result;
};

static enum st_code visit_held(void *arg, const struct st_lease *lease)
{
    struct listing *l = arg;
    struct st_claim claim;
    if (!claim_of(l->s, lease, &claim))
        return ST_NO_MEMORY;
    if (claim.held)
        l->result = l->visit(l->arg, &claim);
    return l->result != 0 ? ST_SCAN_STOP : ST_OK;
}

int st_claims_held_each(strata *s, const char *agent,
                        int (*visit)(void *arg, const struct st_claim *c), void *arg)
{
    struct listing l = {s, visit, arg, 0};
    int code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code got =
        st_claim_held_each(st_strong_ledger(s->strong), st_str_of(agent), visit_held, &l);
    st_strong_end(s->strong);
    if (got != ST_OK)
        return st_lib_fail(s, got, "the ledger cannot be read");
    return l.result < 0 ? l.result : STRATA_OK;
}

static bool lend(strata *s, struct st_str *text)
{
    const char *p = st_arena_text(&s->arena, *text);
    text->p = p;
    return p != NULL;
}

static enum st_code keep(strata *s, struct st_claim_kept *kept)
{
    return lend(s, &kept->by) && lend(s, &kept->result) && lend(s, &kept->checkpoint)
               ? ST_OK
               : ST_NO_MEMORY;
}

int st_claims_kept(strata *s, const char *name, struct st_claim_kept *out)
{
    int code = check_name(s, name, 0);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code got = st_claim_kept_read(st_strong_ledger(s->strong), st_str_of(name), out);
    if (got == ST_OK)
        got = keep(s, out);
    st_strong_end(s->strong);
    if (got == ST_NOT_FOUND)
        return st_lib_fail(s, got, "nobody has left anything for %s", name);
    return got == ST_OK ? STRATA_OK : st_lib_fail(s, got, "the ledger cannot be read");
}

/* --- refusals --------------------------------------------------------------------------------- */

static const char *who(const char *agent)
{
    return agent[0] != '\0' ? agent : "somebody";
}

/* Why it is not to be had: by whom, and for how long. */
static void say_taken(strata *s, const struct st_claim *c, char *out, size_t size)
{
    (void)s;
    if (c->outcome == ST_CLAIM_DONE || c->outcome == ST_CLAIM_FAILED)
        snprintf(out, size, "%s is %s (%s)", c->name, st_claim_outcome_name(c->outcome),
                 who(c->holder));
    else if (c->held && c->left_ms > 0)
        snprintf(out, size, "%s is claimed by %s, for another %" PRIu64 " s at most", c->name,
                 who(c->holder), (c->left_ms + 999) / 1000);
    else if (c->held)
        snprintf(out, size, "%s is claimed by %s", c->name, who(c->holder));
    else
        snprintf(out, size, "%s is not claimed", c->name);
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
    int code = look_all(s, &name, 1, &claim, NULL);
    if (code != STRATA_OK)
        return code;
    if (claim.token == 0)
        snprintf(reason, sizeof reason, "%s was never claimed", name);
    else if (claim.token == token && claim.outcome == ST_CLAIM_RETRY)
        snprintf(reason, sizeof reason, "%s was given back with this token", name);
    else
        say_taken(s, &claim, reason, sizeof reason);
    st_lib_fail(s, ST_CONFLICT, "not accepted: %s", reason);
    if (token != 0 && claim.token != 0 && claim.token != token)
        st_lib_hint(s, "your token is not the current one: your term had ended, and the task is no "
                       "longer yours. Stop working on it");
    return ST_CONFLICT;
}

/* --- taking ----------------------------------------------------------------------------------- */

static void add_end(struct entry *e, const struct st_claim_end *end)
{
    struct st_command *c = add(e, ST_CMD_CLAIM_FINISH, end->name);
    c->lease = 0;
    c->token = end->token;
    c->outcome = end->outcome;
    c->result = (struct st_str){end->result, end->result_size};
}

static int check_end(strata *s, const struct st_claim_end *end)
{
    int code = check_name(s, end->name, 0);
    return code == STRATA_OK ? check_text(s, "result", end->result, end->result_size) : code;
}

/* None was free: says so of the first that is in the way. */
static int none_free(strata *s, const struct st_claim *claims, size_t count)
{
    char reason[400];
    for (size_t i = 0; i < count; i++) {
        if (count > 1 && !claims[i].held)
            continue;
        say_taken(s, &claims[i], reason, sizeof reason);
        if (count > 1)
            return st_lib_fail(s, ST_TIMEOUT, "none of %zu is free: %s", count, reason);
        return st_lib_fail(s, claims[i].held ? ST_TIMEOUT : ST_CONFLICT, "%s", reason);
    }
    return st_lib_fail(s, ST_TIMEOUT, "none of %zu is free", count);
}

/* The first that was granted by the entry. */
static void find_granted(const struct entry *e, size_t first, const char *const *names,
                         const size_t *index, struct st_claim *out)
{
    for (size_t i = first; i < e->count; i++) {
        if (e->results[i].verdict != ST_VERDICT_DONE)
            continue;
        out->name = names[index[i - first]];
        out->token = e->results[i].token;
        out->held = true;
        return;
    }
}

static int take(strata *s, const char *const *names, size_t count, uint64_t term_ms, uint64_t run,
                const struct st_claim_end *end, struct st_claim *out)
{
    struct st_claim claims[ST_CLAIMS_MAX];
    size_t index[ST_CLAIMS_MAX], wanted = 0;
    struct entry e;
    entry_begin(s, &e);
    size_t told = e.count;
    int code = look_all(s, names, count, claims, &e);
    if (code != STRATA_OK)
        return code;
    size_t end_at = e.count;
    if (end != NULL)
        add_end(&e, end);
    size_t first = e.count;
    for (size_t i = 0; i < count; i++) {
        bool ended = claims[i].outcome == ST_CLAIM_DONE || claims[i].outcome == ST_CLAIM_FAILED;
        if (claims[i].held || ended)
            continue;
        struct st_command *c = add(&e, ST_CMD_LEASE_ACQUIRE, names[i]);
        c->alternative = true;
        c->run = run;
        c->deadline = term(s, term_ms);
        index[wanted++] = i;
    }
    /* Terms of another clock begin anew here and now, or they would never end. */
    if (e.count > told)
        code = entry_submit(s, &e);
    if (code != STRATA_OK)
        return code;
    if (wanted == 0 && end == NULL)
        return none_free(s, claims, count);
    find_granted(&e, first, names, index, out);
    if (end != NULL && e.results[end_at].verdict != ST_VERDICT_DONE &&
        e.results[end_at].verdict != ST_VERDICT_SAME)
        return refused(s, end->name, end->token, &e.results[end_at]);
    if (out->token != 0 || count == 0)
        return STRATA_OK;
    if (e.count > first && e.results[first].verdict == ST_VERDICT_STALE)
        return st_lib_replaced(s);
    code = look_all(s, names, count, claims, NULL); /* somebody was faster */
    return code == STRATA_OK ? none_free(s, claims, count) : code;
}

int st_claims_take(strata *s, const char *const *names, size_t count, uint64_t term_ms,
                   uint64_t run, const struct st_claim_end *end, struct st_claim *out)
{
    *out = (struct st_claim){.name = "", .holder = s->agent};
    if (count > ST_CLAIMS_MAX)
        return st_lib_fail(s, ST_LIMIT, "%zu claims at once; the limit is %d", count,
                           ST_CLAIMS_MAX);
    int code = end != NULL ? check_end(s, end) : STRATA_OK;
    for (size_t i = 0; i < count && code == STRATA_OK; i++)
        code = check_name(s, names[i], term_ms);
    if (code == STRATA_OK)
        code = check_writable(s);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    const struct st_env *env = s->log.env;
    uint64_t asked_ns = env->boot_ns(env->ctx);
    if (code == STRATA_OK)
        code = take(s, names, count, term_ms, run, end, out);
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

/* --- with a token ----------------------------------------------------------------------------- */

static int with_token(strata *s, struct entry *e, const char *name, uint64_t token)
{
    int code = entry_submit(s, e);
    return code == STRATA_OK ? refused(s, name, token, &e->results[e->count - 1]) : code;
}

static int open_for(strata *s, const char *name, uint64_t term_ms, struct entry *e)
{
    int code = check_name(s, name, term_ms);
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
    struct entry e;
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
    struct entry e;
    int code = open_for(s, name, 0, &e);
    if (code != STRATA_OK)
        return code;
    add(&e, ST_CMD_LEASE_RELEASE, name)->token = token;
    return with_token(s, &e, name, token);
}

int st_claims_checkpoint(strata *s, const char *name, uint64_t token, const char *text, size_t size,
                         uint64_t term_ms)
{
    struct entry e;
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
static int finish_unclaimed(strata *s, struct entry *e, const struct st_claim_end *end)
{
    struct st_claim claim;
    int code = look_all(s, &end->name, 1, &claim, e);
    if (code != STRATA_OK)
        return code;
    add(e, ST_CMD_LEASE_ACQUIRE, end->name)->deadline = term(s, 0);
    add_end(e, end);
    return with_token(s, e, end->name, 0);
}

int st_claims_finish(strata *s, const struct st_claim_end *end)
{
    struct entry e;
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
    struct entry e;
    struct st_claim claim;
    int code = st_lib_text_check(s, "reason", reason, false);
    if (code == STRATA_OK)
        code = open_for(s, name, 0, &e);
    if (code == STRATA_OK)
        code = look_all(s, &name, 1, &claim, &e);
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

/* --- the outbox ------------------------------------------------------------------------------- */

struct outbox {
    strata *s;
    int (*visit)(void *arg, const char *name, const struct st_claim_kept *kept);
    void *arg;
    int result;
};

static enum st_code visit_uncopied(void *arg, struct st_str name, const struct st_claim_kept *from)
{
    struct outbox *o = arg;
    struct st_claim_kept kept = *from;
    const char *text = st_arena_text(&o->s->arena, name);
    if (text == NULL || keep(o->s, &kept) != ST_OK)
        return ST_NO_MEMORY;
    o->result = o->visit(o->arg, text, &kept);
    st_arena_reset(&o->s->arena);
    return o->result != 0 ? ST_SCAN_STOP : ST_OK;
}

int st_claims_uncopied(strata *s,
                       int (*visit)(void *arg, const char *name, const struct st_claim_kept *kept),
                       void *arg)
{
    struct outbox o = {s, visit, arg, 0};
    int code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code got =
        st_claim_uncopied_each(st_strong_ledger(s->strong), s->claims_copied, visit_uncopied, &o);
    st_strong_end(s->strong);
    if (got != ST_OK)
        return st_lib_fail(s, got, "the ledger cannot be read");
    return o.result < 0 ? o.result : STRATA_OK;
}

void st_claims_copied(strata *s, uint64_t position, size_t count, struct st_dot by)
{
    if (position > s->claims_copied)
        s->claims_copied = position;
    s->claims_untold += count;
    s->claims_by = by;
}

/* --- runs ------------------------------------------------------------------------------------- */

int st_claims_run_begin(strata *s, uint64_t *run, int *fd)
{
    int code = check_writable(s);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    *run = st_lib_run_id(s);
    if (*run == 0)
        return st_lib_fail(s, ST_IO, "no random numbers; nothing was recorded");
    return st_strong_run_begin(s->strong, *run, fd) == ST_OK ? STRATA_OK : st_lib_strong_fault(s);
}

void st_claims_run_end(strata *s, uint64_t run, int fd)
{
    st_strong_run_end(s->strong, run, fd);
}
