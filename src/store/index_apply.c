/*
 * index_apply.c - catching up: reading the own log from the position on, and at every "seen" the
 * logs of the others first, as far as it names them.
 */
#include "store/index_internal.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static enum st_code no_memory(struct st_index *x)
{
    return st_fail(&x->fault, ST_NO_MEMORY, "out of memory for the index");
}

/* An index that does not fit its log; the caller rebuilds it. No message: that is the sign. */
static enum st_code misfit(struct st_index *x)
{
    x->fault = (struct st_fault){.code = ST_DAMAGED};
    return ST_DAMAGED;
}

/* --- what is known of the writers ----------------------------------------------------------------
 */

enum st_code st_index_state_load(struct st_index *x)
{
    if (x->state_loaded)
        return ST_OK;
    enum st_code code = st_state_init(&x->state, &x->kv, x->alloc);
    if (code == ST_OK)
        x->state_loaded = true;
    else if (code == ST_DAMAGED)
        st_fail(&x->fault, ST_DAMAGED, "the index holds a damaged row");
    return code;
}

static bool writer_add(struct st_index *x, struct st_writer w, uint64_t segment, uint64_t offset)
{
    if (!st_grow(&x->writers, &x->writer_cap, x->writer_count + 1, sizeof *x->writers))
        return false;
    x->writers[x->writer_count++] =
        (struct st_index_writer){.writer = w, .segment = segment, .offset = offset};
    return true;
}

/* The one whose place is in the position; NULL: none yet. It changes with every record, so its row is
 * written once it is another's turn, and as long as it has none. */
static struct st_index_writer *writer_of_position(struct st_index *x)
{
    struct st_writer w = {x->position.replica, x->position.epoch};
    for (size_t i = x->writer_count; i > 0; i--)
        if (st_writer_compare(x->writers[i - 1].writer, w) == 0)
            return &x->writers[i - 1];
    return NULL;
}

enum st_code st_index_writers_load(struct st_index *x)
{
    if (x->writers_loaded)
        return ST_OK;
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(x->db, "SELECT replica,epoch,segment,offset FROM writers ORDER BY no",
                           -1, &s, NULL) != SQLITE_OK)
        return st_index_sql_fail(x, "read");
    bool ok = true;
    while (ok && sqlite3_step(s) == SQLITE_ROW) {
        struct st_writer w;
        ok = sqlite3_column_bytes(s, 0) == 8 && sqlite3_column_bytes(s, 1) == 8;
        if (!ok)
            break;
        memcpy(&w.replica, sqlite3_column_blob(s, 0), 8);
        memcpy(&w.epoch, sqlite3_column_blob(s, 1), 8);
        ok = writer_add(x, w, (uint64_t)sqlite3_column_int64(s, 2),
                        (uint64_t)sqlite3_column_int64(s, 3));
        if (ok)
            x->writers[x->writer_count - 1].stored = true;
    }
    sqlite3_finalize(s);
    if (!ok)
        return misfit(x);
    struct st_index_writer *own = writer_of_position(x);
    if (own != NULL) {
        own->segment = x->position.segment;
        own->offset = x->position.offset;
        own->dirty = true;
    }
    x->writers_loaded = true;
    return ST_OK;
}

uint32_t st_index_writer_no(struct st_index *x, struct st_writer w)
{
    for (size_t i = x->writer_count; i > 0; i--)
        if (st_writer_compare(x->writers[i - 1].writer, w) == 0)
            return (uint32_t)i;
    if (!writer_add(x, w, 0, 0))
        return 0;
    x->writers[x->writer_count - 1].dirty = true;
    return (uint32_t)x->writer_count;
}

enum st_code st_index_writers_flush(struct st_index *x)
{
    const struct st_index_writer *own = writer_of_position(x);
    for (size_t i = 0; i < x->writer_count; i++) {
        struct st_index_writer *w = &x->writers[i];
        if (!w->dirty || (w == own && w->stored))
            continue;
        sqlite3_stmt *s = st_index_sql(x, ST_SQL_WRITER_PUT);
        if (s == NULL)
            return x->fault.code;
        sqlite3_bind_int64(s, 1, (sqlite3_int64)i + 1);
        sqlite3_bind_blob(s, 2, &w->writer.replica, 8, SQLITE_STATIC);
        sqlite3_bind_blob(s, 3, &w->writer.epoch, 8, SQLITE_STATIC);
        sqlite3_bind_int64(s, 4, (sqlite3_int64)w->segment);
        sqlite3_bind_int64(s, 5, (sqlite3_int64)w->offset);
        int r = sqlite3_step(s);
        sqlite3_reset(s);
        if (r != SQLITE_DONE)
            return st_index_sql_fail(x, "write");
        w->dirty = w == own;
        w->stored = true;
    }
    return ST_OK;
}

/* --- comparing -----------------------------------------------------------------------------------
 */

enum st_code st_index_compare(struct st_index *x, const struct st_tail *tail)
{
    struct st_writer own = st_log_writer(x->log);
    const struct st_position *p = &x->position;
    if (p->replica != own.replica || p->epoch != own.epoch) {
        if (tail->counter > 0)
            return ST_UNAVAILABLE;
        return p->records == 0 ? ST_OK : misfit(x);
    }
    if (p->counter < tail->counter)
        return ST_UNAVAILABLE;
#ifdef ST_DEFECT_INDEX_AHEAD
    return ST_OK;
#else
    if (p->counter == tail->counter)
        return p->checksum == tail->checksum ? ST_OK : misfit(x);
    /* Somebody has appended and indexed since the tail was read - or the log lost its tail. */
    struct st_tail now;
    enum st_code code = st_log_tail(x->log, &now);
    if (code != ST_OK) {
        x->fault = x->log->fault;
        return code;
    }
    struct st_writer still = st_log_writer(x->log);
    return still.epoch == own.epoch && p->counter > now.counter ? misfit(x) : ST_OK;
#endif
}

/* --- applying --------------------------------------------------------------------------------- */

/* Whether the transaction has got large enough; `limit` UINT64_MAX: it never does. */
static bool is_full(const struct st_index *x, uint64_t limit)
{
    return x->position.records >= limit ||
           (limit != UINT64_MAX && x->rows.dirty_count >= ST_INDEX_ROWS_MAX);
}

/* The reader of writer `no`, at its next record. */
static enum st_code reader_of(struct st_index *x, uint32_t no, struct st_log_reader **out)
{
    struct st_index_writer *w = &x->writers[no - 1];
    *out = &w->reader;
    if (w->reader_open)
        return ST_OK;
    enum st_code code =
        st_log_reader_open(&w->reader, x->log->env, x->alloc, x->log->dir, w->writer);
    if (code != ST_OK)
        return code;
    w->reader_open = true;
    w->reader.scratch = &x->scratch;
    const struct st_writer_state *known = st_state_writer(&x->state, w->writer);
    if (known == NULL || known->counter == 0)
        return ST_OK;
    if (w->segment != 0) {
        st_log_reader_seek(&w->reader, w->segment, w->offset, known->counter, known->checksum);
        return ST_OK;
    }
    return st_log_reader_find(&w->reader, known->counter + 1);
}

static enum st_code apply_one(struct st_index *x, uint32_t no, const struct st_record *r)
{
    struct st_index_writer *w = &x->writers[no - 1];
    x->record_base = x->position.entries + 1;
    enum st_code code =
        st_history_push(x, no, w->reader.line_segment, w->reader.line_offset, r->op_count);
    if (code != ST_OK)
        return code;
    x->fault.code = ST_OK;
    code = st_state_apply(&x->state, r);
    if (code == ST_OK && x->machine.apply != NULL)
        code = x->machine.apply(x->machine.ctx, &x->kv, r, x->record_base);
    if (code != ST_OK && x->fault.code == ST_OK)
        st_fail(&x->fault, code, "record %" PRIu64 " of %s cannot be applied (%s)", r->dot.counter,
                w->reader.dir, st_code_name(code));
    if (code != ST_OK)
        return code;
    x->position.records++;
    w->segment = w->reader.segment;
    w->offset = w->reader.offset;
    w->dirty = true;
    return ST_OK;
}

/* The next record of a writer; lent by the scratch and the reader. */
static enum st_code next_record(struct st_index *x, struct st_log_reader *r, struct st_record *out)
{
    struct st_str line;
    enum st_code code = st_log_reader_next(r, &line, out);
    if (code == ST_OK && out->op_count == 0) {
        code = st_record_decode(line, &x->scratch, out);
        if (code != ST_OK)
            st_fail(&r->fault, code, "%s: record %" PRIu64 " cannot be read", r->dir, r->counter);
    } else if (code == ST_NOT_FOUND) {
        code = st_fail(&r->fault, ST_DAMAGED, "%s ends before record %" PRIu64, r->dir,
                       r->counter + 1);
        st_hint(&r->fault, "run `strata doctor`; records of other replicas come back with the next "
                           "`strata merge-state` or `strata sync`");
    }
    if (code != ST_OK)
        x->fault = r->fault;
    return code;
}

/* Applies records of one other writer up to `counter`; stops early where one has to wait. */
static enum st_code take_in_writer(struct st_index *x, struct st_writer w, uint64_t counter,
                                   uint64_t limit, bool *progress)
{
    uint32_t no = st_index_writer_no(x, w);
    if (no == 0)
        return no_memory(x);
    struct st_log_reader *r;
    enum st_code code = reader_of(x, no, &r);
    while (code == ST_OK && st_vector_get(&x->state.applied, w) < counter && !is_full(x, limit)) {
        uint64_t segment = r->segment, offset = r->offset, before = r->counter;
        uint64_t checksum = r->checksum;
        struct st_record record;
        code = next_record(x, r, &record);
        if (code != ST_OK)
            break;
        code = st_state_ready(&x->state, &record);
        if (code == ST_UNAVAILABLE) {
            st_log_reader_seek(r, segment, offset, before, checksum);
            return ST_OK;
        }
        if (code == ST_OK)
            code = apply_one(x, no, &record);
        else
            misfit(x);
        *progress = *progress || code == ST_OK;
    }
    return code;
}

/* Applies what `target` names, in causal order. *done: all of it. */
static enum st_code take_in(struct st_index *x, const struct st_vector *target, uint64_t limit,
                            bool *done)
{
    struct st_writer own = st_log_writer(x->log);
    bool progress = true;
    *done = false;
    while (progress && !is_full(x, limit)) {
        progress = false;
        for (size_t i = 0; i < target->count; i++) {
            struct st_vector_entry e = target->entries[i];
            if (st_writer_compare(e.writer, own) == 0 ||
                st_vector_get(&x->state.applied, e.writer) >= e.counter)
                continue;
            enum st_code code = take_in_writer(x, e.writer, e.counter, limit, &progress);
            if (code != ST_OK)
                return code;
        }
        if (st_vector_within(target, &x->state.applied)) {
            *done = true;
            return ST_OK;
        }
    }
    if (progress)
        return ST_OK;
    return st_fail(&x->fault, ST_DAMAGED,
                   "records that this replica has taken in wait for records that it lacks");
}

/* The vector of the record's "seen" operation, or NULL. */
static const struct st_vector *seen_of(const struct st_record *r)
{
    for (size_t i = 0; i < r->op_count; i++)
        if (r->ops[i].kind == ST_OP_SEEN)
            return &r->ops[i].vector;
    return NULL;
}

/* What the first record of an epoch names is all that this replica had. An index that has more is
 * ahead of the log: the rest was lost, or it is from elsewhere. */
static bool fits_first(struct st_index *x, const struct st_record *r)
{
    const struct st_vector *seen = seen_of(r);
    if (seen != NULL)
        return st_vector_within(&x->state.applied, seen);
    return x->state.applied.count == 0;
}

static enum st_code apply_own(struct st_index *x, struct st_log_reader *reader, uint32_t no,
                              uint64_t limit, bool *applied)
{
    uint64_t segment = reader->segment, offset = reader->offset, before = reader->counter;
    uint64_t checksum = reader->checksum;
    struct st_record r;
    *applied = false;
    enum st_code code = next_record(x, reader, &r);
    if (code != ST_OK)
        return code;
    if (r.dot.counter == 1 && !fits_first(x, &r))
        return misfit(x);
    const struct st_vector *seen = seen_of(&r);
    if (seen != NULL && !st_vector_within(seen, &x->state.applied)) {
        struct st_vector target;
        st_vector_init(&target, x->alloc);
        bool done = false;
        code = st_vector_join(&target, seen) ? take_in(x, &target, limit, &done) : no_memory(x);
        st_vector_release(&target);
        /* The scratch was used meanwhile: read the record again, now or in the next batch. */
        reader = &x->writers[no - 1].reader;
        st_log_reader_seek(reader, segment, offset, before, checksum);
        if (code != ST_OK || !done)
            return code;
        code = next_record(x, reader, &r);
    }
    if (code == ST_OK)
        code = apply_one(x, no, &r);
    if (code == ST_OK) {
        x->position.replica = r.dot.writer.replica;
        x->position.epoch = r.dot.writer.epoch;
        x->position.counter = r.dot.counter;
        x->position.checksum = r.checksum;
        x->position.segment = x->writers[no - 1].segment;
        x->position.offset = x->writers[no - 1].offset;
        *applied = true;
    }
    return code;
}

enum st_code st_index_apply(struct st_index *x, const struct st_tail *tail, uint64_t limit,
                            bool *done)
{
    *done = false;
    enum st_code code = st_index_state_load(x);
    if (code == ST_OK)
        code = st_index_writers_load(x);
    if (code != ST_OK)
        return code;
    struct st_writer own = st_log_writer(x->log);
    uint32_t no = st_index_writer_no(x, own);
    if (no == 0)
        return no_memory(x);
    struct st_log_reader *reader;
    code = reader_of(x, no, &reader);
    uint64_t end =
        limit > UINT64_MAX - x->position.records ? UINT64_MAX : x->position.records + limit;
    while (code == ST_OK && !is_full(x, end)) {
        const struct st_writer_state *w = st_state_writer(&x->state, own);
        if (w != NULL && w->counter >= tail->counter) {
            *done = true;
            break;
        }
        bool applied;
        code = apply_own(x, reader, no, end, &applied);
        reader = &x->writers[no - 1].reader;
        if (!applied)
            break;
    }
    if (code == ST_OK && x->machine.applied != NULL)
        x->machine.applied(x->machine.ctx);
    return code;
}
