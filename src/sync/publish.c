/*
 * publish.c - from the log to a commit on our own reference, and from there to the remote.
 *
 * What was published before stays as it is; what is new becomes one piece for each segment that it
 * is in. When many small pieces of a segment have come together they are put in one: the listing of
 * a segment stays short, and no byte is stored more than a few times.
 */
#include "sync/sync_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Pieces lie in <state>/sync/out until git has them; more than this at once is not gathered. */
#define GATHER_SIZE_MAX (64u * 1024 * 1024)

struct publication {
    struct st_sync *y;
    struct st_catalog next; /* the pieces of the commit to be; without trees */
    bool *fresh;            /* of each piece: its blob is not made yet */
    size_t fresh_cap;
    size_t hashed;     /* pieces before this one have their blobs */
    uint64_t gathered; /* bytes */
    char out[ST_PATH_SIZE];
    char manifest[ST_OBJECT_ID_SIZE], board[ST_OBJECT_ID_SIZE];
    struct st_buf bytes; /* the piece being read */
    bool changed;
};

/* One writer, up to where it is published. */
struct target {
    enum st_log_kind kind;
    struct st_log *log;
    struct st_writer writer;
    uint64_t end;
};

static enum st_code no_memory(struct publication *k)
{
    return st_fail(&k->y->fault, ST_NO_MEMORY, "out of memory");
}

/* --- blobs ------------------------------------------------------------------------------------ */

static enum st_code out_path(struct publication *k, size_t number, char out[ST_PATH_SIZE])
{
    char name[24];
    snprintf(name, sizeof name, "%zu", number);
    return st_path(&k->y->fault, out, k->out, name, NULL);
}

static enum st_code out_write(struct publication *k, const char *path, const char *bytes, size_t n)
{
    const struct st_env *env = k->y->log->env;
    int fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    int r = fd < 0 ? fd : st_write_all(env, fd, bytes, n, 0);
    if (fd >= 0)
        env->close(env->ctx, fd);
    return r < 0 ? st_fail_system(&k->y->fault, r, "cannot write %s", path) : ST_OK;
}

/* The next line of *rest, an object's id, into out. */
static bool take_id(char **rest, char out[ST_OBJECT_ID_SIZE])
{
    char *line = strsep(rest, "\n");
    if (line == NULL || !st_object_id_valid(line))
        return false;
    memcpy(out, line, strlen(line) + 1);
    return true;
}

static enum st_code git_misprinted(struct publication *k, const char *what)
{
    return st_fail(&k->y->fault, ST_IO, "git %s did not print what it should", what);
}

/* Makes the blobs of all pieces that are in files, and with `head` those of `strata` and `board`.
 */
static enum st_code hash_all(struct publication *k, bool head)
{
    const char *const args[] = {"hash-object", "-w", "--no-filters", "--stdin-paths", NULL};
    struct st_buf paths, ids;
    char path[ST_PATH_SIZE];
    enum st_code code = ST_OK;
    st_buf_init(&paths, k->y->log->alloc);
    st_buf_init(&ids, k->y->log->alloc);
    for (size_t i = k->hashed; code == ST_OK && i < k->next.piece_count; i++) {
        if (!k->fresh[i])
            continue;
        code = out_path(k, i, path);
        st_buf_add_text(&paths, path);
        st_buf_add_char(&paths, '\n');
    }
    for (int i = 0; head && code == ST_OK && i < 2; i++) {
        code = st_path(&k->y->fault, path, k->out, i == 0 ? "strata" : "board", NULL);
        st_buf_add_text(&paths, path);
        st_buf_add_char(&paths, '\n');
    }
    struct st_git_call call = {.args = args, .input = st_buf_str(&paths), .out = &ids};
    if (code == ST_OK && paths.failed)
        code = no_memory(k);
    if (code == ST_OK && paths.n > 0)
        code = st_git_must(&k->y->git, &call);
    st_buf_add_char(&ids, '\0');
    if (code == ST_OK && ids.failed)
        code = no_memory(k);
    char *rest = ids.p;
    for (; code == ST_OK && k->hashed < k->next.piece_count; k->hashed++) {
        if (!k->fresh[k->hashed])
            continue;
        if (!take_id(&rest, k->next.pieces[k->hashed].id))
            code = git_misprinted(k, "hash-object");
        else if ((code = out_path(k, k->hashed, path)) == ST_OK)
            k->y->log->env->unlink(k->y->log->env->ctx, path);
    }
    if (code == ST_OK && head && (!take_id(&rest, k->manifest) || !take_id(&rest, k->board)))
        code = git_misprinted(k, "hash-object");
    k->gathered = 0;
    st_buf_release(&paths);
    st_buf_release(&ids);
    return code;
}

static enum st_code piece_add(struct publication *k, const struct st_piece *p, bool fresh)
{
    if (!st_catalog_add_piece(&k->next, p))
        return no_memory(k);
    if (k->fresh_cap < k->next.piece_cap) {
        bool *more = realloc(k->fresh, k->next.piece_cap * sizeof *more);
        if (more == NULL)
            return no_memory(k);
        k->fresh = more;
        k->fresh_cap = k->next.piece_cap;
    }
    k->fresh[k->next.piece_count - 1] = fresh;
    return ST_OK;
}

/* --- reading the log -------------------------------------------------------------------------- */

struct reading {
    struct publication *k;
    const struct target *t;
    struct st_log_reader r;
    struct st_piece piece; /* what is in k->bytes */
};

static enum st_code read_failed(struct reading *g, enum st_code code)
{
    if (code == ST_NOT_FOUND)
        code =
            st_fail(&g->r.fault, ST_DAMAGED, "%s ends before record %" PRIu64, g->r.dir, g->t->end);
    g->k->y->fault = g->r.fault;
    return code;
}

/* Reads records from `first` to `last` of the segment that has `first` into k->bytes; fewer when
 * the segment ends. */
static enum st_code read_piece(struct reading *g, uint64_t first, uint64_t last)
{
    struct publication *k = g->k;
    struct st_str line;
    struct st_record head;
    enum st_code code = ST_OK;
    st_buf_reset(&k->bytes);
    g->piece = (struct st_piece){.kind = g->t->kind, .writer = g->t->writer, .first = first};
    bool found = g->r.counter + 1 != first;
    if (found)
        code = st_log_reader_find(&g->r, first);
    while (code == ST_OK && g->piece.last < last) {
        g->r.one_segment = true;
        code = st_log_reader_next(&g->r, &line, &head);
        g->r.one_segment = false;
        if (code == ST_NOT_FOUND && g->piece.last != 0)
            break;
        if (code == ST_NOT_FOUND && !found) {
            /* The reader stands at the end of the segment before. */
            code = st_log_reader_find(&g->r, first);
            found = true;
            continue;
        }
        if (code != ST_OK)
            return read_failed(g, code);
        g->piece.segment = g->r.line_segment;
        g->piece.last = head.dot.counter;
        g->piece.checksum = head.checksum;
        g->piece.size += line.n;
        st_buf_add_str(&k->bytes, line);
    }
    if (code != ST_OK && code != ST_NOT_FOUND)
        return read_failed(g, code);
    return k->bytes.failed ? no_memory(k) : ST_OK;
}

/* Where a run of pieces at the end that are all smaller than `limit` begins, if there are enough of
 * them, the new one included; else SIZE_MAX. */
static size_t run_begins(const struct st_catalog *c, const struct st_piece *fresh, uint64_t limit)
{
    size_t i = c->piece_count;
#if defined(ST_DEFECT_SYNC_NEVER_TOGETHER)
    return SIZE_MAX;
#elif defined(ST_DEFECT_SYNC_WHOLE_EACH_TIME)
    limit = SIZE_MAX;
#endif
    if (fresh->size >= limit)
        return SIZE_MAX;
    while (i > 0) {
        const struct st_piece *p = &c->pieces[i - 1];
        if (p->kind != fresh->kind || st_writer_compare(p->writer, fresh->writer) != 0 ||
            p->segment != fresh->segment || p->size >= limit)
            break;
        i--;
    }
#ifdef ST_DEFECT_SYNC_WHOLE_EACH_TIME
    return i < c->piece_count ? i : SIZE_MAX;
#endif
    return c->piece_count - i + 1 >= ST_PIECES_RUN ? i : SIZE_MAX;
}

/* Puts the new piece and the small ones before it together, if it is time. */
static enum st_code put_together(struct reading *g)
{
    struct st_catalog *next = &g->k->next;
    size_t from = run_begins(next, &g->piece, ST_PIECE_SMALL);
    struct st_piece whole = g->piece;
    if (from != SIZE_MAX)
        for (size_t i = from; i < next->piece_count; i++)
            whole.size += next->pieces[i].size;
    else
        from = next->piece_count;
    struct st_catalog before = {.pieces = next->pieces, .piece_count = from};
    size_t further = run_begins(&before, &whole, ST_PIECE_MEDIUM);
    if (further != SIZE_MAX)
        from = further;
    if (from == next->piece_count)
        return ST_OK;
    uint64_t first = next->pieces[from].first, last = g->piece.last;
    next->piece_count = from;
    if (g->k->hashed > from)
        g->k->hashed = from;
    return read_piece(g, first, last);
}

static enum st_code gather(struct reading *g)
{
    struct publication *k = g->k;
    char path[ST_PATH_SIZE];
    enum st_code code = put_together(g);
    if (code == ST_OK)
        code = out_path(k, k->next.piece_count, path);
    if (code == ST_OK)
        code = out_write(k, path, k->bytes.p, k->bytes.n);
    if (code == ST_OK)
        code = piece_add(k, &g->piece, true);
    k->gathered += g->piece.size;
    k->changed = true;
    return code == ST_OK && k->gathered > GATHER_SIZE_MAX ? hash_all(k, false) : code;
}

/* Publishes what is new of a writer behind its last `had` pieces, which are there already. Where our
 * log is another one: of the ordered log ours counts, of the records what was published (a new epoch
 * has begun, or will). */
static enum st_code writer_extend(struct publication *k, const struct target *t, size_t had)
{
    struct reading g = {.k = k, .t = t};
    struct st_catalog *next = &k->next;
    uint64_t published = had > 0 ? next->pieces[next->piece_count - 1].last : 0;
    bool goes_on = true;
    enum st_code code =
        st_log_reader_open(&g.r, t->log->env, t->log->alloc, t->log->dir, t->writer);
    if (code == ST_OK && had > 0) {
        code = st_sync_has_end(&g.r, &next->pieces[next->piece_count - 1], &goes_on);
        if (code != ST_OK)
            code = read_failed(&g, code);
    }
    if (code == ST_OK && !goes_on && t->kind == ST_LOG_STRONG) {
        next->piece_count -= had;
        published = 0;
        goes_on = k->changed = true;
    }
    while (code == ST_OK && goes_on && published < t->end) {
        code = read_piece(&g, published + 1, t->end);
        if (code != ST_OK)
            break;
        *(t->kind == ST_LOG_MAIN ? &k->y->published : &k->y->ledger_published) +=
            g.piece.last - published;
        published = g.piece.last;
        code = gather(&g);
    }
    st_log_reader_close(&g.r);
    return code;
}

/* --- what is to be published ------------------------------------------------------------------ */

struct targets {
    struct target *list;
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
    struct target *list =
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
                (struct target){kind, log, w, current ? end : context.entries[i].counter};
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

static int compare_targets(const struct target *t, const struct st_piece *p)
{
    return t->kind != p->kind ? (t->kind < p->kind ? -1 : 1)
                              : st_writer_compare(t->writer, p->writer);
}

static enum st_code keep(struct publication *k, size_t from, size_t end)
{
    enum st_code code = ST_OK;
    for (size_t i = from; code == ST_OK && i < end; i++)
        code = piece_add(k, &k->y->base.pieces[i], false);
    return code;
}

/* Whether pieces stay that our log knows nothing of. */
static bool keeps_unknown(const struct st_sync *y, enum st_log_kind kind)
{
    return kind == ST_LOG_MAIN || y->ledger == NULL;
}

/* Goes through what was published and what is to be side by side: both are sorted. */
static enum st_code assemble(struct publication *k, const struct targets *targets)
{
    const struct st_catalog *base = &k->y->base;
    enum st_code code = ST_OK;
    size_t at = 0, t = 0;
    while (code == ST_OK && (at < base->piece_count || t < targets->count)) {
        const struct target *target = t < targets->count ? &targets->list[t] : NULL;
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
                code = writer_extend(k, target, had);
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
        const struct target *t = &targets.list[i];
        const struct st_piece *last = st_catalog_last(&y->base, t->kind, t->writer);
        uint64_t published = last != NULL ? last->last : 0;
        *(t->kind == ST_LOG_MAIN ? records : entries) +=
            t->end > published ? t->end - published : 0;
    }
    free(targets.list);
    return code;
}

/* --- trees ------------------------------------------------------------------------------------ */

static void tree_line(struct st_buf *out, const char *mode_and_type, const char *id,
                      const char *name)
{
    st_buf_add_text(out, mode_and_type);
    st_buf_add_text(out, id);
    st_buf_add_char(out, '\t');
    st_buf_add_text(out, name);
    st_buf_add_char(out, '\n');
}

/* Where the pieces of the segment of piece `from` end. */
static size_t segment_end(const struct st_catalog *c, size_t from, size_t writer_end)
{
    size_t i = from;
    while (i < writer_end && c->pieces[i].segment == c->pieces[from].segment)
        i++;
    return i;
}

static bool any_fresh(const struct publication *k, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++)
        if (k->fresh[i])
            return true;
    return false;
}

/* Makes trees of `text` (tree after tree, an empty line between) and gives their ids to those of
 * next.trees that have none, in order. */
static enum st_code trees_make(struct publication *k, struct st_buf *text, bool segments)
{
    const char *const args[] = {"mktree", "--batch", NULL};
    struct st_buf ids;
    st_buf_init(&ids, k->y->log->alloc);
    struct st_git_call call = {.args = args, .input = st_buf_str(text), .out = &ids};
    enum st_code code = text->failed ? no_memory(k) : ST_OK;
    if (code == ST_OK && text->n > 0)
        code = st_git_must(&k->y->git, &call);
    st_buf_add_char(&ids, '\0');
    if (code == ST_OK && ids.failed)
        code = no_memory(k);
    char *rest = ids.p;
    for (size_t i = 0; code == ST_OK && i < k->next.tree_count; i++) {
        struct st_piece_tree *tree = &k->next.trees[i];
        if (tree->id[0] == '\0' && (tree->segment != 0) == segments && !take_id(&rest, tree->id))
            code = git_misprinted(k, "mktree");
    }
    st_buf_release(&ids);
    st_buf_reset(text);
    return code;
}

/* Adds the trees of one writer to next.trees, and to `text` what those of its segments have that
 * are new. */
static enum st_code segments_of(struct publication *k, size_t from, size_t end, struct st_buf *text)
{
    const struct st_piece *p = &k->next.pieces[from];
    struct st_piece_tree tree = {.kind = p->kind, .writer = p->writer};
    const struct st_piece_tree *old = st_catalog_tree(&k->y->base, p->kind, p->writer, 0);
    bool same = old != NULL && !any_fresh(k, from, end);
    if (same)
        memcpy(tree.id, old->id, sizeof tree.id);
    if (!st_catalog_add_tree(&k->next, &tree))
        return no_memory(k);
    for (size_t i = from, after; !same && i < end; i = after) {
        after = segment_end(&k->next, i, end);
        tree.segment = k->next.pieces[i].segment;
        tree.id[0] = '\0';
        old = st_catalog_tree(&k->y->base, p->kind, p->writer, tree.segment);
        if (old != NULL && !any_fresh(k, i, after))
            memcpy(tree.id, old->id, sizeof tree.id);
        if (!st_catalog_add_tree(&k->next, &tree))
            return no_memory(k);
        if (tree.id[0] != '\0')
            continue;
        for (size_t n = i; n < after; n++) {
            char name[ST_ENTRY_SIZE];
            st_piece_name(&k->next.pieces[n], name);
            tree_line(text, "100644 blob ", k->next.pieces[n].id, name);
        }
        st_buf_add_char(text, '\n');
    }
    return ST_OK;
}

static void writers_of(struct publication *k, struct st_buf *text)
{
    const struct st_catalog *c = &k->next;
    for (size_t i = 0; i < c->tree_count; i++) {
        if (c->trees[i].segment != 0 || c->trees[i].id[0] != '\0')
            continue;
        for (size_t n = i + 1; n < c->tree_count && c->trees[n].segment != 0; n++) {
            char name[ST_ENTRY_SIZE];
            st_segment_name(c->trees[n].segment, name);
            tree_line(text, "040000 tree ", c->trees[n].id, name);
        }
        st_buf_add_char(text, '\n');
    }
}

static enum st_code root_make(struct publication *k, struct st_buf *text,
                              char root[ST_OBJECT_ID_SIZE])
{
    const char *const args[] = {"mktree", NULL};
    struct st_buf id;
    st_buf_init(&id, k->y->log->alloc);
    tree_line(text, "100644 blob ", k->manifest, "strata");
    tree_line(text, "100644 blob ", k->board, "board");
    for (size_t i = 0; i < k->next.tree_count; i++) {
        char name[ST_ENTRY_SIZE];
        const struct st_piece_tree *tree = &k->next.trees[i];
        st_writer_name(tree->kind, tree->writer, name);
        if (tree->segment == 0)
            tree_line(text, "040000 tree ", tree->id, name);
    }
    struct st_git_call call = {.args = args, .input = st_buf_str(text), .out = &id};
    enum st_code code = text->failed ? no_memory(k) : st_git_must(&k->y->git, &call);
    st_buf_add_char(&id, '\0');
    char *rest = id.p;
    if (code == ST_OK && id.failed)
        code = no_memory(k);
    if (code == ST_OK && !take_id(&rest, root))
        code = git_misprinted(k, "mktree");
    st_buf_release(&id);
    return code;
}

static enum st_code tree_make(struct publication *k, char root[ST_OBJECT_ID_SIZE])
{
    struct st_buf text;
    st_buf_init(&text, k->y->log->alloc);
    enum st_code code = ST_OK;
    for (size_t from = 0, end; code == ST_OK && from < k->next.piece_count; from = end) {
        end = st_catalog_end(&k->next, from);
        code = segments_of(k, from, end, &text);
    }
    if (code == ST_OK)
        code = trees_make(k, &text, true);
    writers_of(k, &text);
    if (code == ST_OK)
        code = trees_make(k, &text, false);
    if (code == ST_OK)
        code = root_make(k, &text, root);
    st_buf_release(&text);
    return code;
}

/* --- the commit ------------------------------------------------------------------------------- */

static enum st_code commit_make(struct publication *k, const char *root)
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
        code = no_memory(k);
    if (code == ST_OK && !take_id(&rest, y->commit))
        code = git_misprinted(k, "commit-tree");
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

static enum st_code heads_write(struct publication *k)
{
    struct st_sync *y = k->y;
    char text[ST_MANIFEST_TEXT_SIZE], path[ST_PATH_SIZE];
    manifest_text(y, text);
    enum st_code code = st_path(&y->fault, path, k->out, "strata", NULL);
    if (code == ST_OK)
        code = out_write(k, path, text, strlen(text));
    struct st_buf board;
    st_buf_init(&board, y->log->alloc);
    st_sync_board_text(y, &board);
    if (code == ST_OK)
        code = st_path(&y->fault, path, k->out, "board", NULL);
    if (code == ST_OK)
        code = out_write(k, path, board.p, board.n);
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

static enum st_code publish(struct publication *k)
{
    struct st_sync *y = k->y;
    struct targets targets;
    char root[ST_OBJECT_ID_SIZE], text[ST_MANIFEST_TEXT_SIZE];
    enum st_code code = st_sync_directory(y, "out", k->out);
    if (code == ST_OK)
        code = targets_of(y, &targets);
    if (code != ST_OK)
        return code;
    code = assemble(k, &targets);
    free(targets.list);
    /* A workspace without records is published, too: so that a clone can join it. */
    bool needed =
        k->changed || y->remote_ahead || y->base.manifest[0] == '\0' || manifest_changed(y);
    snprintf(y->commit, sizeof y->commit, "%s", y->local);
    if (code != ST_OK || !needed)
        return code;
    code = heads_write(k);
    if (code == ST_OK)
        code = hash_all(k, true);
    if (code == ST_OK) {
        manifest_text(y, text);
        st_sync_manifest_remember(y, k->manifest, text);
    }
    st_point(y->log, "sync.hashed");
    if (code == ST_OK)
        code = tree_make(k, root);
    if (code == ST_OK)
        code = commit_make(k, root);
    return code == ST_OK ? ref_update(y) : code;
}

enum st_code st_sync_publish(struct st_sync *y)
{
    struct publication k = {.y = y};
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

/* --- pushing ---------------------------------------------------------------------------------- */

/* Somebody else has moved the reference since it was looked at: a copy of this clone. */
static bool lost_a_race(const char *report)
{
    static const char *const signs[] = {
        "[rejected]",           "fetch first",    "non-fast-forward",   "cannot lock ref",
        "failed to update ref", "already exists", "incorrect old value"};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (strstr(report, signs[i]) != NULL)
            return true;
    return false;
}

static enum st_code push_refused(struct st_sync *y, const struct st_git_call *call, char *report)
{
    char *line = strstr(report, "!\t");
    if (line == NULL) {
        st_fail(&y->fault, ST_UNAVAILABLE, "git push failed: %s", call->message);
        return st_hint(&y->fault, "the records are kept here and are sent next time; look whether "
                                  "`git push` to that remote works");
    }
    line[strcspn(line, "\n")] = '\0';
    if (lost_a_race(line))
        return st_fail(&y->fault, ST_CONFLICT, "%s changed meanwhile: %s", y->remote, line + 2);
    st_fail(&y->fault, ST_DENIED, "%s does not accept %s: %s", y->remote, y->own_ref, line + 2);
    return st_hint(&y->fault, "the records are kept here; whoever runs the remote has to allow "
                              "references under refs/strata");
}

enum st_code st_sync_push(struct st_sync *y)
{
    if (y->commit[0] == '\0' || strcmp(y->commit, y->remote_own) == 0)
        return ST_OK;
    char spec[160], mirror[ST_REMOTE_SIZE + 32];
#ifdef ST_DEFECT_SYNC_FORCED
    snprintf(spec, sizeof spec, "+%s:%s", y->own_ref, y->own_ref);
#else
    snprintf(spec, sizeof spec, "%s:%s", y->own_ref, y->own_ref);
#endif
    /* A remote that is set up as a mirror would be sent everything. */
    snprintf(mirror, sizeof mirror, "remote.%s.mirror=false", y->named ? y->remote : "strata");
    const char *const args[] = {"-c",          mirror,
                                "push",        "--porcelain",
                                "--no-verify", "--no-follow-tags",
                                "--no-signed", "--recurse-submodules=no",
                                "--",          y->remote,
                                spec,          NULL};
    struct st_buf report;
    st_buf_init(&report, y->log->alloc);
    struct st_git_call call = {.args = args, .out = &report, .network = true};
    st_sync_say(y, "sending");
    enum st_code code = st_git_run(&y->git, &call);
    st_point(y->log, "sync.pushed");
    st_buf_add_char(&report, '\0');
    if (code == ST_OK && report.failed)
        code = st_fail(&y->fault, ST_NO_MEMORY, "out of memory");
    if (code == ST_OK && call.status != 0)
        code = push_refused(y, &call, report.p);
    st_buf_release(&report);
    return code;
}
