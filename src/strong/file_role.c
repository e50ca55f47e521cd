/*
 * file_role.c - the role of the coordinator: <state>/strong/coordinator, one line that names the
 * directory which has it, by its fingerprint (the inode and birth time of `log` and `page`, the
 * file system), and who gave it that role. A copy has another fingerprint, and so not the role.
 */
#include "strong/file.h"

#include "store/log_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ROLE_SIZE 256

static int role_text(const struct st_identity *id, const char *by, char out[ROLE_SIZE])
{
    return snprintf(out, ROLE_SIZE,
                    "{\"format\":1,\"inode\":%" PRIu64 ",\"birth\":%" PRIu64 ",\"fs\":\"%016" PRIx64
                    "\",\"page_inode\":%" PRIu64 ",\"page_birth\":%" PRIu64 ",\"by\":\"%.64s\"}\n",
                    id->inode, id->birth_ns, id->fs_id, id->page_inode, id->page_birth_ns, by);
}

/* The part that names the directory: all before the name of who gave the role. */
static size_t role_directory(const char *text)
{
    const char *by = strstr(text, ",\"by\":");
    return by != NULL ? (size_t)(by - text) : 0;
}

static enum st_code role_path(struct st_file *f, char out[ST_PATH_SIZE])
{
    int n = snprintf(out, ST_PATH_SIZE, "%s/coordinator", f->log.dir);
    return n < ST_PATH_SIZE ? ST_OK : st_fail(&f->order.fault, ST_LIMIT, "the path is too long");
}

static enum st_code role_write(struct st_file *f, const char *text, size_t n)
{
    enum st_code code = st_log_replace(&f->log, "coordinator", text, n);
    if (code != ST_OK)
        f->order.fault = f->log.fault;
    return code;
}

enum st_code st_role_take(struct st_file *f, const char *by)
{
    char text[ROLE_SIZE];
    int n = role_text(&f->log.identity, by, text);
    return role_write(f, text, (size_t)n);
}

enum st_code st_role_give_up(struct st_file *f)
{
    static const char nobody[] = "{\"format\":1,\"by\":\"\"}\n";
    return role_write(f, nobody, sizeof nobody - 1);
}

/* It is asked for with every entry. Another file comes by that name, with its directory or without, or its
 * bytes change, which the system tells by a time: not within one of its ticks, so what has just changed is
 * read again. */
#define SETTLED_MS 1000

static bool still_ours(const struct st_file *f, const char *path)
{
    const struct st_role *r = &f->role;
    struct st_file_info now;
    if (r->epoch == 0 || r->epoch != f->log.identity.epoch)
        return false;
#ifdef ST_DEFECT_ROLE_REMEMBERED
    return true;
#endif
    return f->log.env->look(f->log.env->ctx, path, &now) >= 0 && now.inode == r->inode &&
           now.birth_ns == r->birth_ns && now.changed_ns == r->changed_ns;
}

/* Looked at before it is read; nothing is noted of what may change without being seen. */
static void note(const struct st_file *f, const char *path, struct st_role *out)
{
    const struct st_env *env = f->log.env;
    struct st_file_info info;
    *out = (struct st_role){.epoch = 0};
    if (env->look(env->ctx, path, &info) < 0)
        return;
    uint64_t changed_ms = info.changed_ns / ST_NS_PER_MS, now_ms = env->wall_ms(env->ctx);
    if (changed_ms != 0 && changed_ms < now_ms && now_ms - changed_ms >= SETTLED_MS)
        *out = (struct st_role){f->log.identity.epoch, info.inode, info.birth_ns, info.changed_ns};
}

static bool names_us(const struct st_file *f, const char *path, char have[ROLE_SIZE])
{
    const struct st_env *env = f->log.env;
    char should[ROLE_SIZE];
    role_text(&f->log.identity, "", should);
    size_t directory = role_directory(should);
    int fd = env->open(env->ctx, path, ST_OPEN_READ);
    ssize_t n = fd >= 0 ? env->pread(env->ctx, fd, have, ROLE_SIZE - 1, 0) : fd;
    if (fd >= 0)
        env->close(env->ctx, fd);
    have[n > 0 ? n : 0] = '\0';
    return n > 0 && strncmp(have, should, directory) == 0 && role_directory(have) == directory;
}

enum st_code st_role_check(struct st_file *f)
{
    char have[ROLE_SIZE], path[ST_PATH_SIZE];
    struct st_role seen;
    enum st_code code = role_path(f, path);
    if (code != ST_OK || still_ours(f, path))
        return code;
    note(f, path, &seen);
    bool us = names_us(f, path, have);
    f->role = us ? seen : (struct st_role){.epoch = 0};
    if (us)
        return ST_OK;
    if (strstr(have, "\"inode\":") == NULL) { /* never had, or given up */
        st_fail(&f->order.fault, ST_UNAVAILABLE, "another copy of this workspace decides");
        return st_hint(&f->order.fault,
                       "nothing was recorded; run this there (`strata coordinator show` says `this "
                       "copy decides` on it); if it is gone for good, a person says so here with "
                       "`strata coordinator move --force`");
    }
    st_fail(&f->order.fault, ST_UNAVAILABLE,
            "this copy of the workspace does not decide: %s was copied or restored, and two that "
            "decide would let an operation run twice",
            f->log.dir);
    return st_hint(&f->order.fault, "nothing was recorded; if the other one is gone for good, a "
                                    "person says so with `strata coordinator move --force`");
}

void st_role_place(const struct st_file *f, char out[ST_PLACE_SIZE])
{
    const struct st_identity *id = &f->log.identity;
    uint64_t directory[] = {id->replica, id->inode,      id->birth_ns,
                            id->fs_id,   id->page_inode, id->page_birth_ns};
    snprintf(out, ST_PLACE_SIZE, "%s:%016" PRIx64, id->name,
             st_checksum(directory, sizeof directory));
}
