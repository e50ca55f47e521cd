/*
 * test_json_text.c - values as text: what jansson writes and reads, byte for byte, on random values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "edge/json_text.h"

static uint64_t random_state;
static unsigned allocations_left;

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t below(uint64_t bound)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % bound;
}

/* Everything that has to be escaped, or might be taken for it. */
static json_t *random_string(bool nul)
{
    static const char *const pieces[] = {"a",    "\"", "\\",         "\\u001f",    "/",    "\n",
                                         "\t",   "\r", "\b",         "\f",         "\x01", "\x1f",
                                         "\x7f", "ü",  "\U0001F600", "plain text", " "};
    char text[400] = "";
    size_t n = 0;
    for (uint64_t i = below(12); i > 0; i--) {
        const char *piece = pieces[below(sizeof pieces / sizeof pieces[0])];
        memcpy(text + n, piece, strlen(piece));
        n += strlen(piece);
    }
    if (nul && below(8) == 0)
        text[n++] = '\0';
    return json_stringn(text, n);
}

static json_t *random_value(unsigned depth)
{
    json_t *value;
    switch (below(depth > 0 ? 9 : 7)) {
    case 0:
        return json_true();
    case 1:
        return json_false();
    case 2:
        return json_null();
    case 3:
        return json_integer((json_int_t)(below(UINT64_MAX) >> below(64)) - (json_int_t)below(1000));
    case 4:
        return json_real((double)below(UINT64_MAX) / (double)(1 + below(1000)));
    case 5:
    case 6:
        return random_string(true);
    case 7:
        value = json_array();
        for (uint64_t i = below(5); i > 0; i--)
            assert_int_equal(json_array_append_new(value, random_value(depth - 1)), 0);
        return value;
    default:
        value = json_object();
        for (uint64_t i = below(5); i > 0; i--) {
            json_t *key = random_string(false); /* the library reads no key with a NUL */
            assert_int_equal(
                json_object_set_new(value, json_string_value(key), random_value(depth - 1)), 0);
            json_decref(key);
        }
        return value;
    }
}

/* Hex digits as JSON.stringify() has them; jansson's are upper case. */
static void lower_escapes(char *text)
{
    for (char *p = text; *p != '\0'; p++)
        if (*p == '\\' && *++p == 'u')
            for (int i = 1; i <= 4; i++)
                if (p[i] >= 'A' && p[i] <= 'F')
                    p[i] = (char)(p[i] + ('a' - 'A'));
}

static void same_as_the_library(const json_t *value, unsigned indent)
{
    size_t flags = JSON_ENCODE_ANY | (indent > 0 ? JSON_INDENT(indent) : JSON_COMPACT);
    struct edge_text t = {0};
    edge_text_add(&t, "before", 6);
    edge_text_add_json(&t, value, indent);
    edge_text_add(&t, "", 1);
    assert_false(t.failed);
    char *wanted = json_dumps(value, flags);
    assert_non_null(wanted);
    lower_escapes(wanted);
    assert_memory_equal(t.p, "before", 6);
    assert_string_equal(t.p + 6, wanted);
    assert_int_equal(t.n, 6 + strlen(wanted) + 1);
    json_error_t error;
    json_t *read = json_loadb(t.p + 6, t.n - 7, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (read == NULL)
        fail_msg("%s in %s", error.text, t.p + 6);
    assert_true(json_equal(read, value));
    json_decref(read);
    free(wanted);
    edge_text_release(&t);
}

static void test_random_values(void **state)
{
    (void)state;
    allocations_left = UINT_MAX;
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        random_state = seed;
        json_t *value = random_value(5);
        same_as_the_library(value, 0);
        same_as_the_library(value, 2);
        json_decref(value);
    }
}

void *__real_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_realloc(void *p, size_t n)
{
    return allocations_left == 0 ? NULL : (allocations_left--, __real_realloc(p, n));
}

/* Whole, or known to be not: whichever allocation fails. */
static void test_without_memory(void **state)
{
    (void)state;
    json_t *value = json_pack("{s:[i, s, {s:[]}], s:n}", "a", 1, "a \"longer\" text", "b", "c");
    for (int i = 0; i < 200; i++)
        assert_int_equal(json_array_append_new(json_object_get(value, "a"), json_string("\n")), 0);
    char *wanted = json_dumps(value, JSON_INDENT(2));
    unsigned failures = 0;
    for (bool whole = false; !whole; failures += !whole) {
        struct edge_text t = {0};
        allocations_left = failures;
        edge_text_add_json(&t, value, 2);
        whole = !t.failed;
        allocations_left = 100;
        size_t n = t.n;
        assert_memory_equal(t.p != NULL ? t.p : "", wanted, n);
        edge_text_add(&t, "more", 4);
        edge_text_add_json(&t, value, 0);
        assert_int_equal(t.failed, !whole);
        assert_true(whole ? n == strlen(wanted) && t.n > n : t.n == n);
        edge_text_release(&t);
    }
    assert_true(failures > 3);
    /* Asking for room alone changes nothing. */
    struct edge_text t = {0};
    edge_text_add(&t, "kept", 4);
    allocations_left = 0;
    assert_false(edge_text_room(&t, 1000));
    allocations_left = 100;
    assert_false(t.failed);
    assert_int_equal(t.n, 4);
    assert_memory_equal(t.p, "kept", 4);
    /* A value for which there was none. */
    edge_text_add_json(&t, NULL, 0);
    assert_true(t.failed);
    edge_text_release(&t);
    assert_null(t.p);
    json_decref(value);
    free(wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_values),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests_name("json text", tests, NULL, NULL);
}
