/* test_lib_merge.c - replicas that meet: what is pending, that nothing is lost, that all come to
 * the same state, whatever their clocks say. */
#include "lib_world.h"

#include <inttypes.h>
#include <stdlib.h>

/* Both ways. After that neither has anything new for the other: replicas that meet every minute
 * must not fill their logs with nothing but having met. */
static void exchange(const char *a, const char *b)
{
    world_merge(a, b);
    world_merge(b, a);
    world_same_digest(a, b);
    uint64_t in_a = world_records(a, NULL);
    assert_int_equal(world_merge(a, b), 0);
    assert_int_equal(world_merge(b, a), 0);
    assert_true(world_records(a, NULL) <= in_a + 1);
    in_a = world_records(a, NULL);
    assert_int_equal(world_merge(a, b), 0);
    assert_int_equal(world_records(a, NULL), in_a);
}

/* Two replicas of one workspace with something in it. */
static void two_replicas(void)
{
    world_init("a");
    world_init("b");
    strata *s = world_open("a", "anna");
    world_set(s, "base", "line", "0");
    strata_close(s);
    assert_int_equal(world_merge("b", "a"), 1);
    s = world_open("b", NULL);
    assert_string_equal(world_get(s, "base", "line"), "0");
    strata_close(s);
    exchange("a", "b");
}

static void write_in(const char *name, int kind, const char *attribute, const char *value)
{
    strata *s = world_open(name, name);
    world_clock_ms += 5; /* each write is later than the one before */
    ok(s, world_write(s, kind, "x", attribute, value, NULL));
    strata_close(s);
}

static void shows_in(const char *name, const char *attribute, const char *value)
{
    strata *s = world_open(name, NULL);
    world_shows(s, "x", attribute, value);
    strata_close(s);
}

static size_t conflicts_in(const char *name, strata_pending *first)
{
    strata *s = world_open(name, NULL);
    size_t n = world_pending(s, STRATA_PENDING_CONFLICT, first);
    strata_close(s);
    strata_status st;
    world_status(name, &st);
    assert_int_equal(st.pending, n);
    return n;
}

/* --- two replicas
 * ---------------------------------------------------------------------------------
 */

static void test_concurrent_values_are_pending_until_settled(void **state)
{
    (void)state;
    two_replicas();
    write_in("a", STRATA_SET, "port", "1");
    write_in("b", STRATA_SET, "port", "2");
    exchange("a", "b");
    strata_pending in_a, in_b;
    assert_int_equal(conflicts_in("a", &in_a), 1);
    assert_int_equal(conflicts_in("b", &in_b), 1);
    assert_string_equal(in_a.id, in_b.id);
    assert_int_equal(in_a.count, 2);
    shows_in("a", "port", "2"); /* the later one */
    shows_in("b", "port", "2");

    strata *s = world_open("b", "judge");
    strata_resolution r = {
        .size = sizeof r, .take = STRATA_TAKE_VALUE, .value = "3", .value_size = STRATA_NUL};
    strata_written w;
    ok(s, strata_resolve(s, in_b.id, &r, &w));
    strata_close(s);
    assert_int_equal(conflicts_in("b", NULL), 0);
    assert_int_equal(conflicts_in("a", NULL), 1);
    exchange("a", "b");
    assert_int_equal(conflicts_in("a", NULL), 0);
    assert_int_equal(conflicts_in("b", NULL), 0);
    shows_in("a", "port", "3");
    shows_in("b", "port", "3");
}

static void test_equal_values_are_no_conflict(void **state)
{
    (void)state;
    two_replicas();
    write_in("a", STRATA_SET, "port", "1");
    write_in("b", STRATA_SET, "port", "1");
    exchange("a", "b");
    assert_int_equal(conflicts_in("a", NULL), 0);
    write_in("a", STRATA_SET, "port", "2");
    exchange("a", "b");
    assert_int_equal(conflicts_in("b", NULL), 0);
    shows_in("b", "port", "2");
}

static void test_unset_against_set(void **state)
{
    (void)state;
    two_replicas();
    write_in("a", STRATA_SET, "port", "1");
    exchange("a", "b");
    write_in("a", STRATA_UNSET, "port", NULL);
    write_in("b", STRATA_SET, "port", "2");
    exchange("a", "b");
    strata_pending p;
    assert_int_equal(conflicts_in("a", &p), 1);
    assert_int_equal(p.count, 2);
    strata *s = world_open("a", NULL);
    strata_resolution r = {.size = sizeof r, .take = STRATA_TAKE_LATEST};
    ok(s, strata_resolve(s, p.id, &r, NULL));
    strata_close(s);
    exchange("a", "b");
    assert_int_equal(conflicts_in("b", NULL), 0);
    shows_in("b", "port", "2");
}

static void test_members_and_counters(void **state)
{
    (void)state;
    two_replicas();
    write_in("a", STRATA_ADD, "tags", "red");
    exchange("a", "b");
    write_in("a", STRATA_REMOVE, "tags", "red");
    write_in("b", STRATA_ADD, "tags", "red"); /* add wins over a remove elsewhere */
    write_in("a", STRATA_ADD, "tags", "green");
    write_in("b", STRATA_ADD, "tags", "blue");
    strata *a = world_open("a", NULL), *b = world_open("b", NULL);
    ok(a, world_write(a, STRATA_COUNT, "runs", NULL, "5", NULL));
    ok(b, world_write(b, STRATA_COUNT, "runs", NULL, "-7", NULL));
    strata_close(a);
    strata_close(b);
    exchange("a", "b");
    const char *names[] = {"a", "b"};
    for (int i = 0; i < 2; i++) {
        strata *s = world_open(names[i], NULL);
        strata_attribute tags;
        int64_t total;
        ok(s, strata_fact_get(s, "x", "tags", 0, &tags));
        assert_int_equal(tags.count, 3);
        assert_false(tags.pending);
        ok(s, strata_counter_get(s, "runs", &total));
        assert_int_equal(total, -2);
        strata_close(s);
    }
}

/* What was overwritten unseen is settled for all by an acknowledgement on one side. */
static void test_unseen_travels(void **state)
{
    (void)state;
    two_replicas();
    strata *a = world_open("a", "anna"), *b = world_open("a", "bert");
    world_shows(b, "base", "line", "0");
    world_set(a, "base", "line", "1");
    world_set(b, "base", "line", "2");
    assert_int_equal(world_pending(a, STRATA_PENDING_UNSEEN, NULL), 1);
    strata_close(a);
    strata_close(b);
    exchange("a", "b");
    strata_pending p;
    b = world_open("b", NULL);
    assert_int_equal(world_pending(b, STRATA_PENDING_UNSEEN, &p), 1);
    ok(b, strata_resolve(b, p.id, NULL, NULL));
    strata_close(b);
    exchange("a", "b");
    a = world_open("a", NULL);
    assert_int_equal(world_pending(a, STRATA_PENDING_UNSEEN, NULL), 0);
    strata_close(a);
    strata_status st;
    world_status("a", &st);
    assert_int_equal(st.unseen, 0);
}

static void test_workspaces_do_not_mix(void **state)
{
    (void)state;
    world_init("a");
    world_init("b");
    write_in("a", STRATA_SET, "port", "1");
    write_in("b", STRATA_SET, "port", "2");
    strata *s = world_open("a", NULL);
    strata_merge_result r;
    expect_code(s, strata_merge_state(s, world_path("b"), false, &r), STRATA_CONFLICT);
    expect_code(s, strata_merge_state(s, world_path("a"), false, &r), STRATA_INVALID);
    world_shows(s, "x", "port", "1");
    assert_int_equal(world_records("a", NULL), 1);
    ok(s, strata_merge_state(s, world_path("b"), true, &r));
    assert_int_equal(r.records, 1);
    assert_int_equal(r.pending_after, 1);
    strata_close(s);
}

/* --- records that wait ------------------------------------------------------------------------ */

/* c meets b, which has seen a's records, before it meets a's: b's are on c's disk, but do not count
 * until a's are there. */
static bool look_alike(void)
{
    char a[33], b[33];
    world_digest("a", a);
    world_digest("b", b);
    return strcmp(a, b) == 0;
}

/* Two copies have one digest exactly when they show the same: any write that only one has makes them differ, and
 * so do two that are of one shape. */
static void test_the_digest_tells_every_difference(void **state)
{
    (void)state;
    static const strata_op ops[] = {
        {.kind = STRATA_SET,
         .entity = "x",
         .attribute = "p",
         .value = "1",
         .value_size = STRATA_NUL},
        {.kind = STRATA_SET,
         .entity = "x",
         .attribute = "p",
         .value = "2",
         .value_size = STRATA_NUL},
        {.kind = STRATA_SET,
         .entity = "x",
         .attribute = "p",
         .value = "2",
         .value_size = STRATA_NUL,
         .link = true},
        {.kind = STRATA_UNSET, .entity = "x", .attribute = "p"},
        {.kind = STRATA_ADD,
         .entity = "x",
         .attribute = "m",
         .value = "2",
         .value_size = STRATA_NUL},
        {.kind = STRATA_REMOVE,
         .entity = "x",
         .attribute = "m",
         .value = "2",
         .value_size = STRATA_NUL},
        {.kind = STRATA_COUNT, .entity = "n", .delta = 1},
        {.kind = STRATA_COUNT, .entity = "n", .delta = -1},
    };
    two_replicas();
    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        assert_true(look_alike());
        strata *s = world_open("a", "anna");
        world_clock_ms += 5;
        ok(s, strata_write(s, &ops[i], 1, 0, NULL, NULL));
        strata_close(s);
        if (look_alike())
            fail_msg("write %zu is not seen in the digest", i);
        exchange("a", "b");
    }
    for (int i = 0; i < 2; i++) {
        strata *s = world_open(i == 0 ? "a" : "b", NULL);
        ok(s, world_write(s, STRATA_COUNT, i == 0 ? "here" : "there", NULL, "1", NULL));
        strata_close(s);
    }
    assert_false(look_alike());
    exchange("a", "b");
    assert_true(look_alike());
}

static void test_records_wait_for_what_they_depend_on(void **state)
{
    (void)state;
    two_replicas();
    world_init("c");
    world_merge("c", "b");
    write_in("a", STRATA_SET, "port", "1");
    exchange("a", "b");
    write_in("b", STRATA_SET, "port", "2"); /* over a's */
    write_in("b", STRATA_SET, "host", "h");
    /* A copy of b that lacks a's last record. */
    char id[17];
    world_replica("a", id);
    world_run("cp -r b partial &&"
              " sed -i '$d' \"$(ls partial/.strata/log/%s-*/*.jsonl | tail -n 1)\"",
              id);
    strata *c = world_open("c", NULL);
    strata_merge_result r;
    ok(c, strata_merge_state(c, world_path("partial"), false, &r));
    assert_int_equal(r.records, 0);
    assert_true(r.waiting >= 2);
    world_shows(c, "x", "port", "");
    world_shows(c, "x", "host", "");
    strata_status st;
    ok(c, strata_status_get(c, &st));
    assert_true(st.waiting >= 2);
    world_set(c, "x", "port", "mine"); /* over nothing: it knows of nothing */
    ok(c, strata_merge_state(c, world_path("a"), false, &r));
    assert_int_equal(r.waiting, 0);
    assert_int_equal(r.pending_after, 1);
    world_shows(c, "x", "host", "h");
    strata_close(c);
    exchange("a", "c");
    exchange("a", "b");
    world_same_digest("a", "c");
}

/* From the moment a record names them others' records count: then they must be on disk. */
static void test_named_only_when_on_disk(void **state)
{
    (void)state;
    two_replicas();
    for (int i = 0; i < 5; i++) {
        write_in("a", STRATA_SET, "port", "1");
        world_forget_writes();
        assert_int_equal(world_merge("b", "a"), 1);
        assert_int_equal(world_unflushed, 0);
    }
}

/* --- three replicas in a ring --------------------------------------------------------------------
 */

static const char *const ring[] = {"a", "b", "c"};

static void random_operation(uint64_t *rng, strata *s)
{
    char attribute[8], value[8];
    strata_pending p;
    snprintf(attribute, sizeof attribute, "k%u", (unsigned)(world_random(rng) % 6));
    snprintf(value, sizeof value, "%u", (unsigned)(world_random(rng) % 4));
    strata_resolution latest = {.size = sizeof latest, .take = STRATA_TAKE_LATEST};
    switch (world_random(rng) % 10) {
    case 0:
        ok(s, world_write(s, STRATA_UNSET, "x", attribute, NULL, NULL));
        break;
    case 1:
    case 2:
        ok(s, world_write(s, STRATA_ADD, "x", attribute, value, NULL));
        break;
    case 3:
        ok(s, world_write(s, STRATA_REMOVE, "x", attribute, value, NULL));
        break;
    case 4:
        ok(s, world_write(s, STRATA_COUNT, attribute, NULL, value, NULL));
        break;
    case 5:
        ok(s, strata_beat(s, value));
        break;
    case 6:
        if (world_pending(s, STRATA_PENDING_CONFLICT, &p) > 0)
            ok(s, strata_resolve(s, p.id, &latest, NULL));
        break;
    case 7:
        if (world_pending(s, STRATA_PENDING_UNSEEN, &p) > 0)
            ok(s, strata_resolve(s, p.id, NULL, NULL));
        break;
    case 8:
        world_get(s, "x", attribute);
        break;
    default:
        world_set(s, "x", attribute, value);
    }
}

static void ring_run(uint64_t seed)
{
    char digests[3][33], rebuilt[33];
    uint64_t rng = seed;
    for (int i = 0; i < 3; i++)
        world_init(ring[i]);
    strata *s = world_open("a", "first");
    world_set(s, "x", "k0", "0");
    strata_close(s);
    world_merge("b", "a");
    world_merge("c", "b");
    for (int round = 0; round < 12; round++) {
        unsigned i = (unsigned)(world_random(&rng) % 3);
        char agent[8];
        snprintf(agent, sizeof agent, "w%u", (unsigned)(world_random(&rng) % 2));
        world_clock_ms = (int64_t)(world_random(&rng) % 100000) - 50000;
        s = world_open(ring[i], agent);
        for (uint64_t k = world_random(&rng) % 8; k > 0; k--)
            random_operation(&rng, s);
        strata_close(s);
        if (world_random(&rng) % 3 == 0)
            world_merge(ring[(i + 1) % 3], ring[i]);
    }
    world_clock_ms = 0;
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 3; i++)
            world_merge(ring[(i + 1) % 3], ring[i]);
    for (int i = 0; i < 3; i++) {
        world_digest(ring[i], digests[i]);
        world_rebuilt_digest(ring[i], rebuilt);
        if (strcmp(digests[i], rebuilt) != 0)
            fail_msg("seed %" PRIu64 ": the index of %s is not what its log says", seed, ring[i]);
        if (strcmp(digests[i], digests[0]) != 0)
            fail_msg("seed %" PRIu64 ": %s differs from %s", seed, ring[i], ring[0]);
    }
    world_dots_are_unique(ring, 3);
}

static void test_ring(void **state)
{
    const char *only = getenv("SEED");
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1, last = only != NULL ? first : 25;
    for (uint64_t seed = first; seed <= last; seed++) {
        ring_run(seed);
        if (seed < last) {
            assert_int_equal(world_teardown(state), 0);
            assert_int_equal(world_setup(state), 0);
        }
    }
}

/* --- clocks --------------------------------------------------------------------------------------
 */

#define HOUR_MS (3600 * (int64_t)1000)

/* A value that was seen can be replaced, and the replacement is what is shown, whatever the clock
 * of the one who made it says. */
static void test_clocks_set_back_and_forward(void **state)
{
    (void)state;
    world_init("a");
    static const int64_t clocks[] = {0, -HOUR_MS, 24 * HOUR_MS, 0, -HOUR_MS, 0};
    uint64_t last = 0;
    for (size_t i = 0; i < sizeof clocks / sizeof clocks[0]; i++) {
        char value[32];
        strata_written w;
        world_clock_ms = clocks[i];
        strata *s = world_open("a", i % 2 == 0 ? "anna" : "bert");
        snprintf(value, sizeof value, "%zu", i);
        if (i > 0)
            assert_int_equal(atoi(world_get(s, "x", "y")), (int)i - 1);
        ok(s, world_write(s, STRATA_SET, "x", "y", value, &w));
        assert_false(w.unseen);
        assert_int_equal(w.replaced_count, i > 0);
        world_shows(s, "x", "y", value);
        assert_true(w.time_ms >= last); /* a log's times never run back */
        last = w.time_ms;
        assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
        strata_close(s);
    }
    char digest[33], rebuilt[33];
    world_digest("a", digest);
    world_rebuilt_digest("a", rebuilt);
    assert_string_equal(digest, rebuilt);
}

static void test_replicas_an_hour_apart(void **state)
{
    (void)state;
    two_replicas();
    for (int round = 0; round < 3; round++) {
        char value[32];
        snprintf(value, sizeof value, "early%d", round);
        world_clock_ms = HOUR_MS;
        exchange("a", "b");
        write_in("b", STRATA_SET, "y", "late");
        world_clock_ms = 0;
        exchange("a", "b");
        shows_in("a", "y", "late");
        write_in("a", STRATA_SET, "y", value); /* an hour before what it replaces */
        shows_in("a", "y", value);
        exchange("a", "b");
        shows_in("b", "y", value);
        assert_int_equal(conflicts_in("b", NULL), 0);
    }
}

static void test_status_names_the_suspect(void **state)
{
    (void)state;
    two_replicas();
    world_clock_ms = 24 * HOUR_MS;
    write_in("b", STRATA_SET, "y", "tomorrow");
    world_clock_ms = 0;
    world_merge("a", "b");
    strata *s = world_open("a", NULL);
    strata_status st;
    ok(s, strata_status_get(s, &st));
    size_t suspects = 0;
    for (size_t i = 0; i < st.replica_count; i++) {
        const strata_replica_info *r = &st.replicas[i];
        if (r->ahead_ms == 0)
            continue;
        suspects++;
        assert_string_equal(r->name, "b");
        assert_false(r->self);
        assert_true(r->ahead_ms > 23 * HOUR_MS && r->ahead_ms < 25 * HOUR_MS);
    }
    assert_int_equal(suspects, 1);
    strata_written w;
    ok(s, world_write(s, STRATA_SET, "x", "y", "today", &w));
    assert_string_equal(w.replaced.value, "tomorrow");
    strata_close(s);
    shows_in("a", "y", "today");
    /* It did not move our clock. */
    assert_true(w.time_ms < w.replaced.time_ms);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_concurrent_values_are_pending_until_settled),
        TEST(test_equal_values_are_no_conflict),
        TEST(test_unset_against_set),
        TEST(test_members_and_counters),
        TEST(test_unseen_travels),
        TEST(test_workspaces_do_not_mix),
        TEST(test_records_wait_for_what_they_depend_on),
        TEST(test_named_only_when_on_disk),
        TEST(test_ring),
        TEST(test_clocks_set_back_and_forward),
        TEST(test_replicas_an_hour_apart),
        TEST(test_status_names_the_suspect),
        TEST(test_the_digest_tells_every_difference),
    };
    return cmocka_run_group_tests_name("lib merge", tests, NULL, NULL);
}
