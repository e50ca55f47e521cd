#include "cli/log_task.h"

#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 200

bool log_task_is(const strata_event *e)
{
    bool fact = e->kind == STRATA_SET || e->kind == STRATA_UNSET || e->kind == STRATA_ADD ||
                e->kind == STRATA_REMOVE;
    return fact && e->entity[0] == '#' && e->entity[1] >= '0' && e->entity[1] <= '9' &&
           strlen(e->entity) < STRATA_TASK_SIZE;
}

/* Of all operations of one record this is the same. */
static void record_of(const char *id, char out[80])
{
    const char *dot = strchr(id, '.');
    (void)snprintf(out, 80, "%.*s", dot != NULL ? (int)(dot - id) : 79, id);
}

bool log_task_same(const struct log_task *t, const strata_event *e)
{
    char record[80];
    record_of(e->id, record);
    return t->out != NULL && strcmp(t->record, record) == 0 && strcmp(t->entity, e->entity) == 0;
}

/* How an attribute is told: before its value, and without one when it was taken away. */
struct phrase {
    const char *attribute, *set, *unset;
    bool value; /* the value is told, too */
};

static const struct phrase phrases[] = {
    {"title", "title: ", "without a title", true},
    {"depends", "waits for ", "no longer waits for ", true},
    {"agent", "for ", "for anybody", true},
    {"channel", "in channel ", "in the default channel", true},
    {"priority", "priority ", "usual priority", true},
    {"not_before", "not before ", "at any time", true},
    {"parent", "part of ", "part of nothing", true},
    {"key", "key ", "without a key", true},
    {"data", "data: ", "without data", true},
    {"checkpoint", "checkpoint: ", "without a checkpoint", true},
    {"retries", "tried again, so often: ", "not tried yet", true},
    {"reported", "reported, not accepted yet: ", "its report was looked at", true},
    {"refused", "report not accepted: ", "no report refused", true},
    {"unlisted", "taken off the list", "on the list again", false},
    {"message", "message: ", "no message", true},
    {"to", "to ", "to nobody", true},
    {"acknowledged", "read", "not read", false},
    {"beads", "with what else its tracker knew", "without what its tracker knew", false},
    {"copied", NULL, NULL, false}, /* between the two logs, and nothing that happened */
    {"imported", NULL, NULL, false},
};

static const struct phrase *phrase_of(const char *attribute)
{
    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (strcmp(phrases[i].attribute, attribute) == 0)
            return &phrases[i];
    return NULL;
}

static void put_value(FILE *out, const strata_event *e)
{
    cli_put_text(out, e->value, e->value_size, VALUE_MAX);
}

static bool is_value(const strata_event *e, const char *word)
{
    return e->value_size == strlen(word) && memcmp(e->value, word, e->value_size) == 0;
}

static bool is_key_of_line(const strata_event *e)
{
    size_t n = strlen(STRATA_KEY_OF_LINE);
    return strcmp(e->attribute, "key") == 0 && e->value_size > n &&
           memcmp(e->value, STRATA_KEY_OF_LINE, n) == 0;
}

static void put_state(FILE *out, const strata_event *e)
{
    if (e->kind == STRATA_UNSET || is_value(e, "open")) {
        (void)fputs("opened again", out);
        return;
    }
    bool ends = is_value(e, "done") || is_value(e, "failed") || is_value(e, "cancelled");
    if (!ends)
        (void)fputs("held: ", out);
    put_value(out, e);
}

static void put_phrase(struct log_task *t, const strata_event *e, bool first)
{
    const struct phrase *p = phrase_of(e->attribute);
    bool gone = e->kind == STRATA_UNSET || e->kind == STRATA_REMOVE;
    bool because = strcmp(e->attribute, "result") == 0 || strcmp(e->attribute, "reason") == 0;
    if (p != NULL && p->set == NULL)
        return;
    if (is_key_of_line(e))
        return;
    if (because && !gone && !first) {
        (void)fputs(": ", t->out); /* "done: it is up" */
        put_value(t->out, e);
        return;
    }
    (void)fputs(first ? "" : ", ", t->out);
    if (e->first && strcmp(e->attribute, "title") == 0) {
        (void)fputs("added: ", t->out);
        put_value(t->out, e);
    } else if (strcmp(e->attribute, "state") == 0) {
        put_state(t->out, e);
    } else if (p == NULL) {
        (void)fputs(gone ? "without " : "", t->out);
        cli_put_name(t->out, e->attribute);
        (void)fputs(e->kind == STRATA_UNSET ? "" : " ", t->out);
        if (e->kind != STRATA_UNSET)
            put_value(t->out, e);
    } else {
        (void)fputs(gone ? p->unset : p->set, t->out);
        if (p->value && e->kind != STRATA_UNSET)
            put_value(t->out, e);
    }
}

bool log_task_add(struct log_task *t, const strata_event *e)
{
    if (t->out == NULL) {
        t->text = NULL;
        t->out = open_memstream(&t->text, &t->size);
        if (t->out == NULL)
            return false;
        record_of(e->id, t->record);
        (void)snprintf(t->entity, sizeof(t->entity), "%s", e->entity);
        (void)snprintf(t->agent, sizeof(t->agent), "%s", e->agent);
        (void)snprintf(t->replica, sizeof(t->replica), "%s", e->replica);
    }
    put_phrase(t, e, ftell(t->out) == 0);
    t->last = *e;
    return !ferror(t->out);
}

char *log_task_end(struct log_task *t)
{
    if (t->out == NULL)
        return NULL;
    bool good = fclose(t->out) == 0;
    t->out = NULL;
    char *text = t->text;
    t->text = NULL;
    if (good)
        return text;
    free(text);
    return NULL;
}
