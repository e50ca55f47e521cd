/*
 * test_lib_gap.c - handles that leave a gap in the index (strata_options.index_gap) show at every
 * moment what a handle shows that leaves none.
 */
#include "lib/internal.h"
#include "lib_world.h"
#include "store/index_internal.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTITIES 6
#define LAZY     3

static strata *open_lazy(const char *name, const char *agent, uint32_t gap)
{
    strata_options options = {.size = sizeof options, .agent = agent, .index_gap = gap};
    strata_error error;
    strata *s = NULL;
    assert_int_equal(strata_open(world_path(name), &options, &s, &error), STRATA_OK);
    return s;
}

struct shown {
    char text[4096];
    size_t n;
};

static int show(void *arg, const strata_attribute *a)
{
    struct shown *x = arg;
    for (size_t i = 0; i < a->count; i++)
        x->n += (size_t)snprintf(x->text + x->n, sizeof x->text - x->n, "%s %s %d %.*s %s\n",
                                 a->entity, a->attribute, a->items[i].kind,
                                 (int)a->items[i].value_size, a->items[i].value, a->items[i].id);
    assert_true(x->n < sizeof x->text);
    return 0;
}

static void shows(strata *s, const char *entity, struct shown *out)
{
    strata_fact_query q = {.size = sizeof q, .entity = entity, .with_absent = true};
    *out = (struct shown){.n = 0};
    ok(s, strata_fact_each(s, &q, show, out));
}

/* Names that stand in each other, and one that is escaped in the log. */
static const char *const names[ENTITIES] = {"a", "aa", "b\"c", "seen", "d\\", "ü"};

static void write_something(strata *s, uint64_t *x)
{
    char value[24];
    uint64_t r = world_random(x);
    strata_op op = {
        .kind = STRATA_SET + (int)(r % 4),
        .entity = names[r / 4 % ENTITIES],
        .attribute = r / 64 % 2 == 0 ? "p" : "q",
        .value = value,
        .value_size = STRATA_NUL,
    };
    (void)snprintf(value, sizeof value, "%u", (unsigned)(r / 256 % 5));
    ok(s, strata_write(s, &op, 1, r % 3 == 0 ? STRATA_ANSWER : STRATA_NO_FLUSH, NULL, NULL));
}

static void compare(strata *exact, strata *lazy, const char *entity)
{
    struct shown a, b;
    shows(lazy, entity, &a);
    shows(exact, entity, &b);
    assert_string_equal(a.text, b.text);
}

static void test_a_gap_is_never_seen(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        uint64_t x = seed;
        char here[16], there[16];
        (void)snprintf(here, sizeof here, "here%u", (unsigned)seed);
        (void)snprintf(there, sizeof there, "there%u", (unsigned)seed);
        world_init(here);
        strata *lazy[LAZY], *exact = world_open(here, "exact");
        world_set(exact, "a", "p", "0");
        world_init(there);
        world_merge(there, here);
        strata *other = world_open(there, "other");
        for (size_t i = 0; i < LAZY; i++)
            lazy[i] = open_lazy(here, i == 0 ? "anna" : "bert", (uint32_t)(1 + i * 4));
        for (unsigned step = 0; step < 150; step++) {
            uint64_t r = world_random(&x);
            strata *s = lazy[r / 8 % LAZY];
            if (r % 8 < 4)
                write_something(s, &x);
            else if (r % 8 == 4)
                write_something(other, &x);
            else if (r % 8 == 5 && step % 3 == 0)
                world_merge(here, there);
            else
                compare(r / 64 % 4 == 0 ? exact : lazy[r / 16 % LAZY], s,
                        r / 512 % 5 == 0 ? NULL : names[r / 4096 % ENTITIES]);
        }
        for (size_t i = 0; i < LAZY; i++) {
            compare(exact, lazy[i], NULL);
            strata_close(lazy[i]);
        }
        strata_close(exact);
        strata_close(other);
    }
}

/* Who reads one entity right after what touches it, and nothing else did. */
static void test_what_touches_the_entity_is_seen(void **state)
{
    (void)state;
    /* "x" is in every line: it is the key of the checksum. */
    world_init("w");
    strata *a = open_lazy("w", "anna", 50), *b = open_lazy("w", "bert", 50);
    world_set(a, "api", "y", "1");
    world_shows(a, "api", "y", "1"); /* from here on there is an index file to be behind */
    world_shows(b, "api", "y", "1");
    world_set(a, "api", "y", "2");
    world_shows(b, "api", "y", "2");
    world_set(a, "other", "y", "3");
    world_shows(b, "api", "y", "2");
    world_init("v");
    world_merge("v", "w");
    strata *c = world_open("v", "carl");
    world_set(c, "api", "y", "4");
    strata_close(c);
    /* The record that takes it in does not name it. */
    strata_merge_result merged;
    ok(a, strata_merge_state(a, world_path("v"), false, &merged));
    assert_true(merged.records > 0);
    world_shows(b, "api", "y", "4");
    strata_close(a);
    strata_close(b);
}

static void test_within_the_gap_the_file_is_left_alone(void **state)
{
    (void)state;
    struct stat before, after;
    world_init("w");
    strata *s = open_lazy("w", "anna", 10);
    world_set(s, "x", "y", "0");
    strata *exact = world_open("w", "bert");
    world_shows(exact, "x", "y", "0"); /* brings it up to date */
    assert_int_equal(stat(world_file("w", "index.db-wal"), &before), 0);
    for (int i = 0; i < 10; i++) {
        world_set(s, "x", "y", "1");
        world_shows(s, "x", "y", "1");
    }
    assert_int_equal(stat(world_file("w", "index.db-wal"), &after), 0);
    assert_int_equal(before.st_size, after.st_size);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
    strata_close(s);
    strata_close(exact);
}

static void index_written(struct stat *out)
{
    assert_int_equal(stat(world_file("w", "index.db-wal"), out), 0);
}

static bool is_written_since(const struct stat *before)
{
    struct stat now;
    index_written(&now);
    return memcmp(&before->st_mtim, &now.st_mtim, sizeof now.st_mtim) != 0;
}

static void test_who_is_idle_leaves_little_of_the_gap(void **state)
{
    (void)state;
    struct stat before;
    world_init("w");
    strata *s = open_lazy("w", "anna", 1000);
    world_set(s, "x", "y", "0");
    world_shows(s, "x", "y", "0"); /* from here on there is an index to be behind */
    index_written(&before);
    for (int i = 0; i < 60; i++)
        world_set(s, "x", "y", "1");
    ok(s, strata_idle(s));
    assert_false(is_written_since(&before));
    for (int i = 0; i < 60; i++)
        world_set(s, "x", "y", "2");
    world_shows(s, "x", "y", "2"); /* all of them applied, in memory */
    /* Somebody else has the lock, most likely to do the same. */
    int fd = open(world_file("w", "index.lock"), O_RDWR | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    ok(s, strata_idle(s));
    assert_false(is_written_since(&before));
    close(fd);
    ok(s, strata_idle(s));
    assert_true(is_written_since(&before));
    world_shows(s, "x", "y", "2");
    strata_close(s);
}

/* Before anything was applied: only what touches the entity has to be, and nothing by who is idle. */
static void test_the_first_records_may_stay_missing(void **state)
{
    (void)state;
    struct stat before;
    world_init("w");
    strata *a = open_lazy("w", "anna", 50), *b = open_lazy("w", "bert", 50);
    world_set(a, "api", "y", "1");
    index_written(&before);
    assert_int_equal(strata_fact_get(b, "other", "y", 0, &(strata_attribute){0}), STRATA_NOT_FOUND);
    ok(b, strata_idle(b));
    assert_false(is_written_since(&before));
    world_shows(b, "api", "y", "1");
    strata_close(a);
    strata_close(b);
    /* A copy has the others' records before its own; its first one takes them in. */
    world_init("v");
    world_merge("v", "w");
    strata *c = world_open("v", "carl");
    world_set(c, "web", "y", "2");
    strata_close(c);
    assert_int_equal(unlink(world_file("v", "index.db")), 0);
    (void)unlink(world_file("v", "index.db-wal"));
    (void)unlink(world_file("v", "index.db-shm"));
    c = open_lazy("v", "carl", 50);
    world_shows(c, "api", "y", "1");
    strata_close(c);
}

static void has_none(strata *s, const char *entity)
{
    assert_int_equal(strata_fact_get(s, entity, "y", 0, &(strata_attribute){0}), STRATA_NOT_FOUND);
}

/* What no line names is answered for without the database: it has to be seen as soon as one does, whoever
 * wrote it, and in whatever log it lies. */
static void test_new_names_are_seen(void **state)
{
    (void)state;
    static const char *const spelled[] = {"plain", "with \"quotes\"", "{\"op\":\"seen\"", "\\"};
    world_init("w");
    strata *a = open_lazy("w", "anna", 50), *b = open_lazy("w", "bert", 50);
    for (size_t i = 0; i < sizeof spelled / sizeof spelled[0]; i++) {
        has_none(a, spelled[i]);
        world_set(b, spelled[i], "y", "1");
        world_shows(a, spelled[i], "y", "1");
        has_none(a, "never");
    }
    /* Within a record that has others, and behind operations that have no entity. */
    strata_op ops[] = {
        {.kind = STRATA_COUNT, .entity = "steps", .delta = 1},
        {.kind = STRATA_SET, .entity = "first", .attribute = "y", .value = "1", .value_size = 1},
        {.kind = STRATA_ADD, .entity = "last", .attribute = "y", .value = "2", .value_size = 1},
    };
    has_none(a, "last");
    ok(b, strata_write(b, ops, 3, 0, NULL, NULL));
    world_shows(a, "first", "y", "1");
    assert_int_equal(strata_fact_get(a, "last", "y", 0, &(strata_attribute){0}), STRATA_OK);
    /* From a copy. */
    world_init("v");
    world_merge("v", "w");
    strata *c = world_open("v", "carl");
    world_set(c, "far", "y", "3");
    has_none(a, "far");
    strata_merge_result merged;
    ok(b, strata_merge_state(b, world_path("v"), false, &merged));
    world_shows(a, "far", "y", "3");
    world_set(c, "farther", "y", "4");
    has_none(a, "farther");
    ok(b, strata_merge_state(b, world_path("v"), false, &merged));
    world_shows(a, "farther", "y", "4");
    strata_close(c);
    strata_close(b);
    strata_close(a);
    /* From another life of this copy. */
    world_boot++;
    a = open_lazy("w", "anna", 50);
    has_none(a, "never");
    world_set(a, "late", "y", "5");
    world_shows(a, "plain", "y", "1");
    world_shows(a, "far", "y", "3");
    world_shows(a, "late", "y", "5");
    b = open_lazy("w", "bert", 50);
    has_none(b, "never");
    world_shows(b, "farther", "y", "4");
    world_shows(b, "late", "y", "5");
    strata_close(b);
    strata_close(a);
}

/* The log that is written goes on as another one, while somebody holds the names of the first. */
static void test_names_of_another_epoch(void **state)
{
    (void)state;
    world_init("w");
    strata *a = open_lazy("w", "anna", 50);
    for (int i = 0; i < 5; i++)
        world_set(a, "old", "y", "1");
    has_none(a, "new");
    world_boot++;
    strata *b = open_lazy("w", "bert", 50);
    world_set(b, "new", "y", "2");
    world_shows(a, "new", "y", "2");
    world_shows(b, "old", "y", "1");
    has_none(a, "never");
    strata_close(b);
    strata_close(a);
}

/* The names of the whole log, or, without them, those that the index lacks. */
static void ask_first(strata *s, bool whole)
{
    has_none(s, "never");
    assert_false(s->index->whole.lost);
    s->index->whole.lost = !whole;
}

static strata *asked;

static void ask(void)
{
    has_none(asked, "never");
}

/* An append of two lines fails half-way, and somebody has read the first before it was cut off. What is
 * written in its place has the same number. */
static void test_a_line_that_was_taken_back(void **state)
{
    (void)state;
    struct st_str y = ST_STR("y"), one = ST_STR("1");
    struct st_op ops[2] = {
        {.kind = ST_OP_SET, .entity = ST_STR("ghost"), .attribute = y, .value = one},
        {.kind = ST_OP_SET, .entity = ST_STR("other"), .attribute = y, .value = one},
    };
    for (int way = 0; way < 4; way++) {
        struct st_record records[2] = {{.ops = &ops[0], .op_count = 1},
                                       {.ops = &ops[1], .op_count = 1}};
        char name[8];
        (void)snprintf(name, sizeof name, "w%d", way);
        world_init(name);
        strata *a = open_lazy(name, "anna", 50), *b = open_lazy(name, "bert", 50);
        world_set(b, "first", "y", "1");
        if (way % 2 == 0)
            ask_first(a, false);
        asked = a;
        assert_int_equal(st_log_lock(&b->log), ST_OK);
        world_at_full_disk = ask;
        assert_int_equal(st_log_append_all(&b->log, records, 2, (struct st_hlc){0}), ST_NO_SPACE);
        st_log_unlock(&b->log);
        world_set(b, "real", "y", "7");
        if (way < 2)
            world_shows(b, "real", "y", "7"); /* and the index has it */
        world_shows(a, "real", "y", "7");
        has_none(a, "ghost");
        strata_close(b);
        strata_close(a);
    }
}

/* The files are put back to an earlier moment, in place, under a process that goes on. */
static void put_back(const char *name, unsigned again, bool whole)
{
    world_init(name);
    strata *a = open_lazy(name, "anna", 50), *b = open_lazy(name, "bert", 50);
    for (int i = 0; i < 3; i++)
        world_set(b, "old", "y", "1");
    ask_first(a, whole);
    world_shows(a, "old", "y", "1");
    strata_close(b);
    world_run("rm -rf saved; cp -a %s/.strata saved", name);
    b = open_lazy(name, "bert", 50);
    for (int i = 0; i < 4; i++)
        world_set(b, "lost", "y", "1");
    has_none(a, "fresh");
    strata_close(b);
    world_run("for f in page $(cd saved; echo log/*/*.jsonl); do "
              "dd if=saved/$f of=%s/.strata/$f conv=notrunc 2>/dev/null; done; "
              "for f in $(cd saved; echo log/*/*.jsonl); do "
              "truncate -s $(stat -c %%s saved/$f) %s/.strata/$f; done",
              name, name);
    b = open_lazy(name, "bert", 50);
    for (unsigned i = 0; i < again; i++)
        world_set(b, "fresh", "y", "7");
    world_shows(b, "fresh", "y", "7");
    world_shows(a, "fresh", "y", "7");
    strata_close(b);
    strata_close(a);
}

static void test_put_back_under_a_handle(void **state)
{
    (void)state;
    /* Until there are fewer records than before, or as many. */
    put_back("w1", 1, true);
    put_back("w2", 4, true);
    put_back("w3", 1, false);
    put_back("w4", 4, false);
}

/* It may touch what its own version says that it touches, and does so in the index that all share. */
static void test_an_operation_of_a_newer_version(void **state)
{
    (void)state;
    world_init("w");
    strata *a = open_lazy("w", "anna", 50), *b = open_lazy("w", "bert", 50);
    struct st_op op = {.kind = ST_OP_UNKNOWN, .raw = ST_STR("{\"op\":\"rename\",\"to\":\"new\"}")};
    struct st_record record = {.ops = &op, .op_count = 1};
    ask_first(a, true);
    assert_int_equal(st_log_lock(&b->log), ST_OK);
    assert_int_equal(st_log_append_all(&b->log, &record, 1, (struct st_hlc){0}), ST_OK);
    st_log_unlock(&b->log);
    has_none(a, "new");
    assert_true(a->index->whole.lost);
    strata_close(b);
    strata_close(a);
}

static int open_files(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

/* A server has a handle for each of its agents, and each boot is another log. */
static void test_many_lives_keep_no_files_open(void **state)
{
    (void)state;
    world_init("w");
    for (int i = 0; i < 20; i++) {
        world_boot++;
        strata *s = world_open("w", "anna");
        world_set(s, "old", "y", "1");
        strata_close(s);
    }
    strata *exact = world_open("w", "bert");
    world_shows(exact, "old", "y", "1"); /* the index is up to date */
    strata_close(exact);
    strata *s = open_lazy("w", "anna", 50);
    int before = open_files();
    has_none(s, "never");
    assert_true(open_files() - before < 10);
    world_shows(s, "old", "y", "1");
    strata_close(s);
}

/* Whoever may only read, after a start of the system, has the files alone. */
static void test_read_only_behind_a_segment_that_was_only_begun(void **state)
{
    (void)state;
    for (uint32_t gap = 0; gap <= 50; gap += 50) {
        const char *name = gap == 0 ? "w" : "v";
        world_init(name);
        strata *s = open_lazy(name, "anna", 0);
        for (int i = 0; i < 3; i++)
            world_set(s, "old", "y", "1");
        strata_close(s);
        world_run("cd %s/.strata; for d in log/*; do : > $d/0000000000000004.jsonl; done", name);
        world_boot++;
        strata_options options = {.size = sizeof options, .read_only = true, .index_gap = gap};
        strata_error error;
        assert_int_equal(strata_open(world_path(name), &options, &s, &error), STRATA_OK);
        world_shows(s, "old", "y", "1");
        has_none(s, "never");
        strata_close(s);
    }
}

/* So many names that hardly any could be told from others. */
static void test_many_names(void **state)
{
    (void)state;
    enum { AT_ONCE = 500, RECORDS = 100 };
    static char many[AT_ONCE][24];
    strata_op ops[AT_ONCE];
    world_init("w");
    strata *a = open_lazy("w", "anna", 1000), *b = open_lazy("w", "bert", 1000);
    for (int r = 0; r < RECORDS; r++) {
        for (int i = 0; i < AT_ONCE; i++) {
            (void)snprintf(many[i], sizeof many[i], "n%d", r * AT_ONCE + i);
            ops[i] = (strata_op){.kind = STRATA_SET,
                                 .entity = many[i],
                                 .attribute = "y",
                                 .value = "1",
                                 .value_size = 1};
        }
        has_none(a, many[0]);
        ok(b, strata_write(b, ops, AT_ONCE, STRATA_NO_FLUSH, NULL, NULL));
        world_shows(a, many[AT_ONCE - 1], "y", "1");
        world_shows(a, "n0", "y", "1");
    }
    strata_close(b);
    strata_close(a);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_gap_is_never_seen),
        TEST(test_what_touches_the_entity_is_seen),
        TEST(test_within_the_gap_the_file_is_left_alone),
        TEST(test_who_is_idle_leaves_little_of_the_gap),
        TEST(test_the_first_records_may_stay_missing),
        TEST(test_new_names_are_seen),
        TEST(test_names_of_another_epoch),
        TEST(test_many_names),
        TEST(test_a_line_that_was_taken_back),
        TEST(test_put_back_under_a_handle),
        TEST(test_an_operation_of_a_newer_version),
        TEST(test_many_lives_keep_no_files_open),
        TEST(test_read_only_behind_a_segment_that_was_only_begun),
    };
    return cmocka_run_group_tests_name("lib gap", tests, NULL, NULL);
}
