/*
 * log_tail.c - the locks, and the tail rule: whoever takes the append lock verifies the tail; what
 * is behind the first break goes to quarantine.
 */
#include "store/log_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* --- locks ------------------------------------------------------------------------------------ */

/* Waiting for a lock starts with giving way: the append lock is held for microseconds. Then with
 * sleeps that double up to the maximum: a long holder is worth no more than a thousand tries a
 * second. */
#define LOCK_YIELDS       20
#define LOCK_SLEEP_NS_MIN 10000ull
#define LOCK_SLEEP_NS_MAX 1000000ull

static const char *lock_name(enum st_lock_kind kind)
{
    static const char *const names[ST_LOCK_KINDS] = {"append", "flush", "intake", "index"};
    return names[kind];
}

static enum st_code lock_timeout(struct st_log *log, enum st_lock_kind kind, uint64_t wait_ms)
{
    const struct st_env *env = log->env;
    if (log->page == NULL || log->page->holders[kind].process_id == 0) {
        st_fail(&log->fault, ST_UNAVAILABLE,
                "the %s lock of %s could not be had within %" PRIu64 " ms", lock_name(kind),
                log->dir, wait_ms);
        return st_hint(&log->fault,
                       "nothing was recorded; try again, and if it stays so look who has that file "
                       "open: fuser %s/%s.lock",
                       log->dir, lock_name(kind));
    } else {
        struct st_holder h = log->page->holders[kind];
        h.what[sizeof h.what - 1] = '\0';
        uint64_t now = env->wall_ms(env->ctx);
        uint64_t held_ms = now > h.since_ms ? now - h.since_ms : 0;
        st_fail(&log->fault, ST_UNAVAILABLE,
                "the %s lock is held by process %" PRIu32 " (%s) for %" PRIu64 ".%" PRIu64 " s",
                lock_name(kind), h.process_id, h.what, held_ms / 1000, held_ms % 1000 / 100);
    }
    return st_hint(&log->fault, "nothing was recorded; try again, and if it stays so look whether "
                                "that process is stopped");
}

enum st_code st_log_lock_timeout(struct st_log *log)
{
    return lock_timeout(log, ST_LOCK_APPEND, log->wait_ms);
}

enum st_code st_log_refuse(struct st_log *log)
{
    st_fail(&log->fault, ST_READ_ONLY, "the state in %s is read-only here", log->dir);
    return st_hint(&log->fault,
                   "nothing was recorded; use the MCP tools of this session, or "
                   "ask the operator to open %s for writing",
                   log->dir);
}

enum st_code st_log_take(struct st_log *log, enum st_lock_kind kind, uint64_t wait_ms)
{
    const struct st_env *env = log->env;
    ST_ASSERT(!log->locked[kind]);
    if (log->read_only)
        return st_log_refuse(log);
    uint64_t start = 0, sleep_ns = LOCK_SLEEP_NS_MIN;
    int r, yields = 0;
    while ((r = env->lock_try(env->ctx, log->lock_fds[kind])) == -EWOULDBLOCK) {
        uint64_t now = env->boot_ns(env->ctx);
        if (start == 0)
            start = now;
        if (now - start >= wait_ms * ST_NS_PER_MS)
            return lock_timeout(log, kind, wait_ms);
        if (yields < LOCK_YIELDS) {
            env->sleep_ns(env->ctx, 0);
            yields++;
            continue;
        }
        env->sleep_ns(env->ctx, sleep_ns);
        sleep_ns = sleep_ns * 2 < LOCK_SLEEP_NS_MAX ? sleep_ns * 2 : LOCK_SLEEP_NS_MAX;
    }
    if (r < 0)
        return st_fail_system(&log->fault, r, "cannot lock %s", log->dir);
    log->locked[kind] = true;
    if (log->page != NULL) {
        struct st_holder *h = &log->page->holders[kind];
        h->process_id = log->process_id;
        memcpy(h->what, log->what, sizeof h->what);
        h->since_ms = env->wall_ms(env->ctx);
    }
    return ST_OK;
}

void st_log_drop(struct st_log *log, enum st_lock_kind kind)
{
    if (!log->locked[kind])
        return;
    if (log->page != NULL)
        log->page->holders[kind].process_id = 0;
    log->env->unlock(log->env->ctx, log->lock_fds[kind]);
    log->locked[kind] = false;
}
/* --- the tail --------------------------------------------------------------------------------- */

enum st_code st_tail_scan(struct st_log *log, int fd, struct st_writer w, struct st_tail *tail,
                          uint64_t last, bool *broken)
{
    struct st_log_reader r;
    enum st_code code = st_log_reader_open(&r, log->env, log->alloc, log->dir, w);
    if (code == ST_OK) {
        st_log_reader_seek(&r, tail->segment, tail->offset, tail->counter, tail->checksum);
        r.checksum_known = tail->checksum != 0;
        r.one_segment = true;
        struct st_str line;
        struct st_record head;
        while (tail->counter < last && (code = st_log_reader_next(&r, &line, &head)) == ST_OK)
            st_tail_after(tail, &head, r.offset);
        if (code == ST_NOT_FOUND || code == ST_DAMAGED)
            code = ST_OK;
    }
    if (code != ST_OK)
        log->fault = r.fault;
    st_log_reader_close(&r);
    if (code != ST_OK)
        return code;
    uint64_t begin = tail->offset, size;
    code = st_room_begins(log, fd, tail->offset, &begin, &size);
    *broken = begin > tail->offset;
    return code;
}

/* Copies [offset, size) of fd to a new file, durably. */
static enum st_code quarantine_copy(struct st_log *log, int fd, uint64_t offset, uint64_t size,
                                    const char *path)
{
    const struct st_env *env = log->env;
    char buf[4096];
    int to = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (to < 0)
        return st_fail_system(&log->fault, to, "cannot create %s", path);
    int r = 0;
    for (uint64_t at = offset; at < size && r >= 0;) {
        size_t want = size - at < sizeof buf ? (size_t)(size - at) : sizeof buf;
        ssize_t n = env->pread(env->ctx, fd, buf, want, at);
        if (n <= 0) {
            r = n < 0 ? (int)n : 0;
            break;
        }
        r = st_write_all(env, to, buf, (size_t)n, at - offset);
        at += (uint64_t)n;
    }
    if (r >= 0)
        r = env->fdatasync(env->ctx, to);
    env->close(env->ctx, to);
    return r < 0 ? st_fail_system(&log->fault, r, "cannot write %s", path) : ST_OK;
}

/* What is behind the tail, up to `end`. */
static enum st_code quarantine(struct st_log *log, int fd, const struct st_tail *tail, uint64_t end)
{
    const struct st_env *env = log->env;
    char name[96], parent[ST_PATH_SIZE];
    uint64_t unique;
    int r = env->random(env->ctx, &unique, sizeof unique);
    if (r < 0)
        return st_fail_system(&log->fault, r, "cannot get random numbers");
    snprintf(name, sizeof name, "%016" PRIu64 "-%" PRIu64 "-%08" PRIx32 ".tail", tail->segment,
             tail->offset, (uint32_t)unique);
    enum st_code code = st_path(&log->fault, log->quarantine_path, log->dir, "quarantine", name);
    if (code == ST_OK)
        code = st_path(&log->fault, parent, log->dir, "quarantine", NULL);
    if (code == ST_OK)
        code = quarantine_copy(log, fd, tail->offset, end, log->quarantine_path);
    if (code != ST_OK)
        return code;
    r = env->sync_directory(env->ctx, parent);
    st_point(log, "quarantine.copied");
    return r < 0 ? st_fail_system(&log->fault, r, "cannot flush %s", parent) : ST_OK;
}

enum st_code st_tail_cut(struct st_log *log, int fd, const struct st_tail *tail)
{
    uint64_t begin, size;
    enum st_code code = st_room_begins(log, fd, tail->offset, &begin, &size);
    if (code == ST_OK && begin > tail->offset)
        code = quarantine(log, fd, tail, begin);
    if (code != ST_OK || size <= tail->offset)
        return code;
    int r = log->env->ftruncate(log->env->ctx, fd, tail->offset);
    if (r < 0)
        return st_fail_system(&log->fault, r, "cannot cut the tail of the log in %s", log->dir);
    log->quarantined_size += begin - tail->offset;
    return ST_OK;
}

/*
 * The tail is not as the page says. If a flush was under way or failed, the kernel may have
 * dropped the pages that it could not write: the log goes on behind what was on disk. Otherwise
 * somebody changed it.
 */
static enum st_code tail_lost(struct st_log *log, const struct st_tail *tail, const char *how)
{
    if (st_atomic_load(&log->page->flushing) != 0 && st_page_durable(log->page) < tail->counter) {
        st_page_freeze(log, log->identity.epoch);
        return st_epoch_begin(log, "dead");
    }
    char path[ST_PATH_SIZE];
    enum st_code code =
        st_segment_path(&log->fault, path, log->dir, st_log_writer(log), tail->segment);
    if (code != ST_OK)
        return code;
    st_fail(&log->fault, ST_DAMAGED, "%s %s at byte %" PRIu64 "; nothing was recorded", path, how,
            tail->offset);
    return st_hint(
        &log->fault,
        "somebody changed the log by hand; run `strata doctor`, then `strata doctor --fix`");
}

/* The file must end where the page says, with the record that the page says. */
static enum st_code tail_verify(struct st_log *log)
{
    const struct st_env *env = log->env;
    struct st_tail tail;
    st_page_tail(log->page, &tail);
    if (tail.segment == 0)
        return ST_OK;
    enum st_code code = st_segment_open(log, tail.segment);
    if (code != ST_OK)
        return code;
    struct st_file_info info;
    int r = env->fstat(env->ctx, log->fd, &info);
    if (r < 0)
        return st_fail_system(&log->fault, r, "cannot look at the log in %s", log->dir);
    if (info.unlinked)
        return st_log_replaced(log);
    log->fd_size = info.size;
#ifndef ST_DEFECT_NO_TAIL_CHECK
    if (info.size < tail.offset)
        return tail_lost(log, &tail, "was cut");
    char end[ST_SEAL_SIZE + 1]; /* and the first byte behind it */
    uint64_t checksum;
    ssize_t n = env->pread(env->ctx, log->fd, end, sizeof end, tail.offset - ST_SEAL_SIZE);
    if (n < 0)
        return st_fail_system(&log->fault, (int)n, "cannot read the log in %s", log->dir);
    if (n < (ssize_t)ST_SEAL_SIZE || !st_parse_hex64(end + ST_SEAL_SIZE - 19, &checksum) ||
        checksum != tail.checksum)
        return tail_lost(log, &tail, "was changed");
    if (n > (ssize_t)ST_SEAL_SIZE && end[ST_SEAL_SIZE] != '\n') {
        bool broken = false;
        code = st_tail_scan(log, log->fd, st_log_writer(log), &tail, UINT64_MAX, &broken);
        if (code == ST_OK && broken)
            code = st_tail_cut(log, log->fd, &tail);
        if (code == ST_OK) {
            st_page_set_tail(log->page, &tail);
            st_atomic_add(&log->page->changes, 1u); /* whatever it was that they wrote */
        }
    }
#endif
    return code;
}

enum st_code st_log_lock(struct st_log *log)
{
    enum st_code code = st_log_take(log, ST_LOCK_APPEND, log->wait_ms);
    if (code != ST_OK)
        return code;
    st_point(log, "append.locked");
    if (!st_page_valid(log) || st_page_frozen(log->page))
        code = st_epoch_check(log);
    if (code == ST_OK)
        code = st_log_present(log, ST_LOOK_NS);
    if (code == ST_OK)
        code = tail_verify(log);
    if (code != ST_OK)
        st_log_drop(log, ST_LOCK_APPEND);
    else
        st_point(log, "append.verified");
    return code;
}

void st_log_unlock(struct st_log *log)
{
    st_log_drop(log, ST_LOCK_APPEND);
}

/* To the last whole record of the segment that the reader is in. */
static enum st_code read_to_end(struct st_log_reader *r, struct st_tail *out)
{
    enum st_code code;
    struct st_str line;
    struct st_record head;
    while ((code = st_log_reader_next(r, &line, &head)) == ST_OK) {
        out->segment = r->segment;
        st_tail_after(out, &head, r->offset);
    }
    return code == ST_NOT_FOUND || code == ST_DAMAGED ? ST_OK : code;
}

/* Without a page: what the files say. */
static enum st_code tail_from_files(struct st_log *log, struct st_tail *out)
{
    struct st_log_reader r;
    enum st_code code = st_log_reader_open(&r, log->env, log->alloc, log->dir, st_log_writer(log));
    memset(out, 0, sizeof *out);
    if (code == ST_OK)
        code = st_log_reader_find(&r, UINT64_MAX);
    uint64_t last = code == ST_OK ? r.segment : 0;
    if (code == ST_OK)
        code = read_to_end(&r, out);
    /* Whoever began the last one died before its first record was whole. */
    if (code == ST_OK && out->counter == 0 && last > 1) {
        code = st_log_reader_find(&r, last - 1);
        if (code == ST_OK)
            code = read_to_end(&r, out);
    }
    if (code == ST_NOT_FOUND || code == ST_DAMAGED)
        code = ST_OK;
    if (code != ST_OK)
        log->fault = r.fault;
    st_log_reader_close(&r);
    return code;
}

enum st_code st_log_tail(struct st_log *log, struct st_tail *out)
{
    enum st_code present = st_log_present(log, ST_LOOK_NS);
    if (present != ST_OK)
        return present;
    do {
        if (!st_page_valid(log) && !log->read_only) {
            /* Another process began a new epoch. */
            enum st_code code = st_log_lock(log);
            if (code != ST_OK)
                return code;
            st_log_unlock(log);
        }
        if (!st_page_valid(log)) {
            enum st_code code = st_identity_load(log);
            if (code != ST_OK)
                return code;
        }
        if (!st_page_valid(log))
            return tail_from_files(log, out);
        st_page_tail(log->page, out);
        /* Where an epoch began meanwhile, it may be that one's. */
    } while (!st_page_valid(log));
    return ST_OK;
}
