/*
 * locks.c - locks for the API. Who asks first writes down what has lapsed: nobody runs all the
 * time.
 */
#include "lib/strong.h"

/* Between two looks at a lock that somebody else has. Nanoseconds. */
#define LOCK_POLL_NS 10000000ull

static bool lock_of(strata *s, const struct st_lease *from, strata_lock *out)
{
    *out = (strata_lock){
        .name = st_arena_text(&s->arena, from->name),
        .holder = st_arena_text(&s->arena, from->holder),
        .token = from->token,
        .held = st_strong_lease_holds(s->strong, from),
        .left_ms = st_lib_deadline_left(s, &from->deadline, from->earlier),
        .since_ms = from->since_ms,
    };
    return out->name != NULL && out->holder != NULL;
}

/* *first (may be NULL): what has to be written down of it, if `wanted`. */
static int lock_look(strata *s, const char *name, strata_lock *out, struct st_command *first,
                     bool *wanted)
{
    struct st_lease lease;
    memset(out, 0, sizeof *out);
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code code =
        st_lease_read(st_strong_ledger(s->strong), ST_LEASE_LOCK, st_str_of(name), &lease);
    int result = STRATA_OK;
    if (code != ST_OK && code != ST_NOT_FOUND)
        result = st_lib_fail(s, code, "the ledger cannot be read");
    else if (!lock_of(s, &lease, out))
        result = st_lib_fail(s, ST_NO_MEMORY, "out of memory");
    if (result == STRATA_OK && first != NULL) {
        *wanted = st_strong_expire(s->strong, &lease, first);
        first->key = st_str_of(name); /* the lease's own was lent */
    }
    st_strong_end(s->strong);
    return result;
}

struct asking {
    const char *name;
    uint64_t ttl_ms, run;
    strata_lock *out;
    bool got;
};

/* Asks for the lock, after `first` if that is wanted. */
static int lock_ask(strata *s, struct asking *a, const struct st_command *first, bool wanted)
{
    struct st_command entry[2];
    struct st_ledger_result results[2];
    size_t count = 0;
    if (wanted)
        entry[count++] = *first;
    entry[count++] = (struct st_command){
        .kind = ST_CMD_LEASE_ACQUIRE,
        .key = st_str_of(a->name),
        .lease = ST_LEASE_LOCK,
        .run = a->run,
        .deadline = st_strong_deadline(s->strong, a->ttl_ms * ST_NS_PER_MS),
    };
    int code = st_lib_submit(s, entry, count, results);
    if (code != STRATA_OK)
        return code;
    const struct st_ledger_result *last = &results[count - 1];
    if (last->verdict == ST_VERDICT_STALE)
        return st_lib_replaced(s);
    a->got = last->verdict == ST_VERDICT_DONE;
    if (!a->got)
        return STRATA_OK;
    struct st_lease mine = {
        .name = st_str_of(a->name),
        .holder = st_str_of(s->agent),
        .token = last->token,
        .held = true,
        .deadline = entry[count - 1].deadline,
        .since_ms = s->log.env->wall_ms(s->log.env->ctx),
    };
    return lock_of(s, &mine, a->out) ? code : st_lib_fail(s, ST_NO_MEMORY, "out of memory");
}

/* Looks why it is not to be had. If its holder's time is over, that is written down and the lock
 * asked for, as one entry. */
static int lock_again(strata *s, struct asking *a)
{
    struct st_command first;
    bool wanted = false;
    int code = lock_look(s, a->name, a->out, &first, &wanted);
    if (code != STRATA_OK || (a->out->held && !wanted))
        return code;
    code = lock_ask(s, a, &first, wanted);
    return code == STRATA_OK && !a->got ? lock_look(s, a->name, a->out, NULL, NULL) : code;
}

static int not_had(strata *s, const char *name, const strata_lock *l)
{
    st_lib_fail(s, ST_TIMEOUT, "%s is held by %s for another %llu s at most", name,
                l->holder != NULL && l->holder[0] != '\0' ? l->holder : "somebody",
                (unsigned long long)((l->left_ms + 999) / 1000));
    st_lib_hint(s, "go on with other work, or wait for it: --wait 60s");
    return ST_TIMEOUT;
}

int strata_lock_acquire(strata *s, const char *name, uint64_t ttl_ms, uint64_t wait_ms,
                        uint64_t run, strata_lock *out)
{
    const struct st_env *env = s->log.env;
    struct asking a = {.name = name, .ttl_ms = ttl_ms, .run = run, .out = out};
    memset(out, 0, sizeof *out);
    int code = st_lib_name(s, "lock's name", name);
    if (code == STRATA_OK && (ttl_ms == 0 || ttl_ms > ST_TERM_MS_MAX))
        code = st_lib_fail(s, ST_LIMIT, "a lock is for at most 30 days, unless it is renewed");
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    uint64_t start = env->boot_ns(env->ctx);
    if (code == STRATA_OK)
        code = lock_ask(s, &a, NULL, false);
    while (code == STRATA_OK && !a.got) {
        code = lock_again(s, &a);
        if (code != STRATA_OK || a.got)
            return code;
        if (env->boot_ns(env->ctx) - start >= wait_ms * ST_NS_PER_MS)
            return not_had(s, name, out);
        env->sleep_ns(env->ctx, LOCK_POLL_NS);
        st_arena_reset(&s->arena);
    }
    return code;
}

static int lock_command(strata *s, enum st_command_kind kind, const char *name, uint64_t token,
                        uint64_t ttl_ms)
{
    struct st_ledger_result result;
    int code = st_lib_name(s, "lock's name", name);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
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

int strata_fence(strata *s, const char *name, uint64_t token)
{
    strata_lock lock;
    int code = st_lib_name(s, "lock's name", name);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = st_lib_decides(s); /* what was current when the log was copied is not advice */
    if (code == STRATA_OK)
        code = lock_look(s, name, &lock, NULL, NULL);
    if (code != STRATA_OK || (lock.held && lock.token == token))
        return code;
    if (!lock.held)
        return st_lib_fail(s, ST_CONFLICT, "%s is held by nobody", name);
    return st_lib_fail(s, ST_CONFLICT, "the current token of %s is %llu (%s)", name,
                       (unsigned long long)lock.token,
                       lock.holder[0] != '\0' ? lock.holder : "somebody");
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
    if (code == STRATA_OK)
        code = st_lib_strong_begin(s);
    if (code != STRATA_OK)
        return code;
    struct locks l = {s, visit, arg, 0};
    code = st_lib_strong_end(
        s, st_lease_each(st_strong_ledger(s->strong), ST_LEASE_LOCK, visit_lock, &l));
    return code == STRATA_OK && l.result < 0 ? l.result : code;
}
