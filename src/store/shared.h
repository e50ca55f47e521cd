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

#define st_atomic_load(p)         __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define st_atomic_store(p, value) __atomic_store_n((p), (value), __ATOMIC_SEQ_CST)
#define st_atomic_add(p, value)   __atomic_add_fetch((p), (value), __ATOMIC_SEQ_CST)
/* Whether it was *expected, and is the value now; else *expected is what it was. */
#define st_atomic_replace(p, expected, value)                                                      \
    __atomic_compare_exchange_n((p), (expected), (value), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)

/* Sleeps on a futex word unless it has changed since it was `seen`. *sleepers, which several words may
 * share, spares others the call that wakes nobody; who is killed asleep stays counted. */
void st_word_sleep(const struct st_env *env, uint32_t *word, uint32_t seen, uint32_t *sleepers,
                   uint64_t most_ns);
/* Changes the word and wakes all that sleep on it, or one. */
void st_word_wake(const struct st_env *env, uint32_t *word, const uint32_t *sleepers, bool all);

/* Of the many who could see to something, one: whether it is our turn, as nobody has taken it, or longer ago
 * than `ns`. *since: when it was taken, on the clock of `now`; 0: not. A time that is yet to come is of another
 * boot. */
bool st_turn_take(uint64_t *since, uint64_t now, uint64_t ns);

#endif
