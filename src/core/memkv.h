/*
 * memkv.h - the store interface in memory: for tests, simulation, and readers that have no
 * write access to the index. A sorted array of rows (binary search): exact, ordered, small.
 */
#ifndef ST_CORE_MEMKV_H
#define ST_CORE_MEMKV_H

#include "core/state.h"

struct st_memkv_row {
    char *bytes; /* key then value */
    size_t key_size, value_size;
};

struct st_memkv {
    struct st_memkv_row *rows; /* sorted by key */
    size_t count, cap;
    const struct st_alloc *alloc;
    struct st_kv kv; /* use this; .touch is NULL, set it if wanted */
};

void st_memkv_init(struct st_memkv *m, const struct st_alloc *alloc);
void st_memkv_release(struct st_memkv *m);
/* A deep copy into an initialised, empty store. */
enum st_code st_memkv_copy(struct st_memkv *to, const struct st_memkv *from);
/* Without a filter: the same rows, byte by byte. With one (st_key_visible): the same visible
 * parts (st_row_visible) among the rows that it keeps. */
bool st_memkv_equal(const struct st_memkv *a, const struct st_memkv *b,
                    bool (*filter)(struct st_str key));

#endif
