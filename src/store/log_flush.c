/*
 * log_flush.c - the durable watermark: one process flushes for all.
 *
 * Linux reports a write-back error once to every descriptor that was open when it happened. So
 * the result of a flush may be lost only with its process, and `flushing` tells that it was
 * under way. Whoever then comes cannot know whether pages were dropped; it verifies what is in
 * the page cache, writes it again in place and flushes that ("rescue"). The same helps when the
 * flusher is stopped: a rescue needs the append lock, not the flush lock.
 */
#include "store/log_internal.h"

#include <errno.h>
#include <inttypes.h>

/* Upper bound of one sleep: a process that is killed between its flush and the wake-up costs the
 * others this much. Nanoseconds. */
#define SLEEP_NS_MAX 20000000ull

enum verdict { VERDICT_WAIT, VERDICT_DURABLE, VERDICT_UNKNOWN };

static enum verdict verdict_of(const struct st_log *log, uint64_t epoch, uint64_t counter)
{
    const struct st_page *page = log->page;
    if (st_atomic_load(&page->magic) != ST_PAGE_MAGIC)
        return VERDICT_WAIT;
    if (st_atomic_load(&page->epoch) == epoch) {
        uint64_t durable = st_atomic_load(&page->durable);
        bool dead = st_atomic_load(&page->dead) != 0;
        /* A new epoch sets its own watermark only after its name. */
        if (st_atomic_load(&page->epoch) != epoch)
            return VERDICT_WAIT;
        if (durable >= counter)
            return VERDICT_DURABLE;
        return dead ? VERDICT_UNKNOWN : VERDICT_WAIT;
    }
    if (st_atomic_load(&page->previous_epoch) == epoch)
        return st_atomic_load(&page->previous_durable) >= counter ? VERDICT_DURABLE
                                                                  : VERDICT_UNKNOWN;
    return VERDICT_UNKNOWN;
}

void st_page_publish(const struct st_log *log, uint64_t durable)
{
    struct st_page *page = log->page;
    uint64_t old = st_atomic_load(&page->durable);
    while (old < durable && !__atomic_compare_exchange_n(&page->durable, &old, durable, false,
                                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
        ;
}

static void wake_all(const struct st_log *log)
{
    st_atomic_add(&log->page->wake, 1u);
    if (st_atomic_load(&log->page->sleepers) != 0)
        log->env->futex_wake_all(log->env->ctx, &log->page->wake);
}

static enum st_code unknown(struct st_log *log)
{
    st_fail(&log->fault, ST_OUTCOME_UNKNOWN,
            "the disk failed to flush the log in %s: whether this write is kept is unknown",
            log->dir);
    return st_hint(&log->fault, "look with `strata log` whether it is there before writing it "
                                "again; check the disk");
}

/* Flushes log->fd, which holds everything above the watermark up to `target`. */
static enum st_code flush_to(struct st_log *log, uint64_t target)
{
    const struct st_env *env = log->env;
    struct st_page *page = log->page;
    st_atomic_store(&page->flushing, target);
    st_point(log, "flush.marked");
#ifdef ST_DEFECT_SKIP_FLUSH
    int r = 0;
#else
    int r = env->fdatasync(env->ctx, log->fd);
#endif
    st_point(log, "flush.done");
#ifdef ST_DEFECT_DURABLE_AFTER_FAILED_FLUSH
    r = 0;
#endif
    if (r < 0)
        st_atomic_store(&page->dead, 1u);
    else
        st_page_publish(log, target);
    st_point(log, "flush.published");
    st_atomic_store(&page->flushing, (uint64_t)0);
    wake_all(log);
    return r < 0 ? unknown(log) : ST_OK;
}

/* The append lock is held and the flush lock is, or its holder does not move: writes what is
 * above the watermark again, in place, and flushes it. */
static enum st_code rescue(struct st_log *log)
{
    struct st_tail tail;
    st_page_tail(log->page, &tail);
    uint64_t durable = st_atomic_load(&log->page->durable);
    if (tail.segment == 0 || durable >= tail.counter || st_atomic_load(&log->page->dead) != 0)
        return ST_OK;
    enum st_code code = st_segment_open(log, tail.segment);
    if (code != ST_OK)
        return code;
    struct st_log_reader r;
    code = st_log_reader_open(&r, log->env, log->alloc, log->dir, st_log_writer(log));
    st_log_reader_seek(&r, tail.segment, 0, tail.segment - 1, 0);
    r.checksum_known = false;
    r.one_segment = true;
    while (code == ST_OK && r.counter < tail.counter) {
        struct st_str line;
        struct st_record head;
        code = st_log_reader_next(&r, &line, &head);
        if (code != ST_OK || r.counter <= durable)
            continue;
        int e = st_write_all(log->env, log->fd, line.p, line.n, r.line_offset);
        if (e < 0)
            code = st_fail_system(&r.fault, e, "cannot write to the log in %s", log->dir);
    }
    st_log_reader_close(&r);
    if (code == ST_OK)
        return flush_to(log, tail.counter);
    /* What the page cache held is gone: those who wait cannot be told more. */
    st_atomic_store(&log->page->dead, 1u);
    st_atomic_store(&log->page->flushing, (uint64_t)0);
    wake_all(log);
    return unknown(log);
}

/* The flush lock is held. *lost: a flusher died at work, a rescue is needed. */
static enum st_code flush_once(struct st_log *log, bool *lost)
{
    struct st_tail tail;
    st_page_tail(log->page, &tail);
    *lost = false;
#ifndef ST_DEFECT_LOST_FLUSHER
    if (st_atomic_load(&log->page->flushing) != 0) {
        *lost = true;
        return ST_OK;
    }
#endif
    if (tail.segment == 0 || st_atomic_load(&log->page->durable) >= tail.counter)
        return ST_OK;
    enum st_code code = st_segment_open(log, tail.segment);
    return code == ST_OK ? flush_to(log, tail.counter) : code;
}

static int flush_lock_try(struct st_log *log)
{
    return log->env->lock_try(log->env->ctx, log->lock_fds[ST_LOCK_FLUSH]);
}

static void flush_unlock(struct st_log *log)
{
    log->env->unlock(log->env->ctx, log->lock_fds[ST_LOCK_FLUSH]);
}

enum st_code st_flush_all(struct st_log *log)
{
    ST_ASSERT(log->locked[ST_LOCK_APPEND]);
    const struct st_env *env = log->env;
    uint64_t start = env->boot_ns(env->ctx);
    int r;
    while ((r = flush_lock_try(log)) == -EWOULDBLOCK &&
           env->boot_ns(env->ctx) - start < ST_FLUSH_STALL_NS)
        env->sleep_ns(env->ctx, 50000);
    if (r < 0 && r != -EWOULDBLOCK)
        return st_fail_system(&log->fault, r, "cannot lock %s", log->dir);
    bool lost = true;
    enum st_code code = ST_OK;
    if (r >= 0)
        code = flush_once(log, &lost);
    if (code == ST_OK && lost)
        code = rescue(log);
    if (r >= 0)
        flush_unlock(log);
    if (code == ST_OK && st_atomic_load(&log->page->dead) != 0)
        code = unknown(log);
    return code;
}

/* As rescue(), for a process that holds no lock yet. */
static enum st_code rescue_unlocked(struct st_log *log)
{
    enum st_code code = st_log_take(log, ST_LOCK_APPEND, log->wait_ms);
    if (code != ST_OK)
        return code;
    if (st_page_valid(log) && st_atomic_load(&log->page->dead) == 0)
        code = st_flush_all(log);
    st_log_drop(log, ST_LOCK_APPEND);
    return code == ST_OUTCOME_UNKNOWN ? ST_OK : code; /* the verdict tells */
}

static enum st_code not_in_time(struct st_log *log)
{
    st_fail(&log->fault, ST_TIMEOUT,
            "the write is in the log, but it was not flushed within %" PRIu64 " ms", log->wait_ms);
    return st_hint(&log->fault,
                   "do not write it again: `strata log` shows it; look whether the disk or the "
                   "process that flushes hangs");
}

/* One round of helping or sleeping. */
static enum st_code wait_round(struct st_log *log, uint32_t seen_wake, bool stalled)
{
    const struct st_env *env = log->env;
    bool lost = false;
    enum st_code code = ST_OK;
    if (stalled)
        return rescue_unlocked(log);
    int r = flush_lock_try(log);
    if (r >= 0) {
        code = flush_once(log, &lost);
        flush_unlock(log);
        if (code == ST_OUTCOME_UNKNOWN)
            code = ST_OK; /* the verdict tells, for this record */
        return lost ? rescue_unlocked(log) : code;
    }
    if (r != -EWOULDBLOCK)
        return st_fail_system(&log->fault, r, "cannot lock %s", log->dir);
    st_atomic_add(&log->page->sleepers, 1u);
    env->futex_wait(env->ctx, &log->page->wake, seen_wake, SLEEP_NS_MAX);
    st_atomic_add(&log->page->sleepers, (uint32_t)-1);
    return ST_OK;
}

enum st_code st_log_wait_durable(struct st_log *log, uint64_t epoch, uint64_t counter)
{
    const struct st_env *env = log->env;
    ST_ASSERT(!log->locked[ST_LOCK_APPEND] && log->page != NULL);
    uint64_t start = env->boot_ns(env->ctx), moved = start, watermark = 0;
    for (;;) {
        uint32_t wake = st_atomic_load(&log->page->wake);
        enum verdict v = verdict_of(log, epoch, counter);
        if (v == VERDICT_DURABLE)
            return ST_OK;
        if (v == VERDICT_UNKNOWN)
            return unknown(log);
#ifdef ST_DEFECT_EARLY_ACK
        if (st_atomic_load(&log->page->flushing) != 0)
            return ST_OK;
#endif
        uint64_t now = env->boot_ns(env->ctx);
        if (now - start >= log->wait_ms * ST_NS_PER_MS)
            return not_in_time(log);
        if (st_atomic_load(&log->page->durable) != watermark) {
            watermark = st_atomic_load(&log->page->durable);
            moved = now;
        }
        bool stalled = now - moved >= ST_FLUSH_STALL_NS;
        if (stalled)
            moved = now;
        enum st_code code = wait_round(log, wake, stalled);
        if (code != ST_OK && code != ST_UNAVAILABLE)
            return code;
    }
}
