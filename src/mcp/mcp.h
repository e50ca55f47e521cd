/*
 * mcp.h - `strata mcp`: a server of the Model Context Protocol on standard input and output, for
 * one client. docs/mcp.md is its manual.
 */
#ifndef ST_MCP_MCP_H
#define ST_MCP_MCP_H

#include "strata.h"

struct mcp_options {
    const char *dir, *state_dir; /* as for strata_open(); NULL: found */
    const char *agent;           /* who calls, if a call does not say it; NULL: nobody */
    uint32_t wait_ms;            /* longest wait for another process, and for the client to read; 0:
                                    the defaults */
    bool memory;                 /* the nine tools of the reference memory server */
    const char *memory_file;     /* its file, taken in at the first start; NULL: none */
};

/* Serves until the client closes, a signal ends the process, or the client stops reading. Returns a
 * code of strata.h; with an error the text is in *error. */
int mcp_serve(const struct mcp_options *options, strata_error *error);

#endif
