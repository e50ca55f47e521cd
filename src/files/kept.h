/*
 * kept.h - renderings that were put into files, kept so that an edit made hours later can be
 * compared with what its author was shown.
 *
 * <state>/views/kept/<hash>, hash as in the block's begin (st_rendering_hash):
 *
 *   strata-rendering 1 <checksum of the lines up to the empty one, 16 hex>\n
 *   <line number, from 0> <dot>[ <dot>...]\n       for each line that shows something
 *   \n
 *   <the lines of the rendering>
 *
 * A cache with consequences: without a rendering, of an edit made against it only the new lines are
 * taken in. So it is bounded by number and size, and the longest unused go first. What does not
 * verify counts as unknown.
 */
#ifndef ST_FILES_KEPT_H
#define ST_FILES_KEPT_H

#include "files/view.h"

/* Renderings that are kept, of all work trees of a clone: at one change a minute of one view, most
 * of a day; each is as large as its view, and together they are bounded by size as well. Bytes. */
#define ST_KEPT_COUNT_MAX 1000
#define ST_KEPT_SIZE_MAX  (64u * 1024 * 1024)
/* Deleting starts at the maximum and ends here, so that not every write has to look. */
#define ST_KEPT_COUNT_LOW 800
#define ST_KEPT_SIZE_LOW  (48u * 1024 * 1024)

/* `dir` is <state>/views/kept; made if need be. Replaces what is there under the hash. */
enum st_code st_kept_save(const struct st_env *env, const char *dir, const char *key,
                          const struct st_rendering *r, struct st_fault *fault);
bool st_kept_has(const char *dir, const char *hash);
/* ST_OK, ST_NOT_FOUND (unknown or not whole), ST_NO_MEMORY. *out is initialised in any case. */
enum st_code st_kept_load(const char *dir, const char *key, const char *hash,
                          struct st_rendering *out);

#endif
