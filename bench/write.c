/*
 * write.c - how many writes a second, by Strata's library and by bare loops that do only what the
 * promise needs.
 *
 *   bench-write KIND PROCESSES MS DIR
 *
 *   flushed    strata_write, on disk when it returns
 *   unflushed  strata_write with STRATA_NO_FLUSH
 *   answered   strata_write with STRATA_ANSWER: flushed, and says what it replaced
 *   count      counters, unflushed
 *   beat       heartbeats with an unchanged status
 *   fdatasync  append 256 bytes, fdatasync; each process its own file
 *   shared     lock + pwrite + unlock of 256 bytes; one flushes for all, the rest sleep on a futex
 *   bare       flock + pwrite + unlock of 256 bytes, no flush
 *   sqlite     one INSERT a transaction; WAL, synchronous=FULL
 *
 * Prints writes per second. DIR has to exist; a workspace is made in it when one is needed.
 */
#include "bench.h"

#include "strata.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RECORD_SIZE 256

struct shared {
    pthread_mutex_t append, flush; /* robust: a holder that dies must not stop the others */
    uint64_t tail, durable;
    uint32_t wake;
};

struct work {
    const char *dir;
    strata *s;
    sqlite3 *db;
    sqlite3_stmt *insert;
    int fd, lock_fd;
    uint64_t offset, n;
    int number;
    unsigned flags;
    struct shared *shared;
    char record[RECORD_SIZE];
};

/* --- Strata ---------------------------------------------------------------------------------- */

static void make_workspace(struct work *w)
{
    strata_init_options o = {.size = sizeof o};
    strata_init_result r;
    strata_error e;
    char state[4000];
    snprintf(state, sizeof state, "%s/state", w->dir);
    o.state_dir = state;
    if (strata_init(w->dir, &o, &r, &e) != STRATA_OK)
        bench_die("%s", e.message);
}

static void strata_prepare(void *arg, int number)
{
    struct work *w = arg;
    char state[4000], agent[32];
    strata_error e;
    snprintf(state, sizeof state, "%s/state", w->dir);
    snprintf(agent, sizeof agent, "agent-%d", number);
    strata_options o = {.size = sizeof o, .state_dir = state, .agent = agent};
    if (strata_open(w->dir, &o, &w->s, &e) != STRATA_OK)
        bench_die("%s", e.message);
    w->number = number;
}

static void strata_set_once(void *arg)
{
    struct work *w = arg;
    char entity[32], value[64];
    snprintf(entity, sizeof entity, "entity-%d", (int)(w->n % 1000));
    snprintf(value, sizeof value, "what process %d says for the time %d", w->number, (int)w->n);
    strata_op op = {.kind = STRATA_SET,
                    .entity = entity,
                    .attribute = "status",
                    .value = value,
                    .value_size = STRATA_NUL};
    strata_written written;
    w->n++;
    if (strata_write(w->s, &op, 1, w->flags, NULL, &written) != STRATA_OK)
        bench_die("%s", strata_last_error(w->s)->message);
}

static void strata_count_once(void *arg)
{
    struct work *w = arg;
    strata_op op = {.kind = STRATA_COUNT, .entity = "requests", .delta = 1};
    if (strata_write(w->s, &op, 1, STRATA_NO_FLUSH, NULL, NULL) != STRATA_OK)
        bench_die("%s", strata_last_error(w->s)->message);
}

static void strata_beat_once(void *arg)
{
    struct work *w = arg;
    if (strata_beat(w->s, "benchmark") != STRATA_OK)
        bench_die("%s", strata_last_error(w->s)->message);
}

/* --- bare loops -------------------------------------------------------------------------- */

static int file_open(const struct work *w, const char *name, int number)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-%d", w->dir, name, number);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        bench_die("%s", path);
    return fd;
}

static void own_file_prepare(void *arg, int number)
{
    struct work *w = arg;
    w->fd = file_open(w, "own", number);
}

static void fdatasync_once(void *arg)
{
    struct work *w = arg;
    if (pwrite(w->fd, w->record, RECORD_SIZE, (off_t)w->offset) != RECORD_SIZE ||
        fdatasync(w->fd) < 0)
        bench_die("append");
    w->offset += RECORD_SIZE;
}

static void shared_prepare(void *arg, int number)
{
    struct work *w = arg;
    (void)number;
    w->fd = file_open(w, "shared", 0);
    w->lock_fd = file_open(w, "lock", 0);
}

static void robust_lock(pthread_mutex_t *m)
{
    if (pthread_mutex_lock(m) == EOWNERDEAD)
        pthread_mutex_consistent(m);
}

static void append_shared(struct work *w, uint64_t *end)
{
    struct shared *s = w->shared;
    robust_lock(&s->append);
    uint64_t at = s->tail;
    if (pwrite(w->fd, w->record, RECORD_SIZE, (off_t)at) != RECORD_SIZE)
        bench_die("append");
    *end = at + RECORD_SIZE;
    __atomic_store_n(&s->tail, *end, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&s->append);
}

static void futex(uint32_t *word, int what, uint32_t value)
{
    syscall(SYS_futex, word, what, value, NULL, NULL, 0);
}

static void shared_once(void *arg)
{
    struct work *w = arg;
    struct shared *s = w->shared;
    uint64_t end;
    append_shared(w, &end);
    for (;;) {
        uint32_t wake = __atomic_load_n(&s->wake, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&s->durable, __ATOMIC_SEQ_CST) >= end)
            return;
        int r = pthread_mutex_trylock(&s->flush);
        if (r == EBUSY) {
            futex(&s->wake, FUTEX_WAIT, wake);
            continue;
        }
        uint64_t target = __atomic_load_n(&s->tail, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&s->durable, __ATOMIC_SEQ_CST) < end) {
            if (fdatasync(w->fd) < 0)
                bench_die("fdatasync");
            __atomic_store_n(&s->durable, target, __ATOMIC_SEQ_CST);
        }
        pthread_mutex_unlock(&s->flush);
        __atomic_add_fetch(&s->wake, 1u, __ATOMIC_SEQ_CST);
        futex(&s->wake, FUTEX_WAKE, INT32_MAX);
    }
}

static void bare_once(void *arg)
{
    struct work *w = arg;
    struct shared *s = w->shared;
    if (flock(w->lock_fd, LOCK_EX) < 0)
        bench_die("flock");
    uint64_t at = s->tail;
    if (pwrite(w->fd, w->record, RECORD_SIZE, (off_t)at) != RECORD_SIZE)
        bench_die("append");
    s->tail = at + RECORD_SIZE;
    flock(w->lock_fd, LOCK_UN);
}

static void shared_init(struct work *w)
{
    w->shared = bench_shared(sizeof *w->shared);
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&w->shared->append, &a);
    pthread_mutex_init(&w->shared->flush, &a);
}

/* --- SQLite ------------------------------------------------------------------------------ */

static void sqlite_open(struct work *w)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/sqlite.db", w->dir);
    if (sqlite3_open(path, &w->db) != SQLITE_OK)
        bench_die("%s", sqlite3_errmsg(w->db));
    sqlite3_busy_timeout(w->db, 30000);
    const char *sql = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                      "CREATE TABLE IF NOT EXISTS t(entity TEXT PRIMARY KEY, value BLOB)";
    if (sqlite3_exec(w->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        bench_die("%s", sqlite3_errmsg(w->db));
}

static void sqlite_prepare(void *arg, int number)
{
    struct work *w = arg;
    w->number = number;
    sqlite_open(w);
    if (sqlite3_prepare_v2(w->db, "INSERT OR REPLACE INTO t VALUES(?1,?2)", -1, &w->insert, NULL) !=
        SQLITE_OK)
        bench_die("%s", sqlite3_errmsg(w->db));
}

static void sqlite_once(void *arg)
{
    struct work *w = arg;
    char entity[32];
    int n = snprintf(entity, sizeof entity, "entity-%d", (int)(w->n++ % 1000));
    sqlite3_bind_text(w->insert, 1, entity, n, SQLITE_STATIC);
    sqlite3_bind_blob(w->insert, 2, w->record, RECORD_SIZE, SQLITE_STATIC);
    int r;
    /* With many writers the busy handler may give up; the write is then made again. */
    while ((r = sqlite3_step(w->insert)) == SQLITE_BUSY && !bench_over())
        sqlite3_reset(w->insert);
    if (r != SQLITE_DONE && r != SQLITE_BUSY)
        bench_die("%s", sqlite3_errmsg(w->db));
    sqlite3_reset(w->insert);
}

/* ----------------------------------------------------------------------------------------- */

static const struct kind {
    const char *name;
    bool workspace;
    unsigned flags;
    void (*prepare)(void *arg, int number);
    void (*once)(void *arg);
} kinds[] = {
    {"flushed", true, 0, strata_prepare, strata_set_once},
    {"unflushed", true, STRATA_NO_FLUSH, strata_prepare, strata_set_once},
    {"answered", true, STRATA_ANSWER, strata_prepare, strata_set_once},
    {"count", true, 0, strata_prepare, strata_count_once},
    {"beat", true, 0, strata_prepare, strata_beat_once},
    {"fdatasync", false, 0, own_file_prepare, fdatasync_once},
    {"shared", false, 0, shared_prepare, shared_once},
    {"bare", false, 0, shared_prepare, bare_once},
    {"sqlite", false, 0, sqlite_prepare, sqlite_once},
};

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: bench-write KIND PROCESSES MS DIR\n", stderr);
        return 2;
    }
    int count = atoi(argv[2]), ms = atoi(argv[3]);
    struct work w = {.dir = argv[4]};
    memset(w.record, 'x', sizeof w.record - 1);
    w.record[sizeof w.record - 1] = '\n';
    if (count < 1 || count > 1024 || ms < 1)
        bench_die("1 to 1024 processes, at least 1 ms");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, argv[1]) != 0)
            continue;
        w.flags = kinds[i].flags;
        if (kinds[i].workspace)
            make_workspace(&w);
        if (strcmp(argv[1], "sqlite") == 0) {
            sqlite_open(&w); /* the tables, before the processes */
            sqlite3_close(w.db);
        }
        shared_init(&w);
        printf("%.0f\n", bench_rate(count, (uint32_t)ms, kinds[i].prepare, kinds[i].once, &w));
        return 0;
    }
    bench_die("no kind '%s'", argv[1]);
}
