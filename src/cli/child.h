/*
 * child.h - running a command and keeping what it prints, for `once`.
 *
 * The child gets a process group of its own, standard input only if that is no terminal, and one
 * descriptor that stays open in all its descendants. Its output is passed on and kept, both up to
 * CHILD_KEEP_MAX bytes. With a term it has a guardian (guard.h).
 */
#ifndef ST_CLI_CHILD_H
#define ST_CLI_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Kept of standard output, and of standard error. Bytes: together they fit one result. */
#define CHILD_KEEP_MAX (63u * 1024)

/* Between asking a child to end and ending it. Milliseconds: enough to remove a temporary file. */
#define CHILD_GRACE_MS 5000

struct child {
    /* in */
    char **argv;                    /* borrowed; ends with NULL */
    const char *const *environment; /* NAME=VALUE to add; ends with NULL */
    const char *dir;                /* where it runs; NULL: here */
    int inherit_fd;                 /* stays open in the child; -1: none */
    uint64_t timeout_ms;            /* 0: none */
    /* called about every tick_ms while the child runs; 0: never. Non-zero ends the child. */
    int (*tick)(void *arg);
    void *tick_arg;
    uint64_t tick_ms;
    /* The command must not outlive a term: *until_ms (borrowed) is child_term_end() of it, and is
     * looked at after every tick. NULL: there is none. */
    const uint64_t *until_ms;
    uint64_t term_ms;
    bool silent; /* with keep: do not pass it on */
    bool keep;   /* keep the output (else it goes straight through) */
    /* out */
    bool started; /* the program was executed; else `error` tells why not */
    int error;    /* errno of a failed execution */
    int status;   /* exit status, 128 + signal when it was killed */
    int signal;   /* that killed it; 0: it ended by itself */
    int told;     /* a signal to end that was passed on to it; 0: none */
    bool timed_out, ended_by_tick;
    char *out, *err; /* owned by the struct; NULL: nothing */
    size_t out_size, err_size;
    bool cut; /* more was printed than kept */
};

/* For a term that the command is not to outlive. Milliseconds on CLOCK_BOOTTIME. */
uint64_t child_now_ms(void);
/* When a command has to be asked to end: a tenth before the end of a term, which is counted from
 * before it was asked for. Most of the tenth is its grace. */
uint64_t child_term_end(uint64_t asked_ms, uint64_t term_ms);

/* Whether `program` can be executed (looks along PATH). 0 or an errno value. */
int child_check(const char *program);
/* Runs it to its end. False: it could not be started at all (out of processes, ...). */
bool child_run(struct child *c);
void child_release(struct child *c);

#endif
