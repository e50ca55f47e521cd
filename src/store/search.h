/*
 * search.h - full text over the current state: SQLite's FTS5, in two further tables of index.db,
 * brought up to date when somebody searches and not before:
 *   fts(entity, attribute, value)   one row per attribute that has something to show
 *   fts_row(id, k BLOB)             row to register key
 * The position of the text index is a history entry number, row "search" of meta.
 */
#ifndef ST_STORE_SEARCH_H
#define ST_STORE_SEARCH_H

#include "store/index.h"

/* Entries taken over in one transaction. */
#define ST_SEARCH_BATCH 20000

/* Words of one query; more are not looked at by anybody. */
#define ST_SEARCH_WORDS_MAX 32

/* To rank means to read every match (a microsecond each). When more match, or more are asked for,
 * they come in the order in which their attributes were made, the last one first: what a search
 * costs then hardly grows with the workspace. */
#define ST_SEARCH_RANKED 1000

/* Terms that begin with a word which are looked for: more than a page has matches by default, as each
 * has one. */
#define ST_SEARCH_TERMS_MAX 64

/* Brings the text index up to date. Begins and ends its own transactions. ST_UNAVAILABLE: the
 * index lock could not be had; what is found may then be old. */
enum st_code st_search_update(struct st_index *x);

/* First the attributes that have all the words, ranked (but see above), then those in which words
 * begin with them. At most `limit` (0: all). Between st_index_begin and st_index_end. Appends
 * entity NUL attribute NUL for each to *out, which is empty before. *more: so many words begin with one of
 * these that not all were looked for; never with a limit of 0 or above ST_SEARCH_RANKED. */
enum st_code st_search(struct st_index *x, const char *words, size_t limit, struct st_buf *out,
                       bool *more);

/* search_words.c: queries of FTS5, appended to *out, which is empty before; all words must occur. */
enum st_code st_search_whole(struct st_index *x, const char *words, bool prefix,
                             struct st_buf *out);
/* Each word may be the beginning of one. *more: see above. */
enum st_code st_search_begun(struct st_index *x, const char *words, struct st_buf *out, bool *more);

#endif
