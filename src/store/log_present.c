/*
 * log_present.c - whether the state is still the one that was opened.
 *
 * It may be removed, or put aside for a copy of itself, under a process that goes on. What that has mapped and
 * open is then not what the path leads to: what it writes would be acknowledged and seen by nobody, and what
 * it reads is the past. The shared page tells: while it is mapped, no other file has its inode.
 */
#include "store/log_internal.h"

#include <errno.h>

enum st_code st_log_replaced(struct st_log *log)
{
    st_fail(&log->fault, ST_UNAVAILABLE,
            "the state in %s was removed or replaced; nothing was recorded", log->dir);
    return st_hint(&log->fault, "start again to open what is there now");
}

enum st_code st_log_present(struct st_log *log, uint64_t after_ns)
{
    const struct st_env *env = log->env;
    struct st_file_info info;
    char path[ST_PATH_SIZE];
    uint64_t now = env->boot_ns(env->ctx);
    if (log->page == NULL || now - log->looked_ns < after_ns)
        return ST_OK;
#ifdef ST_DEFECT_REPLACED_UNSEEN
    return ST_OK;
#endif
    enum st_code code = st_path(&log->fault, path, log->dir, "page", NULL);
    if (code != ST_OK)
        return code;
    int r = env->look(env->ctx, path, &info);
    if (r < 0 && r != -ENOENT && r != -ENOTDIR)
        return st_fail_system(&log->fault, r, "cannot look at %s", path);
    if (r < 0 || info.inode != log->page_inode)
        return st_log_replaced(log);
    log->looked_ns = now;
    return ST_OK;
}
