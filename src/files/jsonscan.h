/*
 * jsonscan.h - where the parts of a JSON text are, without building anything: a merge carries
 * values over byte for byte, so it needs their places more than their meaning. RFC 8259, strictly,
 * but for UTF-8, which the caller checks once for the whole text. Pure.
 */
#ifndef ST_FILES_JSONSCAN_H
#define ST_FILES_JSONSCAN_H

#include "core/base.h"

/* Values inside of each other: a record has two or three; the scanner recurses. */
#define ST_JSON_SCAN_DEPTH_MAX 128

/* A part of an object (key with its quotes) or of an array (key empty). */
typedef bool st_json_visit(void *arg, struct st_str key, struct st_str value);

/* Whether the text is one JSON value, with white space around it. */
bool st_json_valid(struct st_str text);
/* Calls visit for each member of the object, or element of the array, that the text is; false from
 * visit ends it. False: the text is neither, is not valid, or visit said so. */
bool st_json_each(struct st_str text, st_json_visit *visit, void *arg);

#endif
