/*
 * view_write.c - edited lines that say something of an attribute become operations.
 */
#include "files/view.h"

#include "store/alloc.h"
#include "store/index.h"

#include <stdlib.h>

bool st_view_has_dot(const struct st_dot *dots, size_t count, struct st_dot dot)
{
    for (size_t i = 0; i < count; i++)
        if (st_dot_compare(dots[i], dot) == 0)
            return true;
    return false;
}

bool st_view_item_is(const struct st_item *item, const struct st_view_fact *f)
{
    return item->kind == f->kind && (item->value_kind == ST_VALUE_LINK) == f->link &&
           st_str_equal(item->value, f->value);
}

bool st_view_op_add(struct st_file_ops *ops, enum st_op_kind kind, const struct st_view_fact *f,
                    const struct st_dot *dots, size_t count)
{
    struct st_op op = {
        .kind = kind,
        .entity = f->entity,
        .attribute = f->attribute,
        .value_kind = f->link ? ST_VALUE_LINK : ST_VALUE_TEXT,
        .has_at = kind != ST_OP_ADD,
    };
    if (kind != ST_OP_UNSET)
        op.value = f->value;
    return st_file_ops_add(ops, (struct st_str){"", 0}, &op, dots, count);
}

/* How many writes of an attribute are looked back through, to see whether something was there before.
 */
#define LOOK_BACK_MAX 256

/* Whether the operation made such an item. */
static bool made(const struct st_op *op, const struct st_view_fact *f)
{
    if (f->kind == ST_ITEM_ABSENT)
        return op->kind == ST_OP_UNSET;
    return op->kind == (f->kind == ST_ITEM_MEMBER ? ST_OP_ADD : ST_OP_SET) &&
           st_str_equal(op->value, f->value) && (op->value_kind == ST_VALUE_LINK) == f->link;
}

enum st_code st_view_was_written(const struct st_view_source *src, const struct st_view_fact *f,
                                 bool *was)
{
    struct st_buf key;
    uint64_t number = 0;
    *was = false;
    if (src->index == NULL)
        return ST_OK;
    st_buf_init(&key, st_alloc_libc());
    st_key_register(&key, f->entity, f->attribute);
    enum st_code code =
        key.failed ? ST_NO_MEMORY : st_index_head(src->index, st_buf_str(&key), &number);
    st_buf_release(&key);
    for (int i = 0; code == ST_OK && number != 0 && !*was && i < LOOK_BACK_MAX; i++) {
        struct st_index_entry entry;
        struct st_record r;
        code = st_index_entry(src->index, number, &entry);
        if (code == ST_OK)
            code = st_index_record(src->index, &entry, &r);
        if (code == ST_OK)
            *was = made(&r.ops[entry.op], f);
        number = entry.previous;
    }
    return code;
}

/* A process that took the edit in may have died before it wrote the file. */
bool st_view_written_since(const struct st_view_source *src, const struct st_view_fact *f,
                           const struct st_dot *dots, size_t count)
{
    struct st_buf key;
    uint64_t number = 0;
    bool found = false, older = false;
    st_buf_init(&key, st_alloc_libc());
    st_key_register(&key, f->entity, f->attribute);
    if (src->index == NULL || key.failed ||
        st_index_head(src->index, st_buf_str(&key), &number) != ST_OK)
        number = 0;
    st_buf_release(&key);
    for (int i = 0; number != 0 && !found && !older && i < LOOK_BACK_MAX; i++) {
        struct st_index_entry entry;
        struct st_record r;
        if (st_index_entry(src->index, number, &entry) != ST_OK ||
            st_index_record(src->index, &entry, &r) != ST_OK)
            break;
        const struct st_op *op = &r.ops[entry.op];
        older = st_view_has_dot(dots, count, r.dot);
        found = !older && made(op, f);
        number = entry.previous;
    }
    return found;
}

enum st_code st_view_register_write(const struct st_view_source *src, const struct st_view_fact *f,
                                    const struct st_view_fact *was, const struct st_dot *dots,
                                    size_t count, struct st_read_scratch *scratch,
                                    struct st_file_ops *out)
{
    struct st_attribute now;
    enum st_code code = st_attribute_read(src->kv, f->entity, f->attribute, scratch, &now);
    if (code != ST_OK)
        return code;
    enum st_op_kind kind = f->kind == ST_ITEM_ABSENT ? ST_OP_UNSET : ST_OP_SET;
    bool live = false, there = false, again = false;
    for (size_t i = 0; i < now.count; i++) {
        live = live || st_view_has_dot(dots, count, now.items[i].dot);
        there = there || st_view_item_is(&now.items[i], f);
        again = again || st_view_item_is(&now.items[i], was);
    }
#ifndef ST_DEFECT_VIEW_TAKES_TWICE
    if (!live && (there || (!again && st_view_written_since(src, f, dots, count))))
        return ST_OK;
#endif
    /* The same value was written again since: that is what was shown, too. */
    size_t n = 0;
    struct st_dot same[16];
    for (size_t i = 0; !live && again && i < now.count && n < 16; i++)
        if (st_view_item_is(&now.items[i], was))
            same[n++] = now.items[i].dot;
    bool added =
        n > 0 ? st_view_op_add(out, kind, f, same, n) : st_view_op_add(out, kind, f, dots, count);
    return added ? ST_OK : ST_NO_MEMORY;
}

bool st_view_wish_add(struct st_file_ops *ops, const struct st_wish *wish)
{
    if (!st_grow(&ops->wishes, &ops->wish_cap, ops->wish_count + 1, sizeof *ops->wishes))
        return false;
    struct st_wish *to = &ops->wishes[ops->wish_count];
    *to = *wish;
    struct st_str *const texts[] = {
        &to->entity,      &to->value,           &to->line.title, &to->line.seq,
        &to->line.key,    &to->line.depends,    &to->line.agent, &to->line.channel,
        &to->line.parent, &to->line.not_before, &to->line.state, &to->line.claimed,
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        texts[i]->p = st_arena_text(&ops->arena, *texts[i]);
        if (texts[i]->p == NULL)
            return false;
    }
    ops->wish_count++;
    return true;
}
