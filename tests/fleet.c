/*
 * fleet.c - the driver of the fleet (fleet.h): starts processes, kills some with kill -9 and starts
 * them again, carries records between the two copies of the workspace, then has every acknowledged
 * write looked up and says in numbers what became of it.
 *
 *   fleet [--processes N] [--seconds S] [--dir DIR] [--seed N]     the demo
 *   fleet --check SECONDS PROCESSES [--dir DIR] [--seed N]         the test
 *   fleet ... --invent                                             must fail: one write is claimed
 *                                                                  that nobody made
 *
 * A quarter of the processes works on a second copy of the workspace (DIR/box beside DIR/here), as
 * on another machine; every second a courier takes the records across, both ways. In the demo the
 * same fleet then works on a plain JSON file. In the test the state that all those processes
 * indexed bit by bit has to equal the state that one process builds from the logs alone.
 *
 * Exit status: 0 when nothing is lost, 1 otherwise, 2 for a wrong call.
 */
#include "fleet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECONDS_MAX   3600
#define NS_PER_S      UINT64_C(1000000000)
#define COURIER_NS    NS_PER_S
#define KILL_EVERY_NS (NS_PER_S / 3)
/* A fleet that has not ended so long after its time is stuck. */
#define PATIENCE_NS (120 * NS_PER_S)

struct fleet {
    unsigned processes, seconds, away;
    uint64_t seed, random;
    bool check, plain, invent;
    char dir[FLEET_PATH_SIZE - 64], here[FLEET_PATH_SIZE], box[FLEET_PATH_SIZE],
        file[FLEET_PATH_SIZE];
    /* while it runs */
    struct fleet_writer writers[FLEET_WRITERS_MAX];
    pid_t pids[FLEET_WRITERS_MAX]; /* 0: has ended */
    pid_t courier;                 /* 0: none under way */
    unsigned running, kills, couriers;
    struct fleet_reports reports;
    struct fleet_result result;
    uint64_t begin_ns, end_ns;
    int pipe[2];
};

static void give_up(const char *what)
{
    (void)fprintf(stderr, "fleet: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* --- the two copies --------------------------------------------------------------------------- */

static strata *open_state(const char *state_dir, struct fleet_result *r)
{
    strata *s = NULL;
    strata_error error;
    strata_options options = {
        .size = sizeof(options), .state_dir = state_dir, .program = "fleet", .wait_ms = 60000};
    if (strata_open(NULL, &options, &s, &error) != STRATA_OK)
        fleet_fault(r, "cannot open %s: %s", state_dir, error.message);
    return s;
}

static void merge(const char *into, const char *from, struct fleet_result *r)
{
    strata_merge_result merged;
    strata *s = open_state(into, r);
    if (s == NULL)
        return;
    if (strata_merge_state(s, from, false, &merged) != STRATA_OK)
        fleet_fault(r, "merge: %s", strata_last_error(s)->message);
    strata_close(s);
}

static void make_copy(const char *dir, const char *state_dir, const char *name)
{
    /* Not one of the workspace that a remote of the repository around it may carry. */
    strata_init_options options = {
        .size = sizeof(options), .state_dir = state_dir, .name = name, .found = true};
    strata_init_result made;
    strata_error error;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        give_up(dir);
    if (strata_init(dir, &options, &made, &error) != STRATA_OK) {
        (void)fprintf(stderr, "fleet: %s: %s\n", dir, error.message);
        exit(1);
    }
}

static void make_copies(struct fleet *f)
{
    char dir[FLEET_PATH_SIZE];
    (void)snprintf(dir, sizeof(dir), "%s/here", f->dir);
    make_copy(dir, f->here, "here");
    if (f->away == 0)
        return;
    (void)snprintf(dir, sizeof(dir), "%s/box", f->dir);
    make_copy(dir, f->box, "box");
    merge(f->box, f->here, &f->result);
}

static void make_plain(const struct fleet *f)
{
    FILE *file = fopen(f->file, "w");
    if (file == NULL || fputs("{\"facts\":{},\"counters\":{},\"agents\":{}}", file) < 0 ||
        fclose(file) != 0)
        give_up(f->file);
}

/* --- processes -------------------------------------------------------------------------------- */

static void start_writer(struct fleet *f, unsigned i)
{
    struct fleet_writer *w = &f->writers[i];
    w->seed = fleet_random(&f->random);
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork");
    if (pid == 0) {
        (void)close(f->pipe[0]);
        _exit(fleet_write(w));
    }
    f->pids[i] = pid;
    f->running++;
}

static void start_courier(struct fleet *f)
{
    pid_t pid = fork();
    if (pid < 0)
        give_up("fork");
    if (pid == 0) {
        struct fleet_result r = {0};
        (void)close(f->pipe[0]);
        merge(f->here, f->box, &r);
        merge(f->box, f->here, &r);
        _exit(r.faults > 0);
    }
    f->courier = pid;
    f->couriers++;
}

static void start(struct fleet *f)
{
    if (pipe(f->pipe) != 0)
        give_up("pipe");
    f->begin_ns = fleet_now_ns();
    f->end_ns = f->begin_ns + f->seconds * NS_PER_S;
    for (unsigned i = 0; i < f->processes; i++) {
        bool away = !f->plain && i >= f->processes - f->away;
        f->writers[i] = (struct fleet_writer){
            .number = (uint16_t)i,
            .end_ns = f->end_ns,
            .path = f->plain ? f->file
                    : away   ? f->box
                             : f->here,
            .plain = f->plain,
            .report_fd = f->pipe[1],
        };
        start_writer(f, i);
    }
}

/* kill -9 for one of them, chosen by the dice; the courier, too, if it is on its way. */
static void kill_one(struct fleet *f)
{
    unsigned i = (unsigned)(fleet_random(&f->random) % (f->processes + 1));
    if (i == f->processes && f->courier != 0) {
        (void)kill(f->courier, SIGKILL);
        (void)waitpid(f->courier, NULL, 0);
        f->courier = 0;
        return;
    }
    i %= f->processes;
    if (f->pids[i] == 0)
        return;
    int status;
    (void)kill(f->pids[i], SIGKILL);
    (void)waitpid(f->pids[i], &status, 0);
    f->running--;
    f->kills++;
    if (!WIFSIGNALED(status) && WEXITSTATUS(status) != 0)
        fleet_fault(&f->result, "agent %u ended with status %d", i + 1, WEXITSTATUS(status));
    f->writers[i].generation++;
    start_writer(f, i);
}

/* Those that ended by themselves. */
static void reap(struct fleet *f)
{
    int status;
    if (f->courier != 0 && waitpid(f->courier, &status, WNOHANG) > 0) {
        if (status != 0)
            fleet_fault(&f->result, "the courier ended with status %x", (unsigned)status);
        f->courier = 0;
    }
    for (unsigned i = 0; i < f->processes; i++) {
        if (f->pids[i] == 0 || waitpid(f->pids[i], &status, WNOHANG) <= 0)
            continue;
        if (status != 0)
            fleet_fault(&f->result, "agent %u ended with status %x", i + 1, (unsigned)status);
        f->pids[i] = 0;
        f->running--;
    }
}

/* --- listening -------------------------------------------------------------------------------- */

static void keep(struct fleet *f, const struct fleet_report *report)
{
    struct fleet_reports *l = &f->reports;
    if (report->kind == FLEET_ERROR) {
        fleet_fault(&f->result, "agent %u: write %u was refused: %s", report->writer + 1u,
                    report->sequence, strata_code_name(report->delta));
        return;
    }
    if (l->count == l->cap) {
        l->cap = l->cap == 0 ? 65536 : 2 * l->cap;
        l->list = realloc(l->list, l->cap * sizeof(*l->list));
        if (l->list == NULL)
            give_up("reports");
    }
    l->list[l->count++] = *report;
}

/* Takes in what has been reported; waits at most wait_ms for something. False: nothing came. */
static bool listen_once(struct fleet *f, int wait_ms)
{
    static struct fleet_report batch[2048];
    struct pollfd p = {.fd = f->pipe[0], .events = POLLIN};
    if (poll(&p, 1, wait_ms) <= 0)
        return false;
    /* Writers write whole reports at once, so a read never ends within one. */
    ssize_t n = read(f->pipe[0], batch, sizeof(batch));
    for (ssize_t i = 0; i < n / (ssize_t)sizeof(batch[0]); i++)
        keep(f, &batch[i]);
    return n > 0;
}

static void progress(const struct fleet *f, uint64_t now)
{
    static uint64_t last;
    if (!isatty(STDERR_FILENO) || now - last < NS_PER_S / 10)
        return;
    last = now;
    uint64_t done = (now - f->begin_ns) / NS_PER_S;
    (void)fprintf(stderr, "\r%s: %llu of %u s, %zu writes acknowledged, %u killed ",
                  f->plain ? "plain file" : "strata",
                  (unsigned long long)(done < f->seconds ? done : f->seconds), f->seconds,
                  f->reports.count, f->kills);
}

static void run(struct fleet *f)
{
    f->reports.count = 0;
    f->running = f->kills = f->couriers = 0;
    start(f);
    uint64_t next_kill = f->begin_ns + KILL_EVERY_NS, next_courier = f->begin_ns + COURIER_NS;
    while (f->running > 0) {
        (void)listen_once(f, 20);
        uint64_t now = fleet_now_ns();
        progress(f, now);
        reap(f);
        if (now < f->end_ns && now >= next_kill) {
            next_kill = now + KILL_EVERY_NS / 2 + fleet_random(&f->random) % KILL_EVERY_NS;
            kill_one(f);
        }
        if (now < f->end_ns && now >= next_courier && f->courier == 0 && !f->plain && f->away > 0) {
            next_courier = now + COURIER_NS;
            start_courier(f);
        }
        if (now > f->end_ns + PATIENCE_NS) {
            fleet_fault(&f->result, "%u processes do not end", f->running);
            for (unsigned i = 0; i < f->processes; i++)
                if (f->pids[i] != 0)
                    (void)kill(f->pids[i], SIGKILL);
        }
    }
    if (f->courier != 0) {
        (void)waitpid(f->courier, NULL, 0);
        f->courier = 0;
    }
    while (listen_once(f, 0)) {
    }
    (void)close(f->pipe[0]);
    (void)close(f->pipe[1]);
    if (isatty(STDERR_FILENO))
        (void)fputs("\r\033[K", stderr);
}

/* --- the same state from the logs alone ---------------------------------------------------------
 */

static bool digest_of(const char *state_dir, struct fleet_result *r, char out[33])
{
    strata_status status;
    strata *s = open_state(state_dir, r);
    if (s == NULL)
        return false;
    bool good = strata_status_get(s, &status) == STRATA_OK && !status.index_behind;
    if (good)
        memcpy(out, status.digest, sizeof(status.digest));
    else
        fleet_fault(r, "status of %s: %s", state_dir, strata_last_error(s)->message);
    strata_close(s);
    return good;
}

static bool copy_state(const char *from, const char *to)
{
    static const char *const index[] = {"index.db", "index.db-wal", "index.db-shm"};
    char path[FLEET_PATH_SIZE + 32];
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        (void)execlp("cp", "cp", "-R", from, to, (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
        return false;
    for (size_t i = 0; i < sizeof(index) / sizeof(index[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", to, index[i]);
        if (unlink(path) != 0 && errno != ENOENT)
            return false;
    }
    return true;
}

static int visit_finding(void *arg, const strata_finding *finding)
{
    struct fleet_result *r = arg;
    if (finding->severity == 2)
        fleet_fault(r, "doctor: %s %s", finding->what, finding->path);
    return 0;
}

static void check_rebuilt(struct fleet *f, const char *state_dir, const char *name)
{
    char copy[FLEET_PATH_SIZE], indexed[33], rebuilt[33];
    strata *s = open_state(state_dir, &f->result);
    if (s == NULL)
        return;
    if (strata_doctor(s, false, visit_finding, &f->result) != STRATA_OK)
        fleet_fault(&f->result, "doctor of %s: %s", name, strata_last_error(s)->message);
    strata_close(s);
    (void)snprintf(copy, sizeof(copy), "%s/rebuilt-%s", f->dir, name);
    if (!copy_state(state_dir, copy)) {
        fleet_fault(&f->result, "cannot copy %s", state_dir);
        return;
    }
    if (!digest_of(state_dir, &f->result, indexed) || !digest_of(copy, &f->result, rebuilt))
        return;
    if (strcmp(indexed, rebuilt) != 0)
        fleet_fault(&f->result, "%s: the index says %s, a new one %s", name, indexed, rebuilt);
    else
        (void)printf("  %-10s one process that reads the logs of `%s` gets the same state, %s\n",
                     "rebuilt", name, rebuilt);
}

static void check_copies(struct fleet *f)
{
    char here[33], box[33];
    if (!digest_of(f->here, &f->result, here) || !digest_of(f->box, &f->result, box))
        return;
    if (strcmp(here, box) != 0)
        fleet_fault(&f->result, "the copies differ after the exchange: %s, %s", here, box);
    else
        (void)printf("  %-10s both copies show the same\n", "copies");
}

/* --- the report ---------------------------------------------------------------------------------
 */

/* 1234567 as "1,234,567"; a few results live at a time. */
static const char *grouped(uint64_t n)
{
    static char buffers[8][32];
    static unsigned turn;
    char digits[24], *out = buffers[turn++ % 8], *p = out;
    int count = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            *p++ = ',';
        *p++ = digits[i];
    }
    *p = '\0';
    return out;
}

static void line(const char *word, uint64_t n, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void line(const char *word, uint64_t n, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)printf("  %-10s %9s  ", word, grouped(n));
    (void)vprintf(format, args);
    (void)putchar('\n');
    va_end(args);
}

static void tell_strata(const struct fleet *f)
{
    const struct fleet_result *r = &f->result;
    (void)printf("Strata: %u processes", f->processes);
    if (f->away > 0)
        (void)printf(", %u of them on a second copy of the workspace", f->away);
    (void)printf("; %u s; %u times one was killed with kill -9 and started again\n", f->seconds,
                 f->kills);
    line("written", r->acknowledged,
         "acknowledged sets, unsets, additions and removals (%s a second)",
         grouped(r->acknowledged / f->seconds));
    line("current", r->current, "are what is shown now");
    line("replaced", r->replaced, "are in `strata history`, under what replaced them");
    line("removed", r->removed, "were removals: what they removed is in `strata history` too");
    line("pending", r->pending, "are in `strata pending`: both copies wrote at the same time");
    line("lost", r->lost, r->lost == 0 ? "none" : "NOT FOUND ANYWHERE");
    line("counted", r->counted, "steps of counters add up to %s; the counters say %s",
         grouped((uint64_t)r->steps_acknowledged), grouped((uint64_t)r->steps_found));
    line("heartbeats", r->beats, "of %u agents; each shows its last one", r->agents);
    line("unreported", r->unreported, "are kept too: kill -9 came before they could be reported");
}

static void tell_plain(const struct fleet *f)
{
    const struct fleet_result *r = &f->result;
    (void)printf("\nThe same fleet on one plain JSON file (read, change, write aside, rename):\n");
    line("written", r->acknowledged, "acknowledged");
    line("kept", r->current, "are in the file, as the value or in the list of earlier ones");
    line("lost", r->lost, "%.1f %% of what was acknowledged",
         r->acknowledged == 0 ? 0.0 : 100.0 * (double)r->lost / (double)r->acknowledged);
    line("counted", r->counted, "steps of counters add up to %s; the counters say %s",
         grouped((uint64_t)r->steps_acknowledged), grouped((uint64_t)r->steps_found));
}

/* --- main ----------------------------------------------------------------------------------------
 */

static int usage(void)
{
    (void)fputs("usage: fleet [--processes N] [--seconds S] [--dir DIR] [--seed N]\n"
                "       fleet --check SECONDS PROCESSES [--dir DIR] [--seed N] [--invent]\n",
                stderr);
    return 2;
}

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
    char *end;
    if (text == NULL)
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *out >= min && *out <= max;
}

static bool parse(struct fleet *f, int argc, char **argv)
{
    uint64_t seconds = 5, processes = 8;
    bool good = true;

    for (int i = 1; i < argc && good; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL,
                   *after = i + 2 < argc ? argv[i + 2] : NULL;
        if (strcmp(argv[i], "--processes") == 0 && ++i > 0)
            good = number(next, 1, FLEET_WRITERS_MAX, &processes);
        else if (strcmp(argv[i], "--seconds") == 0 && ++i > 0)
            good = number(next, 1, SECONDS_MAX, &seconds);
        else if (strcmp(argv[i], "--seed") == 0 && ++i > 0)
            good = number(next, 0, UINT64_MAX, &f->seed);
        else if (strcmp(argv[i], "--dir") == 0 && ++i > 0) {
            good = next != NULL && strlen(next) < sizeof(f->dir);
            (void)snprintf(f->dir, sizeof(f->dir), "%s", good ? next : "");
        } else if (strcmp(argv[i], "--invent") == 0) {
            f->invent = true;
        } else if (strcmp(argv[i], "--check") == 0) {
            f->check = true;
            i += 2;
            good = number(next, 1, SECONDS_MAX, &seconds) &&
                   number(after, 1, FLEET_WRITERS_MAX, &processes);
        } else
            good = false;
    }
    f->seconds = (unsigned)seconds;
    f->processes = (unsigned)processes;
    f->away = f->processes / 4;
    return good;
}

/* A set and a step of a counter, as if acknowledged. */
static void invent(struct fleet *f)
{
    struct fleet_report set = {.kind = FLEET_SET, .id = 1, .content = 1};
    struct fleet_report step = {.kind = FLEET_COUNT, .id = 2, .delta = 1000000};
    keep(f, &set);
    keep(f, &step);
}

static void make_dir(struct fleet *f)
{
    const char *tmp = getenv("TMPDIR");
    if (f->dir[0] == '\0') {
        (void)snprintf(f->dir, sizeof(f->dir), "%s/fleet.XXXXXX",
                       tmp != NULL && strlen(tmp) < 1024 ? tmp : "/tmp");
        if (mkdtemp(f->dir) == NULL)
            give_up(f->dir);
    }
    (void)snprintf(f->here, sizeof(f->here), "%s/here/.strata", f->dir);
    (void)snprintf(f->box, sizeof(f->box), "%s/box/.strata", f->dir);
    (void)snprintf(f->file, sizeof(f->file), "%s/plain.json", f->dir);
}

int main(int argc, char **argv)
{
    static struct fleet f;

    f.seed = fleet_now_ns();
    if (!parse(&f, argc, argv))
        return usage();
    f.random = f.seed | 1;
    make_dir(&f);
    make_copies(&f);
    run(&f);
    if (f.invent)
        invent(&f);
    if (f.away > 0) {
        merge(f.here, f.box, &f.result);
        merge(f.box, f.here, &f.result);
    }
    fleet_verify(f.here, &f.reports, f.processes, f.kills, &f.result);
    tell_strata(&f);
    if (f.away > 0)
        check_copies(&f);
    if (f.check) {
        check_rebuilt(&f, f.here, "here");
        if (f.away > 0)
            check_rebuilt(&f, f.box, "box");
    }
    bool failed = f.result.faults > 0 || f.result.lost > 0 || f.result.acknowledged == 0;
    if (!f.check) {
        f.plain = true;
        f.result = (struct fleet_result){0};
        make_plain(&f);
        run(&f);
        fleet_verify_plain(f.file, &f.reports, &f.result);
        tell_plain(&f);
    }
    if (failed)
        (void)printf("\nFAILED: see above. All is still in %s (seed %llu)\n", f.dir,
                     (unsigned long long)f.seed);
    free(f.reports.list);
    return failed ? 1 : 0;
}
