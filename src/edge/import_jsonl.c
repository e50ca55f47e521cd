/*
 * import_jsonl.c - our own exchange format: one JSON object per line (docs/exchange.md).
 *
 *   {"entity":E,"attribute":A,"value":V | "link":TARGET,"kind":"value"|"member"}
 *   {"counter":NAME,"total":N}
 *   {"strata_exchange":1}
 *
 * "time" and "agent" may stand in a fact or a counter and are not kept. Any other key is refused:
 * to pass over what a newer version means by it would lose it in silence.
 */
#include "edge/import.h"

#include <jansson.h>
#include <string.h>

static int keys_check(struct import *im, size_t line, json_t *o, const char *const *known)
{
    const char *key;
    json_t *value;
    json_object_foreach(o, key, value)
    {
        size_t i = 0;
        while (known[i] != NULL && strcmp(known[i], key) != 0)
            i++;
        if (known[i] == NULL)
            return import_fail(im, STRATA_INVALID, line, "unknown key \"%.100s\"", key);
    }
    const char *text;
    size_t size;
    int rc = import_string(im, line, o, "time", &text, &size);
    return rc != STRATA_OK ? rc : import_string(im, line, o, "agent", &text, &size);
}

static int read_counter(struct import *im, size_t line, json_t *o)
{
    static const char *const known[] = {"counter", "total", "time", "agent", NULL};
    int rc = keys_check(im, line, o, known);
    if (rc != STRATA_OK)
        return rc;
    strata_op op = {.kind = STRATA_COUNT};
    size_t size;
    rc = import_string(im, line, o, "counter", &op.entity, &size);
    if (rc != STRATA_OK)
        return rc;
    const json_t *total = json_object_get(o, "total");
    if (!json_is_integer(total))
        return import_fail(im, STRATA_INVALID, line, "\"total\" has to be a whole number");
    op.delta = json_integer_value(total);
    return import_add(im, line, &op);
}

static int read_header(struct import *im, size_t line, json_t *o)
{
    const json_t *version = json_object_get(o, "strata_exchange");
    if (!json_is_integer(version) || json_integer_value(version) != IMPORT_JSONL_VERSION)
        return import_fail(im, STRATA_INVALID, line,
                           "another version of the exchange format; this program reads version %d",
                           IMPORT_JSONL_VERSION);
    return STRATA_OK;
}

/* Exactly one of "value" and "link". */
static int read_value(struct import *im, size_t line, json_t *o, strata_op *op)
{
    const char *link;
    size_t link_size;
    int rc = import_string(im, line, o, "value", &op->value, &op->value_size);
    if (rc == STRATA_OK)
        rc = import_string(im, line, o, "link", &link, &link_size);
    if (rc != STRATA_OK)
        return rc;
    if ((op->value != NULL) == (link != NULL))
        return import_fail(im, STRATA_INVALID, line, "a fact needs either \"value\" or \"link\"");
    if (link != NULL) {
        op->link = true;
        op->value = link;
        op->value_size = link_size;
    }
    return STRATA_OK;
}

static int read_fact(struct import *im, size_t line, json_t *o)
{
    static const char *const known[] = {"entity", "attribute", "value", "link",
                                        "kind",   "time",      "agent", NULL};
    int rc = keys_check(im, line, o, known);
    if (rc != STRATA_OK)
        return rc;
    strata_op op = {.kind = STRATA_SET};
    const char *kind;
    size_t size;
    rc = import_string(im, line, o, "entity", &op.entity, &size);
    if (rc == STRATA_OK)
        rc = import_string(im, line, o, "attribute", &op.attribute, &size);
    if (rc == STRATA_OK)
        rc = read_value(im, line, o, &op);
    if (rc == STRATA_OK)
        rc = import_string(im, line, o, "kind", &kind, &size);
    if (rc != STRATA_OK)
        return rc;
    if (kind != NULL && strcmp(kind, "member") == 0)
        op.kind = STRATA_ADD;
    else if (kind != NULL && strcmp(kind, "value") != 0)
        return import_fail(im, STRATA_INVALID, line, "\"kind\" is either \"value\" or \"member\"");
    return import_add(im, line, &op);
}

static int read_object(struct import *im, size_t line, json_t *o)
{
    if (json_object_get(o, "strata_exchange") != NULL)
        return read_header(im, line, o);
    if (json_object_get(o, "counter") != NULL)
        return read_counter(im, line, o);
    return read_fact(im, line, o);
}

int import_parse_jsonl(struct import *im, const char *bytes, size_t n)
{
    return import_lines(im, bytes, n, read_object);
}
