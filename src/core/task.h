/*
 * task.h - layer 2: what facts about tasks and messages mean, and the rows that answer for them.
 *
 * A task or a message is an entity `#143` or, made on another replica than the founding one,
 * `#143@pi-3f9a2c`. What is said of it are attributes as of any entity (state.h), so conflicts,
 * history and merging are those of facts:
 *
 *   title        what is to be done; an entity with a title is a task
 *   state        none or "open"; "done", "failed", "cancelled" (finished); anything else holds it
 *   depends      members, links to tasks: it is not ready before each is done or cancelled
 *   channel      none: "default"                   agent     who it is for, maybe `ann@pi`
 *   priority     "0" (first) to "4"; none: 2       not_before  RFC 3339, UTC
 *   key          of whoever added it, against a second time
 *   message, to  an entity with a message is one, for the agent `to`; `acknowledged`: it was read
 *   reported     what somebody says became of it, where it could not be decided
 *   parent, data, result, reason, checkpoint, retries, ...  no meaning here
 *
 * The specification of the derived rows, in one paragraph: the state of a task is the latest of
 * the live values of `state` that are finished, if there is one (finished absorbs; only a write
 * that supersedes it opens it again), else the shown one. A dependency is settled when its state
 * is done or cancelled; one on something unknown, or failed, or that is no task, is not. A task
 * waits for as many as are not settled. It is ready when it has a title and no message, is open,
 * and waits for none; of what is ready with a not_before, the reader judges the time.
 *
 * Rows (all begin with 'q'; not visible state: no part of the digest). An ID is the number, 8
 * bytes big-endian, the suffix, and a NUL byte, so that IDs sort by number:
 *   't' ID                              the summary of one task or message
 *   'o' ID                              tasks that are not finished
 *   'r' channel 0 agent 0 priority ID   ready, without not_before
 *   'd' u64 not_before, ID              ready, with it (ms)
 *   'v' target entity 0 ID              ID depends on the target
 *   'k' key 0 ID                        tasks with this key
 *   'i' agent 0 ID                      messages not acknowledged; the summary has no more of them
 *   'I' agent 0                         varint: how many
 *   'f' ID                              tasks that have failed
 *   'w' ID                              has a report that nobody has accepted or refused
 *   'n'                                 struct st_task_totals
 * Finishing a task costs in proportion to what depends on it, a new dependency is one row and one
 * count; no change reads more than it changes.
 */
#ifndef ST_CORE_TASK_H
#define ST_CORE_TASK_H

#include "core/state.h"

struct st_task_id {
    uint64_t number;
    struct st_str suffix; /* "": of the founding replica */
};

/* False for anything but the canonical spelling. The suffix is lent by the entity. */
bool st_task_id_parse(struct st_str entity, struct st_task_id *out);
void st_task_id_add(struct st_buf *out, struct st_task_id id); /* "#143@pi-3f9a2c" */

enum st_task_state {
    ST_TASK_OPEN,
    ST_TASK_HELD, /* any other word, by hand */
    ST_TASK_DONE,
    ST_TASK_FAILED,
    ST_TASK_CANCELLED,
};

static inline bool st_task_finished(enum st_task_state s)
{
    return s >= ST_TASK_DONE;
}

enum st_task_state st_task_state_of(struct st_str value); /* "": open */
/* Of two live values of `state`, whether it is a that counts. */
bool st_task_state_better(const struct st_item *a, const struct st_item *b);

#define ST_PRIORITY_MAX     4
#define ST_PRIORITY_DEFAULT 2
#define ST_CHANNEL_DEFAULT  "default"

struct st_task {
    bool is_task, is_message, acknowledged, reported;
    enum st_task_state state;
    uint8_t priority;
    uint64_t waits; /* dependencies that are not settled */
    uint64_t not_before_ms;
    struct st_str channel, agent, key, to; /* lent by the row; "" when there is none */
};

static inline bool st_task_ready(const struct st_task *t)
{
    return t->is_task && !t->is_message && t->state == ST_TASK_OPEN && t->waits == 0;
}

struct st_task_totals {
    uint64_t tasks, unfinished, ready, messages; /* messages: not acknowledged */
    uint64_t waiting, deferred; /* of the open ones; deferred: ready, with a not_before */
    uint64_t failed, cancelled;
};

/* RFC 3339 in UTC with seconds and maybe milliseconds, as the program writes it. */
bool st_time_parse(struct st_str text, uint64_t *ms);

/* --- reading; rows are lent as by the store ----------------------------------------------------- */

/* ST_NOT_FOUND when nothing is known of it. */
enum st_code st_task_read(const struct st_kv *kv, struct st_str entity, struct st_buf *scratch,
                          struct st_task *out);
enum st_code st_task_totals_read(const struct st_kv *kv, struct st_task_totals *out);

/* Keys and prefixes, appended to out. */
void st_task_key(struct st_buf *out, struct st_task_id id); /* 't' ID */
void st_task_key_ready(struct st_buf *out, struct st_str channel, struct st_str agent);
/* What is ready with one priority; and behind it the place of the first ID with a number. */
void st_task_key_ready_priority(struct st_buf *out, struct st_str channel, struct st_str agent,
                                uint8_t priority);
void st_task_key_number(struct st_buf *out, uint64_t number);
void st_task_key_dependents(struct st_buf *out, struct st_str target);
void st_task_key_keyed(struct st_buf *out, struct st_str key);
void st_task_key_inbox(struct st_buf *out, struct st_str agent);
void st_task_key_inbox_count(struct st_buf *out, struct st_str agent);
/* Takes an ID off the end of a key: the ID begins at `at`. */
bool st_task_id_take(struct st_str key, size_t at, struct st_task_id *out);
/* Splits a 'r' row's key. */
struct st_task_ready_key {
    struct st_str channel, agent;
    uint8_t priority;
    struct st_task_id id;
};
bool st_task_ready_split(struct st_str key, struct st_task_ready_key *out);
bool st_task_deferred_split(struct st_str key, uint64_t *not_before_ms, struct st_task_id *id);
enum st_code st_task_decode(struct st_str row, struct st_task *out);

#endif
