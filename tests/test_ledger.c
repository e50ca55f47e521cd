/*
 * test_ledger.c - operations of the strong layer: the table cell by cell, and what surrounds it:
 * approval, results, deadlines, prunes, moves, limits, damage, lack of memory. All interleavings
 * are explore_ledger.c's.
 */
#include "ledger_world.h"

#define PROPOSE(k, c)                                                                              \
    CMD(ST_CMD_PROPOSE, K(k), .class = ST_CLASS_##c, .parameters = {1, 2}, .time_ms = 5)

static uint64_t grant(struct ledger *w, const char *key)
{
    struct st_ledger_result r = give(w, CMD(ST_CMD_GRANT, .key = st_str_of(key), AGENT("ann")));
    assert_int_equal(r.verdict, ST_VERDICT_DONE);
    assert_int_equal(r.state, ST_OPERATION_GRANTED);
    return r.token;
}

static struct st_operation read_operation(struct ledger *w, const char *key)
{
    struct st_operation o;
    assert_int_equal(st_operation_read(&w->l, st_str_of(key), &o), ST_OK);
    return o;
}

static void expect_state(struct ledger *w, const char *key, enum st_operation_state state)
{
    assert_string_equal(st_operation_state_name(read_operation(w, key).state),
                        st_operation_state_name(state));
}

/* --- the table ---------------------------------------------------------------------------- */

enum stage {
    NONE,
    PROPOSED,
    GRANTED,
    EXECUTING,
    IN_DOUBT,
    COMMITTED,
    FAILED,
    EXPIRED,
    PRUNED,
    STAGES
};

/* Brings operation "x" there; returns its current token. */
static uint64_t bring(struct ledger *w, enum stage stage, struct st_command propose)
{
    uint64_t t = 0;
    if (stage == NONE)
        return 0;
    EXPECT(DONE, w, propose);
    if (stage == PROPOSED)
        return 0;
    if (stage == EXPIRED) {
        EXPECT(DONE, w, CMD(ST_CMD_EXPIRE, K("x"), .time_ms = 6));
        return 0;
    }
    t = grant(w, "x");
    if (stage == GRANTED)
        return t;
    EXPECT(DONE, w, CMD(ST_CMD_START, K("x"), .token = t));
    if (stage == IN_DOUBT)
        EXPECT(DONE, w, CMD(ST_CMD_LAPSE, K("x"), .token = t));
    if (stage == COMMITTED || stage == PRUNED)
        EXPECT(DONE, w, CMD(ST_CMD_REPORT, K("x"), .token = t, .result = LIT("out")));
    if (stage == FAILED)
        EXPECT(DONE, w, CMD(ST_CMD_REFUSE, K("x"), .token = t, BECAUSE));
    if (stage == PRUNED)
        EXPECT(DONE, w, CMD(ST_CMD_PRUNE, K("x"), .limit_ms = 100));
    return t;
}

/*
 * One line per command, one letter per stage in the order above: what comes of it.
 *   . refused   s nothing to do   h held by somebody   m mismatch   p pruned   t stale   P persons
 *   1 PROPOSED  2 GRANTED  3 EXECUTING  4 IN DOUBT  5 COMMITTED  6 FAILED  7 EXPIRED  0 gone
 */
struct line {
    struct st_command c;
    const char *naked, *idempotent;
};

#define NAME_X    K("x")
#define SETTLE(o) CMD(ST_CMD_SETTLE, NAME_X, .outcome = ST_OUTCOME_##o, PAT, BECAUSE, QUIET)

/* clang-format off */
static const struct line lines[] = {
    /*                                                          N P G E D C F X - */
    {PROPOSE("x", NAKED),                                      "1sssssssp", "1sssssssp"},
    {CMD(ST_CMD_APPROVE, NAME_X, PAT),                         "........p", "........p"},
    {CMD(ST_CMD_REJECT, NAME_X, PAT, BECAUSE),                 "........p", "........p"},
    {CMD(ST_CMD_GRANT, NAME_X),                                ".2h.....p", ".2h.....p"},
    {CMD(ST_CMD_START, NAME_X, .token = 1),                    ".t3....tp", ".t3....tp"},
    {CMD(ST_CMD_RENEW, NAME_X, .token = 1),                    ".t23...tp", ".t23...tp"},
    {CMD(ST_CMD_REPORT, NAME_X, .token = 1,
         .result = LIT("out")),                             ".t.55s.tp", ".t.55s.tp"},
    {CMD(ST_CMD_REPORT, NAME_X, .token = 1,
         .result = LIT("other")),                           ".t.55..tp", ".t.55..tp"},
    {CMD(ST_CMD_REFUSE, NAME_X, .token = 1, BECAUSE),          ".t.6..stp", ".t.6..stp"},
    {CMD(ST_CMD_LAPSE, NAME_X, .token = 1),                    ".t14...tp", ".t14...tp"},
    {CMD(ST_CMD_LAPSE, NAME_X, .token = 9),                    ".tttttttp", ".tttttttp"},
    {CMD(ST_CMD_EXPIRE, NAME_X),                               ".7......p", ".7......p"},
    {CMD(ST_CMD_REISSUE, NAME_X),                              "........p", "....1...p"},
    {CMD(ST_CMD_SETTLE, NAME_X, .token = 1, BECAUSE, QUIET),   ".PPPPPPPp", ".PPPPPPPp"},
    {CMD(ST_CMD_SETTLE, NAME_X, .token = 1, PAT, BECAUSE),     "........p", "........p"},
    {CMD(ST_CMD_AGAIN, NAME_X, PAT, BECAUSE),                  ".....111p", ".....111p"},
    {CMD(ST_CMD_AGAIN, NAME_X, BECAUSE),                       ".PPPPPPPp", ".PPPPPPPp"},
    {CMD(ST_CMD_PRUNE, NAME_X, .limit_ms = 100),               ".....000.", ".....000."},
    {CMD(ST_CMD_PRUNE, NAME_X, .limit_ms = 1),                 ".....00..", ".....00.."},
    {CMD(ST_CMD_CLEAR, NAME_X, PAT, BECAUSE, QUIET),           "........p", "........p"},
};
/* clang-format on */

static char letter(const struct st_ledger_result *r)
{
    static const char states[] = "01235674", verdicts[] = "-s.mthpP";
    switch (r->verdict) {
    case ST_VERDICT_DONE:
        return states[r->state];
    case ST_VERDICT_SAME:
        return verdicts[1];
    case ST_VERDICT_REFUSED:
        return verdicts[2];
    case ST_VERDICT_MISMATCH:
        return verdicts[3];
    case ST_VERDICT_STALE:
        return verdicts[4];
    case ST_VERDICT_HELD:
        return verdicts[5];
    case ST_VERDICT_PRUNED:
        return verdicts[6];
    case ST_VERDICT_PERSON:
        return verdicts[7];
    default:
        return '?';
    }
}

static void check_cell(const struct line *line, enum stage stage, enum st_operation_class class,
                       char expected)
{
    void *state;
    struct st_ledger_result result;
    struct st_command propose = PROPOSE("x", NAKED);
    struct st_memkv before;
    propose.class = class;
    ledger_open(&state);
    struct ledger *w = state;
    (void)bring(w, stage, propose);
    st_memkv_init(&before, &heap);
    assert_int_equal(st_memkv_copy(&before, &w->m), ST_OK);
    assert_int_equal(st_ledger_apply(&w->l, &line->c, &result), ST_OK);
    if (letter(&result) != expected)
        fail_msg("%s in stage %d, class %d: '%c' instead of '%c'", st_command_name(line->c.kind),
                 (int)stage, (int)class, letter(&result), expected);
    if (result.verdict != ST_VERDICT_DONE)
        assert_true(st_memkv_equal(&before, &w->m, NULL));
    st_memkv_release(&before);
    ledger_close(&state);
}

static void test_the_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        for (enum stage s = NONE; s < STAGES; s++) {
            check_cell(&lines[i], s, ST_CLASS_NAKED, lines[i].naked[s]);
            check_cell(&lines[i], s, ST_CLASS_IDEMPOTENT, lines[i].idempotent[s]);
        }
    }
}

static void test_settlements(void **state)
{
    static const struct {
        enum st_outcome outcome;
        enum st_operation_state to;
    } ways[] = {{ST_OUTCOME_COMMITTED, ST_OPERATION_COMMITTED},
                {ST_OUTCOME_FAILED, ST_OPERATION_FAILED},
                {ST_OUTCOME_RETRY, ST_OPERATION_PROPOSED}};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        void *own;
        ledger_open(&own);
        struct ledger *w = own;
        struct st_command c = SETTLE(COMMITTED);
        c.token = bring(w, IN_DOUBT, PROPOSE("x", NAKED));
        c.outcome = ways[i].outcome;
        c.token++;
        EXPECT(STALE, w, c);
        c.token--;
        c.evidence.n = 0;
        EXPECT(INVALID, w, c);
        c.evidence = ST_STR("the service's log");
        EXPECT(DONE, w, c);
        struct st_operation o = read_operation(w, "x");
        assert_int_equal(o.state, ways[i].to);
        assert_true(st_str_equal(o.person, ST_STR("pat")));
        assert_true(st_str_equal(o.evidence, ST_STR("the service's log")));
        EXPECT(REFUSED, w, c);
        ledger_close(&own);
    }
}

static void test_only_queryable_is_settled_by_its_check(void **state)
{
    struct ledger *w = *state;
    struct st_command c =
        CMD(ST_CMD_SETTLE, K("q"), BECAUSE, QUIET, .by_check = true, .outcome = ST_OUTCOME_FAILED);
    EXPECT(DONE, w, PROPOSE("q", QUERYABLE));
    c.token = grant(w, "q");
    EXPECT(DONE, w, CMD(ST_CMD_START, K("q"), .token = c.token));
    EXPECT(DONE, w, CMD(ST_CMD_LAPSE, K("q"), .token = c.token));
    EXPECT(DONE, w, c);
    expect_state(w, "q", ST_OPERATION_FAILED);
    c.token = bring(w, IN_DOUBT, PROPOSE("x", KEYED));
    c.key = ST_STR("x");
    EXPECT(PERSON, w, c);
}

/* --- earlier starts ----------------------------------------------------------------------- */

static void test_an_open_start_forbids_failed_and_expired(void **state)
{
    struct ledger *w = *state;
    struct st_command p = PROPOSE("x", IDEMPOTENT);
    p.needs_approval = true;
    EXPECT(DONE, w, p);
    EXPECT(DONE, w, CMD(ST_CMD_APPROVE, K("x"), PAT));
    uint64_t first = grant(w, "x");
    EXPECT(DONE, w, CMD(ST_CMD_START, K("x"), .token = first));
    EXPECT(DONE, w, CMD(ST_CMD_LAPSE, K("x"), .token = first));
    EXPECT(DONE, w, CMD(ST_CMD_REISSUE, K("x")));
    EXPECT(DONE, w, CMD(ST_CMD_EXPIRE, K("x"), .token = first));
    expect_state(w, "x", ST_OPERATION_IN_DOUBT);
    EXPECT(DONE, w, CMD(ST_CMD_REISSUE, K("x")));
    uint64_t second = grant(w, "x");
    EXPECT(DONE, w, CMD(ST_CMD_START, K("x"), .token = second));
    EXPECT(DONE, w, CMD(ST_CMD_REFUSE, K("x"), .token = second, BECAUSE));
    expect_state(w, "x", ST_OPERATION_IN_DOUBT);
    assert_int_equal(read_operation(w, "x").open, 1);
    EXPECT(DONE, w, CMD(ST_CMD_REISSUE, K("x")));
    EXPECT(DONE, w, CMD(ST_CMD_REJECT, K("x"), PAT, BECAUSE));
    expect_state(w, "x", ST_OPERATION_IN_DOUBT);
    EXPECT(DONE, w, CMD(ST_CMD_REISSUE, K("x")));
    EXPECT(REFUSED, w, CMD(ST_CMD_GRANT, K("x"))); /* the rejection still counts */
}

static void test_keyed_until_its_time(void **state)
{
    struct ledger *w = *state;
    struct st_command p = PROPOSE("x", KEYED);
    p.valid_until_ms = 100;
    uint64_t first = bring(w, IN_DOUBT, p);
    EXPECT(REFUSED, w, CMD(ST_CMD_REISSUE, K("x"), .time_ms = 100));
    EXPECT(DONE, w, CMD(ST_CMD_REISSUE, K("x"), .time_ms = 99));
    uint64_t second = grant(w, "x");
    assert_true(second > first);
    EXPECT(REFUSED, w, CMD(ST_CMD_START, K("x"), .token = second, .time_ms = 100));
    EXPECT(STALE, w, CMD(ST_CMD_START, K("x"), .token = first, .time_ms = 99));
    EXPECT(DONE, w, CMD(ST_CMD_START, K("x"), .token = second, .time_ms = 99));
    EXPECT(REFUSED, w, CMD(ST_CMD_START, K("x"), .token = second, .time_ms = 99));
}

/* --- approval, results, runs -------------------------------------------------------------- */

static void test_approval(void **state)
{
    struct ledger *w = *state;
    struct st_command p = PROPOSE("x", NAKED);
    p.needs_approval = true;
    EXPECT(DONE, w, p);
    EXPECT(REFUSED, w, CMD(ST_CMD_GRANT, K("x")));
    EXPECT(PERSON, w, CMD(ST_CMD_APPROVE, K("x")));
    EXPECT(DONE, w, CMD(ST_CMD_APPROVE, K("x"), PAT));
    EXPECT(SAME, w, CMD(ST_CMD_APPROVE, K("x"), PAT));
    uint64_t t = grant(w, "x");
    EXPECT(REFUSED, w, CMD(ST_CMD_REJECT, K("x"), PAT, BECAUSE));
    EXPECT(DONE, w, CMD(ST_CMD_LAPSE, K("x"), .token = t));
    EXPECT(PERSON, w, CMD(ST_CMD_REJECT, K("x"), BECAUSE));
    EXPECT(DONE, w, CMD(ST_CMD_REJECT, K("x"), PAT, BECAUSE));
    expect_state(w, "x", ST_OPERATION_FAILED);
    EXPECT(DONE, w, CMD(ST_CMD_AGAIN, K("x"), PAT, BECAUSE));
    EXPECT(REFUSED, w, CMD(ST_CMD_GRANT, K("x"))); /* every run is approved */
}

static void test_results_are_kept_byte_for_byte(void **state)
{
    struct ledger *w = *state;
    static char big[ST_RESULT_SIZE_MAX + 1];
    for (size_t i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 7 + (i >> 8));
    struct st_command report =
        CMD(ST_CMD_REPORT, K("x"), .result = {big, sizeof(big)}, .time_ms = 7);
    report.token = bring(w, EXECUTING, PROPOSE("x", NAKED));
    EXPECT(INVALID, w, report);
    report.result.n--;
    EXPECT(DONE, w, report);
    EXPECT(SAME, w, report);
    struct st_command other = PROPOSE("x", NAKED);
    EXPECT(SAME, w, other);
    other.parameters[0]++;
    EXPECT(MISMATCH, w, other);
    struct st_operation o = read_operation(w, "x");
    assert_true(st_str_equal(o.result, report.result));
    assert_int_equal(o.ended_ms, 7);
    EXPECT(DONE, w, CMD(ST_CMD_AGAIN, K("x"), PAT, BECAUSE));
    o = read_operation(w, "x");
    assert_int_equal(o.runs, 2);
    assert_int_equal(o.result.n, 0);
    EXPECT(STALE, w, report); /* of the ended run */
    assert_true(grant(w, "x") > report.token);
}

/* --- deadlines ---------------------------------------------------------------------------- */

static void test_a_lapse_of_a_renewed_deadline_is_stale(void **state)
{
    struct ledger *w = *state;
    struct st_deadline seen = {7, 100, 50}, later = {7, 150, 50}, boot = {8, 20, 50};
    struct st_command p = PROPOSE("x", NAKED);
    p.deadline = (struct st_deadline){7, 90, 90};
    EXPECT(DONE, w, p);
    struct st_ledger_result r = DO(w, ST_CMD_GRANT, K("x"), .deadline = seen);
    EXPECT(DONE, w, CMD(ST_CMD_RENEW, K("x"), .token = r.token, .deadline = later));
    EXPECT(STALE, w, CMD(ST_CMD_LAPSE, K("x"), .token = r.token, .deadline = seen));
    EXPECT(SAME, w, CMD(ST_CMD_REARM, K("x"), .token = r.token, .deadline = seen));
    EXPECT(DONE, w, CMD(ST_CMD_REARM, K("x"), .token = r.token, .deadline = boot));
    boot.ns = 1000;
    EXPECT(SAME, w, CMD(ST_CMD_REARM, K("x"), .token = r.token, .deadline = boot));
    EXPECT(SAME, w, CMD(ST_CMD_REARM, K("x"), .token = r.token, .deadline = later));
    struct st_operation o = read_operation(w, "x");
    assert_int_equal(st_deadline_on(&o.deadline, o.earlier, 7).ns, 150);
    assert_int_equal(st_deadline_on(&o.deadline, o.earlier, 8).ns, 20);
    assert_int_equal(st_deadline_on(&o.deadline, o.earlier, 9).clock, 0);
    EXPECT(DONE, w, CMD(ST_CMD_LAPSE, K("x"), .token = r.token, .deadline = later));
    /* Proposed again: its own deadline counts again. */
    o = read_operation(w, "x");
    assert_int_equal(o.deadline.ns, 90);
    EXPECT(STALE, w, CMD(ST_CMD_EXPIRE, K("x"), .deadline = p.deadline));
    EXPECT(STALE, w, CMD(ST_CMD_EXPIRE, K("x"), .token = r.token, .deadline = seen));
    EXPECT(DONE, w, CMD(ST_CMD_EXPIRE, K("x"), .token = r.token, .deadline = p.deadline));
}

/* --- moves -------------------------------------------------------------------------------- */

static void test_a_planned_move(void **state)
{
    struct ledger *w = *state;
    uint64_t t = bring(w, EXECUTING, PROPOSE("x", NAKED));
    struct st_command go =
        CMD(ST_CMD_GENERATION, .successor = LIT("box"), .position = 12, .generation = 1);
    EXPECT(REFUSED, w, go);
    EXPECT(DONE, w, CMD(ST_CMD_SEAL, .successor = LIT("box"), .position = 12));
    EXPECT(SEALED, w, CMD(ST_CMD_REPORT, K("x"), .token = t));
    EXPECT(SEALED, w, CMD(ST_CMD_SEAL, .successor = LIT("other")));
    go.position = 13;
    EXPECT(REFUSED, w, go);
    go.position = 12;
    go.successor = ST_STR("other");
    EXPECT(REFUSED, w, go);
    go.successor = ST_STR("box");
    EXPECT(DONE, w, go);
    EXPECT(STALE, w, go);
    EXPECT(DONE, w, CMD(ST_CMD_REPORT, K("x"), .token = t)); /* nothing was lost */
    EXPECT(DONE, w, PROPOSE("y", NAKED));
    assert_true(grant(w, "y") > t);
}

static void test_a_forced_move(void **state)
{
    struct ledger *w = *state;
    uint64_t old = bring(w, EXECUTING, PROPOSE("x", NAKED));
    EXPECT(DONE, w, PROPOSE("done", NAKED));
    EXPECT(DONE, w, CMD(ST_CMD_EXPIRE, K("done")));
    struct st_command go =
        CMD(ST_CMD_GENERATION, .successor = LIT("box"), .generation = 3, .forced = true);
    EXPECT(PERSON, w, go);
    go.person = ST_STR("pat");
    assert_int_equal(give(w, go).count, 1);
    expect_state(w, "x", ST_OPERATION_IN_DOUBT);
    expect_state(w, "done", ST_OPERATION_EXPIRED);
    EXPECT(DONE, w, CMD(ST_CMD_AGAIN, K("done"), PAT, BECAUSE));
    expect_state(w, "done", ST_OPERATION_IN_DOUBT);

    EXPECT(DONE, w, PROPOSE("new", NAKED));
    expect_state(w, "new", ST_OPERATION_IN_DOUBT);
    EXPECT(STALE, w, CMD(ST_CMD_REPORT, K("new")));
    EXPECT(PERSON, w, CMD(ST_CMD_CLEAR, K("free"), BECAUSE, QUIET));
    EXPECT(REFUSED, w, CMD(ST_CMD_CLEAR, K("free"), PAT, BECAUSE));
    EXPECT(DONE, w, CMD(ST_CMD_CLEAR, K("free"), PAT, BECAUSE, QUIET));
    EXPECT(DONE, w, PROPOSE("free", NAKED));
    expect_state(w, "free", ST_OPERATION_PROPOSED);
    assert_true(st_str_equal(read_operation(w, "free").person, ST_STR("pat")));
    assert_true(grant(w, "free") > old);

    EXPECT(DONE, w, CMD(ST_CMD_CLEAR, PAT, BECAUSE, QUIET));
    EXPECT(DONE, w, PROPOSE("later", NAKED));
    expect_state(w, "later", ST_OPERATION_PROPOSED);
    expect_state(w, "new", ST_OPERATION_IN_DOUBT);
    EXPECT(REFUSED, w, CMD(ST_CMD_CLEAR, PAT, BECAUSE, QUIET));
}

/* --- many --------------------------------------------------------------------------------- */

static enum st_code count_one(void *arg, const struct st_operation *o)
{
    size_t *count = arg;
    assert_true(o->key.n > 0);
    ++*count;
    return ST_OK;
}

static size_t count_in(struct ledger *w, enum st_operation_state state)
{
    size_t count = 0;
    assert_int_equal(st_operation_each(&w->l, state, (struct st_str){NULL, 0}, count_one, &count),
                     ST_OK);
    return count;
}

static void test_prune_goes_in_steps_and_keeps_the_keys(void **state)
{
    struct ledger *w = *state;
    char key[16];
    for (int i = 0; i < 1500; i++) {
        struct st_command p = PROPOSE("x", NAKED);
        p.key = (struct st_str){key, (size_t)snprintf(key, sizeof(key), "op-%d", i)};
        EXPECT(DONE, w, p);
        if (i % 3 != 0)
            EXPECT(DONE, w, CMD(ST_CMD_EXPIRE, .key = p.key, .time_ms = 10));
    }
    assert_int_equal(count_in(w, ST_OPERATION_PROPOSED), 500);
    assert_int_equal(count_in(w, ST_OPERATION_NONE), 1500);
    EXPECT(SAME, w, CMD(ST_CMD_PRUNE, .limit_ms = 10));
    struct st_command prune = CMD(ST_CMD_PRUNE, .limit_ms = 11);
    assert_int_equal(give(w, prune).count, 1000);
    EXPECT(SAME, w, prune);
    assert_int_equal(count_in(w, ST_OPERATION_NONE), 500);
    assert_int_equal(count_in(w, ST_OPERATION_EXPIRED), 0);
    EXPECT(PRUNED, w, PROPOSE("op-1", NAKED));
    enum st_operation_state ended;
    uint64_t ended_ms;
    assert_int_equal(st_pruned_read(&w->l, ST_STR("op-1"), &ended, &ended_ms), ST_OK);
    assert_int_equal(ended, ST_OPERATION_EXPIRED);
    assert_int_equal(ended_ms, 10);
}

/* --- damage, memory ----------------------------------------------------------------------- */

static void fill(struct ledger *w)
{
    (void)bring(w, EXECUTING, PROPOSE("x", NAKED));
    (void)DO(w, ST_CMD_LEASE_ACQUIRE, K("l"), AGENT("ann"), .deadline = {7, 1, 1});
    (void)DO(w, ST_CMD_LEASE_ACQUIRE, K("ann"), AGENT("ann"), .lease = ST_LEASE_AGENT);
    (void)DO(w, ST_CMD_RESERVE, K("src/**"), AGENT("ann"));
    (void)DO(w, ST_CMD_GENERATION, .successor = LIT("box"), .generation = 1, .forced = true, PAT);
    (void)DO(w, ST_CMD_CLEAR, K("c"), PAT, BECAUSE, QUIET);
}

/* Every row cut at every place is refused, or not looked at; never taken for a shorter one. */
static void test_cut_rows_are_damage(void **state)
{
    struct ledger *w = *state;
    struct st_ledger_result result;
    fill(w);
    const struct st_command all[] = {
        CMD(ST_CMD_RENEW, K("x"), .token = 1),
        PROPOSE("c", NAKED),
        CMD(ST_CMD_LEASE_RENEW, K("l"), .token = 9),
        CMD(ST_CMD_RESERVE, K("a"), AGENT("bob"), .incarnation = 1),
        CMD(ST_CMD_LEASE_ACQUIRE, K("ann"), .lease = ST_LEASE_AGENT),
    };
    size_t damaged = 0;
    for (size_t i = 0; i < w->m.count; i++) {
        struct st_memkv_row *row = &w->m.rows[i];
        if (row->bytes[0] == 'Q')
            continue;
        size_t size = row->value_size, found = 0;
        for (size_t cut = 0; cut < size; cut++) {
            row->value_size = cut;
            for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
                struct st_memkv copy;
                struct st_ledger l;
                st_memkv_init(&copy, &heap);
                assert_int_equal(st_memkv_copy(&copy, &w->m), ST_OK);
                st_ledger_init(&l, &copy.kv, &heap);
                enum st_code code = st_ledger_apply(&l, &all[k], &result);
                assert_true(code == ST_OK || code == ST_DAMAGED);
                found += code == ST_DAMAGED;
                st_ledger_release(&l);
                st_memkv_release(&copy);
            }
        }
        row->value_size = size;
        assert_true(found >= size); /* somebody reads each row */
        damaged += found;
    }
    assert_true(damaged > 100);
}

static void test_lack_of_memory_is_told(void **state)
{
    (void)state;
    for (size_t allowed = 0;; allowed++) {
        struct budget budget = {allowed};
        struct st_alloc alloc = {budget_resize, &budget};
        struct st_memkv m;
        struct st_ledger l;
        struct st_ledger_result r;
        bool all = true;
        struct st_command p = PROPOSE("x", NAKED);
        const struct st_command more[] = {
            CMD(ST_CMD_GRANT, K("x")),
            CMD(ST_CMD_START, K("x"), .token = 1),
            CMD(ST_CMD_REPORT, K("x"), .token = 1, .result = LIT("out"), .time_ms = 1),
            CMD(ST_CMD_LEASE_ACQUIRE, K("l")),
            CMD(ST_CMD_RESERVE, K("a/*")),
            CMD(ST_CMD_PRUNE, .limit_ms = 5)};
        st_memkv_init(&m, &alloc);
        st_ledger_init(&l, &m.kv, &alloc);
        enum st_code code = st_ledger_apply(&l, &p, &r);
        for (size_t i = 0; code == ST_OK && i < sizeof(more) / sizeof(more[0]); i++) {
            code = st_ledger_apply(&l, &more[i], &r);
            all = all && (code != ST_OK || r.verdict == ST_VERDICT_DONE);
        }
        assert_true(code == ST_OK || code == ST_NO_MEMORY);
        assert_true(all);
        st_ledger_release(&l);
        st_memkv_release(&m);
        if (code == ST_OK) {
            assert_true(allowed > 5);
            return;
        }
    }
}

static void test_tokens_run_out_rather_than_repeat(void **state)
{
    struct ledger *w = *state;
    EXPECT(DONE, w, PROPOSE("x", NAKED));
    struct st_buf row;
    st_buf_init(&row, &heap);
    st_buf_add_char(&row, 0);
    st_buf_add_varint(&row, 0);
    st_buf_add_varint(&row, (UINT64_C(1) << ST_TOKEN_NUMBER_BITS) - 2);
    st_buf_add(&row, "\0\0\0\0", 4);
    assert_int_equal(w->m.kv.put(&w->m, ST_STR("T"), st_buf_str(&row)), ST_OK);
    st_buf_release(&row);
    uint64_t t = grant(w, "x");
    assert_int_equal(t, (UINT64_C(1) << ST_TOKEN_NUMBER_BITS) - 1);
    EXPECT(DONE, w, CMD(ST_CMD_LAPSE, K("x"), .token = t));
    EXPECT(INVALID, w, CMD(ST_CMD_GRANT, K("x")));
    EXPECT(INVALID, w, CMD(ST_CMD_LEASE_ACQUIRE, K("l")));
    expect_state(w, "x", ST_OPERATION_PROPOSED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, ledger_open, ledger_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table),
        cmocka_unit_test(test_settlements),
        TEST(test_only_queryable_is_settled_by_its_check),
        TEST(test_an_open_start_forbids_failed_and_expired),
        TEST(test_keyed_until_its_time),
        TEST(test_approval),
        TEST(test_results_are_kept_byte_for_byte),
        TEST(test_a_lapse_of_a_renewed_deadline_is_stale),
        TEST(test_a_planned_move),
        TEST(test_a_forced_move),
        TEST(test_prune_goes_in_steps_and_keeps_the_keys),
        TEST(test_cut_rows_are_damage),
        cmocka_unit_test(test_lack_of_memory_is_told),
        TEST(test_tokens_run_out_rather_than_repeat),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
