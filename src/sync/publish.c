/* publish.c - from the log to a commit on our own reference. See publication.h. */
#include "sync/publication.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum st_code st_publication_no_memory(struct st_publication *k)
{
    return st_fail(&k->y->fault, ST_NO_MEMORY, "out of memory");
}

bool st_publication_take_id(char **rest, char out[ST_OBJECT_ID_SIZE])
{
    char *line = strsep(rest, "\n");
    if (line == NULL || !st_object_id_valid(line))
        return false;
    memcpy(out, line, strlen(line) + 1);
    return true;
}

enum st_code st_publication_misprinted(struct st_publication *k, const char *what)
{
    return st_fail(&k->y->fault, ST_IO, "git %s did not print what it should", what);
}

enum st_code st_publication_file(struct st_publication *k, const char *path, const char *bytes,
                                 size_t n)
{
    const struct st_env *env = k->y->log->env;
    int fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    int r = fd < 0 ? fd : st_write_all(env, fd, bytes, n, 0);
    if (fd >= 0)
        env->close(env->ctx, fd);
    return r < 0 ? st_fail_system(&k->y->fault, r, "cannot write %s", path) : ST_OK;
}

/* --- what is to be published ------------------------------------------------------------------ */

struct targets {
    struct st_target *list;
    size_t count;
};

/* A log of ours as far as it is on disk: *end, of the epoch that is current then and in *context.
 */
static enum st_code durable_end(struct st_sync *y, struct st_log *log, struct st_vector *context,
                                uint64_t *end)
{
    struct st_tail tail;
    struct st_writer w;
    enum st_code code;
    do {
        code = st_log_tail(log, &tail);
        w = st_log_writer(log);
#ifndef ST_DEFECT_SYNC_UNDURABLE
        if (code == ST_OK && tail.counter > 0)
            code = st_log_wait_durable(log, w.epoch, tail.counter);
#endif
        if (code == ST_OK)
            code = st_log_context(log, context);
        /* Somebody may begin a new epoch meanwhile. */
    } while (code == ST_OK && st_writer_compare(w, st_log_writer(log)) != 0);
    *end = tail.counter;
    if (code != ST_OK)
        y->fault = log->fault;
    return code;
}

/* Adds one of our logs, with what we have of our earlier epochs. */
static enum st_code targets_add(struct st_sync *y, enum st_log_kind kind, struct st_log *log,
                                struct targets *out)
{
    struct st_vector context;
    uint64_t end = 0;
    st_vector_init(&context, log->alloc);
    enum st_code code = durable_end(y, log, &context, &end);
    struct st_target *list =
        code == ST_OK ? realloc(out->list, (out->count + context.count + 1) * sizeof *list) : NULL;
    if (code == ST_OK && list == NULL)
        code = st_fail(&y->fault, ST_NO_MEMORY, "out of memory");
    if (list != NULL)
        out->list = list;
    for (size_t i = 0; code == ST_OK && i < context.count; i++) {
        struct st_writer w = context.entries[i].writer;
        bool current = st_writer_compare(w, st_log_writer(log)) == 0;
        if (w.replica == log->identity.replica)
            out->list[out->count++] =
                (struct st_target){kind, log, w, current ? end : context.entries[i].counter};
    }
    st_vector_release(&context);
    return code;
}

static enum st_code targets_of(struct st_sync *y, struct targets *out)
{
    *out = (struct targets){0};
    enum st_code code = targets_add(y, ST_LOG_MAIN, y->log, out);
    return code == ST_OK && y->ledger != NULL ? targets_add(y, ST_LOG_STRONG, y->ledger, out)
                                              : code;
}

static int compare_targets(const struct st_target *t, const struct st_piece *p)
{
    return t->kind != p->kind ? (t->kind < p->kind ? -1 : 1)
                              : st_writer_compare(t->writer, p->writer);
}

static enum st_code keep(struct st_publication *k, size_t from, size_t end)
{
    enum st_code code = ST_OK;
    for (size_t i = from; code == ST_OK && i < end; i++)
        code = st_piece_add(k, &k->y->base.pieces[i], false);
    return code;
}

/* Whether pieces stay that our log knows nothing of. */
static bool keeps_unknown(const struct st_sync *y, enum st_log_kind kind)
{
    return kind == ST_LOG_MAIN || y->ledger == NULL;
}

/* Goes through what was published and what is to be side by side: both are sorted. */
static enum st_code assemble(struct st_publication *k, const struct targets *targets)
{
    const struct st_catalog *base = &k->y->base;
    enum st_code code = ST_OK;
    size_t at = 0, t = 0;
    while (code == ST_OK && (at < base->piece_count || t < targets->count)) {
        const struct st_target *target = t < targets->count ? &targets->list[t] : NULL;
        bool has = at < base->piece_count;
        int order = target == NULL ? 1 : !has ? -1 : compare_targets(target, &base->pieces[at]);
        size_t had = 0;
        if (order >= 0) {
            size_t end = st_catalog_end(base, at);
            bool kept = order == 0 || keeps_unknown(k->y, base->pieces[at].kind);
            if (kept)
                code = keep(k, at, end);
            k->changed = k->changed || !kept;
            had = kept ? end - at : 0;
            at = end;
        }
        if (order <= 0) {
            t++;
            uint64_t published = had > 0 ? k->next.pieces[k->next.piece_count - 1].last : 0;
            if (code == ST_OK &&
                (published < target->end || (target->kind == ST_LOG_STRONG && had > 0)))
                code = st_pieces_extend(k, target, had);
        }
    }
    return code;
}

enum st_code st_sync_unpublished(struct st_sync *y, uint64_t *records, uint64_t *entries)
{
    struct targets targets;
    enum st_code code = targets_of(y, &targets);
    *records = *entries = 0;
    for (size_t i = 0; code == ST_OK && i < targets.count; i++) {
        const struct st_target *t = &targets.list[i];
        const struct st_piece *last = st_catalog_last(&y->base, t->kind, t->writer);
        uint64_t published = last != NULL ? last->last : 0;
        *(t->kind == ST_LOG_MAIN ? records : entries) +=
            t->end > published ? t->end - published : 0;
    }
    free(targets.list);
    return code;
}

/* --- the commit ------------------------------------------------------------------------------- */

static enum st_code commit_make(struct st_publication *k, const char *root)
{
    struct st_sync *y = k->y;
    const struct st_identity *id = &y->log->identity;
    char message[64], variables[4][128];
    const char *args[10] = {"commit-tree", root, "-m", message};
    size_t n = 4;
    snprintf(message, sizeof message, "strata: %" PRIu64 " records", y->published);
    static const char *const who[] = {"GIT_AUTHOR", "GIT_COMMITTER"};
    const char *environment[5] = {variables[0], variables[1], variables[2], variables[3], NULL};
    for (int i = 0; i < 2; i++) {
        snprintf(variables[2 * i], sizeof variables[0], "%s_NAME=%s", who[i], id->name);
        snprintf(variables[2 * i + 1], sizeof variables[0], "%s_EMAIL=%016" PRIx64 "@strata",
                 who[i], id->replica);
    }
    if (y->remote_ahead) {
        args[n++] = "-p";
        args[n++] = y->remote_own;
    }
    if (y->local[0] != '\0') {
        args[n++] = "-p";
        args[n++] = y->local;
    }
    struct st_buf text;
    st_buf_init(&text, y->log->alloc);
    struct st_git_call call = {.args = args, .environment = environment, .out = &text};
    enum st_code code = st_git_must(&y->git, &call);
    st_buf_add_char(&text, '\0');
    char *rest = text.p;
    if (code == ST_OK && text.failed)
        code = st_publication_no_memory(k);
    if (code == ST_OK && !st_publication_take_id(&rest, y->commit))
        code = st_publication_misprinted(k, "commit-tree");
    st_buf_release(&text);
    st_point(y->log, "sync.committed");
    return code;
}

static enum st_code ref_update(struct st_sync *y)
{
    const char *const args[] = {"update-ref", "--no-deref",   y->own_ref,
                                y->commit,    y->local_value, NULL};
    struct st_git_call call = {.args = args};
    enum st_code code = st_git_must(&y->git, &call);
    st_point(y->log, "sync.referenced");
    return code;
}

/* What `strata` of the next commit says. */
static void manifest_text(struct st_sync *y, char out[ST_MANIFEST_TEXT_SIZE])
{
    const struct st_identity *id = &y->log->identity;
    struct st_manifest m = {id->workspace, id->replica, "", y->ledger_head};
    snprintf(m.name, sizeof m.name, "%s", id->name);
    st_manifest_format(&m, out);
}

static enum st_code heads_write(struct st_publication *k)
{
    struct st_sync *y = k->y;
    char text[ST_MANIFEST_TEXT_SIZE], path[ST_PATH_SIZE];
    manifest_text(y, text);
    enum st_code code = st_path(&y->fault, path, k->out, "strata", NULL);
    if (code == ST_OK)
        code = st_publication_file(k, path, text, strlen(text));
    struct st_buf board;
    st_buf_init(&board, y->log->alloc);
    st_sync_board_text(y, &board);
    if (code == ST_OK)
        code = st_path(&y->fault, path, k->out, "board", NULL);
    if (code == ST_OK)
        code = st_publication_file(k, path, board.p, board.n);
    st_buf_release(&board);
    return code;
}

/* Whether the next commit would say something new without a new piece. */
static bool manifest_changed(struct st_sync *y)
{
    char have[ST_MANIFEST_TEXT_SIZE], should[ST_MANIFEST_TEXT_SIZE];
    manifest_text(y, should);
    return !st_sync_manifest_known(y, y->base.manifest, have) || strcmp(have, should) != 0;
}

static enum st_code publish(struct st_publication *k)
{
    struct st_sync *y = k->y;
    struct targets targets = {0};
    char root[ST_OBJECT_ID_SIZE], text[ST_MANIFEST_TEXT_SIZE];
    enum st_code code = st_sync_directory(y, "out", k->out);
    if (code == ST_OK)
        code = targets_of(y, &targets);
    if (code == ST_OK)
        code = assemble(k, &targets);
    free(targets.list);
    if (code != ST_OK)
        return code;
    /* A workspace without records is published, too: so that a clone can join it. */
    bool needed =
        k->changed || y->remote_ahead || y->base.manifest[0] == '\0' || manifest_changed(y);
    snprintf(y->commit, sizeof y->commit, "%s", y->local);
    if (!needed)
        return ST_OK;
    code = heads_write(k);
    if (code == ST_OK)
        code = st_pieces_hash(k, true);
    if (code == ST_OK) {
        manifest_text(y, text);
        st_sync_manifest_remember(y, k->manifest, text);
    }
    st_point(y->log, "sync.hashed");
    if (code == ST_OK)
        code = st_publication_tree(k, root);
    if (code == ST_OK)
        code = commit_make(k, root);
    return code == ST_OK ? ref_update(y) : code;
}

enum st_code st_sync_publish(struct st_sync *y)
{
    struct st_publication k = {.y = y};
    st_point(y->log, "sync.taken-in");
    st_sync_say(y, "packing");
    st_buf_init(&k.bytes, y->log->alloc);
    y->published = y->ledger_published = 0;
    enum st_code code = publish(&k);
    st_buf_release(&k.bytes);
    st_catalog_release(&k.next);
    free(k.fresh);
    return code;
}
