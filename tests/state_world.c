/*
 * state_world.c - three replicas in memory, for the tests of layer 1; see state_world.h.
 */
#include "state_world.h"

int allocations_left = -1; /* -1: no limit */

static void *test_resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return realloc(p, size);
}

const struct st_alloc alloc = {test_resize, NULL};

struct world w;

int setup(void **state)
{
    (void)state;
    memset(&w, 0, sizeof(w));
    w.ms = 1000;
    st_read_scratch_init(&w.scratch, &alloc);
    for (size_t i = 0; i < REPLICAS_MAX; i++) {
        struct replica *p = &w.replicas[i];
        p->writer = (struct st_writer){10 + i, 1};
        st_memkv_init(&p->m, &alloc);
        assert_int_equal(st_state_init(&p->s, &p->m.kv, &alloc), ST_OK);
    }
    return 0;
}

int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < REPLICAS_MAX; i++) {
        st_state_release(&w.replicas[i].s);
        st_memkv_release(&w.replicas[i].m);
    }
    st_read_scratch_release(&w.scratch);
    return 0;
}

enum st_code give(struct replica *p, const struct rec *rec)
{
    enum st_code code = st_state_apply(&p->s, &rec->r);
    if (code == ST_OK)
        p->log[p->count++] = rec;
    return code;
}

/* The next record of this replica, not yet applied. */
struct rec *draft(struct replica *p, const char *agent, size_t count, const struct st_op *ops)
{
    struct rec *rec = &w.records[w.count++];
    const struct st_writer_state *state = st_state_writer(&p->s, p->writer);
    assert_true(w.count < RECORDS_MAX && count <= 4);
    for (size_t i = 0; i < count; i++)
        rec->ops[i] = ops[i];
    rec->r = (struct st_record){
        .dot = {p->writer, state != NULL ? state->counter + 1 : 1},
        .previous = state != NULL ? state->checksum : 0,
        .time = {w.ms++, 0},
        .agent = st_str_of(agent),
        .incarnation = 5,
        .ops = rec->ops,
        .op_count = count,
        .checksum = 1000 + w.count,
    };
    return rec;
}

const struct rec *write_ops(struct replica *p, const char *agent, size_t count,
                            const struct st_op *ops)
{
    const struct rec *rec = draft(p, agent, count, ops);
    assert_int_equal(give(p, rec), ST_OK);
    return rec;
}

/* An operation narrowed to some records. */
struct st_op at(struct st_op op, const struct st_dot *dots, size_t count)
{
    op.has_at = true;
    op.at = dots;
    op.at_count = count;
    return op;
}

const struct rec *write_seen(struct replica *p)
{
    struct rec *rec = draft(p, "", 1, &(struct st_op){.kind = ST_OP_SEEN});
    size_t n = 0;
    for (size_t i = 0; i < p->s.applied.count; i++)
        rec->seen[n++] = p->s.applied.entries[i];
    rec->ops[0].vector = (struct st_vector){rec->seen, n, n, NULL};
    assert_int_equal(give(p, rec), ST_OK);
    return rec;
}

/* `to` takes in all that `from` has, and says so. */
void take_in(struct replica *to, const struct replica *from)
{
    for (size_t i = 0; i < from->count; i++) {
        enum st_code code = give(to, from->log[i]);
        assert_true(code == ST_OK || code == ST_EXISTS);
    }
    (void)write_seen(to);
}

/* Delivery without a record of it. */
void deliver(struct replica *to, const struct replica *from)
{
    for (size_t i = 0; i < from->count; i++)
        (void)give(to, from->log[i]);
}

struct st_attribute read_attribute(struct replica *p, const char *name)
{
    struct st_attribute a;
    assert_int_equal(st_attribute_read(&p->m.kv, ST_STR("x"), st_str_of(name), &w.scratch, &a),
                     ST_OK);
    return a;
}

static bool has_row(struct replica *p, const struct st_buf *key)
{
    struct st_str value;
    return p->m.kv.get(&p->m, st_buf_str(key), &value) == ST_OK;
}

/* What is shown, how many items there are, and whether they are pending (in the 'p' row too). */
void expect(struct replica *p, const char *name, const char *shown, size_t items, bool pending)
{
    struct st_attribute a = read_attribute(p, name);
    assert_int_equal(a.count, items);
    assert_int_equal(a.pending, pending);
    if (shown == NULL) {
        assert_true(a.shown == a.count || a.items[a.shown].kind == ST_ITEM_ABSENT);
    } else {
        assert_true(a.present && a.shown < a.count);
        assert_int_equal(a.items[a.shown].kind, ST_ITEM_VALUE);
        assert_true(st_str_equal(a.items[a.shown].value, st_str_of(shown)));
    }
    struct st_buf key;
    st_buf_init(&key, &alloc);
    st_key_pending(&key, ST_STR("x"), st_str_of(name));
    assert_int_equal(has_row(p, &key), pending);
    st_buf_release(&key);
}

bool has_member(struct replica *p, const char *name, const char *value)
{
    struct st_attribute a = read_attribute(p, name);
    for (size_t i = 0; i < a.count; i++) {
        if (a.items[i].kind == ST_ITEM_MEMBER && st_str_equal(a.items[i].value, st_str_of(value)))
            return true;
    }
    return false;
}

static enum st_code visit_unseen(void *arg, struct st_str key, struct st_str value)
{
    struct unseen_list *list = arg;
    assert_int_equal(st_unseen_decode(key, value, &list->rows[list->count++]), ST_OK);
    return ST_OK;
}

/* Rows are lent by the store until it changes. */
struct unseen_list unseen(struct replica *p)
{
    struct unseen_list list = {.count = 0};
    struct st_str none = {NULL, 0};
    assert_int_equal(p->m.kv.scan(&p->m, ST_STR("u"), none, visit_unseen, &list), ST_OK);
    return list;
}

void expect_same(struct replica *a, struct replica *b)
{
    assert_true(st_memkv_equal(&a->m, &b->m, st_key_visible));
}

int64_t total(struct replica *p)
{
    int64_t value;
    bool exists;
    assert_int_equal(st_counter_read(&p->m.kv, ST_STR("n"), &value, &exists), ST_OK);
    assert_true(exists || value == 0);
    return value;
}
