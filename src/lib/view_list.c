/*
 * view_list.c - which views there are in the files of a work tree: adding, removing, listing.
 */
#include "lib/files.h"

#include <stdio.h>
#include <strings.h>

static struct st_entry *view_find(strata *s, const char *name, const char *subject,
                                  const char *path)
{
    for (size_t i = 0; i < s->files->registry.count; i++) {
        struct st_entry *e = &s->files->registry.list[i];
        if (e->kind == ST_ENTRY_VIEW && strcmp(e->name, name) == 0 &&
            (subject == NULL || strcmp(e->subject, subject) == 0) &&
            (path == NULL || strcmp(e->path, path) == 0))
            return e;
    }
    return NULL;
}

/* Whether a HEARTBEAT.md has something for an agent to do. Comments, headings and empty list items
 * are nothing, as agents that follow such a file take it. */
static bool has_instructions(struct st_str text)
{
    struct st_blocks blocks;
    struct st_str line;
    st_blocks_find(text, "heartbeat", st_view_heartbeat.classify, &blocks);
    if (blocks.count > 0)
        return false;
    while (st_line_next(&text, &line)) {
        size_t i = 0;
        while (i < line.n && strchr(" \t-*[]", line.p[i]) != NULL)
            i++;
        bool comment = line.n - i >= 4 && memcmp(line.p + i, "<!--", 4) == 0;
        if (i < line.n && line.p[i] != '#' && !comment)
            return true;
    }
    return false;
}

static int check_instructions(strata *s, const char *path, const char *relative)
{
    struct st_buf text;
    struct st_fault fault;
    const char *base = strrchr(relative, '/');
    if (strcasecmp(base != NULL ? base + 1 : relative, "HEARTBEAT.md") != 0)
        return STRATA_OK;
    st_buf_init(&text, st_alloc_libc());
    bool busy = st_file_get(path, ST_FILE_SIZE_MAX, &text, NULL, &fault) == ST_OK &&
                has_instructions(st_buf_str(&text));
    st_buf_release(&text);
    if (!busy)
        return STRATA_OK;
    st_lib_fail(s, ST_CONFLICT,
                "%s has instructions that agents follow; a board in it would be "
                "read as one of them",
                relative);
    st_lib_hint(s, "nothing was changed; use: strata view add heartbeat --file AGENTS-STATUS.md");
    return ST_CONFLICT;
}

static void fill_view(const struct st_entry *e, strata_view *out)
{
    *out = (strata_view){e->name, e->subject, e->path, e->committed};
}

static int usual_file(strata *s, const struct st_view *view, const char *subject,
                      char out[ST_PATH_SIZE])
{
    if (subject[0] == '\0' || view == &st_view_queue) {
        snprintf(out, ST_PATH_SIZE, "%s", view->file);
        return STRATA_OK;
    }
    if (strchr(subject, '/') != NULL || subject[0] == '.')
        return st_lib_fail(s, ST_USAGE,
                           "'%.80s' cannot be the name of a file: give one with --file", subject);
    snprintf(out, ST_PATH_SIZE, "%s.md", subject);
    return STRATA_OK;
}

static int add_locked(strata *s, const struct st_view *view, const strata_view_options *o,
                      const char *subject, strata_view *out)
{
    struct st_files *f = s->files;
    char usual[ST_PATH_SIZE], relative[ST_PATH_SIZE], path[ST_PATH_SIZE];
    const char *given = ST_HAS(o, path) ? o->path : NULL;
    int code = given == NULL ? usual_file(s, view, subject, usual) : STRATA_OK;
    if (code == STRATA_OK)
        code = st_files_relative(s, given != NULL ? given : usual, relative);
    if (code == STRATA_OK)
        code = st_files_path(s, relative, path);
    if (code != STRATA_OK)
        return code;
    if (view_find(s, view->name, subject, relative) != NULL)
        return st_lib_fail(s, ST_EXISTS, "%s has this view already", relative);
    code = st_files_room(s);
    if (code != STRATA_OK)
        return code;
    code = given == NULL && view == &st_view_heartbeat ? check_instructions(s, path, relative)
                                                       : STRATA_OK;
    if (code != STRATA_OK)
        return code;
    struct st_entry entry = {
        .kind = ST_ENTRY_VIEW,
        .name = view->name,
        .subject = subject,
        .path = relative,
        .committed = ST_HAS(o, committed) && o->committed,
    };
    struct st_file_stamp stamp;
    struct st_fault fault;
    bool existed = st_file_stamp_get(path, &stamp, &fault) != ST_NOT_FOUND;
    if (existed && !entry.committed && st_git_has(f->root, relative)) {
        entry.committed = true;
        st_lib_notice(s, "Git has %s: it is written after edits, and by `strata view render`",
                      relative);
    }
    struct st_entry *e = st_registry_add(&f->registry, &entry);
    if (e == NULL)
        return st_lib_no_memory(s);
    f->changed_set = true;
    code = st_view_update(s, e, ST_VIEW_DIRTY | ST_VIEW_STALE | ST_VIEW_FORCE);
    if (code != STRATA_OK) {
        st_registry_remove(&f->registry, e);
        return code;
    }
    if (!existed && !e->committed)
        st_git_ignore(s, relative, true);
    fill_view(e, out);
    return STRATA_OK;
}

int strata_view_add(strata *s, const strata_view_options *o, strata_view *out)
{
    const struct st_view *view = o->name != NULL ? st_view_find(o->name) : NULL;
    if (view == NULL) {
        st_lib_fail(s, ST_INVALID, "there is no view '%.40s'", o->name != NULL ? o->name : "");
        st_lib_hint(s, "views are: heartbeat, facts, queue");
        return ST_INVALID;
    }
    const char *subject = ST_HAS(o, subject) && o->subject != NULL ? o->subject : "";
    if (subject[0] != '\0' && !view->takes_subject)
        return st_lib_fail(s, ST_USAGE, "the view %s is not of one entity", view->name);
    int code = subject[0] != '\0' ? st_lib_name(s, "entity", subject) : STRATA_OK;
    if (code == STRATA_OK)
        code = st_files_begin(s);
    if (code != STRATA_OK)
        return code;
    code = add_locked(s, view, o, subject, out);
    return st_files_end(s, code);
}

static bool is_missing(strata *s, const char *relative)
{
    char path[ST_PATH_SIZE];
    struct st_file_stamp stamp;
    struct st_fault fault;
    return st_files_path(s, relative, path) == STRATA_OK &&
           st_file_stamp_get(path, &stamp, &fault) == ST_NOT_FOUND;
}

int strata_view_remove(strata *s, const char *name, const char *subject, const char *path)
{
    char relative[ST_PATH_SIZE];
    int code = st_files_begin(s);
    if (code != STRATA_OK)
        return code;
    code = path != NULL ? st_files_relative(s, path, relative) : STRATA_OK;
    struct st_entry *e =
        code == STRATA_OK ? view_find(s, name, subject, path != NULL ? relative : NULL) : NULL;
    if (code == STRATA_OK && e == NULL) {
        code = st_lib_fail(s, ST_NOT_FOUND, "there is no view %s here", name);
        st_lib_hint(s, "`strata view list` has them");
    }
    if (code == STRATA_OK)
        code = st_view_take_out(s, e);
    if (code == STRATA_OK) {
        if (is_missing(s, e->path))
            st_git_ignore(s, e->path, false);
        st_registry_remove(&s->files->registry, e);
        s->files->changed_set = true;
    }
    return st_files_end(s, code);
}

int strata_view_each(strata *s, int (*visit)(void *arg, const strata_view *v), void *arg)
{
    if (st_files_find(s) != STRATA_OK)
        return STRATA_OK;
    int code = st_files_load(s), result = 0;
    for (size_t i = 0; code == STRATA_OK && result == 0 && i < s->files->registry.count; i++) {
        strata_view v;
        if (s->files->registry.list[i].kind != ST_ENTRY_VIEW)
            continue;
        fill_view(&s->files->registry.list[i], &v);
        result = visit(arg, &v);
    }
    if (code == ST_NOT_FOUND)
        code = STRATA_OK;
    return code == STRATA_OK && result < 0 ? result : code;
}
