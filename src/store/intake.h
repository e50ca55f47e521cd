/*
 * intake.h - taking in the logs of another copy of the workspace, from its state directory.
 *
 * In this order, under the intake lock: copy what is new behind what is here, byte for byte, into
 * files of the same names; flush them; then append one record with a "seen" operation to the own
 * log and flush it. From that record on, and not before, the new records count: for readers (the
 * index follows the own log) and as context of what is written here.
 *
 * Only whole, verified, contiguous runs are copied. A record whose context names records that are
 * not here waits: it is on disk, but not yet named.
 *
 * Two records with one dot (a copy went on in the same epoch, or somebody edited a log) cannot be
 * merged: the other side's run stops before the fork, and is reported.
 */
#ifndef ST_STORE_INTAKE_H
#define ST_STORE_INTAKE_H

#include "store/mend.h"

struct st_intake {
    uint64_t records; /* new here and named now */
    uint64_t writers; /* epochs they came from */
    uint64_t waiting; /* on disk, waiting for records that are not here */
    uint64_t forks;   /* writers whose logs differ here and there */
    char fork[64];    /* one of them, <replica>-<epoch> */
    bool own_found;   /* the other side had records of our current epoch that we had not, or had
                          otherwise: this state was restored from an older copy; a new epoch was
                          begun */
    struct st_mended mended; /* our own log and what was published of it had forked */
    bool joined;             /* this replica was empty and is now of the other's workspace */
};

/* ST_CONFLICT: another workspace, and `adopt` is false. */
enum st_code st_intake(struct st_log *log, const char *other_state_dir, bool adopt,
                       struct st_intake *out);

/*
 * The same from a directory that has nothing but `log`, laid out as in a state directory: what was
 * published. Parts of writers' logs will do: whole segments, beginning with one that holds what
 * comes next here; of our own where it has more than ours, or something else, all. That is true for
 * everybody, so a log of ours that forked from it is mended.
 */
enum st_code st_intake_published(struct st_log *log, const char *dir, uint64_t workspace,
                                 struct st_intake *out);

#endif
