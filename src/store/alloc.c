#include "store/alloc.h"

#include <stdlib.h>
#include <string.h>

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
