/* replace.c - see replace.h. */
#include "files/replace.h"

#include "store/log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define NS_PER_S 1000000000

static struct st_file_stamp stamp_of(const struct stat *st)
{
    return (struct st_file_stamp){
        .size = (uint64_t)st->st_size,
        .inode = st->st_ino,
        .mtime_ns = (int64_t)st->st_mtim.tv_sec * NS_PER_S + st->st_mtim.tv_nsec,
        .ctime_ns = (int64_t)st->st_ctim.tv_sec * NS_PER_S + st->st_ctim.tv_nsec,
    };
}

static enum st_code regular(const char *path, const struct stat *st, struct st_fault *fault)
{
    if (S_ISREG(st->st_mode))
        return ST_OK;
    return st_fail(fault, ST_INVALID, "%s is %s; it was not touched", path,
                   S_ISLNK(st->st_mode)   ? "a symbolic link"
                   : S_ISDIR(st->st_mode) ? "a directory"
                                          : "no regular file");
}

enum st_code st_file_stamp_get(const char *path, struct st_file_stamp *out, struct st_fault *fault)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? st_fail(fault, ST_NOT_FOUND, "there is no file %s", path)
                   : st_fail_system(fault, -errno, "cannot look at %s", path);
    *out = stamp_of(&st);
    return regular(path, &st, fault);
}

int64_t st_file_mtime_ns(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? stamp_of(&st).mtime_ns : 0;
}

bool st_file_stamp_equal(const struct st_file_stamp *a, const struct st_file_stamp *b)
{
    return a->size == b->size && a->inode == b->inode && a->mtime_ns == b->mtime_ns &&
           a->ctime_ns == b->ctime_ns;
}

static enum st_code read_whole(int fd, const char *path, size_t max, struct st_buf *out,
                               struct st_fault *fault)
{
    size_t start = out->n;
    for (;;) {
        if (!st_buf_reserve(out, 65536))
            return st_fail(fault, ST_NO_MEMORY, "out of memory reading %s", path);
        ssize_t n = read(fd, out->p + out->n, out->cap - out->n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return st_fail_system(fault, -errno, "cannot read %s", path);
        if (n == 0)
            return ST_OK;
        out->n += (size_t)n;
        if (out->n - start > max)
            return st_fail(fault, ST_LIMIT, "%s is over the limit of %zu bytes; it was not touched",
                           path, max);
    }
}

/* A lease on reading is refused as long as somebody writes. Should somebody begin to write in the
 * moment that we have it, the signal for us is one that is ignored. */
static bool is_being_written(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return false;
    bool written =
        fcntl(fd, F_SETSIG, SIGURG) == 0 && fcntl(fd, F_SETLEASE, F_RDLCK) < 0 && errno == EAGAIN;
    if (!written)
        (void)fcntl(fd, F_SETLEASE, F_UNLCK);
    close(fd);
    return written;
}

void st_file_await_writers(const struct st_env *env, const char *path)
{
#ifndef ST_DEFECT_WRITERS_UNSEEN
    uint64_t until_ns = env->boot_ns(env->ctx) + ST_WRITER_WAIT_MS * UINT64_C(1000000);
    while (is_being_written(path) && env->boot_ns(env->ctx) < until_ns)
        env->sleep_ns(env->ctx, 2000000);
#else
    (void)env, (void)path, (void)is_being_written;
#endif
}

enum st_code st_file_get(const char *path, size_t max, struct st_buf *out,
                         struct st_file_stamp *stamp, struct st_fault *fault)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return st_fail(fault, ST_NOT_FOUND, "there is no file %s", path);
    if (fd < 0 && errno == ELOOP)
        return st_fail(fault, ST_INVALID, "%s is a symbolic link; it was not touched", path);
    if (fd < 0)
        return st_fail_system(fault, -errno, "cannot open %s", path);
    enum st_code code = fstat(fd, &st) < 0 ? st_fail_system(fault, -errno, "cannot read %s", path)
                                           : regular(path, &st, fault);
    if (code == ST_OK && (uint64_t)st.st_size > max)
        code = st_fail(fault, ST_LIMIT,
                       "%s is %llu bytes long, over the limit of %zu; it was not "
                       "touched",
                       path, (unsigned long long)st.st_size, max);
    if (code == ST_OK && !st_buf_reserve(out, (size_t)st.st_size + 1))
        code = st_fail(fault, ST_NO_MEMORY, "out of memory reading %s", path);
    if (code == ST_OK)
        code = read_whole(fd, path, max, out, fault);
    if (code == ST_OK && stamp != NULL)
        *stamp = stamp_of(&st);
    close(fd);
    return code;
}

static enum st_code put_by(const struct st_env *env, const char *beside, const char *path,
                           struct st_str text, bool flush, struct st_fault *fault)
{
    int fd = env->open(env->ctx, beside, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (fd < 0)
        return st_fail_system(fault, fd, "cannot write %s", beside);
    int r = env->ftruncate(env->ctx, fd, 0);
    if (r == 0)
        r = st_write_all(env, fd, text.p, text.n, 0);
    if (r == 0 && flush)
        r = env->fdatasync(env->ctx, fd);
    env->close(env->ctx, fd);
    if (r == 0)
        r = env->rename(env->ctx, beside, path);
    return r == 0 ? ST_OK : st_fail_system(fault, r, "cannot write %s", path);
}

enum st_code st_file_put(const struct st_env *env, const char *path, struct st_str text, bool flush,
                         struct st_fault *fault)
{
    char beside[ST_PATH_SIZE + 8];
    snprintf(beside, sizeof beside, "%s.new", path);
    return put_by(env, beside, path, text, flush, fault);
}

enum st_code st_file_put_shared(const struct st_env *env, const char *path, struct st_str text,
                                bool flush, struct st_fault *fault)
{
    char beside[ST_PATH_SIZE + 32];
    uint64_t number = 0;
#ifndef ST_DEFECT_ONE_NAME_BESIDE
    env->random(env->ctx, &number, sizeof number);
#endif
    snprintf(beside, sizeof beside, "%s.%016llx.new", path, (unsigned long long)number);
    enum st_code code = put_by(env, beside, path, text, flush, fault);
    if (code != ST_OK)
        env->unlink(env->ctx, beside);
    return code;
}

/* --- replacing -------------------------------------------------------------------------------- */

bool st_replace_beside(const char *path, char out[])
{
    const char *slash = strrchr(path, '/');
    size_t dir = slash != NULL ? (size_t)(slash - path) + 1 : 0;
    /* NAME_MAX is 255 */
    return strlen(path + dir) <= 255 - sizeof ".strata-new" &&
           snprintf(out, ST_PATH_SIZE, "%.*s.%s.strata-new", (int)dir, path, path + dir) <
               ST_PATH_SIZE;
}

enum st_code st_replace_prepare(const struct st_env *env, const char *path, struct st_str text,
                                struct st_replace *out, struct st_fault *fault)
{
    struct stat st, mine = {0};
    memset(out, 0, sizeof *out);
    if (!st_replace_beside(path, out->beside))
        return st_fail(fault, ST_LIMIT, "the name of %s is too long", path);
    env->unlink(env->ctx, out->beside);
    int fd = env->open(env->ctx, out->beside, ST_OPEN_WRITE | ST_OPEN_CREATE | ST_OPEN_EXCLUSIVE);
    if (fd < 0)
        return st_fail_system(fault, fd, "cannot write beside %s", path);
    int r = st_write_all(env, fd, text.p, text.n, 0);
    if (r == 0)
        r = fstat(fd, &mine) < 0 ? -errno : 0;
    if (r == 0 && lstat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        /* An owner that we may not give stays ours, as with any editor that replaces files. */
        if (st.st_uid != mine.st_uid || st.st_gid != mine.st_gid)
            (void)!fchown(fd, st.st_uid, st.st_gid);
        (void)fchmod(fd, st.st_mode & 07777);
    }
    if (r == 0)
        r = env->fdatasync(env->ctx, fd);
    env->close(env->ctx, fd);
    out->new_inode = mine.st_ino;
    if (r == 0)
        return ST_OK;
    env->unlink(env->ctx, out->beside);
    return st_fail_system(fault, r, "cannot write beside %s", path);
}

/* Without an exchange: link, then rename. */
static int exchange_by_link(const struct st_env *env, const char *path, struct st_replace *r)
{
    char second[ST_PATH_SIZE + 8];
    snprintf(second, sizeof second, "%s2", r->beside);
    env->unlink(env->ctx, second);
    bool linked = link(path, second) == 0;
    int result = env->rename(env->ctx, r->beside, path);
    if (result == 0 && linked)
        result = env->rename(env->ctx, second, r->beside);
    r->existed = linked;
    return result;
}

enum st_code st_replace_exchange(const struct st_env *env, const char *path, struct st_replace *r,
                                 struct st_fault *fault)
{
#ifdef ST_DEFECT_PLAIN_RENAME
    r->existed = false;
    return env->rename(env->ctx, r->beside, path) < 0 ? ST_UNAVAILABLE : ST_OK;
#endif
    r->existed = true;
    int result = env->exchange(env->ctx, r->beside, path);
    if (result == -ENOENT) {
        /* No file there, or no longer. Not over one that appears meanwhile. */
        r->existed = false;
        result = link(r->beside, path) < 0 ? -errno : env->unlink(env->ctx, r->beside);
        if (result == -EEXIST) {
            r->existed = true;
            result = env->exchange(env->ctx, r->beside, path);
        }
    }
    if (result == -EINVAL || result == -ENOSYS || result == -EPERM || result == -EOPNOTSUPP)
        result = exchange_by_link(env, path, r);
    if (result < 0)
        return st_fail_system(fault, result, "cannot replace %s", path);
    return ST_OK;
}
