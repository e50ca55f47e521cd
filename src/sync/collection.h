/*
 * collection.h - shared by the files that take in what others have published:
 *   collect.c   which pieces are wanted, of whom
 *   layout.c    laying them out like the logs of a state directory, and verifying that
 */
#ifndef ST_SYNC_COLLECTION_H
#define ST_SYNC_COLLECTION_H

#include "sync/sync_internal.h"

/* A piece to be laid out. */
struct st_wanted {
    size_t ref; /* of y->refs; SIZE_MAX: our own, as it is here */
    struct st_piece piece;
};

/* A writer that is laid out, to be verified. */
struct st_laid {
    size_t ref;
    enum st_log_kind kind;
    struct st_writer writer;
    uint64_t first; /* segment */
    uint64_t last, checksum;
    uint64_t size; /* of the last segment, bytes */
};

struct st_collection {
    struct st_sync *y;
    struct st_vector context; /* what we have */
    uint64_t tail;            /* of our current epoch */
    struct st_wanted *wanted;
    size_t wanted_count, wanted_cap;
    struct st_laid *laid;
    size_t laid_count, laid_cap;
    char in[ST_PATH_SIZE];
};

enum st_code st_collection_no_memory(struct st_collection *k);
/* What intake is given: a directory <in>/main or <in>/strong with a directory `log`. */
enum st_code st_collection_root(struct st_collection *k, enum st_log_kind kind,
                                char root[ST_PATH_SIZE]);
/* Lays out all that is wanted. ST_DAMAGED: a blob is not what it should be. */
enum st_code st_collection_lay_out(struct st_collection *k);
/* Whether a writer that is laid out is whole and ends as it should. ST_DAMAGED. */
enum st_code st_laid_verify(struct st_collection *k, const struct st_laid *l);
/* Verifies all; a reference with anything wrong is refused, and nothing of it stays laid out. */
enum st_code st_collection_verify(struct st_collection *k);
/* What is wanted of references that are refused is wanted no more. */
void st_collection_leave_out_refused(struct st_collection *k);

#endif
