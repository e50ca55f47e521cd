/*
 * cmd_prime.c - `strata prime`, and `strata hook NAME`: what an agent's client calls by itself.
 *
 * A hook helps and never stands in the way: whatever is wrong with it, its status is 0, but for the
 * one refusal that it is for (2: somebody else has reserved the file). Clients read its input from
 * standard input as one JSON object.
 */
#include "cli/cli.h"
#include "edge/prime.h"
#include "edge/tree.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a client tells a hook: the text of an edit may be in it. Bytes. */
#define HOOK_INPUT_MAX (4 * 1024 * 1024)
/* A session must not hang at its start because another process holds a lock. Milliseconds. */
#define HOOK_WAIT_MS 2000
/* The same for a client that keeps its end open. Milliseconds between two pieces of its input. */
#define HOOK_INPUT_MS 2000

int cmd_prime(struct cli *c)
{
    char *text = NULL;
    size_t size = 0;
    int status = cli_open(c);
    if (status != 0)
        return status;
    /* Where the commands cannot write, the tools of the session can. */
    enum edge_door door = strata_is_read_only(c->s) ? EDGE_TOOLS : EDGE_COMMANDS;
    FILE *f = c->json ? open_memstream(&text, &size) : stdout;
    int code = f != NULL ? edge_prime(f, c->s, c->agent, cli_now(c), door) : STRATA_NO_MEMORY;
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

/* One object; its end is enough, as not every client closes its end. NULL: there is none. */
static json_t *read_input(void)
{
    char *text = malloc(HOOK_INPUT_MAX);
    json_t *o = NULL;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    size_t n = 0;
    ssize_t got = text != NULL && !isatty(STDIN_FILENO);
    while (o == NULL && got > 0 && n < HOOK_INPUT_MAX && poll(&input, 1, HOOK_INPUT_MS) > 0) {
        got = read(STDIN_FILENO, text + n, HOOK_INPUT_MAX - n);
        n += got > 0 ? (size_t)got : 0;
        size_t end = n;
        while (end > 0 && strchr(" \t\r\n", text[end - 1]) != NULL)
            end--;
        if (end > 0 && text[end - 1] == '}')
            o = json_loadb(text, end, 0, NULL);
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
    (void)edge_prime(stdout, c->s, c->agent, cli_now(c), EDGE_TOOLS);
    return 0;
}

struct edit {
    struct cli *c;
    const char *path;
    bool refused, warn;
};

static int look_at_reservation(void *arg, const strata_reservation *r)
{
    struct edit *e = arg;
    char span[CLI_AGE_SIZE], shown[512], pattern[512], reason[512];
    if (e->warn)
        cli_warn_elsewhere(e->c, r);
    if (!cli_is_refused(e->c, r) || e->refused)
        return 0;
    e->refused = true;
    const char *holder = r->holder[0] != '\0' ? r->holder : "somebody";
    cli_span(r->left_ms, span);
    (void)fprintf(stderr,
                  "strata: %s: %s is reserved by %s%s%s, for %s at most; nothing was changed. Work "
                  "on something else, or ask them: strata send %s TEXT\n",
                  cli_clean(e->path, shown, sizeof shown),
                  cli_clean(r->pattern, pattern, sizeof pattern), holder,
                  r->reason[0] != '\0' ? ": " : "", cli_clean(r->reason, reason, sizeof reason),
                  span, holder);
    return 0;
}

/* The file that a tool reads or edits, or NULL. */
static const char *file_of(const json_t *input)
{
    const json_t *tool = json_object_get(input, "tool_input");
    const char *file = json_string_value(json_object_get(tool, "file_path"));
    return file != NULL ? file : json_string_value(json_object_get(tool, "notebook_path"));
}

static int pre_edit(struct cli *c, const json_t *input)
{
    char tree[EDGE_PATH_SIZE], here[EDGE_PATH_SIZE], path[EDGE_PATH_SIZE];
    const char *file = file_of(input);
    if (file == NULL || !edge_tree_of(file, tree, path))
        return 0;
    /* Of a file elsewhere it is not known whether it belongs to this workspace. */
    struct edit e = {
        .c = c, .path = path, .warn = edge_tree(c->dir, here) && strcmp(here, tree) == 0};
    (void)strata_reserve_each(c->s, tree, path, NULL, look_at_reservation, &e);
    return e.refused ? 2 : 0;
}

/* Of a tracked file: the agent's next edit is merged against what it has read now. */
static int post_read(struct cli *c, const json_t *input)
{
    const char *file = file_of(input);
    if (file != NULL && c->agent != NULL && !strata_is_read_only(c->s))
        (void)strata_file_seen(c->s, file);
    return 0;
}

/* The edit is taken in as this agent's, before somebody else's command finds it. */
static int post_edit(struct cli *c, const json_t *input)
{
    if (c->agent == NULL || strata_is_read_only(c->s))
        return 0;
    (void)strata_beat(c->s, NULL);
    (void)strata_files_update(c->s, 0, NULL);
    return post_read(c, input);
}

/* Given back in one go; then the next ones. */
#define OWN_MAX 16

struct holdings {
    const char *agent;
    char patterns[OWN_MAX][256];
    uint64_t tokens[OWN_MAX];
    size_t count;
};

static int collect_own(void *arg, const strata_reservation *r)
{
    struct holdings *h = arg;
    if (!r->here || strcmp(r->holder, h->agent) != 0)
        return 0;
    (void)snprintf(h->patterns[h->count], sizeof h->patterns[0], "%s", r->pattern);
    h->tokens[h->count++] = r->token;
    return h->count == OWN_MAX;
}

static int session_end(struct cli *c, const json_t *input)
{
    (void)input;
    char tree[EDGE_PATH_SIZE];
    struct holdings h = {.agent = c->agent};
    bool good = c->agent != NULL && edge_tree(c->dir, tree);
    do {
        h.count = 0;
        good = good && strata_reserve_each(c->s, tree, NULL, NULL, collect_own, &h) == STRATA_OK;
        for (size_t i = 0; i < h.count; i++)
            good =
                strata_reserve_release(c->s, tree, h.patterns[i], h.tokens[i]) == STRATA_OK && good;
    } while (good && h.count == OWN_MAX);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct cli *c, const json_t *input);
} hooks[] = {
    {"session-start", session_start}, {"pre-edit", pre_edit},       {"post-read", post_read},
    {"post-edit", post_edit},         {"session-end", session_end},
};

/* In the current directory, or where the client's session began: an agent goes elsewhere at times. */
static bool open_for_hook(struct cli *c, strata_options *options)
{
    const char *dirs[] = {c->dir, c->dir == NULL ? getenv("CLAUDE_PROJECT_DIR") : NULL};
    for (size_t i = 0; i < 2; i++) {
        strata_error error;
        if (i > 0 && (dirs[i] == NULL || dirs[i][0] == '\0'))
            return false;
        c->dir = dirs[i];
        if (cli_find_agent(c) != 0)
            return false;
        options->agent = c->agent;
        if (strata_open(c->dir, options, &c->s, &error) == STRATA_OK)
            return true;
    }
    return false;
}

int cmd_hook(struct cli *c)
{
    size_t i = 0;
    while (i < sizeof hooks / sizeof hooks[0] && strcmp(hooks[i].name, c->args[0]) != 0)
        i++;
    if (i == sizeof hooks / sizeof hooks[0])
        /* Not 2: that would have the client refuse what it is about, for a hook of a newer version. */
        return cli_error(c, STRATA_NOT_FOUND, "see: strata help hook",
                         "NAME is session-start, pre-edit, post-read, post-edit or session-end");
    json_t *input = read_input();
    strata_options options = {
        .size = sizeof options,
        .state_dir = c->state_dir,
        .program = "strata hook",
        .wait_ms = c->wait_ms != 0 ? c->wait_ms : HOOK_WAIT_MS,
    };
    bool open = open_for_hook(c, &options);
    /* Where there is no workspace there is nothing to say. */
    int status = open ? hooks[i].run(c, input) : 0;
    json_decref(input);
    return status;
}
