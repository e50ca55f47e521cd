/*
 * import_csv.c - comma-separated values by RFC 4180 (docs/exchange.md).
 *
 * The first row names the columns: entity, attribute and value, with kind and link if they are
 * wanted, in any order. A field in quotes may hold commas, line ends and doubled quotes. Lines
 * end with LF or CRLF; empty lines are passed over. A row with another number of fields than the
 * header, a quote inside an unquoted field and text after a closing quote are refused: a guess
 * would put a value where it does not belong.
 */
#include "edge/import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum column { ENTITY, ATTRIBUTE, VALUE, KIND, LINK, COLUMNS };

static const char *const column_names[COLUMNS] = {"entity", "attribute", "value", "kind", "link"};

struct field {
    size_t start, size; /* in text */
};

struct csv {
    struct import *im;
    const char *p, *end;
    size_t line;     /* of p, from 1 */
    size_t row_line; /* where the row begins */
    char *text;      /* the row's fields, unquoted, each with a NUL byte after it */
    size_t text_size, text_cap;
    struct field fields[COLUMNS];
    size_t count;       /* of fields */
    int place[COLUMNS]; /* which field is this column; -1: none */
    size_t header_count;
};

static int put(struct csv *c, char byte)
{
    if (c->text_size == IMPORT_LINE_SIZE_MAX)
        return import_fail(c->im, STRATA_LIMIT, c->row_line,
                           "the row has more than %zu bytes; is a quote missing?",
                           IMPORT_LINE_SIZE_MAX);
    if (c->text_size == c->text_cap) {
        size_t cap = c->text_cap == 0 ? 4096 : c->text_cap * 2;
        char *text = realloc(c->text, cap);
        if (text == NULL)
            return import_fail(c->im, STRATA_NO_MEMORY, c->row_line, "out of memory");
        c->text = text;
        c->text_cap = cap;
    }
    c->text[c->text_size++] = byte;
    return STRATA_OK;
}

/* Size of the line end at p: 2, 1 or, when there is none, 0. */
static size_t line_end(const struct csv *c)
{
    if (c->p < c->end && *c->p == '\n')
        return 1;
    return c->end - c->p >= 2 && c->p[0] == '\r' && c->p[1] == '\n' ? 2 : 0;
}

static int read_quoted(struct csv *c)
{
    size_t first = c->line;
    for (c->p++;; c->p++) {
        if (c->p == c->end)
            return import_fail(c->im, STRATA_INVALID, first,
                               "a quoted field begins here and never ends");
        if (*c->p == '"') {
            c->p++;
            if (c->p == c->end || *c->p != '"')
                break;
        }
        if (*c->p == '\n')
            c->line++;
        if (*c->p == '\0')
            return import_fail(c->im, STRATA_INVALID, c->line, "a NUL byte");
        int rc = put(c, *c->p);
        if (rc != STRATA_OK)
            return rc;
    }
    if (c->p < c->end && *c->p != ',' && line_end(c) == 0)
        return import_fail(c->im, STRATA_INVALID, c->line,
                           "text after the closing quote of a field; double quotes inside of one");
    return STRATA_OK;
}

static int read_plain(struct csv *c)
{
    while (c->p < c->end && *c->p != ',' && line_end(c) == 0) {
        if (*c->p == '"')
            return import_fail(c->im, STRATA_INVALID, c->line,
                               "a quote inside a field that does not begin with one");
        if (*c->p == '\r' || *c->p == '\0')
            return import_fail(c->im, STRATA_INVALID, c->line,
                               *c->p == '\r' ? "a carriage return inside an unquoted field"
                                             : "a NUL byte");
        int rc = put(c, *c->p++);
        if (rc != STRATA_OK)
            return rc;
    }
    return STRATA_OK;
}

static int read_field(struct csv *c)
{
    if (c->count == COLUMNS)
        return import_fail(c->im, STRATA_INVALID, c->row_line, "more than %d fields", COLUMNS);
    struct field *f = &c->fields[c->count++];
    f->start = c->text_size;
    int rc = c->p < c->end && *c->p == '"' ? read_quoted(c) : read_plain(c);
    if (rc != STRATA_OK)
        return rc;
    f->size = c->text_size - f->start;
    return put(c, '\0');
}

static void skip_empty_lines(struct csv *c)
{
    for (size_t n = line_end(c); n > 0; n = line_end(c)) {
        c->p += n;
        c->line++;
    }
}

/* One row into fields. The input must not be at its end. */
static int read_row(struct csv *c)
{
    c->row_line = c->line;
    c->text_size = 0;
    c->count = 0;
    for (;;) {
        int rc = read_field(c);
        if (rc != STRATA_OK)
            return rc;
        if (c->p == c->end || *c->p != ',')
            break;
        c->p++;
    }
    size_t n = line_end(c);
    c->p += n;
    c->line += n > 0;
    return STRATA_OK;
}

static int read_header(struct csv *c)
{
    for (size_t i = 0; i < COLUMNS; i++)
        c->place[i] = -1;
    int rc = read_row(c);
    if (rc != STRATA_OK)
        return rc;
    for (size_t f = 0; f < c->count; f++) {
        const char *name = c->text + c->fields[f].start;
        size_t i = 0;
        while (i < COLUMNS && strcmp(column_names[i], name) != 0)
            i++;
        if (i == COLUMNS || c->place[i] >= 0)
            return import_fail(c->im, STRATA_INVALID, c->row_line,
                               "%s column \"%.100s\" in the header, which has to be "
                               "entity,attribute,value with kind and link if wanted",
                               i == COLUMNS ? "unknown" : "a second", name);
        c->place[i] = (int)f;
    }
    for (size_t i = ENTITY; i <= VALUE; i++) {
        if (c->place[i] < 0)
            return import_fail(c->im, STRATA_INVALID, c->row_line,
                               "the header names no column \"%s\"", column_names[i]);
    }
    c->header_count = c->count;
    return STRATA_OK;
}

static const char *column(const struct csv *c, enum column i, size_t *size)
{
    if (c->place[i] < 0) {
        *size = 0;
        return "";
    }
    const struct field *f = &c->fields[c->place[i]];
    *size = f->size;
    return c->text + f->start;
}

static int read_total(struct csv *c, strata_op *op)
{
    char *end;
    errno = 0;
    long long total = strtoll(op->value, &end, 10);
    bool begins = op->value[0] == '-' || (op->value[0] >= '0' && op->value[0] <= '9');
    if (!begins || *end != '\0' || errno != 0)
        return import_fail(c->im, STRATA_INVALID, c->row_line,
                           "a counter's value has to be a whole number");
    if (op->attribute[0] != '\0' || op->link)
        return import_fail(c->im, STRATA_INVALID, c->row_line,
                           "a counter has neither attribute nor link");
    op->kind = STRATA_COUNT;
    op->delta = total;
    return import_add(c->im, c->row_line, op);
}

static int read_fact(struct csv *c)
{
    strata_op op = {.kind = STRATA_SET};
    size_t size, link_size;
    op.entity = column(c, ENTITY, &size);
    op.attribute = column(c, ATTRIBUTE, &size);
    op.value = column(c, VALUE, &op.value_size);
    const char *kind = column(c, KIND, &size);
    const char *link = column(c, LINK, &link_size);
    if (link_size > 0 && op.value_size > 0)
        return import_fail(c->im, STRATA_INVALID, c->row_line,
                           "both a value and a link in one row");
    if (link_size > 0) {
        op.link = true;
        op.value = link;
        op.value_size = link_size;
    }
    if (strcmp(kind, "counter") == 0)
        return read_total(c, &op);
    if (strcmp(kind, "member") == 0)
        op.kind = STRATA_ADD;
    else if (kind[0] != '\0' && strcmp(kind, "value") != 0)
        return import_fail(c->im, STRATA_INVALID, c->row_line,
                           "the kind is \"value\", \"member\" or \"counter\"");
    return import_add(c->im, c->row_line, &op);
}

static int read_rows(struct csv *c)
{
    skip_empty_lines(c);
    if (c->p == c->end)
        return STRATA_OK;
    int rc = read_header(c);
    for (skip_empty_lines(c); rc == STRATA_OK && c->p < c->end; skip_empty_lines(c)) {
        rc = read_row(c);
        if (rc == STRATA_OK && c->count != c->header_count)
            rc = import_fail(c->im, STRATA_INVALID, c->row_line,
                             "the row has %zu fields, the header %zu", c->count, c->header_count);
        if (rc == STRATA_OK)
            rc = read_fact(c);
    }
    return rc;
}

int import_parse_csv(struct import *im, const char *bytes, size_t n)
{
    if (n > IMPORT_SIZE_MAX)
        return import_fail(im, STRATA_LIMIT, 0, "the input has more than %zu bytes; split it",
                           IMPORT_SIZE_MAX);
    if (n == 0)
        return STRATA_OK;
    size_t bom = import_bom(bytes, n);
    struct csv c = {.im = im, .p = bytes + bom, .end = bytes + n, .line = 1};
    int rc = read_rows(&c);
    free(c.text);
    return rc;
}
