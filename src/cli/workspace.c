/* workspace.c - opening the workspace: who is asking, and with what. */
#include "cli/cli.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- who is asking ---------------------------------------------------------------------------- */

static bool agent_valid(const char *name)
{
    size_t n = strlen(name);
    bool good = n > 0 && n <= CLI_AGENT_SIZE_MAX && name[0] != '.' && name[0] != '-';
    for (size_t i = 0; good && i < n; i++) {
        char ch = name[i];
        good = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
               ch == '.' || ch == '_' || ch == '-';
    }
    return good;
}

static bool has_entry(const char *dir, size_t n, const char *name)
{
    char path[PATH_MAX + 16];
    struct stat st;
    (void)snprintf(path, sizeof(path), "%.*s/%s", (int)n, dir, name);
    return stat(path, &st) == 0;
}

/* The base name of the work tree around dir; of dir itself outside of any. */
static void default_agent(struct cli *c)
{
    char path[PATH_MAX];
    const char *dir = c->dir != NULL ? c->dir : ".";

    if (realpath(dir, path) == NULL)
        return;
    size_t root = strlen(path);
    for (size_t n = root; n > 1;) {
        if (has_entry(path, n, ".git") || has_entry(path, n, ".strata")) {
            root = n;
            break;
        }
        while (n > 0 && path[n - 1] != '/')
            n--;
        n = n > 1 ? n - 1 : n;
    }
    path[root] = '\0';
    const char *base = strrchr(path, '/');
    if (base == NULL || !agent_valid(base + 1))
        return;
    (void)snprintf(c->agent_buffer, sizeof(c->agent_buffer), "%s", base + 1);
    c->agent = c->agent_buffer;
}

int cli_find_agent(struct cli *c)
{
    const char *name = c->options[OPT_AGENT], *source = "--agent";
    char shown[96];

    if (name == NULL) {
        name = getenv("STRATA_AGENT");
        source = "STRATA_AGENT";
        if (name == NULL || name[0] == '\0') {
            default_agent(c);
            return 0;
        }
    }
    if (strlen(name) > CLI_AGENT_SIZE_MAX)
        return cli_error(c, STRATA_LIMIT, NULL, "%s is %zu bytes long; the limit is %d", source,
                         strlen(name), CLI_AGENT_SIZE_MAX);
    if (!agent_valid(name))
        return cli_error(
            c, STRATA_INVALID, "letters, digits, dot, underscore and dash; no dot or dash in front",
            "%s: `%s` is no name for an agent", source, cli_clean(name, shown, sizeof(shown)));
    c->agent = name;
    return 0;
}

int cli_fail_with(struct cli *c, int code, const strata_error *error)
{
    char message[1024], hint[1024];
    cli_clean(error->message, message, sizeof(message));
    cli_clean(error->hint, hint, sizeof(hint));
    return cli_error(c, code, hint, "%s", message[0] != '\0' ? message : strata_code_name(code));
}

/* Which start of the agent; what is not a number is as if it were not there. */
static uint64_t incarnation(void)
{
    const char *text = getenv("STRATA_INCARNATION");
    char *end;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return 0;
    uint64_t value = strtoull(text, &end, 10);
    return *end == '\0' && value < UINT64_C(1) << 53 ? value : 0;
}

strata_options cli_open_options(const struct cli *c)
{
    return (strata_options){
        .size = sizeof(strata_options),
        .state_dir = c->state_dir,
        .agent = c->agent,
        .program = "strata",
        .incarnation = incarnation(),
        .wait_ms = c->wait_ms,
    };
}

/* What is wrong with the files does not keep a command from its work. */
static void update_files(struct cli *c, unsigned flags)
{
    int code = strata_files_update(c->s, flags, NULL);
    if (code != STRATA_OK)
        cli_warn(c, "the files of the work tree were not looked after: %s",
                 strata_last_error(c->s)->message);
}

int cli_open(struct cli *c)
{
    int status = cli_find_agent(c);
    if (status != 0)
        return status;
    strata_options options = cli_open_options(c);
    strata_error error = {0};
    int code = strata_open(c->dir, &options, &c->s, &error);
    if (code != STRATA_OK)
        return cli_fail_with(c, code, &error);
    update_files(c, STRATA_FILES_EDITS);
    return 0;
}

void cli_update_files(struct cli *c)
{
    if (c->s != NULL)
        update_files(c, 0);
}

int cli_need_agent(struct cli *c)
{
    if (c->agent != NULL)
        return 0;
    return cli_error(c, STRATA_USAGE, "give --agent NAME or set STRATA_AGENT",
                     "it is not known who you are: the directory's name is no name for an agent");
}
