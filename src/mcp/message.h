/*
 * message.h - from bytes to JSON-RPC messages. Pure: no I/O.
 *
 * A message is one line: a JSON object (RFC 8259) without repeated keys, in UTF-8, nested at most
 * MCP_DEPTH_MAX deep. Batches are not part of the protocol's revisions that are served.
 */
#ifndef ST_MCP_MESSAGE_H
#define ST_MCP_MESSAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "edge/json_text.h"
#include "mcp/limits.h"

/* JSON-RPC 2.0, section 5.1, and what MCP adds. */
enum {
    MCP_PARSE_ERROR = -32700,
    MCP_INVALID_REQUEST = -32600,
    MCP_METHOD_NOT_FOUND = -32601,
    MCP_INVALID_PARAMS = -32602,
    MCP_INTERNAL_ERROR = -32603,
    MCP_RESOURCE_NOT_FOUND = -32002, /* up to 2025-11-25; later MCP_INVALID_PARAMS */
    MCP_UNSUPPORTED_VERSION = -32022,
};

/* --- lines ------------------------------------------------------------------------------------ */

/* Bytes of the client, cut into lines. Holds at most MCP_MESSAGE_SIZE_MAX and one read. */
struct mcp_lines {
    struct edge_text in;
    size_t start;   /* what comes before it was given out */
    size_t scanned; /* up to here there is no newline */
    bool skipping;  /* in the middle of a line that was too long */
};

enum mcp_line { MCP_LINE_NONE, MCP_LINE_WHOLE, MCP_LINE_TOO_LONG };

/* Where to put more bytes, and how many fit. NULL: out of memory. */
char *mcp_lines_room(struct mcp_lines *l, size_t *room);
void mcp_lines_added(struct mcp_lines *l, size_t n);
/* The next line, without its newline; lent until the next call. */
enum mcp_line mcp_lines_next(struct mcp_lines *l, const char **line, size_t *n);
void mcp_lines_release(struct mcp_lines *l);

/* --- messages --------------------------------------------------------------------------------- */

enum mcp_message_kind { MCP_REQUEST, MCP_NOTIFICATION, MCP_RESPONSE, MCP_BROKEN };

struct mcp_message {
    enum mcp_message_kind kind;
    json_t *root;       /* owns the rest; NULL: was no JSON */
    json_t *id;         /* a string or an integer; NULL: none */
    const char *method; /* NULL in responses */
    json_t *params;     /* an object, or NULL */
    int code;           /* MCP_BROKEN: what to answer */
    const char *fault;
};

/* Always fills out; the bytes are borrowed. */
void mcp_message_read(const char *bytes, size_t n, struct mcp_message *out);
void mcp_message_release(struct mcp_message *m);

/* What goes back; new references, NULL when memory ran out. `id` is borrowed and may be NULL; the
 * rest is taken, always. */
json_t *mcp_error(json_t *id, int code, json_t *data, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
json_t *mcp_notification(const char *method, json_t *params);

#endif
