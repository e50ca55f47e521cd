/*
 * task_ready.c - what is ready, best first.
 *
 * What is ready stands in one row per task, in one run for each channel and agent
 * (core/task.h): a page is the beginning of each run, merged. What has a not-before time stands
 * apart, in order of time, and is looked at as far as its time has come.
 */
#include "lib/task_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* --- what is listed --------------------------------------------------------------------------- */

enum st_code st_listing_add(struct st_listing *l, struct st_task_id id, uint8_t priority)
{
    if (!st_grow(&l->found, &l->cap, l->count + 1, sizeof *l->found))
        return ST_NO_MEMORY;
    struct st_listed *c = &l->found[l->count++];
    *c = (struct st_listed){.number = id.number, .priority = priority};
    snprintf(c->suffix, sizeof c->suffix, "%.*s", (int)id.suffix.n, id.suffix.p);
    return ST_OK;
}

bool st_listing_agent_fits(const struct st_listing *l, struct st_str agent)
{
    return l->agent == NULL || agent.n == 0 || st_str_equal(agent, st_str_of(l->agent)) ||
           st_str_equal(agent, st_str_of(l->on_this_copy));
}

bool st_listing_channel_fits(const struct st_listing *l, struct st_str channel)
{
    return l->channel == NULL || st_str_equal(channel, st_str_of(l->channel));
}

void st_listed_entity(const struct st_listed *c, char entity[ST_NUMBERED_SIZE + 1])
{
    st_task_id_text((struct st_task_id){c->number, st_str_of(c->suffix)}, entity);
}

void st_listing_init(struct st_listing *l, strata *s, const strata_task_query *q)
{
    *l = (struct st_listing){
        .s = s, .view = q->view, .channel = q->channel, .agent = q->agent, .limit = q->limit};
    if (l->agent != NULL)
        snprintf(l->on_this_copy, sizeof l->on_this_copy, "%.64s@%s", l->agent,
                 s->log.identity.name);
    l->now_ms = s->log.env->wall_ms(s->log.env->ctx);
}

/* --- ready ------------------------------------------------------------------------------------ */

static int compare_candidates(const void *a, const void *b)
{
    const struct st_listed *x = a, *y = b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return strcmp(x->suffix, y->suffix);
}

/* Whether somebody has claimed it. */
static bool is_held(const struct st_listing *l, struct st_task_id id)
{
    char entity[ST_NUMBERED_SIZE + 1];
    if (l->s->held.count == 0)
        return false;
    st_task_id_text(id, entity);
    return st_task_holder(l->s, st_str_of(entity)) != NULL;
}

static void note_agent(const struct st_listing *l, struct st_listed *c, struct st_str agent)
{
    c->assigned = memchr(agent.p, '@', agent.n) != NULL;
    c->elsewhere = c->assigned && !st_str_equal(agent, st_str_of(l->on_this_copy));
}

static enum st_code visit_ready(void *arg, struct st_str key, struct st_str value)
{
    struct st_listing *l = arg;
    struct st_task_ready_key k;
    (void)value;
    if (!st_task_ready_split(key, &k))
        return ST_DAMAGED;
    if (is_held(l, k.id))
        return ST_OK;
    enum st_code code = st_listing_add(l, k.id, k.priority);
    if (code == ST_OK)
        note_agent(l, &l->found[l->count - 1], k.agent);
    l->run++;
    return code == ST_OK && l->limit != 0 && l->run >= l->limit ? ST_SCAN_STOP : code;
}

/* The first row behind a place: which run it begins. */
struct next_run {
    struct st_buf channel, agent;
    bool found;
};

static enum st_code visit_run(void *arg, struct st_str key, struct st_str value)
{
    struct next_run *n = arg;
    struct st_task_ready_key k;
    (void)value;
    if (!st_task_ready_split(key, &k))
        return ST_DAMAGED;
    st_buf_reset(&n->channel);
    st_buf_add_str(&n->channel, k.channel);
    st_buf_reset(&n->agent);
    st_buf_add_str(&n->agent, k.agent);
    n->found = true;
    return n->channel.failed || n->agent.failed ? ST_NO_MEMORY : ST_SCAN_STOP;
}

uint64_t st_apart_mark(struct st_str agent)
{
    const char *at = memchr(agent.p, '@', agent.n);
    return st_checksum(agent.p, at != NULL ? (size_t)(at - agent.p) : agent.n);
}

static void note_apart(const struct st_listing *l, struct st_str agent)
{
    struct st_apart *a = l->apart;
    if (a == NULL || agent.n == 0)
        return;
    a->more = a->more || a->count == ST_APART_MAX;
    if (!a->more)
        a->agents[a->count++] = st_apart_mark(agent);
}

/* Goes from run to run; of each that fits the beginning is taken. */
static enum st_code list_runs(struct st_listing *l)
{
    const struct st_kv *kv = st_index_kv(l->s->index);
    struct next_run n = {.found = true};
    struct st_buf key;
    enum st_code code = ST_OK;
    st_buf_init(&n.channel, st_alloc_libc());
    st_buf_init(&n.agent, st_alloc_libc());
    st_buf_init(&key, st_alloc_libc());
    st_buf_add_text(&key, "qr");
    while (code == ST_OK) {
        n.found = false;
        code = kv->scan(kv->ctx, ST_STR("qr"), st_buf_str(&key), visit_run, &n);
        if (code != ST_OK || !n.found)
            break;
        struct st_str channel = st_buf_str(&n.channel), agent = st_buf_str(&n.agent);
        st_buf_reset(&key);
        st_task_key_ready(&key, channel, agent);
        l->run = 0;
        if (st_listing_channel_fits(l, channel))
            note_apart(l, agent);
        if (!key.failed && st_listing_channel_fits(l, channel) && st_listing_agent_fits(l, agent))
            code = kv->scan(kv->ctx, st_buf_str(&key), (struct st_str){"", 0}, visit_ready, l);
        /* Behind the run: a priority is far below 0xff. */
        st_buf_add_char(&key, (char)(unsigned char)0xff);
        if (key.failed)
            code = ST_NO_MEMORY;
    }
    st_buf_release(&n.channel);
    st_buf_release(&n.agent);
    st_buf_release(&key);
    return code;
}

/* Priority 0 for the moment: it is in the summary. */
static enum st_code visit_due(void *arg, struct st_str key, struct st_str value)
{
    struct st_listing *l = arg;
    struct st_task_id id;
    uint64_t not_before_ms;
    (void)value;
    if (!st_task_deferred_split(key, &not_before_ms, &id))
        return ST_DAMAGED;
    if (not_before_ms > l->now_ms)
        return ST_SCAN_STOP;
    return is_held(l, id) ? ST_OK : st_listing_add(l, id, 0);
}

static enum st_code list_due(struct st_listing *l)
{
    const struct st_kv *kv = st_index_kv(l->s->index);
    struct st_buf key;
    size_t first = l->count, kept = first;
    enum st_code code = kv->scan(kv->ctx, ST_STR("qd"), (struct st_str){"", 0}, visit_due, l);
    st_buf_init(&key, st_alloc_libc());
    for (size_t i = first; i < l->count && code == ST_OK; i++) {
        char entity[ST_NUMBERED_SIZE + 1];
        struct st_task t;
        st_listed_entity(&l->found[i], entity);
        code = st_task_read(kv, st_str_of(entity), &key, &t);
        if (code != ST_OK || !st_listing_channel_fits(l, t.channel))
            continue;
        note_apart(l, t.agent);
        if (!st_listing_agent_fits(l, t.agent))
            continue;
        l->found[kept] = l->found[i];
        note_agent(l, &l->found[kept], t.agent);
        l->found[kept++].priority = t.priority;
    }
    st_buf_release(&key);
    l->count = kept;
    return code;
}

enum st_code st_listing_due_count(strata *s, size_t *count)
{
    const struct st_kv *kv = st_index_kv(s->index);
    struct st_listing due = {.s = s, .now_ms = s->log.env->wall_ms(s->log.env->ctx)};
    enum st_code code = kv->scan(kv->ctx, ST_STR("qd"), (struct st_str){"", 0}, visit_due, &due);
    *count = due.count;
    free(due.found);
    return code;
}

enum st_code st_listing_ready(struct st_listing *l)
{
    enum st_code code = list_runs(l);
    if (code == ST_OK)
        code = list_due(l);
    if (code != ST_OK)
        return code;
    if (l->count > 1)
        qsort(l->found, l->count, sizeof *l->found, compare_candidates);
    if (l->limit != 0 && l->count > l->limit)
        l->count = l->limit;
    return ST_OK;
}

/* --- what may be taken ------------------------------------------------------------------------ */

enum st_code st_task_may_take(strata *s, const strata_task_query *q, struct st_str entity,
                              bool *may)
{
    struct st_listing l;
    struct st_task t;
    struct st_buf key;
    *may = false;
    st_listing_init(&l, s, q);
    st_buf_init(&key, st_alloc_libc());
    enum st_code code = st_task_read(st_index_kv(s->index), entity, &key, &t);
    if (code == ST_OK)
        *may = st_task_ready(&t) && t.not_before_ms <= l.now_ms &&
               st_listing_channel_fits(&l, t.channel) && st_listing_agent_fits(&l, t.agent) &&
               memchr(t.agent.p, '@', t.agent.n) == NULL;
    st_buf_release(&key);
    return code;
}

/* Of many that are as good as the best, those from a number behind it on. */
static enum st_code begin_anywhere(struct st_listing *l, unsigned spread)
{
    const struct st_env *env = l->s->log.env;
    const struct st_kv *kv = st_index_kv(l->s->index);
    char entity[ST_NUMBERED_SIZE + 1];
    uint64_t random;
    struct st_task t;
    struct st_buf key;
    size_t found = l->count;
    if (found == 0 || spread < 2 || env->random(env->ctx, &random, sizeof random) < 0)
        return ST_OK;
    struct st_listed best = l->found[0];
    st_listed_entity(&best, entity);
    st_buf_init(&key, st_alloc_libc());
    enum st_code code = st_task_read(kv, st_str_of(entity), &key, &t);
    if (code == ST_OK && t.not_before_ms == 0) {
        struct st_buf run;
        st_buf_init(&run, st_alloc_libc());
        st_task_key_ready_priority(&run, t.channel, t.agent, best.priority);
        st_buf_reset(&key);
        st_buf_add_str(&key, st_buf_str(&run));
        st_task_key_number(&key, best.number + random % spread);
        l->run = 0;
        code = run.failed || key.failed
                   ? ST_NO_MEMORY
                   : kv->scan(kv->ctx, st_buf_str(&run), st_buf_str(&key), visit_ready, l);
        st_buf_release(&run);
    }
    st_buf_release(&key);
    if (code == ST_OK && l->count > found) {
        l->count -= found;
        memmove(l->found, l->found + found, l->count * sizeof *l->found);
    }
    return code;
}

/* The first decides about the kind. */
static void choose_candidates(const struct st_listing *l, struct st_candidates *c)
{
    uint8_t priority = 0;
    for (size_t i = 0; i < l->count && c->count < c->max; i++) {
        const struct st_listed *one = &l->found[i];
        if (one->elsewhere || (c->only_assigned && !one->assigned))
            continue;
        if (c->count == 0) {
            c->assigned = one->assigned;
            priority = one->priority;
        }
        if (one->assigned != c->assigned)
            continue;
        c->equal += one->priority == priority;
        st_listed_entity(one, c->entities[c->count++]);
    }
}

static int begin_since(strata *s, const struct st_candidates *c)
{
    if (c->since && s->index != NULL && st_index_begin_since(s->index, c->at) == ST_OK) {
        st_arena_reset(&s->arena);
        return STRATA_OK;
    }
    return st_lib_begin(s);
}

int st_task_candidates(strata *s, const strata_task_query *q, struct st_candidates *c)
{
    struct st_listing l;
    c->count = c->equal = 0;
    c->assigned = false;
    st_listing_init(&l, s, q);
    l.limit = c->only_assigned ? 0 : c->max;
    l.apart = c->apart;
    s->held.count = 0; /* who has what is for the ledger to say */
    int result = begin_since(s, c);
    if (result != STRATA_OK)
        return result;
    c->at = st_index_applied(s->index);
    enum st_code code = st_listing_ready(&l);
    c->all = l.count < c->max;
    if (code == ST_OK && !c->only_assigned)
        code = begin_anywhere(&l, c->spread);
    choose_candidates(&l, c);
    free(l.found);
    if (code != ST_OK)
        result = st_lib_index_fault(s, code);
    st_lib_end(s);
    return result;
}
