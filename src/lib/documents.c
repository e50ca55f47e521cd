/*
 * documents.c - tracked files: texts that people and agents edit, merged by lines.
 *
 * A document is the entity `file:<path>`. A version is one record that sets the attribute `text`,
 * and for what is longer than a value `text.2`, `text.3`, ...: all of them in one record. Its `at`
 * names the versions that it replaces, its parents. So the versions form a graph, and two that were
 * written at the same time have a common ancestor, the same on every copy of the workspace: who
 * sees both merges them against it, and all who do come to the same text.
 *
 * The file has the text of one version, which the list of the work tree names (`base`). What an
 * editor made of it is merged against that version; with nothing newer it becomes the next version.
 * An overlap leaves two versions, which is a conflict like any other: `strata pending`, `strata
 * resolve`. The newer one then has all of the other but what overlapped, and says so: its record has a
 * "seen" of it behind the parts. The next merge of the two begins there.
 */
#include "lib/document.h"

#include "files/lines.h"

#include <stdio.h>
#include <stdlib.h>

/* Removing what another added so lately is listed: its author cannot have seen it long. */
#define RECENT_MS (10u * 60 * 1000)

struct job {
    strata *s;
    struct st_entry *e;
    char entity[ST_NAME_SIZE_MAX + 1];
    char path[ST_PATH_SIZE];
    struct st_versions h;
    const char *author;
};

static int read_text(struct job *j, const struct st_version *v, struct st_buf *out)
{
    return st_version_text(j->s, j->entity, v, out);
}

/* --- writing a version ------------------------------------------------------------------------ */

static int check_text(struct job *j, struct st_str text)
{
    if (text.n > ST_DOCUMENT_SIZE_MAX) {
        st_lib_fail(j->s, ST_LIMIT, "%s is %zu bytes long; the limit of a tracked file is %d",
                    j->e->path, text.n, ST_DOCUMENT_SIZE_MAX);
        st_lib_hint(j->s, "it was not touched; `strata append` works without tracking");
        return ST_LIMIT;
    }
    for (size_t i = 0, line = 1; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        line += c == '\n';
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f)
            return st_lib_fail(j->s, ST_INVALID,
                               "line %zu of %s has the control character \\x%02x: it is no text, "
                               "and was not taken in",
                               line, j->e->path, c);
    }
    if (!st_utf8_valid(text))
        return st_lib_fail(j->s, ST_INVALID, "%s is not UTF-8, and was not taken in", j->e->path);
    return STRATA_OK;
}

/* Where the part that starts at p ends: at most ST_PART_SIZE, not inside a character. */
static size_t part_size(struct st_str rest)
{
    size_t n = rest.n < ST_PART_SIZE ? rest.n : ST_PART_SIZE;
    while (n > 0 && n < rest.n && ((unsigned char)rest.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

static bool has_part(const struct st_file_ops *ops, struct st_str name)
{
    for (size_t i = 0; i < ops->count; i++)
        if (st_str_equal(ops->list[i].op.attribute, name))
            return true;
    return false;
}

/* What other versions have behind the end of this one goes. Between begin and end of a read. */
static enum st_code unset_rest(strata *s, struct st_str agent, struct st_str entity,
                               const struct st_dot *dots, size_t dot_count, struct st_file_ops *ops)
{
    enum st_code code = ST_OK;
    for (size_t i = 0; code == ST_OK && i < ST_DOCUMENT_PARTS_MAX; i++) {
        char name[ST_PART_NAME_SIZE];
        struct st_attribute a;
        struct st_op op = {.kind = ST_OP_UNSET,
                           .entity = entity,
                           .attribute = st_part_name(i, name),
                           .has_at = true};
        if (has_part(ops, op.attribute))
            continue;
        code = st_attribute_read(st_index_kv(s->index), op.entity, op.attribute, &s->read, &a);
        if (code == ST_OK && a.present && !st_file_ops_add(ops, agent, &op, dots, dot_count))
            code = ST_NO_MEMORY;
    }
    return code;
}

/* Says that the version has all of another but for overlaps. */
static bool add_merged(struct job *j, struct st_dot merged, struct st_file_ops *ops)
{
    struct st_vector_entry entry = {merged.writer, merged.counter};
    struct st_op op = {.kind = ST_OP_SEEN, .vector = {.entries = &entry, .count = 1, .cap = 1}};
    return st_file_ops_add(ops, st_str_of(j->author), &op, NULL, 0);
}

/* A version that replaces these. read: what its author had last read, if that is older. merged: what
 * else it has all of but for overlaps, or NULL. */
static int write_version(struct job *j, struct st_str text, const struct st_dot *replaces,
                         size_t count, struct st_dot read, const struct st_version *merged)
{
    struct st_file_ops ops = {0};
    struct st_str rest = text;
    bool good = true;
    int code = check_text(j, text);
    for (size_t i = 0; code == STRATA_OK && good && i < ST_DOCUMENT_PARTS_MAX; i++) {
        char name[ST_PART_NAME_SIZE];
        size_t n = part_size(rest);
        struct st_op op = {.kind = ST_OP_SET,
                           .entity = st_str_of(j->entity),
                           .attribute = st_part_name(i, name),
                           .value = {rest.p, n},
                           .has_at = true};
        if (i == 0)
            op.dot = read;
        good = st_file_ops_add(&ops, st_str_of(j->author), &op, replaces, count);
        rest.p += n;
        rest.n -= n;
        if (rest.n == 0)
            break;
    }
    if (!good)
        code = st_lib_no_memory(j->s);
    if (code == STRATA_OK && count > 0)
        code = st_lib_begin(j->s);
    if (code == STRATA_OK && count > 0) {
        enum st_code got =
            unset_rest(j->s, st_str_of(j->author), st_str_of(j->entity), replaces, count, &ops);
        st_lib_end(j->s);
        code = got == ST_OK ? STRATA_OK : st_lib_index_fault(j->s, got);
    }
#ifndef ST_DEFECT_MERGED_FORGOTTEN
    if (code == STRATA_OK && merged != NULL && !add_merged(j, merged->dot, &ops))
        code = st_lib_no_memory(j->s);
#else
    (void)merged;
#endif
    if (code == STRATA_OK)
        code = st_files_write(j->s, &ops);
    if (code == STRATA_OK && j->s->files->result != NULL)
        j->s->files->result->taken_in++;
    st_file_ops_release(&ops);
    return code == STRATA_OK ? st_versions_read(j->s, j->entity, &j->h) : code;
}

/* --- merging what was written in two places ----------------------------------------------------
 */

/* Equal texts are one version. */
static int same_text(struct job *j, const struct st_version *a, const struct st_version *b,
                     bool *same)
{
    struct st_buf x, y;
    st_buf_init(&x, st_alloc_libc());
    st_buf_init(&y, st_alloc_libc());
    int code = read_text(j, a, &x);
    if (code == STRATA_OK)
        code = read_text(j, b, &y);
    *same = st_str_equal(st_buf_str(&x), st_buf_str(&y));
    st_buf_release(&x);
    st_buf_release(&y);
    return code;
}

/* Merges the shown version with another. *wrote: there is a new one. */
static int merge_two(struct job *j, struct st_version *shown, struct st_version *other, bool *wrote)
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
    int code = st_versions_base(j->s, j->entity, &j->h, shown, other, &b, &relation);
    /* With nothing in common but the name, or with nothing left but overlaps: for a person. */
    bool merge = code == STRATA_OK && (relation == ST_DIVERGED || relation == ST_CONFLICTED);
    if (merge)
        code = read_text(j, first ? shown : other, &x);
    if (merge && code == STRATA_OK)
        code = read_text(j, first ? other : shown, &y);
    if (merge && code == STRATA_OK &&
        st_lines_merge(st_buf_str(&b), st_buf_str(&x), st_buf_str(&y),
                       first ? ST_PREFER_A : ST_PREFER_B, &out, &overlaps) != ST_OK)
        code = st_lib_no_memory(j->s);
    bool settled = overlaps == 0 && relation == ST_DIVERGED;
    const struct st_dot both[] = {shown->dot, other->dot};
    struct st_str has = first ? st_buf_str(&x) : st_buf_str(&y);
    if (merge && code == STRATA_OK && (settled || !st_str_equal(st_buf_str(&out), has))) {
        *wrote = true;
        code = write_version(j, st_buf_str(&out), both, settled ? 2 : 1, (struct st_dot){0},
                             settled ? NULL : other);
    }
    st_buf_release(&b);
    st_buf_release(&x);
    st_buf_release(&y);
    st_buf_release(&out);
    return code;
}

/* Merges the shown version with one that differs. *wrote: there is a new version. */
static int reconcile_one(struct job *j, bool *wrote)
{
    int code = STRATA_OK;
    *wrote = false;
    for (size_t i = 0; code == STRATA_OK && !*wrote && i < j->h.count; i++) {
        bool same = true;
        if (!j->h.list[i].live || i == j->h.shown)
            continue;
        code = same_text(j, &j->h.list[j->h.shown], &j->h.list[i], &same);
        if (code == STRATA_OK && !same)
            code = merge_two(j, &j->h.list[j->h.shown], &j->h.list[i], wrote);
    }
    return code;
}

static int reconcile(struct job *j)
{
    int code = STRATA_OK;
    bool wrote = true;
    /* Each round leaves one version less, or one that has all but the overlaps of another. */
    for (int i = 0; code == STRATA_OK && wrote && j->h.live > 1 && i < 64; i++)
        code = reconcile_one(j, &wrote);
    return code;
}

/* The live versions with the text of v: who was shown one was shown all. */
static int dots_of(struct job *j, const struct st_version *v, struct st_dot dots[ST_PARENTS_MAX],
                   size_t *count)
{
    int code = STRATA_OK;
    *count = 0;
    dots[(*count)++] = v->dot;
    for (size_t i = 0; code == STRATA_OK && j->h.live > 1 && i < j->h.count; i++) {
        const struct st_version *other = &j->h.list[i];
        bool same = false;
        if (!other->live || other == v || *count == ST_PARENTS_MAX)
            continue;
        code = same_text(j, v, other, &same);
        if (same)
            dots[(*count)++] = other->dot;
    }
    return code;
}

/* --- taking in what an editor wrote ------------------------------------------------------------
 */

static struct st_version *base_of(struct job *j, const char *dot)
{
    struct st_dot d;
    return st_dot_parse(st_str_of(dot), &d) ? st_version_find(&j->h, d) : NULL;
}

static int set_base(struct job *j, const struct st_version *v)
{
    struct st_buf text;
    st_buf_init(&text, st_alloc_libc());
    st_dot_add(&text, v->dot);
    st_buf_add_char(&text, '\0');
    const char *copy = text.failed ? NULL : st_registry_text(&j->s->files->registry, text.p);
    st_buf_release(&text);
    if (copy == NULL)
        return st_lib_no_memory(j->s);
    j->e->base = copy;
    j->s->files->changed = true;
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
static int look_for_recent(struct job *j, const struct st_version *base, struct st_str was,
                           struct st_str text, struct st_dot *read)
{
    uint64_t now = j->s->log.env->wall_ms(j->s->log.env->ctx);
    const struct st_version *old = base, *next = base;
    if (strcmp(base->agent, j->author) == 0)
        return STRATA_OK;
    while (next != NULL && next->time_ms + RECENT_MS > now && next->parent_count > 0) {
        next = st_version_find(&j->h, next->parents[0]);
        old = next != NULL ? next : old;
    }
    struct st_buf before;
    struct removed r = {0};
    st_buf_init(&before, st_alloc_libc());
    int code = old != base ? read_text(j, old, &before) : STRATA_OK;
    r.before = st_buf_str(&before);
    if (code == STRATA_OK && old != base && st_lines_removed(was, text, note_removed, &r) != ST_OK)
        code = st_lib_no_memory(j->s);
    st_buf_release(&before);
    if (code != STRATA_OK || r.count == 0)
        return code;
    *read = old->dot;
    st_lib_notice(j->s,
                  "%s: %zu %s that %s added lately %s removed: \"%s\"; the text is kept, see: "
                  "strata pending --unseen",
                  j->e->path, r.count, r.count == 1 ? "line" : "lines",
                  base->agent[0] != '\0' ? base->agent : "somebody", r.count == 1 ? "was" : "were",
                  r.first);
    return STRATA_OK;
}

/* The text of an editor that had `base`, beside what is shown now. */
static int merge_edit(struct job *j, const struct st_version *base, struct st_str text)
{
    struct st_version *shown = &j->h.list[j->h.shown];
    struct st_buf was, now, out;
    size_t overlaps = 0;
    st_buf_init(&was, st_alloc_libc());
    st_buf_init(&now, st_alloc_libc());
    st_buf_init(&out, st_alloc_libc());
    int code = read_text(j, base, &was);
    if (code == STRATA_OK)
        code = read_text(j, shown, &now);
#ifndef ST_DEFECT_LAST_WRITER_WINS
    if (code == STRATA_OK && st_lines_merge(st_buf_str(&was), st_buf_str(&now), text, ST_PREFER_B,
                                            &out, &overlaps) != ST_OK)
        code = st_lib_no_memory(j->s);
#else
    st_buf_add_str(&out, text);
#endif
    struct st_dot replaced[ST_PARENTS_MAX];
    size_t count = 0;
    char by[sizeof shown->agent];
    snprintf(by, sizeof by, "%s", shown->agent[0] != '\0' ? shown->agent : "somebody");
    if (code == STRATA_OK)
        code = dots_of(j, overlaps == 0 ? shown : base, replaced, &count);
    if (code == STRATA_OK && !st_str_equal(st_buf_str(&out), st_buf_str(&now)))
        code = write_version(j, st_buf_str(&out), replaced, count, (struct st_dot){0},
                             overlaps == 0 ? NULL : shown);
    if (code == STRATA_OK && overlaps > 0)
        st_lib_notice(j->s,
                      "%s: the edit overlaps with what %s wrote meanwhile; both versions are "
                      "kept, see: strata pending",
                      j->e->path, by);
    st_buf_release(&was);
    st_buf_release(&now);
    st_buf_release(&out);
    return code;
}

/* The latest version with this text: a file that came by another way, as with a clone of the repository,
 * often is as it was at some time. NULL: none. */
static int version_with(struct job *j, struct st_str text, struct st_version **out)
{
    struct st_buf was;
    int code = STRATA_OK;
    *out = NULL;
    st_buf_init(&was, st_alloc_libc());
    for (size_t i = 0; code == STRATA_OK && *out == NULL && i < j->h.count; i++) {
        st_buf_reset(&was);
        code = read_text(j, &j->h.list[i], &was);
        if (code == STRATA_OK && st_str_equal(st_buf_str(&was), text))
            *out = &j->h.list[i];
    }
    st_buf_release(&was);
    return code;
}

static int take_in(struct job *j, struct st_str text)
{
    struct st_version *base = base_of(j, j->e->base), *marked = NULL;
    char dot[ST_ID_SIZE];
    int code = check_text(j, text);
    if (code != STRATA_OK)
        return code;
    if (st_files_seen_get(j->s, j->e->path, dot))
        marked = base_of(j, dot);
    if (marked != NULL) {
        base = marked;
        j->author = j->s->agent;
    }
    if (j->h.live == 0)
        return write_version(j, text, NULL, 0, (struct st_dot){0}, NULL);
    if (base == NULL)
        code = version_with(j, text, &base);
    /* Nothing in common is known: both are kept. */
    if (code == STRATA_OK && base == NULL)
        return write_version(j, text, NULL, 0, (struct st_dot){0}, NULL);
    if (code != STRATA_OK)
        return code;
    struct st_dot read = {0};
    if (!base->live || base != &j->h.list[j->h.shown])
        return merge_edit(j, base, text);
    struct st_buf was;
    st_buf_init(&was, st_alloc_libc());
    code = read_text(j, base, &was);
    if (code == STRATA_OK && marked == NULL)
        code = look_for_recent(j, base, st_buf_str(&was), text, &read);
    struct st_dot replaced[ST_PARENTS_MAX];
    size_t count = 0;
    if (code == STRATA_OK)
        code = dots_of(j, base, replaced, &count);
    if (code == STRATA_OK && !st_str_equal(st_buf_str(&was), text))
        code = write_version(j, text, replaced, count, read, NULL);
    st_buf_release(&was);
    return code;
}

/* --- the file --------------------------------------------------------------------------------- */

/* Writes the shown version into the file, until nobody writes in between. `text`: what the file
 * has. */
static int write_file(struct job *j, struct st_buf *text, bool missing)
{
    strata *s = j->s;
    int code = STRATA_OK;
    for (int i = 0; code == STRATA_OK && i < ST_FILES_TRIES; i++) {
        struct st_buf next, displaced;
        st_buf_init(&next, st_alloc_libc());
        st_buf_init(&displaced, st_alloc_libc());
        struct st_version shown = j->h.list[j->h.shown];
        bool done = false;
        code = read_text(j, &shown, &next);
        if (code == STRATA_OK && st_str_equal(st_buf_str(&next), st_buf_str(text)) && !missing)
            done = true;
        else if (code == STRATA_OK)
            code =
                st_files_replace(s, j->e, j->path, st_buf_str(&next), st_buf_str(text), &displaced);
        if (code == STRATA_OK) {
            code = set_base(j, &shown);
            done = true;
        } else if (code == ST_CONFLICT) {
            /* The displaced text is an edit of the base that the file had; then of what it has now.
             */
            code = take_in(j, st_buf_str(&displaced));
            if (code == STRATA_OK)
                code = set_base(j, &shown);
            st_buf_reset(text);
            st_buf_add_str(text, st_buf_str(&next));
            missing = false;
        }
        st_buf_release(&next);
        st_buf_release(&displaced);
        if (done)
            break;
    }
    return code;
}

static void document_name(const struct st_entry *e, char entity[ST_NAME_SIZE_MAX + 1])
{
    snprintf(entity, ST_NAME_SIZE_MAX + 1, ST_DOCUMENT_PREFIX "%s", e->path);
}

static int job_begin(strata *s, struct st_entry *e, struct job *j)
{
    *j = (struct job){.s = s, .e = e, .author = s->files->agent};
    document_name(e, j->entity);
    int code = st_files_path(s, e->path, j->path);
    return code == STRATA_OK ? st_versions_read(j->s, j->entity, &j->h) : code;
}

/* Whether it was edited is judged by what is read here: it may have been since it was looked at. */
static int update_file(struct job *j, bool restore)
{
    strata *s = j->s;
    struct st_buf text;
    struct st_file_stamp stamp = {0};
    struct st_fault fault;
    st_buf_init(&text, st_alloc_libc());
    st_file_await_writers(s->log.env, j->path);
    enum st_code got = st_file_get(j->path, ST_FILE_SIZE_MAX, &text, &stamp, &fault);
    bool missing = got == ST_NOT_FOUND;
    int code = got == ST_OK || missing ? STRATA_OK : st_lib_fault(s, &fault);
    struct st_str is = st_buf_str(&text);
    bool edited = code == STRATA_OK && !missing &&
                  (j->e->content == 0 || st_checksum(is.p, is.n) != j->e->content);
    if (code == STRATA_OK && edited)
        code = take_in(j, is);
    if (code == STRATA_OK)
        code = reconcile(j);
    if (code == STRATA_OK && missing && !restore) {
        /* Another branch, a clean-up: not for us to put it back, nor to remove the text. */
        if (j->e->content != 0)
            st_lib_notice(s, "%s is gone; its text is kept, and `strata track %s` writes it again",
                          j->e->path, j->e->path);
        j->e->content = 0;
        s->files->changed = true;
    } else if (code == STRATA_OK && j->h.live > 0) {
        if (!missing)
            st_files_looked(s, j->e, &stamp, is);
        code = write_file(j, &text, missing);
    }
    st_buf_release(&text);
    return code;
}

/* Whether the one version that there is, is the one that the file has. */
static int is_current(strata *s, const struct st_entry *e, bool *current)
{
    char entity[ST_NAME_SIZE_MAX + 1];
    struct st_attribute a;
    struct st_dot base = {0};
    *current = false;
    document_name(e, entity);
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = st_attribute_read(st_index_kv(s->index), st_str_of(entity),
                                         ST_STR(ST_DOCUMENT_ATTRIBUTE), &s->read, &a);
    if (got == ST_OK && a.count == 1 && st_dot_parse(st_str_of(e->base), &base))
        *current = st_dot_compare(a.items[0].dot, base) == 0;
    st_lib_end(s);
    return got == ST_OK ? STRATA_OK : st_lib_index_fault(s, got);
}

int st_document_update(strata *s, struct st_entry *e, unsigned why)
{
    struct job j;
    bool current = false;
    /* Most of the time the log has moved for other reasons: no history is read for that. */
    int code = why == ST_VIEW_STALE ? is_current(s, e, &current) : STRATA_OK;
    if (code != STRATA_OK || current)
        return code;
    code = job_begin(s, e, &j);
    if (code == STRATA_OK)
        code = update_file(&j, (why & ST_VIEW_FORCE) != 0);
    free(j.h.list);
    return code;
}

/* A version with the text of the shown one and the line. */
static int write_longer(struct job *j, struct st_str line, struct st_buf *was)
{
    struct st_dot replaced[ST_PARENTS_MAX];
    struct st_buf text;
    size_t count = 0;
    int code = STRATA_OK;
    if (j->h.live > 0) {
        struct st_version *shown = &j->h.list[j->h.shown];
        code = read_text(j, shown, was);
        if (code == STRATA_OK)
            code = dots_of(j, shown, replaced, &count);
    }
    st_buf_init(&text, st_alloc_libc());
    st_buf_add_str(&text, st_buf_str(was));
    st_line_append(&text, text.n > 0 ? text.p[text.n - 1] : '\n', line);
    if (code == STRATA_OK && text.failed)
        code = st_lib_no_memory(j->s);
    if (code == STRATA_OK)
        code = write_version(j, st_buf_str(&text), replaced, count, (struct st_dot){0}, NULL);
    st_buf_release(&text);
    return code;
}

int st_document_append(strata *s, struct st_entry *e, struct st_str line)
{
    struct job j;
    struct st_buf was;
    st_buf_init(&was, st_alloc_libc());
    int code = job_begin(s, e, &j);
    if (code == STRATA_OK)
        code = update_file(&j, false);
    if (s->agent[0] != '\0')
        j.author = s->agent;
    if (code == STRATA_OK)
        code = write_longer(&j, line, &was);
    if (code == STRATA_OK)
        code = write_file(&j, &was, e->content == 0);
    free(j.h.list);
    st_buf_release(&was);
    return code;
}

int st_document_absorb(strata *s, struct st_entry *e, struct st_str unseen, struct st_str now)
{
    struct job j;
    struct st_buf text;
    st_buf_init(&text, st_alloc_libc());
    st_buf_add_str(&text, now);
    int code = job_begin(s, e, &j);
    if (code == STRATA_OK)
        code = take_in(&j, unseen);
    if (code == STRATA_OK)
        code = reconcile(&j);
    if (code == STRATA_OK && j.h.live > 0)
        code = write_file(&j, &text, false);
    free(j.h.list);
    st_buf_release(&text);
    return code;
}

/* --- settling --------------------------------------------------------------------------------- */

bool st_document_part(struct st_str entity, struct st_str attribute)
{
    char name[ST_PART_NAME_SIZE];
    if (st_entity_kind(entity) != ST_ENTITY_DOCUMENT)
        return false;
    for (size_t i = 0; i < ST_DOCUMENT_PARTS_MAX; i++)
        if (st_str_equal(attribute, st_part_name(i, name)))
            return true;
    return false;
}

/* The operations of the record that made a version, its parts. */
static enum st_code add_parts(strata *s, const struct st_op *like, struct st_dot chosen,
                              uint32_t chosen_op, const struct st_dot *dots, size_t dot_count,
                              struct st_file_ops *ops)
{
    uint64_t number;
    struct st_index_entry entry;
    struct st_record r;
    enum st_code code =
        st_history_find(s, like->entity, like->attribute, chosen, chosen_op, &number);
    if (code == ST_OK)
        code = st_index_entry(s->index, number, &entry);
    if (code == ST_OK)
        code = st_index_record(s->index, &entry, &r);
    for (size_t i = 0; code == ST_OK && i < r.op_count; i++) {
        struct st_op op = {.kind = ST_OP_SET,
                           .entity = like->entity,
                           .attribute = r.ops[i].attribute,
                           .value = r.ops[i].value,
                           .has_at = true};
        if (r.ops[i].kind != ST_OP_SET || !st_str_equal(r.ops[i].entity, like->entity) ||
            !st_document_part(like->entity, op.attribute))
            continue;
        if (!st_file_ops_add(ops, (struct st_str){"", 0}, &op, dots, dot_count))
            code = ST_NO_MEMORY;
    }
    return code;
}

enum st_code st_document_settle(strata *s, const struct st_op *like, const struct st_dot *chosen,
                                uint32_t chosen_op, struct st_file_ops *ops)
{
    struct st_attribute a;
    enum st_code code =
        st_attribute_read(st_index_kv(s->index), like->entity, like->attribute, &s->read, &a);
    if (code != ST_OK)
        return code;
    size_t dot_count = a.count;
    struct st_dot *dots = calloc(dot_count + 1, sizeof *dots);
    if (dots == NULL)
        return ST_NO_MEMORY;
    for (size_t i = 0; i < dot_count; i++)
        dots[i] = a.items[i].dot;
    if (chosen != NULL) {
        code = add_parts(s, like, *chosen, chosen_op, dots, dot_count, ops);
    } else if (like->kind == ST_OP_SET) {
        struct st_op op = *like;
        op.attribute = ST_STR(ST_DOCUMENT_ATTRIBUTE);
        op.has_at = true;
        if (!st_file_ops_add(ops, (struct st_str){"", 0}, &op, dots, dot_count))
            code = ST_NO_MEMORY;
    }
    if (code == ST_OK)
        code = unset_rest(s, (struct st_str){"", 0}, like->entity, dots, dot_count, ops);
    free(dots);
    return code;
}
