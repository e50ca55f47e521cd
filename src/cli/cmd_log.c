/*
 * cmd_log.c - log and history: events, one line each.
 *
 * The log reads forward from a cursor only. Its last N events are found by reading from ever
 * further before the end until N are there; N are kept in a ring.
 */
#include "cli/log_task.h"

#include <stdlib.h>
#include <string.h>

#define EVENT_VALUE_MAX 200

/* --- one event for people --------------------------------------------------------------------- */

static void put_fact(const strata_event *e)
{
    cli_put_name(stdout, e->entity);
    (void)putchar(' ');
    cli_put_name(stdout, e->attribute);
    const char *verb = e->kind == STRATA_SET     ? " = "
                       : e->kind == STRATA_UNSET ? " unset"
                       : e->kind == STRATA_ADD   ? " has "
                                                 : " no longer has ";
    (void)fputs(verb, stdout);
    if (e->kind == STRATA_UNSET)
        return;
    if (e->link)
        (void)fputs("-> ", stdout);
    cli_put_text(stdout, e->value, e->value_size, EVENT_VALUE_MAX);
}

static void put_event(const strata_event *e)
{
    switch (e->kind) {
    case STRATA_SET:
    case STRATA_UNSET:
    case STRATA_ADD:
    case STRATA_REMOVE:
        put_fact(e);
        break;
    case STRATA_COUNT:
        (void)fputs("count ", stdout);
        cli_put_name(stdout, e->entity);
        (void)printf(" %+lld", (long long)e->delta);
        break;
    case STRATA_BEAT:
        (void)fputs("status: ", stdout);
        cli_put_text(stdout, e->value, e->value_size, EVENT_VALUE_MAX);
        break;
    case STRATA_SEEN:
        (void)fputs("took in records of another copy", stdout);
        break;
    case STRATA_ACK:
        (void)fputs("an overwritten value was looked at", stdout);
        break;
    default:
        (void)fputs("of a newer version: ", stdout);
        cli_put_text(stdout, e->value, e->value_size, EVENT_VALUE_MAX);
    }
}

/* "120 2026-11-23T22:51:32Z ann on laptop: " */
static void put_origin(const strata_event *e, const char *agent, const char *replica)
{
    char stamp[CLI_STAMP_SIZE];
    cli_stamp(e->time_ms, stamp);
    (void)printf("%llu %.19sZ %s on ", (unsigned long long)e->cursor, stamp,
                 agent[0] != '\0' ? agent : "unnamed");
    cli_put_text(stdout, replica, strlen(replica), 0);
    (void)fputs(": ", stdout);
}

static void put_log_line(const strata_event *e)
{
    put_origin(e, e->agent, e->replica);
    put_event(e);
    (void)putchar('\n');
}

/* --- history ---------------------------------------------------------------------------------- */

struct history {
    struct cli *c;
    json_t *list;
    size_t limit, count;
    bool more;
};

static int visit_history(void *arg, const strata_event *e)
{
    struct history *h = arg;

    if (h->limit != 0 && h->count == h->limit) {
        h->more = true;
        return 1;
    }
    h->count++;
    if (h->c->json) {
        json_t *o = cli_json_event(e);
        if (o == NULL || json_object_set_new(o, "current", json_boolean(e->current)) != 0) {
            json_decref(o);
            return STRATA_NO_MEMORY;
        }
        return json_array_append_new(h->list, o) == 0 ? 0 : STRATA_NO_MEMORY;
    }
    put_event(e);
    (void)fputs(" (", stdout);
    cli_put_origin(h->c, stdout, e->agent, e->replica, e->time_ms, true);
    (void)fputs(e->current ? ", current)\n" : ")\n", stdout);
    return ferror(stdout) ? 1 : 0;
}

int cmd_history(struct cli *c)
{
    struct history h = {.c = c};
    const char *attribute = c->arg_count > 1 ? c->args[1] : NULL;
    int status = cli_name_check(c, "ENTITY", c->args[0]);

    if (status == 0 && attribute != NULL)
        status = cli_name_check(c, "ATTRIBUTE", attribute);
    if (status == 0)
        status = cli_limit(c, &h.limit);
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    if (c->json)
        h.list = json_array();
    size_t limit = h.limit != 0 ? h.limit + 1 : 0;
    int code = strata_history(c->s, c->args[0], attribute, limit, visit_history, &h);
    if (code != STRATA_OK && code != STRATA_NOT_FOUND) {
        json_decref(h.list);
        return cli_fail(c, code);
    }
    if (c->json)
        return cli_json(c, json_pack("{s:o,s:b}", "events", h.list, "more", h.more));
    if (h.more)
        cli_note(c, "there is more; --limit N prints more, --limit 0 all");
    else if (h.count == 0)
        cli_note(c, "nothing was ever written there");
    return 0;
}

/* --- log -------------------------------------------------------------------------------------- */

/* An event kept for later: a copy with one allocation for its strings. */
struct kept {
    strata_event event;
    char *text;
};

struct ring {
    struct kept *slots;
    size_t size, count, next; /* count: of all that went in */
};

static char *copy_text(char **at, const char *text, size_t n)
{
    char *start = *at;
    memcpy(start, text, n);
    start[n] = '\0';
    *at += n + 1;
    return start;
}

static bool keep(struct kept *k, const strata_event *e)
{
    size_t sizes[4] = {strlen(e->agent), strlen(e->replica), strlen(e->entity),
                       strlen(e->attribute)};
    size_t value = e->value != NULL ? e->value_size : 0;
    char *text = malloc(sizes[0] + sizes[1] + sizes[2] + sizes[3] + value + 5), *at = text;

    if (text == NULL)
        return false;
    free(k->text);
    k->text = text;
    k->event = *e;
    k->event.agent = copy_text(&at, e->agent, sizes[0]);
    k->event.replica = copy_text(&at, e->replica, sizes[1]);
    k->event.entity = copy_text(&at, e->entity, sizes[2]);
    k->event.attribute = copy_text(&at, e->attribute, sizes[3]);
    k->event.value = copy_text(&at, value > 0 ? e->value : "", value);
    k->event.value_size = value;
    return true;
}

static int visit_ring(void *arg, const strata_event *e)
{
    struct ring *ring = arg;
    if (!keep(&ring->slots[ring->next], e))
        return STRATA_NO_MEMORY;
    ring->next = (ring->next + 1) % ring->size;
    ring->count++;
    return 0;
}

static void ring_release(struct ring *ring)
{
    for (size_t i = 0; ring->slots != NULL && i < ring->size; i++)
        free(ring->slots[i].text);
    free(ring->slots);
}

struct log {
    struct cli *c;
    json_t *list; /* NULL: one line for each event */
    size_t limit, count;
    bool more;
    struct log_task task;
};

/* Prints what was gathered of one task. */
static void end_task(struct log *l)
{
    char *text = log_task_end(&l->task);
    if (text != NULL && text[0] != '\0') {
        put_origin(&l->task.last, l->task.agent, l->task.replica);
        (void)printf("%s %s\n", l->task.entity, text);
    }
    free(text);
}

static int print_event(struct log *l, const strata_event *e)
{
    l->count++;
    if (l->c->json) {
        json_t *o = cli_json_event(e);
        if (o == NULL)
            return STRATA_NO_MEMORY;
        if (l->list != NULL)
            return json_array_append_new(l->list, o) == 0 ? 0 : STRATA_NO_MEMORY;
        return cli_json_line(l->c, o) == 0 ? 0 : STRATA_NO_MEMORY;
    }
    if (!log_task_same(&l->task, e))
        end_task(l);
    if (!log_task_is(e))
        put_log_line(e);
    else if (!log_task_add(&l->task, e))
        return STRATA_NO_MEMORY;
    return ferror(stdout) ? 1 : 0;
}

static int visit_log(void *arg, const strata_event *e)
{
    return print_event(arg, e);
}

/* Fills the ring with the last events before the end, and sets *next to the cursor after them. */
static int read_last(struct log *l, struct ring *ring, uint64_t *next)
{
    uint64_t end = 0, window = l->limit;
    int code = strata_events_end(l->c->s, &end);

    *next = end;
    while (code == STRATA_OK) {
        uint64_t after = end > window ? end - window : 0;
        ring->count = ring->next = 0;
        code = strata_events(l->c->s, after, 0, next, visit_ring, ring);
        if (code != STRATA_OK)
            break;
        l->more = ring->count > ring->size || after > 0;
        if (ring->count >= ring->size || after == 0)
            break;
        window *= 8;
    }
    return code;
}

/* The last `limit` events. */
static int log_last(struct log *l, uint64_t *next)
{
    struct ring ring = {.size = l->limit};

    ring.slots = calloc(ring.size, sizeof(*ring.slots));
    if (ring.slots == NULL)
        return STRATA_NO_MEMORY;
    int code = read_last(l, &ring, next);
    size_t have = ring.count < ring.size ? ring.count : ring.size;
    size_t first = ring.count < ring.size ? 0 : ring.next;
    for (size_t i = 0; code == STRATA_OK && i < have; i++)
        code = print_event(l, &ring.slots[(first + i) % ring.size].event);
    ring_release(&ring);
    return code;
}

static int follow(struct log *l, uint64_t cursor)
{
    for (;;) {
        end_task(l);
        if (fflush(stdout) != 0 || ferror(stdout))
            return STRATA_OK; /* main() tells */
        int code = strata_events_wait(l->c->s, cursor, 1000);
        if (code != STRATA_OK && code != STRATA_TIMEOUT)
            return code;
        code = strata_events(l->c->s, cursor, 0, &cursor, visit_log, l);
        if (code != STRATA_OK)
            return code;
        cli_notices(l->c);
    }
}

#define LAST_MAX 100000 /* events kept in memory to find the last ones */

static int finish(struct log *l, int code, uint64_t next, bool since)
{
    struct cli *c = l->c;
    end_task(l);
    if (code != STRATA_OK && code != STRATA_NOT_FOUND) {
        json_decref(l->list);
        return cli_fail(c, code);
    }
    if (c->json && l->list != NULL)
        return cli_json(c, json_pack("{s:o,s:b,s:I}", "events", l->list, "more", l->more, "next",
                                     (json_int_t)next));
    if (l->more && since)
        cli_note(c, "there is more; go on with: strata log --since %llu", (unsigned long long)next);
    else if (l->more)
        cli_note(c, "there is more before; --limit N prints more, --limit 0 all");
    else if (l->count == 0)
        cli_note(c, since ? "nothing since then" : "nothing was written yet");
    return 0;
}

int cmd_log(struct cli *c)
{
    struct log l = {.c = c};
    bool since = cli_given(c, OPT_SINCE_CURSOR), follows = cli_given(c, OPT_FOLLOW);
    uint64_t after = 0, next = 0, end = 0;
    int code, status = cli_limit(c, &l.limit);

    if (status == 0 && since)
        status = cli_number(c, "--since", c->options[OPT_SINCE_CURSOR], INT64_MAX, &after);
    if (status == 0 && !since && l.limit > LAST_MAX)
        status = cli_error(c, STRATA_LIMIT, "--limit 0 prints all, --since goes on from a point",
                           "--limit is over %d", LAST_MAX);
    if (status == 0)
        status = cli_open(c);
    if (status == 0 && cli_given(c, OPT_OPS))
        status =
            follows ? cli_usage(c, "--ops has no --follow") : cli_log_ops(c, l.limit, since, after);
    if (status != 0 || cli_given(c, OPT_OPS))
        return status;
    if (c->json && !follows)
        l.list = json_array();
    next = after;
    if (since || l.limit == 0) {
        code = strata_events(c->s, after, follows && since ? 0 : l.limit, &next, visit_log, &l);
        if (code == STRATA_OK && !follows && strata_events_end(c->s, &end) == STRATA_OK)
            l.more = l.limit != 0 && next < end;
    } else {
        code = log_last(&l, &next);
    }
    if (follows && code == STRATA_OK)
        code = follow(&l, next);
    return finish(&l, code, next, since);
}
