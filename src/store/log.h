/*
 * log.h - the log kernel: one replica's append-only log, shared by all processes of a machine.
 *
 * Files in a state directory:
 *   identity                       who writes here: replica, epoch, boot, fingerprint (JSON);
 *                                  replaced by rename
 *   page                           shared memory of all processes (struct st_page)
 *   append.lock flush.lock intake.lock index.lock
 *   log/<replica>-<epoch>/<first counter, 16 decimal digits>.jsonl    segments, 16 hex each
 *   quarantine/                    what was cut off a log's tail
 *
 * Validity of a segment: its records are valid lines (record.h) of the directory's writer, the
 * counters run from the file name's without gaps, each names the checksum of the one before
 * (across segments), and the first record of every segment begins with a "seen" operation that
 * holds the writer's whole context (left out when that is empty). So the context of a tail can
 * be had from the last segment alone.
 *
 * Appending. The append lock is held to verify the tail, take the next counter, write once. The
 * tail (counter, segment, offset, checksum, time) is in the page, in two slots of which one is
 * current, so that a process killed while changing it leaves the old one. Verifying: what ends at
 * the tail's offset has the tail's checksum, and nothing follows, or room (log_room.c). If anything
 * else does, somebody died between write and update, or in the middle of a write: whole valid records
 * are taken over, everything from the first break goes to quarantine. Readers never cut.
 *
 * Flushing. The durable watermark is the counter up to which everything is on disk. One process
 * flushes (flush lock) for all that wrote before it; the others sleep on a futex in the page.
 * `flushing` is set around every flush: if it is found set with the lock free, the flusher died
 * and its result, perhaps an error that Linux reports only once, is lost. Then what is
 * above the watermark is verified, written again in place and flushed.
 * A failed flush freezes the watermark for every process: all that wait for more get
 * ST_OUTCOME_UNKNOWN, and the next append begins a new epoch that takes over what was durable;
 * the rest goes to quarantine. An epoch ends in the same way: first the watermark is raised to the
 * tail and frozen, so nobody can append to it any more, whatever happens next.
 *
 * Epochs. A new one begins when the boot id changed, the fingerprint of the state directory
 * (inode and birth time of `log` and `page`, file system) is another (copied, restored), the
 * page does not belong to the identity, the watermark is frozen, or the caller has its own doubt.
 * Under the append lock: flush and freeze the old log, verify it, write the new epoch's first
 * record, replace `identity` durably, set up the page.
 *
 * Numbers. Tasks and messages are named by numbers that the kernel gives out: the tail knows the
 * highest that this replica has made or taken in, a record takes the next ones under the append
 * lock, and its header carries the highest ("n"), so that the tail is known after a crash too. So
 * a number is known from the append alone, and no two processes get the same. Between replicas:
 * those of the founding one are plain, `#143`; all others have a suffix, `#143@pi-3f9a2c`, which
 * lives in the identity. It is given to who joins a workspace, and anew to an epoch that begins
 * because others may go on with the same log (copy, doubt) or know more of it than is left
 * (repair): 24 random bits beside the name keep two of them apart.
 *
 * Locks are taken in the order intake, append, flush; index after none of them or alone.
 */
#ifndef ST_STORE_LOG_H
#define ST_STORE_LOG_H

#include "core/record.h"
#include "store/alloc.h"
#include "store/env.h"
#include "store/fault.h"

/* A segment is closed when it has reached this size. Small enough to be one Git blob and to be
 * scanned in some 10 ms when its context is needed; large enough that a million records are a
 * few dozen files. Bytes. */
#ifndef ST_SEGMENT_SIZE
#define ST_SEGMENT_SIZE (8u * 1024 * 1024)
#endif

/* How many records may wait to be appended by somebody else, and how large each may be: more processes than
 * two cores can serve, and nearly all commands; what is more, or larger, is appended by who has it. 256 KiB
 * in all. Bytes. */
#ifndef ST_POSTS
#define ST_POSTS     128u
#define ST_POST_SIZE 1720u
#endif

/* So many who wait make a crowd: from there on it is cheaper to sleep once than to append for oneself
 * (measured with 1 to 4, 8, 32 and 64 processes on two cores). */
#ifndef ST_CROWD
#define ST_CROWD 2u
#endif

/* How long to wait for a lock or a flush before giving up, by default. Longer than any flush
 * seen on a loaded disk, shorter than the patience of an agent's tool call. Milliseconds. */
#define ST_WAIT_MS_DEFAULT 10000

/* State directory paths are kept in fixed buffers. Bytes with the NUL. */
#define ST_PATH_SIZE 4096

struct st_tail {
    uint64_t counter;  /* of the last record; 0: none yet */
    uint64_t segment;  /* first counter of its segment; 0: no segment yet */
    uint64_t offset;   /* end of the last record in that segment, bytes */
    uint64_t checksum; /* of the last record */
    uint64_t time_ms;
    uint64_t time_logical;
    uint64_t number; /* the highest known number of a task or message */
};

enum st_lock_kind { ST_LOCK_APPEND, ST_LOCK_FLUSH, ST_LOCK_INTAKE, ST_LOCK_INDEX, ST_LOCK_KINDS };

/* Who holds a lock, for messages. Written by the holder, read by anybody, trusted by nobody. */
struct st_holder {
    uint32_t process_id;
    char what[28];     /* NUL-terminated: program and agent */
    uint64_t since_ms; /* wall clock */
};

/*
 * A mark is one word, so that it changes as a whole:
 *   bits 63-48  ordinal of the epoch (its low 16 bits): a flusher that was stopped while a new
 *               epoch began cannot change the new epoch's marks
 *   bit 47      frozen: this watermark never rises again; a flush failed or the epoch is over
 *   bits 46-0   counter
 */
struct st_page {
    uint32_t magic;
    uint32_t version;
    uint64_t epoch;        /* which epoch the fields below are of */
    uint64_t durable;      /* atomic mark: the watermark, up to which all is flushed */
    uint64_t flushing;     /* atomic mark: 0, or how far a flush is under way */
    uint32_t tail_changes; /* atomic: counts changes; tail[tail_changes % 2] is current */
    uint32_t changes; /* atomic: counts records that others have to look at, see st_log_changes() */
    uint64_t previous_epoch;   /* the epoch before this one, for those who still wait for it */
    uint64_t previous_durable; /* the counter up to which it was taken over */
    uint8_t boot_id[16];
    /* all of the above lies in one 512-byte sector: on disk it is of one moment */
    uint32_t wake;     /* atomic futex word: changes with every flush result */
    uint32_t sleepers; /* atomic: the low half of `wake`, and how many sleep on that value */
    struct st_tail tail[2];
    struct st_holder holders[ST_LOCK_KINDS];
    uint32_t posts; /* atomic: slots of `posts` in use (log_post.c); more, when some were killed */
    uint32_t reserved;
};

struct st_identity {
    uint64_t workspace; /* random, same in all replicas of one workspace */
    uint64_t replica;
    uint64_t epoch;
    uint8_t boot_id[16];
    /* Fingerprint: of the directory `log`, and of `page`, which Strata never replaces. */
    uint64_t inode, birth_ns, fs_id, page_inode, page_birth_ns;
    char name[64 + 1]; /* the replica's name for people, as an agent name */
    char reason[32];   /* why this epoch began: init, boot, copy, dead, doubt, repair, upgrade */
    char number_suffix[ST_SUFFIX_SIZE_MAX + 1]; /* of numbers made here; "": the founding replica */
};

/* The context of a log of ours up to one of its tails. */
struct st_context {
    struct st_writer writer;
    struct st_tail at; /* counter 0: nothing is known */
    struct st_vector seen;
};

struct st_log {
    const struct st_env *env;     /* borrowed */
    const struct st_alloc *alloc; /* borrowed */
    char dir[ST_PATH_SIZE];       /* state directory */
    bool read_only;
    struct st_identity identity;
    struct st_page *page;   /* NULL when read-only and the page cannot be mapped */
    uint64_t page_inode;    /* of the file that is mapped */
    uint64_t looked_ns;     /* when that was still the state's, boot_ns */
    struct st_posts *posts; /* NULL: not needed yet, or cannot be mapped */
    uint32_t post_first;    /* where to look for a free slot */
    int lock_fds[ST_LOCK_KINDS];
    bool locked[ST_LOCK_KINDS];
    char what[28];       /* for the holder entries */
    uint32_t process_id; /* the same: of who opened it */
    uint64_t wait_ms;
    uint8_t boot_id[16]; /* of the running system */
    /* The open segment of the current epoch. */
    int fd;
    uint64_t fd_segment, fd_epoch;
    uint64_t fd_size;          /* of it, bytes, room included: when this process locked last */
    uint32_t awaited;          /* how often it has waited for the disk */
    bool made_room;            /* log_room.c */
    struct st_buf draft;       /* of the record to be written */
    struct st_buf line;        /* the records being written */
    struct st_buf names;       /* of its new numbers */
    struct st_context context; /* as it was read last, or told */
    /* Told once by the next command: how much was moved to quarantine when this handle opened or
     * locked, and where it lies. */
    uint64_t quarantined_size;
    char quarantine_path[ST_PATH_SIZE];
    bool quiet;            /* set by the caller around an append, see st_log_changes() */
    bool repairing;        /* damage below the watermark is moved aside, not refused */
    bool began_epoch;      /* this handle began a new epoch (identity.reason says why) */
    struct st_fault fault; /* details of the last error */
};

/* Creates the directories and the identity in an existing, empty state directory and begins the
 * first epoch. `identity` gives workspace (0: a new one), name, and "join" as reason when it is
 * another replica of an existing workspace; the rest is filled in. */
enum st_code st_log_create(const struct st_env *env, const struct st_alloc *alloc, const char *dir,
                           struct st_identity *identity, struct st_fault *fault);

/* Writes an identity beside the copy of another's log (`dir` has `log`), so that it can be opened
 * with read_only. */
enum st_code st_log_describe(const struct st_env *env, const char *dir,
                             const struct st_identity *identity, struct st_fault *fault);

/*
 * Opens the log of a state directory. Begins a new epoch when one is due. With read_only, or
 * when the directory cannot be written (then log->read_only is set), nothing is changed.
 * `what` is copied (cut to fit). ST_NO_WORKSPACE, ST_DAMAGED, ST_VERSION, ST_IO, ...
 */
enum st_code st_log_open(struct st_log *log, const struct st_env *env, const struct st_alloc *alloc,
                         const char *dir, bool read_only, const char *what);
void st_log_close(struct st_log *log);

/*
 * For a log that st_log_open() or st_log_lock() calls damaged: begins a new epoch that keeps what
 * is readable up to the damage; everything from there on goes to quarantine. The records behind
 * the damage come back when another copy of the workspace that has them is taken in.
 */
enum st_code st_log_repair(const struct st_env *env, const struct st_alloc *alloc, const char *dir,
                           const char *what, struct st_fault *fault);

/* The current writer: what the next append writes as. */
struct st_writer st_log_writer(const struct st_log *log);

/* Takes the append lock, verifies the tail, begins a new epoch if one became due. */
enum st_code st_log_lock(struct st_log *log);
void st_log_unlock(struct st_log *log);
/* The tail: exact while the append lock is held, else a moment ago. Without a page (read-only):
 * scanned from the files. */
enum st_code st_log_tail(struct st_log *log, struct st_tail *out);

/* All that this replica has: the context of its tail, and the tail itself. Joined into *out. Reads
 * what is new since the last time, or since what it was told. */
enum st_code st_log_context(struct st_log *log, struct st_vector *out);
/* Tells what all records of the current epoch up to `at` have seen. Used as long as the log goes
 * through `at`. */
void st_log_tell_context(struct st_log *log, const struct st_tail *at,
                         const struct st_vector *seen);

/*
 * Appends one record; the append lock is held. In: ops, agent, incarnation, new_count, number (the
 * highest that this command has seen of others, or 0); out: dot, previous, time, number, checksum
 * are filled in, and in the operations the names of new numbers: the i-th is
 * number - new_count + i. These names are lent until the next append. `observed` is the latest
 * time this command has seen (zero: none).
 * Not durable yet. ST_NO_SPACE, ST_IO: nothing was recorded. ST_INVALID, ST_LIMIT: the record.
 */
enum st_code st_log_append(struct st_log *log, struct st_record *r, struct st_hlc observed);
/* The same for several, none of which takes new numbers, with few writes. On failure some may be recorded, the
 * first ones; which is not told. */
enum st_code st_log_append_all(struct st_log *log, struct st_record *records, size_t count,
                               struct st_hlc observed);

/* A word that is another one after every record that was not appended as `quiet`: who has seen the
 * state, and finds the word that it read before that, knows what has come since by its kind alone.
 * False: nothing is known, as without a page. */
bool st_log_changes(const struct st_log *log, uint32_t *word);

/* Waits until `counter` of epoch `epoch` is durable, flushing if nobody else does. ST_TIMEOUT
 * does not mean that it is not kept, only that nobody knows yet. ST_OUTCOME_UNKNOWN. Never a code
 * that means "nothing was recorded". */
enum st_code st_log_wait_durable(struct st_log *log, uint64_t epoch, uint64_t counter);

/* Whether it is durable by now. Never waits. */
bool st_log_durable(const struct st_log *log, uint64_t epoch, uint64_t counter);

/* lock, append, unlock; with `flush`, waits until durable, and leaves it all to another process where one is
 * at it (log_commit.c). */
enum st_code st_log_write(struct st_log *log, struct st_record *r, bool flush);

/* Waits for one of the other locks (intake, index). 0 ms: try once. */
enum st_code st_log_take(struct st_log *log, enum st_lock_kind kind, uint64_t wait_ms);
void st_log_drop(struct st_log *log, enum st_lock_kind kind);

/* Begins a new epoch for the caller's own reason ("doubt", ...); takes the append lock itself. */
enum st_code st_log_renew(struct st_log *log, const char *reason);

/* Makes an empty replica one of another workspace: it joins. */
enum st_code st_log_set_workspace(struct st_log *log, uint64_t workspace);

/* --- reading ---------------------------------------------------------------------------------- */

/* Reads the records of one writer in order, whoever that is. Never changes anything. */
struct st_log_reader {
    const struct st_env *env;
    const struct st_alloc *alloc;
    char dir[ST_PATH_SIZE]; /* of the writer: <state>/log/<replica>-<epoch> */
    struct st_writer writer;
    int fd;
    uint64_t segment, offset; /* where the next record starts */
    uint64_t counter;         /* of the last record returned; 0: none */
    uint64_t checksum;        /* of that record; 0 at the start */
    bool checksum_known;      /* false: the next record's predecessor is not compared */
    bool counter_known;       /* the same for its counter */
    bool one_segment;         /* stop at the end of the segment */
    /* Borrowed; not NULL: next() gives out whole records, decoded with it. One that is verified but
     * not to be decoded has no operations. */
    struct st_record_scratch *scratch;
    char *buf;
    size_t start, end, cap, step;
    uint64_t line_segment, line_offset; /* where the record returned last starts */
    struct st_fault fault;
};

enum st_code st_log_reader_open(struct st_log_reader *r, const struct st_env *env,
                                const struct st_alloc *alloc, const char *state_dir,
                                struct st_writer writer);
void st_log_reader_close(struct st_log_reader *r);
/* Goes to a place got from tail, line_segment/line_offset or the index: the next record is
 * `counter` + 1, its predecessor's checksum is `checksum`. */
void st_log_reader_seek(struct st_log_reader *r, uint64_t segment, uint64_t offset,
                        uint64_t counter, uint64_t checksum);
/* Goes to the segment that holds `counter` and skips to it: next() returns it. */
enum st_code st_log_reader_find(struct st_log_reader *r, uint64_t counter);
/*
 * The next line, verified (checksum, writer, counter, predecessor); lent. ST_NOT_FOUND at the
 * end: no further whole line. ST_DAMAGED: what follows is not a valid record (fault names file
 * and offset); at the very tail of a log being written this can be an append in progress, so
 * callers stop at the tail or at a known counter.
 */
enum st_code st_log_reader_next(struct st_log_reader *r, struct st_str *line,
                                struct st_record *head);

/* The one line that starts at this place, checksum and writer verified; lent. */
enum st_code st_log_reader_at(struct st_log_reader *r, uint64_t segment, uint64_t offset,
                              struct st_str *line);

/* Every writer that has a directory in <state>/log, sorted. */
enum st_code st_log_writers(const struct st_env *env, const struct st_alloc *alloc,
                            const char *state_dir, struct st_writer **out, size_t *count);

/* Checksum of record bytes: XXH3-64. */
uint64_t st_checksum(const void *p, size_t n);

#endif
