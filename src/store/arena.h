/*
 * arena.h - memory that is given back all at once: for what lives as long as one call.
 */
#ifndef ST_STORE_ARENA_H
#define ST_STORE_ARENA_H

#include "core/base.h"

struct st_arena {
    struct st_arena_block *blocks;
};

void st_arena_reset(struct st_arena *a);
void *st_arena_take(struct st_arena *a, size_t size); /* NULL: out of memory */
/* What was taken with `size` bytes (NULL, 0: nothing), with `more` of them: in its place if it was taken
 * last and there is room, else a copy, and what was there stays readable. NULL: out of memory. */
void *st_arena_extend(struct st_arena *a, void *p, size_t size, size_t more);
/* A copy with a NUL behind it; NULL: out of memory. */
const char *st_arena_text(struct st_arena *a, struct st_str text);

#endif
