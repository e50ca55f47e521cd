/*
 * task_claims.c - taking tasks, reporting on them, ending them.
 *
 * A claim, a checkpoint, an end is first accepted by the ledger (claims.h), then told in the
 * channel (task_copy.c). A task for `agent@copy` is that agent's on that copy without a claim.
 * Where another copy decides, an end is kept in the channel as `reported`.
 */
#include "lib/claims.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A worker that waits looks again after this at the latest: claims lapse without a record. */
#define LOOK_AGAIN_MS 1000

#define HAS(o, field)                                                                              \
    ((o) != NULL && (o)->size >= offsetof(__typeof__(*(o)), field) + sizeof((o)->field))

static int find(strata *s, const char *id, char entity[ST_NUMBERED_SIZE + 1], strata_task *t)
{
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    code = st_task_find(s, id, entity);
    enum st_code got = code == STRATA_OK ? st_task_fill(s, st_str_of(entity), t) : ST_OK;
    st_lib_end(s);
    return got == ST_OK ? code : st_lib_index_fault(s, got);
}

static int is_finished(strata *s, const strata_task *t)
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

/* The claim that a command without a token means: the live one of this agent. */
static int own_token(strata *s, const char *entity, uint64_t *token)
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
    if (c.held)
        st_lib_fail(s, ST_CONFLICT, "not accepted: %s is claimed by %s", entity + 1, c.holder);
    else
        st_lib_fail(s, ST_CONFLICT, "not accepted: you have not claimed %s", entity + 1);
    st_lib_hint(s, c.held ? "nothing was recorded; go on with other work"
                          : "nothing was recorded; `strata claim N` takes it");
    return ST_CONFLICT;
}

/* --- taking ----------------------------------------------------------------------------------- */

static void taken(const struct st_claim *c, strata_task_taken *out)
{
    snprintf(out->id, sizeof out->id, "%s", c->name + 1);
    out->token = c->token;
    out->left_ms = c->left_ms;
}

/* Between the look and the claim it may have been finished, or been given something to wait for. */
static bool still_ready(strata *s, const char *entity)
{
    struct st_task t;
    struct st_buf key;
    if (st_lib_begin(s) != STRATA_OK)
        return false;
    st_buf_init(&key, st_alloc_libc());
    enum st_code code = st_task_read(st_index_kv(s->index), st_str_of(entity), &key, &t);
    st_buf_release(&key);
    st_lib_end(s);
    return code == ST_OK && st_task_ready(&t);
}

static int nothing_ready(strata *s, const strata_task_query *q)
{
    char why[300] = "";
    strata_task_totals t = {0};
    int code = strata_task_totals_get(s, &t);
    if (code != STRATA_OK)
        return code;
    size_t used = 0;
    for (size_t i = 0; i < s->held.count && i < 3; i++)
        used += (size_t)snprintf(why + used, sizeof why - used, "%s%.40s is claimed by %.40s",
                                 used > 0 ? ", " : "", s->held.list[i].entity + 1,
                                 s->held.list[i].holder);
    if (s->held.count > 3)
        snprintf(why + used, sizeof why - used, ", and %zu more are claimed", s->held.count - 3);
    uint64_t waiting = t.unfinished > t.ready ? t.unfinished - t.ready : 0;
    st_lib_fail(s, ST_TIMEOUT, "nothing ready%s%s%s%s; %" PRIu64 " wait for others or are held",
                HAS(q, channel) && q->channel != NULL ? " in " : "",
                HAS(q, channel) && q->channel != NULL ? q->channel : "", why[0] != '\0' ? ": " : "",
                why, waiting);
    st_lib_hint(s, "to wait: --wait 60s; `strata list --blocked` shows what waits for what");
    return ST_TIMEOUT;
}

/* One try. STRATA_TIMEOUT: nothing is there, or others were faster (*again). `end` is reported
 * once, with the first claim that is asked for. */
static int try_next(strata *s, const strata_task_query *q, uint64_t term_ms, uint64_t run,
                    const struct st_claim_end **end, strata_task_taken *out, bool *again)
{
    char entities[ST_CLAIMS_MAX][ST_NUMBERED_SIZE + 1];
    const char *names[ST_CLAIMS_MAX];
    size_t count;
    bool assigned;
    struct st_claim c = {.token = 0};
    *again = false;
    int code = st_task_candidates(s, q, ST_CLAIMS_MAX, entities, &count, &assigned);
    if (code != STRATA_OK)
        return code;
    if (count > 0 && assigned) {
        snprintf(out->id, sizeof out->id, "%.95s", entities[0] + 1);
        return STRATA_OK;
    }
    if (count == 0 && *end == NULL)
        return STRATA_TIMEOUT;
    for (size_t i = 0; i < count; i++)
        names[i] = entities[i];
    code = st_claims_take(s, names, count, term_ms, run, *end, &c);
    bool ended = *end != NULL;
    *end = NULL;
    if (ended && (code == STRATA_OK || code == STRATA_TIMEOUT)) {
        int settled = st_task_settle(s);
        if (settled != STRATA_OK)
            return settled;
    }
    if (c.token == 0) {
        *again = code == STRATA_TIMEOUT && count > 0;
        return code == STRATA_OK ? STRATA_TIMEOUT : code;
    }
    taken(&c, out);
    char entity[ST_NUMBERED_SIZE + 1];
    snprintf(entity, sizeof entity, "%s", c.name);
    if (code != STRATA_OK || still_ready(s, entity))
        return code;
    *again = true;
    code = st_claims_release(s, entity, out->token);
    return code == STRATA_OK ? STRATA_TIMEOUT : code;
}

static int claim_end(strata *s, const strata_task_end *end, char entity[ST_NUMBERED_SIZE + 1],
                     struct st_claim_end *out)
{
    strata_task t;
    int code = find(s, end->id, entity, &t);
    if (code == STRATA_OK && t.finished)
        code = is_finished(s, &t);
    *out = (struct st_claim_end){
        .name = entity,
        .token = end->token,
        .outcome = strcmp(end->state, "done") == 0    ? ST_OUTCOME_COMMITTED
                   : strcmp(end->state, "retry") == 0 ? ST_OUTCOME_RETRY
                                                      : ST_OUTCOME_FAILED,
        .result = end->text,
        .result_size = end->text == NULL              ? 0
                       : end->text_size == STRATA_NUL ? strlen(end->text)
                                                      : end->text_size,
    };
    return code == STRATA_OK ? own_token(s, entity, &out->token) : code;
}

int strata_task_next(strata *s, const strata_task_query *q, uint64_t wait_ms, uint64_t term_ms,
                     uint64_t run, const strata_task_end *end, strata_task_taken *out)
{
    const struct st_env *env = s->log.env;
    uint64_t start = env->boot_ns(env->ctx);
    char entity[ST_NUMBERED_SIZE + 1];
    struct st_claim_end first;
    const struct st_claim_end *todo = NULL;
    *out = (strata_task_taken){.token = 0};
    int code = st_task_settle(s);
    if (code == STRATA_OK && end != NULL) {
        code = claim_end(s, end, entity, &first);
        todo = &first;
    }
    while (code == STRATA_OK) {
        bool again;
        code = try_next(s, q, term_ms, run, &todo, out, &again);
        if (code != STRATA_TIMEOUT)
            return code;
        uint64_t spent = (env->boot_ns(env->ctx) - start) / 1000000;
        if (again && spent < (wait_ms > LOOK_AGAIN_MS ? wait_ms : LOOK_AGAIN_MS)) {
            code = STRATA_OK;
            continue;
        }
        if (spent >= wait_ms)
            return nothing_ready(s, q);
        uint64_t cursor, left = wait_ms - spent;
        code = strata_events_end(s, &cursor);
        if (code == STRATA_OK)
            code = strata_events_wait(s, cursor,
                                      (uint32_t)(left < LOOK_AGAIN_MS ? left : LOOK_AGAIN_MS));
    }
    return code;
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
        code = find(s, id, entity, &t);
    if (code != STRATA_OK)
        return code;
    if (t.finished)
        return is_finished(s, &t);
    if (t.waits > 0)
        return st_lib_fail(s, ST_CONFLICT, "%s waits for %" PRIu64 " other%s", t.id, t.waits,
                           t.waits == 1 ? "" : "s");
    if (st_task_assigned(t.agent)) {
        snprintf(out->id, sizeof out->id, "%s", entity + 1);
        return STRATA_OK;
    }
    const char *const names[] = {entity};
    code = st_claims_take(s, names, 1, term_ms, run, NULL, &c);
    if (code == STRATA_OK)
        taken(&c, out);
    return code;
}

/* --- with a claim ----------------------------------------------------------------------------- */

int strata_task_release(strata *s, const char *id, uint64_t token)
{
    char entity[ST_NUMBERED_SIZE + 1];
    strata_task t;
    int code = find(s, id, entity, &t);
    if (code == STRATA_OK)
        code = own_token(s, entity, &token);
    return code == STRATA_OK ? st_claims_release(s, entity, token) : code;
}

int strata_task_renew(strata *s, const char *id, uint64_t token, uint64_t term_ms)
{
    char entity[ST_NUMBERED_SIZE + 1];
    if (snprintf(entity, sizeof entity, "#%s", id) >= (int)sizeof entity)
        return st_lib_fail(s, ST_INVALID, "'%.90s' is not the name of a task", id);
    int code = own_token(s, entity, &token);
    return code == STRATA_OK ? st_claims_renew(s, entity, token, term_ms) : code;
}

/* Layer 2 alone: what is assigned, and reports where another copy decides. */
static int tell(strata *s, const char *entity, const char *attribute, struct st_str value)
{
    struct st_op op = {.kind = ST_OP_SET,
                       .entity = st_str_of(entity),
                       .attribute = st_str_of(attribute),
                       .value = value};
    struct st_record r = {
        .agent = st_str_of(s->agent), .incarnation = s->incarnation, .ops = &op, .op_count = 1};
    int code = st_lib_append(s, &r, NULL, NULL);
    return code == STRATA_OK ? st_lib_wait(s, &r, 0) : code;
}

int strata_task_checkpoint(strata *s, const char *id, uint64_t token, const char *text, size_t size)
{
    char entity[ST_NUMBERED_SIZE + 1];
    strata_task t;
    struct st_str v = {text, size == STRATA_NUL ? strlen(text) : size};
    int code = st_lib_value(s, "checkpoint", v);
    if (code == STRATA_OK)
        code = st_task_settle(s);
    if (code == STRATA_OK)
        code = find(s, id, entity, &t);
    if (code != STRATA_OK)
        return code;
    if (t.finished)
        return is_finished(s, &t);
    if (st_task_assigned(t.agent))
        return tell(s, entity, "checkpoint", v);
    code = own_token(s, entity, &token);
    if (code == STRATA_OK)
        code = st_claims_checkpoint(s, entity, token, v.p, v.n, 0);
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

/* Kept until the copy that decides has seen it. */
static int report(strata *s, const char *entity, const strata_task_end *end)
{
    struct st_buf text;
    st_buf_init(&text, st_alloc_libc());
    st_buf_add_text(&text, strcmp(end->state, "done") == 0 ? "done " : "failed ");
    st_buf_add_u64(&text, end->token);
    st_buf_add_char(&text, ' ');
    st_buf_add_text(&text, s->agent[0] != '\0' ? s->agent : "-");
    st_buf_add_char(&text, '\n');
    if (end->text != NULL)
        st_buf_add(&text, end->text,
                   end->text_size == STRATA_NUL ? strlen(end->text) : end->text_size);
    int code = text.failed ? st_lib_fail(s, ST_NO_MEMORY, "out of memory; nothing was recorded")
                           : st_lib_value(s, "result", st_buf_str(&text));
    if (code == STRATA_OK)
        code = tell(s, entity, "reported", st_buf_str(&text));
    st_buf_release(&text);
    return code;
}

/* Whoever ends what nobody has claimed claims it for that: an end is accepted once. */
static int take_to_end(strata *s, const char *entity, uint64_t *token)
{
    struct st_claim c;
    int code = st_claims_look(s, &entity, 1, &c);
    if (code != STRATA_OK)
        return code;
    bool mine = c.held && strcmp(c.holder, s->agent) == 0;
    if (c.held || mine)
        return own_token(s, entity, token);
    const char *const names[] = {entity};
    code = st_claims_take(s, names, 1, 0, 0, NULL, &c);
    *token = c.token;
    return code;
}

/* It may be tried again: when, and how often it was. */
static int tell_retry(strata *s, const char *entity, const strata_task_end *end, uint64_t retries)
{
    const struct st_env *env = s->log.env;
    char count[24];
    strata_task_change c = {.size = sizeof c,
                            .reason = end->text,
                            .priority = STRATA_PRIORITY_NONE,
                            .not_before_ms = UINT64_MAX};
    if (end->retry_in_ms > 0)
        c.not_before_ms = env->wall_ms(env->ctx) + end->retry_in_ms;
    snprintf(count, sizeof count, "%" PRIu64, retries + 1);
    int code = tell(s, entity, "retries", st_str_of(count));
    return code == STRATA_OK && (c.reason != NULL || end->retry_in_ms > 0)
               ? strata_task_update(s, end->id, &c, 0)
               : code;
}

int strata_task_finish(strata *s, const strata_task_end *asked, bool *accepted)
{
    char entity[ST_NUMBERED_SIZE + 1];
    strata_task t;
    strata_task_end end = *asked;
    bool unused;
    if (accepted == NULL)
        accepted = &unused;
    *accepted = true;
    if (end.text != NULL) {
        struct st_str v = {end.text,
                           end.text_size == STRATA_NUL ? strlen(end.text) : end.text_size};
        int code = st_lib_value(s, "result", v);
        if (code != STRATA_OK)
            return code;
    }
    int code = st_task_settle(s);
    if (code == STRATA_OK)
        code = find(s, end.id, entity, &t);
    if (code != STRATA_OK)
        return code;
    bool retry = strcmp(end.state, "retry") == 0;
    if (retry && t.retries + 1 >= STRATA_TASK_RETRIES) {
        end.state = "failed";
        retry = false;
    }
    if (st_task_assigned(t.agent))
        return retry ? tell_retry(s, entity, &end, t.retries) : end_told(s, &end, end.state);
    if (t.finished) {
        /* The same again, by who did it: as accepted. */
        bool same = end.token == 0 && strcmp(t.state, end.state) == 0;
        return same ? end_told(s, &end, end.state) : is_finished(s, &t);
    }
    struct st_claim_end claimed = {
        .name = entity,
        .token = end.token,
        .outcome = retry                            ? ST_OUTCOME_RETRY
                   : strcmp(end.state, "done") == 0 ? ST_OUTCOME_COMMITTED
                                                    : ST_OUTCOME_FAILED,
        .result = end.text,
        .result_size = end.text == NULL              ? 0
                       : end.text_size == STRATA_NUL ? strlen(end.text)
                                                     : end.text_size,
    };
    code = claimed.token == 0 ? take_to_end(s, entity, &claimed.token) : STRATA_OK;
    if (code == STRATA_OK && retry)
        code = tell_retry(s, entity, &end, t.retries); /* not ready before it is given back */
    if (code == STRATA_OK)
        code = st_claims_finish(s, &claimed);
    if (code == STRATA_UNAVAILABLE) {
        *accepted = false;
        return report(s, entity, &end);
    }
    return code == STRATA_OK ? st_task_settle(s) : code;
}

int strata_task_reopen(strata *s, const char *id, const char *reason)
{
    char entity[ST_NUMBERED_SIZE + 1];
    strata_task t;
    int code = st_task_settle(s);
    if (code == STRATA_OK)
        code = find(s, id, entity, &t);
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
