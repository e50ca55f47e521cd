/* jsonl_fields.c - see jsonl_fields.h. */
#include "files/jsonl_fields.h"

#include "core/date.h"
#include "files/jsonscan.h"
#include "store/alloc.h"

#include <jansson.h>
#include <stdlib.h>

/* --- meaning ---------------------------------------------------------------------------------- */

char *st_json_canonical(struct st_str text)
{
    json_t *value =
        json_loadb(text.p, text.n, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    char *out = value != NULL ? json_dumps(value, JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_COMPACT |
                                                      JSON_REAL_PRECISION(17))
                              : NULL;
    json_decref(value);
    return out;
}

bool st_json_equal(struct st_str a, struct st_str b)
{
    if (st_str_equal(a, b))
        return true;
    if (a.n == 0 || b.n == 0)
        return false;
    char *x = st_json_canonical(a), *y = st_json_canonical(b);
    bool equal = x != NULL && y != NULL && strcmp(x, y) == 0;
    free(x);
    free(y);
    return equal;
}

/* `n` digits as a number. */
static bool take_digits(const char **p, const char *end, unsigned n, int64_t *out)
{
    *out = 0;
    for (; n > 0; n--, (*p)++) {
        if (*p == end || **p < '0' || **p > '9')
            return false;
        *out = *out * 10 + (**p - '0');
    }
    return true;
}

static bool take_char(const char **p, const char *end, const char *any)
{
    if (*p == end || **p == '\0' || strchr(any, **p) == NULL)
        return false;
    (*p)++;
    return true;
}

struct instant {
    int64_t s, ns;
};

/* A JSON string with a time of RFC 3339; without an offset it is taken as UTC. */
static bool parse_time(struct st_str text, struct instant *out)
{
    const char *p = text.n > 0 ? text.p : "", *end = p + text.n;
    int64_t year, month, day, hour, minute, second, oh = 0, om = 0, sign = 1, scale = 100000000;
    if (text.n < 2 || *p != '"')
        return false;
    p++, end--;
    if (!take_digits(&p, end, 4, &year) || !take_char(&p, end, "-") ||
        !take_digits(&p, end, 2, &month) || !take_char(&p, end, "-") ||
        !take_digits(&p, end, 2, &day) || !take_char(&p, end, "Tt ") ||
        !take_digits(&p, end, 2, &hour) || !take_char(&p, end, ":") ||
        !take_digits(&p, end, 2, &minute) || !take_char(&p, end, ":") ||
        !take_digits(&p, end, 2, &second))
        return false;
    out->ns = 0;
    if (take_char(&p, end, "."))
        for (; p < end && *p >= '0' && *p <= '9'; p++, scale /= 10)
            out->ns += (*p - '0') * scale;
    if (!take_char(&p, end, "Zz") && p < end) {
        sign = *p == '-' ? -1 : 1;
        if (!take_char(&p, end, "+-") || !take_digits(&p, end, 2, &oh) ||
            !take_char(&p, end, ":") || !take_digits(&p, end, 2, &om))
            return false;
    }
    out->s = st_date_days((struct st_date){year, month, day}) * 86400 + hour * 3600 + minute * 60 +
             second - sign * (oh * 3600 + om * 60);
    return p == end;
}

/* Whether both are times, and which is later: < 0, 0, > 0 as a is earlier, the same, later. */
static bool compare_times(struct st_str a, struct st_str b, int *order)
{
    struct instant x, y;
    if (!parse_time(a, &x) || !parse_time(b, &y))
        return false;
    *order = x.s != y.s ? (x.s > y.s) - (x.s < y.s) : (x.ns > y.ns) - (x.ns < y.ns);
    return true;
}

/* --- parts ------------------------------------------------------------------------------------ */

/* A member of an object or an element of an array. */
struct part {
    struct st_str key, value;
    struct st_str known_by; /* elements: what they are compared by */
    char *owned;            /* memory of known_by, or NULL */
    uint32_t group;         /* elements */
};

struct parts {
    struct part *list;
    size_t count, cap;
    struct part **sorted; /* by key */
    bool no_memory;
};

static bool add_part(void *arg, struct st_str key, struct st_str value)
{
    struct parts *p = arg;
    if (p->count == ST_JSONL_PARTS_MAX || memchr(key.p, '\\', key.n) != NULL)
        return false;
    p->no_memory = !st_grow(&p->list, &p->cap, p->count + 1, sizeof *p->list);
    if (p->no_memory)
        return false;
    p->list[p->count++] = (struct part){.key = key, .value = value};
    return true;
}

static void parts_release(struct parts *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->list[i].owned);
    free(p->list);
    free(p->sorted);
}

static int by_key(const void *a, const void *b)
{
    const struct part *const *x = a, *const *y = b;
    return st_str_compare((*x)->key, (*y)->key);
}

/* The fields of a record. ST_INVALID: they cannot be told apart. */
static enum st_code read_fields(struct st_str record, struct parts *out)
{
    if (record.p == NULL)
        return ST_OK;
    if (record.n == 0 || !st_json_each(record, add_part, out))
        return out->no_memory ? ST_NO_MEMORY : ST_INVALID;
    out->sorted = malloc((out->count + 1) * sizeof(struct part *));
    if (out->sorted == NULL)
        return ST_NO_MEMORY;
    for (size_t i = 0; i < out->count; i++)
        out->sorted[i] = &out->list[i];
    qsort(out->sorted, out->count, sizeof(struct part *), by_key);
    for (size_t i = 1; i < out->count; i++)
        if (st_str_equal(out->sorted[i - 1]->key, out->sorted[i]->key))
            return ST_INVALID;
    return ST_OK;
}

static const struct part *find(const struct parts *p, struct st_str key)
{
    struct part wanted = {.key = key}, *w = &wanted;
    struct part **at =
        p->count > 0 ? bsearch(&w, p->sorted, p->count, sizeof(struct part *), by_key) : NULL;
    return at != NULL ? *at : NULL;
}

static struct st_str value_of(const struct parts *p, struct st_str key)
{
    const struct part *f = find(p, key);
    return f != NULL ? f->value : (struct st_str){0};
}

/* --- lists ------------------------------------------------------------------------------------ */

static int by_known(const void *a, const void *b)
{
    const struct part *const *x = a, *const *y = b;
    return st_str_compare((*x)->known_by, (*y)->known_by);
}

static enum st_code read_elements(struct st_str list, struct parts *out)
{
    if (list.p == NULL)
        return ST_OK;
    if (!st_json_each(list, add_part, out))
        return out->no_memory ? ST_NO_MEMORY : ST_INVALID;
    for (size_t i = 0; i < out->count; i++) {
        struct part *e = &out->list[i];
        e->owned = st_json_canonical(e->value);
        e->known_by = e->owned != NULL ? st_str_of(e->owned) : e->value;
    }
    return ST_OK;
}

struct group {
    size_t count[ST_JSONL_SIDES];
    size_t left[ST_JSONL_SIDES]; /* still to be written from this side */
};

/* Equal elements of all sides get the number of one group. NULL: out of memory. */
static struct group *group_elements(struct parts sides[ST_JSONL_SIDES])
{
    size_t n = 0, at = 0;
    for (int s = 0; s < ST_JSONL_SIDES; s++)
        n += sides[s].count;
    struct part **all = malloc((n + 1) * sizeof *all);
    struct group *groups = calloc(n + 1, sizeof *groups);
    if (all == NULL || groups == NULL) {
        free(all);
        free(groups);
        return NULL;
    }
    for (int s = 0; s < ST_JSONL_SIDES; s++)
        for (size_t i = 0; i < sides[s].count; i++)
            all[at++] = &sides[s].list[i];
    qsort(all, n, sizeof *all, by_known);
    uint32_t group = 0;
    for (size_t i = 0; i < n; i++) {
        group += i > 0 && !st_str_equal(all[i - 1]->known_by, all[i]->known_by);
        all[i]->group = group;
    }
    free(all);
    for (int s = 0; s < ST_JSONL_SIDES; s++)
        for (size_t i = 0; i < sides[s].count; i++)
            groups[sides[s].list[i].group].count[s]++;
    for (size_t i = 0; n > 0 && i <= group; i++) {
        struct group *g = &groups[i];
        size_t times = st_jsonl_times(g->count[ST_JSONL_BASE], g->count[ST_JSONL_OURS],
                                      g->count[ST_JSONL_THEIRS]);
        size_t ours = g->count[ST_JSONL_OURS];
        g->left[ST_JSONL_OURS] = times < ours ? times : ours;
        g->left[ST_JSONL_THEIRS] = times - g->left[ST_JSONL_OURS];
    }
    return groups;
}

/* What stands between the first two values, as the writer of the file likes it. */
static struct st_str separator(const struct parts *p, bool object)
{
    if (p->count < 2)
        return ST_STR(",");
    const char *from = p->list[0].value.p + p->list[0].value.n;
    const char *to = object ? p->list[1].key.p : p->list[1].value.p;
    return (struct st_str){from, (size_t)(to - from)};
}

static void put_elements(struct parts sides[ST_JSONL_SIDES], struct group *groups,
                         struct st_buf *out)
{
    struct st_str between =
        separator(&sides[sides[ST_JSONL_OURS].count > 1 ? ST_JSONL_OURS : ST_JSONL_THEIRS], false);
    bool first = true;
    st_buf_add_char(out, '[');
    for (int s = ST_JSONL_OURS; s <= ST_JSONL_THEIRS; s++)
        for (size_t i = 0; i < sides[s].count; i++) {
            struct group *g = &groups[sides[s].list[i].group];
            if (g->left[s] == 0)
                continue;
            g->left[s]--;
            if (!first)
                st_buf_add_str(out, between);
            st_buf_add_str(out, sides[s].list[i].value);
            first = false;
        }
    st_buf_add_char(out, ']');
}

/* ST_INVALID: one is no list, or cannot be read. */
static enum st_code merge_lists(const struct st_str in[ST_JSONL_SIDES], struct st_buf *out)
{
    struct parts sides[ST_JSONL_SIDES] = {0};
    enum st_code code = ST_OK;
    for (int s = 0; s < ST_JSONL_SIDES; s++)
        if (in[s].p != NULL && in[s].p[0] != '[' &&
            !(s == ST_JSONL_BASE && st_str_equal(in[s], ST_STR("null"))))
            return ST_INVALID;
    for (int s = 0; code == ST_OK && s < ST_JSONL_SIDES; s++)
        if (in[s].p != NULL && in[s].p[0] == '[')
            code = read_elements(in[s], &sides[s]);
    struct group *groups = code == ST_OK ? group_elements(sides) : NULL;
    if (code == ST_OK && groups == NULL)
        code = ST_NO_MEMORY;
    if (code == ST_OK)
        put_elements(sides, groups, out);
    free(groups);
    for (int s = 0; s < ST_JSONL_SIDES; s++)
        parts_release(&sides[s]);
    return code;
}

/* --- records ---------------------------------------------------------------------------------- */

struct merge {
    struct parts sides[ST_JSONL_SIDES];
    enum st_jsonl_side later;
    struct st_str id;
    st_jsonl_visit *visit;
    void *arg;
    struct st_buf *out;
    enum st_code code;
    bool first; /* no field was written yet */
};

static bool key_is(struct st_str key, const char *name)
{
    size_t n = strlen(name);
    return key.n == n + 2 && memcmp(key.p + 1, name, n) == 0;
}

static bool key_is_time(struct st_str key)
{
    return key.n > 5 && memcmp(key.p + key.n - 4, "_at\"", 4) == 0;
}

static enum st_jsonl_side later_side(const struct parts sides[ST_JSONL_SIDES])
{
    struct st_str key = ST_STR("\"updated_at\"");
    int order;
    return compare_times(value_of(&sides[ST_JSONL_THEIRS], key),
                         value_of(&sides[ST_JSONL_OURS], key), &order) &&
                   order > 0
               ? ST_JSONL_THEIRS
               : ST_JSONL_OURS;
}

static void begin_field(struct merge *m, struct st_str key)
{
    const struct parts *style = &m->sides[ST_JSONL_OURS];
    if (!m->first)
        st_buf_add_str(m->out, separator(style, true));
    m->first = false;
    st_buf_add_str(m->out, key);
    const struct part *f = style->list;
    if (style->count > 0)
        st_buf_add(m->out, f->key.p + f->key.n, (size_t)(f->value.p - f->key.p) - f->key.n);
    else
        st_buf_add_char(m->out, ':');
}

static void put_field(struct merge *m, struct st_str key, struct st_str value)
{
    if (value.p == NULL)
        return;
    begin_field(m, key);
    st_buf_add_str(m->out, value);
}

/* Both changed it, differently. */
static void settle(struct merge *m, struct st_str key, const struct st_str in[ST_JSONL_SIDES])
{
    enum st_jsonl_side side = m->later;
    int order;
    if (key_is_time(key) && compare_times(in[ST_JSONL_OURS], in[ST_JSONL_THEIRS], &order)) {
        put_field(m, key, in[order >= 0 ? ST_JSONL_OURS : ST_JSONL_THEIRS]);
        return;
    }
    if (in[ST_JSONL_OURS].p != NULL && in[ST_JSONL_THEIRS].p != NULL) {
        struct st_buf list;
        st_buf_init(&list, m->out->alloc);
        enum st_code code = merge_lists(in, &list);
        if (code == ST_OK)
            put_field(m, key, st_buf_str(&list));
        if (list.failed)
            code = ST_NO_MEMORY;
        st_buf_release(&list);
        if (code != ST_INVALID) {
            m->code = code;
            return;
        }
    }
#ifdef ST_DEFECT_OURS_ALWAYS
    put_field(m, key, in[ST_JSONL_OURS]);
    return;
#endif
    put_field(m, key, in[side]);
    if (!key_is(key, "content_hash"))
        m->visit(m->arg, &(struct st_jsonl_note){
                             .kind = ST_JSONL_FIELD,
                             .side = side,
                             .id = m->id,
                             .field = key,
                             .shown = in[side],
                             .other = in[ST_JSONL_OURS + ST_JSONL_THEIRS - side],
                         });
}

static void merge_field(struct merge *m, struct st_str key)
{
    struct st_str in[ST_JSONL_SIDES];
    for (int s = 0; s < ST_JSONL_SIDES; s++)
        in[s] = value_of(&m->sides[s], key);
    if (st_json_equal(in[ST_JSONL_OURS], in[ST_JSONL_THEIRS]) ||
        st_json_equal(in[ST_JSONL_BASE], in[ST_JSONL_THEIRS]))
        put_field(m, key, in[ST_JSONL_OURS]);
    else if (st_json_equal(in[ST_JSONL_BASE], in[ST_JSONL_OURS]))
        put_field(m, key, in[ST_JSONL_THEIRS]);
    else
        settle(m, key, in);
}

/* The fields in the order of ours; one that ours has not comes behind the field that it is behind
 * in theirs. */
static enum st_code merge_fields(struct merge *m, struct st_str ours_text)
{
    const struct parts *ours = &m->sides[ST_JSONL_OURS], *theirs = &m->sides[ST_JSONL_THEIRS];
    uint32_t *behind = calloc(ours->count + 2, sizeof *behind); /* first of theirs, from 1 */
    uint32_t *next = calloc(theirs->count + 1, sizeof *next), at = 0, last = 0;
    if (behind == NULL || next == NULL) {
        free(behind);
        free(next);
        return ST_NO_MEMORY;
    }
    for (uint32_t i = 0; i < theirs->count; i++) {
        const struct part *f = find(ours, theirs->list[i].key);
        if (f != NULL) {
            at = (uint32_t)(f - ours->list) + 1;
            last = 0;
            continue;
        }
        *(last > 0 ? &next[last - 1] : &behind[at]) = i + 1;
        last = i + 1;
    }
    const char *head = ours->count > 0 ? ours->list[0].key.p : ours_text.p + 1;
    st_buf_add(m->out, ours_text.p, (size_t)(head - ours_text.p));
    for (size_t i = 0; i <= ours->count; i++) {
        if (i > 0)
            merge_field(m, ours->list[i - 1].key);
        for (uint32_t t = behind[i]; t > 0; t = next[t - 1])
            merge_field(m, theirs->list[t - 1].key);
    }
    const struct part *end = ours->list + ours->count - 1;
    const char *tail = ours->count > 0 ? end->value.p + end->value.n : head;
    st_buf_add(m->out, tail, (size_t)(ours_text.p + ours_text.n - tail));
    free(behind);
    free(next);
    return m->code;
}

enum st_code st_jsonl_fields_merge(const struct st_str in[ST_JSONL_SIDES], struct st_str id,
                                   st_jsonl_visit *visit, void *arg, struct st_buf *out)
{
    struct merge m = {.id = id, .visit = visit, .arg = arg, .out = out, .first = true};
    enum st_code code = ST_OK;
    for (int s = 0; code == ST_OK && s < ST_JSONL_SIDES; s++)
        code = read_fields(in[s], &m.sides[s]);
    if (code == ST_OK) {
        m.later = later_side(m.sides);
        code = merge_fields(&m, in[ST_JSONL_OURS]);
    } else if (code == ST_INVALID) {
        st_buf_add_str(out, in[ST_JSONL_OURS]);
        visit(arg, &(struct st_jsonl_note){
                       .kind = ST_JSONL_WHOLE,
                       .side = ST_JSONL_OURS,
                       .id = id,
                       .shown = in[ST_JSONL_OURS],
                       .other = in[ST_JSONL_THEIRS],
                   });
        code = ST_OK;
    }
    for (int s = 0; s < ST_JSONL_SIDES; s++)
        parts_release(&m.sides[s]);
    return code == ST_OK && out->failed ? ST_NO_MEMORY : code;
}

bool st_jsonl_fields_differ(struct st_str base, struct st_str changed, struct st_buf *out)
{
    struct parts sides[2] = {0};
    bool more = true;
    enum st_code code = read_fields(base, &sides[0]);
    if (code == ST_OK)
        code = read_fields(changed, &sides[1]);
    if (code == ST_OK) {
        more = false;
        st_buf_add_char(out, '[');
        for (int s = 1; s >= 0; s--)
            for (size_t i = 0; i < sides[s].count; i++) {
                struct st_str key = sides[s].list[i].key, other = value_of(&sides[1 - s], key);
                if (s == 0 ? other.p != NULL : st_json_equal(sides[s].list[i].value, other))
                    continue;
                if (out->p[out->n - 1] != '[')
                    st_buf_add_char(out, ',');
                st_buf_add_str(out, key);
                more = more || !(key_is(key, "updated_at") || key_is(key, "content_hash"));
            }
        st_buf_add_char(out, ']');
    }
    parts_release(&sides[0]);
    parts_release(&sides[1]);
    return more;
}
