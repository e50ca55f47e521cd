/*
 * cmd_track.c - tracked files: track, untrack, append.
 */
#include "cli/cli.h"

#include <string.h>

struct file_list {
    json_t *list;
    size_t count;
};

static int visit_file(void *arg, const strata_tracked *file)
{
    struct file_list *l = arg;
    const char *path = file->path;
    l->count++;
    if (l->list != NULL)
        return json_array_append_new(
                   l->list, json_pack("{s:o,s:b,s:b}", "file", cli_json_text(path, strlen(path)),
                                      "pattern", file->pattern, "held", file->held)) == 0
                   ? 0
                   : STRATA_NO_MEMORY;
    cli_put_text(stdout, path, strlen(path), 0);
    (void)fputs(file->pattern ? " (and what matches later)\n"
                : file->held  ? " (as Git has put it there, until it is edited)\n"
                              : "\n",
                stdout);
    return 0;
}

static int list_files(struct cli *c)
{
    struct file_list l = {.list = c->json ? json_array() : NULL};
    int code = strata_file_each(c->s, visit_file, &l);
    if (code != STRATA_OK) {
        json_decref(l.list);
        return cli_fail(c, code);
    }
    if (c->json)
        return cli_json(c, json_pack("{s:o}", "files", l.list));
    if (l.count == 0)
        cli_note(c, "no file is tracked here; `strata track MEMORY.md` tracks one");
    return 0;
}

/* Calls fn for every FILE; the first that fails ends it. */
static int each_file(struct cli *c, int (*fn)(strata *s, const char *path), const char *did)
{
    json_t *files = c->json ? json_array() : NULL;
    for (size_t i = 0; i < c->arg_count; i++) {
        int code = fn(c->s, c->args[i]);
        if (code != STRATA_OK) {
            json_decref(files);
            return cli_fail(c, code);
        }
        if (files != NULL)
            (void)json_array_append_new(files, cli_json_text(c->args[i], strlen(c->args[i])));
        else if (!c->quiet) {
            cli_put_text(stdout, c->args[i], strlen(c->args[i]), 0);
            (void)printf(" %s\n", did);
        }
    }
    return c->json ? cli_json(c, json_pack("{s:o}", "files", files)) : 0;
}

int cmd_track(struct cli *c)
{
    bool seen = cli_given(c, OPT_SEEN_FILE), take = cli_given(c, OPT_TAKE_FILE);
    if (seen && take)
        return cli_usage(c, "--seen and --take do not go together");
    if (c->arg_count == 0 && (seen || take))
        return cli_usage(c, "%s needs a FILE", seen ? "--seen" : "--take");
    int status = cli_open(c);
    if (status != 0)
        return status;
    if (c->arg_count == 0)
        return list_files(c);
    if (seen)
        return each_file(c, strata_file_seen, "is as it was read");
    return take ? each_file(c, strata_file_take, "is the document's text")
                : each_file(c, strata_track, "is tracked");
}

int cmd_untrack(struct cli *c)
{
    int status = cli_open(c);
    return status != 0 ? status
                       : each_file(c, strata_untrack, "is no longer tracked; its text stays");
}

int cmd_append(struct cli *c)
{
    struct cli_text text = {0};
    int status = cli_text_read(c, "TEXT", c->args[1], CLI_VALUE_SIZE_MAX, &text);
    if (status == 0)
        status = cli_open(c);
    if (status == 0) {
        int code = strata_append(c->s, c->args[0], text.p, text.n);
        if (code != STRATA_OK)
            status = cli_fail(c, code);
        else if (c->json)
            status = cli_json(c, json_pack("{s:o,s:I}", "file",
                                           cli_json_text(c->args[0], strlen(c->args[0])), "bytes",
                                           (json_int_t)text.n));
        else if (!c->quiet)
            (void)printf("appended to %s\n", c->args[0]);
    }
    cli_text_release(&text);
    return status;
}
