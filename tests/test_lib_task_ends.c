/* test_lib_task_ends.c - what becomes of a task while somebody else ends, gives back, reopens or
 * cancels it: the two logs of one copy, and reports from another. */
#include "lib_world.h"

#include "lib/task.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static const char *add(strata *s, const char *title, const char *after)
{
    static char names[16][STRATA_TASK_SIZE];
    static unsigned next;
    char *id = names[next++ % 16];
    strata_task_new t = {.size = sizeof t,
                         .title = title,
                         .priority = STRATA_PRIORITY_NONE,
                         .after = &after,
                         .after_count = after != NULL};
    ok(s, strata_task_add(s, &t, 0, id, NULL));
    return id;
}

static strata_task get(strata *s, const char *id)
{
    strata_task t;
    ok(s, strata_task_get(s, id, &t));
    return t;
}

static uint64_t claim(strata *s, const char *id)
{
    strata_task_taken t;
    ok(s, strata_task_claim(s, id, 0, 0, &t));
    return t.token;
}

static strata_task_end end_of(const char *id, uint64_t token, const char *state, const char *text)
{
    return (strata_task_end){.size = sizeof(strata_task_end),
                             .id = id,
                             .token = token,
                             .state = state,
                             .text = text,
                             .text_size = STRATA_NUL};
}

static int finish(strata *s, const char *id, uint64_t token, const char *state, const char *text)
{
    strata_task_end end = end_of(id, token, state, text);
    return strata_task_finish(s, &end, NULL);
}

static int change(strata *s, const char *id, const char *state, const char *agent)
{
    strata_task_change c = {.size = sizeof c,
                            .state = state,
                            .agent = agent,
                            .priority = STRATA_PRIORITY_NONE,
                            .not_before_ms = UINT64_MAX};
    return strata_task_update(s, id, &c, 0);
}

static const strata_task_query anybody = {.size = sizeof(strata_task_query), .agent = "ann"};

/* --- between the look and the claim ----------------------------------------------------------- */

/* Once, when the next record is about to be written: the entry of a claim. */
static struct {
    const char *id, *state, *agent;
} meanwhile;

static void change_meanwhile(const char *label)
{
    if (strcmp(label, "append.before-write") != 0)
        return;
    world_at_point = NULL;
    strata *s = world_open("a", "boss");
    ok(s, change(s, meanwhile.id, meanwhile.state, meanwhile.agent));
    strata_close(s);
}

static void set_meanwhile(const char *id, const char *state, const char *agent)
{
    meanwhile.id = id;
    meanwhile.state = state;
    meanwhile.agent = agent;
    world_at_point = change_meanwhile;
}

static void not_claimed(const char *name)
{
    strata *s = world_open("a", "look");
    struct st_claim c;
    ok(s, st_claims_look(s, &name, 1, &c));
    assert_false(c.held);
    strata_close(s);
}

static void test_a_claim_looks_again(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    strata_task_taken t;
    add(s, "one", NULL);
    add(s, "two", "1");
    ok(s, finish(s, "1", 0, "done", NULL));
    set_meanwhile("1", "open", NULL);
    expect_code(s, strata_task_claim(s, "2", 0, 0, &t), STRATA_CONFLICT);
    assert_non_null(strstr(strata_last_error(s)->message, "2 waits for 1 other"));
    assert_int_equal(t.token, 0);
    not_claimed("#2");
    ok(s, change(s, "1", "done", NULL));
    set_meanwhile("2", "cancelled", NULL);
    expect_code(s, strata_task_claim(s, "2", 0, 0, &t), STRATA_CONFLICT);
    assert_non_null(strstr(strata_last_error(s)->message, "2 is cancelled"));
    not_claimed("#2");
    ok(s, change(s, "2", "open", NULL));
    set_meanwhile("2", NULL, "ann@a");
    ok(s, strata_task_claim(s, "2", 0, 0, &t));
    assert_string_equal(t.id, "2");
    assert_int_equal(t.token, 0);
    not_claimed("#2");
    strata_close(s);
}

static void test_next_looks_again(void **state)
{
    (void)state;
    static const struct {
        const char *id, *state, *agent;
    } changes[] = {
        {"1", "open", NULL}, {"2", "cancelled", NULL}, {"2", "later", NULL}, {"2", NULL, "bob"}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        world_init("a");
        strata *s = world_open("a", "ann");
        strata_task_taken t;
        add(s, "one", NULL);
        add(s, "two", "1");
        add(s, "three", NULL);
        ok(s, finish(s, "1", 0, "done", NULL));
        set_meanwhile(changes[i].id, changes[i].state, changes[i].agent);
        ok(s, strata_task_next(s, &anybody, 0, 0, 0, NULL, &t));
        assert_string_equal(t.id, "3");
        not_claimed("#2");
        strata_close(s);
        world_run("rm -rf a");
    }
}

/* Who goes on at once asks for what it saw to be free before: not for what was changed since, and
 * what is better now comes first. */
static void test_going_on_sees_what_changed(void **state)
{
    (void)state;
    world_init("a");
    strata *ann = world_open("a", "ann"), *bob = world_open("a", "bob");
    strata_task_taken t, other;
    for (int i = 0; i < 9; i++)
        add(ann, "one of many", NULL);
    ok(ann, strata_task_next(ann, &anybody, 0, 0, 0, NULL, &t));
    assert_string_equal(t.id, "1");
    char id[STRATA_TASK_SIZE];
    strata_task_end end = end_of(id, 0, "done", NULL);
#define GO_ON(want)                                                                                \
    snprintf(id, sizeof id, "%s", t.id);                                                           \
    end.token = t.token;                                                                           \
    ok(ann, strata_task_next(ann, &anybody, 0, 0, 0, &end, &t));                                   \
    assert_true(t.ended);                                                                          \
    assert_string_equal(t.id, want)
    GO_ON("2");
    ok(bob, change(bob, "3", "cancelled", NULL));
    GO_ON("4");
    GO_ON("5");
    /* Taken, and given back for later, which only the ledger knows yet. */
    ok(bob, strata_task_claim(bob, "6", 0, 0, &other));
    struct st_claim_end back = {.name = "#6",
                                .token = other.token,
                                .outcome = ST_OUTCOME_RETRY,
                                .result = "4102444800000\nno network",
                                .result_size = 24};
    ok(bob, st_claims_finish(bob, &back));
    GO_ON("7");
    strata_task_new urgent = {.size = sizeof urgent, .title = "urgent", .priority = 0};
    char added[STRATA_TASK_SIZE];
    ok(bob, strata_task_add(bob, &urgent, 0, added, NULL));
    GO_ON("10");
    /* What it has itself was cancelled: an end says so. */
    ok(bob, change(bob, "10", "cancelled", NULL));
    end = end_of("10", t.token, "done", NULL);
    expect_code(ann, strata_task_next(ann, &anybody, 0, 0, 0, &end, &t), STRATA_CONFLICT);
#undef GO_ON
    for (int i = 1; i <= 7; i++) {
        snprintf(id, sizeof id, "%d", i);
        const char *want = i == 3 ? "cancelled" : i == 6 ? "deferred" : "done";
        assert_string_equal(get(bob, id).state, want);
    }
    strata_close(ann);
    strata_close(bob);
}

/* A look while a record is on its way, which it does not see. */
static struct {
    strata *s;
    struct st_pooled seen;
} looker;

/* Now and then one is sent to look alone, and what was seen too slowly is too old. */
static void look_for_one(void)
{
    looker.seen.given = false;
    for (int i = 0; i < 1000 && !looker.seen.given; i++)
        ok(looker.s, st_pool_take(looker.s, &anybody, &looker.seen));
}

static void look_meanwhile(const char *label)
{
    if (strcmp(label, "append.written") != 0)
        return;
    world_at_point = NULL;
    world_term_ms += 1000; /* whatever was seen before is too old */
    look_for_one();
}

static void test_a_look_at_the_wrong_moment(void **state)
{
    (void)state;
    world_init("a");
    strata *boss = world_open("a", "boss");
    looker.s = world_open("a", "ann");
    add(boss, "one", NULL);
    add(boss, "two", NULL);
    look_for_one();
    assert_true(looker.seen.given && st_task_unchanged(looker.s, looker.seen.changes));
    assert_string_equal(looker.seen.entity, "#1");
    world_at_point = look_meanwhile;
    ok(boss, change(boss, "2", "cancelled", NULL));
    assert_true(looker.seen.given);
    assert_string_equal(looker.seen.entity, "#2");
    assert_false(st_task_unchanged(looker.s, looker.seen.changes));
    strata_close(looker.s);
    strata_close(boss);
}

/* What one saw is shared: nobody is given what another was, and who has something of his own looks for
 * himself. */
static void test_one_looks_for_all(void **state)
{
    (void)state;
    world_init("a");
    strata *boss = world_open("a", "boss");
    bool given[7] = {false};
    for (int i = 0; i < 6; i++)
        add(boss, "one of many", NULL);
    for (int i = 0; i < 6; i++) {
        looker.s = world_open("a", i % 2 == 0 ? "ann" : "bob");
        look_for_one();
        assert_true(looker.seen.given);
        int number = atoi(looker.seen.entity + 1);
        assert_in_range(number, 1, 6);
        assert_false(given[number]);
        given[number] = true;
        (void)claim(looker.s, looker.seen.entity + 1);
        strata_close(looker.s);
    }
    strata_task_new own = {
        .size = sizeof own, .title = "ann's", .agent = "ann", .priority = STRATA_PRIORITY_NONE};
    char id[STRATA_TASK_SIZE];
    ok(boss, strata_task_add(boss, &own, 0, id, NULL));
    looker.s = world_open("a", "ann");
    look_for_one();
    assert_false(looker.seen.given);
    strata_close(looker.s);
    strata_close(boss);
}

/* Who cancels and who ends do not know of each other: both are kept, and pending. */
static void test_cancelled_and_done_at_once(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    add(s, "one", NULL);
    uint64_t token = claim(s, "1");
    set_meanwhile("1", "cancelled", NULL);
    ok(s, finish(s, "1", token, "done", "all of it"));
    strata_task t = get(s, "1");
    assert_true(t.finished && t.pending);
    assert_int_equal(world_pending(s, STRATA_PENDING_CONFLICT, NULL), 1);
    assert_string_equal(get(s, "1").result, "all of it");
    strata_close(s);
}

/* --- given back ------------------------------------------------------------------------------- */

static void test_a_late_retry_changes_nothing(void **state)
{
    (void)state;
    world_init("a");
    strata *ann = world_open("a", "ann"), *bob = world_open("a", "bob");
    add(ann, "flaky", NULL);
    uint64_t old = claim(ann, "1");
    ok(ann, strata_task_release(ann, "1", old));
    uint64_t new = claim(bob, "1");
    strata_task_end late = end_of("1", old, "retry", "too late");
    late.retry_in_ms = 60000;
    expect_code(ann, strata_task_finish(ann, &late, NULL), STRATA_CONFLICT);
    strata_task t = get(bob, "1");
    assert_int_equal(t.retries, 0);
    assert_int_equal(t.not_before_ms, 0);
    assert_string_equal(t.reason, "");
    late.token = new;
    ok(bob, strata_task_finish(bob, &late, NULL));
    t = get(bob, "1");
    assert_int_equal(t.retries, 1);
    assert_string_equal(t.state, "deferred");
    assert_string_equal(t.reason, "too late");
    strata_close(ann);
    strata_close(bob);
}

/* Its writer dies before the channel knows: it is not to be had before its time all the same. */
static void test_given_back_and_not_told(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    strata_task_taken t;
    add(s, "flaky", NULL);
    uint64_t token = claim(s, "1");
    char text[64];
    snprintf(text, sizeof text, "%llu\nno network", 4102444800000ull); /* 2100 */
    struct st_claim_end end = {.name = "#1",
                               .token = token,
                               .outcome = ST_OUTCOME_RETRY,
                               .result = text,
                               .result_size = strlen(text)};
    ok(s, st_claims_finish(s, &end));
    strata_close(s);
    s = world_open("a", "ann");
    expect_code(s, strata_task_next(s, &anybody, 0, 0, 0, NULL, &t), STRATA_TIMEOUT);
    strata_task got = get(s, "1");
    assert_string_equal(got.state, "deferred");
    assert_string_equal(got.reason, "no network");
    assert_int_equal(got.retries, 1);
    strata_close(s);
}

/* Several ends are copied with one write: one that others have to see is told, whatever is copied with it. */
static void test_what_is_quiet_is_copied_apart(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    for (int i = 0; i < 4; i++)
        add(s, "one of four", NULL);
    struct st_claim_end ends[] = {
        {.name = "#1", .outcome = ST_OUTCOME_COMMITTED},
        {.name = "#2", .outcome = ST_OUTCOME_RETRY, .result = "4102444800000\nno network"},
        {.name = "#3", .outcome = ST_OUTCOME_COMMITTED}};
    uint64_t token = claim(s, "4");
    uint32_t before, after;
    for (size_t i = 0; i < 3; i++)
        ends[i].token = claim(s, ends[i].name + 1);
    for (int told = 0; told < 2; told++) {
        assert_true(st_log_changes(&s->log, &before));
        for (size_t i = 0; i < 3 && told; i++) {
            ends[i].result_size = ends[i].result != NULL ? strlen(ends[i].result) : 0;
            ok(s, st_claims_finish(s, &ends[i]));
        }
        struct st_claim_end alone = {.name = "#4", .token = token, .outcome = ST_OUTCOME_COMMITTED};
        if (!told)
            ok(s, st_claims_finish(s, &alone));
        ok(s, st_task_settle(s));
        assert_true(st_log_changes(&s->log, &after));
        assert_int_equal(before != after, told);
    }
    assert_string_equal(get(s, "1").state, "done");
    assert_string_equal(get(s, "2").state, "deferred");
    assert_string_equal(get(s, "3").state, "done");
    assert_string_equal(get(s, "4").state, "done");
    strata_close(s);
}

static void test_next_gives_back(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    strata_task_taken t;
    add(s, "flaky", NULL);
    add(s, "other", NULL);
    ok(s, strata_task_next(s, &anybody, 0, 0, 0, NULL, &t));
    strata_task_end end = end_of("1", t.token, "retry", "no network");
    end.retry_in_ms = 60000;
    ok(s, strata_task_next(s, &anybody, 0, 0, 0, &end, &t));
    assert_string_equal(t.id, "2");
    strata_task got = get(s, "1");
    assert_string_equal(got.state, "deferred");
    assert_int_equal(got.retries, 1);
    ok(s, finish(s, "2", t.token, "done", NULL));
    for (int i = 1; i < STRATA_TASK_RETRIES; i++) {
        world_clock_ms += 61000;
        ok(s, strata_task_next(s, &anybody, 0, 0, 0, NULL, &t));
        assert_string_equal(t.id, "1");
        end.token = t.token;
        expect_code(s, strata_task_next(s, &anybody, 0, 0, 0, &end, &t), STRATA_TIMEOUT);
    }
    got = get(s, "1");
    assert_string_equal(got.state, "failed");
    assert_string_equal(got.reason, "no network");
    strata_close(s);
}

/* --next ends whatever can be ended without it. */
/* Ann ends "1" with her next one, which she is at for long; bob waits for what that has made ready. */
static int end_or_wait(void *arg, size_t i)
{
    (void)arg;
    strata *s = world_open("a", i == 0 ? "ann" : "bob");
    strata_task_taken t;
    strata_task_query q = {.size = sizeof q, .channel = i == 0 ? "hers" : "his"};
    if (i == 0) {
        ok(s, strata_task_next(s, &q, 0, 0, 0, NULL, &t));
        strata_task_end end = end_of("1", t.token, "done", NULL);
        usleep(300000); /* bob finds nothing meanwhile */
        ok(s, strata_task_next(s, &q, 0, 0, 0, &end, &t));
        assert_true(t.ended && strcmp(t.id, "2") == 0);
        _exit(0); /* as one that is at work: closing the handle would tell */
    }
    ok(s, strata_task_next(s, &q, 10000, 0, 0, NULL, &t));
    assert_string_equal(t.id, "3");
    strata_close(s);
    return 0;
}

static void test_who_waits_sees_an_end_that_was_not_told(void **state)
{
    (void)state;
    static const struct {
        const char *title, *channel, *after;
    } tasks[] = {{"first", "hers", NULL}, {"long", "hers", NULL}, {"then", "his", "1"}};
    world_init("a");
    strata *s = world_open("a", "boss");
    for (size_t i = 0; i < sizeof tasks / sizeof *tasks; i++) {
        strata_task_new n = {.size = sizeof n,
                             .title = tasks[i].title,
                             .channel = tasks[i].channel,
                             .priority = STRATA_PRIORITY_NONE,
                             .after = &tasks[i].after,
                             .after_count = tasks[i].after != NULL};
        char id[STRATA_TASK_SIZE];
        ok(s, strata_task_add(s, &n, 0, id, NULL));
    }
    strata_close(s);
    world_processes(2, end_or_wait, NULL);
}

static void test_next_ends_what_is_not_claimed(void **state)
{
    (void)state;
    world_init("a");
    strata *s = world_open("a", "ann");
    strata_task_taken t;
    add(s, "nobody's", NULL);
    strata_task_new n = {
        .size = sizeof n, .title = "mine", .agent = "ann@a", .priority = STRATA_PRIORITY_NONE};
    char id[STRATA_TASK_SIZE];
    ok(s, strata_task_add(s, &n, 0, id, NULL));
    add(s, "next", "1");
    strata_task_end end = end_of("2", 0, "done", "by hand");
    ok(s, strata_task_next(s, &anybody, 0, 0, 0, &end, &t));
    assert_string_equal(t.id, "1");
    ok(s, strata_task_release(s, "1", t.token));
    end = end_of("1", 0, "done", "by hand");
    ok(s, strata_task_next(s, &anybody, 0, 0, 0, &end, &t));
    assert_string_equal(t.id, "3");
    assert_string_equal(get(s, "1").result, "by hand");
    assert_string_equal(get(s, "2").state, "done");
    strata_close(s);
}

/* --- long thoughts, late words ---------------------------------------------------------------- */

/* An hour of renewals: nobody else can have it, until the process is gone. */
static void test_an_hour_of_thought(void **state)
{
    (void)state;
    world_init("a");
    strata *ann = world_open("a", "ann"), *bob = world_open("a", "bob");
    strata_task_taken t, other;
    uint64_t run;
    int fd;
    add(ann, "think", NULL);
    ok(ann, strata_run_begin(ann, &run, &fd));
    ok(ann, strata_task_claim(ann, "1", 600000, run, &t));
    for (int i = 0; i < 6; i++) {
        world_term_ms += 590000; /* the machine may be slow, too */
        expect_code(bob, strata_task_claim(bob, "1", 600000, 0, &other), STRATA_TIMEOUT);
        ok(ann, strata_task_renew(ann, "1", t.token, 600000));
    }
    ok(ann, strata_task_checkpoint(ann, "1", t.token, "thought", STRATA_NUL, 600000));
    strata_run_end(ann, run, fd); /* as if it had died */
    ok(bob, strata_task_claim(bob, "1", 600000, 0, &other));
    assert_true(other.token > t.token);
    assert_string_equal(get(bob, "1").checkpoint, "thought");
    expect_code(ann, strata_task_renew(ann, "1", t.token, 600000), STRATA_CONFLICT);
    expect_code(ann, finish(ann, "1", t.token, "done", "late"), STRATA_CONFLICT);
    strata_close(ann);
    strata_close(bob);
}

/* Of two starts of one agent the earlier one's late words change nothing of the later one's. */
static void test_a_dead_namesake(void **state)
{
    (void)state;
    world_init("a");
    strata *s[] = {world_open_life("a", "ann", 1), world_open_life("a", "ann", 2)};
    add(s[0], "one", NULL);
    uint64_t old = claim(s[0], "1");
    ok(s[0], strata_task_release(s[0], "1", old));
    uint64_t new = claim(s[1], "1");
    strata_task_taken t;
    strata_task_end end = end_of("1", old, "retry", "late");
    for (int i = 0; i < 2; i++) {
        end.token = i == 0 ? old : 0; /* with its token, and by its name alone */
        expect_code(s[0], strata_task_finish(s[0], &end, NULL), STRATA_CONFLICT);
        expect_code(s[0], strata_task_next(s[0], &anybody, 0, 0, 0, &end, &t), STRATA_CONFLICT);
        expect_code(s[0], strata_task_checkpoint(s[0], "1", end.token, "late", 4, 0),
                    STRATA_CONFLICT);
        expect_code(s[0], strata_task_release(s[0], "1", end.token), STRATA_CONFLICT);
    }
    strata_task got = get(s[1], "1");
    assert_int_equal(got.token, new);
    assert_int_equal(got.checkpoint_size, 0);
    assert_int_equal(got.retries, 0);
    ok(s[1], finish(s[1], "1", 0, "done", "good"));
    strata_close(s[0]);
    strata_close(s[1]);
}

/* --- killed in between ------------------------------------------------------------------------ */

static void checkpoint_and_end(void)
{
    strata *s = world_open("a", "ann");
    strata_task_taken t;
    ok(s, strata_task_claim(s, "1", 0, 0, &t));
    ok(s, strata_task_checkpoint(s, "1", t.token, "half", 4, 0));
    strata_task_end end = end_of("1", t.token, "done", "all");
    ok(s, strata_task_next(s, &anybody, 0, 0, 0, &end, &t));
    FILE *f = fopen(world_path("answered"), "w");
    assert_non_null(f);
    fclose(f);
    strata_close(s);
}

/* At every change to the file system: what the ledger has, the channel has after the next open, and
 * nothing else; an end that was answered is there. */
static void test_killed_at_every_change(void **state)
{
    (void)state;
    bool killed = true;
    for (uint64_t strike = 1; killed; strike++) {
        world_init("a");
        strata *s = world_open("a", "boss");
        add(s, "one", NULL);
        add(s, "two", "1");
        strata_close(s);
        killed = world_killed(checkpoint_and_end, strike, 0);
        bool answered = access(world_path("answered"), F_OK) == 0;
        s = world_open("a", "bob");
        strata_task t = get(s, "1");
        bool done = strcmp(t.state, "done") == 0, half = t.checkpoint_size > 0;
        assert_true(!done || (half && strcmp(t.result, "all") == 0));
        assert_true(done || (!answered && t.result_size == 0));
        struct st_claim c;
        const char *name = "#1";
        ok(s, st_claims_look(s, &name, 1, &c));
        assert_true((c.outcome == ST_CLAIM_DONE) == done);
        bool waiting = strcmp(get(s, "2").state, "waiting") == 0;
        assert_true(waiting == !done);
        strata_close(s);
        world_run("rm -rf a answered");
    }
}

/* --- power ------------------------------------------------------------------------------------ */

static void answered(const char *what)
{
    FILE *f = fopen(world_path("answered"), "a");
    assert_non_null(f);
    fprintf(f, "%s\n", what);
    fclose(f);
}

static bool was_answered(const char *what)
{
    char line[32];
    bool was = false;
    FILE *f = fopen(world_path("answered"), "r");
    while (f != NULL && !was && fgets(line, sizeof line, f) != NULL)
        was = strncmp(line, what, strlen(what)) == 0;
    if (f != NULL)
        fclose(f);
    return was;
}

static void day_of_work(void)
{
    strata *s = world_open("a", "ann");
    strata_task_taken t;
    char id[STRATA_TASK_SIZE];
    add(s, "after it", "1");
    answered("add");
    ok(s, strata_task_next(s, &anybody, 0, 0, 0, NULL, &t));
    answered("took");
    ok(s, strata_task_checkpoint(s, "1", t.token, "half", 4, 0));
    answered("checkpoint");
    strata_task_end end = end_of("1", t.token, "done", "all");
    ok(s, strata_task_next(s, &anybody, 0, 0, 0, &end, &t));
    answered("done");
    ok(s, strata_message_send(s, "bob", "look at 1", 9, true, id));
    answered("message");
    strata_close(s);
}

static int count_message(void *arg, const strata_message *m)
{
    (void)m;
    ++*(int *)arg;
    return 0;
}

/* Power fails at a change to the file system, and what was not flushed is gone: what was answered
 * is there, in the facts too, and the index that stayed, or that is built anew, agrees with it. */
static void test_power_fails(void **state)
{
    (void)state;
    bool killed = true;
    for (uint64_t strike = 1; killed; strike += 2) {
        world_init("a");
        strata *s = world_open("a", "boss");
        add(s, "one", NULL);
        strata_close(s);
        world_power_watch("a");
        killed = world_killed(day_of_work, strike, 0);
        world_power_fail("a", strike / 2 % 2 == 0);
        s = world_open("a", "bob");
        strata_task t = get(s, "1");
        if (was_answered("done")) {
            assert_string_equal(t.state, "done");
            assert_string_equal(t.result, "all");
        }
        if (was_answered("checkpoint"))
            assert_string_equal(t.checkpoint, "half");
        if (was_answered("took") && strcmp(t.state, "done") != 0)
            assert_string_equal(t.holder, "ann");
        if (was_answered("add"))
            assert_string_equal(get(s, "2").title, "after it");
        int messages = 0;
        ok(s, strata_message_each(s, "bob", 0, count_message, &messages));
        assert_true(messages == 1 || !was_answered("message"));
        strata_close(s);
        world_run("rm -rf a answered disk");
    }
    assert_true(was_answered("message") || !killed);
}

/* --- reports from another copy ---------------------------------------------------------------- */

/* a has the role, and ten tasks; b knows them. */
static void two_copies(void)
{
    world_init("a");
    world_init("b");
    strata *a = world_open("a", "ann");
    for (int i = 0; i < 10; i++)
        add(a, "task", NULL);
    strata_close(a);
    world_merge("b", "a");
}

static void report(const char *id, uint64_t token, const char *state, const char *text,
                   uint64_t retry_in_ms)
{
    strata *b = world_open("b", "bob");
    bool accepted;
    strata_task_end end = end_of(id, token, state, text);
    end.retry_in_ms = retry_in_ms;
    ok(b, strata_task_finish(b, &end, &accepted));
    assert_false(accepted);
    strata_close(b);
}

/* Whoever decided died between the ledger and the record. */
static void test_what_was_accepted_is_not_refused(void **state)
{
    (void)state;
    two_copies();
    report("1", 0, "done", "from b", 0);
    report("2", 0, "done", "from b", 0);
    world_merge("a", "b");
    strata *a = world_open("a", "ann");
    struct st_claim_end end = {
        .name = "#1", .outcome = ST_OUTCOME_COMMITTED, .result = "from b", .result_size = 6};
    ok(a, st_claims_finish(a, &end));
    end.name = "#2";
    end.result = "by ann";
    ok(a, st_claims_finish(a, &end));
    strata_close(a);
    a = world_open("a", "cid");
    assert_string_equal(get(a, "1").result, "from b");
    assert_string_equal(get(a, "2").result, "by ann");
    world_shows(a, "#1", "reported", "");
    world_shows(a, "#1", "refused", "");
    world_shows(a, "#2", "reported", "");
    assert_non_null(strstr(world_get(a, "#2", "refused"), "claimed meanwhile"));
    strata_close(a);
}

static char decided[8];

static void decide_it(void)
{
    strata *a = world_open("a", "cid");
    (void)get(a, decided);
    strata_close(a);
}

/* At one more change of the disk each time, until the decision is through. */
static void test_killed_while_deciding(void **state)
{
    (void)state;
    bool killed = true;
    two_copies();
    for (unsigned strike = 1; killed; strike++) {
        char entity[9];
        assert_true(strike <= 10);
        snprintf(decided, sizeof decided, "%u", strike);
        snprintf(entity, sizeof entity, "#%u", strike);
        report(decided, 0, "done", "from b", 0);
        world_merge("a", "b");
        killed = world_killed(decide_it, strike, 0);
        strata *a = world_open("a", "ann");
        assert_string_equal(get(a, decided).state, "done");
        world_shows(a, entity, "result", "from b");
        world_shows(a, entity, "reported", "");
        world_shows(a, entity, "refused", "");
        strata_close(a);
    }
}

static int look_at_one(void *arg, size_t i)
{
    (void)arg;
    char id[8];
    snprintf(id, sizeof id, "%zu", i % 10 + 1);
    strata *a = world_open("a", "cid");
    bool done = strcmp(get(a, id).state, "done") == 0;
    strata_close(a);
    return !done;
}

static void test_many_decide_at_once(void **state)
{
    (void)state;
    two_copies();
    for (int i = 1; i <= 10; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        report(id, 0, "done", "from b", 0);
    }
    world_merge("a", "b");
    world_processes(16, look_at_one, NULL);
    strata *a = world_open("a", "cid");
    for (int i = 1; i <= 10; i++) {
        char entity[8];
        snprintf(entity, sizeof entity, "#%d", i);
        world_shows(a, entity, "refused", "");
        world_shows(a, entity, "reported", "");
        world_shows(a, entity, "result", "from b");
    }
    strata_close(a);
}

/* Called before and after each search for ends that are to be copied, counted from 1. */
static void (*at_search)(strata *s, unsigned nth);
static unsigned searches;

int __real_st_claims_uncopied(strata *s,
                              int (*visit)(void *, const char *, const struct st_claim_kept *),
                              void *arg);
int __wrap_st_claims_uncopied(strata *s,
                              int (*visit)(void *, const char *, const struct st_claim_kept *),
                              void *arg);

int __wrap_st_claims_uncopied(strata *s,
                              int (*visit)(void *, const char *, const struct st_claim_kept *),
                              void *arg)
{
    if (at_search != NULL)
        at_search(s, ++searches);
    int code = __real_st_claims_uncopied(s, visit, arg);
    if (at_search != NULL)
        at_search(s, ++searches);
    return code;
}

/* Has decided, and does not come to copy the end. */
static void die_decided(strata *s, unsigned nth)
{
    (void)nth;
    if (strcmp(world_get(s, "#1", "reported"), "") == 0)
        raise(SIGKILL);
}

static void decide_and_die(void)
{
    at_search = die_decided;
    decide_it();
}

static unsigned decide_at;

static void decide_meanwhile(strata *s, unsigned nth)
{
    (void)s;
    if (nth != decide_at)
        return;
    at_search = NULL;
    assert_true(world_killed(decide_and_die, 0, 0));
}

/* Another process decides about the report while this one settles: before or after each of its steps. */
static void test_decided_while_settling(void **state)
{
    (void)state;
    bool came = true;
    for (decide_at = 1; came; decide_at++) {
        two_copies();
        report("1", 0, "done", "from b", 0);
        world_merge("a", "b");
        strcpy(decided, "1");
        strata *a = world_open("a", "ann");
        searches = 0;
        at_search = decide_meanwhile;
        strata_task t = get(a, "1");
        came = at_search == NULL;
        at_search = NULL;
        assert_string_equal(t.state, "done");
        world_shows(a, "#1", "result", "from b");
        world_shows(a, "#1", "reported", "");
        world_shows(a, "#1", "refused", "");
        strata_close(a);
        world_run("rm -rf a b");
    }
    assert_true(decide_at > 4);
}

static void test_a_retry_from_afar(void **state)
{
    (void)state;
    two_copies();
    strata *a = world_open("a", "bob");
    uint64_t token = claim(a, "1");
    strata_close(a);
    report("1", token, "retry", "no network", 60000);
    strata *b = world_open("b", "bob");
    assert_string_not_equal(get(b, "1").state, "failed");
    strata_close(b);
    world_merge("a", "b");
    a = world_open("a", "ann");
    strata_task t = get(a, "1");
    assert_string_equal(t.state, "deferred");
    assert_string_equal(t.reason, "no network");
    assert_int_equal(t.retries, 1);
    world_shows(a, "#1", "reported", "");
    world_shows(a, "#1", "refused", "");
    strata_close(a);
}

/* A copy that does not decide refuses nothing either, whatever it knows of claims. */
static void test_only_who_decides_refuses(void **state)
{
    (void)state;
    two_copies();
    strata *a = world_open("a", "ann");
    uint64_t token = claim(a, "1");
    ok(a, strata_task_release(a, "1", token));
    strata_close(a);
    world_merge("b", "a");
    report("1", 0, "done", "from b", 0);
    strata *b = world_open("b", "bob");
    (void)get(b, "1");
    assert_string_not_equal(world_get(b, "#1", "reported"), "");
    world_shows(b, "#1", "refused", "");
    strata_close(b);
}

static int report_again(strata *b, const char *id, uint64_t token, const char *state,
                        const char *text)
{
    bool accepted;
    strata_task_end end = end_of(id, token, state, text);
    return strata_task_finish(b, &end, &accepted);
}

/* A second report would take the place of the first, and nobody would know: it is refused, unless it
 * is of a later claim. */
static void test_one_report_of_a_claim(void **state)
{
    (void)state;
    two_copies();
    report("1", 0, "done", "from b", 0);
    strata *b = world_open("b", "bob");
    expect_code(b, report_again(b, "1", 0, "failed", "no, it has not"), STRATA_CONFLICT);
    assert_non_null(strstr(strata_last_error(b)->message, "1 is reported as done already by bob"));
    uint64_t records = world_records("b", NULL);
    ok(b, report_again(b, "1", 0, "done", "from b")); /* the same is kept once */
    assert_true(world_records("b", NULL) == records);
    ok(b, report_again(b, "2", 3, "done", "of a claim that has lapsed"));
    expect_code(b, report_again(b, "2", 0, "done", "of nobody's"), STRATA_CONFLICT);
    ok(b, report_again(b, "2", 7, "failed", "of the next one"));
    strata_close(b);
    world_merge("a", "b");
    strata *a = world_open("a", "ann");
    assert_string_equal(get(a, "1").state, "done");
    assert_string_equal(get(a, "1").result, "from b");
    world_shows(a, "#1", "refused", "");
    strata_close(a);
}

/* The same with the next one taken in the same step. */
static void test_no_second_report_with_the_next(void **state)
{
    (void)state;
    two_copies();
    report("1", 5, "done", "from b", 0);
    strata *b = world_open("b", "bob");
    strata_task_taken taken;
    strata_task_query q = {.size = sizeof q, .agent = "bob"};
    strata_task_end end = end_of("1", 5, "failed", "no, it has not");
    expect_code(b, strata_task_next(b, &q, 0, 0, 0, &end, &taken), STRATA_CONFLICT);
    assert_non_null(strstr(strata_last_error(b)->message, "reported as done already"));
    strata_close(b);
}

/* `claim` would be no advice there. */
static void test_a_checkpoint_where_nobody_claims(void **state)
{
    (void)state;
    two_copies();
    strata *b = world_open("b", "bob");
    expect_code(b, strata_task_checkpoint(b, "1", 0, "half", 4, 0), STRATA_UNAVAILABLE);
    assert_null(strstr(strata_last_error(b)->hint, "strata claim"));
    assert_non_null(strstr(strata_last_error(b)->hint, "strata coordinator show"));
    strata_close(b);
    strata *a = world_open("a", "ann");
    expect_code(a, strata_task_checkpoint(a, "1", 0, "half", 4, 0), STRATA_CONFLICT);
    assert_non_null(strstr(strata_last_error(a)->hint, "strata claim"));
    strata_close(a);
}

/* What a forced move has lost may have been copied: what the new one decides is later than that. */
static void test_after_a_forced_move(void **state)
{
    (void)state;
    two_copies();
    strata *a = world_open("a", "ann");
    for (int i = 0; i < 3; i++) {
        strata_task_end end = end_of("1", claim(a, "1"), "retry", "lost");
        ok(a, strata_task_finish(a, &end, NULL));
    }
    strata_close(a);
    /* The records travel, the ledger does not. */
    world_run("cp -r b/.strata/strong kept && true");
    world_merge("b", "a");
    world_run("rm -rf b/.strata/strong && mv kept b/.strata/strong");
    strata *b = world_open("b", "bob");
    ok(b, strata_coordinator_force(b, "operator", "a is gone"));
    assert_int_equal(get(b, "1").retries, 3);
    ok(b, finish(b, "1", claim(b, "1"), "done", "after the move"));
    assert_string_equal(get(b, "1").state, "done");
    strata_close(b);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_a_claim_looks_again),
        TEST(test_next_looks_again),
        TEST(test_going_on_sees_what_changed),
        TEST(test_a_look_at_the_wrong_moment),
        TEST(test_one_looks_for_all),
        TEST(test_cancelled_and_done_at_once),
        TEST(test_a_late_retry_changes_nothing),
        TEST(test_given_back_and_not_told),
        TEST(test_what_is_quiet_is_copied_apart),
        TEST(test_next_gives_back),
        TEST(test_who_waits_sees_an_end_that_was_not_told),
        TEST(test_next_ends_what_is_not_claimed),
        TEST(test_an_hour_of_thought),
        TEST(test_a_dead_namesake),
        TEST(test_killed_at_every_change),
        TEST(test_power_fails),
        TEST(test_what_was_accepted_is_not_refused),
        TEST(test_killed_while_deciding),
        TEST(test_many_decide_at_once),
        TEST(test_decided_while_settling),
        TEST(test_a_retry_from_afar),
        TEST(test_only_who_decides_refuses),
        TEST(test_one_report_of_a_claim),
        TEST(test_no_second_report_with_the_next),
        TEST(test_a_checkpoint_where_nobody_claims),
        TEST(test_after_a_forced_move),
    };
    return cmocka_run_group_tests_name("lib task ends", tests, NULL, NULL);
}
