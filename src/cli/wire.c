/* wire.c - the wiring of agents' clients. */
#include "cli/wire.h"

#include "cli/child.h"
#include "cli/user_file.h"
#include "edge/tree.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- what was changed outside ----------------------------------------------------------------- */

static void wired_path(const char *state_dir, char out[PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/wired", state_dir);
}

static bool is_wired(const char *state_dir, const char *what)
{
    char path[PATH_MAX], line[PATH_MAX + 128];
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

#define SERVER     "{\"command\":\"strata\",\"args\":[\"mcp\"]}"
#define WORDS_MAX  10
#define PLUGIN_DIR "<plugin>" /* stands for the plugin's directory */
#define MARKET     "<market>" /* for the name under which Claude Code finds it */
#define PLUGIN_ID  "<id>"     /* for the plugin's full name */

/* Commands that wire a client, and that take it back: one after the other. Claude Code knows what
 * belongs to one work tree (by its own local settings, which are not tracked), and takes tools,
 * skill and hooks from the plugin; the others have one list of servers for all that a user does. */
static const struct client {
    const char *name;
    bool local; /* to a work tree */
    const char *add[2][WORDS_MAX], *remove[2][WORDS_MAX];
} clients[] = {
    {"claude",
     true,
     {{"claude", "plugin", "marketplace", "add", "--scope", "local", PLUGIN_DIR},
      {"claude", "plugin", "install", "--scope", "local", PLUGIN_ID}},
     {{"claude", "plugin", "uninstall", "--scope", "local", PLUGIN_ID},
      {"claude", "plugin", "marketplace", "remove", "--scope", "local", MARKET}}},
    {"codex",
     false,
     {{"codex", "mcp", "add", "strata", "--", "strata", "mcp"}},
     {{"codex", "mcp", "remove", "strata"}}},
    {"openclaw",
     false,
     {{"openclaw", "mcp", "set", "strata", SERVER}},
     {{"openclaw", "mcp", "unset", "strata"}}},
};

/* One command, filled in. */
struct words {
    char *argv[WORDS_MAX + 1];
    char plugin[PATH_MAX + sizeof "/plugin"], id[WIRE_MARKET_SIZE + sizeof "strata@"];
    char market[WIRE_MARKET_SIZE];
};

static void fill_in(struct words *w, const char *const *from, const char *state_dir,
                    const char *market)
{
    (void)snprintf(w->plugin, sizeof w->plugin, "%s/plugin", state_dir);
    (void)snprintf(w->market, sizeof w->market, "%s", market);
    (void)snprintf(w->id, sizeof w->id, "strata@%s", market);
    size_t i = 0;
    for (; i < WORDS_MAX && from[i] != NULL; i++)
        w->argv[i] = strcmp(from[i], PLUGIN_DIR) == 0  ? w->plugin
                     : strcmp(from[i], MARKET) == 0    ? w->market
                     : strcmp(from[i], PLUGIN_ID) == 0 ? w->id
                                                       : (char *)(uintptr_t)from[i];
    w->argv[i] = NULL;
}

/* As it is typed in a shell; to be freed. */
static char *command_text(const struct words *w)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "%+,-./:=@_";
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    for (size_t i = 0; f != NULL && w->argv[i] != NULL; i++) {
        const char *p = w->argv[i];
        bool quoted = p[0] == '\0' || p[strspn(p, plain)] != '\0';
        (void)fputs(i > 0 ? quoted ? " '" : " " : "", f);
        for (; *p != '\0'; p++)
            (void)fputs(*p == '\'' ? "'\\''" : (char[]){*p, '\0'}, f);
        (void)fputs(quoted ? "'" : "", f);
    }
    if (f != NULL)
        (void)fclose(f);
    return text;
}

/* Without a terminal, or where only data is wanted, nobody can say yes. */
static bool ask(struct cli *c, char *const *commands, size_t count)
{
    char answer[16];
    if (cli_given(c, OPT_YES))
        return true;
    if (c->json || c->quiet || !isatty(STDIN_FILENO))
        return false;
    for (size_t i = 0; i < count; i++)
        (void)fprintf(stderr, "%s%s", i == 0 ? "run `" : "`, `", commands[i]);
    (void)fputs("`? [y/N] ", stderr);
    return fgets(answer, sizeof answer, stdin) != NULL && (answer[0] == 'y' || answer[0] == 'Y');
}

/* Longest time for a client's own program. Milliseconds: one was seen to take 95 s on a machine
 * with much else to do. */
#define CLIENT_MS 300000

/* The last line that a program said. */
static void last_line(const char *text, size_t size, char out[200])
{
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' '))
        size--;
    const char *begin = size > 0 ? memrchr(text, '\n', size) : NULL;
    begin = begin != NULL ? begin + 1 : text;
    (void)snprintf(out, 200, "%.*s", (int)(size - (size_t)(begin - text)), size > 0 ? begin : "");
}

static bool run(struct cli *c, struct words *w, const char *dir)
{
    static const char *const none[] = {NULL};
    char said[200], shown[600];
    struct child child = {
        .argv = w->argv,
        .environment = none,
        .dir = dir,
        .inherit_fd = -1,
        .timeout_ms = CLIENT_MS,
        .keep = true,
        .silent = true, /* our standard output is data */
    };
    bool good = child_run(&child) && child.started && child.status == 0 && !child.timed_out;
    last_line(child.err_size > 0 ? child.err : child.out,
              child.err_size > 0 ? child.err_size : child.out_size, said);
    if (!good && child.timed_out)
        cli_warn(c, "%s did not end within %d s", w->argv[0], CLIENT_MS / 1000);
    else if (!good)
        cli_warn(c, "%s ended with status %d: %s", w->argv[0], child.status,
                 cli_clean(said, shown, sizeof shown));
    child_release(&child);
    return good;
}

static void add_text(json_t *list, const char *text)
{
    (void)json_array_append_new(list, cli_json_text(text, strlen(text)));
}

/* Whether all of a client's commands were run: asks, and says what is left to do. */
static bool run_all(struct cli *c, const char *const from[2][WORDS_MAX], const char *state_dir,
                    const char *market, const char *dir, struct wire_report *report)
{
    struct words list[2];
    char *texts[2];
    size_t count = 0, done = 0;
    bool dry = cli_given(c, OPT_DRY_RUN);
    for (; count < 2 && from[count][0] != NULL; count++) {
        fill_in(&list[count], from[count], state_dir, market);
        texts[count] = command_text(&list[count]);
        if (texts[count] == NULL) { /* out of memory */
            while (count > 0)
                free(texts[--count]);
            return false;
        }
    }
    if (!dry && ask(c, texts, count))
        while (done < count && run(c, &list[done], dir))
            done++;
    for (size_t i = 0; i < count; i++) {
        if (i >= done) {
            add_text(report->left, texts[i]);
            if (!c->json && !c->quiet)
                (void)printf("%s: %s\n", dry ? "would ask to run" : "left to do", texts[i]);
        }
        free(texts[i]);
    }
    return done == count;
}

/* A client with one list for all that a user does: who else needs it is noted before it is called. */
static bool wire_one(struct cli *c, const strata_init_result *made, const struct client *client,
                     const char *market, const char *tree, struct wire_report *report)
{
    bool user = !client->local && !cli_given(c, OPT_DRY_RUN);
    if (user && !wire_user_add(client->name, made->replica, made->state_dir))
        cli_warn(c, "it cannot be noted for other workspaces that this one needs %s's entry: %s",
                 client->name, strerror(errno));
    bool good = run_all(c, client->add, made->state_dir, market, tree, report);
    if (user && !good)
        wire_user_remove(client->name, made->state_dir);
    return good;
}

static int wire_client(struct cli *c, const strata_init_result *made, const struct client *client,
                       const char *market, const char *tree, struct wire_report *report)
{
    char what[PATH_MAX + 128];
    (void)snprintf(what, sizeof what, client->local ? "client %s %s %s" : "client %s", client->name,
                   market, tree);
    if (is_wired(made->state_dir, what)) {
        add_text(report->wired, what);
        return 0;
    }
    if (child_check(client->name) != 0) {
        add_text(report->missing, client->name);
        return 0;
    }
    if (!wire_one(c, made, client, market, tree, report))
        return 0;
    cli_note(c, "%s knows Strata now", client->name);
    add_text(report->wired, what);
    return note_wired(c, made->state_dir, what);
}

/* --- AGENTS.md -------------------------------------------------------------------------------- */

/* How our block begins says what the file was like before. A view's block begins otherwise (files/block.h). */
enum block_kind { BLOCK_PLAIN, BLOCK_UNENDED, BLOCK_IN_EMPTY, BLOCK_KINDS };
static const char *const block_begins[BLOCK_KINDS] = {
    [BLOCK_PLAIN] = "<!-- strata:begin -->\n",
    [BLOCK_UNENDED] = "<!-- strata:begin; no newline was at the end -->\n",
    [BLOCK_IN_EMPTY] = "<!-- strata:begin; the file was empty -->\n",
};
static const char block_end[] = "<!-- strata:end -->\n";
static const char block_text[] =
    "## Strata\n\nOther agents work here too. Run `strata prime` (or call the MCP tool `prime`) "
    "before you begin.\n";

static char *find_block(char *text, enum block_kind *kind)
{
    for (*kind = 0; *kind < BLOCK_KINDS; ++*kind) {
        char *at = strstr(text, block_begins[*kind]);
        if (at != NULL)
            return at;
    }
    return NULL;
}

/* Takes our block out of the text, with what was put before it. */
static bool cut_block(char *text, enum block_kind *kind)
{
    char *begin = find_block(text, kind), *end = begin != NULL ? strstr(begin, block_end) : NULL;
    if (end == NULL)
        return false;
    end += sizeof block_end - 1;
    if (begin > text + 1 && begin[-1] == '\n' && begin[-2] == '\n')
        begin -= *kind == BLOCK_UNENDED && *end == '\0' ? 2 : 1;
    memmove(begin, end, strlen(end) + 1);
    return true;
}

static int wire_agents_md(struct cli *c, const char *state_dir, const char *dir,
                          struct wire_report *report)
{
    char path[PATH_MAX], what[PATH_MAX + 8];
    if (realpath(dir, path) == NULL || strlen(path) + sizeof "/AGENTS.md" > sizeof path)
        return cli_error(c, STRATA_IO, NULL, "%s: %s", dir, strerror(errno));
    strcat(path, "/AGENTS.md");
    char *text = user_file_read(path);
    size_t n = text != NULL ? strlen(text) : 0;
    char *all = text != NULL ? malloc(n + 512) : NULL;
    bool there = false;
    int status = 0;
    if (all == NULL) {
        status = cli_error(c, STRATA_IO, "it was not touched; a symbolic link is not followed",
                           "%s cannot be changed: %s", path, strerror(errno));
    } else {
        enum block_kind kind;
        there = find_block(text, &kind) != NULL;
        bool ended = n == 0 || text[n - 1] == '\n';
        kind = !ended                              ? BLOCK_UNENDED
               : n == 0 && access(path, F_OK) == 0 ? BLOCK_IN_EMPTY
                                                   : BLOCK_PLAIN;
        int size = snprintf(all, n + 512, "%s%s%s%s%s%s", text, ended ? "" : "\n",
                            n > 0 ? "\n" : "", block_begins[kind], block_text, block_end);
        if (!there && !user_file_replace(path, all, (size_t)size))
            status = cli_error(c, STRATA_IO, NULL, "cannot write %s: %s", path, strerror(errno));
    }
    free(all);
    free(text);
    (void)snprintf(what, sizeof what, "file %s", path);
    /* What somebody else has put there, and committed perhaps, is not ours to take away. */
    if (status != 0 || (there && !is_wired(state_dir, what)))
        return status;
    add_text(report->wired, what);
    return note_wired(c, state_dir, what);
}

/* True when our block is not in it any more. */
static bool unwire_file(struct cli *c, const char *path)
{
    char *text = user_file_read(path);
    bool good = text != NULL;
    enum block_kind kind;
    if (good && cut_block(text, &kind)) {
        bool made_by_us = text[0] == '\0' && kind != BLOCK_IN_EMPTY;
        good = made_by_us ? unlink(path) == 0 : user_file_replace(path, text, strlen(text));
    }
    if (!good)
        cli_note(c, "%s was left as it is: it cannot be changed: %s", path, strerror(errno));
    free(text);
    return good;
}

/* --- both ways -------------------------------------------------------------------------------- */

static void report_init(struct wire_report *report)
{
    *report = (struct wire_report){json_array(), json_array(), json_array(), json_array()};
}

void wire_report_release(struct wire_report *report)
{
    json_decref(report->wired);
    json_decref(report->left);
    json_decref(report->shared);
    json_decref(report->missing);
    *report = (struct wire_report){0};
}

static void put_wiring(struct cli *c, const char *state_dir, const struct wire_report *report)
{
    const bool dry = cli_given(c, OPT_DRY_RUN);
    for (size_t i = 0; i < json_array_size(report->missing); i++)
        (void)printf("not found: %s\n", json_string_value(json_array_get(report->missing, i)));
    (void)fputs(
        dry ? "would write the plugin for Claude Code, Codex and OpenClaw (tools, skill, hooks): "
            : "plugin for Claude Code, Codex and OpenClaw (tools, skill, hooks): ",
        stdout);
    cli_put_text(stdout, state_dir, strlen(state_dir), 0);
    (void)fputs(
        "/plugin\nagents in a sandbox write through the MCP tools; for the command line, let "
        "it write to ",
        stdout);
    cli_put_text(stdout, state_dir, strlen(state_dir), 0);
    (void)putchar('\n');
}

int wire_agents(struct cli *c, const strata_init_result *made, const char *dir,
                struct wire_report *report)
{
    char market[WIRE_MARKET_SIZE], tree[EDGE_PATH_SIZE];
    const bool dry = cli_given(c, OPT_DRY_RUN);
    report_init(report);
    /* Two workspaces of one user are two things to Claude Code. What is not there has no number yet. */
    (void)snprintf(market, sizeof market, "strata-%.8s",
                   made->replica[0] != '\0' ? made->replica : "XXXXXXXX");
    if (!edge_tree(dir, tree))
        return cli_error(c, STRATA_IO, NULL, "%s: %s", dir, strerror(errno));
    if (child_check("strata") != 0)
        cli_warn(c, "no program `strata` is found along PATH: clients start it by that name");
    int status = dry ? 0 : wire_plugin_write(c, made->state_dir, market);
    for (size_t i = 0; status == 0 && i < sizeof clients / sizeof clients[0]; i++)
        status = wire_client(c, made, &clients[i], market, tree, report);
    if (status == 0 && cli_given(c, OPT_AGENTS_MD) && !dry)
        status = wire_agents_md(c, made->state_dir, dir, report);
    if (status == 0 && !c->json && !c->quiet)
        put_wiring(c, made->state_dir, report);
    return status;
}

/* Whether the client's entry may go; who else needs it is told. */
static bool is_last_user(struct cli *c, const struct client *client, const char *state_dir)
{
    char other[PATH_MAX], shown[600];
    wire_user_remove(client->name, state_dir);
    if (!wire_user_other(client->name, state_dir, other))
        return true;
    cli_note(c, "%s keeps its entry: another workspace needs it (%s)", client->name,
             cli_clean(other, shown, sizeof shown));
    return false;
}

/* "NAME" or "NAME MARKET TREE", of the line `what`. */
static bool unwire_client(struct cli *c, const char *state_dir, const char *line,
                          struct wire_report *report)
{
    char name[32], market[WIRE_MARKET_SIZE] = "";
    const char *what = line + strlen("client ");
    int end = 0, words = sscanf(what, "%31s %23s %n", name, market, &end);
    const char *tree = words == 2 ? what + end : NULL;
    const struct client *client = NULL;
    for (size_t i = 0; i < sizeof clients / sizeof clients[0]; i++)
        if (strcmp(clients[i].name, name) == 0 && clients[i].local == (tree != NULL))
            client = &clients[i];
    if (client == NULL)
        return false;
    if (tree == NULL && !is_last_user(c, client, state_dir)) {
        add_text(report->shared, line);
        return true;
    }
    /* A work tree that is gone took its settings with it. */
    bool gone = tree != NULL && access(tree, F_OK) != 0;
    if (!gone && !run_all(c, client->remove, state_dir, market, tree, report))
        return false;
    add_text(report->wired, line);
    return true;
}
_Static_assert(WIRE_MARKET_SIZE == 24, "the format above names it");

static bool unwire_line(struct cli *c, const char *state_dir, const char *line,
                        struct wire_report *report)
{
    if (strncmp(line, "client ", 7) == 0)
        return unwire_client(c, state_dir, line, report);
    if (strncmp(line, "file ", 5) != 0 ||
        (access(line + 5, F_OK) == 0 && !unwire_file(c, line + 5)))
        return false;
    add_text(report->wired, line);
    return true;
}

int unwire_agents(struct cli *c, const char *state_dir, struct wire_report *report)
{
    char path[PATH_MAX], line[PATH_MAX + 128], kept[8 * PATH_MAX] = "";
    bool plugin_used = false;
    report_init(report);
    wired_path(state_dir, path);
    FILE *f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (unwire_line(c, state_dir, line, report))
            continue;
        bool client = strncmp(line, "client ", 7) == 0;
        plugin_used = plugin_used || (client && strchr(line + 7, ' ') != NULL);
        size_t n = strlen(kept);
        if (n + strlen(line) + 2 <= sizeof kept)
            strcat(strcpy(kept + n, line), "\n");
    }
    if (f != NULL)
        (void)fclose(f);
    if (!plugin_used)
        wire_plugin_remove(state_dir, report->wired);
    if (kept[0] == '\0')
        (void)unlink(path);
    else if (!user_file_replace(path, kept, strlen(kept)))
        return cli_error(c, STRATA_IO, NULL, "cannot write %s: %s", path, strerror(errno));
    return 0;
}
