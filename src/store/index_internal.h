/*
 * index_internal.h - shared by the files of the index:
 *   index.c          the handle, transactions, the position
 *   index_file.c     the database and its file
 *   index_begin.c    catching up, beginning to read
 *   index_apply.c    applying what the log says
 *   index_names.c    which entities lines name
 *   index_near.c     those that are missing to the log's end: is one entity touched?
 *   index_whole.c    all of them: is there anything of it?
 *   index_rows.c     the store interface over kv: a write-back cache
 *   index_history.c  entries and the records behind them
 */
#ifndef ST_STORE_INDEX_INTERNAL_H
#define ST_STORE_INDEX_INTERNAL_H

#include "store/index.h"
#include "store/row_cache.h"

#include <sqlite3.h>

/* A macro's value as text, for SQL. */
#define TEXT(x)    #x
#define TEXT_OF(x) TEXT(x)

/* The unfinished chunk is written with every commit, and read for every entry that is looked up: some
 * 900 bytes. */
#define ST_CHUNK_ENTRIES 126u
/* Entries that wait in memory before they are written within a transaction: 32 KiB. */
#define ST_TAIL_ENTRIES_MAX 1024u

/* An entry of the history: one operation of a record. */
struct st_place {
    uint64_t previous; /* the entry before it on the same attribute; 0: none */
    uint32_t writer_no, op;
    uint64_t segment, offset; /* of its record */
};

/* What the index has applied; the "position" row, native byte order (an index from a machine of
 * the other order does not match the log and is rebuilt). */
struct st_position {
    uint64_t replica, epoch; /* whose log */
    uint64_t counter, checksum;
    uint64_t segment,
        offset; /* where its next record starts; what `writers` says of it may be old */
    uint64_t entries, records, attributes, pending, unseen;
    uint64_t digest[2];
    uint64_t generation; /* changes with every commit */
};

struct st_index_writer {
    struct st_writer writer;
    uint64_t segment, offset; /* where its next record starts; 0,0: not known */
    bool dirty;
    bool stored; /* it has a row */
    struct st_log_reader reader;
    bool reader_open;
};

enum {
    ST_SQL_GET,
    ST_SQL_PUT,
    ST_SQL_DEL,
    ST_SQL_SCAN,
    ST_SQL_CHUNK_GET,
    ST_SQL_CHUNK_PUT,
    ST_SQL_WRITER_PUT,
    ST_SQL_META_GET,
    ST_SQL_META_PUT,
    ST_SQL_COUNT
};

/* Words of a filter of names: 16 KiB, of which a thousand lines with eight names each leave nine tenths
 * unset. */
#define ST_NAMES_WORDS 2048

/* Which entities some lines name; see index_names.c. */
struct st_names {
    uint64_t bits[ST_NAMES_WORDS]; /* a Bloom filter */
    size_t set;                    /* bits */
    bool seen;                     /* a line takes in the records of others */
    bool any;                      /* a line may touch whatever it likes */
};

/* What the state in memory lacks; see index_near.c. */
struct st_near {
    struct st_names names;
    struct st_log_reader reader;
    bool open;
};

/* All that there is; see index_whole.c. */
struct st_whole {
    struct st_names names;
    struct st_log_reader *logs; /* ours first */
    size_t count, cap;
    uint64_t lines, bytes; /* that may still be read for this question */
    struct st_record_scratch scratch;
    bool lost; /* not known, and will not be */
};

struct st_index {
    struct st_log *log; /* borrowed */
    const struct st_alloc *alloc;
    sqlite3 *db;
    sqlite3_stmt *sql[ST_SQL_COUNT];
    uint64_t gap; /* see st_index_set_gap() */
    struct st_near near;
    struct st_whole whole;
    bool nothing;        /* the read is of an entity that no line names */
    struct st_buf name;  /* for st_names_spelled() */
    bool private;        /* the database is in memory */
    bool left;           /* and stays there, see st_index_leave_file() */
    uint64_t private_ns; /* since when it was tried to have the file, boot_ns */
    bool writing;        /* a write transaction is open */
    bool reading;        /* a read transaction is open */
    bool behind;         /* rows in memory are ahead of the database */
    bool loaded;         /* position is of the open transaction */
    int wal_pages;       /* in the WAL after the last commit */
    unsigned commits;    /* through this database handle */
    bool corrupt;        /* SQLite found the file damaged */
    struct st_position position;
    struct st_position stored; /* the one in the database; in memory it may be ahead */
    struct st_rows rows;
    struct st_kv kv;
    struct st_machine machine; /* apply NULL: none */
    struct st_state state;
    bool state_loaded;
    struct st_index_writer *writers; /* by number - 1 */
    size_t writer_count, writer_cap;
    bool writers_loaded;
    /* Entries not yet in the database: from entry number tail_first on. */
    struct st_place *tail;
    uint64_t tail_first; /* first entry of the chunk that the buffer begins with; 1-based */
    size_t tail_count, tail_cap;
    /* The record being applied. */
    uint64_t record_base; /* number of its first entry */
    struct st_record_scratch scratch, read_scratch;
    struct st_log_reader history_reader;
    bool history_reader_open;
    struct st_record read_record; /* the last result of st_index_record; where it is: */
    uint64_t read_segment, read_offset;
    struct st_buf value; /* for lent results */
    struct st_fault fault;
};

/* index_file.c */
enum st_code st_index_sql_fail(struct st_index *x, const char *doing);
sqlite3_stmt *st_index_sql(struct st_index *x, int which); /* NULL: fault is set */
enum st_code st_index_run(struct st_index *x, const char *sql, const char *doing);
uint64_t st_index_now_ns(const struct st_index *x);
enum st_code st_index_open_shared(struct st_index *x);
/* A database in memory instead. */
enum st_code st_index_open_private(struct st_index *x);
void st_index_database_close(struct st_index *x);
/*
 * SQLite found the file damaged: begins a new one, unless somebody else has done so meanwhile.
 * Processes that have the old one open go on with it until they find the damage.
 */
enum st_code st_index_replace_corrupt(struct st_index *x);
/* The database in memory is kept while the file is tried, and put back if that is of no use. */
struct st_index_aside {
    sqlite3 *db;
    sqlite3_stmt *sql[ST_SQL_COUNT];
};
void st_index_set_aside(struct st_index *x, struct st_index_aside *out);
void st_index_put_back(struct st_index *x, const struct st_index_aside *a);
void st_index_drop_aside(struct st_index_aside *a);

/* index.c */
enum st_code st_index_position_load(struct st_index *x);
/* Forgets everything that is in memory. */
void st_index_forget(struct st_index *x);
/* Empties the tables; a write transaction is open. */
enum st_code st_index_clear(struct st_index *x);

/* index_names.c */
#define ST_NAMES_BITS (sizeof((struct st_names *)0)->bits * 8)
void st_names_reset(struct st_names *n);
/* The next line of a log, which is given out too (lent), and the names in it. */
enum st_code st_names_read(struct st_names *n, struct st_log_reader *r, struct st_str *line);
/* Whether what was read is what the log is. Not so: another epoch has begun; an append failed half-way, and its
 * first lines were read before they were cut off; the files were put back to an earlier moment. */
bool st_names_at(const struct st_log_reader *r, const struct st_tail *tail);
/* A name as it stands in lines, lent; empty when memory ran out. */
struct st_str st_names_spelled(struct st_index *x, struct st_str entity);
/* No: for sure. */
bool st_names_have(const struct st_names *n, struct st_str spelled);

/* index_near.c */
/* The state in memory has changed, or is given up. */
void st_near_reset(struct st_index *x);
/* Whether a record between the state in memory and the tail may touch the entity. */
bool st_near_touches(struct st_index *x, const struct st_tail *tail, struct st_str entity);

/* index_whole.c */
void st_whole_init(struct st_index *x);
void st_whole_release(struct st_index *x);
/* Whether no record up to the tail touches the entity, for sure. */
bool st_whole_lacks(struct st_index *x, const struct st_tail *tail, struct st_str entity);

/* index_rows.c */
void st_rows_init(struct st_index *x);
void st_rows_clear(struct st_index *x);
/* The table kv is empty, and what comes into it comes from here, until st_rows_clear(). */
void st_rows_begin_empty(struct st_index *x);
void st_rows_release(struct st_index *x);
/* Writes the changed rows to the database. */
enum st_code st_rows_flush(struct st_index *x);
/* Adds to sum what the changed rows do to the digest. */
void st_rows_digest(const struct st_index *x, uint64_t digest[2]);
enum st_code st_rows_head(struct st_index *x, struct st_str key, uint64_t *head);

/* index_apply.c */
/* Whether the position is at the log's tail (ST_OK), behind it (ST_UNAVAILABLE), or not of this
 * log (ST_DAMAGED). */
enum st_code st_index_compare(struct st_index *x, const struct st_tail *tail);
/* Applies at most `limit` records towards the tail; *done when it is reached. ST_DAMAGED: the
 * index does not fit the log (`x->fault.message` empty) or the log is damaged. */
enum st_code st_index_apply(struct st_index *x, const struct st_tail *tail, uint64_t limit,
                            bool *done);
enum st_code st_index_state_load(struct st_index *x);
enum st_code st_index_writers_load(struct st_index *x);
/* The number of a writer, added when new; 0: out of memory. */
uint32_t st_index_writer_no(struct st_index *x, struct st_writer w);
enum st_code st_index_writers_flush(struct st_index *x);

/* index_history.c */
enum st_code st_history_push(struct st_index *x, uint32_t writer_no, uint64_t segment,
                             uint64_t offset, size_t ops);
void st_history_set_previous(struct st_index *x, uint64_t number, uint64_t previous);
enum st_code st_history_flush(struct st_index *x);
void st_history_forget(struct st_index *x);

#endif
