/*
 * import_memory.c - the file of the reference MCP memory server, and of its relatives: one JSON
 * object per line (docs/exchange.md).
 *
 *   {"type":"entity","name":N,"entityType":T,"observations":[O,...]}
 *       set N "type" T; add N "observation" O for each
 *   {"type":"relation","from":F,"to":G,"relationType":R}
 *       add F R, a link to G
 *
 * Relatives write "_type" for "type", and an observation as an object with its "text" or
 * "content" beside a time. Other keys are passed over: they are not facts.
 */
#include "edge/graph.h"
#include "edge/import.h"

#include <jansson.h>
#include <string.h>

/* "entity" or "relation", or NULL. */
static const char *kind_of(const json_t *o)
{
    static const char *const keys[] = {"type", "_type"};
    for (size_t i = 0; i < 2; i++) {
        const char *text = json_string_value(json_object_get(o, keys[i]));
        if (text != NULL && (strcmp(text, "entity") == 0 || strcmp(text, "relation") == 0))
            return text;
    }
    return NULL;
}

static int need_string(struct import *im, size_t line, json_t *o, const char *key,
                       const char **text, size_t *size)
{
    int rc = import_string(im, line, o, key, text, size);
    if (rc == STRATA_OK && *text == NULL)
        return import_fail(im, STRATA_INVALID, line, "\"%s\" is missing", key);
    return rc;
}

/* The text of an observation: the string itself, or its "text" or "content". */
static const json_t *observation_text(const json_t *v)
{
    if (json_is_string(v))
        return v;
    const json_t *text = json_object_get(v, "text");
    if (text == NULL)
        text = json_object_get(v, "content");
    return json_is_string(text) ? text : NULL;
}

static int read_observations(struct import *im, size_t line, const char *name, json_t *list)
{
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v)
    {
        const json_t *text = observation_text(v);
        if (text == NULL)
            return import_fail(im, STRATA_INVALID, line,
                               "observation %zu is neither a string nor an object with a \"text\"",
                               i + 1);
        strata_op op = {
            .kind = STRATA_ADD,
            .entity = name,
            .attribute = GRAPH_OBSERVATION,
            .value = json_string_value(text),
            .value_size = json_string_length(text),
        };
        int rc = import_add(im, line, &op);
        if (rc != STRATA_OK)
            return rc;
    }
    return STRATA_OK;
}

static int read_entity(struct import *im, size_t line, json_t *o)
{
    strata_op op = {.kind = STRATA_SET, .attribute = GRAPH_TYPE};
    char entity[GRAPH_ENTITY_SIZE];
    const char *name;
    size_t size;
    int rc = need_string(im, line, o, "name", &name, &size);
    if (rc == STRATA_OK) {
        op.entity = graph_entity(name, entity);
        rc = import_string(im, line, o, "entityType", &op.value, &op.value_size);
    }
    if (rc != STRATA_OK)
        return rc;
    json_t *list = json_object_get(o, "observations");
    if (list != NULL && !json_is_array(list))
        return import_fail(im, STRATA_INVALID, line, "\"observations\" has to be an array");
    /* An empty type says nothing, unless it is all that there is to say. */
    if (op.value_size > 0 || json_array_size(list) == 0) {
        if (op.value == NULL)
            op.value = "";
        rc = import_add(im, line, &op);
        if (rc != STRATA_OK)
            return rc;
    }
    return read_observations(im, line, op.entity, list);
}

static int read_relation(struct import *im, size_t line, json_t *o)
{
    strata_op op = {.kind = STRATA_ADD, .link = true};
    const char *from, *to, *type;
    size_t size;
    int rc = need_string(im, line, o, "from", &from, &size);
    if (rc == STRATA_OK)
        rc = need_string(im, line, o, "to", &to, &op.value_size);
    if (rc == STRATA_OK)
        rc = need_string(im, line, o, "relationType", &type, &size);
    if (rc != STRATA_OK)
        return rc;
    char entity[GRAPH_ENTITY_SIZE], other[GRAPH_ENTITY_SIZE], buffer[GRAPH_ATTRIBUTE_SIZE];
    op.entity = graph_entity(from, entity);
    op.value = graph_entity(to, other);
    if (op.value != to)
        op.value_size = strlen(op.value);
    op.attribute = graph_relation_attribute(type, buffer);
    return import_add(im, line, &op);
}

static int read_object(struct import *im, size_t line, json_t *o)
{
    const char *kind = kind_of(o);
    if (kind == NULL)
        return import_fail(im, STRATA_INVALID, line,
                           "neither an entity nor a relation (\"type\" is missing or unknown)");
    return kind[0] == 'e' ? read_entity(im, line, o) : read_relation(im, line, o);
}

int import_parse_memory(struct import *im, const char *bytes, size_t n)
{
    return import_lines(im, bytes, n, read_object);
}
