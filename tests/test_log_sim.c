/*
 * test_log_sim.c - the log kernel on the simulated disk.
 *
 *   test_log_sim [-s FIRST_SEED] [-n SEEDS] [-c CASE] [-q] [-v]
 *
 * 1. cases    directed scenarios (log_cases.c)
 * 2. sweep    a fixed workload, in which every single call in turn fails, kills its process, or
 *             loses power; then a calm process has to get on, the power fails, and everything
 *             is compared with the model
 * 3. create   the same for the making of a state directory
 * 4. seeds    random workloads of 1 to 6 processes with random trouble
 * -q sweeps every 7th call only; -v prints every call of the one seed that -s names (-n 1).
 * -c runs one directed case only, by its number in the table of log_cases.c.
 * A failure prints its scenario with the seed, and the last calls.
 *
 * Built with a small ST_SEGMENT_SIZE, so that segments change often.
 */
#include "log_model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct totals {
    uint64_t runs, calls, fails, kills, stops, powers, hits;
};

static struct totals totals;

static void totals_add(const struct sim *s)
{
    const struct sim_counts *n = sim_counts(s);
    totals.runs++;
    totals.calls += n->calls;
    totals.fails += n->fails;
    totals.kills += n->kills;
    totals.stops += n->stops;
    totals.powers += n->powers;
    totals.hits += n->hits;
}

static void totals_print(const char *what, const struct model *m, double seconds)
{
    printf("%-7s %" PRIu64 " runs, %" PRIu64 " calls; %" PRIu64 " failed, %" PRIu64
           " processes killed, %" PRIu64 " stopped, %" PRIu64 " power losses; writes: %" PRIu64
           " acknowledged, %" PRIu64 " refused, %" PRIu64 " unknown; %.1f s\n",
           what, totals.runs, totals.calls, totals.fails, totals.kills, totals.stops, totals.powers,
           m->acked, m->refused, m->unknown, seconds);
    fflush(stdout);
    totals = (struct totals){0};
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* --- sweep ------------------------------------------------------------------------------------ */

struct hit {
    enum sim_act act;
    int error;
    enum sim_loss loss;
    const char *name;
};

static const struct hit hits[] = {
    {SIM_FAIL, EIO, SIM_LOSS_NONE, "EIO"},
    {SIM_FAIL, ENOSPC, SIM_LOSS_NONE, "ENOSPC"},
    {SIM_FAIL, ENOMEM, SIM_LOSS_NONE, "ENOMEM"},
    {SIM_FAIL_KILL, EIO, SIM_LOSS_NONE, "EIO and kill"},
    {SIM_KILL_BEFORE, 0, SIM_LOSS_NONE, "kill before"},
    {SIM_KILL_DURING, 0, SIM_LOSS_NONE, "kill during"},
    {SIM_KILL_AFTER, 0, SIM_LOSS_NONE, "kill after"},
    {SIM_POWER_BEFORE, 0, SIM_LOSS_ALL, "power before, all lost"},
    {SIM_POWER_AFTER, 0, SIM_LOSS_NONE, "power after, nothing lost"},
    {SIM_POWER_DURING, 0, SIM_LOSS_RANDOM, "power during"},
    {SIM_POWER_AFTER, 0, SIM_LOSS_RANDOM, "power after"},
};

#define HITS (sizeof hits / sizeof *hits)

static bool hit_applies(const struct hit *h, enum sim_call call)
{
    switch (h->act) {
    case SIM_FAIL:
    case SIM_FAIL_KILL:
        return sim_call_can_fail(call, h->error);
    case SIM_KILL_DURING:
    case SIM_POWER_DURING:
        return call == SIM_PWRITE || call == SIM_FDATASYNC;
    default:
        /* Reading a clock changes nothing: the place between two changes is covered already. */
        return call != SIM_WALL_MS && call != SIM_BOOT_NS && call != SIM_PROCESS_ID &&
               call != SIM_BOOT_ID && call != SIM_RANDOM;
    }
}

/* Three processes, a reboot before them, so that they begin an epoch; segments change. */
static void sweep_workload(struct model *m, const struct sim_injection *i)
{
    struct sim *s = m->sim;
    model_create(m);
    model_recover(m, 2);
    sim_power_loss(s, 0, SIM_LOSS_NONE);
    if (i != NULL)
        sim_inject(s, i);
    struct worker w[3];
    for (int k = 0; k < 3; k++) {
        w[k] = (struct worker){.model = m, .count = 4, .size_max = 1500};
        sim_spawn(s, "writer", worker_main, &w[k]);
    }
    sim_run(s);
}

static void sweep_finish(struct model *m, enum sim_loss loss)
{
    model_check(m, false);
    model_recover(m, 2);
    sim_power_loss(m->sim, 0, loss);
    model_check(m, true);
    model_recover(m, 2);
    sim_power_loss(m->sim, 0, SIM_LOSS_ALL);
    model_check(m, true);
    totals_add(m->sim);
}

static uint64_t calls_of_workload(struct model *m, uint64_t seed, uint64_t *first)
{
    struct sim *s = m->sim;
    sim_reset(s, seed);
    model_reset(m, "sweep seed %" PRIu64 " without trouble", seed);
    model_create(m);
    model_recover(m, 2);
    *first = sim_counts(s)->calls + 1;
    sim_reset(s, seed);
    model_reset(m, "sweep seed %" PRIu64 " without trouble", seed);
    sweep_workload(m, NULL);
    uint64_t last = sim_counts(s)->calls;
    sweep_finish(m, SIM_LOSS_RANDOM);
    return last;
}

static void sweep(struct model *m, uint64_t seed, uint64_t step)
{
    struct sim *s = m->sim;
    static uint8_t kinds[1 << 16];
    uint64_t first, last = calls_of_workload(m, seed, &first);
    EXPECT(m, last < sizeof kinds);
    for (uint64_t n = first; n <= last; n++)
        kinds[n] = (uint8_t)sim_call_kind(s, n);
    for (uint64_t n = first; n <= last; n += step) {
        for (size_t h = 0; h < HITS; h++) {
            if (!hit_applies(&hits[h], (enum sim_call)kinds[n]))
                continue;
            sim_reset(s, seed);
            model_reset(m, "sweep seed %" PRIu64 ", call %" PRIu64 " (%s): %s", seed, n,
                        sim_call_name((enum sim_call)kinds[n]), hits[h].name);
            struct sim_injection i = {
                .act = hits[h].act, .error = hits[h].error, .loss = hits[h].loss};
            /* Calls that cannot fail this way are not counted by the injection; so count kinds. */
            i.calls = 1u << kinds[n];
            i.nth = 0;
            for (uint64_t k = first; k <= n; k++)
                i.nth += kinds[k] == kinds[n];
            sweep_workload(m, &i);
            EXPECT(m, sim_counts(s)->hits == 1);
            sweep_finish(m, (enum sim_loss)(n % 3));
        }
    }
}

/* --- making a state --------------------------------------------------------------------------- */

static void create_main(struct sim *s, void *arg)
{
    struct model *m = arg;
    struct st_identity id = {.name = "box"};
    struct st_fault fault;
    enum st_code code = st_log_create(sim_env(s), sim_alloc(s), m->dir, &id, &fault);
    if (code == ST_OK || code == ST_EXISTS)
        return;
    EXPECT(m, fault.message[0] != '\0' && fault.code == code);
}

/* With nothing or everything there: creating must end with a state that can be written. */
static void create_finish(struct model *m, enum sim_loss loss)
{
    struct sim *s = m->sim;
    sim_injections_clear(s);
    if (loss != SIM_LOSS_NONE)
        sim_power_loss(s, 0, loss);
    sim_spawn(s, "create", create_main, m);
    sim_run(s);
    model_recover(m, 2);
    sim_power_loss(s, 0, SIM_LOSS_ALL);
    model_check(m, true);
    totals_add(s);
}

static void create_begin(struct model *m, const struct sim_injection *i)
{
    struct sim *s = m->sim;
    const struct st_env *env = sim_env(s);
    EXPECT(m, env->mkdir(env->ctx, m->dir) == 0);
    EXPECT(m, env->sync_directory(env->ctx, "/") == 0);
    if (i != NULL)
        sim_inject(s, i);
    sim_spawn(s, "create", create_main, m);
    sim_spawn(s, "create", create_main, m);
    sim_run(s);
}

static void sweep_create(struct model *m, uint64_t seed)
{
    struct sim *s = m->sim;
    static uint8_t kinds[1 << 12];
    sim_reset(s, seed);
    model_reset(m, "create seed %" PRIu64, seed);
    create_begin(m, NULL);
    uint64_t last = sim_counts(s)->calls;
    EXPECT(m, last > 0 && last < sizeof kinds);
    for (uint64_t n = 1; n <= last; n++)
        kinds[n] = (uint8_t)sim_call_kind(s, n);
    create_finish(m, SIM_LOSS_ALL);
    for (uint64_t n = 1; n <= last; n++) {
        for (size_t h = 0; h < HITS; h++) {
            if (!hit_applies(&hits[h], (enum sim_call)kinds[n]))
                continue;
            sim_reset(s, seed);
            model_reset(m, "create seed %" PRIu64 ", call %" PRIu64 " (%s): %s", seed, n,
                        sim_call_name((enum sim_call)kinds[n]), hits[h].name);
            struct sim_injection i = {
                .act = hits[h].act, .error = hits[h].error, .loss = hits[h].loss};
            i.calls = 1u << kinds[n];
            i.nth = 0;
            for (uint64_t k = 1; k <= n; k++)
                i.nth += kinds[k] == kinds[n];
            create_begin(m, &i);
            EXPECT(m, sim_counts(s)->hits == 1);
            create_finish(m, (enum sim_loss)(n % 3));
        }
    }
}

/* --- random seeds ----------------------------------------------------------------------------- */

static struct sim_chaos chaos_random(struct sim *s)
{
    static const uint32_t levels[] = {0, 0, 2000, 10000, 40000};
    struct sim_chaos c = {
        .fail = levels[sim_below(s, 4)],
        .flush = sim_below(s, 3) == 0 ? 100000 : 0,
        .kill = levels[sim_below(s, 4)],
        .stop = levels[sim_below(s, 4)],
        .power = sim_below(s, 2) == 0 ? 1000 : 0,
    };
    static const uint64_t stops[] = {1000000, 100000000, 3000000000, 30000000000};
    c.stop_ns_max = stops[sim_below(s, 4)];
    return c;
}

static void seed_round(struct model *m)
{
    struct sim *s = m->sim;
    struct worker w[6];
    struct sim_chaos c = chaos_random(s);
    sim_chaos_set(s, &c);
    if (sim_below(s, 4) == 0)
        sim_wall_shift(s, 0, (int64_t)sim_below(s, 7200000) - 3600000);
    if (sim_below(s, 8) == 0)
        sim_space(s, 0, sim_below(s, 20000));
    unsigned count = 1 + (unsigned)sim_below(s, 6);
    uint32_t size = sim_below(s, 3) == 0 ? 6000 : 400;
    for (unsigned i = 0; i < count; i++) {
        w[i] = (struct worker){.model = m,
                               .count = 1 + (unsigned)sim_below(s, 8),
                               .size_max = size,
                               .reader = i > 0 && sim_below(s, 6) == 0};
        sim_spawn(s, w[i].reader ? "reader" : "writer", worker_main, &w[i]);
    }
    sim_run(s);
    sim_space(s, 0, UINT64_MAX);
}

static void seed_run(struct model *m, uint64_t seed)
{
    struct sim *s = m->sim;
    sim_reset(s, seed);
    model_reset(m, "seed %" PRIu64, seed);
    model_create(m);
    uint64_t rounds = 1 + sim_below(s, 4);
    for (uint64_t i = 0; i < rounds; i++) {
        seed_round(m);
        switch (sim_below(s, 4)) {
        case 0:
            break;
        case 1:
            model_check(m, false);
            model_recover(m, 1);
            break;
        case 2:
            sim_power_loss(s, 0, SIM_LOSS_RANDOM);
            break;
        default:
            sim_power_loss(s, 0, (enum sim_loss)sim_below(s, 3));
            model_check(m, true);
        }
    }
    model_recover(m, 1);
    sim_power_loss(s, 0, SIM_LOSS_RANDOM);
    model_check(m, true);
    model_recover(m, 2);
    sim_power_loss(s, 0, SIM_LOSS_ALL);
    model_check(m, true);
    totals_add(s);
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, seeds = 3000;
    bool quick = false, live = false;
    int only = -1;
    for (int c; (c = getopt(argc, argv, "s:n:c:qv")) != -1;) {
        if (c == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (c == 'n')
            seeds = strtoull(optarg, NULL, 10);
        else if (c == 'c')
            only = (int)strtol(optarg, NULL, 10);
        else if (c == 'q')
            quick = true;
        else if (c == 'v')
            live = true;
        else
            return 2;
    }
    model_catch_signals();
    struct sim *s = sim_new(seed);
    struct model m;
    model_init(&m, s);
    double start = seconds_now();
    sim_trace_live(s, live);
    if (only >= 0) {
        printf("case %d: %" PRIu64 " runs\n", only, cases_run(&m, only));
        seeds = 0;
    } else if (!live) {
        totals.runs = cases_run(&m, only);
        printf("cases   %" PRIu64 " runs; %.1f s\n", totals.runs, seconds_now() - start);
        totals = (struct totals){0};
        for (uint64_t k = 0; k < (quick ? 1 : 4); k++)
            sweep(&m, seed + k, quick ? 7 : 1);
        totals_print("sweep", &m, seconds_now() - start);
        for (uint64_t k = 0; k < 3; k++)
            sweep_create(&m, seed + k);
        totals_print("create", &m, seconds_now() - start);
    }
    for (uint64_t k = 0; k < seeds; k++)
        seed_run(&m, seed + k);
    totals_print("seeds", &m, seconds_now() - start);
    printf("ok: %" PRIu64 " comparisons with the model\n", m.checks);
    model_release(&m);
    sim_free(s);
    return 0;
}
