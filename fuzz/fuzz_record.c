/*
 * fuzz_record.c - the decoder on arbitrary bytes. Of whatever it accepts it must hold that
 *   - it encodes to the same bytes: no second spelling;
 *   - it passes st_record_check(), so it could have been written;
 *   - jansson takes the line as well, so jq and everybody else can read the log;
 *   - the short way, st_record_decode_head(), says the same;
 *   - a "seen" operation is not overlooked by st_record_may_see().
 * Most mutations break the end of the line or its frame, which hides what is inside; so the
 * input is also tried as the list of operations of a sound frame.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -Isrc fuzz/fuzz_record.c src/core/{base,clock,
 *     record,record_unknown,record_encode,record_decode}.c -ljansson -o fuzz_record
 *   ./fuzz_record -max_len=4096 fuzz/corpus/record
 */
#include "core/record.h"

#include <jansson.h>
#include <stdlib.h>

#define FRAME                                                                                      \
    "{\"r\":\"00000000000000aa\",\"e\":\"0001000000000001\",\"c\":7,"                              \
    "\"p\":\"00000000000000bb\",\"t\":[1795472400123,0],\"o\":["
#define SEAL "],\"x\":\"00000000000000cc\"}\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

static bool has_unknown(const struct st_record *r)
{
    size_t i;

    for (i = 0; i < r->op_count; i++) {
        if (r->ops[i].kind == ST_OP_UNKNOWN)
            return true;
    }
    return false;
}

static bool has_seen(const struct st_record *r)
{
    size_t i;

    for (i = 0; i < r->op_count; i++) {
        if (r->ops[i].kind == ST_OP_SEEN)
            return true;
    }
    return false;
}

static void check_accepted(struct st_str line, const struct st_record *r, struct st_buf *again)
{
    struct st_record head;
    const char *what;
    json_error_t error;
    json_t *json;

    st_buf_reset(again);
    st_record_encode(r, again);
    st_record_seal(again, r->checksum);
    if (!st_str_equal(st_buf_str(again), line) || st_record_check(r, &what) != ST_OK)
        abort();
    if (st_record_decode_head(line, &head) != ST_OK || st_dot_compare(head.dot, r->dot) != 0 ||
        st_hlc_compare(head.time, r->time) != 0 || head.previous != r->previous ||
        head.checksum != r->checksum)
        abort();
    if (has_seen(r) && !st_record_may_see(line))
        abort();
    json = json_loadb(line.p, line.n, has_unknown(r) ? 0 : JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        abort();
    json_decref(json);
}

/* The line in an allocation of just its size, for the sanitizer to see any read beyond it. */
static void try_line(struct st_str line, struct st_record_scratch *scratch, struct st_buf *again)
{
    char *copy = malloc(line.n + (line.n == 0));
    struct st_record r;

    if (copy == NULL)
        abort();
    if (line.n > 0)
        memcpy(copy, line.p, line.n);
    line.p = copy;
    if (st_record_decode(line, scratch, &r) == ST_OK)
        check_accepted(line, &r, again);
    free(copy);
}

static void try_parsers(struct st_str text, struct st_buf *again)
{
    struct st_vector v;
    struct st_dot d;

    st_vector_init(&v, &heap);
    st_buf_reset(again);
    if (st_vector_parse(text, &v)) {
        st_vector_add(again, &v);
        if (!st_str_equal(st_buf_str(again), text))
            abort();
    }
    st_vector_release(&v);
    st_buf_reset(again);
    if (st_dot_parse(text, &d)) {
        st_dot_add(again, d);
        if (!st_str_equal(st_buf_str(again), text))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct st_str text = {(const char *)data, size};
    struct st_record_scratch scratch;
    struct st_buf line, again;

    st_record_scratch_init(&scratch, &heap);
    st_buf_init(&line, &heap);
    st_buf_init(&again, &heap);
    try_line(text, &scratch, &again);
    st_buf_add_text(&line, FRAME);
    st_buf_add_str(&line, text);
    st_buf_add_text(&line, SEAL);
    try_line(st_buf_str(&line), &scratch, &again);
    try_parsers(text, &again);
    st_buf_release(&line);
    st_buf_release(&again);
    st_record_scratch_release(&scratch);
    return 0;
}
