/*
 * files_replace.c - replacing files of the work tree, and putting things right after a process died
 * in the middle.
 *
 * <home>/writing, while a file is being replaced:
 *   <path> <inode of the new text> <checksum of the new text> <of the text it was made from>
 * with tabs between them. See st_files_recover() for what it is good for.
 */
#include "lib/files.h"

#include "store/log_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

void st_files_looked(strata *s, struct st_entry *e, const struct st_file_stamp *stamp,
                     struct st_str text)
{
    e->stamp = *stamp;
    e->content = st_checksum(text.p, text.n);
    e->looked_ns = st_files_now_ns();
    s->files->changed = true;
}

static void journal_path(const struct st_files *f, char out[ST_PATH_SIZE + 16])
{
    snprintf(out, ST_PATH_SIZE + 16, "%s/writing", f->home);
}

/* Where what was displaced is kept until it has been taken in: `.<name>.strata-old`. */
static void old_path(const char *beside, char out[ST_PATH_SIZE])
{
    snprintf(out, ST_PATH_SIZE, "%.*sold", (int)(strlen(beside) - 3), beside);
}

static enum st_code journal_write(strata *s, const struct st_entry *e, const struct st_replace *r,
                                  struct st_str text, struct st_str made_from,
                                  struct st_fault *fault)
{
    char path[ST_PATH_SIZE + 16], line[ST_PATH_SIZE + 128];
    journal_path(s->files, path);
    int n =
        snprintf(line, sizeof line, "%s\t%" PRIu64 "\t%016" PRIx64 "\t%016" PRIx64 "\n", e->path,
                 r->new_inode, st_checksum(text.p, text.n), st_checksum(made_from.p, made_from.n));
    return st_file_put(s->log.env, path, (struct st_str){line, (size_t)n}, false, fault);
}

static void journal_end(strata *s, const char *beside)
{
    const struct st_env *env = s->log.env;
    char path[ST_PATH_SIZE + 16], old[ST_PATH_SIZE];
    old_path(beside, old);
    env->unlink(env->ctx, beside);
    env->unlink(env->ctx, old);
    journal_path(s->files, path);
    env->unlink(env->ctx, path);
}

/* Reads what was displaced; keeps it under its other name if it is something new. */
static int look_at_displaced(strata *s, const struct st_replace *r, struct st_str made_from,
                             struct st_buf *displaced)
{
    const struct st_env *env = s->log.env;
    struct st_fault fault;
    char old[ST_PATH_SIZE];
    if (!r->existed)
        return made_from.n == 0 ? STRATA_OK : ST_NOT_FOUND;
    size_t start = displaced->n;
    st_file_await_writers(env, r->beside);
    enum st_code code = st_file_get(r->beside, ST_FILE_SIZE_MAX, displaced, NULL, &fault);
    if (code != ST_OK)
        return st_lib_fault(s, &fault);
    struct st_str is = {displaced->p + start, displaced->n - start};
#ifndef ST_DEFECT_DISPLACED_UNSEEN
    if (!st_str_equal(is, made_from)) {
        old_path(r->beside, old);
        env->rename(env->ctx, r->beside, old);
        return ST_CONFLICT;
    }
#endif
    return STRATA_OK;
}

int st_files_replace(strata *s, struct st_entry *e, const char *path, struct st_str text,
                     struct st_str made_from, struct st_buf *displaced)
{
    struct st_replace r;
    struct st_fault fault;
    struct st_file_stamp stamp;
    enum st_code code = st_replace_prepare(s->log.env, path, text, &r, &fault);
    if (code == ST_OK)
        code = journal_write(s, e, &r, text, made_from, &fault);
    st_file_await_writers(s->log.env, path);
    if (code == ST_OK)
        code = st_replace_exchange(s->log.env, path, &r, &fault);
    if (code != ST_OK)
        return st_lib_fault(s, &fault);
    int result = look_at_displaced(s, &r, made_from, displaced);
    if (result == ST_NOT_FOUND)
        result = STRATA_OK; /* it was removed meanwhile, and is there again */
    e->looked_ns = 0;
    if (st_file_stamp_get(path, &stamp, &fault) == ST_OK && stamp.inode == r.new_inode)
        st_files_looked(s, e, &stamp, text);
    s->files->changed = true;
    if (result == STRATA_OK)
        journal_end(s, r.beside);
    if (s->files->result != NULL)
        s->files->result->written++;
    return result;
}

int st_files_take_away(strata *s, struct st_entry *e, const char *path, struct st_str made_from,
                       struct st_buf *displaced)
{
    const struct st_env *env = s->log.env;
    struct st_replace r = {.existed = true};
    struct st_fault fault;
    if (!st_replace_beside(path, r.beside))
        return st_lib_fail(s, ST_LIMIT, "the name of %s is too long", path);
    enum st_code code = journal_write(s, e, &r, (struct st_str){"", 0}, made_from, &fault);
    int moved = code == ST_OK ? env->rename(env->ctx, path, r.beside) : 0;
    if (moved < 0 && moved != -ENOENT)
        code = st_fail_system(&fault, moved, "cannot remove %s", path);
    if (code != ST_OK)
        return st_lib_fault(s, &fault);
    int result = moved == 0 ? look_at_displaced(s, &r, made_from, displaced) : STRATA_OK;
    if (result == STRATA_OK)
        journal_end(s, r.beside);
    return result;
}

int st_files_put_aside(strata *s, const char *path, struct st_str text, const char *why)
{
    const struct st_env *env = s->log.env;
    char dir[ST_PATH_SIZE], file[ST_PATH_SIZE];
    struct st_fault fault;
    const char *base = strrchr(path, '/');
    base = base != NULL ? base + 1 : path;
    if (snprintf(dir, sizeof dir, "%s/views/aside", s->log.dir) >= (int)sizeof dir ||
        snprintf(file, sizeof file, "%s/%016" PRIx64 "-%s", dir, st_checksum(text.p, text.n),
                 base) >= (int)sizeof file)
        return st_lib_fail(s, ST_LIMIT, "the path of %s is too long", base);
    env->mkdir(env->ctx, dir);
    if (st_file_put_shared(env, file, text, true, &fault) != ST_OK) {
        st_lib_notice(s, "%s: %s; it could not be put aside: %s", base, why, fault.message);
        return st_lib_fault(s, &fault);
    }
    st_lib_notice(s, "%s: %s; the text as it was is in %s", base, why, file);
    return STRATA_OK;
}

/* --- after a death -----------------------------------------------------------------------------
 */

struct journal {
    char path[ST_PATH_SIZE];
    uint64_t inode, text, made_from;
};

static bool journal_read(strata *s, struct journal *j)
{
    char path[ST_PATH_SIZE + 16];
    struct st_buf text;
    struct st_fault fault;
    bool good = false;
    journal_path(s->files, path);
    st_buf_init(&text, st_alloc_libc());
    if (st_file_get(path, sizeof j->path, &text, NULL, &fault) == ST_OK) {
        st_buf_add_char(&text, '\0');
        good = !text.failed && sscanf(text.p, "%4095[^\t]\t%" SCNu64 "\t%" SCNx64 "\t%" SCNx64,
                                      j->path, &j->inode, &j->text, &j->made_from) == 4;
        if (!good)
            s->log.env->unlink(s->log.env->ctx, path);
    }
    st_buf_release(&text);
    return good;
}

/* A text that was displaced and not looked at: as if it had been found in the file just now. */
static int absorb(strata *s, const struct journal *j, const char *path, struct st_str unseen)
{
    struct st_buf now;
    struct st_fault fault;
    struct st_entry *e = st_files_entry(s, j->path);
    st_buf_init(&now, st_alloc_libc());
    enum st_code code = st_file_get(path, ST_FILE_SIZE_MAX, &now, NULL, &fault);
    uint64_t sum = st_checksum(now.p, now.n);
    int result = STRATA_OK;
    if (code == ST_OK && e != NULL && (sum == j->text || sum == j->made_from))
        result = e->kind == ST_ENTRY_VIEW ? st_view_absorb(s, e, unseen, st_buf_str(&now))
                                          : st_document_absorb(s, e, unseen, st_buf_str(&now));
    else
        result = st_files_put_aside(s, path, unseen,
                                    "a process died while it was written, and it has been "
                                    "changed since");
    st_buf_release(&now);
    return result;
}

/* A text that was displaced, under one of its names. What cannot be read or kept stays where it is,
 * and the journal with it. */
static int recover_one(strata *s, const struct journal *j, const char *path, const char *name)
{
    struct st_buf text;
    struct st_fault fault;
    st_buf_init(&text, st_alloc_libc());
    enum st_code code = st_file_get(name, ST_FILE_SIZE_MAX, &text, NULL, &fault);
    int result = STRATA_OK;
    if (code == ST_OK && st_checksum(text.p, text.n) != j->made_from)
        result = absorb(s, j, path, st_buf_str(&text));
    else if (code != ST_OK && code != ST_NOT_FOUND)
        result = st_lib_fault(s, &fault);
    if (result != STRATA_OK)
        st_lib_hint(s, "a text that nobody has seen yet is there under a name that ends in "
                       ".strata-old or .strata-new; a person has to look at it");
    st_buf_release(&text);
    return result;
}

/*
 * A process died between writing the journal and removing it. The text beside is ours, and not in
 * place yet, if it has the inode of the journal: it goes. With another inode, or under its other
 * name, it is what was displaced; if that is not what the new text was made from, nobody has seen
 * it.
 */
int st_files_recover(strata *s)
{
    struct journal j;
    struct st_fault fault;
    struct st_file_stamp stamp;
    char path[ST_PATH_SIZE], beside[ST_PATH_SIZE], old[ST_PATH_SIZE];
    if (!journal_read(s, &j) || st_files_path(s, j.path, path) != STRATA_OK ||
        !st_replace_beside(path, beside))
        return STRATA_OK;
    old_path(beside, old);
    const char *names[] = {old, beside};
    int result = STRATA_OK;
    for (size_t i = 0; i < 2 && result == STRATA_OK; i++) {
        bool ours =
            i == 1 && st_file_stamp_get(beside, &stamp, &fault) == ST_OK && stamp.inode == j.inode;
#ifndef ST_DEFECT_RECOVER_FORGETS
        if (!ours)
            result = recover_one(s, &j, path, names[i]);
#else
        (void)ours, (void)names, (void)recover_one;
#endif
    }
    if (result == STRATA_OK)
        journal_end(s, beside);
    return result;
}
