/*
 * memory.c - `strata mcp --memory`: in the place of the reference memory server
 * (@modelcontextprotocol/server-memory), with the same nine tools, arguments and results. What its
 * graph is in facts: edge/graph.h.
 *
 * Two differences, both on purpose: an observation that is there twice is there once, and a name
 * has the bounds of strata.h.
 */
#include "mcp/memory.h"

#include "mcp/faces.h"

#include <stdlib.h>
#include <string.h>

/* --- arguments and results -------------------------------------------------------------------- */

static const struct mcp_field entity_fields[] = {
    {"name", MCP_STRING, .about = "The name of the entity"},
    {"entityType", MCP_STRING, .about = "The type of the entity"},
    {"observations", MCP_ARRAY, .about = "What is known of the entity"},
    {0},
};
static const struct mcp_field relation_fields[] = {
    {"from", MCP_STRING, .about = "The name of the entity where the relation starts"},
    {"to", MCP_STRING, .about = "The name of the entity where the relation ends"},
    {"relationType", MCP_STRING, .about = "The type of the relation"},
    {0},
};
static const struct mcp_field addition_fields[] = {
    {"entityName", MCP_STRING, .about = "The name of the entity"},
    {"contents", MCP_ARRAY, .about = "What is to be added"},
    {0},
};
static const struct mcp_field added_fields[] = {
    {"entityName", .type = MCP_STRING},
    {"addedObservations", .type = MCP_ARRAY},
    {0},
};
static const struct mcp_field deletion_fields[] = {
    {"entityName", MCP_STRING, .about = "The name of the entity"},
    {"observations", MCP_ARRAY, .about = "What is to be deleted"},
    {0},
};

static const struct mcp_field nothing[] = {{0}};
static const struct mcp_field entities[] = {
    {"entities", MCP_ARRAY, .fields = entity_fields},
    {0},
};
static const struct mcp_field relations[] = {
    {"relations", MCP_ARRAY, .fields = relation_fields},
    {0},
};
static const struct mcp_field additions[] = {
    {"observations", MCP_ARRAY, .fields = addition_fields},
    {0},
};
static const struct mcp_field added[] = {
    {"results", MCP_ARRAY, .fields = added_fields},
    {0},
};
static const struct mcp_field entity_names[] = {
    {"entityNames", MCP_ARRAY, .about = "The names of the entities to delete"},
    {0},
};
static const struct mcp_field deletions[] = {
    {"deletions", MCP_ARRAY, .fields = deletion_fields},
    {0},
};
static const struct mcp_field success[] = {
    {"success", .type = MCP_BOOLEAN},
    {"message", .type = MCP_STRING},
    {0},
};
static const struct mcp_field graph[] = {
    {"entities", MCP_ARRAY, .fields = entity_fields},
    {"relations", MCP_ARRAY, .fields = relation_fields},
    {0},
};
static const struct mcp_field query[] = {
    {"query", MCP_STRING, .about = "Looked for in names, types and observations"},
    {0},
};
static const struct mcp_field names[] = {
    {"names", MCP_ARRAY, .about = "The names of the entities"},
    {0},
};

/* --- answers ---------------------------------------------------------------------------------- */

/* The result as its own text, too, as the reference server does. Takes the value, whose member (if
 * `member`) is the structured content. */
static enum mcp_progress answer(struct mcp_call *call, json_t *value, const char *member)
{
    char *text = value != NULL ? json_dumps(value, JSON_INDENT(2)) : NULL;
    if (text == NULL) {
        json_decref(value);
        mcp_refuse(call, "out of memory");
        return MCP_DONE;
    }
    (void)fputs(text, mcp_say(call));
    free(text);
    call->structured = member != NULL ? json_pack("{s:o}", member, value) : value;
    return MCP_DONE;
}

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

static const json_t *list_of(const struct mcp_call *call, const char *name)
{
    return json_object_get(call->arguments, name);
}

static const char *text_of(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

/* --- writing ---------------------------------------------------------------------------------- */

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
    const json_t *type = json_object_get(entity, "entityType");
    strata_op op = {
        .kind = STRATA_SET,
        .entity = text_of(entity, "name"),
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

/* Only what the reference server keeps of an entity or a relation. */
static json_t *only(const json_t *o, const struct mcp_field *fields)
{
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
        return answer(call, result, member);
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
    struct mcp_agent *a = mcp_call_agent(call);
    struct import im;
    size_t i;
    const json_t *o;
    if (a == NULL)
        return MCP_DONE;
    json_t *made = json_array();
    bool planned = true;
    import_init(&im);
    json_array_foreach(list_of(call, list), i, o)
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
    return memory_has_entity(s, text_of(entity, "name"), yes);
}

static enum mcp_progress create_entities(struct mcp_call *call)
{
    return create(call, "entities", entity_fields, entity_there, plan_entity);
}

static strata_op relation_op(int kind, const json_t *r, char buffer[GRAPH_ATTRIBUTE_SIZE])
{
    const json_t *to = json_object_get(r, "to");
    return (strata_op){
        .kind = kind,
        .entity = text_of(r, "from"),
        .attribute = graph_relation_attribute(text_of(r, "relationType"), buffer),
        .value = json_string_value(to),
        .value_size = json_string_length(to),
        .link = true,
    };
}

static int relation_there(strata *s, const json_t *r, bool *yes)
{
    char buffer[GRAPH_ATTRIBUTE_SIZE];
    strata_op op = relation_op(STRATA_ADD, r, buffer);
    return memory_has(s, &op, yes);
}

static bool plan_relation(struct mcp_call *call, struct import *im, size_t i, const json_t *r)
{
    char buffer[GRAPH_ATTRIBUTE_SIZE];
    strata_op op = relation_op(STRATA_ADD, r, buffer);
    return plan(call, im, "relations", i, &op);
}

static enum mcp_progress create_relations(struct mcp_call *call)
{
    return create(call, "relations", relation_fields, relation_there, plan_relation);
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
    const char *name = text_of(addition, "entityName");
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
        strata_op op = observation_op(name, text);
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

static enum mcp_progress add_observations(struct mcp_call *call)
{
    struct mcp_agent *a = mcp_call_agent(call);
    struct import im;
    size_t i;
    const json_t *addition;
    if (a == NULL)
        return MCP_DONE;
    json_t *results = json_array();
    bool planned = true;
    import_init(&im);
    json_array_foreach(list_of(call, "observations"), i, addition)
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
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL)
        return MCP_DONE;
    import_init(&d->im);
    int code = strata_fact_each(a->s, &all, visit_deletion, d);
    if (code == STRATA_OK)
        code = write_all(a->s, &d->im);
    import_release(&d->im);
    return succeed(call, code, a->s, message);
}

static bool is_named(const json_t *list, const char *name)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        if (strcmp(json_string_value(item), name) == 0)
            return true;
    }
    return false;
}

static bool hit_entity(const struct deletion *d, const strata_attribute *a, const strata_item *item)
{
    return is_named(d->list, a->entity) || (item->link && is_named(d->list, item->value));
}

static enum mcp_progress delete_entities(struct mcp_call *call)
{
    struct deletion d = {.hit = hit_entity, .list = list_of(call, "entityNames")};
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
        hit = hit || (strcmp(text_of(deletion, "entityName"), a->entity) == 0 &&
                      is_named(json_object_get(deletion, "observations"), json_string_value(text)));
    }
    json_decref(text);
    return hit;
}

static enum mcp_progress delete_observations(struct mcp_call *call)
{
    struct deletion d = {.hit = hit_observation, .list = list_of(call, "deletions")};
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
        hit = hit || (item->link && strcmp(text_of(r, "from"), a->entity) == 0 &&
                      strcmp(text_of(r, "to"), item->value) == 0 &&
                      strcmp(text_of(r, "relationType"), graph_relation_type(a->attribute)) == 0);
    }
    return hit;
}

static enum mcp_progress delete_relations(struct mcp_call *call)
{
    struct deletion d = {.hit = hit_relation, .list = list_of(call, "relations")};
    return delete_all(call, &d, "Relations deleted successfully");
}

/* --- read ------------------------------------------------------------------------------------- */

/* Keeps the entities that `keep` likes, and the relations that touch one of them. */
static json_t *part_of(json_t *whole, bool (*keep)(const json_t *entity, const void *arg),
                       const void *arg)
{
    size_t i;
    json_t *o, *found = json_array(), *touching = json_array(), *set = json_object();
    json_array_foreach(json_object_get(whole, "entities"), i, o)
    {
        if (!keep(o, arg))
            continue;
        (void)json_array_append(found, o);
        (void)json_object_set_new(set, text_of(o, "name"), json_true());
    }
    json_array_foreach(json_object_get(whole, "relations"), i, o)
    {
        if (json_object_get(set, text_of(o, "from")) != NULL ||
            json_object_get(set, text_of(o, "to")) != NULL)
            (void)json_array_append(touching, o);
    }
    json_decref(set);
    json_decref(whole);
    return json_pack("{s:o, s:o}", "entities", found, "relations", touching);
}

static json_t *whole_graph(struct mcp_call *call)
{
    struct mcp_agent *a = mcp_call_agent(call);
    json_t *whole = NULL;
    if (a != NULL && memory_graph(a->s, &whole) != STRATA_OK)
        mcp_call_fail(call, a->s);
    return whole;
}

static enum mcp_progress read_graph(struct mcp_call *call)
{
    json_t *whole = whole_graph(call);
    return whole != NULL ? answer(call, whole, NULL) : MCP_DONE;
}

static bool keep_found(const json_t *entity, const void *arg)
{
    const struct memory_query *q = arg;
    size_t i;
    const json_t *text;
    bool found = memory_matches(q, text_of(entity, "name")) ||
                 memory_matches(q, text_of(entity, "entityType"));
    json_array_foreach(json_object_get(entity, "observations"), i, text)
    {
        found = found || memory_matches(q, json_string_value(text));
    }
    return found;
}

static enum mcp_progress search_nodes(struct mcp_call *call)
{
    struct memory_query q;
    json_t *whole = whole_graph(call);
    if (whole == NULL)
        return MCP_DONE;
    memory_query_init(&q, mcp_text(call, "query"));
    json_t *found = part_of(whole, keep_found, &q);
    memory_query_release(&q);
    return answer(call, found, NULL);
}

static bool keep_named(const json_t *entity, const void *arg)
{
    return is_named(arg, text_of(entity, "name"));
}

static enum mcp_progress open_nodes(struct mcp_call *call)
{
    json_t *whole = whole_graph(call);
    return whole != NULL ? answer(call, part_of(whole, keep_named, list_of(call, "names")), NULL)
                         : MCP_DONE;
}

/* --- the face --------------------------------------------------------------------------------- */

static const struct mcp_tool tools[] = {
    {"create_entities", "Create Entities", "Create new entities in the knowledge graph", entities,
     entities, .run = create_entities},
    {"create_relations", "Create Relations",
     "Create new relations between entities of the knowledge graph, in active voice", relations,
     relations, .run = create_relations},
    {"add_observations", "Add Observations", "Add observations to entities that are there",
     additions, added, .run = add_observations},
    {"delete_entities", "Delete Entities", "Delete entities and the relations from and to them",
     entity_names, success, .destructive = true, .idempotent = true, .run = delete_entities},
    {"delete_observations", "Delete Observations", "Delete single observations of entities",
     deletions, success, .destructive = true, .idempotent = true, .run = delete_observations},
    {"delete_relations", "Delete Relations", "Delete relations", relations, success,
     .destructive = true, .idempotent = true, .run = delete_relations},
    {"read_graph", "Read Graph", "Read the whole knowledge graph", nothing, graph,
     .read_only = true, .idempotent = true, .run = read_graph},
    {"search_nodes", "Search Nodes", "Find entities by a part of their text, with their relations",
     query, graph, .read_only = true, .idempotent = true, .run = search_nodes},
    {"open_nodes", "Open Nodes", "Read entities by name, with their relations", names, graph,
     .read_only = true, .idempotent = true, .run = open_nodes},
};

#define GRAPH_URI "memory://knowledge-graph"

static const struct mcp_resource resources[] = {
    {GRAPH_URI, "knowledge-graph", "All entities and relations", "application/json"},
    {0},
};
static const struct mcp_resource templates[] = {{0}};

static bool known(void *context, const char *uri)
{
    (void)context;
    return strcmp(uri, GRAPH_URI) == 0;
}

static void look(void *context)
{
    (void)mcp_session_news(context);
}

static bool changed(void *context, const char *uri)
{
    const struct mcp_session *x = context;
    return known(context, uri) && x->news != NULL && x->news->any;
}

static char *read_resource(void *context, const char *uri, const char **mime,
                           char message[MCP_FAULT_SIZE])
{
    strata_error error = {0};
    json_t *whole = NULL;
    if (!known(context, uri))
        return NULL;
    struct mcp_agent *a = mcp_session_agent(context, NULL, 0, &error);
    if (a != NULL && memory_graph(a->s, &whole) != STRATA_OK)
        error = *strata_last_error(a->s);
    char *text = whole != NULL ? json_dumps(whole, JSON_INDENT(2)) : NULL;
    json_decref(whole);
    if (text == NULL)
        (void)snprintf(message, MCP_FAULT_SIZE, "%s", error.message);
    *mime = "application/json";
    return text;
}

int mcp_memory_face(struct mcp_session *x, struct mcp_face *face, strata_error *error)
{
    struct mcp_agent *a = mcp_session_agent(x, NULL, 0, error);
    if (a == NULL)
        return error->code;
    *face = (struct mcp_face){
        .name = "strata-memory",
        .instructions =
            "A knowledge graph that agents share: what one writes, the others read, and "
            "nothing that was acknowledged is lost.",
        .tools = tools,
        .tool_count = sizeof tools / sizeof tools[0],
        .resources = resources,
        .templates = templates,
        .read = read_resource,
        .known = known,
        .look = look,
        .changed = changed,
        .ready = mcp_session_ready,
        .context = x,
    };
    if (x->options->memory_file == NULL || strata_is_read_only(a->s))
        return STRATA_OK;
    return memory_import(a->s, x->options->memory_file, error);
}
