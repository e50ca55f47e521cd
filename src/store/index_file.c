/*
 * index_file.c - the database of the index and its file: SQL, opening, making, replacing what cannot be used,
 * doing without. See index.h.
 */
#include "store/index_internal.h"

#include "store/log_internal.h"

#include <stdio.h>
#include <string.h>

#define INDEX_VERSION 6

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
    [ST_SQL_META_GET] = "SELECT (SELECT v FROM meta WHERE k='position')", /* always one row */
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

enum st_code st_index_run(struct st_index *x, const char *sql, const char *doing)
{
    return sqlite3_exec(x->db, sql, NULL, NULL, NULL) == SQLITE_OK ? ST_OK
                                                                   : st_index_sql_fail(x, doing);
}

void st_index_database_close(struct st_index *x)
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
    x->commits = 0;
    sqlite3_busy_timeout(x->db, ST_INDEX_WAIT_MS);
    return st_index_run(x, "PRAGMA synchronous=NORMAL", "open");
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

uint64_t st_index_now_ns(const struct st_index *x)
{
    return x->log->env->boot_ns(x->log->env->ctx);
}

/* What only this process sees: IN_MEMORY for where no file can be written; IN_FILE, a temporary one without
 * a name, for as much as there may be, with some megabytes of it in memory. */
#define IN_MEMORY ":memory:"
#define IN_FILE   ""

static enum st_code open_own(struct st_index *x, const char *where)
{
    st_index_database_close(x);
    x->private = true;
    x->private_ns = st_index_now_ns(x);
    enum st_code code = database_open(x, where, false);
    return code == ST_OK ? st_index_run(x, schema, "create") : code;
}

enum st_code st_index_open_private(struct st_index *x)
{
    return open_own(x, IN_MEMORY);
}

/* The index lock is held: makes the tables, after removing what is not an index of ours. */
static enum st_code open_create(struct st_index *x, const char *path)
{
    int version = -1;
    enum st_code code = version_read(x, &version);
    if (code == ST_OK && version == 0)
        code = st_index_run(x, schema, "create");
    else if (code == ST_OK && version != INDEX_VERSION)
        code = ST_DAMAGED;
    if (code != ST_DAMAGED)
        return code;
    st_index_database_close(x);
    code = index_remove(x);
    if (code == ST_OK)
        code = database_open(x, path, false);
    return code == ST_OK ? st_index_run(x, schema, "create") : code;
}

enum st_code st_index_open_shared(struct st_index *x)
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

enum st_code st_index_replace_corrupt(struct st_index *x)
{
    char path[ST_PATH_SIZE];
    enum st_code code = index_path(x, "", path);
    st_index_forget(x);
    st_index_database_close(x);
    x->corrupt = false;
    if (code == ST_OK)
        code = st_log_take(x->log, ST_LOCK_INDEX, ST_INDEX_WAIT_MS);
    if (code != ST_OK)
        return st_index_open_private(x);
    code = database_open(x, path, false);
    if (code != ST_OK || !is_whole(x)) {
        st_index_database_close(x);
        code = index_remove(x);
        if (code == ST_OK)
            code = database_open(x, path, false);
        if (code == ST_OK)
            code = st_index_run(x, schema, "create");
    }
    st_log_drop(x->log, ST_LOCK_INDEX);
    x->corrupt = false;
    return code == ST_OK ? code : st_index_open_private(x);
}

/* --- doing without the file ----------------------------------------------------------------------- */

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

void st_index_set_aside(struct st_index *x, struct st_index_aside *out)
{
    st_index_forget(x);
    out->db = x->db;
    memcpy(out->sql, x->sql, sizeof x->sql);
    x->db = NULL;
    memset(x->sql, 0, sizeof x->sql);
    x->private = false;
}

void st_index_put_back(struct st_index *x, const struct st_index_aside *a)
{
    st_index_end(x);
    st_index_forget(x);
    st_index_database_close(x);
    x->db = a->db;
    memcpy(x->sql, a->sql, sizeof x->sql);
    x->private = true;
    x->corrupt = false;
}

void st_index_drop_aside(struct st_index_aside *a)
{
    for (int i = 0; i < ST_SQL_COUNT; i++)
        sqlite3_finalize(a->sql[i]);
    sqlite3_close(a->db);
}
