/*
 * index_begin.c - catching up with the log in the file or in memory, and beginning to read from one of the two.
 * See index.h.
 */
#include "store/index_internal.h"

#include "store/log_internal.h"

/* In batches, each its own transaction. The log moves on meanwhile: `tail` is what was there
 * at the start, so this ends. */
static enum st_code catch_up_writing(struct st_index *x, const struct st_tail *tail,
                                     uint64_t wait_ms)
{
    bool done = false, rebuilt = false;
    while (!done) {
        enum st_code code = st_index_write_begin(x, wait_ms);
        if (code != ST_OK)
            return code;
        code = st_index_compare(x, tail);
        if (code == ST_UNAVAILABLE) {
            if (x->position.records == 0)
                st_rows_begin_empty(x);
            bool first = x->rows.stored != NULL;
            code = st_index_apply(x, tail, first ? ST_INDEX_BATCH_FIRST : ST_INDEX_BATCH, &done);
        } else {
            done = true;
        }
        if (code == ST_DAMAGED && !rebuilt) {
            /* The index is not of this log, or ahead of it. */
            rebuilt = true;
            done = false;
            code = st_index_clear(x);
        }
        code = st_index_write_end(x, code);
        if (code != ST_OK)
            return code;
    }
    return ST_OK;
}

enum st_code st_index_write_add(struct st_index *x, const struct st_tail *tail)
{
    bool done = true;
    enum st_code code = st_index_compare(x, tail);
    if (code == ST_UNAVAILABLE)
        code = st_index_apply(x, tail, ST_INDEX_BATCH, &done);
    return code == ST_OK && !done ? ST_LIMIT : code;
}

/* The end of the log; a failure is the index's then. */
static enum st_code tail_of(struct st_index *x, struct st_tail *tail)
{
    enum st_code code = st_log_tail(x->log, tail);
    if (code != ST_OK)
        x->fault = x->log->fault;
    return code;
}

static enum st_code catch_up_alone(struct st_index *x, const struct st_tail *tail)
{
    enum st_code code = st_index_compare(x, tail);
    if (code == ST_UNAVAILABLE) {
        bool done;
        x->behind = true;
        st_near_reset(x);
        code = st_index_apply(x, tail, UINT64_MAX, &done);
    }
    /* Without a message it is the index; else the log, or the file, and the message says where. */
    if (code == ST_DAMAGED && x->fault.message[0] == '\0') {
        st_fail(&x->fault, ST_DAMAGED, "the index of %s does not fit its log", x->log->dir);
        return st_hint(&x->fault, "it is rebuilt as soon as the index lock is free");
    }
    return code;
}

/* SQLite keeps the state that the first statement sees until the last one is reset: the position's is, at
 * the end. That is a third of what BEGIN and COMMIT cost. */
static enum st_code read_begin(struct st_index *x)
{
    x->reading = true;
    return st_index_position_load(x);
}

/* Little enough is missing to be read from the log each time, rather than written once. */
static bool is_near(const struct st_index *x, const struct st_tail *tail, uint64_t gap)
{
    const struct st_position *p = &x->position;
    struct st_writer own = st_log_writer(x->log);
    return p->replica == own.replica && p->epoch == own.epoch && tail->counter >= p->counter &&
           tail->counter - x->stored.counter <= gap;
}

static bool recoverable(enum st_code code)
{
    return code == ST_UNAVAILABLE || code == ST_READ_ONLY || code == ST_NO_SPACE ||
           code == ST_DAMAGED || code == ST_IO;
}

static enum st_code begin_once(struct st_index *x)
{
    struct st_tail tail;
    enum st_code code = tail_of(x, &tail);
    if (code == ST_OK)
        code = read_begin(x);
    if (code != ST_OK)
        return code;
    code = st_index_compare(x, &tail);
    if (code == ST_OK)
        return ST_OK;
    if (code == ST_UNAVAILABLE && is_near(x, &tail, x->gap))
        return catch_up_alone(x, &tail);
    st_index_end(x);
    code = catch_up_writing(x, &tail, ST_INDEX_WAIT_MS);
    if (code == ST_OK)
        return read_begin(x);
    if (!recoverable(code))
        return code;
    code = read_begin(x);
    return code == ST_OK ? catch_up_alone(x, &tail) : code;
}

/* --- back to the file --------------------------------------------------------------------------- */

/* As begin_once(), without waiting for anybody and without applying in memory. */
static enum st_code begin_in_file(struct st_index *x)
{
    struct st_tail tail;
    enum st_code code = st_log_tail(x->log, &tail);
    if (code == ST_OK)
        code = st_index_open_shared(x);
    if (code == ST_OK)
        code = read_begin(x);
    if (code == ST_OK)
        code = st_index_compare(x, &tail);
    if (code == ST_OK || !x->reading)
        return code;
    st_index_end(x);
    code = catch_up_writing(x, &tail, 0);
    return code == ST_OK ? read_begin(x) : code;
}

/*
 * A handle may live for days (the MCP server), and what kept it from the file may have been one error: a
 * full disk, somebody who was stopped. ST_OK: a read of the file has begun. Else everything is as before.
 */
static enum st_code rejoin(struct st_index *x)
{
    if (!x->private || x->left ||
        st_index_now_ns(x) - x->private_ns < (uint64_t)ST_INDEX_RETRY_MS * 1000000)
        return ST_UNAVAILABLE;
    struct st_index_aside memory;
    st_index_set_aside(x, &memory);
    enum st_code code = begin_in_file(x);
    if (code != ST_OK) {
        st_index_put_back(x, &memory);
        x->private_ns = st_index_now_ns(x);
        return code;
    }
    st_index_drop_aside(&memory);
    return ST_OK;
}

enum st_code st_index_begin(struct st_index *x)
{
    if (rejoin(x) == ST_OK)
        return ST_OK;
    enum st_code code = begin_once(x);
    if (code != ST_OK && x->corrupt && !x->private) {
        st_index_end(x);
        code = x->corrupt ? st_index_replace_corrupt(x) : ST_OK;
        if (code == ST_OK)
            code = begin_once(x);
    }
    if (code != ST_OK && recoverable(code) && !x->private) {
        /* The index file is beyond use here; the log is not. */
        st_index_end(x);
        st_index_forget(x);
        code = st_index_open_private(x);
        if (code == ST_OK)
            code = begin_once(x);
    }
    if (code != ST_OK)
        st_index_end(x);
    return code;
}

enum st_code st_index_begin_at(struct st_index *x, const struct st_tail *tail)
{
    enum st_code code = read_begin(x);
    if (code == ST_OK)
        code = st_index_compare(x, tail);
    if (code != ST_OK)
        st_index_end(x);
    return code;
}

enum st_code st_index_begin_since(struct st_index *x, struct st_dot at)
{
    enum st_code code = read_begin(x);
    const struct st_position *p = &x->position;
    if (code == ST_OK &&
        (p->replica != at.writer.replica || p->epoch != at.writer.epoch || p->counter < at.counter))
        code = ST_UNAVAILABLE;
    if (code != ST_OK)
        st_index_end(x);
    return code;
}

/* A reader of one entity lets others do the writing that long, as multiples of the gap. */
#define GAP_TIMES_MAX 4

/* The same, or nothing was applied yet of a log that is short. Whether there was another before it says its
 * first line (index_near.c). */
static bool is_little(const struct st_index *x, const struct st_tail *tail, uint64_t records)
{
    return is_near(x, tail, records) || (x->position.records == 0 && tail->counter <= records);
}

/* ST_UNAVAILABLE: it takes an ordinary beginning. */
static enum st_code begin_for(struct st_index *x, struct st_str entity)
{
    struct st_tail tail = {.counter = 0};
    enum st_code code = x->gap == 0 ? ST_UNAVAILABLE : st_log_tail(x->log, &tail);
    x->nothing = code == ST_OK && st_whole_lacks(x, &tail, entity);
    if (x->nothing)
        return ST_OK;
    if (code == ST_OK)
        code = read_begin(x);
    if (code == ST_OK)
        code = st_index_compare(x, &tail);
    if (code != ST_UNAVAILABLE || !x->reading)
        return code;
    if (!is_little(x, &tail, x->gap)) {
        if (!is_near(x, &tail, GAP_TIMES_MAX * x->gap))
            return code;
        st_index_end(x);
        (void)catch_up_writing(x, &tail, 0);
        code = read_begin(x);
        if (code != ST_OK)
            return code;
    }
    return st_near_touches(x, &tail, entity) ? ST_UNAVAILABLE : ST_OK;
}

enum st_code st_index_begin_for(struct st_index *x, struct st_str entity)
{
    if (rejoin(x) == ST_OK || begin_for(x, entity) == ST_OK)
        return ST_OK;
    st_index_end(x);
    return st_index_begin(x);
}

enum st_code st_index_begin_alone(struct st_index *x)
{
    struct st_tail tail;
    enum st_code code = tail_of(x, &tail);
    if (code != ST_OK)
        return code;
    code = read_begin(x);
    if (code == ST_OK)
        code = catch_up_alone(x, &tail);
    if (code != ST_OK)
        st_index_end(x);
    return code;
}

enum st_code st_index_begin_next(struct st_index *x)
{
    struct st_tail tail;
    enum st_code code = st_log_tail(x->log, &tail);
    /* Most often not so, if others are at work: that is seen without asking the database. */
    if (code == ST_OK && x->loaded && tail.counter - x->position.counter != 1)
        return ST_UNAVAILABLE;
    if (code == ST_OK)
        code = read_begin(x);
    if (code == ST_OK)
        code = st_index_compare(x, &tail);
    if (code == ST_UNAVAILABLE && tail.counter - x->position.counter == 1 &&
        is_near(x, &tail, x->gap))
        code = catch_up_alone(x, &tail);
    if (code != ST_OK)
        st_index_end(x);
    return code;
}

void st_index_end(struct st_index *x)
{
    if (x->reading)
        for (int i = 0; i < ST_SQL_COUNT; i++)
            if (x->sql[i] != NULL)
                sqlite3_reset(x->sql[i]);
    x->reading = x->nothing = false;
    /* For the next one. */
    if (x->corrupt && !x->private && !x->log->read_only && !x->log->locked[ST_LOCK_APPEND])
        st_index_replace_corrupt(x);
}

enum st_code st_index_catch_up(struct st_index *x, uint64_t wait_ms)
{
    struct st_tail tail;
    enum st_code code = tail_of(x, &tail);
    return code == ST_OK ? catch_up_writing(x, &tail, wait_ms) : code;
}

enum st_code st_index_catch_up_beyond(struct st_index *x, uint64_t records)
{
    struct st_tail tail;
    if (x->private)
        return ST_OK;
    enum st_code code = tail_of(x, &tail);
    if (code != ST_OK)
        return code;
    code = read_begin(x);
    bool is_behind = code == ST_OK && !is_little(x, &tail, records) &&
                     (x->behind || st_index_compare(x, &tail) == ST_UNAVAILABLE);
    st_index_end(x);
    return is_behind ? catch_up_writing(x, &tail, 0) : code;
}

enum st_code st_index_rebuild(struct st_index *x)
{
    enum st_code code = st_index_write_begin(x, x->log->wait_ms);
    if (code == ST_OK) {
        code = st_index_clear(x);
        code = st_index_write_end(x, code);
    }
    if (code == ST_OK)
        code = st_index_begin(x);
    st_index_end(x);
    return code;
}
