/*
 * task_line.h - one task as a line of Markdown, as the queue shows it and as people write it:
 *
 *   - [ ] [seq:142] [depends:141,138] [agent:code-intel] build frontend
 *
 * The box: ' ' open, x done, ~ somebody is at it (or it is held), ! failed, - cancelled. A mark is
 * `[name:value]`; it may stand anywhere in the line, each name once:
 *
 *   seq         the task's number: its id        key         what else it is known by
 *   depends     numbers or keys, with commas     agent       who it is for
 *   priority    0 to 4, or P0 to P4              channel     its queue
 *   parent      a number or key                  not_before  RFC 3339, UTC
 *   state       the word that holds it           claimed     who has it: shown, not to be edited
 *
 * What is no mark is the title. In titles and values &#10; and the like stand for what cannot be
 * written as it is: control characters, a space at an end, what would be read as a mark, a comment.
 * Pure.
 */
#ifndef ST_FILES_TASK_LINE_H
#define ST_FILES_TASK_LINE_H

#include "core/base.h"
#include "store/alloc.h"

enum st_task_box {
    ST_BOX_OPEN = ' ',
    ST_BOX_DONE = 'x',
    ST_BOX_BUSY = '~',
    ST_BOX_FAILED = '!',
    ST_BOX_CANCELLED = '-',
};

struct st_task_line {
    char box;                                                /* enum st_task_box */
    struct st_str title;                                     /* decoded */
    struct st_str seq, key, depends, agent, channel, parent; /* "": no such mark */
    struct st_str not_before, state, claimed;
    int priority; /* -1: no such mark */
};

/* Whether the line is a box behind a bullet (-, * or +); *rest is what follows it. */
bool st_task_line_box(struct st_str line, char *box, struct st_str *rest);
/*
 * False: no such line, or one whose marks are not well-formed. What is decoded is lent by text,
 * which is reset. Only the form is checked, not what the values say: names of agents and the like.
 */
bool st_task_line_parse(struct st_str line, struct st_buf *text, struct st_task_line *out);
/* The same for a title that has no box in front of it. */
bool st_task_title_parse(struct st_str rest, struct st_buf *text, struct st_task_line *out);

/* The number in a line's mark, as it stands there, without a #. False: there is none. */
bool st_task_line_seq(struct st_str line, struct st_str *seq);

/* Appends the line, without a newline. */
void st_task_line_add(struct st_buf *out, const struct st_task_line *t);

/* Takes the next name off a list of `depends`; "none" and "-" are no names. False: no more. */
bool st_task_line_next(struct st_str *list, struct st_str *name);

#endif
