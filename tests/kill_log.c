/*
 * kill_log.c - the log kernel with real processes on the real file system.
 *
 *   kill_log [-s SEED] [-k KILLS] [-w WRITERS] [-d PARENT_DIRECTORY]
 *
 * Phase 1: writers append and wait until durable; each kills itself (SIGKILL) at a labelled point
 * of the kernel or in the middle of a write, as its seed says, and is started again, until KILLS
 * deaths happened. Phase 2: writers stop themselves (SIGSTOP) at labelled points, most of them with
 * the append lock or the flush lock held; the driver continues them. Phase 3: writers stop
 * themselves with the index lock held; the others must make progress meanwhile.
 *
 * A writer reports each acknowledged record (epoch, counter, identity of the payload) through a
 * pipe, after the acknowledgement. At the end every reported record must be in the log exactly
 * once, at its dot, with its payload; no payload and no number may be there twice; every chain is
 * valid.
 * What a kill cannot show, since the page cache survives it, is lost flushes: test_log_sim does.
 */
#include "kill_tools.h"
#include "store/log.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

#define WRITERS_MAX 32
#define LABELS_MAX  64
#define STOP_MS     60u
/* Far beyond what it takes: with a sanitizer on a busy machine a minute is not enough. */
#define TIME_LIMIT_S 240u

enum phase { PHASE_KILL, PHASE_STOP, PHASE_INDEX, PHASE_END };

/* Shared by the driver and all writers. */
struct shared {
    uint32_t phase;
    uint64_t acks, unknown, refused, renewals;
    char labels[LABELS_MAX][32];
    uint64_t deaths[LABELS_MAX], stops[LABELS_MAX];
    uint32_t label_count;
};

struct ack {
    uint64_t epoch, counter, id;
    uint64_t name; /* hash of the number that it took */
};

static struct shared *shared;
static char state_dir[256];
static int ack_pipe[2];

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- a writer --------------------------------------------------------------------------------- */

struct writer {
    struct st_env env;
    uint64_t rng;
    uint64_t countdown; /* points until it strikes */
    bool tears;         /* strikes in a write, not at a point */
    bool stops;
    bool index;  /* stops with the index lock only */
    bool epochs; /* strikes while beginning an epoch, which it does often */
};

static struct writer self;

/* The labels are found by being passed: a small table in shared memory. */
static uint32_t label_index(const char *label)
{
    for (;;) {
        uint32_t count = __atomic_load_n(&shared->label_count, __ATOMIC_SEQ_CST);
        for (uint32_t i = 0; i < count && i < LABELS_MAX; i++)
            if (strcmp(shared->labels[i], label) == 0)
                return i;
        if (count >= LABELS_MAX)
            return LABELS_MAX - 1;
        /* Two at once may enter one label twice: harmless, the printer adds them up. */
        uint32_t i = __atomic_fetch_add(&shared->label_count, 1, __ATOMIC_SEQ_CST);
        if (i < LABELS_MAX)
            snprintf(shared->labels[i], sizeof shared->labels[i], "%s", label);
    }
}

static void strike(const char *label)
{
    uint32_t i = label_index(label);
    if (self.stops) {
        __atomic_add_fetch(&shared->stops[i], 1, __ATOMIC_SEQ_CST);
        kill(getpid(), SIGSTOP);
        self.countdown = self.epochs ? 4 : 20 + next_random(&self.rng) % 200;
        return;
    }
    __atomic_add_fetch(&shared->deaths[i], 1, __ATOMIC_SEQ_CST);
    kill(getpid(), SIGKILL);
}

static void on_point(void *ctx, const char *label)
{
    (void)ctx;
    if (self.epochs && strncmp(label, "epoch.", 6) != 0)
        return;
    if (!self.tears && !self.index && self.countdown > 0 && --self.countdown == 0)
        strike(label);
}

static ssize_t torn_pwrite(void *ctx, int fd, const void *buf, size_t n, uint64_t offset)
{
    if (self.tears && !self.stops && self.countdown > 0 && --self.countdown == 0) {
        if (n > 0)
            (void)!pwrite(fd, buf, next_random(&self.rng) % n, (off_t)offset);
        strike("(in a write)");
    }
    return st_env_posix()->pwrite(ctx, fd, buf, n, offset);
}

static size_t payload_make(uint64_t id, char out[128])
{
    int n = snprintf(out, 128, "%016" PRIx64 "-", id);
    size_t size = (size_t)n + id % 90;
    for (size_t i = (size_t)n; i < size; i++)
        out[i] = (char)('a' + (id + i) % 26);
    return size;
}

static uint64_t name_hash(const struct st_record *r)
{
    struct st_str name = r->ops[r->op_count - 1].entity;
    return XXH3_64bits(name.p, name.n);
}

static void writer_write(struct st_log *log, uint64_t id)
{
    char text[128];
    struct st_op op = {.kind = ST_OP_SET,
                       .new_entity = 1,
                       .attribute = ST_STR("note"),
                       .value = {text, payload_make(id, text)}};
    struct st_record r = {.agent = ST_STR("writer"), .ops = &op, .op_count = 1, .new_count = 1};
    enum st_code code = st_log_write(log, &r, true);
    if (code == ST_OK) {
        struct ack a = {r.dot.writer.epoch, r.dot.counter, id, name_hash(&r)};
        if (write(ack_pipe[1], &a, sizeof a) != sizeof a)
            fail("report", "the driver has gone");
        __atomic_add_fetch(&shared->acks, 1, __ATOMIC_SEQ_CST);
    } else if (code == ST_OUTCOME_UNKNOWN || code == ST_TIMEOUT) {
        __atomic_add_fetch(&shared->unknown, 1, __ATOMIC_SEQ_CST);
    } else if (code == ST_UNAVAILABLE) {
        __atomic_add_fetch(&shared->refused, 1, __ATOMIC_SEQ_CST);
    } else {
        fail(st_code_name(code), log->fault.message);
    }
}

static void writer_round(struct st_log *log, uint64_t id)
{
    enum st_code code = ST_OK;
    if (self.index && next_random(&self.rng) % 20 == 0) {
        code = st_log_take(log, ST_LOCK_INDEX, 5000);
        if (code == ST_OK) {
            strike("(index lock)");
            st_log_drop(log, ST_LOCK_INDEX);
        }
    } else if (next_random(&self.rng) % (self.epochs ? 8 : 400) == 0) {
        code = st_log_renew(log, "doubt");
        __atomic_add_fetch(&shared->renewals, 1, __ATOMIC_SEQ_CST);
    }
    if (code != ST_OK && code != ST_UNAVAILABLE && code != ST_OUTCOME_UNKNOWN)
        fail(st_code_name(code), log->fault.message);
    writer_write(log, id);
}

static _Noreturn void writer_main(enum phase phase, unsigned slot, uint64_t life, uint64_t seed)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(0);
    self = (struct writer){.env = *st_env_posix(), .rng = seed};
    self.env.point = on_point;
    self.env.pwrite = torn_pwrite;
    self.stops = phase != PHASE_KILL;
    self.tears = !self.stops && next_random(&self.rng) % 5 == 0;
    self.index = phase == PHASE_INDEX && slot % 4 == 0;
    self.epochs = phase != PHASE_INDEX && !self.tears && next_random(&self.rng) % 6 == 0;
    if (phase != PHASE_INDEX)
        self.countdown = 1 + next_random(&self.rng) % (self.tears ? 12 : self.epochs ? 5 : 80);
    struct st_log log;
    enum st_code code = st_log_open(&log, &self.env, st_alloc_libc(), state_dir, false, "kill_log");
    if (code != ST_OK && code != ST_UNAVAILABLE)
        fail(st_code_name(code), log.fault.message);
    for (uint64_t n = 0; code == ST_OK; n++) {
        if (__atomic_load_n(&shared->phase, __ATOMIC_SEQ_CST) != phase)
            break;
        writer_round(&log, (uint64_t)slot << 56 | life << 32 | n);
    }
    st_log_close(&log);
    _exit(0);
}

/* --- the driver ------------------------------------------------------------------------------- */

struct slot {
    pid_t pid; /* 0: none */
    uint64_t life;
    uint64_t stopped_at; /* 0: running */
    uint64_t acks_then;
};

struct driver {
    struct slot slots[WRITERS_MAX];
    unsigned writers;
    uint64_t rng;
    struct ack *acks;
    size_t ack_count, ack_cap;
    uint64_t killed, stopped, progressed;
};

static void acks_drain(struct driver *d, int timeout_ms)
{
    struct pollfd p = {.fd = ack_pipe[0], .events = POLLIN};
    while (poll(&p, 1, timeout_ms) > 0) {
        struct ack batch[128]; /* writes of one struct are atomic, so reads see whole ones */
        ssize_t n = read(ack_pipe[0], batch, sizeof batch);
        if (n <= 0 || n % (ssize_t)sizeof *batch != 0)
            fail("pipe", "a torn report");
        size_t count = (size_t)n / sizeof *batch;
        if (d->ack_count + count > d->ack_cap) {
            d->ack_cap = 2 * d->ack_cap + 4096;
            d->acks = realloc(d->acks, d->ack_cap * sizeof *d->acks);
            if (d->acks == NULL)
                fail("memory", "none left");
        }
        memcpy(d->acks + d->ack_count, batch, (size_t)n);
        d->ack_count += count;
        timeout_ms = 0;
    }
}

static void slot_start(struct driver *d, enum phase phase, unsigned i)
{
    struct slot *s = &d->slots[i];
    uint64_t seed = next_random(&d->rng);
    s->life++;
    s->stopped_at = 0;
    s->pid = fork();
    if (s->pid < 0)
        fail("fork", strerror(errno));
    if (s->pid == 0)
        writer_main(phase, i, s->life, seed);
}

static void slot_changed(struct driver *d, struct slot *s, int status)
{
    if (WIFSTOPPED(status)) {
        s->stopped_at = now_ms();
        s->acks_then = __atomic_load_n(&shared->acks, __ATOMIC_SEQ_CST);
        d->stopped++;
        return;
    }
    s->pid = 0;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        d->killed++;
    else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("a writer", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "gave up");
}

static void slots_look(struct driver *d)
{
    for (unsigned i = 0; i < d->writers; i++) {
        struct slot *s = &d->slots[i];
        int status;
        if (s->pid > 0 && waitpid(s->pid, &status, WNOHANG | WUNTRACED) == s->pid)
            slot_changed(d, s, status);
    }
}

/* Continues those that were stopped long enough; with `progress`, only when the others have
 * written something meanwhile. */
static void slots_continue(struct driver *d, bool all, bool progress)
{
    for (unsigned i = 0; i < d->writers; i++) {
        struct slot *s = &d->slots[i];
        if (s->stopped_at == 0 || (!all && now_ms() - s->stopped_at < STOP_MS))
            continue;
        if (!all && progress) {
            if (__atomic_load_n(&shared->acks, __ATOMIC_SEQ_CST) == s->acks_then) {
                if (now_ms() - s->stopped_at < 3000)
                    continue;
                fail("index lock", "nobody could write while its holder was stopped");
            }
            d->progressed++;
        }
        s->stopped_at = 0;
        kill(s->pid, SIGCONT);
    }
}

static void phase_run(struct driver *d, enum phase phase, uint64_t target)
{
    __atomic_store_n(&shared->phase, (uint32_t)phase, __ATOMIC_SEQ_CST);
    const uint64_t *done = phase == PHASE_KILL   ? &d->killed
                           : phase == PHASE_STOP ? &d->stopped
                                                 : &d->progressed;
    while (*done < target) {
        for (unsigned i = 0; i < d->writers; i++)
            if (d->slots[i].pid == 0)
                slot_start(d, phase, i);
        acks_drain(d, 1);
        slots_look(d);
        slots_continue(d, false, phase == PHASE_INDEX);
    }
    __atomic_store_n(&shared->phase, (uint32_t)PHASE_END, __ATOMIC_SEQ_CST);
    for (unsigned left = 1; left > 0;) {
        acks_drain(d, 1);
        slots_look(d);
        slots_continue(d, true, false);
        left = 0;
        for (unsigned i = 0; i < d->writers; i++)
            left += d->slots[i].pid > 0;
    }
    acks_drain(d, 0);
}

/* --- checking --------------------------------------------------------------------------------- */

static int compare_acks(const void *a, const void *b)
{
    const struct ack *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int compare_names(const void *a, const void *b)
{
    const struct ack *x = a, *y = b;
    return x->name < y->name ? -1 : x->name > y->name;
}

static uint64_t id_of(const struct st_record *r)
{
    char text[128];
    const struct st_op *op = &r->ops[r->op_count - 1];
    uint64_t id;
    if (op->kind != ST_OP_SET || op->value.n < 17 || !st_parse_hex64(op->value.p, &id) ||
        !st_str_equal(op->value, (struct st_str){text, payload_make(id, text)}))
        fail("log", "a record that nobody wrote");
    return id;
}

/* Reads one writer's log; adds what is there to *found. */
static void read_writer(struct st_writer w, struct ack **found, size_t *count, size_t *cap)
{
    struct st_log_reader reader;
    struct st_record_scratch scratch;
    st_record_scratch_init(&scratch, st_alloc_libc());
    st_log_reader_open(&reader, st_env_posix(), st_alloc_libc(), state_dir, w);
    struct st_str line;
    struct st_record r;
    uint64_t counter = 0, previous = 0;
    enum st_code code;
    while ((code = st_log_reader_next(&reader, &line, &r)) == ST_OK) {
        if (st_record_decode(line, &scratch, &r) != ST_OK || r.dot.counter != ++counter ||
            r.previous != previous || r.checksum != XXH3_64bits(line.p, line.n - ST_SEAL_SIZE))
            fail("log", "an invalid record was read");
        previous = r.checksum;
        if (r.ops[r.op_count - 1].kind == ST_OP_SEEN)
            continue;
        if (*count == *cap) {
            *cap = 2 * *cap + 4096;
            *found = realloc(*found, *cap * sizeof **found);
            if (*found == NULL)
                fail("memory", "none left");
        }
        (*found)[(*count)++] = (struct ack){w.epoch, r.dot.counter, id_of(&r), name_hash(&r)};
    }
    if (code != ST_NOT_FOUND)
        fail("log", reader.fault.message);
    st_log_reader_close(&reader);
    st_record_scratch_release(&scratch);
}

static void sort(struct ack *list, size_t count, int (*compare)(const void *, const void *))
{
    if (count > 0)
        qsort(list, count, sizeof *list, compare);
}

static size_t check(struct driver *d, size_t *epochs)
{
    struct st_log log;
    enum st_code code =
        st_log_open(&log, st_env_posix(), st_alloc_libc(), state_dir, false, "check");
    if (code == ST_OK && (code = st_log_lock(&log)) == ST_OK)
        st_log_unlock(&log);
    if (code != ST_OK)
        fail("open", log.fault.message);
    struct st_writer *writers;
    struct ack *found = NULL;
    size_t count = 0, cap = 0, n = 0;
    if (st_log_writers(st_env_posix(), st_alloc_libc(), state_dir, &writers, epochs) != ST_OK)
        fail("writers", "cannot be listed");
    for (size_t i = 0; i < *epochs; i++)
        read_writer(writers[i], &found, &count, &cap);
    free(writers);
    st_log_close(&log);
    sort(found, count, compare_names);
    for (size_t i = 1; i < count; i++)
        if (found[i].name == found[i - 1].name)
            fail("log", "a number is there twice");
    sort(found, count, compare_acks);
    sort(d->acks, d->ack_count, compare_acks);
    for (size_t i = 1; i < count; i++)
        if (found[i].id == found[i - 1].id)
            fail("log", "a payload is there twice");
    for (size_t i = 0; i < d->ack_count; i++) {
        while (n < count && found[n].id < d->acks[i].id)
            n++;
        if (n == count || memcmp(&found[n], &d->acks[i], sizeof found[n]) != 0)
            fail("log", "an acknowledged record is not where it was acknowledged");
    }
    free(found);
    return count;
}

static void labels_print(void)
{
    for (uint32_t i = 0; i < shared->label_count && i < LABELS_MAX; i++)
        printf("  %-22s %4" PRIu64 " killed %4" PRIu64 " stopped\n", shared->labels[i],
               shared->deaths[i], shared->stops[i]);
}

static struct driver driver;

/* Not async-signal-safe, but nothing else is going on any more. NOLINTBEGIN(bugprone-signal-handler) */
static void on_alarm(int number)
{
    (void)number;
    fprintf(stderr,
            "FAILED: not finished in time: phase %" PRIu32 ", %" PRIu64 " killed, %" PRIu64
            " stopped, %" PRIu64 " progressed, %" PRIu64 " acknowledged\n",
            shared->phase, driver.killed, driver.stopped, driver.progressed, shared->acks);
    for (unsigned i = 0; i < driver.writers; i++)
        fprintf(stderr, "  writer %u: process %d%s\n", i, (int)driver.slots[i].pid,
                driver.slots[i].stopped_at != 0 ? " stopped" : "");
    char command[300];
    snprintf(command, sizeof command, "od -A d -t u4 '%s/page' >&2", state_dir);
    (void)!system(command);
    _exit(1);
}
/* NOLINTEND(bugprone-signal-handler) */

int main(int argc, char **argv)
{
    uint64_t seed = 1, kills = 600;
    const char *parent = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    struct driver *d = &driver;
    d->writers = 12;
    for (int c; (c = getopt(argc, argv, "s:k:w:d:")) != -1;) {
        if (c == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (c == 'k')
            kills = strtoull(optarg, NULL, 10);
        else if (c == 'w')
            d->writers = (unsigned)strtoul(optarg, NULL, 10);
        else if (c == 'd')
            parent = optarg;
        else
            return 2;
    }
    if (d->writers == 0 || d->writers > WRITERS_MAX)
        return 2;
    d->rng = seed;
    snprintf(state_dir, sizeof state_dir, "%s/kill_log.XXXXXX", parent);
    if (mkdtemp(state_dir) == NULL || pipe(ack_pipe) != 0)
        fail(state_dir, strerror(errno));
    printf("seed %" PRIu64 ", state in %s\n", seed, state_dir);
    fflush(stdout);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        fail("mmap", strerror(errno));
    struct st_identity id = {.name = "box"};
    struct st_fault fault;
    if (st_log_create(st_env_posix(), st_alloc_libc(), state_dir, &id, &fault) != ST_OK)
        fail("create", fault.message);
    signal(SIGALRM, on_alarm);
    alarm(TIME_LIMIT_S);
    uint64_t start = now_ms();
    size_t epochs, count;
    phase_run(d, PHASE_KILL, kills);
    check(d, &epochs);
    phase_run(d, PHASE_STOP, 100);
    check(d, &epochs);
    phase_run(d, PHASE_INDEX, 20);
    count = check(d, &epochs);
    printf("%" PRIu64 " killed, %" PRIu64 " stopped (%" PRIu64
           " with the index lock while others went on), %" PRIu64 " ms\n",
           d->killed, d->stopped, d->progressed, now_ms() - start);
    printf("%zu records in %zu epochs, %zu acknowledged, %" PRIu64 " unknown, %" PRIu64
           " refused, %" PRIu64 " epochs asked for\n",
           count, epochs, d->ack_count, shared->unknown, shared->refused, shared->renewals);
    labels_print();
    char command[300];
    snprintf(command, sizeof command, "rm -r '%s'", state_dir);
    if (system(command) != 0)
        fail("cleaning up", state_dir);
    free(d->acks);
    puts("ok");
    return 0;
}
