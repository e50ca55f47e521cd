/*
 * test_glob.c - patterns of paths: examples, and small-scope exhaustion. Every pattern of up to
 * four parts of a small alphabet is compared on every path of up to six characters with a matcher
 * that tries everything; two patterns overlap if and only if one of those paths matches both.
 */
#include "core/glob.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define S(text) st_str_of(text)

static void expect_match(const char *pattern, const char *path, bool expected)
{
    if (st_glob_match(S(pattern), S(path)) != expected)
        fail_msg("%s %s %s", pattern, expected ? "does not match" : "matches", path);
}

static void expect_overlap(const char *a, const char *b, bool expected)
{
    if (st_glob_overlap(S(a), S(b)) != expected || st_glob_overlap(S(b), S(a)) != expected)
        fail_msg("%s and %s: %s", a, b, expected ? "no overlap" : "overlap");
}

static void test_examples(void **state)
{
    (void)state;
    expect_match("src/**", "src", true);
    expect_match("src/**", "src/a/b.c", true);
    expect_match("src/**", "srcs/a", false);
    expect_match("**/x", "x", true);
    expect_match("a/**/b", "a/b", true);
    expect_match("a/**/b", "a/x/y/b", true);
    expect_match("a/*/b", "a/b", false);
    expect_match("*.c", "a/b.c", false);
    expect_match("*.c", ".c", true);
    expect_match("[a-c]?", "b\xc3\xa9", true); /* one code point */
    expect_match("?", "\xff", true);           /* one byte that is none */
    expect_match("??", "\xc3\xa9", false);
    expect_match("[!a]", "b", true);
    expect_match("[^a]", "a", false);
    expect_match("[]]", "]", true);
    expect_match("[a-]", "-", true);
    expect_match("[\\]]", "]", true);
    expect_match("\\*", "*", true);
    expect_match("\\*", "a", false);
    expect_match("a", "a/", false);
    expect_match("**", "", false);

    expect_overlap("src/**", "src/a/*.c", true);
    expect_overlap("src/**", "docs/**", false);
    expect_overlap("**/*.c", "src/*.h", false);
    expect_overlap("**/*.c", "src/**", true);
    expect_overlap("*a", "b*", true);
    expect_overlap("[a-m]*", "[n-z]*", false);
    expect_overlap("[a-m]*", "[m-z]*", true);
    expect_overlap("[!a-y]", "[!z]", true);
    expect_overlap("[!-~]", "[!!-~]", true);
    expect_overlap("[\xc3\xa9-\xc3\xaf]", "[\xc3\xac]", true);
    expect_overlap("a/*/c", "a/**", true);
    expect_overlap("a/*/c", "a/*", false);
    expect_overlap("not valid/", "anything", true); /* on the safe side */
}

static void test_refused(void **state)
{
    static const char *const bad[] = {"",      "/",     "/a",  "a/",    "a//b",  ".",   "..",
                                      "a/./b", "a/..",  "a**", "**a",   "[",     "[a",  "[]",
                                      "[!]",   "[b-a]", "a\\", "{a,b}", "a[/]b", "\\.", "***"};
    static const char *const good[] = {"a", "...", ".a", "a b", "[a]", "[a/]"};
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (st_glob_check(S(bad[i])) == ST_OK)
            fail_msg("%s is taken", bad[i]);
    }
    for (size_t i = 0; i + 1 < sizeof(good) / sizeof(good[0]); i++)
        assert_int_equal(st_glob_check(S(good[i])), ST_OK);
    assert_int_equal(st_glob_check(S(good[5])), ST_INVALID);
}

static void test_long_ones(void **state)
{
    char a[ST_NAME_SIZE_MAX + 2], b[ST_NAME_SIZE_MAX + 2];
    (void)state;
    memset(a, '*', sizeof(a));
    for (size_t i = 0; i < ST_NAME_SIZE_MAX; i++) {
        a[i] = i % 2 == 0 ? '*' : 'a';
        b[i] = i % 2 == 0 ? 'a' : '/';
    }
    struct st_str x = {a, ST_NAME_SIZE_MAX}, y = {b, ST_NAME_SIZE_MAX};
    assert_false(st_glob_overlap(x, y));
    assert_true(st_glob_overlap(x, x));
    assert_true(st_glob_match(S("**/a"), y));
    assert_true(st_glob_overlap(S("**/a/**/a/**"), y));
    x.n++;
    assert_int_equal(st_glob_check(x), ST_LIMIT);
}

/* --- everything that is small ------------------------------------------------------------- */

#define PARTS_MAX 4
#define PATH_MAX_ 6

static const char *const parts[] = {"a", "b", "*", "?", "/", "**", "[!a]", "[a-b]"};
#define PARTS (sizeof(parts) / sizeof(parts[0]))
static const char letters[] = "abc/";

#define PATTERNS_MAX 5000
#define PATHS_MAX    6000
#define WORDS        ((PATHS_MAX + 63) / 64)

static char patterns[PATTERNS_MAX][PARTS_MAX * 5 + 1];
static char paths[PATHS_MAX][PATH_MAX_ + 1];
static size_t pattern_count, path_count;
static uint64_t matches[PATTERNS_MAX][WORDS];

/* Tries every length for every star; knows nothing of tables. */
static bool brute(const char *p, const char *s)
{
    if (*p == '\0')
        return *s == '\0';
    if (strncmp(p, "**", 2) == 0) {
        /* A component: none, or each number of whole ones. */
        if (p[2] == '\0') {
            return true;
        }
        for (; s != NULL; s = strchr(s, '/') != NULL ? strchr(s, '/') + 1 : NULL) {
            if (brute(p + 3, s))
                return true;
        }
        return false;
    }
    if (*p == '*') {
        for (;; s++) {
            if (brute(p + 1, s))
                return true;
            if (*s == '\0' || *s == '/')
                return false;
        }
    }
    if (strcmp(p, "/**") == 0 && *s == '\0')
        return true;
    /* "/" and more "**" behind it may be nothing at all. */
    if (strncmp(p, "/**/", 4) == 0 && *s == '\0')
        return brute(p + 3, s);
    if (*p == '/')
        return *s == '/' && brute(p + 1, s + 1);
    if (*s == '\0' || *s == '/')
        return false;
    if (*p == '?')
        return brute(p + 1, s + 1);
    if (strncmp(p, "[!a]", 4) == 0)
        return *s != 'a' && brute(p + 4, s + 1);
    if (strncmp(p, "[a-b]", 5) == 0)
        return *s != 'c' && brute(p + 5, s + 1);
    return *p == *s && brute(p + 1, s + 1);
}

static void make_paths(void)
{
    size_t begin = 0;
    path_count = 0;
    paths[path_count++][0] = '\0';
    for (size_t length = 1; length <= PATH_MAX_; length++) {
        size_t end = path_count;
        for (size_t i = begin; i < end; i++) {
            for (const char *c = letters; *c != '\0'; c++) {
                size_t n = strlen(paths[i]);
                if (*c == '/' && (n == 0 || paths[i][n - 1] == '/'))
                    continue;
                memcpy(paths[path_count], paths[i], n);
                paths[path_count][n] = *c;
                paths[path_count++][n + 1] = '\0';
                assert_true(path_count < PATHS_MAX);
            }
        }
        begin = end;
    }
    /* No empty path, none that ends with a slash. */
    size_t kept = 0;
    for (size_t i = 1; i < path_count; i++) {
        if (paths[i][strlen(paths[i]) - 1] != '/')
            memmove(paths[kept++], paths[i], sizeof(paths[0]));
    }
    path_count = kept;
}

static void make_patterns(void)
{
    size_t all = 1;
    pattern_count = 0;
    for (unsigned n = 1; n <= PARTS_MAX; n++) {
        all *= PARTS;
        for (size_t number = 0; number < all; number++) {
            char *p = patterns[pattern_count];
            size_t rest = number;
            p[0] = '\0';
            for (unsigned i = 0; i < n; i++, rest /= PARTS)
                strcat(p, parts[rest % PARTS]);
            /* "*" and "*" beside each other spell "**": the same pattern twice does no harm. */
            if (st_glob_check(S(p)) == ST_OK)
                pattern_count++;
            assert_true(pattern_count < PATTERNS_MAX);
        }
    }
}

static void test_everything_small(void **state)
{
    (void)state;
    make_paths();
    make_patterns();
    for (size_t i = 0; i < pattern_count; i++) {
        for (size_t k = 0; k < path_count; k++) {
            bool expected = brute(patterns[i], paths[k]);
            if (st_glob_match(S(patterns[i]), S(paths[k])) != expected)
                expect_match(patterns[i], paths[k], expected);
            if (expected)
                matches[i][k / 64] |= UINT64_C(1) << k % 64;
        }
    }
    size_t overlaps = 0;
    for (size_t i = 0; i < pattern_count; i++) {
        for (size_t k = 0; k <= i; k++) {
            uint64_t common = 0;
            for (size_t word = 0; word < WORDS; word++)
                common |= matches[i][word] & matches[k][word];
            overlaps += common != 0;
            if (st_glob_overlap(S(patterns[i]), S(patterns[k])) != (common != 0))
                expect_overlap(patterns[i], patterns[k], common != 0);
        }
    }
    printf("%zu patterns, %zu paths, %zu pairs overlap\n", pattern_count, path_count, overlaps);
    assert_true(pattern_count > 1000 && overlaps > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_ones),
        cmocka_unit_test(test_everything_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
