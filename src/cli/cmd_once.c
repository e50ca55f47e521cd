/*
 * cmd_once.c - `strata once`: runs a command at most once across all agents and restarts, keeps
 * what it printed, and gives that back to every later caller.
 *
 * What is kept (the operation's result) is one line and two texts:
 *   strata-result 1 exit=N out=BYTES err=BYTES cut=0|1\n <standard output> <standard error>
 *
 * Exit: the command's own status, also for a repeat; Strata's are 110 plus the code.
 */
#include "cli/child.h"
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Waiting for somebody else's run: between two looks. Milliseconds. */
#define POLL_MS 50

/* Statuses of --nothing-happened-on; one program has no more ways to say no. */
#define NOTHING_MAX 16

/* A check command that takes longer knows nothing. Milliseconds. */
#define CHECK_MS_MAX 60000

struct once {
    struct cli *c;
    const char *key;
    strata_op_request request;
    char *parameters;
    size_t parameters_size;
    uint64_t timeout_ms, wait_ms;
    int class; /* as the ledger has it: of whoever came first */
    int nothing[NOTHING_MAX];
    size_t nothing_count;
};

/* --- arguments -------------------------------------------------------------------------------- */

static int read_nothing(struct once *o)
{
    const char *p = o->c->options[OPT_NOTHING_ON];
    while (p != NULL && *p != '\0') {
        char number[8];
        size_t n = strcspn(p, ",");
        uint64_t value;
        if (n >= sizeof number || o->nothing_count == NOTHING_MAX)
            return cli_usage(o->c,
                             "--nothing-happened-on takes up to %d exit statuses, "
                             "separated by commas",
                             NOTHING_MAX);
        memcpy(number, p, n);
        number[n] = '\0';
        int status = cli_number(o->c, "--nothing-happened-on", number, 255, &value);
        if (status != 0)
            return status;
        if (value == 0)
            return cli_usage(o->c, "exit status 0 means that it happened");
        o->nothing[o->nothing_count++] = (int)value;
        p += n;
        p += *p == ',';
    }
    return 0;
}

/* The key is bound to the arguments, not to the directory. */
static int read_parameters(struct once *o)
{
    size_t n = 1;
    for (size_t i = 0; i < o->c->arg_count; i++)
        n += strlen(o->c->args[i]) + 1;
    o->parameters = malloc(n + 1);
    if (o->parameters == NULL)
        return cli_error(o->c, STRATA_NO_MEMORY, NULL, "out of memory");
    for (size_t i = 0; i < o->c->arg_count; i++) {
        size_t size = strlen(o->c->args[i]) + 1;
        memcpy(o->parameters + o->parameters_size, o->c->args[i], size);
        o->parameters_size += size;
    }
    return 0;
}

static int read_duration(struct cli *c, enum cli_option_id id, const char *what, uint64_t *ms)
{
    return cli_given(c, id) ? cli_duration(c, what, c->options[id], ms) : 0;
}

static int once_read(struct once *o)
{
    struct cli *c = o->c;
    uint64_t valid_ms = 0;
    int class, status = cli_class(c, &class);
    o->wait_ms = UINT64_MAX;
    if (status == 0 && !cli_given(c, OPT_KEY))
        status = cli_usage(c, "--key names what must not happen twice");
    if (status == 0)
        status = cli_valid_for(c, class, &valid_ms);
    if (status == 0)
        status = read_duration(c, OPT_TIMEOUT, "--timeout", &o->timeout_ms);
    if (status == 0)
        status = read_duration(c, OPT_WAIT, "--wait", &o->wait_ms);
    if (status == 0)
        status = read_nothing(o);
    if (status == 0)
        status = read_parameters(o);
    if (status != 0)
        return status;
    if (cli_given(c, OPT_CHECK) && class != STRATA_QUERYABLE)
        return cli_usage(c, "--check is for --class queryable");
    o->key = c->options[OPT_KEY];
    o->request = (strata_op_request){
        .size = sizeof o->request,
        .key = o->key,
        .parameters = o->parameters,
        .parameters_size = o->parameters_size,
        .op_class = class,
        .valid_for_ms = valid_ms,
        .needs_approval = cli_given(c, OPT_NEEDS_APPROVAL),
    };
    int error = child_check(c->args[0]);
    if (error != 0)
        return cli_error(c, STRATA_USAGE, "nothing was recorded", "cannot run %s: %s", c->args[0],
                         strerror(error));
    return 0;
}

/* --- the kept result -------------------------------------------------------------------------- */

static char *result_make(const struct child *child, size_t *size)
{
    char head[96];
    int n = snprintf(head, sizeof head, "strata-result 1 exit=%d out=%zu err=%zu cut=%d\n",
                     child->status, child->out_size, child->err_size, child->cut);
    *size = (size_t)n + child->out_size + child->err_size;
    char *p = malloc(*size);
    if (p == NULL)
        return NULL;
    memcpy(p, head, (size_t)n);
    if (child->out_size > 0)
        memcpy(p + n, child->out, child->out_size);
    if (child->err_size > 0)
        memcpy(p + n + child->out_size, child->err, child->err_size);
    return p;
}

struct kept {
    int exit, cut;
    size_t out, err, head;
};

static bool result_parse(const strata_operation *o, struct kept *k)
{
    char head[96];
    size_t n = o->result_size < sizeof head - 1 ? o->result_size : sizeof head - 1;
    int end = 0;
    if (n > 0)
        memcpy(head, o->result, n);
    head[n] = '\0';
    if (sscanf(head, "strata-result 1 exit=%d out=%zu err=%zu cut=%d%n", &k->exit, &k->out, &k->err,
               &k->cut, &end) != 4 ||
        head[end] != '\n')
        return false;
    k->head = (size_t)end + 1;
    size_t rest = o->result_size - k->head; /* sums of what was read could wrap around */
    return k->out <= rest && k->err == rest - k->out && k->exit >= 0 && k->exit <= 255;
}

static int replay(struct once *o, const strata_operation *op)
{
    struct kept k;
    char stamp[CLI_STAMP_SIZE];
    cli_stamp(op->ended_ms, stamp);
    const char *who = cli_holder(op);
    if (!result_parse(op, &k)) {
        cli_note(o->c, "not run again: %s was done %s (%s)%s%s; %s", o->key, stamp, who,
                 op->evidence[0] != '\0' ? ": " : "", op->evidence,
                 op->result_size > 0 ? "this is its result" : "no output of it was kept");
        fwrite(op->result, 1, op->result_size, stdout);
        return 0;
    }
    cli_note(o->c, "not run again: %s ran %s (%s, exit %d); this is its output", o->key, stamp, who,
             k.exit);
    const char *text = (const char *)op->result + k.head;
    fwrite(text, 1, k.out, stdout);
    fflush(stdout);
    fwrite(text + k.out, 1, k.err, stderr);
    if (k.cut)
        cli_note(o->c, "its output was longer than what is kept");
    return k.exit;
}

/* --- running ---------------------------------------------------------------------------------- */

static bool means_nothing(const struct once *o, int status)
{
    for (size_t i = 0; i < o->nothing_count; i++)
        if (o->nothing[i] == status)
            return true;
    return false;
}

/* again: the same key may be asked for again, which runs it anew. */
static int say_unknown(struct once *o, const char *why, bool again)
{
    (void)cli_error(
        o->c, STRATA_OUTCOME_UNKNOWN,
        again ? "do not use another key; who asks for this one again runs it again, as its class "
                "allows"
              : "do not retry and do not use another key. A person has been asked (strata op list "
                "--state in_doubt); go on with other work",
        "%s: %s", o->key, why);
    return child_wrapped(strata_code_exit(STRATA_OUTCOME_UNKNOWN));
}

/* Of our own run, which has ended. */
static int in_doubt(struct once *o, const char *why)
{
    return say_unknown(o, why, o->class == STRATA_IDEMPOTENT || o->class == STRATA_KEYED);
}

static int unknown_since(struct once *o, uint64_t started_ms)
{
    char stamp[CLI_STAMP_SIZE] = "", why[120];
    if (started_ms != 0) /* of a key that a forced move left unknown nobody knows */
        cli_stamp(started_ms, stamp);
    snprintf(why, sizeof why, "outcome unknown%s%s: %s", started_ms != 0 ? " since " : "", stamp,
             started_ms != 0 ? "whoever ran it died, or could not say"
                             : "it may have run where this copy cannot look any more");
    return say_unknown(o, why, false);
}

/* The command has ended, or never began. */
static int finish(struct once *o, uint64_t token, int executor, const struct child *child)
{
    struct cli *c = o->c;
    char proof[200];
    int code;
    if (!child->started) {
        snprintf(proof, sizeof proof, "the command could not be executed: %s",
                 strerror(child->error));
        code = strata_op_refuse(c->s, o->key, token, proof, executor);
        (void)cli_error(c, STRATA_USAGE, "nothing happened", "%s", proof);
        return child_wrapped(code == STRATA_OK ? 2 : strata_code_exit(code));
    }
    if (child->timed_out) {
        (void)strata_op_abandon(c->s, o->key, token, executor);
        return in_doubt(o, "it was ended after its time-out; what it did until then is unknown");
    }
    if (child->signal != 0) {
        snprintf(proof, sizeof proof,
                 "it was killed (signal %d, %s); what it did until then is "
                 "unknown",
                 child->signal, strsignal(child->signal));
        (void)strata_op_abandon(c->s, o->key, token, executor);
        return in_doubt(o, proof);
    }
    if (means_nothing(o, child->status)) {
        snprintf(proof, sizeof proof, "exit status %d", child->status);
        code = strata_op_refuse(c->s, o->key, token, proof, executor);
    } else {
        size_t size;
        char *result = result_make(child, &size);
        if (result == NULL) {
            close(executor);
            return in_doubt(o, "it ran, but there was no memory to keep its result");
        }
        code = strata_op_report(c->s, o->key, token, result, size, executor);
        free(result);
    }
    if (code == STRATA_OK)
        return child->status;
    (void)cli_fail(c, code);
    return in_doubt(o, "it ran, but that could not be recorded");
}

static int run(struct once *o, uint64_t token, int executor)
{
    char key[300], fence[64];
    snprintf(key, sizeof key, "STRATA_OP_KEY=%s", o->key);
    snprintf(fence, sizeof fence, "STRATA_FENCE=%" PRIu64, token);
    const char *const environment[] = {key, fence, NULL};
    char **argv = calloc(o->c->arg_count + 1, sizeof *argv);
    struct child child = {
        .argv = argv,
        .environment = environment,
        .inherit_fd = executor,
        .timeout_ms = o->timeout_ms,
        .keep = true,
    };
    bool ran = false;
    if (argv != NULL) {
        memcpy(argv, o->c->args, o->c->arg_count * sizeof *argv);
        ran = child_run(&child);
    }
    if (!ran)
        child.error = errno;
    int status = finish(o, token, executor, &child);
    child_release(&child);
    free(argv);
    return status;
}

/* --- the answers ------------------------------------------------------------------------------ */

static int answered(struct once *o, const strata_op_answer *a)
{
    struct cli *c = o->c;
    const strata_operation *op = &a->operation;
    switch (a->answer) {
    case STRATA_OP_REPLAY:
        return replay(o, op);
    case STRATA_OP_DOUBT:
        return unknown_since(o, op->started_ms);
    case STRATA_OP_MISMATCH:
        (void)cli_error(
            c, STRATA_CONFLICT,
            "if that is the same in other words, do not run it: `strata op show` says what "
            "became of it. Another key is for another effect only",
            "not run: %s stands for a command with other arguments, which is %s", o->key,
            strata_op_state_name(op->state));
        return child_wrapped(strata_code_exit(STRATA_CONFLICT));
    case STRATA_OP_APPROVAL:
        (void)cli_error(c, STRATA_TIMEOUT, "go on with other work and ask again later",
                        "%s waits for a person to approve it (strata op approve %s)", o->key,
                        o->key);
        return child_wrapped(strata_code_exit(STRATA_TIMEOUT));
    case STRATA_OP_PRUNED:
        (void)cli_error(c, STRATA_CONFLICT,
                        "do not use another key for the same; whether it is to happen once more "
                        "under a new one is for a person to say",
                        "not run: %s was known before; its result was pruned", o->key);
        return child_wrapped(strata_code_exit(STRATA_CONFLICT));
    case STRATA_OP_ENDED:
        (void)cli_error(c, STRATA_CONFLICT, "a person can have it run again: strata op again",
                        "not run: %s has %s%s%s; nothing happened", o->key,
                        strata_op_state_name(op->state), op->evidence[0] != '\0' ? ": " : "",
                        op->evidence);
        return child_wrapped(strata_code_exit(STRATA_CONFLICT));
    default:
        (void)cli_error(c, STRATA_TIMEOUT, "ask again later; do not use another key",
                        "%s is being run by %s", o->key, cli_holder(op));
        return child_wrapped(strata_code_exit(STRATA_TIMEOUT));
    }
}

/* In doubt, and there is a command that knows: true when it said that it happened. */
static bool checked(struct once *o)
{
    char *argv[] = {"/bin/sh", "-c", (char *)(uintptr_t)o->c->options[OPT_CHECK], NULL};
    char key[300], text[400], evidence[400];
    snprintf(key, sizeof key, "STRATA_OP_KEY=%s", o->key);
    const char *const environment[] = {key, NULL};
    struct child child = {.argv = argv,
                          .environment = environment,
                          .inherit_fd = -1,
                          .timeout_ms = CHECK_MS_MAX,
                          .keep = true,
                          .silent = true};
    bool happened = child_run(&child) && child.started && !child.timed_out && child.signal == 0 &&
                    child.status == 0;
    if (happened) {
        snprintf(text, sizeof text, "the check command ended with 0: %.300s", argv[2]);
        cli_clean(text, evidence, sizeof evidence);
        happened =
            strata_op_checked(o->c->s, o->key, evidence, child.out, child.out_size) == STRATA_OK;
    }
    child_release(&child);
    return happened;
}

static int once_run(struct once *o)
{
    uint64_t start = child_now_ms();
    bool asked = !cli_given(o->c, OPT_CHECK);
    for (;;) {
        strata_op_answer a;
        int code = strata_op_begin(o->c->s, &o->request, &a);
        if (code != STRATA_OK)
            return child_wrapped(cli_fail(o->c, code));
        o->class = a.operation.op_class;
        if (a.answer == STRATA_OP_RUN)
            return run(o, a.token, a.executor);
        if (a.answer == STRATA_OP_DOUBT && !asked) {
            asked = true;
            if (checked(o))
                continue;
        }
        if (a.answer != STRATA_OP_BUSY || child_now_ms() - start >= o->wait_ms)
            return answered(o, &a);
        /* Only looking, until something changes: the ledger need not be written for that. */
        strata_operation op;
        do {
            struct timespec t = {.tv_nsec = POLL_MS * 1000000L};
            nanosleep(&t, NULL);
            code = strata_op_get(o->c->s, o->key, &op);
        } while (code == STRATA_OK && child_now_ms() - start < o->wait_ms &&
                 (op.state == STRATA_OP_GRANTED || op.state == STRATA_OP_EXECUTING) && op.alive);
    }
}

int cmd_once(struct cli *c)
{
    struct once o = {.c = c};
    int status = once_read(&o);
    if (status == 0)
        status = cli_open(c);
    status = status == 0 ? once_run(&o) : child_wrapped(status);
    free(o.parameters);
    return status;
}
