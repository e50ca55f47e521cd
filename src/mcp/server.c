/* server.c - the protocol: which revision a request speaks, and what its methods are. */
#include "mcp/server_internal.h"

#include "edge/text.h"
#include "strata.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define META_VERSION      "io.modelcontextprotocol/protocolVersion"
#define META_CAPABILITIES "io.modelcontextprotocol/clientCapabilities"
#define META_SERVER       "io.modelcontextprotocol/serverInfo"

/* What of an answer's memory is kept for the next one. Bytes. */
#define LINE_SIZE_KEPT ((size_t)64 * 1024)

/* --- sending ---------------------------------------------------------------------------------- */

static bool line_send(struct mcp_server *v)
{
    struct edge_text *l = &v->line;
    EDGE_TEXT_ADD(l, "\n");
    bool fits = !l->failed && l->n <= MCP_RESULT_SIZE_MAX;
    if (fits)
        v->send(v->arg, l->p, l->n);
    if (l->cap > LINE_SIZE_KEPT)
        edge_text_release(l);
    l->n = 0;
    l->failed = false;
    return fits;
}

/* Takes the message. */
static void send_message(struct mcp_server *v, json_t *message)
{
    edge_text_add_json(&v->line, message, 0);
    json_decref(message);
    (void)line_send(v);
}

static json_t *server_info(const struct mcp_server *v)
{
    return json_pack("{s:s, s:s}", "name", v->face->name, "version", strata_version());
}

void mcp_reply(struct mcp_server *v, json_t *id, bool stateless, json_t *result)
{
    if (stateless && result != NULL) {
        json_t *meta = json_object_get(result, "_meta");
        int bad = json_object_set_new(result, "resultType", json_string("complete"));
        if (meta == NULL) {
            bad |= json_object_set_new(result, "_meta", json_object());
            meta = json_object_get(result, "_meta");
        }
        bad |= json_object_set_new(meta, META_SERVER, server_info(v));
        if (bad != 0) {
            json_decref(result);
            result = NULL;
        }
    }
    bool memory = result != NULL;
    EDGE_TEXT_ADD(&v->line, "{\"jsonrpc\":\"2.0\",\"id\":");
    edge_text_add_json(&v->line, id, 0);
    EDGE_TEXT_ADD(&v->line, ",\"result\":");
    edge_text_add_json(&v->line, result, 0);
    EDGE_TEXT_ADD(&v->line, "}");
    json_decref(result);
    if (!line_send(v))
        mcp_reply_error(v, id, MCP_INTERNAL_ERROR, NULL, "%s",
                        memory ? "the answer is over 32 MiB; ask for less" : "out of memory");
}
_Static_assert(MCP_RESULT_SIZE_MAX >> 20 == 32, "the message above names it");

void mcp_reply_cached(struct mcp_server *v, const struct request *r, json_t *result, int ttl_ms,
                      bool public)
{
    if (r->stateless && result != NULL &&
        (json_object_set_new(result, "ttlMs", json_integer(ttl_ms)) |
         json_object_set_new(result, "cacheScope", json_string(public ? "public" : "private"))) !=
            0) {
        json_decref(result);
        result = NULL;
    }
    mcp_reply(v, r->id, r->stateless, result);
}

void mcp_reply_error(struct mcp_server *v, json_t *id, int code, json_t *data, const char *format,
                     ...)
{
    char raw[512], message[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    send_message(v, mcp_error(id, code, data, "%s", edge_clean(raw, message, sizeof message)));
}

void mcp_notify(struct mcp_server *v, const char *method, json_t *params)
{
    send_message(v, params != NULL ? mcp_notification(method, params) : NULL);
}

const char *mcp_param(struct mcp_server *v, const struct request *r, const char *name)
{
    const json_t *value = json_object_get(r->params, name);
    const char *text = json_string_value(value);
    if (text != NULL && strlen(text) == json_string_length(value))
        return text;
    mcp_reply_error(v, r->id, MCP_INVALID_PARAMS, NULL, "params.%s %s", name,
                    value == NULL ? "is missing" : "has to be a string");
    return NULL;
}

/* --- methods ---------------------------------------------------------------------------------- */

static json_t *capabilities(const struct mcp_server *v)
{
    if (v->face->read == NULL)
        return json_pack("{s:{}}", "tools");
    return json_pack("{s:{}, s:{s:b}}", "tools", "resources", "subscribe", 1);
}

static void initialize(struct mcp_server *v, const struct request *r)
{
    const char *asked = mcp_param(v, r, "protocolVersion");
    if (asked == NULL)
        return;
    if (v->version != NULL) {
        mcp_reply_error(v, r->id, MCP_INVALID_REQUEST, NULL, "initialized already");
        return;
    }
    v->version =
        strcmp(asked, MCP_VERSION_2025_06) == 0 ? MCP_VERSION_2025_06 : MCP_VERSION_2025_11;
    mcp_reply(v, r->id, false,
              json_pack("{s:s, s:o, s:o, s:s}", "protocolVersion", v->version, "capabilities",
                        capabilities(v), "serverInfo", server_info(v), "instructions",
                        v->face->instructions));
}

static void ping(struct mcp_server *v, const struct request *r)
{
    mcp_reply(v, r->id, false, json_object());
}

/* What never changes while this program is installed. Milliseconds: an hour. */
#define STATIC_TTL_MS 3600000

static void discover(struct mcp_server *v, const struct request *r)
{
    mcp_reply_cached(v, r,
                     json_pack("{s:[s], s:o, s:s}", "supportedVersions", MCP_VERSION_STATELESS,
                               "capabilities", capabilities(v), "instructions",
                               v->face->instructions),
                     STATIC_TTL_MS, true);
}

enum { STATELESS = 1, SESSION = 2, BOTH = 3 };

static const struct method {
    const char *name;
    int eras;
    bool resources; /* only where there are some */
    void (*run)(struct mcp_server *v, const struct request *r);
} methods[] = {
    {"initialize", SESSION, false, initialize},
    {"ping", SESSION, false, ping},
    {"server/discover", STATELESS, false, discover},
    {"tools/list", BOTH, false, mcp_tools_list},
    {"tools/call", BOTH, false, mcp_tools_call},
    {"resources/list", BOTH, true, mcp_resources_list},
    {"resources/templates/list", BOTH, true, mcp_resources_templates},
    {"resources/read", BOTH, true, mcp_resources_read},
    {"resources/subscribe", SESSION, true, mcp_resources_subscribe},
    {"resources/unsubscribe", SESSION, true, mcp_resources_unsubscribe},
    {"subscriptions/listen", STATELESS, false, mcp_listen},
};

static const struct method *method_find(const struct mcp_server *v, const char *name, int era)
{
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(methods[i].name, name) == 0)
            return (methods[i].eras & era) != 0 && (!methods[i].resources || v->face->read != NULL)
                       ? &methods[i]
                       : NULL;
    return NULL;
}

/* --- eras ------------------------------------------------------------------------------------- */

/* What a request that names its version in _meta has to have there. */
static bool check_meta(struct mcp_server *v, const struct request *r, const json_t *meta)
{
    const char *version = json_string_value(json_object_get(meta, META_VERSION));
    if (version == NULL)
        mcp_reply_error(v, r->id, MCP_INVALID_PARAMS, NULL,
                        "params._meta has no \"" META_VERSION "\", and there was no `initialize`");
    else if (strcmp(version, MCP_VERSION_STATELESS) != 0)
        mcp_reply_error(
            v, r->id, MCP_UNSUPPORTED_VERSION,
            json_pack("{s:[s], s:s}", "supported", MCP_VERSION_STATELESS, "requested", version),
            "Unsupported protocol version");
    else if (!json_is_object(json_object_get(meta, META_CAPABILITIES)))
        mcp_reply_error(v, r->id, MCP_INVALID_PARAMS, NULL,
                        "params._meta has no \"" META_CAPABILITIES "\"");
    else
        return true;
    return false;
}

static void handle_request(struct mcp_server *v, const struct mcp_message *m, uint64_t now_ms)
{
    struct request r = {.id = m->id, .params = m->params, .now_ms = now_ms};
    const json_t *meta = json_object_get(m->params, "_meta");
    bool opens = strcmp(m->method, "initialize") == 0 || strcmp(m->method, "ping") == 0;
    r.stateless = json_object_get(meta, META_VERSION) != NULL || (v->version == NULL && !opens);
    if (r.stateless && !check_meta(v, &r, meta))
        return;
    const struct method *method = method_find(v, m->method, r.stateless ? STATELESS : SESSION);
    if (method == NULL)
        mcp_reply_error(v, r.id, MCP_METHOD_NOT_FOUND, NULL, "no method is called %s", m->method);
#ifndef ST_DEFECT_MCP_ID_TWICE
    else if (mcp_calls_known(v, r.id) || mcp_watch_known(v, r.id))
        mcp_reply_error(v, r.id, MCP_INVALID_REQUEST, NULL,
                        "a request with this id is not answered yet");
#endif
    else
        method->run(v, &r);
}

static void handle_notification(struct mcp_server *v, const struct mcp_message *m)
{
    if (strcmp(m->method, "notifications/cancelled") != 0)
        return;
    const json_t *id = json_object_get(m->params, "requestId");
    if (id != NULL && !mcp_calls_cancel(v, id))
        (void)mcp_watch_cancel(v, id);
}

void mcp_server_line(struct mcp_server *v, const char *line, size_t n, uint64_t now_ms)
{
    struct mcp_message m;
    v->quiet_ms = 0;
#ifndef ST_DEFECT_MCP_NEVER_IDLE
    v->idle = false;
#endif
    if (line == NULL) {
        mcp_reply_error(v, NULL, MCP_INVALID_REQUEST, NULL,
                        "the message is longer than %zu bytes and was not read",
                        MCP_MESSAGE_SIZE_MAX);
        return;
    }
    while (n > 0 && (line[n - 1] == '\r' || line[n - 1] == ' ' || line[n - 1] == '\t'))
        n--;
    if (n == 0)
        return;
    mcp_message_read(line, n, &m);
    if (m.kind == MCP_BROKEN)
        mcp_reply_error(v, m.id, m.code, NULL, "%s", m.fault);
    else if (m.kind == MCP_REQUEST)
        handle_request(v, &m, now_ms);
    else if (m.kind == MCP_NOTIFICATION)
        handle_notification(v, &m);
    mcp_message_release(&m);
}

/* --- life ------------------------------------------------------------------------------------- */

struct mcp_server *mcp_server_new(const struct mcp_face *face,
                                  void (*send)(void *arg, const char *line, size_t n), void *arg)
{
    struct mcp_server *v = calloc(1, sizeof *v);
    if (v == NULL)
        return NULL;
    v->face = face;
    v->idle = true; /* nothing was asked yet */
    v->send = send;
    v->arg = arg;
    return v;
}

static bool gets_idle(const struct mcp_server *v)
{
    return v->face->idle != NULL && !v->idle;
}

/* How long its client has to ask nothing. Not at all after its first answer: then it says hello. */
static unsigned idle_ms(const struct mcp_server *v)
{
    return v->idled ? MCP_IDLE_MS : 0;
}

void mcp_server_tick(struct mcp_server *v, uint64_t now_ms)
{
    if (v->quiet_ms == 0)
        v->quiet_ms = now_ms;
    if (gets_idle(v) && now_ms - v->quiet_ms >= idle_ms(v)) {
        v->idle = v->idled = true;
        v->face->idle(v->face->context);
    }
    mcp_calls_tick(v, now_ms, false);
    mcp_watch_tick(v, now_ms);
    if (v->face->tick != NULL)
        v->face->tick(v->face->context, now_ms);
}

int mcp_server_next_ms(const struct mcp_server *v)
{
    if (gets_idle(v))
        return (int)idle_ms(v);
    if (v->waiting_count > 0 || v->watch_count > 0)
        return MCP_POLL_MS;
    return v->face->tick != NULL ? MCP_TICK_MS : -1;
}

void mcp_server_end(struct mcp_server *v, uint64_t now_ms)
{
    mcp_calls_tick(v, now_ms, true);
    assert(v->waiting_count == 0);
    mcp_watch_end(v);
}

void mcp_server_free(struct mcp_server *v)
{
    if (v == NULL)
        return;
    while (v->waiting_count > 0)
        (void)mcp_calls_cancel(v, v->waiting[0].id);
    v->send = NULL;
    mcp_watch_end(v);
    edge_text_release(&v->line);
    free(v);
}
