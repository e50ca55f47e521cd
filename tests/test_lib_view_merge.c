/* test_lib_view_merge.c - views merged by Git: two copies of a workspace edit and render, and what the
 * merge driver makes of their files is held against what the merged logs show. */
#include "file_tools.h"

#include "files/view.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t seed;

/* Rounds of each kind; more with STRATA_MERGE_ROUNDS=n times as many. */
static unsigned rounds_of(unsigned n)
{
    const char *more = getenv("STRATA_MERGE_ROUNDS");
    return more != NULL ? n * (unsigned)strtoul(more, NULL, 10) : n;
}

static unsigned below(unsigned n)
{
    return (unsigned)(world_random(&seed) >> 33) % n;
}

/* --- one merge -------------------------------------------------------------------------------- */

static void no_overlap(void *arg, size_t line, const char *base, size_t base_size, const char *ours,
                       size_t ours_size, const char *theirs, size_t theirs_size)
{
    (void)arg, (void)base, (void)base_size, (void)ours, (void)ours_size, (void)theirs,
        (void)theirs_size;
    fail_msg("an overlap in line %zu", line);
}

/* Freed by the caller. */
static char *driver(strata *s, const char *base, const char *ours, const char *theirs)
{
    const char *texts[] = {base, ours, theirs};
    size_t sizes[] = {strlen(base), strlen(ours), strlen(theirs)}, size;
    char *merged;
    int code = strata_view_merge(s, texts, sizes, no_overlap, NULL, &merged, &size);
    assert_int_equal(code, STRATA_OK);
    assert_int_equal(strlen(merged), size);
    return merged;
}

/* --- histories -------------------------------------------------------------------------------- */

struct kind {
    const char *view, *subject, *file;
    void (*step)(strata *s);
};

static void fact_step(strata *s)
{
    static const char *const names[] = {"a", "b", "c", "d"}, *const values[] = {"1", "2", "3"};
    const char *e = names[below(4)], *v = values[below(3)];
    switch (below(6)) {
    case 0:
    case 1:
        world_set(s, e, "r", v);
        break;
    case 2:
        (void)world_write(s, STRATA_UNSET, e, "r", NULL, NULL);
        break;
    case 3:
    case 4:
        ok(s, world_write(s, STRATA_ADD, e, "m", v, NULL));
        break;
    default:
        (void)world_write(s, STRATA_REMOVE, e, "m", v, NULL);
    }
}

static void board_step(strata *s)
{
    static const char *const texts[] = {"reading", "writing", "", "deploying"};
    world_clock_ms += 61 * 1000; /* the board goes by minutes */
    ok(s, strata_beat(s, texts[below(4)]));
}

static int note_task(void *arg, const strata_task *t)
{
    char(*ids)[STRATA_TASK_SIZE] = arg;
    for (int i = 0; i < 8; i++)
        if (ids[i][0] == '\0') {
            snprintf(ids[i], sizeof ids[i], "%s", t->id);
            return 0;
        }
    return 1;
}

/* What anybody may do anywhere: no claims, no ends. */
static void task_step(strata *s)
{
    static const char *const titles[] = {"build", "test", "ship"};
    static const char *const words[] = {"open", "blocked", "in_progress"};
    char ids[8][STRATA_TASK_SIZE] = {{0}}, id[STRATA_TASK_SIZE];
    strata_task_query all = {.size = sizeof all};
    (void)strata_task_each(s, &all, note_task, ids);
    unsigned count = 0;
    while (count < 8 && ids[count][0] != '\0')
        count++;
    strata_task_new t = {
        .size = sizeof t, .title = titles[below(3)], .priority = STRATA_PRIORITY_NONE};
    strata_task_change c = {.size = sizeof c, .priority = STRATA_PRIORITY_NONE};
    const char *one = count > 0 ? ids[below(count)] : "", *two = count > 0 ? ids[below(count)] : "";
    bool changed;
    switch (count < 3 ? 0 : below(8)) {
    case 0:
        t.agent = below(2) ? "ann" : NULL;
        ok(s, strata_task_add(s, &t, 0, id, NULL));
        return;
    case 1:
    case 2:
        c.title = titles[below(3)];
        break;
    case 3:
        c.priority = (int)below(5);
        break;
    case 4:
        c.agent = below(2) ? "bob" : "";
        break;
    case 5:
        c.state = words[below(3)];
        break;
    case 6:
        c.channel = below(2) ? "docs" : "default";
        break;
    default:
        (void)strata_task_depend(s, one, two, false, &changed); /* no cycles */
        return;
    }
    ok(s, strata_task_update(s, one, &c, 0));
}

static const struct kind facts = {"facts", NULL, "FACTS.md", fact_step};
static const struct kind page = {"facts", "a", "a.md", fact_step};
static const struct kind board = {"heartbeat", NULL, "BOARD.md", board_step};
static const struct kind queue = {"queue", NULL, "QUEUE.md", task_step};

static void steps(const char *name, const struct kind *k, unsigned count)
{
    strata *s = world_open(name, name);
    for (unsigned i = 0; i < count; i++)
        k->step(s);
    strata_close(s);
}

/* The file of a replica as it stands now, between two lines of an author's; freed by the caller. */
static char *file_of(const char *name, const struct kind *k)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", name, k->file);
    strata *s = world_open(name, name);
    if (access(world_path(path), F_OK) < 0) {
        file_put_text(world_path(path), "before\n");
        strata_view_options o = {
            .size = sizeof o, .name = k->view, .subject = k->subject, .path = k->file};
        strata_view v;
        ok(s, strata_view_add(s, &o, &v));
    }
    files_update(s, STRATA_FILES_RENDER | STRATA_FILES_ALL);
    strata_close(s);
    return file_get(world_path(path));
}

/* "a" and "b", which have taken each other in; then each goes on alone. Texts are the file before, of
 * a, of b. Returns where it was rendered before. */
static const char *diverge(const struct kind *k, char *text[3])
{
    world_init("a");
    world_init("b");
    steps("a", k, 6);
    world_merge("b", "a");
    steps("b", k, 6);
    world_merge("a", "b");
    world_merge("b", "a");
    const char *before = below(2) ? "a" : "b";
    text[0] = file_of(before, k);
    steps("a", k, 1 + below(8));
    steps("b", k, 1 + below(8));
    text[1] = file_of("a", k);
    text[2] = file_of("b", k);
    return before;
}

static void drop(char *text[3])
{
    for (int i = 0; i < 3; i++)
        free(text[i]);
    world_run("rm -rf a b c");
    world_clock_ms = 0;
}

/* --- lines ----------------------------------------------------------------------------------- */

static bool has_line(const char *text, const char *line, size_t n)
{
    for (const char *p = strstr(text, "strata:begin"); p != NULL && *p != '\0';) {
        size_t size = strcspn(p, "\n");
        if (size == n && memcmp(p, line, n) == 0)
            return true;
        p += size + (p[size] != '\0');
    }
    return false;
}

/* Lines of items: those with an id or an agent. */
static bool is_item(const char *line, size_t n)
{
    return (n > 3 && memcmp(line, "- [", 3) == 0) ||
           (n > 3 && line[0] == '|' && memcmp(line + n - 3, "-->", 3) == 0);
}

/* Every item of `of` that the base has not is in `in`; with `gone`, of the items of the base that `of`
 * has not and `other` has as they were, none is. */
static void lines_of(const char *what, const char *base, const char *of, const char *other,
                     const char *in)
{
    for (const char *p = of; *p != '\0'; p += strcspn(p, "\n") + 1) {
        size_t n = strcspn(p, "\n");
        if (is_item(p, n) && !has_line(base, p, n) && !has_line(in, p, n))
            fail_msg("%s: `%.*s' is missing from\n%s", what, (int)n, p, in);
    }
    for (const char *p = base; *p != '\0'; p += strcspn(p, "\n") + 1) {
        size_t n = strcspn(p, "\n");
        if (is_item(p, n) && !has_line(of, p, n) && has_line(other, p, n) && has_line(in, p, n))
            fail_msg("%s: `%.*s' is back in\n%s", what, (int)n, p, in);
    }
}

/* --- both logs at hand ------------------------------------------------------------------------ */

/* The one case that cannot be told: a member that one copy removed and the other added again, where the
 * base was not rendered. Its line is in the base, on one side, and in what is wanted. */
static bool added_again(char *const text[3], const char *wanted)
{
    for (const char *p = text[0]; *p != '\0'; p += strcspn(p, "\n") + 1) {
        size_t n = strcspn(p, "\n");
        const char *member = strstr(p, "| + ");
        if (is_item(p, n) && member != NULL && member < p + n && has_line(wanted, p, n) &&
            has_line(text[1], p, n) != has_line(text[2], p, n))
            return true;
    }
    return false;
}

/* Then it is merged by lines: nothing is lost, and the next command shows what is wanted. */
static void is_repaired(const struct kind *k, const char *at, char *const text[3],
                        const char *merged, const char *wanted)
{
    char path[64], before[33], after[33];
    lines_of("ours", text[0], text[1], text[2], merged);
    lines_of("theirs", text[0], text[2], text[1], merged);
    snprintf(path, sizeof path, "%s/%s", at, k->file);
    world_digest(at, before);
    file_put_text(world_path(path), merged);
    files_update_by(at);
    world_digest(at, after);
    assert_string_equal(before, after);
    char *repaired = file_of(at, k);
    assert_string_equal(repaired, wanted);
    free(repaired);
}

/* Whoever merges: ours, theirs, or a third copy that has never rendered anything. */
static void equals_the_merged_logs(const struct kind *k, unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++) {
        static const char *const places[] = {"a", "b", "c"};
        char *text[3];
        seed = round + 1;
        const char *rendered = diverge(k, text);
        if (strcmp(text[1], text[0]) == 0 || strcmp(text[2], text[0]) == 0) {
            drop(text); /* Git takes the other side, and asks nobody */
            continue;
        }
        const char *at = places[round % 3];
        if (round % 3 == 2)
            world_init("c");
        if (round % 3 != 0)
            world_merge(at, "a");
        if (round % 3 != 1)
            world_merge(at, "b");
        strata *s = world_open(at, "git");
        char *merged = driver(s, text[0], text[1], text[2]);
        strata_close(s);
        char *wanted = file_of(at, k);
        if (strcmp(at, rendered) != 0 && added_again(text, wanted))
            is_repaired(k, at, text, merged, wanted);
        else if (strcmp(merged, wanted) != 0)
            fail_msg("round %u at %s: base\n%sours\n%stheirs\n%swanted\n%sgot\n%s", round, at,
                     text[0], text[1], text[2], wanted, merged);
        free(merged);
        free(wanted);
        drop(text);
    }
}

static void test_facts_with_both_logs(void **state)
{
    (void)state;
    equals_the_merged_logs(&facts, rounds_of(12));
}

static void test_a_page_with_both_logs(void **state)
{
    (void)state;
    equals_the_merged_logs(&page, rounds_of(6));
}

static void test_queue_with_both_logs(void **state)
{
    (void)state;
    equals_the_merged_logs(&queue, rounds_of(9));
}

static void test_board_with_both_logs(void **state)
{
    (void)state;
    equals_the_merged_logs(&board, rounds_of(6));
}

/* --- logs that are missing -------------------------------------------------------------------- */

/* No workspace; one without the other's log; one that has neither of the latest. */
static void nothing_is_lost(const struct kind *k, unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round++) {
        char *text[3];
        seed = round + 1000;
        (void)diverge(k, text);
        strata *s = round % 3 == 0 ? NULL : world_open(round % 3 == 1 ? "a" : "b", "git");
        char *merged = driver(s, text[0], text[1], text[2]);
        strata_close(s);
        assert_null(strstr(merged, "<<<<<<<"));
        /* The next command repairs: the file shows what the state does, which is as it was. */
        const char *at = round % 3 == 2 ? "b" : "a";
        char *shown = file_of(at, k);
        is_repaired(k, at, text, merged, shown);
        free(shown);
        free(merged);
        drop(text);
    }
}

static void test_facts_without_logs(void **state)
{
    (void)state;
    nothing_is_lost(&facts, rounds_of(12));
}

static void test_a_page_without_logs(void **state)
{
    (void)state;
    nothing_is_lost(&page, rounds_of(6));
}

static void test_queue_without_logs(void **state)
{
    (void)state;
    nothing_is_lost(&queue, rounds_of(6));
}

static void test_board_without_logs(void **state)
{
    (void)state;
    nothing_is_lost(&board, rounds_of(6));
}

/* --- edits that nobody has taken in ------------------------------------------------------------- */

static void replace_line(char **text, const char *from, const char *to)
{
    char *at = strstr(*text, from);
    assert_non_null(at);
    size_t head = (size_t)(at - *text), tail = strlen(at + strlen(from));
    char *out = calloc(1, head + strlen(to) + tail + 1);
    assert_non_null(out);
    memcpy(out, *text, head);
    strcpy(out + head, to);
    strcat(out + head, at + strlen(from));
    free(*text);
    *text = out;
}

/* Two branches of one clone: each with an edit that is committed before any command of ours saw it. */
static void test_edits_on_two_branches(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        world_init("a");
        strata *s = world_open("a", "ann");
        world_set(s, "x", "y", "1");
        world_set(s, "x", "z", "1");
        char *base = file_of("a", &facts), *ours = strdup(base);
        if (way > 0)
            world_set(s, "w", "w", "1"); /* two renderings */
        char *theirs = file_of("a", &facts);
        replace_line(&ours, "| y | 1 |", "| y | 2 |");
        replace_line(&ours, "before\n", "before\nof ours\n");
        replace_line(&theirs, "| z | 1 |", "| z | 2 |");
        replace_line(&theirs, "<!-- strata:end", "| n | e | w |\n<!-- strata:end");
        char *merged = driver(way == 2 ? NULL : s, base, ours, theirs);
        file_put_text(world_path("a/FACTS.md"), merged);
        files_update(s, 0);
        /* With the state, or of one rendering, they are taken in. Else they stay as text. */
        world_shows(s, "n", "e", "w");
        file_must_have(world_path("a/FACTS.md"), "before\nof ours\n");
        if (way < 2) {
            world_shows(s, "x", "y", "2");
            world_shows(s, "x", "z", "2");
            assert_int_equal(files_writes_of(s, "x", "y"), 2);
        } else {
            world_run("grep -q '| y | 2 |' a/.strata/views/aside/*");
            world_run("grep -q '| z | 2 |' a/.strata/views/aside/*");
        }
        strata_close(s);
        free(merged);
        free(base);
        free(ours);
        free(theirs);
        world_run("rm -rf a");
    }
}

/* kill -9 at every change of the disk while the driver takes in what both sides have edited: Git asks
 * again, and each edit is there once. */
static char *killed_text[3];

static void merge_once(void)
{
    strata *s = world_open("a", "ann");
    free(driver(s, killed_text[0], killed_text[1], killed_text[2]));
    strata_close(s);
}

static void test_killed_while_taking_in(void **state)
{
    (void)state;
    uint64_t deaths = 0;
    world_init("a");
    strata *s = world_open("a", "ann");
    world_set(s, "x", "y", "1");
    world_set(s, "x", "z", "1");
    char **text = killed_text;
    text[0] = file_of("a", &facts);
    text[1] = strdup(text[0]);
    world_set(s, "w", "w", "1");
    text[2] = file_of("a", &facts);
    strata_close(s);
    replace_line(&text[1], "| y | 1 |", "| y | 2 |");
    replace_line(&text[2], "| z | 1 |", "| z | 2 |");
    world_run("cp -r a saved");
    for (bool died = true; died; deaths += died) {
        world_run("rm -rf a && cp -r saved a");
        died = world_killed(merge_once, deaths + 1, 0);
        s = world_open("a", "ann");
        char *merged = driver(s, text[0], text[1], text[2]);
        file_put_text(world_path("a/FACTS.md"), merged);
        files_update(s, 0);
        world_shows(s, "x", "y", "2");
        world_shows(s, "x", "z", "2");
        assert_int_equal(files_writes_of(s, "x", "y"), 2);
        assert_int_equal(files_writes_of(s, "x", "z"), 2);
        assert_non_null(strstr(merged, "| y | 2 |"));
        assert_non_null(strstr(merged, "| z | 2 |"));
        strata_close(s);
        free(merged);
    }
    if (deaths < 5)
        fail_msg("only %d steps", (int)deaths);
    for (int i = 0; i < 3; i++)
        free(text[i]);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_facts_with_both_logs),  TEST(test_a_page_with_both_logs),
        TEST(test_queue_with_both_logs),  TEST(test_board_with_both_logs),
        TEST(test_facts_without_logs),    TEST(test_a_page_without_logs),
        TEST(test_queue_without_logs),    TEST(test_board_without_logs),
        TEST(test_edits_on_two_branches), TEST(test_killed_while_taking_in),
    };
    return cmocka_run_group_tests_name("lib view merge", tests, NULL, NULL);
}
