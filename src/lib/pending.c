/* pending.c - what waits for somebody: values written at the same time elsewhere, and values
 * overwritten by an author who had read something older. */
#include "lib/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Operations that settle one conflict: the parts of a document, and an absence for each part of a
 * longer one beside it. */
#define ST_SETTLEMENT_MAX (2 * ST_DOCUMENT_PARTS_MAX)

/* Identifiers are short for people: 32 bits of a hash of the attribute (or of the write). */
static void conflict_id(struct st_str key, char out[ST_ID_SIZE])
{
    snprintf(out, ST_ID_SIZE, "c%08" PRIx32, (uint32_t)st_checksum(key.p, key.n));
}

static void unseen_id(struct st_str key, char out[ST_ID_SIZE])
{
    snprintf(out, ST_ID_SIZE, "u%08" PRIx32, (uint32_t)st_checksum(key.p, key.n));
}

/* --- collecting keys: a visitor must not read the store --------------------------------------- */

struct keys {
    struct st_buf bytes; /* size (8), key */
    size_t count, limit;
    const char *wanted; /* only the key with this id */
    void (*id_of)(struct st_str key, char out[ST_ID_SIZE]);
};

static enum st_code collect_key(void *arg, struct st_str key, struct st_str value)
{
    struct keys *k = arg;
    (void)value;
    if (k->wanted != NULL) {
        char id[ST_ID_SIZE];
        k->id_of(key, id);
        if (strcmp(id, k->wanted) != 0)
            return ST_OK;
    }
    uint64_t n = key.n;
    st_buf_add(&k->bytes, &n, sizeof n);
    st_buf_add_str(&k->bytes, key);
    k->count++;
    if (k->bytes.failed)
        return ST_NO_MEMORY;
    bool enough = (k->limit != 0 && k->count >= k->limit) || k->wanted != NULL;
    return enough ? ST_SCAN_STOP : ST_OK;
}

static bool next_key(struct st_str *rest, struct st_str *key)
{
    uint64_t n;
    if (rest->n < sizeof n)
        return false;
    memcpy(&n, rest->p, sizeof n);
    *key = (struct st_str){rest->p + sizeof n, (size_t)n};
    rest->p += sizeof n + n;
    rest->n -= sizeof n + (size_t)n;
    return true;
}

static enum st_code keys_collect(strata *s, const char *prefix, size_t limit, const char *wanted,
                                 struct keys *k)
{
    *k = (struct keys){
        .limit = limit, .wanted = wanted, .id_of = prefix[0] == 'p' ? conflict_id : unseen_id};
    st_buf_init(&k->bytes, st_alloc_libc());
    const struct st_kv *kv = st_index_kv(s->index);
    return kv->scan(kv->ctx, st_str_of(prefix), (struct st_str){"", 0}, collect_key, k);
}

/* --- reading one ------------------------------------------------------------------------------ */

static enum st_code conflict_of(strata *s, struct st_str key, strata_pending *out)
{
    struct st_str entity, attribute;
    struct st_attribute a;
    strata_attribute converted;
    if (!st_key_split(key, &entity, &attribute))
        return ST_DAMAGED;
    enum st_code code = st_attribute_read(st_index_kv(s->index), entity, attribute, &s->read, &a);
    if (code != ST_OK)
        return code;
    if (!st_lib_attribute(s, &a, &converted))
        return ST_NO_MEMORY;
    *out = (strata_pending){
        .kind = STRATA_PENDING_CONFLICT,
        .entity = converted.entity,
        .attribute = converted.attribute,
        .items = converted.items,
        .count = converted.count,
    };
    conflict_id(key, out->id);
    return ST_OK;
}

static enum st_code unseen_row(strata *s, struct st_str key, struct st_unseen_row *row)
{
    const struct st_kv *kv = st_index_kv(s->index);
    struct st_str value;
    enum st_code code = kv->get(kv->ctx, key, &value);
    return code == ST_OK ? st_unseen_decode(key, value, row) : code;
}

static enum st_code unseen_of(strata *s, struct st_str key, strata_pending *out)
{
    struct st_unseen_row row;
    enum st_code code = unseen_row(s, key, &row);
    if (code != ST_OK)
        return code;
    strata_item *items = st_arena_take(&s->arena, 2 * sizeof *items);
    *out = (strata_pending){
        .kind = STRATA_PENDING_UNSEEN,
        .entity = st_arena_text(&s->arena, row.entity),
        .attribute = st_arena_text(&s->arena, row.attribute),
        .items = items,
        .count = 2,
    };
    unseen_id(key, out->id);
    struct st_item lost = {.kind = row.lost_kind,
                           .value_kind = row.lost_value_kind,
                           .value = row.lost_value,
                           .dot = row.lost,
                           .time = row.lost_time,
                           .agent = row.lost_agent};
    if (items == NULL || out->entity == NULL || out->attribute == NULL ||
        !st_lib_item(s, &lost, &items[0]))
        return ST_NO_MEMORY;
    /* What the overwriting write wrote, from the log. */
    uint64_t number;
    strata_event e;
    code = st_history_find(s, st_str_of(out->entity), st_str_of(out->attribute), row.dot, row.op,
                           &number);
    if (code == ST_OK)
        code = st_history_event(s, number, &e);
    if (code != ST_OK)
        return code;
    items[1] = (strata_item){
        .kind = e.kind == STRATA_UNSET ? STRATA_ITEM_ABSENT : STRATA_ITEM_VALUE,
        .link = e.link,
        .value = e.value,
        .value_size = e.value_size,
        .time_ms = e.time_ms,
        .agent = e.agent,
        .replica = e.replica,
    };
    memcpy(items[1].id, e.id, sizeof e.id);
    return ST_OK;
}

int strata_pending_each(strata *s, int kind, size_t limit,
                        int (*visit)(void *arg, const strata_pending *p), void *arg)
{
    bool unseen = kind == STRATA_PENDING_UNSEEN;
    int code = st_lib_begin(s), result = 0;
    if (code != STRATA_OK)
        return code;
    struct keys k;
    enum st_code got = keys_collect(s, unseen ? "u" : "p", limit, NULL, &k);
    struct st_str rest = st_buf_str(&k.bytes), key;
    while (got == ST_OK && result == 0 && next_key(&rest, &key)) {
        strata_pending p;
        st_arena_reset(&s->arena);
        got = unseen ? unseen_of(s, key, &p) : conflict_of(s, key, &p);
        if (got == ST_OK)
            result = visit(arg, &p);
    }
    if (got != ST_OK)
        code = st_lib_index_fault(s, got);
    st_buf_release(&k.bytes);
    st_lib_end(s);
    return code == STRATA_OK && result < 0 ? result : code;
}

/* --- settling --------------------------------------------------------------------------------- */

/* The record is appended: waits until it is on disk. */
static int written_op(strata *s, const struct st_record *r, strata_written *written)
{
    if (st_log_wait_durable(&s->log, r->dot.writer.epoch, r->dot.counter) != ST_OK)
        return st_lib_fault(s, &s->log.fault);
    if (written != NULL) {
        st_id_format(r->dot, 0, written->id);
        written->time_ms = r->time.ms;
    }
    return STRATA_OK;
}

static int write_op(strata *s, struct st_op *op, strata_written *written)
{
    struct st_record r = {
        .agent = st_str_of(s->agent), .incarnation = s->incarnation, .ops = op, .op_count = 1};
    enum st_code code = st_log_write(&s->log, &r, false);
    st_lib_log_notices(s);
    return code == ST_OK ? written_op(s, &r, written) : st_lib_fault(s, &s->log.fault);
}

static int not_pending(strata *s, const char *id)
{
    st_lib_fail(s, ST_NOT_FOUND, "nothing pending has the id '%.40s'", id);
    st_lib_hint(s, "`strata pending` lists what is; somebody may have settled it");
    return ST_NOT_FOUND;
}

static int acknowledge(strata *s, const char *id, strata_written *written)
{
    struct keys k;
    struct st_unseen_row row;
    int result = st_lib_begin(s);
    if (result != STRATA_OK)
        return result;
    enum st_code code = keys_collect(s, "u", 0, id, &k);
    struct st_str rest = st_buf_str(&k.bytes), key;
    bool found = code == ST_OK && next_key(&rest, &key);
    if (found)
        code = unseen_row(s, key, &row);
    st_buf_release(&k.bytes);
    struct st_op op = {.kind = ST_OP_ACK};
    if (code == ST_OK && found)
        op.dot = row.dot;
    st_lib_end(s);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    return found ? write_op(s, &op, written) : not_pending(s, id);
}

/* *taken: the candidate, or NULL when it is a new value. */
static int pick(strata *s, const strata_pending *p, const strata_resolution *r, struct st_op *op,
                const strata_item **taken)
{
    const strata_item *chosen = NULL;
    *taken = NULL;
    op->entity = st_str_of(p->entity);
    op->attribute = st_str_of(p->attribute);
    op->kind = ST_OP_SET;
    switch (r->take) {
    case STRATA_TAKE_NUMBER:
        if (r->number < 1 || r->number > p->count)
            return st_lib_fail(s, ST_INVALID, "%s %s has the candidates 1 to %zu, not %zu",
                               p->entity, p->attribute, p->count, r->number);
        chosen = &p->items[r->number - 1];
        break;
    case STRATA_TAKE_LATEST:
        for (size_t i = 0; i < p->count; i++)
            if (chosen == NULL || p->items[i].time_ms > chosen->time_ms ||
                (p->items[i].time_ms == chosen->time_ms && p->items[i].shown && !chosen->shown))
                chosen = &p->items[i];
        break;
    case STRATA_TAKE_VALUE:
        op->value = (struct st_str){r->value,
                                    r->value_size == STRATA_NUL ? strlen(r->value) : r->value_size};
        op->value_kind = r->link ? ST_VALUE_LINK : ST_VALUE_TEXT;
        return STRATA_OK;
    default:
        return st_lib_fail(s, ST_USAGE, "no resolution has the kind %d", r->take);
    }
    if (chosen == NULL)
        return st_lib_fail(s, ST_NOT_FOUND, "%s %s has no candidates", p->entity, p->attribute);
    *taken = chosen;
    if (chosen->kind == STRATA_ITEM_ABSENT) {
        op->kind = ST_OP_UNSET;
        return STRATA_OK;
    }
    op->value = (struct st_str){chosen->value, chosen->value_size};
    op->value_kind = chosen->link ? ST_VALUE_LINK : ST_VALUE_TEXT;
    return STRATA_OK;
}

/* "<replica>-<epoch>-<counter>[.<op>]" */
static bool item_origin(const strata_item *item, struct st_dot *dot, uint32_t *op)
{
    size_t n = strcspn(item->id, ".");
    *op = item->id[n] == '.' ? (uint32_t)strtoul(item->id + n + 1, NULL, 10) : 0;
    return st_dot_parse((struct st_str){item->id, n}, dot);
}

/* What settles it: one operation; of a document, one for each part. */
static int settlement(strata *s, const struct st_op *op, const strata_item *taken,
                      struct st_file_ops *ops)
{
    struct st_dot dot;
    uint32_t number;
    enum st_code code = ST_OK;
    bool version = taken != NULL;
    if (!st_document_part(op->entity, op->attribute))
        code = st_file_ops_add(ops, st_str_of(s->agent), op, NULL, 0) ? ST_OK : ST_NO_MEMORY;
    else if (version && !item_origin(taken, &dot, &number))
        code = ST_DAMAGED;
    else
        code = st_document_settle(s, op, version ? &dot : NULL, version ? number : 0, ops);
    if (code == ST_OK && ops->count > ST_SETTLEMENT_MAX)
        return st_lib_fail(s, ST_LIMIT, "%.*s has more than %d parts", (int)op->entity.n,
                           op->entity.p, ST_SETTLEMENT_MAX);
    return code == ST_OK ? STRATA_OK : st_lib_index_fault(s, code);
}

/* The append lock is held: what is settled here is what is pending now. */
static int settle_locked(strata *s, const char *id, const strata_resolution *resolution,
                         struct st_file_ops *ops)
{
    enum st_code code = st_index_begin_alone(s->index);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    struct keys k;
    code = keys_collect(s, "p", 0, id, &k);
    struct st_str rest = st_buf_str(&k.bytes), key;
    bool found = code == ST_OK && next_key(&rest, &key);
    strata_pending p;
    if (found)
        code = conflict_of(s, key, &p);
    st_buf_release(&k.bytes);
    struct st_op op = {0};
    const strata_item *taken = NULL;
    int result = code != ST_OK ? st_lib_index_fault(s, code)
                 : found       ? pick(s, &p, resolution, &op, &taken)
                               : not_pending(s, id);
    if (result == STRATA_OK)
        result = settlement(s, &op, taken, ops);
    st_lib_end(s);
    return result;
}

/* Of two who settle the same at once the second is told so, and does not replace in silence what
 * the first has decided. */
static int settle(strata *s, const char *id, const strata_resolution *resolution,
                  strata_written *written)
{
    struct st_file_ops ops = {0};
    struct st_op list[ST_SETTLEMENT_MAX];
    struct st_record r = {.agent = st_str_of(s->agent), .incarnation = s->incarnation, .ops = list};
    enum st_code code = st_log_lock(&s->log);
    if (code != ST_OK)
        return st_lib_fault(s, &s->log.fault);
    int result = settle_locked(s, id, resolution, &ops);
    if (result == STRATA_OK) {
        for (; r.op_count < ops.count; r.op_count++)
            list[r.op_count] = ops.list[r.op_count].op;
        code = st_log_append(&s->log, &r, (struct st_hlc){0});
        if (code != ST_OK)
            result = st_lib_fault(s, &s->log.fault);
    }
    st_log_unlock(&s->log);
    st_file_ops_release(&ops);
    st_lib_log_notices(s);
    if (result != STRATA_OK)
        return result;
    return written_op(s, &r, written);
}

int strata_resolve(strata *s, const char *id, const strata_resolution *resolution,
                   strata_written *written)
{
    if (written != NULL)
        memset(written, 0, sizeof *written);
    if (id == NULL || id[0] == '\0')
        return st_lib_fail(s, ST_USAGE, "which one? `strata pending` lists the ids");
    if (id[0] == 'u')
        return acknowledge(s, id, written);
    if (resolution == NULL)
        return st_lib_fail(s, ST_USAGE,
                           "a conflict is settled by a number, the latest, or a value");
    /* Most of the catching up before the lock, not under it. */
    int result = st_lib_begin(s);
    if (result != STRATA_OK)
        return result;
    st_lib_end(s);
    return settle(s, id, resolution, written);
}

int strata_resolve_all(strata *s, const char *entity, size_t *count)
{
    *count = 0;
    int result = st_lib_begin(s);
    if (result != STRATA_OK)
        return result;
    struct keys k;
    enum st_code code = keys_collect(s, "p", 0, NULL, &k);
    st_lib_end(s);
    if (code != ST_OK)
        result = st_lib_index_fault(s, code);
    struct st_str rest = st_buf_str(&k.bytes), key;
    const strata_resolution latest = {.size = sizeof latest, .take = STRATA_TAKE_LATEST};
    while (result == STRATA_OK && next_key(&rest, &key)) {
        struct st_str of, attribute;
        if (entity != NULL &&
            (!st_key_split(key, &of, &attribute) || !st_str_equal(of, st_str_of(entity))))
            continue;
        char id[ST_ID_SIZE];
        conflict_id(key, id);
        result = strata_resolve(s, id, &latest, NULL);
        if (result == STRATA_OK)
            (*count)++;
        else if (result == STRATA_NOT_FOUND)
            result = STRATA_OK; /* somebody else was faster */
    }
    st_buf_release(&k.bytes);
    return result;
}
