/* jsonl_fields.h - merging one record by its fields; see jsonl.h for the rules. */
#ifndef ST_FILES_JSONL_FIELDS_H
#define ST_FILES_JSONL_FIELDS_H

#include "files/jsonl.h"

/* Appends the merged record to out. base.p NULL: both sides added it. Visits what is listed. */
enum st_code st_jsonl_fields_merge(const struct st_str in[ST_JSONL_SIDES], struct st_str id,
                                   st_jsonl_visit *visit, void *arg, struct st_buf *out);
/* The names of the fields in which two records differ, as a JSON list, appended to out (nothing, where
 * they cannot be told); false: in `updated_at` and `content_hash` at the most. */
bool st_jsonl_fields_differ(struct st_str base, struct st_str changed, struct st_buf *out);
/* The same text for the same meaning, to be freed; NULL when it cannot be told (a number out of
 * range) or memory ran out. */
char *st_json_canonical(struct st_str text);
/* Whether both JSON texts mean the same: members in any order, white space, escapes. */
bool st_json_equal(struct st_str a, struct st_str b);

/* How often a thing is in the merge that is so often in base, ours and theirs. */
static inline size_t st_jsonl_times(size_t base, size_t ours, size_t theirs)
{
    return ours == base ? theirs : theirs == base ? ours : ours > theirs ? ours : theirs;
}

#endif
