/* stdio.h - a server on standard input and output. */
#ifndef ST_MCP_STDIO_H
#define ST_MCP_STDIO_H

#include "mcp/server.h"
#include "strata.h"

/* Serves the face until the client closes, a signal ends the process, or the client has read nothing
 * for wait_ms (0: MCP_STALL_MS). Returns a code of strata.h; with an error the text is in *error. */
int mcp_stdio(const struct mcp_face *face, uint32_t wait_ms, strata_error *error);

#endif
