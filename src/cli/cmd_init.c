/* cmd_init.c - init, uninit. */
#include "cli/cli.h"
#include "cli/git_merge.h"
#include "cli/wire.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* Who joins has the records at once; sending its own is asked for by `strata sync`. */
static void take_first(struct cli *c, const char *dir, const strata_init_result *joined)
{
    strata_options open = {
        .size = sizeof open, .state_dir = joined->state_dir, .program = "strata init"};
    strata_sync_options options = {.size = sizeof options,
                                   .dir = dir,
                                   .remote = joined->remote,
                                   .take_only = true,
                                   .network_ms = c->wait_ms};
    strata_sync_result result;
    strata_error error = {0};
    strata *s = NULL;
    int code = strata_open(dir, &open, &s, &error);
    if (code == STRATA_OK) {
        code = strata_sync(s, &options, &result);
        error = *strata_last_error(s);
    }
    if (code == STRATA_OK)
        cli_note(c, "took in %llu records of %s; `strata sync %s` sends what is written here",
                 (unsigned long long)result.taken, joined->remote, joined->remote);
    else
        cli_warn(c, "its records are not here yet: %s; try `strata sync`", error.message);
    strata_close(s);
}

static json_t *agents_json(const strata_init_result *made, const struct wire_report *report)
{
    char plugin[PATH_MAX + 8];
    (void)snprintf(plugin, sizeof plugin, "%s/plugin", made->state_dir);
    return json_pack("{s:o,s:O,s:O,s:O}", "plugin", cli_json_text(plugin, strlen(plugin)), "wired",
                     report->wired, "left", report->left, "missing", report->missing);
}

int cmd_init(struct cli *c)
{
    const char *dir = c->arg_count > 0 ? c->args[0] : c->dir != NULL ? c->dir : ".";
    strata_init_options options = {
        .size = sizeof(options),
        .state_dir = c->state_dir,
        .name = c->options[OPT_NAME],
        .dry_run = cli_given(c, OPT_DRY_RUN),
        .join = c->options[OPT_JOIN],
        .found = cli_given(c, OPT_NEW),
        .network_ms = c->wait_ms,
    };
    strata_init_result result = {0};
    strata_error error = {0};

    const char *also = c->options[OPT_DIR];
    if (c->arg_count > 0 && also != NULL && strcmp(also, dir) != 0)
        return cli_usage(c, "give either DIR or --dir");
    if (options.join != NULL && options.found)
        return cli_usage(c, "give either --join or --new");
    int status = c->repeat_count > 0 ? git_merge_check(c, dir, c->repeated, c->repeat_count) : 0;
    if (status != 0)
        return status;
    int code = strata_init(dir, &options, &result, &error);
    if (code != STRATA_OK)
        return cli_fail_with(c, code, &error);
    if (result.joined && !options.dry_run)
        take_first(c, dir, &result);
    struct wire_report wiring = {0};
    if (cli_given(c, OPT_AGENTS))
        status = wire_agents(c, &result, dir, &wiring);
    json_t *agents = c->json && cli_given(c, OPT_AGENTS) ? agents_json(&result, &wiring) : NULL;
    wire_report_release(&wiring);
    if (status != 0) {
        json_decref(agents);
        return status;
    }
    if (options.name != NULL && !result.created && strcmp(options.name, result.name) != 0)
        cli_note(c, "it keeps its name %s", result.name);
    if (c->repeat_count > 0 && !options.dry_run)
        status = git_merge_add(c, dir, c->repeated, c->repeat_count);
    if (status != 0) {
        json_decref(agents);
        return status;
    }
    json_t *merged = c->json ? json_array() : NULL;
    for (size_t i = 0; c->json && i < c->repeat_count; i++)
        (void)json_array_append_new(merged, cli_json_text(c->repeated[i], strlen(c->repeated[i])));
    if (c->json)
        return cli_json(c, json_pack("{s:o,s:s,s:s,s:s,s:b,s:b,s:b,s:o,s:o?}", "state_dir",
                                     cli_json_text(result.state_dir, strlen(result.state_dir)),
                                     "workspace", result.workspace, "replica", result.replica,
                                     "name", result.name, "created", result.created, "joined",
                                     result.joined, "dry_run", options.dry_run, "git_merge", merged,
                                     "agents", agents));
    if (c->quiet) {
        (void)printf("%s\n", result.replica);
        return 0;
    }
    const char *what = !result.created ? "the workspace is there already: "
                       : options.dry_run
                           ? (result.joined ? "would join the workspace, with its state in "
                                            : "would make a workspace, with its state in ")
                           : (result.joined ? "joined the workspace; its state is in "
                                            : "made a workspace; its state is in ");
    (void)fputs(what, stdout);
    cli_put_text(stdout, result.state_dir, strlen(result.state_dir), 0);
    for (size_t i = 0; i < c->repeat_count; i++) {
        (void)printf("\nGit %s merge ", options.dry_run ? "would" : "will");
        cli_put_text(stdout, c->repeated[i], strlen(c->repeated[i]), 0);
        (void)fputs(" with strata (configuration and info/attributes of the clone)", stdout);
    }
    (void)fputs(options.dry_run ? "\nnothing was done (--dry-run)\n"
                : cli_given(c, OPT_AGENTS_MD)
                    ? "\nAGENTS.md has a block about it; no other file of "
                      "yours was changed\n"
                    : "\nno file of yours was changed\n",
                stdout);
    return 0;
}

/* What goes on being looked after in this work tree. */
struct kept_files {
    size_t views, tracked;
};

static int count_view(void *arg, const strata_view *v)
{
    (void)v;
    ((struct kept_files *)arg)->views++;
    return 0;
}

static int count_tracked(void *arg, const strata_tracked *file)
{
    (void)file;
    ((struct kept_files *)arg)->tracked++;
    return 0;
}

static void put_kept_files(const struct kept_files *k)
{
    if (k->views > 0)
        (void)printf("%zu %s of this work tree %s, and %s written as before: `strata view list`; "
                     "`strata view remove` takes one out\n",
                     k->views, k->views == 1 ? "view" : "views", k->views == 1 ? "stays" : "stay",
                     k->views == 1 ? "is" : "are");
    if (k->tracked > 0)
        (void)printf(
            "%zu tracked %s of it %s tracked: `strata track`; `strata untrack` ends that\n",
            k->tracked, k->tracked == 1 ? "file" : "files", k->tracked == 1 ? "stays" : "stay");
}

static void put_unwired(const char *state_dir, const struct wire_report *wiring,
                        const struct kept_files *kept)
{
    size_t count = json_array_size(wiring->wired);
    for (size_t i = 0; i < count; i++)
        (void)printf("taken back: %s\n", json_string_value(json_array_get(wiring->wired, i)));
    if (count == 0 && json_array_size(wiring->left) == 0 && json_array_size(wiring->shared) == 0)
        (void)fputs("nothing outside of the state directory was wired, so nothing had to be "
                    "taken back\n",
                    stdout);
    put_kept_files(kept);
    (void)fputs("your data stays in ", stdout);
    cli_put_text(stdout, state_dir, strlen(state_dir), 0);
    (void)fputs("; `strata init` goes on with it\n", stdout);
}

/* The answer has to tell where the data is, too, and that it stays. */
int cmd_uninit(struct cli *c)
{
    struct wire_report wiring = {0};
    struct kept_files kept = {0};
    bool removed = false;
    int status = cli_open(c);
    if (status == 0)
        status = git_merge_remove(c, c->dir != NULL ? c->dir : ".", &removed);
    if (status != 0)
        return status;
    const char *state_dir = strata_state_dir(c->s);
    status = unwire_agents(c, state_dir, &wiring);
    if (status == 0 && removed)
        (void)json_array_append_new(wiring.wired, json_string("git-merge"));
    if (status == 0 && strata_view_each(c->s, count_view, &kept) == STRATA_OK)
        (void)strata_file_each(c->s, count_tracked, &kept);
    if (status == 0 && c->json)
        status = cli_json(c, json_pack("{s:o,s:O,s:O,s:O,s:b,s:I,s:I}", "state_dir",
                                       cli_json_text(state_dir, strlen(state_dir)), "unwired",
                                       wiring.wired, "left", wiring.left, "shared", wiring.shared,
                                       "data_kept", 1, "views", (json_int_t)kept.views, "tracked",
                                       (json_int_t)kept.tracked));
    else if (status == 0)
        put_unwired(state_dir, &wiring, &kept);
    wire_report_release(&wiring);
    return status;
}
