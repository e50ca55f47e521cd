#include "store/intake.h"

#include "store/log_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes gathered before one write: with what the last line adds, they stay in the processor's cache. */
#define COPY_SIZE (64u * 1024)

/* One writer's records here and there. */
struct run {
    struct st_writer writer;
    uint64_t named; /* in our context before */
    uint64_t end;   /* on our disk after copying */
    bool tells;     /* what is new holds more than "seen" operations */
};

/* A record with a "seen" operation: what it needs. */
struct need {
    size_t run;
    uint64_t counter;
    struct st_vector vector;
};

struct copier {
    int fd;                   /* of ours; -1: none */
    uint64_t segment, offset; /* where buf starts */
    struct st_buf buf;
};

struct work {
    struct st_log *log;
    const char *other;
    bool published; /* it has what was published of our own log */
    struct st_vector context;
    struct run *runs;
    size_t run_count, run_cap;
    struct need *needs;
    size_t need_count, need_cap;
    struct st_record_scratch scratch;
    struct st_hlc latest;
    uint64_t number; /* the highest that what was taken in knows */
    struct copier copier;
    struct st_intake *out;
};

static enum st_code no_memory(struct st_log *log)
{
    return st_fail(&log->fault, ST_NO_MEMORY, "out of memory; nothing was taken in");
}

/* --- copying -------------------------------------------------------------------------------------
 */

static enum st_code copier_write(struct work *k)
{
    struct copier *c = &k->copier;
    if (c->fd < 0 || c->buf.n == 0)
        return ST_OK;
    int r = st_write_all(k->log->env, c->fd, c->buf.p, c->buf.n, c->offset);
    if (r < 0)
        return st_fail_system(&k->log->fault, r, "cannot store another replica's records in %s",
                              k->log->dir);
    c->offset += c->buf.n;
    st_buf_reset(&c->buf);
    return ST_OK;
}

/* Writes the rest, flushes, closes. */
static enum st_code copier_end(struct work *k)
{
    struct copier *c = &k->copier;
    if (c->fd < 0)
        return ST_OK;
    enum st_code code = copier_write(k);
#ifdef ST_DEFECT_NAME_BEFORE_FLUSH
    int r = 0;
#else
    int r = code == ST_OK ? k->log->env->fdatasync(k->log->env->ctx, c->fd) : 0;
#endif
    k->log->env->close(k->log->env->ctx, c->fd);
    c->fd = -1;
    st_buf_reset(&c->buf);
    return r < 0 ? st_fail_system(&k->log->fault, r, "cannot flush another replica's records in %s",
                                  k->log->dir)
                 : code;
}

static enum st_code copier_begin(struct work *k, struct st_writer w, uint64_t segment,
                                 uint64_t offset)
{
    const struct st_env *env = k->log->env;
    char dir[ST_PATH_SIZE], parent[ST_PATH_SIZE], path[ST_PATH_SIZE];
    enum st_code code = st_writer_path(&k->log->fault, dir, k->log->dir, w);
    if (code == ST_OK)
        code = st_segment_path(&k->log->fault, path, k->log->dir, w, segment);
    if (code == ST_OK)
        code = st_path(&k->log->fault, parent, k->log->dir, "log", NULL);
    if (code != ST_OK)
        return code;
    int r = env->mkdir(env->ctx, dir);
    r = r == -EEXIST ? 0 : r < 0 ? r : env->sync_directory(env->ctx, parent);
    int fd = r < 0 ? r : env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (fd < 0)
        return st_fail_system(&k->log->fault, fd, "cannot create %s", path);
    k->copier.fd = fd;
    k->copier.segment = segment;
    k->copier.offset = offset;
    /* What an interrupted copy left behind does not verify. */
    r = env->ftruncate(env->ctx, fd, offset);
    if (r >= 0)
        r = env->sync_directory(env->ctx, dir);
    return r < 0 ? st_fail_system(&k->log->fault, r, "cannot create %s", path) : ST_OK;
}

static enum st_code copy_line(struct work *k, const struct st_log_reader *r, struct st_str line)
{
    struct copier *c = &k->copier;
    enum st_code code = ST_OK;
    if (c->fd >= 0 && c->segment != r->line_segment)
        code = copier_end(k);
    if (code == ST_OK && c->fd < 0)
        code = copier_begin(k, r->writer, r->line_segment, r->line_offset);
    if (code == ST_OK && c->buf.n >= COPY_SIZE)
        code = copier_write(k);
    if (code != ST_OK)
        return code;
    st_buf_add_str(&c->buf, line);
    return c->buf.failed ? no_memory(k->log) : ST_OK;
}

/* --- what a record needs ---------------------------------------------------------------------- */

static enum st_code need_add(struct work *k, size_t run, struct st_str line)
{
    struct st_record r;
    /* Not decodable: verified as a record, unreadable inside; applying will say so. */
    if (!st_record_may_see(line) || st_record_decode(line, &k->scratch, &r) != ST_OK) {
        k->runs[run].tells = true;
        return ST_OK;
    }
    for (size_t i = 0; i < r.op_count; i++) {
        if (r.ops[i].kind != ST_OP_SEEN) {
            k->runs[run].tells = true;
            continue;
        }
        if (!st_grow(&k->needs, &k->need_cap, k->need_count + 1, sizeof *k->needs))
            return no_memory(k->log);
        struct need *n = &k->needs[k->need_count++];
        n->run = run;
        n->counter = r.dot.counter;
        st_vector_init(&n->vector, k->log->alloc);
        if (!st_vector_join(&n->vector, &r.ops[i].vector))
            return no_memory(k->log);
    }
    return ST_OK;
}

static uint64_t end_of(const struct work *k, struct st_writer w)
{
    for (size_t i = 0; i < k->run_count; i++)
        if (st_writer_compare(k->runs[i].writer, w) == 0)
            return k->runs[i].end;
    return st_vector_get(&k->context, w);
}

static bool need_met(const struct work *k, const struct need *n)
{
    for (size_t i = 0; i < n->vector.count; i++)
        if (end_of(k, n->vector.entries[i].writer) < n->vector.entries[i].counter)
            return false;
    return true;
}

/* Lowers the ends of the runs until everything that is named has what it needs. */
static void close_causally(struct work *k)
{
    bool changed = true;
#ifdef ST_DEFECT_EARLY_SHOWN
    return;
#endif
    while (changed) {
        changed = false;
        for (size_t i = 0; i < k->need_count; i++) {
            struct need *n = &k->needs[i];
            struct run *run = &k->runs[n->run];
            if (n->counter <= run->end && !need_met(k, n)) {
                k->out->waiting += run->end - (n->counter - 1);
                run->end = n->counter - 1;
                changed = true;
            }
        }
    }
}

/* --- one writer ------------------------------------------------------------------------------- */

static enum st_code note(struct work *k, size_t run, struct st_str line,
                         const struct st_record *head)
{
    if (st_hlc_compare(head->time, k->latest) > 0)
        k->latest = head->time;
#ifndef ST_DEFECT_NUMBER_NOT_RAISED
    if (head->number > k->number)
        k->number = head->number;
#endif
    k->runs[run].end = head->dot.counter;
    return need_add(k, run, line);
}

/* What of this writer is on our disk; *checksum of its last record, when *known. */
static enum st_code scan_ours(struct work *k, size_t run, uint64_t *checksum, bool *known)
{
    struct st_log_reader r;
    struct st_str line;
    struct st_record head;
    struct run *ours = &k->runs[run];
    enum st_code code =
        st_log_reader_open(&r, k->log->env, k->log->alloc, k->log->dir, ours->writer);
    if (code == ST_OK && ours->named > 0)
        code = st_log_reader_find(&r, ours->named + 1);
    while (code == ST_OK && (code = st_log_reader_next(&r, &line, &head)) == ST_OK)
        code = note(k, run, line, &head);
    *checksum = r.checksum;
    *known = r.checksum_known;
    bool lacks = r.counter < ours->named;
    if (lacks)
        code = st_fail(&r.fault, ST_DAMAGED, "%s ends before record %" PRIu64, r.dir, ours->named);
    else if (code == ST_NOT_FOUND || code == ST_DAMAGED)
        code = ST_OK; /* an interrupted copy: written again */
    if (code != ST_OK)
        k->log->fault = r.fault;
    st_log_reader_close(&r);
    return code;
}

static void forked(struct work *k, struct st_writer w)
{
    k->out->forks++;
    snprintf(k->out->fork, sizeof k->out->fork, "%016" PRIx64 "-%016" PRIx64, w.replica, w.epoch);
}

/* Whether the last record that a reader of theirs has read is another one than ours under the same
 * number. */
static bool differs(struct work *k, const struct st_log_reader *theirs)
{
    struct st_log_reader r;
    struct st_str line;
    struct st_record head;
    if (theirs->counter == 0 || !theirs->checksum_known)
        return false;
    bool other = false;
    enum st_code code =
        st_log_reader_open(&r, k->log->env, k->log->alloc, k->log->dir, theirs->writer);
    if (code == ST_OK)
        code = st_log_reader_find(&r, theirs->counter);
    if (code == ST_OK && st_log_reader_next(&r, &line, &head) == ST_OK)
        other = head.checksum != theirs->checksum;
    st_log_reader_close(&r);
    return other;
}

static enum st_code copy_theirs(struct work *k, size_t run, uint64_t checksum, bool known)
{
    struct st_log_reader r;
    struct st_str line;
    struct st_record head;
    struct run *ours = &k->runs[run];
    uint64_t here = ours->end;
    enum st_code code = st_log_reader_open(&r, k->log->env, k->log->alloc, k->other, ours->writer);
    if (code == ST_OK && here > 0)
        code = st_log_reader_find(&r, here + 1);
    if (code == ST_OK && known && here > 0 && r.counter == here && r.checksum_known &&
        r.checksum != checksum) {
        forked(k, ours->writer);
        code = ST_NOT_FOUND;
    } else if (code == ST_NOT_FOUND && differs(k, &r)) {
        forked(k, ours->writer);
    }
    while (code == ST_OK && (code = st_log_reader_next(&r, &line, &head)) == ST_OK) {
        if (known && head.dot.counter == here + 1 && head.previous != checksum) {
            forked(k, ours->writer);
            break;
        }
        code = copy_line(k, &r, line);
        if (code == ST_OK)
            code = note(k, run, line, &head);
    }
    if (code == ST_NOT_FOUND || code == ST_DAMAGED)
        code = ST_OK; /* an append in progress there, or damage there: what was whole is here */
    else if (code != ST_OK && k->log->fault.code == ST_OK)
        k->log->fault = r.fault;
    st_log_reader_close(&r);
    enum st_code end = copier_end(k);
    return code == ST_OK ? end : code;
}

static enum st_code take_writer(struct work *k, struct st_writer w)
{
    if (!st_grow(&k->runs, &k->run_cap, k->run_count + 1, sizeof *k->runs))
        return no_memory(k->log);
    size_t run = k->run_count++;
    uint64_t named = st_vector_get(&k->context, w), checksum = 0;
    k->runs[run] = (struct run){.writer = w, .named = named, .end = named};
    bool known = true;
    enum st_code code = scan_ours(k, run, &checksum, &known);
    if (code == ST_OK)
        code = copy_theirs(k, run, checksum, known);
    return code;
}

/* --- the whole -------------------------------------------------------------------------------- */

/* Whether the other side has records of our current epoch that we lack, or others than ours under
 * the same numbers. */
static enum st_code own_found(struct work *k, bool *found)
{
    struct st_tail tail;
    struct st_log_reader r;
    struct st_str line;
    struct st_record head;
    *found = false;
    enum st_code code = st_log_tail(k->log, &tail);
    if (code == ST_OK)
        code = st_log_reader_open(&r, k->log->env, k->log->alloc, k->other, st_log_writer(k->log));
    if (code != ST_OK)
        return code;
    code = st_log_reader_find(&r, tail.counter + 1);
    if (code == ST_OK)
        code = st_log_reader_next(&r, &line, &head);
#ifndef ST_DEFECT_OWN_FORK_UNSEEN
    *found = differs(k, &r);
#endif
    if (code == ST_OK) {
        /* It may have taken in from here what was appended just now. */
        code = st_log_tail(k->log, &tail);
        *found = *found || tail.counter < head.dot.counter;
    } else {
        code = ST_OK;
    }
    st_log_reader_close(&r);
    return code;
}

/* Two replicas that only told each other what they have seen would go on with that for ever: such
 * records are named with the next ones that tell something. */
static bool worth_naming(const struct work *k)
{
    for (size_t i = 0; i < k->run_count; i++)
        if (k->runs[i].tells && k->runs[i].end > k->runs[i].named)
            return true;
    return false;
}

static enum st_code name_them(struct work *k)
{
    if (!worth_naming(k))
        return ST_OK;
    struct st_op op = {.kind = ST_OP_SEEN};
    st_vector_init(&op.vector, k->log->alloc);
    bool ok = true;
    for (size_t i = 0; i < k->run_count && ok; i++) {
        const struct run *run = &k->runs[i];
        if (run->end <= run->named)
            continue;
        k->out->records += run->end - run->named;
        k->out->writers++;
        ok = st_vector_raise(&op.vector, run->writer, run->end);
    }
    enum st_code code = ok ? ST_OK
                           : st_fail(&k->log->fault, ST_LIMIT,
                                     "more than %d writers in one workspace", ST_WRITERS_MAX);
    if (code == ST_OK && op.vector.count > 0)
        code = st_log_lock(k->log);
    if (code == ST_OK && op.vector.count > 0) {
        struct st_record r = {.ops = &op, .op_count = 1, .number = k->number};
        code = st_log_append(k->log, &r, k->latest);
        st_log_unlock(k->log);
        if (code == ST_OK)
            code = st_log_wait_durable(k->log, r.dot.writer.epoch, r.dot.counter);
    }
    st_vector_release(&op.vector);
    return code;
}

static enum st_code take_all(struct work *k)
{
    struct st_writer *writers = NULL;
    size_t count = 0;
    enum st_code code = st_log_writers(k->log->env, k->log->alloc, k->other, &writers, &count);
    if (code != ST_OK)
        return st_fail(&k->log->fault, code, "cannot list the logs in %s", k->other);
    bool found = false;
    if (k->published)
        code = st_mend(k->log, k->other, &k->out->mended);
    if (code == ST_OK)
        code = own_found(k, &found);
    if (code == ST_OK && found) {
        k->out->own_found = true;
        code = st_log_renew(k->log, "doubt");
    }
    if (code == ST_OK)
        /* Others may have seen our own records: those we have. */
        code = st_log_context(k->log, &k->context);
    struct st_writer own = st_log_writer(k->log);
    for (size_t i = 0; i < count && code == ST_OK; i++)
        if (st_writer_compare(writers[i], own) != 0)
            code = take_writer(k, writers[i]);
    free(writers);
    if (code == ST_OK) {
#ifndef ST_DEFECT_TAKE_UNCLOSED
        close_causally(k);
#endif
        code = name_them(k);
    }
    return code;
}

/* An empty replica takes over the other's workspace. */
static enum st_code check_workspace(struct st_log *log, const char *other, uint64_t workspace,
                                    bool adopt, struct st_intake *out)
{
    if (workspace == log->identity.workspace)
        return ST_OK;
    struct st_tail tail;
    enum st_code code = st_log_tail(log, &tail);
    if (code != ST_OK)
        return code;
    if (tail.counter > 0 && !adopt) {
        st_fail(&log->fault, ST_CONFLICT, "%s is another workspace (%016" PRIx64 ")", other,
                workspace);
        return st_hint(&log->fault,
                       "nothing was taken in; --adopt takes its records in all the same");
    }
    out->joined = tail.counter == 0;
    return out->joined ? st_log_set_workspace(log, workspace) : ST_OK;
}

static enum st_code take_logs(struct st_log *log, const char *dir, uint64_t workspace, bool adopt,
                              bool published, struct st_intake *out)
{
    struct work k = {.log = log, .other = dir, .published = published, .copier.fd = -1, .out = out};
    memset(out, 0, sizeof *out);
    log->fault.code = ST_OK;
    enum st_code code = st_log_take(log, ST_LOCK_INTAKE, log->wait_ms);
    if (code != ST_OK)
        return code;
    st_vector_init(&k.context, log->alloc);
    st_buf_init(&k.copier.buf, log->alloc);
    st_record_scratch_init(&k.scratch, log->alloc);
    code = check_workspace(log, dir, workspace, adopt, out);
    if (code == ST_OK)
        code = take_all(&k);
    if (k.copier.fd >= 0)
        log->env->close(log->env->ctx, k.copier.fd);
    st_log_drop(log, ST_LOCK_INTAKE);
    for (size_t i = 0; i < k.need_count; i++)
        st_vector_release(&k.needs[i].vector);
    free(k.needs);
    free(k.runs);
    st_vector_release(&k.context);
    st_buf_release(&k.copier.buf);
    st_record_scratch_release(&k.scratch);
    return code;
}

enum st_code st_intake_published(struct st_log *log, const char *dir, uint64_t workspace,
                                 struct st_intake *out)
{
    return take_logs(log, dir, workspace, false, true, out);
}

enum st_code st_intake(struct st_log *log, const char *other_state_dir, bool adopt,
                       struct st_intake *out)
{
    struct st_log there = {.env = log->env};
    memset(out, 0, sizeof *out);
    if (strlen(other_state_dir) >= ST_PATH_SIZE)
        return st_fail(&log->fault, ST_LIMIT, "the path is over %d bytes", ST_PATH_SIZE - 1);
    strcpy(there.dir, other_state_dir);
    enum st_code code = st_identity_load(&there);
    if (code != ST_OK) {
        log->fault = there.fault;
        return code;
    }
    if (st_mend_under_way(log->env, other_state_dir)) {
        st_fail(&log->fault, ST_UNAVAILABLE, "somebody died while mending the log of %s",
                other_state_dir);
        return st_hint(&log->fault, "nothing was taken in; any strata command there puts it right");
    }
    return take_logs(log, other_state_dir, there.identity.workspace, adopt, false, out);
}
