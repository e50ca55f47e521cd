/*
 * cmd_merge.c - merge-driver: what Git calls to merge one file. Needs no workspace; in one, what
 * is listed is kept for `strata pending`, too (merge_keep.h).
 *
 * JSON Lines are merged here, by records. For other texts the answer is that of `git merge-file`
 * where that is clean; where both sides changed the same lines, Markdown keeps both versions (a
 * marker between them would be read as text by agents, and break a managed block), and every other
 * text gets Git's markers.
 *
 * The result is written beside OURS and renamed: whoever is killed leaves OURS as it was.
 */
#include "cli/merge_keep.h"
#include "files/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* Bytes of a value in a line for people; --json and Git have it whole. */
#define SHOWN_MAX 200
/* Git's own default, and the longest that makes sense in a line. */
#define MARKER_SIZE_DEFAULT 7
#define MARKER_SIZE_MAX     1000

static const char *const side_names[] = {"base", "ours", "theirs"};

struct driver {
    struct cli *c;
    const char *files[ST_JSONL_SIDES]; /* base, ours, theirs; what is read */
    const char *path;                  /* in the work tree; for people */
    uint64_t marker_size;
    struct st_buf text[ST_JSONL_SIDES], out;
    mode_t mode;
    json_t *merged, *listed; /* with --json */
    size_t merged_count, listed_count;
    struct merge_keep keep; /* where Git says which file it is */
    size_t pending_count;   /* of these: kept for `strata pending` */
    bool no_memory;
};

/* --- the report ------------------------------------------------------------------------------- */

static const char *kind_name(enum st_jsonl_kind kind)
{
    static const char *const names[] = {
        [ST_JSONL_ADDED] = "added",   [ST_JSONL_DELETED] = "deleted",
        [ST_JSONL_TAKEN] = "taken",   [ST_JSONL_MERGED] = "merged",
        [ST_JSONL_FIELD] = "field",   [ST_JSONL_WHOLE] = "record",
        [ST_JSONL_KEPT] = "kept",     [ST_JSONL_DUPLICATE] = "duplicate",
        [ST_JSONL_BROKEN] = "broken",
    };
    return names[kind];
}

/* A value as JSON; what is no JSON as text. */
static json_t *raw_json(struct st_str raw)
{
    json_t *value = raw.p != NULL ? json_loadb(raw.p, raw.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL)
                                  : json_null();
    return value != NULL ? value : cli_json_text(raw.p, raw.n);
}

static void add_json(struct driver *d, bool listed, json_t *o)
{
    if (json_array_append_new(listed ? d->listed : d->merged, o) != 0)
        d->no_memory = true;
}

static void note_json(struct driver *d, const struct st_jsonl_note *n)
{
    bool listed = st_jsonl_listed(n->kind);
    json_t *o = json_pack("{s:s,s:o,s:s}", "what", kind_name(n->kind), "id", raw_json(n->id),
                          "side", side_names[n->side]);
    int bad = o == NULL;
    if (!bad && n->line > 0)
        bad |= json_object_set_new(o, "line", json_integer((json_int_t)n->line));
    if (!bad && n->field.p != NULL)
        bad |= json_object_set_new(o, "field", raw_json(n->field));
    if (!bad && listed)
        bad |= json_object_set_new(o, "shown", raw_json(n->shown));
    if (!bad && n->fields.n > 0)
        bad |= json_object_set_new(o, "fields", raw_json(n->fields));
    if (!bad && (n->kind == ST_JSONL_FIELD || n->kind == ST_JSONL_WHOLE))
        bad |= json_object_set_new(o, "other", raw_json(n->other));
    if (bad)
        d->no_memory = true;
    else
        add_json(d, listed, o);
}

static void put_raw(struct st_str raw)
{
    if (raw.p == NULL)
        (void)fputs("nothing", stderr);
    else
        cli_put_text(stderr, raw.p, raw.n, SHOWN_MAX);
}

static void begin_note(const struct driver *d)
{
    (void)fputs("strata: ", stderr);
    cli_put_text(stderr, d->path, strlen(d->path), 0);
    (void)fputs(": ", stderr);
}

static void note_text(const struct driver *d, const struct st_jsonl_note *n)
{
    const char *side = side_names[n->side];
    const char *other = side_names[ST_JSONL_OURS + ST_JSONL_THEIRS - n->side];
    begin_note(d);
    switch (n->kind) {
    case ST_JSONL_KEPT:
        put_raw(n->id);
        (void)fprintf(stderr, ": deleted by %s, changed by %s", other, side);
        if (n->fields.n > 0)
            (void)fputs(": ", stderr);
        cli_put_text(stderr, n->fields.p != NULL ? n->fields.p : "", n->fields.n, SHOWN_MAX);
        (void)fputs(": kept\n", stderr);
        return;
    case ST_JSONL_DUPLICATE:
        (void)fprintf(stderr, "line %zu of %s: a second record with the id ", n->line, side);
        put_raw(n->id);
        (void)fputs(": kept\n", stderr);
        return;
    case ST_JSONL_BROKEN:
        (void)fprintf(stderr, "line %zu of %s is no JSON, left as it is: ", n->line, side);
        put_raw(n->shown);
        (void)fputc('\n', stderr);
        return;
    default:
        put_raw(n->id);
        (void)fputc(' ', stderr);
        put_raw(n->field.p != NULL ? n->field : ST_STR("(the whole record)"));
        (void)fprintf(stderr, ": changed by both: %s: ", side);
        put_raw(n->shown);
        (void)fprintf(stderr, "; not taken, %s: ", other);
        put_raw(n->other);
        (void)fputc('\n', stderr);
    }
}

static void visit_note(void *arg, const struct st_jsonl_note *n)
{
    struct driver *d = arg;
    bool listed = st_jsonl_listed(n->kind);
    ++*(listed ? &d->listed_count : &d->merged_count);
    merge_keep_note(&d->keep, n);
    if (d->c->json)
        note_json(d, n);
    else if (listed)
        note_text(d, n);
}

static void visit_overlap(void *arg, size_t line, struct st_str base, struct st_str a,
                          struct st_str b)
{
    struct driver *d = arg;
    d->listed_count++;
    merge_keep_overlap(&d->keep, line, a, b);
    if (d->c->json) {
        json_t *o = json_pack("{s:s,s:I,s:o,s:o,s:o}", "what", "overlap", "line", (json_int_t)line,
                              "base", cli_json_text(base.p != NULL ? base.p : "", base.n), "ours",
                              cli_json_text(a.p != NULL ? a.p : "", a.n), "theirs",
                              cli_json_text(b.p != NULL ? b.p : "", b.n));
        add_json(d, true, o);
        return;
    }
    begin_note(d);
    (void)fprintf(stderr, "line %zu of ours: changed by both, kept both: ours: ", line);
    put_raw(a);
    (void)fputs("; theirs: ", stderr);
    put_raw(b);
    (void)fputc('\n', stderr);
}

/* The report of --json goes to standard error: standard output belongs to Git's user. */
static int finish(struct driver *d, const char *format, bool merged)
{
    if (d->c->arg_count > 4)
        d->pending_count = merge_keep_write(&d->keep, d->c, d->path);
    if (!d->c->json) {
        if (d->listed_count > 0 && !d->c->quiet)
            (void)fprintf(stderr,
                          "strata: %zu to look at; what was not taken is in the commits "
                          "that were merged\n",
                          d->listed_count);
        if (d->pending_count > 0 && !d->c->quiet)
            (void)fprintf(stderr, "strata: %zu of them: strata pending\n", d->pending_count);
        return merged ? 0 : 1;
    }
    json_t *report = json_pack(
        "{s:i,s:{s:o,s:s,s:b,s:I,s:I,s:I,s:O,s:O}}", "schema_version", 1, "data", "file",
        cli_json_text(d->path, strlen(d->path)), "format", format, "clean", merged, "merged_count",
        (json_int_t)d->merged_count, "listed_count", (json_int_t)d->listed_count, "pending_count",
        (json_int_t)d->pending_count, "merged", d->merged, "listed", d->listed);
    if (report == NULL || d->no_memory) {
        json_decref(report);
        return cli_error(d->c, STRATA_NO_MEMORY, NULL, "out of memory; the file was merged");
    }
    (void)json_dumpf(report, stderr, JSON_COMPACT | JSON_PRESERVE_ORDER);
    (void)fputc('\n', stderr);
    json_decref(report);
    return merged ? 0 : 1;
}

/* --- files ------------------------------------------------------------------------------------ */

static int system_error(struct cli *c, const char *what, const char *file)
{
    int code = errno == ENOSPC || errno == EDQUOT ? STRATA_NO_SPACE : STRATA_IO;
    (void)cli_error(c, code, NULL, "cannot %s %s: %s", what, file, strerror(errno));
    return 1;
}

static int out_of_memory(struct cli *c)
{
    (void)cli_error(c, STRATA_NO_MEMORY, NULL, "out of memory; the file is as it was");
    return 1;
}

static int read_fd(struct driver *d, enum st_jsonl_side side, int fd)
{
    struct st_buf *b = &d->text[side];
    struct stat st;
    if (fstat(fd, &st) < 0)
        return system_error(d->c, "read", d->files[side]);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > ST_JSONL_SIZE_MAX) {
        (void)cli_error(d->c, STRATA_LIMIT, NULL, "%s is no file, or over the limit of %u bytes",
                        d->files[side], ST_JSONL_SIZE_MAX);
        return 1;
    }
    if (side == ST_JSONL_OURS)
        d->mode = st.st_mode & 07777;
    for (;;) {
        size_t room = (uint64_t)st.st_size > b->n ? (size_t)st.st_size - b->n + 1 : 1;
        if (!st_buf_reserve(b, room))
            return out_of_memory(d->c);
        ssize_t n = read(fd, b->p + b->n, room);
        if (n < 0 && errno != EINTR)
            return system_error(d->c, "read", d->files[side]);
        if (n == 0)
            return 0;
        b->n += n > 0 ? (size_t)n : 0;
    }
}

static int read_all(struct driver *d)
{
    for (enum st_jsonl_side s = ST_JSONL_BASE; s < ST_JSONL_SIDES; s++) {
        int fd = open(d->files[s], O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return system_error(d->c, "open", d->files[s]);
        int status = read_fd(d, s, fd);
        close(fd);
        if (status != 0)
            return status;
    }
    return 0;
}

/* A new file beside OURS with this text and the mode of OURS. */
static int write_beside(struct driver *d, struct st_str text, char beside[4096])
{
    int size = snprintf(beside, 4096, "%s.strata-XXXXXX", d->files[ST_JSONL_OURS]);
    int fd = size < 4096 ? mkostemp(beside, O_CLOEXEC) : (errno = ENAMETOOLONG, -1);
    if (fd < 0)
        return system_error(d->c, "write beside", d->files[ST_JSONL_OURS]);
    bool failed = fchmod(fd, d->mode) < 0;
    while (!failed && text.n > 0) {
        ssize_t n = write(fd, text.p, text.n);
        failed = n < 0 && errno != EINTR;
        text.p += n > 0 ? n : 0;
        text.n -= n > 0 ? (size_t)n : 0;
    }
    failed = (close(fd) < 0) || failed;
    if (!failed)
        return 0;
    int status = system_error(d->c, "write beside", d->files[ST_JSONL_OURS]);
    (void)unlink(beside);
    return status;
}

static int replace(struct driver *d, const char *beside)
{
    if (rename(beside, d->files[ST_JSONL_OURS]) == 0)
        return 0;
    int status = system_error(d->c, "replace", d->files[ST_JSONL_OURS]);
    (void)unlink(beside);
    return status;
}

static int write_out(struct driver *d)
{
    char beside[4096];
    int status = write_beside(d, st_buf_str(&d->out), beside);
    return status != 0 ? status : replace(d, beside);
}

/* --- merging ---------------------------------------------------------------------------------- */

static int merge_jsonl(struct driver *d)
{
    struct st_str in[ST_JSONL_SIDES];
    struct st_jsonl_fault fault;
    for (enum st_jsonl_side s = ST_JSONL_BASE; s < ST_JSONL_SIDES; s++)
        in[s] = st_buf_str(&d->text[s]);
    enum st_code code = st_jsonl_merge(in, visit_note, d, &d->out, &fault);
    if (code == ST_LIMIT) {
        (void)cli_error(d->c, STRATA_LIMIT, "the file is as it was",
                        "line %zu of %s is over the limit of %u bytes", fault.line,
                        side_names[fault.side], ST_JSONL_LINE_MAX);
        return 1;
    }
    if (code != ST_OK)
        return out_of_memory(d->c);
    int status = write_out(d);
    return status != 0 ? status : finish(d, "jsonl", true);
}

/* `git merge-file` on the file `beside`. Its exit status: conflicts, 0 for none, over 127 for an
 * error; -1: there is no git. */
static int run_merge_file(const struct driver *d, char *beside)
{
    char marker[48];
    pid_t pid;
    int status;
    (void)snprintf(marker, sizeof marker, "--marker-size=%llu", (unsigned long long)d->marker_size);
    const char *argv[] = {"git",
                          "merge-file",
                          "--quiet",
                          marker,
                          "-L",
                          "ours",
                          "-L",
                          "base",
                          "-L",
                          "theirs",
                          "--",
                          beside,
                          d->files[ST_JSONL_BASE],
                          d->files[ST_JSONL_THEIRS],
                          NULL};
    if (posix_spawnp(&pid, "git", NULL, NULL, (char *const *)(uintptr_t)argv, environ) != 0)
        return -1;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* Markdown, and whatever has a managed block. */
static bool keeps_both(const struct driver *d)
{
    static const char begin[] = "<!-- strata:begin ";
    for (enum st_jsonl_side s = ST_JSONL_BASE; s < ST_JSONL_SIDES; s++)
        if (d->text[s].n > 0 && memmem(d->text[s].p, d->text[s].n, begin, sizeof begin - 1) != NULL)
            return true;
    return edge_ends_with(d->path, ".md") || edge_ends_with(d->path, ".markdown") ||
           edge_ends_with(d->path, ".mdx");
}

static int merge_both(struct driver *d)
{
    enum st_code code = st_lines_merge_each(
        st_buf_str(&d->text[ST_JSONL_BASE]), st_buf_str(&d->text[ST_JSONL_OURS]),
        st_buf_str(&d->text[ST_JSONL_THEIRS]), ST_KEEP_BOTH, &d->out, visit_overlap, d);
    if (code != ST_OK)
        return out_of_memory(d->c);
    int status = write_out(d);
    return status != 0 ? status : finish(d, "text", true);
}

static void visit_view_overlap(void *arg, size_t line, const char *base, size_t base_size,
                               const char *ours, size_t ours_size, const char *theirs,
                               size_t theirs_size)
{
    visit_overlap(arg, line, (struct st_str){base, base_size}, (struct st_str){ours, ours_size},
                  (struct st_str){theirs, theirs_size});
}

static bool has_view(const struct driver *d)
{
    for (enum st_jsonl_side s = ST_JSONL_BASE; s < ST_JSONL_SIDES; s++)
        if (strata_has_view(d->text[s].p, d->text[s].n))
            return true;
    return false;
}

/* What a view shows is in the state, if there is one here. The files of the work tree are Git's for now:
 * they are left alone. */
static int merge_views(struct driver *d)
{
    strata_options options = {.size = sizeof options, .program = "strata merge-driver"};
    strata_error ignored;
    strata *s = NULL;
    const char *texts[ST_JSONL_SIDES];
    size_t sizes[ST_JSONL_SIDES], size;
    char *merged;
    for (enum st_jsonl_side i = ST_JSONL_BASE; i < ST_JSONL_SIDES; i++) {
        texts[i] = d->text[i].n > 0 ? d->text[i].p : "";
        sizes[i] = d->text[i].n;
    }
    if (strata_open(d->c->dir, &options, &s, &ignored) != STRATA_OK)
        s = NULL;
    int code = strata_view_merge(s, texts, sizes, visit_view_overlap, d, &merged, &size);
    strata_close(s);
    if (code != STRATA_OK)
        return out_of_memory(d->c);
    st_buf_add(&d->out, merged, size);
    free(merged);
    if (d->out.failed)
        return out_of_memory(d->c);
    int status = write_out(d);
    return status != 0 ? status : finish(d, "text", true);
}

static int merge_text(struct driver *d)
{
    if (has_view(d))
        return merge_views(d);
    char beside[4096];
    int status = write_beside(d, st_buf_str(&d->text[ST_JSONL_OURS]), beside);
    if (status != 0)
        return status;
    int conflicts = run_merge_file(d, beside);
    if (conflicts > 0 && conflicts <= 127 && keeps_both(d)) {
        (void)unlink(beside);
        return merge_both(d);
    }
    if (conflicts < 0 || conflicts > 127) {
        (void)unlink(beside);
        (void)cli_error(d->c, STRATA_INVALID, "the file is as it was",
                        conflicts < 0 ? "%s: git cannot be run"
                                      : "%s cannot be merged by lines; is it a text?",
                        d->path);
        return 1;
    }
    d->listed_count = (size_t)conflicts;
    status = replace(d, beside);
    return status != 0 ? status : finish(d, "text", conflicts == 0);
}

static bool is_jsonl(const struct driver *d)
{
    if (edge_ends_with(d->path, ".jsonl") || edge_ends_with(d->path, ".ndjson"))
        return true;
    const char *name = strrchr(d->path, '/');
    if (strrchr(name != NULL ? name : d->path, '.') != NULL && d->path != d->files[ST_JSONL_OURS])
        return false;
    return st_jsonl_guess(st_buf_str(&d->text[ST_JSONL_OURS])) &&
           st_jsonl_guess(st_buf_str(&d->text[ST_JSONL_THEIRS]));
}

int cmd_merge_driver(struct cli *c)
{
    struct driver d = {
        .c = c,
        .files = {c->args[0], c->args[1], c->args[2]},
        .path = c->arg_count > 4 ? c->args[4] : c->args[1],
        .marker_size = MARKER_SIZE_DEFAULT,
    };
    if (c->arg_count > 3) {
        int status = cli_number(c, "MARKER_SIZE", c->args[3], MARKER_SIZE_MAX, &d.marker_size);
        if (status != 0)
            return status;
    }
    if (c->json) {
        d.merged = json_array();
        d.listed = json_array();
    }
    st_buf_init(&d.out, st_alloc_large());
    for (int s = 0; s < ST_JSONL_SIDES; s++)
        st_buf_init(&d.text[s], st_alloc_large());
    int status = read_all(&d);
    if (status == 0)
        status = is_jsonl(&d) ? merge_jsonl(&d) : merge_text(&d);
    st_buf_release(&d.out);
    for (int s = 0; s < ST_JSONL_SIDES; s++)
        st_buf_release(&d.text[s]);
    merge_keep_release(&d.keep);
    json_decref(d.merged);
    json_decref(d.listed);
    return status;
}
