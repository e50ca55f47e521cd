/*
 * glob.h - patterns of paths, for reservations: whether a path matches one, and whether two have a
 * path in common.
 *
 * A path is one or more components, none empty, with `/` between them, relative to the workspace. A
 * pattern is the same with, in a component:
 *   *      any characters, also none        ?   one character
 *   [a-z]  one character of a set or range; [!a-z] or [^a-z] one that is not in it; `]` first in
 *          the set stands for itself
 *   \x     x itself
 * and the component ** for any number of components, also none: src/ ** (without the space) matches
 * src, src/a and src/a/b. Nothing but ** matches a `/`. A leading dot is a character like others.
 * Characters are code points; a byte of a path that is not UTF-8 is a character of its own.
 *
 * Refused, because other tools read more into them than would be reserved: ** beside other
 * characters, braces, components . and .., a leading or doubled or trailing `/`, an empty set, a
 * range that runs backwards.
 *
 * Both functions are exact: st_glob_overlap(a, b) if and only if some path matches a and b.
 */
#ifndef ST_CORE_GLOB_H
#define ST_CORE_GLOB_H

#include "core/record.h"

/* ST_OK, ST_INVALID (not a pattern or not a name), ST_LIMIT (over ST_NAME_SIZE_MAX bytes). */
enum st_code st_glob_check(struct st_str pattern);

/* False when either is not well-formed. */
bool st_glob_match(struct st_str pattern, struct st_str path);

/* True, to be on the safe side, when either is not well-formed. */
bool st_glob_overlap(struct st_str a, struct st_str b);

#endif
