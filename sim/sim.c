/* sim.c - worlds: seed, random numbers, trace, and the memory of simulated processes. */
#include "sim/sim_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

void *sim_memory(size_t n)
{
    void *p = calloc(1, n > 0 ? n : 1);
    if (p == NULL)
        abort();
    return p;
}

void *sim_grow(void *p, size_t n)
{
    p = realloc(p, n);
    if (p == NULL)
        abort();
    return p;
}

/* --- random numbers: xoshiro256** (Blackman, Vigna 2018), seeded by splitmix64 ------------- */

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotate(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

uint64_t sim_random(struct sim *s)
{
    uint64_t *r = s->rng;
    uint64_t result = rotate(r[1] * 5, 7) * 9;
    uint64_t t = r[1] << 17;
    r[2] ^= r[0];
    r[3] ^= r[1];
    r[1] ^= r[2];
    r[0] ^= r[3];
    r[2] ^= t;
    r[3] = rotate(r[3], 45);
    return result;
}

uint64_t sim_below(struct sim *s, uint64_t n)
{
    ST_ASSERT(n > 0);
    return sim_random(s) % n;
}

/* --- memory of processes ------------------------------------------------------------------- */

static void block_unlink(struct sim_block *b)
{
    b->prev->next = b->next;
    b->next->prev = b->prev;
}

static void block_link(struct sim *s, struct sim_block *b)
{
    struct sim_block *ring = &s->processes[s->current].blocks;
    b->process = s->current;
    b->next = ring->next;
    b->prev = ring;
    ring->next->prev = b;
    ring->next = b;
}

static void *alloc_resize(void *ctx, void *p, size_t size)
{
    struct sim *s = ctx;
    struct sim_block *old = p != NULL ? (struct sim_block *)p - 1 : NULL;
    if (old != NULL && old->process != s->current)
        sim_die(s, "memory of process %d freed by process %d", old->process, s->current);
    if (size == 0) {
        if (old != NULL) {
            block_unlink(old);
            free(old);
        }
        return NULL;
    }
    /* Always moved, so that stale pointers show. */
    struct sim_block *b = malloc(sizeof *b + size);
    if (b == NULL)
        abort();
    memset(b + 1, 0xa5, size < SIM_PAGE_SIZE ? size : SIM_PAGE_SIZE);
    b->size = size;
    block_link(s, b);
    if (old != NULL) {
        memcpy(b + 1, old + 1, old->size < size ? old->size : size);
        block_unlink(old);
        free(old);
    }
    return b + 1;
}

void sim_blocks_release(struct sim_process *p)
{
    for (struct sim_block *b = p->blocks.next, *next; b != &p->blocks; b = next) {
        next = b->next;
        free(b);
    }
    p->blocks.next = p->blocks.prev = &p->blocks;
}

size_t sim_blocks_count(const struct sim_process *p)
{
    size_t n = 0;
    for (const struct sim_block *b = p->blocks.next; b != &p->blocks; b = b->next)
        n++;
    return n;
}

/* --- worlds -------------------------------------------------------------------------------- */

static void machine_boot(struct sim *s, int machine)
{
    struct sim_machine *m = &s->machines[machine];
    for (size_t i = 0; i < sizeof m->boot_id; i++)
        m->boot_id[i] = (uint8_t)sim_random(s);
    m->boot_at_ns = s->now_ns;
}

static void world_begin(struct sim *s, uint64_t seed)
{
    s->seed = seed;
    uint64_t x = seed;
    for (int i = 0; i < 4; i++)
        s->rng[i] = splitmix(&x);
    s->now_ns = 0;
    s->seq = 0;
    s->current = 0;
    s->power_machine = -1;
    s->die_current = false;
    s->armed_count = 0;
    s->chaos = (struct sim_chaos){0};
    s->counts = (struct sim_counts){0};
    s->trace_count = 0;
    s->machine = 0;
    /* How often to switch: always, or every 4th, 16th, 64th call on average. */
    static const uint32_t masks[] = {0, 3, 15, 63};
    s->switch_mask = masks[sim_below(s, 4)];
    s->priorities = sim_below(s, 4) == 0;
    s->priority_low = UINT64_MAX / 2;
    for (int i = 0; i <= SIM_PROCESSES_MAX; i++) {
        s->processes[i].state = SIM_FREE;
        s->processes[i].blocks.next = s->processes[i].blocks.prev = &s->processes[i].blocks;
    }
    for (int i = 0; i < SIM_MACHINES_MAX; i++)
        s->machines[i].used = false;
    sim_machine_add(s);
}

static void world_end(struct sim *s)
{
    for (int i = 0; i <= SIM_PROCESSES_MAX; i++) {
        struct sim_process *p = &s->processes[i];
        if (p->state == SIM_READY || p->state == SIM_BLOCKED)
            sim_process_end(s, i);
        for (int fd = 0; fd < SIM_FDS_MAX; fd++)
            p->fds[fd].inode = NULL;
        sim_blocks_release(p);
    }
    for (int i = 0; i < SIM_MACHINES_MAX; i++)
        if (s->machines[i].used)
            sim_tree_free(s, i);
}

struct sim *sim_new(uint64_t seed)
{
    struct sim *s = sim_memory(sizeof *s);
    s->trace = sim_memory(SIM_TRACE_SIZE * sizeof *s->trace);
    s->alloc = (struct st_alloc){.resize = alloc_resize, .ctx = s};
    sim_env_init(s);
    world_begin(s, seed);
    return s;
}

void sim_reset(struct sim *s, uint64_t seed)
{
    world_end(s);
    world_begin(s, seed);
}

void sim_free(struct sim *s)
{
    world_end(s);
    sim_stacks_release();
    free(s->trace);
    free(s);
}

int sim_machine_add(struct sim *s)
{
    for (int i = 0; i < SIM_MACHINES_MAX; i++) {
        struct sim_machine *m = &s->machines[i];
        if (m->used)
            continue;
        *m = (struct sim_machine){.used = true, .space = UINT64_MAX};
        m->fs_id = sim_random(s);
        machine_boot(s, i);
        sim_tree_init(s, i);
        return i;
    }
    sim_die(s, "too many machines");
}

void sim_machine_use(struct sim *s, int machine)
{
    ST_ASSERT(machine >= 0 && machine < SIM_MACHINES_MAX && s->machines[machine].used);
    s->machine = machine;
}

void sim_wall_shift(struct sim *s, int machine, int64_t ms)
{
    s->machines[machine].wall_shift_ms += ms;
}

void sim_space(struct sim *s, int machine, uint64_t bytes)
{
    s->machines[machine].space = bytes;
}

void sim_power_loss(struct sim *s, int machine, enum sim_loss loss)
{
    s->counts.powers++;
    sim_trace_add(s, SIM_CALLS, "power loss", machine, (int64_t)loss, 0);
    sim_machine_stop(s, machine);
    for (struct sim_inode *i = s->machines[machine].inodes; i != NULL; i = i->next)
        if (!i->directory)
            sim_file_power_loss(s, i, loss);
    sim_names_power_loss(s, machine, loss);
    s->now_ns += 5000000000u;
    machine_boot(s, machine);
}

void sim_reboot(struct sim *s, int machine)
{
    sim_machine_stop(s, machine);
    sim_sync(s, machine);
    s->now_ns += 5000000000u;
    machine_boot(s, machine);
}

const struct st_env *sim_env(struct sim *s)
{
    return &s->env;
}

const struct st_alloc *sim_alloc(struct sim *s)
{
    return &s->alloc;
}

/* 2026-11-23: any time in this project's life will do. */
#define WALL_BEGIN_MS 1795400000000

uint64_t sim_wall_ns(const struct sim *s, int machine)
{
    int64_t ms = WALL_BEGIN_MS + s->machines[machine].wall_shift_ms;
    return (uint64_t)ms * 1000000u + s->now_ns;
}

uint64_t sim_now_ns(const struct sim *s)
{
    return s->now_ns;
}

const struct sim_counts *sim_counts(const struct sim *s)
{
    return &s->counts;
}

/* --- trace --------------------------------------------------------------------------------- */

static const char *const call_names[SIM_CALLS + 1] = {
    "open",   "close", "pread",    "pwrite", "fdatasync", "ftruncate", "fstat", "stat",  "rename",
    "unlink", "mkdir", "syncdir",  "list",   "lock",      "unlock",    "map",   "unmap", "wait",
    "wake",   "wall",  "boottime", "sleep",  "random",    "bootid",    "pid",   "point", "-",
};

const char *sim_call_name(enum sim_call call)
{
    return call_names[call];
}

static void event_print(const struct sim *s, const struct sim_event *e, FILE *out)
{
    fprintf(out, "%12.6f  %-12s %-9s %-44s %" PRId64 " %" PRId64 " = %" PRId64 "\n",
            (double)e->time_ns / 1e9, e->process > 0 ? s->processes[e->process].name : "operator",
            call_names[e->call], e->text, e->a, e->b, e->result);
}

void sim_trace_add(struct sim *s, enum sim_call call, const char *text, int64_t a, int64_t b,
                   int64_t result)
{
    struct sim_event *e = &s->trace[s->trace_count++ % SIM_TRACE_SIZE];
    *e = (struct sim_event){s->now_ns, s->current, call, a, b, result, ""};
    size_t n = strlen(text);
    size_t skip = n >= sizeof e->text ? n - sizeof e->text + 1 : 0;
    memcpy(e->text, text + skip, n - skip + 1);
    if (s->trace_live)
        event_print(s, e, stderr);
}

void sim_trace_print(const struct sim *s, FILE *out)
{
    uint64_t n = s->trace_count;
    uint64_t first = n > SIM_TRACE_SIZE ? n - SIM_TRACE_SIZE : 0;
    const char *lines = getenv("SIM_TRACE_LINES");
    uint64_t count = lines != NULL ? strtoull(lines, NULL, 10) : 60;
    if (n - first > count)
        first = n - count;
    for (uint64_t i = first; i < n; i++)
        event_print(s, &s->trace[i % SIM_TRACE_SIZE], out);
}

void sim_trace_live(struct sim *s, bool on)
{
    s->trace_live = on;
}

void sim_die(const struct sim *s, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    sim_trace_print(s, stderr);
    fprintf(stderr, "simulator: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, " (seed %" PRIu64 ")\n", s->seed);
    va_end(args);
    abort();
}
