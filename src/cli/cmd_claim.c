/* cmd_claim.c - taking tasks and keeping them: next, claim, release, checkpoint. */
#include "cli/task.h"

#include <inttypes.h>
#include <string.h>

static int read_term(struct cli *c, uint64_t *term_ms)
{
    *term_ms = 0;
    if (!cli_given(c, OPT_TERM))
        return 0;
    int status = cli_duration(c, "--term", c->options[OPT_TERM], term_ms);
    return status == 0 && *term_ms < 1000 ? cli_usage(c, "--term is at least 1s") : status;
}

static int print_taken(struct cli *c, const strata_task_taken *taken)
{
    strata_task t;
    char left[CLI_AGE_SIZE];
    int code = strata_task_get(c->s, taken->id, &t);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json) {
        json_t *o = task_json(&t, true);
        (void)json_object_set_new(
            o, "token", taken->token != 0 ? json_integer((json_int_t)taken->token) : json_null());
        (void)json_object_set_new(o, "lease_until",
                                  taken->token != 0 ? cli_json_time(cli_now(c) + taken->left_ms)
                                                    : json_null());
        if (t.agent[0] == '\0' && c->agent != NULL)
            (void)json_object_set_new(o, "agent", json_string(c->agent));
        return cli_json(c, o);
    }
    if (c->quiet) {
        (void)printf("%s\n", t.id);
        return 0;
    }
    (void)printf("%s  P%d  ", t.id, t.priority);
    cli_put_text(stdout, t.title, strlen(t.title), 0);
    cli_span(taken->left_ms, left);
    if (taken->token != 0)
        (void)printf("\nyours for %s (token %" PRIu64 "); any command of yours extends that", left,
                     taken->token);
    if (t.data_size > 0)
        (void)fputs("\ndata       ", stdout);
    cli_put_text(stdout, t.data, t.data_size, 0);
    if (t.checkpoint_size > 0)
        (void)fputs("\ncheckpoint ", stdout);
    cli_put_text(stdout, t.checkpoint, t.checkpoint_size, 0);
    (void)putchar('\n');
    return 0;
}

int task_take_next(struct cli *c, const strata_task_end *end)
{
    strata_task_query q = {
        .size = sizeof(q), .channel = c->options[OPT_CHANNEL], .agent = c->agent};
    strata_task_taken taken;
    uint64_t wait_ms = 0, term_ms = 0;
    int status = read_term(c, &term_ms);
    if (status == 0 && cli_given(c, OPT_WAIT))
        status = cli_duration(c, "--wait", c->options[OPT_WAIT], &wait_ms);
    if (status == 0)
        status = cli_need_agent(c);
    if (status != 0)
        return status;
    int code = strata_task_next(c->s, &q, wait_ms, term_ms, 0, end, &taken);
    if (code == STRATA_TIMEOUT && wait_ms == 0) {
        const strata_error *e = strata_last_error(c->s);
        char hint[sizeof(e->hint) + 32];
        (void)snprintf(hint, sizeof(hint), "to wait: --wait 60s%s%s",
                       e->hint[0] != '\0' ? "; " : "", e->hint);
        return cli_error(c, code, hint, "%s%s%s", end != NULL && taken.ended ? end->id : "",
                         taken.ended ? " has ended; " : "", e->message);
    }
    return code == STRATA_OK ? print_taken(c, &taken) : cli_fail(c, code);
}

int cmd_next(struct cli *c)
{
    int status = cli_open(c);
    return status == 0 ? task_take_next(c, NULL) : status;
}

int cmd_claim(struct cli *c)
{
    strata_task_taken taken;
    uint64_t term_ms;
    int status = read_term(c, &term_ms);
    if (status == 0)
        status = cli_open(c);
    if (status == 0)
        status = cli_need_agent(c);
    if (status != 0)
        return status;
    int code = strata_task_claim(c->s, c->args[0], term_ms, 0, &taken);
    return code == STRATA_OK ? print_taken(c, &taken) : cli_fail(c, code);
}

static int answer(struct cli *c, int code, const char *what)
{
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, json_pack("{s:o}", "seq", task_json_name(c->args[0])));
    if (!c->quiet)
        (void)printf("%s: %s\n", c->args[0], what);
    return 0;
}

int cmd_release(struct cli *c)
{
    uint64_t token;
    int status = task_token(c, &token);
    if (status == 0)
        status = cli_open(c);
    return status == 0 ? answer(c, strata_task_release(c->s, c->args[0], token), "given back")
                       : status;
}

int cmd_checkpoint(struct cli *c)
{
    struct cli_text text = {0};
    uint64_t token;
    int status = task_token(c, &token);
    if (status == 0 && !cli_given(c, OPT_CHECKPOINT_DATA))
        status = cli_usage(c, "checkpoint needs --data");
    if (status == 0)
        status =
            cli_text_read(c, "--data", c->options[OPT_CHECKPOINT_DATA], CLI_VALUE_SIZE_MAX, &text);
    if (status == 0)
        status = cli_open(c);
    if (status == 0)
        status = answer(c, strata_task_checkpoint(c->s, c->args[0], token, text.p, text.n, 0),
                        "checkpoint kept");
    cli_text_release(&text);
    return status;
}
