/*
 * sync_internal.h - shared by the files of the Git transport:
 *   git.c       the program
 *   board.c     heartbeats
 *   catalog.c   what a replica publishes
 *   sync.c      lock, remote, references
 *   fetch.c     what others have pushed
 *   collect.c   what is wanted of it; see collection.h
 *   layout.c    laying that out, checking it
 *   publish.c   from the log to a commit; see publication.h
 *   push.c      from there to the remote
 *   discover.c  which workspace the remotes of a clone carry
 */
#ifndef ST_SYNC_SYNC_INTERNAL_H
#define ST_SYNC_SYNC_INTERNAL_H

#include "store/log_internal.h"
#include "sync/sync.h"

/* "<state>/sync/<name>". */
enum st_code st_sync_path(struct st_sync *y, const char *name, char out[ST_PATH_SIZE]);
/* Makes the directory <state>/sync/<name> anew and empty. */
enum st_code st_sync_directory(struct st_sync *y, const char *name, char out[ST_PATH_SIZE]);
void st_sync_remove(const char *path);
void st_sync_say(struct st_sync *y, const char *step);
/* Notes a reference that cannot be used, for what y->fault says. ST_NO_MEMORY. */
enum st_code st_sync_refuse(struct st_sync *y, struct st_remote_ref *ref);
/* The first part of st_sync_look(): what the remote has, and what of it is here. */
enum st_code st_sync_list(struct st_sync *y);
/* Fetches what is listed, not here, and not taken in. References whose objects are gone are dropped. */
enum st_code st_sync_fetch(struct st_sync *y);
/* One blob of at most ST_MANIFEST_SIZE_MAX, with a NUL behind it. */
enum st_code st_sync_blob(struct st_sync *y, const char *id, struct st_buf *out);
/* Whether a log has the record that a piece ends with; then the reader stands behind it. Errors are in
 * r->fault. */
enum st_code st_sync_has_end(struct st_log_reader *r, const struct st_piece *piece, bool *yes);
/* What is published of our heartbeats (board.c). */
void st_sync_board_text(struct st_sync *y, struct st_buf *out);
/* Reads our own reference and those fetched from the remote, as they are here now. */
enum st_code st_sync_local_refs(struct st_sync *y);

/* The text of `strata` that was published last, if it is the blob `id`: so that it costs no call of
 * git to see that nothing has changed. Kept in <state>/sync/manifest, <id> newline <text>; where that
 * is lost or old, it costs one. */
bool st_sync_manifest_known(struct st_sync *y, const char *id, char text[ST_MANIFEST_TEXT_SIZE]);
void st_sync_manifest_remember(struct st_sync *y, const char *id, const char *text);

#endif
