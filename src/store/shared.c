/* shared.c - see shared.h. */
#include "store/shared.h"

#include "store/log_internal.h"

#include <errno.h>

/* Zeros from `from` on. */
static int write_rest(const struct st_env *env, int fd, uint64_t from, uint64_t size)
{
    static const char zeros[16384];
    int r = 0;
    while (r >= 0 && from < size) {
        size_t n = size - from < sizeof zeros ? size - from : sizeof zeros;
        r = st_write_all(env, fd, zeros, n, from);
        from += n;
    }
    return r;
}

static int make_room(const struct st_env *env, int fd, uint64_t size, int tries)
{
    struct st_file_info info = {0};
    int r, locked = -1;
    while ((r = env->fstat(env->ctx, fd, &info)) >= 0 && info.size < size &&
           (locked = env->lock_try(env->ctx, fd)) < 0 && tries-- > 0)
        env->sleep_ns(env->ctx, ST_NS_PER_MS);
    if (r >= 0 && info.size < size && locked < 0)
        return locked;
    if (r >= 0 && locked >= 0)
        r = env->fstat(env->ctx, fd, &info); /* it may have grown before it was locked */
    if (r >= 0 && info.size < size) {
        r = env->allocate(env->ctx, fd, size);
        if (r == -EOPNOTSUPP)
            r = write_rest(env, fd, info.size, size);
    }
    if (locked >= 0)
        env->unlock(env->ctx, fd);
    return r;
}

int st_shared_map(const struct st_env *env, const char *path, size_t size, int tries, void **out)
{
    int fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (fd < 0)
        return fd;
    int r = make_room(env, fd, size, tries);
    if (r >= 0)
        r = env->map(env->ctx, fd, size, true, out);
    env->close(env->ctx, fd);
    return r;
}

void st_word_sleep(const struct st_env *env, uint32_t *word, uint32_t seen, uint32_t *sleepers,
                   uint64_t most_ns)
{
    st_atomic_add(sleepers, 1u);
    env->futex_wait(env->ctx, word, seen, most_ns);
    st_atomic_add(sleepers, (uint32_t)-1);
}

void st_word_wake(const struct st_env *env, uint32_t *word, const uint32_t *sleepers, bool all)
{
    st_atomic_add(word, 1u);
    if (st_atomic_load(sleepers) == 0)
        return;
    if (all)
        env->futex_wake_all(env->ctx, word);
    else
        env->futex_wake_one(env->ctx, word);
}

bool st_turn_take(uint64_t *since, uint64_t now, uint64_t ns)
{
    uint64_t last = st_atomic_load(since);
    if (last != 0 && last <= now && now - last < ns)
        return false;
    return st_atomic_replace(since, &last, now);
}
