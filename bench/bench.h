/*
 * bench.h - what the measuring programs share: processes that all begin at one moment, work for
 * a given time and count, and small helpers. Nothing here is part of the product.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stdint.h>

/* Set by the parent when the time is over. */
bool bench_over(void);

/*
 * Forks `count` processes. Each calls prepare(number), waits for the common start and calls
 * once() until the time is over. Returns calls per second of all together. `arg` is shared as
 * fork() shares it. Any failure ends the program with a message.
 */
double bench_rate(int count, uint32_t ms, void (*prepare)(void *arg, int number),
                  void (*once)(void *arg), void *arg);

uint64_t bench_now_ns(void);
void bench_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* Memory that forked processes share, zeroed. */
void *bench_shared(unsigned long size);
/* The middle one; sorts. */
double bench_median(double *values, int count);

#endif
