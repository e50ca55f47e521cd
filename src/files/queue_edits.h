/*
 * queue_edits.h - what an edit of the queue makes of tasks: operations and wishes. Of the view
 * (view_queue.c), which says which line an edit means.
 */
#ifndef ST_FILES_QUEUE_EDITS_H
#define ST_FILES_QUEUE_EDITS_H

#include "files/queue_rows.h"

/* A line that is missing, under its title or its key. */
struct st_queue_missing {
    uint64_t hash;
    size_t edit;
};

struct st_queue_applier {
    const struct st_view_source *src;
    const struct st_edits *edits;
    struct st_file_ops *out;
    struct st_queue_reader now; /* the task as it stands */
    struct st_rendering dots;   /* of what it shows now */
    struct st_buf before, after;
    struct st_queue_missing *missing; /* sorted */
    size_t missing_count;
    bool *found; /* of each edit: a line without an id is it */
    bool loose;  /* the line was written anew: what it leaves out is as it was */
    uint64_t *new_lines;
    size_t new_count;
};

/* A task is as this line says. */
enum st_code st_queue_apply_changed(struct st_queue_applier *a, const struct st_edit *e,
                                    struct st_str line);
/* Its line is missing. */
enum st_code st_queue_apply_removed(struct st_queue_applier *a, const struct st_edit *e);
/* A line that is no task's so far. */
enum st_code st_queue_apply_added(struct st_queue_applier *a, struct st_str line);

#endif
