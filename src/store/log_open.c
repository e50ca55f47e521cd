/* log_open.c - opening, creating and repairing the log of this copy. */
#include "store/log_internal.h"

#include <errno.h>
#include <stdio.h>

static const char *const lock_files[ST_LOCK_KINDS] = {"append.lock", "flush.lock", "intake.lock",
                                                      "index.lock"};

static enum st_code locks_open(struct st_log *log)
{
    const struct st_env *env = log->env;
    for (int i = 0; i < ST_LOCK_KINDS; i++) {
        char path[ST_PATH_SIZE];
        enum st_code code = st_path(&log->fault, path, log->dir, lock_files[i], NULL);
        if (code != ST_OK)
            return code;
        int fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
        if (fd < 0)
            return st_fail_system(&log->fault, fd, "cannot open %s", path);
        log->lock_fds[i] = fd;
    }
    return ST_OK;
}

static enum st_code log_begin(struct st_log *log, const struct st_env *env,
                              const struct st_alloc *alloc, const char *dir, const char *what)
{
    memset(log, 0, sizeof *log);
    log->env = env;
    log->alloc = alloc;
    log->fd = -1;
    log->wait_ms = ST_WAIT_MS_DEFAULT;
    log->process_id = env->process_id(env->ctx);
    for (int i = 0; i < ST_LOCK_KINDS; i++)
        log->lock_fds[i] = -1;
    st_buf_init(&log->draft, alloc);
    st_buf_init(&log->line, alloc);
    st_buf_init(&log->names, alloc);
    st_vector_init(&log->context.seen, alloc);
    snprintf(log->what, sizeof log->what, "%s", what);
    if (strlen(dir) >= ST_PATH_SIZE)
        return st_fail(&log->fault, ST_LIMIT, "the path of the state is over %d bytes",
                       ST_PATH_SIZE - 1);
    strcpy(log->dir, dir);
    int r = env->boot_id(env->ctx, log->boot_id);
    return r < 0 ? st_fail_system(&log->fault, r, "cannot read the boot id") : ST_OK;
}

/* The append lock, of a log that was not looked at yet. */
static enum st_code take_first(struct st_log *log)
{
    enum st_code code = locks_open(log);
    if (code == ST_OK)
        code = st_page_map(log);
    return code == ST_OK ? st_log_take(log, ST_LOCK_APPEND, log->wait_ms) : code;
}

static enum st_code open_writable(struct st_log *log)
{
    enum st_code code = locks_open(log);
    if (code != ST_OK)
        return code;
    code = st_page_map(log);
    const char *reason = NULL;
    if (code == ST_OK)
        code = st_epoch_due(log, &reason);
    if (code == ST_OK && reason != NULL) {
        code = st_log_take(log, ST_LOCK_APPEND, log->wait_ms);
        if (code == ST_OK)
            code = st_epoch_check(log);
        st_log_drop(log, ST_LOCK_APPEND);
    }
    return code;
}

enum st_code st_log_open(struct st_log *log, const struct st_env *env, const struct st_alloc *alloc,
                         const char *dir, bool read_only, const char *what)
{
    enum st_code code = log_begin(log, env, alloc, dir, what);
    if (code == ST_OK)
        code = st_identity_load(log);
    if (code == ST_OK && !read_only) {
        code = open_writable(log);
        /* A sandbox that lets us only read: go on as a reader. */
        read_only = code == ST_READ_ONLY;
    }
    if (read_only && (code == ST_OK || code == ST_READ_ONLY)) {
        log->read_only = true;
        if (log->page != NULL)
            env->unmap(env->ctx, log->page, sizeof *log->page);
        log->page = NULL;
        code = st_page_map(log);
    }
    return code;
}

void st_log_close(struct st_log *log)
{
    if (log->env == NULL)
        return;
    const struct st_env *env = log->env;
    for (int i = 0; i < ST_LOCK_KINDS; i++) {
        if (log->locked[i])
            st_log_drop(log, (enum st_lock_kind)i);
    }
    st_room_return(log);
    for (int i = 0; i < ST_LOCK_KINDS; i++) {
        if (log->lock_fds[i] >= 0)
            env->close(env->ctx, log->lock_fds[i]);
    }
    st_segment_close(log);
    st_posts_close(log);
    if (log->page != NULL)
        env->unmap(env->ctx, log->page, sizeof *log->page);
    st_buf_release(&log->draft);
    st_buf_release(&log->line);
    st_buf_release(&log->names);
    st_vector_release(&log->context.seen);
    memset(log, 0, sizeof *log);
}

static enum st_code make_directory(struct st_log *log, const char *name)
{
    char path[ST_PATH_SIZE];
    enum st_code code = st_path(&log->fault, path, log->dir, name, NULL);
    if (code != ST_OK)
        return code;
    int r = log->env->mkdir(log->env->ctx, path);
    if (r < 0 && r != -EEXIST)
        return st_fail_system(&log->fault, r, "cannot create %s", path);
    return ST_OK;
}

/* Records that lost their identity file would not be seen any more behind a new one. */
static enum st_code check_empty(struct st_log *log)
{
    struct st_writer *writers = NULL;
    size_t count = 0;
    uint64_t segment = 0;
    enum st_code code = st_log_writers(log->env, log->alloc, log->dir, &writers, &count);
    if (code != ST_OK)
        return st_fail(&log->fault, code, "cannot list the logs in %s", log->dir);
    for (size_t i = 0; i < count && code == ST_OK && segment == 0; i++) {
        char dir[ST_PATH_SIZE];
        code = st_writer_path(&log->fault, dir, log->dir, writers[i]);
        if (code == ST_OK)
            code = st_segment_find(log->env, dir, UINT64_MAX, &segment, &log->fault);
    }
    if (writers != NULL)
        log->alloc->resize(log->alloc->ctx, writers, 0);
    if (code != ST_OK || segment == 0)
        return code;
    st_fail(&log->fault, ST_DAMAGED, "%s has records, and no file `identity`", log->dir);
    return st_hint(&log->fault,
                   "put that file back from any earlier copy of this directory, or move "
                   "the directory away to begin without them");
}

static enum st_code create_locked(struct st_log *log, struct st_identity *identity)
{
    enum st_code code = st_identity_load(log);
    if (code == ST_OK)
        return st_fail(&log->fault, ST_EXISTS, "%s holds a replica already", log->dir);
    if (code != ST_NO_WORKSPACE)
        return code;
    log->fault = (struct st_fault){.code = ST_OK};
    code = check_empty(log);
    if (code != ST_OK)
        return code;
    log->identity = (struct st_identity){.workspace = identity->workspace};
    snprintf(log->identity.name, sizeof log->identity.name, "%s", identity->name);
    code = st_random_id(log, &log->identity.replica);
    if (code == ST_OK && log->identity.workspace == 0)
        code = st_random_id(log, &log->identity.workspace);
    if (code == ST_OK)
        code = st_epoch_begin(log, strcmp(identity->reason, "join") == 0 ? "join" : "init");
    struct st_tail tail;
    if (code == ST_OK)
        code = st_segment_ready(log, &tail);
    *identity = log->identity;
    return code;
}

enum st_code st_log_create(const struct st_env *env, const struct st_alloc *alloc, const char *dir,
                           struct st_identity *identity, struct st_fault *fault)
{
    struct st_log log;
    enum st_code code = log_begin(&log, env, alloc, dir, "init");
    if (code == ST_OK && st_agent_check(st_str_of(identity->name)) != ST_OK)
        code = st_fail(&log.fault, ST_INVALID, "'%s' cannot be a replica's name", identity->name);
    if (code == ST_OK)
        code = make_directory(&log, "log");
    if (code == ST_OK)
        code = make_directory(&log, "quarantine");
    if (code == ST_OK)
        code = take_first(&log);
    if (code == ST_OK)
        code = create_locked(&log, identity);
    if (code != ST_OK)
        *fault = log.fault;
    st_log_close(&log);
    return code;
}

enum st_code st_log_repair(const struct st_env *env, const struct st_alloc *alloc, const char *dir,
                           const char *what, struct st_fault *fault)
{
    struct st_log log;
    enum st_code code = log_begin(&log, env, alloc, dir, what);
    if (code == ST_OK)
        code = st_identity_load(&log);
    if (code == ST_OK)
        code = take_first(&log);
    log.repairing = true;
    if (code == ST_OK)
        code = st_identity_load(&log);
    if (code == ST_OK)
        code = st_epoch_begin(&log, "repair");
    if (code != ST_OK)
        *fault = log.fault;
    st_log_close(&log);
    return code;
}
