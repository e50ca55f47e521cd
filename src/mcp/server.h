/*
 * server.h - the protocol, in three revisions at once (docs/mcp.md). No I/O and no clock: lines and
 * the time come in as arguments, what goes out goes through `send`.
 *
 *   2026-07-28               stateless: each request names its version and the client's
 * capabilities in _meta; server/discover, subscriptions/listen 2025-11-25, 2025-06-18 `initialize`
 * first; resources/subscribe
 *
 * A request that names its version in _meta is served by the first, whatever came before it.
 */
#ifndef ST_MCP_SERVER_H
#define ST_MCP_SERVER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "mcp/limits.h"
#include "mcp/schema.h"

#define MCP_VERSION_STATELESS "2026-07-28"
#define MCP_VERSION_2025_11   "2025-11-25"
#define MCP_VERSION_2025_06   "2025-06-18"

struct mcp_server;
struct mcp_call;

/* --- what is served --------------------------------------------------------------------------- */

enum mcp_progress { MCP_DONE, MCP_WAIT };

struct mcp_tool {
    const char *name, *title, *about;
    const struct mcp_field *input, *output;
    bool read_only, destructive, idempotent; /* none reaches out into an open world */
    /*
     * Puts the answer into the call with mcp_say() and mcp_refuse(), and its data into
     * call->structured. MCP_WAIT: nothing to answer yet; it is called again, until call->wait_ms
     * has passed since call->started_ms. Not when call->last: then it has to answer.
     */
    enum mcp_progress (*run)(struct mcp_call *call);
};

struct mcp_call {
    void *context;           /* of the face */
    const json_t *arguments; /* passed the check of the tool's input; NULL: none */
    uint64_t now_ms, started_ms, wait_ms;
    bool last; /* time is up, or there is no place to wait */

    json_t *structured; /* taken with the answer; stays NULL when the call is refused */
    bool is_error;
    FILE *out;  /* see mcp_say() */
    char *text; /* allocated; by mcp_say(), or put here whole */
    size_t text_size;
};

/* Where the text of the answer goes. */
FILE *mcp_say(struct mcp_call *call);
/* The call cannot be done: the text says why, and what to do instead. */
void mcp_refuse(struct mcp_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* An argument, or NULL. */
const char *mcp_text(const struct mcp_call *call, const char *name);

struct mcp_resource {
    const char *uri, *name, *about, *mime; /* uri may be a template (RFC 6570, level 1) */
};

struct mcp_face {
    const char *name, *instructions;
    const struct mcp_tool *tools;
    size_t tool_count;
    bool strict;   /* unknown arguments are refused */
    bool repeated; /* the text stands in the structured content too, as "answer": clients show
                      either to the model */
    const struct mcp_resource *resources, *templates; /* each ends with a NULL uri */
    /* The text of a resource, allocated; NULL with *message: why not. */
    char *(*read)(void *context, const char *uri, const char **mime, char message[MCP_FAULT_SIZE]);
    bool (*known)(void *context, const char *uri); /* there can be such a resource */
    /* Looks for changes since the last look; then `changed` tells for one resource. */
    void (*look)(void *context);
    bool (*changed)(void *context, const char *uri);
    /* Is called whenever the client has asked something and waits for nothing since; or NULL. */
    void (*idle)(void *context);
    /* Is called every few seconds, or NULL. */
    void (*tick)(void *context, uint64_t now_ms);
    void *context;
};

/* --- the server ------------------------------------------------------------------------------- */

/* `face` is borrowed. `send` is given whole lines, newline included. NULL: out of memory. */
struct mcp_server *mcp_server_new(const struct mcp_face *face,
                                  void (*send)(void *arg, const char *line, size_t n), void *arg);
void mcp_server_free(struct mcp_server *v);
/* One line of the client, or a line that was too long (NULL). */
void mcp_server_line(struct mcp_server *v, const char *line, size_t n, uint64_t now_ms);
/* Goes on with what waits and what is watched. */
void mcp_server_tick(struct mcp_server *v, uint64_t now_ms);
/* When mcp_server_tick() has something to do. Milliseconds from now; -1: nothing. */
int mcp_server_next_ms(const struct mcp_server *v);
/* The client sends no more: answers what waits. */
void mcp_server_end(struct mcp_server *v, uint64_t now_ms);

#endif
