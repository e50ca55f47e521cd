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

/* Where in the arguments something is wrong: "entities[2].name". */
struct place {
    char path[200];
    char *fault;
};

static void enter(struct place *p, size_t *end, const char *name)
{
    char shown[80];
    *end = strlen(p->path);
    (void)snprintf(p->path + *end, sizeof p->path - *end, "%s%s", *end > 0 ? "." : "",
                   edge_clean(name, shown, sizeof shown));
}

static bool fail(struct place *p, const char *what, const char *more)
{
    (void)snprintf(p->fault, MCP_FAULT_SIZE, "%s %s%s", p->path[0] != '\0' ? p->path : "arguments",
                   what, more);
    return false;
}

static bool check_object(const struct mcp_field *fields, const json_t *o, bool strict,
                         struct place *p);

static bool check_string(const struct mcp_field *f, const json_t *v, struct place *p)
{
    char list[160] = "";
    if (!json_is_string(v))
        return fail(p, "has to be a string", "");
    const char *text = json_string_value(v);
    if (strlen(text) != json_string_length(v))
        return fail(p, "has a NUL byte in it", "");
    if (f == NULL || f->choices == NULL)
        return true;
    for (size_t i = 0; f->choices[i] != NULL; i++) {
        size_t n = strlen(list);
        if (strcmp(f->choices[i], text) == 0)
            return true;
        (void)snprintf(list + n, sizeof list - n, "%s%s", n > 0 ? ", " : "", f->choices[i]);
    }
    return fail(p, "has to be one of: ", list);
}

static bool check_integer(const struct mcp_field *f, const json_t *v, struct place *p)
{
    char bound[32];
    (void)snprintf(bound, sizeof bound, "%lld", f->max);
    if (!json_is_integer(v))
        return fail(p, "has to be a whole number", "");
    if (f->max != 0 && (json_integer_value(v) < 0 || json_integer_value(v) > f->max))
        return fail(p, "has to be from 0 to ", bound);
    return true;
}

static bool check_array(const struct mcp_field *f, const json_t *v, bool strict, struct place *p)
{
    size_t i, end = strlen(p->path);
    const json_t *item;
    if (!json_is_array(v))
        return fail(p, "has to be an array", "");
    json_array_foreach(v, i, item)
    {
        (void)snprintf(p->path + end, sizeof p->path - end, "[%zu]", i);
        if (f->fields != NULL ? !check_object(f->fields, item, strict, p)
                              : !check_string(NULL, item, p))
            return false;
    }
    p->path[end] = '\0';
    return true;
}

static bool check_field(const struct mcp_field *f, const json_t *v, bool strict, struct place *p)
{
    switch (f->type) {
    case MCP_STRING:
        return check_string(f, v, p);
    case MCP_INTEGER:
        return check_integer(f, v, p);
    case MCP_BOOLEAN:
        return json_is_boolean(v) || fail(p, "has to be true or false", "");
    case MCP_ARRAY:
        return check_array(f, v, strict, p);
    case MCP_OBJECT:
        break;
    }
    if (f->fields != NULL)
        return check_object(f->fields, v, strict, p);
    return json_is_object(v) || fail(p, "has to be an object", "");
}

static bool check_unknown(const struct mcp_field *fields, const char *key, struct place *p)
{
    char list[240] = "";
    size_t end;
    for (const struct mcp_field *f = fields; f->name != NULL; f++) {
        size_t n = strlen(list);
        if (strcmp(f->name, key) == 0)
            return true;
        (void)snprintf(list + n, sizeof list - n, "%s%s", n > 0 ? ", " : "", f->name);
    }
    enter(p, &end, key);
    return fail(p, list[0] != '\0' ? "is not known; known are: " : "is not known; there are none",
                list);
}

static bool check_object(const struct mcp_field *fields, const json_t *o, bool strict,
                         struct place *p)
{
    size_t end = 0;
    const char *key;
    json_t *value;
    if (!json_is_object(o))
        return fail(p, "has to be an object", "");
    for (const struct mcp_field *f = fields; f->name != NULL; f++) {
        const json_t *v = json_object_get(o, f->name);
        enter(p, &end, f->name);
        if (v == NULL && !f->optional)
            return fail(p, "is missing", "");
        bool absent = v == NULL || (f->optional && json_is_null(v)); /* some models write null */
        if (!absent && !check_field(f, v, strict, p))
            return false;
        p->path[end] = '\0';
    }
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        if (strict && !check_unknown(fields, key, p))
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
    struct place p = {.fault = fault};
    json_t *none = arguments == NULL ? json_object() : NULL;
    bool good = check_object(fields, arguments != NULL ? arguments : none, strict, &p);
    json_decref(none);
    return good;
}
