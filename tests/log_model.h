/*
 * log_model.h - what the log kernel promises, as a model beside the simulated disk, and the
 * simulated processes that write. Shared by the log tests.
 *
 * Every record that anybody tries to append is an attempt with a payload of its own. Checked:
 *   acknowledged   in the log exactly once, unchanged, at the dot that was given, for ever
 *   refused        ("nothing was recorded") never in the log
 *   unknown        may be there or not; settled at the first look after a power loss, for ever
 *   dots           never given out twice
 *   numbers        of what was acknowledged, and of what is in the log, never given out twice; the
 *                  header's is never behind
 *   log            every writer's chain is valid to its end; the first record of every segment
 *                  tells the context: exactly what there is of every earlier epoch
 *   processes      leak neither descriptors nor memory, whatever fails
 */
#ifndef LOG_MODEL_H
#define LOG_MODEL_H

#include "sim/sim.h"
#include "store/log.h"

#define STATE_DIR "/state"

enum attempt_state {
    ATTEMPT_OPEN,    /* nobody has been told anything, or "outcome unknown" */
    ATTEMPT_ACKED,   /* must be there */
    ATTEMPT_REFUSED, /* must not be there */
};

struct attempt {
    enum attempt_state state;
    enum st_code code; /* what its writer was told last */
    struct st_dot dot; /* counter 0: none was given */
    uint32_t size;     /* of the payload, bytes */
    bool numbered;
    char name[ST_NUMBERED_SIZE + 1]; /* the number that it took; "": none */
    bool found;                      /* scratch of a check */
};

struct model {
    struct sim *sim;
    const char *dir;
    struct attempt *attempts;
    size_t count, cap;
    char scenario[200];
    uint64_t checks, acked, refused, unknown, codes[32];
    bool one_lineage; /* no copies: contexts can be compared with what there is */
};

extern struct model *model_now; /* for the crash handler */

void model_init(struct model *m, struct sim *s);
void model_reset(struct model *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
void model_release(struct model *m);
/* Prints scenario, seed and trace; ends the program with status 1. */
void model_fail(const struct model *m, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
#define EXPECT(m, condition)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            model_fail((m), "%s:%d: %s", __FILE__, __LINE__, #condition);                          \
    } while (0)
/* Traps and aborts print the scenario too. */
void model_catch_signals(void);

/* One attempt by the current process, with a payload of about `size` bytes. Returns its code. */
enum st_code model_write(struct model *m, struct st_log *log, uint32_t size, bool flush);
/* `count` attempts under one taking of the append lock, then one wait for all. */
enum st_code model_write_many(struct model *m, struct st_log *log, unsigned count, uint32_t size);
/* The same appended all at once, four at most. */
enum st_code model_write_batch(struct model *m, struct st_log *log, unsigned count, uint32_t size);
/* The same in steps; the lock is held. */
enum st_code model_append(struct model *m, struct st_log *log, uint32_t size, size_t *attempt);
enum st_code model_wait(struct model *m, struct st_log *log, size_t attempt);

/* Creates the state, as the operator, durably. */
void model_create(struct model *m);
/* Reads everything back and compares, as a process of its own in a calm world. `settled`: the
 * last power loss was followed by an open, so what is there stays and what is not is gone. */
void model_check(struct model *m, bool settled);
/* One process in a calm world opens and appends; it must succeed in the end. */
void model_recover(struct model *m, unsigned count);

/* A simulated process that opens the log, makes `count` attempts of all kinds, closes. */
struct worker {
    struct model *model;
    unsigned count;
    uint32_t size_max;
    bool reader; /* reads instead */
    bool calm;   /* tries until it succeeds */
    unsigned acked;
    enum st_code open_code;
};
void worker_main(struct sim *s, void *arg);

/* log_cases.c: runs all (only < 0) or one; returns how many scenarios were run. */
uint64_t cases_run(struct model *m, int only);

#endif
