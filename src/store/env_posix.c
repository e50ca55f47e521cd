/* env_posix.c - the operating system as struct st_env: Linux system calls, nothing added. */
#include "store/env.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S 1000000000u

static int result(int r)
{
    return r < 0 ? -errno : r;
}

static int posix_open(void *ctx, const char *path, int flags)
{
    (void)ctx;
    int f = O_CLOEXEC | ((flags & ST_OPEN_WRITE) != 0 ? O_RDWR : O_RDONLY);
    if ((flags & ST_OPEN_CREATE) != 0)
        f |= O_CREAT;
    if ((flags & ST_OPEN_EXCLUSIVE) != 0)
        f |= O_EXCL;
    int fd;
    do
        fd = open(path, f, 0666);
    while (fd < 0 && errno == EINTR);
    return result(fd);
}

static int posix_close(void *ctx, int fd)
{
    (void)ctx;
    return result(close(fd));
}

static ssize_t posix_pread(void *ctx, int fd, void *buf, size_t n, uint64_t offset)
{
    (void)ctx;
    ssize_t r;
    do
        r = pread(fd, buf, n, (off_t)offset);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

static ssize_t posix_pwrite(void *ctx, int fd, const void *buf, size_t n, uint64_t offset)
{
    (void)ctx;
    ssize_t r;
    do
        r = pwrite(fd, buf, n, (off_t)offset);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

static int posix_fdatasync(void *ctx, int fd)
{
    (void)ctx;
    /* Not repeated after EINTR: a flush that reports an error may have consumed it. */
    return result(fdatasync(fd));
}

static int posix_ftruncate(void *ctx, int fd, uint64_t size)
{
    (void)ctx;
    return result(ftruncate(fd, (off_t)size));
}

static int posix_allocate(void *ctx, int fd, uint64_t size)
{
    (void)ctx;
    int r;
    do
        r = result(fallocate(fd, 0, 0, (off_t)size));
    while (r == -EINTR);
    return r == -ENOSYS ? -EOPNOTSUPP : r;
}

static int info_of(int dirfd, const char *path, int flags, struct st_file_info *out)
{
    struct statx sx;
    if (statx(dirfd, path, flags, STATX_BASIC_STATS | STATX_BTIME, &sx) < 0)
        return -errno;
    *out = (struct st_file_info){
        .size = sx.stx_size,
        .inode = sx.stx_ino,
        .is_directory = S_ISDIR(sx.stx_mode),
        .changed_ns = (uint64_t)sx.stx_ctime.tv_sec * NS_PER_S + sx.stx_ctime.tv_nsec,
    };
    if ((sx.stx_mask & STATX_BTIME) != 0)
        out->birth_ns = (uint64_t)sx.stx_btime.tv_sec * NS_PER_S + sx.stx_btime.tv_nsec;
    return 0;
}

/* Without times: who asks for those makes the next write note its time on disk, too (Linux 6.13, multigrain
 * timestamps), a write more for the flush of a segment that has room. */
static int posix_fstat(void *ctx, int fd, struct st_file_info *out)
{
    (void)ctx;
    struct statx sx;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_NLINK | STATX_INO | STATX_SIZE, &sx) < 0)
        return -errno;
    *out = (struct st_file_info){
        .size = sx.stx_size,
        .inode = sx.stx_ino,
        .is_directory = S_ISDIR(sx.stx_mode),
        .unlinked = sx.stx_nlink == 0,
    };
    return 0;
}

static int posix_look(void *ctx, const char *path, struct st_file_info *out)
{
    (void)ctx;
    return info_of(AT_FDCWD, path, 0, out);
}

static int posix_stat(void *ctx, const char *path, struct st_file_info *out)
{
    (void)ctx;
    int r = info_of(AT_FDCWD, path, 0, out);
    if (r < 0)
        return r;
    struct statfs fs;
    if (statfs(path, &fs) < 0)
        return -errno;
    uint32_t id[2];
    _Static_assert(sizeof fs.f_fsid == sizeof id, "fsid is two words");
    memcpy(id, &fs.f_fsid, sizeof id);
    out->fs_id = (uint64_t)id[0] << 32 | id[1];
    return 0;
}

static int posix_rename(void *ctx, const char *from, const char *to)
{
    (void)ctx;
    return result(rename(from, to));
}

static int posix_exchange(void *ctx, const char *a, const char *b)
{
    (void)ctx;
    return result(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE));
}

static int posix_unlink(void *ctx, const char *path)
{
    (void)ctx;
    return result(unlink(path));
}

static int posix_mkdir(void *ctx, const char *path)
{
    (void)ctx;
    return result(mkdir(path, 0777));
}

static int posix_sync_directory(void *ctx, const char *path)
{
    (void)ctx;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = result(fsync(fd));
    close(fd);
    return r;
}

static int posix_list(void *ctx, const char *path, int (*visit)(void *arg, const char *name),
                      void *arg)
{
    (void)ctx;
    DIR *d = opendir(path);
    if (d == NULL)
        return -errno;
    int r = 0;
    struct dirent *e;
    errno = 0;
    while (r == 0 && (e = readdir(d)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            r = visit(arg, e->d_name);
        errno = 0;
    }
    if (r == 0 && errno != 0)
        r = -errno;
    closedir(d);
    return r;
}

static int posix_lock_try(void *ctx, int fd)
{
    (void)ctx;
    return result(flock(fd, LOCK_EX | LOCK_NB));
}

static int posix_unlock(void *ctx, int fd)
{
    (void)ctx;
    return result(flock(fd, LOCK_UN));
}

static int posix_map(void *ctx, int fd, size_t size, bool writable, void **out)
{
    (void)ctx;
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *p = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    *out = p;
    return 0;
}

static void posix_unmap(void *ctx, void *p, size_t size)
{
    (void)ctx;
    munmap(p, size);
}

static struct timespec timespec_of(uint64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

static void posix_futex_wait(void *ctx, uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    (void)ctx;
    struct timespec t = timespec_of(timeout_ns);
    syscall(SYS_futex, word, FUTEX_WAIT, expected, &t, NULL, 0);
}

static void posix_futex_wake_all(void *ctx, uint32_t *word)
{
    (void)ctx;
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

static void posix_futex_wake_one(void *ctx, uint32_t *word)
{
    (void)ctx;
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint64_t posix_wall_ms(void *ctx)
{
    (void)ctx;
    return clock_ns(CLOCK_REALTIME) / 1000000;
}

static uint64_t posix_boot_ns(void *ctx)
{
    (void)ctx;
#ifdef ST_DEFECT_CLOCK_STOPS
    return clock_ns(CLOCK_MONOTONIC);
#endif
    return clock_ns(CLOCK_BOOTTIME);
}

static void posix_sleep_ns(void *ctx, uint64_t ns)
{
    (void)ctx;
    struct timespec t = timespec_of(ns);
    if (ns == 0)
        sched_yield();
    else
        nanosleep(&t, NULL);
}

static int posix_random(void *ctx, void *buf, size_t n)
{
    (void)ctx;
    return getrandom(buf, n, 0) == (ssize_t)n ? 0 : -EIO;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int posix_boot_id(void *ctx, uint8_t out[16])
{
    (void)ctx;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    char text[64];
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    size_t digits = 0;
    memset(out, 0, 16);
    for (ssize_t i = 0; i < n && digits < 32; i++) {
        int d = hex_digit(text[i]);
        if (d >= 0) {
            out[digits / 2] = (uint8_t)(out[digits / 2] << 4 | d);
            digits++;
        }
    }
    return digits == 32 ? 0 : -EIO;
}

/* Of this process it never changes: it dies with the boot, and only its children enter another name
 * space. */
static uint64_t posix_clock_id(void *ctx)
{
    static uint64_t known;
    uint64_t before = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (before != 0)
        return before;
    uint8_t boot[16];
    uint64_t half[2] = {0, 0};
    if (posix_boot_id(ctx, boot) == 0)
        memcpy(half, boot, sizeof half);
    /* time_namespaces(7): CLOCK_BOOTTIME has an offset of its own in each. */
    struct stat st;
    uint64_t name_space = stat("/proc/self/ns/time", &st) == 0 ? st.st_ino : 0;
    uint64_t id = half[0] ^ (half[1] * 0x9e3779b97f4a7c15u) ^ (name_space * 0xff51afd7ed558ccdu);
    id = id != 0 ? id : 1;
    __atomic_store_n(&known, id, __ATOMIC_RELAXED);
    return id;
}

static uint32_t posix_process_id(void *ctx)
{
    (void)ctx;
    return (uint32_t)getpid();
}

const struct st_env *st_env_posix(void)
{
    static const struct st_env env = {
        .open = posix_open,
        .close = posix_close,
        .pread = posix_pread,
        .pwrite = posix_pwrite,
        .fdatasync = posix_fdatasync,
        .ftruncate = posix_ftruncate,
        .allocate = posix_allocate,
        .fstat = posix_fstat,
        .stat = posix_stat,
        .look = posix_look,
        .rename = posix_rename,
        .exchange = posix_exchange,
        .unlink = posix_unlink,
        .mkdir = posix_mkdir,
        .sync_directory = posix_sync_directory,
        .list = posix_list,
        .lock_try = posix_lock_try,
        .unlock = posix_unlock,
        .map = posix_map,
        .unmap = posix_unmap,
        .futex_wait = posix_futex_wait,
        .futex_wake_all = posix_futex_wake_all,
        .futex_wake_one = posix_futex_wake_one,
        .wall_ms = posix_wall_ms,
        .boot_ns = posix_boot_ns,
        .sleep_ns = posix_sleep_ns,
        .random = posix_random,
        .clock_id = posix_clock_id,
        .boot_id = posix_boot_id,
        .process_id = posix_process_id,
    };
    return &env;
}
