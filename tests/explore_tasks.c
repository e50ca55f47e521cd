/*
 * explore_tasks.c - the rows of core/task.h held against a plain computation from the specified
 * attributes: every row that there has to be is there, and there is none beside them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "core/task.h"
#include "explore.h"

static const char *const tasks[] = {"#1", "#2"};
#define TASKS (sizeof(tasks) / sizeof(*tasks))

/* A task as it has to be. */
struct want {
    bool known, is_task, is_message, acknowledged;
    enum st_task_state state;
    char priority;
    uint64_t waits, not_before_ms;
    struct st_str channel, key, to;
};

static struct st_str shown(const struct spec *spec, const char *entity, const char *name)
{
    static struct spec_attribute a;
    spec_attribute(spec, st_str_of(entity), st_str_of(name), &a);
    bool value = a.shown < a.count && a.items[a.shown].kind == ST_ITEM_VALUE;
    return value ? a.items[a.shown].value : ST_STR("");
}

static bool is(struct st_str a, const char *b)
{
    return st_str_equal(a, st_str_of(b));
}

static enum st_task_state state_of(struct st_str v)
{
    return v.n == 0 || is(v, "open") ? ST_TASK_OPEN
           : is(v, "done")           ? ST_TASK_DONE
           : is(v, "failed")         ? ST_TASK_FAILED
           : is(v, "cancelled")      ? ST_TASK_CANCELLED
                                     : ST_TASK_HELD;
}

/* Finished absorbs: the latest of the live finished values. */
static enum st_task_state wanted_state(const struct spec *spec, const char *entity)
{
    static struct spec_attribute a;
    const struct st_item *best = NULL;
    spec_attribute(spec, st_str_of(entity), ST_STR("state"), &a);
    for (size_t i = 0; i < a.count; i++) {
        const struct st_item *x = &a.items[i];
        if (x->kind != ST_ITEM_VALUE || state_of(x->value) < ST_TASK_DONE)
            continue;
        int order = best != NULL ? st_hlc_compare(x->time, best->time) : 1;
        if (order == 0)
            order = st_dot_compare(x->dot, best->dot);
        if (order > 0)
            best = x;
    }
    return state_of(best != NULL ? best->value : shown(spec, entity, "state"));
}

static bool settled(const struct spec *spec, struct st_str entity)
{
    for (size_t i = 0; i < TASKS; i++) {
        enum st_task_state s = wanted_state(spec, tasks[i]);
        if (is(entity, tasks[i]))
            return s == ST_TASK_DONE || s == ST_TASK_CANCELLED;
    }
    return false;
}

/* Calls `each` for every target that the task waits, or waited, for. */
static size_t dependencies(const struct spec *spec, const char *entity, struct st_str *out)
{
    static struct spec_attribute a;
    size_t count = 0;
    spec_attribute(spec, st_str_of(entity), ST_STR("depends"), &a);
    for (size_t i = 0; i < a.count; i++) {
        bool again = count > 0 && st_str_equal(out[count - 1], a.items[i].value);
        if (a.items[i].kind == ST_ITEM_MEMBER && a.items[i].value_kind == ST_VALUE_LINK && !again)
            out[count++] = a.items[i].value;
    }
    return count;
}

static struct want want_of(const struct spec *spec, const char *entity)
{
    struct want w = {.priority = 2, .channel = ST_STR("default")};
    struct st_str v, on[SPEC_OPS_MAX];
    for (size_t i = 0; i < NAMES; i++) {
        static struct spec_attribute a;
        spec_attribute(spec, st_str_of(entity), st_str_of(attribute_names[i].attribute), &a);
        w.known = w.known || (strcmp(attribute_names[i].entity, entity) == 0 && a.written);
    }
    w.is_task = shown(spec, entity, "title").n > 0;
    w.is_message = shown(spec, entity, "message").n > 0;
    w.acknowledged = shown(spec, entity, "acknowledged").n > 0;
    w.state = wanted_state(spec, entity);
    v = shown(spec, entity, "priority");
    if (v.n == 1 && v.p[0] >= '0' && v.p[0] <= '4')
        w.priority = (char)(v.p[0] - '0');
    if (shown(spec, entity, "not_before").n > 0)
        w.not_before_ms = 1795651200000; /* the one time in the alphabet */
    v = shown(spec, entity, "channel");
    if (v.n > 0)
        w.channel = v;
    w.key = shown(spec, entity, "key");
    w.to = shown(spec, entity, "to");
    size_t count = dependencies(spec, entity, on);
    for (size_t i = 0; i < count; i++)
        w.waits += !settled(spec, on[i]);
    return w;
}

struct rows {
    const struct history *h;
    const struct st_kv *kv;
    size_t wanted, there;
};

static void want_row(struct rows *r, struct st_buf *key, const char *what)
{
    struct st_str value;
    r->wanted++;
    if (key->failed || r->kv->get(r->kv->ctx, st_buf_str(key), &value) != ST_OK)
        explore_fail(r->h, what);
    st_buf_reset(key);
}

static void add_number(struct st_buf *out, uint64_t n)
{
    for (int i = 0; i < 8; i++)
        st_buf_add_char(out, (char)(unsigned char)(n >> (56 - 8 * i)));
}

static void add_id(struct st_buf *out, const char *entity)
{
    add_number(out, strtoull(entity + 1, NULL, 10));
    st_buf_add_char(out, '\0');
}

static void add_name(struct st_buf *out, struct st_str name)
{
    st_buf_add_str(out, name);
    st_buf_add_char(out, '\0');
}

static void check_summary(struct rows *r, const char *entity, const struct want *w)
{
    struct st_buf key;
    struct st_task t;
    st_buf_init(&key, &explore_alloc);
    enum st_code code = st_task_read(r->kv, st_str_of(entity), &key, &t);
    if ((code == ST_OK) != w->known)
        explore_fail(r->h, "a task is known that nobody wrote to, or the other way round");
    if (!w->known)
        return;
    r->wanted++;
    if (t.is_task != w->is_task || t.is_message != w->is_message ||
        t.acknowledged != w->acknowledged || t.state != w->state ||
        t.priority != (uint8_t)w->priority || t.waits != w->waits ||
        t.not_before_ms != w->not_before_ms || !st_str_equal(t.channel, w->channel) ||
        !st_str_equal(t.key, w->key) || !st_str_equal(t.to, w->to)) {
        explore_fail_head(r->h, "the summary of a task is wrong");
        printf("%s: task %d/%d state %d/%d waits %llu/%llu (expected/actual)\n", entity, w->is_task,
               t.is_task, (int)w->state, (int)t.state, (unsigned long long)w->waits,
               (unsigned long long)t.waits);
        exit(1);
    }
}

static bool is_ready(const struct want *w)
{
    return w->is_task && !w->is_message && w->state == ST_TASK_OPEN && w->waits == 0;
}

static void want_rows(struct rows *r, const struct spec *spec, const char *entity,
                      const struct want *w, struct st_task_totals *totals)
{
    struct st_buf key;
    struct st_str on[SPEC_OPS_MAX];
    st_buf_init(&key, &explore_alloc);
    bool task = w->is_task && !w->is_message, unfinished = task && w->state < ST_TASK_DONE;
    totals->tasks += task;
    totals->unfinished += unfinished;
    totals->waiting += task && w->state == ST_TASK_OPEN && w->waits > 0;
    totals->failed += task && w->state == ST_TASK_FAILED;
    totals->cancelled += task && w->state == ST_TASK_CANCELLED;
    if (unfinished) {
        st_buf_add_text(&key, "qo");
        add_id(&key, entity);
        want_row(r, &key, "a task that is not finished is not listed");
    }
    if (task && w->state == ST_TASK_FAILED) {
        st_buf_add_text(&key, "qf");
        add_id(&key, entity);
        want_row(r, &key, "a task that has failed is not listed");
    }
    if (is_ready(w)) {
        totals->ready++;
        totals->deferred += w->not_before_ms != 0;
        st_buf_add_text(&key, w->not_before_ms != 0 ? "qd" : "qr");
        if (w->not_before_ms != 0) {
            add_number(&key, w->not_before_ms);
        } else {
            add_name(&key, w->channel);
            add_name(&key, ST_STR(""));
            st_buf_add_char(&key, w->priority);
        }
        add_id(&key, entity);
        want_row(r, &key, "a ready task is not listed where it should be");
    }
    if (w->is_task && w->key.n > 0) {
        st_buf_add_text(&key, "qk");
        add_name(&key, w->key);
        add_id(&key, entity);
        want_row(r, &key, "a key is not known");
    }
    if (w->is_message && !w->acknowledged && w->to.n > 0) {
        totals->messages++;
        st_buf_add_text(&key, "qi");
        add_name(&key, w->to);
        add_id(&key, entity);
        want_row(r, &key, "a message is not in the inbox");
        st_buf_add_text(&key, "qI");
        add_name(&key, w->to);
        want_row(r, &key, "an inbox is not counted");
    }
    size_t count = dependencies(spec, entity, on);
    for (size_t i = 0; i < count; i++) {
        st_buf_add_text(&key, "qv");
        add_name(&key, on[i]);
        add_id(&key, entity);
        want_row(r, &key, "a dependency has no row");
    }
}

static enum st_code count_row(void *arg, struct st_str key, struct st_str value)
{
    (void)key, (void)value;
    ((struct rows *)arg)->there++;
    return ST_OK;
}

void explore_check_tasks(const struct history *h, const struct spec *spec, const struct st_kv *kv)
{
    struct rows r = {.h = h, .kv = kv};
    struct st_task_totals want = {0}, got;
    for (size_t i = 0; i < TASKS; i++) {
        struct want w = want_of(spec, tasks[i]);
        check_summary(&r, tasks[i], &w);
        want_rows(&r, spec, tasks[i], &w, &want);
    }
    if (st_task_totals_read(kv, &got) != ST_OK || memcmp(&got, &want, sizeof got) != 0)
        explore_fail(h, "the totals are wrong");
    struct st_buf key;
    struct st_str value;
    st_buf_init(&key, &explore_alloc);
    st_buf_add_text(&key, "qn");
    r.wanted += kv->get(kv->ctx, st_buf_str(&key), &value) == ST_OK;
    if (kv->scan(kv->ctx, ST_STR("q"), (struct st_str){NULL, 0}, count_row, &r) != ST_OK ||
        r.there != r.wanted) {
        explore_fail_head(h, "there are rows too many");
        printf("expected %zu, there are %zu\n", r.wanted, r.there);
        exit(1);
    }
}
