/*
 * cmd_fact.c - writing facts: set, add, remove, unset. Reading them: cmd_read.c.
 *
 * An answer to a write tells what it replaced: "api port = 9090 (replaced 8080, ann, 5 s ago)".
 * Whoever overwrites something that he has not read is told so on standard error.
 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

/* The value in an answer: enough to recognise it. */
#define ANSWERED_VALUE_MAX 200

static const char *op_name(int kind)
{
    return kind == STRATA_SET     ? "set"
           : kind == STRATA_UNSET ? "unset"
           : kind == STRATA_ADD   ? "add"
                                  : "remove";
}

/* --- answers to writes ------------------------------------------------------------------------ */

static json_t *written_json(const strata_op *op, const strata_written *w)
{
    json_t *o = json_pack("{s:s,s:s,s:s,s:s,s:o,s:i,s:b,s:b}", "kind", op_name(op->kind), "entity",
                          op->entity, "attribute", op->attribute, "id", w->id, "time",
                          cli_json_time(w->time_ms), "replaced_count", (int)w->replaced_count,
                          "unseen", w->unseen, "changed", w->changed);
    if (o == NULL)
        return NULL;
    int bad = 0;
    if (op->kind != STRATA_UNSET) {
        bad |= json_object_set_new(o, "value", cli_json_text(op->value, op->value_size));
        bad |= json_object_set_new(o, "link", json_boolean(op->link));
    }
    if (op->kind == STRATA_SET || op->kind == STRATA_UNSET)
        bad |= json_object_set_new(
            o, "replaced", w->replaced_count > 0 ? cli_json_item(&w->replaced) : json_null());
    if (bad == 0)
        return o;
    json_decref(o);
    return NULL;
}

static void put_subject(const strata_op *op)
{
    cli_put_name(stdout, op->entity);
    (void)putchar(' ');
    cli_put_name(stdout, op->attribute);
}

static void put_replaced(struct cli *c, const strata_written *w)
{
    if (w->replaced_count == 0)
        return;
    bool absent = w->replaced.kind == STRATA_ITEM_ABSENT;
    (void)fputs(absent ? " (was unset" : " (replaced ", stdout);
    if (!absent)
        cli_put_text(stdout, w->replaced.value, w->replaced.value_size, ANSWERED_VALUE_MAX);
    (void)fputs(", ", stdout);
    cli_put_origin(c, stdout, w->replaced.agent, w->replaced.replica, w->replaced.time_ms, false);
    if (w->replaced_count > 1)
        (void)printf("; and %u more", w->replaced_count - 1);
    (void)putchar(')');
}

static void put_written(struct cli *c, const strata_op *op, const strata_written *w)
{
    put_subject(op);
    if (op->kind == STRATA_UNSET) {
        (void)fputs(" unset", stdout);
        put_replaced(c, w);
    } else if (op->kind == STRATA_SET) {
        (void)fputs(op->link ? " = -> " : " = ", stdout);
        cli_put_text(stdout, op->value, op->value_size, ANSWERED_VALUE_MAX);
        put_replaced(c, w);
    } else {
        bool add = op->kind == STRATA_ADD;
        (void)fputs(add ? " has " : " no longer has ", stdout);
        if (op->link)
            (void)fputs("-> ", stdout);
        cli_put_text(stdout, op->value, op->value_size, ANSWERED_VALUE_MAX);
        if (!w->changed)
            (void)fputs(add ? " (it had it already)" : " (it did not have it)", stdout);
    }
    (void)putchar('\n');
}

static void warn_unseen(struct cli *c, const strata_op *op, const strata_written *w)
{
    char value[ANSWERED_VALUE_MAX], age[CLI_AGE_SIZE];
    if (!w->unseen)
        return;
    cli_age(c, w->replaced.time_ms, age);
    bool absent = w->replaced.kind == STRATA_ITEM_ABSENT;
    cli_clean(absent ? "unset" : w->replaced.value, value, sizeof(value));
    cli_warn(c,
             "you had not read what you replaced in %s %s: %s, by %s, %s. It is kept; see: strata "
             "pending --unseen",
             op->entity, op->attribute, value,
             w->replaced.agent[0] != '\0' ? w->replaced.agent : "unnamed", age);
}

/* The value that stands in the way of --expect, after STRATA_CONFLICT. */
static int fail_conflict(struct cli *c, int code, const strata_op *op)
{
    strata_error e = *strata_last_error(c->s);
    strata_attribute a = {0};
    char value[ANSWERED_VALUE_MAX], age[CLI_AGE_SIZE];

    int got = strata_fact_get(c->s, op->entity, op->attribute, 0, &a);
    if (got == STRATA_NOT_FOUND)
        return cli_error(c, code, "nothing was written", "%s %s has no value now", op->entity,
                         op->attribute);
    if (got != STRATA_OK || a.shown == NULL)
        return cli_error(c, code, e.hint, "%s", e.message);
    cli_age(c, a.shown->time_ms, age);
    cli_clean(a.shown->value, value, sizeof(value));
    return cli_error(c, code,
                     a.pending ? "nothing was written; see: strata pending"
                               : "nothing was written; decide with this value in mind",
                     "%s %s is %s now (%s, %s)%s", op->entity, op->attribute, value,
                     a.shown->agent[0] != '\0' ? a.shown->agent : "unnamed", age,
                     a.pending ? ", and other values are pending" : "");
}

/* Writes and answers. expect may be NULL. */
static int write_ops(struct cli *c, const strata_op *ops, size_t count, const strata_expect *expect)
{
    unsigned flags = STRATA_ANSWER | (c->no_flush ? STRATA_NO_FLUSH : 0);
    strata_written *written = calloc(count, sizeof(*written));
    int status = 0;

    if (written == NULL)
        return cli_error(c, STRATA_NO_MEMORY, NULL, "out of memory");
    int code = strata_write(c->s, ops, count, flags, expect, written);
    if (code == STRATA_CONFLICT && expect != NULL) {
        status = fail_conflict(c, code, &ops[0]);
    } else if (code != STRATA_OK) {
        status = cli_fail(c, code);
    } else if (c->json && count == 1) {
        status = cli_json(c, written_json(&ops[0], &written[0]));
    } else if (c->json) {
        json_t *list = json_array();
        for (size_t i = 0; i < count; i++)
            (void)json_array_append_new(list, written_json(&ops[i], &written[i]));
        status = cli_json(c, json_pack("{s:o}", "written", list));
    } else if (c->quiet) {
        (void)printf("%s\n", written[0].id);
    } else {
        for (size_t i = 0; i < count; i++)
            put_written(c, &ops[i], &written[i]);
    }
    for (size_t i = 0; code == STRATA_OK && i < count; i++)
        warn_unseen(c, &ops[i], &written[i]);
    free(written);
    return status;
}

/* --- set, add, remove ------------------------------------------------------------------------- */

static int read_expect(struct cli *c, strata_expect *expect, struct cli_text *old)
{
    *expect = (strata_expect){.absent = cli_given(c, OPT_EXPECT_ABSENT)};
    if (!cli_given(c, OPT_EXPECT))
        return 0;
    if (expect->absent)
        return cli_usage(c, "give either --expect or --expect-absent");
    int status = cli_text_read(c, "--expect", c->options[OPT_EXPECT], CLI_VALUE_SIZE_MAX, old);
    expect->value = old->p;
    expect->value_size = old->n;
    return status;
}

/* A tracked file is written through the file, so that its text and its versions stay together. */
static int refuse_document(struct cli *c)
{
    if (strata_entity_kind(c->args[0]) != STRATA_ENTITY_DOCUMENT)
        return 0;
    return cli_error(c, STRATA_DENIED, "edit the file, or use: strata append FILE TEXT",
                     "entities that begin with file: are tracked files; nothing was written");
}

static int write_value(struct cli *c, int kind)
{
    struct cli_text value = {0}, old = {0};
    strata_expect expect;
    bool expects = cli_given(c, OPT_EXPECT) || cli_given(c, OPT_EXPECT_ABSENT);
    int status = cli_subject_check(c);

    if (status == 0)
        status = refuse_document(c);

    if (status == 0)
        status = cli_text_read(c, "VALUE", c->args[2], CLI_VALUE_SIZE_MAX, &value);
    if (status == 0)
        status = read_expect(c, &expect, &old);
    if (status == 0)
        status = cli_open(c);
    if (status == 0) {
        strata_op op = {
            .kind = kind,
            .entity = c->args[0],
            .attribute = c->args[1],
            .value = value.p,
            .value_size = value.n,
            .link = cli_given(c, OPT_LINK),
        };
        status = write_ops(c, &op, 1, expects ? &expect : NULL);
    }
    cli_text_release(&value);
    cli_text_release(&old);
    return status;
}

int cmd_fact_set(struct cli *c)
{
    return write_value(c, STRATA_SET);
}

int cmd_fact_add(struct cli *c)
{
    return write_value(c, STRATA_ADD);
}

int cmd_fact_remove(struct cli *c)
{
    return write_value(c, STRATA_REMOVE);
}

/* --- unset ------------------------------------------------------------------------------------ */

#define UNSET_OPS_MAX 1024 /* of one record, see strata_write() */

struct unset_list {
    strata_op *ops;
    size_t count, cap;
    bool too_many;
};

static int add_unset(struct unset_list *list, int kind, const strata_attribute *a,
                     const strata_item *item)
{
    if (list->count == UNSET_OPS_MAX) {
        list->too_many = true;
        return 1;
    }
    if (list->count == list->cap) {
        size_t cap = list->cap != 0 ? list->cap * 2 : 16;
        strata_op *ops = realloc(list->ops, cap * sizeof(*ops));
        if (ops == NULL)
            return STRATA_NO_MEMORY;
        list->ops = ops;
        list->cap = cap;
    }
    /* One allocation for both strings of the operation: what the visitor sees is only lent. */
    size_t name = strlen(a->attribute) + 1, size = item != NULL ? item->value_size : 0;
    char *copy = malloc(name + size + 1);
    if (copy == NULL)
        return STRATA_NO_MEMORY;
    memcpy(copy, a->attribute, name);
    if (size > 0)
        memcpy(copy + name, item->value, size);
    copy[name + size] = '\0';
    list->ops[list->count++] = (strata_op){
        .kind = kind,
        .attribute = copy,
        .value = item != NULL ? copy + name : NULL,
        .value_size = size,
        .link = item != NULL && item->link,
    };
    return 0;
}

static int visit_unset(void *arg, const strata_attribute *a)
{
    struct unset_list *list = arg;
    bool value = false;
    int result = 0;

    for (size_t i = 0; i < a->count && result == 0; i++) {
        if (a->items[i].kind == STRATA_ITEM_MEMBER)
            result = add_unset(list, STRATA_REMOVE, a, &a->items[i]);
        else
            value |= a->items[i].kind == STRATA_ITEM_VALUE;
    }
    if (value && result == 0)
        result = add_unset(list, STRATA_UNSET, a, NULL);
    return result;
}

/* One record that takes away all that the entity, or one attribute of it, shows. */
static int unset_all(struct cli *c, const char *entity, const char *attribute)
{
    strata_fact_query query = {.size = sizeof(query), .entity = entity, .attribute = attribute};
    struct unset_list list = {0};
    char shown[128];
    int status;

    int code = strata_fact_each(c->s, &query, visit_unset, &list);
    cli_clean(entity, shown, sizeof(shown));
    if (code != STRATA_OK && code != STRATA_NOT_FOUND)
        status = cli_fail(c, code);
    else if (list.too_many)
        status = cli_error(c, STRATA_LIMIT, "unset its attributes one by one",
                           "%s has more than %d values; nothing was written", shown, UNSET_OPS_MAX);
    else if (list.count == 0)
        status = cli_error(c, STRATA_NOT_FOUND, NULL, "%s%s%s has no value; nothing was written",
                           shown, attribute != NULL ? " " : "", attribute != NULL ? attribute : "");
    else {
        for (size_t i = 0; i < list.count; i++)
            list.ops[i].entity = entity;
        status = write_ops(c, list.ops, list.count, NULL);
    }
    for (size_t i = 0; i < list.count; i++)
        free((void *)(uintptr_t)list.ops[i].attribute);
    free(list.ops);
    return status;
}

int cmd_fact_unset(struct cli *c)
{
    struct cli_text old = {0};
    strata_expect expect;
    int status = cli_subject_check(c);

    if (status == 0)
        status = refuse_document(c);

    if (status == 0 && c->arg_count == 1 && cli_given(c, OPT_EXPECT))
        status =
            cli_usage(c, "--expect is about one attribute: strata fact unset ENTITY ATTRIBUTE");
    if (status == 0)
        status = read_expect(c, &expect, &old);
    if (status == 0)
        status = cli_open(c);
    if (status == 0 && cli_given(c, OPT_EXPECT)) {
        strata_op op = {.kind = STRATA_UNSET, .entity = c->args[0], .attribute = c->args[1]};
        status = write_ops(c, &op, 1, &expect);
    } else if (status == 0) {
        status = unset_all(c, c->args[0], c->arg_count > 1 ? c->args[1] : NULL);
    }
    cli_text_release(&old);
    return status;
}
