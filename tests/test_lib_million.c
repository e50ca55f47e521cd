/*
 * test_lib_million.c - a ledger of 1,000,000 operations: what a command costs there is counted in steps of
 * SQLite (rows that it looked at or wrote), which no other machine changes. The rows are copies of those
 * of operations that were really begun and ended; keys count up.
 */
#include "lib_world.h"

#include "store/log.h"
#include "strong/strong.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#define KEYS   1000000
#define OLD    100 /* of them ended long ago */
#define DOUBTS 10

/* Steps that any command may take: a list by state looks at rows by the batch, some 200. */
#define STEPS_MAX 300

#define DAY_MS (24ull * 3600 * 1000)

static unsigned long steps;

int __real_sqlite3_step(sqlite3_stmt *s);
int __wrap_sqlite3_step(sqlite3_stmt *s);

int __wrap_sqlite3_step(sqlite3_stmt *s)
{
    steps++;
    return __real_sqlite3_step(s);
}

static unsigned long steps_since(unsigned long *before)
{
    unsigned long n = steps - *before;
    *before = steps;
    return n;
}

static void cheap(unsigned long *before, int line)
{
    unsigned long n = steps_since(before);
    if (n == 0 || n > STEPS_MAX)
        fail_msg("line %d: %lu steps", line, n);
}
#define CHEAP(before) cheap((before), __LINE__)

static strata_op_answer begin(strata *s, const char *key)
{
    strata_op_request r = {
        .size = sizeof r, .key = key, .parameters = "p", .parameters_size = 1, .term_ms = 60000};
    strata_op_answer a;
    ok(s, strata_op_begin(s, &r, &a));
    return a;
}

/* --- the ledger --------------------------------------------------------------------------------- */

static void run(sqlite3 *db, const char *sql)
{
    char *error = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
        fail_msg("%s: %s", sql, error);
}

/* Both rows of an operation (core/ledger.h, 'O' and 'Q'), under `count` keys. */
static void copies(sqlite3 *db, const char *from, int state, const char *name, int count)
{
    char sql[512];
    for (int i = 0; i < 2; i++) {
        char row[8], prefix[32];
        snprintf(row, sizeof row, i == 0 ? "4F" : "51%02X", state); /* O, or Q and the state */
        snprintf(prefix, sizeof prefix, "x'%s'", row);
        snprintf(sql, sizeof sql,
                 "INSERT INTO kv WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n "
                 "WHERE i<%d) SELECT CAST(%s||printf('%s-%%07d',i)||x'00' AS BLOB),"
                 "(SELECT v FROM kv WHERE k=CAST(%s||'%s'||x'00' AS BLOB)) FROM n",
                 count - 1, prefix, name, prefix, from);
        run(db, sql);
    }
}

static void fill(void)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(world_file("w", "strong/index.db"), &db), SQLITE_OK);
    run(db, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; BEGIN");
    copies(db, "model", STRATA_OP_COMMITTED, "deploy", KEYS);
    copies(db, "model-old", STRATA_OP_COMMITTED, "old", OLD);
    copies(db, "model-doubt", STRATA_OP_IN_DOUBT, "doubt", DOUBTS);
    run(db, "COMMIT; PRAGMA journal_mode=WAL");
    sqlite3_close(db);
}

static void make(void)
{
    world_init("w");
    strata *s = world_open("w", "anna");
    world_clock_ms -= (int64_t)(2 * DAY_MS);
    strata_op_answer a = begin(s, "model-old");
    ok(s, strata_op_report(s, "model-old", a.token, "of old", 6, -1));
    a = begin(s, "model-doubt");
    ok(s, strata_op_abandon(s, "model-doubt", a.token, -1));
    world_clock_ms += (int64_t)(2 * DAY_MS);
    a = begin(s, "model");
    ok(s, strata_op_report(s, "model", a.token, "ok", 2, -1));
    strata_close(s);
    /* Who comes next writes the rows that its predecessor had in memory only. */
    s = world_open("w", "anna");
    strata_operation o;
    ok(s, strata_op_get(s, "model", &o));
    strata_close(s);
    fill();
}

/* --- what is asked of it ------------------------------------------------------------------------ */

struct listed {
    size_t count;
    char first[64], last[64];
};

static int visit(void *arg, const strata_operation *o)
{
    struct listed *l = arg;
    if (l->count++ == 0)
        snprintf(l->first, sizeof l->first, "%s", o->key);
    snprintf(l->last, sizeof l->last, "%s", o->key);
    return 0;
}

static void lists(strata *s)
{
    struct listed l = {0};
    unsigned long before = steps;
    ok(s, strata_op_each(s, STRATA_OP_UNKNOWN, NULL, 5, visit, &l));
    assert_string_equal(l.first, "deploy-0000000");
    assert_string_equal(l.last, "deploy-0000004");
    CHEAP(&before);
    l.count = 0;
    ok(s, strata_op_each(s, STRATA_OP_COMMITTED, "deploy-0777777", 5, visit, &l));
    assert_string_equal(l.first, "deploy-0777778");
    CHEAP(&before);
    l.count = 0;
    ok(s, strata_op_each(s, STRATA_OP_IN_DOUBT, NULL, 0, visit, &l));
    assert_int_equal(l.count, DOUBTS); /* with the model, without the one that was settled */
    CHEAP(&before);
    l.count = 0;
    ok(s, strata_op_each(s, STRATA_OP_PROPOSED, NULL, 0, visit, &l));
    assert_int_equal(l.count, 0);
    CHEAP(&before);
}

static void commands(strata *s)
{
    strata_operation o;
    strata_lock lock;
    unsigned long before = steps;
    ok(s, strata_op_get(s, "deploy-0500000", &o));
    assert_int_equal(o.state, STRATA_OP_COMMITTED);
    assert_memory_equal(o.result, "ok", 2);
    CHEAP(&before);
    expect_code(s, strata_op_get(s, "deploy-none", &o), STRATA_NOT_FOUND);
    CHEAP(&before);
    strata_op_answer a = begin(s, "deploy-0999999");
    assert_int_equal(a.answer, STRATA_OP_REPLAY);
    CHEAP(&before);
    assert_int_equal(begin(s, "doubt-0000003").answer, STRATA_OP_DOUBT);
    CHEAP(&before);
    a = begin(s, "new");
    assert_int_equal(a.answer, STRATA_OP_RUN);
    CHEAP(&before);
    ok(s, strata_op_report(s, "new", a.token, "ok", 2, -1));
    CHEAP(&before);
    ok(s, strata_lock_acquire(s, "l", 60000, 0, 0, &lock));
    ok(s, strata_lock_release(s, "l", lock.token));
    CHEAP(&before);
    ok(s, strata_op_settle(s, "doubt-0000005", STRATA_SETTLE_FAILED, "pat", "seen", NULL, 0));
    CHEAP(&before);
}

/* Looking for what is old takes as many steps as there are operations, once; what goes, few each. */
static void prune(strata *s)
{
    uint64_t count;
    unsigned long before = steps;
    ok(s, strata_op_prune(s, DAY_MS, &count));
    assert_int_equal(count, OLD + 1);
    unsigned long n = steps_since(&before);
    assert_in_range(n, KEYS, KEYS + 40 * OLD);
    assert_int_equal(begin(s, "old-0000042").answer, STRATA_OP_PRUNED);
    assert_int_equal(begin(s, "model-old").answer, STRATA_OP_PRUNED);
    assert_int_equal(begin(s, "doubt-0000003").answer, STRATA_OP_DOUBT); /* as old as those */
    assert_int_equal(begin(s, "deploy-0000000").answer, STRATA_OP_REPLAY);
    CHEAP(&before);
}

static void test_a_million_operations(void **state)
{
    (void)state;
    make();
    for (int i = 0; i < 2; i++) { /* the second time with what the first one knows */
        strata *s = world_open("w", "anna");
        unsigned long before = steps;
        assert_int_equal(begin(s, i == 0 ? "first" : "second").answer, STRATA_OP_RUN);
        CHEAP(&before); /* with opening, and looking for deadlines */
        if (i == 0)
            commands(s);
        lists(s);
        if (i == 1)
            prune(s);
        strata_close(s);
    }
}

/* --- the log -------------------------------------------------------------------------------------- */

#define OPERATIONS   (ST_ENTRY_COMMANDS_MAX / 4) /* of one entry */
#define VERIFIED     12000
#define VERIFIED_MAX (4 << 20) /* bytes that SQLite may have at one time; all rows together are 7 MB */

static int no_flush(void *ctx, int fd)
{
    (void)ctx, (void)fd;
    return 0;
}

/* Operations begun and ended, many to an entry; tokens are given out in order. */
static void order(struct st_strong *s, int first, int count)
{
    static uint64_t token;
    char keys[OPERATIONS][32];
    for (int i = first; i < first + count;) {
        struct st_command entry[ST_ENTRY_COMMANDS_MAX];
        struct st_ledger_result results[ST_ENTRY_COMMANDS_MAX];
        size_t n = 0;
        for (int at = 0; at < OPERATIONS && i < first + count; at++, i++) {
            snprintf(keys[at], sizeof keys[at], "deploy-%07d", i);
            struct st_str key = st_str_of(keys[at]);
            entry[n++] = (struct st_command){.kind = ST_CMD_PROPOSE, .key = key};
            entry[n++] = (struct st_command){.kind = ST_CMD_GRANT, .key = key};
            entry[n++] = (struct st_command){.kind = ST_CMD_START, .key = key};
            entry[n++] = (struct st_command){
                .kind = ST_CMD_REPORT, .key = key, .token = ++token, .result = ST_STR("ok")};
        }
        assert_int_equal(st_strong_submit(s, ST_STR("anna"), 0, entry, n, results), ST_OK);
        assert_int_equal(results[n - 1].verdict, ST_VERDICT_DONE);
    }
}

static unsigned long verified(const struct st_env *env, int count)
{
    struct st_strong *s;
    struct st_strong_head head;
    struct st_fault fault;
    char state[512];
    snprintf(state, sizeof state, "%s", world_file("w", ""));
    assert_int_equal(st_strong_open(&s, env, st_alloc_libc(), state, false, "test", 0, &fault),
                     ST_OK);
    order(s, count - VERIFIED, VERIFIED);
    sqlite3_memory_highwater(1);
    unsigned long before = steps;
    assert_int_equal(st_strong_verify(s, &head), ST_OK);
    assert_int_equal(head.position, count / VERIFIED * ((VERIFIED + OPERATIONS - 1) / OPERATIONS));
    assert_in_range(sqlite3_memory_highwater(0), 1, VERIFIED_MAX);
    st_strong_close(s);
    return steps_since(&before);
}

/* Verifying applies the whole log: that takes twice as long for twice as much, and no more memory. */
static void test_verifying_is_linear_in_bounded_memory(void **state)
{
    (void)state;
    world_init("w");
    struct st_env env = *st_env_posix();
    env.fdatasync = no_flush;
    unsigned long once = verified(&env, VERIFIED), twice = verified(&env, 2 * VERIFIED);
    assert_in_range(once, VERIFIED, 20 * VERIFIED);
    assert_in_range(twice, once, once * 22 / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_verifying_is_linear_in_bounded_memory, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_a_million_operations, world_setup, world_teardown),
    };
    cmocka_set_test_filter(getenv("TEST"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
