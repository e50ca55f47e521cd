/* index.c - the index: the handle, transactions, the position, what it has applied. See index.h. */
#include "store/index_internal.h"

#include "store/log_internal.h"

#include <stdlib.h>
#include <string.h>

/*
 * The WAL is emptied when a commit leaves more pages than this in it. SQLite's own checkpoint does
 * not do: a command is often alone, and the first connection to come reads the whole WAL (5
 * microseconds a page) and no longer knows what of it was copied back already. Small enough that
 * this is lost in a command's start; large enough for some 15 writing commands. Pages.
 */
#define WAL_PAGES_MAX 128
/*
 * Who has committed so often lives on, and while it does nobody comes first. More may gather then: each page
 * is copied back once, however often it has changed. And the file keeps its size, as giving up its blocks and
 * asking for them again costs more than copying. Whoever is alone after that reads it once in vain.
 */
#define BUSY_COMMITS   16
#define WAL_PAGES_BUSY 1024
/* More than that, bytes, it has only where a reader was stopped, or after a large transaction: that is given up. */
#define WAL_SIZE_KEPT 8388608

/* --- the handle -------------------------------------------------------------------------------- */

enum st_code st_index_open(struct st_index **out, struct st_log *log, struct st_fault *fault)
{
    struct st_index *x = calloc(1, sizeof *x);
    if (x == NULL)
        return st_fail(fault, ST_NO_MEMORY, "out of memory");
    x->log = log;
    x->alloc = log->alloc;
    st_rows_init(x);
    st_record_scratch_init(&x->scratch, x->alloc);
    st_record_scratch_init(&x->read_scratch, x->alloc);
    st_buf_init(&x->value, x->alloc);
    st_buf_init(&x->name, x->alloc);
    st_whole_init(x);
    enum st_code code = st_index_open_shared(x);
    /* Whatever is wrong with the file, reading goes on, from the log. */
    if (code != ST_OK)
        code = st_index_open_private(x);
    if (code != ST_OK) {
        *fault = x->fault;
        st_index_close(x);
        return code;
    }
    *out = x;
    return ST_OK;
}

void st_index_set_gap(struct st_index *x, uint64_t records)
{
    x->gap = records;
}

void st_index_set_machine(struct st_index *x, struct st_machine machine)
{
    x->machine = machine;
}

void st_index_close(struct st_index *x)
{
    if (x == NULL)
        return;
    if (x->writing)
        (void)st_index_write_end(x, ST_UNAVAILABLE);
    st_index_forget(x);
    st_rows_release(x);
    st_index_database_close(x);
    if (x->history_reader_open)
        st_log_reader_close(&x->history_reader);
    st_record_scratch_release(&x->scratch);
    st_record_scratch_release(&x->read_scratch);
    st_buf_release(&x->value);
    st_whole_release(x);
    st_buf_release(&x->name);
    free(x->writers);
    free(x->tail);
    free(x);
}

const struct st_fault *st_index_fault(const struct st_index *x)
{
    return &x->fault;
}

/* --- transactions ------------------------------------------------------------------------------ */

void st_index_forget(struct st_index *x)
{
    st_near_reset(x);
    st_rows_clear(x);
    st_history_forget(x);
    if (x->state_loaded)
        st_state_release(&x->state);
    x->state_loaded = false;
    for (size_t i = 0; i < x->writer_count; i++)
        if (x->writers[i].reader_open)
            st_log_reader_close(&x->writers[i].reader);
    x->writer_count = 0;
    x->writers_loaded = false;
    x->behind = false;
    x->loaded = false;
}

enum st_code st_index_position_load(struct st_index *x)
{
    sqlite3_stmt *s = st_index_sql(x, ST_SQL_META_GET);
    if (s == NULL)
        return x->fault.code;
    struct st_position p = {0};
    int r = sqlite3_step(s);
    if (r == SQLITE_ROW && sqlite3_column_bytes(s, 0) == (int)sizeof p)
        memcpy(&p, sqlite3_column_blob(s, 0), sizeof p);
    if (r != SQLITE_ROW)
        return st_index_sql_fail(x, "read");
    if (!x->reading)
        sqlite3_reset(s);
    /* What is in memory is of another commit, or ahead of the database: start afresh. Who leaves a
     * gap goes on in memory, as long as the database is the same, and writes from there. */
    bool ahead = x->behind && x->gap == 0;
#ifdef ST_DEFECT_STALE_ROWS
    if (!x->loaded || ahead)
#else
    if (!x->loaded || p.generation != x->position.generation || ahead)
#endif
        st_index_forget(x);
    if (x->behind)
        return ST_OK;
    x->position = p;
    x->stored = p;
    x->loaded = true;
    return ST_OK;
}

/* Where nothing was applied the commit is not told: all others would forget what they have in memory. */
static enum st_code position_store(struct st_index *x)
{
    if (memcmp(&x->position, &x->stored, sizeof x->position) == 0)
        return ST_OK;
    sqlite3_stmt *s = st_index_sql(x, ST_SQL_META_PUT);
    if (s == NULL)
        return x->fault.code;
    x->position.generation++;
    sqlite3_bind_blob(s, 1, &x->position, sizeof x->position, SQLITE_STATIC);
    int r = sqlite3_step(s);
    sqlite3_reset(s);
    return r == SQLITE_DONE ? ST_OK : st_index_sql_fail(x, "write");
}

enum st_code st_index_write_begin(struct st_index *x, uint64_t wait_ms)
{
    enum st_code code = ST_OK;
    if (!x->private) {
        code = st_log_take(x->log, ST_LOCK_INDEX, wait_ms);
        if (code != ST_OK) {
            x->fault = x->log->fault;
            return code;
        }
    }
    code = st_index_run(x, "BEGIN IMMEDIATE", "write");
    x->writing = code == ST_OK;
    if (code == ST_OK)
        code = st_index_position_load(x);
    return code == ST_OK ? ST_OK : st_index_write_end(x, code);
}

/* The index lock is held. Readers of older pages are not waited for: the next commit tries again.
 * Nor is an error one of the commit before. */
static void checkpoint(struct st_index *x)
{
    bool busy = x->commits >= BUSY_COMMITS;
    if (x->commits++ == BUSY_COMMITS)
        sqlite3_exec(x->db, "PRAGMA journal_size_limit=" TEXT_OF(WAL_SIZE_KEPT), NULL, NULL, NULL);
    if (x->wal_pages <= (busy ? WAL_PAGES_BUSY : WAL_PAGES_MAX))
        return;
    sqlite3_busy_timeout(x->db, 0);
    sqlite3_wal_checkpoint_v2(
        x->db, NULL, busy ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(x->db, ST_INDEX_WAIT_MS);
    x->wal_pages = 0;
}

enum st_code st_index_write_end(struct st_index *x, enum st_code code)
{
    if (x->writing && code == ST_OK) {
        if (x->state_loaded)
            code = st_state_save(&x->state);
        if (code == ST_OK)
            code = st_rows_flush(x);
        if (code == ST_OK)
            code = st_history_flush(x);
        if (code == ST_OK)
            code = st_index_writers_flush(x);
        if (code == ST_OK)
            code = position_store(x);
        if (code == ST_OK)
            code = st_index_run(x, "COMMIT", "write");
        if (code == ST_OK) {
            x->behind = false;
            x->stored = x->position;
            checkpoint(x);
        }
    }
    if (x->writing && code != ST_OK) {
        struct st_fault keep = x->fault;
        st_index_run(x, "ROLLBACK", "write");
        x->fault = keep;
        st_index_forget(x);
    }
    x->writing = false;
    if (!x->private)
        st_log_drop(x->log, ST_LOCK_INDEX);
    return code;
}

enum st_code st_index_clear(struct st_index *x)
{
    st_index_forget(x);
    uint64_t generation = x->position.generation;
    memset(&x->position, 0, sizeof x->position);
    x->position.generation = generation;
    x->loaded = true;
    return st_index_run(x,
                        "DELETE FROM kv; DELETE FROM hist; DELETE FROM writers; DELETE FROM meta;"
                        "DROP TABLE IF EXISTS fts; DROP TABLE IF EXISTS fts_row;",
                        "empty");
}

/* --- results ---------------------------------------------------------------------------------- */

struct st_dot st_index_applied(const struct st_index *x)
{
    const struct st_position *p = &x->position;
    return (struct st_dot){{p->replica, p->epoch}, p->counter};
}

enum st_code st_index_tell_context(struct st_index *x)
{
    enum st_code code = st_index_state_load(x);
    const struct st_position *p = &x->position;
    struct st_writer own = {p->replica, p->epoch};
    const struct st_writer_state *w = code == ST_OK ? st_state_writer(&x->state, own) : NULL;
    struct st_tail at = {
        .counter = p->counter, .segment = p->segment, .offset = p->offset, .checksum = p->checksum};
    if (w != NULL && st_writer_compare(own, st_log_writer(x->log)) == 0)
        st_log_tell_context(x->log, &at, &w->seen);
    return code;
}

static enum st_code nothing_get(void *ctx, struct st_str key, struct st_str *value)
{
    (void)ctx, (void)key, (void)value;
    return ST_NOT_FOUND;
}

static enum st_code
nothing_scan(void *ctx, struct st_str prefix, struct st_str after,
             enum st_code (*visit)(void *arg, struct st_str key, struct st_str value), void *arg)
{
    (void)ctx, (void)prefix, (void)after, (void)visit, (void)arg;
    return ST_OK;
}

const struct st_kv *st_index_kv(struct st_index *x)
{
    static const struct st_kv nothing = {.get = nothing_get, .scan = nothing_scan};
    return x->nothing ? &nothing : &x->kv;
}

enum st_code st_index_state(struct st_index *x, const struct st_state **out)
{
    enum st_code code = st_index_state_load(x);
    *out = &x->state;
    return code;
}

void st_index_totals(struct st_index *x, struct st_index_totals *out)
{
    *out = (struct st_index_totals){
        .entries = x->position.entries,
        .records = x->position.records,
        .attributes = x->position.attributes,
        .pending = x->position.pending,
        .unseen = x->position.unseen,
        .digest = {x->position.digest[0], x->position.digest[1]},
        .behind = x->behind,
        .private = x->private,
    };
    st_rows_digest(x, out->digest);
}
