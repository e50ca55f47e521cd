/* log_append.c - segments, and appending: take the next counter, write once. */
#include "store/log_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t st_checksum(const void *p, size_t n)
{
    return XXH3_64bits(p, n);
}
/* --- segments --------------------------------------------------------------------------------- */

int st_write_all(const struct st_env *env, int fd, const void *buf, size_t n, uint64_t offset)
{
    ssize_t r = env->pwrite(env->ctx, fd, buf, n, offset);
    if (r < 0)
        return (int)r;
    return (size_t)r == n ? 0 : -ENOSPC;
}

void st_segment_close(struct st_log *log)
{
    if (log->fd >= 0)
        log->env->close(log->env->ctx, log->fd);
    log->fd = -1;
}

enum st_code st_segment_open(struct st_log *log, uint64_t segment)
{
    const struct st_env *env = log->env;
    if (log->fd >= 0 && log->fd_segment == segment && log->fd_epoch == log->identity.epoch)
        return ST_OK;
    st_segment_close(log);
    char path[ST_PATH_SIZE];
    enum st_code code = st_segment_path(&log->fault, path, log->dir, st_log_writer(log), segment);
    if (code != ST_OK)
        return code;
    int fd = env->open(env->ctx, path, ST_OPEN_WRITE);
    if (fd < 0)
        return st_fail_system(&log->fault, fd, "cannot open %s", path);
    log->fd = fd;
    log->fd_segment = segment;
    log->fd_epoch = log->identity.epoch;
    return ST_OK;
}
/* Flushes all segments of a writer and their names. */
struct flush_work {
    struct st_log *log;
    struct st_writer w;
};

static int flush_segment(void *arg, const char *name)
{
    struct flush_work *f = arg;
    const struct st_env *env = f->log->env;
    char dir[ST_PATH_SIZE], path[ST_PATH_SIZE];
    if (st_writer_path(&f->log->fault, dir, f->log->dir, f->w) != ST_OK ||
        st_path(&f->log->fault, path, dir, name, NULL) != ST_OK)
        return -ENAMETOOLONG;
    int fd = env->open(env->ctx, path, ST_OPEN_WRITE);
    if (fd < 0)
        return fd;
    int r = env->fdatasync(env->ctx, fd);
    env->close(env->ctx, fd);
    return r;
}

enum st_code st_writer_flush(struct st_log *log, struct st_writer w)
{
    struct flush_work f = {log, w};
    char dir[ST_PATH_SIZE];
    enum st_code code = st_writer_path(&log->fault, dir, log->dir, w);
    if (code != ST_OK)
        return code;
    int r = log->env->list(log->env->ctx, dir, flush_segment, &f);
    if (r >= 0)
        r = log->env->sync_directory(log->env->ctx, dir);
    return r < 0 ? st_fail_system(&log->fault, r, "cannot flush %s", dir) : ST_OK;
}

/* --- context ---------------------------------------------------------------------------------- */

static bool join_seen(const struct st_record *r, struct st_vector *context)
{
    for (size_t i = 0; i < r->op_count; i++)
        if (r->ops[i].kind == ST_OP_SEEN && !st_vector_join(context, &r->ops[i].vector))
            return false;
    return true;
}

enum st_code st_context_read(struct st_log *log, struct st_writer w, const struct st_tail *from,
                             const struct st_tail *tail, struct st_vector *context)
{
    if (tail->segment == 0)
        return ST_OK;
    struct st_log_reader r;
    struct st_record_scratch scratch;
    st_record_scratch_init(&scratch, log->alloc);
    enum st_code code = st_log_reader_open(&r, log->env, log->alloc, log->dir, w);
    if (from != NULL) {
        st_log_reader_seek(&r, from->segment, from->offset, from->counter, from->checksum);
    } else {
        st_log_reader_seek(&r, tail->segment, 0, tail->segment - 1, 0);
        r.checksum_known = false;
    }
    r.one_segment = true;
    while (code == ST_OK && r.counter < tail->counter) {
        struct st_str line;
        struct st_record record;
        code = st_log_reader_next(&r, &line, &record);
        if (code == ST_OK && st_record_may_see(line)) {
            code = st_record_decode(line, &scratch, &record);
            if (code == ST_OK && !join_seen(&record, context))
                code = st_fail(&r.fault, ST_LIMIT, "a context has more than %d writers",
                               ST_WRITERS_MAX);
        }
    }
    if (code == ST_NOT_FOUND)
        code =
            st_fail(&r.fault, ST_DAMAGED, "%s ends before record %" PRIu64, r.dir, tail->counter);
    if (code != ST_OK)
        log->fault = r.fault;
    st_log_reader_close(&r);
    st_record_scratch_release(&scratch);
    return code;
}

/* --- appending -------------------------------------------------------------------------------- */

struct st_writer st_log_writer(const struct st_log *log)
{
    return (struct st_writer){log->identity.replica, log->identity.epoch};
}

static struct st_str number_name(struct st_log *log, uint64_t number)
{
    size_t before = log->names.n;
    st_buf_add_char(&log->names, '#');
    st_buf_add_u64(&log->names, number);
    if (log->identity.number_suffix[0] != '\0') {
        st_buf_add_char(&log->names, '@');
        st_buf_add_text(&log->names, log->identity.number_suffix);
    }
    return (struct st_str){log->names.p + before, log->names.n - before};
}

/* Takes the record's new numbers and names them. */
static enum st_code numbers_take(struct st_log *log, const struct st_tail *tail,
                                 struct st_record *r)
{
    uint64_t before = r->number > tail->number ? r->number : tail->number;
#ifdef ST_DEFECT_NUMBER_OF_CALLER
    before = r->number;
#endif
    if (before > ST_NUMBER_MAX - r->new_count)
        return st_fail(&log->fault, ST_LIMIT, "there are no numbers left for new tasks");
    r->number = before + r->new_count;
    if (r->new_count == 0)
        return ST_OK;
    st_buf_reset(&log->names);
    /* All at once: what is lent must not move. */
    if (!st_buf_reserve(&log->names, 2 * r->op_count * ST_NUMBERED_SIZE))
        return st_fail(&log->fault, ST_NO_MEMORY, "out of memory; nothing was recorded");
    for (size_t i = 0; i < r->op_count; i++) {
        struct st_op *op = &r->ops[i];
        ST_ASSERT(op->new_entity <= r->new_count && op->new_value <= r->new_count);
        if (op->new_entity != 0)
            op->entity = number_name(log, before + op->new_entity);
        if (op->new_value != 0)
            op->value = number_name(log, before + op->new_value);
    }
    return ST_OK;
}

/* Writes r as the next record behind *tail and moves *tail. On failure nothing is left behind. */
static enum st_code record_put(struct st_log *log, int fd, struct st_writer w, struct st_tail *tail,
                               struct st_record *r, struct st_hlc observed)
{
    const struct st_env *env = log->env;
    uint64_t wall = env->wall_ms(env->ctx);
    struct st_hlc last = {tail->time_ms, (uint32_t)tail->time_logical};
    r->time = st_hlc_tick(st_hlc_observe(last, observed, wall), wall);
    r->dot = (struct st_dot){w, tail->counter + 1};
    r->previous = tail->checksum;
    enum st_code code = numbers_take(log, tail, r);
    if (code != ST_OK)
        return code;
    const char *what = "";
    code = st_record_check(r, &what);
    if (code != ST_OK)
        return st_fail(&log->fault, code, "nothing was recorded: the %s %s", what,
                       code == ST_LIMIT ? "is over its limit" : "is not valid");
    st_buf_reset(&log->line);
    st_record_encode(r, &log->line);
    if (!log->line.failed) {
        r->checksum = st_checksum(log->line.p, log->line.n);
        st_record_seal(&log->line, r->checksum);
    }
    if (log->line.failed)
        return st_fail(&log->fault, ST_NO_MEMORY, "out of memory; nothing was recorded");
    if (log->line.n > ST_LINE_SIZE_MAX)
        return st_fail(&log->fault, ST_LIMIT,
                       "the command is %zu bytes as a record; the limit is %d", log->line.n,
                       ST_LINE_SIZE_MAX);
    st_point(log, "append.before-write");
    int e = st_write_all(env, fd, log->line.p, log->line.n, tail->offset);
    if (e < 0) {
        /* If this fails too, the next to take the lock finds the torn line. */
        env->ftruncate(env->ctx, fd, tail->offset);
        st_fail_system(&log->fault, e, "nothing was recorded: cannot append to the log in %s",
                       log->dir);
        return log->fault.code == ST_NO_SPACE
                   ? st_hint(&log->fault, "free some disk space and try again")
                   : log->fault.code;
    }
    st_point(log, "append.written");
    tail->counter = r->dot.counter;
    tail->offset += log->line.n;
    tail->checksum = r->checksum;
    tail->time_ms = r->time.ms;
    tail->time_logical = r->time.logical;
    tail->number = r->number;
    return ST_OK;
}

static enum st_code context_put(struct st_log *log, int fd, struct st_writer w,
                                const struct st_vector *context, struct st_tail *tail)
{
    struct st_op op = {.kind = ST_OP_SEEN, .vector = *context};
    struct st_record r = {.ops = &op, .op_count = 1};
    return record_put(log, fd, w, tail, &r, (struct st_hlc){0});
}

enum st_code st_segment_begin(struct st_log *log, struct st_writer w,
                              const struct st_vector *context, const struct st_tail *last,
                              struct st_tail *tail)
{
    const struct st_env *env = log->env;
    char path[ST_PATH_SIZE], dir[ST_PATH_SIZE];
    enum st_code code = st_segment_path(&log->fault, path, log->dir, w, 1);
    if (code == ST_OK)
        code = st_writer_path(&log->fault, dir, log->dir, w);
    if (code != ST_OK)
        return code;
    int fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE | ST_OPEN_EXCLUSIVE);
    if (fd < 0)
        return st_fail_system(&log->fault, fd, "cannot create %s", path);
    *tail = (struct st_tail){.segment = 1,
                             .time_ms = last->time_ms,
                             .time_logical = last->time_logical,
                             .number = last->number};
    code = context_put(log, fd, w, context, tail);
    int r = code == ST_OK ? env->fdatasync(env->ctx, fd) : 0;
    if (code == ST_OK && r >= 0)
        r = env->sync_directory(env->ctx, dir);
    env->close(env->ctx, fd);
    return r < 0 ? st_fail_system(&log->fault, r, "cannot flush %s", path) : code;
}

/* Opens or creates the segment behind *tail as log->fd. */
static enum st_code segment_create(struct st_log *log, struct st_tail *tail)
{
    const struct st_env *env = log->env;
    struct st_writer w = st_log_writer(log);
    char path[ST_PATH_SIZE], dir[ST_PATH_SIZE];
    enum st_code code = st_segment_path(&log->fault, path, log->dir, w, tail->counter + 1);
    if (code == ST_OK)
        code = st_writer_path(&log->fault, dir, log->dir, w);
    if (code != ST_OK)
        return code;
    st_segment_close(log);
    int fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (fd < 0)
        return st_fail_system(&log->fault, fd, "nothing was recorded: cannot create %s", path);
    log->fd = fd;
    log->fd_segment = tail->counter + 1;
    log->fd_epoch = w.epoch;
    int r = env->sync_directory(env->ctx, dir);
    if (r < 0) {
        /* Without a durable name its records would not be durable: try again next time. */
        st_segment_close(log);
        return st_fail_system(&log->fault, r, "nothing was recorded: cannot flush %s", dir);
    }
    tail->segment = tail->counter + 1;
    tail->offset = 0;
    st_point(log, "segment.created");
    /* Somebody may have died right here, with or without a record in the file. */
    bool broken;
    code = st_tail_scan(log, fd, w, tail, UINT64_MAX, &broken);
    if (code == ST_OK && broken)
        code = st_tail_quarantine(log, fd, tail);
    return code;
}

/* The tail's segment is full, or there is none yet: closes it and begins the next. */
static enum st_code rotate(struct st_log *log, struct st_tail *tail)
{
    struct st_vector context;
    st_vector_init(&context, log->alloc);
    enum st_code code = tail->segment != 0 ? st_flush_all(log) : ST_OK;
    if (code == ST_OK)
        code = st_context_read(log, st_log_writer(log), NULL, tail, &context);
    if (code == ST_OK)
        code = segment_create(log, tail);
    if (code == ST_OK && tail->offset == 0 && context.count > 0)
        code = context_put(log, log->fd, st_log_writer(log), &context, tail);
    /* Not before the segment has a record: a tail always names the checksum of its last one. */
    if (code == ST_OK && tail->offset > 0)
        st_page_set_tail(log->page, tail);
    st_vector_release(&context);
    return code;
}

enum st_code st_log_append(struct st_log *log, struct st_record *r, struct st_hlc observed)
{
    ST_ASSERT(log->locked[ST_LOCK_APPEND]);
    struct st_tail tail;
    st_page_tail(log->page, &tail);
    enum st_code code = ST_OK;
    if (tail.segment == 0 || tail.offset >= ST_SEGMENT_SIZE)
        code = rotate(log, &tail);
    else
        code = st_segment_open(log, tail.segment);
    if (code == ST_OUTCOME_UNKNOWN) {
        /* The flush of the full segment failed: for those who wait for it, not for this record. */
        code = st_epoch_begin(log, "dead");
        return code == ST_OK ? st_log_append(log, r, observed) : code;
    }
    /* Before the record is there, and once more when it is: who finds the word unchanged has not missed
     * it, and has not read it while the record was on its way. */
    if (code == ST_OK && !log->quiet)
        st_atomic_add(&log->page->changes, 1u);
    if (code == ST_OK)
        code = record_put(log, log->fd, st_log_writer(log), &tail, r, observed);
    if (code == ST_OK) {
        st_page_set_tail(log->page, &tail);
#ifndef ST_DEFECT_CHANGE_TOLD_EARLY
        if (!log->quiet)
            st_atomic_add(&log->page->changes, 1u);
#endif
        st_point(log, "append.published");
    }
    return code;
}

bool st_log_changes(const struct st_log *log, uint32_t *word)
{
    if (!st_page_valid(log))
        return false;
    *word = st_atomic_load(&log->page->changes);
    return true;
}

enum st_code st_log_write(struct st_log *log, struct st_record *r, bool flush)
{
    enum st_code code = st_log_lock(log);
    if (code != ST_OK)
        return code;
    code = st_log_append(log, r, (struct st_hlc){0});
    st_log_unlock(log);
    if (code == ST_OK && flush)
        code = st_log_wait_durable(log, r->dot.writer.epoch, r->dot.counter);
    return code;
}

static void context_forget(struct st_log *log)
{
    st_vector_release(&log->context.seen);
    log->context.at = (struct st_tail){.counter = 0};
}

void st_log_tell_context(struct st_log *log, const struct st_tail *at, const struct st_vector *seen)
{
    struct st_context *known = &log->context;
    bool newer = st_writer_compare(known->writer, st_log_writer(log)) != 0 ||
                 known->at.counter < at->counter;
    if (!newer)
        return;
    context_forget(log);
    if (!st_vector_join(&known->seen, seen))
        return;
    known->writer = st_log_writer(log);
    known->at = *at;
}

/* Whether reading can go on where the context is known: a later segment begins with all of it. That
 * the log goes through there is for the reader to say, or, at the tail, for the checksum. */
static bool context_helps(const struct st_log *log, const struct st_tail *tail)
{
    const struct st_context *known = &log->context;
#ifdef ST_DEFECT_CONTEXT_UNCHECKED
    return known->at.counter != 0 && known->at.counter <= tail->counter;
#endif
    return st_writer_compare(known->writer, st_log_writer(log)) == 0 && known->at.counter != 0 &&
           known->at.segment == tail->segment &&
           (known->at.counter < tail->counter ||
            (known->at.counter == tail->counter && known->at.checksum == tail->checksum));
}

/* Brings what is known up to the tail. */
static enum st_code context_follow(struct st_log *log, const struct st_tail *tail)
{
    struct st_context *known = &log->context;
    enum st_code code = ST_DAMAGED;
    if (context_helps(log, tail))
        code = st_context_read(log, known->writer, &known->at, tail, &known->seen);
    if (code == ST_DAMAGED) {
        context_forget(log);
        known->writer = st_log_writer(log);
        code = st_context_read(log, known->writer, NULL, tail, &known->seen);
    }
    if (code == ST_OK)
        known->at = *tail;
    else
        context_forget(log);
    return code;
}

enum st_code st_log_context(struct st_log *log, struct st_vector *out)
{
    struct st_tail tail;
    enum st_code code = st_log_tail(log, &tail);
    if (code != ST_OK || tail.counter == 0)
        return code;
    code = context_follow(log, &tail);
    if (code == ST_OK && !(st_vector_join(out, &log->context.seen) &&
                           st_vector_raise(out, log->context.writer, tail.counter)))
        code = st_fail(&log->fault, ST_LIMIT, "a context has more than %d writers", ST_WRITERS_MAX);
    return code;
}
