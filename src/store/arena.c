/* arena.c - see arena.h. */
#include "store/arena.h"

#include <stdlib.h>

#define BLOCK_SIZE 16384

struct st_arena_block {
    struct st_arena_block *next;
    size_t used, size;
    char bytes[];
};

void st_arena_reset(struct st_arena *a)
{
    while (a->blocks != NULL) {
        struct st_arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
}

static size_t rounded(size_t size)
{
    return (size + 15) & ~(size_t)15;
}

void *st_arena_take(struct st_arena *a, size_t size)
{
    size = rounded(size);
    if (a->blocks == NULL || a->blocks->size - a->blocks->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;
        struct st_arena_block *b = malloc(sizeof *b + room);
        if (b == NULL)
            return NULL;
        b->next = a->blocks;
        b->used = 0;
        b->size = room;
        a->blocks = b;
    }
    void *p = a->blocks->bytes + a->blocks->used;
    a->blocks->used += size;
    return p;
}

void *st_arena_extend(struct st_arena *a, void *p, size_t size, size_t more)
{
    struct st_arena_block *b = a->blocks;
    size_t was = rounded(size), now = rounded(more);
    if (b != NULL && p != NULL && (char *)p + was == b->bytes + b->used &&
        b->size - b->used >= now - was) {
        b->used += now - was;
        return p;
    }
    void *to = st_arena_take(a, more);
    if (to != NULL && p != NULL)
        memcpy(to, p, size);
    return to;
}

const char *st_arena_text(struct st_arena *a, struct st_str text)
{
    char *p = st_arena_take(a, text.n + 1);
    if (p == NULL)
        return NULL;
    if (text.n > 0)
        memcpy(p, text.p, text.n);
    p[text.n] = '\0';
    return p;
}
