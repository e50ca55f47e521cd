/*
 * test_state.c - every rule of core/state.h about what operations mean, one readable test each.
 * What holds for all combinations is explore.c's work; records, limits and damaged rows are in
 * test_state_rows.c.
 */
#include "state_world.h"

/* --- values ----------------------------------------------------------------------------------- */

static void test_nothing_written(void **state)
{
    (void)state;
    struct st_attribute a = read_attribute(A, "p");
    assert_int_equal(a.count, 0);
    assert_false(a.present || a.pending);
}

static void test_later_write_replaces(void **state)
{
    (void)state;
    const struct rec *first = WRITE(A, "ann", SET("p", "a"));
    expect(A, "p", "a", 1, false);
    WRITE(A, "ann", SET("p", "b"));
    expect(A, "p", "b", 1, false);
    struct st_attribute a = read_attribute(A, "p");
    assert_int_equal(a.items[0].over_count, 1);
    assert_int_equal(st_dot_compare(a.items[0].over, first->r.dot), 0);
}

static void test_context_not_clock_decides(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "a"));
    take_in(B, A);
    w.ms = 1; /* B's clock is far behind */
    WRITE(B, "bob", SET("p", "b"));
    expect(B, "p", "b", 1, false);
}

static void test_concurrent_values_are_pending(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "a"));
    WRITE(B, "bob", SET("p", "b"));
    take_in(A, B);
    take_in(B, A);
    expect(A, "p", "b", 2, true); /* the later is shown */
    expect(B, "p", "b", 2, true);
    expect_same(A, B);
    WRITE(B, "bob", SET("p", "c")); /* settles */
    expect(B, "p", "c", 1, false);
    assert_int_equal(read_attribute(B, "p").items[0].over_count, 2);
    take_in(A, B);
    expect(A, "p", "c", 1, false);
}

/* Of two concurrent writes that both saw x, the one applied first replaces it: what an item
 * replaced is local, and no part of what replicas agree on. */
static void test_what_was_replaced_is_local(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "x"));
    take_in(B, A);
    take_in(C, A);
    WRITE(B, "bob", SET("p", "y"));
    WRITE(C, "cid", SET("p", "z"));
    deliver(B, C);
    deliver(C, B);
    assert_int_equal(read_attribute(B, "p").items[0].over_count, 1);
    assert_int_equal(read_attribute(B, "p").items[1].over_count, 0);
    assert_int_equal(read_attribute(C, "p").items[0].over_count, 0);
    assert_int_equal(read_attribute(C, "p").items[1].over_count, 1);
    expect_same(B, C);
    assert_false(st_memkv_equal(&B->m, &C->m, NULL));
}

static void test_what_names_others_waits_for_them(void **state)
{
    (void)state;
    const struct rec *one = WRITE(A, "ann", SET("port", "1"));
    assert_int_equal(give(B, one), ST_OK);
    const struct rec *seen = write_seen(B);
    const struct rec *two = WRITE(B, "bob", SET("port", "2"));
    assert_int_equal(give(C, seen), ST_UNAVAILABLE);
    assert_int_equal(give(C, two), ST_UNAVAILABLE);
    assert_int_equal(give(C, one), ST_OK);
    assert_int_equal(give(C, seen), ST_OK);
    assert_int_equal(give(C, two), ST_OK);
    expect(C, "port", "2", 1, false);
}

static void test_equal_times_fall_to_the_dot(void **state)
{
    (void)state;
    WRITE(B, "bob", SET("p", "b"));
    w.ms--;
    WRITE(A, "ann", SET("p", "a"));
    take_in(A, B);
    expect(A, "p", "b", 2, true);
}

static void test_equal_values_are_not_pending(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "a"));
    WRITE(B, "bob", SET("p", "a"));
    take_in(A, B);
    expect(A, "p", "a", 2, false);
    struct st_op link = SET("p", "a");
    link.value_kind = ST_VALUE_LINK;
    WRITE(C, "cid", link);
    take_in(A, C);
    expect(A, "p", "a", 3, true); /* a link is another value than a text */
}

static void test_unset_beside_set_is_pending(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "a"));
    take_in(B, A);
    WRITE(A, "ann", UNSET("p"));
    expect(A, "p", NULL, 1, false);
    assert_false(read_attribute(A, "p").present);
    WRITE(B, "bob", SET("p", "b"));
    take_in(A, B);
    expect(A, "p", "b", 2, true);
    WRITE(A, "ann", UNSET("p"));
    expect(A, "p", NULL, 1, false);
}

static void test_times_show_the_greatest(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("seen_at", "2030"));
    WRITE(B, "bob", SET("seen_at", "2025")); /* written later, means earlier */
    take_in(A, B);
    expect(A, "seen_at", "2030", 2, false);
    WRITE(C, "cid", UNSET("seen_at"));
    take_in(A, C);
    expect(A, "seen_at", "2030", 3, true);
}

static void test_operations_of_one_record(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "a"), SET("p", "b"), SET("q", "c"));
    expect(A, "p", "b", 1, false);
    assert_int_equal(read_attribute(A, "p").items[0].op, 1);
    expect(A, "q", "c", 1, false);
}

/* --- members ---------------------------------------------------------------------------------- */

static void test_add_wins_over_concurrent_remove(void **state)
{
    (void)state;
    WRITE(A, "ann", ADD("p", "m"));
    take_in(B, A);
    WRITE(A, "ann", REMOVE("p", "m"));
    assert_false(has_member(A, "p", "m"));
    WRITE(B, "bob", ADD("p", "m"));
    take_in(A, B);
    take_in(B, A);
    assert_true(has_member(A, "p", "m"));
    expect_same(A, B);
}

static void test_member_row_goes_with_its_last_add(void **state)
{
    (void)state;
    WRITE(A, "ann", ADD("p", "m"), ADD("p", "n"));
    size_t rows = A->m.count;
    WRITE(A, "ann", REMOVE("p", "m"));
    assert_int_equal(A->m.count, rows - 1);
    WRITE(A, "ann", ADD("p", "n")); /* again: one live add */
    expect(A, "p", NULL, 1, false);
    WRITE(A, "ann", REMOVE("p", "n"));
    assert_int_equal(A->m.count, rows - 2);
    assert_false(read_attribute(A, "p").present);
}

static void test_kinds_are_different_members(void **state)
{
    (void)state;
    struct st_op link = ADD("p", "m");
    link.value_kind = ST_VALUE_LINK;
    WRITE(A, "ann", ADD("p", "m"), link);
    expect(A, "p", NULL, 2, false);
    WRITE(A, "ann", REMOVE("p", "m"));
    assert_int_equal(read_attribute(A, "p").items[0].value_kind, ST_VALUE_LINK);
}

static void test_set_replaces_members(void **state)
{
    (void)state;
    WRITE(A, "ann", ADD("p", "m"), ADD("p", "n"));
    take_in(B, A);
    WRITE(A, "ann", SET("p", "v"));
    expect(A, "p", "v", 1, false);
    assert_int_equal(read_attribute(A, "p").items[0].over_count, 2);
    WRITE(B, "bob", ADD("p", "o"));
    take_in(A, B);
    assert_true(has_member(A, "p", "o") && !has_member(A, "p", "m"));
    expect(A, "p", "v", 2, true); /* a value beside a member */
    WRITE(A, "ann", UNSET("p"));
    expect(A, "p", NULL, 1, false);
}

static void test_add_after_unset_ends_the_absence(void **state)
{
    (void)state;
    WRITE(A, "ann", UNSET("p"));
    WRITE(A, "ann", ADD("p", "m"));
    expect(A, "p", NULL, 1, false);
    assert_true(read_attribute(A, "p").present);
}

static void test_absence_beside_members_is_not_pending(void **state)
{
    (void)state;
    WRITE(A, "ann", UNSET("p"));
    WRITE(B, "bob", ADD("p", "m"));
    take_in(A, B);
    expect(A, "p", NULL, 2, false);
    struct st_attribute a = read_attribute(A, "p");
    assert_true(a.present);
    assert_int_equal(a.shown, a.count); /* shown as a set */
}

static void test_add_does_not_replace_a_value(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "v"));
    WRITE(A, "ann", ADD("p", "m"));
    expect(A, "p", "v", 2, true);
}

static void test_remove_of_nothing_leaves_a_register_row(void **state)
{
    (void)state;
    WRITE(A, "ann", REMOVE("p", "m"));
    WRITE(B, "bob", ADD("p", "m"));
    deliver(A, B);
    deliver(B, A);
    assert_true(has_member(A, "p", "m"));
    expect_same(A, B);
}

/* --- narrowed contexts ------------------------------------------------------------------------ */

static void test_at_narrows_to_an_older_rendering(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "a"));
    WRITE(A, "bob", SET("p", "b"));
    struct st_dot first = {A->writer, 1};
    WRITE(A, "cid", at(SET("p", "c"), &first, 1)); /* edits what showed "a" */
    expect(A, "p", "c", 2, true);
    assert_int_equal(read_attribute(A, "p").items[1].over_count, 0);
}

/* An edit of the latest value leaves an earlier one of the same writer that is beside it. */
static void test_at_names_records_not_all_before_them(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "a"));
    WRITE(A, "bob", at(SET("p", "b"), NULL, 0));
    struct st_dot second = {A->writer, 2};
    WRITE(A, "cid", at(SET("p", "c"), &second, 1));
    expect(A, "p", "c", 2, true);
    assert_true(read_attribute(A, "p").items[0].dot.counter == 1);
}

static void test_at_cannot_widen(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "a"));
    struct st_dot first = {A->writer, 1};
    WRITE(B, "bob", at(SET("p", "b"), &first, 1)); /* never saw A's record */
    deliver(A, B);
    deliver(B, A);
    expect(A, "p", "b", 2, true);
    expect_same(A, B);
}

static void test_at_leaves_out_the_same_record(void **state)
{
    (void)state;
    struct st_dot own = {A->writer, 1};
    WRITE(A, "ann", SET("p", "a"), at(SET("p", "b"), &own, 1));
    expect(A, "p", "b", 2, true);
}

static void test_at_narrows_a_remove(void **state)
{
    (void)state;
    struct st_dot first = {A->writer, 1};
    WRITE(A, "ann", SET("q", "a"));
    WRITE(A, "ann", ADD("p", "m"));
    WRITE(A, "ann", at(REMOVE("p", "m"), &first, 1));
    assert_true(has_member(A, "p", "m"));
    WRITE(A, "ann", REMOVE("p", "m"));
    assert_false(has_member(A, "p", "m"));
}

/* --- overwritten unseen ----------------------------------------------------------------------- */

static void test_two_agents_of_one_replica(void **state)
{
    (void)state;
    const struct rec *x = WRITE(A, "ann", SET("p", "x"));
    /* Both read x; then both write. */
    const struct rec *y = WRITE(A, "ann", SET_READ("p", "y", x->r.dot));
    assert_int_equal(unseen(A).count, 0);
    const struct rec *z = WRITE(A, "bob", SET_READ("p", "z", x->r.dot));
    expect(A, "p", "z", 1, false); /* one replica: no conflict */
    struct unseen_list list = unseen(A);
    assert_int_equal(list.count, 1);
    assert_int_equal(st_dot_compare(list.rows[0].dot, z->r.dot), 0);
    assert_int_equal(st_dot_compare(list.rows[0].lost, y->r.dot), 0);
    assert_true(st_str_equal(list.rows[0].lost_value, ST_STR("y")));
    assert_true(st_str_equal(list.rows[0].lost_agent, ST_STR("ann")));
    assert_true(st_str_equal(list.rows[0].agent, ST_STR("bob")));
    assert_int_equal(list.rows[0].lost_count, 1);
}

static void test_blind_and_informed_writes_are_not_listed(void **state)
{
    (void)state;
    WRITE(A, "ann", SET("p", "x"));
    const struct rec *y = WRITE(A, "bob", SET("p", "y")); /* blind */
    WRITE(A, "ann", SET_READ("p", "z", y->r.dot));        /* had read it */
    const struct rec *z = WRITE(A, "ann", SET("p", "own"));
    (void)z;
    WRITE(A, "ann", SET_READ("p", "again", y->r.dot)); /* its own value */
    assert_int_equal(unseen(A).count, 0);
}

static void test_ack_removes_the_row(void **state)
{
    (void)state;
    const struct rec *x = WRITE(A, "ann", SET("p", "x"));
    WRITE(A, "ann", UNSET("p"));
    const struct rec *z = WRITE(A, "bob", SET_READ("p", "z", x->r.dot), SET("q", "v"));
    struct unseen_list list = unseen(A);
    assert_int_equal(list.count, 1);
    assert_int_equal(list.rows[0].lost_kind, ST_ITEM_ABSENT);
    WRITE(A, "ann", ACK(x->r.dot)); /* another record */
    assert_int_equal(unseen(A).count, 1);
    WRITE(A, "ann", ACK(z->r.dot));
    assert_int_equal(unseen(A).count, 0);
    expect(A, "p", "z", 1, false);
}

static void test_ack_of_what_its_writer_does_not_know_does_nothing(void **state)
{
    (void)state;
    const struct rec *x = WRITE(A, "ann", SET("p", "x"));
    WRITE(A, "ann", SET("p", "y"));
    const struct rec *z = WRITE(A, "bob", SET_READ("p", "z", x->r.dot));
    WRITE(B, "bob", ACK(z->r.dot));
    deliver(A, B);
    assert_int_equal(unseen(A).count, 1);
}

/* --- counters, board -------------------------------------------------------------------------- */

static void test_counters_add_up(void **state)
{
    (void)state;
    WRITE(A, "ann", COUNT(5));
    WRITE(A, "ann", COUNT(-7), COUNT(1));
    WRITE(B, "bob", COUNT(10));
    take_in(A, B);
    take_in(B, A);
    assert_int_equal(total(A), 9);
    assert_int_equal(total(B), 9);
    expect_same(A, B);
}

static void test_counters_saturate_and_stay(void **state)
{
    (void)state;
    WRITE(A, "ann", COUNT(ST_SUM_MAX - 1));
    assert_int_equal(total(A), ST_SUM_MAX - 1);
    WRITE(A, "ann", COUNT(INT64_MAX));
    WRITE(A, "ann", COUNT(-5)); /* what was cut off is unknown: it stays */
    assert_int_equal(total(A), ST_SUM_MAX);
    WRITE(B, "bob", COUNT(-5));
    take_in(A, B);
    assert_int_equal(total(A), ST_SUM_MAX);
    WRITE(C, "cid", COUNT(INT64_MIN));
    assert_int_equal(total(C), -ST_SUM_MAX);
}

static void test_totals_saturate(void **state)
{
    (void)state;
    WRITE(A, "ann", COUNT(ST_SUM_MAX - 1));
    WRITE(B, "bob", COUNT(ST_SUM_MAX - 1));
    take_in(A, B);
    assert_int_equal(total(A), ST_SUM_MAX);
}

static enum st_code visit_counter(void *arg, struct st_str name, int64_t value)
{
    size_t *seen = arg;
    static const char *const names[] = {"m", "n", "na"};
    assert_true(st_str_equal(name, st_str_of(names[*seen])));
    assert_int_equal(value, 3 + *seen);
    return ++*seen == 3 ? ST_SCAN_STOP : ST_OK;
}

static void test_counters_in_name_order(void **state)
{
    (void)state;
    struct st_op m = COUNT(3), n = COUNT(2), na = COUNT(5), z = COUNT(1);
    m.entity = ST_STR("m");
    na.entity = ST_STR("na");
    z.entity = ST_STR("z");
    WRITE(A, "ann", na, z, n, m);
    WRITE(B, "bob", n);
    take_in(A, B);
    size_t seen = 0;
    struct st_str none = {NULL, 0};
    assert_int_equal(st_counter_each(&A->m.kv, none, visit_counter, &seen), ST_OK);
    assert_int_equal(seen, 3); /* stopped before "z" */
    seen = 1;
    assert_int_equal(st_counter_each(&A->m.kv, ST_STR("n"), visit_counter, &seen), ST_OK);
    assert_int_equal(seen, 3);
}

static void expect_status(struct replica *p, const char *agent, const char *text)
{
    struct st_buf key;
    struct st_str value;
    struct st_status_row row;
    st_buf_init(&key, &alloc);
    st_key_status(&key, st_str_of(agent));
    assert_int_equal(p->m.kv.get(&p->m, st_buf_str(&key), &value), ST_OK);
    assert_int_equal(st_status_decode(st_buf_str(&key), value, &row), ST_OK);
    assert_true(st_str_equal(row.status, st_str_of(text)));
    assert_int_equal(row.incarnation, 5);
    st_buf_release(&key);
}

static void test_the_latest_beat_is_the_status(void **state)
{
    (void)state;
    WRITE(B, "ann", BEAT("early"));
    WRITE(A, "ann", BEAT("late"));
    WRITE(A, "bob", BEAT("other"), BEAT("other's second"));
    deliver(A, B);
    deliver(B, A);
    expect_status(A, "ann", "late");
    expect_status(B, "ann", "late");
    expect_status(B, "bob", "other's second");
    expect_same(A, B);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_written),
        TEST(test_later_write_replaces),
        TEST(test_context_not_clock_decides),
        TEST(test_concurrent_values_are_pending),
        TEST(test_what_was_replaced_is_local),
        TEST(test_what_names_others_waits_for_them),
        TEST(test_equal_times_fall_to_the_dot),
        TEST(test_equal_values_are_not_pending),
        TEST(test_unset_beside_set_is_pending),
        TEST(test_times_show_the_greatest),
        TEST(test_operations_of_one_record),
        TEST(test_add_wins_over_concurrent_remove),
        TEST(test_member_row_goes_with_its_last_add),
        TEST(test_kinds_are_different_members),
        TEST(test_set_replaces_members),
        TEST(test_add_after_unset_ends_the_absence),
        TEST(test_absence_beside_members_is_not_pending),
        TEST(test_add_does_not_replace_a_value),
        TEST(test_remove_of_nothing_leaves_a_register_row),
        TEST(test_at_narrows_to_an_older_rendering),
        TEST(test_at_names_records_not_all_before_them),
        TEST(test_at_cannot_widen),
        TEST(test_at_leaves_out_the_same_record),
        TEST(test_at_narrows_a_remove),
        TEST(test_two_agents_of_one_replica),
        TEST(test_blind_and_informed_writes_are_not_listed),
        TEST(test_ack_removes_the_row),
        TEST(test_ack_of_what_its_writer_does_not_know_does_nothing),
        TEST(test_counters_add_up),
        TEST(test_counters_saturate_and_stay),
        TEST(test_totals_saturate),
        TEST(test_counters_in_name_order),
        TEST(test_the_latest_beat_is_the_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
