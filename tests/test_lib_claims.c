/* test_lib_claims.c - claims on tasks: real processes that want the same ones, terms, crashes
 * between the two logs. */
#include "lib_world.h"

#include "lib/claims.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOUR 3600000ull

static uint64_t claim(strata *s, const char *name)
{
    struct st_claim c;
    ok(s, st_claims_take(s, &name, 1, 1, 0, 0, NULL, &c));
    assert_true(c.token != 0);
    assert_string_equal(c.name, name);
    return c.token;
}

static struct st_claim look(strata *s, const char *name)
{
    struct st_claim c;
    ok(s, st_claims_look(s, &name, 1, &c));
    return c;
}

static struct st_claim_end done(const char *name, uint64_t token, const char *result)
{
    return (struct st_claim_end){name, token, ST_OUTCOME_COMMITTED, result, strlen(result)};
}

static bool says(strata *s, const char *text)
{
    if (strstr(strata_last_error(s)->message, text) != NULL)
        return true;
    print_message("said: %s\n", strata_last_error(s)->message);
    return false;
}

static void test_one_takes_another_is_told_who(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    struct st_claim c;
    const char *name = "#143";
    assert_int_equal(look(a, name).token, 0);
    uint64_t token = claim(a, name);
    expect_code(b, st_claims_take(b, &name, 1, 1, 0, 0, NULL, &c), STRATA_TIMEOUT);
    assert_int_equal(c.token, 0);
    assert_true(says(b, "143 is claimed by anna"));
    c = look(b, name);
    assert_true(c.held && c.left_ms > HOUR - 60000 && c.left_ms <= HOUR);
    assert_string_equal(c.holder, "anna");

    struct st_claim_end end = done(name, token + 1, "made up");
    expect_code(b, st_claims_finish(b, &end), STRATA_CONFLICT);
    assert_true(says(b, "claimed by anna"));
    expect_code(b, st_claims_checkpoint(b, name, token + 1, "x", 1, 0), STRATA_CONFLICT);
    expect_code(b, st_claims_renew(b, name, token + 1, 0), STRATA_CONFLICT);
    expect_code(b, st_claims_release(b, name, token + 1), STRATA_CONFLICT);

    ok(a, st_claims_checkpoint(a, name, token, "half", 4, 0));
    struct st_claim_kept kept;
    ok(b, st_claims_kept(b, name, &kept));
    assert_true(st_str_equal(kept.checkpoint, ST_STR("half")));
    assert_int_equal(kept.checkpoint_token, token);
    ok(a, st_claims_release(a, name, token));
    end = done(name, token, "too late");
    expect_code(a, st_claims_finish(a, &end), STRATA_CONFLICT);
    assert_true(says(a, "given back"));
    assert_true(claim(b, name) > token);
    strata_close(a);
    strata_close(b);
}

static void test_done_once_until_reopened(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    const char *name = "#1";
    struct st_claim c;
    uint64_t token = claim(a, name);
    struct st_claim_end end = done(name, token, "built");
    ok(a, st_claims_finish(a, &end));
    ok(a, st_claims_finish(a, &end)); /* the answer was lost: the same again */
    end.result = "other";
    expect_code(a, st_claims_finish(a, &end), STRATA_CONFLICT);
    end.outcome = ST_OUTCOME_FAILED;
    expect_code(a, st_claims_finish(a, &end), STRATA_CONFLICT);
    expect_code(b, st_claims_take(b, &name, 1, 1, 0, 0, NULL, &c), STRATA_CONFLICT);
    assert_true(says(b, "1 is done (anna)"));
    expect_code(a, st_claims_checkpoint(a, name, token, "x", 1, 0), STRATA_CONFLICT);

    ok(b, st_claims_reopen(b, name, "wrong branch"));
    end = done(name, token, "built");
    expect_code(a, st_claims_finish(a, &end), STRATA_CONFLICT);
    token = claim(b, name);
    expect_code(a, st_claims_reopen(a, name, "mine"), STRATA_CONFLICT);
    end = done(name, token, "built again");
    end.outcome = ST_OUTCOME_FAILED;
    ok(b, st_claims_finish(b, &end));
    expect_code(a, st_claims_take(a, &name, 1, 1, 0, 0, NULL, &c), STRATA_CONFLICT);
    assert_true(says(a, "1 is failed (bert)"));
    /* Behind an end that is accepted it is no conflict: nothing is free. */
    uint64_t other = claim(a, "#2");
    end = done("#2", other, "built, too");
    expect_code(a, st_claims_take(a, &name, 1, 1, 0, 0, &end, &c), STRATA_TIMEOUT);
    assert_int_equal(look(a, "#2").outcome, ST_CLAIM_DONE);
    ok(a, st_claims_reopen(a, "#never", NULL));
    strata_close(a);
    strata_close(b);
}

static void test_the_first_free_one_and_the_next(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    const char *names[ST_CLAIMS_MAX + 1] = {"#1", "#2", "#3"};
    struct st_claim c;
    uint64_t first = claim(a, "#1");
    ok(b, st_claims_take(b, names, 3, 3, 0, 0, NULL, &c));
    assert_string_equal(c.name, "#2");
    assert_int_equal(look(b, "#3").token, 0); /* skipped, not taken and given back */

    struct st_claim_end end = done("#1", first, "ok");
    ok(a, st_claims_take(a, names, 3, 3, 0, 0, &end, &c));
    assert_string_equal(c.name, "#3");
    assert_int_equal(look(a, "#1").outcome, ST_CLAIM_DONE);
    expect_code(b, st_claims_take(b, names, 3, 3, 0, 0, NULL, &c), STRATA_TIMEOUT);
    assert_true(says(b, "none of 3 is free: 2 is claimed by bert"));

    /* A refused end is the answer; the next one is taken all the same. */
    end = done("#2", 1, "not mine");
    names[0] = "#4";
    expect_code(a, st_claims_take(a, names, 1, 1, 0, 0, &end, &c), STRATA_CONFLICT);
    assert_string_equal(c.name, "#4");
    for (size_t i = 0; i <= ST_CLAIMS_MAX; i++)
        names[i] = "#5";
    strata_close(a);
    strata_close(b);
}

/* --- limits ----------------------------------------------------------------------------------- */

static void test_limits(void **state)
{
    (void)state;
    world_init("w");
    strata *s = world_open("w", "anna");
    static char text[ST_CLAIM_TEXT_SIZE_MAX + 2];
    char name[300];
    struct st_claim c;
    const char *p = name;
    memset(text, 'x', sizeof text - 1);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    expect_code(s, st_claims_take(s, &p, 1, 1, 0, 0, NULL, &c), STRATA_LIMIT);
    p = "";
    expect_code(s, st_claims_take(s, &p, 1, 1, 0, 0, NULL, &c), STRATA_INVALID);
    p = "#1";
    expect_code(s, st_claims_take(s, &p, 1, 1, 31 * 24 * HOUR, 0, NULL, &c), STRATA_LIMIT);
    uint64_t token = claim(s, p);
    ok(s, st_claims_checkpoint(s, p, token, text, ST_CLAIM_TEXT_SIZE_MAX, 0));
    expect_code(s, st_claims_checkpoint(s, p, token, text, ST_CLAIM_TEXT_SIZE_MAX + 1, 0),
                STRATA_LIMIT);
    expect_code(s, st_claims_checkpoint(s, p, token, "\xff", 1, 0), STRATA_INVALID);
    struct st_claim_end end = {p, token, ST_OUTCOME_COMMITTED, text, ST_CLAIM_TEXT_SIZE_MAX + 1};
    expect_code(s, st_claims_finish(s, &end), STRATA_LIMIT);
    end.result_size--;
    ok(s, st_claims_finish(s, &end));
    struct st_claim_kept kept;
    ok(s, st_claims_kept(s, p, &kept));
    assert_int_equal(kept.checkpoint.n, ST_CLAIM_TEXT_SIZE_MAX);
    assert_int_equal(kept.result.n, ST_CLAIM_TEXT_SIZE_MAX);
    expect_code(s, st_claims_kept(s, "#2", &kept), STRATA_NOT_FOUND);
    strata_close(s);
}

/* --- terms ------------------------------------------------------------------------------------ */

static void test_a_term_ends_and_a_late_holder_may_still_finish(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    uint64_t token = claim(a, "#1"), other = claim(a, "#2");
    world_term_ms += HOUR + 1000;
    assert_false(look(b, "#1").held);
    uint64_t next = claim(b, "#1");
    assert_true(next > token);
    struct st_claim_end end = done("#1", token, "late");
    expect_code(a, st_claims_finish(a, &end), STRATA_CONFLICT);
    assert_true(says(a, "1 is claimed by bert"));
    assert_non_null(strstr(strata_last_error(a)->hint, "no longer yours"));
    /* Nobody took this one since: a checkpoint has it again, and it is not lost. */
    ok(a, st_claims_checkpoint(a, "#2", other, "more", 4, 0));
    assert_true(look(b, "#2").held);
    end = done("#2", other, "late, but the first");
    ok(a, st_claims_finish(a, &end));
    strata_close(a);
    strata_close(b);
}

static void test_another_clock_gives_one_full_term_once(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    const char *name = "#1";
    struct st_claim c;
    claim(a, name);
    world_term_ms += HOUR - 1000;
    world_time_space = 77; /* a reboot: nothing is known of the old deadline */
    expect_code(b, st_claims_take(b, &name, 1, 1, 0, 0, NULL, &c), STRATA_TIMEOUT);
    assert_true(look(b, name).held);
    world_term_ms += HOUR + 1000;
    ok(b, st_claims_take(b, &name, 1, 1, 0, 0, NULL, &c));
    strata_close(a);
    strata_close(b);
}

static void test_whatever_an_agent_does_extends_its_claims(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna");
    uint64_t token = claim(a, "#1");
    strata_close(a);
    for (int i = 0; i < 8; i++) {
        world_term_ms += HOUR / 2;
        a = world_open("w", "anna"); /* any command */
        assert_true(look(a, "#1").left_ms > HOUR - 60000);
        strata_close(a);
    }
    assert_int_equal(look(a = world_open("w", "bert"), "#1").token, token);
    strata_close(a);

    /* It is not done again and again: not within a sixth of the term. */
    struct st_claim before, after;
    a = world_open("w", "anna");
    before = look(a, "#1");
    world_term_ms += HOUR / 12;
    strata *again = world_open("w", "anna");
    after = look(again, "#1");
    assert_true(after.left_ms <= before.left_ms - HOUR / 12 + 1);
    /* Another agent, another incarnation: not theirs to extend. */
    strata_close(again);
    world_term_ms += HOUR / 2;
    strata_close(world_open("w", "bert"));
    strata_options o = {.size = sizeof o, .agent = "anna", .incarnation = 5};
    strata_error error;
    assert_int_equal(strata_open(world_path("w"), &o, &again, &error), STRATA_OK);
    assert_true(look(again, "#1").left_ms < HOUR / 2);
    strata_close(again);
    strata_close(a);
}

/* More than one entry holds. */
static void test_all_claims_of_an_agent_are_extended(void **state)
{
    char name[8];
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna");
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "#%d", i);
        claim(a, name);
    }
    strata_close(a);
    for (int round = 0; round < 3; round++) {
        world_term_ms += HOUR / 2;
        strata_close(world_open("w", "anna")); /* any command */
        strata *b = world_open("w", "bert");
        for (int i = 0; i < 20; i++) {
            snprintf(name, sizeof name, "#%d", i);
            assert_true(look(b, name).left_ms > HOUR - 60000);
        }
        strata_close(b);
    }
}

static void test_a_dead_process_has_nothing(void **state)
{
    (void)state;
    world_init("w");
    pid_t pid = fork();
    if (pid == 0) {
        strata *s = world_open("w", "anna");
        const char *name = "#1";
        struct st_claim c;
        uint64_t run;
        int fd;
        ok(s, st_claims_run_begin(s, &run, &fd));
        ok(s, st_claims_take(s, &name, 1, 1, 0, run, NULL, &c));
        raise(SIGSTOP);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    strata *b = world_open("w", "bert");
    const char *name = "#1";
    struct st_claim c;
    assert_true(look(b, name).held); /* stopped, and yet alive */
    expect_code(b, st_claims_take(b, &name, 1, 1, 0, 0, NULL, &c), STRATA_TIMEOUT);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    assert_false(look(b, name).held);
    claim(b, name);
    strata_close(b);
}

/* A claim with a run and a term ends with whichever ends first: who is stopped, and so neither dies
 * nor renews, does not keep a task for ever. One rule, whoever asks. */
static void test_a_term_ends_though_the_process_lives(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna"), *b = world_open("w", "bert");
    const char *name = "#1";
    struct st_claim c;
    uint64_t run;
    int fd;
    ok(a, st_claims_run_begin(a, &run, &fd));
    ok(a, st_claims_take(a, &name, 1, 1, 1000, run, NULL, &c));
    assert_true(c.left_ms <= 1000);
    ok(a, st_claims_renew(a, name, c.token, 1000));
    world_term_ms += 1001;
    assert_false(look(b, name).held);
    claim(b, "#2"); /* whatever is ordered next, the end of that term is written before it */
    expect_code(a, st_claims_renew(a, name, c.token, 1000), STRATA_CONFLICT);
    uint64_t next = claim(b, name);
    assert_true(next > c.token);
    struct st_claim_end end = done(name, c.token, "late");
    expect_code(a, st_claims_finish(a, &end), STRATA_CONFLICT);
    st_claims_run_end(a, run, fd);
    strata_close(a);
    strata_close(b);
}

/* --- the outbox ------------------------------------------------------------------------------- */

struct copy {
    size_t count;
    uint64_t last;
    char names[8][16];
    struct st_claim_kept kept[8];
};

static int copy_one(void *arg, const char *name, const struct st_claim_kept *kept)
{
    struct copy *c = arg;
    assert_true(c->count < 8);
    assert_true(kept->position > c->last);
    snprintf(c->names[c->count], sizeof c->names[0], "%s", name);
    c->kept[c->count++] = *kept;
    c->last = kept->position;
    return 0;
}

static struct copy uncopied(strata *s)
{
    struct copy c = {.count = 0};
    ok(s, st_claims_uncopied(s, copy_one, &c));
    return c;
}

static void test_what_was_not_copied_is_remembered(void **state)
{
    (void)state;
    world_init("w");
    strata *a = world_open("w", "anna");
    uint64_t one = claim(a, "#1"), two = claim(a, "#2");
    assert_int_equal(uncopied(a).count, 0);
    ok(a, st_claims_checkpoint(a, "#1", one, "half", 4, 0));
    ok(a, st_claims_checkpoint(a, "#2", two, "half", 4, 0));
    struct st_claim_end end = done("#1", one, "built");
    ok(a, st_claims_finish(a, &end));
    strata_close(a); /* the crash: nothing was copied */

    a = world_open("w", "bert");
    struct copy c = uncopied(a);
    assert_int_equal(c.count, 2); /* one row a claim, the last position */
    assert_string_equal(c.names[0], "#2");
    assert_string_equal(c.names[1], "#1");
    assert_int_equal(c.kept[1].outcome, ST_CLAIM_DONE);
    assert_int_equal(c.kept[1].token, one);
    st_claims_copied(a, c.kept[0].position, 1, (struct st_dot){.counter = 0});
    assert_int_equal(uncopied(a).count, 1); /* here at once */
    strata *b = world_open("w", "cleo");
    assert_int_equal(uncopied(b).count, 2); /* elsewhere with the next entry */
    claim(a, "#3");
    assert_int_equal(uncopied(b).count, 1);
    ok(b, st_claims_reopen(b, "#1", "again"));
    c = uncopied(b);
    assert_int_equal(c.count, 1);
    assert_int_equal(c.kept[0].outcome, ST_CLAIM_NONE);
    assert_true(c.kept[0].token > one);
    st_claims_copied(b, c.last, 1, (struct st_dot){.counter = 0});
    claim(b, "#1");
    assert_int_equal(uncopied(a).count, 0);
    strata_close(a);
    strata_close(b);
}

/* --- many workers ----------------------------------------------------------------------------- */

#define TASKS   48
#define WORKERS 8

static uint32_t *took; /* shared: how often each task was finished */

static int worker(void *arg, size_t i)
{
    char agent[16], names[TASKS][8];
    uint64_t x = 1 + i;
    (void)arg;
    snprintf(agent, sizeof agent, "w%zu", i);
    for (int t = 0; t < TASKS; t++)
        snprintf(names[t], sizeof names[t], "#%d", t);
    strata *s = world_open("w", agent);
    struct st_claim_end end = {.name = NULL};
    for (int from = 0; from < TASKS;) {
        const char *list[ST_CLAIMS_MAX];
        size_t count = 0;
        for (int t = from; t < TASKS && count < ST_CLAIMS_MAX; t++)
            list[count++] = names[t];
        struct st_claim c;
        int code = st_claims_take(s, list, count, count, 0, 0, end.name != NULL ? &end : NULL, &c);
        end.name = NULL;
        if (c.token == 0) {
            assert_true(code == STRATA_TIMEOUT || code == STRATA_CONFLICT || code == STRATA_OK);
            from += ST_CLAIMS_MAX;
            continue;
        }
        assert_int_equal(code, STRATA_OK);
        int t = atoi(c.name + 1);
        assert_int_equal(__atomic_fetch_add(&took[t], 1, __ATOMIC_SEQ_CST), 0);
        end = (struct st_claim_end){names[t], c.token, ST_OUTCOME_COMMITTED, "ok", 2};
        if (world_random(&x) % 4 == 0) {
            ok(s, st_claims_finish(s, &end));
            end.name = NULL;
        }
    }
    if (end.name != NULL)
        ok(s, st_claims_finish(s, &end));
    strata_close(s);
    return 0;
}

static void test_many_workers_share_the_tasks(void **state)
{
    (void)state;
    world_init("w");
    took =
        mmap(NULL, TASKS * sizeof *took, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    world_processes(WORKERS, worker, NULL);
    strata *s = world_open("w", "judge");
    for (int t = 0; t < TASKS; t++) {
        char name[8];
        snprintf(name, sizeof name, "#%d", t);
        assert_int_equal(took[t], 1);
        assert_int_equal(look(s, name).outcome, ST_CLAIM_DONE);
    }
    munmap(took, TASKS * sizeof *took);
    strata_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_takes_another_is_told_who),
        TEST(test_done_once_until_reopened),
        TEST(test_the_first_free_one_and_the_next),
        TEST(test_limits),
        TEST(test_a_term_ends_and_a_late_holder_may_still_finish),
        TEST(test_another_clock_gives_one_full_term_once),
        TEST(test_whatever_an_agent_does_extends_its_claims),
        TEST(test_all_claims_of_an_agent_are_extended),
        TEST(test_a_dead_process_has_nothing),
        TEST(test_a_term_ends_though_the_process_lives),
        TEST(test_what_was_not_copied_is_remembered),
        TEST(test_many_workers_share_the_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
