/* sync.c - exchange through Git for the API: one round, and again when it lost a race. */
#include "lib/internal.h"

#include "store/intake.h"
#include "sync/sync.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct round {
    strata *s;
    const strata_sync_options *o;
    strata_sync_result *out;
    struct st_sync y;
    char url[ST_REMOTE_SIZE]; /* where records go */
};

static int sync_fault(struct round *r)
{
    return st_lib_fault(r->s, &r->y.fault);
}

/* The repository of the state directory, when that is in its usual place; else the one around dir.
 */
static int find_repository(strata *s, const char *dir, char out[ST_PATH_SIZE])
{
    char head[ST_PATH_SIZE + 8];
    struct stat st;
    snprintf(out, ST_PATH_SIZE, "%s", s->log.dir);
    char *slash = strrchr(out, '/');
    if (slash != NULL && strcmp(slash, "/strata") == 0) {
        *slash = '\0';
        snprintf(head, sizeof head, "%s/HEAD", out);
        if (stat(head, &st) == 0)
            return STRATA_OK;
    }
    if (st_find_repository(dir != NULL && dir[0] != '\0' ? dir : ".", out))
        return STRATA_OK;
    st_lib_fail(s, ST_UNAVAILABLE, "this workspace is not in a Git repository");
    st_lib_hint(s, "`strata sync` exchanges records through Git; without, a copy is taken in with "
                   "`strata merge-state DIR`");
    return ST_UNAVAILABLE;
}

/* --- agreement -------------------------------------------------------------------------------- */

static int agree(struct round *r)
{
    const char *url = r->url;
    bool agreed = false;
    if (st_sync_agreed(&r->y, url, &agreed) != ST_OK)
        return sync_fault(r);
    if (agreed || r->o->dry_run || r->o->take_only)
        return STRATA_OK;
    strata_sync_offer offer = {r->y.remote, url, 0};
    if (st_sync_unpublished(&r->y, &offer.records) != ST_OK)
        return sync_fault(r);
    if (!r->o->agreed && (r->o->ask == NULL || r->o->ask(r->o->arg, &offer) != 1)) {
        st_lib_fail(r->s, ST_DENIED,
                    "nobody has agreed to %.200s: %llu records of this copy would become readable "
                    "at %.200s",
                    r->y.remote, (unsigned long long)offer.records, url);
        st_lib_hint(r->s, "nothing was sent; a person who wants that runs `strata sync` with this "
                          "remote in a terminal, or with --yes");
        return ST_DENIED;
    }
    return st_sync_agree(&r->y, url) == ST_OK ? STRATA_OK : sync_fault(r);
}

/* --- taking in -------------------------------------------------------------------------------- */

static int take_in(struct round *r)
{
    strata *s = r->s;
    char stage[ST_PATH_SIZE];
    struct st_intake in = {0};
    if (r->y.staged) {
        if (st_sync_stage(&r->y, stage) != ST_OK)
            return sync_fault(r);
        enum st_code code = st_intake_logs(&s->log, stage, r->y.workspace, false, &in);
        st_lib_log_notices(s);
        if (code != ST_OK)
            return st_lib_fault(s, &s->log.fault);
        st_lib_keep_waiting(s, in.waiting);
        snprintf(s->workspace_id, sizeof s->workspace_id, "%016" PRIx64, s->log.identity.workspace);
        if (in.joined)
            st_lib_notice(s, "this replica was empty and is now one of workspace %s",
                          s->workspace_id);
    }
    for (size_t i = 0; i < r->y.ref_count; i++)
        if (r->y.refs[i].manifest.name[0] != '\0' && !r->y.refs[i].refused)
            st_lib_add_name(s, r->y.refs[i].replica, r->y.refs[i].manifest.name);
    r->out->taken += in.records;
    r->out->waiting = in.waiting;
    if (in.forks > 0)
        st_lib_notice(s,
                      "%s exists here and there with different records under the same numbers; "
                      "what is there was not taken in",
                      in.fork);
    /* What waits is looked at again next time. */
    if (in.waiting == 0 && st_sync_taken(&r->y) != ST_OK)
        return sync_fault(r);
    return STRATA_OK;
}

/* --- the round -------------------------------------------------------------------------------- */

static int refused(struct round *r)
{
    const struct st_refusal *one = &r->y.refusals[0];
    st_lib_fail(r->s, ST_DAMAGED, "%.40s of %.100s cannot be used: %.300s", one->ref, r->y.remote,
                one->why);
    st_lib_hint(r->s, r->y.own_refused
                          ? "it is not what this copy has sent, and as long as it is there nothing "
                            "of this copy can be sent; a person has to look at it"
                          : "nothing of it was taken in, all others were; a person has to look at "
                            "it");
    return ST_DAMAGED;
}

static int dry_run(struct round *r)
{
    if (st_sync_look(&r->y) != ST_OK || st_sync_base(&r->y) != ST_OK ||
        st_sync_unpublished(&r->y, &r->out->sent) != ST_OK)
        return sync_fault(r);
    for (size_t i = 0; i < r->y.ref_count; i++)
        r->out->changed += !r->y.refs[i].taken;
    return STRATA_OK;
}

/* ST_CONFLICT with *again: somebody was faster. */
static int exchange(struct round *r, bool *again)
{
    *again = false;
    if (st_sync_look(&r->y) != ST_OK || st_sync_collect(&r->y) != ST_OK)
        return sync_fault(r);
    int code = take_in(r);
    if (code != STRATA_OK)
        return code;
    if (!r->y.own_refused && !r->o->take_only) {
        if (st_sync_publish(&r->y) != ST_OK)
            return sync_fault(r);
        r->out->sent += r->y.published;
        enum st_code pushed = st_sync_push(&r->y);
        *again = pushed == ST_CONFLICT;
        if (pushed != ST_OK)
            return sync_fault(r);
    }
    return r->y.refusal_count > 0 ? refused(r) : STRATA_OK;
}

static int run(struct round *r)
{
    if (st_sync_remote(&r->y, r->o->remote, r->url) != ST_OK)
        return sync_fault(r);
    int code = agree(r);
    if (code != STRATA_OK)
        return code;
    if (r->o->dry_run)
        return dry_run(r);
    bool again = true;
    for (int i = 0; again && i < ST_SYNC_ATTEMPTS; i++)
        code = exchange(r, &again);
    if (again) {
        st_lib_fail(r->s, ST_UNAVAILABLE, "a copy of this clone was faster %d times",
                    ST_SYNC_ATTEMPTS);
        st_lib_hint(r->s, "nothing is lost; try again");
        return ST_UNAVAILABLE;
    }
    return code;
}

/* Copies what is lent to the caller. */
static int describe(struct round *r)
{
    strata *s = r->s;
    size_t count = r->y.refusal_count;
    strata_sync_refusal *list = st_arena_take(&s->arena, (count + 1) * sizeof *list);
    r->out->remote = st_arena_text(&s->arena, st_str_of(r->y.remote));
    r->out->url = st_arena_text(&s->arena, st_str_of(r->url));
    bool good = list != NULL && r->out->remote != NULL && r->out->url != NULL;
    for (size_t i = 0; good && i < count; i++) {
        list[i].ref = st_arena_text(&s->arena, st_str_of(r->y.refusals[i].ref));
        list[i].why = st_arena_text(&s->arena, st_str_of(r->y.refusals[i].why));
        good = list[i].ref != NULL && list[i].why != NULL;
    }
    r->out->refused = list;
    r->out->refused_count = good ? count : 0;
    return good ? STRATA_OK : st_lib_fail(s, ST_NO_MEMORY, "out of memory");
}

#define HAS(o, field) ((o)->size >= offsetof(strata_sync_options, field) + sizeof((o)->field))

int strata_sync(strata *s, const strata_sync_options *options, strata_sync_result *out)
{
    char repository[ST_PATH_SIZE];
    struct st_fault fault;
    struct round r = {.s = s, .o = options, .out = out};
    memset(out, 0, sizeof *out);
    out->remote = out->url = "";
    if (!HAS(options, arg) || options->remote == NULL)
        return st_lib_fail(s, ST_USAGE, "no remote is given");
    int code = st_lib_pending(s, &out->pending_before);
    if (code == STRATA_OK)
        code = find_repository(s, options->dir, repository);
    if (code != STRATA_OK)
        return code;
    if (st_sync_begin(&r.y, &s->log, repository, &fault) != ST_OK)
        return st_lib_fault(s, &fault);
    r.y.git.network_ms = options->network_ms;
    r.y.progress = options->progress;
    r.y.progress_arg = options->arg;
    code = run(&r);
    strata_error error = s->error;
    int after = st_lib_pending(s, &out->pending_after);
    if (after == STRATA_OK)
        after = describe(&r);
    st_sync_end(&r.y);
    if (code == STRATA_OK)
        return after;
    s->error = error;
    return code;
}

int strata_sync_remotes(strata *s, int (*visit)(void *arg, const char *remote), void *arg)
{
    struct st_buf list;
    struct st_fault fault;
    st_buf_init(&list, s->log.alloc);
    enum st_code code = st_sync_remotes(&s->log, &list, &fault);
    st_buf_add_char(&list, '\0');
    if (code == ST_OK && list.failed)
        code = st_fail(&fault, ST_NO_MEMORY, "out of memory");
    int result = 0;
    char *rest = list.p, *line;
    while (code == ST_OK && result == 0 && (line = strsep(&rest, "\n")) != NULL)
        if (line[0] != '\0')
            result = visit(arg, line);
    st_buf_release(&list);
    return code == ST_OK ? (result < 0 ? result : STRATA_OK) : st_lib_fault(s, &fault);
}
