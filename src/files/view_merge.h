/*
 * view_merge.h - three-way merge of the lines of a view's block. Pure but for memory.
 *
 * A line is known by its id, one without by its bytes. What one side added, changed or deleted is
 * taken; what both changed, and what one changed and the other deleted, stays: two lines with one id
 * if need be, which whoever takes the block in will tell. The order is that of ours; what theirs
 * added comes behind the line that it is behind in theirs, and behind what ours added there.
 */
#ifndef ST_FILES_VIEW_MERGE_H
#define ST_FILES_VIEW_MERGE_H

#include "files/view.h"

/* A line of a block, blank ones left out. */
struct st_view_line {
    struct st_str text, key; /* key: the id, or the whole line */
    bool has_id;
    size_t number; /* in the text, from 0 */
};

/* The lines of a block, and where each is by its key. The text is borrowed. */
struct st_view_lines {
    struct st_view_line *list;
    size_t count;
    uint32_t *places; /* number in the list plus one; 0: free */
    size_t mask;
};

/* False: out of memory. Released in any case. */
bool st_view_lines_init(const struct st_view *view, struct st_str text, struct st_view_lines *out);
void st_view_lines_release(struct st_view_lines *lines);
/* The one with the id of this line, or without one the same; NULL. */
const struct st_view_line *st_view_lines_find(const struct st_view_lines *lines,
                                              const struct st_view *view, struct st_str line);

/* Appends lines, each with \n. ST_OK, ST_NO_MEMORY. */
enum st_code st_view_merge_lines(const struct st_view *view, struct st_str base, struct st_str ours,
                                 struct st_str theirs, struct st_buf *out);

#endif
