/*
 * task_claims.c - taking tasks, reporting on them, ending them.
 *
 * A claim, a checkpoint, an end is first accepted by the ledger (claims.h), then told in the
 * channel (task_copy.c). A task for `agent@copy` is that agent's on that copy without a claim.
 * Where another copy decides, an end is kept in the channel as `reported`.
 */
#include "lib/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Of ready tasks, that many are looked at for one that is free; more are claimed at no time. */
#define WINDOW_MIN 64
#define WINDOW_MAX 65536

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

/* --- telling ---------------------------------------------------------------------------------- */

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

/* Kept until the copy that decides has seen it (task_copy.c). */
static int report(strata *s, const struct st_claim_end *end)
{
    static const char *const words[] = {[ST_OUTCOME_COMMITTED] = "done ",
                                        [ST_OUTCOME_FAILED] = "failed ",
                                        [ST_OUTCOME_RETRY] = "retry "};
    struct st_buf text;
    st_buf_init(&text, st_alloc_libc());
    st_buf_add_text(&text, words[end->outcome]);
    st_buf_add_u64(&text, end->token);
    st_buf_add_char(&text, ' ');
    st_buf_add_text(&text, s->agent[0] != '\0' ? s->agent : "-");
    st_buf_add_char(&text, '\n');
    st_buf_add(&text, end->result, end->result_size);
    int code = text.failed ? st_lib_fail(s, ST_NO_MEMORY, "out of memory; nothing was recorded")
                           : st_lib_value(s, "report with its text", st_buf_str(&text));
    if (code == STRATA_OK)
        code = tell(s, end->name, "reported", st_buf_str(&text));
    st_buf_release(&text);
    return code;
}

static int check_text(strata *s, const strata_task_end *end)
{
    struct st_str v = {end->text, st_task_text_size(end->text, end->text_size)};
    return st_lib_value(s, strcmp(end->state, "done") == 0 ? "result" : "reason", v);
}

/* --- taking ----------------------------------------------------------------------------------- */

static void taken(const struct st_claim *c, strata_task_taken *out)
{
    snprintf(out->id, sizeof out->id, "%s", c->name + 1);
    out->token = c->token;
    out->left_ms = c->left_ms;
}

/* Why a task cannot be had, whoever wants it; STRATA_OK: it can. */
static int check_open(strata *s, const strata_task *t)
{
    if (t->finished)
        return is_finished(s, t);
    if (t->waits > 0) {
        st_lib_fail(s, ST_CONFLICT, "%s waits for %" PRIu64 " other%s", t->id, t->waits,
                    t->waits == 1 ? "" : "s");
        st_lib_hint(s, "nothing was recorded; `strata list --blocked` shows what it waits for");
        return ST_CONFLICT;
    }
    return STRATA_OK;
}

/* Between the look and the claim it may have been finished, given something to wait for, given back
 * for later, or to somebody else. */
static bool still_ready(strata *s, const strata_task_query *q, const char *entity)
{
    bool is = false, copied;
    uint64_t position;
#ifdef ST_DEFECT_CLAIM_UNCHECKED
    return true;
#endif
    if (st_claims_position(s, entity, &position) != STRATA_OK || st_lib_begin(s) != STRATA_OK)
        return false;
    /* What an earlier holder has left, as that it is for later, has to be in the channel. */
    enum st_code code = st_task_copied(s, entity, position, &copied);
    if (code == ST_OK && copied)
        code = st_task_may_take(s, q, st_str_of(entity), &is);
    st_lib_end(s);
    if (code == ST_OK && !copied)
        return st_task_settle(s) == STRATA_OK && still_ready(s, q, entity);
    return code == ST_OK && is;
}

static int nothing_ready(strata *s, const strata_task_query *q)
{
    char why[300] = "";
    strata_task_totals t = {0};
    int code = st_task_held(s);
    if (code == STRATA_OK)
        code = strata_task_totals_get(s, &t);
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
    st_lib_hint(s, "`strata list --blocked` shows what waits for what");
    return ST_TIMEOUT;
}

/* What one call of strata_task_next() is about. */
struct taking {
    strata *s;
    const strata_task_query *q;
    uint64_t term_ms, run;
    const struct st_claim_end *end; /* to be reported with the next entry; NULL: none */
    strata_task_taken *out;
    bool again; /* others were faster: not a reason to wait */
};

/* Another copy decides: what is for this agent here can be had all the same. */
static int take_assigned(struct taking *t)
{
    char entity[1][ST_NUMBERED_SIZE + 1];
    size_t count, equal;
    bool assigned;
    strata_error kept = t->s->error;
    int code = st_task_candidates(t->s, t->q, 1, entity, &count, &equal, &assigned, true);
    if (code == STRATA_OK && count > 0)
        snprintf(t->out->id, sizeof t->out->id, "%.95s", entity[0] + 1);
    if (code != STRATA_OK || count > 0)
        return code;
    t->s->error = kept;
    return STRATA_UNAVAILABLE;
}

/* Takes the claim, unless its task is not to be had any more. */
static int keep_taken(struct taking *t, const struct st_claim *c)
{
    char entity[ST_NUMBERED_SIZE + 1];
    snprintf(entity, sizeof entity, "%s", c->name);
    taken(c, t->out);
    if (still_ready(t->s, t->q, entity))
        return STRATA_OK;
    t->again = true;
    int code = st_claims_release(t->s, entity, t->out->token);
    /* A conflict: the term was over before we came to it, and others have gone on. */
    return code == STRATA_OK || code == STRATA_CONFLICT ? STRATA_TIMEOUT : code;
}

/* The candidates of one try. */
struct wanted {
    char (*entities)[ST_NUMBERED_SIZE + 1];
    const char **names;
    size_t count, equal;
    bool assigned, all; /* all: there are no more than these */
};

static int want(struct taking *t, struct wanted *w)
{
    size_t max = t->s->task_window > WINDOW_MIN ? t->s->task_window : WINDOW_MIN;
    *w = (struct wanted){.entities = malloc(max * sizeof *w->entities),
                         .names = malloc(max * sizeof *w->names)};
    if (w->entities == NULL || w->names == NULL)
        return st_lib_fail(t->s, ST_NO_MEMORY, "out of memory; nothing was recorded");
    int code =
        st_task_candidates(t->s, t->q, max, w->entities, &w->count, &w->equal, &w->assigned, false);
    w->all = w->count < max;
    for (size_t i = 0; i < w->count; i++)
        w->names[i] = w->entities[i];
    return code;
}

static void wanted_release(struct wanted *w)
{
    free(w->entities);
    free(w->names);
}

/* After an entry that gave nothing. */
static int none_given(struct taking *t, const struct wanted *w, int code)
{
    if (code == STRATA_CONFLICT) /* the only one has ended, and whoever ended it has not told so */
        code = STRATA_TIMEOUT;
    else if (code != STRATA_OK && code != STRATA_TIMEOUT)
        return code;
    t->again = code == STRATA_TIMEOUT && w->count > 0;
    if (t->again && !w->all && t->s->task_window < WINDOW_MAX)
        t->s->task_window = 2 * w->count;
    code = st_task_settle(t->s);
    return code == STRATA_OK ? STRATA_TIMEOUT : code;
}

static int ask_for(struct taking *t, const struct wanted *w)
{
    struct st_claim c;
    const struct st_claim_end *end = t->end;
    int code = st_claims_take(t->s, w->names, w->count, w->equal, t->term_ms, t->run, end, &c);
    t->end = NULL;
    if (code == STRATA_UNAVAILABLE) {
        strata_error kept = t->s->error;
        code = end != NULL ? report(t->s, end) : STRATA_OK;
        if (end != NULL && code == STRATA_OK)
            st_lib_notice(t->s, "another copy decides: the end of %s is kept as reported",
                          end->name + 1);
        t->s->error = kept;
        return code == STRATA_OK ? take_assigned(t) : code;
    }
    t->s->unsettled = t->s->unsettled || end != NULL;
    if (c.token != 0)
        return code == STRATA_OK ? keep_taken(t, &c) : code;
    return end != NULL && code == STRATA_CONFLICT ? code : none_given(t, w, code);
}

/* One try. STRATA_TIMEOUT: nothing is there, or others were faster. */
static int try_next(struct taking *t)
{
    struct wanted w;
    t->again = false;
    int code = want(t, &w);
    if (code == STRATA_OK && w.count > 0 && w.assigned)
        snprintf(t->out->id, sizeof t->out->id, "%.95s", w.entities[0] + 1);
    else if (code == STRATA_OK && w.count == 0 && t->end == NULL)
        code = STRATA_TIMEOUT;
    else if (code == STRATA_OK)
        code = ask_for(t, &w);
    wanted_release(&w);
    return code;
}

/* Until something happens, or a second has passed: claims lapse without a record. */
static int wait_for_more(strata *s, uint64_t left_ms)
{
    uint64_t cursor;
    int code = strata_events_end(s, &cursor);
    return code == STRATA_OK
               ? strata_events_wait(s, cursor,
                                    (uint32_t)(left_ms < LOOK_AGAIN_MS ? left_ms : LOOK_AGAIN_MS))
               : code;
}

static int take_next(struct taking *t, uint64_t wait_ms)
{
    const struct st_env *env = t->s->log.env;
    uint64_t start = env->boot_ns(env->ctx);
    int code = STRATA_OK;
    while (code == STRATA_OK) {
        bool ended = t->end != NULL;
        code = try_next(t);
        if (code != STRATA_TIMEOUT)
            return code;
        uint64_t spent = (env->boot_ns(env->ctx) - start) / 1000000;
        code = STRATA_OK;
        if (ended && t->end == NULL)
            continue; /* what was ended may have been what the next one waited for */
        if (t->again && spent < (wait_ms > LOOK_AGAIN_MS ? wait_ms : LOOK_AGAIN_MS))
            continue;
        if (spent >= wait_ms)
            return nothing_ready(t->s, t->q);
        code = wait_for_more(t->s, wait_ms - spent);
    }
    return code;
}

/* Whether the end goes into the entry of the next claim: it is of a claim, with its token. Whatever
 * else is ended by itself. */
static int end_before_next(strata *s, const strata_task_end *end, char entity[ST_NUMBERED_SIZE + 1],
                           struct st_task_ending *e, bool *joined)
{
    strata_task t;
    strata_task_end asked = *end;
    *joined = false;
    int code = find(s, end->id, entity, &t);
    if (code != STRATA_OK)
        return code;
    if (t.finished || st_task_assigned(t.agent))
        return strata_task_finish(s, end, NULL);
    uint64_t retried = t.retries;
    if (asked.token == 0) {
        struct st_claim c;
        code = st_claims_look(s, (const char *const[]){entity}, 1, &c);
        if (code == STRATA_OK && !c.held)
            return strata_task_finish(s, end, NULL);
        if (code == STRATA_OK)
            code = own_token(s, entity, &asked.token);
    }
    if (code == STRATA_OK)
        code = st_task_ending_init(s, e, entity, &asked, retried);
    *joined = code == STRATA_OK;
    return code;
}

int strata_task_next(strata *s, const strata_task_query *q, uint64_t wait_ms, uint64_t term_ms,
                     uint64_t run, const strata_task_end *end, strata_task_taken *out)
{
    char entity[ST_NUMBERED_SIZE + 1];
    struct st_task_ending e;
    struct taking t = {.s = s, .q = q, .term_ms = term_ms, .run = run, .out = out};
    bool joined = false;
    int code = end != NULL ? check_text(s, end) : STRATA_OK;
    if (code == STRATA_OK)
        code = end != NULL ? st_task_settle_soon(s) : st_task_settle(s);
    if (code == STRATA_OK && end != NULL)
        code = end_before_next(s, end, entity, &e, &joined);
    if (joined)
        t.end = &e.end;
    *out = (strata_task_taken){.token = 0}; /* `end` may name what is in it */
    bool told = code == STRATA_OK && end != NULL && !joined;
    if (code == STRATA_OK)
        code = take_next(&t, wait_ms);
    out->ended = told || (joined && t.end == NULL);
    if (joined)
        st_task_ending_release(&e);
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
    taken(&c, out);
#ifdef ST_DEFECT_CLAIM_UNCHECKED
    return STRATA_OK;
#endif
    /* It may have changed between the look and the claim. */
    code = st_task_settle(s);
    if (code == STRATA_OK)
        code = find(s, id, entity, &t);
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
        code = find(s, id, entity, &t);
    if (code != STRATA_OK)
        return code;
    if (t.finished)
        return is_finished(s, &t);
    if (st_task_assigned(t.agent))
        return tell(s, entity, "checkpoint", v);
    code = own_token(s, entity, &token);
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
    return code == STRATA_OK && c.held ? own_token(s, entity, token) : code;
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
        code = report(s, &e.end);
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
    int code = check_text(s, end);
    if (code == STRATA_OK)
        code = st_task_settle(s);
    if (code == STRATA_OK)
        code = find(s, end->id, entity, &t);
    if (code != STRATA_OK)
        return code;
    uint64_t retried = t.retries;
    if (st_task_assigned(t.agent))
        return finish_assigned(s, entity, end, retried);
    if (!t.finished)
        return finish_claimed(s, entity, end, retried, accepted);
    /* The same again, by who did it: as accepted. */
    bool same = end->token == 0 && strcmp(t.state, end->state) == 0;
    return same ? end_told(s, end, end->state) : is_finished(s, &t);
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
