/*
 * claims.h - claims on tasks, for layer 2: who has which task, its last checkpoint, its outcome.
 *
 * A claim is a lease of the ledger (core/ledger.h) whose name is the task's entity (`#143`). Every
 * grant has a token; checkpoint and finish are accepted with the current token only, and an outcome
 * of done or failed only once until the claim is reopened.
 *
 * The ledger is the truth about claims; what it keeps of a checkpoint or an outcome has to be
 * copied into the task's channel. The ledger remembers what was not yet copied. So after a strong
 * command, and at any later open: st_claims_uncopied() gives each claim whose state is to be
 * copied; write the channel record if the channel does not show it already (copying twice is
 * harmless; the record is written on condition that no later one was); st_claims_copied() when
 * those records are durable, which costs nothing, as it rides in the next entry.
 *
 * Terms. A claim taken by a command that ends lasts an hour (ST_CLAIM_TERM_MS) and is extended by
 * any command of that agent: st_claims_touch(), which strata_open() calls. A process that lives on
 * takes short terms and renews; it may lock a run file besides (st_claims_run_begin): when it is
 * dead, its claims are free at once. A claim is over with its run or its term, whichever is first.
 *
 * Functions return STRATA_OK or a code with its message in the handle. Strings given out are lent
 * until the next call on the handle.
 */
#ifndef ST_LIB_CLAIMS_H
#define ST_LIB_CLAIMS_H

#include "lib/internal.h"

#include "core/ledger.h"

/* Claims that one entry asks for: with what has lapsed they fit it. */
#define ST_CLAIMS_MAX 16
/* Agents think for minutes; a dead one's task must not wait for days. */
#define ST_CLAIM_TERM_MS (60ull * 60 * 1000)

struct st_claim {
    const char *name, *holder; /* of the last grant; "" when nobody ever had it */
    uint64_t token;            /* of the last grant; 0: never given out */
    uint64_t incarnation, run;
    bool held;   /* its term lasts, and the process of its run lives */
    bool back;   /* taken now: its last holder had given it back */
    bool outrun; /* not taken: one that was seen to be free was somebody's when it was asked for */
    enum st_claim_outcome outcome;
    uint64_t since_ms, left_ms; /* left_ms: until it lapses */
};

/* An end that is to be reported. */
struct st_claim_end {
    const char *name;
    uint64_t token;          /* st_claims_finish(), 0: of nobody; it is claimed for that */
    enum st_outcome outcome; /* COMMITTED: done */
    const char *result;      /* may be NULL */
    size_t result_size;      /* at most ST_CLAIM_TEXT_SIZE_MAX */
};

/*
 * Takes the first of the names, which stand in order of preference, that is free, as one entry with
 * one flush. Where others take at the same time, any of the first `equal` ones is as good as the
 * first. out->token != 0: taken. STRATA_TIMEOUT: none is free, somebody has them; STRATA_CONFLICT:
 * the only name given is done or failed (with an end: STRATA_TIMEOUT). term_ms 0: ST_CLAIM_TERM_MS. run: from
 * st_claims_run_begin(), or 0.
 *
 * `end` (may be NULL) is reported in the same entry. When it is refused that is the result
 * (STRATA_CONFLICT), and out->token tells whether the next was taken all the same.
 */
int st_claims_take(strata *s, const char *const *names, size_t count, size_t equal,
                   uint64_t term_ms, uint64_t run, const struct st_claim_end *end,
                   struct st_claim *out);

/* The same for one that was free a moment ago: nothing is looked up before. STRATA_TIMEOUT: others
 * were faster. */
int st_claims_take_free(strata *s, const char *name, uint64_t term_ms, uint64_t run,
                        const struct st_claim_end *end, struct st_claim *out);

/* Which of the names are free, in order, at most `max`. What has lapsed but nobody has said so is not;
 * nor is this a promise: only taking it is one. */
int st_claims_free(strata *s, const char *const *names, size_t count, size_t max, size_t *out,
                   size_t *found);
/* The next look at what is taken looks for dead processes, too. */
void st_claims_probe(strata *s);
/* Another number whenever a claim may have changed, without opening the ledger; 0: none since the system
 * started. */
uint64_t st_claims_moves(const strata *s);
/* How things stand; out has `count` elements. Writes nothing. */
int st_claims_look(strata *s, const char *const *names, size_t count, struct st_claim *out);
/* What an agent holds (NULL: everybody), by name. The visitor must not call the handle. */
int st_claims_held_each(strata *s, const char *agent,
                        int (*visit)(void *arg, const struct st_claim *c), void *arg);
/* What its holders left. STRATA_NOT_FOUND: nothing. */
int st_claims_kept(strata *s, const char *name, struct st_claim_kept *out);

/* Where in the outbox that was put last; 0: nothing was left. */
int st_claims_position(strata *s, const char *name, uint64_t *position);

/* STRATA_CONFLICT, with the reason: the token is not the current one, or it has an outcome. */
int st_claims_renew(strata *s, const char *name, uint64_t token, uint64_t term_ms);
int st_claims_release(strata *s, const char *name, uint64_t token);
/* Keeps the text (UTF-8, at most ST_CLAIM_TEXT_SIZE_MAX bytes) and begins the term anew. */
int st_claims_checkpoint(strata *s, const char *name, uint64_t token, const char *text, size_t size,
                         uint64_t term_ms);
int st_claims_finish(strata *s, const struct st_claim_end *end);
/* A claim that is done or failed may be taken again. STRATA_CONFLICT: somebody has it. */
int st_claims_reopen(strata *s, const char *name, const char *reason);

/* Claims whose 'kept' is not yet copied, in the order of kept->position; visit may return non-zero
 * to stop, and must not call the handle. */
int st_claims_uncopied(strata *s,
                       int (*visit)(void *arg, const char *name, const struct st_claim_kept *kept),
                       void *arg);
/* `count` more claims, up to this position, have been copied, by records up to this one: told with
 * an entry of this handle when they are durable. They are not shown to it again. */
void st_claims_copied(strata *s, uint64_t position, size_t count, struct st_dot by);

/* Begins the terms of the agent's claims anew, when that is due: at most every sixth of a term;
 * else it costs a look at the clock, or at one small file the first time. Failing is harmless. */
void st_claims_touch(strata *s);

/* touch.c: an agent took a claim of this term. */
void st_claims_touch_from(strata *s, uint64_t term_ms);

/* A run file, locked as long as *fd is open here or in a child. */
int st_claims_run_begin(strata *s, uint64_t *run, int *fd);
void st_claims_run_end(strata *s, uint64_t run, int fd);

#endif
