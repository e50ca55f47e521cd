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

enum verdict { VERDICT_WAIT, VERDICT_DURABLE, VERDICT_UNKNOWN };

static enum verdict verdict_of(const struct st_log *log, uint64_t epoch, uint64_t counter)
{
    const struct st_page *page = log->page;
    if (st_atomic_load(&page->magic) != ST_PAGE_MAGIC)
        return VERDICT_WAIT;
    if (st_atomic_load(&page->epoch) == epoch) {
        uint64_t mark = st_atomic_load(&page->durable);
        if (mark >> 48 != st_mark(epoch, 0) >> 48)
            return VERDICT_WAIT; /* a new epoch is beginning right now */
        if ((mark & ST_MARK_COUNTER) >= counter)
            return VERDICT_DURABLE;
        return (mark & ST_MARK_FROZEN) != 0 ? VERDICT_UNKNOWN : VERDICT_WAIT;
    }
    if (st_atomic_load(&page->previous_epoch) == epoch) {
        uint64_t end = st_atomic_load(&page->previous_durable);
        if (st_atomic_load(&page->previous_epoch) != epoch)
            return VERDICT_WAIT;
        return end >= counter ? VERDICT_DURABLE : VERDICT_UNKNOWN;
    }
    /* Two epochs on: the order of the fields in page_begin() makes this a moment's view at most. */
    return st_atomic_load(&page->magic) == ST_PAGE_MAGIC ? VERDICT_UNKNOWN : VERDICT_WAIT;
}

void st_page_publish(struct st_page *page, uint64_t epoch, uint64_t durable)
{
    uint64_t mark = st_mark(epoch, durable), old = st_atomic_load(&page->durable);
    /* Same epoch, not frozen, lower: all in one comparison of words. */
    while (old >> 47 == mark >> 47 && old < mark && !st_atomic_replace(&page->durable, &old, mark))
        ;
}

/* Those who sleep here, and those whose records are up to `counter`. */
static void wake_all(struct st_log *log, uint64_t epoch, uint64_t counter)
{
    struct st_page *page = log->page;
    uint32_t wake = st_atomic_add(&page->wake, 1u);
    /* On the value before, or, if somebody was that quick, on this one. */
    uint32_t sleepers = st_atomic_load(&page->sleepers);
    if ((sleepers & 0xffff) != 0 && ((wake - (sleepers >> 16)) & 0xffff) <= 1)
        log->env->futex_wake_all(log->env->ctx, &page->wake);
    st_posts_wake(log, epoch, counter);
}

void st_page_freeze(struct st_log *log, uint64_t epoch)
{
    struct st_page *page = log->page;
    uint64_t tag = st_mark(epoch, 0) >> 48, old = st_atomic_load(&page->durable);
    while (old >> 48 == tag && !st_atomic_replace(&page->durable, &old, old | ST_MARK_FROZEN))
        ;
    wake_all(log, epoch, UINT64_MAX);
}

/* Clears the mark of a flush, unless it is another's by now. */
static void flushing_clear(struct st_page *page, uint64_t mark)
{
    st_atomic_replace(&page->flushing, &mark, (uint64_t)0);
}

enum st_code st_flush_unknown(struct st_log *log)
{
    st_fail(&log->fault, ST_OUTCOME_UNKNOWN,
            "the disk failed to flush the log in %s: whether this write is kept is unknown",
            log->dir);
    return st_hint(&log->fault, "look with `strata log` whether it is there before writing it "
                                "again; check the disk");
}

/* Flushes log->fd, which holds everything above the watermark of this epoch up to `target`. A new
 * epoch may begin meanwhile: then the result is of no use to anybody, and does no harm. */
static enum st_code flush_to(struct st_log *log, uint64_t target)
{
    const struct st_env *env = log->env;
    struct st_page *page = log->page;
    uint64_t epoch = log->fd_epoch, mark = st_mark(epoch, target);
    st_atomic_store(&page->flushing, mark);
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
        st_page_freeze(log, epoch);
    else
        st_page_publish(page, epoch, target);
    st_point(log, "flush.published");
    flushing_clear(page, mark);
    return r < 0 ? st_flush_unknown(log) : ST_OK;
}

/* The append lock is held and the flush lock is, or its holder does not move: writes what is
 * above the watermark again, in place, and flushes it. */
static enum st_code rescue(struct st_log *log)
{
    struct st_tail tail;
    st_page_tail(log->page, &tail);
    uint64_t durable = st_page_durable(log->page);
    if (tail.segment == 0 || durable >= tail.counter || st_page_frozen(log->page)) {
        st_atomic_store(&log->page->flushing, (uint64_t)0);
        return ST_OK;
    }
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
    st_page_freeze(log, log->identity.epoch);
    return st_flush_unknown(log);
}

/* The flush lock is held. *lost: a flusher died at work, a rescue is needed. */
static enum st_code flush_once(struct st_log *log, bool *lost)
{
    struct st_tail tail;
    st_page_tail(log->page, &tail);
    *lost = false;
    /* The tail is of this epoch if the page still is: the page gets its name before its tail. */
    if (!st_page_valid(log))
        return ST_OK;
#ifndef ST_DEFECT_LOST_FLUSHER
    if (st_atomic_load(&log->page->flushing) != 0) {
        *lost = true;
        return ST_OK;
    }
#endif
    if (tail.segment == 0 || st_page_durable(log->page) >= tail.counter ||
        st_page_frozen(log->page))
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

/* Those whom a flush has released, when its lock is free: before, they would find it held, and sleep again. */
static void wake_released(struct st_log *log, uint64_t durable_before)
{
    uint64_t epoch = st_atomic_load(&log->page->epoch), durable = st_page_durable(log->page);
    if (durable != durable_before)
        wake_all(log, epoch, durable);
}

enum st_code st_flush_all(struct st_log *log)
{
    ST_ASSERT(log->locked[ST_LOCK_APPEND]);
    const struct st_env *env = log->env;
    uint64_t start = env->boot_ns(env->ctx), durable = st_page_durable(log->page);
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
    wake_released(log, durable);
    struct st_tail tail;
    st_page_tail(log->page, &tail);
    if (code == ST_OK && st_page_durable(log->page) < tail.counter)
        code = st_flush_unknown(log);
    return code;
}

/* For a waiter that nobody helps: takes the append lock, finishes an epoch change that somebody
 * left half done, or does what rescue() does. */
static enum st_code help(struct st_log *log)
{
    enum st_code code = st_log_take(log, ST_LOCK_APPEND, log->wait_ms);
    if (code != ST_OK)
        return code;
    if (st_page_valid(log) && !st_page_frozen(log->page))
        code = st_flush_all(log);
    else
        code = st_epoch_check(log);
    st_log_drop(log, ST_LOCK_APPEND);
    return code;
}

enum st_code st_log_not_in_time(struct st_log *log)
{
    st_fail(&log->fault, ST_TIMEOUT,
            "the write is in the log, but it was not flushed within %" PRIu64 " ms", log->wait_ms);
    return st_hint(&log->fault,
                   "do not write it again: `strata log` shows it; look whether the disk or the "
                   "process that flushes hangs");
}

/* What goes wrong here is no answer to the question whether the record is on disk: the verdict is, or the
 * time-out. */
bool st_flush_try(struct st_log *log, bool stalled)
{
    bool lost = stalled || !st_page_valid(log);
    uint64_t durable = st_page_durable(log->page);
    if (!lost && flush_lock_try(log) >= 0) {
        enum st_code code = flush_once(log, &lost);
        flush_unlock(log);
        wake_released(log, durable);
        if (code == ST_OK && !lost)
            return true;
    }
    return lost && help(log) == ST_OK;
}

/* Somebody is about to sleep on this value of the word, if it still has that. */
static void sleeper_add(struct st_page *page, uint32_t wake)
{
    uint32_t old = st_atomic_load(&page->sleepers), now;
    do {
        uint16_t later = (uint16_t)((old >> 16) - wake);
        if (later != 0 && later < 0x8000 && (old & 0xffff) != 0)
            return; /* it has another by now, on which others sleep */
        now = later == 0 && (old & 0xffff) != 0xffff ? old + 1 : wake << 16 | 1;
    } while (!st_atomic_replace(&page->sleepers, &old, now));
}

/* One round of helping or sleeping. */
static void wait_round(struct st_log *log, uint32_t seen_wake, bool stalled)
{
    const struct st_env *env = log->env;
    if (st_flush_try(log, stalled)) {
        st_posts_hand_over(log);
        return;
    }
    sleeper_add(log->page, seen_wake);
    /* Woken by a flush that did not cover it, and too quick to get its lock: the next flush is mostly of that
     * same process, and covers both, but it may be gone. */
    bool flushing = st_atomic_load(&log->page->flushing) != 0;
    env->futex_wait(env->ctx, &log->page->wake, seen_wake,
                    flushing ? ST_SLEEP_NS_MAX : ST_SLEEP_NS_MAX / 20);
}

enum st_code st_log_verdict(struct st_log *log, uint64_t epoch, uint64_t counter)
{
    enum verdict v = verdict_of(log, epoch, counter);
    return v == VERDICT_DURABLE   ? ST_OK
           : v == VERDICT_UNKNOWN ? st_flush_unknown(log)
                                  : ST_NOT_FOUND;
}

bool st_log_durable(const struct st_log *log, uint64_t epoch, uint64_t counter)
{
    return log->page != NULL && verdict_of(log, epoch, counter) == VERDICT_DURABLE;
}

void st_patience_begin(struct st_log *log, struct st_patience *p)
{
    log->awaited++;
    uint64_t now = log->env->boot_ns(log->env->ctx);
    *p = (struct st_patience){.start = now, .moved = now};
}

bool st_patience_lasts(const struct st_log *log, struct st_patience *p, bool *stalled)
{
    uint64_t now = log->env->boot_ns(log->env->ctx), durable = st_page_durable(log->page);
    if (now - p->start >= log->wait_ms * ST_NS_PER_MS)
        return false;
    if (durable != p->watermark)
        p->moved = now;
    p->watermark = durable;
    *stalled = now - p->moved >= ST_FLUSH_STALL_NS;
    if (*stalled)
        p->moved = now;
    return true;
}

enum st_code st_log_wait_durable(struct st_log *log, uint64_t epoch, uint64_t counter)
{
    ST_ASSERT(!log->locked[ST_LOCK_APPEND] && log->page != NULL);
    struct st_patience patience;
    st_patience_begin(log, &patience);
    for (;;) {
        uint32_t wake = st_atomic_load(&log->page->wake);
        bool stalled;
        enum st_code code = st_log_verdict(log, epoch, counter);
        if (code != ST_NOT_FOUND)
            return code;
#ifdef ST_DEFECT_EARLY_ACK
        if (st_atomic_load(&log->page->flushing) != 0)
            return ST_OK;
#endif
        if (!st_patience_lasts(log, &patience, &stalled))
            return st_log_not_in_time(log);
        wait_round(log, wake, stalled);
    }
}
