/*
 * user_file.h - small text files that belong to the user and get a block of ours: AGENTS.md,
 * info/attributes. They are read whole, and replaced by a new file beside them, so that nobody ever
 * sees half of one.
 */
#ifndef ST_CLI_USER_FILE_H
#define ST_CLI_USER_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* A page or two; nobody has one of this size. Bytes. */
#define USER_FILE_SIZE_MAX (1024 * 1024)

/* The text with a NUL behind it, to be freed; "" when there is no file. NULL with errno: it cannot be
 * read; ELOOP: it is a symbolic link; EFBIG: too long; EISDIR: no regular
 * file; EINVAL: it has a NUL, so is no text. */
char *user_file_read(const char *path);

/* Flushed, with the mode of the file that it replaces. False with errno: that file is as it was. */
bool user_file_replace(const char *path, const char *text, size_t n);

#endif
