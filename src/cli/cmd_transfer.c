/*
 * cmd_transfer.c - `strata import FILE` and `strata export`.
 *
 * An import reads and checks its whole input, asks the workspace what of it is there already, and
 * writes the rest (edge/import.h).
 */
#include "cli/cli.h"
#include "cli/task.h"
#include "cli/transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Progress is shown for more operations than this, if somebody looks. */
#define PROGRESS_OPS 10000
/* Replaced values that are named one by one; beyond it only their number is told. */
#define REPLACED_NAMED_MAX 20

struct transfer {
    struct cli *c;
    const char *file;
    enum import_format format;
    struct import im;
    struct import_plan plan;
    struct import_writer writer;
    size_t replaced, unseen;
};

/* --- reading the file ------------------------------------------------------------------------- */

static int read_all(struct transfer *t, int fd, char **bytes, size_t *n)
{
    size_t cap = 64 * 1024;
    *n = 0;
    *bytes = malloc(cap);
    while (*bytes != NULL) {
        if (*n == cap) {
            cap *= 2;
            char *more = realloc(*bytes, cap);
            if (more == NULL)
                break;
            *bytes = more;
        }
        ssize_t got = read(fd, *bytes + *n, cap - *n);
        if (got == 0)
            return 0;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return cli_error(t->c, STRATA_IO, NULL, "%s: %s", t->file, strerror(errno));
        *n += (size_t)got;
        if (*n > IMPORT_SIZE_MAX)
            return cli_error(t->c, STRATA_LIMIT, "split it; nothing was written",
                             "%s has more than %zu MB", t->file, IMPORT_SIZE_MAX >> 20);
    }
    return cli_error(t->c, STRATA_NO_MEMORY, NULL, "out of memory");
}

static int choose_format(struct transfer *t, const char *bytes, size_t n)
{
    const char *name = t->c->options[OPT_FORMAT_IN];
    t->format = name != NULL ? import_format_of(name) : import_guess(t->file, bytes, n);
    if (name != NULL && (t->format == IMPORT_UNKNOWN || t->format == IMPORT_DOT))
        return cli_usage(t->c, "--format is jsonl, csv, memory, beads or queue, not %s", name);
    if (t->format == IMPORT_UNKNOWN)
        return cli_usage(t->c, "%s: cannot tell its format; give --format jsonl, csv or memory",
                         t->file);
    return 0;
}

static int parse(struct transfer *t, const char *bytes, size_t n)
{
    int status = choose_format(t, bytes, n);
    if (status != 0)
        return status;
    int code = import_parse(&t->im, t->format, bytes, n);
    if (code == STRATA_OK)
        return 0;
    const char *hint = "nothing was written";
    if (t->im.error_line == 0)
        return cli_error(t->c, code, hint, "%s: %s", t->file, t->im.error);
    return cli_error(t->c, code, hint, "%s, line %zu (read as %s): %s", t->file, t->im.error_line,
                     import_format_name(t->format), t->im.error);
}

static int read_file(struct transfer *t, char **bytes, size_t *n)
{
    bool standard = strcmp(t->c->args[0], "-") == 0;
    t->file = standard ? "standard input" : t->c->args[0];
    *bytes = NULL;
    int fd = standard ? STDIN_FILENO : open(t->file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cli_error(t->c, errno == ENOENT ? STRATA_NOT_FOUND : STRATA_IO, NULL, "%s: %s",
                         t->file, strerror(errno));
    int status = read_all(t, fd, bytes, n);
    if (!standard)
        close(fd);
    return status;
}

static int load(struct transfer *t)
{
    char *bytes = NULL;
    size_t n = 0;
    int status = read_file(t, &bytes, &n);
    if (status == 0)
        status = parse(t, bytes, n);
    free(bytes);
    return status;
}

/* Formats of tasks; NULL: it is one of facts. */
static const char *task_format(const struct cli *c)
{
    const char *name = c->options[OPT_FORMAT_IN], *file = c->args[0];
    if (name != NULL)
        return strcmp(name, "beads") == 0 ? "beads" : strcmp(name, "queue") == 0 ? "queue" : NULL;
    if (edge_ends_with(file, ".md"))
        return "queue";
    return edge_ends_with(file, "issues.jsonl") || edge_ends_with(file, "beads.jsonl") ? "beads"
                                                                                       : NULL;
}

/* --- what is there already -------------------------------------------------------------------- */

static int make_plan(struct transfer *t)
{
    int code = import_look(&t->plan, &t->im, t->c->s);
    if (t->im.error[0] != '\0')
        return cli_error(t->c, code, "nothing was written", "%s, line %zu: %s", t->file,
                         t->im.error_line, t->im.error);
    if (code != STRATA_OK)
        return cli_fail(t->c, code);
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void tell_replaced(void *arg, const strata_op *op, const strata_written *w)
{
    struct transfer *t = arg;
    if (w->replaced_count == 0)
        return;
    t->unseen += w->unseen;
    /* A value where it had been taken away: nothing to tell. */
    if (w->replaced_count == 1 && w->replaced.kind == STRATA_ITEM_ABSENT)
        return;
    if (t->replaced++ >= REPLACED_NAMED_MAX)
        return;
    char old[200], agent[80];
    const char *by = w->replaced.agent != NULL ? w->replaced.agent : "";
    cli_note(t->c, "%s %s: replaced \"%s\"%s%s", op->entity, op->attribute,
             cli_clean(w->replaced.value != NULL ? w->replaced.value : "", old, sizeof old),
             by[0] != '\0' ? " of " : "", cli_clean(by, agent, sizeof agent));
}

static void tell_progress(void *arg, size_t written)
{
    struct transfer *t = arg;
    fprintf(stderr, "\r%zu of %zu ", written, t->plan.write_count);
}

static int write_all(struct transfer *t)
{
    size_t total = t->plan.write_count;
    bool progress = total > PROGRESS_OPS && !t->c->quiet && !t->c->json && isatty(STDERR_FILENO);
    t->writer = (struct import_writer){
        .plan = &t->plan,
        .s = t->c->s,
        .no_flush = t->c->no_flush,
        .tell = tell_replaced,
        .progress = progress ? tell_progress : NULL,
        .arg = t,
    };
    int code = import_write(&t->writer);
    if (progress)
        fputs("\r\033[K", stderr);
    if (code == STRATA_OK)
        return 0;
    int status = cli_fail(t->c, code);
    if (t->writer.written > 0)
        cli_warn(t->c,
                 "%zu of %zu operations were written, but not yet flushed; run the same import "
                 "again: it writes only what is missing",
                 t->writer.written, total);
    return status;
}

/* --- telling ---------------------------------------------------------------------------------- */

static void tell_dry_run(struct transfer *t)
{
    size_t told = 0;
    t->replaced = t->plan.replace_count;
    for (size_t i = 0; i < t->im.count && told < REPLACED_NAMED_MAX; i++) {
        if (!t->plan.replaces[i] || t->plan.state[i] != IMPORT_WRITE)
            continue;
        cli_note(t->c, "%s %s: would be replaced (line %" PRIu32 ")", t->im.ops[i].entity,
                 t->im.ops[i].attribute, t->im.lines[i]);
        told++;
    }
}

static int report_json(struct transfer *t, bool dry_run)
{
    json_t *data = json_pack(
        "{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "file", t->c->args[0], "format",
        import_format_name(t->format), "dry_run", dry_run, "operations", (json_int_t)t->im.count,
        "written", (json_int_t)(dry_run ? t->plan.write_count : t->writer.written), "already_there",
        (json_int_t)t->plan.there_count, "repeated", (json_int_t)t->plan.repeated_count, "replaced",
        (json_int_t)t->replaced, "overwritten_unseen", (json_int_t)t->unseen, "records",
        (json_int_t)t->writer.records);
    return cli_json(t->c, data);
}

static int report(struct transfer *t, bool dry_run)
{
    const struct import_plan *p = &t->plan;
    if (t->replaced > REPLACED_NAMED_MAX)
        cli_note(t->c, "and %zu more replaced values; see `strata history`",
                 t->replaced - REPLACED_NAMED_MAX);
    if (t->unseen > 0)
        cli_note(t->c, "%zu of them were newer than what you had read: `strata pending --unseen`",
                 t->unseen);
    if (t->c->json)
        return report_json(t, dry_run);
    if (t->c->quiet)
        return 0;
    printf("%s: %zu %s%s", import_format_name(t->format), p->write_count,
           p->write_count == 1 ? "operation" : "operations",
           dry_run ? " would be written" : " written");
    if (p->there_count > 0)
        printf(", %zu skipped: there already", p->there_count);
    if (p->repeated_count > 0)
        printf(", %zu skipped: said again later in the input", p->repeated_count);
    if (t->replaced > 0)
        printf(", %zu %s replaced", t->replaced, t->replaced == 1 ? "value" : "values");
    putchar('\n');
    return 0;
}

static int import_run(struct transfer *t)
{
    bool dry_run = cli_given(t->c, OPT_DRY_RUN);
    int status = load(t);
    if (status == 0)
        status = cli_open(t->c);
    if (status == 0)
        status = make_plan(t);
    if (status != 0)
        return status;
    if (dry_run)
        tell_dry_run(t);
    else
        status = write_all(t);
    return status != 0 ? status : report(t, dry_run);
}

int cmd_import(struct cli *c)
{
    struct transfer *t = calloc(1, sizeof *t);
    if (t == NULL)
        return cli_error(c, STRATA_NO_MEMORY, NULL, "out of memory");
    t->c = c;
    import_init(&t->im);
    const char *tasks = task_format(c);
    char *bytes = NULL;
    size_t n = 0;
    int status = tasks != NULL ? read_file(t, &bytes, &n) : import_run(t);
    if (status == 0 && tasks != NULL)
        status = task_import(c, tasks, bytes, n);
    free(bytes);
    import_plan_release(&t->plan);
    import_release(&t->im);
    free(t);
    return status;
}

/* --- export ----------------------------------------------------------------------------------- */

/* Where an export goes. A regular file is replaced when everything is written, never before. */
struct target {
    const char *path; /* NULL: standard output */
    char *temporary;  /* NULL: written directly */
    FILE *out;
};

static int target_open(struct cli *c, struct target *o)
{
    o->out = stdout;
    if (o->path == NULL)
        return 0;
    struct stat st;
    bool exists = lstat(o->path, &st) == 0;
    mode_t mode = 0666;
    if (!exists || S_ISREG(st.st_mode)) {
        if (asprintf(&o->temporary, "%s.%d.tmp", o->path, (int)getpid()) < 0) {
            o->temporary = NULL;
            return cli_error(c, STRATA_NO_MEMORY, NULL, "out of memory");
        }
        if (exists)
            mode = st.st_mode & 0777;
    }
    const char *path = o->temporary != NULL ? o->temporary : o->path;
    int flags = o->temporary != NULL ? O_CREAT | O_EXCL : O_TRUNC;
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, mode);
    o->out = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (o->out != NULL)
        return 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    return cli_error(c, STRATA_IO, NULL, "%s: %s", path, strerror(error));
}

/* With keep, puts the file in its place. */
static int target_close(struct cli *c, struct target *o, bool keep)
{
    int status = 0;
    if (o->path != NULL && o->out != NULL) {
        bool bad = fflush(o->out) != 0 || ferror(o->out) ||
                   (keep && o->temporary != NULL && fsync(fileno(o->out)) != 0);
        bad = fclose(o->out) != 0 || bad;
        if (keep && !bad && o->temporary != NULL)
            bad = rename(o->temporary, o->path) != 0;
        if (keep && bad)
            status = cli_error(c, errno == ENOSPC ? STRATA_NO_SPACE : STRATA_IO, NULL, "%s: %s",
                               o->path, strerror(errno));
        if ((!keep || bad) && o->temporary != NULL)
            unlink(o->temporary);
    }
    free(o->temporary);
    o->temporary = NULL;
    return status;
}

static enum import_format export_format(const struct cli *c)
{
    const char *name = c->options[OPT_FORMAT_OUT];
    const char *output = c->options[OPT_OUTPUT];
    if (name != NULL)
        return import_format_of(name);
    if (output != NULL && edge_ends_with(output, ".csv"))
        return IMPORT_CSV;
    bool dot = output != NULL && (edge_ends_with(output, ".dot") || edge_ends_with(output, ".gv"));
    return dot ? IMPORT_DOT : IMPORT_JSONL;
}

static void export_notes(struct cli *c, enum import_format format,
                         const struct export_counts *counts)
{
    const char *name = import_format_name(format);
    if (counts->pending > 0)
        cli_note(c,
                 "attributes that are pending: %" PRIu64 "; of each the shown value was written "
                 "(`strata pending` lists the others)",
                 counts->pending);
    if (counts->left_out > 0)
        cli_note(c, "counters left out, for which %s has no place: %" PRIu64, name,
                 counts->left_out);
    if (counts->tasks_left_out > 0)
        cli_note(c,
                 "left out, as they are no facts: tasks and messages: %" PRIu64
                 "; `strata export --format beads` writes the tasks",
                 counts->tasks_left_out);
    if (counts->files_left_out > 0)
        cli_note(c, "left out, as they are no facts: tracked files: %" PRIu64,
                 counts->files_left_out);
    if (counts->reshaped > 0)
        cli_note(c,
                 "values written as observations \"attribute: value\", for which %s has no "
                 "other place: %" PRIu64,
                 name, counts->reshaped);
}

static int export_run(struct cli *c, enum import_format format, const strata_fact_query *query,
                      struct target *o)
{
    const char *entity = query->entity;
    struct export_counts counts;
    errno = 0;
    int code = export_write(c->s, format, query, o->out, &counts);
    int status = 0;
    if (ferror(o->out))
        status = cli_error(c, errno == ENOSPC ? STRATA_NO_SPACE : STRATA_IO, NULL, "%s: %s",
                           o->path != NULL ? o->path : "standard output", strerror(errno));
    else if (code != STRATA_OK)
        status = cli_fail(c, code);
    else if (entity != NULL && counts.lines == 0)
        status = cli_error(c, STRATA_NOT_FOUND, NULL, "nothing is known of %s", entity);
    int closed = target_close(c, o, status == 0);
    if (status != 0 || closed != 0)
        return status != 0 ? status : closed;
    export_notes(c, format, &counts);
    if (o->path == NULL || !c->json)
        return 0;
    return cli_json(c,
                    json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "file", o->path, "format",
                              import_format_name(format), "lines", (json_int_t)counts.lines,
                              "pending", (json_int_t)counts.pending, "left_out",
                              (json_int_t)counts.left_out, "reshaped", (json_int_t)counts.reshaped,
                              "tasks_left_out", (json_int_t)counts.tasks_left_out, "files_left_out",
                              (json_int_t)counts.files_left_out));
}

static int export_tasks(struct cli *c)
{
    struct target o = {.path = c->options[OPT_OUTPUT]};
    uint64_t lines = 0;
    if (o.path != NULL && strcmp(o.path, "-") == 0)
        o.path = NULL;
    int status = cli_open(c);
    if (status == 0)
        status = target_open(c, &o);
    if (status != 0) {
        free(o.temporary);
        return status;
    }
    int code = task_export(c, o.out, &lines);
    status = target_close(c, &o, code == STRATA_OK);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (status == 0 && c->json && c->options[OPT_OUTPUT] != NULL)
        return cli_json(c, json_pack("{s:s,s:s,s:I,s:i,s:i,s:i,s:i,s:i}", "file",
                                     c->options[OPT_OUTPUT], "format", "beads", "lines",
                                     (json_int_t)lines, "pending", 0, "left_out", 0, "reshaped", 0,
                                     "tasks_left_out", 0, "files_left_out", 0));
    return status;
}

int cmd_export(struct cli *c)
{
    if (cli_given(c, OPT_FORMAT_OUT) && strcmp(c->options[OPT_FORMAT_OUT], "beads") == 0)
        return export_tasks(c);
    enum import_format format = export_format(c);
    if (format == IMPORT_UNKNOWN)
        return cli_usage(c, "--format is jsonl, csv, memory, dot or beads, not %s",
                         c->options[OPT_FORMAT_OUT]);
    strata_fact_query query = {.size = sizeof query, .entity = c->options[OPT_ENTITY]};
    int status = 0;
    if (query.entity != NULL)
        status = cli_name_check(c, "entity", query.entity);
    if (status == 0 && cli_given(c, OPT_AS_OF))
        status = cli_time(c, "--as-of", c->options[OPT_AS_OF], true, &query.as_of_ms);
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    struct target o = {.path = c->options[OPT_OUTPUT]};
    if (o.path != NULL && strcmp(o.path, "-") == 0)
        o.path = NULL;
    status = target_open(c, &o);
    if (status != 0) {
        free(o.temporary);
        return status;
    }
    return export_run(c, format, &query, &o);
}
