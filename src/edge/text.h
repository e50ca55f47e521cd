/*
 * text.h - times and texts for people and agents, as the program and the MCP server print them.
 */
#ifndef ST_EDGE_TEXT_H
#define ST_EDGE_TEXT_H

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "strata.h"

#define EDGE_STAMP_SIZE 48
void edge_stamp(uint64_t ms, char out[EDGE_STAMP_SIZE]); /* "2026-11-23T22:51:32.123Z" */
#define EDGE_AGE_SIZE 32
void edge_age(uint64_t now_ms, uint64_t ms, char out[EDGE_AGE_SIZE]); /* "5 s ago" */
void edge_span(uint64_t span_ms, char out[EDGE_AGE_SIZE]);            /* "5 s" */

/* On one line: control characters as \n \t \x1b, cut after `max` bytes with a word on how much is
 * missing (0: whole). */
void edge_put_text(FILE *f, const char *text, size_t n, size_t max);
/* A name; in double quotes if it has a space or anything else that could mislead. */
void edge_put_name(FILE *f, const char *name);
/* "(ann on laptop, 5 s ago)" without the parentheses; the replica only with `where`. */
void edge_put_origin(FILE *f, uint64_t now_ms, const char *agent, const char *replica, uint64_t ms,
                     bool where);
/* The lines of one attribute in a listing. */
void edge_put_attribute(FILE *f, uint64_t now_ms, const strata_attribute *a);
/* Whether a file's name ends like that, in any case. */
static inline bool edge_ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), m = strlen(ending);
    return n >= m && strcasecmp(name + n - m, ending) == 0;
}

/* A copy of text for a message: valid UTF-8, no control characters, cut to fit. Returns out. */
const char *edge_clean(const char *text, char *out, size_t size);

#endif
