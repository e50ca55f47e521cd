#include "store/board.h"

#include "store/log_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SLOT_SEAL_SIZE 17 /* checksum and newline */

size_t st_slot_format(const struct st_slot *slot, char line[ST_SLOT_LINE_SIZE])
{
    int n = snprintf(line, ST_SLOT_LINE_SIZE, "%015" PRIu64 " %016" PRIx64 " %016" PRIx64 " ",
                     slot->time_ms, slot->replica, slot->incarnation);
    uint64_t sum = st_checksum(line, (size_t)n);
    n += snprintf(line + n, ST_SLOT_LINE_SIZE - (size_t)n, "%016" PRIx64 "\n", sum);
    return (size_t)n;
}

bool st_slot_parse(const char *line, size_t n, struct st_slot *slot)
{
    uint64_t sum;
    if (n <= SLOT_SEAL_SIZE || line[n - 1] != '\n' ||
        !st_parse_hex64(line + n - SLOT_SEAL_SIZE, &sum) ||
        sum != st_checksum(line, n - SLOT_SEAL_SIZE))
        return false;
    return sscanf(line, "%" SCNu64 " %" SCNx64 " %" SCNx64, &slot->time_ms, &slot->replica,
                  &slot->incarnation) == 3;
}

static bool slot_read(const struct st_env *env, int fd, struct st_slot *slot)
{
    char line[ST_SLOT_LINE_SIZE + 1];
    ssize_t n = env->pread(env->ctx, fd, line, ST_SLOT_LINE_SIZE, 0);
    if (n <= 0)
        return false;
    line[n] = '\0';
    return st_slot_parse(line, (size_t)n, slot);
}

static enum st_code slot_open(struct st_log *log, const char *agent, int *fd)
{
    const struct st_env *env = log->env;
    char path[ST_PATH_SIZE], dir[ST_PATH_SIZE];
    enum st_code code = st_path(&log->fault, path, log->dir, "board", agent);
    if (code == ST_OK)
        code = st_path(&log->fault, dir, log->dir, "board", NULL);
    if (code != ST_OK)
        return code;
    *fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (*fd == -ENOENT) {
        env->mkdir(env->ctx, dir);
        *fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    }
    if (*fd >= 0)
        return ST_OK;
    code = st_fail_system(&log->fault, *fd, "cannot open %s", path);
    *fd = -1;
    return code;
}

static bool later(const struct st_slot *a, const struct st_slot *b)
{
    if (a->time_ms != b->time_ms)
        return a->time_ms > b->time_ms;
    return a->replica > b->replica;
}

enum st_code st_board_beat(struct st_log *log, const struct st_slot *slot, int *fd)
{
    const struct st_env *env = log->env;
    if (st_agent_check(st_str_of(slot->agent)) != ST_OK)
        return st_fail(&log->fault, ST_INVALID, "'%s' is not an agent's name", slot->agent);
    if (log->read_only)
        return st_log_refuse(log);
    if (*fd < 0) {
        enum st_code code = slot_open(log, slot->agent, fd);
        if (code != ST_OK)
            return code;
    }
    struct st_slot there;
    if (slot_read(env, *fd, &there) && later(&there, slot))
        return ST_OK;
    char line[ST_SLOT_LINE_SIZE];
    size_t n = st_slot_format(slot, line);
    int r = st_write_all(env, *fd, line, n, 0);
    return r < 0 ? st_fail_system(&log->fault, r, "cannot write the heartbeat of %s", slot->agent)
                 : ST_OK;
}

struct each {
    const struct st_env *env;
    const char *dir;
    void (*visit)(void *arg, const struct st_slot *slot);
    void *arg;
};

static int each_file(void *arg, const char *name)
{
    struct each *e = arg;
    struct st_slot slot;
    struct st_fault fault;
    char path[ST_PATH_SIZE];
    if (st_agent_check(st_str_of(name)) != ST_OK ||
        st_path(&fault, path, e->dir, "board", name) != ST_OK)
        return 0;
    int fd = e->env->open(e->env->ctx, path, ST_OPEN_READ);
    if (fd < 0)
        return 0;
    snprintf(slot.agent, sizeof slot.agent, "%s", name);
    if (slot_read(e->env, fd, &slot))
        e->visit(e->arg, &slot);
    e->env->close(e->env->ctx, fd);
    return 0;
}

enum st_code st_board_each(const struct st_env *env, const char *state_dir,
                           void (*visit)(void *arg, const struct st_slot *slot), void *arg,
                           struct st_fault *fault)
{
    struct each e = {env, state_dir, visit, arg};
    char path[ST_PATH_SIZE];
    enum st_code code = st_path(fault, path, state_dir, "board", NULL);
    if (code != ST_OK)
        return code;
    int r = env->list(env->ctx, path, each_file, &e);
    return r < 0 && r != -ENOENT ? st_fail_system(fault, r, "cannot list %s", path) : ST_OK;
}
