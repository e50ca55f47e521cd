/* test_lib_views.c - views in files that others write at the same time, processes killed at every
 * step, renderings that are old, unknown or damaged. */
#include "file_tools.h"

#include "files/view.h"
#include "lib/files.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *facts(void)
{
    return world_path("a/FACTS.md");
}

static int count_event(void *arg, const strata_event *e)
{
    (void)e;
    (*(size_t *)arg)++;
    return 0;
}

/* A workspace "a" with a table of x y = 1, x z = 1, x t has m, between two lines of an author. */
static strata *table(void)
{
    world_init("a");
    strata *s = world_open("a", "ann");
    world_set(s, "x", "y", "1");
    world_set(s, "x", "z", "1");
    ok(s, world_write(s, STRATA_ADD, "x", "t", "m", NULL));
    file_put_text(facts(), "before\n");
    files_add_view(s, "facts", "FACTS.md", false);
    char *whole = file_get(facts());
    strcat(whole = realloc(whole, strlen(whole) + 32), "behind\n");
    file_put_text(facts(), whole);
    free(whole);
    return s;
}

/* --- somebody writes in between ------------------------------------------------------------------
 */

static int interruptions;

static void writes_in_place(const char *path)
{
    if (interruptions-- <= 0)
        return;
    file_edit(path, "before\n", "before\nsomething of an author\n");
    file_edit(path, "| z | 1 |", "| z | 2 |");
}

static void test_written_between_read_and_replace(void **state)
{
    (void)state;
    strata *s = table();
    file_edit(facts(), "| y | 1 |", "| y | 2 |");
    interruptions = 1;
    world_before_exchange = writes_in_place;
    files_update(s, 0);
    world_before_exchange = NULL;
    file_must_have(facts(), "before\nsomething of an author\n");
    file_must_have(facts(), "behind\n");
    world_shows(s, "x", "y", "2");
    world_shows(s, "x", "z", "2");
    assert_int_equal(files_writes_of(s, "x", "y"), 2);
    assert_int_equal(files_writes_of(s, "x", "z"), 2);
    file_must_have(facts(), "| y | 2 |");
    file_must_have(facts(), "| z | 2 |");
    strata_close(s);
    files_are_clean();
}

static void replaces_by_rename(const char *path)
{
    if (interruptions-- <= 0)
        return;
    char other[600];
    snprintf(other, sizeof other, "%s.editor", path);
    char *whole = file_get(path);
    file_put_text(other, whole);
    free(whole);
    file_edit(other, "behind\n", "behind\nfrom another editor\n");
    file_edit(other, "| z | 1 |", "| z | 3 |");
    assert_int_equal(rename(other, path), 0);
}

static void test_replaced_by_rename(void **state)
{
    (void)state;
    strata *s = table();
    file_edit(facts(), "| y | 1 |", "| y | 2 |");
    interruptions = 1;
    world_before_exchange = replaces_by_rename;
    files_update(s, 0);
    world_before_exchange = NULL;
    file_must_have(facts(), "behind\nfrom another editor\n");
    world_shows(s, "x", "y", "2");
    world_shows(s, "x", "z", "3");
    strata_close(s);
    files_are_clean();
}

static int turn;

/* Two authors, one after the other: the second has the text that the first did not see. */
static void writes_twice(const char *path)
{
    static char *first;
    if (turn == 0) {
        first = file_get(path);
        file_edit(path, "before\n", "before\nof the first\n");
    } else if (turn == 1) {
        file_put_text(path, first);
        file_edit(path, "behind\n", "behind\nof the second\n");
        free(first);
    }
    turn++;
}

static void test_two_authors_in_between(void **state)
{
    (void)state;
    strata *s = table();
    file_edit(facts(), "| y | 1 |", "| y | 2 |");
    turn = 0;
    world_before_exchange = writes_twice;
    files_update(s, 0);
    world_before_exchange = NULL;
    file_must_have(facts(), "before\nof the first\n");
    file_must_have(facts(), "behind\nof the second\n");
    file_must_have(facts(), "| y | 2 |");
    world_shows(s, "x", "y", "2");
    strata_close(s);
    files_are_clean();
}

static void removes(const char *path)
{
    if (interruptions-- > 0)
        assert_int_equal(unlink(path), 0);
}

static void test_removed_in_between(void **state)
{
    (void)state;
    strata *s = table();
    file_edit(facts(), "| y | 1 |", "| y | 2 |");
    interruptions = 1;
    world_before_exchange = removes;
    files_update(s, 0);
    world_before_exchange = NULL;
    file_must_have(facts(), "| y | 2 |");
    file_must_have(facts(), "behind\n");
    strata_close(s);
    files_are_clean();
}

static void test_missing_file_is_written_again(void **state)
{
    (void)state;
    strata *s = table();
    files_update(s, 0);
    assert_int_equal(unlink(facts()), 0);
    files_update(s, 0);
    file_must_have(facts(), "| y | 1 |");
    assert_int_equal(world_notices(s, "was missing"), 1);
    world_shows(s, "x", "y", "1");
    strata_close(s);
}

/* Waits until the stamp of the file is trusted, and an update has seen that: no look at it is due then. */
static void settled(strata *s)
{
    nanosleep(&(struct timespec){.tv_nsec = 3L * ST_STAMP_GRAIN_NS}, NULL);
    files_update(s, 0);
}

/* What only the log says is rendered, also when it came with records that no view shows. */
static void test_what_the_log_says_is_rendered(void **state)
{
    (void)state;
    strata *s = table();
    settled(s);
    world_set(s, "x", "y", "2");
    files_update(s, 0);
    file_must_have(facts(), "| y | 2 |");
    settled(s);
    world_set(s, "x", "y", "3");
    for (int i = 0; i < 3; i++)
        ok(s, world_write(s, STRATA_COUNT, "runs", NULL, "1", NULL));
    files_update(s, 0);
    file_must_have(facts(), "| y | 3 |");
    settled(s);
    ok(s, world_write(s, STRATA_UNSET, "x", "z", NULL, NULL));
    for (int i = 0; i < 100; i++)
        ok(s, world_write(s, STRATA_COUNT, "runs", NULL, "1", NULL));
    files_update(s, 0);
    assert_false(file_has(facts(), "| z |"));
    strata_close(s);
}

/* --- old, unknown and damaged renderings
 * ---------------------------------------------------------- */

static void test_edit_of_an_older_rendering(void **state)
{
    (void)state;
    strata *s = table();
    files_update(s, 0);
    char *old = file_get(facts());
    world_set(s, "x", "y", "other");
    world_set(s, "x", "w", "new");
    ok(s, world_write(s, STRATA_ADD, "x", "t", "n", NULL));
    files_update(s, 0);
    file_must_have(facts(), "other");
    /* An editor that had the older text open writes it all back. */
    file_put_text(facts(), old);
    file_edit(facts(), "| y | 1 |", "| y | mine |");
    file_cut_line(facts(), "| z |");
    file_edit(facts(), "behind", "behind it");
    free(old);
    assert_int_equal(files_update(s, 0), 2);
    /* What was not in it is not removed; what it removed, is; both values of y stay. */
    world_shows(s, "x", "w", "new");
    world_shows(s, "x", "z", "");
    strata_pending p;
    assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, &p), 1);
    assert_int_equal(p.count, 2);
    file_must_have(facts(), "| y | mine | <!-- ");
    file_must_have(facts(), "| y | other | <!-- ");
    file_must_have(facts(), "| w | new |");
    file_must_have(facts(), "+ n |");
    file_must_have(facts(), "behind it\n");
    /* To delete one of two lines settles it. */
    file_cut_line(facts(), "| y | mine |");
    files_update(s, 0);
    assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
    world_shows(s, "x", "y", "other");
    strata_close(s);
}

static void test_same_value_again_is_no_conflict(void **state)
{
    (void)state;
    strata *s = table();
    files_update(s, 0);
    world_set(s, "x", "y", "1");
    file_edit(facts(), "| y | 1 |", "| y | 2 |");
    files_update(s, 0);
    assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
    world_shows(s, "x", "y", "2");
    strata_close(s);
}

static void test_edit_taken_in_before(void **state)
{
    (void)state;
    strata *s = table();
    files_update(s, 0);
    file_edit(facts(), "| y | 1 |", "| y | 2 |");
    char *edited = file_get(facts());
    files_update(s, 0);
    world_set(s, "x", "y", "3");
    /* As if the process had died before it wrote the file, and another tree's command set 3. */
    file_put_text(facts(), edited);
    free(edited);
    files_update(s, 0);
    world_shows(s, "x", "y", "3");
    assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
    assert_int_equal(files_writes_of(s, "x", "y"), 3);
    file_must_have(facts(), "| y | 3 |");
    strata_close(s);
}

static void test_unknown_rendering(void **state)
{
    (void)state;
    strata *s = table();
    files_update(s, 0);
    world_run("rm -r a/.strata/views/kept");
    file_edit(facts(), "| y | 1 |", "| y | lost? |");
    file_cut_line(facts(), "| z |");
    file_edit(facts(), "<!-- strata:end", "| n | e | w |\n<!-- strata:end");
    assert_int_equal(files_update(s, 0), 1);
    world_shows(s, "x", "y", "1");
    world_shows(s, "x", "z", "1");
    world_shows(s, "n", "e", "w");
    file_must_have(facts(), "| z | 1 |");
    /* The text is not lost, and the user is told where it is. */
    assert_int_equal(world_notices(s, "other changes were not"), 1);
    assert_int_equal(files_count(world_file("a", "views/aside"), "FACTS.md"), 1);
    world_run("grep -q 'lost?' a/.strata/views/aside/*");
    strata_close(s);
}

/* Damage costs nothing: no item is removed or changed, new lines are taken in, no author's line
 * goes. */
static void damaged_is(const char *what)
{
    strata *s = world_open("a", "ann");
    files_update(s, 0);
    print_message("%s\n", what);
    world_shows(s, "x", "y", "1");
    world_shows(s, "x", "z", "1");
    world_shows(s, "n", "e", "w");
    file_must_have(facts(), "before\n");
    file_must_have(facts(), "\nbehind\n");
    file_must_have(facts(), "| n | e | w | <!-- ");
    char *whole = file_get(facts()), *begin = strstr(whole, "strata:begin facts");
    assert_non_null(begin);
    assert_null(strstr(begin + 1, "strata:begin facts"));
    assert_null(strstr(whole, "<<<<<<<"));
    assert_null(strstr(whole, ">>>>>>>"));
    assert_null(strstr(whole, "\n=======\n"));
    char *end = strstr(begin, "strata:end facts");
    assert_non_null(end);
    assert_null(strstr(end + 1, "strata:end facts"));
    assert_null(strstr(end, "<!-- 0"));
    free(whole);
    strata_close(s);
}

static void test_damaged_blocks(void **state)
{
    (void)state;
    static const char *const damage[] = {
        /* the end is gone; an author's line follows */
        "grep -v strata:end FACTS.md",
        /* the begin is gone */
        "grep -v strata:begin FACTS.md",
        /* the block was copied, and one copy has lost a row */
        "cat FACTS.md; sed -n '/strata:begin/,/strata:end/p' FACTS.md | grep -v '| z |'",
        /* Git left conflict markers: of the whole block */
        "sed '/strata:begin/i <<<<<<< ours\n/strata:end/a >>>>>>> theirs' FACTS.md | "
        "sed '/| n |/{a =======\na <!-- strata:begin facts 0123456789abcdef x -->\n}'",
        /* and inside it */
        "sed '/| y |/{i <<<<<<< ours\na =======\na | x | y | 5 | <!-- 0123456789ab -->\n"
        "a >>>>>>> theirs\n}' FACTS.md",
        /* a hash that was never made */
        "sed 's/begin facts [0-9a-f]*/begin facts 0123456789abcdef/; /| z |/d' FACTS.md",
        "sed 's/begin facts [0-9a-f]*/begin facts zzz/; /| z |/d' FACTS.md",
    };
    for (size_t i = 0; i < sizeof damage / sizeof damage[0]; i++) {
        strata *s = table();
        files_update(s, 0);
        strata_close(s);
        file_edit(facts(), "<!-- strata:end", "| n | e | w |\n<!-- strata:end");
        if (i != 1) /* without its begin a new line cannot be told from text */
            world_run("cd a && (%s) >new.md && mv new.md FACTS.md", damage[i]);
        damaged_is(damage[i]);
        world_run("rm -rf a");
    }
}

/* Without its begin a block is found by its rows and its end; a new row is text, and stays that. */
static void test_begin_is_gone(void **state)
{
    (void)state;
    strata *s = table();
    files_update(s, 0);
    world_run(
        "cd a && grep -v strata:begin FACTS.md | grep -v '| z |' >new.md && mv new.md FACTS.md");
    files_update(s, 0);
    world_shows(s, "x", "z", "1");
    file_must_have(facts(), "before\n");
    file_must_have(facts(), "\nbehind\n");
    file_must_have(facts(), "| z | 1 |");
    file_must_have(facts(), "strata:begin facts");
    char *whole = file_get(facts());
    char *first = strstr(whole, "| entity |");
    assert_non_null(first);
    assert_null(strstr(first + 1, "| entity |"));
    free(whole);
    strata_close(s);
}

static void test_lines_that_are_no_items(void **state)
{
    (void)state;
    strata *s = table();
    files_update(s, 0);
    file_edit(facts(), "<!-- strata:end",
              "a thought\n| x | y |\n| #12 | title | x |\n"
              "| file:a | text | x |\n<!-- strata:end");
    file_edit(facts(), "| z | 1 |", "| z | \x01 |");
    files_update(s, 0);
    world_shows(s, "x", "z", "1");
    char *whole = file_get(facts()), *end = strstr(whole, "strata:end");
    assert_non_null(strstr(end, "\na thought\n"));
    assert_non_null(strstr(end, "\n| #12 | title | x |\n"));
    assert_non_null(strstr(end, "\n| file:a | text | x |\n"));
    assert_non_null(strstr(end, "| \x01 |"));
    assert_non_null(strstr(end, "behind\n"));
    assert_int_equal(world_notices(s, "below its block"), 1);
    free(whole);
    /* A copied line that kept its id is no addition, and is not lost. */
    file_edit(facts(), "<!-- strata:end", "| x | y | 7 | <!-- 0123456789ab -->\n<!-- strata:end");
    files_update(s, 0);
    world_shows(s, "x", "y", "1");
    assert_int_equal(world_notices(s, "not taken in"), 1);
    assert_int_equal(files_count(world_file("a", "views/aside"), "FACTS.md"), 1);
    strata_close(s);
}

/* --- the board
 * ------------------------------------------------------------------------------------ */

static int first_status(void *arg, const strata_agent *a)
{
    if (strcmp(a->agent, "bob") == 0)
        snprintf(arg, 100, "%s", a->status);
    return 0;
}

static void test_board_edit_behind_a_newer_status(void **state)
{
    (void)state;
    char status[100] = "";
    const char *path = world_path("a/BOARD.md");
    world_init("a");
    strata *s = world_open("a", "bob");
    ok(s, strata_beat(s, "one"));
    files_add_view(s, "heartbeat", "BOARD.md", false);
    file_edit(path, "one", "edited");
    ok(s, strata_beat(s, "two"));
    files_update(s, 0);
    ok(s, strata_agent_each(s, first_status, status));
    assert_string_equal(status, "two");
    file_must_have(path, "] two (");
    size_t found = 0;
    ok(s, strata_events(s, 0, 0, &(uint64_t){0}, count_event, &found));
    assert_int_equal(found, 4); /* one, two, edited, two again */
    /* An agent that is not heard of any more is shown as gone, once. */
    world_clock_ms += 2 * 3600 * 1000;
    files_update(s, 0);
    file_must_have(path, ", gone since 20");
    ok(s, strata_beat(s, NULL));
    world_clock_ms += 120 * 1000;
    files_update(s, 0);
    assert_false(file_has(path, "gone since"));
    /* A line that is removed is a status taken back. */
    file_cut_line(path, "[agent:bob]");
    files_update(s, 0);
    assert_false(file_has(path, "bob"));
    ok(s, strata_agent_each(s, first_status, status));
    assert_string_equal(status, "");
    strata_close(s);
}

/* --- tracked files -------------------------------------------------------------------------------
 */

static void adds_a_line(const char *path)
{
    if (interruptions-- > 0)
        file_edit(path, "one\n", "one\nof an author\n");
}

static void test_document_written_in_between(void **state)
{
    (void)state;
    world_init("a");
    world_init("b");
    file_put_text(world_path("a/NOTES.md"), "one\ntwo\nthree\n");
    strata *s = world_open("a", "ann");
    ok(s, strata_track(s, "NOTES.md"));
    world_merge("b", "a");
    strata *other = world_open("b", "bob");
    ok(other, strata_track(other, "NOTES.md"));
    file_edit(world_path("b/NOTES.md"), "three\n", "three\nof another copy\n");
    files_update(other, 0);
    strata_close(other);
    world_merge("a", "b");
    interruptions = 1;
    world_before_exchange = adds_a_line;
    files_update(s, 0);
    world_before_exchange = NULL;
    char *whole = file_get(world_path("a/NOTES.md"));
    assert_string_equal(whole, "one\nof an author\ntwo\nthree\nof another copy\n");
    free(whole);
    strata_close(s);
    files_are_clean();
}

/* --- kill -9
 * -------------------------------------------------------------------------------------- */

static void update_a(void)
{
    files_update_by("a");
}

static void update_a_interrupted(void)
{
    interruptions = 1;
    world_before_exchange = writes_in_place;
    files_update_by("a");
}

static void kill_at_every_step(bool interrupted)
{
    uint64_t strike = 1;
    bool died = true;
    for (; died; strike++) {
        strata *s = table();
        files_update(s, 0);
        strata_close(s);
        file_edit(facts(), "| y | 1 |", "| y | 2 |");
        file_cut_line(facts(), "+ m |");
        file_edit(facts(), "<!-- strata:end", "| n | e | w |\n<!-- strata:end");
        file_edit(facts(), "behind", "behind it");
        died = world_killed(interrupted ? update_a_interrupted : update_a, strike, 0);
        bool wrote = file_has(facts(), "something of an author") ||
                     files_count(world_path("a"), "strata-old") > 0 || interrupted;
        s = world_open("a", "ann");
        files_update(s, 0);
        world_shows(s, "x", "y", "2");
        world_shows(s, "n", "e", "w");
        world_shows(s, "x", "t", "");
        /* once, however often it was seen */
        assert_int_equal(files_writes_of(s, "x", "y"), 2);
        assert_int_equal(files_writes_of(s, "n", "e"), 1);
        assert_int_equal(files_writes_of(s, "x", "t"), 2);
        assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
        file_must_have(facts(), "before\n");
        file_must_have(facts(), "\nbehind it\n");
        file_must_have(facts(), "| y | 2 | <!-- ");
        file_must_have(facts(), "| n | e | w | <!-- ");
        if (wrote && strcmp(world_get(s, "x", "z"), "2") == 0)
            file_must_have(facts(), "before\nsomething of an author\n");
        files_are_clean();
        assert_int_equal(files_update(s, 0), 0);
        strata_close(s);
        if (!died && interrupted) {
            s = world_open("a", NULL);
            world_shows(s, "x", "z", "2");
            strata_close(s);
        }
        world_run("rm -rf a");
    }
    print_message("%d steps\n", (int)strike - 2);
    assert_true(strike > 15);
}

static void test_killed_at_every_step(void **state)
{
    (void)state;
    kill_at_every_step(false);
}

static void test_killed_at_every_step_interrupted(void **state)
{
    (void)state;
    kill_at_every_step(true);
}

/* --- many at once
 * --------------------------------------------------------------------------------- */

static int edit_and_update(void *arg, size_t i)
{
    (void)arg;
    strata *s = world_open("a", NULL);
    for (int n = 0; n < 12; n++) {
        char attribute[16], value[16];
        snprintf(attribute, sizeof attribute, "p%zu", i);
        snprintf(value, sizeof value, "%d", n);
        world_set(s, "x", attribute, value);
        strata_files_update(s, 0, NULL);
    }
    strata_close(s);
    return 0;
}

static void test_many_processes(void **state)
{
    (void)state;
    strata *s = table();
    strata_close(s);
    world_processes(8, edit_and_update, NULL);
    /* Who came last has written what all wrote, though some left it to another. */
    for (int i = 0; i < 8; i++) {
        char row[32];
        snprintf(row, sizeof row, "| p%d | 11 |", i);
        file_must_have(facts(), row);
    }
    files_are_clean();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_written_between_read_and_replace),
        TEST(test_replaced_by_rename),
        TEST(test_removed_in_between),
        TEST(test_two_authors_in_between),
        TEST(test_missing_file_is_written_again),
        TEST(test_what_the_log_says_is_rendered),
        TEST(test_edit_of_an_older_rendering),
        TEST(test_same_value_again_is_no_conflict),
        TEST(test_edit_taken_in_before),
        TEST(test_unknown_rendering),
        TEST(test_damaged_blocks),
        TEST(test_begin_is_gone),
        TEST(test_lines_that_are_no_items),
        TEST(test_board_edit_behind_a_newer_status),
        TEST(test_document_written_in_between),
        TEST(test_killed_at_every_step),
        TEST(test_killed_at_every_step_interrupted),
        TEST(test_many_processes),
    };
    return cmocka_run_group_tests_name("lib views", tests, NULL, NULL);
}
