/*
 * fixture.c - the tools and resources that the conformance suite asks for, on the protocol core of
 * `strata mcp`: what is judged is the protocol, not what it serves.
 */
#include "mcp/stdio.h"

#include <stdlib.h>
#include <string.h>

const char *strata_version(void)
{
    return "0";
}

static const struct mcp_field none[] = {{0}};

static enum mcp_progress simple_text(struct mcp_call *call)
{
    (void)fputs("This is a simple text response for testing.", mcp_say(call));
    return MCP_DONE;
}

static enum mcp_progress error_handling(struct mcp_call *call)
{
    mcp_refuse(call, "This tool intentionally returns an error for testing");
    return MCP_DONE;
}

static enum mcp_progress with_progress(struct mcp_call *call)
{
    call->wait_ms = 2000;
    if (!call->last)
        return MCP_WAIT;
    (void)fputs("done", mcp_say(call));
    return MCP_DONE;
}

static const struct mcp_tool tools[] = {
    {"test_simple_text", NULL, "Says a sentence", none, NULL, .run = simple_text},
    {"test_error_handling", NULL, "Refuses", none, NULL, .run = error_handling},
    {"test_tool_with_progress", NULL, "Takes its time", none, NULL, .run = with_progress},
};

static const struct mcp_resource resources[] = {
    {"test://static-text", "text", "A text", "text/plain"},
    {"test://watched-resource", "watched", "A text that can be watched", "text/plain"},
    {0},
};
static const struct mcp_resource templates[] = {
    {"test://template/{id}/data", "data", "Something of an id", "application/json"},
    {0},
};

#define TEMPLATE "test://template/"

static bool known(void *context, const char *uri)
{
    (void)context;
    return strcmp(uri, resources[0].uri) == 0 || strcmp(uri, resources[1].uri) == 0 ||
           strncmp(uri, TEMPLATE, sizeof TEMPLATE - 1) == 0;
}

static char *read_resource(void *context, const char *uri, const char **mime,
                           char message[MCP_FAULT_SIZE])
{
    char *text = NULL;
    size_t size;
    FILE *f = known(context, uri) ? open_memstream(&text, &size) : NULL;
    (void)message;
    if (f == NULL)
        return NULL;
    *mime = uri[7] == 't' ? "application/json" : "text/plain";
    if (uri[7] == 't')
        (void)fprintf(f, "{\"id\":\"%.*s\",\"templateTest\":true,\"data\":\"Data for ID: %.*s\"}",
                      (int)strcspn(uri + sizeof TEMPLATE - 1, "/"), uri + sizeof TEMPLATE - 1,
                      (int)strcspn(uri + sizeof TEMPLATE - 1, "/"), uri + sizeof TEMPLATE - 1);
    else
        (void)fputs("This is the content of the static text resource.", f);
    (void)fclose(f);
    return text;
}

static void look(void *context)
{
    (void)context;
}

static bool changed(void *context, const char *uri)
{
    (void)context, (void)uri;
    return false;
}

int main(void)
{
    static const struct mcp_face face = {
        .name = "fixture",
        .instructions = "For the conformance suite.",
        .tools = tools,
        .tool_count = sizeof tools / sizeof tools[0],
        .strict = true,
        .resources = resources,
        .templates = templates,
        .read = read_resource,
        .known = known,
        .look = look,
        .changed = changed,
    };
    strata_error error = {0};
    return mcp_stdio(&face, 0, &error) == STRATA_OK ? 0 : 1;
}
