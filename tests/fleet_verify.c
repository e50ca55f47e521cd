/*
 * fleet_verify.c - looking for every acknowledged write where the promise says that it is: shown,
 * in the history of its attribute, or among what is pending. Nothing is taken from the writers
 * but what they reported.
 */
#include "fleet.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* After so many lines of complaint the rest is only counted. */
#define FAULT_LINES_MAX 20

enum { SHOWN = 1, PENDING = 2, HISTORY = 4, LOGGED = 8, REPORTED = 16 };

/* What is known of one operation, by the hash of its id. */
struct place {
    uint64_t id, content;
    uint32_t flags;
};

struct table {
    struct place *places;
    size_t mask, count;
};

void fleet_fault(struct fleet_result *r, const char *format, ...)
{
    if (r->faults++ >= FAULT_LINES_MAX)
        return;
    va_list args;
    va_start(args, format);
    (void)fputs("fleet: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

/* --- table ------------------------------------------------------------------------------------ */

static struct place *table_find(const struct table *t, uint64_t id)
{
    for (size_t i = id & t->mask;; i = (i + 1) & t->mask)
        if (t->places[i].flags == 0 || t->places[i].id == id)
            return &t->places[i];
}

static void table_grow(struct table *t)
{
    struct table old = *t;
    t->mask = old.places == NULL ? 0xffff : old.mask * 2 + 1;
    t->places = calloc(t->mask + 1, sizeof(*t->places));
    if (t->places == NULL) {
        (void)fputs("fleet: out of memory\n", stderr);
        exit(1);
    }
    for (size_t i = 0; old.places != NULL && i <= old.mask; i++)
        if (old.places[i].flags != 0)
            *table_find(t, old.places[i].id) = old.places[i];
    free(old.places);
}

/* Two operations of one id with different contents are a fault; so content is compared by whoever
 * puts it in a second time. False then. */
static bool table_put(struct table *t, uint64_t id, uint64_t content, uint32_t flags)
{
    if (t->places == NULL || t->count * 2 > t->mask)
        table_grow(t);
    struct place *p = table_find(t, id);
    if (p->flags == 0) {
        *p = (struct place){.id = id, .content = content};
        t->count++;
    }
    p->flags |= flags;
    return p->content == content;
}

/* --- looking ---------------------------------------------------------------------------------- */

struct look {
    strata *s;
    struct table ops;     /* by id */
    struct table removed; /* entity and value of every removal */
    struct fleet_result *r;
    int64_t steps[FLEET_COUNTERS];
};

typedef int history_visitor(void *arg, const strata_event *e);

static int kind_of_event(int kind)
{
    return kind == STRATA_SET     ? FLEET_SET
           : kind == STRATA_UNSET ? FLEET_UNSET
           : kind == STRATA_ADD   ? FLEET_ADD
                                  : FLEET_REMOVE;
}

static uint64_t content_of_item(const strata_attribute *a, const strata_item *item)
{
    int kind = item->kind == STRATA_ITEM_VALUE    ? FLEET_SET
               : item->kind == STRATA_ITEM_MEMBER ? FLEET_ADD
                                                  : FLEET_UNSET;
    return fleet_content(kind, a->entity, a->attribute,
                         item->kind == STRATA_ITEM_ABSENT ? "" : item->value);
}

static bool ours(const char *entity)
{
    return strncmp(entity, "task-", 5) == 0;
}

/* What is shown: values, members, and an absence where nothing else is. */
static int visit_fact(void *arg, const strata_attribute *a)
{
    struct look *l = arg;
    if (!ours(a->entity))
        return 0;
    for (size_t i = 0; i < a->count; i++) {
        const strata_item *item = &a->items[i];
        bool shown = item->kind == STRATA_ITEM_MEMBER || item->shown ||
                     (item->kind == STRATA_ITEM_ABSENT && !a->pending);
        if (shown && !table_put(&l->ops, fleet_hash(0, item->id), content_of_item(a, item), SHOWN))
            fleet_fault(l->r, "%s is shown with another content", item->id);
    }
    return 0;
}

static int visit_pending(void *arg, const strata_pending *p)
{
    struct look *l = arg;
    strata_attribute a = {.entity = p->entity, .attribute = p->attribute};
    for (size_t i = 0; i < p->count && ours(p->entity); i++)
        if (!table_put(&l->ops, fleet_hash(0, p->items[i].id), content_of_item(&a, &p->items[i]),
                       PENDING))
            fleet_fault(l->r, "%s is pending with another content", p->items[i].id);
    return 0;
}

static int visit_history(void *arg, const strata_event *e)
{
    struct look *l = arg;
    int kind = kind_of_event(e->kind);
    const char *value = kind == FLEET_UNSET ? "" : e->value;
    if (kind == FLEET_REMOVE)
        (void)table_put(&l->removed, fleet_hash(fleet_hash(0, e->entity), e->value), 0, HISTORY);
    if (!table_put(&l->ops, fleet_hash(0, e->id),
                   fleet_content(kind, e->entity, e->attribute, value), HISTORY))
        fleet_fault(l->r, "%s is in the history with another content", e->id);
    return 0;
}

/* The log: for counters, which have no other trace, and as a second witness for the rest. */
static int visit_event(void *arg, const strata_event *e)
{
    struct look *l = arg;
    if (e->kind == STRATA_COUNT) {
        for (unsigned i = 0; i < FLEET_COUNTERS; i++)
            if (strcmp(e->entity, fleet_counter_name(i)) == 0)
                l->steps[i] += e->delta;
        (void)table_put(&l->ops, fleet_hash(0, e->id), 0, LOGGED);
    } else if (e->kind >= STRATA_SET && e->kind <= STRATA_REMOVE && ours(e->entity)) {
        int kind = kind_of_event(e->kind);
        const char *value = kind == FLEET_UNSET ? "" : e->value;
        if (!table_put(&l->ops, fleet_hash(0, e->id),
                       fleet_content(kind, e->entity, e->attribute, value), LOGGED))
            fleet_fault(l->r, "%s is in the log with another content", e->id);
    }
    return 0;
}

static void need(struct look *l, int code, const char *what)
{
    if (code != STRATA_OK && code != STRATA_NOT_FOUND)
        fleet_fault(l->r, "%s: %s", what, strata_last_error(l->s)->message);
}

/* The history of one attribute of every task. */
static void each_history(struct look *l, const char *attribute, history_visitor *visit)
{
    char entity[FLEET_TEXT_SIZE];
    for (unsigned task = 0; task < FLEET_TASKS; task++) {
        fleet_task_name(task, entity);
        need(l, strata_history(l->s, entity, attribute, 0, visit, l), "history");
    }
}

static void look_around(struct look *l)
{
    strata_fact_query query = {.size = sizeof(query), .with_absent = true};
    uint64_t next;

    need(l, strata_fact_each(l->s, &query, visit_fact, l), "facts");
    need(l, strata_pending_each(l->s, STRATA_PENDING_CONFLICT, 0, visit_pending, l), "pending");
    for (unsigned i = 0; i <= FLEET_ATTRIBUTES; i++)
        each_history(l, fleet_attribute_name(i), visit_history);
    need(l, strata_events(l->s, 0, 0, &next, visit_event, l), "events");
}

/* --- judging ---------------------------------------------------------------------------------- */

static const char *const kind_names[] = {"set", "unset", "add", "remove", "count"};

/* "remove" is kept when the history has it and what it removed is not shown. */
static void judge_fact(struct look *l, const struct fleet_report *a, struct place *p)
{
    struct fleet_result *r = l->r;
    bool live = (p->flags & (SHOWN | PENDING)) != 0;

    r->acknowledged++;
    if (p->flags != 0 && p->content != a->content) {
        fleet_fault(r, "agent %u, write %u: another content", a->writer + 1u, a->sequence);
        r->lost++;
    } else if ((p->flags & HISTORY) == 0 || (p->flags & LOGGED) == 0) {
        fleet_fault(r, "agent %u, %s %u: not in the %s", a->writer + 1u, kind_names[a->kind],
                    a->sequence, (p->flags & HISTORY) == 0 ? "history" : "log");
        r->lost++;
    } else if ((p->flags & SHOWN) != 0)
        r->current++;
    else if ((p->flags & PENDING) != 0)
        r->pending++;
    else if (a->kind == FLEET_REMOVE)
        r->removed++;
    else
        r->replaced++;
    if (a->kind == FLEET_REMOVE && live)
        fleet_fault(r, "agent %u, remove %u is shown", a->writer + 1u, a->sequence);
}

/* A member may be gone only if somebody removed it: everything else that is set or unset is on
 * other attributes. */
static int visit_member(void *arg, const strata_event *e)
{
    struct look *l = arg;
    if (e->kind != STRATA_ADD || e->current)
        return 0;
    uint64_t key = fleet_hash(fleet_hash(0, e->entity), e->value);
    if (l->removed.places == NULL || table_find(&l->removed, key)->flags == 0)
        fleet_fault(l->r, "%s: '%s' is gone from %s, and nobody removed it", e->id, e->value,
                    e->entity);
    return 0;
}

static void judge_counters(struct look *l, const int64_t acknowledged[FLEET_COUNTERS],
                           unsigned kills)
{
    for (unsigned i = 0; i < FLEET_COUNTERS; i++) {
        int64_t total = 0;
        need(l, strata_counter_get(l->s, fleet_counter_name(i), &total), "counter");
        l->r->steps_acknowledged += acknowledged[i];
        l->r->steps_found += total;
        if (total < acknowledged[i]) {
            l->r->steps_lost += acknowledged[i] - total;
            fleet_fault(l->r, "%s is %lld, but %lld were acknowledged", fleet_counter_name(i),
                        (long long)total, (long long)acknowledged[i]);
        }
        if (total > acknowledged[i] + (int64_t)kills * FLEET_STEP_MAX || total != l->steps[i])
            fleet_fault(l->r, "%s is %lld; the log adds up to %lld, acknowledged were %lld",
                        fleet_counter_name(i), (long long)total, (long long)l->steps[i],
                        (long long)acknowledged[i]);
    }
}

struct beats {
    struct fleet_result *r;
    const uint64_t *last; /* by writer: start and sequence of the last acknowledged heartbeat */
    unsigned writers;
};

static int visit_agent(void *arg, const strata_agent *a)
{
    struct beats *b = arg;
    unsigned writer, generation, sequence;
    if (sscanf(a->agent, "agent-%u", &writer) != 1 || writer == 0 || writer > b->writers)
        return 0;
    b->r->agents++;
    if (sscanf(a->status, "%u %u", &generation, &sequence) != 2 ||
        (((uint64_t)generation << 32) | sequence) < b->last[writer - 1] || a->beat_ms == 0) {
        b->r->agents_behind++;
        fleet_fault(b->r, "%s shows the status '%s', older than its last heartbeat", a->agent,
                    a->status);
    }
    return 0;
}

static void judge_beats(struct look *l, const struct fleet_reports *reports, unsigned writers)
{
    uint64_t last[FLEET_WRITERS_MAX] = {0};
    unsigned beating = 0;
    struct beats b = {.r = l->r, .last = last, .writers = writers};

    for (size_t i = 0; i < reports->count; i++) {
        const struct fleet_report *a = &reports->list[i];
        if (a->kind != FLEET_BEAT)
            continue;
        l->r->beats++;
        beating += last[a->writer] == 0;
        last[a->writer] = ((uint64_t)a->delta << 32) | a->sequence;
    }
    need(l, strata_agent_each(l->s, visit_agent, &b), "agents");
    if (l->r->agents < beating)
        fleet_fault(l->r, "%u agents are known of %u that beat", l->r->agents, beating);
}

static void judge(struct look *l, const struct fleet_reports *reports, unsigned kills)
{
    int64_t acknowledged[FLEET_COUNTERS] = {0};

    for (size_t i = 0; i < reports->count; i++) {
        const struct fleet_report *a = &reports->list[i];
        if (a->kind == FLEET_BEAT)
            continue;
        struct place *p = table_find(&l->ops, a->id);
        if ((p->flags & REPORTED) != 0)
            fleet_fault(l->r, "agent %u, write %u: an id was given out twice", a->writer + 1u,
                        a->sequence);
        if (a->kind == FLEET_COUNT) {
            acknowledged[a->counter] += a->delta;
            l->r->counted++;
            if (p->flags == 0)
                fleet_fault(l->r, "agent %u, count %u: not in the log", a->writer + 1u,
                            a->sequence);
        } else {
            judge_fact(l, a, p);
        }
        if (p->flags != 0)
            p->flags |= REPORTED;
    }
    for (size_t i = 0; i <= l->ops.mask; i++)
        l->r->unreported += l->ops.places[i].flags != 0 && (l->ops.places[i].flags & REPORTED) == 0;
    /* One record each, of at most two operations. */
    if (l->r->unreported > 2 * (uint64_t)kills)
        fleet_fault(l->r, "%llu writes that nobody reported, with %u processes killed",
                    (unsigned long long)l->r->unreported, kills);
    judge_counters(l, acknowledged, kills);
}

void fleet_verify(const char *dir, const struct fleet_reports *reports, unsigned writers,
                  unsigned kills, struct fleet_result *r)
{
    struct look l = {.r = r};
    strata_options options = {
        .size = sizeof(options), .state_dir = dir, .program = "fleet", .wait_ms = 60000};
    strata_error error;

    if (strata_open(NULL, &options, &l.s, &error) != STRATA_OK) {
        fleet_fault(r, "cannot open: %s", error.message);
        return;
    }
    table_grow(&l.ops);
    table_grow(&l.removed);
    look_around(&l);
    judge(&l, reports, kills);
    each_history(&l, fleet_attribute_name(FLEET_ATTRIBUTES), visit_member);
    judge_beats(&l, reports, writers);
    free(l.ops.places);
    free(l.removed.places);
    strata_close(l.s);
}

/* --- the plain file ------------------------------------------------------------------------------
 */

/* Key "entity attribute", value with a sign in front: see fleet_writer.c. */
static uint64_t plain_content(const char *key, const char *value)
{
    char entity[FLEET_TEXT_SIZE];
    size_t n = strcspn(key, " ");
    int kind = value[0] == '-'                ? FLEET_REMOVE
               : value[0] == '0'              ? FLEET_UNSET
               : strcmp(key + n, " tag") == 0 ? FLEET_ADD
                                              : FLEET_SET;
    (void)snprintf(entity, sizeof(entity), "%.*s", (int)n, key);
    return fleet_content(kind, entity, key + n + 1,
                         value + (kind == FLEET_REMOVE || kind == FLEET_UNSET));
}

static void read_plain(const json_t *facts, struct table *found)
{
    const char *key;
    json_t *list, *value;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)facts, key, list)
    {
        json_array_foreach(list, i, value)
        {
            uint64_t content = plain_content(key, json_string_value(value));
            (void)table_put(found, content, content, HISTORY);
        }
    }
}

void fleet_verify_plain(const char *path, const struct fleet_reports *reports,
                        struct fleet_result *r)
{
    struct table found = {0};
    int64_t acknowledged[FLEET_COUNTERS] = {0};
    json_t *root = json_load_file(path, 0, NULL);

    if (root == NULL) {
        fleet_fault(r, "the plain file cannot be read");
        return;
    }
    table_grow(&found);
    read_plain(json_object_get(root, "facts"), &found);
    for (size_t i = 0; i < reports->count; i++) {
        const struct fleet_report *a = &reports->list[i];
        if (a->kind == FLEET_COUNT) {
            acknowledged[a->counter] += a->delta;
            r->counted++;
        } else if (a->kind < FLEET_COUNT) {
            r->acknowledged++;
            if (table_find(&found, a->content)->flags == 0)
                r->lost++;
            else
                r->current++;
        }
    }
    for (unsigned i = 0; i < FLEET_COUNTERS; i++) {
        const json_t *total =
            json_object_get(json_object_get(root, "counters"), fleet_counter_name(i));
        r->steps_acknowledged += acknowledged[i];
        r->steps_found += json_integer_value(total);
        if (json_integer_value(total) < acknowledged[i])
            r->steps_lost += acknowledged[i] - json_integer_value(total);
    }
    json_decref(root);
    free(found.places);
}
