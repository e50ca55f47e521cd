/* coordinator.c - which copy decides, and moving that. */
#include "lib/strong.h"

#include <stdio.h>

int strata_coordinator_get(strata *s, strata_coordinator *out)
{
    struct st_head head;
    struct st_tail tail;
    memset(out, 0, sizeof *out);
    int code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (st_strong_tail(s->strong, &tail) != ST_OK || st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code got = st_head_read(st_strong_ledger(s->strong), &head);
    out->doubt = got == ST_OK && head.doubt != 0;
    out->generation = got == ST_OK ? head.generation : 0;
    st_strong_end(s->strong);
    if (got != ST_OK)
        return st_lib_fail(s, got, "the ledger cannot be read");
    out->here = st_strong_here(s->strong);
    out->position = tail.counter;
    snprintf(out->head, sizeof out->head, "%016llx", (unsigned long long)tail.checksum);
    return STRATA_OK;
}

int strata_coordinator_force(strata *s, const char *person, const char *reason)
{
    int code = st_lib_text_check(s, "name of the person", person, true);
    if (code == STRATA_OK)
        code = st_lib_text_check(s, "reason", reason, true);
    if (code != STRATA_OK)
        return code;
    struct st_fault fault = {0};
    if (!s->log.read_only &&
        st_strong_found(s->log.env, s->log.alloc, s->log.dir, s->log.identity.workspace,
                        s->log.identity.name, false, &fault) != ST_OK)
        return st_lib_fault(s, &fault);
    code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    return st_strong_force(s->strong, person, reason) == ST_OK ? STRATA_OK : st_lib_strong_fault(s);
}
