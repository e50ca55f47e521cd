/*
 * documents.c - tracked files: texts that people and agents edit, merged by lines.
 *
 * A document is the entity `file:<path>`. A version is one record that sets the attribute `text`,
 * and for what is longer than a value `text.2`, `text.3`, ...: all of them in one record. Its `at`
 * names the versions that it replaces, its parents. So the versions form a graph, and two that were
 * written at the same time have a common ancestor, the same on every copy of the workspace: who
 * sees both merges them against it, and all who do come to the same text.
 *
 * The file has the text of one version, which the list of the work tree names (`base`). What an
 * editor made of it is merged against that version; with nothing newer it becomes the next version.
 * An overlap leaves two versions, which is a conflict like any other: `strata pending`, `strata
 * resolve`. The newer one then has all of the other but what overlapped, and says so: its record has a
 * "seen" of it behind the parts. The next merge of the two begins there.
 */
#include "lib/document.h"

#include "files/lines.h"

#include <stdio.h>
#include <stdlib.h>

/* Writes the shown version into the file, until nobody writes in between. `text`: what the file
 * has. */
static int write_file(struct st_document *d, struct st_buf *text, bool missing)
{
    strata *s = d->s;
    int code = STRATA_OK;
    for (int i = 0; code == STRATA_OK && i < ST_FILES_TRIES; i++) {
        struct st_buf next, displaced;
        st_buf_init(&next, st_alloc_libc());
        st_buf_init(&displaced, st_alloc_libc());
        struct st_version shown = d->h.list[d->h.shown];
        bool done = false;
        code = st_version_text(s, d->entity, &shown, &next);
        if (code == STRATA_OK && st_str_equal(st_buf_str(&next), st_buf_str(text)) && !missing)
            done = true;
        else if (code == STRATA_OK)
            code =
                st_files_replace(s, d->e, d->path, st_buf_str(&next), st_buf_str(text), &displaced);
        if (code == STRATA_OK) {
            code = st_document_set_base(d, &shown);
            done = true;
        } else if (code == ST_CONFLICT) {
            /* The displaced text is an edit of the base that the file had; then of what it has now.
             */
            code = st_document_take_in(d, st_buf_str(&displaced));
            if (code == STRATA_OK)
                code = st_document_set_base(d, &shown);
            st_buf_reset(text);
            st_buf_add_str(text, st_buf_str(&next));
            missing = false;
        }
        st_buf_release(&next);
        st_buf_release(&displaced);
        if (done)
            break;
    }
    return code;
}

static void document_name(const struct st_entry *e, char entity[ST_NAME_SIZE_MAX + 1])
{
    snprintf(entity, ST_NAME_SIZE_MAX + 1, ST_DOCUMENT_PREFIX "%s", e->path);
}

static int document_begin(strata *s, struct st_entry *e, struct st_document *d)
{
    *d = (struct st_document){.s = s, .e = e, .author = s->files->agent};
    document_name(e, d->entity);
    int code = st_files_path(s, e->path, d->path);
    return code == STRATA_OK ? st_versions_read(d->s, d->entity, &d->h) : code;
}

/* What the file has is an edit; or it is Git's, and left so. */
static int take_in_or_hold(struct st_document *d, struct st_str text,
                           const struct st_file_stamp *stamp)
{
    bool held = false, followed = d->e->content != 0 || d->e->base[0] != '\0';
    int code = followed ? st_document_hold(d, text, stamp, &held) : STRATA_OK;
    if (code != STRATA_OK || held)
        return code;
    code = st_document_take_in(d, text);
    d->e->held = false;
    return code;
}

/* Whether it was edited is judged by what is read here: it may have been since it was looked at. */
static int update_file(struct st_document *d, bool restore, bool take)
{
    strata *s = d->s;
    struct st_buf text;
    struct st_file_stamp stamp = {0};
    struct st_fault fault;
    st_buf_init(&text, st_alloc_libc());
    st_file_await_writers(s->log.env, d->path);
    enum st_code got = st_file_get(d->path, ST_FILE_SIZE_MAX, &text, &stamp, &fault);
    bool missing = got == ST_NOT_FOUND;
    int code = got == ST_OK || missing ? STRATA_OK : st_lib_fault(s, &fault);
    struct st_str is = st_buf_str(&text);
    bool edited = code == STRATA_OK && !missing &&
                  (d->e->content == 0 || st_checksum(is.p, is.n) != d->e->content);
    if (code == STRATA_OK && edited)
        code = take ? st_document_take_in(d, is) : take_in_or_hold(d, is, &stamp);
    if (restore)
        d->e->held = false;
    if (code == STRATA_OK)
        code = st_document_reconcile(d);
    if (code == STRATA_OK && missing && !restore) {
        /* Another branch, a clean-up: not for us to put it back, nor to remove the text. */
        if (d->e->content != 0)
            st_lib_notice(s, "%s is gone; its text is kept, and `strata track %s` writes it again",
                          d->e->path, d->e->path);
        d->e->content = 0;
        s->files->changed = true;
    } else if (code == STRATA_OK && d->h.live > 0) {
        if (!missing)
            st_files_looked(s, d->e, &stamp, is);
        if (!d->e->held)
            code = write_file(d, &text, missing);
    }
    st_buf_release(&text);
    return code;
}

/* Whether the one version that there is, is the one that the file has. */
static int is_current(strata *s, const struct st_entry *e, bool *current)
{
    char entity[ST_NAME_SIZE_MAX + 1];
    struct st_attribute a;
    struct st_dot base = {0};
    *current = false;
    document_name(e, entity);
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = st_attribute_read(st_index_kv(s->index), st_str_of(entity),
                                         ST_STR(ST_DOCUMENT_ATTRIBUTE), &s->read, &a);
    if (got == ST_OK && a.count == 1 && st_dot_parse(st_str_of(e->base), &base))
        *current = st_dot_compare(a.items[0].dot, base) == 0;
    st_lib_end(s);
    return got == ST_OK ? STRATA_OK : st_lib_index_fault(s, got);
}

int st_document_update(strata *s, struct st_entry *e, unsigned why)
{
    struct st_document d;
    bool current = false;
    /* Most of the time the log has moved for other reasons: no history is read for that. */
    if (why == ST_VIEW_STALE && e->held)
        return STRATA_OK;
    int code = why == ST_VIEW_STALE ? is_current(s, e, &current) : STRATA_OK;
    if (code != STRATA_OK || current)
        return code;
    code = document_begin(s, e, &d);
    if (code == STRATA_OK)
        code = update_file(&d, (why & ST_VIEW_FORCE) != 0, false);
    free(d.h.list);
    return code;
}

int st_document_take(strata *s, struct st_entry *e)
{
    struct st_document d;
    int code = document_begin(s, e, &d);
    /* As an edit of what the document has now. */
    if (code == STRATA_OK && d.h.live > 0)
        code = st_document_set_base(&d, &d.h.list[d.h.shown]);
    e->held = false;
    e->content = 0;
    if (code == STRATA_OK)
        code = update_file(&d, false, true);
    free(d.h.list);
    return code;
}

/* A version with the text of the shown one and the line. */
static int write_longer(struct st_document *d, struct st_str line, struct st_buf *was)
{
    struct st_dot replaced[ST_PARENTS_MAX];
    struct st_buf text;
    size_t count = 0;
    int code = STRATA_OK;
    if (d->h.live > 0) {
        struct st_version *shown = &d->h.list[d->h.shown];
        code = st_version_text(d->s, d->entity, shown, was);
        if (code == STRATA_OK)
            code = st_document_dots(d, shown, replaced, &count);
    }
    st_buf_init(&text, st_alloc_libc());
    st_buf_add_str(&text, st_buf_str(was));
    st_line_append(&text, text.n > 0 ? text.p[text.n - 1] : '\n', line);
    if (code == STRATA_OK && text.failed)
        code = st_lib_no_memory(d->s);
    if (code == STRATA_OK)
        code = st_document_write(d, st_buf_str(&text), replaced, count, (struct st_dot){0}, NULL);
    st_buf_release(&text);
    return code;
}

int st_document_append(strata *s, struct st_entry *e, struct st_str line)
{
    struct st_document d;
    struct st_buf was;
    st_buf_init(&was, st_alloc_libc());
    int code = document_begin(s, e, &d);
    if (code == STRATA_OK)
        code = update_file(&d, true, false);
    if (s->agent[0] != '\0')
        d.author = s->agent;
    if (code == STRATA_OK)
        code = write_longer(&d, line, &was);
    if (code == STRATA_OK)
        code = write_file(&d, &was, e->content == 0);
    free(d.h.list);
    st_buf_release(&was);
    return code;
}

int st_document_absorb(strata *s, struct st_entry *e, struct st_str unseen, struct st_str now)
{
    struct st_document d;
    struct st_buf text;
    st_buf_init(&text, st_alloc_libc());
    st_buf_add_str(&text, now);
    int code = document_begin(s, e, &d);
    if (code == STRATA_OK)
        code = st_document_take_in(&d, unseen);
    if (code == STRATA_OK)
        code = st_document_reconcile(&d);
    if (code == STRATA_OK && d.h.live > 0)
        code = write_file(&d, &text, false);
    free(d.h.list);
    st_buf_release(&text);
    return code;
}
