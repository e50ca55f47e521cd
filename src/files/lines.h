/*
 * lines.h - three-way merge of texts by lines. Pure but for memory.
 *
 * Both texts are compared with their common base (Myers, "An O(ND) Difference Algorithm and Its
 * Variations", 1986). Where only one of them changed the base, its lines are taken; where both made
 * the same change, it is taken once; where both added lines at one place, both additions are kept,
 * a's first. Where both changed the same lines of the base in different ways, they overlap: the
 * lines of the preferred side are taken, and the overlap is counted.
 *
 * A line ends behind its \n; the last one may have none.
 */
#ifndef ST_FILES_LINES_H
#define ST_FILES_LINES_H

#include "core/base.h"
#include "core/error.h"
#include "store/alloc.h"

/* Lines that a comparison inserts or deletes before it gives up looking for the fewest: bounds time
 * and memory to its square (16 MB). It then goes by the lines that both texts have exactly once, and
 * looks again between those; where there are none, everything in between is taken as changed. */
#ifndef ST_LINES_EDITS_MAX
#define ST_LINES_EDITS_MAX 2000
#endif

enum st_lines_prefer {
    ST_PREFER_A,
    ST_PREFER_B,
    ST_KEEP_BOTH, /* a's lines, then b's; what they begin and end with in common once */
};

/* Appends the merged text to out. ST_OK, ST_NO_MEMORY. */
enum st_code st_lines_merge(struct st_str base, struct st_str a, struct st_str b,
                            enum st_lines_prefer prefer, struct st_buf *out, size_t *overlaps);

/* The same; calls visit for each overlap: the number of its first line in a, from 1, and what each
 * has there. */
typedef void st_lines_overlap(void *arg, size_t line, struct st_str base, struct st_str a,
                              struct st_str b);
enum st_code st_lines_merge_each(struct st_str base, struct st_str a, struct st_str b,
                                 enum st_lines_prefer prefer, struct st_buf *out,
                                 st_lines_overlap *visit, void *arg);

/* Appends a text as lines of their own to what ends with `before`. */
void st_line_append(struct st_buf *out, char before, struct st_str text);

/* Appends the lines that both texts have, in order. */
enum st_code st_lines_common(struct st_str a, struct st_str b, struct st_buf *out);

/* Calls visit for each line of `from` that is not in `to`, in order. */
enum st_code st_lines_removed(struct st_str from, struct st_str to,
                              void (*visit)(void *arg, struct st_str line), void *arg);

#endif
