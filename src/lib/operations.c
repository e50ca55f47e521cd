/*
 * operations.c - once-only operations for the API: the rounds of commands that an answer takes, and
 * the judgement of who is alive.
 *
 * An executor that lives on while the operation runs has a run file, named by a random number,
 * which it locks before it asks for anything: an operation whose file is free has lost its
 * executor. One that comes and goes, command by command, has a term instead.
 */
#include "lib/strong.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

const char *strata_op_state_name(int state)
{
    return st_operation_state_name((enum st_operation_state)state);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Copies what the store lends. */
static bool operation_of(strata *s, const struct st_operation *from, strata_operation *out)
{
    char *result = st_arena_take(&s->arena, from->result.n + 1);
    *out = (strata_operation){
        .key = st_arena_text(&s->arena, from->key),
        .state = (int)from->state,
        .op_class = (int)from->class,
        .token = from->token,
        .attempts = from->attempts,
        .runs = from->runs,
        .holder = st_arena_text(&s->arena, from->holder),
        .needs_approval = from->needs_approval,
        .approved = from->approved,
        .proposed_ms = from->proposed_ms,
        .started_ms = from->started_ms,
        .ended_ms = from->ended_ms,
        .result = result,
        .result_size = from->result.n,
        .evidence = st_arena_text(&s->arena, from->evidence),
        .person = st_arena_text(&s->arena, from->person),
    };
    if (result == NULL || out->key == NULL || out->holder == NULL || out->evidence == NULL ||
        out->person == NULL)
        return false;
    if (from->result.n > 0)
        memcpy(result, from->result.p, from->result.n);
    bool running = from->state == ST_OPERATION_GRANTED || from->state == ST_OPERATION_EXECUTING;
    out->alive = (running || (from->state == ST_OPERATION_IN_DOUBT && from->run != 0)) &&
                 st_lib_alive(s, from->run, &from->deadline, from->earlier);
    /* Nobody has written it down yet, but that is what it is. */
    if (from->state == ST_OPERATION_EXECUTING && !out->alive)
        out->state = STRATA_OP_IN_DOUBT;
    return true;
}

/* What is needed of an operation after the store has moved on. */
struct known {
    enum st_operation_state state;
    uint64_t token, run;
    bool alive;
    struct st_deadline deadline;
    enum st_operation_class class;
    bool needs_approval, approved;
};

static int look(strata *s, const char *key, strata_operation *out, struct known *known)
{
    struct st_operation o;
    memset(known, 0, sizeof *known);
    memset(out, 0, sizeof *out);
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code code = st_operation_read(st_strong_ledger(s->strong), st_str_of(key), &o);
    int result = STRATA_OK;
    if (code == ST_OK) {
        *known =
            (struct known){.state = o.state,
                           .token = o.token,
                           .run = o.run,
                           .deadline = st_strong_deadline_here(s->strong, &o.deadline, o.earlier),
                           .class = o.class,
                           .needs_approval = o.needs_approval,
                           .approved = o.approved};
        if (!operation_of(s, &o, out))
            result = st_lib_fail(s, ST_NO_MEMORY, "out of memory");
        known->alive = out->alive;
    } else if (code != ST_NOT_FOUND) {
        result = st_lib_fail(s, code, "the ledger cannot be read");
    }
    st_strong_end(s->strong);
    return result;
}

/* Known before and pruned, or never heard of; a copy that does not decide cannot know that. */
static int unknown_key(strata *s, const char *key)
{
    enum st_operation_state state;
    uint64_t ended_ms;
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code code =
        st_pruned_read(st_strong_ledger(s->strong), st_str_of(key), &state, &ended_ms);
    st_strong_end(s->strong);
    if (code == ST_OK)
        return st_lib_fail(s, ST_NOT_FOUND, "%s was known before (%s); its result was pruned", key,
                           st_operation_state_name(state));
    if (code != ST_NOT_FOUND)
        return st_lib_fail(s, code, "the ledger cannot be read");
    int elsewhere = st_lib_decides(s);
    return elsewhere == STRATA_OK ? st_lib_fail(s, ST_NOT_FOUND, "no operation has the key %s", key)
                                  : elsewhere;
}

int strata_op_get(strata *s, const char *key, strata_operation *out)
{
    struct known known;
    int code = st_lib_name(s, "key", key);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = look(s, key, out, &known);
    return code == STRATA_OK && known.state == ST_OPERATION_NONE ? unknown_key(s, key) : code;
}

struct listing {
    strata *s;
    int state;
    size_t limit, count;
    int (*visit)(void *arg, const strata_operation *o);
    void *arg;
    int result;
};

static enum st_code visit_operation(void *arg, const struct st_operation *o)
{
    struct listing *l = arg;
    strata_operation out;
    st_arena_reset(&l->s->arena);
    if (!operation_of(l->s, o, &out))
        return ST_NO_MEMORY;
    if (l->state != STRATA_OP_UNKNOWN && out.state != l->state)
        return ST_OK;
    l->result = l->visit(l->arg, &out);
    l->count++;
    bool enough = l->limit != 0 && l->count >= l->limit;
    return l->result != 0 || enough ? ST_SCAN_STOP : ST_OK;
}

int strata_op_each(strata *s, int state, const char *after, size_t limit,
                   int (*visit)(void *arg, const strata_operation *o), void *arg)
{
    int code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    struct listing l = {s, state, limit, 0, visit, arg, 0};
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    struct st_ledger *ledger = st_strong_ledger(s->strong);
    enum st_code got = st_operation_each(ledger, (enum st_operation_state)state, st_str_of(after),
                                         visit_operation, &l);
    /* What executes with nobody alive is in doubt, only not written down yet. */
    if (got == ST_OK && state == STRATA_OP_IN_DOUBT && l.result == 0 &&
        (limit == 0 || l.count < limit))
        got = st_operation_each(ledger, ST_OPERATION_EXECUTING, st_str_of(after), visit_operation,
                                &l);
    st_strong_end(s->strong);
    if (got != ST_OK)
        return st_lib_fail(s, got, "the ledger cannot be read");
    return l.result < 0 ? l.result : STRATA_OK;
}

/* --- beginning -------------------------------------------------------------------------------- */

/* Writes down what a dead executor left: it was granted and never started, or it is in doubt. */
static int bury(strata *s, const char *key, const struct known *known)
{
    struct st_command c = {.kind = ST_CMD_LAPSE, .key = st_str_of(key), .token = known->token};
    struct st_ledger_result result;
    if (known->run == 0)
        c.deadline = known->deadline; /* stale should it be renewed before this is ordered */
    return st_lib_submit(s, &c, 1, &result);
}

static bool orphaned(const struct known *known)
{
    return (known->state == ST_OPERATION_GRANTED || known->state == ST_OPERATION_EXECUTING) &&
           !known->alive;
}

static int answer_of(const struct known *known, enum st_verdict proposed)
{
    if (proposed == ST_VERDICT_MISMATCH)
        return STRATA_OP_MISMATCH;
    if (proposed == ST_VERDICT_PRUNED)
        return STRATA_OP_PRUNED;
    switch (known->state) {
    case ST_OPERATION_COMMITTED:
        return STRATA_OP_REPLAY;
    case ST_OPERATION_FAILED:
    case ST_OPERATION_EXPIRED:
        return STRATA_OP_ENDED;
    case ST_OPERATION_IN_DOUBT:
        return STRATA_OP_DOUBT;
    case ST_OPERATION_PROPOSED:
        return known->needs_approval && !known->approved ? STRATA_OP_APPROVAL : STRATA_OP_BUSY;
    default:
        return STRATA_OP_BUSY;
    }
}

/* A key that is to be begun. */
struct begin {
    const strata_op_request *request;
    uint64_t term_ms, now_ms;
    bool only_grant;
    uint64_t run; /* 0: it has a term instead */
    int fd;       /* of the run file; -1: none */
    struct st_ledger_result results[3];
    bool granted;
};

static struct st_command propose_of(const struct begin *b)
{
    const strata_op_request *r = b->request;
    XXH128_hash_t hash = XXH3_128bits(r->parameters, r->parameters_size);
    uint64_t valid = ST_HAS(r, valid_for_ms) ? r->valid_for_ms : 0;
    return (struct st_command){
        .kind = ST_CMD_PROPOSE,
        .key = st_str_of(r->key),
        .parameters = {hash.low64, hash.high64},
        .class = (enum st_operation_class)r->op_class,
        .valid_until_ms = valid != 0 ? b->now_ms + valid : 0,
        .needs_approval = ST_HAS(r, needs_approval) && r->needs_approval,
    };
}

/* Propose, grant and start in one entry: either all of it is on disk before the caller may act, or
 * the caller may not. */
static int try_begin(strata *s, struct begin *b)
{
    b->now_ms = s->log.env->wall_ms(s->log.env->ctx);
    struct st_command entry[3] = {propose_of(b)};
    entry[1] = (struct st_command){.kind = ST_CMD_GRANT, .key = entry[0].key, .run = b->run};
    entry[2] = (struct st_command){.kind = ST_CMD_START, .key = entry[0].key};
    if (b->term_ms != 0)
        entry[1].deadline = st_strong_deadline(s->strong, b->term_ms * ST_NS_PER_MS);
    int code = st_lib_submit(s, entry, b->only_grant ? 2 : 3, b->results);
    b->granted = code == STRATA_OK && b->results[1].verdict == ST_VERDICT_DONE &&
                 (b->only_grant || b->results[2].verdict == ST_VERDICT_DONE);
    return code;
}

/* May an operation in doubt be run again without asking anybody? */
static bool may_reissue(const struct known *known)
{
    return known->state == ST_OPERATION_IN_DOUBT && !known->alive &&
           (known->class == ST_CLASS_IDEMPOTENT || known->class == ST_CLASS_KEYED);
}

/* It was not given out: what a dead executor left is written down, what may be repeated is issued
 * again, and then it is tried once more. */
static int try_again(strata *s, struct begin *b, strata_operation *operation, struct known *known)
{
    const char *key = b->request->key;
    struct st_ledger_result result;
    int code = look(s, key, operation, known);
    bool changed = code == STRATA_OK && orphaned(known);
    if (changed) {
        code = bury(s, key, known);
        if (code == STRATA_OK)
            code = look(s, key, operation, known);
    }
    if (code == STRATA_OK && may_reissue(known)) {
        struct st_command c = {.kind = ST_CMD_REISSUE, .key = st_str_of(key)};
        changed = true;
        code = st_lib_submit(s, &c, 1, &result);
    }
    if (code != STRATA_OK || !changed)
        return code;
    code = try_begin(s, b);
    return code == STRATA_OK ? look(s, key, operation, known) : code;
}

/* A key that was new with this entry has no more history than this. */
static int new_operation(strata *s, const struct begin *b, strata_operation *out)
{
    struct st_command propose = propose_of(b);
    struct st_operation o = {
        .key = propose.key,
        .state = b->only_grant ? ST_OPERATION_GRANTED : ST_OPERATION_EXECUTING,
        .class = propose.class,
        .token = b->results[1].token,
        .attempts = 1,
        .runs = 1,
        .holder = st_str_of(s->agent),
        .run = b->run,
        .proposed_ms = b->now_ms,
        .started_ms = b->only_grant ? 0 : b->now_ms,
    };
    if (b->term_ms != 0)
        o.deadline = st_strong_deadline(s->strong, b->term_ms * ST_NS_PER_MS);
    return operation_of(s, &o, out) ? STRATA_OK : st_lib_fail(s, ST_NO_MEMORY, "out of memory");
}

static int answer(strata *s, struct begin *b, strata_op_answer *out)
{
    struct known known = {.state = ST_OPERATION_NONE};
    int code = try_begin(s, b);
    if (code == STRATA_OK && b->results[0].verdict == ST_VERDICT_STALE)
        return st_lib_replaced(s);
    bool is_new = b->granted && b->results[0].before == ST_OPERATION_NONE;
    if (code == STRATA_OK && is_new)
        code = new_operation(s, b, &out->operation);
    else if (code == STRATA_OK && b->granted)
        code = look(s, b->request->key, &out->operation, &known);
    else if (code == STRATA_OK)
        code = try_again(s, b, &out->operation, &known);
    if (code != STRATA_OK)
        return code;
    out->answer = b->granted ? STRATA_OP_RUN : answer_of(&known, b->results[0].verdict);
    return STRATA_OK;
}

static int begin_run(strata *s, struct begin *b, strata_op_answer *out)
{
    if (b->term_ms == 0 && (b->run = st_lib_run_id(s)) == 0)
        return st_lib_fail(s, ST_IO, "no random numbers; nothing was recorded");
    if (b->run != 0 && st_strong_run_begin(s->strong, b->run, &b->fd) != ST_OK)
        return st_lib_strong_fault(s);
    int code = answer(s, b, out);
    if (code == STRATA_OK && b->granted) {
        out->token = b->results[1].token;
        out->executor = s->op_fd = b->fd;
        s->op_run = b->run;
    } else if (b->run != 0) {
        st_strong_run_end(s->strong, b->run, b->fd);
    }
    return code;
}

static int check_term(strata *s, uint64_t term_ms)
{
    return term_ms <= ST_TERM_MS_MAX ? STRATA_OK
                                     : st_lib_fail(s, ST_LIMIT, "a term is at most 30 days");
}

int strata_op_begin(strata *s, const strata_op_request *request, strata_op_answer *out)
{
    memset(out, 0, sizeof *out);
    out->executor = -1;
    int code = st_lib_name(s, "key", request->key);
    if (code == STRATA_OK &&
        (request->op_class < STRATA_NAKED || request->op_class > STRATA_IDEMPOTENT))
        code = st_lib_fail(s, ST_USAGE, "no operation has the class %d", request->op_class);
    if (code == STRATA_OK && ST_HAS(request, term_ms))
        code = check_term(s, request->term_ms);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (s->log.read_only)
        return st_lib_fail(s, ST_READ_ONLY,
                           "the state in %s is read-only here; nothing was "
                           "recorded",
                           s->log.dir);
    struct begin b = {
        .request = request,
        .term_ms = ST_HAS(request, term_ms) ? request->term_ms : 0,
        .only_grant = ST_HAS(request, only_grant) && request->only_grant,
        .fd = -1,
    };
    return begin_run(s, &b, out);
}

/* --- ending ----------------------------------------------------------------------------------- */

/* The file of an executor that is gone. That of the operation begun last is known. */
static void clear_run(strata *s, const char *key, int executor)
{
    strata_operation o;
    struct known known = {.run = s->op_run};
    bool mine = s->op_run != 0 && executor == s->op_fd;
    if (mine || look(s, key, &o, &known) == STRATA_OK)
        st_strong_run_clear(s->strong, known.run);
    s->op_run = 0;
}

/* In words: a caller that is refused must know whether to make the call. */
static int not_accepted(strata *s, const struct st_command *c, const struct st_ledger_result *r)
{
    bool stale = r->verdict == ST_VERDICT_STALE;
    st_lib_fail(s, ST_CONFLICT, "%s: not accepted%s; it is %s", c->key.p,
                stale ? ": its current token is another one" : "",
                st_operation_state_name(r->state));
    if (c->kind == ST_CMD_START && r->state == ST_OPERATION_EXECUTING && !stale)
        st_lib_hint(s, "it was started before: do not make the call a second time");
    else if (c->kind == ST_CMD_START)
        st_lib_hint(s, "do not make the call; ask anew with the same key (strata op begin)");
    else if (r->state == ST_OPERATION_GRANTED && !stale)
        st_lib_hint(s, "nobody has said that the call was made: strata op start comes before it");
    else
        st_lib_hint(s,
                    "it was given to somebody else since, or has ended, or a person has decided: "
                    "strata op show tells");
    return ST_CONFLICT;
}

static int end_with(strata *s, struct st_command *c, int executor)
{
    struct st_ledger_result result;
    int code = st_lib_name(s, "key", c->key.p);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = st_lib_submit(s, c, 1, &result);
    /* Only now: until the report is on disk, the executor counts as alive. */
    if (executor >= 0 && code == STRATA_OK) {
        close(executor);
        clear_run(s, c->key.p, executor);
    }
    if (code != STRATA_OK || result.verdict == ST_VERDICT_DONE || result.verdict == ST_VERDICT_SAME)
        return code;
    return not_accepted(s, c, &result);
}

int strata_op_report(strata *s, const char *key, uint64_t token, const void *result,
                     size_t result_size, int executor)
{
    if (result_size > ST_RESULT_SIZE_MAX)
        return st_lib_fail(s, ST_LIMIT, "the result is %zu bytes long; the limit is %d",
                           result_size, ST_RESULT_SIZE_MAX);
    struct st_command c = {.kind = ST_CMD_REPORT,
                           .key = st_str_of(key),
                           .token = token,
                           .result = {result, result_size}};
    return end_with(s, &c, executor);
}

int strata_op_refuse(strata *s, const char *key, uint64_t token, const char *proof, int executor)
{
    int code = st_lib_text_check(s, "proof", proof, true);
    if (code != STRATA_OK)
        return code;
    struct st_command c = {
        .kind = ST_CMD_REFUSE, .key = st_str_of(key), .token = token, .evidence = st_str_of(proof)};
    return end_with(s, &c, executor);
}

int strata_op_abandon(strata *s, const char *key, uint64_t token, int executor)
{
    struct st_command c = {.kind = ST_CMD_LAPSE, .key = st_str_of(key), .token = token};
    return end_with(s, &c, executor);
}

int strata_op_start(strata *s, const char *key, uint64_t token)
{
    struct st_command c = {.kind = ST_CMD_START, .key = st_str_of(key), .token = token};
    if (token == 0) /* would mean: of the grant before it */
        return st_lib_fail(s, ST_USAGE, "start needs the token that begin gave out");
    return end_with(s, &c, -1);
}

int strata_op_renew(strata *s, const char *key, uint64_t token, uint64_t term_ms)
{
    struct st_command c = {.kind = ST_CMD_RENEW, .key = st_str_of(key), .token = token};
    int code = check_term(s, term_ms);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (term_ms == 0 || token == 0)
        return st_lib_fail(s, ST_USAGE, "renew needs a term, and the token that begin gave out");
    c.deadline = st_strong_deadline(s->strong, term_ms * ST_NS_PER_MS);
    return end_with(s, &c, -1);
}

/* --- pruning ---------------------------------------------------------------------------------- */

/* Of one entry. */
#define PRUNE_MAX (ST_ENTRY_COMMANDS_MAX - 1)

struct prunable {
    strata *s;
    uint64_t limit_ms;
    struct st_command commands[PRUNE_MAX];
    size_t count;
};

static enum st_code visit_prunable(void *arg, const struct st_operation *o)
{
    struct prunable *p = arg;
    bool ended = o->state == ST_OPERATION_COMMITTED || o->state == ST_OPERATION_FAILED ||
                 o->state == ST_OPERATION_EXPIRED;
    if (!ended || o->ended_ms >= p->limit_ms)
        return ST_OK;
    const char *key = st_arena_text(&p->s->arena, o->key);
    if (key == NULL)
        return ST_NO_MEMORY;
    p->commands[p->count++] =
        (struct st_command){.kind = ST_CMD_PRUNE, .key = {key, o->key.n}, .limit_ms = p->limit_ms};
    return p->count == PRUNE_MAX ? ST_SCAN_STOP : ST_OK;
}

/* The next ones behind a key. Looking holds nobody up, however many there are. */
static int look_prunable(strata *s, const char *after, struct prunable *p)
{
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code code = st_operation_each(st_strong_ledger(s->strong), ST_OPERATION_NONE,
                                          st_str_of(after), visit_prunable, p);
    st_strong_end(s->strong);
    return code == ST_OK ? STRATA_OK : st_lib_fail(s, code, "the ledger cannot be read");
}

int strata_op_prune(strata *s, uint64_t older_than_ms, uint64_t *count)
{
    struct st_ledger_result results[PRUNE_MAX];
    struct prunable p = {.s = s, .count = PRUNE_MAX};
    char after[ST_KEY_SIZE_MAX + 1] = "";
    uint64_t now = s->log.env->wall_ms(s->log.env->ctx);
    *count = 0;
    if (older_than_ms >= now)
        return st_lib_fail(s, ST_USAGE, "nothing is as old as that");
    p.limit_ms = now - older_than_ms;
    int code = st_lib_strong_open(s);
    while (code == STRATA_OK && p.count == PRUNE_MAX) {
        p.count = 0;
        st_arena_reset(&s->arena);
        code = look_prunable(s, after, &p);
        if (code == STRATA_OK && p.count > 0)
            code = st_lib_submit(s, p.commands, p.count, results);
        for (size_t i = 0; i < p.count && code == STRATA_OK; i++)
            *count += results[i].verdict == ST_VERDICT_DONE;
        if (p.count > 0)
            snprintf(after, sizeof after, "%s", p.commands[p.count - 1].key.p);
    }
    return code;
}

/* --- persons ---------------------------------------------------------------------------------- */

static int person_refused(strata *s, const struct st_command *c, const char *what,
                          const struct st_ledger_result *r)
{
    if (r->verdict == ST_VERDICT_PRUNED)
        return st_lib_fail(s, ST_CONFLICT, "%s cannot be %s: its result was pruned", c->key.p,
                           what);
    st_lib_fail(s, ST_CONFLICT, "%s cannot be %s: it is %s", c->key.p, what,
                st_operation_state_name(r->state));
    st_lib_hint(s, c->kind == ST_CMD_SETTLE ? "only what is in doubt is settled; what has ended is "
                                              "run once more by strata op again"
                   : c->kind == ST_CMD_AGAIN
                       ? "only what has ended is run once more; what is in "
                         "doubt is settled first (strata op settle)"
                       : "only what waits for approval is approved or rejected");
    return ST_CONFLICT;
}

static int by_person(strata *s, struct st_command *c, const char *what)
{
    struct st_ledger_result result;
    int code = st_lib_name(s, "key", c->key.p);
    if (code == STRATA_OK)
        code = st_lib_text_check(s, "name of the person", c->person.p, true);
    if (code == STRATA_OK)
        code = st_lib_text_check(s, "reason or evidence", c->evidence.p, c->kind != ST_CMD_APPROVE);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = st_lib_submit(s, c, 1, &result);
    if (code != STRATA_OK || result.verdict == ST_VERDICT_DONE)
        return code;
    if (result.state == ST_OPERATION_NONE && result.verdict != ST_VERDICT_PRUNED)
        return unknown_key(s, c->key.p);
    return person_refused(s, c, what, &result);
}

/* Looks at what is to be settled; writes down what a dead executor left. */
static int settle_prepare(strata *s, const char *key, size_t result_size, struct known *known)
{
    strata_operation o;
    int code = st_lib_name(s, "key", key);
    if (code == STRATA_OK && result_size > ST_RESULT_SIZE_MAX)
        code = st_lib_fail(s, ST_LIMIT, "the result is %zu bytes long; the limit is %d",
                           result_size, ST_RESULT_SIZE_MAX);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = look(s, key, &o, known);
    if (code == STRATA_OK && orphaned(known)) {
        code = bury(s, key, known);
        if (code == STRATA_OK)
            code = look(s, key, &o, known);
    }
    if (code != STRATA_OK)
        return code;
    if (known->state == ST_OPERATION_NONE)
        return unknown_key(s, key);
    if (o.alive && known->state != ST_OPERATION_GRANTED) {
        st_lib_fail(s, ST_UNAVAILABLE, "%s: %s, so its outcome is not final", key,
                    known->run != 0 ? "something of it still runs"
                                    : "whoever began it may still report, as its term is not over");
        st_lib_hint(s, known->run != 0 ? "end that process first, then settle"
                                       : "settle when the term is over");
        return ST_UNAVAILABLE;
    }
    return STRATA_OK;
}

int strata_op_checked(strata *s, const char *key, const char *evidence, const void *result,
                      size_t result_size)
{
    struct known known;
    struct st_ledger_result answer;
    int code = st_lib_text_check(s, "evidence", evidence, true);
    if (code == STRATA_OK)
        code = settle_prepare(s, key, result_size, &known);
    if (code != STRATA_OK)
        return code;
    /* Only that it happened: that nothing did needs that nothing can come any more, and a
     * descendant that closed its descriptors does not show. */
    struct st_command c = {
        .kind = ST_CMD_SETTLE,
        .key = st_str_of(key),
        .token = known.token,
        .outcome = ST_OUTCOME_COMMITTED,
        .evidence = st_str_of(evidence),
        .result = {result, result_size},
        .quiescent = true,
        .by_check = true,
    };
    code = st_lib_submit(s, &c, 1, &answer);
    if (code == STRATA_OK && answer.verdict == ST_VERDICT_PERSON)
        return st_lib_fail(s, ST_DENIED, "%s is not of class queryable: a person settles it", key);
    if (code == STRATA_OK && answer.verdict != ST_VERDICT_DONE)
        return st_lib_fail(s, ST_CONFLICT, "%s cannot be settled: it is %s", key,
                           st_operation_state_name(answer.state));
    return code;
}

int strata_op_settle(strata *s, const char *key, int outcome, const char *person,
                     const char *evidence, const void *result, size_t result_size)
{
    struct known known;
    int code = settle_prepare(s, key, result_size, &known);
    if (code != STRATA_OK)
        return code;
    struct st_command c = {
        .kind = ST_CMD_SETTLE,
        .key = st_str_of(key),
        .token = known.token,
        .outcome = (enum st_outcome)outcome,
        .person = st_str_of(person),
        .evidence = st_str_of(evidence),
        .result = {result, result_size},
        .quiescent = true,
    };
    code = by_person(s, &c, "settled");
    if (code == STRATA_OK)
        st_strong_run_clear(s->strong, known.run);
    return code;
}

int strata_op_decide(strata *s, const char *key, bool approve, const char *person,
                     const char *reason)
{
    struct st_command c = {.kind = approve ? ST_CMD_APPROVE : ST_CMD_REJECT,
                           .key = st_str_of(key),
                           .person = st_str_of(person),
                           .evidence = st_str_of(reason)};
    return by_person(s, &c, approve ? "approved" : "rejected");
}

int strata_op_again(strata *s, const char *key, const char *person, const char *reason)
{
    struct st_command c = {.kind = ST_CMD_AGAIN,
                           .key = st_str_of(key),
                           .person = st_str_of(person),
                           .evidence = st_str_of(reason)};
    return by_person(s, &c, "run again");
}
