/*
 * record_decode.c - from a line to its record; dots and vectors from their text.
 *
 * The line may hold anything. There is no JSON parser here: the line is compared with the one
 * spelling that the encoder gives, from left to right, and refused at the first byte that
 * differs. So a line that decodes is the canonical one, without a look back at the bytes.
 *
 * Memory: strings with escapes and the entries of vectors go into scratch->text, which gets room
 * for as many bytes as the line has before anything is put there, and so never moves while a
 * record points into it. That is always enough: an unescaped string is shorter than its source,
 * and k > 0 entries of 24 bytes, 7 for alignment included, are less than the 37 k + 1 bytes
 * that they are written with.
 */
#include "core/record_internal.h"

#define OPS_CAP_MIN 8

struct reader {
    const char *p;
    const char *end;      /* of what is to be read */
    const char *readable; /* bytes up to here may be looked at: at least `end` */
    struct st_record_scratch *scratch;
    enum st_code code; /* why it failed */
};

/* Everything that does not match is damage; limits and memory say so themselves. */
static bool fail(struct reader *r, enum st_code code)
{
    r->code = code == ST_INVALID ? ST_DAMAGED : code;
    return false;
}

static inline size_t left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}

/* A macro, so that the size is a constant and the comparison a few instructions. */
#define TAKE(r, literal)                                                                           \
    (left(r) >= sizeof(literal) - 1 &&                                                             \
             __builtin_memcmp((r)->p, (literal), sizeof(literal) - 1) == 0                         \
         ? ((r)->p += sizeof(literal) - 1, true)                                                   \
         : false)

static inline bool take_hex64(struct reader *r, uint64_t *value)
{
    if (left(r) < 16 || !st_parse_hex64(r->p, value))
        return false;
    r->p += 16;
    return true;
}

/* Decimal without leading zeros, at most `max`, which is far below 2^64 / 10. */
static inline bool take_number(struct reader *r, uint64_t max, uint64_t *value)
{
    const char *start = r->p;
    uint64_t n = 0;

    while (r->p < r->end && (uint8_t)(*r->p - '0') <= 9) {
        n = n * 10 + (uint64_t)(*r->p++ - '0');
        if (n > max)
            return false;
    }
    *value = n;
    return r->p > start && (*start != '0' || r->p - start == 1);
}

static bool take_writer(struct reader *r, bool dash, struct st_writer *w)
{
    return take_hex64(r, &w->replica) && (!dash || TAKE(r, "-")) && take_hex64(r, &w->epoch) &&
           st_writer_valid(*w);
}

static bool take_dot(struct reader *r, struct st_dot *d)
{
    return take_writer(r, true, &d->writer) && TAKE(r, "-") &&
           take_number(r, ST_U53_MAX, &d->counter) && d->counter > 0;
}

static bool take_entry(struct reader *r, struct st_vector_entry *e)
{
    return TAKE(r, "\"") && take_writer(r, false, &e->writer) && TAKE(r, "\":") &&
           take_number(r, ST_U53_MAX, &e->counter) && e->counter > 0;
}

/* --- strings ---------------------------------------------------------------------------------- */

/* The rest of a string at its first backslash, of which `start` is the beginning. Escapes other
 * than these stand for control characters that no field of a record may hold. */
static bool take_escaped(struct reader *r, const char *start, struct st_str *out)
{
    struct st_buf *text = &r->scratch->text;
    size_t before = text->n;

    st_buf_add(text, start, (size_t)(r->p - start));
    while (TAKE(r, "\\")) {
        size_t run;

        if (TAKE(r, "n"))
            st_buf_add_char(text, '\n');
        else if (TAKE(r, "\""))
            st_buf_add_char(text, '"');
        else if (TAKE(r, "\\"))
            st_buf_add_char(text, '\\');
        else if (TAKE(r, "t"))
            st_buf_add_char(text, '\t');
        else if (TAKE(r, "r"))
            st_buf_add_char(text, '\r');
        else
            return false;
        run = st_json_plain(r->p, left(r));
        st_buf_add(text, r->p, run);
        r->p += run;
    }
    *out = (struct st_str){text->p + before, text->n - before};
    return TAKE(r, "\"");
}

/* Behind the opening quote, with the closing one. Not yet checked as UTF-8. */
static inline bool take_string(struct reader *r, struct st_str *out)
{
    const char *start = r->p;

    r->p += st_json_plain(start, (size_t)(r->readable - start));
    if (r->p >= r->end)
        return false;
    if (*r->p == '\\')
        return take_escaped(r, start, out);
    *out = (struct st_str){start, (size_t)(r->p - start)};
    return TAKE(r, "\"");
}

static bool take_checked(struct reader *r, enum st_code (*check)(struct st_str), struct st_str *out)
{
    enum st_code code;

    if (!take_string(r, out))
        return false;
    code = check(*out);
    return code == ST_OK || fail(r, code);
}

/* --- vectors ---------------------------------------------------------------------------------- */

/* Into scratch->text, as a view: cap stays 0. */
static bool take_vector(struct reader *r, struct st_vector *v)
{
    struct st_buf *text = &r->scratch->text;
    size_t start = (text->n + 7) & ~(size_t)7;

    *v = (struct st_vector){0};
    if (!TAKE(r, "{"))
        return false;
    if (TAKE(r, "}"))
        return true;
    v->entries = (void *)(text->p + start);
    do {
        struct st_vector_entry e;

        if (v->count == ST_WRITERS_MAX)
            return fail(r, ST_LIMIT);
        if (!take_entry(r, &e))
            return false;
        if (v->count > 0 && st_writer_compare(v->entries[v->count - 1].writer, e.writer) >= 0)
            return false;
        text->n = start + (v->count + 1) * sizeof(e);
        ST_ASSERT(text->n <= text->cap);
        v->entries[v->count++] = e;
    } while (TAKE(r, ","));
    return TAKE(r, "}");
}

/* Twice over the text: it is well-formed before v is touched. */
bool st_vector_parse(struct st_str text, struct st_vector *v)
{
    struct st_vector_entry e, last = {0};
    struct reader r = {0};
    size_t count = 0;

    if (text.n == 0)
        return false;
    r.p = text.p;
    r.end = text.p + text.n;
    if (!TAKE(&r, "{"))
        return false;
    if (!TAKE(&r, "}")) {
        do {
            if (!take_entry(&r, &e) || st_writer_compare(last.writer, e.writer) >= 0)
                return false;
            last = e;
            count++;
        } while (TAKE(&r, ","));
        if (!TAKE(&r, "}"))
            return false;
    }
    if (r.p != r.end || count > ST_WRITERS_MAX)
        return false;
    for (r.p = text.p; count > 0; count--) {
        r.p++; /* the brace or a comma */
        if (!take_entry(&r, &e) || !st_vector_raise(v, e.writer, e.counter))
            return false;
    }
    return true;
}

bool st_dot_parse(struct st_str text, struct st_dot *out)
{
    struct reader r = {0};

    if (text.n == 0)
        return false;
    r.p = text.p;
    r.end = text.p + text.n;
    return take_dot(&r, out) && r.p == r.end;
}

static bool take_dots(struct reader *r, const struct st_dot **out, size_t *count)
{
    struct st_buf *text = &r->scratch->text;
    size_t start = (text->n + 7) & ~(size_t)7;
    struct st_dot *list = (void *)(text->p + start);

    *count = 0;
    *out = NULL;
    if (!TAKE(r, "["))
        return false;
    if (TAKE(r, "]"))
        return true;
    *out = list;
    do {
        struct st_dot d;

        if (*count == ST_AT_MAX)
            return fail(r, ST_LIMIT);
        if (!TAKE(r, "\"") || !take_dot(r, &d) || !TAKE(r, "\""))
            return false;
        if (*count > 0 && st_dot_compare(list[*count - 1], d) >= 0)
            return false;
        text->n = start + (*count + 1) * sizeof d;
        ST_ASSERT(text->n <= text->cap);
        list[(*count)++] = d;
    } while (TAKE(r, ","));
    return TAKE(r, "]");
}

/* --- operations ------------------------------------------------------------------------------- */

static bool take_attribute(struct reader *r, struct st_op *op)
{
    return TAKE(r, ",\"e\":\"") && take_checked(r, st_name_check, &op->entity) &&
           TAKE(r, ",\"a\":\"") && take_checked(r, st_name_check, &op->attribute);
}

static bool take_value(struct reader *r, struct st_op *op)
{
    if (TAKE(r, ",\"v\":\""))
        return take_checked(r, st_value_check, &op->value);
    op->value_kind = ST_VALUE_LINK;
    return TAKE(r, ",\"l\":\"") && take_checked(r, st_name_check, &op->value);
}

static bool take_at(struct reader *r, struct st_op *op)
{
    op->has_at = TAKE(r, ",\"at\":");
    return !op->has_at || take_dots(r, &op->at, &op->at_count);
}

static bool take_read(struct reader *r, struct st_op *op)
{
    return !TAKE(r, ",\"read\":\"") || (take_dot(r, &op->dot) && TAKE(r, "\""));
}

static bool take_delta(struct reader *r, int64_t *delta)
{
    bool negative = TAKE(r, "-");
    uint64_t amount;

    if (!take_number(r, ST_U53_MAX, &amount) || (negative && amount == 0))
        return false;
    *delta = negative ? -(int64_t)amount : (int64_t)amount;
    return true;
}

/* Behind the name of the operation. */
static bool take_fields(struct reader *r, struct st_op *op)
{
    switch (op->kind) {
    case ST_OP_SET:
        return take_attribute(r, op) && take_value(r, op) && take_at(r, op) && take_read(r, op);
    case ST_OP_UNSET:
        return take_attribute(r, op) && take_at(r, op) && take_read(r, op);
    case ST_OP_ADD:
        return take_attribute(r, op) && take_value(r, op);
    case ST_OP_REMOVE:
        return take_attribute(r, op) && take_value(r, op) && take_at(r, op);
    case ST_OP_COUNT:
        return TAKE(r, ",\"n\":\"") && take_checked(r, st_name_check, &op->entity) &&
               TAKE(r, ",\"d\":") && take_delta(r, &op->delta);
    case ST_OP_BEAT:
        return TAKE(r, ",\"s\":\"") && take_checked(r, st_status_check, &op->value);
    case ST_OP_SEEN:
        return TAKE(r, ",\"v\":") && take_vector(r, &op->vector);
    case ST_OP_ACK:
        return TAKE(r, ",\"d\":\"") && take_dot(r, &op->dot) && TAKE(r, "\"");
    case ST_OP_UNKNOWN:
        break;
    }
    return false;
}

static bool take_op(struct reader *r, struct st_op *op)
{
    const char *start = r->p, *end;
    struct st_str name;

    *op = (struct st_op){0};
    if (!TAKE(r, "{\"op\":\""))
        return false;
    name.p = r->p;
    while (r->p < r->end && *r->p >= 'a' && *r->p <= 'z')
        r->p++;
    name.n = (size_t)(r->p - name.p);
    if (TAKE(r, "\"")) {
        op->kind = st_op_kind_of(name);
        if (op->kind != ST_OP_UNKNOWN)
            return take_fields(r, op) && TAKE(r, "}");
    }
    end = st_op_unknown_end(start, r->end);
    if (end == NULL)
        return false;
    op->raw = (struct st_str){start, (size_t)(end - start)};
    r->p = end;
    return true;
}

static bool ops_grow(struct reader *r)
{
    struct st_record_scratch *s = r->scratch;
    size_t cap = s->ops_cap < OPS_CAP_MIN ? OPS_CAP_MIN : s->ops_cap * 2;
    struct st_op *ops = s->alloc->resize(s->alloc->ctx, s->ops, cap * sizeof(*ops));

    if (ops == NULL)
        return fail(r, ST_NO_MEMORY);
    s->ops = ops;
    s->ops_cap = cap;
    return true;
}

static bool take_ops(struct reader *r, struct st_record *out)
{
    size_t count = 0;

    do {
        if (count == ST_RECORD_OPS_MAX)
            return fail(r, ST_LIMIT);
        if (count == r->scratch->ops_cap && !ops_grow(r))
            return false;
        if (!take_op(r, &r->scratch->ops[count]))
            return false;
        count++;
    } while (TAKE(r, ","));
    out->ops = r->scratch->ops;
    out->op_count = count;
    return TAKE(r, "]");
}

/* --- records ---------------------------------------------------------------------------------- */

/* The end of the line first: with it in place, the rest is read up to r->end only. */
static bool take_seal(struct reader *r, struct st_str line, uint64_t *checksum)
{
    if (line.n > ST_LINE_SIZE_MAX)
        return fail(r, ST_LIMIT);
    if (line.n < ST_SEAL_SIZE)
        return false;
    r->readable = line.p + line.n;
    r->p = r->readable - ST_SEAL_SIZE;
    r->end = r->readable;
    if (!TAKE(r, ",\"x\":\"") || !take_hex64(r, checksum) || !TAKE(r, "\"}\n"))
        return false;
    r->p = line.p;
    r->end = r->readable - ST_SEAL_SIZE;
    return true;
}

static bool take_head(struct reader *r, struct st_str line, struct st_record *out)
{
    uint64_t logical;

    *out = (struct st_record){0};
    if (!take_seal(r, line, &out->checksum))
        return false;
    if (!TAKE(r, "{\"r\":\"") || !take_hex64(r, &out->dot.writer.replica) ||
        !TAKE(r, "\",\"e\":\"") || !take_hex64(r, &out->dot.writer.epoch) ||
        !TAKE(r, "\",\"c\":") || !take_number(r, ST_U53_MAX, &out->dot.counter) ||
        !TAKE(r, ",\"p\":\"") || !take_hex64(r, &out->previous) || !TAKE(r, "\",\"t\":[") ||
        !take_number(r, ST_U53_MAX, &out->time.ms) || !TAKE(r, ",") ||
        !take_number(r, UINT32_MAX, &logical) || !TAKE(r, "]"))
        return false;
    out->time.logical = (uint32_t)logical;
    if (TAKE(r, ",\"n\":") && (!take_number(r, ST_NUMBER_MAX, &out->number) || out->number == 0))
        return false;
    return st_writer_valid(out->dot.writer) && out->dot.counter > 0;
}

static bool take_record(struct reader *r, struct st_str line, struct st_record *out)
{
    if (!take_head(r, line, out))
        return false;
    st_buf_reset(&r->scratch->text);
    if (!st_buf_reserve(&r->scratch->text, line.n))
        return fail(r, ST_NO_MEMORY);
    if (TAKE(r, ",\"a\":\"") && !take_checked(r, st_agent_check, &out->agent))
        return false;
    if (TAKE(r, ",\"i\":\"") &&
        !(take_hex64(r, &out->incarnation) && out->incarnation != 0 && TAKE(r, "\"")))
        return false;
    return TAKE(r, ",\"o\":[") && take_ops(r, out) && r->p == r->end;
}

enum st_code st_record_decode(struct st_str line, struct st_record_scratch *scratch,
                              struct st_record *out)
{
    struct reader r = {.scratch = scratch, .code = ST_DAMAGED};

    return take_record(&r, line, out) ? ST_OK : r.code;
}

/* Every operation begins with a brace, and few other things do. */
bool st_record_may_see(struct st_str line)
{
    static const char mark[] = "{\"op\":\"seen\"";
    const char *end = line.p + line.n, *p = line.p;

    while (end - p > (ptrdiff_t)sizeof(mark) &&
           (p = memchr(p, '{', (size_t)(end - p) - sizeof(mark))) != NULL) {
        if (memcmp(p, mark, sizeof(mark) - 1) == 0)
            return true;
        p++;
    }
    return false;
}

enum st_code st_record_decode_head(struct st_str line, struct st_record *out)
{
    struct reader r = {.code = ST_DAMAGED};

    return take_head(&r, line, out) ? ST_OK : r.code;
}

void st_record_scratch_init(struct st_record_scratch *s, const struct st_alloc *alloc)
{
    *s = (struct st_record_scratch){.alloc = alloc};
    st_buf_init(&s->text, alloc);
}

void st_record_scratch_release(struct st_record_scratch *s)
{
    if (s->ops != NULL)
        (void)s->alloc->resize(s->alloc->ctx, s->ops, 0);
    st_buf_release(&s->text);
    st_record_scratch_init(s, s->alloc);
}
