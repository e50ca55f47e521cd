/*
 * files.c - the files of the work tree: finding their list, locking, replacing them, and putting
 * things right after a process died in the middle.
 *
 * <home>/writing, while a file is being replaced:
 *   <path> <inode of the new text> <checksum of the new text> <of the text it was made from>
 * with tabs between them. See st_files_recover() for what it is good for.
 */
#include "lib/files.h"

#include "core/glob.h"
#include "store/log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ns(void)
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
static int files_find(strata *s)
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

static int no_tree(strata *s)
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
static int list_load(strata *s)
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
    if (files_find(s) != STRATA_OK)
        return no_tree(s);
    int code = list_load(s);
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

/* --- writing records -------------------------------------------------------------------------- */

/* What is certain to fit one record: ST_LINE_SIZE_MAX less the head, each byte escaped once. */
#define RECORD_VALUES_MAX ((ST_LINE_SIZE_MAX - 4096) / 2)
#define OP_SIZE           256 /* of its names, punctuation and a few dots of a context */

static size_t op_weight(const struct st_op *op)
{
    return OP_SIZE + op->entity.n + op->attribute.n + op->value.n + op->vector.count * 32;
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
    int code = batch != NULL ? STRATA_OK : st_lib_fail(s, ST_NO_MEMORY, "out of memory");
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

/* --- replacing -------------------------------------------------------------------------------- */

void st_files_looked(strata *s, struct st_entry *e, const struct st_file_stamp *stamp,
                     struct st_str text)
{
    e->stamp = *stamp;
    e->content = st_checksum(text.p, text.n);
    e->looked_ns = now_ns();
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
    if (st_file_put(env, file, text, true, &fault) != ST_OK) {
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

static struct st_entry *entry_of(strata *s, const char *path)
{
    for (size_t i = 0; i < s->files->registry.count; i++)
        if (strcmp(s->files->registry.list[i].path, path) == 0 &&
            s->files->registry.list[i].kind != ST_ENTRY_GLOB)
            return &s->files->registry.list[i];
    return NULL;
}

/* STRATA_LIMIT: one entry more is too many. */
static int check_room(strata *s)
{
    if (s->files->registry.count < ST_FILES_MAX)
        return STRATA_OK;
    return st_lib_fail(s, ST_LIMIT, "there are %d views and tracked files here; that is the limit",
                       ST_FILES_MAX);
}

/* A text that was displaced and not looked at: as if it had been found in the file just now. */
static int absorb(strata *s, const struct journal *j, const char *path, struct st_str unseen)
{
    struct st_buf now;
    struct st_fault fault;
    struct st_entry *e = entry_of(s, j->path);
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
static int recover(strata *s)
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

/* --- the lock --------------------------------------------------------------------------------- */

/* STRATA_TIMEOUT: somebody else works on the files. */
static int files_lock(strata *s, uint64_t wait_ms)
{
    struct st_files *f = s->files;
    const struct st_env *env = s->log.env;
    char path[ST_PATH_SIZE + 8];
    snprintf(path, sizeof path, "%s/lock", f->home);
    if (f->lock_fd < 0)
        f->lock_fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (f->lock_fd < 0) {
        struct st_fault fault;
        int r = f->lock_fd;
        f->lock_fd = -1;
        st_fail_system(&fault, r, "cannot open %s", path);
        return st_lib_fault(s, &fault);
    }
    uint64_t until = env->boot_ns(env->ctx) + wait_ms * ST_NS_PER_MS;
    int r;
    while ((r = env->lock_try(env->ctx, f->lock_fd)) == -EWOULDBLOCK &&
           env->boot_ns(env->ctx) < until)
        env->sleep_ns(env->ctx, ST_NS_PER_MS);
    if (r == -EWOULDBLOCK) {
        st_lib_fail(s, ST_TIMEOUT, "another process works on the files of %s", f->root);
        st_lib_hint(s, "try again, and if it stays so look whether that process is stopped");
        return ST_TIMEOUT;
    }
    struct st_fault fault;
    if (r < 0) {
        st_fail_system(&fault, r, "cannot lock %s", path);
        return st_lib_fault(s, &fault);
    }
    return STRATA_OK;
}

static void files_unlock(strata *s)
{
    s->log.env->unlock(s->log.env->ctx, s->files->lock_fd);
}

/* For calls that are about files: the lock, the list (a new one if there is none), things put
 * right. files_end() after STRATA_OK. */
static int files_begin(strata *s)
{
    const struct st_env *env = s->log.env;
    if (s->log.read_only)
        return st_lib_fail(s, ST_READ_ONLY, "the state in %s is read-only here", s->log.dir);
    if (files_find(s) != STRATA_OK)
        return no_tree(s);
    char views[ST_PATH_SIZE];
    if (snprintf(views, sizeof views, "%s/views", s->log.dir) < (int)sizeof views)
        env->mkdir(env->ctx, views);
    env->mkdir(env->ctx, s->files->home);
    int code = files_lock(s, s->log.wait_ms);
    if (code != STRATA_OK)
        return code;
    code = list_load(s);
    if (code == ST_NOT_FOUND)
        code = STRATA_OK;
    if (code == STRATA_OK)
        code = recover(s);
    if (code != STRATA_OK)
        files_unlock(s);
    return code;
}

static int files_end(strata *s, int code)
{
    int saved = list_save(s);
    files_unlock(s);
    return code != STRATA_OK ? code : saved;
}

/* --- going through them ------------------------------------------------------------------------
 */

static int64_t board_ns(strata *s)
{
    char path[ST_PATH_SIZE + 8];
    struct stat st;
    snprintf(path, sizeof path, "%s/board", s->log.dir);
    return stat(path, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec : 0;
}

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

static bool has_board(const struct st_registry *r)
{
    for (size_t i = 0; i < r->count; i++) {
        const struct st_view *v =
            r->list[i].kind == ST_ENTRY_VIEW ? st_view_find(r->list[i].name) : NULL;
        if (v != NULL && v->shows_board)
            return true;
    }
    return false;
}

static bool board_moved(strata *s, const struct st_registry *r)
{
    if (!has_board(r))
        return false;
    uint64_t now = wall_ms(s);
    return board_ns(s) != r->board_ns || now < r->checked_ms ||
           now - r->checked_ms > ST_FILES_BOARD_MS;
}

/* The directory of a pattern; 0: none. */
static int64_t directory_ns(strata *s, const char *pattern, char out[ST_PATH_SIZE])
{
    struct stat st;
    if (snprintf(out, ST_PATH_SIZE, "%s/%s", s->files->root, pattern) >= ST_PATH_SIZE)
        return 0;
    *strrchr(out, '/') = '\0';
    return stat(out, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec : 0;
}

struct matches {
    strata *s;
    const char *pattern;
    size_t prefix; /* of the pattern, up to its last slash */
    int code;
};

static int match_one(void *arg, const char *name)
{
    struct matches *m = arg;
    char relative[ST_PATH_SIZE], path[ST_PATH_SIZE];
    struct st_file_stamp stamp;
    struct st_fault fault;
    int n = snprintf(relative, sizeof relative, "%.*s%s", (int)m->prefix, m->pattern, name);
    if (name[0] == '.' || n > ST_FILE_PATH_MAX || entry_of(m->s, relative) != NULL ||
        !st_glob_match(st_str_of(m->pattern), st_str_of(relative)) ||
        st_files_path(m->s, relative, path) != STRATA_OK ||
        st_file_stamp_get(path, &stamp, &fault) != ST_OK)
        return 0;
    struct st_entry entry = {.kind = ST_ENTRY_FILE, .path = relative};
    m->code = check_room(m->s);
    if (m->code != STRATA_OK)
        return m->code;
    struct st_entry *e = st_registry_add(&m->s->files->registry, &entry);
    m->s->files->changed_set = true;
    m->code = e == NULL ? st_lib_fail(m->s, ST_NO_MEMORY, "out of memory") : STRATA_OK;
    return m->code;
}

/* Files that match by now are tracked from now on. */
static int pattern_update(strata *s, struct st_entry *e)
{
    char dir[ST_PATH_SIZE];
    const char *pattern = e->path, *slash = strrchr(pattern, '/');
    struct matches m = {s, pattern, slash != NULL ? (size_t)(slash - pattern) + 1 : 0, STRATA_OK};
    int64_t ns = directory_ns(s, pattern, dir);
    /* The list may move while it grows: the entry is changed first. */
    e->looked_ns = ns + ST_STAMP_GRAIN_NS < now_ns() ? ns : 0;
    s->files->changed = true;
    s->log.env->list(s->log.env->ctx, dir, match_one, &m);
    return m.code;
}

static bool entry_dirty(strata *s, const struct st_entry *e)
{
    char path[ST_PATH_SIZE];
    struct st_file_stamp stamp;
    struct st_fault fault;
    if (e->kind == ST_ENTRY_GLOB)
        return directory_ns(s, e->path, path) != e->looked_ns;
    if (snprintf(path, sizeof path, "%s/%s", s->files->root, e->path) >= (int)sizeof path)
        return false;
    if (st_file_stamp_get(path, &stamp, &fault) != ST_OK)
        return e->kind == ST_ENTRY_VIEW || e->content != 0;
    return !st_entry_unchanged(e, &stamp);
}

struct work {
    unsigned flags;
    bool moved, dirty;
    struct st_tail tail;
    int64_t board_ns;
    uint64_t now_ms;
};

/* What there is to do. Without the lock this is a guess. */
static void look(strata *s, unsigned flags, struct work *w)
{
    struct st_registry *r = &s->files->registry;
    *w = (struct work){.flags = flags, .board_ns = board_ns(s), .now_ms = wall_ms(s)};
    bool edits_only = (flags & STRATA_FILES_EDITS) != 0;
    w->moved =
        state_moved(s, r, &w->tail) || board_moved(s, r) || (flags & STRATA_FILES_RENDER) != 0;
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
    if (w->moved && !e->committed)
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
        return pattern_update(s, e);
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
        r->board_ns = w->board_ns;
        r->checked_ms = w->now_ms;
        s->files->changed = true;
    }
    return STRATA_OK;
}

static int update_once(strata *s, unsigned flags, bool *again)
{
    struct work w;
    *again = false;
    int code = list_load(s);
    if (code != STRATA_OK)
        return code == ST_NOT_FOUND ? STRATA_OK : code;
    look(s, flags, &w);
    if (!w.moved && !w.dirty)
        return STRATA_OK;
    code = files_lock(s, ST_FILES_WAIT_MS);
    if (code != STRATA_OK)
        return code == ST_TIMEOUT ? STRATA_OK : code;
    code = list_load(s);
    if (code == STRATA_OK)
        code = recover(s);
    if (code == STRATA_OK) {
        look(s, flags, &w);
        code = go_through(s, &w);
    }
    code = files_end(s, code == ST_NOT_FOUND ? STRATA_OK : code);
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
    if (s->log.read_only || files_find(s) != STRATA_OK)
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

/* --- adding and removing views -----------------------------------------------------------------
 */

/* A path given by a person to one of the work tree, without symbolic links. */
static int relative_path(strata *s, const char *given, char out[ST_PATH_SIZE])
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
    if (realpath(full, real) == NULL) {
        /* Not there yet: its directory has to be. */
        *slash = '\0';
        if (lstat(given, &st) == 0 || realpath(slash == full ? "/" : full, real) == NULL)
            return st_lib_fail(s, ST_INVALID, "cannot find the directory of '%.200s'", given);
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

static struct st_entry *view_find(strata *s, const char *name, const char *subject,
                                  const char *path)
{
    for (size_t i = 0; i < s->files->registry.count; i++) {
        struct st_entry *e = &s->files->registry.list[i];
        if (e->kind == ST_ENTRY_VIEW && strcmp(e->name, name) == 0 &&
            (subject == NULL || strcmp(e->subject, subject) == 0) &&
            (path == NULL || strcmp(e->path, path) == 0))
            return e;
    }
    return NULL;
}

/* Whether a HEARTBEAT.md has something for an agent to do. Comments, headings and empty list items
 * are nothing, as agents that follow such a file take it. */
static bool has_instructions(struct st_str text)
{
    struct st_blocks blocks;
    struct st_str line;
    st_blocks_find(text, "heartbeat", st_view_heartbeat.classify, &blocks);
    if (blocks.count > 0)
        return false;
    while (st_line_next(&text, &line)) {
        size_t i = 0;
        while (i < line.n && strchr(" \t-*[]", line.p[i]) != NULL)
            i++;
        bool comment = line.n - i >= 4 && memcmp(line.p + i, "<!--", 4) == 0;
        if (i < line.n && line.p[i] != '#' && !comment)
            return true;
    }
    return false;
}

static int check_instructions(strata *s, const char *path, const char *relative)
{
    struct st_buf text;
    struct st_fault fault;
    const char *base = strrchr(relative, '/');
    if (strcasecmp(base != NULL ? base + 1 : relative, "HEARTBEAT.md") != 0)
        return STRATA_OK;
    st_buf_init(&text, st_alloc_libc());
    bool busy = st_file_get(path, ST_FILE_SIZE_MAX, &text, NULL, &fault) == ST_OK &&
                has_instructions(st_buf_str(&text));
    st_buf_release(&text);
    if (!busy)
        return STRATA_OK;
    st_lib_fail(s, ST_CONFLICT,
                "%s has instructions that agents follow; a board in it would be "
                "read as one of them",
                relative);
    st_lib_hint(s, "nothing was changed; use: strata view add heartbeat --file AGENTS-STATUS.md");
    return ST_CONFLICT;
}

static void fill_view(const struct st_entry *e, strata_view *out)
{
    *out = (strata_view){e->name, e->subject, e->path, e->committed};
}

#define HAS(o, field) ((o)->size >= offsetof(__typeof__(*(o)), field) + sizeof((o)->field))

static int usual_file(strata *s, const struct st_view *view, const char *subject,
                      char out[ST_PATH_SIZE])
{
    if (subject[0] == '\0' || view == &st_view_queue) {
        snprintf(out, ST_PATH_SIZE, "%s", view->file);
        return STRATA_OK;
    }
    if (strchr(subject, '/') != NULL || subject[0] == '.')
        return st_lib_fail(s, ST_USAGE,
                           "'%.80s' cannot be the name of a file: give one with --file", subject);
    snprintf(out, ST_PATH_SIZE, "%s.md", subject);
    return STRATA_OK;
}

static int add_locked(strata *s, const struct st_view *view, const strata_view_options *o,
                      const char *subject, strata_view *out)
{
    struct st_files *f = s->files;
    char usual[ST_PATH_SIZE], relative[ST_PATH_SIZE], path[ST_PATH_SIZE];
    const char *given = HAS(o, path) ? o->path : NULL;
    int code = given == NULL ? usual_file(s, view, subject, usual) : STRATA_OK;
    if (code == STRATA_OK)
        code = relative_path(s, given != NULL ? given : usual, relative);
    if (code == STRATA_OK)
        code = st_files_path(s, relative, path);
    if (code != STRATA_OK)
        return code;
    if (view_find(s, view->name, subject, relative) != NULL)
        return st_lib_fail(s, ST_EXISTS, "%s has this view already", relative);
    code = check_room(s);
    if (code != STRATA_OK)
        return code;
    code = given == NULL && view == &st_view_heartbeat ? check_instructions(s, path, relative)
                                                       : STRATA_OK;
    if (code != STRATA_OK)
        return code;
    struct st_entry entry = {
        .kind = ST_ENTRY_VIEW,
        .name = view->name,
        .subject = subject,
        .path = relative,
        .committed = HAS(o, committed) && o->committed,
    };
    struct st_file_stamp stamp;
    struct st_fault fault;
    bool existed = st_file_stamp_get(path, &stamp, &fault) != ST_NOT_FOUND;
    if (existed && !entry.committed && st_git_has(f->root, relative)) {
        entry.committed = true;
        st_lib_notice(s, "Git has %s: it is written after edits, and by `strata view render`",
                      relative);
    }
    struct st_entry *e = st_registry_add(&f->registry, &entry);
    if (e == NULL)
        return st_lib_fail(s, ST_NO_MEMORY, "out of memory");
    f->changed_set = true;
    code = st_view_update(s, e, ST_VIEW_DIRTY | ST_VIEW_STALE | ST_VIEW_FORCE);
    if (code != STRATA_OK) {
        st_registry_remove(&f->registry, e);
        return code;
    }
    if (!existed && !e->committed)
        st_git_ignore(s, relative, true);
    fill_view(e, out);
    return STRATA_OK;
}

int strata_view_add(strata *s, const strata_view_options *o, strata_view *out)
{
    const struct st_view *view = o->name != NULL ? st_view_find(o->name) : NULL;
    if (view == NULL) {
        st_lib_fail(s, ST_INVALID, "there is no view '%.40s'", o->name != NULL ? o->name : "");
        st_lib_hint(s, "views are: heartbeat, facts, queue");
        return ST_INVALID;
    }
    const char *subject = HAS(o, subject) && o->subject != NULL ? o->subject : "";
    if (subject[0] != '\0' && !view->takes_subject)
        return st_lib_fail(s, ST_USAGE, "the view %s is not of one entity", view->name);
    int code = subject[0] != '\0' ? st_lib_name(s, "entity", subject) : STRATA_OK;
    if (code == STRATA_OK)
        code = files_begin(s);
    if (code != STRATA_OK)
        return code;
    code = add_locked(s, view, o, subject, out);
    return files_end(s, code);
}

static bool is_missing(strata *s, const char *relative)
{
    char path[ST_PATH_SIZE];
    struct st_file_stamp stamp;
    struct st_fault fault;
    return st_files_path(s, relative, path) == STRATA_OK &&
           st_file_stamp_get(path, &stamp, &fault) == ST_NOT_FOUND;
}

int strata_view_remove(strata *s, const char *name, const char *subject, const char *path)
{
    char relative[ST_PATH_SIZE];
    int code = files_begin(s);
    if (code != STRATA_OK)
        return code;
    code = path != NULL ? relative_path(s, path, relative) : STRATA_OK;
    struct st_entry *e =
        code == STRATA_OK ? view_find(s, name, subject, path != NULL ? relative : NULL) : NULL;
    if (code == STRATA_OK && e == NULL) {
        code = st_lib_fail(s, ST_NOT_FOUND, "there is no view %s here", name);
        st_lib_hint(s, "`strata view list` has them");
    }
    if (code == STRATA_OK)
        code = st_view_take_out(s, e);
    if (code == STRATA_OK) {
        if (is_missing(s, e->path))
            st_git_ignore(s, e->path, false);
        st_registry_remove(&s->files->registry, e);
        s->files->changed_set = true;
    }
    return files_end(s, code);
}

int strata_view_each(strata *s, int (*visit)(void *arg, const strata_view *v), void *arg)
{
    if (files_find(s) != STRATA_OK)
        return STRATA_OK;
    int code = list_load(s), result = 0;
    for (size_t i = 0; code == STRATA_OK && result == 0 && i < s->files->registry.count; i++) {
        strata_view v;
        if (s->files->registry.list[i].kind != ST_ENTRY_VIEW)
            continue;
        fill_view(&s->files->registry.list[i], &v);
        result = visit(arg, &v);
    }
    if (code == ST_NOT_FOUND)
        code = STRATA_OK;
    return code == STRATA_OK && result < 0 ? result : code;
}

/* --- tracked files -----------------------------------------------------------------------------
 */

static void seen_path(const struct st_files *f, const char *agent, char out[ST_PATH_SIZE + 80])
{
    snprintf(out, ST_PATH_SIZE + 80, "%s/seen-%s", f->home, agent);
}

/* Takes the mark of a path out of an agent's file, and puts another in. */
static bool seen_change(strata *s, const char *path, const char *put, char dot[ST_ID_SIZE])
{
    char file[ST_PATH_SIZE + 80];
    struct st_buf text, out;
    struct st_fault fault;
    struct st_str rest, line;
    bool found = false;
    seen_path(s->files, s->agent, file);
    st_buf_init(&text, st_alloc_libc());
    st_buf_init(&out, st_alloc_libc());
    (void)st_file_get(file, ST_SEEN_SIZE_MAX, &text, NULL, &fault);
    rest = st_buf_str(&text);
    while (st_line_next(&rest, &line)) {
        const char *tab = memchr(line.p, '\t', line.n);
        size_t n = tab != NULL ? (size_t)(tab - line.p) : 0;
        bool same =
            tab != NULL && st_str_equal((struct st_str){tab + 1, line.n - n - 1}, st_str_of(path));
        if (same && n < ST_ID_SIZE) {
            memcpy(dot, line.p, n);
            dot[n] = '\0';
            found = true;
        } else if (!same && out.n < ST_SEEN_SIZE_MAX / 2) {
            st_buf_add_str(&out, line);
            st_buf_add_char(&out, '\n');
        }
    }
    if (put != NULL) {
        st_buf_add_text(&out, put);
        st_buf_add_char(&out, '\t');
        st_buf_add_text(&out, path);
        st_buf_add_char(&out, '\n');
    }
    if ((found || put != NULL) && !out.failed)
        st_file_put(s->log.env, file, st_buf_str(&out), false, &fault);
    st_buf_release(&text);
    st_buf_release(&out);
    return found;
}

bool st_files_seen_get(strata *s, const char *path, char dot[ST_ID_SIZE])
{
    return s->agent[0] != '\0' && seen_change(s, path, NULL, dot);
}

int strata_file_seen(strata *s, const char *given)
{
    char path[ST_PATH_SIZE], dot[ST_ID_SIZE];
    if (s->agent[0] == '\0')
        return st_lib_fail(s, ST_USAGE, "who has read it? a mark needs an agent's name");
    int code = files_begin(s);
    if (code != STRATA_OK)
        return code;
    code = relative_path(s, given, path);
    struct st_entry *e = code == STRATA_OK ? entry_of(s, path) : NULL;
    if (code == STRATA_OK && (e == NULL || e->kind != ST_ENTRY_FILE))
        code = st_lib_fail(s, ST_NOT_FOUND, "%s is not tracked", path);
    if (code == STRATA_OK)
        code = st_document_update(s, e, ST_VIEW_DIRTY);
    if (code == STRATA_OK)
        seen_change(s, path, e->base, dot);
    return files_end(s, code);
}

static bool is_pattern(const char *path)
{
    return strpbrk(path, "*?[") != NULL;
}

static int track_pattern(strata *s, const char *pattern)
{
    const char *slash = strrchr(pattern, '/');
    if (st_glob_check(st_str_of(pattern)) != ST_OK || strstr(pattern, "**") != NULL ||
        (slash != NULL && strcspn(pattern, "*?[") < (size_t)(slash - pattern)))
        return st_lib_fail(
            s, ST_INVALID,
            "'%.80s': a pattern is a directory of the work tree, a slash, and a name "
            "with * ? or [..] in it",
            pattern);
    struct st_entry entry = {.kind = ST_ENTRY_GLOB, .path = pattern};
    for (size_t i = 0; i < s->files->registry.count; i++)
        if (s->files->registry.list[i].kind == ST_ENTRY_GLOB &&
            strcmp(s->files->registry.list[i].path, pattern) == 0)
            return STRATA_OK;
    struct st_entry *e = st_registry_add(&s->files->registry, &entry);
    if (e == NULL)
        return st_lib_fail(s, ST_NO_MEMORY, "out of memory");
    s->files->changed_set = true;
    int code = pattern_update(s, e);
    for (size_t i = 0; code == STRATA_OK && i < s->files->registry.count; i++) {
        e = &s->files->registry.list[i];
        if (e->kind != ST_ENTRY_FILE || e->content != 0)
            continue;
        if (st_document_update(s, e, ST_VIEW_DIRTY) != STRATA_OK)
            st_lib_notice(s, "%s: %s", e->path, s->error.message);
    }
    return code;
}

static int track_file(strata *s, const char *given, char path[ST_PATH_SIZE])
{
    int code = relative_path(s, given, path);
    struct st_entry *e = code == STRATA_OK ? entry_of(s, path) : NULL;
    if (code != STRATA_OK)
        return code;
    if (e != NULL && e->kind != ST_ENTRY_FILE)
        return st_lib_fail(s, ST_EXISTS, "%s has a view in it; it cannot be tracked as well", path);
    bool added = e == NULL;
    struct st_entry entry = {.kind = ST_ENTRY_FILE, .path = path};
    code = added ? check_room(s) : STRATA_OK;
    if (code != STRATA_OK)
        return code;
    if (added)
        e = st_registry_add(&s->files->registry, &entry);
    if (e == NULL)
        return st_lib_fail(s, ST_NO_MEMORY, "out of memory");
    s->files->changed_set = s->files->changed_set || added;
    code = st_document_update(s, e, ST_VIEW_DIRTY | ST_VIEW_FORCE);
    if (code == STRATA_OK && e->content == 0) {
        char full[ST_PATH_SIZE];
        struct st_file_stamp stamp;
        struct st_fault fault;
        if (st_files_path(s, path, full) != STRATA_OK ||
            st_file_stamp_get(full, &stamp, &fault) != ST_OK)
            code = st_lib_fail(s, ST_NOT_FOUND, "there is no file %s", path);
    }
    if (code != STRATA_OK && added)
        st_registry_remove(&s->files->registry, e);
    return code;
}

int strata_track(strata *s, const char *given)
{
    char path[ST_PATH_SIZE];
    int code = files_begin(s);
    if (code != STRATA_OK)
        return code;
    code = is_pattern(given) ? track_pattern(s, given) : track_file(s, given, path);
    return files_end(s, code);
}

int strata_untrack(strata *s, const char *given)
{
    char path[ST_PATH_SIZE];
    int code = files_begin(s);
    if (code != STRATA_OK)
        return code;
    if (is_pattern(given))
        snprintf(path, sizeof path, "%s", given);
    else
        code = relative_path(s, given, path);
    struct st_registry *r = &s->files->registry;
    bool found = false;
    for (size_t i = r->count; code == STRATA_OK && i > 0; i--)
        if (r->list[i - 1].kind != ST_ENTRY_VIEW && strcmp(r->list[i - 1].path, path) == 0) {
            st_registry_remove(r, &r->list[i - 1]);
            found = s->files->changed_set = true;
        }
    if (code == STRATA_OK && !found)
        code = st_lib_fail(s, ST_NOT_FOUND, "%s is not tracked", path);
    return files_end(s, code);
}

int strata_file_each(strata *s, int (*visit)(void *arg, const char *path, bool pattern), void *arg)
{
    if (files_find(s) != STRATA_OK)
        return STRATA_OK;
    int code = list_load(s), result = 0;
    for (size_t i = 0; code == STRATA_OK && result == 0 && i < s->files->registry.count; i++) {
        const struct st_entry *e = &s->files->registry.list[i];
        if (e->kind != ST_ENTRY_VIEW)
            result = visit(arg, e->path, e->kind == ST_ENTRY_GLOB);
    }
    if (code == ST_NOT_FOUND)
        code = STRATA_OK;
    return code == STRATA_OK && result < 0 ? result : code;
}

/* --- appending ---------------------------------------------------------------------------------
 */

/* One write(2) at the end, flushed. *again: another file is there by now. */
static enum st_code append_once(const char *path, struct st_str text, bool *again,
                                struct st_fault *fault)
{
    struct stat mine, there;
    struct st_buf line;
    char last = '\n';
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return st_fail_system(fault, -errno, "cannot open %s", path);
    st_buf_init(&line, st_alloc_libc());
    if (fstat(fd, &mine) == 0 && mine.st_size > 0)
        (void)!pread(fd, &last, 1, mine.st_size - 1);
    if (last != '\n')
        st_buf_add_char(&line, '\n');
    st_buf_add_str(&line, text);
    if (text.n == 0 || text.p[text.n - 1] != '\n')
        st_buf_add_char(&line, '\n');
    enum st_code code = ST_OK;
    if (line.failed)
        code = st_fail(fault, ST_NO_MEMORY, "out of memory");
    ssize_t n = code == ST_OK ? write(fd, line.p, line.n) : 0;
    if (code == ST_OK && n >= 0 && (size_t)n < line.n) {
        /* A full disk: all or nothing, unless somebody has written behind it. */
        off_t end = lseek(fd, 0, SEEK_END);
        if (end == mine.st_size + n)
            (void)!ftruncate(fd, mine.st_size);
        errno = ENOSPC;
        n = -1;
    }
    if (code == ST_OK && (n < 0 || fdatasync(fd) < 0))
        code = st_fail_system(fault, -errno, "cannot append to %s", path);
    *again = code == ST_OK &&
             (stat(path, &there) < 0 || there.st_ino != mine.st_ino || there.st_dev != mine.st_dev);
    close(fd);
    st_buf_release(&line);
    return code;
}

int strata_append(strata *s, const char *given, const char *text, size_t size)
{
    char relative[ST_PATH_SIZE], path[ST_PATH_SIZE];
    struct st_fault fault;
    struct st_str line = {text, size == STRATA_NUL ? strlen(text) : size};
    if (line.n > ST_VALUE_SIZE_MAX)
        return st_lib_fail(s, ST_LIMIT, "the text is %zu bytes long; the limit is %d", line.n,
                           ST_VALUE_SIZE_MAX);
    int code = files_begin(s);
    if (code != STRATA_OK)
        return code;
    code = relative_path(s, given, relative);
    if (code == STRATA_OK)
        code = st_files_path(s, relative, path);
    struct st_entry *e = code == STRATA_OK ? entry_of(s, relative) : NULL;
    bool tracked = e != NULL && e->kind == ST_ENTRY_FILE;
    if (tracked)
        code = st_document_update(s, e, ST_VIEW_DIRTY);
    bool again = code == STRATA_OK;
    for (int i = 0; code == STRATA_OK && again && i < ST_FILES_TRIES; i++)
        if (append_once(path, line, &again, &fault) != ST_OK)
            code = st_lib_fault(s, &fault);
    if (code == STRATA_OK && again)
        code = st_lib_fail(s, ST_OUTCOME_UNKNOWN,
                           "%s was replaced by somebody each time: the line may not be in it",
                           relative);
    if (code == STRATA_OK && tracked)
        code = st_document_update(s, e, ST_VIEW_DIRTY);
    return files_end(s, code);
}
