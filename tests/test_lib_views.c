/* test_lib_views.c - views in files that others write at the same time, processes killed at every
 * step, renderings that are old, unknown or damaged. */
#include "lib_world.h"

#include "files/view.h"
#include "lib/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- files -------------------------------------------------------------------------------------
 */

static void put(const char *path, const char *text, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    close(fd);
}

static void put_text(const char *path, const char *text)
{
    put(path, text, strlen(text));
}

/* The whole file; freed by the caller. */
static char *get(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("no file %s", path);
    assert_int_equal(fstat(fd, &st), 0);
    char *text = calloc(1, (size_t)st.st_size + 1);
    assert_non_null(text);
    assert_int_equal(read(fd, text, (size_t)st.st_size), st.st_size);
    close(fd);
    return text;
}

static bool file_has(const char *path, const char *text)
{
    char *whole = get(path);
    bool found = strstr(whole, text) != NULL;
    free(whole);
    return found;
}

static void must_have(const char *path, const char *text)
{
    if (!file_has(path, text)) {
        char *whole = get(path);
        fail_msg("`%s' is not in:\n%s", text, whole);
    }
}

/* Replaces the first `from` in a file by `to`, in place. */
static void edit(const char *path, const char *from, const char *to)
{
    char *whole = get(path), *at = strstr(whole, from);
    if (at == NULL)
        fail_msg("`%s' is not in:\n%s", from, whole);
    size_t head = (size_t)(at - whole), tail = strlen(at + strlen(from));
    char *out = calloc(1, head + strlen(to) + tail + 1);
    assert_non_null(out);
    memcpy(out, whole, head);
    strcpy(out + head, to);
    strcat(out + head, at + strlen(from));
    put_text(path, out);
    free(out);
    free(whole);
}

/* Takes the line with this text out. */
static void cut_line(const char *path, const char *text)
{
    char *whole = get(path), *at = strstr(whole, text);
    assert_non_null(at);
    while (at > whole && at[-1] != '\n')
        at--;
    char *end = strchr(at, '\n');
    assert_non_null(end);
    memmove(at, end + 1, strlen(end + 1) + 1);
    put_text(path, whole);
    free(whole);
}

static void add_view(strata *s, const char *name, const char *path, bool committed)
{
    strata_view_options o = {.size = sizeof o, .name = name, .path = path, .committed = committed};
    strata_view v;
    ok(s, strata_view_add(s, &o, &v));
    assert_string_equal(v.path, path);
}

static size_t update(strata *s, unsigned flags)
{
    strata_files_result r;
    ok(s, strata_files_update(s, flags, &r));
    return r.taken_in;
}

static void update_by(const char *name)
{
    strata *s = world_open(name, NULL);
    update(s, 0);
    strata_close(s);
}

static size_t count_files(const char *dir, const char *part)
{
    DIR *d = opendir(dir);
    size_t n = 0;
    struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL)
        n += strstr(e->d_name, part) != NULL;
    if (d != NULL)
        closedir(d);
    return n;
}

static int visit_event(void *arg, const strata_event *e)
{
    (void)e;
    (*(size_t *)arg)++;
    return 0;
}

/* How often an attribute was written. */
static size_t writes_of(strata *s, const char *entity, const char *attribute)
{
    size_t n = 0;
    ok(s, strata_history(s, entity, attribute, 0, visit_event, &n));
    return n;
}

static const char *facts(void)
{
    return world_path("a/FACTS.md");
}

/* A workspace "a" with a table of x y = 1, x z = 1, x t has m, between two lines of an author. */
static strata *table(void)
{
    world_init("a");
    strata *s = world_open("a", "ann");
    world_set(s, "x", "y", "1");
    world_set(s, "x", "z", "1");
    ok(s, world_write(s, STRATA_ADD, "x", "t", "m", NULL));
    put_text(facts(), "before\n");
    add_view(s, "facts", "FACTS.md", false);
    char *whole = get(facts());
    strcat(whole = realloc(whole, strlen(whole) + 32), "behind\n");
    put_text(facts(), whole);
    free(whole);
    return s;
}

static void is_clean(void)
{
    assert_int_equal(count_files(world_path("a"), "strata-new"), 0);
    assert_int_equal(count_files(world_path("a"), "strata-old"), 0);
    assert_int_equal(access(world_file("a", "views/writing"), F_OK), -1);
}

/* --- somebody writes in between ------------------------------------------------------------------
 */

static int interruptions;

static void writes_in_place(const char *path)
{
    if (interruptions-- <= 0)
        return;
    edit(path, "before\n", "before\nsomething of an author\n");
    edit(path, "| z | 1 |", "| z | 2 |");
}

static void test_written_between_read_and_replace(void **state)
{
    (void)state;
    strata *s = table();
    edit(facts(), "| y | 1 |", "| y | 2 |");
    interruptions = 1;
    world_before_exchange = writes_in_place;
    update(s, 0);
    world_before_exchange = NULL;
    must_have(facts(), "before\nsomething of an author\n");
    must_have(facts(), "behind\n");
    world_shows(s, "x", "y", "2");
    world_shows(s, "x", "z", "2");
    assert_int_equal(writes_of(s, "x", "y"), 2);
    assert_int_equal(writes_of(s, "x", "z"), 2);
    must_have(facts(), "| y | 2 |");
    must_have(facts(), "| z | 2 |");
    strata_close(s);
    is_clean();
}

static void replaces_by_rename(const char *path)
{
    if (interruptions-- <= 0)
        return;
    char other[600];
    snprintf(other, sizeof other, "%s.editor", path);
    char *whole = get(path);
    put_text(other, whole);
    free(whole);
    edit(other, "behind\n", "behind\nfrom another editor\n");
    edit(other, "| z | 1 |", "| z | 3 |");
    assert_int_equal(rename(other, path), 0);
}

static void test_replaced_by_rename(void **state)
{
    (void)state;
    strata *s = table();
    edit(facts(), "| y | 1 |", "| y | 2 |");
    interruptions = 1;
    world_before_exchange = replaces_by_rename;
    update(s, 0);
    world_before_exchange = NULL;
    must_have(facts(), "behind\nfrom another editor\n");
    world_shows(s, "x", "y", "2");
    world_shows(s, "x", "z", "3");
    strata_close(s);
    is_clean();
}

static int turn;

/* Two authors, one after the other: the second has the text that the first did not see. */
static void writes_twice(const char *path)
{
    static char *first;
    if (turn == 0) {
        first = get(path);
        edit(path, "before\n", "before\nof the first\n");
    } else if (turn == 1) {
        put_text(path, first);
        edit(path, "behind\n", "behind\nof the second\n");
        free(first);
    }
    turn++;
}

static void test_two_authors_in_between(void **state)
{
    (void)state;
    strata *s = table();
    edit(facts(), "| y | 1 |", "| y | 2 |");
    turn = 0;
    world_before_exchange = writes_twice;
    update(s, 0);
    world_before_exchange = NULL;
    must_have(facts(), "before\nof the first\n");
    must_have(facts(), "behind\nof the second\n");
    must_have(facts(), "| y | 2 |");
    world_shows(s, "x", "y", "2");
    strata_close(s);
    is_clean();
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
    edit(facts(), "| y | 1 |", "| y | 2 |");
    interruptions = 1;
    world_before_exchange = removes;
    update(s, 0);
    world_before_exchange = NULL;
    must_have(facts(), "| y | 2 |");
    must_have(facts(), "behind\n");
    strata_close(s);
    is_clean();
}

static void test_missing_file_is_written_again(void **state)
{
    (void)state;
    strata *s = table();
    update(s, 0);
    assert_int_equal(unlink(facts()), 0);
    update(s, 0);
    must_have(facts(), "| y | 1 |");
    assert_int_equal(world_notices(s, "was missing"), 1);
    world_shows(s, "x", "y", "1");
    strata_close(s);
}

/* --- old, unknown and damaged renderings
 * ---------------------------------------------------------- */

static void test_edit_of_an_older_rendering(void **state)
{
    (void)state;
    strata *s = table();
    update(s, 0);
    char *old = get(facts());
    world_set(s, "x", "y", "other");
    world_set(s, "x", "w", "new");
    ok(s, world_write(s, STRATA_ADD, "x", "t", "n", NULL));
    update(s, 0);
    must_have(facts(), "other");
    /* An editor that had the older text open writes it all back. */
    put_text(facts(), old);
    edit(facts(), "| y | 1 |", "| y | mine |");
    cut_line(facts(), "| z |");
    edit(facts(), "behind", "behind it");
    free(old);
    assert_int_equal(update(s, 0), 2);
    /* What was not in it is not removed; what it removed, is; both values of y stay. */
    world_shows(s, "x", "w", "new");
    world_shows(s, "x", "z", "");
    strata_pending p;
    assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, &p), 1);
    assert_int_equal(p.count, 2);
    must_have(facts(), "| y | mine | <!-- ");
    must_have(facts(), "| y | other | <!-- ");
    must_have(facts(), "| w | new |");
    must_have(facts(), "+ n |");
    must_have(facts(), "behind it\n");
    /* To delete one of two lines settles it. */
    cut_line(facts(), "| y | mine |");
    update(s, 0);
    assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
    world_shows(s, "x", "y", "other");
    strata_close(s);
}

static void test_same_value_again_is_no_conflict(void **state)
{
    (void)state;
    strata *s = table();
    update(s, 0);
    world_set(s, "x", "y", "1");
    edit(facts(), "| y | 1 |", "| y | 2 |");
    update(s, 0);
    assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
    world_shows(s, "x", "y", "2");
    strata_close(s);
}

static void test_edit_taken_in_before(void **state)
{
    (void)state;
    strata *s = table();
    update(s, 0);
    edit(facts(), "| y | 1 |", "| y | 2 |");
    char *edited = get(facts());
    update(s, 0);
    world_set(s, "x", "y", "3");
    /* As if the process had died before it wrote the file, and another tree's command set 3. */
    put_text(facts(), edited);
    free(edited);
    update(s, 0);
    world_shows(s, "x", "y", "3");
    assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
    assert_int_equal(writes_of(s, "x", "y"), 3);
    must_have(facts(), "| y | 3 |");
    strata_close(s);
}

static void test_unknown_rendering(void **state)
{
    (void)state;
    strata *s = table();
    update(s, 0);
    world_run("rm -r a/.strata/views/kept");
    edit(facts(), "| y | 1 |", "| y | lost? |");
    cut_line(facts(), "| z |");
    edit(facts(), "<!-- strata:end", "| n | e | w |\n<!-- strata:end");
    assert_int_equal(update(s, 0), 1);
    world_shows(s, "x", "y", "1");
    world_shows(s, "x", "z", "1");
    world_shows(s, "n", "e", "w");
    must_have(facts(), "| z | 1 |");
    /* The text is not lost, and the user is told where it is. */
    assert_int_equal(world_notices(s, "other changes were not"), 1);
    assert_int_equal(count_files(world_file("a", "views/aside"), "FACTS.md"), 1);
    world_run("grep -q 'lost?' a/.strata/views/aside/*");
    strata_close(s);
}

/* Damage costs nothing: no item is removed or changed, new lines are taken in, no author's line
 * goes. */
static void damaged_is(const char *what)
{
    strata *s = world_open("a", "ann");
    update(s, 0);
    print_message("%s\n", what);
    world_shows(s, "x", "y", "1");
    world_shows(s, "x", "z", "1");
    world_shows(s, "n", "e", "w");
    must_have(facts(), "before\n");
    must_have(facts(), "\nbehind\n");
    must_have(facts(), "| n | e | w | <!-- ");
    char *whole = get(facts()), *begin = strstr(whole, "strata:begin facts");
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
        update(s, 0);
        strata_close(s);
        edit(facts(), "<!-- strata:end", "| n | e | w |\n<!-- strata:end");
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
    update(s, 0);
    world_run(
        "cd a && grep -v strata:begin FACTS.md | grep -v '| z |' >new.md && mv new.md FACTS.md");
    update(s, 0);
    world_shows(s, "x", "z", "1");
    must_have(facts(), "before\n");
    must_have(facts(), "\nbehind\n");
    must_have(facts(), "| z | 1 |");
    must_have(facts(), "strata:begin facts");
    char *whole = get(facts());
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
    update(s, 0);
    edit(facts(), "<!-- strata:end",
         "a thought\n| x | y |\n| #12 | title | x |\n"
         "| file:a | text | x |\n<!-- strata:end");
    edit(facts(), "| z | 1 |", "| z | \x01 |");
    update(s, 0);
    world_shows(s, "x", "z", "1");
    char *whole = get(facts()), *end = strstr(whole, "strata:end");
    assert_non_null(strstr(end, "\na thought\n"));
    assert_non_null(strstr(end, "\n| #12 | title | x |\n"));
    assert_non_null(strstr(end, "\n| file:a | text | x |\n"));
    assert_non_null(strstr(end, "| \x01 |"));
    assert_non_null(strstr(end, "behind\n"));
    assert_int_equal(world_notices(s, "below its block"), 1);
    free(whole);
    /* A copied line that kept its id is no addition, and is not lost. */
    edit(facts(), "<!-- strata:end", "| x | y | 7 | <!-- 0123456789ab -->\n<!-- strata:end");
    update(s, 0);
    world_shows(s, "x", "y", "1");
    assert_int_equal(world_notices(s, "not taken in"), 1);
    assert_int_equal(count_files(world_file("a", "views/aside"), "FACTS.md"), 1);
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
    add_view(s, "heartbeat", "BOARD.md", false);
    edit(path, "one", "edited");
    ok(s, strata_beat(s, "two"));
    update(s, 0);
    ok(s, strata_agent_each(s, first_status, status));
    assert_string_equal(status, "two");
    must_have(path, "] two (");
    size_t found = 0;
    ok(s, strata_events(s, 0, 0, &(uint64_t){0}, visit_event, &found));
    assert_int_equal(found, 4); /* one, two, edited, two again */
    /* An agent that is not heard of any more is shown as gone, once. */
    world_clock_ms += 2 * 3600 * 1000;
    update(s, 0);
    must_have(path, ", gone since 20");
    ok(s, strata_beat(s, NULL));
    world_clock_ms += 120 * 1000;
    update(s, 0);
    assert_false(file_has(path, "gone since"));
    /* A line that is removed is a status taken back. */
    cut_line(path, "[agent:bob]");
    update(s, 0);
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
        edit(path, "one\n", "one\nof an author\n");
}

static void test_document_written_in_between(void **state)
{
    (void)state;
    world_init("a");
    world_init("b");
    put_text(world_path("a/NOTES.md"), "one\ntwo\nthree\n");
    strata *s = world_open("a", "ann");
    ok(s, strata_track(s, "NOTES.md"));
    world_merge("b", "a");
    strata *other = world_open("b", "bob");
    ok(other, strata_track(other, "NOTES.md"));
    edit(world_path("b/NOTES.md"), "three\n", "three\nof another copy\n");
    update(other, 0);
    strata_close(other);
    world_merge("a", "b");
    interruptions = 1;
    world_before_exchange = adds_a_line;
    update(s, 0);
    world_before_exchange = NULL;
    char *whole = get(world_path("a/NOTES.md"));
    assert_string_equal(whole, "one\nof an author\ntwo\nthree\nof another copy\n");
    free(whole);
    strata_close(s);
    is_clean();
}

/* --- kill -9
 * -------------------------------------------------------------------------------------- */

static void update_a(void)
{
    update_by("a");
}

static void update_a_interrupted(void)
{
    interruptions = 1;
    world_before_exchange = writes_in_place;
    update_by("a");
}

static void kill_at_every_step(bool interrupted)
{
    uint64_t strike = 1;
    bool died = true;
    for (; died; strike++) {
        strata *s = table();
        update(s, 0);
        strata_close(s);
        edit(facts(), "| y | 1 |", "| y | 2 |");
        cut_line(facts(), "+ m |");
        edit(facts(), "<!-- strata:end", "| n | e | w |\n<!-- strata:end");
        edit(facts(), "behind", "behind it");
        died = world_killed(interrupted ? update_a_interrupted : update_a, strike, 0);
        bool wrote = file_has(facts(), "something of an author") ||
                     count_files(world_path("a"), "strata-old") > 0 || interrupted;
        s = world_open("a", "ann");
        update(s, 0);
        world_shows(s, "x", "y", "2");
        world_shows(s, "n", "e", "w");
        world_shows(s, "x", "t", "");
        /* once, however often it was seen */
        assert_int_equal(writes_of(s, "x", "y"), 2);
        assert_int_equal(writes_of(s, "n", "e"), 1);
        assert_int_equal(writes_of(s, "x", "t"), 2);
        assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
        must_have(facts(), "before\n");
        must_have(facts(), "\nbehind it\n");
        must_have(facts(), "| y | 2 | <!-- ");
        must_have(facts(), "| n | e | w | <!-- ");
        if (wrote && strcmp(world_get(s, "x", "z"), "2") == 0)
            must_have(facts(), "before\nsomething of an author\n");
        is_clean();
        assert_int_equal(update(s, 0), 0);
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
        must_have(facts(), row);
    }
    is_clean();
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
