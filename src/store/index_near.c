/*
 * index_near.c - whether the records that the index lacks touch an entity at all.
 *
 * Of many processes that look at one entity and write, each would have to apply what the others
 * wrote meanwhile, to find that nearly all of it is about something else. x->near keeps which names
 * the lines behind the state that is in memory have, so each line is looked at once, however
 * many questions there are. A name that seems to be there and is not costs the applying that it
 * would have spared.
 */
#include "store/index_internal.h"

void st_near_reset(struct st_index *x)
{
    if (x->near.open)
        st_log_reader_close(&x->near.reader);
    x->near.open = false;
    st_names_reset(&x->near.names);
}

/* Begins behind the position; with the first line where nothing was applied. */
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
    if (w->segment == 0 && p->records > 0)
        return ST_NOT_FOUND;
    code = st_log_reader_open(&n->reader, x->log->env, x->alloc, x->log->dir, own);
    if (code != ST_OK)
        return code;
    n->open = true;
    if (p->records > 0)
        st_log_reader_seek(&n->reader, w->segment, w->offset, p->counter, p->checksum);
    return ST_OK;
}

static enum st_code near_fill(struct st_index *x, const struct st_tail *tail)
{
    struct st_near *n = &x->near;
    struct st_str line;
    enum st_code code = n->open ? ST_OK : near_open(x);
    while (code == ST_OK && n->reader.counter < tail->counter)
        code = st_names_read(&n->names, &n->reader, &line);
    return code == ST_OK && !st_names_at(&n->reader, tail) ? ST_DAMAGED : code;
}

bool st_near_touches(struct st_index *x, const struct st_tail *tail, struct st_str entity)
{
    struct st_names *n = &x->near.names;
    if (near_fill(x, tail) != ST_OK) {
        st_near_reset(x);
        return true; /* whoever applies them says what is wrong */
    }
#ifdef ST_DEFECT_NEAR_NAME
    entity = st_str_of("nobody");
#endif
    struct st_str name = st_names_spelled(x, entity);
#ifdef ST_DEFECT_NEAR_SEEN
    return st_names_have(n, name);
#else
    return n->seen || n->any || name.n == 0 || st_names_have(n, name);
#endif
}
