/* write.c - writing: one call is one record, all or nothing. */
#include "lib/internal.h"

#include "store/board.h"

#include <stdio.h>
#include <stdlib.h>

/* --- checking ------------------------------------------------------------------------------------
 */

int st_lib_value(strata *s, const char *what, struct st_str value)
{
    enum st_code code = st_value_check(value);
    if (code == ST_LIMIT)
        return st_lib_fail(s, code, "the %s is %zu bytes long; the limit is %d", what, value.n,
                           ST_VALUE_SIZE_MAX);
    if (code != ST_OK)
        return st_lib_fail(s, code, "the %s has control characters, NUL bytes or invalid UTF-8",
                           what);
    return STRATA_OK;
}

static struct st_str text_of(const char *p, size_t size)
{
    return (struct st_str){p != NULL ? p : "", p == NULL            ? 0
                                               : size == STRATA_NUL ? strlen(p)
                                                                    : size};
}

static bool has_value(int kind)
{
    return kind == STRATA_SET || kind == STRATA_ADD || kind == STRATA_REMOVE;
}

static int convert_op(strata *s, const strata_op *from, struct st_op *to)
{
    static const enum st_op_kind kinds[] = {
        [STRATA_SET] = ST_OP_SET,       [STRATA_UNSET] = ST_OP_UNSET, [STRATA_ADD] = ST_OP_ADD,
        [STRATA_REMOVE] = ST_OP_REMOVE, [STRATA_COUNT] = ST_OP_COUNT,
    };
    if (from->kind < STRATA_SET || from->kind > STRATA_COUNT)
        return st_lib_fail(s, ST_USAGE, "no operation has the kind %d", from->kind);
    bool count = from->kind == STRATA_COUNT;
    int code = st_lib_name(s, count ? "counter's name" : "entity", from->entity);
    if (code == STRATA_OK && !count)
        code = st_lib_name(s, "attribute", from->attribute);
    if (code == STRATA_OK && !count &&
        st_entity_kind(st_str_of(from->entity)) == ST_ENTITY_NUMBERED)
        code = st_lib_fail(s, ST_DENIED, "%s is a task or a message: not to be written as a fact",
                           from->entity);
    *to = (struct st_op){
        .kind = kinds[from->kind],
        .value_kind = from->link ? ST_VALUE_LINK : ST_VALUE_TEXT,
        .delta = from->delta,
    };
    if (code != STRATA_OK)
        return code;
    to->entity = st_str_of(from->entity);
    if (!count)
        to->attribute = st_str_of(from->attribute);
    else if (from->delta > STRATA_DELTA_MAX || from->delta < -STRATA_DELTA_MAX)
        code = st_lib_fail(s, ST_LIMIT, "a counter changes by at most %lld at a time",
                           (long long)STRATA_DELTA_MAX);
    if (has_value(from->kind)) {
        to->value = text_of(from->value, from->value_size);
        code = st_lib_value(s, "value", to->value);
        if (code == STRATA_OK && from->link && st_name_check(to->value) != ST_OK)
            code = st_lib_fail(s, ST_INVALID, "a link names an entity; '%.80s' cannot be one",
                               from->value);
    }
    if (from->kind == STRATA_SET || from->kind == STRATA_UNSET)
        st_mark_get(s, from->entity, from->attribute, &to->dot);
    return code;
}

/* --- conditional writes ----------------------------------------------------------------------- */

static bool is_expected(const struct st_attribute *a, const strata_expect *e)
{
    if (a->pending)
        return false;
    if (e->absent)
        return !a->present;
    return a->present && a->shown < a->count && a->items[a->shown].kind == ST_ITEM_VALUE &&
           st_str_equal(a->items[a->shown].value, text_of(e->value, e->value_size));
}

static int unexpected(strata *s, const strata_op *op, const struct st_attribute *a)
{
    const char *hint = "nothing was recorded; read it again and decide anew";
    if (a->pending)
        st_lib_fail(s, ST_CONFLICT, "%s %s has several values that nobody has settled", op->entity,
                    op->attribute);
    else if (!a->present)
        st_lib_fail(s, ST_CONFLICT, "%s %s has no value", op->entity, op->attribute);
    else if (a->shown >= a->count)
        st_lib_fail(s, ST_CONFLICT, "%s %s is a set of values", op->entity, op->attribute);
    else
        st_lib_fail(s, ST_CONFLICT, "%s %s is '%.*s'%s%.*s", op->entity, op->attribute,
                    (int)(a->items[a->shown].value.n < 200 ? a->items[a->shown].value.n : 200),
                    a->items[a->shown].value.p, a->items[a->shown].agent.n > 0 ? ", set by " : "",
                    (int)a->items[a->shown].agent.n, a->items[a->shown].agent.p);
    st_lib_hint(s, hint);
    return ST_CONFLICT;
}

struct expectation {
    const strata_op *op;
    const strata_expect *expect;
};

static int check_expected(strata *s, void *arg)
{
    const struct expectation *x = arg;
    struct st_attribute a;
    enum st_code code = st_attribute_read(st_index_kv(s->index), st_str_of(x->op->entity),
                                          st_str_of(x->op->attribute), &s->read, &a);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    return is_expected(&a, x->expect) ? STRATA_OK : unexpected(s, x->op, &a);
}

/* The append lock is held: nobody can write between the look and the write. */
static int check_locked(strata *s, st_lib_check *check, void *arg)
{
    enum st_code code = st_index_begin_alone(s->index);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    int result = check(s, arg);
    st_index_end(s->index);
    return result;
}

static int append_checked(strata *s, struct st_record *r, st_lib_check *check, void *arg)
{
    /* Most of the catching up before the lock, not under it. */
    int result = st_lib_begin(s);
    if (result != STRATA_OK)
        return result;
    st_lib_end(s);
    if (st_log_lock(&s->log) != ST_OK)
        return st_lib_fault(s, &s->log.fault);
    result = check_locked(s, check, arg);
    if (result == STRATA_OK && st_log_append(&s->log, r, (struct st_hlc){0}) != ST_OK)
        result = st_lib_fault(s, &s->log.fault);
    st_log_unlock(&s->log);
    return result;
}

int st_lib_wait(strata *s, const struct st_record *r)
{
    return st_log_wait_durable(&s->log, r->dot.writer.epoch, r->dot.counter) == ST_OK
               ? STRATA_OK
               : st_lib_fault(s, &s->log.fault);
}

int st_lib_append(strata *s, struct st_record *r, st_lib_check *check, void *arg, unsigned flags)
{
    bool flush = (flags & STRATA_NO_FLUSH) == 0;
    int code = STRATA_OK;
    if (check != NULL)
        code = append_checked(s, r, check, arg);
    else if (st_log_write(&s->log, r, flush) != ST_OK)
        code = st_lib_fault(s, &s->log.fault);
    st_lib_log_notices(s);
    return code == STRATA_OK && check != NULL && flush ? st_lib_wait(s, r) : code;
}

/* --- the answer ------------------------------------------------------------------------------- */

static int fill_replaced(strata *s, const struct st_op *op, const struct st_item *mine,
                         strata_written *w)
{
    w->replaced_count = mine->over_count;
    if (mine->over_count == 0)
        return STRATA_OK;
    uint64_t number;
    strata_event e;
    struct st_dot over = mine->over;
    uint32_t over_op = mine->over_op;
    enum st_code code = st_history_find(s, op->entity, op->attribute, over, over_op, &number);
    if (code == ST_OK)
        code = st_history_event(s, number, &e);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    w->replaced = (strata_item){
        .kind = e.kind == STRATA_UNSET ? STRATA_ITEM_ABSENT
                : e.kind == STRATA_ADD ? STRATA_ITEM_MEMBER
                                       : STRATA_ITEM_VALUE,
        .link = e.link,
        .value = e.value,
        .value_size = e.value_size,
        .time_ms = e.time_ms,
        .agent = e.agent,
        .replica = e.replica,
    };
    memcpy(w->replaced.id, e.id, sizeof e.id);
    return STRATA_OK;
}

/* The write itself was replaced before anybody could look: what it replaced, from the history. */
static int fill_replaced_before(strata *s, const struct st_op *op, struct st_dot dot, uint32_t i,
                                strata_written *w)
{
    uint64_t number;
    strata_attribute before;
    enum st_code code = st_history_find(s, op->entity, op->attribute, dot, i, &number);
    if (code == ST_OK)
        code = st_history_before(s, number, &before);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    w->replaced_count = (uint32_t)before.count;
    if (before.count > 0)
        w->replaced = before.items[0];
    return STRATA_OK;
}

struct prefix_search {
    bool found;
};

static enum st_code found_one(void *arg, struct st_str key, struct st_str value)
{
    (void)key, (void)value;
    ((struct prefix_search *)arg)->found = true;
    return ST_SCAN_STOP;
}

static enum st_code is_unseen(strata *s, struct st_dot dot, uint32_t op, bool *out)
{
    struct st_buf key;
    st_buf_init(&key, st_alloc_libc());
    st_unseen_key(&key, dot, op);
    struct prefix_search search = {false};
    const struct st_kv *kv = st_index_kv(s->index);
    enum st_code code = key.failed ? ST_NO_MEMORY
                                   : kv->scan(kv->ctx, st_buf_str(&key), (struct st_str){"", 0},
                                              found_one, &search);
    st_buf_release(&key);
    *out = search.found;
    return code;
}

static int answer_op(strata *s, const struct st_record *r, size_t i, strata_written *w)
{
    const struct st_op *op = &r->ops[i];
    const struct st_kv *kv = st_index_kv(s->index);
    if (op->kind == ST_OP_COUNT) {
        bool exists;
        enum st_code code = st_counter_read(kv, op->entity, &w->total, &exists);
        return code == ST_OK ? STRATA_OK : st_lib_index_fault(s, code);
    }
    struct st_attribute a;
    enum st_code code = st_attribute_read(kv, op->entity, op->attribute, &s->read, &a);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    w->changed = true;
    code = is_unseen(s, r->dot, (uint32_t)i, &w->unseen);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    for (size_t k = 0; k < a.count; k++) {
        const struct st_item mine = a.items[k];
        if (st_dot_compare(mine.dot, r->dot) != 0 || mine.op != i || mine.kind == ST_ITEM_MEMBER)
            continue;
        return fill_replaced(s, op, &mine, w);
    }
    if (op->kind == ST_OP_SET || op->kind == ST_OP_UNSET)
        return fill_replaced_before(s, op, r->dot, (uint32_t)i, w);
    return STRATA_OK;
}

static int answer(strata *s, const struct st_record *r, strata_written *written)
{
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    for (size_t i = 0; i < r->op_count && code == STRATA_OK; i++)
        code = answer_op(s, r, i, &written[i]);
    st_lib_end(s);
    return code;
}

/* Whether add and remove change anything, as far as one can tell before writing. */
static int look_before(strata *s, const struct st_record *r, strata_written *written)
{
    bool any = false;
    for (size_t i = 0; i < r->op_count; i++)
        any = any || r->ops[i].kind == ST_OP_ADD || r->ops[i].kind == ST_OP_REMOVE;
    if (!any)
        return STRATA_OK;
    int result = st_lib_begin(s);
    if (result != STRATA_OK)
        return result;
    for (size_t i = 0; i < r->op_count; i++) {
        const struct st_op *op = &r->ops[i];
        if (op->kind != ST_OP_ADD && op->kind != ST_OP_REMOVE)
            continue;
        struct st_attribute a;
        enum st_code code =
            st_attribute_read(st_index_kv(s->index), op->entity, op->attribute, &s->read, &a);
        if (code != ST_OK) {
            result = st_lib_index_fault(s, code);
            break;
        }
        bool there = false;
        for (size_t k = 0; k < a.count; k++)
            there = there ||
                    (a.items[k].kind == ST_ITEM_MEMBER && a.items[k].value_kind == op->value_kind &&
                     st_str_equal(a.items[k].value, op->value));
        written[i].changed = op->kind == ST_OP_ADD ? !there : there;
    }
    st_lib_end(s);
    return result;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void note_own(strata *s, const strata_op *ops, const struct st_record *r,
                     strata_written *written)
{
    for (size_t i = 0; i < r->op_count; i++) {
        if (ops[i].kind == STRATA_SET || ops[i].kind == STRATA_UNSET)
            st_mark_set(s, ops[i].entity, ops[i].attribute, r->dot);
        if (written == NULL)
            continue;
        st_id_format(r->dot, (uint32_t)i, written[i].id);
        written[i].time_ms = r->time.ms;
    }
}

static int write_record(strata *s, const strata_op *ops, struct st_record *r, unsigned flags,
                        const strata_expect *expect, strata_written *written)
{
    bool want = written != NULL && (flags & STRATA_ANSWER) != 0;
    struct expectation x = {ops, expect};
    int code = want ? look_before(s, r, written) : STRATA_OK;
    if (code == STRATA_OK)
        code = st_lib_append(s, r, expect != NULL ? check_expected : NULL, &x, flags);
    if (r->dot.counter != 0) /* it is in the log, whether on disk or not */
        note_own(s, ops, r, written);
    if (code != STRATA_OK || !want)
        return code;
    bool *changed = malloc(r->op_count);
    if (changed == NULL)
        return STRATA_OK;
    for (size_t i = 0; i < r->op_count; i++)
        changed[i] = written[i].changed;
    /* The write is kept whatever happens to the answer. */
    if (answer(s, r, written) != STRATA_OK)
        st_lib_notice(s, "the write is kept, but what it replaced could not be read: %s",
                      s->error.message);
    for (size_t i = 0; i < r->op_count; i++)
        if (r->ops[i].kind == ST_OP_ADD || r->ops[i].kind == ST_OP_REMOVE)
            written[i].changed = changed[i];
    free(changed);
    return STRATA_OK;
}

int strata_write(strata *s, const strata_op *ops, size_t count, unsigned flags,
                 const strata_expect *expect, strata_written *written)
{
    if (count == 0 || count > ST_RECORD_OPS_MAX)
        return st_lib_fail(s, ST_LIMIT, "%zu operations in one write; 1 to %d are possible", count,
                           ST_RECORD_OPS_MAX);
    if (expect != NULL && (count != 1 || (ops->kind != STRATA_SET && ops->kind != STRATA_UNSET)))
        return st_lib_fail(s, ST_USAGE, "only a single set or unset can expect a value");
    if (written != NULL)
        memset(written, 0, count * sizeof *written);
    struct st_op one = {0}, *list = count == 1 ? &one : calloc(count, sizeof *list);
    if (list == NULL)
        return st_lib_fail(s, ST_NO_MEMORY, "out of memory; nothing was recorded");
    int code = STRATA_OK;
    for (size_t i = 0; i < count && code == STRATA_OK; i++)
        code = convert_op(s, &ops[i], &list[i]);
    if (code == STRATA_OK) {
        struct st_record r = {
            .agent = st_str_of(s->agent),
            .incarnation = s->incarnation,
            .ops = list,
            .op_count = count,
        };
        code = write_record(s, ops, &r, flags, expect, written);
    }
    if (list != &one)
        free(list);
    return code;
}

int strata_check(strata *s)
{
    enum st_code code = st_log_lock(&s->log);
    if (code != ST_OK)
        return st_lib_fault(s, &s->log.fault);
    st_log_unlock(&s->log);
    st_lib_log_notices(s);
    return STRATA_OK;
}

int strata_flush(strata *s)
{
    struct st_tail tail;
    /* Under the lock: the tail and the epoch that it is of belong together. */
    enum st_code code = st_log_lock(&s->log);
    if (code == ST_OK) {
        code = st_log_tail(&s->log, &tail);
        st_log_unlock(&s->log);
    }
    if (code == ST_OK && tail.counter > 0)
        code = st_log_wait_durable(&s->log, st_log_writer(&s->log).epoch, tail.counter);
    st_lib_log_notices(s);
    return code == ST_OK ? STRATA_OK : st_lib_fault(s, &s->log.fault);
}

/* --- heartbeats ------------------------------------------------------------------------------- */

static int record_status(strata *s, const char *status)
{
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    struct st_buf key;
    st_buf_init(&key, st_alloc_libc());
    st_key_status(&key, st_str_of(s->agent));
    const struct st_kv *kv = st_index_kv(s->index);
    struct st_str value;
    struct st_status_row row;
    bool same = !key.failed && kv->get(kv->ctx, st_buf_str(&key), &value) == ST_OK &&
                st_status_decode(st_buf_str(&key), value, &row) == ST_OK &&
                st_str_equal(row.status, st_str_of(status)) && row.incarnation == s->incarnation;
    st_buf_release(&key);
    st_lib_end(s);
    if (!same) {
        struct st_op op = {.kind = ST_OP_BEAT, .value = st_str_of(status)};
        struct st_record r = {
            .agent = st_str_of(s->agent), .incarnation = s->incarnation, .ops = &op, .op_count = 1};
        code = st_lib_append(s, &r, NULL, NULL, STRATA_NO_FLUSH);
    }
    if (code == STRATA_OK)
        strcpy(s->last_status, status);
    return code;
}

int strata_beat(strata *s, const char *status)
{
    if (s->agent[0] == '\0')
        return st_lib_fail(s, ST_USAGE, "a heartbeat needs an agent's name");
    if (status != NULL) {
        size_t n = strlen(status);
        if (n > ST_STATUS_SIZE_MAX)
            return st_lib_fail(s, ST_LIMIT, "the status is %zu bytes long; the limit is %d", n,
                               ST_STATUS_SIZE_MAX);
        if (st_status_check(st_str_of(status)) != ST_OK)
            return st_lib_fail(
                s, ST_INVALID,
                "the status has line breaks, control characters or invalid UTF-8; it is "
                "one line");
    }
    struct st_slot slot = {.time_ms = s->log.env->wall_ms(s->log.env->ctx),
                           .replica = s->log.identity.replica,
                           .incarnation = s->incarnation};
    strcpy(slot.agent, s->agent);
    if (st_board_beat(&s->log, &slot, &s->slot_fd) != ST_OK)
        return st_lib_fault(s, &s->log.fault);
    if (status != NULL && status[0] != '\0' && strcmp(status, s->last_status) != 0)
        return record_status(s, status);
    return STRATA_OK;
}
