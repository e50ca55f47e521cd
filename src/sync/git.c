#include "sync/git.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Arguments of one call: a fetch names every replica of a workspace. */
#define ARGS_MAX 4352
/* Between asking a process to end, so that it removes its locks, and ending it. Milliseconds. */
#define GRACE_MS 2000
/* How often to look whether the process has ended, where the kernel cannot tell. Milliseconds. */
#define TICK_MS 5

extern char **environ;

bool st_object_id_valid(const char *text)
{
    size_t n = strspn(text, "0123456789abcdef");
    return (n == 40 || n == 64) && text[n] == '\0';
}

enum st_code st_git_init(struct st_git *g, const struct st_alloc *alloc, const char *dir,
                         struct st_fault *fault)
{
    *g = (struct st_git){.alloc = alloc, .fault = fault};
    size_t n = strlen(dir);
    if (n >= ST_PATH_SIZE)
        return st_fail(fault, ST_LIMIT, "the path of the repository is too long");
    memcpy(g->dir, dir, n + 1);
    memcpy(g->cwd, dir, n + 1);
    /* As git itself, which goes to the top of the work tree first. */
    if (n > 5 && strcmp(dir + n - 5, "/.git") == 0)
        g->cwd[n - 5] = '\0';
    return ST_OK;
}

/* --- the environment -------------------------------------------------------------------------- */

static bool has_name(const char *variable, const char *name)
{
    size_t n = strlen(name);
    return strncmp(variable, name, n) == 0 && variable[n] == '=';
}

static bool leads_elsewhere(const char *variable)
{
    static const char *const names[] = {
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_COMMON_DIR",
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_NAMESPACE",
        "GIT_QUARANTINE_PATH",
        "GIT_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_REPLACE_REF_BASE",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (has_name(variable, names[i]))
            return true;
    return false;
}

/* The list only: the strings are borrowed. NULL: out of memory. */
static char **environment_make(const char *const *more)
{
    static const char *const ours[] = {"GIT_TERMINAL_PROMPT=0", "GIT_OPTIONAL_LOCKS=0",
                                       "SSH_ASKPASS_REQUIRE=never", "LC_ALL=C", NULL};
    size_t count = 0, extra = 0;
    while (environ[count] != NULL)
        count++;
    while (more != NULL && more[extra] != NULL)
        extra++;
    char **list = calloc(count + extra + sizeof ours / sizeof ours[0], sizeof *list);
    size_t n = 0;
    for (size_t i = 0; list != NULL && i < count; i++) {
        bool replaced = leads_elsewhere(environ[i]);
        for (size_t k = 0; !replaced && ours[k] != NULL; k++)
            replaced = strncmp(environ[i], ours[k], strcspn(ours[k], "=") + 1) == 0;
        for (size_t k = 0; !replaced && k < extra; k++)
            replaced = strncmp(environ[i], more[k], strcspn(more[k], "=") + 1) == 0;
        if (!replaced)
            list[n++] = environ[i];
    }
    for (size_t k = 0; list != NULL && ours[k] != NULL; k++)
        list[n++] = (char *)(uintptr_t)ours[k];
    for (size_t k = 0; list != NULL && k < extra; k++)
        list[n++] = (char *)(uintptr_t)more[k];
    return list;
}

/* --- one process ------------------------------------------------------------------------------ */

struct process {
    struct st_git *git;
    struct st_git_call *call;
    pid_t id;
    int in, out, err; /* our ends; -1: closed */
    int ended_fd;     /* readable when the process has ended; -1: the kernel has no such thing */
    size_t written;
    size_t read;
    bool ended;
    int wait_status;
    enum st_code code; /* of the sink */
    char tail[2 * ST_GIT_MESSAGE_SIZE];
    size_t tail_size;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void close_end(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* What every call is told: no hooks, what we refer to is on disk before the reference is, and a
 * reference that somebody else is looking after is worth a short wait. */
static const char *const settings[] = {
    "-c", "core.hooksPath=/dev/null",      "-c", "core.fsync=committed,reference",
    "-c", "core.filesRefLockTimeout=1000", "-c", "core.quotePath=false"};

static size_t arguments(const struct st_git *g, const struct st_git_call *call,
                        const char *argv[ARGS_MAX])
{
    size_t n = 0;
    argv[n++] = "git";
    argv[n++] = "--git-dir";
    argv[n++] = g->dir;
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        argv[n++] = settings[i];
    size_t k = 0;
    while (call->args[k] != NULL && n < ARGS_MAX - 1)
        argv[n++] = call->args[k++];
    argv[n] = NULL;
    return call->args[k] == NULL ? n : 0;
}

/* In the child: only what may be called between fork and exec. */
static void become(const char *cwd, const char *const *argv, char **env, const int ends[3],
                   pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    setsid();
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127);
    for (int i = 0; i < 3; i++)
        if (dup2(ends[i], i) < 0)
            _exit(127);
    if (chdir(cwd) < 0)
        _exit(127);
    execvpe("git", (char *const *)(uintptr_t)argv, env);
    _exit(127);
}

static bool ends_open(int in[2], int out[2], int err[2])
{
    in[0] = in[1] = out[0] = out[1] = err[0] = err[1] = -1;
    /* A socket, so that a process that has ended is no SIGPIPE for us. */
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in) == 0 &&
           pipe2(out, O_CLOEXEC) == 0 && pipe2(err, O_CLOEXEC) == 0;
}

static enum st_code cannot_start(struct st_git *g, int error)
{
    st_fail(g->fault, ST_UNAVAILABLE, "cannot start git: %s", strerror(error));
    return st_hint(g->fault, "nothing was recorded; `strata sync` needs the program git");
}

static enum st_code process_start(struct process *p, const char *const *argv, char **env)
{
    int in[2], out[2], err[2];
    pid_t parent = getpid();
    bool open = ends_open(in, out, err);
    int error = errno;
    p->id = open ? fork() : -1;
    if (open && p->id < 0)
        error = errno;
    if (p->id == 0) {
        int ends[3] = {in[1], out[1], err[1]};
        become(p->git->cwd, argv, env, ends, parent);
    }
    close_end(&in[1]);
    close_end(&out[1]);
    close_end(&err[1]);
    p->in = in[0];
    p->out = out[0];
    p->err = err[0];
    if (p->id < 0)
        return cannot_start(p->git, error);
    int fds[3] = {p->in, p->out, p->err};
    for (int i = 0; i < 3; i++)
        fcntl(fds[i], F_SETFL, fcntl(fds[i], F_GETFL) | O_NONBLOCK);
    p->ended_fd = (int)syscall(SYS_pidfd_open, p->id, 0);
    if (p->ended_fd >= 0)
        fcntl(p->ended_fd, F_SETFD, FD_CLOEXEC);
    return ST_OK;
}

/* --- its three streams ------------------------------------------------------------------------ */

static void feed(struct process *p)
{
    struct st_str input = p->call->input;
    if (p->in >= 0 && p->written < input.n) {
        ssize_t n = send(p->in, input.p + p->written, input.n - p->written, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            p->written = input.n; /* it does not want more; its status will say why */
        else if (n > 0)
            p->written += (size_t)n;
    }
    if (p->written == input.n)
        close_end(&p->in);
}

static enum st_code take_output(struct process *p, const char *bytes, size_t n)
{
    struct st_git_call *call = p->call;
    if (call->sink != NULL)
        return call->sink(call->arg, bytes, n);
    if (call->out == NULL)
        return ST_OK;
    p->read += n;
    if (p->read > ST_GIT_OUTPUT_MAX)
        return st_fail(p->git->fault, ST_LIMIT, "git %s printed more than %u MB", call->args[0],
                       ST_GIT_OUTPUT_MAX >> 20);
    st_buf_add(call->out, bytes, n);
    return call->out->failed ? st_fail(p->git->fault, ST_NO_MEMORY, "out of memory") : ST_OK;
}

static void take_message(struct process *p, const char *bytes, size_t n)
{
    size_t room = sizeof p->tail;
    if (n > room) {
        bytes += n - room;
        n = room;
    }
    size_t keep = p->tail_size + n > room ? room - n : p->tail_size;
    memmove(p->tail, p->tail + (p->tail_size - keep), keep);
    memcpy(p->tail + keep, bytes, n);
    p->tail_size = keep + n;
}

/* Reads what is there. False at the end of the stream. */
static bool drain(struct process *p, int *fd)
{
    char buf[65536];
    while (*fd >= 0 && p->code == ST_OK) {
        ssize_t n = read(*fd, buf, sizeof buf);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0) {
            close_end(fd);
            return false;
        }
        if (fd == &p->out)
            p->code = take_output(p, buf, (size_t)n);
        else
            take_message(p, buf, (size_t)n);
    }
    return *fd >= 0;
}

static void reap(struct process *p, bool wait)
{
    pid_t r;
    if (p->ended)
        return;
    do
        r = waitpid(p->id, &p->wait_status, wait ? 0 : WNOHANG);
    while (r < 0 && errno == EINTR);
    /* Somebody else has waited for our child: its status is lost, and counts as a failure. */
    if (r < 0)
        p->wait_status = 127 << 8;
    p->ended = r != 0;
}

static void process_end(struct process *p)
{
    uint64_t asked = now_ms();
    if (!p->ended)
        kill(-p->id, SIGTERM);
    while (!p->ended && now_ms() - asked < GRACE_MS) {
        poll(NULL, 0, TICK_MS);
        reap(p, false);
    }
    if (!p->ended) {
        kill(-p->id, SIGKILL);
        reap(p, true);
    }
}

/* Until the process has ended. What it has started may live on with the pipes open (a connection
 * that is kept for later): that is not waited for. */
static enum st_code process_serve(struct process *p, uint64_t wait_ms)
{
    uint64_t start = now_ms();
    while (!p->ended && p->code == ST_OK) {
        uint64_t spent = now_ms() - start;
        if (spent >= wait_ms) {
            st_fail(p->git->fault, ST_TIMEOUT, "git %s did not end within %llu s", p->call->args[0],
                    (unsigned long long)(wait_ms / 1000));
            return st_hint(p->git->fault, "it was ended; try again, and look whether the remote "
                                          "can be reached");
        }
        int left = wait_ms - spent < 60000 ? (int)(wait_ms - spent) : 60000;
        struct pollfd fds[4] = {
            {.fd = p->in, .events = POLLOUT},
            {.fd = p->out, .events = POLLIN},
            {.fd = p->err, .events = POLLIN},
            {.fd = p->ended_fd, .events = POLLIN},
        };
        poll(fds, 4, p->ended_fd >= 0 ? left : TICK_MS);
        if (fds[0].revents != 0 || (p->in >= 0 && p->call->input.n == 0))
            feed(p);
        if (fds[1].revents != 0)
            drain(p, &p->out);
        if (fds[2].revents != 0)
            drain(p, &p->err);
        reap(p, false);
    }
    drain(p, &p->out);
    drain(p, &p->err);
    return p->code;
}

/* The last lines of standard error as one line. */
static void message_of(struct process *p)
{
    size_t start =
        p->tail_size > ST_GIT_MESSAGE_SIZE - 1 ? p->tail_size - ST_GIT_MESSAGE_SIZE + 1 : 0;
    size_t n = 0;
    for (size_t i = start; i < p->tail_size; i++) {
        char c = p->tail[i];
        bool end = c == '\n' || c == '\r';
        if (n + 2 >= ST_GIT_MESSAGE_SIZE)
            break;
        if (end && (n == 0 || p->call->message[n - 1] == ' '))
            continue;
        if (end)
            p->call->message[n++] = ';';
        p->call->message[n++] = (unsigned char)c < 0x20 ? ' ' : c;
    }
    while (n > 0 && (p->call->message[n - 1] == ';' || p->call->message[n - 1] == ' '))
        n--;
    p->call->message[n] = '\0';
}

enum st_code st_git_run(struct st_git *g, struct st_git_call *call)
{
    const char *argv[ARGS_MAX];
    struct process p = {.git = g, .call = call, .in = -1, .out = -1, .err = -1, .ended_fd = -1};
    if (arguments(g, call, argv) == 0)
        return st_fail(g->fault, ST_LIMIT, "git %s has more than %d arguments", call->args[0],
                       ARGS_MAX);
    char **env = environment_make(call->environment);
    if (env == NULL)
        return st_fail(g->fault, ST_NO_MEMORY, "out of memory");
    enum st_code code = process_start(&p, argv, env);
    free(env);
    uint64_t network_ms = g->network_ms != 0 ? g->network_ms : ST_GIT_NETWORK_WAIT_MS;
    if (code == ST_OK)
        code = process_serve(&p, call->network ? network_ms : ST_GIT_WAIT_MS);
    if (p.id > 0)
        process_end(&p);
    close_end(&p.in);
    close_end(&p.out);
    close_end(&p.err);
    close_end(&p.ended_fd);
    message_of(&p);
    call->status =
        WIFSIGNALED(p.wait_status) ? 128 + WTERMSIG(p.wait_status) : WEXITSTATUS(p.wait_status);
    if (code == ST_OK && call->status == 127 && call->message[0] == '\0')
        return cannot_start(g, ENOENT);
    return code;
}

enum st_code st_git_must(struct st_git *g, struct st_git_call *call)
{
    enum st_code code = st_git_run(g, call);
    if (code != ST_OK || call->status == 0)
        return code;
    return st_fail(g->fault, call->network ? ST_UNAVAILABLE : ST_IO, "git %s failed: %s",
                   call->args[0], call->message[0] != '\0' ? call->message : "it does not say why");
}

enum st_code st_git_line(struct st_git *g, const char *const *args, char *out, size_t size)
{
    struct st_buf text;
    struct st_git_call call = {.args = args, .out = &text};
    st_buf_init(&text, g->alloc);
    enum st_code code = st_git_run(g, &call);
    size_t n = text.n;
    while (n > 0 && text.p[n - 1] == '\n')
        n--;
    if (code == ST_OK && (call.status != 0 || n == 0 || n >= size))
        code = ST_NOT_FOUND;
    if (code == ST_OK) {
        memcpy(out, text.p, n);
        out[n] = '\0';
    }
    st_buf_release(&text);
    return code;
}
