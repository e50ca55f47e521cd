/* message.c - from bytes to JSON-RPC messages. */
#include "mcp/message.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* One read from the client. Bytes: what a pipe holds. */
#define READ_SIZE ((size_t)64 * 1024)

/* --- lines ------------------------------------------------------------------------------------ */

char *mcp_lines_room(struct mcp_lines *l, size_t *room)
{
    struct edge_text *in = &l->in;
    if (l->start > 0) {
        memmove(in->p, in->p + l->start, in->n - l->start);
        in->n -= l->start;
        l->scanned -= l->start;
        l->start = 0;
    }
    if (!edge_text_room(in, READ_SIZE))
        return NULL;
    *room = READ_SIZE;
    return in->p + in->n;
}

void mcp_lines_added(struct mcp_lines *l, size_t n)
{
    assert(n <= l->in.cap - l->in.n);
    l->in.n += n;
}

enum mcp_line mcp_lines_next(struct mcp_lines *l, const char **line, size_t *n)
{
    struct edge_text *in = &l->in;
    char *from = in->p + l->scanned;
    char *end = l->scanned < in->n ? memchr(from, '\n', in->n - l->scanned) : NULL;
    if (end == NULL) {
        l->scanned = in->n;
        if (in->n - l->start <= MCP_MESSAGE_SIZE_MAX)
            return MCP_LINE_NONE;
        /* Whatever comes before the next newline belongs to it. */
        bool first = !l->skipping;
        l->skipping = true;
        l->start = l->scanned = in->n = 0;
        return first ? MCP_LINE_TOO_LONG : MCP_LINE_NONE;
    }
    *line = in->p + l->start;
    *n = (size_t)(end - *line);
    l->start = l->scanned = (size_t)(end - in->p) + 1;
    if (l->skipping) {
        l->skipping = false;
        return mcp_lines_next(l, line, n);
    }
    return *n <= MCP_MESSAGE_SIZE_MAX ? MCP_LINE_WHOLE : MCP_LINE_TOO_LONG;
}

void mcp_lines_release(struct mcp_lines *l)
{
    edge_text_release(&l->in);
    *l = (struct mcp_lines){0};
}

/* --- messages --------------------------------------------------------------------------------- */

static bool too_deep(const char *p, size_t n)
{
    size_t depth = 0;
#ifdef ST_DEFECT_MCP_DEEP
    return false;
#endif
    bool text = false;
    for (size_t i = 0; i < n; i++) {
        if (text) {
            if (p[i] == '\\')
                i++;
            else if (p[i] == '"')
                text = false;
        } else if (p[i] == '"') {
            text = true;
        } else if (p[i] == '{' || p[i] == '[') {
            if (++depth > MCP_DEPTH_MAX)
                return true;
        } else if ((p[i] == '}' || p[i] == ']') && depth > 0) {
            depth--;
        }
    }
    return false;
}

static void broken(struct mcp_message *m, int code, const char *fault)
{
    m->kind = MCP_BROKEN;
    m->code = code;
    m->fault = fault;
}

/* A string without NUL bytes, or NULL. */
static const char *plain_text(const json_t *v)
{
    const char *text = json_string_value(v);
    return text != NULL && strlen(text) == json_string_length(v) ? text : NULL;
}

static void read_object(struct mcp_message *m)
{
    json_t *id = json_object_get(m->root, "id");
    json_t *method = json_object_get(m->root, "method");
    const char *version = plain_text(json_object_get(m->root, "jsonrpc"));
    bool id_good = json_is_string(id) || json_is_integer(id);
    if (id_good)
        m->id = id;
    m->params = json_object_get(m->root, "params");
    if (version == NULL || strcmp(version, "2.0") != 0) {
        broken(m, MCP_INVALID_REQUEST, "\"jsonrpc\" has to be \"2.0\"");
    } else if (method == NULL) {
        bool answer =
            json_object_get(m->root, "result") != NULL || json_object_get(m->root, "error") != NULL;
        m->kind = MCP_RESPONSE;
        if (!answer)
            broken(m, MCP_INVALID_REQUEST, "\"method\" is missing");
    } else if (plain_text(method) == NULL) {
        broken(m, MCP_INVALID_REQUEST, "\"method\" has to be a string");
    } else if (id != NULL && !id_good) {
        broken(m, MCP_INVALID_REQUEST, "\"id\" has to be a string or an integer");
    } else if (m->params != NULL && !json_is_object(m->params)) {
        broken(m, MCP_INVALID_PARAMS, "\"params\" has to be an object");
    } else {
        m->kind = id != NULL ? MCP_REQUEST : MCP_NOTIFICATION;
        m->method = json_string_value(method);
    }
}

void mcp_message_read(const char *bytes, size_t n, struct mcp_message *out)
{
    *out = (struct mcp_message){0};
    if (too_deep(bytes, n)) {
        broken(out, MCP_PARSE_ERROR, "nested too deeply; at most 64 levels are read");
        return;
    }
    json_error_t error;
    size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY;
#ifdef ST_DEFECT_MCP_DUPLICATE_KEYS
    flags = JSON_ALLOW_NUL | JSON_DECODE_ANY;
#endif
    out->root = json_loadb(bytes, n, flags, &error);
    if (out->root == NULL)
        broken(out, MCP_PARSE_ERROR,
               json_error_code(&error) == json_error_invalid_utf8    ? "not UTF-8"
               : json_error_code(&error) == json_error_duplicate_key ? "a key is there twice"
               : json_error_code(&error) == json_error_numeric_overflow
                   ? "a number is too large; integers are read up to 2^63 - 1"
                   : "not JSON");
    else if (json_is_array(out->root))
        broken(out, MCP_INVALID_REQUEST, "batches are not served; send one message a line");
    else if (!json_is_object(out->root))
        broken(out, MCP_INVALID_REQUEST, "a message is a JSON object");
    else
        read_object(out);
}
_Static_assert(MCP_DEPTH_MAX == 64, "the message above names it");

void mcp_message_release(struct mcp_message *m)
{
    json_decref(m->root);
    *m = (struct mcp_message){0};
}

json_t *mcp_error(json_t *id, int code, json_t *data, const char *format, ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return json_pack("{s:s, s:o, s:{s:i, s:s, s:o*}}", "jsonrpc", "2.0", "id",
                     id != NULL ? json_incref(id) : json_null(), "error", "code", code, "message",
                     message, "data", data);
}

json_t *mcp_notification(const char *method, json_t *params)
{
    return json_pack("{s:s, s:s, s:o}", "jsonrpc", "2.0", "method", method, "params", params);
}
