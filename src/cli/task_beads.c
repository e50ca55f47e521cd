/*
 * task_beads.c - issues as the tracker beads keeps them, one JSON object a line:
 *
 *   {"id":..,"title":..,"description":..,"status":..,"priority":..,"dependencies":
 *    [{"issue_id":..,"depends_on_id":..,"type":..}],...}
 *
 * id is the task's key, description its data. closed is done, tombstone cancelled, any other status
 * but open holds the task. Of dependencies blocks and blocked-by are what it waits for,
 * parent-child is its parent, the others links of their own kind. Everything but id, title,
 * description and priority is kept as it is, so that it can be given back.
 */
#include "cli/task_import.h"

#include <stdlib.h>
#include <string.h>

#define DATA_MAX 65536

static const char *state_of(const char *status)
{
    if (strcmp(status, "open") == 0)
        return NULL;
    if (strcmp(status, "closed") == 0)
        return "done";
    return strcmp(status, "tombstone") == 0 ? "cancelled" : status;
}

static const char *text_field(json_t *o, const char *name)
{
    return json_string_value(json_object_get(o, name));
}

static int read_links(struct task_items *t, size_t line, json_t *o, strata_task_item *item)
{
    json_t *list = json_object_get(o, "dependencies");
    size_t count = json_array_size(list);
    struct strata_task_link *links =
        count > 0 ? task_items_memory(t, count * sizeof(*links)) : NULL;
    if (count > 0 && links == NULL)
        return task_items_fail(t, STRATA_NO_MEMORY, line, "out of memory");
    item->links = links;
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_array_get(list, i);
        const char *type = text_field(one, "type"), *on = text_field(one, "depends_on_id");
        if (type == NULL || type[0] == '\0' || on == NULL || on[0] == '\0')
            return task_items_fail(t, STRATA_INVALID, line,
                                   "a dependency needs \"type\" and \"depends_on_id\"");
        char *key = task_items_text(t, on, strlen(on));
        bool blocks = strcmp(type, "blocks") == 0 || strcmp(type, "blocked-by") == 0;
        char *kind =
            blocks ? task_items_text(t, "depends", 7) : task_items_text(t, type, strlen(type));
        if (key == NULL || kind == NULL)
            return task_items_fail(t, STRATA_NO_MEMORY, line, "out of memory");
        if (strcmp(type, "parent-child") == 0 && item->parent == NULL)
            item->parent = key;
        else
            links[item->link_count++] = (struct strata_task_link){kind, key};
    }
    return STRATA_OK;
}

static int read_rest(struct task_items *t, size_t line, json_t *o, strata_task_item *item)
{
    (void)json_object_del(o, "id");
    (void)json_object_del(o, "title");
    if (item->data != NULL)
        (void)json_object_del(o, "description");
    if (item->priority != STRATA_PRIORITY_NONE)
        (void)json_object_del(o, "priority");
    char *rest = json_dumps(o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    if (rest == NULL)
        return task_items_fail(t, STRATA_NO_MEMORY, line, "out of memory");
    item->imported = task_items_text(t, rest, strlen(rest));
    item->imported_size = strlen(rest);
    free(rest);
    return item->imported != NULL ? STRATA_OK
                                  : task_items_fail(t, STRATA_NO_MEMORY, line, "out of memory");
}

static int read_issue(struct task_items *t, size_t line, json_t *o)
{
    const char *id = text_field(o, "id"), *title = text_field(o, "title");
    const char *status = text_field(o, "status");
    json_t *description = json_object_get(o, "description");
    json_t *priority = json_object_get(o, "priority");
    if (id == NULL || title == NULL || id[0] == '\0' || title[0] == '\0')
        return task_items_fail(t, STRATA_INVALID, line, "an issue needs \"id\" and \"title\"");
    strata_task_item *item = task_items_add(t);
    if (item == NULL)
        return task_items_fail(t, STRATA_NO_MEMORY, line, "out of memory");
    item->key = task_items_text(t, id, strlen(id));
    item->title = task_items_text(t, title, strlen(title));
    const char *state = status != NULL ? state_of(status) : NULL;
    item->state = state != NULL ? task_items_text(t, state, strlen(state)) : NULL;
    if (json_is_string(description) && json_string_length(description) > 0) {
        item->data_size = json_string_length(description);
        item->data = task_items_text(t, json_string_value(description), item->data_size);
    }
    if (json_is_integer(priority) && json_integer_value(priority) >= 0 &&
        json_integer_value(priority) <= 4)
        item->priority = (int)json_integer_value(priority);
    if (item->key == NULL || item->title == NULL)
        return task_items_fail(t, STRATA_NO_MEMORY, line, "out of memory");
    if (item->data_size > DATA_MAX)
        return task_items_fail(t, STRATA_LIMIT, line, "the description has more than %d bytes",
                               DATA_MAX);
    int code = read_links(t, line, o, item);
    return code == STRATA_OK ? read_rest(t, line, o, item) : code;
}

int task_beads_parse(struct task_items *t, const char *bytes, size_t n)
{
    size_t line = 0;
    int code = STRATA_OK;
    for (size_t at = 0; at < n && code == STRATA_OK;) {
        const char *end = memchr(bytes + at, '\n', n - at);
        size_t size = end != NULL ? (size_t)(end - bytes) - at : n - at;
        json_error_t e;
        line++;
        if (size > 0 && !(size == 1 && bytes[at] == '\r')) {
            json_t *o = json_loadb(bytes + at, size, JSON_REJECT_DUPLICATES, &e);
            code = json_is_object(o)
                       ? read_issue(t, line, o)
                       : task_items_fail(t, STRATA_INVALID, line, "no JSON object: %s",
                                         o == NULL ? e.text : "something else");
            json_decref(o);
        }
        at += size + 1;
    }
    return code;
}

/* --- giving back ------------------------------------------------------------------------------ */

/* The status that it came with, if it still means what the task is; else ours. */
static void put_status(json_t *o, const strata_task *t)
{
    const char *was = text_field(o, "status");
    bool open =
        !t->finished && (strcmp(t->state, "ready") == 0 || strcmp(t->state, "waiting") == 0 ||
                         strcmp(t->state, "deferred") == 0);
    const char *now = open ? "open" : strcmp(t->state, "claimed") == 0 ? "in_progress" : t->state;
    const char *meant = was != NULL ? state_of(was) : NULL;
    if (open && was == NULL && json_object_get(o, "status") != NULL)
        return; /* no word, so nothing that it could mean */
    if (was != NULL && strcmp(meant != NULL ? meant : "open", now) == 0)
        return;
    if (strcmp(now, "done") == 0 || strcmp(now, "cancelled") == 0 || strcmp(now, "failed") == 0)
        now = "closed";
    (void)json_object_set_new(o, "status", json_string(now));
}

static bool has_link(json_t *list, const char *on)
{
    json_t *one;
    size_t i;
    json_array_foreach(list, i, one)
    {
        const char *type = text_field(one, "type"), *id = text_field(one, "depends_on_id");
        if (type != NULL && id != NULL && strcmp(id, on) == 0 &&
            (strcmp(type, "blocks") == 0 || strcmp(type, "blocked-by") == 0))
            return true;
    }
    return false;
}

/* What it no longer waits for goes, what is new comes. */
static void put_links(json_t *o, const strata_task *t, const char *key,
                      const struct task_names *names)
{
    json_t *list = json_object_get(o, "dependencies"), *kept = json_array(), *one;
    size_t i;
    json_array_foreach(list, i, one)
    {
        const char *type = text_field(one, "type"), *id = text_field(one, "depends_on_id");
        bool blocks =
            type != NULL && (strcmp(type, "blocks") == 0 || strcmp(type, "blocked-by") == 0);
        /* What it waits for is not here: it came with that, and keeps it. */
        bool still = !blocks || (id != NULL && !names->is_known(names->arg, id));
        for (size_t k = 0; k < t->depends_count && !still; k++) {
            const char *other = names->key_of(names->arg, t->depends[k]);
            still = id != NULL && strcmp(other, id) == 0;
        }
        if (still)
            (void)json_array_append(kept, one);
    }
    for (size_t k = 0; k < t->depends_count; k++) {
        const char *other = names->key_of(names->arg, t->depends[k]);
        if (!has_link(kept, other))
            (void)json_array_append_new(kept, json_pack("{s:s,s:s,s:s}", "issue_id", key,
                                                        "depends_on_id", other, "type", "blocks"));
    }
    if (json_array_size(kept) > 0 || json_is_array(list))
        (void)json_object_set(o, "dependencies", kept);
    json_decref(kept);
}

json_t *task_beads_object(const strata_task *t, const struct task_names *names)
{
    json_t *rest = t->imported_size > 0 ? json_loadb(t->imported, t->imported_size, 0, NULL) : NULL;
    const char *key = names->key_of(names->arg, t->id);
    json_t *o = json_pack("{s:s,s:s}", "id", key, "title", t->title);
    if (o == NULL)
        return NULL;
    (void)json_object_set_new(o, "priority", json_integer(t->priority));
    if (rest != NULL)
        (void)json_object_update(o, rest);
    if (t->data_size > 0)
        (void)json_object_set_new(o, "description", json_stringn(t->data, t->data_size));
    json_decref(rest);
    put_status(o, t);
    put_links(o, t, key, names);
    if (t->imported_size == 0)
        (void)json_object_set_new(o, "issue_type", json_string("task"));
    return o;
}
