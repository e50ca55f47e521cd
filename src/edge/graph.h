/*
 * graph.h - facts as the knowledge graph of the MCP memory server: entities with a type and
 * observations, and relations between them (docs/exchange.md). Import, export and
 * `strata mcp --memory` agree by going through here.
 *
 *   the value of the attribute "type"      the entity's type
 *   a link                                 a relation, whose type is the attribute
 *   everything else                        an observation; "attribute: value" unless the attribute
 *                                          is "observation"
 *
 * A relation named "type" would stand beside the value of the entity's type in one attribute: it
 * becomes "relation:type" (and "relation:type" becomes "relation:relation:type", so that the way
 * back is unique). In the same way a name that is a task or a tracked file in a workspace, as "#12" or
 * "file:a.c", becomes "entity:#12", and "entity:#12" becomes "entity:entity:#12".
 */
#ifndef ST_EDGE_GRAPH_H
#define ST_EDGE_GRAPH_H

#include "strata.h"

#define GRAPH_TYPE        "type"
#define GRAPH_OBSERVATION "observation"
/* Goes before a relation type that would be the attribute of the entity's type. */
#define GRAPH_PREFIX "relation:"
/* Goes before a name that would not be a fact's. */
#define GRAPH_NAME_PREFIX "entity:"
/* The bound of a name (strata.h), with room for what is refused for being longer. Bytes. */
#define GRAPH_ATTRIBUTE_SIZE (sizeof GRAPH_PREFIX + 256)
#define GRAPH_ENTITY_SIZE    (sizeof GRAPH_NAME_PREFIX + 256)

enum graph_part { GRAPH_IS_TYPE, GRAPH_IS_RELATION, GRAPH_IS_OBSERVATION };

/* Whether an item is part of what the workspace shows. */
bool graph_is_visible(const strata_item *item);
enum graph_part graph_part_of(const strata_attribute *a, const strata_item *item);
/* Between the type of a relation and its attribute. A type without need of a change, or that is too
 * long to be a name, is given back as it is; the buffer is borrowed by the result. */
const char *graph_relation_attribute(const char *type, char buffer[GRAPH_ATTRIBUTE_SIZE]);
const char *graph_relation_type(const char *attribute);
/* Between a name in the graph and its entity, in the same way. */
const char *graph_entity(const char *name, char buffer[GRAPH_ENTITY_SIZE]);
const char *graph_name(const char *entity);
/* Whether an observation reads "attribute: value", and not as its value alone. */
bool graph_is_reshaped(const strata_attribute *a);

#endif
