/* strong.c - opening, submitting, applying, reading: the same for every engine. See strong.h. */
#include "strong/strong_internal.h"

#include "strong/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum st_code st_strong_fail(struct st_strong *s, enum st_code code)
{
    s->fault = s->order->fault;
    s->fault.code = code;
    return code;
}

/* --- applying --------------------------------------------------------------------------------- */

struct applying {
    const struct st_entry *entry;
    struct st_chain chain; /* before the entry */
    bool sealed;           /* before it */
    bool seals, goes_on;   /* what it did */
};

static void complete(const struct applying *a, struct st_command *c)
{
    c->agent = a->entry->agent;
    c->incarnation = a->entry->incarnation;
    if (c->kind == ST_CMD_SEAL && c->position == 0)
        c->position = a->chain.position + 1;
}

static enum st_code apply_command(struct st_strong *s, struct applying *a, struct st_command *c,
                                  struct st_ledger_result *result)
{
    struct st_due_subject subject;
    complete(a, c);
    enum st_code code = st_due_before(s, c, &subject);
    if (code == ST_OK)
        code = st_ledger_apply(&s->ledger, c, result);
    if (code == ST_OK)
        code = st_due_after(s, c, result, &subject);
    bool done = code == ST_OK && result->verdict == ST_VERDICT_DONE;
    a->seals = a->seals || (done && c->kind == ST_CMD_SEAL);
    a->goes_on = a->goes_on || (done && c->kind == ST_CMD_GENERATION && a->sealed);
    return code;
}

static enum st_code apply_entry(void *ctx, const struct st_entry *e,
                                struct st_ledger_result *results)
{
    struct st_strong *s = ctx;
    struct st_head head;
    struct applying a = {.entry = e};
    s->ledger.kv = s->order->kv;
    enum st_code code = st_chain_read(s, &a.chain);
    if (code == ST_OK)
        code = st_head_read(&s->ledger, &head);
    if (code != ST_OK)
        return code;
    a.sealed = head.sealed;
    st_ledger_entry(&s->ledger);
    for (size_t i = 0; i < e->count; i++) {
        struct st_command c;
        results[i] = (struct st_ledger_result){.verdict = ST_VERDICT_INVALID};
        code = st_command_decode(e->commands[i], &s->scratch, &c);
        if (code == ST_NOT_FOUND)
            continue; /* a command of a newer version: kept, not applied */
        if (code == ST_OK)
            code = apply_command(s, &a, &c, &results[i]);
        if (code != ST_OK)
            return code;
    }
#ifndef ST_DEFECT_BEHIND_SEAL
    if (a.sealed && !a.goes_on)
        return ST_OK; /* behind the end */
#endif
    return st_chain_add(s, &a.chain, e,
                        a.seals     ? ST_CHAIN_SEALS
                        : a.goes_on ? ST_CHAIN_GOES_ON
                                    : ST_CHAIN_PLAIN);
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool strong_dir(const char *state_dir, const char *name, char out[ST_PATH_SIZE])
{
    return snprintf(out, ST_PATH_SIZE, "%s/strong%s", state_dir, name) < ST_PATH_SIZE;
}

static enum st_code make_directory(const struct st_env *env, const char *state_dir,
                                   const char *name, struct st_fault *fault)
{
    char path[ST_PATH_SIZE];
    if (!strong_dir(state_dir, name, path))
        return st_fail(fault, ST_LIMIT, "the path is too long");
    int r = env->mkdir(env->ctx, path);
    return r < 0 && r != -EEXIST ? st_fail_system(fault, r, "cannot create %s", path) : ST_OK;
}

enum st_code st_strong_found(const struct st_env *env, const struct st_alloc *alloc,
                             const char *state_dir, uint64_t workspace, const char *replica_name,
                             bool decides, struct st_fault *fault)
{
    char dir[ST_PATH_SIZE];
    enum st_code code = make_directory(env, state_dir, "", fault);
    if (code == ST_OK)
        code = make_directory(env, state_dir, "/run", fault);
    if (code != ST_OK)
        return code;
    strong_dir(state_dir, "", dir);
    return st_file_found(env, alloc, dir, workspace, replica_name, decides, fault);
}

bool st_strong_exists(const struct st_env *env, const char *state_dir)
{
    char dir[ST_PATH_SIZE];
    return strong_dir(state_dir, "", dir) && st_file_exists(env, dir);
}

enum st_code st_strong_glance(const struct st_env *env, const struct st_alloc *alloc,
                              const char *state_dir, uint64_t *workspace, bool *empty)
{
    char dir[ST_PATH_SIZE];
    return strong_dir(state_dir, "", dir) ? st_file_glance(env, alloc, dir, workspace, empty)
                                          : ST_LIMIT;
}

uint64_t st_strong_moves(const struct st_env *env, const char *state_dir)
{
    char dir[ST_PATH_SIZE];
    return strong_dir(state_dir, "", dir) ? st_file_moves(env, dir) : 0;
}

enum st_code st_strong_open(struct st_strong **out, const struct st_env *env,
                            const struct st_alloc *alloc, const char *state_dir, bool read_only,
                            const char *what, uint64_t wait_ms, struct st_fault *fault)
{
    char dir[ST_PATH_SIZE], run[ST_PATH_SIZE];
    struct st_order *order;
    if (!strong_dir(state_dir, "", dir) || !strong_dir(state_dir, "/run", run))
        return st_fail(fault, ST_LIMIT, "the path is too long");
    if (!st_file_exists(env, dir)) {
        st_fail(fault, ST_UNAVAILABLE, "this copy of the workspace does not decide: it has no %s",
                dir);
        return st_hint(fault, "nothing was recorded; if the other one is gone for good, a person "
                              "says so with `strata coordinator move --force`");
    }
    enum st_code code = st_file_open(&order, env, alloc, dir, read_only, what, wait_ms, fault);
    return code == ST_OK ? st_strong_stand(out, order, env, alloc, run, fault) : code;
}

enum st_code st_strong_stand(struct st_strong **out, struct st_order *order,
                             const struct st_env *env, const struct st_alloc *alloc,
                             const char *run_dir, struct st_fault *fault)
{
    struct st_strong *s = calloc(1, sizeof *s);
    if (s == NULL) {
        order->engine->close(order);
        return st_fail(fault, ST_NO_MEMORY, "out of memory");
    }
    s->order = order;
    s->env = env;
    if (run_dir != NULL)
        snprintf(s->run_dir, sizeof s->run_dir, "%s", run_dir);
    st_ledger_init(&s->ledger, order->kv, alloc);
    st_command_scratch_init(&s->scratch, alloc);
    st_command_scratch_init(&s->event_scratch, alloc);
    for (size_t i = 0; i < ST_ENTRY_COMMANDS_MAX; i++)
        st_buf_init(&s->raw[i], alloc);
    st_buf_init(&s->key, alloc);
    st_buf_init(&s->value, alloc);
    st_buf_init(&s->names, alloc);
    order->machine = (struct st_order_machine){apply_entry, s};
    *out = s;
    return ST_OK;
}

void st_strong_close(struct st_strong *s)
{
    if (s == NULL)
        return;
    st_strong_run_clear(s, s->spare_run);
    s->order->engine->close(s->order);
    st_ledger_release(&s->ledger);
    st_command_scratch_release(&s->scratch);
    st_command_scratch_release(&s->event_scratch);
    for (size_t i = 0; i < ST_ENTRY_COMMANDS_MAX; i++)
        st_buf_release(&s->raw[i]);
    st_buf_release(&s->key);
    st_buf_release(&s->value);
    st_buf_release(&s->names);
    free(s);
}

const struct st_fault *st_strong_fault(const struct st_strong *s)
{
    return &s->fault;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Nothing that was computed from an entry leaves before it is durable. */
static enum st_code durable(struct st_strong *s, struct st_mark mark)
{
#ifdef ST_DEFECT_ANSWER_EARLY
    (void)s, (void)mark;
    return ST_OK;
#else
    return s->order->engine->wait(s->order, mark);
#endif
}

enum st_code st_strong_begin(struct st_strong *s)
{
    struct st_order *o = s->order;
    struct st_mark at;
    enum st_code code = o->engine->begin(o, &at);
    if (code != ST_OK)
        return st_strong_fail(s, code);
    s->ledger.kv = o->kv;
    /* What is read may be of entries that nobody has flushed yet. */
    code = durable(s, at);
    if (code == ST_OK)
        return ST_OK;
    o->engine->end(o);
    return st_strong_fail(s, code);
}

enum st_code st_strong_peek(struct st_strong *s)
{
    struct st_mark at;
    enum st_code code = s->order->engine->begin(s->order, &at);
    if (code != ST_OK)
        return st_strong_fail(s, code);
    s->ledger.kv = s->order->kv;
    return ST_OK;
}

enum st_code st_strong_at_hand(struct st_strong *s)
{
    enum st_code code = s->order->engine->at_hand(s->order);
    if (code != ST_OK)
        return st_strong_fail(s, code);
    s->ledger.kv = s->order->kv;
    return ST_OK;
}

void st_strong_end(struct st_strong *s)
{
    s->order->engine->end(s->order);
}

struct st_ledger *st_strong_ledger(struct st_strong *s)
{
    return &s->ledger;
}

static enum st_code head_read(struct st_strong *s, struct st_strong_head *out)
{
    struct st_chain c;
    struct st_head head;
    enum st_code code = st_chain_read(s, &c);
    if (code == ST_OK)
        code = st_head_read(&s->ledger, &head);
    if (code != ST_OK)
        return st_fail(&s->fault, code, "the ledger cannot be read");
    out->position = c.position;
    snprintf(out->head, sizeof out->head, "%016" PRIx64 "%016" PRIx64, c.head[0], c.head[1]);
    out->generation = head.generation;
    out->doubt = head.doubt != 0;
    out->sealed = head.sealed;
    ST_ASSERT(head.successor.n < sizeof out->successor);
    if (head.successor.n > 0)
        memcpy(out->successor, head.successor.p, head.successor.n);
    return ST_OK;
}

enum st_code st_strong_head(struct st_strong *s, struct st_strong_head *out)
{
    memset(out, 0, sizeof *out);
    s->order->engine->place(s->order, out->place);
    enum st_code code = st_strong_begin(s);
    if (code != ST_OK)
        return code;
    code = head_read(s, out);
    st_strong_end(s);
    return code;
}

/* --- submitting ------------------------------------------------------------------------------- */

enum st_code st_strong_elsewhere(struct st_strong *s)
{
    struct st_strong_head head;
    enum st_code code = st_strong_head(s, &head);
    if (code != ST_OK)
        return code;
    if (head.sealed) {
        st_fail(&s->fault, ST_UNAVAILABLE,
                "this copy of the workspace does not decide: its log was sealed at entry %" PRIu64
                " and goes on in %s",
                head.position, head.successor);
        return st_hint(&s->fault,
                       "nothing was recorded; work there, or have a person take over there with "
                       "`strata coordinator move --accept` if that was not done yet");
    }
    if (head.successor[0] == '\0' || strcmp(head.successor, head.place) == 0)
        return ST_OK;
    st_fail(&s->fault, ST_UNAVAILABLE,
            "this copy of the workspace does not decide: since generation %" PRIu64 " %s does",
            head.generation, head.successor);
    return st_hint(&s->fault, "nothing was recorded; work there; if it is gone for good, a person "
                              "says so with `strata coordinator move --force`");
}

uint64_t st_strong_workspace(const struct st_strong *s)
{
    return s->order->engine->workspace(s->order);
}

bool st_strong_here(struct st_strong *s)
{
    return s->order->engine->decides(s->order) == ST_OK;
}

enum st_code st_strong_decides(struct st_strong *s)
{
    if (s->order->engine->decides(s->order) == ST_OK)
        return ST_OK;
    struct st_fault why = s->order->fault;
    if (st_strong_elsewhere(s) != ST_UNAVAILABLE)
        s->fault = why;
    return s->fault.code;
}

bool st_strong_looked(struct st_strong *s, uint64_t every_ns, uint64_t *own)
{
    uint64_t now = s->env->boot_ns(s->env->ctx);
    uint64_t *word = s->order->looked != NULL ? s->order->looked : own;
    bool was_us = st_atomic_load(word) == *own;
    if (!st_turn_take(word, now, was_us ? every_ns : 2 * every_ns))
        return false;
    *own = now;
    return true;
}

static enum st_code encode(struct st_strong *s, struct st_command *commands, size_t count,
                           struct st_str raw[ST_ENTRY_COMMANDS_MAX])
{
    /* Where the command enters the log: what decides about validity is this. */
    uint64_t now = s->order->engine->wall_ms(s->order);
    for (size_t i = 0; i < count; i++) {
        commands[i].time_ms = now;
        st_buf_reset(&s->raw[i]);
        enum st_code code = st_command_encode(&commands[i], &s->raw[i]);
        if (code == ST_OK && s->raw[i].failed)
            code = ST_NO_MEMORY;
        if (code != ST_OK)
            return st_fail(&s->fault, code, "not a valid command; nothing was recorded");
        raw[i] = st_buf_str(&s->raw[i]);
    }
    return ST_OK;
}

enum st_code st_strong_order(struct st_strong *s, struct st_str agent, uint64_t incarnation,
                             struct st_command *commands, size_t count,
                             struct st_ledger_result *results)
{
    struct st_order *o = s->order;
    struct st_str raw[ST_ENTRY_COMMANDS_MAX];
    struct st_mark mark;
    ST_ASSERT(count > 0 && count <= ST_ENTRY_COMMANDS_MAX);
    enum st_code code = encode(s, commands, count, raw);
    if (code != ST_OK)
        return code;
    struct st_entry e = {
        .agent = agent, .incarnation = incarnation, .commands = raw, .count = count};
    code = o->engine->append(o, &e, &mark);
    if (code != ST_OK)
        return st_strong_fail(s, code);
    code = o->engine->answer(o, mark, results, count);
    if (code == ST_OK)
        code = durable(s, mark);
    return code == ST_OK ? ST_OK : st_strong_fail(s, code);
}

enum st_code st_strong_submit(struct st_strong *s, struct st_str agent, uint64_t incarnation,
                              struct st_command *commands, size_t count,
                              struct st_ledger_result *results)
{
    struct st_command all[ST_ENTRY_COMMANDS_MAX];
    struct st_ledger_result verdicts[ST_ENTRY_COMMANDS_MAX];
    size_t due = 0;
    ST_ASSERT(count > 0 && count <= ST_ENTRY_COMMANDS_MAX);
    /* Every time: the role may have come, or gone, since the log was opened. */
    enum st_code code = st_strong_decides(s);
    if (code != ST_OK)
        return code;
    code = st_due_collect(s, all, ST_ENTRY_COMMANDS_MAX - count, &due);
    if (code != ST_OK)
        return code;
    memcpy(all + due, commands, count * sizeof *commands);
    code = st_strong_order(s, agent, incarnation, all, due + count, verdicts);
    if (code != ST_OK)
        return code;
    memcpy(results, verdicts + due, count * sizeof *results);
    if (results[0].verdict == ST_VERDICT_SEALED && st_strong_elsewhere(s) == ST_UNAVAILABLE)
        return ST_UNAVAILABLE;
    return ST_OK;
}

/* --- the log ---------------------------------------------------------------------------------- */

enum st_code st_strong_verify(struct st_strong *s, struct st_strong_head *out)
{
    struct st_strong_head rows;
    struct st_chain at;
    enum st_code code = st_strong_head(s, &rows);
    if (code == ST_OK && s->order->engine->anew(s->order) != ST_OK)
        code = st_strong_fail(s, s->order->fault.code);
    if (code == ST_OK)
        code = st_strong_head(s, out);
    if (code == ST_OK)
        code = st_strong_begin(s);
    if (code != ST_OK)
        return code;
    /* The log may have grown meanwhile. */
    char head[ST_HEAD_SIZE] = "";
    code = st_chain_at(s, rows.position, &at);
    if (code == ST_OK)
        snprintf(head, sizeof head, "%016" PRIx64 "%016" PRIx64, at.head[0], at.head[1]);
    st_strong_end(s);
    if (code == ST_OK && strcmp(head, rows.head) == 0)
        return ST_OK;
    return st_fail(&s->fault, ST_DAMAGED,
                   "the rows say %s at entry %" PRIu64
                   ", the log does not: they are of another log",
                   rows.head, rows.position);
}

struct events {
    struct st_strong *s;
    uint64_t last; /* position; the visit ends behind it */
    enum st_code (*visit)(void *arg, const struct st_strong_event *e);
    void *arg;
};

static enum st_code visit_entry(void *arg, uint64_t position, const struct st_entry *e)
{
    struct events *v = arg;
    enum st_code code = position > v->last ? ST_SCAN_STOP : ST_OK;
    for (size_t i = 0; i < e->count && code == ST_OK; i++) {
        struct st_command c;
        code = st_command_decode(e->commands[i], &v->s->event_scratch, &c);
        if (code != ST_OK && code != ST_NOT_FOUND)
            return code;
        struct st_strong_event event = {
            .position = position,
            .agent = e->agent,
            .incarnation = e->incarnation,
            .command = code == ST_OK ? &c : NULL,
            .raw = e->commands[i],
            .result = e->results != NULL ? &e->results[i] : NULL,
        };
        code = v->visit(v->arg, &event);
    }
    return code;
}

enum st_code st_strong_events(struct st_strong *s, uint64_t after, uint64_t limit,
                              enum st_code (*visit)(void *arg, const struct st_strong_event *e),
                              void *arg)
{
    struct events v = {s, limit != 0 ? after + limit : UINT64_MAX, visit, arg};
    enum st_code code = st_strong_begin(s);
    if (code != ST_OK)
        return code;
    s->fault.code = ST_OK;
    code = st_chain_each(s, after, visit_entry, &v);
    st_strong_end(s);
    if (code != ST_OK && s->fault.code == ST_OK)
        st_fail(&s->fault, code, "the ordered log cannot be read (%s)", st_code_name(code));
    return code;
}
