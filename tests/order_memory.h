/*
 * order_memory.h - a second engine (src/strong/order.h), in memory, for the tests: a list of
 * entries and the ledger over memkv. Many handles, one for each thread, stand on one place. Entries
 * are durable only when somebody flushed: memory_crash() loses what was not, and all rows.
 */
#ifndef ORDER_MEMORY_H
#define ORDER_MEMORY_H

#include "strong/order.h"

struct memory_place;

struct memory_place *memory_place_new(const char *name, bool decides);
void memory_place_free(struct memory_place *p);
struct st_order *memory_open(struct memory_place *p);
/* Entries that are ordered. */
size_t memory_entries(struct memory_place *p);
/* The power fails: what was not flushed is gone. Nobody may be at work. */
void memory_crash(struct memory_place *p);
/* The rows are thrown away; they are made anew from the log. */
void memory_forget(struct memory_place *p);
/* The clock of this place. */
void memory_clock(struct memory_place *p, uint64_t clock, uint64_t ns);
/* Whether wait() flushes. False: the disk has stopped; wait() says ST_TIMEOUT. */
void memory_disk(struct memory_place *p, bool works);

#endif
