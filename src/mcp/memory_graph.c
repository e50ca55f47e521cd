/* memory_graph.c - the graph of the memory server, read from the facts. */
#include "mcp/memory.h"

#include "edge/json.h"

#include <stdlib.h>
#include <string.h>
#include <wctype.h>

json_t *memory_observation(const strata_attribute *a, const strata_item *item)
{
    if (!graph_is_reshaped(a))
        return edge_json_text(item->value, item->value_size);
    return json_sprintf("%s: %s", a->attribute, item->value);
}

/* --- the whole -------------------------------------------------------------------------------- */

struct gathering {
    json_t *entities, *relations;
    json_t *observations; /* of the entity that is being gathered; borrowed by `entity` */
    json_t *entity;       /* owned; NULL: none */
    bool has_type, failed;
};

static void entity_end(struct gathering *g)
{
    if (g->entity == NULL)
        return;
    if (g->has_type || json_array_size(g->observations) > 0)
        g->failed |= json_array_append(g->entities, g->entity) != 0;
    json_decref(g->entity);
    g->entity = NULL;
}

static void entity_begin(struct gathering *g, const char *name)
{
    entity_end(g);
    g->observations = json_array();
    g->entity = json_pack("{s:s, s:s, s:o}", "name", name, "entityType", "", "observations",
                          g->observations);
    g->has_type = false;
    g->failed |= g->entity == NULL;
}

/* The counter and the number of the operation in the id of a write:
 * <replica>-<epoch>-<counter>.<op>.
 */
static void place_of(const strata_item *item, unsigned long long place[2])
{
    char *end;
    const char *dash = strrchr(item->id, '-');
    place[0] = dash != NULL ? strtoull(dash + 1, &end, 10) : 0;
    place[1] = dash != NULL && *end == '.' ? strtoull(end + 1, NULL, 10) : 0;
}

/* The older first. */
static int by_age(const void *a, const void *b)
{
    const strata_item *const *x = a, *const *y = b;
    unsigned long long p[2], q[2];
    if ((*x)->time_ms != (*y)->time_ms)
        return (*x)->time_ms < (*y)->time_ms ? -1 : 1;
    place_of(*x, p);
    place_of(*y, q);
    if (p[0] != q[0])
        return p[0] < q[0] ? -1 : 1;
    return (p[1] > q[1]) - (p[1] < q[1]);
}

static void gather_item(struct gathering *g, const strata_attribute *a, const strata_item *item)
{
    switch (graph_part_of(a, item)) {
    case GRAPH_IS_RELATION:
        g->failed |= json_array_append_new(
                         g->relations, json_pack("{s:s, s:s, s:s}", "from", graph_name(a->entity),
                                                 "to", graph_name(item->value), "relationType",
                                                 graph_relation_type(a->attribute))) != 0;
        break;
    case GRAPH_IS_TYPE:
        g->has_type = true;
        g->failed |= json_object_set_new(g->entity, "entityType",
                                         edge_json_text(item->value, item->value_size)) != 0;
        break;
    default:
        g->failed |= json_array_append_new(g->observations, memory_observation(a, item)) != 0;
    }
}

static int gather(void *arg, const strata_attribute *a)
{
    struct gathering *g = arg;
    size_t count = 0;
    if (strata_entity_kind(a->entity) != STRATA_ENTITY_FACT)
        return 0;
    if (g->entity == NULL ||
        strcmp(json_string_value(json_object_get(g->entity, "name")), graph_name(a->entity)) != 0)
        entity_begin(g, graph_name(a->entity));
    const strata_item **items = calloc(a->count + 1, sizeof *items);
    if (items == NULL || g->failed) {
        free(items);
        return STRATA_NO_MEMORY;
    }
    for (size_t i = 0; i < a->count; i++)
        if (graph_is_visible(&a->items[i]))
            items[count++] = &a->items[i];
    qsort(items, count, sizeof *items, by_age);
    for (size_t i = 0; i < count; i++)
        gather_item(g, a, items[i]);
    free(items);
    return g->failed ? STRATA_NO_MEMORY : 0;
}

int memory_graph(strata *s, json_t **out)
{
    strata_fact_query all = {.size = sizeof all};
    struct gathering g = {.entities = json_array(), .relations = json_array()};
    int code = strata_fact_each(s, &all, gather, &g);
    entity_end(&g);
    json_t *whole = json_pack("{s:o, s:o}", "entities", g.entities, "relations", g.relations);
    if (code == STRATA_OK && (g.failed || whole == NULL))
        code = STRATA_NO_MEMORY;
    if (code == STRATA_OK)
        *out = whole;
    else
        json_decref(whole);
    return code;
}

/* --- single questions ------------------------------------------------------------------------- */

static int see_entity(void *arg, const strata_attribute *a)
{
    for (size_t i = 0; i < a->count; i++)
        if (graph_is_visible(&a->items[i]) && graph_part_of(a, &a->items[i]) != GRAPH_IS_RELATION) {
            *(bool *)arg = true;
            return 1;
        }
    return 0;
}

/* A name that cannot be one is nobody's: whoever writes it is told. */
static int nothing_there(int code)
{
    return code == STRATA_NOT_FOUND || code == STRATA_INVALID || code == STRATA_LIMIT ? STRATA_OK
                                                                                      : code;
}

int memory_has_entity(strata *s, const char *name, bool *yes)
{
    char entity[GRAPH_ENTITY_SIZE];
    strata_fact_query q = {.size = sizeof q, .entity = graph_entity(name, entity)};
    *yes = false;
    return nothing_there(strata_fact_each(s, &q, see_entity, yes));
}

int memory_has(strata *s, const strata_op *op, bool *yes)
{
    strata_attribute a = {0};
    *yes = false;
    int code = strata_fact_get(s, op->entity, op->attribute, 0, &a);
    if (code != STRATA_OK)
        return nothing_there(code);
    for (size_t i = 0; i < a.count; i++) {
        const strata_item *item = &a.items[i];
        *yes = *yes || (graph_is_visible(item) && item->link == op->link &&
                        item->value_size == op->value_size &&
                        memcmp(item->value, op->value, op->value_size) == 0);
    }
    return STRATA_OK;
}

/* --- looking for texts ------------------------------------------------------------------------ */

/* The next character of valid UTF-8, in lower case where there is one. */
static wchar_t next_lower(const unsigned char **p)
{
    const unsigned char *c = *p;
    unsigned n = c[0] < 0x80 ? 1 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    wchar_t w = n == 1 ? c[0] : c[0] & (0xff >> (n + 1));
    for (unsigned i = 1; i < n; i++)
        w = (wchar_t)(w << 6 | (c[i] & 0x3f));
    *p += n;
    return w;
}

/* Texts come from jansson and from the store: both take valid UTF-8 only. Newly allocated. */
static wchar_t *lower(locale_t locale, const char *text, size_t *size)
{
    const unsigned char *p = (const unsigned char *)text;
    wchar_t *out = calloc(strlen(text) + 1, sizeof *out);
    *size = 0;
    while (out != NULL && *p != '\0') {
        wchar_t w = next_lower(&p);
        bool ascii = locale == (locale_t)0;
        out[(*size)++] = (wchar_t)(ascii ? towlower((wint_t)w) : towlower_l((wint_t)w, locale));
    }
    return out;
}

void memory_query_init(struct memory_query *q, const char *text)
{
    q->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    q->needle = lower(q->locale, text, &q->size);
}

bool memory_matches(const struct memory_query *q, const char *text)
{
    size_t size;
    wchar_t *in = lower(q->locale, text, &size);
    bool found = in != NULL && q->needle != NULL && wcsstr(in, q->needle) != NULL;
    free(in);
    return found;
}

void memory_query_release(struct memory_query *q)
{
    free(q->needle);
    if (q->locale != (locale_t)0)
        freelocale(q->locale);
}
