/*
 * order.h - what the strong layer needs of an engine: one totally ordered, durable log of entries.
 *
 * An entry carries the commands of one caller: all of them are ordered, next to each other, or none
 * is. The engine knows nothing of what they mean. It gives every entry, in the order of the log and
 * once, to the machine above it, which keeps its rows in a store that the engine supplies; the same
 * log gives the same rows and the same results everywhere. So an engine may apply an entry as often
 * as it likes, in one process or in many, to a store that it has thrown away and begun anew.
 *
 * What an engine is asked for:
 *   - decides: may this place order anything? Roles are the engine's: a file that names a directory,
 *     an elected leader, a lease in etcd. Asked before an append, and not only once.
 *   - append: orders an entry; it may be lost yet. ST_OUTCOME_UNKNOWN, ST_TIMEOUT: it may be ordered
 *     all the same (a leader that lost its office, a connection that broke). Every other code: it
 *     is not, and never will be.
 *   - wait: until what the mark names is durable. ST_OUTCOME_UNKNOWN, ST_TIMEOUT.
 *   - answer: until it is applied; the results of its commands. Whether they may leave the process is
 *     for wait() to say. ST_OUTCOME_UNKNOWN: it is applied, the results are gone.
 *   - tail: the last entry ordered so far.
 *   - begin: a read of the rows as they are after everything ordered before the call, and perhaps
 *     after more. *at is what they are made of: they may leave the process when that is durable.
 *   - at_hand: a read of the rows as they are, however old; it waits for nobody.
 *   - end: ends either.
 *   - each: entries in order, from a place (st_entry) on; 0: from the first. Between begin and end.
 *   - clock: the clock that deadlines of this place are on: which one, and what it says. A deadline
 *     on another clock cannot be compared (another boot, another time name space; for a cluster:
 *     another leader).
 *   - take: this place decides from now on. Who may call it: st_strong_force(), st_strong_accept().
 *   - give_up: it does not any more.
 *   - hold: nobody else takes this place, or writes its copy, until release(). ST_UNAVAILABLE: not to
 *     be had in time.
 *   - place: a name for this place that no copy of it has, for a seal to name.
 *   - close: frees everything.
 *
 * NULL is allowed for none of them. Codes other than ST_OK leave their text in order->fault. A
 * handle is for one thread; many handles, in many processes, may stand on one log.
 */
#ifndef ST_STRONG_ORDER_H
#define ST_STRONG_ORDER_H

#include "core/ledger.h"
#include "store/fault.h"

/* Commands of one entry: expiries of deadlines that have passed, then what the caller wants. */
#define ST_ENTRY_COMMANDS_MAX 48

/* A place's name: a name for people and what tells it from its copies. Bytes with the NUL. */
#define ST_PLACE_SIZE 96

struct st_entry {
    struct st_str agent;
    uint64_t incarnation;
    const struct st_str *commands; /* core/command.h */
    size_t count;                  /* 1 to ST_ENTRY_COMMANDS_MAX */
    uint64_t place;                /* set by the engine: where it lies, for each(); never 0 */
    /* Set by each(), of each command, for as long as the engine remembers; else NULL. */
    const struct st_ledger_result *results;
};

/* Names one entry of one log for as long as somebody waits for it. number 0: none. */
struct st_mark {
    uint64_t epoch, number;
};

/* What is known of the nearest deadline on one clock: a lower bound, shared by all who use the log
 * on this machine, so that nobody has to look when none can have passed. Both are changed with
 * atomic operations only. */
struct st_due {
    uint64_t clock; /* one that nobody has, or 0: nothing is known */
    uint64_t ns;    /* no deadline on that clock is earlier */
};

struct st_order_machine {
    /* Applies an entry to the rows; fills one result for each command. Deterministic. ST_OK, or
     * the store failed or is damaged: the engine rolls back. */
    enum st_code (*apply)(void *ctx, const struct st_entry *e, struct st_ledger_result *results);
    void *ctx;
};

struct st_order_engine;

struct st_order {
    const struct st_order_engine *engine;
    const struct st_kv *kv;          /* the rows; valid between begin and end, and in apply() */
    struct st_due *due;              /* lent for the life of the handle */
    uint64_t *looked;                /* the same: for st_strong_looked(); may be NULL */
    struct st_order_machine machine; /* set by who stands on it, before anything else is called */
    struct st_fault fault;
};

struct st_order_engine {
    const char *name; /* "file" */
    enum st_code (*decides)(struct st_order *o);
    enum st_code (*append)(struct st_order *o, const struct st_entry *e, struct st_mark *mark);
    enum st_code (*wait)(struct st_order *o, struct st_mark mark);
    enum st_code (*answer)(struct st_order *o, struct st_mark mark,
                           struct st_ledger_result *results, size_t count);
    enum st_code (*tail)(struct st_order *o, struct st_mark *out);
    enum st_code (*begin)(struct st_order *o, struct st_mark *at);
    enum st_code (*at_hand)(struct st_order *o);
    void (*end)(struct st_order *o);
    /* `visit` returns ST_SCAN_STOP to end it early, which is then ST_OK. What it is shown is lent
     * for the call. */
    enum st_code (*each)(struct st_order *o, uint64_t place,
                         enum st_code (*visit)(void *arg, const struct st_entry *e), void *arg);
    enum st_code (*anew)(struct st_order *o);
    void (*clock)(struct st_order *o, uint64_t *clock, uint64_t *ns);
    uint64_t (*wall_ms)(struct st_order *o);
    enum st_code (*take)(struct st_order *o, const char *by);
    enum st_code (*give_up)(struct st_order *o);
    enum st_code (*hold)(struct st_order *o);
    void (*release)(struct st_order *o);
    uint64_t (*workspace)(struct st_order *o);
    enum st_code (*join)(struct st_order *o, uint64_t workspace);
    void (*place)(struct st_order *o, char out[ST_PLACE_SIZE]);
    void (*close)(struct st_order *o);
};

#endif
