/*
 * test_rows.c - the rows of the index against a plain list of them: random transactions with rows kept,
 * dropped, rolled back and forgotten; few are kept, so that all of that happens often.
 */
#include "lib_world.h"

#include "lib/internal.h"
#include "store/index_internal.h"

#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define ROWS         200
#define TRANSACTIONS 2000
#define VALUE_SIZE   40

struct model_row {
    char key[16], value[VALUE_SIZE];
    size_t key_size, value_size;
    bool exists;
};

static struct model_row rows[ROWS]; /* in the order of their keys */
static uint64_t chance;

static size_t below(size_t n)
{
    return (size_t)(world_random(&chance) % n);
}

static struct st_str key_of(const struct model_row *r)
{
    return (struct st_str){r->key, r->key_size};
}

static struct st_str value_of(const struct model_row *r)
{
    return (struct st_str){r->value, r->value_size};
}

static int compare(const void *a, const void *b)
{
    return st_str_compare(key_of(a), key_of(b));
}

/* Of each kind some: registers, what is counted, what is visible, what has no past. */
static void rows_begin(void)
{
    for (size_t i = 0; i < ROWS; i++) {
        struct model_row *r = &rows[i];
        *r = (struct model_row){.key_size = 0};
        r->key_size = (size_t)snprintf(r->key, sizeof r->key, "%c%c%zu", "qqqpufcb"[below(8)],
                                       "ab"[below(2)], i);
        r->key_size += r->key[0] == 'f' ? 2 : 0; /* two NULs */
    }
    qsort(rows, ROWS, sizeof *rows, compare);
}

/* What is counted, and the digest: the sum of the hashes of what is visible. */
static void check_totals(const struct st_index *x)
{
    uint64_t attributes = 0, pending = 0, unseen = 0, digest[2] = {0, 0};
    uint64_t said[2] = {x->position.digest[0], x->position.digest[1]};
    st_rows_digest(x, said);
    for (const struct model_row *r = rows; r < rows + ROWS; r++) {
        struct st_str key = key_of(r), value = st_row_visible(key, value_of(r));
        if (!r->exists)
            continue;
        attributes += r->key[0] == 'f';
        pending += r->key[0] == 'p';
        unseen += r->key[0] == 'u';
        if (!st_key_visible(key))
            continue;
        XXH128_hash_t h = XXH3_128bits_withSeed(value.p, value.n, XXH3_64bits(key.p, key.n));
        digest[0] += h.low64;
        digest[1] += h.high64;
    }
    assert_int_equal(x->position.attributes, attributes);
    assert_int_equal(x->position.pending, pending);
    assert_int_equal(x->position.unseen, unseen);
    assert_memory_equal(said, digest, sizeof digest);
}

static void put(const struct st_kv *kv, struct model_row *r, struct st_str value)
{
    char copy[VALUE_SIZE];
    memcpy(copy, value.p, value.n); /* it may be lent from what is written */
    assert_int_equal(kv->put(kv->ctx, key_of(r), value), ST_OK);
    memcpy(r->value, copy, value.n);
    r->value_size = value.n;
    r->exists = true;
}

static void put_any(const struct st_kv *kv, struct model_row *r)
{
    char bytes[VALUE_SIZE];
    size_t n = below(sizeof bytes);
    memset(bytes, 'a' + (int)below(26), sizeof bytes);
    put(kv, r, (struct st_str){bytes, n});
}

/* Now and then it is written again, shorter, with what was lent. */
static void get(const struct st_kv *kv, struct model_row *r)
{
    struct st_str value;
    enum st_code code = kv->get(kv->ctx, key_of(r), &value);
    assert_int_equal(code, r->exists ? ST_OK : ST_NOT_FOUND);
    if (!r->exists)
        return;
    assert_true(st_str_equal(value, value_of(r)));
    if (value.n > 1 && below(3) == 0)
        put(kv, r, (struct st_str){value.p + 1, value.n - 1});
}

struct scan {
    struct st_str prefix, after;
    size_t next, left;
};

/* The next row that a scan has to show; NULL: no more. */
static const struct model_row *expected(struct scan *s)
{
    while (s->next < ROWS) {
        const struct model_row *r = &rows[s->next++];
        struct st_str key = key_of(r);
        if (r->exists && key.n >= s->prefix.n && memcmp(key.p, s->prefix.p, s->prefix.n) == 0 &&
            st_str_compare(key, s->after) > 0)
            return r;
    }
    return NULL;
}

static enum st_code visit(void *arg, struct st_str key, struct st_str value)
{
    struct scan *s = arg;
    const struct model_row *r = expected(s);
    assert_true(r != NULL && st_str_equal(key, key_of(r)) && st_str_equal(value, value_of(r)));
    return --s->left == 0 ? ST_SCAN_STOP : ST_OK;
}

static void scan(const struct st_kv *kv)
{
    const struct model_row *r = &rows[below(ROWS)];
    bool whole = below(2) == 0;
    struct scan s = {.prefix = {r->key, 1 + below(2)}, .left = whole ? SIZE_MAX : 1 + below(5)};
    s.after = below(2) == 0 ? ST_STR("") : key_of(&rows[below(ROWS)]);
    assert_int_equal(kv->scan(kv->ctx, s.prefix, s.after, visit, &s), ST_OK);
    assert_true(!whole || expected(&s) == NULL);
}

static void step(const struct st_kv *kv)
{
    struct model_row *r = &rows[below(ROWS)];
    switch (below(8)) {
    case 0:
        assert_int_equal(kv->del(kv->ctx, key_of(r)), ST_OK);
        r->exists = false;
        break;
    case 1:
        scan(kv);
        break;
    case 2:
    case 3:
    case 4:
        put_any(kv, r);
        break;
    default:
        get(kv, r);
    }
}

static strata *open_index(void)
{
    strata *s = world_open("w", "anna");
    world_shows(s, "x", "y", "");
    return s;
}

static void test_rows_are_what_was_put(void **state)
{
    (void)state;
    static struct model_row before[ROWS];
    chance = 1;
    rows_begin();
    world_init("w");
    strata *s = open_index();
    for (int i = 0; i < TRANSACTIONS; i++) {
        bool fails = below(5) == 0;
        enum st_code code = fails ? ST_INVALID : ST_OK;
        memcpy(before, rows, sizeof rows);
        assert_int_equal(st_index_write_begin(s->index, 1000), ST_OK);
        check_totals(s->index);
        if (i == 0)
            st_rows_begin_empty(s->index);
        for (size_t n = below(80); n > 0; n--)
            step(st_index_kv(s->index));
        check_totals(s->index);
        assert_int_equal(st_index_write_end(s->index, code), code);
        if (fails)
            memcpy(rows, before, sizeof rows);
        if (i < TRANSACTIONS / 4)
            continue; /* all that it has stored came from here */
        if (below(6) == 0)
            st_index_forget(s->index);
        if (below(20) == 0) {
            strata_close(s);
            s = open_index();
        }
    }
    strata_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows_are_what_was_put, world_setup, world_teardown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
