/*
 * explore_rows.h - for explorers of the strong layer's machine: every distinct content of its store
 * once, with what the machine answers to it, and every distinct state of the world around it once.
 *
 * Included after `struct answer` (with `next`, the rows after it), `struct rows` (with `bytes`,
 * `size`, `answers`), `struct world` and `struct node` (with `w`, `parent`), each with whatever
 * else the explorer wants to know.
 */
#ifndef EXPLORE_ROWS_H
#define EXPLORE_ROWS_H

#include <string.h>

#include <xxhash.h>

#include "core/memkv.h"
#include "core/state_internal.h"
#include "explore_tools.h"

/* Of the explorer: reads what it wants to know of a content; checks a state. */
static void rows_describe(struct st_memkv *m, struct rows *r);
static void check_world(const struct world *w);

static struct rows *rows;
static size_t rows_count, rows_cap;
static struct table rows_of;

static struct node *nodes;
static size_t node_count, node_cap, node_now; /* node_now: the state that steps are made from */
static struct table node_of;

/* The allocator of the stores: thrown away as a whole after each command. */
static char arena[1 << 20];
static size_t arena_used;

static void *arena_resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0)
        return NULL;
    size_t *fresh = (size_t *)(void *)(arena + arena_used);
    arena_used += (size + 2 * sizeof(size_t) - 1) / sizeof(size_t) * sizeof(size_t);
    if (arena_used > sizeof(arena))
        return NULL;
    *fresh = size;
    if (p != NULL)
        memcpy(fresh + 1, p, ((size_t *)p)[-1] < size ? ((size_t *)p)[-1] : size);
    return fresh + 1;
}

static const struct st_alloc arena_alloc = {arena_resize, NULL};

static void rows_load(const struct rows *r, struct st_memkv *m)
{
    arena_used = 0;
    st_memkv_init(m, &arena_alloc);
    struct st_str rest = {r->bytes, r->size}, key, value;
    while (st_row_take_bytes(&rest, &key) && st_row_take_bytes(&rest, &value)) {
        if (m->kv.put(m->kv.ctx, key, value) != ST_OK)
            exit(2);
    }
}

/* The number of this content. One that is new gets room for `answers`, and is described. */
static uint32_t rows_intern(struct st_memkv *m, size_t answers)
{
    struct st_buf bytes;
    bool fresh;
    st_buf_init(&bytes, &arena_alloc);
    for (size_t i = 0; i < m->count; i++) {
        struct st_str key = {m->rows[i].bytes, m->rows[i].key_size};
        st_row_add_bytes(&bytes, key);
        st_row_add_bytes(&bytes, (struct st_str){key.p + key.n, m->rows[i].value_size});
    }
    if (bytes.failed)
        exit(2);
    uint64_t *at = table_find(&rows_of, XXH3_64bits(bytes.p, bytes.n), &fresh);
    if (!fresh)
        return (uint32_t)*at;
    if (rows_count == rows_cap) {
        rows_cap = rows_cap > 0 ? 2 * rows_cap : 256;
        rows = must_alloc(rows, rows_cap * sizeof(*rows));
    }
    uint32_t id = (uint32_t)rows_count++;
    *at = id;
    struct rows *r = &rows[id];
    *r = (struct rows){.size = bytes.n};
    r->bytes = must_alloc(NULL, bytes.n + 1);
    if (bytes.n > 0)
        memcpy(r->bytes, bytes.p, bytes.n);
    r->answers = must_alloc(NULL, answers * sizeof(*r->answers));
    for (size_t i = 0; i < answers; i++)
        r->answers[i].next = UINT32_MAX;
    rows_describe(m, r);
    return id;
}

/* A state that was reached from node_now; how is in `node`. */
static void node_add(const struct world *w, struct node node)
{
    bool fresh;
    uint64_t *at = table_find(&node_of, XXH3_64bits(w, sizeof(*w)), &fresh);
    if (!fresh)
        return;
    if (node_count == node_cap) {
        node_cap = node_cap > 0 ? 2 * node_cap : 1 << 16;
        nodes = must_alloc(nodes, node_cap * sizeof(*nodes));
    }
    *at = node_count;
    node.w = *w;
    node.parent = (uint32_t)node_now;
    nodes[node_count++] = node;
    size_t before = node_now;
    node_now = node_count - 1;
    check_world(w);
    node_now = before;
}

static void explored_forget(void)
{
    for (size_t i = 0; i < rows_count; i++) {
        free(rows[i].bytes);
        free(rows[i].answers);
    }
    rows_count = node_count = node_now = 0;
    table_clear(&rows_of);
    table_clear(&node_of);
}

#endif
