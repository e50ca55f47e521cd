/*
 * test_lease.c - leases and reservations: the rules one by one, and long random interleavings of
 * late and repeated commands against a plain model.
 *
 * The model knows what the rules say and nothing of rows: per name the holder, its token, whether
 * it is held, the outcome (of claims; in half of the rounds the names are claims). Every command
 * that an agent ever sent may arrive again at any later time. The judge: at most one holder of the
 * current token per name; tokens only grow; a former holder's renew, release or lapse has no
 * effect; two reservations that overlap and are not both shared have one holder.
 */
#include "core/glob.h"
#include "ledger_world.h"

#define ACQUIRE(n, a) CMD(ST_CMD_LEASE_ACQUIRE, K(n), AGENT(a), .incarnation = 1)

static struct st_lease read_lease(struct ledger *w, enum st_lease_kind kind, const char *name)
{
    struct st_lease lease;
    assert_int_equal(st_lease_read(&w->l, kind, st_str_of(name), &lease), ST_OK);
    return lease;
}

static void test_acquire_renew_release(void **state)
{
    struct ledger *w = *state;
    struct st_deadline d = {7, 100, 50}, later = {7, 150, 50};
    struct st_command ann = ACQUIRE("l", "ann"), bob = ACQUIRE("l", "bob");
    ann.deadline = d;
    uint64_t t = give(w, ann).token;
    assert_int_equal(t, 1);
    EXPECT(HELD, w, bob);
    EXPECT(HELD, w, ann); /* the same agent without the token */
    ann.token = t;
    ann.deadline = later;
    EXPECT(DONE, w, ann);
    assert_int_equal(read_lease(w, ST_LEASE_LOCK, "l").deadline.ns, 150);
    ann.incarnation = 2;
    EXPECT(HELD, w, ann);
    EXPECT(STALE, w, CMD(ST_CMD_LEASE_LAPSE, K("l"), .token = t, .deadline = d));
    EXPECT(STALE, w, CMD(ST_CMD_LEASE_RELEASE, K("l"), .token = t + 1));
    EXPECT(DONE, w, CMD(ST_CMD_LEASE_RELEASE, K("l"), .token = t));
    EXPECT(SAME, w, CMD(ST_CMD_LEASE_RELEASE, K("l"), .token = t));
    EXPECT(REFUSED, w, CMD(ST_CMD_LEASE_RENEW, K("l"), .token = t));
    struct st_ledger_result r = give(w, bob);
    assert_int_equal(r.verdict, ST_VERDICT_DONE);
    assert_true(r.token > t);
    EXPECT(STALE, w, CMD(ST_CMD_LEASE_RENEW, K("l"), .token = t));
    EXPECT(STALE, w, CMD(ST_CMD_LEASE_LAPSE, K("l"), .token = t));
    assert_true(read_lease(w, ST_LEASE_LOCK, "l").held);
    /* Kinds are apart. */
    EXPECT(DONE, w, CMD(ST_CMD_LEASE_ACQUIRE, K("l"), AGENT("ann"), .lease = ST_LEASE_CLAIM));
}

static void test_two_clocks_do_not_extend_in_turn(void **state)
{
    struct ledger *w = *state;
    struct st_command c = ACQUIRE("l", "ann");
    c.deadline = (struct st_deadline){1, 10, 10};
    uint64_t t = give(w, c).token;
    for (uint64_t clock = 1; clock <= 2; clock++) {
        struct st_deadline d = {clock, 99, 10};
        assert_int_equal(DO(w, ST_CMD_LEASE_REARM, K("l"), .token = t, .deadline = d).verdict,
                         clock == 1 ? ST_VERDICT_SAME : ST_VERDICT_DONE);
    }
    EXPECT(SAME, w, CMD(ST_CMD_LEASE_REARM, K("l"), .token = t, .deadline = {1, 200, 10}));
    EXPECT(DONE, w, CMD(ST_CMD_LEASE_LAPSE, K("l"), .token = t, .deadline = {1, 10, 10}));
    assert_false(read_lease(w, ST_LEASE_LOCK, "l").held);
    /* More reboots than are kept: the oldest clock goes. */
    t = give(w, c).token;
    for (uint64_t clock = 2; clock <= ST_EARLIER_MAX + 2; clock++)
        EXPECT(DONE, w, CMD(ST_CMD_LEASE_REARM, K("l"), .token = t, .deadline = {clock, 5, 5}));
    EXPECT(STALE, w, CMD(ST_CMD_LEASE_LAPSE, K("l"), .token = t, .deadline = {1, 10, 10}));
    EXPECT(DONE, w, CMD(ST_CMD_LEASE_LAPSE, K("l"), .token = t, .deadline = {2, 5, 5}));
}

static void test_agents_and_their_dead_namesakes(void **state)
{
    struct ledger *w = *state;
    struct st_command join = CMD(ST_CMD_LEASE_ACQUIRE, K("ann"), .lease = ST_LEASE_AGENT);
    uint64_t first = give(w, join).token;
    assert_int_equal(read_lease(w, ST_LEASE_AGENT, "ann").incarnation, first);
    struct st_ledger_result lock =
        DO(w, ST_CMD_LEASE_ACQUIRE, K("l"), AGENT("ann"), .incarnation = first);
    assert_int_equal(lock.verdict, ST_VERDICT_DONE);
    EXPECT(HELD, w, join);
    join.takeover = true;
    uint64_t second = give(w, join).token;
    assert_true(second > lock.token);
    EXPECT(STALE, w, CMD(ST_CMD_LEASE_ACQUIRE, K("m"), AGENT("ann"), .incarnation = first));
    EXPECT(
        STALE, w,
        CMD(ST_CMD_LEASE_RENEW, K("l"), .token = lock.token, AGENT("ann"), .incarnation = first));
    EXPECT(
        DONE, w,
        CMD(ST_CMD_LEASE_RELEASE, K("l"), .token = lock.token, AGENT("ann"), .incarnation = first));
    EXPECT(DONE, w, CMD(ST_CMD_LEASE_ACQUIRE, K("m"), AGENT("ann"), .incarnation = second));
    join.key = ST_STR("no spaces");
    EXPECT(INVALID, w, join);
    /* Taking over is for registrations only. */
    EXPECT(HELD, w, CMD(ST_CMD_LEASE_ACQUIRE, K("m"), AGENT("bob"), .takeover = true));
}

static void test_reservations(void **state)
{
    struct ledger *w = *state;
    struct st_ledger_result r = DO(w, ST_CMD_RESERVE, K("src/**"), AGENT("ann"));
    assert_int_equal(r.verdict, ST_VERDICT_DONE);
    struct st_ledger_result held = DO(w, ST_CMD_RESERVE, K("src/a/*.c"), AGENT("bob"));
    assert_int_equal(held.verdict, ST_VERDICT_HELD);
    assert_int_equal(held.token, r.token);
    EXPECT(HELD, w, CMD(ST_CMD_RESERVE, K("*/x.c"), AGENT("bob"), .shared = true));
    EXPECT(DONE, w, CMD(ST_CMD_RESERVE, K("src/*.h"), AGENT("ann"))); /* her own */
    EXPECT(DONE, w, CMD(ST_CMD_RESERVE, K("docs/*"), AGENT("bob"), .shared = true));
    EXPECT(DONE, w, CMD(ST_CMD_RESERVE, K("docs/a*"), AGENT("ann"), .shared = true));
    EXPECT(HELD, w, CMD(ST_CMD_RESERVE, K("docs/a*"), AGENT("cem")));
    EXPECT(INVALID, w, CMD(ST_CMD_RESERVE, K("/etc"), AGENT("cem")));
    EXPECT(INVALID, w, CMD(ST_CMD_RESERVE, K("a/../b"), AGENT("cem")));
    EXPECT(STALE, w, CMD(ST_CMD_UNRESERVE, K("src/**"), .token = r.token + 1));
    EXPECT(DONE, w,
           CMD(ST_CMD_RESERVE, K("src/**"), AGENT("ann"), .token = r.token, .deadline = {7, 9, 9}));
    EXPECT(STALE, w,
           CMD(ST_CMD_LEASE_LAPSE, K("src/**"), .lease = ST_LEASE_PATH, .token = r.token,
               .deadline = {7, 8, 9}));
    EXPECT(DONE, w,
           CMD(ST_CMD_LEASE_LAPSE, K("src/**"), .lease = ST_LEASE_PATH, .token = r.token,
               .deadline = {7, 9, 9}));
    EXPECT(STALE, w, CMD(ST_CMD_UNRESERVE, K("src/**"), .token = r.token));
    EXPECT(DONE, w, CMD(ST_CMD_RESERVE, K("src/a/*.c"), AGENT("bob")));
}

static void test_too_many_reservations(void **state)
{
    struct ledger *w = *state;
    char name[16];
    for (int i = 0; i <= ST_RESERVATIONS_MAX; i++) {
        struct st_command c = CMD(ST_CMD_RESERVE, AGENT("ann"));
        c.key = (struct st_str){name, (size_t)snprintf(name, sizeof(name), "f%d", i)};
        /* Only the last ones are compared with all: rows go in directly, in order. */
        if (i > 2 && i < ST_RESERVATIONS_MAX) {
            struct st_memkv_row *row = &w->m.rows[0];
            char key[32];
            int n = snprintf(key, sizeof(key), "P%s%c12345678", name, '\0');
            struct st_str value = {row->bytes + row->key_size, row->value_size};
            char copy[64];
            assert_true(value.n <= sizeof(copy));
            memcpy(copy, value.p, value.n);
            assert_int_equal(
                w->m.kv.put(&w->m, (struct st_str){key, (size_t)n}, (struct st_str){copy, value.n}),
                ST_OK);
            continue;
        }
        assert_int_equal(give(w, c).verdict,
                         i < ST_RESERVATIONS_MAX ? ST_VERDICT_DONE : ST_VERDICT_INVALID);
    }
}

/* --- interleavings ------------------------------------------------------------------------ */

#define AGENTS 3
#define NAMES  2
#define POOL   64

static uint64_t seed;

static unsigned pick(unsigned n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % n;
}

static const char *const agents[AGENTS] = {"ann", "bob", "cem"};
static const char *const names[NAMES] = {"x", "y"};
static const char *const patterns[] = {"a/**", "a/*", "b/*", "*/x", "**"};

struct model {
    uint64_t token[NAMES];
    unsigned holder[NAMES];
    bool held[NAMES];
    enum st_claim_outcome outcome[NAMES];
    uint64_t finished[NAMES];
    uint64_t last;
    uint64_t own[AGENTS][NAMES]; /* what each agent believes to hold */
};

static struct st_command pool[POOL];
static unsigned pool_count;

static enum st_lease_kind kind; /* of this round */

static void send(struct st_command c)
{
    pool[pool_count < POOL ? pool_count++ : pick(POOL)] = c;
}

static unsigned index_of(struct st_str s, const char *const *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (st_str_equal(s, st_str_of(list[i])))
            return i;
    }
    fail_msg("not in the list");
    return 0;
}

/* What the rules say; changes the model. */
static enum st_verdict model_step(struct model *m, const struct st_command *c, bool *grants)
{
    unsigned n = index_of(c->key, names, NAMES), a = index_of(c->agent, agents, AGENTS);
    *grants = false;
    bool ended = m->outcome[n] == ST_CLAIM_DONE || m->outcome[n] == ST_CLAIM_FAILED;
    if (c->kind == ST_CMD_LEASE_ACQUIRE) {
        if (ended)
            return ST_VERDICT_ENDED;
        if (!m->held[n]) {
            m->held[n] = *grants = true;
            m->outcome[n] = ST_CLAIM_NONE;
            m->holder[n] = a;
            return ST_VERDICT_DONE;
        }
        return m->holder[n] == a && c->token == m->token[n] ? ST_VERDICT_DONE : ST_VERDICT_HELD;
    }
    if (m->token[n] == 0)
        return ST_VERDICT_REFUSED;
    if (c->kind == ST_CMD_CLAIM_REOPEN && m->held[n])
        return ST_VERDICT_HELD;
    if (c->token != m->token[n])
        return ST_VERDICT_STALE;
    if (c->kind == ST_CMD_CLAIM_REOPEN) {
        *grants = ended; /* a token, to nobody */
        if (ended)
            m->outcome[n] = ST_CLAIM_NONE;
        return ended ? ST_VERDICT_DONE : ST_VERDICT_SAME;
    }
    if (c->kind == ST_CMD_CLAIM_CHECKPOINT || c->kind == ST_CMD_CLAIM_FINISH) {
        static const enum st_claim_outcome ends[] = {ST_CLAIM_DONE, ST_CLAIM_FAILED,
                                                     ST_CLAIM_RETRY};
        if (m->outcome[n] != ST_CLAIM_NONE) {
            bool same = c->kind == ST_CMD_CLAIM_FINISH && m->finished[n] == c->token &&
                        ends[c->outcome] == m->outcome[n];
            return same ? ST_VERDICT_SAME : ended ? ST_VERDICT_ENDED : ST_VERDICT_REFUSED;
        }
        m->held[n] = c->kind == ST_CMD_CLAIM_CHECKPOINT;
        if (!m->held[n]) {
            m->outcome[n] = ends[c->outcome];
            m->finished[n] = c->token;
        }
        return ST_VERDICT_DONE;
    }
    if (c->kind == ST_CMD_LEASE_RENEW)
        return m->held[n] ? ST_VERDICT_DONE : ST_VERDICT_REFUSED;
    if (!m->held[n])
        return ST_VERDICT_SAME;
    m->held[n] = false;
    if (kind == ST_LEASE_CLAIM && c->kind == ST_CMD_LEASE_RELEASE)
        m->outcome[n] = ST_CLAIM_RETRY;
    return ST_VERDICT_DONE;
}

static void deliver(struct ledger *w, struct model *m, const struct st_command *c)
{
    bool grants;
    unsigned n = index_of(c->key, names, NAMES), a = index_of(c->agent, agents, AGENTS);
    enum st_verdict expected = model_step(m, c, &grants);
    struct st_ledger_result r = give(w, *c);
    assert_string_equal(st_verdict_name(r.verdict), st_verdict_name(expected));
    if (grants) {
        assert_true(r.token > m->last); /* only grow */
        m->last = m->token[n] = r.token;
        if (c->kind == ST_CMD_LEASE_ACQUIRE && pick(4) != 0) /* else the answer is lost */
            m->own[a][n] = r.token;
    }
    if (m->token[n] == 0)
        return;
    struct st_lease lease = read_lease(w, kind, names[n]);
    assert_int_equal(lease.outcome, m->outcome[n]);
    assert_int_equal(lease.token, m->token[n]);
    assert_int_equal(lease.held, m->held[n]);
    assert_true(st_str_equal(lease.holder, st_str_of(agents[m->holder[n]])));
    unsigned believers = 0;
    for (unsigned i = 0; i < AGENTS; i++)
        believers += m->own[i][n] == lease.token;
    assert_true(believers <= 1);
}

static void random_send(struct model *m)
{
    static const enum st_command_kind kinds[] = {
        ST_CMD_LEASE_ACQUIRE,    ST_CMD_LEASE_RENEW,  ST_CMD_LEASE_RELEASE, ST_CMD_LEASE_LAPSE,
        ST_CMD_CLAIM_CHECKPOINT, ST_CMD_CLAIM_FINISH, ST_CMD_CLAIM_FINISH,  ST_CMD_CLAIM_REOPEN};
    unsigned a = pick(AGENTS), n = pick(NAMES);
    struct st_command c = {.kind = kinds[pick(kind == ST_LEASE_CLAIM ? 8 : 4)],
                           .key = st_str_of(names[n]),
                           .agent = st_str_of(agents[a])};
    /* A lapse is decided by whoever looked: it names the token that was current then. */
    bool seen = c.kind == ST_CMD_LEASE_LAPSE || c.kind == ST_CMD_CLAIM_REOPEN;
    c.token = seen ? m->token[n] : m->own[a][n];
    if (c.kind < ST_CMD_CLAIM_CHECKPOINT)
        c.lease = kind;
    if (c.kind == ST_CMD_CLAIM_CHECKPOINT)
        c.deadline = (struct st_deadline){7, 9, 9};
    if (c.kind == ST_CMD_CLAIM_FINISH)
        c.outcome = (enum st_outcome)pick(3);
    if (c.kind != ST_CMD_LEASE_ACQUIRE && c.token == 0)
        return;
    send(c);
}

static void test_interleavings(void **state)
{
    (void)state;
    for (uint64_t round = 1; round <= 400; round++) {
        void *own;
        struct model m = {.last = 0};
        seed = round;
        pool_count = 0;
        kind = round % 2 == 0 ? ST_LEASE_CLAIM : ST_LEASE_LOCK;
        ledger_open(&own);
        for (int step = 0; step < 400; step++) {
            unsigned what = pick(5);
            if (what < 2 || pool_count == 0)
                random_send(&m);
            else if (what < 4)
                deliver(own, &m, &pool[pick(pool_count)]); /* late, and again */
            else if (pick(3) == 0)
                memset(m.own[pick(AGENTS)], 0, sizeof(m.own[0])); /* a crash forgets */
        }
        ledger_close(&own);
    }
}

/* No two reservations of different holders that overlap, unless both are shared. */
struct reserved {
    struct st_str name[128];
    char holder[128];
    bool shared[128];
    uint64_t token[128];
    unsigned n;
};

static enum st_code collect(void *arg, const struct st_lease *lease)
{
    struct reserved *r = arg;
    assert_true(r->n < 128);
    r->name[r->n] = lease->name;
    r->holder[r->n] = lease->holder.p[0];
    r->shared[r->n] = lease->shared;
    r->token[r->n++] = lease->token;
    return ST_OK;
}

static void check_reserved(struct ledger *w, struct reserved *r)
{
    r->n = 0;
    assert_int_equal(st_lease_each(&w->l, ST_LEASE_PATH, collect, r), ST_OK);
    for (unsigned i = 0; i < r->n; i++) {
        for (unsigned k = 0; k < i; k++) {
            assert_true(r->token[i] != r->token[k]);
            assert_true(r->holder[i] == r->holder[k] || (r->shared[i] && r->shared[k]) ||
                        !st_glob_overlap(r->name[i], r->name[k]));
        }
    }
}

static void test_interleavings_of_reservations(void **state)
{
    (void)state;
    size_t granted = 0, held = 0;
    for (uint64_t round = 1; round <= 100; round++) {
        void *own;
        uint64_t last = 0;
        struct reserved now = {.n = 0};
        seed = round;
        ledger_open(&own);
        for (int step = 0; step < 200; step++) {
            struct st_command c = {.kind = ST_CMD_RESERVE,
                                   .key = st_str_of(patterns[pick(5)]),
                                   .agent = st_str_of(agents[pick(AGENTS)]),
                                   .shared = pick(2) == 0};
            if (now.n > 4 || pick(3) == 0) {
                /* Of one that stands, or of one that is gone. */
                unsigned i = now.n > 0 ? pick(now.n) : 0;
                c.kind = ST_CMD_UNRESERVE;
                c.shared = false;
                c.token = now.n > 0 && pick(2) == 0 ? now.token[i] : 1 + pick(20);
                if (now.n > 0 && pick(2) == 0)
                    c.key = now.name[i];
            }
            char key[8];
            memcpy(key, c.key.p, c.key.n); /* lent by the store */
            c.key.p = key;
            struct st_ledger_result r = give(own, c);
            if (c.kind == ST_CMD_RESERVE && r.verdict == ST_VERDICT_DONE) {
                assert_true(r.token > last);
                last = r.token;
                granted++;
            }
            held += r.verdict == ST_VERDICT_HELD;
            check_reserved(own, &now);
        }
        ledger_close(&own);
    }
    assert_true(granted > 1000 && held > 1000);
}

/* --- claims ----------------------------------------------------------------------------------- */

/* A finish without a token is of the acquire before it in the entry, and of no other. */
static void test_an_end_of_what_nobody_had(void **state)
{
    struct ledger *w = *state;
    const struct st_command take =
        CMD(ST_CMD_LEASE_ACQUIRE, K("#1"), AGENT("ann"), .lease = ST_LEASE_CLAIM);
    const struct st_command end =
        CMD(ST_CMD_CLAIM_FINISH, K("#1"), AGENT("ann"), .outcome = ST_OUTCOME_COMMITTED);
    st_ledger_entry(&w->l);
    EXPECT(REFUSED, w, end);
    EXPECT(DONE, w, take);
    st_ledger_entry(&w->l);
    EXPECT(STALE, w, end);
    EXPECT(HELD, w, take);
    EXPECT(STALE, w, end);
    EXPECT(DONE, w, CMD(ST_CMD_LEASE_RELEASE, K("#1"), .lease = ST_LEASE_CLAIM, .token = 1));
    EXPECT(DONE, w, CMD(ST_CMD_LEASE_ACQUIRE, K("#2"), AGENT("ann"), .lease = ST_LEASE_CLAIM));
    EXPECT(STALE, w, end);
    EXPECT(DONE, w, take);
    EXPECT(DONE, w, end);
    st_ledger_entry(&w->l);
    EXPECT(ENDED, w, take);
    EXPECT(STALE, w, end);
}

/* The lost part of the log may have been copied: what comes after it has higher positions. */
static void test_the_outbox_after_a_forced_move(void **state)
{
    struct ledger *w = *state;
    struct st_claim_kept kept;
    EXPECT(DONE, w, CMD(ST_CMD_LEASE_ACQUIRE, K("#1"), AGENT("ann"), .lease = ST_LEASE_CLAIM));
    EXPECT(DONE, w, CMD(ST_CMD_CLAIM_CHECKPOINT, K("#1"), .token = 1, .result = LIT("half")));
    EXPECT(DONE, w,
           CMD(ST_CMD_GENERATION, .successor = LIT("box"), .generation = 3, .forced = true, PAT));
    EXPECT(DONE, w, CMD(ST_CMD_CLAIM_FINISH, K("#1"), .token = 1));
    assert_int_equal(st_claim_kept_read(&w->l, ST_STR("#1"), &kept), ST_OK);
    assert_true(kept.position > (uint64_t)3 << ST_TOKEN_NUMBER_BITS);
    EXPECT(DONE, w, CMD(ST_CMD_CLAIM_COPIED, .position = kept.position));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ledger_open, ledger_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_acquire_renew_release),
        TEST(test_two_clocks_do_not_extend_in_turn),
        TEST(test_agents_and_their_dead_namesakes),
        TEST(test_reservations),
        TEST(test_too_many_reservations),
        TEST(test_an_end_of_what_nobody_had),
        TEST(test_the_outbox_after_a_forced_move),
        cmocka_unit_test(test_interleavings),
        cmocka_unit_test(test_interleavings_of_reservations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
