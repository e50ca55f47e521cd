/*
 * document_versions.c - reading the versions of a tracked file, and what two of them have in common.
 */
#include "lib/document.h"

#include "files/lines.h"

#include <stdio.h>
#include <stdlib.h>

_Static_assert(ST_DOCUMENT_PARTS_MAX == ST_DOCUMENT_SIZE_MAX / ST_PART_SIZE + 1,
               "a document of the maximum size has so many parts");

/* Versions that are looked back through for a common ancestor or the text of a base. */
#define VERSIONS_MAX 2000

/* Common ancestors that are merged into a base, and how far back that goes: as often as copies merged
 * each other's versions crosswise without a moment at which one had all. Behind it one ancestor has
 * to do, which may show lines twice, and lose none. */
#define BASES_MAX 8
#define DEPTH_MAX 64

struct st_str st_part_name(size_t number, char out[ST_PART_NAME_SIZE])
{
    if (number == 0)
        return ST_STR(ST_DOCUMENT_ATTRIBUTE);
    int n = snprintf(out, ST_PART_NAME_SIZE, ST_DOCUMENT_ATTRIBUTE ".%zu", number + 1);
    return (struct st_str){out, (size_t)n};
}

/* --- reading ---------------------------------------------------------------------------------- */

static void add_parent(struct st_version *v, struct st_dot dot)
{
    if (v->parent_count < ST_PARENTS_MAX)
        v->parents[v->parent_count++] = dot;
}

/* What was merged and not replaced stands behind the parts, as "seen". */
static void add_parents(struct st_version *v, const struct st_record *r, size_t op)
{
    for (size_t i = 0; i < r->ops[op].at_count; i++)
        add_parent(v, r->ops[op].at[i]);
    v->replaced = v->parent_count;
    for (size_t i = op + 1; i < r->op_count; i++) {
        const struct st_vector *seen = &r->ops[i].vector;
        for (size_t k = 0; r->ops[i].kind == ST_OP_SEEN && k < seen->count; k++)
            add_parent(v, (struct st_dot){seen->entries[k].writer, seen->entries[k].counter});
    }
}

static enum st_code read_list(strata *s, const char *entity, struct st_versions *v)
{
    struct st_buf key;
    uint64_t number = 0;
    st_buf_init(&key, st_alloc_libc());
    st_key_register(&key, st_str_of(entity), ST_STR(ST_DOCUMENT_ATTRIBUTE));
    enum st_code code =
        key.failed ? ST_NO_MEMORY : st_index_head(s->index, st_buf_str(&key), &number);
    st_buf_release(&key);
    v->list = calloc(VERSIONS_MAX, sizeof *v->list);
    if (v->list == NULL)
        return ST_NO_MEMORY;
    while (code == ST_OK && number != 0 && v->count < VERSIONS_MAX) {
        struct st_index_entry entry;
        struct st_record r;
        code = st_index_entry(s->index, number, &entry);
        if (code == ST_OK)
            code = st_index_record(s->index, &entry, &r);
        if (code != ST_OK)
            break;
        const struct st_op *op = &r.ops[entry.op];
        if (op->kind == ST_OP_SET) {
            struct st_version *next = &v->list[v->count++];
            *next = (struct st_version){.dot = r.dot, .time_ms = r.time.ms, .number = number};
            snprintf(next->agent, sizeof next->agent, "%.*s", (int)r.agent.n, r.agent.p);
            add_parents(next, &r, entry.op);
        }
        number = entry.previous;
    }
    return code;
}

/* Looks from number `from` on: a parent always comes later in the list. */
static struct st_version *find_from(const struct st_versions *v, size_t from, struct st_dot dot)
{
    for (size_t i = from; i < v->count; i++)
        if (st_dot_compare(v->list[i].dot, dot) == 0)
            return &v->list[i];
    return NULL;
}

struct st_version *st_version_find(const struct st_versions *v, struct st_dot dot)
{
    return find_from(v, 0, dot);
}

static enum st_code read_live(strata *s, const char *entity, struct st_versions *v)
{
    struct st_attribute a;
    enum st_code code = st_attribute_read(st_index_kv(s->index), st_str_of(entity),
                                          ST_STR(ST_DOCUMENT_ATTRIBUTE), &s->read, &a);
    v->shown = v->count;
    for (size_t i = 0; code == ST_OK && i < a.count; i++) {
        struct st_version *at =
            a.items[i].kind == ST_ITEM_VALUE ? st_version_find(v, a.items[i].dot) : NULL;
        if (at == NULL)
            continue;
        at->live = true;
        v->live++;
        if (i == a.shown)
            v->shown = (size_t)(at - v->list);
    }
    if (v->shown == v->count)
        for (size_t i = v->count; i > 0; i--)
            if (v->list[i - 1].live)
                v->shown = i - 1;
    return code;
}

int st_versions_read(strata *s, const char *entity, struct st_versions *v)
{
    free(v->list);
    *v = (struct st_versions){0};
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = read_list(s, entity, v);
    if (got == ST_OK)
        got = read_live(s, entity, v);
    st_lib_end(s);
    return got == ST_OK ? STRATA_OK : st_lib_index_fault(s, got);
}

int st_version_text(strata *s, const char *entity, const struct st_version *v, struct st_buf *out)
{
    struct st_index_entry entry;
    struct st_record r;
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = st_index_entry(s->index, v->number, &entry);
    if (got == ST_OK)
        got = st_index_record(s->index, &entry, &r);
    for (size_t i = entry.op; got == ST_OK && i < r.op_count; i++)
        if (r.ops[i].kind == ST_OP_SET && st_str_equal(r.ops[i].entity, st_str_of(entity)))
            st_buf_add_str(out, r.ops[i].value);
    st_lib_end(s);
    if (got != ST_OK)
        return st_lib_index_fault(s, got);
    return out->failed ? st_lib_no_memory(s) : STRATA_OK;
}

/* --- what two have in common ------------------------------------------------------------------ */

static void mark_parent(struct st_versions *v, size_t of, size_t number, unsigned mark)
{
    struct st_version *parent = find_from(v, of + 1, v->list[of].parents[number]);
    if (parent != NULL)
        parent->marks |= mark;
}

/* Marks a version and all that it came from. */
static void mark_from(struct st_versions *v, const struct st_version *from, unsigned mark,
                      bool merged)
{
    size_t first = (size_t)(from - v->list);
    v->list[first].marks |= mark;
    for (size_t i = first; i < v->count; i++) {
        const struct st_version *at = &v->list[i];
        size_t n = merged ? at->parent_count : at->replaced;
        for (size_t k = 0; (at->marks & mark) != 0 && k < n; k++)
            mark_parent(v, i, k, mark);
    }
}

static bool is_common(const struct st_version *v)
{
    return (v->marks & ST_MARK_A) != 0 && (v->marks & ST_MARK_B) != 0;
}

static void mark_all(struct st_versions *v, const struct st_version *a, const struct st_version *b)
{
    for (size_t i = 0; i < v->count; i++)
        v->list[i].marks = 0;
    mark_from(v, a, ST_MARK_REAL_A, false);
    mark_from(v, b, ST_MARK_REAL_B, false);
    mark_from(v, a, ST_MARK_A, true);
    mark_from(v, b, ST_MARK_B, true);
    /* What a common ancestor came from is one, too: so one pass finds all that are not the latest. */
    for (size_t i = 0; i < v->count; i++)
        for (size_t k = 0; is_common(&v->list[i]) && k < v->list[i].parent_count; k++)
            mark_parent(v, i, k, ST_MARK_BELOW);
}

/* One replaced it, the other only merged it: what overlapped there is open. */
static bool is_open(const struct st_version *v)
{
    return ((v->marks & ST_MARK_REAL_A) != 0) != ((v->marks & ST_MARK_REAL_B) != 0);
}

static int compare_versions(const void *x, const void *y)
{
    const struct st_version *const *a = x, *const *b = y;
    return st_dot_compare((*a)->dot, (*b)->dot);
}

/* The latest common ancestors, in the order of their dots. */
static size_t latest_common(struct st_versions *v, const struct st_version *bases[BASES_MAX],
                            bool *open)
{
    size_t count = 0;
    *open = false;
    for (size_t i = 0; i < v->count; i++) {
        const struct st_version *at = &v->list[i];
        if (!is_common(at) || (at->marks & ST_MARK_BELOW) != 0)
            continue;
        *open = *open || is_open(at);
        if (count < BASES_MAX)
            bases[count++] = at;
    }
    qsort(bases, count, sizeof(const struct st_version *), compare_versions);
    return count;
}

/* The latest by time and dot. */
static const struct st_version *latest(const struct st_version *const *bases, size_t count)
{
    const struct st_version *best = bases[0];
    for (size_t i = 1; i < count; i++)
        if (bases[i]->time_ms >= best->time_ms)
            best = bases[i];
    return best;
}

struct search {
    strata *s;
    const char *entity;
    struct st_versions *v;
};

static int base_text(struct search *q, const struct st_version *a, const struct st_version *b,
                     int depth, struct st_buf *base, size_t *count, bool *open);

/* What base is, merged with one more common ancestor. `first`: the one that base began with. */
static int merge_base(struct search *q, const struct st_version *first,
                      const struct st_version *more, int depth, struct st_buf *base)
{
    struct st_buf before, text, merged;
    size_t count, overlaps;
    bool open;
    st_buf_init(&before, st_alloc_libc());
    st_buf_init(&text, st_alloc_libc());
    st_buf_init(&merged, st_alloc_libc());
    int code = base_text(q, first, more, depth + 1, &before, &count, &open);
    if (code == STRATA_OK)
        code = st_version_text(q->s, q->entity, more, &text);
    if (code == STRATA_OK &&
        st_lines_merge(st_buf_str(&before), st_buf_str(base), st_buf_str(&text), ST_PREFER_A,
                       &merged, &overlaps) != ST_OK)
        code = st_lib_no_memory(q->s);
    if (code == STRATA_OK) {
        st_buf_reset(base);
        st_buf_add_str(base, st_buf_str(&merged));
        if (base->failed)
            code = st_lib_no_memory(q->s);
    }
    st_buf_release(&before);
    st_buf_release(&text);
    st_buf_release(&merged);
    return code;
}

static int base_text(struct search *q, const struct st_version *a, const struct st_version *b,
                     int depth, struct st_buf *base, size_t *count, bool *open)
{
    const struct st_version *bases[BASES_MAX];
    mark_all(q->v, a, b);
    *count = latest_common(q->v, bases, open);
    if (*count == 0)
        return STRATA_OK;
#ifdef ST_DEFECT_ONE_ANCESTOR
    depth = DEPTH_MAX;
#endif
    if (depth >= DEPTH_MAX)
        return st_version_text(q->s, q->entity, latest(bases, *count), base);
    int code = st_version_text(q->s, q->entity, bases[0], base);
    for (size_t i = 1; code == STRATA_OK && i < *count; i++)
        code = merge_base(q, bases[0], bases[i], depth, base);
    return code;
}

int st_versions_base(strata *s, const char *entity, struct st_versions *v,
                     const struct st_version *a, const struct st_version *b, struct st_buf *base,
                     enum st_relation *relation)
{
    struct search q = {s, entity, v};
    size_t count;
    bool open;
    mark_all(v, a, b);
    if (is_common(a) || is_common(b)) {
        *relation = ST_CONTAINED;
        return STRATA_OK;
    }
    int code = base_text(&q, a, b, 0, base, &count, &open);
    *relation = count == 0 ? ST_UNRELATED : open ? ST_CONFLICTED : ST_DIVERGED;
    return code;
}
