/*
 * suspended.c - linked into the program with --wrap=clock_gettime: the machine was suspended for as many
 * seconds as the file STRATA_SUSPENDED says, which may change while the program runs. CLOCK_BOOTTIME
 * counts them and CLOCK_MONOTONIC does not, as in time_namespaces(7) and clock_gettime(2). In the same way the
 * file STRATA_CLOCK_AHEAD says how far CLOCK_REALTIME is wrong. STRATA_PASSED: so many seconds have passed on
 * all of them, for a process that nobody waits for so long.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);

static long seconds_in(const char *variable)
{
    const char *path = variable != NULL ? getenv(variable) : NULL;
    FILE *file = path != NULL ? fopen(path, "re") : NULL;
    long seconds = 0;
    if (file == NULL)
        return 0;
    if (fscanf(file, "%ld", &seconds) != 1)
        seconds = 0;
    (void)fclose(file);
    return seconds;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    const char *of_one = id == CLOCK_BOOTTIME   ? "STRATA_SUSPENDED"
                         : id == CLOCK_REALTIME ? "STRATA_CLOCK_AHEAD"
                                                : NULL;
    int r = __real_clock_gettime(id, t);
    t->tv_sec += seconds_in(of_one) + seconds_in("STRATA_PASSED");
    return r;
}
