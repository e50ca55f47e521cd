/*
 * cmd_work.c - `work -- COMMAND`: a worker loop for commands in any language.
 *
 * Each task is claimed for a short term, which is renewed while the command lives, and with the
 * worker's run file, which the command inherits: when both have died, the task is free at once; when
 * the worker is stopped, as soon as the term has passed. A command whose worker died, or whose term
 * could not be renewed, is ended before the term is (guard.h).
 */
#include "cli/child.h"
#include "cli/task.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define WRAPPED         110
#define TERM_MS_DEFAULT 30000
/* How long one look for work waits before signals are looked at. */
#define WAIT_STEP_MS 1000

static volatile sig_atomic_t end_asked;

static void on_signal(int number)
{
    end_asked = number;
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

struct worker {
    struct cli *c;
    strata_task_query query;
    uint64_t term_ms, retry_in_ms, wait_ms, limit;
    bool retries, waits_for_ever;
    uint64_t run;
    int run_fd;
    char checkpoint[64];          /* path of the file */
    struct timespec checkpointed; /* its time when it was stored last */
    off_t checkpoint_size;
    strata_task_taken task;
    uint64_t until_ms; /* child_term_end() of its last renewal */
    bool lost;
    uint64_t worked, failed;
};

/* The answer to a renewal. One that cannot be made now is tried again, as long as the term lasts.
 */
static void renewed(struct worker *w, int code, uint64_t asked_ms)
{
    if (code == STRATA_OK)
        w->until_ms = child_term_end(asked_ms, w->term_ms);
    w->lost = w->lost || code == STRATA_CONFLICT || child_now_ms() >= w->until_ms;
}

/* --- checkpoints ------------------------------------------------------------------------------ */

static int write_file(const char *path, const char *text, size_t n)
{
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return -1;
    bool bad = fwrite(text, 1, n, f) != n;
    return fclose(f) != 0 || bad ? -1 : 0;
}

static void note_file(struct worker *w)
{
    struct stat st;
    if (stat(w->checkpoint, &st) != 0)
        return;
    w->checkpointed = st.st_mtim;
    w->checkpoint_size = st.st_size;
}

/* Stores what the command has written since the last look. */
static void store_checkpoint(struct worker *w)
{
    struct stat st;
    char *text;
    if (stat(w->checkpoint, &st) != 0 ||
        (st.st_size == w->checkpoint_size && st.st_mtim.tv_sec == w->checkpointed.tv_sec &&
         st.st_mtim.tv_nsec == w->checkpointed.tv_nsec))
        return;
    FILE *f = fopen(w->checkpoint, "re");
    text = malloc(CLI_VALUE_SIZE_MAX + 1);
    size_t n = f != NULL && text != NULL ? fread(text, 1, CLI_VALUE_SIZE_MAX + 1, f) : 0;
    if (f != NULL)
        (void)fclose(f);
    uint64_t asked_ms = child_now_ms();
    int code = strata_task_checkpoint(w->c->s, w->task.id, w->task.token, text, n, w->term_ms);
    if (w->task.token != 0) /* what is assigned has no term */
        renewed(w, code, asked_ms);
    if (code != STRATA_OK && code != STRATA_CONFLICT)
        cli_warn(w->c, "the checkpoint of %s was not kept: %s", w->task.id,
                 strata_last_error(w->c->s)->message);
    note_file(w);
    free(text);
}

/* --- one task --------------------------------------------------------------------------------- */

static int tick(void *arg)
{
    struct worker *w = arg;
    store_checkpoint(w);
    if (w->task.token == 0 || w->lost)
        return w->lost;
    uint64_t asked_ms = child_now_ms();
    renewed(w, strata_task_renew(w->c->s, w->task.id, w->task.token, w->term_ms), asked_ms);
    return w->lost;
}

/* The task as JSON, as the command's standard input. */
static int give_input(struct worker *w, const strata_task *t)
{
    json_t *o = task_json(t, true);
    int fd = memfd_create("task", MFD_CLOEXEC);
    char *text = o != NULL ? json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;
    json_decref(o);
    bool bad = fd < 0 || text == NULL || dprintf(fd, "%s\n", text) < 0 ||
               lseek(fd, 0, SEEK_SET) < 0 || dup2(fd, STDIN_FILENO) < 0;
    if (fd >= 0)
        close(fd);
    free(text);
    return bad ? cli_error(w->c, STRATA_IO, NULL, "cannot give the task to the command: %s",
                           strerror(errno))
               : 0;
}

static bool is_text(const char *p, size_t n)
{
    json_t *valid = json_stringn(p, n);
    for (size_t i = 0; valid != NULL && i < n; i++)
        if ((unsigned char)p[i] < 0x20 && strchr("\n\r\t", p[i]) == NULL) {
            json_decref(valid);
            return false;
        }
    json_decref(valid);
    return valid != NULL;
}

/* Reports the end. What the command printed is the result, where it is a text. */
static int finish(struct worker *w, struct child *child)
{
    char reason[64];
    bool accepted, done = child->status == 0;
    strata_task_end end = {.size = sizeof(end),
                           .id = w->task.id,
                           .token = w->task.token,
                           .retry_in_ms = w->retry_in_ms,
                           .state = done         ? "done"
                                    : w->retries ? "retry"
                                                 : "failed"};
    (void)snprintf(reason, sizeof(reason),
                   child->signal != 0 ? "ended by signal %d" : "exit status %d",
                   child->signal != 0 ? child->signal : child->status);
    end.text = done ? child->out : reason;
    end.text_size = done ? child->out_size : strlen(reason);
    while (done && end.text_size > 0 && end.text[end.text_size - 1] == '\n')
        end.text_size--;
    if (done && !is_text(end.text, end.text_size))
        end.text_size = 0;
    if (end.text_size == 0)
        end.text = NULL;
    int code = strata_task_finish(w->c->s, &end, &accepted);
    w->worked++;
    w->failed += !done;
    if (code == STRATA_CONFLICT) {
        cli_warn(w->c, "%s", strata_last_error(w->c->s)->message);
        return 0;
    }
    return code == STRATA_OK ? 0 : cli_fail(w->c, code);
}

static int run_command(struct worker *w, const strata_task *t, struct child *child)
{
    char id[128], title[4200], fence[64], file[96];
    (void)snprintf(id, sizeof(id), "STRATA_TASK=%s", t->id);
    (void)snprintf(title, sizeof(title), "STRATA_TASK_TITLE=%.4096s", t->title);
    (void)snprintf(fence, sizeof(fence), "STRATA_FENCE=%" PRIu64, w->task.token);
    (void)snprintf(file, sizeof(file), "STRATA_CHECKPOINT=%s", w->checkpoint);
    const char *const environment[] = {id, title, fence, file, NULL};
    (void)write_file(w->checkpoint, t->checkpoint, t->checkpoint_size);
    note_file(w);
    int status = give_input(w, t);
    if (status != 0)
        return status;
    child->environment = environment;
    bool ran = child_run(child);
    child->environment = NULL;
    int error = ran ? child->error : errno;
    if (child->told != 0)
        end_asked = child->told;
    catch_signals();
    if (ran && child->started)
        return 0;
    (void)strata_task_release(w->c->s, w->task.id, w->task.token);
    return cli_error(w->c, STRATA_USAGE, NULL, "cannot run %s: %s", child->argv[0],
                     strerror(error));
}

static int do_task(struct worker *w)
{
    strata_task t;
    struct child child = {.argv = w->c->args,
                          .inherit_fd = w->run_fd,
                          .until_ms = w->task.token != 0 ? &w->until_ms : NULL,
                          .term_ms = w->term_ms,
                          .tick = tick,
                          .tick_arg = w,
                          .tick_ms = w->term_ms / 5,
                          .keep = true};
    w->lost = false;
    int code = strata_task_get(w->c->s, w->task.id, &t);
    if (code != STRATA_OK)
        return cli_fail(w->c, code);
    int status = run_command(w, &t, &child);
    w->lost = w->lost || child_now_ms() >= w->until_ms;
    if (status == 0 && !w->lost)
        store_checkpoint(w);
    if (status == 0 && w->lost)
        cli_warn(w->c, "%s was lost: its claim could not be renewed in time; the command was ended",
                 w->task.id);
    else if (status == 0 && end_asked != 0 && child.status != 0)
        (void)strata_task_release(w->c->s, w->task.id, w->task.token);
    else if (status == 0)
        status = finish(w, &child);
    child_release(&child);
    return status;
}

/* --- the loop --------------------------------------------------------------------------------- */

/* STRATA_TIMEOUT: nothing was ready for as long as one is willing to wait. */
static int take(struct worker *w)
{
    for (uint64_t waited = 0;;) {
        uint64_t left = w->waits_for_ever ? WAIT_STEP_MS : w->wait_ms - waited;
        uint64_t step = left < WAIT_STEP_MS ? left : WAIT_STEP_MS;
        int code = strata_task_next(w->c->s, &w->query, step, w->term_ms, w->run, NULL, &w->task);
        w->until_ms =
            w->task.token != 0
                ? child_term_end(child_now_ms() + w->task.left_ms - w->term_ms, w->term_ms)
                : UINT64_MAX; /* what is assigned has no term */
        waited += step;
        if (code != STRATA_TIMEOUT || end_asked != 0 ||
            (!w->waits_for_ever && waited >= w->wait_ms))
            return code;
    }
}

static int work(struct worker *w)
{
    int status = 0;
    while (status == 0 && end_asked == 0 && (w->limit == 0 || w->worked < w->limit)) {
        int code = take(w);
        if (code == STRATA_TIMEOUT)
            break;
        if (code != STRATA_OK)
            return cli_fail(w->c, code);
        status = do_task(w);
    }
    return status;
}

static int read_options(struct cli *c, struct worker *w)
{
    int status = 0;
    w->term_ms = TERM_MS_DEFAULT;
    w->waits_for_ever = !cli_given(c, OPT_WAIT);
    w->retries = cli_given(c, OPT_RETRY_IN);
    if (cli_given(c, OPT_TERM))
        status = cli_duration(c, "--term", c->options[OPT_TERM], &w->term_ms);
    if (status == 0 && w->term_ms < 500)
        status = cli_usage(c, "--term is at least 500ms: a shorter one ends before its renewal");
    if (status == 0 && w->retries)
        status = cli_duration(c, "--retry-in", c->options[OPT_RETRY_IN], &w->retry_in_ms);
    if (status == 0 && cli_given(c, OPT_WAIT))
        status = cli_duration(c, "--wait", c->options[OPT_WAIT], &w->wait_ms);
    if (status == 0 && cli_given(c, OPT_TASKS_MAX))
        status = cli_number(c, "--limit", c->options[OPT_TASKS_MAX], 1000000000, &w->limit);
    return status;
}

int cmd_work(struct cli *c)
{
    struct worker w = {.c = c, .run_fd = -1, .checkpoint = "/tmp/strata-work-XXXXXX"};
    int status = read_options(c, &w);
    if (status == 0)
        c->args[c->arg_count] =
            NULL; /* where words of the command line were: it has room for one more */
    int error = status == 0 ? child_check(c->args[0]) : 0;
    if (error != 0)
        status = cli_error(c, STRATA_USAGE, NULL, "cannot run %s: %s", c->args[0], strerror(error));
    if (status == 0)
        status = cli_open(c);
    if (status == 0)
        status = cli_need_agent(c);
    int fd = status == 0 ? mkostemp(w.checkpoint, O_CLOEXEC) : -1;
    if (status == 0 && fd < 0)
        status = cli_error(c, STRATA_IO, NULL, "%s: %s", w.checkpoint, strerror(errno));
    if (fd >= 0)
        close(fd);
    if (status == 0) {
        int code = strata_run_begin(c->s, &w.run, &w.run_fd);
        status = code == STRATA_OK || code == STRATA_UNAVAILABLE ? 0 : cli_fail(c, code);
    }
    if (status == 0) {
        w.query = (strata_task_query){
            .size = sizeof(w.query), .channel = c->options[OPT_CHANNEL], .agent = c->agent};
        (void)strata_beat(c->s, NULL);
        catch_signals();
        status = work(&w);
        if (!c->quiet && !c->json)
            cli_note(c, "%" PRIu64 " tasks, %" PRIu64 " of them failed", w.worked, w.failed);
    }
    if (w.run_fd >= 0)
        strata_run_end(c->s, w.run, w.run_fd);
    if (fd >= 0)
        unlink(w.checkpoint);
    return status == 0 ? 0 : WRAPPED + status;
}
