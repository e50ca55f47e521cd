/* import_write.c - an import against a workspace: what is there already, and writing the rest. */
#include "edge/import.h"

#include <stdlib.h>

/* Up to this many entities are asked for one by one, beyond it everything is gone through once. */
#define ENTITY_QUERIES_MAX 1000

/* --- what is there already -------------------------------------------------------------------- */

static int see_attribute(void *arg, const strata_attribute *a)
{
    import_plan_attribute(arg, a);
    return 0;
}

static int see_counter(void *arg, const char *name, int64_t total)
{
    return import_plan_counter(arg, name, total);
}

static int see_facts(struct import_plan *p, strata *s)
{
    const struct import_table *entities = &p->entities;
    strata_fact_query query = {.size = sizeof query};
    if (entities->count == 0)
        return STRATA_OK;
    if (entities->count > ENTITY_QUERIES_MAX)
        return strata_fact_each(s, &query, see_attribute, p);
    for (size_t i = 0; i <= entities->mask; i++) {
        if (entities->slots[i] == 0)
            continue;
        query.entity = p->im->ops[entities->slots[i] - 1].entity;
        int code = strata_fact_each(s, &query, see_attribute, p);
        if (code != STRATA_OK && code != STRATA_NOT_FOUND)
            return code;
    }
    return STRATA_OK;
}

int import_look(struct import_plan *p, struct import *im, strata *s)
{
    int code = import_plan_init(p, im);
    if (code == STRATA_OK)
        code = see_facts(p, s);
    if (code == STRATA_OK && p->counters.count > 0)
        code = strata_counter_each(s, NULL, see_counter, p);
    return code == STRATA_OK ? import_plan_finish(p) : code;
}

/* --- writing ---------------------------------------------------------------------------------- */

struct batch {
    strata_op ops[IMPORT_RECORD_OPS_MAX];
    strata_written answers[IMPORT_RECORD_OPS_MAX];
    size_t count;
    size_t next; /* operation of the import to go on from */
};

static void batch_fill(struct batch *b, const struct import_plan *p)
{
    size_t size = 0;
    for (b->count = 0; b->next < p->im->count && b->count < IMPORT_RECORD_OPS_MAX; b->next++) {
        if (p->state[b->next] != IMPORT_WRITE)
            continue;
        size_t more = import_op_size(&p->im->ops[b->next]);
        if (b->count > 0 && size + more > IMPORT_RECORD_SIZE_MAX)
            break;
        size += more;
        b->ops[b->count++] = p->im->ops[b->next];
    }
}

static int batch_write(struct batch *b, struct import_writer *w)
{
    bool last = w->written + b->count == w->plan->write_count;
    bool sets = false;
    for (size_t i = 0; i < b->count && w->tell != NULL; i++)
        sets = sets || b->ops[i].kind == STRATA_SET;
    /* What a set replaced is always told, so the answer is needed where there is one. */
    unsigned flags = (sets ? STRATA_ANSWER : 0u) | (last && !w->no_flush ? 0u : STRATA_NO_FLUSH);
    int code = strata_write(w->s, b->ops, b->count, flags, NULL, sets ? b->answers : NULL);
    if (code != STRATA_OK)
        return code;
    w->written += b->count;
    w->records++;
    for (size_t i = 0; i < b->count && sets; i++)
        if (b->ops[i].kind == STRATA_SET)
            w->tell(w->arg, &b->ops[i], &b->answers[i]);
    return STRATA_OK;
}

int import_write(struct import_writer *w)
{
    struct batch *b = calloc(1, sizeof *b);
    int code = b != NULL ? STRATA_OK : STRATA_NO_MEMORY;
    while (code == STRATA_OK && w->written < w->plan->write_count) {
        batch_fill(b, w->plan);
        code = batch_write(b, w);
        if (w->progress != NULL)
            w->progress(w->arg, w->written);
    }
    free(b);
    return code;
}
