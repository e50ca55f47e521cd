/*
 * stdio.c - the process: reads lines from standard input, writes answers to standard output, keeps
 * the time.
 *
 * One thread, which never waits for the client with a request in its hands: what cannot be written
 * is kept, and beyond MCP_OUTPUT_SIZE_MAX no further request is read. A client that reads nothing
 * for MCP_STALL_MS is taken for dead. The end of standard input, a closed standard output and a
 * signal end the process.
 */
#include "mcp/stdio.h"

#include "mcp/message.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct stdio {
    struct mcp_server *server;
    struct mcp_lines in;
    struct edge_text out; /* answers; what of them is written to the client: */
    size_t written;
    uint64_t wrote_ms; /* when the client last took something, or had nothing to take */
    uint64_t stall_ms;
    bool dry; /* no whole line is left in `in`, and there was room for answers to all */
    bool no_memory, gone, ended;
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
    (void)signal;
    stopped = 1;
}

/* A clock that goes on while the machine sleeps would take a sleeping client for dead. */
static uint64_t now_ms(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- output ----------------------------------------------------------------------------------- */

static size_t pending(const struct stdio *x)
{
    return x->out.n - x->written;
}

static void keep(void *arg, const char *line, size_t n)
{
    struct stdio *x = arg;
    if (x->written > 0) {
        memmove(x->out.p, x->out.p + x->written, pending(x));
        x->out.n -= x->written;
        x->written = 0;
    }
    if (x->out.n == 0)
        x->wrote_ms = now_ms();
    edge_text_add(&x->out, line, n);
    x->no_memory = x->no_memory || x->out.failed;
}

/* Without blocking, and without changing the mode of a descriptor that others may share: to a pipe
 * with RWF_NOWAIT, to a socket with MSG_DONTWAIT. Where neither works (older kernels, other kinds of
 * files) what has room (poll() says so) is given pieces that fit for sure. */
static ssize_t put(const char *p, size_t n)
{
    struct iovec part = {(char *)(uintptr_t)p, n};
    ssize_t done = pwritev2(STDOUT_FILENO, &part, 1, -1, RWF_NOWAIT);
    if (done >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
        return done;
    done = send(STDOUT_FILENO, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done >= 0 || errno != ENOTSOCK)
        return done;
    struct pollfd fd = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (poll(&fd, 1, 0) <= 0 || (fd.revents & POLLOUT) == 0) {
        errno = (fd.revents & (POLLERR | POLLNVAL)) != 0 ? EPIPE : EAGAIN;
        return -1;
    }
    return write(STDOUT_FILENO, p, n < PIPE_BUF ? n : PIPE_BUF);
}

static void drain(struct stdio *x, uint64_t now)
{
    while (pending(x) > 0 && !x->gone) {
        ssize_t n = put(x->out.p + x->written, pending(x));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            x->gone = errno != EAGAIN && errno != EWOULDBLOCK;
            break;
        }
        x->written += (size_t)n;
        x->wrote_ms = now;
    }
    if (pending(x) == 0)
        x->written = x->out.n = 0;
}

/* --- input ------------------------------------------------------------------------------------ */

static void take_lines(struct stdio *x)
{
    const char *line = NULL;
    size_t n = 0;
    x->dry = false;
#ifdef ST_DEFECT_MCP_ANSWERS_PILE_UP
    while (!x->gone) {
#else
    while (!x->gone && pending(x) < MCP_OUTPUT_SIZE_MAX) {
#endif
        enum mcp_line got = mcp_lines_next(&x->in, &line, &n);
        x->dry = got == MCP_LINE_NONE;
        if (x->dry)
            break;
        mcp_server_line(x->server, got == MCP_LINE_WHOLE ? line : NULL, n, now_ms());
        drain(x, now_ms());
    }
}

static void take_bytes(struct stdio *x)
{
    size_t room;
    char *p = mcp_lines_room(&x->in, &room);
    if (p == NULL) {
        x->no_memory = true;
        return;
    }
    ssize_t n = read(STDIN_FILENO, p, room);
    if (n > 0)
        mcp_lines_added(&x->in, (size_t)n);
    else if (n == 0 || (errno != EINTR && errno != EAGAIN))
        x->ended = true;
}

/* --- the loop --------------------------------------------------------------------------------- */

static int wait_ms_of(const struct stdio *x, uint64_t now)
{
    int ms = mcp_server_next_ms(x->server);
    if (pending(x) == 0)
        return x->dry ? ms : 0;
    uint64_t left = x->wrote_ms + x->stall_ms > now ? x->wrote_ms + x->stall_ms - now : 0;
    return ms >= 0 && (uint64_t)ms < left ? ms : (int)(left < INT_MAX ? left : INT_MAX);
}

static void turn(struct stdio *x, const sigset_t *unblocked)
{
    uint64_t now = now_ms();
    bool reads = !x->ended && x->dry;
    int ms = wait_ms_of(x, now);
    struct timespec limit = {ms / 1000, ms % 1000 * 1000000L};
    struct pollfd fds[2] = {
        {.fd = reads ? STDIN_FILENO : -1, .events = POLLIN},
        /* Also without anything to write: a closed pipe is reported in any case. */
        {.fd = STDOUT_FILENO, .events = (short)(pending(x) > 0 ? POLLOUT : 0)},
    };
    if (ppoll(fds, 2, ms >= 0 ? &limit : NULL, unblocked) < 0)
        return;
    if ((fds[1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0)
        x->gone = true;
    drain(x, now_ms());
    if (reads && fds[0].revents != 0)
        take_bytes(x);
    take_lines(x);
    mcp_server_tick(x->server, now_ms());
    drain(x, now_ms());
}

static bool stalled(const struct stdio *x)
{
    return pending(x) > 0 && now_ms() - x->wrote_ms >= x->stall_ms;
}

/* SIGTERM and its kin end the loop, and only while it waits. */
static void catch_signals(sigset_t *unblocked)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct sigaction action = {.sa_handler = stop};
    sigset_t blocked;
    sigemptyset(&blocked);
    (void)sigprocmask(SIG_SETMASK, NULL, unblocked);
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        (void)sigaction(signals[i], &action, NULL);
        sigaddset(&blocked, signals[i]);
        sigdelset(unblocked, signals[i]);
    }
    (void)sigprocmask(SIG_BLOCK, &blocked, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

static int loop(struct stdio *x, strata_error *error)
{
    sigset_t unblocked;
    catch_signals(&unblocked);
    bool idle = false; /* nothing more can come, and all is written */
    while (!x->gone && !x->no_memory && !stopped && !idle && !stalled(x)) {
        turn(x, &unblocked);
        if (x->ended && x->dry && !x->gone) {
            mcp_server_end(x->server, now_ms());
            drain(x, now_ms());
            idle = pending(x) == 0;
        }
    }
    if (stopped && !x->gone) {
        mcp_server_end(x->server, now_ms());
        drain(x, now_ms());
    }
    if (!x->no_memory && !stalled(x))
        return STRATA_OK;
    error->code = x->no_memory ? STRATA_NO_MEMORY : STRATA_TIMEOUT;
    (void)snprintf(error->message, sizeof error->message, "%s",
                   x->no_memory ? "out of memory"
                                : "the client does not read its answers any more");
    return error->code;
}

int mcp_stdio(const struct mcp_face *face, uint32_t wait_ms, strata_error *error)
{
    struct stdio x = {.dry = true, .stall_ms = wait_ms != 0 ? wait_ms : MCP_STALL_MS};
    /* Each call takes and gives back memory: that must not be a system call each time. */
    (void)mallopt(M_MMAP_THRESHOLD, 4 << 20);
    (void)mallopt(M_TRIM_THRESHOLD, 8 << 20);
    (void)mallopt(M_TOP_PAD, 1 << 20);
    x.server = mcp_server_new(face, keep, &x);
    int code = x.server != NULL ? loop(&x, error) : STRATA_NO_MEMORY;
    mcp_server_free(x.server);
    mcp_lines_release(&x.in);
    edge_text_release(&x.out);
    return code;
}
