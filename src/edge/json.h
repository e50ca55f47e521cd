/*
 * json.h - the objects in which the program and the MCP server answer (docs/json.md). Each function
 * gives a new reference, or NULL when memory ran out.
 */
#ifndef ST_EDGE_JSON_H
#define ST_EDGE_JSON_H

#include <jansson.h>

#include "strata.h"

json_t *edge_json_time(uint64_t ms);                /* RFC 3339, UTC, with milliseconds */
json_t *edge_json_text(const char *text, size_t n); /* lossy if it is not UTF-8 */
json_t *edge_json_item(const strata_item *item);
json_t *edge_json_attribute(const strata_attribute *a);
json_t *edge_json_event(const strata_event *e);

#endif
