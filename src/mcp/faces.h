/* faces.h - the two servers that there are: what they serve. */
#ifndef ST_MCP_FACES_H
#define ST_MCP_FACES_H

#include "mcp/session.h"

/* Both fill the face, lent for the life of the session. What is wrong with the workspace each call says. */

/* The tools of agents that work together. */
void mcp_main_face(struct mcp_session *x, struct mcp_face *face);
/* The nine tools of the reference memory server; takes in its file at the first start. */
void mcp_memory_face(struct mcp_session *x, struct mcp_face *face);

#endif
