/*
 * view_queue.c - tasks, one line each (task_line.h), by number; with a subject those of one channel.
 *
 *   - [ ] [seq:142] [depends:141] [agent:code-intel] build frontend
 *
 * There is a line for every task that is not finished, and for the last of those that are done or
 * failed; what is cancelled has none. An edit is
 *   a box, a word       what became of the task, as `strata done`, `fail`, `cancel`, `update` would
 *   a title, a mark     the attribute, superseding what the line showed
 *   a new line          a new task; its seq, if it has one, is what other new lines call it
 *   a missing line      the task is cancelled; one that is finished leaves the list (`unlisted`)
 * A line without its seq that has the title or the key of a line that is missing is that line: who
 * writes the list anew in his own hand loses no task. What such a line leaves out is as it was.
 */
#include "files/queue_edits.h"

#include "store/log.h"

#include <stdio.h>
#include <stdlib.h>

/* --- lines ------------------------------------------------------------------------------------ */

bool st_queue_is_number(struct st_str name)
{
    char entity[ST_NUMBERED_SIZE + 1];
    struct st_task_id id;
    return name.n < ST_NUMBERED_SIZE &&
           snprintf(entity, sizeof entity, "#%.*s", (int)name.n, name.p) > 0 &&
           st_task_id_parse(st_str_of(entity), &id);
}

static bool identify(struct st_str line, struct st_str *id)
{
    return st_task_line_seq(line, id) && st_queue_is_number(*id);
}

static bool name_or_none(struct st_str name)
{
    return name.n == 0 || st_name_check(name) == ST_OK;
}

static bool is_valid(const struct st_task_line *t)
{
    uint64_t ms;
    struct st_str list = t->depends, name;
    bool valid = t->title.n > 0 && st_value_check(t->title) == ST_OK && name_or_none(t->key) &&
                 name_or_none(t->agent) && name_or_none(t->channel) && name_or_none(t->parent) &&
                 name_or_none(t->state) &&
                 (t->not_before.n == 0 || st_time_parse(t->not_before, &ms));
    while (valid && st_task_line_next(&list, &name))
        valid = st_name_check(name) == ST_OK;
    return valid && (t->seq.n == 0 || st_queue_is_number(t->seq));
}

bool st_queue_line_parse(struct st_str line, struct st_buf *text, struct st_task_line *out)
{
    if (!st_task_line_parse(line, text, out) || !is_valid(out))
        return false;
    if (out->seq.n > 0 && out->seq.p[0] == '#')
        out->seq = (struct st_str){out->seq.p + 1, out->seq.n - 1};
    return true;
}

static enum st_line_class classify(struct st_str line)
{
    struct st_buf text;
    struct st_task_line t;
    if (st_str_equal(line, st_str_of(st_queue_more_open)) ||
        st_str_equal(line, st_str_of(st_queue_more_finished)))
        return ST_LINE_FIXED;
    st_buf_init(&text, st_alloc_libc());
    bool good = st_queue_line_parse(line, &text, &t);
    bool known = good && t.seq.n > 0;
    st_buf_release(&text);
    return known ? ST_LINE_ITEM : good ? ST_LINE_NEW : ST_LINE_OTHER;
}

/* --- lines written anew ----------------------------------------------------------------------- */

static int compare_missing(const void *a, const void *b)
{
    const struct st_queue_missing *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->edit < y->edit ? -1 : x->edit > y->edit;
}

static uint64_t name_hash(char kind, struct st_str text)
{
    uint64_t parts[2] = {(uint64_t)kind, st_checksum(text.p, text.n)};
    return st_checksum(parts, sizeof parts);
}

static void add_missing(struct st_queue_applier *a, char kind, struct st_str text, size_t edit)
{
    if (text.n > 0)
        a->missing[a->missing_count++] = (struct st_queue_missing){name_hash(kind, text), edit};
}

static enum st_code find_missing(struct st_queue_applier *a)
{
    const struct st_edits *e = a->edits;
    struct st_task_line t;
    a->missing = calloc(2 * e->count + 1, sizeof *a->missing);
    a->found = calloc(e->count + 1, sizeof *a->found);
    a->new_lines = calloc(e->count + 1, sizeof *a->new_lines);
    if (a->missing == NULL || a->found == NULL || a->new_lines == NULL)
        return ST_NO_MEMORY;
    for (size_t i = 0; i < e->count; i++) {
        if (e->list[i].kind != ST_EDIT_REMOVED ||
            !st_queue_line_parse(e->list[i].before, &a->before, &t))
            continue;
        add_missing(a, 't', t.title, i);
        add_missing(a, 'k', t.key, i);
    }
    if (a->missing_count > 1)
        qsort(a->missing, a->missing_count, sizeof *a->missing, compare_missing);
    return ST_OK;
}

/* The first line with this name that is missing and not yet found; SIZE_MAX: none. */
static size_t missing_named(struct st_queue_applier *a, char kind, struct st_str text)
{
    uint64_t hash = name_hash(kind, text);
    size_t low = 0, high = a->missing_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (a->missing[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < a->missing_count && a->missing[low].hash == hash; low++) {
        struct st_task_line t;
        size_t i = a->missing[low].edit;
        if (!a->found[i] && st_queue_line_parse(a->edits->list[i].before, &a->before, &t) &&
            st_str_equal(kind == 't' ? t.title : t.key, text))
            return i;
    }
    return SIZE_MAX;
}

static enum st_code apply_new(struct st_queue_applier *a, const struct st_edit *e)
{
    struct st_task_line t;
    if (!st_queue_line_parse(e->after, &a->after, &t))
        return ST_OK;
    size_t i = SIZE_MAX;
#ifndef ST_DEFECT_QUEUE_ANEW
    if (t.seq.n == 0 && t.key.n > 0)
        i = missing_named(a, 'k', t.key);
    else if (t.seq.n == 0)
        i = missing_named(a, 't', t.title);
#endif
    if (i == SIZE_MAX)
        return st_queue_apply_added(a, e->after);
    a->found[i] = true;
    a->loose = true;
    enum st_code code = st_queue_apply_changed(a, &a->edits->list[i], e->after);
    a->loose = false;
    return code;
}

static enum st_code apply(const struct st_view_source *src, const struct st_edits *edits,
                          struct st_file_ops *out)
{
    struct st_queue_applier a = {.src = src, .edits = edits, .out = out};
    st_queue_reader_init(&a.now, src);
    st_rendering_init(&a.dots);
    st_buf_init(&a.before, st_alloc_libc());
    st_buf_init(&a.after, st_alloc_libc());
    enum st_code code = find_missing(&a);
    for (size_t i = 0; code == ST_OK && i < edits->count; i++)
        if (edits->list[i].kind == ST_EDIT_ADDED)
            code = apply_new(&a, &edits->list[i]);
    for (size_t i = 0; code == ST_OK && i < edits->count; i++) {
        const struct st_edit *e = &edits->list[i];
        if (e->kind == ST_EDIT_CHANGED)
            code = st_queue_apply_changed(&a, e, e->after);
        else if (e->kind == ST_EDIT_REMOVED && !a.found[i])
            code = st_queue_apply_removed(&a, e);
    }
    st_queue_reader_release(&a.now);
    st_rendering_release(&a.dots);
    st_buf_release(&a.before);
    st_buf_release(&a.after);
    free(a.missing);
    free(a.found);
    free(a.new_lines);
    return code;
}

static bool shows(const struct st_op *op)
{
    return op->kind != ST_OP_COUNT && st_entity_kind(op->entity) == ST_ENTITY_NUMBERED;
}

const struct st_view st_view_queue = {
    .name = "queue",
    .file = "QUEUE.md",
    .takes_subject = true,
    .names_are_ids = true,
    .shows_claims = true,
    .render = st_queue_render,
    .shows = shows,
    .identify = identify,
    .classify = classify,
    .apply = apply,
    .knows = st_queue_knows,
};
