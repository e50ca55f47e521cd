/* test_lib_files.c - the files of a work tree: what an agent has read, views that go while somebody
 * writes, work trees that share a file of Git's, watching. */
#include "file_tools.h"

#include "lib/files.h"
#include "store/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static strata *workspace(void)
{
    world_init("a");
    return world_open("a", "ann");
}

/* --- what an agent has read ------------------------------------------------------------------- */

/* The file of marks is full: the oldest go, not the one that is made. */
static void test_marks_that_are_full(void **state)
{
    (void)state;
    strata *s = workspace();
    file_put_text(world_path("a/M.md"), "one\ntwo\nthree\n");
    ok(s, strata_track(s, "M.md"));
    FILE *f = fopen(world_file("a", "views/seen-ann"), "we");
    assert_non_null(f);
    const unsigned lines = ST_SEEN_SIZE_MAX / 64;
    for (unsigned i = 0; i < lines; i++)
        fprintf(f, "%016x-%016x-1\tmarks/%019u.m\n", 7, 9, i);
    assert_int_equal(ftell(f), ST_SEEN_SIZE_MAX);
    assert_int_equal(fclose(f), 0);
    ok(s, strata_file_seen(s, "M.md"));
    assert_false(file_has(world_file("a", "views/seen-ann"), "\tmarks/0000000000000000000.m\n"));
    char last[64];
    snprintf(last, sizeof last, "\tmarks/%019u.m\n", lines - 1);
    file_must_have(world_file("a", "views/seen-ann"), last);
    file_must_have(world_file("a", "views/seen-ann"), "\tM.md\n");
    /* Another version comes; what ann then writes is an edit of what she had read. */
    file_edit(world_path("a/M.md"), "one\n", "1\n");
    files_update_by("a");
    file_put_text(world_path("a/M.md"), "one\ntwo\nthree\nfour\n");
    files_update(s, 0);
    char *text = file_get(world_path("a/M.md"));
    assert_string_equal(text, "1\ntwo\nthree\nfour\n");
    free(text);
    strata_close(s);
}

/* --- taking a view out ------------------------------------------------------------------------ */

static int interruptions;

/* Writes into the file when it is about to go. */
static void writes_before_it_goes(const char *from)
{
    size_t n = strlen(from);
    if (n > 8 && strcmp(from + n - 8, "FACTS.md") == 0 && interruptions-- > 0)
        file_edit(from, "<!-- strata:begin", "of an author\n<!-- strata:begin");
}

static void test_written_while_a_view_goes(void **state)
{
    (void)state;
    strata *s = workspace();
    world_set(s, "x", "y", "1");
    files_add_view(s, "facts", "FACTS.md", false);
    interruptions = 1;
    world_before_rename = writes_before_it_goes;
    ok(s, strata_view_remove(s, "facts", NULL, NULL));
    world_before_rename = NULL;
    char *text = file_get(world_path("a/FACTS.md"));
    assert_string_equal(text, "of an author\n");
    free(text);
    files_are_clean();
    /* Nothing but the block: the file goes. */
    files_add_view(s, "facts", "T.md", false);
    ok(s, strata_view_remove(s, "facts", NULL, NULL));
    assert_int_equal(access(world_path("a/T.md"), F_OK), -1);
    /* The block was taken out by hand: the rest is left alone. */
    files_add_view(s, "facts", "U.md", false);
    file_put_text(world_path("a/U.md"), "mine\n");
    ok(s, strata_view_remove(s, "facts", NULL, NULL));
    text = file_get(world_path("a/U.md"));
    assert_string_equal(text, "mine\n");
    free(text);
    strata_close(s);
    files_are_clean();
}

static void remove_the_view(void)
{
    strata *s = world_open("a", "ann");
    interruptions = 1;
    world_before_rename = writes_before_it_goes;
    strata_view_remove(s, "facts", NULL, NULL);
    strata_close(s);
}

static void test_killed_while_a_view_goes(void **state)
{
    (void)state;
    bool died = true;
    uint64_t strike = 1;
    for (; died; strike++) {
        strata *s = workspace();
        world_set(s, "x", "y", "1");
        files_add_view(s, "facts", "FACTS.md", false);
        file_edit(world_path("a/FACTS.md"), "| y | 1 |", "| y | 2 |");
        strata_close(s);
        died = world_killed(remove_the_view, strike, 0);
        s = world_open("a", "ann");
        int code = strata_view_remove(s, "facts", NULL, NULL);
        assert_true(code == STRATA_OK || code == STRATA_NOT_FOUND);
        world_shows(s, "x", "y", "2");
        /* The author wrote before the file was renamed, or the process did not come so far. */
        bool kept = access(world_path("a/FACTS.md"), F_OK) == 0 &&
                    file_has(world_path("a/FACTS.md"), "of an author\n");
        if (!kept && files_count(world_file("a", "views/aside"), "FACTS.md") == 0)
            assert_int_equal(access(world_path("a/FACTS.md"), F_OK), -1);
        if (!died)
            assert_true(kept);
        files_are_clean();
        strata_close(s);
        world_run("rm -rf a");
    }
    print_message("%d steps\n", (int)strike - 2);
    assert_true(strike > 10);
}

/* --- Git's list of what to ignore --------------------------------------------------------------- */

#define TREES 6

static int add_and_remove(void *arg, size_t i)
{
    (void)arg;
    char name[32], file[32];
    snprintf(name, sizeof name, "t%zu", i);
    strata *s = world_open(name, "ann");
    for (int n = 0; n < 8; n++) {
        snprintf(file, sizeof file, "F%zu-%d.md", i, n);
        strata_view_options o = {.size = sizeof o, .name = "facts", .path = file};
        strata_view v;
        ok(s, strata_view_add(s, &o, &v));
    }
    strata_close(s);
    return 0;
}

static void test_many_trees_one_exclude_file(void **state)
{
    (void)state;
    world_run(
        "git init -q a && git -C a -c user.name=a -c user.email=a@b commit -q --allow-empty -m x");
    world_run("printf 'by hand\\n' >a/.git/info/exclude");
    world_init("a");
    for (int i = 0; i < TREES; i++)
        world_run("git -C a worktree add -q ../t%d", i);
    world_processes(TREES, add_and_remove, NULL);
    for (int i = 0; i < TREES; i++) {
        world_run("test -z \"$(git -C t%d status --porcelain)\"", i);
        for (int n = 0; n < 8; n++) {
            char line[40];
            snprintf(line, sizeof line, "\n/F%d-%d.md\n", i, n);
            file_must_have(world_path("a/.git/info/exclude"), line);
        }
    }
    file_must_have(world_path("a/.git/info/exclude"), "by hand\n");
}

/* While one tree keeps a rendering, another keeps the same one. */
static void renders_too(const char *from)
{
    if (strstr(from, "/kept/") == NULL || interruptions-- <= 0)
        return;
    strata *s = world_open("t", "bob");
    files_add_view(s, "facts", "T.md", false);
    strata_close(s);
}

static void test_same_rendering_in_two_trees(void **state)
{
    (void)state;
    world_run(
        "git init -q a && git -C a -c user.name=a -c user.email=a@b commit -q --allow-empty -m x");
    strata *s = workspace();
    world_run("git -C a worktree add -q ../t");
    world_set(s, "x", "y", "1");
    interruptions = 1;
    world_before_rename = renders_too;
    files_add_view(s, "facts", "FACTS.md", false);
    world_before_rename = NULL;
    assert_true(interruptions <= 0);
    file_must_have(world_path("a/FACTS.md"), "| y | 1 |");
    file_must_have(world_path("t/T.md"), "| y | 1 |");
    strata_close(s);
}

/* --- writers that take their time ----------------------------------------------------------------- */

/* Empties the file, and writes the text a while later. */
static pid_t write_slowly(const char *path, const char *text, int *emptied)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_WRONLY | O_TRUNC);
        (void)!write(ready[1], "r", 1);
        usleep(100000);
        _exit(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : 1);
    }
    close(ready[1]);
    *emptied = ready[0];
    return pid;
}

static void slowly_written(strata *s, const char *path, const char *from, const char *to)
{
    int emptied, status;
    char byte;
    char *text = file_get(path), *at = strstr(text, from);
    assert_non_null(at);
    for (size_t i = 0; to[i] != '\0'; i++)
        at[i] = to[i];
    pid_t pid = write_slowly(path, text, &emptied);
    assert_int_equal(read(emptied, &byte, 1), 1);
    close(emptied);
    files_update(s, STRATA_FILES_ALL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    files_update(s, STRATA_FILES_ALL);
    file_must_have(path, to);
    free(text);
}

/* `cat new >FILE` empties the file first: that is not yet what its author wants. */
static void test_a_file_that_is_being_written(void **state)
{
    (void)state;
    strata *s = workspace();
    world_set(s, "x", "y", "1");
    files_add_view(s, "facts", "FACTS.md", false);
    file_put_text(world_path("a/N.md"), "one\ntwo\n");
    ok(s, strata_track(s, "N.md"));
    files_update(s, STRATA_FILES_ALL);
    slowly_written(s, world_path("a/FACTS.md"), "| y | 1 |", "| y | 2 |");
    assert_int_equal(files_writes_of(s, "x", "y"), 2);
    slowly_written(s, world_path("a/N.md"), "two", "TWO");
    strata_close(s);
}

/* --- watching --------------------------------------------------------------------------------- */

/* Waits for the event and looks. */
static void watched(strata *s, bool wanted_all)
{
    bool all = false;
    ok(s, strata_files_wait(s, 5000, &all));
    assert_int_equal(all, wanted_all);
    files_update(s, all ? STRATA_FILES_ALL : 0);
}

/* What was there already is no news. */
static strata *watching(void)
{
    strata *s = workspace();
    world_run("mkdir -p a/sub/notes");
    file_put_text(world_path("a/sub/notes/N.md"), "one\n");
    ok(s, strata_track(s, "sub/notes/N.md"));
    watched(s, true);
    bool all;
    while (strata_files_wait(s, 0, &all) == STRATA_OK)
        files_update(s, 0);
    return s;
}

static void test_watch_overflow(void **state)
{
    (void)state;
    unsigned limit = 0;
    strata *s = watching();
    FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
    if (f == NULL || fscanf(f, "%u", &limit) != 1 || limit > 200000)
        skip();
    (void)fclose(f);
    const char *path = world_path("a/sub/notes/other");
    for (unsigned i = 0; i <= limit / 3 + 10; i++) { /* made, closed, removed */
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        assert_true(fd >= 0);
        close(fd);
        unlink(path);
    }
    file_put_text(world_path("a/sub/notes/N.md"), "two\n");
    watched(s, true);
    world_shows(s, "file:sub/notes/N.md", "text", "two\n");
    /* and goes on */
    file_put_text(world_path("a/sub/notes/N.md"), "three\n");
    watched(s, false);
    world_shows(s, "file:sub/notes/N.md", "text", "three\n");
    strata_close(s);
}

/* A branch switch takes directories away and makes them again: they are other directories then. */
static void test_watch_directories_that_change(void **state)
{
    (void)state;
    strata *s = watching();
    bool all;
    world_run("rm -r a/sub");
    watched(s, false);
    while (strata_files_wait(s, 100, &all) == STRATA_OK)
        files_update(s, 0);
    world_run("mkdir -p a/sub/notes");
    watched(s, false);
    while (strata_files_wait(s, 100, &all) == STRATA_OK)
        files_update(s, 0);
    file_put_text(world_path("a/sub/notes/N.md"), "two\n");
    watched(s, false);
    world_shows(s, "file:sub/notes/N.md", "text", "two\n");
    file_put_text(world_path("a/sub/notes/N.md"), "three\n");
    watched(s, false);
    world_shows(s, "file:sub/notes/N.md", "text", "three\n");
    /* The same with a directory above, by renaming. */
    world_run("cp -r a/sub a/new && mv a/sub a/old && mv a/new a/sub");
    watched(s, false);
    while (strata_files_wait(s, 100, &all) == STRATA_OK)
        files_update(s, 0);
    file_put_text(world_path("a/sub/notes/N.md"), "four\n");
    watched(s, false);
    world_shows(s, "file:sub/notes/N.md", "text", "four\n");
    strata_close(s);
}

/* As many files as one tree may have; one of them is edited. */
static void test_watch_ten_thousand_files(void **state)
{
    (void)state;
    bool all;
    struct st_registry r;
    struct st_fault fault;
    char name[64], line[32];
    world_init("a");
    world_run("cd a && for d in $(seq 0 99); do mkdir d$d; done");
    world_run("mkdir -p a/.strata/views");
    st_registry_init(&r);
    for (int i = 0; i < ST_FILES_MAX; i++) {
        snprintf(name, sizeof name, "a/d%d/f%d.md", i % 100, i);
        int n = snprintf(line, sizeof line, "file %d\n", i);
        file_put_text(world_path(name), line);
        struct st_entry e = {.kind = ST_ENTRY_FILE, .path = name + 2, .base = ""};
        e.content = st_checksum(line, (size_t)n);
        assert_int_equal(st_file_stamp_get(world_path(name), &e.stamp, &fault), ST_OK);
        e.looked_ns = e.stamp.ctime_ns + 2 * ST_STAMP_GRAIN_NS; /* and was looked at later */
        assert_non_null(st_registry_add(&r, &e));
    }
    assert_int_equal(
        st_registry_save(&r, st_env_posix(), world_file("a", "views/files"), false, &fault), ST_OK);
    st_registry_release(&r);
    strata *s = world_open("a", "ann");
    assert_int_equal(files_update(s, STRATA_FILES_EDITS), 0);
    watched(s, true);
    while (strata_files_wait(s, 200, &all) == STRATA_OK)
        files_update(s, 0);
    world_run("sed -i s/file/FILE/ a/d7/f4207.md");
    ok(s, strata_files_wait(s, 5000, &all));
    assert_int_equal(files_update(s, 0), 1);
    world_shows(s, "file:d7/f4207.md", "text", "FILE 4207\n");
    /* One more is refused by name. */
    file_put_text(world_path("a/one.md"), "more\n");
    expect_code(s, strata_track(s, "one.md"), STRATA_LIMIT);
    strata_close(s);
}

/* A directory that becomes a link out of the workspace is neither followed nor watched. */
static void test_watch_links_that_lead_out(void **state)
{
    (void)state;
    bool all;
    strata *s = watching();
    world_run("mv a/sub/notes outside && ln -s ../../outside a/sub/notes");
    watched(s, false);
    while (strata_files_wait(s, 200, &all) == STRATA_OK)
        files_update(s, 0);
    file_put_text(world_path("outside/N.md"), "of somebody else\n");
    expect_code(s, strata_files_wait(s, 300, &all), STRATA_TIMEOUT);
    files_update(s, STRATA_FILES_ALL);
    assert_int_equal(world_notices(s, "a symbolic link leads from"), 1);
    world_shows(s, "file:sub/notes/N.md", "text", "one\n");
    expect_code(s, strata_track(s, "sub/notes/N.md"), STRATA_DENIED);
    /* The file itself as a link. */
    world_run(
        "rm a/sub/notes && mkdir a/sub/notes && ln -s ../../../outside/N.md a/sub/notes/N.md");
    watched(s, false);
    world_shows(s, "file:sub/notes/N.md", "text", "one\n");
    file_must_have(world_path("outside/N.md"), "of somebody else\n");
    strata_close(s);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_marks_that_are_full),
        TEST(test_written_while_a_view_goes),
        TEST(test_killed_while_a_view_goes),
        TEST(test_many_trees_one_exclude_file),
        TEST(test_a_file_that_is_being_written),
        TEST(test_same_rendering_in_two_trees),
        TEST(test_watch_overflow),
        TEST(test_watch_directories_that_change),
        TEST(test_watch_ten_thousand_files),
        TEST(test_watch_links_that_lead_out),
    };
    return cmocka_run_group_tests_name("lib files", tests, NULL, NULL);
}
