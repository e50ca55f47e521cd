/* strong.c - the file engine of layer 3: the log kernel orders, the index applies. See strong.h. */
#include "strong/strong.h"

#include "core/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Verdicts are kept for this many entries, for processes whose entry another one applied. Far more
 * than can be waiting at any time. */
#define RESULTS_KEPT 4096u

struct st_strong {
    struct st_log log;
    bool log_open;
    bool here; /* this directory has the role */
    struct st_index *index;
    struct st_ledger ledger;
    struct st_command_scratch scratch;
    struct st_buf raw[ST_ENTRY_COMMANDS_MAX];
    struct st_fault fault;
};

/* --- the machine behind the index ------------------------------------------------------------- */

static void result_key(uint64_t counter, uint32_t op, char out[16])
{
    snprintf(out, 16, "R%06" PRIx64 "%04" PRIx32, counter % RESULTS_KEPT, op);
}

struct kept_result {
    uint64_t epoch, counter, token;
    uint32_t verdict, state, before, unused; /* no padding: it is stored as it is */
};

static enum st_code keep_result(const struct st_kv *kv, const struct st_record *r, uint32_t op,
                                const struct st_ledger_result *result)
{
    char key[16];
    struct kept_result kept = {
        .epoch = r->dot.writer.epoch,
        .counter = r->dot.counter,
        .token = result->token,
        .verdict = (uint32_t)result->verdict,
        .state = (uint32_t)result->state,
        .before = (uint32_t)result->before,
    };
    result_key(r->dot.counter, op, key);
    return kv->put(kv->ctx, st_str_of(key), (struct st_str){(const char *)&kept, sizeof kept});
}

static enum st_code apply_record(void *ctx, const struct st_kv *kv, const struct st_record *r)
{
    struct st_strong *s = ctx;
    (void)kv; /* the ledger has it */
    st_ledger_entry(&s->ledger);
    for (size_t i = 0; i < r->op_count; i++) {
        struct st_command c;
        struct st_ledger_result result;
        if (r->ops[i].kind != ST_OP_UNKNOWN)
            continue;
        enum st_code code = st_command_decode(r->ops[i].raw, &s->scratch, &c);
        if (code == ST_NOT_FOUND)
            continue; /* a command of a newer version: kept, not applied */
        c.agent = r->agent;
        c.incarnation = r->incarnation;
        if (code == ST_OK)
            code = st_ledger_apply(&s->ledger, &c, &result);
        if (code == ST_OK)
            code = keep_result(kv, r, (uint32_t)i, &result);
        if (code != ST_OK)
            return code;
    }
    return ST_OK;
}

/* --- who coordinates -------------------------------------------------------------------------- */

#define ROLE_SIZE 256
#define CLOSED_HINT                                                                                \
    "nothing was recorded; if the other one is gone for good, a person says so with `strata "      \
    "coordinator move --force`"

static int role_text(const struct st_identity *id, const char *by, char out[ROLE_SIZE])
{
    return snprintf(out, ROLE_SIZE,
                    "{\"format\":1,\"inode\":%" PRIu64 ",\"birth\":%" PRIu64 ",\"fs\":\"%016" PRIx64
                    "\",\"page_inode\":%" PRIu64 ",\"page_birth\":%" PRIu64 ",\"by\":\"%.64s\"}\n",
                    id->inode, id->birth_ns, id->fs_id, id->page_inode, id->page_birth_ns, by);
}

/* The part that names the directory: all before the name of who gave the role. */
static size_t role_place(const char *text)
{
    const char *by = strstr(text, ",\"by\":");
    return by != NULL ? (size_t)(by - text) : 0;
}

static enum st_code role_path(struct st_strong *s, char out[ST_PATH_SIZE])
{
    int n = snprintf(out, ST_PATH_SIZE, "%s/coordinator", s->log.dir);
    return n < ST_PATH_SIZE ? ST_OK : st_fail(&s->fault, ST_LIMIT, "the path is too long");
}

static enum st_code role_give(struct st_strong *s, const char *by)
{
    const struct st_env *env = s->log.env;
    char text[ROLE_SIZE], path[ST_PATH_SIZE], fresh[ST_PATH_SIZE + 8];
    enum st_code code = role_path(s, path);
    if (code != ST_OK)
        return code;
    int n = role_text(&s->log.identity, by, text);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    int fd = env->open(env->ctx, fresh, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (fd < 0)
        return st_fail_system(&s->fault, fd, "cannot create %s", fresh);
    int r = env->ftruncate(env->ctx, fd, 0);
    if (r >= 0)
        r = (int)env->pwrite(env->ctx, fd, text, (size_t)n, 0);
    if (r >= 0)
        r = env->fdatasync(env->ctx, fd);
    env->close(env->ctx, fd);
    if (r >= 0)
        r = env->rename(env->ctx, fresh, path);
    if (r >= 0)
        r = env->sync_directory(env->ctx, s->log.dir);
    return r < 0 ? st_fail_system(&s->fault, r, "cannot write %s", path) : ST_OK;
}

/* ST_OK: this directory has the role. */
static enum st_code role_check(struct st_strong *s)
{
    const struct st_env *env = s->log.env;
    char have[ROLE_SIZE], should[ROLE_SIZE], path[ST_PATH_SIZE];
    enum st_code code = role_path(s, path);
    if (code != ST_OK)
        return code;
    role_text(&s->log.identity, "", should);
    int fd = env->open(env->ctx, path, ST_OPEN_READ);
    ssize_t n = fd >= 0 ? env->pread(env->ctx, fd, have, sizeof have - 1, 0) : fd;
    if (fd >= 0)
        env->close(env->ctx, fd);
    have[n > 0 ? n : 0] = '\0';
    size_t place = role_place(should);
    if (n > 0 && strncmp(have, should, place) == 0 && role_place(have) == place)
        return ST_OK;
    st_fail(&s->fault, ST_UNAVAILABLE,
            "this copy of the workspace does not decide: %s was copied or restored, and two that "
            "decide would let an operation run twice",
            s->log.dir);
    return st_hint(&s->fault, CLOSED_HINT);
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool exists(const struct st_env *env, const char *dir, const char *name)
{
    struct st_file_info info;
    char path[ST_PATH_SIZE];
    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path &&
           env->stat(env->ctx, path, &info) >= 0;
}

static enum st_code make_directory(const struct st_env *env, const char *dir, const char *name,
                                   struct st_fault *fault)
{
    char path[ST_PATH_SIZE];
    if (snprintf(path, sizeof path, "%s%s", dir, name) >= (int)sizeof path)
        return st_fail(fault, ST_LIMIT, "the path is too long");
    int r = env->mkdir(env->ctx, path);
    return r < 0 && r != -EEXIST ? st_fail_system(fault, r, "cannot create %s", path) : ST_OK;
}

enum st_code st_strong_found(const struct st_env *env, const struct st_alloc *alloc,
                             const char *state_dir, uint64_t workspace, const char *replica_name,
                             bool decides, struct st_fault *fault)
{
    struct st_identity id = {.workspace = workspace};
    struct st_strong s = {0};
    char dir[ST_PATH_SIZE];
    snprintf(id.name, sizeof id.name, "%s", replica_name);
    if (snprintf(dir, sizeof dir, "%s/strong", state_dir) >= (int)sizeof dir)
        return st_fail(fault, ST_LIMIT, "the path is too long");
    enum st_code code = make_directory(env, dir, "", fault);
    if (code == ST_OK)
        code = make_directory(env, dir, "/run", fault);
    if (code == ST_OK)
        code = st_log_create(env, alloc, dir, &id, fault);
    if (code == ST_EXISTS)
        code = ST_OK;
    if (code != ST_OK || !decides || exists(env, dir, "coordinator"))
        return code;
    code = st_log_open(&s.log, env, alloc, dir, false, "init");
    s.fault = s.log.fault;
    if (code == ST_OK)
        code = role_give(&s, replica_name);
    if (code != ST_OK)
        *fault = s.fault;
    st_log_close(&s.log);
    return code;
}

static enum st_code open_log(struct st_strong *s, const struct st_env *env,
                             const struct st_alloc *alloc, const char *dir, bool read_only,
                             const char *what, uint64_t wait_ms)
{
    enum st_code code = st_log_open(&s->log, env, alloc, dir, read_only, what);
    s->log_open = true;
    if (code != ST_OK) {
        s->fault = s->log.fault;
        return code;
    }
    if (wait_ms != 0)
        s->log.wait_ms = wait_ms;
    code = st_index_open(&s->index, &s->log, &s->fault);
    if (code == ST_OK) {
        st_index_set_machine(s->index, (struct st_machine){apply_record, s});
        st_ledger_init(&s->ledger, st_index_kv(s->index), alloc);
    }
    return code;
}

enum st_code st_strong_open(struct st_strong **out, const struct st_env *env,
                            const struct st_alloc *alloc, const char *state_dir, bool read_only,
                            const char *what, uint64_t wait_ms, struct st_fault *fault)
{
    struct st_strong *s = calloc(1, sizeof *s);
    char dir[ST_PATH_SIZE];
    if (s == NULL)
        return st_fail(fault, ST_NO_MEMORY, "out of memory");
    st_command_scratch_init(&s->scratch, alloc);
    for (size_t i = 0; i < ST_ENTRY_COMMANDS_MAX; i++)
        st_buf_init(&s->raw[i], alloc);
    enum st_code code = ST_OK;
    if (snprintf(dir, sizeof dir, "%s/strong", state_dir) >= (int)sizeof dir)
        code = st_fail(&s->fault, ST_LIMIT, "the path is too long");
    if (code == ST_OK && !exists(env, dir, "identity")) {
        st_fail(&s->fault, ST_UNAVAILABLE,
                "this copy of the workspace does not decide: it has no %s", dir);
        code = st_hint(&s->fault, CLOSED_HINT);
    }
    if (code == ST_OK)
        code = open_log(s, env, alloc, dir, read_only, what, wait_ms);
    if (code == ST_OK)
        s->here = role_check(s) == ST_OK;
    if (code != ST_OK) {
        *fault = s->fault;
        st_strong_close(s);
        return code;
    }
    *out = s;
    return ST_OK;
}

void st_strong_close(struct st_strong *s)
{
    if (s == NULL)
        return;
    if (s->index != NULL)
        st_ledger_release(&s->ledger);
    st_index_close(s->index);
    if (s->log_open)
        st_log_close(&s->log);
    st_command_scratch_release(&s->scratch);
    for (size_t i = 0; i < ST_ENTRY_COMMANDS_MAX; i++)
        st_buf_release(&s->raw[i]);
    free(s);
}

const struct st_fault *st_strong_fault(const struct st_strong *s)
{
    return &s->fault;
}

/* --- reading and submitting ------------------------------------------------------------------- */

enum st_code st_strong_begin(struct st_strong *s)
{
    struct st_tail tail;
    enum st_code code = st_log_tail(&s->log, &tail);
    uint64_t epoch = s->log.identity.epoch;
    /* Also what is only read has to be durable: an answer must not be taken back by a power cut. */
    if (code == ST_OK && !s->log.read_only && tail.counter > 0)
        code = st_log_wait_durable(&s->log, epoch, tail.counter);
    if (code != ST_OK) {
        s->fault = s->log.fault;
        return code;
    }
    code = st_index_begin(s->index);
    if (code != ST_OK)
        s->fault = *st_index_fault(s->index);
    return code;
}

void st_strong_end(struct st_strong *s)
{
    st_index_end(s->index);
}

struct st_ledger *st_strong_ledger(struct st_strong *s)
{
    return &s->ledger;
}

static enum st_code read_result(struct st_strong *s, const struct st_record *r, size_t op,
                                struct st_ledger_result *out)
{
    const struct st_kv *kv = st_index_kv(s->index);
    char key[16];
    struct st_str value;
    struct kept_result kept;
    result_key(r->dot.counter, (uint32_t)op, key);
    enum st_code code = kv->get(kv->ctx, st_str_of(key), &value);
    if (code == ST_OK && value.n == sizeof kept) {
        memcpy(&kept, value.p, sizeof kept);
        if (kept.epoch == r->dot.writer.epoch && kept.counter == r->dot.counter) {
            *out = (struct st_ledger_result){
                .verdict = (enum st_verdict)kept.verdict,
                .token = kept.token,
                .state = (enum st_operation_state)kept.state,
                .before = (enum st_operation_state)kept.before,
            };
            return ST_OK;
        }
    }
    /* Ordered, durable and applied, but the answer was overwritten meanwhile. */
    return st_fail(&s->fault, ST_OUTCOME_UNKNOWN,
                   "the command was carried out or refused, but its answer is gone");
}

static enum st_code order(struct st_strong *s, struct st_str agent, uint64_t incarnation,
                          struct st_command *commands, size_t count,
                          struct st_ledger_result *results)
{
    struct st_op ops[ST_ENTRY_COMMANDS_MAX];
    ST_ASSERT(count > 0 && count <= ST_ENTRY_COMMANDS_MAX);
    uint64_t now = s->log.env->wall_ms(s->log.env->ctx);
    for (size_t i = 0; i < count; i++) {
        commands[i].time_ms = now;
        st_buf_reset(&s->raw[i]);
        enum st_code code = st_command_encode(&commands[i], &s->raw[i]);
        if (code == ST_OK && s->raw[i].failed)
            code = ST_NO_MEMORY;
        if (code != ST_OK)
            return st_fail(&s->fault, code, "not a valid command; nothing was recorded");
        ops[i] = (struct st_op){.kind = ST_OP_UNKNOWN, .raw = st_buf_str(&s->raw[i])};
    }
    struct st_record r = {
        .agent = agent, .incarnation = incarnation, .ops = ops, .op_count = count};
    enum st_code code = st_log_write(&s->log, &r, true);
    if (code != ST_OK) {
        s->fault = s->log.fault;
        return code;
    }
    code = st_index_begin(s->index);
    if (code != ST_OK) {
        s->fault = *st_index_fault(s->index);
        return code;
    }
    for (size_t i = 0; i < count && code == ST_OK; i++)
        code = read_result(s, &r, i, &results[i]);
    st_index_end(s->index);
    return code;
}

enum st_code st_strong_submit(struct st_strong *s, struct st_str agent, uint64_t incarnation,
                              struct st_command *commands, size_t count,
                              struct st_ledger_result *results)
{
    /* Sets the fault: the role may have come, or gone, since the log was opened. */
    enum st_code code = role_check(s);
    s->here = code == ST_OK;
    return code == ST_OK ? order(s, agent, incarnation, commands, count, results) : code;
}

/* --- the role --------------------------------------------------------------------------------- */

uint64_t st_strong_workspace(const struct st_strong *s)
{
    return s->log.identity.workspace;
}

bool st_strong_here(const struct st_strong *s)
{
    return s->here;
}

enum st_code st_strong_tail(struct st_strong *s, struct st_tail *out)
{
    enum st_code code = st_log_tail(&s->log, out);
    if (code != ST_OK)
        s->fault = s->log.fault;
    return code;
}

enum st_code st_strong_force(struct st_strong *s, const char *person, const char *reason)
{
    struct st_head head;
    struct st_tail tail;
    if (s->log.read_only)
        return st_fail(&s->fault, ST_READ_ONLY, "the state in %s is read-only here", s->log.dir);
    if (role_check(s) == ST_OK)
        return st_fail(&s->fault, ST_EXISTS, "this copy decides already; nothing was changed");
    enum st_code code = st_strong_begin(s);
    if (code != ST_OK)
        return code;
    code = st_head_read(st_strong_ledger(s), &head);
    st_strong_end(s);
    if (code != ST_OK)
        return st_fail(&s->fault, code, "the ledger cannot be read");
    code = st_strong_tail(s, &tail);
    struct st_command c = {
        .kind = ST_CMD_GENERATION,
        .successor = st_str_of(s->log.identity.name),
        .generation = head.generation + 1,
        .position = tail.counter,
        .forced = true,
        .person = st_str_of(person),
        .evidence = st_str_of(reason),
    };
    struct st_ledger_result result = {0};
    if (code == ST_OK)
        code = order(s, (struct st_str){"", 0}, 0, &c, 1, &result);
    if (code == ST_OK && result.verdict != ST_VERDICT_DONE)
        code = st_fail(&s->fault, ST_CONFLICT, "the move was refused (%s)",
                       st_verdict_name(result.verdict));
    /* The new generation is ordered before anything else can be: only then the role. */
    if (code == ST_OK)
        code = role_give(s, s->log.identity.name);
    s->here = code == ST_OK;
    return code;
}

/* --- deadlines -------------------------------------------------------------------------------- */

struct st_deadline st_strong_deadline(struct st_strong *s, uint64_t term_ns)
{
    const struct st_env *env = s->log.env;
    return (struct st_deadline){
        .clock = env->clock_id(env->ctx),
        .ns = env->boot_ns(env->ctx) + term_ns,
        .term_ns = term_ns,
    };
}

enum st_deadline_state st_strong_deadline_state(struct st_strong *s, const struct st_deadline *d)
{
    const struct st_env *env = s->log.env;
    if (d->clock == 0)
        return ST_DEADLINE_NONE;
    if (d->clock != env->clock_id(env->ctx))
        return ST_DEADLINE_OTHER_CLOCK;
    return env->boot_ns(env->ctx) >= d->ns ? ST_DEADLINE_PASSED : ST_DEADLINE_AHEAD;
}

/* --- executors -------------------------------------------------------------------------------- */

static bool run_path(struct st_strong *s, uint64_t incarnation, char out[ST_PATH_SIZE])
{
    return snprintf(out, ST_PATH_SIZE, "%s/run/%016" PRIx64, s->log.dir, incarnation) <
           ST_PATH_SIZE;
}

enum st_code st_strong_run_begin(struct st_strong *s, uint64_t incarnation, int *fd)
{
    const struct st_env *env = s->log.env;
    char path[ST_PATH_SIZE];
    if (!run_path(s, incarnation, path))
        return st_fail(&s->fault, ST_LIMIT, "the path is too long");
    *fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (*fd < 0)
        return st_fail_system(&s->fault, *fd, "cannot create %s", path);
    int r = env->lock_try(env->ctx, *fd);
    if (r < 0) {
        env->close(env->ctx, *fd);
        return r == -EWOULDBLOCK
                   ? st_fail(&s->fault, ST_UNAVAILABLE, "somebody else holds %s", path)
                   : st_fail_system(&s->fault, r, "cannot lock %s", path);
    }
    return ST_OK;
}

bool st_strong_run_alive(struct st_strong *s, uint64_t incarnation)
{
    const struct st_env *env = s->log.env;
    char path[ST_PATH_SIZE];
    if (!run_path(s, incarnation, path))
        return false;
    int fd = env->open(env->ctx, path, ST_OPEN_READ);
    if (fd < 0)
        return fd != -ENOENT; /* cannot be told: as if it were */
    bool alive = env->lock_try(env->ctx, fd) < 0;
    env->close(env->ctx, fd);
    return alive;
}

void st_strong_run_clear(struct st_strong *s, uint64_t incarnation)
{
    const struct st_env *env = s->log.env;
    char path[ST_PATH_SIZE];
    if (run_path(s, incarnation, path) && !st_strong_run_alive(s, incarnation))
        env->unlink(env->ctx, path);
}

void st_strong_run_end(struct st_strong *s, uint64_t incarnation, int fd)
{
    s->log.env->close(s->log.env->ctx, fd);
    st_strong_run_clear(s, incarnation);
}
