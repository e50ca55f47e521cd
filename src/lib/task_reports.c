/*
 * task_reports.c - ends that are told where another copy decides.
 *
 * A report is the attribute `reported` of a task: "WORD TOKEN AGENT\nTEXT"; WORD is done, failed or retry,
 * AGENT "-" when it has none, and the text of a retry as in task.h. It travels with the channel. The copy that
 * decides puts it to the ledger, and then takes it away, whatever the ledger says.
 */
#include "lib/task.h"

#include "lib/strong.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const words[] = {
    [ST_OUTCOME_COMMITTED] = "done", [ST_OUTCOME_FAILED] = "failed", [ST_OUTCOME_RETRY] = "retry"};

/* Its first line. False: that cannot be read. */
static bool report_head(const char *text, char word[16], uint64_t *token,
                        char agent[ST_AGENT_SIZE_MAX + 1])
{
    word[0] = agent[0] = '\0';
    return sscanf(text, "%15[a-z] %" SCNu64 " %64[A-Za-z0-9._-]", word, token, agent) >= 2;
}

/* Within a read: the one that is kept of a task, lent; "" when none is. */
static int reported(strata *s, const char *entity, struct st_str *out)
{
    struct st_attribute a;
    enum st_code code = st_task_shown(s, entity, "reported", out, &a);
    return code == ST_OK ? STRATA_OK : st_lib_index_fault(s, code);
}

/* --- reporting -------------------------------------------------------------------------------- */

struct report {
    const char *entity;
    uint64_t token; /* of the claim that it ends */
    struct st_str text;
};

/* One is kept already: it stands, unless it is of an earlier claim. The same again is kept once. */
static int check_report(strata *s, void *arg)
{
    const struct report *r = arg;
    struct st_str v;
    int code = reported(s, r->entity, &v);
    if (code != STRATA_OK)
        return code;
    char kept[ST_AGENT_SIZE_MAX + 48], word[16], agent[ST_AGENT_SIZE_MAX + 1];
    uint64_t token;
#ifdef ST_DEFECT_REPORT_REPLACED
    return STRATA_OK;
#endif
    if (st_str_equal(v, r->text))
        return STRATA_EXISTS;
    snprintf(kept, sizeof kept, "%.*s", (int)v.n, v.p);
    if (!report_head(kept, word, &token, agent) || token < r->token)
        return STRATA_OK;
    bool named = agent[0] != '\0' && strcmp(agent, "-") != 0;
    st_lib_fail(s, ST_CONFLICT, "not accepted: %s is reported as %s already%s%s", r->entity + 1,
                word, named ? " by " : "", named ? agent : "");
    st_lib_hint(s, "nothing was recorded; another copy decides on that report: say this there, or "
                   "here when it has come back");
    return ST_CONFLICT;
}

int st_task_report(strata *s, const struct st_claim_end *end)
{
    struct st_buf text;
    st_buf_init(&text, st_alloc_libc());
    st_buf_add_text(&text, words[end->outcome]);
    st_buf_add_char(&text, ' ');
    st_buf_add_u64(&text, end->token);
    st_buf_add_char(&text, ' ');
    st_buf_add_text(&text, s->agent[0] != '\0' ? s->agent : "-");
    st_buf_add_char(&text, '\n');
    st_buf_add(&text, end->result, end->result_size);
    int code = text.failed ? st_lib_fail(s, ST_NO_MEMORY, "out of memory; nothing was recorded")
                           : st_lib_value(s, "report with its text", st_buf_str(&text));
    struct report x = {end->name, end->token, st_buf_str(&text)};
    struct st_op op = {.kind = ST_OP_SET,
                       .entity = st_str_of(end->name),
                       .attribute = ST_STR("reported"),
                       .value = x.text};
    struct st_record r = {
        .agent = st_str_of(s->agent), .incarnation = s->incarnation, .ops = &op, .op_count = 1};
    if (code == STRATA_OK)
        code = st_lib_append(s, &r, check_report, &x, 0);
    st_buf_release(&text);
    return code == STRATA_EXISTS ? STRATA_OK : code;
}

/* --- deciding --------------------------------------------------------------------------------- */

struct reports {
    char list[64][ST_NUMBERED_SIZE + 1];
    size_t count;
};

static enum st_code visit_reported(void *arg, struct st_str key, struct st_str value)
{
    struct reports *r = arg;
    struct st_task_id id;
    (void)value;
    if (!st_task_id_take(key, 2, &id))
        return ST_DAMAGED;
    st_task_id_text(id, r->list[r->count]);
    return ++r->count == sizeof r->list / sizeof *r->list ? ST_SCAN_STOP : ST_OK;
}

/* What was decided about is still there: another report that came meanwhile is not touched. */
static int check_decided(strata *s, void *arg)
{
    const struct report *x = arg;
    struct st_str v;
    int code = reported(s, x->entity, &v);
    return code != STRATA_OK || st_str_equal(v, x->text) ? code : STRATA_EXISTS;
}

static int report_end(strata *s, struct report *x, const char *refusal)
{
    struct st_op ops[2] = {
        {.kind = ST_OP_UNSET, .entity = st_str_of(x->entity), .attribute = ST_STR("reported")},
        {.kind = ST_OP_SET,
         .entity = st_str_of(x->entity),
         .attribute = ST_STR("refused"),
         .value = refusal != NULL ? st_str_of(refusal) : ST_STR("")}};
    struct st_record r = {
        .agent = st_str_of(s->agent), .ops = ops, .op_count = refusal != NULL ? 2 : 1};
    int code = st_lib_append(s, &r, check_decided, x, 0);
    return code == STRATA_EXISTS ? STRATA_OK : code; /* another process has decided, too */
}

/* Whether the ledger has this very end: whoever put it there died before it could say so here. */
static bool is_kept(strata *s, const struct st_claim_end *end)
{
    struct st_claim_kept kept;
    strata_error error = s->error;
    enum st_claim_outcome outcome = end->outcome == ST_OUTCOME_COMMITTED ? ST_CLAIM_DONE
                                    : end->outcome == ST_OUTCOME_FAILED  ? ST_CLAIM_FAILED
                                                                         : ST_CLAIM_RETRY;
    bool is = st_claims_kept(s, end->name, &kept) == STRATA_OK && kept.outcome == outcome &&
              (end->token == 0 || end->token == kept.token) &&
              st_str_equal(kept.result, (struct st_str){end->result, end->result_size});
    s->error = error;
    return is;
}

/* Without a token: accepted if nobody has claimed it. */
static int report_unclaimed(strata *s, const struct st_claim_end *end)
{
    struct st_claim claim;
    int code = st_claims_look(s, &end->name, 1, &claim);
    if (code != STRATA_OK)
        return code;
    return claim.token == 0
               ? st_claims_finish(s, end)
               : st_lib_fail(s, ST_CONFLICT, "%s was claimed meanwhile", end->name + 1);
}

/* What *out has of it is lent from `text`. */
static bool report_parse(const char *text, uint64_t retried, struct st_claim_end *out,
                         char agent[ST_AGENT_SIZE_MAX + 1])
{
    char word[16];
    const char *rest = strchr(text, '\n');
    size_t i = 0;
    if (rest == NULL || !report_head(text, word, &out->token, agent))
        return false;
    while (i < sizeof words / sizeof *words && strcmp(word, words[i]) != 0)
        i++;
    out->outcome = (enum st_outcome)i;
    struct st_str reason = st_str_of(rest + 1);
    uint64_t unused;
    if (out->outcome == ST_OUTCOME_RETRY && retried + 1 >= STRATA_TASK_RETRIES) {
        st_task_retry_parse(reason, &unused, &reason);
        out->outcome = ST_OUTCOME_FAILED;
    }
    out->result = reason.p;
    out->result_size = reason.n;
    return i < sizeof words / sizeof *words;
}

static int retries_of(strata *s, const char *entity, uint64_t *out)
{
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = st_task_shown_number(s, entity, "retries", out, NULL);
    st_lib_end(s);
    return got == ST_OK ? STRATA_OK : st_lib_index_fault(s, got);
}

static int decide(strata *s, const char *entity, const char *text)
{
    char agent[ST_AGENT_SIZE_MAX + 1] = "", own[ST_AGENT_SIZE_MAX + 1];
    struct st_claim_end end = {.name = entity};
    uint64_t retried, incarnation = s->incarnation;
    int code = retries_of(s, entity, &retried);
    if (code != STRATA_OK)
        return code;
    if (!report_parse(text, retried, &end, agent))
        return st_lib_fail(s, ST_CONFLICT, "the report cannot be read");
    /* It is said in the name of who reported it. */
    strcpy(own, s->agent);
    if (st_agent_check(st_str_of(agent)) == ST_OK) {
        strcpy(s->agent, agent);
        s->incarnation = 0;
    }
    code = end.token != 0 ? st_claims_finish(s, &end) : report_unclaimed(s, &end);
#ifndef ST_DEFECT_REPORT_DECIDED_TWICE
    if (code == STRATA_CONFLICT && is_kept(s, &end))
        code = STRATA_OK;
#endif
    strcpy(s->agent, own);
    s->incarnation = incarnation;
    return code;
}

static int decide_one(strata *s, const char *entity)
{
    struct st_str v;
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    code = reported(s, entity, &v);
    char *text = code == STRATA_OK ? strndup(v.p, v.n) : NULL;
    st_lib_end(s);
    if (text == NULL)
        return code != STRATA_OK ? code : st_lib_fail(s, ST_NO_MEMORY, "a report cannot be read");
    struct report x = {.entity = entity, .text = st_str_of(text)};
    if (text[0] != '\0') {
        code = decide(s, entity, text);
        if (code == STRATA_OK || code == STRATA_CONFLICT) {
            char refusal[sizeof s->error.message];
            snprintf(refusal, sizeof refusal, "%s", s->error.message);
            code = report_end(s, &x, code == STRATA_OK ? NULL : refusal);
        }
    }
    free(text);
    return code;
}

int st_task_reports_decide(strata *s)
{
    struct reports r = {.count = 0};
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    const struct st_kv *kv = st_index_kv(s->index);
    enum st_code got = kv->scan(kv->ctx, ST_STR("qw"), (struct st_str){"", 0}, visit_reported, &r);
    st_lib_end(s);
    if (got != ST_OK)
        return st_lib_index_fault(s, got);
    if (r.count == 0)
        return STRATA_OK;
    code = st_task_copy_all(s); /* it tells how often a task was tried again */
    if (code == STRATA_OK && !st_strong_here(s->strong))
        return STRATA_OK; /* another copy decides */
    for (size_t i = 0; i < r.count && code == STRATA_OK; i++)
        code = decide_one(s, r.list[i]);
    return code;
}
