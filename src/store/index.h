/*
 * index.h - the index: what the log means, kept in SQLite so that a command need not read the
 * log. A cache: it can be thrown away at any time and is rebuilt from the log.
 *
 * Tables of <state>/index.db (user_version 6; any other is thrown away):
 *   meta(k TEXT PRIMARY KEY, v BLOB)            one row "position": struct position, index.c
 *   kv(k BLOB PRIMARY KEY, v BLOB)              the rows of core/state.h; before each value 8
 *                                               bytes: the key's newest history entry or 0
 *   hist(chunk INTEGER PRIMARY KEY, data BLOB)  history entries, 126 to a chunk: every operation
 *                                               in the order in which this replica applied it
 *   writers(no INTEGER PRIMARY KEY, replica, epoch, segment, offset)
 *                                               numbers used in hist; how far each log was read
 *
 * The replica's own log is the order of everything: applying it means reading it from the
 * position on, and at a "seen" operation applying the named records of other writers first. So
 * what a reader is shown is at every moment exactly the context of the next append.
 *
 * The position holds the counter and checksum of the last applied record of the own log. If the
 * log does not continue from there (a lost tail, another log, an index from elsewhere), the
 * index is emptied and rebuilt.
 *
 * Writing to the index (checkpoints included) happens under the index lock. A reader that cannot
 * have it, because another process is indexing or stopped, or because the state is read-only,
 * applies what is missing in memory, for itself. Where the file cannot be used at all, the whole index
 * is in memory, until the file can be used again.
 */
#ifndef ST_STORE_INDEX_H
#define ST_STORE_INDEX_H

#include "core/state.h"
#include "store/log.h"

/* How long a reader waits for somebody else's indexing before it works alone. Milliseconds: a
 * batch of ST_INDEX_BATCH records takes about this long. */
#define ST_INDEX_WAIT_MS 500

/* Who had to do without the file tries to have it again when this has passed. Milliseconds: it costs
 * opening a database, or, where the file is behind by then, writing what is missing. */
#define ST_INDEX_RETRY_MS 5000

/* Records applied in one transaction: bounds memory and the time the lock is held. */
#define ST_INDEX_BATCH 50000
/* The same while an index is built from nothing, when nobody can read it yet: every transaction
 * writes nearly all pages of the table again, so few and large ones are half the work. */
#define ST_INDEX_BATCH_FIRST 250000
/* A transaction also ends when it has changed this many rows (a record can have 1,024 operations):
 * some 120 MB of memory. */
#define ST_INDEX_ROWS_MAX 250000

struct st_index;

/*
 * A further state machine over the same log: it is given every record after layer 1 has applied
 * it, and keeps its rows in the same store, under keys of its own, in the same transaction.
 */
struct st_machine {
    /* `number` is that of the record's first history entry. */
    enum st_code (*apply)(void *ctx, const struct st_kv *kv, const struct st_record *r,
                          uint64_t number);
    /* A batch is applied, and not yet committed. NULL: nobody wants to know. */
    void (*applied)(void *ctx);
    void *ctx;
};

/* Opens (creates, if need be) the index of an open log. ST_OK also when only a private one in
 * memory could be had. The log is borrowed for the life of the index. */
enum st_code st_index_open(struct st_index **out, struct st_log *log, struct st_fault *fault);
/* The machine is copied; its ctx is borrowed for the life of the index. */
void st_index_set_machine(struct st_index *x, struct st_machine machine);
/* Where at most so many records are missing they are applied in memory, and the file is left as it
 * is; 0 at first. For processes that live long and write often: many of them spend their time on
 * the index lock otherwise. */
void st_index_set_gap(struct st_index *x, uint64_t records);
void st_index_close(struct st_index *x);

/* Begins a consistent read that includes everything appended before the call. The functions
 * below are valid between begin and end. */
enum st_code st_index_begin(struct st_index *x);
/* The same for a reader of one entity's attributes: what is missing and does not touch the entity
 * may stay missing (with a gap, see st_index_set_gap()). */
enum st_code st_index_begin_for(struct st_index *x, struct st_str entity);
/* The same as st_index_begin() without ever waiting for, or taking, the index lock: for a decision
 * under the append lock. What is missing is applied in memory. */
enum st_code st_index_begin_alone(struct st_index *x);
/* The same for who has appended the last record and is alone: ST_UNAVAILABLE when more than that is
 * missing in memory, or more than the gap in the file. */
enum st_code st_index_begin_next(struct st_index *x);
void st_index_end(struct st_index *x);
/* The same without applying anything: ST_UNAVAILABLE when the index is behind `tail`. */
enum st_code st_index_begin_at(struct st_index *x, const struct st_tail *tail);
/* The same as it stands in the file, however old, but not older than `at`: else ST_UNAVAILABLE. */
enum st_code st_index_begin_since(struct st_index *x, struct st_dot at);
/* Applies what the log has now, under the index lock; no read is begun. ST_UNAVAILABLE: the lock
 * could not be had within wait_ms. */
enum st_code st_index_catch_up(struct st_index *x, uint64_t wait_ms);
/* The same where the file lacks more than so many records, and without waiting. */
enum st_code st_index_catch_up_beyond(struct st_index *x, uint64_t records);
/* The same in as many steps as its caller likes, in one transaction: begins it, applies up to `tail`, ends
 * it. Nothing else may be asked of the index in between. The end commits if `code`, which all went with, is
 * ST_OK; it returns that, or its own failure. ST_UNAVAILABLE: the lock could not be had. ST_LIMIT: there is
 * too much to apply for one transaction. */
enum st_code st_index_write_begin(struct st_index *x, uint64_t wait_ms);
enum st_code st_index_write_add(struct st_index *x, const struct st_tail *tail);
enum st_code st_index_write_end(struct st_index *x, enum st_code code);
/* The last record of the own log that the state is made of. Between begin and end. */
struct st_dot st_index_applied(const struct st_index *x);
/* Tells the log the context that the state is made of, so that nobody need read it there. Between
 * begin and end. */
enum st_code st_index_tell_context(struct st_index *x);
/* From here on in memory only: for what has to be written where the file cannot be. */
enum st_code st_index_leave_file(struct st_index *x);
/* From here on in a temporary file of its own, empty at first: for applying the whole log anew, which has
 * no bound, in memory that has one. */
enum st_code st_index_anew(struct st_index *x);
const struct st_fault *st_index_fault(const struct st_index *x);

/* Throws everything away and applies the whole log again (takes the index lock). */
enum st_code st_index_rebuild(struct st_index *x);

/* The rows. Lent strings are valid until the next call on the index. */
const struct st_kv *st_index_kv(struct st_index *x);
/* The writers' states, loaded on demand. */
enum st_code st_index_state(struct st_index *x, const struct st_state **out);

struct st_index_totals {
    uint64_t entries; /* history entries */
    uint64_t records;
    uint64_t attributes; /* register rows: absent ones included */
    uint64_t pending;    /* 'p' rows */
    uint64_t unseen;     /* 'u' rows */
    uint64_t digest[2];
    bool behind;  /* this reader works alone: the index lock could not be had */
    bool private; /* no index file: memory only */
};
void st_index_totals(struct st_index *x, struct st_index_totals *out);

/* One operation in the order of application; numbers run from 1 without gaps. */
struct st_index_entry {
    uint64_t previous; /* the entry before it on the same attribute; 0: none */
    struct st_writer writer;
    uint32_t op;
    uint64_t segment, offset; /* where its record is */
};
enum st_code st_index_entry(struct st_index *x, uint64_t number, struct st_index_entry *out);
/* The newest entry of a register key (st_key_register); 0: none. */
enum st_code st_index_head(struct st_index *x, struct st_str key, uint64_t *number);
/* The record of an entry, read from the log. Lent until the next call of this function. */
enum st_code st_index_record(struct st_index *x, const struct st_index_entry *entry,
                             struct st_record *out);

#endif
