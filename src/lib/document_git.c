/*
 * document_git.c - texts of tracked files that Git has put there: by a checkout, a reset, a stash, a rebase.
 *
 * Such a text is no edit. Its lines are missing because they came later or elsewhere, and nobody has
 * taken them out. So it is left as it is ("held") until somebody edits it, and the document goes on
 * without this file. How it is told from an edit:
 *
 * - Git has it exactly so: its index knows the file by the times that it has now, and HEAD has the same.
 *   Who types an earlier text again has other times.
 * - It does not come from the text that the document has: that one is not in the history of the file
 *   up to HEAD. What was pulled on top of it is an edit, and so is a revert that was committed on top.
 * - It is a text that the document had before, or was committed before the document got the one it has,
 *   or that one was committed elsewhere. An edit that was committed before we saw it is none of these.
 *
 * A file with a merge that is not resolved is left alone, too, until it is.
 */
#include "lib/document.h"

#include "sync/git.h"

#include <stdio.h>
#include <stdlib.h>

struct question {
    struct st_git git;
    struct st_fault fault;
    const char *path;             /* of the file, below the top of the work tree */
    char spec[ST_PATH_SIZE + 16]; /* the same, as what git takes for a path and no pattern */
};

static bool begin(struct question *q, const struct st_document *d)
{
    char dir[ST_PATH_SIZE + 8];
    q->path = d->e->path;
    snprintf(q->spec, sizeof q->spec, ":(literal,top)%s", q->path);
    snprintf(dir, sizeof dir, "%s/.git", d->s->files->root);
    return st_git_init(&q->git, st_alloc_libc(), dir, &q->fault) == ST_OK;
}

static bool succeeds(struct question *q, const char *const *args)
{
    struct st_git_call call = {.args = args};
    return st_git_run(&q->git, &call) == ST_OK && call.status == 0;
}

/* The index was written after the file: else Git has not looked at it, and need not be asked. */
static bool index_is_newer(const struct st_document *d, const struct st_file_stamp *stamp)
{
    char index[ST_PATH_SIZE];
    return st_find_index(d->s->files->root, index) && st_file_mtime_ns(index) >= stamp->mtime_ns;
}

static bool is_as_committed(struct question *q)
{
    char name[ST_PATH_SIZE + 8], id[ST_OBJECT_ID_SIZE];
    snprintf(name, sizeof name, "HEAD:%s", q->path);
    const char *const same[] = {"diff-index", "--quiet", "HEAD", "--", q->spec, NULL};
    const char *const there[] = {"rev-parse", "--verify", "--quiet", name, NULL};
    return succeeds(q, same) && st_git_line(&q->git, there, id, sizeof id) == ST_OK;
}

static bool has_marker(struct st_str text)
{
    struct st_str line;
    while (st_line_next(&text, &line))
        if (line.n >= 8 && memcmp(line.p, "<<<<<<< ", 8) == 0)
            return true;
    return false;
}

static bool is_unmerged(struct question *q)
{
    struct st_buf out;
    const char *const args[] = {"ls-files", "--unmerged", "--", q->spec, NULL};
    struct st_git_call call = {.args = args, .out = &out};
    st_buf_init(&out, st_alloc_libc());
    bool unmerged = st_git_run(&q->git, &call) == ST_OK && call.status == 0 && out.n > 0;
    st_buf_release(&out);
    return unmerged;
}

/* The object that a text of this file is, or would be, in Git. */
static bool object_of(struct question *q, struct st_str text, char id[ST_OBJECT_ID_SIZE])
{
    char path[ST_PATH_SIZE + 16];
    struct st_buf out;
    snprintf(path, sizeof path, "--path=%s", q->path);
    const char *const args[] = {"hash-object", "--stdin", path, NULL};
    struct st_git_call call = {.args = args, .input = text, .out = &out};
    st_buf_init(&out, st_alloc_libc());
    bool good = st_git_run(&q->git, &call) == ST_OK && call.status == 0 && out.n > 0 &&
                out.n <= ST_OBJECT_ID_SIZE;
    if (good)
        snprintf(id, ST_OBJECT_ID_SIZE, "%.*s", (int)out.n - 1, out.p);
    st_buf_release(&out);
    return good && st_object_id_valid(id);
}

static bool is_in_history(struct question *q, const char *id)
{
    char find[ST_OBJECT_ID_SIZE + 16], commit[ST_OBJECT_ID_SIZE];
    snprintf(find, sizeof find, "--find-object=%s", id);
    const char *const args[] = {"log", "-1", "--format=%H", find, "HEAD", "--", q->spec, NULL};
    return st_git_line(&q->git, args, commit, sizeof commit) == ST_OK;
}

static bool is_known_to_git(struct question *q, const char *id)
{
    const char *const args[] = {"cat-file", "-e", id, NULL};
    return succeeds(q, args);
}

/* Whether the file was last committed before this moment. */
static bool is_older(struct question *q, uint64_t time_ms)
{
    char seconds[32];
    const char *const args[] = {"log", "-1", "--format=%ct", "HEAD", "--", q->spec, NULL};
    return st_git_line(&q->git, args, seconds, sizeof seconds) == ST_OK &&
           strtoull(seconds, NULL, 10) < time_ms / 1000;
}

/* `now`: the text that the document has, since time_ms. */
static bool is_no_edit(struct question *q, struct st_str now, uint64_t time_ms, bool known)
{
    char id[ST_OBJECT_ID_SIZE];
#ifdef ST_DEFECT_GIT_HOLDS
    return true;
#endif
    return object_of(q, now, id) && !is_in_history(q, id) &&
           (known || is_older(q, time_ms) || is_known_to_git(q, id));
}

static int hold(struct st_document *d, const struct st_version *was)
{
    d->e->held = true;
    d->e->base = "";
    d->s->files->changed = true;
    return was != NULL ? st_document_set_base(d, was) : STRATA_OK;
}

static void tell(struct st_document *d, bool known)
{
    const char *path = d->e->path;
    st_lib_notice(
        d->s,
        "%s has %s, as Git has it: the file is left so, and nothing of the document "
        "is removed; `strata track %s` writes the document's text, `strata track --take %s` "
        "makes this one the document's",
        path, known ? "an older text" : "a text of another commit", path, path);
}

int st_document_hold(struct st_document *d, struct st_str text, const struct st_file_stamp *stamp,
                     bool *held)
{
    struct question q;
    struct st_buf now;
    struct st_version *was = NULL;
    *held = false;
#ifdef ST_DEFECT_GIT_EDITS
    return STRATA_OK;
#endif
    if (d->h.live == 0 || !begin(&q, d))
        return STRATA_OK;
    if (has_marker(text) && is_unmerged(&q)) {
        *held = d->e->held = true;
        st_lib_notice(d->s, "%s has a merge that is not resolved: it is taken in when it is",
                      d->e->path);
        return STRATA_OK;
    }
    if (!index_is_newer(d, stamp) || !is_as_committed(&q))
        return STRATA_OK;
    const struct st_version shown = d->h.list[d->h.shown];
    st_buf_init(&now, st_alloc_libc());
    int code = st_version_text(d->s, d->entity, &shown, &now);
    if (code == STRATA_OK && !st_str_equal(st_buf_str(&now), text)) {
        code = st_document_version_with(d, text, &was);
        *held = code == STRATA_OK && is_no_edit(&q, st_buf_str(&now), shown.time_ms, was != NULL);
    }
    st_buf_release(&now);
    if (code == STRATA_OK && *held) {
        code = hold(d, was);
        tell(d, was != NULL);
    }
    return code;
}
