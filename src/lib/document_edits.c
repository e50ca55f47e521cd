/*
 * document_edits.c - what an editor made of a tracked file becomes a version, and versions that were
 * written in two places are merged.
 */
#include "lib/document.h"

#include "files/lines.h"

#include <stdio.h>

/* Removing what another added so lately is listed: its author cannot have seen it long. */
#define RECENT_MS (10u * 60 * 1000)

static int read_text(struct st_document *d, const struct st_version *v, struct st_buf *out)
{
    return st_version_text(d->s, d->entity, v, out);
}

/* --- merging what was written in two places --------------------------------------------------- */

/* Equal texts are one version. */
static int same_text(struct st_document *d, const struct st_version *a, const struct st_version *b,
                     bool *same)
{
    struct st_buf x, y;
    st_buf_init(&x, st_alloc_libc());
    st_buf_init(&y, st_alloc_libc());
    int code = read_text(d, a, &x);
    if (code == STRATA_OK)
        code = read_text(d, b, &y);
    *same = st_str_equal(st_buf_str(&x), st_buf_str(&y));
    st_buf_release(&x);
    st_buf_release(&y);
    return code;
}

/* Merges the shown version with another. *wrote: there is a new one. */
static int merge_two(struct st_document *d, struct st_version *shown, struct st_version *other,
                     bool *wrote)
{
    struct st_buf b, x, y, out;
    size_t overlaps = 0;
    enum st_relation relation;
    st_buf_init(&b, st_alloc_libc());
    st_buf_init(&x, st_alloc_libc());
    st_buf_init(&y, st_alloc_libc());
    st_buf_init(&out, st_alloc_libc());
    /* In an order that is the same everywhere. */
    bool first = st_dot_compare(shown->dot, other->dot) < 0;
    int code = st_versions_base(d->s, d->entity, &d->h, shown, other, &b, &relation);
    /* With nothing in common but the name, or with nothing left but overlaps: for a person. */
    bool merge = code == STRATA_OK && (relation == ST_DIVERGED || relation == ST_CONFLICTED);
    if (merge)
        code = read_text(d, first ? shown : other, &x);
    if (merge && code == STRATA_OK)
        code = read_text(d, first ? other : shown, &y);
    if (merge && code == STRATA_OK &&
        st_lines_merge(st_buf_str(&b), st_buf_str(&x), st_buf_str(&y),
                       first ? ST_PREFER_A : ST_PREFER_B, &out, &overlaps) != ST_OK)
        code = st_lib_no_memory(d->s);
    bool settled = overlaps == 0 && relation == ST_DIVERGED;
    const struct st_dot both[] = {shown->dot, other->dot};
    struct st_str has = first ? st_buf_str(&x) : st_buf_str(&y);
    if (merge && code == STRATA_OK && (settled || !st_str_equal(st_buf_str(&out), has))) {
        *wrote = true;
        code = st_document_write(d, st_buf_str(&out), both, settled ? 2 : 1, (struct st_dot){0},
                                 settled ? NULL : other);
    }
    st_buf_release(&b);
    st_buf_release(&x);
    st_buf_release(&y);
    st_buf_release(&out);
    return code;
}

/* Merges the shown version with one that differs. *wrote: there is a new version. */
static int reconcile_one(struct st_document *d, bool *wrote)
{
    int code = STRATA_OK;
    *wrote = false;
    for (size_t i = 0; code == STRATA_OK && !*wrote && i < d->h.count; i++) {
        bool same = true;
        if (!d->h.list[i].live || i == d->h.shown)
            continue;
        code = same_text(d, &d->h.list[d->h.shown], &d->h.list[i], &same);
        if (code == STRATA_OK && !same)
            code = merge_two(d, &d->h.list[d->h.shown], &d->h.list[i], wrote);
    }
    return code;
}

int st_document_reconcile(struct st_document *d)
{
    int code = STRATA_OK;
    bool wrote = true;
    /* Each round leaves one version less, or one that has all but the overlaps of another. */
    for (int i = 0; code == STRATA_OK && wrote && d->h.live > 1 && i < 64; i++)
        code = reconcile_one(d, &wrote);
    return code;
}

/* The live versions with the text of v: who was shown one was shown all. */
int st_document_dots(struct st_document *d, const struct st_version *v,
                     struct st_dot dots[ST_PARENTS_MAX], size_t *count)
{
    int code = STRATA_OK;
    *count = 0;
    dots[(*count)++] = v->dot;
    for (size_t i = 0; code == STRATA_OK && d->h.live > 1 && i < d->h.count; i++) {
        const struct st_version *other = &d->h.list[i];
        bool same = false;
        if (!other->live || other == v || *count == ST_PARENTS_MAX)
            continue;
        code = same_text(d, v, other, &same);
        if (same)
            dots[(*count)++] = other->dot;
    }
    return code;
}

/* --- taking in what an editor wrote ----------------------------------------------------------- */

static struct st_version *base_of(struct st_document *d, const char *dot)
{
    struct st_dot at;
    return st_dot_parse(st_str_of(dot), &at) ? st_version_find(&d->h, at) : NULL;
}

int st_document_set_base(struct st_document *d, const struct st_version *v)
{
    struct st_buf text;
    st_buf_init(&text, st_alloc_libc());
    st_dot_add(&text, v->dot);
    st_buf_add_char(&text, '\0');
    const char *copy = text.failed ? NULL : st_registry_text(&d->s->files->registry, text.p);
    st_buf_release(&text);
    if (copy == NULL)
        return st_lib_no_memory(d->s);
    d->e->base = copy;
    d->s->files->changed = true;
    return STRATA_OK;
}

struct removed {
    struct st_str before; /* lines of this text are no news */
    size_t count;
    char first[80];
};

static void note_removed(void *arg, struct st_str line)
{
    struct removed *r = arg;
    struct st_str rest = r->before, known;
    while (st_line_next(&rest, &known)) {
        size_t n = line.n;
        while (n > 0 && (line.p[n - 1] == '\n' || line.p[n - 1] == '\r'))
            n--;
        if (st_str_equal(known, (struct st_str){line.p, n}))
            return;
    }
    if (r->count++ == 0)
        snprintf(r->first, sizeof r->first, "%.*s",
                 (int)(line.n > 0 ? line.n - (line.p[line.n - 1] == '\n') : 0), line.p);
}

/*
 * Lines of `base` that others added in the last minutes and that are not in the text any more: its
 * author may not have seen them. Then *read is the version before, so that the text is listed as
 * overwritten unseen.
 */
static int look_for_recent(struct st_document *d, const struct st_version *base, struct st_str was,
                           struct st_str text, struct st_dot *read)
{
    uint64_t now = d->s->log.env->wall_ms(d->s->log.env->ctx);
    const struct st_version *old = base, *next = base;
    if (strcmp(base->agent, d->author) == 0)
        return STRATA_OK;
    while (next != NULL && next->time_ms + RECENT_MS > now && next->parent_count > 0) {
        next = st_version_find(&d->h, next->parents[0]);
        old = next != NULL ? next : old;
    }
    struct st_buf before;
    struct removed r = {0};
    st_buf_init(&before, st_alloc_libc());
    int code = old != base ? read_text(d, old, &before) : STRATA_OK;
    r.before = st_buf_str(&before);
    if (code == STRATA_OK && old != base && st_lines_removed(was, text, note_removed, &r) != ST_OK)
        code = st_lib_no_memory(d->s);
    st_buf_release(&before);
    if (code != STRATA_OK || r.count == 0)
        return code;
    *read = old->dot;
    st_lib_notice(d->s,
                  "%s: %zu %s that %s added lately %s removed: \"%s\"; the text is kept, see: "
                  "strata pending --unseen",
                  d->e->path, r.count, r.count == 1 ? "line" : "lines",
                  base->agent[0] != '\0' ? base->agent : "somebody", r.count == 1 ? "was" : "were",
                  r.first);
    return STRATA_OK;
}

/* The text of an editor that had `base`, beside what is shown now. */
static int merge_edit(struct st_document *d, const struct st_version *base, struct st_str text)
{
    struct st_version *shown = &d->h.list[d->h.shown];
    struct st_buf was, now, out;
    size_t overlaps = 0;
    st_buf_init(&was, st_alloc_libc());
    st_buf_init(&now, st_alloc_libc());
    st_buf_init(&out, st_alloc_libc());
    int code = read_text(d, base, &was);
    if (code == STRATA_OK)
        code = read_text(d, shown, &now);
#ifndef ST_DEFECT_LAST_WRITER_WINS
    if (code == STRATA_OK && st_lines_merge(st_buf_str(&was), st_buf_str(&now), text, ST_PREFER_B,
                                            &out, &overlaps) != ST_OK)
        code = st_lib_no_memory(d->s);
#else
    st_buf_add_str(&out, text);
#endif
    struct st_dot replaced[ST_PARENTS_MAX];
    size_t count = 0;
    char by[sizeof shown->agent];
    snprintf(by, sizeof by, "%s", shown->agent[0] != '\0' ? shown->agent : "somebody");
    if (code == STRATA_OK)
        code = st_document_dots(d, overlaps == 0 ? shown : base, replaced, &count);
    if (code == STRATA_OK && !st_str_equal(st_buf_str(&out), st_buf_str(&now)))
        code = st_document_write(d, st_buf_str(&out), replaced, count, (struct st_dot){0},
                                 overlaps == 0 ? NULL : shown);
    if (code == STRATA_OK && overlaps > 0)
        st_lib_notice(d->s,
                      "%s: the edit overlaps with what %s wrote meanwhile; both versions are "
                      "kept, see: strata pending",
                      d->e->path, by);
    st_buf_release(&was);
    st_buf_release(&now);
    st_buf_release(&out);
    return code;
}

int st_document_version_with(struct st_document *d, struct st_str text, struct st_version **out)
{
    struct st_buf was;
    int code = STRATA_OK;
    *out = NULL;
    st_buf_init(&was, st_alloc_libc());
    for (size_t i = 0; code == STRATA_OK && *out == NULL && i < d->h.count; i++) {
        st_buf_reset(&was);
        code = read_text(d, &d->h.list[i], &was);
        if (code == STRATA_OK && st_str_equal(st_buf_str(&was), text))
            *out = &d->h.list[i];
    }
    st_buf_release(&was);
    return code;
}

/* Made from a text of another branch. What only that branch has is new here, and what it does not have
 * was not taken out: so the base is what both have. */
static int add_lines(struct st_document *d, struct st_str text)
{
    struct st_version *shown = &d->h.list[d->h.shown];
    struct st_buf now, common, out;
    struct st_dot replaced[ST_PARENTS_MAX];
    size_t count = 0, overlaps;
    st_buf_init(&now, st_alloc_libc());
    st_buf_init(&common, st_alloc_libc());
    st_buf_init(&out, st_alloc_libc());
    int code = read_text(d, shown, &now);
    if (code == STRATA_OK && (st_lines_common(st_buf_str(&now), text, &common) != ST_OK ||
                              st_lines_merge(st_buf_str(&common), st_buf_str(&now), text,
                                             ST_KEEP_BOTH, &out, &overlaps) != ST_OK))
        code = st_lib_no_memory(d->s);
    if (code == STRATA_OK)
        code = st_document_dots(d, shown, replaced, &count);
    if (code == STRATA_OK && !st_str_equal(st_buf_str(&out), st_buf_str(&now)))
        code = st_document_write(d, st_buf_str(&out), replaced, count, (struct st_dot){0}, NULL);
    if (code == STRATA_OK)
        st_lib_notice(d->s,
                      "%s was made from a text of another commit: the lines that only it had are "
                      "in the document now, "
                      "and those that it did not have are in the file again",
                      d->e->path);
    st_buf_release(&now);
    st_buf_release(&common);
    st_buf_release(&out);
    return code;
}

int st_document_take_in(struct st_document *d, struct st_str text)
{
    struct st_version *base = base_of(d, d->e->base), *marked = NULL;
    char dot[ST_ID_SIZE];
    int code = st_document_check(d, text);
    if (code != STRATA_OK)
        return code;
    if (st_files_seen_get(d->s, d->e->path, dot))
        marked = base_of(d, dot);
    if (marked != NULL) {
        base = marked;
        d->author = d->s->agent;
    }
    if (d->h.live == 0)
        return st_document_write(d, text, NULL, 0, (struct st_dot){0}, NULL);
    if (base == NULL)
        code = st_document_version_with(d, text, &base);
    if (code == STRATA_OK && base == NULL && d->e->held)
        return add_lines(d, text);
    /* Nothing in common is known: both are kept. */
    if (code == STRATA_OK && base == NULL)
        return st_document_write(d, text, NULL, 0, (struct st_dot){0}, NULL);
    if (code != STRATA_OK)
        return code;
    struct st_dot read = {0};
    if (!base->live || base != &d->h.list[d->h.shown])
        return merge_edit(d, base, text);
    struct st_buf was;
    st_buf_init(&was, st_alloc_libc());
    code = read_text(d, base, &was);
    if (code == STRATA_OK && marked == NULL)
        code = look_for_recent(d, base, st_buf_str(&was), text, &read);
    struct st_dot replaced[ST_PARENTS_MAX];
    size_t count = 0;
    if (code == STRATA_OK)
        code = st_document_dots(d, base, replaced, &count);
    if (code == STRATA_OK && !st_str_equal(st_buf_str(&was), text))
        code = st_document_write(d, text, replaced, count, read, NULL);
    st_buf_release(&was);
    return code;
}