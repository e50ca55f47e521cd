/*
 * claims_look.c - claims as they stand: who has what, what was left of them, what is to be copied into
 * the channels. See claims.h.
 */
#include "lib/claims_look.h"

int st_claim_name_check(strata *s, const char *name, uint64_t term_ms)
{
    if (term_ms > ST_TERM_MS_MAX)
        return st_lib_fail(s, ST_LIMIT, "a claim is for 30 days at most");
    return st_lib_name(s, "claim's name", name);
}

static bool claim_of(strata *s, const struct st_lease *from, struct st_claim *out)
{
    *out = (struct st_claim){
        .name = st_arena_text(&s->arena, from->name),
        .holder = st_arena_text(&s->arena, from->holder),
        .token = from->token,
        .incarnation = from->incarnation,
        .run = from->run,
        .held = st_strong_lease_holds(s->strong, from),
        .outcome = from->outcome,
        .since_ms = from->since_ms,
        .left_ms = st_lib_deadline_left(s, &from->deadline, from->earlier),
    };
    return out->name != NULL && out->holder != NULL;
}

enum st_code st_claim_look_one(strata *s, const char *name, struct st_claim *out,
                               struct st_claim_entry *e)
{
    struct st_lease lease;
    enum st_code code =
        st_lease_read(st_strong_ledger(s->strong), ST_LEASE_CLAIM, st_str_of(name), &lease);
    if (code != ST_OK && code != ST_NOT_FOUND)
        return code;
    if (!claim_of(s, &lease, out))
        return ST_NO_MEMORY;
    struct st_command first;
    if (e != NULL && st_strong_expire(s->strong, &lease, &first)) {
        first.key = st_str_of(name); /* the lease's own was lent */
        ST_ASSERT(e->count < ST_ENTRY_COMMANDS_MAX);
        e->commands[e->count++] = first;
    }
    return ST_OK;
}

int st_claim_look_all(strata *s, const char *const *names, size_t count, struct st_claim *out,
                      struct st_claim_entry *e)
{
    memset(out, 0, count * sizeof *out);
    int code = st_lib_strong_begin(s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = ST_OK;
    for (size_t i = 0; i < count && got == ST_OK; i++)
        got = st_claim_look_one(s, names[i], &out[i], e);
    return st_lib_strong_end(s, got);
}

int st_claims_look(strata *s, const char *const *names, size_t count, struct st_claim *out)
{
    int code = STRATA_OK;
    for (size_t i = 0; i < count && code == STRATA_OK; i++)
        code = st_claim_name_check(s, names[i], 0);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    return code == STRATA_OK ? st_claim_look_all(s, names, count, out, NULL) : code;
}

int st_claims_free(strata *s, const char *const *names, size_t count, size_t max, size_t *out,
                   size_t *found)
{
    *found = 0;
    int result = st_lib_strong_open(s);
    if (result != STRATA_OK)
        return result;
    if (st_strong_at_hand(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code code = ST_OK;
    for (size_t i = 0; i < count && *found < max && code == ST_OK; i++) {
        struct st_lease lease = {.held = false};
        code =
            st_lease_read(st_strong_ledger(s->strong), ST_LEASE_CLAIM, st_str_of(names[i]), &lease);
        if (code == ST_NOT_FOUND ||
            (code == ST_OK && !lease.held && !st_claim_is_over(lease.outcome)))
            out[(*found)++] = i;
        if (code == ST_NOT_FOUND)
            code = ST_OK;
    }
    st_strong_end(s->strong);
    return code == ST_OK ? STRATA_OK : st_lib_fail(s, code, "the ledger cannot be read");
}

uint64_t st_claims_moves(const strata *s)
{
    return st_strong_moves(s->log.env, s->log.dir);
}

void st_claims_probe(strata *s)
{
    s->claim_probed_ns = 0;
}

struct listing {
    strata *s;
    int (*visit)(void *arg, const struct st_claim *c);
    void *arg;
    int result;
};

static enum st_code visit_held(void *arg, const struct st_lease *lease)
{
    struct listing *l = arg;
    struct st_claim claim;
    if (!claim_of(l->s, lease, &claim))
        return ST_NO_MEMORY;
    if (claim.held)
        l->result = l->visit(l->arg, &claim);
    return l->result != 0 ? ST_SCAN_STOP : ST_OK;
}

int st_claims_held_each(strata *s, const char *agent,
                        int (*visit)(void *arg, const struct st_claim *c), void *arg)
{
    struct listing l = {s, visit, arg, 0};
    int code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = st_lib_strong_begin(s);
    if (code != STRATA_OK)
        return code;
    code = st_lib_strong_end(
        s, st_claim_held_each(st_strong_ledger(s->strong), st_str_of(agent), visit_held, &l));
    return code == STRATA_OK && l.result < 0 ? l.result : code;
}

static bool lend(strata *s, struct st_str *text)
{
    const char *p = st_arena_text(&s->arena, *text);
    text->p = p;
    return p != NULL;
}

static enum st_code keep(strata *s, struct st_claim_kept *kept)
{
    return lend(s, &kept->by) && lend(s, &kept->result) && lend(s, &kept->checkpoint)
               ? ST_OK
               : ST_NO_MEMORY;
}

int st_claims_kept(strata *s, const char *name, struct st_claim_kept *out)
{
    int code = st_claim_name_check(s, name, 0);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (st_strong_begin(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code got = st_claim_kept_read(st_strong_ledger(s->strong), st_str_of(name), out);
    if (got == ST_OK)
        got = keep(s, out);
    st_strong_end(s->strong);
    if (got == ST_NOT_FOUND)
        return st_lib_fail(s, got, "nobody has left anything for %s", name);
    return got == ST_OK ? STRATA_OK : st_lib_fail(s, got, "the ledger cannot be read");
}

int st_claims_position(strata *s, const char *name, uint64_t *position)
{
    struct st_claim_kept kept = {.position = 0};
    int code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (st_strong_peek(s->strong) != ST_OK)
        return st_lib_strong_fault(s);
    enum st_code got = st_claim_kept_read(st_strong_ledger(s->strong), st_str_of(name), &kept);
    *position = got == ST_OK ? kept.position : 0;
    return st_lib_strong_end(s, got == ST_NOT_FOUND ? ST_OK : got);
}

/* --- the outbox ------------------------------------------------------------------------------- */

struct outbox {
    strata *s;
    int (*visit)(void *arg, const char *name, const struct st_claim_kept *kept);
    void *arg;
    int result;
};

static enum st_code visit_uncopied(void *arg, struct st_str name, const struct st_claim_kept *from)
{
    struct outbox *o = arg;
    struct st_claim_kept kept = *from;
    const char *text = st_arena_text(&o->s->arena, name);
    if (text == NULL || keep(o->s, &kept) != ST_OK)
        return ST_NO_MEMORY;
    o->result = o->visit(o->arg, text, &kept);
    st_arena_reset(&o->s->arena);
    return o->result != 0 ? ST_SCAN_STOP : ST_OK;
}

int st_claims_uncopied(strata *s,
                       int (*visit)(void *arg, const char *name, const struct st_claim_kept *kept),
                       void *arg)
{
    struct outbox o = {s, visit, arg, 0};
    int code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = st_lib_strong_begin(s);
    if (code != STRATA_OK)
        return code;
    code = st_lib_strong_end(s, st_claim_uncopied_each(st_strong_ledger(s->strong),
                                                       s->claims_copied, visit_uncopied, &o));
    return code == STRATA_OK && o.result < 0 ? o.result : code;
}

void st_claims_copied(strata *s, uint64_t position, size_t count, struct st_dot by)
{
    if (position > s->claims_copied)
        s->claims_copied = position;
    s->claims_untold += count;
    s->claims_by = by;
}
