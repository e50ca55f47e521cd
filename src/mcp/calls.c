/* calls.c - tools: their list, calls, and calls that wait. */
#include "mcp/server_internal.h"

#include "edge/json.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* --- for the tools ---------------------------------------------------------------------------- */

FILE *mcp_say(struct mcp_call *call)
{
    if (call->out == NULL)
        call->out = open_memstream(&call->text, &call->text_size);
    /* Without memory the answer is lost, not the process. */
    return call->out != NULL ? call->out : stderr;
}

void mcp_refuse(struct mcp_call *call, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vfprintf(mcp_say(call), format, args);
    va_end(args);
    call->is_error = true;
}

const char *mcp_text(const struct mcp_call *call, const char *name)
{
    return json_string_value(json_object_get(call->arguments, name));
}

/* --- the list --------------------------------------------------------------------------------- */

static json_t *tool_json(const struct mcp_tool *t)
{
    return json_pack("{s:s, s:s*, s:s, s:o, s:o*, s:{s:b, s:b, s:b, s:b}}", "name", t->name,
                     "title", t->title, "description", t->about, "inputSchema",
                     mcp_schema(t->input), "outputSchema",
                     t->output != NULL ? mcp_schema(t->output) : NULL, "annotations",
                     "readOnlyHint", t->read_only, "destructiveHint", t->destructive,
                     "idempotentHint", t->idempotent, "openWorldHint", 0);
}

/* The tools of a version of this program. Milliseconds: an hour. */
#define TOOLS_TTL_MS 3600000

void mcp_tools_list(struct mcp_server *v, const struct request *r)
{
    json_t *list = json_array();
    if (json_object_get(r->params, "cursor") != NULL) {
        json_decref(list);
        mcp_reply_error(v, r->id, MCP_INVALID_PARAMS, NULL,
                        "params.cursor is not one of ours: there is one page");
        return;
    }
    int bad = 0;
    for (size_t i = 0; i < v->face->tool_count; i++)
        bad |= json_array_append_new(list, tool_json(&v->face->tools[i]));
    json_t *result = json_pack("{s:o}", "tools", list);
    if (bad != 0) {
        json_decref(result);
        result = NULL;
    }
    mcp_reply_cached(v, r, result, TOOLS_TTL_MS, true);
}

/* --- calls ------------------------------------------------------------------------------------ */

static json_t *call_result(const struct mcp_server *v, struct mcp_call *call)
{
    json_t *text = edge_json_text(call->text != NULL ? call->text : "", call->text_size);
    json_t *structured = call->is_error ? NULL : call->structured;
    if (structured != NULL && v->face->repeated)
        (void)json_object_set(structured, "answer", text);
    json_t *result = json_pack("{s:[{s:s, s:o}], s:b, s:O*}", "content", "type", "text", "text",
                               text, "isError", call->is_error, "structuredContent", structured);
    return result;
}

static void call_release(struct mcp_call *call)
{
    if (call->out != NULL)
        (void)fclose(call->out);
    free(call->text);
    json_decref(call->structured);
}

static void call_answer(struct mcp_server *v, json_t *id, bool stateless, struct mcp_call *call)
{
    if (call->out != NULL)
        (void)fclose(call->out);
    call->out = NULL;
    mcp_reply(v, id, stateless, call_result(v, call));
}

static void wait_begin(struct mcp_server *v, const struct request *r, const struct mcp_tool *tool,
                       const struct mcp_call *call)
{
    json_t *meta = json_object_get(r->params, "_meta");
    json_t *token = json_object_get(meta, "progressToken");
    bool tokened = json_is_string(token) || json_is_integer(token);
    v->waiting[v->waiting_count++] = (struct waiting){
        .id = json_incref(r->id),
        .arguments = json_incref(json_object_get(r->params, "arguments")),
        .token = tokened ? json_incref(token) : NULL,
        .tool = tool,
        .stateless = r->stateless,
        .started_ms = call->started_ms,
        .wait_ms = call->wait_ms < MCP_WAIT_MS_MAX ? call->wait_ms : MCP_WAIT_MS_MAX,
        .progress_ms = r->now_ms,
    };
}

static const struct mcp_tool *tool_find(const struct mcp_server *v, const char *name)
{
    for (size_t i = 0; i < v->face->tool_count; i++)
        if (strcmp(v->face->tools[i].name, name) == 0)
            return &v->face->tools[i];
    return NULL;
}

void mcp_tools_call(struct mcp_server *v, const struct request *r)
{
    char fault[MCP_FAULT_SIZE];
    const char *name = mcp_param(v, r, "name");
    if (name == NULL)
        return;
    const struct mcp_tool *tool = tool_find(v, name);
    if (tool == NULL) {
        mcp_reply_error(v, r->id, MCP_INVALID_PARAMS, NULL, "Unknown tool: %s", name);
        return;
    }
    json_t *arguments = json_object_get(r->params, "arguments");
    if (v->face->strict)
        mcp_soften(tool->input, arguments);
    struct mcp_call call = {
        .context = v->face->context,
        .arguments = arguments,
        .now_ms = r->now_ms,
        .started_ms = r->now_ms,
        .last = v->waiting_count == MCP_WAITING_MAX,
    };
    enum mcp_progress progress = MCP_DONE;
    if (!mcp_check(tool->input, call.arguments, v->face->strict, fault))
        mcp_refuse(&call, "%s: %s. Nothing was done.", name, fault);
    else
        progress = tool->run(&call);
    if (progress == MCP_WAIT)
        wait_begin(v, r, tool, &call);
    else
        call_answer(v, r->id, r->stateless, &call);
    call_release(&call);
}

/* --- calls that wait -------------------------------------------------------------------------- */

static void waiting_release(struct waiting *w)
{
    json_decref(w->id);
    json_decref(w->arguments);
    json_decref(w->token);
}

static void tell_progress(struct mcp_server *v, struct waiting *w, uint64_t now_ms)
{
    if (w->token == NULL || now_ms - w->progress_ms < MCP_PROGRESS_MS)
        return;
    w->progress_ms = now_ms;
    mcp_notify(v, "notifications/progress",
               json_pack("{s:O, s:I, s:I, s:s}", "progressToken", w->token, "progress",
                         (json_int_t)(now_ms - w->started_ms), "total", (json_int_t)w->wait_ms,
                         "message", "waiting"));
}

/* Whether it is answered. */
static bool waiting_run(struct mcp_server *v, struct waiting *w, uint64_t now_ms, bool last)
{
    struct mcp_call call = {
        .context = v->face->context,
        .arguments = w->arguments,
        .now_ms = now_ms,
        .started_ms = w->started_ms,
        .wait_ms = w->wait_ms,
        .last = last || now_ms - w->started_ms >= w->wait_ms,
    };
#ifdef ST_DEFECT_MCP_WAITS_ON
    call.last = last;
#endif
    bool done = w->tool->run(&call) == MCP_DONE || call.last;
    if (done)
        call_answer(v, w->id, w->stateless, &call);
    call_release(&call);
    return done;
}

void mcp_calls_tick(struct mcp_server *v, uint64_t now_ms, bool last)
{
    size_t kept = 0, count = v->waiting_count;
    for (size_t i = 0; i < count; i++) {
        struct waiting w = v->waiting[i];
        if (waiting_run(v, &w, now_ms, last)) {
            waiting_release(&w);
            continue;
        }
        tell_progress(v, &w, now_ms);
        v->waiting[kept++] = w;
    }
    v->waiting_count = kept;
}

static size_t find(const struct mcp_server *v, const json_t *id)
{
    size_t i = 0;
    while (i < v->waiting_count && !json_equal(v->waiting[i].id, id))
        i++;
    return i;
}

bool mcp_calls_known(const struct mcp_server *v, const json_t *id)
{
    return find(v, id) < v->waiting_count;
}

bool mcp_calls_cancel(struct mcp_server *v, const json_t *id)
{
    size_t i = find(v, id);
#ifdef ST_DEFECT_MCP_CANCEL_IGNORED
    i = v->waiting_count;
#endif
    if (i == v->waiting_count)
        return false;
    waiting_release(&v->waiting[i]);
    v->waiting_count--;
    memmove(&v->waiting[i], &v->waiting[i + 1], (v->waiting_count - i) * sizeof v->waiting[0]);
    return true;
}
