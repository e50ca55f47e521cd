/*
 * attribute.c - applying set, unset, add and remove to the rows of one attribute.
 *
 * Each operation reads the register row, takes out what it kills, adds its own item and writes
 * the row back: one get and one put while the attribute has no members. Members have rows of
 * their own; the register row holds how many, so that nothing is scanned without need.
 *
 * An operation kills only what is in its causal context (state.h), never what merely has an
 * older time: that is what keeps concurrent writes.
 */
#include "core/state_internal.h"

/* The attribute while an operation changes it. */
struct site {
    const struct st_change *c;
    bool times;       /* the name ends in "_at" */
    uint64_t members; /* live member rows */
    size_t count;     /* register items, the first ones in the state's scratch */
    bool existed;     /* the register row did */
    bool was_pending;
    bool changed;    /* the register row has to be written */
    uint32_t killed; /* items, members included */
    uint32_t killed_values;
    struct st_item best; /* the one of the killed that was shown; strings not kept */
    bool best_is_member;
    uint32_t lost;            /* of the killed, those that the author had not read */
    struct st_item lost_last; /* the latest of them; strings lent by the state's `copy` */
};

static bool same_dot(struct st_dot a, struct st_dot b)
{
    return a.counter == b.counter && a.writer.replica == b.writer.replica &&
           a.writer.epoch == b.writer.epoch;
}

static bool is_at(const struct st_op *op, struct st_dot dot)
{
    for (size_t i = 0; i < op->at_count; i++)
#ifdef ST_DEFECT_AT_COVERS
        if (st_writer_compare(op->at[i].writer, dot.writer) == 0 &&
            dot.counter <= op->at[i].counter)
            return true;
#else
        if (same_dot(op->at[i], dot))
            return true;
#endif
    return false;
}

/* Whether the operation knew of the item when it was made. */
static bool in_context(const struct st_change *c, const struct st_item *item)
{
#ifdef ST_DEFECT_COMPARE_CLOCKS
    return st_hlc_compare(item->time, c->r->time) <= 0;
#endif
#ifdef ST_DEFECT_REMOVE_NO_DOT
    if (c->op->kind == ST_OP_REMOVE || c->op->kind == ST_OP_UNSET)
        return true;
#endif
    if (same_dot(item->dot, c->r->dot))
        return !c->op->has_at && item->op < c->index;
    bool own = item->dot.writer.replica == c->r->dot.writer.replica &&
               item->dot.writer.epoch == c->r->dot.writer.epoch;
    bool known =
        (own && item->dot.counter < c->r->dot.counter) || st_vector_has(c->seen, item->dot);
#ifndef ST_DEFECT_IGNORE_AT
    if (c->op->has_at && !is_at(c->op, item->dot))
        return false;
#endif
    return known;
}

static struct st_items scratch_items(struct st_state *s, size_t n)
{
    return (struct st_items){&s->items, &s->items_cap, n, s->alloc};
}

/* Reads the register row; leaves its key in s->key and its items in s->items. */
static enum st_code site_open(struct site *site, const struct st_change *c)
{
    struct st_state *s = c->s;
    *site = (struct site){.c = c, .times = st_attribute_is_time(c->op->attribute)};
    st_buf_reset(&s->key);
    st_key_register(&s->key, c->op->entity, c->op->attribute);
    if (s->key.failed)
        return ST_NO_MEMORY;

    enum st_code code = st_kv_get(s->kv, st_buf_str(&s->key), &s->copy, &site->existed);
    if (code != ST_OK || !site->existed)
        return code;
    struct st_items list = scratch_items(s, 0);
    code = st_register_decode(st_buf_str(&s->copy), &list, &site->members);
    site->count = list.n;
    if (code == ST_OK)
        site->was_pending = st_pending(s->items, site->count, site->members, site->times);
    return code;
}

/* Writes the register row if it is new or changed, and lets the 'p' row follow. */
static enum st_code site_close(struct site *site)
{
    struct st_state *s = site->c->s;
    if (site->existed && !site->changed)
        return ST_OK;
    if (site->count > ST_SIBLINGS_MAX)
        return ST_LIMIT;
    st_buf_reset(&s->value);
    st_register_encode(&s->value, s->items, site->count, site->members);
    enum st_code code = st_kv_put(s->kv, &s->key, &s->value);
    if (code != ST_OK)
        return code;

    bool pending = st_pending(s->items, site->count, site->members, site->times);
    if (pending == site->was_pending)
        return ST_OK;
    st_buf_reset(&s->value);
    st_key_pending(&s->value, site->c->op->entity, site->c->op->attribute);
    if (s->value.failed)
        return ST_NO_MEMORY;
    return pending ? s->kv->put(s->kv->ctx, st_buf_str(&s->value), (struct st_str){NULL, 0})
                   : s->kv->del(s->kv->ctx, st_buf_str(&s->value));
}

/* Puts an item into its place among items[base..count); the caller counts it. */
static enum st_code item_insert(struct st_state *s, size_t base, size_t count,
                                const struct st_item *item)
{
    struct st_items list = scratch_items(s, count);
    enum st_code code = st_items_push(&list, item);
    if (code != ST_OK)
        return code;
#ifndef ST_DEFECT_ROW_ORDER
    size_t at = count;
    while (at > base && st_item_compare(&s->items[at - 1], item) > 0)
        at--;
    memmove(&s->items[at + 1], &s->items[at], (count - at) * sizeof(*item));
    s->items[at] = *item;
#else
    (void)base;
#endif
    return ST_OK;
}

static struct st_item item_of(const struct st_change *c, enum st_item_kind kind)
{
    bool absent = kind == ST_ITEM_ABSENT;
    return (struct st_item){
        .kind = kind,
        .value_kind = absent ? ST_VALUE_TEXT : c->op->value_kind,
        .value = absent ? (struct st_str){NULL, 0} : c->op->value,
        .dot = c->r->dot,
        .op = c->index,
        .time = c->r->time,
        .agent = c->r->agent,
    };
}

/* Keeps account of what a set or unset replaced. A value counts as shown before members. */
static void note_killed(struct site *site, const struct st_item *item)
{
    bool member = item->kind == ST_ITEM_MEMBER;
    bool better = site->killed == 0;
    if (member && !site->best_is_member)
        better = site->killed_values == 0; /* an absence beside members does not show */
    else if (!better)
        better = member ? st_item_compare_time(item, &site->best) > 0
                        : st_item_compare_shown(item, &site->best, site->times) > 0;
    if (better) {
        site->best = *item;
        site->best_is_member = member;
    }
    site->killed++;
    site->killed_values += item->kind == ST_ITEM_VALUE;

    const struct st_change *c = site->c;
    if (member || c->op->dot.counter == 0 || same_dot(item->dot, c->op->dot) ||
        st_str_equal(item->agent, c->r->agent))
        return;
    if (site->lost == 0 || st_item_compare_time(item, &site->lost_last) > 0)
        site->lost_last = *item;
    site->lost++;
}

/* Takes the items of the register out that the operation kills. */
static void kill_register(struct site *site, bool absences_only)
{
    struct st_item *items = site->c->s->items;
    size_t kept = 0;
    for (size_t i = 0; i < site->count; i++) {
        bool kill =
            (!absences_only || items[i].kind == ST_ITEM_ABSENT) && in_context(site->c, &items[i]);
        if (!kill) {
            items[kept++] = items[i];
            continue;
        }
        note_killed(site, &items[i]);
        site->changed = true;
    }
    site->count = kept;
}

/* Takes dead adds out of items[base..list->n). */
static void kill_adds(struct site *site, struct st_items *list, size_t base)
{
    struct st_item *items = *list->p;
    size_t kept = base;
    for (size_t i = base; i < list->n; i++) {
        if (in_context(site->c, &items[i]))
            note_killed(site, &items[i]);
        else
            items[kept++] = items[i];
    }
    list->n = kept;
}

/* Scan visitor: notes in s->rows (size, key, size, new value) each member row that changes. A
 * new value of size 0 means that the row goes. */
static enum st_code visit_member(void *arg, struct st_str key, struct st_str value)
{
    struct site *site = arg;
    struct st_state *s = site->c->s;
    struct st_str tail = {key.p + s->key.n - 1, key.n - (s->key.n - 1)};
    enum st_value_kind kind;
    struct st_str member;
    if (!st_member_split(tail, &kind, &member))
        return ST_DAMAGED;
    struct st_items list = scratch_items(s, site->count);
    enum st_code code = st_member_decode(value, kind, member, &list);
    if (code != ST_OK)
        return code;

    size_t before = list.n;
    kill_adds(site, &list, site->count);
    if (list.n == before)
        return ST_OK;
    st_buf_reset(&s->value);
    if (list.n > site->count)
        st_member_encode(&s->value, s->items + site->count, list.n - site->count);
    st_row_add_u64(&s->rows, key.n);
    st_buf_add_str(&s->rows, key);
    st_row_add_u64(&s->rows, s->value.n);
    st_buf_add_str(&s->rows, st_buf_str(&s->value));
    return s->value.failed || s->rows.failed ? ST_NO_MEMORY : ST_OK;
}

/* Kills the members that a set or unset replaces: first collects, then changes. */
static enum st_code kill_members(struct site *site)
{
    struct st_state *s = site->c->s;
    const struct st_kv *kv = s->kv;
    st_buf_reset(&s->rows);
    /* The member rows are those that share the key but for its last byte, behind it. */
    struct st_str prefix = {s->key.p, s->key.n - 1};
    enum st_code code = kv->scan(kv->ctx, prefix, st_buf_str(&s->key), visit_member, site);
    struct st_str todo = st_buf_str(&s->rows);
    while (code == ST_OK && todo.n > 0) {
        uint64_t key_size = 0;
        uint64_t value_size = 0;
        ST_ASSERT(st_row_take_u64(&todo, &key_size));
        struct st_str key = {todo.p, (size_t)key_size};
        todo = (struct st_str){todo.p + key_size, todo.n - (size_t)key_size};
        ST_ASSERT(st_row_take_u64(&todo, &value_size));
        struct st_str value = {todo.p, (size_t)value_size};
        todo = (struct st_str){todo.p + value_size, todo.n - (size_t)value_size};
        if (value.n > 0) {
            code = kv->put(kv->ctx, key, value);
            continue;
        }
        if (site->members == 0)
            return ST_DAMAGED;
        site->members--;
        site->changed = true;
        code = kv->del(kv->ctx, key);
    }
    return code;
}

/* Lists the write as one that overwrote what its author had not read. */
static enum st_code note_unseen(struct site *site)
{
    const struct st_change *c = site->c;
    if (site->lost == 0)
        return ST_OK;
    struct st_unseen_row row = {
        .entity = c->op->entity,
        .attribute = c->op->attribute,
        .agent = c->r->agent,
        .time = c->r->time,
        .lost = site->lost_last.dot,
        .lost_agent = site->lost_last.agent,
        .lost_time = site->lost_last.time,
        .lost_kind = site->lost_last.kind,
        .lost_value_kind = site->lost_last.value_kind,
        .lost_value = site->lost_last.value,
        .lost_count = site->lost,
    };
    st_buf_reset(&c->s->rows);
    st_buf_reset(&c->s->value);
    st_unseen_key(&c->s->rows, c->r->dot, c->index);
    st_unseen_encode(&c->s->value, &row);
    return st_kv_put(c->s->kv, &c->s->rows, &c->s->value);
}

static enum st_code apply_write(struct site *site)
{
    const struct st_change *c = site->c;
    enum st_code code = ST_OK;
    kill_register(site, false);
    if (site->members > 0)
        code = kill_members(site);
    if (code != ST_OK)
        return code;

    struct st_item item = item_of(c, c->op->kind == ST_OP_SET ? ST_ITEM_VALUE : ST_ITEM_ABSENT);
    if (site->killed > 0) {
        item.over = site->best.dot;
        item.over_op = site->best.op;
        item.over_count = site->killed;
    }
#ifdef ST_DEFECT_REMOVE_NO_DOT
    if (c->op->kind == ST_OP_UNSET) {
        site->changed = true;
        return note_unseen(site);
    }
#endif
    code = item_insert(c->s, 0, site->count, &item);
    if (code != ST_OK)
        return code;
    site->count++;
    site->changed = true;
    return note_unseen(site);
}

/* add and remove: kills adds of the same member in the context; an add then joins them. */
static enum st_code apply_member(struct site *site)
{
    const struct st_change *c = site->c;
    struct st_state *s = c->s;
    bool is_add = c->op->kind == ST_OP_ADD;
    if (is_add)
        kill_register(site, true);

    /* The member's key is the register's with another tail. */
    st_buf_reset(&s->rows);
    st_buf_add(&s->rows, s->key.p, s->key.n - 1);
    st_buf_add_char(&s->rows, 1);
    st_buf_add_char(&s->rows, (char)c->op->value_kind);
    st_buf_add_str(&s->rows, c->op->value);
    if (s->rows.failed)
        return ST_NO_MEMORY;

    bool found = false;
    enum st_code code = ST_OK;
    struct st_items list = scratch_items(s, site->count);
    if (site->members > 0)
        code = st_kv_get(s->kv, st_buf_str(&s->rows), &s->held, &found);
    if (code == ST_OK && found)
        code = st_member_decode(st_buf_str(&s->held), c->op->value_kind, c->op->value, &list);
    size_t before = list.n;
    if (code == ST_OK)
        kill_adds(site, &list, site->count);
    if (code == ST_OK && is_add) {
        struct st_item item = item_of(c, ST_ITEM_MEMBER);
        code = item_insert(s, site->count, list.n, &item);
        list.n++;
    }
    size_t count = list.n - site->count;
    if (code == ST_OK && count > ST_SIBLINGS_MAX)
        code = ST_LIMIT;
    if (code == ST_OK && count > 0 && (is_add || list.n != before)) {
        st_buf_reset(&s->value);
        st_member_encode(&s->value, s->items + site->count, count);
        code = st_kv_put(s->kv, &s->rows, &s->value);
    } else if (code == ST_OK && found && count == 0) {
        code = s->kv->del(s->kv->ctx, st_buf_str(&s->rows));
    }
    if (found != (count > 0)) {
        site->members = found ? site->members - 1 : site->members + 1;
        site->changed = true;
    }
    return code;
}

enum st_code st_attribute_apply(const struct st_change *c)
{
    struct site site;
    enum st_code code = site_open(&site, c);
    if (code != ST_OK)
        return code;
    bool write = c->op->kind == ST_OP_SET || c->op->kind == ST_OP_UNSET;
    code = write ? apply_write(&site) : apply_member(&site);
    if (code == ST_OK)
        code = site_close(&site);
    if (code == ST_OK)
        code = st_kv_touch(c, st_buf_str(&c->s->key));
    return code;
}
