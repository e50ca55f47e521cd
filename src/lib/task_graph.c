/* task_graph.c - what waits for what: paths and cycles along the dependencies. */
#include "lib/internal.h"

#include <stdlib.h>

/* Tasks that one search looks at: a second or so; more would hold up every writer. */
#define SEEN_MAX 200000

/* A search from one task, breadth first, so that the first path found is the shortest. */
struct search {
    strata *s;
    struct st_buf names; /* of the tasks seen, NUL-terminated */
    struct node {
        size_t name;   /* in names */
        size_t before; /* the task that waits for it */
    } * nodes;
    size_t count, cap;
    size_t *slots; /* hash table of nodes, + 1; 0: free */
    size_t slot_count;
    size_t at; /* the node whose dependencies are being looked at */
};

static struct st_str name_of(const struct search *x, size_t node)
{
    return st_str_of(x->names.p + x->nodes[node].name);
}

static bool grow(struct search *x)
{
    size_t cap = x->cap == 0 ? 64 : x->cap * 2;
    struct node *nodes = realloc(x->nodes, cap * sizeof *nodes);
    if (nodes == NULL)
        return false;
    x->nodes = nodes;
    x->cap = cap;
    size_t *slots = calloc(cap * 2, sizeof *slots);
    if (slots == NULL)
        return false;
    free(x->slots);
    x->slots = slots;
    x->slot_count = cap * 2;
    for (size_t i = 0; i < x->count; i++) {
        struct st_str name = name_of(x, i);
        size_t at = st_checksum(name.p, name.n) % x->slot_count;
        while (x->slots[at] != 0)
            at = (at + 1) % x->slot_count;
        x->slots[at] = i + 1;
    }
    return true;
}

/* Adds a task unless it was seen. */
static enum st_code see(struct search *x, struct st_str name)
{
    if (x->count == x->cap && !grow(x))
        return ST_NO_MEMORY;
    size_t at = st_checksum(name.p, name.n) % x->slot_count;
    for (; x->slots[at] != 0; at = (at + 1) % x->slot_count)
        if (st_str_equal(name_of(x, x->slots[at] - 1), name))
            return ST_OK;
    if (x->count == SEEN_MAX)
        return ST_LIMIT;
    x->slots[at] = x->count + 1;
    x->nodes[x->count++] = (struct node){x->names.n, x->at};
    st_buf_add_str(&x->names, name);
    st_buf_add_char(&x->names, '\0');
    return x->names.failed ? ST_NO_MEMORY : ST_OK;
}

static enum st_code look_at(struct search *x, size_t node, struct st_str wanted, bool *found)
{
    struct st_attribute a;
    strata *s = x->s;
    x->at = node;
    enum st_code code =
        st_attribute_read(st_index_kv(s->index), name_of(x, node), ST_STR("depends"), &s->read, &a);
    for (size_t i = 0; i < a.count && code == ST_OK && !*found; i++) {
        if (a.items[i].kind != ST_ITEM_MEMBER || a.items[i].value_kind != ST_VALUE_LINK)
            continue;
        *found = st_str_equal(a.items[i].value, wanted);
        if (!*found)
            code = see(x, a.items[i].value);
    }
    return code;
}

/* "#12" as 12 */
static void add_number(struct st_buf *out, struct st_str name)
{
    ST_ASSERT(name.p != NULL && name.n > 0);
    st_buf_add(out, name.p + 1, name.n - 1);
}

/* The names from the first task to the node, then the last one. */
static const char *path_text(struct search *x, size_t node, struct st_str last)
{
    struct st_buf text;
    size_t length = 1;
    for (size_t i = node; i != 0; i = x->nodes[i].before)
        length++;
    size_t *way = malloc(length * sizeof *way);
    const char *result = NULL;
    st_buf_init(&text, st_alloc_libc());
    for (size_t i = node, k = length; way != NULL && k > 0; i = x->nodes[i].before)
        way[--k] = i;
    for (size_t k = 0; way != NULL && k < length; k++) {
        add_number(&text, name_of(x, way[k]));
        st_buf_add_text(&text, " -> ");
    }
    add_number(&text, last);
    if (way != NULL && !text.failed)
        result = st_arena_text(&x->s->arena, st_buf_str(&text));
    free(way);
    st_buf_release(&text);
    return result;
}

enum st_code st_task_path(strata *s, struct st_str from, struct st_str to, const char **path)
{
    struct search x = {.s = s};
    st_buf_init(&x.names, st_alloc_libc());
    enum st_code code = see(&x, from);
    bool found = false;
    size_t node = 0;
    while (code == ST_OK && node < x.count) {
        code = look_at(&x, node, to, &found);
        if (found)
            break;
        node++;
    }
    if (code == ST_OK && !found)
        code = ST_NOT_FOUND;
    if (code == ST_OK) {
        *path = path_text(&x, node, to);
        code = *path != NULL ? ST_OK : ST_NO_MEMORY;
    }
    st_buf_release(&x.names);
    free(x.nodes);
    free(x.slots);
    return code;
}

int strata_task_cycle(strata *s, const char *id, const char **cycle)
{
    char entity[ST_NUMBERED_SIZE + 1];
    *cycle = "";
    int result = st_lib_begin(s);
    if (result != STRATA_OK)
        return result;
    result = st_task_find(s, id, entity);
    if (result == STRATA_OK) {
        enum st_code code = st_task_path(s, st_str_of(entity), st_str_of(entity), cycle);
        if (code == ST_LIMIT)
            result = st_lib_fail(s, code, "too many dependencies to look for a cycle");
        else if (code != ST_OK && code != ST_NOT_FOUND)
            result = st_lib_index_fault(s, code);
    }
    st_lib_end(s);
    return result;
}
