/*
 * sim_proc.c - simulated processes: coroutines, the scheduler, virtual time, futexes.
 *
 * The scheduler runs in the caller of sim_run(). A process that is killed is simply never
 * resumed: its stack is dropped, its descriptors closed, its locks freed, its memory released.
 */
#undef _FORTIFY_SOURCE /* it takes a jump to another stack for an error */
#include "sim/sim_internal.h"

#include <stdlib.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifdef SIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>

/* Where the stack of sim_run()'s caller lies. */
static const void *main_bottom;
static size_t main_size;
static void *main_fake;
#endif

/* Calls of one sim_run() after which something is going in circles. */
#define CALLS_MAX 4000000u
/* After so many calls priorities are given up: somebody may be polling for one who never runs. */
#define PRIORITY_CALLS_MAX 200000u

/* Stacks are used again and again: mapping one costs more than a short run. */
static uint8_t *spare_stacks[SIM_PROCESSES_MAX];
static size_t spare_count;

static uint8_t *stack_get(void)
{
    if (spare_count > 0)
        return spare_stacks[--spare_count];
    uint8_t *p =
        mmap(NULL, SIM_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        abort();
    mprotect(p, SIM_PAGE_SIZE, PROT_NONE);
    return p;
}

static void stack_put(uint8_t *p)
{
#ifdef SIM_ASAN
    __asan_unpoison_memory_region(p + SIM_PAGE_SIZE, SIM_STACK_SIZE - SIM_PAGE_SIZE);
#endif
    if (spare_count < SIM_PROCESSES_MAX)
        spare_stacks[spare_count++] = p;
    else
        munmap(p, SIM_STACK_SIZE);
}

void sim_stacks_release(void)
{
    while (spare_count > 0)
        munmap(spare_stacks[--spare_count], SIM_STACK_SIZE);
}

/* The address sanitizer wants to know about stacks: these two are nothing without it. */
static void switch_begins(struct sim_process *to)
{
#ifdef SIM_ASAN
    if (to != NULL)
        __sanitizer_start_switch_fiber(&main_fake, to->stack + SIM_PAGE_SIZE,
                                       SIM_STACK_SIZE - SIM_PAGE_SIZE);
    else
        __sanitizer_start_switch_fiber(NULL, main_bottom, main_size);
#else
    (void)to;
#endif
}

static void switch_ended(bool in_process)
{
#ifdef SIM_ASAN
    if (in_process)
        __sanitizer_finish_switch_fiber(NULL, &main_bottom, &main_size);
    else
        __sanitizer_finish_switch_fiber(main_fake, NULL, NULL);
#else
    (void)in_process;
#endif
}

/* Leaves `from`, which later goes on here. */
static void context_switch(struct sim_context *from, struct sim_context *to)
{
    from->entered = true;
#ifdef SIM_ASAN
    swapcontext(&from->start, &to->start);
#else
    /* Twice as fast as swapcontext(), which makes a system call for the signal mask. */
    if (_setjmp(from->at) == 0) {
        if (to->entered)
            _longjmp(to->at, 1);
        setcontext(&to->start);
    }
#endif
}

void sim_switch(struct sim *s)
{
    struct sim_process *p = &s->processes[s->current];
    s->counts.switches++;
    switch_begins(NULL);
    context_switch(&p->context, &s->scheduler);
    switch_ended(true);
}

void sim_exit_current(struct sim *s)
{
    s->die_current = true;
    sim_switch(s);
    sim_die(s, "a dead process runs");
}

static void process_main(unsigned low, unsigned high)
{
    switch_ended(true);
    struct sim *s = (struct sim *)((uintptr_t)low | (uintptr_t)high << 32);
    struct sim_process *p = &s->processes[s->current];
    p->main(s, p->arg);
    s->counts.leaked_blocks += sim_blocks_count(p);
    for (int fd = 0; fd < SIM_FDS_MAX; fd++)
        s->counts.leaked_fds += p->fds[fd].inode != NULL;
    sim_trace_add(s, SIM_CALLS, "exit", 0, 0, 0);
    sim_exit_current(s);
}

int sim_spawn(struct sim *s, const char *name, void (*main)(struct sim *s, void *arg), void *arg)
{
    int n = 1;
    while (n <= SIM_PROCESSES_MAX && s->processes[n].state != SIM_FREE)
        n++;
    for (int i = 1; n > SIM_PROCESSES_MAX && i <= SIM_PROCESSES_MAX; i++)
        if (s->processes[i].state == SIM_DEAD)
            n = i;
    if (n > SIM_PROCESSES_MAX)
        sim_die(s, "too many processes");
    struct sim_process *p = &s->processes[n];
    memset(p->fds, 0, sizeof p->fds);
    p->state = SIM_READY;
    p->machine = s->machine;
    snprintf(p->name, sizeof p->name, "%d:%s", n, name);
    p->main = main;
    p->arg = arg;
    p->futex = NULL;
    p->stopped_until = 0;
    p->shielded = false;
    p->priority = UINT64_MAX / 2 + sim_below(s, 1u << 30);
    p->stack = stack_get();
    p->context.entered = false;
    getcontext(&p->context.start);
    p->context.start.uc_stack.ss_sp = p->stack + SIM_PAGE_SIZE;
    p->context.start.uc_stack.ss_size = SIM_STACK_SIZE - SIM_PAGE_SIZE;
    p->context.start.uc_link = NULL;
    uintptr_t self = (uintptr_t)s;
    makecontext(&p->context.start, (void (*)(void))process_main, 2, (unsigned)self,
                (unsigned)(self >> 32));
    return n;
}

void sim_process_end(struct sim *s, int process)
{
    struct sim_process *p = &s->processes[process];
    for (int fd = 0; fd < SIM_FDS_MAX; fd++)
        if (p->fds[fd].inode != NULL)
            sim_fd_close(s, process, fd);
    sim_blocks_release(p);
    if (p->stack != NULL)
        stack_put(p->stack);
    p->stack = NULL;
    p->state = SIM_DEAD;
}

bool sim_alive(const struct sim *s, int process)
{
    enum sim_state state = s->processes[process].state;
    return state == SIM_READY || state == SIM_BLOCKED;
}

int sim_current(const struct sim *s)
{
    return s->current;
}

void sim_kill(struct sim *s, int process)
{
    ST_ASSERT(process > 0);
    if (!sim_alive(s, process))
        return;
    s->counts.kills++;
    sim_trace_add(s, SIM_CALLS, "kill", process, 0, 0);
    if (process == s->current)
        sim_exit_current(s);
    sim_process_end(s, process);
}

void sim_machine_stop(struct sim *s, int machine)
{
    for (int i = 1; i <= SIM_PROCESSES_MAX; i++)
        if (sim_alive(s, i) && s->processes[i].machine == machine) {
            ST_ASSERT(i != s->current);
            sim_process_end(s, i);
        }
}

void sim_stop(struct sim *s, int process, uint64_t ns)
{
    if (!sim_alive(s, process))
        return;
    s->counts.stops++;
    s->processes[process].stopped_until = s->now_ns + ns;
    if (process == s->current)
        sim_switch(s);
}

/* --- waiting ------------------------------------------------------------------------------- */

void sim_block(struct sim *s, const uint32_t *futex, uint64_t ns)
{
    if (s->current == 0) {
        s->now_ns += ns;
        return;
    }
    struct sim_process *p = &s->processes[s->current];
    p->state = SIM_BLOCKED;
    p->futex = futex;
    p->wake_ns = ns > UINT64_MAX - s->now_ns ? UINT64_MAX : s->now_ns + ns;
    sim_switch(s);
}

void sim_wake(struct sim *s, int machine, const uint32_t *futex, int most)
{
    for (int i = 1; i <= SIM_PROCESSES_MAX && most > 0; i++) {
        struct sim_process *p = &s->processes[i];
        if (p->state != SIM_BLOCKED || p->futex != futex || p->machine != machine ||
            p->wake_ns <= s->now_ns)
            continue;
        p->wake_ns = s->now_ns;
        most--;
    }
}

/* --- scheduling ---------------------------------------------------------------------------- */

/* When p can run: 0 for now, UINT64_MAX never. */
static uint64_t ready_at(const struct sim *s, const struct sim_process *p)
{
    uint64_t at = p->state == SIM_BLOCKED ? p->wake_ns : 0;
    if (p->stopped_until > at)
        at = p->stopped_until;
    return at <= s->now_ns ? 0 : at;
}

static int pick(struct sim *s)
{
    int ready[SIM_PROCESSES_MAX];
    uint64_t count = 0, next = UINT64_MAX;
    bool alive = false;
    for (int i = 1; i <= SIM_PROCESSES_MAX; i++) {
        if (!sim_alive(s, i))
            continue;
        alive = true;
        uint64_t at = ready_at(s, &s->processes[i]);
        if (at == 0)
            ready[count++] = i;
        else if (at < next)
            next = at;
    }
    if (!alive)
        return 0;
    if (count == 0) {
        if (next == UINT64_MAX)
            sim_die(s, "everybody waits for ever");
        s->now_ns = next;
        return pick(s);
    }
    if (!s->priorities || s->calls_run > PRIORITY_CALLS_MAX)
        return ready[sim_below(s, count)];
    int best = ready[0];
    for (uint64_t i = 1; i < count; i++)
        if (s->processes[ready[i]].priority > s->processes[best].priority)
            best = ready[i];
    return best;
}

static void resume(struct sim *s, int process)
{
    struct sim_process *p = &s->processes[process];
    p->state = SIM_READY;
    p->stopped_until = 0;
    s->current = process;
    switch_begins(p);
    context_switch(&s->scheduler, &p->context);
    switch_ended(false);
    s->current = 0;
    if (s->die_current) {
        s->die_current = false;
        sim_process_end(s, process);
    }
    if (s->power_machine >= 0) {
        int machine = s->power_machine;
        s->power_machine = -1;
        sim_power_loss(s, machine, s->power_loss);
    }
}

void sim_run(struct sim *s)
{
    ST_ASSERT(s->current == 0);
    s->calls_run = 0;
    for (int p = pick(s); p != 0; p = pick(s))
        resume(s, p);
    for (int i = 1; i <= SIM_PROCESSES_MAX; i++)
        if (s->processes[i].state == SIM_DEAD)
            s->processes[i].state = SIM_FREE;
}

void sim_yield(struct sim *s)
{
    if (s->current == 0)
        return;
    if (++s->calls_run > CALLS_MAX)
        sim_die(s, "no end after %u calls", CALLS_MAX);
    if (s->priorities) {
        /* Probabilistic concurrency testing (Burckhardt et al., 2010): the highest priority
         * runs; now and then the running one becomes the lowest. */
        if (sim_below(s, 48) == 0)
            s->processes[s->current].priority = --s->priority_low;
        sim_switch(s);
    } else if (s->switch_mask == 0 || (sim_random(s) & s->switch_mask) == 0) {
        sim_switch(s);
    }
}
