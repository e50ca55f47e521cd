/* publish_pieces.c - what is new of a log as pieces, in blobs. See publication.h. */
#include "sync/publication.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Pieces lie in <state>/sync/out until git has them; more than this at once is not gathered. */
#define GATHER_SIZE_MAX (64u * 1024 * 1024)

/* --- blobs ------------------------------------------------------------------------------------ */

static enum st_code out_path(struct st_publication *k, size_t number, char out[ST_PATH_SIZE])
{
    char name[24];
    snprintf(name, sizeof name, "%zu", number);
    return st_path(&k->y->fault, out, k->out, name, NULL);
}

enum st_code st_pieces_hash(struct st_publication *k, bool head)
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
        code = st_publication_no_memory(k);
    if (code == ST_OK && paths.n > 0)
        code = st_git_must(&k->y->git, &call);
    st_buf_add_char(&ids, '\0');
    if (code == ST_OK && ids.failed)
        code = st_publication_no_memory(k);
    char *rest = ids.p;
    for (; code == ST_OK && k->hashed < k->next.piece_count; k->hashed++) {
        if (!k->fresh[k->hashed])
            continue;
        if (!st_publication_take_id(&rest, k->next.pieces[k->hashed].id))
            code = st_publication_misprinted(k, "hash-object");
        else if ((code = out_path(k, k->hashed, path)) == ST_OK)
            k->y->log->env->unlink(k->y->log->env->ctx, path);
    }
    if (code == ST_OK && head &&
        (!st_publication_take_id(&rest, k->manifest) || !st_publication_take_id(&rest, k->board)))
        code = st_publication_misprinted(k, "hash-object");
    k->gathered = 0;
    st_buf_release(&paths);
    st_buf_release(&ids);
    return code;
}

enum st_code st_piece_add(struct st_publication *k, const struct st_piece *p, bool fresh)
{
    if (!st_catalog_add_piece(&k->next, p))
        return st_publication_no_memory(k);
    if (k->fresh_cap < k->next.piece_cap) {
        bool *more = realloc(k->fresh, k->next.piece_cap * sizeof *more);
        if (more == NULL)
            return st_publication_no_memory(k);
        k->fresh = more;
        k->fresh_cap = k->next.piece_cap;
    }
    k->fresh[k->next.piece_count - 1] = fresh;
    return ST_OK;
}

/* --- reading the log -------------------------------------------------------------------------- */

struct reading {
    struct st_publication *k;
    const struct st_target *t;
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
    struct st_publication *k = g->k;
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
    return k->bytes.failed ? st_publication_no_memory(k) : ST_OK;
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
    struct st_publication *k = g->k;
    char path[ST_PATH_SIZE];
    enum st_code code = put_together(g);
    if (code == ST_OK)
        code = out_path(k, k->next.piece_count, path);
    if (code == ST_OK)
        code = st_publication_file(k, path, k->bytes.p, k->bytes.n);
    if (code == ST_OK)
        code = st_piece_add(k, &g->piece, true);
    k->gathered += g->piece.size;
    k->changed = true;
    return code == ST_OK && k->gathered > GATHER_SIZE_MAX ? st_pieces_hash(k, false) : code;
}

enum st_code st_pieces_extend(struct st_publication *k, const struct st_target *t, size_t had)
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
