/*
 * spec.h - layer 1's meaning as a plain set comprehension, to hold the production code against.
 *
 * Nothing here is incremental and nothing is shared with src/core but its types: from the list
 * of applied records, "live" is computed as "not superseded by any", and everything else from
 * that. Quadratic and worse, for a handful of records.
 */
#ifndef SPEC_H
#define SPEC_H

#include "core/state.h"

#define SPEC_RECORDS_MAX 24
#define SPEC_OPS_MAX     48

struct spec_op {
    const struct st_record *r;
    const struct st_op *op;
    size_t record; /* place of r in the order of arrival */
    uint32_t index;
    bool live; /* set, unset and add that nothing supersedes */
};

struct spec {
    const struct st_record *records[SPEC_RECORDS_MAX]; /* in the order of arrival */
    size_t record_count;
    struct spec_op ops[SPEC_OPS_MAX];
    size_t op_count;
};

struct spec_attribute {
    struct st_item items[SPEC_OPS_MAX];
    size_t count, shown;
    bool written; /* some operation was about it */
    bool pending, present;
};

/* Borrows the records for the life of *s. They are in the order of arrival, which matters only
 * for what is local: "over" of items, and unseen rows. */
void spec_init(struct spec *s, const struct st_record *const *records, size_t count);

void spec_attribute(const struct spec *s, struct st_str entity, struct st_str attribute,
                    struct spec_attribute *out);
bool spec_counter(const struct spec *s, struct st_str name, int64_t *total);
/* The record and operation of the agent's current status; false when there is none. */
bool spec_status(const struct spec *s, struct st_str agent, struct st_status_row *out);
/* Fills out[0..SPEC_OPS_MAX), sorted by (dot, op); returns how many. */
size_t spec_unseen(const struct spec *s, struct st_unseen_row *out);

#endif
