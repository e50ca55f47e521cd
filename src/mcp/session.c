/* session.c - the open workspaces of the agents that a client speaks for. */
#include "mcp/session.h"

#include "edge/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Many servers live long on one workspace and look after each write (include/strata.h). Records. */
#define INDEX_GAP 64

void mcp_session_init(struct mcp_session *x, const struct mcp_options *options)
{
    *x = (struct mcp_session){.options = options};
}

void mcp_session_close(struct mcp_session *x)
{
    for (size_t i = 0; i < x->agent_count; i++)
        strata_close(x->agents[i].s);
    x->agent_count = 0;
}

uint64_t mcp_wall_ms(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The place of the agent that was not used for the longest time, emptied. */
static struct mcp_agent *oldest(struct mcp_session *x)
{
    struct mcp_agent *a = &x->agents[0];
    for (size_t i = 1; i < x->agent_count; i++)
        if (x->agents[i].used_ms < a->used_ms)
            a = &x->agents[i];
    strata_close(a->s); /* its reads go into its file */
    return a;
}

static int open_agent(struct mcp_session *x, const char *name, strata **s, strata_error *error)
{
    const struct mcp_options *o = x->options;
    strata_options options = {
        .size = sizeof options,
        .state_dir = o->state_dir,
        .agent = name[0] != '\0' ? name : NULL,
        .program = "strata mcp",
        .wait_ms = o->wait_ms,
        .index_gap = INDEX_GAP,
    };
    return strata_open(o->dir, &options, s, error);
}

struct mcp_agent *mcp_session_agent(struct mcp_session *x, const char *name, uint64_t now_ms,
                                    strata_error *error)
{
    if (name == NULL || name[0] == '\0')
        name = x->options->agent != NULL ? x->options->agent : "";
    for (size_t i = 0; i < x->agent_count; i++)
        if (strcmp(x->agents[i].name, name) == 0) {
            x->agents[i].used_ms = now_ms;
            return &x->agents[i];
        }
    strata *s;
    if (open_agent(x, name, &s, error) != STRATA_OK)
        return NULL;
    struct mcp_agent *a =
        x->agent_count < MCP_AGENTS_MAX ? &x->agents[x->agent_count++] : oldest(x);
    *a = (struct mcp_agent){.s = s, .used_ms = now_ms};
    (void)snprintf(a->name, sizeof a->name, "%s", name);
    return a;
}

void mcp_call_error(struct mcp_call *call, const strata_error *error)
{
    char message[600], hint[600];
    edge_clean(error->message, message, sizeof message);
    edge_clean(error->hint, hint, sizeof hint);
    mcp_refuse(call, "%s%s%s", message[0] != '\0' ? message : strata_code_name(error->code),
               hint[0] != '\0' ? ". " : "", hint);
}

void mcp_call_fail(struct mcp_call *call, const strata *s)
{
    mcp_call_error(call, strata_last_error(s));
}

struct mcp_agent *mcp_call_agent(struct mcp_call *call)
{
    strata_error error = {0};
    struct mcp_agent *a =
        mcp_session_agent(call->context, mcp_text(call, "agent"), call->now_ms, &error);
    if (a == NULL)
        mcp_call_error(call, &error);
    return a;
}

void mcp_session_look(void *session)
{
    struct mcp_session *x = session;
    strata_error error;
    uint64_t cursor = x->cursor;
    struct mcp_agent *a = mcp_session_agent(x, NULL, 0, &error);
    if (a == NULL || strata_events_end(a->s, &cursor) != STRATA_OK)
        return;
    x->news = cursor != x->cursor;
    x->cursor = cursor;
}

bool mcp_session_changed(void *session, const char *uri)
{
    (void)uri;
    return ((struct mcp_session *)session)->news;
}
