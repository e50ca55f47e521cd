/*
 * row_cache.h - rows of the index in memory: found by their keys, changed there, and told again in the
 * order of their keys. It knows nothing of the database (index_rows.c).
 *
 * Rows and their bytes are given up all at once. A row that was got stays where it is until the next one
 * is got; its bytes until the rows are dropped.
 */
#ifndef ST_STORE_ROW_CACHE_H
#define ST_STORE_ROW_CACHE_H

#include "store/arena.h"

struct st_row {
    char *bytes;                        /* key, then value; in the arena */
    uint32_t key_size, value_size, cap; /* a gigabyte at most: ST_SIBLINGS_MAX documents */
    bool exists;                        /* in memory: false after a delete or for a known absence */
    bool stored;                        /* in the database, as far as is known */
    bool dirty;
    uint64_t head;
    uint64_t hash[2]; /* of the row as it is in the database; 0,0: not there or not visible */
    uint64_t key_hash;
};

#define ST_RUNS_MAX 64

struct st_rows {
    struct st_row *list;
    size_t count, list_cap;
    uint32_t *table; /* open addressing: the number of a row plus one; 0: free */
    size_t cap;      /* of the table: 0 or a power of two */
    size_t last;     /* the row used last */
    uint32_t *dirty; /* numbers of rows: sorted runs, then what came since */
    size_t dirty_count, dirty_cap;
    size_t runs[ST_RUNS_MAX], run_count; /* where each run ends; each is at least twice the next */
    struct st_arena arena;
    /* A Bloom filter of all keys in the database, which spares the look into it for a new key.
     * NULL: not known, as the table was not empty when this process began. */
    uint64_t *stored;
};

static inline struct st_str st_row_key(const struct st_row *row)
{
    return (struct st_str){row->bytes, row->key_size};
}

static inline struct st_str st_row_value(const struct st_row *row)
{
    return (struct st_str){row->bytes + row->key_size, row->value_size};
}

/* The row of a key; *is_new: there was none, and it is empty now. NULL: out of memory. */
struct st_row *st_rows_get(struct st_rows *rows, struct st_str key, bool *is_new);
/* Forgets the row that was got last, which is new. */
void st_rows_take_back(struct st_rows *rows);
/* `value` may be lent from the row. False: out of memory, and the row is as it was. */
bool st_row_set(struct st_rows *rows, struct st_row *row, struct st_str value);
/* It differs from the database. */
bool st_rows_mark(struct st_rows *rows, struct st_row *row);

/* All changed rows in the order of their keys: rows->dirty. */
bool st_rows_sort(struct st_rows *rows);
/* They are no longer. */
void st_rows_written(struct st_rows *rows);

/* Numbers of the changed rows whose keys start with prefix and come after `after`, in order; *list is
 * the caller's to free(). Costs what it finds, however many others were changed: a transaction may scan
 * for each record. */
bool st_rows_changed(struct st_rows *rows, struct st_str prefix, struct st_str after,
                     uint32_t **list, size_t *count);

/* Forgets all rows; the filter stays. */
void st_rows_drop(struct st_rows *rows);
void st_rows_free(struct st_rows *rows);

/* The filter begins: nothing is stored. Without memory for it every key is looked up. */
void st_rows_filter_begin(struct st_rows *rows);
void st_rows_filter_add(struct st_rows *rows, const struct st_row *row);
/* False: certainly not. */
bool st_rows_may_be_stored(const struct st_rows *rows, const struct st_row *row);

#endif
