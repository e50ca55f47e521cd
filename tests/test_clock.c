/*
 * test_clock.c - order of dots, the hybrid logical clock, version vectors against a table; dates.
 */
#include "core/clock.h"
#include "core/date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static size_t allocations_left = SIZE_MAX;

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return realloc(p, size);
}

static const struct st_alloc heap = {resize, NULL};

static uint64_t random_state = 20250817;

static uint64_t random_below(uint64_t bound)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (random_state >> 33) % bound;
}

static void test_order(void **state)
{
    struct st_dot a = {{1, 9}, 9}, b = {{2, 1}, 1}, c = {{2, 2}, 1}, d = {{2, 2}, 2};

    (void)state;
    assert_true(st_dot_compare(a, b) < 0 && st_dot_compare(b, a) > 0);
    assert_true(st_dot_compare(b, c) < 0 && st_dot_compare(c, d) < 0);
    assert_int_equal(st_dot_compare(d, d), 0);
    assert_true(st_writer_compare((struct st_writer){UINT64_MAX, 0}, (struct st_writer){1, 0}) > 0);
    assert_true(st_hlc_compare((struct st_hlc){1, 9}, (struct st_hlc){2, 0}) < 0);
    assert_true(st_hlc_compare((struct st_hlc){2, 1}, (struct st_hlc){2, 0}) > 0);
    assert_int_equal(st_epoch_ordinal(UINT64_C(0x0003ffffffffffff)), 3);
}

static void assert_hlc(struct st_hlc t, uint64_t ms, uint32_t logical)
{
    assert_true(t.ms == ms);
    assert_int_equal(t.logical, logical);
}

static void test_tick(void **state)
{
    (void)state;
    assert_hlc(st_hlc_tick((struct st_hlc){0, 0}, 1000), 1000, 0);
    assert_hlc(st_hlc_tick((struct st_hlc){1000, 7}, 1001), 1001, 0);
    assert_hlc(st_hlc_tick((struct st_hlc){1000, 7}, 1000), 1000, 8);
    assert_hlc(st_hlc_tick((struct st_hlc){1000, 7}, 10), 1000, 8); /* the clock was set back */
    assert_hlc(st_hlc_tick((struct st_hlc){1000, UINT32_MAX}, 1000), 1001, 0);
}

static void test_observe(void **state)
{
    const uint64_t wall = 1000000, most = wall + ST_CLOCK_AHEAD_MS_MAX;
    struct st_hlc last = {wall, 5};

    (void)state;
    assert_hlc(st_hlc_observe(last, (struct st_hlc){wall, 4}, wall), wall, 5);
    assert_hlc(st_hlc_observe(last, (struct st_hlc){wall, 6}, wall), wall, 6);
    assert_hlc(st_hlc_observe(last, (struct st_hlc){wall + 3, 0}, wall), wall + 3, 0);
    assert_hlc(st_hlc_observe(last, (struct st_hlc){most, 2}, wall), most, 2);
    assert_hlc(st_hlc_observe(last, (struct st_hlc){most + 1, 2}, wall), wall, 5);
    assert_hlc(st_hlc_observe(last, (struct st_hlc){UINT64_MAX, 2}, 0), wall, 5);
}

/* Whatever the wall clock does and whatever is heard, a writer's timestamps grow, and a timestamp
 * is later than every one heard before that was not too far ahead. */
static void test_clock_grows(void **state)
{
    struct st_hlc last = {0, 0};
    uint64_t wall = 1000000;
    int i;

    (void)state;
    for (i = 0; i < 100000; i++) {
        struct st_hlc heard = {wall - 50 + random_below(100), (uint32_t)random_below(3)};
        struct st_hlc next;

        wall = random_below(10) == 0 ? wall - random_below(500) : wall + random_below(20);
        last = st_hlc_observe(last, heard, wall);
        if (heard.ms <= wall + ST_CLOCK_AHEAD_MS_MAX)
            assert_true(st_hlc_compare(last, heard) >= 0);
        next = st_hlc_tick(last, wall);
        assert_true(st_hlc_compare(next, last) > 0);
        last = next;
    }
}

/* --- vectors against a table of counters ------------------------------------------------------ */

#define REPLICAS 6
#define EPOCHS   4

struct table {
    uint64_t counters[REPLICAS][EPOCHS];
};

static struct st_writer writer_at(size_t replica, size_t epoch)
{
    /* Spread, so that the sign bit and both halves of the order are used. */
    return (struct st_writer){(replica + 1) * UINT64_C(0x2aaaaaaaaaaaaaaa), (epoch << 48) + 1};
}

static void assert_vector(const struct st_vector *v, const struct table *t)
{
    size_t r, e, count = 0;

    for (r = 0; r < REPLICAS; r++) {
        for (e = 0; e < EPOCHS; e++) {
            uint64_t counter = t->counters[r][e];

            assert_true(st_vector_get(v, writer_at(r, e)) == counter);
            assert_true(st_vector_has(v, (struct st_dot){writer_at(r, e), counter}));
            assert_false(st_vector_has(v, (struct st_dot){writer_at(r, e), counter + 1}));
            count += counter > 0;
        }
    }
    assert_int_equal(v->count, count);
    for (r = 1; r < v->count; r++)
        assert_true(st_writer_compare(v->entries[r - 1].writer, v->entries[r].writer) < 0);
}

static bool table_within(const struct table *a, const struct table *b)
{
    size_t i;

    for (i = 0; i < REPLICAS * EPOCHS; i++) {
        if (a->counters[i / EPOCHS][i % EPOCHS] > b->counters[i / EPOCHS][i % EPOCHS])
            return false;
    }
    return true;
}

static void table_join(struct table *t, const struct table *other)
{
    size_t i;

    for (i = 0; i < REPLICAS * EPOCHS; i++) {
        uint64_t theirs = other->counters[i / EPOCHS][i % EPOCHS];
        uint64_t *ours = &t->counters[i / EPOCHS][i % EPOCHS];

        *ours = *ours < theirs ? theirs : *ours;
    }
}

static void raise_some(struct st_vector *v, struct table *t, size_t times)
{
    while (times-- > 0) {
        size_t r = random_below(REPLICAS), e = random_below(EPOCHS);
        uint64_t counter = random_below(4);

        assert_true(st_vector_raise(v, writer_at(r, e), counter));
        if (t->counters[r][e] < counter)
            t->counters[r][e] = counter;
    }
}

static void test_vectors_against_a_table(void **state)
{
    int round;

    (void)state;
    for (round = 0; round < 20000; round++) {
        struct table ta = {0}, tb = {0};
        struct st_vector a, b;

        st_vector_init(&a, &heap);
        st_vector_init(&b, &heap);
        raise_some(&a, &ta, random_below(30));
        raise_some(&b, &tb, random_below(30));
        if (random_below(2) == 0) { /* else "within" would hardly ever hold */
            assert_true(st_vector_join(&b, &a));
            table_join(&tb, &ta);
        }
        assert_vector(&a, &ta);
        assert_vector(&b, &tb);
        assert_int_equal(st_vector_within(&a, &b), table_within(&ta, &tb));
        assert_int_equal(st_vector_within(&b, &a), table_within(&tb, &ta));
        st_vector_release(&a);
        st_vector_release(&b);
    }
}

static void test_join_against_a_table(void **state)
{
    int round;

    (void)state;
    for (round = 0; round < 20000; round++) {
        struct table ta = {0}, tb = {0};
        struct st_vector a, b;

        st_vector_init(&a, &heap);
        st_vector_init(&b, &heap);
        raise_some(&a, &ta, random_below(20));
        raise_some(&b, &tb, random_below(20));
        assert_true(st_vector_join(&a, &b));
        table_join(&ta, &tb);
        assert_vector(&a, &ta);
        assert_vector(&b, &tb);
        assert_true(st_vector_within(&b, &a));
        assert_true(st_vector_join(&a, &a));
        assert_vector(&a, &ta);
        st_vector_release(&a);
        st_vector_release(&b);
    }
}

static void test_vector_limit(void **state)
{
    struct st_vector v, more;
    uint64_t i;

    (void)state;
    st_vector_init(&v, &heap);
    st_vector_init(&more, &heap);
    for (i = ST_WRITERS_MAX; i > 0; i--)
        assert_true(st_vector_raise(&v, (struct st_writer){i, 1}, i));
    assert_false(st_vector_raise(&v, (struct st_writer){ST_WRITERS_MAX + 1, 1}, 1));
    assert_true(st_vector_raise(&v, (struct st_writer){1, 1}, 9));
    assert_true(st_vector_raise(&more, (struct st_writer){7, 1}, 100));
    assert_true(st_vector_join(&v, &more));
    assert_true(st_vector_raise(&more, (struct st_writer){7, 2}, 1));
    assert_true(st_vector_raise(&more, (struct st_writer){8, 1}, 100));
    assert_false(st_vector_join(&v, &more)); /* all or nothing */
    assert_int_equal(v.count, ST_WRITERS_MAX);
    assert_true(st_vector_get(&v, (struct st_writer){7, 1}) == 100);
    assert_true(st_vector_get(&v, (struct st_writer){8, 1}) == 8);
    st_vector_release(&v);
    st_vector_release(&more);
}

static void test_vector_without_memory(void **state)
{
    struct st_vector v, more;
    uint64_t i;

    (void)state;
    st_vector_init(&v, &heap);
    st_vector_init(&more, &heap);
    for (i = 1; i <= 20; i++)
        assert_true(st_vector_raise(&more, (struct st_writer){i, 1}, i));
    allocations_left = 0;
    assert_false(st_vector_raise(&v, (struct st_writer){1, 1}, 1));
    assert_false(st_vector_join(&v, &more));
    assert_int_equal(v.count, 0);
    assert_true(st_vector_join(&more, &v));
    allocations_left = SIZE_MAX;
    assert_true(st_vector_join(&v, &more));
    assert_true(st_vector_within(&v, &more) && st_vector_within(&more, &v));
    st_vector_release(&v);
    st_vector_release(&v); /* twice is fine */
    st_vector_release(&more);
}

/* Day after day, as a calendar on paper would count them. */
static void test_dates(void **state)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    (void)state;
    struct st_date d = {.year = -401, .month = 1, .day = 1};
    int64_t days = st_date_days(d);
    assert_int_equal(st_date_days((struct st_date){1970, 1, 1}), 0);
    assert_int_equal(st_date_days((struct st_date){2026, 11, 24}), 20781);
    for (; d.year < 2500; days++) {
        struct st_date is = st_date_of(days);
        bool leap = d.year % 4 == 0 && (d.year % 100 != 0 || d.year % 400 == 0);
        if (is.year != d.year || is.month != d.month || is.day != d.day || st_date_days(d) != days)
            fail_msg("day %lld", (long long)days);
        if (d.day++ < lengths[d.month - 1] + (d.month == 2 && leap))
            continue;
        d.day = 1;
        if (++d.month > 12) {
            d.month = 1;
            d.year++;
        }
    }
}

static void test_dots_are_sorted_each_once(void **state)
{
    (void)state;
    const struct st_writer one = {1, 1}, two = {2, 1};
    const struct st_dot given[] = {{two, 1}, {one, 9}, {one, 3}, {two, 1}, {one, 9}, {one, 4}};
    const struct st_dot wanted[] = {{one, 3}, {one, 4}, {one, 9}, {two, 1}};
    struct st_dot list[6];
    size_t count = 0;
    for (size_t i = 0; i < 6; i++)
        count = st_dots_add(list, count, given[i]);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(st_dot_compare(list[i], wanted[i]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_tick),
        cmocka_unit_test(test_observe),
        cmocka_unit_test(test_clock_grows),
        cmocka_unit_test(test_vectors_against_a_table),
        cmocka_unit_test(test_join_against_a_table),
        cmocka_unit_test(test_vector_limit),
        cmocka_unit_test(test_vector_without_memory),
        cmocka_unit_test(test_dots_are_sorted_each_once),
        cmocka_unit_test(test_dates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
