/*
 * log_post.h - records left for whoever appends next, and a place to sleep until that is done: log_post.c.
 */
#ifndef ST_STORE_LOG_POST_H
#define ST_STORE_LOG_POST_H

#include "store/log.h"

/* A record without its place: what it says, and the numbers it takes. */
struct st_draft {
    struct st_str text; /* st_record_draft() */
    uint64_t number;    /* the highest that the command has seen of others, or 0 */
    uint32_t new_count;
};

/* A record that this process has left there: which slot, and which of its uses. */
struct st_post {
    uint32_t slot;
    uint64_t serial;
};

/* Where it stands. */
struct st_posted {
    struct st_record head; /* dot, previous, time, number, checksum */
    char suffix[ST_SUFFIX_SIZE_MAX + 1];
};

/* False: it has to be appended by this process. */
bool st_post(struct st_log *log, const struct st_draft *draft, struct st_post *post);
/* False: somebody is about to append it, or has. */
bool st_post_withdraw(struct st_log *log, const struct st_post *post);
/* ST_NOT_FOUND: nobody has appended it yet. ST_UNAVAILABLE: nobody will, as this process was stopped meanwhile.
 * Else it is in the log, if not on disk, or was refused, or (ST_OUTCOME_UNKNOWN) this process was stopped for
 * so long that nobody knows any more. */
enum st_code st_post_learn(struct st_log *log, const struct st_post *post, struct st_posted *out);
/* Nothing more is to be learnt of it. */
void st_post_end(struct st_log *log, struct st_post *post);
/* What to sleep on: to be had before looking what became of it, in vain. Looks after the record: to be done
 * several times a second. */
struct st_post_watch {
    uint32_t parity, seen;
};
struct st_post_watch st_post_watch(struct st_log *log, const struct st_post *post);
void st_post_sleep(struct st_log *log, const struct st_post_watch *w, uint64_t most_ns);

/* The append lock is held: appends all that is posted, with one write. */
enum st_code st_posts_collect(struct st_log *log);
/* Those whose records stand up to `counter` of this epoch, or in another. */
void st_posts_wake(struct st_log *log, uint64_t epoch, uint64_t counter);
/* One of those who still wait for something, to see to it. */
void st_posts_hand_over(struct st_log *log);
uint32_t st_posts_waiting(struct st_log *log);
/* Whether this process is the one to see to what is posted; `anyway`: whoever said so last may have been
 * killed. To be ended. */
bool st_posts_serve(struct st_log *log, bool anyway);
void st_posts_served(struct st_log *log);
void st_posts_close(struct st_log *log);

#endif
