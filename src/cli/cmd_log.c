/*
 * cmd_log.c - log and history: events, one line each; but what one command wrote of one task is one
 * line (log_task.h). --limit counts what is shown: lines, with --json events.
 *
 * The log reads forward from a cursor only. Its last N lines are found by reading from ever
 * further before the end until N are there; N are kept in a ring.
 */
#include "cli/log_task.h"

#include <stdlib.h>
#include <string.h>

#define EVENT_VALUE_MAX 200

/* --- one event for people --------------------------------------------------------------------- */

static void put_fact(FILE *out, const strata_event *e)
{
    cli_put_name(out, e->entity);
    (void)fputc(' ', out);
    cli_put_name(out, e->attribute);
    const char *verb = e->kind == STRATA_SET     ? " = "
                       : e->kind == STRATA_UNSET ? " unset"
                       : e->kind == STRATA_ADD   ? " has "
                                                 : " no longer has ";
    (void)fputs(verb, out);
    if (e->kind == STRATA_UNSET)
        return;
    if (e->link)
        (void)fputs("-> ", out);
    cli_put_text(out, e->value, e->value_size, EVENT_VALUE_MAX);
}

static void put_event(FILE *out, const strata_event *e)
{
    switch (e->kind) {
    case STRATA_SET:
    case STRATA_UNSET:
    case STRATA_ADD:
    case STRATA_REMOVE:
        put_fact(out, e);
        break;
    case STRATA_COUNT:
        (void)fputs("count ", out);
        cli_put_name(out, e->entity);
        (void)fprintf(out, " %+lld", (long long)e->delta);
        break;
    case STRATA_BEAT:
        (void)fputs("status: ", out);
        cli_put_text(out, e->value, e->value_size, EVENT_VALUE_MAX);
        break;
    case STRATA_SEEN:
        (void)fputs("took in records of another copy", out);
        break;
    case STRATA_ACK:
        (void)fputs("an overwritten value was looked at", out);
        break;
    default:
        (void)fputs("of a newer version: ", out);
        cli_put_text(out, e->value, e->value_size, EVENT_VALUE_MAX);
    }
}

/* "120 2026-11-23T22:51:32Z ann on laptop: " */
static void put_origin(FILE *out, const strata_event *e, const char *agent, const char *replica)
{
    char stamp[CLI_STAMP_SIZE];
    cli_stamp(e->time_ms, stamp);
    (void)fprintf(out, "%llu %.19sZ %s on ", (unsigned long long)e->cursor, stamp,
                  agent[0] != '\0' ? agent : "unnamed");
    cli_put_text(out, replica, strlen(replica), 0);
    (void)fputs(": ", out);
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
    put_event(stdout, e);
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

/* What is to be shown, kept until it is known to be among the last. */
struct kept {
    char *line;
    json_t *json;
};

struct ring {
    struct kept *slots;
    size_t size, count, next; /* count: of all that went in */
};

/* Taken. */
static void ring_add(struct ring *ring, char *line, json_t *json)
{
    struct kept *k = &ring->slots[ring->next];
    free(k->line);
    json_decref(k->json);
    *k = (struct kept){line, json};
    ring->next = (ring->next + 1) % ring->size;
    ring->count++;
}

static void ring_release(struct ring *ring)
{
    for (size_t i = 0; ring->slots != NULL && i < ring->size; i++) {
        free(ring->slots[i].line);
        json_decref(ring->slots[i].json);
    }
    free(ring->slots);
}

struct log {
    struct cli *c;
    json_t *list; /* NULL: one line for each event */
    size_t limit, count;
    uint64_t told; /* the cursor behind what was shown last */
    bool more;
    struct ring *ring; /* NULL: shown at once */
    struct log_task task;
    char *line; /* in the making, for the ring */
    size_t line_size;
};

static FILE *line_begin(struct log *l)
{
    l->line = NULL;
    return l->ring != NULL ? open_memstream(&l->line, &l->line_size) : stdout;
}

static int line_end(struct log *l, FILE *out, uint64_t cursor)
{
    l->count++;
    l->told = cursor;
    if (out == stdout)
        return ferror(stdout) ? 1 : 0;
    if (fclose(out) != 0) {
        free(l->line);
        return STRATA_NO_MEMORY;
    }
    ring_add(l->ring, l->line, NULL);
    return 0;
}

/* Shows what was gathered of one task. */
static int end_task(struct log *l)
{
    int code = 0;
    char *text = log_task_end(&l->task);
    if (text != NULL && text[0] != '\0') {
        FILE *out = line_begin(l);
        if (out == NULL) {
            code = STRATA_NO_MEMORY;
        } else {
            put_origin(out, &l->task.last, l->task.agent, l->task.replica);
            (void)fprintf(out, "%s %s\n", l->task.entity, text);
            code = line_end(l, out, l->task.last.cursor);
        }
    }
    free(text);
    return code;
}

static int show_json(struct log *l, json_t *o)
{
    if (l->list != NULL)
        return json_array_append_new(l->list, o) == 0 ? 0 : STRATA_NO_MEMORY;
    return cli_json_line(l->c, o) == 0 ? 0 : STRATA_NO_MEMORY;
}

static int visit_json(struct log *l, const strata_event *e)
{
    json_t *o = cli_json_event(e);
    if (o == NULL)
        return STRATA_NO_MEMORY;
    l->count++;
    if (l->ring == NULL)
        return show_json(l, o);
    ring_add(l->ring, NULL, o);
    return 0;
}

static int visit_log(void *arg, const strata_event *e)
{
    struct log *l = arg;
    int code = 0;
    if (l->c->json)
        return visit_json(l, e);
    if (!log_task_same(&l->task, e))
        code = end_task(l);
    if (code == 0 && l->ring == NULL && l->limit != 0 && l->count == l->limit) {
        l->more = true;
        return 1;
    }
    if (code == 0 && log_task_is(e))
        return log_task_add(&l->task, e) ? 0 : STRATA_NO_MEMORY;
    FILE *out = code == 0 ? line_begin(l) : NULL;
    if (out == NULL)
        return code != 0 ? code : STRATA_NO_MEMORY;
    put_origin(out, e, e->agent, e->replica);
    put_event(out, e);
    (void)fputc('\n', out);
    return line_end(l, out, e->cursor);
}

/* Fills the ring with the last ones before the end, and sets *next to the cursor after them. */
static int read_last(struct log *l, uint64_t *next)
{
    uint64_t end = 0, window = l->limit;
    int code = strata_events_end(l->c->s, &end);

    *next = end;
    while (code == STRATA_OK) {
        uint64_t after = end > window ? end - window : 0;
        l->ring->count = l->ring->next = 0;
        code = strata_events(l->c->s, after, 0, next, visit_log, l);
        if (code == STRATA_OK)
            code = end_task(l);
        /* The first one may have begun before the window: it is not among those that are shown. */
        l->more = l->ring->count > l->ring->size;
        if (code != STRATA_OK || l->more || after == 0)
            break;
        window *= 8;
    }
    return code;
}

/* The last `limit` ones. */
static int log_last(struct log *l, uint64_t *next)
{
    struct ring ring = {.size = l->limit};

    ring.slots = calloc(ring.size, sizeof(*ring.slots));
    if (ring.slots == NULL)
        return STRATA_NO_MEMORY;
    l->ring = &ring;
    int code = read_last(l, next);
    l->ring = NULL;
    size_t have = ring.count < ring.size ? ring.count : ring.size;
    size_t first = ring.count < ring.size ? 0 : ring.next;
    l->count = have;
    for (size_t i = 0; code == STRATA_OK && i < have; i++) {
        struct kept *k = &ring.slots[(first + i) % ring.size];
        if (k->line != NULL)
            (void)fputs(k->line, stdout);
        else
            code = show_json(l, json_incref(k->json));
    }
    ring_release(&ring);
    return code;
}

/* The first `limit` ones after a point. */
static int log_first(struct log *l, uint64_t after, uint64_t *next)
{
    uint64_t end = 0;
    int code = strata_events(l->c->s, after, l->c->json ? l->limit : 0, next, visit_log, l);
    if (code == STRATA_OK && !l->more)
        code = end_task(l);
    if (l->more)
        *next = l->told;
    else if (code == STRATA_OK && strata_events_end(l->c->s, &end) == STRATA_OK)
        l->more = l->limit != 0 && *next < end;
    return code;
}

static int follow(struct log *l, uint64_t cursor)
{
    for (;;) {
        (void)end_task(l);
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

#define LAST_MAX 100000 /* lines kept in memory to find the last ones */

static int finish(struct log *l, int code, uint64_t next, bool since)
{
    struct cli *c = l->c;
    (void)end_task(l);
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
    uint64_t after = 0, next = 0;
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
    if (follows && since)
        l.limit = 0;
    code = since || l.limit == 0 ? log_first(&l, after, &next) : log_last(&l, &next);
    l.limit = 0; /* what comes now is all shown */
    if (follows && code == STRATA_OK)
        code = follow(&l, next);
    return finish(&l, code, next, since);
}
