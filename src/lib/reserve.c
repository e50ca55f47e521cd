/*
 * reserve.c - reservations of paths. The ledger knows patterns only; a work tree is the first
 * component of one, `@` and 16 hex digits: so patterns of different work trees never overlap there,
 * and what is the same path in both is compared here.
 */
#include "lib/strong.h"

#include <inttypes.h>
#include <stdio.h>

#include "core/glob.h"

#define TREE_SIZE 18 /* "@<16 hex>/" */

static void tree_id(const char *tree, char out[TREE_SIZE + 1])
{
    snprintf(out, TREE_SIZE + 1, "@%016" PRIx64 "/",
             st_checksum(tree != NULL ? tree : "", tree != NULL ? strlen(tree) : 0));
}

static int full_pattern(strata *s, const char *tree, const char *pattern,
                        char out[ST_NAME_SIZE_MAX + 1])
{
    if (pattern == NULL || st_glob_check(st_str_of(pattern)) != ST_OK) {
        st_lib_fail(s, ST_INVALID, "'%.80s' is not a pattern of paths",
                    pattern != NULL ? pattern : "");
        st_lib_hint(s,
                    "relative to the work tree, without ./ and ../: src/main.c, docs/*.md, src/**");
        return ST_INVALID;
    }
    if (strlen(pattern) > ST_NAME_SIZE_MAX - TREE_SIZE)
        return st_lib_fail(s, ST_LIMIT, "the pattern is %zu bytes long; the limit is %d",
                           strlen(pattern), ST_NAME_SIZE_MAX - TREE_SIZE);
    tree_id(tree, out);
    strcpy(out + TREE_SIZE, pattern);
    return STRATA_OK;
}

struct st_str st_reservation_pattern(struct st_str name, struct st_str *tree)
{
    *tree = (struct st_str){NULL, 0};
    if (name.n <= TREE_SIZE || name.p[0] != '@')
        return name;
    *tree = (struct st_str){name.p + 1, TREE_SIZE - 2};
    return (struct st_str){name.p + TREE_SIZE, name.n - TREE_SIZE};
}

static bool reservation_of(strata *s, const struct st_lease *from, const char *tree,
                           strata_reservation *out)
{
    struct st_str id, pattern = st_reservation_pattern(from->name, &id);
    *out = (strata_reservation){
        .pattern = st_arena_text(&s->arena, pattern),
        .holder = st_arena_text(&s->arena, from->holder),
        .reason = st_arena_text(&s->arena, from->reason),
        .tree = st_arena_text(&s->arena, id),
        .here = from->name.n > TREE_SIZE && memcmp(from->name.p, tree, TREE_SIZE) == 0,
        .shared = from->shared,
        .token = from->token,
        .left_ms = st_lib_deadline_left(s, &from->deadline, from->earlier),
        .since_ms = from->since_ms,
    };
    return out->pattern != NULL && out->holder != NULL && out->reason != NULL && out->tree != NULL;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct listing {
    strata *s;
    char tree[TREE_SIZE + 1];
    struct st_str path, pattern;
    int (*visit)(void *arg, const strata_reservation *r);
    void *arg;
    int result;
};

static enum st_code visit_reservation(void *arg, const struct st_lease *lease)
{
    struct listing *l = arg;
    strata_reservation r;
    st_arena_reset(&l->s->arena);
    if (!reservation_of(l->s, lease, l->tree, &r))
        return ST_NO_MEMORY;
    if (!st_strong_lease_holds(l->s->strong, lease) ||
        (l->path.n > 0 && !st_glob_match(st_str_of(r.pattern), l->path)) ||
        (l->pattern.n > 0 && !st_glob_overlap(st_str_of(r.pattern), l->pattern)))
        return ST_OK;
    l->result = l->visit(l->arg, &r);
    return l->result != 0 ? ST_SCAN_STOP : ST_OK;
}

int strata_reserve_each(strata *s, const char *tree, const char *path, const char *pattern,
                        int (*visit)(void *arg, const strata_reservation *r), void *arg)
{
    struct listing l = {
        .s = s, .path = st_str_of(path), .pattern = st_str_of(pattern), .visit = visit, .arg = arg};
    tree_id(tree, l.tree);
    int code = st_lib_strong_open(s);
    if (code == STRATA_OK)
        code = st_lib_strong_begin(s);
    if (code != STRATA_OK)
        return code;
    code = st_lib_strong_end(
        s, st_lease_each(st_strong_ledger(s->strong), ST_LEASE_PATH, visit_reservation, &l));
    return code == STRATA_OK && l.result < 0 ? l.result : code;
}

/* --- reserving -------------------------------------------------------------------------------- */

/* What is known of all reservations before one is asked for. */
struct preparation {
    strata *s;
    struct st_str pattern;
    bool shared;
    uint64_t own; /* token of the agent's own reservation of just this; 0: none */
    struct st_command commands[ST_ENTRY_COMMANDS_MAX];
    size_t count;
};

static enum st_code prepare_one(void *arg, const struct st_lease *lease)
{
    struct preparation *p = arg;
    strata *s = p->s;
    struct st_command *c = &p->commands[p->count];
    if (st_str_equal(lease->name, p->pattern) && lease->shared == p->shared &&
        st_str_equal(lease->holder, st_str_of(s->agent)) && lease->incarnation == s->incarnation &&
        st_strong_lease_holds(s->strong, lease))
        p->own = lease->token;
    if (p->count == ST_ENTRY_COMMANDS_MAX - 1 || !st_strong_expire(s->strong, lease, c))
        return ST_OK;
    c->key.p = st_arena_text(&s->arena, lease->name);
    p->count++;
    return c->key.p != NULL ? ST_OK : ST_NO_MEMORY;
}

struct in_the_way {
    uint64_t token;
    char who[400];
};

static int visit_in_the_way(void *arg, const strata_reservation *r)
{
    struct in_the_way *w = arg;
    if (r->token != w->token)
        return 0;
    snprintf(w->who, sizeof w->who, "%.200s is reserved by %s%s%.100s", r->pattern,
             r->holder[0] != '\0' ? r->holder : "somebody", r->reason[0] != '\0' ? ": " : "",
             r->reason);
    return 1;
}

static int reserved_by(strata *s, const char *tree, uint64_t token)
{
    struct in_the_way w = {.token = token, .who = "somebody else has reserved some of it"};
    int code = strata_reserve_each(s, tree, NULL, NULL, visit_in_the_way, &w);
    if (code != STRATA_OK)
        return code;
    st_lib_fail(s, ST_TIMEOUT, "%s", w.who);
    st_lib_hint(s, "work on something else, or ask its holder; nothing was reserved");
    return ST_TIMEOUT;
}

static int reserve(strata *s, const strata_reserve_request *r, const char *pattern, uint64_t *token)
{
    struct preparation p = {.s = s, .pattern = st_str_of(pattern), .shared = r->shared};
    struct st_ledger_result results[ST_ENTRY_COMMANDS_MAX];
    int code = st_lib_strong_begin(s);
    if (code == STRATA_OK)
        code = st_lib_strong_end(
            s, st_lease_each(st_strong_ledger(s->strong), ST_LEASE_PATH, prepare_one, &p));
    if (code != STRATA_OK)
        return code;
    p.commands[p.count++] = (struct st_command){
        .kind = ST_CMD_RESERVE,
        .key = st_str_of(pattern),
        .token = p.own,
        .shared = p.own == 0 && r->shared,
        .evidence = st_str_of(p.own == 0 ? r->reason : NULL),
        .deadline = st_strong_deadline(s->strong, r->ttl_ms * ST_NS_PER_MS),
    };
    code = st_lib_submit(s, p.commands, p.count, results);
    if (code != STRATA_OK)
        return code;
    struct st_ledger_result *last = &results[p.count - 1];
    *token = last->token;
    if (last->verdict == ST_VERDICT_DONE)
        return STRATA_OK;
    if (last->verdict == ST_VERDICT_STALE)
        return st_lib_replaced(s);
    if (last->verdict == ST_VERDICT_HELD)
        return reserved_by(s, r->tree, last->token);
    if (last->verdict == ST_VERDICT_INVALID)
        return st_lib_fail(s, ST_LIMIT, "there are %d reservations already", ST_RESERVATIONS_MAX);
    return st_lib_fail(s, ST_CONFLICT, "not reserved (%s)", st_verdict_name(last->verdict));
}

int strata_reserve(strata *s, const strata_reserve_request *request, uint64_t *token)
{
    char pattern[ST_NAME_SIZE_MAX + 1];
    *token = 0;
    int code = full_pattern(s, request->tree, request->pattern, pattern);
    if (code == STRATA_OK && (request->ttl_ms == 0 || request->ttl_ms > ST_TERM_MS_MAX))
        code = st_lib_fail(s, ST_LIMIT, "a reservation is for 1 ms to 30 days");
    if (code == STRATA_OK)
        code = st_lib_text_check(s, "reason", request->reason, false);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    return code == STRATA_OK ? reserve(s, request, pattern, token) : code;
}

int strata_reserve_release(strata *s, const char *tree, const char *pattern, uint64_t token)
{
    char full[ST_NAME_SIZE_MAX + 1];
    struct st_ledger_result result = {0};
    int code = full_pattern(s, tree, pattern, full);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    struct st_command c = {.kind = ST_CMD_UNRESERVE, .key = st_str_of(full), .token = token};
    code = token != 0 ? st_lib_submit(s, &c, 1, &result)
                      : st_lib_fail(s, ST_USAGE, "release needs the token of the reservation");
    if (code == STRATA_OK && result.verdict != ST_VERDICT_DONE)
        return st_lib_fail(s, ST_CONFLICT, "%s is not reserved with token %" PRIu64, pattern,
                           token);
    return code;
}
