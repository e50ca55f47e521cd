/* server_internal.h - shared by server.c (eras, methods), calls.c (tools) and watch.c (resources).
 */
#ifndef ST_MCP_SERVER_INTERNAL_H
#define ST_MCP_SERVER_INTERNAL_H

#include "edge/json_text.h"
#include "mcp/message.h"
#include "mcp/server.h"

struct request {
    json_t *id, *params; /* borrowed; params may be NULL */
    bool stateless;      /* 2026-07-28 */
    uint64_t now_ms;
};

/* A call that waits. */
struct waiting {
    json_t *id, *arguments, *token; /* owned; token: of progress, or NULL */
    const struct mcp_tool *tool;
    bool stateless;
    uint64_t started_ms, wait_ms, progress_ms;
};

/* Resources that are watched: by one subscriptions/listen, or by resources/subscribe (id NULL). */
struct watch {
    json_t *id; /* owned */
    char *uri;  /* owned; NULL: listens, but to nothing that we have */
};

struct mcp_server {
    const struct mcp_face *face;
    void (*send)(void *arg, const char *line, size_t n);
    void *arg;
    const char *version; /* of `initialize`; NULL: there was none */
    struct waiting waiting[MCP_WAITING_MAX];
    size_t waiting_count;
    struct watch watches[MCP_WATCHED_MAX];
    size_t watch_count;
    struct edge_text line; /* what is being written to the client; its memory is used again */
    uint64_t looked_ms;
    uint64_t quiet_ms; /* since when its client has been answered and asks nothing; 0: not known */
    bool idle, idled;  /* the face was told so since the last line; ever */
};

/* --- server.c --------------------------------------------------------------------------------- */

/* Take `result`; NULL means that memory ran out. */
void mcp_reply(struct mcp_server *v, json_t *id, bool stateless, json_t *result);
/* The same with the hints of a cache (2026-07-28). */
void mcp_reply_cached(struct mcp_server *v, const struct request *r, json_t *result, int ttl_ms,
                      bool public);
void mcp_reply_error(struct mcp_server *v, json_t *id, int code, json_t *data, const char *format,
                     ...) __attribute__((format(printf, 5, 6)));
void mcp_notify(struct mcp_server *v, const char *method, json_t *params);
/* A parameter that has to be a string; NULL: it was refused. */
const char *mcp_param(struct mcp_server *v, const struct request *r, const char *name);

/* --- calls.c ---------------------------------------------------------------------------------- */

void mcp_tools_list(struct mcp_server *v, const struct request *r);
void mcp_tools_call(struct mcp_server *v, const struct request *r);
void mcp_calls_tick(struct mcp_server *v, uint64_t now_ms, bool last);
/* Whether a call with this id waits; forgets it. */
bool mcp_calls_cancel(struct mcp_server *v, const json_t *id);
bool mcp_calls_known(const struct mcp_server *v, const json_t *id);

/* --- watch.c ---------------------------------------------------------------------------------- */

void mcp_resources_list(struct mcp_server *v, const struct request *r);
void mcp_resources_templates(struct mcp_server *v, const struct request *r);
void mcp_resources_read(struct mcp_server *v, const struct request *r);
void mcp_resources_subscribe(struct mcp_server *v, const struct request *r);
void mcp_resources_unsubscribe(struct mcp_server *v, const struct request *r);
void mcp_listen(struct mcp_server *v, const struct request *r);
void mcp_watch_tick(struct mcp_server *v, uint64_t now_ms);
bool mcp_watch_cancel(struct mcp_server *v, const json_t *id);
bool mcp_watch_known(const struct mcp_server *v, const json_t *id);
/* Ends all; those of subscriptions/listen are told. */
void mcp_watch_end(struct mcp_server *v);

#endif
