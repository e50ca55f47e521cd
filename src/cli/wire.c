/* wire.c - the wiring of agents' clients. */
#include "cli/wire.h"

#include "cli/child.h"
#include "cli/user_file.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the plugin: one directory for three clients ---------------------------------------------- */

static const char claude_json[] = "{\"name\":\"strata\",\"version\":\"" STRATA_VERSION
                                  "\",\"description\":\"Shared memory, tasks "
                                  "and once-only actions of the agents on one workspace\"}\n";
static const char codex_json[] =
    "{\"name\":\"strata\",\"version\":\"" STRATA_VERSION
    "\",\"description\":\"Shared memory, tasks "
    "and once-only actions of the agents on one workspace\",\"skills\":\"./skills/\","
    "\"mcpServers\":\"./.mcp.json\"}\n";
static const char marketplace_json[] =
    "{\"name\":\"strata\",\"owner\":{\"name\":\"strata\"},\"plugins\":[{\"name\":\"strata\","
    "\"source\":\"./\"}]}\n";
static const char mcp_json[] =
    "{\"mcpServers\":{\"strata\":{\"command\":\"strata\",\"args\":[\"mcp\"]}}}\n";
static const char hooks_json[] =
    "{\"hooks\":{"
    "\"SessionStart\":[{\"hooks\":[{\"type\":\"command\",\"command\":\"strata hook session-start\","
    "\"timeout\":10}]}],"
    "\"PreToolUse\":[{\"matcher\":\"Edit|Write|MultiEdit|NotebookEdit\",\"hooks\":[{\"type\":"
    "\"command\",\"command\":\"strata hook pre-edit\",\"timeout\":5}]}],"
    "\"PostToolUse\":[{\"matcher\":\"Edit|Write|MultiEdit|NotebookEdit\",\"hooks\":[{\"type\":"
    "\"command\",\"command\":\"strata hook post-edit\",\"timeout\":5}]}],"
    "\"SessionEnd\":[{\"hooks\":[{\"type\":\"command\",\"command\":\"strata hook session-end\","
    "\"timeout\":5}]}]}}\n";
static const char skill_md[] =
    "---\n"
    "name: strata\n"
    "description: Work with other agents on this workspace: shared facts, tasks, messages, and "
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

static int write_plugin(struct cli *c, const char *state_dir)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof plugin / sizeof plugin[0]; i++) {
        (void)snprintf(path, sizeof path, "%s%s", state_dir, plugin[i].path);
        if (!make_parents(state_dir, plugin[i].path) ||
            !user_file_replace(path, plugin[i].text, strlen(plugin[i].text)))
            return cli_error(c, STRATA_IO, NULL, "cannot write %s: %s", path, strerror(errno));
    }
    return 0;
}

/* --- what was changed outside ----------------------------------------------------------------- */

static void wired_path(const char *state_dir, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/wired", state_dir);
}

static bool is_wired(const char *state_dir, const char *what)
{
    char path[PATH_MAX], line[PATH_MAX + 16];
    wired_path(state_dir, path);
    FILE *f = fopen(path, "re");
    bool found = false;
    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        found = strcmp(line, what) == 0;
    }
    if (f != NULL)
        (void)fclose(f);
    return found;
}

static int note_wired(struct cli *c, const char *state_dir, const char *what)
{
    char path[PATH_MAX];
    wired_path(state_dir, path);
    if (is_wired(state_dir, what))
        return 0;
    FILE *f = fopen(path, "ae");
    bool good = f != NULL && fprintf(f, "%s\n", what) > 0;
    if (f != NULL && fclose(f) != 0)
        good = false;
    return good ? 0 : cli_error(c, STRATA_IO, NULL, "cannot write %s", path);
}

/* --- the clients' own programs ---------------------------------------------------------------- */

#define SERVER "{\"command\":\"strata\",\"args\":[\"mcp\"]}"

static const struct client {
    const char *name;
    const char *add[12], *remove[8]; /* the program first */
} clients[] = {
    {"claude",
     {"claude", "mcp", "add", "--scope", "local", "strata", "--", "strata", "mcp"},
     {"claude", "mcp", "remove", "--scope", "local", "strata"}},
    {"codex",
     {"codex", "mcp", "add", "strata", "--", "strata", "mcp"},
     {"codex", "mcp", "remove", "strata"}},
    {"openclaw",
     {"openclaw", "mcp", "set", "strata", SERVER},
     {"openclaw", "mcp", "unset", "strata"}},
};

static void put_command(FILE *f, const char *const *argv)
{
    for (size_t i = 0; argv[i] != NULL; i++)
        (void)fprintf(f, strpbrk(argv[i], " {\"") != NULL ? "%s'%s'" : "%s%s", i > 0 ? " " : "",
                      argv[i]);
}

/* Without a terminal, or where only data is wanted, nobody can say yes. */
static bool ask(struct cli *c, const char *const *argv)
{
    char answer[16];
    if (cli_given(c, OPT_YES))
        return true;
    if (c->json || c->quiet || !isatty(STDIN_FILENO))
        return false;
    (void)fputs("run `", stderr);
    put_command(stderr, argv);
    (void)fputs("`? [y/N] ", stderr);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

/* Longest time for a client's own program. Milliseconds: some look for updates first. */
#define CLIENT_MS 60000

static bool run(const char *const *argv)
{
    static const char *const none[] = {NULL};
    char *copy[12] = {NULL};
    for (size_t i = 0; argv[i] != NULL && i < 11; i++)
        copy[i] = (char *)(uintptr_t)argv[i];
    struct child child = {
        .argv = copy, .environment = none, .inherit_fd = -1, .timeout_ms = CLIENT_MS, .keep = true};
    bool good = child_run(&child) && child.started && child.status == 0;
    child_release(&child);
    return good;
}

static int wire_client(struct cli *c, const char *state_dir, const struct client *client)
{
    char what[64];
    (void)snprintf(what, sizeof what, "client %s", client->name);
    if (is_wired(state_dir, what) || child_check(client->add[0]) != 0)
        return 0;
    if (ask(c, client->add) && run(client->add)) {
        cli_note(c, "%s knows Strata now", client->name);
        return note_wired(c, state_dir, what);
    }
    if (!c->json && !c->quiet) {
        (void)fputs("left to do: ", stdout);
        put_command(stdout, client->add);
        (void)putchar('\n');
    }
    return 0;
}

/* --- AGENTS.md -------------------------------------------------------------------------------- */

static const char block_begin[] = "<!-- strata:begin -->\n";
static const char block_end[] = "<!-- strata:end -->\n";
static const char block_text[] =
    "## Strata\n\nOther agents work here too. Run `strata prime` (or call the MCP tool `prime`) "
    "before you begin.\n";

/* Takes our block out of the text, with the empty line that stands before it. */
static bool cut_block(char *text)
{
    char *begin = strstr(text, block_begin), *end = begin != NULL ? strstr(begin, block_end) : NULL;
    if (end == NULL)
        return false;
    end += sizeof block_end - 1;
    if (begin > text + 1 && begin[-1] == '\n' && begin[-2] == '\n')
        begin--;
    memmove(begin, end, strlen(end) + 1);
    return true;
}

static int wire_agents_md(struct cli *c, const char *state_dir, const char *dir)
{
    char path[PATH_MAX], what[PATH_MAX + 8];
    if (realpath(dir, path) == NULL || strlen(path) + sizeof "/AGENTS.md" > sizeof path)
        return cli_error(c, STRATA_IO, NULL, "%s: %s", dir, strerror(errno));
    strcat(path, "/AGENTS.md");
    char *text = user_file_read(path);
    size_t n = text != NULL ? strlen(text) : 0;
    char *all = text != NULL ? malloc(n + 512) : NULL;
    int status = 0;
    if (all == NULL) {
        status = cli_error(c, STRATA_IO, "it was not touched; a symbolic link is not followed",
                           "%s cannot be changed: %s", path, strerror(errno));
    } else {
        bool there = strstr(text, block_begin) != NULL;
        int size = snprintf(all, n + 512, "%s%s%s%s%s", text,
                            n == 0                ? ""
                            : text[n - 1] == '\n' ? "\n"
                                                  : "\n\n",
                            block_begin, block_text, block_end);
        if (!there && !user_file_replace(path, all, (size_t)size))
            status = cli_error(c, STRATA_IO, NULL, "cannot write %s: %s", path, strerror(errno));
    }
    free(all);
    free(text);
    (void)snprintf(what, sizeof what, "file %s", path);
    return status == 0 ? note_wired(c, state_dir, what) : status;
}

/* True when our block is not in it any more. */
static bool unwire_file(struct cli *c, const char *path)
{
    char *text = user_file_read(path);
    bool good = text != NULL;
    /* A file that has nothing else was made by us. */
    if (good && cut_block(text))
        good = text[0] == '\0' ? unlink(path) == 0 : user_file_replace(path, text, strlen(text));
    if (!good)
        cli_note(c, "%s was left as it is: it cannot be changed: %s", path, strerror(errno));
    free(text);
    return good;
}

/* --- both ways -------------------------------------------------------------------------------- */

int wire_agents(struct cli *c, const char *state_dir, const char *dir)
{
    int status = write_plugin(c, state_dir);
    for (size_t i = 0; status == 0 && i < sizeof clients / sizeof clients[0]; i++)
        status = wire_client(c, state_dir, &clients[i]);
    if (status == 0 && cli_given(c, OPT_AGENTS_MD))
        status = wire_agents_md(c, state_dir, dir);
    if (status != 0 || c->json || c->quiet)
        return status;
    (void)fputs("plugin for Claude Code, Codex and OpenClaw (tools, skill, hooks): ", stdout);
    cli_put_text(stdout, state_dir, strlen(state_dir), 0);
    (void)fputs(
        "/plugin\nagents in a sandbox write through the MCP tools; for the command line, let "
        "it write to ",
        stdout);
    cli_put_text(stdout, state_dir, strlen(state_dir), 0);
    (void)putchar('\n');
    return 0;
}

static bool unwire_client(struct cli *c, const char *name)
{
    for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++) {
        if (strcmp(clients[i].name, name) != 0)
            continue;
        if (ask(c, clients[i].remove) && run(clients[i].remove))
            return true;
        if (!c->json && !c->quiet) {
            (void)fputs("left to do: ", stdout);
            put_command(stdout, clients[i].remove);
            (void)putchar('\n');
        }
    }
    return false;
}

static void remove_plugin(const char *state_dir, json_t *list)
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

int unwire_agents(struct cli *c, const char *state_dir, json_t **list)
{
    char path[PATH_MAX], line[PATH_MAX + 16], kept[8 * PATH_MAX] = "";
    *list = json_array();
    wired_path(state_dir, path);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        bool file = strncmp(line, "file ", 5) == 0, client = strncmp(line, "client ", 7) == 0;
        if ((file && (access(line + 5, F_OK) != 0 || unwire_file(c, line + 5))) ||
            (client && unwire_client(c, line + 7))) {
            (void)json_array_append_new(*list, cli_json_text(line, strlen(line)));
            continue;
        }
        size_t n = strlen(kept);
        if (n + strlen(line) + 2 <= sizeof kept)
            strcat(strcpy(kept + n, line), "\n");
    }
    if (f != NULL)
        (void)fclose(f);
    remove_plugin(state_dir, *list);
    if (kept[0] == '\0')
        (void)unlink(path);
    else if (!user_file_replace(path, kept, strlen(kept)))
        return cli_error(c, STRATA_IO, NULL, "cannot write %s: %s", path, strerror(errno));
    return 0;
}
