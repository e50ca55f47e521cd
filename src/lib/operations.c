/*
 * operations.c - once-only operations for the API: beginning and ending one, and the rounds of commands
 * that an answer takes.
 *
 * An executor that lives on while the operation runs has a run file, named by a random number,
 * which it locks before it asks for anything: an operation whose file is free has lost its
 * executor. One that comes and goes, command by command, has a term instead.
 */
#include "lib/operations.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* --- beginning -------------------------------------------------------------------------------- */

static int answer_of(const struct st_known_operation *known, enum st_verdict proposed)
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
static bool may_reissue(const struct st_known_operation *known)
{
    return known->state == ST_OPERATION_IN_DOUBT && !known->alive &&
           (known->class == ST_CLASS_IDEMPOTENT || known->class == ST_CLASS_KEYED);
}

/* It was not given out: what a dead executor left is written down, what may be repeated is issued
 * again, and then it is tried once more. */
static int try_again(strata *s, struct begin *b, strata_operation *operation,
                     struct st_known_operation *known)
{
    const char *key = b->request->key;
    struct st_ledger_result result;
    int code = st_operation_look(s, key, operation, known);
    bool changed = code == STRATA_OK && st_operation_orphaned(known);
    if (changed) {
        code = st_operation_bury(s, key, known);
        if (code == STRATA_OK)
            code = st_operation_look(s, key, operation, known);
    }
    if (code == STRATA_OK && may_reissue(known)) {
        struct st_command c = {.kind = ST_CMD_REISSUE, .key = st_str_of(key)};
        changed = true;
        code = st_lib_submit(s, &c, 1, &result);
    }
    if (code != STRATA_OK || !changed)
        return code;
    code = try_begin(s, b);
    return code == STRATA_OK ? st_operation_look(s, key, operation, known) : code;
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
    return st_operation_for_caller(s, &o, true, out) /* it is the caller's */
               ? STRATA_OK
               : st_lib_fail(s, ST_NO_MEMORY, "out of memory");
}

static int answer(strata *s, struct begin *b, strata_op_answer *out)
{
    struct st_known_operation known = {.state = ST_OPERATION_NONE};
    int code = try_begin(s, b);
    if (code == STRATA_OK && b->results[0].verdict == ST_VERDICT_STALE)
        return st_lib_replaced(s);
    bool is_new = b->granted && b->results[0].before == ST_OPERATION_NONE;
    if (code == STRATA_OK && is_new)
        code = new_operation(s, b, &out->operation);
    else if (code == STRATA_OK && b->granted)
        code = st_operation_look(s, b->request->key, &out->operation, &known);
    else if (code == STRATA_OK)
        code = try_again(s, b, &out->operation, &known);
    if (code != STRATA_OK)
        return code;
    out->answer = b->granted ? STRATA_OP_RUN : answer_of(&known, b->results[0].verdict);
    return STRATA_OK;
}

static int begin_run(strata *s, struct begin *b, strata_op_answer *out)
{
    if (b->term_ms == 0 && st_strong_run_begin(s->strong, &b->run, &b->fd) != ST_OK)
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

/* The file of an executor that is gone. That of the operation begun last is known; it serves again when
 * nobody will ask whether this one is alive. */
static void end_run(strata *s, const char *key, int executor, const struct st_ledger_result *r)
{
    strata_operation o;
    struct st_known_operation known = {.run = s->op_run};
    bool mine = s->op_run != 0 && executor == s->op_fd;
#ifdef ST_DEFECT_RUN_KEPT_IN_DOUBT
    bool over = true;
#else
    bool over = r->verdict == ST_VERDICT_DONE && r->state == ST_OPERATION_COMMITTED;
#endif
    close(executor);
    if (mine && over)
        st_strong_run_keep(s->strong, known.run);
    else if (mine || st_operation_look(s, key, &o, &known) == STRATA_OK)
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
    if (executor >= 0 && code == STRATA_OK)
        end_run(s, c->key.p, executor, &result);
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
