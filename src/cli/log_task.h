/*
 * log_task.h - events of tasks and messages as what happened: "#12 done: it is up", one line for what
 * one command wrote of one task.
 */
#ifndef ST_CLI_LOG_TASK_H
#define ST_CLI_LOG_TASK_H

#include "cli/cli.h"

/* What is told of one task, until an event of another command or task comes. */
struct log_task {
    char record[80], entity[STRATA_TASK_SIZE + 1];
    strata_event last; /* its texts are not valid */
    char agent[80], replica[80];
    char *text; /* what happened; owned */
    size_t size;
    FILE *out; /* NULL: nothing is told now */
};

bool log_task_is(const strata_event *e);
/* Whether the event goes on with what is told now. */
bool log_task_same(const struct log_task *t, const strata_event *e);
/* Begins or goes on. False: out of memory. */
bool log_task_add(struct log_task *t, const strata_event *e);
/* Ends; the text is NULL or "" when there is nothing to tell. It is the caller's. */
char *log_task_end(struct log_task *t);

#endif
