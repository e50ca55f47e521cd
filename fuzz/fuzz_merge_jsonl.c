/*
 * fuzz_merge_jsonl.c - any bytes as base, ours and theirs of a merge of JSON Lines, with a byte
 * 0x1e between them. A line that only one side has and base has not is in the result; what only one
 * side changed is that side's; and merging is over in either direction.
 */
#include "files/jsonl.h"
#include "store/log.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void ignore(void *arg, const struct st_jsonl_note *note)
{
    (void)arg, (void)note;
}

static struct st_buf merge(struct st_str base, struct st_str ours, struct st_str theirs)
{
    struct st_str in[ST_JSONL_SIDES] = {base, ours, theirs};
    struct st_jsonl_fault fault;
    struct st_buf out;
    st_buf_init(&out, st_alloc_libc());
    if (st_jsonl_merge(in, ignore, NULL, &out, &fault) != ST_OK)
        abort();
    return out;
}

static void is(struct st_str base, struct st_str ours, struct st_str theirs, struct st_str wanted)
{
    struct st_buf out = merge(base, ours, theirs);
    if (!st_str_equal(st_buf_str(&out), wanted))
        abort();
    st_buf_release(&out);
}

static struct st_str take_line(struct st_str *rest)
{
    const char *end = memchr(rest->p, '\n', rest->n);
    struct st_str line = {rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n};
    rest->p += line.n + (end != NULL);
    rest->n -= line.n + (end != NULL);
    while (line.n > 0 && line.p[line.n - 1] == '\r')
        line.n--;
    return line;
}

static bool has_text(struct st_str text, struct st_str part)
{
    return part.n == 0 || (text.n > 0 && memmem(text.p, text.n, part.p, part.n) != NULL);
}

/* Lines without braces have no id: they are never merged with another. */
static void keeps_lines(struct st_str base, struct st_str side, struct st_str out)
{
    while (side.n > 0) {
        struct st_str line = take_line(&side);
        bool blank = line.n == 0 || line.p[0] == ' ' || line.p[0] == '\t' || line.p[0] == '\r';
        if (!blank && line.p[0] != '{' && !has_text(base, line) && !has_text(out, line))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct st_str rest = {(const char *)bytes, n}, part[3];
    for (int i = 0; i < 3; i++) {
        const char *end = rest.n > 0 ? memchr(rest.p, 0x1e, rest.n) : NULL;
        part[i] = (struct st_str){rest.p, end != NULL ? (size_t)(end - rest.p) : rest.n};
        rest.p += part[i].n + (end != NULL);
        rest.n -= part[i].n + (end != NULL);
    }
    struct st_buf one = merge(part[0], part[1], part[2]), two = merge(part[0], part[2], part[1]);
    keeps_lines(part[0], part[1], st_buf_str(&one));
    keeps_lines(part[0], part[2], st_buf_str(&one));
    keeps_lines(part[0], part[1], st_buf_str(&two));
    keeps_lines(part[0], part[2], st_buf_str(&two));
    is(part[0], part[0], part[1], part[1]);
    is(part[0], part[1], part[0], part[1]);
    is(part[0], part[1], part[1], part[1]);
    st_buf_release(&one);
    st_buf_release(&two);
    return 0;
}
