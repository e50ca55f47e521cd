/*
 * cmd_step.c - once-only operations step by step, for programs that make the call themselves:
 * begin, start, renew, report, refuse; and prune.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>

#define PARAMS_SIZE_MAX (1024 * 1024)
#define RESULT_SIZE_MAX 131072
#define TERM_MS_DEFAULT (3600ull * 1000)

int cli_class(struct cli *c, int *out)
{
    static const char *const names[] = {"naked", "keyed", "queryable", "idempotent"};
    const char *text = c->options[OPT_CLASS];
    *out = STRATA_NAKED;
    for (int i = 0; text != NULL && i < 4; i++)
        if (strcmp(text, names[i]) == 0)
            *out = i;
    if (text != NULL && strcmp(text, names[*out]) != 0)
        return cli_usage(c, "--class is naked, keyed, queryable or idempotent, not `%s`", text);
    return 0;
}

int cli_valid_for(struct cli *c, int op_class, uint64_t *ms)
{
    if (!cli_given(c, OPT_VALID_FOR))
        return 0;
    if (op_class != STRATA_KEYED)
        return cli_usage(c, "--valid-for is for --class keyed");
    return cli_duration(c, "--valid-for", c->options[OPT_VALID_FOR], ms);
}

const char *cli_holder(const strata_operation *o)
{
    return o->holder != NULL && o->holder[0] != '\0' ? o->holder : "somebody";
}

int cli_token(struct cli *c, const char *list, uint64_t *token)
{
    if (!cli_given(c, OPT_TOKEN))
        return cli_usage(c, "--token N: the number that was printed when it was given out%s%s%s",
                         list != NULL ? " (`" : "", list != NULL ? list : "",
                         list != NULL ? "` shows it)" : "");
    return cli_number(c, "--token", c->options[OPT_TOKEN], (UINT64_C(1) << 53) - 1, token);
}

static int read_term(struct cli *c, uint64_t *ms)
{
    *ms = TERM_MS_DEFAULT;
    int status = 0;
    if (cli_given(c, OPT_TERM))
        status = cli_duration(c, "--term", c->options[OPT_TERM], ms);
    return status == 0 && *ms == 0 ? cli_usage(c, "--term is longer than nothing") : status;
}

/* --- begin ------------------------------------------------------------------------------------ */

/* By answer: its name in JSON, the exit status, and what it means. */
static const struct {
    const char *name;
    int exit;
    const char *text;
} answers[] = {
    [STRATA_OP_RUN] = {"run", 0, NULL},
    [STRATA_OP_REPLAY] = {"replay", 8, "done before: this is its result; do not make the call"},
    [STRATA_OP_BUSY] = {"in_progress", 5, NULL},
    [STRATA_OP_DOUBT] = {"in_doubt", 7,
                         "outcome unknown. Do not retry and do not use another key. A person has "
                         "been asked; go on with other work"},
    [STRATA_OP_MISMATCH] = {"mismatch", 3,
                            "stands for something with other parameters; if that is the same in "
                            "other words, do not make the call. Another key is for another effect "
                            "only"},
    [STRATA_OP_APPROVAL] =
        {"approval", 4,
         "waits for a person to approve it (strata pending lists it); go on with "
         "other work"},
    [STRATA_OP_ENDED] = {"ended", 9,
                         "it ended and nothing happened; a person can have it run again"},
    [STRATA_OP_PRUNED] =
        {"pruned", 9,
         "known before, its result was pruned; do not make the call, and do not use "
         "another key for the same"},
};

static int print_answer(struct cli *c, const char *key, const strata_op_answer *a)
{
    if (c->json) {
        json_t *operation = a->operation.state == STRATA_OP_UNKNOWN
                                ? json_null()
                                : cli_json_operation(&a->operation);
        int status = cli_json(c, json_pack("{s:s,s:I,s:o}", "answer", answers[a->answer].name,
                                           "token", (json_int_t)a->token, "operation", operation));
        return status != 0 ? status : answers[a->answer].exit;
    }
    if (a->answer == STRATA_OP_RUN)
        (void)printf("%" PRIu64 "\n", a->token);
    else if (a->answer == STRATA_OP_BUSY)
        cli_warn(c, "%s: %s is at it; ask again later, under the same key", key,
                 cli_holder(&a->operation));
    else
        cli_warn(c, "%s: %s", key, answers[a->answer].text);
    if (a->answer == STRATA_OP_REPLAY)
        fwrite(a->operation.result, 1, a->operation.result_size, stdout);
    return answers[a->answer].exit;
}

int cmd_op_begin(struct cli *c)
{
    struct cli_text params = {0};
    strata_op_request r = {.size = sizeof r, .only_grant = true};
    int status = cli_class(c, &r.op_class);
    if (status == 0 && !cli_given(c, OPT_KEY))
        status = cli_usage(c, "--key names what must not happen twice");
    if (status == 0)
        status = read_term(c, &r.term_ms);
    if (status == 0)
        status = cli_valid_for(c, r.op_class, &r.valid_for_ms);
    if (status == 0 && cli_given(c, OPT_PARAMS))
        status = cli_text_read(c, "parameters", c->options[OPT_PARAMS], PARAMS_SIZE_MAX, &params);
    if (status == 0)
        status = cli_open(c);
    if (status == 0) {
        strata_op_answer a;
        r.key = c->options[OPT_KEY];
        r.parameters = params.p != NULL ? params.p : "";
        r.parameters_size = params.n;
        r.needs_approval = cli_given(c, OPT_NEEDS_APPROVAL);
        int code = strata_op_begin(c->s, &r, &a);
        status = code == STRATA_OK ? print_answer(c, r.key, &a) : cli_fail(c, code);
    }
    cli_text_release(&params);
    return status;
}

/* --- with the token --------------------------------------------------------------------------- */

static int said(struct cli *c, int code)
{
    strata_operation o;
    if (code == STRATA_OK && c->json)
        code = strata_op_get(c->s, c->args[0], &o);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    return c->json ? cli_json(c, cli_json_operation(&o)) : 0;
}

static int open_with_token(struct cli *c, uint64_t *token)
{
    int status = cli_token(c, NULL, token);
    return status == 0 ? cli_open(c) : status;
}

int cmd_op_start(struct cli *c)
{
    uint64_t token = 0;
    int status = open_with_token(c, &token);
    return status == 0 ? said(c, strata_op_start(c->s, c->args[0], token)) : status;
}

int cmd_op_renew(struct cli *c)
{
    uint64_t token = 0, term_ms = 0;
    int status = read_term(c, &term_ms);
    if (status == 0)
        status = open_with_token(c, &token);
    return status == 0 ? said(c, strata_op_renew(c->s, c->args[0], token, term_ms)) : status;
}

int cmd_op_report(struct cli *c)
{
    uint64_t token = 0;
    struct cli_text result = {0};
    int status = 0;
    if (cli_given(c, OPT_RESULT))
        status = cli_text_read(c, "result", c->options[OPT_RESULT], RESULT_SIZE_MAX, &result);
    if (status == 0)
        status = open_with_token(c, &token);
    if (status == 0)
        status = said(c, strata_op_report(c->s, c->args[0], token, result.p, result.n, -1));
    cli_text_release(&result);
    return status;
}

int cmd_op_refuse(struct cli *c)
{
    uint64_t token = 0;
    int status = cli_given(c, OPT_EVIDENCE)
                     ? 0
                     : cli_usage(c, "--evidence TEXT: how do you know that nothing happened?");
    if (status == 0)
        status = open_with_token(c, &token);
    return status == 0
               ? said(c, strata_op_refuse(c->s, c->args[0], token, c->options[OPT_EVIDENCE], -1))
               : status;
}

/* --- prune ------------------------------------------------------------------------------------ */

int cmd_op_prune(struct cli *c)
{
    uint64_t older_ms = 0, count;
    int status = cli_given(c, OPT_OLDER_THAN)
                     ? cli_duration(c, "--older-than", c->options[OPT_OLDER_THAN], &older_ms)
                     : cli_usage(c, "--older-than DURATION: what ended in that time stays");
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_op_prune(c->s, older_ms, &count);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, json_pack("{s:I}", "pruned", (json_int_t)count));
    if (!c->quiet)
        (void)printf("%" PRIu64 " results forgotten; their keys stay known\n", count);
    return 0;
}
