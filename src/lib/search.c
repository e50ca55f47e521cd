/* search.c - full-text search over entities, attributes and current values. */
#include "lib/internal.h"

#include "store/search.h"

#include <stdio.h>

static enum st_code visit_found(strata *s, const struct st_buf *found,
                                int (*visit)(void *arg, const strata_attribute *a), void *arg,
                                int *result)
{
    const char *p = found->p, *end = found->p + found->n;
    while (p != NULL && p < end && *result == 0) {
        const char *entity = p, *attribute = p + strlen(p) + 1;
        p = attribute + strlen(attribute) + 1;
        struct st_attribute a;
        strata_attribute out;
        st_arena_reset(&s->arena);
        enum st_code code = st_attribute_read(st_index_kv(s->index), st_str_of(entity),
                                              st_str_of(attribute), &s->read, &a);
        if (code == ST_OK && !st_lib_attribute(s, &a, &out))
            code = ST_NO_MEMORY;
        if (code != ST_OK)
            return code;
        st_mark_read(s, &out, &a);
        *result = visit(arg, &out);
    }
    return ST_OK;
}

int strata_search(strata *s, const char *words, size_t limit,
                  int (*visit)(void *arg, const strata_attribute *a), void *arg)
{
    int code = st_lib_begin(s), result = 0;
    if (code != STRATA_OK)
        return code;
    st_lib_end(s);
    enum st_code got = st_search_update(s->index);
    if (got == ST_READ_ONLY || got == ST_NO_SPACE) {
        /* Searching is reading: it works where nothing can be written. */
        got = st_index_leave_file(s->index);
        if (got == ST_OK)
            got = st_search_update(s->index);
    }
    if (got != ST_OK && got != ST_UNAVAILABLE)
        return st_lib_index_fault(s, got);
    if (got == ST_UNAVAILABLE)
        st_lib_notice(s, "the text index is being written: the newest values may be missing");
    code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    struct st_buf found;
    st_buf_init(&found, st_alloc_libc());
    bool more;
    got = st_search(s->index, words, limit, &found, &more);
    if (more)
        st_lib_notice(
            s,
            "too many words begin like that: of them the first %d were looked for; `--limit 0` "
            "looks for all, more letters for fewer",
            ST_SEARCH_TERMS_MAX);
    if (got == ST_OK)
        got = visit_found(s, &found, visit, arg, &result);
    st_buf_release(&found);
    if (got != ST_OK)
        code = st_lib_index_fault(s, got);
    st_lib_end(s);
    if (code == STRATA_NOT_FOUND)
        code = STRATA_OK;
    return code == STRATA_OK && result < 0 ? result : code;
}
