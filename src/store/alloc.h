/* alloc.h - malloc and friends as an st_alloc. */
#ifndef ST_STORE_ALLOC_H
#define ST_STORE_ALLOC_H

#include "core/base.h"

const struct st_alloc *st_alloc_libc(void);
/* The same for a few buffers of megabytes that are filled once: in large pages, where the system has
 * them. Filling pages of 4 KiB costs more than what is done with them. */
const struct st_alloc *st_alloc_large(void);

#endif
