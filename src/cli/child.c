#include "cli/child.h"

#include "cli/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Between two looks at the clock while a child runs; a tenth of it where its end cannot be waited for.
 * Milliseconds. */
#define LOOK_MS 20

static volatile sig_atomic_t got_signal;
static volatile sig_atomic_t child_group;

/* What the wrapper is told, the child is told. */
static void forward(int signal)
{
    got_signal = signal;
    if (child_group > 0)
        kill(-(pid_t)child_group, signal);
}

uint64_t child_now_ms(void)
{
    struct timespec t;
#ifdef ST_DEFECT_WRAPPER_CLOCK_STOPS
    clock_gettime(CLOCK_MONOTONIC, &t);
#else
    clock_gettime(CLOCK_BOOTTIME, &t);
#endif
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t child_term_end(uint64_t asked_ms, uint64_t term_ms)
{
    return asked_ms + term_ms - term_ms / 10;
}

int child_check(const char *program)
{
    if (strchr(program, '/') != NULL)
        return access(program, X_OK) == 0 ? 0 : errno;
    const char *path = getenv("PATH");
    int error = ENOENT;
    for (const char *p = path != NULL ? path : "/usr/bin:/bin"; *p != '\0';) {
        size_t n = strcspn(p, ":");
        char full[4096];
        int size = n > 0 ? snprintf(full, sizeof full, "%.*s/%s", (int)n, p, program)
                         : snprintf(full, sizeof full, "./%s", program);
        if (size > 0 && size < (int)sizeof full) {
            if (access(full, X_OK) == 0)
                return 0;
            if (errno == EACCES)
                error = EACCES;
        }
        p += n;
        p += *p == ':';
    }
    return error;
}

/* --- the child's side ------------------------------------------------------------------------- */

struct pipes {
    int out[2], err[2];
    int report[2]; /* why it could not be executed */
    int go[2];     /* a byte: its guardian is there; the end without one: nobody looks after it */
};

/* What this process catches or ignores, and a command must not. */
static const int defaults[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
#define DEFAULTS (sizeof defaults / sizeof defaults[0])

static void become(const struct child *c, const struct pipes *p)
{
    char go;
    if (p->go[1] >= 0 && (close(p->go[1]) < 0 || read(p->go[0], &go, 1) != 1))
        _exit(127);
    for (size_t i = 0; i < DEFAULTS; i++)
        signal(defaults[i], SIG_DFL);
    setpgid(0, 0);
    if (isatty(0)) {
        int null = open("/dev/null", O_RDONLY);
        if (null > 0)
            dup2(null, 0);
    }
    if (p->out[1] >= 0)
        dup2(p->out[1], 1);
    if (p->err[1] >= 0)
        dup2(p->err[1], 2);
    if (c->inherit_fd >= 0)
        fcntl(c->inherit_fd, F_SETFD, 0);
    for (const char *const *e = c->environment; e != NULL && *e != NULL; e++)
        putenv((char *)(uintptr_t)*e);
    if (c->dir == NULL || chdir(c->dir) == 0)
        execvp(c->argv[0], c->argv);
    int error = errno;
    ssize_t ignored = write(p->report[1], &error, sizeof error);
    (void)ignored;
    _exit(127);
}

/* The environment of this process, with the child's in front; its texts are borrowed. NULL: no memory. */
static char **environment_of(const struct child *c)
{
    size_t own = 0, all = 0;
    while (c->environment != NULL && c->environment[own] != NULL)
        own++;
    while (environ[all] != NULL)
        all++;
    char **list = calloc(own + all + 1, sizeof *list);
    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < own; i++)
        list[i] = (char *)(uintptr_t)c->environment[i];
    size_t n = own;
    for (size_t i = 0; i < all; i++) {
        bool replaced = false;
        for (size_t k = 0; k < own && !replaced; k++)
            replaced = strncmp(environ[i], list[k], strcspn(list[k], "=") + 1) == 0;
        if (!replaced)
            list[n++] = environ[i];
    }
    return list;
}

/* What become() does, without a copy of this process's memory, which is what is dear about a short command.
 * -1: it could not be executed like this. */
static pid_t spawn(const struct child *c, const struct pipes *p)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t set;
    pid_t pid;
    char **list = environment_of(c);
    if (list == NULL || posix_spawn_file_actions_init(&files) != 0)
        return free(list), -1;
    posix_spawnattr_init(&attributes); /* sets fields, no more */
    sigemptyset(&set);
    for (size_t i = 0; i < DEFAULTS; i++)
        sigaddset(&set, defaults[i]);
    posix_spawnattr_setsigdefault(&attributes, &set);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    int error =
        isatty(0) ? posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0) : 0;
    if (error == 0 && p->out[1] >= 0)
        error = posix_spawn_file_actions_adddup2(&files, p->out[1], 1);
    if (error == 0 && p->err[1] >= 0)
        error = posix_spawn_file_actions_adddup2(&files, p->err[1], 2);
    if (error == 0 && c->inherit_fd >= 0) /* to itself: not closed on exec any more */
        error = posix_spawn_file_actions_adddup2(&files, c->inherit_fd, c->inherit_fd);
    if (error == 0 && c->dir != NULL)
        error = posix_spawn_file_actions_addchdir_np(&files, c->dir);
    if (error == 0)
        error = posix_spawnp(&pid, c->argv[0], &files, &attributes, c->argv, list);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    free(list);
    return error == 0 ? pid : -1;
}

/* --- the wrapper's side ----------------------------------------------------------------------- */

struct stream {
    int fd;
    int to;
    char **kept;
    size_t *size;
    size_t taken; /* bytes read, kept or not */
};

static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(fd, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return false;
        p += w;
        n -= (size_t)w;
    }
    return true;
}

/* Takes what there is. False at the end of the stream. */
static bool pump(struct child *c, struct stream *s)
{
    char buf[8192];
    ssize_t n = read(s->fd, buf, sizeof buf);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (n == 0)
        return false;
    s->taken += (size_t)n;
    if (!c->silent)
        write_all(s->to, buf, (size_t)n);
    size_t room = CHILD_KEEP_MAX - *s->size, take = (size_t)n < room ? (size_t)n : room;
    c->cut = c->cut || take < (size_t)n;
    if (take == 0)
        return true;
    char *p = realloc(*s->kept, *s->size + take);
    if (p == NULL) {
        c->cut = true;
        return true;
    }
    memcpy(p + *s->size, buf, take);
    *s->kept = p;
    *s->size += take;
    return true;
}

struct run {
    pid_t pid;
    struct stream streams[2];
    uint64_t start, asked_ms, next_tick;
    struct guard guard; /* pid 0: none */
    uint64_t guarded_ms;
    bool exited;
    int status;
};

static void ask_to_end(struct run *r, uint64_t now)
{
    if (r->asked_ms == 0) {
        r->asked_ms = now;
        kill(-r->pid, SIGTERM);
    } else if (now - r->asked_ms >= CHILD_GRACE_MS) {
        kill(-r->pid, SIGKILL);
    }
}

static void look_after(struct child *c, struct run *r)
{
    uint64_t now = child_now_ms();
    if (c->timeout_ms != 0 && now - r->start >= c->timeout_ms) {
        c->timed_out = true;
        ask_to_end(r, now);
    }
    if (c->tick != NULL && !c->ended_by_tick && now >= r->next_tick) {
        r->next_tick = now + c->tick_ms;
        c->ended_by_tick = c->tick(c->tick_arg) != 0;
    }
    if (r->guard.pid != 0 && *c->until_ms != r->guarded_ms) {
        r->guarded_ms = *c->until_ms;
        guard_extend(&r->guard, r->guarded_ms);
    }
    if (c->ended_by_tick)
        ask_to_end(r, now);
    if (waitpid(r->pid, &r->status, WNOHANG) == r->pid)
        r->exited = true;
}

/* What is in the pipe, and no more: a descendant may go on filling it. */
static void drain(struct child *c, struct stream *s)
{
    int left = 0;
    if (s->fd < 0 || ioctl(s->fd, FIONREAD, &left) < 0)
        return;
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    for (size_t end = s->taken + (size_t)left; s->taken < end;)
        if (poll(&p, 1, 0) <= 0 || !pump(c, s))
            return;
}

/* Until the child has ended. Its descendants may keep the pipes open: they are not waited for, but
 * what is in the pipes by then is read. */
static void serve(struct child *c, struct run *r)
{
    struct pollfd polls[3] = {{0}, {0}, {.fd = pidfd_open(r->pid, 0), .events = POLLIN}};
    int look_ms = polls[2].fd >= 0 ? LOOK_MS : LOOK_MS / 10;
    while (!r->exited) {
        for (int i = 0; i < 2; i++)
            polls[i] = (struct pollfd){.fd = r->streams[i].fd, .events = POLLIN};
        int ready = poll(polls, 3, look_ms);
        for (int i = 0; ready > 0 && i < 2; i++)
            if (polls[i].fd >= 0 && polls[i].revents != 0 && !pump(c, &r->streams[i])) {
                close(r->streams[i].fd);
                r->streams[i].fd = -1;
            }
        look_after(c, r);
    }
    if (polls[2].fd >= 0)
        close(polls[2].fd);
    for (int i = 0; i < 2; i++) {
        drain(c, &r->streams[i]);
        if (r->streams[i].fd >= 0)
            close(r->streams[i].fd);
    }
}

static int exit_status(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void signals(void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
}

static void close_both(int fds[2])
{
    for (int i = 0; i < 2; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    fds[0] = fds[1] = -1;
}

static void close_end(int fds[2], int end)
{
    if (fds[end] >= 0)
        close(fds[end]);
    fds[end] = -1;
}

static void pipes_close(struct pipes *p)
{
    int error = errno;
    close_both(p->out);
    close_both(p->err);
    close_both(p->report);
    close_both(p->go);
    errno = error;
}

static bool pipes_open(const struct child *c, struct pipes *p)
{
    *p = (struct pipes){{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    if (pipe2(p->report, O_CLOEXEC) == 0 &&
        (!c->keep || (pipe2(p->out, O_CLOEXEC) == 0 && pipe2(p->err, O_CLOEXEC) == 0)) &&
        (c->until_ms == NULL || pipe2(p->go, O_CLOEXEC) == 0))
        return true;
    pipes_close(p);
    return false;
}

/* A tenth of the term is the margin; the last bit of it is for the guardian itself. */
static uint64_t term_grace(uint64_t term_ms)
{
    uint64_t grace = term_ms / 10 * 4 / 5;
    return grace < CHILD_GRACE_MS ? grace : CHILD_GRACE_MS;
}

/* Only with its guardian there may the command begin. */
static bool guard(struct child *c, struct run *r, struct pipes *p)
{
    if (c->until_ms == NULL)
        return true;
    r->guarded_ms = *c->until_ms;
    if (guard_start(&r->guard, r->pid, r->guarded_ms, term_grace(c->term_ms)) == 0) {
        (void)!write(p->go[1], "g", 1);
        return true;
    }
    pipes_close(p);
    int error = errno;
    waitpid(r->pid, NULL, 0);
    errno = error;
    return false;
}

/* Whether it could be executed: the pipe ends without a word when it was. */
static void hear_of_start(struct child *c, struct pipes *p)
{
    ssize_t n;
    close_end(p->report, 1);
    while ((n = read(p->report[0], &c->error, sizeof c->error)) < 0 && errno == EINTR)
        ;
    c->started = n == 0;
    close_end(p->report, 0);
}

bool child_run(struct child *c)
{
    struct pipes p;
    if (!pipes_open(c, &p))
        return false;
    signal(SIGPIPE, SIG_IGN);
    fflush(NULL);
    /* Who waits for a guardian cannot be waited for. Why it could not be executed is told by a fork. */
    pid_t pid = c->until_ms == NULL ? spawn(c, &p) : -1;
    if (pid < 0)
        pid = fork();
    if (pid < 0) {
        pipes_close(&p);
        return false;
    }
    if (pid == 0)
        become(c, &p);
    setpgid(pid, pid);
    struct run r = {.pid = pid, .start = child_now_ms()};
    close_end(p.go, 0);
    if (!guard(c, &r, &p))
        return false;
    child_group = (sig_atomic_t)pid;
    signals(forward);
    close_end(p.go, 1);
    close_end(p.out, 1);
    close_end(p.err, 1);
    r.streams[0] = (struct stream){p.out[0], 1, &c->out, &c->out_size, 0};
    r.streams[1] = (struct stream){p.err[0], 2, &c->err, &c->err_size, 0};
    r.next_tick = r.start + c->tick_ms;
    hear_of_start(c, &p);
    serve(c, &r);
    if (r.guard.pid != 0)
        guard_end(&r.guard);
    child_group = 0;
    signals(SIG_DFL);
    c->told = got_signal;
    got_signal = 0;
    c->status = exit_status(r.status);
    c->signal = WIFSIGNALED(r.status) ? WTERMSIG(r.status) : 0;
    return true;
}

void child_release(struct child *c)
{
    free(c->out);
    free(c->err);
    c->out = c->err = NULL;
}
