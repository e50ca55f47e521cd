/*
 * explore_tools.h - for programs that go through all states of a machine: memory, and a hash table.
 */
#ifndef EXPLORE_TOOLS_H
#define EXPLORE_TOOLS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void *must_alloc(void *p, size_t size)
{
    void *result = realloc(p, size);
    if (result == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(2);
    }
    return result;
}

/* A hash table of 64-bit keys to 64-bit values; grows, forgets nothing. A key of 0 is taken for 1.
 */
struct table {
    uint64_t *keys, *values;
    size_t count, cap;
};

static uint64_t *table_find(struct table *t, uint64_t key, bool *fresh)
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
    size_t at = (key * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (t->cap - 1);
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
