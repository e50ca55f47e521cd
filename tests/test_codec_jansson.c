/*
 * test_codec_jansson.c - the codec against an independent JSON library, on random records.
 *
 *   test_codec_jansson [RECORDS [SEED]]      default: 200000 and a seed from the clock
 *
 * For every record: it passes the check; its line decodes to the same record; jansson reads the
 * line and finds the same fields. Then the line is spelled differently (by jansson, or by random
 * damage): the decoder refuses, or what it decodes encodes to just these bytes and jansson reads
 * them too. The seed is printed first; with it the run can be repeated.
 */
#include "core/record.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define OPS_MAX     6
#define ENTRIES_MAX 5
#define VALUE_MAX   300
#define U53_MAX     9007199254740991

static uint64_t random_state;
static unsigned long record_number;

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: record %lu: %s\n", __FILE__, __LINE__, record_number,          \
                    #condition);                                                                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static void *resize(void *ctx, void *p, size_t size)
{
    (void)ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, size);
}

static const struct st_alloc heap = {resize, NULL};

/* --- random records --------------------------------------------------------------------------- */

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t random_u64(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t random_below(size_t bound)
{
    return (size_t)(random_u64() % bound);
}

static bool one_in(size_t n)
{
    return random_below(n) == 0;
}

/* Any size of number, 1 to max; the ends more often than chance would have it. */
static uint64_t random_number(uint64_t max)
{
    uint64_t value = random_u64() >> random_below(64);

    if (one_in(20))
        return max;
    return value == 0 || value > max ? 1 : value;
}

static struct st_writer random_writer(void)
{
    if (one_in(2)) /* a few that come again */
        return (struct st_writer){1 + random_below(3), UINT64_C(1) << 48 | (1 + random_below(2))};
    return (struct st_writer){random_number(UINT64_MAX), random_number(UINT64_MAX)};
}

static struct st_dot random_dot(void)
{
    return (struct st_dot){random_writer(), random_number(U53_MAX)};
}

static size_t put_utf8(char *p, uint32_t code)
{
    if (code < 0x80) {
        p[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        p[0] = (char)(0xc0 | code >> 6);
        p[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        p[0] = (char)(0xe0 | code >> 12);
        p[1] = (char)(0x80 | (code >> 6 & 0x3f));
        p[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    p[0] = (char)(0xf0 | code >> 18);
    p[1] = (char)(0x80 | (code >> 12 & 0x3f));
    p[2] = (char)(0x80 | (code >> 6 & 0x3f));
    p[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

static uint32_t random_code_point(bool lines)
{
    static const uint32_t edges[] = {' ',    '~',    0xa0,   0x7ff,   0x800,   0xd7ff,
                                     0xe000, 0xfffd, 0xffff, 0x10000, 0x10ffff};

    switch (random_below(10)) {
    case 0:
        return (uint32_t) "\"\\/'{}[]:,"[random_below(10)];
    case 1:
        return lines ? (uint32_t) "\n\t\r"[random_below(3)] : '_';
    case 2:
        return edges[random_below(sizeof(edges) / sizeof(edges[0]))];
    case 3:
        return 0xa0 + (uint32_t)random_below(0xd800 - 0xa0);
    default:
        return 'a' + (uint32_t)random_below(26);
    }
}

/* Memory of one record, taken from the front. */
static char texts[64 * 1024];
static size_t texts_used;

static struct st_str random_text(size_t size_min, size_t size_max, bool lines)
{
    size_t size = size_min + random_below(one_in(4) ? size_max - size_min + 1 : 12);
    struct st_str s = {texts + texts_used, 0};

    REQUIRE(texts_used + size_max + 4 <= sizeof(texts));
    while (s.n < size) {
        char code[4];
        size_t n = put_utf8(code, random_code_point(lines));

        if (s.n + n > size_max)
            break;
        memcpy(texts + texts_used + s.n, code, n);
        s.n += n;
    }
    texts_used += s.n;
    return s;
}

static struct st_str random_name(void)
{
    struct st_str s = random_text(1, ST_NAME_SIZE_MAX, false);
    char *p = texts + (s.p - texts);

    if (p[0] == ' ')
        p[0] = 'x';
    if (p[s.n - 1] == ' ')
        p[s.n - 1] = 'x';
    return s;
}

static struct st_str random_agent(void)
{
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    struct st_str s = {texts + texts_used, 1 + random_below(ST_AGENT_SIZE_MAX)};
    size_t i;

    for (i = 0; i < s.n; i++)
        texts[texts_used + i] = chars[random_below(i == 0 ? 63 : sizeof(chars) - 1)];
    texts_used += s.n;
    return s;
}

static json_t *random_json(int depth)
{
    struct st_str s;
    json_t *json;
    size_t n;

    switch (random_below(depth > 3 ? 5 : 7)) {
    case 0:
        s = random_text(0, 40, true);
        return json_stringn(s.p, s.n);
    case 1:
        return json_integer((json_int_t)random_number(U53_MAX) * (one_in(2) ? 1 : -1));
    case 2:
        return json_real((double)(int64_t)random_u64() / 1e12);
    case 3:
        return json_boolean(one_in(2));
    case 4:
        return json_null();
    case 5:
        json = json_array();
        for (n = random_below(4); n > 0; n--)
            json_array_append_new(json, random_json(depth + 1));
        return json;
    default:
        json = json_object();
        for (n = random_below(4); n > 0; n--) {
            s = random_text(0, 40, true);
            json_object_setn_new(json, s.p, s.n, random_json(depth + 1));
        }
        return json;
    }
}

static struct st_str random_unknown(void)
{
    json_t *json = json_pack("{s:s}", "op", one_in(2) ? "claim" : "sets");
    size_t flags = JSON_COMPACT | (one_in(2) ? JSON_ENSURE_ASCII : 0);
    struct st_str s;
    size_t n;

    for (n = random_below(5); n > 0; n--) {
        static const char *const keys[] = {"k", "value", "a key", ""};

        json_object_set_new(json, keys[n - 1], random_json(2));
    }
    s.p = texts + texts_used;
    s.n = json_dumpb(json, texts + texts_used, sizeof(texts) - texts_used, flags);
    REQUIRE(s.n > 0 && s.n <= sizeof(texts) - texts_used);
    texts_used += s.n;
    json_decref(json);
    return s;
}

static void random_vector(struct st_vector *v)
{
    size_t n;

    for (n = random_below(ENTRIES_MAX); n > 0; n--)
        REQUIRE(st_vector_raise(v, random_writer(), random_number(U53_MAX)));
}

static int compare_dots(const void *a, const void *b)
{
    return st_dot_compare(*(const struct st_dot *)a, *(const struct st_dot *)b);
}

/* Sorted; some of one writer. Freed by the caller. */
static const struct st_dot *random_dots(size_t *count)
{
    struct st_dot *dots = malloc(ENTRIES_MAX * sizeof(*dots));
    size_t n = random_below(ENTRIES_MAX), kept = 0;

    REQUIRE(dots != NULL);
    for (size_t i = 0; i < n; i++) {
        dots[i] = random_dot();
        if (i > 0 && one_in(2))
            dots[i].writer = dots[i - 1].writer;
    }
    qsort(dots, n, sizeof(*dots), compare_dots);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || compare_dots(&dots[kept - 1], &dots[i]) != 0)
            dots[kept++] = dots[i];
    *count = kept;
    return dots;
}

static void random_op(struct st_op *op)
{
    *op = (struct st_op){.kind = (enum st_op_kind)random_below(ST_OP_ACK + 1)};
    st_vector_init(&op->vector, &heap);
    switch (op->kind) {
    case ST_OP_UNKNOWN:
        op->raw = random_unknown();
        break;
    case ST_OP_SET:
    case ST_OP_ADD:
    case ST_OP_REMOVE:
        op->value_kind = one_in(3) ? ST_VALUE_LINK : ST_VALUE_TEXT;
        op->value =
            op->value_kind == ST_VALUE_LINK ? random_name() : random_text(0, VALUE_MAX, true);
        __attribute__((fallthrough));
    case ST_OP_UNSET:
        op->entity = random_name();
        op->attribute = random_name();
        op->has_at = op->kind != ST_OP_ADD && one_in(3);
        if (op->has_at)
            op->at = random_dots(&op->at_count);
        if ((op->kind == ST_OP_SET || op->kind == ST_OP_UNSET) && one_in(3))
            op->dot = random_dot();
        break;
    case ST_OP_COUNT:
        op->entity = random_name();
        op->delta = (int64_t)random_number(U53_MAX) * (one_in(2) ? 1 : -1);
        if (one_in(10))
            op->delta = 0;
        break;
    case ST_OP_BEAT:
        op->value = random_text(0, VALUE_MAX, false);
        break;
    case ST_OP_SEEN:
        random_vector(&op->vector);
        break;
    case ST_OP_ACK:
        op->dot = random_dot();
        break;
    }
}

static void random_record(struct st_record *r, struct st_op *ops)
{
    size_t i;

    texts_used = 0;
    *r = (struct st_record){
        .dot = random_dot(),
        .previous = one_in(4) ? 0 : random_u64(),
        .time = {one_in(10) ? 0 : random_number(U53_MAX),
                 one_in(2) ? 0 : (uint32_t)random_number(UINT32_MAX)},
        .incarnation = one_in(2) ? 0 : random_u64(),
        .ops = ops,
        .op_count = 1 + random_below(one_in(3) ? OPS_MAX : 1),
        .checksum = random_u64(),
    };
    if (!one_in(3))
        r->agent = random_agent();
    for (i = 0; i < r->op_count; i++)
        random_op(&ops[i]);
}

/* --- what jansson finds ----------------------------------------------------------------------- */

static void require_string(const json_t *json, struct st_str s)
{
    REQUIRE(json_is_string(json));
    REQUIRE(json_string_length(json) == s.n);
    REQUIRE(s.n == 0 || memcmp(json_string_value(json), s.p, s.n) == 0);
}

static void require_hex(const json_t *json, uint64_t value)
{
    char text[32];

    snprintf(text, sizeof(text), "%016" PRIx64, value);
    require_string(json, st_str_of(text));
}

static void require_number(const json_t *json, int64_t value)
{
    REQUIRE(json_is_integer(json));
    REQUIRE(json_integer_value(json) == value);
}

static void require_dot(const json_t *json, struct st_dot d)
{
    char text[80];

    snprintf(text, sizeof(text), "%016" PRIx64 "-%016" PRIx64 "-%" PRIu64, d.writer.replica,
             d.writer.epoch, d.counter);
    require_string(json, st_str_of(text));
}

static void require_dots(const json_t *json, const struct st_dot *dots, size_t count)
{
    REQUIRE(json_is_array(json));
    REQUIRE(json_array_size(json) == count);
    for (size_t i = 0; i < count; i++)
        require_dot(json_array_get(json, i), dots[i]);
}

static void require_vector(const json_t *json, const struct st_vector *v)
{
    size_t i;

    REQUIRE(json_is_object(json));
    REQUIRE(json_object_size(json) == v->count);
    for (i = 0; i < v->count; i++) {
        struct st_vector_entry e = v->entries[i];
        char key[40];

        snprintf(key, sizeof(key), "%016" PRIx64 "%016" PRIx64, e.writer.replica, e.writer.epoch);
        require_number(json_object_get(json, key), (int64_t)e.counter);
    }
}

static void require_unknown(const json_t *json, struct st_str raw)
{
    json_t *alone = json_loadb(raw.p, raw.n, 0, NULL);

    REQUIRE(alone != NULL && json_equal(json, alone));
    json_decref(alone);
}

static void require_op(const json_t *json, const struct st_op *op)
{
    static const char *const names[] = {NULL,    "set",  "unset", "add", "remove",
                                        "count", "beat", "seen",  "ack"};
    size_t keys = 1;

    if (op->kind == ST_OP_UNKNOWN) {
        require_unknown(json, op->raw);
        return;
    }
    require_string(json_object_get(json, "op"), st_str_of(names[op->kind]));
    if (op->attribute.n > 0) {
        require_string(json_object_get(json, "e"), op->entity);
        require_string(json_object_get(json, "a"), op->attribute);
        keys += 2;
    }
    if (op->kind == ST_OP_SET || op->kind == ST_OP_ADD || op->kind == ST_OP_REMOVE) {
        require_string(json_object_get(json, op->value_kind == ST_VALUE_LINK ? "l" : "v"),
                       op->value);
        keys++;
    }
    if (op->has_at) {
        require_dots(json_object_get(json, "at"), op->at, op->at_count);
        keys++;
    }
    if (op->attribute.n > 0 && op->dot.counter > 0) {
        require_dot(json_object_get(json, "read"), op->dot);
        keys++;
    }
    if (op->kind == ST_OP_COUNT) {
        require_string(json_object_get(json, "n"), op->entity);
        require_number(json_object_get(json, "d"), op->delta);
        keys += 2;
    }
    if (op->kind == ST_OP_BEAT) {
        require_string(json_object_get(json, "s"), op->value);
        keys++;
    }
    if (op->kind == ST_OP_SEEN) {
        require_vector(json_object_get(json, "v"), &op->vector);
        keys++;
    }
    if (op->kind == ST_OP_ACK) {
        require_dot(json_object_get(json, "d"), op->dot);
        keys++;
    }
    REQUIRE(json_object_size(json) == keys);
}

static void require_record(const json_t *json, const struct st_record *r)
{
    const json_t *time = json_object_get(json, "t"), *ops = json_object_get(json, "o");
    size_t i;

    require_hex(json_object_get(json, "r"), r->dot.writer.replica);
    require_hex(json_object_get(json, "e"), r->dot.writer.epoch);
    require_number(json_object_get(json, "c"), (int64_t)r->dot.counter);
    require_hex(json_object_get(json, "p"), r->previous);
    REQUIRE(json_array_size(time) == 2);
    require_number(json_array_get(time, 0), (int64_t)r->time.ms);
    require_number(json_array_get(time, 1), (int64_t)r->time.logical);
    if (r->agent.n > 0)
        require_string(json_object_get(json, "a"), r->agent);
    if (r->incarnation != 0)
        require_hex(json_object_get(json, "i"), r->incarnation);
    require_hex(json_object_get(json, "x"), r->checksum);
    REQUIRE(json_object_size(json) == 7u + (r->agent.n > 0) + (r->incarnation != 0));
    REQUIRE(json_array_size(ops) == r->op_count);
    for (i = 0; i < r->op_count; i++)
        require_op(json_array_get(ops, i), &r->ops[i]);
}

/* --- what the decoder finds ------------------------------------------------------------------- */

static void require_same_op(const struct st_op *a, const struct st_op *b)
{
    REQUIRE(a->kind == b->kind && a->value_kind == b->value_kind);
    REQUIRE(st_str_equal(a->entity, b->entity) && st_str_equal(a->attribute, b->attribute));
    REQUIRE(st_str_equal(a->value, b->value) && st_str_equal(a->raw, b->raw));
    REQUIRE(a->delta == b->delta && a->has_at == b->has_at);
    REQUIRE(st_dot_compare(a->dot, b->dot) == 0);
    REQUIRE(a->at_count == b->at_count);
    for (size_t i = 0; i < a->at_count; i++)
        REQUIRE(st_dot_compare(a->at[i], b->at[i]) == 0);
    REQUIRE(a->vector.count == b->vector.count);
    REQUIRE(st_vector_within(&a->vector, &b->vector) && st_vector_within(&b->vector, &a->vector));
}

static void require_same(const struct st_record *a, const struct st_record *b)
{
    size_t i;

    REQUIRE(st_dot_compare(a->dot, b->dot) == 0 && st_hlc_compare(a->time, b->time) == 0);
    REQUIRE(a->previous == b->previous && a->checksum == b->checksum);
    REQUIRE(st_str_equal(a->agent, b->agent) && a->incarnation == b->incarnation);
    REQUIRE(a->op_count == b->op_count);
    for (i = 0; i < a->op_count; i++)
        require_same_op(&a->ops[i], &b->ops[i]);
}

struct totals {
    unsigned long respelled, mutated, accepted;
};

/* Refused, or canonical. */
static bool try_other(struct st_str line, struct st_record_scratch *scratch, struct st_buf *again)
{
    struct st_record r;
    const char *what;
    json_t *json;

    if (st_record_decode(line, scratch, &r) != ST_OK)
        return false;
    st_buf_reset(again);
    st_record_encode(&r, again);
    st_record_seal(again, r.checksum);
    REQUIRE(st_str_equal(st_buf_str(again), line));
    REQUIRE(st_record_check(&r, &what) == ST_OK);
    json = json_loadb(line.p, line.n, 0, NULL);
    REQUIRE(json != NULL);
    require_record(json, &r);
    json_decref(json);
    return true;
}

static void try_spellings(const json_t *json, struct st_str line, struct st_record_scratch *scratch,
                          struct st_buf *again, struct totals *totals)
{
    static const size_t flags[] = {
        JSON_COMPACT,
        JSON_COMPACT | JSON_ENSURE_ASCII,
        JSON_COMPACT | JSON_ESCAPE_SLASH,
        JSON_COMPACT | JSON_SORT_KEYS,
        0,
    };
    char *text = json_dumps(json, flags[random_below(sizeof(flags) / sizeof(flags[0]))]);
    size_t n;
    bool accepted;

    REQUIRE(text != NULL);
    n = strlen(text);
    text[n] = '\n'; /* in place of the NUL */
    accepted = try_other((struct st_str){text, n + 1}, scratch, again);
    /* The spelling of a newer version's numbers and texts is its own affair; else there is one. */
    REQUIRE(!accepted || memmem(text, n, "{\"op\":\"claim\"", 13) != NULL ||
            memmem(text, n, "{\"op\":\"sets\"", 12) != NULL ||
            st_str_equal((struct st_str){text, n + 1}, line));
    totals->respelled++;
    totals->accepted += accepted;
    free(text);
}

/* Changes, removes, doubles or moves some bytes; most often where it can do harm. */
static size_t mutate(char *p, size_t n)
{
    static const char bytes[] = "0123456789abcdefAF\"\\,:{}[]- eEun.\n\0\x80\xc2\xff";
    size_t at = random_below(n), count = 1 + random_below(one_in(4) ? 30 : 3), other;

    if (count > n - at)
        count = n - at;
    switch (random_below(5)) {
    case 0:
        p[at] = (char)(p[at] ^ (1 << random_below(8)));
        return n;
    case 1:
        p[at] = bytes[random_below(sizeof(bytes) - 1)];
        return n;
    case 2:
        memmove(p + at, p + at + count, n - at - count);
        return n - count;
    case 3:
        memmove(p + at + count, p + at, n - at);
        return n + count;
    default:
        other = random_below(n - count + 1);
        memmove(p + at, p + other, count);
        return n;
    }
}

static void try_mutations(struct st_str line, struct st_record_scratch *scratch,
                          struct st_buf *again, struct totals *totals)
{
    int i;

    for (i = 0; i < 4; i++) {
        size_t room = line.n + 4 * 30, n = line.n, rounds = 1 + random_below(3);
        char *copy = malloc(room), *exact;

        REQUIRE(copy != NULL);
        memcpy(copy, line.p, line.n);
        while (rounds-- > 0 && n > 0)
            n = mutate(copy, n);
        exact = malloc(n + (n == 0)); /* for sanitizers to see a read beyond */
        REQUIRE(exact != NULL);
        memcpy(exact, copy, n);
        totals->mutated++;
        totals->accepted += try_other((struct st_str){exact, n}, scratch, again);
        free(exact);
        free(copy);
    }
}

static bool has_unknown(const struct st_record *r)
{
    size_t i;

    for (i = 0; i < r->op_count; i++) {
        if (r->ops[i].kind == ST_OP_UNKNOWN)
            return true;
    }
    return false;
}

static void one_record(struct st_record_scratch *scratch, struct st_buf *line, struct st_buf *again,
                       struct totals *totals)
{
    struct st_op ops[OPS_MAX];
    struct st_record r, decoded;
    const char *what;
    json_t *json;
    size_t i;

    random_record(&r, ops);
    if (st_record_check(&r, &what) != ST_OK) {
        fprintf(stderr, "record %lu: a random record is refused: %s\n", record_number, what);
        exit(1);
    }
    st_buf_reset(line);
    st_record_encode(&r, line);
    st_record_seal(line, r.checksum);
    REQUIRE(!line->failed);
    REQUIRE(st_record_decode(st_buf_str(line), scratch, &decoded) == ST_OK);
    require_same(&r, &decoded);
    json = json_loadb(line->p, line->n, has_unknown(&r) ? 0 : JSON_REJECT_DUPLICATES, NULL);
    REQUIRE(json != NULL);
    require_record(json, &r);
    try_spellings(json, st_buf_str(line), scratch, again, totals);
    json_decref(json);
    try_mutations(st_buf_str(line), scratch, again, totals);
    for (i = 0; i < r.op_count; i++) {
        st_vector_release(&ops[i].vector);
        free((void *)(uintptr_t)ops[i].at);
    }
}

int main(int argc, char **argv)
{
    unsigned long records = argc > 1 ? strtoul(argv[1], NULL, 10) : 200000;
    struct st_record_scratch scratch;
    struct st_buf line, again;
    struct totals totals = {0};
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    random_state = argc > 2 ? strtoull(argv[2], NULL, 10)
                            : (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    printf("seed %" PRIu64 "\n", random_state);
    fflush(stdout);
    st_record_scratch_init(&scratch, &heap);
    st_buf_init(&line, &heap);
    st_buf_init(&again, &heap);
    for (record_number = 0; record_number < records; record_number++)
        one_record(&scratch, &line, &again, &totals);
    printf("%lu records, %lu respelled, %lu damaged, %lu of these accepted\n", records,
           totals.respelled, totals.mutated, totals.accepted);
    st_record_scratch_release(&scratch);
    st_buf_release(&line);
    st_buf_release(&again);
    return 0;
}
