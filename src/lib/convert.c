/* convert.c - from the core's terms to those of the API. */
#include "lib/internal.h"

#include <inttypes.h>
#include <stdio.h>

void st_id_format(struct st_dot dot, uint32_t op, char out[ST_ID_SIZE])
{
    int n = snprintf(out, ST_ID_SIZE, "%016" PRIx64 "-%016" PRIx64 "-%" PRIu64, dot.writer.replica,
                     dot.writer.epoch, dot.counter);
    if (op > 0)
        snprintf(out + n, ST_ID_SIZE - (size_t)n, ".%" PRIu32, op);
}

bool st_lib_item(strata *s, const struct st_item *from, strata_item *out)
{
    *out = (strata_item){
        .kind = (int)from->kind,
        .link = from->value_kind == ST_VALUE_LINK,
        .value = st_arena_text(&s->arena, from->value),
        .value_size = from->value.n,
        .time_ms = from->time.ms,
        .agent = st_arena_text(&s->arena, from->agent),
        .replica = st_lib_replica_name(s, from->dot.writer.replica),
    };
    st_id_format(from->dot, from->op, out->id);
    return out->value != NULL && out->agent != NULL;
}

bool st_lib_attribute(strata *s, const struct st_attribute *from, strata_attribute *out)
{
    strata_item *items = st_arena_take(&s->arena, (from->count + 1) * sizeof *items);
    *out = (strata_attribute){
        .entity = st_arena_text(&s->arena, from->entity),
        .attribute = st_arena_text(&s->arena, from->attribute),
        .items = items,
        .present = from->present,
        .pending = from->pending,
    };
    if (items == NULL || out->entity == NULL || out->attribute == NULL)
        return false;
    for (size_t i = 0; i < from->count; i++) {
        const struct st_item *item = &from->items[i];
        /* Several live adds of one member are one member to the user: the latest tells. */
        if (item->kind == ST_ITEM_MEMBER && i + 1 < from->count &&
            from->items[i + 1].kind == ST_ITEM_MEMBER &&
            from->items[i + 1].value_kind == item->value_kind &&
            st_str_equal(from->items[i + 1].value, item->value))
            continue;
        if (!st_lib_item(s, item, &items[out->count]))
            return false;
        items[out->count].shown = i == from->shown || item->kind == ST_ITEM_MEMBER;
        if (i == from->shown && item->kind == ST_ITEM_VALUE)
            out->shown = &items[out->count];
        out->count++;
    }
    return true;
}
