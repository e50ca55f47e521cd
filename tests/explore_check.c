/*
 * explore_check.c - comparing what the production code made of one history with what the plain
 * specification says, and telling about a mismatch. Also the memory of one history.
 */
#include <stdio.h>
#include <stdlib.h>

#include "explore.h"

const char *explore_composition = "";

/* --- memory ----------------------------------------------------------------------------------- */

/* A stack of bytes, thrown away between histories. */
static char arena[1 << 20];
static size_t arena_used;

void explore_alloc_reset(void)
{
    arena_used = 0;
}

static void *arena_resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    size_t old = 0;
    if (size == 0)
        return NULL;
    if (p != NULL)
        memcpy(&old, (char *)p - 16, sizeof(old));
    if (p != NULL && size <= old)
        return p;
    size_t need = 16 + ((size + 15) & ~(size_t)15);
    if (need > sizeof(arena) - arena_used)
        return NULL;
    char *result = arena + arena_used + 16;
    arena_used += need;
    memcpy(result - 16, &size, sizeof(size));
    if (p != NULL)
        memcpy(result, p, old);
    return result;
}

const struct st_alloc explore_alloc = {arena_resize, NULL};

/* --- telling what happened -------------------------------------------------------------------- */

static void print_str(struct st_str s)
{
    printf("%.*s", (int)s.n, s.p != NULL ? s.p : "");
}

void explore_print_dot(struct st_dot d)
{
    for (unsigned i = 0; i < REPLICAS; i++) {
        if (explore_writers[i].replica == d.writer.replica)
            printf("r%u#%llu", i, (unsigned long long)d.counter);
    }
}

static void print_vector(const struct st_vector *v)
{
    printf("{");
    for (size_t i = 0; i < v->count; i++) {
        printf(i > 0 ? " " : "");
        explore_print_dot((struct st_dot){v->entries[i].writer, v->entries[i].counter});
    }
    printf("}");
}

static void print_op(const struct st_op *op)
{
    static const char *const names[] = {"unknown", "set",  "unset", "add", "remove",
                                        "count",   "beat", "seen",  "ack"};
    printf(" %s ", names[op->kind]);
    print_str(op->entity);
    if (op->attribute.n > 0)
        printf(".");
    print_str(op->attribute);
    if (op->value.n > 0)
        printf(op->value_kind == ST_VALUE_LINK ? " -> " : " = ");
    print_str(op->value);
    if (op->kind == ST_OP_COUNT)
        printf(" %+lld", (long long)op->delta);
    if (op->has_at)
        printf(" at");
    for (size_t i = 0; i < op->at_count; i++) {
        printf(" ");
        explore_print_dot(op->at[i]);
    }
    if (op->kind == ST_OP_SEEN)
        print_vector(&op->vector);
    if (op->dot.counter > 0) {
        printf(op->kind == ST_OP_ACK ? "" : " read ");
        explore_print_dot(op->dot);
    }
    printf(";");
}

void explore_print_history(const struct history *h)
{
    for (size_t i = 0; i < h->count; i++) {
        const struct st_record *r = &h->records[i]->r;
        printf("  ");
        explore_print_dot(r->dot);
        printf(" (time %llu.%u, agent %.*s):", (unsigned long long)r->time.ms, r->time.logical,
               (int)r->agent.n, r->agent.p);
        for (size_t j = 0; j < r->op_count; j++)
            print_op(&r->ops[j]);
        printf("\n");
    }
}

void explore_print_items(const char *title, const struct st_item *items, size_t count)
{
    static const char *const names[] = {"value", "absent", "member"};
    printf("%s:\n", title);
    for (size_t i = 0; i < count; i++) {
        printf("  %s '", names[items[i].kind]);
        print_str(items[i].value);
        printf("' ");
        explore_print_dot(items[i].dot);
        printf("/%u over %u ", items[i].op, items[i].over_count);
        if (items[i].over_count > 0)
            explore_print_dot(items[i].over);
        printf("\n");
    }
}

void explore_fail_head(const struct history *h, const char *what)
{
    printf("MISMATCH in '%s': %s\nrecords in the order of arrival:\n", explore_composition, what);
    explore_print_history(h);
}

void explore_fail(const struct history *h, const char *what)
{
    explore_fail_head(h, what);
    exit(1);
}

/* --- comparing one history with the specification --------------------------------------------- */

static bool same_dot(struct st_dot a, struct st_dot b)
{
    return st_dot_compare(a, b) == 0;
}

static bool same_item(const struct st_item *a, const struct st_item *b)
{
    return a->kind == b->kind && a->value_kind == b->value_kind &&
           st_str_equal(a->value, b->value) && same_dot(a->dot, b->dot) && a->op == b->op &&
           st_hlc_compare(a->time, b->time) == 0 && st_str_equal(a->agent, b->agent) &&
           a->over_count == b->over_count && a->over_op == b->over_op && same_dot(a->over, b->over);
}

/* Returns whether anything was ever written to the attribute. */
static bool check_attribute(const struct history *h, const struct spec *spec,
                            const struct st_kv *kv, struct st_str entity, struct st_str name)
{
    static struct spec_attribute want;
    struct st_read_scratch scratch;
    struct st_attribute got;
    spec_attribute(spec, entity, name, &want);
    st_read_scratch_init(&scratch, &explore_alloc);
    if (st_attribute_read(kv, entity, name, &scratch, &got) != ST_OK)
        explore_fail(h, "an attribute cannot be read");
    bool equal = got.count == want.count && got.shown == want.shown &&
                 got.pending == want.pending && got.present == want.present;
    for (size_t i = 0; equal && i < want.count; i++)
        equal = same_item(&got.items[i], &want.items[i]);
    if (!equal) {
        explore_fail_head(h, "an attribute is not what the specification says");
        printf("attribute %.*s.%.*s\n", (int)entity.n, entity.p, (int)name.n, name.p);
        explore_print_items("expected", want.items, want.count);
        printf("  shown %zu pending %d present %d\n", want.shown, want.pending, want.present);
        explore_print_items("actual", got.items, got.count);
        printf("  shown %zu pending %d present %d\n", got.shown, got.pending, got.present);
        exit(1);
    }

    struct st_buf key;
    struct st_str value;
    st_buf_init(&key, &explore_alloc);
    st_key_pending(&key, entity, name);
    if ((kv->get(kv->ctx, st_buf_str(&key), &value) == ST_OK) != want.pending)
        explore_fail(h, "the 'p' row is wrong");
    st_buf_reset(&key);
    st_key_register(&key, entity, name);
    if ((kv->get(kv->ctx, st_buf_str(&key), &value) == ST_OK) != want.written)
        explore_fail(h, "a register row is missing or too many");
    return want.written;
}

static void check_counter(const struct history *h, const struct spec *spec, const struct st_kv *kv,
                          struct st_str name)
{
    int64_t want, got;
    bool want_any = spec_counter(spec, name, &want);
    bool got_any;
    if (st_counter_read(kv, name, &got, &got_any) != ST_OK || got_any != want_any || got != want) {
        explore_fail_head(h, "a counter is wrong");
        printf("counter %.*s: expected %lld, actual %lld\n", (int)name.n, name.p, (long long)want,
               (long long)got);
        exit(1);
    }
}

static void check_status(const struct history *h, const struct spec *spec, const struct st_kv *kv,
                         struct st_str agent)
{
    struct st_status_row want, got;
    struct st_str value;
    struct st_buf key;
    st_buf_init(&key, &explore_alloc);
    st_key_status(&key, agent);
    bool any = kv->get(kv->ctx, st_buf_str(&key), &value) == ST_OK;
    if (any != spec_status(spec, agent, &want))
        explore_fail(h, "a status is missing or too many");
    if (any && (st_status_decode(st_buf_str(&key), value, &got) != ST_OK ||
                !st_str_equal(got.status, want.status) || !st_str_equal(got.agent, agent) ||
                !same_dot(got.dot, want.dot) || st_hlc_compare(got.time, want.time) != 0 ||
                got.incarnation != want.incarnation))
        explore_fail(h, "a status is not the latest");
}

struct unseen_check {
    const struct history *h;
    struct st_unseen_row want[SPEC_OPS_MAX];
    size_t count, at;
};

static enum st_code visit_unseen(void *arg, struct st_str key, struct st_str value)
{
    struct unseen_check *c = arg;
    struct st_unseen_row got;
    const struct st_unseen_row *want = &c->want[c->at];
    if (st_unseen_decode(key, value, &got) != ST_OK || c->at++ == c->count ||
        !same_dot(got.dot, want->dot) || got.op != want->op ||
        !st_str_equal(got.entity, want->entity) || !st_str_equal(got.attribute, want->attribute) ||
        !st_str_equal(got.agent, want->agent) || st_hlc_compare(got.time, want->time) != 0 ||
        !same_dot(got.lost, want->lost) || !st_str_equal(got.lost_agent, want->lost_agent) ||
        st_hlc_compare(got.lost_time, want->lost_time) != 0 || got.lost_kind != want->lost_kind ||
        got.lost_value_kind != want->lost_value_kind ||
        !st_str_equal(got.lost_value, want->lost_value) || got.lost_count != want->lost_count)
        explore_fail(c->h, "a row of what was overwritten unseen is wrong");
    return ST_OK;
}

static void check_unseen(const struct history *h, const struct spec *spec, const struct st_kv *kv)
{
    static struct unseen_check c;
    c.h = h;
    c.at = 0;
    c.count = spec_unseen(spec, c.want);
    (void)kv->scan(kv->ctx, ST_STR("u"), (struct st_str){NULL, 0}, visit_unseen, &c);
    if (c.at != c.count)
        explore_fail(h, "a row of what was overwritten unseen is missing");
}

static enum st_code visit_attribute(void *arg, const struct st_attribute *a)
{
    (void)a;
    ++*(size_t *)arg;
    return ST_OK;
}

void explore_check(const struct history *h, const struct st_kv *kv)
{
    static struct spec spec;
    const struct st_record *records[HISTORY_MAX];
    for (size_t i = 0; i < h->count; i++)
        records[i] = &h->records[i]->r;
    spec_init(&spec, records, h->count);

    size_t written = 0;
    for (size_t i = 0; i < NAMES; i++) {
        written += check_attribute(h, &spec, kv, st_str_of(attribute_names[i].entity),
                                   st_str_of(attribute_names[i].attribute));
    }
    struct st_read_scratch scratch;
    struct st_str none = {NULL, 0};
    size_t visited = 0;
    st_read_scratch_init(&scratch, &explore_alloc);
    if (st_attribute_each(kv, none, none, none, &scratch, visit_attribute, &visited) != ST_OK ||
        visited != written)
        explore_fail(h, "visiting all attributes misses one or invents one");
    check_counter(h, &spec, kv, ST_STR("x"));
    check_status(h, &spec, kv, ST_STR("ann"));
    check_status(h, &spec, kv, ST_STR("bob"));
    check_unseen(h, &spec, kv);
#ifdef EXPLORE_TASKS
    explore_check_tasks(h, &spec, kv);
#endif
}
