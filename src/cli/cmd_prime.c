/*
 * cmd_prime.c - `strata prime`, and `strata hook NAME`: what an agent's client calls by itself.
 *
 * A hook helps and never stands in the way: whatever is wrong with it, its status is 0, but for the
 * one refusal that it is for (2: somebody else has reserved the file). Clients read its input from
 * standard input as one JSON object.
 */
#include "cli/cli.h"
#include "edge/prime.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a client tells a hook: the text of an edit may be in it. Bytes. */
#define HOOK_INPUT_MAX (4 * 1024 * 1024)
/* A session must not hang at its start because another process holds a lock. Milliseconds. */
#define HOOK_WAIT_MS 2000
/* Reservations of paths are locks whose names begin so (docs/mcp.md). */
#define RESERVED "path:"

int cmd_prime(struct cli *c)
{
    char *text = NULL;
    size_t size = 0;
    int status = cli_open(c);
    if (status != 0)
        return status;
    FILE *f = c->json ? open_memstream(&text, &size) : stdout;
    int code = f != NULL ? edge_prime(f, c->s, c->agent, cli_now(c)) : STRATA_NO_MEMORY;
    if (c->json && f != NULL)
        (void)fclose(f);
    status = code != STRATA_OK ? cli_fail(c, code)
             : c->json         ? cli_json(c, json_pack("{s:s?,s:o}", "agent", c->agent, "text",
                                                       cli_json_text(text, size)))
                               : 0;
    free(text);
    return status;
}

/* --- hooks ------------------------------------------------------------------------------------ */

static json_t *read_input(void)
{
    char *text = malloc(HOOK_INPUT_MAX);
    json_t *o = NULL;
    if (text != NULL && !isatty(STDIN_FILENO)) {
        size_t n = fread(text, 1, HOOK_INPUT_MAX, stdin);
        o = json_loadb(text, n, 0, NULL);
    }
    free(text);
    return o;
}

/* The session's later commands speak as the same agent. */
static void tell_environment(const struct cli *c)
{
    const char *path = getenv("CLAUDE_ENV_FILE");
    FILE *f = path != NULL && path[0] != '\0' && c->agent != NULL ? fopen(path, "ae") : NULL;
    if (f == NULL)
        return;
    (void)fprintf(f, "export STRATA_AGENT=%s\n", c->agent); /* letters, digits, dots, dashes */
    (void)fclose(f);
}

static int session_start(struct cli *c, const json_t *input)
{
    (void)input;
    tell_environment(c);
    if (c->agent != NULL && !strata_is_read_only(c->s))
        (void)strata_beat(c->s, NULL);
    (void)edge_prime(stdout, c->s, c->agent, cli_now(c));
    return 0;
}

static int beat(struct cli *c, const json_t *input)
{
    (void)input;
    if (c->agent != NULL && !strata_is_read_only(c->s))
        (void)strata_beat(c->s, NULL);
    return 0;
}

/* The path as somebody would reserve it: from the top of the work tree. */
static const char *path_in_tree(const char *path)
{
    char part[PATH_MAX], mark[PATH_MAX + 16];
    struct stat st;
    (void)snprintf(part, sizeof part, "%s", path);
    for (char *slash = strrchr(part, '/'); slash != NULL && slash != part;
         slash = strrchr(part, '/')) {
        *slash = '\0';
        (void)snprintf(mark, sizeof mark, "%s/.git", part);
        bool top = stat(mark, &st) == 0;
        (void)snprintf(mark, sizeof mark, "%s/.strata", part);
        if (top || stat(mark, &st) == 0)
            return path + strlen(part) + 1;
    }
    return path;
}

struct reservation {
    const char *path, *relative, *agent;
    char holder[CLI_AGENT_SIZE_MAX + 1];
    uint64_t left_ms;
};

static int look_at_lock(void *arg, const strata_lock *l)
{
    struct reservation *r = arg;
    size_t n = sizeof RESERVED - 1;
    if (!l->held || strncmp(l->name, RESERVED, n) != 0)
        return 0;
    bool same = strcmp(l->name + n, r->relative) == 0 || strcmp(l->name + n, r->path) == 0;
    if (!same || (r->agent != NULL && strcmp(l->holder, r->agent) == 0))
        return 0;
    (void)snprintf(r->holder, sizeof r->holder, "%s", l->holder);
    r->left_ms = l->left_ms;
    return 1;
}

static int pre_edit(struct cli *c, const json_t *input)
{
    const json_t *tool = json_object_get(input, "tool_input");
    const char *path = json_string_value(json_object_get(tool, "file_path"));
    if (path == NULL)
        path = json_string_value(json_object_get(tool, "notebook_path"));
    if (path == NULL)
        return 0;
    char span[CLI_AGE_SIZE], shown[512];
    struct reservation r = {.path = path, .relative = path_in_tree(path), .agent = c->agent};
    if (strata_lock_each(c->s, look_at_lock, &r) < 0 || r.holder[0] == '\0')
        return 0;
    cli_span(r.left_ms, span);
    (void)fprintf(stderr,
                  "strata: %s is reserved by %s, for %s at most; nothing was changed. Work on "
                  "something else, or ask them: strata send %s TEXT\n",
                  cli_clean(r.relative, shown, sizeof shown), r.holder, span, r.holder);
    return 2;
}

struct holdings {
    const char *agent;
    char names[16][256]; /* more than an agent edits at one time */
    uint64_t tokens[16];
    size_t count;
};

static int collect_own(void *arg, const strata_lock *l)
{
    struct holdings *h = arg;
    bool own = l->held && strncmp(l->name, RESERVED, sizeof RESERVED - 1) == 0 &&
               strcmp(l->holder, h->agent) == 0;
    if (own && h->count < 16) {
        (void)snprintf(h->names[h->count], sizeof h->names[0], "%s", l->name);
        h->tokens[h->count++] = l->token;
    }
    return 0;
}

static int session_end(struct cli *c, const json_t *input)
{
    (void)input;
    struct holdings h = {.agent = c->agent};
    if (c->agent == NULL || strata_lock_each(c->s, collect_own, &h) != STRATA_OK)
        return 0;
    for (size_t i = 0; i < h.count; i++)
        (void)strata_lock_release(c->s, h.names[i], h.tokens[i]);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct cli *c, const json_t *input);
} hooks[] = {
    {"session-start", session_start},
    {"pre-edit", pre_edit},
    {"post-edit", beat},
    {"session-end", session_end},
};

int cmd_hook(struct cli *c)
{
    size_t i = 0;
    while (i < sizeof hooks / sizeof hooks[0] && strcmp(hooks[i].name, c->args[0]) != 0)
        i++;
    if (i == sizeof hooks / sizeof hooks[0])
        return cli_usage(c, "NAME is session-start, pre-edit, post-edit or session-end");
    json_t *input = read_input();
    strata_error error;
    strata_options options = {
        .size = sizeof options,
        .state_dir = c->state_dir,
        .program = "strata hook",
        .wait_ms = c->wait_ms != 0 ? c->wait_ms : HOOK_WAIT_MS,
    };
    int status = cli_find_agent(c) == 0 ? 0 : 1;
    options.agent = c->agent;
    /* Where there is no workspace there is nothing to say. */
    bool open = status == 0 && strata_open(c->dir, &options, &c->s, &error) == STRATA_OK;
    status = open ? hooks[i].run(c, input) : 0;
    json_decref(input);
    return status;
}
