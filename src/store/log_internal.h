/*
 * log_internal.h - shared by the files of the log kernel:
 *   log_identity.c  who writes here, and where everything lies
 *   log_page.c      the page that all processes share
 *   log_present.c   whether the state is still the one that was opened
 *   log_epoch.c     when it may not be the log that it was, a new epoch
 *   log_tail.c      the locks and the tail rule
 *   log_append.c    segments, appending
 *   log_room.c      room for records that are to come
 *   log_flush.c     the durable watermark
 *   log_post.c      records left for whoever appends next
 *   log_commit.c    appended and on disk, by one for all
 *   log_open.c      opening, creating, repairing
 *   log_read.c      reading any writer's segments
 *   mend.c          a log that went two ways; see mend_internal.h
 */
#ifndef ST_STORE_LOG_INTERNAL_H
#define ST_STORE_LOG_INTERNAL_H

#include "store/log_post.h"
#include "store/shared.h"

#define ST_PAGE_MAGIC   0x53545031u /* "STP1" */
#define ST_PAGE_VERSION 2u

/* How long a flush may show no progress before others stop waiting for its process and do it
 * again themselves (it may be stopped): far above a flush on a busy disk, far below the default
 * wait. Nanoseconds. */
#define ST_FLUSH_STALL_NS 1000000000ull

/* Upper bound of one sleep of who waits for another process: if that is killed between its work and the
 * wake-up, it costs the others this much. Nanoseconds. */
#define ST_SLEEP_NS_MAX 20000000ull

static inline void st_point(const struct st_log *log, const char *label)
{
    if (log->env->point != NULL)
        log->env->point(log->env->ctx, label);
}

/* --- log_identity.c ---------------------------------------------------------------------------- */

/* "<dir>/<a>[/<b>]" into out. ST_LIMIT when it does not fit. */
enum st_code st_path(struct st_fault *f, char out[ST_PATH_SIZE], const char *dir, const char *a,
                     const char *b);
/* "<state>/log/<replica>-<epoch>". */
enum st_code st_writer_path(struct st_fault *f, char out[ST_PATH_SIZE], const char *state_dir,
                            struct st_writer w);
/* The path of one segment. */
enum st_code st_segment_path(struct st_fault *f, char out[ST_PATH_SIZE], const char *state_dir,
                             struct st_writer w, uint64_t segment);

/* Writes a small file of the state directory anew, durably: it has the old text or the new one. */
enum st_code st_log_replace(struct st_log *log, const char *name, const char *text, size_t n);
/* Reads `identity`; on ST_OK log->identity is set. */
enum st_code st_identity_load(struct st_log *log);
enum st_code st_identity_store(struct st_log *log, const struct st_identity *id);
/* What tells a copied or restored state directory from the one that the identity was made in. */
enum st_code st_fingerprint(struct st_log *log, struct st_identity *id);
bool st_fingerprint_same(const struct st_identity *a, const struct st_identity *b);

/* --- log_present.c ------------------------------------------------------------------------------ */

/* Between two looks, which cost a system call each. */
#define ST_LOOK_NS UINT64_C(100000000)
/* ST_UNAVAILABLE: the state was removed or replaced. ST_OK also when that was looked at less than so long ago. */
enum st_code st_log_present(struct st_log *log, uint64_t after_ns);
/* Says so. */
enum st_code st_log_replaced(struct st_log *log);

/* --- log_page.c -------------------------------------------------------------------------------- */

/* Maps the page, made if need be; a reader that cannot goes on without. */
enum st_code st_page_map(struct st_log *log);
/* The append lock is held: the page describes log->identity from now on, which ends at *tail. */
void st_page_begin(struct st_log *log, const struct st_tail *tail);
/* Whether the page describes log->identity, under any boot; under this one. */
bool st_page_of_epoch(const struct st_log *log);
bool st_page_valid(const struct st_log *log);
void st_page_tail(const struct st_page *page, struct st_tail *out);
void st_page_set_tail(struct st_page *page, const struct st_tail *tail);

#define ST_MARK_FROZEN  (UINT64_C(1) << 47)
#define ST_MARK_COUNTER (ST_MARK_FROZEN - 1)

static inline uint64_t st_mark(uint64_t epoch, uint64_t counter)
{
    return st_epoch_ordinal(epoch) << 48 | (counter & ST_MARK_COUNTER);
}

static inline uint64_t st_page_durable(const struct st_page *page)
{
    return st_atomic_load(&page->durable) & ST_MARK_COUNTER;
}

static inline bool st_page_frozen(const struct st_page *page)
{
    return (st_atomic_load(&page->durable) & ST_MARK_FROZEN) != 0;
}

/* How many have gone to sleep since the word was changed last: those of earlier words were woken, or killed. */
static inline uint32_t st_page_sleepers(const struct st_page *page)
{
    uint32_t sleepers = st_atomic_load(&page->sleepers);
    return sleepers >> 16 == (st_atomic_load(&page->wake) & 0xffff) ? sleepers & 0xffff : 0;
}

/* Raises the watermark of an epoch, unless it is frozen or of another epoch. */
void st_page_publish(struct st_page *page, uint64_t epoch, uint64_t durable);
/* Freezes it, if it is of this epoch, and wakes all that wait. */
void st_page_freeze(struct st_log *log, uint64_t epoch);

/* --- log_epoch.c ------------------------------------------------------------------------------- */

/* Not 0. */
enum st_code st_random_id(struct st_log *log, uint64_t *out);
/* Why a new epoch is due, or NULL. */
enum st_code st_epoch_due(struct st_log *log, const char **reason);
/* The append lock is held: reloads the identity, begins a new epoch when one is due. */
enum st_code st_epoch_check(struct st_log *log);
enum st_code st_epoch_begin(struct st_log *log, const char *reason);
/* A suffix for the numbers of this epoch: they can be no others than those made before. */
void st_suffix_renew(struct st_identity *id);
/* Moves whole segments that begin behind `counter` to quarantine. */
enum st_code st_segments_aside(struct st_log *log, struct st_writer w, uint64_t counter);

/* --- mend.c ------------------------------------------------------------------------------------ */

/* The append lock is held: does the rest of what somebody began who has died (store/mend.h). */
enum st_code st_mend_resume(struct st_log *log, bool *resumed);

/* --- log_tail.c --------------------------------------------------------------------------------- */

/* A guess, for who would not wait for it anyway: its holder may have been killed. */
static inline bool st_log_seems_held(const struct st_log *log, enum st_lock_kind kind)
{
    return log->page != NULL && st_atomic_load(&log->page->holders[kind].process_id) != 0;
}

/* The append lock was not to be had: nothing was recorded. */
enum st_code st_log_lock_timeout(struct st_log *log);
/* ST_READ_ONLY, and what an agent in a sandbox can do. */
enum st_code st_log_refuse(struct st_log *log);

/* *tail is behind this record, which ends at `offset`, in the same segment. */
static inline void st_tail_after(struct st_tail *tail, const struct st_record *head,
                                 uint64_t offset)
{
    *tail = (struct st_tail){.counter = head->dot.counter,
                             .segment = tail->segment,
                             .offset = offset,
                             .checksum = head->checksum,
                             .time_ms = head->time.ms,
                             .time_logical = head->time.logical,
                             .number = head->number};
}

/*
 * Verifies the records of a segment from *tail on (offset, counter, checksum as in *tail; the
 * checksum is not compared at offset 0) up to counter `last` or the end of the file and moves
 * *tail behind the last valid one. *broken tells whether anything but room is behind that.
 */
enum st_code st_tail_scan(struct st_log *log, int fd, struct st_writer w, struct st_tail *tail,
                          uint64_t last, bool *broken);
/* Cuts the file at tail->offset; what is behind that, but for room, is copied to quarantine first, durably. */
enum st_code st_tail_cut(struct st_log *log, int fd, const struct st_tail *tail);

/* --- log_room.c --------------------------------------------------------------------------------- */

/* Far more records than are flushed at once, and a write that takes no longer than a flush. Bytes. */
#ifndef ST_ROOM_SIZE
#define ST_ROOM_SIZE 65536
#endif
/* Who has waited for the disk so often will again: a command makes no room. */
#ifndef ST_ROOM_AFTER
#define ST_ROOM_AFTER 4
#endif

/* Zeros where the power failed. */
static inline bool st_is_room(char c)
{
    return c == '\n' || c == '\0';
}

/* The append lock is held for all of these. */

/* log->line was written, up to *tail, to log->fd: makes room there if that has made the file longer, and it is
 * worth while. */
void st_room_make(struct st_log *log, const struct st_tail *tail);
/* Where room begins behind `offset`: there, when nothing else is; at *size, the file's, when there is none. */
enum st_code st_room_begins(struct st_log *log, int fd, uint64_t offset, uint64_t *begin,
                            uint64_t *size);
/* For a handle that ends, without the lock: cuts off what it has made, unless others are at work. */
void st_room_return(struct st_log *log);

/* --- log_append.c ----------------------------------------------------------------------------- */

/* Writes all of it; a short write is an error (-ENOSPC, as that is what it means on Linux). */
int st_write_all(const struct st_env *env, int fd, const void *buf, size_t n, uint64_t offset);
/* Opens the segment of the tail as log->fd (no-op when it is open already). */
enum st_code st_segment_open(struct st_log *log, uint64_t segment);
void st_segment_close(struct st_log *log);

/* Checks the record; the text is lent until the next one. Makes room for st_record_told(). */
enum st_code st_draft_make(struct st_log *log, const struct st_record *r, struct st_draft *out);
/* The append lock is held: the segment that the next record goes to, as log->fd; *tail is where. */
enum st_code st_segment_ready(struct st_log *log, struct st_tail *tail);
/* Gives a draft the place behind *tail and moves *tail; its line is added to log->line. *head: dot,
 * previous, time, number, checksum. */
enum st_code st_record_put(struct st_log *log, struct st_writer w, const struct st_draft *draft,
                           struct st_hlc observed, struct st_tail *tail, struct st_record *head);
/* Writes log->line. On failure nothing is left behind, or (*left) some of it, which the next to take the
 * lock will find. */
enum st_code st_lines_write(struct st_log *log, int fd, uint64_t offset, bool *left);
enum st_code st_cannot_append(struct st_log *log, int negative_errno);
/* Fills in where the record stands, and the names of its new numbers. */
void st_record_told(struct st_log *log, struct st_record *r, const struct st_record *head,
                    struct st_str suffix);
/* Before and after records that others have to look at, see st_log_changes(). */
void st_changes_tell(struct st_log *log);

/* Creates the first segment of writer w with one record that tells the context, flushed, and
 * sets *tail behind it; time and numbers go on from *last. */
enum st_code st_segment_begin(struct st_log *log, struct st_writer w,
                              const struct st_vector *context, const struct st_tail *last,
                              struct st_tail *tail);

/* Flushes all segments of a writer. */
enum st_code st_writer_flush(struct st_log *log, struct st_writer w);

/* Joins the context of writer w's log up to `tail` into *context: the "seen" operations of the
 * tail's segment, behind `from` if that is in it (NULL: of all of it). */
enum st_code st_context_read(struct st_log *log, struct st_writer w, const struct st_tail *from,
                             const struct st_tail *tail, struct st_vector *context);

/* --- log_flush.c ------------------------------------------------------------------------------ */

/* The append lock is held: makes everything up to the tail durable. */
enum st_code st_flush_all(struct st_log *log);

/* A flush failed: ST_OUTCOME_UNKNOWN, and what can be done. */
enum st_code st_flush_unknown(struct st_log *log);

/* Flushes if nobody else does, or helps where somebody does not get on (`stalled`: for long). False: there
 * was nothing that this process could do. */
bool st_flush_try(struct st_log *log, bool stalled);
/* Somebody who waits until something is flushed. */
struct st_patience {
    uint64_t start,
        moved; /* when it began; when the watermark rose last, or somebody helped. Nanoseconds */
    uint64_t watermark;
};
void st_patience_begin(struct st_log *log, struct st_patience *p);
/* False: its time is over. *stalled: for long nobody gets on; it is for the caller to help. */
bool st_patience_lasts(const struct st_log *log, struct st_patience *p, bool *stalled);
/* ST_NOT_FOUND: not known yet. ST_OUTCOME_UNKNOWN. */
enum st_code st_log_verdict(struct st_log *log, uint64_t epoch, uint64_t counter);
enum st_code st_log_not_in_time(struct st_log *log);

/* --- log_read.c --------------------------------------------------------------------------------- */

/* The segment in a writer's directory that holds `counter`, or would; 0 when there is none. */
enum st_code st_segment_find(const struct st_env *env, const char *dir, uint64_t counter,
                             uint64_t *segment, struct st_fault *fault);

#endif
