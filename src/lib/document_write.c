/*
 * document_write.c - writing a version of a tracked file, and settling several that are pending.
 */
#include "lib/document.h"

#include <stdio.h>
#include <stdlib.h>

int st_document_check(struct st_document *d, struct st_str text)
{
    if (text.n > ST_DOCUMENT_SIZE_MAX) {
        st_lib_fail(d->s, ST_LIMIT, "%s is %zu bytes long; the limit of a tracked file is %d",
                    d->e->path, text.n, ST_DOCUMENT_SIZE_MAX);
        st_lib_hint(d->s, "it was not touched; `strata append` works without tracking");
        return ST_LIMIT;
    }
    for (size_t i = 0, line = 1; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        line += c == '\n';
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f)
            return st_lib_fail(d->s, ST_INVALID,
                               "line %zu of %s has the control character \\x%02x: it is no text, "
                               "and was not taken in",
                               line, d->e->path, c);
    }
    if (!st_utf8_valid(text))
        return st_lib_fail(d->s, ST_INVALID, "%s is not UTF-8, and was not taken in", d->e->path);
    return STRATA_OK;
}

/* Where the part that starts at p ends: at most ST_PART_SIZE, not inside a character. */
static size_t part_size(struct st_str rest)
{
    size_t n = rest.n < ST_PART_SIZE ? rest.n : ST_PART_SIZE;
    while (n > 0 && n < rest.n && ((unsigned char)rest.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

static bool has_part(const struct st_file_ops *ops, struct st_str name)
{
    for (size_t i = 0; i < ops->count; i++)
        if (st_str_equal(ops->list[i].op.attribute, name))
            return true;
    return false;
}

/* What other versions have behind the end of this one goes. Between begin and end of a read. */
static enum st_code unset_rest(strata *s, struct st_str agent, struct st_str entity,
                               const struct st_dot *dots, size_t dot_count, struct st_file_ops *ops)
{
    enum st_code code = ST_OK;
    for (size_t i = 0; code == ST_OK && i < ST_DOCUMENT_PARTS_MAX; i++) {
        char name[ST_PART_NAME_SIZE];
        struct st_attribute a;
        struct st_op op = {.kind = ST_OP_UNSET,
                           .entity = entity,
                           .attribute = st_part_name(i, name),
                           .has_at = true};
        if (has_part(ops, op.attribute))
            continue;
        code = st_attribute_read(st_index_kv(s->index), op.entity, op.attribute, &s->read, &a);
        if (code == ST_OK && a.present && !st_file_ops_add(ops, agent, &op, dots, dot_count))
            code = ST_NO_MEMORY;
    }
    return code;
}

/* Says that the version has all of another but for overlaps. */
static bool add_merged(struct st_document *d, struct st_dot merged, struct st_file_ops *ops)
{
    struct st_vector_entry entry = {merged.writer, merged.counter};
    struct st_op op = {.kind = ST_OP_SEEN, .vector = {.entries = &entry, .count = 1, .cap = 1}};
    return st_file_ops_add(ops, st_str_of(d->author), &op, NULL, 0);
}

int st_document_write(struct st_document *d, struct st_str text, const struct st_dot *replaces,
                      size_t count, struct st_dot read, const struct st_version *merged)
{
    struct st_file_ops ops = {0};
    struct st_str rest = text;
    bool good = true;
    int code = st_document_check(d, text);
    for (size_t i = 0; code == STRATA_OK && good && i < ST_DOCUMENT_PARTS_MAX; i++) {
        char name[ST_PART_NAME_SIZE];
        size_t n = part_size(rest);
        struct st_op op = {.kind = ST_OP_SET,
                           .entity = st_str_of(d->entity),
                           .attribute = st_part_name(i, name),
                           .value = {rest.p, n},
                           .has_at = true};
        if (i == 0)
            op.dot = read;
        good = st_file_ops_add(&ops, st_str_of(d->author), &op, replaces, count);
        rest.p += n;
        rest.n -= n;
        if (rest.n == 0)
            break;
    }
    if (!good)
        code = st_lib_no_memory(d->s);
    if (code == STRATA_OK && count > 0)
        code = st_lib_begin(d->s);
    if (code == STRATA_OK && count > 0) {
        enum st_code got =
            unset_rest(d->s, st_str_of(d->author), st_str_of(d->entity), replaces, count, &ops);
        st_lib_end(d->s);
        code = got == ST_OK ? STRATA_OK : st_lib_index_fault(d->s, got);
    }
#ifndef ST_DEFECT_MERGED_FORGOTTEN
    if (code == STRATA_OK && merged != NULL && !add_merged(d, merged->dot, &ops))
        code = st_lib_no_memory(d->s);
#else
    (void)merged;
#endif
    if (code == STRATA_OK)
        code = st_files_write(d->s, &ops);
    if (code == STRATA_OK && d->s->files->result != NULL)
        d->s->files->result->taken_in++;
    st_file_ops_release(&ops);
    return code == STRATA_OK ? st_versions_read(d->s, d->entity, &d->h) : code;
}

/* --- settling --------------------------------------------------------------------------------- */

bool st_document_part(struct st_str entity, struct st_str attribute)
{
    char name[ST_PART_NAME_SIZE];
    if (st_entity_kind(entity) != ST_ENTITY_DOCUMENT)
        return false;
    for (size_t i = 0; i < ST_DOCUMENT_PARTS_MAX; i++)
        if (st_str_equal(attribute, st_part_name(i, name)))
            return true;
    return false;
}

/* The operations of the record that made a version, its parts. */
static enum st_code add_parts(strata *s, const struct st_op *like, struct st_dot chosen,
                              uint32_t chosen_op, const struct st_dot *dots, size_t dot_count,
                              struct st_file_ops *ops)
{
    uint64_t number;
    struct st_index_entry entry;
    struct st_record r;
    enum st_code code =
        st_history_find(s, like->entity, like->attribute, chosen, chosen_op, &number);
    if (code == ST_OK)
        code = st_index_entry(s->index, number, &entry);
    if (code == ST_OK)
        code = st_index_record(s->index, &entry, &r);
    for (size_t i = 0; code == ST_OK && i < r.op_count; i++) {
        struct st_op op = {.kind = ST_OP_SET,
                           .entity = like->entity,
                           .attribute = r.ops[i].attribute,
                           .value = r.ops[i].value,
                           .has_at = true};
        if (r.ops[i].kind != ST_OP_SET || !st_str_equal(r.ops[i].entity, like->entity) ||
            !st_document_part(like->entity, op.attribute))
            continue;
        if (!st_file_ops_add(ops, (struct st_str){"", 0}, &op, dots, dot_count))
            code = ST_NO_MEMORY;
    }
    return code;
}

enum st_code st_document_settle(strata *s, const struct st_op *like, const struct st_dot *chosen,
                                uint32_t chosen_op, struct st_file_ops *ops)
{
    struct st_attribute a;
    enum st_code code =
        st_attribute_read(st_index_kv(s->index), like->entity, like->attribute, &s->read, &a);
    if (code != ST_OK)
        return code;
    size_t dot_count = a.count;
    struct st_dot *dots = calloc(dot_count + 1, sizeof *dots);
    if (dots == NULL)
        return ST_NO_MEMORY;
    for (size_t i = 0; i < dot_count; i++)
        dots[i] = a.items[i].dot;
    if (chosen != NULL) {
        code = add_parts(s, like, *chosen, chosen_op, dots, dot_count, ops);
    } else if (like->kind == ST_OP_SET) {
        struct st_op op = *like;
        op.attribute = ST_STR(ST_DOCUMENT_ATTRIBUTE);
        op.has_at = true;
        if (!st_file_ops_add(ops, (struct st_str){"", 0}, &op, dots, dot_count))
            code = ST_NO_MEMORY;
    }
    if (code == ST_OK)
        code = unset_rest(s, (struct st_str){"", 0}, like->entity, dots, dot_count, ops);
    free(dots);
    return code;
}
