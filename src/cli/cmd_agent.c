/*
 * cmd_agent.c - beat, agent list, count: what is not flushed, because the next one repairs it.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>

/* --- beat, agent list ------------------------------------------------------------------------- */

int cmd_beat(struct cli *c)
{
    struct cli_text status_text = {0};
    int status = 0;

    if (c->arg_count > 0)
        status = cli_text_read(c, "STATUS", c->args[0], CLI_STATUS_SIZE_MAX, &status_text);
    if (status == 0)
        status = cli_open(c);
    if (status == 0)
        status = cli_need_agent(c);
    if (status == 0) {
        int code = strata_beat(c->s, status_text.p);
        if (code != STRATA_OK) {
            status = cli_fail(c, code);
        } else if (c->json) {
            status = cli_json(c, json_pack("{s:s,s:o}", "agent", c->agent, "status",
                                           status_text.p != NULL
                                               ? cli_json_text(status_text.p, status_text.n)
                                               : json_null()));
        } else if (!c->quiet) {
            (void)printf("%s is alive", c->agent);
            if (status_text.n > 0) {
                (void)fputs(": ", stdout);
                cli_put_text(stdout, status_text.p, status_text.n, 0);
            }
            (void)putchar('\n');
        }
    }
    cli_text_release(&status_text);
    return status;
}

struct agent_list {
    struct cli *c;
    json_t *list;
    size_t count;
};

static const char *agent_state(int state)
{
    return state == STRATA_AGENT_ALIVE ? "alive" : state == STRATA_AGENT_SILENT ? "silent" : "gone";
}

static int visit_agent(void *arg, const strata_agent *a)
{
    struct agent_list *l = arg;
    char span[CLI_AGE_SIZE], since[CLI_AGE_SIZE];

    l->count++;
    if (l->c->json) {
        json_t *o = json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:I,s:I,s:I}", "agent", a->agent, "replica",
                              a->replica, "state", agent_state(a->state), "status",
                              cli_json_text(a->status, strlen(a->status)), "status_at",
                              cli_json_time(a->status_ms), "beat_at", cli_json_time(a->beat_ms),
                              "age_ms", (json_int_t)a->age_ms, "incarnation",
                              (json_int_t)a->incarnation, "tasks", (json_int_t)a->tasks);
        return json_array_append_new(l->list, o) == 0 ? 0 : STRATA_NO_MEMORY;
    }
    cli_span(a->age_ms, span);
    (void)printf("%s%s", a->agent, a->replica[0] != '\0' ? " on " : "");
    cli_put_text(stdout, a->replica, strlen(a->replica), 0);
    (void)printf(": %s, last heard of %s ago", agent_state(a->state), span);
    if (a->incarnation != 0)
        (void)printf("; registered, incarnation %" PRIu64, a->incarnation);
    if (a->tasks != 0)
        (void)printf("; has %" PRIu64 " task%s", a->tasks, a->tasks == 1 ? "" : "s");
    if (a->status[0] != '\0') {
        cli_age(l->c, a->status_ms, since);
        (void)fputs("; ", stdout);
        cli_put_text(stdout, a->status, strlen(a->status), 0);
        (void)printf(" (said %s)", since);
    }
    (void)putchar('\n');
    return ferror(stdout) ? 1 : 0;
}

int cmd_agent_list(struct cli *c)
{
    struct agent_list l = {.c = c};
    int status = cli_open(c);
    if (status != 0)
        return status;
    if (c->json)
        l.list = json_array();
    int code = strata_agent_each(c->s, visit_agent, &l);
    if (code != STRATA_OK && code != STRATA_NOT_FOUND) {
        json_decref(l.list);
        return cli_fail(c, code);
    }
    if (c->json)
        return cli_json(c, json_pack("{s:o}", "agents", l.list));
    if (l.count == 0)
        cli_note(c, "no agent has been heard of yet; one says it is there with: strata beat");
    return 0;
}

/* --- register, retire ------------------------------------------------------------------------- */

int cmd_agent_register(struct cli *c)
{
    uint64_t incarnation;
    int status = cli_open(c);
    if (status == 0)
        status = cli_need_agent(c);
    if (status != 0)
        return status;
    int code = strata_agent_register(c->s, cli_given(c, OPT_FORCE), &incarnation);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(
            c, json_pack("{s:s,s:I}", "agent", c->agent, "incarnation", (json_int_t)incarnation));
    (void)printf("%" PRIu64 "\n", incarnation);
    cli_note(c, "export STRATA_INCARNATION=%" PRIu64, incarnation);
    return 0;
}

int cmd_agent_retire(struct cli *c)
{
    int status = cli_open(c);
    if (status == 0)
        status = cli_need_agent(c);
    if (status != 0)
        return status;
    int code = strata_agent_retire(c->s);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    return c->json ? cli_json(c, json_pack("{s:s}", "agent", c->agent)) : 0;
}

/* --- count ------------------------------------------------------------------------------------ */

/* "+5", "-3". The sign has to be there: `count builds 5` could mean "set it to 5". */
static int read_delta(struct cli *c, const char *text, int64_t *delta)
{
    uint64_t n;
    char shown[64];

    cli_clean(text, shown, sizeof(shown));
    if (text[0] != '+' && text[0] != '-')
        return cli_usage(c, "write +N or -N, not `%s`: a counter is changed, never set", shown);
    int status = cli_number(c, "N", text + 1, STRATA_DELTA_MAX, &n);
    *delta = text[0] == '+' ? (int64_t)n : -(int64_t)n;
    return status;
}

struct counter_list {
    json_t *object;
};

static int visit_counter(void *arg, const char *name, int64_t total)
{
    struct counter_list *l = arg;
    if (l->object != NULL)
        return json_object_set_new(l->object, name, json_integer(total)) == 0 ? 0
                                                                              : STRATA_NO_MEMORY;
    cli_put_name(stdout, name);
    (void)printf(" = %lld\n", (long long)total);
    return ferror(stdout) ? 1 : 0;
}

static int list_counters(struct cli *c)
{
    struct counter_list l = {.object = c->json ? json_object() : NULL};
    int code = strata_counter_each(c->s, NULL, visit_counter, &l);
    if (code != STRATA_OK && code != STRATA_NOT_FOUND) {
        json_decref(l.object);
        return cli_fail(c, code);
    }
    return c->json ? cli_json(c, json_pack("{s:o}", "counters", l.object)) : 0;
}

static int print_total(struct cli *c, int64_t total, const char *id)
{
    if (c->json)
        return cli_json(c, json_pack("{s:s,s:I,s:s?}", "name", c->args[0], "total",
                                     (json_int_t)total, "id", id));
    (void)printf("%lld\n", (long long)total);
    return 0;
}

int cmd_count(struct cli *c)
{
    int64_t value = 0;
    int status = c->arg_count > 0 ? cli_name_check(c, "NAME", c->args[0]) : 0;

    if (status == 0 && c->arg_count > 1)
        status = read_delta(c, c->args[1], &value);
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    if (c->arg_count == 0)
        return list_counters(c);
    if (c->arg_count > 1) {
        strata_op op = {.kind = STRATA_COUNT, .entity = c->args[0], .delta = value};
        strata_written written = {0};
        int code = strata_write(c->s, &op, 1, STRATA_ANSWER | STRATA_NO_FLUSH, NULL, &written);
        return code != STRATA_OK ? cli_fail(c, code) : print_total(c, written.total, written.id);
    }
    int code = strata_counter_get(c->s, c->args[0], &value);
    if (code == STRATA_NOT_FOUND)
        cli_note(c, "%s was never counted", c->args[0]);
    else if (code != STRATA_OK)
        return cli_fail(c, code);
    return print_total(c, value, NULL);
}
