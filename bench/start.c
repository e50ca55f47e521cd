/*
 * start.c - how long a program takes from start to exit, and how much memory.
 *
 *   bench-start RUNS DIR PROGRAM [ARGUMENT...]
 *
 * Runs it three times to warm up, then RUNS times with DIR as working directory and its output
 * thrown away. One run alone is not warmed up: a program that changes its input finds it as it was
 * made. Prints: median ms, 95th percentile ms, median ms of processor time (user and
 * system), largest resident set in MB, exit status. @N at the end of an argument is replaced by the
 * number of the run, for writes that differ.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define RUNS_MAX      10000
#define ARGUMENTS_MAX 64

extern char **environ;

struct run {
    double ms, cpu_ms, mb;
    int status;
};

static double time_ms(struct timeval t)
{
    return (double)t.tv_sec * 1e3 + (double)t.tv_usec / 1e3;
}

static struct run run_once(char **argv, const posix_spawn_file_actions_t *actions)
{
    pid_t child;
    int status;
    struct rusage usage;
    uint64_t start = bench_now_ns();
    int r = posix_spawnp(&child, argv[0], actions, NULL, argv, environ);
    if (r != 0) {
        errno = r;
        bench_die("cannot start %s", argv[0]);
    }
    if (wait4(child, &status, 0, &usage) < 0)
        bench_die("wait");
    uint64_t end = bench_now_ns();
    return (struct run){
        .ms = (double)(end - start) / 1e6,
        .cpu_ms = time_ms(usage.ru_utime) + time_ms(usage.ru_stime),
        .mb = (double)usage.ru_maxrss / 1024,
        .status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
    };
}

/* The argument itself, or one that is lent until the next call. */
static char *numbered(char *argument, int number)
{
    static char text[256];
    size_t n = strlen(argument);
    if (n < 2 || n > 200 || strcmp(argument + n - 2, "@N") != 0)
        return argument;
    snprintf(text, sizeof text, "%.*s%d", (int)n - 2, argument, number);
    return text;
}

int main(int argc, char **argv)
{
    static double ms[RUNS_MAX], cpu_ms[RUNS_MAX];
    char *args[ARGUMENTS_MAX + 1];
    if (argc < 4 || argc - 3 > ARGUMENTS_MAX) {
        fputs("usage: bench-start RUNS DIR PROGRAM [ARGUMENT...]\n", stderr);
        return 2;
    }
    int runs = atoi(argv[1]), count = argc - 3;
    if (runs < 1 || runs > RUNS_MAX || chdir(argv[2]) < 0)
        bench_die("cannot run %s times in %s", argv[1], argv[2]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    double mb = 0;
    int status = 0;
    for (int i = runs == 1 ? 0 : -3; i < runs; i++) {
        for (int k = 0; k < count; k++)
            args[k] = numbered(argv[k + 3], i + 3);
        args[count] = NULL;
        struct run one = run_once(args, &actions);
        status = one.status;
        if (i < 0)
            continue;
        mb = one.mb > mb ? one.mb : mb;
        ms[i] = one.ms;
        cpu_ms[i] = one.cpu_ms;
    }
    double middle = bench_median(ms, runs);
    printf("%.2f %.2f %.2f %.1f %d\n", middle, ms[runs * 95 / 100], bench_median(cpu_ms, runs), mb,
           status);
    return 0;
}
