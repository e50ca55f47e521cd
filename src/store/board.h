/*
 * board.h - heartbeats: one slot per agent, the latest (time, replica) wins. Not in the log:
 * eight agents beating every five seconds would write 138,000 records a day.
 *
 * A slot is the file <state>/board/<agent>: one line
 *   <time ms> <replica, 16 hex> <incarnation, 16 hex> <checksum of the line so far, 16 hex>\n
 * written in place with one call. A line that does not verify (a write in progress, a power cut)
 * counts as no slot. Slots travel between replicas as they are, the agent's name in front.
 */
#ifndef ST_STORE_BOARD_H
#define ST_STORE_BOARD_H

#include "store/log.h"

struct st_slot {
    char agent[ST_AGENT_SIZE_MAX + 1];
    uint64_t time_ms; /* wall clock of the machine where it beat */
    uint64_t replica;
    uint64_t incarnation;
};

/* The line of a slot, with its newline; and back: false when it does not verify. The agent is not in it. */
#define ST_SLOT_LINE_SIZE 80
size_t st_slot_format(const struct st_slot *slot, char line[ST_SLOT_LINE_SIZE]);
bool st_slot_parse(const char *line, size_t n, struct st_slot *slot);

/* Writes the slot unless a later one is there. `fd`: kept open between beats of one handle, -1 at
 * first; the caller closes it. */
enum st_code st_board_beat(struct st_log *log, const struct st_slot *slot, int *fd);
/* Visits all slots of a state directory, in no order. */
enum st_code st_board_each(const struct st_env *env, const char *state_dir,
                           void (*visit)(void *arg, const struct st_slot *slot), void *arg,
                           struct st_fault *fault);

#endif
