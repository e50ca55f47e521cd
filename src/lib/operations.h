/*
 * operations.h - once-only operations: what the files operations*.c share.
 *   operations.c         beginning, ending
 *   operations_look.c    how they stand, who is alive
 *   operations_decide.c  what persons say, pruning
 */
#ifndef ST_LIB_OPERATIONS_H
#define ST_LIB_OPERATIONS_H

#include "lib/strong.h"

/* What is needed of an operation after the store has moved on. */
struct st_known_operation {
    enum st_operation_state state;
    uint64_t token, run;
    bool alive;
    struct st_deadline deadline;
    enum st_operation_class class;
    bool needs_approval, approved;
};

/* As it stands, for the caller, in the handle's arena, and what is needed further on; ST_OPERATION_NONE:
 * there is none. */
int st_operation_look(strata *s, const char *key, strata_operation *out,
                      struct st_known_operation *known);
/* Copies what the store lends into the handle's arena; `alive`: somebody is at it. False: no memory. */
bool st_operation_for_caller(strata *s, const struct st_operation *from, bool alive,
                             strata_operation *out);
/* Known before and pruned, or never heard of; a copy that does not decide cannot know that. */
int st_operation_unknown(strata *s, const char *key);
/* It was given out, and nobody is at it any more. */
bool st_operation_orphaned(const struct st_known_operation *known);
/* Writes down what a dead executor left: it was granted and never started, or it is in doubt. */
int st_operation_bury(strata *s, const char *key, const struct st_known_operation *known);

#endif
