/* mend.c - a forked log: finding out, trying, doing it, going on after a death. See mend.h. */
#include "store/mend.h"

#include "store/log_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes gathered before one write. */
#define GATHER_SIZE (1024u * 1024)

/* One log of the forked life: its records after `keep`, up to `end`, move. */
struct cut {
    struct st_writer writer;
    uint64_t keep, end;
    uint64_t *to; /* of record keep + 1 + i: its new counter; 0: there is none */
};

struct mend {
    struct st_log *log;
    struct st_identity next; /* of the new epoch */
    struct cut cuts[ST_MEND_LOGS_MAX];
    size_t count;
    uint64_t low, high; /* numbers above, up to: both lives may have given them */
    bool trying;        /* nothing is written */
    /* the new epoch's log */
    int fd;
    struct st_tail tail;
    struct st_vector context; /* of the tail, without the epoch itself */
    uint64_t records;         /* written again */
    struct st_buf out;        /* behind what is in the file */
    struct st_record_scratch scratch;
    struct st_buf names;
    struct st_vector *vectors; /* "seen" of the operations of one record */
    size_t vector_count;
    struct st_dot *dots; /* "at" of them */
};

static enum st_code no_memory(struct mend *m)
{
    return st_fail(&m->log->fault, ST_NO_MEMORY, "out of memory; nothing was changed");
}

static void mend_init(struct mend *m, struct st_log *log)
{
    *m = (struct mend){.log = log, .next = log->identity, .fd = -1};
    st_vector_init(&m->context, log->alloc);
    st_buf_init(&m->out, log->alloc);
    st_buf_init(&m->names, log->alloc);
    st_record_scratch_init(&m->scratch, log->alloc);
}

static void mend_release(struct mend *m)
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

/* --- whether there is a fork ------------------------------------------------------------------ */

/* Reads a log of ours and what was published of it side by side. *forked: record cut->keep + 1 is
 * another one there; *high: the highest number that was known there in the end. */
static enum st_code compare(struct mend *m, const char *published, struct cut *cut, bool *forked)
{
    struct st_log *log = m->log;
    struct st_log_reader ours, theirs;
    struct st_record mine = {0}, other = {0};
    struct st_str line;
    *forked = false;
    enum st_code code = st_log_reader_open(&ours, log->env, log->alloc, log->dir, cut->writer);
    enum st_code there = st_log_reader_open(&theirs, log->env, log->alloc, published, cut->writer);
    cut->keep = 0;
    while (code == ST_OK && there == ST_OK && !*forked && cut->keep < cut->end) {
        there = st_log_reader_next(&theirs, &line, &other);
        if (there == ST_OK)
            code = st_log_reader_next(&ours, &line, &mine);
        if (code != ST_OK || there != ST_OK)
            break;
        *forked = mine.checksum != other.checksum;
        if (!*forked) {
            cut->keep++;
            m->low = mine.number;
        }
    }
    while (*forked && there == ST_OK) {
        m->high = other.number > m->low ? other.number : m->low;
        there = st_log_reader_next(&theirs, &line, &other);
    }
    if (code != ST_OK)
        log->fault = ours.fault;
    st_log_reader_close(&ours);
    st_log_reader_close(&theirs);
    return code;
}

/* --- which logs belong to it ------------------------------------------------------------------ */

static bool is_published(struct st_log *log, const char *published, struct st_writer w)
{
    struct st_log_reader r;
    struct st_str line;
    struct st_record head;
    bool yes = st_log_reader_open(&r, log->env, log->alloc, published, w) == ST_OK &&
               st_log_reader_find(&r, UINT64_MAX) == ST_OK &&
               st_log_reader_next(&r, &line, &head) == ST_OK;
    st_log_reader_close(&r);
    return yes;
}

/* The epoch that a log of ours goes on from, and how far that went: the one before of those that its
 * first record names. Counter 0: that does not tell. */
static enum st_code before_it(struct mend *m, struct st_writer w, struct st_dot *out)
{
    struct st_log_reader r;
    struct st_str line;
    struct st_record first;
    *out = (struct st_dot){0};
    size_t found = 0;
    enum st_code code = st_log_reader_open(&r, m->log->env, m->log->alloc, m->log->dir, w);
    if (code == ST_OK)
        code = st_log_reader_next(&r, &line, &first);
    if (code == ST_OK)
        code = st_record_decode(line, &m->scratch, &first);
    for (size_t i = 0; code == ST_OK && i < first.op_count; i++)
        for (size_t n = 0; first.ops[i].kind == ST_OP_SEEN && n < first.ops[i].vector.count; n++) {
            const struct st_vector_entry *e = &first.ops[i].vector.entries[n];
            if (e->writer.replica != w.replica ||
                st_epoch_ordinal(e->writer.epoch) + 1 != st_epoch_ordinal(w.epoch))
                continue;
            *out = (struct st_dot){e->writer, e->counter};
            found++;
        }
    if (found != 1)
        out->counter = 0;
    st_log_reader_close(&r);
    return code == ST_NOT_FOUND ? ST_OK : code;
}

/* The current log and those it goes on from, the latest first; `tail` is its end. */
static enum st_code logs_of(struct mend *m, uint64_t tail)
{
    struct st_dot at = {st_log_writer(m->log), tail};
    enum st_code code = ST_OK;
    while (code == ST_OK && at.counter > 0 && m->count < ST_MEND_LOGS_MAX) {
        m->cuts[m->count++] = (struct cut){.writer = at.writer, .end = at.counter};
        code = before_it(m, at.writer, &at);
    }
    return code;
}

/* Leaves the logs of the forked life in m->cuts, the earliest first; none: there is nothing to
 * mend. The last epoch that others know is the one that can have forked. */
static enum st_code find_fork(struct mend *m, const char *published, uint64_t tail)
{
    enum st_code code = logs_of(m, tail);
    size_t logs = 0;
    bool forked = false;
    while (code == ST_OK && logs < m->count) {
        struct cut *cut = &m->cuts[logs++];
        if (!is_published(m->log, published, cut->writer))
            continue;
        code = compare(m, published, cut, &forked);
        break;
    }
    m->count = code == ST_OK && forked ? logs : 0;
    for (size_t i = 0; i < m->count / 2; i++) {
        struct cut one = m->cuts[i];
        m->cuts[i] = m->cuts[m->count - 1 - i];
        m->cuts[m->count - 1 - i] = one;
    }
    return code;
}

/* --- what moves ------------------------------------------------------------------------------- */

static const struct cut *cut_of(const struct mend *m, struct st_writer w, uint64_t counter)
{
    for (size_t i = 0; i < m->count; i++)
        if (st_writer_compare(m->cuts[i].writer, w) == 0)
            return counter > m->cuts[i].keep && counter <= m->cuts[i].end ? &m->cuts[i] : NULL;
    return NULL;
}

static struct st_writer new_writer(const struct mend *m)
{
    return (struct st_writer){m->next.replica, m->next.epoch};
}

static struct st_dot dot_moved(const struct mend *m, struct st_dot d)
{
    const struct cut *cut = cut_of(m, d.writer, d.counter);
#ifdef ST_DEFECT_MEND_DOTS_STAY
    cut = NULL;
#endif
    if (cut == NULL)
        return d;
    return (struct st_dot){new_writer(m), cut->to[d.counter - cut->keep - 1]};
}

/* Joins into *out what `in` says of what stays. */
static bool vector_stays(const struct mend *m, const struct st_vector *in, struct st_vector *out)
{
    bool ok = true;
    for (size_t i = 0; ok && i < in->count; i++) {
        struct st_vector_entry e = in->entries[i];
        const struct cut *cut = cut_of(m, e.writer, e.counter);
        uint64_t stays = cut == NULL ? e.counter : cut->keep;
        if (stays > 0)
            ok = st_vector_raise(out, e.writer, stays);
    }
    return ok;
}

/* Joins the names that single records have now. */
static bool vector_moved(const struct mend *m, const struct st_vector *in, struct st_vector *out)
{
    bool ok = true;
    for (size_t i = 0; ok && i < in->count; i++) {
        struct st_vector_entry e = in->entries[i];
        struct st_dot d = dot_moved(m, (struct st_dot){e.writer, e.counter});
        ok = st_vector_raise(out, d.writer, d.counter);
    }
    return ok;
}

/* Into out, in their order, each once. Returns how many. */
static size_t dots_moved(const struct mend *m, const struct st_op *op, struct st_dot *out)
{
    size_t count = 0;
    for (size_t i = 0; i < op->at_count; i++)
        count = st_dots_add(out, count, dot_moved(m, op->at[i]));
    return count;
}

/* A name that both lives may have given. */
static struct st_str name_moved(struct mend *m, struct st_str name)
{
    const char *suffix = m->log->identity.number_suffix;
    size_t n = strlen(suffix), i = 1;
    uint64_t number = 0;
#ifdef ST_DEFECT_MEND_NUMBERS_STAY
    return name;
#endif
    if (m->low == m->high || st_entity_kind(name) != ST_ENTITY_NUMBERED)
        return name;
    while (i < name.n && name.p[i] >= '0' && name.p[i] <= '9' && number <= ST_NUMBER_MAX / 10)
        number = number * 10 + (uint64_t)(name.p[i++] - '0');
    bool ours =
        n == 0 ? i == name.n
               : name.n == i + 1 + n && name.p[i] == '@' && memcmp(name.p + i + 1, suffix, n) == 0;
    if (!ours || number <= m->low || number > m->high)
        return name;
    size_t before = m->names.n;
    st_buf_add(&m->names, name.p, i);
    st_buf_add_char(&m->names, '@');
    st_buf_add_text(&m->names, m->next.number_suffix);
    return (struct st_str){m->names.p + before, m->names.n - before};
}

/* A record of another replica that was taken in since, and needs one that was published. */
static enum st_code needs_published(struct mend *m, struct st_writer w, uint64_t from, uint64_t to)
{
    struct st_log *log = m->log;
    struct st_log_reader r;
    struct st_record_scratch scratch;
    struct st_record record;
    struct st_str line;
    st_record_scratch_init(&scratch, log->alloc);
    bool needs = false;
    enum st_code code = st_log_reader_open(&r, log->env, log->alloc, log->dir, w);
    if (code == ST_OK)
        code = st_log_reader_find(&r, from + 1);
    while (code == ST_OK && !needs && r.counter < to) {
        code = st_log_reader_next(&r, &line, &record);
        if (code == ST_OK)
            code = st_record_decode(line, &scratch, &record);
        for (size_t i = 0; code == ST_OK && i < record.op_count; i++)
            for (size_t n = 0; record.ops[i].kind == ST_OP_SEEN && n < record.ops[i].vector.count;
                 n++) {
                const struct st_vector_entry *e = &record.ops[i].vector.entries[n];
                needs = needs || cut_of(m, e->writer, e->counter) != NULL;
            }
    }
    if (code != ST_OK)
        log->fault = r.fault;
    st_log_reader_close(&r);
    st_record_scratch_release(&scratch);
    return code == ST_OK && needs ? ST_CONFLICT : code;
}

/* --- the new epoch's log ---------------------------------------------------------------------- */

static enum st_code gathered_write(struct mend *m, bool flush)
{
    const struct st_env *env = m->log->env;
    int r = m->out.n == 0 || m->trying
                ? 0
                : st_write_all(env, m->fd, m->out.p, m->out.n, m->tail.offset - m->out.n);
    if (r >= 0 && flush && m->fd >= 0)
        r = env->fdatasync(env->ctx, m->fd);
    st_buf_reset(&m->out);
    return r < 0 ? st_fail_system(&m->log->fault, r, "cannot write a new epoch in %s", m->log->dir)
                 : ST_OK;
}

static enum st_code segment_open(struct mend *m)
{
    const struct st_env *env = m->log->env;
    char path[ST_PATH_SIZE];
    enum st_code code = gathered_write(m, true);
    m->tail.segment = m->tail.counter + 1;
    m->tail.offset = 0;
    if (code == ST_OK)
        code = st_segment_path(&m->log->fault, path, m->log->dir, new_writer(m), m->tail.segment);
    if (code != ST_OK || m->trying)
        return code;
    if (m->fd >= 0)
        env->close(env->ctx, m->fd);
    m->fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE | ST_OPEN_EXCLUSIVE);
    return m->fd < 0 ? st_fail_system(&m->log->fault, m->fd, "cannot create %s", path) : ST_OK;
}

static enum st_code record_put(struct mend *m, struct st_record *r)
{
    const char *what = "";
    r->dot = (struct st_dot){new_writer(m), m->tail.counter + 1};
    r->previous = m->tail.checksum;
    enum st_code code = st_record_check(r, &what);
    if (code != ST_OK)
        return st_fail(&m->log->fault, code, "record %" PRIu64 " cannot be written again: %s",
                       m->records + 1, what);
    size_t start = m->out.n;
    st_record_encode(r, &m->out);
    if (m->out.failed)
        return no_memory(m);
    uint64_t checksum = st_checksum(m->out.p + start, m->out.n - start);
    st_record_seal(&m->out, checksum);
    if (m->out.failed)
        return no_memory(m);
    size_t size = m->out.n - start;
    if (size > ST_LINE_SIZE_MAX)
        return st_fail(&m->log->fault, ST_LIMIT, "written again a record is %zu bytes long", size);
    m->tail = (struct st_tail){r->dot.counter, m->tail.segment, m->tail.offset + size,
                               checksum,       r->time.ms,      r->time.logical,
                               r->number};
    return m->out.n >= GATHER_SIZE ? gathered_write(m, false) : ST_OK;
}

/* A segment begins with the whole context, if there is any. */
static enum st_code context_put(struct mend *m)
{
    struct st_op op = {.kind = ST_OP_SEEN, .vector = m->context};
    struct st_record r = {.ops = &op,
                          .op_count = 1,
                          .number = m->tail.number,
                          .time = {m->tail.time_ms, (uint32_t)m->tail.time_logical}};
    enum st_code code = segment_open(m);
    return code == ST_OK && m->context.count > 0 ? record_put(m, &r) : code;
}

/* Of what a record says that it has seen: what stays, and is not known yet. *news: something is. */
static enum st_code seen_moved(struct mend *m, const struct st_op *op, struct st_vector *out,
                               bool *news)
{
    if (!vector_stays(m, &op->vector, out))
        return no_memory(m);
    *news = !st_vector_within(out, &m->context);
    enum st_code code = ST_OK;
    for (size_t i = 0; m->trying && code == ST_OK && i < out->count; i++) {
        struct st_vector_entry e = out->entries[i];
        uint64_t known = st_vector_get(&m->context, e.writer);
#ifdef ST_DEFECT_MEND_NEEDS_UNSEEN
        continue;
#endif
        if (e.counter > known && e.writer.replica != m->next.replica)
            code = needs_published(m, e.writer, known, e.counter);
    }
    return code != ST_OK || st_vector_join(&m->context, out) ? code : no_memory(m);
}

/* Room for the vectors, dots and names of one record. */
static enum st_code room_make(struct mend *m, const struct st_record *r)
{
    size_t dots = 1;
    for (size_t i = 0; i < m->vector_count; i++)
        st_vector_release(&m->vectors[i]);
    m->vector_count = 0;
    for (size_t i = 0; i < r->op_count; i++)
        dots += r->ops[i].at_count;
    struct st_vector *more = realloc(m->vectors, (r->op_count + 1) * sizeof *more);
    if (more == NULL)
        return no_memory(m);
    m->vectors = more;
    struct st_dot *more_dots = realloc(m->dots, dots * sizeof *more_dots);
    if (more_dots == NULL)
        return no_memory(m);
    m->dots = more_dots;
    st_buf_reset(&m->names);
    return st_buf_reserve(&m->names, 2 * r->op_count * ST_NUMBERED_SIZE) ? ST_OK : no_memory(m);
}

/* Says the same of the records as they are called now; leaves out what it need not say. */
static enum st_code record_move(struct mend *m, struct st_record *r)
{
    enum st_code code = room_make(m, r);
    struct st_dot *dots = m->dots;
    size_t kept = 0;
    for (size_t i = 0; code == ST_OK && i < r->op_count; i++) {
        struct st_op op = r->ops[i];
        struct st_vector *v = &m->vectors[m->vector_count];
        bool seen = op.kind == ST_OP_SEEN, says = true;
        if (seen) {
            st_vector_init(v, m->log->alloc);
            m->vector_count++;
            if (i == 0)
                code = seen_moved(m, &op, v, &says);
            else if (!vector_moved(m, &op.vector, v)) /* what a tracked file's version merged */
                code = no_memory(m);
            op.vector = *v;
        } else if (op.has_at && code == ST_OK) {
            op.at_count = dots_moved(m, &op, dots);
            op.at = dots;
            dots += op.at_count;
        }
        op.dot = dot_moved(m, op.dot);
        if (op.kind != ST_OP_COUNT)
            op.entity = name_moved(m, op.entity);
        if (op.value_kind == ST_VALUE_LINK)
            op.value = name_moved(m, op.value);
        if (says)
            r->ops[kept++] = op;
    }
    r->op_count = kept;
    return code;
}

static enum st_code log_rewrite(struct mend *m, struct cut *cut)
{
    struct st_log_reader r;
    struct st_record record;
    struct st_str line;
    free(cut->to);
    cut->to = calloc(cut->end - cut->keep + 1, sizeof *cut->to);
    if (cut->to == NULL)
        return no_memory(m);
    enum st_code code =
        st_log_reader_open(&r, m->log->env, m->log->alloc, m->log->dir, cut->writer);
    if (code == ST_OK && cut->keep > 0)
        code = st_log_reader_find(&r, cut->keep + 1);
    while (code == ST_OK && r.counter < cut->end) {
        code = st_log_reader_next(&r, &line, &record);
        if (code == ST_OK)
            code = st_record_decode(line, &m->scratch, &record);
        if (code != ST_OK) {
            m->log->fault = r.fault;
            break;
        }
        code = record_move(m, &record);
        if (code == ST_OK && record.op_count > 0 && m->tail.offset >= ST_SEGMENT_SIZE)
            code = context_put(m);
        if (code == ST_OK && record.op_count > 0) {
            code = record_put(m, &record);
            m->records++;
        }
        cut->to[r.counter - cut->keep - 1] = m->tail.counter;
    }
    st_log_reader_close(&r);
    return code;
}

/* Where both lives still were one. */
static enum st_code common_tail(struct mend *m)
{
    const struct cut *cut = &m->cuts[0];
    struct st_log_reader r;
    struct st_record head = {0};
    struct st_str line;
    m->tail = (struct st_tail){0};
    if (cut->keep == 0)
        return ST_OK;
    enum st_code code =
        st_log_reader_open(&r, m->log->env, m->log->alloc, m->log->dir, cut->writer);
    if (code == ST_OK)
        code = st_log_reader_find(&r, cut->keep);
    if (code == ST_OK)
        code = st_log_reader_next(&r, &line, &head);
    if (code != ST_OK)
        m->log->fault = r.fault;
    struct st_tail at = {.counter = cut->keep, .segment = r.line_segment};
    st_log_reader_close(&r);
    if (code == ST_OK)
        code = st_context_read(m->log, cut->writer, NULL, &at, &m->context);
    if (code == ST_OK && !st_vector_raise(&m->context, cut->writer, cut->keep))
        code = no_memory(m);
    m->tail.time_ms = head.time.ms;
    m->tail.time_logical = head.time.logical;
    m->tail.number = head.number;
    return code;
}

/* ST_CONFLICT: it cannot be mended. */
static enum st_code rewrite(struct mend *m, bool trying)
{
    m->trying = trying;
    m->records = 0;
    st_vector_release(&m->context);
    st_vector_init(&m->context, m->log->alloc);
    enum st_code code = common_tail(m);
    if (code == ST_OK)
        code = context_put(m);
    for (size_t i = 0; code == ST_OK && i < m->count; i++)
        code = log_rewrite(m, &m->cuts[i]);
    return code == ST_OK ? gathered_write(m, true) : code;
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
static enum st_code directory_empty(struct mend *m, const char *path)
{
    const struct st_env *env = m->log->env;
    struct emptying e = {env, path};
    int r = env->list(env->ctx, path, empty_one, &e);
    if (r >= 0)
        r = env->sync_directory(env->ctx, path);
    return r < 0 && r != -ENOENT ? st_fail_system(&m->log->fault, r, "cannot empty %s", path)
                                 : ST_OK;
}

static enum st_code epoch_write(struct mend *m)
{
    const struct st_env *env = m->log->env;
    char path[ST_PATH_SIZE], parent[ST_PATH_SIZE];
    enum st_code code = st_writer_path(&m->log->fault, path, m->log->dir, new_writer(m));
    if (code == ST_OK)
        code = st_path(&m->log->fault, parent, m->log->dir, "log", NULL);
    if (code == ST_OK)
        code = directory_empty(m, path);
    int r = code == ST_OK ? env->mkdir(env->ctx, path) : 0;
    if (r < 0 && r != -EEXIST)
        return st_fail_system(&m->log->fault, r, "cannot create %s", path);
    if (code == ST_OK)
        code = rewrite(m, false);
    r = code == ST_OK ? env->sync_directory(env->ctx, path) : 0;
    if (code == ST_OK && r >= 0)
        r = env->sync_directory(env->ctx, parent);
    return r < 0 ? st_fail_system(&m->log->fault, r, "cannot flush %s", parent) : code;
}

/* The end of the new epoch's log, which is whole. */
static enum st_code epoch_end(struct mend *m)
{
    struct st_log_reader r;
    struct st_record head;
    struct st_str line;
    m->tail = (struct st_tail){0};
    enum st_code code =
        st_log_reader_open(&r, m->log->env, m->log->alloc, m->log->dir, new_writer(m));
    while (code == ST_OK && (code = st_log_reader_next(&r, &line, &head)) == ST_OK)
        m->tail = (struct st_tail){head.dot.counter, r.segment,         r.offset,   head.checksum,
                                   head.time.ms,     head.time.logical, head.number};
    if (code != ST_NOT_FOUND)
        m->log->fault = r.fault;
    st_log_reader_close(&r);
    return code == ST_NOT_FOUND ? ST_OK : code;
}

static enum st_code log_cut(struct mend *m, const struct cut *cut)
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
    bool more = false;
    code = st_tail_scan(log, fd, cut->writer, &tail, cut->keep, &more);
    if (code == ST_OK && more)
        code = st_tail_quarantine(log, fd, &tail);
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

static void mended_line(const struct cut *cut, char out[80])
{
    snprintf(out, 80, "%016" PRIx64 " %016" PRIx64 " %" PRIu64 "\n", cut->writer.replica,
             cut->writer.epoch, cut->keep);
}

static enum st_code mended_note(struct mend *m)
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
        code = no_memory(m);
    if (code == ST_OK)
        code = st_log_replace(m->log, "mended", text.p, text.n);
    st_buf_release(&text);
    return code;
}

/* What names records by their dots, and may be forgotten: marks of what agents have read, and the
 * renderings of views. */
static enum st_code caches_empty(struct mend *m)
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

static enum st_code plan_forget(struct mend *m)
{
    const struct st_env *env = m->log->env;
    char path[ST_PATH_SIZE];
    enum st_code code = st_path(&m->log->fault, path, m->log->dir, "mend", NULL);
    int r = code == ST_OK ? env->unlink(env->ctx, path) : 0;
    if (r >= 0)
        r = env->sync_directory(env->ctx, m->log->dir);
    return r < 0 ? st_fail_system(&m->log->fault, r, "cannot remove %s", path) : code;
}

static enum st_code plan_store(struct mend *m)
{
    struct st_buf text;
    char line[160];
    st_buf_init(&text, m->log->alloc);
    snprintf(line, sizeof line, "strata-mend 1 %016" PRIx64 " %" PRIu64 " %" PRIu64 " %zu\n",
             m->next.epoch, m->low, m->high, m->count);
    st_buf_add_text(&text, line);
    for (size_t i = 0; i < m->count; i++) {
        const struct cut *cut = &m->cuts[i];
        snprintf(line, sizeof line, "%016" PRIx64 " %016" PRIx64 " %" PRIu64 " %" PRIu64 "\n",
                 cut->writer.replica, cut->writer.epoch, cut->keep, cut->end);
        st_buf_add_text(&text, line);
    }
    enum st_code code = text.failed ? no_memory(m) : st_log_replace(m->log, "mend", text.p, text.n);
    st_buf_release(&text);
    return code;
}

static bool plan_parse(struct mend *m, const char *text)
{
    int n = 0;
    size_t count = 0;
    if (sscanf(text, "strata-mend 1 %16" SCNx64 " %" SCNu64 " %" SCNu64 " %zu\n%n", &m->next.epoch,
               &m->low, &m->high, &count, &n) != 4 ||
        n == 0 || count == 0 || count > ST_MEND_LOGS_MAX)
        return false;
    while (m->count < count) {
        struct cut *cut = &m->cuts[m->count];
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
static enum st_code finish(struct mend *m)
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
    struct mend m;
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
        code = no_memory(&m);
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
static enum st_code begin(struct mend *m)
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

static enum st_code try_it(struct mend *m, const char *published)
{
    struct st_tail tail;
    uint64_t random = 0;
    enum st_code code = st_log_tail(m->log, &tail);
    if (code == ST_OK)
        code = find_fork(m, published, tail.counter);
    if (code != ST_OK || m->count == 0)
        return code;
    code = st_random_id(m->log, &random);
    m->next.epoch =
        (st_epoch_ordinal(m->log->identity.epoch) + 1) << 48 | (random & 0xffffffffffffu);
    st_suffix_renew(&m->next);
    return code == ST_OK ? rewrite(m, true) : code;
}

enum st_code st_mend(struct st_log *log, const char *published, struct st_mended *out)
{
    struct mend m;
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
