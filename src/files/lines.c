/* lines.c - see lines.h. */
#include "files/lines.h"

#include "store/log.h"

#include <stdlib.h>

struct line {
    struct st_str text; /* with its \n */
    uint64_t hash;
};

struct lines {
    struct line *list;
    size_t count;
};

static bool split(struct st_str text, struct lines *out)
{
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        n += text.p[i] == '\n';
    out->count = 0;
    out->list = calloc(n + 1, sizeof *out->list);
    while (out->list != NULL && text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t size = end != NULL ? (size_t)(end - text.p) + 1 : text.n;
        out->list[out->count++] = (struct line){{text.p, size}, st_checksum(text.p, size)};
        text.p += size;
        text.n -= size;
    }
    return out->list != NULL;
}

static bool same(const struct line *a, const struct line *b)
{
    return a->hash == b->hash && st_str_equal(a->text, b->text);
}

/* --- comparing two ---------------------------------------------------------------------------- */

#define NONE SIZE_MAX

#define UNREACHED (INT32_MIN / 2)

/* The step to diagonal i - d of round d: from the diagonal above (a line of b is inserted: x stays)
 * or below (a line of a is deleted). `last` has the furthest x of round d - 1, UNREACHED for none.
 */
static int32_t step(const int32_t *last, size_t i, size_t d, bool *insert)
{
    int32_t down = i + 2 <= 2 * d ? last[i] : UNREACHED;
    int32_t right = i >= 2 ? last[i - 2] + 1 : UNREACHED;
    *insert = down >= right;
    return down >= right ? down : right;
}

/* One round: how far each diagonal comes with d edits. True when the end is reached. */
static bool run_round(const struct line *a, size_t na, const struct line *b, size_t nb,
                      const int32_t *last, int32_t *v, size_t d)
{
    for (size_t i = 0; i <= 2 * d; i += 2) {
        bool insert;
        int64_t x = d > 0 ? step(last, i, d, &insert) : 0, y = x - ((int64_t)i - (int64_t)d);
        v[i] = UNREACHED;
        if (x < 0 || y < 0 || x > (int64_t)na || y > (int64_t)nb)
            continue;
        while (x < (int64_t)na && y < (int64_t)nb && same(&a[x], &b[y]))
            x++, y++;
        v[i] = (int32_t)x;
        if (x == (int64_t)na && y == (int64_t)nb)
            return true;
    }
    return false;
}

/* Back from the end, round by round: the run of equal lines, then the step before it. */
static void walk_back(int32_t *const *rounds, size_t d, size_t na, size_t nb, size_t b_from,
                      size_t *match)
{
    int64_t x = (int64_t)na, y = (int64_t)nb;
    for (;; d--) {
        bool insert = false;
        int64_t start = 0;
        if (d > 0)
            start = step(rounds[d - 1], (size_t)(x - y + (int64_t)d), d, &insert);
        while (x > start) {
            x--, y--;
            match[x] = b_from + (size_t)y;
        }
        if (d == 0)
            return;
        x -= !insert;
        y -= insert;
    }
}

/* Lines of a and of b that are not matched yet. match[i]: the line of b that line i of a is; NONE.
 */
struct gap {
    const struct line *a, *b; /* all lines */
    size_t a_from, a_to, b_from, b_to;
    size_t *match; /* of all lines */
};

/* Myers' greedy search. Without *found it would take too many edits, and nothing is matched. */
static enum st_code search(const struct gap *g, bool *found)
{
    const struct line *a = g->a + g->a_from, *b = g->b + g->b_from;
    size_t na = g->a_to - g->a_from, nb = g->b_to - g->b_from;
    size_t limit = na + nb < ST_LINES_EDITS_MAX ? na + nb : ST_LINES_EDITS_MAX, d = 0;
    int32_t **rounds = calloc(limit + 1, sizeof *rounds);
    bool failed = rounds == NULL;
    *found = false;
    for (; !failed && d <= limit; d++) {
        rounds[d] = malloc((2 * d + 1) * sizeof **rounds);
        failed = rounds[d] == NULL;
        *found = !failed && run_round(a, na, b, nb, d > 0 ? rounds[d - 1] : NULL, rounds[d], d);
        if (*found)
            break;
    }
    if (*found)
        walk_back(rounds, d, na, nb, g->b_from, g->match + g->a_from);
    for (size_t i = 0; rounds != NULL && i <= limit; i++)
        free(rounds[i]);
    free(rounds);
    return failed ? ST_NO_MEMORY : ST_OK;
}

/* A line that each side of a gap has once. */
struct anchor {
    size_t a, b;
    size_t before; /* the anchor before it in the longest row so far */
};

struct place {
    uint64_t hash;
    size_t line;
    bool in_b;
};

static int compare_places(const void *x, const void *y)
{
    const struct place *p = x, *q = y;
    return p->hash != q->hash ? (p->hash < q->hash ? -1 : 1) : (int)p->in_b - (int)q->in_b;
}

static int compare_anchors(const void *x, const void *y)
{
    const struct anchor *p = x, *q = y;
    return p->a < q->a ? -1 : p->a > q->a;
}

/* Their number; in the order of a. SIZE_MAX: out of memory. */
static size_t find_anchors(const struct gap *g, struct anchor *out)
{
    size_t na = g->a_to - g->a_from, n = na + g->b_to - g->b_from, count = 0;
    struct place *places = malloc(n * sizeof *places);
    if (places == NULL)
        return SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        size_t line = i < na ? g->a_from + i : g->b_from + i - na;
        places[i] = (struct place){i < na ? g->a[line].hash : g->b[line].hash, line, i >= na};
    }
    qsort(places, n, sizeof *places, compare_places);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && places[end].hash == places[i].hash;)
            end++;
        if (end - i == 2 && !places[i].in_b && places[i + 1].in_b &&
            same(&g->a[places[i].line], &g->b[places[i + 1].line]))
            out[count++] = (struct anchor){places[i].line, places[i + 1].line, NONE};
    }
    free(places);
    qsort(out, count, sizeof *out, compare_anchors);
    return count;
}

/* Matches the longest row of anchors that are in the same order on both sides: patience sorting.
 * tops[k]: the anchor with the least b that ends a row of k + 1. *matched: how many. */
static bool match_anchors(const struct gap *g, struct anchor *list, size_t count, size_t *matched)
{
    size_t *tops = malloc((count + 1) * sizeof *tops), rows = 0;
    if (tops == NULL)
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t low = 0, high = rows;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (list[tops[middle]].b < list[i].b)
                low = middle + 1;
            else
                high = middle;
        }
        list[i].before = low > 0 ? tops[low - 1] : NONE;
        tops[low] = i;
        rows += low == rows;
    }
    for (size_t i = rows > 0 ? tops[rows - 1] : NONE; i != NONE; i = list[i].before)
        g->match[list[i].a] = list[i].b;
    *matched = rows;
    free(tops);
    return true;
}

static enum st_code close_gap(struct gap g);

/* Too many edits to find the fewest: by the lines that both have once, then between those. */
static enum st_code divide(const struct gap *g)
{
    struct anchor *list = malloc((g->a_to - g->a_from) * sizeof *list);
    size_t count = list != NULL ? find_anchors(g, list) : SIZE_MAX, matched = 0;
    bool good = count != SIZE_MAX && match_anchors(g, list, count, &matched);
    free(list);
    enum st_code code = good ? ST_OK : ST_NO_MEMORY;
    struct gap part = *g;
    for (size_t i = g->a_from; code == ST_OK && matched > 0 && i <= g->a_to; i++) {
        if (i < g->a_to && g->match[i] == NONE)
            continue;
        part.a_to = i;
        part.b_to = i < g->a_to ? g->match[i] : g->b_to;
        code = close_gap(part);
        part.a_from = i + 1;
        part.b_from = part.b_to + 1;
    }
    return code;
}

static enum st_code close_gap(struct gap g)
{
    bool found;
    for (; g.a_from < g.a_to && g.b_from < g.b_to && same(&g.a[g.a_from], &g.b[g.b_from]);
         g.a_from++)
        g.match[g.a_from] = g.b_from++;
    while (g.a_from < g.a_to && g.b_from < g.b_to && same(&g.a[g.a_to - 1], &g.b[g.b_to - 1]))
        g.match[--g.a_to] = --g.b_to;
    if (g.a_from == g.a_to || g.b_from == g.b_to)
        return ST_OK;
    enum st_code code = search(&g, &found);
    return code == ST_OK && !found ? divide(&g) : code;
}

static enum st_code compare(const struct lines *a, const struct lines *b, size_t **out)
{
    size_t *match = malloc((a->count + 1) * sizeof *match);
    *out = match;
    if (match == NULL)
        return ST_NO_MEMORY;
    for (size_t i = 0; i < a->count; i++)
        match[i] = NONE;
    return close_gap((struct gap){a->list, b->list, 0, a->count, 0, b->count, match});
}

/* --- merging three ---------------------------------------------------------------------------- */

struct span {
    const struct lines *of;
    size_t from, to;
};

static bool same_span(struct span x, struct span y)
{
    if (x.to - x.from != y.to - y.from)
        return false;
    for (size_t i = 0; i < x.to - x.from; i++)
        if (!same(&x.of->list[x.from + i], &y.of->list[y.from + i]))
            return false;
    return true;
}

static void emit(struct st_buf *out, struct span s)
{
    for (size_t i = s.from; i < s.to; i++) {
        /* Behind a last line that had no end. */
        if (out->n > 0 && out->p[out->n - 1] != '\n')
            st_buf_add_char(out, '\n');
        st_buf_add_str(out, s.of->list[i].text);
    }
}

static struct st_str span_text(struct span s)
{
    if (s.from == s.to)
        return (struct st_str){0};
    const char *start = s.of->list[s.from].text.p;
    struct st_str last = s.of->list[s.to - 1].text;
    return (struct st_str){start, (size_t)(last.p + last.n - start)};
}

static void emit_both(struct st_buf *out, struct span a, struct span b)
{
    struct span head = {a.of, a.from, a.from}, tail = {a.of, a.to, a.to};
    while (a.from < a.to && b.from < b.to && same(&a.of->list[a.from], &b.of->list[b.from])) {
        head.to = ++a.from;
        b.from++;
    }
    while (a.from < a.to && b.from < b.to && same(&a.of->list[a.to - 1], &b.of->list[b.to - 1])) {
        tail.from = --a.to;
        b.to--;
    }
    emit(out, head);
    emit(out, a);
    emit(out, b);
    emit(out, tail);
}

struct merging {
    enum st_lines_prefer prefer;
    struct st_buf *out;
    st_lines_overlap *visit;
    void *arg;
};

static void merge_span(struct span base, struct span a, struct span b, const struct merging *m)
{
    if (same_span(base, a) || same_span(a, b)) {
        emit(m->out, b);
    } else if (same_span(base, b)) {
        emit(m->out, a);
    } else if (base.from == base.to) {
#ifndef ST_DEFECT_LINES_ONE_ADDITION
        emit(m->out, a);
#endif
        emit(m->out, b);
    } else {
#ifndef ST_DEFECT_LINES_UNTOLD
        m->visit(m->arg, a.from + 1, span_text(base), span_text(a), span_text(b));
#endif
        if (m->prefer == ST_KEEP_BOTH)
            emit_both(m->out, a, b);
        else
            emit(m->out, m->prefer == ST_PREFER_A ? a : b);
    }
}

static void merge_all(const struct lines *base, const struct lines *a, const struct lines *b,
                      const size_t *in_a, const size_t *in_b, const struct merging *m)
{
    size_t i = 0, x = 0, y = 0;
    while (i <= base->count) {
        size_t end = i;
        while (end < base->count && (in_a[end] == NONE || in_b[end] == NONE))
            end++;
        size_t to_a = end < base->count ? in_a[end] : a->count;
        size_t to_b = end < base->count ? in_b[end] : b->count;
        merge_span((struct span){base, i, end}, (struct span){a, x, to_a},
                   (struct span){b, y, to_b}, m);
        if (end == base->count)
            return;
        emit(m->out, (struct span){base, end, end + 1});
        i = end + 1;
        x = to_a + 1;
        y = to_b + 1;
    }
}

enum st_code st_lines_merge_each(struct st_str base, struct st_str a, struct st_str b,
                                 enum st_lines_prefer prefer, struct st_buf *out,
                                 st_lines_overlap *visit, void *arg)
{
    struct merging m = {prefer, out, visit, arg};
    struct lines lb = {0}, la = {0}, lc = {0};
    size_t *in_a = NULL, *in_b = NULL;
    enum st_code code = split(base, &lb) && split(a, &la) && split(b, &lc) ? ST_OK : ST_NO_MEMORY;
    if (code == ST_OK)
        code = compare(&lb, &la, &in_a);
    if (code == ST_OK)
        code = compare(&lb, &lc, &in_b);
    if (code == ST_OK)
        merge_all(&lb, &la, &lc, in_a, in_b, &m);
    free(lb.list);
    free(la.list);
    free(lc.list);
    free(in_a);
    free(in_b);
    return code == ST_OK && out->failed ? ST_NO_MEMORY : code;
}

static void count_overlap(void *arg, size_t line, struct st_str base, struct st_str a,
                          struct st_str b)
{
    (void)line, (void)base, (void)a, (void)b;
    ++*(size_t *)arg;
}

enum st_code st_lines_merge(struct st_str base, struct st_str a, struct st_str b,
                            enum st_lines_prefer prefer, struct st_buf *out, size_t *overlaps)
{
    *overlaps = 0;
    return st_lines_merge_each(base, a, b, prefer, out, count_overlap, overlaps);
}

void st_line_append(struct st_buf *out, char before, struct st_str text)
{
    if (before != '\n')
        st_buf_add_char(out, '\n');
    st_buf_add_str(out, text);
    if (text.n == 0 || text.p[text.n - 1] != '\n')
        st_buf_add_char(out, '\n');
}

/* Calls visit for each line of `from` that is, or is not, in `to`. */
static enum st_code each_line(struct st_str from, struct st_str to, bool in,
                              void (*visit)(void *arg, struct st_str line), void *arg)
{
    struct lines lf = {0}, lt = {0};
    size_t *match = NULL;
    enum st_code code = split(from, &lf) && split(to, &lt) ? ST_OK : ST_NO_MEMORY;
    if (code == ST_OK)
        code = compare(&lf, &lt, &match);
    for (size_t i = 0; code == ST_OK && i < lf.count; i++)
        if ((match[i] != NONE) == in)
            visit(arg, lf.list[i].text);
    free(lf.list);
    free(lt.list);
    free(match);
    return code;
}

enum st_code st_lines_removed(struct st_str from, struct st_str to,
                              void (*visit)(void *arg, struct st_str line), void *arg)
{
    return each_line(from, to, false, visit, arg);
}

static void add_line(void *arg, struct st_str line)
{
    st_buf_add_str(arg, line);
}

enum st_code st_lines_common(struct st_str a, struct st_str b, struct st_buf *out)
{
    enum st_code code = each_line(a, b, true, add_line, out);
    return code == ST_OK && out->failed ? ST_NO_MEMORY : code;
}
