/*
 * task_queue.h - reading task lists in Markdown: what task_queue.c and task_table.c share.
 */
#ifndef ST_CLI_TASK_QUEUE_H
#define ST_CLI_TASK_QUEUE_H

#include "cli/task_import.h"
#include "files/task_line.h"

#define TASK_KEY_MAX  255
#define TASK_DATA_MAX 65536
/* Columns of a table that are looked at. */
#define TASK_COLUMNS_MAX 32

enum task_column { COLUMN_TEXT, COLUMN_TITLE, COLUMN_STATUS, COLUMN_KEY, COLUMN_FIELD };

struct task_table {
    size_t from;    /* its first line; 0: there is none */
    size_t lines;   /* of it so far */
    size_t columns; /* of its head */
    enum task_column kind[TASK_COLUMNS_MAX];
    char head[TASK_COLUMNS_MAX][64];
    bool readable; /* it has a title and a status */
};

struct task_queue {
    struct task_items *t;
    size_t line;
    struct st_buf text, heading;
    const char *section;    /* how things stand below this heading */
    strata_task_item *item; /* that the last heading has made; moves: use item_index */
    size_t item_index;
    struct task_table table;
    bool own, code; /* in a view of Strata's, in a block of code */
    bool failed;    /* out of memory */
};

/* "open", "done", ...; "held" for a word that is not known. Static. */
const char *task_queue_state(struct st_str status);
/* Whether s begins with the word, in any case. */
bool task_queue_says(struct st_str s, const char *word);
/* *out NULL: the line has no title, and is no item. */
int task_queue_add(struct task_queue *q, const struct st_task_line *line, const char *state,
                   strata_task_item **out);
/* Dependencies, agent, priority; else *taken is false. */
int task_queue_field(struct task_queue *q, strata_task_item *item, struct st_str name,
                     struct st_str value, bool *taken);
/* Lines that may be tasks and were not read; `why` is static. */
void task_queue_note(struct task_queue *q, size_t from, size_t to, const char *why);

int task_table_line(struct task_queue *q, struct st_str line);
/* The lines of a table are over. */
void task_table_end(struct task_queue *q);

#endif
