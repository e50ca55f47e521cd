/* tools_fact.c - fact_set and fact_search. */
#include "mcp/tools.h"

#include "edge/json.h"
#include "edge/text.h"

#include <string.h>

/* Facts in an answer unless asked for more: what a model reads with profit. */
#define LIMIT_DEFAULT 20
#define LIMIT_MAX     200
/* A value in a sentence: enough to recognise it. Bytes. */
#define VALUE_SHOWN 200

static const char *const modes[] = {"set", "add", "remove", "unset", NULL};

const struct mcp_field fact_set_input[] = {
    {"entity", .type = MCP_STRING},
    {"attribute", .type = MCP_STRING},
    {"value", MCP_STRING, .optional = true},
    {"mode", MCP_STRING, .optional = true, .choices = modes,
     .about = "set replaces (default); add, remove: one of several values"},
    {"expect", MCP_STRING, .optional = true, .about = "write only if this is the value now"},
    {"link", MCP_BOOLEAN, .optional = true, .about = "value names an entity"},
    {"agent", MCP_STRING, .optional = true, .about = "who you are"},
    {0},
};
const struct mcp_field fact_search_input[] = {
    {"words", MCP_STRING, .optional = true, .about = "all must occur; alone"},
    {"entity", MCP_STRING, .optional = true, .about = "read one entity"},
    {"attribute", MCP_STRING, .optional = true},
    {"limit", MCP_INTEGER, .optional = true, .max = LIMIT_MAX},
    {"agent", MCP_STRING, .optional = true, .about = "who you are"},
    {0},
};
const struct mcp_field fact_search_output[] = {
    {"answer", .type = MCP_STRING},
    {"count", .type = MCP_INTEGER},
    {0},
};

/* --- fact_set --------------------------------------------------------------------------------- */

static int kind_of(const char *mode)
{
    static const int kinds[] = {STRATA_SET, STRATA_ADD, STRATA_REMOVE, STRATA_UNSET};
    for (size_t i = 0; mode != NULL && modes[i] != NULL; i++)
        if (strcmp(modes[i], mode) == 0)
            return kinds[i];
    return STRATA_SET;
}

static void put_subject(FILE *f, const strata_op *op)
{
    edge_put_name(f, op->entity);
    (void)fputc(' ', f);
    edge_put_name(f, op->attribute);
}

static void put_replaced(FILE *f, const strata_written *w)
{
    if (w->replaced_count == 0)
        return;
    bool absent = w->replaced.kind == STRATA_ITEM_ABSENT;
    (void)fputs(absent ? " (was unset" : " (replaced ", f);
    if (!absent)
        edge_put_text(f, w->replaced.value, w->replaced.value_size, VALUE_SHOWN);
    (void)fputs(", ", f);
    edge_put_origin(f, mcp_wall_ms(), w->replaced.agent, w->replaced.replica, w->replaced.time_ms,
                    false);
    (void)fputc(')', f);
}

static void put_written(FILE *f, const strata_op *op, const strata_written *w)
{
    bool several = op->kind == STRATA_ADD || op->kind == STRATA_REMOVE;
    put_subject(f, op);
    (void)fputs(op->kind == STRATA_SET     ? " = "
                : op->kind == STRATA_UNSET ? " unset"
                : op->kind == STRATA_ADD   ? " has "
                                           : " no longer has ",
                f);
    if (op->kind != STRATA_UNSET)
        edge_put_text(f, op->value, op->value_size, VALUE_SHOWN);
    if (!several)
        put_replaced(f, w);
    else if (!w->changed)
        (void)fputs(op->kind == STRATA_ADD ? " (it had it already)" : " (it did not have it)", f);
    if (w->unseen)
        (void)fputs(". You had not read what you replaced: if it matters, tell its author, or set "
                    "it again",
                    f);
}

static void put_conflict(struct mcp_call *call, strata *s, const strata_op *op)
{
    strata_attribute a = {0};
    FILE *f = mcp_say(call);
    (void)fputs("Not written: ", f);
    put_subject(f, op);
    if (strata_fact_get(s, op->entity, op->attribute, 0, &a) == STRATA_OK && a.shown != NULL) {
        (void)fputs(" is ", f);
        edge_put_text(f, a.shown->value, a.shown->value_size, VALUE_SHOWN);
        (void)fputs(" now (", f);
        edge_put_origin(f, mcp_wall_ms(), a.shown->agent, a.shown->replica, a.shown->time_ms,
                        false);
        (void)fputc(')', f);
    } else {
        (void)fputs(" has no such value now", f);
    }
    (void)fputs(". Decide with this in mind.", f);
    call->is_error = true;
}

enum mcp_progress tool_fact_set(struct mcp_call *call)
{
    const json_t *value = json_object_get(call->arguments, "value");
    const char *expected = mcp_text(call, "expect");
    strata_op op = {
        .kind = kind_of(mcp_text(call, "mode")),
        .entity = mcp_text(call, "entity"),
        .attribute = mcp_text(call, "attribute"),
        .value = json_string_value(value),
        .value_size = json_string_length(value),
        .link = json_is_true(json_object_get(call->arguments, "link")),
    };
    strata_expect expect = {.value = expected, .value_size = STRATA_NUL};
    strata_written written = {0};
    if (op.kind != STRATA_UNSET && op.value == NULL) {
        mcp_refuse(call, "fact_set: value is missing. Nothing was done.");
        return MCP_DONE;
    }
    if (strata_entity_kind(op.entity) == STRATA_ENTITY_DOCUMENT) {
        mcp_refuse(call,
                   "fact_set: entities that begin with file: are tracked files: edit the file. "
                   "Nothing was done.");
        return MCP_DONE;
    }
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL)
        return MCP_DONE;
    int code =
        strata_write(a->s, &op, 1, STRATA_ANSWER, expected != NULL ? &expect : NULL, &written);
    if (code == STRATA_CONFLICT && expected != NULL) {
        put_conflict(call, a->s, &op);
    } else if (code != STRATA_OK) {
        mcp_call_fail(call, a->s);
    } else {
        put_written(mcp_say(call), &op, &written);
        call->structured = json_object();
    }
    return MCP_DONE;
}

/* --- fact_search ------------------------------------------------------------------------------ */

struct listing {
    FILE *f;
    size_t count, most; /* most 0: all */
    bool facts;         /* what tasks and tracked files consist of is none of it */
};

static int put_fact(void *arg, const strata_attribute *a)
{
    struct listing *l = arg;
    if (l->facts && strata_entity_kind(a->entity) != STRATA_ENTITY_FACT)
        return 0;
    l->count++;
    edge_put_attribute(l->f, mcp_wall_ms(), a);
    return l->count == l->most;
}

int tool_put_entity(FILE *f, strata *s, const char *entity)
{
    struct listing l = {.f = f};
    strata_fact_query q = {.size = sizeof q, .entity = entity};
    return strata_fact_each(s, &q, put_fact, &l);
}

enum mcp_progress tool_fact_search(struct mcp_call *call)
{
    const char *words = mcp_text(call, "words"), *entity = mcp_text(call, "entity");
    const char *attribute = mcp_text(call, "attribute");
    json_int_t limit = json_integer_value(json_object_get(call->arguments, "limit"));
    if (words != NULL && (entity != NULL || attribute != NULL)) {
        mcp_refuse(call,
                   "words are looked for in all facts: give either words, or entity and attribute");
        return MCP_DONE;
    }
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL)
        return MCP_DONE;
    size_t most = limit > 0 ? (size_t)limit : LIMIT_DEFAULT;
    struct listing l = {.f = mcp_say(call), .most = most, .facts = words == NULL && entity == NULL};
    strata_fact_query q = {.size = sizeof q, .entity = entity, .attribute = attribute};
    int code = words != NULL ? strata_search(a->s, words, most, put_fact, &l)
                             : strata_fact_each(a->s, &q, put_fact, &l);
    if (code != STRATA_OK && code != STRATA_NOT_FOUND) {
        mcp_call_fail(call, a->s);
        return MCP_DONE;
    }
    if (l.count == 0)
        (void)fputs("Nothing is known of that. Try fewer words, or write it with fact_set.", l.f);
    else if (l.count == most)
        (void)fprintf(l.f, "There may be more: raise limit (at most %d).", LIMIT_MAX);
    call->structured = json_pack("{s:I}", "count", (json_int_t)l.count);
    return MCP_DONE;
}
