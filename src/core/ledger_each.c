/*
 * ledger_each.c - reading many rows of the ledger: operations by state, leases, claims that are
 * held, the outbox.
 */
#include "core/ledger_internal.h"

/* A key of one letter, a name and a NUL, as written by key_of(). */
static bool key_name(struct st_str key, size_t head, size_t tail, struct st_str *name)
{
    if (key.n < head + tail + 2 || key.p[key.n - tail - 1] != '\0')
        return false;
    *name = (struct st_str){key.p + head, key.n - head - tail - 1};
    return true;
}

/* Rows that are collected before one is visited: during a scan the store may not be read. Bytes. */
#define BATCH_SIZE 4096

struct batch {
    struct st_buf rows; /* key, value; key, value; ... */
    struct st_buf last; /* where to go on */
};

static enum st_code collect_row(void *arg, struct st_str key, struct st_str value)
{
    struct st_buf *list = arg;
    st_row_add_bytes(list, key);
    st_row_add_bytes(list, value);
    if (list->failed)
        return ST_NO_MEMORY;
    return list->n >= BATCH_SIZE ? ST_SCAN_STOP : ST_OK;
}

/* Calls visit(arg, key, value) for every row behind a prefix; visit may read the store. */
static enum st_code
each_row(struct st_ledger *l, struct st_str prefix, struct st_str after,
         enum st_code (*visit)(void *arg, struct st_str key, struct st_str value), void *arg)
{
    struct batch b;
    enum st_code code = ST_OK;
    st_buf_init(&b.rows, l->alloc);
    st_buf_init(&b.last, l->alloc);
    st_buf_add_str(&b.last, after);
    while (code == ST_OK && !b.last.failed) {
        struct st_str rest, key, value;
        st_buf_reset(&b.rows);
        code = l->kv->scan(l->kv->ctx, prefix, st_buf_str(&b.last), collect_row, &b.rows);
        if (code != ST_OK || b.rows.n == 0)
            break;
        rest = st_buf_str(&b.rows);
        while (code == ST_OK && st_row_take_bytes(&rest, &key) &&
               st_row_take_bytes(&rest, &value)) {
            st_buf_reset(&b.last);
            st_buf_add_str(&b.last, key);
            code = visit(arg, key, value);
        }
    }
    if (b.last.failed)
        code = ST_NO_MEMORY;
    st_buf_release(&b.rows);
    st_buf_release(&b.last);
    return code == ST_SCAN_STOP ? ST_OK : code;
}

/* --- operations ------------------------------------------------------------------------------- */

struct state_visit {
    struct st_ledger *l;
    enum st_operation_state state;
    enum st_code (*visit)(void *arg, const struct st_operation *o);
    void *arg;
};

static enum st_code visit_operation(void *arg, struct st_str key, struct st_str value)
{
    struct state_visit *v = arg;
    struct st_operation o = {0};
    if (!key_name(key, 1, 0, &o.key) || !st_operation_decode(value, &o))
        return ST_DAMAGED;
    return v->visit(v->arg, &o);
}

static enum st_code visit_state(void *arg, struct st_str key, struct st_str value)
{
    struct state_visit *v = arg;
    struct st_operation o;
    struct st_str name;
    (void)value;
    enum st_code code = key_name(key, 2, 0, &name) ? st_operation_read(v->l, name, &o) : ST_DAMAGED;
    if (code == ST_NOT_FOUND || (code == ST_OK && o.state != v->state))
        code = ST_DAMAGED; /* the index names what is not there */
    return code == ST_OK ? v->visit(v->arg, &o) : code;
}

enum st_code st_operation_each(struct st_ledger *l, enum st_operation_state state,
                               struct st_str after,
                               enum st_code (*visit)(void *arg, const struct st_operation *o),
                               void *arg)
{
    struct state_visit v = {l, state, visit, arg};
    char prefix[] = {'Q', (char)state};
    struct st_str from = {NULL, 0};
    bool all = state == ST_OPERATION_NONE;
    if (after.n > 0 && all)
        from = st_key_operation(&l->key, after);
    else if (after.n > 0)
        from = st_key_state(&l->key, state, after);
    if (after.n > 0 && l->key.failed)
        return ST_NO_MEMORY;
    return all ? l->kv->scan(l->kv->ctx, ST_STR("O"), from, visit_operation, &v)
               : each_row(l, (struct st_str){prefix, 2}, from, visit_state, &v);
}

/* --- leases ----------------------------------------------------------------------------------- */

struct lease_visit {
    enum st_lease_kind kind;
    enum st_code (*visit)(void *arg, const struct st_lease *o);
    void *arg;
};

static enum st_code visit_lease(void *arg, struct st_str key, struct st_str value)
{
    struct lease_visit *v = arg;
    struct st_lease lease = {.kind = v->kind};
    bool path = v->kind == ST_LEASE_PATH;
    if (!key_name(key, path ? 1 : 2, path ? 8 : 0, &lease.name) || !st_lease_decode(value, &lease))
        return ST_DAMAGED;
    return v->visit(v->arg, &lease);
}

enum st_code st_lease_each(struct st_ledger *l, enum st_lease_kind kind,
                           enum st_code (*visit)(void *arg, const struct st_lease *o), void *arg)
{
    struct lease_visit v = {kind, visit, arg};
    char prefix[] = {'L', (char)kind};
    struct st_str from = {prefix, 2};
    if (kind == ST_LEASE_PATH)
        from = ST_STR("P");
    return l->kv->scan(l->kv->ctx, from, (struct st_str){NULL, 0}, visit_lease, &v);
}

/* --- claims ----------------------------------------------------------------------------------- */

struct claim_visit {
    struct st_ledger *l;
    enum st_code (*visit)(void *arg, const struct st_lease *o);
    void *arg;
};

static enum st_code visit_held(void *arg, struct st_str key, struct st_str value)
{
    struct claim_visit *v = arg;
    struct st_lease lease;
    struct st_str name;
    (void)value;
    size_t holder = 1;
    while (holder < key.n && key.p[holder] != '\0')
        holder++;
    if (holder + 1 >= key.n || !key_name(key, holder + 1, 0, &name))
        return ST_DAMAGED;
    enum st_code code = st_lease_read(v->l, ST_LEASE_CLAIM, name, &lease);
    if (code == ST_NOT_FOUND || (code == ST_OK && !lease.held))
        return ST_DAMAGED; /* the index names what is not there */
    return code == ST_OK ? v->visit(v->arg, &lease) : code;
}

enum st_code st_claim_held_each(struct st_ledger *l, struct st_str holder,
                                enum st_code (*visit)(void *arg, const struct st_lease *o),
                                void *arg)
{
    struct claim_visit v = {l, visit, arg};
    struct st_buf prefix;
    st_buf_init(&prefix, l->alloc);
    st_buf_add_char(&prefix, 'H');
    st_buf_add_str(&prefix, holder);
    if (holder.n > 0)
        st_buf_add_char(&prefix, '\0');
    enum st_code code =
        prefix.failed ? ST_NO_MEMORY
                      : each_row(l, st_buf_str(&prefix), (struct st_str){NULL, 0}, visit_held, &v);
    st_buf_release(&prefix);
    return code;
}

struct note_visit {
    struct st_ledger *l;
    enum st_code (*visit)(void *arg, struct st_str name, const struct st_claim_kept *kept);
    void *arg;
};

static enum st_code visit_note(void *arg, struct st_str key, struct st_str value)
{
    struct note_visit *v = arg;
    struct st_claim_kept kept;
    struct st_str name;
    (void)key;
    if (!st_row_take_bytes(&value, &name) || value.n != 0)
        return ST_DAMAGED;
    enum st_code code = st_claim_kept_read(v->l, name, &kept);
    if (code == ST_NOT_FOUND)
        return ST_DAMAGED; /* the outbox names what is not there */
    return code == ST_OK ? v->visit(v->arg, name, &kept) : code;
}

enum st_code st_claim_uncopied_each(struct st_ledger *l, uint64_t after,
                                    enum st_code (*visit)(void *arg, struct st_str name,
                                                          const struct st_claim_kept *kept),
                                    void *arg)
{
    struct note_visit v = {l, visit, arg};
    struct st_str from = {NULL, 0};
    if (after > 0) {
        from = st_key_note(&l->key, after);
        if (l->key.failed)
            return ST_NO_MEMORY;
    }
    return each_row(l, ST_STR("U"), from, visit_note, &v);
}
