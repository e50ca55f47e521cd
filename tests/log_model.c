/* log_model.c - see log_model.h. */
#include "log_model.h"

#include "store/log_internal.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <xxhash.h>

struct model *model_now;

void model_init(struct model *m, struct sim *s)
{
    *m = (struct model){.sim = s, .dir = STATE_DIR, .one_lineage = true};
    model_now = m;
}

void model_reset(struct model *m, const char *format, ...)
{
    m->count = 0;
    m->dir = STATE_DIR;
    m->one_lineage = true;
    va_list args;
    va_start(args, format);
    vsnprintf(m->scenario, sizeof m->scenario, format, args);
    va_end(args);
}

void model_release(struct model *m)
{
    free(m->attempts);
    m->attempts = NULL;
}

static void failure_print(const struct model *m)
{
    sim_trace_print(m->sim, stderr);
    sim_tree_print(m->sim, 0, stderr);
    fprintf(stderr, "scenario: %s\n", m->scenario);
}

void model_fail(const struct model *m, const char *format, ...)
{
    failure_print(m);
    va_list args;
    va_start(args, format);
    fprintf(stderr, "FAILED: ");
    vfprintf(stderr, format, args);
    fprintf(stderr, "\n");
    va_end(args);
    fflush(NULL);
    _exit(1);
}

static void on_signal(int number)
{
    if (model_now != NULL)
        failure_print(model_now);
    fprintf(stderr, "FAILED: signal %d\n", number);
    fflush(NULL);
    _exit(1);
}

void model_catch_signals(void)
{
    static char stack[256 * 1024];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_ONSTACK};
    static const int numbers[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGABRT, SIGFPE};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
}

/* --- attempts --------------------------------------------------------------------------------- */

#define PAYLOAD_SIZE_MAX 16384

/* "<number>:" and letters that depend on it. */
static struct st_str payload(size_t number, uint32_t size, char out[PAYLOAD_SIZE_MAX])
{
    int n = snprintf(out, PAYLOAD_SIZE_MAX, "%zu:", number);
    size_t at = (size_t)n;
    for (; at < size && at < PAYLOAD_SIZE_MAX; at++)
        out[at] = (char)('a' + (number + at) % 26);
    return (struct st_str){out, at};
}

static size_t attempt_new(struct model *m, uint32_t size)
{
    if (m->count == m->cap) {
        m->cap = m->cap > 0 ? 2 * m->cap : 64;
        m->attempts = realloc(m->attempts, m->cap * sizeof *m->attempts);
        if (m->attempts == NULL)
            abort();
    }
    m->attempts[m->count] = (struct attempt){.size = size, .code = ST_INTERNAL};
    return m->count++;
}

static void attempt_told(struct model *m, size_t number, enum st_code code,
                         enum attempt_state state)
{
    struct attempt *a = &m->attempts[number];
    a->code = code;
    a->state = state;
    m->acked += state == ATTEMPT_ACKED;
    m->refused += state == ATTEMPT_REFUSED;
    m->unknown += state == ATTEMPT_OPEN;
    m->codes[-(int)code % 32]++;
    for (size_t i = 0; state == ATTEMPT_ACKED && i < m->count; i++)
        if (i != number && a->name[0] != '\0' && m->attempts[i].state == ATTEMPT_ACKED &&
            strcmp(m->attempts[i].name, a->name) == 0)
            model_fail(m, "number %s given to attempts %zu and %zu", a->name, i, number);
}

static void attempt_name(struct model *m, size_t number, const struct st_record *r)
{
    struct st_str name = r->ops[r->op_count - 1].entity;
    struct attempt *a = &m->attempts[number];
    EXPECT(m, name.n > 1 && name.n < sizeof a->name && (name.p[0] == '#') == a->numbered);
    if (!a->numbered)
        return;
    memcpy(a->name, name.p, name.n);
    a->name[name.n] = '\0';
    EXPECT(m, strtoull(a->name + 1, NULL, 10) == r->number);
}

static void attempt_made(struct model *m, size_t number, const struct st_record *r)
{
    struct st_dot dot = r->dot;
    attempt_name(m, number, r);
    for (size_t i = 0; i < m->count; i++)
        if (i != number && m->attempts[i].dot.counter != 0 &&
            st_dot_compare(m->attempts[i].dot, dot) == 0)
            model_fail(m, "dot %016" PRIx64 "-%" PRIu64 " given to attempts %zu and %zu",
                       dot.writer.epoch, dot.counter, i, number);
    m->attempts[number].dot = dot;
}

static void record_fill(struct st_record *r, struct st_op *op, struct st_str text)
{
    /* Every other one makes two numbers and uses the second. */
    uint32_t count = 1 + (uint32_t)(text.p[text.n - 1] % 2);
    *op = (struct st_op){
        .kind = ST_OP_SET, .new_entity = count, .attribute = ST_STR("note"), .value = text};
    *r =
        (struct st_record){.agent = ST_STR("tester"), .ops = op, .op_count = 1, .new_count = count};
}

/* Whether the code says that the outcome is not known. */
static bool is_unknown(enum st_code code)
{
    return code == ST_OUTCOME_UNKNOWN || code == ST_TIMEOUT;
}

enum st_code model_write(struct model *m, struct st_log *log, uint32_t size, bool flush)
{
    static char text[PAYLOAD_SIZE_MAX];
    size_t number = attempt_new(m, size);
    m->attempts[number].numbered = true;
    struct st_record r;
    struct st_op op;
    char *copy = sim_alloc(m->sim)->resize(m->sim, NULL, PAYLOAD_SIZE_MAX);
    struct st_str value = payload(number, size, text);
    memcpy(copy, text, value.n);
    record_fill(&r, &op, (struct st_str){copy, value.n});
    enum st_code code = st_log_write(log, &r, flush);
    sim_alloc(m->sim)->resize(m->sim, copy, 0);
    if (code == ST_OK) {
        attempt_made(m, number, &r);
        attempt_told(m, number, code, flush ? ATTEMPT_ACKED : ATTEMPT_OPEN);
    } else {
        attempt_told(m, number, code, is_unknown(code) ? ATTEMPT_OPEN : ATTEMPT_REFUSED);
    }
    return code;
}

enum st_code model_append(struct model *m, struct st_log *log, uint32_t size, size_t *attempt)
{
    static char text[PAYLOAD_SIZE_MAX];
    *attempt = attempt_new(m, size);
    m->attempts[*attempt].numbered = true;
    struct st_record r;
    struct st_op op;
    char *copy = sim_alloc(m->sim)->resize(m->sim, NULL, PAYLOAD_SIZE_MAX);
    struct st_str value = payload(*attempt, size, text);
    memcpy(copy, text, value.n);
    record_fill(&r, &op, (struct st_str){copy, value.n});
    enum st_code code = st_log_append(log, &r, (struct st_hlc){0});
    sim_alloc(m->sim)->resize(m->sim, copy, 0);
    if (code == ST_OK)
        attempt_made(m, *attempt, &r);
    attempt_told(m, *attempt, code,
                 code == ST_OK || is_unknown(code) ? ATTEMPT_OPEN : ATTEMPT_REFUSED);
    return code;
}

enum st_code model_wait(struct model *m, struct st_log *log, size_t attempt)
{
    struct st_dot dot = m->attempts[attempt].dot;
    enum st_code code = st_log_wait_durable(log, dot.writer.epoch, dot.counter);
    if (code == ST_OK)
        /* Whatever precedes it in its epoch is durable with it. */
        for (size_t i = 0; i < m->count; i++)
            if (m->attempts[i].dot.counter != 0 && m->attempts[i].dot.counter <= dot.counter &&
                st_writer_compare(m->attempts[i].dot.writer, dot.writer) == 0)
                m->attempts[i].state = ATTEMPT_ACKED;
    attempt_told(m, attempt, code, code == ST_OK ? ATTEMPT_ACKED : ATTEMPT_OPEN);
    return code;
}

enum st_code model_write_many(struct model *m, struct st_log *log, unsigned count, uint32_t size)
{
    size_t last = SIZE_MAX;
    enum st_code code = st_log_lock(log);
    if (code != ST_OK)
        return code;
    for (unsigned i = 0; i < count && code == ST_OK; i++) {
        size_t attempt;
        code = model_append(m, log, size, &attempt);
        if (code == ST_OK)
            last = attempt;
    }
    st_log_unlock(log);
    if (last != SIZE_MAX) {
        enum st_code waited = model_wait(m, log, last);
        if (code == ST_OK)
            code = waited;
    }
    return code;
}

#define BATCH_MAX 4

enum st_code model_write_batch(struct model *m, struct st_log *log, unsigned count, uint32_t size)
{
    static char text[PAYLOAD_SIZE_MAX];
    struct st_record records[BATCH_MAX];
    struct st_op ops[BATCH_MAX];
    char *values[BATCH_MAX];
    size_t first = 0;
    enum st_code code = st_log_lock(log);
    if (code != ST_OK)
        return code;
    for (unsigned i = 0; i < count; i++) {
        size_t number = attempt_new(m, size);
        if (i == 0)
            first = number;
        struct st_str value = payload(number, size, text);
        values[i] = sim_alloc(m->sim)->resize(m->sim, NULL, PAYLOAD_SIZE_MAX);
        memcpy(values[i], text, value.n);
        ops[i] = (struct st_op){.kind = ST_OP_SET,
                                .entity = ST_STR("several"),
                                .attribute = ST_STR("note"),
                                .value = {values[i], value.n}};
        records[i] = (struct st_record){.agent = ST_STR("tester"), .ops = &ops[i], .op_count = 1};
    }
    code = st_log_append_all(log, records, count, (struct st_hlc){0});
    st_log_unlock(log);
    for (unsigned i = 0; i < count; i++) {
        sim_alloc(m->sim)->resize(m->sim, values[i], 0);
        if (code == ST_OK)
            attempt_made(m, first + i, &records[i]);
        /* Of several that fail some may be there; one alone is not. */
        attempt_told(m, first + i, code,
                     code == ST_OK || count > 1 || is_unknown(code) ? ATTEMPT_OPEN
                                                                    : ATTEMPT_REFUSED);
    }
    return code == ST_OK ? model_wait(m, log, first + count - 1) : code;
}

/* --- checking --------------------------------------------------------------------------------- */

struct seen_writer {
    struct st_writer writer;
    uint64_t counter; /* of its last record */
    bool real;        /* has a record that is more than context */
    bool has_first;
    struct st_vector first; /* the context of its first record */
};

struct check {
    struct model *model;
    bool settled;
    uint64_t epoch; /* of the log that is written to */
    struct seen_writer *writers;
    size_t writer_count;
};

static void record_found(struct model *m, const struct st_record *r)
{
    static char text[PAYLOAD_SIZE_MAX];
    const struct st_op *op = &r->ops[r->op_count - 1];
    if (op->kind == ST_OP_SEEN)
        return;
    if (op->kind != ST_OP_SET)
        model_fail(m, "a record that nobody wrote: counter %" PRIu64, r->dot.counter);
    size_t number = strtoull(op->value.p, NULL, 10);
    if (number >= m->count)
        model_fail(m, "a record that nobody wrote: %.20s", op->value.p);
    struct attempt *a = &m->attempts[number];
    if (!st_str_equal(op->value, payload(number, a->size, text)))
        model_fail(m, "attempt %zu was changed", number);
    if (a->found)
        model_fail(m, "attempt %zu is there twice", number);
    if (a->state == ATTEMPT_REFUSED)
        model_fail(m, "attempt %zu was answered %s, but is in the log at %" PRIu64, number,
                   st_code_name(a->code), r->dot.counter);
    if (a->dot.counter != 0 && st_dot_compare(a->dot, r->dot) != 0)
        model_fail(m, "attempt %zu has another dot than was given: %" PRIu64 ", not %" PRIu64,
                   number, r->dot.counter, a->dot.counter);
    char told[sizeof a->name];
    memcpy(told, a->name, sizeof told);
    attempt_name(m, number, r);
    if (told[0] != '\0' && strcmp(told, a->name) != 0)
        model_fail(m, "attempt %zu was given number %s and is %s", number, told, a->name);
    for (size_t i = 0; i < m->count; i++)
        if (a->numbered && m->attempts[i].found && strcmp(m->attempts[i].name, a->name) == 0)
            model_fail(m, "attempts %zu and %zu are both %s", i, number, a->name);
    a->found = true;
}

/* A segment that is full, or whose epoch is over, ends with its last record. */
static void check_closed(struct model *m, struct st_writer w, uint64_t segment, uint64_t end)
{
    char path[ST_PATH_SIZE];
    struct st_fault fault;
    struct st_file_info info;
    if (segment == 0)
        return;
    EXPECT(m, st_segment_path(&fault, path, m->dir, w, segment) == ST_OK);
    EXPECT(m, sim_env(m->sim)->stat(sim_env(m->sim)->ctx, path, &info) == 0);
    if (info.size != end)
        model_fail(m, "%s has %" PRIu64 " bytes behind its last record", path, info.size - end);
}

static void check_writer(struct check *c, struct seen_writer *w)
{
    struct model *m = c->model;
    const struct st_env *env = sim_env(m->sim);
    struct st_log_reader reader;
    struct st_record_scratch scratch;
    st_record_scratch_init(&scratch, sim_alloc(m->sim));
    if (st_log_reader_open(&reader, env, sim_alloc(m->sim), m->dir, w->writer) != ST_OK)
        model_fail(m, "cannot open the reader");
    uint64_t previous = 0, segment = 0, highest = 0, end = 0;
    struct st_str line;
    struct st_record head, r;
    enum st_code code;
    while ((code = st_log_reader_next(&reader, &line, &head)) == ST_OK) {
        code = st_record_decode(line, &scratch, &r);
        if (code != ST_OK)
            model_fail(m, "an invalid record was read: %.*s", (int)line.n, line.p);
        EXPECT(m, r.checksum == XXH3_64bits(line.p, line.n - ST_SEAL_SIZE));
        EXPECT(m, r.dot.counter == w->counter + 1 && r.previous == previous);
        EXPECT(m, st_writer_compare(r.dot.writer, w->writer) == 0);
        EXPECT(m, r.number >= highest && head.number == r.number);
        highest = r.number;
        if (reader.line_segment != segment) {
            uint64_t closed = segment;
            segment = reader.line_segment;
            EXPECT(m, segment == r.dot.counter && reader.line_offset == 0);
            check_closed(m, w->writer, closed, end);
            if (segment == 1 && r.ops[0].kind == ST_OP_SEEN) {
                st_vector_init(&w->first, sim_alloc(m->sim));
                EXPECT(m, st_vector_join(&w->first, &r.ops[0].vector));
                w->has_first = true;
            }
            if (segment > 1 && w->has_first)
                EXPECT(m, r.ops[0].kind == ST_OP_SEEN &&
                              st_vector_within(&w->first, &r.ops[0].vector));
        }
        previous = r.checksum;
        end = reader.offset;
        w->counter = r.dot.counter;
        w->real |= r.ops[r.op_count - 1].kind != ST_OP_SEEN;
        record_found(m, &r);
    }
    /* Before anybody has looked at the tail it may be torn. */
    if (code != ST_NOT_FOUND && (c->settled || code != ST_DAMAGED))
        model_fail(m, "reading epoch %" PRIx64 " ends with %s: %s", w->writer.epoch,
                   st_code_name(code), reader.fault.message);
    if (c->settled && m->one_lineage && w->writer.epoch != c->epoch)
        check_closed(m, w->writer, segment, end);
    st_log_reader_close(&reader);
    st_record_scratch_release(&scratch);
}

/* A later epoch's context is exactly what there is of every earlier one. */
static void check_contexts(const struct check *c)
{
    const struct model *m = c->model;
    for (size_t i = 0; i < c->writer_count; i++)
        for (size_t j = 0; j < c->writer_count; j++) {
            const struct seen_writer *old = &c->writers[i], *late = &c->writers[j];
            if (!old->real || !late->real ||
                st_epoch_ordinal(old->writer.epoch) >= st_epoch_ordinal(late->writer.epoch))
                continue;
            uint64_t told = late->has_first ? st_vector_get(&late->first, old->writer) : 0;
            if (told != old->counter)
                model_fail(m,
                           "epoch %" PRIx64 " says it has %" PRIu64 " records of epoch %" PRIx64
                           ", there are %" PRIu64,
                           late->writer.epoch, told, old->writer.epoch, old->counter);
        }
}

static void attempts_settle(struct check *c)
{
    struct model *m = c->model;
    for (size_t i = 0; i < m->count; i++) {
        struct attempt *a = &m->attempts[i];
        if (a->state == ATTEMPT_ACKED && !a->found)
            model_fail(m, "attempt %zu was acknowledged at %" PRIx64 "-%" PRIu64 " and is gone", i,
                       a->dot.writer.epoch, a->dot.counter);
        if (c->settled && a->state == ATTEMPT_OPEN)
            a->state = a->found ? ATTEMPT_ACKED : ATTEMPT_REFUSED;
    }
}

static void check_main(struct sim *s, void *arg)
{
    struct check *c = arg;
    struct model *m = c->model;
    struct st_log log;
    enum st_code code = st_log_open(&log, sim_env(s), sim_alloc(s), m->dir, !c->settled, "check");
    if (code != ST_OK)
        model_fail(m, "cannot open: %s: %s", st_code_name(code), log.fault.message);
    for (size_t i = 0; i < m->count; i++)
        m->attempts[i].found = false;
    struct st_writer *writers;
    code = st_log_writers(sim_env(s), sim_alloc(s), m->dir, &writers, &c->writer_count);
    if (code != ST_OK)
        model_fail(m, "cannot list writers: %s", st_code_name(code));
    size_t size = (c->writer_count + 1) * sizeof *c->writers;
    c->writers = sim_alloc(s)->resize(s, NULL, size);
    memset(c->writers, 0, size);
    for (size_t i = 0; i < c->writer_count; i++) {
        c->writers[i].writer = writers[i];
        c->epoch = log.identity.epoch;
        check_writer(c, &c->writers[i]);
    }
    if (m->one_lineage)
        check_contexts(c);
    attempts_settle(c);
    for (size_t i = 0; i < c->writer_count; i++)
        if (c->writers[i].has_first)
            st_vector_release(&c->writers[i].first);
    sim_alloc(s)->resize(s, c->writers, 0);
    if (writers != NULL)
        sim_alloc(s)->resize(s, writers, 0);
    st_log_close(&log);
    m->checks++;
}

static void calm(struct model *m)
{
    sim_injections_clear(m->sim);
    sim_chaos_set(m->sim, &(struct sim_chaos){0});
    const struct sim_counts *n = sim_counts(m->sim);
    if (n->leaked_fds > 0 || n->leaked_blocks > 0)
        model_fail(m, "leaked: %" PRIu64 " descriptors, %" PRIu64 " blocks", n->leaked_fds,
                   n->leaked_blocks);
}

void model_check(struct model *m, bool settled)
{
    calm(m);
    struct check c = {.model = m, .settled = settled};
    sim_spawn(m->sim, "check", check_main, &c);
    sim_run(m->sim);
    calm(m);
}

void model_recover(struct model *m, unsigned count)
{
    calm(m);
    struct worker w = {.model = m, .count = count, .size_max = 300, .calm = true};
    sim_spawn(m->sim, "recover", worker_main, &w);
    sim_run(m->sim);
    calm(m);
    if (w.acked < count)
        model_fail(m, "a calm process got only %u of %u writes acknowledged", w.acked, count);
}

void model_create(struct model *m)
{
    const struct st_env *env = sim_env(m->sim);
    EXPECT(m, env->mkdir(env->ctx, m->dir) == 0);
    EXPECT(m, env->sync_directory(env->ctx, "/") == 0);
    struct st_identity id = {.name = "box"};
    struct st_fault fault;
    enum st_code code = st_log_create(env, sim_alloc(m->sim), m->dir, &id, &fault);
    if (code != ST_OK)
        model_fail(m, "cannot create: %s", fault.message);
}

/* --- workers ---------------------------------------------------------------------------------- */

static void worker_read(struct worker *w, struct st_log *log)
{
    struct model *m = w->model;
    struct st_tail tail;
    if (st_log_tail(log, &tail) != ST_OK)
        return;
    struct st_log_reader reader;
    struct st_record_scratch scratch;
    st_record_scratch_init(&scratch, sim_alloc(m->sim));
    enum st_code code =
        st_log_reader_open(&reader, sim_env(m->sim), sim_alloc(m->sim), m->dir, st_log_writer(log));
    struct st_str line;
    struct st_record r;
    uint64_t counter = 0;
    while (code == ST_OK && (code = st_log_reader_next(&reader, &line, &r)) == ST_OK) {
        EXPECT(m, r.dot.counter == ++counter);
        enum st_code decoded = st_record_decode(line, &scratch, &r);
        if (decoded != ST_OK)
            model_fail(m, "an invalid record was read: %.*s", (int)line.n, line.p);
        EXPECT(m, r.checksum == XXH3_64bits(line.p, line.n - ST_SEAL_SIZE));
    }
    st_log_reader_close(&reader);
    st_record_scratch_release(&scratch);
}

static enum st_code worker_step(struct worker *w, struct st_log *log)
{
    struct sim *s = w->model->sim;
    uint32_t size = 4 + (uint32_t)sim_below(s, w->size_max);
    if (w->calm)
        return model_write(w->model, log, size, true);
    switch (sim_below(s, 8)) {
    case 0:
        return model_write(w->model, log, size, false);
    case 1:
        return model_write_many(w->model, log, 1 + (unsigned)sim_below(s, 3), size);
    case 2:
        return model_write_batch(w->model, log, 1 + (unsigned)sim_below(s, BATCH_MAX), size);
    case 3:
        if (sim_below(s, 4) == 0)
            return st_log_renew(log, "doubt");
        worker_read(w, log);
        return ST_OK;
    default:
        return model_write(w->model, log, size, true);
    }
}

void worker_main(struct sim *s, void *arg)
{
    struct worker *w = arg;
    struct st_log log;
    unsigned tries = w->calm ? 4 : 3;
    for (unsigned i = 0; i < w->count && tries > 0;) {
        w->open_code = st_log_open(&log, sim_env(s), sim_alloc(s), w->model->dir, false, "worker");
        enum st_code code = w->open_code;
        while (code == ST_OK && i < w->count) {
            code = w->reader ? (worker_read(w, &log), ST_OK) : worker_step(w, &log);
            if (code == ST_OK)
                w->acked++;
            if (code == ST_OK || !w->calm)
                i++;
            if (!w->calm && is_unknown(code))
                code = ST_OK;
        }
        st_log_close(&log);
        if (code != ST_OK)
            tries--;
    }
}
