/*
 * task_read.c - reading one task, and what it waits for.
 */
#include "lib/task.h"

#include <stdio.h>

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
int st_task_begin(strata *s)
{
    int code = st_task_settle(s);
    if (code == STRATA_OK)
        code = st_task_held(s);
    return code == STRATA_OK ? st_lib_begin(s) : code;
}

int strata_task_get(strata *s, const char *id, strata_task *out)
{
    char entity[ST_NUMBERED_SIZE + 1];
    int result = st_task_begin(s);
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

/* --- what a task waits for -------------------------------------------------------------------- */

int strata_task_waits_for(strata *s, const char *id, size_t limit,
                          int (*visit)(void *arg, const strata_task *t), void *arg)
{
    char entity[ST_NUMBERED_SIZE + 1];
    strata_task t;
    int stop = 0;
    int result = st_task_begin(s);
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
