/*
 * index_near.c - whether the records that the index lacks touch an entity at all.
 *
 * Of many processes that look at one entity and write, each would have to apply what the others
 * wrote meanwhile, to find that nearly all of it is about something else. The lines of a record
 * name the entities that they touch, in the one spelling there is (core/record_encode.c): a line
 * that does not contain the name in quotes does not touch it. Only "seen" takes in more than it
 * says.
 *
 * x->near holds the lines behind the state that is in memory, as far as they were looked at.
 */
#include "store/index_internal.h"

#include <string.h>

void st_near_reset(struct st_index *x)
{
    struct st_near *n = &x->near;
    if (n->open)
        st_log_reader_close(&n->reader);
    n->open = false;
    n->lines.n = 0;
}

void st_near_release(struct st_index *x)
{
    st_near_reset(x);
    st_buf_release(&x->near.lines);
    st_buf_release(&x->near.name);
}

/* Begins behind the position. */
static enum st_code near_open(struct st_index *x)
{
    const struct st_position *p = &x->position;
    struct st_near *n = &x->near;
    enum st_code code = st_index_writers_load(x);
    if (code != ST_OK)
        return code;
    struct st_writer own = st_log_writer(x->log);
    uint32_t no = st_index_writer_no(x, own);
    if (no == 0)
        return ST_NO_MEMORY;
    const struct st_index_writer *w = &x->writers[no - 1];
    code = w->segment == 0
               ? ST_NOT_FOUND
               : st_log_reader_open(&n->reader, x->log->env, x->alloc, x->log->dir, own);
    if (code != ST_OK)
        return code;
    n->open = true;
    st_log_reader_seek(&n->reader, w->segment, w->offset, p->counter, p->checksum);
    return ST_OK;
}

static enum st_code near_fill(struct st_index *x, const struct st_tail *tail)
{
    struct st_near *n = &x->near;
    enum st_code code = n->open ? ST_OK : near_open(x);
    while (code == ST_OK && n->reader.counter < tail->counter) {
        struct st_str line;
        struct st_record head;
        code = st_log_reader_next(&n->reader, &line, &head);
        if (code == ST_OK)
            st_buf_add_str(&n->lines, line);
        if (n->lines.failed)
            code = ST_NO_MEMORY;
    }
    return code;
}

static bool near_has(const struct st_near *n, const char *text, size_t size)
{
    return n->lines.n > 0 && memmem(n->lines.p, n->lines.n, text, size) != NULL;
}

bool st_near_touches(struct st_index *x, const struct st_tail *tail, struct st_str entity)
{
    static const char seen[] = "{\"op\":\"seen\"";
    struct st_near *n = &x->near;
    if (near_fill(x, tail) != ST_OK) {
        st_near_reset(x);
        return true; /* whoever applies them says what is wrong */
    }
    n->name.n = 0;
    st_json_add_string(&n->name, entity);
#ifdef ST_DEFECT_NEAR_NAME
    n->name.n = 0;
    st_json_add_string(&n->name, (struct st_str){"nobody", 6});
#endif
#ifdef ST_DEFECT_NEAR_SEEN
    return n->name.failed || near_has(n, n->name.p, n->name.n);
#else
    return n->name.failed || near_has(n, n->name.p, n->name.n) ||
           near_has(n, seen, sizeof seen - 1);
#endif
}
