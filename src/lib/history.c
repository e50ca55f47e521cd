/*
 * history.c - events, history, the state as it was. All from the index's entries (every operation
 * in the order in which this replica applied it, chained by attribute) and the records behind them.
 */
#include "lib/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const int public_kinds[] = {
    [ST_OP_UNKNOWN] = STRATA_OP_OTHER, [ST_OP_SET] = STRATA_SET,       [ST_OP_UNSET] = STRATA_UNSET,
    [ST_OP_ADD] = STRATA_ADD,          [ST_OP_REMOVE] = STRATA_REMOVE, [ST_OP_COUNT] = STRATA_COUNT,
    [ST_OP_BEAT] = STRATA_BEAT,        [ST_OP_SEEN] = STRATA_SEEN,     [ST_OP_ACK] = STRATA_ACK,
};

static enum st_code entry_record(strata *s, uint64_t number, struct st_index_entry *entry,
                                 struct st_record *r)
{
    enum st_code code = st_index_entry(s->index, number, entry);
    return code == ST_OK ? st_index_record(s->index, entry, r) : code;
}

static enum st_code event_of(strata *s, uint64_t number, const struct st_index_entry *entry,
                             const struct st_record *r, strata_event *out)
{
    const struct st_op *op = &r->ops[entry->op];
    struct st_str value = op->kind == ST_OP_UNKNOWN ? op->raw : op->value;
    char ack[ST_ID_SIZE];
    if (op->kind == ST_OP_ACK) {
        st_id_format(op->dot, 0, ack);
        value = st_str_of(ack);
    }
    *out = (strata_event){
        .cursor = number,
        .time_ms = r->time.ms,
        .agent = st_arena_text(&s->arena, r->agent),
        .replica = st_lib_replica_name(s, r->dot.writer.replica),
        .kind = public_kinds[op->kind],
        .entity = st_arena_text(&s->arena, op->entity),
        .attribute = st_arena_text(&s->arena, op->attribute),
        .value = st_arena_text(&s->arena, value),
        .value_size = value.n,
        .link = op->value_kind == ST_VALUE_LINK,
        .delta = op->delta,
        .first = entry->previous == 0,
    };
    st_id_format(r->dot, entry->op, out->id);
    bool ok =
        out->agent != NULL && out->entity != NULL && out->attribute != NULL && out->value != NULL;
    return ok ? ST_OK : ST_NO_MEMORY;
}

enum st_code st_history_event(strata *s, uint64_t number, strata_event *out)
{
    struct st_index_entry entry;
    struct st_record r;
    enum st_code code = entry_record(s, number, &entry, &r);
    return code == ST_OK ? event_of(s, number, &entry, &r, out) : code;
}

static enum st_code newest(strata *s, struct st_str entity, struct st_str attribute,
                           uint64_t *number)
{
    struct st_buf key;
    st_buf_init(&key, st_alloc_libc());
    st_key_register(&key, entity, attribute);
    enum st_code code =
        key.failed ? ST_NO_MEMORY : st_index_head(s->index, st_buf_str(&key), number);
    st_buf_release(&key);
    return code;
}

enum st_code st_history_find(strata *s, struct st_str entity, struct st_str attribute,
                             struct st_dot dot, uint32_t op, uint64_t *number)
{
    enum st_code code = newest(s, entity, attribute, number);
    while (code == ST_OK && *number != 0) {
        struct st_index_entry entry;
        struct st_record r;
        code = entry_record(s, *number, &entry, &r);
        if (code == ST_OK && entry.op == op && st_dot_compare(r.dot, dot) == 0)
            return ST_OK;
        *number = entry.previous;
    }
    return code == ST_OK ? ST_NOT_FOUND : code;
}

/* --- as it was -------------------------------------------------------------------------------- */

static bool add_item(strata_item *items, size_t *count, const strata_event *e)
{
    strata_item item = {
        .kind = e->kind == STRATA_UNSET ? STRATA_ITEM_ABSENT
                : e->kind == STRATA_ADD ? STRATA_ITEM_MEMBER
                                        : STRATA_ITEM_VALUE,
        .link = e->link,
        .value = e->value,
        .value_size = e->value_size,
        .time_ms = e->time_ms,
        .agent = e->agent,
        .replica = e->replica,
        .shown = e->kind != STRATA_UNSET,
    };
    memcpy(item.id, e->id, sizeof item.id);
    items[(*count)++] = item;
    return true;
}

static void drop_member(strata_item *items, size_t *count, const strata_event *e)
{
    size_t kept = 0;
    for (size_t i = 0; i < *count; i++) {
        const strata_item *m = &items[i];
        bool same = m->link == e->link && m->value_size == e->value_size &&
                    memcmp(m->value, e->value, e->value_size) == 0;
        if (!same)
            items[kept++] = items[i];
    }
    *count = kept;
}

/* Whether this operation replaced all that its writer knew of the attribute. */
static bool replaces_all(const struct st_record *r, uint32_t op, const struct st_writer *by)
{
    return st_writer_compare(r->dot.writer, *by) == 0 &&
           (r->ops[op].kind == ST_OP_SET || r->ops[op].kind == ST_OP_UNSET);
}

/* The numbers of an attribute's entries from `number` back, newest first: up to a time; back to
 * where `by`, if not NULL, replaced all. */
static enum st_code entries_until(strata *s, uint64_t number, uint64_t as_of_ms,
                                  const struct st_writer *by, uint64_t **out, size_t *count)
{
    size_t cap = 0;
    enum st_code code = ST_OK;
    bool enough = false;
    *out = NULL;
    *count = 0;
    while (code == ST_OK && number != 0 && !enough) {
        struct st_index_entry entry;
        struct st_record r;
        code = entry_record(s, number, &entry, &r);
        if (code != ST_OK)
            break;
        if (r.time.ms <= as_of_ms) {
            if (!st_grow(out, &cap, *count + 1, sizeof **out))
                return ST_NO_MEMORY;
            (*out)[(*count)++] = number;
        }
        enough = by != NULL && replaces_all(&r, entry.op, by);
        number = entry.previous;
    }
    return code;
}

/* Of values written at the same time elsewhere the later in time counts, as it was shown then. */
static enum st_code replay(strata *s, const uint64_t *numbers, size_t n, strata_attribute *out)
{
    strata_item *items = st_arena_take(&s->arena, (n + 1) * sizeof *items);
    if (items == NULL)
        return ST_NO_MEMORY;
    size_t count = 0;
    bool single = false;
    for (size_t i = n; i > 0; i--) {
        strata_event e;
        enum st_code code = st_history_event(s, numbers[i - 1], &e);
        if (code != ST_OK)
            return code;
        if (e.kind == STRATA_SET || e.kind == STRATA_UNSET) {
            if (single && count == 1 && items[0].time_ms > e.time_ms)
                continue;
            count = 0;
            single = true;
            add_item(items, &count, &e);
        } else if (e.kind == STRATA_ADD) {
            if (single && count == 1 && items[0].kind == STRATA_ITEM_ABSENT)
                count = 0;
            single = false;
            drop_member(items, &count, &e);
            add_item(items, &count, &e);
        } else if (e.kind == STRATA_REMOVE) {
            drop_member(items, &count, &e);
        }
    }
    out->items = items;
    out->count = count;
    out->present = count > 0 && items[0].kind != STRATA_ITEM_ABSENT;
    if (count == 1 && items[0].kind == STRATA_ITEM_VALUE)
        out->shown = &items[0];
    return ST_OK;
}

enum st_code st_history_as_of(strata *s, const char *entity, const char *attribute,
                              uint64_t as_of_ms, strata_attribute *out)
{
    uint64_t *numbers = NULL;
    size_t n = 0;
    *out = (strata_attribute){
        .entity = st_arena_text(&s->arena, st_str_of(entity)),
        .attribute = st_arena_text(&s->arena, st_str_of(attribute)),
    };
    if (out->entity == NULL || out->attribute == NULL)
        return ST_NO_MEMORY;
    uint64_t number;
    enum st_code code = newest(s, st_str_of(entity), st_str_of(attribute), &number);
    if (code == ST_OK)
        code = entries_until(s, number, as_of_ms, NULL, &numbers, &n);
    if (code == ST_OK)
        code = replay(s, numbers, n, out);
    free(numbers);
    return code;
}

enum st_code st_history_before(strata *s, uint64_t number, strata_attribute *out)
{
    uint64_t *numbers = NULL;
    size_t n = 0;
    struct st_index_entry entry;
    struct st_record r;
    *out = (strata_attribute){.entity = "", .attribute = ""};
    enum st_code code = entry_record(s, number, &entry, &r);
    struct st_writer by = r.dot.writer;
    if (code == ST_OK)
        code = entries_until(s, entry.previous, UINT64_MAX, &by, &numbers, &n);
    if (code == ST_OK)
        code = replay(s, numbers, n, out);
    free(numbers);
    return code;
}

/* --- history ---------------------------------------------------------------------------------- */

/* One attribute's chain, being walked from its newest entry back. */
struct chain {
    uint64_t number;
};

struct chains {
    strata *s;
    struct chain *list;
    size_t count, cap;
    struct st_buf names; /* entity NUL attribute NUL */
    /* What is live, as (dot, operation). */
    struct live {
        struct st_dot dot;
        uint32_t op;
    } * live;
    size_t live_count, live_cap;
};

static enum st_code collect(void *arg, const struct st_attribute *a)
{
    struct chains *c = arg;
    st_buf_add(&c->names, a->entity.p, a->entity.n);
    st_buf_add_char(&c->names, '\0');
    st_buf_add(&c->names, a->attribute.p, a->attribute.n);
    st_buf_add_char(&c->names, '\0');
    if (!st_grow(&c->live, &c->live_cap, c->live_count + a->count, sizeof *c->live))
        return ST_NO_MEMORY;
    for (size_t i = 0; i < a->count; i++)
        c->live[c->live_count++] = (struct live){a->items[i].dot, a->items[i].op};
    return c->names.failed ? ST_NO_MEMORY : ST_OK;
}

static enum st_code chains_begin(struct chains *c)
{
    const char *p = c->names.p, *end = c->names.p + c->names.n;
    while (p != NULL && p < end) {
        const char *entity = p, *attribute = p + strlen(p) + 1;
        p = attribute + strlen(attribute) + 1;
        if (!st_grow(&c->list, &c->cap, c->count + 1, sizeof *c->list))
            return ST_NO_MEMORY;
        enum st_code code =
            newest(c->s, st_str_of(entity), st_str_of(attribute), &c->list[c->count++].number);
        if (code != ST_OK)
            return code;
    }
    return ST_OK;
}

static bool is_live(const struct chains *c, struct st_dot dot, uint32_t op)
{
    for (size_t i = 0; i < c->live_count; i++)
        if (c->live[i].op == op && st_dot_compare(c->live[i].dot, dot) == 0)
            return true;
    return false;
}

static enum st_code chains_visit(struct chains *c, size_t limit,
                                 int (*visit)(void *arg, const strata_event *e), void *arg,
                                 int *result)
{
    for (size_t n = 0; limit == 0 || n < limit; n++) {
        struct chain *best = NULL;
        for (size_t i = 0; i < c->count; i++)
            if (c->list[i].number != 0 && (best == NULL || c->list[i].number > best->number))
                best = &c->list[i];
        if (best == NULL)
            return ST_OK;
        struct st_index_entry entry;
        struct st_record r;
        strata_event e;
        st_arena_reset(&c->s->arena);
        enum st_code code = entry_record(c->s, best->number, &entry, &r);
        if (code == ST_OK)
            code = event_of(c->s, best->number, &entry, &r, &e);
        if (code != ST_OK)
            return code;
        e.current = is_live(c, r.dot, entry.op);
        best->number = entry.previous;
        *result = visit(arg, &e);
        if (*result != 0)
            return ST_OK;
    }
    return ST_OK;
}

int strata_history(strata *s, const char *entity, const char *attribute, size_t limit,
                   int (*visit)(void *arg, const strata_event *e), void *arg)
{
    int code = st_lib_name(s, "entity", entity);
    if (code == STRATA_OK && attribute != NULL)
        code = st_lib_name(s, "attribute", attribute);
    if (code == STRATA_OK)
        code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    struct chains c = {.s = s};
    st_buf_init(&c.names, st_alloc_libc());
    enum st_code got;
    int result = 0;
    const struct st_kv *kv = st_index_kv(s->index);
    if (attribute != NULL) {
        struct st_attribute a;
        got = st_attribute_read(kv, st_str_of(entity), st_str_of(attribute), &s->read, &a);
        if (got == ST_OK)
            got = collect(&c, &a);
    } else {
        got = st_attribute_each(kv, st_str_of(entity), (struct st_str){"", 0},
                                (struct st_str){"", 0}, &s->read, collect, &c);
    }
    if (got == ST_OK)
        got = chains_begin(&c);
    if (got == ST_OK)
        got = chains_visit(&c, limit, visit, arg, &result);
    if (got != ST_OK)
        code = st_lib_index_fault(s, got);
    st_lib_end(s);
    free(c.list);
    free(c.live);
    st_buf_release(&c.names);
    return code == STRATA_OK && result < 0 ? result : code;
}

/* --- events ----------------------------------------------------------------------------------- */

int strata_events(strata *s, uint64_t after, size_t limit, uint64_t *next,
                  int (*visit)(void *arg, const strata_event *e), void *arg)
{
    *next = after;
    int code = st_lib_begin(s), result = 0;
    if (code != STRATA_OK)
        return code;
    struct st_index_totals totals;
    st_index_totals(s->index, &totals);
    enum st_code got = ST_OK;
    for (size_t n = 0; got == ST_OK && result == 0 && *next < totals.entries; n++) {
        if (limit != 0 && n == limit)
            break;
        strata_event e;
        st_arena_reset(&s->arena);
        got = st_history_event(s, *next + 1, &e);
        if (got != ST_OK)
            break;
        result = visit(arg, &e);
        (*next)++;
    }
    if (got != ST_OK)
        code = st_lib_index_fault(s, got);
    st_lib_end(s);
    return code == STRATA_OK && result < 0 ? result : code;
}

int strata_events_end(strata *s, uint64_t *cursor)
{
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    struct st_index_totals totals;
    st_index_totals(s->index, &totals);
    *cursor = totals.entries;
    st_lib_end(s);
    return STRATA_OK;
}

/* How often a follower looks: a person does not notice, a core does not mind. Nanoseconds. */
#define POLL_NS 20000000ull

int strata_events_wait(strata *s, uint64_t after, uint32_t wait_ms)
{
    const struct st_env *env = s->log.env;
    uint64_t start = env->boot_ns(env->ctx);
    uint64_t cursor;
    int code = strata_events_end(s, &cursor);
    struct st_tail first, now;
    if (code != STRATA_OK || cursor > after)
        return code;
    enum st_code got = st_log_tail(&s->log, &first);
    while (got == ST_OK && env->boot_ns(env->ctx) - start < (uint64_t)wait_ms * 1000000) {
        env->sleep_ns(env->ctx, POLL_NS);
        got = st_log_tail(&s->log, &now);
        if (now.counter != first.counter || now.checksum != first.checksum)
            break;
    }
    return got == ST_OK ? STRATA_OK : st_lib_fault(s, &s->log.fault);
}
