/*
 * task_import.h - tasks of other trackers on their way into the workspace and out of it:
 *   task_import.c  reading the file, what `import` and `export` say
 *   task_beads.c   JSON Lines as the tracker beads writes them
 *   task_queue.c   Markdown lists
 */
#ifndef ST_CLI_TASK_IMPORT_H
#define ST_CLI_TASK_IMPORT_H

#include <jansson.h>

#include "strata.h"

/* What was read; strings are owned by `texts`. */
struct task_items {
    strata_task_item *list;
    size_t count, cap;
    void **texts;
    size_t text_count, text_cap;
    size_t error_line;
    char error[300];
};

void task_items_release(struct task_items *t);
/* Copies; NULL: out of memory. */
char *task_items_text(struct task_items *t, const char *p, size_t n);
/* Memory that lives as long as the items; NULL: none left. */
void *task_items_memory(struct task_items *t, size_t size);
/* A new item, zeroed but for the priority; NULL: out of memory. */
strata_task_item *task_items_add(struct task_items *t);
int task_items_fail(struct task_items *t, int code, size_t line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* STRATA_OK or a code, with error and error_line. */
int task_beads_parse(struct task_items *t, const char *bytes, size_t n);
int task_queue_parse(struct task_items *t, const char *bytes, size_t n);

/* A task as beads has it; NULL: out of memory. `key_of` gives the name of another task. */
json_t *task_beads_object(const strata_task *t, const char *(*key_of)(void *arg, const char *id),
                          void *arg);

#endif
