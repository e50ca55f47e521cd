/*
 * ledger.h - layer 3: the deterministic state machine of the strong layer: once-only operations,
 * leases (locks, claims, the registry of agents), reservations of paths.
 *
 * It applies a totally ordered, durable log of commands; an engine (src/strong) supplies the
 * order. Applying never fails for what a command says: a command that may not be carried out
 * changes nothing and has a result that says why. It never looks at a clock: commands carry the
 * times that matter, and what a clock decides (a deadline has passed) is a command of its own.
 * So every replica that applies the same log has the same rows and the same results.
 *
 * State lives in rows of the same store interface as layer 1 (struct st_kv), so that a million
 * operations need no memory. Rows (all in the byte order of state.h):
 *   'O' key 0        one operation
 *   'Q' state key 0  index of operations by state (one byte); empty value
 *   'L' kind name 0  one lease; stays when the lease ends: its token is the last one given
 *   'P' pattern 0 token   one reservation; goes when it ends
 *   'H' holder 0 name 0   a claim that is held; empty value
 *   'D' name 0       what the holders of a claim left: last checkpoint, outcome, result
 *   'U' position     outbox: the name of a claim whose 'D' row was changed and is not yet copied
 *   'T'              the last token given out; generation, seal, what a forced move left in doubt
 *   'K' key 0        a pruned key: what is left of it (its last state and when)
 *   'C' key 0        a key cleared after a forced move: by whom, on what evidence
 *
 * Tokens. One counter for everything; every grant of anything takes the next number. A token is
 * (generation << 40 | number); a forced move of the coordinator starts a higher generation, so
 * tokens only grow even then.
 *
 * Operations. States and transitions as in this table (events are commands; "current" means that
 * the command's token is the token of the operation's last grant). A start is open until it is
 * known that it had no effect; "none open": no start of this run is.
 *
 *   from            command          guard                                       to
 *   (none)          propose                                                      PROPOSED
 *   any             propose          same parameters: no change, the result is the state
 *                                    other parameters: refused, MISMATCH
 *   PROPOSED        approve          needs approval; by a person                 PROPOSED
 *   PROPOSED        reject           by a person, with a reason                  FAILED, or IN DOUBT
 *                                    and no longer approved when a start is open
 *   PROPOSED        grant            approved if approval is needed              GRANTED
 *   PROPOSED        expire           the token as it was seen                    EXPIRED, or IN DOUBT
 *                                                                                when a start is open
 *   GRANTED         lapse            current                                     PROPOSED
 *   GRANTED         start            current; if an earlier start is open: idempotent, or keyed
 *                                    and still valid                             EXECUTING
 *   GRANTED, EXECUTING    renew      current                                     the same
 *   EXECUTING, IN DOUBT   report     current                                     COMMITTED
 *   EXECUTING       refuse           current; proof                              FAILED, or IN DOUBT
 *                                                                 when an earlier start is open
 *   EXECUTING       lapse            current                                     IN DOUBT
 *   IN DOUBT        reissue          idempotent, or keyed and the command's time is within its
 *                                    validity                                    PROPOSED
 *   IN DOUBT        settle           quiescent; a person, or the check command of a queryable
 *                                    operation; evidence; token is current
 *                                    committed / failed / retry                  COMMITTED, FAILED,
 *                                                                                PROPOSED
 *   COMMITTED, FAILED, EXPIRED   again   a person, a reason                      PROPOSED, as the
 *                                    next run, to be approved again if approval is needed;
 *                                    no token is current until its first grant; the ended run
 *                                    stays in the log
 *   COMMITTED, FAILED, EXPIRED   prune   ended before the command's limit        gone, but for 'K'
 *   pruned          propose          refused, PRUNED: known before
 *
 * Why "open": a refusal, a rejection or an expiry says that *this* attempt, or no further one,
 * happens. It says nothing of an earlier start whose outcome nobody knows (reissued after a lapse,
 * or lost in a forced move). FAILED and EXPIRED promise "no effect, for ever": only with none open.
 * "settle ... retry" and "settle ... failed" both claim that nothing happened, and close all.
 *
 * Whatever is not in the table is refused with the operation's state as result and changes
 * nothing. COMMITTED, FAILED and EXPIRED absorb (but for `again` by a person); a replay returns the
 * kept result, byte for byte. The answer of `start` is the one that must never be given twice: a
 * repeated start is refused, also with the current token. Who lost that answer does not act.
 *
 * After a forced move the copy may lack the last commands: every operation in it that has not ended
 * becomes IN DOUBT, and so does a propose of an unknown key, unless a person said before that it
 * never ran (`clear`; without a key: that nothing of the lost part ran, for all unknown keys).
 * `again` of an ended operation leads to IN DOUBT too: the lost part may have run it again.
 *
 * Leases. acquire grants when the lease is free, was lapsed, or is held by the same agent and
 * incarnation with the given token (then as renew); it always takes a new token for a new holder.
 * renew, release: current token only. lapse: current token only (so an expiry that was decided on
 * an old view is harmless). Kinds: lock, claim, agent, path (reservations; below). An agent's lease
 * is its registration: its incarnation is the token of the acquire; a later acquire by name replaces
 * a lapsed or released one, a live one only with `takeover` (the earlier incarnation, known by its
 * lower number, is then told so on its next command that wants something: STALE; what it reports or
 * gives back with a current token is still taken).
 *
 * Claims. Leases of kind claim; the name is a task's. Beside what every lease can:
 *
 *   acquire           refused, ENDED, when the last holder's outcome was done or failed; with
 *                     `alternative`: SKIPPED when an earlier acquire of the same entry was granted,
 *                     so that one entry takes the first free one of several
 *   claim-checkpoint  current token, no outcome yet; keeps the text, extends the term. Of a claim
 *                     that lapsed and that nobody took since: held again
 *   claim-finish      current token, no outcome yet (also when it lapsed since): done, failed, or
 *                     retry (given back); the same again: SAME. So an outcome is accepted once.
 *                     Token 0: of the acquire before it in the same entry
 *   claim-reopen      the token as it was seen; not held; done or failed: may be taken again. Takes
 *                     a new token, so that whoever ended it cannot end it again
 *   release           given back: a finish with that token is refused from then on
 *
 * What a holder left has to be copied to where tasks are kept. That is another log: so every
 * checkpoint, finish and reopen also leaves an outbox row, one per claim, by a number that only
 * grows; who has copied says up to which number (claim-copied). A crash in between leaves the row,
 * and the copy is made by whoever comes next. Copying twice is harmless, forgetting is not.
 *
 * Executors. `run` names a locked file (src/strong) that is free when nothing of the executor runs.
 * An operation with a run is over when that file is free, whatever its deadline says: nobody else
 * may have its effect while the executor lives. A lease with a run is over when the file is free or
 * its deadline has passed, whichever is first: a holder that was stopped, and so neither dies nor
 * renews, does not keep a task or a lock for ever. Whatever has no run is over by its deadline.
 *
 * Reservations. Leases of kind path; the name is a pattern (glob.h). Many at a time, each with its
 * own token; granted unless it overlaps one of another holder (agent and incarnation) and not both
 * are shared. reserve with a token renews; lease-lapse, lease-renew, rearm take kind path as well.
 *
 * Deadlines are opaque to the machine: (clock id, ns) as given by the proposer, stored, returned.
 * lapse and expire may name the deadline that they saw passed; they are then STALE when it has been
 * renewed since. Without one they say that the holder is known to be dead. `rearm` adds a deadline on
 * another clock (another boot, another time namespace, another leader), at most once per clock; the
 * earlier ones still count on their own clocks, so that two clocks cannot extend a lease in turn.
 *
 * Times: `time_ms` decides validity and prune limits. It is to be stamped where the command enters
 * the log, not where it was first sent.
 */
#ifndef ST_CORE_LEDGER_H
#define ST_CORE_LEDGER_H

#include "core/state.h"

/* Operation keys are chosen by people and scripts; long enough for a URL's worth of naming. Bytes;
 * a name (st_name_check). */
#define ST_KEY_SIZE_MAX 255
/* Kept output of an operation, standard output and error together: what fits a record three
 * times over after base64. Larger output is kept cut, and says so. Bytes. */
#define ST_RESULT_SIZE_MAX (128 * 1024)
/* Evidence, proof, reasons: a paragraph. Bytes. */
#define ST_EVIDENCE_SIZE_MAX 4096
/* Deadlines on earlier clocks that one lease keeps beside its newest. More than this many reboots
 * within one term forget the oldest, which no process can read any more. */
#define ST_EARLIER_MAX 3
/* Reservations at one time: every new one is compared with all of them. */
#define ST_RESERVATIONS_MAX 4096
/* A checkpoint, or the result of a claim: a value of layer 1, where it is copied to. Bytes. */
#define ST_CLAIM_TEXT_SIZE_MAX ST_VALUE_SIZE_MAX
/* Operations that one prune command removes: what fits a transaction that nobody waits for. */
#define ST_PRUNE_MAX 1024
/* Generations: tokens stay below 2^53, exact in every JSON reader. */
#define ST_GENERATION_MAX    8191
#define ST_TOKEN_NUMBER_BITS 40

enum st_operation_class { ST_CLASS_NAKED, ST_CLASS_KEYED, ST_CLASS_QUERYABLE, ST_CLASS_IDEMPOTENT };

enum st_operation_state {
    ST_OPERATION_NONE,
    ST_OPERATION_PROPOSED,
    ST_OPERATION_GRANTED,
    ST_OPERATION_EXECUTING,
    ST_OPERATION_COMMITTED,
    ST_OPERATION_FAILED,
    ST_OPERATION_EXPIRED,
    ST_OPERATION_IN_DOUBT,
};

struct st_deadline {
    uint64_t clock; /* which clock: boot id and time name space, hashed; 0: no deadline */
    uint64_t ns;    /* on that clock */
    uint64_t term_ns;
};

enum st_command_kind {
    ST_CMD_PROPOSE = 1,
    ST_CMD_APPROVE,
    ST_CMD_REJECT,
    ST_CMD_GRANT,
    ST_CMD_START,
    ST_CMD_RENEW,
    ST_CMD_REPORT,
    ST_CMD_REFUSE,
    ST_CMD_LAPSE,
    ST_CMD_EXPIRE,
    ST_CMD_REISSUE,
    ST_CMD_SETTLE,
    ST_CMD_AGAIN,
    ST_CMD_PRUNE,
    ST_CMD_CLEAR, /* after a forced move: this key is known not to have run */
    ST_CMD_LEASE_ACQUIRE,
    ST_CMD_LEASE_RENEW,
    ST_CMD_LEASE_RELEASE,
    ST_CMD_LEASE_LAPSE,
    ST_CMD_REARM, /* of an operation */
    ST_CMD_LEASE_REARM,
    ST_CMD_RESERVE,
    ST_CMD_UNRESERVE,
    ST_CMD_SEAL,       /* nothing may follow; names the successor */
    ST_CMD_GENERATION, /* first command after a move: raises the generation. Planned: by the
                              successor that the seal names. Forced: by a person, who says why */
    ST_CMD_CLAIM_CHECKPOINT,
    ST_CMD_CLAIM_FINISH,
    ST_CMD_CLAIM_REOPEN,
    ST_CMD_CLAIM_COPIED, /* the outbox up to `position` has been copied */
};

enum st_lease_kind { ST_LEASE_LOCK, ST_LEASE_CLAIM, ST_LEASE_AGENT, ST_LEASE_PATH };

/* Of a settled operation; of a finished claim, where COMMITTED means done. */
enum st_outcome { ST_OUTCOME_COMMITTED, ST_OUTCOME_FAILED, ST_OUTCOME_RETRY };

/* Of the last holder of a claim. RETRY: given back, free. */
enum st_claim_outcome { ST_CLAIM_NONE, ST_CLAIM_DONE, ST_CLAIM_FAILED, ST_CLAIM_RETRY };

/* Whether that was the end of what was claimed. */
static inline bool st_claim_is_over(enum st_claim_outcome outcome)
{
    return outcome == ST_CLAIM_DONE || outcome == ST_CLAIM_FAILED;
}

/* One command. Which fields count depends on the kind; strings are borrowed. */
struct st_command {
    enum st_command_kind kind;
    struct st_str key; /* operation key, lease name, reservation pattern */
    uint64_t token;
    /* propose */
    uint64_t parameters[2]; /* 128-bit hash */
    enum st_operation_class class;
    uint64_t valid_until_ms; /* keyed: the service forgets its key then; 0: never */
    bool needs_approval;
    /* propose (until when it may start), grant, acquire, renew, rearm, reserve; what was seen to
     * have passed: lapse, expire */
    struct st_deadline deadline;
    enum st_lease_kind lease;
    bool takeover, shared;
    bool alternative; /* acquire: not when an earlier one of the entry was granted */
    uint64_t run;     /* grant, acquire: the executor's run file; 0: none */
    /* report, refuse, settle, approve, reject, again, clear, checkpoint, finish, reopen, reserve */
    struct st_str result;   /* opaque bytes */
    struct st_str evidence; /* evidence, proof, reason */
    struct st_str person;   /* who settles, approves, ...; empty: not a person */
    enum st_outcome outcome;
    bool quiescent; /* settle, clear: shown by whoever proposed the command */
    bool by_check;  /* settle: by the check command of a queryable operation */
    /* everything */
    uint64_t time_ms;    /* wall clock of the proposer: for people, validity and prune limits */
    uint64_t limit_ms;   /* prune: ended before this */
    struct st_str agent; /* from the record */
    uint64_t incarnation;
    /* seal, generation */
    struct st_str successor;
    uint64_t generation, position;
    bool forced;
};

enum st_verdict {
    ST_VERDICT_DONE,     /* carried out */
    ST_VERDICT_SAME,     /* nothing to do: the state is as wanted (replay, renewed twice, ...) */
    ST_VERDICT_REFUSED,  /* the state does not allow it */
    ST_VERDICT_MISMATCH, /* the key is known with other parameters */
    ST_VERDICT_STALE,    /* the token is not the current one */
    ST_VERDICT_HELD,     /* somebody else holds it */
    ST_VERDICT_PRUNED,   /* known before, pruned */
    ST_VERDICT_PERSON,   /* for persons only */
    ST_VERDICT_SEALED,   /* the log is sealed */
    ST_VERDICT_INVALID,  /* over a limit or not well-formed */
    ST_VERDICT_SKIPPED,  /* an earlier alternative was granted */
    ST_VERDICT_ENDED,    /* the claim has an outcome */
};

struct st_operation {
    struct st_str key; /* all strings are lent by the store */
    enum st_operation_state state;
    enum st_operation_class class;
    uint64_t parameters[2];
    uint64_t valid_until_ms;
    bool needs_approval, approved;
    uint64_t token;              /* of the last grant of this run; 0: none */
    uint32_t attempts;           /* grants of this run */
    uint32_t runs;               /* 1, more after `again` */
    uint32_t open;               /* starts of this run that may have, or may yet have, an effect */
    uint64_t generation;         /* in which it was last changed */
    struct st_deadline expiry;   /* of the proposal */
    struct st_deadline deadline; /* what counts now: PROPOSED: expiry; GRANTED, EXECUTING: lease */
    struct st_deadline earlier[ST_EARLIER_MAX]; /* on other clocks, before rearm; clock 0: none */
    struct st_str holder;
    uint64_t incarnation, run;
    uint64_t proposed_ms, started_ms, ended_ms;
    struct st_str result, evidence, person;
};

struct st_lease {
    enum st_lease_kind kind;
    struct st_str name, holder, reason;
    uint64_t incarnation, token, run;
    bool held, shared;
    enum st_claim_outcome outcome; /* claims only */
    struct st_deadline deadline;
    struct st_deadline earlier[ST_EARLIER_MAX];
    uint64_t since_ms;
};

/* What the holders of a claim left. */
struct st_claim_kept {
    uint64_t position; /* in the outbox, when it was last changed */
    enum st_claim_outcome outcome;
    uint64_t token;   /* that ended it; of a reopened one: the new one; 0: never ended */
    struct st_str by; /* who said that, or left the checkpoint, whichever came last */
    uint64_t ended_ms;
    uint64_t checkpoint_token, checkpoint_ms; /* 0: none */
    struct st_str result, checkpoint;
};

/* The head of the ledger. */
struct st_head {
    uint64_t generation, number; /* of the last token */
    uint64_t doubt; /* generation that began with a forced move and still has unknown keys in
                          doubt; 0: none */
    bool sealed;
    struct st_str successor; /* sealed: who goes on; else: who this generation belongs to. Lent */
    uint64_t position;       /* sealed: where it goes on; else: where this generation began */
    uint64_t copies; /* the last number given out in the outbox; after a forced move above those of
                        every earlier generation */
};

struct st_ledger {
    const struct st_kv *kv;         /* borrowed */
    const struct st_alloc *alloc;   /* borrowed */
    struct st_buf key, value, list; /* scratch */
    /* Of the entry whose commands are being applied. */
    uint64_t granted; /* token of its last grant; 0: refused, or none */
    uint64_t taken;   /* of its last acquire that was granted; 0: none was */
};

struct st_ledger_result {
    enum st_verdict verdict;
    uint64_t token;                /* granted or current; the right to it only with DONE */
    enum st_operation_state state; /* of the operation afterwards */
    enum st_operation_state before;
    uint32_t count; /* prune: how many went; generation: how many in doubt; acquire of a claim: 1
                       when the one before had given it back */
};

void st_ledger_init(struct st_ledger *l, const struct st_kv *kv, const struct st_alloc *alloc);
void st_ledger_release(struct st_ledger *l);

/* An entry begins: several commands that were ordered as one. A start with token 0 means the token
 * of the grant before it in the same entry, a claim-finish that of the acquire. */
void st_ledger_entry(struct st_ledger *l);
/* ST_OK whatever the verdict; else the store failed or a row is damaged: roll back. */
enum st_code st_ledger_apply(struct st_ledger *l, const struct st_command *c,
                             struct st_ledger_result *out);

/* ST_NOT_FOUND when unknown. Lent until the next call on the store. */
enum st_code st_operation_read(struct st_ledger *l, struct st_str key, struct st_operation *out);
enum st_code st_lease_read(struct st_ledger *l, enum st_lease_kind kind, struct st_str name,
                           struct st_lease *out);
/* A lease of kind path. */
enum st_code st_reservation_read(struct st_ledger *l, struct st_str pattern, uint64_t token,
                                 struct st_lease *out);
enum st_code st_head_read(struct st_ledger *l, struct st_head *out);
/* Of a pruned key: in which state it ended, and when. ST_NOT_FOUND when it was not pruned. */
enum st_code st_pruned_read(struct st_ledger *l, struct st_str key, enum st_operation_state *state,
                            uint64_t *ended_ms);
/* Visits operations in one state (ST_OPERATION_NONE: all), after a key, in key order. */
enum st_code st_operation_each(struct st_ledger *l, enum st_operation_state state,
                               struct st_str after,
                               enum st_code (*visit)(void *arg, const struct st_operation *o),
                               void *arg);
/* Also those that ended (held false). */
enum st_code st_lease_each(struct st_ledger *l, enum st_lease_kind kind,
                           enum st_code (*visit)(void *arg, const struct st_lease *o), void *arg);

/* The claims that an agent holds (holder empty: all that are held), in the order of names. */
enum st_code st_claim_held_each(struct st_ledger *l, struct st_str holder,
                                enum st_code (*visit)(void *arg, const struct st_lease *o),
                                void *arg);
/* ST_NOT_FOUND: nothing was left. Lent until the next call on the store. */
enum st_code st_claim_kept_read(struct st_ledger *l, struct st_str name, struct st_claim_kept *out);
/* What is not yet copied, by position, after one. The visitor may read the ledger. */
enum st_code st_claim_uncopied_each(struct st_ledger *l, uint64_t after,
                                    enum st_code (*visit)(void *arg, struct st_str name,
                                                          const struct st_claim_kept *kept),
                                    void *arg);

/* The deadline that counts on this clock, or one with clock 0. `earlier` has ST_EARLIER_MAX. */
struct st_deadline st_deadline_on(const struct st_deadline *newest,
                                  const struct st_deadline *earlier, uint64_t clock);

const char *st_operation_state_name(enum st_operation_state s); /* "in_doubt" */
const char *st_verdict_name(enum st_verdict v);
const char *st_class_name(enum st_operation_class c);       /* "naked" */
const char *st_lease_kind_name(enum st_lease_kind k);       /* "lock" */
const char *st_claim_outcome_name(enum st_claim_outcome o); /* "done"; "" for none */

#endif
