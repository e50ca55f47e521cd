/*
 * fuzz_view.c - any bytes as a file with a view in it. Looking for its block and at its lines has to
 * come to an end; the block as it is written then is whole, and what was outside is still there.
 */
#include "files/view.h"
#include "store/log.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static const struct st_rendering *made_of(const struct st_view *view, struct st_str body,
                                          struct st_rendering *r)
{
    struct st_str line;
    st_rendering_init(r);
    while (st_line_next(&body, &line))
        if (view->classify(line) == ST_LINE_ITEM) {
            st_buf_add_str(&r->text, line);
            st_rendering_end_line(r);
        }
    return r;
}

/* Against the rendering that has just its items, the lines of a body are kept. */
static void look_at(const struct st_view *view, struct st_str body)
{
    struct st_rendering base;
    struct st_edits edits;
    if (st_edits_find(view, made_of(view, body, &base), body, &edits) != ST_OK)
        abort();
    for (size_t i = 0; i < edits.count; i++)
        if (edits.list[i].kind == ST_EDIT_REMOVED)
            abort();
    st_edits_release(&edits);
    if (st_edits_find(view, NULL, body, &edits) != ST_OK)
        abort();
    for (size_t i = 0; i < edits.count; i++)
        if (edits.list[i].kind != ST_EDIT_ADDED)
            abort();
    st_edits_release(&edits);
    st_rendering_release(&base);
}

static void put(struct st_str text, const struct st_view *view, const struct st_blocks *b)
{
    struct st_buf out;
    struct st_blocks again;
    st_buf_init(&out, st_alloc_libc());
    st_block_put(text, b, view->name, "0123456789abcdef", (struct st_str){"", 0},
                 (struct st_str){"", 0}, &out);
    st_blocks_find(st_buf_str(&out), view->name, view->classify, &again);
    if (out.failed || again.count == 0 || strcmp(again.pieces[0].hash, "0123456789abcdef") != 0)
        abort();
    size_t outside = text.n;
    for (size_t i = 0; i < b->count; i++)
        outside -= b->pieces[i].end - b->pieces[i].start;
    if (out.n < outside)
        abort();
    st_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct st_str text = {(const char *)bytes, n};
    const struct st_view *view;
    for (size_t i = 0; (view = st_view_at(i)) != NULL; i++) {
        struct st_blocks b;
        st_blocks_find(text, view->name, view->classify, &b);
        for (size_t k = 0; k < b.count; k++)
            if (b.pieces[k].start > b.pieces[k].end || b.pieces[k].end > n ||
                (k > 0 && b.pieces[k].start < b.pieces[k - 1].end))
                abort();
        put(text, view, &b);
        look_at(view, text);
    }
    return 0;
}
