/*
 * internal.h - the open workspace behind include/strata.h, shared by the files of src/lib:
 *   find.c       where the state of a directory is
 *   handle.c     opening, closing, errors, notices
 *   convert.c    from the core's terms to those of the API
 *   marks.c      what each agent has read
 *   write.c      writing, conditional writes, heartbeats
 *   facts.c      reading attributes and counters
 *   history.c    events, history, the state as it was
 *   pending.c    conflicts and unseen overwrites, and settling them
 *   search.c     full-text search
 *   strong.c     once-only operations, locks
 *   status.c     status, agents, merge
 *   doctor.c     checking and repairing
 *   sync.c       exchange through Git
 */
#ifndef ST_LIB_INTERNAL_H
#define ST_LIB_INTERNAL_H

#include "store/index.h"
#include "store/log.h"
#include "strata.h"

struct st_strong;
struct st_marks;

/* Notices are told once; more than these at one open would be noise. */
#define ST_NOTICES_MAX 8

/* Memory that is lent to the caller until the next call. */
struct st_arena {
    struct st_arena_block *blocks;
};

struct strata {
    struct st_log log;
    struct st_strong *strong; /* NULL until layer 3 is used */
    struct st_index *index; /* NULL until something is read */
    char agent[ST_AGENT_SIZE_MAX + 1];
    uint64_t incarnation;
    strata_error error;
    char notices[ST_NOTICES_MAX][256];
    size_t notice_count, notice_next;
    struct st_arena arena;
    struct st_read_scratch read;
    struct st_marks *marks; /* NULL until one is needed */
    int marks_fd, slot_fd;  /* -1: not open */
    char last_status[ST_STATUS_SIZE_MAX + 1];
    char workspace_id[17], replica_id[17];
    char *names; /* the file `names`, see status.c; NULL: not read yet */
};

/* --- errors: each returns the negative code --------------------------------------------------- */

int st_lib_fail(strata *s, enum st_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* From a fault of the store. */
int st_lib_fault(strata *s, const struct st_fault *fault);
void st_lib_hint(strata *s, const char *hint);
void st_lib_notice(strata *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Notices about what the log did when it was opened or locked. */
void st_lib_log_notices(strata *s);

/* --- find.c ----------------------------------------------------------------------------------- */

/* Where the state of dir is, or (for_init) would be. ST_NO_WORKSPACE, ST_LIMIT, ST_INVALID. */
enum st_code st_find_state(const char *dir, bool for_init, char out[ST_PATH_SIZE],
                           struct st_fault *fault);

/* The directory that all work trees of the repository around `dir` share. */
bool st_find_repository(const char *dir, char out[ST_PATH_SIZE]);

/* --- status.c: taking in ------------------------------------------------------------------------ */

/* Remembers the name of a replica, if it is one. */
void st_lib_add_name(strata *s, uint64_t replica, const char *name);
/* Remembers how many records of others wait. */
void st_lib_keep_waiting(strata *s, uint64_t waiting);
/* How many conflicts there are now. */
int st_lib_pending(strata *s, uint64_t *count);

/* --- memory lent to the caller ---------------------------------------------------------------- */

void st_arena_reset(struct st_arena *a);
void *st_arena_take(struct st_arena *a, size_t size); /* NULL: out of memory */
/* A copy with a NUL behind it; NULL: out of memory. */
const char *st_arena_text(struct st_arena *a, struct st_str text);

/* --- convert.c -------------------------------------------------------------------------------- */

#define ST_ID_SIZE 80
void st_id_format(struct st_dot dot, uint32_t op, char out[ST_ID_SIZE]);
/* Fills an attribute of the API from one of the core. False: out of memory. */
bool st_lib_attribute(strata *s, const struct st_attribute *from, strata_attribute *out);
bool st_lib_item(strata *s, const struct st_item *from, strata_item *out);
/* The name of a replica if known, else its id; lent. */
const char *st_lib_replica_name(strata *s, uint64_t replica);

/* --- reading ---------------------------------------------------------------------------------- */

/* Opens the index if need be and begins a read; resets the arena unless keep. */
int st_lib_begin(strata *s);
void st_lib_end(strata *s);
int st_lib_index_fault(strata *s, enum st_code code);
/* Checks a name given by the caller. */
int st_lib_name(strata *s, const char *what, const char *name);

/* --- marks.c ---------------------------------------------------------------------------------- */

/* What the agent last read or wrote of an attribute; counter 0: nothing. */
void st_mark_get(strata *s, const char *entity, const char *attribute, struct st_dot *dot);
void st_mark_set(strata *s, const char *entity, const char *attribute, struct st_dot dot);
/* The agent was shown this attribute. */
void st_mark_read(strata *s, const strata_attribute *a, const struct st_attribute *from);

/* Writes the marks to their file and forgets them. */
void st_marks_release(strata *s);

/* --- history.c -------------------------------------------------------------------------------- */

/* Finds the operation (dot, op) among the newest operations of an attribute; *number its entry. */
enum st_code st_history_find(strata *s, struct st_str entity, struct st_str attribute,
                             struct st_dot dot, uint32_t op, uint64_t *number);
/* Fills an event from entry `number`. */
enum st_code st_history_event(strata *s, uint64_t number, strata_event *out);
/* The attribute as it was: the latest value or absence and the members at that time. */
enum st_code st_history_as_of(strata *s, const char *entity, const char *attribute,
                              uint64_t as_of_ms, strata_attribute *out);
/* The attribute as it was for the writer of entry `number` just before; without names. */
enum st_code st_history_before(strata *s, uint64_t number, strata_attribute *out);

#endif
