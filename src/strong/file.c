/* file.c - the file engine. See file.h. */
#include "strong/file.h"

#include "store/log_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Entries that one process, alone, applies in memory only before it writes rows: a commit costs
 * several times what applying an entry does. Who comes next applies as many again, some 10 us each. */
#define INDEX_GAP 64

static struct st_file *file_of(struct st_order *o)
{
    return (struct st_file *)o;
}

enum st_code st_file_log_fault(struct st_file *f)
{
    f->order.fault = f->log.fault;
    return f->order.fault.code;
}

enum st_code st_file_index_fault(struct st_file *f, enum st_code code)
{
    f->order.fault = *st_index_fault(f->index);
    f->order.fault.code = code;
    return code;
}

/* --- entries and records ---------------------------------------------------------------------- */

/* The commands of a record, as an entry; count 0 when it has none. */
static void entry_of(const struct st_record *r, uint64_t place,
                     struct st_str commands[ST_ENTRY_COMMANDS_MAX], struct st_entry *out)
{
    *out = (struct st_entry){
        .agent = r->agent, .incarnation = r->incarnation, .commands = commands, .place = place};
    for (size_t i = 0; i < r->op_count && out->count < ST_ENTRY_COMMANDS_MAX; i++)
        if (r->ops[i].kind == ST_OP_UNKNOWN)
            commands[out->count++] = r->ops[i].raw;
}

static enum st_code apply_record(void *ctx, const struct st_kv *kv, const struct st_record *r,
                                 uint64_t number)
{
    struct st_file *f = ctx;
    struct st_str commands[ST_ENTRY_COMMANDS_MAX];
    struct st_ledger_result results[ST_ENTRY_COMMANDS_MAX];
    struct st_entry e;
    (void)kv; /* the machine has it */
    entry_of(r, number, commands, &e);
    if (e.count == 0)
        return ST_OK;
    enum st_code code = f->order.machine.apply(f->order.machine.ctx, &e, results);
    if (code != ST_OK)
        return code;
    struct st_mark mark = {r->dot.writer.epoch, r->dot.counter};
    st_answers_put(f, mark, results, e.count);
    if (mark.epoch == f->wanted.epoch && mark.number == f->wanted.number) {
        f->found = true;
        memcpy(f->results, results, e.count * sizeof *results);
    }
    return ST_OK;
}

static void applied(void *ctx)
{
    struct st_file *f = ctx;
    if (!f->serving)
        st_answers_wake(f);
}

/* --- ordering --------------------------------------------------------------------------------- */

static enum st_code file_decides(struct st_order *o)
{
    return st_role_check(file_of(o));
}

static enum st_code file_append(struct st_order *o, const struct st_entry *e, struct st_mark *mark)
{
    struct st_file *f = file_of(o);
    struct st_op ops[ST_ENTRY_COMMANDS_MAX];
    ST_ASSERT(e->count > 0 && e->count <= ST_ENTRY_COMMANDS_MAX);
    if (f->answers == NULL)
        st_answers_open(f, false); /* there may be room for it now */
    for (size_t i = 0; i < e->count; i++)
        ops[i] = (struct st_op){.kind = ST_OP_UNKNOWN, .raw = e->commands[i]};
    struct st_record r = {
        .agent = e->agent, .incarnation = e->incarnation, .ops = ops, .op_count = e->count};
    if (st_log_write(&f->log, &r, false) != ST_OK)
        return st_file_log_fault(f);
    *mark = (struct st_mark){r.dot.writer.epoch, r.dot.counter};
    return ST_OK;
}

/* Who may not write cannot flush: waits until somebody did. Without a page of this boot all that
 * can be read came from the disk. */
static enum st_code wait_reading(struct st_file *f, struct st_mark mark)
{
    const struct st_env *env = f->log.env;
    uint64_t start = env->boot_ns(env->ctx);
    while (st_page_valid(&f->log) && f->log.identity.epoch == mark.epoch &&
           st_page_durable(f->log.page) < mark.number) {
        if (env->boot_ns(env->ctx) - start >= f->log.wait_ms * ST_NS_PER_MS)
            return st_fail(&f->order.fault, ST_TIMEOUT,
                           "the log in %s was not flushed within %llu ms", f->log.dir,
                           (unsigned long long)f->log.wait_ms);
        env->sleep_ns(env->ctx, ST_NS_PER_MS);
    }
    return ST_OK;
}

static enum st_code file_wait(struct st_order *o, struct st_mark mark)
{
    struct st_file *f = file_of(o);
    if (mark.number == 0)
        return ST_OK;
    if (f->log.read_only)
        return wait_reading(f, mark);
    return st_log_wait_durable(&f->log, mark.epoch, mark.number) == ST_OK ? ST_OK
                                                                          : st_file_log_fault(f);
}

static enum st_code file_tail(struct st_order *o, struct st_mark *out)
{
    struct st_file *f = file_of(o);
    struct st_tail tail;
    if (st_log_tail(&f->log, &tail) != ST_OK)
        return st_file_log_fault(f);
    *out = (struct st_mark){st_log_writer(&f->log).epoch, tail.counter};
    return ST_OK;
}

/* --- answers ---------------------------------------------------------------------------------- */

static enum st_code index_open(struct st_file *f)
{
    enum st_code code = st_index_open(&f->index, &f->log, &f->order.fault);
    if (code == ST_OK) {
        st_index_set_gap(f->index, INDEX_GAP);
        st_index_set_machine(f->index, (struct st_machine){apply_record, applied, f});
        f->order.kv = st_index_kv(f->index);
    }
    return code;
}

/* The answer was overwritten by thousands of later ones before this process came to read it. The
 * log still tells: the machine goes through all of it again, beside the index. */
enum st_code st_file_answer_again(struct st_file *f)
{
    enum st_code code = st_index_anew(f->index);
    if (code == ST_OK)
        code = st_index_begin(f->index);
    st_index_end(f->index);
    if (code != ST_OK)
        return st_file_index_fault(f, code);
    st_index_close(f->index);
    f->index = NULL;
    code = index_open(f);
    if (code == ST_OK && !f->found)
        code = st_fail(&f->order.fault, ST_OUTCOME_UNKNOWN,
                       "the command was carried out or refused, but its answer is gone");
    return code;
}

static enum st_code file_answer(struct st_order *o, struct st_mark mark,
                                struct st_ledger_result *results, size_t count)
{
    struct st_file *f = file_of(o);
    f->wanted = mark;
    f->found = false;
    enum st_code code = st_serve_await(f, count);
    if (code == ST_OK)
        memcpy(results, f->results, count * sizeof *results);
    f->wanted = (struct st_mark){0, 0};
    return code;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* As st_serve_await(): who finds the index lock taken sleeps until what it needs has been applied,
 * and does not stand in line for the lock. */
static enum st_code begin_shared(struct st_file *f)
{
    const struct st_env *env = f->log.env;
    struct st_tail tail;
    if (st_log_tail(&f->log, &tail) != ST_OK)
        return ST_UNAVAILABLE;
    uint64_t start = env->boot_ns(env->ctx);
    do {
        struct st_watch watch = st_answers_watch_rows(f);
        enum st_code code = st_index_begin_at(f->index, &tail);
        if (code != ST_UNAVAILABLE)
            return code;
        code = st_index_catch_up(f->index, 0);
        if (code == ST_OK)
            st_answers_wake(f);
        else if (code == ST_UNAVAILABLE)
            st_answers_sleep(f, &watch);
        else
            return code;
    } while (env->boot_ns(env->ctx) - start < ST_INDEX_WAIT_MS * 1000000ull);
    return ST_UNAVAILABLE;
}

static enum st_code file_begin(struct st_order *o, struct st_mark *at)
{
    struct st_file *f = file_of(o);
    enum st_code code = f->answers != NULL ? begin_shared(f) : ST_UNAVAILABLE;
    if (code != ST_OK)
        code = st_index_begin(f->index);
    if (code != ST_OK)
        return st_file_index_fault(f, code);
    struct st_dot dot = st_index_applied(f->index);
    *at = (struct st_mark){dot.writer.epoch, dot.counter};
    return ST_OK;
}

/* Of this log, and not of none. */
static enum st_code file_at_hand(struct st_order *o)
{
    struct st_file *f = file_of(o);
    struct st_mark at;
    struct st_dot first = {st_log_writer(&f->log), 1};
    return st_index_begin_since(f->index, first) == ST_OK ? ST_OK : file_begin(o, &at);
}

static void file_end(struct st_order *o)
{
    st_index_end(file_of(o)->index);
}

static enum st_code file_each(struct st_order *o, uint64_t place,
                              enum st_code (*visit)(void *arg, const struct st_entry *e), void *arg)
{
    struct st_file *f = file_of(o);
    struct st_index_totals totals;
    st_index_totals(f->index, &totals);
    uint64_t number = place > 0 ? place : 1;
    while (number <= totals.entries) {
        struct st_index_entry at;
        struct st_record r;
        struct st_str commands[ST_ENTRY_COMMANDS_MAX];
        struct st_ledger_result results[ST_ENTRY_COMMANDS_MAX];
        struct st_entry e;
        enum st_code code = st_index_entry(f->index, number, &at);
        if (code == ST_OK)
            code = st_index_record(f->index, &at, &r);
        if (code != ST_OK)
            return st_file_index_fault(f, code);
        entry_of(&r, number, commands, &e);
        if (st_answers_get(f, (struct st_mark){r.dot.writer.epoch, r.dot.counter}, results,
                           e.count))
            e.results = results;
        if (e.count > 0)
            code = visit(arg, &e);
        if (code != ST_OK)
            return code == ST_SCAN_STOP ? ST_OK : code;
        number += r.op_count - at.op;
    }
    return ST_OK;
}

static enum st_code file_anew(struct st_order *o)
{
    struct st_file *f = file_of(o);
    enum st_code code = st_index_anew(f->index);
    return code == ST_OK ? ST_OK : st_file_index_fault(f, code);
}

static void file_clock(struct st_order *o, uint64_t *clock, uint64_t *ns)
{
    const struct st_env *env = file_of(o)->log.env;
    *clock = env->clock_id(env->ctx);
    *ns = env->boot_ns(env->ctx);
}

static uint64_t file_wall_ms(struct st_order *o)
{
    const struct st_env *env = file_of(o)->log.env;
    return env->wall_ms(env->ctx);
}

static enum st_code file_take(struct st_order *o, const char *by)
{
    return st_role_take(file_of(o), by);
}

static enum st_code file_give_up(struct st_order *o)
{
    return st_role_give_up(file_of(o));
}

static enum st_code file_hold(struct st_order *o)
{
    struct st_file *f = file_of(o);
    return st_log_take(&f->log, ST_LOCK_INTAKE, f->log.wait_ms) == ST_OK ? ST_OK
                                                                         : st_file_log_fault(f);
}

static void file_release(struct st_order *o)
{
    st_log_drop(&file_of(o)->log, ST_LOCK_INTAKE);
}

static uint64_t file_workspace(struct st_order *o)
{
    return file_of(o)->log.identity.workspace;
}

static enum st_code file_join(struct st_order *o, uint64_t workspace)
{
    struct st_file *f = file_of(o);
    return st_log_set_workspace(&f->log, workspace) == ST_OK ? ST_OK : st_file_log_fault(f);
}

static void file_place(struct st_order *o, char out[ST_PLACE_SIZE])
{
    st_role_place(file_of(o), out);
}

/* --- opening ---------------------------------------------------------------------------------- */

static void file_close(struct st_order *o)
{
    struct st_file *f = file_of(o);
    st_answers_close(f);
    st_index_close(f->index);
    if (f->log_open)
        st_log_close(&f->log);
    free(f);
}

static const struct st_order_engine engine = {
    .name = "file",
    .decides = file_decides,
    .append = file_append,
    .wait = file_wait,
    .answer = file_answer,
    .tail = file_tail,
    .begin = file_begin,
    .at_hand = file_at_hand,
    .end = file_end,
    .each = file_each,
    .anew = file_anew,
    .clock = file_clock,
    .wall_ms = file_wall_ms,
    .take = file_take,
    .give_up = file_give_up,
    .hold = file_hold,
    .release = file_release,
    .workspace = file_workspace,
    .join = file_join,
    .place = file_place,
    .close = file_close,
};

static bool exists(const struct st_env *env, const char *dir, const char *name)
{
    struct st_file_info info;
    char path[ST_PATH_SIZE];
    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path &&
           env->stat(env->ctx, path, &info) >= 0;
}

bool st_file_exists(const struct st_env *env, const char *dir)
{
    return exists(env, dir, "identity");
}

enum st_code st_file_found(const struct st_env *env, const struct st_alloc *alloc, const char *dir,
                           uint64_t workspace, const char *name, bool decides,
                           struct st_fault *fault)
{
    struct st_identity id = {.workspace = workspace};
    struct st_file f = {0};
    snprintf(id.name, sizeof id.name, "%s", name);
    enum st_code code = st_log_create(env, alloc, dir, &id, fault);
    if (code == ST_EXISTS)
        code = ST_OK;
    if (code != ST_OK || !decides || exists(env, dir, "coordinator"))
        return code;
    code = st_log_open(&f.log, env, alloc, dir, false, "init");
    if (code == ST_OK)
        code = st_role_take(&f, name);
    else
        st_file_log_fault(&f);
    if (code != ST_OK)
        *fault = f.order.fault;
    st_log_close(&f.log);
    return code;
}

enum st_code st_file_glance(const struct st_env *env, const struct st_alloc *alloc, const char *dir,
                            uint64_t *workspace, bool *empty)
{
    struct st_log log;
    struct st_tail tail;
    enum st_code code = st_log_open(&log, env, alloc, dir, true, "merge");
    if (code == ST_OK)
        code = st_log_tail(&log, &tail);
    if (code == ST_OK) {
        *workspace = log.identity.workspace;
        /* A later epoch begins with a record that names the earlier ones. */
        *empty = tail.counter == 0;
    }
    st_log_close(&log);
    return code;
}

uint64_t st_file_moves(const struct st_env *env, const char *dir)
{
    char path[ST_PATH_SIZE];
    struct st_page page;
    if (snprintf(path, sizeof path, "%s/page", dir) >= (int)sizeof path)
        return 0;
    int fd = env->open(env->ctx, path, ST_OPEN_READ);
    ssize_t n = fd >= 0 ? env->pread(env->ctx, fd, &page, sizeof page, 0) : -1;
    if (fd >= 0)
        env->close(env->ctx, fd);
    if (n != (ssize_t)sizeof page)
        return 0;
    const uint64_t moves[] = {page.epoch, page.tail_changes};
    return st_checksum(moves, sizeof moves) | 1;
}

enum st_code st_file_open(struct st_order **out, const struct st_env *env,
                          const struct st_alloc *alloc, const char *dir, bool read_only,
                          const char *what, uint64_t wait_ms, struct st_fault *fault)
{
    struct st_file *f = calloc(1, sizeof *f);
    if (f == NULL)
        return st_fail(fault, ST_NO_MEMORY, "out of memory");
    f->order.engine = &engine;
    enum st_code code = st_log_open(&f->log, env, alloc, dir, read_only, what);
    f->log_open = true;
    if (code != ST_OK)
        st_file_log_fault(f);
    if (wait_ms != 0)
        f->log.wait_ms = wait_ms;
    f->order.due = &f->no_due;
    st_answers_open(f, true);
    if (code == ST_OK)
        code = index_open(f);
    if (code != ST_OK) {
        *fault = f->order.fault;
        file_close(&f->order);
        return code;
    }
    *out = &f->order;
    return ST_OK;
}
