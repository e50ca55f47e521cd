/*
 * strong_internal.h - shared by the files of the strong layer, whatever the engine:
 *   strong.c  opening, submitting, applying, reading
 *   chain.c   positions and the head; reading the log
 *   move.c    comparing logs, following, sealing, going on
 *   due.c     deadlines: their rows, and what has expired
 *   run.c     executors
 *
 * Rows beside those of the ledger (core/ledger.h), in the order of the log:
 *   'N' ..                         positions and heads (chain.c)
 *   'D' clock ns kind token name   a deadline that counts; empty value
 */
#ifndef ST_STRONG_STRONG_INTERNAL_H
#define ST_STRONG_STRONG_INTERNAL_H

#include "core/command.h"
#include "store/log.h"
#include "store/shared.h"
#include "strong/strong.h"

/* Entries between two rows that say where one lies: as many are read in vain at the worst. */
#define ST_CHAIN_STEP 256u

struct st_strong {
    struct st_order *order; /* taken */
    const struct st_env *env;
    char run_dir[ST_PATH_SIZE]; /* "": none */
    uint64_t spare_run;         /* run.c: a file that serves again; 0: none */
    bool swept;                 /* run.c: this handle has looked for what others left */
    struct st_ledger ledger;
    struct st_command_scratch scratch, event_scratch;
    struct st_buf raw[ST_ENTRY_COMMANDS_MAX];
    struct st_buf key, value; /* of our own rows */
    struct st_buf names;      /* of what is due */
    bool looked;              /* for deadlines, since this handle was opened */
    struct st_fault fault;
};

/* Takes over the engine's fault. */
enum st_code st_strong_fail(struct st_strong *s, enum st_code code);
/* Encodes, orders, waits: without asking who decides, without expiries. */
enum st_code st_strong_order(struct st_strong *s, struct st_str agent, uint64_t incarnation,
                             struct st_command *commands, size_t count,
                             struct st_ledger_result *results);
/* ST_UNAVAILABLE, and the fault says who decides, if the log here names another place; else ST_OK.
 */
enum st_code st_strong_elsewhere(struct st_strong *s);

/* --- chain.c ---------------------------------------------------------------------------------- */

struct st_chain {
    uint64_t position;
    uint64_t head[2];
};
/* The last entry applied. */
enum st_code st_chain_read(struct st_strong *s, struct st_chain *out);
enum st_chain_mark { ST_CHAIN_PLAIN, ST_CHAIN_SEALS, ST_CHAIN_GOES_ON };
/* Adds an entry behind *c, and writes the rows. */
enum st_code st_chain_add(struct st_strong *s, struct st_chain *c, const struct st_entry *e,
                          enum st_chain_mark mark);
/* The head at a position that is here. Between begin and end. */
enum st_code st_chain_at(struct st_strong *s, uint64_t position, struct st_chain *out);
/* Visits the entries of the log after a position, without those behind a seal. Between begin and
 * end. */
enum st_code st_chain_each(struct st_strong *s, uint64_t after,
                           enum st_code (*visit)(void *arg, uint64_t position,
                                                 const struct st_entry *e),
                           void *arg);

/* --- due.c ------------------------------------------------------------------------------------ */

/* The deadlines of what a command is about, before it was applied. */
struct st_due_subject {
    char kind; /* 0: none */
    struct st_str name;
    uint64_t token; /* reservations */
    struct st_deadline deadlines[1 + ST_EARLIER_MAX];
    size_t count;
};
enum st_code st_due_before(struct st_strong *s, const struct st_command *c,
                           struct st_due_subject *out);
/* Brings the rows up to date after it was applied. */
enum st_code st_due_after(struct st_strong *s, const struct st_command *c,
                          const struct st_ledger_result *result, struct st_due_subject *subject);
/* What has expired by this place's clock, as commands (at most `max`). Their strings are lent until
 * the next call. */
enum st_code st_due_collect(struct st_strong *s, struct st_command *out, size_t max, size_t *count);

#endif
