/*
 * task_list.h - a list of tasks in the making, shared by task_ready.c and task_list.c.
 */
#ifndef ST_LIB_TASK_LIST_H
#define ST_LIB_TASK_LIST_H

#include "lib/task.h"

struct st_listed {
    uint64_t number;
    uint8_t priority;
    bool assigned, elsewhere; /* ready: for an agent on a certain copy; and another's than asked */
    char suffix[ST_SUFFIX_SIZE_MAX + 1];
};

struct st_listing {
    strata *s;
    int view;
    const char *channel, *agent, *parent;
    size_t limit; /* 0: none */
    uint64_t now_ms;
    struct st_listed *found;
    size_t count, cap;
    size_t run;                                   /* of this run: how many were found */
    struct st_apart *apart;                       /* whose runs are not listed; NULL: not wanted */
    char on_this_copy[2 * ST_AGENT_SIZE_MAX + 2]; /* "ann@laptop" */
};

/* What a query says, but for the names that have to be found first. */
void st_listing_init(struct st_listing *l, strata *s, const strata_task_query *q);
enum st_code st_listing_add(struct st_listing *l, struct st_task_id id, uint8_t priority);
bool st_listing_agent_fits(const struct st_listing *l, struct st_str agent);
bool st_listing_channel_fits(const struct st_listing *l, struct st_str channel);
void st_listed_entity(const struct st_listed *c, char entity[ST_NUMBERED_SIZE + 1]);

/* What is ready, best first, up to the limit. */
enum st_code st_listing_ready(struct st_listing *l);
/* How many have waited for a time that has come; those that somebody has are not counted. */
enum st_code st_listing_due_count(strata *s, size_t *count);

#endif
