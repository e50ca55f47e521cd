/* test_lib_tasks.c - tasks through the library: numbers that are never given twice, what waits for
 * what on several copies, and random histories held against a plain computation. */
#include "lib_world.h"

#include "lib/claims.h"
#include "lib/internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* --- helpers ---------------------------------------------------------------------------------- */

static strata_task_new task_new(const char *title)
{
    return (strata_task_new){
        .size = sizeof(strata_task_new), .title = title, .priority = STRATA_PRIORITY_NONE};
}

/* The name of a new task; lent until some calls later. */
static const char *add(strata *s, const char *title, const char *after)
{
    static char names[64][STRATA_TASK_SIZE];
    static unsigned next;
    char *id = names[next++ % 64];
    strata_task_new t = task_new(title);
    t.after = &after;
    t.after_count = after != NULL;
    ok(s, strata_task_add(s, &t, 0, id, NULL));
    return id;
}

static const char *state_of(strata *s, const char *id)
{
    strata_task t;
    ok(s, strata_task_get(s, id, &t));
    return t.state;
}

static int set_state(strata *s, const char *id, const char *state, const char *result)
{
    strata_task_change c = {.size = sizeof c,
                            .state = state,
                            .result = result,
                            .result_size = STRATA_NUL,
                            .priority = STRATA_PRIORITY_NONE,
                            .not_before_ms = UINT64_MAX};
    return strata_task_update(s, id, &c, 0);
}

struct names {
    char list[4096];
    size_t count;
};

static int visit_name(void *arg, const strata_task *t)
{
    struct names *n = arg;
    size_t used = strlen(n->list);
    snprintf(n->list + used, sizeof n->list - used, "%s%s", used > 0 ? " " : "", t->id);
    n->count++;
    return 0;
}

static const char *listed(strata *s, int view)
{
    static struct names n;
    strata_task_query q = {.size = sizeof q, .view = view};
    n = (struct names){.count = 0};
    ok(s, strata_task_each(s, &q, visit_name, &n));
    return n.list;
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void test_numbers_of_one_copy(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    assert_string_equal(add(s, "one", NULL), "1");
    assert_string_equal(add(s, "two", "1"), "2");
    world_set(s, "a fact", "between", "them");
    strata_close(s);
    s = world_open("a", "ann");
    assert_string_equal(add(s, "three", NULL), "3");
    assert_string_equal(listed(s, STRATA_TASKS_READY), "1 3");
    strata_close(s);
}

static int add_many(void *arg, size_t i)
{
    (void)arg;
    strata *s = world_open("a", "ann");
    int fd = open(world_path("numbers"), O_WRONLY | O_APPEND | O_CREAT, 0666);
    for (int k = 0; k < 10; k++) {
        char line[STRATA_TASK_SIZE + 2], title[32];
        snprintf(title, sizeof title, "%zu-%d", i, k);
        int n = snprintf(line, sizeof line, "%s\n", add(s, title, NULL));
        if (write(fd, line, (size_t)n) != n)
            return 1;
    }
    close(fd);
    strata_close(s);
    return 0;
}

static void test_64_processes_get_different_numbers(void **state)
{
    (void)state;
    world_init("a");
    world_processes(64, add_many, NULL);
    world_run(
        "test $(sort -n numbers | uniq | wc -l) = 640 && test $(sort -n numbers | tail -1) = 640");
    strata *s = world_open("a", NULL);
    strata_task_totals t;
    ok(s, strata_task_totals_get(s, &t));
    assert_int_equal(t.tasks, 640);
    assert_int_equal(t.ready, 640);
    strata_close(s);
}

static void meet(const char *x, const char *y)
{
    world_merge(x, y);
    world_merge(y, x);
}

static void test_a_copy_that_joined_has_numbers_of_its_own(void **state)
{
    (void)state;
    world_init("a");
    world_init("pi");
    strata *a = world_open("a", "ann");
    for (int i = 0; i < 5; i++)
        add(a, "on a", NULL);
    strata_close(a);
    world_merge("pi", "a");
    strata *pi = world_open("pi", "bob");
    const char *six = add(pi, "on pi", "2");
    assert_int_equal(strncmp(six, "6@pi-", 5), 0);
    assert_int_equal(strlen(six), strlen("6@pi-3f9a2c"));
    /* Both forms: the whole name, and as much as is unambiguous. A bare number is the first copy's.
     */
    assert_string_equal(state_of(pi, six), "waiting");
    assert_string_equal(state_of(pi, "#6@pi"), "waiting");
    strata_task t;
    expect_code(pi, strata_task_get(pi, "6", &t), STRATA_NOT_FOUND);
    assert_non_null(strstr(strata_last_error(pi)->hint, "6@pi-"));
    strata_close(pi);
    a = world_open("a", "ann");
    assert_string_equal(add(a, "on a too", NULL), "6");
    strata_close(a);
    meet("a", "pi");
    /* What was taken in raises the number. */
    a = world_open("a", "ann");
    assert_string_equal(state_of(a, "6"), "ready");
    assert_string_equal(state_of(a, "6@pi"), "waiting");
    assert_string_equal(add(a, "later", NULL), "7");
    strata_close(a);
    pi = world_open("pi", "bob");
    assert_int_equal(strncmp(add(pi, "later", NULL), "7@pi-", 5), 0);
    strata_close(pi);
    /* Many on one side: the other goes on above them. */
    pi = world_open("pi", "bob");
    for (int i = 0; i < 20; i++)
        add(pi, "many", NULL);
    strata_close(pi);
    world_merge("a", "pi");
    a = world_open("a", "ann");
    assert_string_equal(add(a, "above", NULL), "28");
    strata_close(a);
}

static void test_two_of_one_name(void **state)
{
    (void)state;
    char first[STRATA_TASK_SIZE], second[STRATA_TASK_SIZE];
    world_init("a");
    strata *a = world_open("a", "ann");
    add(a, "one", NULL);
    strata_close(a);
    /* Two machines that are both called pi join apart from each other. */
    world_init("pi");
    world_run("mv pi pi1");
    world_init("pi");
    world_run("mv pi pi2");
    world_merge("pi1", "a");
    world_merge("pi2", "a");
    strata *s = world_open("pi1", "bob");
    snprintf(first, sizeof first, "%s", add(s, "first", NULL));
    strata_close(s);
    s = world_open("pi2", "bob");
    snprintf(second, sizeof second, "%s", add(s, "second", NULL));
    strata_close(s);
    assert_string_not_equal(first, second);
    world_merge("a", "pi1");
    world_merge("a", "pi2");
    a = world_open("a", "ann");
    strata_task t;
    expect_code(a, strata_task_get(a, "2@pi", &t), STRATA_INVALID);
    assert_non_null(strstr(strata_last_error(a)->message, first));
    assert_non_null(strstr(strata_last_error(a)->message, second));
    ok(a, strata_task_get(a, first, &t));
    assert_string_equal(t.title, "first");
    ok(a, strata_task_get(a, second, &t));
    assert_string_equal(t.title, "second");
    strata_close(a);
}

/* Every task made anywhere is another one, and says what was said where it was made. */
static void all_different(const char *const *copies, size_t count, const char *const *titles,
                          size_t title_count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            if (i != j)
                world_merge(copies[i], copies[j]);
    for (size_t i = 0; i < count; i++) {
        strata *s = world_open(copies[i], NULL);
        strata_task_totals t;
        ok(s, strata_task_totals_get(s, &t));
        if (t.tasks != title_count)
            fail_msg("%s has %d tasks, not %zu", copies[i], (int)t.tasks, title_count);
        assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 0);
        strata_close(s);
    }
    (void)titles;
}

static void test_copied_restored_rebooted(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    add(s, "1", NULL);
    strata_close(s);
    world_run("cp -r a b && cp -a b c");
    const char *const copies[] = {"a", "b", "c"};
    for (int boot = 0; boot < 3; boot++) {
        world_boot = (uint8_t)boot;
        for (int i = 0; i < 3; i++) {
            s = world_open(copies[i], "ann");
            add(s, "another", NULL);
            strata_close(s);
        }
    }
    all_different(copies, 3, NULL, 10);
    /* An old copy comes back, and goes on. */
    world_run("cp -r a old");
    s = world_open("a", "ann");
    add(s, "lost to the copy", NULL);
    strata_close(s);
    world_merge("b", "a");
    world_run("rm -rf a && cp -r old a");
    s = world_open("a", "ann");
    add(s, "after the restore", NULL);
    strata_close(s);
    all_different(copies, 3, NULL, 12);
}

/* The first copy keeps its plain numbers over reboots. */
static void test_reboots_keep_plain_numbers(void **state)
{
    (void)state;
    world_init("a");
    for (int boot = 1; boot < 4; boot++) {
        char want[8];
        world_boot = (uint8_t)boot;
        strata *s = world_open("a", "ann");
        snprintf(want, sizeof want, "%d", boot);
        assert_string_equal(add(s, "x", NULL), want);
        strata_close(s);
    }
}

static void test_damage_moved_aside(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    for (int i = 0; i < 5; i++)
        add(s, "x", NULL);
    strata_close(s);
    world_init("b");
    world_merge("b", "a");
    /* The last records are damaged on disk, but b has them. */
    world_run("f=$(ls a/.strata/log/*/*.jsonl) && n=$(stat -c %%s $f) && "
              "printf XXXX | dd of=$f bs=1 seek=$((n - 300)) conv=notrunc 2>/dev/null");
    world_boot = 1;
    strata_error e;
    strata_options o = {.size = sizeof o};
    assert_int_equal(strata_repair(world_path("a"), &o, &e), STRATA_OK);
    s = world_open("a", "ann");
    const char *id = add(s, "after the repair", NULL);
    assert_non_null(strchr(id, '@'));
    strata_close(s);
    const char *const copies[] = {"a", "b"};
    all_different(copies, 2, NULL, 6);
}

/* --- states and dependencies ------------------------------------------------------------------ */

static void test_finished_stays_finished(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    add(s, "one", NULL);
    add(s, "two", "1");
    ok(s, set_state(s, "1", "done", "fine"));
    ok(s, set_state(s, "1", "done", "fine"));
    expect_code(s, set_state(s, "1", "done", "other"), STRATA_CONFLICT);
    expect_code(s, set_state(s, "1", "cancelled", NULL), STRATA_CONFLICT);
    assert_string_equal(state_of(s, "2"), "ready");
    ok(s, set_state(s, "1", "open", NULL));
    assert_string_equal(state_of(s, "2"), "waiting");
    ok(s, set_state(s, "1", "failed", NULL));
    assert_string_equal(state_of(s, "2"), "waiting");
    ok(s, set_state(s, "1", "open", NULL));
    ok(s, set_state(s, "1", "cancelled", NULL));
    assert_string_equal(state_of(s, "2"), "ready");
    ok(s, set_state(s, "2", "blocked", NULL));
    assert_string_equal(listed(s, STRATA_TASKS_READY), "");
    assert_string_equal(state_of(s, "2"), "blocked");
    strata_close(s);
}

static void test_two_ends_are_pending(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    add(s, "one", NULL);
    add(s, "two", NULL);
    add(s, "three", "1");
    strata_close(s);
    world_init("b");
    world_merge("b", "a");
    s = world_open("a", "ann");
    ok(s, set_state(s, "1", "done", NULL));
    ok(s, set_state(s, "2", "done", "red"));
    strata_close(s);
    s = world_open("b", "bob");
    ok(s, set_state(s, "1", "cancelled", NULL));
    ok(s, set_state(s, "2", "done", "blue"));
    strata_close(s);
    meet("a", "b");
    s = world_open("a", NULL);
    assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 2);
    strata_task t;
    ok(s, strata_task_get(s, "1", &t));
    assert_true(t.finished && t.pending);
    ok(s, strata_task_get(s, "2", &t));
    assert_true(t.finished && t.pending);
    assert_string_equal(state_of(s, "3"), "ready");
    strata_close(s);
}

/* A reopening that did not know of the end does not undo it. */
static void test_finished_absorbs(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    add(s, "one", NULL);
    strata_close(s);
    world_init("b");
    world_merge("b", "a");
    s = world_open("a", "ann");
    ok(s, set_state(s, "1", "done", NULL));
    strata_close(s);
    world_clock_ms = 60000;
    s = world_open("b", "bob");
    ok(s, set_state(s, "1", "open", NULL));
    strata_close(s);
    meet("a", "b");
    s = world_open("b", NULL);
    assert_string_equal(state_of(s, "1"), "done");
    ok(s, set_state(s, "1", "open", NULL));
    assert_string_equal(state_of(s, "1"), "ready");
    strata_close(s);
}

static void test_cycles(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    for (int i = 0; i < 4; i++)
        add(s, "x", NULL);
    bool changed;
    ok(s, strata_task_depend(s, "2", "1", false, &changed));
    ok(s, strata_task_depend(s, "3", "2", false, &changed));
    expect_code(s, strata_task_depend(s, "1", "3", false, &changed), STRATA_CONFLICT);
    assert_non_null(strstr(strata_last_error(s)->message, "1 -> 3 -> 2 -> 1"));
    expect_code(s, strata_task_depend(s, "1", "1", false, &changed), STRATA_CONFLICT);
    ok(s, strata_task_depend(s, "3", "2", false, &changed));
    assert_false(changed);
    expect_code(s, strata_task_depend(s, "3", "77", false, &changed), STRATA_NOT_FOUND);
    expect_code(s, strata_task_depend(s, "seven", "1", false, &changed), STRATA_INVALID);
    strata_close(s);
    /* Two copies make one together. */
    world_init("b");
    world_merge("b", "a");
    s = world_open("a", "ann");
    ok(s, strata_task_depend(s, "4", "3", false, NULL));
    strata_close(s);
    s = world_open("b", "bob");
    ok(s, strata_task_depend(s, "2", "4", false, NULL));
    add(s, "free", NULL);
    strata_close(s);
    meet("a", "b");
    s = world_open("a", "ann");
    const char *cycle;
    ok(s, strata_task_cycle(s, "2", &cycle));
    assert_string_equal(cycle, "2 -> 4 -> 3 -> 2");
    ok(s, strata_task_cycle(s, "1", &cycle));
    assert_string_equal(cycle, "");
    assert_string_equal(listed(s, STRATA_TASKS_BLOCKED), "2 3 4");
    ok(s, strata_task_depend(s, "2", "4", true, &changed));
    assert_true(changed);
    assert_string_equal(listed(s, STRATA_TASKS_BLOCKED), "2 3 4");
    ok(s, set_state(s, "1", "done", NULL));
    assert_string_equal(state_of(s, "2"), "ready");
    strata_close(s);
}

static void test_bad_input(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    char id[STRATA_TASK_SIZE];
    static char big[65537];
    static const char *after[1001];
    memset(big, 'x', sizeof big);
    strata_task_new t = task_new("");
    expect_code(s, strata_task_add(s, &t, 0, id, NULL), STRATA_INVALID);
    t = task_new("x");
    t.data = big;
    t.data_size = sizeof big;
    expect_code(s, strata_task_add(s, &t, 0, id, NULL), STRATA_LIMIT);
    t = task_new("x");
    t.after = after;
    t.after_count = 1001;
    expect_code(s, strata_task_add(s, &t, 0, id, NULL), STRATA_LIMIT);
    t = task_new("x");
    t.priority = 7;
    expect_code(s, strata_task_add(s, &t, 0, id, NULL), STRATA_INVALID);
    t = task_new("x");
    t.agent = "an agent";
    expect_code(s, strata_task_add(s, &t, 0, id, NULL), STRATA_INVALID);
    t = task_new("x");
    t.parent = "5";
    expect_code(s, strata_task_add(s, &t, 0, id, NULL), STRATA_NOT_FOUND);
    expect_code(s, world_write(s, STRATA_SET, "#1", "title", "x", NULL), STRATA_DENIED);
    assert_int_equal(world_records("a", NULL), 0);
    /* A task with 10,000 dependencies, added one by one in few records, still answers. */
    assert_string_equal(add(s, "x", NULL), "1");
    for (int i = 0; i < 10; i++) {
        char names[1000][16];
        for (int k = 0; k < 1000; k++) {
            snprintf(names[k], 16, "%d", 1);
            after[k] = names[k];
        }
        t = task_new("many");
        t.after = after;
        t.after_count = 1000;
        ok(s, strata_task_add(s, &t, 0, id, NULL));
    }
    strata_task got;
    ok(s, strata_task_get(s, id, &got));
    assert_int_equal(got.depends_count, 1);
    assert_int_equal(got.waits, 1);
    strata_close(s);
}

/* Ten thousand at once, from another tracker: counted one by one as they are settled. */
#define DEPENDENCIES 10000

static void test_ten_thousand_dependencies(void **state)
{
    (void)state;
    static strata_task_item items[DEPENDENCIES + 1];
    static struct strata_task_link links[DEPENDENCIES];
    static char keys[DEPENDENCIES + 1][12];
    strata_task_imported r;
    strata_task t;
    world_init("a");
    strata *s = world_open("a", "ann");
    for (int i = 0; i <= DEPENDENCIES; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        items[i] = (strata_task_item){.key = keys[i], .title = "x", .priority = 2};
        if (i < DEPENDENCIES)
            links[i] = (struct strata_task_link){"depends", keys[i]};
    }
    items[DEPENDENCIES].links = links;
    items[DEPENDENCIES].link_count = DEPENDENCIES;
    ok(s, strata_task_import(s, items, DEPENDENCIES + 1, false, &r));
    assert_int_equal(r.added, DEPENDENCIES + 1);
    ok(s, strata_task_get(s, "10001", &t));
    assert_int_equal(t.depends_count, DEPENDENCIES);
    assert_int_equal(t.waits, DEPENDENCIES);
    ok(s, set_state(s, "1", "done", NULL));
    ok(s, set_state(s, "10000", "cancelled", NULL));
    ok(s, set_state(s, "5000", "failed", NULL));
    ok(s, strata_task_get(s, "10001", &t));
    assert_int_equal(t.waits, DEPENDENCIES - 2);
    ok(s, strata_task_depend(s, "10001", "5000", true, NULL));
    expect_code(s, strata_task_depend(s, "77", "10001", false, NULL), STRATA_CONFLICT);
    ok(s, strata_task_get(s, "10001", &t));
    assert_int_equal(t.waits, DEPENDENCIES - 3);
    strata_close(s);
}

static int add_keyed(void *arg, size_t i)
{
    (void)arg, (void)i;
    strata *s = world_open("a", "ann");
    char id[STRATA_TASK_SIZE];
    bool existed;
    strata_task_new t = task_new("nightly");
    t.key = "nightly";
    int code = strata_task_add(s, &t, 0, id, &existed);
    strata_close(s);
    return code != STRATA_OK || strcmp(id, "1") != 0;
}

static void test_a_key_adds_once(void **state)
{
    (void)state;
    world_init("a");
    world_processes(16, add_keyed, NULL);
    strata *s = world_open("a", NULL);
    strata_task_totals t;
    ok(s, strata_task_totals_get(s, &t));
    assert_int_equal(t.tasks, 1);
    strata_close(s);
}

static void test_order_of_what_is_ready(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    char id[STRATA_TASK_SIZE];
    strata_task_new t = task_new("x");
    static const struct {
        int priority;
        const char *channel, *agent;
        int64_t later;
    } list[] = {{2, NULL, NULL, 0},     {0, "docs", NULL, 0},  {1, NULL, "ann", 0},
                {0, NULL, "bob", 0},    {4, NULL, NULL, 0},    {0, NULL, "ann@a", 0},
                {0, NULL, "ann@pi", 0}, {0, NULL, NULL, 60000}};
    uint64_t now = s->log.env->wall_ms(NULL);
    for (size_t i = 0; i < 8; i++) {
        t.priority = list[i].priority;
        t.channel = list[i].channel;
        t.agent = list[i].agent;
        t.not_before_ms = list[i].later != 0 ? now + (uint64_t)list[i].later : 0;
        ok(s, strata_task_add(s, &t, 0, id, NULL));
    }
    assert_string_equal(listed(s, STRATA_TASKS_READY), "2 4 6 7 3 1 5");
    struct names n = {.count = 0};
    strata_task_query q = {.size = sizeof q, .agent = "ann"};
    ok(s, strata_task_each(s, &q, visit_name, &n));
    assert_string_equal(n.list, "2 6 3 1 5");
    n = (struct names){.count = 0};
    q.channel = "default";
    q.limit = 2;
    ok(s, strata_task_each(s, &q, visit_name, &n));
    assert_string_equal(n.list, "6 3");
    world_clock_ms = 61000;
    assert_string_equal(listed(s, STRATA_TASKS_READY), "2 4 6 7 8 3 1 5");
    strata_close(s);
}

/* --- claims ----------------------------------------------------------------------------------- */

static int finish(strata *s, const char *id, uint64_t token, const char *text, bool *accepted)
{
    strata_task_end end = {.size = sizeof end,
                           .id = id,
                           .token = token,
                           .state = "done",
                           .text = text,
                           .text_size = STRATA_NUL};
    return strata_task_finish(s, &end, accepted);
}

static void test_a_claim_is_one_agents(void **state)
{
    (void)state;
    world_init("a");
    strata *ann = world_open("a", "ann"), *bob = world_open("a", "bob");
    strata_task_taken t, u;
    strata_task_query q = {.size = sizeof q, .agent = "ann"};
    add(ann, "one", NULL);
    ok(ann, strata_task_next(ann, &q, 0, 60000, 0, NULL, &t));
    assert_string_equal(t.id, "1");
    assert_string_equal(state_of(bob, "1"), "claimed");
    assert_string_equal(listed(bob, STRATA_TASKS_READY), "");
    q.agent = "bob";
    expect_code(bob, strata_task_next(bob, &q, 0, 0, 0, NULL, &u), STRATA_TIMEOUT);
    assert_non_null(strstr(strata_last_error(bob)->message, "1 is claimed by ann"));
    expect_code(bob, strata_task_claim(bob, "1", 0, 0, &u), STRATA_TIMEOUT);
    expect_code(bob, finish(bob, "1", 0, "mine", NULL), STRATA_CONFLICT);
    expect_code(bob, strata_task_checkpoint(bob, "1", 0, "x", 1, 0), STRATA_CONFLICT);
    expect_code(bob, finish(bob, "1", t.token + 7, "mine", NULL), STRATA_CONFLICT);
    ok(ann, strata_task_checkpoint(ann, "1", 0, "half", STRATA_NUL, 60000));
    ok(ann, strata_task_release(ann, "1", t.token));
    ok(bob, strata_task_next(bob, &q, 0, 0, 0, NULL, &u));
    assert_true(u.token > t.token);
    strata_task got;
    ok(bob, strata_task_get(bob, "1", &got));
    assert_string_equal(got.checkpoint, "half");
    /* A late word of the former holder changes nothing. */
    expect_code(ann, finish(ann, "1", t.token, "late", NULL), STRATA_CONFLICT);
    expect_code(ann, strata_task_checkpoint(ann, "1", t.token, "late", 4, 0), STRATA_CONFLICT);
    ok(bob, finish(bob, "1", 0, "good", NULL));
    ok(bob, strata_task_get(bob, "1", &got));
    assert_string_equal(got.result, "good");
    assert_string_equal(got.checkpoint, "half");
    strata_close(ann);
    strata_close(bob);
}

/* A namesake of an earlier life has no part in what the later one has. */
static void test_incarnations(void **state)
{
    (void)state;
    world_init("a");
    strata *s[] = {world_open_life("a", "ann", 1), world_open_life("a", "ann", 2)};
    strata_task_taken t;
    add(s[1], "one", NULL);
    ok(s[1], strata_task_claim(s[1], "1", 0, 0, &t));
    expect_code(s[0], finish(s[0], "1", 0, "late", NULL), STRATA_CONFLICT);
    expect_code(s[0], strata_task_release(s[0], "1", 0), STRATA_CONFLICT);
    assert_string_equal(state_of(s[0], "1"), "claimed");
    ok(s[1], finish(s[1], "1", 0, "good", NULL));
    strata_close(s[0]);
    strata_close(s[1]);
}

/* The ledger has accepted an end, and its writer dies before the channel knows. */
static void test_a_crash_before_the_copy(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    strata_task_taken t;
    add(s, "one", NULL);
    add(s, "two", "1");
    ok(s, strata_task_claim(s, "1", 0, 0, &t));
    ok(s, st_claims_checkpoint(s, "#1", t.token, "half", 4, 0));
    struct st_claim_end end = {.name = "#1",
                               .token = t.token,
                               .outcome = ST_OUTCOME_COMMITTED,
                               .result = "good",
                               .result_size = 4};
    ok(s, st_claims_finish(s, &end));
    strata_close(s);
    s = world_open("a", "bob");
    strata_task got;
    ok(s, strata_task_get(s, "1", &got));
    assert_string_equal(got.state, "done");
    assert_string_equal(got.result, "good");
    assert_string_equal(got.checkpoint, "half");
    assert_string_equal(state_of(s, "2"), "ready");
    strata_close(s);
    uint64_t records = world_records("a", NULL);
    for (int i = 0; i < 3; i++) {
        s = world_open("a", "bob");
        assert_string_equal(state_of(s, "2"), "ready");
        strata_close(s);
    }
    assert_true(world_records("a", NULL) == records);
}

/* Where another copy decides: kept as reported, and decided there. */
static void test_reports_from_afar(void **state)
{
    (void)state;
    world_init("a");
    world_init("b");
    strata *a = world_open("a", "ann");
    strata_task_taken t[4];
    add(a, "held", NULL);
    add(a, "lost", NULL);
    add(a, "nobody's", NULL);
    strata_task_new n = task_new("handed over");
    char id[STRATA_TASK_SIZE];
    n.agent = "bob@b";
    ok(a, strata_task_add(a, &n, 0, id, NULL));
    ok(a, strata_task_claim(a, "1", 0, 0, &t[0]));
    ok(a, strata_task_claim(a, "2", 0, 0, &t[1]));
    strata_close(a);
    world_merge("b", "a");
    strata *b = world_open("b", "bob");
    bool accepted;
    strata_task_query q = {.size = sizeof q, .agent = "bob"};
    expect_code(b, strata_task_claim(b, "3", 0, 0, &t[2]), STRATA_UNAVAILABLE);
    ok(b, finish(b, "1", t[0].token, "from b", &accepted));
    assert_false(accepted);
    ok(b, finish(b, "2", t[1].token, "too late", &accepted));
    assert_false(accepted);
    ok(b, finish(b, "3", 0, "unclaimed", &accepted));
    assert_false(accepted);
    /* What is for bob on b needs nobody else. */
    ok(b, strata_task_next(b, &q, 0, 0, 0, NULL, &t[3]));
    assert_string_equal(t[3].id, "4");
    assert_int_equal(t[3].token, 0);
    ok(b, strata_task_checkpoint(b, "4", 0, "half", 4, 0));
    ok(b, finish(b, "4", 0, "done on b", &accepted));
    assert_true(accepted);
    assert_string_equal(state_of(b, "4"), "done");
    assert_string_not_equal(state_of(b, "1"), "done");
    strata_close(b);
    a = world_open("a", "ann");
    ok(a, strata_task_release(a, "2", t[1].token));
    strata_close(a);
    world_merge("a", "b");
    a = world_open("a", "ann");
    strata_task got;
    ok(a, strata_task_get(a, "1", &got));
    assert_string_equal(got.state, "done");
    assert_string_equal(got.result, "from b");
    assert_string_equal(state_of(a, "2"), "ready");
    assert_non_null(strstr(world_get(a, "#2", "refused"), "given back"));
    assert_string_equal(state_of(a, "3"), "done");
    assert_string_equal(state_of(a, "4"), "done");
    strata_close(a);
    world_merge("b", "a");
    b = world_open("b", "bob");
    assert_string_equal(state_of(b, "1"), "done");
    strata_close(b);
}

static void test_retries(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    strata_task_taken t;
    add(s, "flaky", NULL);
    for (int i = 0; i < STRATA_TASK_RETRIES; i++) {
        ok(s, strata_task_claim(s, "1", 0, 0, &t));
        strata_task_end end = {.size = sizeof end,
                               .id = "1",
                               .state = "retry",
                               .text = "no network",
                               .text_size = STRATA_NUL,
                               .retry_in_ms = 60000};
        ok(s, strata_task_finish(s, &end, NULL));
        assert_string_equal(state_of(s, "1"), i + 1 < STRATA_TASK_RETRIES ? "deferred" : "failed");
        world_clock_ms += 61000;
    }
    strata_close(s);
}

/* What has failed as often as it may waits for a person: tried again from the start, or given up. */
static void test_given_up(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    add(s, "flaky", NULL);
    add(s, "after it", "1");
    add(s, "plainly failed", NULL);
    ok(s, set_state(s, "3", "failed", NULL));
    for (int round = 0; round < 2; round++) {
        assert_string_equal(listed(s, STRATA_TASKS_GIVEN_UP), "");
        for (int i = 0; i < STRATA_TASK_RETRIES; i++) {
            strata_task_taken t;
            ok(s, strata_task_claim(s, "1", 0, 0, &t));
            strata_task_end end = {.size = sizeof end,
                                   .id = "1",
                                   .state = "retry",
                                   .text = "no network",
                                   .text_size = 10};
            assert_string_equal(listed(s, STRATA_TASKS_GIVEN_UP), "");
            ok(s, strata_task_finish(s, &end, NULL));
        }
        assert_string_equal(listed(s, STRATA_TASKS_GIVEN_UP), "1");
        assert_string_equal(state_of(s, "2"), "waiting");
        if (round == 0)
            ok(s, strata_task_reopen(s, "1", "the network is back"));
    }
    ok(s, set_state(s, "1", "cancelled", NULL));
    assert_string_equal(listed(s, STRATA_TASKS_GIVEN_UP), "");
    assert_string_equal(state_of(s, "2"), "ready");
    expect_code(s, set_state(s, "1", "failed", NULL), STRATA_CONFLICT);
    strata_close(s);
}

/* The clock of the day goes back an hour, a day ahead, and back again: what waits for its time waits
 * by that clock, terms of claims do not care, numbers and the order of words go on. */
static void test_clock_jumps(void **state)
{
    (void)state;
    static const int64_t jumps_ms[] = {-3600000, 86400000, -90000000, 3600000};
    char id[STRATA_TASK_SIZE], want[8];
    strata_task_taken claim, other;
    int last = 0;
    world_init("a");
    strata *s = world_open("a", "ann"), *bob = world_open("a", "bob");
    strata_task_new t = task_new("tonight");
    t.not_before_ms = s->log.env->wall_ms(NULL) + 12 * 3600000;
    ok(s, strata_task_add(s, &t, 0, id, NULL));
    add(s, "held", NULL);
    add(s, "said", NULL);
    last = 3;
    ok(s, strata_task_claim(s, "2", 60000, 0, &claim));
    for (size_t i = 0; i < sizeof jumps_ms / sizeof *jumps_ms; i++) {
        char text[24];
        world_clock_ms += jumps_ms[i];
        assert_string_equal(state_of(s, "1"), world_clock_ms > 12 * 3600000 ? "ready" : "deferred");
        expect_code(bob, strata_task_claim(bob, "2", 60000, 0, &other), STRATA_TIMEOUT);
        ok(s, strata_task_checkpoint(s, "2", claim.token, "half", 4, 60000));
        /* The later word stands, whatever the clock says. */
        snprintf(text, sizeof text, "word %zu", i);
        ok(s, set_state(s, "3", "open", NULL));
        ok(s, set_state(s, "3", "done", text));
        strata_task got;
        ok(bob, strata_task_get(bob, "3", &got));
        assert_string_equal(got.result, text);
        assert_false(got.pending);
        snprintf(want, sizeof want, "%d", ++last);
        assert_string_equal(add(bob, "another", NULL), want);
        /* Who comes anew sees the same. */
        strata *anew = world_open("a", "cid");
        assert_string_equal(state_of(anew, "2"), "claimed");
        assert_string_equal(state_of(anew, "3"), "done");
        strata_close(anew);
    }
    world_term_ms += 61000;
    ok(bob, strata_task_claim(bob, "2", 60000, 0, &other));
    assert_true(other.token > claim.token);
    expect_code(s, finish(s, "2", claim.token, "late", NULL), STRATA_CONFLICT);
    ok(bob, finish(bob, "2", other.token, "good", NULL));
    strata_close(s);
    strata_close(bob);
}

/* --- messages --------------------------------------------------------------------------------- */

static int visit_message(void *arg, const strata_message *m)
{
    struct names *n = arg;
    size_t used = strlen(n->list);
    snprintf(n->list + used, sizeof n->list - used, "%s%s:%s", used > 0 ? " " : "", m->from,
             m->text);
    n->count++;
    return 0;
}

static const char *inbox(strata *s, const char *agent)
{
    static struct names n;
    n = (struct names){.count = 0};
    ok(s, strata_message_each(s, agent, 0, visit_message, &n));
    return n.list;
}

static void test_messages(void **state)
{
    (void)state;
    world_init("a");
    world_init("b");
    strata *a = world_open("a", "ann");
    char id[STRATA_TASK_SIZE];
    expect_code(a, strata_message_send(a, "bob", "hi", 2, false, id), STRATA_NOT_FOUND);
    assert_null(strstr(strata_last_error(a)->hint, "--")); /* there are other doors than a shell */
    ok(a, strata_message_send(a, "bob", "one", 3, true, id));
    const char *first = "1";
    assert_string_equal(id, first);
    strata_close(a);
    world_merge("b", "a");
    strata *b = world_open("b", "bob");
    assert_string_equal(inbox(b, "bob"), "ann:one");
    ok(b, strata_message_ack(b, &first, 1));
    assert_string_equal(inbox(b, "bob"), "");
    expect_code(b, strata_message_ack(b, (const char *const[]){"99"}, 1), STRATA_NOT_FOUND);
    strata_close(b);
    world_merge("a", "b");
    a = world_open("a", "ann");
    assert_string_equal(inbox(a, "bob"), "");
    for (int i = 0; i < STRATA_INBOX_MAX; i++)
        ok(a, strata_message_send(a, "cid", "x", 1, true, id));
    expect_code(a, strata_message_send(a, "cid", "x", 1, true, id), STRATA_LIMIT);
    strata_close(a);
}

/* On a copy that does not decide, and knows nobody who does: tasks, messages, what is assigned. */
static void test_without_the_coordinator(void **state)
{
    (void)state;
    char id[STRATA_TASK_SIZE], message[STRATA_TASK_SIZE];
    world_init("a");
    world_init("b");
    strata *a = world_open("a", "ann");
    add(a, "one", NULL);
    strata_close(a);
    world_merge("b", "a");
    world_run("rm -r b/.strata/strong && mv a away");
    strata *b = world_open("b", "bob");
    strata_task_new n = task_new("handed over");
    strata_task_taken t;
    n.agent = "bob@b";
    ok(b, strata_task_add(b, &n, 0, id, NULL));
    expect_code(b, strata_task_claim(b, "1", 0, 0, &t), STRATA_UNAVAILABLE);
    strata_task_query q = {.size = sizeof q, .agent = "bob"};
    ok(b, strata_task_next(b, &q, 0, 0, 0, NULL, &t));
    assert_string_equal(t.id, id);
    ok(b, finish(b, id, 0, "done here", NULL));
    ok(b, strata_message_send(b, "ann", "see 1", 5, true, message));
    ok(b, strata_message_send(b, "bob", "to myself", 9, true, id));
    assert_string_equal(inbox(b, "bob"), "bob:to myself");
    ok(b, strata_message_ack(b, (const char *const[]){id}, 1));
    assert_string_equal(inbox(b, "bob"), "");
    strata_close(b);
    world_run("mv away a");
    world_merge("a", "b");
    a = world_open("a", "ann");
    assert_string_equal(inbox(a, "ann"), "bob:see 1");
    ok(a, strata_message_ack(a, (const char *const[]){message}, 1));
    assert_string_equal(inbox(a, "ann"), "");
    strata_close(a);
}

/* --- random histories ------------------------------------------------------------------------- */

#define COPIES    3
#define TASKS_MAX 60

struct plain_task {
    char id[STRATA_TASK_SIZE];
    bool open, settled;
    size_t depends_count;
    char depends[40][STRATA_TASK_SIZE];
};

struct plain {
    struct plain_task list[TASKS_MAX];
    size_t count;
};

/* Reads all tasks as they are told one by one; nothing derived is asked for. */
static int visit_plain(void *arg, const strata_attribute *a)
{
    struct plain *p = arg;
    if (a->entity[0] != '#')
        return 0;
    struct plain_task *t = p->count > 0 ? &p->list[p->count - 1] : NULL;
    if (t == NULL || strcmp(t->id, a->entity + 1) != 0) {
        t = &p->list[p->count++];
        *t = (struct plain_task){.open = true};
        snprintf(t->id, sizeof t->id, "%s", a->entity + 1);
    }
    for (size_t i = 0; i < a->count; i++) {
        const strata_item *x = &a->items[i];
        if (strcmp(a->attribute, "depends") == 0 && x->kind == STRATA_ITEM_MEMBER)
            snprintf(t->depends[t->depends_count++], STRATA_TASK_SIZE, "%s", x->value + 1);
        if (strcmp(a->attribute, "state") != 0 || x->kind != STRATA_ITEM_VALUE)
            continue;
        bool ends = strcmp(x->value, "done") == 0 || strcmp(x->value, "cancelled") == 0;
        t->settled = t->settled || ends;
        t->open = t->open && strcmp(x->value, "open") == 0;
    }
    return 0;
}

static bool is_settled(const struct plain *p, const char *id)
{
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->list[i].id, id) == 0)
            return p->list[i].settled;
    return false;
}

static void check_against_plain(const char *copy)
{
    static struct plain p;
    p.count = 0;
    strata *s = world_open(copy, NULL);
    strata_fact_query q = {.size = sizeof q, .with_absent = true};
    ok(s, strata_fact_each(s, &q, visit_plain, &p));
    for (size_t i = 0; i < p.count; i++) {
        size_t waits = 0;
        for (size_t k = 0; k < p.list[i].depends_count; k++)
            waits += !is_settled(&p, p.list[i].depends[k]);
        strata_task t;
        ok(s, strata_task_get(s, p.list[i].id, &t));
        if (t.waits != waits)
            fail_msg("%s: %s waits for %d, not %zu", copy, t.id, (int)t.waits, waits);
        /* Causal delivery: what it waits for is known here. */
        for (size_t k = 0; k < p.list[i].depends_count; k++) {
            ok(s, strata_task_get(s, p.list[i].depends[k], &t));
            assert_true(t.title[0] != '\0');
        }
        struct names n = {.count = 0};
        strata_task_query ready = {.size = sizeof ready};
        ok(s, strata_task_each(s, &ready, visit_name, &n));
        char padded[4100], one[STRATA_TASK_SIZE + 2];
        snprintf(padded, sizeof padded, " %s ", n.list);
        snprintf(one, sizeof one, " %s ", p.list[i].id);
        if ((strstr(padded, one) != NULL) != (p.list[i].open && waits == 0))
            fail_msg("%s: %s is ready, or is not, against the facts", copy, p.list[i].id);
        if (i > 5)
            break; /* the rest by the sets below */
    }
    strata_task_totals t;
    ok(s, strata_task_totals_get(s, &t));
    size_t ready = 0;
    for (size_t i = 0; i < p.count; i++) {
        size_t waits = 0;
        for (size_t k = 0; k < p.list[i].depends_count; k++)
            waits += !is_settled(&p, p.list[i].depends[k]);
        ready += p.list[i].open && waits == 0;
    }
    assert_int_equal(t.tasks, p.count);
    assert_int_equal(t.ready, ready);
    strata_close(s);
}

/* Causal delivery, from what was recorded alone: in the order in which this copy took everything in,
 * nothing names a task before the record that made it. */
struct told {
    char made[TASKS_MAX * 2][STRATA_TASK_SIZE];
    size_t count;
};

static bool was_made(const struct told *t, const char *entity)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->made[i], entity) == 0)
            return true;
    return false;
}

static int visit_told(void *arg, const strata_event *e)
{
    struct told *t = arg;
    if (e->entity[0] != '#')
        return 0;
    if (strcmp(e->attribute, "title") == 0 && !was_made(t, e->entity))
        snprintf(t->made[t->count++], STRATA_TASK_SIZE, "%s", e->entity);
    if (!was_made(t, e->entity))
        fail_msg("%s of %s is told before the task", e->attribute, e->entity);
    if (e->link && !was_made(t, e->value))
        fail_msg("%s names %s, which is not there yet", e->entity, e->value);
    return 0;
}

static void check_told(const char *copy)
{
    static struct told t;
    uint64_t next;
    t.count = 0;
    strata *s = world_open(copy, NULL);
    ok(s, strata_events(s, 0, 0, &next, visit_told, &t));
    strata_close(s);
}

static void random_step(const char *copy, uint64_t *x)
{
    static const char *const states[] = {"done", "cancelled", "open", "blocked", "later"};
    static struct plain p;
    p.count = 0;
    strata *s = world_open(copy, copy);
    strata_fact_query q = {.size = sizeof q, .with_absent = true};
    ok(s, strata_fact_each(s, &q, visit_plain, &p));
    size_t one = p.count > 0 ? world_random(x) % p.count : 0;
    size_t other = p.count > 0 ? world_random(x) % p.count : 0;
    switch (p.count == 0 ? 0 : world_random(x) % 6) {
    case 0:
    case 1:
        if (p.count < TASKS_MAX / 2)
            add(s, "x", p.count > 0 ? p.list[one].id : NULL);
        break;
    case 2:
        (void)strata_task_depend(s, p.list[one].id, p.list[other].id, false, NULL);
        break;
    case 3:
        (void)strata_task_depend(s, p.list[one].id, p.list[other].id, true, NULL);
        break;
    default:
        (void)set_state(s, p.list[one].id, states[world_random(x) % 5], NULL);
    }
    strata_close(s);
}

/* Takes in what a copy had a while ago, or a part of it, now or again; returns how many records wait
 * for what is not there. */
static uint64_t take_in(const char *to, const char *from)
{
    strata_merge_result r;
    strata_status st;
    strata *s = world_open(to, NULL);
    ok(s, strata_merge_state(s, world_path(from), false, &r));
    ok(s, strata_status_get(s, &st));
    assert_int_equal(st.waiting, r.waiting);
    strata_close(s);
    check_told(to);
    return r.waiting;
}

/* Deliveries that are late, come twice, and lack the end of one log, so that what comes depends on
 * what does not: that waits, and is counted. */
static void test_nothing_before_its_cause(void **state)
{
    static const char *const copies[COPIES] = {"a", "b", "c"};
    uint64_t waited = 0, x = 1;
    for (uint64_t round = 0; round < 2 || waited == 0; round++) {
        char ids[COPIES][17];
        for (size_t i = 0; i < COPIES; i++) {
            world_init(copies[i]);
            if (i > 0)
                world_merge(copies[i], "a");
            random_step(copies[i], &x);
            world_replica(copies[i], ids[i]);
        }
        for (int i = 0; i < 18; i++) {
            size_t one = world_random(&x) % COPIES, cut = (one + 1 + world_random(&x) % 2) % COPIES;
            const char *to = copies[world_random(&x) % COPIES];
            random_step(copies[one], &x);
            world_run("rm -rf late && cp -r %s late && for f in late/.strata/log/%s-*/*.jsonl; do "
                      "[ ! -e $f ] || sed -i '1!{$d}' $f; done",
                      copies[one], ids[cut]);
            random_step(copies[world_random(&x) % COPIES], &x);
            waited += take_in(to, "late");
            if (i % 3 == 0)
                waited += take_in(to, "late");
            if (i % 4 == 0 && to != copies[one])
                waited += take_in(to, copies[one]);
        }
        for (size_t i = 0; i < 2 * COPIES; i++)
            for (size_t k = 0; k < COPIES; k++)
                if (k != i % COPIES)
                    (void)take_in(copies[i % COPIES], copies[k]);
        world_same_digest("a", "b");
        world_same_digest("a", "c");
        assert_int_equal(world_teardown(state), 0);
        assert_int_equal(world_setup(state), 0);
    }
}

/* Three copies; records arrive late (from a copy of the state made earlier), twice, and by way of
 * the third. */
static void test_random_histories(void **state)
{
    static const char *const copies[COPIES] = {"a", "b", "c"};
    for (uint64_t seed = 1; seed <= 6; seed++) {
        uint64_t x = seed;
        world_init("a");
        world_init("b");
        world_init("c");
        random_step("a", &x);
        world_merge("b", "a");
        world_merge("c", "b");
        bool kept = false;
        for (int i = 0; i < 60; i++) {
            const char *one = copies[world_random(&x) % COPIES];
            const char *other = copies[world_random(&x) % COPIES];
            uint64_t what = world_random(&x) % 8;
            if (what == 0 && strcmp(one, other) != 0) {
                world_merge(one, other);
                if (world_random(&x) % 2 == 0)
                    world_merge(one, other);
                check_against_plain(one);
            } else if (what == 1) {
                world_run("rm -rf late && cp -r %s late", one);
                kept = true;
            } else if (what == 2 && kept) {
                world_merge(one, "late");
                check_against_plain(one);
            } else {
                random_step(one, &x);
            }
        }
        char first[33], digest[33], rebuilt[33];
        for (int i = 0; i < COPIES; i++)
            for (int k = 0; k < COPIES; k++)
                if (i != k)
                    world_merge(copies[i], copies[k]);
        for (int i = 0; i < COPIES; i++) {
            for (int k = 0; k < COPIES; k++)
                if (i != k)
                    world_merge(copies[i], copies[k]);
            check_against_plain(copies[i]);
            world_digest(copies[i], digest);
            world_rebuilt_digest(copies[i], rebuilt);
            assert_string_equal(digest, rebuilt);
            check_against_plain(copies[i]);
            check_told(copies[i]);
            if (i == 0)
                memcpy(first, digest, sizeof first);
            assert_string_equal(first, digest);
        }
        assert_int_equal(world_teardown(state), 0);
        assert_int_equal(world_setup(state), 0);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_numbers_of_one_copy),
        TEST(test_64_processes_get_different_numbers),
        TEST(test_a_copy_that_joined_has_numbers_of_its_own),
        TEST(test_two_of_one_name),
        TEST(test_copied_restored_rebooted),
        TEST(test_reboots_keep_plain_numbers),
        TEST(test_damage_moved_aside),
        TEST(test_finished_stays_finished),
        TEST(test_two_ends_are_pending),
        TEST(test_finished_absorbs),
        TEST(test_cycles),
        TEST(test_bad_input),
        TEST(test_ten_thousand_dependencies),
        TEST(test_a_key_adds_once),
        TEST(test_order_of_what_is_ready),
        TEST(test_a_claim_is_one_agents),
        TEST(test_incarnations),
        TEST(test_a_crash_before_the_copy),
        TEST(test_reports_from_afar),
        TEST(test_retries),
        TEST(test_given_up),
        TEST(test_clock_jumps),
        TEST(test_messages),
        TEST(test_without_the_coordinator),
        TEST(test_nothing_before_its_cause),
        TEST(test_random_histories),
    };
    return cmocka_run_group_tests_name("lib tasks", tests, NULL, NULL);
}
