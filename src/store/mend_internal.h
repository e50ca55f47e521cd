/*
 * mend_internal.h - shared by the files that mend a forked log (mend.h):
 *   mend.c           the steps, and going on after a death
 *   mend_fork.c      whether there is a fork, and which logs belong to it
 *   mend_rewrite.c   its records as the beginning of a new epoch
 */
#ifndef ST_STORE_MEND_INTERNAL_H
#define ST_STORE_MEND_INTERNAL_H

#include "store/log_internal.h"
#include "store/mend.h"

/* One log of the forked life: its records after `keep`, up to `end`, move. */
struct st_mend_cut {
    struct st_writer writer;
    uint64_t keep, end;
    uint64_t *to; /* of record keep + 1 + i: its new counter; 0: there is none */
};

struct st_mending {
    struct st_log *log;
    struct st_identity next; /* of the new epoch */
    struct st_mend_cut cuts[ST_MEND_LOGS_MAX];
    size_t count;
    uint64_t low, high; /* numbers above, up to: both lives may have given them */
    bool trying;        /* nothing is written */
    /* the new epoch's log */
    int fd;
    struct st_tail tail;
    struct st_vector context; /* of the tail, without the epoch itself */
    uint64_t records;         /* written again */
    struct st_buf out;        /* behind what is in the file */
    struct st_record_scratch scratch;
    struct st_buf names;
    struct st_vector *vectors; /* "seen" of the operations of one record */
    size_t vector_count;
    struct st_dot *dots; /* "at" of them */
};

enum st_code st_mend_no_memory(struct st_mending *m);
/* Leaves the logs of the forked life in m->cuts, the earliest first; none: there is nothing to
 * mend. `tail`: the end of the current log. */
enum st_code st_mend_find_fork(struct st_mending *m, const char *published, uint64_t tail);
/* Who writes the new epoch. */
struct st_writer st_mend_writer(const struct st_mending *m);
/* Writes the new epoch's log; trying: only as if. ST_CONFLICT: it cannot be mended. */
enum st_code st_mend_rewrite(struct st_mending *m, bool trying);

#endif
