/* cmd_task_list.c - reading tasks: ready, list, show. */
#include "cli/task.h"

#include <stdlib.h>
#include <string.h>

/* What a task waits for that is named in a line. */
#define WAITS_NAMED_MAX 5
/* Tasks of one tree or one graph: what a person can look at, several times over. */
#define TREE_TASKS_MAX 100000

/* --- JSON ------------------------------------------------------------------------------------- */

json_t *task_json_name(const char *id)
{
    if (id[0] == '\0')
        return json_null();
    if (id[0] == '#')
        id++;
    bool plain = strspn(id, "0123456789") == strlen(id);
    return plain ? json_integer(strtoll(id, NULL, 10)) : json_string(id);
}

static json_t *depends_json(const strata_task *t)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->depends_count; i++)
        (void)json_array_append_new(list, task_json_name(t->depends[i]));
    return list;
}

static json_t *text_or_null(const char *text, size_t size)
{
    return size > 0 ? cli_json_text(text, size) : json_null();
}

json_t *task_json(const strata_task *t, bool whole)
{
    json_t *o = json_pack("{s:o,s:o,s:s,s:i,s:o,s:I,s:s,s:s,s:o,s:s,s:o,s:s,s:o,s:b,s:s}", "seq",
                          task_json_name(t->id), "title", cli_json_text(t->title, strlen(t->title)),
                          "state", t->state, "priority", t->priority, "depends", depends_json(t),
                          "waits", (json_int_t)t->waits, "channel", t->channel, "agent", t->agent,
                          "parent", task_json_name(t->parent), "key", t->key, "not_before",
                          cli_json_time(t->not_before_ms), "author", t->author, "created_at",
                          cli_json_time(t->created_ms), "pending", t->pending, "holder", t->holder);
    if (o == NULL || !whole)
        return o;
    int bad = json_object_set_new(o, "data", text_or_null(t->data, t->data_size));
    bad |= json_object_set_new(o, "checkpoint", text_or_null(t->checkpoint, t->checkpoint_size));
    bad |= json_object_set_new(o, "result", text_or_null(t->result, t->result_size));
    bad |= json_object_set_new(o, "reason", text_or_null(t->reason, strlen(t->reason)));
    if (bad == 0)
        return o;
    json_decref(o);
    return NULL;
}

/* --- lines ------------------------------------------------------------------------------------ */

static void put_task(FILE *f, const strata_task *t)
{
    (void)fprintf(f, "%s  P%d  %s  ", t->id, t->priority, t->state);
    cli_put_text(f, t->title, strlen(t->title), 120);
    const char *between = "  (";
    if (strcmp(t->channel, "default") != 0) {
        (void)fputs("  (channel ", f);
        cli_put_text(f, t->channel, strlen(t->channel), 0);
        between = ", ";
    }
    if (t->holder[0] != '\0') {
        (void)fprintf(f, "%sclaimed by ", between);
        cli_put_text(f, t->holder, strlen(t->holder), 0);
        between = ", ";
    }
    if (t->agent[0] != '\0') {
        (void)fprintf(f, "%sfor ", between);
        cli_put_text(f, t->agent, strlen(t->agent), 0);
        between = ", ";
    }
    (void)fputs(between[0] == ',' ? ")" : "", f);
    if (t->pending)
        (void)fputs("  [pending]", f);
}

/* --- lists ------------------------------------------------------------------------------------ */

/* What a listing shows; the names are copies, since a visitor must not ask for more. */
struct task_list {
    struct cli *c;
    size_t limit, count;
    bool more;
    json_t *json;
    char (*ids)[STRATA_TASK_SIZE]; /* with `keep`: of what is shown */
    bool keep;
};

static int visit_listed(void *arg, const strata_task *t)
{
    struct task_list *l = arg;
    if (l->limit != 0 && l->count == l->limit) {
        l->more = true;
        return 1;
    }
    l->count++;
    if (l->keep) {
        void *grown = realloc(l->ids, l->count * sizeof(*l->ids));
        if (grown == NULL)
            return STRATA_NO_MEMORY;
        l->ids = grown;
        (void)snprintf(l->ids[l->count - 1], STRATA_TASK_SIZE, "%s", t->id);
        return 0;
    }
    if (l->c->json)
        return json_array_append_new(l->json, task_json(t, false)) == 0 ? 0 : STRATA_NO_MEMORY;
    put_task(stdout, t);
    (void)putchar('\n');
    return ferror(stdout) ? 1 : 0;
}

int task_filters(struct cli *c, strata_task_query *q)
{
    q->channel = c->options[OPT_CHANNEL];
    q->agent = c->options[OPT_FOR_AGENT];
    q->parent = c->options[OPT_PARENT];
    q->after = c->options[OPT_AFTER_TASK];
    return 0;
}

static int list_begin(struct cli *c, struct task_list *l, strata_task_query *q)
{
    *l = (struct task_list){.c = c};
    int status = cli_limit(c, &l->limit);
    if (status == 0)
        status = task_filters(c, q);
    q->limit = l->limit != 0 ? l->limit + 1 : 0;
    if (status == 0)
        status = cli_open(c);
    if (status == 0 && c->json)
        l->json = json_array();
    return status;
}

static int list_end(struct task_list *l, int code, const char *nothing)
{
    struct cli *c = l->c;
    if (code != STRATA_OK) {
        json_decref(l->json);
        return cli_fail(c, code);
    }
    if (l->more)
        cli_note(c, "there are more; --limit 0 shows all");
    if (c->json)
        return cli_json(c, l->json);
    if (l->count == 0)
        cli_note(c, "%s", nothing);
    return 0;
}

int cmd_ready(struct cli *c)
{
    strata_task_query q = {.size = sizeof(q), .view = STRATA_TASKS_READY};
    struct task_list l;
    int status = list_begin(c, &l, &q);
    if (status != 0)
        return status;
    return list_end(&l, strata_task_each(c->s, &q, visit_listed, &l),
                    "nothing is ready; `strata list --blocked` shows what waits for what");
}

/* --- what was given up ------------------------------------------------------------------------ */

static int visit_given_up(void *arg, const strata_task *t)
{
    struct task_list *l = arg;
    if (l->limit != 0 && l->count == l->limit) {
        l->more = true;
        return 1;
    }
    l->count++;
    if (l->json != NULL)
        return json_array_append_new(l->json, task_json(t, true)) == 0 ? 0 : STRATA_NO_MEMORY;
    (void)printf("%s: failed %d times", t->id, STRATA_TASK_RETRIES);
    if (t->reason[0] != '\0') {
        (void)fputs(": ", stdout);
        cli_put_text(stdout, t->reason, strlen(t->reason), 200);
    }
    (void)fputs("  (", stdout);
    cli_put_text(stdout, t->title, strlen(t->title), 120);
    (void)fputs(")\n", stdout);
    return ferror(stdout) ? 1 : 0;
}

int cli_tasks_given_up(struct cli *c, json_t *list, size_t limit, size_t *count)
{
    strata_task_query q = {.size = sizeof(q), .view = STRATA_TASKS_GIVEN_UP};
    struct task_list l = {.c = c, .limit = limit, .json = list};
    q.limit = limit != 0 ? limit + 1 : 0;
    int code = strata_task_each(c->s, &q, visit_given_up, &l);
    *count = l.count;
    if (l.more)
        cli_note(c, "more tasks have failed too often; --limit 0 shows all");
    return code;
}

/* --- what waits ------------------------------------------------------------------------------- */

struct waits {
    struct cli *c;
    size_t count;
    json_t *json;
};

static int visit_waited_for(void *arg, const strata_task *t)
{
    struct waits *w = arg;
    w->count++;
    if (w->c->json) {
        json_t *o = json_pack("{s:o,s:s,s:s}", "seq", task_json_name(t->id), "state", t->state,
                              "title", t->title);
        return json_array_append_new(w->json, o) == 0 ? 0 : STRATA_NO_MEMORY;
    }
    if (w->count <= WAITS_NAMED_MAX)
        (void)printf("%s%s (%s)", w->count > 1 ? ", " : "", t->id, t->state);
    return 0;
}

static int show_blocked(struct task_list *l, const char *id)
{
    struct cli *c = l->c;
    struct waits w = {.c = c, .json = c->json ? json_array() : NULL};
    const char *cycle = "";
    strata_task t;
    int code = strata_task_get(c->s, id, &t);
    if (code != STRATA_OK)
        return code;
    json_t *o = c->json ? task_json(&t, false) : NULL;
    if (!c->json) {
        put_task(stdout, &t);
        (void)fputs("\n    waits for ", stdout);
    }
    code = strata_task_waits_for(c->s, id, 0, visit_waited_for, &w);
    if (code == STRATA_OK)
        code = strata_task_cycle(c->s, id, &cycle);
    if (code == STRATA_LIMIT)
        code = STRATA_OK; /* too large to look through */
    if (code != STRATA_OK)
        return code;
    if (c->json) {
        (void)json_object_set_new(o, "waits_for", w.json);
        (void)json_object_set_new(o, "cycle", cycle[0] != '\0' ? json_string(cycle) : json_null());
        return json_array_append_new(l->json, o) == 0 ? STRATA_OK : STRATA_NO_MEMORY;
    }
    if (w.count > WAITS_NAMED_MAX)
        (void)printf(" and %zu more", w.count - WAITS_NAMED_MAX);
    (void)putchar('\n');
    if (cycle[0] != '\0')
        (void)printf("    a cycle: %s; `strata dep remove` opens it\n", cycle);
    return STRATA_OK;
}

static int list_blocked(struct cli *c)
{
    strata_task_query q = {.size = sizeof(q), .view = STRATA_TASKS_BLOCKED};
    struct task_list l;
    int status = list_begin(c, &l, &q);
    if (status != 0)
        return status;
    l.keep = true;
    int code = strata_task_each(c->s, &q, visit_listed, &l);
    for (size_t i = 0; i < l.count && code == STRATA_OK; i++)
        code = show_blocked(&l, l.ids[i]);
    status = list_end(&l, code, "nothing waits for anything");
    free(l.ids);
    return status;
}

/* --- tree and graph --------------------------------------------------------------------------- */

struct branch {
    char id[STRATA_TASK_SIZE], parent[STRATA_TASK_SIZE];
    char *line;
    bool shown;
};

struct tree {
    struct cli *c;
    struct branch *list;
    size_t count, cap;
};

static int visit_branch(void *arg, const strata_task *t)
{
    struct tree *tree = arg;
    if (tree->count == tree->cap) {
        size_t cap = tree->cap == 0 ? 64 : tree->cap * 2;
        void *grown = realloc(tree->list, cap * sizeof(*tree->list));
        if (grown == NULL)
            return STRATA_NO_MEMORY;
        tree->list = grown;
        tree->cap = cap;
    }
    struct branch *b = &tree->list[tree->count];
    *b = (struct branch){.shown = false};
    (void)snprintf(b->id, sizeof(b->id), "%s", t->id);
    (void)snprintf(b->parent, sizeof(b->parent), "%s", t->parent);
    size_t size;
    FILE *f = open_memstream(&b->line, &size);
    if (f == NULL)
        return STRATA_NO_MEMORY;
    tree->count++;
    put_task(f, t);
    (void)fputc('\n', f);
    return fclose(f) == 0 ? 0 : STRATA_NO_MEMORY;
}

static int compare_parents(const void *a, const void *b)
{
    const struct branch *x = a, *y = b;
    int order = strcmp(x->parent, y->parent);
    return order != 0 ? order : strverscmp(x->id, y->id);
}

/* The first part of a task in the sorted list. */
static size_t first_part(const struct tree *t, const char *parent)
{
    size_t low = 0, high = t->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(t->list[middle].parent, parent) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* A task that is part of itself, by way of others, is shown once. */
static void put_branch(struct tree *t, struct branch *b, int depth)
{
    if (b->shown)
        return;
    b->shown = true;
    (void)printf("%*s%s", depth * 2, "", b->line);
    for (size_t i = first_part(t, b->id); i < t->count && strcmp(t->list[i].parent, b->id) == 0;
         i++)
        put_branch(t, &t->list[i], depth < 20 ? depth + 1 : depth);
}

static bool is_listed(const struct tree *t, const char *id)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->list[i].id, id) == 0)
            return true;
    return false;
}

static int list_tree(struct cli *c, strata_task_query *q)
{
    struct tree t = {.c = c};
    q->limit = TREE_TASKS_MAX;
    int code = strata_task_each(c->s, q, visit_branch, &t);
    if (t.count > 1)
        qsort(t.list, t.count, sizeof(*t.list), compare_parents);
    for (size_t i = 0; i < t.count && code == STRATA_OK; i++)
        if (t.list[i].parent[0] == '\0' || !is_listed(&t, t.list[i].parent))
            put_branch(&t, &t.list[i], 0);
    for (size_t i = 0; i < t.count && code == STRATA_OK; i++)
        put_branch(&t, &t.list[i], 0);
    for (size_t i = 0; i < t.count; i++)
        free(t.list[i].line);
    free(t.list);
    return code == STRATA_OK ? 0 : cli_fail(c, code);
}

static int visit_dot(void *arg, const strata_task *t)
{
    (void)arg;
    (void)printf("  \"%s\" [label=\"%s ", t->id, t->id);
    for (const char *p = t->title; *p != '\0' && p - t->title < 60; p++)
        if ((unsigned char)*p >= 0x20)
            (void)printf("%s%c", *p == '"' || *p == '\\' ? "\\" : "", *p);
    (void)printf("\"%s];\n", t->finished ? ",style=dashed" : "");
    for (size_t i = 0; i < t->depends_count; i++)
        (void)printf("  \"%s\" -> \"%s\";\n", t->id, t->depends[i]);
    if (t->parent[0] != '\0')
        (void)printf("  \"%s\" -> \"%s\" [style=dotted];\n", t->id, t->parent);
    return ferror(stdout) ? 1 : 0;
}

static int list_dot(struct cli *c, strata_task_query *q)
{
    (void)puts("digraph tasks {\n  node [shape=box];");
    q->limit = TREE_TASKS_MAX;
    int code = strata_task_each(c->s, q, visit_dot, NULL);
    (void)puts("}");
    return code == STRATA_OK ? 0 : cli_fail(c, code);
}

int cmd_list(struct cli *c)
{
    strata_task_query q = {.size = sizeof(q), .view = STRATA_TASKS_UNFINISHED};
    struct task_list l;
    bool tree = cli_given(c, OPT_TREE), dot = cli_given(c, OPT_DOT);
    if (cli_given(c, OPT_BLOCKED))
        return tree || dot ? cli_usage(c, "give one of --blocked, --tree, --dot") : list_blocked(c);
    if (tree && dot)
        return cli_usage(c, "give one of --blocked, --tree, --dot");
    if ((tree || dot) && c->json)
        return cli_usage(c, "--tree and --dot are for people; --json has `parent` and `depends`");
    if (cli_given(c, OPT_ALL_TASKS))
        q.view = STRATA_TASKS_ALL;
    int status = list_begin(c, &l, &q);
    if (status != 0)
        return status;
    if (tree || dot)
        return tree ? list_tree(c, &q) : list_dot(c, &q);
    return list_end(&l, strata_task_each(c->s, &q, visit_listed, &l), "there are no tasks");
}

/* --- show ------------------------------------------------------------------------------------- */

static int visit_history(void *arg, const strata_event *e)
{
    return json_array_append_new(arg, cli_json_event(e)) == 0 ? 0 : STRATA_NO_MEMORY;
}

static void put_field(const char *name, const char *text, size_t size)
{
    if (size == 0)
        return;
    (void)printf("%-11s", name);
    cli_put_text(stdout, text, size, 0);
    (void)putchar('\n');
}

static void show_text(struct cli *c, const strata_task *t)
{
    char stamp[CLI_STAMP_SIZE];
    put_task(stdout, t);
    (void)putchar('\n');
    (void)fputs("added      ", stdout);
    cli_put_origin(c, stdout, t->author, "", t->created_ms, false);
    (void)putchar('\n');
    put_field("key", t->key, strlen(t->key));
    put_field("part of", t->parent, strlen(t->parent));
    if (t->not_before_ms != 0) {
        cli_stamp(t->not_before_ms, stamp);
        put_field("not before", stamp, strlen(stamp));
    }
    put_field("data", t->data, t->data_size);
    put_field("checkpoint", t->checkpoint, t->checkpoint_size);
    put_field("result", t->result, t->result_size);
    put_field("reason", t->reason, strlen(t->reason));
    if (t->depends_count > 0)
        (void)fputs("after      ", stdout);
    for (size_t i = 0; i < t->depends_count; i++)
        (void)printf("%s%s", i > 0 ? ", " : "", t->depends[i]);
    (void)fputs(t->depends_count > 0 ? "\n" : "", stdout);
}

static int put_history(void *arg, const strata_event *e)
{
    struct cli *c = arg;
    if (e->attribute[0] == '\0')
        return 0;
    (void)fputs("    ", stdout);
    cli_put_text(stdout, e->attribute, strlen(e->attribute), 0);
    (void)fputs(e->kind == STRATA_UNSET    ? " taken away"
                : e->kind == STRATA_ADD    ? " + "
                : e->kind == STRATA_REMOVE ? " - "
                                           : " = ",
                stdout);
    cli_put_text(stdout, e->value, e->value_size, 100);
    (void)fputs("  (", stdout);
    cli_put_origin(c, stdout, e->agent, e->replica, e->time_ms, true);
    (void)fputs(")\n", stdout);
    return 0;
}

int cmd_show(struct cli *c)
{
    strata_task t;
    char entity[STRATA_TASK_SIZE + 1];
    int status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_task_get(c->s, c->args[0], &t);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    (void)snprintf(entity, sizeof(entity), "#%s", t.id);
    if (!c->json) {
        show_text(c, &t);
        (void)puts("history, newest first");
        code = strata_history(c->s, entity, NULL, CLI_LIMIT_DEFAULT, put_history, c);
        return code == STRATA_OK ? 0 : cli_fail(c, code);
    }
    json_t *o = task_json(&t, true), *history = json_array();
    code = strata_history(c->s, entity, NULL, CLI_LIMIT_DEFAULT, visit_history, history);
    if (code != STRATA_OK) {
        json_decref(o);
        json_decref(history);
        return cli_fail(c, code);
    }
    (void)json_object_set_new(o, "history", history);
    return cli_json(c, o);
}
