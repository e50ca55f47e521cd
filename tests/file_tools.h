/*
 * file_tools.h - files of workspaces, as editors and people change them: what the tests of views and
 * tracked documents share. What cannot be done fails the test.
 */
#ifndef TEST_FILE_TOOLS_H
#define TEST_FILE_TOOLS_H

#include "lib_world.h"

void file_put(const char *path, const char *text, size_t n);
void file_put_text(const char *path, const char *text);
/* The whole file; freed by the caller. */
char *file_get(const char *path);
bool file_has(const char *path, const char *text);
void file_must_have(const char *path, const char *text);
/* Replaces the first `from` in a file by `to`, in place. */
void file_edit(const char *path, const char *from, const char *to);
/* Takes the line with this text out. */
void file_cut_line(const char *path, const char *text);

/* A view, in a file of the work tree. */
void files_add_view(strata *s, const char *name, const char *path, bool committed);
/* strata_files_update(): how many edits were taken in. */
size_t files_update(strata *s, unsigned flags);
void files_update_by(const char *name);
/* How many names of a directory have a text in them. */
size_t files_count(const char *dir, const char *part);
/* How often an attribute was written. */
size_t files_writes_of(strata *s, const char *entity, const char *attribute);
/* Nothing that belongs to a replacement lies around in the workspace "a". */
void files_are_clean(void);

#endif
