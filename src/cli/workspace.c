/*
 * workspace.c - opening the workspace, and the commands about it as a whole: init, uninit,
 * status, doctor, merge-state.
 */
#include "cli/cli.h"
#include "cli/git_merge.h"
#include "cli/wire.h"

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

static int fail_with(struct cli *c, int code, const strata_error *error)
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

static strata_options open_options(const struct cli *c)
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
    strata_options options = open_options(c);
    strata_error error = {0};
    int code = strata_open(c->dir, &options, &c->s, &error);
    if (code != STRATA_OK)
        return fail_with(c, code, &error);
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

/* --- init, uninit ----------------------------------------------------------------------------- */

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
        cli_note(c,
                 "took in %llu records of %s; `strata sync` with a remote sends what is written "
                 "here",
                 (unsigned long long)result.taken, joined->remote);
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
        return fail_with(c, code, &error);
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

/* --- status ----------------------------------------------------------------------------------- */

static json_t *totals_json(const strata_task_totals *t)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "total", (json_int_t)t->tasks,
                     "ready", (json_int_t)t->to_be_had, "claimed", (json_int_t)t->claimed,
                     "waiting", (json_int_t)t->waiting, "deferred", (json_int_t)t->deferred, "held",
                     (json_int_t)t->held, "done", (json_int_t)t->done, "failed",
                     (json_int_t)t->failed, "cancelled", (json_int_t)t->cancelled);
}

/* "tasks      3 ready, 1 claimed, 2 waiting, 40 done": what there is */
static void put_totals(const strata_task_totals *t)
{
    const struct {
        const char *word;
        uint64_t count;
    } list[] = {{"ready", t->to_be_had},   {"claimed", t->claimed},    {"waiting", t->waiting},
                {"deferred", t->deferred}, {"held", t->held},          {"done", t->done},
                {"failed", t->failed},     {"cancelled", t->cancelled}};
    const char *before = "tasks      ";
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        if (list[i].count == 0)
            continue;
        (void)printf("%s%llu %s", before, (unsigned long long)list[i].count, list[i].word);
        before = ", ";
    }
    if (t->tasks > 0)
        (void)printf("%s\n", t->failed > 0 ? " (what waits for a failed one goes on waiting)" : "");
}

static int status_json(struct cli *c, const strata_status *st, const strata_task_totals *tasks,
                       size_t in_doubt, size_t approval)
{
    json_t *replicas = json_array();
    for (size_t i = 0; i < st->replica_count; i++) {
        const strata_replica_info *r = &st->replicas[i];
        json_t *o = json_pack("{s:s,s:s,s:b,s:I,s:o,s:I}", "id", r->id, "name", r->name, "self",
                              r->self, "records", (json_int_t)r->records, "last_at",
                              cli_json_time(r->last_ms), "ahead_ms", (json_int_t)r->ahead_ms);
        (void)json_array_append_new(replicas, o);
    }
    json_t *data = json_pack(
        "{s:s,s:s,s:s,s:o,s:i,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:b,s:b,s:I,s:I,s:s?,s:o}",
        "workspace", st->workspace, "replica", st->replica, "name", st->name, "state_dir",
        cli_json_text(st->state_dir, strlen(st->state_dir)), "epoch", (int)st->epoch, "digest",
        st->digest, "records", (json_int_t)st->records, "attributes", (json_int_t)st->attributes,
        "pending", (json_int_t)st->pending, "unseen", (json_int_t)st->unseen, "waiting",
        (json_int_t)st->waiting, "quarantined_bytes", (json_int_t)st->quarantined, "log_bytes",
        (json_int_t)st->log_size, "replicas", replicas, "read_only", st->read_only, "index_behind",
        st->index_behind, "operations_in_doubt", (json_int_t)in_doubt, "operations_to_approve",
        (json_int_t)approval, "agent", c->agent, "tasks", totals_json(tasks));
    return cli_json(c, data);
}

static void put_size(uint64_t bytes)
{
    if (bytes < 10000)
        (void)printf("%llu bytes", (unsigned long long)bytes);
    else if (bytes < 10000000)
        (void)printf("%llu kB", (unsigned long long)(bytes / 1000));
    else
        (void)printf("%llu MB", (unsigned long long)(bytes / 1000000));
}

static void put_replica(struct cli *c, const strata_replica_info *r)
{
    char age[CLI_AGE_SIZE];

    (void)fputs("copy       ", stdout);
    cli_put_text(stdout, r->name[0] != '\0' ? r->name : r->id,
                 strlen(r->name[0] != '\0' ? r->name : r->id), 0);
    (void)printf(" (%s%s): %llu records", r->id, r->self ? ", this one" : "",
                 (unsigned long long)r->records);
    if (r->last_ms != 0) {
        cli_age(c, r->last_ms, age);
        (void)printf(", last %s", age);
    }
    if (r->ahead_ms > 0) {
        cli_span((uint64_t)r->ahead_ms, age);
        (void)printf("; its clock is %s ahead of this one", age);
    }
    (void)putchar('\n');
}

static void status_text(struct cli *c, const strata_status *st, const strata_task_totals *tasks)
{
    (void)printf("workspace  %s\nstate      ", st->workspace);
    cli_put_text(stdout, st->state_dir, strlen(st->state_dir), 0);
    (void)printf("%s\nagent      %s\n", st->read_only ? " (read-only here)" : "",
                 c->agent != NULL ? c->agent : "none (--agent, STRATA_AGENT)");
    (void)printf("attributes %llu\n", (unsigned long long)st->attributes);
    (void)printf("pending    %llu%s\n", (unsigned long long)st->pending,
                 st->pending > 0 ? " (strata pending)" : "");
    (void)printf("unseen     %llu%s\n", (unsigned long long)st->unseen,
                 st->unseen > 0 ? " (strata pending --unseen)" : "");
    put_totals(tasks);
    (void)printf("records    %llu, ", (unsigned long long)st->records);
    put_size(st->log_size);
    (void)putchar('\n');
    if (st->waiting > 0)
        (void)printf("waiting    %llu records of other copies, for earlier ones that are missing\n",
                     (unsigned long long)st->waiting);
    if (st->quarantined > 0) {
        (void)fputs("moved away ", stdout);
        put_size(st->quarantined);
        (void)fputs(" of damaged log (strata doctor)\n", stdout);
    }
    for (size_t i = 0; i < st->replica_count; i++)
        put_replica(c, &st->replicas[i]);
    (void)printf("checksum   %s (equal on copies that show the same)\n", st->digest);
    if (st->index_behind)
        cli_note(c, "the index is in use; this answer came from the log");
}

int cmd_status(struct cli *c)
{
    strata_status st = {0};
    strata_task_totals tasks = {0};
    size_t in_doubt = 0, approval = 0;
    int status = cli_open(c);
    if (status != 0)
        return status;
    int code = cli_operations_waiting(c, NULL, &in_doubt, &approval);
    if (code == STRATA_OK)
        code = strata_task_totals_get(c->s, &tasks);
    if (code == STRATA_OK)
        code = strata_status_get(c->s, &st);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return status_json(c, &st, &tasks, in_doubt, approval);
    status_text(c, &st, &tasks);
    if (in_doubt > 0)
        (void)printf(
            "in doubt   %zu once-only operations: a person settles them (strata pending)\n",
            in_doubt);
    if (approval > 0)
        (void)printf("to approve %zu once-only operations (strata pending)\n", approval);
    return 0;
}

/* --- doctor ----------------------------------------------------------------------------------- */

struct examination {
    struct cli *c;
    json_t *findings;
    unsigned count, bad;
};

static int visit_finding(void *arg, const strata_finding *f)
{
    struct examination *x = arg;
    const char *word = f->fixed           ? "fixed"
                       : f->severity == 0 ? "ok"
                       : f->severity == 1 ? "note"
                                          : "broken";
    x->count++;
    x->bad += f->severity >= 2 && !f->fixed;
    const char *path = f->path != NULL ? f->path : "";
    if (x->c->json) {
        json_t *o = json_pack("{s:s,s:o,s:o,s:b}", "severity",
                              f->severity == 0   ? "ok"
                              : f->severity == 1 ? "note"
                                                 : "broken",
                              "what", cli_json_text(f->what, strlen(f->what)), "path",
                              cli_json_text(path, strlen(path)), "fixed", f->fixed);
        return json_array_append_new(x->findings, o) == 0 ? 0 : STRATA_NO_MEMORY;
    }
    if (x->c->quiet && f->severity == 0)
        return 0;
    (void)printf("%-7s", word);
    cli_put_text(stdout, f->what, strlen(f->what), 0);
    if (path[0] != '\0') {
        (void)fputs(" (", stdout);
        cli_put_text(stdout, path, strlen(path), 0);
        (void)putchar(')');
    }
    (void)putchar('\n');
    return 0;
}

/* A log that cannot be written to any more is mended before anything can be looked at: opening
 * it, or the flush that every write begins with, says so. */
static int repair_if_damaged(struct cli *c)
{
    strata_options options = open_options(c);
    strata_error error = {0};
    strata *s = NULL;
    int code = strata_open(c->dir, &options, &s, &error);
    if (code == STRATA_OK && !strata_is_read_only(s)) {
        code = strata_check(s);
        error = *strata_last_error(s);
    }
    strata_close(s);
    if (code != STRATA_DAMAGED)
        return code == STRATA_OK ? 0 : fail_with(c, code, &error);
    code = strata_repair(c->dir, &options, &error);
    if (code != STRATA_OK)
        return fail_with(c, code, &error);
    cli_note(c, "the damaged end of the log was moved to quarantine; records behind it come back "
                "with `strata merge-state` from a copy that has them");
    return 0;
}

int cmd_doctor(struct cli *c)
{
    bool fix = cli_given(c, OPT_FIX);
    struct examination x = {.c = c};
    int status = fix ? repair_if_damaged(c) : 0;
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    if (c->json)
        x.findings = json_array();
    int code = strata_doctor(c->s, fix, visit_finding, &x);
    if (code != STRATA_OK && code != STRATA_DAMAGED) {
        json_decref(x.findings);
        return cli_fail(c, code);
    }
    status = strata_code_exit(code);
    if (c->json) {
        int printed = cli_json(
            c, json_pack("{s:b,s:o}", "healthy", code == STRATA_OK, "findings", x.findings));
        return printed != 0 ? printed : status;
    }
    if (code == STRATA_OK)
        (void)puts("the workspace is in order");
    else
        (void)printf("%u %s to be mended%s\n", x.bad, x.bad == 1 ? "thing has" : "things have",
                     fix ? " by a person" : "; what can be repaired: strata doctor --fix");
    return status;
}

/* --- merge-state ------------------------------------------------------------------------------ */

int cmd_merge_state(struct cli *c)
{
    strata_merge_result r = {0};
    int status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_merge_state(c->s, c->args[0], cli_given(c, OPT_ADOPT), &r);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(
            c, json_pack("{s:I,s:I,s:I,s:I,s:I}", "records", (json_int_t)r.records, "writers",
                         (json_int_t)r.writers, "waiting", (json_int_t)r.waiting, "pending_before",
                         (json_int_t)r.pending_before, "pending", (json_int_t)r.pending_after));
    if (r.records == 0)
        (void)puts("nothing new there");
    else
        (void)printf("took in %llu %s; %llu pending%s\n", (unsigned long long)r.records,
                     r.records == 1 ? "record" : "records", (unsigned long long)r.pending_after,
                     r.pending_after > 0 ? " (strata pending)" : "");
    if (r.waiting > 0)
        cli_note(c, "%llu records wait for earlier ones that the copy does not have",
                 (unsigned long long)r.waiting);
    return 0;
}
