/*
 * wire_plugin.c - <state>/plugin: one directory for Claude Code, Codex and OpenClaw, with the MCP
 * server, a skill and the hooks.
 */
#include "cli/wire.h"

#include "cli/user_file.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char claude_json[] = "{\"name\":\"strata\",\"version\":\"" STRATA_VERSION
                                  "\",\"description\":\"Shared memory, tasks "
                                  "and once-only actions of the agents on one workspace\","
                                  "\"author\":{\"name\":\"strata\"}}\n";
static const char codex_json[] =
    "{\"name\":\"strata\",\"version\":\"" STRATA_VERSION
    "\",\"description\":\"Shared memory, tasks "
    "and once-only actions of the agents on one workspace\",\"skills\":\"./skills/\","
    "\"mcpServers\":\"./.mcp.json\"}\n";
static const char marketplace_json[] =
    "{\"name\":\"%s\",\"description\":\"Strata of one workspace\",\"owner\":{\"name\":\"strata\"},"
    "\"plugins\":[{\"name\":\"strata\",\"source\":\"./\"}]}\n";
static const char mcp_json[] =
    "{\"mcpServers\":{\"strata\":{\"command\":\"strata\",\"args\":[\"mcp\"]}}}\n";
static const char hooks_json[] =
    "{\"hooks\":{"
    "\"SessionStart\":[{\"hooks\":[{\"type\":\"command\",\"command\":\"strata hook session-start\","
    "\"timeout\":10}]}],"
    "\"PreToolUse\":[{\"matcher\":\"Edit|Write|MultiEdit|NotebookEdit\",\"hooks\":[{\"type\":"
    "\"command\",\"command\":\"strata hook pre-edit\",\"timeout\":5}]}],"
    "\"PostToolUse\":[{\"matcher\":\"Read\",\"hooks\":[{\"type\":\"command\",\"command\":"
    "\"strata hook "
    "post-read\",\"timeout\":5}]},{\"matcher\":\"Edit|Write|MultiEdit|NotebookEdit\",\"hooks\":[{"
    "\"type\":"
    "\"command\",\"command\":\"strata hook post-edit\",\"timeout\":5}]}],"
    "\"SessionEnd\":[{\"hooks\":[{\"type\":\"command\",\"command\":\"strata hook session-end\","
    "\"timeout\":5}]}]}}\n";
static const char skill_md[] =
    "---\n"
    "name: strata\n"
    "description: Work with other agents on this workspace - shared facts, tasks, messages, and "
    "actions that must not happen twice. Use at the start of work and before mail, deployments and "
    "payments.\n"
    "---\n\n"
    "1. Call the tool `prime` (or run `strata prime`): your unfinished task, messages, the rules.\n"
    "2. Take work with `next`; save checkpoints with `update`; end with done or fail.\n"
    "3. `fact_search` before you assume, `fact_set` when others have to know.\n"
    "4. `once_begin` before what must not happen twice; do it only when told to; `once_report`.\n"
    "5. If a `strata` command says that the state is read-only here, use the MCP tools: they "
    "work.\n";

static const struct {
    const char *path, *text;
} plugin[] = {
    {"/plugin/.claude-plugin/plugin.json", claude_json},
    {"/plugin/.claude-plugin/marketplace.json", marketplace_json},
    {"/plugin/.codex-plugin/plugin.json", codex_json},
    {"/plugin/.mcp.json", mcp_json},
    {"/plugin/hooks/hooks.json", hooks_json},
    {"/plugin/skills/strata/SKILL.md", skill_md},
};

/* Makes the directories of a path below the state directory. */
static bool make_parents(const char *state_dir, const char *path)
{
    char part[PATH_MAX];
    size_t base = strlen(state_dir);
    (void)snprintf(part, sizeof part, "%s%s", state_dir, path);
    for (char *slash = strchr(part + base + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return false;
        *slash = '/';
    }
    return true;
}

int wire_plugin_write(struct cli *c, const char *state_dir, const char *market)
{
    char path[PATH_MAX], text[2048];
    for (size_t i = 0; i < sizeof plugin / sizeof plugin[0]; i++) {
        (void)snprintf(path, sizeof path, "%s%s", state_dir, plugin[i].path);
        int n = plugin[i].text == marketplace_json
                    ? snprintf(text, sizeof text, marketplace_json, market)
                    : snprintf(text, sizeof text, "%s", plugin[i].text);
        if (n >= (int)sizeof text || !make_parents(state_dir, plugin[i].path) ||
            !user_file_replace(path, text, (size_t)n))
            return cli_error(c, STRATA_IO, NULL, "cannot write %s: %s", path, strerror(errno));
    }
    return 0;
}

void wire_plugin_remove(const char *state_dir, json_t *list)
{
    static const char *const directories[] = {
        "/plugin/.claude-plugin", "/plugin/.codex-plugin", "/plugin/hooks",
        "/plugin/skills/strata",  "/plugin/skills",        "/plugin",
    };
    char path[PATH_MAX];
    bool any = false;
    for (size_t i = 0; i < sizeof plugin / sizeof plugin[0]; i++) {
        (void)snprintf(path, sizeof path, "%s%s", state_dir, plugin[i].path);
        any = unlink(path) == 0 || any;
    }
    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        (void)snprintf(path, sizeof path, "%s%s", state_dir, directories[i]);
        (void)rmdir(path);
    }
    if (any)
        (void)json_array_append_new(list, json_string("plugin"));
}
