/*
 * record_encode.c - from a record to its line, the one spelling that the decoder takes.
 */
#include "core/record_internal.h"

#define ADD(out, literal) st_buf_add((out), (literal), sizeof(literal) - 1)

static void add_escape(struct st_buf *out, uint8_t c)
{
    static const char letters[] = "\bb\ff\nn\rr\tt\"\"\\\\";
    char hex[] = "\\u0000";
    size_t i;

    for (i = 0; i < sizeof(letters) - 1; i += 2) {
        if ((uint8_t)letters[i] == c) {
            st_buf_add_char(out, '\\');
            st_buf_add_char(out, letters[i + 1]);
            return;
        }
    }
    hex[4] = (char)('0' + (c >> 4));
    hex[5] = "0123456789abcdef"[c & 15];
    st_buf_add(out, hex, sizeof(hex) - 1);
}

void st_json_add_string(struct st_buf *out, struct st_str s)
{
    size_t i = 0;

    if (!st_buf_reserve(out, s.n + 2))
        return;
    st_buf_add_char(out, '"');
    while (i < s.n) {
        size_t run = st_json_plain(s.p + i, s.n - i);

        st_buf_add(out, s.p + i, run);
        i += run;
        if (i < s.n)
            add_escape(out, (uint8_t)s.p[i++]);
    }
    st_buf_add_char(out, '"');
}

void st_dot_add(struct st_buf *out, struct st_dot d)
{
    st_buf_add_hex64(out, d.writer.replica);
    st_buf_add_char(out, '-');
    st_buf_add_hex64(out, d.writer.epoch);
    st_buf_add_char(out, '-');
    st_buf_add_u64(out, d.counter);
}

void st_vector_add(struct st_buf *out, const struct st_vector *v)
{
    size_t i;

    st_buf_add_char(out, '{');
    for (i = 0; i < v->count; i++) {
        if (i > 0)
            st_buf_add_char(out, ',');
        st_buf_add_char(out, '"');
        st_buf_add_hex64(out, v->entries[i].writer.replica);
        st_buf_add_hex64(out, v->entries[i].writer.epoch);
        ADD(out, "\":");
        st_buf_add_u64(out, v->entries[i].counter);
    }
    st_buf_add_char(out, '}');
}

/* In a draft the name of a new number is left open: a byte that no line has, and which number. */
#define HOLE '\x01'

static void add_name(struct st_buf *out, struct st_str name, uint32_t new_number)
{
    if (new_number == 0) {
        st_json_add_string(out, name);
        return;
    }
    ADD(out, "\"\x01");
    st_buf_add_u64(out, new_number);
    ADD(out, "\"");
}

static void add_attribute(struct st_buf *out, const struct st_op *op)
{
    ADD(out, ",\"e\":");
    add_name(out, op->entity, op->new_entity);
    ADD(out, ",\"a\":");
    st_json_add_string(out, op->attribute);
}

static void add_value(struct st_buf *out, const struct st_op *op)
{
    st_buf_add_text(out, op->value_kind == ST_VALUE_LINK ? ",\"l\":" : ",\"v\":");
    add_name(out, op->value, op->new_value);
}

static void add_at(struct st_buf *out, const struct st_op *op)
{
    if (!op->has_at)
        return;
    ADD(out, ",\"at\":[");
    for (size_t i = 0; i < op->at_count; i++) {
        st_buf_add_text(out, i > 0 ? ",\"" : "\"");
        st_dot_add(out, op->at[i]);
        st_buf_add_char(out, '"');
    }
    st_buf_add_char(out, ']');
}

static void add_read(struct st_buf *out, const struct st_op *op)
{
    if (op->dot.counter == 0)
        return;
    ADD(out, ",\"read\":\"");
    st_dot_add(out, op->dot);
    st_buf_add_char(out, '"');
}

static void add_op(struct st_buf *out, const struct st_op *op)
{
    switch (op->kind) {
    case ST_OP_SET:
        ADD(out, "{\"op\":\"set\"");
        add_attribute(out, op);
        add_value(out, op);
        add_at(out, op);
        add_read(out, op);
        break;
    case ST_OP_UNSET:
        ADD(out, "{\"op\":\"unset\"");
        add_attribute(out, op);
        add_at(out, op);
        add_read(out, op);
        break;
    case ST_OP_ADD:
        ADD(out, "{\"op\":\"add\"");
        add_attribute(out, op);
        add_value(out, op);
        break;
    case ST_OP_REMOVE:
        ADD(out, "{\"op\":\"remove\"");
        add_attribute(out, op);
        add_value(out, op);
        add_at(out, op);
        break;
    case ST_OP_COUNT:
        ADD(out, "{\"op\":\"count\",\"n\":");
        st_json_add_string(out, op->entity);
        ADD(out, ",\"d\":");
        st_buf_add_i64(out, op->delta);
        break;
    case ST_OP_BEAT:
        ADD(out, "{\"op\":\"beat\",\"s\":");
        st_json_add_string(out, op->value);
        break;
    case ST_OP_SEEN:
        ADD(out, "{\"op\":\"seen\",\"v\":");
        st_vector_add(out, &op->vector);
        break;
    case ST_OP_ACK:
        ADD(out, "{\"op\":\"ack\",\"d\":\"");
        st_dot_add(out, op->dot);
        st_buf_add_char(out, '"');
        break;
    case ST_OP_UNKNOWN:
        st_buf_add_str(out, op->raw); /* with its braces */
        return;
    }
    st_buf_add_char(out, '}');
}

/* What depends on where the record stands: all before the agent. */
static void add_head(struct st_buf *out, const struct st_record *r)
{
    ADD(out, "{\"r\":\"");
    st_buf_add_hex64(out, r->dot.writer.replica);
    ADD(out, "\",\"e\":\"");
    st_buf_add_hex64(out, r->dot.writer.epoch);
    ADD(out, "\",\"c\":");
    st_buf_add_u64(out, r->dot.counter);
    ADD(out, ",\"p\":\"");
    st_buf_add_hex64(out, r->previous);
    ADD(out, "\",\"t\":[");
    st_buf_add_u64(out, r->time.ms);
    st_buf_add_char(out, ',');
    st_buf_add_u64(out, r->time.logical);
    st_buf_add_char(out, ']');
    if (r->number != 0) {
        ADD(out, ",\"n\":");
        st_buf_add_u64(out, r->number);
    }
}

void st_record_draft(const struct st_record *r, struct st_buf *out)
{
    if (r->agent.n > 0) {
        ADD(out, ",\"a\":");
        st_json_add_string(out, r->agent);
    }
    if (r->incarnation != 0) {
        ADD(out, ",\"i\":\"");
        st_buf_add_hex64(out, r->incarnation);
        st_buf_add_char(out, '"');
    }
    ADD(out, ",\"o\":[");
    for (size_t i = 0; i < r->op_count; i++) {
        if (i > 0)
            st_buf_add_char(out, ',');
        add_op(out, &r->ops[i]);
    }
    st_buf_add_char(out, ']');
}

void st_record_encode(const struct st_record *r, struct st_buf *out)
{
    add_head(out, r);
    st_record_draft(r, out);
}

void st_number_name(struct st_buf *out, uint64_t number, struct st_str suffix)
{
    st_buf_add_char(out, '#');
    st_buf_add_u64(out, number);
    if (suffix.n > 0) {
        st_buf_add_char(out, '@');
        st_buf_add_str(out, suffix);
    }
}

void st_record_place(const struct st_record *head, struct st_str suffix, struct st_str draft,
                     struct st_buf *out)
{
    uint64_t before = head->number - head->new_count;
    const char *p = draft.p, *end = draft.p + draft.n;
    add_head(out, head);
    while (p < end) {
        const char *hole = memchr(p, HOLE, (size_t)(end - p));
        if (hole == NULL)
            hole = end;
        st_buf_add(out, p, (size_t)(hole - p));
        uint64_t i = 0;
        for (p = hole < end ? hole + 1 : end; p < end && *p >= '0' && *p <= '9'; p++)
            i = i * 10 + (uint64_t)(*p - '0');
        if (hole < end)
            st_number_name(out, before + i, suffix);
    }
}

void st_record_seal(struct st_buf *out, uint64_t checksum)
{
    ADD(out, ",\"x\":\"");
    st_buf_add_hex64(out, checksum);
    ADD(out, "\"}\n");
}
