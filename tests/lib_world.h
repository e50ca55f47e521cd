/*
 * lib_world.h - workspaces for the tests of the library: real directories, real processes, the
 * real library. Only the wall clock and the boot id can be moved: the test programs are linked with
 * --wrap=st_env_posix, and the wrapped table adds `world_clock_ms` and changes the boot id by
 * `world_boot`. It can also kill the process in the middle of a change to the file system.
 *
 * Replicas have one-word names; each lives in <temporary directory>/<name>/.strata. A helper that
 * cannot do its work fails the test.
 */
#ifndef TEST_LIB_WORLD_H
#define TEST_LIB_WORLD_H

#include "strata.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

extern int64_t world_clock_ms;    /* added to the wall clock */
extern uint8_t world_boot;        /* another value: another boot */
extern uint64_t world_term_ms;    /* added to the clock of terms (CLOCK_BOOTTIME) */
extern uint64_t world_time_space; /* another value: another clock of terms */
extern uint64_t world_strike;     /* the process kills itself at this change from now; 0: never */
/* Of the files written through st_env, how many others were not flushed at the last write. */
extern uint64_t world_unflushed;
void world_forget_writes(void);
/* How many files that were written through st_env are not flushed now. */
uint64_t world_dirty(void);

/*
 * Power. From world_power_watch() on it is noted, for the state of one replica and whoever writes it,
 * what has been flushed: contents of files at each fdatasync, names at each sync_directory. What
 * world_power_fail() leaves is that and nothing else, but for what is rebuilt (index, shared pages):
 * that stays, or with lose_index goes. Another boot follows.
 */
void world_power_watch(const char *name);
void world_power_fail(const char *name, bool lose_index);

/* Called when a file is about to be exchanged with a new one: to write it in between; and when one is
 * about to be renamed. */
extern void (*world_before_exchange)(const char *path);
extern void (*world_before_rename)(const char *from);
/* Called at the labelled points of the log (store/env.h); its locks may be held. */
extern void (*world_at_point)(const char *label);
/* The next write finds the disk full ten bytes before its end; this is called when it has written the rest. */
extern void (*world_at_full_disk)(void);

int world_setup(void **state);
int world_teardown(void **state);

/* <temporary directory>/<name>, <...>/<name>/.strata/<file>; lent until some calls later. */
const char *world_path(const char *name);
const char *world_file(const char *name, const char *file);
/* Runs a shell command, formatted, in the temporary directory; it has to succeed. */
__attribute__((format(printf, 1, 2))) void world_run(const char *format, ...);

void world_init(const char *name);
strata *world_open(const char *name, const char *agent);
/* As one of several starts of an agent; 0: it does not say which. */
strata *world_open_life(const char *name, const char *agent, uint64_t incarnation);
/* Fails the test with the handle's message unless code is as wanted. */
void world_code(strata *s, int code, int wanted, const char *file, int line);
#define expect_code(s, call, wanted) world_code((s), (call), (wanted), __FILE__, __LINE__)
#define ok(s, call)                  expect_code(s, call, STRATA_OK)

int world_write(strata *s, int kind, const char *entity, const char *attribute, const char *value,
                strata_written *written);
void world_set(strata *s, const char *entity, const char *attribute, const char *value);
/* The total of the counter "written" in a replica. */
int64_t world_counted(const char *name);
/* The shown value; "" when there is none. Lent until some calls later. */
const char *world_get(strata *s, const char *entity, const char *attribute);
void world_shows(strata *s, const char *entity, const char *attribute, const char *value);
/* Status, digest, totals of a replica through a new handle. */
void world_status(const char *name, strata_status *out);
void world_digest(const char *name, char out[33]);
void world_same_digest(const char *a, const char *b);
void world_replica(const char *name, char id[17]);
size_t world_pending(strata *s, int kind, strata_pending *first);
/* `to` takes in what `from` has; returns how many records. */
uint64_t world_merge(const char *to, const char *from);

/* The digest of a replica's index after it was thrown away and built again. */
void world_rebuilt_digest(const char *name, char out[33]);
/* Reads every log of these replicas: no dot may stand for two records, in one or in several. */
void world_dots_are_unique(const char *const *names, size_t count);
/* How many records there are in all logs of a replica, and how many writers (epochs). */
uint64_t world_records(const char *name, size_t *writers);

/* Notices of a handle that contain a text; all are consumed. */
size_t world_notices(strata *s, const char *text);

/* Runs `run(arg, i)` in `count` processes at once; each has to return 0. */
void world_processes(size_t count, int (*run)(void *arg, size_t i), void *arg);
/* Runs fn in a process that kills itself at change `strike`, or is killed after `after_us`; 0: not.
 * True if it was killed. A failure of its own fails the test. */
bool world_killed(void (*fn)(void), uint64_t strike, unsigned after_us);
/* A process that calls `hold` and then stops (SIGSTOP); returns when it has stopped. */
int world_stopped(void (*hold)(void *arg), void *arg);
/* Lets it go on and end. */
void world_continue(int process);

uint64_t world_random(uint64_t *x);

#endif
