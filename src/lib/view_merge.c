/*
 * view_merge.c - merging a text with views three ways, for Git.
 *
 * Each block is folded into its two markers (and a line that says so, if it was edited), the rest is
 * merged by lines, and the block put back. What is in it then:
 *
 *   one side left it as it was        what the other side has
 *   both are of the same rendering    their lines, merged by id: an edit of that rendering
 *   the state has seen all they show  what the state shows now; edits are taken in before
 *   anything else                     their lines, merged by id, of an unknown rendering
 *
 * The state has seen what a side shows when that was rendered here; or when every line of it is known
 * here, and what the side no longer has is not here either.
 */
#include "lib/files.h"

#include "files/kept.h"
#include "files/lines.h"
#include "files/view_merge.h"

#include <stdio.h>
#include <stdlib.h>

/* Views of one file that are merged as views; further ones are text. */
#define KEYS_MAX 32

enum { BASE, OURS, THEIRS, SIDES };

/* One block on one side. */
struct face {
    struct st_str body;
    char hash[ST_BLOCK_HASH_SIZE];
    bool there, whole;
    bool pure;                 /* as it was rendered */
    bool kept;                 /* and that rendering is known here */
    struct st_rendering shown; /* when kept */
};

struct merge {
    strata *s; /* NULL: no workspace */
    struct st_str text[SIDES];
    struct st_buf folded[SIDES];
    strata_overlap_visit *overlap;
    void *arg;
    char keys[KEYS_MAX][ST_BLOCK_KEY_SIZE];
    size_t key_count;
};

/* One block on all sides. */
struct block {
    struct merge *m;
    const char *key;
    const struct st_view *view;
    const char *subject; /* NULL: not known here */
    struct face face[SIDES];
    struct st_buf body, below;
    char hash[ST_BLOCK_HASH_SIZE];
};

/* --- which views ------------------------------------------------------------------------------ */

static const struct st_view *view_of(const char *key)
{
    char name[ST_BLOCK_KEY_SIZE];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(key, ":"), key);
    return st_view_find(name);
}

static bool has_key(const struct merge *m, const char *key)
{
    for (size_t i = 0; i < m->key_count; i++)
        if (strcmp(m->keys[i], key) == 0)
            return true;
    return false;
}

static void keys_find(struct merge *m, struct st_str text)
{
    struct st_str line;
    while (st_line_next(&text, &line) && m->key_count < KEYS_MAX) {
        char *key = m->keys[m->key_count];
        if (st_block_mark_key(line, key) && view_of(key) != NULL && !has_key(m, key))
            m->key_count++;
    }
}

/* The subject of a view in a file of this work tree, or of the key itself. */
static const char *subject_of(const struct merge *m, const struct st_view *view, const char *key)
{
    char is[ST_BLOCK_KEY_SIZE];
    const char *colon = strchr(key, ':');
    if (colon == NULL)
        return "";
    st_view_key(view, colon + 1, is);
    if (strcmp(is, key) == 0)
        return colon + 1;
    for (size_t i = 0; m->s != NULL && i < m->s->files->registry.count; i++) {
        const struct st_entry *e = &m->s->files->registry.list[i];
        if (e->kind != ST_ENTRY_VIEW || strcmp(e->name, view->name) != 0)
            continue;
        st_view_key(view, e->subject, is);
        if (strcmp(is, key) == 0)
            return e->subject;
    }
    return NULL;
}

/* --- folding ---------------------------------------------------------------------------------- */

/* What stands between the markers of a whole block. */
static struct st_str body_of(struct st_str text, const struct st_block_piece *p)
{
    struct st_str rest = {text.p + p->start, p->end - p->start}, line, body;
    (void)st_line_next(&rest, &line);
    body = (struct st_str){rest.p, 0};
    while (st_line_next(&rest, &line) && st_block_mark(line, NULL, NULL) != ST_MARK_END)
        body.n = (size_t)(rest.p - body.p);
    return body;
}

/* Lines end in \n in a rendering, whatever they end in here. */
static bool is_rendering(const char *key, const struct face *f)
{
    struct st_buf text;
    struct st_str rest = f->body, line;
    char hash[ST_BLOCK_HASH_SIZE];
    st_buf_init(&text, st_alloc_libc());
    while (st_line_next(&rest, &line)) {
        st_buf_add_str(&text, line);
        st_buf_add_char(&text, '\n');
    }
    st_rendering_hash(key, st_buf_str(&text), hash);
    bool is = !text.failed && strcmp(hash, f->hash) == 0;
    st_buf_release(&text);
    return is;
}

static void face_find(struct block *b, struct st_str text, struct face *f, struct st_blocks *blocks)
{
    const struct merge *m = b->m;
    *f = (struct face){.body = {"", 0}};
    st_rendering_init(&f->shown);
    st_blocks_find(text, b->key, b->view->classify, blocks);
    f->there = blocks->count > 0;
    f->whole = blocks->count == 1 && !blocks->damaged;
    if (!f->whole)
        return;
    memcpy(f->hash, blocks->pieces[0].hash, sizeof f->hash);
    f->body = body_of(text, &blocks->pieces[0]);
    f->pure = is_rendering(b->key, f);
    if (m->s != NULL) {
        st_rendering_release(&f->shown);
        f->kept = st_kept_load(m->s->files->kept, b->key, f->hash, &f->shown) == ST_OK;
    }
}

/* Folds a block in all texts that have it. False: it is damaged somewhere, and stays text. */
static bool fold(struct block *b)
{
    struct merge *m = b->m;
    struct st_blocks blocks[SIDES];
    for (int i = 0; i < SIDES; i++) {
        face_find(b, m->text[i], &b->face[i], &blocks[i]);
        if (b->face[i].there && !b->face[i].whole)
            return false;
    }
    for (int i = 0; i < SIDES; i++) {
        struct st_buf out;
        struct st_str folded = st_buf_str(&m->folded[i]);
        st_buf_init(&out, st_alloc_libc());
        st_blocks_find(folded, b->key, b->view->classify, &blocks[i]);
        struct st_str mark = b->face[i].pure ? (struct st_str){"", 0} : ST_STR("edited\n");
        if (b->face[i].there)
            st_block_put(folded, &blocks[i], b->key, "", mark, (struct st_str){"", 0}, &out);
        else
            st_buf_add_str(&out, folded);
        st_buf_release(&m->folded[i]);
        m->folded[i] = out;
    }
    return true;
}

/* --- what the state has seen ------------------------------------------------------------------ */

static bool share_dot(const struct st_rendering *a, size_t i, const struct st_rendering *b,
                      size_t k)
{
    const struct st_render_line *x = &a->lines[i], *y = &b->lines[k];
    for (size_t n = 0; n < x->dot_count; n++)
        for (size_t q = 0; q < y->dot_count; q++)
            if (st_dot_compare(a->dots[x->dot_first + n], b->dots[y->dot_first + q]) == 0)
                return true;
    return false;
}

/* A side that was rendered elsewhere, held against what is shown here. */
struct look {
    const struct block *b;
    const struct st_rendering *now;
    struct st_view_lines side, shown, base; /* base: as it was rendered, when that is kept */
    struct st_view_lines before;            /* of the base, as it is */
};

static const struct st_view_line *line_in(const struct look *l, const struct st_view_lines *lines,
                                          struct st_str line)
{
    const struct st_view_line *found = st_view_lines_find(lines, l->b->view, line);
    return found != NULL && st_str_equal(found->text, line) ? found : NULL;
}

/* Whether a line of the base that the side has no longer is shown here as it was: then its removal is
 * not known here. One that was written again since is another, if that can be told. */
static bool comes_back(const struct look *l, struct st_str line)
{
    struct st_str id;
    if (!l->b->view->identify(line, &id) || line_in(l, &l->side, line) != NULL)
        return false;
    const struct st_view_line *at = line_in(l, &l->shown, line), *was = line_in(l, &l->base, line);
    return at != NULL &&
           (was == NULL || share_dot(l->now, at->number, &l->b->face[BASE].shown, was->number));
}

/* Whether the side shows nothing that was not in the state here, and lacks nothing that is still in
 * it. Within a read. */
static enum st_code look_through(const struct look *l, const struct face *f, bool *is)
{
    struct st_view_source source = st_view_source(l->b->m->s, l->b->subject);
    const struct st_view *view = l->b->view;
    struct st_str rest = f->body, line;
    enum st_code code = ST_OK;
    *is = f->pure;
    while (code == ST_OK && *is && st_line_next(&rest, &line)) {
        *is = line_in(l, &l->shown, line) != NULL;
        const struct st_view_line *was = *is ? NULL : st_view_lines_find(&l->before, view, line);
        if (!*is && view->knows != NULL)
            code = view->knows(&source, line, was != NULL ? was->text : (struct st_str){"", 0}, is);
    }
    rest = l->b->face[BASE].body;
    while (code == ST_OK && *is && st_line_next(&rest, &line))
        *is = !comes_back(l, line);
    return code;
}

static enum st_code seen(const struct block *b, const struct face *f,
                         const struct st_rendering *now, bool *is)
{
    struct look l = {.b = b, .now = now};
    const struct face *base = &b->face[BASE];
    struct st_str was = base->kept ? st_buf_str(&base->shown.text) : (struct st_str){"", 0};
    bool good = st_view_lines_init(b->view, f->body, &l.side) &&
                st_view_lines_init(b->view, st_buf_str(&now->text), &l.shown) &&
                st_view_lines_init(b->view, was, &l.base) &&
                st_view_lines_init(b->view, base->body, &l.before);
    enum st_code code = good ? look_through(&l, f, is) : ST_NO_MEMORY;
    st_view_lines_release(&l.side);
    st_view_lines_release(&l.shown);
    st_view_lines_release(&l.base);
    st_view_lines_release(&l.before);
    return code;
}

/* --- from the state --------------------------------------------------------------------------- */

static enum st_code render(struct block *b, struct st_rendering *out)
{
    struct st_view_source source = st_view_source(b->m->s, b->subject);
    st_rendering_release(out);
    st_rendering_init(out);
    return b->view->render(&source, out);
}

/* What was edited on a side becomes records. *is false: not all of it can. */
static int take_in(struct block *b, struct face *f, bool *is)
{
    strata *s = b->m->s;
    struct st_edits edits;
    struct st_file_ops ops = {0};
    struct st_view_source source;
    enum st_code code = st_edits_find(b->view, &f->shown, f->body, &edits);
    *is = code == ST_OK && edits.unknown + edits.repeated == 0;
    int result = code == ST_OK ? STRATA_OK : st_lib_no_memory(s);
    memcpy(edits.base, f->hash, sizeof f->hash);
    if (*is && edits.changes > 0) {
        result = st_view_begin(s, b->view);
        if (result == STRATA_OK) {
            source = st_view_source(b->m->s, b->subject);
            code = b->view->apply(&source, &edits, &ops);
            st_lib_end(s);
            /* What is wished of tasks is for the next command. */
            *is = code == ST_OK && ops.wish_count + ops.unknown == 0;
        }
        if (result == STRATA_OK && *is && ops.count > 0)
            result = st_files_write(s, &ops);
    }
    if (*is)
        st_buf_add_str(&b->below, st_buf_str(&edits.below));
    st_edits_release(&edits);
    st_file_ops_release(&ops);
    return result;
}

/* Whether all that both sides show was in the state; then b->body is what it shows now. */
static bool from_state(struct block *b)
{
    strata *s = b->m->s;
    struct st_rendering now;
    struct st_fault fault;
    bool is = s != NULL && b->subject != NULL;
    st_rendering_init(&now);
    for (int i = OURS; is && i < SIDES; i++) {
        struct face *f = &b->face[i];
        if (f->kept && !f->pure)
            is = take_in(b, f, &is) == STRATA_OK && is;
    }
    if (is && st_view_begin(s, b->view) == STRATA_OK) {
        enum st_code code = render(b, &now);
        for (int i = OURS; code == ST_OK && is && i < SIDES; i++)
            if (!b->face[i].kept)
                code = seen(b, &b->face[i], &now, &is);
        st_lib_end(s);
        is = is && code == ST_OK;
    } else {
        is = false;
    }
#ifdef ST_DEFECT_MERGE_TRUSTS_STATE
    is = s != NULL && b->subject != NULL;
#endif
#ifdef ST_DEFECT_MERGE_IGNORES_STATE
    is = false;
#endif
    is = is && st_kept_save(s->log.env, s->files->kept, b->key, &now, &fault) == ST_OK;
    if (is) {
        st_buf_add_str(&b->body, st_buf_str(&now.text));
        st_rendering_hash(b->key, st_buf_str(&now.text), b->hash);
    }
    st_rendering_release(&now);
    return is;
}

/* --- the block -------------------------------------------------------------------------------- */

static bool same_face(const struct face *a, const struct face *b)
{
    return a->there == b->there && strcmp(a->hash, b->hash) == 0 && st_str_equal(a->body, b->body);
}

/* The one side that counts; NULL: both do. */
static const struct face *one_side(const struct block *b)
{
    const struct face *base = &b->face[BASE], *ours = &b->face[OURS], *theirs = &b->face[THEIRS];
    if (!theirs->there || same_face(ours, theirs) || (base->there && same_face(base, theirs)))
        return ours;
    return !ours->there || (base->there && same_face(base, ours)) ? theirs : NULL;
}

/* Whether both sides are edits of the same rendering. */
static bool of_one_rendering(const struct block *b)
{
    const char *hash = b->face[OURS].hash;
    return hash[0] != '\0' && strcmp(hash, b->face[THEIRS].hash) == 0;
}

/* What both sides are edits of, if it is one rendering: its lines, as far as they can be told. */
static struct st_str common_base(const struct block *b)
{
    const struct face *base = &b->face[BASE], *ours = &b->face[OURS], *theirs = &b->face[THEIRS];
    if (!of_one_rendering(b))
        return base->body;
    return ours->pure     ? ours->body
           : theirs->pure ? theirs->body
           : ours->kept   ? st_buf_str(&ours->shown.text)
                          : base->body;
}

static enum st_code by_lines(struct block *b)
{
    const struct face *ours = &b->face[OURS], *theirs = &b->face[THEIRS];
    bool one = of_one_rendering(b);
    memcpy(b->hash, one ? ours->hash : "merged", one ? sizeof b->hash : sizeof "merged");
    return st_view_merge_lines(b->view, common_base(b), ours->body, theirs->body, &b->body);
}

static enum st_code block_merge(struct block *b)
{
    const struct face *one = one_side(b);
    if (one != NULL) {
        st_buf_add_str(&b->body, one->body);
        memcpy(b->hash, one->hash, sizeof b->hash);
        return ST_OK;
    }
    if (!of_one_rendering(b) && from_state(b))
        return ST_OK;
    return by_lines(b);
}

/* Puts the block where its markers are. */
static enum st_code unfold(struct block *b, struct st_buf *text)
{
    struct st_blocks blocks;
    struct st_buf out;
    st_blocks_find(st_buf_str(text), b->key, b->view->classify, &blocks);
    if (blocks.count == 0)
        return ST_OK; /* it was taken out */
    enum st_code code = block_merge(b);
    if (code != ST_OK)
        return code;
    st_buf_init(&out, st_alloc_libc());
    st_block_put(st_buf_str(text), &blocks, b->key, b->hash, st_buf_str(&b->body),
                 st_buf_str(&b->below), &out);
    st_buf_release(text);
    *text = out;
    return out.failed || b->body.failed || b->below.failed ? ST_NO_MEMORY : ST_OK;
}

/* --- the text --------------------------------------------------------------------------------- */

static void visit(void *arg, size_t line, struct st_str base, struct st_str a, struct st_str b)
{
    struct merge *m = arg;
    m->overlap(m->arg, line, base.p, base.n, a.p, a.n, b.p, b.n);
}

static void block_release(struct block *b)
{
    for (int i = 0; i < SIDES; i++)
        st_rendering_release(&b->face[i].shown);
    st_buf_release(&b->body);
    st_buf_release(&b->below);
}

static enum st_code merge_texts(struct merge *m, struct st_buf *out)
{
    struct block *blocks = calloc(KEYS_MAX, sizeof *blocks);
    bool folded[KEYS_MAX] = {false};
    if (blocks == NULL)
        return ST_NO_MEMORY;
    for (int i = 0; i < SIDES; i++)
        keys_find(m, m->text[i]);
    for (size_t i = 0; i < m->key_count; i++) {
        struct block *b = &blocks[i];
        *b = (struct block){.m = m, .key = m->keys[i], .view = view_of(m->keys[i])};
        b->subject = subject_of(m, b->view, b->key);
        st_buf_init(&b->body, st_alloc_libc());
        st_buf_init(&b->below, st_alloc_libc());
        folded[i] = fold(b);
    }
    enum st_code code =
        st_lines_merge_each(st_buf_str(&m->folded[BASE]), st_buf_str(&m->folded[OURS]),
                            st_buf_str(&m->folded[THEIRS]), ST_KEEP_BOTH, out, visit, m);
    for (size_t i = 0; i < m->key_count; i++) {
        if (code == ST_OK && folded[i])
            code = unfold(&blocks[i], out);
        block_release(&blocks[i]);
    }
    free(blocks);
    return out->failed ? ST_NO_MEMORY : code;
}

bool strata_has_view(const char *text, size_t size)
{
    struct st_str rest = {text, size}, line;
    char key[ST_BLOCK_KEY_SIZE];
    while (st_line_next(&rest, &line))
        if (st_block_mark_key(line, key) && view_of(key) != NULL)
            return true;
    return false;
}

int strata_view_merge(strata *s, const char *const texts[3], const size_t sizes[3],
                      strata_overlap_visit *overlap, void *arg, char **merged, size_t *size)
{
    struct merge m = {.overlap = overlap, .arg = arg};
    struct st_buf out;
    /* What cannot be had of the state is done without it: correctness does not depend on it. */
    if (s != NULL && st_files_begin(s) == STRATA_OK)
        m.s = s;
    st_buf_init(&out, st_alloc_libc());
    for (int i = 0; i < SIDES; i++) {
        m.text[i] = (struct st_str){texts[i], sizes[i]};
        st_buf_init(&m.folded[i], st_alloc_libc());
        st_buf_add(&m.folded[i], texts[i], sizes[i]);
    }
    enum st_code code = merge_texts(&m, &out);
    for (int i = 0; i < SIDES; i++)
        st_buf_release(&m.folded[i]);
    if (m.s != NULL)
        (void)st_files_end(s, STRATA_OK);
    st_buf_add_char(&out, '\0');
    if (code == ST_OK && out.failed)
        code = ST_NO_MEMORY;
    if (code != ST_OK) {
        st_buf_release(&out);
        return code;
    }
    *merged = out.p;
    *size = out.n - 1;
    return STRATA_OK;
}
