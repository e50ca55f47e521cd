/* test_lib_kill.c - processes killed in the middle of taking in another state and of indexing;
 * disks that are full. Repeating, or freeing space, gives the right result. */
#include "lib_world.h"

#include "lib/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void is_as_rebuilt(const char *name)
{
    char x[33], y[33];
    world_digest(name, x);
    world_rebuilt_digest(name, y);
    assert_string_equal(x, y);
}

static void write_many(const char *name, int first, int count)
{
    strata *s = world_open(name, name);
    for (int i = first; i < first + count; i++) {
        char entity[32], value[200];
        snprintf(entity, sizeof entity, "%s%d", name, i % 500);
        snprintf(value, sizeof value, "%0150d", i);
        strata_op op = {.kind = STRATA_SET,
                        .entity = entity,
                        .attribute = "n",
                        .value = value,
                        .value_size = STRATA_NUL};
        ok(s, strata_write(s, &op, 1, STRATA_NO_FLUSH, NULL, NULL));
    }
    ok(s, strata_flush(s));
    strata_close(s);
}

/* --- kill -9 -------------------------------------------------------------------------------------
 */

static void b_takes_in_a(void)
{
    world_merge("b", "a");
}

static void test_killed_while_taking_in(void **state)
{
    (void)state;
    uint64_t rng = 7;
    int deaths = 0;
    world_init("a");
    world_init("b");
    write_many("a", 0, 20);
    world_merge("b", "a");
    for (int round = 0; round < 60; round++) {
        write_many("a", round * 10, 10);
        if (round % 4 == 3)
            write_many("b", round * 10, 2);
        if (round % 20 == 9)
            world_boot++; /* new epochs: new directories to make */
        /* One change further each time, from the first to the last. */
        deaths += world_killed(b_takes_in_a, 1 + (uint64_t)round % 14, 0);
        if (world_random(&rng) % 3 == 0) {
            /* What it had named counts, whatever it had not; nothing is half there. */
            strata *s = world_open("b", NULL);
            const char *first = world_get(s, "a0", "n");
            assert_true(strlen(first) == 150);
            strata_close(s);
            is_as_rebuilt("b");
        }
        world_merge("b", "a");
        if (round % 4 == 3)
            world_merge("a", "b");
        world_same_digest("a", "b");
    }
    assert_true(deaths >= 30);
    is_as_rebuilt("b");
    const char *const both[] = {"a", "b"};
    world_dots_are_unique(both, 2);
}

static void read_a(void)
{
    char digest[33];
    world_digest("a", digest);
}

static void test_killed_while_indexing(void **state)
{
    (void)state;
    uint64_t rng = 11;
    char right[33], digest[33];
    int deaths = 0;
    world_init("a");
    write_many("a", 0, 4000);
    world_digest("a", right);
    for (int round = 0; round < 40; round++) {
        if (round % 2 == 0)
            world_run("rm -f a/.strata/index.db*");
        deaths += world_killed(read_a, 0, 500 + (unsigned)(world_random(&rng) % 40000));
        world_digest("a", digest);
        assert_string_equal(digest, right);
        if (round % 2 == 1) {
            write_many("a", round * 100, 300);
            deaths += world_killed(read_a, 0, 500 + (unsigned)(world_random(&rng) % 8000));
            world_digest("a", right);
        }
    }
    assert_true(deaths >= 10);
    is_as_rebuilt("a");
}

static int *acknowledged;

static void write_for_ever(void)
{
    strata *s = world_open("a", "writer");
    for (;;) {
        char value[32];
        strata_written w;
        snprintf(value, sizeof value, "%d", *acknowledged + 1);
        if (world_write(s, STRATA_SET, "x", "y", value, &w) != STRATA_OK)
            _exit(1);
        __atomic_add_fetch(acknowledged, 1, __ATOMIC_SEQ_CST);
    }
}

static void test_killed_while_writing(void **state)
{
    (void)state;
    uint64_t rng = 13;
    acknowledged =
        mmap(NULL, sizeof *acknowledged, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(acknowledged != MAP_FAILED);
    world_init("a");
    for (int round = 0; round < 60; round++) {
        if (round % 2 == 0)
            assert_true(world_killed(write_for_ever, 1 + world_random(&rng) % 40, 0));
        else
            assert_true(
                world_killed(write_for_ever, 0, (unsigned)(1000 + world_random(&rng) % 15000)));
        strata *s = world_open("a", NULL);
        int is = atoi(world_get(s, "x", "y"));
        /* The last one may be there without its answer, and then comes once more. */
        if (is != *acknowledged && is != *acknowledged + 1)
            fail_msg("%d, but %d was acknowledged", is, *acknowledged);
        strata_close(s);
    }
    is_as_rebuilt("a");
    munmap(acknowledged, sizeof *acknowledged);
}

/* --- full disks
 * -----------------------------------------------------------------------------------
 */

static bool mounted;

static int disk_setup(void **state)
{
    int r = world_setup(state);
    if (r == 0 && mkdir(world_path("disk"), 0777) < 0)
        return -1;
    mounted = r == 0 && mount("tmpfs", world_path("disk"), "tmpfs", 0, "size=4m") == 0;
    return r;
}

static int disk_teardown(void **state)
{
    if (mounted)
        umount2(world_path("disk"), MNT_DETACH);
    return world_teardown(state);
}

static void need_disk(void)
{
    if (mounted)
        return;
    print_message("NOTICE: no tmpfs can be mounted here: full disks are not tested\n");
    skip();
}

/* Fills what is left. */
static void fill_disk(void)
{
    static char block[4096];
    int fd = open(world_path("disk/filler"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    while (write(fd, block, sizeof block) > 0)
        ;
    close(fd);
}

static void free_disk(void)
{
    assert_int_equal(unlink(world_path("disk/filler")), 0);
}

/* Writes until it is refused; the number of the first refused one. */
static int write_until_full(strata *s, int first, size_t size)
{
    static char value[60000];
    int i = first;
    memset(value, 'v', size);
    for (;; i++) {
        snprintf(value, 16, "%015d", i);
        value[15] = '-';
        strata_op op = {.kind = STRATA_SET,
                        .entity = "x",
                        .attribute = "y",
                        .value = value,
                        .value_size = size};
        int code = strata_write(s, &op, 1, 0, NULL, NULL);
        if (code == STRATA_OK)
            continue;
        expect_code(s, code, STRATA_NO_SPACE);
        assert_int_equal(strata_code_exit(code), 6);
        assert_non_null(strstr(strata_last_error(s)->message, "nothing was recorded"));
        assert_non_null(strstr(strata_last_error(s)->hint, "free some disk space"));
        return i;
    }
}

static int shown_number(const char *name)
{
    strata *s = world_open(name, NULL);
    strata_attribute a;
    int code = strata_fact_get(s, "x", "y", 0, &a);
    int n = -1;
    if (code == STRATA_OK)
        n = atoi(a.shown->value);
    else
        expect_code(s, code, STRATA_NOT_FOUND);
    strata_close(s);
    return n;
}

static int visit_found(void *arg, const strata_attribute *a)
{
    (void)a;
    (*(size_t *)arg)++;
    return 0;
}

static size_t search(const char *name, const char *word)
{
    strata *s = world_open(name, NULL);
    size_t found = 0;
    ok(s, strata_search(s, word, 10, visit_found, &found));
    strata_close(s);
    return found;
}

static void test_full_disk(void **state)
{
    (void)state;
    need_disk();
    static const size_t sizes[] = {50000, 3000, 100};
    int next = 0;
    world_init("disk");
    strata *s = world_open("disk", "anna");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        /* One round with an index that could still be written, one without any. */
        if (i == 1)
            world_run("rm -f disk/.strata/index.db*");
        fill_disk();
        next = write_until_full(s, next, sizes[i]);
        assert_int_equal(shown_number("disk"), next - 1);
        assert_int_equal(write_until_full(s, next, sizes[i]), next);
        assert_int_equal(shown_number("disk"), next - 1);
        free_disk();
        for (int k = 0; k < 3; k++) {
            char value[24];
            snprintf(value, sizeof value, "%015d", next++);
            world_set(s, "x", "y", value);
        }
        assert_int_equal(shown_number("disk"), next - 1);
        is_as_rebuilt("disk");
        assert_int_equal(world_records("disk", NULL), next);
    }
    strata_close(s);
}

/* The log has room left in its last block; the index has none. */
static void test_full_for_the_index_only(void **state)
{
    (void)state;
    need_disk();
    world_init("disk");
    write_many("disk", 0, 30);
    strata *s = world_open("disk", "anna");
    world_set(s, "x", "y", "0");
    world_shows(s, "x", "y", "0");
    fill_disk();
    int accepted = 0;
    for (int i = 1; i < 100; i++) {
        char value[32];
        strata_written w;
        snprintf(value, sizeof value, "%d", i);
        int code = world_write(s, STRATA_SET, "x", "y", value, &w);
        if (code == STRATA_NO_SPACE)
            break;
        ok(s, code);
        assert_int_equal(w.replaced_count, 1);
        assert_int_equal(atoi(w.replaced.value), i - 1);
        world_shows(s, "x", "y", value);
        assert_int_equal(shown_number("disk"), i);
        accepted = i;
    }
    assert_true(accepted > 0);
    assert_int_equal(search("disk", "disk7"), 1);
    assert_int_equal(search("disk", "nowhere"), 0);
    assert_int_equal(shown_number("disk"), accepted);
    free_disk();
    strata_close(s);
    is_as_rebuilt("disk");
}

static int init_there(void *arg, size_t i)
{
    (void)i;
    strata_init_result r;
    strata_error e;
    int code = strata_init(world_path("disk"), NULL, &r, &e);
    return code == *(const int *)arg ? 0 : 1;
}

static void test_init_on_a_full_disk(void **state)
{
    (void)state;
    need_disk();
    const int no_space = STRATA_NO_SPACE, fine = STRATA_OK;
    /* With nothing left, and with a few blocks left. */
    for (int blocks = 0; blocks < 12; blocks++) {
        world_run("rm -rf disk/.strata");
        fill_disk();
        world_run("truncate -s -%d disk/filler", blocks * 4096);
        strata_init_result r;
        strata_error e;
        int wanted = blocks < 2 ? no_space : fine;
        /* In a process of its own: a page that cannot be written would kill it. */
        if (blocks < 2 || blocks > 10)
            world_processes(1, init_there, &wanted);
        free_disk();
        assert_int_equal(strata_init(world_path("disk"), NULL, &r, &e), STRATA_OK);
        strata *s = world_open("disk", NULL);
        world_set(s, "x", "y", "1");
        world_shows(s, "x", "y", "1");
        strata_close(s);
    }
}

static void test_taking_in_on_a_full_disk(void **state)
{
    (void)state;
    need_disk();
    world_init("a");
    world_init("disk");
    write_many("a", 0, 10);
    world_merge("disk", "a");
    write_many("disk", 0, 5);
    world_merge("a", "disk");
    write_many("a", 10, 300);
    fill_disk();
    strata *s = world_open("disk", NULL);
    strata_merge_result r;
    for (int i = 0; i < 2; i++)
        expect_code(s, strata_merge_state(s, world_path("a"), false, &r), STRATA_NO_SPACE);
    world_run("truncate -s -40000 disk/filler"); /* room for some of it */
    expect_code(s, strata_merge_state(s, world_path("a"), false, &r), STRATA_NO_SPACE);
    assert_int_equal(strlen(world_get(s, "a9", "n")), 150);
    assert_string_equal(world_get(s, "a100", "n"), "");
    free_disk();
    ok(s, strata_merge_state(s, world_path("a"), false, &r));
    assert_true(r.records >= 300);
    strata_close(s);
    world_same_digest("a", "disk");
    is_as_rebuilt("disk");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
#define DISK(name) cmocka_unit_test_setup_teardown(name, disk_setup, disk_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_killed_while_taking_in),   TEST(test_killed_while_indexing),
        TEST(test_killed_while_writing),     DISK(test_full_disk),
        DISK(test_full_for_the_index_only),  DISK(test_init_on_a_full_disk),
        DISK(test_taking_in_on_a_full_disk),
    };
    return cmocka_run_group_tests_name("lib kill", tests, NULL, NULL);
}
