/* cmd_mcp.c - `strata mcp`: the server of the Model Context Protocol (src/mcp, docs/mcp.md). */
#include "cli/cli.h"
#include "mcp/mcp.h"

#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* The memory server's store is where its file is, whatever directory a client starts in. */
static int memory_place(struct cli *c, const char *file, char dir[PATH_MAX])
{
    char copy[PATH_MAX];
    if (file == NULL || c->dir != NULL || c->state_dir != NULL)
        return 0;
    if (strlen(file) >= sizeof copy)
        return cli_error(c, STRATA_LIMIT, NULL, "MEMORY_FILE_PATH is over %zu bytes long",
                         sizeof copy - 1);
    (void)snprintf(copy, sizeof copy, "%s", file);
    (void)snprintf(dir, PATH_MAX, "%s", dirname(copy));
    c->dir = dir;
    strata_init_options options = {.size = sizeof options};
    strata_init_result result = {0};
    strata_error error = {0};
    int code = strata_init(dir, &options, &result, &error);
    if (code != STRATA_OK)
        return cli_error(c, code, error.hint, "%s", error.message);
    if (result.created)
        cli_note(c, "made a workspace; its state is in %s", result.state_dir);
    return 0;
}

int cmd_mcp(struct cli *c)
{
    char dir[PATH_MAX];
    bool memory = cli_given(c, OPT_MEMORY);
    const char *file = memory ? getenv("MEMORY_FILE_PATH") : NULL;
    if (file != NULL && file[0] == '\0')
        file = NULL;
    int status = cli_find_agent(c);
    if (status == 0)
        status = memory_place(c, file, dir);
    if (status != 0)
        return status;
    struct mcp_options options = {
        .dir = c->dir,
        .state_dir = c->state_dir,
        .agent = c->agent,
        .wait_ms = c->wait_ms,
        .memory = memory,
        .memory_file = file,
    };
    strata_error error;
    int code = mcp_serve(&options, &error);
    return code == STRATA_OK ? 0 : cli_error(c, code, error.hint, "%s", error.message);
}
