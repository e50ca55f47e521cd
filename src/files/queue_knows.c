/*
 * queue_knows.c - whether what a line of a queue says has been in the state: for merging blocks of
 * which not every rendering is known here (lib/view_merge.c).
 *
 * A line says many things of one task. What it says otherwise than the line before has to be what the
 * state says now, or to have been written at some time. Who holds a task is not the log's to say,
 * and left out.
 */
#include "files/queue_rows.h"

#include <stdio.h>

/* A task's line after and before, and as it would be now. */
struct look {
    const struct st_view_source *src;
    struct st_str entity;
    const struct st_task_line *after, *before, *now; /* before: NULL: there was none */
};

static enum st_code was_written(const struct look *l, const char *attribute, struct st_str value,
                                enum st_item_kind kind, bool link, bool *known)
{
    struct st_view_fact f = {.entity = l->entity,
                             .attribute = st_str_of(attribute),
                             .value = value,
                             .kind = kind,
                             .link = link};
    return st_view_was_written(l->src, &f, known);
}

/* `usual`: what an attribute that is not there means. */
static enum st_code field_known(const struct look *l, const char *attribute, struct st_str after,
                                struct st_str before, struct st_str now, struct st_str usual,
                                bool *known)
{
    bool absent = after.n == 0 || st_str_equal(after, usual);
    *known = st_str_equal(after, now) || (l->before != NULL ? st_str_equal(after, before) : absent);
    if (*known)
        return ST_OK;
    enum st_code code = ST_OK;
    if (absent)
        code = was_written(l, attribute, (struct st_str){"", 0}, ST_ITEM_ABSENT, false, known);
    struct st_str value = after.n > 0 ? after : usual;
    return code == ST_OK && !*known && value.n > 0
               ? was_written(l, attribute, value, ST_ITEM_VALUE, false, known)
               : code;
}

static enum st_code parent_known(const struct look *l, bool *known)
{
    char name[ST_NUMBERED_SIZE + 1];
    struct st_str after = l->after->parent;
    int n = snprintf(name, sizeof name, "#%.*s", (int)after.n, after.p);
    if (after.n == 0 || st_str_equal(after, l->now->parent) || n >= (int)sizeof name ||
        (l->before != NULL && st_str_equal(after, l->before->parent)))
        return field_known(l, "parent", after,
                           l->before != NULL ? l->before->parent : (struct st_str){"", 0},
                           l->now->parent, (struct st_str){"", 0}, known);
    return was_written(l, "parent", (struct st_str){name, (size_t)n}, ST_ITEM_VALUE, true, known);
}

static bool lists(struct st_str list, struct st_str wanted)
{
    struct st_str name;
    while (st_task_line_next(&list, &name))
        if (st_str_equal(name, wanted))
            return true;
    return false;
}

/* What was added has to be there, or to have been; what was taken out must not be there. */
static enum st_code depends_known(const struct look *l, bool *known)
{
    char target[ST_NUMBERED_SIZE + 1];
    struct st_str none = {"", 0}, name, before = l->before != NULL ? l->before->depends : none;
    struct st_str list = l->after->depends;
    enum st_code code = ST_OK;
    *known = true;
    while (code == ST_OK && *known && st_task_line_next(&list, &name)) {
        if (lists(before, name) || lists(l->now->depends, name))
            continue;
        int n = snprintf(target, sizeof target, "#%.*s", (int)name.n, name.p);
        *known = n < (int)sizeof target;
        if (*known)
            code = was_written(l, "depends", (struct st_str){target, (size_t)n}, ST_ITEM_MEMBER,
                               true, known);
    }
    list = before;
    while (*known && st_task_line_next(&list, &name))
        *known = lists(l->after->depends, name) || !lists(l->now->depends, name);
    return code;
}

static enum st_code all_known(const struct look *l, bool *known)
{
    static const struct st_task_line nothing = {.priority = -1};
    const struct st_task_line *a = l->after, *n = l->now;
    const struct st_task_line *b = l->before != NULL ? l->before : &nothing;
    struct st_str none = {"", 0};
    struct st_str channel =
        l->src->subject[0] != '\0' ? st_str_of(l->src->subject) : ST_STR(ST_CHANNEL_DEFAULT);
    struct {
        const char *attribute;
        struct st_str after, before, now, usual;
    } fields[] = {
        {"title", a->title, b->title, n->title, none},
        {"agent", a->agent, b->agent, n->agent, none},
        {"channel", a->channel, b->channel, n->channel, channel},
        {"priority", st_queue_priority(a), st_queue_priority(b), st_queue_priority(n), ST_STR("2")},
        {"not_before", a->not_before, b->not_before, n->not_before, none},
        {"state", st_queue_word_of(a, NULL), l->before != NULL ? st_queue_word_of(b, NULL) : none,
         st_queue_word_of(n, NULL), ST_STR("open")},
    };
    enum st_code code = ST_OK;
    *known = true;
    for (size_t i = 0; code == ST_OK && *known && i < sizeof fields / sizeof *fields; i++)
        code = field_known(l, fields[i].attribute, fields[i].after, fields[i].before, fields[i].now,
                           fields[i].usual, known);
    if (code == ST_OK && *known)
        code = parent_known(l, known);
    return code == ST_OK && *known ? depends_known(l, known) : code;
}

enum st_code st_queue_knows(const struct st_view_source *src, struct st_str line,
                            struct st_str before, bool *known)
{
    struct st_queue_reader now;
    struct st_buf text, before_text;
    struct st_task_line after, was;
    char name[ST_NUMBERED_SIZE + 1];
    enum st_code code = ST_OK;
    st_buf_init(&text, st_alloc_libc());
    st_buf_init(&before_text, st_alloc_libc());
    st_queue_reader_init(&now, src);
    *known = st_view_queue.classify(line) == ST_LINE_FIXED;
#ifdef ST_DEFECT_QUEUE_KNOWS_NOTHING
    return ST_OK;
#elif defined(ST_DEFECT_QUEUE_KNOWS_ALL)
    *known = true;
    return ST_OK;
#endif
    if (!*known && st_queue_line_parse(line, &text, &after) && after.seq.n > 0) {
        int n = snprintf(name, sizeof name, "#%.*s", (int)after.seq.n, after.seq.p);
        struct look l = {.src = src, .entity = {name, (size_t)n}, .after = &after};
        l.now = &now.line;
        if (before.n > 0 && st_queue_line_parse(before, &before_text, &was))
            l.before = &was;
        code = st_queue_task_read(&now, l.entity);
        if (code == ST_OK)
            code = all_known(&l, known);
        else if (code == ST_NOT_FOUND)
            code = ST_OK;
    }
    st_queue_reader_release(&now);
    st_buf_release(&text);
    st_buf_release(&before_text);
    return code;
}
