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
    if (fd < 0) {
        code = st_log_present(log, 0);
        return code != ST_OK ? code : st_fail_system(&log->fault, fd, "cannot open %s", path);
    }
    log->fd = fd;
    log->fd_segment = segment;
    log->fd_epoch = log->identity.epoch;
    /* If the state is replaced from here on, the file has no name any more. */
    code = st_log_present(log, 0);
    if (code != ST_OK)
        st_segment_close(log);
    return code;
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

static enum st_code refused(struct st_log *log, enum st_code code, const char *what)
{
    return st_fail(&log->fault, code, "nothing was recorded: the %s %s", what,
                   code == ST_LIMIT ? "is over its limit" : "is not valid");
}

static enum st_code no_memory(struct st_log *log)
{
    return st_fail(&log->fault, ST_NO_MEMORY, "out of memory; nothing was recorded");
}

/* Room for the names of the record's new numbers: once it is written, nothing may fail any more. */
static bool names_reserve(struct st_log *log, const struct st_record *r)
{
    st_buf_reset(&log->names);
    return r->new_count == 0 || st_buf_reserve(&log->names, 2 * r->op_count * ST_NUMBERED_SIZE);
}

enum st_code st_draft_make(struct st_log *log, const struct st_record *r, struct st_draft *out)
{
    const char *what = "";
    enum st_code code = st_record_check_draft(r, &what);
    if (code != ST_OK)
        return refused(log, code, what);
    for (size_t i = 0; i < r->op_count; i++)
        ST_ASSERT(r->ops[i].new_entity <= r->new_count && r->ops[i].new_value <= r->new_count);
    st_buf_reset(&log->draft);
    st_record_draft(r, &log->draft);
    if (log->draft.failed || !names_reserve(log, r))
        return no_memory(log);
    *out = (struct st_draft){
        .text = st_buf_str(&log->draft), .number = r->number, .new_count = r->new_count};
    return ST_OK;
}

static void take_name(struct st_log *log, uint64_t number, struct st_str suffix, struct st_str *out)
{
    size_t start = log->names.n;
    st_number_name(&log->names, number, suffix);
    *out = (struct st_str){log->names.p + start, log->names.n - start};
}

void st_record_told(struct st_log *log, struct st_record *r, const struct st_record *head,
                    struct st_str suffix)
{
    uint64_t before = head->number - r->new_count;
    r->dot = head->dot;
    r->previous = head->previous;
    r->time = head->time;
    r->number = head->number;
    r->checksum = head->checksum;
    for (size_t i = 0; i < r->op_count; i++) {
        struct st_op *op = &r->ops[i];
        if (op->new_entity != 0)
            take_name(log, before + op->new_entity, suffix, &op->entity);
        if (op->new_value != 0)
            take_name(log, before + op->new_value, suffix, &op->value);
    }
}

enum st_code st_record_put(struct st_log *log, struct st_writer w, const struct st_draft *draft,
                           struct st_hlc observed, struct st_tail *tail, struct st_record *head)
{
    uint64_t wall = log->env->wall_ms(log->env->ctx);
    struct st_hlc last = {tail->time_ms, (uint32_t)tail->time_logical};
    uint64_t before = draft->number > tail->number ? draft->number : tail->number;
    size_t start = log->line.n;
    const char *what = "";
#ifdef ST_DEFECT_NUMBER_OF_CALLER
    before = draft->number;
#endif
    if (before > ST_NUMBER_MAX - draft->new_count)
        return st_fail(&log->fault, ST_LIMIT, "there are no numbers left for new tasks");
    *head = (struct st_record){
        .dot = {w, tail->counter + 1},
        .previous = tail->checksum,
        .time = st_hlc_tick(st_hlc_observe(last, observed, wall), wall),
        .number = before + draft->new_count,
        .new_count = draft->new_count,
    };
    enum st_code code = st_record_check_head(head, &what);
    if (code != ST_OK)
        return refused(log, code, what);
    st_record_place(head, st_str_of(log->identity.number_suffix), draft->text, &log->line);
    if (!log->line.failed) {
        head->checksum = st_checksum(log->line.p + start, log->line.n - start);
        st_record_seal(&log->line, head->checksum);
    }
    if (log->line.failed)
        return no_memory(log);
    size_t n = log->line.n - start;
    if (n > ST_LINE_SIZE_MAX)
        return st_fail(&log->fault, ST_LIMIT,
                       "the command is %zu bytes as a record; the limit is %d", n,
                       ST_LINE_SIZE_MAX);
    st_tail_after(tail, head, tail->offset + n);
    return ST_OK;
}

enum st_code st_cannot_append(struct st_log *log, int negative_errno)
{
    st_fail_system(&log->fault, negative_errno,
                   "nothing was recorded: cannot append to the log in %s", log->dir);
    return log->fault.code == ST_NO_SPACE
               ? st_hint(&log->fault, "free some disk space and try again")
               : log->fault.code;
}

enum st_code st_lines_write(struct st_log *log, int fd, uint64_t offset, bool *left)
{
    const struct st_env *env = log->env;
    st_point(log, "append.before-write");
    int e = st_write_all(env, fd, log->line.p, log->line.n, offset);
    /* If cutting it fails too, the next to take the lock finds what is left. */
    *left = e < 0 && env->ftruncate(env->ctx, fd, offset) < 0;
    if (e >= 0) {
        st_point(log, "append.written");
        return ST_OK;
    }
    return st_cannot_append(log, e);
}

/* Lines of so many bytes are written at once, and what one line has more. */
#ifndef ST_LINES_SIZE
#define ST_LINES_SIZE 65536
#endif

/* Puts the next of the records behind *tail, into log->line, and moves *tail. *count: how many there are; how
 * many it was. */
static enum st_code records_put(struct st_log *log, struct st_writer w, struct st_tail *tail,
                                struct st_record *records, size_t *count, struct st_hlc observed)
{
    struct st_str suffix = st_str_of(log->identity.number_suffix);
    enum st_code code = ST_OK;
    size_t n = 0;
    st_buf_reset(&log->line);
    for (; n < *count && log->line.n < ST_LINES_SIZE && code == ST_OK; n++) {
        struct st_draft draft;
        struct st_record head;
        code = st_draft_make(log, &records[n], &draft);
        if (code == ST_OK)
            code = st_record_put(log, w, &draft, observed, tail, &head);
        if (code == ST_OK)
            st_record_told(log, &records[n], &head, suffix);
    }
    *count = n;
    return code;
}

/* Writes the records behind *tail and moves *tail. On failure nothing is left behind of those that *tail
 * does not count. */
static enum st_code records_write(struct st_log *log, int fd, struct st_writer w,
                                  struct st_tail *tail, struct st_record *records, size_t count,
                                  struct st_hlc observed)
{
    while (count > 0) {
        struct st_tail next = *tail;
        size_t n = count;
        bool left;
        enum st_code code = records_put(log, w, &next, records, &n, observed);
        if (code == ST_OK)
            code = st_lines_write(log, fd, tail->offset, &left);
        if (code != ST_OK)
            return code;
        *tail = next;
        records += n;
        count -= n;
    }
    return ST_OK;
}

static enum st_code context_put(struct st_log *log, int fd, struct st_writer w,
                                const struct st_vector *context, struct st_tail *tail)
{
    struct st_op op = {.kind = ST_OP_SEEN, .vector = *context};
    struct st_record r = {.ops = &op, .op_count = 1};
    return records_write(log, fd, w, tail, &r, 1, (struct st_hlc){0});
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
    log->fd_size = 0;
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
        code = st_tail_cut(log, fd, tail);
    return code;
}

/* It keeps its size from now on, after a power loss, too; whoever cut it before has not flushed that. */
static enum st_code segment_end(struct st_log *log, const struct st_tail *tail)
{
#ifdef ST_DEFECT_ROOM_KEPT
    return ST_OK;
#endif
    enum st_code code = st_tail_cut(log, log->fd, tail);
    if (code == ST_OK && log->env->fdatasync(log->env->ctx, log->fd) < 0) {
        st_page_freeze(log, log->identity.epoch);
        code = st_flush_unknown(log);
    }
    return code;
}

/* The tail's segment is full, or there is none yet: closes it and begins the next. */
static enum st_code rotate(struct st_log *log, struct st_tail *tail)
{
    struct st_vector context;
    st_vector_init(&context, log->alloc);
    enum st_code code = tail->segment != 0 ? st_flush_all(log) : ST_OK;
    if (code == ST_OK && tail->segment != 0)
        code = segment_end(log, tail);
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

enum st_code st_segment_ready(struct st_log *log, struct st_tail *tail)
{
    ST_ASSERT(log->locked[ST_LOCK_APPEND]);
    st_page_tail(log->page, tail);
    enum st_code code;
    if (tail->segment == 0 || tail->offset >= ST_SEGMENT_SIZE)
        code = rotate(log, tail);
    else
        code = st_segment_open(log, tail->segment);
    if (code != ST_OUTCOME_UNKNOWN)
        return code;
    /* The flush of the full segment failed: for those who wait for it, not for what comes now. */
    code = st_epoch_begin(log, "dead");
    return code == ST_OK ? st_segment_ready(log, tail) : code;
}

void st_changes_tell(struct st_log *log)
{
    st_atomic_add(&log->page->changes, 1u);
}

enum st_code st_log_append_all(struct st_log *log, struct st_record *records, size_t count,
                               struct st_hlc observed)
{
    struct st_tail tail;
    enum st_code code = st_segment_ready(log, &tail);
    for (size_t i = 0; i < count; i++)
        ST_ASSERT(count == 1 || records[i].new_count == 0);
    if (code != ST_OK)
        return code;
    /* Before the records are there, and once more when they are: who finds the word unchanged has not missed
     * them, and has not read it while they were on their way. */
    if (!log->quiet)
        st_changes_tell(log);
    uint64_t before = tail.counter;
    code = records_write(log, log->fd, st_log_writer(log), &tail, records, count, observed);
    if (tail.counter == before)
        return code;
    st_page_set_tail(log->page, &tail);
    if (code == ST_OK)
        st_room_make(log, &tail);
#ifndef ST_DEFECT_CHANGE_TOLD_EARLY
    if (!log->quiet)
        st_changes_tell(log);
#endif
    st_point(log, "append.published");
    return code;
}

enum st_code st_log_append(struct st_log *log, struct st_record *r, struct st_hlc observed)
{
    return st_log_append_all(log, r, 1, observed);
}

bool st_log_changes(const struct st_log *log, uint32_t *word)
{
    if (!st_page_valid(log))
        return false;
    *word = st_atomic_load(&log->page->changes);
    return true;
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
