/*
 * fuzz_mcp.c - any bytes from a client of the MCP server: they are cut into lines and served by the
 * protocol, with a tool that answers and one that waits. Every answer has to be a line of JSON-RPC.
 */
#include "mcp/message.h"
#include "mcp/server.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

const char *strata_version(void);
const char *strata_version(void)
{
    return "0";
}

static const struct mcp_field part[] = {{"name", .type = MCP_STRING}, {0}};
static const struct mcp_field input[] = {
    {"text", MCP_STRING, .optional = true},
    {"number", MCP_INTEGER, .optional = true, .max = 9},
    {"flag", MCP_BOOLEAN, .optional = true},
    {"list", MCP_ARRAY, .optional = true},
    {"parts", MCP_ARRAY, .optional = true, .fields = part},
    {0},
};

static enum mcp_progress echo(struct mcp_call *call)
{
    const char *text = mcp_text(call, "text");
    (void)fputs(text != NULL ? text : "nothing", mcp_say(call));
    call->structured = json_object();
    return MCP_DONE;
}

static enum mcp_progress wait_for_it(struct mcp_call *call)
{
    call->wait_ms = 500;
    return call->last ? echo(call) : MCP_WAIT;
}

static const struct mcp_tool tools[] = {
    {"echo", NULL, "Says it again", input, part, .run = echo},
    {"wait", NULL, "Says it later", input, part, .run = wait_for_it},
};

static const struct mcp_resource resources[] = {{"x://a", "a", "a", "text/plain"}, {0}};

static char *read_resource(void *context, const char *uri, const char **mime,
                           char message[MCP_FAULT_SIZE])
{
    (void)context, (void)mime, (void)message;
    return strcmp(uri, "x://a") == 0 ? strdup("a") : NULL;
}

static bool known(void *context, const char *uri)
{
    (void)context;
    return strncmp(uri, "x://", 4) == 0;
}

static void look(void *context)
{
    (void)context;
}

static const struct mcp_face face = {
    .name = "fuzz",
    .instructions = "",
    .tools = tools,
    .tool_count = 2,
    .strict = true,
    .repeated = true,
    .resources = resources,
    .templates = resources,
    .read = read_resource,
    .known = known,
    .look = look,
    .changed = known,
};

static void check(void *arg, const char *line, size_t n)
{
    json_t *o = json_loadb(line, n - 1, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    const char *version = json_string_value(json_object_get(o, "jsonrpc"));
    bool one_line = n > 0 && memchr(line, '\n', n) == line + n - 1;
    if (!one_line || version == NULL || strcmp(version, "2.0") != 0)
        abort();
    int kinds = (json_object_get(o, "result") != NULL) + (json_object_get(o, "error") != NULL) +
                (json_object_get(o, "method") != NULL);
    if (kinds != 1)
        abort();
    json_decref(o);
    (*(size_t *)arg)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct mcp_lines lines = {0};
    size_t answers = 0, at = 0;
    uint64_t now_ms = 1;
    struct mcp_server *v = mcp_server_new(&face, check, &answers);
    while (v != NULL && at < n) {
        size_t room, size;
        char *p = mcp_lines_room(&lines, &room);
        size = n - at < room ? n - at : room;
        size = size > 100 ? 100 : size; /* in pieces, as a pipe gives them */
        memcpy(p, bytes + at, size);
        mcp_lines_added(&lines, size);
        at += size;
        const char *line = NULL;
        size_t length = 0;
        enum mcp_line got;
        while ((got = mcp_lines_next(&lines, &line, &length)) != MCP_LINE_NONE)
            mcp_server_line(v, got == MCP_LINE_WHOLE ? line : NULL, length, now_ms++);
        mcp_server_tick(v, now_ms += 200);
    }
    if (v != NULL)
        mcp_server_end(v, now_ms);
    mcp_server_free(v);
    mcp_lines_release(&lines);
    return 0;
}
