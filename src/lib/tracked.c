/*
 * tracked.c - which files of a work tree are tracked: by name, by pattern; and what each agent has
 * read of them.
 *
 * <home>/seen-<agent>, the marks of one agent, the oldest first:
 *   <dot of the version> <path>
 * with a tab between them.
 */
#include "lib/files.h"

#include "core/glob.h"

#include <stdio.h>

/* --- patterns --------------------------------------------------------------------------------- */

/* The directory of a pattern; 0: none. */
static int64_t directory_ns(strata *s, const char *pattern, char out[ST_PATH_SIZE])
{
    if (snprintf(out, ST_PATH_SIZE, "%s/%s", s->files->root, pattern) >= ST_PATH_SIZE)
        return 0;
    *strrchr(out, '/') = '\0';
    return st_file_mtime_ns(out);
}

struct matches {
    strata *s;
    const char *pattern;
    size_t prefix; /* of the pattern, up to its last slash */
    int code;
};

static int match_one(void *arg, const char *name)
{
    struct matches *m = arg;
    char relative[ST_PATH_SIZE], path[ST_PATH_SIZE];
    struct st_file_stamp stamp;
    struct st_fault fault;
    int n = snprintf(relative, sizeof relative, "%.*s%s", (int)m->prefix, m->pattern, name);
    if (name[0] == '.' || n > ST_FILE_PATH_MAX || st_files_entry(m->s, relative) != NULL ||
        !st_glob_match(st_str_of(m->pattern), st_str_of(relative)) ||
        st_files_path(m->s, relative, path) != STRATA_OK ||
        st_file_stamp_get(path, &stamp, &fault) != ST_OK)
        return 0;
    struct st_entry entry = {.kind = ST_ENTRY_FILE, .path = relative};
    m->code = st_files_room(m->s);
    if (m->code != STRATA_OK)
        return m->code;
    struct st_entry *e = st_registry_add(&m->s->files->registry, &entry);
    m->s->files->changed_set = true;
    m->code = e == NULL ? st_lib_no_memory(m->s) : STRATA_OK;
    return m->code;
}

/* Files that match by now are tracked from now on. */
int st_pattern_update(strata *s, struct st_entry *e)
{
    char dir[ST_PATH_SIZE];
    const char *pattern = e->path, *slash = strrchr(pattern, '/');
    struct matches m = {s, pattern, slash != NULL ? (size_t)(slash - pattern) + 1 : 0, STRATA_OK};
    int64_t ns = directory_ns(s, pattern, dir);
    /* The list may move while it grows: the entry is changed first. */
    e->looked_ns = ns + ST_STAMP_GRAIN_NS < st_files_now_ns() ? ns : 0;
    s->files->changed = true;
    s->log.env->list(s->log.env->ctx, dir, match_one, &m);
    return m.code;
}

bool st_pattern_moved(strata *s, const struct st_entry *e)
{
    char dir[ST_PATH_SIZE];
    return directory_ns(s, e->path, dir) != e->looked_ns;
}

/* --- what an agent has read ------------------------------------------------------------------- */

static void seen_path(const struct st_files *f, const char *agent, char out[ST_PATH_SIZE + 80])
{
    snprintf(out, ST_PATH_SIZE + 80, "%s/seen-%s", f->home, agent);
}

/* "<dot> <path>" with a tab between them. */
static bool split_mark(struct st_str line, struct st_str *dot, struct st_str *path)
{
    const char *tab = memchr(line.p, '\t', line.n);
    if (tab == NULL)
        return false;
    *dot = (struct st_str){line.p, (size_t)(tab - line.p)};
    *path = (struct st_str){tab + 1, line.n - dot->n - 1};
    return true;
}

/* Without its first lines, if it is over the limit: those are the oldest. */
static struct st_str newest_marks(struct st_str marks)
{
    struct st_str line;
#ifndef ST_DEFECT_DROPS_NEWEST_MARKS
    while (marks.n > ST_SEEN_SIZE_MAX && st_line_next(&marks, &line))
        ;
#else
    for (struct st_str all = marks; all.n > 0 && st_line_next(&all, &line);)
        if ((size_t)(all.p - marks.p) <= ST_SEEN_SIZE_MAX)
            marks.n = (size_t)(all.p - marks.p);
#endif
    return marks;
}

/* Takes the mark of a path out of an agent's file, and puts another in. */
static bool seen_change(strata *s, const char *path, const char *put, char dot[ST_ID_SIZE])
{
    char file[ST_PATH_SIZE + 80];
    struct st_buf text, out;
    struct st_fault fault;
    struct st_str rest, line, has, of;
    bool found = false;
    seen_path(s->files, s->agent, file);
    st_buf_init(&text, st_alloc_libc());
    st_buf_init(&out, st_alloc_libc());
    (void)st_file_get(file, ST_SEEN_SIZE_MAX, &text, NULL, &fault);
    rest = st_buf_str(&text);
    while (st_line_next(&rest, &line)) {
        if (!split_mark(line, &has, &of))
            continue;
        if (!st_str_equal(of, st_str_of(path))) {
            st_buf_add_str(&out, line);
            st_buf_add_char(&out, '\n');
        } else if (has.n < ST_ID_SIZE) {
            memcpy(dot, has.p, has.n);
            dot[has.n] = '\0';
            found = true;
        }
    }
    if (put != NULL) {
        st_buf_add_text(&out, put);
        st_buf_add_char(&out, '\t');
        st_buf_add_text(&out, path);
        st_buf_add_char(&out, '\n');
    }
    if ((found || put != NULL) && !out.failed)
        st_file_put(s->log.env, file, newest_marks(st_buf_str(&out)), false, &fault);
    st_buf_release(&text);
    st_buf_release(&out);
    return found;
}

bool st_files_seen_get(strata *s, const char *path, char dot[ST_ID_SIZE])
{
    struct st_dot marked;
    return s->agent[0] != '\0' && seen_change(s, path, NULL, dot) &&
           st_dot_parse(st_str_of(dot), &marked) && st_mend_keeps(&s->log, marked);
}

static int not_tracked(strata *s, const char *path)
{
    st_lib_fail(s, ST_NOT_FOUND, "%s is not tracked", path);
    st_lib_hint(s, "`strata track FILE` tracks it; `strata track` lists what is tracked");
    return ST_NOT_FOUND;
}

/* The entry of a file that has to be tracked. */
static int tracked_entry(strata *s, const char *given, struct st_entry **e)
{
    char path[ST_PATH_SIZE];
    int code = st_files_relative(s, given, path);
    *e = code == STRATA_OK ? st_files_entry(s, path) : NULL;
    if (code == STRATA_OK && (*e == NULL || (*e)->kind != ST_ENTRY_FILE))
        code = not_tracked(s, path);
    return code;
}

int strata_file_take(strata *s, const char *given)
{
    struct st_entry *e;
    int code = st_files_begin(s);
    if (code != STRATA_OK)
        return code;
    code = tracked_entry(s, given, &e);
    if (code == STRATA_OK)
        code = st_document_take(s, e);
    return st_files_end(s, code);
}

int strata_file_seen(strata *s, const char *given)
{
    char dot[ST_ID_SIZE];
    struct st_entry *e;
    if (s->agent[0] == '\0')
        return st_lib_fail(s, ST_USAGE, "who has read it? a mark needs an agent's name");
    int code = st_files_begin(s);
    if (code != STRATA_OK)
        return code;
    code = tracked_entry(s, given, &e);
    if (code == STRATA_OK)
        code = st_document_update(s, e, ST_VIEW_DIRTY);
    if (code == STRATA_OK)
        seen_change(s, e->path, e->base, dot);
    return st_files_end(s, code);
}

static bool is_pattern(const char *path)
{
    return strpbrk(path, "*?[") != NULL;
}

static int track_pattern(strata *s, const char *pattern)
{
    const char *slash = strrchr(pattern, '/');
    if (st_glob_check(st_str_of(pattern)) != ST_OK || strstr(pattern, "**") != NULL ||
        (slash != NULL && strcspn(pattern, "*?[") < (size_t)(slash - pattern)))
        return st_lib_fail(
            s, ST_INVALID,
            "'%.80s': a pattern is a directory of the work tree, a slash, and a name "
            "with * ? or [..] in it",
            pattern);
    struct st_entry entry = {.kind = ST_ENTRY_GLOB, .path = pattern};
    for (size_t i = 0; i < s->files->registry.count; i++)
        if (s->files->registry.list[i].kind == ST_ENTRY_GLOB &&
            strcmp(s->files->registry.list[i].path, pattern) == 0)
            return STRATA_OK;
    struct st_entry *e = st_registry_add(&s->files->registry, &entry);
    if (e == NULL)
        return st_lib_no_memory(s);
    s->files->changed_set = true;
    int code = st_pattern_update(s, e);
    for (size_t i = 0; code == STRATA_OK && i < s->files->registry.count; i++) {
        e = &s->files->registry.list[i];
        if (e->kind != ST_ENTRY_FILE || e->content != 0)
            continue;
        if (st_document_update(s, e, ST_VIEW_DIRTY) != STRATA_OK)
            st_lib_notice(s, "%s: %s", e->path, s->error.message);
    }
    return code;
}

static int track_file(strata *s, const char *given, char path[ST_PATH_SIZE])
{
    int code = st_files_relative(s, given, path);
    struct st_entry *e = code == STRATA_OK ? st_files_entry(s, path) : NULL;
    if (code != STRATA_OK)
        return code;
    if (e != NULL && e->kind != ST_ENTRY_FILE)
        return st_lib_fail(s, ST_EXISTS, "%s has a view in it; it cannot be tracked as well", path);
    bool added = e == NULL;
    struct st_entry entry = {.kind = ST_ENTRY_FILE, .path = path};
    code = added ? st_files_room(s) : STRATA_OK;
    if (code != STRATA_OK)
        return code;
    if (added)
        e = st_registry_add(&s->files->registry, &entry);
    if (e == NULL)
        return st_lib_no_memory(s);
    s->files->changed_set = s->files->changed_set || added;
    code = st_document_update(s, e, ST_VIEW_DIRTY | ST_VIEW_FORCE);
    if (code == STRATA_OK && e->content == 0) {
        char full[ST_PATH_SIZE];
        struct st_file_stamp stamp;
        struct st_fault fault;
        if (st_files_path(s, path, full) != STRATA_OK ||
            st_file_stamp_get(full, &stamp, &fault) != ST_OK)
            code = st_lib_fail(s, ST_NOT_FOUND, "there is no file %s", path);
    }
    if (code != STRATA_OK && added)
        st_registry_remove(&s->files->registry, e);
    return code;
}

int strata_track(strata *s, const char *given)
{
    char path[ST_PATH_SIZE];
    int code = st_files_begin(s);
    if (code != STRATA_OK)
        return code;
    code = is_pattern(given) ? track_pattern(s, given) : track_file(s, given, path);
    return st_files_end(s, code);
}

int strata_untrack(strata *s, const char *given)
{
    char path[ST_PATH_SIZE];
    int code = st_files_begin(s);
    if (code != STRATA_OK)
        return code;
    if (is_pattern(given))
        snprintf(path, sizeof path, "%s", given);
    else
        code = st_files_relative(s, given, path);
    struct st_registry *r = &s->files->registry;
    bool found = false;
    for (size_t i = r->count; code == STRATA_OK && i > 0; i--)
        if (r->list[i - 1].kind != ST_ENTRY_VIEW && strcmp(r->list[i - 1].path, path) == 0) {
            st_registry_remove(r, &r->list[i - 1]);
            found = s->files->changed_set = true;
        }
    if (code == STRATA_OK && !found)
        code = not_tracked(s, path);
    return st_files_end(s, code);
}

int strata_file_each(strata *s, int (*visit)(void *arg, const strata_tracked *file), void *arg)
{
    if (st_files_find(s) != STRATA_OK)
        return STRATA_OK;
    int code = st_files_load(s), result = 0;
    for (size_t i = 0; code == STRATA_OK && result == 0 && i < s->files->registry.count; i++) {
        const struct st_entry *e = &s->files->registry.list[i];
        strata_tracked file = {e->path, e->kind == ST_ENTRY_GLOB, e->held};
        if (e->kind != ST_ENTRY_VIEW)
            result = visit(arg, &file);
    }
    if (code == ST_NOT_FOUND)
        code = STRATA_OK;
    return code == STRATA_OK && result < 0 ? result : code;
}
