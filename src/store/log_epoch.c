/*
 * log_epoch.c - epochs: when this may not be the log that it was, a new one begins.
 *
 * A new epoch is made in this order, so that a crash anywhere leaves either the old epoch, frozen,
 * or the new one complete: flush and freeze the old log, settle its tail, write the new epoch's
 * first record, replace the identity, set up the page. Whoever finds a frozen page, or one that
 * does not belong to the identity, does it all again; a directory with one record that nobody
 * refers to may be left behind.
 */
#include "store/log_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum st_code st_random_id(struct st_log *log, uint64_t *out)
{
    do {
        int r = log->env->random(log->env->ctx, out, sizeof *out);
        if (r < 0)
            return st_fail_system(&log->fault, r, "cannot get random numbers");
    } while (*out == 0);
    return ST_OK;
}

struct settled {
    struct st_tail tail;      /* of the old log */
    struct st_vector context; /* all that this replica has: the old log's context and itself */
};

/* The segment of writer w that holds `counter`, or would; 0 when there is none. */
static enum st_code segment_of(struct st_log *log, struct st_writer w, uint64_t counter,
                               uint64_t *segment)
{
    char path[ST_PATH_SIZE];
    enum st_code code = st_writer_path(&log->fault, path, log->dir, w);
    if (code != ST_OK)
        return code;
    return st_segment_find(log->env, path, counter, segment, &log->fault);
}

static enum st_code damaged(struct st_log *log, struct st_writer w, const struct st_tail *tail,
                            uint64_t watermark)
{
    char path[ST_PATH_SIZE];
    enum st_code code = st_segment_path(&log->fault, path, log->dir, w, tail->segment);
    if (code != ST_OK)
        return code;
    st_fail(&log->fault, ST_DAMAGED,
            "%s is damaged at byte %" PRIu64 ": record %" PRIu64 " cannot be read, though %" PRIu64
            " records were on disk",
            path, tail->offset, tail->counter + 1, watermark);
    return st_hint(&log->fault,
                   "nothing was changed; run `strata doctor`, and restore the file from a copy or "
                   "another replica, or let `strata doctor --fix` move the damage aside");
}

/* Scans one segment of the old log, cuts what is broken, flushes what stays. *more: the next
 * segment follows without a gap. */
static enum st_code settle_segment(struct st_log *log, struct st_writer w, uint64_t watermark,
                                   bool cut, struct st_tail *tail, bool *more)
{
    const struct st_env *env = log->env;
    char path[ST_PATH_SIZE];
    *more = false;
    enum st_code code = st_segment_path(&log->fault, path, log->dir, w, tail->segment);
    if (code != ST_OK)
        return code;
    int fd = env->open(env->ctx, path, ST_OPEN_WRITE);
    if (fd == -ENOENT)
        return ST_OK;
    if (fd < 0)
        return st_fail_system(&log->fault, fd, "cannot open %s", path);
    bool broken;
    /* A frozen log ends at its watermark: what the page cache shows behind that may be lost on
     * disk. */
    struct st_tail scan = *tail;
    code = st_tail_scan(log, fd, w, &scan, cut ? watermark : UINT64_MAX, &broken);
    if (code == ST_OK && scan.counter < watermark && broken && !log->repairing)
        code = damaged(log, w, &scan, watermark);
    if (code == ST_OK && (scan.counter >= watermark || log->repairing))
        code = st_tail_cut(log, fd, &scan);
    if (code == ST_OK) {
        int r = env->fdatasync(env->ctx, fd);
        if (r < 0)
            code = st_fail_system(&log->fault, r, "cannot flush %s", path);
    }
    env->close(env->ctx, fd);
    if (code == ST_OK) {
        *more = !broken && scan.counter > tail->counter;
        *tail = scan;
    }
    return code;
}

/* What the page tells of the old log. */
struct end {
    uint64_t watermark; /* up to here it was on disk */
    bool cut;           /* what is behind it does not count */
};

/*
 * Ends the old epoch for every process: flushes it if that can still be done, then freezes the
 * watermark. A page from before a reboot, or one that was copied, only tells what was on disk; in a
 * copy not even that.
 */
static enum st_code freeze(struct st_log *log, bool copied, struct end *end)
{
    *end = (struct end){0};
    if (!st_page_of_epoch(log) || copied)
        return ST_OK;
    bool running = st_page_valid(log);
    if (running && !st_page_frozen(log->page)) {
        enum st_code code = st_flush_all(log);
        if (code != ST_OK && code != ST_OUTCOME_UNKNOWN)
            return code;
    }
    st_page_freeze(log, log->identity.epoch);
    st_point(log, "epoch.frozen");
    end->watermark = st_page_durable(log->page);
    end->cut = running;
    return ST_OK;
}

/* Nobody knows whether a copy is on disk. */
static enum st_code flush_copy(struct st_log *log)
{
    const struct st_env *env = log->env;
    struct st_writer *writers = NULL;
    size_t count = 0;
    enum st_code code = st_log_writers(env, log->alloc, log->dir, &writers, &count);
    if (code != ST_OK)
        return st_fail(&log->fault, code, "cannot list the logs in %s", log->dir);
    for (size_t i = 0; i < count && code == ST_OK; i++)
        code = st_writer_flush(log, writers[i]);
    if (writers != NULL)
        log->alloc->resize(log->alloc->ctx, writers, 0);
    return code;
}

struct aside {
    struct st_log *log;
    struct st_writer w;
    uint64_t counter;
    enum st_code code;
};

static int move_aside(void *arg, const char *name)
{
    struct aside *a = arg;
    char dir[ST_PATH_SIZE], from[ST_PATH_SIZE], to[ST_PATH_SIZE], aside[80];
    if (strtoull(name, NULL, 10) <= a->counter)
        return 0;
    snprintf(aside, sizeof aside, "%016" PRIx64 "-%.40s", a->w.epoch, name);
    a->code = st_writer_path(&a->log->fault, dir, a->log->dir, a->w);
    if (a->code == ST_OK)
        a->code = st_path(&a->log->fault, from, dir, name, NULL);
    if (a->code == ST_OK)
        a->code = st_path(&a->log->fault, to, a->log->dir, "quarantine", aside);
    int r = a->code == ST_OK ? a->log->env->rename(a->log->env->ctx, from, to) : 0;
    if (r < 0)
        a->code = st_fail_system(&a->log->fault, r, "cannot move %s aside", from);
    return a->code == ST_OK ? 0 : -EIO;
}

enum st_code st_segments_aside(struct st_log *log, struct st_writer w, uint64_t counter)
{
    struct aside a = {log, w, counter, ST_OK};
    char dir[ST_PATH_SIZE];
    enum st_code code = st_writer_path(&log->fault, dir, log->dir, w);
    if (code != ST_OK)
        return code;
    int r = log->env->list(log->env->ctx, dir, move_aside, &a);
    if (a.code != ST_OK)
        return a.code;
    if (r >= 0)
        r = log->env->sync_directory(log->env->ctx, dir);
    return r < 0 && r != -ENOENT ? st_fail_system(&log->fault, r, "cannot list %s", dir) : ST_OK;
}

/*
 * The old log as it stays for ever: from the persisted watermark on everything is verified, what
 * is broken is moved to quarantine, the rest is flushed.
 */
static enum st_code settle(struct st_log *log, struct st_writer w, const struct end *old_end,
                           struct settled *out)
{
    uint64_t watermark = old_end->watermark;
    uint64_t segment = 0;
    enum st_code code =
        segment_of(log, w, watermark > 0 && !log->repairing ? watermark : 1, &segment);
    if (code != ST_OK)
        return code;
    struct st_tail tail = {.segment = segment, .counter = segment > 0 ? segment - 1 : 0};
    bool more = segment > 0;
    while (code == ST_OK && more) {
        struct st_tail next = tail;
        if (tail.counter >= segment) {
            next.segment = tail.counter + 1;
            next.offset = 0;
        }
        uint64_t before = tail.counter;
        code = settle_segment(log, w, watermark, old_end->cut, &next, &more);
        if (code == ST_OK && next.counter > before)
            tail = next;
    }
    if (code != ST_OK)
        return code;
    if (tail.counter < watermark && !log->repairing)
        return damaged(log, w, &tail, watermark);
    if (tail.counter < watermark)
        code = st_segments_aside(log, w, tail.counter);
    if (code != ST_OK)
        return code;
    out->tail = tail;
    if (tail.counter > 0) {
        code = st_context_read(log, w, NULL, &tail, &out->context);
        if (code == ST_OK && !st_vector_raise(&out->context, w, tail.counter))
            code = st_fail(&log->fault, ST_LIMIT, "this replica has had more than %d epochs",
                           ST_WRITERS_MAX);
    }
    return code;
}

/* Writes the new epoch's first record, flushed, if there is a context to tell. */
static enum st_code first_record(struct st_log *log, const struct st_identity *id,
                                 const struct settled *old, struct st_tail *tail)
{
    const struct st_env *env = log->env;
    struct st_writer w = {id->replica, id->epoch};
    char path[ST_PATH_SIZE], parent[ST_PATH_SIZE];
    enum st_code code = st_writer_path(&log->fault, path, log->dir, w);
    if (code == ST_OK)
        code = st_path(&log->fault, parent, log->dir, "log", NULL);
    if (code != ST_OK)
        return code;
    int r = env->mkdir(env->ctx, path);
    if (r < 0)
        return st_fail_system(&log->fault, r, "cannot create %s", path);
    memset(tail, 0, sizeof *tail);
    if (old->context.count > 0) {
        code = st_segment_begin(log, w, &old->context, &old->tail, tail);
        if (code != ST_OK)
            return code;
    }
    r = env->sync_directory(env->ctx, parent);
    return r < 0 ? st_fail_system(&log->fault, r, "cannot flush %s", parent) : ST_OK;
}

void st_suffix_renew(struct st_identity *id)
{
    snprintf(id->number_suffix, sizeof id->number_suffix, "%s-%06" PRIx64, id->name,
             id->epoch & 0xffffffu);
}

/* Whether others may make, or know, numbers that this log would give out next. */
static bool suffix_is_due(const char *reason)
{
#ifdef ST_DEFECT_KEEP_SUFFIX
    (void)reason;
    return false;
#else
    static const char *const reasons[] = {"join", "copy", "doubt", "repair"};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (strcmp(reason, reasons[i]) == 0)
            return true;
    return false;
#endif
}

/* Records that a failed flush lost may have been read, and their numbers with them. */
static uint64_t page_number(const struct st_log *log)
{
    struct st_tail tail = {0};
    if (st_page_valid(log))
        st_page_tail(log->page, &tail);
    return tail.number;
}

enum st_code st_epoch_begin(struct st_log *log, const char *reason)
{
    ST_ASSERT(log->locked[ST_LOCK_APPEND] && log->page != NULL);
    bool resumed = false;
    enum st_code code = st_mend_resume(log, &resumed);
    /* A copy of a state that is in the middle of it comes to the same new epoch as the state. */
    if (code != ST_OK || (resumed && strcmp(reason, "copy") != 0))
        return code;
    struct st_identity id = log->identity;
    struct st_writer old_writer = {id.replica, id.epoch};
    struct settled old = {0};
    st_vector_init(&old.context, log->alloc);
    st_point(log, "epoch.begin");
    bool copied = strcmp(reason, "copy") == 0;
    struct end end = {0};
    if (copied)
        code = flush_copy(log);
    if (code == ST_OK && id.epoch != 0)
        code = freeze(log, copied, &end);
    if (code == ST_OK && id.epoch != 0)
        code = settle(log, old_writer, &end, &old);
#ifndef ST_DEFECT_NUMBERS_FROM_DISK
    if (code == ST_OK && page_number(log) > old.tail.number)
        old.tail.number = page_number(log);
#endif
    uint64_t random;
    if (code == ST_OK)
        code = st_random_id(log, &random);
    if (code == ST_OK)
        code = st_fingerprint(log, &id);
    struct st_tail tail = {0};
    if (code == ST_OK) {
        uint64_t ordinal = st_epoch_ordinal(id.epoch) + 1;
        id.epoch = ordinal << 48 | (random & 0xffffffffffffu);
        memcpy(id.boot_id, log->boot_id, 16);
        snprintf(id.reason, sizeof id.reason, "%s", reason);
        if (suffix_is_due(reason))
            st_suffix_renew(&id);
        code = first_record(log, &id, &old, &tail);
    }
    st_point(log, "epoch.recorded");
    if (code == ST_OK)
        code = st_identity_store(log, &id);
    st_point(log, "epoch.stored");
    if (code == ST_OK) {
        st_segment_close(log);
        log->identity = id;
        st_page_begin(log, &tail);
        log->began_epoch = true;
    }
    st_vector_release(&old.context);
    return code;
}

/* A version before this one, which made no numbers, has written here in this boot. */
static bool page_is_older(const struct st_log *log)
{
    const struct st_page *page = log->page;
    return page != NULL && st_atomic_load(&page->magic) == ST_PAGE_MAGIC && page->version == 1 &&
           page->epoch == log->identity.epoch;
}

/* Why a new epoch is due, or NULL. */
enum st_code st_epoch_due(struct st_log *log, const char **reason)
{
    struct st_identity now = {0};
    *reason = NULL;
    enum st_code code = st_fingerprint(log, &now);
    if (code != ST_OK)
        return code;
    if (memcmp(log->identity.boot_id, log->boot_id, 16) != 0)
        *reason = "boot";
    else if (!st_fingerprint_same(&log->identity, &now))
        *reason = "copy";
    else if (!st_page_valid(log))
        *reason = page_is_older(log) ? "upgrade" : "doubt";
    else if (st_page_frozen(log->page))
        *reason = "dead";
    return ST_OK;
}

enum st_code st_epoch_check(struct st_log *log)
{
    enum st_code code = st_identity_load(log);
    const char *reason = NULL;
    if (code == ST_OK)
        code = st_epoch_due(log, &reason);
    if (code == ST_OK && reason != NULL)
        code = st_epoch_begin(log, reason);
    return code;
}

enum st_code st_log_renew(struct st_log *log, const char *reason)
{
    enum st_code code = st_log_lock(log);
    if (code != ST_OK)
        return code;
    code = st_epoch_begin(log, reason);
    st_log_unlock(log);
    return code;
}

enum st_code st_log_set_workspace(struct st_log *log, uint64_t workspace)
{
    enum st_code code = st_log_lock(log);
    if (code != ST_OK)
        return code;
    struct st_identity id = log->identity;
    id.workspace = workspace;
    st_suffix_renew(&id);
    code = st_identity_store(log, &id);
    if (code == ST_OK)
        log->identity = id;
    st_log_unlock(log);
    return code;
}
