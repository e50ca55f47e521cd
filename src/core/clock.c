/*
 * clock.c - comparing writers and dots, the hybrid logical clock, version vectors.
 *
 * A vector's entries are strictly ascending by writer; every function here keeps that and may
 * rely on it. A vector with cap 0 but entries is a view of memory that somebody else owns (the
 * vectors of a decoded record are): it can be read and released, not raised by a new writer.
 */
#include "core/clock.h"

#define VECTOR_CAP_MIN 8

int st_writer_compare(struct st_writer a, struct st_writer b)
{
    if (a.replica != b.replica)
        return a.replica < b.replica ? -1 : 1;
    return (a.epoch > b.epoch) - (a.epoch < b.epoch);
}

int st_dot_compare(struct st_dot a, struct st_dot b)
{
    int order = st_writer_compare(a.writer, b.writer);

    return order != 0 ? order : (a.counter > b.counter) - (a.counter < b.counter);
}

size_t st_dots_add(struct st_dot *list, size_t count, struct st_dot d)
{
    size_t at = count;
    while (at > 0 && st_dot_compare(list[at - 1], d) > 0)
        at--;
    if (at > 0 && st_dot_compare(list[at - 1], d) == 0)
        return count;
    memmove(&list[at + 1], &list[at], (count - at) * sizeof *list);
    list[at] = d;
    return count + 1;
}

int st_hlc_compare(struct st_hlc a, struct st_hlc b)
{
    if (a.ms != b.ms)
        return a.ms < b.ms ? -1 : 1;
    return (a.logical > b.logical) - (a.logical < b.logical);
}

/* A logical counter that runs over borrows a millisecond from the future: the order matters,
 * the wall clock will catch up. */
struct st_hlc st_hlc_tick(struct st_hlc last, uint64_t wall_ms)
{
    if (wall_ms > last.ms)
        return (struct st_hlc){wall_ms, 0};
    if (last.logical == UINT32_MAX) {
        ST_ASSERT(last.ms != UINT64_MAX);
        return (struct st_hlc){last.ms + 1, 0};
    }
    return (struct st_hlc){last.ms, last.logical + 1};
}

struct st_hlc st_hlc_observe(struct st_hlc last, struct st_hlc remote, uint64_t wall_ms)
{
    if (remote.ms > wall_ms && remote.ms - wall_ms > ST_CLOCK_AHEAD_MS_MAX)
        return last;
    return st_hlc_compare(remote, last) > 0 ? remote : last;
}

void st_vector_init(struct st_vector *v, const struct st_alloc *alloc)
{
    *v = (struct st_vector){.alloc = alloc};
}

void st_vector_release(struct st_vector *v)
{
    if (v->cap > 0)
        (void)v->alloc->resize(v->alloc->ctx, v->entries, 0);
    st_vector_init(v, v->alloc);
}

/* Index of the first entry that is not before w. */
static size_t vector_position(const struct st_vector *v, struct st_writer w)
{
    size_t low = 0, high = v->count;

    /* Vectors are mostly built in order. */
    if (high > 0 && st_writer_compare(v->entries[high - 1].writer, w) < 0)
        return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (st_writer_compare(v->entries[middle].writer, w) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t st_vector_get(const struct st_vector *v, struct st_writer w)
{
    size_t i = vector_position(v, w);

    if (i == v->count || st_writer_compare(v->entries[i].writer, w) != 0)
        return 0;
    return v->entries[i].counter;
}

/* Makes room for `count` entries in all. */
static bool vector_reserve(struct st_vector *v, size_t count)
{
    struct st_vector_entry *entries;
    size_t cap;

    if (count > ST_WRITERS_MAX)
        return false;
    if (count <= v->cap)
        return true;
    ST_ASSERT(v->cap > 0 || v->count == 0);
    cap = v->cap < VECTOR_CAP_MIN ? VECTOR_CAP_MIN : v->cap;
    while (cap < count)
        cap *= 2;
    entries = v->alloc->resize(v->alloc->ctx, v->entries, cap * sizeof(*entries));
    if (entries == NULL)
        return false;
    v->entries = entries;
    v->cap = cap;
    return true;
}

bool st_vector_raise(struct st_vector *v, struct st_writer w, uint64_t counter)
{
    size_t i = vector_position(v, w);

    if (counter == 0)
        return true;
    if (i < v->count && st_writer_compare(v->entries[i].writer, w) == 0) {
        if (v->entries[i].counter < counter)
            v->entries[i].counter = counter;
        return true;
    }
    if (!vector_reserve(v, v->count + 1))
        return false;
    memmove(v->entries + i + 1, v->entries + i, (v->count - i) * sizeof(*v->entries));
    v->entries[i] = (struct st_vector_entry){w, counter};
    v->count++;
    return true;
}

/* How many entries of b have a writer that a lacks. */
static size_t vector_missing(const struct st_vector *a, const struct st_vector *b)
{
    size_t i = 0, j, missing = 0;

    for (j = 0; j < b->count; j++) {
        while (i < a->count && st_writer_compare(a->entries[i].writer, b->entries[j].writer) < 0)
            i++;
        missing +=
            i == a->count || st_writer_compare(a->entries[i].writer, b->entries[j].writer) != 0;
    }
    return missing;
}

/* Merges from the back into the grown array, so that nothing is overwritten before it was read.
 * On failure v is as it was. */
bool st_vector_join(struct st_vector *v, const struct st_vector *other)
{
    size_t missing = vector_missing(v, other);
    size_t i = v->count, j = other->count, k = v->count + missing;

    if (missing > 0 && !vector_reserve(v, k))
        return false;
    v->count = k;
    while (j > 0) {
        struct st_vector_entry theirs = other->entries[j - 1];
        int order = i == 0 ? -1 : st_writer_compare(v->entries[i - 1].writer, theirs.writer);

        if (order > 0) {
            v->entries[--k] = v->entries[--i];
            continue;
        }
        if (order == 0) {
            if (v->entries[i - 1].counter > theirs.counter)
                theirs.counter = v->entries[i - 1].counter;
            i--;
        }
        v->entries[--k] = theirs;
        j--;
    }
    ST_ASSERT(i == k);
    return true;
}

bool st_vector_within(const struct st_vector *a, const struct st_vector *b)
{
    size_t i, j = 0;

    if (a->count > b->count)
        return false;
    for (i = 0; i < a->count; i++) {
        const struct st_vector_entry *e = &a->entries[i];

        while (j < b->count && st_writer_compare(b->entries[j].writer, e->writer) < 0)
            j++;
        if (j == b->count || st_writer_compare(b->entries[j].writer, e->writer) != 0 ||
            b->entries[j].counter < e->counter)
            return false;
    }
    return true;
}
