/*
 * memkv.c - the store interface in memory, as a sorted array of rows.
 *
 * Format: one allocation per row, key then value. Invariant: keys strictly increase bytewise.
 * Insertion moves the tail of the array: fine for the thousands of rows of a test or of a
 * reader without index. A string lent by get() must not be handed back to put().
 */
#include "core/memkv.h"

static struct st_str row_key(const struct st_memkv_row *row)
{
    return (struct st_str){row->bytes, row->key_size};
}

static struct st_str row_value(const struct st_memkv_row *row)
{
    return (struct st_str){row->bytes + row->key_size, row->value_size};
}

/* Index of the first row whose key is not less than `key`. */
static size_t lower_bound(const struct st_memkv *m, struct st_str key)
{
    size_t low = 0;
    size_t high = m->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (st_str_compare(row_key(&m->rows[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool row_is(const struct st_memkv *m, size_t at, struct st_str key)
{
    return at < m->count && st_str_equal(row_key(&m->rows[at]), key);
}

static enum st_code memkv_get(void *ctx, struct st_str key, struct st_str *value)
{
    const struct st_memkv *m = ctx;
    size_t at = lower_bound(m, key);
    if (!row_is(m, at, key))
        return ST_NOT_FOUND;
    *value = row_value(&m->rows[at]);
    return ST_OK;
}

static enum st_code row_insert(struct st_memkv *m, size_t at)
{
    if (m->count == m->cap) {
        size_t cap = m->cap > 0 ? 2 * m->cap : 16;
        struct st_memkv_row *rows = m->alloc->resize(m->alloc->ctx, m->rows, cap * sizeof(*rows));
        if (rows == NULL)
            return ST_NO_MEMORY;
        m->rows = rows;
        m->cap = cap;
    }
    memmove(&m->rows[at + 1], &m->rows[at], (m->count - at) * sizeof(m->rows[0]));
    m->rows[at] = (struct st_memkv_row){NULL, 0, 0};
    m->count++;
    return ST_OK;
}

static void row_remove(struct st_memkv *m, size_t at)
{
    if (m->rows[at].bytes != NULL)
        (void)m->alloc->resize(m->alloc->ctx, m->rows[at].bytes, 0);
    m->count--;
    memmove(&m->rows[at], &m->rows[at + 1], (m->count - at) * sizeof(m->rows[0]));
}

static enum st_code memkv_put(void *ctx, struct st_str key, struct st_str value)
{
    struct st_memkv *m = ctx;
    ST_ASSERT(key.n > 0);
    size_t at = lower_bound(m, key);
    bool fresh = !row_is(m, at, key);
    if (fresh && row_insert(m, at) != ST_OK)
        return ST_NO_MEMORY;

    struct st_memkv_row *row = &m->rows[at];
    if (fresh || row->value_size != value.n) {
        char *bytes = m->alloc->resize(m->alloc->ctx, row->bytes, key.n + value.n);
        if (bytes == NULL) {
            if (fresh)
                row_remove(m, at);
            return ST_NO_MEMORY;
        }
        row->bytes = bytes;
        row->key_size = key.n;
        row->value_size = value.n;
    }
    memcpy(row->bytes, key.p, key.n);
    if (value.n > 0)
        memcpy(row->bytes + key.n, value.p, value.n);
    return ST_OK;
}

static enum st_code memkv_del(void *ctx, struct st_str key)
{
    struct st_memkv *m = ctx;
    size_t at = lower_bound(m, key);
    if (row_is(m, at, key))
        row_remove(m, at);
    return ST_OK;
}

static bool has_prefix(struct st_str s, struct st_str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

static enum st_code
memkv_scan(void *ctx, struct st_str prefix, struct st_str after,
           enum st_code (*visit)(void *arg, struct st_str key, struct st_str value), void *arg)
{
    const struct st_memkv *m = ctx;
    size_t at = lower_bound(m, prefix);
    if (after.n > 0) {
        size_t next = lower_bound(m, after);
        if (row_is(m, next, after))
            next++;
        at = next > at ? next : at;
    }
    for (; at < m->count && has_prefix(row_key(&m->rows[at]), prefix); at++) {
        enum st_code code = visit(arg, row_key(&m->rows[at]), row_value(&m->rows[at]));
        if (code != ST_OK)
            return code == ST_SCAN_STOP ? ST_OK : code;
    }
    return ST_OK;
}

void st_memkv_init(struct st_memkv *m, const struct st_alloc *alloc)
{
    *m = (struct st_memkv){.alloc = alloc};
    m->kv = (struct st_kv){memkv_get, memkv_put, memkv_del, memkv_scan, NULL, m};
}

void st_memkv_release(struct st_memkv *m)
{
    for (size_t i = 0; i < m->count; i++)
        (void)m->alloc->resize(m->alloc->ctx, m->rows[i].bytes, 0);
    if (m->rows != NULL)
        (void)m->alloc->resize(m->alloc->ctx, m->rows, 0);
    st_memkv_init(m, m->alloc);
}

enum st_code st_memkv_copy(struct st_memkv *to, const struct st_memkv *from)
{
    ST_ASSERT(to->count == 0);
    for (size_t i = 0; i < from->count; i++) {
        enum st_code code = memkv_put(to, row_key(&from->rows[i]), row_value(&from->rows[i]));
        if (code != ST_OK)
            return code;
    }
    return ST_OK;
}

bool st_memkv_equal(const struct st_memkv *a, const struct st_memkv *b,
                    bool (*filter)(struct st_str key))
{
    size_t i = 0;
    size_t j = 0;
    for (;;) {
        while (filter != NULL && i < a->count && !filter(row_key(&a->rows[i])))
            i++;
        while (filter != NULL && j < b->count && !filter(row_key(&b->rows[j])))
            j++;
        if (i == a->count || j == b->count)
            return i == a->count && j == b->count;
        struct st_str key = row_key(&a->rows[i]);
        struct st_str left = row_value(&a->rows[i]);
        struct st_str right = row_value(&b->rows[j]);
        if (filter != NULL) {
            left = st_row_visible(key, left);
            right = st_row_visible(key, right);
        }
        if (!st_str_equal(key, row_key(&b->rows[j])) || !st_str_equal(left, right))
            return false;
        i++;
        j++;
    }
}
