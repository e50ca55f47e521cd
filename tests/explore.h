/*
 * explore.h - what explore.c (which states there are) and explore_check.c (whether one of them
 * is right) share.
 */
#ifndef EXPLORE_H
#define EXPLORE_H

#include <xxhash.h>

#include "explore_moves.h"
#include "spec.h"

#define REPLICAS    3
#define READER      REPLICAS /* the replica number of merged histories */
#define HISTORY_MAX 16

/* A record as made; borrowed by every history that has it. */
struct rec {
    struct st_record r;
    struct st_op ops[MOVE_OPS_MAX];
    struct st_vector_entry seen[REPLICAS];
    struct st_dot at[MOVE_OPS_MAX][HISTORY_MAX];
    unsigned replica;
    bool is_intake;
};

/* What one replica knows. */
struct history {
    uint64_t order_hash; /* of the records in order, and of the replica */
    uint64_t set_hash;   /* of the records as a set */
    XXH128_hash_t visible;
    unsigned replica;
    size_t count;
    const struct rec *records[HISTORY_MAX];
    uint32_t next[MOVES_MAX]; /* 1 + history after that move, 0: not made yet */
};

extern const struct st_writer explore_writers[REPLICAS];
extern const char *explore_composition; /* its name, for messages */

/* A stack of bytes for the store and the state of one history, thrown away before the next. */
extern const struct st_alloc explore_alloc;
void explore_alloc_reset(void);

/* Compares everything readable with the specification; ends the program at a mismatch. */
void explore_check(const struct history *h, const struct st_kv *kv);

#ifdef EXPLORE_TASKS
/* The same for what is derived of tasks. */
void explore_check_tasks(const struct history *h, const struct spec *spec, const struct st_kv *kv);
#endif

/* Prints what is wrong and the records of the history; fail() then ends the program. */
void explore_fail_head(const struct history *h, const char *what);
_Noreturn void explore_fail(const struct history *h, const char *what);
void explore_print_dot(struct st_dot d);
void explore_print_history(const struct history *h);
void explore_print_items(const char *title, const struct st_item *items, size_t count);

#endif
