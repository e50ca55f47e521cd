/* main_face.c - `strata mcp`: the tools of agents that work together. */
#include "mcp/faces.h"

int mcp_main_face(struct mcp_session *x, struct mcp_face *face, strata_error *error)
{
    (void)error;
    *face = (struct mcp_face){.name = "strata", .instructions = "", .context = x};
    return STRATA_OK;
}
