/*
 * mend.h - a log that went two ways under one name, and the way back to one.
 *
 * A state is put back to an earlier moment in place (the snapshot of a machine), so that nothing
 * here tells, and written to. Then two lives have given the same counters to different records: one
 * is published and stays true for everybody, the other is here only. The second one's records are
 * written again, in their order, as the beginning of a new epoch:
 *
 *   - The epoch's first record names what they had seen before they went their own way. So they
 *     supersede exactly what they superseded, and are concurrent with what was published.
 *   - Time, agent, incarnation, values are as they were. What names one of their own dots ("at",
 *     "read", "ack") names the new one. An operation of a later version of Strata is kept as it is.
 *   - A number that both lives may have given to a task gets the new epoch's suffix.
 *   - Where the forked life saw a reboot, or anything else that begins an epoch, the epochs after
 *     the fork are written again, too, as long as nothing of them was published.
 *
 * Nothing is mended when a record of another replica that was taken in since needs one that was
 * published: which of the two it has seen is not known here any more. Then, as with all other
 * forks, both logs stay as they are, and it is told.
 *
 * In this order, under the append lock:
 *
 *   try it without writing anything             flush, freeze the page
 *   <state>/mend: what is to be done            the new epoch's segments, flushed
 *   identity                                    the forked records, moved to quarantine
 *   marks and renderings, which name dots       <state>/mended; away with <state>/mend; the page
 *
 * Whoever finds a page that is frozen or not of the identity looks for <state>/mend first and does
 * the rest, from the same records to the same bytes. Before it is there nothing has happened.
 *
 *   strata-mend 1 <epoch, hex> <numbers above> <numbers up to> <lines that follow>
 *   <replica> <epoch> <keep> <end>              records after `keep`, up to `end`, move
 *
 * <state>/mended has a line <replica> <epoch> <keep> for each log that was cut: a dot behind it that
 * somebody remembers is now another record, or none.
 */
#ifndef ST_STORE_MEND_H
#define ST_STORE_MEND_H

#include "store/log.h"

/* Epochs of one forked life: reboots between a restore and the next sync. */
#define ST_MEND_LOGS_MAX 64

struct st_mended {
    uint64_t records;                    /* written again; 0: nothing was forked */
    uint64_t number_low;                 /* tasks above this number... */
    uint64_t number_high;                /* ...and up to this one got another name; equal: none */
    char suffix[ST_SUFFIX_SIZE_MAX + 1]; /* behind it */
};

/*
 * `published`: a directory with `log`, laid out as in a state directory, that holds what was
 * published of this replica; whole, where it is not as here. On ST_OK with out->records 0 nothing
 * was changed. The intake lock is held, the append lock is not.
 */
enum st_code st_mend(struct st_log *log, const char *published, struct st_mended *out);

/* Whether a state directory is in the middle of it: its logs are not to be read. */
bool st_mend_under_way(const struct st_env *env, const char *state_dir);

/* Whether a dot that was remembered before the current epoch began names what it named. */
bool st_mend_keeps(const struct st_log *log, struct st_dot dot);

#endif
