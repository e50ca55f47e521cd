/*
 * sim_file.c - the content of files: what processes see (cache), what is on disk, and the list
 * of what is in the one but not yet in the other. See sim.h for what a power loss leaves.
 */
#include "sim/sim_internal.h"

#include <errno.h>
#include <stdlib.h>

void sim_bytes_resize(struct sim_bytes *b, size_t n)
{
    if (n > b->cap) {
        size_t cap = b->cap < 512 ? 512 : b->cap;
        while (cap < n)
            cap *= 2;
        b->p = sim_grow(b->p, cap);
        memset(b->p + b->cap, 0, cap - b->cap);
        b->cap = cap;
    }
    if (n < b->n)
        memset(b->p + n, 0, b->n - n);
    b->n = n;
}

void sim_bytes_copy(struct sim_bytes *to, const struct sim_bytes *from)
{
    sim_bytes_resize(to, 0);
    sim_bytes_resize(to, from->n);
    if (from->n > 0)
        memcpy(to->p, from->p, from->n);
}

/* The lowest free number, as ext4 gives them: a removed directory's number comes back. */
static uint64_t number_free(const struct sim_machine *m)
{
    for (uint64_t n = 2;; n++) {
        const struct sim_inode *i = m->inodes;
        while (i != NULL && i->number != n)
            i = i->next;
        if (i == NULL)
            return n;
    }
}

struct sim_inode *sim_inode_new(struct sim *s, int machine, bool directory)
{
    struct sim_machine *m = &s->machines[machine];
    struct sim_inode *i = sim_memory(sizeof *i);
    i->number = number_free(m);
    i->directory = directory;
    i->birth_ns = sim_wall_ns(s, machine);
    i->next = m->inodes;
    m->inodes = i;
    return i;
}

void sim_ops_clear(struct sim_inode *i)
{
    for (size_t k = 0; k < i->op_count; k++)
        free(i->ops[k].data);
    i->op_count = 0;
    i->snapshot_count = 0;
}

void sim_inode_free(struct sim_inode *i)
{
    sim_ops_clear(i);
    free(i->ops);
    free(i->cache.p);
    free(i->disk.p);
    for (size_t k = 0; k < SIM_SNAPSHOTS_MAX; k++)
        free(i->snapshots[k].p);
    for (size_t k = 0; k < i->now.n; k++)
        free(i->now.p[k].name);
    for (size_t k = 0; k < i->durable.n; k++)
        free(i->durable.p[k].name);
    free(i->now.p);
    free(i->durable.p);
    free(i);
}

static struct sim_op *op_add(struct sim *s, struct sim_inode *i)
{
    if (i->op_count == i->op_cap) {
        i->op_cap = i->op_cap > 0 ? 2 * i->op_cap : 16;
        i->ops = sim_grow(i->ops, i->op_cap * sizeof *i->ops);
    }
    struct sim_op *op = &i->ops[i->op_count++];
    *op = (struct sim_op){.seq = ++s->seq};
    return op;
}

static void cache_resize(struct sim *s, struct sim_inode *i, uint64_t size)
{
    if (i->mapped && size > i->cache.cap)
        sim_die(s, "a mapped file grows beyond %zu bytes", i->cache.cap);
    sim_bytes_resize(&i->cache, size);
}

int64_t sim_file_write(struct sim *s, int machine, struct sim_inode *i, const void *p, size_t n,
                       uint64_t offset)
{
    uint64_t *space = &s->machines[machine].space;
    uint64_t end = offset + n;
    uint64_t growth = end > i->cache.n ? end - i->cache.n : 0;
    if (*space != UINT64_MAX && growth > *space) {
        uint64_t cut = growth - *space;
        if (cut >= n)
            return -ENOSPC;
        n -= cut;
        end -= cut;
        growth = *space;
    }
    if (*space != UINT64_MAX)
        *space -= growth;
    if (end > i->cache.n)
        cache_resize(s, i, end);
    const uint8_t *from = p;
    for (uint64_t at = offset; at < end;) {
        uint64_t page_end = (at / SIM_PAGE_SIZE + 1) * SIM_PAGE_SIZE;
        uint64_t stop = page_end < end ? page_end : end;
        struct sim_op *op = op_add(s, i);
        op->offset = at;
        op->n = (uint32_t)(stop - at);
        op->size_after = i->cache.n;
        op->data = sim_memory(op->n);
        memcpy(op->data, from, op->n);
        memcpy(i->cache.p + at, from, op->n);
        from += op->n;
        at = stop;
    }
    sim_file_snapshot(s, i);
    return (int64_t)n;
}

static void op_remove(struct sim_inode *i, size_t k)
{
    free(i->ops[k].data);
    memmove(&i->ops[k], &i->ops[k + 1], (i->op_count - k - 1) * sizeof *i->ops);
    i->op_count--;
}

/* Nothing will ever write the lost pages, among the first `count` operations, that are cut off at
 * `size`. Returns how many of these operations are left. */
static size_t lost_cut(struct sim_inode *i, size_t count, uint64_t size)
{
    for (size_t k = 0; k < count;) {
        struct sim_op *lost = &i->ops[k];
        if (lost->lost && lost->offset >= size) {
            op_remove(i, k);
            count--;
            continue;
        }
        if (lost->lost && lost->offset + lost->n > size)
            lost->n = (uint32_t)(size - lost->offset);
        k++;
    }
    return count;
}

void sim_file_truncate(struct sim *s, struct sim_inode *i, uint64_t size)
{
    cache_resize(s, i, size);
    lost_cut(i, i->op_count, size);
    struct sim_op *op = op_add(s, i);
    op->truncate = true;
    op->offset = size;
    op->size_after = size;
    sim_file_snapshot(s, i);
}

/* One operation onto bytes. The size is set by the caller. */
static void op_apply(const struct sim_op *op, struct sim_bytes *b)
{
    if (op->truncate) {
        if (op->size_after < b->n)
            memset(b->p + op->size_after, 0, b->n - op->size_after);
        return;
    }
    if (op->offset + op->n > b->n)
        sim_bytes_resize(b, op->offset + op->n);
    memcpy(b->p + op->offset, op->data, op->n);
}

/* --- flushing ------------------------------------------------------------------------------ */

static bool page_dirty(const struct sim_inode *i, uint64_t page, uint64_t seq)
{
    for (size_t k = 0; k < i->op_count; k++) {
        const struct sim_op *op = &i->ops[k];
        if (op->seq <= seq && !op->lost && !op->truncate && op->offset / SIM_PAGE_SIZE == page)
            return true;
    }
    return false;
}

void sim_file_flush(struct sim *s, struct sim_inode *i, uint64_t seq)
{
    (void)s;
    if (i->mapped) {
        sim_bytes_copy(&i->disk, &i->cache);
        sim_ops_clear(i);
        return;
    }
    uint64_t size = i->disk.n;
    for (size_t k = 0; k < i->op_count && i->ops[k].seq <= seq; k++)
        size = i->ops[k].size_after;
    for (size_t k = 0; k < i->op_count && i->ops[k].seq <= seq;) {
        struct sim_op *op = &i->ops[k];
        if (op->lost && !op->truncate && !page_dirty(i, op->offset / SIM_PAGE_SIZE, seq)) {
            k++;
            continue;
        }
        op_apply(op, &i->disk);
        bool truncate = op->truncate;
        uint64_t cut = op->size_after;
        /* Kept for page_dirty() of lost ones behind it; removed below. */
        op->lost = false;
        op->size_after = UINT64_MAX;
        if (truncate)
            k = lost_cut(i, k, cut);
        k++;
    }
    for (size_t k = 0; k < i->op_count && i->ops[k].seq <= seq;) {
        if (i->ops[k].size_after == UINT64_MAX) {
            op_remove(i, k);
            continue;
        }
        i->ops[k].size_after = size; /* the size is durable, only the page was lost */
        k++;
    }
    sim_bytes_resize(&i->disk, size);
}

/* Memory was short: the lost pages leave the cache, readers see the disk again. */
static void pages_drop(struct sim_inode *i)
{
    for (size_t k = 0; k < i->op_count;) {
        const struct sim_op *op = &i->ops[k];
        if (!op->lost || page_dirty(i, op->offset / SIM_PAGE_SIZE, UINT64_MAX)) {
            k++;
            continue;
        }
        for (uint64_t at = op->offset; at < op->offset + op->n && at < i->cache.n; at++)
            i->cache.p[at] = at < i->disk.n ? i->disk.p[at] : 0;
        op_remove(i, k);
    }
}

void sim_file_flush_failed(struct sim *s, struct sim_inode *i, uint64_t seq, int error)
{
    i->wb_error = error;
    i->wb_seq++;
    i->wb_seen = false;
    if (i->mapped) {
        i->snapshot_count = 0;
        return;
    }
    /* Some of the pages may have made it. */
    bool some = sim_below(s, 2) == 0;
    for (size_t k = 0; k < i->op_count && i->ops[k].seq <= seq; k++)
        if (!i->ops[k].truncate && !(some && sim_below(s, 4) == 0))
            i->ops[k].lost = true;
    if (some)
        sim_file_flush(s, i, seq);
    for (size_t k = 0; k < i->op_count && i->ops[k].seq <= seq; k++)
        i->ops[k].lost = !i->ops[k].truncate;
    if (sim_below(s, 4) == 0)
        pages_drop(i);
}

/* --- mapping ------------------------------------------------------------------------------- */

void *sim_file_map(struct sim *s, struct sim_inode *i, size_t size)
{
    size_t pages = (i->cache.n + SIM_PAGE_SIZE - 1) / SIM_PAGE_SIZE * SIM_PAGE_SIZE;
    if (size > pages)
        sim_die(s, "mapped beyond the end of the file: an access would be SIGBUS");
    if (!i->mapped) {
        size_t n = i->cache.n;
        if (n > SIM_MAPPED_SIZE)
            sim_die(s, "file too large to be mapped");
        sim_bytes_resize(&i->cache, SIM_MAPPED_SIZE);
        sim_bytes_resize(&i->cache, n);
        i->mapped = true;
        sim_file_snapshot(s, i);
    }
    return i->cache.p;
}

/* Remembers the content of a mapped file if it changed. Before the file was mapped its unflushed
 * writes are snapshots too: of the disk with the first k of them. */
void sim_file_snapshot(struct sim *s, struct sim_inode *i)
{
    if (!i->mapped)
        return;
    const struct sim_bytes *last =
        i->snapshot_count > 0 ? &i->snapshots[i->snapshot_count - 1] : &i->disk;
    if (last->n == i->cache.n && memcmp(last->p, i->cache.p, last->n) == 0)
        return;
    if (i->snapshot_count == SIM_SNAPSHOTS_MAX) {
        size_t drop = (size_t)sim_below(s, SIM_SNAPSHOTS_MAX - 1);
        struct sim_bytes spare = i->snapshots[drop];
        memmove(&i->snapshots[drop], &i->snapshots[drop + 1],
                (SIM_SNAPSHOTS_MAX - drop - 1) * sizeof spare);
        i->snapshots[SIM_SNAPSHOTS_MAX - 1] = spare;
        i->snapshot_count--;
    }
    sim_bytes_copy(&i->snapshots[i->snapshot_count++], &i->cache);
}

/* --- power loss ---------------------------------------------------------------------------- */

static bool op_touches(const struct sim_op *op, uint64_t start, uint64_t end)
{
    if (op->truncate)
        return op->size_after < end;
    return op->offset < end && op->offset + op->n > start;
}

/* The sector after the first k operations that touch it, into out (SIM_SECTOR_SIZE bytes). */
static void sector_version(const struct sim_inode *i, uint64_t start, uint64_t k, uint8_t *out)
{
    uint64_t end = start + SIM_SECTOR_SIZE;
    memset(out, 0, SIM_SECTOR_SIZE);
    if (start < i->disk.n)
        memcpy(out, i->disk.p + start,
               i->disk.n - start < SIM_SECTOR_SIZE ? i->disk.n - start : SIM_SECTOR_SIZE);
    for (size_t j = 0; j < i->op_count && k > 0; j++) {
        const struct sim_op *op = &i->ops[j];
        if (!op_touches(op, start, end))
            continue;
        k--;
        if (op->truncate) {
            uint64_t from = op->size_after > start ? op->size_after - start : 0;
            memset(out + from, 0, SIM_SECTOR_SIZE - from);
            continue;
        }
        uint64_t a = op->offset > start ? op->offset : start;
        uint64_t b = op->offset + op->n < end ? op->offset + op->n : end;
        memcpy(out + (a - start), op->data + (a - op->offset), b - a);
    }
}

static void sector_lose(struct sim *s, const struct sim_inode *i, uint64_t start, uint8_t *out)
{
    uint64_t count = 0;
    for (size_t j = 0; j < i->op_count; j++)
        count += op_touches(&i->ops[j], start, start + SIM_SECTOR_SIZE);
    uint64_t k = count > 0 ? sim_below(s, count + 1) : 0;
    /* Often all or nothing, as writeback has run or not. */
    if (count > 0 && sim_below(s, 4) == 0)
        k = sim_below(s, 2) == 0 ? count : 0;
    sector_version(i, start, k, out);
    if (k < count && sim_below(s, 8) == 0) {
        uint8_t later[SIM_SECTOR_SIZE];
        sector_version(i, start, k + 1 + sim_below(s, count - k), later);
        memcpy(out, later, sim_below(s, SIM_SECTOR_SIZE));
    }
}

static void content_lose(struct sim *s, struct sim_inode *i)
{
    uint64_t size = i->disk.n, extent = i->disk.n;
    uint64_t pick = sim_below(s, i->op_count + 1);
    if (sim_below(s, 2) == 0)
        pick = i->op_count;
    for (size_t k = 0; k < i->op_count; k++) {
        if (k < pick)
            size = i->ops[k].size_after;
        if (i->ops[k].size_after > extent)
            extent = i->ops[k].size_after;
    }
    struct sim_bytes result = {0};
    uint64_t sectors = (extent + SIM_SECTOR_SIZE - 1) / SIM_SECTOR_SIZE;
    sim_bytes_resize(&result, sectors * SIM_SECTOR_SIZE);
    for (uint64_t k = 0; k < sectors; k++)
        sector_lose(s, i, k * SIM_SECTOR_SIZE, result.p + k * SIM_SECTOR_SIZE);
    sim_bytes_resize(&result, size);
    sim_bytes_copy(&i->disk, &result);
    free(result.p);
}

static void mapped_lose(struct sim *s, struct sim_inode *i)
{
    size_t size = i->cache.n;
    if (i->snapshot_count > 0 && i->disk.n != size && sim_below(s, 2) == 0)
        size = i->disk.n;
    sim_bytes_resize(&i->disk, i->cache.n);
    for (uint64_t start = 0; start < i->disk.n; start += SIM_SECTOR_SIZE) {
        uint64_t k = sim_below(s, i->snapshot_count + 1);
        if (sim_below(s, 4) == 0)
            k = sim_below(s, 2) == 0 ? i->snapshot_count : 0;
        if (k == 0)
            continue;
        const struct sim_bytes *from = &i->snapshots[k - 1];
        if (start < from->n)
            memcpy(i->disk.p + start, from->p + start,
                   from->n - start < SIM_SECTOR_SIZE ? from->n - start : SIM_SECTOR_SIZE);
    }
    sim_bytes_resize(&i->disk, size);
}

void sim_file_power_loss(struct sim *s, struct sim_inode *i, enum sim_loss loss)
{
    sim_file_snapshot(s, i);
    if (loss == SIM_LOSS_NONE)
        sim_file_flush(s, i, UINT64_MAX);
    else if (loss == SIM_LOSS_RANDOM && i->mapped)
        mapped_lose(s, i);
    else if (loss == SIM_LOSS_RANDOM && i->op_count > 0)
        content_lose(s, i);
    sim_ops_clear(i);
    i->mapped = false;
    i->wb_error = 0;
    i->wb_seq = 0;
    i->full = false;
    sim_bytes_copy(&i->cache, &i->disk);
}

void sim_file_set_durable(struct sim_inode *i, const void *p, size_t n)
{
    sim_ops_clear(i);
    sim_bytes_resize(&i->disk, 0);
    sim_bytes_resize(&i->disk, n);
    if (n > 0)
        memcpy(i->disk.p, p, n);
    ST_ASSERT(!i->mapped || n <= i->cache.cap);
    sim_bytes_copy(&i->cache, &i->disk);
}
