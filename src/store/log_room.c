/*
 * log_room.c - room behind the last record of a segment: empty lines, over which the next records are written.
 *
 * To flush a file that has grown the kernel writes its data, then its inode, and then has the disk flush both; of
 * a file that is as long as before, data and flush: two waits of three, and two fifths of the time less. So who
 * waits for the disk again and again makes the segment longer in advance, and cuts that off when it ends. Who
 * reads stops at an empty line as at the end of the file. Only the segment that is written to has room: it is
 * cut when the segment is full, or its epoch over. What a killed process has left stays until then. Where the
 * power failed there may be zeros instead.
 */
#include "store/log_internal.h"

#include <string.h>

enum st_code st_room_begins(struct st_log *log, int fd, uint64_t offset, uint64_t size,
                            uint64_t *begin)
{
    const struct st_env *env = log->env;
    char buf[4096];
    *begin = offset;
    for (uint64_t at = offset; at < size;) {
        size_t want = size - at < sizeof buf ? (size_t)(size - at) : sizeof buf;
        ssize_t n = env->pread(env->ctx, fd, buf, want, at);
        if (n < 0)
            return st_fail_system(&log->fault, (int)n, "cannot read the log in %s", log->dir);
        if (n == 0)
            break;
        for (size_t i = (size_t)n; i > 0; i--)
            if (buf[i - 1] != '\n' && buf[i - 1] != '\0') {
                *begin = at + i;
                break;
            }
        at += (uint64_t)n;
    }
    /* A line's own newline is no room. */
    if (*begin > offset && *begin < size)
        ++*begin;
    return ST_OK;
}

enum st_code st_room_cut(struct st_log *log, int fd, uint64_t offset)
{
    const struct st_env *env = log->env;
    struct st_file_info info;
    uint64_t begin = offset;
    int r = env->fstat(env->ctx, fd, &info);
    if (r >= 0 && info.size > offset) {
        enum st_code code = st_room_begins(log, fd, offset, info.size, &begin);
        if (code != ST_OK)
            return code;
        if (begin == offset)
            r = env->ftruncate(env->ctx, fd, offset);
    }
    return r < 0 ? st_fail_system(&log->fault, r, "cannot cut the log in %s", log->dir) : ST_OK;
}

void st_room_make(struct st_log *log, const struct st_tail *tail)
{
    const struct st_env *env = log->env;
    if (log->awaited < ST_ROOM_AFTER || tail->offset < log->fd_size)
        return;
    st_buf_reset(&log->line);
    if (!st_buf_reserve(&log->line, ST_ROOM_SIZE))
        return;
    memset(log->line.p, '\n', ST_ROOM_SIZE);
    st_point(log, "room.make");
    uint64_t offset = tail->offset;
#ifdef ST_DEFECT_ROOM_AT_OLD_END
    offset = log->fd_size;
#endif
    ssize_t n = env->pwrite(env->ctx, log->fd, log->line.p, ST_ROOM_SIZE, offset);
    st_point(log, "room.made");
    if (n == ST_ROOM_SIZE)
        log->made_room = true;
    else
        log->awaited = 0; /* the disk is full: not at once again */
    log->fd_size = tail->offset + (n > 0 ? (uint64_t)n : 0);
}

void st_room_return(struct st_log *log)
{
    struct st_tail tail;
    if (!log->made_room || st_log_take(log, ST_LOCK_APPEND, 0) != ST_OK)
        return;
    if (st_page_valid(log) && !st_page_frozen(log->page)) {
        st_page_tail(log->page, &tail);
        if (tail.segment != 0 && st_segment_open(log, tail.segment) == ST_OK)
            st_room_cut(log, log->fd, tail.offset);
    }
    st_log_drop(log, ST_LOCK_APPEND);
    log->made_room = false;
}
