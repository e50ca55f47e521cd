/* handle.c - opening and closing a workspace; errors and notices. */
#include "lib/internal.h"

#include "lib/task.h"
#include "strong/strong.h"
#include "sync/sync.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* The public list of codes is a copy; here both have to agree. */
#define SAME(name, public_name) _Static_assert((int)ST_##name == (int)(public_name), #name)
SAME(OK, STRATA_OK);
SAME(USAGE, STRATA_USAGE);
SAME(INVALID, STRATA_INVALID);
SAME(LIMIT, STRATA_LIMIT);
SAME(NOT_FOUND, STRATA_NOT_FOUND);
SAME(CONFLICT, STRATA_CONFLICT);
SAME(DENIED, STRATA_DENIED);
SAME(NO_WORKSPACE, STRATA_NO_WORKSPACE);
SAME(EXISTS, STRATA_EXISTS);
SAME(TIMEOUT, STRATA_TIMEOUT);
SAME(UNAVAILABLE, STRATA_UNAVAILABLE);
SAME(READ_ONLY, STRATA_READ_ONLY);
SAME(NO_SPACE, STRATA_NO_SPACE);
SAME(OUTCOME_UNKNOWN, STRATA_OUTCOME_UNKNOWN);
SAME(IO, STRATA_IO);
SAME(DAMAGED, STRATA_DAMAGED);
SAME(VERSION, STRATA_VERSION_NEWER);
SAME(NO_MEMORY, STRATA_NO_MEMORY);
SAME(INTERRUPTED, STRATA_INTERRUPTED);
SAME(INTERNAL, STRATA_INTERNAL);

const char *strata_code_name(int code)
{
    return st_code_name((enum st_code)code);
}

int strata_code_exit(int code)
{
    return st_code_exit((enum st_code)code);
}

const char *strata_version(void)
{
    return STRATA_VERSION;
}

/* --- errors ------------------------------------------------------------------------------------
 */

void st_lib_error_set(strata *s, enum st_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(s->error.message, sizeof s->error.message, format, args);
    va_end(args);
    s->error.code = code;
    s->error.hint[0] = '\0';
}

static int fault_into(strata_error *error, const struct st_fault *fault)
{
    error->code = fault->code;
    snprintf(error->message, sizeof error->message, "%s", fault->message);
    snprintf(error->hint, sizeof error->hint, "%s", fault->hint);
    return fault->code;
}

int st_lib_fault(strata *s, const struct st_fault *fault)
{
    return fault_into(&s->error, fault);
}

void st_lib_hint(strata *s, const char *hint)
{
    snprintf(s->error.hint, sizeof s->error.hint, "%s", hint);
}

const strata_error *strata_last_error(const strata *s)
{
    return &s->error;
}

void st_lib_notice(strata *s, const char *format, ...)
{
    if (s->notice_count == ST_NOTICES_MAX)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(s->notices[s->notice_count++], sizeof s->notices[0], format, args);
    va_end(args);
}

const char *strata_next_notice(strata *s)
{
    if (s->notice_next < s->notice_count)
        return s->notices[s->notice_next++];
    s->notice_next = s->notice_count = 0; /* all told: room for others */
    return NULL;
}

void st_lib_log_notices(strata *s)
{
    if (s->log.quarantined_size > 0) {
        st_lib_notice(s, "%" PRIu64 " bytes behind the last whole record were moved to %s",
                      s->log.quarantined_size, s->log.quarantine_path);
        s->log.quarantined_size = 0;
    }
    if (!s->log.began_epoch)
        return;
    s->log.began_epoch = false;
    const char *reason = s->log.identity.reason;
    if (strcmp(reason, "copy") == 0)
        st_lib_notice(s, "this state was copied or restored: it goes on as a new epoch, so that "
                         "nothing is counted twice");
    else if (strcmp(reason, "dead") == 0)
        st_lib_notice(s, "a flush of the log had failed: what was not on disk is in quarantine, "
                         "and a new epoch began");
    else if (strcmp(reason, "doubt") == 0)
        st_lib_notice(s, "it was not sure which records of this state others have seen: it goes "
                         "on as a new epoch");
}

/* --- opening ---------------------------------------------------------------------------------- */

static const char *start_of(const char *dir)
{
    if (dir == NULL)
        dir = getenv("STRATA_DIR");
    return dir != NULL && dir[0] != '\0' ? dir : ".";
}

static enum st_code state_of(const char *dir, const char *state_dir, char out[ST_PATH_SIZE],
                             struct st_fault *fault)
{
    if (state_dir != NULL) {
        if (strlen(state_dir) >= ST_PATH_SIZE)
            return st_fail(fault, ST_LIMIT, "the path of the state is over %d bytes",
                           ST_PATH_SIZE - 1);
        strcpy(out, state_dir);
        return ST_OK;
    }
    return st_find_state(start_of(dir), false, out, fault);
}

static enum st_code options_apply(strata *s, const strata_options *o, struct st_fault *fault)
{
    if (ST_HAS(o, agent) && o->agent != NULL) {
        if (st_agent_check(st_str_of(o->agent)) != ST_OK) {
            st_fail(fault, ST_INVALID, "'%.80s' is not an agent's name", o->agent);
            return st_hint(fault,
                           "1 to %d of letters, digits, dot, dash and underscore, not "
                           "starting with a dot or a dash",
                           ST_AGENT_SIZE_MAX);
        }
        strcpy(s->agent, o->agent);
    }
    if (ST_HAS(o, incarnation))
        s->incarnation = o->incarnation;
    if (ST_HAS(o, index_gap))
        s->index_gap = o->index_gap;
    return ST_OK;
}

static enum st_code open_state(strata *s, const char *dir, const strata_options *o,
                               struct st_fault *fault)
{
    char state[ST_PATH_SIZE], what[128];
    const char *program = ST_HAS(o, program) && o->program != NULL ? o->program : "strata";
    enum st_code code = options_apply(s, o, fault);
    if (code == ST_OK)
        code = state_of(dir, ST_HAS(o, state_dir) ? o->state_dir : NULL, state, fault);
    if (code != ST_OK)
        return code;
    snprintf(what, sizeof what, "%s%s%s", program, s->agent[0] != '\0' ? ", " : "", s->agent);
    code = st_log_open(&s->log, st_env_posix(), st_alloc_libc(), state,
                       ST_HAS(o, read_only) && o->read_only, what);
    if (code != ST_OK)
        *fault = s->log.fault;
    if (ST_HAS(o, wait_ms) && o->wait_ms != 0)
        s->log.wait_ms = o->wait_ms;
    s->dir = realpath(start_of(dir), NULL);
    return code;
}

int strata_open(const char *dir, const strata_options *options, strata **out, strata_error *error)
{
    struct st_fault fault = {0};
    strata *s = calloc(1, sizeof *s);
    if (s == NULL) {
        st_fail(&fault, ST_NO_MEMORY, "out of memory");
        return fault_into(error, &fault);
    }
    s->marks_fd = s->slot_fd = -1;
    st_read_scratch_init(&s->read, st_alloc_libc());
    enum st_code code = open_state(s, dir, options, &fault);
    if (code != ST_OK) {
        strata_close(s);
        return fault_into(error, &fault);
    }
    st_lib_log_notices(s);
    snprintf(s->workspace_id, sizeof s->workspace_id, "%016" PRIx64, s->log.identity.workspace);
    snprintf(s->replica_id, sizeof s->replica_id, "%016" PRIx64, s->log.identity.replica);
    st_claims_touch(s);
    *out = s;
    return ST_OK;
}

int strata_repair(const char *dir, const strata_options *options, strata_error *error)
{
    struct st_fault fault = {0};
    char state[ST_PATH_SIZE];
    enum st_code code =
        state_of(dir, ST_HAS(options, state_dir) ? options->state_dir : NULL, state, &fault);
    if (code == ST_OK)
        code = st_log_repair(st_env_posix(), st_alloc_libc(), state, "strata repair", &fault);
    return code == ST_OK ? STRATA_OK : fault_into(error, &fault);
}

void strata_close(strata *s)
{
    if (s == NULL)
        return;
    if (s->unsettled)
        (void)st_task_settle(s); /* else the next command does */
    st_files_close(s);
    st_strong_close(s->strong);
    st_index_close(s->index);
    if (s->log.env != NULL)
        st_marks_release(s);
    if (s->slot_fd >= 0)
        close(s->slot_fd);
    st_pool_release(s);
    st_log_close(&s->log);
    st_read_scratch_release(&s->read);
    st_arena_reset(&s->arena);
    free(s->names);
    free(s->held.list);
    free(s->hand);
    free(s->dir);
    free(s);
}

const char *strata_state_dir(const strata *s)
{
    return s->log.dir;
}

bool strata_is_read_only(const strata *s)
{
    return s->log.read_only;
}

/* --- reading ---------------------------------------------------------------------------------- */

int st_lib_index_fault(strata *s, enum st_code code)
{
    const struct st_fault *fault = st_index_fault(s->index);
    if (fault->code == code && fault->message[0] != '\0')
        return st_lib_fault(s, fault);
    return st_lib_fail(s, code, "cannot read the state in %s: %s", s->log.dir, st_code_text(code));
}

static int lib_open_index(strata *s)
{
    struct st_fault fault;
    enum st_code code = s->index == NULL ? st_index_open(&s->index, &s->log, &fault) : ST_OK;
    if (code != ST_OK)
        return st_lib_fault(s, &fault);
    st_index_set_gap(s->index, s->index_gap);
    return STRATA_OK;
}

static int lib_begin(strata *s, const char *entity)
{
    st_arena_reset(&s->arena);
    int opened = lib_open_index(s);
    if (opened != STRATA_OK)
        return opened;
    enum st_code code =
        entity != NULL ? st_index_begin_for(s->index, st_str_of(entity)) : st_index_begin(s->index);
    st_lib_log_notices(s);
    return code == ST_OK ? STRATA_OK : st_lib_index_fault(s, code);
}

int st_lib_begin(strata *s)
{
    return lib_begin(s, NULL);
}

int st_lib_begin_for(strata *s, const char *entity)
{
    return lib_begin(s, entity);
}

void st_lib_end(strata *s)
{
    st_index_end(s->index);
}

/* As many as a command reads in less time than its start takes. */
#define LEFT_WHEN_IDLE 64

int strata_idle(strata *s)
{
    if (s->log.read_only)
        return STRATA_OK;
    int code = lib_open_index(s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = st_index_catch_up_beyond(s->index, LEFT_WHEN_IDLE);
    /* Somebody else has the lock, to do the same. */
    return got == ST_OK || got == ST_UNAVAILABLE ? STRATA_OK : st_lib_index_fault(s, got);
}

int st_lib_name(strata *s, const char *what, const char *name)
{
    enum st_code code = name == NULL ? ST_INVALID : st_name_check(st_str_of(name));
    if (code == ST_OK)
        return STRATA_OK;
    if (name == NULL || name[0] == '\0')
        return st_lib_fail(s, ST_INVALID, "the %s is empty", what);
    if (strlen(name) > ST_NAME_SIZE_MAX)
        return st_lib_fail(s, ST_LIMIT, "the %s is %zu bytes long; the limit is %d", what,
                           strlen(name), ST_NAME_SIZE_MAX);
    return st_lib_fail(s, ST_INVALID,
                       "the %s '%.80s' has control characters, invalid UTF-8, or a space at an "
                       "end",
                       what, name);
}

/* --- init ------------------------------------------------------------------------------------- */

/* A replica's name for people: the host's, made to fit. */
static void default_name(char out[ST_AGENT_SIZE_MAX + 1])
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    size_t n = 0;
    for (const char *p = host; *p != '\0' && *p != '.' && n < ST_AGENT_SIZE_MAX; p++) {
        char c = *p;
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_';
        out[n++] = fits ? c : '-';
    }
    out[n] = '\0';
    if (st_agent_check(st_str_of(out)) != ST_OK)
        strcpy(out, "replica");
}

/* The state must not be tracked, also where `git init` comes later. */
static void ignore_in_git(const char *state)
{
    char path[ST_PATH_SIZE + 16];
    size_t n = strlen(state);
    if (n < 8 || strcmp(state + n - 8, "/.strata") != 0)
        return;
    snprintf(path, sizeof path, "%s/.gitignore", state);
    FILE *f = fopen(path, "wxe");
    if (f == NULL)
        return;
    fputs("*\n", f);
    fclose(f);
}

/* Longest wait for another process that makes the same workspace. Milliseconds. */
#define INIT_WAIT_MS 10000

/* One process makes a workspace; others that want the same wait, and find it. */
static enum st_code init_lock(const char *state, int *fd, struct st_fault *fault)
{
    const struct st_env *env = st_env_posix();
    char path[ST_PATH_SIZE + 16];
    if (mkdir(state, 0777) < 0 && errno != EEXIST)
        return st_fail_system(fault, -errno, "cannot create %s", state);
    snprintf(path, sizeof path, "%s/init.lock", state);
    *fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (*fd < 0)
        return st_fail_system(fault, -errno, "cannot create %s", path);
    for (int waited_ms = 0; flock(*fd, LOCK_EX | LOCK_NB) < 0; waited_ms += 10) {
        if (waited_ms >= INIT_WAIT_MS) {
            close(*fd);
            return st_fail(fault, ST_TIMEOUT, "another process has been making %s for %d s", state,
                           INIT_WAIT_MS / 1000);
        }
        env->sleep_ns(env->ctx, 10000000);
    }
    return ST_OK;
}

/* So that the first command finds it made, and nobody waits for that. */
static void make_index(const char *state)
{
    struct st_log log;
    struct st_index *index = NULL;
    struct st_fault ignored;
    if (st_log_open(&log, st_env_posix(), st_alloc_libc(), state, false, "strata init") == ST_OK &&
        st_index_open(&index, &log, &ignored) == ST_OK)
        st_index_close(index);
    st_log_close(&log);
}

static enum st_code init_locked(const char *state, const char *name, uint64_t workspace,
                                strata_init_result *result, struct st_fault *fault)
{
    struct st_identity id = {.workspace = workspace};
    snprintf(id.name, sizeof id.name, "%s", name);
    if (workspace != 0)
        snprintf(id.reason, sizeof id.reason, "join");
    if (workspace == 0 && st_env_posix()->random(NULL, &id.workspace, sizeof id.workspace) < 0)
        return st_fail(fault, ST_IO, "no random numbers");
    /* Before there is a workspace that could be copied: see st_strong_found(). Who joins does not
     * decide. */
    enum st_code code = st_strong_found(st_env_posix(), st_alloc_libc(), state, id.workspace, name,
                                        workspace == 0, fault);
    if (code == ST_OK)
        code = st_log_create(st_env_posix(), st_alloc_libc(), state, &id, fault);
    result->created = code == ST_OK;
    result->joined = result->created && workspace != 0;
    if (code == ST_OK) {
        make_index(state);
        ignore_in_git(state);
    }
    return code == ST_EXISTS ? ST_OK : code;
}

static enum st_code init_state(const char *state, const char *name, uint64_t workspace,
                               strata_init_result *result, struct st_fault *fault)
{
    char identity[ST_PATH_SIZE + 16];
    int fd = -1;
    enum st_code code = init_lock(state, &fd, fault);
    if (code != ST_OK)
        return code;
    snprintf(identity, sizeof identity, "%s/identity", state);
    if (access(identity, F_OK) != 0)
        code = init_locked(state, name, workspace, result, fault);
    close(fd);
    return code;
}

static enum st_code init_report(const char *state, strata_init_result *result,
                                struct st_fault *fault)
{
    struct st_log log;
    enum st_code code =
        st_log_open(&log, st_env_posix(), st_alloc_libc(), state, true, "strata init");
    if (code == ST_OK) {
        snprintf(result->workspace, sizeof result->workspace, "%016" PRIx64,
                 log.identity.workspace);
        snprintf(result->replica, sizeof result->replica, "%016" PRIx64, log.identity.replica);
        snprintf(result->name, sizeof result->name, "%s", log.identity.name);
    } else {
        *fault = log.fault;
    }
    st_log_close(&log);
    return code;
}

/* How long a remote may take to say which references it has. Milliseconds: a slow line with a login
 * takes some seconds. */
#define ASK_MS 20000

/* The workspace that the clone around the state to be belongs to already: 0 when there is none. */
static enum st_code init_discover(const char *dir, const strata_init_options *options, bool dry,
                                  strata_init_result *result, uint64_t *workspace,
                                  struct st_fault *fault)
{
    char repository[ST_PATH_SIZE];
    struct st_found found;
    const char *join = ST_HAS(options, join) ? options->join : NULL;
    uint64_t wait_ms = ST_HAS(options, network_ms) ? options->network_ms : 0;
    *workspace = 0;
    if (ST_HAS(options, found) && options->found)
        return ST_OK;
    if (!st_find_repository(dir, repository))
        return join == NULL ? ST_OK : st_fail(fault, ST_INVALID, "%s is in no Git repository", dir);
    enum st_code code = st_sync_discover(st_env_posix(), st_alloc_libc(), repository, join, dry,
                                         wait_ms != 0 ? wait_ms : ASK_MS, &found, fault);
    if (code != ST_OK)
        return code;
    if (found.workspace == 0 && join != NULL)
        return st_fail(fault, ST_NOT_FOUND, "%.200s carries no workspace; nothing was made", join);
    if (found.workspace == 0 && found.unreached[0] != '\0') {
        st_fail(
            fault, ST_UNAVAILABLE,
            "%.200s could not be asked whether it carries a workspace to be joined; nothing was "
            "made",
            found.unreached);
        return st_hint(fault, "try again when it can be reached; if it certainly carries none, "
                              "`strata init --new` makes a new workspace");
    }
    *workspace = found.workspace;
    snprintf(result->remote, sizeof result->remote, "%s", found.remote);
    return ST_OK;
}

int strata_init(const char *dir, const strata_init_options *options, strata_init_result *result,
                strata_error *error)
{
    struct st_fault fault = {0};
    char name[ST_AGENT_SIZE_MAX + 1];
    memset(result, 0, sizeof *result);
    default_name(name);
    enum st_code code = ST_OK;
    if (ST_HAS(options, name) && options->name != NULL) {
        if (st_agent_check(st_str_of(options->name)) != ST_OK)
            code = st_fail(&fault, ST_INVALID, "'%.80s' cannot be a replica's name", options->name);
        else
            strcpy(name, options->name);
    }
    if (code == ST_OK && ST_HAS(options, state_dir) && options->state_dir != NULL)
        code = state_of(NULL, options->state_dir, result->state_dir, &fault);
    else if (code == ST_OK)
        code = st_find_state(dir != NULL ? dir : ".", true, result->state_dir, &fault);
    bool dry = ST_HAS(options, dry_run) && options->dry_run;
    char identity[ST_PATH_SIZE + 16];
    snprintf(identity, sizeof identity, "%s/identity", result->state_dir);
    bool exists = code == ST_OK && access(identity, F_OK) == 0;
    uint64_t workspace = 0;
    if (code == ST_OK && !exists)
        code = init_discover(dir != NULL ? dir : ".", options, dry, result, &workspace, &fault);
    if (code == ST_OK && !dry && !exists)
        code = init_state(result->state_dir, name, workspace, result, &fault);
    snprintf(result->name, sizeof result->name, "%s", name);
    if (code == ST_OK && (exists || !dry))
        code = init_report(result->state_dir, result, &fault);
    if (dry && !exists) { /* would be */
        result->created = true;
        result->joined = workspace != 0;
    }
    return code == ST_OK ? STRATA_OK : fault_into(error, &fault);
}
