/*
 * kill_once.c - many processes, few keys, kills at random instants: `strata once` against a log of
 * effects that Strata never reads.
 *
 *   kill_once [ROUNDS [SEED]]                STRATA in the environment: the program under test
 *   kill_once effect DIRECTORY KEY MODE MS   what the wrappers run (this program again)
 *
 * A round starts wrappers on fresh keys, kills some of their processes after a random while (a
 * wrapper, the command, a grandchild that left the process group, everything), lets the rest come
 * to its end, and judges what was answered and what happened:
 *   - never more than one effect of a key; a command that ended with 0 had its effect
 *   - all who got a result got the same, byte for byte; none got one where another got "in doubt"
 *   - a key that was begun is committed or in doubt; the next caller gets that result, or 117
 *   - a person can settle only when nothing of it runs: whoever registered is dead by then
 *   - what was settled as failed has no effect, then and at the end; as retry: exactly one
 * At times the index of the strong log is removed or filled with garbage between two rounds; in the
 * end, without an index, every key still has its result.
 *
 * Only processes that this one started are killed: wrappers are its children; of all others a pidfd
 * is opened and their program is compared first.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WRAPPERS_MAX 32
#define KEYS_MAX     4
#define OUTPUT_MAX   4096

/* Modes of the command. */
enum {
    LASTING,    /* DETACHED, and stays until it is killed; the most frequent */
    DIRECT,     /* the effect is its own */
    GRANDCHILD, /* in a session of its own; it is waited for */
    DETACHED,   /* in a session of its own; nobody waits: exit status 7 */
    MODES
};

static const char *strata, *self;
static char self_path[4096], dir[256];
static uint64_t seed, rng;

static uint64_t random_below(uint64_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (rng >> 11) % n;
}

static void pause_us(uint64_t us)
{
    struct timespec t = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    nanosleep(&t, NULL);
}

static void append(const char *where, const char *name, const char *key)
{
    char path[512], line[400];
    const char *fence = getenv("STRATA_FENCE"), *op = getenv("STRATA_OP_KEY");
    snprintf(path, sizeof path, "%s/%s", where, name);
    int n = snprintf(line, sizeof line, "%s %d %s %s\n", key, (int)getpid(),
                     fence != NULL ? fence : "-", op != NULL ? op : "-");
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0 || write(fd, line, (size_t)n) != n)
        _exit(99);
    close(fd);
}

/* --- the command ------------------------------------------------------------------------------ */

static int effect(const char *where, const char *key, int mode, uint64_t ms)
{
    append(where, "processes", key);
    pause_us(ms * 500);
    if (mode != DIRECT) {
        pid_t pid = fork();
        if (pid == 0) {
            setsid();
            append(where, "processes", key);
            pause_us(ms * 500);
            append(where, "effects", key);
            if (mode == LASTING)
                pause_us(60000000);
            _exit(0);
        }
        int status = 0;
        if (pid < 0 || (mode == GRANDCHILD && (waitpid(pid, &status, 0) != pid || status != 0)))
            return 9;
    } else {
        append(where, "effects", key);
    }
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    printf("%c%cpid %d at %lld.%09ld\n", 0, 0xff, (int)getpid(), (long long)t.tv_sec, t.tv_nsec);
    fprintf(stderr, "said by %d%c", (int)getpid(), 0);
    fflush(NULL);
    pause_us(ms * 200);
    return mode == DIRECT || mode == GRANDCHILD ? 0 : 7;
}

/* --- the driver ------------------------------------------------------------------------------- */

struct answer {
    int status; /* -1: killed */
    size_t out_size, err_size;
    char out[OUTPUT_MAX], err[OUTPUT_MAX];
};

struct key {
    char name[64], mode[2], ms[8];
    bool known;   /* a result was seen: this one */
    bool doubt;   /* an answer was "in doubt" */
    bool settled; /* while it was about to die: answers may differ from now on */
    struct answer result;
};

struct wrapper {
    pid_t pid;
    struct key *key;
    bool killed;
};

static struct {
    unsigned rounds, wrappers, kills, commits, doubts, refused, retried, never;
} total;

static void fail(const char *what, const char *key)
{
    printf("FAILED: %s (key %s; seed %llu; state kept in %s)\n", what, key,
           (unsigned long long)seed, dir);
    exit(1);
}

static void path_of(char out[512], const char *name)
{
    snprintf(out, 512, "%s/%s", dir, name);
}

static size_t read_file(const char *name, char *out, size_t size)
{
    char path[512];
    path_of(path, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, size - 1) : 0;
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n > 0 ? (size_t)n : 0;
}

static void redirect(int number, const char *kind, int fd)
{
    char name[64], path[512];
    snprintf(name, sizeof name, "%s%d", kind, number);
    path_of(path, name);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0 || dup2(file, fd) < 0)
        _exit(98);
}

/* Runs `strata ARGS`, its output into out<number> and err<number>. tty: its standard input. */
static pid_t start(int number, char *const args[], int tty)
{
    pid_t pid = fork();
    if (pid < 0)
        fail("fork", "-");
    if (pid > 0)
        return pid;
    char agent[16];
    snprintf(agent, sizeof agent, "agent%d", number);
    if (tty < 0)
        setenv("STRATA_AGENT", agent, 1);
    int in = tty >= 0 ? tty : open("/dev/null", O_RDONLY);
    dup2(in, 0);
    redirect(number, "out", 1);
    redirect(number, "err", 2);
    if (chdir(dir) < 0)
        _exit(98);
    execv(strata, args);
    _exit(98);
}

static pid_t start_once(int number, const struct key *k)
{
    char *const args[] = {"strata",          "once",   "--key", (char *)k->name, "--",
                          (char *)self_path, "effect", dir,     (char *)k->name, (char *)k->mode,
                          (char *)k->ms,     NULL};
    return start(number, args, -1);
}

/* Without the notes of the program itself, which say when it ran. */
static void take_answer(int number, int status, struct answer *a)
{
    char name[64];
    a->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    snprintf(name, sizeof name, "out%d", number);
    a->out_size = read_file(name, a->out, sizeof a->out);
    snprintf(name, sizeof name, "err%d", number);
    a->err_size = read_file(name, a->err, sizeof a->err);
    if (strncmp(a->err, "strata: note: not run again", 27) == 0) {
        char *line = strchr(a->err, '\n');
        size_t skip = line != NULL ? (size_t)(line + 1 - a->err) : 0;
        memmove(a->err, a->err + skip, a->err_size - skip + 1);
        a->err_size -= skip;
    }
}

static bool same_answer(const struct answer *a, const struct answer *b)
{
    return a->status == b->status && a->out_size == b->out_size && a->err_size == b->err_size &&
           memcmp(a->out, b->out, a->out_size) == 0 && memcmp(a->err, b->err, a->err_size) == 0;
}

static void judge_answer(struct key *k, const struct answer *a)
{
    if (a->status == -1 || k->settled)
        return;
    if (a->status == 117) {
        static const char advice[] = "do not retry and do not use another key";
        if (memmem(a->err, a->err_size, advice, sizeof advice - 1) == NULL)
            fail("the answer 117 does not say what to do", k->name);
        if (k->known)
            fail("in doubt after a result", k->name);
        k->doubt = true;
        return;
    }
    if (a->status >= 98) {
        printf("exit %d: %s\n", a->status, a->err);
        fail("an answer that nobody expected", k->name);
    }
    if (k->doubt)
        fail("a result after in doubt", k->name);
    if (k->known && !same_answer(&k->result, a))
        fail("two callers got different results", k->name);
    k->known = true;
    k->result = *a;
}

static unsigned count_effects(const char *key)
{
    static char text[1 << 20];
    unsigned count = 0;
    size_t n = strlen(key);
    read_file("effects", text, sizeof text);
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        count += strncmp(line, key, n) == 0 && line[n] == ' ';
    return count;
}

/* --- other people's processes ----------------------------------------------------------------- */

/* A pidfd if the process is one of ours and lives; else -1. */
static int ours(pid_t pid)
{
    char link[64], target[4096];
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    snprintf(link, sizeof link, "/proc/%d/exe", (int)pid);
    ssize_t n = readlink(link, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (fd >= 0 && strcmp(target, self_path) == 0 && poll(&p, 1, 0) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Calls visit for the registered, living processes of a key (NULL: of all); counts them. */
static unsigned each_process(const char *key, void (*visit)(int pidfd))
{
    static char text[1 << 18];
    unsigned count = 0;
    read_file("processes", text, sizeof text);
    for (char *line = text; *line != '\0'; line = strchr(line, '\n') + 1) {
        char name[64];
        int pid, fd;
        if (sscanf(line, "%63s %d", name, &pid) != 2 || (key != NULL && strcmp(name, key) != 0) ||
            (fd = ours(pid)) < 0)
            continue;
        count++;
        if (visit != NULL)
            visit(fd);
        close(fd);
    }
    return count;
}

static void kill_process(int pidfd)
{
    syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0);
    total.kills++;
}

static void kill_perhaps(int pidfd)
{
    if (random_below(2) == 0)
        kill_process(pidfd);
}

static void kill_wrapper(struct wrapper *w)
{
    w->killed = true;
    kill(w->pid, SIGKILL);
    total.kills++;
}

static void kill_some(struct wrapper *wrappers, unsigned count)
{
    switch (random_below(5)) {
    case 0: /* nobody */
        break;
    case 1:
        for (unsigned i = 0; i < count; i++)
            if (random_below(2) == 0)
                kill_wrapper(&wrappers[i]);
        break;
    case 2:
        each_process(NULL, kill_perhaps);
        break;
    case 3: /* all wrappers: what they began goes on alone */
        for (unsigned i = 0; i < count; i++)
            kill_wrapper(&wrappers[i]);
        break;
    default:
        for (unsigned i = 0; i < count; i++)
            kill_wrapper(&wrappers[i]);
        each_process(NULL, kill_process);
    }
}

/* The next caller. A grandchild that registered only after the last look may keep it waiting. */
static struct answer ask_once(const struct key *k)
{
    struct answer a;
    int status;
    pid_t pid = start_once(40, k);
    for (unsigned waited = 0; waitpid(pid, &status, WNOHANG) == 0; waited++) {
        pause_us(1000);
        if (waited % 200 == 199)
            each_process(k->name, kill_process);
        if (waited > 20000)
            fail("a caller waits for ever", k->name);
    }
    take_answer(40, status, &a);
    return a;
}

/* --- after the round -------------------------------------------------------------------------- */

static int settle(const char *key, const char *outcome, struct answer *a)
{
    int master, slave, status;
    if (openpty(&master, &slave, NULL, NULL, NULL) < 0)
        fail("openpty", key);
    char *const args[] = {"strata",     "op",   "settle", (char *)key, "--outcome", (char *)outcome,
                          "--evidence", "seen", "--by",   "judge",     NULL};
    pid_t pid = start(41, args, slave);
    waitpid(pid, &status, 0);
    close(master);
    close(slave);
    take_answer(41, status, a);
    return a->status;
}

/* In doubt: a person looks at what happened, as soon as nothing can happen any more. */
static void settle_key(struct key *k)
{
    struct answer a;
    for (int tries = 0;; tries++) {
        unsigned before = count_effects(k->name);
        const char *outcome = before > 0 ? "committed" : random_below(2) == 0 ? "failed" : "retry";
        int status = settle(k->name, outcome, &a);
        if (status == 0) {
            if (each_process(k->name, NULL) > 0)
                fail("settled while something of it lived", k->name);
            if (count_effects(k->name) != before)
                fail("an effect after what it was judged by", k->name);
            if (strcmp(outcome, "retry") == 0) {
                k->doubt = false;
                total.retried++;
                unsigned kills = total.kills;
                a = ask_once(k);
                judge_answer(k, &a);
                if (!k->known && total.kills == kills)
                    fail("a retry without a result", k->name);
                if (!k->known)
                    continue; /* it was so slow that ask_once() killed it */
            }
            return;
        }
        if (status != 6 || tries > 200) {
            printf("exit %d: %s\n", status, a.err);
            fail("cannot be settled", k->name);
        }
        total.refused++;
        each_process(k->name, kill_process);
        pause_us(2000);
    }
}

/* A grandchild that stays: settling has to wait for it, and so have all callers. */
static void judge_lasting(struct key *k)
{
    struct answer a;
    if (k->mode[0] != '0' + LASTING || each_process(k->name, NULL) == 0)
        return;
    int status = settle(k->name, count_effects(k->name) > 0 ? "committed" : "failed", &a);
    bool alive = each_process(k->name, NULL) > 0;
    if (alive && (status == 0 || (k->doubt && status != 6) || (k->known && status != 3))) {
        printf("exit %d: %s\n", status, a.err);
        fail("settled while something of it lived", k->name);
    }
    total.refused += status == 6;
    k->settled = k->settled || status == 0;
    each_process(k->name, kill_process);
}

static void judge_key(struct key *k)
{
    judge_lasting(k);
    if (k->settled)
        return;
    struct answer a = ask_once(k);
    bool begun = k->known || k->doubt || count_effects(k->name) > 0;
    total.never += !begun;
    judge_answer(k, &a);
    if (k->doubt) {
        total.doubts++;
        settle_key(k);
    } else if (k->known) {
        total.commits++;
        if (k->result.status == 0 && count_effects(k->name) != 1)
            fail("ended with 0, without its effect", k->name);
    } else {
        fail("neither a result nor in doubt", k->name);
    }
    if (k->mode[0] == '0' + LASTING)
        each_process(k->name, kill_process);
}

static void break_index(void)
{
    static const char *const names[] = {"index.db", "index.db-wal", "index.db-shm"};
    bool garbage = random_below(2) == 0;
    for (int i = 0; i < 3; i++) {
        char name[64], path[512], noise[8192];
        snprintf(name, sizeof name, ".strata/strong/%s", names[i]);
        path_of(path, name);
        if (!garbage || i > 0) {
            unlink(path);
            continue;
        }
        memset(noise, (int)random_below(256), sizeof noise);
        int fd = open(path, O_WRONLY);
        if (fd < 0 || pwrite(fd, noise, sizeof noise, 0) != sizeof noise)
            fail("no index to break", "-");
        close(fd);
    }
}

static void reap(void)
{
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

static void round_run(unsigned round, struct key *keys, unsigned key_count)
{
    struct wrapper wrappers[WRAPPERS_MAX];
    unsigned count = round % 4 == 0 ? WRAPPERS_MAX : 4 + (unsigned)random_below(8);
    char path[512];
    path_of(path, "processes");
    unlink(path);
    if (round % 7 == 6)
        break_index();
    for (unsigned i = 0; i < key_count; i++) {
        keys[i] = (struct key){0};
        snprintf(keys[i].name, sizeof keys[i].name, "key-%u-%u", round, i);
        keys[i].mode[0] = (char)('0' + random_below(MODES + 1) % MODES);
        snprintf(keys[i].ms, 8, "%d", (int)random_below(20));
    }
    for (unsigned i = 0; i < count; i++) {
        wrappers[i] = (struct wrapper){.key = &keys[random_below(key_count)]};
        wrappers[i].pid = start_once((int)i, wrappers[i].key);
    }
    pause_us(random_below(count == WRAPPERS_MAX ? 60000 : 30000));
    kill_some(wrappers, count);
    /* A lasting grandchild of a wrapper that died keeps the others waiting: as it should. */
    for (unsigned i = 0, waited = 0; i < count;) {
        int status;
        struct answer a;
        pid_t pid = waitpid(wrappers[i].pid, &status, WNOHANG);
        if (pid == 0) {
            pause_us(1000);
            if (++waited % 60 == 0)
                judge_lasting(wrappers[i].key);
            if (waited % 500 == 0)
                each_process(NULL, kill_process);
            if (waited > 20000)
                fail("a caller waits for ever", wrappers[i].key->name);
            continue;
        }
        take_answer((int)i, status, &a);
        if (!wrappers[i].killed && a.status == -1)
            fail("a caller crashed", wrappers[i].key->name);
        judge_answer(wrappers[i].key, &a);
        i++;
    }
    total.wrappers += count;
    for (unsigned i = 0; i < key_count; i++)
        judge_key(&keys[i]);
    reap();
}

/* --- the end ---------------------------------------------------------------------------------- */

static void judge_all(struct key *keys, unsigned count)
{
    break_index();
    for (unsigned i = 0; i < count; i++) {
        struct key *k = &keys[i];
        if (count_effects(k->name) > 1)
            fail("two effects", k->name);
        struct answer a = ask_once(k);
        if (k->known)
            judge_answer(k, &a);
        /* Settled: as failed (and nothing happened), or committed without what it printed. */
        else if (a.status != (count_effects(k->name) == 0 ? 113 : 0) || a.out_size != 0)
            fail("forgotten, or another answer than what was settled", k->name);
    }
    for (unsigned i = 0; i < count; i++)
        if (count_effects(keys[i].name) > 1)
            fail("two effects", keys[i].name);
}

static void set_up(void)
{
    char command[8192];
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%.200s/kill-once-XXXXXX", tmp != NULL ? tmp : "/tmp");
    ssize_t n = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    strata = getenv("STRATA");
    if (n < 0 || strata == NULL || mkdtemp(dir) == NULL) {
        fprintf(stderr, "STRATA=PROGRAM %s [ROUNDS [SEED]]\n", self);
        exit(2);
    }
    static const char *const marks[] = {"STRATA_DIR",     "STRATA_STATE_DIR",       "STRATA_AGENT",
                                        "CLAUDECODE",     "CLAUDE_CODE_ENTRYPOINT", "CODEX_SANDBOX",
                                        "OPENCLAW_AGENT", "OPENCLAW_SESSION"};
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
        unsetenv(marks[i]);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    snprintf(command, sizeof command, "cd '%s' && '%s' init >init.out", dir, strata);
    if (system(command) != 0)
        fail("init", "-");
}

/* Did the kills hit what they were meant for? */
static bool hit_enough(void)
{
    return total.doubts >= 10 && total.refused >= 3 && total.commits >= 10;
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 6 && strcmp(argv[1], "effect") == 0)
        return effect(argv[2], argv[3], atoi(argv[4]), strtoull(argv[5], NULL, 10));
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 110;
    seed =
        argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid();
    rng = seed * 0x9e3779b97f4a7c15u | 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("seed %llu\n", (unsigned long long)seed);
    set_up();
    /* On a fast machine few calls are in the middle of something when they are killed: a long run goes
     * on until enough were. */
    unsigned rounds_max = rounds >= 100 ? rounds * 6 : rounds, count = 0;
    struct key *keys = calloc(rounds_max, KEYS_MAX * sizeof *keys);
    unsigned round = 0;
    for (; round < rounds || (round < rounds_max && !hit_enough()); round++) {
        unsigned key_count = round % 4 == 0 ? 1 : 1 + (unsigned)random_below(KEYS_MAX);
        round_run(round, keys + count, key_count);
        count += key_count;
    }
    judge_all(keys, count);
    printf("%u rounds, %u keys, %u callers, %u kills: %u committed, %u in doubt (%u settled for a "
           "retry, %u times refused while something lived), %u began after the round\n",
           round, count, total.wrappers, total.kills, total.commits, total.doubts, total.retried,
           total.refused, total.never);
    if (rounds >= 100 && !hit_enough())
        fail("the kills hit nothing", "-");
    free(keys);
    char command[512];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command) == 0 ? 0 : 1;
}
