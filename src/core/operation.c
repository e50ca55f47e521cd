/*
 * operation.c - the table of ledger.h: what one command does to one operation. Pure functions of
 * the head, the command and the operation; nothing here touches the store.
 *
 * Each function either returns DONE and has changed the operation, or has changed nothing.
 */
#include "core/ledger_internal.h"

uint64_t st_head_token(struct st_head *h)
{
    if ((h->number + 1) >> ST_TOKEN_NUMBER_BITS != 0)
        return 0;
    h->number++;
    return h->generation << ST_TOKEN_NUMBER_BITS | h->number;
}

static bool ended(const struct st_operation *o)
{
    return o->state == ST_OPERATION_COMMITTED || o->state == ST_OPERATION_FAILED ||
           o->state == ST_OPERATION_EXPIRED;
}

/* For what an executor says: it has a token. */
static bool current(const struct st_operation *o, const struct st_command *c)
{
    return c->token != 0 && c->token == o->token;
}

/* For what is said about an operation as it was seen: perhaps before its first grant. */
static bool as_seen(const struct st_operation *o, const struct st_command *c)
{
    return c->token == o->token;
}

/* Whether a second start may follow one whose outcome nobody knows. */
static bool repeatable(const struct st_operation *o, const struct st_command *c)
{
#ifdef ST_DEFECT_NAKED_RETRY
    if (o->class == ST_CLASS_NAKED)
        return true;
#endif
#ifdef ST_DEFECT_KEYED_FOREVER
    if (o->class == ST_CLASS_KEYED)
        return true;
#endif
    return o->class == ST_CLASS_IDEMPOTENT ||
           (o->class == ST_CLASS_KEYED &&
            (o->valid_until_ms == 0 || c->time_ms < o->valid_until_ms));
}

static void no_deadline(struct st_operation *o)
{
    st_deadline_set(&o->deadline, o->earlier, (struct st_deadline){0});
}

static void to_proposed(struct st_operation *o)
{
    o->state = ST_OPERATION_PROPOSED;
    st_deadline_set(&o->deadline, o->earlier, o->expiry);
}

static void to_doubt(struct st_operation *o)
{
    o->state = ST_OPERATION_IN_DOUBT;
    no_deadline(o);
}

static void to_end(struct st_operation *o, enum st_operation_state state,
                   const struct st_command *c)
{
    o->state = state;
    o->open = 0;
    o->ended_ms = c->time_ms;
    no_deadline(o);
}

/* No (further) attempt: the end, unless an earlier start may still have its effect. */
static void to_end_or_doubt(struct st_operation *o, enum st_operation_state state,
                            const struct st_command *c)
{
#ifndef ST_DEFECT_END_WITH_OPEN
    if (o->open > 0) {
        to_doubt(o);
        return;
    }
#endif
    to_end(o, state, c);
}

static void said_by(struct st_operation *o, const struct st_command *c)
{
    o->person = c->person;
    o->evidence = c->evidence;
}

/* --- before the start ------------------------------------------------------------------------- */

void st_operation_new(const struct st_head *h, const struct st_command *c, bool in_doubt,
                      struct st_operation *o)
{
    *o = (struct st_operation){
        .key = c->key,
        .class = c->class,
        .parameters = {c->parameters[0], c->parameters[1]},
        .valid_until_ms = c->valid_until_ms,
        .needs_approval = c->needs_approval,
        .runs = 1,
        .expiry = c->deadline,
        .proposed_ms = c->time_ms,
        .generation = h->generation,
    };
    to_proposed(o);
    if (in_doubt)
        st_operation_doubt(h, o);
}

void st_operation_doubt(const struct st_head *h, struct st_operation *o)
{
    o->open++; /* a start that was lost */
    o->generation = h->generation;
    to_doubt(o);
}

static enum st_verdict on_propose(const struct st_command *c, const struct st_operation *o)
{
#ifndef ST_DEFECT_PROPOSE_MISMATCH
    if (c->parameters[0] != o->parameters[0] || c->parameters[1] != o->parameters[1])
        return ST_VERDICT_MISMATCH;
#endif
    return ST_VERDICT_SAME;
}

static enum st_verdict on_approve(const struct st_command *c, struct st_operation *o)
{
#ifndef ST_DEFECT_APPROVE_BY_ANYBODY
    if (c->person.n == 0)
        return ST_VERDICT_PERSON;
#endif
    if (o->state != ST_OPERATION_PROPOSED || !o->needs_approval)
        return ST_VERDICT_REFUSED;
    if (o->approved)
        return ST_VERDICT_SAME;
    o->approved = true;
    said_by(o, c);
    return ST_VERDICT_DONE;
}

static enum st_verdict on_reject(const struct st_command *c, struct st_operation *o)
{
    if (c->person.n == 0)
        return ST_VERDICT_PERSON;
    if (o->state != ST_OPERATION_PROPOSED || !o->needs_approval)
        return ST_VERDICT_REFUSED;
    o->approved = false;
    said_by(o, c);
    to_end_or_doubt(o, ST_OPERATION_FAILED, c);
    return ST_VERDICT_DONE;
}

static enum st_verdict on_expire(const struct st_command *c, struct st_operation *o)
{
    bool waits = o->state == ST_OPERATION_PROPOSED;
#ifdef ST_DEFECT_EXPIRE_STARTED
    if (o->state == ST_OPERATION_EXECUTING) {
        o->open = 0;
        waits = true;
    }
#endif
    if (!waits)
        return ST_VERDICT_REFUSED;
    if (!as_seen(o, c) || !st_deadline_known(&o->deadline, o->earlier, c->deadline))
        return ST_VERDICT_STALE;
    to_end_or_doubt(o, ST_OPERATION_EXPIRED, c);
    return ST_VERDICT_DONE;
}

static enum st_verdict on_grant(struct st_head *h, const struct st_command *c,
                                struct st_operation *o)
{
    uint64_t token;
    if (o->state == ST_OPERATION_GRANTED)
        return ST_VERDICT_HELD;
    if (o->state != ST_OPERATION_PROPOSED)
        return ST_VERDICT_REFUSED;
#ifndef ST_DEFECT_UNAPPROVED
    if (o->needs_approval && !o->approved)
        return ST_VERDICT_REFUSED;
#endif
    token = st_head_token(h);
#ifdef ST_DEFECT_TOKEN_KEPT
    if (o->token != 0)
        token = o->token;
#endif
    if (token == 0)
        return ST_VERDICT_INVALID;
    o->state = ST_OPERATION_GRANTED;
    o->token = token;
    o->attempts++;
    o->holder = c->agent;
    o->incarnation = c->incarnation;
    o->run = c->run;
    st_deadline_set(&o->deadline, o->earlier, c->deadline);
    return ST_VERDICT_DONE;
}

/* --- the attempt ------------------------------------------------------------------------------ */

static enum st_verdict on_start(const struct st_command *c, struct st_operation *o)
{
#ifndef ST_DEFECT_START_ANY_TOKEN
    if (!current(o, c))
        return ST_VERDICT_STALE;
#endif
#ifdef ST_DEFECT_START_AGAIN
    if (o->state == ST_OPERATION_EXECUTING)
        return ST_VERDICT_DONE;
#endif
    if (o->state != ST_OPERATION_GRANTED || (o->open > 0 && !repeatable(o, c)))
        return ST_VERDICT_REFUSED;
    o->state = ST_OPERATION_EXECUTING;
    o->open++;
    o->started_ms = c->time_ms;
    return ST_VERDICT_DONE;
}

static enum st_verdict on_renew(const struct st_command *c, struct st_operation *o)
{
    if (!current(o, c))
        return ST_VERDICT_STALE;
    if (o->state != ST_OPERATION_GRANTED && o->state != ST_OPERATION_EXECUTING)
        return ST_VERDICT_REFUSED;
    st_deadline_set(&o->deadline, o->earlier, c->deadline);
    return ST_VERDICT_DONE;
}

static enum st_verdict on_rearm(const struct st_command *c, struct st_operation *o)
{
    if (!as_seen(o, c))
        return ST_VERDICT_STALE;
    return st_deadline_rearm(&o->deadline, o->earlier, c->deadline) ? ST_VERDICT_DONE
                                                                    : ST_VERDICT_SAME;
}

static enum st_verdict on_report(const struct st_command *c, struct st_operation *o)
{
#ifndef ST_DEFECT_REPORT_ANY_TOKEN
    if (!current(o, c))
        return ST_VERDICT_STALE;
#endif
#ifdef ST_DEFECT_REPORT_AGAIN
    if (o->state == ST_OPERATION_COMMITTED) {
        o->result = c->result;
        return ST_VERDICT_DONE;
    }
#endif
    if (o->state == ST_OPERATION_COMMITTED)
        return st_str_equal(c->result, o->result) ? ST_VERDICT_SAME : ST_VERDICT_REFUSED;
    if (o->state != ST_OPERATION_EXECUTING && o->state != ST_OPERATION_IN_DOUBT)
        return ST_VERDICT_REFUSED;
    o->result = c->result;
    to_end(o, ST_OPERATION_COMMITTED, c);
    return ST_VERDICT_DONE;
}

static enum st_verdict on_refuse(const struct st_command *c, struct st_operation *o)
{
#ifndef ST_DEFECT_REFUSE_ANY_TOKEN
    if (!current(o, c))
        return ST_VERDICT_STALE;
#endif
    if (o->state == ST_OPERATION_FAILED)
        return st_str_equal(c->evidence, o->evidence) && st_str_equal(c->result, o->result)
                   ? ST_VERDICT_SAME
                   : ST_VERDICT_REFUSED;
    if (o->state != ST_OPERATION_EXECUTING)
        return ST_VERDICT_REFUSED;
    ST_ASSERT(o->open > 0);
    o->open--; /* this one */
#ifndef ST_DEFECT_PROOF_FORGOTTEN
    o->evidence = c->evidence;
#endif
    o->result = c->result;
    to_end_or_doubt(o, ST_OPERATION_FAILED, c);
    return ST_VERDICT_DONE;
}

static enum st_verdict on_lapse(const struct st_command *c, struct st_operation *o)
{
#ifndef ST_DEFECT_LAPSE_STALE
    if (!current(o, c))
        return ST_VERDICT_STALE;
#endif
    if (o->state != ST_OPERATION_GRANTED && o->state != ST_OPERATION_EXECUTING)
        return ST_VERDICT_REFUSED;
    if (!st_deadline_known(&o->deadline, o->earlier, c->deadline))
        return ST_VERDICT_STALE;
    if (o->state == ST_OPERATION_GRANTED)
        to_proposed(o);
    else
        to_doubt(o);
#ifdef ST_DEFECT_FENCED_RETRY
    /* "The old holder's token is fenced off": so is its report, but not what it does. */
    if (o->state == ST_OPERATION_IN_DOUBT) {
        o->open = 0;
        to_proposed(o);
    }
#endif
    return ST_VERDICT_DONE;
}

/* --- after a doubt, after the end ------------------------------------------------------------- */

static enum st_verdict on_reissue(const struct st_command *c, struct st_operation *o)
{
    if (o->state != ST_OPERATION_IN_DOUBT || !repeatable(o, c))
        return ST_VERDICT_REFUSED;
    to_proposed(o);
#ifdef ST_DEFECT_NAKED_RETRY
    o->open = 0;
#endif
    return ST_VERDICT_DONE;
}

static bool may_settle(const struct st_command *c, const struct st_operation *o)
{
#ifdef ST_DEFECT_SETTLE_BY_ANYBODY
    return true;
#endif
    return c->person.n > 0 || (c->by_check && o->class == ST_CLASS_QUERYABLE);
}

static enum st_verdict on_settle(const struct st_command *c, struct st_operation *o)
{
    if (!may_settle(c, o))
        return ST_VERDICT_PERSON;
    if (o->state != ST_OPERATION_IN_DOUBT)
        return ST_VERDICT_REFUSED;
    if (!as_seen(o, c))
        return ST_VERDICT_STALE;
#ifndef ST_DEFECT_SETTLE_EARLY
    if (!c->quiescent)
        return ST_VERDICT_REFUSED;
#endif
    said_by(o, c);
    o->result = c->result;
    if (c->outcome == ST_OUTCOME_RETRY) {
        o->open = 0;
        to_proposed(o);
    } else {
        to_end(o, c->outcome == ST_OUTCOME_COMMITTED ? ST_OPERATION_COMMITTED : ST_OPERATION_FAILED,
               c);
    }
    return ST_VERDICT_DONE;
}

static enum st_verdict on_again(const struct st_head *h, const struct st_command *c,
                                struct st_operation *o)
{
    if (c->person.n == 0)
        return ST_VERDICT_PERSON;
    if (!ended(o) || o->runs == UINT32_MAX)
        return ST_VERDICT_REFUSED;
    /* Ended before a forced move: the lost part may have begun the next run. */
    bool lost = h->doubt != 0 && o->generation < h->doubt;
    o->runs++;
#ifndef ST_DEFECT_AGAIN_KEEPS_TOKEN
    o->token = 0; /* a late report of the ended run is not one of this run */
#endif
    o->attempts = 0;
    o->open = 0;
    o->approved = false;
    o->expiry = c->deadline;
    o->holder = (struct st_str){NULL, 0};
    o->incarnation = o->run = 0;
    o->result = (struct st_str){NULL, 0};
    o->proposed_ms = c->time_ms;
    o->started_ms = o->ended_ms = 0;
    if (c->valid_until_ms != 0)
        o->valid_until_ms = c->valid_until_ms;
    said_by(o, c);
    to_proposed(o);
    if (lost)
        st_operation_doubt(h, o);
    return ST_VERDICT_DONE;
}

enum st_verdict st_operation_step(struct st_head *h, const struct st_command *c,
                                  struct st_operation *o)
{
    switch (c->kind) {
    case ST_CMD_PROPOSE:
        return on_propose(c, o);
    case ST_CMD_APPROVE:
        return on_approve(c, o);
    case ST_CMD_REJECT:
        return on_reject(c, o);
    case ST_CMD_GRANT:
        return on_grant(h, c, o);
    case ST_CMD_START:
        return on_start(c, o);
    case ST_CMD_RENEW:
        return on_renew(c, o);
    case ST_CMD_REARM:
        return on_rearm(c, o);
    case ST_CMD_REPORT:
        return on_report(c, o);
    case ST_CMD_REFUSE:
        return on_refuse(c, o);
    case ST_CMD_LAPSE:
        return on_lapse(c, o);
    case ST_CMD_EXPIRE:
        return on_expire(c, o);
    case ST_CMD_REISSUE:
        return on_reissue(c, o);
    case ST_CMD_SETTLE:
        return on_settle(c, o);
    case ST_CMD_AGAIN:
        return on_again(h, c, o);
    default:
        return ST_VERDICT_REFUSED;
    }
}
