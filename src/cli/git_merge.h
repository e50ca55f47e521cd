/* git_merge.h - telling Git to merge files with `strata merge-driver`, and taking that back. */
#ifndef ST_CLI_GIT_MERGE_H
#define ST_CLI_GIT_MERGE_H

#include "cli/cli.h"

/* Whether git_merge_add() could be done. An exit status. */
int git_merge_check(struct cli *c, const char *dir, const char *const *patterns, size_t count);
/* For files of these patterns in the clone around dir. Doing it again is harmless. */
int git_merge_add(struct cli *c, const char *dir, const char *const *patterns, size_t count);
/* Both files are byte for byte as they were before. *removed: there was something. */
int git_merge_remove(struct cli *c, const char *dir, bool *removed);

#endif
