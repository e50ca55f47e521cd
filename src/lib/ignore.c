/*
 * ignore.c - views and Git: a file that is made for a view is kept out of `git add -A` by a line in
 * info/exclude of the clone; one that Git has already is written less often.
 *
 * The lines stand between two comments, so that they can be taken back:
 *   # strata: files of views
 *   /FACTS.md
 *   # strata: end
 */
#include "lib/files.h"

#include "sync/git.h"

#include <stdio.h>

static const char begin_line[] = "# strata: files of views";
static const char end_line[] = "# strata: end";

/* info/exclude is written by hand; nobody has one of this size. Bytes. */
#define EXCLUDE_SIZE_MAX (1024u * 1024)

bool st_git_has(const char *root, const char *path)
{
    char spec[ST_PATH_SIZE + 16], dir[ST_PATH_SIZE + 8];
    struct st_git git;
    struct st_fault fault;
    snprintf(spec, sizeof spec, ":(literal,top)%s", path);
    snprintf(dir, sizeof dir, "%s/.git", root);
    const char *const args[] = {"ls-files", "--error-unmatch", "--", spec, NULL};
    struct st_git_call call = {.args = args};
    return st_git_init(&git, st_alloc_libc(), dir, &fault) == ST_OK &&
           st_git_run(&git, &call) == ST_OK && call.status == 0;
}

/* gitignore(5): a leading slash ties it to the top; what could be a pattern is escaped. */
static void add_pattern(struct st_buf *out, const char *path)
{
    st_buf_add_char(out, '/');
    for (const char *p = path; *p != '\0'; p++) {
        if (strchr("*?[\\", *p) != NULL)
            st_buf_add_char(out, '\\');
        st_buf_add_char(out, *p);
    }
}

/* The text without the pattern, and with it again when wanted. False: it is as it should be. */
static bool rewrite(struct st_str text, struct st_str pattern, bool ignored, struct st_buf *out)
{
    struct st_buf ours;
    struct st_str line;
    bool inside = false, there = false;
    st_buf_init(&ours, st_alloc_libc());
    while (st_line_next(&text, &line)) {
        bool mark = st_str_equal(line, st_str_of(inside ? end_line : begin_line));
        if (mark) {
            inside = !inside;
            continue;
        }
        bool same = st_str_equal(line, pattern);
        there = there || same;
        if (inside && same)
            continue;
        st_buf_add_str(inside ? &ours : out, line);
        st_buf_add_char(inside ? &ours : out, '\n');
    }
    if (ignored) {
        st_buf_add_str(&ours, pattern);
        st_buf_add_char(&ours, '\n');
    }
    if (ours.n > 0) {
        st_buf_add_text(out, begin_line);
        st_buf_add_char(out, '\n');
        st_buf_add_str(out, st_buf_str(&ours));
        st_buf_add_text(out, end_line);
        st_buf_add_char(out, '\n');
    }
    bool good = !ours.failed && !out->failed;
    st_buf_release(&ours);
    return good && there != ignored;
}

/* Reads, changes, replaces; under the lock, as all work trees of the clone share the file. */
static enum st_code change(strata *s, const char *file, const char *path, bool ignored,
                           struct st_fault *fault)
{
    struct st_buf text, out, pattern;
    st_buf_init(&text, st_alloc_libc());
    st_buf_init(&out, st_alloc_libc());
    st_buf_init(&pattern, st_alloc_libc());
    add_pattern(&pattern, path);
    enum st_code code = st_file_get(file, EXCLUDE_SIZE_MAX, &text, NULL, fault);
    if ((code == ST_OK || code == ST_NOT_FOUND) && !pattern.failed &&
        rewrite(st_buf_str(&text), st_buf_str(&pattern), ignored, &out))
        code = st_file_put(s->log.env, file, st_buf_str(&out), true, fault);
    st_buf_release(&text);
    st_buf_release(&out);
    st_buf_release(&pattern);
    return code;
}

void st_git_ignore(strata *s, const char *path, bool ignored)
{
    char file[ST_PATH_SIZE], lock[ST_PATH_SIZE + 32];
    struct st_fault fault;
    int fd = -1;
    if (!st_find_exclude(s->files->root, file))
        return;
    snprintf(lock, sizeof lock, "%s/views/exclude.lock", s->log.dir);
#ifndef ST_DEFECT_EXCLUDE_UNLOCKED
    int locked = st_files_lock(s, lock, &fd, s->log.wait_ms);
#else
    int locked = STRATA_OK;
#endif
    if (locked != STRATA_OK) {
        st_lib_notice(s, "Git does not ignore %s: %s", path, s->error.message);
    } else {
        enum st_code code = change(s, file, path, ignored, &fault);
        if (code != ST_OK && code != ST_NOT_FOUND)
            st_lib_notice(s, "Git does not ignore %s: %s", path, fault.message);
    }
    if (fd >= 0)
        s->log.env->close(s->log.env->ctx, fd);
}
