/* sync.c - one round of exchange: the lock, the remote, its references and ours. */
#include "sync/sync_internal.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define REF_PREFIX    "refs/strata/"
#define REMOTE_PREFIX "refs/strata-remote/"

/* --- directories ------------------------------------------------------------------------------ */

enum st_code st_sync_path(struct st_sync *y, const char *name, char out[ST_PATH_SIZE])
{
    return st_path(&y->fault, out, y->dir, name, NULL);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

void st_sync_remove(const char *path)
{
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

enum st_code st_sync_directory(struct st_sync *y, const char *name, char out[ST_PATH_SIZE])
{
    const struct st_env *env = y->log->env;
    enum st_code code = st_sync_path(y, name, out);
    if (code != ST_OK)
        return code;
    st_sync_remove(out);
    int r = env->mkdir(env->ctx, out);
    return r < 0 ? st_fail_system(&y->fault, r, "cannot create %s", out) : ST_OK;
}

void st_sync_say(struct st_sync *y, const char *step)
{
    if (y->progress != NULL)
        y->progress(y->progress_arg, step);
}

/* --- beginning and ending --------------------------------------------------------------------- */

static enum st_code lock_take(struct st_sync *y)
{
    const struct st_env *env = y->log->env;
    char path[ST_PATH_SIZE];
    enum st_code code = st_path(&y->fault, path, y->log->dir, "sync.lock", NULL);
    if (code != ST_OK)
        return code;
    y->lock_fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (y->lock_fd < 0)
        return st_fail_system(&y->fault, y->lock_fd, "cannot open %s", path);
    uint64_t start = env->boot_ns(env->ctx);
    int r;
    while ((r = env->lock_try(env->ctx, y->lock_fd)) == -EWOULDBLOCK) {
        if (env->boot_ns(env->ctx) - start >= y->log->wait_ms * ST_NS_PER_MS) {
            st_fail(&y->fault, ST_UNAVAILABLE,
                    "another `strata sync` is at work in this clone for longer than %" PRIu64 " s",
                    y->log->wait_ms / 1000);
            return st_hint(&y->fault, "nothing was done; it does the same work, so there may be "
                                      "nothing left to do");
        }
        env->sleep_ns(env->ctx, 5 * ST_NS_PER_MS);
    }
    return r < 0 ? st_fail_system(&y->fault, r, "cannot lock %s", path) : ST_OK;
}

/* Git does its work in another directory than ours. */
static enum st_code absolute(struct st_sync *y)
{
    char *path = realpath(y->dir, NULL);
    bool good = path != NULL && strlen(path) < sizeof y->dir;
    if (good)
        strcpy(y->dir, path);
    free(path);
    return good ? ST_OK : st_fail_system(&y->fault, -errno, "cannot find %s", y->dir);
}

enum st_code st_sync_begin(struct st_sync *y, struct st_log *log, const char *git_dir,
                           struct st_fault *fault)
{
    const struct st_env *env = log->env;
    *y = (struct st_sync){.log = log, .lock_fd = -1};
    enum st_code code = ST_OK;
    if (log->read_only) {
        st_fail(&y->fault, ST_READ_ONLY, "the state in %s is read-only here", log->dir);
        code = st_hint(&y->fault, "nothing was recorded; ask the operator to run `strata sync`");
    }
    if (code == ST_OK)
        code = st_git_init(&y->git, log->alloc, git_dir, &y->fault);
    if (code == ST_OK)
        code = st_path(&y->fault, y->dir, log->dir, "sync", NULL);
    if (code == ST_OK)
        code = lock_take(y);
    if (code == ST_OK) {
        int r = env->mkdir(env->ctx, y->dir);
        if (r < 0 && r != -EEXIST)
            code = st_fail_system(&y->fault, r, "cannot create %s", y->dir);
    }
    if (code == ST_OK)
        code = absolute(y);
    snprintf(y->own_ref, sizeof y->own_ref, REF_PREFIX "%016" PRIx64, log->identity.replica);
    st_point(log, "sync.locked");
    if (code != ST_OK) {
        *fault = y->fault;
        st_sync_end(y);
    }
    return code;
}

static void forget(struct st_sync *y)
{
    free(y->refs);
    free(y->refusals);
    y->refs = NULL;
    y->refusals = NULL;
    y->ref_count = y->refusal_count = 0;
    y->local[0] = y->local_value[0] = y->remote_own[0] = '\0';
    y->remote_ahead = y->own_refused = y->staged = false;
    y->strange_refs = 0;
    y->mine = (struct st_remote_ref){0};
    st_catalog_release(&y->base);
}

void st_sync_end(struct st_sync *y)
{
    char path[ST_PATH_SIZE];
    if (y->lock_fd >= 0) {
        if (y->dir[0] != '\0' && st_sync_path(y, "in", path) == ST_OK)
            st_sync_remove(path);
        if (y->dir[0] != '\0' && st_sync_path(y, "out", path) == ST_OK)
            st_sync_remove(path);
        y->log->env->close(y->log->env->ctx, y->lock_fd);
    }
    y->lock_fd = -1;
    forget(y);
}

/* --- the remote ------------------------------------------------------------------------------- */

static enum st_code check_text(struct st_sync *y, const char *remote)
{
    if (remote[0] == '\0' || remote[0] == '-')
        return st_fail(&y->fault, ST_INVALID, "`%.80s` cannot be a remote", remote);
    if (strlen(remote) >= ST_REMOTE_SIZE)
        return st_fail(&y->fault, ST_LIMIT, "the remote is longer than %d bytes",
                       ST_REMOTE_SIZE - 1);
    for (const char *p = remote; *p != '\0'; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return st_fail(&y->fault, ST_INVALID, "the remote has control characters");
    return ST_OK;
}

/* An address: where it is a directory here, by its full path. */
static enum st_code remote_address(struct st_sync *y, const char *remote, char url[ST_REMOTE_SIZE])
{
    char *path = realpath(remote, NULL);
    struct stat st;
    bool directory = path != NULL && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    const char *address = directory ? path : remote;
    enum st_code code = check_text(y, address);
    if (code == ST_OK && !directory && strchr(address, ':') == NULL) {
        st_fail(&y->fault, ST_NOT_FOUND,
                "`%.200s` is neither a remote of this clone nor a repository", remote);
        code = st_hint(&y->fault, "`git remote -v` lists the remotes of the clone");
    }
    if (code == ST_OK) {
        snprintf(y->remote, sizeof y->remote, "%s", address);
        snprintf(url, ST_REMOTE_SIZE, "%s", address);
        snprintf(y->space, sizeof y->space, REMOTE_PREFIX "url-%016" PRIx64 "/",
                 st_checksum(address, strlen(address)));
    }
    free(path);
    return code;
}

enum st_code st_sync_remote(struct st_sync *y, const char *remote, char url[ST_REMOTE_SIZE])
{
    enum st_code code = check_text(y, remote);
    if (code != ST_OK)
        return code;
    const char *const args[] = {"remote", "get-url", "--push", "--", remote, NULL};
    code = st_git_line(&y->git, args, url, ST_REMOTE_SIZE);
    y->named = code == ST_OK;
    if (code == ST_NOT_FOUND)
        return remote_address(y, remote, url);
    if (code != ST_OK)
        return code;
    int n = snprintf(y->space, sizeof y->space, REMOTE_PREFIX "%s/", remote);
    if (n >= (int)sizeof y->space)
        return st_fail(&y->fault, ST_LIMIT, "the name of the remote is too long");
    snprintf(y->remote, sizeof y->remote, "%s", remote);
    return ST_OK;
}

/* --- agreement -------------------------------------------------------------------------------- */

static enum st_code remotes_read(struct st_log *log, struct st_buf *out, struct st_fault *fault)
{
    char path[ST_PATH_SIZE], buf[4096];
    size_t n;
    enum st_code code = st_path(fault, path, log->dir, "sync", "remotes");
    FILE *f = code == ST_OK ? fopen(path, "re") : NULL;
    while (f != NULL && (n = fread(buf, 1, sizeof buf, f)) > 0)
        st_buf_add(out, buf, n);
    if (f != NULL)
        fclose(f);
    st_buf_add_char(out, '\0');
    return code == ST_OK && out->failed ? st_fail(fault, ST_NO_MEMORY, "out of memory") : code;
}

/* Copies the lines of `text` to *out, those of y->remote left out; *url: what stood there. */
static void remotes_split(struct st_sync *y, char *text, struct st_buf *out, const char **url)
{
    char *line;
    *url = NULL;
    while ((line = strsep(&text, "\n")) != NULL) {
        char *tab = strchr(line, '\t');
        if (tab == NULL)
            continue;
        *tab = '\0';
        if (strcmp(line, y->remote) == 0) {
            *url = tab + 1;
            continue;
        }
        st_buf_add_text(out, line);
        st_buf_add_char(out, '\t');
        st_buf_add_text(out, tab + 1);
        st_buf_add_char(out, '\n');
    }
}

static const char ledger_mark[] = "\tledger";

enum st_code st_sync_agreed(struct st_sync *y, const char *url, enum st_sync_consent *out)
{
    size_t n = strlen(url);
    struct st_buf text, others;
    const char *agreed = NULL;
    st_buf_init(&text, y->log->alloc);
    st_buf_init(&others, y->log->alloc);
    enum st_code code = remotes_read(y->log, &text, &y->fault);
    if (code == ST_OK)
        remotes_split(y, text.p, &others, &agreed);
    bool same = agreed != NULL && strncmp(agreed, url, n) == 0;
    *out = same && agreed[n] == '\0'                      ? ST_SYNC_RECORDS
           : same && strcmp(agreed + n, ledger_mark) == 0 ? ST_SYNC_LEDGER
                                                          : ST_SYNC_NOTHING;
    st_buf_release(&text);
    st_buf_release(&others);
    return code;
}

enum st_code st_sync_agree(struct st_sync *y, const char *url, enum st_sync_consent to)
{
    struct st_buf text, fresh;
    const char *old;
    char path[ST_PATH_SIZE], new_path[ST_PATH_SIZE];
    st_buf_init(&text, y->log->alloc);
    st_buf_init(&fresh, y->log->alloc);
    enum st_code code = remotes_read(y->log, &text, &y->fault);
    if (code == ST_OK)
        remotes_split(y, text.p, &fresh, &old);
    st_buf_add_text(&fresh, y->remote);
    st_buf_add_char(&fresh, '\t');
    st_buf_add_text(&fresh, url);
    st_buf_add_text(&fresh, to == ST_SYNC_LEDGER ? ledger_mark : "");
    st_buf_add_char(&fresh, '\n');
    if (code == ST_OK && fresh.failed)
        code = st_fail(&y->fault, ST_NO_MEMORY, "out of memory");
    if (code == ST_OK)
        code = st_sync_path(y, "remotes", path);
    if (code == ST_OK)
        code = st_sync_path(y, "remotes.new", new_path);
    FILE *f = code == ST_OK ? fopen(new_path, "we") : NULL;
    bool good = f != NULL && fwrite(fresh.p, 1, fresh.n, f) == fresh.n;
    good = (f == NULL || fclose(f) == 0) && good && rename(new_path, path) == 0;
    if (code == ST_OK && !good)
        code = st_fail_system(&y->fault, -errno, "cannot write %s", path);
    st_buf_release(&text);
    st_buf_release(&fresh);
    return code;
}

enum st_code st_sync_remotes(struct st_log *log, struct st_buf *out, struct st_fault *fault)
{
    struct st_buf text;
    st_buf_init(&text, log->alloc);
    enum st_code code = remotes_read(log, &text, fault);
    char *rest = text.p, *line;
    while (code == ST_OK && (line = strsep(&rest, "\n")) != NULL) {
        size_t n = strcspn(line, "\t");
        if (line[n] != '\t')
            continue;
        st_buf_add(out, line, n);
        st_buf_add_char(out, '\n');
    }
    st_buf_release(&text);
    return code == ST_OK && out->failed ? st_fail(fault, ST_NO_MEMORY, "out of memory") : code;
}

/* --- what was taken in ------------------------------------------------------------------------ */

/* <state>/sync/taken-<remote>: the commits of which everything was taken in, one to a line. It only
 * spares work. */
static enum st_code taken_path(struct st_sync *y, const char *end, char out[ST_PATH_SIZE])
{
    char name[64];
    snprintf(name, sizeof name, "taken-%016" PRIx64 "%s", st_checksum(y->space, strlen(y->space)),
             end);
    return st_sync_path(y, name, out);
}

static enum st_code taken_read(struct st_sync *y)
{
    char path[ST_PATH_SIZE], line[ST_OBJECT_ID_SIZE + 1];
    enum st_code code = taken_path(y, "", path);
    FILE *f = code == ST_OK ? fopen(path, "re") : NULL;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        for (size_t i = 0; i < y->ref_count; i++)
            y->refs[i].taken = y->refs[i].taken || strcmp(y->refs[i].id, line) == 0;
    }
    if (f != NULL)
        fclose(f);
    for (size_t i = 0; i < y->ref_count; i++)
        if (y->refs[i].own)
            y->refs[i].taken = !y->remote_ahead;
    return code;
}

enum st_code st_sync_taken(struct st_sync *y)
{
    char path[ST_PATH_SIZE], fresh[ST_PATH_SIZE];
    enum st_code code = taken_path(y, "", path);
    if (code == ST_OK)
        code = taken_path(y, ".new", fresh);
    if (code != ST_OK)
        return code;
    FILE *f = fopen(fresh, "we");
    if (f == NULL)
        return st_fail_system(&y->fault, -errno, "cannot create %s", fresh);
    for (size_t i = 0; i < y->ref_count; i++)
        if (!y->refs[i].own && !y->refs[i].refused)
            fprintf(f, "%s\n", y->refs[i].taken ? y->refs[i].id : y->refs[i].fetched);
    bool failed = ferror(f) != 0;
    failed = fclose(f) != 0 || failed;
    if (failed || rename(fresh, path) < 0)
        return st_fail_system(&y->fault, -errno, "cannot write %s", path);
    return ST_OK;
}

/* --- what was published --------------------------------------------------------------------- */

bool st_sync_manifest_known(struct st_sync *y, const char *id, char text[ST_MANIFEST_TEXT_SIZE])
{
    char path[ST_PATH_SIZE], have[ST_OBJECT_ID_SIZE + ST_MANIFEST_TEXT_SIZE] = "";
    size_t n = strlen(id);
    FILE *f = st_sync_path(y, "manifest", path) == ST_OK ? fopen(path, "re") : NULL;
    if (f == NULL)
        return false;
    size_t got = fread(have, 1, sizeof have - 1, f);
    fclose(f);
    bool known = n > 0 && got > n + 1 && got - n - 1 < ST_MANIFEST_TEXT_SIZE &&
                 strncmp(have, id, n) == 0 && have[n] == '\n' && have[got - 1] == '\n';
    if (known)
        memcpy(text, have + n + 1, got - n);
    return known;
}

void st_sync_manifest_remember(struct st_sync *y, const char *id, const char *text)
{
    char path[ST_PATH_SIZE];
    FILE *f = st_sync_path(y, "manifest", path) == ST_OK ? fopen(path, "we") : NULL;
    if (f == NULL)
        return;
    (void)fprintf(f, "%s\n%s", id, text);
    (void)fclose(f);
}

/* --- references ------------------------------------------------------------------------------- */

/* The replica of "refs/strata/<16 hex>" behind `prefix`. */
static bool ref_replica(const char *ref, const char *prefix, uint64_t *replica)
{
    size_t n = strlen(prefix);
    return strncmp(ref, prefix, n) == 0 && strlen(ref) == n + 16 &&
           st_parse_hex64(ref + n, replica) && *replica != 0;
}

static enum st_code add_ref(struct st_sync *y, const char *id, uint64_t replica)
{
    if (y->ref_count == ST_SYNC_REPLICAS_MAX)
        return st_fail(&y->fault, ST_LIMIT, "%s has more than %d replicas", y->remote,
                       ST_SYNC_REPLICAS_MAX);
    if (y->refs == NULL)
        y->refs = calloc(ST_SYNC_REPLICAS_MAX, sizeof *y->refs);
    if (y->refs == NULL)
        return st_fail(&y->fault, ST_NO_MEMORY, "out of memory");
    struct st_remote_ref *r = &y->refs[y->ref_count++];
    r->replica = replica;
    snprintf(r->id, sizeof r->id, "%s", id);
    r->own = replica == y->log->identity.replica;
    if (r->own)
        snprintf(y->remote_own, sizeof y->remote_own, "%s", id);
    return ST_OK;
}

/* Lines of <id> <separator> <reference>; calls visit for each that is well-formed. */
static enum st_code each_ref(struct st_sync *y, char *text, char separator,
                             enum st_code (*visit)(struct st_sync *y, const char *id,
                                                   const char *ref))
{
    enum st_code code = ST_OK;
    char *rest = text, *line;
    while (code == ST_OK && (line = strsep(&rest, "\n")) != NULL) {
        char *ref = strchr(line, separator);
        if (ref == NULL)
            continue;
        *ref++ = '\0';
        if (st_object_id_valid(line))
            code = visit(y, line, ref);
    }
    return code;
}

static enum st_code visit_remote(struct st_sync *y, const char *id, const char *ref)
{
    uint64_t replica;
    if (ref_replica(ref, REF_PREFIX, &replica))
        return add_ref(y, id, replica);
    y->strange_refs += strncmp(ref, REF_PREFIX, sizeof REF_PREFIX - 1) == 0;
    return ST_OK;
}

/* What was fetched may be newer than what was listed. */
static enum st_code visit_local(struct st_sync *y, const char *id, const char *ref)
{
    uint64_t replica;
    if (strcmp(ref, y->own_ref) == 0)
        snprintf(y->local_value, sizeof y->local_value, "%s", id);
    if (!ref_replica(ref, y->space, &replica))
        return ST_OK;
    for (size_t i = 0; i < y->ref_count; i++)
        if (y->refs[i].replica == replica)
            snprintf(y->refs[i].fetched, sizeof y->refs[i].fetched, "%s", id);
    return ST_OK;
}

static enum st_code refs_read(struct st_sync *y, struct st_git_call *call, char separator,
                              enum st_code (*visit)(struct st_sync *y, const char *id,
                                                    const char *ref))
{
    struct st_buf text;
    st_buf_init(&text, y->log->alloc);
    call->out = &text;
    enum st_code code = st_git_must(&y->git, call);
    st_buf_add_char(&text, '\0');
    if (code == ST_OK && text.failed)
        code = st_fail(&y->fault, ST_NO_MEMORY, "out of memory");
    if (code == ST_OK)
        code = each_ref(y, text.p, separator, visit);
    st_buf_release(&text);
    return code;
}

enum st_code st_sync_local_refs(struct st_sync *y)
{
    const char *const args[] = {"for-each-ref", "--format=%(objectname) %(refname)", y->own_ref,
                                y->space, NULL};
    struct st_git_call call = {.args = args};
    y->local_value[0] = '\0';
    enum st_code code = refs_read(y, &call, ' ', visit_local);
    memcpy(y->local, y->local_value, sizeof y->local);
    return code;
}

/* Whether ours descends from theirs, so that nothing of theirs has to be looked at. */
static bool descends(struct st_sync *y, const char *theirs, const char *ours)
{
    const char *const args[] = {"merge-base", "--is-ancestor", theirs, ours, NULL};
    struct st_git_call call = {.args = args};
    return strcmp(theirs, ours) == 0 || (st_git_run(&y->git, &call) == ST_OK && call.status == 0);
}

enum st_code st_sync_list(struct st_sync *y)
{
    static const char ours[] = REF_PREFIX "*";
    const char *const args[] = {"ls-remote", "--refs", "--quiet", "--", y->remote, ours, NULL};
    struct st_git_call call = {.args = args, .network = true};
    forget(y);
    st_sync_say(y, "asking the remote");
    enum st_code code = refs_read(y, &call, '\t', visit_remote);
    if (code == ST_UNAVAILABLE)
        st_hint(&y->fault, "nothing was exchanged; look whether `git ls-remote %.200s` works here",
                y->remote);
    return code == ST_OK ? st_sync_local_refs(y) : code;
}

enum st_code st_sync_look(struct st_sync *y)
{
    enum st_code code = st_sync_list(y);
    if (code == ST_OK && y->remote_own[0] != '\0')
        y->remote_ahead = y->local[0] == '\0' || !descends(y, y->remote_own, y->local);
    return code == ST_OK ? taken_read(y) : code;
}

/* --- refusals --------------------------------------------------------------------------------- */

enum st_code st_sync_refuse(struct st_sync *y, struct st_remote_ref *ref)
{
    struct st_refusal *list = realloc(y->refusals, (y->refusal_count + 1) * sizeof *y->refusals);
    if (list == NULL)
        return st_fail(&y->fault, ST_NO_MEMORY, "out of memory");
    y->refusals = list;
    struct st_refusal *r = &list[y->refusal_count++];
    snprintf(r->ref, sizeof r->ref, REF_PREFIX "%016" PRIx64, ref->replica);
    snprintf(r->why, sizeof r->why, "%s", y->fault.message);
    ref->refused = true;
    y->own_refused = y->own_refused || ref->own;
    return ST_OK;
}
