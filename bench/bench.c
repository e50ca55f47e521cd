/* bench.c - see bench.h. */
#include "bench.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct race {
    uint32_t ready, go, over;
    uint64_t counts[]; /* a cache line each */
};
#define COUNT_STEP 8

static struct race *race;

uint64_t bench_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void bench_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "%s%s\n", errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
    exit(1);
}

void *bench_shared(unsigned long size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        bench_die("mmap");
    return p;
}

bool bench_over(void)
{
    return __atomic_load_n(&race->over, __ATOMIC_RELAXED) != 0;
}

static void sleep_ms(uint32_t ms)
{
    struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

static void run_one(int number, void (*prepare)(void *, int), void (*once)(void *), void *arg)
{
    prepare(arg, number);
    __atomic_add_fetch(&race->ready, 1u, __ATOMIC_SEQ_CST);
    /* Asleep: many that look at a clock would take the processors from those that are not ready. */
    while (__atomic_load_n(&race->go, __ATOMIC_SEQ_CST) == 0)
        syscall(SYS_futex, &race->go, FUTEX_WAIT, 0, NULL, NULL, 0);
    uint64_t n = 0;
    for (; !bench_over(); n++)
        once(arg);
    race->counts[number * COUNT_STEP] = n;
    _exit(0);
}

double bench_rate(int count, uint32_t ms, void (*prepare)(void *arg, int number),
                  void (*once)(void *arg), void *arg)
{
    unsigned long size = sizeof *race + (unsigned long)count * COUNT_STEP * sizeof(uint64_t);
    race = bench_shared(size);
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child < 0)
            bench_die("fork");
        if (child == 0)
            run_one(i, prepare, once, arg);
    }
    while (__atomic_load_n(&race->ready, __ATOMIC_SEQ_CST) < (uint32_t)count) {
        int status;
        if (waitpid(-1, &status, WNOHANG) > 0)
            bench_die("a process ended before the start");
        sleep_ms(1);
    }
    uint64_t start = bench_now_ns();
    __atomic_store_n(&race->go, 1u, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &race->go, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    sleep_ms(ms);
    __atomic_store_n(&race->over, 1u, __ATOMIC_SEQ_CST);
    uint64_t end = bench_now_ns(), sum = 0;
    for (int i = 0; i < count; i++) {
        int status;
        if (wait(&status) < 0 || status != 0)
            bench_die("a process failed");
    }
    for (int i = 0; i < count; i++)
        sum += race->counts[i * COUNT_STEP];
    munmap(race, size);
    return (double)sum * 1e9 / (double)(end - start);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return values[count / 2];
}
