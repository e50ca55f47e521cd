/*
 * replace.h - reading files that others edit, and replacing them so that no write of theirs is
 * lost.
 *
 * A file is replaced by exchange: the new text is written beside it, flushed, and both change names
 * in one step (renameat2(2), RENAME_EXCHANGE). What was displaced is then read again: if it is not
 * what the new text was made from, somebody wrote in between, and the caller takes that in. Where
 * the file system has no exchange, the file gets a second name by link(2) before rename(2) replaces
 * it: what was displaced is at hand as well, but a file put there between the two calls is not
 * seen.
 *
 * The text beside is `.<name>.strata-new` in the same directory. A process may die with it there,
 * so the caller writes down first which inode it has: with that inode it is
 * ours and can go, with another it is what was displaced, and has to be looked at.
 */
#ifndef ST_FILES_REPLACE_H
#define ST_FILES_REPLACE_H

#include "core/base.h"
#include "store/env.h"
#include "store/fault.h"

#include <sys/types.h>

/* Files with views and tracked documents are read whole. Larger ones are no text that people and
 * agents edit. Bytes. */
#define ST_FILE_SIZE_MAX (64u * 1024 * 1024)

/* What stat(2) says, to see that a file has changed without reading it. */
struct st_file_stamp {
    uint64_t size, inode;
    int64_t mtime_ns, ctime_ns;
};

/* ST_OK, ST_NOT_FOUND, ST_INVALID (a symbolic link, a directory, a device). */
enum st_code st_file_stamp_get(const char *path, struct st_file_stamp *out, struct st_fault *fault);
/* When it was last changed, whatever it is; 0: it is not there. */
int64_t st_file_mtime_ns(const char *path);
bool st_file_stamp_equal(const struct st_file_stamp *a, const struct st_file_stamp *b);

/* Waits until nobody has the file open for writing: whoever empties a file and then writes it must not
 * be taken for one who wants it empty, and what he writes must not go into a file that was replaced
 * meanwhile. At most ST_WRITER_WAIT_MS: a program that writes a text is done sooner, and one that keeps its
 * file open (a log) is not waited for. Where the kernel does not tell (files of other users) it does
 * not wait. */
#define ST_WRITER_WAIT_MS 500u
void st_file_await_writers(const struct st_env *env, const char *path);

/* Appends the whole file to out. stamp may be NULL. Does not follow a symbolic link at the end.
 * ST_NOT_FOUND, ST_INVALID, ST_LIMIT (over max bytes), ... */
enum st_code st_file_get(const char *path, size_t max, struct st_buf *out,
                         struct st_file_stamp *stamp, struct st_fault *fault);
/* Writes a small file of ours: beside it, then rename. Under a lock. */
enum st_code st_file_put(const struct st_env *env, const char *path, struct st_str text, bool flush,
                         struct st_fault *fault);

/* The same where several may do it at once. A process that dies leaves what it has written, under a name
 * that ends in .new. */
enum st_code st_file_put_shared(const struct st_env *env, const char *path, struct st_str text,
                                bool flush, struct st_fault *fault);

/* The name of the text beside `path`. False: too long. */
bool st_replace_beside(const char *path, char out[]);

struct st_replace {
    char beside[4096]; /* holds what was displaced, after st_replace_exchange */
    uint64_t new_inode;
    bool existed; /* there was a file to displace */
};

/* Writes and flushes the text beside `path`, with the mode and, if it may, the owner of the file
 * that is there. */
enum st_code st_replace_prepare(const struct st_env *env, const char *path, struct st_str text,
                                struct st_replace *out, struct st_fault *fault);
/* Exchanges. Then `beside` has what was displaced (nothing when existed is false). */
enum st_code st_replace_exchange(const struct st_env *env, const char *path, struct st_replace *r,
                                 struct st_fault *fault);

#endif
