/*
 * import_plan.c - which operations of an import are still to be written.
 *
 * The end of the input wins: the list is gone through backwards, and what a later line makes void
 * (a value set again, members before a set value) or repeats is left out. What remains is held
 * against the workspace. If a value has to be set, the members that follow it in the input are
 * written too, even those that are there: setting a value clears them (core/state.h).
 *
 * The tables are open hash tables of operation numbers; the operations themselves are the keys.
 */
#include "edge/import.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum what { ENTITY, KEY, MEMBER, COUNTER };

static uint64_t hash_bytes(uint64_t h, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)p[i]) * 0x100000001b3u; /* FNV-1a */
    return (h ^ 0xff) * 0x100000001b3u;
}

static uint64_t hash_op(const strata_op *op, enum what what)
{
    uint64_t h = hash_bytes(0xcbf29ce484222325u, op->entity, strlen(op->entity));
    if (what == KEY || what == MEMBER)
        h = hash_bytes(h, op->attribute, strlen(op->attribute));
    if (what == MEMBER)
        h = hash_bytes(h + op->link, op->value, op->value_size);
    return h ^ (h >> 29);
}

static bool same_value(const strata_op *a, const strata_op *b)
{
    return a->link == b->link && a->value_size == b->value_size &&
           (a->value_size == 0 || memcmp(a->value, b->value, a->value_size) == 0);
}

static bool same(const strata_op *a, const strata_op *b, enum what what)
{
    if (strcmp(a->entity, b->entity) != 0)
        return false;
    if (what == ENTITY || what == COUNTER)
        return true;
    return strcmp(a->attribute, b->attribute) == 0 && (what == KEY || same_value(a, b));
}

/* The slot of op, or the free one where it would go. */
static uint32_t *find(const struct import_plan *p, const struct import_table *t,
                      const strata_op *op, enum what what)
{
    size_t i = (size_t)hash_op(op, what) & t->mask;
    while (t->slots[i] != 0 && !same(&p->im->ops[t->slots[i] - 1], op, what))
        i = (i + 1) & t->mask;
    return &t->slots[i];
}

/* Every table could take every operation, so that it is never more than half full. */
static int table_init(struct import_table *t, size_t ops)
{
    size_t size = 16;
    while (size < ops * 2)
        size *= 2;
    t->mask = size - 1;
    t->count = 0;
    t->slots = calloc(size, sizeof *t->slots);
    return t->slots != NULL ? STRATA_OK : STRATA_NO_MEMORY;
}

static void table_put(struct import_table *t, uint32_t *slot, size_t op)
{
    t->count += *slot == 0;
    *slot = (uint32_t)op + 1;
}

/* KEY slots hold the last set of the attribute if there is one, else its last add. */
static enum import_state plan_fact(struct import_plan *p, size_t i)
{
    const strata_op *op = &p->im->ops[i];
    uint32_t *key = find(p, &p->keys, op, KEY);
    if (*key != 0 && p->im->ops[*key - 1].kind == STRATA_SET)
        return IMPORT_REPEATED;
    if (op->kind == STRATA_SET) {
        table_put(&p->keys, key, i);
        return IMPORT_WRITE;
    }
    uint32_t *member = find(p, &p->members, op, MEMBER);
    if (*member != 0)
        return IMPORT_REPEATED;
    table_put(&p->members, member, i);
    if (*key == 0)
        table_put(&p->keys, key, i);
    return IMPORT_WRITE;
}

static enum import_state plan_counter(struct import_plan *p, size_t i)
{
    uint32_t *slot = find(p, &p->counters, &p->im->ops[i], COUNTER);
    if (*slot != 0)
        return IMPORT_REPEATED;
    table_put(&p->counters, slot, i);
    /* Unless the workspace names another total, it is 0. */
    return p->im->ops[i].delta == 0 ? IMPORT_THERE : IMPORT_WRITE;
}

int import_plan_init(struct import_plan *p, struct import *im)
{
    memset(p, 0, sizeof *p);
    p->im = im;
    size_t n = im->count;
    p->state = calloc(n + 1, 1);
    p->replaces = calloc(n + 1, 1);
    if (p->state == NULL || p->replaces == NULL || table_init(&p->entities, n) != STRATA_OK ||
        table_init(&p->keys, n) != STRATA_OK || table_init(&p->members, n) != STRATA_OK ||
        table_init(&p->counters, n) != STRATA_OK) {
        import_plan_release(p);
        return STRATA_NO_MEMORY;
    }
    for (size_t i = n; i-- > 0;) {
        bool count = im->ops[i].kind == STRATA_COUNT;
        p->state[i] = (unsigned char)(count ? plan_counter(p, i) : plan_fact(p, i));
        if (!count) {
            uint32_t *entity = find(p, &p->entities, &im->ops[i], ENTITY);
            table_put(&p->entities, entity, i);
        }
    }
    return STRATA_OK;
}

void import_plan_release(struct import_plan *p)
{
    free(p->state);
    free(p->replaces);
    free(p->entities.slots);
    free(p->keys.slots);
    free(p->members.slots);
    free(p->counters.slots);
    memset(p, 0, sizeof *p);
}

static void plan_set(struct import_plan *p, size_t i, const strata_attribute *a)
{
    const strata_item *shown = a->shown;
    const strata_op *op = &p->im->ops[i];
    if (shown != NULL && shown->kind == STRATA_ITEM_VALUE && shown->link == op->link &&
        shown->value_size == op->value_size && memcmp(shown->value, op->value, op->value_size) == 0)
        p->state[i] = IMPORT_THERE;
    else
        p->replaces[i] = a->present;
}

void import_plan_attribute(struct import_plan *p, const strata_attribute *a)
{
    strata_op op = {.entity = a->entity, .attribute = a->attribute};
    uint32_t key = *find(p, &p->keys, &op, KEY);
    if (key == 0)
        return;
    if (p->im->ops[key - 1].kind == STRATA_SET)
        plan_set(p, key - 1, a);
    for (size_t i = 0; i < a->count; i++) {
        if (a->items[i].kind != STRATA_ITEM_MEMBER)
            continue;
        op.link = a->items[i].link;
        op.value = a->items[i].value;
        op.value_size = a->items[i].value_size;
        uint32_t member = *find(p, &p->members, &op, MEMBER);
        if (member != 0)
            p->state[member - 1] = IMPORT_THERE;
    }
}

static int step_fail(struct import_plan *p, size_t i)
{
    return import_fail(p->im, STRATA_LIMIT, p->im->lines[i],
                       "the counter's total is more than %" PRId64 " away from the present one",
                       IMPORT_STEP_MAX);
}

int import_plan_counter(struct import_plan *p, const char *name, int64_t total)
{
    strata_op op = {.entity = name};
    uint32_t slot = *find(p, &p->counters, &op, COUNTER);
    if (slot == 0)
        return STRATA_OK;
    strata_op *count = &p->im->ops[slot - 1];
    if (__builtin_sub_overflow(count->delta, total, &count->delta))
        return step_fail(p, slot - 1);
    p->state[slot - 1] = count->delta == 0 ? IMPORT_THERE : IMPORT_WRITE;
    return STRATA_OK;
}

/* A member that is there goes when the set before it is written. */
static bool is_cleared(const struct import_plan *p, size_t i)
{
    const strata_op *op = &p->im->ops[i];
    if (op->kind != STRATA_ADD || p->state[i] != IMPORT_THERE)
        return false;
    size_t key = *find(p, &p->keys, op, KEY) - 1;
    return p->im->ops[key].kind == STRATA_SET && p->state[key] == IMPORT_WRITE;
}

int import_plan_finish(struct import_plan *p)
{
    p->write_count = p->there_count = p->repeated_count = p->replace_count = 0;
    for (size_t i = 0; i < p->im->count; i++) {
        const strata_op *op = &p->im->ops[i];
        if (is_cleared(p, i))
            p->state[i] = IMPORT_WRITE;
        bool write = p->state[i] == IMPORT_WRITE;
        if (write && op->kind == STRATA_COUNT &&
            (op->delta > IMPORT_STEP_MAX || op->delta < -IMPORT_STEP_MAX))
            return step_fail(p, i);
        p->write_count += write;
        p->there_count += p->state[i] == IMPORT_THERE;
        p->repeated_count += p->state[i] == IMPORT_REPEATED;
        p->replace_count += write && p->replaces[i];
    }
    return STRATA_OK;
}

/* Strings that passed the checks of import_add() have no control characters but tab, newline and
 * return, which take two bytes as JSON, as do quotes and backslashes. */
static size_t escaped_size(const char *p, size_t n)
{
    size_t size = n;
    for (size_t i = 0; i < n; i++)
        size += (unsigned char)p[i] < 0x20 || p[i] == '"' || p[i] == '\\';
    return size;
}

size_t import_op_size(const strata_op *op)
{
    size_t size = 64 + escaped_size(op->entity, strlen(op->entity));
    if (op->attribute != NULL)
        size += escaped_size(op->attribute, strlen(op->attribute));
    return op->value != NULL ? size + escaped_size(op->value, op->value_size) : size;
}
