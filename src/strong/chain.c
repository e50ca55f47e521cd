/*
 * chain.c - positions and the head. The head after an entry is the XXH3-128 of the head before it
 * and of all that the entry says: agent, incarnation, commands. It shows accidents and forks; it
 * does not withstand somebody who crafts entries to collide.
 *
 *   'N'            position head(16)
 *   'N' position   place head(16) seals(1): where the entry of this position lies, the head before
 *                  it, whether it seals the log. For every ST_CHAIN_STEP-th entry from the first
 * on, for seals, and for what goes on behind one.
 */
#include "strong/strong_internal.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static void add_u64(struct st_buf *b, uint64_t value)
{
    char bytes[8];
    st_put_u64(bytes, value);
    st_buf_add(b, bytes, sizeof bytes);
}

/* --- rows ------------------------------------------------------------------------------------- */

#define HEAD_ROW_SIZE 24
#define STEP_ROW_SIZE 25

static void key_of(struct st_strong *s, uint64_t position)
{
    st_buf_reset(&s->key);
    st_buf_add_char(&s->key, 'N');
    if (position != 0)
        add_u64(&s->key, position);
}

static enum st_code row_get(struct st_strong *s, uint64_t position, struct st_str *value)
{
    const struct st_kv *kv = s->order->kv;
    key_of(s, position);
    return s->key.failed ? ST_NO_MEMORY : kv->get(kv->ctx, st_buf_str(&s->key), value);
}

static enum st_code row_put(struct st_strong *s, uint64_t position)
{
    const struct st_kv *kv = s->order->kv;
    key_of(s, position);
    if (s->key.failed || s->value.failed)
        return ST_NO_MEMORY;
    return kv->put(kv->ctx, st_buf_str(&s->key), st_buf_str(&s->value));
}

enum st_code st_chain_read(struct st_strong *s, struct st_chain *out)
{
    struct st_str value;
    *out = (struct st_chain){0};
    enum st_code code = row_get(s, 0, &value);
    if (code == ST_NOT_FOUND)
        return ST_OK;
    if (code == ST_OK && value.n != HEAD_ROW_SIZE)
        return ST_DAMAGED;
    if (code == ST_OK)
        *out = (struct st_chain){st_get_u64(value.p),
                                 {st_get_u64(value.p + 8), st_get_u64(value.p + 16)}};
    return code;
}

/* Where the entry at a position lies; the head before it. */
struct step {
    uint64_t place, head[2];
    bool seals;
};

static enum st_code step_read(struct st_strong *s, uint64_t position, struct step *out)
{
    struct st_str value;
    enum st_code code = row_get(s, position, &value);
    if (code == ST_OK && value.n != STEP_ROW_SIZE)
        return ST_DAMAGED;
    if (code == ST_OK)
        *out = (struct step){st_get_u64(value.p),
                             {st_get_u64(value.p + 8), st_get_u64(value.p + 16)},
                             value.p[24] != 0};
    return code;
}

static enum st_code step_write(struct st_strong *s, uint64_t position, const struct step *step)
{
    st_buf_reset(&s->value);
    add_u64(&s->value, step->place);
    add_u64(&s->value, step->head[0]);
    add_u64(&s->value, step->head[1]);
    st_buf_add_char(&s->value, step->seals ? 1 : 0);
    return row_put(s, position);
}

/* --- adding ----------------------------------------------------------------------------------- */

static void hash_string(XXH3_state_t *h, struct st_str s)
{
    uint64_t n = s.n;
    XXH3_128bits_update(h, &n, sizeof n);
    XXH3_128bits_update(h, s.p, s.n);
}

static void chain(struct st_chain *c, const struct st_entry *e)
{
    XXH3_state_t h;
    XXH3_128bits_reset(&h);
    XXH3_128bits_update(&h, c->head, sizeof c->head);
    hash_string(&h, e->agent);
    XXH3_128bits_update(&h, &e->incarnation, sizeof e->incarnation);
    for (size_t i = 0; i < e->count; i++)
        hash_string(&h, e->commands[i]);
    XXH128_hash_t digest = XXH3_128bits_digest(&h);
    c->head[0] = digest.high64;
    c->head[1] = digest.low64;
    c->position++;
}

enum st_code st_chain_add(struct st_strong *s, struct st_chain *c, const struct st_entry *e,
                          enum st_chain_mark mark)
{
    struct step step = {
        .place = e->place, .head = {c->head[0], c->head[1]}, .seals = mark == ST_CHAIN_SEALS};
    enum st_code code = ST_OK;
    chain(c, e);
    if (mark != ST_CHAIN_PLAIN || c->position % ST_CHAIN_STEP == 1)
        code = step_write(s, c->position, &step);
    st_buf_reset(&s->value);
    add_u64(&s->value, c->position);
    add_u64(&s->value, c->head[0]);
    add_u64(&s->value, c->head[1]);
    return code == ST_OK ? row_put(s, 0) : code;
}

/* --- walking ---------------------------------------------------------------------------------- */

struct walk {
    struct st_strong *s;
    struct st_chain at; /* the entry visited last */
    uint64_t after, end;
    bool sealed; /* it sealed the log */
    enum st_code (*visit)(void *arg, uint64_t position, const struct st_entry *e);
    void *arg;
};

static enum st_code walk_entry(void *arg, const struct st_entry *e)
{
    struct walk *w = arg;
    struct step step;
    if (w->at.position == w->end)
        return ST_SCAN_STOP;
    chain(&w->at, e);
    enum st_code code = ST_OK;
    if (w->at.position > w->after && w->visit != NULL)
        code = w->visit(w->arg, w->at.position, e);
    static const char mark[] = "{\"op\":\"seal\"";
    for (size_t i = 0; i < e->count && code == ST_OK; i++)
        if (e->commands[i].n >= sizeof mark - 1 &&
            memcmp(e->commands[i].p, mark, sizeof mark - 1) == 0 &&
            step_read(w->s, w->at.position, &step) == ST_OK)
            w->sealed = step.seals;
    if (code == ST_SCAN_STOP)
        w->end = w->at.position;
    return w->sealed && code == ST_OK ? ST_SCAN_STOP : code;
}

/* From the last row at or before position `after` + 1 on. */
static enum st_code walk(struct walk *w)
{
    struct st_order *o = w->s->order;
    struct step step;
    uint64_t first = w->after / ST_CHAIN_STEP * ST_CHAIN_STEP + 1;
    if (first > w->end)
        first = w->end == 0 ? 1 : (w->end - 1) / ST_CHAIN_STEP * ST_CHAIN_STEP + 1;
    enum st_code code = ST_OK;
    while (code == ST_OK && w->at.position < w->end) {
        code = step_read(w->s, first, &step);
        if (code != ST_OK)
            return code == ST_NOT_FOUND ? ST_DAMAGED : code;
        w->at = (struct st_chain){first - 1, {step.head[0], step.head[1]}};
        w->sealed = false;
        code = o->engine->each(o, step.place, walk_entry, w);
        if (code == ST_OK && !w->sealed && w->at.position < w->end)
            return st_fail(&w->s->fault, ST_DAMAGED, "the ordered log ends at entry %llu of %llu",
                           (unsigned long long)w->at.position, (unsigned long long)w->end);
        first = w->at.position + 1; /* behind a seal */
    }
    return code;
}

enum st_code st_chain_at(struct st_strong *s, uint64_t position, struct st_chain *out)
{
    struct walk w = {.s = s, .after = position > 0 ? position - 1 : 0, .end = position};
    struct st_chain last;
    enum st_code code = st_chain_read(s, &last);
    if (code == ST_OK && position > last.position)
        return ST_NOT_FOUND;
    if (code == ST_OK && position == last.position)
        w.at = last;
    else if (code == ST_OK && position > 0)
        code = walk(&w);
    *out = w.at;
    return code;
}

enum st_code st_chain_each(struct st_strong *s, uint64_t after,
                           enum st_code (*visit)(void *arg, uint64_t position,
                                                 const struct st_entry *e),
                           void *arg)
{
    struct st_chain last;
    enum st_code code = st_chain_read(s, &last);
    if (code != ST_OK || after >= last.position)
        return code;
    struct walk w = {.s = s, .after = after, .end = last.position, .visit = visit, .arg = arg};
    return walk(&w);
}
