/*
 * state_internal.h - what the files of the state share: lists of items, the encoding of rows,
 * and the entry points of each kind of operation. Used by state.c, attribute.c, rows.c and
 * state_read.c; the ledger uses the fields of rows and the access to the store.
 */
#ifndef ST_CORE_STATE_INTERNAL_H
#define ST_CORE_STATE_INTERNAL_H

#include "core/state.h"

/* Sums of one writer stay within +-ST_SUM_MAX; so does a total. */
#define ST_SUM_MAX (INT64_C(1) << 62)

/* A list of items in somebody else's array: the scratch of a state or of a reader. */
struct st_items {
    struct st_item **p;
    size_t *cap;
    size_t n;
    const struct st_alloc *alloc;
};

/* Appends. ST_OK or ST_NO_MEMORY. */
enum st_code st_items_push(struct st_items *list, const struct st_item *item);

/* The order of items within a row: by dot, then operation. */
int st_item_compare(const struct st_item *a, const struct st_item *b);
/* Later is greater: time, dot, operation. */
int st_item_compare_time(const struct st_item *a, const struct st_item *b);

bool st_attribute_is_time(struct st_str attribute);
/* The rule of state.h over register items and the number of members. */
bool st_pending(const struct st_item *items, size_t count, uint64_t members, bool times);

/* --- encoding of rows; rows.c has the formats ------------------------------------------------- */

void st_row_add_u64(struct st_buf *out, uint64_t value); /* 8 bytes, big-endian */
void st_row_add_writer(struct st_buf *out, struct st_writer w);
void st_row_add_bytes(struct st_buf *out, struct st_str s); /* length, then bytes */
void st_row_add_time(struct st_buf *out, struct st_hlc t);

/* Each takes a field off the front of *s; false when it is cut short or out of range. */
bool st_row_take_u64(struct st_str *s, uint64_t *value);
bool st_row_take_u32(struct st_str *s, uint32_t *value); /* a varint up to 2^32 - 1 */
bool st_row_take_writer(struct st_str *s, struct st_writer *w);
bool st_row_take_dot(struct st_str *s, struct st_dot *d); /* writer, counter as varint */
bool st_row_take_bytes(struct st_str *s, struct st_str *out);
bool st_row_take_time(struct st_str *s, struct st_hlc *t);

/* Appends the register items of a row to the list; strings are lent by the row. */
enum st_code st_register_decode(struct st_str row, struct st_items *list, uint64_t *members);
/* Only the number of members; decoding may still find damage. */
bool st_register_members(struct st_str row, uint64_t *members);
void st_register_encode(struct st_buf *out, const struct st_item *items, size_t count,
                        uint64_t members);
/* Splits the tail (kind, value) of a member row's key, after E 0 A 0. */
bool st_member_split(struct st_str tail, enum st_value_kind *kind, struct st_str *value);
/* Appends the live adds of one member; kind and value come from the key. */
enum st_code st_member_decode(struct st_str row, enum st_value_kind kind, struct st_str value,
                              struct st_items *list);
void st_member_encode(struct st_buf *out, const struct st_item *items, size_t count);

void st_status_encode(struct st_buf *out, const struct st_record *r, struct st_str status);
/* The value of one 'u' row. */
void st_unseen_encode(struct st_buf *out, const struct st_unseen_row *row);

void st_sum_encode(struct st_buf *out, int64_t sum);
bool st_sum_decode(struct st_str row, int64_t *sum);

/* --- applying --------------------------------------------------------------------------------- */

/* One operation of a record, on its way into the store. */
struct st_change {
    struct st_state *s;
    const struct st_record *r;
    const struct st_op *op;
    uint32_t index;               /* of op within r */
    const struct st_vector *seen; /* of r's writer, r's own included */
};

/* set, unset, add, remove. */
enum st_code st_attribute_apply(const struct st_change *c);

/* Around each operation on an attribute, and at the end of a record: the rows of task.h follow. */
enum st_code st_task_before(const struct st_change *c);
enum st_code st_task_after(const struct st_change *c);
enum st_code st_task_close(struct st_state *s);
void st_task_site_init(struct st_task_site *t, const struct st_alloc *alloc);
void st_task_site_release(struct st_task_site *t);

/* Copies what get() lends into `copy`, so that it outlives further calls. *found is false and
 * the code ST_OK when there is no such row. */
enum st_code st_kv_get(const struct st_kv *kv, struct st_str key, struct st_buf *copy, bool *found);
/* put(), unless one of the buffers ran out of memory. */
enum st_code st_kv_put(const struct st_kv *kv, const struct st_buf *key,
                       const struct st_buf *value);
enum st_code st_kv_touch(const struct st_change *c, struct st_str key);

#endif
