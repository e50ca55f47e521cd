/*
 * index_near.c - whether the records that the index lacks touch an entity at all.
 *
 * Of many processes that look at one entity and write, each would have to apply what the others
 * wrote meanwhile, to find that nearly all of it is about something else. The line of a record
 * names the entities whose attributes it touches behind "e":, in the one spelling there is
 * (core/record_encode.c), in which no quote within a string stands without its backslash. Only
 * "seen" takes in more than it says.
 *
 * x->near keeps which names the lines behind the state that is in memory have: a Bloom filter,
 * so each line is looked at once, however many questions there are. A name that seems to be there
 * and is not costs the applying that it would have spared.
 */
#include "store/index_internal.h"

#include <string.h>

void st_near_reset(struct st_index *x)
{
    struct st_near *n = &x->near;
    if (n->open)
        st_log_reader_close(&n->reader);
    if (n->names_set)
        memset(n->names, 0, sizeof n->names);
    n->open = n->names_set = n->seen = false;
}

void st_near_release(struct st_index *x)
{
    st_near_reset(x);
    st_buf_release(&x->near.name);
}

/* --- the names in the lines --------------------------------------------------------------------- */

#define BITS (sizeof((struct st_near *)0)->names * 8)

static bool is_in(const struct st_near *n, struct st_str text)
{
    uint64_t h = st_checksum(text.p, text.n), a = h % BITS, b = (h >> 32) % BITS;
    return (n->names[a / 64] >> a % 64 & n->names[b / 64] >> b % 64 & 1) != 0;
}

static void put_in(struct st_near *n, struct st_str text)
{
    uint64_t h = st_checksum(text.p, text.n), a = h % BITS, b = (h >> 32) % BITS;
    n->names[a / 64] |= 1ull << a % 64;
    n->names[b / 64] |= 1ull << b % 64;
}

/* Where `text` ends in the line behind p; NULL: it is not there. */
static const char *behind(struct st_str line, const char *p, const char *text)
{
    size_t n = strlen(text);
    p = memmem(p, (size_t)(line.p + line.n - p), text, n);
    return p != NULL ? p + n : NULL;
}

static void add_line(struct st_near *n, struct st_str line)
{
    const char *p = line.p, *end = line.p + line.n;
    n->names_set = true;
    n->seen = n->seen || behind(line, p, "{\"op\":\"seen\"") != NULL;
    while ((p = behind(line, p, "\"e\":\"")) != NULL) {
        struct st_str name = {p, 0};
        while (p < end && *p != '"')
            p += *p == '\\' && p + 1 < end ? 2 : 1;
        name.n = (size_t)(p - name.p);
        put_in(n, name);
    }
}

/* --- reading them ----------------------------------------------------------------------------- */

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
    enum st_code code = n->open ? ST_OK : near_open(x);
    while (code == ST_OK && n->reader.counter < tail->counter) {
        struct st_str line;
        struct st_record head;
        code = st_log_reader_next(&n->reader, &line, &head);
        if (code == ST_OK)
            add_line(n, line);
    }
    return code;
}

bool st_near_touches(struct st_index *x, const struct st_tail *tail, struct st_str entity)
{
    struct st_near *n = &x->near;
    if (near_fill(x, tail) != ST_OK) {
        st_near_reset(x);
        return true; /* whoever applies them says what is wrong */
    }
#ifdef ST_DEFECT_NEAR_NAME
    entity = st_str_of("nobody");
#endif
    n->name.n = 0;
    st_json_add_string(&n->name, entity);
    if (n->name.failed)
        return true;
    struct st_str name = {n->name.p + 1, n->name.n - 2}; /* without its quotes */
#ifdef ST_DEFECT_NEAR_SEEN
    return is_in(n, name);
#else
    return n->seen || is_in(n, name);
#endif
}
