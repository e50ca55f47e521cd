/*
 * task.h - what the files of the tasks share beyond internal.h: how a task's end is put to the
 * ledger.
 */
#ifndef ST_LIB_TASK_H
#define ST_LIB_TASK_H

#include "lib/claims.h"

/* "2026-11-26T09:00:00.000Z" */
#define ST_TIME_SIZE 32
/* False: after the year 9999. */
bool st_task_time(uint64_t ms, char out[ST_TIME_SIZE]);

/* "#143@pi" */
void st_task_id_text(struct st_task_id id, char out[ST_NUMBERED_SIZE + 1]);

/* The size of a text that was given with its size, or STRATA_NUL. */
static inline size_t st_task_text_size(const char *text, size_t size)
{
    return text == NULL ? 0 : size == STRATA_NUL ? strlen(text) : size;
}

/*
 * An end as the ledger takes it. A task that may be tried again is given back with a text that says
 * from when on: "NOT_BEFORE_MS\nREASON", 0 for at once.
 */
struct st_task_ending {
    struct st_claim_end end; /* its strings: `text`, or of who asked */
    struct st_buf text;
};

/* `retried`: how often it was tried again before; after the last time it has failed. To be released
 * also when it fails. */
int st_task_ending_init(strata *s, struct st_task_ending *e, const char *entity,
                        const strata_task_end *asked, uint64_t retried);
void st_task_ending_release(struct st_task_ending *e);
/* Says in the channel that it may be tried again, where no ledger is asked. */
int st_task_tell_retry(strata *s, const char *entity, uint64_t retried, struct st_str text);
/* Any text: one without a time is all reason. */
void st_task_retry_parse(struct st_str text, uint64_t *not_before_ms, struct st_str *reason);

#endif
