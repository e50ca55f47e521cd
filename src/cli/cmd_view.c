/*
 * cmd_view.c - views: blocks of Markdown made from the state; view add, remove, list, render.
 */
#include "cli/cli.h"

#include <string.h>

static bool is_queue(const char *name)
{
    return strcmp(name, "queue") == 0;
}

static json_t *view_json(const strata_view *v)
{
    const char *subject = v->subject[0] != '\0' ? v->subject : NULL;
    bool queue = is_queue(v->name);
    return json_pack("{s:s,s:s?,s:s?,s:o,s:b}", "name", v->name, "entity", queue ? NULL : subject,
                     "channel", queue ? subject : NULL, "file",
                     cli_json_text(v->path, strlen(v->path)), "committed", v->committed);
}

/* --entity, or of a queue --channel. */
static int subject_of(struct cli *c, const char **subject)
{
    bool queue = is_queue(c->args[0]);
    if (cli_given(c, queue ? OPT_ENTITY_VIEW : OPT_CHANNEL))
        return cli_usage(c, queue ? "a queue is of a channel: --channel"
                                  : "only a queue is of a channel");
    *subject = c->options[queue ? OPT_CHANNEL : OPT_ENTITY_VIEW];
    return 0;
}

static void put_view(const strata_view *v)
{
    (void)fputs(v->name, stdout);
    if (v->subject[0] != '\0') {
        (void)fputs(" of ", stdout);
        cli_put_name(stdout, v->subject);
    }
    (void)fputs(" in ", stdout);
    cli_put_text(stdout, v->path, strlen(v->path), 0);
    (void)fputs(v->committed ? ", committed\n" : "\n", stdout);
}

int cmd_view_add(struct cli *c)
{
    strata_view_options options = {
        .size = sizeof(options),
        .name = c->args[0],
        .path = c->options[OPT_FILE],
        .committed = cli_given(c, OPT_COMMITTED),
    };
    strata_view v = {0};
    int status = subject_of(c, &options.subject);
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_view_add(c->s, &options, &v);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, view_json(&v));
    if (c->quiet)
        (void)printf("%s\n", v.path);
    else
        put_view(&v);
    return 0;
}

int cmd_view_remove(struct cli *c)
{
    const char *subject = NULL;
    int status = subject_of(c, &subject);
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_view_remove(c->s, c->args[0], subject, c->options[OPT_FILE]);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, json_pack("{s:s,s:b}", "name", c->args[0], "removed", 1));
    if (!c->quiet)
        (void)printf("%s is no longer shown there; the state is as it was\n", c->args[0]);
    return 0;
}

struct view_list {
    json_t *list;
    size_t count;
};

static int visit_view(void *arg, const strata_view *v)
{
    struct view_list *l = arg;
    l->count++;
    if (l->list != NULL)
        return json_array_append_new(l->list, view_json(v)) == 0 ? 0 : STRATA_NO_MEMORY;
    put_view(v);
    return 0;
}

int cmd_view_list(struct cli *c)
{
    int status = cli_open(c);
    if (status != 0)
        return status;
    struct view_list l = {.list = c->json ? json_array() : NULL};
    int code = strata_view_each(c->s, visit_view, &l);
    if (code != STRATA_OK) {
        json_decref(l.list);
        return cli_fail(c, code);
    }
    if (c->json)
        return cli_json(c, json_pack("{s:o}", "views", l.list));
    if (l.count == 0)
        cli_note(c, "there are no views here; `strata view add heartbeat` makes one");
    return 0;
}

int cmd_view_render(struct cli *c)
{
    strata_files_result r = {0};
    int status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_files_update(c->s, STRATA_FILES_ALL | STRATA_FILES_RENDER, &r);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, json_pack("{s:I,s:I}", "taken_in", (json_int_t)r.taken_in, "written",
                                     (json_int_t)r.written));
    if (!c->quiet)
        (void)printf("%zu %s taken in, %zu %s written\n", r.taken_in,
                     r.taken_in == 1 ? "edit" : "edits", r.written,
                     r.written == 1 ? "file" : "files");
    return 0;
}
