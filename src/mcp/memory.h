/* memory.h - what the tools of the memory server stand on: its graph in the facts of a workspace.
 */
#ifndef ST_MCP_MEMORY_H
#define ST_MCP_MEMORY_H

#include <jansson.h>
#include <locale.h>
#include <wchar.h>

#include "edge/graph.h"
#include "edge/import.h"
#include "mcp/server.h"

/* --- memory.c --------------------------------------------------------------------------------- */

/* What the reference server keeps of an entity, and of a relation. */
extern const struct mcp_field memory_entity_fields[], memory_relation_fields[];

/* The result as its own text, too, as the reference server does. Takes the value, whose member (if
 * `member`) is the structured content. */
enum mcp_progress memory_answer(struct mcp_call *call, json_t *value, const char *member);
/* mcp_call_agent(), once the memory file was taken in. NULL: the call was refused. */
struct mcp_agent *memory_agent(struct mcp_call *call);
/* Whether a list of names has it. */
bool memory_is_named(const json_t *list, const char *name);

/* What a call names. */
static inline const json_t *memory_list(const struct mcp_call *call, const char *name)
{
    return json_object_get(call->arguments, name);
}

static inline const char *memory_text(const json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

/* --- memory_write.c --------------------------------------------------------------------------- */

enum mcp_progress memory_create_entities(struct mcp_call *call);
enum mcp_progress memory_create_relations(struct mcp_call *call);
enum mcp_progress memory_add_observations(struct mcp_call *call);
enum mcp_progress memory_delete_entities(struct mcp_call *call);
enum mcp_progress memory_delete_observations(struct mcp_call *call);
enum mcp_progress memory_delete_relations(struct mcp_call *call);

/* --- memory_graph.c --------------------------------------------------------------------------- */

/* {"entities":[...],"relations":[...]}: everything; a new reference. Observations by age. Tasks,
 * messages and documents are no part of it. */
int memory_graph(strata *s, json_t **out);
/* Whether there is an entity: something that has a type or an observation. */
int memory_has_entity(strata *s, const char *name, bool *yes);
/* Whether the operation, an addition, would add nothing. */
int memory_has(strata *s, const strata_op *op, bool *yes);
/* The text of an observation; a new reference. */
json_t *memory_observation(const strata_attribute *a, const strata_item *item);

/* A text to look for, whatever its case. */
struct memory_query {
    wchar_t *needle;
    size_t size;
    locale_t locale;
};
void memory_query_init(struct memory_query *q, const char *text);
bool memory_matches(const struct memory_query *q, const char *text);
void memory_query_release(struct memory_query *q);

/* --- memory_import.c -------------------------------------------------------------------------- */

/* Takes in the file of the reference server, unless that was done before: what was deleted since
 * then must not come back. A file that is not there is no error. */
int memory_import(strata *s, const char *file, strata_error *error);

#endif
