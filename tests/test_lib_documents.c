/* test_lib_documents.c - tracked files that several copies of a workspace merge again and again: each line
 * that was added is there, and there once. */
#include "file_tools.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "M.md"

static const char *file_of(const char *copy)
{
    static char name[64];
    snprintf(name, sizeof name, "%s/" FILE_NAME, copy);
    return world_path(name);
}

/* Two copies that track one file with this text. */
static void two_copies(const char *text)
{
    world_init("a");
    file_put_text(file_of("a"), text);
    strata *s = world_open("a", "ann");
    ok(s, strata_track(s, FILE_NAME));
    strata_close(s);
    world_init("b");
    world_merge("b", "a");
    s = world_open("b", "bob");
    ok(s, strata_track(s, FILE_NAME));
    strata_close(s);
}

static void append(const char *copy, const char *line)
{
    strata *s = world_open(copy, copy);
    ok(s, strata_append(s, FILE_NAME, line, STRATA_NUL));
    strata_close(s);
}

/* `to` takes in what `from` had when the snapshot was made, and brings its file up to date. */
static void snapshot(const char *name, const char *of)
{
    world_run("rm -rf %s; cp -r %s %s", name, of, name);
}

static void take(const char *to, const char *from)
{
    world_merge(to, from);
    files_update_by(to);
}

static void must_be(const char *copy, const char *text)
{
    char *is = file_get(file_of(copy));
    assert_string_equal(is, text);
    free(is);
}

/* How often the file has this line. */
static size_t times(const char *copy, const char *line)
{
    char *text = file_get(file_of(copy));
    size_t n = 0;
    for (char *at = strtok(text, "\n"); at != NULL; at = strtok(NULL, "\n"))
        n += strcmp(at, line) == 0;
    free(text);
    return n;
}

/* --- overlaps ---------------------------------------------------------------------------------- */

static size_t pending_of(const char *copy)
{
    strata *s = world_open(copy, "ann");
    size_t n = world_pending(s, STRATA_PENDING_CONFLICT, NULL);
    strata_close(s);
    return n;
}

/* What does not overlap goes into the shown version once, however often they meet again. */
static void test_an_overlap_that_stays_open(void **state)
{
    (void)state;
    two_copies("1\n2\n");
    file_edit(file_of("a"), "1\n", "1x\n");
    files_update_by("a");
    append("a", "of a");
    file_edit(file_of("b"), "1\n", "1y\n");
    files_update_by("b");
    append("b", "of b");
    take("a", "b");
    for (int round = 0; round < 3; round++) {
        char line[32];
        assert_int_equal(pending_of("a"), 1);
        assert_int_equal(times("a", "of a"), 1);
        assert_int_equal(times("a", "of b"), 1);
        assert_int_equal(times("a", "1x") + times("a", "1y"), 1);
        snprintf(line, sizeof line, "a %d", round);
        append("a", line);
        take("b", "a");
        snprintf(line, sizeof line, "b %d", round);
        append("b", line);
        assert_int_equal(times("b", "of b"), 1);
        assert_int_equal(pending_of("b"), 1);
        take("a", "b");
        assert_int_equal(times("a", line), 1);
    }
    /* A person settles it; it stays settled. */
    strata *s = world_open("a", "ann");
    size_t settled;
    ok(s, strata_resolve_all(s, NULL, &settled));
    assert_int_equal(settled, 1);
    strata_close(s);
    files_update_by("a");
    take("b", "a");
    take("a", "b");
    assert_int_equal(pending_of("a") + pending_of("b"), 0);
    assert_int_equal(times("b", "b 2"), 1);
    char *text = file_get(file_of("a"));
    must_be("b", text);
    free(text);
}

/* A file that was not tracked here has what it had elsewhere at some time: it is not an edit. */
static void test_tracked_with_an_older_text(void **state)
{
    (void)state;
    two_copies("1\n2\n");
    append("a", "3");
    append("a", "4");
    world_init("c");
    world_merge("c", "a");
    file_put_text(file_of("c"), "1\n2\n3\n");
    strata *s = world_open("c", "cid");
    ok(s, strata_track(s, FILE_NAME));
    strata_close(s);
    must_be("c", "1\n2\n3\n4\n");
    assert_int_equal(pending_of("c"), 0);
    /* And one that nobody has ever seen is kept beside it. */
    world_init("d");
    world_merge("d", "a");
    file_put_text(file_of("d"), "1\n2\n3\nnew\n");
    s = world_open("d", "dan");
    ok(s, strata_track(s, FILE_NAME));
    strata_close(s);
    assert_int_equal(pending_of("d"), 1);
}

/* One copy goes on with the version that the other merged, but for an overlap, into its own: the overlap
 * stays open, what is new comes in. */
static void test_the_other_side_goes_on(void **state)
{
    (void)state;
    two_copies("1\n2\n3\n");
    snapshot("older", "b");
    file_edit(file_of("b"), "1\n", "1y\n");
    files_update_by("b");
    file_edit(file_of("a"), "1\n", "1x\n");
    files_update_by("a");
    snapshot("then", "b");
    take("a", "then");
    assert_int_equal(pending_of("a"), 1);
    append("b", "later");
    take("a", "b");
    assert_int_equal(times("a", "later"), 1);
    assert_int_equal(pending_of("a"), 1);
    append("a", "again");
    take("a", "b");
    take("b", "a");
    assert_int_equal(times("a", "later"), 1);
    assert_int_equal(times("b", "later"), 1);
    assert_int_equal(times("b", "again"), 1);
    assert_int_equal(pending_of("b"), 1);
}

/* --- merged crosswise -------------------------------------------------------------------------- */

/* Each takes in what the other had a moment ago, and has gone on by then: they never have one version
 * that all came from. */
static void test_merged_crosswise(void **state)
{
    (void)state;
    const int rounds = 8;
    two_copies("begin\n");
    for (int i = 0; i < rounds; i++) {
        char line[32];
        snapshot("was-a", "a");
        snapshot("was-b", "b");
        snprintf(line, sizeof line, "a %d", i);
        append("a", line);
        snprintf(line, sizeof line, "b %d", i);
        append("b", line);
        take("a", "was-b");
        take("b", "was-a");
    }
    for (int i = 0; i < 3; i++) {
        take("a", "b");
        take("b", "a");
    }
    assert_int_equal(pending_of("a"), 0);
    for (int i = 0; i < rounds; i++)
        for (const char *copy = "ab"; *copy != '\0'; copy++) {
            char line[32];
            snprintf(line, sizeof line, "%c %d", *copy, i);
            assert_int_equal(times("a", line), 1);
        }
    char *text = file_get(file_of("a"));
    must_be("b", text);
    free(text);
}

/* --- append ------------------------------------------------------------------------------------ */

static bool was_recorded;

static void look_into_the_log(const char *path)
{
    (void)path;
    strata *s = world_open("a", "eye");
    was_recorded = strstr(world_get(s, "file:" FILE_NAME, "text"), "precious") != NULL;
    strata_close(s);
}

/* Whoever writes the file meanwhile: the line is a version before the file has it. */
static void test_append_is_recorded_first(void **state)
{
    (void)state;
    two_copies("one\n");
    was_recorded = false;
    world_before_exchange = look_into_the_log;
    append("a", "precious");
    world_before_exchange = NULL;
    assert_true(was_recorded);
    must_be("a", "one\nprecious\n");
    /* A file that went comes back with all of its text. */
    assert_int_equal(unlink(file_of("a")), 0);
    append("a", "two");
    must_be("a", "one\nprecious\ntwo\n");
}

/* --- texts that Git puts there ----------------------------------------------------------------- */

#define GIT "cd a && git -c user.name=a -c user.email=a@b "

/* Commits what the file has. At a moment long past: not by somebody who knew what the document has now. */
static void commit_old(void)
{
    world_run(GIT "add " FILE_NAME);
    world_run("export GIT_COMMITTER_DATE=2020-01-01T00:00:00Z; " GIT "commit -qm x");
}

/* A branch "old" of a file that has gone on since; `known`: that had been a version. */
static void one_behind(bool known)
{
    world_init("a");
    world_run(GIT "init -q -b main");
    file_put_text(file_of("a"), "1\n2\n");
    strata *s = world_open("a", "ann");
    if (known)
        ok(s, strata_track(s, FILE_NAME));
    commit_old();
    world_run(GIT "branch old");
    file_put_text(file_of("a"), known ? "1\n2\n3\n" : "1\n3\n");
    ok(s, strata_track(s, FILE_NAME));
    strata_close(s);
    commit_old();
}

static int see_held(void *arg, const strata_tracked *file)
{
    *(bool *)arg = file->held;
    return 0;
}

static bool is_held(void)
{
    bool held = false;
    strata *s = world_open("a", "ann");
    ok(s, strata_file_each(s, see_held, &held));
    strata_close(s);
    return held;
}

static void document_must_be(const char *text)
{
    strata *s = world_open("a", "eye");
    world_shows(s, "file:" FILE_NAME, "text", text);
    strata_close(s);
}

static void test_git_takes_an_older_text(void **state)
{
    (void)state;
    one_behind(true);
    world_run(GIT "checkout -q old");
    files_update_by("a");
    must_be("a", "1\n2\n");
    document_must_be("1\n2\n3\n");
    assert_true(is_held());
    /* What is edited there is an edit of what it has. */
    file_put_text(file_of("a"), "1x\n2\n");
    files_update_by("a");
    must_be("a", "1x\n2\n3\n");
    assert_false(is_held());
    /* Back, by force: the text that it had there is older than the document by now. */
    world_run(GIT "checkout -qf main");
    files_update_by("a");
    must_be("a", "1\n2\n3\n");
    assert_true(is_held());
    strata *s = world_open("a", "ann");
    ok(s, strata_track(s, FILE_NAME));
    must_be("a", "1x\n2\n3\n");
    /* Or it is meant. */
    world_run(GIT "checkout -qf main");
    ok(s, strata_files_update(s, 0, NULL));
    ok(s, strata_file_take(s, FILE_NAME));
    strata_close(s);
    document_must_be("1\n2\n3\n");
    assert_false(is_held());
    /* An older text that a person types is an edit. */
    file_put_text(file_of("a"), "1x\n2\n3\n");
    files_update_by("a");
    document_must_be("1x\n2\n3\n");
}

/* A text from before the file was tracked: what it lacks was never taken out. */
static void test_git_takes_an_unknown_text(void **state)
{
    (void)state;
    one_behind(false);
    world_run(GIT "checkout -q old");
    files_update_by("a");
    must_be("a", "1\n2\n");
    document_must_be("1\n3\n");
    assert_true(is_held());
    file_put_text(file_of("a"), "1\n2\nnew\n");
    files_update_by("a");
    assert_int_equal(times("a", "3"), 1);
    assert_int_equal(times("a", "2"), 1);
    assert_int_equal(times("a", "new"), 1);
    assert_false(is_held());
    assert_int_equal(pending_of("a"), 0);
    /* A line that is appended to one that is held comes behind what the document has. */
    world_run(GIT "checkout -qf main");
    world_run(GIT "checkout -q old");
    files_update_by("a");
    assert_true(is_held());
    append("a", "last");
    assert_int_equal(times("a", "3"), 1);
    assert_int_equal(times("a", "last"), 1);
}

/* An edit that was committed before any command saw it, on the text that the document has, committed
 * or not; a revert of it; what somebody else has committed on top. */
static void test_git_takes_what_was_edited(void **state)
{
    (void)state;
    one_behind(true);
    file_put_text(file_of("a"), "1\n3\n");
    world_run(GIT "commit -qam edit");
    files_update_by("a");
    document_must_be("1\n3\n");
    append("a", "4");
    file_put_text(file_of("a"), "3\n4\n");
    world_run(GIT "commit -qam again");
    files_update_by("a");
    document_must_be("3\n4\n");
    world_run(GIT "revert --no-edit HEAD >/dev/null");
    files_update_by("a");
    document_must_be("1\n3\n");
    world_run("git clone -q a other && cd other && echo 5 >>" FILE_NAME
              " && git -c user.name=b -c user.email=b@b commit -qam five");
    world_run(GIT "pull -q ../other main");
    files_update_by("a");
    document_must_be("1\n3\n5\n");
    assert_false(is_held());
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_an_overlap_that_stays_open), TEST(test_the_other_side_goes_on),
        TEST(test_merged_crosswise),           TEST(test_append_is_recorded_first),
        TEST(test_tracked_with_an_older_text), TEST(test_git_takes_an_older_text),
        TEST(test_git_takes_an_unknown_text),  TEST(test_git_takes_what_was_edited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
