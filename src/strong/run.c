/*
 * run.c - executors: a file for each, locked for as long as anything of it runs.
 *
 * A file is removed under its lock only, and whoever locked one looks whether it still has its name. So
 * nobody counts on a lock that the others do not find.
 *
 * Making and removing a file is dear, so a handle uses its own again once what it was for has ended for
 * good. In between it is neither open nor locked: only a descendant that lives on has it, and then another
 * one is made. What a killed process left is removed by those who make new ones.
 */
#include "strong/strong_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SIZE 16

/* A new file that somebody removed before it was locked: so often in a row is no chance. */
#define NEW_TRIES 8

static bool run_path(struct st_strong *s, uint64_t run, char out[ST_PATH_SIZE])
{
    return s->run_dir[0] != '\0' &&
           snprintf(out, ST_PATH_SIZE, "%s/%016" PRIx64, s->run_dir, run) < ST_PATH_SIZE;
}

/* A descriptor. -EWOULDBLOCK: somebody holds it; -ENOENT: it is not there, or not any more. */
static int run_lock(struct st_strong *s, const char *path, int flags)
{
    const struct st_env *env = s->env;
    struct st_file_info info = {0};
    int fd = env->open(env->ctx, path, flags);
    if (fd < 0)
        return fd;
    int r = env->lock_try(env->ctx, fd);
#ifndef ST_DEFECT_RUN_WITHOUT_NAME
    if (r >= 0)
        r = env->fstat(env->ctx, fd, &info);
#endif
    if (r >= 0 && !info.unlinked)
        return fd;
    env->close(env->ctx, fd);
    return r < 0 ? r : -ENOENT;
}

/* --- what was left ---------------------------------------------------------------------------- */

struct sweep {
    struct st_strong *s;
    char last; /* digit of the names that are looked at */
};

static int sweep_one(void *arg, const char *name)
{
    const struct sweep *w = arg;
    if (strlen(name) == NAME_SIZE && name[NAME_SIZE - 1] == w->last)
        st_strong_run_clear(w->s, strtoull(name, NULL, 16));
    return 0;
}

/* Those whose number ends as that of the new file: one in sixteen, others each time. */
static void sweep(struct st_strong *s, uint64_t run)
{
    struct sweep w = {s, "0123456789abcdef"[run % 16]};
    if (!s->swept)
        (void)s->env->list(s->env->ctx, s->run_dir, sweep_one, &w);
    s->swept = true;
}

/* --- beginning, ending ------------------------------------------------------------------------ */

static uint64_t run_number(struct st_strong *s)
{
    uint64_t id = 0;
    while (id == 0)
        if (s->env->random(s->env->ctx, &id, sizeof id) < 0)
            return 0;
    return id >> 11 != 0 ? id >> 11 : 1; /* fits a JSON number, should it ever be shown as one */
}

static enum st_code run_new(struct st_strong *s, uint64_t *run, int *fd)
{
    char path[ST_PATH_SIZE];
    *fd = -ENOENT;
    for (int i = 0; i < NEW_TRIES && (*fd == -ENOENT || *fd == -EWOULDBLOCK); i++) {
        *run = run_number(s);
        if (*run == 0)
            return st_fail(&s->fault, ST_IO, "no random numbers; nothing was recorded");
        if (!run_path(s, *run, path))
            return st_fail(&s->fault, ST_LIMIT, "the path is too long");
        *fd = run_lock(s, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    }
    if (*fd < 0)
        return st_fail_system(&s->fault, *fd, "cannot create %s", path);
    sweep(s, *run);
    return ST_OK;
}

enum st_code st_strong_run_begin(struct st_strong *s, uint64_t *run, int *fd)
{
    char path[ST_PATH_SIZE];
    *run = s->spare_run;
    s->spare_run = 0;
    *fd = *run != 0 && run_path(s, *run, path) ? run_lock(s, path, ST_OPEN_WRITE) : -ENOENT;
    return *fd >= 0 ? ST_OK : run_new(s, run, fd);
}

bool st_strong_run_alive(struct st_strong *s, uint64_t run)
{
    char path[ST_PATH_SIZE];
    int fd = run_path(s, run, path) ? run_lock(s, path, ST_OPEN_READ) : -ENOENT;
    if (fd >= 0)
        s->env->close(s->env->ctx, fd);
    return fd < 0 && fd != -ENOENT; /* where it cannot be told, too */
}

void st_strong_run_clear(struct st_strong *s, uint64_t run)
{
    const struct st_env *env = s->env;
    char path[ST_PATH_SIZE];
    int fd = run != 0 && run_path(s, run, path) ? run_lock(s, path, ST_OPEN_READ) : -ENOENT;
    if (fd < 0)
        return;
#ifdef ST_DEFECT_RUN_REMOVED_UNLOCKED
    env->unlock(env->ctx, fd);
#endif
    env->unlink(env->ctx, path);
    env->close(env->ctx, fd);
}

void st_strong_run_end(struct st_strong *s, uint64_t run, int fd)
{
    s->env->close(s->env->ctx, fd);
    st_strong_run_clear(s, run);
}

void st_strong_run_keep(struct st_strong *s, uint64_t run)
{
    if (s->spare_run != 0)
        st_strong_run_clear(s, run);
    else
        s->spare_run = run;
}
