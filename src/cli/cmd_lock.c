/*
 * cmd_lock.c - locks: `lock NAME -- COMMAND` (held and renewed while the command lives), and the
 * plumbing for programs: acquire, renew, release, list.
 */
#include "cli/child.h"
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TTL_MS_DEFAULT 30000

static int read_times(struct cli *c, uint64_t ttl_default, uint64_t *ttl_ms, uint64_t *wait_ms)
{
    int status = 0;
    *ttl_ms = ttl_default;
    *wait_ms = 0;
    if (cli_given(c, OPT_TTL))
        status = cli_duration(c, "--ttl", c->options[OPT_TTL], ttl_ms);
    if (status == 0 && cli_given(c, OPT_WAIT))
        status = cli_duration(c, "--wait", c->options[OPT_WAIT], wait_ms);
    if (status == 0 && *ttl_ms < 100)
        status = cli_usage(c, "--ttl is at least 100ms: a shorter term ends before its renewal");
    return status;
}

static json_t *lock_json(struct cli *c, const strata_lock *l)
{
    return json_pack("{s:s,s:s,s:I,s:b,s:o}", "name", l->name, "holder", l->holder, "token",
                     (json_int_t)l->token, "held", (int)l->held, "until",
                     cli_json_time(cli_now(c) + l->left_ms));
}

static void put_lock(const strata_lock *l)
{
    char left[CLI_AGE_SIZE];
    cli_span(l->left_ms, left);
    cli_put_name(stdout, l->name);
    (void)printf(": held by %s, token %" PRIu64 ", for another %s\n",
                 l->holder[0] != '\0' ? l->holder : "somebody", l->token, left);
}

/* --- lock NAME -- COMMAND --------------------------------------------------------------------- */

struct holding {
    struct cli *c;
    const char *name;
    uint64_t token, ttl_ms;
    uint64_t until_ms; /* child_term_end() of the last renewal */
    bool lost;
};

/* A renewal that cannot be made now is tried again, as long as the term lasts. Whether it can or
 * not, the guardian ends the command in time. */
static int renew(void *arg)
{
    struct holding *h = arg;
    uint64_t asked_ms = child_now_ms();
    int code = strata_lock_renew(h->c->s, h->name, h->token, h->ttl_ms);
    if (code == STRATA_OK)
        h->until_ms = child_term_end(asked_ms, h->ttl_ms);
    h->lost = code == STRATA_CONFLICT || child_now_ms() >= h->until_ms;
    return h->lost;
}

/* `run_fd`: as long as a descendant has it, and the term lasts, nobody else gets the lock. */
static int run_locked(struct holding *h, int run_fd)
{
    struct cli *c = h->c;
    char fence[64];
    snprintf(fence, sizeof fence, "STRATA_FENCE=%" PRIu64, h->token);
    const char *const environment[] = {fence, NULL};
    char **argv = calloc(c->arg_count, sizeof *argv);
    if (argv == NULL)
        return child_wrapped(cli_error(c, STRATA_NO_MEMORY, NULL, "out of memory"));
    memcpy(argv, c->args + 1, (c->arg_count - 1) * sizeof *argv);
    struct child child = {
        .argv = argv,
        .environment = environment,
        .inherit_fd = run_fd,
        .until_ms = &h->until_ms,
        .term_ms = h->ttl_ms,
        .tick = renew,
        .tick_arg = h,
        .tick_ms = h->ttl_ms / 4,
    };
    bool ran = child_run(&child);
    int error = errno;
    h->lost = h->lost || child_now_ms() >= h->until_ms;
    if (!h->lost)
        (void)strata_lock_release(c->s, h->name, h->token);
    free(argv);
    if (!ran || !child.started)
        return child_wrapped(cli_error(c, STRATA_USAGE, NULL, "cannot run %s: %s", c->args[1],
                                       strerror(ran ? child.error : error)));
    if (h->lost)
        return child_wrapped(
            cli_error(c, STRATA_CONFLICT,
                      "it was held up, and its term could not be extended in time; "
                      "run it again if it is still wanted",
                      "the lock %s was lost, the command was ended", h->name));
    return child.status;
}

static int lock_and_run(struct cli *c, uint64_t ttl_ms, uint64_t wait_ms)
{
    strata_lock lock;
    uint64_t run = 0;
    int run_fd = -1;
    int code = strata_run_begin(c->s, &run, &run_fd);
    if (code == STRATA_OK)
        code = strata_lock_acquire(c->s, c->args[0], ttl_ms, wait_ms, run, &lock);
    int status;
    if (code == STRATA_OK) {
        struct holding h = {
            .c = c,
            .name = c->args[0],
            .token = lock.token,
            .ttl_ms = ttl_ms,
            .until_ms = child_term_end(child_now_ms() - (ttl_ms - lock.left_ms), ttl_ms),
        };
        status = run_locked(&h, run_fd);
    } else {
        status = child_wrapped(cli_fail(c, code));
    }
    if (run_fd >= 0)
        strata_run_end(c->s, run, run_fd);
    return status;
}

int cmd_lock(struct cli *c)
{
    uint64_t ttl_ms = 0, wait_ms = 0;
    int status = read_times(c, TTL_MS_DEFAULT, &ttl_ms, &wait_ms);
    if (status == 0 && c->arg_count < 2)
        status = cli_usage(c, "which command? strata lock NAME -- COMMAND");
    int error = status == 0 ? child_check(c->args[1]) : 0;
    if (error != 0)
        status = cli_error(c, STRATA_USAGE, NULL, "cannot run %s: %s", c->args[1], strerror(error));
    if (status == 0)
        status = cli_open(c);
    return status == 0 ? lock_and_run(c, ttl_ms, wait_ms) : child_wrapped(status);
}

/* --- plumbing --------------------------------------------------------------------------------- */

int cmd_lock_acquire(struct cli *c)
{
    uint64_t ttl_ms = 0, wait_ms = 0;
    strata_lock lock;
    int status = read_times(c, 3600ull * 1000, &ttl_ms, &wait_ms);
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_lock_acquire(c->s, c->args[0], ttl_ms, wait_ms, 0, &lock);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, lock_json(c, &lock));
    (void)printf("%" PRIu64 "\n", lock.token);
    return 0;
}

int cmd_lock_renew(struct cli *c)
{
    uint64_t ttl_ms = 0, wait_ms = 0, token = 0;
    int status = read_times(c, 3600ull * 1000, &ttl_ms, &wait_ms);
    if (status == 0)
        status = cli_token(c, "strata lock list", &token);
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_lock_renew(c->s, c->args[0], token, ttl_ms);
    return code == STRATA_OK ? 0 : cli_fail(c, code);
}

int cmd_lock_release(struct cli *c)
{
    uint64_t token;
    int status = cli_token(c, "strata lock list", &token);
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_lock_release(c->s, c->args[0], token);
    return code == STRATA_OK ? 0 : cli_fail(c, code);
}

struct lock_list {
    struct cli *c;
    json_t *list;
    size_t count;
};

static int visit_lock(void *arg, const strata_lock *l)
{
    struct lock_list *list = arg;
    list->count++;
    if (list->list != NULL)
        return json_array_append_new(list->list, lock_json(list->c, l)) == 0 ? 0 : STRATA_NO_MEMORY;
    put_lock(l);
    return 0;
}

int cmd_lock_list(struct cli *c)
{
    struct lock_list l = {.c = c};
    int status = cli_open(c);
    if (status == 0)
        status = cli_known_here(c, false);
    if (status != 0)
        return status;
    if (c->json)
        l.list = json_array();
    int code = strata_lock_each(c->s, visit_lock, &l);
    return cli_listed(c, code, l.list, l.count, "nothing is locked");
}
