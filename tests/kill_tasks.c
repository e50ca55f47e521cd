/*
 * kill_tasks.c - workers on one queue, killed and stopped at random.
 *
 *   kill_tasks [-w WORKERS] [-t TASKS] [-s SEED] [-d PARENT_DIRECTORY]
 *
 * Each worker takes tasks, keeps a checkpoint of some, and finishes them. Most take with their run
 * file, so that their task is free as soon as they are dead; some only for a short term. At random
 * points (with a task, after a checkpoint, right before and right after the end was reported) a
 * worker kills itself, or stops itself for longer than its term and goes on as if nothing had
 * happened. Dead ones are replaced. It ends when every task is done.
 *
 * A worker reports through a pipe each end that was accepted (task, token), each that was refused,
 * and each task that it took with the checkpoint that it was given. Checked:
 *   - every task is done, and shows the result of exactly one accepted end;
 *   - no task has two accepted ends; the result that it shows is that of the accepted one, unless
 *     the worker died before it could report it;
 *   - tokens of one task only grow, and a checkpoint that was acknowledged is what the next gets.
 */
#include "kill_tools.h"
#include "strata.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS_MAX  64
#define TASKS_MAX    4000
#define TERM_MS      1500u
#define TIME_LIMIT_S 150u

enum what { TOOK = 1, ENDED, REFUSED, KEPT };

struct told {
    uint32_t what, task;
    uint64_t token, value; /* TOOK, KEPT: number of the checkpoint */
};

static int told_pipe[2];
static char dir[256];
static uint32_t task_count = 2000, worker_count = 32;

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void tell(uint32_t what, uint32_t task, uint64_t token, uint64_t value)
{
    struct told t = {what, task, token, value};
    if (write(told_pipe[1], &t, sizeof t) != sizeof t)
        _exit(1);
}

static strata *open_as(const char *agent)
{
    strata_options o = {
        .size = sizeof o, .agent = agent, .program = "kill_tasks", .wait_ms = 30000};
    strata_error e;
    strata *s = NULL;
    if (strata_open(dir, &o, &s, &e) != STRATA_OK)
        fail("open", e.message);
    return s;
}

/* --- a worker --------------------------------------------------------------------------------- */

static uint64_t rng;

/* Dies here, or sleeps through its term, or neither. */
static void strike_maybe(void)
{
    uint64_t r = next_random(&rng) % 100;
    if (r < 2)
        kill(getpid(), SIGKILL);
    if (r == 99) {
        tell(0, 0, (uint64_t)getpid(), 0); /* to be continued later */
        kill(getpid(), SIGSTOP);
    }
}

static uint64_t checkpoint_of(strata *s, const char *id)
{
    strata_task t;
    if (strata_task_get(s, id, &t) != STRATA_OK)
        fail("show", strata_last_error(s)->message);
    return t.checkpoint_size > 0 ? strtoull(t.checkpoint, NULL, 10) : 0;
}

/* False: the task is somebody else's. */
static bool do_task(strata *s, const strata_task_taken *t)
{
    uint32_t task = (uint32_t)strtoul(t->id, NULL, 10);
    uint64_t step = checkpoint_of(s, t->id);
    char text[64];
    tell(TOOK, task, t->token, step);
    strike_maybe();
    if (next_random(&rng) % 4 == 0) {
        snprintf(text, sizeof text, "%" PRIu64, step + 1);
        int code = strata_task_checkpoint(s, t->id, t->token, text, STRATA_NUL, TERM_MS);
        if (code == STRATA_CONFLICT)
            return false;
        if (code != STRATA_OK)
            fail("checkpoint", strata_last_error(s)->message);
        tell(KEPT, task, t->token, step + 1);
        strike_maybe();
    }
    snprintf(text, sizeof text, "by token %" PRIu64, t->token);
    strata_task_end end = {.size = sizeof end,
                           .id = t->id,
                           .token = t->token,
                           .state = "done",
                           .text = text,
                           .text_size = STRATA_NUL};
    strike_maybe();
    int code = strata_task_finish(s, &end, NULL);
    strike_maybe();
    if (code != STRATA_OK && code != STRATA_CONFLICT)
        fail("done", strata_last_error(s)->message);
    tell(code == STRATA_OK ? ENDED : REFUSED, task, t->token, 0);
    return code == STRATA_OK;
}

static _Noreturn void worker_main(uint32_t slot, uint64_t seed)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char agent[16];
    uint64_t run = 0;
    int fd = -1;
    rng = seed;
    snprintf(agent, sizeof agent, "w%u", slot);
    strata *s = open_as(agent);
    if (slot % 4 != 0 && strata_run_begin(s, &run, &fd) != STRATA_OK)
        fail("run", strata_last_error(s)->message);
    strata_task_query q = {.size = sizeof q, .agent = agent};
    for (;;) {
        strata_task_taken t;
        int code = strata_task_next(s, &q, 300, TERM_MS, run, NULL, &t);
        if (code == STRATA_OK) {
            do_task(s, &t);
            continue;
        }
        strata_task_totals totals;
        if (code != STRATA_TIMEOUT)
            fail("next", strata_last_error(s)->message);
        if (strata_task_totals_get(s, &totals) == STRATA_OK && totals.unfinished == 0)
            break;
    }
    if (fd >= 0)
        strata_run_end(s, run, fd);
    strata_close(s);
    _exit(0);
}

/* --- the driver ------------------------------------------------------------------------------- */

struct slot {
    pid_t pid;
    uint64_t stopped_at; /* 0: running */
};

static struct {
    uint64_t token, checkpoint, ended; /* of the last who took it; token of the accepted end */
} tasks[TASKS_MAX + 1];

static uint64_t taken, ended, refused, kept, killed, stopped;

static void hear(const struct told *t)
{
    char text[128];
    if (t->what == 0)
        return;
    if (t->task == 0 || t->task > task_count)
        fail("report", "a task that was not added");
    snprintf(text, sizeof text, "task %u, token %" PRIu64, t->task, t->token);
    switch (t->what) {
    case TOOK:
        taken++;
        if (t->token == tasks[t->task].token)
            fail("one token was given to two", text);
        if (t->token < tasks[t->task].token)
            break; /* it was held up beyond its term before it came to tell; see ENDED */
        if (t->value < tasks[t->task].checkpoint)
            fail("an acknowledged checkpoint is gone", text);
        tasks[t->task].token = t->token;
        break;
    case KEPT:
        kept++;
        if (t->value > tasks[t->task].checkpoint)
            tasks[t->task].checkpoint = t->value;
        break;
    case ENDED:
        ended++;
        if (tasks[t->task].ended != 0)
            fail("two ends were accepted", text);
        if (t->token != tasks[t->task].token)
            fail("an end with a token that is not the last was accepted", text);
        tasks[t->task].ended = t->token;
        break;
    default:
        refused++;
    }
}

static void drain(int timeout_ms)
{
    struct pollfd p = {.fd = told_pipe[0], .events = POLLIN};
    while (poll(&p, 1, timeout_ms) > 0) {
        struct told batch[64]; /* writes of one are atomic: what is read is whole */
        ssize_t n = read(told_pipe[0], batch, sizeof batch);
        if (n <= 0 || n % (ssize_t)sizeof *batch != 0)
            fail("pipe", "a torn report");
        for (size_t i = 0; i < (size_t)n / sizeof *batch; i++)
            hear(&batch[i]);
        timeout_ms = 0;
    }
}

static void look_after(struct slot *s, uint32_t i, uint64_t *seed, unsigned *left)
{
    int status;
    if (s->stopped_at != 0 && now_ms() - s->stopped_at > TERM_MS * 2) {
        s->stopped_at = 0;
        kill(s->pid, SIGCONT);
    }
    if (s->pid == 0 || waitpid(s->pid, &status, WNOHANG | WUNTRACED) != s->pid)
        return;
    if (WIFSTOPPED(status)) {
        s->stopped_at = now_ms();
        stopped++;
        return;
    }
    s->pid = 0;
    if (WIFEXITED(status)) {
        if (WEXITSTATUS(status) != 0)
            fail("a worker", "gave up");
        (*left)--;
        return;
    }
    killed++;
    uint64_t x = next_random(seed);
    s->pid = fork();
    if (s->pid == 0)
        worker_main(i, x);
}

static int visit_check(void *arg, const strata_task *t)
{
    size_t *count = arg;
    uint32_t task = (uint32_t)strtoul(t->id, NULL, 10);
    uint64_t token = 0;
    if (strcmp(t->state, "done") != 0)
        fail("a task is not done", t->id);
    if (sscanf(t->result, "by token %" SCNu64, &token) != 1)
        fail("a task has no result", t->id);
    if (t->pending)
        fail("a task has two results", t->id);
    if (tasks[task].ended != 0 && tasks[task].ended != token)
        fail("a task shows another result than the accepted one", t->id);
    tasks[task].ended = token;
    ++*count;
    return 0;
}

static void check(void)
{
    size_t count = 0;
    strata_task_query q = {.size = sizeof q, .view = STRATA_TASKS_ALL};
    strata *s = open_as("check");
    if (strata_task_each(s, &q, visit_check, &count) != STRATA_OK)
        fail("list", strata_last_error(s)->message);
    if (count != task_count)
        fail("list", "tasks are missing");
    strata_close(s);
}

static void add_tasks(void)
{
    strata *s = open_as("boss");
    char id[STRATA_TASK_SIZE], before[STRATA_TASK_SIZE];
    for (uint32_t i = 1; i <= task_count; i++) {
        const char *after[] = {before};
        snprintf(before, sizeof before, "%u", i > 50 ? i - 50 : 1);
        strata_task_new t = {.size = sizeof t,
                             .title = "x",
                             .priority = (int)(i % 5),
                             .after = after,
                             .after_count = i % 3 == 0 && i > 50};
        unsigned flags = i < task_count ? STRATA_NO_FLUSH : 0;
        if (strata_task_add(s, &t, flags, id, NULL) != STRATA_OK)
            fail("add", strata_last_error(s)->message);
    }
    strata_close(s);
}

/* As in kill_log.c. NOLINTBEGIN(bugprone-signal-handler) */
static void on_alarm(int number)
{
    (void)number;
    fprintf(stderr, "FAILED: not finished in time: %" PRIu64 " taken, %" PRIu64 " ended\n", taken,
            ended);
    _exit(1);
}
/* NOLINTEND(bugprone-signal-handler) */

int main(int argc, char **argv)
{
    static struct slot slots[WORKERS_MAX];
    uint64_t seed = 1;
    const char *parent = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    for (int c; (c = getopt(argc, argv, "w:t:s:d:")) != -1;) {
        if (c == 'w')
            worker_count = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 't')
            task_count = (uint32_t)strtoul(optarg, NULL, 10);
        else if (c == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (c == 'd')
            parent = optarg;
        else
            return 2;
    }
    if (worker_count == 0 || worker_count > WORKERS_MAX || task_count == 0 ||
        task_count > TASKS_MAX)
        return 2;
    snprintf(dir, sizeof dir, "%s/kill_tasks.XXXXXX", parent);
    strata_init_result r;
    strata_error e;
    if (mkdtemp(dir) == NULL || pipe(told_pipe) != 0 || strata_init(dir, NULL, &r, &e) != STRATA_OK)
        fail("init", dir);
    printf("seed %" PRIu64 ", state in %s\n", seed, dir);
    fflush(stdout);
    signal(SIGALRM, on_alarm);
    alarm(TIME_LIMIT_S + task_count / 10);
    uint64_t start = now_ms(), x = seed;
    add_tasks();
    unsigned left = worker_count;
    for (uint32_t i = 0; i < worker_count; i++) {
        uint64_t own = next_random(&x);
        slots[i].pid = fork();
        if (slots[i].pid == 0)
            worker_main(i, own);
    }
    while (left > 0) {
        drain(5);
        for (uint32_t i = 0; i < worker_count; i++)
            look_after(&slots[i], i, &x, &left);
    }
    drain(0);
    check();
    printf("%u tasks, %u workers: taken %" PRIu64 " times, %" PRIu64
           " ends reported as accepted, %" PRIu64 " refused, %" PRIu64 " checkpoints, %" PRIu64
           " killed, %" PRIu64 " stopped, %" PRIu64 " ms\n",
           task_count, worker_count, taken, ended, refused, kept, killed, stopped,
           now_ms() - start);
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    if (system(command) != 0)
        fail("cleaning up", dir);
    puts("ok");
    return 0;
}
