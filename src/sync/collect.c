/*
 * collect.c - what others have published, once fetched: checked, and laid out like the logs of a state
 * directory, in <state>/sync/in, for intake to take in from.
 *
 * Of each writer only the segments are laid out that hold something new, each from its beginning.
 * A reference speaks for its own replica only. One that cannot be used is refused as a whole, with
 * the reason; the others are taken in all the same.
 */
#include "sync/collection.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum st_code st_collection_no_memory(struct st_collection *k)
{
    return st_fail(&k->y->fault, ST_NO_MEMORY, "out of memory");
}

/* --- one reference ---------------------------------------------------------------------------- */

enum st_code st_sync_blob(struct st_sync *y, const char *id, struct st_buf *out)
{
    const char *const args[] = {"cat-file", "blob", id, NULL};
    struct st_git_call call = {.args = args, .out = out};
    enum st_code code = st_git_must(&y->git, &call);
    if (code == ST_OK && out->n > ST_MANIFEST_SIZE_MAX)
        code = st_fail(&y->fault, ST_LIMIT, "it has an entry of %zu bytes; the limit is %u", out->n,
                       ST_MANIFEST_SIZE_MAX);
    st_buf_add_char(out, '\0');
    return code == ST_OK && out->failed ? st_fail(&y->fault, ST_NO_MEMORY, "out of memory") : code;
}

static enum st_code manifest_read(struct st_collection *k, struct st_remote_ref *ref,
                                  const struct st_catalog *c)
{
    struct st_sync *y = k->y;
    struct st_buf text;
    char known[ST_MANIFEST_TEXT_SIZE];
    st_buf_init(&text, y->log->alloc);
    enum st_code code = ST_OK;
    if (st_sync_manifest_known(y, c->manifest, known))
        st_buf_add(&text, known, strlen(known) + 1);
    else
        code = st_sync_blob(y, c->manifest, &text);
    if (code == ST_OK)
        code = st_manifest_parse(text.p, &ref->manifest);
    if (code == ST_VERSION)
        st_fail(&y->fault, ST_VERSION, "it was made by a newer version of Strata");
    else if (code == ST_DAMAGED)
        st_fail(&y->fault, ST_DAMAGED, "its entry `strata` is not readable");
    else if (code == ST_OK && ref->manifest.replica != ref->replica)
        code = st_fail(&y->fault, ST_DAMAGED, "it says that it is of another replica");
    st_buf_release(&text);
    return code;
}

static uint64_t have(const struct st_collection *k, enum st_log_kind kind, struct st_writer w)
{
    return kind == ST_LOG_MAIN ? st_vector_get(&k->context, w) : 0;
}

/* Whether our log has another record where this piece of it ends: the state was put back to an
 * earlier moment, and written since. */
static enum st_code is_other(struct st_collection *k, const struct st_piece *last, bool *yes)
{
    struct st_log *log = k->y->log;
    struct st_log_reader r;
    bool same = true;
    enum st_code code = st_log_reader_open(&r, log->env, log->alloc, log->dir, last->writer);
    if (code == ST_OK)
        code = st_sync_has_end(&r, last, &same);
    *yes = !same;
    if (code != ST_OK)
        k->y->fault = r.fault;
    st_log_reader_close(&r);
    return code;
}

/* Whether a later epoch of ours is published: then it is known by now if this one has forked. */
static bool is_followed(const struct st_collection *k, const struct st_catalog *c,
                        struct st_writer w)
{
    for (size_t i = 0; i < c->piece_count; i++) {
        struct st_writer other = c->pieces[i].writer;
        if (c->pieces[i].kind == ST_LOG_MAIN && other.replica == w.replica &&
            st_epoch_ordinal(other.epoch) > st_epoch_ordinal(w.epoch) &&
            have(k, ST_LOG_MAIN, other) > 0)
            return true;
    }
    return false;
}

/* Whether our own log of this epoch lacks something of it, or has something else: both have to be
 * compared. */
static enum st_code is_own_life(struct st_collection *k, const struct st_catalog *c,
                                const struct st_piece *last, bool *yes)
{
    uint64_t known = have(k, ST_LOG_MAIN, last->writer);
    *yes = last->last > known;
#ifdef ST_DEFECT_SYNC_OWN_UNCOMPARED
    *yes = *yes && st_writer_compare(last->writer, st_log_writer(k->y->log)) != 0;
    return ST_OK;
#endif
    if (*yes || is_followed(k, c, last->writer))
        return ST_OK;
    return is_other(k, last, yes);
}

/* The first segment of a writer that holds something new, or of our own all. 0: none. */
static enum st_code first_wanted(struct st_collection *k, const struct st_catalog *c, size_t from,
                                 size_t end, uint64_t *segment)
{
    const struct st_piece *last = &c->pieces[end - 1];
    uint64_t known = have(k, last->kind, last->writer);
    *segment = 0;
    if (last->kind == ST_LOG_MAIN && last->writer.replica == k->y->log->identity.replica) {
        bool all = false;
        enum st_code code = is_own_life(k, c, last, &all);
        *segment = all ? c->pieces[from].segment : 0;
        return code;
    }
    for (size_t i = from; *segment == 0 && i < end; i++)
        if (c->pieces[i].last > known)
            *segment = c->pieces[i].segment;
    return ST_OK;
}

static enum st_code want_writer(struct st_collection *k, size_t ref, const struct st_catalog *c,
                                size_t from, size_t end)
{
    uint64_t segment = 0;
    const struct st_piece *last = &c->pieces[end - 1];
    for (size_t i = 0; i < k->laid_count; i++)
        if (k->laid[i].kind == last->kind &&
            st_writer_compare(k->laid[i].writer, last->writer) == 0)
            return ST_OK; /* our own, from the remote and from here: one after the other */
    enum st_code code = first_wanted(k, c, from, end, &segment);
    if (code != ST_OK || segment == 0)
        return code;
    if (!st_grow(&k->laid, &k->laid_cap, k->laid_count + 1, sizeof *k->laid))
        return st_collection_no_memory(k);
    struct st_laid *laid = &k->laid[k->laid_count++];
    *laid = (struct st_laid){.ref = ref,
                             .kind = last->kind,
                             .writer = last->writer,
                             .first = segment,
                             .last = last->last,
                             .checksum = last->checksum};
    for (size_t i = from; i < end; i++) {
        if (c->pieces[i].segment == last->segment)
            laid->size += c->pieces[i].size;
        if (c->pieces[i].segment < segment)
            continue;
        if (!st_grow(&k->wanted, &k->wanted_cap, k->wanted_count + 1, sizeof *k->wanted))
            return st_collection_no_memory(k);
        k->wanted[k->wanted_count++] = (struct st_wanted){ref, c->pieces[i]};
    }
    return ST_OK;
}

static enum st_code want_all(struct st_collection *k, size_t ref, uint64_t replica,
                             const struct st_catalog *c)
{
    enum st_code code = ST_OK;
    for (size_t from = 0, end; code == ST_OK && from < c->piece_count; from = end) {
        end = st_catalog_end(c, from);
        if (c->pieces[from].kind != ST_LOG_MAIN)
            continue; /* st_sync_stage_ledger() */
#ifndef ST_DEFECT_SYNC_SPEAKS_FOR_OTHERS
        if (c->pieces[from].writer.replica != replica)
            return st_fail(&k->y->fault, ST_DAMAGED,
                           "it has records under the name of another replica (%016" PRIx64 ")",
                           c->pieces[from].writer.replica);
#endif
        code = want_writer(k, ref, c, from, end);
    }
    return code;
}

/* Drops what a refused reference wanted. */
static void unwant(struct st_collection *k, size_t ref)
{
    while (k->wanted_count > 0 && k->wanted[k->wanted_count - 1].ref == ref)
        k->wanted_count--;
    while (k->laid_count > 0 && k->laid[k->laid_count - 1].ref == ref)
        k->laid_count--;
}

static bool refusable(enum st_code code)
{
    return code == ST_DAMAGED || code == ST_LIMIT || code == ST_VERSION || code == ST_NOT_FOUND;
}

static enum st_code look_at(struct st_collection *k, size_t i)
{
    struct st_sync *y = k->y;
    struct st_remote_ref *ref = &y->refs[i];
    struct st_catalog c;
    enum st_code code = st_catalog_read(&y->git, ref->fetched, &c);
    if (code == ST_OK)
        code = manifest_read(k, ref, &c);
    if (code == ST_OK)
        code = want_all(k, i, ref->replica, &c);
    ref->ledger = code == ST_OK && st_catalog_has_ledger(&c);
    memcpy(ref->board, c.board, sizeof ref->board);
    if (refusable(code)) {
        unwant(k, i);
        code = st_sync_refuse(y, ref);
    }
    st_catalog_release(&c);
    return code;
}

/* --- whose workspace -------------------------------------------------------------------------- */

static enum st_code other_workspace(struct st_collection *k, uint64_t other)
{
    struct st_sync *y = k->y;
    st_fail(&y->fault, ST_CONFLICT,
            "%s carries another workspace (%016" PRIx64 "; here %016" PRIx64 ")", y->remote, other,
            y->log->identity.workspace);
    return st_hint(&y->fault,
                   "nothing was exchanged; a clone joins the workspace of its remote when "
                   "`strata init` makes its state");
}

/* References of other workspaces are refused; where there are no others, all of it is: but an empty
 * replica joins. */
static enum st_code check_workspaces(struct st_collection *k)
{
    struct st_sync *y = k->y;
    uint64_t ours = y->log->identity.workspace, other = 0;
    bool mixed = false, found = false;
    for (size_t i = 0; i < y->ref_count; i++) {
        uint64_t w = y->refs[i].manifest.workspace;
        found = found || y->refs[i].taken || (w == ours && !y->refs[i].refused);
        if (w == 0 || w == ours || y->refs[i].refused)
            continue;
        mixed = mixed || (other != 0 && other != w);
        other = w;
    }
    y->workspace = ours;
    if (other == 0)
        return ST_OK;
    if (!found && (k->tail > 0 || mixed))
        return other_workspace(k, other);
    if (!found)
        y->workspace = other;
    enum st_code code = ST_OK;
    for (size_t i = 0; code == ST_OK && i < y->ref_count; i++) {
        struct st_remote_ref *ref = &y->refs[i];
        if (ref->taken || ref->refused || ref->manifest.workspace == y->workspace)
            continue;
        st_fail(&y->fault, ST_CONFLICT, "it is of another workspace (%016" PRIx64 ")",
                ref->manifest.workspace);
        code = st_sync_refuse(y, ref);
    }
    return code;
}

/* --- all of it -------------------------------------------------------------------------------- */

enum st_code st_sync_base(struct st_sync *y)
{
    if (y->local[0] == '\0')
        return ST_OK;
    enum st_code code = st_catalog_read(&y->git, y->local, &y->base);
    if (code != ST_NOT_FOUND)
        return code;
    y->local[0] = '\0'; /* what it refers to is gone: published again from the log */
    return ST_OK;
}

enum st_code st_sync_has_end(struct st_log_reader *r, const struct st_piece *piece, bool *yes)
{
    struct st_str line;
    struct st_record head;
    enum st_code code = st_log_reader_find(r, piece->last);
    if (code == ST_OK)
        code = st_log_reader_next(r, &line, &head);
    *yes = code == ST_OK && head.checksum == piece->checksum;
    return code == ST_NOT_FOUND ? ST_OK : code;
}

/* What we have published: that it knows more than the log, or something else, means that the state is
 * an older copy. */
static enum st_code look_at_own(struct st_collection *k)
{
    struct st_sync *y = k->y;
    enum st_code code = ST_OK;
    const char *commit = y->local;
    for (size_t i = 0; i < y->ref_count; i++)
        if (y->refs[i].own && y->remote_ahead && !y->refs[i].refused) {
            memcpy(y->remote_own, y->refs[i].fetched, sizeof y->remote_own);
            commit = y->remote_own;
        }
    if (commit == y->local)
        code = st_sync_base(y);
    else
        code = st_catalog_read(&y->git, commit, &y->base);
    if (code != ST_OK || commit != y->local)
        return code;
    y->mine = (struct st_remote_ref){.own = true, .replica = y->log->identity.replica};
    memcpy(y->mine.fetched, y->local, sizeof y->local);
    if (y->base.manifest[0] != '\0')
        code = manifest_read(k, &y->mine, &y->base);
    if ((refusable(code) || code == ST_IO) && !st_catalog_has_ledger(&y->base))
        code = ST_OK; /* it is said anew */
    y->mine.ledger = code == ST_OK && st_catalog_has_ledger(&y->base);
    for (size_t from = 0, end; code == ST_OK && from < y->base.piece_count; from = end) {
        end = st_catalog_end(&y->base, from);
        if (y->base.pieces[from].kind == ST_LOG_MAIN)
            code = want_writer(k, SIZE_MAX, &y->base, from, end);
    }
    return code;
}

static enum st_code collect(struct st_collection *k)
{
    struct st_sync *y = k->y;
    char root[ST_PATH_SIZE];
    enum st_code code = st_sync_fetch(y);
    for (size_t i = 0; code == ST_OK && i < y->ref_count; i++)
        if (!y->refs[i].taken)
            code = look_at(k, i);
    if (code == ST_OK)
        code = check_workspaces(k);
    if (code == ST_OK)
        code = look_at_own(k);
    st_collection_leave_out_refused(k);
    if (code == ST_OK)
        code = st_sync_directory(y, "in", k->in);
    if (code == ST_OK)
        code = st_collection_root(k, ST_LOG_MAIN, root);
    if (code == ST_OK && k->wanted_count > 0) {
        st_sync_say(y, "unpacking");
        code = st_collection_lay_out(k);
    }
    st_point(y->log, "sync.laid-out");
    if (code == ST_OK)
        code = st_collection_verify(k);
    /* An empty replica may have a workspace to join, though there are no records yet. */
    y->staged =
        code == ST_OK && (k->wanted_count > 0 || y->workspace != y->log->identity.workspace);
    st_point(y->log, "sync.verified");
    return code;
}

enum st_code st_sync_collect(struct st_sync *y)
{
    struct st_collection k = {.y = y};
    struct st_tail tail = {0};
    st_vector_init(&k.context, y->log->alloc);
    enum st_code code = st_log_context(y->log, &k.context);
    if (code == ST_OK)
        code = st_log_tail(y->log, &tail);
    if (code != ST_OK)
        y->fault = y->log->fault;
    k.tail = tail.counter;
    if (code == ST_OK)
        code = collect(&k);
    st_vector_release(&k.context);
    free(k.wanted);
    free(k.laid);
    return code;
}

enum st_code st_sync_stage(struct st_sync *y, char out[ST_PATH_SIZE])
{
    return st_path(&y->fault, out, y->dir, "in", "main");
}

/* --- the strong layer's log ------------------------------------------------------------------- */

static enum st_code ledger_lay_out(struct st_collection *k, const struct st_remote_ref *ref,
                                   const struct st_catalog *c)
{
    struct st_sync *y = k->y;
    const struct st_piece *last = &c->pieces[c->piece_count - 1];
    char root[ST_PATH_SIZE];
    enum st_code code = ST_OK;
    for (size_t from = 0, end; code == ST_OK && from < c->piece_count; from = end) {
        end = st_catalog_end(c, from);
        if (c->pieces[from].kind != ST_LOG_STRONG)
            continue;
        if (c->pieces[from].writer.replica != last->writer.replica)
            return st_fail(&y->fault, ST_DAMAGED, "it is of several writers");
        code = want_writer(k, SIZE_MAX, c, from, end);
    }
    if (code == ST_OK)
        code = st_collection_root(k, ST_LOG_STRONG, root);
    if (code == ST_OK)
        code = st_collection_lay_out(k);
#ifndef ST_DEFECT_SYNC_LEDGER_UNVERIFIED
    for (size_t i = 0; code == ST_OK && i < k->laid_count; i++)
        code = st_laid_verify(k, &k->laid[i]);
#endif
    struct st_identity whose = {.workspace = ref->manifest.workspace,
                                .replica = last->writer.replica,
                                .epoch = last->writer.epoch,
                                .reason = "copy"};
    snprintf(whose.name, sizeof whose.name, "%s", ref->manifest.name);
    return code == ST_OK ? st_log_describe(y->log->env, root, &whose, &y->fault) : code;
}

enum st_code st_sync_stage_ledger(struct st_sync *y, const struct st_remote_ref *ref,
                                  char state_dir[ST_PATH_SIZE])
{
    struct st_collection k = {.y = y};
    struct st_catalog c;
    st_vector_init(&k.context, y->log->alloc);
    st_sync_say(y, "unpacking the ledger");
    enum st_code code = st_catalog_read(&y->git, ref->fetched, &c);
    if (code == ST_OK && !st_catalog_has_ledger(&c))
        code = st_fail(&y->fault, ST_NOT_FOUND, "it is not there any more");
    if (code == ST_OK)
        code = st_sync_directory(y, "in", k.in);
    if (code == ST_OK)
        code = ledger_lay_out(&k, ref, &c);
    if (code == ST_OK)
        memcpy(state_dir, k.in, sizeof k.in);
    st_point(y->log, "sync.ledger");
    st_catalog_release(&c);
    st_vector_release(&k.context);
    free(k.wanted);
    free(k.laid);
    return code;
}
