/* row_cache.c - see row_cache.h. */
#include "store/row_cache.h"

#include "store/alloc.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define CAP_FIRST 1024
/* What is kept when rows are dropped, so that whoever drops them every moment does not ask for the same
 * memory again: a table of 32 KiB, 512 KiB of rows. Below where the system is asked for each piece. */
#define CAP_KEPT 8192
/* Changed rows that are looked through one by one at a scan; more of them are sorted in first. */
#define UNSORTED_MAX 256
/* Bits of the filter, 2 of them to a key: with a million keys it errs in one of 70 cases, with ten
 * million in half of them, and then costs nothing but itself. 2 MB. */
#define FILTER_BITS (UINT64_C(1) << 24)

/* --- the table -------------------------------------------------------------------------------- */

/* Where the row of this key is in the table, or could be. */
static size_t place_of(const struct st_rows *rows, struct st_str key, uint64_t hash)
{
    size_t mask = rows->cap - 1, i = (size_t)hash & mask;
    for (; rows->table[i] != 0; i = (i + 1) & mask) {
        const struct st_row *row = &rows->list[rows->table[i] - 1];
        if (row->key_hash == hash && st_str_equal(st_row_key(row), key))
            break;
    }
    return i;
}

static bool table_grow(struct st_rows *rows)
{
    size_t cap = rows->cap == 0 ? CAP_FIRST : rows->cap * 2, mask = cap - 1;
    uint32_t *table = cap < UINT32_MAX ? calloc(cap, sizeof *table) : NULL;
    if (table == NULL)
        return false;
    for (size_t n = 0; n < rows->count; n++) {
        size_t i = (size_t)rows->list[n].key_hash & mask;
        while (table[i] != 0)
            i = (i + 1) & mask;
        table[i] = (uint32_t)n + 1;
    }
    free(rows->table);
    rows->table = table;
    rows->cap = cap;
    return true;
}

/* Its bytes get another size: in their place when they were taken last, as those of a new row are. */
static bool bytes_resize(struct st_rows *rows, struct st_row *row, size_t cap)
{
    ST_ASSERT(cap <= UINT32_MAX);
    char *bytes = st_arena_extend(&rows->arena, row->bytes, row->cap, cap);
    if (bytes == NULL)
        return false;
    row->bytes = bytes;
    row->cap = (uint32_t)cap;
    return true;
}

struct st_row *st_rows_get(struct st_rows *rows, struct st_str key, bool *is_new)
{
    *is_new = false;
    /* An operation gets, puts and touches one row after the other. */
    if (rows->last < rows->count && st_str_equal(st_row_key(&rows->list[rows->last]), key))
        return &rows->list[rows->last];
    if ((rows->count * 2 >= rows->cap && !table_grow(rows)) ||
        !st_grow(&rows->list, &rows->list_cap, rows->count + 1, sizeof *rows->list))
        return NULL;
    uint64_t hash = XXH3_64bits(key.p, key.n);
    size_t i = place_of(rows, key, hash);
    if (rows->table[i] == 0) {
        struct st_row *row = &rows->list[rows->count];
        *row = (struct st_row){.key_size = (uint32_t)key.n, .key_hash = hash};
        if (!bytes_resize(rows, row, key.n))
            return NULL;
        memcpy(row->bytes, key.p, key.n);
        rows->table[i] = (uint32_t)++rows->count;
        *is_new = true;
    }
    rows->last = rows->table[i] - 1;
    return &rows->list[rows->last];
}

void st_rows_take_back(struct st_rows *rows)
{
    const struct st_row *row = &rows->list[rows->count - 1];
    rows->table[place_of(rows, st_row_key(row), row->key_hash)] = 0;
    rows->count--;
}

bool st_row_set(struct st_rows *rows, struct st_row *row, struct st_str value)
{
    size_t need = row->key_size + value.n;
    bool first = row->cap == row->key_size;
    if (need > row->cap && !bytes_resize(rows, row, first ? need : need + need / 2))
        return false;
    if (value.n > 0)
        memmove(row->bytes + row->key_size, value.p, value.n);
    row->value_size = (uint32_t)value.n;
    return true;
}

bool st_rows_mark(struct st_rows *rows, struct st_row *row)
{
    if (row->dirty)
        return true;
    if (!st_grow(&rows->dirty, &rows->dirty_cap, rows->dirty_count + 1, sizeof *rows->dirty))
        return false;
    rows->dirty[rows->dirty_count++] = (uint32_t)(row - rows->list);
    row->dirty = true;
    return true;
}

void st_rows_drop(struct st_rows *rows)
{
    if (rows->cap > CAP_KEPT) {
        free(rows->table);
        free(rows->list);
        rows->table = NULL;
        rows->list = NULL;
        rows->cap = rows->list_cap = 0;
    } else if (rows->count > 0) {
        memset(rows->table, 0, rows->cap * sizeof *rows->table);
    }
    st_arena_reset(&rows->arena);
    rows->count = rows->dirty_count = rows->run_count = 0;
}

void st_rows_free(struct st_rows *rows)
{
    st_rows_drop(rows);
    free(rows->table);
    free(rows->list);
    free(rows->dirty);
    free(rows->stored);
    *rows = (struct st_rows){.count = 0};
}

/* --- the filter ------------------------------------------------------------------------------- */

void st_rows_filter_begin(struct st_rows *rows)
{
    free(rows->stored);
    rows->stored = calloc(FILTER_BITS / 64, sizeof *rows->stored);
}

void st_rows_filter_add(struct st_rows *rows, const struct st_row *row)
{
    uint64_t h = row->key_hash, a = h % FILTER_BITS, b = (h >> 32) % FILTER_BITS;
    rows->stored[a / 64] |= UINT64_C(1) << a % 64;
    rows->stored[b / 64] |= UINT64_C(1) << b % 64;
}

bool st_rows_may_be_stored(const struct st_rows *rows, const struct st_row *row)
{
    uint64_t h = row->key_hash, a = h % FILTER_BITS, b = (h >> 32) % FILTER_BITS;
    return rows->stored == NULL ||
           (rows->stored[a / 64] >> a % 64 & rows->stored[b / 64] >> b % 64 & 1) != 0;
}

/* --- changed rows, in order --------------------------------------------------------------------- */

static int compare_rows(const void *a, const void *b, void *arg)
{
    const struct st_rows *rows = arg;
    return st_str_compare(st_row_key(&rows->list[*(const uint32_t *)a]),
                          st_row_key(&rows->list[*(const uint32_t *)b]));
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
    uint32_t *list = rows->dirty, *last = malloc(n * sizeof *last);
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
static bool sort(struct st_rows *rows, bool all)
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

bool st_rows_sort(struct st_rows *rows)
{
    return sort(rows, true);
}

void st_rows_written(struct st_rows *rows)
{
    for (size_t i = 0; i < rows->dirty_count; i++)
        rows->list[rows->dirty[i]].dirty = false;
    rows->dirty_count = rows->run_count = 0;
}

static bool has_prefix(struct st_str key, struct st_str prefix)
{
    return key.n >= prefix.n && memcmp(key.p, prefix.p, prefix.n) == 0;
}

/* The first of [low, high), sorted, whose key is not before `from`. */
static size_t dirty_find(const struct st_rows *rows, size_t low, size_t high, struct st_str from)
{
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (st_str_compare(st_row_key(&rows->list[rows->dirty[middle]]), from) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool st_rows_changed(struct st_rows *rows, struct st_str prefix, struct st_str after,
                     uint32_t **list, size_t *count)
{
    struct st_str from = st_str_compare(after, prefix) > 0 ? after : prefix;
    size_t cap = 0;
    bool fits = true;
    *list = NULL;
    *count = 0;
    if (rows->dirty_count - run_start(rows, rows->run_count) > UNSORTED_MAX)
        fits = sort(rows, false);
    for (size_t run = 0; run <= rows->run_count && fits; run++) {
        bool sorted = run < rows->run_count;
        size_t i = run_start(rows, run), end = sorted ? rows->runs[run] : rows->dirty_count;
        if (sorted)
            i = dirty_find(rows, i, end, from);
        for (; i < end && fits; i++) {
            struct st_str key = st_row_key(&rows->list[rows->dirty[i]]);
            bool has = has_prefix(key, prefix);
            if (sorted && !has)
                break;
            if (!has || st_str_compare(key, after) <= 0)
                continue;
            fits = st_grow(list, &cap, *count + 1, sizeof **list);
            if (fits)
                (*list)[(*count)++] = rows->dirty[i];
        }
    }
    if (!fits) {
        free(*list);
        *list = NULL;
        *count = 0;
    }
    if (*count > 1)
        qsort_r(*list, *count, sizeof **list, compare_rows, rows);
    return fits;
}
