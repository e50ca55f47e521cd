/*
 * fuzz_merge_lines.c - any bytes as base, ours and theirs of a merge of texts by lines (Markdown and all else),
 * with a byte 0x1e between them. A line that a side has and base has not is in the result, or among what an
 * overlap tells of the side that was not preferred; no line is made up; what only one side changed is that
 * side's; which side is which makes no difference to what overlaps.
 */
#include "files/lines.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

enum { BASE, OURS, THEIRS, SIDES };

struct merge {
    struct st_str in[SIDES];
    struct st_buf out;
    struct st_buf overlap[SIDES]; /* what the overlaps have of each */
    size_t overlaps;
};

static void check(bool holds)
{
    if (!holds)
        abort();
}

static void take_overlap(void *arg, size_t line, struct st_str base, struct st_str a,
                         struct st_str b)
{
    struct merge *m = arg;
    const struct st_str has[SIDES] = {base, a, b};
    check(line > 0);
    for (int i = 0; i < SIDES; i++)
        st_line_append(&m->overlap[i], '\n', has[i]);
    m->overlaps++;
}

static void merge(struct merge *m, struct st_str base, struct st_str ours, struct st_str theirs,
                  enum st_lines_prefer prefer)
{
    *m = (struct merge){.in = {base, ours, theirs}};
    st_buf_init(&m->out, st_alloc_libc());
    for (int i = 0; i < SIDES; i++)
        st_buf_init(&m->overlap[i], st_alloc_libc());
    check(st_lines_merge_each(base, ours, theirs, prefer, &m->out, take_overlap, m) == ST_OK);
}

static void release(struct merge *m)
{
    st_buf_release(&m->out);
    for (int i = 0; i < SIDES; i++)
        st_buf_release(&m->overlap[i]);
}

/* Without its \n, which the last line of a text may lack. */
static struct st_str take_line(struct st_str *rest)
{
    const char *end = memchr(rest->p, '\n', rest->n);
    struct st_str line = {rest->p, end != NULL ? (size_t)(end - rest->p) : rest->n};
    rest->p += line.n + (end != NULL);
    rest->n -= line.n + (end != NULL);
    return line;
}

static size_t times(struct st_str text, struct st_str line)
{
    size_t n = 0;
    while (text.n > 0)
        n += st_str_equal(take_line(&text), line);
    return n;
}

/* Whether the side's lines that base has not are in the result, or else told of. */
static void keeps(const struct merge *m, int side, bool told_is_enough)
{
    for (struct st_str rest = m->in[side]; rest.n > 0;) {
        struct st_str line = take_line(&rest);
        check(times(m->in[BASE], line) > 0 || times(st_buf_str(&m->out), line) > 0 ||
              (told_is_enough && times(st_buf_str(&m->overlap[side]), line) > 0));
    }
}

static void makes_nothing_up(const struct merge *m)
{
    for (struct st_str rest = st_buf_str(&m->out); rest.n > 0;) {
        struct st_str line = take_line(&rest);
        check(times(st_buf_str(&m->out), line) <=
              times(m->in[OURS], line) + times(m->in[THEIRS], line));
    }
}

static void is(struct st_str base, struct st_str ours, struct st_str theirs, struct st_str wanted)
{
    struct merge m;
    merge(&m, base, ours, theirs, ST_PREFER_B);
    check(st_str_equal(st_buf_str(&m.out), wanted) && m.overlaps == 0);
    release(&m);
}

static void try(const struct st_str in[SIDES])
{
    struct merge a, b, both, turned;
    merge(&a, in[BASE], in[OURS], in[THEIRS], ST_PREFER_A);
    merge(&b, in[BASE], in[OURS], in[THEIRS], ST_PREFER_B);
    merge(&both, in[BASE], in[OURS], in[THEIRS], ST_KEEP_BOTH);
    merge(&turned, in[BASE], in[THEIRS], in[OURS], ST_PREFER_A);
    for (int side = OURS; side <= THEIRS; side++) {
        keeps(&a, side, side == THEIRS);
        keeps(&b, side, side == OURS);
        keeps(&both, side, false);
        keeps(&turned, side, side == THEIRS);
    }
    makes_nothing_up(&a);
    makes_nothing_up(&b);
    makes_nothing_up(&both);
    check(a.overlaps == b.overlaps && a.overlaps == both.overlaps && a.overlaps == turned.overlaps);
    check(a.overlaps > 0 || (st_str_equal(st_buf_str(&a.out), st_buf_str(&b.out)) &&
                             st_str_equal(st_buf_str(&a.out), st_buf_str(&both.out))));
    release(&a);
    release(&b);
    release(&both);
    release(&turned);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct st_str rest = {(const char *)bytes, n}, part[SIDES];
    for (int i = 0; i < SIDES; i++) {
        const char *end = rest.n > 0 ? memchr(rest.p, 0x1e, rest.n) : NULL;
        part[i] = (struct st_str){rest.p, end != NULL ? (size_t)(end - rest.p) : rest.n};
        rest.p += part[i].n + (end != NULL);
        rest.n -= part[i].n + (end != NULL);
    }
    try(part);
    is(part[BASE], part[BASE], part[THEIRS], part[THEIRS]);
    is(part[BASE], part[OURS], part[BASE], part[OURS]);
    is(part[BASE], part[OURS], part[OURS], part[OURS]);
    return 0;
}
