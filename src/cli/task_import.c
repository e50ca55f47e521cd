/* task_import.c - `import` and `export` of tasks. */
#include "cli/task_import.h"

#include "cli/task.h"

#include <stdlib.h>
#include <string.h>

/* --- import ----------------------------------------------------------------------------------- */

static json_t *unread_json(const struct task_items *t)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->unread_count && i < TASK_UNREAD_MAX; i++)
        (void)json_array_append_new(
            list, json_pack("{s:I,s:I,s:s}", "from", (json_int_t)t->unread[i].from, "to",
                            (json_int_t)t->unread[i].to, "why", t->unread[i].why));
    return list;
}

static void tell_unread(struct cli *c, const struct task_items *t)
{
    for (size_t i = 0; i < t->unread_count && i < TASK_UNREAD_MAX; i++) {
        const struct task_unread *u = &t->unread[i];
        if (u->from == u->to)
            cli_note(c, "%s, line %zu was not read: %s", c->args[0], u->from, u->why);
        else
            cli_note(c, "%s, lines %zu to %zu were not read: %s", c->args[0], u->from, u->to,
                     u->why);
    }
    if (t->unread_count > TASK_UNREAD_MAX)
        cli_note(c, "%zu more places were not read", t->unread_count - TASK_UNREAD_MAX);
}

/* A word such as in_progress holds a task here as it did there; who it was is not known. */
static size_t held_count(const struct task_items *t, const char **word)
{
    size_t count = 0;
    for (size_t i = 0; i < t->count; i++) {
        const char *state = t->list[i].state;
        if (state == NULL || strcmp(state, "done") == 0 || strcmp(state, "cancelled") == 0 ||
            strcmp(state, "failed") == 0 || strcmp(state, "open") == 0)
            continue;
        *word = state;
        count++;
    }
    return count;
}

static int report(struct cli *c, const char *format, const struct task_items *items,
                  const strata_task_imported *r)
{
    bool dry_run = cli_given(c, OPT_DRY_RUN);
    tell_unread(c, items);
    if (r->unknown > 0)
        cli_note(c, "%llu links to tasks that are nowhere were left out",
                 (unsigned long long)r->unknown);
    const char *word = "";
    size_t held = held_count(items, &word);
    if (held > 0)
        cli_note(c,
                 "%zu tasks are held by a word as `%s`, and by nobody: no agent gets them; "
                 "`strata list` shows them, `strata update N --state open` frees one",
                 held, word);
    if (c->json)
        return cli_json(c, json_pack("{s:s,s:s,s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "file",
                                     c->args[0], "format", format, "dry_run", dry_run, "added",
                                     (json_int_t)r->added, "changed", (json_int_t)r->changed,
                                     "same", (json_int_t)r->same, "held", (json_int_t)held,
                                     "unknown", (json_int_t)r->unknown, "records",
                                     (json_int_t)r->records, "unread", unread_json(items)));
    if (!c->quiet)
        (void)printf("%s: %llu tasks %s, %llu changed, %llu as before\n", format,
                     (unsigned long long)r->added, dry_run ? "would be added" : "added",
                     (unsigned long long)r->changed, (unsigned long long)r->same);
    return 0;
}

int task_import(struct cli *c, const char *format, const char *bytes, size_t n)
{
    struct task_items items = {.count = 0};
    strata_task_imported r;
    int code = strcmp(format, "beads") == 0 ? task_beads_parse(&items, bytes, n)
                                            : task_queue_parse(&items, bytes, n);
    int status = 0;
    if (code != STRATA_OK)
        status = cli_error(c, code, "nothing was written", "%s, line %zu (read as %s): %s",
                           c->args[0], items.error_line, format, items.error);
    if (status == 0)
        status = cli_open(c);
    if (status == 0) {
        code = strata_task_import(c->s, items.list, items.count, cli_given(c, OPT_DRY_RUN), &r);
        status = code == STRATA_OK ? report(c, format, &items, &r) : cli_fail(c, code);
    }
    task_items_release(&items);
    return status;
}

/* --- export ----------------------------------------------------------------------------------- */

struct name {
    char id[STRATA_TASK_SIZE];
    char *key;
};

struct names {
    struct name *list; /* by id */
    const char **keys; /* of all, sorted */
    size_t count, cap;
    char fallback[STRATA_TASK_SIZE + 8];
    FILE *out;
    uint64_t lines;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->id, ((const struct name *)b)->id);
}

static const char *key_of(void *arg, const char *id)
{
    struct names *n = arg;
    struct name wanted;
    (void)snprintf(wanted.id, sizeof(wanted.id), "%s", id);
    const struct name *found =
        n->count > 0 ? bsearch(&wanted, n->list, n->count, sizeof(wanted), compare_names) : NULL;
    if (found != NULL && found->key[0] != '\0')
        return found->key;
    (void)snprintf(n->fallback, sizeof(n->fallback), "strata-%s", id);
    return n->fallback;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool is_known(void *arg, const char *key)
{
    const struct names *n = arg;
    return n->count > 0 && bsearch(&key, n->keys, n->count, sizeof(*n->keys), compare_keys) != NULL;
}

static int visit_name(void *arg, const strata_task *t)
{
    struct names *n = arg;
    if (n->count == n->cap) {
        size_t cap = n->cap == 0 ? 256 : n->cap * 2;
        struct name *list = realloc(n->list, cap * sizeof(*list));
        if (list == NULL)
            return STRATA_NO_MEMORY;
        n->list = list;
        n->cap = cap;
    }
    struct name *one = &n->list[n->count];
    (void)snprintf(one->id, sizeof(one->id), "%s", t->id);
    one->key = strdup(t->key);
    n->count += one->key != NULL;
    return one->key != NULL ? 0 : STRATA_NO_MEMORY;
}

static int visit_export(void *arg, const strata_task *t)
{
    struct names *n = arg;
    const struct task_names names = {key_of, is_known, n};
    json_t *o = task_beads_object(t, &names);
    if (o == NULL)
        return STRATA_NO_MEMORY;
    int result = json_dumpf(o, n->out, JSON_COMPACT | JSON_PRESERVE_ORDER);
    json_decref(o);
    (void)fputc('\n', n->out);
    n->lines++;
    return result == 0 ? 0 : STRATA_IO;
}

int task_export(struct cli *c, FILE *out, uint64_t *lines)
{
    struct names n = {.out = out};
    strata_task_query q = {.size = sizeof(q), .view = STRATA_TASKS_ALL};
    int code = strata_task_each(c->s, &q, visit_name, &n);
    n.keys = calloc(n.count + 1, sizeof(*n.keys));
    if (code == STRATA_OK && n.keys == NULL)
        code = STRATA_NO_MEMORY;
    for (size_t i = 0; i < n.count && code == STRATA_OK; i++)
        n.keys[i] = n.list[i].key;
    if (n.count > 1 && code == STRATA_OK) {
        qsort(n.list, n.count, sizeof(*n.list), compare_names);
        qsort(n.keys, n.count, sizeof(*n.keys), compare_keys);
    }
    if (code == STRATA_OK)
        code = strata_task_each(c->s, &q, visit_export, &n);
    free(n.keys);
    for (size_t i = 0; i < n.count; i++)
        free(n.list[i].key);
    free(n.list);
    *lines = n.lines;
    return code;
}
