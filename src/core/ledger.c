/*
 * ledger.c - applying one command: who may still speak, which row it is about, moves and prunes.
 * The table itself is in operation.c, leases in lease.c, rows in ledger_rows.c.
 *
 * Invariant: a command whose verdict is not DONE leaves every row as it is.
 */
#include "core/command.h"
#include "core/ledger_internal.h"

void st_ledger_init(struct st_ledger *l, const struct st_kv *kv, const struct st_alloc *alloc)
{
    *l = (struct st_ledger){.kv = kv, .alloc = alloc};
    st_buf_init(&l->key, alloc);
    st_buf_init(&l->value, alloc);
    st_buf_init(&l->list, alloc);
}

void st_ledger_entry(struct st_ledger *l)
{
    l->granted = l->taken = 0;
}

void st_ledger_release(struct st_ledger *l)
{
    st_buf_release(&l->key);
    st_buf_release(&l->value);
    st_buf_release(&l->list);
}

/* --- who may still speak ---------------------------------------------------------------------- */

/* What a dead namesake must not begin any more. What it reports or gives back is judged by its
 * token alone. */
static bool wants_something(const struct st_command *c)
{
    switch (c->kind) {
    case ST_CMD_PROPOSE:
    case ST_CMD_GRANT:
    case ST_CMD_START:
    case ST_CMD_RENEW:
    case ST_CMD_LEASE_RENEW:
    case ST_CMD_RESERVE:
    case ST_CMD_CLAIM_REOPEN:
        return true;
    case ST_CMD_LEASE_ACQUIRE:
        return c->lease != ST_LEASE_AGENT;
    default:
        return false;
    }
}

static enum st_code speaker_stale(struct st_ledger *l, const struct st_command *c, bool *stale)
{
    struct st_lease lease;
    *stale = false;
    if (!wants_something(c) || c->agent.n == 0 || c->incarnation == 0)
        return ST_OK;
    enum st_code code = st_lease_read(l, ST_LEASE_AGENT, c->agent, &lease);
    if (code == ST_OK)
        *stale = c->incarnation < lease.token;
    return code == ST_NOT_FOUND ? ST_OK : code;
}

/* --- operations ------------------------------------------------------------------------------- */

static enum st_code propose_new(struct st_ledger *l, const struct st_head *h,
                                const struct st_command *c, struct st_ledger_result *out)
{
    struct st_operation o;
    struct st_str person = {NULL, 0};
    struct st_str evidence = {NULL, 0};
    bool cleared = false;
    enum st_code code = ST_OK;
    if (h->doubt != 0)
        code = st_clear_read(l, c->key, h->doubt, &cleared, &person, &evidence);
    if (code != ST_OK)
        return code;
    bool in_doubt = h->doubt != 0 && !cleared;
#ifdef ST_DEFECT_FORCED_ABSENT
    in_doubt = false;
#endif
    st_operation_new(h, c, in_doubt, &o);
    o.person = person;
    o.evidence = evidence;
    out->verdict = ST_VERDICT_DONE;
    out->state = o.state;
    code = st_operation_write(l, &o, ST_OPERATION_NONE);
    return code == ST_OK && cleared ? st_clear_delete(l, c->key) : code;
}

/* A person says that nothing of a key, or of all unknown keys, ran in the lost part. */
static enum st_code clear_unknown(struct st_ledger *l, struct st_head *h,
                                  const struct st_command *c, struct st_ledger_result *out)
{
    if (c->person.n == 0) {
        out->verdict = ST_VERDICT_PERSON;
        return ST_OK;
    }
    if (h->doubt == 0 || !c->quiescent) {
        out->verdict = ST_VERDICT_REFUSED;
        return ST_OK;
    }
    out->verdict = ST_VERDICT_DONE;
    uint64_t generation = h->doubt;
    if (c->key.n == 0) {
        h->doubt = 0;
        enum st_code code = st_head_write(l, h);
        if (code != ST_OK)
            return code;
    }
    /* For all keys, the row without a key says who did so. */
    return st_clear_write(l, c->key, generation, c);
}

static enum st_code unknown_key(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                                struct st_ledger_result *out)
{
    enum st_operation_state state;
    uint64_t ended_ms;
    enum st_code code = st_pruned_read(l, c->key, &state, &ended_ms);
    if (code == ST_OK) {
        out->verdict = ST_VERDICT_PRUNED;
        return ST_OK;
    }
    if (code != ST_NOT_FOUND)
        return code;
    if (c->kind == ST_CMD_PROPOSE)
        return propose_new(l, h, c, out);
    if (c->kind == ST_CMD_CLEAR)
        return clear_unknown(l, h, c, out);
    out->verdict = ST_VERDICT_REFUSED;
    return ST_OK;
}

static enum st_code apply_operation(struct st_ledger *l, struct st_head *h,
                                    const struct st_command *c, struct st_ledger_result *out)
{
    struct st_operation o;
    uint64_t number = h->number;
    enum st_code code = st_operation_read(l, c->key, &o);
    if (code == ST_NOT_FOUND)
        return unknown_key(l, h, c, out);
    if (code != ST_OK)
        return code;
    out->before = o.state;
    out->verdict = st_operation_step(h, c, &o);
    out->state = o.state;
    out->token = o.token;
    if (out->verdict != ST_VERDICT_DONE)
        return ST_OK;
    o.generation = h->generation;
    code = st_operation_write(l, &o, out->before);
    return code == ST_OK && h->number != number ? st_head_write(l, h) : code;
}

/* --- prune ------------------------------------------------------------------------------------ */

/* A list of keys with what decides about each: state, end; l->list holds it. */
struct selection {
    struct st_buf *list;
    uint64_t limit_ms;
    uint32_t count, count_max;
};

static enum st_code select_ended(void *arg, const struct st_operation *o)
{
    struct selection *s = arg;
    if (o->ended_ms >= s->limit_ms)
        return ST_OK;
    st_row_add_bytes(s->list, o->key);
    st_row_add_u64(s->list, o->ended_ms);
    if (s->list->failed)
        return ST_NO_MEMORY;
    s->count++;
    return s->count == s->count_max ? ST_SCAN_STOP : ST_OK;
}

static enum st_code prune_state(struct st_ledger *l, enum st_operation_state state,
                                const struct st_command *c, struct st_ledger_result *out)
{
    struct selection s = {&l->list, c->limit_ms, 0, ST_PRUNE_MAX - out->count};
    struct st_str rest, key;
    uint64_t ended_ms;
    if (s.count_max == 0)
        return ST_OK;
    st_buf_reset(&l->list);
    enum st_code code = st_operation_each(l, state, (struct st_str){NULL, 0}, select_ended, &s);
    rest = st_buf_str(&l->list);
    while (code == ST_OK && st_row_take_bytes(&rest, &key) && st_row_take_u64(&rest, &ended_ms))
        code = st_operation_prune(l, key, state, ended_ms);
    out->count += s.count;
    return code;
}

static enum st_code prune_one(struct st_ledger *l, const struct st_command *c,
                              struct st_ledger_result *out)
{
    struct st_operation o;
    enum st_code code = st_operation_read(l, c->key, &o);
    if (code != ST_OK) {
        out->verdict = ST_VERDICT_REFUSED;
        return code == ST_NOT_FOUND ? ST_OK : code;
    }
    out->before = out->state = o.state;
    out->token = o.token;
    bool ended = o.state == ST_OPERATION_COMMITTED || o.state == ST_OPERATION_FAILED ||
                 o.state == ST_OPERATION_EXPIRED;
#ifdef ST_DEFECT_PRUNE_IN_DOUBT
    ended = ended || o.state == ST_OPERATION_IN_DOUBT;
#endif
    if (!ended || o.ended_ms >= c->limit_ms) {
        out->verdict = ST_VERDICT_REFUSED;
        return ST_OK;
    }
    out->verdict = ST_VERDICT_DONE;
    out->state = ST_OPERATION_NONE;
    out->count = 1;
    return st_operation_prune(l, c->key, o.state, o.ended_ms);
}

static enum st_code prune(struct st_ledger *l, const struct st_command *c,
                          struct st_ledger_result *out)
{
    if (c->key.n > 0)
        return prune_one(l, c, out);
    enum st_code code = prune_state(l, ST_OPERATION_COMMITTED, c, out);
    if (code == ST_OK)
        code = prune_state(l, ST_OPERATION_FAILED, c, out);
    if (code == ST_OK)
        code = prune_state(l, ST_OPERATION_EXPIRED, c, out);
    out->verdict = out->count > 0 ? ST_VERDICT_DONE : ST_VERDICT_SAME;
    return code;
}

/* --- moves ------------------------------------------------------------------------------------ */

static enum st_code seal(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                         struct st_ledger_result *out)
{
    h->sealed = true;
    h->successor = c->successor;
    h->position = c->position;
    out->verdict = ST_VERDICT_DONE;
    return st_head_write(l, h);
}

/* Everything in this state may have gone on in the lost part. */
static enum st_code doubt_state(struct st_ledger *l, const struct st_head *h,
                                enum st_operation_state state, struct st_ledger_result *out)
{
    struct selection s = {&l->list, UINT64_MAX, 0, UINT32_MAX};
    struct st_str rest, key;
    uint64_t ended_ms;
    st_buf_reset(&l->list);
    enum st_code code = st_operation_each(l, state, (struct st_str){NULL, 0}, select_ended, &s);
    rest = st_buf_str(&l->list);
    while (code == ST_OK && st_row_take_bytes(&rest, &key) && st_row_take_u64(&rest, &ended_ms)) {
        struct st_operation o;
        code = st_operation_read(l, key, &o);
        if (code != ST_OK)
            break;
        st_operation_doubt(h, &o);
        code = st_operation_write(l, &o, state);
    }
    out->count += s.count;
    return code;
}

static enum st_code generation(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                               struct st_ledger_result *out)
{
    enum st_code code = ST_OK;
    out->verdict = ST_VERDICT_REFUSED;
    if (c->forced && c->person.n == 0)
        out->verdict = ST_VERDICT_PERSON;
    else if (c->generation <= h->generation)
        out->verdict = ST_VERDICT_STALE;
    else if (c->forced ||
             (h->sealed && st_str_equal(c->successor, h->successor) && c->position == h->position))
        out->verdict = ST_VERDICT_DONE;
    if (out->verdict != ST_VERDICT_DONE)
        return ST_OK;

    /* The successor is encoded from the command, or equal to the lent one. */
    h->sealed = false;
    h->successor = c->successor;
    h->position = c->position;
#ifdef ST_DEFECT_GENERATION_SAME
    if (!c->forced)
#endif
        h->generation = c->generation;
    if (c->forced) {
        h->doubt = h->generation;
        /* What the lost part left may have been copied: what comes now is later than all of it. */
#ifndef ST_DEFECT_COPIES_BEHIND
        h->copies = h->generation << ST_TOKEN_NUMBER_BITS;
#endif
    }
    code = st_head_write(l, h);
    if (!c->forced)
        return code;
    static const enum st_operation_state alive[] = {ST_OPERATION_PROPOSED, ST_OPERATION_GRANTED,
                                                    ST_OPERATION_EXECUTING};
    for (size_t i = 0; i < sizeof(alive) / sizeof(alive[0]) && code == ST_OK; i++)
        code = doubt_state(l, h, alive[i], out);
    return code;
}

/* --- dispatch --------------------------------------------------------------------------------- */

static enum st_code dispatch(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                             struct st_ledger_result *out)
{
    switch (c->kind) {
    case ST_CMD_SEAL:
        return seal(l, h, c, out);
    case ST_CMD_GENERATION:
        return generation(l, h, c, out);
    case ST_CMD_PRUNE:
        return prune(l, c, out);
    case ST_CMD_CLEAR:
        return c->key.n == 0 ? clear_unknown(l, h, c, out) : apply_operation(l, h, c, out);
    case ST_CMD_LEASE_ACQUIRE:
    case ST_CMD_LEASE_RENEW:
    case ST_CMD_LEASE_RELEASE:
    case ST_CMD_LEASE_LAPSE:
    case ST_CMD_LEASE_REARM:
    case ST_CMD_RESERVE:
    case ST_CMD_UNRESERVE:
    case ST_CMD_CLAIM_CHECKPOINT:
    case ST_CMD_CLAIM_FINISH:
    case ST_CMD_CLAIM_REOPEN:
        return st_lease_apply(l, h, c, out);
    case ST_CMD_CLAIM_COPIED:
        return st_claim_copied(l, h, c, out);
    default:
        return apply_operation(l, h, c, out);
    }
}

static enum st_code apply(struct st_ledger *l, const struct st_command *c,
                          struct st_ledger_result *out)
{
    struct st_head h;
    const char *what;
    char successor[ST_NAME_SIZE_MAX];
    bool stale;

    *out = (struct st_ledger_result){.verdict = ST_VERDICT_INVALID};
    if (st_command_check(c, &what) != ST_OK)
        return ST_OK;
    enum st_code code = st_head_read(l, &h);
    if (code != ST_OK)
        return code;
    if (h.successor.n > sizeof(successor))
        return ST_DAMAGED;
    /* It outlives further reads. */
    if (h.successor.n > 0)
        memcpy(successor, h.successor.p, h.successor.n);
    h.successor.p = successor;
    if (h.sealed && c->kind != ST_CMD_GENERATION) {
        out->verdict = ST_VERDICT_SEALED;
        return ST_OK;
    }
    code = speaker_stale(l, c, &stale);
    if (code != ST_OK)
        return code;
    if (stale) {
        out->verdict = ST_VERDICT_STALE;
        return ST_OK;
    }
    return dispatch(l, &h, c, out);
}

enum st_code st_ledger_apply(struct st_ledger *l, const struct st_command *command,
                             struct st_ledger_result *out)
{
    struct st_command c = *command;
    if (c.kind == ST_CMD_START && c.token == 0)
        c.token = l->granted;
    if (c.kind == ST_CMD_CLAIM_FINISH && c.token == 0)
        c.token = l->taken;
    enum st_code code = apply(l, &c, out);
    bool done = code == ST_OK && out->verdict == ST_VERDICT_DONE;
    if (c.kind == ST_CMD_GRANT)
        l->granted = done ? out->token : 0;
    if (c.kind == ST_CMD_LEASE_ACQUIRE && done)
        l->taken = out->token;
    return code;
}

/* --- names ------------------------------------------------------------------------------------ */

const char *st_operation_state_name(enum st_operation_state s)
{
    static const char *const names[] = {"none",      "proposed", "granted", "executing",
                                        "committed", "failed",   "expired", "in_doubt"};
    return (size_t)s < sizeof(names) / sizeof(names[0]) ? names[s] : "unknown";
}

const char *st_verdict_name(enum st_verdict v)
{
    static const char *const names[] = {"done",   "same",    "refused", "mismatch",
                                        "stale",  "held",    "pruned",  "person",
                                        "sealed", "invalid", "skipped", "ended"};
    return (size_t)v < sizeof(names) / sizeof(names[0]) ? names[v] : "unknown";
}

const char *st_class_name(enum st_operation_class c)
{
    static const char *const names[] = {"naked", "keyed", "queryable", "idempotent"};
    return (size_t)c < sizeof(names) / sizeof(names[0]) ? names[c] : "unknown";
}

const char *st_claim_outcome_name(enum st_claim_outcome o)
{
    static const char *const names[] = {"", "done", "failed", "retry"};
    return (size_t)o < sizeof(names) / sizeof(names[0]) ? names[o] : "unknown";
}

const char *st_lease_kind_name(enum st_lease_kind k)
{
    static const char *const names[] = {"lock", "claim", "agent", "path"};
    return (size_t)k < sizeof(names) / sizeof(names[0]) ? names[k] : "unknown";
}
