/*
 * import.c - the list of operations that the parsers fill, and the checks that all share.
 *
 * Invariant: an operation in the list is within the limits of strata.h, so that the library will
 * not refuse it halfway through.
 */
#include "edge/import.h"
#include "edge/text.h"

#include <assert.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE ((size_t)256 * 1024)

struct import_block {
    struct import_block *next;
    char bytes[];
};

void import_init(struct import *im)
{
    memset(im, 0, sizeof *im);
}

void import_release(struct import *im)
{
    struct import_block *b = im->blocks;
    while (b != NULL) {
        struct import_block *next = b->next;
        free(b);
        b = next;
    }
    free(im->ops);
    free(im->lines);
    import_init(im);
}

int import_fail(struct import *im, int code, size_t line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(im->error, sizeof im->error, format, args);
    va_end(args);
    /* The text may quote the input, and a terminal or an agent will read it. */
    for (char *p = im->error; *p != '\0'; p++) {
        if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
            *p = '?';
    }
    im->error_line = line;
    return code;
}

/* --- memory ----------------------------------------------------------------------------------- */

static char *arena_copy(struct import *im, const char *text, size_t n)
{
    if (n + 1 > im->block_left) {
        size_t size = n + 1 > BLOCK_SIZE ? n + 1 : BLOCK_SIZE;
        struct import_block *b = malloc(sizeof *b + size);
        if (b == NULL)
            return NULL;
        b->next = im->blocks;
        im->blocks = b;
        im->block_next = b->bytes;
        im->block_left = size;
    }
    char *copy = im->block_next;
    if (n > 0)
        memcpy(copy, text, n);
    copy[n] = '\0';
    im->block_next += n + 1;
    im->block_left -= n + 1;
    return copy;
}

static bool grow(struct import *im)
{
    size_t cap = im->cap == 0 ? 256 : im->cap * 2;
    strata_op *ops = realloc(im->ops, cap * sizeof *ops);
    if (ops == NULL)
        return false;
    im->ops = ops;
    uint32_t *lines = realloc(im->lines, cap * sizeof *lines);
    if (lines == NULL)
        return false;
    im->lines = lines;
    im->cap = cap;
    return true;
}

/* --- checks ----------------------------------------------------------------------------------- */

/* Length of the well-formed UTF-8 sequence at p (RFC 3629 section 4), 0 when there is none. */
static size_t utf8_size(const unsigned char *p, size_t n)
{
    if (p[0] < 0x80)
        return 1;
    size_t size = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || n < size)
        return 0;
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool outside = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return overlong || outside ? 0 : size;
}

/* What is wrong with the characters of a text, or NULL. */
static const char *text_fault(const char *text, size_t n, bool is_name)
{
    const unsigned char *p = (const unsigned char *)text;
    for (size_t i = 0; i < n;) {
        size_t size = utf8_size(p + i, n - i);
        if (size == 0)
            return "is not UTF-8";
        bool blank = p[i] == '\t' || p[i] == '\n' || p[i] == '\r';
        bool c0 = p[i] < 0x20 && (is_name || !blank);
        bool c1 = p[i] == 0x7f || (p[i] == 0xc2 && p[i + 1] < 0xa0);
        if (c0 || c1)
            return "has a control character in it";
        i += size;
    }
    return NULL;
}

static int name_check(struct import *im, size_t line, const char *what, const char *text, size_t n)
{
    if (text == NULL || n == 0)
        return import_fail(im, STRATA_INVALID, line, "the %s is empty", what);
    if (n > IMPORT_NAME_SIZE_MAX)
        return import_fail(im, STRATA_LIMIT, line, "the %s has %zu bytes, more than %d", what, n,
                           IMPORT_NAME_SIZE_MAX);
    const char *fault = text_fault(text, n, true);
    if (fault != NULL)
        return import_fail(im, STRATA_INVALID, line, "the %s %s", what, fault);
    if (text[0] == ' ' || text[n - 1] == ' ')
        return import_fail(im, STRATA_INVALID, line, "the %s begins or ends with a space", what);
    return STRATA_OK;
}

static int value_check(struct import *im, size_t line, const strata_op *op)
{
    if (op->link)
        return name_check(im, line, "link's target", op->value, op->value_size);
    if (op->value_size > IMPORT_VALUE_SIZE_MAX)
        return import_fail(im, STRATA_LIMIT, line, "the value of %s has %zu bytes, more than %d",
                           op->attribute, op->value_size, IMPORT_VALUE_SIZE_MAX);
    const char *fault = text_fault(op->value, op->value_size, false);
    if (fault != NULL)
        return import_fail(im, STRATA_INVALID, line, "the value of %s %s", op->attribute, fault);
    return STRATA_OK;
}

static int op_check(struct import *im, size_t line, const strata_op *op)
{
    bool count = op->kind == STRATA_COUNT;
    int rc = name_check(im, line, count ? "counter's name" : "entity's name", op->entity,
                        op->entity != NULL ? strlen(op->entity) : 0);
    if (rc != STRATA_OK || count)
        return rc;
    rc = name_check(im, line, "attribute's name", op->attribute,
                    op->attribute != NULL ? strlen(op->attribute) : 0);
    return rc != STRATA_OK ? rc : value_check(im, line, op);
}

/* --- the list --------------------------------------------------------------------------------- */

/* Inputs are mostly sorted by entity: a name that the previous operation has is not copied. */
static const char *name_copy(struct import *im, const char *previous, const char *text)
{
    if (previous != NULL && strcmp(previous, text) == 0)
        return previous;
    return arena_copy(im, text, strlen(text));
}

int import_add(struct import *im, size_t line, const strata_op *op)
{
    int rc = op_check(im, line, op);
    if (rc != STRATA_OK)
        return rc;
    if (im->count == IMPORT_OPS_MAX)
        return import_fail(im, STRATA_LIMIT, line, "more than %zu facts in one input; split it",
                           IMPORT_OPS_MAX);
    if (im->count == im->cap && !grow(im))
        return import_fail(im, STRATA_NO_MEMORY, line, "out of memory");
    const strata_op *previous = im->count > 0 ? &im->ops[im->count - 1] : NULL;
    strata_op copy = *op;
    bool ok = true;
    copy.entity = name_copy(im, previous != NULL ? previous->entity : NULL, op->entity);
    if (op->kind == STRATA_COUNT) {
        copy.attribute = NULL;
        copy.value = NULL;
        copy.value_size = 0;
    } else {
        copy.attribute =
            name_copy(im, previous != NULL ? previous->attribute : NULL, op->attribute);
        copy.value = arena_copy(im, op->value, op->value_size);
        ok = copy.attribute != NULL && copy.value != NULL;
    }
    if (copy.entity == NULL || !ok)
        return import_fail(im, STRATA_NO_MEMORY, line, "out of memory");
    assert(im->lines != NULL && im->ops != NULL);
    im->lines[im->count] = (uint32_t)line;
    im->ops[im->count++] = copy;
    return STRATA_OK;
}

/* --- lines of JSON ---------------------------------------------------------------------------- */

size_t import_bom(const char *bytes, size_t n)
{
    return n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

static bool is_blank(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\r')
            return false;
    }
    return true;
}

static int read_line(struct import *im, size_t line, const char *p, size_t n,
                     int (*object)(struct import *im, size_t line, struct json_t *o))
{
    if (n > IMPORT_LINE_SIZE_MAX)
        return import_fail(im, STRATA_LIMIT, line, "the line has %zu bytes, more than %zu", n,
                           IMPORT_LINE_SIZE_MAX);
    json_error_t error;
    json_t *o = json_loadb(p, n, JSON_REJECT_DUPLICATES, &error);
    if (o == NULL) {
        if (json_error_code(&error) == json_error_out_of_memory)
            return import_fail(im, STRATA_NO_MEMORY, line, "out of memory");
        return import_fail(im, STRATA_INVALID, line, "not JSON: %s (byte %d of the line)",
                           error.text, error.position);
    }
    int rc = json_is_object(o) ? object(im, line, o)
                               : import_fail(im, STRATA_INVALID, line,
                                             "not a JSON object; one is expected on "
                                             "each line");
    json_decref(o);
    return rc;
}

int import_lines(struct import *im, const char *bytes, size_t n,
                 int (*object)(struct import *im, size_t line, struct json_t *o))
{
    if (n > IMPORT_SIZE_MAX)
        return import_fail(im, STRATA_LIMIT, 0, "the input has more than %zu bytes; split it",
                           IMPORT_SIZE_MAX);
    size_t at = import_bom(bytes, n);
    for (size_t line = 1; at < n; line++) {
        const char *end = memchr(bytes + at, '\n', n - at);
        size_t size = end != NULL ? (size_t)(end - (bytes + at)) : n - at;
        if (!is_blank(bytes + at, size)) {
            int rc = read_line(im, line, bytes + at, size, object);
            if (rc != STRATA_OK)
                return rc;
        }
        at += size + 1;
    }
    return STRATA_OK;
}

int import_string(struct import *im, size_t line, struct json_t *o, const char *key,
                  const char **text, size_t *size)
{
    *text = NULL;
    *size = 0;
    const json_t *v = json_object_get(o, key);
    if (v == NULL)
        return STRATA_OK;
    if (!json_is_string(v))
        return import_fail(im, STRATA_INVALID, line, "\"%s\" has to be a string, in quotes", key);
    *text = json_string_value(v);
    *size = json_string_length(v);
    return STRATA_OK;
}

/* --- formats ---------------------------------------------------------------------------------- */

static const char *const format_names[] = {"unknown", "jsonl", "csv", "memory", "dot"};

const char *import_format_name(enum import_format format)
{
    return format_names[format];
}

enum import_format import_format_of(const char *name)
{
    for (int i = IMPORT_JSONL; i <= IMPORT_DOT; i++) {
        if (strcmp(name, format_names[i]) == 0)
            return (enum import_format)i;
    }
    return IMPORT_UNKNOWN;
}

/* Whether the first line is an object of the memory server. A line that does not parse is left to
 * the parser of our own format, which says what is wrong with it. */
static enum import_format guess_json(const char *p, size_t n)
{
    json_t *o = n <= IMPORT_LINE_SIZE_MAX ? json_loadb(p, n, 0, NULL) : NULL;
    bool memory = json_object_get(o, "entityType") != NULL ||
                  json_object_get(o, "relationType") != NULL ||
                  json_object_get(o, "observations") != NULL;
    json_decref(o);
    return memory ? IMPORT_MEMORY : IMPORT_JSONL;
}

enum import_format import_guess(const char *name, const char *bytes, size_t n)
{
    size_t at = import_bom(bytes, n);
    while (at < n && (is_blank(bytes + at, 1) || bytes[at] == '\n'))
        at++;
    if (at < n && bytes[at] == '{') {
        const char *end = memchr(bytes + at, '\n', n - at);
        return guess_json(bytes + at, end != NULL ? (size_t)(end - (bytes + at)) : n - at);
    }
    if (name != NULL && edge_ends_with(name, ".csv"))
        return IMPORT_CSV;
    if (name != NULL && (edge_ends_with(name, ".jsonl") || edge_ends_with(name, ".ndjson")))
        return IMPORT_JSONL;
    /* Nothing in it: every format agrees. */
    if (at == n)
        return IMPORT_JSONL;
    size_t left = n - at;
    bool csv = (left > 7 && memcmp(bytes + at, "entity,", 7) == 0) ||
               (left > 9 && memcmp(bytes + at, "\"entity\",", 9) == 0);
    return csv ? IMPORT_CSV : IMPORT_UNKNOWN;
}

int import_parse(struct import *im, enum import_format format, const char *bytes, size_t n)
{
    switch (format) {
    case IMPORT_JSONL:
        return import_parse_jsonl(im, bytes, n);
    case IMPORT_CSV:
        return import_parse_csv(im, bytes, n);
    case IMPORT_MEMORY:
        return import_parse_memory(im, bytes, n);
    case IMPORT_UNKNOWN:
    case IMPORT_DOT:
        break;
    }
    return import_fail(im, STRATA_INVALID, 0, "this format cannot be imported");
}
