/*
 * task_apply.c - the rows of task.h follow the facts.
 *
 * The operations of a record on one task come one after the other. While they are applied only a
 * set of changed attributes is noted, and the rows of dependencies are kept; when another task's
 * turn comes, or the record ends, the task is closed: its summary is made anew from what changed,
 * and the rows that depend on it move from where the old summary has them to where the new one
 * says. If that settles the task, or unsettles it, the tasks that depend on it are counted down, or
 * up; no further, as waiting for something that waits makes no difference.
 */
#include "core/task_internal.h"

enum {
    TITLE = 1 << 0,
    STATE = 1 << 1,
    CHANNEL = 1 << 2,
    AGENT = 1 << 3,
    PRIORITY = 1 << 4,
    NOT_BEFORE = 1 << 5,
    KEY = 1 << 6,
    MESSAGE = 1 << 7,
    TO = 1 << 8,
    ACKNOWLEDGED = 1 << 9,
    DEPENDS = 1 << 10,
    REPORTED = 1 << 11,
};

static const struct {
    const char *name;
    unsigned bit;
} attributes[] = {
    {"title", TITLE},
    {"state", STATE},
    {"channel", CHANNEL},
    {"agent", AGENT},
    {"priority", PRIORITY},
    {"not_before", NOT_BEFORE},
    {"key", KEY},
    {"message", MESSAGE},
    {"to", TO},
    {"acknowledged", ACKNOWLEDGED},
    {"depends", DEPENDS},
    {"reported", REPORTED},
};

static unsigned attribute_bit(struct st_str name)
{
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        if (st_str_equal(name, st_str_of(attributes[i].name)))
            return attributes[i].bit;
    return 0;
}

void st_task_site_init(struct st_task_site *t, const struct st_alloc *alloc)
{
    *t = (struct st_task_site){.changed = 0};
    struct st_buf *const bufs[] = {&t->key, &t->old, &t->row, &t->list, &t->value};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        st_buf_init(bufs[i], alloc);
}

void st_task_site_release(struct st_task_site *t)
{
    struct st_buf *const bufs[] = {&t->key, &t->old, &t->row, &t->list, &t->value};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
        st_buf_release(bufs[i]);
}

/* --- small changes ---------------------------------------------------------------------------- */

static enum st_code put_empty(struct st_state *s, bool put)
{
    const struct st_kv *kv = s->kv;
    if (s->task.key.failed)
        return ST_NO_MEMORY;
    return put ? kv->put(kv->ctx, st_buf_str(&s->task.key), (struct st_str){"", 0})
               : kv->del(kv->ctx, st_buf_str(&s->task.key));
}

/* A row that stands at one key by the old summary and at another, or none, by the new. */
typedef bool key_fn(struct st_buf *key, const struct st_task *t, struct st_task_id id);

static enum st_code move_row(struct st_state *s, key_fn *key_of, struct st_task_id id,
                             const struct st_task *old, const struct st_task *new)
{
    struct st_buf *key = &s->task.key;
    st_buf_reset(key);
    bool was = key_of(key, old, id);
    size_t split = key->n;
    bool is = key_of(key, new, id);
    if (key->failed)
        return ST_NO_MEMORY;
    struct st_str from = {key->p, split}, to = {key->p + split, key->n - split};
    if (was == is && st_str_equal(from, to))
        return ST_OK;
    enum st_code code = was ? s->kv->del(s->kv->ctx, from) : ST_OK;
    if (code == ST_OK && is)
        code = s->kv->put(s->kv->ctx, to, (struct st_str){"", 0});
    return code;
}

static bool key_unfinished(struct st_buf *key, const struct st_task *t, struct st_task_id id)
{
    bool is = t->is_task && !t->is_message && !st_task_finished(t->state);
    if (is)
        st_task_key_unfinished(key, id);
    return is;
}

static bool key_place(struct st_buf *key, const struct st_task *t, struct st_task_id id)
{
    bool is = st_task_ready(t);
    if (is)
        st_task_key_place(key, t, id);
    return is;
}

static bool key_keyed(struct st_buf *key, const struct st_task *t, struct st_task_id id)
{
    bool is = t->is_task && t->key.n > 0;
    if (is)
        st_task_key_of_key(key, t->key, id);
    return is;
}

static bool key_failed(struct st_buf *key, const struct st_task *t, struct st_task_id id)
{
    bool is = t->is_task && !t->is_message && t->state == ST_TASK_FAILED;
    if (is)
        st_task_key_failed(key, id);
    return is;
}

static bool key_reported(struct st_buf *key, const struct st_task *t, struct st_task_id id)
{
    if (t->reported)
        st_task_key_reported(key, id);
    return t->reported;
}

static bool in_inbox(const struct st_task *t)
{
    return t->is_message && !t->acknowledged && t->to.n > 0;
}

static bool key_message(struct st_buf *key, const struct st_task *t, struct st_task_id id)
{
    bool is = in_inbox(t);
    if (is)
        st_task_key_message(key, t->to, id);
    return is;
}

/* --- counts ----------------------------------------------------------------------------------- */

static void count(uint64_t *total, bool was, bool is)
{
    *total += (uint64_t)is - (uint64_t)was;
}

static bool is_waiting(const struct st_task *t)
{
    return t->is_task && !t->is_message && t->state == ST_TASK_OPEN && t->waits > 0;
}

static bool is_deferred(const struct st_task *t)
{
    return st_task_ready(t) && t->not_before_ms != 0;
}

static enum st_code totals_follow(struct st_state *s, const struct st_task *old,
                                  const struct st_task *new)
{
    struct st_task_totals t;
    enum st_code code = st_task_totals_read(s->kv, &t);
    if (code != ST_OK)
        return code;
    struct st_task_totals before = t;
    bool was = old->is_task && !old->is_message, is = new->is_task && !new->is_message;
    count(&t.tasks, was, is);
    count(&t.unfinished, was && !st_task_finished(old->state), is && !st_task_finished(new->state));
    count(&t.ready, st_task_ready(old), st_task_ready(new));
    count(&t.messages, in_inbox(old), in_inbox(new));
    count(&t.waiting, is_waiting(old), is_waiting(new));
    count(&t.deferred, is_deferred(old), is_deferred(new));
    count(&t.failed, was && old->state == ST_TASK_FAILED, is && new->state == ST_TASK_FAILED);
    count(&t.cancelled, was && old->state == ST_TASK_CANCELLED,
          is && new->state == ST_TASK_CANCELLED);
    if (memcmp(&t, &before, sizeof t) == 0)
        return ST_OK;
    st_buf_reset(&s->task.key);
    st_buf_add_text(&s->task.key, "qn");
    st_buf_reset(&s->task.value);
    st_task_totals_encode(&s->task.value, &t);
    return st_kv_put(s->kv, &s->task.key, &s->task.value);
}

static enum st_code inbox_add(struct st_state *s, struct st_str agent, int step)
{
    struct st_str row;
    uint64_t n = 0;
    st_buf_reset(&s->task.key);
    st_task_key_inbox_count(&s->task.key, agent);
    if (s->task.key.failed)
        return ST_NO_MEMORY;
    enum st_code code = s->kv->get(s->kv->ctx, st_buf_str(&s->task.key), &row);
    if (code == ST_OK && !st_take_varint(&row, &n))
        return ST_DAMAGED;
    if (code != ST_OK && code != ST_NOT_FOUND)
        return code;
    n += (uint64_t)(int64_t)step;
    st_buf_reset(&s->task.value);
    st_buf_add_varint(&s->task.value, n);
    return n == 0 ? s->kv->del(s->kv->ctx, st_buf_str(&s->task.key))
                  : st_kv_put(s->kv, &s->task.key, &s->task.value);
}

static enum st_code inbox_follow(struct st_state *s, const struct st_task *old,
                                 const struct st_task *new)
{
    bool was = in_inbox(old), is = in_inbox(new);
    if (was == is && st_str_equal(old->to, new->to))
        return ST_OK;
    enum st_code code = was ? inbox_add(s, old->to, -1) : ST_OK;
    return code == ST_OK && is ? inbox_add(s, new->to, 1) : code;
}

/* --- summaries -------------------------------------------------------------------------------- */

/* Reads a summary into `copy`, from which its strings are lent. */
static enum st_code summary_load(struct st_state *s, struct st_task_id id, struct st_buf *copy,
                                 struct st_task *out)
{
    bool found;
    st_buf_reset(&s->task.key);
    st_task_key(&s->task.key, id);
    if (s->task.key.failed)
        return ST_NO_MEMORY;
    enum st_code code = st_kv_get(s->kv, st_buf_str(&s->task.key), copy, &found);
    *out = (struct st_task){.priority = ST_PRIORITY_DEFAULT, .channel = ST_STR(ST_CHANNEL_DEFAULT)};
    return code == ST_OK && found ? st_task_decode(st_buf_str(copy), out) : code;
}

/* Writes a summary, and lets the rows that go with it follow. */
static enum st_code summary_store(struct st_state *s, struct st_task_id id,
                                  const struct st_task *old, const struct st_task *new)
{
    st_buf_reset(&s->task.key);
    st_task_key(&s->task.key, id);
    st_buf_reset(&s->task.value);
    st_task_encode(&s->task.value, new);
    enum st_code code = st_kv_put(s->kv, &s->task.key, &s->task.value);
    static key_fn *const rows[] = {key_unfinished, key_place,   key_failed,
                                   key_keyed,      key_message, key_reported};
    for (size_t i = 0; i < sizeof rows / sizeof *rows && code == ST_OK; i++)
        code = move_row(s, rows[i], id, old, new);
    if (code == ST_OK)
        code = totals_follow(s, old, new);
    return code == ST_OK ? inbox_follow(s, old, new) : code;
}

static bool settled(const struct st_task *t)
{
    return t->state == ST_TASK_DONE || t->state == ST_TASK_CANCELLED;
}

/* --- dependents ------------------------------------------------------------------------------- */

static enum st_code collect_dependent(void *arg, struct st_str key, struct st_str value)
{
    struct st_state *s = arg;
    (void)value;
    st_buf_add_str(&s->task.list, (struct st_str){key.p + s->task.key.n, key.n - s->task.key.n});
    return s->task.list.failed ? ST_NO_MEMORY : ST_OK;
}

/* The target was settled, or is not settled any more. */
static enum st_code dependents_count(struct st_state *s, struct st_str target, bool now_settled)
{
    st_buf_reset(&s->task.key);
    st_task_key_dependents(&s->task.key, target);
    st_buf_reset(&s->task.list);
    if (s->task.key.failed)
        return ST_NO_MEMORY;
    enum st_code code = s->kv->scan(s->kv->ctx, st_buf_str(&s->task.key), (struct st_str){NULL, 0},
                                    collect_dependent, s);
    struct st_str rest = st_buf_str(&s->task.list);
    while (code == ST_OK && rest.n > 0) {
        const char *end = rest.n > 8 ? memchr(rest.p + 8, '\0', rest.n - 8) : NULL;
        struct st_task_id id;
        if (end == NULL)
            return ST_DAMAGED;
        struct st_str one = {rest.p, (size_t)(end + 1 - rest.p)};
        rest = (struct st_str){end + 1, rest.n - one.n};
        struct st_task old, new;
        if (!st_task_id_take(one, 0, &id))
            return ST_DAMAGED;
        code = summary_load(s, id, &s->task.row, &old);
        if (code != ST_OK)
            return code;
        new = old;
        if (now_settled && new.waits == 0)
            return ST_DAMAGED;
        new.waits = now_settled ? new.waits - 1 : new.waits + 1;
#ifdef ST_DEFECT_NOT_COUNTED_BACK
        new.waits = now_settled ? new.waits : old.waits;
#endif
        code = summary_store(s, id, &old, &new);
    }
    return code;
}

/* --- dependencies ----------------------------------------------------------------------------- */

static enum st_code has_row(struct st_state *s, struct st_str key, bool *has)
{
    struct st_str value;
    enum st_code code = s->kv->get(s->kv->ctx, key, &value);
    *has = code == ST_OK;
    return code == ST_NOT_FOUND ? ST_OK : code;
}

/* Whether the link to target is a member of `depends` now. */
static enum st_code is_member(struct st_state *s, struct st_str entity, struct st_str target,
                              bool *is)
{
    struct st_buf *key = &s->task.key;
    st_buf_reset(key);
    st_key_member(key, entity, ST_STR("depends"), ST_VALUE_LINK, target);
    return key->failed ? ST_NO_MEMORY : has_row(s, st_buf_str(key), is);
}

/* Brings the row of one dependency, and the count, into line with the members. */
static enum st_code dependency_follow(struct st_state *s, struct st_str entity,
                                      struct st_str target)
{
    struct st_task_id id, on;
    struct st_task t = {.state = ST_TASK_OPEN};
    bool was = false, is = false;
    ST_ASSERT(st_task_id_parse(entity, &id));
    enum st_code code = is_member(s, entity, target, &is);
    st_buf_reset(&s->task.key);
    st_task_key_dependent(&s->task.key, target, id);
    if (s->task.key.failed)
        return ST_NO_MEMORY;
    if (code == ST_OK)
        code = has_row(s, st_buf_str(&s->task.key), &was);
    if (code != ST_OK || was == is)
        return code;
    code = put_empty(s, is);
    if (code == ST_OK && st_task_id_parse(target, &on))
        code = summary_load(s, on, &s->task.row, &t);
#ifdef ST_DEFECT_SETTLED_COUNTS
    t.state = ST_TASK_OPEN;
#endif
    if (code == ST_OK && !settled(&t))
        s->task.waits += is ? 1 : -1;
    return code;
}

static enum st_code collect_member(void *arg, struct st_str key, struct st_str value)
{
    struct st_state *s = arg;
    enum st_value_kind kind;
    struct st_str member;
    (void)value;
    if (!st_member_split((struct st_str){key.p + s->task.key.n - 1, key.n - (s->task.key.n - 1)},
                         &kind, &member))
        return ST_DAMAGED;
    if (kind == ST_VALUE_LINK) {
        st_buf_add_str(&s->task.list, member);
        st_buf_add_char(&s->task.list, '\0');
    }
    return s->task.list.failed ? ST_NO_MEMORY : ST_OK;
}

/* --- closing ---------------------------------------------------------------------------------- */

bool st_task_state_better(const struct st_item *a, const struct st_item *b)
{
#ifndef ST_DEFECT_FINISHED_NOT_ABSORBING
    bool ends = a->kind == ST_ITEM_VALUE && st_task_finished(st_task_state_of(a->value));
    bool ended = b->kind == ST_ITEM_VALUE && st_task_finished(st_task_state_of(b->value));
    if (ends != ended)
        return ends;
#endif
    return st_item_compare_shown(a, b, false) > 0;
}

/* The value of an attribute that counts; "" when there is none. Lent by s->copy. */
static enum st_code value_of(struct st_state *s, const char *attribute, bool is_state,
                             struct st_str *out)
{
    bool found;
    uint64_t members;
    *out = (struct st_str){"", 0};
    st_buf_reset(&s->task.key);
    st_key_register(&s->task.key, s->task.entity, st_str_of(attribute));
    if (s->task.key.failed)
        return ST_NO_MEMORY;
    enum st_code code = st_kv_get(s->kv, st_buf_str(&s->task.key), &s->copy, &found);
    if (code != ST_OK || !found)
        return code;
    struct st_items list = {&s->items, &s->items_cap, 0, s->alloc};
    code = st_register_decode(st_buf_str(&s->copy), &list, &members);
    const struct st_item *best = NULL;
    for (size_t i = 0; i < list.n && code == ST_OK; i++) {
        const struct st_item *item = &s->items[i];
        if (best == NULL || (is_state ? st_task_state_better(item, best)
                                      : st_item_compare_shown(item, best, false) > 0))
            best = item;
    }
    if (best != NULL && best->kind == ST_ITEM_VALUE)
        *out = best->value;
    return code;
}

enum st_task_state st_task_state_of(struct st_str value)
{
    if (value.n == 0 || st_str_equal(value, ST_STR("open")))
        return ST_TASK_OPEN;
    if (st_str_equal(value, ST_STR("done")))
        return ST_TASK_DONE;
    if (st_str_equal(value, ST_STR("failed")))
        return ST_TASK_FAILED;
    if (st_str_equal(value, ST_STR("cancelled")))
        return ST_TASK_CANCELLED;
    return ST_TASK_HELD;
}

/* Names become parts of keys, which end with NUL; a value that cannot be one counts for nothing. */
static struct st_str keep_name(struct st_buf *out, struct st_str value)
{
    if (value.n > ST_NAME_SIZE_MAX || st_name_check(value) != ST_OK)
        value.n = 0;
    size_t before = out->n;
    st_buf_add_str(out, value);
    return (struct st_str){out->failed ? "" : out->p + before, out->failed ? 0 : value.n};
}

static enum st_code field_follow(struct st_state *s, unsigned bit, const char *name,
                                 struct st_task *t)
{
    struct st_str v;
    enum st_code code = value_of(s, name, bit == STATE, &v);
    if (code != ST_OK)
        return code;
    struct st_buf *kept = &s->task.list;
    switch (bit) {
    case TITLE:
        t->is_task = v.n > 0;
        break;
    case STATE:
        t->state = st_task_state_of(v);
        break;
    case CHANNEL:
        t->channel = keep_name(kept, v.n > 0 ? v : ST_STR(ST_CHANNEL_DEFAULT));
        break;
    case AGENT:
        t->agent = keep_name(kept, v);
        break;
    case PRIORITY:
        t->priority = v.n == 1 && v.p[0] >= '0' && v.p[0] <= '0' + ST_PRIORITY_MAX
                          ? (uint8_t)(v.p[0] - '0')
                          : ST_PRIORITY_DEFAULT;
        break;
    case NOT_BEFORE:
        if (!st_time_parse(v, &t->not_before_ms))
            t->not_before_ms = 0;
        break;
    case KEY:
        t->key = keep_name(kept, v);
        break;
    case MESSAGE:
        t->is_message = v.n > 0;
        break;
    case TO:
        t->to = keep_name(kept, v);
        break;
    case ACKNOWLEDGED:
        t->acknowledged = v.n > 0;
        break;
    case REPORTED:
        t->reported = v.n > 0;
        break;
    default:
        break;
    }
    return kept->failed ? ST_NO_MEMORY : ST_OK;
}

enum st_code st_task_close(struct st_state *s)
{
    struct st_task_site *site = &s->task;
    if (site->entity.p == NULL)
        return ST_OK;
    struct st_task_id id;
    struct st_task old = {0}, new;
    ST_ASSERT(st_task_id_parse(site->entity, &id));
    enum st_code code = summary_load(s, id, &site->old, &old);
    new = old;
    st_buf_reset(&site->list);
    /* Room for four names: what is lent must not move. */
    if (!st_buf_reserve(&site->list, 4 * ST_NAME_SIZE_MAX))
        return ST_NO_MEMORY;
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes && code == ST_OK; i++)
        if ((site->changed & attributes[i].bit) != 0)
            code = field_follow(s, attributes[i].bit, attributes[i].name, &new);
    new.waits += (uint64_t)site->waits;
    if (code == ST_OK)
        code = summary_store(s, id, &old, &new);
    bool turned = settled(&old) != settled(&new);
    struct st_str entity = site->entity;
    bool now = settled(&new);
    *site = (struct st_task_site){.key = site->key,
                                  .old = site->old,
                                  .row = site->row,
                                  .list = site->list,
                                  .value = site->value};
    return code == ST_OK && turned ? dependents_count(s, entity, now) : code;
}

/* --- operations ------------------------------------------------------------------------------- */

/* Whether the operation is about a task; then that task is open. */
static enum st_code site_open(const struct st_change *c, unsigned *bit)
{
    struct st_state *s = c->s;
    struct st_task_id id;
    *bit = st_task_id_parse(c->op->entity, &id) ? attribute_bit(c->op->attribute) : 0;
    if (*bit == 0 || (s->task.entity.p != NULL && st_str_equal(s->task.entity, c->op->entity)))
        return ST_OK;
    enum st_code code = st_task_close(s);
    s->task.entity = c->op->entity;
    return code;
}

enum st_code st_task_before(const struct st_change *c)
{
    struct st_state *s = c->s;
    bool whole = c->op->kind == ST_OP_SET || c->op->kind == ST_OP_UNSET;
    unsigned bit;
    enum st_code code = site_open(c, &bit);
    if (code != ST_OK || bit != DEPENDS || !whole)
        return code;
    /* It can take members away: which there are. */
    st_buf_reset(&s->task.list);
    st_buf_reset(&s->task.key);
    st_key_register(&s->task.key, c->op->entity, c->op->attribute);
    if (s->task.key.failed)
        return ST_NO_MEMORY;
    struct st_str key = st_buf_str(&s->task.key);
    return s->kv->scan(s->kv->ctx, (struct st_str){key.p, key.n - 1}, key, collect_member, s);
}

enum st_code st_task_after(const struct st_change *c)
{
    struct st_state *s = c->s;
    unsigned bit;
    enum st_code code = site_open(c, &bit);
    if (code != ST_OK)
        return code;
    s->task.changed |= bit;
    if (bit != DEPENDS)
        return ST_OK;
    if (c->op->kind == ST_OP_ADD || c->op->kind == ST_OP_REMOVE)
        return c->op->value_kind == ST_VALUE_LINK
                   ? dependency_follow(s, c->op->entity, c->op->value)
                   : ST_OK;
    struct st_str rest = st_buf_str(&s->task.list);
    while (code == ST_OK && rest.n > 0) {
        const char *end = memchr(rest.p, '\0', rest.n);
        ST_ASSERT(end != NULL);
        struct st_str target = {rest.p, (size_t)(end - rest.p)};
        rest = (struct st_str){end + 1, rest.n - target.n - 1};
        code = dependency_follow(s, c->op->entity, target);
    }
    return code;
}
