/*
 * shared.h - a file as memory that the processes of one machine share.
 */
#ifndef ST_STORE_SHARED_H
#define ST_STORE_SHARED_H

#include "store/env.h"

/*
 * Maps the first `size` bytes of a file, made if need be, with zeros where nothing was. They are on the
 * disk, not only within its length: a store into a hole of a full disk kills the process. Made by one at
 * a time, so that nobody writes over what others use already; `tries`: how many milliseconds to wait
 * for that one. 0, or a negative errno value. To be ended with env->unmap().
 */
int st_shared_map(const struct st_env *env, const char *path, size_t size, int tries, void **out);

#endif
