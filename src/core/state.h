/*
 * state.h - layer 1: what a set of records means.
 *
 * The specification, in one sentence: an operation is live until an operation whose causal
 * context contains it supersedes it; the state is the set of live operations. Everything here
 * is an incremental computation of that, row by row, over a dumb ordered key-value store. The
 * store has two implementations with the same behaviour: SQLite tables (src/store) and sorted
 * arrays in memory (memkv.h).
 *
 * Records are applied in causal order: a writer's records in the order of their counters, and
 * a record with a "seen" operation only when everything that it names is applied. So an
 * operation arrives after all that it supersedes and before all that supersedes it, and no
 * tombstone for things not yet arrived is ever needed.
 *
 * Context of an operation w: earlier operations of the same record, every earlier record of
 * the same writer, and the join of that writer's "seen" vectors so far, the one in the same
 * record included; narrowed to "at" where the operation has one (the earlier operations of the
 * same record are then not part of it either).
 *
 * An attribute (E, A) holds items: at most one kind of use at a time unless two replicas differ.
 *   set v     kills every item of (E, A) in its context: values, absences, members. Adds a value.
 *   unset     kills the same. Adds an absence (a value "nothing": so that an unset and a set made
 *             at the same time are both kept and pending).
 *   add v     kills absences of (E, A) and members equal to v in its context. Adds a member.
 *   remove v  kills members equal to v in its context; adds nothing (add wins over a concurrent
 *             remove). v with another value kind is another member.
 *   count     adds delta to the counter; nothing kills it. Sums saturate per writer at +-2^62,
 *             so a total is exact or visibly at its limit.
 *   beat      the agent's status: the latest (time, dot) is the status; never pending.
 *   seen      joins the writer's context.
 *   ack       removes the "overwritten unseen" rows of one record; does not touch values.
 *   unknown   nothing.
 *
 * Shown: of several values the one with the latest (time, dot, operation). Exception: attributes
 * whose name ends in "_at" hold times; the bytewise greatest value is shown.
 * Pending: (E, A) has values or absences that differ, or a value beside a member. Not pending:
 * equal values, an absence beside members (add wins), attributes ending in "_at" as far as
 * values go (a value beside an absence is pending there too).
 * Overwritten unseen: a set or unset that names what its author had last read ("read") killed
 * a value or absence with another dot and of another agent.
 *
 * Rows (key: first byte, then fields; names end with a NUL byte, which names cannot contain;
 * dots are 24 bytes big-endian, so that keys sort):
 *   'f' E 0 A 0 0x00             register row: values and absences, number of member rows
 *   'f' E 0 A 0 0x01 kind value  member row: the adds of one member that are live
 *   'p' E 0 A 0                  (E, A) is pending; empty
 *   'u' dot op(4 bytes)          overwritten unseen; see st_unseen_decode
 *   'c' name 0 writer            one writer's sum
 *   'b' agent 0                  status
 *   'w' writer                   what was applied of a writer, and its context
 * A register row is never deleted once made (it carries the key's history in the index);
 * member rows go with their last live add; 'p' rows come and go.
 *   'q' ...                      what is derived of tasks and messages, see task.h
 * Rows 'f', 'c', 'b' are the visible state: the digest is taken over them. Their bytes are a
 * function of the set of applied records alone, whatever the order (items sorted by dot).
 */
#ifndef ST_CORE_STATE_H
#define ST_CORE_STATE_H

#include "core/record.h"

/* The ordered store under the state. */
struct st_kv {
    /* ST_OK with *value lent until the next call on this store, or ST_NOT_FOUND. */
    enum st_code (*get)(void *ctx, struct st_str key, struct st_str *value);
    /* Both copied. */
    enum st_code (*put)(void *ctx, struct st_str key, struct st_str value);
    /* Deleting what is not there is fine. */
    enum st_code (*del)(void *ctx, struct st_str key);
    /*
     * Visits rows whose key starts with prefix and is greater than `after` (empty: from the
     * first), in bytewise key order, until visit returns other than ST_OK; that is then the
     * result, but ST_SCAN_STOP gives ST_OK. Key and value are borrowed; the store must not be
     * changed during a scan, and no other call on it may be made.
     */
    enum st_code (*scan)(void *ctx, struct st_str prefix, struct st_str after,
                         enum st_code (*visit)(void *arg, struct st_str key, struct st_str value),
                         void *arg);
    /* Operation `op` of the record being applied concerns this key (register row of (E, A), or
     * 'c' name 0, or 'b' agent 0). For the history; may be NULL. */
    enum st_code (*touch)(void *ctx, struct st_str key, const struct st_record *r, size_t op);
    void *ctx;
};

#define ST_SCAN_STOP ((enum st_code)1)

/* What is known of one writer. */
struct st_writer_state {
    struct st_writer writer;
    uint64_t counter;      /* of the last applied record; 0: none */
    uint64_t checksum;     /* of that record */
    struct st_hlc time;    /* of that record */
    struct st_vector seen; /* join of its "seen" operations */
    bool dirty;
};

/* Scratch: the task that the operations applied last were about, see task_apply.c. */
struct st_task_site {
    struct st_str entity; /* borrowed from the record; p NULL: none */
    unsigned changed;     /* its attributes, a set of bits */
    int64_t waits;        /* what to add to the number of dependencies that are not settled */
    struct st_buf key, old, row, list, value;
};

struct st_state {
    const struct st_kv *kv;          /* borrowed */
    const struct st_alloc *alloc;    /* borrowed */
    struct st_writer_state *writers; /* sorted by writer; loaded from 'w' rows */
    size_t writer_count, writer_cap;
    struct st_vector applied;                   /* the counters of `writers` as a vector */
    struct st_buf key, value, copy, rows, held; /* scratch */
    struct st_item *items;                      /* scratch: the row being changed */
    size_t items_cap;
    struct st_task_site task;
};

/* Reads the 'w' rows. ST_DAMAGED when a row is not well-formed. */
enum st_code st_state_init(struct st_state *s, const struct st_kv *kv,
                           const struct st_alloc *alloc);
void st_state_release(struct st_state *s);

/* NULL when nothing of this writer was applied. Lent. */
const struct st_writer_state *st_state_writer(const struct st_state *s, struct st_writer w);

/* Whether r can be applied now: it is the next of its writer (ST_OK), was applied before
 * (ST_EXISTS), or has to wait for a gap or for what its "seen" names (ST_UNAVAILABLE). The next
 * counter with a wrong predecessor checksum, or an applied counter that has the last applied
 * counter but another checksum, is ST_DAMAGED: two records with one dot. */
enum st_code st_state_ready(const struct st_state *s, const struct st_record *r);

/* Applies a record for which st_state_ready() said ST_OK (anything else: its code, nothing
 * changed). On any other error the store may be half changed: roll back. */
enum st_code st_state_apply(struct st_state *s, const struct st_record *r);

/* Writes the changed 'w' rows; call at the end of a batch, in the same transaction. */
enum st_code st_state_save(struct st_state *s);

/* --- reading ---------------------------------------------------------------------------------- */

enum st_item_kind { ST_ITEM_VALUE, ST_ITEM_ABSENT, ST_ITEM_MEMBER };

struct st_item {
    enum st_item_kind kind;
    enum st_value_kind value_kind;
    struct st_str value;
    struct st_dot dot;
    uint32_t op; /* which operation of the record */
    struct st_hlc time;
    struct st_str agent;
    /* Of what a set or unset killed: how many items, and the dot and operation of the one among
     * them that was shown. over_count 0: it replaced nothing. */
    struct st_dot over;
    uint32_t over_op;
    uint32_t over_count; /* local knowledge, see st_row_visible */
};

/* One attribute as it stands. Items and strings are lent by the scratch. Register items first,
 * sorted by (dot, op), then members, sorted by (value kind, value, dot, op); several live adds of
 * one member are several items. */
struct st_attribute {
    struct st_str entity, attribute;
    const struct st_item *items;
    size_t count;
    size_t shown; /* index of the shown item among the register items; count when there is none
                     (no register item, or the attribute is shown as a set because it has members
                     and no value) */
    bool pending;
    bool present; /* there is something to show: a shown value, or members */
};

struct st_read_scratch {
    struct st_buf bytes;
    struct st_item *items;
    size_t items_cap;
    const struct st_alloc *alloc;
};

/* Which of two is shown is greater: the later, or of times ("_at") the greater value. */
int st_item_compare_shown(const struct st_item *a, const struct st_item *b, bool times);
/* The same kind and value. */
bool st_item_same(const struct st_item *a, const struct st_item *b);

void st_read_scratch_init(struct st_read_scratch *s, const struct st_alloc *alloc);
void st_read_scratch_release(struct st_read_scratch *s);

/* ST_OK also when nothing was ever written (count 0, present false). */
enum st_code st_attribute_read(const struct st_kv *kv, struct st_str entity,
                               struct st_str attribute, struct st_read_scratch *scratch,
                               struct st_attribute *out);

/* Visits the attributes of one entity (or, entity empty, of all) in key order, after
 * (after_entity, after_attribute) when those are not empty. Absent ones are visited too. The
 * attribute is lent for the visit. ST_SCAN_STOP ends. The visitor must not call the store. */
enum st_code st_attribute_each(const struct st_kv *kv, struct st_str entity,
                               struct st_str after_entity, struct st_str after_attribute,
                               struct st_read_scratch *scratch,
                               enum st_code (*visit)(void *arg, const struct st_attribute *a),
                               void *arg);

/* The total of a counter over all writers, and whether it exists. */
enum st_code st_counter_read(const struct st_kv *kv, struct st_str name, int64_t *total,
                             bool *exists);
/* Visits all counters in name order. */
enum st_code st_counter_each(const struct st_kv *kv, struct st_str prefix,
                             enum st_code (*visit)(void *arg, struct st_str name, int64_t total),
                             void *arg);

struct st_status_row {
    struct st_str agent, status; /* lent */
    struct st_hlc time;
    struct st_dot dot;
    uint64_t incarnation;
};
enum st_code st_status_decode(struct st_str key, struct st_str value, struct st_status_row *out);

struct st_unseen_row {
    struct st_dot dot; /* the write that overwrote */
    uint32_t op;
    struct st_str entity, attribute;
    struct st_str agent; /* who overwrote */
    struct st_hlc time;
    struct st_dot lost; /* what was overwritten unseen (the latest when several) */
    struct st_str lost_agent;
    struct st_hlc lost_time;
    enum st_item_kind lost_kind;
    enum st_value_kind lost_value_kind;
    struct st_str lost_value;
    uint32_t lost_count;
};
enum st_code st_unseen_decode(struct st_str key, struct st_str value, struct st_unseen_row *out);

/* Builders of keys and prefixes, appended to out. */
void st_key_register(struct st_buf *out, struct st_str entity, struct st_str attribute);
void st_key_member(struct st_buf *out, struct st_str entity, struct st_str attribute,
                   enum st_value_kind kind, struct st_str value);
void st_key_attribute(struct st_buf *out, struct st_str entity, struct st_str attribute);
void st_key_entity(struct st_buf *out, struct st_str entity);
void st_key_pending(struct st_buf *out, struct st_str entity, struct st_str attribute);
void st_key_counter(struct st_buf *out, struct st_str name);
void st_key_status(struct st_buf *out, struct st_str agent);
void st_unseen_key(struct st_buf *out, struct st_dot dot, uint32_t op);
/* Splits a 'p' or 'f' key. */
bool st_key_split(struct st_str key, struct st_str *entity, struct st_str *attribute);
/* Whether rows with this key count for the digest. */
bool st_key_visible(struct st_str key);
/*
 * The part of a row's value that counts for the digest and is the same on every replica that
 * has applied the same records. All of it, except that a register row ends with what each item
 * replaced ("over"). That depends on the order of application: of two concurrent writes that
 * both saw x, the one applied first is the one that replaces it here. On the replica that made
 * a write it is exactly what that replica showed; the same holds of 'u' rows.
 */
struct st_str st_row_visible(struct st_str key, struct st_str value);

#endif
