/* cmd_message.c - messages between agents: send, inbox. */
#include "cli/task.h"

#include <stdlib.h>
#include <string.h>

int cmd_send(struct cli *c)
{
    struct cli_text text = {0};
    char id[STRATA_TASK_SIZE];
    int status = cli_text_read(c, "TEXT", c->args[1], CLI_VALUE_SIZE_MAX, &text);
    if (status == 0)
        status = cli_open(c);
    if (status == 0) {
        int code =
            strata_message_send(c->s, c->args[0], text.p, text.n, cli_given(c, OPT_CREATE), id);
        if (code == STRATA_NOT_FOUND)
            status = cli_error(c, code,
                               "nothing was sent; `strata agent list` has the names, --create "
                               "sends it all the same",
                               "%s", strata_last_error(c->s)->message);
        else if (code != STRATA_OK)
            status = cli_fail(c, code);
        else if (c->json)
            status =
                cli_json(c, json_pack("{s:o,s:s}", "seq", task_json_name(id), "to", c->args[0]));
        else
            (void)printf("%s\n", id);
    }
    cli_text_release(&text);
    return status;
}

/* --- inbox ------------------------------------------------------------------------------------ */

struct inbox {
    struct cli *c;
    json_t *json;
    char (*ids)[STRATA_TASK_SIZE];
    size_t count;
};

static bool is_wanted(const struct cli *c, const char *id)
{
    for (size_t i = 0; i < c->arg_count; i++)
        if (strcmp(c->args[i][0] == '#' ? c->args[i] + 1 : c->args[i], id) == 0)
            return true;
    return c->arg_count == 0;
}

static int visit_message(void *arg, const strata_message *m)
{
    struct inbox *x = arg;
    if (!is_wanted(x->c, m->id))
        return 0;
    void *grown = realloc(x->ids, (x->count + 1) * sizeof(*x->ids));
    if (grown == NULL)
        return STRATA_NO_MEMORY;
    x->ids = grown;
    (void)snprintf(x->ids[x->count++], STRATA_TASK_SIZE, "%s", m->id);
    if (x->c->json) {
        json_t *o =
            json_pack("{s:o,s:s,s:o,s:o}", "seq", task_json_name(m->id), "from", m->from, "text",
                      cli_json_text(m->text, m->text_size), "time", cli_json_time(m->time_ms));
        return json_array_append_new(x->json, o) == 0 ? 0 : STRATA_NO_MEMORY;
    }
    (void)printf("%s  ", m->id);
    cli_put_origin(x->c, stdout, m->from, "", m->time_ms, false);
    (void)fputs(": ", stdout);
    cli_put_text(stdout, m->text, m->text_size, 0);
    (void)putchar('\n');
    return 0;
}

/* Until there is a message, at most as long as --wait says. */
static int read_inbox(struct cli *c, struct inbox *x, size_t limit)
{
    uint64_t wait_ms = 0, waited = 0, cursor;
    int status = 0;
    if (cli_given(c, OPT_WAIT))
        status = cli_duration(c, "--wait", c->options[OPT_WAIT], &wait_ms);
    while (status == 0) {
        int code = strata_events_end(c->s, &cursor);
        if (code == STRATA_OK)
            code = strata_message_each(c->s, c->agent, limit, visit_message, x);
        if (code != STRATA_OK)
            return cli_fail(c, code);
        if (x->count > 0 || waited >= wait_ms)
            break;
        uint64_t step = wait_ms - waited < 1000 ? wait_ms - waited : 1000;
        code = strata_events_wait(c->s, cursor, (uint32_t)step);
        if (code != STRATA_OK)
            return cli_fail(c, code);
        waited = wait_ms == 0 ? 0 : waited + step;
    }
    if (status == 0 && x->count == 0 && wait_ms > 0)
        return cli_error(c, STRATA_TIMEOUT, NULL, "no message for %s within the time", c->agent);
    return status;
}

static int acknowledge(struct cli *c, struct inbox *x)
{
    const char **ids = calloc(x->count + 1, sizeof(*ids));
    if (ids == NULL)
        return cli_error(c, STRATA_NO_MEMORY, NULL, "out of memory");
    for (size_t i = 0; i < x->count; i++)
        ids[i] = x->ids[i];
    int code = x->count > 0 ? strata_message_ack(c->s, ids, x->count) : STRATA_OK;
    free(ids);
    return code == STRATA_OK ? 0 : cli_fail(c, code);
}

int cmd_inbox(struct cli *c)
{
    struct inbox x = {.c = c};
    size_t limit;
    int status = cli_limit(c, &limit);
    if (status == 0)
        status = cli_open(c);
    if (status == 0)
        status = cli_need_agent(c);
    if (status != 0)
        return status;
    /* Whoever reads an inbox can be written to. */
    if (!strata_is_read_only(c->s))
        (void)strata_beat(c->s, NULL);
    if (c->json)
        x.json = json_array();
    status = read_inbox(c, &x, c->arg_count > 0 ? 0 : limit);
    if (status == 0 && x.count < c->arg_count)
        status = cli_error(
            c, STRATA_NOT_FOUND, "nothing was acknowledged; `strata inbox` shows what waits",
            "of the messages named, %zu of %zu wait for %s", x.count, c->arg_count, c->agent);
    if (status == 0 && cli_given(c, OPT_ACK))
        status = acknowledge(c, &x);
    if (status == 0 && c->json)
        status = cli_json(c, x.json);
    else
        json_decref(x.json);
    if (status == 0 && x.count == 0)
        cli_note(c, "no messages for %s", c->agent);
    free(x.ids);
    return status;
}
