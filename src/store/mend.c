/* mend.c - a forked log: trying, doing it, going on after a death. See mend.h. */
#include "store/mend_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum st_code st_mend_no_memory(struct st_mending *m)
{
    return st_fail(&m->log->fault, ST_NO_MEMORY, "out of memory; nothing was changed");
}

static void mend_init(struct st_mending *m, struct st_log *log)
{
    *m = (struct st_mending){.log = log, .next = log->identity, .fd = -1};
    st_vector_init(&m->context, log->alloc);
    st_buf_init(&m->out, log->alloc);
    st_buf_init(&m->names, log->alloc);
    st_record_scratch_init(&m->scratch, log->alloc);
}

static void mend_release(struct st_mending *m)
{
    if (m->fd >= 0)
        m->log->env->close(m->log->env->ctx, m->fd);
    for (size_t i = 0; i < m->count; i++)
        free(m->cuts[i].to);
    for (size_t i = 0; i < m->vector_count; i++)
        st_vector_release(&m->vectors[i]);
    free(m->vectors);
    free(m->dots);
    st_vector_release(&m->context);
    st_buf_release(&m->out);
    st_buf_release(&m->names);
    st_record_scratch_release(&m->scratch);
}

/* --- the steps -------------------------------------------------------------------------------- */

struct emptying {
    const struct st_env *env;
    const char *dir;
};

static int empty_one(void *arg, const char *name)
{
    const struct emptying *e = arg;
    struct st_fault fault;
    char path[ST_PATH_SIZE];
    if (st_path(&fault, path, e->dir, name, NULL) != ST_OK)
        return -ENAMETOOLONG;
    int r = e->env->unlink(e->env->ctx, path);
    return r == -ENOENT ? 0 : r;
}

/* Removes the files in a directory, if there is one. */
static enum st_code directory_empty(struct st_mending *m, const char *path)
{
    const struct st_env *env = m->log->env;
    struct emptying e = {env, path};
    int r = env->list(env->ctx, path, empty_one, &e);
    if (r >= 0)
        r = env->sync_directory(env->ctx, path);
    return r < 0 && r != -ENOENT ? st_fail_system(&m->log->fault, r, "cannot empty %s", path)
                                 : ST_OK;
}

static enum st_code epoch_write(struct st_mending *m)
{
    const struct st_env *env = m->log->env;
    char path[ST_PATH_SIZE], parent[ST_PATH_SIZE];
    enum st_code code = st_writer_path(&m->log->fault, path, m->log->dir, st_mend_writer(m));
    if (code == ST_OK)
        code = st_path(&m->log->fault, parent, m->log->dir, "log", NULL);
    if (code == ST_OK)
        code = directory_empty(m, path);
    int r = code == ST_OK ? env->mkdir(env->ctx, path) : 0;
    if (r < 0 && r != -EEXIST)
        return st_fail_system(&m->log->fault, r, "cannot create %s", path);
    if (code == ST_OK)
        code = st_mend_rewrite(m, false);
    r = code == ST_OK ? env->sync_directory(env->ctx, path) : 0;
    if (code == ST_OK && r >= 0)
        r = env->sync_directory(env->ctx, parent);
    return r < 0 ? st_fail_system(&m->log->fault, r, "cannot flush %s", parent) : code;
}

/* The end of the new epoch's log, which is whole. */
static enum st_code epoch_end(struct st_mending *m)
{
    struct st_log_reader r;
    struct st_record head;
    struct st_str line;
    m->tail = (struct st_tail){0};
    enum st_code code =
        st_log_reader_open(&r, m->log->env, m->log->alloc, m->log->dir, st_mend_writer(m));
    while (code == ST_OK && (code = st_log_reader_next(&r, &line, &head)) == ST_OK)
        m->tail = (struct st_tail){head.dot.counter, r.segment,         r.offset,   head.checksum,
                                   head.time.ms,     head.time.logical, head.number};
    if (code != ST_NOT_FOUND)
        m->log->fault = r.fault;
    st_log_reader_close(&r);
    return code == ST_NOT_FOUND ? ST_OK : code;
}

static enum st_code log_cut(struct st_mending *m, const struct st_mend_cut *cut)
{
    struct st_log *log = m->log;
    char dir[ST_PATH_SIZE], path[ST_PATH_SIZE];
    enum st_code code = st_segments_aside(log, cut->writer, cut->keep);
    if (code != ST_OK || cut->keep == 0)
        return code;
    struct st_tail tail = {0};
    code = st_writer_path(&log->fault, dir, log->dir, cut->writer);
    if (code == ST_OK)
        code = st_segment_find(log->env, dir, cut->keep, &tail.segment, &log->fault);
    if (code == ST_OK)
        code = st_segment_path(&log->fault, path, log->dir, cut->writer, tail.segment);
    if (code != ST_OK)
        return code;
    tail.counter = tail.segment - 1;
    int fd = log->env->open(log->env->ctx, path, ST_OPEN_WRITE);
    if (fd < 0)
        return st_fail_system(&log->fault, fd, "cannot open %s", path);
    bool broken;
    code = st_tail_scan(log, fd, cut->writer, &tail, cut->keep, &broken);
    if (code == ST_OK)
        code = st_tail_cut(log, fd, &tail);
    int r = code == ST_OK ? log->env->fdatasync(log->env->ctx, fd) : 0;
    log->env->close(log->env->ctx, fd);
    return r < 0 ? st_fail_system(&log->fault, r, "cannot flush %s", path) : code;
}

/* Reads a small file of the state whole; *out is empty when there is none. */
static enum st_code file_read(struct st_log *log, const char *name, struct st_buf *out)
{
    const struct st_env *env = log->env;
    char path[ST_PATH_SIZE], part[4096];
    enum st_code code = st_path(&log->fault, path, log->dir, name, NULL);
    int fd = code == ST_OK ? env->open(env->ctx, path, ST_OPEN_READ) : -1;
    if (code == ST_OK && fd < 0)
        return fd == -ENOENT || fd == -ENOTDIR
                   ? ST_OK
                   : st_fail_system(&log->fault, fd, "cannot read %s", path);
    ssize_t n = code == ST_OK ? 1 : 0;
    while (n > 0 && (n = env->pread(env->ctx, fd, part, sizeof part, out->n)) > 0)
        st_buf_add(out, part, (size_t)n);
    if (fd >= 0)
        env->close(env->ctx, fd);
    if (n < 0)
        return st_fail_system(&log->fault, (int)n, "cannot read %s", path);
    return out->failed ? st_fail(&log->fault, ST_NO_MEMORY, "out of memory") : code;
}

static void mended_line(const struct st_mend_cut *cut, char out[80])
{
    snprintf(out, 80, "%016" PRIx64 " %016" PRIx64 " %" PRIu64 "\n", cut->writer.replica,
             cut->writer.epoch, cut->keep);
}

static enum st_code mended_note(struct st_mending *m)
{
    struct st_buf text;
    char line[80];
    st_buf_init(&text, m->log->alloc);
    enum st_code code = file_read(m->log, "mended", &text);
    for (size_t i = 0; code == ST_OK && i < m->count; i++) {
        mended_line(&m->cuts[i], line);
        if (text.n == 0 || memmem(text.p, text.n, line, strlen(line)) == NULL)
            st_buf_add_text(&text, line);
    }
    if (code == ST_OK && text.failed)
        code = st_mend_no_memory(m);
    if (code == ST_OK)
        code = st_log_replace(m->log, "mended", text.p, text.n);
    st_buf_release(&text);
    return code;
}

/* What names records by their dots, and may be forgotten: marks of what agents have read, and the
 * renderings of views. */
static enum st_code caches_empty(struct st_mending *m)
{
    static const char *const names[] = {"reads", "views/kept"};
    enum st_code code = ST_OK;
#ifdef ST_DEFECT_MEND_CACHES_STAY
    return ST_OK;
#endif
    for (size_t i = 0; code == ST_OK && i < sizeof names / sizeof *names; i++) {
        char path[ST_PATH_SIZE];
        code = st_path(&m->log->fault, path, m->log->dir, names[i], NULL);
        if (code == ST_OK)
            code = directory_empty(m, path);
    }
    return code;
}

static enum st_code plan_forget(struct st_mending *m)
{
    const struct st_env *env = m->log->env;
    char path[ST_PATH_SIZE];
    enum st_code code = st_path(&m->log->fault, path, m->log->dir, "mend", NULL);
    int r = code == ST_OK ? env->unlink(env->ctx, path) : 0;
    if (r >= 0)
        r = env->sync_directory(env->ctx, m->log->dir);
    return r < 0 ? st_fail_system(&m->log->fault, r, "cannot remove %s", path) : code;
}

static enum st_code plan_store(struct st_mending *m)
{
    struct st_buf text;
    char line[160];
    st_buf_init(&text, m->log->alloc);
    snprintf(line, sizeof line, "strata-mend 1 %016" PRIx64 " %" PRIu64 " %" PRIu64 " %zu\n",
             m->next.epoch, m->low, m->high, m->count);
    st_buf_add_text(&text, line);
    for (size_t i = 0; i < m->count; i++) {
        const struct st_mend_cut *cut = &m->cuts[i];
        snprintf(line, sizeof line, "%016" PRIx64 " %016" PRIx64 " %" PRIu64 " %" PRIu64 "\n",
                 cut->writer.replica, cut->writer.epoch, cut->keep, cut->end);
        st_buf_add_text(&text, line);
    }
    enum st_code code =
        text.failed ? st_mend_no_memory(m) : st_log_replace(m->log, "mend", text.p, text.n);
    st_buf_release(&text);
    return code;
}

static bool plan_parse(struct st_mending *m, const char *text)
{
    int n = 0;
    size_t count = 0;
    if (sscanf(text, "strata-mend 1 %16" SCNx64 " %" SCNu64 " %" SCNu64 " %zu\n%n", &m->next.epoch,
               &m->low, &m->high, &count, &n) != 4 ||
        n == 0 || count == 0 || count > ST_MEND_LOGS_MAX)
        return false;
    while (m->count < count) {
        struct st_mend_cut *cut = &m->cuts[m->count];
        text += n;
        n = 0;
        if (sscanf(text, "%16" SCNx64 " %16" SCNx64 " %" SCNu64 " %" SCNu64 "\n%n",
                   &cut->writer.replica, &cut->writer.epoch, &cut->keep, &cut->end, &n) != 4 ||
            n == 0 || cut->end < cut->keep)
            return false;
        m->count++;
    }
    return true;
}

/* Everything behind the plan; the append lock is held. */
static enum st_code finish(struct st_mending *m)
{
    struct st_log *log = m->log;
    bool stored = log->identity.epoch == m->next.epoch;
    memcpy(m->next.boot_id, log->boot_id, 16);
    snprintf(m->next.reason, sizeof m->next.reason, "doubt");
    st_suffix_renew(&m->next);
    enum st_code code = stored ? epoch_end(m) : epoch_write(m);
    st_point(log, "mend.written");
    if (code == ST_OK)
        code = st_fingerprint(log, &m->next);
    if (code == ST_OK && !stored)
        code = st_identity_store(log, &m->next);
    st_point(log, "mend.stored");
    for (size_t i = 0; code == ST_OK && i < m->count; i++)
        code = log_cut(m, &m->cuts[i]);
    st_point(log, "mend.cut");
    if (code == ST_OK)
        code = caches_empty(m);
    if (code == ST_OK)
        code = mended_note(m);
    if (code == ST_OK)
        code = plan_forget(m);
    st_point(log, "mend.done");
    if (code != ST_OK)
        return code;
    st_segment_close(log);
    if (!stored)
        log->identity = m->next;
    st_page_begin(log, &m->tail);
    log->began_epoch = true;
    log->quarantined_size = 0; /* it is told otherwise */
    return ST_OK;
}

enum st_code st_mend_resume(struct st_log *log, bool *resumed)
{
    struct st_mending m;
    struct st_buf text;
    *resumed = false;
    st_buf_init(&text, log->alloc);
    enum st_code code = file_read(log, "mend", &text);
    if (code != ST_OK || text.n == 0) {
        st_buf_release(&text);
        return code;
    }
    mend_init(&m, log);
    st_buf_add_char(&text, '\0');
    if (text.failed)
        code = st_mend_no_memory(&m);
    else if (!plan_parse(&m, text.p))
        code = st_fail(&log->fault, ST_DAMAGED, "%s/mend is damaged", log->dir);
    if (code == ST_OK)
        code = finish(&m);
    *resumed = code == ST_OK;
    mend_release(&m);
    st_buf_release(&text);
    return code;
}

/* Frozen, so that nobody goes on writing to it, whatever happens next. */
static enum st_code begin(struct st_mending *m)
{
    struct st_log *log = m->log;
    enum st_code code = st_flush_all(log);
    if (code != ST_OK)
        return code;
    st_page_freeze(log, log->identity.epoch);
    st_point(log, "mend.frozen");
#ifndef ST_DEFECT_MEND_UNPLANNED
    code = plan_store(m);
#endif
    st_point(log, "mend.planned");
    return code == ST_OK ? finish(m) : code;
}

static enum st_code try_it(struct st_mending *m, const char *published)
{
    struct st_tail tail;
    uint64_t random = 0;
    enum st_code code = st_log_tail(m->log, &tail);
    if (code == ST_OK)
        code = st_mend_find_fork(m, published, tail.counter);
    if (code != ST_OK || m->count == 0)
        return code;
    code = st_random_id(m->log, &random);
    m->next.epoch =
        (st_epoch_ordinal(m->log->identity.epoch) + 1) << 48 | (random & 0xffffffffffffu);
    st_suffix_renew(&m->next);
    return code == ST_OK ? st_mend_rewrite(m, true) : code;
}

enum st_code st_mend(struct st_log *log, const char *published, struct st_mended *out)
{
    struct st_mending m;
    *out = (struct st_mended){0};
#ifdef ST_DEFECT_MEND_NOTHING
    return ST_OK;
#endif
    enum st_code code = st_log_lock(log);
    if (code != ST_OK)
        return code;
    mend_init(&m, log);
    code = try_it(&m, published);
    if (code == ST_OK && m.count > 0) {
        uint64_t records = m.records;
        code = begin(&m);
        out->records = records;
        out->number_low = m.low;
        out->number_high = m.high;
        snprintf(out->suffix, sizeof out->suffix, "%s", m.next.number_suffix);
    } else if (code == ST_CONFLICT || code == ST_LIMIT || code == ST_INVALID) {
        code = ST_OK; /* told as any other fork */
    }
    mend_release(&m);
    st_log_unlock(log);
    return code;
}

bool st_mend_under_way(const struct st_env *env, const char *state_dir)
{
    struct st_fault fault;
    struct st_file_info info;
    char path[ST_PATH_SIZE];
    return st_path(&fault, path, state_dir, "mend", NULL) == ST_OK &&
           env->stat(env->ctx, path, &info) >= 0;
}

bool st_mend_keeps(const struct st_log *log, struct st_dot dot)
{
    struct st_log reading = *log;
    struct st_buf text;
    bool keeps = true;
#ifdef ST_DEFECT_MEND_BASES_STAY
    return true;
#endif
    st_buf_init(&text, log->alloc);
    if (file_read(&reading, "mended", &text) == ST_OK && text.n > 0) {
        st_buf_add_char(&text, '\0');
        char *rest = text.p, *line;
        struct st_writer w;
        uint64_t keep;
        while (!text.failed && (line = strsep(&rest, "\n")) != NULL)
            if (sscanf(line, "%16" SCNx64 " %16" SCNx64 " %" SCNu64, &w.replica, &w.epoch, &keep) ==
                3)
                keeps = keeps && (st_writer_compare(w, dot.writer) != 0 || dot.counter <= keep);
    }
    st_buf_release(&text);
    return keeps;
}
