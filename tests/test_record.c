/*
 * test_record.c - the canonical form, what is refused, limits, memory.
 * Large random tests against jansson are in test_codec_jansson.c.
 */
#include "core/record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static size_t allocations_left = SIZE_MAX;

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return realloc(p, size);
}

static const struct st_alloc heap = {resize, NULL};

#define HEAD                                                                                       \
    "{\"r\":\"00000000000000aa\",\"e\":\"0001000000000001\",\"c\":7,"                              \
    "\"p\":\"00000000000000bb\",\"t\":[1795472400123,3]"
#define TAIL   ",\"x\":\"00000000000000cc\"}\n"
#define DOT    "00000000000000aa-0001000000000001-6"
#define DOT2   "00000000000000aa-0001000000000001-7"
#define AT     "[\"" DOT "\",\"" DOT2 "\"]"
#define W1     "00000000000000aa0001000000000001"
#define W2     "00000000000000ab0001000000000001"
#define OP(op) HEAD ",\"o\":[" op "]" TAIL
#define SET    "{\"op\":\"set\",\"e\":\"api\",\"a\":\"status\",\"v\":\"up\"}"
#define DEEP8  "[[[[[[[["
#define FLAT8  "]]]]]]]]"

struct fixture {
    struct st_record_scratch scratch;
    struct st_buf line;
    struct st_record record;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    st_record_scratch_init(&f->scratch, &heap);
    st_buf_init(&f->line, &heap);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    st_record_scratch_release(&f->scratch);
    st_record_scratch_release(&f->scratch); /* twice is fine */
    st_buf_release(&f->line);
    free(f);
    return 0;
}

/* Decodes from an allocation of exactly the line's size, so that sanitizers see a read beyond. */
static enum st_code decode(struct fixture *f, const char *text, size_t n)
{
    char *copy = malloc(n + (n == 0));
    enum st_code code;

    memcpy(copy, text, n);
    code = st_record_decode((struct st_str){copy, n}, &f->scratch, &f->record);
    if (code == ST_OK) {
        const char *what;

        st_buf_reset(&f->line);
        st_record_encode(&f->record, &f->line);
        st_record_seal(&f->line, f->record.checksum);
        assert_int_equal(f->line.n, n);
        assert_memory_equal(f->line.p, text, n);
        assert_int_equal(st_record_check(&f->record, &what), ST_OK);
    }
    free(copy);
    return code;
}

static enum st_code decode_text(struct fixture *f, const char *text)
{
    return decode(f, text, strlen(text));
}

static void assert_str(struct st_str s, const char *text)
{
    assert_int_equal(s.n, strlen(text));
    assert_memory_equal(s.p, text, s.n);
}

static struct st_record one_op(struct st_op *op)
{
    return (struct st_record){
        .dot = {{0xaa, 0x0001000000000001}, 7},
        .previous = 0xbb,
        .time = {1795472400123, 3},
        .ops = op,
        .op_count = 1,
    };
}

static const char *encode(struct fixture *f, const struct st_record *r)
{
    st_buf_reset(&f->line);
    st_record_encode(r, &f->line);
    st_record_seal(&f->line, 0xcc);
    st_buf_add_char(&f->line, '\0');
    assert_false(f->line.failed);
    return f->line.p;
}

/* --- the form --------------------------------------------------------------------------------- */

static void test_encodes_every_operation(void **state)
{
    struct fixture *f = *state;
    struct st_vector_entry entries[] = {{{0xaa, 0x0001000000000001}, 6},
                                        {{0xab, 0x0001000000000001}, 1}};
    struct st_op op = {.kind = ST_OP_SET,
                       .entity = ST_STR("api"),
                       .attribute = ST_STR("status"),
                       .value = ST_STR("a\"b\\c\nd\te\rf")};
    struct st_record r = one_op(&op);

    assert_string_equal(encode(f, &r), OP("{\"op\":\"set\",\"e\":\"api\",\"a\":\"status\",\"v\":"
                                          "\"a\\\"b\\\\c\\nd\\te\\rf\"}"));
    op.value = ST_STR("x");
    op.value_kind = ST_VALUE_LINK;
    op.has_at = true;
    const struct st_dot dots[] = {{{0xaa, 0x0001000000000001}, 6}, {{0xaa, 0x0001000000000001}, 7}};
    op.at = dots;
    op.at_count = 2;
    op.vector.entries = entries;
    op.vector.count = 2;
    op.dot = (struct st_dot){{0xaa, 0x0001000000000001}, 6};
#define VECTOR "{\"" W1 "\":6,\"" W2 "\":1}"
    assert_string_equal(encode(f, &r), OP("{\"op\":\"set\",\"e\":\"api\",\"a\":\"status\",\"l\":"
                                          "\"x\",\"at\":" AT ",\"read\":\"" DOT "\"}"));
    op.kind = ST_OP_UNSET;
    assert_string_equal(
        encode(f, &r),
        OP("{\"op\":\"unset\",\"e\":\"api\",\"a\":\"status\",\"at\":" AT ",\"read\":\"" DOT "\"}"));
    op.kind = ST_OP_REMOVE;
    assert_string_equal(encode(f, &r), OP("{\"op\":\"remove\",\"e\":\"api\",\"a\":\"status\",\"l\":"
                                          "\"x\",\"at\":" AT "}"));
    op.kind = ST_OP_ADD;
    assert_string_equal(encode(f, &r),
                        OP("{\"op\":\"add\",\"e\":\"api\",\"a\":\"status\",\"l\":\"x\"}"));
    op.kind = ST_OP_SEEN;
    assert_string_equal(encode(f, &r), OP("{\"op\":\"seen\",\"v\":" VECTOR "}"));
    op.kind = ST_OP_ACK;
    assert_string_equal(encode(f, &r), OP("{\"op\":\"ack\",\"d\":\"" DOT "\"}"));
    op.kind = ST_OP_COUNT;
    op.delta = -12;
    assert_string_equal(encode(f, &r), OP("{\"op\":\"count\",\"n\":\"api\",\"d\":-12}"));
    op.kind = ST_OP_BEAT;
    assert_string_equal(encode(f, &r), OP("{\"op\":\"beat\",\"s\":\"x\"}"));
    op.kind = ST_OP_UNKNOWN;
    op.raw = ST_STR("{\"op\":\"new\",\"k\":1}");
    assert_string_equal(encode(f, &r), OP("{\"op\":\"new\",\"k\":1}"));
}

static void test_decodes_every_field(void **state)
{
    struct fixture *f = *state;
    struct st_str line =
        ST_STR(HEAD ",\"a\":\"coz\",\"i\":\"00000000000000dd\",\"o\":["
                    "{\"op\":\"set\",\"e\":\"a\\\"i\",\"a\":\"b\",\"v\":\"\\n\",\"at\":" AT
                    ",\"read\":\"" DOT "\"},"
                    "{\"op\":\"count\",\"n\":\"runs\",\"d\":-9007199254740991},"
                    "{\"op\":\"later\",\"q\":[{}]}]" TAIL);
    struct st_record *r = &f->record;

    assert_int_equal(st_record_decode(line, &f->scratch, r), ST_OK);
    assert_true(r->dot.writer.replica == 0xaa && r->dot.writer.epoch == 0x0001000000000001);
    assert_true(r->dot.counter == 7 && r->previous == 0xbb && r->checksum == 0xcc);
    assert_true(r->time.ms == 1795472400123 && r->time.logical == 3);
    assert_str(r->agent, "coz");
    assert_true(r->incarnation == 0xdd);
    assert_int_equal(r->op_count, 3);
    assert_int_equal(r->ops[0].kind, ST_OP_SET);
    assert_str(r->ops[0].entity, "a\"i");
    assert_str(r->ops[0].attribute, "b");
    assert_true(r->ops[0].attribute.p > line.p && r->ops[0].attribute.p < line.p + line.n);
    assert_int_equal(r->ops[0].value_kind, ST_VALUE_TEXT);
    assert_str(r->ops[0].value, "\n");
    assert_true(r->ops[0].has_at);
    assert_int_equal(r->ops[0].at_count, 2);
    assert_true(r->ops[0].at[1].writer.replica == 0xaa);
    assert_true(r->ops[0].at[1].counter == 7);
    assert_true(r->ops[0].dot.counter == 6);
    assert_int_equal(r->ops[1].kind, ST_OP_COUNT);
    assert_str(r->ops[1].entity, "runs");
    assert_true(r->ops[1].delta == -9007199254740991);
    assert_int_equal(r->ops[2].kind, ST_OP_UNKNOWN);
    assert_str(r->ops[2].raw, "{\"op\":\"later\",\"q\":[{}]}");
}

static void test_accepts(void **state)
{
    static const char *const lines[] = {
        OP(SET),
        OP(SET "," SET),
        HEAD ",\"a\":\"a.b_c-D9\",\"o\":[" SET "]" TAIL,
        HEAD ",\"i\":\"0000000000000001\",\"o\":[" SET "]" TAIL,
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\"}"),
        OP("{\"op\":\"set\",\"e\":\"e e\",\"a\":\"\xc3\xbc\",\"v\":\"\xf0\x9f\x98\x80\xc2\xa0\"}"),
        OP("{\"op\":\"unset\",\"e\":\"e\",\"a\":\"a\",\"at\":[]}"),
        OP("{\"op\":\"seen\",\"v\":{}}"),
        OP("{\"op\":\"count\",\"n\":\"n\",\"d\":0}"),
        OP("{\"op\":\"count\",\"n\":\"n\",\"d\":9007199254740991}"),
        OP("{\"op\":\"beat\",\"s\":\"\"}"),
        OP("{\"op\":\"sets\"}"),
        OP("{\"op\":\"Set\",\"e\":\"e\"}"),
        OP("{\"op\":\"x\",\"k\":\"\\u0041\\ud83d\\ude00\\/"
           "\\b\",\"\":[0,-0,1.5,-1e9,2E+9,3.0e-99]}"),
        OP("{\"op\":\"x\",\"k\":{\"a\\n\":[],\"op\":{}},\"l\":[true,false,null]}"),
        OP("{\"op\":\"x\",\"k\":" DEEP8 DEEP8 DEEP8 "[[[[[[["
           "]]]]]]]" FLAT8 FLAT8 FLAT8 "}"),
        OP("{\"op\":\"x\",\"k\":[9007199254740991,-9007199254740991]}"),
    };
    size_t i;

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (decode_text(*state, lines[i]) != ST_OK)
            fail_msg("refused: %s", lines[i]);
    }
}

#define START(r, e, c, p, t)                                                                       \
    "{\"r\":\"" r "\",\"e\":\"" e "\",\"c\":" c ",\"p\":\"" p "\",\"t\":" t ",\"o\":[" SET "]" TAIL
#define NUMBERS(c, p, t) START("00000000000000aa", "0001000000000001", c, p, t)
#define P                "00000000000000bb"
#define T                "[1,0]"

static void test_refuses(void **state)
{
    static const char *const lines[] = {
        "",
        "\n",
        "{}\n",
        TAIL,
        HEAD TAIL,
        OP(""),
        OP(SET ","),
        OP("," SET),
        OP(SET SET),
        OP(" " SET),
        " " OP(SET),
        OP(SET) "\n",
        START("0000000000000000", "0001000000000001", "1", P, T),
        START("00000000000000aa", "0000000000000000", "1", P, T),
        START("00000000000000AA", "0001000000000001", "1", P, T),
        START("0000000000000aa", "0001000000000001", "1", P, T),
        START("000000000000000aa", "0001000000000001", "1", P, T),
        NUMBERS("0", P, T),
        NUMBERS("01", P, T),
        NUMBERS("-1", P, T),
        NUMBERS("1.0", P, T),
        NUMBERS("1e1", P, T),
        NUMBERS("", P, T),
        NUMBERS("9007199254740992", P, T),
        NUMBERS("18446744073709551617", P, T),
        NUMBERS("1", "bb", T),
        NUMBERS("1", P, "[1]"),
        NUMBERS("1", P, "[1,0,0]"),
        NUMBERS("1", P, "[01,0]"),
        NUMBERS("1", P, "[1,00]"),
        NUMBERS("1", P, "[1, 0]"),
        NUMBERS("1", P, "[9007199254740992,0]"),
        NUMBERS("1", P, "[1,4294967296]"),
        HEAD ",\"a\":\"\",\"o\":[" SET "]" TAIL,
        HEAD ",\"a\":\".x\",\"o\":[" SET "]" TAIL,
        HEAD ",\"a\":\"-x\",\"o\":[" SET "]" TAIL,
        HEAD ",\"a\":\"x/y\",\"o\":[" SET "]" TAIL,
        HEAD ",\"a\":\"\xc3\xbc\",\"o\":[" SET "]" TAIL,
        HEAD ",\"i\":\"0000000000000000\",\"o\":[" SET "]" TAIL,
        HEAD ",\"i\":\"0000000000000001\",\"a\":\"coz\",\"o\":[" SET "]" TAIL,
        HEAD ",\"o\":[" SET "],\"a\":\"coz\"" TAIL,
        /* known operations in another shape are damage, not a newer version */
        OP("{\"op\":\"set\"}"),
        OP("{\"op\":\"set\",\"a\":\"a\",\"e\":\"e\",\"v\":\"\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\",\"l\":\"x\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\",\"new\":1}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":1}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"l\":\"\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\",\"read\":\"" DOT "\",\"at\":[]}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\",\"at\":{}}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\",\"at\":[\"" DOT2 "\",\"" DOT "\"]}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\",\"at\":[\"" DOT "\",\"" DOT "\"]}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\",\"at\":[\"" DOT "\",]}"),
        OP("{\"op\":\"add\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\",\"at\":{}}"),
        OP("{\"op\":\"remove\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\",\"read\":\"" DOT "\"}"),
        OP("{\"op\":\"unset\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\"}"),
        OP("{\"op\":\"ack\",\"d\":\"\"}"),
        OP("{\"op\":\"ack\",\"d\":\"00000000000000aa-0001000000000001-0\"}"),
        OP("{\"op\":\"ack\",\"d\":\"00000000000000aa-0000000000000000-1\"}"),
        OP("{\"op\":\"ack\",\"d\":\"" DOT " \"}"),
        OP("{\"op\":\"beat\",\"s\":\"two\\nlines\"}"),
        OP("{\"op\":\"count\",\"n\":\"n\",\"d\":-0}"),
        OP("{\"op\":\"count\",\"n\":\"n\",\"d\":+1}"),
        OP("{\"op\":\"count\",\"n\":\"n\",\"d\":9007199254740992}"),
        OP("{\"op\":\"count\",\"n\":\"n\",\"d\":-9007199254740992}"),
        OP("{\"op\":\"seen\",\"v\":{\"" W2 "\":1,\"" W1 "\":1}}"),
        OP("{\"op\":\"seen\",\"v\":{\"" W1 "\":1,\"" W1 "\":1}}"),
        OP("{\"op\":\"seen\",\"v\":{\"" W1 "\":0}}"),
        OP("{\"op\":\"seen\",\"v\":{\"" W1 "\":1,}}"),
        OP("{\"op\":\"seen\",\"v\":{\"00000000000000000001000000000001\":1}}"),
        OP("{\"op\":\"seen\",\"v\":{\"00000000000000aa0000000000000000\":1}}"),
        /* strings */
        OP("{\"op\":\"set\",\"e\":\"\",\"a\":\"a\",\"v\":\"\"}"),
        OP("{\"op\":\"set\",\"e\":\" e\",\"a\":\"a\",\"v\":\"\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a \",\"v\":\"\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\\n\",\"a\":\"a\",\"v\":\"\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\xc2\x85\",\"a\":\"a\",\"v\":\"\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\x7f\",\"a\":\"a\",\"v\":\"\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"12345678\x7f 901234567\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\xc2\x9f\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\xff\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\xc3\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\t\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\\/\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\\u000a\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\\u001b\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\\u0000\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\\u0041\"}"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\"\\"),
        OP("{\"op\":\"set\",\"e\":\"e\",\"a\":\"a\",\"v\":\""),
        /* operations of a newer version */
        OP("{}"),
        OP("[]"),
        OP("{\"op\":1}"),
        OP("{\"op\":\"\"}"),
        OP("{\"op\":\"s\\u0065t\"}"),
        OP("{\"k\":1,\"op\":\"x\"}"),
        OP("{\"op\":\"x\",\"op\":\"set\"}"),
        OP("{\"op\":\"x\",\"\\u006fp\":\"set\"}"),
        OP("{\"op\":\"x\",}"),
        OP("{\"op\":\"x\",\"k\"}"),
        OP("{\"op\":\"x\",\"k\": 1}"),
        OP("{\"op\":\"x\",\"k\":}"),
        OP("{\"op\":\"x\",\"k\":[1,]}"),
        OP("{\"op\":\"x\",\"k\":[1}"),
        OP("{\"op\":\"x\",\"k\":{1:1}}"),
        OP("{\"op\":\"x\",\"k\":01}"),
        OP("{\"op\":\"x\",\"k\":-}"),
        OP("{\"op\":\"x\",\"k\":1.}"),
        OP("{\"op\":\"x\",\"k\":.1}"),
        OP("{\"op\":\"x\",\"k\":1e}"),
        OP("{\"op\":\"x\",\"k\":1e999}"),
        OP("{\"op\":\"x\",\"k\":9007199254740992}"),
        OP("{\"op\":\"x\",\"k\":tru}"),
        OP("{\"op\":\"x\",\"k\":\"\\ud83d\"}"),
        OP("{\"op\":\"x\",\"k\":\"\\ude00\"}"),
        OP("{\"op\":\"x\",\"k\":\"\\ud83d\\u0041\"}"),
        OP("{\"op\":\"x\",\"k\":\"\\u00g0\"}"),
        OP("{\"op\":\"x\",\"k\":\"\\u0000\"}"),
        OP("{\"op\":\"x\",\"k\":\"\\x\"}"),
        OP("{\"op\":\"x\",\"k\":\"\xed\xa0\x80\"}"),
        OP("{\"op\":\"x\",\"k\":" DEEP8 DEEP8 DEEP8 DEEP8 FLAT8 FLAT8 FLAT8 FLAT8 "}"),
    };
    size_t i;

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        if (decode_text(*state, lines[i]) != ST_DAMAGED)
            fail_msg("not refused as damaged: %s", lines[i]);
    }
}

static const char sample[] =
    HEAD ",\"a\":\"coz\",\"i\":\"00000000000000dd\",\"o\":["
         "{\"op\":\"set\",\"e\":\"a\\\"i\",\"a\":\"b\",\"v\":\"\\n\xc3\xbc\",\"at\":" AT
         ",\"read\":\"" DOT "\"},{\"op\":\"count\",\"n\":\"runs\",\"d\":-12},"
         "{\"op\":\"later\",\"q\":[{\"k\":\"\\u00e9\"},-1.5e9,null]}]" TAIL;

static void test_every_prefix_is_refused(void **state)
{
    size_t n;

    for (n = 0; n < sizeof(sample) - 1; n++)
        assert_int_equal(decode(*state, sample, n), ST_DAMAGED);
    assert_int_equal(decode(*state, sample, n), ST_OK);
}

/* decode() itself holds that whatever is accepted re-encodes to the same bytes. */
static void test_every_single_byte_changed(void **state)
{
    char line[sizeof(sample)];
    size_t i, accepted = 0;
    int byte;

    memcpy(line, sample, sizeof(line));
    for (i = 0; i < sizeof(sample) - 1; i++) {
        for (byte = 0; byte < 256; byte++) {
            line[i] = (char)byte;
            accepted += decode(*state, line, sizeof(sample) - 1) == ST_OK;
        }
        line[i] = sample[i];
    }
    /* Digits of numbers and letters of names can change, the frame cannot. */
    assert_true(accepted > sizeof(sample));
    assert_true(accepted < sizeof(sample) * 64);
}

static void test_head_only(void **state)
{
    struct st_record head;
    size_t n;

    (void)state;
    assert_int_equal(st_record_decode_head(ST_STR(sample), &head), ST_OK);
    assert_true(head.dot.counter == 7 && head.previous == 0xbb && head.checksum == 0xcc);
    assert_true(head.time.ms == 1795472400123 && head.time.logical == 3);
    assert_int_equal(head.agent.n + head.op_count, 0);
    for (n = 0; n < sizeof(sample) - 1; n++)
        assert_int_equal(st_record_decode_head((struct st_str){sample, n}, &head), ST_DAMAGED);
}

static void test_may_see(void **state)
{
    const struct {
        const char *line;
        bool may;
    } cases[] = {
        {OP(SET), false},
        {OP("{\"op\":\"seen\",\"v\":{\"" W1 "\":1}}"), true},
        {OP(SET ",{\"op\":\"seen\",\"v\":{}}"), true},
        {OP("{\"op\":\"set\",\"e\":\"a\",\"a\":\"b\",\"v\":\"{\\\"op\\\":\\\"seen\\\"\"}"), false},
        {"{\"op\":\"seen\"", false}, /* no whole line */
        {"", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(st_record_may_see(st_str_of(cases[i].line)), cases[i].may);
}

/* Slices that were unescaped early must still be right when the last one is. */
static void test_escaped_strings_stay_in_place(void **state)
{
    struct fixture *f = *state;
    struct st_op ops[ST_RECORD_OPS_MAX];
    char names[ST_RECORD_OPS_MAX][16];
    struct st_record r = one_op(ops);
    size_t i;

    memset(ops, 0, sizeof(ops));
    r.op_count = ST_RECORD_OPS_MAX;
    for (i = 0; i < r.op_count; i++) {
        snprintf(names[i], sizeof(names[i]), "\"%zu\\", i);
        ops[i].kind = ST_OP_ADD;
        ops[i].entity = ops[i].attribute = st_str_of(names[i]);
        ops[i].value = ST_STR("\n\n");
    }
    encode(f, &r);
    assert_int_equal(
        st_record_decode((struct st_str){f->line.p, f->line.n - 1}, &f->scratch, &f->record),
        ST_OK);
    assert_int_equal(f->record.op_count, ST_RECORD_OPS_MAX);
    for (i = 0; i < r.op_count; i++) {
        assert_str(f->record.ops[i].entity, names[i]);
        assert_str(f->record.ops[i].attribute, names[i]);
        assert_str(f->record.ops[i].value, "\n\n");
    }
}

/* A draft with its place filled in is the line that the record has when it knows its place and its names. */
static void test_a_draft_gets_its_place(void **state)
{
    struct fixture *f = *state;
    struct st_op ops[] = {
        {.kind = ST_OP_SET,
         .new_entity = 2,
         .attribute = ST_STR("title"),
         .value = ST_STR("tab\tand \"quotes\"")},
        {.kind = ST_OP_ADD,
         .entity = ST_STR("list"),
         .attribute = ST_STR("of"),
         .value_kind = ST_VALUE_LINK,
         .new_value = 1},
        {.kind = ST_OP_UNSET, .entity = ST_STR("x"), .attribute = ST_STR("1")},
    };
    struct st_record r = one_op(ops);
    const char *what;
    struct st_buf draft, line;
    r.op_count = 3;
    r.number = 143;
    r.new_count = 3;
    r.agent = ST_STR("ann");
    r.incarnation = 5;
    st_buf_init(&draft, &heap);
    st_buf_init(&line, &heap);
    for (int suffixed = 0; suffixed < 2; suffixed++) {
        struct st_str suffix = suffixed ? ST_STR("pi-3f9a2c") : ST_STR("");
        ops[0].new_entity = 2;
        ops[1].new_value = 1;
        assert_int_equal(st_record_check_draft(&r, &what), ST_OK);
        st_buf_reset(&draft);
        st_record_draft(&r, &draft);
        st_buf_reset(&line);
        st_record_place(&r, suffix, st_buf_str(&draft), &line);
        st_record_seal(&line, 0xcc);
        ops[0].new_entity = ops[1].new_value = 0;
        ops[0].entity = suffixed ? ST_STR("#142@pi-3f9a2c") : ST_STR("#142");
        ops[1].value = suffixed ? ST_STR("#141@pi-3f9a2c") : ST_STR("#141");
        assert_str(st_buf_str(&line), encode(f, &r));
        assert_int_equal(st_record_check(&r, &what), ST_OK);
    }
    st_buf_release(&draft);
    st_buf_release(&line);
}

static void test_encoder_without_memory(void **state)
{
    struct st_op op = {.kind = ST_OP_BEAT, .value = ST_STR("x")};
    struct st_record r = one_op(&op);
    struct st_buf out;

    (void)state;
    st_buf_init(&out, &heap);
    allocations_left = 1; /* too little for the whole line */
    st_record_encode(&r, &out);
    st_record_seal(&out, 1);
    allocations_left = SIZE_MAX;
    assert_true(out.failed);
    st_buf_release(&out);
}

static void test_decoder_without_memory(void **state)
{
    struct fixture *f = *state;
    size_t granted;

    for (granted = 0;; granted++) {
        enum st_code code;

        allocations_left = granted;
        code = st_record_decode(ST_STR(sample), &f->scratch, &f->record);
        allocations_left = SIZE_MAX;
        if (code == ST_OK)
            break;
        assert_int_equal(code, ST_NO_MEMORY);
        st_record_scratch_release(&f->scratch);
    }
    assert_int_equal(granted, 2); /* the texts, the operations */
    allocations_left = 0;         /* and none when they are there */
    assert_int_equal(st_record_decode(ST_STR(sample), &f->scratch, &f->record), ST_OK);
    allocations_left = SIZE_MAX;
}

/* --- limits ----------------------------------------------------------------------------------- */

/* What st_record_check() says of it; the decoder has to say the same of its line. */
static enum st_code verdict(struct fixture *f, const struct st_record *r)
{
    const char *what;
    enum st_code code = st_record_check(r, &what), decoded;

    encode(f, r);
    decoded = st_record_decode((struct st_str){f->line.p, f->line.n - 1}, &f->scratch, &f->record);
    if (code == ST_OK || code == ST_LIMIT)
        assert_int_equal(decoded, code);
    else
        assert_int_equal(decoded, ST_DAMAGED);
    assert_true((code == ST_OK) == (what[0] == '\0'));
    return code;
}

static void test_limits_of_texts(void **state)
{
    static char text[ST_VALUE_SIZE_MAX + 1];
    struct st_op op = {.kind = ST_OP_SET, .entity = ST_STR("e"), .attribute = ST_STR("a")};
    struct st_record r = one_op(&op);

    memset(text, 'x', sizeof(text));
    op.value = (struct st_str){text, ST_VALUE_SIZE_MAX};
    assert_int_equal(verdict(*state, &r), ST_OK);
    op.value.n++;
    assert_int_equal(verdict(*state, &r), ST_LIMIT);
    op.value_kind = ST_VALUE_LINK;
    op.value.n = ST_NAME_SIZE_MAX;
    assert_int_equal(verdict(*state, &r), ST_OK);
    op.value.n++;
    assert_int_equal(verdict(*state, &r), ST_LIMIT);
    op.value.n = 1;
    op.entity = op.attribute = (struct st_str){text, ST_NAME_SIZE_MAX};
    assert_int_equal(verdict(*state, &r), ST_OK);
    op.attribute.n++;
    assert_int_equal(verdict(*state, &r), ST_LIMIT);
    op.kind = ST_OP_COUNT;
    assert_int_equal(verdict(*state, &r), ST_OK);
    op.entity.n++;
    assert_int_equal(verdict(*state, &r), ST_LIMIT);
    op.kind = ST_OP_BEAT;
    op.value.n = ST_STATUS_SIZE_MAX;
    assert_int_equal(verdict(*state, &r), ST_OK);
    r.agent = (struct st_str){text, ST_AGENT_SIZE_MAX};
    assert_int_equal(verdict(*state, &r), ST_OK);
    r.agent.n++;
    assert_int_equal(verdict(*state, &r), ST_LIMIT);
    r.agent.n = 0;
    op.value.n++;
    assert_int_equal(verdict(*state, &r), ST_LIMIT);
}

static void test_a_value_of_only_escapes(void **state)
{
    static char text[ST_VALUE_SIZE_MAX];
    struct st_op op = {.kind = ST_OP_SET,
                       .entity = ST_STR("e"),
                       .attribute = ST_STR("a"),
                       .value = {text, sizeof(text)}};
    struct st_record r = one_op(&op);
    struct fixture *f = *state;

    memset(text, '"', sizeof(text));
    assert_int_equal(verdict(f, &r), ST_OK);
    assert_int_equal(f->record.ops[0].value.n, sizeof(text));
    assert_memory_equal(f->record.ops[0].value.p, text, sizeof(text));
}

static void test_limit_of_operations(void **state)
{
    struct st_op ops[ST_RECORD_OPS_MAX + 1];
    struct st_record r = one_op(ops);
    size_t i;

    memset(ops, 0, sizeof(ops));
    for (i = 0; i <= ST_RECORD_OPS_MAX; i++)
        ops[i].kind = ST_OP_BEAT;
    r.op_count = ST_RECORD_OPS_MAX;
    assert_int_equal(verdict(*state, &r), ST_OK);
    r.op_count++;
    assert_int_equal(verdict(*state, &r), ST_LIMIT);
    r.op_count = 0;
    assert_int_equal(verdict(*state, &r), ST_INVALID);
}

/* The size that the check reckons with must be the one that the encoder makes, to the byte. */
static void test_limit_of_the_line(void **state)
{
    static char text[ST_VALUE_SIZE_MAX];
    struct st_vector_entry entry = {{1, 1}, 10};
    const struct st_dot place = {{1, 1}, 1};
    struct st_op ops[24];
    struct st_record r = one_op(ops);
    struct fixture *f = *state;
    size_t i, over;

    memset(text, 'x', sizeof(text));
    memset(text, '\n', 1000);
    memset(ops, 0, sizeof(ops));
    for (i = 0; i < 24; i++) {
        ops[i].kind = (enum st_op_kind)(i % 9);
        ops[i].entity = ops[i].attribute = ST_STR("x\\y");
        ops[i].vector = (struct st_vector){.entries = &entry, .count = 1};
        ops[i].at = &place;
        ops[i].at_count = 1;
        ops[i].has_at = i % 9 == ST_OP_SET || i % 9 == ST_OP_UNSET || i % 9 == ST_OP_REMOVE;
        ops[i].value_kind = i == 1 ? ST_VALUE_LINK : ST_VALUE_TEXT;
        ops[i].value = i == 1 ? ST_STR("\"l\"") : (struct st_str){text, ST_VALUE_SIZE_MAX};
        ops[i].dot = (struct st_dot){{1, 1}, i * i + 1};
        ops[i].delta = i % 2 == 0 ? -1234 : 99;
        ops[i].raw = ST_STR("{\"op\":\"x\"}");
    }
    ops[6].value = ops[15].value = ST_STR("busy");
    ops[23].value = ops[21].value = (struct st_str){text, 60000};
    r.op_count = 24;
    r.agent = ST_STR("coz");
    r.incarnation = 1;
    encode(f, &r);
    assert_true(f->line.n - 1 > ST_LINE_SIZE_MAX);
    over = f->line.n - 1 - ST_LINE_SIZE_MAX;
    for (i = 0; i < 24 && over > 0; i++) {
        size_t spare = ops[i].value.n > 2000 ? ops[i].value.n - 2000 : 0;
        size_t cut = over < spare ? over : spare;

        if (ops[i].kind != ST_OP_SET && ops[i].kind != ST_OP_ADD && ops[i].kind != ST_OP_REMOVE)
            continue;
        ops[i].value.n -= cut;
        over -= cut;
    }
    assert_int_equal(over, 0);
    assert_int_equal(verdict(f, &r), ST_OK);
    assert_int_equal(f->line.n - 1, ST_LINE_SIZE_MAX);
    ops[15].value = ST_STR("busy!");
    assert_int_equal(verdict(f, &r), ST_LIMIT);
}

static void test_limit_of_at(void **state)
{
    static struct st_dot dots[ST_AT_MAX + 1];
    struct st_op op = {.kind = ST_OP_UNSET,
                       .entity = ST_STR("e"),
                       .attribute = ST_STR("a"),
                       .has_at = true,
                       .at = dots,
                       .at_count = ST_AT_MAX};
    struct st_record r = one_op(&op);
    struct fixture *f = *state;

    for (size_t i = 0; i <= ST_AT_MAX; i++)
        dots[i] = (struct st_dot){{1, 1}, i + 1};
    assert_int_equal(verdict(f, &r), ST_OK);
    assert_int_equal(f->record.ops[0].at_count, ST_AT_MAX);
    for (size_t i = 0; i < ST_AT_MAX; i++)
        assert_int_equal(st_dot_compare(f->record.ops[0].at[i], dots[i]), 0);
    op.at_count++;
    assert_int_equal(verdict(f, &r), ST_LIMIT);
    op.at_count = 2;
    dots[1] = dots[0];
    assert_int_equal(verdict(f, &r), ST_INVALID);
    dots[1].counter = 0;
    assert_int_equal(verdict(f, &r), ST_INVALID);
}

static void test_limit_of_vectors(void **state)
{
    static struct st_vector_entry entries[ST_WRITERS_MAX + 1];
    struct st_op op = {.kind = ST_OP_SEEN};
    struct st_record r = one_op(&op);
    struct fixture *f = *state;
    size_t i;

    for (i = 0; i <= ST_WRITERS_MAX; i++)
        entries[i] = (struct st_vector_entry){{i / 2 + 1, i % 2 + 1}, i + 1};
    op.vector = (struct st_vector){.entries = entries, .count = ST_WRITERS_MAX};
    assert_int_equal(verdict(f, &r), ST_OK);
    assert_int_equal(f->record.ops[0].vector.count, ST_WRITERS_MAX);
    for (i = 0; i < ST_WRITERS_MAX; i++) {
        const struct st_vector_entry *e = &f->record.ops[0].vector.entries[i];

        assert_int_equal(st_writer_compare(e->writer, entries[i].writer), 0);
        assert_true(e->counter == entries[i].counter);
    }
    op.vector.count++;
    assert_int_equal(verdict(f, &r), ST_LIMIT);
    op.vector.count = 2;
    entries[1] = entries[0];
    assert_int_equal(verdict(f, &r), ST_INVALID);
    entries[1].writer.replica = 0;
    assert_int_equal(verdict(f, &r), ST_INVALID);
}

static void test_check_of_numbers(void **state)
{
    struct st_op op = {.kind = ST_OP_COUNT, .entity = ST_STR("n")};
    struct st_record r = one_op(&op);
    const char *what;

    op.delta = -9007199254740991;
    assert_int_equal(verdict(*state, &r), ST_OK);
    op.delta--;
    assert_int_equal(st_record_check(&r, &what), ST_LIMIT);
    assert_string_equal(what, "amount");
    op.delta = INT64_MIN;
    assert_int_equal(st_record_check(&r, &what), ST_LIMIT);
    op.delta = 0;
    r.dot.counter = UINT64_C(9007199254740992);
    assert_int_equal(st_record_check(&r, &what), ST_LIMIT);
    r.dot.counter = 0;
    assert_int_not_equal(st_record_check(&r, &what), ST_OK);
    r.dot.counter = 1;
    r.time.ms = UINT64_C(9007199254740992);
    assert_int_equal(st_record_check(&r, &what), ST_LIMIT);
    r.time.ms = 0;
    r.dot.writer.epoch = 0;
    assert_int_equal(verdict(*state, &r), ST_INVALID);
    r.dot.writer = (struct st_writer){0, 1};
    assert_int_equal(verdict(*state, &r), ST_INVALID);
}

static void test_check_of_operations(void **state)
{
    struct st_op op = {.kind = ST_OP_ADD, .entity = ST_STR("e"), .attribute = ST_STR("a")};
    struct st_record r = one_op(&op);
    const char *what;

    op.has_at = true; /* the encoder would drop it, and with it a meaning */
    assert_int_equal(st_record_check(&r, &what), ST_INVALID);
    op.has_at = false;
    op.kind = (enum st_op_kind)99;
    assert_int_equal(st_record_check(&r, &what), ST_INVALID);
    op.kind = ST_OP_SET;
    op.dot = (struct st_dot){{0, 1}, 1};
    assert_int_equal(verdict(*state, &r), ST_INVALID);
    op.kind = ST_OP_UNKNOWN;
    assert_int_equal(st_record_check(&r, &what), ST_INVALID);
    op.raw = ST_STR("{\"op\":\"set\"}");
    assert_int_equal(verdict(*state, &r), ST_INVALID);
    op.raw = ST_STR("{\"op\":\"x\"},{\"op\":\"y\"}");
    assert_int_equal(st_record_check(&r, &what), ST_INVALID);
    op.raw = ST_STR("{\"op\":\"x\"}");
    assert_int_equal(verdict(*state, &r), ST_OK);
    op.kind = ST_OP_SET;
    op.dot.counter = 0;
    op.value = ST_STR("a\0b");
    assert_int_equal(verdict(*state, &r), ST_INVALID);
}

/* --- parts ------------------------------------------------------------------------------------ */

static void test_json_strings(void **state)
{
    struct fixture *f = *state;
    char control[33];
    int i;

    for (i = 0; i < 33; i++)
        control[i] = (char)i;
    st_json_add_string(&f->line, (struct st_str){control, sizeof(control)});
    st_json_add_string(&f->line, (struct st_str){NULL, 0});
    st_json_add_string(&f->line, ST_STR("/\x7f\xc3\xbc\"\\"));
    assert_str(st_buf_str(&f->line),
               "\"\\u0000\\u0001\\u0002\\u0003\\u0004\\u0005\\u0006\\u0007\\b\\t\\n\\u000b\\f\\r"
               "\\u000e\\u000f\\u0010\\u0011\\u0012\\u0013\\u0014\\u0015\\u0016\\u0017\\u0018"
               "\\u0019\\u001a\\u001b\\u001c\\u001d\\u001e\\u001f \"\"\"\"/\x7f\xc3\xbc\\\"\\\\\"");
}

static void test_dots_and_vectors_as_text(void **state)
{
    static const char *const bad_vectors[] = {
        "",
        "{",
        "}",
        "{}x",
        "{,}",
        "{\"" W1 "\":1",
        "{\"" W1 "\":1,}",
        "{\"" W1 "\":01}",
        "{\"" W1 "\":1,\"" W1 "\":2}",
        "{\"" W2 "\":1,\"" W1 "\":2}",
        "{ \"" W1 "\":1}",
    };
    static const char *const bad_dots[] = {"", "-", DOT "x", DOT "-", "aa-1-1"};
    struct st_vector v;
    struct st_dot d;
    size_t i;

    (void)state;
    st_vector_init(&v, &heap);
    for (i = 0; i < sizeof(bad_vectors) / sizeof(bad_vectors[0]); i++)
        assert_false(st_vector_parse(st_str_of(bad_vectors[i]), &v));
    assert_int_equal(v.count, 0);
    assert_true(st_vector_parse(ST_STR("{}"), &v));
    assert_true(st_vector_parse(ST_STR(VECTOR), &v));
    assert_true(st_vector_parse(ST_STR("{\"" W1 "\":5,\"" W2 "\":9}"), &v)); /* joins */
    assert_int_equal(v.count, 2);
    assert_true(v.entries[0].counter == 6 && v.entries[1].counter == 9);
    st_vector_release(&v);
    for (i = 0; i < sizeof(bad_dots) / sizeof(bad_dots[0]); i++)
        assert_false(st_dot_parse(st_str_of(bad_dots[i]), &d));
    assert_true(st_dot_parse(ST_STR(DOT), &d));
    assert_true(d.writer.replica == 0xaa && d.counter == 6);
    for (i = 0; i < sizeof(DOT) - 1; i++)
        assert_false(st_dot_parse((struct st_str){DOT, i}, &d));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_encodes_every_operation),
        TEST(test_decodes_every_field),
        TEST(test_accepts),
        TEST(test_refuses),
        TEST(test_every_prefix_is_refused),
        TEST(test_every_single_byte_changed),
        TEST(test_head_only),
        TEST(test_escaped_strings_stay_in_place),
        TEST(test_a_draft_gets_its_place),
        TEST(test_encoder_without_memory),
        TEST(test_decoder_without_memory),
        TEST(test_limits_of_texts),
        TEST(test_a_value_of_only_escapes),
        TEST(test_limit_of_operations),
        TEST(test_limit_of_the_line),
        TEST(test_limit_of_at),
        TEST(test_limit_of_vectors),
        TEST(test_check_of_numbers),
        TEST(test_check_of_operations),
        TEST(test_json_strings),
        TEST(test_dots_and_vectors_as_text),
        TEST(test_may_see),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
