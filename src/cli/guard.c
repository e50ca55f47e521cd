#include "cli/guard.h"

#include "cli/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* Told instead of a time: the command has ended. */
#define OVER 0

/* Between two looks whether a group that was asked to end has done so. Milliseconds. */
#define LOOK_MS 10

/* --- the guardian's side: descriptor 0 comes from the wrapper ---------------------------------- */

enum told { TOLD_TIME, TOLD_OVER, TOLD_DEATH, TOLD_NOTHING };

static enum told hear(uint64_t *until_ms)
{
    uint64_t value;
    ssize_t n = read(0, &value, sizeof value);
    if (n < 0 && errno == EINTR)
        return TOLD_NOTHING;
    if (n != sizeof value)
        return TOLD_DEATH;
    if (value == OVER)
        return TOLD_OVER;
    *until_ms = value;
    return TOLD_TIME;
}

/* Waits for a word of the wrapper, or for the time. The timer is there for a suspended machine:
 * poll() does not count that. */
static enum told await(int timer, uint64_t *until_ms)
{
    struct pollfd polls[2] = {{.fd = 0, .events = POLLIN}, {.fd = timer, .events = POLLIN}};
    struct itimerspec at = {.it_value = {.tv_sec = (time_t)(*until_ms / 1000),
                                         .tv_nsec = (long)(*until_ms % 1000) * 1000000}};
    uint64_t now = child_now_ms();
    if (now >= *until_ms)
        return TOLD_NOTHING;
    uint64_t left = *until_ms - now;
    (void)timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
    int ready = poll(polls, 2, left < INT_MAX ? (int)left : INT_MAX);
    return ready > 0 && polls[0].revents != 0 ? hear(until_ms) : TOLD_NOTHING;
}

static bool lives(pid_t group)
{
    return kill(-group, 0) == 0 || errno == EPERM;
}

static void end_group(pid_t group, uint64_t kill_ms, bool orphan)
{
    uint64_t ignored;
    kill(-group, SIGTERM);
    kill(-group, SIGCONT); /* what is stopped does not hear */
    while (child_now_ms() < kill_ms && lives(group)) {
        struct pollfd p = {.fd = orphan ? -1 : 0, .events = POLLIN};
        if (poll(&p, 1, LOOK_MS) <= 0)
            continue;
        enum told told = hear(&ignored); /* a longer term comes too late */
        if (told == TOLD_OVER)
            return;
        orphan = told == TOLD_DEATH;
    }
#ifndef ST_DEFECT_GUARD_ASKS_ONLY
    kill(-group, SIGKILL);
#endif
}

static void watch(pid_t group, uint64_t until_ms, uint64_t grace_ms)
{
#ifdef ST_DEFECT_GUARD_TIMER_STOPS
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
#else
    int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
#endif
    enum told told = TOLD_NOTHING;
#ifdef ST_DEFECT_GUARD_NONE
    while (told != TOLD_DEATH && told != TOLD_OVER)
        told = hear(&until_ms);
    return;
#endif
#ifdef ST_DEFECT_GUARD_FORGETS_WRAPPER
    while (child_now_ms() < until_ms) {
        sleep(told == TOLD_DEATH); /* as if it were still there */
#else
    while (told != TOLD_DEATH && child_now_ms() < until_ms) {
#endif
        told = await(timer, &until_ms);
        if (told == TOLD_OVER)
            return;
    }
    uint64_t kill_ms = child_now_ms() + CHILD_GRACE_MS;
    end_group(group, kill_ms < until_ms + grace_ms ? kill_ms : until_ms + grace_ms,
              told == TOLD_DEATH);
}

static void become(int from, pid_t group, uint64_t until_ms, uint64_t grace_ms)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    setsid();
    prctl(PR_SET_NAME, "strata-guardian");
    /* Nothing of the wrapper's is kept open: not its output, and no run file. */
    int null = open("/dev/null", O_RDWR);
    if (dup2(from, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || close_range(3, ~0U, 0) < 0)
        _exit(1);
    watch(group, until_ms, grace_ms);
    _exit(0);
}

/* --- the wrapper's side ----------------------------------------------------------------------- */

int guard_start(struct guard *g, pid_t group, uint64_t until_ms, uint64_t grace_ms)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    g->pid = fork();
    if (g->pid == 0) {
        close(fds[1]);
        become(fds[0], group, until_ms, grace_ms);
    }
    close(fds[0]);
    g->fd = fds[1];
    if (g->pid > 0)
        return 0;
    int error = errno;
    close(fds[1]);
    errno = error;
    return -1;
}

static void tell(struct guard *g, uint64_t value)
{
    /* A guardian that was killed: SIGPIPE is ignored here, and the wrapper does what it can. */
    while (write(g->fd, &value, sizeof value) < 0 && errno == EINTR)
        ;
}

void guard_extend(struct guard *g, uint64_t until_ms)
{
    tell(g, until_ms);
}

void guard_end(struct guard *g)
{
    tell(g, OVER);
    close(g->fd);
    while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}
