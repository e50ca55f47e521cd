/* coordinator.c - which copy decides, and moving that. */
#include "lib/strong.h"

#include <stdio.h>

int strata_coordinator_get(strata *s, strata_coordinator *out)
{
    struct st_strong_head head;
    memset(out, 0, sizeof *out);
    int code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (st_strong_head(s->strong, &head) != ST_OK)
        return st_lib_strong_fault(s);
    out->here = st_strong_here(s->strong) && !head.sealed;
    out->doubt = head.doubt;
    out->generation = head.generation;
    out->position = head.position;
    out->sealed = head.sealed;
    memcpy(out->head, head.head, sizeof out->head);
    snprintf(out->successor, sizeof out->successor, "%s", head.successor);
    snprintf(out->place, sizeof out->place, "%s", head.place);
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
