/*
 * strong.h - layer 3 for everybody: commands go into one totally ordered, durable log; every
 * answer comes from the state after that log, up to a position that is durable.
 *
 * An engine (order.h) orders the log; nothing here, and nobody who uses this, knows which. The
 * state of a workspace has its log in <state>/strong, today always of the file engine (file.h):
 *   strong/log, strong/index.db ..   the log and its rows
 *   strong/coordinator               which directory decides
 *   strong/answers                   what processes share
 *   strong/run/<incarnation>         locked by the executor of an operation, before it asks for
 *                                    anything, and inherited by its child and grandchildren: free
 *                                    means that nothing of it runs any more, unless a descendant
 *                                    closed it
 *
 * Positions. Entries are counted from 1 in the order of the log; every engine, and every copy,
 * gives the same entry the same position. The head is a checksum over all entries up to a position,
 * each chained to the one before: two logs with the same head at a position are the same up to
 * there.
 *
 * Short forms, so that what belongs together is one entry and one flush: a start with token 0 means
 * the token of the grant before it in the same entry, a claim-finish that of the acquire; a seal
 * without a position means its own.
 *
 * A sealed log has ended: what comes behind the seal, as somebody was late, is not part of it,
 * until a generation goes on.
 */
#ifndef ST_STRONG_STRONG_H
#define ST_STRONG_STRONG_H

#include "core/ledger.h"
#include "store/env.h"
#include "strong/order.h"

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
/* Whether a state directory has a strong log. */
bool st_strong_exists(const struct st_env *env, const char *state_dir);
/* Which workspace its log was made for, and whether it has no entry: what can be seen without opening
 * it. */
enum st_code st_strong_glance(const struct st_env *env, const struct st_alloc *alloc,
                              const char *state_dir, uint64_t *workspace, bool *empty);
/* Another number after each entry of its log, without opening it; 0: nothing was written since the system
 * started. */
uint64_t st_strong_moves(const struct st_env *env, const char *state_dir);
/* Opens the strong layer of a state directory, also where it does not decide. ST_UNAVAILABLE:
 * there is none. */
enum st_code st_strong_open(struct st_strong **out, const struct st_env *env,
                            const struct st_alloc *alloc, const char *state_dir, bool read_only,
                            const char *what, uint64_t wait_ms, struct st_fault *fault);
/* On an engine that is open (taken). run_dir, for executors, is copied; NULL: none can be had. */
enum st_code st_strong_stand(struct st_strong **out, struct st_order *order,
                             const struct st_env *env, const struct st_alloc *alloc,
                             const char *run_dir, struct st_fault *fault);
void st_strong_close(struct st_strong *s);
const struct st_fault *st_strong_fault(const struct st_strong *s);

/* Whether this place decides; where it does not, everything but reading, st_strong_follow(),
 * st_strong_accept() and st_strong_force() is ST_UNAVAILABLE, and the fault says where to go. */
bool st_strong_here(struct st_strong *s);
/* The same as a code: ST_OK, or ST_UNAVAILABLE with a fault that says where to go. Not between begin
 * and end. */
enum st_code st_strong_decides(struct st_strong *s);
/* Of the many who look after something together, whether we do it now: we did last, `every_ns` ago, and have
 * what it takes at hand; or whoever did has not for twice as long. *own: when we did, 0 at first; it decides
 * where nothing is shared. */
bool st_strong_looked(struct st_strong *s, uint64_t every_ns, uint64_t *own);
/* The workspace that it was made for. */
uint64_t st_strong_workspace(const struct st_strong *s);

/* Orders the commands as one entry (all or none ordered; each has its own verdict) and returns when
 * it is durable and applied. Expiries that are due go before them, in the same entry.
 * ST_UNAVAILABLE: nothing was ordered, or the log is sealed. ST_OUTCOME_UNKNOWN, ST_TIMEOUT:
 * ordered, or not. */
enum st_code st_strong_submit(struct st_strong *s, struct st_str agent, uint64_t incarnation,
                              struct st_command *commands, size_t count,
                              struct st_ledger_result *results);

/* Begins a read of the state after everything ordered before the call, all of it durable. */
enum st_code st_strong_begin(struct st_strong *s);
/* The same without waiting for anything to be durable: for choosing what to ask for, as what the
 * entry then says is all that counts. */
enum st_code st_strong_peek(struct st_strong *s);
/* The same of the rows as they are at hand: for guessing what is worth asking for. */
enum st_code st_strong_at_hand(struct st_strong *s);
void st_strong_end(struct st_strong *s);
/* Between begin and end. */
struct st_ledger *st_strong_ledger(struct st_strong *s);

/* --- the log ---------------------------------------------------------------------------------- */

#define ST_HEAD_SIZE 33 /* 32 hex digits and a NUL */

struct st_strong_head {
    uint64_t position; /* of the last entry known here; 0: none yet */
    char head[ST_HEAD_SIZE];
    uint64_t generation;
    bool doubt;  /* a forced move left unknown keys in doubt */
    bool sealed; /* this log has ended; `successor` goes on */
    char successor[ST_NAME_SIZE_MAX + 1];
    char place[ST_PLACE_SIZE]; /* this place, for a seal to name */
};
enum st_code st_strong_head(struct st_strong *s, struct st_strong_head *out);

/* Reads the whole log, checks every link of it, computes positions and head anew, and compares them
 * with the rows. ST_DAMAGED says what is wrong. The handle is good for nothing but closing then. */
enum st_code st_strong_verify(struct st_strong *s, struct st_strong_head *out);

/* One command of the log. Lent for the visit. */
struct st_strong_event {
    uint64_t position;
    struct st_str agent;
    uint64_t incarnation;
    const struct st_command *command; /* NULL: of a newer version */
    struct st_str raw;
    const struct st_ledger_result *result; /* NULL: it is not known any more what came of it */
};
/* Visits the commands of the entries after a position, in order, at most `limit` entries (0: all).
 * `visit` returns ST_SCAN_STOP to end it early. */
enum st_code st_strong_events(struct st_strong *s, uint64_t after, uint64_t limit,
                              enum st_code (*visit)(void *arg, const struct st_strong_event *e),
                              void *arg);

/* --- moving (move.c) -------------------------------------------------------------------------- */

enum st_lineage {
    ST_LINEAGE_SAME,
    ST_LINEAGE_BEHIND, /* what is here is the beginning of the other's */
    ST_LINEAGE_AHEAD,  /* the other's is the beginning of what is here */
    ST_LINEAGE_FORKED, /* after a forced move: both have what the other has not */
};
enum st_code st_strong_compare(struct st_strong *s, struct st_strong *other, enum st_lineage *out);
/*
 * Takes in, as a read-only copy, the entries of `other` that are not here, and sets *count to their
 * number. ST_CONFLICT: the logs have forked, nothing was taken in. ST_DENIED: this place decides
 * and the other's log goes on from here: two decide, or it was moved from here by force.
 */
enum st_code st_strong_follow(struct st_strong *s, struct st_strong *other, uint64_t *count);
/* Seals the log: its last entry names the place that goes on (st_strong_head.place), and why. This
 * place has no role from then on. */
enum st_code st_strong_seal(struct st_strong *s, const char *successor, const char *person,
                            const char *reason);
/* This place goes on behind the seal, which has to be here and to name it: a higher generation. */
enum st_code st_strong_accept(struct st_strong *s, const char *person);
/* This place does not decide any more, and is one of this workspace: for one that joins another's.
 */
enum st_code st_strong_resign(struct st_strong *s, uint64_t workspace);
/*
 * What was published of the log of this place: a generation, a position, and the head there (of
 * st_strong_head()). If this place decides, but lacks it, or has something else there in the same
 * generation, then its directory was put back to an earlier moment, and it does not decide any more
 * (*doubted). With position 0 that is known already.
 */
enum st_code st_strong_hold_to(struct st_strong *s, uint64_t generation, uint64_t position,
                               const char *head, bool *doubted);
/* Gives this place the role although nobody was asked: a higher generation, forced. */
enum st_code st_strong_force(struct st_strong *s, const char *person, const char *reason);

/* --- deadlines (due.c) ------------------------------------------------------------------------ */

/* `term_ns` from now on the clock of this place. */
struct st_deadline st_strong_deadline(struct st_strong *s, uint64_t term_ns);
enum st_deadline_state {
    ST_DEADLINE_NONE,
    ST_DEADLINE_AHEAD,
    ST_DEADLINE_PASSED,
    ST_DEADLINE_OTHER_CLOCK
};
enum st_deadline_state st_strong_deadline_state(struct st_strong *s, const struct st_deadline *d);
/* Of a lease or an operation: the deadline that counts here, on this clock if there is one. */
struct st_deadline st_strong_deadline_here(struct st_strong *s, const struct st_deadline *newest,
                                           const struct st_deadline *earlier);
/* Whether a lease is held here and now: neither its term nor its run is over. */
bool st_strong_lease_holds(struct st_strong *s, const struct st_lease *lease);
/* What has to be written down of a lease before anybody else can have it: that it is over, or that
 * its term, which is on another clock, begins anew on this one. False: nothing. out->key is the
 * lease's name, borrowed. */
bool st_strong_expire(struct st_strong *s, const struct st_lease *lease, struct st_command *out);

/* --- executors (run.c) ------------------------------------------------------------------------ */

/* Locks a run file, and tells its number. *fd is close-on-exec: who starts a child lets it inherit. */
enum st_code st_strong_run_begin(struct st_strong *s, uint64_t *run, int *fd);
/* Whether somebody still holds it. A number without a file: nobody. */
bool st_strong_run_alive(struct st_strong *s, uint64_t run);
void st_strong_run_end(struct st_strong *s, uint64_t run, int fd);
/* The descriptor is closed, and all that this run was for has ended so that nobody will ask again whether it is
 * alive: the file serves this handle again, if no descendant holds it by then. */
void st_strong_run_keep(struct st_strong *s, uint64_t run);
/* Removes the run file if nobody holds it. */
void st_strong_run_clear(struct st_strong *s, uint64_t run);

#endif
