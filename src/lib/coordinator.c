/*
 * coordinator.c - which copy decides, and moving that; the ordered log travels with a merge as a
 * read-only copy.
 */
#include "lib/strong.h"

#include "core/command.h"

#include <errno.h>
#include <inttypes.h>

#include <stdio.h>

static void coordinator_of(strata *s, const struct st_strong_head *head, strata_coordinator *out)
{
    out->here = st_strong_here(s->strong) && !head->sealed;
    out->doubt = head->doubt;
    out->generation = head->generation;
    out->position = head->position;
    out->sealed = head->sealed;
    memcpy(out->head, head->head, sizeof out->head);
    snprintf(out->successor, sizeof out->successor, "%s", head->successor);
    snprintf(out->place, sizeof out->place, "%s", head->place);
}

int strata_coordinator_get(strata *s, strata_coordinator *out)
{
    struct st_strong_head head;
    memset(out, 0, sizeof *out);
    int code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (st_strong_head(s->strong, &head) != ST_OK)
        return st_lib_strong_fault(s);
    coordinator_of(s, &head, out);
    return STRATA_OK;
}

int strata_coordinator_here(strata *s)
{
    int code = st_lib_strong_open(s);
    return code == STRATA_OK ? st_lib_decides(s) : code;
}

int strata_log_verify(strata *s, strata_coordinator *out)
{
    struct st_strong_head head;
    memset(out, 0, sizeof *out);
    int code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (st_strong_verify(s->strong, &head) == ST_OK)
        coordinator_of(s, &head, out);
    else
        code = st_lib_strong_fault(s);
    st_strong_close(s->strong);
    s->strong = NULL;
    return code;
}

/* --- the ordered log -------------------------------------------------------------------------- */

struct commands {
    strata *s;
    int (*visit)(void *arg, const strata_command *c);
    void *arg;
    int result;
};

static const char *outcome_of(const struct st_command *c)
{
    static const char *const names[] = {"committed", "failed", "retry"};
    bool has = c->kind == ST_CMD_SETTLE || c->kind == ST_CMD_CLAIM_FINISH;
    return has && (size_t)c->outcome < 3 ? names[c->outcome] : "";
}

static const char *lease_of(const struct st_command *c)
{
    switch (c->kind) {
    case ST_CMD_LEASE_ACQUIRE:
    case ST_CMD_LEASE_RENEW:
    case ST_CMD_LEASE_RELEASE:
    case ST_CMD_LEASE_LAPSE:
    case ST_CMD_LEASE_REARM:
        return st_lease_kind_name(c->lease);
    default:
        return "";
    }
}

static bool is_reservation(const struct st_command *c)
{
    bool lease = c->kind >= ST_CMD_LEASE_ACQUIRE && c->kind <= ST_CMD_LEASE_LAPSE;
    return c->kind == ST_CMD_RESERVE || c->kind == ST_CMD_UNRESERVE ||
           ((lease || c->kind == ST_CMD_LEASE_REARM) && c->lease == ST_LEASE_PATH);
}

static enum st_code visit_command(void *arg, const struct st_strong_event *e)
{
    struct commands *v = arg;
    static const struct st_command unknown;
    const struct st_command *c = e->command != NULL ? e->command : &unknown;
    struct st_arena *a = &v->s->arena;
    struct st_str key = c->key, tree = {NULL, 0};
    if (is_reservation(c))
        key = st_reservation_pattern(key, &tree);
    st_arena_reset(a);
    strata_command out = {
        .position = e->position,
        .time_ms = c->time_ms,
        .agent = st_arena_text(a, e->agent),
        .command = e->command != NULL ? st_command_name(c->kind) : "",
        .key = st_arena_text(a, key),
        .tree = st_arena_text(a, tree),
        .kind = lease_of(c),
        .op_class = c->kind == ST_CMD_PROPOSE ? st_class_name(c->class) : "",
        .token = c->token,
        .outcome = outcome_of(c),
        .person = st_arena_text(a, c->person),
        .evidence = st_arena_text(a, c->evidence),
        .successor = st_arena_text(a, c->successor),
        .generation = c->generation,
        .forced = c->forced,
        .by_check = c->by_check,
        .result_size = c->result.n,
        .alternative = c->alternative,
        .verdict =
            e->command != NULL && e->result != NULL ? st_verdict_name(e->result->verdict) : "",
    };
    if (out.agent == NULL || out.key == NULL || out.person == NULL || out.evidence == NULL ||
        out.successor == NULL || out.tree == NULL)
        return ST_NO_MEMORY;
    v->result = v->visit(v->arg, &out);
    return v->result != 0 ? ST_SCAN_STOP : ST_OK;
}

int strata_commands(strata *s, uint64_t after, uint64_t limit,
                    int (*visit)(void *arg, const strata_command *c), void *arg)
{
    struct commands v = {s, visit, arg, 0};
    int code = st_lib_strong_open(s);
    if (code == STRATA_OK && st_strong_events(s->strong, after, limit, visit_command, &v) != ST_OK)
        code = st_lib_strong_fault(s);
    return v.result < 0 ? v.result : code;
}

/* --- a forced move ----------------------------------------------------------------------------- */

static int check_person(strata *s, const char *person, const char *reason)
{
    int code = st_lib_text_check(s, "name of the person", person, true);
    return code == STRATA_OK ? st_lib_text_check(s, "reason", reason, true) : code;
}

static int found_here(strata *s)
{
    struct st_fault fault = {0};
    if (st_strong_found(s->log.env, s->log.alloc, s->log.dir, s->log.identity.workspace,
                        s->log.identity.name, false, &fault) != ST_OK)
        return st_lib_fault(s, &fault);
    return st_lib_strong_open(s);
}

int strata_coordinator_force(strata *s, const char *person, const char *reason)
{
    int code = check_person(s, person, reason);
    if (code == STRATA_OK)
        code = s->log.read_only ? st_lib_strong_open(s) : found_here(s);
    if (code == STRATA_OK && st_strong_force(s->strong, person, reason) != ST_OK)
        code = st_lib_strong_fault(s);
    return code;
}

/* --- another copy ----------------------------------------------------------------------------- */

/* The strong layer of another copy of this workspace. */
static enum st_code other_open(strata *s, const char *state_dir, bool read_only,
                               struct st_strong **out, struct st_fault *fault)
{
    return st_strong_open(out, s->log.env, s->log.alloc, state_dir, read_only, s->log.what,
                          s->log.wait_ms, fault);
}

static enum st_code other_workspace(strata *s, const char *state_dir, uint64_t *workspace,
                                    char name[65], struct st_fault *fault)
{
    struct st_log log;
    enum st_code code = st_log_open(&log, s->log.env, s->log.alloc, state_dir, true, s->log.what);
    if (code == ST_OK) {
        *workspace = log.identity.workspace;
        memcpy(name, log.identity.name, sizeof log.identity.name);
    } else {
        *fault = log.fault;
    }
    st_log_close(&log);
    return code;
}

/* The log here is another's past: out of the way, and nothing of it is lost. */
static int set_aside(strata *s)
{
    const struct st_env *env = s->log.env;
    char from[ST_PATH_SIZE + 16], to[ST_PATH_SIZE + 64];
    uint64_t unique = 0;
    st_strong_close(s->strong);
    s->strong = NULL;
    snprintf(from, sizeof from, "%s/strong", s->log.dir);
    env->random(env->ctx, &unique, sizeof unique);
    snprintf(to, sizeof to, "%s/quarantine/strong-%08" PRIx32, s->log.dir, (uint32_t)unique);
    int r = env->rename(env->ctx, from, to);
    if (r >= 0)
        r = env->sync_directory(env->ctx, s->log.dir);
    if (r < 0)
        return st_lib_fail(s, ST_IO, "cannot move %s aside: %s", from, strerror(-r));
    st_lib_notice(s,
                  "the ordered log here and there have grown apart; the other is of a later "
                  "generation and is taken in, the one that was here lies in %s",
                  to);
    return found_here(s);
}

static int follow_forked(strata *s, struct st_strong *other, bool joined)
{
    struct st_strong_head mine, theirs;
    uint64_t count;
    if (st_strong_head(s->strong, &mine) != ST_OK)
        return st_lib_strong_fault(s);
    if (st_strong_head(other, &theirs) != ST_OK)
        return st_lib_fault(s, st_strong_fault(other));
    if (!joined && theirs.generation <= mine.generation) {
        st_lib_notice(s,
                      "the ordered logs here and there have grown apart (generations %" PRIu64
                      " and %" PRIu64 "); nothing of it was taken in",
                      mine.generation, theirs.generation);
        return STRATA_OK;
    }
    int code = set_aside(s);
    if (code == STRATA_OK && st_strong_follow(s->strong, other, &count) != ST_OK)
        code = st_lib_strong_fault(s);
    return code;
}

static int follow(strata *s, struct st_strong *other, bool joined)
{
    uint64_t count;
    enum st_code code = st_strong_follow(s->strong, other, &count);
    if (code == ST_DENIED) {
        st_lib_notice(s, "%s", st_strong_fault(s->strong)->message);
        code = st_strong_follow(s->strong, other, &count);
    }
    if (code == ST_CONFLICT)
        return follow_forked(s, other, joined);
    return code == ST_OK ? STRATA_OK : st_lib_strong_fault(s);
}

/* Also where the log here was made for a workspace of its own, before this copy joined another: it
 * is one of that workspace from now on, and does not decide there. */
static int open_joined(strata *s, bool *joined)
{
    struct st_fault fault = {0};
    int code = STRATA_OK;
    if (s->strong == NULL && other_open(s, s->log.dir, false, &s->strong, &fault) != ST_OK)
        return st_lib_fault(s, &fault);
    if (st_strong_workspace(s->strong) == s->log.identity.workspace)
        return STRATA_OK;
    *joined = true;
    if (st_strong_resign(s->strong, s->log.identity.workspace) != ST_OK)
        code = st_lib_strong_fault(s);
    return code;
}

void st_lib_strong_merge(strata *s, const char *state_dir, bool joined)
{
    struct st_fault fault = {0};
    uint64_t workspace;
    char name[65];
    if (st_strong_exists(s->log.env, state_dir) &&
        other_workspace(s, state_dir, &workspace, name, &fault) == ST_OK &&
        workspace == s->log.identity.workspace)
        st_lib_strong_take(s, state_dir, joined);
}

/* Most copies decide nothing: opening two ledgers costs more than the rest of a small merge. */
static bool nothing_to_take(strata *s, const char *state_dir)
{
    const struct st_env *env = s->log.env;
    uint64_t mine = 0, theirs = 0;
    bool mine_empty, theirs_empty = false;
    return st_strong_glance(env, s->log.alloc, s->log.dir, &mine, &mine_empty) == ST_OK &&
           mine == s->log.identity.workspace &&
           st_strong_glance(env, s->log.alloc, state_dir, &theirs, &theirs_empty) == ST_OK &&
           theirs_empty;
}

/* Whatever is wrong with it, the rest of the merge holds. */
void st_lib_strong_take(strata *s, const char *state_dir, bool joined)
{
    struct st_fault fault = {0};
    struct st_strong *other = NULL;
    int code = STRATA_OK;
    if (!joined && nothing_to_take(s, state_dir))
        return;
    if (!st_strong_exists(s->log.env, s->log.dir))
        code = found_here(s);
    if (code == STRATA_OK)
        code = open_joined(s, &joined);
    if (code == STRATA_OK && other_open(s, state_dir, true, &other, &fault) != ST_OK)
        code = st_lib_fault(s, &fault);
    if (code == STRATA_OK)
        code = follow(s, other, joined);
    st_strong_close(other);
    if (code != STRATA_OK)
        st_lib_notice(s, "the ordered log was not taken in: %s", strata_last_error(s)->message);
}

void st_lib_strong_hold_to(strata *s, uint64_t generation, uint64_t position, const char *head)
{
    strata_error error = s->error;
    bool doubted = false;
    if (st_strong_exists(s->log.env, s->log.dir) && st_lib_strong_open(s) == STRATA_OK &&
        st_strong_hold_to(s->strong, generation, position, head, &doubted) == ST_OK && doubted)
        st_lib_notice(s, "once-only operations and claims are not decided here any more: this "
                         "state was put back to an earlier moment. A person who knows what was "
                         "done since then says `strata coordinator move --force`");
    s->error = error;
}

/* --- a planned move --------------------------------------------------------------------------- */

int strata_coordinator_seal(strata *s, const char *place, const char *person, const char *reason)
{
    const char *colon = strrchr(place, ':');
    int code = check_person(s, person, reason);
    if (code == STRATA_OK &&
        (st_lib_name(s, "place", place) != STRATA_OK || colon == NULL || strlen(colon) != 17)) {
        code = st_lib_fail(s, ST_INVALID, "'%.100s' is neither a workspace nor a place", place);
        st_lib_hint(s, "`strata coordinator show` at the other copy prints its place");
    }
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK && st_strong_seal(s->strong, place, person, reason) != ST_OK)
        code = st_lib_strong_fault(s);
    return code;
}

int strata_coordinator_accept(strata *s, const char *person)
{
    int code = st_lib_text_check(s, "name of the person", person, true);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code == STRATA_OK && st_strong_accept(s->strong, person) != ST_OK)
        code = st_lib_strong_fault(s);
    return code;
}

static int hand_over(strata *s, struct st_strong *to, const char *person, const char *reason)
{
    struct st_strong_head there;
    uint64_t count;
    /* Most of it before the seal, as nobody decides behind it. */
    enum st_code code = st_strong_follow(to, s->strong, &count);
    if (code == ST_OK)
        code = st_strong_head(to, &there);
    if (code != ST_OK)
        return st_lib_fault(s, st_strong_fault(to));
    if (st_strong_seal(s->strong, there.place, person, reason) != ST_OK)
        return st_lib_strong_fault(s);
    code = st_strong_follow(to, s->strong, &count);
    if (code == ST_OK)
        code = st_strong_accept(to, person);
    if (code == ST_OK) {
        /* So that here, too, it is known who decides; if not now, then with the next merge. */
        (void)st_strong_follow(s->strong, to, &count);
        return STRATA_OK;
    }
    st_lib_fault(s, st_strong_fault(to));
    st_lib_hint(s,
                "the log is sealed, nobody decides; in the other copy: `strata merge-state` from "
                "here, then `strata coordinator move --accept`");
    return code;
}

int strata_coordinator_hand_over(strata *s, const char *dir, const char *person, const char *reason)
{
    char state_dir[ST_PATH_SIZE], name[65];
    struct st_fault fault = {0};
    struct st_strong *to = NULL;
    uint64_t workspace = 0;
    int code = check_person(s, person, reason);
    if (code == STRATA_OK)
        code = st_lib_strong_open(s);
    if (code != STRATA_OK)
        return code;
    if (st_find_state(dir, false, state_dir, &fault) != ST_OK ||
        other_workspace(s, state_dir, &workspace, name, &fault) != ST_OK)
        return st_lib_fault(s, &fault);
    if (workspace != s->log.identity.workspace) {
        st_lib_fail(s, ST_CONFLICT, "%s is another workspace; nothing was changed", state_dir);
        st_lib_hint(s, "`strata merge-state` there makes an empty one a copy of this");
        return ST_CONFLICT;
    }
    if (st_strong_found(s->log.env, s->log.alloc, state_dir, workspace, name, false, &fault) !=
            ST_OK ||
        other_open(s, state_dir, false, &to, &fault) != ST_OK)
        return st_lib_fault(s, &fault);
    code = hand_over(s, to, person, reason);
    st_strong_close(to);
    return code;
}
