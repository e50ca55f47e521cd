/*
 * watch.c - waiting for edits: inotify(7) on the directories of the files, not on the files, so
 * that renames and swap files of editors are seen; on the directories above them, which may come, go
 * and change places with a branch switch; on the list of files; and on the log, for what others write.
 *
 * Events are not looked at one by one: any of them means to look at all files (a stat(2) each). What
 * they do say is when the watches have to be set anew, and that some were lost.
 */
#include "lib/files.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

/* An editor writes, renames and touches within this time: one look is enough. Milliseconds. */
#define SETTLE_MS 50
/* Without events for a directory (a limit of the system, a network file system) files are looked at
 * this often. Milliseconds. */
#define POLL_MS 2000

struct st_watch {
    int fd;
    struct st_file_stamp list; /* of the list that the watches are for */
    uint64_t writer_epoch;
    bool armed;
    bool blind; /* some directory is not watched */
};

/* False: there is no such directory. A symbolic link is none: what it leads to is not ours. */
static bool add(strata *s, const char *dir, uint32_t mask)
{
    struct st_watch *w = s->files->watch;
    mask |= IN_ONLYDIR | IN_DONT_FOLLOW | IN_DELETE_SELF | IN_MOVE_SELF;
    if (inotify_add_watch(w->fd, dir, mask) >= 0)
        return true;
    if (errno != ENOENT && errno != ENOTDIR) {
        if (!w->blind)
            st_lib_notice(s,
                          "not every directory can be watched (see fs.inotify.max_user_watches); "
                          "files are looked at every %d s instead",
                          POLL_MS / 1000);
        w->blind = true;
    }
    return false;
}

/* The directory of an entry and those above it, from the top: what appears behind us is an event of
 * the one above. Adding one twice is the same watch. */
static void add_entry(strata *s, const struct st_entry *e)
{
    char path[ST_PATH_SIZE];
    const char *root = s->files->root;
    uint32_t mask = IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE;
    if (snprintf(path, sizeof path, "%s/%s", root, e->path) >= (int)sizeof path)
        return;
    for (char *slash = path + strlen(root); slash != NULL;) {
        char *next = strchr(slash + 1, '/');
        *slash = '\0';
        bool there = add(s, path,
                         next == NULL ? mask | IN_CLOSE_WRITE | IN_MODIFY | IN_MASK_ADD
                                      : mask | IN_MASK_ADD);
        *slash = '/';
        slash = there ? next : NULL;
    }
}

static void arm(strata *s)
{
    struct st_watch *w = s->files->watch;
    char path[ST_PATH_SIZE + 64];
    struct st_writer writer = st_log_writer(&s->log);
    for (size_t i = 0; i < s->files->registry.count; i++)
        add_entry(s, &s->files->registry.list[i]);
    add(s, s->files->home, IN_MOVED_TO);
    snprintf(path, sizeof path, "%s/log/%016llx-%016llx", s->log.dir,
             (unsigned long long)writer.replica, (unsigned long long)writer.epoch);
    add(s, path, IN_MODIFY | IN_CREATE);
    snprintf(path, sizeof path, "%s/strong", s->log.dir);
    if (st_files_show(&s->files->registry, true))
        add(s, path, IN_MODIFY | IN_CREATE);
    w->list = s->files->list_stamp;
    w->writer_epoch = writer.epoch;
    w->armed = true;
}

/* Reads what is there. *lost: events were lost; *moved: a directory came or went. */
static void drain(int fd, bool *lost, bool *moved)
{
    char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t n;
    *lost = *moved = false;
    while ((n = read(fd, buf, sizeof buf)) > 0)
        for (char *p = buf; p < buf + n;) {
            const struct inotify_event *e = (const struct inotify_event *)(void *)p;
#ifndef ST_DEFECT_WATCH_OVERFLOW
            *lost = *lost || (e->mask & IN_Q_OVERFLOW) != 0;
#endif
#ifndef ST_DEFECT_WATCH_DIRECTORIES
            *moved =
                *moved || (e->mask & (IN_IGNORED | IN_DELETE_SELF | IN_MOVE_SELF | IN_ISDIR)) != 0;
#endif
            p += sizeof *e + e->len;
        }
}

static int watch_open(strata *s)
{
    struct st_files *f = s->files;
    f->watch = calloc(1, sizeof *f->watch);
    if (f->watch == NULL)
        return st_lib_no_memory(s);
    f->watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (f->watch->fd >= 0)
        return STRATA_OK;
    free(f->watch);
    f->watch = NULL;
    return st_lib_fail(s, ST_UNAVAILABLE,
                       "cannot watch files: the limit of the system is reached "
                       "(fs.inotify.max_user_instances)");
}

int strata_files_wait(strata *s, uint32_t wait_ms, bool *all)
{
    *all = false;
    int code = st_files_list(s);
    struct st_files *f = s->files;
    if (code == STRATA_OK && f->watch == NULL)
        code = watch_open(s);
    if (code != STRATA_OK)
        return code;
    struct st_watch *w = f->watch;
    bool armed = w->armed;
    if (!armed || !st_file_stamp_equal(&w->list, &f->list_stamp) ||
        w->writer_epoch != st_log_writer(&s->log).epoch)
        arm(s);
    if (!armed) {
        *all = true; /* what happened before is not known */
        return STRATA_OK;
    }
    struct pollfd p = {.fd = w->fd, .events = POLLIN};
    int timeout = wait_ms > INT_MAX ? INT_MAX : (int)wait_ms;
    if (w->blind && timeout > POLL_MS)
        timeout = POLL_MS;
    int r = poll(&p, 1, timeout);
    if (r < 0 && errno == EINTR)
        return st_lib_fail(s, ST_INTERRUPTED, "interrupted");
    if (r == 0)
        return w->blind ? STRATA_OK : ST_TIMEOUT;
    s->log.env->sleep_ns(s->log.env->ctx, SETTLE_MS * 1000000ull);
    bool moved;
    drain(w->fd, all, &moved);
    if (moved || *all)
        arm(s); /* before anybody looks: what comes after is an event */
    return STRATA_OK;
}

void st_watch_close(struct st_watch *w)
{
    if (w == NULL)
        return;
    close(w->fd);
    free(w);
}
