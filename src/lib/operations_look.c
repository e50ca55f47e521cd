/*
 * operations_look.c - once-only operations as they stand, and the judgement of who is alive.
 */
#include "lib/operations.h"

#include <stdlib.h>

const char *strata_op_state_name(int state)
{
    return st_operation_state_name((enum st_operation_state)state);
}

static bool operation_alive(strata *s, const struct st_operation *o)
{
    bool running = o->state == ST_OPERATION_GRANTED || o->state == ST_OPERATION_EXECUTING;
    return (running || (o->state == ST_OPERATION_IN_DOUBT && o->run != 0)) &&
           st_lib_alive(s, o->run, &o->deadline, o->earlier);
}

bool st_operation_for_caller(strata *s, const struct st_operation *from, bool alive,
                             strata_operation *out)
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
        .alive = alive,
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
    /* Nobody has written it down yet, but that is what it is. */
    if (from->state == ST_OPERATION_EXECUTING && !out->alive)
        out->state = STRATA_OP_IN_DOUBT;
    return true;
}

int st_operation_look(strata *s, const char *key, strata_operation *out,
                      struct st_known_operation *known)
{
    struct st_operation o;
    memset(known, 0, sizeof *known);
    memset(out, 0, sizeof *out);
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code code = st_operation_read(st_strong_ledger(s->strong), st_str_of(key), &o);
    int result = STRATA_OK;
    if (code == ST_OK) {
        *known = (struct st_known_operation){
            .state = o.state,
            .token = o.token,
            .run = o.run,
            .deadline = st_strong_deadline_here(s->strong, &o.deadline, o.earlier),
            .class = o.class,
            .needs_approval = o.needs_approval,
            .approved = o.approved};
        if (!st_operation_for_caller(s, &o, operation_alive(s, &o), out))
            result = st_lib_fail(s, ST_NO_MEMORY, "out of memory");
        known->alive = out->alive;
    } else if (code != ST_NOT_FOUND) {
        result = st_lib_fail(s, code, "the ledger cannot be read");
    }
    st_strong_end(s->strong);
    return result;
}

int st_operation_unknown(strata *s, const char *key)
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
    struct st_known_operation known;
    int code = st_lib_name(s, "key", key);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = st_operation_look(s, key, out, &known);
    return code == STRATA_OK && known.state == ST_OPERATION_NONE ? st_operation_unknown(s, key)
                                                                 : code;
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
    if (!st_operation_for_caller(l->s, o, operation_alive(l->s, o), &out))
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
    struct listing l = {s, state, limit, 0, visit, arg, 0};
    int code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = st_lib_strong_begin(s);
    if (code != STRATA_OK)
        return code;
    struct st_ledger *ledger = st_strong_ledger(s->strong);
    enum st_code got = st_operation_each(ledger, (enum st_operation_state)state, st_str_of(after),
                                         visit_operation, &l);
    /* What executes with nobody alive is in doubt, only not written down yet. */
    if (got == ST_OK && state == STRATA_OP_IN_DOUBT && l.result == 0 &&
        (limit == 0 || l.count < limit))
        got = st_operation_each(ledger, ST_OPERATION_EXECUTING, st_str_of(after), visit_operation,
                                &l);
    code = st_lib_strong_end(s, got);
    return code == STRATA_OK && l.result < 0 ? l.result : code;
}

/* --- executors that are gone ------------------------------------------------------------------- */

int st_operation_bury(strata *s, const char *key, const struct st_known_operation *known)
{
    struct st_command c = {.kind = ST_CMD_LAPSE, .key = st_str_of(key), .token = known->token};
    struct st_ledger_result result;
    if (known->run == 0)
        c.deadline = known->deadline; /* stale should it be renewed before this is ordered */
    int code = st_lib_submit(s, &c, 1, &result);
    if (code == STRATA_OK)
        st_strong_run_clear(s->strong, known->run);
    return code;
}

bool st_operation_orphaned(const struct st_known_operation *known)
{
    return (known->state == ST_OPERATION_GRANTED || known->state == ST_OPERATION_EXECUTING) &&
           !known->alive;
}
