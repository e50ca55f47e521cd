/*
 * record.c - what a valid record is: names, values, and the whole. The encoder's callers check
 * with st_record_check() before; the decoder applies the same rules field by field, so whatever
 * decodes is valid.
 */
#include "core/record_internal.h"

enum st_op_kind st_op_kind_of(struct st_str name)
{
    if (ST_STR_IS(name, "set"))
        return ST_OP_SET;
    if (ST_STR_IS(name, "unset"))
        return ST_OP_UNSET;
    if (ST_STR_IS(name, "add"))
        return ST_OP_ADD;
    if (ST_STR_IS(name, "remove"))
        return ST_OP_REMOVE;
    if (ST_STR_IS(name, "count"))
        return ST_OP_COUNT;
    if (ST_STR_IS(name, "beat"))
        return ST_OP_BEAT;
    if (ST_STR_IS(name, "seen"))
        return ST_OP_SEEN;
    if (ST_STR_IS(name, "ack"))
        return ST_OP_ACK;
    return ST_OP_UNKNOWN;
}

/* --- texts ------------------------------------------------------------------------------------ */

/* Whether all eight bytes are printable ASCII. */
static bool word_printable(const char *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word, delete;

    __builtin_memcpy(&word, p, sizeof(word));
    delete = word ^ ones * 0x7f;
    return ((word | ((word - ones * 0x20) & ~word) | ((delete - ones) & ~delete)) & ones * 0x80) ==
           0;
}

/* UTF-8 without control characters; with `lines`, tab, newline and return are none. */
static bool text_valid(struct st_str s, bool lines)
{
    bool ascii = true;
    size_t i = 0;

    while (i < s.n) {
        uint8_t c = (uint8_t)s.p[i];

        if (s.n - i >= sizeof(uint64_t) && word_printable(s.p + i)) {
            i += sizeof(uint64_t);
            continue;
        }
        if (c < 0x20 && !(lines && (c == '\t' || c == '\n' || c == '\r')))
            return false;
        if (c == 0x7f)
            return false;
        if (c == 0xc2 && i + 1 < s.n && (uint8_t)s.p[i + 1] < 0xa0)
            return false; /* U+0080 to U+009F, or not UTF-8 */
        ascii = ascii && c < 0x80;
        i++;
    }
    return ascii || st_utf8_valid(s);
}

enum st_code st_name_check(struct st_str name)
{
    if (name.n == 0)
        return ST_INVALID;
    if (name.n > ST_NAME_SIZE_MAX)
        return ST_LIMIT;
    if (name.p[0] == ' ' || name.p[name.n - 1] == ' ' || !text_valid(name, false))
        return ST_INVALID;
    return ST_OK;
}

static bool agent_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

enum st_entity_kind st_entity_kind(struct st_str entity)
{
    static const char prefix[] = ST_DOCUMENT_PREFIX;
    if (entity.n >= 2 && entity.p[0] == '#' && entity.p[1] >= '0' && entity.p[1] <= '9')
        return ST_ENTITY_NUMBERED;
    return entity.n >= sizeof(prefix) - 1 && memcmp(entity.p, prefix, sizeof(prefix) - 1) == 0
               ? ST_ENTITY_DOCUMENT
               : ST_ENTITY_FACT;
}

enum st_code st_agent_check(struct st_str name)
{
    size_t i;

    if (name.n == 0)
        return ST_INVALID;
    if (name.n > ST_AGENT_SIZE_MAX)
        return ST_LIMIT;
    if (name.p[0] == '.' || name.p[0] == '-')
        return ST_INVALID;
    for (i = 0; i < name.n; i++) {
        if (!agent_char(name.p[i]))
            return ST_INVALID;
    }
    return ST_OK;
}

enum st_code st_value_check(struct st_str value)
{
    if (value.n > ST_VALUE_SIZE_MAX)
        return ST_LIMIT;
    return text_valid(value, true) ? ST_OK : ST_INVALID;
}

enum st_code st_status_check(struct st_str status)
{
    if (status.n > ST_STATUS_SIZE_MAX)
        return ST_LIMIT;
    return text_valid(status, false) ? ST_OK : ST_INVALID;
}

/* --- sizes ------------------------------------------------------------------------------------ */

static size_t string_size(struct st_str s)
{
    size_t size = 2 + s.n, i = 0;

    while (i < s.n) {
        i += st_json_plain(s.p + i, s.n - i);
        /* A valid text has no control character that needs more than two bytes. */
        if (i < s.n) {
            size++;
            i++;
        }
    }
    return size;
}

static size_t decimal_size(uint64_t value)
{
    size_t size = 1;

    for (; value >= 10; value /= 10)
        size++;
    return size;
}

static size_t dot_size(struct st_dot d)
{
    return 2 * (16 + 1) + decimal_size(d.counter);
}

static size_t vector_size(const struct st_vector *v)
{
    size_t size = 2 + v->count + (v->count > 0 ? v->count - 1 : 0), i;

    for (i = 0; i < v->count; i++)
        size += 34 + decimal_size(v->entries[i].counter);
    return size;
}

#define SIZE(text) (sizeof(text) - 1)

static size_t dots_size(const struct st_dot *dots, size_t count)
{
    size_t size = SIZE("[]") + (count > 0 ? count - 1 : 0);

    for (size_t i = 0; i < count; i++)
        size += SIZE("\"\"") + dot_size(dots[i]);
    return size;
}

static size_t key_value_size(const struct st_op *op)
{
    return SIZE(",\"e\":") + string_size(op->entity) + SIZE(",\"a\":") +
           string_size(op->attribute) +
           (op->kind == ST_OP_UNSET ? 0 : SIZE(",\"v\":") + string_size(op->value));
}

static size_t op_size(const struct st_op *op)
{
    size_t size;

    switch (op->kind) {
    case ST_OP_SET:
        size = SIZE("{\"op\":\"set\"}") + key_value_size(op);
        break;
    case ST_OP_UNSET:
        size = SIZE("{\"op\":\"unset\"}") + key_value_size(op);
        break;
    case ST_OP_ADD:
        size = SIZE("{\"op\":\"add\"}") + key_value_size(op);
        break;
    case ST_OP_REMOVE:
        size = SIZE("{\"op\":\"remove\"}") + key_value_size(op);
        break;
    case ST_OP_COUNT:
        return SIZE("{\"op\":\"count\",\"n\":,\"d\":}") + string_size(op->entity) +
               (op->delta < 0) + decimal_size((uint64_t)(op->delta < 0 ? -op->delta : op->delta));
    case ST_OP_BEAT:
        return SIZE("{\"op\":\"beat\",\"s\":}") + string_size(op->value);
    case ST_OP_SEEN:
        return SIZE("{\"op\":\"seen\",\"v\":}") + vector_size(&op->vector);
    case ST_OP_ACK:
        return SIZE("{\"op\":\"ack\",\"d\":\"\"}") + dot_size(op->dot);
    case ST_OP_UNKNOWN:
    default:
        return op->raw.n;
    }
    if (op->has_at)
        size += SIZE(",\"at\":") + dots_size(op->at, op->at_count);
    if ((op->kind == ST_OP_SET || op->kind == ST_OP_UNSET) && op->dot.counter != 0)
        size += SIZE(",\"read\":\"\"") + dot_size(op->dot);
    return size;
}

/* Of the whole line, with checksum and newline. */
static size_t line_size(const struct st_record *r)
{
    size_t size = SIZE("{\"r\":\"\",\"e\":\"\",\"c\":,\"p\":\"\",\"t\":[,],\"o\":[]") + 3 * 16 +
                  decimal_size(r->dot.counter) + decimal_size(r->time.ms) +
                  decimal_size(r->time.logical) + ST_SEAL_SIZE;
    size_t i;

    if (r->number != 0)
        size += SIZE(",\"n\":") + decimal_size(r->number);
    if (r->agent.n > 0)
        size += SIZE(",\"a\":\"\"") + r->agent.n;
    if (r->incarnation != 0)
        size += SIZE(",\"i\":\"\"") + 16;
    for (i = 0; i < r->op_count; i++)
        size += op_size(&r->ops[i]) + (i > 0);
    return size;
}

/* --- records ---------------------------------------------------------------------------------- */

static enum st_code said(enum st_code code, const char *field, const char **what)
{
    if (code != ST_OK)
        *what = field;
    return code;
}

static bool dot_valid(struct st_dot d)
{
    return st_writer_valid(d.writer) && st_counter_valid(d.counter);
}

static enum st_code vector_check(const struct st_vector *v)
{
    size_t i;

    if (v->count > ST_WRITERS_MAX)
        return ST_LIMIT;
    for (i = 0; i < v->count; i++) {
        const struct st_vector_entry *e = &v->entries[i];

        if (!st_writer_valid(e->writer) || !st_counter_valid(e->counter))
            return ST_INVALID;
        if (i > 0 && st_writer_compare(e[-1].writer, e->writer) >= 0)
            return ST_INVALID;
    }
    return ST_OK;
}

static enum st_code dots_check(const struct st_dot *dots, size_t count)
{
    if (count > ST_AT_MAX)
        return ST_LIMIT;
    for (size_t i = 0; i < count; i++)
        if (!dot_valid(dots[i]) || (i > 0 && st_dot_compare(dots[i - 1], dots[i]) >= 0))
            return ST_INVALID;
    return ST_OK;
}

/* A new number gets its name, a valid one, where the record gets its place. */
static enum st_code name_check(struct st_str name, uint32_t new_number)
{
    return new_number != 0 ? ST_OK : st_name_check(name);
}

/* set, unset, add, remove */
static enum st_code attribute_op_check(const struct st_op *op, const char **what)
{
    enum st_code code = said(name_check(op->entity, op->new_entity), "entity", what);

    if (code == ST_OK)
        code = said(st_name_check(op->attribute), "attribute", what);
    if (code == ST_OK && op->kind != ST_OP_UNSET) {
        if (op->value_kind == ST_VALUE_TEXT && op->new_value == 0)
            code = said(st_value_check(op->value), "value", what);
        else if (op->value_kind == ST_VALUE_TEXT || op->value_kind == ST_VALUE_LINK)
            code = said(name_check(op->value, op->new_value), "link", what);
        else
            code = said(ST_INVALID, "kind of value", what);
    }
    if (code == ST_OK && op->has_at) {
        if (op->kind == ST_OP_ADD)
            return said(ST_INVALID, "context of an add", what);
        code = said(dots_check(op->at, op->at_count), "context", what);
    }
    if (code == ST_OK && (op->kind == ST_OP_SET || op->kind == ST_OP_UNSET) &&
        op->dot.counter != 0 && !dot_valid(op->dot))
        return said(ST_INVALID, "write that was read", what);
    return code;
}

static enum st_code op_check(const struct st_op *op, const char **what)
{
    const char *end;

    switch (op->kind) {
    case ST_OP_SET:
    case ST_OP_UNSET:
    case ST_OP_ADD:
    case ST_OP_REMOVE:
        return attribute_op_check(op, what);
    case ST_OP_COUNT:
        if (op->delta > (int64_t)ST_U53_MAX || op->delta < -(int64_t)ST_U53_MAX)
            return said(ST_LIMIT, "amount", what);
        return said(st_name_check(op->entity), "name of the counter", what);
    case ST_OP_BEAT:
        return said(st_status_check(op->value), "status", what);
    case ST_OP_SEEN:
        return said(vector_check(&op->vector), "seen", what);
    case ST_OP_ACK:
        return said(dot_valid(op->dot) ? ST_OK : ST_INVALID, "acknowledged write", what);
    case ST_OP_UNKNOWN:
        end = op->raw.n > 0 ? st_op_unknown_end(op->raw.p, op->raw.p + op->raw.n) : NULL;
        return said(end != NULL && end == op->raw.p + op->raw.n ? ST_OK : ST_INVALID, "operation",
                    what);
    default:
        return said(ST_INVALID, "kind of operation", what);
    }
}

enum st_code st_record_check_head(const struct st_record *r, const char **what)
{
    *what = "";
    if (!st_writer_valid(r->dot.writer))
        return said(ST_INVALID, "writer", what);
    if (!st_counter_valid(r->dot.counter))
        return said(ST_LIMIT, "counter", what);
    if (r->time.ms > ST_U53_MAX)
        return said(ST_LIMIT, "time", what);
    if (r->number > ST_NUMBER_MAX)
        return said(ST_LIMIT, "number", what);
    return ST_OK;
}

enum st_code st_record_check_draft(const struct st_record *r, const char **what)
{
    enum st_code code = ST_OK;
    size_t i;

    *what = "";
    if (r->agent.n > 0)
        code = said(st_agent_check(r->agent), "agent", what);
    if (code == ST_OK && r->op_count == 0)
        return said(ST_INVALID, "number of operations", what);
    if (code == ST_OK && r->op_count > ST_RECORD_OPS_MAX)
        return said(ST_LIMIT, "number of operations", what);
    for (i = 0; code == ST_OK && i < r->op_count; i++)
        code = op_check(&r->ops[i], what);
    if (code == ST_OK && line_size(r) > ST_LINE_SIZE_MAX)
        return said(ST_LIMIT, "size of the record", what);
    return code;
}

enum st_code st_record_check(const struct st_record *r, const char **what)
{
    enum st_code code = st_record_check_head(r, what);
    return code == ST_OK ? st_record_check_draft(r, what) : code;
}
