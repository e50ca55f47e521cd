/* index.c - the index database: opening, transactions, the position. See index.h. */
#include "store/index_internal.h"

#include "store/log_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INDEX_VERSION 6
#define TEXT(x)       #x
#define TEXT_OF(x)    TEXT(x)

/*
 * The WAL is emptied when a commit leaves more pages than this in it. SQLite's own checkpoint does
 * not do: a command is often alone, and the first connection to come reads the whole WAL (5
 * microseconds a page) and no longer knows what of it was copied back already. Small enough that
 * this is lost in a command's start; large enough for some 15 writing commands. Pages.
 */
#define WAL_PAGES_MAX 128

static const char schema[] = "PRAGMA journal_mode=WAL;"
                             "BEGIN IMMEDIATE;"
                             "CREATE TABLE IF NOT EXISTS meta(k TEXT PRIMARY KEY, v BLOB NOT NULL)"
                             " WITHOUT ROWID;"
                             "CREATE TABLE IF NOT EXISTS kv(k BLOB PRIMARY KEY, v BLOB NOT NULL)"
                             " WITHOUT ROWID;"
                             "CREATE TABLE IF NOT EXISTS hist(chunk INTEGER PRIMARY KEY,"
                             " data BLOB NOT NULL);"
                             "CREATE TABLE IF NOT EXISTS writers(no INTEGER PRIMARY KEY,"
                             " replica BLOB NOT NULL, epoch BLOB NOT NULL,"
                             " segment INTEGER NOT NULL, offset INTEGER NOT NULL);"
                             "PRAGMA user_version=" TEXT_OF(INDEX_VERSION) "; COMMIT;";

static const char *const sql_text[ST_SQL_COUNT] = {
    [ST_SQL_GET] = "SELECT v FROM kv WHERE k=?1",
    [ST_SQL_PUT] = "INSERT INTO kv(k,v) VALUES(?1,?2) ON CONFLICT(k) DO UPDATE SET v=?2",
    [ST_SQL_DEL] = "DELETE FROM kv WHERE k=?1",
    [ST_SQL_SCAN] = "SELECT k,v FROM kv WHERE k>=?1 AND k<?2 ORDER BY k",
    [ST_SQL_CHUNK_GET] = "SELECT data FROM hist WHERE chunk=?1",
    [ST_SQL_CHUNK_PUT] = "INSERT OR REPLACE INTO hist(chunk,data) VALUES(?1,?2)",
    [ST_SQL_WRITER_PUT] = "INSERT OR REPLACE INTO writers VALUES(?1,?2,?3,?4,?5)",
    [ST_SQL_META_GET] = "SELECT v FROM meta WHERE k='position'",
    [ST_SQL_META_PUT] = "INSERT OR REPLACE INTO meta(k,v) VALUES('position',?1)",
};

/* --- SQLite ----------------------------------------------------------------------------------- */

enum st_code st_index_sql_fail(struct st_index *x, const char *doing)
{
    int result = x->db != NULL ? sqlite3_errcode(x->db) : SQLITE_NOMEM;
    const char *text = x->db != NULL ? sqlite3_errmsg(x->db) : "out of memory";
    switch (result & 0xff) {
    case SQLITE_FULL:
        st_fail(&x->fault, ST_NO_SPACE, "no space to %s the index: %s", doing, text);
        return st_hint(&x->fault, "free some disk space; the log itself is not affected");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return st_fail(&x->fault, ST_UNAVAILABLE, "cannot %s the index: %s", doing, text);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        x->corrupt = true;
        st_fail(&x->fault, ST_DAMAGED, "cannot %s the index: %s", doing, text);
        return st_hint(&x->fault, "nothing is lost: it is built again from the log; try again");
    case SQLITE_SCHEMA:
    case SQLITE_ERROR:
    case SQLITE_MISMATCH:
        return st_fail(&x->fault, ST_DAMAGED, "cannot %s the index: %s", doing, text);
    case SQLITE_NOMEM:
        return st_fail(&x->fault, ST_NO_MEMORY, "cannot %s the index: %s", doing, text);
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
        return st_fail(&x->fault, ST_READ_ONLY, "cannot %s the index: %s", doing, text);
    default:
        return st_fail(&x->fault, ST_IO, "cannot %s the index: %s", doing, text);
    }
}

sqlite3_stmt *st_index_sql(struct st_index *x, int which)
{
    if (x->sql[which] == NULL &&
        sqlite3_prepare_v3(x->db, sql_text[which], -1, SQLITE_PREPARE_PERSISTENT, &x->sql[which],
                           NULL) != SQLITE_OK) {
        st_index_sql_fail(x, "read");
        return NULL;
    }
    if (x->sql[which] != NULL)
        sqlite3_reset(x->sql[which]);
    return x->sql[which];
}

static enum st_code run(struct st_index *x, const char *sql, const char *doing)
{
    return sqlite3_exec(x->db, sql, NULL, NULL, NULL) == SQLITE_OK ? ST_OK
                                                                   : st_index_sql_fail(x, doing);
}

static void database_close(struct st_index *x)
{
    for (int i = 0; i < ST_SQL_COUNT; i++) {
        sqlite3_finalize(x->sql[i]);
        x->sql[i] = NULL;
    }
    sqlite3_close(x->db);
    x->db = NULL;
}

static int note_wal_pages(void *arg, sqlite3 *db, const char *name, int pages)
{
    (void)db, (void)name;
    ((struct st_index *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

static enum st_code database_open(struct st_index *x, const char *path, bool read_only)
{
    int flags = SQLITE_OPEN_NOMUTEX |
                (read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    if (sqlite3_open_v2(path, &x->db, flags, NULL) != SQLITE_OK)
        return st_index_sql_fail(x, "open");
    /* Checkpoints are writes: they happen under the index lock, never on closing. */
    sqlite3_db_config(x->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_wal_hook(x->db, note_wal_pages, x);
    sqlite3_busy_timeout(x->db, ST_INDEX_WAIT_MS);
    return run(x, "PRAGMA synchronous=NORMAL", "open");
}

static enum st_code version_read(struct st_index *x, int *version)
{
    sqlite3_stmt *s;
    if (sqlite3_prepare_v2(x->db, "PRAGMA user_version", -1, &s, NULL) != SQLITE_OK)
        return st_index_sql_fail(x, "read");
    int r = sqlite3_step(s);
    *version = r == SQLITE_ROW ? sqlite3_column_int(s, 0) : -1;
    sqlite3_finalize(s);
    return r == SQLITE_ROW ? ST_OK : st_index_sql_fail(x, "read");
}

/* --- opening ---------------------------------------------------------------------------------- */

static enum st_code index_path(struct st_index *x, const char *suffix, char out[ST_PATH_SIZE])
{
    char name[32];
    snprintf(name, sizeof name, "index.db%s", suffix);
    return st_path(&x->fault, out, x->log->dir, name, NULL);
}

/* An index that cannot be used is only a lost cache. The index lock is held. */
static enum st_code index_remove(struct st_index *x)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        char path[ST_PATH_SIZE];
        enum st_code code = index_path(x, suffixes[i], path);
        if (code != ST_OK)
            return code;
        x->log->env->unlink(x->log->env->ctx, path);
    }
    return ST_OK;
}

static uint64_t now_ns(const struct st_index *x)
{
    return x->log->env->boot_ns(x->log->env->ctx);
}

/* What only this process sees: IN_MEMORY for where no file can be written; IN_FILE, a temporary one without
 * a name, for as much as there may be, with some megabytes of it in memory. */
#define IN_MEMORY ":memory:"
#define IN_FILE   ""

static enum st_code open_own(struct st_index *x, const char *where)
{
    database_close(x);
    x->private = true;
    x->private_ns = now_ns(x);
    enum st_code code = database_open(x, where, false);
    return code == ST_OK ? run(x, schema, "create") : code;
}

static enum st_code open_private(struct st_index *x)
{
    return open_own(x, IN_MEMORY);
}

/* The index lock is held: makes the tables, after removing what is not an index of ours. */
static enum st_code open_create(struct st_index *x, const char *path)
{
    int version = -1;
    enum st_code code = version_read(x, &version);
    if (code == ST_OK && version == 0)
        code = run(x, schema, "create");
    else if (code == ST_OK && version != INDEX_VERSION)
        code = ST_DAMAGED;
    if (code != ST_DAMAGED)
        return code;
    database_close(x);
    code = index_remove(x);
    if (code == ST_OK)
        code = database_open(x, path, false);
    return code == ST_OK ? run(x, schema, "create") : code;
}

static enum st_code open_shared(struct st_index *x)
{
    char path[ST_PATH_SIZE];
    enum st_code code = index_path(x, "", path);
    if (code != ST_OK)
        return code;
    code = database_open(x, path, x->log->read_only);
    int version = -1;
    if (code == ST_OK)
        code = version_read(x, &version);
    if (code == ST_OK && version == INDEX_VERSION)
        return ST_OK;
    if ((code != ST_OK && code != ST_DAMAGED) || x->log->read_only)
        return code == ST_OK ? ST_DAMAGED : code;
    code = st_log_take(x->log, ST_LOCK_INDEX, ST_INDEX_WAIT_MS);
    if (code != ST_OK)
        return code;
    code = open_create(x, path);
    st_log_drop(x->log, ST_LOCK_INDEX);
    return code;
}

/* Whether SQLite finds nothing wrong with the open database; reads all of it. */
static bool is_whole(struct st_index *x)
{
    sqlite3_stmt *s = NULL;
    bool whole = sqlite3_prepare_v2(x->db, "PRAGMA quick_check(1)", -1, &s, NULL) == SQLITE_OK &&
                 sqlite3_step(s) == SQLITE_ROW &&
                 strcmp((const char *)sqlite3_column_text(s, 0), "ok") == 0;
    sqlite3_finalize(s);
    return whole;
}

/*
 * SQLite found the file damaged: begins a new one, unless somebody else has done so meanwhile.
 * Processes that have the old one open go on with it until they find the damage.
 */
static enum st_code replace_corrupt(struct st_index *x)
{
    char path[ST_PATH_SIZE];
    enum st_code code = index_path(x, "", path);
    st_index_forget(x);
    database_close(x);
    x->corrupt = false;
    if (code == ST_OK)
        code = st_log_take(x->log, ST_LOCK_INDEX, ST_INDEX_WAIT_MS);
    if (code != ST_OK)
        return open_private(x);
    code = database_open(x, path, false);
    if (code != ST_OK || !is_whole(x)) {
        database_close(x);
        code = index_remove(x);
        if (code == ST_OK)
            code = database_open(x, path, false);
        if (code == ST_OK)
            code = run(x, schema, "create");
    }
    st_log_drop(x->log, ST_LOCK_INDEX);
    x->corrupt = false;
    return code == ST_OK ? code : open_private(x);
}

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
    st_buf_init(&x->near.name, x->alloc);
    enum st_code code = open_shared(x);
    /* Whatever is wrong with the file, reading goes on, from the log. */
    if (code != ST_OK)
        code = open_private(x);
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
        st_index_write_end(x, false);
    st_index_forget(x);
    st_rows_release(x);
    database_close(x);
    if (x->history_reader_open)
        st_log_reader_close(&x->history_reader);
    st_record_scratch_release(&x->scratch);
    st_record_scratch_release(&x->read_scratch);
    st_buf_release(&x->value);
    st_near_release(x);
    free(x->writers);
    free(x->tail);
    free(x);
}

const struct st_fault *st_index_fault(const struct st_index *x)
{
    return &x->fault;
}

static enum st_code leave_file(struct st_index *x, const char *where)
{
    if (x->private)
        return ST_OK;
    st_index_end(x);
    st_index_forget(x);
    x->left = true;
    return open_own(x, where);
}

enum st_code st_index_leave_file(struct st_index *x)
{
    return leave_file(x, IN_MEMORY);
}

enum st_code st_index_anew(struct st_index *x)
{
#ifdef ST_DEFECT_ANEW_IN_MEMORY
    return leave_file(x, IN_MEMORY);
#endif
    return leave_file(x, IN_FILE);
}

/* --- transactions ------------------------------------------------------------------------------
 */

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
    sqlite3_reset(s);
    if (r != SQLITE_ROW && r != SQLITE_DONE)
        return st_index_sql_fail(x, "read");
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
    x->stored_counter = p.counter;
    x->loaded = true;
    return ST_OK;
}

static enum st_code position_store(struct st_index *x)
{
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
    code = run(x, "BEGIN IMMEDIATE", "write");
    x->writing = code == ST_OK;
    if (code == ST_OK)
        code = st_index_position_load(x);
    if (code != ST_OK)
        st_index_write_end(x, false);
    return code;
}

/* The index lock is held. Readers of older pages are not waited for: the next commit tries again.
 * Nor is an error one of the commit before. */
static void checkpoint(struct st_index *x)
{
    if (x->wal_pages <= WAL_PAGES_MAX)
        return;
    sqlite3_busy_timeout(x->db, 0);
    sqlite3_wal_checkpoint_v2(x->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(x->db, ST_INDEX_WAIT_MS);
    x->wal_pages = 0;
}

enum st_code st_index_write_end(struct st_index *x, bool commit)
{
    enum st_code code = ST_OK;
    if (x->writing && commit) {
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
            code = run(x, "COMMIT", "write");
        if (code == ST_OK) {
            x->behind = false;
            x->stored_counter = x->position.counter;
            checkpoint(x);
        }
    }
    if (x->writing && (!commit || code != ST_OK)) {
        struct st_fault keep = x->fault;
        run(x, "ROLLBACK", "write");
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
    return run(x,
               "DELETE FROM kv; DELETE FROM hist; DELETE FROM writers; DELETE FROM meta;"
               "DROP TABLE IF EXISTS fts; DROP TABLE IF EXISTS fts_row;",
               "empty");
}

/* --- catching up --------------------------------------------------------------------------------
 */

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
        enum st_code end = st_index_write_end(x, code == ST_OK);
        if (code == ST_OK)
            code = end;
        if (code != ST_OK)
            return code;
    }
    return ST_OK;
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

static enum st_code read_begin(struct st_index *x)
{
    enum st_code code = run(x, "BEGIN", "read");
    x->reading = code == ST_OK;
    return code == ST_OK ? st_index_position_load(x) : code;
}

/* Little enough is missing to be read from the log each time, rather than written once. */
static bool is_near(const struct st_index *x, const struct st_tail *tail, uint64_t gap)
{
    const struct st_position *p = &x->position;
    struct st_writer own = st_log_writer(x->log);
    return p->replica == own.replica && p->epoch == own.epoch && tail->counter >= p->counter &&
           tail->counter - x->stored_counter <= gap;
}

static bool recoverable(enum st_code code)
{
    return code == ST_UNAVAILABLE || code == ST_READ_ONLY || code == ST_NO_SPACE ||
           code == ST_DAMAGED || code == ST_IO;
}

static enum st_code begin_once(struct st_index *x)
{
    struct st_tail tail;
    enum st_code code = st_log_tail(x->log, &tail);
    if (code != ST_OK) {
        x->fault = x->log->fault;
        return code;
    }
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

/* What is kept of the database in memory while the file is tried. */
struct aside {
    sqlite3 *db;
    sqlite3_stmt *sql[ST_SQL_COUNT];
};

static void set_aside(struct st_index *x, struct aside *out)
{
    st_index_forget(x);
    out->db = x->db;
    memcpy(out->sql, x->sql, sizeof x->sql);
    x->db = NULL;
    memset(x->sql, 0, sizeof x->sql);
    x->private = false;
}

static void put_back(struct st_index *x, const struct aside *a)
{
    st_index_end(x);
    st_index_forget(x);
    database_close(x);
    x->db = a->db;
    memcpy(x->sql, a->sql, sizeof x->sql);
    x->private = true;
    x->corrupt = false;
}

/* As begin_once(), without waiting for anybody and without applying in memory. */
static enum st_code begin_in_file(struct st_index *x)
{
    struct st_tail tail;
    enum st_code code = st_log_tail(x->log, &tail);
    if (code == ST_OK)
        code = open_shared(x);
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
    if (!x->private || x->left || now_ns(x) - x->private_ns < (uint64_t)ST_INDEX_RETRY_MS * 1000000)
        return ST_UNAVAILABLE;
    struct aside memory;
    set_aside(x, &memory);
    enum st_code code = begin_in_file(x);
    if (code != ST_OK) {
        put_back(x, &memory);
        x->private_ns = now_ns(x);
        return code;
    }
    for (int i = 0; i < ST_SQL_COUNT; i++)
        sqlite3_finalize(memory.sql[i]);
    sqlite3_close(memory.db);
    return ST_OK;
}

enum st_code st_index_begin(struct st_index *x)
{
    if (rejoin(x) == ST_OK)
        return ST_OK;
    enum st_code code = begin_once(x);
    if (code != ST_OK && x->corrupt && !x->private) {
        st_index_end(x);
        code = x->corrupt ? replace_corrupt(x) : ST_OK;
        if (code == ST_OK)
            code = begin_once(x);
    }
    if (code != ST_OK && recoverable(code) && !x->private) {
        /* The index file is beyond use here; the log is not. */
        st_index_end(x);
        st_index_forget(x);
        code = open_private(x);
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
#define GAP_TIMES_MAX 16

/* ST_UNAVAILABLE: it takes an ordinary beginning. */
static enum st_code begin_for(struct st_index *x, struct st_str entity)
{
    struct st_tail tail;
    enum st_code code = x->gap == 0 ? ST_UNAVAILABLE : st_log_tail(x->log, &tail);
    if (code == ST_OK)
        code = read_begin(x);
    if (code == ST_OK)
        code = st_index_compare(x, &tail);
    if (code != ST_UNAVAILABLE || !x->reading)
        return code;
    if (!is_near(x, &tail, x->gap)) {
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
    enum st_code code = st_log_tail(x->log, &tail);
    if (code != ST_OK) {
        x->fault = x->log->fault;
        return code;
    }
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
    if (x->reading) {
        for (int i = 0; i < ST_SQL_COUNT; i++)
            if (x->sql[i] != NULL)
                sqlite3_reset(x->sql[i]);
        sqlite3_exec(x->db, "COMMIT", NULL, NULL, NULL);
    }
    x->reading = false;
    /* For the next one. */
    if (x->corrupt && !x->private && !x->log->read_only && !x->log->locked[ST_LOCK_APPEND])
        replace_corrupt(x);
}

enum st_code st_index_catch_up(struct st_index *x, uint64_t wait_ms)
{
    struct st_tail tail;
    enum st_code code = st_log_tail(x->log, &tail);
    if (code != ST_OK)
        x->fault = x->log->fault;
    return code == ST_OK ? catch_up_writing(x, &tail, wait_ms) : code;
}

enum st_code st_index_rebuild(struct st_index *x)
{
    enum st_code code = st_index_write_begin(x, x->log->wait_ms);
    if (code == ST_OK) {
        code = st_index_clear(x);
        enum st_code end = st_index_write_end(x, code == ST_OK);
        if (code == ST_OK)
            code = end;
    }
    if (code == ST_OK)
        code = st_index_begin(x);
    st_index_end(x);
    return code;
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

const struct st_kv *st_index_kv(struct st_index *x)
{
    return &x->kv;
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
