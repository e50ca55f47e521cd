/*
 * guard.h - the guardian of a command that must not outlive a term: it ends it also when the
 * wrapper cannot, as it was killed, is stopped, or waits for a disk.
 *
 * It is a process in a session of its own, so that what is sent to the wrapper, or to its group,
 * does not reach it. Before the term ends, or when the wrapper has died, it asks the command's
 * process group to end, and then ends it. Descendants that left the group are beyond its reach: they
 * see a token that is no longer current.
 *
 * All times are milliseconds on CLOCK_BOOTTIME, which counts suspend.
 */
#ifndef ST_CLI_GUARD_H
#define ST_CLI_GUARD_H

#include <stdint.h>
#include <sys/types.h>

struct guard {
    pid_t pid; /* of the guardian */
    int fd;    /* to it; its end tells that the wrapper has died */
};

/* The group is asked to end at until_ms, and has grace_ms from then on. -1 and errno. */
int guard_start(struct guard *g, pid_t group, uint64_t until_ms, uint64_t grace_ms);
void guard_extend(struct guard *g, uint64_t until_ms);
/* The command has ended. */
void guard_end(struct guard *g);

#endif
