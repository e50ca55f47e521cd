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

/* The agents that have tasks of their own among what is ready. */
#define ST_APART_MAX 64
struct st_apart {
    uint64_t agents[ST_APART_MAX]; /* of st_apart_mark() */
    uint32_t count;
    bool more; /* and others */
};
uint64_t st_apart_mark(struct st_str agent);

/* With all fields, as the caller's may be of an older version, and shorter: what is passed on inside is
 * whole. */
strata_task_query st_task_query_whole(const strata_task_query *q);

/* What this agent may take now, but for claims. */
struct st_candidates {
    char (*entities)[ST_NUMBERED_SIZE + 1]; /* best first; room for max */
    size_t max, count;
    size_t equal;       /* how many are as good as the first */
    bool all;           /* there are no more than these */
    bool assigned;      /* the first is for the agent on this copy, and needs no claim */
    bool only_assigned; /* wanted: nothing else */
    unsigned spread;    /* many take at once: begin anywhere among so many numbers; 0, 1: do not */
    bool since;         /* wanted: as the index stands, if it is not older than `at` */
    struct st_dot at;   /* the last record that was looked at */
    struct st_apart *apart; /* NULL: not wanted */
};
int st_task_candidates(strata *s, const strata_task_query *q, struct st_candidates *c);

/* "#143@pi" */
void st_task_id_text(struct st_task_id id, char out[ST_NUMBERED_SIZE + 1]);

/* The size of a text that was given with its size, or STRATA_NUL. */
static inline size_t st_task_text_size(const char *text, size_t size)
{
    return text == NULL ? 0 : size == STRATA_NUL ? strlen(text) : size;
}

/* Begins a read; what the ledger knows comes first. */
int st_task_begin(strata *s);

/* --- task_pool.c ------------------------------------------------------------------------------- */

/* One of what was free a moment ago, and that nobody else is given. */
struct st_pooled {
    bool given;
    char entity[ST_NUMBERED_SIZE + 1];
    struct st_dot seen; /* the last record of the look, if that still holds; else counter 0 */
    uint32_t changes;   /* the log's word (st_log_changes()) before it */
};
/* Not given: the caller has to look for itself. */
int st_pool_take(strata *s, const strata_task_query *q, struct st_pooled *out);
/* Of all who go on one copies into the channels (task_copy.c) at a time: whether we do. To be ended. */
bool st_pool_settle_begin(strata *s);
void st_pool_settle_end(strata *s);
void st_pool_release(strata *s);
/* Nothing came since that word was read that a look would have had to see. */
bool st_task_unchanged(const strata *s, uint32_t changes);

/* --- task_copy.c ------------------------------------------------------------------------------- */

/* Copies all that the ledger has accepted, and the channels lack. */
int st_task_copy_all(strata *s);
/* Within a read: the shown value, and what is live beside it in s->read. "" when there is none. */
enum st_code st_task_shown(strata *s, const char *entity, const char *attribute, struct st_str *out,
                           struct st_attribute *a);
/* The same as a number. dot: of the record that said so; may be NULL. */
enum st_code st_task_shown_number(strata *s, const char *entity, const char *attribute,
                                  uint64_t *out, struct st_dot *dot);

/* --- task_reports.c ---------------------------------------------------------------------------- */

/* Keeps an end until the copy that decides has seen it. STRATA_CONFLICT: another one of this claim is
 * kept. */
int st_task_report(strata *s, const struct st_claim_end *end);
/* Puts to the ledger what others have reported; where another copy decides nothing happens. */
int st_task_reports_decide(strata *s);

/* --- task_claims.c ----------------------------------------------------------------------------- */

/* Finds it and reads it, as it is now. */
int st_task_look(strata *s, const char *id, char entity[ST_NUMBERED_SIZE + 1], strata_task *t);
/* Fails: it is finished already. */
int st_task_is_finished(strata *s, const strata_task *t);
/* The claim that a command without a token means: the live one of this agent. */
int st_task_own_token(strata *s, const char *entity, uint64_t *token);
int st_task_check_text(strata *s, const strata_task_end *end);
void st_task_taken(const struct st_claim *c, strata_task_taken *out);

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
