/*
 * test_strong.c - the strong layer on two engines: the file engine, on real files with a clock that
 * can be set, and one in memory. What holds for one has to hold for the other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "order_memory.h"
#include "store/index.h"
#include "strong/strong.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <unistd.h>

#define S_NS 1000000000ull

/* --- two kinds of places ---------------------------------------------------------------------- */

static char dir[64];
static uint64_t file_clock = 1, file_ns = 1;

static uint64_t set_boot_ns(void *ctx)
{
    (void)ctx;
    return file_ns;
}

static uint64_t set_clock_id(void *ctx)
{
    (void)ctx;
    return file_clock;
}

/* The wall clock goes back a year, or ahead, whenever the clock is set: no deadline may notice. */
static uint64_t set_wall_ms(void *ctx)
{
    uint64_t year = 365ull * 24 * 3600 * 1000, now = st_env_posix()->wall_ms(ctx);
    return file_ns / S_NS % 2 == 0 ? now - year : now + year;
}

/* A full disk: half of what is written arrives. */
static bool disk_full;

static ssize_t set_pwrite(void *ctx, int fd, const void *buf, size_t n, uint64_t offset)
{
    return st_env_posix()->pwrite(ctx, fd, buf, disk_full ? n / 2 : n, offset);
}

/* The log kernel measures its waits on the same clock: with a clock that stands still it would wait
 * for ever, so only tests without other threads stop it. */
static bool clock_set;

static const struct st_env *env(void)
{
    static struct st_env set;
    if (!clock_set)
        return st_env_posix();
    set = *st_env_posix();
    set.boot_ns = set_boot_ns;
    set.clock_id = set_clock_id;
    set.wall_ms = set_wall_ms;
    set.pwrite = set_pwrite;
    return &set;
}

struct place {
    const char *name;
    struct memory_place *memory; /* NULL: a directory */
    char path[128];
    bool sealed; /* seal_under_load(): told to its threads */
};

static void place_new(struct place *p, const char *name, bool file, bool decides)
{
    struct st_fault fault;
    *p = (struct place){.name = name};
    if (!file) {
        p->memory = memory_place_new(name, decides);
        return;
    }
    snprintf(p->path, sizeof p->path, "%s/%s", dir, name);
    assert_int_equal(st_env_posix()->mkdir(NULL, p->path), 0);
    assert_int_equal(st_strong_found(env(), st_alloc_libc(), p->path, 7, name, decides, &fault),
                     ST_OK);
}

static void place_free(struct place *p)
{
    if (p->memory != NULL)
        memory_place_free(p->memory);
}

static struct st_strong *open_place(struct place *p)
{
    struct st_strong *s = NULL;
    struct st_fault fault = {0};
    enum st_code code =
        p->memory != NULL
            ? st_strong_stand(&s, memory_open(p->memory), st_env_posix(), st_alloc_libc(), NULL,
                              &fault)
            : st_strong_open(&s, env(), st_alloc_libc(), p->path, false, "test", 0, &fault);
    if (code != ST_OK)
        fail_msg("%s: %s", p->name, fault.message);
    return s;
}

static void set_clock(struct place *p, uint64_t clock, uint64_t ns)
{
    if (p->memory != NULL)
        memory_clock(p->memory, clock, ns);
    file_clock = clock;
    file_ns = ns;
}

static void expect(struct st_strong *s, enum st_code code, enum st_code wanted, int line)
{
    if (code != wanted)
        fail_msg("line %d: %s, not %s: %s", line, st_code_name(code), st_code_name(wanted),
                 st_strong_fault(s)->message);
}
#define OK(s, call)         expect((s), (call), ST_OK, __LINE__)
#define CODE(s, call, code) expect((s), (call), (code), __LINE__)

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/strata-strong-XXXXXX");
    clock_set = disk_full = false;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    return system(command);
}

/* --- short ways ------------------------------------------------------------------------------- */

static struct st_ledger_result one(struct st_strong *s, const char *agent, struct st_command c)
{
    struct st_ledger_result result;
    OK(s, st_strong_submit(s, st_str_of(agent), 0, &c, 1, &result));
    return result;
}

#define KEY(text) .key = {(text), strlen(text)}

static struct st_ledger_result acquire(struct st_strong *s, const char *agent, const char *name,
                                       uint64_t term_ns)
{
    return one(s, agent,
               (struct st_command){.kind = ST_CMD_LEASE_ACQUIRE,
                                   KEY(name),
                                   .lease = ST_LEASE_LOCK,
                                   .deadline = st_strong_deadline(s, term_ns)});
}

/* As it stands in the rows, whatever any clock says. */
static bool held(struct st_strong *s, const char *name)
{
    struct st_lease lease;
    OK(s, st_strong_begin(s));
    enum st_code code = st_lease_read(st_strong_ledger(s), ST_LEASE_LOCK, st_str_of(name), &lease);
    bool is = code == ST_OK && lease.held;
    st_strong_end(s);
    return is;
}

static enum st_operation_state state_of(struct st_strong *s, const char *key)
{
    struct st_operation o;
    OK(s, st_strong_begin(s));
    enum st_code code = st_operation_read(st_strong_ledger(s), st_str_of(key), &o);
    enum st_operation_state state = code == ST_OK ? o.state : ST_OPERATION_NONE;
    st_strong_end(s);
    return state;
}

/* Propose, grant and start in one entry. */
static enum st_code begin(struct st_strong *s, const char *key, struct st_deadline term,
                          struct st_ledger_result results[3])
{
    struct st_command entry[3] = {
        {.kind = ST_CMD_PROPOSE, KEY(key), .parameters = {1, 2}},
        {.kind = ST_CMD_GRANT, KEY(key), .deadline = term},
        {.kind = ST_CMD_START, KEY(key)},
    };
    return st_strong_submit(s, ST_STR("ann"), 1, entry, 3, results);
}

static void same_head(struct st_strong *a, struct st_strong *b)
{
    struct st_strong_head x, y;
    OK(a, st_strong_head(a, &x));
    OK(b, st_strong_head(b, &y));
    assert_int_equal(x.position, y.position);
    assert_string_equal(x.head, y.head);
    assert_int_equal(x.generation, y.generation);
}

/* Somebody gives a command: what is due is written down. */
static void tick(struct st_strong *s)
{
    one(s, "tick",
        (struct st_command){
            .kind = ST_CMD_LEASE_RELEASE, KEY("-"), .lease = ST_LEASE_LOCK, .token = 1});
}

/* --- sealing under load ----------------------------------------------------------------------- */

#define THREADS 6
#define KEYS    120 /* for each thread */

struct worker {
    struct place *from, *to;
    int number;
    uint64_t tokens[2 * KEYS];
    size_t token_count;
    bool begun[KEYS], reported[KEYS];
    int late; /* commands that the old one refused */
};

/* Submits to the old place until that says no, then to the new one as soon as it decides. */
static void submit(struct worker *w, struct st_strong *s[2], int *at, struct st_command *c,
                   size_t count, struct st_ledger_result *results)
{
    for (int tries = 0; tries < 100000; tries++) {
        enum st_code code = st_strong_submit(s[*at], ST_STR("ann"), 1, c, count, results);
        if (code == ST_OK)
            return;
        if (code != ST_UNAVAILABLE) {
            fprintf(stderr, "%s: %s\n", st_code_name(code), st_strong_fault(s[*at])->message);
            abort();
        }
        w->late += *at == 0;
        *at = 1;
        usleep(200);
    }
    abort();
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct st_strong *s[2] = {open_place(w->from), open_place(w->to)};
    struct st_ledger_result results[3];
    int at = 0;
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        usleep(300);
        /* Both places have their share, however slow the machine is: half of the keys wait for the
         * seal, and the load goes on meanwhile. */
        while (i >= KEYS / 2 && at == 0) {
            struct st_command idle = {
                .kind = ST_CMD_LEASE_RELEASE, KEY("-"), .lease = ST_LEASE_LOCK, .token = 1};
            submit(w, s, &at, &idle, 1, results);
            usleep(300);
        }
        snprintf(key, sizeof key, "k-%d-%d", w->number, i);
        struct st_command entry[3] = {{.kind = ST_CMD_PROPOSE, KEY(key)},
                                      {.kind = ST_CMD_GRANT, KEY(key)},
                                      {.kind = ST_CMD_START, KEY(key)}};
        submit(w, s, &at, entry, 3, results);
        w->begun[i] = results[2].verdict == ST_VERDICT_DONE;
        w->tokens[w->token_count++] = results[1].token;
        if (i % 3 == 0)
            continue; /* stays executing */
        struct st_command report = {
            .kind = ST_CMD_REPORT, KEY(key), .token = results[1].token, .result = ST_STR("ok")};
        submit(w, s, &at, &report, 1, results);
        w->reported[i] = results[0].verdict == ST_VERDICT_DONE;
    }
    st_strong_close(s[0]);
    st_strong_close(s[1]);
    return NULL;
}

static int compare_tokens(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void check_work(struct st_strong *s, struct worker *workers)
{
    uint64_t all[THREADS * 2 * KEYS];
    size_t count = 0;
    for (int t = 0; t < THREADS; t++) {
        struct worker *w = &workers[t];
        for (size_t i = 0; i < w->token_count; i++) {
            assert_true(i == 0 || w->tokens[i] > w->tokens[i - 1]);
            all[count++] = w->tokens[i];
        }
        for (int i = 0; i < KEYS; i++) {
            char key[32];
            snprintf(key, sizeof key, "k-%d-%d", t, i);
            assert_true(w->begun[i]);
            assert_true(w->reported[i] == (i % 3 != 0));
            assert_int_equal(state_of(s, key),
                             w->reported[i] ? ST_OPERATION_COMMITTED : ST_OPERATION_EXECUTING);
        }
    }
    qsort(all, count, sizeof *all, compare_tokens);
    for (size_t i = 1; i < count; i++)
        assert_true(all[i] > all[i - 1]);
}

static enum st_code count_start(void *arg, const struct st_strong_event *e)
{
    *(int *)arg += e->command != NULL && e->command->kind == ST_CMD_START;
    return ST_OK;
}

static void seal_under_load(bool from_file, bool to_file)
{
    struct place old, new;
    struct worker workers[THREADS] = {0};
    pthread_t threads[THREADS];
    struct st_strong_head there, sealed, now;
    uint64_t count;
    place_new(&old, "old", from_file, true);
    place_new(&new, "new", to_file, false);
    struct st_strong *a = open_place(&old), *b = open_place(&new);
    for (int t = 0; t < THREADS; t++) {
        workers[t] = (struct worker){.from = &old, .to = &new, .number = t};
        pthread_create(&threads[t], NULL, work, &workers[t]);
    }
    do {
        usleep(1000);
        OK(a, st_strong_head(a, &now));
    } while (now.position < KEYS);
    OK(b, st_strong_follow(b, a, &count)); /* most of it, before */
    OK(b, st_strong_head(b, &there));
    CODE(b, st_strong_accept(b, "pat"), ST_CONFLICT);
    OK(a, st_strong_seal(a, there.place, "pat", "the desk is sold"));
    __atomic_store_n(&old.sealed, true, __ATOMIC_SEQ_CST);
    usleep(20000); /* nobody decides: all have to wait */
    OK(a, st_strong_head(a, &sealed));
    assert_true(sealed.sealed);
    assert_string_equal(sealed.successor, there.place);
    CODE(b, st_strong_accept(b, "pat"), ST_CONFLICT); /* the seal has not arrived */
    OK(b, st_strong_follow(b, a, &count));
    OK(b, st_strong_accept(b, "pat"));
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    OK(a, st_strong_head(a, &now)); /* nothing was accepted there */
    assert_int_equal(now.position, sealed.position);
    assert_string_equal(now.head, sealed.head);
    OK(b, st_strong_head(b, &now));
    assert_int_equal(now.generation, sealed.generation + 1);
    assert_true(now.position > sealed.position + KEYS);
    int late = 0, starts = 0;
    for (int t = 0; t < THREADS; t++)
        late += workers[t].late;
    assert_int_equal(late, THREADS);
    check_work(b, workers);
    OK(b, st_strong_events(b, 0, 0, count_start, &starts));
    assert_in_range(starts, THREADS * KEYS, THREADS * KEYS + THREADS);
    /* The old one is a copy now, and goes on as one. */
    OK(a, st_strong_follow(a, b, &count));
    same_head(a, b);
    check_work(a, workers);
    CODE(a, st_strong_accept(a, "pat"), ST_CONFLICT);
    struct st_ledger_result results[3];
    CODE(a, begin(a, "late", (struct st_deadline){0}, results), ST_UNAVAILABLE);
    /* And back again. */
    OK(a, st_strong_head(a, &there));
    OK(b, st_strong_seal(b, there.place, "pat", "it was not sold"));
    OK(b, st_strong_seal(b, there.place, "pat", "it was not sold")); /* after a crash: again */
    OK(a, st_strong_follow(a, b, &count));
    OK(a, st_strong_accept(a, "pat"));
    OK(a, begin(a, "late", (struct st_deadline){0}, results));
    assert_int_equal(results[2].verdict, ST_VERDICT_DONE);
    for (int t = 0; t < THREADS; t++)
        assert_true(results[1].token > workers[t].tokens[workers[t].token_count - 1]);
    st_strong_close(a);
    st_strong_close(b);
    place_free(&old);
    place_free(&new);
}

static void test_seal_memory_to_file(void **state)
{
    (void)state;
    seal_under_load(false, true);
}

static void test_seal_file_to_memory(void **state)
{
    (void)state;
    seal_under_load(true, false);
}

static void test_seal_file_to_file(void **state)
{
    (void)state;
    seal_under_load(true, true);
}

/* A straggler that asked who decides just before the seal: its entry comes behind it, and the log
 * goes on as if it were not there. */
static void behind_the_seal(bool file)
{
    struct place old, new;
    struct st_strong_head there, sealed, now;
    struct st_ledger_result results[3];
    uint64_t count;
    place_new(&old, "old", file, true);
    place_new(&new, "new", !file, false);
    struct st_strong *a = open_place(&old), *b = open_place(&new);
    OK(a, begin(a, "k", (struct st_deadline){0}, results));
    OK(b, st_strong_head(b, &there));
    OK(a, st_strong_seal(a, there.place, "pat", "because"));
    struct st_order *o = *(struct st_order **)a; /* its first member */
    OK(a, o->engine->take(o, "a straggler"));
    CODE(a, begin(a, "late", (struct st_deadline){0}, results), ST_UNAVAILABLE);
    assert_non_null(strstr(st_strong_fault(a)->message, there.place));
    OK(a, o->engine->give_up(o));
    OK(a, st_strong_head(a, &sealed));
    OK(b, st_strong_follow(b, a, &count));
    OK(b, st_strong_accept(b, "pat"));
    OK(b, begin(b, "later", (struct st_deadline){0}, results));
    OK(b, st_strong_head(b, &now));
    assert_int_equal(now.position, sealed.position + 2);
    OK(a, st_strong_follow(a, b, &count));
    same_head(a, b);
    assert_int_equal(state_of(a, "late"), ST_OPERATION_NONE);
    assert_int_equal(state_of(a, "later"), ST_OPERATION_EXECUTING);
    int starts = 0;
    OK(a, st_strong_events(a, 0, 0, count_start, &starts));
    assert_int_equal(starts, 2);
    st_strong_close(a);
    st_strong_close(b);
    place_free(&old);
    place_free(&new);
}

static void test_behind_the_seal(void **state)
{
    (void)state;
    behind_the_seal(false);
    behind_the_seal(true);
}

/* --- forced moves ----------------------------------------------------------------------------- */

static void forced(bool file)
{
    struct place old, new;
    struct st_ledger_result results[3];
    enum st_lineage lineage;
    uint64_t count;
    place_new(&old, "old", file, true);
    place_new(&new, "new", !file, false);
    struct st_strong *a = open_place(&old), *b = open_place(&new);
    OK(a, begin(a, "before", (struct st_deadline){0}, results));
    OK(a, begin(a, "ended", (struct st_deadline){0}, results));
    struct st_command report = {
        .kind = ST_CMD_REPORT, KEY("ended"), .token = results[1].token, .result = ST_STR("ok")};
    one(a, "ann", report);
    OK(b, st_strong_follow(b, a, &count));
    assert_int_equal(count, 3);
    OK(b, st_strong_follow(b, a, &count));
    assert_int_equal(count, 0);
    OK(a, begin(a, "after", (struct st_deadline){0}, results)); /* the copy does not know */
    uint64_t token = results[1].token;
    OK(b, st_strong_compare(b, a, &lineage));
    assert_int_equal(lineage, ST_LINEAGE_BEHIND);
    CODE(b, begin(b, "after", (struct st_deadline){0}, results), ST_UNAVAILABLE);
    OK(b, st_strong_force(b, "pat", "the old one burned"));
    /* In doubt: what had not ended, and every key not proven absent. Never run. */
    assert_int_equal(state_of(b, "before"), ST_OPERATION_IN_DOUBT);
    assert_int_equal(state_of(b, "ended"), ST_OPERATION_COMMITTED);
    OK(b, begin(b, "after", (struct st_deadline){0}, results));
    assert_int_not_equal(results[1].verdict, ST_VERDICT_DONE);
    assert_int_equal(state_of(b, "after"), ST_OPERATION_IN_DOUBT);
    assert_true(acquire(b, "ann", "lock", S_NS).token > token);
    /* It did not burn: both logs have what the other has not. */
    OK(a, st_strong_compare(a, b, &lineage));
    assert_int_equal(lineage, ST_LINEAGE_FORKED);
    CODE(a, st_strong_follow(a, b, &count), ST_CONFLICT);
    CODE(b, st_strong_follow(b, a, &count), ST_CONFLICT);
    st_strong_close(a);
    st_strong_close(b);
    place_free(&old);
    place_free(&new);
}

static void test_forced(void **state)
{
    (void)state;
    forced(false);
    forced(true);
}

/* Forced at a copy that knew all: the old place finds its own log gone on elsewhere, and decides
 * no more. */
static void test_stands_down(void **state)
{
    struct place old, new;
    struct st_ledger_result results[3];
    uint64_t count;
    (void)state;
    place_new(&old, "old", true, true);
    place_new(&new, "new", true, false);
    struct st_strong *a = open_place(&old), *b = open_place(&new);
    OK(a, begin(a, "k", (struct st_deadline){0}, results));
    OK(b, st_strong_follow(b, a, &count));
    OK(b, st_strong_force(b, "pat", "the old one burned"));
    CODE(a, st_strong_follow(a, b, &count), ST_DENIED);
    assert_false(st_strong_here(a));
    OK(a, st_strong_follow(a, b, &count));
    same_head(a, b);
    CODE(a, begin(a, "l", (struct st_deadline){0}, results), ST_UNAVAILABLE);
    st_strong_close(a);
    st_strong_close(b);
}

/* A role that could not be written whole was not written. */
static void test_a_role_on_a_full_disk(void **state)
{
    struct place p;
    (void)state;
    clock_set = true;
    place_new(&p, "desk", true, true);
    struct st_strong *s = open_place(&p);
    struct st_order *o = *(struct st_order **)s;
    disk_full = true;
    assert_int_not_equal(o->engine->give_up(o), ST_OK);
    assert_true(st_strong_here(s));
    assert_int_not_equal(o->engine->take(o, "ann"), ST_OK);
    assert_true(st_strong_here(s));
    disk_full = false;
    OK(s, o->engine->give_up(o));
    assert_false(st_strong_here(s));
    OK(s, o->engine->take(o, "ann"));
    assert_true(st_strong_here(s));
    st_strong_close(s);
}

static void file_text(const char *path, char *text, size_t size, bool write)
{
    FILE *f = fopen(path, write ? "r+" : "r");
    assert_non_null(f);
    size_t n = write ? fwrite(text, 1, strlen(text), f) : fread(text, 1, size - 1, f);
    if (!write)
        text[n] = '\0';
    assert_int_equal(fclose(f), 0);
}

/* Whoever has read the file of the role goes on without reading it: not when another one takes its place, nor
 * when it says something else, of the same size. */
static void test_a_role_is_not_remembered(void **state)
{
    struct place p;
    char path[160], text[300], other[300], command[200];
    (void)state;
    clock_set = true;
    file_ns = S_NS; /* a year later: the file has not just been written */
    place_new(&p, "desk", true, true);
    struct st_strong *s = open_place(&p), *t = open_place(&p);
    struct st_order *o = *(struct st_order **)t;
    snprintf(path, sizeof path, "%s/strong/coordinator", p.path);
    for (int i = 0; i < 2; i++) {
        assert_true(st_strong_here(s));
        assert_true(st_strong_here(s));
        OK(t, o->engine->give_up(o));
        assert_false(st_strong_here(s));
        OK(t, o->engine->take(o, "ann"));
    }
    assert_true(st_strong_here(s));
    usleep(20000); /* a tick of the system's clock for files */
    file_text(path, text, sizeof text, false);
    strcpy(other, text);
    char *digit = strpbrk(strstr(other, "inode"), "0123456789");
    *digit = *digit == '9' ? '8' : (char)(*digit + 1);
    file_text(path, other, 0, true);
    assert_false(st_strong_here(s));
    file_text(path, text, 0, true);
    assert_true(st_strong_here(s));
    /* By a clock that was set back the file is younger than any other: it is read each time, as it may change again
     * within one tick. */
    usleep(20000);
    file_ns = 2 * S_NS;
    for (int i = 0; i < 20; i++) {
        file_text(path, text, 0, true);
        assert_true(st_strong_here(s));
        file_text(path, other, 0, true);
        assert_false(st_strong_here(s));
    }
    file_text(path, text, 0, true);
    file_ns = S_NS;
    /* The directory is put aside, and a copy comes in its place, which somebody is given the role of. */
    usleep(20000);
    assert_true(st_strong_here(s));
    assert_true(st_strong_here(s));
    snprintf(command, sizeof command, "cd '%s' && mv strong old && cp -pR old strong", p.path);
    assert_int_equal(system(command), 0);
    file_text(path, other, 0, true);
    assert_false(st_strong_here(s));
    st_strong_close(s);
    st_strong_close(t);
    file_ns = 1;
}

/* --- durability ------------------------------------------------------------------------------- */

static void test_no_answer_before_it_is_durable(void **state)
{
    struct place p;
    struct st_ledger_result results[3];
    (void)state;
    place_new(&p, "desk", false, true);
    struct st_strong *s = open_place(&p);
    OK(s, begin(s, "kept", (struct st_deadline){0}, results));
    memory_disk(p.memory, false);
    CODE(s, begin(s, "lost", (struct st_deadline){0}, results), ST_TIMEOUT);
    CODE(s, st_strong_begin(s), ST_TIMEOUT); /* reads would tell of it, too */
    memory_crash(p.memory);
    assert_int_equal(state_of(s, "kept"), ST_OPERATION_EXECUTING);
    assert_int_equal(state_of(s, "lost"), ST_OPERATION_NONE);
    OK(s, begin(s, "lost", (struct st_deadline){0}, results));
    assert_int_equal(results[2].verdict, ST_VERDICT_DONE);
    st_strong_close(s);
    place_free(&p);
}

/* Rows lost, garbage for rows, rows of a later moment than the log: no key is forgotten, none
 * invented. */
static void test_rows_are_a_cache(void **state)
{
    struct place p, copy;
    struct st_ledger_result results[3];
    struct st_strong_head before, after;
    char command[512];
    (void)state;
    place_new(&p, "desk", true, true);
    struct st_strong *s = open_place(&p);
    for (int i = 0; i < 600; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        if (i < 3)
            OK(s, begin(s, key, (struct st_deadline){0}, results));
        else
            acquire(s, "ann", key, 3600 * S_NS);
    }
    OK(s, st_strong_head(s, &before));
    st_strong_close(s);
    const char *const ruins[] = {"rm index.db*", "head -c 20000 /dev/urandom >index.db",
                                 "rm -f index.db-wal index.db-shm; truncate -s 4096 index.db"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(command, sizeof command, "cd '%s/strong' && %s", p.path, ruins[i]);
        assert_int_equal(system(command), 0);
        s = open_place(&p);
        OK(s, st_strong_head(s, &after));
        assert_int_equal(after.position, before.position);
        assert_string_equal(after.head, before.head);
        assert_int_equal(state_of(s, "k1"), ST_OPERATION_EXECUTING);
        assert_true(held(s, "k599"));
        OK(s, begin(s, "k1", (struct st_deadline){0}, results));
        assert_int_equal(results[0].verdict, ST_VERDICT_SAME);
        assert_int_not_equal(results[2].verdict, ST_VERDICT_DONE);
        OK(s, st_strong_head(s, &before));
        st_strong_close(s);
    }
    /* The rows of a log that has one operation more. */
    snprintf(command, sizeof command, "cp -r '%s' '%s/copy'", p.path, dir);
    assert_int_equal(system(command), 0);
    s = open_place(&p);
    OK(s, begin(s, "more", (struct st_deadline){0}, results));
    st_strong_close(s);
    s = open_place(&p); /* who comes next writes what its predecessor had in memory */
    OK(s, st_strong_head(s, &after));
    st_strong_close(s);
    snprintf(command, sizeof command,
             "cd '%s/copy/strong' && rm -f index.db* && cp '%s'/strong/index.db* . && true", dir,
             p.path);
    assert_int_equal(system(command), 0);
    copy = (struct place){.name = "copy"};
    snprintf(copy.path, sizeof copy.path, "%s/copy", dir);
    s = open_place(&copy);
    assert_int_equal(state_of(s, "more"), ST_OPERATION_NONE);
    assert_int_equal(state_of(s, "k1"), ST_OPERATION_EXECUTING);
    OK(s, st_strong_head(s, &after));
    assert_string_equal(after.head, before.head);
    st_strong_close(s);
}

/* What the rows' files look like. */
static struct timespec rows_written(const struct place *p)
{
    char path[300];
    struct stat st;
    snprintf(path, sizeof path, "%s/strong/index.db-wal", p->path);
    assert_int_equal(stat(path, &st), 0);
    return st.st_mtim;
}

/* Who is alone writes rows now and then. Others see what it has in memory only, and it sees theirs. */
static void test_rows_in_memory(void **state)
{
    struct place p;
    char name[16];
    unsigned written = 0;
    (void)state;
    place_new(&p, "desk", true, true);
    struct st_strong *a = open_place(&p);
    acquire(a, "ann", "first", 3600 * S_NS);
    acquire(a, "ann", "second", 3600 * S_NS);
    struct timespec last = rows_written(&p);
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "l%d", i);
        acquire(a, "ann", name, 3600 * S_NS);
        struct timespec now = rows_written(&p);
        written += now.tv_sec != last.tv_sec || now.tv_nsec != last.tv_nsec;
        last = now;
    }
    assert_in_range(written, 1, 10);
    struct st_strong *b = open_place(&p);
    uint64_t token = 0;
    for (int i = 0; i < 200; i++) {
        /* In turn, and at times one of them several times. */
        struct st_strong *s = i % 7 < 3 ? a : b, *other = s == a ? b : a;
        snprintf(name, sizeof name, "m%d", i);
        struct st_ledger_result r = acquire(s, s == a ? "ann" : "bob", name, 3600 * S_NS);
        assert_int_equal(r.verdict, ST_VERDICT_DONE);
        assert_true(r.token > token);
        token = r.token;
        if (i % 3 == 0)
            assert_int_equal(acquire(other, "cem", name, S_NS).verdict, ST_VERDICT_HELD);
        if (i % 5 == 0)
            assert_true(held(other, name));
    }
    struct st_strong_head one_head, other_head;
    OK(a, st_strong_head(a, &one_head));
    OK(b, st_strong_head(b, &other_head));
    assert_string_equal(one_head.head, other_head.head);
    st_strong_close(a);
    st_strong_close(b);
    b = open_place(&p);
    OK(b, st_strong_verify(b, &other_head));
    assert_string_equal(one_head.head, other_head.head);
    st_strong_close(b);
}

/* The answer to an entry was overwritten before its process came to read it. */
static void test_answer_again(void **state)
{
    struct place p;
    struct st_ledger_result results[3], again[3];
    char command[256];
    (void)state;
    place_new(&p, "desk", true, true);
    struct st_strong *s = open_place(&p);
    OK(s, begin(s, "k", (struct st_deadline){0}, results));
    struct st_order *o = *(struct st_order **)s;
    struct st_mark mark;
    OK(s, o->engine->tail(o, &mark));
    acquire(s, "ann", "l", S_NS);
    snprintf(command, sizeof command,
             "dd if=/dev/zero of='%s/strong/answers' conv=notrunc bs=4096 "
             "count=1000 status=none",
             p.path);
    assert_int_equal(system(command), 0);
    OK(s, o->engine->answer(o, mark, again, 3));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(again[i].verdict, results[i].verdict);
        assert_int_equal(again[i].token, results[i].token);
    }
    assert_int_equal(state_of(s, "k"), ST_OPERATION_EXECUTING);
    st_strong_close(s);
}

static void poke(const struct place *p, const char *name, size_t offset, uint32_t value)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/strong/%s", p->path, name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &value, sizeof value, (off_t)offset), sizeof value);
    close(fd);
}

/* Whoever served was killed: its name stands in the page, and some who slept are still counted. Nobody waits for
 * it longer than a nap; half a second is when they would give it up as stopped. */
static void test_who_served_was_killed(void **state)
{
    struct place p;
    (void)state;
    place_new(&p, "desk", true, true);
    struct st_strong *s = open_place(&p);
    uint64_t best = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        char name[16];
        struct timespec before, after;
        poke(&p, "answers", 12, 1);
        poke(&p, "page",
             offsetof(struct st_page, holders) + ST_LOCK_INDEX * sizeof(struct st_holder) +
                 offsetof(struct st_holder, process_id),
             1);
        snprintf(name, sizeof name, "l%d", i);
        clock_gettime(CLOCK_MONOTONIC, &before);
        assert_int_equal(acquire(s, "ann", name, S_NS).verdict, ST_VERDICT_DONE);
        clock_gettime(CLOCK_MONOTONIC, &after);
        int64_t ns =
            (after.tv_sec - before.tv_sec) * (int64_t)S_NS + after.tv_nsec - before.tv_nsec;
        best = (uint64_t)ns < best ? (uint64_t)ns : best;
    }
    assert_true(best < ST_INDEX_WAIT_MS * ST_NS_PER_MS);
    st_strong_close(s);
}

/* --- deadlines -------------------------------------------------------------------------------- */

/* Nobody running for an hour: the first command of anybody, about anything, writes down what has
 * passed; what was renewed, or is ahead, stays. */
static void deadlines(bool file)
{
    struct place p;
    struct st_ledger_result results[3];
    clock_set = true;
    place_new(&p, "desk", file, true);
    set_clock(&p, 11, 100 * S_NS);
    struct st_strong *s = open_place(&p);
    uint64_t token = acquire(s, "ann", "short", 30 * S_NS).token;
    acquire(s, "bob", "long", 7200 * S_NS);
    acquire(s, "cid", "renewed", 30 * S_NS);
    OK(s, begin(s, "run", st_strong_deadline(s, 60 * S_NS), results));
    struct st_command propose = {
        .kind = ST_CMD_PROPOSE, KEY("wait"), .deadline = st_strong_deadline(s, 60 * S_NS)};
    one(s, "ann", propose);
    struct st_command reserve = {
        .kind = ST_CMD_RESERVE, KEY("src/**"), .deadline = st_strong_deadline(s, 60 * S_NS)};
    one(s, "ann", reserve);
    struct st_strong_head before, after;
    OK(s, st_strong_head(s, &before));
    tick(s);
    OK(s, st_strong_head(s, &after)); /* one entry: nothing was due */
    assert_int_equal(after.position, before.position + 1);
    st_strong_close(s);
    set_clock(&p, 11, 3700 * S_NS);
    s = open_place(&p);
    assert_true(held(s, "short")); /* as written */
    tick(s);
    assert_false(held(s, "short"));
    assert_false(held(s, "renewed"));
    assert_true(held(s, "long"));
    assert_int_equal(state_of(s, "run"), ST_OPERATION_IN_DOUBT);
    assert_int_equal(state_of(s, "wait"), ST_OPERATION_EXPIRED);
    /* Its holder was stopped beyond its term: told, and nothing is renewed. */
    struct st_command renew = {.kind = ST_CMD_LEASE_RENEW,
                               KEY("short"),
                               .lease = ST_LEASE_LOCK,
                               .token = token,
                               .deadline = st_strong_deadline(s, 30 * S_NS)};
    assert_int_not_equal(one(s, "ann", renew).verdict, ST_VERDICT_DONE);
    struct st_command other = reserve;
    other.deadline = st_strong_deadline(s, S_NS);
    assert_int_equal(one(s, "bob", other).verdict, ST_VERDICT_DONE);
    /* A handle that stays open: its next command does it, whoever else looked meanwhile. */
    acquire(s, "ann", "again", 30 * S_NS);
    set_clock(&p, 11, 3731 * S_NS);
    tick(s);
    assert_false(held(s, "again"));
    st_strong_close(s);
    place_free(&p);
}

static void test_deadlines_memory(void **state)
{
    (void)state;
    deadlines(false);
}

static void test_deadlines_file(void **state)
{
    (void)state;
    deadlines(true);
}

/* Another boot, another time name space: one full term anew, once, whatever the clock there says.
 */
static void other_clock(bool file)
{
    struct place p;
    clock_set = true;
    place_new(&p, "desk", file, true);
    set_clock(&p, 11, 1000 * S_NS);
    struct st_strong *s = open_place(&p);
    acquire(s, "ann", "lock", 60 * S_NS);
    st_strong_close(s);
    set_clock(&p, 22, 5000 * S_NS); /* booted anew; far beyond, if that could be compared */
    s = open_place(&p);
    tick(s);
    assert_true(held(s, "lock"));
    set_clock(&p, 22, 5059 * S_NS);
    tick(s);
    assert_true(held(s, "lock"));
    st_strong_close(s);
    set_clock(&p, 33, 1 * S_NS); /* and once more, and back: no term is begun twice on a clock */
    s = open_place(&p);
    tick(s);
    assert_true(held(s, "lock"));
    st_strong_close(s);
    set_clock(&p, 22, 5061 * S_NS);
    s = open_place(&p);
    tick(s);
    assert_false(held(s, "lock"));
    st_strong_close(s);
    place_free(&p);
}

static void test_other_clock(void **state)
{
    (void)state;
    other_clock(false);
    other_clock(true);
}

/* More is due than one entry holds: every command takes its share, none of them grows. */
static void test_many_deadlines(void **state)
{
    struct place p;
    (void)state;
    clock_set = true;
    place_new(&p, "desk", false, true);
    set_clock(&p, 11, S_NS);
    struct st_strong *s = open_place(&p);
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "l%d", i);
        acquire(s, "ann", name, 10 * S_NS);
    }
    set_clock(&p, 11, 20 * S_NS);
    for (int i = 0; i < 7; i++)
        tick(s);
    for (int i = 0; i < 100; i++) {
        char name[16];
        snprintf(name, sizeof name, "l%d", i);
        assert_false(held(s, name));
    }
    st_strong_close(s);
    place_free(&p);
}

/* --- looks that come to nothing ----------------------------------------------------------------
 */

static jmp_buf killed;

static enum st_code die_beginning(struct st_order *o, struct st_mark *at)
{
    (void)o, (void)at;
    longjmp(killed, 1);
}

static enum st_code die_appending(struct st_order *o, const struct st_entry *e,
                                  struct st_mark *mark)
{
    (void)o, (void)e, (void)mark;
    longjmp(killed, 1);
}

/* A command on this handle does not come to its end: what it knew is gone, what it shared stays. */
static void kill_in(struct st_strong *s, bool appending)
{
    struct st_order *o = *(struct st_order **)s;
    struct st_order_engine engine = *o->engine;
    const struct st_order_engine *whole = o->engine;
    engine.begin = appending ? engine.begin : die_beginning;
    engine.append = appending ? die_appending : engine.append;
    o->engine = &engine;
    if (setjmp(killed) == 0) {
        tick(s);
        fail_msg("it came to its end");
    }
    o->engine = whole;
}

/* Somebody looks for what has passed and is killed, before the look, or before what it found was
 * ordered; or cannot read. The next command of another handle finds it all the same. */
static void look_lost(bool file)
{
    struct place p;
    struct st_ledger_result results[3];
    clock_set = true;
    place_new(&p, "desk", file, true);
    set_clock(&p, 11, S_NS);
    struct st_strong *a = open_place(&p), *b = open_place(&p);
    for (uint64_t round = 1; round <= (file ? 2 : 3); round++) {
        acquire(a, "ann", "lock", 10 * S_NS);
        tick(a);
        tick(b); /* both have looked */
        assert_true(held(a, "lock"));
        set_clock(&p, 11, round * 20 * S_NS);
        if (round < 3) {
            kill_in(b, round == 2);
        } else {
            memory_disk(p.memory, false);
            struct st_order *o = *(struct st_order **)a;
            struct st_entry e = {.commands = &ST_STR("{\"op\":\"later\"}"), .count = 1};
            struct st_mark mark;
            OK(a, o->engine->append(o, &e, &mark));
            CODE(b, begin(b, "k", (struct st_deadline){0}, results), ST_TIMEOUT);
            memory_disk(p.memory, true);
        }
        tick(a);
        assert_false(held(a, "lock"));
    }
    st_strong_close(a);
    st_strong_close(b);
    place_free(&p);
}

static void test_a_look_that_is_lost(void **state)
{
    (void)state;
    look_lost(false);
    look_lost(true);
}

/* --- executors --------------------------------------------------------------------------------- */

/* What somebody else does at the worst moment; once. */
static void (*before_lock)(int fd);
static void (*before_unlink)(void);
static uint64_t next_number; /* 0: random */

static int run_lock_try(void *ctx, int fd)
{
    void (*hook)(int) = before_lock;
    before_lock = NULL;
    if (hook != NULL)
        hook(fd);
    return st_env_posix()->lock_try(ctx, fd);
}

static int run_unlink(void *ctx, const char *path)
{
    void (*hook)(void) = before_unlink;
    before_unlink = NULL;
    if (hook != NULL)
        hook();
    return st_env_posix()->unlink(ctx, path);
}

static int run_random(void *ctx, void *buf, size_t n)
{
    uint64_t number = next_number << 11;
    if (next_number == 0 || n != sizeof number)
        return st_env_posix()->random(ctx, buf, n);
    memcpy(buf, &number, n);
    return 0;
}

static struct st_strong *open_runs(struct place *p)
{
    static struct st_env hooked;
    struct st_strong *s = NULL;
    struct st_fault fault;
    hooked = *st_env_posix();
    hooked.lock_try = run_lock_try;
    hooked.unlink = run_unlink;
    hooked.random = run_random;
    assert_int_equal(
        st_strong_open(&s, &hooked, st_alloc_libc(), p->path, false, "test", 0, &fault), ST_OK);
    return s;
}

static int count_one(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
    return 0;
}

static int run_files(const struct place *p)
{
    char path[256];
    int n = 0;
    snprintf(path, sizeof path, "%s/strong/run", p->path);
    assert_int_equal(st_env_posix()->list(NULL, path, count_one, &n), 0);
    return n;
}

/* The same file as often as there is something to run, unless a descendant still has it; what nobody
 * has is removed. */
static void test_a_run_serves_again(void **state)
{
    (void)state;
    struct place p;
    uint64_t first, run;
    int fd;
    place_new(&p, "runs", true, true);
    struct st_strong *a = open_runs(&p), *b = open_runs(&p);
    next_number = 0xabc5;
    OK(a, st_strong_run_begin(a, &first, &fd));
    next_number = 0;
    for (int i = 0; i < 3; i++) {
        assert_true(st_strong_run_alive(b, first));
        close(fd);
        st_strong_run_keep(a, first);
        assert_false(st_strong_run_alive(b, first));
        OK(a, st_strong_run_begin(a, &run, &fd));
        assert_int_equal(run, first);
        assert_int_equal(run_files(&p), 1);
    }
    int descendant = dup(fd); /* as a child has it */
    close(fd);
    st_strong_run_keep(a, first);
    OK(a, st_strong_run_begin(a, &run, &fd));
    assert_int_not_equal(run, first);
    close(fd);
    st_strong_run_keep(a, run);
    assert_true(st_strong_run_alive(b, first));
    assert_false(st_strong_run_alive(b, run));
    st_strong_close(a);
    assert_int_equal(run_files(&p), 1);
    next_number =
        0xdef5; /* who makes one of the same digit looks, and removes nothing that lives */
    OK(b, st_strong_run_begin(b, &run, &fd));
    assert_int_equal(run_files(&p), 2);
    st_strong_run_end(b, run, fd);
    close(descendant);
    struct st_strong *c = open_runs(&p);
    OK(c, st_strong_run_begin(c, &run, &fd));
    assert_int_equal(run_files(&p), 1);
    assert_true(st_strong_run_alive(b, run));
    st_strong_run_end(c, run, fd);
    next_number = 0;
    st_strong_close(b);
    st_strong_close(c);
}

static struct st_strong *taker;
static uint64_t taken;
static int taken_fd;

static void remove_it(int fd)
{
    char link[64], path[256];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    assert_true(n > 0);
    path[n] = '\0';
    assert_non_null(strstr(path, "/run/"));
    assert_int_equal(unlink(path), 0);
}

static void take_it(void)
{
    OK(taker, st_strong_run_begin(taker, &taken, &taken_fd));
}

/* Whoever removes what a process left may come between the opening of a file and its lock; and whoever
 * takes its file again, between a look at it and its removal. */
static void test_a_run_is_found_by_its_name(void **state)
{
    (void)state;
    struct place p;
    uint64_t run;
    int fd;
    place_new(&p, "runs", true, true);
    struct st_strong *a = open_runs(&p), *b = open_runs(&p);
    for (int i = 0; i < 2; i++) { /* a new one, and one that serves again */
        before_lock = remove_it;
        OK(a, st_strong_run_begin(a, &run, &fd));
        assert_null(before_lock);
        assert_true(st_strong_run_alive(b, run));
        close(fd);
        st_strong_run_keep(a, run);
    }
    taker = a;
    before_unlink = take_it;
    st_strong_run_clear(b, run);
    assert_null(before_unlink);
    assert_true(st_strong_run_alive(b, taken));
    st_strong_run_end(a, taken, taken_fd);
    st_strong_close(a);
    st_strong_close(b);
    assert_int_equal(run_files(&p), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_seal_memory_to_file),
        TEST(test_seal_file_to_memory),
        TEST(test_seal_file_to_file),
        TEST(test_behind_the_seal),
        TEST(test_forced),
        TEST(test_stands_down),
        TEST(test_a_role_on_a_full_disk),
        TEST(test_a_role_is_not_remembered),
        TEST(test_no_answer_before_it_is_durable),
        TEST(test_rows_are_a_cache),
        TEST(test_rows_in_memory),
        TEST(test_answer_again),
        TEST(test_who_served_was_killed),
        TEST(test_deadlines_memory),
        TEST(test_deadlines_file),
        TEST(test_other_clock),
        TEST(test_many_deadlines),
        TEST(test_a_look_that_is_lost),
        TEST(test_a_run_serves_again),
        TEST(test_a_run_is_found_by_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
