/*
 * fleet_writer.c - one process of the fleet: sets that everybody sets, additions and removals,
 * counters, heartbeats, as fast as they are acknowledged. The steps are the same whether they are
 * done on a workspace or on a plain JSON file.
 *
 * Every value is unique (writer, generation, sequence), so that each can be looked for later.
 */
#include "fleet.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Members that a process has out at most; then it takes its oldest back. */
#define MEMBERS_MAX 32
/* Longest wait for a lock: a loaded machine is no fault. Milliseconds. */
#define WAIT_MS 60000

/* The last one has members, the others one value. */
static const char *const attributes[FLEET_ATTRIBUTES + 1] = {"state",  "owner",  "note",
                                                             "branch", "result", "tag"};
static const char *const counters[FLEET_COUNTERS] = {"fleet builds", "fleet tests", "fleet tokens"};

struct member {
    char entity[FLEET_TEXT_SIZE], value[FLEET_TEXT_SIZE];
};

struct life {
    const struct fleet_writer *w;
    uint64_t random;
    uint32_t sequence;
    struct member members[MEMBERS_MAX];
    unsigned member_first, member_count;
    strata *s;
};

/* --- shared ----------------------------------------------------------------------------------- */

uint64_t fleet_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* FNV-1a; the NUL at the end counts too, so that "a","bc" is not "ab","c". */
uint64_t fleet_hash(uint64_t start, const char *text)
{
    uint64_t h = start ^ UINT64_C(14695981039346656037);
    for (const char *p = text;; p++) {
        h = (h ^ (unsigned char)*p) * UINT64_C(1099511628211);
        if (*p == '\0')
            return h;
    }
}

uint64_t fleet_content(int kind, const char *entity, const char *attribute, const char *value)
{
    return fleet_hash(fleet_hash(fleet_hash((uint64_t)kind, entity), attribute), value);
}

/* xorshift64*, Vigna 2014. */
uint64_t fleet_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

const char *fleet_counter_name(unsigned counter)
{
    return counters[counter];
}

const char *fleet_attribute_name(unsigned attribute)
{
    return attributes[attribute];
}

void fleet_task_name(unsigned task, char out[FLEET_TEXT_SIZE])
{
    (void)snprintf(out, FLEET_TEXT_SIZE, "task-%02u", task + 1);
}

void fleet_agent_name(unsigned writer, char out[FLEET_TEXT_SIZE])
{
    (void)snprintf(out, FLEET_TEXT_SIZE, "agent-%02u", writer + 1);
}

/* --- steps ------------------------------------------------------------------------------------ */

static enum fleet_kind kind_of(struct life *l, unsigned dice)
{
    if (dice < 48)
        return FLEET_SET;
    if (dice < 52)
        return FLEET_UNSET;
    if (dice < 68)
        return l->member_count < MEMBERS_MAX ? FLEET_ADD : FLEET_REMOVE;
    if (dice < 74)
        return l->member_count > 0 ? FLEET_REMOVE : FLEET_ADD;
    if (dice < 84)
        return FLEET_COUNT;
    if (dice < 92)
        return FLEET_BEAT;
    return l->member_count < MEMBERS_MAX ? FLEET_PAIR : FLEET_SET;
}

static void next_step(struct life *l, struct fleet_step *step)
{
    uint64_t r = fleet_random(&l->random);
    *step = (struct fleet_step){
        .kind = kind_of(l, (unsigned)(r % 100)),
        .answer = (r >> 8) % 16 == 0,
        .task = (uint32_t)((r >> 16) % FLEET_TASKS),
        .attribute = (uint32_t)((r >> 24) % FLEET_ATTRIBUTES),
        .counter = (uint32_t)((r >> 32) % FLEET_COUNTERS),
        .delta = (int32_t)((r >> 40) % FLEET_STEP_MAX) + 1,
        .sequence = ++l->sequence,
    };
    fleet_task_name(step->task, step->entity);
    (void)snprintf(step->name, sizeof(step->name), "%s", attributes[step->attribute]);
    (void)snprintf(step->value, sizeof(step->value), "%u of start %u of agent %u", step->sequence,
                   l->w->generation + 1u, l->w->number + 1u);
    if (step->kind == FLEET_UNSET)
        step->value[0] = '\0';
    if (step->kind == FLEET_ADD)
        (void)snprintf(step->name, sizeof(step->name), "tag");
    if (step->kind == FLEET_REMOVE) {
        const struct member *m = &l->members[l->member_first];
        memcpy(step->entity, m->entity, sizeof(step->entity));
        memcpy(step->value, m->value, sizeof(step->value));
        (void)snprintf(step->name, sizeof(step->name), "tag");
    }
}

static void remember(struct life *l, const struct fleet_step *step)
{
    if (step->kind == FLEET_ADD || step->kind == FLEET_PAIR) {
        struct member *m = &l->members[(l->member_first + l->member_count++) % MEMBERS_MAX];
        memcpy(m->entity, step->entity, sizeof(m->entity));
        memcpy(m->value, step->value, sizeof(m->value));
    } else if (step->kind == FLEET_REMOVE) {
        l->member_first = (l->member_first + 1) % MEMBERS_MAX;
        l->member_count--;
    }
}

/* --- reporting -------------------------------------------------------------------------------- */

static int report(const struct life *l, const struct fleet_step *step, int result,
                  const strata_written written[2])
{
    struct fleet_report out[2];
    size_t count = step->kind == FLEET_PAIR && result == STRATA_OK ? 2 : 1;

    memset(out, 0, sizeof(out));
    for (size_t i = 0; i < count; i++) {
        int kind = step->kind != FLEET_PAIR ? (int)step->kind : i == 0 ? FLEET_SET : FLEET_ADD;
        out[i].writer = l->w->number;
        out[i].kind = (uint8_t)(result == STRATA_OK ? kind : FLEET_ERROR);
        out[i].counter = (uint8_t)step->counter;
        out[i].delta = result != STRATA_OK        ? result
                       : step->kind == FLEET_BEAT ? l->w->generation
                                                  : step->delta;
        out[i].sequence = step->sequence;
        out[i].id = fleet_hash(0, written[i].id);
        out[i].content =
            fleet_content(kind, step->entity, kind == FLEET_ADD ? "tag" : step->name, step->value);
    }
    ssize_t n = write(l->w->report_fd, out, count * sizeof(out[0]));
    return n == (ssize_t)(count * sizeof(out[0])) ? 0 : -1;
}

/* --- on a workspace --------------------------------------------------------------------------- */

static int do_strata(struct life *l, const struct fleet_step *step, strata_written written[2])
{
    static const int kinds[] = {
        [FLEET_SET] = STRATA_SET,       [FLEET_UNSET] = STRATA_UNSET, [FLEET_ADD] = STRATA_ADD,
        [FLEET_REMOVE] = STRATA_REMOVE, [FLEET_COUNT] = STRATA_COUNT, [FLEET_PAIR] = STRATA_SET};
    strata_op ops[2] = {{.kind = STRATA_SET}};
    unsigned flags = step->answer ? STRATA_ANSWER : 0;

    if (step->kind == FLEET_BEAT) {
        char status[FLEET_TEXT_SIZE];
        (void)snprintf(status, sizeof(status), "%u %u", l->w->generation, step->sequence);
        return strata_beat(l->s, status);
    }
    ops[0].kind = kinds[step->kind];
    ops[0].entity = step->kind == FLEET_COUNT ? counters[step->counter] : step->entity;
    ops[0].attribute = step->name;
    ops[0].value = step->value;
    ops[0].value_size = STRATA_NUL;
    ops[0].delta = step->delta;
    ops[1] = ops[0];
    ops[1].kind = STRATA_ADD;
    ops[1].attribute = "tag";
    if (step->answer && step->kind == FLEET_SET) {
        strata_attribute seen;
        int code = strata_fact_get(l->s, step->entity, step->name, 0, &seen);
        if (code != STRATA_OK && code != STRATA_NOT_FOUND)
            return code;
    }
    if (step->kind == FLEET_COUNT)
        flags |= STRATA_NO_FLUSH; /* as the program does; kill -9 takes nothing from the kernel */
    return strata_write(l->s, ops, step->kind == FLEET_PAIR ? 2 : 1, flags, NULL, written);
}

static bool open_strata(struct life *l)
{
    char agent[FLEET_TEXT_SIZE];
    strata_error error;

    fleet_agent_name(l->w->number, agent);
    strata_options options = {.size = sizeof(options),
                              .agent = agent,
                              .program = "fleet",
                              .incarnation = l->w->generation + 1u,
                              .wait_ms = WAIT_MS};
    options.state_dir = l->w->path;
    if (strata_open(NULL, &options, &l->s, &error) == STRATA_OK)
        return true;
    (void)fprintf(stderr, "%s cannot open: %s\n", agent, error.message);
    return false;
}

/* --- on a plain file: read, change, write aside, rename --------------------------------------- */

/*
 * {"facts":{"task-01 state":["oldest",..,"newest"],..},"counters":{..},"agents":{..}}
 * Earlier values stay in the list, so that nothing is lost by being replaced.
 */
static void change_plain(json_t *root, const struct life *l, const struct fleet_step *step)
{
    char key[2 * FLEET_TEXT_SIZE + 2];
    json_t *facts = json_object_get(root, "facts");
    json_t *totals = json_object_get(root, "counters");

    if (step->kind == FLEET_COUNT) {
        const char *name = counters[step->counter];
        json_int_t total = json_integer_value(json_object_get(totals, name));
        json_object_set_new(totals, name, json_integer(total + step->delta));
        return;
    }
    if (step->kind == FLEET_BEAT) {
        fleet_agent_name(l->w->number, key);
        json_object_set_new(json_object_get(root, "agents"), key, json_integer(step->sequence));
        return;
    }
    /* What is taken away is noted as well: the list is the key's history. */
    const char *sign = step->kind == FLEET_REMOVE ? "-" : step->kind == FLEET_UNSET ? "0" : "";
    char value[FLEET_TEXT_SIZE + 16];
    (void)snprintf(value, sizeof(value), "%s%s", sign, step->value);
    for (int i = 0; i < (step->kind == FLEET_PAIR ? 2 : 1); i++) {
        (void)snprintf(key, sizeof(key), "%s %s", step->entity, i == 0 ? step->name : "tag");
        json_t *list = json_object_get(facts, key);
        if (list == NULL) {
            list = json_array();
            json_object_set_new(facts, key, list);
        }
        json_array_append_new(list, json_string(value));
    }
}

static int do_plain(struct life *l, const struct fleet_step *step)
{
    char aside[FLEET_PATH_SIZE + 32];
    json_error_t error;
    json_t *root = json_load_file(l->w->path, 0, &error);

    if (root == NULL) {
        (void)fprintf(stderr, "plain file: %s\n", error.text);
        return STRATA_IO;
    }
    change_plain(root, l, step);
    (void)snprintf(aside, sizeof(aside), "%s.%ld", l->w->path, (long)getpid());
    int failed = json_dump_file(root, aside, JSON_COMPACT) != 0 || rename(aside, l->w->path) != 0;
    json_decref(root);
    return failed ? STRATA_IO : STRATA_OK;
}

/* --- life ------------------------------------------------------------------------------------- */

int fleet_write(const struct fleet_writer *w)
{
    struct life l = {.w = w, .random = w->seed | 1};
    int status = 0;

    for (int i = 0; i < 8; i++)
        (void)fleet_random(&l.random);
    if (!w->plain && !open_strata(&l))
        return 1;
    while (status == 0 && fleet_now_ns() < w->end_ns) {
        struct fleet_step step;
        strata_written written[2];
        memset(written, 0, sizeof(written));
        next_step(&l, &step);
        if (w->plain && step.kind == FLEET_UNSET)
            (void)snprintf(step.value, sizeof(step.value), "%u.%u.%u", step.sequence, w->generation,
                           w->number);
        int result = w->plain ? do_plain(&l, &step) : do_strata(&l, &step, written);
        if (result == STRATA_OK)
            remember(&l, &step);
        else if (!w->plain)
            (void)fprintf(stderr, "agent %u: %s\n", w->number + 1u,
                          strata_last_error(l.s)->message);
        if (report(&l, &step, result, written) != 0 || result != STRATA_OK)
            status = 1;
    }
    if (l.s != NULL)
        strata_close(l.s);
    return status;
}
