/*
 * task_list.c - lists of tasks, and how many there are of each kind.
 */
#include "lib/task_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* By number. With a filter on what is in the attributes, more is gathered than is shown. */
static enum st_code visit_summary(void *arg, struct st_str key, struct st_str value)
{
    struct st_listing *l = arg;
    struct st_task t;
    struct st_task_id id;
    if (!st_task_id_take(key, 2, &id))
        return ST_DAMAGED;
    if (key.p[1] == 't') {
        enum st_code code = st_task_decode(value, &t);
        if (code != ST_OK)
            return code;
        bool fits = t.is_task && !t.is_message && st_listing_channel_fits(l, t.channel) &&
                    st_listing_agent_fits(l, t.agent) &&
                    (l->view != STRATA_TASKS_FINISHED || st_task_finished(t.state));
        if (!fits)
            return ST_OK;
    }
    enum st_code code = st_listing_add(l, id, 0);
    bool enough = l->limit != 0 && l->count >= l->limit;
    return code == ST_OK && enough ? ST_SCAN_STOP : code;
}

struct walk {
    int (*visit)(void *arg, const strata_task *t);
    void *arg;
    size_t shown;
    int result;
};

static bool task_fits(const struct st_listing *l, const strata_task *t)
{
    if (l->parent != NULL && strcmp(t->parent, l->parent) != 0)
        return false;
    if (!st_listing_channel_fits(l, st_str_of(t->channel)) ||
        !st_listing_agent_fits(l, st_str_of(t->agent)))
        return false;
    if (l->view == STRATA_TASKS_GIVEN_UP)
        return t->retries + 1 >= STRATA_TASK_RETRIES;
    return l->view != STRATA_TASKS_BLOCKED || (t->waits > 0 && strcmp(t->state, "waiting") == 0);
}

/* Shows what was gathered. */
static enum st_code show(struct st_listing *l, struct walk *w)
{
    enum st_code code = ST_OK;
    for (size_t i = 0; i < l->count && code == ST_OK && w->result == 0; i++) {
        char entity[ST_NUMBERED_SIZE + 1];
        strata_task t;
        st_listed_entity(&l->found[i], entity);
        st_arena_reset(&l->s->arena);
        code = st_task_fill(l->s, st_str_of(entity), &t);
        if (code != ST_OK || !task_fits(l, &t))
            continue;
        w->result = w->visit(w->arg, &t);
        w->shown++;
        if (l->limit != 0 && w->shown >= l->limit)
            break;
    }
    return code;
}

/* By number, in pieces, until enough was shown: what is in the attributes is only known then. */
static enum st_code list_by_number(struct st_listing *l, const char *after, struct walk *w)
{
    const struct st_kv *kv = st_index_kv(l->s->index);
    bool unfinished = l->view == STRATA_TASKS_UNFINISHED || l->view == STRATA_TASKS_BLOCKED;
    struct st_str prefix = st_str_of(unfinished                         ? "qo"
                                     : l->view == STRATA_TASKS_GIVEN_UP ? "qf"
                                                                        : "qt");
    struct st_buf key;
    struct st_task_id id;
    enum st_code code = ST_OK;
    size_t limit = l->limit;
    st_buf_init(&key, st_alloc_libc());
    if (after[0] != '\0' && st_task_id_parse(st_str_of(after), &id))
        st_task_key(&key, id);
    while (code == ST_OK && w->result == 0 && (limit == 0 || w->shown < limit)) {
        if (key.n > 0)
            key.p[1] = prefix.p[1];
        l->count = 0;
        l->limit = limit == 0 ? 0 : limit < 256 ? 256 : limit;
        code = kv->scan(kv->ctx, prefix, st_buf_str(&key), visit_summary, l);
        bool last = l->limit == 0 || l->count < l->limit;
        l->limit = limit;
        if (code != ST_OK || l->count == 0)
            break;
        const struct st_listed *c = &l->found[l->count - 1];
        st_buf_reset(&key);
        st_task_key(&key, (struct st_task_id){c->number, st_str_of(c->suffix)});
        code = key.failed ? ST_NO_MEMORY : show(l, w);
        if (last)
            break;
    }
    st_buf_release(&key);
    return code;
}

strata_task_query st_task_query_whole(const strata_task_query *q)
{
    strata_task_query whole = {.size = sizeof whole, .view = q->view};
    if (ST_HAS(q, channel))
        whole.channel = q->channel;
    if (ST_HAS(q, agent))
        whole.agent = q->agent;
    if (ST_HAS(q, parent))
        whole.parent = q->parent;
    if (ST_HAS(q, after))
        whole.after = q->after;
    if (ST_HAS(q, limit))
        whole.limit = q->limit;
    return whole;
}

static int find_named(strata *s, const strata_task_query *q, char parent[ST_NUMBERED_SIZE + 1],
                      char after[ST_NUMBERED_SIZE + 1])
{
    int result = STRATA_OK;
    parent[0] = after[0] = '\0';
    if (q->parent != NULL)
        result = st_task_find(s, q->parent, parent);
    if (result == STRATA_OK && q->after != NULL)
        result = st_task_find(s, q->after, after);
    return result;
}

int strata_task_each(strata *s, const strata_task_query *q,
                     int (*visit)(void *arg, const strata_task *t), void *arg)
{
    struct st_listing l;
    struct walk w = {.visit = visit, .arg = arg};
    char parent[ST_NUMBERED_SIZE + 1], after[ST_NUMBERED_SIZE + 1];
    const strata_task_query whole = st_task_query_whole(q);
    st_listing_init(&l, s, &whole);
    int result = st_task_begin(s);
    if (result != STRATA_OK)
        return result;
    result = find_named(s, &whole, parent, after);
    if (parent[0] != '\0')
        l.parent = parent + 1;
    enum st_code code = ST_OK;
    if (result == STRATA_OK && l.view == STRATA_TASKS_READY) {
        size_t limit = l.limit;
        if (l.parent != NULL)
            l.limit = 0; /* known only of each task */
        code = st_listing_ready(&l);
        l.limit = limit;
        if (code == ST_OK)
            code = show(&l, &w);
    } else if (result == STRATA_OK) {
        code = list_by_number(&l, after, &w);
    }
    free(l.found);
    if (code != ST_OK)
        result = st_lib_index_fault(s, code);
    st_lib_end(s);
    return result == STRATA_OK && w.result < 0 ? w.result : result;
}

/* --- counts ----------------------------------------------------------------------------------- */

/* How many of the claimed ones would be ready otherwise. */
static enum st_code count_claimed(strata *s, uint64_t *ready, uint64_t *deferred)
{
    struct st_buf key;
    enum st_code code = ST_OK;
    *ready = *deferred = 0;
    st_buf_init(&key, st_alloc_libc());
    for (size_t i = 0; code == ST_OK && i < s->held.count; i++) {
        struct st_task t;
        code = st_task_read(st_index_kv(s->index), st_str_of(s->held.list[i].entity), &key, &t);
        *ready += code == ST_OK && st_task_ready(&t);
        *deferred += code == ST_OK && st_task_ready(&t) && t.not_before_ms != 0;
        if (code == ST_NOT_FOUND)
            code = ST_OK;
    }
    st_buf_release(&key);
    return code;
}

static enum st_code totals(strata *s, strata_task_totals *out)
{
    const struct st_kv *kv = st_index_kv(s->index);
    struct st_task_totals t;
    size_t due = 0;
    uint64_t claimed = 0, claimed_due = 0; /* those are not counted as due */
    enum st_code code = st_task_totals_read(kv, &t);
    if (code == ST_OK)
        code = st_listing_due_count(s, &due);
    if (code == ST_OK)
        code = count_claimed(s, &claimed, &claimed_due);
    *out = (strata_task_totals){
        .tasks = t.tasks,
        .unfinished = t.unfinished,
        .messages = t.messages,
        .ready = t.ready,
        .waiting = t.waiting,
        .deferred = t.deferred - due - claimed_due,
        .held = t.unfinished - t.ready - t.waiting,
        .done = t.tasks - t.unfinished - t.failed - t.cancelled,
        .failed = t.failed,
        .cancelled = t.cancelled,
        .claimed = s->held.count,
    };
    out->to_be_had = out->ready - out->deferred - claimed;
    return code;
}

int strata_task_totals_get(strata *s, strata_task_totals *out)
{
    int result = st_task_held(s);
    if (result == STRATA_OK)
        result = st_lib_begin(s);
    if (result != STRATA_OK)
        return result;
    enum st_code code = totals(s, out);
    if (code != ST_OK)
        result = st_lib_index_fault(s, code);
    st_lib_end(s);
    return result;
}
