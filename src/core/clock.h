/*
 * clock.h - identities and time: writers, dots, version vectors, hybrid logical clocks.
 *
 * writer   one epoch of one replica; the unit that hands out counters. All processes on a
 *          machine write as the same writer; a reboot, a copy or a lost disk page starts a
 *          new epoch, so no counter is ever given out twice.
 * dot      (writer, counter): names one record for ever. Counters start at 1.
 * vector   per writer the highest counter seen; records of a writer are taken in without
 *          gaps, so one number says it all.
 * hlc      hybrid logical clock (Kulkarni et al., "Logical Physical Clocks", 2014): wall
 *          clock milliseconds and a logical counter; grows along causality, stays near the
 *          wall clock. Used to order what is concurrent for display, never to decide what
 *          supersedes what.
 */
#ifndef ST_CORE_CLOCK_H
#define ST_CORE_CLOCK_H

#include "core/base.h"
#include "core/limits.h"

struct st_writer {
    uint64_t replica; /* random, made by init; never 0 */
    uint64_t epoch;   /* ordinal << 48 | 48 random bits: two copies that both notice that
                         they are copies still start different epochs */
};

struct st_dot {
    struct st_writer writer;
    uint64_t counter; /* from 1; 0 means "none" */
};

struct st_hlc {
    uint64_t ms; /* milliseconds since 1970-01-01 UTC; at most 2^53 - 1 */
    uint32_t logical;
};

int st_writer_compare(struct st_writer a, struct st_writer b);
int st_dot_compare(struct st_dot a, struct st_dot b); /* writer, then counter */
/* Puts d into a sorted list with room for one more, unless it is there. Returns the new count. */
size_t st_dots_add(struct st_dot *list, size_t count, struct st_dot d);
int st_hlc_compare(struct st_hlc a, struct st_hlc b);

static inline uint64_t st_epoch_ordinal(uint64_t epoch)
{
    return epoch >> 48;
}

/* The next timestamp of a writer whose last one was `last`, when the wall clock says
 * wall_ms. Always greater than `last`. */
struct st_hlc st_hlc_tick(struct st_hlc last, uint64_t wall_ms);

/* `last` after having seen `remote`: the later of both, except that a remote time more than
 * ST_CLOCK_AHEAD_MS_MAX ahead of wall_ms is left out (it is stored as it is, elsewhere). */
struct st_hlc st_hlc_observe(struct st_hlc last, struct st_hlc remote, uint64_t wall_ms);

/* A version vector: entries sorted by writer, no duplicates, counters >= 1. */
struct st_vector_entry {
    struct st_writer writer;
    uint64_t counter;
};

struct st_vector {
    struct st_vector_entry *entries;
    size_t count;
    size_t cap;
    const struct st_alloc *alloc; /* borrowed for the life of the vector */
};

void st_vector_init(struct st_vector *v, const struct st_alloc *alloc);
void st_vector_release(struct st_vector *v);
/* 0 when the writer is unknown. */
uint64_t st_vector_get(const struct st_vector *v, struct st_writer w);
/* Raises one entry; never lowers. False when out of memory or over ST_WRITERS_MAX. */
bool st_vector_raise(struct st_vector *v, struct st_writer w, uint64_t counter);
/* Least upper bound into v. False as st_vector_raise. */
bool st_vector_join(struct st_vector *v, const struct st_vector *other);
static inline bool st_vector_has(const struct st_vector *v, struct st_dot d)
{
    return d.counter <= st_vector_get(v, d.writer);
}
/* a <= b in every entry. */
bool st_vector_within(const struct st_vector *a, const struct st_vector *b);

#endif
