/*
 * test_base.c - buffers, numbers as text, varints, UTF-8.
 */
#include "core/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Grants `left` allocations, then fails. */
struct budget {
    size_t left;
};

static void *budget_resize(void *ctx, void *p, size_t size)
{
    struct budget *budget = ctx;

    if (size == 0) {
        free(p);
        return NULL;
    }
    if (budget->left == 0)
        return NULL;
    budget->left--;
    return realloc(p, size);
}

static struct budget plenty = {SIZE_MAX};
static const struct st_alloc heap = {budget_resize, &plenty};

static void assert_text(const struct st_buf *b, const char *text)
{
    assert_false(b->failed);
    assert_int_equal(b->n, strlen(text));
    assert_memory_equal(b->p, text, b->n);
}

static void test_compare(void **state)
{
    (void)state;
    assert_int_equal(st_str_compare(ST_STR(""), (struct st_str){NULL, 0}), 0);
    assert_true(st_str_compare(ST_STR(""), ST_STR("a")) < 0);
    assert_true(st_str_compare(ST_STR("ab"), ST_STR("a")) > 0);
    assert_true(st_str_compare(ST_STR("a\xff"), ST_STR("ab")) > 0);
    assert_true(st_str_compare(ST_STR("a\0a"), ST_STR("a\0b")) < 0);
    assert_true(st_str_equal(ST_STR("a\0a"), ST_STR("a\0a")));
    assert_false(st_str_equal(ST_STR("a"), ST_STR("a\0")));
    assert_true(st_str_equal(st_str_of(NULL), ST_STR("")));
}

static void test_buffer_grows(void **state)
{
    struct st_buf b;
    char expected[5000];
    size_t i;

    (void)state;
    st_buf_init(&b, &heap);
    for (i = 0; i < sizeof(expected); i++) {
        expected[i] = (char)(i * 7);
        st_buf_add_char(&b, expected[i]);
    }
    assert_int_equal(b.n, sizeof(expected));
    assert_memory_equal(b.p, expected, sizeof(expected));
    st_buf_reset(&b);
    assert_int_equal(b.n, 0);
    assert_true(b.cap >= sizeof(expected));
    st_buf_add(&b, NULL, 0);
    st_buf_add_str(&b, ST_STR("ab"));
    st_buf_add_text(&b, "cd");
    assert_text(&b, "abcd");
    st_buf_release(&b);
    assert_null(b.p);
    st_buf_add_char(&b, 'x'); /* can be used again */
    assert_text(&b, "x");
    st_buf_release(&b);
}

static void test_buffer_fails_once_and_for_all(void **state)
{
    struct budget budget = {1};
    struct st_alloc alloc = {budget_resize, &budget};
    struct st_buf b;

    (void)state;
    st_buf_init(&b, &alloc);
    st_buf_add_text(&b, "kept");
    assert_false(st_buf_reserve(&b, 1000));
    assert_true(b.failed);
    st_buf_add_char(&b, 'x'); /* there is room, but the text would have a gap */
    st_buf_add_u64(&b, 1);
    st_buf_add_hex64(&b, 1);
    assert_int_equal(b.n, 4);
    assert_memory_equal(b.p, "kept", 4);
    st_buf_reset(&b);
    assert_true(st_buf_reserve(&b, 8));
    assert_false(st_buf_reserve(&b, SIZE_MAX)); /* sizes must not run over */
    st_buf_release(&b);
}

static void test_decimals(void **state)
{
    static const int64_t values[] = {
        0, 1, -1, 9, 10, -10, 99, 100, INT64_MAX, INT64_MIN, INT64_MIN + 1, 1795472400123,
    };
    struct st_buf b;
    char text[32];
    size_t i;

    (void)state;
    st_buf_init(&b, &heap);
    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        st_buf_reset(&b);
        st_buf_add_i64(&b, values[i]);
        snprintf(text, sizeof(text), "%lld", (long long)values[i]);
        assert_text(&b, text);
        st_buf_reset(&b);
        st_buf_add_u64(&b, (uint64_t)values[i]);
        snprintf(text, sizeof(text), "%llu", (unsigned long long)values[i]);
        assert_text(&b, text);
    }
    st_buf_release(&b);
}

static void test_hex_both_ways(void **state)
{
    uint64_t value = 0, parsed;
    struct st_buf b;
    char text[32];
    int i;

    (void)state;
    st_buf_init(&b, &heap);
    for (i = 0; i < 10000; i++) {
        st_buf_reset(&b);
        st_buf_add_hex64(&b, value);
        snprintf(text, sizeof(text), "%016llx", (unsigned long long)value);
        assert_text(&b, text);
        assert_true(st_parse_hex64(b.p, &parsed));
        assert_true(parsed == value);
        value = value * 6364136223846793005u + 1442695040888963407u;
    }
    st_buf_release(&b);
}

static void test_hex_refuses_every_other_byte(void **state)
{
    int place, byte;
    uint64_t value;

    (void)state;
    for (place = 0; place < 16; place++) {
        for (byte = 0; byte < 256; byte++) {
            char text[17] = "0123456789abcdef";
            bool digit = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'f');

            text[place] = (char)byte;
            assert_int_equal(st_parse_hex64(text, &value), digit);
        }
    }
}

static void test_varints(void **state)
{
    struct st_buf b;
    int bits, delta;

    (void)state;
    st_buf_init(&b, &heap);
    for (bits = 0; bits < 64; bits++) {
        for (delta = -1; delta <= 1; delta++) {
            uint64_t value = (UINT64_C(1) << bits) + (uint64_t)(int64_t)delta, taken = 0;
            struct st_str s;
            size_t cut;

            st_buf_reset(&b);
            st_buf_add_varint(&b, value);
            for (cut = 0; cut < b.n; cut++) {
                s = (struct st_str){b.p, cut};
                assert_false(st_take_varint(&s, &taken));
                assert_int_equal(s.n, cut);
            }
            st_buf_add_char(&b, '!');
            s = st_buf_str(&b);
            assert_true(st_take_varint(&s, &taken));
            assert_true(taken == value);
            assert_true(st_str_equal(s, ST_STR("!")));
        }
    }
    st_buf_release(&b);
}

static void test_varints_over_64_bits(void **state)
{
    struct st_str over = ST_STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02");
    struct st_str longer = ST_STR("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01");
    struct st_str most = ST_STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    uint64_t value;

    (void)state;
    assert_false(st_take_varint(&over, &value));
    assert_false(st_take_varint(&longer, &value));
    assert_true(st_take_varint(&most, &value));
    assert_true(value == UINT64_MAX);
}

/* RFC 3629 the other way round: decodes by arithmetic, then asks whether a code point of this
 * value needs this length. */
static bool utf8_reference(const uint8_t *p, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t i = 0;

    while (i < n) {
        size_t size = p[i] < 0x80           ? 1
                      : (p[i] >> 5) == 0x06 ? 2
                      : (p[i] >> 4) == 0x0e ? 3
                      : (p[i] >> 3) == 0x1e ? 4
                                            : 0;
        uint32_t code;
        size_t k;

        if (size == 0 || size > n - i)
            return false;
        code = size == 1 ? p[i] : p[i] & (0x7fu >> size);
        for (k = 1; k < size; k++) {
            if ((p[i + k] & 0xc0) != 0x80)
                return false;
            code = code << 6 | (p[i + k] & 0x3f);
        }
        if (code < least[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
            return false;
        i += size;
    }
    return true;
}

static bool same_verdict(const uint8_t *p, size_t n)
{
    return st_utf8_valid((struct st_str){(const char *)p, n}) == utf8_reference(p, n);
}

static void test_utf8_all_up_to_three_bytes(void **state)
{
    uint32_t i;

    (void)state;
    assert_true(st_utf8_valid((struct st_str){NULL, 0}));
    for (i = 0; i < 1u << 24; i++) {
        uint8_t p[3] = {(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};

        if (!same_verdict(p, 3) || (i < 1u << 16 && !same_verdict(p + 1, 2)) ||
            (i < 256 && !same_verdict(p + 2, 1)))
            fail_msg("sequence %06x", i);
    }
}

static void test_utf8_four_bytes_and_words(void **state)
{
    static const uint8_t edges[] = {0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xff};
    size_t lead, a, b, c, at;

    (void)state;
    for (lead = 0xf0; lead < 0x100; lead++) {
        for (a = 0; a < sizeof(edges); a++) {
            for (b = 0; b < sizeof(edges); b++) {
                for (c = 0; c < sizeof(edges); c++) {
                    /* At every place of an ASCII text, for the steps of eight bytes. */
                    for (at = 0; at < 17; at++) {
                        uint8_t p[] = "strata strata strata";

                        p[at] = (uint8_t)lead;
                        p[at + 1] = edges[a];
                        p[at + 2] = edges[b];
                        p[at + 3] = edges[c];
                        assert_true(same_verdict(p, sizeof(p) - 1));
                    }
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_buffer_grows),
        cmocka_unit_test(test_buffer_fails_once_and_for_all),
        cmocka_unit_test(test_decimals),
        cmocka_unit_test(test_hex_both_ways),
        cmocka_unit_test(test_hex_refuses_every_other_byte),
        cmocka_unit_test(test_varints),
        cmocka_unit_test(test_varints_over_64_bits),
        cmocka_unit_test(test_utf8_all_up_to_three_bytes),
        cmocka_unit_test(test_utf8_four_bytes_and_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
