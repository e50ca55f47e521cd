/*
 * ledger_rows.c - the rows of the ledger, one by one.
 *
 * Values (numbers are varints, strings have their length before them; state_internal.h):
 *   'O'  state class flags hash(16 bytes) valid-until token attempts runs open generation
 *        expiry deadlines holder incarnation run proposed started ended result evidence person
 *   'L' 'P'  flags token incarnation run since deadlines holder reason
 *   'D'  position outcome token by ended checkpoint-token checkpoint-time result checkpoint
 *   'U'  name
 *   'T'  flags generation number doubt position copies successor
 *   'K'  state ended        'C'  generation person evidence
 * A deadline is clock, and if that is not 0 ns and term (8 bytes each); deadlines are a count and
 * that many: the newest, then the earlier ones. Every row re-encodes to the same bytes.
 */
#include "core/ledger_internal.h"

#define FLAG_NEEDS_APPROVAL 1U
#define FLAG_APPROVED       2U
#define FLAG_HELD           1U
#define FLAG_SHARED         2U
#define OUTCOME_SHIFT       2
#define FLAGS_LEASE_MAX     (FLAG_HELD | FLAG_SHARED | ST_CLAIM_RETRY << OUTCOME_SHIFT)
#define FLAG_SEALED         1U

/* --- fields ----------------------------------------------------------------------------------- */

static bool take_small(struct st_str *s, unsigned max, unsigned *value)
{
    if (s->n == 0 || (unsigned char)s->p[0] > max)
        return false;
    *value = (unsigned char)s->p[0];
    s->p++;
    s->n--;
    return true;
}

static void add_small(struct st_buf *out, unsigned value)
{
    ST_ASSERT(value < 0x80);
    st_buf_add_char(out, (char)value);
}

static void add_deadline(struct st_buf *out, struct st_deadline d)
{
    st_row_add_u64(out, d.clock);
    if (d.clock == 0)
        return;
    st_row_add_u64(out, d.ns);
    st_row_add_u64(out, d.term_ns);
}

static bool take_deadline(struct st_str *s, struct st_deadline *d)
{
    *d = (struct st_deadline){0};
    return st_row_take_u64(s, &d->clock) &&
           (d->clock == 0 || (st_row_take_u64(s, &d->ns) && st_row_take_u64(s, &d->term_ns)));
}

static void add_deadlines(struct st_buf *out, struct st_deadline newest,
                          const struct st_deadline *earlier)
{
    unsigned count = 0;
    while (count < ST_EARLIER_MAX && earlier[count].clock != 0)
        count++;
    add_small(out, newest.clock != 0 ? 1 + count : 0);
    if (newest.clock == 0)
        return;
    add_deadline(out, newest);
    for (unsigned i = 0; i < count; i++)
        add_deadline(out, earlier[i]);
}

static bool take_deadlines(struct st_str *s, struct st_deadline *newest,
                           struct st_deadline *earlier)
{
    unsigned count;
    *newest = (struct st_deadline){0};
    memset(earlier, 0, ST_EARLIER_MAX * sizeof(*earlier));
    if (!take_small(s, 1 + ST_EARLIER_MAX, &count))
        return false;
    for (unsigned i = 0; i < count; i++) {
        struct st_deadline *d = i == 0 ? newest : &earlier[i - 1];
        if (!take_deadline(s, d) || d->clock == 0)
            return false;
    }
    return true;
}

/* One byte, a name, a NUL. */
static struct st_str key_of(struct st_buf *out, char kind, struct st_str name)
{
    st_buf_reset(out);
    st_buf_add_char(out, kind);
    st_buf_add_str(out, name);
    st_buf_add_char(out, '\0');
    return st_buf_str(out);
}

struct st_str st_key_operation(struct st_buf *out, struct st_str name)
{
    return key_of(out, 'O', name);
}

struct st_str st_key_state(struct st_buf *out, enum st_operation_state state, struct st_str name)
{
    st_buf_reset(out);
    st_buf_add_char(out, 'Q');
    st_buf_add_char(out, (char)state);
    st_buf_add_str(out, name);
    st_buf_add_char(out, '\0');
    return st_buf_str(out);
}

static void key_of_lease(struct st_buf *out, enum st_lease_kind kind, struct st_str name,
                         uint64_t token)
{
    bool path = kind == ST_LEASE_PATH;
    st_buf_reset(out);
    st_buf_add_char(out, path ? 'P' : 'L');
    if (!path)
        st_buf_add_char(out, (char)kind);
    st_buf_add_str(out, name);
    st_buf_add_char(out, '\0');
    if (path)
        st_row_add_u64(out, token);
}

static enum st_code row_get(struct st_ledger *l, struct st_str *value)
{
    if (l->key.failed)
        return ST_NO_MEMORY;
    return l->kv->get(l->kv->ctx, st_buf_str(&l->key), value);
}

static enum st_code row_put(struct st_ledger *l)
{
    return st_kv_put(l->kv, &l->key, &l->value);
}

static enum st_code row_del(struct st_ledger *l)
{
    if (l->key.failed)
        return ST_NO_MEMORY;
    return l->kv->del(l->kv->ctx, st_buf_str(&l->key));
}

/* --- the head --------------------------------------------------------------------------------- */

static bool head_decode(struct st_str s, struct st_head *h)
{
    unsigned flags;
    if (!take_small(&s, FLAG_SEALED, &flags) || !st_take_varint(&s, &h->generation) ||
        !st_take_varint(&s, &h->number) || !st_take_varint(&s, &h->doubt) ||
        !st_take_varint(&s, &h->position) || !st_take_varint(&s, &h->copies) ||
        !st_row_take_bytes(&s, &h->successor) || s.n != 0)
        return false;
    h->sealed = flags != 0;
    return h->generation <= ST_GENERATION_MAX && h->doubt <= h->generation &&
           h->number >> ST_TOKEN_NUMBER_BITS == 0;
}

enum st_code st_head_read(struct st_ledger *l, struct st_head *out)
{
    struct st_str value;
    *out = (struct st_head){0};
    enum st_code code = l->kv->get(l->kv->ctx, ST_STR("T"), &value);
    if (code != ST_OK)
        return code == ST_NOT_FOUND ? ST_OK : code;
    return head_decode(value, out) ? ST_OK : ST_DAMAGED;
}

enum st_code st_head_write(struct st_ledger *l, const struct st_head *h)
{
    st_buf_reset(&l->value);
    add_small(&l->value, h->sealed ? FLAG_SEALED : 0);
    st_buf_add_varint(&l->value, h->generation);
    st_buf_add_varint(&l->value, h->number);
    st_buf_add_varint(&l->value, h->doubt);
    st_buf_add_varint(&l->value, h->position);
    st_buf_add_varint(&l->value, h->copies);
    st_row_add_bytes(&l->value, h->successor);
    st_buf_reset(&l->key);
    st_buf_add_char(&l->key, 'T');
    return row_put(l);
}

/* --- operations ------------------------------------------------------------------------------- */

static void operation_encode(struct st_buf *out, const struct st_operation *o)
{
    st_buf_reset(out);
    add_small(out, o->state);
    add_small(out, o->class);
    add_small(out,
              (o->needs_approval ? FLAG_NEEDS_APPROVAL : 0) | (o->approved ? FLAG_APPROVED : 0));
    st_row_add_u64(out, o->parameters[0]);
    st_row_add_u64(out, o->parameters[1]);
    st_buf_add_varint(out, o->valid_until_ms);
    st_buf_add_varint(out, o->token);
    st_buf_add_varint(out, o->attempts);
    st_buf_add_varint(out, o->runs);
    st_buf_add_varint(out, o->open);
    st_buf_add_varint(out, o->generation);
    add_deadline(out, o->expiry);
    add_deadlines(out, o->deadline, o->earlier);
    st_row_add_bytes(out, o->holder);
    st_buf_add_varint(out, o->incarnation);
    st_buf_add_varint(out, o->run);
    st_buf_add_varint(out, o->proposed_ms);
    st_buf_add_varint(out, o->started_ms);
    st_buf_add_varint(out, o->ended_ms);
    st_row_add_bytes(out, o->result);
    st_row_add_bytes(out, o->evidence);
    st_row_add_bytes(out, o->person);
}

bool st_operation_decode(struct st_str s, struct st_operation *o)
{
    unsigned state, class, flags;
    if (!take_small(&s, ST_OPERATION_IN_DOUBT, &state) || state == ST_OPERATION_NONE ||
        !take_small(&s, ST_CLASS_IDEMPOTENT, &class) ||
        !take_small(&s, FLAG_NEEDS_APPROVAL | FLAG_APPROVED, &flags) ||
        !st_row_take_u64(&s, &o->parameters[0]) || !st_row_take_u64(&s, &o->parameters[1]) ||
        !st_take_varint(&s, &o->valid_until_ms) || !st_take_varint(&s, &o->token) ||
        !st_row_take_u32(&s, &o->attempts) || !st_row_take_u32(&s, &o->runs) ||
        !st_row_take_u32(&s, &o->open) || !st_take_varint(&s, &o->generation) ||
        !take_deadline(&s, &o->expiry) || !take_deadlines(&s, &o->deadline, o->earlier) ||
        !st_row_take_bytes(&s, &o->holder) || !st_take_varint(&s, &o->incarnation) ||
        !st_take_varint(&s, &o->run) || !st_take_varint(&s, &o->proposed_ms) ||
        !st_take_varint(&s, &o->started_ms) || !st_take_varint(&s, &o->ended_ms) ||
        !st_row_take_bytes(&s, &o->result) || !st_row_take_bytes(&s, &o->evidence) ||
        !st_row_take_bytes(&s, &o->person) || s.n != 0)
        return false;
    o->state = (enum st_operation_state)state;
    o->class = (enum st_operation_class) class;
    o->needs_approval = (flags & FLAG_NEEDS_APPROVAL) != 0;
    o->approved = (flags & FLAG_APPROVED) != 0;
    return true;
}

enum st_code st_operation_read(struct st_ledger *l, struct st_str key, struct st_operation *out)
{
    struct st_str value;
    *out = (struct st_operation){.key = key};
    if (st_name_check(key) != ST_OK)
        return ST_NOT_FOUND;
    key_of(&l->key, 'O', key);
    enum st_code code = row_get(l, &value);
    if (code != ST_OK)
        return code;
    return st_operation_decode(value, out) ? ST_OK : ST_DAMAGED;
}

enum st_code st_operation_write(struct st_ledger *l, const struct st_operation *o,
                                enum st_operation_state was)
{
    enum st_code code = ST_OK;
    operation_encode(&l->value, o);
    key_of(&l->key, 'O', o->key);
    code = row_put(l);
    if (code != ST_OK || o->state == was)
        return code;
    if (was != ST_OPERATION_NONE) {
        st_key_state(&l->key, was, o->key);
        code = row_del(l);
    }
    st_buf_reset(&l->value);
    st_key_state(&l->key, o->state, o->key);
    return code == ST_OK ? row_put(l) : code;
}

enum st_code st_operation_prune(struct st_ledger *l, struct st_str key,
                                enum st_operation_state state, uint64_t ended_ms)
{
    key_of(&l->key, 'O', key);
    enum st_code code = row_del(l);
    st_key_state(&l->key, state, key);
    if (code == ST_OK)
        code = row_del(l);
    st_buf_reset(&l->value);
    add_small(&l->value, state);
    st_buf_add_varint(&l->value, ended_ms);
    key_of(&l->key, 'K', key);
    return code == ST_OK ? row_put(l) : code;
}

enum st_code st_pruned_read(struct st_ledger *l, struct st_str key, enum st_operation_state *state,
                            uint64_t *ended_ms)
{
    struct st_str value;
    unsigned small;
    key_of(&l->key, 'K', key);
    enum st_code code = row_get(l, &value);
    if (code != ST_OK)
        return code;
    if (!take_small(&value, ST_OPERATION_IN_DOUBT, &small) || !st_take_varint(&value, ended_ms) ||
        value.n != 0)
        return ST_DAMAGED;
    *state = (enum st_operation_state)small;
    return ST_OK;
}

/* --- leases ----------------------------------------------------------------------------------- */

static void key_of_held(struct st_buf *out, struct st_str holder, struct st_str name)
{
    st_buf_reset(out);
    st_buf_add_char(out, 'H');
    st_buf_add_str(out, holder);
    st_buf_add_char(out, '\0');
    st_buf_add_str(out, name);
    st_buf_add_char(out, '\0');
}

/* Which claims are held; the key is in l->list. The holder changes only while nobody holds it: no
 * row is left behind. */
static enum st_code held_write(struct st_ledger *l, bool held)
{
    if (l->list.failed)
        return ST_NO_MEMORY;
    struct st_str key = st_buf_str(&l->list);
    return held ? l->kv->put(l->kv->ctx, key, (struct st_str){"", 0}) : l->kv->del(l->kv->ctx, key);
}

enum st_code st_lease_write(struct st_ledger *l, const struct st_lease *lease)
{
    struct st_buf *out = &l->value;
    st_buf_reset(out);
    add_small(out, (lease->held ? FLAG_HELD : 0) | (lease->shared ? FLAG_SHARED : 0) |
                       (unsigned)lease->outcome << OUTCOME_SHIFT);
    st_buf_add_varint(out, lease->token);
    st_buf_add_varint(out, lease->incarnation);
    st_buf_add_varint(out, lease->run);
    st_buf_add_varint(out, lease->since_ms);
    add_deadlines(out, lease->deadline, lease->earlier);
    st_row_add_bytes(out, lease->holder);
    st_row_add_bytes(out, lease->reason);
    key_of_lease(&l->key, lease->kind, lease->name, lease->token);
    /* Now: what the lease has of the store is lent until the next call on it. */
    bool claim = lease->kind == ST_LEASE_CLAIM, held = lease->held;
    if (claim)
        key_of_held(&l->list, lease->holder, lease->name);
    enum st_code code = row_put(l);
    return code == ST_OK && claim ? held_write(l, held) : code;
}

bool st_lease_decode(struct st_str s, struct st_lease *out)
{
    unsigned flags;
    if (!take_small(&s, FLAGS_LEASE_MAX, &flags) || !st_take_varint(&s, &out->token) ||
        !st_take_varint(&s, &out->incarnation) || !st_take_varint(&s, &out->run) ||
        !st_take_varint(&s, &out->since_ms) || !take_deadlines(&s, &out->deadline, out->earlier) ||
        !st_row_take_bytes(&s, &out->holder) || !st_row_take_bytes(&s, &out->reason) || s.n != 0)
        return false;
    out->held = (flags & FLAG_HELD) != 0;
    out->shared = (flags & FLAG_SHARED) != 0;
    out->outcome = (enum st_claim_outcome)(flags >> OUTCOME_SHIFT);
    return true;
}

static enum st_code lease_get(struct st_ledger *l, struct st_lease *out)
{
    struct st_str value;
    enum st_code code = row_get(l, &value);
    if (code != ST_OK)
        return code;
    return st_lease_decode(value, out) ? ST_OK : ST_DAMAGED;
}

enum st_code st_lease_read(struct st_ledger *l, enum st_lease_kind kind, struct st_str name,
                           struct st_lease *out)
{
    *out = (struct st_lease){.kind = kind, .name = name};
    if (kind == ST_LEASE_PATH || st_name_check(name) != ST_OK)
        return ST_NOT_FOUND;
    key_of_lease(&l->key, kind, name, 0);
    return lease_get(l, out);
}

enum st_code st_reservation_read(struct st_ledger *l, struct st_str pattern, uint64_t token,
                                 struct st_lease *out)
{
    *out = (struct st_lease){.kind = ST_LEASE_PATH, .name = pattern};
    key_of_lease(&l->key, ST_LEASE_PATH, pattern, token);
    return lease_get(l, out);
}

enum st_code st_reservation_delete(struct st_ledger *l, struct st_str pattern, uint64_t token)
{
    key_of_lease(&l->key, ST_LEASE_PATH, pattern, token);
    return row_del(l);
}

/* --- claims ----------------------------------------------------------------------------------- */

enum st_code st_claim_kept_write(struct st_ledger *l, struct st_str name,
                                 const struct st_claim_kept *kept)
{
    struct st_buf *out = &l->value;
    st_buf_reset(out);
    st_buf_add_varint(out, kept->position);
    add_small(out, kept->outcome);
    st_buf_add_varint(out, kept->token);
    st_row_add_bytes(out, kept->by);
    st_buf_add_varint(out, kept->ended_ms);
    st_buf_add_varint(out, kept->checkpoint_token);
    st_buf_add_varint(out, kept->checkpoint_ms);
    st_row_add_bytes(out, kept->result);
    st_row_add_bytes(out, kept->checkpoint);
    key_of(&l->key, 'D', name);
    return row_put(l);
}

static bool kept_decode(struct st_str s, struct st_claim_kept *out)
{
    unsigned outcome;
    if (!st_take_varint(&s, &out->position) || !take_small(&s, ST_CLAIM_RETRY, &outcome) ||
        !st_take_varint(&s, &out->token) || !st_row_take_bytes(&s, &out->by) ||
        !st_take_varint(&s, &out->ended_ms) || !st_take_varint(&s, &out->checkpoint_token) ||
        !st_take_varint(&s, &out->checkpoint_ms) || !st_row_take_bytes(&s, &out->result) ||
        !st_row_take_bytes(&s, &out->checkpoint) || s.n != 0)
        return false;
    out->outcome = (enum st_claim_outcome)outcome;
    return true;
}

enum st_code st_claim_kept_read(struct st_ledger *l, struct st_str name, struct st_claim_kept *out)
{
    struct st_str value;
    *out = (struct st_claim_kept){0};
    key_of(&l->key, 'D', name);
    enum st_code code = row_get(l, &value);
    if (code != ST_OK)
        return code;
    return kept_decode(value, out) ? ST_OK : ST_DAMAGED;
}

struct st_str st_key_note(struct st_buf *out, uint64_t position)
{
    st_buf_reset(out);
    st_buf_add_char(out, 'U');
    st_row_add_u64(out, position);
    return st_buf_str(out);
}

enum st_code st_claim_note_write(struct st_ledger *l, uint64_t position, struct st_str name)
{
    st_buf_reset(&l->value);
    st_row_add_bytes(&l->value, name);
    st_key_note(&l->key, position);
    return row_put(l);
}

enum st_code st_claim_note_delete(struct st_ledger *l, uint64_t position)
{
    st_key_note(&l->key, position);
    return row_del(l);
}

/* --- clearances ------------------------------------------------------------------------------- */

enum st_code st_clear_read(struct st_ledger *l, struct st_str key, uint64_t generation, bool *found,
                           struct st_str *person, struct st_str *evidence)
{
    struct st_str value;
    uint64_t of;
    *found = false;
    key_of(&l->key, 'C', key);
    enum st_code code = row_get(l, &value);
    if (code != ST_OK)
        return code == ST_NOT_FOUND ? ST_OK : code;
    if (!st_take_varint(&value, &of) || !st_row_take_bytes(&value, person) ||
        !st_row_take_bytes(&value, evidence) || value.n != 0)
        return ST_DAMAGED;
    *found = of == generation;
    return ST_OK;
}

enum st_code st_clear_write(struct st_ledger *l, struct st_str key, uint64_t generation,
                            const struct st_command *c)
{
    st_buf_reset(&l->value);
    st_buf_add_varint(&l->value, generation);
    st_row_add_bytes(&l->value, c->person);
    st_row_add_bytes(&l->value, c->evidence);
    key_of(&l->key, 'C', key);
    return row_put(l);
}

enum st_code st_clear_delete(struct st_ledger *l, struct st_str key)
{
    key_of(&l->key, 'C', key);
    return row_del(l);
}
