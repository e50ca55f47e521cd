/*
 * operations_decide.c - what is decided about once-only operations: by persons, by the check of a
 * queryable one; and which results are forgotten.
 */
#include "lib/operations.h"

#include <stdio.h>

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
        return st_operation_unknown(s, c->key.p);
    return person_refused(s, c, what, &result);
}

/* Looks at what is to be settled; writes down what a dead executor left. */
static int settle_prepare(strata *s, const char *key, size_t result_size,
                          struct st_known_operation *known)
{
    strata_operation o;
    int code = st_lib_name(s, "key", key);
    if (code == STRATA_OK && result_size > ST_RESULT_SIZE_MAX)
        code = st_lib_fail(s, ST_LIMIT, "the result is %zu bytes long; the limit is %d",
                           result_size, ST_RESULT_SIZE_MAX);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = st_operation_look(s, key, &o, known);
    if (code == STRATA_OK && st_operation_orphaned(known)) {
        code = st_operation_bury(s, key, known);
        if (code == STRATA_OK)
            code = st_operation_look(s, key, &o, known);
    }
    if (code != STRATA_OK)
        return code;
    if (known->state == ST_OPERATION_NONE)
        return st_operation_unknown(s, key);
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
    struct st_known_operation known;
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
    struct st_known_operation known;
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
    int code = st_lib_strong_begin(s);
    if (code != STRATA_OK)
        return code;
    return st_lib_strong_end(s, st_operation_each(st_strong_ledger(s->strong), ST_OPERATION_NONE,
                                                  st_str_of(after), visit_prunable, p));
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
