/*
 * file_serve.c - how an entry gets its answer: one process serves all who wait, in rounds, and the others
 * sleep once, until theirs is there.
 *
 * A round goes up to the end of the log as it is when it begins: flush it, apply it, wake those whose
 * answers that were. What is appended meanwhile is for the next round; whoever waits for it sleeps on the
 * other of two words, so nobody is woken in vain. Whoever has the index lock serves, for as long as others
 * have something to be served and not for more than ROUNDS_MAX: its rows stay in memory meanwhile, and are
 * written in one transaction. The lock goes with its process; those who sleep look up after a while by
 * themselves. An answer is true as soon as it is there, whether rows were written or not.
 */
#include "strong/file.h"

#include "store/log_internal.h"

/* A round of fewer gives way before it begins: who can run appends first, and comes along. For a processor a
 * flush is dearer than an entry. */
#define FEW 16
/* Rounds of one transaction. Each costs the caller of who serves as much as its own answer took. */
#define ROUNDS_MAX 8

static uint64_t now_ns(const struct st_file *f)
{
    return f->log.env->boot_ns(f->log.env->ctx);
}

/* The answer as it came to be known: when this process applied the entry itself, or from the others. */
static bool answer_known(struct st_file *f, size_t count)
{
    return f->found || st_answers_get(f, f->wanted, f->results, count);
}

/* Applied and on disk: nothing is left to be done for it. */
static bool settled(struct st_file *f, size_t count)
{
    return st_log_durable(&f->log, f->wanted.epoch, f->wanted.number) && answer_known(f, count);
}

static enum st_code flushed(struct st_file *f)
{
    return st_log_wait_durable(&f->log, f->wanted.epoch, f->wanted.number) == ST_OK
               ? ST_OK
               : st_file_log_fault(f);
}

static bool is_company(const struct st_file *f)
{
    return st_log_seems_held(&f->log, ST_LOCK_INDEX) || st_answers_awaited(f);
}

/* Nobody else is at work: the entry is applied in memory, and the rows are written now and then. */
static bool answer_alone(struct st_file *f, size_t count)
{
#ifdef ST_DEFECT_ROWS_EACH_TIME
    return false;
#endif
    if (is_company(f) || flushed(f) != ST_OK || is_company(f) ||
        st_index_begin_next(f->index) != ST_OK)
        return false;
    st_index_end(f->index);
    return answer_known(f, count);
}

/* --- serving ---------------------------------------------------------------------------------- */

static enum st_code apply(struct st_file *f, const struct st_tail *tail)
{
    enum st_code code = st_index_write_add(f->index, tail);
    return code == ST_OK ? ST_OK : st_file_index_fault(f, code);
}

static enum st_code serve_round(struct st_file *f, const struct st_tail *tail)
{
    st_answers_round(f, tail->counter);
    if (st_log_wait_durable(&f->log, st_log_writer(&f->log).epoch, tail->counter) != ST_OK)
        return st_file_log_fault(f);
    enum st_code code = apply(f, tail);
    if (code == ST_OK)
        st_answers_wake_round(f);
    return code;
}

/* Up to where the next round goes; the one before went up to `before`. */
static bool next_tail(struct st_file *f, uint64_t before, struct st_tail *tail)
{
    if (st_log_tail(&f->log, tail) != ST_OK)
        return false;
    if (tail->counter == before || tail->counter - before >= FEW)
        return true;
    f->log.env->sleep_ns(f->log.env->ctx, 0);
    return st_log_tail(&f->log, tail) == ST_OK;
}

static enum st_code serve_rounds(struct st_file *f)
{
    struct st_tail tail;
    uint64_t served = st_index_applied(f->index).counter;
    for (int i = 0; next_tail(f, served, &tail); i++) {
        if (i > 0 && tail.counter == served)
            return ST_OK;
        /* Who waits for rows wants all of them, and before anything else happens. */
        bool last = st_answers_rows_awaited(f) && i > 0;
        if (last || i == ROUNDS_MAX)
            return last ? apply(f, &tail) : ST_OK;
        enum st_code code = serve_round(f, &tail);
        if (code != ST_OK)
            return code;
        served = tail.counter;
    }
    return st_file_log_fault(f);
}

/* ST_UNAVAILABLE: somebody else serves. */
static enum st_code serve(struct st_file *f)
{
    enum st_code code = st_index_write_begin(f->index, 0);
    if (code != ST_OK)
        return code;
    f->serving = true;
    code = serve_rounds(f);
    f->serving = false;
    code = st_index_write_end(f->index, code);
    st_answers_wake_next(f);
    return code;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* The rows cannot be written, or who writes them is stopped: for itself, in memory. */
static enum st_code answer_own(struct st_file *f, size_t count)
{
    enum st_code code = flushed(f);
    if (code != ST_OK)
        return code;
    code = st_index_begin(f->index);
    st_index_end(f->index);
    if (code != ST_OK)
        return st_file_index_fault(f, code);
    return answer_known(f, count) ? ST_OK : st_file_answer_again(f);
}

/* Whoever seems to serve wakes us when it is done; after a nap the lock itself is asked, as the other may have
 * been killed. */
static bool left_to_other(const struct st_file *f, bool first)
{
#ifdef ST_DEFECT_DEAD_SERVES
    first = true;
#endif
    return first && st_log_seems_held(&f->log, ST_LOCK_INDEX);
}

enum st_code st_serve_await(struct st_file *f, size_t count)
{
    uint64_t start = now_ns(f);
    if (settled(f, count) || answer_alone(f, count))
        return ST_OK;
    for (bool first = true;; first = false) {
        struct st_watch watch = st_answers_watch(f, f->wanted.number);
        if (settled(f, count))
            return ST_OK;
        enum st_code code = left_to_other(f, first) ? ST_UNAVAILABLE : serve(f);
        if (code == ST_OK && answer_known(f, count))
            return ST_OK;
        if (code != ST_UNAVAILABLE || now_ns(f) - start >= ST_INDEX_WAIT_MS * ST_NS_PER_MS)
            return answer_own(f, count);
        st_answers_sleep(f, &watch);
    }
}
