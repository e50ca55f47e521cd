/*
 * index_whole.c - whether there is anything at all of an entity, told without the database.
 *
 * Whoever makes something new asks first whether it is there, and mostly it is not. x->whole keeps the
 * names in all lines of our log, and in those of the logs of others that ours has taken in: the index has
 * nothing from elsewhere. A name that is not among them is nowhere. Each line is looked at once, and only
 * where they are few; else, and when something is wrong, the database is asked as ever.
 */
#include "store/index_internal.h"

#include <stdlib.h>

/* So much is read for one question: some 5 ms. */
#define LINES_MAX 4096
#define BYTES_MAX (2 << 20)
/* With a quarter of the filter set, it answers a sixteenth of the questions wrong; then it is given up. */
#define SET_MAX (ST_NAMES_BITS / 4)

void st_whole_init(struct st_index *x)
{
    st_record_scratch_init(&x->whole.scratch, x->alloc);
}

static void lose(struct st_whole *w)
{
    for (size_t i = 0; i < w->count; i++)
        st_log_reader_close(&w->logs[i]);
    w->count = 0;
    w->lost = true;
}

void st_whole_release(struct st_index *x)
{
    lose(&x->whole);
    free(x->whole.logs);
    st_record_scratch_release(&x->whole.scratch);
}

/* The index of a log in `logs`. */
static enum st_code open_log(struct st_index *x, struct st_writer writer, size_t *out)
{
    struct st_whole *w = &x->whole;
    for (*out = 0; *out < w->count; (*out)++)
        if (st_writer_compare(w->logs[*out].writer, writer) == 0)
            return ST_OK;
    if (!st_grow(&w->logs, &w->cap, w->count + 1, sizeof *w->logs))
        return ST_NO_MEMORY;
    enum st_code code =
        st_log_reader_open(&w->logs[*out], x->log->env, x->alloc, x->log->dir, writer);
    w->count += code == ST_OK;
    return code;
}

/* Up to that counter there is not too much to read. */
static bool affords(const struct st_whole *w, size_t log, uint64_t counter)
{
    return counter <= w->logs[log].counter || counter - w->logs[log].counter <= w->lines;
}

static enum st_code read_line(struct st_whole *w, size_t log, struct st_str *line)
{
    enum st_code code = st_names_read(&w->names, &w->logs[log], line);
    if (code != ST_OK)
        return code;
    if (w->lines == 0 || line->n > w->bytes)
        return ST_LIMIT;
    w->lines--;
    w->bytes -= line->n;
    return ST_OK;
}

/* The lines of another's log up to that counter. */
static enum st_code read_other(struct st_index *x, struct st_vector_entry e)
{
    struct st_whole *w = &x->whole;
    struct st_str line;
    size_t log;
    enum st_code code = open_log(x, e.writer, &log);
    if (code != ST_OK || log == 0)
        return code;
    if (!affords(w, log, e.counter))
        return ST_LIMIT;
    while (code == ST_OK && w->logs[log].counter < e.counter)
        code = read_line(w, log, &line);
    /* There may be many, of each life of each copy; it opens its file again when there is more. */
    st_log_reader_close(&w->logs[log]);
    return code;
}

/* What a line of ours says it has seen. */
static enum st_code take_in(struct st_index *x, struct st_str line)
{
    struct st_record r = {0};
    enum st_code code = st_record_decode(line, &x->whole.scratch, &r);
    for (size_t i = 0; code == ST_OK && i < r.op_count; i++)
        for (size_t n = 0;
             code == ST_OK && r.ops[i].kind == ST_OP_SEEN && n < r.ops[i].vector.count; n++)
            code = read_other(x, r.ops[i].vector.entries[n]);
    return code;
}

static enum st_code fill(struct st_index *x, const struct st_tail *tail)
{
    struct st_whole *w = &x->whole;
    struct st_str line;
    size_t own = 0;
    w->lines = LINES_MAX;
    w->bytes = BYTES_MAX;
    enum st_code code = w->count > 0 ? ST_OK : open_log(x, st_log_writer(x->log), &own);
    if (code == ST_OK && !affords(w, 0, tail->counter))
        return ST_LIMIT;
    while (code == ST_OK && w->logs[0].counter < tail->counter) {
        w->names.seen = false;
        code = read_line(w, 0, &line);
#ifndef ST_DEFECT_WHOLE_SEEN
        if (code == ST_OK && w->names.seen)
            code = take_in(x, line);
#endif
    }
    if (code == ST_OK && !st_names_at(&w->logs[0], tail))
        return ST_DAMAGED;
    return code == ST_OK && (w->names.any || w->names.set > SET_MAX) ? ST_LIMIT : code;
}

bool st_whole_lacks(struct st_index *x, const struct st_tail *tail, struct st_str entity)
{
    struct st_whole *w = &x->whole;
    if (!w->lost && fill(x, tail) != ST_OK)
        lose(w);
    struct st_str name = st_names_spelled(x, entity);
    return !w->lost && name.n > 0 && !st_names_have(&w->names, name);
}
