/*
 * strong.c - commands of the strong layer per second, through the library.
 *
 *   bench-strong KIND PROCESSES MS DIR      prints commands per second
 *
 *   op     strata_op_begin (propose, grant, start: one entry) and strata_op_report of fresh keys: 4
 *          commands, 2 flushes
 *   lock   strata_lock_acquire and strata_lock_release of an own lock: 2 commands, 2 flushes
 *   fill   MS operations, begun and reported, in the ledger of DIR, unflushed and many to an entry:
 *          for what is measured over a large ledger; prints nothing
 */
#include "bench.h"
#include "strata.h"

#include "store/log.h"
#include "strong/strong.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct work {
    const char *dir;
    strata *s;
    char name[64];
    unsigned long n;
};

static void check(struct work *w, int code)
{
    if (code != STRATA_OK)
        bench_die("%s", strata_last_error(w->s)->message);
}

static void op_once(void *arg)
{
    struct work *w = arg;
    char key[96];
    snprintf(key, sizeof key, "%s-%lu", w->name, w->n++);
    strata_op_request r = {.size = sizeof r, .key = key, .parameters = "x", .parameters_size = 1};
    strata_op_answer a;
    check(w, strata_op_begin(w->s, &r, &a));
    if (a.answer != STRATA_OP_RUN)
        bench_die("%s is not to be run: %d", key, a.answer);
    check(w, strata_op_report(w->s, key, a.token, "ok", 2, a.executor));
}

static void lock_once(void *arg)
{
    struct work *w = arg;
    strata_lock l;
    check(w, strata_lock_acquire(w->s, w->name, 60000, 0, 0, &l));
    check(w, strata_lock_release(w->s, w->name, l.token));
}

static void prepare(void *arg, int number)
{
    struct work *w = arg;
    strata_options o = {.size = sizeof o, .agent = "bench", .program = "bench"};
    strata_error e;
    if (strata_open(w->dir, &o, &w->s, &e) != STRATA_OK)
        bench_die("open: %s", e.message);
    snprintf(w->name, sizeof w->name, "%d-%d", (int)getpid(), number);
    lock_once(w); /* the layer is open, as the others' connections are */
}

/* --- a large ledger ----------------------------------------------------------------------------- */

#define OPERATIONS (ST_ENTRY_COMMANDS_MAX / 4) /* of one entry */

static int no_flush(void *ctx, int fd)
{
    (void)ctx, (void)fd;
    return 0;
}

/* Tokens are given out in order, and nobody else asks for one. */
static void fill(const char *dir, int count)
{
    struct st_env env = *st_env_posix();
    struct st_fault fault;
    struct st_strong *s;
    char state[4096], keys[OPERATIONS][32];
    uint64_t token = 0;
    env.fdatasync = no_flush;
    snprintf(state, sizeof state, "%s/.strata", dir);
    if (st_strong_open(&s, &env, st_alloc_libc(), state, false, "bench", 0, &fault) != ST_OK)
        bench_die("%s", fault.message);
    for (int i = 0; i < count;) {
        struct st_command entry[ST_ENTRY_COMMANDS_MAX];
        struct st_ledger_result results[ST_ENTRY_COMMANDS_MAX];
        size_t n = 0;
        for (int at = 0; at < OPERATIONS && i < count; at++, i++) {
            snprintf(keys[at], sizeof keys[at], "deploy-%d-%08x", i, (unsigned)i * 2654435761u);
            struct st_str key = st_str_of(keys[at]);
            entry[n++] = (struct st_command){.kind = ST_CMD_PROPOSE, .key = key};
            entry[n++] = (struct st_command){.kind = ST_CMD_GRANT, .key = key};
            entry[n++] = (struct st_command){.kind = ST_CMD_START, .key = key};
            entry[n++] = (struct st_command){
                .kind = ST_CMD_REPORT, .key = key, .token = ++token, .result = ST_STR("ok")};
        }
        if (st_strong_submit(s, ST_STR("bench"), 0, entry, n, results) != ST_OK ||
            results[n - 1].verdict != ST_VERDICT_DONE)
            bench_die("%s", st_strong_fault(s)->message);
    }
    st_strong_close(s);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: bench-strong KIND PROCESSES MS DIR\n", stderr);
        return 2;
    }
    struct work w = {.dir = argv[4]};
    strata_init_options o = {.size = sizeof o, .name = "bench"};
    strata_init_result r;
    strata_error e;
    int count = atoi(argv[2]), ms = atoi(argv[3]);
    if (count < 1 || count > 1024 || ms < 1)
        bench_die("1 to 1024 processes, at least 1 ms");
    if (strata_init(w.dir, &o, &r, &e) != STRATA_OK)
        bench_die("init: %s", e.message);
    if (strcmp(argv[1], "fill") == 0) {
        fill(w.dir, ms);
        return 0;
    }
    bool op = strcmp(argv[1], "op") == 0;
    if (!op && strcmp(argv[1], "lock") != 0)
        bench_die("no kind '%s'", argv[1]);
    double rate = bench_rate(count, (uint32_t)ms, prepare, op ? op_once : lock_once, &w);
    printf("%.0f\n", rate * (op ? 4 : 2));
    return 0;
}
