/*
 * memory_write.c - the tools of the memory server that write. What a call plans is checked whole before
 * the first record is written.
 */
#include "mcp/memory.h"

#include "mcp/session.h"

#include <string.h>

/* --- writing ---------------------------------------------------------------------------------- */

static enum mcp_progress succeed(struct mcp_call *call, int code, strata *s, const char *message)
{
    if (code != STRATA_OK) {
        mcp_call_fail(call, s);
        return MCP_DONE;
    }
    (void)fputs(message, mcp_say(call));
    call->structured = json_pack("{s:b, s:s}", "success", 1, "message", message);
    return MCP_DONE;
}

/* Adds an operation to the list; false: the call was refused, which names the argument's place. */
static bool plan(struct mcp_call *call, struct import *im, const char *list, size_t i,
                 const strata_op *op)
{
    if (import_add(im, i + 1, op) == STRATA_OK)
        return true;
    mcp_refuse(call, "%s[%zu]: %s. Nothing was written.", list, i, im->error);
    return false;
}

static strata_op observation_op(const char *entity, const json_t *text)
{
    return (strata_op){
        .kind = STRATA_ADD,
        .entity = entity,
        .attribute = GRAPH_OBSERVATION,
        .value = json_string_value(text),
        .value_size = json_string_length(text),
    };
}

/* Records of bounded size; the last waits for the disk, which covers those before it. */
static int write_all(strata *s, const struct import *im)
{
    int code = STRATA_OK;
    for (size_t at = 0; at < im->count && code == STRATA_OK;) {
        size_t n = 0, size = 0;
        while (at + n < im->count && n < IMPORT_RECORD_OPS_MAX &&
               (n == 0 || size + import_op_size(&im->ops[at + n]) <= IMPORT_RECORD_SIZE_MAX))
            size += import_op_size(&im->ops[at + n++]);
        bool last = at + n == im->count;
        code = strata_write(s, im->ops + at, n, last ? 0 : STRATA_NO_FLUSH, NULL, NULL);
        at += n;
    }
    return code;
}

/* --- create, add ------------------------------------------------------------------------------ */

static bool plan_entity(struct mcp_call *call, struct import *im, size_t i, const json_t *entity)
{
    size_t k;
    json_t *text;
    char buffer[GRAPH_ENTITY_SIZE];
    const json_t *type = json_object_get(entity, "entityType");
    strata_op op = {
        .kind = STRATA_SET,
        .entity = graph_entity(memory_text(entity, "name"), buffer),
        .attribute = GRAPH_TYPE,
        .value = json_string_value(type),
        .value_size = json_string_length(type),
    };
    if (!plan(call, im, "entities", i, &op))
        return false;
    json_array_foreach(json_object_get(entity, "observations"), k, text)
    {
        op = observation_op(op.entity, text);
        if (!plan(call, im, "entities", i, &op))
            return false;
    }
    return true;
}

/* Only what the reference server keeps of an entity or a relation: all of the fields are there. */
static json_t *only(json_t *o, const struct mcp_field *fields)
{
    size_t count = 0;
    while (fields[count].name != NULL)
        count++;
    if (json_object_size(o) == count)
        return json_incref(o);
    json_t *kept = json_object();
    for (const struct mcp_field *f = fields; f->name != NULL; f++)
        (void)json_object_set(kept, f->name, json_object_get(o, f->name));
    return kept;
}

static enum mcp_progress finish(struct mcp_call *call, struct import *im, strata *s, bool planned,
                                json_t *result, const char *member)
{
    int code = planned ? write_all(s, im) : STRATA_OK;
    import_release(im);
    if (planned && code == STRATA_OK)
        return memory_answer(call, result, member);
    json_decref(result);
    if (code != STRATA_OK)
        mcp_call_fail(call, s);
    return MCP_DONE;
}

/* One of the lists of the reference server: what of it is not there yet is written and given back.
 * `there` tells, or fails with a code. */
static enum mcp_progress
create(struct mcp_call *call, const char *list, const struct mcp_field *fields,
       int (*there)(strata *s, const json_t *o, bool *yes),
       bool (*add)(struct mcp_call *call, struct import *im, size_t i, const json_t *o))
{
    struct mcp_agent *a = memory_agent(call);
    struct import im;
    size_t i;
    json_t *o;
    if (a == NULL)
        return MCP_DONE;
    json_t *made = json_array();
    bool planned = true;
    import_init(&im);
    json_array_foreach(memory_list(call, list), i, o)
    {
        bool is_there = false;
        int code = there(a->s, o, &is_there);
        if (code != STRATA_OK)
            mcp_call_fail(call, a->s);
        planned = code == STRATA_OK && (is_there || add(call, &im, i, o));
        if (!planned)
            break;
#ifdef ST_DEFECT_MCP_ANSWERS_ALL
        is_there = false;
#endif
        if (!is_there)
            (void)json_array_append_new(made, only(o, fields));
    }
    return finish(call, &im, a->s, planned, made, list);
}

static int entity_there(strata *s, const json_t *entity, bool *yes)
{
    return memory_has_entity(s, memory_text(entity, "name"), yes);
}

enum mcp_progress memory_create_entities(struct mcp_call *call)
{
    return create(call, "entities", memory_entity_fields, entity_there, plan_entity);
}

/* Texts that an operation names. */
struct names {
    char from[GRAPH_ENTITY_SIZE], to[GRAPH_ENTITY_SIZE], attribute[GRAPH_ATTRIBUTE_SIZE];
};

static strata_op relation_op(const json_t *r, struct names *names)
{
    const char *to = graph_entity(memory_text(r, "to"), names->to);
    return (strata_op){
        .kind = STRATA_ADD,
        .entity = graph_entity(memory_text(r, "from"), names->from),
        .attribute = graph_relation_attribute(memory_text(r, "relationType"), names->attribute),
        .value = to,
        .value_size = strlen(to),
        .link = true,
    };
}

static int relation_there(strata *s, const json_t *r, bool *yes)
{
    struct names names;
    strata_op op = relation_op(r, &names);
    return memory_has(s, &op, yes);
}

static bool plan_relation(struct mcp_call *call, struct import *im, size_t i, const json_t *r)
{
    struct names names;
    strata_op op = relation_op(r, &names);
    return plan(call, im, "relations", i, &op);
}

enum mcp_progress memory_create_relations(struct mcp_call *call)
{
    return create(call, "relations", memory_relation_fields, relation_there, plan_relation);
}

/* Whether an earlier item of this call adds it. */
static bool is_planned(const struct import *im, size_t until, const strata_op *op)
{
    for (size_t i = 0; i < until; i++)
        if (strcmp(im->ops[i].entity, op->entity) == 0 && strcmp(im->ops[i].value, op->value) == 0)
            return true;
    return false;
}

static bool plan_addition(struct mcp_call *call, struct import *im, strata *s, size_t i,
                          const json_t *addition, json_t *results)
{
    const char *name = memory_text(addition, "entityName");
    char entity[GRAPH_ENTITY_SIZE];
    size_t k, earlier = im->count;
    json_t *text, *news = json_array();
    (void)json_array_append_new(
        results, json_pack("{s:s, s:o}", "entityName", name, "addedObservations", news));
    bool is_there = false;
    int code = memory_has_entity(s, name, &is_there);
    if (code == STRATA_OK && !is_there) {
        mcp_refuse(call, "Entity with name %s not found", name);
        return false;
    }
    json_array_foreach(json_object_get(addition, "contents"), k, text)
    {
        strata_op op = observation_op(graph_entity(name, entity), text);
        if (code == STRATA_OK)
            code = memory_has(s, &op, &is_there);
        if (code != STRATA_OK)
            break;
        if (is_there || is_planned(im, earlier, &op))
            continue;
        if (!plan(call, im, "observations", i, &op))
            return false;
        (void)json_array_append(news, text);
    }
    if (code != STRATA_OK)
        mcp_call_fail(call, s);
    return code == STRATA_OK;
}

enum mcp_progress memory_add_observations(struct mcp_call *call)
{
    struct mcp_agent *a = memory_agent(call);
    struct import im;
    size_t i;
    const json_t *addition;
    if (a == NULL)
        return MCP_DONE;
    json_t *results = json_array();
    bool planned = true;
    import_init(&im);
    json_array_foreach(memory_list(call, "observations"), i, addition)
    {
        planned = plan_addition(call, &im, a->s, i, addition, results);
        if (!planned)
            break;
    }
    return finish(call, &im, a->s, planned, results, "results");
}

/* --- delete ----------------------------------------------------------------------------------- */

struct deletion {
    struct import im;
    /* Whether an item has to go. */
    bool (*hit)(const struct deletion *d, const strata_attribute *a, const strata_item *item);
    const json_t *list; /* what the call names */
};

static int visit_deletion(void *arg, const strata_attribute *a)
{
    struct deletion *d = arg;
    int code = STRATA_OK;
    for (size_t i = 0; i < a->count && code == STRATA_OK; i++) {
        const strata_item *item = &a->items[i];
        if (!graph_is_visible(item) || strata_entity_kind(a->entity) != STRATA_ENTITY_FACT ||
            !d->hit(d, a, item))
            continue;
        bool member = item->kind == STRATA_ITEM_MEMBER;
        strata_op op = {
            .kind = member ? STRATA_REMOVE : STRATA_UNSET,
            .entity = a->entity,
            .attribute = a->attribute,
            .value = member ? item->value : NULL,
            .value_size = member ? item->value_size : 0,
            .link = member && item->link,
        };
        code = import_add(&d->im, 1, &op);
    }
    return code;
}

static enum mcp_progress delete_all(struct mcp_call *call, struct deletion *d, const char *message)
{
    strata_fact_query all = {.size = sizeof all};
    struct mcp_agent *a = memory_agent(call);
    if (a == NULL)
        return MCP_DONE;
    import_init(&d->im);
    int code = strata_fact_each(a->s, &all, visit_deletion, d);
    if (code == STRATA_OK)
        code = write_all(a->s, &d->im);
    import_release(&d->im);
    return succeed(call, code, a->s, message);
}

static bool hit_entity(const struct deletion *d, const strata_attribute *a, const strata_item *item)
{
    return memory_is_named(d->list, graph_name(a->entity)) ||
           (item->link && memory_is_named(d->list, graph_name(item->value)));
}

enum mcp_progress memory_delete_entities(struct mcp_call *call)
{
    struct deletion d = {.hit = hit_entity, .list = memory_list(call, "entityNames")};
    return delete_all(call, &d, "Entities deleted successfully");
}

static bool hit_observation(const struct deletion *d, const strata_attribute *a,
                            const strata_item *item)
{
    size_t i;
    const json_t *deletion;
    if (graph_part_of(a, item) != GRAPH_IS_OBSERVATION)
        return false;
    json_t *text = memory_observation(a, item);
    bool hit = false;
    json_array_foreach(d->list, i, deletion)
    {
        hit = hit ||
              (strcmp(memory_text(deletion, "entityName"), graph_name(a->entity)) == 0 &&
               memory_is_named(json_object_get(deletion, "observations"), json_string_value(text)));
    }
    json_decref(text);
    return hit;
}

enum mcp_progress memory_delete_observations(struct mcp_call *call)
{
    struct deletion d = {.hit = hit_observation, .list = memory_list(call, "deletions")};
    return delete_all(call, &d, "Observations deleted successfully");
}

static bool hit_relation(const struct deletion *d, const strata_attribute *a,
                         const strata_item *item)
{
    size_t i;
    const json_t *r;
    bool hit = false;
    json_array_foreach(d->list, i, r)
    {
        hit =
            hit || (item->link && strcmp(memory_text(r, "from"), graph_name(a->entity)) == 0 &&
                    strcmp(memory_text(r, "to"), graph_name(item->value)) == 0 &&
                    strcmp(memory_text(r, "relationType"), graph_relation_type(a->attribute)) == 0);
    }
    return hit;
}

enum mcp_progress memory_delete_relations(struct mcp_call *call)
{
    struct deletion d = {.hit = hit_relation, .list = memory_list(call, "relations")};
    return delete_all(call, &d, "Relations deleted successfully");
}
