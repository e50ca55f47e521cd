/*
 * view_facts.c - the facts as a table; with a subject, those of one entity.
 *
 *   | entity | attribute | value |
 *   |---|---|---|
 *   | api | owner | -> ann | <!-- 5f2e9c01d4aa -->
 *   | api | port | 9090 | <!-- 0c41d9e2b771 -->
 *   | api | tag | + public | <!-- 8812aa09c3de -->
 *
 * `-> x` is a link to the entity x, `+ x` one member of an attribute that has several. What stands
 * behind the last bar is the id: of the attribute, or of one of its members. A new line has none.
 *
 * An attribute with several values that nobody has settled has a line for each, marked `pending`;
 * the first is the one that is shown. To delete all but one settles it. `\unset` is the value of
 * somebody who took the value away.
 *
 * Inside a cell: \\ \| \n \r \t \s (a space at an end) \< (of a comment) and a backslash before a
 * leading `-> ` or `+ ` that is text. Any other backslash stands for itself.
 *
 * Tasks and documents, whose entities begin with # and a digit or with file:, have views of their
 * own.
 */
#include "files/view.h"

#include "store/alloc.h"
#include "store/log.h"

#include <stdio.h>
#include <stdlib.h>

/* --- cells ------------------------------------------------------------------------------------ */

static void add_cell(struct st_buf *out, struct st_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        struct st_str rest = {s.p + i, s.n - i};
        size_t spaces = i;
        while (c == ' ' && spaces < s.n && s.p[spaces] == ' ')
            spaces++;
        bool at_end = c == ' ' && (spaces == s.n || i == 0 || out->p[out->n - 1] == 's');
        const char *spelled = c == '\\'                      ? "\\\\"
                              : c == '|'                     ? "\\|"
                              : c == '\n'                    ? "\\n"
                              : c == '\r'                    ? "\\r"
                              : c == '\t'                    ? "\\t"
                              : st_line_starts(rest, "<!--") ? "\\<"
                              : at_end && i == 0             ? "\\s"
                              : at_end && spaces == s.n      ? "\\s"
                                                             : NULL;
        if (spelled != NULL)
            st_buf_add_text(out, spelled);
        else
            st_buf_add_char(out, c);
    }
}

static void add_value_cell(struct st_buf *out, const struct st_view_fact *f)
{
    if (f->kind == ST_ITEM_ABSENT) {
        st_buf_add_text(out, "\\unset");
        return;
    }
    if (f->kind == ST_ITEM_MEMBER)
        st_buf_add_text(out, "+ ");
    if (f->link)
        st_buf_add_text(out, "-> ");
    else if (st_line_starts(f->value, "-> ") ||
             (f->kind != ST_ITEM_MEMBER &&
              (st_line_starts(f->value, "+ ") || st_str_equal(f->value, ST_STR("+")))))
        st_buf_add_char(out, '\\');
    add_cell(out, f->value);
}

static char unescaped(char c)
{
    switch (c) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 's':
        return ' ';
    case '\\':
    case '|':
    case '<':
    case '-':
    case '+':
        return c;
    default:
        return '\0';
    }
}

static void add_decoded(struct st_buf *out, struct st_str cell)
{
    for (size_t i = 0; i < cell.n; i++) {
        char c = cell.p[i] == '\\' && i + 1 < cell.n ? unescaped(cell.p[i + 1]) : '\0';
        i += c != '\0';
        st_buf_add_char(out, c != '\0' ? c : cell.p[i]);
    }
}

#define CELLS_MAX 4

/* The cells of a row, trimmed; *tail is what stands behind the last bar. */
static size_t split_row(struct st_str line, struct st_str cells[CELLS_MAX], struct st_str *tail)
{
    line = st_line_trim(line);
    size_t count = 0, from = 1;
    *tail = (struct st_str){"", 0};
    if (line.n == 0 || line.p[0] != '|')
        return 0;
    for (size_t i = 1; i < line.n; i++) {
        if (line.p[i] == '\\') {
            i++;
            continue;
        }
        if (line.p[i] != '|')
            continue;
        if (count < CELLS_MAX)
            cells[count] = st_line_trim((struct st_str){line.p + from, i - from});
        count++;
        from = i + 1;
    }
    *tail = st_line_trim((struct st_str){line.p + from, line.n - from});
    return count;
}

/* --- lines ------------------------------------------------------------------------------------ */

#define ID_SIZE 12

static const char *const heads[] = {"| entity | attribute | value |", "|---|---|---|",
                                    "| attribute | value |", "|---|---|"};

/* "<!-- 0c41d9e2b771 pending -->" */
static bool id_of_tail(struct st_str tail, struct st_str *id)
{
    if (tail.n < 5 + ID_SIZE + 4 || memcmp(tail.p, "<!-- ", 5) != 0 ||
        memcmp(tail.p + tail.n - 3, "-->", 3) != 0)
        return false;
    *id = (struct st_str){tail.p + 5, ID_SIZE};
    for (size_t i = 0; i < ID_SIZE; i++) {
        char c = id->p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return tail.p[5 + ID_SIZE] == ' ';
}

static bool identify(struct st_str line, struct st_str *id)
{
    struct st_str cells[CELLS_MAX], tail;
    return split_row(line, cells, &tail) > 0 && id_of_tail(tail, id);
}

static void decode_value(struct st_str cell, struct st_view_fact *f, struct st_buf *out)
{
    f->kind = ST_ITEM_VALUE;
    if (st_str_equal(cell, ST_STR("\\unset"))) {
        f->kind = ST_ITEM_ABSENT;
        return;
    }
    if (st_line_starts(cell, "+ ") || st_str_equal(cell, ST_STR("+"))) {
        f->kind = ST_ITEM_MEMBER;
        cell = st_line_trim((struct st_str){cell.p + 1, cell.n - 1});
    }
    if (st_line_starts(cell, "-> ")) {
        f->link = true;
        cell = st_line_trim((struct st_str){cell.p + 3, cell.n - 3});
    }
    add_decoded(out, cell);
}

/*
 * The fact of a row: two cells (subject says whose) or three. The subject may be empty: then a row
 * with two cells is checked for form only. Strings are lent by `text`.
 */
static bool parse(struct st_str line, struct st_str subject, struct st_buf *text,
                  struct st_view_fact *f)
{
    struct st_str cells[CELLS_MAX], tail;
    size_t n = split_row(line, cells, &tail), at[3];
    *f = (struct st_view_fact){0};
    st_buf_reset(text);
    if (n != 2 && n != 3)
        return false;
    if (n == 3)
        add_decoded(text, cells[0]);
    else
        st_buf_add_str(text, subject.n > 0 ? subject : ST_STR("x"));
    at[0] = text->n;
    add_decoded(text, cells[n - 2]);
    at[1] = text->n;
    decode_value(cells[n - 1], f, text);
    at[2] = text->n;
    if (text->failed)
        return false;
    f->entity = (struct st_str){text->p, at[0]};
    f->attribute = (struct st_str){text->p + at[0], at[1] - at[0]};
    f->value = (struct st_str){text->p + at[1], at[2] - at[1]};
    return st_entity_kind(f->entity) == ST_ENTITY_FACT && st_name_check(f->entity) == ST_OK &&
           st_name_check(f->attribute) == ST_OK &&
           (f->link ? st_name_check(f->value) : st_value_check(f->value)) == ST_OK;
}

static enum st_line_class classify(struct st_str line)
{
    struct st_str id;
    struct st_buf text;
    struct st_view_fact f;
    line = st_line_trim(line);
    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++)
        if (st_str_equal(line, st_str_of(heads[i])))
            return ST_LINE_FIXED;
    st_buf_init(&text, st_alloc_libc());
    bool good = parse(line, (struct st_str){"", 0}, &text, &f);
    st_buf_release(&text);
    if (!good)
        return ST_LINE_OTHER;
    return identify(line, &id) ? ST_LINE_ITEM : ST_LINE_NEW;
}

/* --- rendering -------------------------------------------------------------------------------- */

struct renderer {
    const struct st_view_source *src;
    struct st_rendering *out;
    struct st_buf id;
};

/* What an id stands for: the attribute; one of several values of it; a member. */
static void add_id(struct renderer *r, const struct st_view_fact *f, const struct st_dot *candidate)
{
    struct st_buf *id = &r->id;
    st_buf_reset(id);
    st_buf_add_str(id, f->entity);
    st_buf_add_char(id, '\0');
    st_buf_add_str(id, f->attribute);
    st_buf_add_char(id, '\0');
    if (f->kind == ST_ITEM_MEMBER) {
        st_buf_add_char(id, f->link ? 'l' : 'm');
        st_buf_add_str(id, f->value);
    } else if (candidate != NULL) {
        st_buf_add_char(id, 'c');
        st_dot_add(id, *candidate);
    }
    uint64_t hash = st_checksum(id->p, id->n);
    char text[24];
    snprintf(text, sizeof text, "%012llx", (unsigned long long)(hash & 0xffffffffffff));
    st_buf_add_text(&r->out->text, text);
}

static void render_line(struct renderer *r, const struct st_view_fact *f,
                        const struct st_dot *candidate, bool pending)
{
    struct st_buf *t = &r->out->text;
    st_buf_add_text(t, "| ");
    if (r->src->subject[0] == '\0') {
        add_cell(t, f->entity);
        st_buf_add_text(t, " | ");
    }
    add_cell(t, f->attribute);
    st_buf_add_text(t, " | ");
    add_value_cell(t, f);
    st_buf_add_text(t, " | <!-- ");
    add_id(r, f, candidate);
    st_buf_add_text(t, pending ? " pending -->" : " -->");
    st_rendering_end_line(r->out);
}

static struct st_view_fact fact_of(const struct st_attribute *a, const struct st_item *item)
{
    return (struct st_view_fact){a->entity, a->attribute, item->value, item->kind,
                                 item->value_kind == ST_VALUE_LINK};
}

static bool same_value(const struct st_item *a, const struct st_item *b)
{
    return a->kind == b->kind && a->value_kind == b->value_kind && st_str_equal(a->value, b->value);
}

/* The values of an attribute that are pending: one line each, equal ones together, the shown first.
 */
static void render_candidates(struct renderer *r, const struct st_attribute *a, size_t count)
{
    for (size_t n = 0; n < count; n++) {
        size_t i = n == 0 ? a->shown : n <= a->shown ? n - 1 : n;
        bool first = true;
        for (size_t k = 0; k < n && first; k++)
            first = !same_value(&a->items[k == 0          ? a->shown
                                          : k <= a->shown ? k - 1
                                                          : k],
                                &a->items[i]);
        if (!first)
            continue;
        for (size_t k = 0; k < count; k++)
            if (same_value(&a->items[k], &a->items[i]))
                st_rendering_add_dot(r->out, a->items[k].dot);
        struct st_view_fact f = fact_of(a, &a->items[i]);
        render_line(r, &f, n == 0 ? NULL : &a->items[i].dot, true);
    }
}

static void render_members(struct renderer *r, const struct st_attribute *a, size_t from)
{
    for (size_t i = from; i < a->count; i++) {
        st_rendering_add_dot(r->out, a->items[i].dot);
        if (i + 1 < a->count && same_value(&a->items[i], &a->items[i + 1]))
            continue; /* several additions of one member */
        struct st_view_fact f = fact_of(a, &a->items[i]);
        render_line(r, &f, NULL, false);
    }
}

static enum st_code render_attribute(void *arg, const struct st_attribute *a)
{
    struct renderer *r = arg;
    size_t registers = 0;
    if (st_entity_kind(a->entity) != ST_ENTITY_FACT || (!a->present && !a->pending))
        return ST_OK;
    while (registers < a->count && a->items[registers].kind != ST_ITEM_MEMBER)
        registers++;
    if (a->pending && a->shown < registers) {
        render_candidates(r, a, registers);
    } else if (a->shown < registers && a->items[a->shown].kind == ST_ITEM_VALUE) {
        for (size_t i = 0; i < registers; i++)
            st_rendering_add_dot(r->out, a->items[i].dot);
        struct st_view_fact f = fact_of(a, &a->items[a->shown]);
        render_line(r, &f, NULL, false);
    }
    render_members(r, a, registers);
    return r->out->failed ? ST_NO_MEMORY : ST_OK;
}

static enum st_code render(const struct st_view_source *src, struct st_rendering *out)
{
    struct renderer r = {.src = src, .out = out};
    struct st_read_scratch scratch;
    const char *const *head = src->subject[0] == '\0' ? heads : heads + 2;
    for (size_t i = 0; i < 2; i++) {
        st_buf_add_text(&out->text, head[i]);
        st_rendering_end_line(out);
    }
    st_buf_init(&r.id, st_alloc_libc());
    st_read_scratch_init(&scratch, st_alloc_libc());
    enum st_code code = st_attribute_each(src->kv, st_str_of(src->subject), (struct st_str){"", 0},
                                          (struct st_str){"", 0}, &scratch, render_attribute, &r);
    st_read_scratch_release(&scratch);
    if (r.id.failed)
        code = ST_NO_MEMORY;
    st_buf_release(&r.id);
    return code;
}

/* --- edits ------------------------------------------------------------------------------------ */

struct applier {
    const struct st_view_source *src;
    struct st_file_ops *out;
    struct st_read_scratch scratch;
    struct st_buf before, after;
    struct st_dot *dots; /* of a group */
    size_t dot_cap;
};

static enum st_code add_op(struct applier *a, enum st_op_kind kind, const struct st_view_fact *f,
                           const struct st_dot *dots, size_t count)
{
    return st_view_op_add(a->out, kind, f, dots, count) ? ST_OK : ST_NO_MEMORY;
}

static enum st_code write_register(struct applier *a, const struct st_view_fact *f,
                                   const struct st_view_fact *was, const struct st_dot *dots,
                                   size_t count)
{
    return st_view_register_write(a->src, f, was, dots, count, &a->scratch, a->out);
}

/* A line without an id. It supersedes only that there was nothing. */
static enum st_code add_fact(struct applier *a, const struct st_view_fact *f)
{
    struct st_attribute now;
    enum st_code code = st_attribute_read(a->src->kv, f->entity, f->attribute, &a->scratch, &now);
    if (code != ST_OK || f->kind == ST_ITEM_ABSENT)
        return code;
    size_t n = 0;
    struct st_dot absences[16];
    for (size_t i = 0; i < now.count; i++) {
        if (st_view_item_is(&now.items[i], f))
            return ST_OK;
        if (now.items[i].kind == ST_ITEM_ABSENT && n < 16)
            absences[n++] = now.items[i].dot;
    }
    enum st_op_kind kind = f->kind == ST_ITEM_MEMBER ? ST_OP_ADD : ST_OP_SET;
    return add_op(a, kind, f, absences, now.present ? 0 : n);
}

static enum st_code remove_member(struct applier *a, const struct st_view_fact *f,
                                  const struct st_edit *e)
{
    struct st_attribute now;
    enum st_code code = st_attribute_read(a->src->kv, f->entity, f->attribute, &a->scratch, &now);
    for (size_t i = 0; code == ST_OK && i < now.count; i++)
        if (st_view_has_dot(e->dots, e->dot_count, now.items[i].dot) &&
            st_view_item_is(&now.items[i], f))
            return add_op(a, ST_OP_REMOVE, f, e->dots, e->dot_count);
    return code; /* gone already, or added anew since */
}

static enum st_code knows(const struct st_view_source *src, struct st_str line,
                          struct st_str before, bool *known)
{
    (void)before; /* a line says one thing */
    struct st_buf text;
    struct st_view_fact f;
    enum st_code code = ST_OK;
    *known = classify(line) == ST_LINE_FIXED;
    st_buf_init(&text, st_alloc_libc());
    if (!*known && parse(line, st_str_of(src->subject), &text, &f))
        code = st_view_was_written(src, &f, known);
    st_buf_release(&text);
    return code;
}

static bool same_attribute(const struct st_view_fact *a, const struct st_view_fact *b)
{
    return st_str_equal(a->entity, b->entity) && st_str_equal(a->attribute, b->attribute);
}

static bool parse_edit(struct applier *a, const struct st_edit *e, struct st_view_fact *before,
                       struct st_view_fact *after)
{
    struct st_str subject = st_str_of(a->src->subject);
    bool had = e->before.n == 0 || parse(e->before, subject, &a->before, before);
    bool has = e->after.n == 0 || parse(e->after, subject, &a->after, after);
    return had && has;
}

/* What is left of one line of a group: its value, if it is still a value of the same attribute. */
static bool left_of(struct applier *a, const struct st_edit *e, struct st_view_fact *before,
                    struct st_view_fact *after)
{
    if (!parse_edit(a, e, before, after) || e->kind == ST_EDIT_REMOVED)
        return false;
    return after->kind != ST_ITEM_MEMBER && same_attribute(before, after);
}

/* The lines of one attribute, several when it is pending: `all` has what they all show. */
static enum st_code apply_group(struct applier *a, const struct st_edit *e, size_t n)
{
    struct st_view_fact before = {0}, after = {0};
    size_t left = 0, all = 0;
    enum st_code code = ST_OK;
    for (size_t i = 0; i < n; i++)
        all += e[i].dot_count;
    if (!st_grow(&a->dots, &a->dot_cap, all, sizeof *a->dots))
        return ST_NO_MEMORY;
    all = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(a->dots + all, e[i].dots, e[i].dot_count * sizeof *a->dots);
        all += e[i].dot_count;
        left += left_of(a, &e[i], &before, &after);
    }
    for (size_t i = 0; code == ST_OK && i < n; i++) {
        bool stays = left_of(a, &e[i], &before, &after);
        bool settled = left < n; /* lines went: those that stay are the answer */
        if (stays && settled)
            code = write_register(a, &after, &before, a->dots, all);
        else if (stays && e[i].kind == ST_EDIT_CHANGED)
            code = write_register(a, &after, &before, e[i].dots, e[i].dot_count);
        else if (!stays && left == 0 && i == 0) {
            struct st_view_fact absent = {
                before.entity, before.attribute, {"", 0}, ST_ITEM_ABSENT, false};
            code = write_register(a, &absent, &before, a->dots, all);
        }
        if (code == ST_OK && !stays && e[i].kind == ST_EDIT_CHANGED &&
            parse_edit(a, &e[i], &before, &after))
            code = add_fact(a, &after); /* it became a line of another attribute */
    }
    return code;
}

static enum st_code apply_member(struct applier *a, const struct st_edit *e)
{
    struct st_view_fact before = {0}, after = {0};
    if (!parse_edit(a, e, &before, &after))
        return ST_OK;
    enum st_code code = remove_member(a, &before, e);
    if (code == ST_OK && e->kind == ST_EDIT_CHANGED)
        code = add_fact(a, &after);
    return code;
}

/* How many lines from e on show values of one attribute; 0: it shows a member. */
static size_t group_size(struct applier *a, const struct st_edit *e, size_t count)
{
    struct st_str subject = st_str_of(a->src->subject);
    struct st_view_fact first, other;
    if (!parse(e->before, subject, &a->before, &first) || first.kind == ST_ITEM_MEMBER)
        return 0;
    size_t n = 1;
    while (n < count && e[n].before.n > 0 && parse(e[n].before, subject, &a->after, &other) &&
           other.kind != ST_ITEM_MEMBER && same_attribute(&first, &other))
        n++;
    return n;
}

static bool all_kept(const struct st_edit *e, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (e[i].kind != ST_EDIT_KEPT)
            return false;
    return true;
}

static enum st_code apply_added(struct applier *a, const struct st_edit *e)
{
    struct st_view_fact before = {0}, after = {0};
    return parse_edit(a, e, &before, &after) ? add_fact(a, &after) : ST_OK;
}

static enum st_code apply(const struct st_view_source *src, const struct st_edits *edits,
                          struct st_file_ops *out)
{
    struct applier a = {.src = src, .out = out};
    enum st_code code = ST_OK;
    st_read_scratch_init(&a.scratch, st_alloc_libc());
    st_buf_init(&a.before, st_alloc_libc());
    st_buf_init(&a.after, st_alloc_libc());
    for (size_t i = 0; code == ST_OK && i < edits->count;) {
        const struct st_edit *e = &edits->list[i];
        size_t n = 1;
        if (e->kind == ST_EDIT_ADDED) {
            code = apply_added(&a, e);
        } else if ((n = group_size(&a, e, edits->count - i)) == 0) {
            n = 1;
            if (e->kind != ST_EDIT_KEPT)
                code = apply_member(&a, e);
        } else if (!all_kept(e, n)) {
            code = apply_group(&a, e, n);
        }
        i += n;
    }
    st_buf_release(&a.before);
    st_buf_release(&a.after);
    st_read_scratch_release(&a.scratch);
    free(a.dots);
    return code;
}

static bool shows(const struct st_op *op)
{
    return st_entity_kind(op->entity) == ST_ENTITY_FACT && op->kind != ST_OP_COUNT &&
           op->kind != ST_OP_BEAT && op->kind != ST_OP_ACK;
}

const struct st_view st_view_facts = {
    .name = "facts",
    .file = "FACTS.md",
    .takes_subject = true,
    .render = render,
    .shows = shows,
    .identify = identify,
    .classify = classify,
    .apply = apply,
    .knows = knows,
};
