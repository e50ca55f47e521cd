/*
 * task.h - what the commands about tasks share:
 *   cmd_task.c       add, update, done, fail, cancel, dep
 *   cmd_task_list.c  ready, list, show
 */
#ifndef ST_CLI_TASK_H
#define ST_CLI_TASK_H

#include "cli/cli.h"

/* A name as JSON: 143 as a number, what has a copy's name as a text. */
json_t *task_json_name(const char *id);
/* With `whole`, also what can be large. */
json_t *task_json(const strata_task *t, bool whole);
/* --channel, --for checked; NULL when not given. */
int task_filters(struct cli *c, strata_task_query *q);

#endif
