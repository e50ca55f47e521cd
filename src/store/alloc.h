/* alloc.h - malloc and friends: as an st_alloc, and arrays that grow. */
#ifndef ST_STORE_ALLOC_H
#define ST_STORE_ALLOC_H

#include "core/base.h"

const struct st_alloc *st_alloc_libc(void);
/* The same for a few buffers of megabytes that are filled once: in large pages, where the system has
 * them. Filling pages of 4 KiB costs more than what is done with them. */
const struct st_alloc *st_alloc_large(void);

/*
 * Makes room for at least `need` elements of `size` bytes. `list` is the address of the pointer to the
 * array, which may be NULL with *cap 0 and is the caller's to free(). False: out of memory; both are as
 * they were.
 */
bool st_grow(void *list, size_t *cap, size_t need, size_t size);

#endif
