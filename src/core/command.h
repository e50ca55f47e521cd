/*
 * command.h - one command of the strong layer as one operation of a record (record.h), and back.
 *
 *   {"op":"propose","t":1795472400123,"k":"deploy-42","h":"<32 hex>","c":"naked"}
 *
 * without spaces, keys in exactly this order; a field that is zero, false or empty is left out, and
 * each command has its own fields only (the table in command.c). The record's operation is an
 * ST_OP_UNKNOWN one for layer 1: kept, passed on, not applied. Agent and incarnation are the
 * record's; who decodes puts them in.
 *
 *   t   time_ms            k   key, name, pattern     n   token              h   parameters
 *   c   class              v   valid_until_ms         ap  needs_approval     oc  outcome
 *   l   kind of lease      to  takeover               sh  shared             q   quiescent
 *   ck  by_check           by  person                 ev  evidence           li  limit_ms
 *   su  successor          g   generation             p   position           f   forced
 *   al  alternative        ru  run
 *   d   deadline: "<16 hex clock>-<16 hex ns>-<16 hex term>" (nanoseconds since boot pass 2^53
 *       after 104 days)
 *   re  result: base64 (RFC 4648 section 4, with padding), because it may be any bytes
 *
 * Numbers are decimal and at most 2^53 - 1; flags are `true`. Strings are escaped as in record.h.
 *
 * Canonical form: the encoder's output is the only valid spelling; what decodes re-encodes to the
 * same bytes.
 */
#ifndef ST_CORE_COMMAND_H
#define ST_CORE_COMMAND_H

#include "core/ledger.h"

/* Decoded bytes and strings with escapes; reused from command to command. */
struct st_command_scratch {
    struct st_buf text;
};

void st_command_scratch_init(struct st_command_scratch *s, const struct st_alloc *alloc);
void st_command_scratch_release(struct st_command_scratch *s);

/* Whether the command has what its kind needs, nothing else, and is within all limits. ST_OK,
 * ST_INVALID, ST_LIMIT; *what then points at a static text that names the field. */
enum st_code st_command_check(const struct st_command *c, const char **what);

/* Appends the operation. ST_INVALID or ST_LIMIT (st_command_check), nothing appended;
 * ST_NO_MEMORY. */
enum st_code st_command_encode(const struct st_command *c, struct st_buf *out);

/*
 * `raw` is the whole operation with its braces. The command is lent: strings point into raw or into
 * the scratch, valid until the next decode with it. ST_OK; ST_NOT_FOUND: not a command of this
 * version; ST_DAMAGED: not canonical, or not valid; ST_NO_MEMORY.
 */
enum st_code st_command_decode(struct st_str raw, struct st_command_scratch *scratch,
                               struct st_command *out);

/* "propose", "lease-acquire"; "unknown" for anything else. */
const char *st_command_name(enum st_command_kind k);

#endif
