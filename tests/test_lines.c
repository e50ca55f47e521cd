/* test_lines.c - the three-way merge of texts by lines, against plain rules on random texts. */
#include "files/lines.h"
#include "store/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char *merged(const char *base, const char *a, const char *b, enum st_lines_prefer prefer,
                    size_t *overlaps)
{
    struct st_buf out;
    st_buf_init(&out, st_alloc_libc());
    assert_int_equal(
        st_lines_merge(st_str_of(base), st_str_of(a), st_str_of(b), prefer, &out, overlaps), ST_OK);
    st_buf_add_char(&out, '\0');
    return out.p;
}

static void is(const char *base, const char *a, const char *b, const char *wanted, size_t overlaps)
{
    size_t found;
    char *text = merged(base, a, b, ST_PREFER_B, &found);
    assert_string_equal(text, wanted);
    assert_int_equal(found, overlaps);
    free(text);
}

static void test_merge(void **state)
{
    (void)state;
    is("", "", "", "", 0);
    is("1\n2\n3\n", "1\n2\n3\n", "1\n3\n", "1\n3\n", 0);
    is("1\n2\n3\n", "1\n2\n3\na\n", "b\n1\n2\n3\n", "b\n1\n2\n3\na\n", 0);
    is("1\n2\n3\n", "1\nx\n3\n", "1\nx\n3\n", "1\nx\n3\n", 0);
    is("1\n2\n3\n", "1\nx\n3\n", "1\ny\n3\n", "1\ny\n3\n", 1);
    is("1\n", "1\na\n", "1\nb\n", "1\na\nb\n", 0);
    is("1", "1\na", "1\nb", "1\nb", 1); /* the last line has no end: it was changed on both sides */
    is("1\n", "1\na", "1\nb", "1\na\nb", 0);
    is("1\r\n2\r\n", "1\r\n2\r\n3\r\n", "0\r\n1\r\n2\r\n", "0\r\n1\r\n2\r\n3\r\n", 0);
    is("", "a\n", "b\n", "a\nb\n", 0);
    is("1\n2\n3\n4\n5\n", "1\n3\n4\n5\n", "1\n2\n3\n4\nfive\n", "1\n3\n4\nfive\n", 0);
}

static uint64_t seed = 1;

static unsigned random_below(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

/* A text of numbered lines, some of them changed, removed or added. `mark` is unique to the side.
 */
static void vary(const char *from, char mark, char *out)
{
    out[0] = '\0';
    while (*from != '\0') {
        const char *end = strchr(from, '\n') + 1;
        unsigned what = random_below(10);
        if (what == 0)
            sprintf(out + strlen(out), "%c%u\n", mark, random_below(1000));
        if (what != 1 && what != 2)
            strncat(out, from, (size_t)(end - from));
        if (what == 2)
            sprintf(out + strlen(out), "%c%u\n", mark, random_below(1000));
        from = end;
    }
}

static void count_line(void *arg, struct st_str line)
{
    (void)line;
    (*(size_t *)arg)++;
}

static bool has_line(const char *text, const char *line, size_t n)
{
    for (const char *p = text; *p != '\0'; p = strchr(p, '\n') + 1)
        if (strncmp(p, line, n) == 0)
            return true;
    return false;
}

static void test_random(void **state)
{
    (void)state;
    static char base[4096], a[8192], b[8192];
    size_t clean = 0;
    for (int round = 0; round < 3000; round++) {
        base[0] = '\0';
        for (unsigned i = 0, n = random_below(60); i < n; i++)
            sprintf(base + strlen(base), "%u\n", random_below(20));
        vary(base, 'a', a);
        vary(base, 'b', b);
        size_t overlaps, none, removed = 0;
        char *text = merged(base, a, b, ST_PREFER_B, &overlaps);
        /* nothing that one side added is missing where nothing overlaps; b's additions never are */
        for (const char *p = a; overlaps == 0 && *p != '\0'; p = strchr(p, '\n') + 1)
            if (*p == 'a')
                assert_true(has_line(text, p, (size_t)(strchr(p, '\n') + 1 - p)));
        for (const char *p = b; *p != '\0'; p = strchr(p, '\n') + 1)
            if (*p == 'b')
                assert_true(has_line(text, p, (size_t)(strchr(p, '\n') + 1 - p)));
        clean += overlaps == 0;
        free(text);
        /* one side alone is that side, whichever it is */
        text = merged(base, a, base, ST_PREFER_B, &none);
        assert_string_equal(text, a);
        assert_int_equal(none, 0);
        free(text);
        text = merged(base, base, b, ST_PREFER_A, &none);
        assert_string_equal(text, b);
        free(text);
        /* both sides the same */
        text = merged(base, a, a, ST_PREFER_A, &none);
        assert_string_equal(text, a);
        assert_int_equal(none, 0);
        free(text);
        assert_int_equal(st_lines_removed(st_str_of(a), st_str_of(a), count_line, &removed), ST_OK);
        assert_int_equal(removed, 0);
    }
    assert_true(clean > 100);
}

/* More changes than are looked through, between lines that stand still: those hold. */
static void test_many_changes_apart(void **state)
{
    (void)state;
    enum { LINES = 6000 };
    char *base = calloc(LINES, 16), *a = calloc(LINES, 16), *b = calloc(LINES, 16),
         *wanted = calloc(LINES, 16);
    char *to[] = {base, a, b, wanted};
    for (int i = 0; i < LINES; i++) {
        char by_a = i % 4 == 0 ? 'a' : 'x', by_b = i % 1000 == 2 ? 'b' : 'x';
        if (i == 4000)
            by_b = 'b'; /* changed by both */
        char kinds[] = {'x', by_a, by_b, by_b == 'b' ? 'b' : by_a};
        for (int k = 0; k < 4; k++)
            to[k] += sprintf(to[k], "%c%d\n", kinds[k], i);
    }
    size_t overlaps;
    char *text = merged(base, a, b, ST_PREFER_B, &overlaps);
    assert_int_equal(overlaps, 1);
    assert_string_equal(text, wanted);
    free(text);
    free(base);
    free(a);
    free(b);
    free(wanted);
}

/* More changes than are looked through, and nothing in common: coarse, but nothing is lost. */
static void test_many_changes(void **state)
{
    (void)state;
    char *base = calloc(1, 200000), *a = calloc(1, 200000);
    for (int i = 0; i < 8000; i++) {
        sprintf(base + strlen(base), "x%d\n", i);
        sprintf(a + strlen(a), "y%d\n", i);
    }
    size_t overlaps;
    char *text = merged(base, a, base, ST_PREFER_B, &overlaps);
    assert_string_equal(text, a);
    free(text);
    free(base);
    free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_many_changes),
        cmocka_unit_test(test_many_changes_apart),
    };
    return cmocka_run_group_tests_name("lines", tests, NULL, NULL);
}
