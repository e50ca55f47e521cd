/*
 * publication.h - shared by the files that make a publication of the log:
 *   publish.c           what is to be published, and the commit
 *   publish_pieces.c    the log in pieces, and their blobs
 *   publish_trees.c     the trees above them
 *
 * What was published before stays as it is; what is new becomes one piece for each segment that it
 * is in. When many small pieces of a segment have come together they are put in one: the listing of
 * a segment stays short, and no byte is stored more than a few times.
 */
#ifndef ST_SYNC_PUBLICATION_H
#define ST_SYNC_PUBLICATION_H

#include "sync/sync_internal.h"

struct st_publication {
    struct st_sync *y;
    struct st_catalog next; /* the pieces of the commit to be; without trees */
    bool *fresh;            /* of each piece: its blob is not made yet */
    size_t fresh_cap;
    size_t hashed;     /* pieces before this one have their blobs */
    uint64_t gathered; /* bytes */
    char out[ST_PATH_SIZE];
    char manifest[ST_OBJECT_ID_SIZE], board[ST_OBJECT_ID_SIZE];
    struct st_buf bytes; /* the piece being read */
    bool changed;
};

/* One writer, up to where it is published. */
struct st_target {
    enum st_log_kind kind;
    struct st_log *log;
    struct st_writer writer;
    uint64_t end;
};

enum st_code st_publication_no_memory(struct st_publication *k);
/* `what`: the command of git. */
enum st_code st_publication_misprinted(struct st_publication *k, const char *what);
/* The next line of *rest, an object's id, into out. */
bool st_publication_take_id(char **rest, char out[ST_OBJECT_ID_SIZE]);
enum st_code st_publication_file(struct st_publication *k, const char *path, const char *bytes,
                                 size_t n);

/* Adds a piece; fresh: its bytes lie in <out>/<number of the piece>. */
enum st_code st_piece_add(struct st_publication *k, const struct st_piece *p, bool fresh);
/* Publishes what is new of a writer behind its last `had` pieces, which are there already. Where our
 * log is another one: of the ordered log ours counts, of the records what was published (a new epoch
 * has begun, or will). */
enum st_code st_pieces_extend(struct st_publication *k, const struct st_target *t, size_t had);
/* Makes the blobs of all pieces that are in files, and with `head` those of `strata` and `board`. */
enum st_code st_pieces_hash(struct st_publication *k, bool head);

/* Makes the trees of what is published; *root is the one of the commit. */
enum st_code st_publication_tree(struct st_publication *k, char root[ST_OBJECT_ID_SIZE]);

#endif
