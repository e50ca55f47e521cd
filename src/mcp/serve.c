/* serve.c - `strata mcp`: the session, one of the two faces, and the process. */
#include "mcp/faces.h"
#include "mcp/mcp.h"
#include "mcp/stdio.h"

int mcp_serve(const struct mcp_options *options, strata_error *error)
{
    struct mcp_session session;
    struct mcp_face face;
    *error = (strata_error){0};
    mcp_session_init(&session, options);
    if (options->memory)
        mcp_memory_face(&session, &face);
    else
        mcp_main_face(&session, &face);
    int code = mcp_stdio(&face, options->wait_ms, error);
    mcp_session_close(&session);
    return code;
}
