/*
 * files.c - the files of the work tree: finding their list, locking, going through them.
 */
#include "lib/files.h"

#include "lib/claims.h"
#include "store/log_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int64_t st_files_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* --- finding ---------------------------------------------------------------------------------- */

static void name_author(struct st_files *f)
{
    const char *base = strrchr(f->root, '/');
    base = base != NULL ? base + 1 : f->root;
    if (st_agent_check(st_str_of(base)) == ST_OK)
        snprintf(f->agent, sizeof f->agent, "%s", base);
}

/* STRATA_OK; STRATA_NOT_FOUND: there is no work tree here (then s->files stays NULL). */
int st_files_find(strata *s)
{
    if (s->files != NULL)
        return STRATA_OK;
    struct st_files *f = s->dir != NULL ? calloc(1, sizeof *f) : NULL;
    if (f == NULL)
        return ST_NOT_FOUND;
    f->lock_fd = -1;
    st_registry_init(&f->registry);
    bool fits = st_find_tree(s->dir, s->log.dir, f->root, f->home) == ST_OK &&
                snprintf(f->list, ST_PATH_SIZE, "%s/files", f->home) < ST_PATH_SIZE &&
                snprintf(f->kept, ST_PATH_SIZE, "%s/views/kept", s->log.dir) < ST_PATH_SIZE;
    if (!fits) {
        free(f);
        return ST_NOT_FOUND;
    }
    name_author(f);
    s->files = f;
    return STRATA_OK;
}

static int st_files_no_tree(strata *s)
{
    st_lib_fail(s, ST_NOT_FOUND,
                "there is no work tree here: views and tracked files are files of one");
    st_lib_hint(s, "run it in a work tree, or name one with --dir");
    return ST_NOT_FOUND;
}

void st_files_close(strata *s)
{
    if (s->files == NULL)
        return;
    st_registry_release(&s->files->registry);
    st_watch_close(s->files->watch);
    if (s->files->lock_fd >= 0)
        close(s->files->lock_fd);
    free(s->files);
    s->files = NULL;
}

/* Reads the list unless it is the one that was read last. ST_NOT_FOUND: there is none. */
int st_files_load(strata *s)
{
    struct st_files *f = s->files;
    struct st_file_stamp stamp;
    struct st_fault fault;
    enum st_code code = st_file_stamp_get(f->list, &stamp, &fault);
    if (code == ST_OK && f->loaded && st_file_stamp_equal(&stamp, &f->list_stamp))
        return STRATA_OK;
    f->loaded = false;
    if (code == ST_OK)
        code = st_registry_load(&f->registry, f->list, &fault);
    if (code != ST_OK) {
        st_registry_release(&f->registry);
        return code == ST_NOT_FOUND ? ST_NOT_FOUND : st_lib_fault(s, &fault);
    }
    f->list_stamp = stamp;
    f->loaded = true;
    return STRATA_OK;
}

int st_files_list(strata *s)
{
    if (st_files_find(s) != STRATA_OK)
        return st_files_no_tree(s);
    int code = st_files_load(s);
    return code == ST_NOT_FOUND ? STRATA_OK : code;
}

static int list_save(strata *s)
{
    struct st_files *f = s->files;
    struct st_fault fault;
    if (!f->changed && !f->changed_set)
        return STRATA_OK;
    enum st_code code = st_registry_save(&f->registry, s->log.env, f->list, f->changed_set, &fault);
    if (code == ST_OK && f->changed_set)
        s->log.env->sync_directory(s->log.env->ctx, f->home);
    f->loaded = code == ST_OK && st_file_stamp_get(f->list, &f->list_stamp, &fault) == ST_OK;
    f->changed = f->changed_set = false;
    return code == ST_OK ? STRATA_OK : st_lib_fault(s, &fault);
}

int st_files_path(strata *s, const char *relative, char out[ST_PATH_SIZE])
{
    struct st_files *f = s->files;
    char parent[ST_PATH_SIZE], real[PATH_MAX];
    if (snprintf(out, ST_PATH_SIZE, "%s/%s", f->root, relative) >= ST_PATH_SIZE)
        return st_lib_fail(s, ST_LIMIT, "the path of %s is too long", relative);
    snprintf(parent, sizeof parent, "%s", out);
    *strrchr(parent, '/') = '\0';
    if (realpath(parent, real) != NULL && strcmp(real, parent) != 0)
        return st_lib_fail(s, ST_INVALID,
                           "a symbolic link leads from %s to %s; the file was not touched", parent,
                           real);
    return STRATA_OK;
}

/* A path given by a person to one of the work tree, without symbolic links. */
int st_files_relative(strata *s, const char *given, char out[ST_PATH_SIZE])
{
    struct st_files *f = s->files;
    char full[ST_PATH_SIZE], real[PATH_MAX];
    int n = given[0] == '/' ? snprintf(full, sizeof full, "%s", given)
                            : snprintf(full, sizeof full, "%s/%s", s->dir, given);
    if (n >= (int)sizeof full)
        return st_lib_fail(s, ST_LIMIT, "the path '%.80s' is too long", given);
    char *slash = strrchr(full, '/');
    char name[NAME_MAX + 1];
    snprintf(name, sizeof name, "%s", slash + 1);
    struct stat st;
    if (lstat(full, &st) == 0 && S_ISLNK(st.st_mode) && realpath(full, real) == NULL)
        return st_lib_fail(s, ST_INVALID, "'%.200s' is a symbolic link that leads nowhere", given);
    if (realpath(full, real) == NULL) {
        /* Not there yet: its directory has to be. */
        *slash = '\0';
        if (realpath(slash == full ? "/" : full, real) == NULL) {
            st_lib_fail(s, ST_INVALID, "cannot find the directory of '%.200s'", given);
            st_lib_hint(s, "make the directory first");
            return ST_INVALID;
        }
        size_t used = strlen(real);
        if (used + strlen(name) + 2 > sizeof real || name[0] == '\0')
            return st_lib_fail(s, ST_INVALID, "'%.200s' is no name of a file", given);
        snprintf(real + used, sizeof real - used, "/%s", name);
    } else if (stat(real, &st) == 0 && !S_ISREG(st.st_mode)) {
        return st_lib_fail(s, ST_INVALID, "'%.200s' is no regular file", given);
    }
    size_t root = strlen(f->root);
    if (strncmp(real, f->root, root) != 0 || real[root] != '/')
        return st_lib_fail(s, ST_DENIED, "'%.200s' is outside of the work tree %s", given, f->root);
    const char *path = real + root + 1;
    if (strncmp(path, ".git/", 5) == 0 || strncmp(path, ".strata/", 8) == 0 ||
        strcmp(path, ".git") == 0)
        return st_lib_fail(s, ST_DENIED, "'%.200s' belongs to Git or Strata", given);
    if (strlen(path) > ST_FILE_PATH_MAX)
        return st_lib_fail(s, ST_LIMIT, "the path '%.80s' is over %d bytes", path,
                           ST_FILE_PATH_MAX);
    if (st_name_check(st_str_of(path)) != ST_OK)
        return st_lib_fail(s, ST_INVALID,
                           "the path '%.200s' has control characters, invalid UTF-8, or a space at "
                           "an end",
                           path);
    snprintf(out, ST_PATH_SIZE, "%s", path);
    return STRATA_OK;
}

struct st_entry *st_files_entry(strata *s, const char *path)
{
    for (size_t i = 0; i < s->files->registry.count; i++)
        if (strcmp(s->files->registry.list[i].path, path) == 0 &&
            s->files->registry.list[i].kind != ST_ENTRY_GLOB)
            return &s->files->registry.list[i];
    return NULL;
}

/* STRATA_LIMIT: one entry more is too many. */
int st_files_room(strata *s)
{
    if (s->files->registry.count < ST_FILES_MAX)
        return STRATA_OK;
    return st_lib_fail(s, ST_LIMIT, "there are %d views and tracked files here; that is the limit",
                       ST_FILES_MAX);
}

/* --- writing records -------------------------------------------------------------------------- */

/* What is certain to fit one record: ST_LINE_SIZE_MAX less the head, each byte escaped once. */
#define RECORD_VALUES_MAX ((ST_LINE_SIZE_MAX - 4096) / 2)
#define OP_SIZE           256 /* of its names, punctuation and a few dots of a context */

static size_t op_weight(const struct st_op *op)
{
    return OP_SIZE + op->entity.n + op->attribute.n + op->value.n + op->at_count * 56;
}

static int append(strata *s, struct st_str agent, struct st_op *ops, size_t count,
                  struct st_record *last)
{
    struct st_record r = {.agent = agent, .ops = ops, .op_count = count};
    enum st_code code = st_log_write(&s->log, &r, false);
    st_lib_log_notices(s);
    *last = r;
    return code == ST_OK ? STRATA_OK : st_lib_fault(s, &s->log.fault);
}

int st_files_write(strata *s, const struct st_file_ops *ops)
{
    struct st_record last = {0};
    struct st_op *batch = calloc(ST_RECORD_OPS_MAX, sizeof *batch);
    int code = STRATA_OK;
    if (batch == NULL)
        return st_lib_no_memory(s);
    for (size_t i = 0; code == STRATA_OK && i < ops->count;) {
        struct st_str agent = ops->list[i].agent;
        size_t n = 0, weight = 0;
        for (; i < ops->count && n < ST_RECORD_OPS_MAX; i++) {
            const struct st_file_op *o = &ops->list[i];
            weight += op_weight(&o->op);
            if (!st_str_equal(o->agent, agent) || (n > 0 && weight > RECORD_VALUES_MAX))
                break;
            batch[n++] = o->op;
        }
        code = append(s, agent.n > 0 ? agent : st_str_of(s->files->agent), batch, n, &last);
    }
    free(batch);
    if (code == STRATA_OK && last.op_count > 0 &&
        st_log_wait_durable(&s->log, last.dot.writer.epoch, last.dot.counter) != ST_OK)
        code = st_lib_fault(s, &s->log.fault);
    return code;
}

/* --- the lock --------------------------------------------------------------------------------- */

int st_files_lock(strata *s, const char *path, int *fd, uint64_t wait_ms)
{
    const struct st_env *env = s->log.env;
    struct st_fault fault;
    if (*fd < 0)
        *fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (*fd < 0) {
        st_fail_system(&fault, *fd, "cannot open %s", path);
        *fd = -1;
        return st_lib_fault(s, &fault);
    }
    uint64_t until = env->boot_ns(env->ctx) + wait_ms * ST_NS_PER_MS;
    int r;
    while ((r = env->lock_try(env->ctx, *fd)) == -EWOULDBLOCK && env->boot_ns(env->ctx) < until)
        env->sleep_ns(env->ctx, ST_NS_PER_MS);
    if (r == -EWOULDBLOCK) {
        st_lib_fail(s, ST_TIMEOUT, "another process works on the files of %s", s->files->root);
        st_lib_hint(s, "try again, and if it stays so look whether that process is stopped");
        return ST_TIMEOUT;
    }
    if (r < 0) {
        st_fail_system(&fault, r, "cannot lock %s", path);
        return st_lib_fault(s, &fault);
    }
    return STRATA_OK;
}

/* STRATA_TIMEOUT: somebody else works on the files. */
static int files_lock(strata *s, uint64_t wait_ms)
{
    char path[ST_PATH_SIZE + 8];
    snprintf(path, sizeof path, "%s/lock", s->files->home);
    return st_files_lock(s, path, &s->files->lock_fd, wait_ms);
}

static void files_unlock(strata *s)
{
    s->log.env->unlock(s->log.env->ctx, s->files->lock_fd);
}

/* After our own log was mended (store/mend.h) some dots of the time before name other records: the
 * bases of tracked files that they were are not known any more. */
static void forget_moved_bases(strata *s)
{
    struct st_registry *r = &s->files->registry;
    struct st_tail tail; /* so that a handle hears of an epoch that others began */
    if (!s->files->loaded || st_log_tail(&s->log, &tail) != ST_OK ||
        r->epoch == st_log_writer(&s->log).epoch)
        return;
    for (size_t i = 0; i < r->count; i++) {
        struct st_dot base;
        struct st_entry *e = &r->list[i];
        if (e->kind == ST_ENTRY_FILE && st_dot_parse(st_str_of(e->base), &base) &&
            !st_mend_keeps(&s->log, base)) {
            e->base = "";
            s->files->changed = true;
        }
    }
}

/* For calls that are about files: the lock, the list (a new one if there is none), things put
 * right. st_files_end() after STRATA_OK. */
int st_files_begin(strata *s)
{
    const struct st_env *env = s->log.env;
    if (s->log.read_only)
        return st_lib_fail(s, ST_READ_ONLY, "the state in %s is read-only here", s->log.dir);
    if (st_files_find(s) != STRATA_OK)
        return st_files_no_tree(s);
    char views[ST_PATH_SIZE];
    if (snprintf(views, sizeof views, "%s/views", s->log.dir) < (int)sizeof views)
        env->mkdir(env->ctx, views);
    env->mkdir(env->ctx, s->files->home);
    int code = files_lock(s, s->log.wait_ms);
    if (code != STRATA_OK)
        return code;
    code = st_files_load(s);
    if (code == ST_NOT_FOUND)
        code = STRATA_OK;
    if (code == STRATA_OK)
        forget_moved_bases(s);
    if (code == STRATA_OK)
        code = st_files_recover(s);
    if (code != STRATA_OK)
        files_unlock(s);
    return code;
}

int st_files_end(strata *s, int code)
{
    int saved = list_save(s);
    files_unlock(s);
    return code != STRATA_OK ? code : saved;
}

/* --- going through them ------------------------------------------------------------------------
 */

static uint64_t wall_ms(strata *s)
{
    return s->log.env->wall_ms(s->log.env->ctx);
}

/* Whether views may show something else than when they were last rendered. */
static bool state_moved(strata *s, const struct st_registry *r, struct st_tail *tail)
{
    memset(tail, 0, sizeof *tail);
    if (st_log_tail(&s->log, tail) != ST_OK)
        return false;
    return r->epoch != st_log_writer(&s->log).epoch || r->counter != tail->counter;
}

bool st_files_show(const struct st_registry *r, bool claims)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct st_view *v =
            r->list[i].kind == ST_ENTRY_VIEW ? st_view_find(r->list[i].name) : NULL;
        if (v != NULL && (claims ? v->shows_claims : v->shows_board))
            return true;
    }
    return false;
}

/* Another number whenever something is changed that views show beside the log: heartbeats, claims. 0: no
 * view shows any. */
static uint64_t beside_of(strata *s, const struct st_registry *r)
{
    char board[ST_PATH_SIZE + 8];
    snprintf(board, sizeof board, "%s/board", s->log.dir);
    return (st_files_show(r, false) ? (uint64_t)st_file_mtime_ns(board) : 0) +
           (st_files_show(r, true) ? st_claims_moves(s) : 0);
}

static bool beside_moved(strata *s, const struct st_registry *r)
{
    uint64_t beside = beside_of(s, r), now = wall_ms(s);
    return beside != 0 &&
           (beside != r->beside || now < r->checked_ms || now - r->checked_ms > ST_FILES_BOARD_MS);
}

static bool entry_dirty(strata *s, const struct st_entry *e)
{
    char path[ST_PATH_SIZE];
    struct st_file_stamp stamp;
    struct st_fault fault;
    if (e->kind == ST_ENTRY_GLOB)
        return st_pattern_moved(s, e);
    if (snprintf(path, sizeof path, "%s/%s", s->files->root, e->path) >= (int)sizeof path)
        return false;
    if (st_file_stamp_get(path, &stamp, &fault) != ST_OK)
        return e->kind == ST_ENTRY_VIEW || e->content != 0;
    return !st_entry_unchanged(e, &stamp);
}

struct work {
    unsigned flags;
    bool moved, dirty;
    bool log_only; /* it is only the log that has moved */
    struct st_tail tail;
    uint64_t beside;
    uint64_t now_ms;
};

/* What there is to do. Without the lock this is a guess. */
static void look(strata *s, unsigned flags, struct work *w)
{
    struct st_registry *r = &s->files->registry;
    *w = (struct work){.flags = flags, .beside = beside_of(s, r), .now_ms = wall_ms(s)};
    bool edits_only = (flags & STRATA_FILES_EDITS) != 0;
    bool log_moved = state_moved(s, r, &w->tail);
    bool other = beside_moved(s, r) || (flags & STRATA_FILES_RENDER) != 0;
    w->moved = log_moved || other;
    w->log_only = log_moved && !other;
    if (edits_only)
        w->moved = false;
    w->dirty = (flags & STRATA_FILES_ALL) != 0;
    for (size_t i = 0; !w->dirty && i < r->count; i++)
        w->dirty = entry_dirty(s, &r->list[i]);
}

static unsigned why_of(strata *s, const struct work *w, const struct st_entry *e)
{
    unsigned why = 0;
    if ((w->flags & STRATA_FILES_ALL) != 0 || entry_dirty(s, e))
        why |= ST_VIEW_DIRTY;
    if (w->moved && !e->committed && (!w->log_only || st_files_moved(s, e, &w->tail)))
        why |= ST_VIEW_STALE;
    if ((w->flags & STRATA_FILES_RENDER) != 0)
        why |= ST_VIEW_STALE | ST_VIEW_FORCE;
    return why;
}

static int entry_update(strata *s, struct st_entry *e, unsigned why)
{
    switch (e->kind) {
    case ST_ENTRY_VIEW:
        return st_view_update(s, e, why);
    case ST_ENTRY_FILE:
        return st_document_update(s, e, why);
    case ST_ENTRY_GLOB:
        return st_pattern_update(s, e);
    }
    return STRATA_OK;
}

/* What is wrong with one file is told, and does not keep the others from being looked after. */
static int go_through(strata *s, const struct work *w)
{
    struct st_registry *r = &s->files->registry;
    for (size_t i = 0; i < r->count; i++) {
        struct st_entry *e = &r->list[i];
        unsigned why = why_of(s, w, e);
        int code = why != 0 ? entry_update(s, e, why) : STRATA_OK;
        e = &r->list[i]; /* new files of a pattern may have moved the list */
        if (code != STRATA_OK)
            st_lib_notice(s, "%s: %s", e->path, s->error.message);
    }
    if (w->moved) {
        r->epoch = st_log_writer(&s->log).epoch;
        r->counter = w->tail.counter;
        r->beside = w->beside;
        r->checked_ms = w->now_ms;
        s->files->changed = true;
    }
    return STRATA_OK;
}

static int update_once(strata *s, unsigned flags, bool *again)
{
    struct work w;
    *again = false;
    int code = st_files_load(s);
    if (code != STRATA_OK)
        return code == ST_NOT_FOUND ? STRATA_OK : code;
    look(s, flags, &w);
    if (!w.moved && !w.dirty)
        return STRATA_OK;
    code = files_lock(s, ST_FILES_WAIT_MS);
    if (code != STRATA_OK)
        return code == ST_TIMEOUT ? STRATA_OK : code;
    code = st_files_load(s);
    if (code == STRATA_OK) {
        forget_moved_bases(s);
        code = st_files_recover(s);
    }
    if (code == STRATA_OK) {
        look(s, flags, &w);
        code = go_through(s, &w);
    }
    code = st_files_end(s, code == ST_NOT_FOUND ? STRATA_OK : code);
    struct st_tail tail;
    *again = code == STRATA_OK && (flags & STRATA_FILES_EDITS) == 0 &&
             state_moved(s, &s->files->registry, &tail);
    return code;
}

int strata_files_update(strata *s, unsigned flags, strata_files_result *result)
{
    strata_files_result ignored = {0};
    if (result != NULL)
        memset(result, 0, sizeof *result);
    if (s->log.read_only || st_files_find(s) != STRATA_OK)
        return STRATA_OK;
    s->files->result = result != NULL ? result : &ignored;
    int code = STRATA_OK;
    bool again = true;
    for (int i = 0; code == STRATA_OK && again && i < 4; i++) {
        code = update_once(s, flags, &again);
        flags &= ~(unsigned)(STRATA_FILES_ALL | STRATA_FILES_RENDER);
    }
    s->files->result = NULL;
    return code;
}
