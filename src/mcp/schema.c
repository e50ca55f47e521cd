/* schema.c - tables of fields: the JSON Schema of them, and the check of arguments. */
#include "mcp/schema.h"

#include "edge/text.h"

#include <string.h>

/* --- JSON Schema ------------------------------------------------------------------------------ */

static const char *type_name(enum mcp_type type)
{
    static const char *const names[] = {
        [MCP_STRING] = "string", [MCP_INTEGER] = "integer", [MCP_BOOLEAN] = "boolean",
        [MCP_OBJECT] = "object", [MCP_ARRAY] = "array",
    };
    return names[type];
}

static json_t *field_schema(const struct mcp_field *f)
{
    json_t *o = f->type == MCP_OBJECT && f->fields != NULL
                    ? mcp_schema(f->fields)
                    : json_pack("{s:s}", "type", type_name(f->type));
    int bad = o == NULL;
    if (!bad && f->type == MCP_ARRAY)
        bad |= json_object_set_new(o, "items",
                                   f->fields != NULL ? mcp_schema(f->fields)
                                                     : json_pack("{s:s}", "type", "string"));
    if (!bad && f->choices != NULL) {
        json_t *list = json_array();
        for (size_t i = 0; f->choices[i] != NULL; i++)
            bad |= json_array_append_new(list, json_string(f->choices[i]));
        bad |= json_object_set_new(o, "enum", list);
    }
    if (!bad && f->max != 0) {
        bad |= json_object_set_new(o, "minimum", json_integer(0));
        bad |= json_object_set_new(o, "maximum", json_integer(f->max));
    }
    if (!bad && f->about != NULL)
        bad |= json_object_set_new(o, "description", json_string(f->about));
    if (bad == 0)
        return o;
    json_decref(o);
    return NULL;
}

json_t *mcp_schema(const struct mcp_field *fields)
{
    json_t *properties = json_object(), *required = json_array();
    int bad = 0;
    for (const struct mcp_field *f = fields; f->name != NULL; f++) {
        bad |= json_object_set_new(properties, f->name, field_schema(f));
        if (!f->optional)
            bad |= json_array_append_new(required, json_string(f->name));
    }
    if (json_array_size(required) == 0) {
        json_decref(required);
        required = NULL;
    }
    json_t *schema = json_pack("{s:s, s:o, s:o*}", "type", "object", "properties", properties,
                               "required", required);
    if (bad == 0)
        return schema;
    json_decref(schema);
    return NULL;
}

/* --- the check -------------------------------------------------------------------------------- */

struct check {
    bool strict;
    char *fault; /* MCP_FAULT_SIZE */
};

/* Where in the arguments: "entities[2].name" is a member of an element of a member. NULL: they themselves. */
struct place {
    const struct place *outer;
    const char *name; /* of a member; NULL: an element, */
    size_t i;         /* and which */
};

#define PATH_SIZE 200

static void add_path(const struct place *p, char path[PATH_SIZE])
{
    char shown[80];
    if (p == NULL)
        return;
    add_path(p->outer, path);
    size_t n = strlen(path);
    if (p->name == NULL)
        (void)snprintf(path + n, PATH_SIZE - n, "[%zu]", p->i);
    else
        (void)snprintf(path + n, PATH_SIZE - n, "%s%s", n > 0 ? "." : "",
                       edge_clean(p->name, shown, sizeof shown));
}

static bool fail(const struct check *c, const struct place *p, const char *what, const char *more)
{
    char path[PATH_SIZE] = "";
    add_path(p, path);
    (void)snprintf(c->fault, MCP_FAULT_SIZE, "%s %s%s", path[0] != '\0' ? path : "arguments", what,
                   more);
    return false;
}

static bool check_object(const struct check *c, const struct place *p,
                         const struct mcp_field *fields, const json_t *o);

static bool check_string(const struct check *c, const struct place *p, const struct mcp_field *f,
                         const json_t *v)
{
    char list[160] = "";
    if (!json_is_string(v))
        return fail(c, p, "has to be a string", "");
    const char *text = json_string_value(v);
    if (strlen(text) != json_string_length(v))
        return fail(c, p, "has a NUL byte in it", "");
    if (f == NULL || f->choices == NULL)
        return true;
    for (size_t i = 0; f->choices[i] != NULL; i++) {
        size_t n = strlen(list);
        if (strcmp(f->choices[i], text) == 0)
            return true;
        (void)snprintf(list + n, sizeof list - n, "%s%s", n > 0 ? ", " : "", f->choices[i]);
    }
    return fail(c, p, "has to be one of: ", list);
}

static bool check_integer(const struct check *c, const struct place *p, const struct mcp_field *f,
                          const json_t *v)
{
    char bound[32];
    if (!json_is_integer(v))
        return fail(c, p, "has to be a whole number", "");
    if (f->max == 0 || (json_integer_value(v) >= 0 && json_integer_value(v) <= f->max))
        return true;
    (void)snprintf(bound, sizeof bound, "%lld", f->max);
    return fail(c, p, "has to be from 0 to ", bound);
}

static bool check_array(const struct check *c, const struct place *p, const struct mcp_field *f,
                        const json_t *v)
{
    struct place element = {.outer = p};
    const json_t *item;
    if (!json_is_array(v))
        return fail(c, p, "has to be an array", "");
    json_array_foreach(v, element.i, item)
    {
        if (f->fields != NULL ? !check_object(c, &element, f->fields, item)
                              : !check_string(c, &element, NULL, item))
            return false;
    }
    return true;
}

static bool check_field(const struct check *c, const struct place *p, const struct mcp_field *f,
                        const json_t *v)
{
    switch (f->type) {
    case MCP_STRING:
        return check_string(c, p, f, v);
    case MCP_INTEGER:
        return check_integer(c, p, f, v);
    case MCP_BOOLEAN:
        return json_is_boolean(v) || fail(c, p, "has to be true or false", "");
    case MCP_ARRAY:
        return check_array(c, p, f, v);
    case MCP_OBJECT:
        break;
    }
    if (f->fields != NULL)
        return check_object(c, p, f->fields, v);
    return json_is_object(v) || fail(c, p, "has to be an object", "");
}

static bool check_unknown(const struct check *c, const struct place *outer,
                          const struct mcp_field *fields, const char *key)
{
    char list[240] = "";
    struct place p = {.outer = outer, .name = key};
    for (const struct mcp_field *f = fields; f->name != NULL; f++)
        if (strcmp(f->name, key) == 0)
            return true;
    for (const struct mcp_field *f = fields; f->name != NULL; f++) {
        size_t n = strlen(list);
        (void)snprintf(list + n, sizeof list - n, "%s%s", n > 0 ? ", " : "", f->name);
    }
    return fail(c, &p,
                list[0] != '\0' ? "is not known; known are: " : "is not known; there are none",
                list);
}

static bool check_object(const struct check *c, const struct place *outer,
                         const struct mcp_field *fields, const json_t *o)
{
    const char *key;
    json_t *value;
    if (!json_is_object(o))
        return fail(c, outer, "has to be an object", "");
    for (const struct mcp_field *f = fields; f->name != NULL; f++) {
        struct place p = {.outer = outer, .name = f->name};
        const json_t *v = json_object_get(o, f->name);
        if (v == NULL && !f->optional)
            return fail(c, &p, "is missing", "");
        bool absent = v == NULL || (f->optional && json_is_null(v)); /* some models write null */
        if (!absent && !check_field(c, &p, f, v))
            return false;
    }
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        if (c->strict && !check_unknown(c, outer, fields, key))
            return false;
    }
    return true;
}

/* --- numbers as strings ------------------------------------------------------------------------- */

static json_t *digits(const json_t *number)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", (long long)json_integer_value(number));
    return json_string(text);
}

void mcp_soften(const struct mcp_field *fields, json_t *arguments)
{
    size_t i;
    json_t *item;
    for (const struct mcp_field *f = fields; f->name != NULL; f++) {
        json_t *v = json_object_get(arguments, f->name);
        if (f->type == MCP_STRING && json_is_integer(v))
            (void)json_object_set_new(arguments, f->name, digits(v));
        if (f->type != MCP_ARRAY || f->fields != NULL)
            continue;
        json_array_foreach(v, i, item)
        {
            if (json_is_integer(item))
                (void)json_array_set_new(v, i, digits(item));
        }
    }
}

bool mcp_check(const struct mcp_field *fields, const json_t *arguments, bool strict,
               char fault[MCP_FAULT_SIZE])
{
    struct check c = {.strict = strict, .fault = fault};
    json_t *none = arguments == NULL ? json_object() : NULL;
    bool good = check_object(&c, NULL, fields, arguments != NULL ? arguments : none);
    json_decref(none);
    return good;
}
