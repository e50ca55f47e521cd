/* test_lib_identity.c - copied, restored, cloned, rebooted states: no two writers share an epoch,
 * no number is given out twice, and when the copies meet nothing is lost. */
#include "lib_world.h"

#include "lib/internal.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* `count` facts of their own, by an agent of the same name as the prefix. */
static void write_some(const char *name, const char *prefix, int count)
{
    strata *s = world_open(name, prefix);
    for (int i = 0; i < count; i++) {
        char entity[64];
        snprintf(entity, sizeof entity, "%s%d", prefix, i);
        world_set(s, entity, "from", prefix);
        ok(s, world_write(s, STRATA_COUNT, "written", NULL, "1", NULL));
    }
    strata_close(s);
}

static void has_all(const char *name, const char *prefix, int count)
{
    strata *s = world_open(name, NULL);
    for (int i = 0; i < count; i++) {
        char entity[64];
        snprintf(entity, sizeof entity, "%s%d", prefix, i);
        world_shows(s, entity, "from", prefix);
    }
    strata_close(s);
}

static uint64_t epoch_of(const char *name)
{
    strata *s = world_open(name, NULL);
    uint64_t epoch = s->log.identity.epoch;
    strata_close(s);
    return epoch;
}

static void meet(const char *a, const char *b)
{
    char x[33], y[33], rebuilt[33];
    world_merge(a, b);
    world_merge(b, a);
    world_digest(a, x);
    world_digest(b, y);
    assert_string_equal(x, y);
    world_rebuilt_digest(a, rebuilt);
    assert_string_equal(x, rebuilt);
    const char *both[] = {a, b};
    world_dots_are_unique(both, 2);
}

static void test_copies_live_on(void **state)
{
    (void)state;
    world_init("a");
    write_some("a", "before", 3);
    world_run("cp -r a b && cp -a b c");
    strata *s = world_open("b", NULL);
    assert_int_equal(world_notices(s, "copied or restored"), 1);
    strata_close(s);
    s = world_open("b", NULL);
    assert_int_equal(world_notices(s, "copied or restored"), 0);
    strata_close(s);
    write_some("a", "in-a", 4);
    write_some("b", "in-b", 5);
    write_some("c", "in-c", 6);
    assert_true(epoch_of("a") != epoch_of("b") && epoch_of("b") != epoch_of("c") &&
                epoch_of("a") != epoch_of("c"));
    meet("a", "b");
    meet("b", "c");
    meet("a", "c");
    const char *const all[] = {"a", "b", "c"};
    world_dots_are_unique(all, 3);
    for (int i = 0; i < 3; i++) {
        has_all(all[i], "before", 3);
        has_all(all[i], "in-a", 4);
        has_all(all[i], "in-b", 5);
        has_all(all[i], "in-c", 6);
        assert_int_equal(world_counted(all[i]), 18);
    }
}

/* b knows more of a than a does after the restore. */
static void restored(const char *save, const char *restore)
{
    world_init("a");
    write_some("a", "early", 3);
    world_run("%s", save);
    write_some("a", "late", 3);
    world_init("b");
    world_merge("b", "a");
    world_run("%s", restore);
    uint64_t before = epoch_of("a");
    write_some("a", "after", 3);
    has_all("a", "early", 3);
    meet("a", "b");
    write_some("a", "again", 2);
    meet("a", "b");
    assert_true(epoch_of("a") == before);
    const char *const both[] = {"a", "b"};
    for (int i = 0; i < 2; i++) {
        has_all(both[i], "early", 3);
        has_all(both[i], "late", 3);
        has_all(both[i], "after", 3);
        has_all(both[i], "again", 2);
        assert_int_equal(world_counted(both[i]), 11);
    }
}

static void test_restored_from_a_copy(void **state)
{
    (void)state;
    restored("cp -r a saved", "rm -rf a && cp -r saved a");
}

static void test_restored_by_tar_over_the_living(void **state)
{
    (void)state;
    restored("tar cf saved.tar a", "tar xf saved.tar");
}

static void test_restored_by_moving(void **state)
{
    (void)state;
    restored("cp -a a saved", "mv a gone && mv saved a");
}

/* Bytes restored in place keep all inodes: only the other replica can tell. */
static void test_restored_in_place_meets_its_own_records(void **state)
{
    (void)state;
    world_init("a");
    write_some("a", "early", 3);
    world_run("cp -r a saved");
    write_some("a", "late", 3);
    world_init("b");
    world_merge("b", "a");
    uint64_t before = epoch_of("a");
    world_run("cp -r saved/. a/");
    assert_true(epoch_of("a") == before); /* it cannot know */
    world_merge("a", "b");
    assert_true(epoch_of("a") != before);
    has_all("a", "late", 3);
    write_some("a", "after", 2);
    meet("a", "b");
    has_all("b", "after", 2);
    assert_int_equal(world_counted("b"), 8);
}

static size_t forks_told(const char *to, const char *from)
{
    strata *s = world_open(to, NULL);
    strata_merge_result r;
    ok(s, strata_merge_state(s, world_path(from), false, &r));
    size_t n = world_notices(s, "different records under the same numbers");
    strata_close(s);
    return n;
}

/* The same, and it went on before it met anybody: what cannot be merged is at least told on both
 * sides, whichever log is longer, and no further number is given out twice. */
static void test_two_lives_are_told(void **state)
{
    for (int more = 0; more < 3; more++) {
        world_init("a");
        write_some("a", "early", 3);
        world_run("cp -r a saved");
        write_some("a", "late", 2);
        world_init("b");
        world_merge("b", "a");
        world_run("cp -r saved/. a/");
        write_some("a", "after", 1 + more); /* shorter, as long, longer than b's */
        uint64_t before = epoch_of("a");
        if (forks_told("a", "b") != 1 || forks_told("b", "a") != 1)
            fail_msg("%d: not told", more);
        assert_true(epoch_of("a") != before);
        write_some("a", "new", 2);
        world_merge("b", "a");
        has_all("a", "after", 1 + more);
        has_all("b", "late", 2);
        assert_int_equal(world_teardown(state), 0);
        assert_int_equal(world_setup(state), 0);
    }
}

/* A process that has the state open while it is replaced. */
static void test_replaced_under_an_open_handle(void **state)
{
    (void)state;
    world_init("a");
    write_some("a", "early", 3);
    world_run("cp -r a saved");
    strata *s = world_open("a", "anna");
    world_set(s, "x", "y", "1");
    world_run("rm -rf a && cp -r saved a");
    int code = world_write(s, STRATA_SET, "x", "y", "2", NULL);
    expect_code(s, code, STRATA_UNAVAILABLE);
    assert_non_null(strstr(strata_last_error(s)->message, "nothing was recorded"));
    strata_close(s);
    write_some("a", "after", 2);
    has_all("a", "early", 3);
    const char *const both[] = {"a", "saved"};
    world_dots_are_unique(both, 2);
}

/* Who has read only, or written before, while the state is removed and brought back, put aside for its copy, or
 * made anew. */
static void test_replaced_under_a_handle(void **state)
{
    (void)state;
    static const char *const ways[] = {
        "tar cf x a && rm -rf a && tar xf x",
        "cp -r a b && mv a aside && mv b a",
        "rm -rf a/.strata",
    };
    for (size_t way = 0; way < sizeof ways / sizeof ways[0]; way++)
        for (int wrote = 0; wrote < 2; wrote++) {
            world_run("rm -rf a aside b x");
            world_init("a");
            write_some("a", "early", 3);
            strata *s = world_open("a", "anna");
            strata_attribute got;
            ok(s, strata_fact_get(s, "early0", "from", 0, &got));
            if (wrote)
                world_set(s, "mine", "y", "1");
            world_run("%s", ways[way]);
            if (way == 2)
                world_init("a");
            write_some("a", "after", 1);
            if (wrote && way == 1)
                usleep(120000); /* its files have their names still, elsewhere */
            int code = world_write(s, STRATA_SET, "late", "y", "2", NULL);
            expect_code(s, code, STRATA_UNAVAILABLE);
            assert_non_null(strstr(strata_last_error(s)->message, "removed or replaced"));
            usleep(120000);
            expect_code(s, strata_fact_get(s, "early0", "from", 0, &got), STRATA_UNAVAILABLE);
            expect_code(s, strata_fact_get(s, "after0", "from", 0, &got), STRATA_UNAVAILABLE);
            assert_non_null(strstr(strata_last_error(s)->message, "removed or replaced"));
            strata_close(s);
            has_all("a", "after", 1);
        }
}

static void test_reboots(void **state)
{
    (void)state;
    world_init("a");
    uint64_t epoch = epoch_of("a");
    for (int boot = 1; boot <= 4; boot++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "boot%d-", boot);
        world_boot = (uint8_t)boot;
        write_some("a", prefix, 2);
        assert_true(epoch_of("a") != epoch);
        epoch = epoch_of("a");
        assert_int_equal(world_counted("a"), boot * 2);
    }
    const char *const one[] = {"a"};
    world_dots_are_unique(one, 1);
    char digest[33], rebuilt[33];
    world_digest("a", digest);
    world_rebuilt_digest("a", rebuilt);
    assert_string_equal(digest, rebuilt);
    strata *s = world_open("a", NULL);
    assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
    strata_close(s);
}

/* Copies taken while somebody writes: each has what was acknowledged before the copy began. */
static void test_copied_while_written(void **state)
{
    (void)state;
    world_init("a");
    write_some("a", "before", 3);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        strata *s = world_open("a", "writer");
        for (int i = 0;; i++) {
            char value[32];
            snprintf(value, sizeof value, "%d", i);
            world_set(s, "x", "y", value);
        }
    }
    const char *names[] = {"a", "c0", "c1", "c2", "c3", "c4"};
    int last[6] = {0};
    for (int i = 1; i < 6; i++) {
        strata *s = world_open("a", NULL);
        last[i] = atoi(world_get(s, "x", "y"));
        strata_close(s);
        world_run("cp -r a %s", names[i]);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    for (int i = 1; i < 6; i++) {
        has_all(names[i], "before", 3);
        strata *s = world_open(names[i], NULL);
        assert_true(atoi(world_get(s, "x", "y")) >= last[i]);
        strata_close(s);
        write_some(names[i], names[i], 2);
    }
    for (int i = 1; i < 6; i++)
        meet("a", names[i]);
    for (int i = 1; i < 6; i++)
        meet("a", names[i]);
    world_dots_are_unique(names, 6);
    for (int i = 0; i < 6; i++)
        assert_int_equal(world_counted(names[i]), 13);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_copies_live_on),
        TEST(test_restored_from_a_copy),
        TEST(test_restored_by_tar_over_the_living),
        TEST(test_restored_by_moving),
        TEST(test_restored_in_place_meets_its_own_records),
        TEST(test_two_lives_are_told),
        TEST(test_replaced_under_an_open_handle),
        TEST(test_replaced_under_a_handle),
        TEST(test_reboots),
        TEST(test_copied_while_written),
    };
    return cmocka_run_group_tests_name("lib identity", tests, NULL, NULL);
}
