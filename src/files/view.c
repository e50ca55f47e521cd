/* view.c - what all views share: renderings, comparing lines with them, collecting operations. */
#include "files/view.h"

#include "store/alloc.h"
#include "store/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const struct st_view *const views[] = {&st_view_heartbeat, &st_view_facts, &st_view_queue};

const struct st_view *st_view_at(size_t i)
{
    return i < sizeof views / sizeof views[0] ? views[i] : NULL;
}

const struct st_view *st_view_find(const char *name)
{
    const struct st_view *v;
    for (size_t i = 0; (v = st_view_at(i)) != NULL; i++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}

static bool plain(const char *subject)
{
    size_t n = strlen(subject);
    bool good = n <= 64;
    for (size_t i = 0; good && i < n; i++) {
        char c = subject[i];
        good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || (c == '-' && i > 0 && subject[i - 1] != '-');
    }
    return good;
}

void st_view_key(const struct st_view *view, const char *subject, char out[ST_BLOCK_KEY_SIZE])
{
    if (subject[0] == '\0')
        snprintf(out, ST_BLOCK_KEY_SIZE, "%s", view->name);
    else if (plain(subject))
        snprintf(out, ST_BLOCK_KEY_SIZE, "%s:%s", view->name, subject);
    else
        snprintf(out, ST_BLOCK_KEY_SIZE, "%s:~%016" PRIx64, view->name,
                 st_checksum(subject, strlen(subject)));
}

void st_rendering_hash(const char *key, struct st_str text, char out[ST_BLOCK_HASH_SIZE])
{
    uint64_t parts[2] = {st_checksum(key, strlen(key)), st_checksum(text.p, text.n)};
    snprintf(out, ST_BLOCK_HASH_SIZE, "%016" PRIx64, st_checksum(parts, sizeof parts));
}

/* --- renderings ------------------------------------------------------------------------------- */

void st_rendering_init(struct st_rendering *r)
{
    memset(r, 0, sizeof *r);
    st_buf_init(&r->text, st_alloc_libc());
}

void st_rendering_release(struct st_rendering *r)
{
    st_buf_release(&r->text);
    free(r->lines);
    free(r->dots);
    memset(r, 0, sizeof *r);
}

void st_rendering_add_dot(struct st_rendering *r, struct st_dot dot)
{
    if (!st_grow(&r->dots, &r->dot_cap, r->dot_count + 1, sizeof *r->dots))
        r->failed = true;
    if (!r->failed)
        r->dots[r->dot_count++] = dot;
}

void st_rendering_end_line(struct st_rendering *r)
{
    if (!st_grow(&r->lines, &r->line_cap, r->line_count + 1, sizeof *r->lines))
        r->failed = true;
    if (r->failed)
        return;
    struct st_render_line *line = &r->lines[r->line_count], *last = line - 1;
    line->offset = r->line_count > 0 ? last->offset + last->size + 1 : 0;
    line->size = r->text.n - line->offset;
    line->dot_first = r->line_count > 0 ? last->dot_first + last->dot_count : 0;
    line->dot_count = r->dot_count - line->dot_first;
    r->line_count++;
    st_buf_add_char(&r->text, '\n');
    r->failed = r->failed || r->text.failed;
}

struct st_str st_rendering_line(const struct st_rendering *r, size_t i)
{
    return (struct st_str){r->text.p + r->lines[i].offset, r->lines[i].size};
}

/* --- comparing -------------------------------------------------------------------------------- */

struct id_place {
    struct st_str id;
    size_t edit; /* number of the edit plus one; 0: free */
};

/* The ids of a rendering, by open addressing. */
struct id_table {
    struct id_place *places;
    size_t mask;
};

static struct id_place *id_find(const struct id_table *t, struct st_str id)
{
    size_t i = (size_t)st_checksum(id.p, id.n) & t->mask;
    while (t->places[i].edit != 0 && !st_str_equal(t->places[i].id, id))
        i = (i + 1) & t->mask;
    return &t->places[i];
}

static struct st_edit *edit_add(struct st_edits *e, enum st_edit_kind kind)
{
    if (!st_grow(&e->list, &e->cap, e->count + 1, sizeof *e->list))
        return NULL;
    e->list[e->count] = (struct st_edit){.kind = kind};
    return &e->list[e->count++];
}

/* Everything of the rendering counts as removed until it is found. */
static enum st_code edits_begin(const struct st_view *view, const struct st_rendering *base,
                                struct st_edits *e, struct id_table *t)
{
    size_t size = 64;
    while (base != NULL && size < base->line_count * 2)
        size *= 2;
    t->mask = size - 1;
    t->places = calloc(size, sizeof *t->places);
    if (t->places == NULL)
        return ST_NO_MEMORY;
    for (size_t i = 0; base != NULL && i < base->line_count; i++) {
        struct st_str line = st_rendering_line(base, i), id;
        if (!view->identify(line, &id))
            continue;
        struct id_place *place = id_find(t, id);
        if (place->edit != 0)
            continue;
        struct st_edit *edit = edit_add(e, ST_EDIT_REMOVED);
        if (edit == NULL)
            return ST_NO_MEMORY;
        edit->before = line;
        edit->dots = base->dots != NULL ? base->dots + base->lines[i].dot_first : NULL;
        edit->dot_count = base->lines[i].dot_count;
        *place = (struct id_place){id, e->count};
    }
    return ST_OK;
}

static enum st_code add_new(struct st_edits *e, struct st_str line)
{
    struct st_edit *edit = edit_add(e, ST_EDIT_ADDED);
    if (edit == NULL)
        return ST_NO_MEMORY;
    edit->after = line;
    return ST_OK;
}

/* A line that is no item goes behind the block, where it is text of the author's. */
static enum st_code add_below(struct st_edits *e, struct st_str line)
{
    st_buf_add_str(&e->below, line);
    st_buf_add_char(&e->below, '\n');
    e->below_count++;
    return e->below.failed ? ST_NO_MEMORY : ST_OK;
}

static enum st_code look_at_id(const struct st_view *view, struct st_edits *e,
                               const struct id_table *t, struct st_str line, struct st_str id)
{
    const struct id_place *place = id_find(t, id);
    if (place->edit == 0) {
        if (e->base_known && view->names_are_ids)
            return add_new(e, line);
        e->unknown++;
        return ST_OK;
    }
    struct st_edit *edit = &e->list[place->edit - 1];
    if (edit->kind != ST_EDIT_REMOVED) {
        e->repeated += !st_str_equal(line, edit->before) && !st_str_equal(line, edit->after);
        return ST_OK;
    }
    edit->kind = st_str_equal(line, edit->before) ? ST_EDIT_KEPT : ST_EDIT_CHANGED;
    edit->after = line;
    if (edit->kind == ST_EDIT_KEPT || view->classify(line) != ST_LINE_OTHER)
        return ST_OK;
    /* What cannot be stored is kept as text, and the item as it was. */
    edit->kind = ST_EDIT_KEPT;
    edit->after = edit->before;
    return add_below(e, line);
}

static enum st_code look_at(const struct st_view *view, struct st_edits *e,
                            const struct id_table *t, struct st_str line)
{
    struct st_str id;
    if (st_line_trim(line).n == 0 || st_line_is_conflict(line) ||
        st_block_mark(line, NULL, NULL) != 0)
        return ST_OK;
    if (view->identify(line, &id))
        return look_at_id(view, e, t, line, id);
    enum st_line_class class = view->classify(line);
    if (class == ST_LINE_NEW)
        return add_new(e, line);
    if (class == ST_LINE_FIXED)
        return ST_OK;
    return add_below(e, line);
}

enum st_code st_edits_find(const struct st_view *view, const struct st_rendering *base,
                           struct st_str body, struct st_edits *out)
{
    struct id_table t = {0};
    memset(out, 0, sizeof *out);
    out->base_known = base != NULL;
    st_buf_init(&out->below, st_alloc_libc());
    enum st_code code = edits_begin(view, base, out, &t);
    struct st_str line;
    while (code == ST_OK && st_line_next(&body, &line))
        code = look_at(view, out, &t, line);
    free(t.places);
    for (size_t i = 0; i < out->count; i++)
        out->changes += out->list[i].kind != ST_EDIT_KEPT;
    return code;
}

void st_edits_release(struct st_edits *e)
{
    st_buf_release(&e->below);
    free(e->list);
    memset(e, 0, sizeof *e);
}

/* --- operations ------------------------------------------------------------------------------- */

static bool keep(struct st_arena *a, struct st_str *s)
{
    s->p = st_arena_text(a, *s);
    return s->p != NULL;
}

static bool keep_dots(struct st_arena *a, struct st_op *op, const struct st_dot *dots, size_t n)
{
    struct st_dot *list = st_arena_take(a, (n + 1) * sizeof *list);
    size_t count = 0;
    if (list == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        count = st_dots_add(list, count, dots[i]);
    op->at = list;
    op->at_count = count;
    return true;
}

static bool keep_vector(struct st_arena *a, struct st_vector *v)
{
    struct st_vector_entry *entries = st_arena_take(a, (v->count + 1) * sizeof *entries);
    if (entries == NULL)
        return false;
    memcpy(entries, v->entries, v->count * sizeof *entries);
    *v = (struct st_vector){.entries = entries, .count = v->count, .cap = v->count};
    return true;
}

bool st_file_ops_add(struct st_file_ops *ops, struct st_str agent, const struct st_op *op,
                     const struct st_dot *dots, size_t dot_count)
{
    if (!st_grow(&ops->list, &ops->cap, ops->count + 1, sizeof *ops->list))
        return false;
    struct st_file_op *to = &ops->list[ops->count];
    *to = (struct st_file_op){agent, *op};
    if (!keep(&ops->arena, &to->agent) || !keep(&ops->arena, &to->op.entity) ||
        !keep(&ops->arena, &to->op.attribute) || !keep(&ops->arena, &to->op.value))
        return false;
    if (op->has_at && !keep_dots(&ops->arena, &to->op, dots, dot_count))
        return false;
    if (op->kind == ST_OP_SEEN && !keep_vector(&ops->arena, &to->op.vector))
        return false;
    ops->count++;
    return true;
}

void st_file_ops_release(struct st_file_ops *ops)
{
    st_arena_reset(&ops->arena);
    free(ops->list);
    free(ops->wishes);
    memset(ops, 0, sizeof *ops);
}
