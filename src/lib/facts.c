/* facts.c - reading attributes and counters. */
#include "lib/internal.h"

#include <stdio.h>
#include <stdlib.h>

int strata_fact_get(strata *s, const char *entity, const char *attribute, uint64_t as_of_ms,
                    strata_attribute *out)
{
    int code = st_lib_name(s, "entity", entity);
    if (code == STRATA_OK)
        code = st_lib_name(s, "attribute", attribute);
    if (code == STRATA_OK)
        code = as_of_ms == 0 ? st_lib_begin_for(s, entity) : st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    struct st_attribute a;
    enum st_code got;
    if (as_of_ms != 0) {
        got = st_history_as_of(s, entity, attribute, as_of_ms, out);
    } else {
        got = st_attribute_read(st_index_kv(s->index), st_str_of(entity), st_str_of(attribute),
                                &s->read, &a);
        if (got == ST_OK && !st_lib_attribute(s, &a, out))
            got = ST_NO_MEMORY;
        if (got == ST_OK)
            st_mark_read(s, out, &a);
    }
    if (got != ST_OK)
        code = st_lib_index_fault(s, got);
    st_lib_end(s);
    if (code == STRATA_OK && !out->present) {
        code = st_lib_fail(s, ST_NOT_FOUND, "%s has no %s%s", entity, attribute,
                           as_of_ms != 0 ? " at that time" : "");
        if (out->count > 0 && !out->pending && as_of_ms == 0)
            st_lib_hint(s, "it was removed; `strata history` shows what it was");
    }
    return code;
}

/* --- listing -------------------------------------------------------------------------------------
 */

struct query {
    const char *entity, *attribute, *agent;
    uint64_t since_ms, until_ms, as_of_ms;
    const char *after_entity, *after_attribute;
    size_t limit;
    bool with_absent, facts_only;
};

static struct query query_of(const strata_fact_query *q)
{
    struct query r = {0};
#define TAKE(field)                                                                                \
    if (ST_HAS(q, field))                                                                          \
    r.field = q->field
    TAKE(entity);
    TAKE(attribute);
    TAKE(agent);
    TAKE(since_ms);
    TAKE(until_ms);
    TAKE(as_of_ms);
    TAKE(after_entity);
    TAKE(after_attribute);
    TAKE(limit);
    TAKE(with_absent);
    TAKE(facts_only);
#undef TAKE
    return r;
}

static bool item_fits(const struct query *q, const strata_item *item)
{
    if (q->agent != NULL && strcmp(q->agent, item->agent) != 0)
        return false;
    if (q->since_ms != 0 && item->time_ms < q->since_ms)
        return false;
    return q->until_ms == 0 || item->time_ms <= q->until_ms;
}

static bool attribute_fits(const struct query *q, const strata_attribute *a)
{
    if (!a->present && !q->with_absent && !a->pending)
        return false;
    if (q->agent == NULL && q->since_ms == 0 && q->until_ms == 0)
        return true;
    for (size_t i = 0; i < a->count; i++)
        if ((a->items[i].shown || a->pending) && item_fits(q, &a->items[i]))
            return true;
    return false;
}

struct walk {
    strata *s;
    const struct query *q;
    int (*visit)(void *arg, const strata_attribute *a);
    void *arg;
    size_t visited;
    int result;
    const char *skip_to; /* stopped at what is no fact: where it ends */
    /* For the state as it was: names only, looked at afterwards. */
    struct st_buf names;
};

/* The names of tasks and messages, and those of tracked files, stand together: all of them are passed over
 * at once. */
static bool is_skipped(struct walk *w, const struct st_attribute *a)
{
    enum st_entity_kind kind = st_entity_kind(a->entity);
    if (!w->q->facts_only || w->q->entity != NULL || kind == ST_ENTITY_FACT)
        return false;
    w->skip_to = kind == ST_ENTITY_NUMBERED ? "#9\xff"
                                            : ST_DOCUMENT_PREFIX "\xff"; /* no name has this byte */
    return true;
}

static bool name_fits(const struct walk *w, const struct st_attribute *a)
{
    return w->q->attribute == NULL || st_str_equal(a->attribute, st_str_of(w->q->attribute));
}

static enum st_code visited(struct walk *w, const strata_attribute *a)
{
    w->result = w->visit(w->arg, a);
    w->visited++;
    bool enough = w->q->limit != 0 && w->visited >= w->q->limit;
    return w->result != 0 || enough ? ST_SCAN_STOP : ST_OK;
}

static enum st_code visit_now(void *arg, const struct st_attribute *a)
{
    struct walk *w = arg;
    strata_attribute out;
    if (is_skipped(w, a))
        return ST_SCAN_STOP;
    if (!name_fits(w, a))
        return ST_OK;
    st_arena_reset(&w->s->arena);
    if (!st_lib_attribute(w->s, a, &out))
        return ST_NO_MEMORY;
    if (!attribute_fits(w->q, &out))
        return ST_OK;
    st_mark_read(w->s, &out, a);
    return visited(w, &out);
}

static enum st_code collect_name(void *arg, const struct st_attribute *a)
{
    struct walk *w = arg;
    if (is_skipped(w, a))
        return ST_SCAN_STOP;
    if (!name_fits(w, a))
        return ST_OK;
    st_buf_add(&w->names, a->entity.p, a->entity.n);
    st_buf_add_char(&w->names, '\0');
    st_buf_add(&w->names, a->attribute.p, a->attribute.n);
    st_buf_add_char(&w->names, '\0');
    return w->names.failed ? ST_NO_MEMORY : ST_OK;
}

static enum st_code visit_as_of(struct walk *w)
{
    const char *p = w->names.p, *end = w->names.p + w->names.n;
    while (p != NULL && p < end) {
        const char *entity = p, *attribute = p + strlen(p) + 1;
        p = attribute + strlen(attribute) + 1;
        strata_attribute a;
        st_arena_reset(&w->s->arena);
        enum st_code code = st_history_as_of(w->s, entity, attribute, w->q->as_of_ms, &a);
        if (code != ST_OK)
            return code;
        if (!attribute_fits(w->q, &a))
            continue;
        if (visited(w, &a) == ST_SCAN_STOP)
            return ST_OK;
    }
    return ST_OK;
}

int strata_fact_each(strata *s, const strata_fact_query *query,
                     int (*visit)(void *arg, const strata_attribute *a), void *arg)
{
    struct query q = query_of(query);
    int code = q.entity != NULL ? st_lib_name(s, "entity", q.entity) : STRATA_OK;
    if (code == STRATA_OK && q.attribute != NULL)
        code = st_lib_name(s, "attribute", q.attribute);
    bool one = q.entity != NULL && q.as_of_ms == 0;
    if (code == STRATA_OK)
        code = one ? st_lib_begin_for(s, q.entity) : st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    struct walk w = {.s = s, .q = &q, .visit = visit, .arg = arg};
    st_buf_init(&w.names, st_alloc_libc());
    enum st_code got;
    do {
        w.skip_to = NULL;
        got = st_attribute_each(st_index_kv(s->index), st_str_of(q.entity),
                                st_str_of(q.after_entity), st_str_of(q.after_attribute), &s->read,
                                q.as_of_ms != 0 ? collect_name : visit_now, &w);
        q.after_entity = w.skip_to;
        q.after_attribute = "";
    } while (got == ST_OK && w.skip_to != NULL);
    if (got == ST_OK && q.as_of_ms != 0)
        got = visit_as_of(&w);
    if (got != ST_OK)
        code = got == ST_NO_MEMORY ? st_lib_no_memory(s) : st_lib_index_fault(s, got);
    st_buf_release(&w.names);
    st_lib_end(s);
    return code == STRATA_OK && w.result < 0 ? w.result : code;
}

/* --- counters --------------------------------------------------------------------------------- */

int strata_counter_get(strata *s, const char *name, int64_t *total)
{
    *total = 0;
    int code = st_lib_name(s, "counter's name", name);
    if (code == STRATA_OK)
        code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    bool exists = false;
    enum st_code got = st_counter_read(st_index_kv(s->index), st_str_of(name), total, &exists);
    if (got != ST_OK)
        code = st_lib_index_fault(s, got);
    else if (!exists)
        code = st_lib_fail(s, ST_NOT_FOUND, "nothing was counted under %s", name);
    st_lib_end(s);
    return code;
}

struct counters {
    strata *s;
    int (*visit)(void *arg, const char *name, int64_t total);
    void *arg;
    int result;
};

static enum st_code visit_counter(void *arg, struct st_str name, int64_t total)
{
    struct counters *c = arg;
    st_arena_reset(&c->s->arena);
    const char *text = st_arena_text(&c->s->arena, name);
    if (text == NULL)
        return ST_NO_MEMORY;
    c->result = c->visit(c->arg, text, total);
    return c->result != 0 ? ST_SCAN_STOP : ST_OK;
}

int strata_counter_each(strata *s, const char *prefix,
                        int (*visit)(void *arg, const char *name, int64_t total), void *arg)
{
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    struct counters c = {s, visit, arg, 0};
    enum st_code got = st_counter_each(st_index_kv(s->index), st_str_of(prefix), visit_counter, &c);
    if (got != ST_OK)
        code = st_lib_index_fault(s, got);
    st_lib_end(s);
    return code == STRATA_OK && c.result < 0 ? c.result : code;
}
