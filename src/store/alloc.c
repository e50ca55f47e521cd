#include "store/alloc.h"

#include <stdlib.h>

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
