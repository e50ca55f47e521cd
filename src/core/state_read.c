/*
 * state_read.c - reading attributes and counters back from their rows.
 *
 * A reader first gathers the rows of one attribute in its scratch (the store lends them only
 * until its next call), then decodes them there. Format of the scratch: the register's key and
 * value, then per member u64 key size, u64 value size, key, value.
 */
#include "core/state_internal.h"

/* One attribute being gathered. */
struct gather {
    struct st_read_scratch *x;
    size_t key_size; /* of the register's key; 0: nothing yet */
    size_t row_size;
    enum st_code (*visit)(void *arg, const struct st_attribute *a);
    void *arg;
    bool stopped;
};

void st_read_scratch_init(struct st_read_scratch *s, const struct st_alloc *alloc)
{
    *s = (struct st_read_scratch){.alloc = alloc};
    st_buf_init(&s->bytes, alloc);
}

void st_read_scratch_release(struct st_read_scratch *s)
{
    st_buf_release(&s->bytes);
    if (s->items != NULL)
        (void)s->alloc->resize(s->alloc->ctx, s->items, 0);
    st_read_scratch_init(s, s->alloc);
}

static enum st_code gather_register(struct gather *g, struct st_str key, struct st_str value)
{
    st_buf_reset(&g->x->bytes);
    st_buf_add_str(&g->x->bytes, key);
    st_buf_add_str(&g->x->bytes, value);
    g->key_size = key.n;
    g->row_size = value.n;
    return g->x->bytes.failed ? ST_NO_MEMORY : ST_OK;
}

/* Scan visitor for the member rows of the gathered attribute. */
static enum st_code gather_member(void *arg, struct st_str key, struct st_str value)
{
    struct gather *g = arg;
    struct st_buf *bytes = &g->x->bytes;
    if (g->key_size == 0 || key.n <= g->key_size || memcmp(key.p, bytes->p, g->key_size - 1) != 0)
        return ST_DAMAGED; /* a member without a register row */
    st_row_add_u64(bytes, key.n);
    st_row_add_u64(bytes, value.n);
    st_buf_add_str(bytes, key);
    st_buf_add_str(bytes, value);
    return bytes->failed ? ST_NO_MEMORY : ST_OK;
}

static enum st_code decode_members(const struct gather *g, struct st_str rest,
                                   struct st_items *list, uint64_t *rows)
{
    *rows = 0;
    while (rest.n > 0) {
        uint64_t key_size = 0;
        uint64_t value_size = 0;
        ST_ASSERT(st_row_take_u64(&rest, &key_size) && st_row_take_u64(&rest, &value_size));
        struct st_str tail = {rest.p + g->key_size - 1, (size_t)key_size - (g->key_size - 1)};
        struct st_str row = {rest.p + key_size, (size_t)value_size};
        rest = (struct st_str){row.p + row.n, rest.n - (size_t)(key_size + value_size)};
        enum st_value_kind kind;
        struct st_str value;
        if (!st_member_split(tail, &kind, &value))
            return ST_DAMAGED;
        enum st_code code = st_member_decode(row, kind, value, list);
        if (code != ST_OK)
            return code;
        ++*rows;
    }
    return ST_OK;
}

/* Index of the shown item; count when none is. */
static size_t shown_index(const struct st_item *items, size_t count, uint64_t members, bool times)
{
    size_t best = 0;
    bool value = false;
    for (size_t i = 0; i < count; i++) {
        value = value || items[i].kind == ST_ITEM_VALUE;
        if (st_item_compare_shown(&items[i], &items[best], times) > 0)
            best = i;
    }
    return count == 0 || (members > 0 && !value) ? SIZE_MAX : best;
}

static enum st_code gather_decode(const struct gather *g, struct st_attribute *out)
{
    struct st_str all = st_buf_str(&g->x->bytes);
    struct st_str key = {all.p, g->key_size};
    struct st_str row = {all.p + g->key_size, g->row_size};
    struct st_str rest = {row.p + row.n, all.n - g->key_size - g->row_size};
    *out = (struct st_attribute){.count = 0};
    if (!st_key_split(key, &out->entity, &out->attribute))
        return ST_DAMAGED;

    struct st_items list = {&g->x->items, &g->x->items_cap, 0, g->x->alloc};
    uint64_t members, rows;
    enum st_code code = st_register_decode(row, &list, &members);
    size_t registers = list.n;
    if (code == ST_OK)
        code = decode_members(g, rest, &list, &rows);
    if (code != ST_OK)
        return code;
    if (rows != members)
        return ST_DAMAGED;

    bool times = st_attribute_is_time(out->attribute);
    const struct st_item *items = g->x->items;
    size_t shown = shown_index(items, registers, members, times);
    out->items = items;
    out->count = list.n;
    out->shown = shown == SIZE_MAX ? list.n : shown;
    out->pending = st_pending(items, registers, members, times);
    out->present = members > 0 || (out->shown < list.n && items[out->shown].kind == ST_ITEM_VALUE);
    return ST_OK;
}

enum st_code st_attribute_read(const struct st_kv *kv, struct st_str entity,
                               struct st_str attribute, struct st_read_scratch *scratch,
                               struct st_attribute *out)
{
    struct gather g = {.x = scratch};
    st_buf_reset(&scratch->bytes);
    st_key_register(&scratch->bytes, entity, attribute);
    if (scratch->bytes.failed)
        return ST_NO_MEMORY;

    *out = (struct st_attribute){.entity = entity, .attribute = attribute};
    struct st_str value;
    enum st_code code = kv->get(kv->ctx, st_buf_str(&scratch->bytes), &value);
    if (code != ST_OK)
        return code == ST_NOT_FOUND ? ST_OK : code;
    g.key_size = scratch->bytes.n;
    g.row_size = value.n;
    uint64_t members;
    if (!st_register_members(value, &members))
        return ST_DAMAGED;
    st_buf_add_str(&scratch->bytes, value);
    if (scratch->bytes.failed)
        return ST_NO_MEMORY;
    if (members > 0) {
        struct st_buf key; /* the scratch moves while it grows */
        st_buf_init(&key, scratch->alloc);
        st_buf_add(&key, scratch->bytes.p, g.key_size);
        code = key.failed ? ST_NO_MEMORY
                          : kv->scan(kv->ctx, (struct st_str){key.p, key.n - 1}, st_buf_str(&key),
                                     gather_member, &g);
        st_buf_release(&key);
    }
    return code == ST_OK ? gather_decode(&g, out) : code;
}

/* --- all attributes --------------------------------------------------------------------------- */

/* Hands the gathered attribute, if any, to the visitor. */
static enum st_code gather_flush(struct gather *g)
{
    struct st_attribute a;
    if (g->key_size == 0)
        return ST_OK;
    enum st_code code = gather_decode(g, &a);
    g->key_size = 0;
    if (code == ST_OK)
        code = g->visit(g->arg, &a);
    g->stopped = code == ST_SCAN_STOP;
    return code;
}

static enum st_code visit_row(void *arg, struct st_str key, struct st_str value)
{
    struct gather *g = arg;
    struct st_str entity, attribute;
    if (!st_key_split(key, &entity, &attribute))
        return ST_DAMAGED;
    if (key.n != entity.n + attribute.n + 4)
        return gather_member(g, key, value);
    enum st_code code = gather_flush(g);
    return code == ST_OK ? gather_register(g, key, value) : code;
}

/* The key behind all rows of an attribute, or of an entity when there is no attribute: names
 * and row tails never have a byte 2 there. */
static void add_key_after(struct st_buf *out, struct st_str entity, struct st_str attribute)
{
    if (attribute.n > 0) {
        st_key_attribute(out, entity, attribute);
        st_buf_add_char(out, 2);
    } else {
        st_buf_add_char(out, 'f');
        st_buf_add_str(out, entity);
        st_buf_add_char(out, 1);
    }
}

enum st_code st_attribute_each(const struct st_kv *kv, struct st_str entity,
                               struct st_str after_entity, struct st_str after_attribute,
                               struct st_read_scratch *scratch,
                               enum st_code (*visit)(void *arg, const struct st_attribute *a),
                               void *arg)
{
    struct gather g = {.x = scratch, .visit = visit, .arg = arg};
    struct st_buf prefix, after;
    st_buf_init(&prefix, scratch->alloc);
    st_buf_init(&after, scratch->alloc);
    if (entity.n > 0)
        st_key_entity(&prefix, entity);
    else
        st_buf_add_char(&prefix, 'f');
    if (after_entity.n == 0 && after_attribute.n > 0)
        after_entity = entity;
    if (after_entity.n > 0)
        add_key_after(&after, after_entity, after_attribute);

    enum st_code code = prefix.failed || after.failed ? ST_NO_MEMORY : ST_OK;
    if (code == ST_OK)
        code = kv->scan(kv->ctx, st_buf_str(&prefix), st_buf_str(&after), visit_row, &g);
    if (code == ST_OK && !g.stopped)
        code = gather_flush(&g);
    st_buf_release(&prefix);
    st_buf_release(&after);
    return code == ST_SCAN_STOP ? ST_OK : code;
}

/* --- counters --------------------------------------------------------------------------------- */

/* A total over writers: exact as long as no sum, and not the total, is at a limit. */
struct total {
    __int128 exact;   /* 2^12 writers times 2^62 */
    int above, below; /* sums at the upper, the lower limit */
};

static bool total_add(struct total *t, struct st_str row)
{
    int64_t sum;
    if (!st_sum_decode(row, &sum))
        return false;
    t->exact += sum;
    t->above += sum == ST_SUM_MAX;
    t->below += sum == -ST_SUM_MAX;
    return true;
}

static int64_t total_value(const struct total *t)
{
    if (t->above != t->below)
        return t->above > t->below ? ST_SUM_MAX : -ST_SUM_MAX;
    if (t->above > 0)
        return t->exact < 0 ? -ST_SUM_MAX : ST_SUM_MAX;
    if (t->exact > ST_SUM_MAX || t->exact < -ST_SUM_MAX)
        return t->exact < 0 ? -ST_SUM_MAX : ST_SUM_MAX;
    return (int64_t)t->exact;
}

/* The total of the counter whose rows are being visited. */
struct counting {
    char name[ST_NAME_SIZE_MAX];
    size_t name_size; /* 0: none yet */
    struct total total;
    enum st_code (*visit)(void *arg, struct st_str name, int64_t total);
    void *arg;
    bool stopped;
};

static enum st_code counting_flush(struct counting *c)
{
    if (c->name_size == 0)
        return ST_OK;
    struct st_str name = {c->name, c->name_size};
    enum st_code code = c->visit(c->arg, name, total_value(&c->total));
    c->name_size = 0;
    c->stopped = code == ST_SCAN_STOP;
    return code;
}

static enum st_code visit_sum(void *arg, struct st_str key, struct st_str row)
{
    struct counting *c = arg;
    if (key.n < 1 + 1 + 1 + 16 || key.n > 1 + ST_NAME_SIZE_MAX + 1 + 16 ||
        key.p[key.n - 17] != '\0')
        return ST_DAMAGED;
    struct st_str name = {key.p + 1, key.n - 18};
    if (!st_str_equal(name, (struct st_str){c->name, c->name_size})) {
        enum st_code code = counting_flush(c);
        if (code != ST_OK)
            return code;
        memcpy(c->name, name.p, name.n);
        c->name_size = name.n;
        c->total = (struct total){0, 0, 0};
    }
    return total_add(&c->total, row) ? ST_OK : ST_DAMAGED;
}

enum st_code st_counter_each(const struct st_kv *kv, struct st_str prefix,
                             enum st_code (*visit)(void *arg, struct st_str name, int64_t total),
                             void *arg)
{
    struct counting c = {.visit = visit, .arg = arg};
    char key[1 + ST_NAME_SIZE_MAX];
    if (prefix.n > ST_NAME_SIZE_MAX)
        return ST_OK; /* no name is that long */
    key[0] = 'c';
    if (prefix.n > 0)
        memcpy(key + 1, prefix.p, prefix.n);
    enum st_code code = kv->scan(kv->ctx, (struct st_str){key, 1 + prefix.n},
                                 (struct st_str){NULL, 0}, visit_sum, &c);
    if (code == ST_OK && !c.stopped)
        code = counting_flush(&c);
    return code == ST_SCAN_STOP ? ST_OK : code;
}

static enum st_code visit_one_sum(void *arg, struct st_str key, struct st_str row)
{
    struct counting *c = arg;
    c->name_size = 1;
    return key.n > 18 && key.p[key.n - 17] == '\0' && total_add(&c->total, row) ? ST_OK
                                                                                : ST_DAMAGED;
}

enum st_code st_counter_read(const struct st_kv *kv, struct st_str name, int64_t *total,
                             bool *exists)
{
    struct counting c = {.name_size = 0};
    char key[1 + ST_NAME_SIZE_MAX + 1];
    *total = 0;
    *exists = false;
    if (name.n == 0 || name.n > ST_NAME_SIZE_MAX)
        return ST_OK;
    key[0] = 'c';
    memcpy(key + 1, name.p, name.n);
    key[1 + name.n] = '\0';
    enum st_code code = kv->scan(kv->ctx, (struct st_str){key, name.n + 2},
                                 (struct st_str){NULL, 0}, visit_one_sum, &c);
    if (code != ST_OK)
        return code;
    *exists = c.name_size > 0;
    *total = total_value(&c.total);
    return ST_OK;
}
