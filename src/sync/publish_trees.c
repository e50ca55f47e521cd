/* publish_trees.c - the trees above the pieces: of segments, of writers, and the root. See catalog.h. */
#include "sync/publication.h"

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

static bool any_fresh(const struct st_publication *k, size_t from, size_t end)
{
    for (size_t i = from; i < end; i++)
        if (k->fresh[i])
            return true;
    return false;
}

/* Makes trees of `text` (tree after tree, an empty line between) and gives their ids to those of
 * next.trees that have none, in order. */
static enum st_code trees_make(struct st_publication *k, struct st_buf *text, bool segments)
{
    const char *const args[] = {"mktree", "--batch", NULL};
    struct st_buf ids;
    st_buf_init(&ids, k->y->log->alloc);
    struct st_git_call call = {.args = args, .input = st_buf_str(text), .out = &ids};
    enum st_code code = text->failed ? st_publication_no_memory(k) : ST_OK;
    if (code == ST_OK && text->n > 0)
        code = st_git_must(&k->y->git, &call);
    st_buf_add_char(&ids, '\0');
    if (code == ST_OK && ids.failed)
        code = st_publication_no_memory(k);
    char *rest = ids.p;
    for (size_t i = 0; code == ST_OK && i < k->next.tree_count; i++) {
        struct st_piece_tree *tree = &k->next.trees[i];
        if (tree->id[0] == '\0' && (tree->segment != 0) == segments &&
            !st_publication_take_id(&rest, tree->id))
            code = st_publication_misprinted(k, "mktree");
    }
    st_buf_release(&ids);
    st_buf_reset(text);
    return code;
}

/* Adds the trees of one writer to next.trees, and to `text` what those of its segments have that
 * are new. */
static enum st_code segments_of(struct st_publication *k, size_t from, size_t end,
                                struct st_buf *text)
{
    const struct st_piece *p = &k->next.pieces[from];
    struct st_piece_tree tree = {.kind = p->kind, .writer = p->writer};
    const struct st_piece_tree *old = st_catalog_tree(&k->y->base, p->kind, p->writer, 0);
    bool same = old != NULL && !any_fresh(k, from, end);
    if (same)
        memcpy(tree.id, old->id, sizeof tree.id);
    if (!st_catalog_add_tree(&k->next, &tree))
        return st_publication_no_memory(k);
    for (size_t i = from, after; !same && i < end; i = after) {
        after = segment_end(&k->next, i, end);
        tree.segment = k->next.pieces[i].segment;
        tree.id[0] = '\0';
        old = st_catalog_tree(&k->y->base, p->kind, p->writer, tree.segment);
        if (old != NULL && !any_fresh(k, i, after))
            memcpy(tree.id, old->id, sizeof tree.id);
        if (!st_catalog_add_tree(&k->next, &tree))
            return st_publication_no_memory(k);
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

static void writers_of(struct st_publication *k, struct st_buf *text)
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

static enum st_code root_make(struct st_publication *k, struct st_buf *text,
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
    enum st_code code = text->failed ? st_publication_no_memory(k) : st_git_must(&k->y->git, &call);
    st_buf_add_char(&id, '\0');
    char *rest = id.p;
    if (code == ST_OK && id.failed)
        code = st_publication_no_memory(k);
    if (code == ST_OK && !st_publication_take_id(&rest, root))
        code = st_publication_misprinted(k, "mktree");
    st_buf_release(&id);
    return code;
}

enum st_code st_publication_tree(struct st_publication *k, char root[ST_OBJECT_ID_SIZE])
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
