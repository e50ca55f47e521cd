/*
 * lease.c - leases, deadlines, reservations: the second half of ledger.h.
 *
 * Invariants: every acquire that gives something gives a new token; a command with another token
 * than the lease's last one changes nothing; a lease that ended keeps its row and token (so that
 * its former holder is told STALE, never "unknown"), a reservation that ended goes.
 */
#include "core/glob.h"
#include "core/ledger_internal.h"

/* --- deadlines -------------------------------------------------------------------------------- */

void st_deadline_set(struct st_deadline *newest, struct st_deadline *earlier, struct st_deadline d)
{
    *newest = d.clock != 0 ? d : (struct st_deadline){0};
    memset(earlier, 0, ST_EARLIER_MAX * sizeof(*earlier));
}

struct st_deadline st_deadline_on(const struct st_deadline *newest,
                                  const struct st_deadline *earlier, uint64_t clock)
{
    if (newest->clock == clock)
        return *newest;
    for (size_t i = 0; i < ST_EARLIER_MAX; i++) {
        if (earlier[i].clock == clock)
            return earlier[i];
    }
    return (struct st_deadline){0};
}

bool st_deadline_rearm(struct st_deadline *newest, struct st_deadline *earlier,
                       struct st_deadline d)
{
    if (newest->clock == 0 || st_deadline_on(newest, earlier, d.clock).clock != 0)
        return false;
    /* The newest of the earlier ones first; the oldest falls out. */
    memmove(earlier + 1, earlier, (ST_EARLIER_MAX - 1) * sizeof(*earlier));
    earlier[0] = *newest;
    *newest = d;
    return true;
}

bool st_deadline_known(const struct st_deadline *newest, const struct st_deadline *earlier,
                       struct st_deadline d)
{
    return d.clock == 0 || st_deadline_on(newest, earlier, d.clock).ns == d.ns;
}

/* --- leases ----------------------------------------------------------------------------------- */

static bool same_holder(const struct st_lease *lease, const struct st_command *c)
{
    return st_str_equal(lease->holder, c->agent) && lease->incarnation == c->incarnation;
}

/* A new token for a new holder. */
static enum st_code give(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                         struct st_lease *lease, struct st_ledger_result *out)
{
    uint64_t token = st_head_token(h);
    if (token == 0) {
        out->verdict = ST_VERDICT_INVALID;
        return ST_OK;
    }
    lease->token = token;
    lease->holder = lease->kind == ST_LEASE_AGENT ? lease->name : c->agent;
    lease->incarnation = lease->kind == ST_LEASE_AGENT ? token : c->incarnation;
    lease->run = c->run;
    lease->reason = c->evidence;
    lease->outcome = ST_CLAIM_NONE;
    lease->held = true;
    lease->shared = lease->kind == ST_LEASE_PATH && c->shared;
    lease->since_ms = c->time_ms;
    st_deadline_set(&lease->deadline, lease->earlier, c->deadline);
    out->verdict = ST_VERDICT_DONE;
    out->token = token;
    enum st_code code = st_lease_write(l, lease);
    return code == ST_OK ? st_head_write(l, h) : code;
}

static enum st_code renew(struct st_ledger *l, const struct st_command *c, struct st_lease *lease,
                          struct st_ledger_result *out)
{
    if (!lease->held) {
        out->verdict = ST_VERDICT_REFUSED;
        return ST_OK;
    }
    st_deadline_set(&lease->deadline, lease->earlier, c->deadline);
    out->verdict = ST_VERDICT_DONE;
    return st_lease_write(l, lease);
}

/* A claim that is given back is not finished by who gave it back. */
static void give_back(struct st_lease *lease, const struct st_command *c)
{
    if (lease->kind == ST_LEASE_CLAIM && c->kind == ST_CMD_LEASE_RELEASE)
        lease->outcome = ST_CLAIM_RETRY;
}

static enum st_code end(struct st_ledger *l, struct st_lease *lease, struct st_ledger_result *out)
{
    out->verdict = ST_VERDICT_DONE;
    if (lease->kind == ST_LEASE_PATH)
        return st_reservation_delete(l, lease->name, lease->token);
    lease->held = false;
    st_deadline_set(&lease->deadline, lease->earlier, (struct st_deadline){0});
    return st_lease_write(l, lease);
}

static enum st_code lapse(struct st_ledger *l, const struct st_command *c, struct st_lease *lease,
                          struct st_ledger_result *out)
{
    out->verdict = ST_VERDICT_SAME;
    if (!lease->held)
        return ST_OK;
    out->verdict = ST_VERDICT_STALE;
    if (!st_deadline_known(&lease->deadline, lease->earlier, c->deadline))
        return ST_OK;
    return end(l, lease, out);
}

static enum st_code rearm(struct st_ledger *l, const struct st_command *c, struct st_lease *lease,
                          struct st_ledger_result *out)
{
    out->verdict = ST_VERDICT_SAME;
    if (!st_deadline_rearm(&lease->deadline, lease->earlier, c->deadline))
        return ST_OK;
    out->verdict = ST_VERDICT_DONE;
    return st_lease_write(l, lease);
}

static bool token_matters(const struct st_command *c)
{
#ifdef ST_DEFECT_LAPSE_STALE
    return c->kind != ST_CMD_LEASE_LAPSE;
#elif defined(ST_DEFECT_RELEASE_ANY_TOKEN)
    return c->kind != ST_CMD_LEASE_RELEASE;
#else
    (void)c;
    return true;
#endif
}

/* renew, release, lapse, rearm: of the lease that has this token. */
static enum st_code by_token(struct st_ledger *l, const struct st_command *c,
                             struct st_lease *lease, struct st_ledger_result *out)
{
    out->token = lease->token;
    if (token_matters(c) && c->token != lease->token) {
        out->verdict = ST_VERDICT_STALE;
        return ST_OK;
    }
    switch (c->kind) {
    case ST_CMD_LEASE_RENEW:
    case ST_CMD_RESERVE:
        return renew(l, c, lease, out);
    case ST_CMD_LEASE_LAPSE:
        return lapse(l, c, lease, out);
    case ST_CMD_LEASE_REARM:
        return rearm(l, c, lease, out);
    default: /* release */
        out->verdict = ST_VERDICT_SAME;
        give_back(lease, c);
        return lease->held ? end(l, lease, out) : ST_OK;
    }
}

static enum st_code acquire(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                            struct st_lease *lease, struct st_ledger_result *out)
{
    out->token = lease->token;
    out->verdict = ST_VERDICT_SKIPPED;
    if (c->alternative && l->taken != 0)
        return ST_OK;
    out->verdict = ST_VERDICT_ENDED;
#ifndef ST_DEFECT_CLAIM_DONE_TAKEN
    if (st_claim_is_over(lease->outcome))
        return ST_OK;
#endif
    if (!lease->held) {
        out->count = lease->outcome == ST_CLAIM_RETRY;
        return give(l, h, c, lease, out);
    }
    /* An agent is its own holder: its incarnation is the token. */
    if (c->token == lease->token && (lease->kind == ST_LEASE_AGENT || same_holder(lease, c)))
        return renew(l, c, lease, out);
    if (lease->kind == ST_LEASE_AGENT && c->takeover)
        return give(l, h, c, lease, out);
    out->verdict = ST_VERDICT_HELD;
    return ST_OK;
}

/* --- reservations ----------------------------------------------------------------------------- */

struct conflict {
    const struct st_command *c;
    uint64_t token; /* of the first that is in the way */
    uint32_t count;
};

static enum st_code find_conflict(void *arg, const struct st_lease *lease)
{
    struct conflict *f = arg;
    f->count++;
    if (f->token != 0 || same_holder(lease, f->c) || (lease->shared && f->c->shared))
        return ST_OK;
    if (st_glob_overlap(lease->name, f->c->key))
        f->token = lease->token;
    return ST_OK;
}

static enum st_code reserve(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                            struct st_ledger_result *out)
{
    struct conflict f = {.c = c};
    enum st_code code = st_lease_each(l, ST_LEASE_PATH, find_conflict, &f);
    if (code != ST_OK)
        return code;
    out->token = f.token;
    out->verdict = f.token != 0 ? ST_VERDICT_HELD : ST_VERDICT_INVALID;
    if (f.token != 0 || f.count >= ST_RESERVATIONS_MAX)
        return ST_OK;
    struct st_lease lease = {.kind = ST_LEASE_PATH, .name = c->key};
    return give(l, h, c, &lease, out);
}

/* One of many: found by its token, gone when it ended. */
static enum st_code apply_path(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                               struct st_ledger_result *out)
{
    struct st_lease lease;
    bool fresh = c->kind == ST_CMD_RESERVE || c->kind == ST_CMD_LEASE_ACQUIRE;
    if (fresh && c->token == 0)
        return reserve(l, h, c, out);
    enum st_code code = st_reservation_read(l, c->key, c->token, &lease);
    if (code == ST_NOT_FOUND) {
        out->verdict = ST_VERDICT_STALE;
        return ST_OK;
    }
    if (code != ST_OK)
        return code;
    if (c->kind == ST_CMD_LEASE_ACQUIRE)
        return renew(l, c, &lease, out);
    return by_token(l, c, &lease, out);
}

enum st_code st_lease_apply(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                            struct st_ledger_result *out)
{
    struct st_lease lease;
    bool path = c->kind == ST_CMD_RESERVE || c->kind == ST_CMD_UNRESERVE;
    if (path || c->lease == ST_LEASE_PATH)
        return apply_path(l, h, c, out);
    bool claim = c->kind == ST_CMD_CLAIM_CHECKPOINT || c->kind == ST_CMD_CLAIM_FINISH ||
                 c->kind == ST_CMD_CLAIM_REOPEN;
    enum st_code code = st_lease_read(l, claim ? ST_LEASE_CLAIM : c->lease, c->key, &lease);
    if (code != ST_OK && code != ST_NOT_FOUND)
        return code;
    if (claim)
        return st_claim_apply(l, h, c, &lease, code == ST_OK, out);
    if (c->kind == ST_CMD_LEASE_ACQUIRE)
        return acquire(l, h, c, &lease, out);
    if (code == ST_NOT_FOUND) {
        out->verdict = ST_VERDICT_REFUSED; /* never given out */
        return ST_OK;
    }
    return by_token(l, c, &lease, out);
}
