/*
 * session.h - what the tools stand on: the open workspace, once for each agent that the client
 * speaks for, so that each has its own reads (a write over something newer than its author has read
 * is told).
 */
#ifndef ST_MCP_SESSION_H
#define ST_MCP_SESSION_H

#include "mcp/limits.h"
#include "mcp/mcp.h"
#include "mcp/server.h"

struct mcp_agent {
    char name[65]; /* "": writes carry no agent */
    strata *s;
    uint64_t used_ms;
};

struct mcp_session {
    const struct mcp_options *options;
    struct mcp_agent agents[MCP_AGENTS_MAX];
    size_t agent_count;
    uint64_t cursor; /* events up to here were looked at; 0: none were yet */
    bool news;       /* there were some at the last look */
};

void mcp_session_init(struct mcp_session *x, const struct mcp_options *options);
void mcp_session_close(struct mcp_session *x);

/* The workspace of an agent (NULL or "": the default one); opened when it is first needed, lent
 * until the next call. NULL: *error says why. */
struct mcp_agent *mcp_session_agent(struct mcp_session *x, const char *name, uint64_t now_ms,
                                    strata_error *error);
/* The same for the agent that the call names; NULL: the call was refused. */
struct mcp_agent *mcp_call_agent(struct mcp_call *call);
/* Refuses the call with the handle's last error. */
void mcp_call_fail(struct mcp_call *call, const strata *s);
void mcp_call_error(struct mcp_call *call, const strata_error *error);
/* For resources: whether anything happened between the last two looks. */
void mcp_session_look(void *session);
bool mcp_session_changed(void *session, const char *uri);
/* Now, for "5 s ago". */
uint64_t mcp_wall_ms(void);

#endif
