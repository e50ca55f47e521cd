/* sync.c - exchange through Git for the API: one round, and again when it lost a race. */
#include "lib/strong.h"

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
    enum st_sync_consent consent;
    struct st_log ledger; /* open while y.ledger points here */
    bool ledger_behind;   /* somebody's ledger goes on from ours, and could not be taken in */
    bool ledger_own;      /* and that somebody is this copy, at a later moment */
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

/* --- the ledger ------------------------------------------------------------------------------- */

static bool ledger_wanted(const struct round *r)
{
    return ST_HAS(r->o, ledger) && r->o->ledger;
}

/* What this copy knows of the ordered log of this workspace; false: nothing. */
static bool ledger_head(strata *s, struct st_strong_head *head)
{
    strata_error error = s->error;
    bool known = st_strong_exists(s->log.env, s->log.dir) && st_lib_strong_open(s) == STRATA_OK &&
                 st_strong_head(s->strong, head) == ST_OK && head->position > 0;
    s->error = error;
    return known;
}

static void ledger_close(struct round *r)
{
    if (r->y.ledger != NULL)
        st_log_close(&r->ledger);
    r->y.ledger = NULL;
}

static enum st_code ledger_open(struct round *r)
{
    struct st_log *log = &r->s->log;
    char path[ST_PATH_SIZE];
    if (snprintf(path, sizeof path, "%s/strong", log->dir) >= (int)sizeof path)
        return st_fail(&r->y.fault, ST_LIMIT, "the path is too long");
    enum st_code code = st_log_open(&r->ledger, log->env, log->alloc, path, false, log->what);
    r->ledger.wait_ms = log->wait_ms;
    r->y.ledger = &r->ledger;
    if (code != ST_OK)
        r->y.fault = r->ledger.fault;
    return code;
}

/* Its head is told by who ordered something: here, or with a seal that the successor waits for. A
 * copy that only reads has nothing to tell that others do not tell better. */
static bool ledger_tells(strata *s, const struct st_sync *y, const struct st_strong_head *head)
{
    return st_catalog_has_ledger(&y->base) || head->sealed || st_strong_here(s->strong);
}

/* What is to be published of it. */
static enum st_code ledger_offer(struct round *r, bool log)
{
    struct st_strong_head head;
    ledger_close(r);
    r->y.ledger_head = (struct st_ledger_head){0};
    if (!ledger_head(r->s, &head) || !ledger_tells(r->s, &r->y, &head) || r->ledger_own)
        return ST_OK;
    r->y.ledger_head.generation = head.generation;
    r->y.ledger_head.position = head.position;
    memcpy(r->y.ledger_head.head, head.head, sizeof head.head);
    return log ? ledger_open(r) : ST_OK;
}

/* Takes the ordered log of a reference in as a copy to read. What is wrong with it is a notice:
 * records have been exchanged all the same. */
static void ledger_take(struct round *r, const struct st_remote_ref *ref, bool joined)
{
    char state_dir[ST_PATH_SIZE];
    struct st_strong_head before = {0}, after = {0};
    (void)ledger_head(r->s, &before);
    if (st_sync_stage_ledger(&r->y, ref, state_dir) != ST_OK) {
        st_lib_notice(r->s, "the ledger of %s was not taken in: %s", ref->manifest.name,
                      r->y.fault.message);
        return;
    }
    strata_error error = r->s->error;
    st_lib_strong_take(r->s, state_dir, joined);
    r->s->error = error;
    if (ledger_head(r->s, &after) && after.position > before.position)
        r->out->ledger_taken += after.position - before.position;
}

static bool ledger_after(const struct st_ledger_head *l, uint64_t generation, uint64_t position)
{
    return l->generation > generation || (l->generation == generation && l->position > position);
}

/* `ref` if it tells of more than is known here, and of more than `best`. */
static struct st_remote_ref *ledger_further(struct st_remote_ref *ref, struct st_remote_ref *best,
                                            const struct st_strong_head *known)
{
    const struct st_ledger_head *l = &ref->manifest.ledger;
    bool news = ref->ledger && !ref->refused &&
                (l->generation > known->generation || l->position > known->position);
    const struct st_ledger_head *b = best != NULL ? &best->manifest.ledger : NULL;
    return news && (b == NULL || ledger_after(l, b->generation, b->position)) ? ref : best;
}

/* The furthest first: the others then tell of nothing new, or have grown apart from it. */
static void ledgers_take(struct round *r, bool joined)
{
    struct st_remote_ref *best;
    do {
        struct st_strong_head known = {0};
        (void)ledger_head(r->s, &known);
        best = ledger_further(&r->y.mine, NULL, &known);
        for (size_t i = 0; i < r->y.ref_count; i++)
            best = ledger_further(&r->y.refs[i], best, &known);
        if (best == NULL)
            return;
        ledger_take(r, best, joined);
        best->ledger = joined = false; /* once is enough */
        known = (struct st_strong_head){0};
        (void)ledger_head(r->s, &known);
        bool behind = ledger_after(&best->manifest.ledger, known.generation, known.position);
        r->ledger_behind = r->ledger_behind || behind;
        r->ledger_own = r->ledger_own || (behind && best->own);
    } while (true);
}

/* What we have published of our own ordered log, we must have: that is told in every publication. */
static void ledger_hold_to(struct round *r, bool put_back)
{
    if (put_back)
        st_lib_strong_hold_to(r->s, 0, 0, "");
#ifdef ST_DEFECT_SYNC_HEAD_UNCOMPARED
    return;
#endif
    const struct st_ledger_head *l = &r->y.mine.manifest.ledger;
    if (l->position > 0)
        st_lib_strong_hold_to(r->s, l->generation, l->position, l->head);
    for (size_t i = 0; i < r->y.ref_count; i++) {
        l = &r->y.refs[i].manifest.ledger;
        if (r->y.refs[i].own && !r->y.refs[i].refused && l->position > 0)
            st_lib_strong_hold_to(r->s, l->generation, l->position, l->head);
    }
}

/* --- agreement -------------------------------------------------------------------------------- */

static int nobody_agreed(struct round *r, const strata_sync_offer *offer)
{
    char ledger[80] = "";
    if (offer->entries > 0)
        snprintf(ledger, sizeof ledger, " and %llu entries of the ledger, with results,",
                 (unsigned long long)offer->entries);
    st_lib_fail(r->s, ST_DENIED,
                "nobody has agreed to %.200s: %llu records of this copy%s would become readable "
                "at %.200s",
                r->y.remote, (unsigned long long)offer->records, ledger, r->url);
    st_lib_hint(r->s, "nothing was sent; a person who wants that runs `strata sync` with this "
                      "remote in a terminal, or with --yes");
    return ST_DENIED;
}

static int agree(struct round *r)
{
    enum st_sync_consent wanted = ledger_wanted(r) ? ST_SYNC_LEDGER : ST_SYNC_RECORDS;
    if (st_sync_agreed(&r->y, r->url, &r->consent) != ST_OK)
        return sync_fault(r);
    if (r->consent >= wanted || r->o->dry_run || r->o->take_only)
        return STRATA_OK;
    strata_sync_offer offer = {r->y.remote, r->url, 0, 0};
    if (ledger_offer(r, wanted == ST_SYNC_LEDGER) != ST_OK ||
        st_sync_unpublished(&r->y, &offer.records, &offer.entries) != ST_OK)
        return sync_fault(r);
    if (!r->o->agreed && (r->o->ask == NULL || r->o->ask(r->o->arg, &offer) != 1))
        return nobody_agreed(r, &offer);
    r->consent = wanted;
    return st_sync_agree(&r->y, r->url, wanted) == ST_OK ? STRATA_OK : sync_fault(r);
}

/* --- taking in -------------------------------------------------------------------------------- */

static void tell_mended(strata *s, const struct st_mended *m)
{
    if (m->records == 0)
        return;
    st_lib_notice(s,
                  "this state was put back to an earlier moment and written to since: %" PRIu64
                  " records were written again in a new epoch, beside what was published (as they "
                  "were: in `quarantine`); look at `strata pending`",
                  m->records);
    if (m->number_high > m->number_low)
        st_lib_notice(s,
                      "others know #%" PRIu64 " to #%" PRIu64
                      " for something else than was made here since then, which is now called "
                      "#N@%s",
                      m->number_low + 1, m->number_high, m->suffix);
}

static int take_in(struct round *r)
{
    strata *s = r->s;
    r->ledger_behind = r->ledger_own = false;
    char stage[ST_PATH_SIZE];
    struct st_intake in = {0};
    if (r->y.staged) {
        if (st_sync_stage(&r->y, stage) != ST_OK)
            return sync_fault(r);
        enum st_code code = st_intake_published(&s->log, stage, r->y.workspace, &in);
        tell_mended(s, &in.mended);
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
    st_sync_take_board(&r->y);
    r->out->taken += in.records;
    r->out->waiting = in.waiting;
    if (in.forks > 0)
        st_lib_notice(s,
                      "%s exists here and there with different records under the same numbers; "
                      "what is there was not taken in",
                      in.fork);
    ledger_hold_to(r, in.own_found || in.mended.records > 0);
    ledgers_take(r, in.joined);
    /* What waits is looked at again next time. */
    if (in.waiting == 0 && !r->ledger_behind && st_sync_taken(&r->y) != ST_OK)
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
    bool ledger = ledger_wanted(r) || r->consent == ST_SYNC_LEDGER;
    if (st_sync_look(&r->y) != ST_OK || st_sync_base(&r->y) != ST_OK ||
        ledger_offer(r, ledger) != ST_OK ||
        st_sync_unpublished(&r->y, &r->out->sent, &r->out->ledger_sent) != ST_OK)
        return sync_fault(r);
    for (size_t i = 0; i < r->y.ref_count; i++)
        r->out->changed += !r->y.refs[i].taken;
    return STRATA_OK;
}

/* What came is merged into the files of the work tree now, so that the records which that makes go along.
 * What is wrong with the files does not keep them from being sent. */
static void files_update(struct round *r)
{
#ifdef ST_DEFECT_SYNC_MERGED_LATER
    return;
#endif
    if (r->out->taken == 0 || strata_files_update(r->s, 0, NULL) == STRATA_OK)
        return;
    st_lib_notice(r->s, "the files of the work tree were not looked after: %s",
                  r->s->error.message);
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
        files_update(r);
#ifdef ST_DEFECT_SYNC_LEDGER_UNASKED
        r->consent = ST_SYNC_LEDGER;
#endif
        if (ledger_offer(r, r->consent == ST_SYNC_LEDGER) != ST_OK ||
            st_sync_publish(&r->y) != ST_OK)
            return sync_fault(r);
        r->out->sent += r->y.published;
        r->out->ledger_sent += r->y.ledger_published;
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

int strata_sync(strata *s, const strata_sync_options *options, strata_sync_result *out)
{
    char repository[ST_PATH_SIZE];
    struct st_fault fault;
    struct round r = {.s = s, .o = options, .out = out};
    memset(out, 0, sizeof *out);
    out->remote = out->url = "";
    if (!ST_HAS(options, arg) || options->remote == NULL)
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
    ledger_close(&r);
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
