/* test_lib_write.c - what supersedes what on one machine: blind and informed writes, conditional
 * writes, counters, settling, all with real processes. */
#include "lib_world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- seen and unseen
 * ------------------------------------------------------------------------------
 */

static void test_informed_overwrite_is_listed(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    strata_written wa, wb, wc;
    world_set(a, "api", "port", "1");
    world_shows(a, "api", "port", "1");
    world_shows(b, "api", "port", "1");
    ok(a, world_write(a, STRATA_SET, "api", "port", "2", &wa));
    assert_false(wa.unseen);
    assert_int_equal(wa.replaced_count, 1);
    assert_string_equal(wa.replaced.value, "1");

    ok(b, world_write(b, STRATA_SET, "api", "port", "3", &wb));
    assert_true(wb.unseen);
    assert_int_equal(wb.replaced_count, 1);
    assert_string_equal(wb.replaced.id, wa.id);
    assert_string_equal(wb.replaced.value, "2");
    assert_string_equal(wb.replaced.agent, "anna");
    assert_true(wb.replaced.time_ms == wa.time_ms);

    strata_pending p;
    assert_int_equal(world_pending(a, STRATA_PENDING_UNSEEN, &p), 1);
    assert_int_equal(world_pending(a, STRATA_PENDING_CONFLICT, NULL), 0);
    ok(a, strata_resolve(a, p.id, NULL, &wc));
    assert_int_equal(world_pending(a, STRATA_PENDING_UNSEEN, NULL), 0);
    assert_int_equal(world_pending(b, STRATA_PENDING_UNSEEN, NULL), 0);
    world_shows(b, "api", "port", "3");
    expect_code(a, strata_resolve(a, p.id, NULL, NULL), STRATA_NOT_FOUND);
    strata_close(a);
    strata_close(b);
}

static void test_blind_and_own_writes_are_not_listed(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert"), *n = world_open("w", NULL);
    strata_written w;
    world_set(a, "api", "port", "1");
    ok(b, world_write(b, STRATA_SET, "api", "port", "2", &w)); /* never read it */
    assert_false(w.unseen);
    assert_int_equal(w.replaced_count, 1);
    assert_string_equal(w.replaced.value, "1");
    world_shows(n, "api", "port", "2");
    ok(n, world_write(n, STRATA_SET, "api", "port", "3", &w)); /* no agent */
    assert_false(w.unseen);
    world_shows(a, "api", "port", "3");
    ok(a, world_write(a, STRATA_SET, "api", "port", "4", &w)); /* has read it */
    assert_false(w.unseen);
    ok(a, world_write(a, STRATA_UNSET, "api", "port", NULL, &w)); /* its own */
    assert_false(w.unseen);
    assert_string_equal(w.replaced.value, "4");
    ok(a, world_write(a, STRATA_SET, "api", "port", "5", &w));
    assert_false(w.unseen);
    assert_int_equal(w.replaced.kind, STRATA_ITEM_ABSENT);
    assert_int_equal(world_pending(a, STRATA_PENDING_UNSEEN, NULL), 0);
    strata_close(a);
    strata_close(b);
    strata_close(n);
}

static void test_unset_of_something_newer_is_listed(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    strata_written w;
    world_set(a, "api", "port", "1");
    world_shows(b, "api", "port", "1");
    world_set(a, "api", "port", "2");
    ok(b, world_write(b, STRATA_UNSET, "api", "port", NULL, &w));
    assert_true(w.unseen);
    assert_string_equal(w.replaced.value, "2");
    assert_int_equal(world_pending(a, STRATA_PENDING_UNSEEN, NULL), 1);
    strata_close(a);
    strata_close(b);
}

static int visit_any(void *arg, const strata_attribute *a)
{
    size_t *count = arg;
    (*count)++;
    return a->shown == NULL;
}

/* Whatever shows a value to an agent is reading: get, list, search. */
static void test_every_way_of_reading_leaves_a_mark(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    for (int way = 0; way < 3; way++) {
        strata_written w;
        size_t count = 0;
        char needle[32];
        snprintf(needle, sizeof needle, "needle%d", way);
        world_set(b, needle, "port", "old");
        world_shows(a, needle, "port", "old");
        world_set(b, needle, "port", "new");
        strata_fact_query q = {.size = sizeof q, .entity = needle};
        if (way == 0)
            world_shows(a, needle, "port", "new");
        else if (way == 1)
            ok(a, strata_fact_each(a, &q, visit_any, &count));
        else
            ok(a, strata_search(a, needle, 10, visit_any, &count));
        assert_true(way == 0 || count == 1);
        ok(a, world_write(a, STRATA_SET, needle, "port", "mine", &w));
        if (w.unseen)
            fail_msg("way %d left no mark", way);
    }
    assert_int_equal(world_pending(a, STRATA_PENDING_UNSEEN, NULL), 0);
    strata_close(a);
    strata_close(b);
}

/* --- all or nothing ------------------------------------------------------------------------------
 */

static void test_a_refused_write_leaves_nothing(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna");
    const strata_op ops[] = {
        {.kind = STRATA_SET, .entity = "x", .attribute = "y", .value = "1", .value_size = 1},
        {.kind = STRATA_COUNT, .entity = "n", .delta = 5},
        {.kind = STRATA_SET, .entity = "x\n", .attribute = "y", .value = "2", .value_size = 1},
    };
    strata_status before, after;
    world_status("w", &before);
    expect_code(a, strata_write(a, ops, 3, 0, NULL, NULL), STRATA_INVALID);
    const strata_expect absent = {.absent = true}, other = {.value = "9", .value_size = STRATA_NUL};
    expect_code(a, strata_write(a, ops, 2, 0, &absent, NULL), STRATA_USAGE);
    ok(a, strata_write(a, ops, 1, 0, &absent, NULL));
    expect_code(a, strata_write(a, ops, 1, 0, &absent, NULL), STRATA_CONFLICT);
    expect_code(a, strata_write(a, ops, 1, 0, &other, NULL), STRATA_CONFLICT);
    world_status("w", &after);
    assert_int_equal(after.records, before.records + 1);
    int64_t total;
    expect_code(a, strata_counter_get(a, "n", &total), STRATA_NOT_FOUND);
    strata_close(a);
}

/* --- many processes
 * -------------------------------------------------------------------------------
 */

#define PROCESSES 8
#define ROUNDS    40

struct shared {
    uint64_t successes, refusals, first, ready;
    char ids[PROCESSES][ROUNDS][80], replaced[PROCESSES][ROUNDS][80];
    char pending[80];
};

static struct shared *shared_new(void)
{
    struct shared *s =
        mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(s != MAP_FAILED);
    return s;
}

static strata *child_open(size_t i)
{
    char agent[32];
    snprintf(agent, sizeof agent, "agent%zu", i);
    return world_open("w", agent);
}

static void count_up(uint64_t *n)
{
    __atomic_add_fetch(n, 1, __ATOMIC_SEQ_CST);
}

static int increment(void *arg, size_t i)
{
    struct shared *shared = arg;
    strata *s = child_open(i);
    for (int k = 0; k < ROUNDS; k++) {
        char next[32];
        const char *now = world_get(s, "n", "value");
        snprintf(next, sizeof next, "%d", atoi(now) + 1);
        strata_expect e = {.absent = now[0] == '\0', .value = now, .value_size = STRATA_NUL};
        strata_op op = {.kind = STRATA_SET,
                        .entity = "n",
                        .attribute = "value",
                        .value = next,
                        .value_size = STRATA_NUL};
        int code = strata_write(s, &op, 1, 0, &e, NULL);
        if (code == STRATA_OK)
            count_up(&shared->successes);
        else if (code == STRATA_CONFLICT)
            count_up(&shared->refusals);
        else
            return 1;
    }
    strata_close(s);
    return 0;
}

static void test_compare_and_swap(void **state)
{
    (void)state;
    world_init("w");
    struct shared *shared = shared_new();
    world_processes(PROCESSES, increment, shared);
    strata *s = world_open("w", NULL);
    assert_int_equal(atoi(world_get(s, "n", "value")), shared->successes);
    assert_true(shared->successes >= ROUNDS);
    assert_int_equal(shared->successes + shared->refusals, PROCESSES * ROUNDS);
    assert_int_equal(world_pending(s, STRATA_PENDING_UNSEEN, NULL), 0);
    strata_close(s);
    munmap(shared, sizeof *shared);
}

static int create(void *arg, size_t i)
{
    struct shared *shared = arg;
    strata *s = child_open(i);
    const strata_expect absent = {.absent = true};
    for (int k = 0; k < ROUNDS; k++) {
        char entity[32];
        snprintf(entity, sizeof entity, "thing%d", k);
        strata_op op = {.kind = STRATA_SET,
                        .entity = entity,
                        .attribute = "owner",
                        .value = "me",
                        .value_size = STRATA_NUL};
        int code = strata_write(s, &op, 1, STRATA_NO_FLUSH, &absent, NULL);
        if (code == STRATA_OK)
            count_up(&shared->successes);
        else if (code != STRATA_CONFLICT)
            return 1;
    }
    strata_close(s);
    return 0;
}

static void test_one_creator(void **state)
{
    (void)state;
    world_init("w");
    struct shared *shared = shared_new();
    world_processes(PROCESSES, create, shared);
    assert_int_equal(shared->successes, ROUNDS);
    munmap(shared, sizeof *shared);
}

static int overwrite(void *arg, size_t i)
{
    struct shared *shared = arg;
    strata *s = child_open(i);
    for (int k = 0; k < ROUNDS; k++) {
        char value[32];
        strata_written w;
        snprintf(value, sizeof value, "%zu/%d", i, k);
        if (world_write(s, STRATA_SET, "x", "y", value, &w) != STRATA_OK)
            return 1;
        memcpy(shared->ids[i][k], w.id, sizeof w.id);
        if (w.replaced_count == 0)
            count_up(&shared->first);
        else
            memcpy(shared->replaced[i][k], w.replaced.id, sizeof w.replaced.id);
    }
    strata_close(s);
    return 0;
}

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Never in silence: every value but the last is told to the one who replaced it, and to nobody
 * else, even when that one was itself replaced before it could look. */
static void test_every_replacement_is_told(void **state)
{
    (void)state;
    world_init("w");
    struct shared *shared = shared_new();
    world_processes(PROCESSES, overwrite, shared);
    assert_int_equal(shared->first, 1);
    char(*replaced)[80] = &shared->replaced[0][0];
    qsort(replaced, PROCESSES * ROUNDS, sizeof *replaced, compare_ids);
    assert_string_equal(replaced[0], "");
    for (size_t i = 2; i < PROCESSES * ROUNDS; i++)
        assert_string_not_equal(replaced[i], replaced[i - 1]);
    munmap(shared, sizeof *shared);
}

static int count_and_add(void *arg, size_t i)
{
    (void)arg;
    strata *s = child_open(i);
    for (int k = 0; k < ROUNDS; k++) {
        char member[32];
        snprintf(member, sizeof member, "%zu/%d", i, k);
        strata_op ops[] = {
            {.kind = STRATA_COUNT, .entity = "runs", .delta = (int64_t)i - 3},
            {.kind = STRATA_ADD,
             .entity = "x",
             .attribute = "tags",
             .value = member,
             .value_size = STRATA_NUL},
        };
        if (strata_write(s, ops, 2, STRATA_NO_FLUSH, NULL, NULL) != STRATA_OK)
            return 1;
    }
    int code = strata_flush(s);
    strata_close(s);
    return code != STRATA_OK;
}

static void test_counters_and_members_of_many(void **state)
{
    (void)state;
    world_init("w");
    world_processes(PROCESSES, count_and_add, NULL);
    strata *s = world_open("w", NULL);
    int64_t total;
    ok(s, strata_counter_get(s, "runs", &total));
    assert_int_equal(total, ROUNDS * (-3 - 2 - 1 + 0 + 1 + 2 + 3 + 4));
    strata_attribute a;
    ok(s, strata_fact_get(s, "x", "tags", 0, &a));
    assert_int_equal(a.count, PROCESSES * ROUNDS);
    strata_close(s);
}

/* --- settling --------------------------------------------------------------------------------- */

static int settle(void *arg, size_t i)
{
    struct shared *shared = arg;
    strata *s = child_open(i);
    strata_resolution r = {.size = sizeof r, .take = STRATA_TAKE_NUMBER, .number = 1 + i % 2};
    count_up(&shared->ready);
    while (__atomic_load_n(&shared->ready, __ATOMIC_SEQ_CST) < PROCESSES)
        usleep(50);
    int code = strata_resolve(s, shared->pending, &r, NULL);
    if (code == STRATA_OK)
        count_up(&shared->successes);
    strata_close(s);
    return code != STRATA_OK && code != STRATA_NOT_FOUND;
}

/* Who comes second must not replace what the first has settled. */
static void test_a_conflict_is_settled_once(void **state)
{
    (void)state;
    world_init("w");
    world_init("other");
    strata *s = world_open("w", NULL);
    world_set(s, "base", "line", "0");
    world_merge("other", "w");
    strata *o = world_open("other", NULL);
    struct shared *shared = shared_new();
    for (int round = 0; round < 8; round++) {
        char attribute[32];
        snprintf(attribute, sizeof attribute, "a%d", round);
        world_set(s, "x", attribute, "here");
        world_set(o, "x", attribute, "there");
        world_merge("w", "other");
        strata_pending p;
        assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, &p), 1);
        memcpy(shared->pending, p.id, sizeof p.id);
        shared->successes = shared->ready = 0;
        world_processes(PROCESSES, settle, shared);
        assert_int_equal(shared->successes, 1);
        assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
    }
    strata_close(o);
    strata_close(s);
    munmap(shared, sizeof *shared);
}

/* Not even what it has read: its write is refused, and no file is made. */
static void test_who_may_only_read_leaves_nothing(void **state)
{
    (void)state;
    strata_error e;
    strata *s;
    world_init("w");
    strata *boss = world_open("w", NULL);
    world_set(boss, "x", "y", "1");
    strata_close(boss);
    strata_options o = {.size = sizeof o, .agent = "reader", .read_only = true};
    assert_int_equal(strata_open(world_path("w"), &o, &s, &e), STRATA_OK);
    world_shows(s, "x", "y", "1");
    expect_code(s, world_write(s, STRATA_SET, "x", "y", "2", NULL), STRATA_READ_ONLY);
    strata_close(s);
    assert_int_not_equal(access(world_file("w", "reads"), F_OK), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_informed_overwrite_is_listed),
        TEST(test_blind_and_own_writes_are_not_listed),
        TEST(test_unset_of_something_newer_is_listed),
        TEST(test_every_way_of_reading_leaves_a_mark),
        TEST(test_a_refused_write_leaves_nothing),
        TEST(test_who_may_only_read_leaves_nothing),
        TEST(test_compare_and_swap),
        TEST(test_one_creator),
        TEST(test_every_replacement_is_told),
        TEST(test_counters_and_members_of_many),
        TEST(test_a_conflict_is_settled_once),
    };
    return cmocka_run_group_tests_name("lib write", tests, NULL, NULL);
}
