/*
 * task_internal.h - what the files of the tasks share:
 *   task.c        names, keys, the bytes of rows
 *   task_apply.c  keeping the rows while records are applied
 */
#ifndef ST_CORE_TASK_INTERNAL_H
#define ST_CORE_TASK_INTERNAL_H

#include "core/state_internal.h"
#include "core/task.h"

void st_task_key_unfinished(struct st_buf *out, struct st_task_id id);
/* Where a ready task stands: its 'r' or its 'd' row. */
void st_task_key_place(struct st_buf *out, const struct st_task *t, struct st_task_id id);
void st_task_key_reported(struct st_buf *out, struct st_task_id id);
void st_task_key_failed(struct st_buf *out, struct st_task_id id);
void st_task_key_dependent(struct st_buf *out, struct st_str target, struct st_task_id id);
void st_task_key_of_key(struct st_buf *out, struct st_str key, struct st_task_id id);
void st_task_key_message(struct st_buf *out, struct st_str agent, struct st_task_id id);

void st_task_encode(struct st_buf *out, const struct st_task *t);
void st_task_totals_encode(struct st_buf *out, const struct st_task_totals *t);

#endif
