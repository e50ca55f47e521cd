/* test_lib_operations.c - once-only operations through the library: what is on disk when an answer
 * is given, terms without a descriptor, many keys. */
#include "lib_world.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

static strata_op_answer begin(strata *s, const char *key, uint64_t term_ms, bool only_grant)
{
    strata_op_request r = {.size = sizeof r,
                           .key = key,
                           .parameters = "p",
                           .parameters_size = 1,
                           .term_ms = term_ms,
                           .only_grant = only_grant};
    strata_op_answer a;
    ok(s, strata_op_begin(s, &r, &a));
    return a;
}

static int state_of(strata *s, const char *key)
{
    strata_operation o;
    ok(s, strata_op_get(s, key, &o));
    return o.state;
}

/* The effect may happen as soon as begin, or start, has returned. */
static void test_a_start_is_on_disk_when_it_is_answered(void **state)
{
    (void)state;
    world_init("w");
    strata *s = world_open("w", "anna");
    strata_op op = {
        .kind = STRATA_SET, .entity = "a", .attribute = "b", .value = "c", .value_size = 1};
    world_forget_writes();
    ok(s, strata_write(s, &op, 1, STRATA_NO_FLUSH, NULL, NULL));
    assert_true(world_dirty() > 0); /* so this is seen */
    ok(s, strata_flush(s));
    (void)begin(s, "zero", 60000, false); /* makes the file that processes share; a cache */

    world_forget_writes();
    strata_op_answer a = begin(s, "one", 0, false);
    assert_int_equal(a.answer, STRATA_OP_RUN);
    assert_int_equal(world_dirty(), 0);
    ok(s, strata_op_report(s, "one", a.token, "ok", 2, a.executor));
    assert_int_equal(world_dirty(), 0);

    a = begin(s, "two", 60000, true);
    assert_int_equal(state_of(s, "two"), STRATA_OP_GRANTED);
    world_forget_writes();
    ok(s, strata_op_start(s, "two", a.token));
    assert_int_equal(world_dirty(), 0);
    assert_int_equal(state_of(s, "two"), STRATA_OP_EXECUTING);
    strata_close(s);
}

/* Killed at every change to the file system: if begin was answered, the key is never given out
 * again. */
static int strike(void *arg, size_t i)
{
    (void)i;
    int *answered = arg;
    strata *s = world_open("w", "anna");
    strata_op_request r = {.size = sizeof r, .key = "k", .parameters = "p", .parameters_size = 1};
    strata_op_answer a;
    if (strata_op_begin(s, &r, &a) == STRATA_OK && a.answer == STRATA_OP_RUN)
        (void)!write(answered[1], "x", 1);
    raise(SIGKILL);
    return 0;
}

static void test_killed_at_every_step(void **state)
{
    (void)state;
    unsigned runs = 0;
    for (uint64_t at = 1; at <= 12; at++) {
        char name[2] = "w";
        int answered[2], status;
        char c;
        world_run("rm -rf w");
        world_init(name);
        if (at > 3) { /* the first ones also while the file is made that processes share */
            strata *first = world_open("w", "anna");
            (void)begin(first, "zero", 60000, false);
            strata_close(first);
        }
        assert_int_equal(pipe(answered), 0);
        pid_t pid = fork();
        if (pid == 0) {
            world_strike = at;
            (void)strike(answered, 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        close(answered[1]);
        bool ran = read(answered[0], &c, 1) == 1;
        close(answered[0]);
        runs += ran;
        strata *s = world_open("w", "bert");
        strata_op_answer a = begin(s, "k", 0, false);
        if (ran)
            assert_int_equal(a.answer, STRATA_OP_DOUBT);
        else /* not begun, or begun and nobody was told */
            assert_true(a.answer == STRATA_OP_RUN || a.answer == STRATA_OP_DOUBT);
        if (a.executor >= 0)
            close(a.executor);
        strata_close(s);
    }
    assert_true(runs > 0 && runs < 12);
}

/* The memory that processes share is made by one while the others wait; who waited in vain looks again
 * with its next command. */
static bool shares(void)
{
    char line[512];
    bool found = false;
    FILE *maps = fopen("/proc/self/maps", "re");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL)
        found = found || strstr(line, "/strong/answers") != NULL;
    (void)fclose(maps);
    return found;
}

static void test_who_could_not_share_shares_later(void **state)
{
    (void)state;
    world_init("w");
    int fd = open(world_file("w", "strong/answers"), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    assert_int_equal(flock(fd, LOCK_EX), 0); /* somebody makes it, and was stopped */
    strata *a = world_open("w", "anna");
    assert_int_equal(begin(a, "one", 60000, false).answer, STRATA_OP_RUN);
    assert_false(shares());
    assert_int_equal(begin(a, "one", 60000, false).answer, STRATA_OP_BUSY);
    close(fd);
    assert_int_equal(begin(a, "two", 60000, false).answer, STRATA_OP_RUN);
    assert_true(shares());
    assert_int_equal(state_of(a, "one"), STRATA_OP_EXECUTING);
    strata_close(a);
}

static void test_a_term_decides_where_nobody_lives_on(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    strata_op_answer one = begin(a, "k", 60000, false);
    assert_int_equal(one.answer, STRATA_OP_RUN);
    assert_int_equal(one.executor, -1);
    assert_int_equal(begin(b, "k", 60000, false).answer, STRATA_OP_BUSY);
    world_term_ms += 50000;
    ok(a, strata_op_renew(a, "k", one.token, 60000));
    world_term_ms += 50000;
    assert_int_equal(begin(b, "k", 60000, false).answer, STRATA_OP_BUSY);
    expect_code(b, strata_op_settle(b, "k", STRATA_SETTLE_FAILED, "pat", "I think", NULL, 0),
                STRATA_UNAVAILABLE);
    world_term_ms += 11000;
    assert_int_equal(begin(b, "k", 60000, false).answer, STRATA_OP_DOUBT);
    ok(a, strata_op_report(a, "k", one.token, "late", 4, -1)); /* the truth, late */
    assert_int_equal(begin(b, "k", 60000, false).answer, STRATA_OP_REPLAY);
    expect_code(a, strata_op_renew(a, "k", one.token, 60000), STRATA_CONFLICT);
    expect_code(a, strata_op_renew(a, "k", one.token, 31ull * 24 * 3600 * 1000), STRATA_LIMIT);
    expect_code(a, strata_op_start(a, "k", 0), STRATA_USAGE);
    /* Granted and not started: free after the term, whatever happened. */
    one = begin(a, "m", 60000, true);
    world_term_ms += 61000;
    strata_op_answer two = begin(b, "m", 60000, true);
    assert_int_equal(two.answer, STRATA_OP_RUN);
    assert_true(two.token > one.token);
    expect_code(a, strata_op_start(a, "m", one.token), STRATA_CONFLICT);
    strata_close(a);
    strata_close(b);
}

/* Terms are on a clock that nobody sets. The wall clock is for people, for what a service keeps of a
 * key, and for what is old enough to be pruned. */
static void test_the_wall_clock_ends_no_term(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    const int64_t days[] = {400, -800, 0};
    strata_lock lock;
    ok(a, strata_lock_acquire(a, "l", 60000, 0, 0, &lock));
    assert_true(lock.since_ms > 0);
    strata_op_answer one = begin(a, "k", 60000, false);
    for (size_t i = 0; i < sizeof days / sizeof days[0]; i++) {
        world_clock_ms = days[i] * 24 * 3600 * 1000;
        assert_int_equal(begin(b, "k", 60000, false).answer, STRATA_OP_BUSY);
        expect_code(b, strata_lock_acquire(b, "l", 1000, 0, 0, &lock), STRATA_TIMEOUT);
        assert_in_range(lock.left_ms, 1, 60000);
        ok(a, strata_op_renew(a, "k", one.token, 60000));
        ok(a, strata_lock_renew(a, "l", lock.token, 60000));
    }
    world_term_ms += 61000; /* also while the machine was suspended */
    assert_int_equal(begin(b, "k", 60000, false).answer, STRATA_OP_DOUBT);
    ok(b, strata_lock_acquire(b, "l", 1000, 0, 0, &lock));
    strata_close(a);
    strata_close(b);
}

static int run_files(void)
{
    int n = 0;
    DIR *d = opendir(world_file("w", "strong/run"));
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return n;
}

/* The file of an executor serves the next operation of its handle, but never one of which somebody may
 * yet ask whether it is alive; and nobody's file stays. */
static void test_a_run_file_serves_again(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    strata_op_answer op = begin(a, "done", 0, false);
    ok(a, strata_op_report(a, "done", op.token, "ok", 2, op.executor));
    assert_int_equal(run_files(), 1);
    op = begin(a, "unknown", 0, false);
    assert_int_equal(run_files(), 1);
    expect_code(b, strata_op_settle(b, "unknown", STRATA_SETTLE_FAILED, "pat", "I think", NULL, 0),
                STRATA_UNAVAILABLE);
    ok(a, strata_op_abandon(a, "unknown", op.token, op.executor));
    op = begin(a, "next", 0, false); /* it lives, and the one before it does not */
    strata_op_answer other = begin(a, "beside it", 0, false);
    ok(b, strata_op_settle(b, "unknown", STRATA_SETTLE_FAILED, "pat", "I looked", NULL, 0));
    assert_int_equal(begin(b, "next", 0, false).answer, STRATA_OP_BUSY);
    ok(a, strata_op_report(a, "beside it", other.token, "ok", 2, other.executor));
    assert_int_equal(begin(b, "next", 0, false).answer, STRATA_OP_BUSY);
    ok(a, strata_op_report(a, "next", op.token, "ok", 2, op.executor));
    strata_close(a);
    assert_int_equal(run_files(), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)begin(world_open("w", "carl"), "killed", 0, false);
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(run_files(), 1);
    assert_int_equal(begin(b, "killed", 0, false).answer, STRATA_OP_DOUBT);
    assert_int_equal(run_files(), 0);
    strata_close(b);
}

/* The longest of everything is kept whole; one byte more is an error that names the limit. */
static void test_limits(void **state)
{
    (void)state;
    world_init("w");
    strata *s = world_open("w", "anna");
    static char result[128 * 1024 + 1], parameters[1 << 20];
    char key[257], evidence[4098];
    memset(key, 'k', 256);
    key[256] = '\0';
    memset(evidence, 'e', 4097);
    evidence[4097] = '\0';
    for (size_t i = 0; i < sizeof result; i++)
        result[i] = (char)(i * 7);
    strata_op_request r = {.size = sizeof r, .key = key, .parameters = "p", .parameters_size = 1};
    strata_op_answer a;
    expect_code(s, strata_op_begin(s, &r, &a), STRATA_LIMIT);
    key[255] = '\0';
    r.parameters = parameters;
    r.parameters_size = sizeof parameters;
    ok(s, strata_op_begin(s, &r, &a));
    expect_code(s, strata_op_report(s, key, a.token, result, sizeof result, -1), STRATA_LIMIT);
    assert_int_equal(state_of(s, key), STRATA_OP_EXECUTING);
    ok(s, strata_op_report(s, key, a.token, result, sizeof result - 1, a.executor));
    ok(s, strata_op_begin(s, &r, &a));
    assert_int_equal(a.answer, STRATA_OP_REPLAY);
    assert_int_equal(a.operation.result_size, sizeof result - 1);
    assert_memory_equal(a.operation.result, result, sizeof result - 1);
    parameters[sizeof parameters - 1] = 1; /* every byte of them counts */
    ok(s, strata_op_begin(s, &r, &a));
    assert_int_equal(a.answer, STRATA_OP_MISMATCH);
    expect_code(s, strata_op_again(s, key, "pat", evidence), STRATA_LIMIT);
    evidence[4096] = '\0';
    ok(s, strata_op_again(s, key, "pat", evidence));
    strata_lock lock;
    expect_code(s, strata_lock_acquire(s, "l", 0, 0, 0, &lock), STRATA_LIMIT);
    expect_code(s, strata_lock_acquire(s, "l", 31ull * 24 * 3600 * 1000, 0, 0, &lock),
                STRATA_LIMIT);
    strata_close(s);
}

static void test_many_keys_are_pruned_in_parts(void **state)
{
    (void)state;
    world_init("w");
    strata *s = world_open("w", "anna");
    uint64_t count;
    char key[32];
    const int keys = 1100; /* more than one entry takes */
    for (int i = 0; i < keys; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        strata_op_answer a = begin(s, key, 60000, false);
        if (i % 500 == 7)
            ok(s, strata_op_abandon(s, key, a.token, -1));
        else
            ok(s, strata_op_report(s, key, a.token, "ok", 2, -1));
    }
    ok(s, strata_op_prune(s, 3600000, &count));
    assert_int_equal(count, 0);
    world_clock_ms += 7200000;
    ok(s, strata_op_prune(s, 3600000, &count));
    assert_int_equal(count, keys - 3);
    assert_int_equal(begin(s, "key-0", 60000, false).answer, STRATA_OP_PRUNED);
    assert_int_equal(begin(s, "key-1099", 60000, false).answer, STRATA_OP_PRUNED);
    assert_int_equal(begin(s, "key-507", 60000, false).answer, STRATA_OP_DOUBT);
    strata_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_start_is_on_disk_when_it_is_answered),
        TEST(test_killed_at_every_step),
        TEST(test_who_could_not_share_shares_later),
        TEST(test_a_term_decides_where_nobody_lives_on),
        TEST(test_the_wall_clock_ends_no_term),
        TEST(test_a_run_file_serves_again),
        TEST(test_limits),
        TEST(test_many_keys_are_pruned_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
