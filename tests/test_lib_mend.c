/* test_lib_mend.c - a state that was put back in place and written to: what it had published since
 * then is taken in, what was written in between is written again, and nothing is there twice. */
#include "lib_world.h"

#include "lib/internal.h"
#include "store/intake.h"

#include <stdlib.h>

static void set_by(const char *name, const char *agent, const char *entity, const char *value)
{
    strata *s = world_open(name, agent);
    world_set(s, entity, "n", value);
    ok(s, world_write(s, STRATA_COUNT, "written", NULL, "1", NULL));
    strata_close(s);
}

static void task_by(const char *name, const char *title)
{
    strata *s = world_open(name, "tom");
    char id[STRATA_TASK_SIZE];
    strata_task_new t = {.size = sizeof t, .title = title, .priority = STRATA_PRIORITY_NONE};
    ok(s, strata_task_add(s, &t, 0, id, NULL));
    strata_close(s);
}

/* The bytes of then in the files of now, as a snapshot of a machine brings them back. */
static void put_back(const char *name, const char *from)
{
    world_run("cd %s && find . -type f | while read -r f; do"
              " [ -e ../%s/$f ] && cat ../%s/$f >$f || rm -f $f; done; cd ../%s &&"
              " find . -type f | while read -r f; do [ -e ../%s/$f ] || cp $f ../%s/$f; done",
              name, from, from, from, name, name);
}

/* Two lives of `a` after `saved`: one in `published`, one in `a`, and again in `forked`. */
static void fork_it(void)
{
    world_init("a");
    set_by("a", "anna", "early", "1");
    task_by("a", "before");
    world_run("cp -r a saved");
    set_by("a", "anna", "late", "1");
    set_by("a", "anna", "port", "late");
    task_by("a", "late");
    world_run("cp -r a published");
    put_back("a", "saved");
    set_by("a", "anna", "port", "1");
    set_by("a", "bert", "port", "2"); /* blind */
    set_by("a", "anna", "port", "3"); /* not seen what bert wrote */
    set_by("a", "bert", "after", "1");
    task_by("a", "after");
    strata *s = world_open("a", "anna");
    strata_pending unseen;
    assert_int_equal(world_pending(s, STRATA_PENDING_UNSEEN, &unseen), 1);
    ok(s, strata_resolve(s, unseen.id, NULL, NULL));
    assert_int_equal(world_pending(s, STRATA_PENDING_UNSEEN, &unseen), 0);
    strata_close(s);
    world_run("cp -r a forked");
}

static struct st_intake taken;

static void take_published(void)
{
    strata *s = world_open("a", NULL);
    if (st_intake_published(&s->log, world_file("published", ""), s->log.identity.workspace,
                            &taken) != ST_OK)
        fail_msg("%s", s->log.fault.message);
    strata_close(s);
}

static size_t values(const char *name, const char *entity, char out[64])
{
    strata *s = world_open(name, NULL);
    strata_attribute a;
    ok(s, strata_fact_get(s, entity, "n", 0, &a));
    out[0] = '\0';
    for (size_t i = 0; i < a.count; i++)
        snprintf(out + strlen(out), 64 - strlen(out), "%s ", a.items[i].value);
    size_t count = a.count;
    strata_close(s);
    return count;
}

static void title_is(const char *name, const char *id, const char *title)
{
    strata *s = world_open(name, NULL);
    strata_task t;
    ok(s, strata_task_get(s, id, &t));
    assert_string_equal(t.title, title);
    strata_close(s);
}

/* Everything of both lives, once; `more`: so often was counted since. `suffix`: of the number that both
 * gave; NULL: an epoch that began later has another one. */
static void is_whole(const char *name, const char *suffix, int more)
{
    char port[64], again[STRATA_TASK_SIZE];
    strata_task_totals totals;
    strata *s = world_open(name, NULL);
    world_shows(s, "early", "n", "1");
    world_shows(s, "late", "n", "1");
    world_shows(s, "after", "n", "1");
    strata_pending unseen;
    assert_int_equal(world_pending(s, STRATA_PENDING_UNSEEN, &unseen), 0);
    strata_close(s);
    assert_int_equal(values(name, "port", port), 2);
    assert_true(strcmp(port, "3 late ") == 0 || strcmp(port, "late 3 ") == 0);
    assert_int_equal(world_counted(name), 7 + more);
    title_is(name, "1", "before");
    title_is(name, "2", "late");
    s = world_open(name, NULL);
    ok(s, strata_task_totals_get(s, &totals));
    strata_close(s);
    assert_int_equal(totals.tasks, 3);
    if (suffix == NULL)
        return;
    snprintf(again, sizeof again, "#2@%s", suffix);
    title_is(name, again, "after");
}

static void suffix_of(const char *name, char out[ST_SUFFIX_SIZE_MAX + 1])
{
    strata *s = world_open(name, NULL);
    snprintf(out, ST_SUFFIX_SIZE_MAX + 1, "%s", s->log.identity.number_suffix);
    strata_close(s);
}

static void test_both_lives_go_on(void **state)
{
    (void)state;
    char suffix[ST_SUFFIX_SIZE_MAX + 1], digest[33], rebuilt[33];
    fork_it();
    take_published();
    assert_int_equal(taken.mended.records, 10);
    assert_int_equal(taken.forks, 0);
    assert_int_equal(taken.mended.number_low, 1);
    assert_int_equal(taken.mended.number_high, 2);
    suffix_of("a", suffix);
    assert_string_equal(suffix, taken.mended.suffix);
    is_whole("a", suffix, 0);
    world_digest("a", digest);
    world_rebuilt_digest("a", rebuilt);
    assert_string_equal(digest, rebuilt);
    /* Once is enough; and it goes on. */
    take_published();
    assert_int_equal(taken.mended.records, 0);
    set_by("a", "anna", "new", "1");
    /* Who knew what was published takes in the rest. */
    world_init("b");
    world_merge("b", "published");
    world_merge("b", "a");
    is_whole("b", suffix, 1);
    world_same_digest("a", "b");
    const char *const names[] = {"a", "b", "published"};
    world_dots_are_unique(names, 3);
}

/* The life that forked saw reboots before anybody asked. */
static void test_reboots_in_between(void **state)
{
    (void)state;
    char suffix[ST_SUFFIX_SIZE_MAX + 1];
    fork_it();
    for (int i = 0; i < 3; i++) {
        world_boot++;
        set_by("a", "anna", "port", i == 2 ? "3" : "between");
    }
    take_published();
    assert_int_equal(taken.mended.records, 16);
    suffix_of("a", suffix);
    is_whole("a", suffix, 3);
    world_init("b");
    world_merge("b", "published");
    world_merge("b", "a");
    world_same_digest("a", "b");
    const char *const names[] = {"a", "b", "published"};
    world_dots_are_unique(names, 3);
}

/* An edit of a view names the dots that it replaces. */
static void test_edits_replace_what_they_replaced(void **state)
{
    (void)state;
    char port[64];
    fork_it();
    strata *s = world_open("a", "anna");
    strata_view_options o = {.size = sizeof o, .name = "facts"};
    strata_view v;
    ok(s, strata_view_add(s, &o, &v));
    world_run("sed -i 's/| port | n | 3 |/| port | n | 4 |/' a/FACTS.md");
    ok(s, strata_files_update(s, 0, NULL));
    strata_close(s);
    assert_int_equal(values("a", "port", port), 1);
    assert_string_equal(port, "4 ");
    take_published();
    assert_int_equal(values("a", "port", port), 2);
    assert_true(strcmp(port, "4 late ") == 0 || strcmp(port, "late 4 ") == 0);
    /* What the file showed before is not known any more; what it shows now is. */
    for (int i = 0; i < 2; i++) {
        s = world_open("a", "anna");
        world_run("sed -i 's/| after | n | 1 |/| after | n | 2 |/' a/FACTS.md");
        ok(s, strata_files_update(s, 0, NULL));
        world_shows(s, "after", "n", i == 0 ? "1" : "2");
        strata_close(s);
        assert_int_equal(values("a", "after", port), 1);
    }
}

/* The base of a tracked file was a record that is another one now. */
static void test_bases_are_forgotten(void **state)
{
    (void)state;
    world_init("a");
    set_by("a", "anna", "early", "1");
    world_run("printf 'one\\ntwo\\n' >a/notes.md");
    strata *s = world_open("a", "anna");
    ok(s, strata_track(s, "notes.md"));
    strata_close(s);
    world_run("cp -r a saved");
    world_run("printf 'one\\ntwo\\npublished\\n' >a/notes.md");
    s = world_open("a", "anna");
    ok(s, strata_files_update(s, 0, NULL));
    strata_close(s);
    world_run("cp -r a published");
    put_back("a", "saved");
    world_run("printf 'zero\\none\\ntwo\\n' >a/notes.md");
    s = world_open("a", "anna");
    ok(s, strata_files_update(s, 0, NULL));
    take_published();
    /* An edit of what the file still shows. */
    world_run("printf 'zero\\none\\ntwo\\nthree\\n' >a/notes.md");
    ok(s, strata_files_update(s, 0, NULL));
    strata_attribute a;
    bool published = false;
    ok(s, strata_fact_get(s, "file:notes.md", "text", 0, &a));
    for (size_t i = 0; i < a.count; i++)
        published = published || strstr(a.items[i].value, "published") != NULL;
    assert_true(published);
    strata_close(s);
    world_run("grep -qx three a/notes.md");
}

/* Somebody has taken in a record that needs what was published, and so has the state that was put
 * back: which of the two lives it has seen is not known any more. */
static void test_told_where_it_cannot_be_mended(void **state)
{
    (void)state;
    fork_it();
    world_init("b");
    world_merge("b", "published");
    set_by("b", "cid", "b", "1");
    world_merge("a", "b");
    take_published();
    assert_int_equal(taken.mended.records, 0);
    set_by("a", "anna", "more", "1");
    strata *s = world_open("a", NULL);
    world_shows(s, "after", "n", "1");
    strata_close(s);
}

/* kill -9 at every change of the disk: what is there then goes on, and is there once, also for
 * somebody who looks right then. */
static void test_killed_at_every_step(void **state)
{
    (void)state;
    uint64_t deaths = 0;
    fork_it();
    for (bool died = true; died; deaths += died) {
        put_back("a", "forked");
        world_run("find a/.strata/log -type d -empty -delete");
        died = world_killed(take_published, deaths + 1, 0);
        if (deaths % 3 == 0) {
            /* Another copy of the workspace looks in. */
            world_run("rm -rf c && mkdir c");
            world_init("c");
            strata *s = world_open("c", NULL);
            strata_merge_result r;
            int code = strata_merge_state(s, world_path("a"), true, &r);
            assert_true(code == STRATA_OK || code == STRATA_UNAVAILABLE);
            strata_close(s);
            if (code == STRATA_OK)
                assert_true(world_counted("c") == 5 || world_counted("c") == 7);
        }
        take_published();
        is_whole("a", NULL, 0);
        const char *const names[] = {"a", "published"};
        world_dots_are_unique(names, 2);
    }
    if (deaths < 20)
        fail_msg("only %d steps", (int)deaths);
    world_init("b");
    world_merge("b", "a");
    is_whole("b", NULL, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_both_lives_go_on),
        TEST(test_reboots_in_between),
        TEST(test_edits_replace_what_they_replaced),
        TEST(test_bases_are_forgotten),
        TEST(test_told_where_it_cannot_be_mended),
        TEST(test_killed_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
