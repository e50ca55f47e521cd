/* test_lib_queue.c - tasks as a view: processes killed at every step of taking an edit in, old texts that are
 * saved again, what a line of a task says and what comes back of it. */
#include "lib_world.h"

#include "files/task_line.h"
#include "store/log.h"

#include <stdlib.h>

#define QUEUE world_path("a/QUEUE.md")

static strata *queue(void)
{
    strata_view_options o = {.size = sizeof o, .name = "queue"};
    strata_view v;
    char id[STRATA_TASK_SIZE];
    world_init("a");
    strata *s = world_open("a", "ann");
    static const char *const titles[] = {"one", "two", "three"};
    for (size_t i = 0; i < 3; i++) {
        strata_task_new t = {
            .size = sizeof t, .title = titles[i], .priority = STRATA_PRIORITY_NONE};
        ok(s, strata_task_add(s, &t, 0, id, NULL));
    }
    ok(s, strata_view_add(s, &o, &v));
    return s;
}

static void update(strata *s)
{
    ok(s, strata_files_update(s, 0, NULL));
}

static void update_a(void)
{
    strata *s = world_open("a", "ann");
    update(s);
    strata_close(s);
}

struct listed {
    char text[1024];
};

static int visit(void *arg, const strata_task *t)
{
    struct listed *l = arg;
    size_t n = strlen(l->text);
    snprintf(l->text + n, sizeof l->text - n, "%s:%s:%s:%s\n", t->id, t->title, t->state, t->agent);
    return 0;
}

/* Every task, "NUMBER:TITLE:STATE:AGENT\n". */
static struct listed list_of(strata *s)
{
    struct listed l = {""};
    strata_task_query q = {.size = sizeof q, .view = STRATA_TASKS_ALL};
    ok(s, strata_task_each(s, &q, visit, &l));
    return l;
}

static void must_list(strata *s, const char *expected)
{
    assert_string_equal(list_of(s).text, expected);
}

static int visit_event(void *arg, const strata_event *e)
{
    (void)e;
    (*(size_t *)arg)++;
    return 0;
}

static size_t writes_of(strata *s, const char *entity, const char *attribute)
{
    size_t n = 0;
    ok(s, strata_history(s, entity, attribute, 0, visit_event, &n));
    return n;
}

/* --- kill -9 ---------------------------------------------------------------------------------- */

/* A number that was taken by who died stays unused. */
static void killed_list(strata *s)
{
    struct listed l = list_of(s);
    char *number = strstr(l.text, ":new:");
    assert_non_null(number);
    assert_true(number[-2] == '\n' && (number[-1] == '4' || number[-1] == '5'));
    number[-1] = '4';
    assert_string_equal(l.text,
                        "1:one:done:bob\n2:two:cancelled:\n3:third:waiting:\n4:new:ready:\n");
}

static void test_killed_at_every_step(void **state)
{
    (void)state;
    bool died = true;
    for (uint64_t strike = 1; died; strike++) {
        strata_close(queue());
        world_run("sed -i 's/\\[ \\] \\[seq:1\\]/[x] [seq:1] [agent:bob]/; /seq:2/d; "
                  "s/\\] three/] [depends:77] third/; $ i - [ ] [seq:77] new' a/QUEUE.md");
        died = world_killed(update_a, strike, 0);
        strata *s = world_open("a", "ann");
        update(s);
        killed_list(s);
        assert_int_equal(writes_of(s, "#1", "state"), 1);
        assert_int_equal(writes_of(s, "#2", "state"), 1);
        assert_int_equal(writes_of(s, "#3", "depends"), 1);
        assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
        world_run("grep -qx -- '- \\[ \\] \\[seq:3\\] \\[depends:[45]\\] third' a/QUEUE.md");
        update(s);
        killed_list(s);
        strata_close(s);
        world_teardown(state);
        world_setup(state);
    }
}

/* --- texts that are saved again ------------------------------------------------------------------ */

static void test_an_old_text_is_saved_again(void **state)
{
    (void)state;
    strata *s = queue();
    world_run("sed -i '$ i - [ ] new' a/QUEUE.md && cp a/QUEUE.md old");
    update(s);
    /* An editor has the text without numbers still, and one more line. */
    world_run("sed '$ i - [ ] newer' old >a/QUEUE.md");
    update(s);
    must_list(s, "1:one:ready:\n2:two:ready:\n3:three:ready:\n4:new:ready:\n5:newer:ready:\n");
    /* Twice one line is two tasks. */
    world_run("sed -i '$ i - [ ] same\\n- [ ] same' a/QUEUE.md");
    update(s);
    must_list(s, "1:one:ready:\n2:two:ready:\n3:three:ready:\n4:new:ready:\n5:newer:ready:\n"
                 "6:same:ready:\n7:same:ready:\n");
    strata_close(s);
}

static void test_written_anew(void **state)
{
    (void)state;
    strata *s = queue();
    world_run("sed -i 's/\\[seq:[0-9]*\\] //; s/\\[ \\] two/[x] two/' a/QUEUE.md");
    update(s);
    must_list(s, "1:one:ready:\n2:two:done:\n3:three:ready:\n");
    strata_close(s);
}

static void test_of_another_is_not_ended(void **state)
{
    (void)state;
    strata *s = queue();
    strata *bob = world_open("a", "bob");
    strata_task_taken taken;
    ok(bob, strata_task_claim(bob, "1", 0, 0, &taken));
    update(s);
    world_run("grep -q 'claimed:bob' a/QUEUE.md");
    world_run("sed -i 's/\\[~\\] \\[seq:1\\]/[x] [seq:1]/' a/QUEUE.md");
    update(s);
    must_list(s, "1:one:claimed:\n2:two:ready:\n3:three:ready:\n");
    assert_int_equal(world_notices(s, "claimed by bob"), 1);
    strata_task_end end = {.size = sizeof end, .id = "1", .token = taken.token, .state = "done"};
    ok(bob, strata_task_finish(bob, &end, NULL));
    update(s);
    world_run("grep -qx -- '- \\[x\\] \\[seq:1\\] one' a/QUEUE.md");
    strata_close(bob);
    strata_close(s);
}

/* --- many ----------------------------------------------------------------------------------------- */

static void test_more_than_are_shown(void **state)
{
    (void)state;
    strata *s = queue();
    enum { COUNT = 12000 };
    strata_task_item *items = calloc(COUNT, sizeof *items);
    char(*keys)[16] = calloc(COUNT, sizeof *keys);
    assert_true(items != NULL && keys != NULL);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(keys[i], sizeof keys[i], "k%05zu", i);
        items[i] = (strata_task_item){.key = keys[i],
                                      .title = keys[i],
                                      .priority = STRATA_PRIORITY_NONE,
                                      .state = i >= 10500 ? "done" : NULL};
    }
    strata_task_imported r;
    ok(s, strata_task_import(s, items, COUNT, false, &r));
    update(s);
    /* 10,000 that are open, the last 1,000 that are done, what more there is, the markers */
    world_run("[ $(wc -l <a/QUEUE.md) -eq 11004 ]");
    world_run("grep -q 'There are more: `strata list`' a/QUEUE.md");
    world_run("grep -q 'Older ones: `strata list --all`' a/QUEUE.md");
    world_run("grep -q 'seq:10000\\]' a/QUEUE.md && ! grep -q 'seq:10001\\]' a/QUEUE.md");
    world_run("! grep -q 'seq:11003\\]' a/QUEUE.md && grep -q 'seq:11004\\]' a/QUEUE.md && "
              "grep -q 'seq:12003\\]' a/QUEUE.md");
    /* What is not shown is not missing. */
    world_run("sed -i '/seq:7\\]/d' a/QUEUE.md");
    update(s);
    strata_task_totals t;
    ok(s, strata_task_totals_get(s, &t));
    assert_int_equal(t.unfinished, 10500 + 3 - 1);
    free(items);
    free(keys);
    strata_close(s);
}

/* --- lines ------------------------------------------------------------------------------------ */

static void comes_back(const struct st_task_line *t)
{
    struct st_buf line, text;
    struct st_task_line again;
    st_buf_init(&line, st_alloc_libc());
    st_buf_init(&text, st_alloc_libc());
    st_task_line_add(&line, t);
    assert_null(memchr(line.p, '\n', line.n));
    assert_true(st_task_line_parse(st_buf_str(&line), &text, &again));
    assert_int_equal(again.box, t->box);
    assert_int_equal(again.priority, t->priority);
    const struct st_str *a = &again.title, *b = &t->title;
    for (; a <= &again.claimed; a++, b++)
        assert_true(st_str_equal(*a, *b));
    st_buf_release(&line);
    st_buf_release(&text);
}

static void test_any_line_comes_back(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "[seq:", "[agent:x]", "]", "[",    " ",   "  ", "\n",   "\t", "&#10;", "&#1234", "&",
        "a",     "ü",         ",", "<!--", "-->", "\r", "none", "#5", "[x]",   "- [ ] "};
    uint64_t x = 1;
    for (int round = 0; round < 20000; round++) {
        char texts[10][128];
        struct st_task_line t = {.box = "x ~!-"[world_random(&x) % 5],
                                 .priority = (int)(world_random(&x) % 6) - 1};
        struct st_str *to = &t.title;
        for (int i = 0; i < 10; i++, to++) {
            texts[i][0] = '\0';
            for (uint64_t n = world_random(&x) % 6; n > 0; n--)
                strcat(texts[i], parts[world_random(&x) % (sizeof parts / sizeof parts[0])]);
            *to = st_str_of(texts[i]);
        }
        if (t.seq.n > 0)
            t.seq = ST_STR("12@pi-3f9a2c");
        comes_back(&t);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_line_comes_back),
        TEST(test_of_another_is_not_ended),
        TEST(test_written_anew),
        TEST(test_an_old_text_is_saved_again),
        TEST(test_more_than_are_shown),
        TEST(test_killed_at_every_step),
    };
    return cmocka_run_group_tests_name("lib queue", tests, NULL, NULL);
}
