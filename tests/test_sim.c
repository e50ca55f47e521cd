/*
 * test_sim.c - the simulator itself: it must lose what a machine may lose, keep what it must
 * keep, and do the same again for the same seed.
 */
#include "sim/sim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static struct sim *sim;
static const struct st_env *env;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            sim_die(sim, "%s:%d: %s", __FILE__, __LINE__, #condition);                             \
    } while (0)

enum { SEEDS = 300, CREATE = ST_OPEN_WRITE | ST_OPEN_CREATE };

static int file_open(const char *path, int flags)
{
    int fd = env->open(env->ctx, path, flags);
    CHECK(fd >= 0);
    return fd;
}

static void file_put(int fd, const char *text, uint64_t offset)
{
    CHECK(env->pwrite(env->ctx, fd, text, strlen(text), offset) == (ssize_t)strlen(text));
}

static bool file_is(const char *path, const char *text)
{
    const uint8_t *p;
    size_t n;
    return sim_file(sim, 0, path, &p, &n) && n == strlen(text) && memcmp(p, text, n) == 0;
}

static bool exists(const char *path)
{
    struct st_file_info info;
    return env->stat(env->ctx, path, &info) == 0;
}

static int file_make(const char *path)
{
    int fd = file_open(path, CREATE);
    CHECK(env->sync_directory(env->ctx, "/") == 0);
    return fd;
}

static void close_fd(int fd)
{
    CHECK(env->close(env->ctx, fd) == 0);
}

/* --- files ------------------------------------------------------------------------------------ */

static void test_flush(uint64_t seed)
{
    sim_reset(sim, seed);
    int fd = file_make("/f");
    file_put(fd, "kept", 0);
    CHECK(env->fdatasync(env->ctx, fd) == 0);
    file_put(fd, "lost", 4);
    CHECK(file_is("/f", "keptlost"));
    close_fd(fd);
    sim_power_loss(sim, 0, SIM_LOSS_ALL);
    CHECK(file_is("/f", "kept"));
    fd = file_open("/f", ST_OPEN_WRITE);
    file_put(fd, "more", 4);
    close_fd(fd);
    sim_power_loss(sim, 0, SIM_LOSS_NONE);
    CHECK(file_is("/f", "keptmore"));
}

/* Three sectors, written twice after the flush: every sector shows one of three versions, or a
 * torn one; over the seeds, all of these occur, and the size is one of the three sizes. */
static void test_random_loss(void)
{
    bool versions[3] = {false}, sizes[3] = {false}, torn = false, mixed = false;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        sim_reset(sim, seed);
        char buf[3 * SIM_SECTOR_SIZE];
        int fd = file_make("/f");
        for (int version = 0; version < 3; version++) {
            memset(buf, 'a' + version, sizeof buf);
            size_t n = sizeof buf - 2 * SIM_SECTOR_SIZE + (size_t)version * SIM_SECTOR_SIZE;
            CHECK(env->pwrite(env->ctx, fd, buf, n, 0) == (ssize_t)n);
            if (version == 0)
                CHECK(env->fdatasync(env->ctx, fd) == 0);
        }
        close_fd(fd);
        sim_power_loss(sim, 0, SIM_LOSS_RANDOM);
        const uint8_t *p;
        size_t n;
        CHECK(sim_file(sim, 0, "/f", &p, &n));
        CHECK(n % SIM_SECTOR_SIZE == 0 && n >= SIM_SECTOR_SIZE && n <= sizeof buf);
        sizes[n / SIM_SECTOR_SIZE - 1] = true;
        for (size_t at = 0; at < n; at++)
            CHECK((p[at] >= 'a' && p[at] <= 'c') || (p[at] == 0 && at >= SIM_SECTOR_SIZE));
        CHECK(p[0] != 0);
        versions[p[0] - 'a'] = true;
        torn |= p[0] != p[SIM_SECTOR_SIZE - 1];
        mixed |= n > SIM_SECTOR_SIZE && p[0] != p[SIM_SECTOR_SIZE];
    }
    CHECK(versions[0] && versions[1] && versions[2] && sizes[0] && sizes[1] && sizes[2]);
    CHECK(torn && mixed);
}

/* Cutting a file and writing again: no byte of the cut part may show up where it was flushed. */
static void test_truncate(uint64_t seed)
{
    sim_reset(sim, seed);
    int fd = file_make("/f");
    file_put(fd, "headTAILTAIL", 0);
    CHECK(env->fdatasync(env->ctx, fd) == 0);
    CHECK(env->ftruncate(env->ctx, fd, 4) == 0);
    if (seed % 2 == 0) {
        file_put(fd, "new", 4);
        CHECK(env->fdatasync(env->ctx, fd) == 0);
    }
    close_fd(fd);
    sim_power_loss(sim, 0, SIM_LOSS_RANDOM);
    if (seed % 2 == 0)
        CHECK(file_is("/f", "headnew"));
    const uint8_t *p;
    size_t n;
    CHECK(sim_file(sim, 0, "/f", &p, &n) && (n == 4 || n == 7 || n == 12));
    CHECK(memcmp(p, "head", 4) == 0);
}

/* --- flush errors: the four rules of Linux -----------------------------------------------------
 */

struct flusher {
    int result[6];
};

static void flusher_main(struct sim *s, void *arg)
{
    struct flusher *f = arg;
    int a = file_open("/f", ST_OPEN_WRITE), b = file_open("/f", ST_OPEN_WRITE);
    file_put(a, "dropped", 0);
    sim_inject(
        s, &(struct sim_injection){.act = SIM_FAIL, .error = EIO, .calls = 1u << SIM_FDATASYNC});
    f->result[0] = env->fdatasync(env->ctx, a);
    f->result[1] = env->fdatasync(env->ctx, a); /* told already */
    int late = file_open("/f", ST_OPEN_WRITE);
    f->result[2] = env->fdatasync(env->ctx, late); /* opened after it was told to somebody */
    f->result[3] = env->fdatasync(env->ctx, b);    /* was open: told once */
    f->result[4] = env->fdatasync(env->ctx, b);
    close_fd(a);
    close_fd(b);
    close_fd(late);
}

static bool failed_flush_loses(uint64_t seed, bool again)
{
    sim_reset(sim, seed);
    int fd = file_make("/f");
    file_put(fd, "flushed", 0);
    CHECK(env->fdatasync(env->ctx, fd) == 0);
    struct flusher f;
    sim_spawn(sim, "flusher", flusher_main, &f);
    sim_run(sim);
    CHECK(f.result[0] == -EIO && f.result[1] == 0 && f.result[2] == 0);
    CHECK(f.result[3] == -EIO && f.result[4] == 0);
    if (again) { /* written again in place: dirty again, so a flush writes it */
        file_put(fd, "dropped", 0);
        CHECK(env->fdatasync(env->ctx, fd) == -EIO); /* this one was open, too */
        CHECK(env->fdatasync(env->ctx, fd) == 0);
    }
    close_fd(fd);
    sim_power_loss(sim, 0, SIM_LOSS_NONE);
    return !file_is("/f", "dropped");
}

static void test_failed_flush(void)
{
    int lost = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        lost += failed_flush_loses(seed, false);
        CHECK(!failed_flush_loses(seed, true));
    }
    CHECK(lost > SEEDS / 2 && lost < SEEDS);
}

/* The error was told to one that died of it: the next to open is not told. */
static void slow_flusher_main(struct sim *s, void *arg)
{
    (void)s, (void)arg;
    int fd = file_open("/f", ST_OPEN_WRITE);
    file_put(fd, "dropped", 0);
    env->fdatasync(env->ctx, fd);
}

static void test_lost_error(void)
{
    sim_reset(sim, 1);
    close_fd(file_make("/f"));
    sim_inject(sim, &(struct sim_injection){
                        .act = SIM_FAIL_KILL, .error = EIO, .calls = 1u << SIM_FDATASYNC});
    sim_spawn(sim, "flusher", slow_flusher_main, NULL);
    sim_run(sim);
    CHECK(sim_counts(sim)->kills == 1);
    int fd = file_open("/f", ST_OPEN_WRITE);
    CHECK(env->fdatasync(env->ctx, fd) == 0);
    close_fd(fd);
}

/* --- names ------------------------------------------------------------------------------------ */

static void test_names(uint64_t seed)
{
    sim_reset(sim, seed);
    CHECK(env->mkdir(env->ctx, "/d") == 0);
    CHECK(env->mkdir(env->ctx, "/d") == -EEXIST);
    CHECK(env->open(env->ctx, "/none/f", CREATE) == -ENOENT);
    close_fd(file_open("/d/kept", CREATE));
    CHECK(env->open(env->ctx, "/d/kept", CREATE | ST_OPEN_EXCLUSIVE) == -EEXIST);
    CHECK(env->sync_directory(env->ctx, "/") == 0 && env->sync_directory(env->ctx, "/d") == 0);
    close_fd(file_open("/d/new", CREATE));
    CHECK(env->rename(env->ctx, "/d/kept", "/d/other") == 0);
    CHECK(!exists("/d/kept") && exists("/d/other"));
    sim_power_loss(sim, 0, SIM_LOSS_ALL);
    CHECK(exists("/d/kept") && !exists("/d/other") && !exists("/d/new"));
    CHECK(env->rename(env->ctx, "/d/kept", "/d/other") == 0);
    CHECK(env->sync_directory(env->ctx, "/d") == 0);
    sim_power_loss(sim, 0, SIM_LOSS_ALL);
    CHECK(!exists("/d/kept") && exists("/d/other"));
}

/* A replaced file is the old one or the new one, never nothing; both occur. */
static void test_replace(void)
{
    int olds = 0, news = 0, empty = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        sim_reset(sim, seed);
        int fd = file_make("/f");
        file_put(fd, "old", 0);
        CHECK(env->fdatasync(env->ctx, fd) == 0);
        close_fd(fd);
        fd = file_open("/f.new", CREATE);
        file_put(fd, "new", 0);
        if (seed % 2 == 0)
            CHECK(env->fdatasync(env->ctx, fd) == 0);
        close_fd(fd);
        CHECK(env->rename(env->ctx, "/f.new", "/f") == 0);
        sim_power_loss(sim, 0, SIM_LOSS_RANDOM);
        CHECK(exists("/f"));
        olds += file_is("/f", "old");
        news += file_is("/f", "new");
        empty += file_is("/f", "");
        CHECK(seed % 2 != 0 || file_is("/f", "old") || file_is("/f", "new"));
    }
    CHECK(olds > 0 && news > 0 && empty > 0);
}

static void test_copies(void)
{
    sim_reset(sim, 5);
    struct st_file_info a, b, c;
    CHECK(env->mkdir(env->ctx, "/d") == 0);
    int fd = file_open("/d/f", CREATE);
    file_put(fd, "content", 0);
    close_fd(fd);
    sim_copy_tree(sim, 0, "/d", 0, "/copy");
    CHECK(file_is("/copy/f", "content"));
    CHECK(env->stat(env->ctx, "/d", &a) == 0 && env->stat(env->ctx, "/copy", &b) == 0);
    CHECK(a.inode != b.inode && a.birth_ns != b.birth_ns && a.fs_id == b.fs_id && b.is_directory);
    /* Removed and copied back: the number may come again, the birth time does not. */
    sim_remove_tree(sim, 0, "/d");
    CHECK(!exists("/d"));
    sim_copy_tree(sim, 0, "/copy", 0, "/d");
    CHECK(env->stat(env->ctx, "/d", &c) == 0 && c.inode == a.inode && c.birth_ns != a.birth_ns);
    /* Restored in place: the directory stays, changed files are new ones. */
    fd = file_open("/d/f", ST_OPEN_WRITE);
    file_put(fd, "CHANGED", 0);
    close_fd(fd);
    CHECK(env->stat(env->ctx, "/d/f", &a) == 0);
    sim_restore_in_place(sim, 0, "/copy", "/d");
    CHECK(file_is("/d/f", "content") && env->stat(env->ctx, "/d/f", &b) == 0);
    CHECK(a.inode != b.inode || a.birth_ns != b.birth_ns);
    CHECK(env->stat(env->ctx, "/d", &b) == 0 && b.inode == c.inode && b.birth_ns == c.birth_ns);
    /* Another machine. */
    int other = sim_machine_add(sim);
    sim_copy_tree(sim, 0, "/d", other, "/d");
    sim_machine_use(sim, other);
    CHECK(env->stat(env->ctx, "/d", &b) == 0 && b.fs_id != c.fs_id);
}

/* --- processes -------------------------------------------------------------------------------- */

struct counter {
    int value, lock; /* lock: descriptors are per process; whether to use one */
};

static void counter_main(struct sim *s, void *arg)
{
    struct counter *c = arg;
    int fd = file_open("/lock", ST_OPEN_WRITE);
    for (int i = 0; i < 10; i++) {
        while (c->lock && env->lock_try(env->ctx, fd) == -EWOULDBLOCK)
            env->sleep_ns(env->ctx, 1000);
        int value = c->value;
        sim_yield(s);
        c->value = value + 1;
        if (c->lock)
            CHECK(env->unlock(env->ctx, fd) == 0);
    }
    close_fd(fd);
}

static int count_with(uint64_t seed, int lock)
{
    sim_reset(sim, seed);
    close_fd(file_open("/lock", CREATE));
    struct counter c = {.lock = lock};
    for (int i = 0; i < 3; i++)
        sim_spawn(sim, "counter", counter_main, &c);
    sim_run(sim);
    CHECK(sim_counts(sim)->leaked_fds == 0);
    return c.value;
}

static void test_locks(void)
{
    int wrong = 0, other = 0;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        CHECK(count_with(seed, 1) == 30);
        int value = count_with(seed, 0);
        wrong += value < 30;
        other += value != count_with(seed + 1, 0);
        CHECK(value == count_with(seed, 0)); /* the same seed, the same schedule */
    }
    CHECK(wrong > 25 && other > 0);
}

static void holder_main(struct sim *s, void *arg)
{
    (void)s, (void)arg;
    int fd = file_open("/lock", ST_OPEN_WRITE);
    CHECK(env->lock_try(env->ctx, fd) == 0);
    env->point(env->ctx, "holder.locked");
    env->sleep_ns(env->ctx, 1000);
    env->point(env->ctx, "holder.never");
}

struct taker {
    uint64_t took_ns;
};

static void taker_main(struct sim *s, void *arg)
{
    struct taker *t = arg;
    int fd = file_open("/lock", ST_OPEN_WRITE);
    env->sleep_ns(env->ctx, 1000000);
    while (env->lock_try(env->ctx, fd) == -EWOULDBLOCK)
        env->sleep_ns(env->ctx, 1000000);
    t->took_ns = sim_now_ns(s);
    /* Not closed: counted as leaked. */
}

static void test_kill_and_stop(void)
{
    struct taker t;
    for (int stop = 0; stop < 2; stop++) {
        sim_reset(sim, 7);
        close_fd(file_open("/lock", CREATE));
        sim_inject(sim, &(struct sim_injection){.act = stop ? SIM_STOP_AFTER : SIM_KILL_AFTER,
                                                .calls = 1u << SIM_POINT,
                                                .text = "holder.locked",
                                                .stop_ns = 5000000000u});
        sim_spawn(sim, "holder", holder_main, NULL);
        sim_spawn(sim, "taker", taker_main, &t);
        sim_run(sim);
        CHECK(sim_counts(sim)->hits == 1);
        CHECK(stop ? t.took_ns >= 5000000000u : t.took_ns < 100000000u);
        CHECK(sim_counts(sim)->leaked_fds == (stop ? 2 : 1));
    }
}

static void writer_main(struct sim *s, void *arg)
{
    (void)s, (void)arg;
    int fd = file_open("/f", ST_OPEN_WRITE);
    char buf[1000];
    memset(buf, 'x', sizeof buf);
    ssize_t n = env->pwrite(env->ctx, fd, buf, sizeof buf, 0);
    if (n > 0 && n < 1000)
        CHECK(env->pwrite(env->ctx, fd, buf, 1, (uint64_t)n) == -ENOSPC);
    close_fd(fd);
}

static void test_write_trouble(uint64_t seed)
{
    const uint8_t *p;
    size_t n;
    for (int kind = 0; kind < 3; kind++) {
        sim_reset(sim, seed);
        close_fd(file_make("/f"));
        if (kind < 2)
            sim_inject(sim, &(struct sim_injection){.act = kind == 0 ? SIM_FAIL : SIM_KILL_DURING,
                                                    .error = ENOSPC,
                                                    .calls = 1u << SIM_PWRITE});
        else
            sim_space(sim, 0, 300);
        sim_spawn(sim, "writer", writer_main, NULL);
        sim_run(sim);
        CHECK(sim_file(sim, 0, "/f", &p, &n) && n < 1000 && (kind != 2 || n == 300));
        CHECK(sim_counts(sim)->kills == (kind == 1));
    }
}

/* --- shared memory, futexes, time ---------------------------------------------------------------
 */

struct waiter {
    uint64_t slept_ns;
    bool wake;
};

static void waiter_main(struct sim *s, void *arg)
{
    struct waiter *w = arg;
    void *p;
    int fd = file_open("/page", ST_OPEN_WRITE);
    CHECK(env->map(env->ctx, fd, 64, true, &p) == 0);
    uint32_t *word = p;
    uint64_t start = sim_now_ns(s);
    while (*word == 0 && sim_now_ns(s) - start < 1000000000u)
        env->futex_wait(env->ctx, word, 0, 1000000000u - (sim_now_ns(s) - start));
    w->slept_ns = sim_now_ns(s) - start;
    env->unmap(env->ctx, p, 64);
    close_fd(fd);
}

static void waker_main(struct sim *s, void *arg)
{
    (void)s;
    void *p;
    int fd = file_open("/page", ST_OPEN_WRITE);
    CHECK(env->map(env->ctx, fd, 64, true, &p) == 0);
    env->sleep_ns(env->ctx, 2000000);
    __atomic_store_n((uint32_t *)p, 1u, __ATOMIC_SEQ_CST);
    if (*(int *)arg == 1)
        env->futex_wake_all(env->ctx, p);
    else
        env->futex_wake_one(env->ctx, p);
    close_fd(fd);
}

static void test_futex(uint64_t seed)
{
    for (int wake = 0; wake < 3; wake++) {
        sim_reset(sim, seed);
        int fd = file_make("/page");
        CHECK(env->ftruncate(env->ctx, fd, 64) == 0);
        close_fd(fd);
        struct waiter w = {0};
        sim_spawn(sim, "waiter", waiter_main, &w);
        if (wake)
            sim_spawn(sim, "waker", waker_main, &wake);
        sim_run(sim);
        CHECK(wake ? w.slept_ns < 100000000u : w.slept_ns >= 1000000000u);
    }
}

static void mapper_main(struct sim *s, void *arg)
{
    (void)arg;
    void *p;
    int fd = file_open("/page", ST_OPEN_WRITE);
    CHECK(env->map(env->ctx, fd, 1024, true, &p) == 0);
    for (int c = 'b'; c <= 'd'; c++) {
        memset(p, c, 1024);
        env->point(env->ctx, "stored");
    }
    CHECK(sim_current(s) > 0);
    close_fd(fd);
}

/* A mapped page on disk: per sector any version since the flush. */
static void test_mapped(void)
{
    bool seen[4] = {false}, mixed = false;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        sim_reset(sim, seed);
        int fd = file_make("/page");
        char buf[1024];
        memset(buf, 'a', sizeof buf);
        CHECK(env->pwrite(env->ctx, fd, buf, sizeof buf, 0) == sizeof buf);
        CHECK(env->fdatasync(env->ctx, fd) == 0);
        close_fd(fd);
        sim_spawn(sim, "mapper", mapper_main, NULL);
        sim_run(sim);
        sim_power_loss(sim, 0, SIM_LOSS_RANDOM);
        const uint8_t *p;
        size_t n;
        CHECK(sim_file(sim, 0, "/page", &p, &n) && n == 1024);
        for (size_t at = 0; at < n; at += SIM_SECTOR_SIZE) {
            CHECK(p[at] >= 'a' && p[at] <= 'd' && p[at] == p[at + SIM_SECTOR_SIZE - 1]);
            seen[p[at] - 'a'] = true;
        }
        mixed |= p[0] != p[SIM_SECTOR_SIZE];
    }
    CHECK(seen[0] && seen[1] && seen[2] && seen[3] && mixed);
}

static void test_clocks(void)
{
    sim_reset(sim, 3);
    uint8_t boot[16], later[16];
    CHECK(env->boot_id(env->ctx, boot) == 0);
    uint64_t wall = env->wall_ms(env->ctx);
    env->sleep_ns(env->ctx, 5000000000u);
    CHECK(env->wall_ms(env->ctx) == wall + 5000);
    sim_wall_shift(sim, 0, -3600000);
    CHECK(env->wall_ms(env->ctx) == wall + 5000 - 3600000);
    CHECK(env->boot_ns(env->ctx) >= 5000000000u);
    sim_power_loss(sim, 0, SIM_LOSS_NONE);
    CHECK(env->boot_id(env->ctx, later) == 0 && memcmp(boot, later, 16) != 0);
    CHECK(env->boot_ns(env->ctx) < 5000000000u);
}

/* --- power loss by injection --------------------------------------------------------------------
 */

static void endless_main(struct sim *s, void *arg)
{
    (void)s;
    int *rounds = arg;
    for (;;) {
        env->sleep_ns(env->ctx, 1000);
        ++*rounds;
    }
}

static void test_power(void)
{
    sim_reset(sim, 9);
    int rounds = 0;
    sim_inject(
        sim, &(struct sim_injection){.act = SIM_POWER_AFTER, .nth = 100, .calls = 1u << SIM_SLEEP});
    for (int i = 0; i < 4; i++)
        sim_spawn(sim, "endless", endless_main, &rounds);
    sim_run(sim);
    CHECK(sim_counts(sim)->powers == 1 && rounds > 80 && rounds < 100);
}

int main(void)
{
    sim = sim_new(1);
    env = sim_env(sim);
    for (uint64_t seed = 1; seed <= 50; seed++) {
        test_flush(seed);
        test_truncate(seed);
        test_names(seed);
        test_write_trouble(seed);
        test_futex(seed);
    }
    test_random_loss();
    test_failed_flush();
    test_lost_error();
    test_replace();
    test_copies();
    test_locks();
    test_kill_and_stop();
    test_mapped();
    test_clocks();
    test_power();
    sim_free(sim);
    puts("ok");
    return 0;
}
