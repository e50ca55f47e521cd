/*
 * glob.c - patterns of paths. See glob.h.
 *
 * Two levels of the same table: cell (i, j) says whether what is left of one side from i and of the
 * other from j can be the same. The outer one has components, the inner one the pieces of two
 * components. Both are filled from the end, one row at a time: time is the product of the lengths,
 * whatever the pattern.
 */
#include "core/glob.h"

/* Of one component: a piece is at least one byte. */
#define PIECES_MAX     ST_NAME_SIZE_MAX
#define COMPONENTS_MAX ((ST_NAME_SIZE_MAX + 1) / 2)

#define CHAR_MAX_VALUE 0x10ffffU
/* A byte that is not UTF-8 becomes the unpaired surrogate U+DC00 + byte. */
#define BYTE_BASE 0xdc00U

enum piece_kind { PIECE_CHAR, PIECE_ANY, PIECE_SET, PIECE_STAR };

struct piece {
    enum piece_kind kind;
    uint32_t c;        /* PIECE_CHAR */
    struct st_str set; /* PIECE_SET: between the brackets */
};

/* --- characters ------------------------------------------------------------------------------- */

/* The length of the UTF-8 sequence that a first byte announces. */
static size_t sequence_size(uint8_t c)
{
    return c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
}

/* Takes one character off a text that is not empty. */
static uint32_t take_char(struct st_str *s)
{
    uint8_t first = (uint8_t)s->p[0];
    size_t size = sequence_size(first);
    uint32_t c = first;
    if (size > s->n || !st_utf8_valid((struct st_str){s->p, size})) {
        size = 1;
        c = BYTE_BASE + first;
    } else if (size > 1) {
        c = first & (0x7fU >> size);
        for (size_t i = 1; i < size; i++)
            c = c << 6 | ((uint8_t)s->p[i] & 0x3fU);
    }
    s->p += size;
    s->n -= size;
    return c;
}

/* One member or end of a range; false when the set ends behind a backslash. */
static bool take_member(struct st_str *set, uint32_t *c)
{
    *c = take_char(set);
    if (*c != '\\')
        return true;
    if (set->n == 0)
        return false;
    *c = take_char(set);
    return true;
}

/* The next range of a set; a single character is a range of one. */
static bool take_range(struct st_str *set, uint32_t *low, uint32_t *high)
{
    if (!take_member(set, low))
        return false;
    *high = *low;
    if (set->n < 2 || set->p[0] != '-')
        return true;
    set->p++;
    set->n--;
    return take_member(set, high);
}

static bool take_negation(struct st_str *set)
{
    if (set->n == 0 || (set->p[0] != '!' && set->p[0] != '^'))
        return false;
    set->p++;
    set->n--;
    return true;
}

static bool set_has(struct st_str set, uint32_t c)
{
    bool negated = take_negation(&set), found = false;
    while (set.n > 0 && !found) {
        uint32_t low, high;
        if (!take_range(&set, &low, &high))
            break;
        found = c >= low && c <= high;
    }
    return found != negated;
}

/* Whether a piece other than a star matches this character, which is not a `/`. */
static bool piece_has(const struct piece *p, uint32_t c)
{
    if (p->kind == PIECE_SET)
        return set_has(p->set, c);
    return p->kind == PIECE_ANY || p->c == c;
}

static bool usable(uint32_t c)
{
    return c >= 1 && c <= CHAR_MAX_VALUE && c != '/' && (c < 0xd800 || c > 0xdfff);
}

static bool both_have(const struct piece *a, const struct piece *b, uint32_t c)
{
    return usable(c) && piece_has(a, c) && piece_has(b, c);
}

/* Where the ranges of a set begin, or what it excludes ends. */
static bool edges_common(const struct piece *of, const struct piece *a, const struct piece *b)
{
    struct st_str set = of->set;
    uint32_t low, high;
    (void)take_negation(&set);
    while (set.n > 0 && take_range(&set, &low, &high)) {
        if (both_have(a, b, low) || both_have(a, b, high + 1))
            return true;
    }
    return false;
}

/*
 * Whether two pieces other than stars have a character in common. What both have is a union of
 * intervals; each begins where one of the sets begins, or behind something excluded.
 */
static bool pieces_meet(const struct piece *a, const struct piece *b)
{
    if (a->kind == PIECE_CHAR)
        return piece_has(b, a->c);
    if (b->kind == PIECE_CHAR)
        return piece_has(a, b->c);
    if (both_have(a, b, 1) || both_have(a, b, '/' + 1) || both_have(a, b, 0xe000))
        return true;
    return (a->kind == PIECE_SET && edges_common(a, a, b)) ||
           (b->kind == PIECE_SET && edges_common(b, a, b));
}

/* --- parsing ---------------------------------------------------------------------------------- */

/* Behind the opening bracket: the set, without the closing one. */
static bool take_set(struct st_str *s, struct st_str *set)
{
    size_t at = 0;
    if (at < s->n && (s->p[at] == '!' || s->p[at] == '^'))
        at++;
    size_t first = at;
    while (at < s->n && (s->p[at] != ']' || at == first))
        at += s->p[at] == '\\' ? 2 : 1;
    if (at >= s->n)
        return false;
    *set = (struct st_str){s->p, at};
    s->p += at + 1;
    s->n -= at + 1;

    struct st_str rest = *set;
    (void)take_negation(&rest);
    while (rest.n > 0) {
        uint32_t low, high;
        if (!take_range(&rest, &low, &high) || low > high)
            return false;
    }
    return true;
}

static bool take_piece(struct st_str *s, struct piece *p)
{
    *p = (struct piece){.kind = PIECE_CHAR};
    p->c = take_char(s);
    switch (p->c) {
    case '*':
        p->kind = PIECE_STAR;
        return true;
    case '?':
        p->kind = PIECE_ANY;
        return true;
    case '[':
        p->kind = PIECE_SET;
        return take_set(s, &p->set);
    case '\\':
        if (s->n == 0)
            return false;
        p->c = take_char(s);
        return true;
    case '{':
    case '}':
        return false;
    default:
        return true;
    }
}

static bool is_any_depth(struct st_str component)
{
    return component.n == 2 && component.p[0] == '*' && component.p[1] == '*';
}

static bool parse_component(struct st_str s, struct piece *pieces, size_t *count)
{
    *count = 0;
    while (s.n > 0) {
        ST_ASSERT(*count < PIECES_MAX);
        struct piece *p = &pieces[*count];
        if (!take_piece(&s, p))
            return false;
        if (p->kind == PIECE_STAR && *count > 0 && p[-1].kind == PIECE_STAR)
            return false;
        ++*count;
    }
    return true;
}

/* Only literal characters, which are one or two dots. */
static bool is_dots(const struct piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].kind != PIECE_CHAR || pieces[i].c != '.')
            return false;
    }
    return count <= 2;
}

/* Takes the component before the next `/` off *s: in a pattern a `/` within brackets or behind a
 * backslash is not one of those, but neither is allowed. *more: a `/` follows. */
static struct st_str take_component(struct st_str *s, bool *more)
{
    const char *slash = s->n > 0 ? memchr(s->p, '/', s->n) : NULL;
    struct st_str component = *s;
    *more = slash != NULL;
    if (slash != NULL)
        component.n = (size_t)(slash - s->p);
    size_t used = component.n + (*more ? 1 : 0);
    s->p += used;
    s->n -= used;
    return component;
}

enum st_code st_glob_check(struct st_str pattern)
{
    struct piece pieces[PIECES_MAX];
    enum st_code code = st_name_check(pattern);
    bool more = true;
    while (code == ST_OK && more) {
        struct st_str component = take_component(&pattern, &more);
        size_t count;
        if (component.n == 0)
            return ST_INVALID;
        if (is_any_depth(component))
            continue;
        if (!parse_component(component, pieces, &count) || is_dots(pieces, count))
            return ST_INVALID;
    }
    return code;
}

/* --- one component against another ------------------------------------------------------------ */

/* Whether pieces a[i] and b[j] may stand at the same place: the cell, from the row below (i + 1),
 * the cell to the right (j + 1) and the one below that. */
static bool cell(const struct piece *a, const struct piece *b, bool down, bool right, bool across)
{
    static const struct piece any = {.kind = PIECE_ANY};
    bool star_a = a != NULL && a->kind == PIECE_STAR;
    bool star_b = b != NULL && b->kind == PIECE_STAR;
    if (a == NULL && b == NULL)
        return true;
    /* A star is nothing, or takes the other side's next piece. */
    if (star_a && (down || (b != NULL && right && (star_b || pieces_meet(&any, b)))))
        return true;
    if (star_b && (right || (a != NULL && down && (star_a || pieces_meet(&any, a)))))
        return true;
    return a != NULL && b != NULL && !star_a && !star_b && across && pieces_meet(a, b);
}

static bool pieces_overlap(const struct piece *a, size_t a_count, const struct piece *b,
                           size_t b_count)
{
    bool rows[2][PIECES_MAX + 2] = {{false}};
    for (size_t i = a_count + 1; i-- > 0;) {
        bool *row = rows[i & 1], *below = rows[~i & 1];
        row[b_count + 1] = below[b_count + 1] = false;
        for (size_t j = b_count + 1; j-- > 0;) {
            bool last = i == a_count;
            row[j] = cell(last ? NULL : &a[i], j == b_count ? NULL : &b[j], !last && below[j],
                          row[j + 1], !last && below[j + 1]);
        }
    }
    return rows[0][0];
}

/* A path's component as pieces that are all characters would need an array of any length: one
 * row over the pattern, character by character, from the start. */
static bool pieces_match(const struct piece *p, size_t count, struct st_str text)
{
    bool at[PIECES_MAX + 1] = {true}; /* at[i]: what was read matches p[0..i) */
    for (size_t i = 0; i < count && p[i].kind == PIECE_STAR; i++)
        at[i + 1] = at[i];
    while (text.n > 0) {
        uint32_t c = take_char(&text);
        bool before = at[0];
        at[0] = false;
        for (size_t i = 0; i < count; i++) {
            bool old = at[i + 1];
            if (p[i].kind == PIECE_STAR)
                at[i + 1] = at[i] || old;
            else
                at[i + 1] = before && piece_has(&p[i], c);
            before = old;
        }
    }
    return at[count];
}

/* --- paths ------------------------------------------------------------------------------------ */

struct components {
    struct st_str p[COMPONENTS_MAX];
    size_t n;
};

static void split(struct st_str pattern, struct components *out)
{
    bool more = true;
    out->n = 0;
    while (more) {
        ST_ASSERT(out->n < COMPONENTS_MAX);
        out->p[out->n++] = take_component(&pattern, &more);
    }
}

static bool component_overlap(struct st_str a, struct st_str b)
{
    struct piece pieces_a[PIECES_MAX], pieces_b[PIECES_MAX];
    size_t count_a, count_b;
    bool well = parse_component(a, pieces_a, &count_a) && parse_component(b, pieces_b, &count_b);
    ST_ASSERT(well);
    return pieces_overlap(pieces_a, count_a, pieces_b, count_b);
}

/* Whether any path at all matches: a set may exclude every character. */
static bool component_possible(struct st_str c)
{
    return component_overlap(c, ST_STR("*"));
}

/* As cell(), for components. `a` and `b` are NULL at the end. */
static bool component_cell(const struct st_str *a, const struct st_str *b, bool down, bool right,
                           bool across)
{
    bool deep_a = a != NULL && is_any_depth(*a);
    bool deep_b = b != NULL && is_any_depth(*b);
    if (a == NULL && b == NULL)
        return true;
    if (deep_a && (down || (b != NULL && right && (deep_b || component_possible(*b)))))
        return true;
    if (deep_b && (right || (a != NULL && down && (deep_a || component_possible(*a)))))
        return true;
    return a != NULL && b != NULL && !deep_a && !deep_b && across && component_overlap(*a, *b);
}

bool st_glob_overlap(struct st_str a, struct st_str b)
{
    bool rows[2][COMPONENTS_MAX + 2] = {{false}};
    struct components x, y;
    if (st_glob_check(a) != ST_OK || st_glob_check(b) != ST_OK)
        return true;
    split(a, &x);
    split(b, &y);
    for (size_t i = x.n + 1; i-- > 0;) {
        bool *row = rows[i & 1], *below = rows[~i & 1];
        row[y.n + 1] = below[y.n + 1] = false;
        for (size_t j = y.n + 1; j-- > 0;) {
            bool last = i == x.n;
            row[j] = component_cell(last ? NULL : &x.p[i], j == y.n ? NULL : &y.p[j],
                                    !last && below[j], row[j + 1], !last && below[j + 1]);
        }
    }
    return rows[0][0];
}

static bool component_match(struct st_str pattern, struct st_str text)
{
    struct piece pieces[PIECES_MAX];
    size_t count;
    return parse_component(pattern, pieces, &count) && pieces_match(pieces, count, text);
}

bool st_glob_match(struct st_str pattern, struct st_str path)
{
    bool at[COMPONENTS_MAX + 1] = {true};
    struct components c;
    bool more = true;
    if (st_glob_check(pattern) != ST_OK)
        return false;
    split(pattern, &c);
    for (size_t i = 0; i < c.n && is_any_depth(c.p[i]); i++)
        at[i + 1] = at[i];
    while (more) {
        struct st_str text = take_component(&path, &more);
        bool before = at[0];
        if (text.n == 0)
            return false;
        at[0] = false;
        for (size_t i = 0; i < c.n; i++) {
            bool old = at[i + 1];
            if (is_any_depth(c.p[i]))
                at[i + 1] = at[i] || old;
            else
                at[i + 1] = before && component_match(c.p[i], text);
            before = old;
        }
    }
    return at[c.n];
}
