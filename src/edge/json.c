/*
 * json.c - the objects in which the program and the MCP server give times, values, attributes and
 * events (docs/json.md). Times are RFC 3339 in UTC; unknown texts are "" and unknown times null.
 */
#include "edge/json.h"

#include "edge/text.h"

#include <stdlib.h>
#include <string.h>

json_t *edge_json_time(uint64_t ms)
{
    char stamp[EDGE_STAMP_SIZE];
    if (ms == 0)
        return json_null();
    edge_stamp(ms, stamp);
    return json_string(stamp);
}

json_t *edge_json_text(const char *text, size_t n)
{
    json_t *value = json_stringn(text, n);
    if (value != NULL)
        return value;
    /* Not UTF-8: an argument in an error message. Spelled out, as for people. */
    char clean[2048], *copy = malloc(n + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, n);
    copy[n] = '\0';
    value = json_string(edge_clean(copy, clean, sizeof(clean)));
    free(copy);
    return value;
}

static const char *item_kind(int kind)
{
    return kind == STRATA_ITEM_VALUE ? "value" : kind == STRATA_ITEM_ABSENT ? "absent" : "member";
}

json_t *edge_json_item(const strata_item *item)
{
    json_t *value = item->kind == STRATA_ITEM_ABSENT
                        ? json_null()
                        : edge_json_text(item->value, item->value_size);
    return json_pack("{s:s,s:o,s:b,s:s,s:s,s:o,s:s,s:b}", "kind", item_kind(item->kind), "value",
                     value, "link", item->link, "agent", item->agent, "replica", item->replica,
                     "time", edge_json_time(item->time_ms), "id", item->id, "shown", item->shown);
}

json_t *edge_json_attribute(const strata_attribute *a)
{
    json_t *items = json_array();
    const strata_item *shown = a->shown;

    for (size_t i = 0; i < a->count; i++)
        if (json_array_append_new(items, edge_json_item(&a->items[i])) != 0) {
            json_decref(items);
            return NULL;
        }
    bool has_value = shown != NULL && shown->kind == STRATA_ITEM_VALUE;
    json_t *value = has_value ? edge_json_text(shown->value, shown->value_size) : json_null();
    return json_pack("{s:s,s:s,s:b,s:b,s:o,s:b,s:o}", "entity", a->entity, "attribute",
                     a->attribute, "present", a->present, "pending", a->pending, "value", value,
                     "link", has_value && shown->link, "items", items);
}

static const char *event_kind(int kind)
{
    static const char *const names[] = {"other", "set",  "unset", "add", "remove",
                                        "count", "beat", "merge", "ack"};
    return kind >= 0 && kind < (int)(sizeof(names) / sizeof(names[0])) ? names[kind] : "other";
}

json_t *edge_json_event(const strata_event *e)
{
    json_t *o = json_pack("{s:I,s:o,s:s,s:s,s:s,s:s}", "cursor", (json_int_t)e->cursor, "time",
                          edge_json_time(e->time_ms), "kind", event_kind(e->kind), "agent",
                          e->agent, "replica", e->replica, "id", e->id);
    int bad = o == NULL;

    if (!bad && e->kind == STRATA_COUNT) {
        bad |= json_object_set_new(o, "name", json_string(e->entity));
        bad |= json_object_set_new(o, "delta", json_integer(e->delta));
    } else if (!bad && e->entity[0] != '\0') {
        bad |= json_object_set_new(o, "entity", json_string(e->entity));
        bad |= json_object_set_new(o, "attribute", json_string(e->attribute));
    }
    if (!bad && e->kind == STRATA_BEAT)
        bad |= json_object_set_new(o, "status", edge_json_text(e->value, e->value_size));
    bool has_value = e->kind == STRATA_SET || e->kind == STRATA_ADD || e->kind == STRATA_REMOVE;
    if (!bad && has_value) {
        bad |= json_object_set_new(o, "value", edge_json_text(e->value, e->value_size));
        bad |= json_object_set_new(o, "link", json_boolean(e->link));
    }
    if (!bad && e->kind == STRATA_OP_OTHER && e->value_size > 0)
        bad |= json_object_set_new(o, "operation", edge_json_text(e->value, e->value_size));
    if (bad && o != NULL) {
        json_decref(o);
        return NULL;
    }
    return o;
}
