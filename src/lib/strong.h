/*
 * strong.h - layer 3 behind include/strata.h: what its files share.
 *   strong.c       opening, submitting
 *   operations.c   once-only operations; operations.h has the others
 *   locks.c        locks
 *   coordinator.c  which copy decides
 *   claims.c, claims_look.c   claims on tasks, for layer 2; their interface is claims.h
 *   touch.c        extending their terms
 *   reserve.c      reservations of paths
 *   registry.c     the registry of agents
 */
#ifndef ST_LIB_STRONG_H
#define ST_LIB_STRONG_H

#include "lib/internal.h"
#include "strong/strong.h"

/* Leases and operations with a longer term would outlive any program. Milliseconds: 30 days. */
#define ST_TERM_MS_MAX (30ull * 24 * 3600 * 1000)

/* Opens the strong layer of the handle if need be; resets the arena. */
int st_lib_strong_open(strata *s);
/* The fault of the last call on it. */
int st_lib_strong_fault(strata *s);
/* st_strong_submit() in the name of the handle's agent and incarnation. */
int st_lib_submit(strata *s, struct st_command *commands, size_t count,
                  struct st_ledger_result *results);
/* Begins to read the ledger, which is open. The end takes the code that reading went with. */
int st_lib_strong_begin(strata *s);
int st_lib_strong_end(strata *s, enum st_code got);
/* ST_OK, or ST_UNAVAILABLE and what to do: another copy decides. Not while something is read. */
int st_lib_decides(strata *s);
/* The agent's name was taken over by a later start: an error that says so. */
int st_lib_replaced(strata *s);
/* Evidence, reasons, names of persons: `what` in errors. */
int st_lib_text_check(strata *s, const char *what, const char *text, bool needed);

/* What the ledger calls a reservation, taken apart: the pattern, and *tree (the id of its work tree). */
struct st_str st_reservation_pattern(struct st_str name, struct st_str *tree);
/* Milliseconds until what has these deadlines is over (0: it has none, or is over). */
uint64_t st_lib_deadline_left(strata *s, const struct st_deadline *newest,
                              const struct st_deadline *earlier);
/* Whether an executor may still be at work: its run file is held; without one, its term lasts. */
bool st_lib_alive(strata *s, uint64_t run, const struct st_deadline *newest,
                  const struct st_deadline *earlier);
/* Takes in the ordered log of another copy; what is wrong with it becomes a notice. `joined`: this
 * replica was empty before. */
void st_lib_strong_merge(strata *s, const char *state_dir, bool joined);
/* The same of a directory with nothing but `strong`, which is known to be of this workspace. */
void st_lib_strong_take(strata *s, const char *state_dir, bool joined);
/* What was published of the log of this copy (st_strong_hold_to); position 0: it is known that its
 * state was put back to an earlier moment. What comes of it is a notice. */
void st_lib_strong_hold_to(strata *s, uint64_t generation, uint64_t position, const char *head);

#endif
