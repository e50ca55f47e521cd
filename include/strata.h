/*
 * strata.h - the C API of Strata: coordination for fleets of agents that share a workspace.
 *
 * One handle (strata *) is one open workspace; any number of processes may have the same one
 * open. A handle is used by one thread at a time. No daemon is needed.
 *
 * Conventions
 *   - Functions return STRATA_OK (0) or a negative code; strata_last_error() then has a message
 *     and a hint. If a write fails with anything but STRATA_OUTCOME_UNKNOWN or STRATA_TIMEOUT,
 *     nothing was recorded.
 *   - Texts are UTF-8 with a size in bytes beside them where they may be long; STRATA_NUL as
 *     size means "up to the NUL byte". Names (entities, attributes, counters): 1 to 255 bytes,
 *     no control characters, no space at either end. Agents: 1 to 64 of [A-Za-z0-9._-].
 *     Values: up to 65,536 bytes.
 *   - What a function gives out by pointer is *lent*: valid until the next call on the handle,
 *     in a visitor until it returns. A visitor must not call the handle; it returns 0 to go on
 *     and anything else to stop (a negative code becomes the function's result).
 *   - Times are milliseconds since 1970-01-01 UTC. "ms" in a name says so.
 *   - Structures that the caller fills start with `size`: set it to sizeof of the structure.
 */
#ifndef STRATA_H
#define STRATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define STRATA_VERSION "0.1.0"
#define STRATA_NUL     SIZE_MAX

enum {
    STRATA_OK = 0,
    STRATA_USAGE = -1,
    STRATA_INVALID = -2,
    STRATA_LIMIT = -3,
    STRATA_NOT_FOUND = -4,
    STRATA_CONFLICT = -5,
    STRATA_DENIED = -6,
    STRATA_NO_WORKSPACE = -7,
    STRATA_EXISTS = -8,
    STRATA_TIMEOUT = -9,
    STRATA_UNAVAILABLE = -10,
    STRATA_READ_ONLY = -11,
    STRATA_NO_SPACE = -12,
    STRATA_OUTCOME_UNKNOWN = -13,
    STRATA_IO = -14,
    STRATA_DAMAGED = -15,
    STRATA_VERSION_NEWER = -16,
    STRATA_NO_MEMORY = -17,
    STRATA_INTERRUPTED = -18,
    STRATA_INTERNAL = -19,
};

const char *strata_code_name(int code); /* "no_space"; static */
int strata_code_exit(int code);         /* exit status for programs: 0, 1, 2, 3, ... */
const char *strata_version(void);       /* of the library; static */

/* Whose the name of an entity is: those that begin with # and a digit are tasks and messages, those
 * that begin with file: tracked files. */
enum { STRATA_ENTITY_FACT = 0, STRATA_ENTITY_NUMBERED, STRATA_ENTITY_DOCUMENT };
int strata_entity_kind(const char *entity);

typedef struct strata strata;

typedef struct strata_error {
    int code;
    char message[512];
    char hint[512]; /* what to do next; may be empty */
} strata_error;

/* --- set up ------------------------------------------------------------------------- */

typedef struct strata_init_options {
    size_t size;
    const char *state_dir; /* NULL: <git common dir>/strata in a Git repository, else .strata */
    const char *name;      /* of this replica for people; NULL: the host name */
    bool dry_run;
    const char *join;    /* the workspace that this remote of the clone carries; NULL: any */
    bool found;          /* a new workspace, whatever the remotes carry */
    uint32_t network_ms; /* longest wait for one answer of a remote; 0: 20,000 */
} strata_init_options;

typedef struct strata_init_result {
    char state_dir[4096];
    char workspace[17]; /* id, hex */
    char replica[17];   /* id, hex */
    char name[65];
    bool created;      /* false: it was there already */
    bool joined;       /* another replica of an existing workspace */
    char remote[2048]; /* joined: where that was found; strata_sync() brings its records */
} strata_init_result;

/*
 * Makes a workspace in dir (idempotent). In a clone of a Git repository whose remotes carry a
 * workspace already, makes another copy of that one. STRATA_UNAVAILABLE: a remote could not be asked
 * whether it does, and no other one does; nothing was made. STRATA_NOT_FOUND: `join` carries none.
 */
int strata_init(const char *dir, const strata_init_options *options, strata_init_result *result,
                strata_error *error);

typedef struct strata_options {
    size_t size;
    const char *state_dir; /* NULL: found from dir, as in strata_init */
    const char *agent;     /* NULL: writes carry no agent */
    const char *program;   /* shown to others who wait for a lock; NULL: "strata" */
    uint64_t incarnation;  /* which start of the agent; 0: none */
    uint32_t wait_ms;      /* longest wait for a lock or a flush; 0: 10,000 */
    bool read_only;
    uint32_t index_gap; /* bring the index up to date only when it lacks more records than this;
                              fewer are read from the log. 0: always. For one of many processes that
                              live long and call strata_idle(): about 1,000, else about 50 */
} strata_options;

/* Opens the workspace that dir (NULL: $STRATA_DIR, else the current directory) or one of its
 * parents belongs to. STRATA_NO_WORKSPACE when there is none. */
int strata_open(const char *dir, const strata_options *options, strata **out, strata_error *error);
void strata_close(strata *s);
const strata_error *strata_last_error(const strata *s);
/* Where the state is; lent for the life of the handle. */
const char *strata_state_dir(const strata *s);
/* Whether this handle can only read (the state directory is not writable here). */
bool strata_is_read_only(const strata *s);

/* Things the user should be told once (a torn tail was moved aside, a new epoch began, ...):
 * the next one, or NULL. Lent. */
const char *strata_next_notice(strata *s);

/* --- writing ------------------------------------------------------------------------ */

enum strata_op_kind {
    STRATA_OP_OTHER = 0, /* in events only */
    STRATA_SET = 1,
    STRATA_UNSET,
    STRATA_ADD,
    STRATA_REMOVE,
    STRATA_COUNT,
    STRATA_BEAT,
    STRATA_SEEN, /* in events only: took in another replica's records */
    STRATA_ACK,  /* in events only: an overwrite was acknowledged */
};

typedef struct strata_op {
    int kind;           /* STRATA_SET .. STRATA_COUNT */
    const char *entity; /* or the counter's name */
    const char *attribute;
    const char *value;
    size_t value_size;
    bool link;     /* the value names an entity */
    int64_t delta; /* STRATA_COUNT: at most STRATA_DELTA_MAX either way */
} strata_op;

/* What every JSON reader has exactly. */
#define STRATA_DELTA_MAX ((INT64_C(1) << 53) - 1)

enum {
    STRATA_NO_FLUSH = 1, /* return before the write is on disk */
    STRATA_ANSWER = 2,   /* fill `written`: needs the index, costs a read */
};

typedef struct strata_expect {
    bool absent;       /* expect that there is no value */
    const char *value; /* else exactly this one */
    size_t value_size;
} strata_expect;

/* One value with its origin. Strings are lent. */
typedef struct strata_item {
    int kind; /* STRATA_ITEM_... */
    bool link;
    const char *value; /* NUL-terminated too */
    size_t value_size;
    uint64_t time_ms;
    const char *agent;   /* "" when none */
    const char *replica; /* name of the replica if known, else its id */
    char id[80];         /* of the write: <replica>-<epoch>-<counter>[.<op>] */
    bool shown;
} strata_item;

enum { STRATA_ITEM_VALUE = 0, STRATA_ITEM_ABSENT = 1, STRATA_ITEM_MEMBER = 2 };

/* What one operation did. */
typedef struct strata_written {
    char id[80];
    uint64_t time_ms;
    uint32_t replaced_count; /* values and absences that it replaced */
    strata_item replaced;    /* the one that was shown, when replaced_count > 0; lent */
    bool unseen;             /* the agent had read something older than what it replaced */
    bool changed;            /* add: not there before; remove: was there */
    int64_t total;           /* STRATA_COUNT: the counter afterwards */
} strata_written;

/*
 * Writes the operations as one record: all or nothing. At most 1,024. Returns when the record is
 * on disk, unless STRATA_NO_FLUSH. With `expect` (count must be 1, kind SET or UNSET) the write is
 * made only if the attribute shows that value now and nothing is pending on it; else
 * STRATA_CONFLICT and nothing is recorded. `written`: an array of `count`, or NULL.
 */
int strata_write(strata *s, const strata_op *ops, size_t count, unsigned flags,
                 const strata_expect *expect, strata_written *written);

/* Returns when everything that was written here before, by anybody, is on disk. */
int strata_flush(strata *s);

/* For who has nothing else to do: brings the index up to date where it lacks so many records that the next
 * command would notice (64), unless somebody else is at it. Waits for nobody. */
int strata_idle(strata *s);

/* The agent (of the options) is alive and, with a status, does this now. A repeated status only
 * moves the heartbeat; a new one is also a record. Not flushed. */
int strata_beat(strata *s, const char *status);

/* --- reading ------------------------------------------------------------------------ */

typedef struct strata_attribute {
    const char *entity, *attribute;
    const strata_item *items; /* values and absences first, then members */
    size_t count;
    const strata_item *shown; /* NULL: absent, or a set of members */
    bool present;
    bool pending;
} strata_attribute;

/* STRATA_NOT_FOUND when there is nothing to show (out is filled all the same). Leaves a mark of
 * what the agent has read. as_of_ms 0: now. */
int strata_fact_get(strata *s, const char *entity, const char *attribute, uint64_t as_of_ms,
                    strata_attribute *out);

typedef struct strata_fact_query {
    size_t size;
    const char *entity;       /* NULL: all */
    const char *attribute;    /* NULL: all */
    const char *agent;        /* shown value or a member written by; NULL: all */
    uint64_t since_ms;        /* shown value or a member written at or after; 0: all */
    uint64_t until_ms;        /* at or before; 0: all */
    uint64_t as_of_ms;        /* the state as it was then; 0: now */
    const char *after_entity; /* go on after (entity, attribute) of an earlier page */
    const char *after_attribute;
    size_t limit;     /* 0: no limit */
    bool with_absent; /* attributes without a value too */
    bool facts_only;  /* without tasks, messages and tracked files, unless `entity` names one */
} strata_fact_query;

int strata_fact_each(strata *s, const strata_fact_query *query,
                     int (*visit)(void *arg, const strata_attribute *a), void *arg);

/* STRATA_NOT_FOUND when it was never counted (total 0). */
int strata_counter_get(strata *s, const char *name, int64_t *total);
int strata_counter_each(strata *s, const char *prefix,
                        int (*visit)(void *arg, const char *name, int64_t total), void *arg);

/* One operation of one record, as history and log show it. Strings are lent. */
typedef struct strata_event {
    uint64_t cursor; /* position in this replica's order of application; for strata_events */
    char id[80];
    uint64_t time_ms;
    const char *agent;
    const char *replica;
    int kind;                       /* STRATA_SET ... */
    const char *entity, *attribute; /* "" where they do not apply; count: entity is the name */
    const char *value;              /* beat: the status; other: the operation as JSON */
    size_t value_size;
    bool link;
    int64_t delta;
    bool current; /* history: still a current value, absence or member */
    bool first;   /* nothing was known here of this attribute before */
} strata_event;

/* What happened to an entity, or to one attribute of it (else NULL), newest first. */
int strata_history(strata *s, const char *entity, const char *attribute, size_t limit,
                   int (*visit)(void *arg, const strata_event *e), void *arg);

/* Events after a cursor in order of arrival here (0: from the first), at most limit (0: all).
 * *next is the cursor to go on from: subscribe by polling. */
int strata_events(strata *s, uint64_t after, size_t limit, uint64_t *next,
                  int (*visit)(void *arg, const strata_event *e), void *arg);
/* The cursor after the newest event. */
int strata_events_end(strata *s, uint64_t *cursor);
/* Sleeps until there is probably something after the cursor, at most wait_ms. */
int strata_events_wait(strata *s, uint64_t after, uint32_t wait_ms);

/* Full-text search over entities, attributes and current values (all words must occur). */
int strata_search(strata *s, const char *words, size_t limit,
                  int (*visit)(void *arg, const strata_attribute *a), void *arg);

typedef struct strata_agent {
    const char *agent;
    const char *replica;
    const char *status;   /* "" when none was given */
    uint64_t status_ms;   /* since when it has this status; 0: none */
    uint64_t beat_ms;     /* last sign of life */
    uint64_t age_ms;      /* how long ago that was by this machine's clock */
    int state;            /* STRATA_AGENT_...: of its process, by its last sign of life */
    uint64_t incarnation; /* of its registration; 0: not registered. status_ms tells its progress */
    uint64_t tasks;       /* how many it has claimed, as far as this copy knows */
} strata_agent;

enum {
    STRATA_AGENT_ALIVE = 0,  /* a sign of life within 2 minutes */
    STRATA_AGENT_SILENT = 1, /* within an hour */
    STRATA_AGENT_GONE = 2,
};

/* Registers the handle's agent: a lease of its name, for an hour from its last command on. *incarnation
 * tells this start from earlier ones of the same name: give it in strata_options of later handles.
 * STRATA_CONFLICT: the name is registered; with takeover it is taken, and what the earlier one asks
 * for from then on is refused. */
int strata_agent_register(strata *s, bool takeover, uint64_t *incarnation);
int strata_agent_retire(strata *s);

int strata_agent_each(strata *s, int (*visit)(void *arg, const strata_agent *a), void *arg);

/* --- what waits for somebody ---------------------------------------------------------- */

enum { STRATA_PENDING_CONFLICT = 0, STRATA_PENDING_UNSEEN = 1 };

typedef struct strata_pending {
    char id[80]; /* for strata_resolve; short, stable while it is pending */
    int kind;
    const char *entity, *attribute;
    const strata_item *items; /* conflict: all candidates, numbered from 1 by position;
                                 unseen: [0] what was overwritten, [1] what stands there by that */
    size_t count;
} strata_pending;

int strata_pending_each(strata *s, int kind, size_t limit,
                        int (*visit)(void *arg, const strata_pending *p), void *arg);

enum { STRATA_TAKE_NUMBER, STRATA_TAKE_LATEST, STRATA_TAKE_VALUE };

typedef struct strata_resolution {
    size_t size;
    int take;
    size_t number;     /* STRATA_TAKE_NUMBER: 1.. */
    const char *value; /* STRATA_TAKE_VALUE */
    size_t value_size;
    bool link;
} strata_resolution;

/* Settles one item of the pending list with one write that supersedes all candidates as they
 * stand now. For an unseen overwrite: take NULL acknowledges it. STRATA_NOT_FOUND. */
int strata_resolve(strata *s, const char *id, const strata_resolution *resolution,
                   strata_written *written);
/* All conflicts (under an entity, else NULL) by their latest value. *count: how many. */
int strata_resolve_all(strata *s, const char *entity, size_t *count);

/*
 * What a merge of a file could not decide, kept as conflicts until somebody settles them: attributes
 * of the entity "file:<path>" named by the place, with STRATA_MERGE_MARK behind it. Settling one says
 * that it was looked at; the file is not written. One record for many; all are on disk when it
 * returns. *kept: how many; a value over the limit, or that is no text, is left out.
 */
#define STRATA_MERGE_MARK " (merge)"
typedef struct strata_merge_value {
    const char *text; /* NULL: there is nothing on this side */
    size_t size;
} strata_merge_value;
typedef struct strata_merge_conflict {
    const char *place; /* in the file: a record and its field, or a line */
    strata_merge_value taken, other;
} strata_merge_conflict;
int strata_merge_keep(strata *s, const char *path, const strata_merge_conflict *list, size_t count,
                      size_t *kept);

/* --- the workspace --------------------------------------------------------------------- */

typedef struct strata_replica_info {
    const char *id;
    const char *name; /* "" when unknown */
    uint64_t records; /* taken in of all its epochs */
    uint64_t last_ms; /* time of its last record */
    int64_t ahead_ms; /* suspect clock: how far ahead of ours its last record is; else 0 */
    bool self;
} strata_replica_info;

typedef struct strata_status {
    const char *workspace, *replica, *name, *state_dir; /* lent */
    uint32_t epoch;                                     /* ordinal */
    char digest[33];                                    /* of the visible state, hex */
    uint64_t records;                                   /* applied here */
    uint64_t attributes;  /* known attributes of entities, absent ones included */
    uint64_t pending;     /* conflicts */
    uint64_t unseen;      /* overwritten unseen */
    uint64_t waiting;     /* records of others that wait for a predecessor */
    uint64_t quarantined; /* bytes in quarantine */
    uint64_t log_size;    /* bytes */
    const strata_replica_info *replicas;
    size_t replica_count;
    bool read_only;
    bool index_behind; /* somebody holds the index lock: this answer came from the log */
} strata_status;

int strata_status_get(strata *s, strata_status *out);

typedef struct strata_finding {
    int severity;     /* 0 fine, 1 worth knowing, 2 has to be mended */
    const char *what; /* one line */
    const char *path; /* "" when none */
    bool fixed;
} strata_finding;

/* Checks everything (reads all logs). With fix, repairs what can be repaired without loss: moves
 * aside, never deletes. Result STRATA_DAMAGED when something of severity 2 remains. */
int strata_doctor(strata *s, bool fix, int (*visit)(void *arg, const strata_finding *f), void *arg);

/* Whether a write could be made now: takes the append lock, verifies the tail, writes nothing. */
int strata_check(strata *s);

/*
 * For a workspace whose log is damaged where it was on disk already, so that strata_open or every
 * write says STRATA_DAMAGED: goes on with what is readable up to the damage; everything behind it is
 * moved to the directory quarantine of the state. Records behind the damage come back with
 * strata_merge_state from a copy that has them.
 */
int strata_repair(const char *dir, const strata_options *options, strata_error *error);

typedef struct strata_merge_result {
    uint64_t records; /* new here */
    uint64_t writers; /* epochs they came from */
    uint64_t waiting; /* found, but a predecessor is missing */
    uint64_t pending_before, pending_after;
} strata_merge_result;

/* Takes in the logs of another copy of this workspace: its state directory, or a directory that
 * has one. STRATA_CONFLICT: another workspace (adopt: take it in all the same, unless both
 * have tasks or messages, whose numbers would mean two things). */
int strata_merge_state(strata *s, const char *dir, bool adopt, strata_merge_result *out);

/* --- exchange through Git ------------------------------------------------------------------- */

/*
 * One round of exchange with a Git repository that other copies of the workspace use, too: takes in
 * what they have published there, publishes what was written here. Records are kept on a reference of
 * this copy (refs/strata/<replica>); work trees, index and branches are not touched. Nothing is sent
 * to a remote before somebody has agreed to that remote, once. Needs the program git and a workspace
 * in a Git repository. May be interrupted and repeated at any time.
 */
typedef struct strata_sync_offer {
    const char *remote, *url;
    uint64_t records; /* that become readable there */
    uint64_t entries; /* of the ledger, with results of operations; 0: none, or not asked for */
} strata_sync_offer;

typedef struct strata_sync_options {
    size_t size;
    const char *dir; /* to find the repository, where the state is elsewhere; NULL: the current */
    const char *remote;  /* name of a remote of the clone, or an address or a path */
    bool dry_run;        /* only look; what is told may change until then */
    bool take_only;      /* send nothing, so that nobody has to agree */
    bool agreed;         /* somebody agrees to the remote now */
    uint32_t network_ms; /* longest wait for one answer of the remote; 0: 600,000 */
    /* Asked when nobody has agreed to the remote yet: 1 yes, 0 no. NULL: no. */
    int (*ask)(void *arg, const strata_sync_offer *offer);
    /* Told what is being done now. NULL: not told. */
    void (*progress)(void *arg, const char *step);
    void *arg; /* of both */
    /* The ledger of operations and claims may go there, too, from now on: as a copy to read, which
     * coordinator moves start from. Has to be agreed to once, as the remote itself. */
    bool ledger;
} strata_sync_options;

typedef struct strata_sync_refusal {
    const char *ref, *why;
} strata_sync_refusal;

typedef struct strata_sync_result {
    const char *remote, *url; /* lent, as are the refusals */
    uint64_t sent;    /* records of this copy that were not there before (dry run: would be) */
    uint64_t taken;   /* records of others that are new here */
    uint64_t changed; /* dry run: copies that have published something new */
    uint64_t waiting; /* found, but a predecessor is missing */
    uint64_t pending_before, pending_after;
    const strata_sync_refusal *refused; /* references that could not be used */
    size_t refused_count;
    uint64_t ledger_sent, ledger_taken; /* entries of the ledger */
} strata_sync_result;

/*
 * STRATA_DENIED: nobody has agreed to the remote, or it does not accept the reference.
 * STRATA_UNAVAILABLE, STRATA_TIMEOUT: it could not be reached, or another sync is at work here.
 * STRATA_CONFLICT: another workspace. STRATA_DAMAGED: something there cannot be used (`refused`);
 * all the rest was exchanged. What came is merged into the files of the work tree before anything is sent.
 */
int strata_sync(strata *s, const strata_sync_options *options, strata_sync_result *out);
/* The remotes that somebody has agreed to. */
int strata_sync_remotes(strata *s, int (*visit)(void *arg, const char *remote), void *arg);
/* --- layer 2: tasks ------------------------------------------------------------------------ */

/*
 * Tasks and messages are named by numbers: "143" when made on the founding copy of the workspace,
 * "143@pi-3f9a2c" when made on another. A function that takes the name of one takes a leading # and a
 * shortened suffix ("143@pi") too; STRATA_INVALID when more than one fits.
 * What is said of a task are attributes of the entity "#143": history, conflicts, search and merging
 * are those of facts. strata_write() refuses to write to it.
 */
#define STRATA_TASK_SIZE 96 /* of a name, with the NUL byte */
/* Keys that begin so were made for a new line of a list in a file; they say nothing to people. */
#define STRATA_KEY_OF_LINE "line:"

typedef struct strata_task_new {
    size_t size;
    const char *title;
    const char *channel, *agent, *parent, *key; /* NULL: none. agent: "ann" or "ann@pi" */
    int priority;                               /* 0 (first) to 4; STRATA_PRIORITY_NONE: 2 */
    uint64_t not_before_ms;                     /* not ready before; 0: at once */
    const char *data;                           /* up to 65,536 bytes; NULL: none */
    size_t data_size;
    const char *const *after; /* what has to be done before */
    size_t after_count;       /* at most 1,000 */
} strata_task_new;

#define STRATA_PRIORITY_NONE (-1)

/* One record. With a key that a task has already: *existed, and the name of that task. flags:
 * STRATA_NO_FLUSH. Without key, parent and after the state is not read. */
int strata_task_add(strata *s, const strata_task_new *task, unsigned flags,
                    char id[STRATA_TASK_SIZE], bool *existed);

/* One task. Strings are lent, "" when there is nothing. */
typedef struct strata_task {
    const char *id; /* "143" */
    const char *title;
    const char *state; /* ready, claimed, waiting, deferred, done, failed, cancelled, or what
                            somebody set */
    const char *channel, *agent, *parent, *key, *result, *reason, *author;
    int priority;
    uint64_t not_before_ms, created_ms;
    const char *data, *checkpoint;
    size_t data_size, checkpoint_size, result_size;
    const char *const *depends; /* names */
    size_t depends_count;
    uint64_t waits;         /* how many of them are not settled */
    bool finished, pending; /* pending: something of it was written in two places at once */
    const char *imported;   /* fields of another tracker, as JSON (see strata_task_import) */
    size_t imported_size;
    const char *holder;      /* who has claimed it */
    uint64_t token, left_ms; /* of that claim */
    uint64_t retries;
} strata_task;

/* STRATA_NOT_FOUND. */
int strata_task_get(strata *s, const char *id, strata_task *out);

enum strata_task_view {
    STRATA_TASKS_READY = 0,  /* by priority, then number */
    STRATA_TASKS_UNFINISHED, /* by number, as the others */
    STRATA_TASKS_BLOCKED,    /* wait for something */
    STRATA_TASKS_FINISHED,
    STRATA_TASKS_ALL,
    STRATA_TASKS_GIVEN_UP, /* failed after STRATA_TASK_RETRIES times: a person decides */
};

typedef struct strata_task_query {
    size_t size;
    int view;
    const char *channel; /* NULL: all */
    const char *agent;   /* NULL: all; else what this agent may do: its own, and what is nobody's */
    const char *parent;  /* NULL: all */
    const char *after;   /* by number: go on after this one */
    size_t limit;        /* 0: no limit */
} strata_task_query;

int strata_task_each(strata *s, const strata_task_query *query,
                     int (*visit)(void *arg, const strata_task *t), void *arg);

/* What of the dependencies of a task is not settled, each with its state ("unknown" when it is not
 * here); at most limit. */
int strata_task_waits_for(strata *s, const char *id, size_t limit,
                          int (*visit)(void *arg, const strata_task *t), void *arg);

/* What a change leaves alone is NULL (not_before_ms: UINT64_MAX, priority:
 * STRATA_PRIORITY_NONE); "" takes the value away. */
typedef struct strata_task_change {
    size_t size;
    const char *title, *channel, *agent, *parent;
    const char *state; /* "open", "done", "failed", "cancelled", or any word that holds it */
    const char *result, *reason, *data, *checkpoint;
    size_t result_size, data_size, checkpoint_size;
    int priority;
    uint64_t not_before_ms;
} strata_task_change;

/* STRATA_NOT_FOUND; STRATA_CONFLICT when the task is finished and the change is not to open it
 * again, or says "done" of what is done with the same result (then nothing is written). */
int strata_task_update(strata *s, const char *id, const strata_task_change *change, unsigned flags);

/* id waits for `on`, or no longer does. STRATA_CONFLICT when that would be a cycle: the message
 * has it. *changed: it was not so before. */
int strata_task_depend(strata *s, const char *id, const char *on, bool remove, bool *changed);

/* The shortest cycle through a task, as "1 -> 2 -> 1", first and last the same; "" when
 * there is none. Lent. */
int strata_task_cycle(strata *s, const char *id, const char **cycle);

/*
 * Taking tasks. A claim has a token; checkpoints and ends are accepted with the current one only, an
 * end once. STRATA_UNAVAILABLE where another copy decides. A task for `agent@copy` needs no claim
 * (token 0). Token 0 in a call: the live claim of the handle's agent.
 */
typedef struct strata_task_taken {
    char id[STRATA_TASK_SIZE];
    uint64_t token;   /* 0: needs no claim */
    uint64_t left_ms; /* until the claim lapses unless it is extended */
    bool ended;       /* strata_task_next: `end` came in, also when nothing was to be had */
} strata_task_taken;

typedef struct strata_task_end {
    size_t size;
    const char *id;
    uint64_t token;
    const char *state; /* "done", "failed", or "retry": failed, but may be tried again */
    const char *text;  /* result or reason; up to 65,536 bytes; NULL: none */
    size_t text_size;
    uint64_t retry_in_ms; /* "retry": not ready before */
} strata_task_end;

/* Failing tasks are given back so often; then they have failed. */
#define STRATA_TASK_RETRIES 5

/* Takes the best ready one of the query (view, limit, after: not used); with `end` (NULL: none) ends
 * another in the same step. STRATA_TIMEOUT: nothing was to be had within wait_ms; the message says
 * why. term_ms 0: an hour, extended by whatever the agent does here. run: 0, or from
 * strata_run_begin(): then the claim ends with the process, or with the term before: who lives on
 * renews it. */
int strata_task_next(strata *s, const strata_task_query *query, uint64_t wait_ms, uint64_t term_ms,
                     uint64_t run, const strata_task_end *end, strata_task_taken *out);
/* STRATA_TIMEOUT: somebody has it. STRATA_CONFLICT: it is finished. */
int strata_task_claim(strata *s, const char *id, uint64_t term_ms, uint64_t run,
                      strata_task_taken *out);
/* STRATA_CONFLICT: the token is not the current one; the message says who has the task. */
int strata_task_release(strata *s, const char *id, uint64_t token);
int strata_task_renew(strata *s, const char *id, uint64_t token, uint64_t term_ms);
/* The claim's term begins anew. */
int strata_task_checkpoint(strata *s, const char *id, uint64_t token, const char *text, size_t size,
                           uint64_t term_ms);
/* *accepted false: another copy decides; the report is kept for it. */
int strata_task_finish(strata *s, const strata_task_end *end, bool *accepted);
/* Opens what is finished again, in the ledger too. */
int strata_task_reopen(strata *s, const char *id, const char *reason);

/* A process that lives on: what it claims with the run is free when it has died, also before the
 * term ends. fd stays open in children only if they are to hold the claim too. */
int strata_run_begin(strata *s, uint64_t *run, int *fd);
void strata_run_end(strata *s, uint64_t run, int fd);

/* A task of another tracker. */
typedef struct strata_task_item {
    const char *key; /* its name there: a second import finds it by that */
    const char *title;
    const char *state;   /* as in strata_task_change; NULL: open */
    const char *agent;   /* NULL: none */
    const char *channel; /* NULL: none */
    int priority;
    const char *data; /* NULL: none */
    size_t data_size;
    const char *imported; /* what else there is of it, kept as it is; NULL: nothing */
    size_t imported_size;
    const char *parent; /* a key; NULL: none */
    const struct strata_task_link {
        const char *kind; /* "depends", or any other attribute */
        const char *key;  /* or "#143": a task that is there */
    } * links;
    size_t link_count;
    const char *not_before; /* RFC 3339, UTC; NULL: none */
} strata_task_item;

typedef struct strata_task_imported {
    uint64_t added, changed, same;
    uint64_t unknown; /* links to keys that are nowhere: left out */
    uint64_t records;
} strata_task_imported;

/* All of them, checked as a whole before anything is written: STRATA_CONFLICT for a cycle. Tasks whose
 * key is known are changed where they differ. Can be repeated; dry_run writes nothing. */
int strata_task_import(strata *s, const strata_task_item *items, size_t count, bool dry_run,
                       strata_task_imported *out);

/* --- layer 2: messages --- */

typedef struct strata_message {
    const char *id; /* strings are lent */
    const char *from, *to, *text;
    size_t text_size;
    uint64_t time_ms;
} strata_message;

/* Messages that wait in one inbox. */
#define STRATA_INBOX_MAX 1000

/* A message is for one agent, on every copy, until it is acknowledged. STRATA_NOT_FOUND: such an
 * agent was never heard of (create: send it all the same). STRATA_LIMIT: its inbox is full. */
int strata_message_send(strata *s, const char *to, const char *text, size_t size, bool create,
                        char id[STRATA_TASK_SIZE]);
/* The inbox of an agent, the oldest first. */
int strata_message_each(strata *s, const char *agent, size_t limit,
                        int (*visit)(void *arg, const strata_message *m), void *arg);
/* STRATA_NOT_FOUND: no such message. Doing it again is harmless. */
int strata_message_ack(strata *s, const char *const *ids, size_t count);

typedef struct strata_task_totals {
    uint64_t tasks, unfinished, messages; /* messages: not acknowledged */
    uint64_t ready;             /* open, and waiting for nothing: also claimed, and deferred ones */
    uint64_t waiting, deferred; /* for others; for a time that is still to come */
    uint64_t held;              /* by a word that somebody wrote, as "blocked" */
    uint64_t done, failed, cancelled;
    uint64_t claimed;   /* live claims; none where another copy decides */
    uint64_t to_be_had; /* ready and neither claimed nor deferred */
} strata_task_totals;

/* Costs as much as there are claims, and tasks whose not_before time has come. */
int strata_task_totals_get(strata *s, strata_task_totals *out);

/* --- files: views and documents ----------------------------------------------------------- */

/*
 * A view is a block of Markdown lines in a file of the work tree, made from the state. Edits of its
 * lines, by any editor, become records when the files are looked at next (strata_files_update); text
 * outside of the block is never touched. Views: "heartbeat", "facts", "queue". docs/views.md.
 */
typedef struct strata_view {
    const char *name;    /* strings are lent */
    const char *subject; /* facts: of this entity only; queue: of this channel; "" for all */
    const char *path;    /* relative to the work tree */
    bool committed; /* Git has the file: written after edits, and by strata_view_render() only */
} strata_view;

typedef struct strata_view_options {
    size_t size;
    const char *name;
    const char *subject; /* NULL: none */
    const char *path;    /* relative to the current directory; NULL: the view's usual file */
    bool committed;
} strata_view_options;

/* Adds the view and writes it. STRATA_EXISTS; STRATA_CONFLICT: the usual file has instructions for
 * agents, see the hint. */
int strata_view_add(strata *s, const strata_view_options *options, strata_view *out);
/* Takes in what was edited, then takes the block out. The file goes when nothing else is in it.
 * subject and path may be NULL. STRATA_NOT_FOUND. */
int strata_view_remove(strata *s, const char *name, const char *subject, const char *path);
int strata_view_each(strata *s, int (*visit)(void *arg, const strata_view *v), void *arg);

/* Whether a text has a view in it. */
bool strata_has_view(const char *text, size_t size);

/* An overlap: what both sides changed, at this line of ours, from 1. Borrowed. */
typedef void strata_overlap_visit(void *arg, size_t line, const char *base, size_t base_size,
                                  const char *ours, size_t ours_size, const char *theirs,
                                  size_t theirs_size);
/*
 * Merges a text with views three ways (base, ours, theirs), as Git asks for. What stands outside of the
 * views is merged by lines, and both versions are kept where both changed the same. A view is what the
 * state shows, where that has seen what both sides show; edits are taken in before. Where it has not, the
 * lines of both are kept, without what either took out, and the next strata_files_update() repairs it.
 * s may be NULL: there is no workspace. *merged: from malloc(3), for the caller to free.
 */
int strata_view_merge(strata *s, const char *const texts[3], const size_t sizes[3],
                      strata_overlap_visit *overlap, void *arg, char **merged, size_t *size);

typedef struct strata_files_result {
    size_t taken_in; /* edits that became records */
    size_t written;  /* files */
} strata_files_result;

enum {
    STRATA_FILES_EDITS = 1,  /* take in edits only; write nothing that was not edited */
    STRATA_FILES_ALL = 2,    /* look into every file, whatever its times say */
    STRATA_FILES_RENDER = 4, /* write views that Git has, too */
};

/*
 * A tracked file is merged by lines, between editors and between copies of the workspace: against what
 * its editor had read (strata_file_seen), else against what was last written there. Up to 245,760
 * bytes of UTF-8. path: relative to the current directory; or a pattern such as memory/ *.md (without
 * the space), whose files are tracked as they appear.
 */
int strata_track(strata *s, const char *path);
int strata_untrack(strata *s, const char *path);
/* A tracked file, or a pattern; lent while it is visited. */
typedef struct strata_tracked {
    const char *path; /* from the top of the work tree */
    bool pattern;
    bool held; /* it has a text that Git put there, and is left so until it is edited */
} strata_tracked;
/* visit: what is not 0 ends it, and is returned when it is negative. */
int strata_file_each(strata *s, int (*visit)(void *arg, const strata_tracked *file), void *arg);
/* The text that a tracked file has, as it is, becomes the next version: what it does not have is removed
 * for all. */
int strata_file_take(strata *s, const char *path);
/* The handle's agent has read the file now: its next edit is merged against what it has now. */
int strata_file_seen(strata *s, const char *path);
/* Appends a line to a file, tracked or not, made if need be: one write at the end, on disk when this
 * returns. At most 65,536 bytes. */
int strata_append(strata *s, const char *path, const char *text, size_t size);

/* Looks after the views and tracked files of the work tree: takes in edits, writes what changed.
 * Costs a stat(2) per file when there is nothing to do. What is wrong with single files is told by
 * strata_next_notice(). result may be NULL. */
int strata_files_update(strata *s, unsigned flags, strata_files_result *result);

/*
 * Sleeps until a view or tracked file may have been edited, or the state may have changed, at most
 * wait_ms. STRATA_OK: look (strata_files_update); *all: look into every file, events were lost.
 * STRATA_TIMEOUT: nothing. Watches with inotify(7) from the first call to strata_close().
 */
int strata_files_wait(strata *s, uint32_t wait_ms, bool *all);

/* --- layer 3: once-only operations -------------------------------------------------------- */

/*
 * An operation is an effect outside that must not happen twice: an e-mail, a deployment, a payment.
 * It is named by a key; all who want it done use the same key. A program that makes the call itself
 *   1. calls strata_op_begin(): one caller gets STRATA_OP_RUN with a token, and may then, and only
 *      then, make the call (that it was started is on disk when this returns);
 *   2. calls strata_op_report() with the result, or strata_op_refuse() if it is certain that nothing
 *      happened.
 * If it dies in between, the operation is in doubt: nobody runs it again until a person has found
 * out what happened and settles it.
 */
enum strata_op_class {
    STRATA_NAKED = 0,  /* nobody can look up whether it happened (the default) */
    STRATA_KEYED,      /* the service takes a key of ours and removes repeats, for a time */
    STRATA_QUERYABLE,  /* a check command tells whether it happened */
    STRATA_IDEMPOTENT, /* doing it twice is harmless */
};

enum strata_op_state {
    STRATA_OP_UNKNOWN = 0, /* no such key */
    STRATA_OP_PROPOSED,
    STRATA_OP_GRANTED,
    STRATA_OP_EXECUTING,
    STRATA_OP_COMMITTED,
    STRATA_OP_FAILED,
    STRATA_OP_EXPIRED,
    STRATA_OP_IN_DOUBT,
};
const char *strata_op_state_name(int state); /* "in_doubt"; static */

typedef struct strata_operation {
    const char *key; /* strings are lent */
    int state;
    int op_class;
    uint64_t token;
    uint32_t attempts, runs;
    const char *holder;
    bool needs_approval, approved;
    bool alive; /* granted or executing: its process still runs */
    uint64_t proposed_ms, started_ms, ended_ms;
    const void *result;
    size_t result_size;
    const char *evidence, *person;
} strata_operation;

typedef struct strata_op_request {
    size_t size;
    const char *key;
    const void *parameters; /* what is done: the same key with others is refused */
    size_t parameters_size;
    int op_class;
    uint64_t valid_for_ms; /* STRATA_KEYED: how long the service remembers the key; 0: for ever */
    bool needs_approval;
    uint64_t term_ms; /* 0: the caller lives until it reports (`executor`). Else it may end in
                              between: it counts as at work for this long, from the last call on */
    bool only_grant;  /* do not start it yet: strata_op_start() before the call is made */
} strata_op_request;

enum {
    STRATA_OP_RUN = 1,  /* do it now, with the token */
    STRATA_OP_REPLAY,   /* done before: here is the result */
    STRATA_OP_BUSY,     /* somebody is doing it */
    STRATA_OP_DOUBT,    /* in doubt: do not retry, do not use another key */
    STRATA_OP_MISMATCH, /* the key stands for something else */
    STRATA_OP_APPROVAL, /* a person has to approve it first */
    STRATA_OP_ENDED,    /* failed, rejected or expired: nothing happened */
    STRATA_OP_PRUNED,   /* known before, its result was removed */
};

typedef struct strata_op_answer {
    int answer;                 /* STRATA_OP_RUN ... */
    uint64_t token;             /* STRATA_OP_RUN */
    int executor;               /* STRATA_OP_RUN: a locked descriptor that children inherit; as long
                                   as anybody has it open, the operation cannot be settled */
    strata_operation operation; /* as it stands */
} strata_op_answer;

/* One look and, if it is to be run, the grant and the start: durable when this returns.
 * STRATA_UNAVAILABLE: this copy of the workspace does not decide; nothing was recorded. */
int strata_op_begin(strata *s, const strata_op_request *request, strata_op_answer *answer);
/* After only_grant: it is on disk, when this returns, that the effect may happen. Accepted once: who
 * did not get the answer must not act. STRATA_CONFLICT. */
int strata_op_start(strata *s, const char *key, uint64_t token);
/* Begins the term anew. STRATA_CONFLICT: the token is not the current one. */
int strata_op_renew(strata *s, const char *key, uint64_t token, uint64_t term_ms);
/* Ends what strata_op_begin gave out; `executor` is closed, but for an error other than
 * STRATA_CONFLICT: then it is yours as before, and can be reported again (what was recorded after all
 * is accepted again). result_size: at most 131,072. */
int strata_op_report(strata *s, const char *key, uint64_t token, const void *result,
                     size_t result_size, int executor);
/* The service said no, or the call was never made: nothing happened, and `proof` shows it. */
int strata_op_refuse(strata *s, const char *key, uint64_t token, const char *proof, int executor);
/* The outcome is not known and will not be: the operation is in doubt from now on. */
int strata_op_abandon(strata *s, const char *key, uint64_t token, int executor);

/* STRATA_NOT_FOUND. An operation whose process has died shows as in doubt. */
int strata_op_get(strata *s, const char *key, strata_operation *out);
int strata_op_each(strata *s, int state, const char *after, size_t limit,
                   int (*visit)(void *arg, const strata_operation *o), void *arg);

enum { STRATA_SETTLE_COMMITTED, STRATA_SETTLE_FAILED, STRATA_SETTLE_RETRY };
/* For persons, named. STRATA_CONFLICT: not in doubt. STRATA_UNAVAILABLE: something of it may
 * still run. */
int strata_op_settle(strata *s, const char *key, int outcome, const char *person,
                     const char *evidence, const void *result, size_t result_size);
int strata_op_decide(strata *s, const char *key, bool approve, const char *person,
                     const char *reason);
int strata_op_again(strata *s, const char *key, const char *person, const char *reason);
/* The check command of a queryable operation in doubt says that it happened. STRATA_UNAVAILABLE:
 * something of it still runs. STRATA_DENIED: not queryable. */
int strata_op_checked(strata *s, const char *key, const char *evidence, const void *result,
                      size_t result_size);
/* Forgets the results of operations that ended longer ago; their keys stay known, and are never run
 * in silence. What is in doubt, or has not ended, stays. *count: how many. */
int strata_op_prune(strata *s, uint64_t older_than_ms, uint64_t *count);

/* --- layer 3: who decides --------------------------------------------------------------------- */

typedef struct strata_coordinator {
    bool here;           /* this copy of the workspace decides */
    uint64_t generation; /* grows with every move */
    uint64_t position;   /* entries of the ordered log that are known here */
    char head[33];       /* a checksum over all of them, hex: two copies with the same head have
                               the same log */
    bool doubt;          /* a forced move left unknown keys in doubt */
    bool sealed;         /* this log has ended: `successor` goes on */
    char successor[256]; /* the place that goes on, or that began this generation; may be "" */
    char place[96];      /* this place, as `strata coordinator move --to` wants it */
} strata_coordinator;

int strata_coordinator_get(strata *s, strata_coordinator *out);
/* STRATA_OK: this copy decides. STRATA_UNAVAILABLE: it does not, and the error says what to do; lists of
 * operations, locks and reservations have then what was known when the ordered log last came here. */
int strata_coordinator_here(strata *s);
/*
 * A planned move, for persons, named. Where both copies are reachable, strata_coordinator_hand_over()
 * at the one that decides does it all: `dir` belongs to the other copy of this workspace. Otherwise
 * in steps: strata_coordinator_seal() here names the other's `place`, and the log here accepts
 * nothing from then on; it travels (strata_merge_state() there, or sync); strata_coordinator_accept()
 * there goes on from exactly there. In between nobody decides. STRATA_CONFLICT: the log does not name
 * that place, or is not sealed. STRATA_UNAVAILABLE: this copy does not decide.
 */
int strata_coordinator_hand_over(strata *s, const char *dir, const char *person,
                                 const char *reason);
int strata_coordinator_seal(strata *s, const char *place, const char *person, const char *reason);
int strata_coordinator_accept(strata *s, const char *person);
/*
 * Makes this copy decide although the one that decided so far was not asked: for when that one is
 * gone for good. For persons, named. What ran there after this copy was made is not known here: every
 * operation that had not ended, and every key not known here, is in doubt from now on.
 */
int strata_coordinator_force(strata *s, const char *person, const char *reason);

/* One command of the ordered log: who wanted what, when, on what evidence. Lent for the visit; "" and
 * 0 where the command has none of it. */
typedef struct strata_command {
    uint64_t position; /* of its entry; several commands may be one entry */
    uint64_t time_ms;
    const char *agent, *command; /* command: "propose", "settle", "lease-acquire", ... */
    const char *key;             /* operation, lock, task, pattern */
    const char *kind;            /* of a lease: "lock", "claim", "agent", "path" */
    const char *op_class;        /* propose */
    uint64_t token;
    const char *outcome; /* settle, claim-finish: "committed", "failed", "retry" */
    const char *person, *evidence;
    const char *successor; /* seal, generation: a place */
    uint64_t generation;
    bool forced, by_check;
    uint64_t result_size; /* bytes of its result */
    bool alternative;     /* wanted only if no alternative before it in the entry was to be had */
    const char *tree;     /* of a reservation: which work tree its pattern (key) is of; an id */
    /* What came of it: "done"; "same": it was so already; "skipped": an alternative before it was had;
     * "refused", "mismatch", "stale", "held", "ended", "pruned", "person", "sealed", "invalid": not carried
     * out. "": not known any more; of the latest 4,096 entries of a copy that decides it is. */
    const char *verdict;
} strata_command;

/* The commands of the entries after `after`, at most `limit` entries (0: all). A command is what
 * somebody wanted; whether it was carried out is its verdict, or for strata_op_get() and the like to say. */
int strata_commands(strata *s, uint64_t after, uint64_t limit,
                    int (*visit)(void *arg, const strata_command *c), void *arg);

/* Reads the whole ordered log and checks its chain of checksums. STRATA_DAMAGED: it is broken, or
 * not what the index was made of; the error says where. */
int strata_log_verify(strata *s, strata_coordinator *out);

/* --- layer 3: locks ------------------------------------------------------------------------- */

typedef struct strata_lock {
    const char *name, *holder; /* lent */
    uint64_t token;            /* grows with every grant of anything */
    bool held;
    uint64_t left_ms; /* until it lapses, by this machine's clock */
    uint64_t since_ms;
} strata_lock;

/* STRATA_TIMEOUT: not to be had within wait_ms (then *out tells who has it). run: 0, or from
 * strata_run_begin(): then the lock is free when its process, and every child that inherited the
 * descriptor, has died, or when its term ends, whichever is first. */
int strata_lock_acquire(strata *s, const char *name, uint64_t ttl_ms, uint64_t wait_ms,
                        uint64_t run, strata_lock *out);
/* STRATA_CONFLICT: the token is not the current one; the lock is lost. */
int strata_lock_renew(strata *s, const char *name, uint64_t token, uint64_t ttl_ms);
int strata_lock_release(strata *s, const char *name, uint64_t token);
int strata_lock_each(strata *s, int (*visit)(void *arg, const strata_lock *l), void *arg);
/* Whether this is the current token of a lock that is held: STRATA_CONFLICT if not. Advice: it may be
 * lost before you have done anything about it. */
int strata_fence(strata *s, const char *name, uint64_t token);

/* --- layer 3: reservations of paths ---------------------------------------------------------- */

typedef struct strata_reservation {
    const char *pattern, *holder, *reason; /* lent */
    const char *tree;                      /* which work tree: an id */
    bool here;                             /* of the work tree that was asked for */
    bool shared;
    uint64_t token, left_ms, since_ms;
} strata_reservation;

typedef struct strata_reserve_request {
    size_t size;
    const char *tree; /* path of the work tree's root; its files are not those of another */
    const char
        *pattern; /* src/ ** (without the space), as in docs/strong.md; relative to the root */
    const char *reason; /* may be NULL */
    bool shared;
    uint64_t ttl_ms; /* at most 30 days */
} strata_reserve_request;

/* Reserves the paths for the handle's agent; the same again begins the term anew. STRATA_TIMEOUT:
 * somebody else has some of them in this work tree; the message tells who. */
int strata_reserve(strata *s, const strata_reserve_request *request, uint64_t *token);
/* STRATA_CONFLICT: there is none with this token. */
int strata_reserve_release(strata *s, const char *tree, const char *pattern, uint64_t token);
/* All; or (path) those that hold a path; or (pattern) those that have a path in common with it. */
int strata_reserve_each(strata *s, const char *tree, const char *path, const char *pattern,
                        int (*visit)(void *arg, const strata_reservation *r), void *arg);

#ifdef __cplusplus
}
#endif
#endif
