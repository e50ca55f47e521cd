/* mend_rewrite.c - the records of a forked life, written again as the beginning of a new epoch. See mend.h. */
#include "store/mend_internal.h"

#include <inttypes.h>
#include <stdlib.h>

/* Bytes gathered before one write. */
#define GATHER_SIZE (1024u * 1024)

/* --- what moves ------------------------------------------------------------------------------- */

static const struct st_mend_cut *cut_of(const struct st_mending *m, struct st_writer w,
                                        uint64_t counter)
{
    for (size_t i = 0; i < m->count; i++)
        if (st_writer_compare(m->cuts[i].writer, w) == 0)
            return counter > m->cuts[i].keep && counter <= m->cuts[i].end ? &m->cuts[i] : NULL;
    return NULL;
}

struct st_writer st_mend_writer(const struct st_mending *m)
{
    return (struct st_writer){m->next.replica, m->next.epoch};
}

static struct st_dot dot_moved(const struct st_mending *m, struct st_dot d)
{
    const struct st_mend_cut *cut = cut_of(m, d.writer, d.counter);
#ifdef ST_DEFECT_MEND_DOTS_STAY
    cut = NULL;
#endif
    if (cut == NULL)
        return d;
    return (struct st_dot){st_mend_writer(m), cut->to[d.counter - cut->keep - 1]};
}

/* Joins into *out what `in` says of what stays. */
static bool vector_stays(const struct st_mending *m, const struct st_vector *in,
                         struct st_vector *out)
{
    bool ok = true;
    for (size_t i = 0; ok && i < in->count; i++) {
        struct st_vector_entry e = in->entries[i];
        const struct st_mend_cut *cut = cut_of(m, e.writer, e.counter);
        uint64_t stays = cut == NULL ? e.counter : cut->keep;
        if (stays > 0)
            ok = st_vector_raise(out, e.writer, stays);
    }
    return ok;
}

/* Joins the names that single records have now. */
static bool vector_moved(const struct st_mending *m, const struct st_vector *in,
                         struct st_vector *out)
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
static size_t dots_moved(const struct st_mending *m, const struct st_op *op, struct st_dot *out)
{
    size_t count = 0;
    for (size_t i = 0; i < op->at_count; i++)
        count = st_dots_add(out, count, dot_moved(m, op->at[i]));
    return count;
}

/* A name that both lives may have given. */
static struct st_str name_moved(struct st_mending *m, struct st_str name)
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
static enum st_code needs_published(struct st_mending *m, struct st_writer w, uint64_t from,
                                    uint64_t to)
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

static enum st_code gathered_write(struct st_mending *m, bool flush)
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

static enum st_code segment_open(struct st_mending *m)
{
    const struct st_env *env = m->log->env;
    char path[ST_PATH_SIZE];
    enum st_code code = gathered_write(m, true);
    m->tail.segment = m->tail.counter + 1;
    m->tail.offset = 0;
    if (code == ST_OK)
        code =
            st_segment_path(&m->log->fault, path, m->log->dir, st_mend_writer(m), m->tail.segment);
    if (code != ST_OK || m->trying)
        return code;
    if (m->fd >= 0)
        env->close(env->ctx, m->fd);
    m->fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE | ST_OPEN_EXCLUSIVE);
    return m->fd < 0 ? st_fail_system(&m->log->fault, m->fd, "cannot create %s", path) : ST_OK;
}

static enum st_code record_put(struct st_mending *m, struct st_record *r)
{
    const char *what = "";
    r->dot = (struct st_dot){st_mend_writer(m), m->tail.counter + 1};
    r->previous = m->tail.checksum;
    enum st_code code = st_record_check(r, &what);
    if (code != ST_OK)
        return st_fail(&m->log->fault, code, "record %" PRIu64 " cannot be written again: %s",
                       m->records + 1, what);
    size_t start = m->out.n;
    st_record_encode(r, &m->out);
    if (m->out.failed)
        return st_mend_no_memory(m);
    uint64_t checksum = st_checksum(m->out.p + start, m->out.n - start);
    st_record_seal(&m->out, checksum);
    if (m->out.failed)
        return st_mend_no_memory(m);
    size_t size = m->out.n - start;
    if (size > ST_LINE_SIZE_MAX)
        return st_fail(&m->log->fault, ST_LIMIT, "written again a record is %zu bytes long", size);
    m->tail = (struct st_tail){r->dot.counter, m->tail.segment, m->tail.offset + size,
                               checksum,       r->time.ms,      r->time.logical,
                               r->number};
    return m->out.n >= GATHER_SIZE ? gathered_write(m, false) : ST_OK;
}

/* A segment begins with the whole context, if there is any. */
static enum st_code context_put(struct st_mending *m)
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
static enum st_code seen_moved(struct st_mending *m, const struct st_op *op, struct st_vector *out,
                               bool *news)
{
    if (!vector_stays(m, &op->vector, out))
        return st_mend_no_memory(m);
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
    return code != ST_OK || st_vector_join(&m->context, out) ? code : st_mend_no_memory(m);
}

/* Room for the vectors, dots and names of one record. */
static enum st_code room_make(struct st_mending *m, const struct st_record *r)
{
    size_t dots = 1;
    for (size_t i = 0; i < m->vector_count; i++)
        st_vector_release(&m->vectors[i]);
    m->vector_count = 0;
    for (size_t i = 0; i < r->op_count; i++)
        dots += r->ops[i].at_count;
    struct st_vector *more = realloc(m->vectors, (r->op_count + 1) * sizeof *more);
    if (more == NULL)
        return st_mend_no_memory(m);
    m->vectors = more;
    struct st_dot *more_dots = realloc(m->dots, dots * sizeof *more_dots);
    if (more_dots == NULL)
        return st_mend_no_memory(m);
    m->dots = more_dots;
    st_buf_reset(&m->names);
    return st_buf_reserve(&m->names, 2 * r->op_count * ST_NUMBERED_SIZE) ? ST_OK
                                                                         : st_mend_no_memory(m);
}

/* Says the same of the records as they are called now; leaves out what it need not say. */
static enum st_code record_move(struct st_mending *m, struct st_record *r)
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
                code = st_mend_no_memory(m);
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

static enum st_code log_rewrite(struct st_mending *m, struct st_mend_cut *cut)
{
    struct st_log_reader r;
    struct st_record record;
    struct st_str line;
    free(cut->to);
    cut->to = calloc(cut->end - cut->keep + 1, sizeof *cut->to);
    if (cut->to == NULL)
        return st_mend_no_memory(m);
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
static enum st_code common_tail(struct st_mending *m)
{
    const struct st_mend_cut *cut = &m->cuts[0];
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
        code = st_mend_no_memory(m);
    m->tail.time_ms = head.time.ms;
    m->tail.time_logical = head.time.logical;
    m->tail.number = head.number;
    return code;
}

enum st_code st_mend_rewrite(struct st_mending *m, bool trying)
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
