/* merge_keep.h - what a merge has listed, kept for `strata pending` where there is a workspace. */
#ifndef ST_CLI_MERGE_KEEP_H
#define ST_CLI_MERGE_KEEP_H

#include "cli/cli.h"
#include "files/jsonl.h"

/* Of one merge: what a person may still go through. The rest is told, and in the commits. */
#define MERGE_KEEP_MAX 1000

struct merge_keep {
    strata_merge_conflict *list; /* places are owned, values borrowed from what is merged */
    size_t count, cap;
    size_t left_out; /* over the limit, or out of memory */
};

/* A field or a record that both changed, or that one deleted; the rest of the kinds is passed over:
 * nothing has to be decided there. */
void merge_keep_note(struct merge_keep *k, const struct st_jsonl_note *n);
/* Lines that both changed. */
void merge_keep_overlap(struct merge_keep *k, size_t line, struct st_str ours,
                        struct st_str theirs);
/* Writes them. How many are kept; what is in the way is a warning. Outside of a workspace: 0. */
size_t merge_keep_write(struct merge_keep *k, struct cli *c, const char *path);
void merge_keep_release(struct merge_keep *k);

#endif
