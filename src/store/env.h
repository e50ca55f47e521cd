/*
 * env.h - the one door to the operating system: files, locks, shared memory, clocks, random
 * numbers. Everything in src/store goes through this table, so that a simulator (sim/) can
 * stand behind it, interleave processes, lose unflushed pages and fail any call.
 *
 * Functions return 0 or a count on success and a negative errno value on failure.
 */
#ifndef ST_STORE_ENV_H
#define ST_STORE_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ST_NS_PER_MS 1000000ull

enum {
    ST_OPEN_READ = 0,
    ST_OPEN_WRITE = 1,     /* read and write */
    ST_OPEN_CREATE = 2,    /* create when missing (with WRITE) */
    ST_OPEN_EXCLUSIVE = 4, /* with CREATE: fail with -EEXIST when present */
};

struct st_file_info {
    uint64_t size; /* bytes */
    uint64_t inode;
    uint64_t birth_ns; /* birth time, ns since 1970; 0 where the file system keeps none */
    uint64_t fs_id;    /* of the file system */
    bool is_directory;
    bool unlinked; /* fstat only: no name leads to this file any more */
    /* look only: when its bytes or names last changed, ns since 1970, in ticks of some ms; 0: not known */
    uint64_t changed_ns;
};

struct st_env {
    /* Files are opened close-on-exec. Returns a descriptor >= 0. */
    int (*open)(void *ctx, const char *path, int flags);
    int (*close)(void *ctx, int fd);
    ssize_t (*pread)(void *ctx, int fd, void *buf, size_t n, uint64_t offset);
    ssize_t (*pwrite)(void *ctx, int fd, const void *buf, size_t n, uint64_t offset);
    int (*fdatasync)(void *ctx, int fd);
    int (*ftruncate)(void *ctx, int fd, uint64_t size);
    /* Room on the disk for the first `size` bytes; the file is at least that long then, with zeros where
     * nothing was. -EOPNOTSUPP: not on this file system. */
    int (*allocate)(void *ctx, int fd, uint64_t size);
    int (*fstat)(void *ctx, int fd, struct st_file_info *out);
    int (*stat)(void *ctx, const char *path, struct st_file_info *out);
    /* stat without fs_id, which is cheaper. */
    int (*look)(void *ctx, const char *path, struct st_file_info *out);
    int (*rename)(void *ctx, const char *from, const char *to); /* replaces `to` */
    /* Both change names in one step. -EINVAL, -ENOSYS: not on this file system. */
    int (*exchange)(void *ctx, const char *a, const char *b);
    int (*unlink)(void *ctx, const char *path);
    int (*mkdir)(void *ctx, const char *path); /* -EEXIST when present */
    /* Makes creations, renames and removals in this directory durable. */
    int (*sync_directory)(void *ctx, const char *path);
    /* Calls visit for each entry but "." and "..", in no order, until it returns non-zero;
     * that is then the result. */
    int (*list)(void *ctx, const char *path, int (*visit)(void *arg, const char *name), void *arg);

    /* Exclusive lock on an open file; goes away when the process dies. -EWOULDBLOCK: taken. */
    int (*lock_try)(void *ctx, int fd);
    int (*unlock)(void *ctx, int fd);

    /* Shared memory over the first `size` bytes of a file; coherent between processes. */
    int (*map)(void *ctx, int fd, size_t size, bool writable, void **out);
    void (*unmap)(void *ctx, void *p, size_t size);
    /* Sleeps while *word == expected, at most timeout_ns. Spurious returns are fine. */
    void (*futex_wait)(void *ctx, uint32_t *word, uint32_t expected, uint64_t timeout_ns);
    void (*futex_wake_all)(void *ctx, uint32_t *word);
    void (*futex_wake_one)(void *ctx, uint32_t *word);

    uint64_t (*wall_ms)(void *ctx);           /* CLOCK_REALTIME */
    uint64_t (*boot_ns)(void *ctx);           /* CLOCK_BOOTTIME: counts suspend */
    void (*sleep_ns)(void *ctx, uint64_t ns); /* 0: gives way to others */
    int (*random)(void *ctx, void *buf, size_t n);
    /* Which clock boot_ns is: another number after a boot and in another time name space. */
    uint64_t (*clock_id)(void *ctx);
    int (*boot_id)(void *ctx, uint8_t out[16]); /* another value after every boot */
    uint32_t (*process_id)(void *ctx);          /* for messages, and to know a forked child */

    /* Labelled point in a protocol; tests kill or stop the process here. NULL in production. */
    void (*point)(void *ctx, const char *label);
    void *ctx;
};

/* The real one. Static, never freed. */
const struct st_env *st_env_posix(void);

#endif
