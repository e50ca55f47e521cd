/*
 * state.c - applying records: who wrote what so far, and the operations that are not about an
 * attribute (those are in attribute.c).
 *
 * What is known of each writer is held in memory, sorted, and written back by
 * st_state_save(). After an error of the store or of memory, memory may be ahead of the
 * rolled-back store: release the state and initialise it again.
 */
#include "core/state_internal.h"

/* --- the store -------------------------------------------------------------------------------- */

enum st_code st_kv_get(const struct st_kv *kv, struct st_str key, struct st_buf *copy, bool *found)
{
    struct st_str value;
    enum st_code code = kv->get(kv->ctx, key, &value);
    *found = code == ST_OK;
    if (code != ST_OK)
        return code == ST_NOT_FOUND ? ST_OK : code;
    st_buf_reset(copy);
    st_buf_add_str(copy, value);
    return copy->failed ? ST_NO_MEMORY : ST_OK;
}

enum st_code st_kv_put(const struct st_kv *kv, const struct st_buf *key, const struct st_buf *value)
{
    if (key->failed || value->failed)
        return ST_NO_MEMORY;
    return kv->put(kv->ctx, st_buf_str(key), st_buf_str(value));
}

enum st_code st_kv_touch(const struct st_change *c, struct st_str key)
{
    const struct st_kv *kv = c->s->kv;
    return kv->touch != NULL ? kv->touch(kv->ctx, key, c->r, c->index) : ST_OK;
}

/* --- writers ---------------------------------------------------------------------------------- */

/* Index of the first known writer that is not less than w. */
static size_t writer_place(const struct st_state *s, struct st_writer w)
{
    size_t low = 0;
    size_t high = s->writer_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (st_writer_compare(s->writers[middle].writer, w) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool writer_at(const struct st_state *s, size_t at, struct st_writer w)
{
    return at < s->writer_count && st_writer_compare(s->writers[at].writer, w) == 0;
}

const struct st_writer_state *st_state_writer(const struct st_state *s, struct st_writer w)
{
    size_t at = writer_place(s, w);
    return writer_at(s, at, w) && s->writers[at].counter > 0 ? &s->writers[at] : NULL;
}

/* The state of a writer, made when it is new. */
static enum st_code writer_make(struct st_state *s, struct st_writer w,
                                struct st_writer_state **out)
{
    size_t at = writer_place(s, w);
    if (!writer_at(s, at, w)) {
        if (s->writer_count == ST_WRITERS_MAX)
            return ST_LIMIT;
        if (s->writer_count == s->writer_cap) {
            size_t cap = s->writer_cap > 0 ? 2 * s->writer_cap : 4;
            struct st_writer_state *p =
                s->alloc->resize(s->alloc->ctx, s->writers, cap * sizeof(*p));
            if (p == NULL)
                return ST_NO_MEMORY;
            s->writers = p;
            s->writer_cap = cap;
        }
        memmove(&s->writers[at + 1], &s->writers[at],
                (s->writer_count - at) * sizeof(s->writers[0]));
        s->writers[at] = (struct st_writer_state){.writer = w};
        st_vector_init(&s->writers[at].seen, s->alloc);
        s->writer_count++;
    }
    *out = &s->writers[at];
    return ST_OK;
}

static enum st_code decode_writer(struct st_str key, struct st_str row, struct st_writer_state *w)
{
    struct st_str rest = {key.p + 1, key.n - 1};
    uint64_t count;
    if (!st_row_take_writer(&rest, &w->writer) || rest.n != 0 ||
        !st_take_varint(&row, &w->counter) || w->counter == 0 ||
        !st_row_take_u64(&row, &w->checksum) || !st_row_take_time(&row, &w->time) ||
        !st_take_varint(&row, &count) || count > ST_WRITERS_MAX)
        return ST_DAMAGED;
    for (uint64_t i = 0; i < count; i++) {
        struct st_dot d;
        if (!st_row_take_dot(&row, &d))
            return ST_DAMAGED;
        if (!st_vector_raise(&w->seen, d.writer, d.counter))
            return ST_NO_MEMORY;
    }
    return row.n == 0 ? ST_OK : ST_DAMAGED;
}

static enum st_code visit_writer(void *arg, struct st_str key, struct st_str row)
{
    struct st_state *s = arg;
    struct st_writer_state loaded = {.dirty = false};
    struct st_writer_state *w;
    st_vector_init(&loaded.seen, s->alloc);
    enum st_code code = decode_writer(key, row, &loaded);
    if (code == ST_OK)
        code = writer_make(s, loaded.writer, &w);
    if (code == ST_OK && !st_vector_raise(&s->applied, loaded.writer, loaded.counter))
        code = ST_NO_MEMORY;
    if (code != ST_OK) {
        st_vector_release(&loaded.seen);
        return code;
    }
    *w = loaded;
    return ST_OK;
}

enum st_code st_state_init(struct st_state *s, const struct st_kv *kv, const struct st_alloc *alloc)
{
    *s = (struct st_state){.kv = kv, .alloc = alloc};
    st_vector_init(&s->applied, alloc);
    st_buf_init(&s->key, alloc);
    st_buf_init(&s->value, alloc);
    st_buf_init(&s->copy, alloc);
    st_buf_init(&s->rows, alloc);
    st_buf_init(&s->held, alloc);
    st_task_site_init(&s->task, alloc);
    return kv->scan(kv->ctx, ST_STR("w"), (struct st_str){NULL, 0}, visit_writer, s);
}

void st_state_release(struct st_state *s)
{
    for (size_t i = 0; i < s->writer_count; i++)
        st_vector_release(&s->writers[i].seen);
    if (s->writers != NULL)
        (void)s->alloc->resize(s->alloc->ctx, s->writers, 0);
    if (s->items != NULL)
        (void)s->alloc->resize(s->alloc->ctx, s->items, 0);
    st_vector_release(&s->applied);
    st_buf_release(&s->key);
    st_buf_release(&s->value);
    st_buf_release(&s->copy);
    st_buf_release(&s->rows);
    st_buf_release(&s->held);
    st_task_site_release(&s->task);
    *s = (struct st_state){.kv = s->kv, .alloc = s->alloc};
}

enum st_code st_state_save(struct st_state *s)
{
    for (size_t i = 0; i < s->writer_count; i++) {
        struct st_writer_state *w = &s->writers[i];
        if (!w->dirty)
            continue;
        st_buf_reset(&s->key);
        st_buf_add_char(&s->key, 'w');
        st_row_add_writer(&s->key, w->writer);
        st_buf_reset(&s->value);
        st_buf_add_varint(&s->value, w->counter);
        st_row_add_u64(&s->value, w->checksum);
        st_row_add_time(&s->value, w->time);
        st_buf_add_varint(&s->value, w->seen.count);
        for (size_t j = 0; j < w->seen.count; j++) {
            st_row_add_writer(&s->value, w->seen.entries[j].writer);
            st_buf_add_varint(&s->value, w->seen.entries[j].counter);
        }
        enum st_code code = st_kv_put(s->kv, &s->key, &s->value);
        if (code != ST_OK)
            return code;
        w->dirty = false;
    }
    return ST_OK;
}

/* --- applying --------------------------------------------------------------------------------- */

enum st_code st_state_ready(const struct st_state *s, const struct st_record *r)
{
    const struct st_writer_state *w = st_state_writer(s, r->dot.writer);
    uint64_t known = w != NULL ? w->counter : 0;
    if (r->dot.counter == 0)
        return ST_INVALID;
#ifdef ST_DEFECT_COUNT_TWICE
    if (r->dot.counter == known)
        return ST_OK;
#endif
    if (r->dot.counter == known && r->checksum != w->checksum)
        return ST_DAMAGED;
    if (r->dot.counter <= known)
        return ST_EXISTS;
    if (r->dot.counter > known + 1)
        return ST_UNAVAILABLE;
    if (r->previous != (w != NULL ? w->checksum : 0))
        return ST_DAMAGED;
#ifndef ST_DEFECT_EARLY_SHOWN
    for (size_t i = 0; i < r->op_count; i++) {
        if (r->ops[i].kind == ST_OP_SEEN && !st_vector_within(&r->ops[i].vector, &s->applied))
            return ST_UNAVAILABLE;
    }
#endif
    return ST_OK;
}

static bool name_usable(struct st_str name)
{
    return name.n > 0 && name.n <= ST_NAME_SIZE_MAX && memchr(name.p, '\0', name.n) == NULL;
}

/* What the keys rely on. Callers check whole records (st_record_check); a name with a NUL
 * would be another key, so it is refused here too. */
static enum st_code check_keys(const struct st_record *r)
{
    if (r->agent.n > ST_NAME_SIZE_MAX ||
        (r->agent.n > 0 && memchr(r->agent.p, '\0', r->agent.n) != NULL))
        return ST_INVALID;
    for (size_t i = 0; i < r->op_count; i++) {
        const struct st_op *op = &r->ops[i];
        switch (op->kind) {
        case ST_OP_SET:
        case ST_OP_UNSET:
        case ST_OP_ADD:
        case ST_OP_REMOVE:
            if (!name_usable(op->entity) || !name_usable(op->attribute))
                return ST_INVALID;
            break;
        case ST_OP_COUNT:
            if (!name_usable(op->entity))
                return ST_INVALID;
            break;
        case ST_OP_UNKNOWN:
        case ST_OP_BEAT:
        case ST_OP_SEEN:
        case ST_OP_ACK:
            break;
        }
    }
    return ST_OK;
}

/* A sum that has reached its limit stays there: what was cut off is not known any more. */
static int64_t sum_add(int64_t sum, int64_t delta)
{
    if (sum == ST_SUM_MAX || sum == -ST_SUM_MAX)
        return sum;
    int64_t total;
    if (__builtin_add_overflow(sum, delta, &total))
        return delta > 0 ? ST_SUM_MAX : -ST_SUM_MAX;
    if (total > ST_SUM_MAX)
        return ST_SUM_MAX;
    return total < -ST_SUM_MAX ? -ST_SUM_MAX : total;
}

static enum st_code apply_count(const struct st_change *c)
{
    struct st_state *s = c->s;
    int64_t sum = 0;
    bool found;
    st_buf_reset(&s->key);
    st_key_counter(&s->key, c->op->entity);
    size_t prefix = s->key.n;
    st_row_add_writer(&s->key, c->r->dot.writer);
    if (s->key.failed)
        return ST_NO_MEMORY;
    enum st_code code = st_kv_get(s->kv, st_buf_str(&s->key), &s->copy, &found);
    if (code != ST_OK)
        return code;
    if (found && !st_sum_decode(st_buf_str(&s->copy), &sum))
        return ST_DAMAGED;
    st_buf_reset(&s->value);
    st_sum_encode(&s->value, sum_add(sum, c->op->delta));
    code = st_kv_put(s->kv, &s->key, &s->value);
    return code == ST_OK ? st_kv_touch(c, (struct st_str){s->key.p, prefix}) : code;
}

static enum st_code apply_beat(const struct st_change *c)
{
    struct st_state *s = c->s;
    bool found;
    st_buf_reset(&s->key);
    st_key_status(&s->key, c->r->agent);
    if (s->key.failed)
        return ST_NO_MEMORY;
    enum st_code code = st_kv_get(s->kv, st_buf_str(&s->key), &s->copy, &found);
    if (code != ST_OK)
        return code;
    bool later = true;
    if (found) {
        struct st_status_row old;
        if (st_status_decode(st_buf_str(&s->key), st_buf_str(&s->copy), &old) != ST_OK)
            return ST_DAMAGED;
        int order = st_hlc_compare(c->r->time, old.time);
        later = order > 0 || (order == 0 && st_dot_compare(c->r->dot, old.dot) >= 0);
    }
    if (later) {
        st_buf_reset(&s->value);
        st_status_encode(&s->value, c->r, c->op->value);
        code = st_kv_put(s->kv, &s->key, &s->value);
    }
    return code == ST_OK ? st_kv_touch(c, st_buf_str(&s->key)) : code;
}

static enum st_code visit_unseen(void *arg, struct st_str key, struct st_str value)
{
    struct st_state *s = arg;
    (void)value;
    st_buf_add_str(&s->rows, key);
    return s->rows.failed ? ST_NO_MEMORY : ST_OK;
}

/* Only what the writer knew of can be acknowledged: the result then does not depend on the
 * order in which records arrive. */
static enum st_code apply_ack(const struct st_change *c)
{
    struct st_state *s = c->s;
    struct st_dot d = c->op->dot;
    bool own = st_writer_compare(d.writer, c->r->dot.writer) == 0 && d.counter < c->r->dot.counter;
    if (d.counter == 0 || (!own && !st_vector_has(c->seen, d)))
        return ST_OK;
    st_buf_reset(&s->key);
    st_unseen_key(&s->key, d, 0);
    st_buf_reset(&s->rows);
    if (s->key.failed)
        return ST_NO_MEMORY;
    size_t size = s->key.n; /* of every 'u' key */
    enum st_code code = s->kv->scan(s->kv->ctx, (struct st_str){s->key.p, size - 4},
                                    (struct st_str){NULL, 0}, visit_unseen, s);
    if (code == ST_OK && s->rows.n % size != 0)
        return ST_DAMAGED;
    for (size_t at = 0; code == ST_OK && at < s->rows.n; at += size)
        code = s->kv->del(s->kv->ctx, (struct st_str){s->rows.p + at, size});
    return code;
}

static enum st_code apply_attribute(const struct st_change *c)
{
    enum st_code code = st_task_before(c);
    if (code == ST_OK)
        code = st_attribute_apply(c);
    return code == ST_OK ? st_task_after(c) : code;
}

static enum st_code apply_op(const struct st_change *c)
{
    switch (c->op->kind) {
    case ST_OP_SET:
    case ST_OP_UNSET:
    case ST_OP_ADD:
    case ST_OP_REMOVE:
        return apply_attribute(c);
    case ST_OP_COUNT:
        return apply_count(c);
    case ST_OP_BEAT:
        return apply_beat(c);
    case ST_OP_ACK:
        return apply_ack(c);
    case ST_OP_SEEN: /* before all others of the record */
    case ST_OP_UNKNOWN:
        return ST_OK;
    }
    return ST_OK;
}

enum st_code st_state_apply(struct st_state *s, const struct st_record *r)
{
    struct st_writer_state *w;
    enum st_code code = st_state_ready(s, r);
    if (code == ST_OK)
        code = check_keys(r);
    if (code == ST_OK)
        code = writer_make(s, r->dot.writer, &w);
    if (code != ST_OK)
        return code;

#ifndef ST_DEFECT_FORGET_SEEN
    for (size_t i = 0; i < r->op_count; i++) {
        if (r->ops[i].kind == ST_OP_SEEN && !st_vector_join(&w->seen, &r->ops[i].vector))
            return ST_NO_MEMORY;
    }
#endif
    for (size_t i = 0; i < r->op_count && code == ST_OK; i++) {
        struct st_change c = {s, r, &r->ops[i], (uint32_t)i, &w->seen};
        code = apply_op(&c);
    }
    if (code == ST_OK)
        code = st_task_close(s);
    if (code != ST_OK)
        return code;
    if (!st_vector_raise(&s->applied, r->dot.writer, r->dot.counter))
        return ST_NO_MEMORY;
    w->counter = r->dot.counter;
    w->checksum = r->checksum;
    w->time = r->time;
    w->dirty = true;
    return ST_OK;
}
