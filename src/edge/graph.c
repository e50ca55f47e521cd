/* graph.c - facts as a knowledge graph. */
#include "edge/graph.h"

#include <stdio.h>
#include <string.h>

#define PREFIX_SIZE      (sizeof GRAPH_PREFIX - 1)
#define NAME_PREFIX_SIZE (sizeof GRAPH_NAME_PREFIX - 1)

/* Behind all prefixes. */
static const char *behind(const char *name, const char *prefix, size_t n)
{
    while (strncmp(name, prefix, n) == 0)
        name += n;
    return name;
}

static const char *bare(const char *attribute)
{
    return behind(attribute, GRAPH_PREFIX, PREFIX_SIZE);
}

static bool is_taken(const char *name)
{
    return strata_entity_kind(behind(name, GRAPH_NAME_PREFIX, NAME_PREFIX_SIZE)) !=
           STRATA_ENTITY_FACT;
}

bool graph_is_visible(const strata_item *item)
{
    return item->kind == STRATA_ITEM_MEMBER || (item->kind == STRATA_ITEM_VALUE && item->shown);
}

enum graph_part graph_part_of(const strata_attribute *a, const strata_item *item)
{
    if (item->link)
        return GRAPH_IS_RELATION;
    bool type = item->kind == STRATA_ITEM_VALUE && strcmp(a->attribute, GRAPH_TYPE) == 0;
    return type ? GRAPH_IS_TYPE : GRAPH_IS_OBSERVATION;
}

const char *graph_relation_attribute(const char *type, char buffer[GRAPH_ATTRIBUTE_SIZE])
{
    if (strcmp(bare(type), GRAPH_TYPE) != 0 ||
        strlen(type) + PREFIX_SIZE + 1 > GRAPH_ATTRIBUTE_SIZE)
        return type;
    (void)snprintf(buffer, GRAPH_ATTRIBUTE_SIZE, "%s%s", GRAPH_PREFIX, type);
    return buffer;
}

const char *graph_relation_type(const char *attribute)
{
    const char *rest = bare(attribute);
    bool prefixed = rest != attribute && strcmp(rest, GRAPH_TYPE) == 0;
    return prefixed ? attribute + PREFIX_SIZE : attribute;
}

const char *graph_entity(const char *name, char buffer[GRAPH_ENTITY_SIZE])
{
    if (!is_taken(name) || strlen(name) + NAME_PREFIX_SIZE + 1 > GRAPH_ENTITY_SIZE)
        return name;
    (void)snprintf(buffer, GRAPH_ENTITY_SIZE, "%s%s", GRAPH_NAME_PREFIX, name);
    return buffer;
}

const char *graph_name(const char *entity)
{
    bool prefixed = strncmp(entity, GRAPH_NAME_PREFIX, NAME_PREFIX_SIZE) == 0 && is_taken(entity);
    return prefixed ? entity + NAME_PREFIX_SIZE : entity;
}

bool graph_is_reshaped(const strata_attribute *a)
{
    return strcmp(a->attribute, GRAPH_OBSERVATION) != 0;
}
