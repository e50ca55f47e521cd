/*
 * task_read.c - reading and listing tasks.
 *
 * What is ready stands in one row per task, in one run for each channel and agent
 * (core/task.h): a page is the beginning of each run, merged. What has a not-before time stands
 * apart, in order of time, and is looked at as far as its time has come.
 */
#include "lib/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define HAS(o, field)                                                                              \
    ((o) != NULL && (o)->size >= offsetof(__typeof__(*(o)), field) + sizeof((o)->field))

/* --- one task --------------------------------------------------------------------------------- */

struct filling {
    strata *s;
    strata_task *out;
    bool failed;
};

static const char *text_of(struct filling *f, struct st_str value)
{
    const char *text = st_arena_text(&f->s->arena, value);
    f->failed = f->failed || text == NULL;
    return text != NULL ? text : "";
}

static void fill_depends(struct filling *f, const struct st_attribute *a)
{
    const char **list = st_arena_take(&f->s->arena, (a->count + 1) * sizeof *list);
    size_t n = 0;
    f->failed = f->failed || list == NULL;
    for (size_t i = 0; i < a->count && !f->failed; i++) {
        const struct st_item *item = &a->items[i];
        bool again =
            i > 0 && a->items[i - 1].kind == ST_ITEM_MEMBER && st_item_same(&a->items[i - 1], item);
        if (item->kind != ST_ITEM_MEMBER || item->value_kind != ST_VALUE_LINK || again)
            continue;
        list[n++] = text_of(f, item->value.n > 0 && item->value.p[0] == '#'
                                   ? (struct st_str){item->value.p + 1, item->value.n - 1}
                                   : item->value);
    }
    f->out->depends = list;
    f->out->depends_count = n;
}

/* The finished states absorb, see core/task.h. */
static size_t shown_state(const struct st_attribute *a)
{
    size_t best = a->shown;
    for (size_t i = 0; i < a->count; i++)
        if (a->items[i].kind == ST_ITEM_VALUE &&
            (best >= a->count || st_task_state_better(&a->items[i], &a->items[best])))
            best = i;
    return best;
}

static enum st_code fill_attribute(void *arg, const struct st_attribute *a)
{
    struct filling *f = arg;
    strata_task *t = f->out;
    struct st_str name = a->attribute;
    t->pending = t->pending || a->pending;
#define IS(text) st_str_equal(name, ST_STR(text))
    if (IS("depends")) {
        fill_depends(f, a);
        return f->failed ? ST_NO_MEMORY : ST_OK;
    }
    size_t shown = IS("state") ? shown_state(a) : a->shown;
    if (shown >= a->count || a->items[shown].kind != ST_ITEM_VALUE)
        return ST_OK;
    struct st_str v = a->items[shown].value;
    if (IS("title")) {
        t->title = text_of(f, v);
        t->created_ms = a->items[shown].time.ms;
        t->author = text_of(f, a->items[shown].agent);
    } else if (IS("state")) {
        t->state = text_of(f, v);
    } else if (IS("parent")) {
        t->parent = st_task_name(f->s, v);
    } else if (IS("result")) {
        t->result = text_of(f, v);
        t->result_size = v.n;
    } else if (IS("reason")) {
        t->reason = text_of(f, v);
    } else if (IS("retries")) {
        for (size_t i = 0; i < v.n && i < 9 && v.p[i] >= '0' && v.p[i] <= '9'; i++)
            t->retries = t->retries * 10 + (uint64_t)(v.p[i] - '0');
    } else if (IS("beads")) {
        t->imported = text_of(f, v);
        t->imported_size = v.n;
    } else if (IS("data")) {
        t->data = text_of(f, v);
        t->data_size = v.n;
    } else if (IS("checkpoint")) {
        t->checkpoint = text_of(f, v);
        t->checkpoint_size = v.n;
    }
#undef IS
    return f->failed ? ST_NO_MEMORY : ST_OK;
}

static const char *state_word(strata *s, const struct st_task *t, const strata_task *out)
{
    uint64_t now = s->log.env->wall_ms(s->log.env->ctx);
    if (t->state != ST_TASK_OPEN)
        return out->state;
    if (out->token != 0)
        return "claimed";
    if (t->waits > 0)
        return "waiting";
    return t->not_before_ms > now ? "deferred" : "ready";
}

enum st_code st_task_fill(strata *s, struct st_str entity, strata_task *out)
{
    struct filling f = {.s = s, .out = out};
    struct st_task t;
    struct st_buf key;
    *out = (strata_task){.title = "",
                         .state = "",
                         .parent = "",
                         .result = "",
                         .reason = "",
                         .author = "",
                         .data = "",
                         .checkpoint = "",
                         .channel = "",
                         .agent = "",
                         .key = "",
                         .imported = "",
                         .holder = ""};
    out->id = st_task_name(s, entity);
    st_buf_init(&key, st_alloc_libc());
    enum st_code code = st_task_read(st_index_kv(s->index), entity, &key, &t);
    if (code == ST_OK) {
        out->channel = text_of(&f, t.channel);
        out->agent = text_of(&f, t.agent);
        out->key = text_of(&f, t.key);
        out->priority = t.priority;
        out->not_before_ms = t.not_before_ms;
        out->waits = t.waits;
        out->finished = st_task_finished(t.state);
        const struct st_held_one *held = st_task_holder(s, entity);
        if (held != NULL) {
            out->holder = held->holder;
            out->token = held->token;
            out->left_ms = held->left_ms;
        }
        code = st_attribute_each(st_index_kv(s->index), entity, (struct st_str){"", 0},
                                 (struct st_str){"", 0}, &s->read, fill_attribute, &f);
    }
    if (code == ST_OK)
        out->state = state_word(s, &t, out);
    st_buf_release(&key);
    return code == ST_OK && f.failed ? ST_NO_MEMORY : code;
}

/* Begins a read; what the ledger knows comes first. */
static int look(strata *s)
{
    int code = st_task_settle(s);
    if (code == STRATA_OK)
        code = st_task_held(s);
    return code == STRATA_OK ? st_lib_begin(s) : code;
}

int strata_task_get(strata *s, const char *id, strata_task *out)
{
    char entity[ST_NUMBERED_SIZE + 1];
    int result = look(s);
    if (result != STRATA_OK)
        return result;
    result = st_task_find(s, id, entity);
    if (result == STRATA_OK) {
        enum st_code code = st_task_fill(s, st_str_of(entity), out);
        if (code != ST_OK)
            result = st_lib_index_fault(s, code);
    }
    st_lib_end(s);
    return result;
}

/* --- lists ------------------------------------------------------------------------------------ */

struct candidate {
    uint64_t number;
    uint8_t priority;
    bool assigned, elsewhere; /* ready: for an agent on a certain copy; and another's than asked */
    char suffix[ST_SUFFIX_SIZE_MAX + 1];
};

struct listing {
    strata *s;
    int view;
    const char *channel, *agent, *parent;
    size_t limit; /* 0: none */
    uint64_t now_ms;
    struct candidate *found;
    size_t count, cap;
    size_t run; /* of this run: how many were found */
    bool no_memory;
    char on_this_copy[2 * ST_AGENT_SIZE_MAX + 2]; /* "ann@laptop" */
};

static enum st_code add_candidate(struct listing *l, struct st_task_id id, uint8_t priority)
{
    if (l->count == l->cap) {
        size_t cap = l->cap == 0 ? 64 : l->cap * 2;
        struct candidate *p = realloc(l->found, cap * sizeof *p);
        if (p == NULL)
            return ST_NO_MEMORY;
        l->found = p;
        l->cap = cap;
    }
    struct candidate *c = &l->found[l->count++];
    *c = (struct candidate){.number = id.number, .priority = priority};
    snprintf(c->suffix, sizeof c->suffix, "%.*s", (int)id.suffix.n, id.suffix.p);
    return ST_OK;
}

static bool agent_fits(const struct listing *l, struct st_str agent)
{
    return l->agent == NULL || agent.n == 0 || st_str_equal(agent, st_str_of(l->agent)) ||
           st_str_equal(agent, st_str_of(l->on_this_copy));
}

static bool channel_fits(const struct listing *l, struct st_str channel)
{
    return l->channel == NULL || st_str_equal(channel, st_str_of(l->channel));
}

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return strcmp(x->suffix, y->suffix);
}

/* Whether somebody has claimed it. */
static bool is_held(const struct listing *l, struct st_task_id id)
{
    char entity[ST_NUMBERED_SIZE + 1];
    if (l->s->held.count == 0)
        return false;
    st_task_id_text(id, entity);
    return st_task_holder(l->s, st_str_of(entity)) != NULL;
}

static void note_agent(const struct listing *l, struct candidate *c, struct st_str agent)
{
    c->assigned = memchr(agent.p, '@', agent.n) != NULL;
    c->elsewhere = c->assigned && !st_str_equal(agent, st_str_of(l->on_this_copy));
}

static enum st_code visit_ready(void *arg, struct st_str key, struct st_str value)
{
    struct listing *l = arg;
    struct st_task_ready_key k;
    (void)value;
    if (!st_task_ready_split(key, &k))
        return ST_DAMAGED;
    if (is_held(l, k.id))
        return ST_OK;
    enum st_code code = add_candidate(l, k.id, k.priority);
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

/* Goes from run to run; of each that fits the beginning is taken. */
static enum st_code list_runs(struct listing *l)
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
        if (!key.failed && channel_fits(l, channel) && agent_fits(l, agent))
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
    struct listing *l = arg;
    struct st_task_id id;
    uint64_t not_before_ms;
    (void)value;
    if (!st_task_deferred_split(key, &not_before_ms, &id))
        return ST_DAMAGED;
    if (not_before_ms > l->now_ms)
        return ST_SCAN_STOP;
    return is_held(l, id) ? ST_OK : add_candidate(l, id, 0);
}

static void entity_of(const struct candidate *c, char entity[ST_NUMBERED_SIZE + 1])
{
    st_task_id_text((struct st_task_id){c->number, st_str_of(c->suffix)}, entity);
}

static enum st_code list_due(struct listing *l)
{
    const struct st_kv *kv = st_index_kv(l->s->index);
    struct st_buf key;
    size_t first = l->count, kept = first;
    enum st_code code = kv->scan(kv->ctx, ST_STR("qd"), (struct st_str){"", 0}, visit_due, l);
    st_buf_init(&key, st_alloc_libc());
    for (size_t i = first; i < l->count && code == ST_OK; i++) {
        char entity[ST_NUMBERED_SIZE + 1];
        struct st_task t;
        entity_of(&l->found[i], entity);
        code = st_task_read(kv, st_str_of(entity), &key, &t);
        if (code != ST_OK || !channel_fits(l, t.channel) || !agent_fits(l, t.agent))
            continue;
        l->found[kept] = l->found[i];
        note_agent(l, &l->found[kept], t.agent);
        l->found[kept++].priority = t.priority;
    }
    st_buf_release(&key);
    l->count = kept;
    return code;
}

static enum st_code list_ready(struct listing *l)
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

/* By number. With a filter on what is in the attributes, more is gathered than is shown. */
static enum st_code visit_summary(void *arg, struct st_str key, struct st_str value)
{
    struct listing *l = arg;
    struct st_task t;
    struct st_task_id id;
    if (!st_task_id_take(key, 2, &id))
        return ST_DAMAGED;
    if (key.p[1] == 't') {
        enum st_code code = st_task_decode(value, &t);
        if (code != ST_OK)
            return code;
        bool fits = t.is_task && !t.is_message && channel_fits(l, t.channel) &&
                    agent_fits(l, t.agent) &&
                    (l->view != STRATA_TASKS_FINISHED || st_task_finished(t.state));
        if (!fits)
            return ST_OK;
    }
    enum st_code code = add_candidate(l, id, 0);
    bool enough = l->limit != 0 && l->count >= l->limit;
    return code == ST_OK && enough ? ST_SCAN_STOP : code;
}

struct walk {
    int (*visit)(void *arg, const strata_task *t);
    void *arg;
    size_t shown;
    int result;
};

static bool task_fits(const struct listing *l, const strata_task *t)
{
    if (l->parent != NULL && strcmp(t->parent, l->parent) != 0)
        return false;
    if (!channel_fits(l, st_str_of(t->channel)) || !agent_fits(l, st_str_of(t->agent)))
        return false;
    if (l->view == STRATA_TASKS_GIVEN_UP)
        return t->retries + 1 >= STRATA_TASK_RETRIES;
    return l->view != STRATA_TASKS_BLOCKED || (t->waits > 0 && strcmp(t->state, "waiting") == 0);
}

/* Shows what was gathered. */
static enum st_code show(struct listing *l, struct walk *w)
{
    enum st_code code = ST_OK;
    for (size_t i = 0; i < l->count && code == ST_OK && w->result == 0; i++) {
        char entity[ST_NUMBERED_SIZE + 1];
        strata_task t;
        entity_of(&l->found[i], entity);
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
static enum st_code list_by_number(struct listing *l, const char *after, struct walk *w)
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
        const struct candidate *c = &l->found[l->count - 1];
        st_buf_reset(&key);
        st_task_key(&key, (struct st_task_id){c->number, st_str_of(c->suffix)});
        code = key.failed ? ST_NO_MEMORY : show(l, w);
        if (last)
            break;
    }
    st_buf_release(&key);
    return code;
}

static int find_named(strata *s, const strata_task_query *q, char parent[ST_NUMBERED_SIZE + 1],
                      char after[ST_NUMBERED_SIZE + 1])
{
    int result = STRATA_OK;
    parent[0] = after[0] = '\0';
    if (HAS(q, parent) && q->parent != NULL)
        result = st_task_find(s, q->parent, parent);
    if (result == STRATA_OK && HAS(q, after) && q->after != NULL)
        result = st_task_find(s, q->after, after);
    return result;
}

static void listing_init(struct listing *l, strata *s, const strata_task_query *q)
{
    *l = (struct listing){.s = s, .view = q->view};
    if (HAS(q, channel))
        l->channel = q->channel;
    if (HAS(q, agent))
        l->agent = q->agent;
    if (HAS(q, limit))
        l->limit = q->limit;
    if (l->agent != NULL)
        snprintf(l->on_this_copy, sizeof l->on_this_copy, "%.64s@%s", l->agent,
                 s->log.identity.name);
    l->now_ms = s->log.env->wall_ms(s->log.env->ctx);
}

int strata_task_each(strata *s, const strata_task_query *q,
                     int (*visit)(void *arg, const strata_task *t), void *arg)
{
    struct listing l;
    struct walk w = {.visit = visit, .arg = arg};
    char parent[ST_NUMBERED_SIZE + 1], after[ST_NUMBERED_SIZE + 1];
    listing_init(&l, s, q);
    int result = look(s);
    if (result != STRATA_OK)
        return result;
    result = find_named(s, q, parent, after);
    if (parent[0] != '\0')
        l.parent = parent + 1;
    enum st_code code = ST_OK;
    if (result == STRATA_OK && l.view == STRATA_TASKS_READY) {
        size_t limit = l.limit;
        if (l.parent != NULL)
            l.limit = 0; /* known only of each task */
        code = list_ready(&l);
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

enum st_code st_task_may_take(strata *s, const strata_task_query *q, struct st_str entity,
                              bool *may)
{
    struct listing l;
    struct st_task t;
    struct st_buf key;
    *may = false;
    listing_init(&l, s, q);
    st_buf_init(&key, st_alloc_libc());
    enum st_code code = st_task_read(st_index_kv(s->index), entity, &key, &t);
    if (code == ST_OK)
        *may = st_task_ready(&t) && t.not_before_ms <= l.now_ms && channel_fits(&l, t.channel) &&
               agent_fits(&l, t.agent) && memchr(t.agent.p, '@', t.agent.n) == NULL;
    st_buf_release(&key);
    return code;
}

/* Of many that are as good as the best, those from a number behind it on. */
static enum st_code begin_anywhere(struct listing *l, unsigned spread)
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
    struct candidate best = l->found[0];
    entity_of(&best, entity);
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
static void choose_candidates(const struct listing *l, struct st_candidates *c)
{
    uint8_t priority = 0;
    for (size_t i = 0; i < l->count && c->count < c->max; i++) {
        const struct candidate *one = &l->found[i];
        if (one->elsewhere || (c->only_assigned && !one->assigned))
            continue;
        if (c->count == 0) {
            c->assigned = one->assigned;
            priority = one->priority;
        }
        if (one->assigned != c->assigned)
            continue;
        c->equal += one->priority == priority;
        entity_of(one, c->entities[c->count++]);
    }
}

static int begin_since(strata *s, const struct st_candidates *c)
{
    if (c->since && st_index_begin_since(s->index, c->at) == ST_OK) {
        st_arena_reset(&s->arena);
        return STRATA_OK;
    }
    return st_lib_begin(s);
}

int st_task_candidates(strata *s, const strata_task_query *q, struct st_candidates *c)
{
    struct listing l;
    c->count = c->equal = 0;
    c->assigned = false;
    listing_init(&l, s, q);
    l.limit = c->only_assigned ? 0 : c->max;
    s->held.count = 0; /* who has what is for the ledger to say */
    int result = begin_since(s, c);
    if (result != STRATA_OK)
        return result;
    c->at = st_index_applied(s->index);
    enum st_code code = list_ready(&l);
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

/* --- what a task waits for -------------------------------------------------------------------- */

int strata_task_waits_for(strata *s, const char *id, size_t limit,
                          int (*visit)(void *arg, const strata_task *t), void *arg)
{
    char entity[ST_NUMBERED_SIZE + 1];
    strata_task t;
    int stop = 0;
    int result = look(s);
    if (result != STRATA_OK)
        return result;
    result = st_task_find(s, id, entity);
    enum st_code code = result == STRATA_OK ? st_task_fill(s, st_str_of(entity), &t) : ST_OK;
    size_t count = 0;
    for (size_t i = 0; result == STRATA_OK && code == ST_OK && stop == 0 && i < t.depends_count &&
                       (limit == 0 || count < limit);
         i++) {
        strata_task on;
        snprintf(entity, sizeof entity, "#%s", t.depends[i]);
        code = st_task_fill(s, st_str_of(entity), &on);
        if (code == ST_NOT_FOUND) {
            on.id = t.depends[i];
            on.state = "unknown";
            code = ST_OK;
        }
        if (code != ST_OK || strcmp(on.state, "done") == 0 || strcmp(on.state, "cancelled") == 0)
            continue;
        stop = visit(arg, &on);
        count++;
    }
    if (code != ST_OK)
        result = st_lib_index_fault(s, code);
    st_lib_end(s);
    return result == STRATA_OK && stop < 0 ? stop : result;
}

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
    struct listing due = {.s = s, .now_ms = s->log.env->wall_ms(s->log.env->ctx)};
    uint64_t claimed = 0, claimed_due = 0; /* visit_due() passes over those */
    enum st_code code = st_task_totals_read(kv, &t);
    if (code == ST_OK)
        code = kv->scan(kv->ctx, ST_STR("qd"), (struct st_str){"", 0}, visit_due, &due);
    if (code == ST_OK)
        code = count_claimed(s, &claimed, &claimed_due);
    *out = (strata_task_totals){
        .tasks = t.tasks,
        .unfinished = t.unfinished,
        .messages = t.messages,
        .ready = t.ready,
        .waiting = t.waiting,
        .deferred = t.deferred - due.count - claimed_due,
        .held = t.unfinished - t.ready - t.waiting,
        .done = t.tasks - t.unfinished - t.failed - t.cancelled,
        .failed = t.failed,
        .cancelled = t.cancelled,
        .claimed = s->held.count,
    };
    out->to_be_had = out->ready - out->deferred - claimed;
    free(due.found);
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
