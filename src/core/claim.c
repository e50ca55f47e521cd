/*
 * claim.c - what claims have beside other leases: checkpoints, outcomes, the outbox. See ledger.h.
 *
 * Invariants: between two grants (or reopenings) of a claim at most one outcome is accepted; every
 * change of a 'D' row leaves an outbox row, and a claim has at most one.
 */
#include "core/ledger_internal.h"

/* Writes what was left, with its place at the end of the outbox. Strings of `kept` may be lent. */
static enum st_code leave(struct st_ledger *l, struct st_head *h, struct st_str name,
                          struct st_claim_kept *kept)
{
    uint64_t before = kept->position;
    kept->position = ++h->copies;
    enum st_code code = st_claim_kept_write(l, name, kept);
    if (code == ST_OK && before != 0)
        code = st_claim_note_delete(l, before);
#ifndef ST_DEFECT_CLAIM_OUTBOX_FORGOTTEN
    if (code == ST_OK)
        code = st_claim_note_write(l, kept->position, name);
#endif
    return code == ST_OK ? st_head_write(l, h) : code;
}

/* The verdict on who speaks with another token, or too late; DONE: go on. */
static enum st_verdict may_speak(const struct st_command *c, const struct st_lease *lease)
{
#ifndef ST_DEFECT_CLAIM_STALE_TOKEN
    if (c->token != lease->token)
        return ST_VERDICT_STALE;
#endif
#ifndef ST_DEFECT_CLAIM_DONE_TWICE
    if (st_claim_is_over(lease->outcome))
        return ST_VERDICT_ENDED;
#endif
    return lease->outcome == ST_CLAIM_RETRY ? ST_VERDICT_REFUSED : ST_VERDICT_DONE;
}

static enum st_code checkpoint(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                               struct st_lease *lease, struct st_claim_kept *kept,
                               struct st_ledger_result *out)
{
    out->verdict = may_speak(c, lease);
    if (out->verdict != ST_VERDICT_DONE)
        return ST_OK;
    kept->by = c->agent;
    kept->checkpoint = c->result;
    kept->checkpoint_token = c->token;
    kept->checkpoint_ms = c->time_ms;
    enum st_code code = leave(l, h, c->key, kept);
    if (code != ST_OK || c->deadline.clock == 0)
        return code;
    lease->held = true;
    st_deadline_set(&lease->deadline, lease->earlier, c->deadline);
    return st_lease_write(l, lease);
}

static enum st_claim_outcome outcome_of(enum st_outcome o)
{
    return o == ST_OUTCOME_COMMITTED ? ST_CLAIM_DONE
           : o == ST_OUTCOME_FAILED  ? ST_CLAIM_FAILED
                                     : ST_CLAIM_RETRY;
}

static enum st_code finish(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                           struct st_lease *lease, struct st_claim_kept *kept,
                           struct st_ledger_result *out)
{
    enum st_claim_outcome outcome = outcome_of(c->outcome);
    out->verdict = may_speak(c, lease);
    bool repeated = out->verdict != ST_VERDICT_DONE && out->verdict != ST_VERDICT_STALE &&
                    kept->token == c->token && kept->outcome == outcome &&
                    st_str_equal(kept->result, c->result);
    if (repeated)
        out->verdict = ST_VERDICT_SAME;
    if (out->verdict != ST_VERDICT_DONE)
        return ST_OK;
    kept->outcome = outcome;
    kept->token = c->token;
    kept->by = c->agent;
    kept->ended_ms = c->time_ms;
    kept->result = c->result;
    enum st_code code = leave(l, h, c->key, kept);
    if (code != ST_OK)
        return code;
    lease->outcome = outcome;
    lease->held = false;
    st_deadline_set(&lease->deadline, lease->earlier, (struct st_deadline){0});
    return st_lease_write(l, lease);
}

static enum st_code reopen(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                           struct st_lease *lease, struct st_claim_kept *kept,
                           struct st_ledger_result *out)
{
    bool ended = st_claim_is_over(lease->outcome);
    out->verdict = lease->held                ? ST_VERDICT_HELD
                   : c->token != lease->token ? ST_VERDICT_STALE
                   : !ended                   ? ST_VERDICT_SAME
                                              : ST_VERDICT_DONE;
    if (out->verdict != ST_VERDICT_DONE)
        return ST_OK;
#ifndef ST_DEFECT_CLAIM_REOPEN_KEEPS_TOKEN
    uint64_t token = st_head_token(h);
#else
    uint64_t token = c->token;
#endif
    if (token == 0) {
        out->verdict = ST_VERDICT_INVALID;
        return ST_OK;
    }
    kept->outcome = ST_CLAIM_NONE;
    kept->token = out->token = token;
    kept->by = c->agent;
    kept->ended_ms = c->time_ms;
    kept->result = c->evidence;
    enum st_code code = leave(l, h, c->key, kept);
    if (code != ST_OK)
        return code;
    lease->outcome = ST_CLAIM_NONE;
    lease->token = token;
    return st_lease_write(l, lease);
}

enum st_code st_claim_apply(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                            struct st_lease *lease, bool known, struct st_ledger_result *out)
{
    struct st_claim_kept kept;
    char holder[ST_AGENT_SIZE_MAX];
    out->verdict = ST_VERDICT_REFUSED;
    out->token = lease->token;
    if (!known)
        return ST_OK; /* never given out */
    if (lease->holder.n > sizeof(holder))
        return ST_DAMAGED;
    /* It outlives further reads. */
    if (lease->holder.n > 0)
        memcpy(holder, lease->holder.p, lease->holder.n);
    lease->holder.p = holder;
    enum st_code code = st_claim_kept_read(l, c->key, &kept);
    if (code != ST_OK && code != ST_NOT_FOUND)
        return code;
    switch (c->kind) {
    case ST_CMD_CLAIM_CHECKPOINT:
        return checkpoint(l, h, c, lease, &kept, out);
    case ST_CMD_CLAIM_FINISH:
        return finish(l, h, c, lease, &kept, out);
    default:
        return reopen(l, h, c, lease, &kept, out);
    }
}

/* --- the outbox ------------------------------------------------------------------------------- */

struct copied {
    struct st_buf *list;
    uint64_t up_to;
};

static enum st_code select_copied(void *arg, struct st_str name, const struct st_claim_kept *kept)
{
    struct copied *s = arg;
    (void)name;
    if (kept->position > s->up_to)
        return ST_SCAN_STOP;
    st_row_add_u64(s->list, kept->position);
    return s->list->failed ? ST_NO_MEMORY : ST_OK;
}

enum st_code st_claim_copied(struct st_ledger *l, const struct st_head *h,
                             const struct st_command *c, struct st_ledger_result *out)
{
    struct copied s = {&l->list, c->position};
    uint64_t position;
    out->verdict = ST_VERDICT_REFUSED;
    if (c->position > h->copies)
        return ST_OK; /* of another life of this log */
    st_buf_reset(&l->list);
    enum st_code code = st_claim_uncopied_each(l, 0, select_copied, &s);
    struct st_str rest = st_buf_str(&l->list);
    out->verdict = rest.n > 0 ? ST_VERDICT_DONE : ST_VERDICT_SAME;
    while (code == ST_OK && st_row_take_u64(&rest, &position)) {
        code = st_claim_note_delete(l, position);
        out->count++;
    }
    return code;
}
