/*
 * internal.h - the open workspace behind include/strata.h, shared by the files of src/lib:
 *   find.c       where the state of a directory is
 *   handle.c     opening, closing, errors, notices
 *   convert.c    from the core's terms to those of the API
 *   marks.c      what each agent has read
 *   write.c      writing, conditional writes, heartbeats
 *   tasks.c      tasks: names, adding, changing      task_read.c   reading one
 *   task_list.c  lists, counts                       task_ready.c  what is ready, best first
 *   task_graph.c what waits for what, cycles         task_next.c   taking the best that is ready
 *   task_pool.c  what all who take share of it
 *   task_claims.c taking a certain one, ending them
 *   task_import.c  from other trackers
 *   task_copy.c  from the ledger into the channels
 *   task_reports.c  ends that are told where another copy decides
 *   facts.c      reading attributes and counters
 *   history.c    events, history, the state as it was
 *   pending.c    conflicts and unseen overwrites, and settling them
 *   merged.c     what a merge of a file could not decide
 *   search.c     full-text search
 *   files.c      the files of the work tree: their list, and going through it
 *   files_moved.c    which views the latest records can have changed
 *   files_replace.c  replacing them, and what to do after a death
 *   view_list.c  which views there are   views.c      edits of them taken in, views written
 *   tracked.c    which files are tracked documents.c  looking after one
 *   document_edits.c, document_git.c, document_versions.c, document_write.c   taking in edits; what is no
 *                edit but Git's; versions; writing them
 *   view_tasks.c what edits of views want of tasks
 *   append.c     a line at the end       watch.c      waiting for edits
 *   ignore.c     what Git is told of them
 *   strong.c, operations.c, locks.c, coordinator.c, claims.c, touch.c   layer 3, see strong.h
 *   status.c     status, agents, merge
 *   doctor.c     checking and repairing
 *   sync.c       exchange through Git
 */
#ifndef ST_LIB_INTERNAL_H
#define ST_LIB_INTERNAL_H

#include "core/task.h"
#include "store/arena.h"
#include "store/index.h"
#include "store/log.h"
#include "strata.h"

/* Whether the caller's version of a struct with `size` has this field. */
#define ST_HAS(o, field)                                                                           \
    ((o) != NULL && (o)->size >= offsetof(__typeof__(*(o)), field) + sizeof((o)->field))

struct st_strong;
struct st_marks;
struct st_files;

/* Notices are told once; more than these at one open would be noise. */
#define ST_NOTICES_MAX 8

/* The claims that are live: left out of what is ready. Empty where another copy decides. */
struct st_held_one {
    char entity[ST_NUMBERED_SIZE + 1];
    char holder[ST_AGENT_SIZE_MAX + 1];
    uint64_t token, left_ms;
};
struct st_held {
    struct st_held_one *list; /* sorted by entity */
    size_t count;
};

struct st_hand; /* task_next.c */
struct st_pool; /* task_pool.c */

struct strata {
    struct st_log log;
    struct st_strong *strong; /* NULL until layer 3 is used */
    struct st_index *index;   /* NULL until something is read */
    char agent[ST_AGENT_SIZE_MAX + 1];
    uint64_t incarnation;
    uint32_t index_gap;
    strata_error error;
    char notices[ST_NOTICES_MAX][256];
    size_t notice_count, notice_next;
    struct st_arena arena; /* lent to the caller until the next call */
    struct st_read_scratch read;
    struct st_marks *marks; /* NULL until one is needed */
    int marks_fd, slot_fd;  /* -1: not open */
    char last_status[ST_STATUS_SIZE_MAX + 1];
    char workspace_id[17], replica_id[17];
    char *dir;              /* the directory it was opened from; NULL: none is known */
    struct st_files *files; /* NULL until the files of the work tree are looked at */
    uint64_t op_run;        /* the run file of the operation begun last, and its descriptor */
    int op_fd;
    uint64_t claims_copied; /* see claims.h: how far this handle knows the outbox copied */
    size_t claims_untold;   /* of these, how many it has not told */
    struct st_dot claims_by;
    unsigned claim_spread;    /* claims.c: among how many of the first to choose; 0, 1: none */
    struct st_hand *hand;     /* task_next.c; NULL: none yet */
    struct st_pool *pool;     /* task_pool.c; NULL: none yet */
    uint64_t claim_probed_ns; /* claims.c: when it was last looked who lives */
    size_t task_window;       /* task_claims.c: how many of the first to look at; 0: the least */
    uint64_t settled_ns;      /* task_copy.c: when it was last looked what is to be copied */
    bool unsettled;           /* this handle has ended a task and not yet told so */
    uint64_t touch_ns;        /* when the agent's claims may need an extension; 0: at once */
    struct st_held held;      /* as of the last look */
    char *names;              /* the file `names`, see status.c; NULL: not read yet */
};

/* --- errors: each returns the negative code --------------------------------------------------- */

void st_lib_error_set(strata *s, enum st_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static inline int st_lib_code(enum st_code code)
{
    return (int)code;
}
/* A macro for the reason of st_fail(). */
#define st_lib_fail(s, code, ...) (st_lib_error_set((s), (code), __VA_ARGS__), st_lib_code(code))
/* From a fault of the store. */
int st_lib_fault(strata *s, const struct st_fault *fault);
static inline int st_lib_no_memory(strata *s)
{
    st_lib_fail(s, ST_NO_MEMORY, "out of memory");
    return ST_NO_MEMORY;
}
void st_lib_hint(strata *s, const char *hint);
void st_lib_notice(strata *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Notices about what the log did when it was opened or locked. */
void st_lib_log_notices(strata *s);

/* --- find.c ----------------------------------------------------------------------------------- */

/* Where the state of dir is, or (for_init) would be. ST_NO_WORKSPACE, ST_LIMIT, ST_INVALID. */
enum st_code st_find_state(const char *dir, bool for_init, char out[ST_PATH_SIZE],
                           struct st_fault *fault);
/* The work tree that dir is in, and where the list of its views and tracked files is (it need not
 * exist). ST_NOT_FOUND: there is none, as in a bare repository. */
enum st_code st_find_tree(const char *dir, const char *state, char root[ST_PATH_SIZE],
                          char home[ST_PATH_SIZE]);
/* The index of Git for a work tree. False: there is no Git. */
bool st_find_index(const char *root, char out[ST_PATH_SIZE]);
/* info/exclude of the clone that the work tree is of. False: there is no Git. */
bool st_find_exclude(const char *root, char out[ST_PATH_SIZE]);

/* The directory that all work trees of the repository around `dir` share. */
bool st_find_repository(const char *dir, char out[ST_PATH_SIZE]);

/* --- status.c: taking in ------------------------------------------------------------------------ */

/* Remembers the name of a replica, if it is one. */
void st_lib_add_name(strata *s, uint64_t replica, const char *name);
/* Remembers how many records of others wait. */
void st_lib_keep_waiting(strata *s, uint64_t waiting);
/* How many conflicts there are now. Before records are taken in: it tells the log its context. */
int st_lib_pending(strata *s, uint64_t *count);

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
/* The same, for reading the attributes of one entity and nothing else. */
int st_lib_begin_for(strata *s, const char *entity);
void st_lib_end(strata *s);
int st_lib_index_fault(strata *s, enum st_code code);
/* Checks a name given by the caller. */
int st_lib_name(strata *s, const char *what, const char *name);
int st_lib_value(strata *s, const char *what, struct st_str value);

/* --- write.c ---------------------------------------------------------------------------------- */

/* Looks at the state, which cannot change before the write; anything but STRATA_OK: no write. */
typedef int st_lib_check(strata *s, void *arg);
/* Appends a record, if check (NULL: none) agrees; unless STRATA_NO_FLUSH, until it is durable. Where that
 * failed and r->dot is set, it is in the log all the same. */
int st_lib_append(strata *s, struct st_record *r, st_lib_check *check, void *arg, unsigned flags);
/* Until the record is durable. */
int st_lib_wait(strata *s, const struct st_record *r);

/* --- tasks.c, task_read.c, task_graph.c ------------------------------------------------------- */

/* Finds the task or message that a caller means; entity gets "#143". Within a read. */
int st_task_find(strata *s, const char *id, char entity[ST_NUMBERED_SIZE + 1]);
/* The name of an entity "#143" without the #, lent; "" when it is none. */
const char *st_task_name(strata *s, struct st_str entity);
/* The first task with this key; ST_NOT_FOUND. */
enum st_code st_task_keyed(strata *s, const char *key, char entity[ST_NUMBERED_SIZE + 1]);
/* What is known of it, summary and attributes. ST_NOT_FOUND; *out lent by the arena. */
enum st_code st_task_fill(strata *s, struct st_str entity, strata_task *out);
/* Looks at them anew, into s->held. Not within a read. */
int st_task_held(strata *s);
/* NULL: nobody has it. */
const struct st_held_one *st_task_holder(const strata *s, struct st_str entity);
/* Whether a claim on it would be right as it stands in the channel. Within a read. */
enum st_code st_task_may_take(strata *s, const strata_task_query *q, struct st_str entity,
                              bool *may);
/* Copies into the channels what the ledger has accepted, and decides about reports. */
int st_task_settle(strata *s);
/* Whether the channel has what the ledger keeps of this one, up to a position. Within a read. */
enum st_code st_task_copied(strata *s, const char *entity, uint64_t position, bool *copied);
/* The same as st_task_settle() unless it was done a moment ago: for who goes on, and will. */
int st_task_settle_soon(strata *s);
/* Whether an agent's name is one on a certain copy. */
static inline bool st_task_assigned(const char *agent)
{
    return strchr(agent, '@') != NULL;
}

/* Whether `to` can be reached from `from` along what each waits for: then *path gets the names,
 * from first to last. ST_LIMIT: too many to look at. */
enum st_code st_task_path(strata *s, struct st_str from, struct st_str to, const char **path);

/* --- marks.c ---------------------------------------------------------------------------------- */

/* What the agent last read or wrote of an attribute; counter 0: nothing. */
void st_mark_get(strata *s, const char *entity, const char *attribute, struct st_dot *dot);
void st_mark_set(strata *s, const char *entity, const char *attribute, struct st_dot dot);
/* The agent was shown this attribute. */
void st_mark_read(strata *s, const strata_attribute *a, const struct st_attribute *from);

/* Writes the marks to their file and forgets them. */
void st_marks_release(strata *s);

/* --- files.c ---------------------------------------------------------------------------------- */

void st_files_close(strata *s);

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
