/* mend_fork.c - whether a log of ours went two ways, and where. See mend.h. */
#include "store/mend_internal.h"

/* --- whether there is a fork ------------------------------------------------------------------ */

/* Reads a log of ours and what was published of it side by side. *forked: record cut->keep + 1 is
 * another one there; *high: the highest number that was known there in the end. */
static enum st_code compare(struct st_mending *m, const char *published, struct st_mend_cut *cut,
                            bool *forked)
{
    struct st_log *log = m->log;
    struct st_log_reader ours, theirs;
    struct st_record mine = {0}, other = {0};
    struct st_str line;
    *forked = false;
    enum st_code code = st_log_reader_open(&ours, log->env, log->alloc, log->dir, cut->writer);
    enum st_code there = st_log_reader_open(&theirs, log->env, log->alloc, published, cut->writer);
    cut->keep = 0;
    while (code == ST_OK && there == ST_OK && !*forked && cut->keep < cut->end) {
        there = st_log_reader_next(&theirs, &line, &other);
        if (there == ST_OK)
            code = st_log_reader_next(&ours, &line, &mine);
        if (code != ST_OK || there != ST_OK)
            break;
        *forked = mine.checksum != other.checksum;
        if (!*forked) {
            cut->keep++;
            m->low = mine.number;
        }
    }
    while (*forked && there == ST_OK) {
        m->high = other.number > m->low ? other.number : m->low;
        there = st_log_reader_next(&theirs, &line, &other);
    }
    if (code != ST_OK)
        log->fault = ours.fault;
    st_log_reader_close(&ours);
    st_log_reader_close(&theirs);
    return code;
}

/* --- which logs belong to it ------------------------------------------------------------------ */

static bool is_published(struct st_log *log, const char *published, struct st_writer w)
{
    struct st_log_reader r;
    struct st_str line;
    struct st_record head;
    bool yes = st_log_reader_open(&r, log->env, log->alloc, published, w) == ST_OK &&
               st_log_reader_find(&r, UINT64_MAX) == ST_OK &&
               st_log_reader_next(&r, &line, &head) == ST_OK;
    st_log_reader_close(&r);
    return yes;
}

/* The epoch that a log of ours goes on from, and how far that went: the one before of those that its
 * first record names. Counter 0: that does not tell. */
static enum st_code before_it(struct st_mending *m, struct st_writer w, struct st_dot *out)
{
    struct st_log_reader r;
    struct st_str line;
    struct st_record first;
    *out = (struct st_dot){0};
    size_t found = 0;
    enum st_code code = st_log_reader_open(&r, m->log->env, m->log->alloc, m->log->dir, w);
    if (code == ST_OK)
        code = st_log_reader_next(&r, &line, &first);
    if (code == ST_OK)
        code = st_record_decode(line, &m->scratch, &first);
    for (size_t i = 0; code == ST_OK && i < first.op_count; i++)
        for (size_t n = 0; first.ops[i].kind == ST_OP_SEEN && n < first.ops[i].vector.count; n++) {
            const struct st_vector_entry *e = &first.ops[i].vector.entries[n];
            if (e->writer.replica != w.replica ||
                st_epoch_ordinal(e->writer.epoch) + 1 != st_epoch_ordinal(w.epoch))
                continue;
            *out = (struct st_dot){e->writer, e->counter};
            found++;
        }
    if (found != 1)
        out->counter = 0;
    st_log_reader_close(&r);
    return code == ST_NOT_FOUND ? ST_OK : code;
}

/* The current log and those it goes on from, the latest first; `tail` is its end. */
static enum st_code logs_of(struct st_mending *m, uint64_t tail)
{
    struct st_dot at = {st_log_writer(m->log), tail};
    enum st_code code = ST_OK;
    while (code == ST_OK && at.counter > 0 && m->count < ST_MEND_LOGS_MAX) {
        m->cuts[m->count++] = (struct st_mend_cut){.writer = at.writer, .end = at.counter};
        code = before_it(m, at.writer, &at);
    }
    return code;
}

/* The last epoch that others know is the one that can have forked. */
enum st_code st_mend_find_fork(struct st_mending *m, const char *published, uint64_t tail)
{
    enum st_code code = logs_of(m, tail);
    size_t logs = 0;
    bool forked = false;
    while (code == ST_OK && logs < m->count) {
        struct st_mend_cut *cut = &m->cuts[logs++];
        if (!is_published(m->log, published, cut->writer))
            continue;
        code = compare(m, published, cut, &forked);
        break;
    }
    m->count = code == ST_OK && forked ? logs : 0;
    for (size_t i = 0; i < m->count / 2; i++) {
        struct st_mend_cut one = m->cuts[i];
        m->cuts[i] = m->cuts[m->count - 1 - i];
        m->cuts[m->count - 1 - i] = one;
    }
    return code;
}
