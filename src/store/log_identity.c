/*
 * log_identity.c - who writes here: the identity file, and where everything lies.
 *
 * The identity file is one line of JSON with the fields of struct st_identity in this order:
 *   {"format":1,"workspace":"<16 hex>","replica":"<16 hex>","epoch":"<16 hex>",
 *    "boot":"<32 hex>","inode":N,"birth":N,"fs":"<16 hex>","page_inode":N,"page_birth":N,
 *    "name":"...","reason":"..."[,"number_suffix":"..."]}
 */
#include "store/log_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum st_code st_path(struct st_fault *f, char out[ST_PATH_SIZE], const char *dir, const char *a,
                     const char *b)
{
    int n = b != NULL ? snprintf(out, ST_PATH_SIZE, "%s/%s/%s", dir, a, b)
                      : snprintf(out, ST_PATH_SIZE, "%s/%s", dir, a);
    if (n < 0 || n >= ST_PATH_SIZE)
        return st_fail(f, ST_LIMIT, "the path %.64s/... is longer than %d bytes", dir,
                       ST_PATH_SIZE - 1);
    return ST_OK;
}

enum st_code st_writer_path(struct st_fault *f, char out[ST_PATH_SIZE], const char *state_dir,
                            struct st_writer w)
{
    char name[40];
    snprintf(name, sizeof name, "%016" PRIx64 "-%016" PRIx64, w.replica, w.epoch);
    return st_path(f, out, state_dir, "log", name);
}

enum st_code st_segment_path(struct st_fault *f, char out[ST_PATH_SIZE], const char *state_dir,
                             struct st_writer w, uint64_t segment)
{
    char name[80];
    snprintf(name, sizeof name, "%016" PRIx64 "-%016" PRIx64 "/%016" PRIu64 ".jsonl", w.replica,
             w.epoch, segment);
    return st_path(f, out, state_dir, "log", name);
}
/* --- identity --------------------------------------------------------------------------------- */

#define IDENTITY_SIZE_MAX 1024

static void boot_to_hex(const uint8_t boot[16], char out[33])
{
    for (int i = 0; i < 16; i++)
        snprintf(out + (ptrdiff_t)i * 2, 3, "%02x", boot[i]);
}

static bool boot_from_hex(const char *hex, uint8_t boot[16])
{
    uint64_t half[2];
    if (strlen(hex) != 32 || !st_parse_hex64(hex, &half[0]) || !st_parse_hex64(hex + 16, &half[1]))
        return false;
    for (int i = 0; i < 16; i++)
        boot[i] = (uint8_t)(half[i / 8] >> (56 - 8 * (i % 8)));
    return true;
}

static bool identity_parse(const char *text, struct st_identity *id)
{
    char boot[33];
    int end = 0;
    memset(id, 0, sizeof *id);
    int fields = sscanf(
        text,
        "{\"format\":1,\"workspace\":\"%16" SCNx64 "\",\"replica\":\"%16" SCNx64
        "\",\"epoch\":\"%16" SCNx64 "\",\"boot\":\"%32[0-9a-f]\",\"inode\":%" SCNu64
        ",\"birth\":%" SCNu64 ",\"fs\":\"%16" SCNx64 "\",\"page_inode\":%" SCNu64
        ",\"page_birth\":%" SCNu64 ",\"name\":\"%64[A-Za-z0-9._-]\",\"reason\":\"%31[a-z]\"%n",
        &id->workspace, &id->replica, &id->epoch, boot, &id->inode, &id->birth_ns, &id->fs_id,
        &id->page_inode, &id->page_birth_ns, id->name, id->reason, &end);
    if (fields != 11 || end == 0)
        return false;
    text += end;
    end = 0;
    if (sscanf(text, ",\"number_suffix\":\"%71[A-Za-z0-9._-]\"%n", id->number_suffix, &end) == 1)
        text += end;
    return strcmp(text, "}\n") == 0 && boot_from_hex(boot, id->boot_id) && id->workspace != 0 &&
           id->replica != 0 && id->epoch != 0;
}

static int identity_format(const struct st_identity *id, char out[IDENTITY_SIZE_MAX])
{
    char boot[33];
    bool suffix = id->number_suffix[0] != '\0';
    boot_to_hex(id->boot_id, boot);
    return snprintf(out, IDENTITY_SIZE_MAX,
                    "{\"format\":1,\"workspace\":\"%016" PRIx64 "\",\"replica\":\"%016" PRIx64
                    "\",\"epoch\":\"%016" PRIx64 "\",\"boot\":\"%s\",\"inode\":%" PRIu64
                    ",\"birth\":%" PRIu64 ",\"fs\":\"%016" PRIx64 "\",\"page_inode\":%" PRIu64
                    ",\"page_birth\":%" PRIu64 ",\"name\":\"%s\",\"reason\":\"%s\"%s%s%s}\n",
                    id->workspace, id->replica, id->epoch, boot, id->inode, id->birth_ns, id->fs_id,
                    id->page_inode, id->page_birth_ns, id->name, id->reason,
                    suffix ? ",\"number_suffix\":\"" : "", id->number_suffix, suffix ? "\"" : "");
}

enum st_code st_identity_load(struct st_log *log)
{
    const struct st_env *env = log->env;
    char path[ST_PATH_SIZE], text[IDENTITY_SIZE_MAX + 1];
    enum st_code code = st_path(&log->fault, path, log->dir, "identity", NULL);
    if (code != ST_OK)
        return code;
    int fd = env->open(env->ctx, path, ST_OPEN_READ);
    if (fd == -ENOENT || fd == -ENOTDIR) {
        st_fail(&log->fault, ST_NO_WORKSPACE, "there is no Strata state in %s", log->dir);
        return st_hint(&log->fault, "run `strata init` in the workspace");
    }
    if (fd < 0)
        return st_fail_system(&log->fault, fd, "cannot read %s", path);
    ssize_t n = env->pread(env->ctx, fd, text, IDENTITY_SIZE_MAX, 0);
    env->close(env->ctx, fd);
    if (n < 0)
        return st_fail_system(&log->fault, (int)n, "cannot read %s", path);
    text[n] = '\0';
    if (strncmp(text, "{\"format\":", 10) == 0 && strtoul(text + 10, NULL, 10) > 1)
        return st_fail(&log->fault, ST_VERSION, "%s was made by a newer version of Strata", path);
    struct st_identity id;
    if (!identity_parse(text, &id)) {
        st_fail(&log->fault, ST_DAMAGED, "%s is damaged", path);
        return st_hint(&log->fault,
                       "the records are not affected; put the file back from any earlier "
                       "copy of this directory, and they go on in a new epoch");
    }
    log->identity = id;
    return ST_OK;
}

enum st_code st_log_replace(struct st_log *log, const char *name, const char *text, size_t n)
{
    const struct st_env *env = log->env;
    char to[ST_PATH_SIZE], from[ST_PATH_SIZE], new_name[64];
    snprintf(new_name, sizeof new_name, "%s.new", name);
    enum st_code code = st_path(&log->fault, to, log->dir, name, NULL);
    if (code == ST_OK)
        code = st_path(&log->fault, from, log->dir, new_name, NULL);
    if (code != ST_OK)
        return code;
    int fd = env->open(env->ctx, from, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (fd < 0)
        return st_fail_system(&log->fault, fd, "cannot create %s", from);
    int r = env->ftruncate(env->ctx, fd, 0);
    if (r >= 0)
        r = st_write_all(env, fd, text, n, 0);
    if (r >= 0)
        r = env->fdatasync(env->ctx, fd);
    env->close(env->ctx, fd);
    if (r >= 0)
        r = env->rename(env->ctx, from, to);
    if (r >= 0)
        r = env->sync_directory(env->ctx, log->dir);
    return r < 0 ? st_fail_system(&log->fault, r, "cannot write %s", to) : ST_OK;
}

enum st_code st_identity_store(struct st_log *log, const struct st_identity *id)
{
    char text[IDENTITY_SIZE_MAX];
    int n = identity_format(id, text);
    ST_ASSERT(n > 0 && n < IDENTITY_SIZE_MAX);
    return st_log_replace(log, "identity", text, (size_t)n);
}

enum st_code st_log_describe(const struct st_env *env, const char *dir,
                             const struct st_identity *identity, struct st_fault *fault)
{
    struct st_log log = {.env = env};
    if (strlen(dir) >= ST_PATH_SIZE)
        return st_fail(fault, ST_LIMIT, "the path is over %d bytes", ST_PATH_SIZE - 1);
    strcpy(log.dir, dir);
    enum st_code code = st_identity_store(&log, identity);
    if (code != ST_OK)
        *fault = log.fault;
    return code;
}

/* What tells a copied or restored state directory from the one that the identity was made in. */
enum st_code st_fingerprint(struct st_log *log, struct st_identity *id)
{
    const struct st_env *env = log->env;
    char path[ST_PATH_SIZE];
    struct st_file_info dir, page;
    enum st_code code = st_path(&log->fault, path, log->dir, "log", NULL);
    int r = code == ST_OK ? env->stat(env->ctx, path, &dir) : 0;
    if (code == ST_OK && r >= 0)
        code = st_path(&log->fault, path, log->dir, "page", NULL);
    if (code == ST_OK && r >= 0)
        r = env->stat(env->ctx, path, &page);
    if (r < 0)
        return st_fail_system(&log->fault, r, "cannot look at %s", path);
    if (code != ST_OK)
        return code;
    id->inode = dir.inode;
    id->birth_ns = dir.birth_ns;
    id->fs_id = dir.fs_id;
    id->page_inode = page.inode;
    id->page_birth_ns = page.birth_ns;
    return ST_OK;
}

bool st_fingerprint_same(const struct st_identity *a, const struct st_identity *b)
{
#ifdef ST_DEFECT_REUSE_COUNTER_AFTER_COPY
    (void)a, (void)b;
    return true;
#else
    return a->inode == b->inode && a->birth_ns == b->birth_ns && a->fs_id == b->fs_id &&
           a->page_inode == b->page_inode && a->page_birth_ns == b->page_birth_ns;
#endif
}
