/*
 * explore_tools.h - for programs that go through all states of a machine: memory that is thrown
 * away as a whole, and a set of 64-bit hashes.
 */
#ifndef EXPLORE_TOOLS_H
#define EXPLORE_TOOLS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base.h"

/* --- memory ------------------------------------------------------------------------------- */

static void *must_alloc(void *p, size_t size)
{
    void *result = realloc(p, size);
    if (result == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return result;
}

/* The allocator of the stores: thrown away as a whole after each command. */
static char arena[1 << 20];
static size_t arena_used;

static void *arena_resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0)
        return NULL;
    size_t *fresh = (size_t *)(void *)(arena + arena_used);
    arena_used += (size + 2 * sizeof(size_t) - 1) / sizeof(size_t) * sizeof(size_t);
    if (arena_used > sizeof(arena))
        return NULL;
    *fresh = size;
    if (p != NULL)
        memcpy(fresh + 1, p, ((size_t *)p)[-1] < size ? ((size_t *)p)[-1] : size);
    return fresh + 1;
}

static const struct st_alloc arena_alloc = {arena_resize, NULL};

/* A set of 64-bit hashes with an index each. */
struct table {
    uint64_t *keys;
    uint32_t *values;
    size_t count, cap;
};

static uint32_t *table_find(struct table *t, uint64_t key, bool *fresh)
{
    key |= key == 0;
    if (2 * (t->count + 1) > t->cap) {
        struct table old = *t;
        t->cap = old.cap > 0 ? 2 * old.cap : 1 << 12;
        t->keys = calloc(t->cap, sizeof(*t->keys));
        t->values = must_alloc(NULL, t->cap * sizeof(*t->values));
        t->count = 0;
        if (t->keys == NULL)
            exit(2);
        for (size_t i = 0; i < old.cap; i++) {
            bool ignored;
            if (old.keys[i] != 0)
                *table_find(t, old.keys[i], &ignored) = old.values[i];
        }
        free(old.keys);
        free(old.values);
    }
    size_t at = (size_t)(key >> 17) & (t->cap - 1);
    while (t->keys[at] != 0 && t->keys[at] != key)
        at = (at + 1) & (t->cap - 1);
    *fresh = t->keys[at] == 0;
    if (*fresh) {
        t->keys[at] = key;
        t->count++;
    }
    return &t->values[at];
}

static void table_clear(struct table *t)
{
    free(t->keys);
    free(t->values);
    *t = (struct table){0};
}

#endif
