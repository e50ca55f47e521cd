/*
 * catalog.h - what a replica publishes: the layout of the tree of its commit, read and checked.
 *
 *   strata                          {"format":1,"workspace":"<16 hex>","replica":"<16 hex>",
 *                                    "name":"...","ledger":{"generation":N,"position":N,
 *                                    "head":"<32 hex>"}}\n   on one line; "ledger" is left out
 *                                    where this replica has ordered nothing
 *   board                           heartbeats: lines of <agent> <slot, see store/board.h>
 *   log-<replica>-<epoch>/          one for each epoch of this replica
 *     <segment, 16 digits>/           one for each segment, named as its file in the state
 *       <first>-<last>-<checksum>       the lines of records first to last, 16 digits each;
 *                                       checksum (16 hex) of the last one
 *   strong-<replica>-<epoch>/...    the same of the strong layer's log, if it may travel; <replica>
 *                                   is the one that writes that log, which is another number
 *
 * A blob never changes. Its name says whose records it has, which, and where the chain of checksums
 * stands behind it: so two publications, or a publication and a log, are compared without reading
 * either. A later commit adds blobs, or puts one in the place of several small ones; of the strong
 * layer's log it has what the publisher has now, which after a forced move is another log.
 *
 * Everything here may come from somebody hostile. A catalog is refused as a whole when a name is
 * not exactly of this form, ranges have gaps or overlap, an entry is no plain file or directory, or
 * a blob is larger than a segment can be. Nothing in it is ever used as a path: paths are made from
 * the numbers.
 */
#ifndef ST_SYNC_CATALOG_H
#define ST_SYNC_CATALOG_H

#include "sync/git.h"

/* A segment is closed at 8 MB (store/log.h); its last record may be a line of half a megabyte, and
 * a later version may choose otherwise. Bytes. */
#define ST_PIECE_SIZE_MAX (32u * 1024 * 1024)
/* `strata` and `board`: some thousand agents. Bytes. */
#define ST_MANIFEST_SIZE_MAX (256u * 1024)

enum st_log_kind { ST_LOG_MAIN, ST_LOG_STRONG };

/* One blob: a run of records inside of one segment. */
struct st_piece {
    enum st_log_kind kind;
    struct st_writer writer;
    uint64_t segment, first, last;
    uint64_t checksum; /* of record `last` */
    uint64_t size;     /* bytes */
    char id[ST_OBJECT_ID_SIZE];
};

/* The tree of a segment, or of a writer (segment 0). */
struct st_piece_tree {
    enum st_log_kind kind;
    struct st_writer writer;
    uint64_t segment;
    char id[ST_OBJECT_ID_SIZE];
};

struct st_catalog {
    struct st_piece *pieces; /* of one writer together, in the order of their records */
    size_t piece_count, piece_cap;
    struct st_piece_tree *trees;
    size_t tree_count, tree_cap;
    char manifest[ST_OBJECT_ID_SIZE]; /* "": none */
    char board[ST_OBJECT_ID_SIZE];
};

void st_catalog_release(struct st_catalog *c);

/* Reads the tree of a commit. ST_DAMAGED, ST_LIMIT: refused, and why; ST_NOT_FOUND: there is no
 * such commit, or it is not complete here. */
enum st_code st_catalog_read(struct st_git *g, const char *commit, struct st_catalog *out);

/* Where the pieces of a writer begin, or would; and where those of the writer of a piece end. */
size_t st_catalog_find(const struct st_catalog *c, enum st_log_kind kind, struct st_writer w);
size_t st_catalog_end(const struct st_catalog *c, size_t from);
/* Whether the strong layer's log is in it. */
bool st_catalog_has_ledger(const struct st_catalog *c);
/* The last piece of a writer, or NULL; lent. */
const struct st_piece *st_catalog_last(const struct st_catalog *c, enum st_log_kind kind,
                                       struct st_writer w);
/* The tree of a segment (0: of the writer), or NULL; lent. */
const struct st_piece_tree *st_catalog_tree(const struct st_catalog *c, enum st_log_kind kind,
                                            struct st_writer w, uint64_t segment);
/* Both copy, and are called in the order of git: by kind, writer, segment, record. False: out of
 * memory. */
bool st_catalog_add_piece(struct st_catalog *c, const struct st_piece *piece);
bool st_catalog_add_tree(struct st_catalog *c, const struct st_piece_tree *tree);

/* Names of entries. */
#define ST_ENTRY_SIZE 64
void st_piece_name(const struct st_piece *p, char out[ST_ENTRY_SIZE]);
void st_segment_name(uint64_t segment, char out[ST_ENTRY_SIZE]);
void st_writer_name(enum st_log_kind kind, struct st_writer w, char out[ST_ENTRY_SIZE]);

/* How far somebody's ordered log goes (strong/strong.h). */
struct st_ledger_head {
    uint64_t generation, position; /* position 0: nothing is said of it */
    char head[33];
};
struct st_manifest {
    uint64_t workspace, replica;
    char name[ST_AGENT_SIZE_MAX + 1];
    struct st_ledger_head ledger;
};
#define ST_MANIFEST_TEXT_SIZE 384
int st_manifest_format(const struct st_manifest *m, char out[ST_MANIFEST_TEXT_SIZE]);
/* ST_VERSION: of a later version; ST_DAMAGED. */
enum st_code st_manifest_parse(const char *text, struct st_manifest *out);

#endif
