/* queue_rows.h - tasks as the lines of a queue show them: which, and what each one says. */
#ifndef ST_FILES_QUEUE_ROWS_H
#define ST_FILES_QUEUE_ROWS_H

#include "core/task_internal.h"
#include "files/view.h"

/* Keys that were made for new lines say nothing to anybody. */
#define ST_QUEUE_OWN_KEY "line:"

/* A task as it stands: the line that it has, and what that line shows. */
struct st_queue_reader {
    const struct st_view_source *src;
    struct st_read_scratch scratch;
    struct st_buf key, depends;
    struct st_arena arena; /* of the line's texts */
    struct st_task_line line;
    struct st_task summary;   /* without its texts */
    struct st_rendering *out; /* gets the dots; may be NULL */
    bool unlisted, failed;
};

void st_queue_reader_init(struct st_queue_reader *r, const struct st_view_source *src);
void st_queue_reader_release(struct st_queue_reader *r);
/* Sets r->line, r->summary and r->unlisted; their texts live until the next call. ST_NOT_FOUND: there
 * is no such task. */
enum st_code st_queue_task_read(struct st_queue_reader *r, struct st_str entity);

/* What stands where tasks were left out. */
extern const char st_queue_more_open[], st_queue_more_finished[];
enum st_code st_queue_render(const struct st_view_source *src, struct st_rendering *out);

/* --- lines (view_queue.c) --------------------------------------------------------------------- */

/* "12", "12@pi-3f9a2c". */
bool st_queue_is_number(struct st_str name);
/* A line that is one of the list; its texts point into it and `text`. */
bool st_queue_line_parse(struct st_str line, struct st_buf *text, struct st_task_line *out);

/* --- words (queue_edits.c) -------------------------------------------------------------------- */

/* What a box and a state mark say. `before` is the line as it was; NULL: there was none. */
struct st_str st_queue_word_of(const struct st_task_line *t, const struct st_task_line *before);
/* "": the usual one. */
struct st_str st_queue_priority(const struct st_task_line *t);

/* --- merging (queue_knows.c) ------------------------------------------------------------------ */

enum st_code st_queue_knows(const struct st_view_source *src, struct st_str line,
                            struct st_str before, bool *known);

#endif
