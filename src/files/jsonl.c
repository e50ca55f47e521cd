/* jsonl.c - see jsonl.h. */
#include "files/jsonl.h"

#include "files/jsonl_fields.h"
#include "files/jsonscan.h"
#include "store/arena.h"
#include "store/log.h"

#include <stdlib.h>

#define NONE UINT32_MAX

struct line {
    const char *p;
    uint32_t size;  /* without its end */
    uint32_t entry; /* NONE: blank */
};

struct side {
    struct line *list;
    uint32_t count;
};

/* A record: what the sides have under one id, or of the same bytes. */
struct entry {
    const char *key; /* id as JSON, or the whole line */
    uint32_t size;
    uint32_t hash;
    bool by_bytes, broken;
    uint32_t count[ST_JSONL_SIDES]; /* lines */
    uint32_t first[ST_JSONL_SIDES]; /* line; NONE */
    uint32_t left[ST_JSONL_SIDES];  /* by bytes: still to be written from this side */
};

struct merge {
    struct side sides[ST_JSONL_SIDES];
    struct entry *entries;
    uint32_t count, cap;
    uint32_t *slots; /* of a hash table with open addresses: entries; NONE is free */
    uint32_t slot_count;
    struct st_arena arena; /* ids with escapes, spelled in one way */
    st_jsonl_visit *visit;
    void *arg;
    struct st_buf *out;
    struct st_str end;    /* of lines that are added */
    const char *ours_end; /* of the text */
};

/* --- the table of records --------------------------------------------------------------------- */

static uint32_t hash_of(struct st_str key, bool by_bytes)
{
    uint64_t h = st_checksum(key.p, key.n);
    return (uint32_t)(h ^ h >> 32) ^ (by_bytes ? 0x9e3779b9u : 0);
}

static uint32_t *slot_of(struct merge *m, struct st_str key, bool by_bytes, uint32_t hash)
{
    for (uint32_t i = hash & (m->slot_count - 1);; i = (i + 1) & (m->slot_count - 1)) {
        const struct entry *e = m->slots[i] != NONE ? &m->entries[m->slots[i]] : NULL;
        if (e == NULL || (e->hash == hash && e->by_bytes == by_bytes &&
                          st_str_equal((struct st_str){e->key, e->size}, key)))
            return &m->slots[i];
    }
}

static bool grow(struct merge *m)
{
    uint32_t cap = m->cap > 0 ? 2 * m->cap : 1024;
    struct entry *entries = realloc(m->entries, cap * sizeof *entries);
    if (entries != NULL)
        m->entries = entries;
    uint32_t *slots = malloc(2 * (size_t)cap * sizeof *slots);
    if (entries == NULL || slots == NULL) {
        free(slots);
        return false;
    }
    free(m->slots);
    m->slots = slots;
    m->slot_count = 2 * cap;
    m->cap = cap;
    memset(slots, 0xff, 2 * (size_t)cap * sizeof *slots);
    for (uint32_t i = 0; i < m->count; i++) {
        uint32_t at = m->entries[i].hash & (m->slot_count - 1);
        while (slots[at] != NONE)
            at = (at + 1) & (m->slot_count - 1);
        slots[at] = i;
    }
    return true;
}

/* The number of the record of that key, a new one if need be. NONE: out of memory. */
static uint32_t entry_of(struct merge *m, struct st_str key, bool by_bytes)
{
    if (m->count == m->cap && !grow(m))
        return NONE;
    uint32_t hash = hash_of(key, by_bytes), *slot = slot_of(m, key, by_bytes, hash);
    if (*slot == NONE) {
        *slot = m->count++;
        m->entries[*slot] = (struct entry){
            .key = key.p,
            .size = (uint32_t)key.n,
            .hash = hash,
            .by_bytes = by_bytes,
            .first = {NONE, NONE, NONE},
        };
    }
    return *slot;
}

/* --- reading ---------------------------------------------------------------------------------- */

static struct st_str text_of(const struct line *l)
{
    return (struct st_str){l->p, l->size};
}

/* A line of a side, absent (p NULL) for NONE. */
static struct st_str line_text(const struct merge *m, enum st_jsonl_side side, uint32_t i)
{
    return i != NONE ? text_of(&m->sides[side].list[i]) : (struct st_str){0};
}

static bool find_id(void *arg, struct st_str key, struct st_str value)
{
    struct st_str *id = arg;
    if (st_str_equal(key, ST_STR("\"id\"")))
        *id = value;
    return true;
}

/* The id of a record as JSON; false: it has none. */
static bool id_of(struct merge *m, struct st_str text, struct st_str *id)
{
    char first = text.n > 0 ? text.p[0] : '\0';
    *id = (struct st_str){0};
    if ((first != '{' && first != ' ' && first != '\t') || !st_json_each(text, find_id, id) ||
        id->n == 0 || st_str_equal(*id, ST_STR("null")) || st_str_equal(*id, ST_STR("\"\"")))
        return false;
    if (memchr(id->p, '\\', id->n) == NULL && id->p[0] != '{' && id->p[0] != '[')
        return true;
    char *same = st_json_canonical(*id);
    const char *kept = same != NULL ? st_arena_text(&m->arena, st_str_of(same)) : NULL;
    if (kept != NULL)
        *id = st_str_of(kept);
    free(same);
    return true;
}

static bool blank(struct st_str text)
{
    size_t i = 0;
    while (i < text.n && (text.p[i] == ' ' || text.p[i] == '\t' || text.p[i] == '\r'))
        i++;
    return i == text.n;
}

/* Which record a line is. False: out of memory. */
static bool identify(struct merge *m, struct line *l)
{
    struct st_str text = text_of(l), id;
    if (blank(text))
        return true;
    bool utf8 = st_utf8_valid(text), has_id = utf8 && id_of(m, text, &id);
    l->entry = entry_of(m, has_id ? id : text, !has_id);
    if (l->entry != NONE && !has_id)
        m->entries[l->entry].broken = !utf8 || !st_json_valid(text);
    return l->entry != NONE;
}

static void count_line(struct merge *m, enum st_jsonl_side side, uint32_t i)
{
    uint32_t entry = m->sides[side].list[i].entry;
    if (entry == NONE)
        return;
    struct entry *e = &m->entries[entry];
    if (e->count[side]++ == 0)
        e->first[side] = i;
}

/* Whether the line is, byte for byte, the one of base where the last equal one was, or behind it.
 * Most are: then nothing has to be parsed. */
static bool like_base(const struct merge *m, struct line *l, uint32_t *cursor)
{
    const struct side *base = &m->sides[ST_JSONL_BASE];
    if (*cursor >= base->count || !st_str_equal(text_of(l), text_of(&base->list[*cursor])))
        return false;
    l->entry = base->list[*cursor].entry;
    return true;
}

/* After a line that was not like base: go on behind base's line of the same record. */
static void move_cursor(const struct merge *m, const struct line *l, uint32_t *cursor)
{
    if (l->entry != NONE && m->entries[l->entry].first[ST_JSONL_BASE] != NONE)
        *cursor = m->entries[l->entry].first[ST_JSONL_BASE] + 1;
}

static enum st_code split(struct st_str text, enum st_jsonl_side side, struct side *out,
                          struct st_jsonl_fault *fault)
{
    uint32_t lines = 1;
    *fault = (struct st_jsonl_fault){side, 0};
    if (text.n > ST_JSONL_SIZE_MAX)
        return ST_LIMIT;
    for (const char *p = text.p, *end = text.p + text.n;
         text.n > 0 && (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        lines++;
    out->list = malloc(lines * sizeof *out->list);
    if (out->list == NULL)
        return ST_NO_MEMORY;
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t size = end != NULL ? (size_t)(end - text.p) : text.n, all = size + (end != NULL);
        if (size > ST_JSONL_LINE_MAX) {
            fault->line = out->count + 1;
            return ST_LIMIT;
        }
        if (size > 0 && text.p[size - 1] == '\r')
            size--;
        out->list[out->count++] = (struct line){text.p, (uint32_t)size, NONE};
        text.p += all;
        text.n -= all;
    }
    return ST_OK;
}

static bool read_side(struct merge *m, enum st_jsonl_side side)
{
    struct side *s = &m->sides[side];
    uint32_t cursor = 0;
    for (uint32_t i = 0; i < s->count; i++) {
        struct line *l = &s->list[i];
        if (side != ST_JSONL_BASE && like_base(m, l, &cursor)) {
            cursor++;
        } else {
            if (!identify(m, l))
                return false;
            move_cursor(m, l, &cursor);
        }
        count_line(m, side, i);
    }
    return true;
}

/* --- what is wrong in the input --------------------------------------------------------------- */

static bool repeated(const struct entry *e)
{
    return !e->by_bytes && (e->count[ST_JSONL_OURS] > 1 || e->count[ST_JSONL_THEIRS] > 1);
}

static void note(struct merge *m, enum st_jsonl_kind kind, enum st_jsonl_side side,
                 const struct entry *e, uint32_t line)
{
    m->visit(m->arg, &(struct st_jsonl_note){
                         .kind = kind,
                         .side = side,
                         .line = line != NONE ? (size_t)line + 1 : 0,
                         .id = e->by_bytes ? (struct st_str){0} : (struct st_str){e->key, e->size},
                         .shown = line_text(m, side, line),
                     });
}

static void note_problems(struct merge *m)
{
    for (enum st_jsonl_side s = ST_JSONL_OURS; s <= ST_JSONL_THEIRS; s++)
        for (uint32_t i = 0; i < m->sides[s].count; i++) {
            uint32_t entry = m->sides[s].list[i].entry;
            const struct entry *e = entry != NONE ? &m->entries[entry] : NULL;
            if (e != NULL && e->broken)
                note(m, ST_JSONL_BROKEN, s, e, i);
            if (e != NULL && repeated(e) && e->first[s] != i)
                note(m, ST_JSONL_DUPLICATE, s, e, i);
        }
}

/* Lines that share their id with another of the same input are known by their bytes from now on. */
static bool regroup(struct merge *m)
{
    uint32_t ids = m->count;
    for (enum st_jsonl_side s = ST_JSONL_BASE; s < ST_JSONL_SIDES; s++)
        for (uint32_t i = 0; i < m->sides[s].count; i++) {
            struct line *l = &m->sides[s].list[i];
            if (l->entry == NONE || l->entry >= ids || !repeated(&m->entries[l->entry]))
                continue;
            l->entry = entry_of(m, text_of(l), true);
            if (l->entry == NONE)
                return false;
            count_line(m, s, i);
        }
    return true;
}

static void share_out(struct entry *e)
{
    uint32_t ours = e->count[ST_JSONL_OURS],
             times =
                 (uint32_t)st_jsonl_times(e->count[ST_JSONL_BASE], ours, e->count[ST_JSONL_THEIRS]);
    e->left[ST_JSONL_OURS] = times < ours ? times : ours;
    e->left[ST_JSONL_THEIRS] = times - e->left[ST_JSONL_OURS];
}

/* --- writing ---------------------------------------------------------------------------------- */

static void put(struct merge *m, struct st_str text)
{
    st_buf_add_str(m->out, text);
    st_buf_add_str(m->out, m->end);
}

/* A line of ours keeps its own end. */
static void put_ours(struct merge *m, const struct line *l)
{
    size_t all = l->size;
    if (l->p + all < m->ours_end && l->p[all] == '\r')
        all++;
    st_buf_add(m->out, l->p, all);
    st_buf_add_char(m->out, '\n');
}

static void note_kept(struct merge *m, enum st_jsonl_side side, const struct entry *e,
                      struct st_str base, struct st_str text)
{
    struct st_buf fields;
    st_buf_init(&fields, m->out->alloc);
    bool more = st_jsonl_fields_differ(base, text, &fields);
    if (fields.failed)
        m->out->failed = true;
    m->visit(m->arg, &(struct st_jsonl_note){
                         .kind = ST_JSONL_KEPT,
                         .side = side,
                         .line = (size_t)e->first[side] + 1,
                         .id = {e->key, e->size},
                         .shown = text,
                         .fields = st_buf_str(&fields),
                         .said_nothing = !more,
                     });
    st_buf_release(&fields);
}

/* On one side only; the other may have deleted it. */
static void put_single(struct merge *m, enum st_jsonl_side side, const struct entry *e)
{
    struct st_str base = line_text(m, ST_JSONL_BASE, e->first[ST_JSONL_BASE]);
    struct st_str text = line_text(m, side, e->first[side]);
    enum st_jsonl_side other = side == ST_JSONL_OURS ? ST_JSONL_THEIRS : ST_JSONL_OURS;
#ifdef ST_DEFECT_RESURRECT
    if (side == ST_JSONL_THEIRS)
        base.p = NULL;
#endif
    if (base.p != NULL && st_json_equal(base, text)) {
        note(m, ST_JSONL_DELETED, other, e, NONE);
        return;
    }
    if (base.p != NULL)
        note_kept(m, side, e, base, text);
    else if (side == ST_JSONL_THEIRS)
        note(m, ST_JSONL_ADDED, side, e, e->first[side]);
#ifdef ST_DEFECT_DROP_ADDITION
    if (base.p == NULL && side == ST_JSONL_THEIRS)
        return;
#endif
    if (side == ST_JSONL_OURS)
        put_ours(m, &m->sides[side].list[e->first[side]]);
    else
        put(m, text);
}

static enum st_code put_both(struct merge *m, const struct entry *e)
{
    struct st_str in[ST_JSONL_SIDES];
    for (enum st_jsonl_side s = ST_JSONL_BASE; s < ST_JSONL_SIDES; s++)
        in[s] = line_text(m, s, e->first[s]);
    struct st_str base = in[ST_JSONL_BASE], theirs = in[ST_JSONL_THEIRS];
    if (st_str_equal(in[ST_JSONL_OURS], theirs) || (base.p != NULL && st_str_equal(base, theirs))) {
        put_ours(m, &m->sides[ST_JSONL_OURS].list[e->first[ST_JSONL_OURS]]);
        return ST_OK;
    }
    if (base.p != NULL && st_str_equal(base, in[ST_JSONL_OURS])) {
        note(m, ST_JSONL_TAKEN, ST_JSONL_THEIRS, e, e->first[ST_JSONL_THEIRS]);
        put(m, theirs);
        return ST_OK;
    }
    note(m, ST_JSONL_MERGED, ST_JSONL_OURS, e, e->first[ST_JSONL_OURS]);
    enum st_code code =
        st_jsonl_fields_merge(in, (struct st_str){e->key, e->size}, m->visit, m->arg, m->out);
    st_buf_add_str(m->out, m->end);
    return code;
}

/* Writes what comes of a line of ours, or of one that only theirs has. */
static enum st_code put_line(struct merge *m, enum st_jsonl_side side, uint32_t i)
{
    const struct line *l = &m->sides[side].list[i];
    if (l->entry == NONE) {
        if (side == ST_JSONL_OURS)
            put_ours(m, l);
        return ST_OK;
    }
    struct entry *e = &m->entries[l->entry];
    if (e->by_bytes) {
        if (e->left[side] == 0)
            return ST_OK;
        e->left[side]--;
        if (side == ST_JSONL_OURS)
            put_ours(m, l);
        else
            put(m, text_of(l));
        return ST_OK;
    }
    if (e->count[ST_JSONL_OURS] > 0 && e->count[ST_JSONL_THEIRS] > 0)
        return put_both(m, e);
    put_single(m, side, e);
    return ST_OK;
}

/* Lines that theirs has and ours has not, behind the line of ours where they belong. */
struct places {
    uint32_t *behind; /* of line i of ours, at i + 1: first line of theirs + 1; 0: none */
    uint32_t *last;   /* the last of them */
    uint32_t *next;   /* of line i of theirs: the next one + 1 */
    uint32_t *past;   /* of line i of ours, at i + 1: past the additions of ours that follow */
};

static void places_release(struct places *p)
{
    free(p->behind);
    free(p->last);
    free(p->next);
    free(p->past);
}

static bool only_ours(const struct merge *m, uint32_t i)
{
    const struct line *l = &m->sides[ST_JSONL_OURS].list[i];
    if (l->entry == NONE)
        return false;
    const struct entry *e = &m->entries[l->entry];
    return e->count[ST_JSONL_BASE] == 0 && e->count[ST_JSONL_THEIRS] == 0;
}

static bool find_places(const struct merge *m, struct places *p)
{
    uint32_t ours = m->sides[ST_JSONL_OURS].count, theirs = m->sides[ST_JSONL_THEIRS].count, at = 0;
    p->behind = calloc((size_t)ours + 1, sizeof *p->behind);
    p->last = calloc((size_t)ours + 1, sizeof *p->last);
    p->next = calloc((size_t)theirs + 1, sizeof *p->next);
    p->past = calloc((size_t)ours + 1, sizeof *p->past);
    if (p->behind == NULL || p->last == NULL || p->next == NULL || p->past == NULL)
        return false;
    p->past[ours] = ours;
    for (uint32_t i = ours; i-- > 0;)
        p->past[i] = only_ours(m, i) ? p->past[i + 1] : i;
    for (uint32_t i = 0; i < theirs; i++) {
        const struct line *l = &m->sides[ST_JSONL_THEIRS].list[i];
        const struct entry *e = l->entry != NONE ? &m->entries[l->entry] : NULL;
        if (e == NULL)
            continue;
        if (e->count[ST_JSONL_OURS] > 0)
            at = e->first[ST_JSONL_OURS] + 1;
#ifdef ST_DEFECT_DUPLICATE_ID
        if (!e->by_bytes && e->count[ST_JSONL_BASE] > 0 && e->count[ST_JSONL_OURS] > 0)
            continue;
#else
        if (e->by_bytes ? e->left[ST_JSONL_THEIRS] == 0 : e->count[ST_JSONL_OURS] > 0)
            continue;
#endif
        uint32_t to = p->past[at];
        *(p->behind[to] > 0 ? &p->next[p->last[to] - 1] : &p->behind[to]) = i + 1;
        p->last[to] = i + 1;
    }
    return true;
}

static enum st_code write_all(struct merge *m)
{
    struct places p = {0};
    enum st_code code = find_places(m, &p) ? ST_OK : ST_NO_MEMORY;
    uint32_t ours = m->sides[ST_JSONL_OURS].count;
    for (uint32_t i = 0; code == ST_OK && i <= ours; i++) {
        if (i > 0)
            code = put_line(m, ST_JSONL_OURS, i - 1);
        for (uint32_t t = p.behind[i]; code == ST_OK && t > 0; t = p.next[t - 1])
            code = put_line(m, ST_JSONL_THEIRS, t - 1);
    }
    places_release(&p);
    return code;
}

static bool ends_line(struct st_str text)
{
    return text.n > 0 && text.p[text.n - 1] == '\n';
}

/* How lines end is ours' affair; whether the last one does, is merged like a field. */
static void trim_end(struct merge *m, const struct st_str in[ST_JSONL_SIDES], size_t start)
{
    bool base = ends_line(in[ST_JSONL_BASE]), ours = ends_line(in[ST_JSONL_OURS]),
         theirs = ends_line(in[ST_JSONL_THEIRS]);
    bool wanted = in[ST_JSONL_OURS].n == 0     ? theirs
                  : in[ST_JSONL_THEIRS].n == 0 ? ours
                  : ours == base               ? theirs
                                               : ours;
    if (wanted || m->out->n == start || m->out->failed)
        return;
    m->out->n--;
    if (m->out->n > start && m->out->p[m->out->n - 1] == '\r')
        m->out->n--;
}

static struct st_str line_end(struct st_str text)
{
    const char *end = text.n > 0 ? memchr(text.p, '\n', text.n) : NULL;
    return end != NULL && end > text.p && end[-1] == '\r' ? ST_STR("\r\n") : ST_STR("\n");
}

enum st_code st_jsonl_merge(const struct st_str sides[ST_JSONL_SIDES], st_jsonl_visit *visit,
                            void *arg, struct st_buf *out, struct st_jsonl_fault *fault)
{
    struct st_str in[ST_JSONL_SIDES];
    for (enum st_jsonl_side s = ST_JSONL_BASE; s < ST_JSONL_SIDES; s++)
        in[s] = sides[s].n > 0 ? sides[s] : ST_STR("");
    struct merge m = {
        .visit = visit,
        .arg = arg,
        .out = out,
        .ours_end = in[ST_JSONL_OURS].p + in[ST_JSONL_OURS].n,
    };
    struct st_str base = in[ST_JSONL_BASE], ours = in[ST_JSONL_OURS], theirs = in[ST_JSONL_THEIRS];
    enum st_code code = ST_OK;
    size_t start = out->n;
    m.end = line_end(ours.n > 0 ? ours : theirs);
    for (enum st_jsonl_side s = ST_JSONL_BASE; code == ST_OK && s < ST_JSONL_SIDES; s++)
        code = split(in[s], s, &m.sides[s], fault);
    for (enum st_jsonl_side s = ST_JSONL_BASE; code == ST_OK && s < ST_JSONL_SIDES; s++)
        code = read_side(&m, s) ? ST_OK : ST_NO_MEMORY;
    if (code == ST_OK) {
        note_problems(&m);
        code = regroup(&m) ? ST_OK : ST_NO_MEMORY;
    }
    for (uint32_t i = 0; i < m.count; i++)
        share_out(&m.entries[i]);
    if (code == ST_OK) {
        (void)st_buf_reserve(out, ours.n + theirs.n / 8);
        code = write_all(&m);
        trim_end(&m, in, start);
    }
    /* What only one side touched is exactly that side's: with its order, its ends of lines. */
    bool alike = st_str_equal(ours, theirs);
    if (code == ST_OK && (alike || st_str_equal(base, theirs) || st_str_equal(base, ours))) {
        out->n = start;
        st_buf_add_str(out, alike || st_str_equal(base, theirs) ? ours : theirs);
    }
    for (enum st_jsonl_side s = ST_JSONL_BASE; s < ST_JSONL_SIDES; s++)
        free(m.sides[s].list);
    free(m.entries);
    free(m.slots);
    st_arena_reset(&m.arena);
    return code == ST_OK && out->failed ? ST_NO_MEMORY : code;
}

bool st_jsonl_guess(struct st_str text)
{
    while (text.n > 0) {
        const char *end = memchr(text.p, '\n', text.n);
        struct st_str line = {text.p, end != NULL ? (size_t)(end - text.p) : text.n};
        if (!blank(line))
            return line.p[0] == '{' && st_utf8_valid(line) && st_json_valid(line);
        text.p += line.n + (end != NULL);
        text.n -= line.n + (end != NULL);
    }
    return false;
}
