/* json_text.c - see json_text.h. */
#include "edge/json_text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes that are had at once, so that short texts do not grow many times. */
#define SIZE_MIN ((size_t)256)

/* --- text that grows -------------------------------------------------------------------------- */

bool edge_text_room(struct edge_text *t, size_t n)
{
    if (t->cap - t->n >= n)
        return true;
    size_t more = t->cap > 0 ? 2 * t->cap : SIZE_MIN;
    more = t->n + n > more ? t->n + n : more;
    char *grown = realloc(t->p, more);
    if (grown == NULL)
        return false;
    t->p = grown;
    t->cap = more;
    return true;
}

void edge_text_add(struct edge_text *t, const char *bytes, size_t n)
{
    t->failed = t->failed || !edge_text_room(t, n);
    if (t->failed || n == 0)
        return;
    memcpy(t->p + t->n, bytes, n);
    t->n += n;
}

void edge_text_release(struct edge_text *t)
{
    free(t->p);
    *t = (struct edge_text){0};
}

/* --- JSON ------------------------------------------------------------------------------------- */

static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && c != '"' && c != '\\';
}

static void add_escape(struct edge_text *t, char c)
{
    static const char letters[] = "\"\"\\\\\nn\rr\tt\bb\ff";
    char hex[8];
    for (const char *p = letters; *p != '\0'; p += 2)
        if (*p == c) {
            edge_text_add(t, (char[]){'\\', p[1]}, 2);
            return;
        }
    (void)snprintf(hex, sizeof hex, "\\u%04x", (unsigned)(unsigned char)c);
    edge_text_add(t, hex, 6);
}

static void add_string(struct edge_text *t, const char *p, size_t n)
{
    const char *end = p + n;
    EDGE_TEXT_ADD(t, "\"");
    for (;;) {
        const char *start = p;
        while (p < end && is_plain(*p))
            p++;
        edge_text_add(t, start, (size_t)(p - start));
        if (p == end)
            break;
        add_escape(t, *p++);
    }
    EDGE_TEXT_ADD(t, "\"");
}

/* Between the parts of a value, and before the first and behind the last. */
static void add_break(struct edge_text *t, unsigned indent, unsigned depth)
{
    size_t n = (size_t)indent * depth;
    if (indent == 0)
        return;
    EDGE_TEXT_ADD(t, "\n");
    t->failed = t->failed || !edge_text_room(t, n);
    if (t->failed)
        return;
    memset(t->p + t->n, ' ', n);
    t->n += n;
}

static void add_value(struct edge_text *t, const json_t *value, unsigned indent, unsigned depth);

static void add_object(struct edge_text *t, const json_t *o, unsigned indent, unsigned depth)
{
    const char *key;
    size_t count = 0;
    json_t *member;
    EDGE_TEXT_ADD(t, "{");
    json_object_foreach((json_t *)(uintptr_t)o, key, member)
    {
        if (count++ > 0)
            EDGE_TEXT_ADD(t, ",");
        add_break(t, indent, depth + 1);
        add_string(t, key, strlen(key));
        edge_text_add(t, ": ", indent > 0 ? 2 : 1);
        add_value(t, member, indent, depth + 1);
    }
    if (count > 0)
        add_break(t, indent, depth);
    EDGE_TEXT_ADD(t, "}");
}

static void add_array(struct edge_text *t, const json_t *a, unsigned indent, unsigned depth)
{
    size_t i;
    json_t *element;
    EDGE_TEXT_ADD(t, "[");
    json_array_foreach(a, i, element)
    {
        if (i > 0)
            EDGE_TEXT_ADD(t, ",");
        add_break(t, indent, depth + 1);
        add_value(t, element, indent, depth + 1);
    }
    if (json_array_size(a) > 0)
        add_break(t, indent, depth);
    EDGE_TEXT_ADD(t, "]");
}

/* The shortest text that is read as the same number is the library's business. */
static void add_number(struct edge_text *t, const json_t *number)
{
    char text[64];
    size_t n = json_dumpb(number, text, sizeof text, JSON_ENCODE_ANY);
    t->failed = t->failed || n == 0 || n > sizeof text;
    if (!t->failed)
        edge_text_add(t, text, n);
}

static void add_value(struct edge_text *t, const json_t *value, unsigned indent, unsigned depth)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        add_object(t, value, indent, depth);
        break;
    case JSON_ARRAY:
        add_array(t, value, indent, depth);
        break;
    case JSON_STRING:
        add_string(t, json_string_value(value), json_string_length(value));
        break;
    case JSON_INTEGER:
    case JSON_REAL:
        add_number(t, value);
        break;
    case JSON_TRUE:
        EDGE_TEXT_ADD(t, "true");
        break;
    case JSON_FALSE:
        EDGE_TEXT_ADD(t, "false");
        break;
    case JSON_NULL:
        EDGE_TEXT_ADD(t, "null");
    }
}

void edge_text_add_json(struct edge_text *t, const json_t *value, unsigned indent)
{
    t->failed = t->failed || value == NULL;
    if (!t->failed)
        add_value(t, value, indent, 0);
}
