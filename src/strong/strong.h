/*
 * strong.h - layer 3 for everybody: commands go into one totally ordered, durable log; every
 * answer comes from the state after that log, up to a position that is durable.
 *
 * Nothing outside src/strong knows which engine orders the log. An engine (order.h) takes entries,
 * says when one is durable, and lets the machine (core/ledger.h) be applied to all of them.
 *
 * Layout of the file engine: <state>/strong is a log of its own (store/log.h) with an index of its
 * own, and
 *   strong/coordinator   one line: the fingerprint of the directory in which this log orders, and
 *                        who gave it that role. A copy has another fingerprint: it is closed
 *                        (ST_UNAVAILABLE) until a person gives it the role.
 *   strong/run/<incarnation>  locked by the executor of an operation, before it asks for anything,
 *                        and inherited by its child and grandchildren: free means that nothing of
 *                        it runs any more, unless a descendant closed it.
 *
 * A start with token 0 means the token of the grant before it in the same entry: so that propose,
 * grant and start are one entry and one flush.
 */
#ifndef ST_STRONG_STRONG_H
#define ST_STRONG_STRONG_H

#include "core/ledger.h"
#include "store/index.h"

/* Commands of one entry: lapses of what is due, then what the caller wants. */
#define ST_ENTRY_COMMANDS_MAX 48

struct st_strong;

/*
 * Makes the log where there is none; with `decides`, gives this directory the role unless somebody
 * has it. Only `init` founds with the role, before the workspace exists: a workspace without it is
 * one that was copied, joined or restored, and founding there, at the first command say, would make
 * a second one that decides.
 */
enum st_code st_strong_found(const struct st_env *env, const struct st_alloc *alloc,
                             const char *state_dir, uint64_t workspace, const char *replica_name,
                             bool decides, struct st_fault *fault);
/* Opens the strong layer of a state directory, also where it does not decide. ST_UNAVAILABLE:
 * there is none. */
enum st_code st_strong_open(struct st_strong **out, const struct st_env *env,
                            const struct st_alloc *alloc, const char *state_dir, bool read_only,
                            const char *what, uint64_t wait_ms, struct st_fault *fault);
void st_strong_close(struct st_strong *s);
/* Whether this copy has the role; without it everything but reading and st_strong_force() is
 * ST_UNAVAILABLE. */
bool st_strong_here(const struct st_strong *s);
/* The workspace that it was made for. */
uint64_t st_strong_workspace(const struct st_strong *s);
/* Gives this copy the role: a new generation, forced. */
enum st_code st_strong_force(struct st_strong *s, const char *person, const char *reason);
/* The last entry known here. */
enum st_code st_strong_tail(struct st_strong *s, struct st_tail *out);
const struct st_fault *st_strong_fault(const struct st_strong *s);

/* Orders the commands as one entry (all or none ordered; each has its own verdict) and returns when
 * it is durable and applied. ST_OUTCOME_UNKNOWN, ST_TIMEOUT: ordered, or not. */
enum st_code st_strong_submit(struct st_strong *s, struct st_str agent, uint64_t incarnation,
                              struct st_command *commands, size_t count,
                              struct st_ledger_result *results);

/* Begins a read of the state after everything ordered before the call, all of it durable. */
enum st_code st_strong_begin(struct st_strong *s);
void st_strong_end(struct st_strong *s);
/* Between begin and end. */
struct st_ledger *st_strong_ledger(struct st_strong *s);

/* --- deadlines -------------------------------------------------------------------------------- */

/* `term_ns` from now on this machine's clock. */
struct st_deadline st_strong_deadline(struct st_strong *s, uint64_t term_ns);
enum st_deadline_state {
    ST_DEADLINE_NONE,
    ST_DEADLINE_AHEAD,
    ST_DEADLINE_PASSED,
    ST_DEADLINE_OTHER_CLOCK
};
enum st_deadline_state st_strong_deadline_state(struct st_strong *s, const struct st_deadline *d);

/* --- executors -------------------------------------------------------------------------------- */

/* Locks the run file of an incarnation. *fd is close-on-exec: who starts a child lets it inherit.
 */
enum st_code st_strong_run_begin(struct st_strong *s, uint64_t incarnation, int *fd);
/* Whether somebody still holds it. An incarnation without a file: nobody. */
bool st_strong_run_alive(struct st_strong *s, uint64_t incarnation);
void st_strong_run_end(struct st_strong *s, uint64_t incarnation, int fd);
/* Removes the run file if nobody holds it. */
void st_strong_run_clear(struct st_strong *s, uint64_t incarnation);

#endif
