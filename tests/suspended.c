/*
 * suspended.c - linked into the program with --wrap=clock_gettime: the machine was suspended for as many
 * seconds as the file STRATA_SUSPENDED says, which may change while the program runs. CLOCK_BOOTTIME
 * counts them and CLOCK_MONOTONIC does not, as in time_namespaces(7) and clock_gettime(2). In the same way the
 * file STRATA_CLOCK_AHEAD says how far CLOCK_REALTIME is wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
    const char *path = id == CLOCK_BOOTTIME   ? getenv("STRATA_SUSPENDED")
                       : id == CLOCK_REALTIME ? getenv("STRATA_CLOCK_AHEAD")
                                              : NULL;
    FILE *file = path != NULL ? fopen(path, "re") : NULL;
    long more = 0;
    if (file != NULL) {
        if (fscanf(file, "%ld", &more) != 1)
            more = 0;
        (void)fclose(file);
    }
    int r = __real_clock_gettime(id, t);
    t->tv_sec += more;
    return r;
}
