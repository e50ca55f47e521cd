/*
 * claims_look.h - what claims.c, which takes and ends claims, needs of claims_look.c, which reads them.
 */
#ifndef ST_LIB_CLAIMS_LOOK_H
#define ST_LIB_CLAIMS_LOOK_H

#include "lib/claims.h"
#include "lib/strong.h"

/* An entry of the ordered log in the making. */
struct st_claim_entry {
    struct st_command commands[ST_ENTRY_COMMANDS_MAX];
    struct st_ledger_result results[ST_ENTRY_COMMANDS_MAX];
    size_t count;
};

int st_claim_name_check(strata *s, const char *name, uint64_t term_ms);
/* Reads one lease between begin and end; adds to the entry (may be NULL) what has to be written down first. */
enum st_code st_claim_look_one(strata *s, const char *name, struct st_claim *out,
                               struct st_claim_entry *e);
/* The same of several, with begin and end. */
int st_claim_look_all(strata *s, const char *const *names, size_t count, struct st_claim *out,
                      struct st_claim_entry *e);

#endif
