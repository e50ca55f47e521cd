/*
 * task_import.c - tasks of other trackers.
 *
 * The first record takes the numbers of all new tasks, so that every link can be written at once,
 * whatever comes first. A task and its links are in one record: one that waits for a task which is
 * still to come waits for something unknown, and is not ready meanwhile.
 */
#include "lib/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes of values in one record; escaped they are at most twice as many. */
#define RECORD_BYTES (200u * 1024)
/* Operations that one task may add to a record that is begun; more begin the next. */
#define RECORD_OPS (ST_RECORD_OPS_MAX - 64)

struct place {
    const char *key;
    size_t item;
};

struct import {
    strata *s;
    const strata_task_item *items;
    size_t count;
    struct place *places; /* hash table by key; key NULL: free */
    size_t mask;
    char (*entities)[ST_NUMBERED_SIZE + 1]; /* "": a new one, numbered by `fresh` */
    bool *known;
    size_t fresh;
    struct st_op *ops;
    size_t op_count, bytes;
    struct st_dot last;
    strata_task_imported *out;
    char (*targets)[ST_NUMBERED_SIZE + 1]; /* of the links in the record */
    size_t target_count;
    bool dry_run;
};

static size_t slot_of(const struct import *m, const char *key)
{
    size_t at = st_checksum(key, strlen(key)) & m->mask;
    while (m->places[at].key != NULL && strcmp(m->places[at].key, key) != 0)
        at = (at + 1) & m->mask;
    return at;
}

static size_t item_of(const struct import *m, const char *key)
{
    const struct place *p = &m->places[slot_of(m, key)];
    return p->key != NULL ? p->item : SIZE_MAX;
}

/* --- checking --------------------------------------------------------------------------------- */

static int check_item(strata *s, const strata_task_item *t)
{
    int code = st_lib_name(s, "key", t->key);
    if (code == STRATA_OK && (t->title == NULL || t->title[0] == '\0'))
        code = st_lib_fail(s, ST_INVALID, "%s has no title", t->key);
    if (code == STRATA_OK)
        code = st_lib_value(s, "title", st_str_of(t->title));
    if (code == STRATA_OK && t->state != NULL)
        code = st_lib_name(s, "state", t->state);
    if (code == STRATA_OK && t->agent != NULL)
        code = st_lib_name(s, "agent", t->agent);
    if (code == STRATA_OK && t->channel != NULL)
        code = st_lib_name(s, "channel", t->channel);
    if (code == STRATA_OK && t->data != NULL)
        code = st_lib_value(s, "data", (struct st_str){t->data, t->data_size});
    if (code == STRATA_OK && t->imported != NULL)
        code = st_lib_value(s, "rest", (struct st_str){t->imported, t->imported_size});
    for (size_t i = 0; i < t->link_count && code == STRATA_OK; i++) {
        code = st_lib_name(s, "kind of link", t->links[i].kind);
        if (code == STRATA_OK && strcmp(t->links[i].key, t->key) == 0 &&
            strcmp(t->links[i].kind, "depends") == 0)
            code = st_lib_fail(s, ST_CONFLICT, "a cycle: %s waits for itself", t->key);
    }
    return code;
}

/* Follows dependencies backwards from a task that has some left: they end in a cycle. */
static int tell_cycle(const struct import *m, const size_t *left)
{
    char text[400] = "";
    size_t at = 0, used = 0;
    while (left[at] == 0)
        at++;
    size_t first = at;
    for (size_t step = 0; step < m->count + 6 && used < 300; step++) {
        const strata_task_item *t = &m->items[at];
        if (step >= m->count)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s -> ", t->key);
        if (step == m->count)
            first = at;
        else if (step > m->count && at == first)
            break;
        for (size_t i = 0; i < t->link_count; i++) {
            size_t on =
                strcmp(t->links[i].kind, "depends") == 0 ? item_of(m, t->links[i].key) : SIZE_MAX;
            if (on != SIZE_MAX && left[on] > 0) {
                at = on;
                break;
            }
        }
    }
    st_lib_fail(m->s, ST_CONFLICT, "a cycle: %s...", text);
    st_lib_hint(m->s, "nothing was written");
    return ST_CONFLICT;
}

/* Takes away, again and again, what waits for nothing. */
static int check_cycles(const struct import *m)
{
    size_t *left = calloc(m->count + 1, sizeof *left), gone = 0;
    bool progress = true;
    int code = STRATA_OK;
    if (left == NULL)
        return st_lib_fail(m->s, ST_NO_MEMORY, "out of memory; nothing was written");
    for (size_t i = 0; i < m->count; i++)
        left[i] = 1;
    while (progress && gone < m->count) {
        progress = false;
        for (size_t i = 0; i < m->count; i++) {
            bool waits = false;
            for (size_t k = 0; left[i] != 0 && k < m->items[i].link_count && !waits; k++) {
                size_t on = strcmp(m->items[i].links[k].kind, "depends") == 0
                                ? item_of(m, m->items[i].links[k].key)
                                : SIZE_MAX;
                waits = on != SIZE_MAX && left[on] != 0;
            }
            if (left[i] != 0 && !waits) {
                left[i] = 0;
                gone++;
                progress = true;
            }
        }
    }
    if (gone < m->count)
        code = tell_cycle(m, left);
    free(left);
    return code;
}

static int place_all(struct import *m)
{
    size_t size = 16;
    while (size < m->count * 2)
        size *= 2;
    m->mask = size - 1;
    m->places = calloc(size, sizeof *m->places);
    m->entities = calloc(m->count + 1, sizeof *m->entities);
    m->known = calloc(m->count + 1, sizeof *m->known);
    m->ops = calloc(ST_RECORD_OPS_MAX, sizeof *m->ops);
    m->targets = calloc(ST_RECORD_OPS_MAX, sizeof *m->targets);
    if (m->places == NULL || m->entities == NULL || m->known == NULL || m->ops == NULL ||
        m->targets == NULL)
        return st_lib_fail(m->s, ST_NO_MEMORY, "out of memory; nothing was written");
    for (size_t i = 0; i < m->count; i++) {
        struct place *p = &m->places[slot_of(m, m->items[i].key)];
        if (p->key != NULL)
            return st_lib_fail(m->s, ST_INVALID, "%s is there twice", p->key);
        *p = (struct place){m->items[i].key, i};
    }
    return STRATA_OK;
}

/* --- writing ---------------------------------------------------------------------------------- */

static int record_write(struct import *m, uint32_t new_count, struct st_record *r)
{
    *r = (struct st_record){.agent = st_str_of(m->s->agent),
                            .incarnation = m->s->incarnation,
                            .ops = m->ops,
                            .op_count = m->op_count,
                            .new_count = new_count};
    m->op_count = m->bytes = m->target_count = 0;
    if (m->dry_run || r->op_count == 0)
        return STRATA_OK;
    int code = st_lib_append(m->s, r, NULL, NULL, STRATA_NO_FLUSH);
    m->last = r->dot;
    m->out->records += code == STRATA_OK;
    return code;
}

static struct st_op *add(struct import *m, size_t item, enum st_op_kind kind, const char *attribute)
{
    struct st_op *op = &m->ops[m->op_count++];
    *op = (struct st_op){
        .kind = kind, .entity = st_str_of(m->entities[item]), .attribute = st_str_of(attribute)};
    return op;
}

static void add_text(struct import *m, size_t item, const char *attribute, const char *value,
                     size_t size)
{
    if (value == NULL || size == 0)
        return;
    add(m, item, ST_OP_SET, attribute)->value = (struct st_str){value, size};
    m->bytes += size + 100;
}

/* A link that names a task by its entity. */
static bool is_there(struct import *m, const char *key, char found[ST_NUMBERED_SIZE + 1])
{
    struct st_task t;
    struct st_buf row;
    st_buf_init(&row, st_alloc_libc());
    bool is = st_task_read(st_index_kv(m->s->index), st_str_of(key), &row, &t) == ST_OK;
    st_buf_release(&row);
    if (is)
        snprintf(found, ST_NUMBERED_SIZE + 1, "%s", key);
    return is;
}

static void add_link(struct import *m, size_t item, enum st_op_kind kind, const char *attribute,
                     const char *key)
{
    size_t on = item_of(m, key);
    char found[ST_NUMBERED_SIZE + 1];
    const char *entity = on != SIZE_MAX ? m->entities[on] : NULL;
    if (entity == NULL && (st_task_keyed(m->s, key, found) == ST_OK || is_there(m, key, found)))
        entity = found;
    if (entity == NULL) {
        m->out->unknown++;
        return;
    }
    char *kept = m->targets[m->target_count++];
    snprintf(kept, ST_NUMBERED_SIZE + 1, "%s", entity);
    struct st_op *op = add(m, item, kind, attribute);
    op->value_kind = ST_VALUE_LINK;
    op->value = st_str_of(kept);
    m->bytes += 150;
}

static const char *priority_text(int priority)
{
    static const char *const texts[] = {"0", "1", "2", "3", "4"};
    return priority >= 0 && priority <= ST_PRIORITY_MAX ? texts[priority] : NULL;
}

static void add_fields(struct import *m, size_t i)
{
    const strata_task_item *t = &m->items[i];
    const char *priority = priority_text(t->priority);
    add_text(m, i, "title", t->title, strlen(t->title));
    add_text(m, i, "key", t->key, strlen(t->key));
    if (priority != NULL && t->priority != ST_PRIORITY_DEFAULT)
        add_text(m, i, "priority", priority, 1);
    add_text(m, i, "state", t->state, t->state != NULL ? strlen(t->state) : 0);
    add_text(m, i, "agent", t->agent, t->agent != NULL ? strlen(t->agent) : 0);
    add_text(m, i, "channel", t->channel, t->channel != NULL ? strlen(t->channel) : 0);
    add_text(m, i, "not_before", t->not_before, t->not_before != NULL ? strlen(t->not_before) : 0);
    add_text(m, i, "data", t->data, t->data_size);
    add_text(m, i, "beads", t->imported, t->imported_size);
    if (t->parent != NULL)
        add_link(m, i, ST_OP_SET, "parent", t->parent);
}

static bool differs(const char *a, size_t a_size, const char *b, size_t b_size)
{
    return a_size != b_size || (a_size > 0 && memcmp(a, b, a_size) != 0);
}

/* Only what is not so already. */
static int add_changes(struct import *m, size_t i)
{
    const strata_task_item *t = &m->items[i];
    strata_task is;
    size_t before = m->op_count;
    const char *state = t->state != NULL ? t->state : "open";
    const char *priority = priority_text(t->priority);
    st_arena_reset(&m->s->arena);
    enum st_code code = st_task_fill(m->s, st_str_of(m->entities[i]), &is);
    if (code != ST_OK)
        return st_lib_index_fault(m->s, code);
    bool open = !is.finished && (is.waits > 0 || strcmp(is.state, "ready") == 0 ||
                                 strcmp(is.state, "deferred") == 0 || is.token != 0);
    if (strcmp(is.title, t->title) != 0)
        add_text(m, i, "title", t->title, strlen(t->title));
    if (priority != NULL && is.priority != t->priority)
        add_text(m, i, "priority", priority, 1);
    if (open ? strcmp(state, "open") != 0 : strcmp(state, is.state) != 0)
        add_text(m, i, "state", state, strlen(state));
    if (t->data != NULL && differs(t->data, t->data_size, is.data, is.data_size))
        add_text(m, i, "data", t->data, t->data_size);
    if (t->imported != NULL &&
        differs(t->imported, t->imported_size, is.imported, is.imported_size))
        add_text(m, i, "beads", t->imported, t->imported_size);
    m->out->changed += m->op_count > before;
    m->out->same += m->op_count == before;
    return STRATA_OK;
}

static bool is_listed(const strata_task *t, const char *entity)
{
    for (size_t i = 0; i < t->depends_count; i++)
        if (strcmp(t->depends[i], entity + 1) == 0)
            return true;
    return false;
}

/* Links of a known task that it does not have yet. */
static int add_missing_links(struct import *m, size_t i)
{
    const strata_task_item *t = &m->items[i];
    strata_task is;
    ST_ASSERT(m->entities != NULL);
    enum st_code code = st_task_fill(m->s, st_str_of(m->entities[i]), &is);
    if (code != ST_OK)
        return st_lib_index_fault(m->s, code);
    for (size_t k = 0; k < t->link_count && m->op_count < RECORD_OPS; k++) {
        size_t on = item_of(m, t->links[k].key);
        if (strcmp(t->links[k].kind, "depends") == 0 && on != SIZE_MAX &&
            !is_listed(&is, m->entities[on]))
            add_link(m, i, ST_OP_ADD, "depends", t->links[k].key);
    }
    return STRATA_OK;
}

static int write_item(struct import *m, size_t i)
{
    const strata_task_item *t = &m->items[i];
    struct st_record r;
    int code = STRATA_OK;
    if (m->op_count > 0 &&
        (m->op_count + t->link_count + 16 > RECORD_OPS || m->bytes > RECORD_BYTES))
        code = record_write(m, 0, &r);
    if (code != STRATA_OK)
        return code;
    if (m->known[i]) {
        code = add_changes(m, i);
        return code == STRATA_OK ? add_missing_links(m, i) : code;
    }
    m->out->added++;
    /* The links first: with more of them than a record holds the task must not be ready between. */
    for (size_t k = 0; k < t->link_count && code == STRATA_OK; k++) {
        add_link(m, i, ST_OP_ADD, t->links[k].kind, t->links[k].key);
        if (m->op_count >= RECORD_OPS)
            code = record_write(m, 0, &r);
    }
    if (code == STRATA_OK)
        add_fields(m, i);
    return code;
}

static int find_known(struct import *m)
{
    for (size_t i = 0; i < m->count; i++) {
        enum st_code code = st_task_keyed(m->s, m->items[i].key, m->entities[i]);
        if (code != ST_OK && code != ST_NOT_FOUND)
            return st_lib_index_fault(m->s, code);
        m->known[i] = code == ST_OK;
        m->fresh += code != ST_OK;
    }
    return STRATA_OK;
}

/* Numbers for all that are new: a record that takes them, and names the first. */
static int take_numbers(struct import *m)
{
    struct st_record r;
    size_t next = 1;
    const char *at = "";
    if (m->fresh == 0)
        return STRATA_OK;
    if (!m->dry_run) {
        m->ops[m->op_count++] = (struct st_op){.kind = ST_OP_SET,
                                               .new_entity = 1,
                                               .attribute = ST_STR("imported"),
                                               .value = ST_STR("yes")};
        int code = record_write(m, (uint32_t)m->fresh, &r);
        if (code != STRATA_OK)
            return code;
        next = r.number - m->fresh + 1;
        at = m->s->log.identity.number_suffix;
    }
    for (size_t i = 0; i < m->count; i++)
        if (!m->known[i])
            snprintf(m->entities[i], sizeof m->entities[i], "#%zu%s%s", next++,
                     at[0] != '\0' ? "@" : "", at);
    return STRATA_OK;
}

static int run(struct import *m)
{
    struct st_record r;
    int code = st_lib_begin(m->s);
    if (code != STRATA_OK)
        return code;
    code = find_known(m);
    if (code == STRATA_OK)
        code = take_numbers(m);
    for (size_t i = 0; i < m->count && code == STRATA_OK; i++)
        code = write_item(m, i);
    if (code == STRATA_OK)
        code = record_write(m, 0, &r);
    st_lib_end(m->s);
    if (code == STRATA_OK && m->last.counter > 0 &&
        st_log_wait_durable(&m->s->log, m->last.writer.epoch, m->last.counter) != ST_OK)
        code = st_lib_fault(m->s, &m->s->log.fault);
    return code;
}

int strata_task_import(strata *s, const strata_task_item *items, size_t count, bool dry_run,
                       strata_task_imported *out)
{
    struct import m = {.s = s, .items = items, .count = count, .out = out, .dry_run = dry_run};
    *out = (strata_task_imported){.added = 0};
    int code = count < UINT32_MAX ? STRATA_OK : st_lib_fail(s, ST_LIMIT, "too many tasks");
    for (size_t i = 0; i < count && code == STRATA_OK; i++)
        code = check_item(s, &items[i]);
    if (code == STRATA_OK)
        code = place_all(&m);
    if (code == STRATA_OK)
        code = check_cycles(&m);
    if (code == STRATA_OK)
        code = run(&m);
    free(m.places);
    free(m.entities);
    free(m.known);
    free(m.ops);
    free(m.targets);
    return code;
}
