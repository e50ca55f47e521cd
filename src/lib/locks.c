/*
 * locks.c - locks for the API. Who asks first writes down what has lapsed: nobody runs all the
 * time.
 */
#include "lib/strong.h"

/* Between two looks at a lock that somebody else has. Nanoseconds. */
#define LOCK_POLL_NS 10000000ull

static bool lock_of(strata *s, const struct st_lease *from, strata_lock *out)
{
    struct st_deadline deadline = st_lib_deadline(s, &from->deadline, from->earlier);
    *out = (strata_lock){
        .name = st_arena_text(&s->arena, from->name),
        .holder = st_arena_text(&s->arena, from->holder),
        .token = from->token,
        .held = from->held,
        .since_ms = from->since_ms,
    };
    bool passed;
    out->left_ms = st_lib_deadline_left(s, &deadline, &passed);
    out->held = out->held && !passed;
    return out->name != NULL && out->holder != NULL;
}

static int lock_look(strata *s, const char *name, strata_lock *out, struct st_deadline *deadline,
                     bool *written_held)
{
    struct st_lease lease;
    memset(out, 0, sizeof *out);
    *deadline = (struct st_deadline){0};
    *written_held = false;
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code code =
        st_lease_read(st_strong_ledger(s->strong), ST_LEASE_LOCK, st_str_of(name), &lease);
    int result = STRATA_OK;
    if (code == ST_OK) {
        *deadline = st_lib_deadline(s, &lease.deadline, lease.earlier);
        *written_held = lease.held;
        if (!lock_of(s, &lease, out))
            result = st_lib_fail(s, ST_NO_MEMORY, "out of memory");
    } else if (code != ST_NOT_FOUND) {
        result = st_lib_fail(s, code, "the ledger cannot be read");
    }
    st_strong_end(s->strong);
    return result;
}

/* Before a lock is asked for: what lapsed is written down; a deadline of another boot or time name
 * space starts one full term anew. */
static int lock_prepare(strata *s, const char *name, strata_lock *lock)
{
    struct st_deadline deadline;
    bool held;
    struct st_ledger_result result;
    int code = lock_look(s, name, lock, &deadline, &held);
    if (code != STRATA_OK || !held)
        return code;
    struct st_command c = {.key = st_str_of(name), .lease = ST_LEASE_LOCK, .token = lock->token};
    switch (st_strong_deadline_state(s->strong, &deadline)) {
    case ST_DEADLINE_PASSED:
        c.kind = ST_CMD_LEASE_LAPSE;
        c.deadline = deadline; /* stale should it be renewed before this is ordered */
        break;
    case ST_DEADLINE_OTHER_CLOCK:
        c.kind = ST_CMD_LEASE_REARM;
        c.deadline = st_strong_deadline(s->strong, deadline.term_ns);
        break;
    default:
        return STRATA_OK;
    }
    return st_lib_submit(s, &c, 1, &result);
}

static int lock_try(strata *s, const char *name, uint64_t ttl_ms, strata_lock *out, bool *got)
{
    struct st_deadline deadline;
    bool held;
    *got = false;
    int code = lock_prepare(s, name, out);
    if (code == STRATA_OK)
        code = lock_look(s, name, out, &deadline, &held);
    if (code != STRATA_OK || held)
        return code;
    struct st_ledger_result result;
    struct st_command c = {
        .kind = ST_CMD_LEASE_ACQUIRE,
        .key = st_str_of(name),
        .lease = ST_LEASE_LOCK,
        .deadline = st_strong_deadline(s->strong, ttl_ms * ST_NS_PER_MS),
    };
    code = st_lib_submit(s, &c, 1, &result);
    *got = code == STRATA_OK && result.verdict == ST_VERDICT_DONE;
    return code == STRATA_OK ? lock_look(s, name, out, &deadline, &held) : code;
}

int strata_lock_acquire(strata *s, const char *name, uint64_t ttl_ms, uint64_t wait_ms,
                        strata_lock *out)
{
    const struct st_env *env = s->log.env;
    memset(out, 0, sizeof *out);
    int code = st_lib_name(s, "lock's name", name);
    if (code == STRATA_OK && (ttl_ms == 0 || ttl_ms > 30ull * 24 * 3600 * 1000))
        code = st_lib_fail(s, ST_LIMIT, "a lock is for 1 ms to 30 days");
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    uint64_t start = env->boot_ns(env->ctx);
    bool got = false;
    while (code == STRATA_OK) {
        code = lock_try(s, name, ttl_ms, out, &got);
        if (code != STRATA_OK || got)
            return code;
        if (env->boot_ns(env->ctx) - start >= wait_ms * ST_NS_PER_MS)
            return st_lib_fail(s, ST_TIMEOUT, "%s is held by %s for another %llu s at most", name,
                               out->holder != NULL && out->holder[0] != '\0' ? out->holder
                                                                             : "somebody",
                               (unsigned long long)((out->left_ms + 999) / 1000));
        env->sleep_ns(env->ctx, LOCK_POLL_NS);
        st_arena_reset(&s->arena);
    }
    return code;
}

static int lock_command(strata *s, enum st_command_kind kind, const char *name, uint64_t token,
                        uint64_t ttl_ms)
{
    struct st_ledger_result result;
    strata_lock lock;
    int code = st_lib_name(s, "lock's name", name);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = lock_prepare(s, name, &lock);
    if (code != STRATA_OK)
        return code;
    struct st_command c = {
        .kind = kind, .key = st_str_of(name), .lease = ST_LEASE_LOCK, .token = token};
    if (kind == ST_CMD_LEASE_RENEW)
        c.deadline = st_strong_deadline(s->strong, ttl_ms * ST_NS_PER_MS);
    code = st_lib_submit(s, &c, 1, &result);
    if (code != STRATA_OK || result.verdict == ST_VERDICT_DONE || result.verdict == ST_VERDICT_SAME)
        return code;
    st_lib_fail(s, ST_CONFLICT, "%s is no longer yours: token %llu is not the current one", name,
                (unsigned long long)token);
    st_lib_hint(s, "stop what it protects; what you wrote since may be refused");
    return ST_CONFLICT;
}

int strata_lock_renew(strata *s, const char *name, uint64_t token, uint64_t ttl_ms)
{
    return lock_command(s, ST_CMD_LEASE_RENEW, name, token, ttl_ms);
}

int strata_lock_release(strata *s, const char *name, uint64_t token)
{
    return lock_command(s, ST_CMD_LEASE_RELEASE, name, token, 0);
}

struct locks {
    strata *s;
    int (*visit)(void *arg, const strata_lock *l);
    void *arg;
    int result;
};

static enum st_code visit_lock(void *arg, const struct st_lease *lease)
{
    struct locks *l = arg;
    strata_lock out;
    st_arena_reset(&l->s->arena);
    if (!lock_of(l->s, lease, &out))
        return ST_NO_MEMORY;
    if (!out.held)
        return ST_OK;
    l->result = l->visit(l->arg, &out);
    return l->result != 0 ? ST_SCAN_STOP : ST_OK;
}

int strata_lock_each(strata *s, int (*visit)(void *arg, const strata_lock *l), void *arg)
{
    int code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    struct locks l = {s, visit, arg, 0};
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code got = st_lease_each(st_strong_ledger(s->strong), ST_LEASE_LOCK, visit_lock, &l);
    st_strong_end(s->strong);
    if (got != ST_OK)
        return st_lib_fail(s, got, "the ledger cannot be read");
    return l.result < 0 ? l.result : STRATA_OK;
}
