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
 *   'L' kind name 0  one lease
 *   'P' name 0 ...   reservations: one row per pattern, holder
 *   'T'              the last token given out; the generation
 *   'K' key 0        a pruned key: what is left of it (its last state and when)
 *
 * Tokens. One counter for everything; every grant of anything takes the next number. A token is
 * (generation << 40 | number); a forced move of the coordinator starts a higher generation, so
 * tokens only grow even then.
 *
 * Operations. States and transitions as in this table (events are commands; "current" means that
 * the command's token is the token of the operation's last grant):
 *
 *   from            command          guard                                       to
 *   (none)          propose                                                      PROPOSED
 *   any             propose          same parameters: no change, the result is the state
 *                                    other parameters: refused, MISMATCH
 *   PROPOSED        approve          needs approval; by a person                 PROPOSED
 *   PROPOSED        reject           by a person, with a reason                  FAILED
 *   PROPOSED        grant            approved if approval is needed              GRANTED
 *   PROPOSED        expire           never started (no start in any attempt)     EXPIRED
 *   GRANTED         lapse            current                                     PROPOSED
 *   GRANTED         start            current                                     EXECUTING
 *   GRANTED         renew            current                                     GRANTED
 *   EXECUTING       renew            current                                     EXECUTING
 *   EXECUTING, IN DOUBT   report     current                                     COMMITTED
 *   EXECUTING       refuse           current; proof                              FAILED
 *   EXECUTING       lapse            current                                     IN DOUBT
 *   IN DOUBT        reissue          idempotent, or keyed and the command's time is within its
 *                                    validity                                    PROPOSED
 *   IN DOUBT        settle           quiescent; a person, or the check command of a queryable
 *                                    operation; evidence; token is current
 *                                    committed / failed / retry                  COMMITTED, FAILED,
 *                                                                                PROPOSED
 *   COMMITTED, FAILED, EXPIRED   again   a person, a reason                      PROPOSED, as the
 *                                    next run: attempts and tokens go on; the ended run stays in
 *                                    the log
 *   COMMITTED, FAILED, EXPIRED   prune   ended before the command's limit        gone, but for 'K'
 *   (none), pruned  propose          refused, PRUNED: known before
 *
 * Whatever is not in the table is refused with the operation's state as result and changes
 * nothing. COMMITTED, FAILED and EXPIRED absorb (but for `again` by a person); a replay returns the
 * kept result, byte for byte. After a forced move, `doubt` puts a key that cannot be proven absent
 * into IN DOUBT: a propose of an unknown key in a generation that began with a forced move and was
 * not released for it (`clear`, by a person) yields IN DOUBT, never PROPOSED.
 *
 * Leases. acquire grants when the lease is free, was lapsed, or is held by the same agent and
 * incarnation with the given token (then as renew); it always takes a new token for a new holder.
 * renew, release: current token only. lapse: current token only (so an expiry that was decided on
 * an old view is harmless). Kinds: lock, claim, agent. An agent's lease is its registration: its
 * incarnation is the token of the acquire; a later acquire by name replaces a lapsed or released
 * one, a live one only with `takeover` (the earlier incarnation is then told so on its next
 * command: STALE).
 *
 * Deadlines are opaque to the machine: (clock id, ns) as given by the proposer, stored, returned.
 * `rearm` replaces the deadline of a lease or an operation whose clock id is another than the
 * command's, with a current token, at most once per clock id.
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
    ST_CMD_CLEAR,          /* after a forced move: this key is known not to have run */
    ST_CMD_LEASE_ACQUIRE,
    ST_CMD_LEASE_RENEW,
    ST_CMD_LEASE_RELEASE,
    ST_CMD_LEASE_LAPSE,
    ST_CMD_REARM,
    ST_CMD_RESERVE,
    ST_CMD_UNRESERVE,
    ST_CMD_SEAL,           /* nothing may follow; names the successor */
    ST_CMD_GENERATION,     /* first command after a move: raises the generation */
};

enum st_lease_kind { ST_LEASE_LOCK, ST_LEASE_CLAIM, ST_LEASE_AGENT };

enum st_outcome { ST_OUTCOME_COMMITTED, ST_OUTCOME_FAILED, ST_OUTCOME_RETRY };

/* One command. Which fields count depends on the kind; strings are borrowed. */
struct st_command {
    enum st_command_kind kind;
    struct st_str key;      /* operation key, lease name, reservation pattern */
    uint64_t token;
    /* propose */
    uint64_t parameters[2]; /* 128-bit hash */
    enum st_operation_class class;
    uint64_t valid_until_ms; /* keyed: the service forgets its key then; 0: never */
    bool needs_approval;
    /* grant, acquire, renew, rearm, reserve */
    struct st_deadline deadline;
    enum st_lease_kind lease;
    bool takeover, shared;
    /* report, refuse, settle, approve, reject, again */
    struct st_str result;   /* opaque bytes */
    struct st_str evidence; /* evidence, proof, reason */
    struct st_str person;   /* who settles, approves, ...; empty: not a person */
    enum st_outcome outcome;
    bool quiescent;         /* settle: shown by whoever proposed the command */
    bool by_check;          /* settle: by the check command of a queryable operation */
    /* everything */
    uint64_t time_ms;       /* wall clock of the proposer: for people, validity and prune limits */
    uint64_t limit_ms;      /* prune: ended before this */
    struct st_str agent;    /* from the record */
    uint64_t incarnation;
    /* seal, generation */
    struct st_str successor;
    uint64_t generation, position;
    bool forced;
};

enum st_verdict {
    ST_VERDICT_DONE,       /* carried out */
    ST_VERDICT_SAME,       /* nothing to do: the state is as wanted (replay, renewed twice, ...) */
    ST_VERDICT_REFUSED,    /* the state does not allow it */
    ST_VERDICT_MISMATCH,   /* the key is known with other parameters */
    ST_VERDICT_STALE,      /* the token is not the current one */
    ST_VERDICT_HELD,       /* somebody else holds it */
    ST_VERDICT_PRUNED,     /* known before, pruned */
    ST_VERDICT_PERSON,     /* for persons only */
    ST_VERDICT_SEALED,     /* the log is sealed */
    ST_VERDICT_INVALID,    /* over a limit or not well-formed */
};

struct st_operation {
    struct st_str key; /* all strings are lent by the store */
    enum st_operation_state state;
    enum st_operation_class class;
    uint64_t parameters[2];
    uint64_t valid_until_ms;
    bool needs_approval, approved, started; /* started: in any attempt of this run */
    uint64_t token;      /* of the last grant; 0: none */
    uint32_t attempts;   /* grants of this run */
    uint32_t runs;       /* 1, more after `again` */
    struct st_deadline deadline;
    struct st_str holder;
    uint64_t incarnation;
    uint64_t proposed_ms, started_ms, ended_ms;
    struct st_str result, evidence, person;
};

struct st_lease {
    enum st_lease_kind kind;
    struct st_str name, holder;
    uint64_t incarnation, token;
    bool held;
    struct st_deadline deadline;
    uint64_t since_ms;
};

struct st_ledger {
    const struct st_kv *kv;       /* borrowed */
    const struct st_alloc *alloc; /* borrowed */
    struct st_buf key, value;     /* scratch */
};

struct st_ledger_result {
    enum st_verdict verdict;
    uint64_t token;                    /* granted or current */
    enum st_operation_state state;     /* of the operation afterwards */
    enum st_operation_state before;
};

void st_ledger_init(struct st_ledger *l, const struct st_kv *kv, const struct st_alloc *alloc);
void st_ledger_release(struct st_ledger *l);

/* ST_OK whatever the verdict; else the store failed or a row is damaged: roll back. */
enum st_code st_ledger_apply(struct st_ledger *l, const struct st_command *c,
                             struct st_ledger_result *out);

/* ST_NOT_FOUND when unknown. Lent until the next call on the store. */
enum st_code st_operation_read(struct st_ledger *l, struct st_str key, struct st_operation *out);
enum st_code st_lease_read(struct st_ledger *l, enum st_lease_kind kind, struct st_str name,
                           struct st_lease *out);
/* Visits operations in one state (ST_OPERATION_NONE: all), after a key, in key order. */
enum st_code st_operation_each(struct st_ledger *l, enum st_operation_state state,
                               struct st_str after,
                               enum st_code (*visit)(void *arg, const struct st_operation *o),
                               void *arg);
enum st_code st_lease_each(struct st_ledger *l, enum st_lease_kind kind,
                           enum st_code (*visit)(void *arg, const struct st_lease *o), void *arg);

const char *st_operation_state_name(enum st_operation_state s); /* "in_doubt" */
const char *st_verdict_name(enum st_verdict v);

#endif
