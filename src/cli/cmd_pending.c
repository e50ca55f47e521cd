/*
 * cmd_pending.c - what waits for somebody: pending and resolve. Operations and tasks that wait for a
 * person are listed with it, and settled by their own commands.
 *
 * resolve looks its entry up first, so that the answer can name the fact and what was taken.
 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

#define PENDING_VALUE_MAX 500

/* --- pending ---------------------------------------------------------------------------------- */

struct pending_list {
    struct cli *c;
    json_t *list;
    size_t limit, count;
    bool more;
};

static json_t *pending_json(const strata_pending *p)
{
    json_t *items = json_array();
    for (size_t i = 0; i < p->count; i++) {
        json_t *item = cli_json_item(&p->items[i]);
        if (p->kind == STRATA_PENDING_CONFLICT && item != NULL)
            (void)json_object_set_new(item, "number", json_integer((json_int_t)i + 1));
        if (json_array_append_new(items, item) != 0) {
            json_decref(items);
            return NULL;
        }
    }
    return json_pack("{s:s,s:s,s:s,s:s,s:o}", "id", p->id, "kind",
                     p->kind == STRATA_PENDING_CONFLICT ? "conflict" : "unseen", "entity",
                     p->entity, "attribute", p->attribute, "items", items);
}

static void put_value(const strata_item *item)
{
    if (item->kind == STRATA_ITEM_ABSENT) {
        (void)fputs("no value (unset)", stdout);
        return;
    }
    if (item->link)
        (void)fputs("-> ", stdout);
    cli_put_text(stdout, item->value, item->value_size, PENDING_VALUE_MAX);
}

static void put_entry(struct cli *c, const strata_pending *p)
{
    (void)printf("%s: ", p->id);
    cli_put_name(stdout, p->entity);
    (void)putchar(' ');
    cli_put_name(stdout, p->attribute);
    if (p->kind == STRATA_PENDING_CONFLICT)
        (void)printf(" was written in %zu places at once\n", p->count);
    else
        (void)fputs(" was overwritten by who had not read it\n", stdout);
    for (size_t i = 0; i < p->count; i++) {
        const strata_item *item = &p->items[i];
        if (p->kind == STRATA_PENDING_CONFLICT)
            (void)printf("  %zu) ", i + 1);
        else
            (void)fputs(i == 0 ? "  was " : "  now ", stdout);
        put_value(item);
        (void)fputs(" (", stdout);
        cli_put_origin(c, stdout, item->agent, item->replica, item->time_ms, true);
        bool shown = p->kind == STRATA_PENDING_CONFLICT && item->shown;
        (void)fputs(shown ? ", shown meanwhile)\n" : ")\n", stdout);
    }
}

static int visit_pending(void *arg, const strata_pending *p)
{
    struct pending_list *l = arg;
    if (l->limit != 0 && l->count == l->limit) {
        l->more = true;
        return 1;
    }
    l->count++;
    if (l->c->json)
        return json_array_append_new(l->list, pending_json(p)) == 0 ? 0 : STRATA_NO_MEMORY;
    put_entry(l->c, p);
    return ferror(stdout) ? 1 : 0;
}

static int visit_any(void *arg, const strata_pending *p)
{
    (void)p;
    *(bool *)arg = true;
    return 1;
}

int cmd_pending(struct cli *c)
{
    struct pending_list l = {.c = c};
    bool unseen = cli_given(c, OPT_UNSEEN), any = false;
    int kind = unseen ? STRATA_PENDING_UNSEEN : STRATA_PENDING_CONFLICT;
    int status = cli_limit(c, &l.limit);

    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    if (c->json)
        l.list = json_array();
    size_t limit = l.limit != 0 ? l.limit + 1 : 0;
    int code = strata_pending_each(c->s, kind, limit, visit_pending, &l);
    if (code != STRATA_OK && code != STRATA_NOT_FOUND) {
        json_decref(l.list);
        return cli_fail(c, code);
    }
    size_t in_doubt = 0, approval = 0, given_up = 0;
    json_t *operations = c->json ? json_array() : NULL, *tasks = c->json ? json_array() : NULL;
    if (!unseen)
        code = cli_operations_waiting(c, operations, &in_doubt, &approval);
    if (!unseen && (code == STRATA_OK || code == STRATA_NOT_FOUND))
        code = cli_tasks_given_up(c, tasks, l.limit, &given_up);
    if (code != STRATA_OK && code != STRATA_NOT_FOUND) {
        json_decref(l.list);
        json_decref(operations);
        json_decref(tasks);
        return cli_fail(c, code);
    }
    if (c->json)
        return cli_json(c, json_pack("{s:o,s:b,s:o,s:o}", "pending", l.list, "more", l.more,
                                     "operations", operations, "tasks", tasks));
    if (in_doubt > 0)
        cli_note(c, "a person finds out what happened, and says so: strata op settle KEY --outcome "
                    "committed|failed|retry --evidence TEXT");
    if (approval > 0)
        cli_note(c,
                 "a person decides: strata op approve KEY, or strata op reject KEY --reason TEXT");
    if (given_up > 0)
        cli_note(c, "a person decides: strata update N --reopen tries again, strata cancel N gives "
                    "it up for good, and what waits for it goes on");
    if (l.count == 0 && in_doubt + approval + given_up > 0)
        return 0;
    if (l.count == 0)
        (void)puts(unseen ? "nothing was overwritten unseen" : "nothing is pending");
    else
        cli_note(c, unseen ? "when you have looked at one: strata resolve ID --seen"
                           : "to settle one: strata resolve ID --take N (or latest, or --value V)");
    if (l.more)
        cli_note(c, "there is more; --limit N prints more, --limit 0 all");
    if (!unseen && !c->quiet) {
        (void)strata_pending_each(c->s, STRATA_PENDING_UNSEEN, 1, visit_any, &any);
        if (any)
            cli_note(c, "some values were overwritten unseen: strata pending --unseen");
    }
    return 0;
}

/* --- resolve ---------------------------------------------------------------------------------- */

/* The pending entry that is settled, copied out of the visitor. */
struct subject {
    const char *id;
    bool found;
    size_t number; /* the candidate to take, 0: the shown one */
    char entity[CLI_NAME_SIZE_MAX + 1], attribute[CLI_NAME_SIZE_MAX + 1];
    size_t count;
    char value[256]; /* what will be taken, for the answer */
};

static int visit_subject(void *arg, const strata_pending *p)
{
    struct subject *s = arg;
    if (strcmp(p->id, s->id) != 0)
        return 0;
    s->found = true;
    s->count = p->count;
    (void)snprintf(s->entity, sizeof(s->entity), "%s", p->entity);
    (void)snprintf(s->attribute, sizeof(s->attribute), "%s", p->attribute);
    for (size_t i = 0; i < p->count; i++) {
        bool taken = s->number != 0 ? i + 1 == s->number : p->items[i].shown;
        if (taken && p->items[i].kind == STRATA_ITEM_ABSENT)
            (void)snprintf(s->value, sizeof(s->value), "no value (unset)");
        else if (taken)
            cli_clean(p->items[i].value, s->value, sizeof(s->value));
    }
    return 1;
}

/* Of a task: it is opened or cancelled by its own commands, once it has failed too often. */
static int not_pending(struct cli *c, const struct subject *s, int kind)
{
    char shown[96], hint[STRATA_TASK_SIZE * 2 + 120];
    const char *see =
        kind == STRATA_PENDING_UNSEEN ? "see: strata pending --unseen" : "see: strata pending";
    strata_task t;
    bool is_task =
        s->id[0] >= '0' && s->id[0] <= '9' && strata_task_get(c->s, s->id, &t) == STRATA_OK;
    cli_clean(s->id, shown, sizeof(shown));
    if (!is_task)
        return cli_error(c, STRATA_NOT_FOUND, see,
                         "%s is not pending; perhaps it has been settled already", shown);
    if (strcmp(t.state, "failed") != 0)
        return cli_error(c, STRATA_INVALID, "see: strata pending, and strata show N",
                         "%s is a task, and %s; values of it that are pending have an ID of their "
                         "own",
                         shown, t.state);
    (void)snprintf(
        hint, sizeof(hint),
        "strata update %s --reopen tries it again; strata cancel %s gives it up for good, "
        "and what waits for it goes on",
        t.id, t.id);
    return cli_error(c, STRATA_INVALID, hint, "%s is a task that has failed: nothing to resolve",
                     shown);
}

static int find_subject(struct cli *c, struct subject *s, int kind)
{
    int code = strata_pending_each(c->s, kind, 0, visit_subject, s);
    if (code != STRATA_OK && code != STRATA_NOT_FOUND)
        return cli_fail(c, code);
    if (!s->found)
        return not_pending(c, s, kind);
    if (c->options[OPT_TAKE] == NULL && !cli_given(c, OPT_VALUE) && !cli_given(c, OPT_SEEN))
        return cli_usage(c, "give one of --take N, --take latest, --value V, --seen");
    if (s->number > s->count)
        return cli_error(c, STRATA_INVALID, "see: strata pending", "%s has only %zu values", s->id,
                         s->count);
    return 0;
}

static int put_settled(struct cli *c, const struct subject *s, const strata_written *w)
{
    if (c->json)
        return cli_json(c, json_pack("{s:s,s:s,s:s,s:o,s:s,s:o}", "settled", s->id, "entity",
                                     s->entity, "attribute", s->attribute, "value",
                                     cli_json_text(s->value, strlen(s->value)), "id", w->id, "time",
                                     cli_json_time(w->time_ms)));
    if (c->quiet) {
        (void)printf("%s\n", w->id);
        return 0;
    }
    cli_put_name(stdout, s->entity);
    (void)putchar(' ');
    cli_put_name(stdout, s->attribute);
    (void)printf(" = %s (settled; the other values stay in the history)\n", s->value);
    return 0;
}

static int resolve_seen(struct cli *c)
{
    struct subject s = {.id = c->args[0]};
    strata_written written = {0};
    int status = find_subject(c, &s, STRATA_PENDING_UNSEEN);
    if (status != 0)
        return status;
    int code = strata_resolve(c->s, s.id, NULL, &written);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, json_pack("{s:s,s:s,s:s,s:s}", "seen", s.id, "entity", s.entity,
                                     "attribute", s.attribute, "id", written.id));
    if (c->quiet)
        (void)printf("%s\n", written.id);
    else
        (void)printf("noted: %s has been looked at\n", s.id);
    return 0;
}

/* A merge has written the file, and settling writes nothing but the state. */
static void note_merged(struct cli *c, const struct subject *s)
{
    size_t n = strlen(s->attribute), mark = sizeof(STRATA_MERGE_MARK) - 1;
    if (strata_entity_kind(s->entity) == STRATA_ENTITY_DOCUMENT && n > mark &&
        strcmp(s->attribute + n - mark, STRATA_MERGE_MARK) == 0)
        cli_note(c,
                 "the file is as the merge left it; if something else is to stand there, edit it");
}

static int resolve_one(struct cli *c, strata_resolution *resolution)
{
    struct subject s = {.id = c->args[0]};
    strata_written written = {0};

    s.number = resolution->take == STRATA_TAKE_NUMBER ? resolution->number : 0;
    int status = find_subject(c, &s, STRATA_PENDING_CONFLICT);
    if (status != 0)
        return status;
    int code = strata_resolve(c->s, s.id, resolution, &written);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (resolution->take == STRATA_TAKE_VALUE)
        cli_clean(resolution->value, s.value, sizeof(s.value));
    status = put_settled(c, &s, &written);
    note_merged(c, &s);
    return status;
}

static int resolve_all(struct cli *c)
{
    size_t count = 0;
    const char *under = c->options[OPT_UNDER];
    int status = under != NULL ? cli_name_check(c, "--under", under) : 0;
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_resolve_all(c->s, under, &count);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, json_pack("{s:I}", "count", (json_int_t)count));
    if (c->quiet)
        (void)printf("%zu\n", count);
    else
        (void)printf("settled %zu by the latest value; the other values stay in the history\n",
                     count);
    return 0;
}

/* What goes together; says what to give instead. */
static int check_resolve(struct cli *c)
{
    const char *take = c->options[OPT_TAKE];
    int ways = (take != NULL) + cli_given(c, OPT_VALUE) + cli_given(c, OPT_SEEN);

    if (cli_given(c, OPT_ALL_PENDING)) {
        if (c->arg_count > 0)
            return cli_usage(c, "give either ID or --all");
        if (ways != 1 || take == NULL || strcmp(take, "latest") != 0)
            return cli_usage(c, "--all goes with --take latest only");
        return 0;
    }
    if (c->arg_count == 0)
        return cli_usage(c, "resolve needs an ID from `strata pending`, or --all --take latest");
    if (cli_given(c, OPT_UNDER))
        return cli_usage(c, "--under goes with --all");
    /* What is no ID is told first, see not_pending(). */
    if (ways != 1 && (ways > 1 || c->args[0][0] < '0' || c->args[0][0] > '9'))
        return cli_usage(c, "give one of --take N, --take latest, --value V, --seen");
    if (cli_given(c, OPT_LINK) && !cli_given(c, OPT_VALUE))
        return cli_usage(c, "--link goes with --value");
    return 0;
}

int cmd_resolve(struct cli *c)
{
    strata_resolution resolution = {.size = sizeof(resolution), .take = STRATA_TAKE_LATEST};
    struct cli_text value = {0};
    const char *take = c->options[OPT_TAKE];
    uint64_t number = 0;
    int status = check_resolve(c);

    if (status != 0)
        return status;
    if (cli_given(c, OPT_ALL_PENDING))
        return resolve_all(c);
    if (take != NULL && strcmp(take, "latest") != 0) {
        status = cli_number(c, "--take (a number or `latest`)", take, 1000000, &number);
        if (status == 0 && number == 0)
            status = cli_usage(c, "--take counts from 1");
        resolution.take = STRATA_TAKE_NUMBER;
        resolution.number = (size_t)number;
    } else if (cli_given(c, OPT_VALUE)) {
        status = cli_text_read(c, "--value", c->options[OPT_VALUE], CLI_VALUE_SIZE_MAX, &value);
        resolution.take = STRATA_TAKE_VALUE;
        resolution.value = value.p;
        resolution.value_size = value.n;
        resolution.link = cli_given(c, OPT_LINK);
    }
    if (status == 0)
        status = cli_open(c);
    if (status == 0)
        status = cli_given(c, OPT_SEEN) ? resolve_seen(c) : resolve_one(c, &resolution);
    cli_text_release(&value);
    return status;
}
