/*
 * due.c - deadlines. Nobody runs all the time: whoever gives a command first writes down what has
 * expired by then.
 *
 * Every deadline that counts has a row: 'X' clock ns kind token name, all numbers 8 bytes, in the
 * order in which they will pass on that clock. `kind` is 'o' for an operation, '0' + kind for a
 * lease; the token is 0 but for reservations, of which one pattern may have many. Rows are made and
 * removed while commands are applied, by comparing what their subject had before and has
 * afterwards; so they are as much part of the state as the rows of the ledger.
 *
 * Looking is cheap: with none due, one word that all processes share (st_due) says so; else one
 * scan from the first row of this clock to the first that is still ahead. What was decided on a
 * view that is old by now does no harm: the command names the deadline that it saw pass, and is
 * refused if that was renewed.
 *
 * A deadline on another clock (another boot, another time name space) cannot be compared with this
 * one. It begins one full term anew here, once: it is rearmed. For those a handle looks at its
 * first command, and at LOOK_MAX rows at most: they are the leftovers of a reboot, and every
 * command takes some of them away.
 */
#include "strong/strong_internal.h"

#include <string.h>

/* Rows that are looked at, at one time. */
#define LOOK_MAX 64

/* Expiries of one entry: what is due comes in a trickle, and a caller should not wait for all of a
 * fleet's. */
#define EXPIRIES_MAX 16
/* When to look again at what is due but whose executor still lives. */
#define AGAIN_NS 1000000000ull

/* 'X' clock ns kind token */
#define ROW_KEY_FIXED (1 + 8 + 8 + 1 + 8)

/* --- rows ------------------------------------------------------------------------------------- */

static struct st_str row_key(struct st_strong *s, const struct st_due_subject *of,
                             const struct st_deadline *d)
{
    char fixed[ROW_KEY_FIXED];
    fixed[0] = 'X';
    st_put_u64(fixed + 1, d->clock);
    st_put_u64(fixed + 9, d->ns);
    fixed[17] = of->kind;
    st_put_u64(fixed + 18, of->token);
    st_buf_reset(&s->key);
    st_buf_add(&s->key, fixed, sizeof fixed);
    st_buf_add_str(&s->key, of->name);
    return st_buf_str(&s->key);
}

static bool row_parse(struct st_str key, struct st_due_subject *of, struct st_deadline *d)
{
    if (key.n <= ROW_KEY_FIXED || key.p[0] != 'X')
        return false;
    *d = (struct st_deadline){.clock = st_get_u64(key.p + 1), .ns = st_get_u64(key.p + 9)};
    *of = (struct st_due_subject){.kind = key.p[17],
                                  .name = {key.p + ROW_KEY_FIXED, key.n - ROW_KEY_FIXED},
                                  .token = st_get_u64(key.p + 18)};
    return true;
}

/* --- what a subject has ----------------------------------------------------------------------- */

static enum st_lease_kind lease_kind(const struct st_due_subject *of)
{
    return (enum st_lease_kind)(of->kind - '0');
}

static void deadline_add(struct st_due_subject *of, const struct st_deadline *newest,
                         const struct st_deadline *earlier)
{
    of->count = 0;
    if (newest->clock != 0)
        of->deadlines[of->count++] = *newest;
    for (size_t i = 0; i < ST_EARLIER_MAX && earlier[i].clock != 0; i++)
        of->deadlines[of->count++] = earlier[i];
}

/* How a subject stands. */
struct standing {
    enum st_operation_state state;
    uint64_t token, run;
};

/* Fills of->deadlines and *as. */
static enum st_code subject_read(struct st_strong *s, struct st_due_subject *of,
                                 struct standing *as)
{
    struct st_operation op;
    struct st_lease lease;
    enum st_code code;
    of->count = 0;
    *as = (struct standing){.token = of->token};
    if (of->kind == 'o') {
        code = st_operation_read(&s->ledger, of->name, &op);
        if (code != ST_OK)
            return code == ST_NOT_FOUND ? ST_OK : code;
        deadline_add(of, &op.deadline, op.earlier);
        *as = (struct standing){op.state, op.token, op.run};
        return ST_OK;
    }
    code = of->kind == '0' + ST_LEASE_PATH
               ? st_reservation_read(&s->ledger, of->name, of->token, &lease)
               : st_lease_read(&s->ledger, lease_kind(of), of->name, &lease);
    if (code != ST_OK)
        return code == ST_NOT_FOUND ? ST_OK : code;
    if (lease.held)
        deadline_add(of, &lease.deadline, lease.earlier);
    as->token = lease.token;
    as->run = lease.run;
    return ST_OK;
}

/* What a command is about, if it may change a deadline. */
static void subject_of(const struct st_command *c, struct st_due_subject *out)
{
    *out = (struct st_due_subject){.name = c->key};
    switch (c->kind) {
    case ST_CMD_RESERVE:
    case ST_CMD_UNRESERVE:
        out->kind = '0' + ST_LEASE_PATH;
        out->token = c->token;
        break;
    case ST_CMD_LEASE_ACQUIRE:
    case ST_CMD_LEASE_RENEW:
    case ST_CMD_LEASE_RELEASE:
    case ST_CMD_LEASE_LAPSE:
    case ST_CMD_LEASE_REARM:
        out->kind = (char)('0' + c->lease);
        out->token = c->lease == ST_LEASE_PATH ? c->token : 0;
        break;
    case ST_CMD_CLAIM_CHECKPOINT:
    case ST_CMD_CLAIM_FINISH:
    case ST_CMD_CLAIM_REOPEN:
        out->kind = '0' + ST_LEASE_CLAIM;
        break;
    case ST_CMD_CLAIM_COPIED:
    case ST_CMD_START: /* these leave deadlines as they are */
    case ST_CMD_APPROVE:
    case ST_CMD_CLEAR:
    case ST_CMD_SEAL:
    case ST_CMD_GENERATION:
    case ST_CMD_PRUNE:
        break;
    default:
        out->kind = 'o';
    }
}

/* --- while applying --------------------------------------------------------------------------- */

enum st_code st_due_before(struct st_strong *s, const struct st_command *c,
                           struct st_due_subject *out)
{
    struct standing as;
    subject_of(c, out);
    return out->kind != 0 && out->name.n > 0 ? subject_read(s, out, &as) : ST_OK;
}

/* Everybody's next look must not be later than this. Whichever clock the bound is for: too early a
 * look only costs one. */
static void due_lower(struct st_strong *s, uint64_t ns)
{
    uint64_t *bound = &s->order->due->ns;
    uint64_t old = st_atomic_load(bound);
    while (ns < old && !st_atomic_replace(bound, &old, ns))
        ;
}

static bool has(const struct st_due_subject *of, const struct st_deadline *d)
{
    for (size_t i = 0; i < of->count; i++)
        if (of->deadlines[i].clock == d->clock && of->deadlines[i].ns == d->ns)
            return true;
    return false;
}

static enum st_code row_put(struct st_strong *s, const struct st_due_subject *of,
                            const struct st_deadline *d)
{
    const struct st_kv *kv = s->order->kv;
    struct st_str key = row_key(s, of, d);
    if (s->key.failed)
        return ST_NO_MEMORY;
    enum st_code code = kv->put(kv->ctx, key, ST_STR(""));
    due_lower(s, d->ns);
    return code;
}

static enum st_code row_del(struct st_strong *s, const struct st_due_subject *of,
                            const struct st_deadline *d)
{
    const struct st_kv *kv = s->order->kv;
    struct st_str key = row_key(s, of, d);
    return s->key.failed ? ST_NO_MEMORY : kv->del(kv->ctx, key);
}

enum st_code st_due_after(struct st_strong *s, const struct st_command *c,
                          const struct st_ledger_result *result, struct st_due_subject *before)
{
    struct standing as;
    if (before->kind == 0 || before->name.n == 0)
        return ST_OK;
    struct st_due_subject now = *before;
    /* A new reservation has its token only now. */
    if (now.kind == '0' + ST_LEASE_PATH && now.token == 0)
        now.token = result->verdict == ST_VERDICT_DONE ? result->token : 0;
    enum st_code code = subject_read(s, &now, &as);
    for (size_t i = 0; i < before->count && code == ST_OK; i++)
        if (!has(&now, &before->deadlines[i]))
            code = row_del(s, before, &before->deadlines[i]);
    for (size_t i = 0; i < now.count && code == ST_OK; i++)
        if (!has(before, &now.deadlines[i]))
            code = row_put(s, &now, &now.deadlines[i]);
    /* A row whose subject went another way (pruned, in doubt after a forced move): what was said to
     * have passed is not looked at again. */
    if (code == ST_OK && c->deadline.clock != 0 && !has(&now, &c->deadline))
        code = row_del(s, &now, &c->deadline);
    return code;
}

/* --- looking ---------------------------------------------------------------------------------- */

struct look {
    struct st_buf *names; /* keys of rows, each with its length (2 bytes) before it */
    uint64_t clock, now;
    size_t count, seen;
    uint64_t ahead; /* the first deadline on this clock that has not passed; UINT64_MAX: none */
};

static enum st_code note(struct look *l, struct st_str key)
{
    st_buf_add_char(l->names, (char)(unsigned char)(key.n >> 8));
    st_buf_add_char(l->names, (char)(unsigned char)key.n);
    st_buf_add_str(l->names, key);
    l->count++;
    return l->names->failed ? ST_NO_MEMORY : ST_OK;
}

static enum st_code visit_own(void *arg, struct st_str key, struct st_str value)
{
    struct look *l = arg;
    struct st_due_subject of;
    struct st_deadline d;
    (void)value;
    if (!row_parse(key, &of, &d))
        return ST_DAMAGED;
    if (d.ns > l->now || l->count == LOOK_MAX) {
        l->ahead = d.ns;
        return ST_SCAN_STOP;
    }
    return note(l, key);
}

static enum st_code visit_other(void *arg, struct st_str key, struct st_str value)
{
    struct look *l = arg;
    struct st_due_subject of;
    struct st_deadline d;
    (void)value;
    if (!row_parse(key, &of, &d))
        return ST_DAMAGED;
    if (d.clock == l->clock || l->seen == LOOK_MAX)
        return ST_SCAN_STOP;
    l->seen++;
    return note(l, key);
}

static enum st_code look_own(struct st_strong *s, struct look *l)
{
    const struct st_kv *kv = s->order->kv;
    char prefix[9] = {'X'};
    st_put_u64(prefix + 1, l->clock);
    return kv->scan(kv->ctx, (struct st_str){prefix, sizeof prefix}, (struct st_str){NULL, 0},
                    visit_own, l);
}

/* The rows on clocks before this one, then those on clocks behind it. */
static enum st_code look_other(struct st_strong *s, struct look *l)
{
    const struct st_kv *kv = s->order->kv;
    char behind[9 + 1] = {'X'};
    enum st_code code = kv->scan(kv->ctx, ST_STR("X"), (struct st_str){NULL, 0}, visit_other, l);
    if (code != ST_OK || l->seen == LOOK_MAX || l->clock == UINT64_MAX)
        return code;
    st_put_u64(behind + 1, l->clock + 1);
    return kv->scan(kv->ctx, ST_STR("X"), (struct st_str){behind, 9}, visit_other, l);
}

/* The command that a row asks for now. False: none (rearmed already). */
static enum st_code command_for(struct st_strong *s, struct look *l, struct st_str key,
                                struct st_command *out, bool *wanted)
{
    struct st_due_subject of;
    struct st_deadline d;
    struct standing as;
    *wanted = true;
    if (!row_parse(key, &of, &d))
        return ST_DAMAGED;
    enum st_code code = subject_read(s, &of, &as);
    if (code != ST_OK)
        return code;
    bool operation = of.kind == 'o', counts = has(&of, &d);
    *out = (struct st_command){.key = of.name, .token = as.token, .deadline = d};
    if (!operation)
        out->lease = lease_kind(&of);
#ifdef ST_DEFECT_OTHER_CLOCK_COMPARED
    if (d.clock != l->clock && counts)
        d.clock = l->clock;
#endif
    if (d.clock != l->clock && counts) {
        /* Its newest term, once on this clock. */
        struct st_deadline here = st_deadline_on(&of.deadlines[0], of.deadlines + 1, l->clock);
        *wanted = here.clock == 0;
        out->kind = operation ? ST_CMD_REARM : ST_CMD_LEASE_REARM;
        out->deadline = (struct st_deadline){l->clock, l->now + of.deadlines[0].term_ns,
                                             of.deadlines[0].term_ns};
        return ST_OK;
    }
    /* No operation lost an executor that lives, whatever its deadline says (core/ledger.h). */
    if (operation && counts && as.run != 0 && st_strong_run_alive(s, as.run)) {
        *wanted = false;
        l->ahead = l->ahead < l->now + AGAIN_NS ? l->ahead : l->now + AGAIN_NS;
        return ST_OK;
    }
    if (operation && counts && as.state == ST_OPERATION_PROPOSED)
        out->kind = ST_CMD_EXPIRE;
    else
        out->kind = operation ? ST_CMD_LAPSE : ST_CMD_LEASE_LAPSE;
    /* Of a subject that went another way: refused, and the row is gone. */
    if (out->kind != ST_CMD_EXPIRE && out->token == 0)
        out->token = 1;
    return ST_OK;
}

static enum st_code commands_for(struct st_strong *s, struct look *l, struct st_command *out,
                                 size_t max, size_t *count)
{
    struct st_str rest = st_buf_str(l->names);
    enum st_code code = ST_OK;
    while (rest.n > 0 && code == ST_OK) {
        if (*count == max) { /* the rest is for the next */
            l->ahead = l->now;
            break;
        }
        size_t n = (size_t)(unsigned char)rest.p[0] << 8 | (unsigned char)rest.p[1];
        bool wanted;
        code = command_for(s, l, (struct st_str){rest.p + 2, n}, &out[*count], &wanted);
        if (code == ST_OK && wanted)
            ++*count;
        rest.p += 2 + n;
        rest.n -= 2 + n;
    }
    return code;
}

/*
 * Before a look: what is applied from here on lowers the bound again. Until the look has come to
 * its end nothing is known, and everybody looks for himself: the clock is a mark of this look, as
 * no clock has it. Stored twice, so that whoever is killed in between leaves a mark.
 */
static uint64_t bound_lift(struct st_strong *s)
{
    struct st_due *due = s->order->due;
    uint64_t mark = 0;
    (void)s->env->random(s->env->ctx, &mark, sizeof mark); /* 0 is no clock, either */
    st_atomic_store(&due->clock, mark);
    st_atomic_store(&due->ns, UINT64_MAX);
    st_atomic_store(&due->clock, mark);
    return mark;
}

/* After it: the bound holds, unless somebody has begun another look meanwhile. */
static void bound_set(struct st_strong *s, uint64_t mark, const struct look *l)
{
    due_lower(s, l->ahead);
    st_atomic_replace(&s->order->due->clock, &mark, l->clock);
}

enum st_code st_due_collect(struct st_strong *s, struct st_command *out, size_t max, size_t *count)
{
    struct st_order *o = s->order;
    struct st_due *due = o->due;
    struct look l = {.names = &s->names, .ahead = UINT64_MAX};
    *count = 0;
    max = max < EXPIRIES_MAX ? max : EXPIRIES_MAX;
#ifdef ST_DEFECT_NO_EXPIRY
    return ST_OK;
#endif
    o->engine->clock(o, &l.clock, &l.now);
    if (max == 0 ||
        (s->looked && st_atomic_load(&due->clock) == l.clock && st_atomic_load(&due->ns) > l.now))
        return ST_OK;
    uint64_t mark = bound_lift(s);
    enum st_code code = st_strong_begin(s);
    if (code != ST_OK)
        return code;
    st_buf_reset(&s->names);
    code = look_own(s, &l);
    if (code == ST_OK && !s->looked)
        code = look_other(s, &l);
    if (code == ST_OK)
        code = commands_for(s, &l, out, max, count);
    st_strong_end(s);
    if (code != ST_OK)
        return st_fail(&s->fault, code, "the deadlines of the ledger cannot be read");
    /* What is due is not yet ordered, and perhaps never will be: the next one looks, too. */
    if (*count > 0)
        return ST_OK;
    bound_set(s, mark, &l);
    s->looked = true;
    return ST_OK;
}

/* --- for callers ------------------------------------------------------------------------------ */

struct st_deadline st_strong_deadline(struct st_strong *s, uint64_t term_ns)
{
    struct st_deadline d = {.term_ns = term_ns};
    s->order->engine->clock(s->order, &d.clock, &d.ns);
    d.ns += term_ns;
    return d;
}

enum st_deadline_state st_strong_deadline_state(struct st_strong *s, const struct st_deadline *d)
{
    uint64_t clock, now;
    s->order->engine->clock(s->order, &clock, &now);
    if (d->clock == 0)
        return ST_DEADLINE_NONE;
    if (d->clock != clock)
        return ST_DEADLINE_OTHER_CLOCK;
    return now >= d->ns ? ST_DEADLINE_PASSED : ST_DEADLINE_AHEAD;
}

struct st_deadline st_strong_deadline_here(struct st_strong *s, const struct st_deadline *newest,
                                           const struct st_deadline *earlier)
{
    uint64_t clock, now;
    s->order->engine->clock(s->order, &clock, &now);
    struct st_deadline d = st_deadline_on(newest, earlier, clock);
    return d.clock != 0 ? d : *newest;
}

bool st_strong_lease_holds(struct st_strong *s, const struct st_lease *lease)
{
    struct st_deadline d = st_strong_deadline_here(s, &lease->deadline, lease->earlier);
    return lease->held && st_strong_deadline_state(s, &d) != ST_DEADLINE_PASSED &&
           (lease->run == 0 || st_strong_run_alive(s, lease->run));
}

bool st_strong_expire(struct st_strong *s, const struct st_lease *lease, struct st_command *out)
{
    struct st_deadline d = st_strong_deadline_here(s, &lease->deadline, lease->earlier);
    *out = (struct st_command){.kind = ST_CMD_LEASE_LAPSE,
                               .lease = lease->kind,
                               .key = lease->name,
                               .token = lease->token};
    if (!lease->held)
        return false;
    if (lease->run != 0 && !st_strong_run_alive(s, lease->run)) {
        st_strong_run_clear(s, lease->run);
        return true;
    }
    out->deadline = d; /* stale should it be renewed before this is ordered */
    if (st_strong_deadline_state(s, &d) != ST_DEADLINE_OTHER_CLOCK)
        return st_strong_deadline_state(s, &d) == ST_DEADLINE_PASSED;
    out->kind = ST_CMD_LEASE_REARM;
    out->deadline = st_strong_deadline(s, d.term_ns);
    return true;
}
