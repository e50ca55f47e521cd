/* run.c - executors: a file for each, locked for as long as anything of it runs. */
#include "strong/strong_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

static bool run_path(struct st_strong *s, uint64_t incarnation, char out[ST_PATH_SIZE])
{
    return s->run_dir[0] != '\0' &&
           snprintf(out, ST_PATH_SIZE, "%s/%016" PRIx64, s->run_dir, incarnation) < ST_PATH_SIZE;
}

enum st_code st_strong_run_begin(struct st_strong *s, uint64_t incarnation, int *fd)
{
    const struct st_env *env = s->env;
    char path[ST_PATH_SIZE];
    if (!run_path(s, incarnation, path))
        return st_fail(&s->fault, ST_LIMIT, "the path is too long");
    *fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (*fd < 0)
        return st_fail_system(&s->fault, *fd, "cannot create %s", path);
    int r = env->lock_try(env->ctx, *fd);
    if (r < 0) {
        env->close(env->ctx, *fd);
        return r == -EWOULDBLOCK
                   ? st_fail(&s->fault, ST_UNAVAILABLE, "somebody else holds %s", path)
                   : st_fail_system(&s->fault, r, "cannot lock %s", path);
    }
    return ST_OK;
}

bool st_strong_run_alive(struct st_strong *s, uint64_t incarnation)
{
    const struct st_env *env = s->env;
    char path[ST_PATH_SIZE];
    if (!run_path(s, incarnation, path))
        return false;
    int fd = env->open(env->ctx, path, ST_OPEN_READ);
    if (fd < 0)
        return fd != -ENOENT; /* cannot be told: as if it were */
    bool alive = env->lock_try(env->ctx, fd) < 0;
    env->close(env->ctx, fd);
    return alive;
}

void st_strong_run_clear(struct st_strong *s, uint64_t incarnation)
{
    const struct st_env *env = s->env;
    char path[ST_PATH_SIZE];
    if (run_path(s, incarnation, path) && !st_strong_run_alive(s, incarnation))
        env->unlink(env->ctx, path);
}

void st_strong_run_end(struct st_strong *s, uint64_t incarnation, int fd)
{
    s->env->close(s->env->ctx, fd);
    st_strong_run_clear(s, incarnation);
}
