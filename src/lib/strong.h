/*
 * strong.h - layer 3 behind include/strata.h: what its files share.
 *   strong.c       opening, submitting
 *   operations.c   once-only operations
 *   locks.c        locks
 *   coordinator.c  which copy decides
 *   claims.c       claims on tasks, for layer 2; its interface is claims.h
 *   touch.c        extending their terms
 *   reserve.c      reservations of paths
 *   registry.c     the registry of agents
 */
#ifndef ST_LIB_STRONG_H
#define ST_LIB_STRONG_H

#include "lib/internal.h"
#include "strong/strong.h"

#define ST_NS_PER_MS 1000000ull

/* Opens the strong layer of the handle if need be; resets the arena. */
int st_lib_strong_open(strata *s);
/* The fault of the last call on it. */
int st_lib_strong_fault(strata *s);
/* st_strong_submit() in the name of the handle's agent and incarnation. */
int st_lib_submit(strata *s, struct st_command *commands, size_t count,
                  struct st_ledger_result *results);
/* The agent's name was taken over by a later start: an error that says so. */
int st_lib_replaced(strata *s);
/* Evidence, reasons, names of persons: `what` in errors. */
int st_lib_text_check(strata *s, const char *what, const char *text, bool needed);
/* A random number for a run file (st_strong_run_begin); 0: no random numbers. */
uint64_t st_lib_run_id(strata *s);

/* The deadline on this machine's clock if there is one; else the newest, on another clock. */
struct st_deadline st_lib_deadline(strata *s, const struct st_deadline *newest,
                                   const struct st_deadline *earlier);
/* Milliseconds until it passes (0: no deadline, or passed). */
uint64_t st_lib_deadline_left(strata *s, const struct st_deadline *d, bool *passed);
/* Whether an executor may still be at work: its run file is held; without one, its term lasts. */
bool st_lib_alive(strata *s, uint64_t run, const struct st_deadline *newest,
                  const struct st_deadline *earlier);
/* Takes in the ordered log of another copy; what is wrong with it becomes a notice. `joined`: this
 * replica was empty before. */
void st_lib_strong_merge(strata *s, const char *state_dir, bool joined);
/* The same of a directory with nothing but `strong`, which is known to be of this workspace. */
void st_lib_strong_take(strata *s, const char *state_dir, bool joined);

#endif
