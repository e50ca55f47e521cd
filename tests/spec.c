/*
 * spec.c - the plain specification; see spec.h and the head of core/state.h.
 */
#include "spec.h"

static bool same_writer(struct st_writer a, struct st_writer b)
{
    return a.replica == b.replica && a.epoch == b.epoch;
}

static bool same_dot(struct st_dot a, struct st_dot b)
{
    return same_writer(a.writer, b.writer) && a.counter == b.counter;
}

static bool same_text(struct st_str a, struct st_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static int order_u64(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

static int order_text(struct st_str a, struct st_str b)
{
    for (size_t i = 0; i < a.n && i < b.n; i++) {
        if (a.p[i] != b.p[i])
            return (unsigned char)a.p[i] < (unsigned char)b.p[i] ? -1 : 1;
    }
    return order_u64(a.n, b.n);
}

static int order_dot(struct st_dot a, struct st_dot b)
{
    if (a.writer.replica != b.writer.replica)
        return order_u64(a.writer.replica, b.writer.replica);
    if (a.writer.epoch != b.writer.epoch)
        return order_u64(a.writer.epoch, b.writer.epoch);
    return order_u64(a.counter, b.counter);
}

static int order_time(struct st_hlc a, struct st_hlc b)
{
    return a.ms != b.ms ? order_u64(a.ms, b.ms) : order_u64(a.logical, b.logical);
}

static bool covers(const struct st_vector *v, struct st_dot d)
{
    for (size_t i = 0; i < v->count; i++) {
        if (same_writer(v->entries[i].writer, d.writer) && d.counter <= v->entries[i].counter)
            return true;
    }
    return false;
}

/* Whether the "at" of an operation has the record. */
static bool names(const struct st_op *op, struct st_dot d)
{
    for (size_t i = 0; i < op->at_count; i++)
        if (st_dot_compare(op->at[i], d) == 0)
            return true;
    return false;
}

/* Whether the writer of r, when it wrote r, had seen the record d. */
static bool had_seen(const struct spec *s, const struct st_record *r, struct st_dot d)
{
    if (same_writer(r->dot.writer, d.writer) && d.counter < r->dot.counter)
        return true;
    for (size_t i = 0; i < s->record_count; i++) {
        const struct st_record *k = s->records[i];
        if (!same_writer(k->dot.writer, r->dot.writer) || k->dot.counter > r->dot.counter)
            continue;
        for (size_t j = 0; j < k->op_count; j++) {
            if (k->ops[j].kind == ST_OP_SEEN && covers(&k->ops[j].vector, d))
                return true;
        }
    }
    return false;
}

static bool in_context(const struct spec *s, const struct spec_op *of, const struct spec_op *what)
{
    if (of->r == what->r)
        return !of->op->has_at && what->index < of->index;
    return had_seen(s, of->r, what->r->dot) && (!of->op->has_at || names(of->op, what->r->dot));
}

static bool is_write(const struct st_op *op)
{
    return op->kind == ST_OP_SET || op->kind == ST_OP_UNSET;
}

static bool is_about_attribute(const struct st_op *op)
{
    return is_write(op) || op->kind == ST_OP_ADD || op->kind == ST_OP_REMOVE;
}

static bool same_member(const struct st_op *a, const struct st_op *b)
{
    return a->value_kind == b->value_kind && same_text(a->value, b->value);
}

/* The table of state.h. */
static bool supersedes(const struct spec *s, const struct spec_op *a, const struct spec_op *b)
{
    if (!is_about_attribute(a->op) || !is_about_attribute(b->op) ||
        !same_text(a->op->entity, b->op->entity) ||
        !same_text(a->op->attribute, b->op->attribute) || !in_context(s, a, b))
        return false;
    switch (a->op->kind) {
    case ST_OP_SET:
    case ST_OP_UNSET:
        return true;
    case ST_OP_ADD:
        return b->op->kind == ST_OP_UNSET ||
               (b->op->kind == ST_OP_ADD && same_member(a->op, b->op));
    case ST_OP_REMOVE:
        return b->op->kind == ST_OP_ADD && same_member(a->op, b->op);
    default:
        return false;
    }
}

void spec_init(struct spec *s, const struct st_record *const *records, size_t count)
{
    ST_ASSERT(count <= SPEC_RECORDS_MAX);
    s->record_count = count;
    s->op_count = 0;
    for (size_t i = 0; i < count; i++) {
        s->records[i] = records[i];
        for (uint32_t j = 0; j < records[i]->op_count; j++) {
            ST_ASSERT(s->op_count < SPEC_OPS_MAX);
            s->ops[s->op_count++] = (struct spec_op){records[i], &records[i]->ops[j], i, j, false};
        }
    }
    for (size_t i = 0; i < s->op_count; i++) {
        struct spec_op *o = &s->ops[i];
        o->live = is_write(o->op) || o->op->kind == ST_OP_ADD;
        for (size_t j = 0; j < s->op_count && o->live; j++)
            o->live = !supersedes(s, &s->ops[j], o);
    }
}

static struct st_item item_of(const struct spec_op *o)
{
    struct st_item item = {
        .kind = o->op->kind == ST_OP_SET     ? ST_ITEM_VALUE
                : o->op->kind == ST_OP_UNSET ? ST_ITEM_ABSENT
                                             : ST_ITEM_MEMBER,
        .dot = o->r->dot,
        .op = o->index,
        .time = o->r->time,
        .agent = o->r->agent,
    };
    if (o->op->kind != ST_OP_UNSET) {
        item.value_kind = o->op->value_kind;
        item.value = o->op->value;
    }
    return item;
}

static int order_late(const struct st_item *a, const struct st_item *b)
{
    int order = order_time(a->time, b->time);
    if (order == 0)
        order = order_dot(a->dot, b->dot);
    return order != 0 ? order : order_u64(a->op, b->op);
}

static bool is_time(struct st_str attribute)
{
    return attribute.n >= 3 && memcmp(attribute.p + attribute.n - 3, "_at", 3) == 0;
}

/*
 * The index of what is shown of some items, register items first: the latest of them, or the
 * greatest of the values when times are meant. count: a set is shown, or nothing.
 */
static size_t shown_of(const struct st_item *items, size_t count, bool times)
{
    size_t values = 0;
    size_t members = 0;
    size_t best = count;
    for (size_t i = 0; i < count; i++) {
        values += items[i].kind == ST_ITEM_VALUE;
        members += items[i].kind == ST_ITEM_MEMBER;
    }
    if (members > 0 && values == 0)
        return count;
    for (size_t i = 0; i < count; i++) {
        if (items[i].kind == ST_ITEM_MEMBER)
            continue;
        if (times && values > 0 && items[i].kind == ST_ITEM_ABSENT)
            continue;
        int order = 1;
        if (best < count && times)
            order = order_text(items[i].value, items[best].value);
        if (best < count && (!times || order == 0))
            order = order_late(&items[i], &items[best]);
        if (order > 0)
            best = i;
    }
    return best;
}

/* What o, arriving, took away here: what it supersedes and nothing had superseded before. */
static size_t killed_by(const struct spec *s, const struct spec_op *o, struct st_item *out)
{
    size_t count = 0;
    for (size_t i = 0; i < s->op_count; i++) {
        const struct spec_op *victim = &s->ops[i];
        if (victim->op->kind == ST_OP_REMOVE || !supersedes(s, o, victim))
            continue;
        bool dead = false;
        for (const struct spec_op *earlier = s->ops; earlier < o && !dead; earlier++)
            dead = supersedes(s, earlier, victim);
        if (!dead)
            out[count++] = item_of(victim);
    }
    return count;
}

static void fill_over(const struct spec *s, const struct spec_op *o, struct st_item *item)
{
    struct st_item killed[SPEC_OPS_MAX];
    size_t count = killed_by(s, o, killed);
    if (!is_write(o->op) || count == 0)
        return;
    size_t best = shown_of(killed, count, is_time(o->op->attribute));
    if (best == count) { /* a set was shown: the member added last */
        for (size_t i = 0; i < count; i++) {
            if (killed[i].kind == ST_ITEM_MEMBER &&
                (best == count || order_late(&killed[i], &killed[best]) > 0))
                best = i;
        }
    }
    item->over = killed[best].dot;
    item->over_op = killed[best].op;
    item->over_count = (uint32_t)count;
}

/* Register items by (dot, op), then members by (kind, value, dot, op). */
static int order_listed(const struct st_item *a, const struct st_item *b)
{
    bool a_member = a->kind == ST_ITEM_MEMBER;
    bool b_member = b->kind == ST_ITEM_MEMBER;
    if (a_member != b_member)
        return a_member ? 1 : -1;
    int order = 0;
    if (a_member) {
        order = order_u64(a->value_kind, b->value_kind);
        if (order == 0)
            order = order_text(a->value, b->value);
    }
    if (order == 0)
        order = order_dot(a->dot, b->dot);
    return order != 0 ? order : order_u64(a->op, b->op);
}

static bool contradict(const struct st_item *x, const struct st_item *y, bool times)
{
    if (y->kind == ST_ITEM_MEMBER)
        return x->kind == ST_ITEM_VALUE;
    if (x->kind != y->kind)
        return true;
    return !times && (x->value_kind != y->value_kind || !same_text(x->value, y->value));
}

static bool pending_of(const struct spec_attribute *a, bool times)
{
    for (size_t i = 0; i < a->count; i++)
        for (size_t j = 0; j < i; j++)
            if (contradict(&a->items[j], &a->items[i], times))
                return true;
    return false;
}

void spec_attribute(const struct spec *s, struct st_str entity, struct st_str attribute,
                    struct spec_attribute *out)
{
    out->count = 0;
    out->written = false;
    for (size_t i = 0; i < s->op_count; i++) {
        const struct spec_op *o = &s->ops[i];
        if (!is_about_attribute(o->op) || !same_text(o->op->entity, entity) ||
            !same_text(o->op->attribute, attribute))
            continue;
        out->written = true;
        if (!o->live)
            continue;
        struct st_item item = item_of(o);
        fill_over(s, o, &item);
        size_t at = out->count++;
        for (; at > 0 && order_listed(&out->items[at - 1], &item) > 0; at--)
            out->items[at] = out->items[at - 1];
        out->items[at] = item;
    }
    bool times = is_time(attribute);
    out->shown = shown_of(out->items, out->count, times);
    out->pending = pending_of(out, times);
    out->present = out->shown < out->count && out->items[out->shown].kind == ST_ITEM_VALUE;
    for (size_t i = 0; i < out->count; i++)
        out->present = out->present || out->items[i].kind == ST_ITEM_MEMBER;
}

#define LIMIT ((__int128)1 << 62)

static __int128 clamp(__int128 v)
{
    return v > LIMIT ? LIMIT : v < -LIMIT ? -LIMIT : v;
}

/* One writer's sum: its increments in the order it made them; a sum at its limit stays. */
static __int128 sum_of(const struct spec *s, struct st_writer w, struct st_str name, bool *any)
{
    __int128 sum = 0;
    for (size_t i = 0; i < s->op_count; i++) {
        const struct spec_op *o = &s->ops[i];
        if (o->op->kind != ST_OP_COUNT || !same_text(o->op->entity, name) ||
            !same_writer(o->r->dot.writer, w))
            continue;
        *any = true;
        if (sum != LIMIT && sum != -LIMIT)
            sum = clamp(sum + o->op->delta);
    }
    return sum;
}

bool spec_counter(const struct spec *s, struct st_str name, int64_t *total)
{
    bool any = false;
    __int128 all = 0;
    int at_limit = 0;
    bool limited = false;
    for (size_t i = 0; i < s->record_count; i++) {
        if (s->records[i]->dot.counter != 1)
            continue; /* each writer once */
        __int128 sum = sum_of(s, s->records[i]->dot.writer, name, &any);
        all += sum;
        at_limit += (sum == LIMIT) - (sum == -LIMIT);
        limited = limited || sum == LIMIT || sum == -LIMIT;
    }
    if (at_limit != 0)
        all = at_limit > 0 ? LIMIT : -LIMIT;
    else if (limited) /* limits on both sides: nobody knows the rest */
        all = all < 0 ? -LIMIT : LIMIT;
    *total = (int64_t)clamp(all);
    return any;
}

bool spec_status(const struct spec *s, struct st_str agent, struct st_status_row *out)
{
    const struct spec_op *best = NULL;
    for (size_t i = 0; i < s->op_count; i++) {
        const struct spec_op *o = &s->ops[i];
        if (o->op->kind != ST_OP_BEAT || !same_text(o->r->agent, agent))
            continue;
        int order = 1;
        if (best != NULL) {
            order = order_time(o->r->time, best->r->time);
            if (order == 0)
                order = order_dot(o->r->dot, best->r->dot);
            if (order == 0)
                order = order_u64(o->index, best->index);
        }
        if (order > 0)
            best = o;
    }
    if (best == NULL)
        return false;
    *out = (struct st_status_row){agent, best->op->value, best->r->time, best->r->dot,
                                  best->r->incarnation};
    return true;
}

static bool acknowledged(const struct spec *s, struct st_dot d)
{
    for (size_t i = 0; i < s->op_count; i++) {
        const struct spec_op *o = &s->ops[i];
        if (o->op->kind == ST_OP_ACK && same_dot(o->op->dot, d) && had_seen(s, o->r, d))
            return true;
    }
    return false;
}

static bool unseen_row(const struct spec *s, const struct spec_op *o, struct st_unseen_row *row)
{
    struct st_item killed[SPEC_OPS_MAX];
    if (!is_write(o->op) || o->op->dot.counter == 0 || acknowledged(s, o->r->dot))
        return false;
    size_t count = killed_by(s, o, killed);
    const struct st_item *last = NULL;
    uint32_t lost = 0;
    for (size_t i = 0; i < count; i++) {
        if (killed[i].kind == ST_ITEM_MEMBER || same_dot(killed[i].dot, o->op->dot) ||
            same_text(killed[i].agent, o->r->agent))
            continue;
        lost++;
        if (last == NULL || order_late(&killed[i], last) > 0)
            last = &killed[i];
    }
    if (lost == 0)
        return false;
    *row = (struct st_unseen_row){
        .dot = o->r->dot,
        .op = o->index,
        .entity = o->op->entity,
        .attribute = o->op->attribute,
        .agent = o->r->agent,
        .time = o->r->time,
        .lost = last->dot,
        .lost_agent = last->agent,
        .lost_time = last->time,
        .lost_kind = last->kind,
        .lost_value_kind = last->value_kind,
        .lost_value = last->value,
        .lost_count = lost,
    };
    return true;
}

size_t spec_unseen(const struct spec *s, struct st_unseen_row *out)
{
    size_t count = 0;
    for (size_t i = 0; i < s->op_count; i++) {
        struct st_unseen_row row;
        if (!unseen_row(s, &s->ops[i], &row))
            continue;
        size_t at = count++;
        for (; at > 0; at--) {
            int order = order_dot(out[at - 1].dot, row.dot);
            if (order < 0 || (order == 0 && out[at - 1].op < row.op))
                break;
            out[at] = out[at - 1];
        }
        out[at] = row;
    }
    return count;
}
