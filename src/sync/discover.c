/* discover.c - which workspace the remotes of a clone carry, before there is a state. */
#include "sync/sync_internal.h"

#include <stdio.h>

/* Of one commit; what cannot be read is passed over: it is refused when it is to be taken in. */
static uint64_t workspace_of(struct st_sync *y, const char *commit)
{
    char text[ST_MANIFEST_TEXT_SIZE], object[ST_OBJECT_ID_SIZE + 8];
    struct st_manifest m;
    snprintf(object, sizeof object, "%s:strata", commit);
    const char *const args[] = {"cat-file", "blob", object, NULL};
    bool read = st_git_line(&y->git, args, text, sizeof text) == ST_OK;
    return read && st_manifest_parse(text, &m) == ST_OK ? m.workspace : 0;
}

static enum st_code several(struct st_sync *y)
{
    st_fail(&y->fault, ST_CONFLICT, "%s carries more than one workspace", y->remote);
    return st_hint(&y->fault, "nothing was made; a person has to look which references under "
                              "refs/strata of it are wanted");
}

static enum st_code look_at(struct st_sync *y, const char *remote, bool look_only,
                            struct st_found *out)
{
    char url[ST_REMOTE_SIZE];
    enum st_code code = st_sync_remote(y, remote, url);
    if (code == ST_OK)
        code = st_sync_list(y);
    if (code != ST_OK || y->ref_count == 0)
        return code;
    out->workspace = look_only ? 1 : 0;
    if (!look_only)
        code = st_sync_fetch(y);
    for (size_t i = 0; !look_only && code == ST_OK && i < y->ref_count; i++) {
        uint64_t workspace = workspace_of(y, y->refs[i].fetched);
        if (workspace != 0 && out->workspace != 0 && workspace != out->workspace)
            return several(y);
        if (workspace != 0)
            out->workspace = workspace;
    }
    if (out->workspace != 0)
        snprintf(out->remote, sizeof out->remote, "%s", y->remote);
    return code;
}

/* A remote that cannot be reached is noted, and the next one is asked. */
static enum st_code ask(struct st_sync *y, const char *remote, bool look_only, struct st_found *out)
{
    enum st_code code = look_at(y, remote, look_only, out);
    if (code != ST_UNAVAILABLE && code != ST_TIMEOUT)
        return code;
    snprintf(out->unreached, sizeof out->unreached, "%s", remote);
    return ST_OK;
}

static enum st_code ask_all(struct st_sync *y, bool look_only, struct st_found *out)
{
    const char *const args[] = {"remote", NULL};
    struct st_buf names;
    st_buf_init(&names, y->log->alloc);
    struct st_git_call call = {.args = args, .out = &names};
    enum st_code code = ask(y, y->git.dir, look_only, out);
    if (code == ST_OK)
        code = st_git_must(&y->git, &call);
    st_buf_add_char(&names, '\0');
    if (code == ST_OK && names.failed)
        code = st_fail(&y->fault, ST_NO_MEMORY, "out of memory");
    char *rest = names.p, *name;
    while (code == ST_OK && out->workspace == 0 && (name = strsep(&rest, "\n")) != NULL)
        if (name[0] != '\0')
            code = ask(y, name, look_only, out);
    st_buf_release(&names);
    return code;
}

enum st_code st_sync_discover(const struct st_env *env, const struct st_alloc *alloc,
                              const char *git_dir, const char *remote, bool look_only,
                              uint64_t network_ms, struct st_found *out, struct st_fault *fault)
{
    /* There is no log yet; nothing of it is looked at but this. */
    struct st_log log = {.env = env, .alloc = alloc};
    struct st_sync y = {.log = &log, .lock_fd = -1};
    memset(out, 0, sizeof *out);
    enum st_code code = st_git_init(&y.git, alloc, git_dir, &y.fault);
    y.git.network_ms = network_ms;
    if (code == ST_OK)
        code = remote != NULL ? look_at(&y, remote, look_only, out) : ask_all(&y, look_only, out);
    if (code != ST_OK)
        *fault = y.fault;
    st_sync_end(&y);
    return code;
}
