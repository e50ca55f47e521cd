/*
 * schema.h - the arguments and results of tools as tables: the JSON Schema that clients see and the
 * check of what they send come from the same lines. Pure.
 */
#ifndef ST_MCP_SCHEMA_H
#define ST_MCP_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>

enum mcp_type { MCP_STRING = 1, MCP_INTEGER, MCP_BOOLEAN, MCP_OBJECT, MCP_ARRAY };

/* One member of an object; a table of them ends with a NULL name. */
struct mcp_field {
    const char *name;
    enum mcp_type type;
    bool optional;
    const char *about;              /* NULL: the name says it */
    const struct mcp_field *fields; /* of an object; of the objects in an array. NULL: any object;
                                       an array of strings */
    const char *const *choices;     /* of a string; ends with NULL */
    long long max;                  /* of an integer, from 0; 0: no bound */
};

/* {"type":"object",...}; a new reference, NULL when memory ran out. */
json_t *mcp_schema(const struct mcp_field *fields);

/* Whole numbers among the arguments (NULL: none) where the table has a string, or an array of them, become
 * their digits: models write {"id": 15} and {"value": 8080}. */
void mcp_soften(const struct mcp_field *fields, json_t *arguments);

/* Whether the arguments (NULL: none) are as the table says; else why not, as a sentence that names
 * the argument. With strict, members that are not in the table are refused. */
#define MCP_FAULT_SIZE 512
bool mcp_check(const struct mcp_field *fields, const json_t *arguments, bool strict,
               char fault[MCP_FAULT_SIZE]);

#endif
