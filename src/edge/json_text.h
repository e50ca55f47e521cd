/*
 * json_text.h - text that grows, and JSON values as text. An MCP server writes each answer twice, as data and
 * as text, and that was a third of what a call took: the JSON library looks out for loops in each value, which
 * what we answer cannot have, and takes strings apart into characters (decisions.md, oo). Reading is left to it.
 */
#ifndef ST_EDGE_JSON_TEXT_H
#define ST_EDGE_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* All zero: empty. Once memory ran out, `failed` is set and nothing is added any more. */
struct edge_text {
    char *p; /* n bytes; owned */
    size_t n, cap;
    bool failed;
};

/* Room for so many more bytes. False: out of memory, and nothing has changed; `failed` is not set. */
bool edge_text_room(struct edge_text *t, size_t n);
void edge_text_add(struct edge_text *t, const char *bytes, size_t n);
#define EDGE_TEXT_ADD(t, literal) edge_text_add((t), (literal), sizeof(literal) - 1)
/*
 * RFC 8259, in the order of the members. `indent`: spaces for each level, as JSON.stringify() has them; 0: on
 * one line, without spaces. NULL is a value for which there was no memory. A value must not contain itself,
 * and a name has no NUL.
 */
void edge_text_add_json(struct edge_text *t, const json_t *value, unsigned indent);
void edge_text_release(struct edge_text *t);

#endif
