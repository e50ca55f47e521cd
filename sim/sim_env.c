/*
 * sim_env.c - struct st_env over the simulated machine. Every call of a process goes through
 * enter() and leave(): a scheduling point, then injected trouble, then the call itself.
 */
#include "sim/sim_internal.h"

#include <errno.h>

/* --- what can go wrong --------------------------------------------------------------------- */

#define BIT(call) (1u << (call))

static const uint32_t calls_with_eio =
    BIT(SIM_OPEN) | BIT(SIM_CLOSE) | BIT(SIM_PREAD) | BIT(SIM_PWRITE) | BIT(SIM_FDATASYNC) |
    BIT(SIM_FTRUNCATE) | BIT(SIM_FSTAT) | BIT(SIM_STAT) | BIT(SIM_RENAME) | BIT(SIM_UNLINK) |
    BIT(SIM_MKDIR) | BIT(SIM_SYNC_DIRECTORY) | BIT(SIM_LIST) | BIT(SIM_MAP) | BIT(SIM_RANDOM) |
    BIT(SIM_BOOT_ID);
static const uint32_t calls_with_enospc = BIT(SIM_OPEN) | BIT(SIM_PWRITE) | BIT(SIM_FDATASYNC) |
                                          BIT(SIM_FTRUNCATE) | BIT(SIM_RENAME) | BIT(SIM_MKDIR) |
                                          BIT(SIM_SYNC_DIRECTORY);
static const uint32_t calls_with_enomem =
    BIT(SIM_OPEN) | BIT(SIM_MAP) | BIT(SIM_LIST) | BIT(SIM_STAT) | BIT(SIM_LOCK_TRY);

bool sim_call_can_fail(enum sim_call call, int error)
{
    if (call >= SIM_CALLS)
        return false;
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return (calls_with_enospc & BIT(call)) != 0;
    case ENOMEM:
    case ENOLCK:
        return (calls_with_enomem & BIT(call)) != 0;
    default:
        return (calls_with_eio & BIT(call)) != 0;
    }
}

struct trouble {
    bool set;
    enum sim_act act;
    int error;
    enum sim_loss loss;
    uint64_t stop_ns;
};

static bool matches(const struct sim *s, const struct sim_injection *i, enum sim_call call,
                    const char *text)
{
    if (i->calls != 0 && (i->calls & BIT(call)) == 0)
        return false;
    if (i->process != 0 && i->process != s->current)
        return false;
    if (i->text != NULL && strstr(text, i->text) == NULL)
        return false;
    return (i->act != SIM_FAIL && i->act != SIM_FAIL_KILL) || sim_call_can_fail(call, i->error);
}

static struct trouble armed_trouble(struct sim *s, enum sim_call call, const char *text)
{
    struct trouble t = {0};
    for (size_t k = 0; k < s->armed_count; k++) {
        struct sim_armed *a = &s->armed[k];
        if (!a->armed || !matches(s, &a->what, call, text))
            continue;
        a->seen++;
        if (t.set || a->seen < a->what.nth)
            continue;
        t = (struct trouble){true, a->what.act, a->what.error, a->what.loss, a->what.stop_ns};
        s->counts.hits++;
        if (++a->hit >= (a->what.repeat > 0 ? a->what.repeat : 1))
            a->armed = false;
    }
    return t;
}

static bool chance(struct sim *s, uint32_t per_million)
{
    return per_million > 0 && sim_below(s, 1000000) < per_million;
}

static struct trouble chaos_trouble(struct sim *s, enum sim_call call)
{
    static const int errors[] = {EIO, EIO, ENOSPC, ENOMEM};
    const struct sim_chaos *c = &s->chaos;
    struct trouble t = {.loss = SIM_LOSS_RANDOM};
    if (chance(s, c->fail) || (call == SIM_FDATASYNC && chance(s, c->flush))) {
        t.error = errors[sim_below(s, 4)];
        t.set = sim_call_can_fail(call, t.error);
        t.act = sim_below(s, 8) == 0 ? SIM_FAIL_KILL : SIM_FAIL;
    } else if (chance(s, c->kill)) {
        t.set = true;
        t.act = (enum sim_act)(SIM_KILL_BEFORE + sim_below(s, 3));
    } else if (chance(s, c->power)) {
        t.set = true;
        t.act = (enum sim_act)(SIM_POWER_BEFORE + sim_below(s, 3));
    } else if (chance(s, c->stop)) {
        t.set = true;
        t.act = sim_below(s, 2) == 0 ? SIM_STOP_BEFORE : SIM_STOP_AFTER;
        t.stop_ns = sim_below(s, c->stop_ns_max + 1);
    }
    return t;
}

static void power_off(struct sim *s, enum sim_loss loss)
{
    s->power_machine = s->processes[s->current].machine;
    s->power_loss = loss;
    sim_exit_current(s);
}

static void kill_self(struct sim *s)
{
    s->counts.kills++;
    sim_exit_current(s);
}

static int machine_of(const struct sim *s)
{
    return s->current > 0 ? s->processes[s->current].machine : s->machine;
}

static void snapshots(struct sim *s)
{
    for (struct sim_inode *i = s->machines[machine_of(s)].inodes; i != NULL; i = i->next)
        if (i->mapped)
            sim_file_snapshot(s, i);
}

/* Where a call begins. On return t->act is one that the call itself or leave() has to do. */
static struct trouble enter(struct sim *s, enum sim_call call, const char *text)
{
    struct trouble t = {0};
    if (s->current == 0 || s->processes[s->current].shielded)
        return t;
    if (call != SIM_POINT)
        s->now_ns += 200 + sim_below(s, 4000);
    snapshots(s);
    sim_yield(s);
    s->counts.by_call[call]++;
    if (++s->counts.calls <= SIM_KINDS_SIZE)
        s->kinds[s->counts.calls - 1] = (uint8_t)call;
    t = armed_trouble(s, call, text);
    if (!t.set)
        t = chaos_trouble(s, call);
    if (!t.set)
        return t;
    if (call != SIM_PWRITE && t.act == SIM_KILL_DURING)
        t.act = SIM_KILL_BEFORE;
    if (call != SIM_PWRITE && t.act == SIM_POWER_DURING)
        t.act = SIM_POWER_BEFORE;
    static const char *const names[SIM_ACTS] = {
        "fail",         "fail and kill", "kill before", "kill during", "kill after",
        "power before", "power during",  "power after", "stop before", "stop after"};
    sim_trace_add(s, call, text, 0, t.error, 0);
    sim_trace_add(s, SIM_CALLS, names[t.act], 0, t.error, 0);
    if (t.act == SIM_FAIL || t.act == SIM_FAIL_KILL)
        s->counts.fails++;
    if (t.act == SIM_KILL_BEFORE)
        kill_self(s);
    if (t.act == SIM_POWER_BEFORE)
        power_off(s, t.loss);
    if (t.act == SIM_STOP_BEFORE)
        sim_stop(s, s->current, t.stop_ns);
    return t;
}

static int failing(const struct trouble *t)
{
    return t->set && (t->act == SIM_FAIL || t->act == SIM_FAIL_KILL) ? t->error : 0;
}

static int64_t leave(struct sim *s, const struct trouble *t, enum sim_call call, const char *text,
                     int64_t a, int64_t b, int64_t result)
{
    sim_trace_add(s, call, text, a, b, result);
    if (!t->set || s->current == 0)
        return result;
    if (t->act == SIM_FAIL_KILL || t->act == SIM_KILL_AFTER || t->act == SIM_KILL_DURING)
        kill_self(s);
    if (t->act == SIM_POWER_AFTER || t->act == SIM_POWER_DURING)
        power_off(s, t->loss);
    if (t->act == SIM_STOP_AFTER)
        sim_stop(s, s->current, t->stop_ns);
    return result;
}

void sim_inject(struct sim *s, const struct sim_injection *i)
{
    if (s->armed_count == SIM_INJECTIONS_MAX)
        sim_die(s, "too many injections");
    s->armed[s->armed_count++] = (struct sim_armed){.what = *i, .armed = true};
}

static void full_clear(struct sim *s)
{
    for (int m = 0; m < SIM_MACHINES_MAX; m++)
        for (struct sim_inode *i = s->machines[m].used ? s->machines[m].inodes : NULL; i != NULL;
             i = i->next)
            i->full = false;
}

void sim_injections_clear(struct sim *s)
{
    s->armed_count = 0;
    full_clear(s);
}

void sim_chaos_set(struct sim *s, const struct sim_chaos *c)
{
    s->chaos = *c;
    full_clear(s);
}

void sim_shield(struct sim *s, bool on)
{
    s->processes[s->current].shielded = on;
}

enum sim_call sim_call_kind(const struct sim *s, uint64_t n)
{
    if (n == 0 || n > s->counts.calls || n > SIM_KINDS_SIZE)
        return SIM_CALLS;
    return (enum sim_call)s->kinds[n - 1];
}

/* --- descriptors --------------------------------------------------------------------------- */

static struct sim_fd *fd_get(struct sim *s, int fd)
{
    if (fd < 0 || fd >= SIM_FDS_MAX || s->processes[s->current].fds[fd].inode == NULL)
        sim_die(s, "descriptor %d is not open", fd);
    return &s->processes[s->current].fds[fd];
}

static const char *fd_path(struct sim *s, int fd)
{
    return fd_get(s, fd)->path;
}

void sim_fd_close(struct sim *s, int process, int fd)
{
    struct sim_fd *f = &s->processes[process].fds[fd];
    if (f->inode->lock_fd == fd + 1 && f->inode->lock_process == process)
        f->inode->lock_fd = 0;
    f->inode->opens--;
    f->inode = NULL;
}

static int open_now(struct sim *s, const char *path, int flags)
{
    int machine = machine_of(s);
    struct sim_process *p = &s->processes[s->current];
    int fd = 3;
    while (fd < SIM_FDS_MAX && p->fds[fd].inode != NULL)
        fd++;
    if (fd == SIM_FDS_MAX)
        return -EMFILE;
    struct sim_inode *i = sim_lookup(s, machine, path);
    if (i != NULL && (flags & ST_OPEN_CREATE) != 0 && (flags & ST_OPEN_EXCLUSIVE) != 0)
        return -EEXIST;
    if (i != NULL && i->directory && (flags & ST_OPEN_WRITE) != 0)
        return -EISDIR;
    if (i == NULL) {
        if ((flags & ST_OPEN_CREATE) == 0)
            return -ENOENT;
        int r = sim_name_create(s, machine, path, false, &i);
        if (r < 0)
            return r;
    }
    struct sim_fd *f = &p->fds[fd];
    *f = (struct sim_fd){.inode = i, .writable = (flags & ST_OPEN_WRITE) != 0};
    /* errseq_sample() of the kernel: an error that nobody has seen is still to be told. */
    f->wb_sample = i->wb_seq > 0 && !i->wb_seen ? i->wb_seq - 1 : i->wb_seq;
    size_t n = strlen(path);
    snprintf(f->path, sizeof f->path, "%s",
             n >= sizeof f->path ? path + n - sizeof f->path + 1 : path);
    i->opens++;
    return fd;
}

static int env_open(void *ctx, const char *path, int flags)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_OPEN, path);
    int r = failing(&t) != 0 ? -t.error : open_now(s, path, flags);
    return (int)leave(s, &t, SIM_OPEN, path, flags, 0, r);
}

static int env_close(void *ctx, int fd)
{
    struct sim *s = ctx;
    char path[sizeof((struct sim_fd *)0)->path];
    snprintf(path, sizeof path, "%s", fd_path(s, fd));
    struct trouble t = enter(s, SIM_CLOSE, path);
    sim_fd_close(s, s->current, fd); /* an error of close() closes too */
    return (int)leave(s, &t, SIM_CLOSE, path, fd, 0, -failing(&t));
}

static ssize_t pread_now(struct sim *s, int fd, void *buf, size_t n, uint64_t offset)
{
    const struct sim_inode *i = fd_get(s, fd)->inode;
    if (i->directory)
        return -EISDIR;
    if (offset >= i->cache.n)
        return 0;
    size_t rest = i->cache.n - offset;
    if (n > rest)
        n = rest;
    if (n > 0)
        memcpy(buf, i->cache.p + offset, n);
    return (ssize_t)n;
}

static ssize_t env_pread(void *ctx, int fd, void *buf, size_t n, uint64_t offset)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_PREAD, fd_path(s, fd));
    ssize_t r = failing(&t) != 0 ? -t.error : pread_now(s, fd, buf, n, offset);
    return (ssize_t)leave(s, &t, SIM_PREAD, fd_path(s, fd), (int64_t)n, (int64_t)offset, r);
}

static ssize_t pwrite_now(struct sim *s, const struct trouble *t, int fd, const void *buf, size_t n,
                          uint64_t offset)
{
    struct sim_fd *f = fd_get(s, fd);
    if (!f->writable)
        return -EBADF;
    if (f->inode->full) {
        f->inode->full = false;
        return -ENOSPC;
    }
    int error = failing(t);
    if (error != 0 && error != ENOSPC)
        return -error;
    bool partly = t->set && (t->act == SIM_KILL_DURING || t->act == SIM_POWER_DURING);
    if (error == ENOSPC || partly) {
        n = n > 0 ? (size_t)sim_below(s, n) : 0;
        if (error == ENOSPC && n == 0)
            return -ENOSPC;
        /* A short count now, the error with the next attempt. */
        f->inode->full = error == ENOSPC;
    }
    return (ssize_t)sim_file_write(s, machine_of(s), f->inode, buf, n, offset);
}

static ssize_t env_pwrite(void *ctx, int fd, const void *buf, size_t n, uint64_t offset)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_PWRITE, fd_path(s, fd));
    ssize_t r = pwrite_now(s, &t, fd, buf, n, offset);
    return (ssize_t)leave(s, &t, SIM_PWRITE, fd_path(s, fd), (int64_t)n, (int64_t)offset, r);
}

/* How long a flush takes: mostly below a millisecond, now and then tens. */
static uint64_t flush_ns(struct sim *s)
{
    uint64_t scale = sim_below(s, 16) == 0 ? 30000000u : 800000u;
    return 50000 + sim_below(s, scale);
}

static int fdatasync_now(struct sim *s, const struct trouble *t, int fd)
{
    struct sim_inode *i = fd_get(s, fd)->inode;
    uint64_t seq = s->seq;
    if (i->mapped && failing(t) == 0)
        sim_file_flush(s, i, seq);
    sim_block(s, NULL, flush_ns(s));
    if (failing(t) != 0)
        sim_file_flush_failed(s, i, seq, t->error);
    else if (!i->mapped)
        sim_file_flush(s, i, seq);
    struct sim_fd *f = fd_get(s, fd);
    if (f->wb_sample == i->wb_seq)
        return 0;
    f->wb_sample = i->wb_seq;
    i->wb_seen = true;
    return -i->wb_error;
}

static int env_fdatasync(void *ctx, int fd)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_FDATASYNC, fd_path(s, fd));
    int r = fdatasync_now(s, &t, fd);
    return (int)leave(s, &t, SIM_FDATASYNC, fd_path(s, fd), fd, 0, r);
}

static int ftruncate_now(struct sim *s, int fd, uint64_t size)
{
    struct sim_fd *f = fd_get(s, fd);
    if (!f->writable)
        return -EINVAL;
    if (size != f->inode->cache.n)
        sim_file_truncate(s, f->inode, size);
    return 0;
}

/* A file system that cannot: callers write zeros. */
static int env_allocate(void *ctx, int fd, uint64_t size)
{
    (void)ctx, (void)fd, (void)size;
    return -EOPNOTSUPP;
}

static int env_ftruncate(void *ctx, int fd, uint64_t size)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_FTRUNCATE, fd_path(s, fd));
    int r = failing(&t) != 0 ? -t.error : ftruncate_now(s, fd, size);
    return (int)leave(s, &t, SIM_FTRUNCATE, fd_path(s, fd), fd, (int64_t)size, r);
}

/* --- names --------------------------------------------------------------------------------- */

static void info_fill(const struct sim *s, const struct sim_inode *i, struct st_file_info *out)
{
    *out = (struct st_file_info){
        .size = i->cache.n,
        .inode = i->number,
        .is_directory = i->directory,
        .unlinked = i->links == 0,
    };
    (void)s;
}

static int env_fstat(void *ctx, int fd, struct st_file_info *out)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_FSTAT, fd_path(s, fd));
    int r = -failing(&t);
    if (r == 0)
        info_fill(s, fd_get(s, fd)->inode, out);
    return (int)leave(s, &t, SIM_FSTAT, fd_path(s, fd), fd, 0, r);
}

static int env_stat(void *ctx, const char *path, struct st_file_info *out)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_STAT, path);
    int r = -failing(&t);
    if (r == 0) {
        const struct sim_inode *i = sim_lookup(s, machine_of(s), path);
        if (i == NULL) {
            r = -ENOENT;
        } else {
            info_fill(s, i, out);
            out->birth_ns = i->birth_ns;
            out->fs_id = s->machines[machine_of(s)].fs_id;
        }
    }
    return (int)leave(s, &t, SIM_STAT, path, 0, 0, r);
}

static int env_rename(void *ctx, const char *from, const char *to)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_RENAME, to);
    int r = failing(&t) != 0 ? -t.error : sim_name_rename(s, machine_of(s), from, to);
    return (int)leave(s, &t, SIM_RENAME, to, 0, 0, r);
}

static int env_unlink(void *ctx, const char *path)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_UNLINK, path);
    int r = failing(&t) != 0 ? -t.error : sim_name_unlink(s, machine_of(s), path);
    return (int)leave(s, &t, SIM_UNLINK, path, 0, 0, r);
}

static int env_mkdir(void *ctx, const char *path)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_MKDIR, path);
    int r = failing(&t) != 0 ? -t.error : sim_name_create(s, machine_of(s), path, true, NULL);
    return (int)leave(s, &t, SIM_MKDIR, path, 0, 0, r);
}

static int env_sync_directory(void *ctx, const char *path)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_SYNC_DIRECTORY, path);
    /* Durable from the start of the call: earlier than promised is allowed, and what comes in
     * while it runs is not covered. */
    int r = failing(&t) != 0 ? -t.error : sim_name_sync(s, machine_of(s), path);
    sim_block(s, NULL, flush_ns(s));
    return (int)leave(s, &t, SIM_SYNC_DIRECTORY, path, 0, 0, r);
}

/* The names first, in process memory: visit may call back, and the process may die in it. */
static int list_now(struct sim *s, const char *path, int (*visit)(void *arg, const char *name),
                    void *arg)
{
    const struct sim_inode *dir = sim_lookup(s, machine_of(s), path);
    if (dir == NULL)
        return -ENOENT;
    if (!dir->directory)
        return -ENOTDIR;
    size_t count = dir->now.n;
    char(*names)[256] = s->alloc.resize(s, NULL, (count + 1) * sizeof *names);
    for (size_t k = 0; k < count; k++) {
        size_t at = (size_t)sim_below(s, k + 1);
        memcpy(names[k], names[at], sizeof *names);
        snprintf(names[at], sizeof *names, "%s", dir->now.p[k].name);
    }
    int r = 0;
    for (size_t k = 0; k < count && r == 0; k++)
        r = visit(arg, names[k]);
    s->alloc.resize(s, names, 0);
    return r;
}

static int env_list(void *ctx, const char *path, int (*visit)(void *arg, const char *name),
                    void *arg)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_LIST, path);
    int r = failing(&t) != 0 ? -t.error : list_now(s, path, visit, arg);
    return (int)leave(s, &t, SIM_LIST, path, 0, 0, r);
}

/* --- locks and shared memory --------------------------------------------------------------- */

static int lock_now(struct sim *s, int fd)
{
    struct sim_inode *i = fd_get(s, fd)->inode;
    if (i->lock_fd != 0 && (i->lock_process != s->current || i->lock_fd != fd + 1))
        return -EWOULDBLOCK;
    i->lock_process = s->current;
    i->lock_fd = fd + 1;
    return 0;
}

static int env_lock_try(void *ctx, int fd)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_LOCK_TRY, fd_path(s, fd));
    int r = failing(&t) != 0 ? -t.error : lock_now(s, fd);
    return (int)leave(s, &t, SIM_LOCK_TRY, fd_path(s, fd), fd, 0, r);
}

static int env_unlock(void *ctx, int fd)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_UNLOCK, fd_path(s, fd));
    struct sim_inode *i = fd_get(s, fd)->inode;
    if (i->lock_fd == fd + 1 && i->lock_process == s->current)
        i->lock_fd = 0;
    return (int)leave(s, &t, SIM_UNLOCK, fd_path(s, fd), fd, 0, 0);
}

static int env_map(void *ctx, int fd, size_t size, bool writable, void **out)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_MAP, fd_path(s, fd));
    int r = -failing(&t);
    struct sim_fd *f = fd_get(s, fd);
    if (r == 0 && writable && !f->writable)
        r = -EACCES;
    if (r == 0)
        *out = sim_file_map(s, f->inode, size);
    return (int)leave(s, &t, SIM_MAP, f->path, (int64_t)size, writable, r);
}

static void env_unmap(void *ctx, void *p, size_t size)
{
    struct sim *s = ctx;
    (void)p;
    struct trouble t = enter(s, SIM_UNMAP, "");
    leave(s, &t, SIM_UNMAP, "", (int64_t)size, 0, 0);
}

static void env_futex_wait(void *ctx, uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_FUTEX_WAIT, "");
    bool wait = __atomic_load_n(word, __ATOMIC_SEQ_CST) == expected;
    sim_trace_add(s, SIM_FUTEX_WAIT, wait ? "begins" : "another value", (int64_t)timeout_ns,
                  expected, 0);
    if (wait && sim_below(s, 16) != 0) /* else: a spurious return */
        sim_block(s, word, timeout_ns);
    leave(s, &t, SIM_FUTEX_WAIT, "ends", (int64_t)timeout_ns, expected, 0);
}

static void env_futex_wake_all(void *ctx, uint32_t *word)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_FUTEX_WAKE, "");
    sim_wake(s, machine_of(s), word, SIM_PROCESSES_MAX);
    leave(s, &t, SIM_FUTEX_WAKE, "", *word, 0, 0);
}

static void env_futex_wake_one(void *ctx, uint32_t *word)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_FUTEX_WAKE, "one");
    sim_wake(s, machine_of(s), word, 1);
    leave(s, &t, SIM_FUTEX_WAKE, "one", *word, 0, 0);
}

/* --- clocks and the rest ------------------------------------------------------------------- */

static uint64_t env_wall_ms(void *ctx)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_WALL_MS, "");
    int64_t ms = (int64_t)(sim_wall_ns(s, machine_of(s)) / 1000000u);
    return (uint64_t)leave(s, &t, SIM_WALL_MS, "", 0, 0, ms);
}

static uint64_t env_boot_ns(void *ctx)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_BOOT_NS, "");
    uint64_t ns = s->now_ns - s->machines[machine_of(s)].boot_at_ns + 1000000000u;
    return (uint64_t)leave(s, &t, SIM_BOOT_NS, "", 0, 0, (int64_t)ns);
}

static void env_sleep_ns(void *ctx, uint64_t ns)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_SLEEP, "");
    sim_block(s, NULL, ns);
    leave(s, &t, SIM_SLEEP, "", (int64_t)ns, 0, 0);
}

static int env_random(void *ctx, void *buf, size_t n)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_RANDOM, "");
    uint8_t *p = buf;
    for (size_t k = 0; k < n; k++)
        p[k] = (uint8_t)(sim_random(s) >> 13);
    return (int)leave(s, &t, SIM_RANDOM, "", (int64_t)n, 0, -failing(&t));
}

static uint64_t env_clock_id(void *ctx)
{
    struct sim *s = ctx;
    uint64_t id;
    memcpy(&id, s->machines[machine_of(s)].boot_id, sizeof id);
    return id | 1;
}

static int env_boot_id(void *ctx, uint8_t out[16])
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_BOOT_ID, "");
    memcpy(out, s->machines[machine_of(s)].boot_id, 16);
    return (int)leave(s, &t, SIM_BOOT_ID, "", 0, 0, -failing(&t));
}

static uint32_t env_process_id(void *ctx)
{
    const struct sim *s = ctx;
    return 1000u + (uint32_t)s->current;
}

static void env_point(void *ctx, const char *label)
{
    struct sim *s = ctx;
    struct trouble t = enter(s, SIM_POINT, label);
    leave(s, &t, SIM_POINT, label, 0, 0, 0);
}

void sim_env_init(struct sim *s)
{
    s->env = (struct st_env){
        .open = env_open,
        .close = env_close,
        .pread = env_pread,
        .pwrite = env_pwrite,
        .fdatasync = env_fdatasync,
        .ftruncate = env_ftruncate,
        .allocate = env_allocate,
        .fstat = env_fstat,
        .stat = env_stat,
        .look = env_stat,
        .rename = env_rename,
        .unlink = env_unlink,
        .mkdir = env_mkdir,
        .sync_directory = env_sync_directory,
        .list = env_list,
        .lock_try = env_lock_try,
        .unlock = env_unlock,
        .map = env_map,
        .unmap = env_unmap,
        .futex_wait = env_futex_wait,
        .futex_wake_all = env_futex_wake_all,
        .futex_wake_one = env_futex_wake_one,
        .wall_ms = env_wall_ms,
        .boot_ns = env_boot_ns,
        .sleep_ns = env_sleep_ns,
        .random = env_random,
        .clock_id = env_clock_id,
        .boot_id = env_boot_id,
        .process_id = env_process_id,
        .point = env_point,
        .ctx = s,
    };
}
