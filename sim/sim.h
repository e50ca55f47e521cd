/*
 * sim.h - a deterministic simulator behind struct st_env (store/env.h).
 *
 * One OS thread; everything that happens follows from one seed. Simulated processes are
 * coroutines; every call into the environment is a place where the scheduler may switch to
 * another process, so whole protocols are interleaved at the granularity of system calls and
 * labelled points. Memory accesses between two calls are not interleaved.
 *
 * A machine has a file system, a wall clock, a boot id and a boot clock. Time is virtual: it
 * moves a little with every call and jumps to the next deadline when everybody sleeps.
 *
 * What a power loss leaves (SIM_LOSS_RANDOM; NONE keeps all that was written, ALL loses all that
 * was not flushed):
 *   file content   per 512-byte sector the content after any prefix of the unflushed writes to
 *                  that sector; now and then one sector is torn between two such versions
 *   file size      that of any moment since the last flush, whatever the content: a hole in the
 *                  file reads as zeroes
 *   directories    operations not covered by sync_directory are kept or lost one by one; one that
 *                  needs an earlier one on the same name is lost with it
 *   mapped files   per sector any of the last snapshots, taken at every call
 * A flush covers what was written when it began; others may write while it runs.
 *
 * A failed flush is Linux's: the pages that could not be written are marked clean and lose their
 * claim to be written again (until somebody writes to the same 4096-byte page), the page cache
 * keeps showing the new content (or, rarely, falls back to what is on disk), and the error is
 * reported once to each descriptor that was open, and to a descriptor opened later only if
 * nobody had seen it yet.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "core/base.h"
#include "store/env.h"

#include <stdio.h>

#define SIM_SECTOR_SIZE 512u
#define SIM_PAGE_SIZE   4096u

enum sim_call {
    SIM_OPEN,
    SIM_CLOSE,
    SIM_PREAD,
    SIM_PWRITE,
    SIM_FDATASYNC,
    SIM_FTRUNCATE,
    SIM_FSTAT,
    SIM_STAT,
    SIM_RENAME,
    SIM_UNLINK,
    SIM_MKDIR,
    SIM_SYNC_DIRECTORY,
    SIM_LIST,
    SIM_LOCK_TRY,
    SIM_UNLOCK,
    SIM_MAP,
    SIM_UNMAP,
    SIM_FUTEX_WAIT,
    SIM_FUTEX_WAKE,
    SIM_WALL_MS,
    SIM_BOOT_NS,
    SIM_SLEEP,
    SIM_RANDOM,
    SIM_BOOT_ID,
    SIM_PROCESS_ID,
    SIM_POINT,
    SIM_CALLS
};

enum sim_loss { SIM_LOSS_NONE, SIM_LOSS_ALL, SIM_LOSS_RANDOM };

/* What an injection does to the call that it hits. */
enum sim_act {
    SIM_FAIL,         /* the call returns `error`; ENOSPC first lets a part of a write through */
    SIM_FAIL_KILL,    /* the call fails, and the process dies before it sees that */
    SIM_KILL_BEFORE,  /* the process dies, the call never happened */
    SIM_KILL_DURING,  /* dies with a part of the write done; other calls: as BEFORE */
    SIM_KILL_AFTER,   /* the call happened, the process dies before it sees the result */
    SIM_POWER_BEFORE, /* the machine loses power */
    SIM_POWER_DURING,
    SIM_POWER_AFTER,
    SIM_STOP_BEFORE, /* SIGSTOP for stop_ns, then SIGCONT */
    SIM_STOP_AFTER,
    SIM_ACTS
};

struct sim_injection {
    enum sim_act act;
    uint64_t nth;     /* counted over the calls that match what follows, from 1; 0 as 1 */
    uint64_t repeat;  /* how many matching calls in a row are hit; 0 as 1 */
    uint32_t calls;   /* bit set of 1 << enum sim_call; 0: any */
    int process;      /* 0: any */
    const char *text; /* borrowed; part of the path or of the point's label; NULL: any */
    int error;        /* errno, positive */
    enum sim_loss loss;
    uint64_t stop_ns;
};

/* Random trouble: chances per million calls. */
struct sim_chaos {
    uint32_t fail;  /* a random call fails with EIO, ENOSPC, ENOMEM as it fits */
    uint32_t flush; /* a flush fails (in addition; per million flushes) */
    uint32_t kill;
    uint32_t stop;
    uint32_t power;
    uint64_t stop_ns_max;
};

struct sim;

struct sim *sim_new(uint64_t seed);
void sim_free(struct sim *s);
/* A new world in the same memory: cheaper than free and new. */
void sim_reset(struct sim *s, uint64_t seed);

/* The environment of whoever is running: the current process, or outside sim_run() the operator,
 * for whom nothing fails and nobody is scheduled. */
const struct st_env *sim_env(struct sim *s);
/* Memory that goes away with its process. */
const struct st_alloc *sim_alloc(struct sim *s);

uint64_t sim_random(struct sim *s);
uint64_t sim_below(struct sim *s, uint64_t n); /* 0 .. n-1; n > 0 */

/* --- machines ---------------------------------------------------------------------------- */

#define SIM_MACHINES_MAX 4

/* Machine 0 is there from the start. Returns its number. */
int sim_machine_add(struct sim *s);
/* Where the operator works, and where processes are started. */
void sim_machine_use(struct sim *s, int machine);
void sim_wall_shift(struct sim *s, int machine, int64_t ms);
/* Kills all processes of the machine, drops what was not durable, boots again. */
void sim_power_loss(struct sim *s, int machine, enum sim_loss loss);
/* Orderly: kills all processes, keeps everything, another boot id. */
void sim_reboot(struct sim *s, int machine);
/* Bytes that files may still grow by; UINT64_MAX: no end. */
void sim_space(struct sim *s, int machine, uint64_t bytes);

/* --- processes --------------------------------------------------------------------------- */

#define SIM_PROCESSES_MAX 64

/* Returns the process number, from 1. arg is borrowed. */
int sim_spawn(struct sim *s, const char *name, void (*main)(struct sim *s, void *arg), void *arg);
/* Runs until every process has ended. A power loss ends those of its machine. */
void sim_run(struct sim *s);
void sim_kill(struct sim *s, int process); /* from another process or the operator */
void sim_stop(struct sim *s, int process, uint64_t ns);
bool sim_alive(const struct sim *s, int process);
int sim_current(const struct sim *s); /* 0: the operator */
/* A scheduling point of the test's own. */
void sim_yield(struct sim *s);
/* Virtual time since the world began. */
uint64_t sim_now_ns(const struct sim *s);

/* --- trouble ----------------------------------------------------------------------------- */

/* Armed until it has hit or sim_injections_clear(). At most 16. Counting starts now. */
void sim_inject(struct sim *s, const struct sim_injection *i);
void sim_injections_clear(struct sim *s);
void sim_chaos_set(struct sim *s, const struct sim_chaos *c);
/* While true, nothing hits the current process (its bookkeeping). */
void sim_shield(struct sim *s, bool on);

struct sim_counts {
    uint64_t calls; /* of processes */
    uint64_t by_call[SIM_CALLS];
    uint64_t fails, kills, stops, powers, switches;
    uint64_t leaked_fds, leaked_blocks; /* by processes that ended in peace */
    uint64_t hits;                      /* of injections */
};
const struct sim_counts *sim_counts(const struct sim *s);
/* The kind of the n-th call of processes since sim_reset (from 1), for n up to the record's
 * size; SIM_CALLS when unknown. */
enum sim_call sim_call_kind(const struct sim *s, uint64_t n);
/* Whether the system could answer this call with this error. */
bool sim_call_can_fail(enum sim_call call, int error);
const char *sim_call_name(enum sim_call call);

/* --- the operator's tools ------------------------------------------------------------------ */

/* cp -r, made durable: new inodes, new birth times. `to` must not exist. Between machines when
 * they differ. */
void sim_copy_tree(struct sim *s, int from_machine, const char *from, int to_machine,
                   const char *to);
/* rm -r, durable. */
void sim_remove_tree(struct sim *s, int machine, const char *path);
/* As rsync -a --delete does it: `to` becomes what `from` is; directories that exist keep their
 * inodes, files are replaced by new ones when content differs. Durable. */
void sim_restore_in_place(struct sim *s, int machine, const char *from, const char *to);
/* As above, but files are overwritten where they are (cp -r from/. to). */
void sim_overwrite_in_place(struct sim *s, int machine, const char *from, const char *to);
/* Content as processes see it; false when there is no such file. Lent until the next call. */
bool sim_file(struct sim *s, int machine, const char *path, const uint8_t **p, size_t *n);
/* The content that would be there after the loss of everything not flushed. */
bool sim_file_durable(struct sim *s, int machine, const char *path, const uint8_t **p, size_t *n);
/* Flips bits of one byte, in the page cache and on disk: rot. */
void sim_rot(struct sim *s, int machine, const char *path, uint64_t offset, uint8_t mask);
/* Cuts or writes a file's bytes in cache and on disk. */
void sim_write_durable(struct sim *s, int machine, const char *path, const void *p, size_t n);
/* Prints the tree with sizes. */
void sim_tree_print(struct sim *s, int machine, FILE *out);
/* Makes everything durable (sync). */
void sim_sync(struct sim *s, int machine);

/* Prints the last events: 60, or as many as the environment variable SIM_TRACE_LINES says. */
void sim_trace_print(const struct sim *s, FILE *out);
/* Prints every event as it happens. */
void sim_trace_live(struct sim *s, bool on);
/* Prints message, seed and trace, and aborts: for what must not happen. */
void sim_die(const struct sim *s, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));

#endif
