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
 * resolve`.
 */
#include "lib/files.h"

#include "files/lines.h"

#include <stdio.h>
#include <stdlib.h>

#define ATTRIBUTE "text"

/* Bytes of one part: a value, less what a cut at a character's border needs. */
#define PART_SIZE      (ST_VALUE_SIZE_MAX - 8)
#define PART_NAME_SIZE 24
_Static_assert(ST_DOCUMENT_PARTS_MAX == ST_DOCUMENT_SIZE_MAX / PART_SIZE + 1,
               "a document of the maximum size has so many parts");

/* Versions that are looked back through for a common ancestor or the text of a base. */
#define VERSIONS_MAX 2000
#define PARENTS_MAX  8

/* Removing what another added so lately is listed: its author cannot have seen it long. */
#define RECENT_MS (10u * 60 * 1000)

struct version {
    struct st_dot dot;
    uint64_t time_ms, number; /* entry of the index */
    char agent[ST_AGENT_SIZE_MAX + 1];
    struct st_dot parents[PARENTS_MAX];
    size_t parent_count;
    bool live;
    bool first, second; /* scratch: ancestor of one, of the other */
};

/* The versions of a document, newest first, as they stood at one moment. */
struct history {
    struct version *list;
    size_t count, live;
    size_t shown; /* number of the one that is shown; count: none */
};

struct job {
    strata *s;
    struct st_entry *e;
    char entity[ST_NAME_SIZE_MAX + 1];
    char path[ST_PATH_SIZE];
    struct history h;
    const char *author;
};

/* `text`, `text.2`, ... */
static struct st_str part_name(size_t number, char out[PART_NAME_SIZE])
{
    if (number == 0)
        return ST_STR(ATTRIBUTE);
    int n = snprintf(out, PART_NAME_SIZE, ATTRIBUTE ".%zu", number + 1);
    return (struct st_str){out, (size_t)n};
}

/* --- reading versions ------------------------------------------------------------------------- */

static void add_parents(struct version *v, const struct st_op *op)
{
    for (size_t i = 0; i < op->vector.count && v->parent_count < PARENTS_MAX; i++)
        v->parents[v->parent_count++] =
            (struct st_dot){op->vector.entries[i].writer, op->vector.entries[i].counter};
}

static enum st_code read_versions(strata *s, const char *entity, struct history *h)
{
    struct st_buf key;
    uint64_t number = 0;
    st_buf_init(&key, st_alloc_libc());
    st_key_register(&key, st_str_of(entity), ST_STR(ATTRIBUTE));
    enum st_code code =
        key.failed ? ST_NO_MEMORY : st_index_head(s->index, st_buf_str(&key), &number);
    st_buf_release(&key);
    if (code != ST_OK)
        return code;
    h->list = calloc(VERSIONS_MAX, sizeof *h->list);
    if (h->list == NULL)
        return ST_NO_MEMORY;
    while (code == ST_OK && number != 0 && h->count < VERSIONS_MAX) {
        struct st_index_entry entry;
        struct st_record r;
        code = st_index_entry(s->index, number, &entry);
        if (code == ST_OK)
            code = st_index_record(s->index, &entry, &r);
        if (code != ST_OK)
            break;
        const struct st_op *op = &r.ops[entry.op];
        if (op->kind == ST_OP_SET) {
            struct version *v = &h->list[h->count++];
            *v = (struct version){.dot = r.dot, .time_ms = r.time.ms, .number = number};
            snprintf(v->agent, sizeof v->agent, "%.*s", (int)r.agent.n, r.agent.p);
            add_parents(v, op);
        }
        number = entry.previous;
    }
    return code;
}

static struct version *version_of(const struct history *h, struct st_dot dot)
{
    for (size_t i = 0; i < h->count; i++)
        if (st_dot_compare(h->list[i].dot, dot) == 0)
            return &h->list[i];
    return NULL;
}

static enum st_code read_live(strata *s, const char *entity, struct history *h)
{
    struct st_attribute a;
    enum st_code code = st_attribute_read(st_index_kv(s->index), st_str_of(entity),
                                          ST_STR(ATTRIBUTE), &s->read, &a);
    h->shown = h->count;
    for (size_t i = 0; code == ST_OK && i < a.count; i++) {
        struct version *v = a.items[i].kind == ST_ITEM_VALUE ? version_of(h, a.items[i].dot) : NULL;
        if (v == NULL)
            continue;
        v->live = true;
        h->live++;
        if (i == a.shown)
            h->shown = (size_t)(v - h->list);
    }
    if (h->shown == h->count)
        for (size_t i = h->count; i > 0; i--)
            if (h->list[i - 1].live)
                h->shown = i - 1;
    return code;
}

static int read_history(struct job *j)
{
    free(j->h.list);
    j->h = (struct history){0};
    int code = st_lib_begin(j->s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = read_versions(j->s, j->entity, &j->h);
    if (got == ST_OK)
        got = read_live(j->s, j->entity, &j->h);
    st_lib_end(j->s);
    if (got == ST_OK)
        return STRATA_OK;
    st_lib_index_fault(j->s, got);
    return (int)got;
}

/* Appends the text of a version: its parts, in the order of its record. */
static int read_text(struct job *j, const struct version *v, struct st_buf *out)
{
    struct st_index_entry entry;
    struct st_record r;
    int code = st_lib_begin(j->s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = st_index_entry(j->s->index, v->number, &entry);
    if (got == ST_OK)
        got = st_index_record(j->s->index, &entry, &r);
    for (size_t i = entry.op; got == ST_OK && i < r.op_count; i++)
        if (r.ops[i].kind == ST_OP_SET && st_str_equal(r.ops[i].entity, st_str_of(j->entity)))
            st_buf_add_str(out, r.ops[i].value);
    st_lib_end(j->s);
    if (got != ST_OK)
        return st_lib_index_fault(j->s, got);
    return out->failed ? st_lib_no_memory(j->s) : STRATA_OK;
}

/* --- ancestors -------------------------------------------------------------------------------- */

/* Marks v and all that it came from. Newest first: a parent always comes later in the list. */
static void mark_ancestors(struct history *h, const struct version *v, bool second)
{
    for (size_t i = (size_t)(v - h->list); i < h->count; i++) {
        struct version *at = &h->list[i];
        bool marked = at == v || (second ? at->second : at->first);
        if (!marked)
            continue;
        if (second)
            at->second = true;
        else
            at->first = true;
        for (size_t k = 0; k < at->parent_count; k++) {
            struct version *parent = version_of(h, at->parents[k]);
            if (parent != NULL && second)
                parent->second = true;
            else if (parent != NULL)
                parent->first = true;
        }
    }
}

/* The latest that both came from, by time and dot: the same wherever both are known. NULL: none. */
static struct version *common_ancestor(struct history *h, const struct version *a,
                                       const struct version *b)
{
    struct version *best = NULL;
    for (size_t i = 0; i < h->count; i++)
        h->list[i].first = h->list[i].second = false;
    mark_ancestors(h, a, false);
    mark_ancestors(h, b, true);
    for (size_t i = 0; i < h->count; i++) {
        struct version *v = &h->list[i];
        if (!v->first || !v->second)
            continue;
        if (best == NULL || v->time_ms > best->time_ms ||
            (v->time_ms == best->time_ms && st_dot_compare(v->dot, best->dot) > 0))
            best = v;
    }
    return best;
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

/* Where the part that starts at p ends: at most PART_SIZE, not inside a character. */
static size_t part_size(struct st_str rest)
{
    size_t n = rest.n < PART_SIZE ? rest.n : PART_SIZE;
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
        char name[PART_NAME_SIZE];
        struct st_attribute a;
        struct st_op op = {
            .kind = ST_OP_UNSET, .entity = entity, .attribute = part_name(i, name), .has_at = true};
        if (has_part(ops, op.attribute))
            continue;
        code = st_attribute_read(st_index_kv(s->index), op.entity, op.attribute, &s->read, &a);
        if (code == ST_OK && a.present && !st_file_ops_add(ops, agent, &op, dots, dot_count))
            code = ST_NO_MEMORY;
    }
    return code;
}

/* A version that replaces these. read: what its author had last read, if that is older. */
static int write_version(struct job *j, struct st_str text, const struct st_dot *replaces,
                         size_t count, struct st_dot read)
{
    struct st_file_ops ops = {0};
    struct st_str rest = text;
    bool good = true;
    int code = check_text(j, text);
    for (size_t i = 0; code == STRATA_OK && good && i < ST_DOCUMENT_PARTS_MAX; i++) {
        char name[PART_NAME_SIZE];
        size_t n = part_size(rest);
        struct st_op op = {.kind = ST_OP_SET,
                           .entity = st_str_of(j->entity),
                           .attribute = part_name(i, name),
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
    if (code == STRATA_OK)
        code = st_files_write(j->s, &ops);
    if (code == STRATA_OK && j->s->files->result != NULL)
        j->s->files->result->taken_in++;
    st_file_ops_release(&ops);
    return code == STRATA_OK ? read_history(j) : code;
}

/* --- merging what was written in two places ----------------------------------------------------
 */

/* Equal texts are one version. */
static int same_text(struct job *j, const struct version *a, const struct version *b, bool *same)
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
static int merge_two(struct job *j, struct version *shown, struct version *other, bool *wrote)
{
    struct version *base = common_ancestor(&j->h, shown, other);
    struct st_buf b, x, y, out;
    size_t overlaps = 0;
    int code = STRATA_OK;
    if (base == NULL)
        return STRATA_OK; /* two files that have nothing in common but their name: for a person */
    st_buf_init(&b, st_alloc_libc());
    st_buf_init(&x, st_alloc_libc());
    st_buf_init(&y, st_alloc_libc());
    st_buf_init(&out, st_alloc_libc());
    /* In an order that is the same everywhere. */
    bool first = st_dot_compare(shown->dot, other->dot) < 0;
    code = read_text(j, base, &b);
    if (code == STRATA_OK)
        code = read_text(j, first ? shown : other, &x);
    if (code == STRATA_OK)
        code = read_text(j, first ? other : shown, &y);
    if (code == STRATA_OK &&
        st_lines_merge(st_buf_str(&b), st_buf_str(&x), st_buf_str(&y),
                       first ? ST_PREFER_A : ST_PREFER_B, &out, &overlaps) != ST_OK)
        code = st_lib_no_memory(j->s);
    struct st_str has = first ? st_buf_str(&x) : st_buf_str(&y);
    const struct st_dot both[] = {shown->dot, other->dot};
    if (code == STRATA_OK && (overlaps == 0 || !st_str_equal(st_buf_str(&out), has))) {
        *wrote = true;
        code = write_version(j, st_buf_str(&out), both, overlaps == 0 ? 2 : 1, (struct st_dot){0});
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
static int dots_of(struct job *j, const struct version *v, struct st_dot dots[PARENTS_MAX],
                   size_t *count)
{
    int code = STRATA_OK;
    *count = 0;
    dots[(*count)++] = v->dot;
    for (size_t i = 0; code == STRATA_OK && j->h.live > 1 && i < j->h.count; i++) {
        const struct version *other = &j->h.list[i];
        bool same = false;
        if (!other->live || other == v || *count == PARENTS_MAX)
            continue;
        code = same_text(j, v, other, &same);
        if (same)
            dots[(*count)++] = other->dot;
    }
    return code;
}

/* --- taking in what an editor wrote ------------------------------------------------------------
 */

static struct version *base_of(struct job *j, const char *dot)
{
    struct st_dot d;
    return st_dot_parse(st_str_of(dot), &d) ? version_of(&j->h, d) : NULL;
}

static int set_base(struct job *j, const struct version *v)
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
static int look_for_recent(struct job *j, const struct version *base, struct st_str was,
                           struct st_str text, struct st_dot *read)
{
    uint64_t now = j->s->log.env->wall_ms(j->s->log.env->ctx);
    const struct version *old = base, *next = base;
    if (strcmp(base->agent, j->author) == 0)
        return STRATA_OK;
    while (next != NULL && next->time_ms + RECENT_MS > now && next->parent_count > 0) {
        next = version_of(&j->h, next->parents[0]);
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
static int merge_edit(struct job *j, const struct version *base, struct st_str text)
{
    struct version *shown = &j->h.list[j->h.shown];
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
    struct st_dot replaced[PARENTS_MAX];
    size_t count = 0;
    char by[sizeof shown->agent];
    snprintf(by, sizeof by, "%s", shown->agent[0] != '\0' ? shown->agent : "somebody");
    if (code == STRATA_OK)
        code = dots_of(j, overlaps == 0 ? shown : base, replaced, &count);
    if (code == STRATA_OK && !st_str_equal(st_buf_str(&out), st_buf_str(&now)))
        code = write_version(j, st_buf_str(&out), replaced, count, (struct st_dot){0});
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

static int take_in(struct job *j, struct st_str text)
{
    struct version *base = base_of(j, j->e->base), *marked = NULL;
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
        return write_version(j, text, NULL, 0, (struct st_dot){0});
    if (base == NULL) {
        /* Nothing in common is known: both are kept, unless they are the same. */
        struct st_buf now;
        st_buf_init(&now, st_alloc_libc());
        code = read_text(j, &j->h.list[j->h.shown], &now);
        if (code == STRATA_OK && !st_str_equal(st_buf_str(&now), text))
            code = write_version(j, text, NULL, 0, (struct st_dot){0});
        st_buf_release(&now);
        return code;
    }
    struct st_dot read = {0};
    if (!base->live || base != &j->h.list[j->h.shown])
        return merge_edit(j, base, text);
    struct st_buf was;
    st_buf_init(&was, st_alloc_libc());
    code = read_text(j, base, &was);
    if (code == STRATA_OK && marked == NULL)
        code = look_for_recent(j, base, st_buf_str(&was), text, &read);
    struct st_dot replaced[PARENTS_MAX];
    size_t count = 0;
    if (code == STRATA_OK)
        code = dots_of(j, base, replaced, &count);
    if (code == STRATA_OK && !st_str_equal(st_buf_str(&was), text))
        code = write_version(j, text, replaced, count, read);
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
        struct version shown = j->h.list[j->h.shown];
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
    return code == STRATA_OK ? read_history(j) : code;
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
                                         ST_STR(ATTRIBUTE), &s->read, &a);
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
    char name[PART_NAME_SIZE];
    if (st_entity_kind(entity) != ST_ENTITY_DOCUMENT)
        return false;
    for (size_t i = 0; i < ST_DOCUMENT_PARTS_MAX; i++)
        if (st_str_equal(attribute, part_name(i, name)))
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
        op.attribute = ST_STR(ATTRIBUTE);
        op.has_at = true;
        if (!st_file_ops_add(ops, (struct st_str){"", 0}, &op, dots, dot_count))
            code = ST_NO_MEMORY;
    }
    if (code == ST_OK)
        code = unset_rest(s, (struct st_str){"", 0}, like->entity, dots, dot_count, ops);
    free(dots);
    return code;
}
