/*
 * task_claims.c - taking a certain task, reporting on it, ending it. (The best one: task_next.c.)
 *
 * A claim, a checkpoint, an end is first accepted by the ledger (claims.h), then told in the
 * channel (task_copy.c). A task for `agent@copy` is that agent's on that copy without a claim.
 * Where another copy decides, an end is kept in the channel as `reported`.
 */
#include "lib/task.h"

#include "lib/strong.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int st_task_look(strata *s, const char *id, char entity[ST_NUMBERED_SIZE + 1], strata_task *t)
{
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    code = st_task_find(s, id, entity);
    enum st_code got = code == STRATA_OK ? st_task_fill(s, st_str_of(entity), t) : ST_OK;
    st_lib_end(s);
    return got == ST_OK ? code : st_lib_index_fault(s, got);
}

int st_task_is_finished(strata *s, const strata_task *t)
{
    st_lib_fail(s, ST_CONFLICT, "not accepted: %s is %s already%s%.*s", t->id, t->state,
                t->result_size > 0 ? ": " : "", (int)(t->result_size < 200 ? t->result_size : 200),
                t->result);
    st_lib_hint(s, "nothing was recorded; go on with other work");
    return ST_CONFLICT;
}

/* --- live claims ------------------------------------------------------------------------------ */

static int visit_held(void *arg, const struct st_claim *c)
{
    struct st_held *h = arg;
    struct st_held_one *list = realloc(h->list, (h->count + 1) * sizeof *list);
    if (list == NULL)
        return STRATA_NO_MEMORY;
    h->list = list;
    struct st_held_one *one = &list[h->count++];
    *one = (struct st_held_one){.token = c->token, .left_ms = c->left_ms};
    snprintf(one->entity, sizeof one->entity, "%s", c->name);
    snprintf(one->holder, sizeof one->holder, "%s", c->holder);
    return 0;
}

static int compare_held(const void *a, const void *b)
{
    return strcmp(((const struct st_held_one *)a)->entity, ((const struct st_held_one *)b)->entity);
}

int st_task_held(strata *s)
{
    strata_error kept = s->error;
    s->held.count = 0;
    int code = st_claims_held_each(s, NULL, visit_held, &s->held);
    if (s->held.count > 1)
        qsort(s->held.list, s->held.count, sizeof *s->held.list, compare_held);
    if (code != STRATA_UNAVAILABLE)
        return code;
    s->error = kept;
    return STRATA_OK;
}

const struct st_held_one *st_task_holder(const strata *s, struct st_str entity)
{
    struct st_held_one key;
    if (s->held.count == 0)
        return NULL;
    snprintf(key.entity, sizeof key.entity, "%.*s", (int)entity.n, entity.p);
    return bsearch(&key, s->held.list, s->held.count, sizeof key, compare_held);
}

/* Here nobody can claim it, so it is no use to advise that. */
static int unclaimed_elsewhere(strata *s, const char *entity)
{
    st_lib_fail(s, ST_UNAVAILABLE,
                "not accepted: you have not claimed %s, and another copy decides", entity + 1);
    st_lib_hint(s, "nothing was recorded; claim it and go on there (`strata coordinator show` says "
                   "`this copy decides` on it), or keep here with `strata done` or `strata fail` "
                   "how it ended");
    return ST_UNAVAILABLE;
}

/* The claim that a command without a token means: the live one of this agent. */
int st_task_own_token(strata *s, const char *entity, uint64_t *token)
{
    struct st_claim c;
    if (*token != 0)
        return STRATA_OK;
    int code = st_claims_look(s, &entity, 1, &c);
    if (code != STRATA_OK)
        return code;
    bool mine = c.held && strcmp(c.holder, s->agent) == 0 &&
                (s->incarnation == 0 || c.incarnation == s->incarnation);
    if (mine) {
        *token = c.token;
        return STRATA_OK;
    }
    if (!c.held && st_lib_decides(s) == STRATA_UNAVAILABLE)
        return unclaimed_elsewhere(s, entity);
    if (c.held)
        st_lib_fail(s, ST_CONFLICT, "not accepted: %s is claimed by %s", entity + 1, c.holder);
    else
        st_lib_fail(s, ST_CONFLICT, "not accepted: you have not claimed %s", entity + 1);
    st_lib_hint(s, c.held ? "nothing was recorded; go on with other work"
                          : "nothing was recorded; `strata claim N` takes it");
    return ST_CONFLICT;
}

/* --- telling ---------------------------------------------------------------------------------- */

/* Layer 2 alone: what is assigned. */
static int tell(strata *s, const char *entity, const char *attribute, struct st_str value)
{
    struct st_op op = {.kind = ST_OP_SET,
                       .entity = st_str_of(entity),
                       .attribute = st_str_of(attribute),
                       .value = value};
    struct st_record r = {
        .agent = st_str_of(s->agent), .incarnation = s->incarnation, .ops = &op, .op_count = 1};
    return st_lib_append(s, &r, NULL, NULL, 0);
}

int st_task_check_text(strata *s, const strata_task_end *end)
{
    struct st_str v = {end->text, st_task_text_size(end->text, end->text_size)};
    return st_lib_value(s, strcmp(end->state, "done") == 0 ? "result" : "reason", v);
}

/* --- taking ----------------------------------------------------------------------------------- */

void st_task_taken(const struct st_claim *c, strata_task_taken *out)
{
    snprintf(out->id, sizeof out->id, "%s", c->name + 1);
    out->token = c->token;
    out->left_ms = c->left_ms;
}

/* Why a task cannot be had, whoever wants it; STRATA_OK: it can. */
static int check_open(strata *s, const strata_task *t)
{
    if (t->finished)
        return st_task_is_finished(s, t);
    if (t->waits > 0) {
        st_lib_fail(s, ST_CONFLICT, "%s waits for %" PRIu64 " other task%s", t->id, t->waits,
                    t->waits == 1 ? "" : "s");
        st_lib_hint(s, "nothing was recorded; `strata list --blocked` shows what it waits for");
        return ST_CONFLICT;
    }
    return STRATA_OK;
}

int strata_task_claim(strata *s, const char *id, uint64_t term_ms, uint64_t run,
                      strata_task_taken *out)
{
    char entity[ST_NUMBERED_SIZE + 1];
    strata_task t;
    struct st_claim c;
    *out = (strata_task_taken){.token = 0};
    int code = st_task_settle(s);
    if (code == STRATA_OK)
        code = st_task_look(s, id, entity, &t);
    if (code == STRATA_OK)
        code = check_open(s, &t);
    if (code != STRATA_OK)
        return code;
    if (st_task_assigned(t.agent)) {
        snprintf(out->id, sizeof out->id, "%s", entity + 1);
        return STRATA_OK;
    }
    const char *const names[] = {entity};
    code = st_claims_take(s, names, 1, 1, term_ms, run, NULL, &c);
    if (code != STRATA_OK)
        return code;
    st_task_taken(&c, out);
#ifdef ST_DEFECT_CLAIM_UNCHECKED
    return STRATA_OK;
#endif
    /* It may have changed between the look and the claim. */
    code = st_task_settle(s);
    if (code == STRATA_OK)
        code = st_task_look(s, id, entity, &t);
    if (code == STRATA_OK)
        code = check_open(s, &t);
    bool assigned = code == STRATA_OK && st_task_assigned(t.agent);
    if (code == STRATA_OK && !assigned)
        return STRATA_OK;
    strata_error why = s->error;
    int released = st_claims_release(s, entity, out->token);
    s->error = why;
    *out = (strata_task_taken){.token = 0};
    if (assigned)
        snprintf(out->id, sizeof out->id, "%s", entity + 1);
    return code != STRATA_OK ? code : released;
}

/* --- with a claim ----------------------------------------------------------------------------- */

int strata_task_release(strata *s, const char *id, uint64_t token)
{
    char entity[ST_NUMBERED_SIZE + 1];
    strata_task t;
    int code = st_task_look(s, id, entity, &t);
    if (code == STRATA_OK)
        code = st_task_own_token(s, entity, &token);
    return code == STRATA_OK ? st_claims_release(s, entity, token) : code;
}

int strata_task_renew(strata *s, const char *id, uint64_t token, uint64_t term_ms)
{
    char entity[ST_NUMBERED_SIZE + 1];
    if (snprintf(entity, sizeof entity, "#%s", id) >= (int)sizeof entity)
        return st_lib_fail(s, ST_INVALID, "'%.90s' is not the name of a task", id);
    int code = st_task_own_token(s, entity, &token);
    return code == STRATA_OK ? st_claims_renew(s, entity, token, term_ms) : code;
}

int strata_task_checkpoint(strata *s, const char *id, uint64_t token, const char *text, size_t size,
                           uint64_t term_ms)
{
    char entity[ST_NUMBERED_SIZE + 1];
    strata_task t;
    struct st_str v = {text, size == STRATA_NUL ? strlen(text) : size};
    int code = st_lib_value(s, "checkpoint", v);
    if (code == STRATA_OK)
        code = st_task_settle(s);
    if (code == STRATA_OK)
        code = st_task_look(s, id, entity, &t);
    if (code != STRATA_OK)
        return code;
    if (t.finished)
        return st_task_is_finished(s, &t);
    if (st_task_assigned(t.agent))
        return tell(s, entity, "checkpoint", v);
    code = st_task_own_token(s, entity, &token);
    if (code == STRATA_OK)
        code = st_claims_checkpoint(s, entity, token, v.p, v.n, term_ms);
    return code == STRATA_OK ? st_task_settle(s) : code;
}

/* --- ending ----------------------------------------------------------------------------------- */

static int end_told(strata *s, const strata_task_end *end, const char *state)
{
    bool done = strcmp(state, "done") == 0;
    strata_task_change c = {.size = sizeof c,
                            .state = state,
                            .result = done ? end->text : NULL,
                            .result_size = end->text_size,
                            .reason = done ? NULL : end->text,
                            .priority = STRATA_PRIORITY_NONE,
                            .not_before_ms = UINT64_MAX};
    return strata_task_update(s, end->id, &c, 0);
}

/* Without a token: the live claim of this agent; of nobody's, none. */
static int token_to_end(strata *s, const char *entity, uint64_t *token)
{
    struct st_claim c;
    if (*token != 0)
        return STRATA_OK;
    int code = st_claims_look(s, &entity, 1, &c);
    return code == STRATA_OK && c.held ? st_task_own_token(s, entity, token) : code;
}

static int finish_claimed(strata *s, const char *entity, const strata_task_end *asked,
                          uint64_t retried, bool *accepted)
{
    struct st_task_ending e;
    int code = st_task_ending_init(s, &e, entity, asked, retried);
    if (code == STRATA_OK)
        code = token_to_end(s, entity, &e.end.token);
#ifdef ST_DEFECT_END_WITHOUT_TOKEN
    if (code == STRATA_OK)
        code = end_told(s, asked, asked->state);
#else
    if (code == STRATA_OK)
        code = st_claims_finish(s, &e.end);
#endif
    if (code == STRATA_UNAVAILABLE) {
        *accepted = false;
        code = st_task_report(s, &e.end);
    } else if (code == STRATA_OK) {
        code = st_task_settle(s);
    }
    st_task_ending_release(&e);
    return code;
}

/* Of a task that needs no claim: without the ledger. */
static int finish_assigned(strata *s, const char *entity, const strata_task_end *asked,
                           uint64_t retried)
{
    struct st_task_ending e;
    int code = st_task_ending_init(s, &e, entity, asked, retried);
    if (code == STRATA_OK)
        code = e.end.outcome == ST_OUTCOME_RETRY
                   ? st_task_tell_retry(s, entity, retried, st_buf_str(&e.text))
                   : end_told(s, asked, e.end.outcome == ST_OUTCOME_COMMITTED ? "done" : "failed");
    st_task_ending_release(&e);
    return code;
}

int strata_task_finish(strata *s, const strata_task_end *end, bool *accepted)
{
    char entity[ST_NUMBERED_SIZE + 1];
    strata_task t;
    bool unused;
    if (accepted == NULL)
        accepted = &unused;
    *accepted = true;
    int code = st_task_check_text(s, end);
    if (code == STRATA_OK)
        code = st_task_settle(s);
    if (code == STRATA_OK)
        code = st_task_look(s, end->id, entity, &t);
    if (code != STRATA_OK)
        return code;
    uint64_t retried = t.retries;
    if (st_task_assigned(t.agent))
        return finish_assigned(s, entity, end, retried);
    if (!t.finished)
        return finish_claimed(s, entity, end, retried, accepted);
    /* The same again, by who did it: as accepted. */
    bool same = end->token == 0 && strcmp(t.state, end->state) == 0;
    return same ? end_told(s, end, end->state) : st_task_is_finished(s, &t);
}

int strata_task_reopen(strata *s, const char *id, const char *reason)
{
    char entity[ST_NUMBERED_SIZE + 1];
    strata_task t;
    int code = st_task_settle(s);
    if (code == STRATA_OK)
        code = st_task_look(s, id, entity, &t);
    if (code == STRATA_OK)
        code = st_claims_reopen(s, entity, reason);
    if (code == STRATA_UNAVAILABLE)
        code = STRATA_OK; /* in the channel only; who decides sees it open there */
    if (code == STRATA_OK)
        code = st_task_settle(s);
    strata_task_change c = {.size = sizeof c,
                            .state = "open",
                            .priority = STRATA_PRIORITY_NONE,
                            .not_before_ms = UINT64_MAX};
    return code == STRATA_OK ? strata_task_update(s, id, &c, 0) : code;
}

int strata_run_begin(strata *s, uint64_t *run, int *fd)
{
    return st_claims_run_begin(s, run, fd);
}

void strata_run_end(strata *s, uint64_t run, int fd)
{
    st_claims_run_end(s, run, fd);
}
