/*
 * test_import.c - the parsers of `strata import` and the plan of what is still to be written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edge/import.h"

static int parse_bytes(struct import *im, enum import_format format, const char *bytes, size_t n)
{
    import_init(im);
    /* A copy of exactly that size lets the sanitizer see a read past the end. */
    char *copy = malloc(n > 0 ? n : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, n);
    int rc = import_parse(im, format, copy, n);
    memset(copy, 'x', n);
    free(copy);
    return rc;
}

static void parse(struct import *im, enum import_format format, const char *text)
{
    int rc = parse_bytes(im, format, text, strlen(text));
    if (rc != STRATA_OK)
        fail_msg("line %zu: %s\n%s", im->error_line, im->error, text);
}

static void check_op(const strata_op *op, int kind, const char *entity, const char *attribute,
                     const char *value, bool link)
{
    assert_int_equal(op->kind, kind);
    assert_string_equal(op->entity, entity);
    assert_string_equal(op->attribute, attribute);
    assert_string_equal(op->value, value);
    assert_int_equal(op->value_size, strlen(value));
    assert_int_equal(op->link, link);
}

struct bad {
    const char *text;
    int code;
    size_t line;
    const char *says;
};

static void check_bad(enum import_format format, const struct bad *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct import im;
        int rc = parse_bytes(&im, format, cases[i].text, strlen(cases[i].text));
        if (rc != cases[i].code || im.error_line != cases[i].line ||
            strstr(im.error, cases[i].says) == NULL)
            fail_msg("case %zu: code %d, line %zu, \"%s\"\n%s", i, rc, im.error_line, im.error,
                     cases[i].text);
        import_release(&im);
    }
}

/* Text made of `n` times `c` between two others; the caller frees. */
static char *around(const char *before, char c, size_t n, const char *after)
{
    char *text = malloc(strlen(before) + n + strlen(after) + 1);
    assert_non_null(text);
    char *middle = stpcpy(text, before);
    memset(middle, c, n);
    strcpy(middle + n, after);
    return text;
}

static void check_size(enum import_format format, const char *before, size_t n, const char *after,
                       int code)
{
    char *text = around(before, 'a', n, after);
    struct import im;
    int rc = parse_bytes(&im, format, text, strlen(text));
    if (rc != code || (rc != STRATA_OK && im.error_line == 0))
        fail_msg("%s <%zu> %s: code %d, line %zu, %s", before, n, after, rc, im.error_line,
                 im.error);
    import_release(&im);
    free(text);
}

/* --- exchange format -------------------------------------------------------------------------- */

static void jsonl_good(void **state)
{
    (void)state;
    struct import im;
    parse(
        &im, IMPORT_JSONL,
        "{\"strata_exchange\":1}\n"
        "{\"entity\":\"api\",\"attribute\":\"port\",\"value\":\"8080\"}\r\n"
        "\n"
        "  {\"entity\":\"api\",\"attribute\":\"uses\",\"link\":\"db\",\"kind\":\"member\",\"time\":"
        "\"2026-11-23T10:00:00.000Z\",\"agent\":\"ann\"}\n"
        "{\"counter\":\"builds\",\"total\":-9223372036854775808}\n"
        "{\"entity\":\"\\u00e4\",\"attribute\":\"b\",\"value\":\"x\\n\\\"\\\\\",\"kind\":"
        "\"value\"}");
    assert_int_equal(im.count, 4);
    check_op(&im.ops[0], STRATA_SET, "api", "port", "8080", false);
    check_op(&im.ops[1], STRATA_ADD, "api", "uses", "db", true);
    assert_int_equal(im.ops[2].kind, STRATA_COUNT);
    assert_string_equal(im.ops[2].entity, "builds");
    assert_true(im.ops[2].delta == INT64_MIN);
    check_op(&im.ops[3], STRATA_SET, "\xc3\xa4", "b", "x\n\"\\", false);
    assert_int_equal(im.lines[0], 2);
    assert_int_equal(im.lines[1], 4);
    assert_int_equal(im.lines[3], 6);
    import_release(&im);
}

static void jsonl_bad(void **state)
{
    (void)state;
#define GOOD "{\"entity\":\"a\",\"attribute\":\"b\",\"value\":\"c\"}\n"
    static const struct bad cases[] = {
        {GOOD "{\"entity\":\"a\"", STRATA_INVALID, 2, "not JSON"},
        {GOOD GOOD "[1]\n", STRATA_INVALID, 3, "not a JSON object"},
        {GOOD "\n\n" GOOD "x", STRATA_INVALID, 5, "not JSON"},
        {GOOD "{\n\"entity\":\"a\"}", STRATA_INVALID, 2, "not JSON"},
        {"{\"entity\":\"a\",\"attribute\":\"b\"}", STRATA_INVALID, 1, "either \"value\" or"},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"value\":\"c\",\"link\":\"d\"}", STRATA_INVALID, 1,
         "either \"value\" or"},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"value\":8080}", STRATA_INVALID, 1,
         "has to be a string"},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"value\":null}", STRATA_INVALID, 1,
         "has to be a string"},
        {"{\"entity\":null,\"attribute\":\"b\",\"value\":\"c\"}", STRATA_INVALID, 1,
         "has to be a string"},
        {"{\"attribute\":\"b\",\"value\":\"c\"}", STRATA_INVALID, 1, "entity's name is empty"},
        {"{\"entity\":\"a\",\"value\":\"c\"}", STRATA_INVALID, 1, "attribute's name is empty"},
        {"{\"entity\":\"\",\"attribute\":\"b\",\"value\":\"c\"}", STRATA_INVALID, 1,
         "entity's name is empty"},
        {"{\"entity\":\" a\",\"attribute\":\"b\",\"value\":\"c\"}", STRATA_INVALID, 1, "space"},
        {"{\"entity\":\"a\",\"attribute\":\"b \",\"value\":\"c\"}", STRATA_INVALID, 1, "space"},
        {"{\"entity\":\"a\\tb\",\"attribute\":\"b\",\"value\":\"c\"}", STRATA_INVALID, 1,
         "control character"},
        {"{\"entity\":\"a\\u0085\",\"attribute\":\"b\",\"value\":\"c\"}", STRATA_INVALID, 1,
         "control character"},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"value\":\"\\u001b[2J\"}", STRATA_INVALID, 1,
         "control character"},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"value\":\"\\u0000\"}", STRATA_INVALID, 1,
         "not JSON"},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"value\":\"\xff\"}", STRATA_INVALID, 1,
         "not JSON"},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"link\":\"x\\ny\"}", STRATA_INVALID, 1,
         "link's target has a control"},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"link\":\"\"}", STRATA_INVALID, 1,
         "link's target is empty"},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"value\":\"c\",\"kind\":\"list\"}", STRATA_INVALID,
         1, "\"kind\" is either"},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"value\":\"c\",\"colour\":\"d\"}", STRATA_INVALID,
         1, "unknown key \"colour\""},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"value\":\"c\",\"value\":\"d\"}", STRATA_INVALID,
         1, "duplicate"},
        {"{\"entity\":\"a\",\"attribute\":\"b\",\"value\":\"c\",\"time\":1}", STRATA_INVALID, 1,
         "\"time\" has to be a string"},
        {"{\"counter\":\"a\"}", STRATA_INVALID, 1, "whole number"},
        {"{\"counter\":\"a\",\"total\":1.5}", STRATA_INVALID, 1, "whole number"},
        {"{\"counter\":\"a\",\"total\":9223372036854775808}", STRATA_INVALID, 1, "not JSON"},
        {"{\"counter\":\"a\",\"total\":1,\"entity\":\"b\"}", STRATA_INVALID, 1, "unknown key"},
        {"{\"strata_exchange\":2}", STRATA_INVALID, 1, "another version"},
    };
#undef GOOD
    check_bad(IMPORT_JSONL, cases, sizeof cases / sizeof *cases);
}

static void limits(void **state)
{
    (void)state;
    const char *entity = "\n{\"entity\":\"", *entity_end = "\",\"attribute\":\"b\",\"value\":\"\"}";
    check_size(IMPORT_JSONL, entity, 255, entity_end, STRATA_OK);
    check_size(IMPORT_JSONL, entity, 256, entity_end, STRATA_LIMIT);
    const char *attribute = "{\"entity\":\"e\",\"attribute\":\"",
               *attribute_end = "\",\"value\":\"\"}";
    check_size(IMPORT_JSONL, attribute, 255, attribute_end, STRATA_OK);
    check_size(IMPORT_JSONL, attribute, 256, attribute_end, STRATA_LIMIT);
    const char *link = "{\"entity\":\"e\",\"attribute\":\"a\",\"link\":\"";
    check_size(IMPORT_JSONL, link, 255, "\"}", STRATA_OK);
    check_size(IMPORT_JSONL, link, 256, "\"}", STRATA_LIMIT);
    const char *value = "{\"entity\":\"e\",\"attribute\":\"a\",\"value\":\"";
    check_size(IMPORT_JSONL, value, 65536, "\"}", STRATA_OK);
    check_size(IMPORT_JSONL, value, 65537, "\"}", STRATA_LIMIT);
    check_size(IMPORT_CSV, "entity,attribute,value\na,b,", 65536, "\n", STRATA_OK);
    check_size(IMPORT_CSV, "entity,attribute,value\na,b,", 65537, "\n", STRATA_LIMIT);
    const char *relation = "{\"type\":\"relation\",\"from\":\"a\",\"to\":\"b\",\"relationType\":\"";
    check_size(IMPORT_MEMORY, relation, 255, "\"}", STRATA_OK);
    check_size(IMPORT_MEMORY, relation, 256, "\"}", STRATA_LIMIT);
    const char *observation =
        "{\"type\":\"entity\",\"name\":\"a\",\"entityType\":\"b\",\"observations\":[\"";
    check_size(IMPORT_MEMORY, observation, 65536, "\"]}", STRATA_OK);
    check_size(IMPORT_MEMORY, observation, 65537, "\"]}", STRATA_LIMIT);
    check_size(IMPORT_MEMORY, observation, IMPORT_LINE_SIZE_MAX, "\"]}", STRATA_LIMIT);
    check_size(IMPORT_CSV, "entity,attribute,value\na,b,\"", IMPORT_LINE_SIZE_MAX, "\"\n",
               STRATA_LIMIT);
}

static void size_limit(void **state)
{
    (void)state;
    static const enum import_format formats[] = {IMPORT_JSONL, IMPORT_CSV, IMPORT_MEMORY};
    for (size_t i = 0; i < 3; i++) {
        struct import im;
        import_init(&im);
        /* Refused by its size, before a byte of it is looked at. */
        assert_int_equal(import_parse(&im, formats[i], "x", IMPORT_SIZE_MAX + 1), STRATA_LIMIT);
        assert_int_equal(im.error_line, 0);
        assert_non_null(strstr(im.error, "split it"));
        import_release(&im);
    }
}

static void errors_are_clean(void **state)
{
    (void)state;
    struct import im;
    const char *text = "{\"\\u001b[31m\\u00e4\":\"a\"}";
    assert_int_equal(parse_bytes(&im, IMPORT_JSONL, text, strlen(text)), STRATA_INVALID);
    for (const char *p = im.error; *p != '\0'; p++)
        assert_true(*p >= 0x20 && *p < 0x7f);
    import_release(&im);
}

/* --- CSV -------------------------------------------------------------------------------------- */

static void csv_good(void **state)
{
    (void)state;
    struct import im;
    parse(&im, IMPORT_CSV,
          "\xef\xbb\xbf"
          "entity,attribute,value,kind,link\r\n"
          "api,port,8080,,\r\n"
          "api,note,\"one, \"\"two\"\"\r\nthree\",value,\n"
          "\r\n"
          "\"api\",\"uses\",,member,db\n"
          "builds,,-12,counter,\n"
          "api,empty,,,");
    assert_int_equal(im.count, 5);
    check_op(&im.ops[0], STRATA_SET, "api", "port", "8080", false);
    check_op(&im.ops[1], STRATA_SET, "api", "note", "one, \"two\"\r\nthree", false);
    check_op(&im.ops[2], STRATA_ADD, "api", "uses", "db", true);
    assert_int_equal(im.ops[3].kind, STRATA_COUNT);
    assert_int_equal(im.ops[3].delta, -12);
    check_op(&im.ops[4], STRATA_SET, "api", "empty", "", false);
    assert_int_equal(im.lines[0], 2);
    assert_int_equal(im.lines[1], 3);
    assert_int_equal(im.lines[2], 6);
    assert_int_equal(im.lines[4], 8);
    import_release(&im);
}

static void csv_columns_in_any_order(void **state)
{
    (void)state;
    struct import im;
    parse(&im, IMPORT_CSV, "value,entity,attribute\nv,e,a\n");
    assert_int_equal(im.count, 1);
    check_op(&im.ops[0], STRATA_SET, "e", "a", "v", false);
    import_release(&im);
}

static void csv_bad(void **state)
{
    (void)state;
#define HEAD "entity,attribute,value\n"
#define LONG "entity,attribute,value,kind,link\n"
    static const struct bad cases[] = {
        {"a,b,c\n", STRATA_INVALID, 1, "unknown column \"a\""},
        {"entity,attribute\na,b\n", STRATA_INVALID, 1, "no column \"value\""},
        {"entity,entity,value\n", STRATA_INVALID, 1, "second column \"entity\""},
        {"\n\nentity;attribute;value\n", STRATA_INVALID, 3, "unknown column"},
        {HEAD "a,b\n", STRATA_INVALID, 2, "2 fields, the header 3"},
        {HEAD "a,b,c,d\n", STRATA_INVALID, 2, "4 fields"},
        {HEAD "a,b,c,d,e,f\n", STRATA_INVALID, 2, "more than 5 fields"},
        {HEAD "a,b,\"c\n\nd,e,f\n", STRATA_INVALID, 2, "never ends"},
        {HEAD "a,\"x\ny\",c\nd,e,\"f", STRATA_INVALID, 2, "control character"},
        {HEAD "a,b,\"x\ny\"\nd,e,\"f", STRATA_INVALID, 4, "never ends"},
        {HEAD "a,b,\"c\"d\n", STRATA_INVALID, 2, "after the closing quote"},
        {HEAD "a,b,\"\nc\"d\n", STRATA_INVALID, 3, "after the closing quote"},
        {HEAD "a,b,c\"d\"\n", STRATA_INVALID, 2, "quote inside a field"},
        {HEAD "a,b,c\rd,e,f\n", STRATA_INVALID, 2, "carriage return"},
        {HEAD ",b,c\n", STRATA_INVALID, 2, "entity's name is empty"},
        {HEAD "a,,c\n", STRATA_INVALID, 2, "attribute's name is empty"},
        {HEAD "a, b,c\n", STRATA_INVALID, 2, "space"},
        {HEAD "a,b,\xc0\xaf\n", STRATA_INVALID, 2, "not UTF-8"},
        {HEAD "a,b,\xed\xa0\x80\n", STRATA_INVALID, 2, "not UTF-8"},
        {HEAD "a,b,\xf4\x90\x80\x80\n", STRATA_INVALID, 2, "not UTF-8"},
        {HEAD "a,b,\xe2\x82\n", STRATA_INVALID, 2, "not UTF-8"},
        {HEAD "a,b,c\na,b,\x01\n", STRATA_INVALID, 3, "control character"},
        {LONG "a,b,c,d,\n", STRATA_INVALID, 2, "the kind is"},
        {LONG "a,b,c,,d\n", STRATA_INVALID, 2, "both a value and a link"},
        {LONG "a,b,1,counter,\n", STRATA_INVALID, 2, "neither attribute nor link"},
        {LONG "a,,1x,counter,\n", STRATA_INVALID, 2, "whole number"},
        {LONG "a,, 1,counter,\n", STRATA_INVALID, 2, "whole number"},
        {LONG "a,,,counter,\n", STRATA_INVALID, 2, "whole number"},
        {LONG "a,,9223372036854775808,counter,\n", STRATA_INVALID, 2, "whole number"},
    };
#undef HEAD
#undef LONG
    check_bad(IMPORT_CSV, cases, sizeof cases / sizeof *cases);
    struct import im;
    static const char nul[] = "entity,attribute,value\na,b,c\0d\n";
    assert_int_equal(parse_bytes(&im, IMPORT_CSV, nul, sizeof nul - 1), STRATA_INVALID);
    assert_int_equal(im.error_line, 2);
    import_release(&im);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void memory_good(void **state)
{
    (void)state;
    struct import im;
    parse(
        &im, IMPORT_MEMORY,
        "{\"type\":\"entity\",\"name\":\"ann\",\"entityType\":\"person\",\"observations\":[\"a\","
        "\"b\"]}\n"
        "{\"type\":\"relation\",\"from\":\"ann\",\"to\":\"bob\",\"relationType\":\"knows\"}\n"
        "{\"name\":\"bob\",\"entityType\":\"\",\"observations\":[{\"text\":\"c\",\"timestamp\":"
        "\"2025-05-13T14:02:41.089Z\",\"version\":\"1.0\"},{\"content\":\"d\"}],\"_type\":"
        "\"entity\",\"_savedAt\":\"x\"}\n"
        "{\"type\":\"entity\",\"name\":\"eve\",\"entityType\":\"\",\"observations\":[]}\n"
        "{\"type\":\"relation\",\"from\":\"ann\",\"to\":\"x\",\"relationType\":\"type\"}\n"
        "{\"type\":\"relation\",\"from\":\"ann\",\"to\":\"x\",\"relationType\":\"relation:type\"}\n"
        "{\"type\":\"relation\",\"from\":\"ann\",\"to\":\"x\",\"relationType\":\"relation:x\"}\n");
    assert_int_equal(im.count, 10);
    check_op(&im.ops[0], STRATA_SET, "ann", "type", "person", false);
    check_op(&im.ops[1], STRATA_ADD, "ann", "observation", "a", false);
    check_op(&im.ops[2], STRATA_ADD, "ann", "observation", "b", false);
    check_op(&im.ops[3], STRATA_ADD, "ann", "knows", "bob", true);
    check_op(&im.ops[4], STRATA_ADD, "bob", "observation", "c", false);
    check_op(&im.ops[5], STRATA_ADD, "bob", "observation", "d", false);
    check_op(&im.ops[6], STRATA_SET, "eve", "type", "", false);
    check_op(&im.ops[7], STRATA_ADD, "ann", "relation:type", "x", true);
    check_op(&im.ops[8], STRATA_ADD, "ann", "relation:relation:type", "x", true);
    check_op(&im.ops[9], STRATA_ADD, "ann", "relation:x", "x", true);
    import_release(&im);
}

static void memory_bad(void **state)
{
    (void)state;
#define GOOD "{\"type\":\"entity\",\"name\":\"a\",\"entityType\":\"b\",\"observations\":[\"c\"]}\n"
    static const struct bad cases[] = {
        {GOOD "{\"name\":\"a\"}", STRATA_INVALID, 2, "neither an entity nor a relation"},
        {GOOD "{\"type\":\"thing\",\"name\":\"a\"}", STRATA_INVALID, 2, "neither an entity"},
        {GOOD "{\"type\":\"entity\",\"entityType\":\"a\"}", STRATA_INVALID, 2,
         "\"name\" is missing"},
        {GOOD "{\"type\":\"entity\",\"name\":1}", STRATA_INVALID, 2, "has to be a string"},
        {GOOD "{\"type\":\"entity\",\"name\":\"a\",\"entityType\":[]}", STRATA_INVALID, 2,
         "has to be a string"},
        {GOOD "{\"type\":\"entity\",\"name\":\"a\",\"observations\":\"x\"}", STRATA_INVALID, 2,
         "has to be an array"},
        {GOOD "{\"type\":\"entity\",\"name\":\"a\",\"observations\":[\"x\",7]}", STRATA_INVALID, 2,
         "observation 2 is neither"},
        {GOOD "{\"type\":\"entity\",\"name\":\"a\",\"observations\":[{\"body\":\"x\"}]}",
         STRATA_INVALID, 2, "observation 1 is neither"},
        {GOOD "{\"type\":\"entity\",\"name\":\"a\\nb\",\"entityType\":\"c\"}", STRATA_INVALID, 2,
         "entity's name has a control"},
        {GOOD "{\"type\":\"relation\",\"from\":\"a\",\"to\":\"b\",\"relationType\":\"c\\u0007\"}",
         STRATA_INVALID, 2, "attribute's name has a control"},
        {GOOD "{\"type\":\"relation\",\"from\":\"a\",\"to\":\"b\"}", STRATA_INVALID, 2,
         "\"relationType\" is missing"},
        {GOOD "{\"type\":\"relation\",\"from\":\"a\",\"relationType\":\"b\"}", STRATA_INVALID, 2,
         "\"to\" is missing"},
        {GOOD "{\"type\":\"relation\",\"from\":\"a\",\"to\":\"\",\"relationType\":\"b\"}",
         STRATA_INVALID, 2, "link's target is empty"},
        {GOOD "\n\n{\"type\":\"relation\",", STRATA_INVALID, 4, "not JSON"},
    };
#undef GOOD
    check_bad(IMPORT_MEMORY, cases, sizeof cases / sizeof *cases);
}

static void nothing_in_it(void **state)
{
    (void)state;
    static const char *const empty[] = {"", "\n", "\r\n\n", "  \n\t", "\xef\xbb\xbf\n"};
    for (int format = IMPORT_JSONL; format <= IMPORT_MEMORY; format++) {
        for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
            if (format == IMPORT_CSV && strchr(empty[i], '\t') != NULL)
                continue; /* blanks are a row there */
            struct import im;
            parse(&im, (enum import_format)format, empty[i]);
            assert_int_equal(im.count, 0);
            import_release(&im);
        }
    }
}

static void guess(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        enum import_format format;
    } cases[] = {
        {"memory.jsonl", "{\"type\":\"entity\",\"name\":\"a\",\"entityType\":\"b\"}\n",
         IMPORT_MEMORY},
        {"x.csv", "\n{\"from\":\"a\",\"to\":\"b\",\"relationType\":\"c\",\"_type\":\"relation\"}",
         IMPORT_MEMORY},
        {NULL, "{\"entity\":\"a\",\"attribute\":\"b\",\"value\":\"c\"}\nx", IMPORT_JSONL},
        {"facts.json", "{\"counter\":\"a\",\"total\":1}", IMPORT_JSONL},
        {"facts", "{broken", IMPORT_JSONL},
        {"facts.jsonl", "broken", IMPORT_JSONL},
        {"facts.csv", "a,b\n", IMPORT_CSV},
        {NULL, "entity,attribute,value\n", IMPORT_CSV},
        {NULL, "\xef\xbb\xbf\"entity\",attribute,value\n", IMPORT_CSV},
        {NULL, "", IMPORT_JSONL},
        {NULL, "\n", IMPORT_JSONL},
        {NULL, "name;value\n", IMPORT_UNKNOWN},
        {"facts.txt", "[1]", IMPORT_UNKNOWN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum import_format got = import_guess(cases[i].name, cases[i].text, strlen(cases[i].text));
        if (got != cases[i].format)
            fail_msg("case %zu: %s", i, import_format_name(got));
    }
    for (int f = IMPORT_JSONL; f <= IMPORT_DOT; f++)
        assert_int_equal(import_format_of(import_format_name((enum import_format)f)), f);
    assert_int_equal(import_format_of("xml"), IMPORT_UNKNOWN);
    assert_int_equal(import_format_of("unknown"), IMPORT_UNKNOWN);
}

static void many(void **state)
{
    (void)state;
    size_t cap = 4 * 1024 * 1024, n = 0;
    char *text = malloc(cap);
    assert_non_null(text);
    for (int i = 0; i < 50000; i++)
        n += (size_t)snprintf(text + n, cap - n,
                              "{\"entity\":\"e%d\",\"attribute\":\"a%d\",\"value\":\"v%d\"}\n",
                              i / 10, i % 10, i);
    struct import im;
    assert_int_equal(parse_bytes(&im, IMPORT_JSONL, text, n), STRATA_OK);
    assert_int_equal(im.count, 50000);
    check_op(&im.ops[0], STRATA_SET, "e0", "a0", "v0", false);
    check_op(&im.ops[31417], STRATA_SET, "e3141", "a7", "v31417", false);
    assert_int_equal(im.lines[49999], 50000);
    import_release(&im);
    free(text);
}

/* --- plan ------------------------------------------------------------------------------------- */

#define FACT(e, a, v, kind)                                                                        \
    "{\"entity\":\"" e "\",\"attribute\":\"" a "\",\"value\":\"" v "\"" kind "}\n"
#define MEMBER ",\"kind\":\"member\""

static strata_item value_item(const char *value, int kind, bool link)
{
    return (strata_item){.kind = kind,
                         .link = link,
                         .value = value,
                         .value_size = strlen(value),
                         .agent = "",
                         .shown = kind == STRATA_ITEM_VALUE};
}

static void see(struct import_plan *p, const char *entity, const char *attribute,
                const strata_item *items, size_t count)
{
    strata_attribute a = {.entity = entity,
                          .attribute = attribute,
                          .items = items,
                          .count = count,
                          .shown = items[0].kind == STRATA_ITEM_VALUE ? &items[0] : NULL,
                          .present = true};
    import_plan_attribute(p, &a);
}

static void check_states(const struct import_plan *p, const char *expected)
{
    char got[64] = "";
    assert_true(p->im->count < sizeof got);
    for (size_t i = 0; i < p->im->count; i++)
        got[i] = "wtr"[p->state[i]];
    assert_string_equal(got, expected);
    assert_int_equal(p->write_count + p->there_count + p->repeated_count, p->im->count);
}

static void plan_fresh(void **state)
{
    (void)state;
    struct import im;
    parse(&im, IMPORT_JSONL,
          FACT("a", "x", "1", "") FACT("a", "x", "2", "") FACT("a", "y", "m", MEMBER)
              FACT("a", "y", "m", MEMBER) FACT("a", "z", "m", MEMBER) FACT("a", "z", "1", "")
                  FACT("a", "z", "m", MEMBER) "{\"counter\":\"a\",\"total\":3}\n"
                                              "{\"counter\":\"a\",\"total\":5}\n"
                                              "{\"counter\":\"b\",\"total\":0}\n");
    struct import_plan p;
    assert_int_equal(import_plan_init(&p, &im), STRATA_OK);
    assert_int_equal(p.entities.count, 1);
    assert_int_equal(p.counters.count, 2);
    assert_int_equal(import_plan_finish(&p), STRATA_OK);
    check_states(&p, "rwrwrwwrwt");
    assert_int_equal(im.ops[8].delta, 5);
    assert_int_equal(p.replace_count, 0);
    import_plan_release(&p);
    import_release(&im);
}

static void plan_there(void **state)
{
    (void)state;
    struct import im;
    parse(&im, IMPORT_JSONL,
          FACT("a", "same", "1", "") FACT("a", "other", "1", "") FACT("b", "same", "1", "") FACT(
              "a", "set", "m", MEMBER) FACT("a", "set", "n", MEMBER) FACT("a", "both", "1", "")
              FACT("a", "both", "m",
                   MEMBER) "{\"entity\":\"a\",\"attribute\":\"link\",\"link\":\"1\"}\n"
                           "{\"counter\":\"c\",\"total\":7}\n{\"counter\":\"d\",\"total\":7}\n");
    struct import_plan p;
    assert_int_equal(import_plan_init(&p, &im), STRATA_OK);
    strata_item one = value_item("1", STRATA_ITEM_VALUE, false);
    strata_item two = value_item("2", STRATA_ITEM_VALUE, false);
    strata_item m = value_item("m", STRATA_ITEM_MEMBER, false);
    strata_item both[] = {two, m};
    see(&p, "a", "same", &one, 1);
    see(&p, "a", "other", &two, 1);
    see(&p, "a", "set", &m, 1);
    see(&p, "a", "both", both, 2);
    see(&p, "a", "link", &one, 1); /* a value, not a link: has to be written */
    see(&p, "nobody", "asked", &one, 1);
    assert_int_equal(import_plan_counter(&p, "c", 7), STRATA_OK);
    assert_int_equal(import_plan_counter(&p, "d", 9), STRATA_OK);
    assert_int_equal(import_plan_counter(&p, "nobody", 9), STRATA_OK);
    assert_int_equal(import_plan_finish(&p), STRATA_OK);
    /* "both": the set clears the member that is there, so the member is written again. */
    check_states(&p, "twwtwwwwtw");
    assert_int_equal(im.ops[9].delta, -2);
    assert_int_equal(p.replace_count, 3);
    import_plan_release(&p);
    import_release(&im);
}

static void plan_counter_overflow(void **state)
{
    (void)state;
    struct import im;
    parse(&im, IMPORT_JSONL, "\n{\"counter\":\"c\",\"total\":9223372036854775807}\n");
    struct import_plan p;
    assert_int_equal(import_plan_init(&p, &im), STRATA_OK);
    assert_int_equal(import_plan_counter(&p, "c", -1), STRATA_LIMIT);
    assert_int_equal(im.error_line, 2);
    import_plan_release(&p);
    import_release(&im);
}

static void plan_counter_step(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        {"\n{\"counter\":\"c\",\"total\":9007199254740991}\n", STRATA_OK},
        {"\n{\"counter\":\"c\",\"total\":9007199254740992}\n", STRATA_LIMIT},
        {"\n{\"counter\":\"c\",\"total\":-9007199254740991}\n", STRATA_OK},
        {"\n{\"counter\":\"c\",\"total\":-9007199254740992}\n", STRATA_LIMIT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct import im;
        struct import_plan p;
        parse(&im, IMPORT_JSONL, cases[i].text);
        assert_int_equal(import_plan_init(&p, &im), STRATA_OK);
        assert_int_equal(import_plan_finish(&p), cases[i].code);
        assert_int_equal(im.error_line, cases[i].code == STRATA_OK ? 0 : 2);
        import_plan_release(&p);
        import_release(&im);
    }
}

static void op_size(void **state)
{
    (void)state;
    strata_op op = {.entity = "a\"", .attribute = "b\\", .value = "\n\tx", .value_size = 3};
    assert_int_equal(import_op_size(&op), 64 + 3 + 3 + 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jsonl_good),
        cmocka_unit_test(jsonl_bad),
        cmocka_unit_test(limits),
        cmocka_unit_test(size_limit),
        cmocka_unit_test(errors_are_clean),
        cmocka_unit_test(csv_good),
        cmocka_unit_test(csv_columns_in_any_order),
        cmocka_unit_test(csv_bad),
        cmocka_unit_test(memory_good),
        cmocka_unit_test(memory_bad),
        cmocka_unit_test(nothing_in_it),
        cmocka_unit_test(guess),
        cmocka_unit_test(many),
        cmocka_unit_test(plan_fresh),
        cmocka_unit_test(plan_there),
        cmocka_unit_test(plan_counter_overflow),
        cmocka_unit_test(plan_counter_step),
        cmocka_unit_test(op_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
