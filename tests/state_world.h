/*
 * state_world.h - three replicas in memory, for the tests of layer 1: each has its own store and
 * writes records; records are handed from one to another. Every helper fails the test itself.
 */
#ifndef STATE_WORLD_H
#define STATE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/memkv.h"
#include "core/state_internal.h"

/* How many more allocations succeed; -1: all. */
extern int allocations_left;
extern const struct st_alloc alloc;

#define RECORDS_MAX  64
#define REPLICAS_MAX 3

struct rec {
    struct st_record r;
    struct st_op ops[4];
    struct st_vector_entry seen[REPLICAS_MAX];
};

struct replica {
    struct st_memkv m;
    struct st_state s;
    struct st_writer writer;
    const struct rec *log[RECORDS_MAX]; /* in the order of arrival */
    size_t count;
};

struct world {
    struct replica replicas[REPLICAS_MAX];
    struct rec records[RECORDS_MAX];
    size_t count;
    uint64_t ms; /* of the next record */
    struct st_read_scratch scratch;
};

extern struct world w;

#define A (&w.replicas[0])
#define B (&w.replicas[1])
#define C (&w.replicas[2])

struct unseen_list {
    struct st_unseen_row rows[8];
    size_t count;
};

/* For each test: a new world. */
int setup(void **state);
int teardown(void **state);

/* Applies a record. */
enum st_code give(struct replica *p, const struct rec *rec);
/* The next record of this replica, not yet applied. */
struct rec *draft(struct replica *p, const char *agent, size_t count, const struct st_op *ops);
const struct rec *write_ops(struct replica *p, const char *agent, size_t count,
                            const struct st_op *ops);
/* A record with a "seen" of all that the replica has. */
const struct rec *write_seen(struct replica *p);
/* `to` gets all that `from` has, and says so. */
void take_in(struct replica *to, const struct replica *from);
/* The same without saying so. */
void deliver(struct replica *to, const struct replica *from);
/* An operation narrowed to what `entries` cover. */
struct st_op at(struct st_op op, const struct st_dot *dots, size_t count);

/* Attribute `name` of entity "x"; lent by w.scratch. */
struct st_attribute read_attribute(struct replica *p, const char *name);
/* What is shown (NULL: no value), how many items there are, and whether they are pending, in
 * the 'p' row too. */
void expect(struct replica *p, const char *name, const char *shown, size_t items, bool pending);
bool has_member(struct replica *p, const char *name, const char *value);
/* Rows are lent by the store until it changes. */
struct unseen_list unseen(struct replica *p);
/* The total of counter "n". */
int64_t total(struct replica *p);
/* The same visible rows. */
void expect_same(struct replica *a, struct replica *b);

/* WRITE(replica, agent, operations...): one record, applied. */
#define WRITE(p, agent, ...)                                                                       \
    write_ops(p, agent, sizeof((const struct st_op[]){__VA_ARGS__}) / sizeof(struct st_op),        \
              (const struct st_op[]){__VA_ARGS__})
#define OP(k, a, v)                                                                                \
    ((struct st_op){.kind = (k), .entity = ST_STR("x"), .attribute = ST_STR(a), .value = ST_STR(v)})
#define SET(a, v)    OP(ST_OP_SET, a, v)
#define ADD(a, v)    OP(ST_OP_ADD, a, v)
#define REMOVE(a, v) OP(ST_OP_REMOVE, a, v)
#define UNSET(a)     OP(ST_OP_UNSET, a, "")
#define COUNT(d)     ((struct st_op){.kind = ST_OP_COUNT, .entity = ST_STR("n"), .delta = (d)})
#define BEAT(text)   ((struct st_op){.kind = ST_OP_BEAT, .value = ST_STR(text)})
#define ACK(d)       ((struct st_op){.kind = ST_OP_ACK, .dot = (d)})
#define SET_READ(a, v, d)                                                                          \
    ((struct st_op){.kind = ST_OP_SET,                                                             \
                    .entity = ST_STR("x"),                                                         \
                    .attribute = ST_STR(a),                                                        \
                    .value = ST_STR(v),                                                            \
                    .dot = (d)})

#endif
