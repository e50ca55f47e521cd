/* view_merge.c - see view_merge.h. */
#include "files/view_merge.h"

#include "store/log.h"

#include <stdlib.h>

/* What theirs added, in chains: those that come behind one line of ours. */
struct additions {
    const struct st_view_line **list;
    uint32_t *next, *first, *last; /* plus one; first, last: by the number of the line plus one */
    size_t count;
};

static uint32_t *place_of(const struct st_view_lines *s, const struct st_view_line *l)
{
    size_t i = (size_t)st_checksum(l->key.p, l->key.n) & s->mask;
    while (s->places[i] != 0) {
        const struct st_view_line *at = &s->list[s->places[i] - 1];
        if (at->has_id == l->has_id && st_str_equal(at->key, l->key))
            break;
        i = (i + 1) & s->mask;
    }
    return &s->places[i];
}

static const struct st_view_line *find(const struct st_view_lines *s, const struct st_view_line *l)
{
    uint32_t number = *place_of(s, l);
    return number != 0 ? &s->list[number - 1] : NULL;
}

static size_t count_lines(struct st_str text)
{
    struct st_str line;
    size_t n = 0;
    while (st_line_next(&text, &line))
        n++;
    return n;
}

/* A second line with the same id is known by its bytes; the same line again is left out. */
static void add_line(const struct st_view *view, struct st_view_lines *s, struct st_str text,
                     size_t number)
{
    struct st_view_line l = {text, text, false, number};
    l.has_id = view->identify(text, &l.key);
    uint32_t *place = place_of(s, &l);
    if (*place != 0 && l.has_id && !st_str_equal(s->list[*place - 1].text, text)) {
        l.has_id = false;
        l.key = text;
        place = place_of(s, &l);
    }
    if (*place != 0)
        return;
    s->list[s->count++] = l;
    *place = (uint32_t)s->count;
}

bool st_view_lines_init(const struct st_view *view, struct st_str text, struct st_view_lines *s)
{
    size_t lines = count_lines(text), size = 64;
    struct st_str line;
    while (size < lines * 2)
        size *= 2;
    *s = (struct st_view_lines){.mask = size - 1};
    s->list = calloc(lines + 1, sizeof *s->list);
    s->places = calloc(size, sizeof *s->places);
    if (s->list == NULL || s->places == NULL || lines >= UINT32_MAX)
        return false;
    for (size_t number = 0; st_line_next(&text, &line); number++)
        if (st_line_trim(line).n > 0 && !st_line_is_conflict(line))
            add_line(view, s, line, number);
    return true;
}

void st_view_lines_release(struct st_view_lines *s)
{
    free(s->list);
    free(s->places);
}

const struct st_view_line *st_view_lines_find(const struct st_view_lines *s,
                                              const struct st_view *view, struct st_str line)
{
    struct st_view_line l = {line, line, false, 0};
    l.has_id = view->identify(line, &l.key);
    return find(s, &l);
}

static bool same(const struct st_view_line *a, const struct st_view_line *b)
{
    return a != NULL && b != NULL && st_str_equal(a->text, b->text);
}

/* What theirs has and ours has not, unless ours deleted it. */
static bool additions_find(const struct st_view_lines *base, const struct st_view_lines *ours,
                           const struct st_view_lines *theirs, struct additions *a)
{
    a->list = calloc(theirs->count + 1, sizeof(const struct st_view_line *));
    a->next = calloc(theirs->count + 1, sizeof *a->next);
    a->first = calloc(ours->count + 1, sizeof *a->first);
    a->last = calloc(ours->count + 1, sizeof *a->last);
    if (a->list == NULL || a->next == NULL || a->first == NULL || a->last == NULL)
        return false;
    uint32_t behind = 0;
    for (size_t i = 0; i < theirs->count; i++) {
        const struct st_view_line *l = &theirs->list[i];
        uint32_t in_ours = *place_of(ours, l);
        if (in_ours != 0) {
            behind = in_ours;
            continue;
        }
        if (same(find(base, l), l))
            continue;
        uint32_t number = (uint32_t)a->count + 1;
        a->list[a->count++] = l;
        *(a->last[behind] == 0 ? &a->first[behind] : &a->next[a->last[behind] - 1]) = number;
        a->last[behind] = number;
    }
    return true;
}

static void put(struct st_buf *out, const struct st_view_line *l)
{
    st_buf_add_str(out, l->text);
    st_buf_add_char(out, '\n');
}

static void put_additions(struct st_buf *out, const struct additions *a, size_t behind)
{
    for (uint32_t n = a->first[behind]; n != 0; n = a->next[n - 1])
        put(out, a->list[n - 1]);
}

static void put_merged(struct st_buf *out, const struct st_view_line *base,
                       const struct st_view_line *ours, const struct st_view_line *theirs)
{
    bool ours_changed = !same(base, ours), theirs_changed = !same(base, theirs);
#ifdef ST_DEFECT_MERGE_KEEPS_DELETED
    ours_changed = ours_changed || theirs == NULL;
#endif
    if (ours_changed || (theirs != NULL && !theirs_changed))
        put(out, ours);
    if (theirs != NULL && theirs_changed && !same(ours, theirs))
        put(out, theirs);
}

enum st_code st_view_merge_lines(const struct st_view *view, struct st_str base, struct st_str ours,
                                 struct st_str theirs, struct st_buf *out)
{
    struct st_view_lines b = {0}, o = {0}, t = {0};
    struct additions a = {0};
    bool good = st_view_lines_init(view, base, &b) && st_view_lines_init(view, ours, &o) &&
                st_view_lines_init(view, theirs, &t) && additions_find(&b, &o, &t, &a);
    size_t behind = 0; /* whose additions wait until what ours added there is out */
    for (size_t i = 0; good && i < o.count; i++) {
        const struct st_view_line *in_theirs = find(&t, &o.list[i]);
        if (in_theirs != NULL) {
            put_additions(out, &a, behind);
            behind = i + 1;
        }
        put_merged(out, find(&b, &o.list[i]), &o.list[i], in_theirs);
    }
    if (good)
        put_additions(out, &a, behind);
    st_view_lines_release(&b);
    st_view_lines_release(&o);
    st_view_lines_release(&t);
    free(a.list);
    free(a.next);
    free(a.first);
    free(a.last);
    return good && !out->failed ? ST_OK : ST_NO_MEMORY;
}
