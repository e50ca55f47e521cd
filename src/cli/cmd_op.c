/*
 * cmd_op.c - the ledger of once-only operations: list, show, and what only persons do: settle,
 * approve, reject, again.
 */
#include "cli/cli.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESULT_SIZE_MAX 131072

static const char *const class_names[] = {"naked", "keyed", "queryable", "idempotent"};

/* --- printing --------------------------------------------------------------------------------- */

json_t *cli_json_operation(const strata_operation *o)
{
    json_t *j = json_pack(
        "{s:s,s:s,s:s,s:I,s:i,s:i,s:s,s:b,s:b,s:b,s:o,s:o,s:o,s:s,s:s}", "key", o->key, "state",
        strata_op_state_name(o->state), "class", class_names[o->op_class & 3], "token",
        (json_int_t)o->token, "attempts", (int)o->attempts, "runs", (int)o->runs, "holder",
        o->holder, "needs_approval", (int)o->needs_approval, "approved", (int)o->approved, "alive",
        (int)o->alive, "proposed_at", cli_json_time(o->proposed_ms), "started_at",
        o->started_ms != 0 ? cli_json_time(o->started_ms) : json_null(), "ended_at",
        o->ended_ms != 0 ? cli_json_time(o->ended_ms) : json_null(), "evidence", o->evidence,
        "person", o->person);
    if (j != NULL)
        (void)json_object_set_new(j, "result",
                                  o->state == STRATA_OP_COMMITTED
                                      ? cli_json_text(o->result, o->result_size)
                                      : json_null());
    return j;
}

void cli_put_operation(struct cli *c, const strata_operation *o)
{
    uint64_t since = o->ended_ms != 0     ? o->ended_ms
                     : o->started_ms != 0 ? o->started_ms
                                          : o->proposed_ms;
    char age[CLI_AGE_SIZE];
    cli_age(c, since, age);
    cli_put_name(stdout, o->key);
    (void)printf(": %s", strcmp(strata_op_state_name(o->state), "in_doubt") == 0
                             ? "in doubt"
                             : strata_op_state_name(o->state));
    if (o->state == STRATA_OP_PROPOSED && o->needs_approval && !o->approved)
        (void)fputs(", waits for approval", stdout);
    else if (o->state == STRATA_OP_PROPOSED && o->approved)
        (void)fputs(", approved", stdout);
    if (o->holder[0] != '\0')
        (void)printf(" (%s, %s)", o->holder, age);
    else
        (void)printf(" (%s)", age);
    if (o->state == STRATA_OP_IN_DOUBT && o->alive)
        (void)fputs("; something of it still runs", stdout);
    (void)putchar('\n');
}

/* --- what waits for a person ------------------------------------------------------------------ */

struct waiting {
    struct cli *c;
    json_t *list;
    bool print;
    size_t count;
};

static int visit_waiting(void *arg, const strata_operation *o)
{
    struct waiting *w = arg;
    if (o->state == STRATA_OP_PROPOSED && (!o->needs_approval || o->approved))
        return 0;
    w->count++;
    if (w->list != NULL)
        return json_array_append_new(w->list, cli_json_operation(o)) == 0 ? 0 : STRATA_NO_MEMORY;
    if (w->print)
        cli_put_operation(w->c, o);
    return 0;
}

int cli_operations_waiting(struct cli *c, json_t *list, size_t *in_doubt, size_t *approval)
{
    bool print = list == NULL && !c->json && c->command->run == cmd_pending;
    struct waiting doubts = {c, list, print, 0}, approvals = {c, list, print, 0};
    int code = strata_op_each(c->s, STRATA_OP_IN_DOUBT, NULL, 0, visit_waiting, &doubts);
    if (code == STRATA_OK)
        code = strata_op_each(c->s, STRATA_OP_PROPOSED, NULL, 0, visit_waiting, &approvals);
    *in_doubt = doubts.count;
    *approval = approvals.count;
    return code == STRATA_UNAVAILABLE ? STRATA_OK : code;
}

/* --- list, show ------------------------------------------------------------------------------- */

struct op_list {
    struct cli *c;
    json_t *list;
    size_t limit, count;
};

static int visit_operation(void *arg, const strata_operation *o)
{
    struct op_list *l = arg;
    if (l->limit != 0 && l->count == l->limit) {
        cli_note(l->c, "there are more: --limit N, or --after KEY");
        return 1;
    }
    l->count++;
    if (l->list != NULL)
        return json_array_append_new(l->list, cli_json_operation(o)) == 0 ? 0 : STRATA_NO_MEMORY;
    cli_put_operation(l->c, o);
    return 0;
}

static int read_state(struct cli *c, int *state)
{
    const char *text = c->options[OPT_STATE];
    *state = STRATA_OP_UNKNOWN;
    for (int i = STRATA_OP_PROPOSED; text != NULL && i <= STRATA_OP_IN_DOUBT; i++)
        if (strcmp(text, strata_op_state_name(i)) == 0)
            *state = i;
    if (text != NULL && *state == STRATA_OP_UNKNOWN)
        return cli_usage(c,
                         "--state is proposed, granted, executing, committed, failed, expired or "
                         "in_doubt, not `%s`",
                         text);
    return 0;
}

int cmd_op_list(struct cli *c)
{
    struct op_list l = {.c = c};
    int state, status = read_state(c, &state);
    if (status == 0)
        status = cli_limit(c, &l.limit);
    if (status == 0)
        status = cli_open(c);
    if (status == 0)
        status = cli_known_here(c, false);
    if (status != 0)
        return status;
    if (c->json)
        l.list = json_array();
    int code = strata_op_each(c->s, state, c->options[OPT_AFTER], 0, visit_operation, &l);
    return cli_listed(c, code, l.list, l.count, "no operations");
}

static void put_in_full(struct cli *c, const strata_operation *o)
{
    cli_put_operation(c, o);
    (void)printf("class %s, token %llu, attempts %u, runs %u\n", class_names[o->op_class & 3],
                 (unsigned long long)o->token, o->attempts, o->runs);
    if (o->evidence[0] != '\0')
        (void)printf("%s%s%s\n", o->person, o->person[0] != '\0' ? ": " : "", o->evidence);
    if (o->result_size > 0) {
        fwrite(o->result, 1, o->result_size, stdout);
        if (((const char *)o->result)[o->result_size - 1] != '\n')
            (void)putchar('\n');
    }
}

int cmd_op_show(struct cli *c)
{
    strata_operation o;
    int status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_op_get(c->s, c->args[0], &o);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        status = cli_json(c, cli_json_operation(&o));
    else
        put_in_full(c, &o);
    return status == 0 ? cli_known_here(c, false) : status;
}
/* --- persons ---------------------------------------------------------------------------------- */

/* What is set where an agent calls. A guard against a model that means well, not a wall. */
static const char *const agent_marks[] = {"STRATA_AGENT",           "CLAUDECODE",
                                          "CLAUDE_CODE_ENTRYPOINT", "CODEX_SANDBOX",
                                          "OPENCLAW_AGENT",         "OPENCLAW_SESSION"};

/* Where a person finds what an agent may not decide. */
static const char *listed_by(const struct cli *c)
{
    if (c->command->run == cmd_coordinator_move)
        return "strata coordinator show";
    return c->command->run == cmd_op_again ? "strata op list" : "strata pending";
}

int cli_need_person(struct cli *c, const char **name)
{
    char hint[120];
    snprintf(hint, sizeof hint,
             "nothing was changed; it is listed by `%s`, where a person finds it", listed_by(c));
    for (size_t i = 0; i < sizeof agent_marks / sizeof agent_marks[0]; i++)
        if (getenv(agent_marks[i]) != NULL)
            return cli_error(c, STRATA_DENIED, hint,
                             "this is for a person: %s says that an agent is calling",
                             agent_marks[i]);
    if (!isatty(STDIN_FILENO) && !isatty(STDERR_FILENO))
        return cli_error(c, STRATA_DENIED, hint, "this is for a person at a terminal");
    const struct passwd *user = getpwuid(getuid());
    *name = c->options[OPT_BY] != NULL ? c->options[OPT_BY] : user != NULL ? user->pw_name : NULL;
    return *name != NULL ? 0 : cli_usage(c, "--by NAME: who decides?");
}

int cli_need_option(struct cli *c, enum cli_option_id id, const char *what)
{
    return cli_given(c, id) ? 0 : cli_usage(c, "%s is missing", what);
}

static int said(struct cli *c, int code, const char *key)
{
    strata_operation o;
    if (code == STRATA_OK)
        code = strata_op_get(c->s, key, &o);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, cli_json_operation(&o));
    if (!c->quiet)
        cli_put_operation(c, &o);
    if (o.state == STRATA_OP_PROPOSED)
        cli_note(c, "nothing runs by that: the next caller of the key runs it");
    return 0;
}

int cmd_op_settle(struct cli *c)
{
    static const char *const names[] = {"committed", "failed", "retry"};
    const char *person, *text = c->options[OPT_OUTCOME];
    int outcome = -1, status = cli_need_person(c, &person);
    for (int i = 0; text != NULL && i < 3; i++)
        if (strcmp(text, names[i]) == 0)
            outcome = i;
    if (status == 0 && outcome < 0)
        status = cli_usage(c, "--outcome is committed (it happened), failed (it did not) or retry "
                              "(it did not, and is to be run)");
    if (status == 0)
        status = cli_need_option(c, OPT_EVIDENCE, "--evidence TEXT (how do you know it?)");
    struct cli_text result = {0};
    if (status == 0 && cli_given(c, OPT_RESULT))
        status = cli_text_read(c, "result", c->options[OPT_RESULT], RESULT_SIZE_MAX, &result);
    if (status == 0)
        status = cli_open(c);
    if (status == 0)
        status = said(c,
                      strata_op_settle(c->s, c->args[0], outcome, person, c->options[OPT_EVIDENCE],
                                       result.p, result.n),
                      c->args[0]);
    cli_text_release(&result);
    return status;
}

static int decide(struct cli *c, bool approve)
{
    const char *person = NULL;
    int status = cli_need_person(c, &person);
    if (status == 0 && !approve)
        status = cli_need_option(c, OPT_REASON, "--reason TEXT");
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    const char *reason = cli_given(c, OPT_REASON) ? c->options[OPT_REASON] : "";
    return said(c, strata_op_decide(c->s, c->args[0], approve, person, reason), c->args[0]);
}

int cmd_op_approve(struct cli *c)
{
    return decide(c, true);
}

int cmd_op_reject(struct cli *c)
{
    return decide(c, false);
}

int cmd_op_again(struct cli *c)
{
    const char *person = NULL;
    int status = cli_need_person(c, &person);
    if (status == 0)
        status = cli_need_option(c, OPT_REASON, "--reason TEXT");
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    return said(c, strata_op_again(c->s, c->args[0], person, c->options[OPT_REASON]), c->args[0]);
}
