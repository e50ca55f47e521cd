/*
 * index_rows.c - the rows of the state: a write-back cache over the table kv. Rows are read
 * once, changed in memory and written in key order at the end of a transaction; so applying many
 * records to few keys costs SQLite few statements.
 *
 * The digest of the visible state is the sum (modulo 2^64, twice) of a 128-bit hash of every
 * visible row: it changes with a row, not with the order in which rows came.
 */
#include "store/index_internal.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define ROWS_CAP_FIRST 1024
/* Changed rows that are looked through one by one at a scan; more of them are sorted in first. */
#define UNSORTED_MAX 256
/* Rows kept from one transaction to the next. About 50 MB at the worst typical size. */
#define ROWS_KEPT_MAX 100000
/* Bits of the filter, 2 of them to a key: with a million keys it errs in one of 70 cases, with ten
 * million in half of them, and then costs nothing but itself. 2 MB. */
#define FILTER_BITS (UINT64_C(1) << 24)

static struct st_str row_key(const struct st_row *row)
{
    return (struct st_str){row->bytes, row->key_size};
}

static struct st_str row_value(const struct st_row *row)
{
    return (struct st_str){row->bytes + row->key_size, row->value_size};
}

static void row_hash(struct st_str key, struct st_str value, uint64_t out[2])
{
    out[0] = out[1] = 0;
    if (!st_key_visible(key))
        return;
    value = st_row_visible(key, value);
    XXH128_hash_t h = XXH3_128bits_withSeed(value.p, value.n, XXH3_64bits(key.p, key.n));
    out[0] = h.low64;
    out[1] = h.high64;
}

static enum st_code no_memory(struct st_index *x)
{
    return st_fail(&x->fault, ST_NO_MEMORY, "out of memory for the index");
}

/* --- the table in memory ------------------------------------------------------------------------
 */

static size_t slot_of(const struct st_rows *rows, struct st_str key)
{
    size_t mask = rows->cap - 1;
    size_t i = (size_t)XXH3_64bits(key.p, key.n) & mask;
    while (rows->slots[i].bytes != NULL && !st_str_equal(row_key(&rows->slots[i]), key))
        i = (i + 1) & mask;
    return i;
}

static bool rows_grow(struct st_rows *rows)
{
    struct st_rows bigger = {.cap = rows->cap == 0 ? ROWS_CAP_FIRST : rows->cap * 2,
                             .count = rows->count};
    bigger.slots = calloc(bigger.cap, sizeof *bigger.slots);
    if (bigger.slots == NULL)
        return false;
    bigger.stored = rows->stored;
    bigger.dirty = rows->dirty;
    bigger.dirty_count = rows->dirty_count;
    bigger.dirty_cap = rows->dirty_cap;
    bigger.run_count = rows->run_count;
    memcpy(bigger.runs, rows->runs, sizeof bigger.runs);
    for (size_t i = 0; i < rows->cap; i++)
        if (rows->slots[i].bytes != NULL)
            bigger.slots[slot_of(&bigger, row_key(&rows->slots[i]))] = rows->slots[i];
    for (size_t i = 0; i < rows->dirty_count; i++) /* in their order */
        bigger.dirty[i] = slot_of(&bigger, row_key(&rows->slots[rows->dirty[i]]));
    free(rows->slots);
    *rows = bigger;
    return true;
}

static bool row_set(struct st_row *row, struct st_str key, struct st_str value)
{
    size_t need = key.n + value.n;
    ST_ASSERT(need + need / 2 + 16 <= UINT32_MAX);
    if (row->cap < need || row->bytes == NULL) {
        size_t cap = need + need / 2 + 16;
        char *bytes = malloc(cap);
        if (bytes == NULL)
            return false;
        if (key.n > 0)
            memcpy(bytes, key.p, key.n);
        /* `value` may be lent from the old bytes. */
        if (value.n > 0)
            memcpy(bytes + key.n, value.p, value.n);
        free(row->bytes);
        row->bytes = bytes;
        row->cap = (uint32_t)cap;
    } else if (value.n > 0) {
        memmove(row->bytes + key.n, value.p, value.n);
    }
    row->key_size = (uint32_t)key.n;
    row->value_size = (uint32_t)value.n;
    return true;
}

static bool mark_dirty(struct st_rows *rows, struct st_row *row)
{
    if (row->dirty)
        return true;
    if (!st_grow(&rows->dirty, &rows->dirty_cap, rows->dirty_count + 1, sizeof *rows->dirty))
        return false;
    rows->dirty[rows->dirty_count++] = (size_t)(row - rows->slots);
    row->dirty = true;
    return true;
}

static void filter_add(uint64_t *filter, struct st_str key)
{
    uint64_t h = XXH3_64bits(key.p, key.n), a = h % FILTER_BITS, b = (h >> 32) % FILTER_BITS;
    filter[a / 64] |= UINT64_C(1) << a % 64;
    filter[b / 64] |= UINT64_C(1) << b % 64;
}

/* False: certainly not. */
static bool filter_has(const uint64_t *filter, struct st_str key)
{
    uint64_t h = XXH3_64bits(key.p, key.n), a = h % FILTER_BITS, b = (h >> 32) % FILTER_BITS;
    return (filter[a / 64] >> a % 64 & filter[b / 64] >> b % 64 & 1) != 0;
}

void st_rows_begin_empty(struct st_index *x)
{
    st_rows_clear(x);
    /* Without memory for it every key is looked up. */
    x->rows.stored = calloc(FILTER_BITS / 64, sizeof *x->rows.stored);
}

/* Fills a new row from the database. */
static enum st_code row_load(struct st_index *x, struct st_row *row, struct st_str key)
{
    if (x->rows.stored != NULL && !filter_has(x->rows.stored, key))
        return row_set(row, key, (struct st_str){"", 0}) ? ST_OK : no_memory(x);
    sqlite3_stmt *s = st_index_sql(x, ST_SQL_GET);
    if (s == NULL)
        return x->fault.code;
    sqlite3_bind_blob(s, 1, key.p, (int)key.n, SQLITE_STATIC);
    int r = sqlite3_step(s);
    enum st_code code = ST_OK;
    struct st_str value = {"", 0};
    if (r == SQLITE_ROW) {
        const char *p = sqlite3_column_blob(s, 0);
        size_t n = (size_t)sqlite3_column_bytes(s, 0);
        if (n < sizeof row->head) {
            code = st_fail(&x->fault, ST_DAMAGED, "a row of the index is too short");
        } else {
            memcpy(&row->head, p, sizeof row->head);
            value = (struct st_str){p + sizeof row->head, n - sizeof row->head};
            row->exists = row->stored = true;
            row_hash(key, value, row->hash);
        }
    } else if (r != SQLITE_DONE) {
        code = st_index_sql_fail(x, "read");
    }
    if (code == ST_OK && !row_set(row, key, value))
        code = no_memory(x);
    sqlite3_reset(s);
    return code;
}

/* The row of a key, loaded from the database if it was not in memory. */
static enum st_code row_get(struct st_index *x, struct st_str key, struct st_row **out)
{
    struct st_rows *rows = &x->rows;
    /* An operation gets, puts and touches one row after the other. */
    if (rows->last < rows->cap && rows->slots[rows->last].bytes != NULL &&
        st_str_equal(row_key(&rows->slots[rows->last]), key)) {
        *out = &rows->slots[rows->last];
        return ST_OK;
    }
    if (rows->count * 2 >= rows->cap && !rows_grow(rows))
        return no_memory(x);
    size_t slot = slot_of(rows, key);
    struct st_row *row = &rows->slots[slot];
    if (row->bytes == NULL) {
        enum st_code code = row_load(x, row, key);
        if (code != ST_OK) {
            free(row->bytes);
            memset(row, 0, sizeof *row);
            return code;
        }
        rows->count++;
    }
    rows->last = slot;
    *out = row;
    return ST_OK;
}

static void rows_drop(struct st_rows *rows)
{
    for (size_t i = 0; i < rows->cap; i++)
        free(rows->slots[i].bytes);
    if (rows->cap > ROWS_CAP_FIRST) {
        free(rows->slots);
        rows->slots = NULL;
        rows->cap = 0;
    } else if (rows->cap > 0) {
        memset(rows->slots, 0, rows->cap * sizeof *rows->slots);
    }
    rows->count = rows->dirty_count = rows->run_count = 0;
}

void st_rows_clear(struct st_index *x)
{
    rows_drop(&x->rows);
    free(x->rows.stored);
    x->rows.stored = NULL;
}

void st_rows_release(struct st_index *x)
{
    st_rows_clear(x);
    free(x->rows.slots);
    free(x->rows.dirty);
    memset(&x->rows, 0, sizeof x->rows);
}

/* --- writing back ----------------------------------------------------------------------------- */

static int compare_rows(const void *a, const void *b, void *arg)
{
    const struct st_rows *rows = arg;
    return st_str_compare(row_key(&rows->slots[*(const size_t *)a]),
                          row_key(&rows->slots[*(const size_t *)b]));
}

static enum st_code row_store(struct st_index *x, struct st_row *row)
{
    if (!row->exists && !row->stored)
        return ST_OK;
    sqlite3_stmt *s = st_index_sql(x, row->exists ? ST_SQL_PUT : ST_SQL_DEL);
    if (s == NULL)
        return x->fault.code;
    sqlite3_bind_blob(s, 1, row->bytes, (int)row->key_size, SQLITE_STATIC);
    if (row->exists) {
        struct st_str value = row_value(row);
        st_buf_reset(&x->value);
        st_buf_add(&x->value, &row->head, sizeof row->head);
        st_buf_add_str(&x->value, value);
        if (x->value.failed)
            return no_memory(x);
        sqlite3_bind_blob(s, 2, x->value.p, (int)x->value.n, SQLITE_STATIC);
    }
    int r = sqlite3_step(s);
    sqlite3_reset(s);
    return r == SQLITE_DONE ? ST_OK : st_index_sql_fail(x, "write");
}

static void row_difference(const struct st_row *row, uint64_t digest[2])
{
    uint64_t now[2] = {0, 0};
    if (row->exists)
        row_hash(row_key(row), row_value(row), now);
    digest[0] += now[0] - row->hash[0];
    digest[1] += now[1] - row->hash[1];
}

void st_rows_digest(const struct st_index *x, uint64_t digest[2])
{
    for (size_t i = 0; i < x->rows.dirty_count; i++)
        row_difference(&x->rows.slots[x->rows.dirty[i]], digest);
}

static size_t run_start(const struct st_rows *rows, size_t run)
{
    return run == 0 ? 0 : rows->runs[run - 1];
}

/* Of the last two runs one, merged from behind. */
static bool runs_merge(struct st_rows *rows)
{
    size_t start = run_start(rows, rows->run_count - 2), old = rows->runs[rows->run_count - 2];
    size_t to = rows->runs[rows->run_count - 1], n = to - old;
    size_t *list = rows->dirty, *last = malloc(n * sizeof *last);
    if (last == NULL)
        return false;
    memcpy(last, list + old, n * sizeof *last);
    while (n > 0) {
        bool first = old > start && compare_rows(&list[old - 1], &last[n - 1], rows) > 0;
        list[--to] = first ? list[--old] : last[--n];
    }
    free(last);
    rows->run_count--;
    rows->runs[rows->run_count - 1] = rows->dirty_count;
    return true;
}

/* What was changed since the last time becomes a run; all of them one, or as many as keep their sizes
 * apart: so each row is merged as often as the logarithm of their number says. */
static bool dirty_sort(struct st_rows *rows, bool all)
{
    size_t start = run_start(rows, rows->run_count), n = rows->dirty_count - start;
    if (n > 1)
        qsort_r(rows->dirty + start, n, sizeof *rows->dirty, compare_rows, rows);
    if (n > 0)
        rows->runs[rows->run_count++] = rows->dirty_count;
    while (rows->run_count > 1) {
        size_t last = rows->run_count - 1;
        size_t before = rows->runs[last - 1] - run_start(rows, last - 1);
        if (!all && before >= 2 * (rows->runs[last] - rows->runs[last - 1]))
            break;
        if (!runs_merge(rows))
            return false;
    }
    return true;
}

enum st_code st_rows_flush(struct st_index *x)
{
    struct st_rows *rows = &x->rows;
    if (!dirty_sort(rows, true))
        return no_memory(x);
    for (size_t i = 0; i < rows->dirty_count; i++) {
        struct st_row *row = &rows->slots[rows->dirty[i]];
        enum st_code code = row_store(x, row);
        if (code != ST_OK)
            return code;
        row_difference(row, x->position.digest);
        row->hash[0] = row->hash[1] = 0;
        if (row->exists)
            row_hash(row_key(row), row_value(row), row->hash);
        row->stored = row->exists;
        if (row->stored && rows->stored != NULL)
            filter_add(rows->stored, row_key(row));
        row->dirty = false;
    }
    rows->dirty_count = rows->run_count = 0;
    if (rows->count > ROWS_KEPT_MAX)
        rows_drop(rows);
    return ST_OK;
}

/* --- the store interface ---------------------------------------------------------------------- */

static enum st_code kv_get(void *ctx, struct st_str key, struct st_str *value)
{
    struct st_index *x = ctx;
    struct st_row *row;
    enum st_code code = row_get(x, key, &row);
    if (code != ST_OK)
        return code;
    if (!row->exists)
        return ST_NOT_FOUND;
    *value = row_value(row);
    return ST_OK;
}

static void count_rows(struct st_index *x, struct st_str key, int change)
{
    /* Neither names nor values contain NUL: only a register key ends with two. */
    if (key.p[0] == 'f' && key.p[key.n - 1] == '\0' && key.p[key.n - 2] == '\0')
        x->position.attributes += (uint64_t)(int64_t)change;
    if (key.p[0] == 'p')
        x->position.pending += (uint64_t)(int64_t)change;
    else if (key.p[0] == 'u')
        x->position.unseen += (uint64_t)(int64_t)change;
}

static enum st_code kv_put(void *ctx, struct st_str key, struct st_str value)
{
    struct st_index *x = ctx;
    struct st_row *row;
    enum st_code code = row_get(x, key, &row);
    if (code != ST_OK)
        return code;
    if (!row->exists)
        count_rows(x, key, 1);
    if (!row_set(row, row->bytes != NULL ? row_key(row) : key, value) || !mark_dirty(&x->rows, row))
        return no_memory(x);
    row->exists = true;
    return ST_OK;
}

static enum st_code kv_del(void *ctx, struct st_str key)
{
    struct st_index *x = ctx;
    struct st_row *row;
    enum st_code code = row_get(x, key, &row);
    if (code != ST_OK || !row->exists)
        return code;
    count_rows(x, key, -1);
    row->exists = false;
    row->value_size = 0;
    row->head = 0;
    return mark_dirty(&x->rows, row) ? ST_OK : no_memory(x);
}

/* The changed rows of a prefix, in order. */
struct overlay {
    size_t *slots;
    size_t count, cap, next;
};

static bool has_prefix(struct st_str key, struct st_str prefix)
{
    return key.n >= prefix.n && memcmp(key.p, prefix.p, prefix.n) == 0;
}

/* The first of [low, high), sorted, whose key is not before `from`. */
static size_t dirty_find(const struct st_rows *rows, size_t low, size_t high, struct st_str from)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (st_str_compare(row_key(&rows->slots[rows->dirty[middle]]), from) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool overlay_add(struct overlay *o, size_t slot)
{
    if (!st_grow(&o->slots, &o->cap, o->count + 1, sizeof *o->slots))
        return false;
    o->slots[o->count++] = slot;
    return true;
}

/* Costs what it finds, however many others were changed: a transaction may scan for each record. */
static enum st_code overlay_collect(struct st_index *x, struct st_str prefix, struct st_str after,
                                    struct overlay *o)
{
    struct st_rows *rows = &x->rows;
    struct st_str from = st_str_compare(after, prefix) > 0 ? after : prefix;
    bool fits = true;
    *o = (struct overlay){0};
    if (rows->dirty_count - run_start(rows, rows->run_count) > UNSORTED_MAX)
        fits = dirty_sort(rows, false);
    for (size_t run = 0; run <= rows->run_count && fits; run++) {
        bool sorted = run < rows->run_count;
        size_t i = run_start(rows, run), end = sorted ? rows->runs[run] : rows->dirty_count;
        if (sorted)
            i = dirty_find(rows, i, end, from);
        for (; i < end && fits; i++) {
            struct st_str key = row_key(&rows->slots[rows->dirty[i]]);
            bool has = has_prefix(key, prefix);
            if (sorted && !has)
                break;
            if (has && st_str_compare(key, after) > 0)
                fits = overlay_add(o, rows->dirty[i]);
        }
    }
    if (!fits) {
        free(o->slots);
        o->slots = NULL;
        return no_memory(x);
    }
    if (o->count > 1)
        qsort_r(o->slots, o->count, sizeof *o->slots, compare_rows, rows);
    return ST_OK;
}

/* The first key behind all that start with prefix, into end; false when there is none. */
static size_t prefix_end(struct st_str prefix, char *end)
{
    memcpy(end, prefix.p, prefix.n);
    size_t n = prefix.n;
    while (n > 0 && (unsigned char)end[n - 1] == 0xff)
        n--;
    if (n > 0)
        end[n - 1] = (char)((unsigned char)end[n - 1] + 1);
    return n;
}

typedef enum st_code visit_fn(void *arg, struct st_str key, struct st_str value);

/* Visits changed rows up to `limit` (all, when its p is NULL); *same: the last one is limit. */
static enum st_code overlay_visit(struct st_index *x, struct overlay *o, struct st_str limit,
                                  visit_fn *visit, void *arg, bool *same)
{
    *same = false;
    while (o->next < o->count && !*same) {
        const struct st_row *row = &x->rows.slots[o->slots[o->next]];
        int order = limit.p != NULL ? st_str_compare(row_key(row), limit) : -1;
        if (order > 0)
            break;
        o->next++;
        *same = order == 0;
        if (!row->exists)
            continue;
        enum st_code code = visit(arg, row_key(row), row_value(row));
        if (code != ST_OK)
            return code;
    }
    return ST_OK;
}

static enum st_code scan_rows(struct st_index *x, sqlite3_stmt *s, struct st_str after,
                              struct overlay *o, visit_fn *visit, void *arg)
{
    int r;
    bool same;
    while ((r = sqlite3_step(s)) == SQLITE_ROW) {
        struct st_str key = {sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0)};
        struct st_str value = {sqlite3_column_blob(s, 1), (size_t)sqlite3_column_bytes(s, 1)};
        if (value.n < sizeof(uint64_t))
            return st_fail(&x->fault, ST_DAMAGED, "a row of the index is too short");
        if (st_str_equal(key, after))
            continue;
        enum st_code code = overlay_visit(x, o, key, visit, arg, &same);
        if (code == ST_OK && !same) {
            value.p += sizeof(uint64_t);
            value.n -= sizeof(uint64_t);
            code = visit(arg, key, value);
        }
        if (code != ST_OK)
            return code;
    }
    if (r != SQLITE_DONE)
        return st_index_sql_fail(x, "read");
    return overlay_visit(x, o, (struct st_str){NULL, 0}, visit, arg, &same);
}

static enum st_code kv_scan(void *ctx, struct st_str prefix, struct st_str after, visit_fn *visit,
                            void *arg)
{
    struct st_index *x = ctx;
    ST_ASSERT(prefix.n > 0);
    struct st_str from = st_str_compare(after, prefix) > 0 ? after : prefix;
    char *bounds = malloc(prefix.n + from.n + 1);
    if (bounds == NULL)
        return no_memory(x);
    size_t end_size = prefix_end(prefix, bounds);
    char *start = bounds + prefix.n;
    memcpy(start, from.p, from.n);
    struct overlay o;
    enum st_code code = overlay_collect(x, prefix, after, &o);
    sqlite3_stmt *s = code == ST_OK ? st_index_sql(x, ST_SQL_SCAN) : NULL;
    if (s != NULL) {
        sqlite3_bind_blob(s, 1, start, (int)from.n, SQLITE_STATIC);
        sqlite3_bind_blob(s, 2, bounds, (int)end_size, SQLITE_STATIC);
        code = scan_rows(x, s, after, &o, visit, arg);
        sqlite3_reset(s);
        sqlite3_clear_bindings(s);
    } else if (code == ST_OK) {
        code = x->fault.code;
    }
    free(o.slots);
    free(bounds);
    return code == ST_SCAN_STOP ? ST_OK : code;
}

static enum st_code kv_touch(void *ctx, struct st_str key, const struct st_record *r, size_t op)
{
    (void)r;
    struct st_index *x = ctx;
    if (key.p[0] != 'f')
        return ST_OK;
    struct st_row *row;
    enum st_code code = row_get(x, key, &row);
    if (code != ST_OK)
        return code;
    uint64_t number = x->record_base + op;
    st_history_set_previous(x, number, row->head);
    row->head = number;
    return mark_dirty(&x->rows, row) ? ST_OK : no_memory(x);
}

void st_rows_init(struct st_index *x)
{
    x->kv = (struct st_kv){
        .get = kv_get,
        .put = kv_put,
        .del = kv_del,
        .scan = kv_scan,
        .touch = kv_touch,
        .ctx = x,
    };
}

enum st_code st_rows_head(struct st_index *x, struct st_str key, uint64_t *head)
{
    struct st_row *row;
    enum st_code code = row_get(x, key, &row);
    *head = code == ST_OK ? row->head : 0;
    return code;
}
