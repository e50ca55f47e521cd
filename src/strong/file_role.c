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

enum st_code st_role_check(struct st_file *f)
{
    const struct st_env *env = f->log.env;
    char have[ROLE_SIZE], should[ROLE_SIZE], path[ST_PATH_SIZE];
    enum st_code code = role_path(f, path);
    if (code != ST_OK)
        return code;
    role_text(&f->log.identity, "", should);
    int fd = env->open(env->ctx, path, ST_OPEN_READ);
    ssize_t n = fd >= 0 ? env->pread(env->ctx, fd, have, sizeof have - 1, 0) : fd;
    if (fd >= 0)
        env->close(env->ctx, fd);
    have[n > 0 ? n : 0] = '\0';
    size_t directory = role_directory(should);
    if (n > 0 && strncmp(have, should, directory) == 0 && role_directory(have) == directory)
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
