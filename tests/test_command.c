/*
 * test_command.c - commands of the strong layer as JSON: exact spellings, there and back for every
 * kind and field, what is refused, and thousands of damaged texts: whatever still decodes must
 * encode to the same bytes, and travel in a record.
 */
#include "core/record.h"
#include "ledger_world.h"

static struct st_command_scratch scratch;

static bool same(const struct st_command *a, const struct st_command *b)
{
    return a->kind == b->kind && st_str_equal(a->key, b->key) && a->token == b->token &&
           a->parameters[0] == b->parameters[0] && a->parameters[1] == b->parameters[1] &&
           a->class == b->class && a->valid_until_ms == b->valid_until_ms &&
           a->needs_approval == b->needs_approval && a->deadline.clock == b->deadline.clock &&
           a->deadline.ns == b->deadline.ns && a->deadline.term_ns == b->deadline.term_ns &&
           a->lease == b->lease && a->takeover == b->takeover && a->shared == b->shared &&
           st_str_equal(a->result, b->result) && st_str_equal(a->evidence, b->evidence) &&
           st_str_equal(a->person, b->person) && a->outcome == b->outcome &&
           a->quiescent == b->quiescent && a->by_check == b->by_check && a->time_ms == b->time_ms &&
           a->limit_ms == b->limit_ms && st_str_equal(a->successor, b->successor) &&
           a->generation == b->generation && a->position == b->position && a->forced == b->forced;
}

/* A record takes the text as an operation of a newer version. */
static void expect_travels(struct st_str raw)
{
    struct st_op op = {.kind = ST_OP_UNKNOWN, .raw = raw};
    struct st_record r = {.dot = {{1, 1}, 1}, .ops = &op, .op_count = 1};
    const char *what;
    if (st_record_check(&r, &what) != ST_OK)
        fail_msg("a record refuses %.*s", (int)raw.n, raw.p);
}

static void there_and_back(struct st_command c)
{
    struct st_buf out;
    struct st_command back;
    st_buf_init(&out, &heap);
    assert_int_equal(st_command_encode(&c, &out), ST_OK);
    expect_travels(st_buf_str(&out));
    assert_int_equal(st_command_decode(st_buf_str(&out), &scratch, &back), ST_OK);
    if (!same(&c, &back))
        fail_msg("not the same: %.*s", (int)out.n, out.p);
    st_buf_release(&out);
}

#define D .deadline = {0xabc, UINT64_MAX, 60}

static const struct st_command all[] = {
    CMD(ST_CMD_PROPOSE, K("deploy-42"), .parameters = {1, UINT64_MAX}, .class = ST_CLASS_KEYED,
        .valid_until_ms = 77, .needs_approval = true, D, .time_ms = 1795472400123),
    CMD(ST_CMD_PROPOSE, K("\"q\\uote\xc3\xa9")),
    CMD(ST_CMD_APPROVE, K("x"), PAT, BECAUSE),
    CMD(ST_CMD_REJECT, K("x"), PAT, .evidence = LIT("two\nlines\tand \"quotes\"\r")),
    CMD(ST_CMD_GRANT, K("x"), D),
    CMD(ST_CMD_START, K("x")),
    CMD(ST_CMD_START, K("x"), .token = (UINT64_C(1) << 53) - 1),
    CMD(ST_CMD_RENEW, K("x"), .token = 10, D),
    CMD(ST_CMD_REPORT, K("x"), .token = 10, .result = {"\0\xff\xfe", 3}),
    CMD(ST_CMD_REFUSE, K("x"), .token = 10, .result = LIT("no"), BECAUSE),
    CMD(ST_CMD_LAPSE, K("x"), .token = 10, D),
    CMD(ST_CMD_EXPIRE, K("x"), D),
    CMD(ST_CMD_REISSUE, K("x"), .time_ms = 1),
    CMD(ST_CMD_SETTLE, K("x"), .token = 3, .outcome = ST_OUTCOME_RETRY, PAT, BECAUSE, QUIET,
        .by_check = true, .result = LIT("out")),
    CMD(ST_CMD_AGAIN, K("x"), PAT, BECAUSE, .valid_until_ms = 5, D),
    CMD(ST_CMD_PRUNE, .limit_ms = 9),
    CMD(ST_CMD_PRUNE, K("x"), .limit_ms = 9),
    CMD(ST_CMD_CLEAR, PAT, BECAUSE, QUIET),
    CMD(ST_CMD_LEASE_ACQUIRE, K("ann"), .lease = ST_LEASE_AGENT, .takeover = true, D),
    CMD(ST_CMD_LEASE_ACQUIRE, K("a/**"), .lease = ST_LEASE_PATH, .shared = true, .token = 1),
    CMD(ST_CMD_LEASE_RENEW, K("l"), .lease = ST_LEASE_CLAIM, .token = 1, D),
    CMD(ST_CMD_LEASE_RELEASE, K("l"), .token = 1),
    CMD(ST_CMD_LEASE_LAPSE, K("l"), .token = 1, D),
    CMD(ST_CMD_REARM, K("x"), .token = 1, D),
    CMD(ST_CMD_LEASE_REARM, K("l"), .token = 1, D),
    CMD(ST_CMD_RESERVE, K("src/[a-c]*"), .shared = true, D),
    CMD(ST_CMD_UNRESERVE, K("src/*"), .token = 1),
    CMD(ST_CMD_SEAL, .successor = LIT("raft on desk"), .position = 12),
    CMD(ST_CMD_GENERATION, .successor = LIT("box"), .generation = ST_GENERATION_MAX, .position = 12,
        .forced = true, PAT, BECAUSE),
};

#define ALL (sizeof(all) / sizeof(all[0]))

static void test_every_kind(void **state)
{
    bool seen[ST_CMD_GENERATION + 1] = {false};
    (void)state;
    for (size_t i = 0; i < ALL; i++) {
        there_and_back(all[i]);
        seen[all[i].kind] = true;
    }
    for (int k = ST_CMD_PROPOSE; k <= ST_CMD_GENERATION; k++)
        assert_true(seen[k]);
}

static void expect_text(struct st_command c, const char *text)
{
    struct st_buf out;
    st_buf_init(&out, &heap);
    assert_int_equal(st_command_encode(&c, &out), ST_OK);
    st_buf_add_char(&out, '\0');
    assert_string_equal(out.p, text);
    st_buf_release(&out);
}

static void test_spelling(void **state)
{
    (void)state;
    expect_text(CMD(ST_CMD_PROPOSE, K("deploy-42"), .parameters = {1, 0xab}, .time_ms = 5),
                "{\"op\":\"propose\",\"t\":5,\"k\":\"deploy-42\","
                "\"h\":\"000000000000000100000000000000ab\",\"c\":\"naked\"}");
    expect_text(CMD(ST_CMD_REPORT, K("x"), .token = 7, .result = LIT("hello")),
                "{\"op\":\"report\",\"k\":\"x\",\"n\":7,\"re\":\"aGVsbG8=\"}");
    expect_text(CMD(ST_CMD_LEASE_ACQUIRE, K("l"), .deadline = {1, 2, 3}),
                "{\"op\":\"lease-acquire\",\"k\":\"l\",\"l\":\"lock\",\"d\":\"0000000000000001-"
                "0000000000000002-0000000000000003\"}");
    expect_text(CMD(ST_CMD_SETTLE, K("x"), .token = 7, PAT, .evidence = LIT("mail"), QUIET),
                "{\"op\":\"settle\",\"k\":\"x\",\"n\":7,\"oc\":\"committed\",\"q\":true,"
                "\"by\":\"pat\",\"ev\":\"mail\"}");
}

static void test_results_of_every_length(void **state)
{
    static char bytes[ST_RESULT_SIZE_MAX + 1];
    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)(i * 31 + (i >> 7));
    struct st_command c = CMD(ST_CMD_REPORT, K("x"), .token = 1, .result = {bytes, 0});
    for (; c.result.n < 300; c.result.n++)
        there_and_back(c);
    for (unsigned byte = 0; byte < 256; byte++) {
        for (size_t at = 0; at < 4; at++) {
            bytes[at] = (char)byte;
            c.result.n = at + 1;
            there_and_back(c);
        }
    }
    c.result.n = ST_RESULT_SIZE_MAX;
    there_and_back(c);
    c.result.n++;
    struct st_buf out;
    st_buf_init(&out, &heap);
    assert_int_equal(st_command_encode(&c, &out), ST_LIMIT);
    assert_int_equal(out.n, 0);
    st_buf_release(&out);
}

static void test_what_is_refused(void **state)
{
    static const struct {
        enum st_code code;
        const char *text;
    } bad[] = {
        {ST_NOT_FOUND, ""},
        {ST_NOT_FOUND, "{\"op\":\"new\"}"},
        {ST_NOT_FOUND, "{\"op\":\"starts\",\"k\":\"x\"}"},
        {ST_DAMAGED, "{\"op\":\"start\"}"},
        {ST_DAMAGED, "{\"op\":\"start\",\"k\":\"\"}"},
        {ST_DAMAGED, "{\"op\":\"start\",\"k\":\"x\",\"n\":0}"},
        {ST_DAMAGED, "{\"op\":\"start\",\"k\":\"x\",\"n\":01}"},
        {ST_DAMAGED, "{\"op\":\"start\",\"k\":\"x\",\"n\":9007199254740992}"},
        {ST_DAMAGED, "{\"op\":\"start\",\"n\":1,\"k\":\"x\"}"},
        {ST_DAMAGED, "{\"op\":\"start\",\"k\":\"x\",\"n\":1,\"q\":true}"},
        {ST_DAMAGED, "{\"op\":\"start\",\"k\":\"\\u0078\"}"},
        {ST_DAMAGED, "{\"op\":\"start\",\"k\":\"a\\nb\"}"},
        {ST_DAMAGED, "{\"op\":\"start\",\"k\":\"x\"} "},
        {ST_DAMAGED, "{\"op\":\"report\",\"k\":\"x\",\"re\":\"\"}"},
        {ST_DAMAGED,
         "{\"op\":\"report\",\"k\":\"x\",\"re\":\"aGVsbG9=\"}"}, /* bits behind the end */
        {ST_DAMAGED, "{\"op\":\"report\",\"k\":\"x\",\"re\":\"aGVsbG8\"}"},
        {ST_DAMAGED, "{\"op\":\"report\",\"k\":\"x\",\"re\":\"aA==aA==\"}"},
        {ST_DAMAGED, "{\"op\":\"report\",\"k\":\"x\",\"re\":\"a===\"}"},
        {ST_DAMAGED, "{\"op\":\"report\",\"k\":\"x\",\"re\":\"aG=s\"}"},
        {ST_DAMAGED, "{\"op\":\"reserve\",\"k\":\"/etc\"}"},
    };
    struct st_command c;
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (st_command_decode(st_str_of(bad[i].text), &scratch, &c) != bad[i].code)
            fail_msg("%s", bad[i].text);
    }
}

static void test_check_names_the_field(void **state)
{
    static char long_text[ST_EVIDENCE_SIZE_MAX + 1];
    const char *what;
    struct st_command c = CMD(ST_CMD_START, K("x"), .shared = true);
    (void)state;
    assert_int_equal(st_command_check(&c, &what), ST_INVALID);
    assert_string_equal(what, "shared");
    c = CMD(ST_CMD_REFUSE, K("x"), .token = 1);
    assert_int_equal(st_command_check(&c, &what), ST_INVALID);
    assert_string_equal(what, "evidence");
    memset(long_text, 'a', sizeof(long_text));
    c.evidence = (struct st_str){long_text, sizeof(long_text)};
    assert_int_equal(st_command_check(&c, &what), ST_LIMIT);
    c.evidence.n--;
    assert_int_equal(st_command_check(&c, &what), ST_OK);
    c.key = (struct st_str){long_text, ST_KEY_SIZE_MAX + 1};
    assert_int_equal(st_command_check(&c, &what), ST_LIMIT);
    c = CMD(ST_CMD_GENERATION, .successor = LIT("b"), .generation = ST_GENERATION_MAX + 1);
    assert_int_equal(st_command_check(&c, &what), ST_LIMIT);
    assert_string_equal(what, "generation");
    c.kind = 0;
    assert_int_equal(st_command_check(&c, &what), ST_INVALID);
    c.kind = (enum st_command_kind)99;
    assert_int_equal(st_command_check(&c, &what), ST_INVALID);
}

/* One byte changed, removed, doubled; every cut. */
static void test_damaged_texts(void **state)
{
    static const char bytes[] = "0\"\\{}=,:aA9+/ \x80";
    size_t decoded = 0, tried = 0;
    (void)state;
    for (size_t i = 0; i < ALL; i++) {
        struct st_buf text, again;
        st_buf_init(&text, &heap);
        st_buf_init(&again, &heap);
        assert_int_equal(st_command_encode(&all[i], &text), ST_OK);
        for (size_t at = 0; at < text.n; at++) {
            for (size_t b = 0; b < sizeof(bytes) + 1; b++) {
                /* A copy of its exact size, so that a sanitizer sees a read beyond it. */
                char *copy = malloc(text.n + 1);
                size_t n = text.n;
                struct st_command c;
                assert_non_null(copy);
                memcpy(copy, text.p, text.n);
                if (b == sizeof(bytes)) {
                    memmove(copy + at, copy + at + 1, n - at - 1);
                    n--;
                } else if (b == sizeof(bytes) - 1) {
                    n = at;
                } else {
                    copy[at] = bytes[b];
                }
                copy = realloc(copy, n + (n == 0));
                enum st_code code = st_command_decode((struct st_str){copy, n}, &scratch, &c);
                tried++;
                if (code == ST_OK) {
                    decoded++;
                    st_buf_reset(&again);
                    assert_int_equal(st_command_encode(&c, &again), ST_OK);
                    assert_int_equal(again.n, n);
                    assert_memory_equal(again.p, copy, n);
                    expect_travels(st_buf_str(&again));
                } else {
                    assert_true(code == ST_DAMAGED || code == ST_NOT_FOUND);
                }
                free(copy);
            }
        }
        st_buf_release(&text);
        st_buf_release(&again);
    }
    assert_true(tried > 20000 && decoded > 500);
}

static void test_lack_of_memory(void **state)
{
    struct budget none = {0};
    struct st_alloc alloc = {budget_resize, &none};
    struct st_command_scratch own;
    struct st_command c;
    struct st_buf out;
    (void)state;
    st_command_scratch_init(&own, &alloc);
    assert_int_equal(st_command_decode(ST_STR("{\"op\":\"start\",\"k\":\"x\"}"), &own, &c),
                     ST_NO_MEMORY);
    st_command_scratch_release(&own);
    st_buf_init(&out, &alloc);
    c = CMD(ST_CMD_START, K("x"));
    assert_int_equal(st_command_encode(&c, &out), ST_NO_MEMORY);
    st_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind),
        cmocka_unit_test(test_spelling),
        cmocka_unit_test(test_results_of_every_length),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_check_names_the_field),
        cmocka_unit_test(test_damaged_texts),
        cmocka_unit_test(test_lack_of_memory),
    };
    st_command_scratch_init(&scratch, &heap);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    st_command_scratch_release(&scratch);
    return failed;
}
