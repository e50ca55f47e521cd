/*
 * fleet.h - a fleet of real processes that write into one workspace, are killed on the way, and
 * whose every acknowledged write is looked up afterwards. The demo and a test at once.
 *
 *   fleet.c         the driver: processes, kills, the courier between two copies, the report
 *   fleet_writer.c  what one process does, step by step, and the two things it can do it on: a
 *                   workspace, or a plain JSON file
 *   fleet_verify.c  looking for what was acknowledged, in the workspace and in the plain file
 *
 * A writer reports a write through a pipe after the call that made it has returned, never before.
 * A report is smaller than PIPE_BUF, so kill -9 leaves it there as a whole or not at all. At most
 * one write of a killed process can be made and not reported.
 */
#ifndef FLEET_H
#define FLEET_H

#include "strata.h"

#define FLEET_WRITERS_MAX 64
#define FLEET_COUNTERS    3
#define FLEET_TASKS       40
#define FLEET_ATTRIBUTES  5  /* with one value; one more has members */
#define FLEET_STEP_MAX    3  /* the largest step of a counter */
#define FLEET_TEXT_SIZE   96 /* names and values, with the NUL */
#define FLEET_PATH_SIZE   4000

enum fleet_kind {
    FLEET_SET,
    FLEET_UNSET,
    FLEET_ADD,
    FLEET_REMOVE,
    FLEET_COUNT,
    FLEET_BEAT,
    FLEET_PAIR,  /* a set and an add in one record; reported as two */
    FLEET_ERROR, /* reports only: the write was refused; `delta` is the code */
};

/* One thing to do, whatever it is done on. */
struct fleet_step {
    enum fleet_kind kind;
    bool answer; /* read first, and ask what was replaced */
    uint32_t task, attribute, counter;
    int32_t delta;
    uint32_t sequence;
    char entity[FLEET_TEXT_SIZE], name[FLEET_TEXT_SIZE], value[FLEET_TEXT_SIZE];
};

/* What a writer tells: this write was acknowledged. */
struct fleet_report {
    uint16_t writer;
    uint8_t kind; /* enum fleet_kind, PAIR left out */
    uint8_t counter;
    int32_t delta; /* of a counter; of a heartbeat: the generation; of an error: the code */
    uint32_t sequence;
    uint32_t reserved;
    uint64_t id;      /* hash of the write's id */
    uint64_t content; /* hash of kind, entity, attribute and value */
};

struct fleet_reports {
    struct fleet_report *list;
    size_t count, cap;
};

/* What one process needs to know. */
struct fleet_writer {
    uint16_t number, generation;
    uint64_t seed;
    uint64_t end_ns;  /* CLOCK_MONOTONIC */
    const char *path; /* of the state directory, or of the plain file */
    bool plain;
    int report_fd;
};

/* What looking found. */
struct fleet_result {
    uint64_t acknowledged; /* sets, unsets, additions and removals */
    uint64_t current, replaced, pending, removed, lost;
    uint64_t unreported; /* there, though the process was killed before it could report */
    uint64_t counted;    /* acknowledged steps of counters */
    int64_t steps_acknowledged, steps_found, steps_lost;
    uint64_t beats;
    unsigned agents, agents_behind;
    unsigned faults; /* anything that must not be; each was printed */
};

uint64_t fleet_now_ns(void);
uint64_t fleet_hash(uint64_t start, const char *text);
uint64_t fleet_content(int kind, const char *entity, const char *attribute, const char *value);
uint64_t fleet_random(uint64_t *state);
const char *fleet_attribute_name(unsigned attribute);
void fleet_task_name(unsigned task, char out[FLEET_TEXT_SIZE]);
const char *fleet_counter_name(unsigned counter);
void fleet_agent_name(unsigned writer, char out[FLEET_TEXT_SIZE]);
/* Prints the line to standard error and counts it. */
void fleet_fault(struct fleet_result *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The life of a writer; returns its exit status. */
int fleet_write(const struct fleet_writer *w);

/* Looks up every report in the workspace. kills: how many processes were killed. */
void fleet_verify(const char *dir, const struct fleet_reports *reports, unsigned writers,
                  unsigned kills, struct fleet_result *r);
void fleet_verify_plain(const char *path, const struct fleet_reports *reports,
                        struct fleet_result *r);

#endif
