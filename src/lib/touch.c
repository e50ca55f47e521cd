/*
 * touch.c - the terms of an agent's claims are extended by whatever it does.
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
    struct st_command commands[ST_CLAIMS_MAX];
    size_t count;
    uint64_t term_ns_min;
};

static enum st_code visit_claim(void *arg, const struct st_lease *lease)
{
    struct touch *t = arg;
    strata *s = t->s;
    struct st_deadline d = st_lib_deadline(s, &lease->deadline, lease->earlier);
    if (lease->run != 0 || lease->incarnation != s->incarnation ||
        d.term_ns < TERM_MS_MIN * ST_NS_PER_MS)
        return ST_OK;
    const char *name = st_arena_text(&s->arena, lease->name);
    if (name == NULL)
        return ST_NO_MEMORY;
    t->commands[t->count++] =
        (struct st_command){.kind = ST_CMD_LEASE_RENEW,
                            .lease = ST_LEASE_CLAIM,
                            .key = st_str_of(name),
                            .token = lease->token,
                            .deadline = st_strong_deadline(s->strong, d.term_ns)};
    if (d.term_ns < t->term_ns_min)
        t->term_ns_min = d.term_ns;
    return t->count == ST_CLAIMS_MAX ? ST_SCAN_STOP : ST_OK;
}

static void extend(strata *s)
{
    struct touch t = {.s = s, .term_ns_min = UINT64_MAX};
    struct st_ledger_result results[ST_CLAIMS_MAX];
    if (st_lib_strong_open(s) != STRATA_OK || st_strong_begin(s->strong) != ST_OK)
        return;
    enum st_code code =
        st_claim_held_each(st_strong_ledger(s->strong), st_str_of(s->agent), visit_claim, &t);
    st_strong_end(s->strong);
    if (code == ST_OK && t.count == 0)
        note_remove(s);
    if (code != ST_OK || t.count == 0 ||
        st_lib_submit(s, t.commands, t.count, results) != STRATA_OK)
        return;
    s->touch_ns = s->log.env->boot_ns(s->log.env->ctx) + t.term_ns_min / PARTS;
    note_write(s, s->touch_ns);
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
