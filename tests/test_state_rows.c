/*
 * test_state_rows.c - layer 1 under its rules: which records are applied, what it costs, what
 * limits, damage and lack of memory do, reading many rows, and the store in memory.
 */
#include "state_world.h"

/* --- records ---------------------------------------------------------------------------------- */

static void test_gaps_wait(void **state)
{
    (void)state;
    const struct rec *one = WRITE(A, "ann", SET("p", "a"));
    const struct rec *two = WRITE(A, "ann", SET("p", "b"));
    assert_int_equal(give(B, two), ST_UNAVAILABLE);
    assert_int_equal(B->m.count, 0);
    assert_int_equal(give(B, one), ST_OK);
    assert_int_equal(give(B, two), ST_OK);
    assert_null(st_state_writer(&B->s, B->writer));
    assert_int_equal(st_state_writer(&B->s, A->writer)->counter, 2);
}

static void test_seen_waits_for_what_it_names(void **state)
{
    (void)state;
    const struct rec *one = WRITE(A, "ann", SET("p", "a"));
    deliver(B, A);
    const struct rec *seen = write_seen(B);
    assert_int_equal(give(C, seen), ST_UNAVAILABLE);
    assert_int_equal(give(C, one), ST_OK);
    assert_int_equal(give(C, seen), ST_OK);
}

static void test_seen_in_the_same_record_counts(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "a"));
    deliver(B, A);
    struct st_vector_entry entry = {A->writer, 1};
    struct st_op seen = {.kind = ST_OP_SEEN, .vector = {&entry, 1, 1, NULL}};
    WRITE(B, "bob", SET("p", "b"), seen);
    expect(B, "p", "b", 1, false);
}

static void test_duplicates_change_nothing(void **state)
{
    (void)state;
    const struct rec *one = WRITE(A, "ann", COUNT(1));
    const struct rec *two = WRITE(A, "ann", COUNT(1), ADD("p", "m"));
    struct st_memkv before;
    st_memkv_init(&before, &alloc);
    assert_int_equal(st_memkv_copy(&before, &A->m), ST_OK);
    assert_int_equal(give(A, one), ST_EXISTS);
    assert_int_equal(give(A, two), ST_EXISTS);
    assert_true(st_memkv_equal(&before, &A->m, NULL));
    st_memkv_release(&before);
}

static void test_two_records_with_one_dot_are_damage(void **state)
{
    (void)state;
    struct rec *one = draft(A, "ann", 1, (struct st_op[]){SET("p", "a")});
    one->r.previous = 7; /* the first has none */
    assert_int_equal(give(A, one), ST_DAMAGED);
    one->r.previous = 0;
    assert_int_equal(give(A, one), ST_OK);
    struct rec *two = draft(A, "ann", 1, (struct st_op[]){SET("p", "b")});
    two->r.previous++;
    assert_int_equal(give(A, two), ST_DAMAGED);
    two->r.previous--;
    assert_int_equal(give(A, two), ST_OK);
    struct rec other = *two;
    other.r.checksum++;
    assert_int_equal(st_state_ready(&A->s, &other.r), ST_DAMAGED);
}

static void test_unknown_operations_do_nothing(void **state)
{
    (void)state;
    WRITE(A, "ann", ((struct st_op){.kind = ST_OP_UNKNOWN, .raw = ST_STR("{\"op\":\"new\"}")}));
    assert_int_equal(A->m.count, 0);
    assert_int_equal(st_state_writer(&A->s, A->writer)->counter, 1);
}

static void test_unusable_keys_are_refused(void **state)
{
    (void)state;
    struct st_op op = SET("p", "a");
    op.entity = (struct st_str){"x\0y", 3};
    assert_int_equal(give(A, draft(A, "ann", 1, &op)), ST_INVALID);
    op.entity = (struct st_str){NULL, 0};
    assert_int_equal(give(A, draft(A, "ann", 1, &op)), ST_INVALID);
    struct rec *zero = draft(A, "ann", 1, (struct st_op[]){SET("p", "a")});
    zero->r.dot.counter = 0;
    assert_int_equal(give(A, zero), ST_INVALID);
    assert_int_equal(A->m.count, 0);
}

static void test_state_is_saved_and_loaded(void **state)
{
    (void)state;
    WRITE(B, "bob", SET("p", "b"));
    WRITE(A, "ann", SET("p", "a"));
    take_in(A, B);
    assert_int_equal(st_state_save(&A->s), ST_OK);
    st_state_release(&A->s);
    assert_int_equal(st_state_init(&A->s, &A->m.kv, &alloc), ST_OK);
    const struct st_writer_state *own = st_state_writer(&A->s, A->writer);
    assert_int_equal(own->counter, 2);
    assert_int_equal(st_vector_get(&own->seen, B->writer), 1);
    assert_false(own->dirty);
    WRITE(A, "ann", SET("p", "c")); /* B's value is still in the context */
    expect(A, "p", "c", 1, false);
}

/* --- order, limits, cost ---------------------------------------------------------------------- */

static void test_rows_do_not_depend_on_the_order(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "a"), ADD("q", "m"), COUNT(2));
    WRITE(B, "bob", SET("p", "b"), ADD("q", "m"), BEAT("s"));
    WRITE(C, "cid", SET("p", "c"), ADD("q", "m"), UNSET("q"));
    struct replica *all[] = {A, B, C};
    for (size_t i = 0; i < 3; i++) {
        deliver(all[i], all[(i + 2) % 3]);
        deliver(all[i], all[(i + 1) % 3]);
    }
    expect_same(A, B);
    expect_same(B, C);
    expect(A, "p", "c", 3, true);
}

struct counted {
    struct st_kv under;
    int gets, puts, dels, scans, touches;
};

static enum st_code counted_get(void *ctx, struct st_str key, struct st_str *value)
{
    struct counted *c = ctx;
    c->gets++;
    return c->under.get(c->under.ctx, key, value);
}

static enum st_code counted_put(void *ctx, struct st_str key, struct st_str value)
{
    struct counted *c = ctx;
    c->puts++;
    return c->under.put(c->under.ctx, key, value);
}

static enum st_code counted_del(void *ctx, struct st_str key)
{
    struct counted *c = ctx;
    c->dels++;
    return c->under.del(c->under.ctx, key);
}

static enum st_code
counted_scan(void *ctx, struct st_str prefix, struct st_str after,
             enum st_code (*visit)(void *arg, struct st_str key, struct st_str value), void *arg)
{
    struct counted *c = ctx;
    c->scans++;
    return c->under.scan(c->under.ctx, prefix, after, visit, arg);
}

static enum st_code counted_touch(void *ctx, struct st_str key, const struct st_record *r,
                                  size_t op)
{
    struct counted *c = ctx;
    struct st_str entity, attribute;
    c->touches++;
    assert_true(st_key_split(key, &entity, &attribute));
    assert_true(st_str_equal(attribute, r->ops[op].attribute));
    return ST_OK;
}

static void test_a_plain_set_costs_one_get_and_one_put(void **state)
{
    (void)state;
    struct counted c = {.under = A->m.kv};
    struct st_kv kv = {counted_get, counted_put, counted_del, counted_scan, counted_touch, &c};
    A->s.kv = &kv;
    WRITE(A, "ann", SET("p", "a"));
    WRITE(A, "ann", SET("p", "b"));
    A->s.kv = &A->m.kv;
    assert_int_equal(c.gets, 2);
    assert_int_equal(c.puts, 2);
    assert_int_equal(c.dels + c.scans, 0);
    assert_int_equal(c.touches, 2);
}

static void test_too_many_siblings(void **state)
{
    (void)state;
    static struct st_item items[ST_SIBLINGS_MAX];
    for (size_t i = 0; i < ST_SIBLINGS_MAX; i++)
        items[i] = (struct st_item){.kind = ST_ITEM_VALUE, .dot = {{99, 1}, i + 1}};
    struct st_buf key, row;
    st_buf_init(&key, &alloc);
    st_buf_init(&row, &alloc);
    st_key_register(&key, ST_STR("x"), ST_STR("p"));
    st_register_encode(&row, items, ST_SIBLINGS_MAX, 0);
    assert_int_equal(A->m.kv.put(&A->m, st_buf_str(&key), st_buf_str(&row)), ST_OK);
    assert_int_equal(give(A, draft(A, "ann", 1, (struct st_op[]){SET("p", "a")})), ST_LIMIT);
    st_buf_release(&key);
    st_buf_release(&row);
}

static void test_too_many_writers(void **state)
{
    (void)state;
    struct rec rec = {.ops = {COUNT(1)}};
    rec.r = (struct st_record){.dot = {{0, 0}, 1}, .ops = rec.ops, .op_count = 1, .checksum = 5};
    for (uint64_t i = 0; i <= ST_WRITERS_MAX; i++) {
        rec.r.dot.writer = (struct st_writer){1000 + i, 1};
        assert_int_equal(st_state_apply(&A->s, &rec.r), i < ST_WRITERS_MAX ? ST_OK : ST_LIMIT);
    }
    assert_int_equal(total(A), ST_WRITERS_MAX);
}

/* --- reading many ----------------------------------------------------------------------------- */

struct visited {
    char names[256];
    size_t n, stop_after;
};

static enum st_code visit_attribute(void *arg, const struct st_attribute *a)
{
    struct visited *v = arg;
    assert_true(v->n + a->entity.n + a->attribute.n + 3 < sizeof(v->names));
    memcpy(v->names + v->n, a->entity.p, a->entity.n);
    v->n += a->entity.n;
    v->names[v->n++] = '.';
    memcpy(v->names + v->n, a->attribute.p, a->attribute.n);
    v->n += a->attribute.n;
    v->names[v->n++] = (char)('0' + a->count);
    return v->stop_after > 0 && --v->stop_after == 0 ? ST_SCAN_STOP : ST_OK;
}

static void expect_visits(const char *entity, const char *after_entity, const char *after_attribute,
                          size_t stop_after, const char *names)
{
    struct visited v = {.stop_after = stop_after};
    assert_int_equal(st_attribute_each(&A->m.kv, st_str_of(entity), st_str_of(after_entity),
                                       st_str_of(after_attribute), &w.scratch, visit_attribute, &v),
                     ST_OK);
    v.names[v.n] = '\0';
    assert_string_equal(v.names, names);
}

static void test_visiting_attributes(void **state)
{
    (void)state;
    struct st_op y = SET("a", "v");
    y.entity = ST_STR("xy");
    WRITE(A, "ann", ADD("q", "m"), ADD("q", "n"), SET("p", "v"), y);
    WRITE(A, "ann", REMOVE("gone", "m"), ADD("pq", "m"));
    expect_visits("", "", "", 0, "x.gone0x.p1x.pq1x.q2xy.a1");
    expect_visits("x", "", "", 0, "x.gone0x.p1x.pq1x.q2");
    expect_visits("x", "x", "p", 0, "x.pq1x.q2");
    expect_visits("x", "", "pq", 0, "x.q2");
    expect_visits("", "x", "q", 0, "xy.a1");
    expect_visits("", "x", "", 0, "xy.a1");
    expect_visits("", "", "", 2, "x.gone0x.p1");
    expect_visits("none", "", "", 0, "");
}

/* --- damage and lack of memory ---------------------------------------------------------------- */

static bool allowed(enum st_code code)
{
    return code == ST_OK || code == ST_DAMAGED || code == ST_LIMIT;
}

static enum st_code ignore_attribute(void *arg, const struct st_attribute *a)
{
    (void)arg;
    (void)a;
    return ST_OK;
}

static enum st_code ignore_counter(void *arg, struct st_str name, int64_t value)
{
    (void)arg;
    (void)name;
    (void)value;
    return ST_OK;
}

static enum st_code decode_row(void *arg, struct st_str key, struct st_str value)
{
    struct st_status_row status;
    struct st_unseen_row row;
    (void)arg;
    if (key.p[0] == 'b')
        return st_status_decode(key, value, &status);
    return key.p[0] == 'u' ? st_unseen_decode(key, value, &row) : ST_OK;
}

/* Reads everything there is; the first code that is not ST_OK. */
static enum st_code read_all(const struct st_kv *kv)
{
    struct st_read_scratch scratch;
    struct st_str none = {NULL, 0};
    struct st_state s;
    st_read_scratch_init(&scratch, &alloc);
    enum st_code code = st_attribute_each(kv, none, none, none, &scratch, ignore_attribute, NULL);
    if (code == ST_OK)
        code = st_counter_each(kv, none, ignore_counter, NULL);
    if (code == ST_OK)
        code = kv->scan(kv->ctx, none, none, decode_row, NULL);
    st_read_scratch_release(&scratch);
    enum st_code init = st_state_init(&s, kv, &alloc);
    st_state_release(&s);
    return code == ST_OK ? init : code;
}

/* Applies one record that goes through every kind of row. */
static enum st_code apply_all(struct st_memkv *m)
{
    struct st_state s;
    struct st_op ops[] = {SET("p", "z"),
                          ADD("q", "m"),
                          REMOVE("q", "n"),
                          UNSET("q"),
                          COUNT(1),
                          BEAT("t"),
                          ACK(((struct st_dot){{10, 1}, 4}))};
    struct st_record r = {.dot = {{77, 1}, 1},
                          .agent = ST_STR("ann"),
                          .ops = ops,
                          .op_count = sizeof(ops) / sizeof(ops[0])};
    enum st_code code = st_state_init(&s, &m->kv, &alloc);
    if (code == ST_OK)
        code = st_state_apply(&s, &r);
    st_state_release(&s);
    return code;
}

/* Fills A with every kind of row. */
static void fill(void)
{
    const struct rec *x = WRITE(A, "ann", SET("p", "x"), ADD("q", "m"), ADD("q", "n"));
    WRITE(A, "ann", SET("p", "y"), COUNT(-3), BEAT("s"));
    WRITE(A, "bob", SET_READ("p", "z", x->r.dot));
    WRITE(B, "bob", UNSET("p"), ADD("q", "m"));
    take_in(A, B);
    assert_int_equal(st_state_save(&A->s), ST_OK);
    assert_int_equal(read_all(&A->m.kv), ST_OK);
}

static void damage(size_t row, size_t size, size_t at_byte, unsigned char flip)
{
    struct st_memkv m;
    char bytes[512];
    st_memkv_init(&m, &alloc);
    assert_int_equal(st_memkv_copy(&m, &A->m), ST_OK);
    const struct st_memkv_row *from = &A->m.rows[row];
    assert_true(from->value_size <= sizeof(bytes));
    memcpy(bytes, from->bytes + from->key_size, from->value_size);
    if (flip != 0)
        bytes[at_byte] = (char)((unsigned char)bytes[at_byte] ^ flip);
    struct st_str key = {from->bytes, from->key_size};
    assert_int_equal(m.kv.put(&m, key, (struct st_str){bytes, size}), ST_OK);
    enum st_code code = read_all(&m.kv);
    assert_true(allowed(code));
    if (size < from->value_size)
        assert_int_equal(code, ST_DAMAGED);
    assert_true(allowed(apply_all(&m)));
    st_memkv_release(&m);
}

static void test_damaged_rows_are_named(void **state)
{
    (void)state;
    fill();
    for (size_t row = 0; row < A->m.count; row++) {
        size_t size = A->m.rows[row].value_size;
        for (size_t cut = 0; cut < size; cut++)
            damage(row, cut, 0, 0);
        for (size_t byte = 0; byte < size; byte++) {
            for (unsigned flip = 1; flip < 256; flip *= 2)
                damage(row, size, byte, (unsigned char)flip);
            damage(row, size, byte, 0xff);
        }
    }
}

static void test_missing_rows_are_named(void **state)
{
    (void)state;
    fill();
    for (size_t row = 0; row < A->m.count; row++) {
        struct st_memkv m;
        st_memkv_init(&m, &alloc);
        assert_int_equal(st_memkv_copy(&m, &A->m), ST_OK);
        struct st_str key = {A->m.rows[row].bytes, A->m.rows[row].key_size};
        struct st_str entity, attribute;
        bool of_set = key.p[0] == 'f' && st_key_split(key, &entity, &attribute) &&
                      st_str_equal(attribute, ST_STR("q"));
        assert_int_equal(m.kv.del(&m, key), ST_OK);
        enum st_code code = read_all(&m.kv);
        assert_int_equal(code, of_set ? ST_DAMAGED : ST_OK);
        assert_true(allowed(apply_all(&m)));
        st_memkv_release(&m);
    }
}

static void test_no_memory_is_an_error(void **state)
{
    (void)state;
    fill();
    enum st_code code = ST_NO_MEMORY;
    for (int limit = 0; code == ST_NO_MEMORY; limit++) {
        struct st_memkv m;
        st_memkv_init(&m, &alloc);
        assert_int_equal(st_memkv_copy(&m, &A->m), ST_OK);
        allocations_left = limit;
        code = apply_all(&m);
        allocations_left = -1;
        assert_true(code == ST_NO_MEMORY || (code == ST_OK && limit > 5));
        st_memkv_release(&m);
    }
    code = ST_NO_MEMORY;
    for (int limit = 0; code == ST_NO_MEMORY; limit++) {
        allocations_left = limit;
        code = read_all(&A->m.kv);
        allocations_left = -1;
    }
    assert_int_equal(code, ST_OK);
}

/* --- the store in memory ---------------------------------------------------------------------- */

static enum st_code visit_key(void *arg, struct st_str key, struct st_str value)
{
    struct visited *v = arg;
    (void)value;
    memcpy(v->names + v->n, key.p, key.n);
    v->n += key.n;
    v->names[v->n++] = ' ';
    return v->stop_after > 0 && --v->stop_after == 0 ? ST_SCAN_STOP : ST_OK;
}

static void test_memkv(void **state)
{
    (void)state;
    static const char *const keys[] = {"b", "ab", "a", "abc", "ac"};
    struct st_kv *kv = &A->m.kv;
    struct st_str value, none = {NULL, 0};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(kv->put(kv->ctx, st_str_of(keys[i]), st_str_of(keys[i])), ST_OK);
    assert_int_equal(kv->put(kv->ctx, ST_STR("ab"), ST_STR("longer")), ST_OK);
    assert_int_equal(kv->get(kv->ctx, ST_STR("ab"), &value), ST_OK);
    assert_true(st_str_equal(value, ST_STR("longer")));
    assert_int_equal(kv->get(kv->ctx, ST_STR("abd"), &value), ST_NOT_FOUND);
    assert_int_equal(kv->del(kv->ctx, ST_STR("abd")), ST_OK);
    assert_int_equal(kv->del(kv->ctx, ST_STR("ac")), ST_OK);

    struct visited v = {.n = 0};
    assert_int_equal(kv->scan(kv->ctx, ST_STR("a"), none, visit_key, &v), ST_OK);
    assert_int_equal(kv->scan(kv->ctx, ST_STR("a"), ST_STR("ab"), visit_key, &v), ST_OK);
    assert_int_equal(kv->scan(kv->ctx, ST_STR("b"), ST_STR("a"), visit_key, &v), ST_OK);
    assert_int_equal(kv->scan(kv->ctx, ST_STR("a"), ST_STR("b"), visit_key, &v), ST_OK);
    v.stop_after = 1;
    assert_int_equal(kv->scan(kv->ctx, none, none, visit_key, &v), ST_OK);
    v.names[v.n] = '\0';
    assert_string_equal(v.names, "a ab abc abc b a ");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_gaps_wait),
        TEST(test_seen_waits_for_what_it_names),
        TEST(test_seen_in_the_same_record_counts),
        TEST(test_duplicates_change_nothing),
        TEST(test_two_records_with_one_dot_are_damage),
        TEST(test_unknown_operations_do_nothing),
        TEST(test_unusable_keys_are_refused),
        TEST(test_state_is_saved_and_loaded),
        TEST(test_rows_do_not_depend_on_the_order),
        TEST(test_a_plain_set_costs_one_get_and_one_put),
        TEST(test_too_many_siblings),
        TEST(test_too_many_writers),
        TEST(test_visiting_attributes),
        TEST(test_damaged_rows_are_named),
        TEST(test_missing_rows_are_named),
        TEST(test_no_memory_is_an_error),
        TEST(test_memkv),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
