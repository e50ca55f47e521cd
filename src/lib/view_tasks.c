/*
 * view_tasks.c - what an edit of a view wants of tasks, done as the commands do it: by whoever edits
 * the files of this work tree.
 */
#include "lib/files.h"

#include <stdio.h>
#include <stdlib.h>

struct work {
    strata *s;
    const char *path;
    const struct st_file_ops *ops;
    size_t refused;
};

/* Refused for a reason that stays: told, and the rest goes on. */
static int refusal(struct work *w, int code, const char *id)
{
    switch (code) {
    case STRATA_CONFLICT:
    case STRATA_EXISTS:
    case STRATA_NOT_FOUND:
    case STRATA_INVALID:
    case STRATA_LIMIT:
    case STRATA_DENIED:
        w->refused++;
        st_lib_notice(w->s, "%s: %.100s%s%s", w->path, id, id[0] != '\0' ? ": " : "",
                      w->s->error.message);
        return STRATA_OK;
    default:
        return code;
    }
}

/* --- new tasks -------------------------------------------------------------------------------- */

/* The new line that a name in another means: its key; NULL: none. */
static const char *new_key(const struct work *w, struct st_str name)
{
    for (size_t i = 0; i < w->ops->wish_count; i++) {
        const struct st_wish *x = &w->ops->wishes[i];
        if (x->kind == ST_WISH_ADD &&
            (st_str_equal(x->line.seq, name) || st_str_equal(x->line.key, name)))
            return x->line.key.p;
    }
    return NULL;
}

/* A name as the import wants it: a key, or an entity. Lent by the arena of the edit. */
static const char *link_name(struct work *w, struct st_arena *arena, struct st_str name)
{
    char entity[ST_NUMBERED_SIZE + 1];
    const char *key = new_key(w, name), *text = st_arena_text(arena, name);
    if (key != NULL || text == NULL)
        return key;
    return st_task_find(w->s, text, entity) == STRATA_OK ? st_arena_text(arena, st_str_of(entity))
                                                         : text;
}

static size_t count_names(struct st_str list)
{
    struct st_str name;
    size_t n = 0;
    while (st_task_line_next(&list, &name))
        n++;
    return n;
}

static bool fill_links(struct work *w, struct st_arena *arena, const struct st_task_line *line,
                       strata_task_item *item)
{
    struct st_str list = line->depends, name;
    struct strata_task_link *links = st_arena_take(arena, (count_names(list) + 1) * sizeof *links);
    bool good = links != NULL;
    item->links = links;
    while (good && st_task_line_next(&list, &name)) {
        links[item->link_count] = (struct strata_task_link){"depends", link_name(w, arena, name)};
        good = links[item->link_count++].key != NULL;
    }
    if (good && line->parent.n > 0) {
        item->parent = link_name(w, arena, line->parent);
        good = item->parent != NULL;
    }
    return good;
}

static const char *text_or_null(struct st_str s)
{
    return s.n > 0 ? s.p : NULL;
}

static bool fill_item(struct work *w, struct st_arena *arena, const struct st_wish *x,
                      strata_task_item *item)
{
    const struct st_task_line *line = &x->line;
    *item = (strata_task_item){
        .key = line->key.p,
        .title = line->title.p,
        .state = st_str_equal(x->value, ST_STR("open")) ? NULL : x->value.p,
        .agent = text_or_null(line->agent),
        .channel = text_or_null(line->channel),
        .priority = line->priority >= 0 ? line->priority : STRATA_PRIORITY_NONE,
        .not_before = text_or_null(line->not_before),
    };
    return fill_links(w, arena, line, item);
}

static bool is_new(const struct st_wish *x)
{
    return x->kind == ST_WISH_ADD && x->entity.n == 0;
}

static int add_tasks(struct work *w, size_t count)
{
    strata *s = w->s;
    struct st_arena arena = {NULL};
    strata_task_item *items = calloc(count + 1, sizeof *items);
    strata_task_imported imported = {0};
    size_t n = 0;
    int code = items != NULL ? st_lib_begin(s) : st_lib_fail(s, ST_NO_MEMORY, "out of memory");
    bool good = code == STRATA_OK;
    for (size_t i = 0; good && i < w->ops->wish_count; i++)
        if (is_new(&w->ops->wishes[i]))
            good = fill_item(w, &arena, &w->ops->wishes[i], &items[n++]);
    if (code == STRATA_OK)
        st_lib_end(s);
    if (code == STRATA_OK && !good)
        code = st_lib_fail(s, ST_NO_MEMORY, "out of memory");
    if (code == STRATA_OK)
        code = strata_task_import(s, items, count, false, &imported);
    if (imported.unknown > 0) {
        w->refused++;
        st_lib_notice(s, "%s: new lines name %llu task%s that %s not known", w->path,
                      (unsigned long long)imported.unknown, imported.unknown == 1 ? "" : "s",
                      imported.unknown == 1 ? "is" : "are");
    }
    free(items);
    st_arena_reset(&arena);
    return refusal(w, code, "");
}

/* --- tasks that are there --------------------------------------------------------------------- */

static int depend(struct work *w, const char *id, struct st_str name)
{
    char entity[ST_NUMBERED_SIZE + 1] = "#";
    const char *key = new_key(w, name);
    bool changed;
    if (key != NULL) {
        int code = st_lib_begin(w->s);
        if (code != STRATA_OK)
            return code;
        enum st_code got = st_task_keyed(w->s, key, entity);
        st_lib_end(w->s);
        if (got != ST_OK && got != ST_NOT_FOUND)
            return st_lib_index_fault(w->s, got);
    }
    return strata_task_depend(w->s, id, key != NULL ? entity + 1 : name.p, false, &changed);
}

static int update_state(strata *s, const char *id, const char *word)
{
    strata_task_change change = {.size = sizeof change,
                                 .state = word,
                                 .priority = STRATA_PRIORITY_NONE,
                                 .not_before_ms = UINT64_MAX};
    return strata_task_update(s, id, &change, 0);
}

/* What somebody is at work on is not cancelled by a line that is missing. */
static int cancel(struct work *w, const char *entity)
{
    const struct st_held_one *held = st_task_holder(w->s, st_str_of(entity));
    if (held == NULL || strcmp(held->holder, w->s->agent) == 0)
        return update_state(w->s, entity + 1, "cancelled");
    st_lib_fail(w->s, ST_CONFLICT, "claimed by %s, so not cancelled; `strata cancel` does it",
                held->holder);
    return ST_CONFLICT;
}

static int set_state(struct work *w, const char *entity, const char *word)
{
    enum st_task_state state = st_task_state_of(st_str_of(word));
    const char *id = entity + 1;
    strata_task_end end = {.size = sizeof end, .id = id, .state = word};
    if (state == ST_TASK_CANCELLED)
        return cancel(w, entity);
#ifdef ST_DEFECT_QUEUE_NO_LEDGER
    return update_state(w->s, id, word);
#endif
    if (st_task_finished(state))
        return strata_task_finish(w->s, &end, NULL);
    int code = strata_task_reopen(w->s, id, NULL);
    return code == STRATA_OK && state == ST_TASK_HELD ? update_state(w->s, id, word) : code;
}

static int carry_out(struct work *w)
{
    size_t added = 0;
    int code = STRATA_OK;
    for (size_t i = 0; i < w->ops->wish_count; i++)
        added += is_new(&w->ops->wishes[i]);
    if (added > 0)
        code = add_tasks(w, added);
    for (size_t i = 0; code == STRATA_OK && i < w->ops->wish_count; i++) {
        const struct st_wish *x = &w->ops->wishes[i];
        if (x->kind == ST_WISH_DEPEND)
            code = refusal(w, depend(w, x->entity.p + 1, x->value), x->entity.p + 1);
    }
    if (code == STRATA_OK)
        code = st_task_held(w->s);
    for (size_t i = 0; code == STRATA_OK && i < w->ops->wish_count; i++) {
        const struct st_wish *x = &w->ops->wishes[i];
        if (x->kind == ST_WISH_STATE)
            code = refusal(w, set_state(w, x->entity.p, x->value.p), x->entity.p + 1);
    }
    return code;
}

int st_files_wishes(strata *s, const char *path, const struct st_file_ops *ops, size_t *refused)
{
    struct work w = {.s = s, .path = path, .ops = ops};
    char agent[sizeof s->agent];
    uint64_t incarnation = s->incarnation;
    memcpy(agent, s->agent, sizeof agent);
    st_marks_release(s); /* they are the agent's */
    if (s->files->agent[0] != '\0') {
        snprintf(s->agent, sizeof s->agent, "%s", s->files->agent);
        s->incarnation = 0;
    }
    int code = carry_out(&w);
    st_marks_release(s);
    memcpy(s->agent, agent, sizeof agent);
    s->incarnation = incarnation;
    *refused = w.refused;
    return code;
}
