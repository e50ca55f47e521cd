/*
 * task_import.h - tasks of other trackers on their way into the workspace and out of it:
 *   task_import.c  reading the file, what `import` and `export` say
 *   task_items.c   what was read
 *   task_beads.c   JSON Lines as the tracker beads writes them
 *   task_queue.c   Markdown lists; task_table.c: tables in them
 */
#ifndef ST_CLI_TASK_IMPORT_H
#define ST_CLI_TASK_IMPORT_H

#include <jansson.h>

#include "strata.h"

/* Lines that look like tasks and were not read. */
struct task_unread {
    size_t from, to;
    const char *why; /* static */
};

/* So many are told one by one. */
#define TASK_UNREAD_MAX 20

/* What was read; strings are owned by `texts`. */
struct task_items {
    strata_task_item *list;
    size_t count, cap;
    void **texts;
    size_t text_count, text_cap;
    struct task_unread unread[TASK_UNREAD_MAX];
    size_t unread_count; /* may be more than are kept */
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

/* Keys of tasks. */
struct task_names {
    const char *(*key_of)(void *arg, const char *id); /* of a task; lent until the next call */
    bool (*is_known)(void *arg, const char *key);
    void *arg;
};

/* A task as beads has it; NULL: out of memory. */
json_t *task_beads_object(const strata_task *t, const struct task_names *names);

#endif
