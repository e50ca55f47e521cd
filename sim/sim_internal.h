/* sim_internal.h - shared by the files of the simulator.
 *   sim.c       worlds, random numbers, trace, memory of processes
 *   sim_proc.c  coroutines, scheduler, time, futexes
 *   sim_file.c  content of files: page cache, disk, flush, power loss
 *   sim_tree.c  names: directories, copies
 *   sim_env.c   struct st_env: scheduling points, injected trouble
 */
#ifndef SIM_SIM_INTERNAL_H
#define SIM_SIM_INTERNAL_H

#include "sim/sim.h"

#include <setjmp.h>
#include <ucontext.h>

#define SIM_FDS_MAX        64
#define SIM_STACK_SIZE     (512u * 1024)
#define SIM_TRACE_SIZE     4096u
#define SIM_KINDS_SIZE     16384u
#define SIM_INJECTIONS_MAX 16
#define SIM_SNAPSHOTS_MAX  24
#define SIM_MAPPED_SIZE    (64u * 1024)

/* One unflushed write within one page of the cache, or one change of the size. */
struct sim_op {
    uint64_t seq;
    uint64_t offset;
    uint32_t n;
    bool truncate;
    bool lost; /* a flush failed on it: nobody will write it unless its page gets dirty again */
    uint64_t size_after;
    uint8_t *data;
};

struct sim_bytes {
    uint8_t *p;
    size_t n, cap; /* bytes behind n up to cap are zero */
};

struct sim_inode;

struct sim_entry {
    char *name;
    struct sim_inode *inode;
};

struct sim_entries {
    struct sim_entry *p;
    size_t n, cap;
};

struct sim_inode {
    struct sim_inode *next;
    uint64_t number, birth_ns;
    bool directory;
    bool reached; /* scratch of the collector */
    uint32_t links, opens;
    /* files */
    struct sim_bytes cache, disk;
    struct sim_op *ops;
    size_t op_count, op_cap;
    bool mapped;
    struct sim_bytes snapshots[SIM_SNAPSHOTS_MAX];
    size_t snapshot_count;
    int wb_error;
    uint32_t wb_seq;
    bool wb_seen;
    bool full;                 /* the next write says ENOSPC */
    int lock_process, lock_fd; /* lock_fd 0: free */
    /* directories */
    struct sim_entries now, durable;
};

/* A directory operation that is not durable: clears (from, from_name), sets (to, to_name). */
struct sim_name_op {
    struct sim_inode *from, *to;
    char *from_name, *to_name;
    struct sim_inode *target;
};

struct sim_machine {
    bool used;
    uint64_t fs_id;
    uint8_t boot_id[16];
    uint64_t boot_at_ns;
    int64_t wall_shift_ms;
    uint64_t space;
    struct sim_inode *root, *inodes;
    struct sim_name_op *name_ops;
    size_t name_op_count, name_op_cap;
};

struct sim_fd {
    struct sim_inode *inode; /* NULL: free */
    bool writable;
    uint32_t wb_sample;
    char path[96];
};

enum sim_state { SIM_FREE, SIM_READY, SIM_BLOCKED, SIM_DEAD };

struct sim_block {
    struct sim_block *next, *prev;
    size_t size;
    int process;
};

/* Where a coroutine, or the scheduler, goes on. */
struct sim_context {
    ucontext_t start; /* until it has run for the first time */
    jmp_buf at;       /* from then on */
    bool entered;
};

struct sim_process {
    enum sim_state state;
    int machine;
    char name[24];
    void (*main)(struct sim *s, void *arg);
    void *arg;
    struct sim_context context;
    uint8_t *stack;
    struct sim_fd fds[SIM_FDS_MAX];
    uint64_t wake_ns;       /* BLOCKED: deadline */
    const uint32_t *futex;  /* BLOCKED on it; NULL: sleeping */
    uint64_t stopped_until; /* 0: not stopped */
    uint64_t priority;
    bool shielded;
    struct sim_block blocks; /* ring */
};

struct sim_event {
    uint64_t time_ns;
    int process;
    enum sim_call call;
    int64_t a, b, result;
    char text[56];
};

struct sim_armed {
    struct sim_injection what;
    uint64_t seen, hit;
    bool armed;
};

struct sim {
    uint64_t seed, rng[4];
    uint64_t now_ns;
    uint64_t seq;
    struct sim_machine machines[SIM_MACHINES_MAX];
    int machine;
    struct sim_process processes[SIM_PROCESSES_MAX + 1]; /* 0: the operator */
    int current;
    struct sim_context scheduler;
    int power_machine; /* -1, or the machine whose power went while a process was running */
    enum sim_loss power_loss;
    bool die_current; /* the current process is to be removed by the scheduler */
    uint32_t switch_mask;
    bool priorities;
    uint64_t priority_low;
    uint64_t calls_run; /* since sim_run began */
    struct sim_armed armed[SIM_INJECTIONS_MAX];
    size_t armed_count;
    struct sim_chaos chaos;
    struct sim_counts counts;
    uint8_t kinds[SIM_KINDS_SIZE];
    struct sim_event *trace;
    uint64_t trace_count;
    bool trace_live;
    struct st_env env;
    struct st_alloc alloc;
};

/* sim.c */
void *sim_memory(size_t n); /* zeroed, or abort */
void *sim_grow(void *p, size_t n);
void sim_trace_add(struct sim *s, enum sim_call call, const char *text, int64_t a, int64_t b,
                   int64_t result);
void sim_blocks_release(struct sim_process *p);
uint64_t sim_wall_ns(const struct sim *s, int machine);
size_t sim_blocks_count(const struct sim_process *p);

/* sim_proc.c */
void sim_process_end(struct sim *s, int process);
void sim_switch(struct sim *s); /* to the scheduler and back */
void sim_exit_current(struct sim *s) __attribute__((noreturn));
void sim_block(struct sim *s, const uint32_t *futex, uint64_t ns);
/* So many of those that sleep on it. */
void sim_wake(struct sim *s, int machine, const uint32_t *futex, int most);
void sim_machine_stop(struct sim *s, int machine);
void sim_stacks_release(void);

/* sim_file.c */
struct sim_inode *sim_inode_new(struct sim *s, int machine, bool directory);
void sim_inode_free(struct sim_inode *i);
int64_t sim_file_write(struct sim *s, int machine, struct sim_inode *i, const void *p, size_t n,
                       uint64_t offset);
void sim_file_truncate(struct sim *s, struct sim_inode *i, uint64_t size);
/* Everything written up to `seq` is on disk. */
void sim_file_flush(struct sim *s, struct sim_inode *i, uint64_t seq);
/* The disk refused what was written up to `seq`. */
void sim_file_flush_failed(struct sim *s, struct sim_inode *i, uint64_t seq, int error);
void *sim_file_map(struct sim *s, struct sim_inode *i, size_t size);
void sim_file_snapshot(struct sim *s, struct sim_inode *i);
void sim_file_power_loss(struct sim *s, struct sim_inode *i, enum sim_loss loss);
void sim_file_set_durable(struct sim_inode *i, const void *p, size_t n);
void sim_bytes_resize(struct sim_bytes *b, size_t n);
void sim_bytes_copy(struct sim_bytes *to, const struct sim_bytes *from);
void sim_ops_clear(struct sim_inode *i);

/* sim_tree.c */
void sim_tree_init(struct sim *s, int machine);
void sim_tree_free(struct sim *s, int machine);
/* NULL: none. */
struct sim_inode *sim_lookup(struct sim *s, int machine, const char *path);
/* The directory of path's last name, and that name; NULL when there is none. */
struct sim_inode *sim_parent(struct sim *s, int machine, const char *path, const char **name);
struct sim_inode *sim_entry_get(const struct sim_entries *e, const char *name);
int sim_name_create(struct sim *s, int machine, const char *path, bool directory,
                    struct sim_inode **out);
int sim_name_unlink(struct sim *s, int machine, const char *path);
int sim_name_rename(struct sim *s, int machine, const char *from, const char *to);
int sim_name_sync(struct sim *s, int machine, const char *path);
void sim_names_power_loss(struct sim *s, int machine, enum sim_loss loss);
void sim_collect(struct sim *s, int machine);

/* sim_env.c */
void sim_env_init(struct sim *s);
void sim_fd_close(struct sim *s, int process, int fd);

#endif
