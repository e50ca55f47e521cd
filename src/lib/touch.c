/*
 * touch.c - the terms of an agent's claims, and of its registration, are extended by whatever it
 * does.
 *
 * <state>/strong/claims/<agent> exists while the agent has, or lately had, claims with a term:
 *   <clock, 16 hex> <when the next extension is due on that clock, ns, 16 hex>\n
 * It is advice: lost, the terms are not extended and the claims lapse in time; stale, one look at
 * the ledger is made in vain.
 */
#include "lib/claims.h"

#include "lib/strong.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* So many extensions are due within a term: some may fail. */
#define PARTS 6
/* Without claims the file is looked at again after this: another process of the agent may have
 * taken one. Far below the shortest time until its first extension. Nanoseconds. */
#define LOOK_NS (60ull * 1000 * 1000 * 1000)
/* Terms below this are renewed by who took them. Milliseconds. */
#define TERM_MS_MIN (10ull * 60 * 1000)

#define NOTE_SIZE 34

static bool note_path(strata *s, char out[ST_PATH_SIZE])
{
    return snprintf(out, ST_PATH_SIZE, "%s/strong/claims/%s", s->log.dir, s->agent) < ST_PATH_SIZE;
}

static void note_write(strata *s, uint64_t due_ns)
{
    const struct st_env *env = s->log.env;
    char path[ST_PATH_SIZE], text[NOTE_SIZE + 1];
    if (!note_path(s, path))
        return;
    snprintf(text, sizeof text, "%016" PRIx64 " %016" PRIx64 "\n", env->clock_id(env->ctx), due_ns);
    int fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (fd == -ENOENT) {
        char dir[ST_PATH_SIZE];
        snprintf(dir, sizeof dir, "%.*s", (int)(strlen(path) - strlen(s->agent) - 1), path);
        (void)env->mkdir(env->ctx, dir);
        fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    }
    if (fd < 0)
        return;
    (void)env->pwrite(env->ctx, fd, text, NOTE_SIZE, 0);
    env->close(env->ctx, fd);
}

/* False: no claims with a term. Due at once when it is of another clock. */
static bool note_read(strata *s, uint64_t *due_ns)
{
    const struct st_env *env = s->log.env;
    char path[ST_PATH_SIZE], text[NOTE_SIZE + 1] = "";
    uint64_t clock;
    *due_ns = 0;
    int fd = note_path(s, path) ? env->open(env->ctx, path, ST_OPEN_READ) : -1;
    if (fd < 0)
        return false;
    ssize_t n = env->pread(env->ctx, fd, text, NOTE_SIZE, 0);
    env->close(env->ctx, fd);
    if (n == NOTE_SIZE && st_parse_hex64(text, &clock) && st_parse_hex64(text + 17, due_ns) &&
        clock != env->clock_id(env->ctx))
        *due_ns = 0;
    return true;
}

static void note_remove(strata *s)
{
    char path[ST_PATH_SIZE];
    if (note_path(s, path))
        (void)s->log.env->unlink(s->log.env->ctx, path);
}

void st_claims_touch_from(strata *s, uint64_t term_ms)
{
    const struct st_env *env = s->log.env;
    uint64_t due_ns;
    if (s->agent[0] == '\0' || term_ms < TERM_MS_MIN)
        return;
    uint64_t at_ns = env->boot_ns(env->ctx) + term_ms / PARTS * ST_NS_PER_MS;
    if (note_read(s, &due_ns) && due_ns != 0 && due_ns < at_ns)
        at_ns = due_ns; /* of another claim */
    note_write(s, at_ns);
    s->touch_ns = at_ns;
}

/* --- extending -------------------------------------------------------------------------------- */

struct touch {
    strata *s;
    struct st_command *commands; /* renewals */
    size_t count, cap;
    uint64_t term_ns_min;
};

/* `key` has to last until they are submitted. */
static enum st_code add_renewal(struct touch *t, const struct st_lease *lease, const char *key,
                                uint64_t term_ns)
{
    if (!st_grow(&t->commands, &t->cap, t->count + 1, sizeof *t->commands))
        return ST_NO_MEMORY;
    t->commands[t->count++] =
        (struct st_command){.kind = ST_CMD_LEASE_RENEW,
                            .lease = lease->kind,
                            .key = st_str_of(key),
                            .token = lease->token,
                            .deadline = st_strong_deadline(t->s->strong, term_ns)};
    if (term_ns < t->term_ns_min)
        t->term_ns_min = term_ns;
    return ST_OK;
}

static enum st_code visit_claim(void *arg, const struct st_lease *lease)
{
    struct touch *t = arg;
    strata *s = t->s;
    struct st_deadline d = st_strong_deadline_here(s->strong, &lease->deadline, lease->earlier);
    if (lease->run != 0 || lease->incarnation != s->incarnation ||
        d.term_ns < TERM_MS_MIN * ST_NS_PER_MS)
        return ST_OK;
    const char *name = st_arena_text(&s->arena, lease->name);
    return name != NULL ? add_renewal(t, lease, name, d.term_ns) : ST_NO_MEMORY;
}

/* The agent's registration is extended with its claims. */
static enum st_code add_registration(struct touch *t)
{
    strata *s = t->s;
    struct st_lease lease;
    enum st_code code =
        st_lease_read(st_strong_ledger(s->strong), ST_LEASE_AGENT, st_str_of(s->agent), &lease);
    if (code != ST_OK || !lease.held || (s->incarnation != 0 && s->incarnation != lease.token))
        return code == ST_NOT_FOUND ? ST_OK : code;
    return add_renewal(t, &lease, s->agent, ST_CLAIM_TERM_MS * ST_NS_PER_MS);
}

static int submit(struct touch *t)
{
    struct st_ledger_result results[ST_CLAIMS_MAX];
    int code = STRATA_OK;
    for (size_t at = 0; at < t->count && code == STRATA_OK; at += ST_CLAIMS_MAX) {
        size_t left = t->count - at;
        code = st_lib_submit(t->s, t->commands + at, left < ST_CLAIMS_MAX ? left : ST_CLAIMS_MAX,
                             results);
    }
    return code;
}

static void extend(strata *s)
{
    struct touch t = {.s = s, .term_ns_min = UINT64_MAX};
    if (st_lib_strong_open(s) != STRATA_OK || st_strong_begin(s->strong) != ST_OK)
        return;
    enum st_code code = add_registration(&t);
    if (code == ST_OK)
        code =
            st_claim_held_each(st_strong_ledger(s->strong), st_str_of(s->agent), visit_claim, &t);
    st_strong_end(s->strong);
    if (code == ST_OK && t.count == 0)
        note_remove(s);
    if (code == ST_OK && t.count > 0 && submit(&t) == STRATA_OK) {
        s->touch_ns = s->log.env->boot_ns(s->log.env->ctx) + t.term_ns_min / PARTS;
        note_write(s, s->touch_ns);
    }
    free(t.commands);
}

void st_claims_touch(strata *s)
{
    const struct st_env *env = s->log.env;
    uint64_t now = env->boot_ns(env->ctx), due_ns;
    if (s->agent[0] == '\0' || s->log.read_only || now < s->touch_ns)
        return;
    s->touch_ns = now + LOOK_NS; /* also should it fail */
    if (!note_read(s, &due_ns))
        return;
    if (now < due_ns) {
        s->touch_ns = due_ns;
        return;
    }
    strata_error kept = s->error;
    extend(s);
    s->error = kept;
}
