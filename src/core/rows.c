/*
 * rows.c - how rows are written: keys, and the values of every kind of row.
 *
 * Values (v: varint, bytes: v length and that many bytes, writer: 16 bytes big-endian,
 * dot: writer and v counter, time: v ms and v logical):
 *
 *   register  u32 big-endian size of what follows up to "over"
 *             v members, v count, then per item:
 *               byte kind (0 value, 1 absence) | value kind << 1
 *               dot, v op, time, bytes agent, bytes value (values only)
 *             then "over" per item: v (count << 1 | same writer); unless that is 0:
 *               writer (unless same), v counter, v op
 *   member    v count, then per add: dot, v op, time, bytes agent
 *   unseen    bytes entity, bytes attribute, bytes agent, time, dot lost, bytes lost agent,
 *             time lost, byte kind as above, bytes lost value, v lost count
 *   sum       v zigzag
 *   status    dot, time, v incarnation, bytes status
 *   writer    (state.c) v counter, u64 checksum, time, v count, then per entry: dot
 *
 * Invariant: items strictly increase by (dot, op), so that bytes do not depend on the order of
 * application. Rows come from a file: decoding trusts nothing and answers ST_DAMAGED.
 */
#include "core/state_internal.h"

#define FLAG_ABSENT   1
#define FLAG_LINK     2
#define REGISTER_HEAD 4 /* bytes before the visible part */
#define TAIL_REGISTER 0 /* first byte of a key after E 0 A 0 */
#define TAIL_MEMBER   1

/* --- items ------------------------------------------------------------------------------------ */

enum st_code st_items_push(struct st_items *list, const struct st_item *item)
{
    if (list->n == *list->cap) {
        size_t cap = *list->cap > 0 ? 2 * *list->cap : 8;
        struct st_item *p =
            list->alloc->resize(list->alloc->ctx, *list->p, cap * sizeof(struct st_item));
        if (p == NULL)
            return ST_NO_MEMORY;
        *list->p = p;
        *list->cap = cap;
    }
    (*list->p)[list->n++] = *item;
    return ST_OK;
}

int st_item_compare(const struct st_item *a, const struct st_item *b)
{
    int order = st_dot_compare(a->dot, b->dot);
    return order != 0 ? order : (a->op > b->op) - (a->op < b->op);
}

int st_item_compare_time(const struct st_item *a, const struct st_item *b)
{
    int order = st_hlc_compare(a->time, b->time);
    return order != 0 ? order : st_item_compare(a, b);
}

int st_item_compare_shown(const struct st_item *a, const struct st_item *b, bool times)
{
    if (times) {
        if (a->kind != b->kind)
            return a->kind == ST_ITEM_VALUE ? 1 : -1;
        int order = st_str_compare(a->value, b->value);
        if (order != 0)
            return order;
    }
    return st_item_compare_time(a, b);
}

bool st_item_same(const struct st_item *a, const struct st_item *b)
{
    return a->kind == b->kind && a->value_kind == b->value_kind && st_str_equal(a->value, b->value);
}

bool st_attribute_is_time(struct st_str attribute)
{
    return attribute.n >= 3 && memcmp(attribute.p + attribute.n - 3, "_at", 3) == 0;
}

bool st_pending(const struct st_item *items, size_t count, uint64_t members, bool times)
{
    size_t values = 0;
    bool differ = false;
    for (size_t i = 0; i < count; i++) {
        values += items[i].kind == ST_ITEM_VALUE;
        if (times ? items[i].kind != items[0].kind : !st_item_same(&items[i], &items[0]))
            differ = true;
    }
    return differ || (values > 0 && members > 0);
}

/* --- fields ----------------------------------------------------------------------------------- */

void st_row_add_u64(struct st_buf *out, uint64_t value)
{
    char bytes[8];
    st_put_u64(bytes, value);
    st_buf_add(out, bytes, sizeof(bytes));
}

void st_row_add_writer(struct st_buf *out, struct st_writer w)
{
    st_row_add_u64(out, w.replica);
    st_row_add_u64(out, w.epoch);
}

static size_t put_varint(char *at, uint64_t value)
{
    size_t n = 0;
    for (; value >= 0x80; value >>= 7)
        at[n++] = (char)(unsigned char)(value | 0x80);
    at[n++] = (char)(unsigned char)value;
    return n;
}

static void add_dot(struct st_buf *out, struct st_dot d)
{
    st_row_add_writer(out, d.writer);
    st_buf_add_varint(out, d.counter);
}

void st_row_add_bytes(struct st_buf *out, struct st_str s)
{
    st_buf_add_varint(out, s.n);
    st_buf_add_str(out, s);
}

void st_row_add_time(struct st_buf *out, struct st_hlc t)
{
    st_buf_add_varint(out, t.ms);
    st_buf_add_varint(out, t.logical);
}

bool st_row_take_u64(struct st_str *s, uint64_t *value)
{
    if (s->n < 8)
        return false;
    *value = st_get_u64(s->p);
    s->p += 8;
    s->n -= 8;
    return true;
}

bool st_row_take_u32(struct st_str *s, uint32_t *value)
{
    uint64_t wide;
    if (!st_take_varint(s, &wide) || wide > UINT32_MAX)
        return false;
    *value = (uint32_t)wide;
    return true;
}

bool st_row_take_writer(struct st_str *s, struct st_writer *w)
{
    return st_row_take_u64(s, &w->replica) && st_row_take_u64(s, &w->epoch);
}

bool st_row_take_dot(struct st_str *s, struct st_dot *d)
{
    return st_row_take_writer(s, &d->writer) && st_take_varint(s, &d->counter) && d->counter > 0;
}

bool st_row_take_bytes(struct st_str *s, struct st_str *out)
{
    uint64_t size;
    if (!st_take_varint(s, &size) || size > s->n)
        return false;
    *out = (struct st_str){s->p, (size_t)size};
    s->p += size;
    s->n -= (size_t)size;
    return true;
}

bool st_row_take_time(struct st_str *s, struct st_hlc *t)
{
    return st_take_varint(s, &t->ms) && st_row_take_u32(s, &t->logical);
}

static bool take_byte(struct st_str *s, unsigned *value)
{
    if (s->n == 0)
        return false;
    *value = (unsigned char)s->p[0];
    s->p++;
    s->n--;
    return true;
}

/* Kind, value kind and value share one byte and, for values, a string. */
static void add_flags(struct st_buf *out, enum st_item_kind kind, enum st_value_kind value_kind)
{
    unsigned flags = (kind == ST_ITEM_ABSENT ? FLAG_ABSENT : 0U) |
                     (value_kind == ST_VALUE_LINK ? FLAG_LINK : 0U);
    st_buf_add_char(out, (char)flags);
}

static bool take_flags(struct st_str *s, enum st_item_kind *kind, enum st_value_kind *value_kind)
{
    unsigned flags;
    if (!take_byte(s, &flags) || flags > FLAG_LINK)
        return false;
    *kind = flags == FLAG_ABSENT ? ST_ITEM_ABSENT : ST_ITEM_VALUE;
    *value_kind = flags == FLAG_LINK ? ST_VALUE_LINK : ST_VALUE_TEXT;
    return true;
}

/* --- register and member rows ----------------------------------------------------------------- */

/* As add_dot(), a varint, st_row_add_time(), st_row_add_bytes(), in one piece: this is most of what
 * applying a record writes. */
static void add_origin(struct st_buf *out, const struct st_item *item)
{
    char bytes[16 + 5 * 10];
    st_put_u64(bytes, item->dot.writer.replica);
    st_put_u64(bytes + 8, item->dot.writer.epoch);
    size_t n = 16 + put_varint(bytes + 16, item->dot.counter);
    n += put_varint(bytes + n, item->op);
    n += put_varint(bytes + n, item->time.ms);
    n += put_varint(bytes + n, item->time.logical);
    n += put_varint(bytes + n, item->agent.n);
    st_buf_add(out, bytes, n);
    st_buf_add_str(out, item->agent);
}

static bool take_origin(struct st_str *s, struct st_item *item)
{
    return st_row_take_dot(s, &item->dot) && st_row_take_u32(s, &item->op) &&
           st_row_take_time(s, &item->time) && st_row_take_bytes(s, &item->agent);
}

static bool same_writer(struct st_writer a, struct st_writer b)
{
    return a.replica == b.replica && a.epoch == b.epoch;
}

static void add_over(struct st_buf *out, const struct st_item *item)
{
    if (item->over_count == 0) {
        st_buf_add_varint(out, 0);
        return;
    }
    bool same = same_writer(item->over.writer, item->dot.writer);
    st_buf_add_varint(out, (uint64_t)item->over_count << 1 | (same ? 1U : 0U));
    if (!same)
        st_row_add_writer(out, item->over.writer);
    st_buf_add_varint(out, item->over.counter);
    st_buf_add_varint(out, item->over_op);
}

static bool take_over(struct st_str *s, struct st_item *item)
{
    uint64_t head;
    if (!st_take_varint(s, &head) || head == 1 || head >> 1 > UINT32_MAX)
        return false;
    item->over_count = (uint32_t)(head >> 1);
    if (head == 0)
        return true;
    item->over.writer = item->dot.writer;
    if ((head & 1) == 0 && !st_row_take_writer(s, &item->over.writer))
        return false;
    return st_take_varint(s, &item->over.counter) && item->over.counter > 0 &&
           st_row_take_u32(s, &item->over_op);
}

void st_register_encode(struct st_buf *out, const struct st_item *items, size_t count,
                        uint64_t members)
{
    size_t start = out->n;
    st_buf_add(out, "\0\0\0\0", REGISTER_HEAD);
    st_buf_add_varint(out, members);
    st_buf_add_varint(out, count);
    for (size_t i = 0; i < count; i++) {
        add_flags(out, items[i].kind, items[i].value_kind);
        add_origin(out, &items[i]);
        if (items[i].kind == ST_ITEM_VALUE)
            st_row_add_bytes(out, items[i].value);
    }
    if (out->failed)
        return;
    size_t size = out->n - start - REGISTER_HEAD;
    ST_ASSERT(size <= UINT32_MAX);
    for (size_t i = 0; i < REGISTER_HEAD; i++)
        out->p[start + i] = (char)(unsigned char)(size >> (24 - 8 * i));
    for (size_t i = 0; i < count; i++)
        add_over(out, &items[i]);
}

/* Splits a register row into its visible part and "over". */
static bool register_split(struct st_str row, struct st_str *visible, struct st_str *over)
{
    if (row.n < REGISTER_HEAD)
        return false;
    size_t size = 0;
    for (size_t i = 0; i < REGISTER_HEAD; i++)
        size = size << 8 | (unsigned char)row.p[i];
    if (size > row.n - REGISTER_HEAD)
        return false;
    *visible = (struct st_str){row.p + REGISTER_HEAD, size};
    *over = (struct st_str){visible->p + size, row.n - REGISTER_HEAD - size};
    return true;
}

/* Whether the list, which began at `base`, still increases with this item. */
static bool in_order(const struct st_items *list, size_t base, const struct st_item *item)
{
#ifdef ST_DEFECT_ROW_ORDER
    (void)list, (void)base, (void)item;
    return true;
#else
    return list->n == base || st_item_compare(&(*list->p)[list->n - 1], item) < 0;
#endif
}

enum st_code st_register_decode(struct st_str row, struct st_items *list, uint64_t *members)
{
    struct st_str body, over;
    uint64_t count;
    if (!register_split(row, &body, &over) || !st_take_varint(&body, members) ||
        !st_take_varint(&body, &count) || count > ST_SIBLINGS_MAX)
        return ST_DAMAGED;
    size_t base = list->n;
    for (uint64_t i = 0; i < count; i++) {
        struct st_item item = {.kind = ST_ITEM_VALUE};
        if (!take_flags(&body, &item.kind, &item.value_kind) || !take_origin(&body, &item) ||
            (item.kind == ST_ITEM_VALUE && !st_row_take_bytes(&body, &item.value)) ||
            !take_over(&over, &item) || !in_order(list, base, &item))
            return ST_DAMAGED;
        if (st_items_push(list, &item) != ST_OK)
            return ST_NO_MEMORY;
    }
    return body.n == 0 && over.n == 0 ? ST_OK : ST_DAMAGED;
}

bool st_register_members(struct st_str row, uint64_t *members)
{
    struct st_str body, over;
    return register_split(row, &body, &over) && st_take_varint(&body, members);
}

void st_member_encode(struct st_buf *out, const struct st_item *items, size_t count)
{
    st_buf_add_varint(out, count);
    for (size_t i = 0; i < count; i++)
        add_origin(out, &items[i]);
}

bool st_member_split(struct st_str tail, enum st_value_kind *kind, struct st_str *value)
{
    if (tail.n < 2 || tail.p[0] != TAIL_MEMBER || (unsigned char)tail.p[1] > ST_VALUE_LINK)
        return false;
    *kind = tail.p[1] == ST_VALUE_LINK ? ST_VALUE_LINK : ST_VALUE_TEXT;
    *value = (struct st_str){tail.p + 2, tail.n - 2};
    return true;
}

enum st_code st_member_decode(struct st_str row, enum st_value_kind kind, struct st_str value,
                              struct st_items *list)
{
    uint64_t count;
    if (!st_take_varint(&row, &count) || count == 0 || count > ST_SIBLINGS_MAX)
        return ST_DAMAGED;
    size_t base = list->n;
    for (uint64_t i = 0; i < count; i++) {
        struct st_item item = {.kind = ST_ITEM_MEMBER, .value_kind = kind, .value = value};
        if (!take_origin(&row, &item) || !in_order(list, base, &item))
            return ST_DAMAGED;
        if (st_items_push(list, &item) != ST_OK)
            return ST_NO_MEMORY;
    }
    return row.n == 0 ? ST_OK : ST_DAMAGED;
}

/* --- the other rows --------------------------------------------------------------------------- */

void st_status_encode(struct st_buf *out, const struct st_record *r, struct st_str status)
{
    add_dot(out, r->dot);
    st_row_add_time(out, r->time);
    st_buf_add_varint(out, r->incarnation);
    st_row_add_bytes(out, status);
}

enum st_code st_status_decode(struct st_str key, struct st_str value, struct st_status_row *out)
{
    if (key.n < 2 || key.p[0] != 'b' || key.p[key.n - 1] != '\0' ||
        !st_row_take_dot(&value, &out->dot) || !st_row_take_time(&value, &out->time) ||
        !st_take_varint(&value, &out->incarnation) || !st_row_take_bytes(&value, &out->status) ||
        value.n != 0)
        return ST_DAMAGED;
    out->agent = (struct st_str){key.p + 1, key.n - 2};
    return ST_OK;
}

void st_unseen_key(struct st_buf *out, struct st_dot dot, uint32_t op)
{
    st_buf_add_char(out, 'u');
    st_row_add_writer(out, dot.writer);
    st_row_add_u64(out, dot.counter);
    for (int i = 0; i < 4; i++)
        st_buf_add_char(out, (char)(unsigned char)(op >> (24 - 8 * i)));
}

void st_unseen_encode(struct st_buf *out, const struct st_unseen_row *row)
{
    st_row_add_bytes(out, row->entity);
    st_row_add_bytes(out, row->attribute);
    st_row_add_bytes(out, row->agent);
    st_row_add_time(out, row->time);
    add_dot(out, row->lost);
    st_row_add_bytes(out, row->lost_agent);
    st_row_add_time(out, row->lost_time);
    add_flags(out, row->lost_kind, row->lost_value_kind);
    st_row_add_bytes(out, row->lost_value);
    st_buf_add_varint(out, row->lost_count);
}

enum st_code st_unseen_decode(struct st_str key, struct st_str value, struct st_unseen_row *out)
{
    if (key.n != 1 + 24 + 4 || key.p[0] != 'u')
        return ST_DAMAGED;
    struct st_str rest = {key.p + 1, key.n - 1};
    if (!st_row_take_writer(&rest, &out->dot.writer) || !st_row_take_u64(&rest, &out->dot.counter))
        return ST_DAMAGED;
    out->op = 0;
    for (size_t i = 0; i < 4; i++)
        out->op = out->op << 8 | (unsigned char)rest.p[i];

    if (!st_row_take_bytes(&value, &out->entity) || !st_row_take_bytes(&value, &out->attribute) ||
        !st_row_take_bytes(&value, &out->agent) || !st_row_take_time(&value, &out->time) ||
        !st_row_take_dot(&value, &out->lost) || !st_row_take_bytes(&value, &out->lost_agent) ||
        !st_row_take_time(&value, &out->lost_time) ||
        !take_flags(&value, &out->lost_kind, &out->lost_value_kind) ||
        !st_row_take_bytes(&value, &out->lost_value) ||
        !st_row_take_u32(&value, &out->lost_count) || value.n != 0)
        return ST_DAMAGED;
    return ST_OK;
}

void st_sum_encode(struct st_buf *out, int64_t sum)
{
    uint64_t doubled = (uint64_t)sum << 1;
    st_buf_add_varint(out, sum < 0 ? ~doubled : doubled);
}

bool st_sum_decode(struct st_str row, int64_t *sum)
{
    uint64_t zigzag;
    if (!st_take_varint(&row, &zigzag) || row.n != 0)
        return false;
    int64_t half = (int64_t)(zigzag >> 1);
    *sum = (zigzag & 1) != 0 ? -half - 1 : half;
    return *sum >= -ST_SUM_MAX && *sum <= ST_SUM_MAX;
}

/* --- keys ------------------------------------------------------------------------------------- */

static void add_name(struct st_buf *out, struct st_str name)
{
    st_buf_add_str(out, name);
    st_buf_add_char(out, '\0');
}

void st_key_entity(struct st_buf *out, struct st_str entity)
{
    st_buf_add_char(out, 'f');
    add_name(out, entity);
}

void st_key_attribute(struct st_buf *out, struct st_str entity, struct st_str attribute)
{
    st_key_entity(out, entity);
    add_name(out, attribute);
}

void st_key_register(struct st_buf *out, struct st_str entity, struct st_str attribute)
{
    st_key_attribute(out, entity, attribute);
    st_buf_add_char(out, TAIL_REGISTER);
}

void st_key_pending(struct st_buf *out, struct st_str entity, struct st_str attribute)
{
    st_buf_add_char(out, 'p');
    add_name(out, entity);
    add_name(out, attribute);
}

void st_key_counter(struct st_buf *out, struct st_str name)
{
    st_buf_add_char(out, 'c');
    add_name(out, name);
}

void st_key_status(struct st_buf *out, struct st_str agent)
{
    st_buf_add_char(out, 'b');
    add_name(out, agent);
}

/* Takes a name and its NUL off the front of *s. */
static bool take_name(struct st_str *s, struct st_str *name)
{
    const char *end = s->n > 0 ? memchr(s->p, '\0', s->n) : NULL;
    if (end == NULL || end == s->p)
        return false;
    *name = (struct st_str){s->p, (size_t)(end - s->p)};
    s->n -= name->n + 1;
    s->p += name->n + 1;
    return true;
}

bool st_key_split(struct st_str key, struct st_str *entity, struct st_str *attribute)
{
    if (key.n == 0 || (key.p[0] != 'f' && key.p[0] != 'p'))
        return false;
    struct st_str rest = {key.p + 1, key.n - 1};
    if (!take_name(&rest, entity) || !take_name(&rest, attribute))
        return false;
    if (key.p[0] == 'p')
        return rest.n == 0;
    enum st_value_kind kind;
    struct st_str value;
    return (rest.n == 1 && rest.p[0] == TAIL_REGISTER) || st_member_split(rest, &kind, &value);
}

bool st_key_visible(struct st_str key)
{
    return key.n > 0 && (key.p[0] == 'f' || key.p[0] == 'c' || key.p[0] == 'b');
}

struct st_str st_row_visible(struct st_str key, struct st_str value)
{
    struct st_str entity, attribute, visible, over;
    if (key.n == 0 || key.p[0] != 'f' || !st_key_split(key, &entity, &attribute))
        return value;
    bool is_register = key.n == entity.n + attribute.n + 4;
    return is_register && register_split(value, &visible, &over) ? visible : value;
}
