/* alloc.h - malloc and friends as an st_alloc. */
#ifndef ST_STORE_ALLOC_H
#define ST_STORE_ALLOC_H

#include "core/base.h"

const struct st_alloc *st_alloc_libc(void);

#endif
