/*
 * task.h - what the commands about tasks share:
 *   cmd_task.c       add, update, done, fail, cancel, dep
 *   cmd_task_list.c  ready, list, show
 *   cmd_claim.c      next, claim, release, checkpoint
 *   cmd_work.c       work
 *   cmd_message.c    send, inbox
 *   task_import.c    tasks of other trackers, see task_import.h
 */
#ifndef ST_CLI_TASK_H
#define ST_CLI_TASK_H

#include "cli/cli.h"

/* A name as JSON: 143 as a number, what has a copy's name as a text. */
json_t *task_json_name(const char *id);
/* With `whole`, also what can be large. */
json_t *task_json(const strata_task *t, bool whole);
/* --channel, --agent, --parent, --after; NULL when not given. */
int task_filters(struct cli *c, strata_task_query *q);
/* --token; 0 when not given. */
int task_token(struct cli *c, uint64_t *token);
/* Tasks of another tracker: format "beads" or "queue". */
int task_import(struct cli *c, const char *format, const char *bytes, size_t n);
/* All tasks, as beads has them. Returns a code of the library. */
int task_export(struct cli *c, FILE *out, uint64_t *lines);
/* `next`, with `end` (NULL: none) in the same step; prints what was taken. */
int task_take_next(struct cli *c, const strata_task_end *end);

#endif
