/*
 * jsonl.h - three-way merge of JSON Lines, record by record and field by field. Pure but for
 * memory.
 *
 * A record is a line with an object; it is known by its field `id`, in any order of the lines. What
 * has no id (lines that are no objects, or no JSON at all) or shares it with another line of the
 * same input is known by its bytes. Lines are compared as bytes first; what did not change is
 * carried over byte for byte, and of a record that changed on both sides every field that is.
 *
 *   one side added, changed or deleted it     that is taken
 *   one side deleted it, the other changed it kept, and listed
 *   both changed it                           by fields:
 *     only one changed the field, or both to the same       that is taken
 *     both changed a time (`*_at`)                          the later
 *     both changed a content hash (`content_hash`)          that of the side that is later
 *     both changed a list                                   by elements
 *     both changed anything else                            that of the side that is later, listed
 *
 * Any difference is a change, that of a time or of a hash alone too: somebody has worked on the record
 * after the other had seen it. Which fields were changed is said.
 *
 * The side that is later has the later `updated_at`; ours when they are equal or not known. Lists
 * are merged as sets with repetitions; an element is known by its value.
 *
 * Order: that of ours; what theirs added comes behind the line that it is behind in theirs, and
 * behind what ours added at that place.
 */
#ifndef ST_FILES_JSONL_H
#define ST_FILES_JSONL_H

#include "core/base.h"
#include "core/error.h"

/* Of one input: places of lines are kept in 32 bits, and Git itself holds files in memory. Bytes.
 */
#define ST_JSONL_SIZE_MAX (2047u * 1024 * 1024)
/* Of one line: a tracker's records have a kilobyte; ten megabytes were seen. Bytes. */
#define ST_JSONL_LINE_MAX (64u * 1024 * 1024)
/* Fields of a record that are merged one by one, and elements of a list; with more of them it is
 * merged as a whole. Bounds the memory of one record. */
#define ST_JSONL_PARTS_MAX 100000

enum st_jsonl_side { ST_JSONL_BASE, ST_JSONL_OURS, ST_JSONL_THEIRS, ST_JSONL_SIDES };

enum st_jsonl_kind {
    /* merged */
    ST_JSONL_ADDED,   /* by theirs */
    ST_JSONL_DELETED, /* by `side`, and unchanged on the other */
    ST_JSONL_TAKEN,   /* changed by theirs only */
    ST_JSONL_MERGED,  /* changed by both */
    /* listed: for somebody to look at */
    ST_JSONL_FIELD,     /* shown is that of `side`, other what the other side has */
    ST_JSONL_WHOLE,     /* the same of a record whose fields cannot be told apart */
    ST_JSONL_KEPT,      /* changed by `side`, deleted by the other */
    ST_JSONL_DUPLICATE, /* line `line` of `side` has an id that an earlier line has; kept */
    ST_JSONL_BROKEN, /* line `line` of `side` is no JSON; kept unless the other side deleted it */
};

struct st_jsonl_note {
    enum st_jsonl_kind kind;
    enum st_jsonl_side side;
    size_t line;                /* in the file of `side`, from 1; 0: not said */
    struct st_str id, field;    /* as JSON */
    struct st_str shown, other; /* as JSON; p NULL: the side has no such field */
    struct st_str fields;       /* kept: the fields that were changed, as a JSON list */
    bool said_nothing;          /* kept: these are `updated_at` and `content_hash` at the most */
};
static inline bool st_jsonl_listed(enum st_jsonl_kind kind)
{
    return kind >= ST_JSONL_FIELD;
}

/* Borrowed for the call. */
typedef void st_jsonl_visit(void *arg, const struct st_jsonl_note *note);

/* Appends the merge to out. ST_OK (listed or not), ST_LIMIT (`*limit_line` of `*limit_side`: a line
 * that is too long; 0: the input is too large), ST_NO_MEMORY. */
struct st_jsonl_fault {
    enum st_jsonl_side side;
    size_t line;
};
enum st_code st_jsonl_merge(const struct st_str in[ST_JSONL_SIDES], st_jsonl_visit *visit,
                            void *arg, struct st_buf *out, struct st_jsonl_fault *fault);

/* Whether it looks like JSON Lines: the first line that is not blank is an object. */
bool st_jsonl_guess(struct st_str text);

#endif
