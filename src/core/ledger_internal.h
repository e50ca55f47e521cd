/*
 * ledger_internal.h - what the files of the ledger share:
 *   ledger.c       one command: the head, who may still speak, dispatch, prune, moves
 *   operation.c    the table of ledger.h: one operation, one command
 *   lease.c        leases and reservations
 *   claim.c        what claims have beside that: checkpoints, outcomes, the outbox
 *   ledger_rows.c  rows, and reading them
 */
#ifndef ST_CORE_LEDGER_INTERNAL_H
#define ST_CORE_LEDGER_INTERNAL_H

#include "core/ledger.h"
#include "core/state_internal.h"

/* The next token; 0 when this generation has none left. */
uint64_t st_head_token(struct st_head *h);

/* --- rows ------------------------------------------------------------------------------------- */

/* The head's successor is copied into l->list by nobody: it is lent until the next call. */
enum st_code st_head_write(struct st_ledger *l, const struct st_head *h);

/* Strings of `o` may be lent by the store: they are encoded before it is called. `was` is the
 * state in the index, NONE for a new row. */
enum st_code st_operation_write(struct st_ledger *l, const struct st_operation *o,
                                enum st_operation_state was);
/* Leaves the 'K' row. */
enum st_code st_operation_prune(struct st_ledger *l, struct st_str key,
                                enum st_operation_state state, uint64_t ended_ms);

enum st_code st_lease_write(struct st_ledger *l, const struct st_lease *lease);
enum st_code st_reservation_read(struct st_ledger *l, struct st_str pattern, uint64_t token,
                                 struct st_lease *out);
enum st_code st_reservation_delete(struct st_ledger *l, struct st_str pattern, uint64_t token);

/* A clearance of this generation: *found, and who and on what evidence (lent). */
enum st_code st_clear_read(struct st_ledger *l, struct st_str key, uint64_t generation, bool *found,
                           struct st_str *person, struct st_str *evidence);
enum st_code st_clear_write(struct st_ledger *l, struct st_str key, uint64_t generation,
                            const struct st_command *c);
enum st_code st_clear_delete(struct st_ledger *l, struct st_str key);

enum st_code st_claim_kept_write(struct st_ledger *l, struct st_str name,
                                 const struct st_claim_kept *kept);
/* The outbox: a name at a position, and gone again. */
enum st_code st_claim_note_write(struct st_ledger *l, uint64_t position, struct st_str name);
enum st_code st_claim_note_delete(struct st_ledger *l, uint64_t position);

/* --- deadlines -------------------------------------------------------------------------------- */

void st_deadline_set(struct st_deadline *newest, struct st_deadline *earlier, struct st_deadline d);
/* False: that clock has one already, or there is no deadline at all. */
bool st_deadline_rearm(struct st_deadline *newest, struct st_deadline *earlier,
                       struct st_deadline d);
/* Whether d, if it names one, is among those that count. */
bool st_deadline_known(const struct st_deadline *newest, const struct st_deadline *earlier,
                       struct st_deadline d);

/* --- steps ------------------------------------------------------------------------------------ */

/* The table: DONE means that *o and *h have changed, anything else that they have not. Strings of
 * the command may now be in *o. */
enum st_verdict st_operation_step(struct st_head *h, const struct st_command *c,
                                  struct st_operation *o);
/* What a propose of an unknown key makes. */
void st_operation_new(const struct st_head *h, const struct st_command *c, bool in_doubt,
                      struct st_operation *o);
/* After a forced move: what the lost part may have done to it. */
void st_operation_doubt(const struct st_head *h, struct st_operation *o);

/* checkpoint, finish, reopen: of the claim as it was read (known false: it never was given out). */
enum st_code st_claim_apply(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                            struct st_lease *lease, bool known, struct st_ledger_result *out);
enum st_code st_claim_copied(struct st_ledger *l, const struct st_head *h,
                             const struct st_command *c, struct st_ledger_result *out);

enum st_code st_lease_apply(struct st_ledger *l, struct st_head *h, const struct st_command *c,
                            struct st_ledger_result *out);

#endif
