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

/* Rows kept from one transaction to the next. About 50 MB at the worst typical size. */
#ifndef ST_ROWS_KEPT_MAX
#define ST_ROWS_KEPT_MAX 100000
#endif

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

/* --- loading ---------------------------------------------------------------------------------- */

/* Whether what the row was matters when it is written: to the digest, to the counts, to the history. */
static bool has_past(struct st_str key)
{
    return st_key_visible(key) || key.p[0] == 'p' || key.p[0] == 'u';
}

/* Fills a new row from the database. */
static enum st_code row_load(struct st_index *x, struct st_row *row)
{
    struct st_str key = st_row_key(row), value = {"", 0};
    if (!row->stored)
        return ST_OK;
    row->stored = false;
    sqlite3_stmt *s = st_index_sql(x, ST_SQL_GET);
    if (s == NULL)
        return x->fault.code;
    sqlite3_bind_blob(s, 1, key.p, (int)key.n, SQLITE_STATIC);
    int r = sqlite3_step(s);
    enum st_code code = ST_OK;
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
    if (code == ST_OK && !st_row_set(&x->rows, row, value))
        code = no_memory(x);
    sqlite3_reset(s);
    return code;
}

/* The row of a key. It is not loaded for being written when its past does not matter: it may be in the
 * database then, and writing it is as good as looking. */
static enum st_code row_get(struct st_index *x, struct st_str key, bool to_write,
                            struct st_row **out)
{
    struct st_rows *rows = &x->rows;
    bool is_new;
    /* Not before a write: what it writes may be lent from a row. */
    if (!to_write && rows->count >= ST_ROWS_KEPT_MAX && rows->dirty_count == 0)
        st_rows_drop(rows);
    struct st_row *row = st_rows_get(rows, key, &is_new);
    if (row == NULL)
        return no_memory(x);
    *out = row;
    if (!is_new)
        return ST_OK;
    row->stored = st_rows_may_be_stored(rows, row);
#ifdef ST_DEFECT_PAST_FORGOTTEN
    if (to_write)
#else
    if (to_write && !has_past(key))
#endif
        return ST_OK;
    enum st_code code = row_load(x, row);
    if (code != ST_OK)
        st_rows_take_back(rows);
    return code;
}

void st_rows_begin_empty(struct st_index *x)
{
    st_rows_clear(x);
    st_rows_filter_begin(&x->rows);
}

void st_rows_clear(struct st_index *x)
{
    st_rows_drop(&x->rows);
    free(x->rows.stored);
    x->rows.stored = NULL;
}

void st_rows_release(struct st_index *x)
{
    st_rows_free(&x->rows);
}

/* --- writing back ----------------------------------------------------------------------------- */

static enum st_code row_store(struct st_index *x, struct st_row *row)
{
    if (!row->exists && !row->stored)
        return ST_OK;
    sqlite3_stmt *s = st_index_sql(x, row->exists ? ST_SQL_PUT : ST_SQL_DEL);
    if (s == NULL)
        return x->fault.code;
    sqlite3_bind_blob(s, 1, row->bytes, (int)row->key_size, SQLITE_STATIC);
    if (row->exists) {
        struct st_str value = st_row_value(row);
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
        row_hash(st_row_key(row), st_row_value(row), now);
    digest[0] += now[0] - row->hash[0];
    digest[1] += now[1] - row->hash[1];
}

void st_rows_digest(const struct st_index *x, uint64_t digest[2])
{
    for (size_t i = 0; i < x->rows.dirty_count; i++)
        row_difference(&x->rows.list[x->rows.dirty[i]], digest);
}

enum st_code st_rows_flush(struct st_index *x)
{
    struct st_rows *rows = &x->rows;
    if (!st_rows_sort(rows))
        return no_memory(x);
    for (size_t i = 0; i < rows->dirty_count; i++) {
        struct st_row *row = &rows->list[rows->dirty[i]];
        enum st_code code = row_store(x, row);
        if (code != ST_OK)
            return code;
        row_difference(row, x->position.digest);
        row->hash[0] = row->hash[1] = 0;
        if (row->exists)
            row_hash(st_row_key(row), st_row_value(row), row->hash);
        row->stored = row->exists;
        if (row->stored && rows->stored != NULL)
            st_rows_filter_add(rows, row);
    }
    st_rows_written(rows);
    return ST_OK;
}

/* --- the store interface ---------------------------------------------------------------------- */

static enum st_code kv_get(void *ctx, struct st_str key, struct st_str *value)
{
    struct st_index *x = ctx;
    struct st_row *row;
    enum st_code code = row_get(x, key, false, &row);
    if (code != ST_OK)
        return code;
    if (!row->exists)
        return ST_NOT_FOUND;
    *value = st_row_value(row);
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
    enum st_code code = row_get(x, key, true, &row);
    if (code != ST_OK)
        return code;
    if (!row->exists)
        count_rows(x, key, 1);
    if (!st_row_set(&x->rows, row, value) || !st_rows_mark(&x->rows, row))
        return no_memory(x);
    row->exists = true;
    return ST_OK;
}

static enum st_code kv_del(void *ctx, struct st_str key)
{
    struct st_index *x = ctx;
    struct st_row *row;
    enum st_code code = row_get(x, key, true, &row);
    if (code != ST_OK || !(row->exists || row->stored))
        return code;
    if (row->exists)
        count_rows(x, key, -1);
    row->exists = false;
    row->value_size = 0;
    row->head = 0;
    return st_rows_mark(&x->rows, row) ? ST_OK : no_memory(x);
}

/* The changed rows of a prefix, in order. */
struct overlay {
    uint32_t *rows;
    size_t count, next;
};

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
        const struct st_row *row = &x->rows.list[o->rows[o->next]];
        int order = limit.p != NULL ? st_str_compare(st_row_key(row), limit) : -1;
        if (order > 0)
            break;
        o->next++;
        *same = order == 0;
        if (!row->exists)
            continue;
        enum st_code code = visit(arg, st_row_key(row), st_row_value(row));
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
    struct overlay o = {.next = 0};
    enum st_code code =
        st_rows_changed(&x->rows, prefix, after, &o.rows, &o.count) ? ST_OK : no_memory(x);
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
    free(o.rows);
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
    enum st_code code = row_get(x, key, false, &row);
    if (code != ST_OK)
        return code;
    uint64_t number = x->record_base + op;
    st_history_set_previous(x, number, row->head);
    row->head = number;
    return st_rows_mark(&x->rows, row) ? ST_OK : no_memory(x);
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
    enum st_code code = row_get(x, key, false, &row);
    *head = code == ST_OK ? row->head : 0;
    return code;
}
