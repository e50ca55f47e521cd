/* faces.h - the two servers that there are: what they serve. */
#ifndef ST_MCP_FACES_H
#define ST_MCP_FACES_H

#include "mcp/session.h"

/* The tools of agents that work together. Fills the face; lent for the life of the session. */
int mcp_main_face(struct mcp_session *x, struct mcp_face *face, strata_error *error);
/* The nine tools of the reference memory server; takes in its file at the first start. */
int mcp_memory_face(struct mcp_session *x, struct mcp_face *face, strata_error *error);

#endif
