/*
 * task_next.c - the best that is ready, taken, and the last one ended in the same step.
 *
 * Candidates are looked for in the channel, and claimed in the ledger; between the two the task may
 * have changed, so it is looked at again. Who goes on at once (an end with the next) is given one that
 * was seen to be free a moment ago, by whoever looked last (task_pool.c): it is asked for without a
 * look, as long as the log says that nothing came since that others have to look at
 * (st_log_changes()). What is told of an end is nothing of that kind: it makes tasks ready, and takes
 * none away.
 */
#include "lib/task.h"

#include "lib/strong.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Of ready tasks, that many are looked at for one that is free; more are claimed at no time. */
#define WINDOW_MIN 64
#define WINDOW_MAX 65536

/* A worker that waits looks again after this at the latest: claims lapse without a record. */
#define LOOK_AGAIN_MS 1000

/* --- what was taken last ---------------------------------------------------------------------- */

struct st_hand {
    char taken[ST_NUMBERED_SIZE + 1];
    uint64_t token;   /* 0: nothing */
    uint64_t query;   /* what was looked for */
    uint32_t changes; /* the log's word before the look */
    bool known;       /* it had one */
};

/* Nothing came since the look that it would have had to see. */
static bool hand_is_good(const strata *s)
{
    return s->hand->known && st_task_unchanged(s, s->hand->changes);
}

static uint64_t query_of(const strata_task_query *q)
{
    const char *channel = q->channel != NULL ? q->channel : "";
    const char *agent = q->agent != NULL ? q->agent : "";
    uint64_t parts[] = {st_checksum(channel, strlen(channel)), st_checksum(agent, strlen(agent))};
    return st_checksum(parts, sizeof parts);
}

/* *on: the end is that of what was taken last, of which nobody has said anything since. */
static int hand_begin(strata *s, const strata_task_query *q, const strata_task_end *end, bool *on)
{
    if (s->hand == NULL)
        s->hand = calloc(1, sizeof *s->hand);
    if (s->hand == NULL)
        return st_lib_fail(s, ST_NO_MEMORY, "out of memory; nothing was recorded");
    struct st_hand *h = s->hand;
    uint64_t query = query_of(q);
    *on = end != NULL && end->token != 0 && end->token == h->token && h->query == query &&
          strcmp(end->id, h->taken + 1) == 0 && strcmp(end->state, "retry") != 0 && hand_is_good(s);
    h->query = query;
    h->token = 0;
    return STRATA_OK;
}

static void hand_note(strata *s, const char *entity, uint64_t token)
{
    snprintf(s->hand->taken, sizeof s->hand->taken, "%s", entity);
    s->hand->token = token;
}

/* --- the best one ----------------------------------------------------------------------------- */

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

/* Who has what, of the first three. *own: the first that this agent has itself; NULL: none. */
static void who_has(const strata *s, const strata_task_query *q, char *out, size_t size,
                    const char **own)
{
    const char *agent = q->agent != NULL ? q->agent : s->agent;
    size_t used = 0, shown = s->held.count < 3 ? s->held.count : 3;
    out[0] = '\0';
    *own = NULL;
    for (size_t i = 0; i < s->held.count; i++) {
        const char *id = s->held.list[i].entity + 1, *holder = s->held.list[i].holder;
        bool ours = strcmp(holder, agent) == 0;
        if (ours && *own == NULL)
            *own = id;
        if (i < shown)
            used += (size_t)snprintf(out + used, size - used, "%s%.40s is claimed by %.40s%s",
                                     used > 0 ? ", " : "", id, holder, ours ? " (you)" : "");
    }
    if (s->held.count > shown)
        snprintf(out + used, size - used, ", and %zu more are claimed", s->held.count - shown);
}

static int nothing_ready(strata *s, const strata_task_query *q)
{
    char why[320], hint[200], rest[64] = "";
    const char *own;
    strata_task_totals t = {0};
    int code = st_task_held(s);
    if (code == STRATA_OK)
        code = strata_task_totals_get(s, &t);
    if (code != STRATA_OK)
        return code;
    who_has(s, q, why, sizeof why, &own);
    uint64_t waiting = t.unfinished > t.ready ? t.unfinished - t.ready : 0;
    if (waiting > 0)
        snprintf(rest, sizeof rest, "; %" PRIu64 " more %s or %s held", waiting,
                 waiting == 1 ? "waits" : "wait", waiting == 1 ? "is" : "are");
    st_lib_fail(s, ST_TIMEOUT, "nothing ready%s%s: %s%s", q->channel != NULL ? " in " : "",
                q->channel != NULL ? q->channel : "",
                why[0] != '\0' ? why
                : waiting > 0  ? "nobody has taken any"
                               : "there is no open task",
                rest);
    if (own != NULL)
        snprintf(
            hint, sizeof hint,
            "go on with %.40s (`strata show %.40s`), finish it (`strata done`) or give it back "
            "(`strata release`)",
            own, own);
    else
        snprintf(hint, sizeof hint,
                 "`strata list` shows what is held, `strata list --blocked` what waits for what");
    st_lib_hint(s, hint);
    return ST_TIMEOUT;
}

/* What one call of strata_task_next() is about. */
struct taking {
    strata *s;
    const strata_task_query *q;
    uint64_t term_ms, run;
    const struct st_claim_end *end; /* to be reported with the next entry; NULL: none */
    strata_task_taken *out;
    bool again;  /* others were faster: not a reason to wait */
    bool looked; /* all that is ready was seen to be held */
    bool on;     /* it goes on from the last task: what was seen for that may still be used */
    struct st_dot seen; /* on: as far as one has to see */
};

/* Another copy decides: what is for this agent here can be had all the same. */
static int take_assigned(struct taking *t)
{
    char entity[1][ST_NUMBERED_SIZE + 1];
    struct st_candidates c = {.entities = entity, .max = 1, .only_assigned = true};
    strata_error kept = t->s->error;
    int code = st_task_candidates(t->s, t->q, &c);
    if (code == STRATA_OK && c.count > 0)
        snprintf(t->out->id, sizeof t->out->id, "%.95s", entity[0] + 1);
    if (code != STRATA_OK || c.count > 0)
        return code;
    t->s->error = kept;
    return STRATA_UNAVAILABLE;
}

/* Takes the claim, unless its task is not to be had any more. */
static int keep_taken(struct taking *t, const struct st_claim *c)
{
    char entity[ST_NUMBERED_SIZE + 1];
    snprintf(entity, sizeof entity, "%s", c->name);
    st_task_taken(c, t->out);
    hand_note(t->s, entity, t->out->token);
    if ((hand_is_good(t->s) && !c->back) || still_ready(t->s, t->q, entity))
        return STRATA_OK;
    t->again = true;
    int code = st_claims_release(t->s, entity, t->out->token);
    /* A conflict: the term was over before we came to it, and others have gone on. */
    return code == STRATA_OK || code == STRATA_CONFLICT ? STRATA_TIMEOUT : code;
}

/* The candidates of one try. */
struct wanted {
    struct st_candidates c;
    const char **names;
    bool all; /* there are no more than these */
};

static int want(struct taking *t, struct wanted *w)
{
    strata *s = t->s;
    size_t max = s->task_window > WINDOW_MIN ? s->task_window : WINDOW_MIN;
    *w = (struct wanted){.c = {.entities = malloc(max * sizeof *w->c.entities), .max = max},
                         .names = malloc(max * sizeof *w->names)};
    if (w->c.entities == NULL || w->names == NULL)
        return st_lib_fail(s, ST_NO_MEMORY, "out of memory; nothing was recorded");
    w->c.spread = s->claim_spread;
    /* Before anything is ended: what an end makes ready has to be seen. As what an earlier look saw may
     * be all that this one sees, the word is of that. */
    w->c.since = t->seen.counter != 0 && t->end != NULL;
    w->c.at = t->seen;
    if (!w->c.since)
        s->hand->known = st_log_changes(&s->log, &s->hand->changes);
    int code = st_task_candidates(s, t->q, &w->c);
    w->all = w->c.all;
    for (size_t i = 0; i < w->c.count; i++)
        w->names[i] = w->c.entities[i];
    return code;
}

static void wanted_release(struct wanted *w)
{
    free(w->c.entities);
    free(w->names);
}

/* After an entry that gave nothing. */
static int none_given(struct taking *t, const struct wanted *w, bool outrun, int code)
{
    /* The only one has ended, and whoever ended it has not told so. */
    if (code == STRATA_CONFLICT) {
        code = STRATA_TIMEOUT;
        outrun = true;
    } else if (code != STRATA_OK && code != STRATA_TIMEOUT) {
        return code;
    }
    /* Where all are held, only time helps: whoever looks on and on takes it from who works. Once more, as
     * what was left to be copied may have been in the way. */
    bool helps = outrun || !w->all || !t->looked;
    t->looked = true;
    t->again = code == STRATA_TIMEOUT && w->c.count > 0 && helps;
    if (t->again && !w->all && t->s->task_window < WINDOW_MAX)
        t->s->task_window = 2 * w->c.count;
    code = t->again && !w->all ? st_task_settle_soon(t->s) : st_task_settle(t->s);
    return code == STRATA_OK ? STRATA_TIMEOUT : code;
}

/* What the entry gave. STRATA_UNAVAILABLE: another copy decides. */
static int given(struct taking *t, const struct st_claim_end *end, const struct st_claim *c,
                 int code)
{
    if (code == STRATA_UNAVAILABLE) {
        strata_error kept = t->s->error;
        code = end != NULL ? st_task_report(t->s, end) : STRATA_OK;
        if (end != NULL && code == STRATA_OK)
            st_lib_notice(t->s, "another copy decides: the end of %s is kept as reported",
                          end->name + 1);
        if (code != STRATA_OK)
            return code;
        t->s->error = kept;
        return take_assigned(t);
    }
    t->s->unsettled = t->s->unsettled || end != NULL;
    return c->token != 0 && code == STRATA_OK ? keep_taken(t, c) : code;
}

static int ask_for(struct taking *t, const struct wanted *w)
{
    struct st_claim c;
    const struct st_claim_end *end = t->end;
    int code = st_claims_take(t->s, w->names, w->c.count, w->c.equal, t->term_ms, t->run, end, &c);
    t->end = NULL;
    code = given(t, end, &c, code);
    bool over = c.token != 0 || code == STRATA_UNAVAILABLE || t->out->id[0] != '\0' ||
                (end != NULL && code == STRATA_CONFLICT);
    return over ? code : none_given(t, w, c.outrun, code);
}

/* What was seen to be free is asked for without a look. */
static int ask_pooled(struct taking *t, const struct st_pooled *p)
{
    struct st_claim c;
    const char *name = p->entity;
    const struct st_claim_end *end = t->end;
    int code = st_claims_take_free(t->s, name, t->term_ms, t->run, end, &c);
    t->end = NULL;
    t->again = c.token == 0;
    return given(t, end, &c, code);
}

/* One try. STRATA_TIMEOUT: nothing is there, or others were faster. */
static int try_next(struct taking *t)
{
    struct wanted w;
    struct st_pooled p = {.given = false};
    t->again = false;
    int code = t->on ? st_pool_take(t->s, t->q, &p) : STRATA_OK;
    if (code != STRATA_OK)
        return code;
    t->seen = p.seen;
    t->s->hand->known = p.seen.counter != 0;
    t->s->hand->changes = p.changes;
    if (p.given)
        return ask_pooled(t, &p);
    code = want(t, &w);
    if (code == STRATA_OK && w.c.count > 0 && w.c.assigned)
        snprintf(t->out->id, sizeof t->out->id, "%.95s", w.c.entities[0] + 1);
    else if (code == STRATA_OK && w.c.count == 0 && t->end == NULL)
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
        /* Who has ended what this waits for may be at work on its next one, and has not told so. */
        if (code == STRATA_OK)
            code = st_task_settle_soon(t->s);
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
    int code = st_task_look(s, end->id, entity, &t);
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
            code = st_task_own_token(s, entity, &asked.token);
    }
    if (code == STRATA_OK)
        code = st_task_ending_init(s, e, entity, &asked, retried);
    *joined = code == STRATA_OK;
    return code;
}

/* The end of what this handle has taken last: nobody has said anything of it since. */
static int end_of_last(strata *s, const strata_task_end *end, char entity[ST_NUMBERED_SIZE + 1],
                       struct st_task_ending *e, bool *joined)
{
    snprintf(entity, ST_NUMBERED_SIZE + 1, "%s", s->hand->taken);
    int code = st_task_ending_init(s, e, entity, end, 0);
    *joined = code == STRATA_OK;
    return code;
}

int strata_task_next(strata *s, const strata_task_query *q, uint64_t wait_ms, uint64_t term_ms,
                     uint64_t run, const strata_task_end *end, strata_task_taken *out)
{
    char entity[ST_NUMBERED_SIZE + 1];
    struct st_task_ending e;
    const strata_task_query whole = st_task_query_whole(q);
    struct taking t = {.s = s, .q = &whole, .term_ms = term_ms, .run = run, .out = out};
    bool joined = false;
    int code = end != NULL ? st_task_check_text(s, end) : STRATA_OK;
    if (code == STRATA_OK)
        code = hand_begin(s, &whole, end, &t.on);
    if (code == STRATA_OK)
        code = end != NULL ? st_task_settle_soon(s) : st_task_settle(s);
    if (code == STRATA_OK && end != NULL)
        code = t.on ? end_of_last(s, end, entity, &e, &joined)
                    : end_before_next(s, end, entity, &e, &joined);
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
