#include "store/alloc.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* A large page on most machines, and from where on it is worth it. Bytes. */
#define LARGE_SIZE (2u * 1024 * 1024)

static void *libc_resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, size);
}

const struct st_alloc *st_alloc_libc(void)
{
    static const struct st_alloc alloc = {.resize = libc_resize};
    return &alloc;
}

static void *large_resize(void *ctx, void *p, size_t size)
{
    if (size < LARGE_SIZE || size > SIZE_MAX - LARGE_SIZE)
        return libc_resize(ctx, p, size);
    size_t whole = (size + LARGE_SIZE - 1) / LARGE_SIZE * LARGE_SIZE;
    void *next = aligned_alloc(LARGE_SIZE, whole);
    if (next == NULL)
        return NULL;
    madvise(next, whole, MADV_HUGEPAGE);
    if (p != NULL) {
        size_t was = malloc_usable_size(p);
        memcpy(next, p, was < size ? was : size);
        free(p);
    }
    return next;
}

const struct st_alloc *st_alloc_large(void)
{
    static const struct st_alloc alloc = {.resize = large_resize};
    return &alloc;
}

bool st_grow(void *list, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return true;
    size_t more = *cap < 16 ? 32 : *cap * 2;
    if (more < need)
        more = need;
    void *p;
    memcpy(&p, list, sizeof p); /* whatever the type of its elements */
    if (size > SIZE_MAX / more || (p = realloc(p, more * size)) == NULL)
        return false;
    memcpy(list, &p, sizeof p);
    *cap = more;
    return true;
}
