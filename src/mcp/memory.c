/*
 * memory.c - `strata mcp --memory`: in the place of the reference memory server
 * (@modelcontextprotocol/server-memory), with the same nine tools, arguments and results. What its
 * graph is in facts: edge/graph.h.
 *
 * Two differences, both on purpose: an observation that is there twice is there once, and a name
 * has the bounds of strata.h.
 */
#include "mcp/memory.h"

#include "edge/json_text.h"
#include "mcp/faces.h"

#include <stdlib.h>
#include <string.h>

/* --- arguments and results -------------------------------------------------------------------- */

const struct mcp_field memory_entity_fields[] = {
    {"name", MCP_STRING, .about = "The name of the entity"},
    {"entityType", MCP_STRING, .about = "The type of the entity"},
    {"observations", MCP_ARRAY, .about = "What is known of the entity"},
    {0},
};
const struct mcp_field memory_relation_fields[] = {
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
    {"entities", MCP_ARRAY, .fields = memory_entity_fields},
    {0},
};
static const struct mcp_field relations[] = {
    {"relations", MCP_ARRAY, .fields = memory_relation_fields},
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
    {"entities", MCP_ARRAY, .fields = memory_entity_fields},
    {"relations", MCP_ARRAY, .fields = memory_relation_fields},
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

enum mcp_progress memory_answer(struct mcp_call *call, json_t *value, const char *member)
{
    struct edge_text text = {0};
    edge_text_add_json(&text, value, 2);
    if (text.failed) {
        edge_text_release(&text);
        json_decref(value);
        mcp_refuse(call, "out of memory");
        return MCP_DONE;
    }
    call->text = text.p;
    call->text_size = text.n;
    call->structured = member != NULL ? json_pack("{s:o}", member, value) : value;
    return MCP_DONE;
}

/* Of the reference server; where that cannot be done, it is tried again with each call, which says why. */
static bool take_file_in(struct mcp_session *x, strata *s, strata_error *error)
{
    const char *file = x->options->memory_file;
    if (!x->taken_in && file != NULL && !strata_is_read_only(s) &&
        memory_import(s, file, error) != STRATA_OK)
        return false;
    x->taken_in = true;
    return true;
}

/* The default one. */
static struct mcp_agent *graph_agent(struct mcp_session *x, strata_error *error)
{
    struct mcp_agent *a = mcp_session_agent(x, NULL, 0, error);
    return a != NULL && take_file_in(x, a->s, error) ? a : NULL;
}

struct mcp_agent *memory_agent(struct mcp_call *call)
{
    strata_error error = {0};
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL || take_file_in(call->context, a->s, &error))
        return a;
    mcp_call_error(call, &error);
    return NULL;
}

bool memory_is_named(const json_t *list, const char *name)
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
        (void)json_object_set_new(set, memory_text(o, "name"), json_true());
    }
    json_array_foreach(json_object_get(whole, "relations"), i, o)
    {
        if (json_object_get(set, memory_text(o, "from")) != NULL ||
            json_object_get(set, memory_text(o, "to")) != NULL)
            (void)json_array_append(touching, o);
    }
    json_decref(set);
    json_decref(whole);
    return json_pack("{s:o, s:o}", "entities", found, "relations", touching);
}

static json_t *whole_graph(struct mcp_call *call)
{
    struct mcp_agent *a = memory_agent(call);
    json_t *whole = NULL;
    if (a != NULL && memory_graph(a->s, &whole) != STRATA_OK)
        mcp_call_fail(call, a->s);
    return whole;
}

static enum mcp_progress read_graph(struct mcp_call *call)
{
    json_t *whole = whole_graph(call);
    return whole != NULL ? memory_answer(call, whole, NULL) : MCP_DONE;
}

static bool keep_found(const json_t *entity, const void *arg)
{
    const struct memory_query *q = arg;
    size_t i;
    const json_t *text;
    bool found = memory_matches(q, memory_text(entity, "name")) ||
                 memory_matches(q, memory_text(entity, "entityType"));
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
    return memory_answer(call, found, NULL);
}

static bool keep_named(const json_t *entity, const void *arg)
{
    return memory_is_named(arg, memory_text(entity, "name"));
}

static enum mcp_progress open_nodes(struct mcp_call *call)
{
    json_t *whole = whole_graph(call);
    return whole != NULL
               ? memory_answer(call, part_of(whole, keep_named, memory_list(call, "names")), NULL)
               : MCP_DONE;
}

/* --- the face --------------------------------------------------------------------------------- */

static const struct mcp_tool tools[] = {
    {"create_entities", "Create Entities", "Create new entities in the knowledge graph", entities,
     entities, .run = memory_create_entities},
    {"create_relations", "Create Relations",
     "Create new relations between entities of the knowledge graph, in active voice", relations,
     relations, .run = memory_create_relations},
    {"add_observations", "Add Observations", "Add observations to entities that are there",
     additions, added, .run = memory_add_observations},
    {"delete_entities", "Delete Entities", "Delete entities and the relations from and to them",
     entity_names, success, .destructive = true, .idempotent = true, .run = memory_delete_entities},
    {"delete_observations", "Delete Observations", "Delete single observations of entities",
     deletions, success, .destructive = true, .idempotent = true,
     .run = memory_delete_observations},
    {"delete_relations", "Delete Relations", "Delete relations", relations, success,
     .destructive = true, .idempotent = true, .run = memory_delete_relations},
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
    struct mcp_agent *a = graph_agent(context, &error);
    if (a != NULL && memory_graph(a->s, &whole) != STRATA_OK)
        error = *strata_last_error(a->s);
    struct edge_text text = {0};
    edge_text_add_json(&text, whole, 2);
    edge_text_add(&text, "", 1);
    json_decref(whole);
    if (text.failed) {
        edge_text_release(&text);
        (void)snprintf(message, MCP_FAULT_SIZE, "%s", error.message);
    }
    *mime = "application/json";
    return text.p;
}

void mcp_memory_face(struct mcp_session *x, struct mcp_face *face)
{
    strata_error error;
    /* Before anybody is served; what is wrong the calls say. */
    (void)graph_agent(x, &error);
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
        .idle = mcp_session_idle,
        .context = x,
    };
}
