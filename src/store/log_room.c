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

enum st_code st_room_begins(struct st_log *log, int fd, uint64_t offset, uint64_t *begin,
                            uint64_t *size)
{
    const struct st_env *env = log->env;
    struct st_file_info info;
    char buf[4096];
    int r = env->fstat(env->ctx, fd, &info);
    if (r < 0)
        return st_fail_system(&log->fault, r, "cannot look at the log in %s", log->dir);
    *begin = offset;
    *size = info.size;
    for (uint64_t at = offset; at < *size;) {
        size_t want = *size - at < sizeof buf ? (size_t)(*size - at) : sizeof buf;
        ssize_t n = env->pread(env->ctx, fd, buf, want, at);
        if (n < 0)
            return st_fail_system(&log->fault, (int)n, "cannot read the log in %s", log->dir);
        if (n == 0)
            break;
        for (size_t i = (size_t)n; i > 0; i--)
            if (!st_is_room(buf[i - 1])) {
                *begin = at + i;
                break;
            }
        at += (uint64_t)n;
    }
    /* A line's own newline is no room. */
    if (*begin > offset && *begin < *size)
        ++*begin;
    return ST_OK;
}

void st_room_make(struct st_log *log, const struct st_tail *tail)
{
    const struct st_env *env = log->env;
    bool large = log->line.n > ST_ROOM_SIZE / 4; /* room would be used up at once */
    if (log->awaited < ST_ROOM_AFTER || tail->offset < log->fd_size || large ||
        tail->offset >= ST_SEGMENT_SIZE)
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
    log->fd_size = tail->offset + ST_ROOM_SIZE;
    log->made_room = true;
    if (n == ST_ROOM_SIZE)
        return;
    /* The disk is full: what is left of it is for others. */
    log->awaited = 0;
    if (n > 0)
        env->ftruncate(env->ctx, log->fd, tail->offset);
}

void st_room_return(struct st_log *log)
{
    struct st_tail tail;
    uint64_t begin, size;
    /* In a child of who opened it a lock keeps nobody off. */
    if (!log->made_room || log->env->process_id(log->env->ctx) != log->process_id)
        return;
    if (st_log_take(log, ST_LOCK_APPEND, 0) != ST_OK)
        return;
    if (st_page_valid(log) && !st_page_frozen(log->page)) {
        st_page_tail(log->page, &tail);
        if (tail.segment != 0 && st_segment_open(log, tail.segment) == ST_OK &&
            st_room_begins(log, log->fd, tail.offset, &begin, &size) == ST_OK &&
            begin == tail.offset && size > begin)
            log->env->ftruncate(log->env->ctx, log->fd, begin);
    }
    st_log_drop(log, ST_LOCK_APPEND);
    log->made_room = false;
}
