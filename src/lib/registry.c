/*
 * registry.c - the registry of agents: a lease of the agent's name, whose token is its incarnation.
 * It lasts an hour and is extended, like claims, by whatever the agent does (touch.c).
 */
#include "lib/claims.h"

#include "lib/strong.h"

#include <stdio.h>

static int need_agent(strata *s)
{
    return s->agent[0] != '\0' ? STRATA_OK
                               : st_lib_fail(s, ST_USAGE, "the handle has no agent to register");
}

static int read_lease(strata *s, struct st_lease *lease)
{
    int code = st_lib_strong_begin(s);
    if (code != STRATA_OK)
        return code;
    enum st_code got =
        st_lease_read(st_strong_ledger(s->strong), ST_LEASE_AGENT, st_str_of(s->agent), lease);
    lease->name = lease->holder = st_str_of(s->agent); /* what was read was lent */
    return st_lib_strong_end(s, got == ST_NOT_FOUND ? ST_OK : got);
}

int strata_agent_register(strata *s, bool takeover, uint64_t *incarnation)
{
    struct st_lease lease = {0};
    struct st_command entry[2];
    struct st_ledger_result results[2];
    *incarnation = 0;
    int code = need_agent(s);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = read_lease(s, &lease);
    if (code != STRATA_OK)
        return code;
    size_t count = st_strong_expire(s->strong, &lease, &entry[0]) ? 1 : 0;
    entry[count++] = (struct st_command){
        .kind = ST_CMD_LEASE_ACQUIRE,
        .lease = ST_LEASE_AGENT,
        .key = st_str_of(s->agent),
        .token = s->incarnation,
        .takeover = takeover,
        .deadline = st_strong_deadline(s->strong, ST_CLAIM_TERM_MS * ST_NS_PER_MS),
    };
    code = st_lib_submit(s, entry, count, results);
    if (code != STRATA_OK)
        return code;
    if (results[count - 1].verdict != ST_VERDICT_DONE) {
        st_lib_fail(s, ST_CONFLICT, "%s is registered already", s->agent);
        st_lib_hint(s, "take another name; if the earlier one is gone for good, take its name over "
                       "(--force)");
        return ST_CONFLICT;
    }
    s->incarnation = *incarnation = results[count - 1].token;
    st_claims_touch_from(s, ST_CLAIM_TERM_MS);
    return STRATA_OK;
}

int strata_agent_retire(strata *s)
{
    struct st_lease lease = {0};
    struct st_ledger_result result;
    int code = need_agent(s);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = read_lease(s, &lease);
    if (code != STRATA_OK)
        return code;
    if (!lease.held)
        return st_lib_fail(s, ST_NOT_FOUND, "%s is not registered", s->agent);
    struct st_command c = {.kind = ST_CMD_LEASE_RELEASE,
                           .lease = ST_LEASE_AGENT,
                           .key = st_str_of(s->agent),
                           .token = s->incarnation != 0 ? s->incarnation : lease.token};
    code = st_lib_submit(s, &c, 1, &result);
    if (code == STRATA_OK && result.verdict == ST_VERDICT_STALE)
        return st_lib_fail(s, ST_CONFLICT, "another %s has been registered since", s->agent);
    return code;
}
