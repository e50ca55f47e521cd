/*
 * log_cases.c - directed scenarios of the log kernel on the simulated disk, one function each,
 * repeated with several seeds, so that the schedule differs.
 */
#include "log_model.h"

#include <errno.h>
#include <inttypes.h>

#define SEEDS 40

/* One process of a case: opens, waits until `start_ns`, runs steps that the case gives. */
struct actor {
    struct model *m;
    void (*act)(struct actor *a, struct st_log *log);
    enum st_code code; /* what act() got */
    struct st_fault fault;
    uint64_t took_ms, epoch;
    bool began_epoch;
    uint64_t quarantined; /* as the handle told */
    char quarantine_path[ST_PATH_SIZE];
    char reason[32];
    const char *dir;
    int number;
    size_t attempt;
};

static void actor_main(struct sim *s, void *arg)
{
    struct actor *a = arg;
    struct st_log log;
    const char *dir = a->dir != NULL ? a->dir : a->m->dir;
    a->code = st_log_open(&log, sim_env(s), sim_alloc(s), dir, false, "actor");
    a->began_epoch = log.began_epoch;
    a->epoch = log.identity.epoch;
    snprintf(a->reason, sizeof a->reason, "%s", log.identity.reason);
    uint64_t start = sim_now_ns(s);
    if (a->code == ST_OK && a->act != NULL)
        a->act(a, &log);
    a->took_ms = (sim_now_ns(s) - start) / 1000000;
    a->fault = log.fault;
    a->quarantined = log.quarantined_size;
    snprintf(a->quarantine_path, sizeof a->quarantine_path, "%s", log.quarantine_path);
    if (a->code == ST_OK)
        a->epoch = log.identity.epoch;
    st_log_close(&log);
}

static int actor_start(struct actor *a, struct model *m,
                       void (*act)(struct actor *a, struct st_log *log))
{
    a->m = m;
    a->act = act;
    return a->number = sim_spawn(m->sim, "actor", actor_main, a);
}

static void act_write(struct actor *a, struct st_log *log)
{
    a->code = model_write(a->m, log, 40, true);
}

/* With the append lock, whoever else is at work. */
static void act_append(struct actor *a, struct st_log *log)
{
    a->code = model_write(a->m, log, 40, false);
}

/* When those who began at once are at work, and when these are. */
static void act_later(struct actor *a, struct st_log *log)
{
    log->env->sleep_ns(log->env->ctx, 10000000u);
    a->code = model_write(a->m, log, 40, true);
}

static void act_last(struct actor *a, struct st_log *log)
{
    log->env->sleep_ns(log->env->ctx, 20000000u);
    a->code = model_write(a->m, log, 40, true);
}

/* Appends, lets the others append too, then waits. */
static void act_append_wait(struct actor *a, struct st_log *log)
{
    const struct st_env *env = sim_env(a->m->sim);
    a->code = st_log_lock(log);
    if (a->code != ST_OK)
        return;
    a->code = model_append(a->m, log, 40, &a->attempt);
    st_log_unlock(log);
    env->sleep_ns(env->ctx, 5000000);
    if (a->code == ST_OK)
        a->code = model_wait(a->m, log, a->attempt);
}

static void begin(struct model *m, const char *name, uint64_t seed)
{
    sim_reset(m->sim, seed);
    model_reset(m, "case %s, seed %" PRIu64, name, seed);
    model_create(m);
    model_recover(m, 3);
}

static void finish(struct model *m)
{
    model_recover(m, 1);
    sim_power_loss(m->sim, 0, SIM_LOSS_ALL);
    model_check(m, true);
}

static void one(struct model *m, struct actor *a, void (*act)(struct actor *a, struct st_log *log))
{
    actor_start(a, m, act);
    sim_run(m->sim);
}

/* --- flush errors ----------------------------------------------------------------------------- */

/* A failed flush: everybody who waits is told "unknown", the next append begins a new epoch. */
static void case_failed_flush(struct model *m, uint64_t seed)
{
    begin(m, "failed flush", seed);
    sim_inject(m->sim,
               &(struct sim_injection){
                   .act = SIM_FAIL, .error = EIO, .calls = 1u << SIM_FDATASYNC, .text = ".jsonl"});
    struct actor a[4] = {0};
    for (int i = 0; i < 4; i++)
        actor_start(&a[i], m, act_append_wait);
    sim_run(m->sim);
    EXPECT(m, sim_counts(m->sim)->hits == 1);
    for (int i = 0; i < 4; i++)
        EXPECT(m, a[i].code == ST_OUTCOME_UNKNOWN && a[i].fault.code == ST_OUTCOME_UNKNOWN);
    struct actor b = {0};
    one(m, &b, act_write);
    EXPECT(m, b.code == ST_OK && b.epoch != a[0].epoch);
    EXPECT(m, st_epoch_ordinal(b.epoch) > st_epoch_ordinal(a[0].epoch));
    /* Somebody may have read what was lost: its numbers are used up. */
    for (size_t i = 0; i + 1 < m->count; i++)
        EXPECT(m, strcmp(m->attempts[i].name, m->attempts[m->count - 1].name) != 0);
    finish(m);
}

/* The flusher dies with the error that only it was told. */
static void case_lost_flusher(struct model *m, uint64_t seed)
{
    begin(m, "lost flusher", seed);
    sim_inject(m->sim, &(struct sim_injection){.act = SIM_FAIL_KILL,
                                               .error = EIO,
                                               .calls = 1u << SIM_FDATASYNC,
                                               .text = ".jsonl"});
    struct actor a[4] = {0};
    for (int i = 0; i < 4; i++) {
        a[i].code = ST_INTERNAL;
        actor_start(&a[i], m, act_append_wait);
    }
    sim_run(m->sim);
    EXPECT(m, sim_counts(m->sim)->hits == 1);
    /* Whoever was told OK is checked by the model after the power loss. */
    sim_power_loss(m->sim, 0, SIM_LOSS_ALL);
    model_check(m, true);
    finish(m);
}

static void act_renew(struct actor *a, struct st_log *log)
{
    a->code = st_log_renew(log, "doubt");
}

/* The same, and the next to come begins an epoch for a reason of its own. */
static void case_lost_flusher_renew(struct model *m, uint64_t seed)
{
    begin(m, "lost flusher, renew", seed);
    sim_inject(m->sim, &(struct sim_injection){.act = SIM_FAIL_KILL,
                                               .error = EIO,
                                               .calls = 1u << SIM_FDATASYNC,
                                               .text = ".jsonl"});
    struct actor a = {0}, b = {0};
    one(m, &a, act_write);
    EXPECT(m, sim_counts(m->sim)->hits == 1);
    one(m, &b, act_renew);
    EXPECT(m, b.code == ST_OK);
    model_check(m, false);
    sim_power_loss(m->sim, 0, SIM_LOSS_ALL);
    model_check(m, true);
    finish(m);
}

/* --- tails ------------------------------------------------------------------------------------ */

static void act_no_flush(struct actor *a, struct st_log *log)
{
    a->code = model_write(a->m, log, 900, false);
}

/* Path of the newest epoch's only segment. */
static void segment_path(struct model *m, char *out, size_t size)
{
    struct st_writer *w;
    size_t count;
    EXPECT(m, st_log_writers(sim_env(m->sim), sim_alloc(m->sim), m->dir, &w, &count) == ST_OK);
    struct st_writer last = w[0];
    for (size_t i = 1; i < count; i++)
        if (w[i].epoch > last.epoch)
            last = w[i];
    snprintf(out, size, "%s/log/%016" PRIx64 "-%016" PRIx64 "/%016u.jsonl", m->dir, last.replica,
             last.epoch, 1u);
    sim_alloc(m->sim)->resize(m->sim, w, 0);
}

/* A torn line above the watermark goes to quarantine, and its size is told. */
static void case_torn_tail(struct model *m, uint64_t seed)
{
    begin(m, "torn tail", seed);
    struct actor a = {0};
    sim_inject(m->sim, &(struct sim_injection){
                           .act = SIM_KILL_DURING, .calls = 1u << SIM_PWRITE, .text = ".jsonl"});
    one(m, &a, act_write);
    EXPECT(m, sim_counts(m->sim)->hits == 1);
    char path[200];
    segment_path(m, path, sizeof path);
    const uint8_t *p;
    size_t n, whole = 0;
    EXPECT(m, sim_file(m->sim, 0, path, &p, &n));
    for (size_t i = 0; i < n; i++)
        if (p[i] == '\n')
            whole = i + 1;
    uint8_t torn[4096];
    EXPECT(m, n - whole <= sizeof torn);
    memcpy(torn, p + whole, n - whole);
    size_t torn_size = n - whole;
    struct actor b = {0};
    if (seed % 2 == 0)
        sim_power_loss(m->sim, 0, SIM_LOSS_NONE);
    one(m, &b, act_no_flush);
    EXPECT(m, b.code == ST_OK && b.quarantined == torn_size);
    if (torn_size > 0) {
        EXPECT(m, sim_file(m->sim, 0, b.quarantine_path, &p, &n));
        EXPECT(m, n == torn_size && memcmp(p, torn, n) == 0);
    }
    model_check(m, false);
    finish(m);
}

/* A whole record whose writer died before it could say so is taken over: somebody may have read
 * it, so its counter is gone. */
static void case_adopted(struct model *m, uint64_t seed)
{
    begin(m, "adopted", seed);
    struct actor a = {0}, b = {0};
    sim_inject(m->sim, &(struct sim_injection){
                           .act = SIM_KILL_AFTER, .calls = 1u << SIM_PWRITE, .text = ".jsonl"});
    size_t number = m->count;
    one(m, &a, act_write);
    EXPECT(m, sim_counts(m->sim)->hits == 1 && m->count == number + 1);
    if (seed % 2 == 0)
        sim_power_loss(m->sim, 0, SIM_LOSS_NONE);
    one(m, &b, act_write);
    EXPECT(m, b.code == ST_OK && b.quarantined == 0);
    model_check(m, false);
    EXPECT(m, m->attempts[number].found);
    finish(m);
}

/* Rot below the persisted watermark is reported with file and offset, and nothing is cut. */
static void case_rot(struct model *m, uint64_t seed)
{
    struct sim *s = m->sim;
    begin(m, "rot", seed);
    char path[200];
    segment_path(m, path, sizeof path);
    sim_sync(s, 0);
    sim_power_loss(s, 0, SIM_LOSS_NONE);
    const uint8_t *p;
    size_t n, size_before;
    EXPECT(m, sim_file(s, 0, path, &p, &n) && n > 100);
    size_before = n;
    uint64_t at = sim_below(s, n);
    size_t line = 0;
    for (size_t i = 0; i < at; i++)
        if (p[i] == '\n')
            line = i + 1;
    sim_rot(s, 0, path, at, (uint8_t)(1u << sim_below(s, 8)));
    struct actor a = {0};
    one(m, &a, act_write);
    if (a.code != ST_DAMAGED)
        model_fail(m, "rot at %" PRIu64 " of %s: the open says %s", at, path, st_code_name(a.code));
    char offset[32];
    snprintf(offset, sizeof offset, "byte %zu", line);
    EXPECT(m, strstr(a.fault.message, strrchr(path, '/') + 1) != NULL);
    if (strstr(a.fault.message, offset) == NULL)
        model_fail(m, "the damaged line starts at %zu, the fault says: %s", line, a.fault.message);
    EXPECT(m, sim_file(s, 0, path, &p, &n) && n == size_before);
    /* Readers say the same. */
    struct st_log_reader r;
    struct st_writer *w;
    size_t count;
    EXPECT(m, st_log_writers(sim_env(s), sim_alloc(s), m->dir, &w, &count) == ST_OK);
    EXPECT(m, st_log_reader_open(&r, sim_env(s), sim_alloc(s), m->dir, w[0]) == ST_OK);
    struct st_str text;
    struct st_record head;
    enum st_code code;
    while ((code = st_log_reader_next(&r, &text, &head)) == ST_OK)
        ;
    EXPECT(m, code == ST_DAMAGED || (code == ST_NOT_FOUND && at == size_before - 1));
    st_log_reader_close(&r);
    sim_alloc(s)->resize(s, w, 0);
}

/* --- identity --------------------------------------------------------------------------------- */

/* cp -r of a living state; both go on. No dot twice, epochs differ. */
static void case_copy(struct model *m, uint64_t seed)
{
    struct sim *s = m->sim;
    begin(m, "copy", seed);
    m->one_lineage = false;
    struct actor a[2] = {0}, b[2] = {0};
    one(m, &a[0], act_write);
    if (seed % 2 == 0) /* with a tail that was not flushed */
        one(m, &a[1], act_no_flush);
    sim_copy_tree(s, 0, "/state", 0, "/copy");
    b[0].dir = b[1].dir = "/copy";
    for (int i = 0; i < 2; i++) {
        actor_start(&b[i], m, act_write);
        actor_start(&a[i], m, act_write);
    }
    sim_run(s);
    EXPECT(m, a[0].code == ST_OK && a[1].code == ST_OK);
    EXPECT(m, b[0].code == ST_OK && b[1].code == ST_OK);
    EXPECT(m, b[0].epoch == b[1].epoch && b[0].epoch != a[0].epoch);
    EXPECT(m, strcmp(b[0].reason, "copy") == 0);
}

/* An old copy comes back, in three ways; the boot may or may not be another. */
static void case_restore(struct model *m, uint64_t seed)
{
    struct sim *s = m->sim;
    begin(m, "restore", seed);
    m->one_lineage = false;
    sim_copy_tree(s, 0, "/state", 0, "/backup");
    struct actor a = {0}, b = {0};
    one(m, &a, act_write);
    EXPECT(m, a.code == ST_OK);
    uint64_t epoch = a.epoch;
    /* What is rolled back is not the log's fault: only dots are compared from here on. */
    if (seed % 3 == 0) {
        sim_remove_tree(s, 0, "/state");
        sim_copy_tree(s, 0, "/backup", 0, "/state");
    } else {
        sim_reboot(s, 0);
        if (seed % 3 == 1)
            sim_restore_in_place(s, 0, "/backup", "/state");
        else
            sim_overwrite_in_place(s, 0, "/backup", "/state");
    }
    one(m, &b, act_write);
    EXPECT(m, b.code == ST_OK && b.epoch != epoch && b.began_epoch);
}

/* In the same boot, files put back with their directories kept: the page must not lie. */
static void case_restore_same_boot(struct model *m, uint64_t seed)
{
    struct sim *s = m->sim;
    begin(m, "restore in place, same boot", seed);
    m->one_lineage = false;
    sim_copy_tree(s, 0, "/state", 0, "/backup");
    struct actor a = {0}, b = {0};
    one(m, &a, act_write);
    EXPECT(m, a.code == ST_OK);
    sim_restore_in_place(s, 0, "/backup", "/state");
    one(m, &b, act_write); /* EXPECTs in attempt_dot: no dot twice */
}

static void case_boot(struct model *m, uint64_t seed)
{
    begin(m, "boot", seed);
    struct actor a = {0}, b = {0};
    one(m, &a, act_write);
    sim_reboot(m->sim, 0);
    one(m, &b, act_write);
    EXPECT(m, a.code == ST_OK && b.code == ST_OK && a.epoch != b.epoch);
    EXPECT(m, strcmp(b.reason, "boot") == 0);
    finish(m);
}

/* --- stopped processes ------------------------------------------------------------------------ */

static void act_write_impatient(struct actor *a, struct st_log *log)
{
    log->wait_ms = 2000;
    a->code = model_write(a->m, log, 40, true);
}

/* Stopped with the append lock: others are told who, and nothing is recorded; later they go on. */
static void case_stopped_appender(struct model *m, uint64_t seed)
{
    static const char *const points[] = {"append.locked", "append.verified", "append.before-write",
                                         "append.written", "append.published"};
    begin(m, "stopped with the append lock", seed);
    struct sim *s = m->sim;
    struct actor holder = {0}, a[3] = {0}, b = {0};
    int number = actor_start(&holder, m, act_append);
    sim_inject(s, &(struct sim_injection){.act = SIM_STOP_AFTER,
                                          .calls = 1u << SIM_POINT,
                                          .text = points[seed % 5],
                                          .process = number,
                                          .stop_ns = 5000000000u});
    for (int i = 0; i < 3; i++)
        actor_start(&a[i], m, act_write_impatient);
    sim_run(s);
    EXPECT(m, sim_counts(s)->hits == 1 && holder.code == ST_OK);
    char name[32];
    snprintf(name, sizeof name, "process %d", 1000 + number);
    for (int i = 0; i < 3; i++) {
        if (a[i].code == ST_OK)
            continue; /* was done before */
        EXPECT(m, a[i].code == ST_UNAVAILABLE || a[i].code == ST_TIMEOUT);
        EXPECT(m, a[i].took_ms >= 2000 && a[i].took_ms < 3000);
        if (a[i].code == ST_UNAVAILABLE && (strstr(a[i].fault.message, name) == NULL ||
                                            strstr(a[i].fault.message, "actor") == NULL))
            model_fail(m, "the fault does not name the holder (%s): %s", name, a[i].fault.message);
    }
    one(m, &b, act_write_impatient);
    EXPECT(m, b.code == ST_OK);
    finish(m);
}

/* Reads the word, and then the tail, while the appender is stopped at the very moment. */
static void act_look(struct actor *a, struct st_log *log)
{
    struct st_tail seen, now;
    uint32_t word, later;
    log->env->sleep_ns(log->env->ctx, 1000000000u);
    EXPECT(a->m, st_log_changes(log, &word) && st_log_tail(log, &seen) == ST_OK);
    log->env->sleep_ns(log->env->ctx, 10000000000u);
    EXPECT(a->m, st_log_changes(log, &later) && st_log_tail(log, &now) == ST_OK);
    EXPECT(a->m, now.counter > seen.counter && later != word);
}

/* Who looks while a record is on its way, and does not see it, finds another word later. */
static void case_look_meanwhile(struct model *m, uint64_t seed)
{
    begin(m, "a look while a record is on its way", seed);
    struct actor holder = {0}, reader = {0};
    int number = actor_start(&holder, m, act_append);
    sim_inject(m->sim, &(struct sim_injection){.act = SIM_STOP_AFTER,
                                               .calls = 1u << SIM_POINT,
                                               .text = "append.written",
                                               .process = number,
                                               .stop_ns = 5000000000u});
    actor_start(&reader, m, act_look);
    sim_run(m->sim);
    EXPECT(m, sim_counts(m->sim)->hits == 1 && holder.code == ST_OK);
    finish(m);
}

/* Who appends for others is killed before it has written, then, or when the tail tells of it: each of theirs
 * is there, once, and they hear so. */
static void case_killed_for_others(struct model *m, uint64_t seed)
{
    static const char *const points[] = {"post.placed", "post.written", "post.published"};
    begin(m, "killed while it appends for others", seed);
    struct sim *s = m->sim;
    struct actor flusher = {0}, others[5] = {0};
    int number = actor_start(&flusher, m, act_write), told = 0;
    sim_inject(s, &(struct sim_injection){.act = SIM_STOP_AFTER,
                                          .calls = 1u << SIM_POINT,
                                          .text = "flush.marked",
                                          .process = number,
                                          .stop_ns = 100000000u});
    sim_inject(s, &(struct sim_injection){
                      .act = SIM_KILL_AFTER, .calls = 1u << SIM_POINT, .text = points[seed % 3]});
    for (int i = 0; i < 5; i++) /* the first two sleep until somebody flushes: a crowd, here */
        actor_start(&others[i], m, i < 2 ? act_later : act_last);
    sim_run(s);
    for (int i = 0; i < 5; i++)
        told += others[i].code == ST_OK && others[i].took_ms > 0;
    /* Mostly: who finds nobody asleep appends for itself. */
    static uint64_t killed;
    killed = (seed > 1 ? killed : 0) + (sim_counts(s)->hits == 2);
    EXPECT(m, flusher.code == ST_OK && told == 6 - (int)sim_counts(s)->hits);
    EXPECT(m, killed > seed / 2 || seed < SEEDS);
    finish(m);
}

static void act_much_later(struct actor *a, struct st_log *log)
{
    log->env->sleep_ns(log->env->ctx, 3000000000u);
    act_write(a, log);
}

/* Killed, or stopped, when it has just left its record for others, with nobody there to append it. Others come
 * when that is long over: it is not written then; who is stopped writes it when it goes on. */
static void case_posted_and_gone(struct model *m, uint64_t seed)
{
    begin(m, "killed or stopped with a record posted", seed);
    struct sim *s = m->sim;
    struct actor flusher = {0}, first = {0}, gone = {0}, later[4] = {0};
    bool killed = seed % 2 == 0;
    int number = actor_start(&flusher, m, act_write);
    sim_inject(s, &(struct sim_injection){.act = SIM_STOP_AFTER,
                                          .calls = 1u << SIM_POINT,
                                          .text = "flush.marked",
                                          .process = number,
                                          .stop_ns = 500000000u});
    actor_start(&first, m, act_later);
    int last = actor_start(&gone, m, act_last);
    sim_inject(s, &(struct sim_injection){.act = killed ? SIM_KILL_AFTER : SIM_STOP_AFTER,
                                          .calls = 1u << SIM_POINT,
                                          .text = "post.posted",
                                          .process = last,
                                          .stop_ns = 9000000000u});
    for (int i = 0; i < 4; i++)
        actor_start(&later[i], m, act_much_later);
    size_t attempt = m->count + 2; /* of `gone`, the third to begin */
    sim_run(s);
    bool posted = sim_counts(s)->hits == 2;
    finish(m);
    EXPECT(m, m->attempts[attempt].found == !(posted && killed));
    EXPECT(m, killed || gone.code == ST_OK);
    static uint64_t met;
    met = (seed > 1 ? met : 0) + posted;
    EXPECT(m, met > seed / 2 || seed < SEEDS);
}

/* Stopped with the flush lock: the others become durable within their wait. */
static void case_stopped_flusher(struct model *m, uint64_t seed)
{
    static const char *const points[] = {"flush.marked", "flush.done", "flush.published"};
    begin(m, "stopped with the flush lock", seed);
    struct sim *s = m->sim;
    sim_inject(s, &(struct sim_injection){.act = SIM_STOP_AFTER,
                                          .calls = 1u << SIM_POINT,
                                          .text = points[seed % 3],
                                          .stop_ns = 60000000000u});
    struct actor a[4] = {0};
    for (int i = 0; i < 4; i++)
        actor_start(&a[i], m, act_append_wait);
    sim_run(s);
    EXPECT(m, sim_counts(s)->hits == 1);
    int late = 0;
    for (int i = 0; i < 4; i++) {
        EXPECT(m, a[i].code == ST_OK);
        late += a[i].took_ms > ST_WAIT_MS_DEFAULT;
    }
    EXPECT(m, late == 1); /* the stopped one itself */
    finish(m);
}

/* --- segments --------------------------------------------------------------------------------- */

static void act_many(struct actor *a, struct st_log *log)
{
    for (int i = 0; i < 30 && a->code == ST_OK; i++)
        a->code = model_write(a->m, log, 500, i % 3 == 0);
    if (a->code == ST_OK)
        a->code = model_write(a->m, log, 40, true);
}

static void case_rotation(struct model *m, uint64_t seed)
{
    begin(m, "segments", seed);
    struct actor a[2] = {0};
    for (int i = 0; i < 2; i++)
        actor_start(&a[i], m, act_many);
    sim_run(m->sim);
    EXPECT(m, a[0].code == ST_OK && a[1].code == ST_OK);
    for (size_t i = 0; i < m->count; i++)
        EXPECT(m, m->attempts[i].code == ST_OK);
    sim_power_loss(m->sim, 0, SIM_LOSS_RANDOM);
    model_check(m, true);
    finish(m);
}

/* --- room ------------------------------------------------------------------------------------- */

/* The segment that is written to: how long it is, and how much of that is room. */
static size_t room_of(struct model *m, size_t *size)
{
    char path[200];
    const uint8_t *p;
    segment_path(m, path, sizeof path);
    EXPECT(m, sim_file(m->sim, 0, path, &p, size));
    size_t end = *size;
    while (end > 1 && p[end - 1] == '\n' && p[end - 2] == '\n')
        end--;
    return *size - end;
}

static enum st_code read_on(struct actor *a, struct st_log_reader *r, int count)
{
    struct st_str line;
    struct st_record head;
    for (int i = 0; i < count; i++)
        EXPECT(a->m, st_log_reader_next(r, &line, &head) == ST_OK);
    return st_log_reader_next(r, &line, &head);
}

/* Over room lie: nothing; half a line, which is no damage; a record, for who has read the room before. */
static void act_room(struct actor *a, struct st_log *log)
{
    struct model *m = a->m;
    struct st_log_reader r;
    struct st_tail tail;
    size_t size;
    for (int i = 0; i < 3; i++)
        EXPECT(m, model_write(m, log, 40, true) == ST_OK);
    EXPECT(m, room_of(m, &size) > 0);
    EXPECT(m, st_log_tail(log, &tail) == ST_OK);
    EXPECT(m, st_log_reader_open(&r, log->env, log->alloc, log->dir, st_log_writer(log)) == ST_OK);
    EXPECT(m, read_on(a, &r, (int)tail.counter) == ST_NOT_FOUND);
    EXPECT(m, log->env->pwrite(log->env->ctx, log->fd, "{\"r\":", 5, tail.offset) == 5);
    EXPECT(m, read_on(a, &r, 0) == ST_NOT_FOUND);
    EXPECT(m, log->env->pwrite(log->env->ctx, log->fd, "\n\n\n\n\n", 5, tail.offset) == 5);
    EXPECT(m, read_on(a, &r, 0) == ST_NOT_FOUND);
    /* Who reads up to a record has what was behind it in its buffer. */
    struct st_str line;
    struct st_record head;
    EXPECT(m, model_write(m, log, 40, true) == ST_OK);
    EXPECT(m, st_log_reader_next(&r, &line, &head) == ST_OK);
    EXPECT(m, model_write(m, log, 40, true) == ST_OK);
    EXPECT(m, read_on(a, &r, 1) == ST_NOT_FOUND);
    st_log_reader_close(&r);
    EXPECT(m, room_of(m, &size) > 0);
}

static void case_room(struct model *m, uint64_t seed)
{
    begin(m, "room", seed);
    struct actor a = {0};
    size_t size;
    one(m, &a, act_room);
    EXPECT(m, room_of(m, &size) == 0);
    finish(m);
}

/* A forked child's locks are its parent's. */
static void act_room_forked(struct actor *a, struct st_log *log)
{
    for (int i = 0; i < 3; i++)
        a->code = model_write(a->m, log, 40, true);
    log->process_id++;
}

static void case_room_forked(struct model *m, uint64_t seed)
{
    begin(m, "room, closed in a child", seed);
    struct actor a = {0};
    size_t size;
    one(m, &a, act_room_forked);
    EXPECT(m, a.code == ST_OK && room_of(m, &size) > 0);
    finish(m);
}

/* What somebody has written behind the room goes to quarantine, when the segment is full at the latest. */
static void act_room_foreign(struct actor *a, struct st_log *log)
{
    struct model *m = a->m;
    uint32_t number = (uint32_t)a->attempt;
    char text[1000];
    size_t size;
    memset(text, 'x', sizeof text);
    struct st_tail tail = {0};
    /* The records reach it; or, where room is made late in the segment, that is full before. */
    uint64_t from = number % 2 == 0 ? 0 : ST_SEGMENT_SIZE - 1300;
    for (int i = 0; i < 3 || tail.offset < from + 300; i++) {
        if (tail.offset < from)
            log->awaited = 0;
        EXPECT(m, model_write(m, log, 40, true) == ST_OK);
        EXPECT(m, st_log_tail(log, &tail) == ST_OK);
    }
    EXPECT(m, room_of(m, &size) > 0);
    EXPECT(m, from == 0 || size >= ST_SEGMENT_SIZE + 600);
    EXPECT(m, log->env->pwrite(log->env->ctx, log->fd, text, sizeof text, size) ==
                  (ssize_t)sizeof text);
    for (uint32_t i = 0; i < 25; i++)
        EXPECT(m, model_write(m, log, 200 + (number + i) % 150, true) == ST_OK);
    EXPECT(m, log->quarantined_size > 0);
}

static void case_room_foreign(struct model *m, uint64_t seed)
{
    begin(m, "behind the room", seed);
    struct actor a = {.attempt = seed};
    one(m, &a, act_room_foreign);
    model_check(m, false);
    finish(m);
}

static void act_room_left(struct actor *a, struct st_log *log)
{
    for (int i = 0; i < 5; i++)
        a->code = model_write(a->m, log, 40, true);
}

/* What a killed process has left of it is nothing that was torn. */
static void case_room_left(struct model *m, uint64_t seed)
{
    struct sim *s = m->sim;
    begin(m, "room left", seed);
    struct actor a = {0}, b = {0};
    size_t size;
    sim_inject(
        s, &(struct sim_injection){
               .act = SIM_KILL_AFTER, .calls = 1u << SIM_FDATASYNC, .text = ".jsonl", .nth = 4});
    one(m, &a, act_room_left);
    EXPECT(m, sim_counts(s)->hits == 1 && room_of(m, &size) > 0);
    if (seed % 2 == 0)
        sim_power_loss(s, 0, SIM_LOSS_NONE);
    one(m, &b, act_write);
    EXPECT(m, b.code == ST_OK && b.quarantined == 0);
    model_check(m, true);
    finish(m);
}

/* One or two empty lines between records are damage. */
static void case_empty_line(struct model *m, uint64_t seed)
{
    struct sim *s = m->sim;
    struct st_log_reader r;
    struct st_str said;
    struct st_record head;
    struct st_writer *w;
    struct actor a = {0};
    const uint8_t *p;
    uint8_t text[8192];
    char path[200];
    size_t size, count, empty = 1 + seed % 2;
    begin(m, "empty line", seed);
    segment_path(m, path, sizeof path);
    EXPECT(m, sim_file(s, 0, path, &p, &size) && size + 2 < sizeof text);
    size_t line = (size_t)((const uint8_t *)memchr(p, '\n', size) - p) + 1;
    EXPECT(m, size > line);
    memcpy(text, p, line);
    memset(text + line, '\n', empty);
    memcpy(text + line + empty, p + line, size - line);
    sim_write_durable(s, 0, path, text, size + empty);
    EXPECT(m, st_log_writers(sim_env(s), sim_alloc(s), m->dir, &w, &count) == ST_OK);
    EXPECT(m, st_log_reader_open(&r, sim_env(s), sim_alloc(s), m->dir, w[count - 1]) == ST_OK);
    EXPECT(m, st_log_reader_next(&r, &said, &head) == ST_OK);
    EXPECT(m, st_log_reader_next(&r, &said, &head) == ST_DAMAGED);
    st_log_reader_close(&r);
    sim_alloc(s)->resize(s, w, 0);
    memmove(text + line, text + line + empty, size - line);
    sim_write_durable(s, 0, path, text, size);
    one(m, &a, act_write);
    EXPECT(m, a.code == ST_OK);
    finish(m);
}

/* A read-only open changes nothing and sees everything. */
static void read_only_main(struct sim *s, void *arg)
{
    struct model *m = arg;
    struct st_log log;
    EXPECT(m, st_log_open(&log, sim_env(s), sim_alloc(s), m->dir, true, "reader") == ST_OK);
    EXPECT(m, log.read_only);
    struct st_tail tail;
    EXPECT(m, st_log_tail(&log, &tail) == ST_OK && tail.counter == 3);
    struct st_op op = {.kind = ST_OP_BEAT, .value = ST_STR("here")};
    struct st_record r = {.agent = ST_STR("a"), .ops = &op, .op_count = 1};
    EXPECT(m, st_log_write(&log, &r, true) == ST_READ_ONLY);
    st_log_close(&log);
}

static void case_read_only(struct model *m, uint64_t seed)
{
    begin(m, "read-only", seed);
    uint64_t writes = sim_counts(m->sim)->by_call[SIM_PWRITE];
    sim_spawn(m->sim, "reader", read_only_main, m);
    sim_run(m->sim);
    EXPECT(m, sim_counts(m->sim)->by_call[SIM_PWRITE] == writes);
    finish(m);
}

/* A full disk: refused, nothing recorded; with room again it goes on. */
static void case_full(struct model *m, uint64_t seed)
{
    begin(m, "full disk", seed);
    sim_space(m->sim, 0, 100 + sim_below(m->sim, 200));
    struct actor a = {0};
    one(m, &a, act_no_flush);
    EXPECT(m, a.code == ST_NO_SPACE && a.fault.hint[0] != '\0');
    sim_space(m->sim, 0, UINT64_MAX);
    finish(m);
}

/* Tells a context with a writer that the log knows nothing of, appends `more`, asks: is it there? */
static bool told_is_believed(struct actor *a, struct st_log *log, uint64_t checksum_off, int more)
{
    struct st_writer stranger = {7, 7};
    struct st_vector told, context;
    struct st_tail at, end;
    st_vector_init(&told, log->alloc);
    st_vector_init(&context, log->alloc);
    EXPECT(a->m, model_write(a->m, log, 40, true) == ST_OK);
    EXPECT(a->m, st_log_tail(log, &at) == ST_OK && st_vector_raise(&told, stranger, 9));
    at.checksum += checksum_off;
    st_log_tell_context(log, &at, &told);
    for (int i = 0; i < more; i++)
        EXPECT(a->m, model_write(a->m, log, 40, true) == ST_OK);
    EXPECT(a->m, st_log_context(log, &context) == ST_OK && st_log_tail(log, &end) == ST_OK);
    EXPECT(a->m, st_vector_get(&context, st_log_writer(log)) == end.counter);
    uint64_t known = st_vector_get(&context, stranger);
    st_vector_release(&told);
    st_vector_release(&context);
    return known == 9;
}

static void act_context(struct actor *a, struct st_log *log)
{
    EXPECT(a->m, !told_is_believed(a, log, 1, 0));
    EXPECT(a->m, !told_is_believed(a, log, 1, 1));
    EXPECT(a->m, told_is_believed(a, log, 0, 1));
    EXPECT(a->m, told_is_believed(a, log, 0, 0));
    EXPECT(a->m, st_log_renew(log, "doubt") == ST_OK);
    EXPECT(a->m, !told_is_believed(a, log, 1, 0));
}

/* What an index says of the context counts as long as the log goes through where it says so. */
static void case_context(struct model *m, uint64_t seed)
{
    begin(m, "context", seed);
    struct actor a = {0};
    one(m, &a, act_context);
    EXPECT(m, a.code == ST_OK);
    finish(m);
}

uint64_t cases_run(struct model *m, int only)
{
    static void (*const cases[])(struct model * m, uint64_t seed) = {
        case_failed_flush,
        case_lost_flusher,
        case_lost_flusher_renew,
        case_torn_tail,
        case_adopted,
        case_rot,
        case_copy,
        case_restore,
        case_restore_same_boot,
        case_boot,
        case_stopped_appender,
        case_stopped_flusher,
        case_rotation,
        case_read_only,
        case_full,
        case_context,
        case_look_meanwhile,
        case_killed_for_others,
        case_posted_and_gone,
        case_room,
        case_room_forked,
        case_room_foreign,
        case_room_left,
        case_empty_line,
    };
    uint64_t runs = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint64_t seed = 1; seed <= SEEDS; seed++)
            if (only < 0 || (size_t)only == i) {
                cases[i](m, seed);
                runs++;
            }
    return runs;
}
