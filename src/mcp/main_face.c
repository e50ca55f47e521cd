/* main_face.c - `strata mcp`: the tools and resources of agents that work together. */
#include "mcp/faces.h"
#include "mcp/tools.h"

#include "edge/text.h"

#include <stdlib.h>
#include <string.h>

/* Each word costs every agent that connects: tests/mcp/session.py holds the limit. */
static const struct mcp_tool tools[] = {
    {"prime", NULL, "What you have to know now: your unfinished task, messages, rules. Call first",
     prime_input, answer_output, .read_only = true, .idempotent = true, .run = tool_prime},
    {"add", NULL, "Add a task for anybody, or for one agent", add_input, id_output,
     .run = tool_add},
    {"next", NULL, "Take the best ready task; nobody else gets it", next_input, next_output,
     .run = tool_next},
    {"update", NULL, "Your task: save a checkpoint, end it, give it back", update_input,
     answer_output, .run = tool_update},
    {"fact_set", NULL, "Remember a fact for all agents; tells what it replaced", fact_set_input,
     answer_output, .idempotent = true, .run = tool_fact_set},
    {"fact_search", NULL, "Find facts by words, or read an entity", fact_search_input,
     fact_search_output, .read_only = true, .idempotent = true, .run = tool_fact_search},
    {"message", NULL, "Write to an agent, or read your inbox", message_input, answer_output,
     .run = tool_message},
    {"once_begin", NULL,
     "Before what must not happen twice (mail, deployment, payment): do it only if it says go",
     once_begin_input, once_begin_output, .run = tool_once_begin},
    {"once_report", NULL, "Say what became of it", once_report_input, answer_output,
     .run = tool_once_report},
    {"reserve", NULL, "Keep a file to yourself while you change it", reserve_input, answer_output,
     .idempotent = true, .run = tool_reserve},
};

/* --- resources -------------------------------------------------------------------------------- */

#define TEXT "text/plain"
static const struct mcp_resource resources[] = {
    {"strata://board", "board", "Who works here, and on what", TEXT},
    {"strata://tasks/ready", "ready", "Tasks that can be taken", TEXT},
    {"strata://pending", "pending", "What waits for a person", TEXT},
    {0},
};
static const struct mcp_resource templates[] = {
    {"strata://entity/{name}", "entity", "All facts of an entity", TEXT},
    {"strata://task/{id}", "task", "A task", TEXT},
    {0},
};

struct out {
    FILE *f;
    size_t count;
};

static int put_agent(void *arg, const strata_agent *a)
{
    struct out *o = arg;
    char span[EDGE_AGE_SIZE];
    edge_span(a->age_ms, span);
    (void)fprintf(o->f, "%s%s%s, last heard of %s ago", a->agent,
                  a->replica[0] != '\0' ? " on " : "", a->replica, span);
    if (a->tasks != 0)
        (void)fprintf(o->f, ", has %llu task%s", (unsigned long long)a->tasks,
                      a->tasks == 1 ? "" : "s");
    if (a->status[0] != '\0') {
        (void)fputs(": ", o->f);
        edge_put_text(o->f, a->status, strlen(a->status), 0);
    }
    (void)fputc('\n', o->f);
    return 0;
}

static int put_task(void *arg, const strata_task *t)
{
    struct out *o = arg;
    (void)fprintf(o->f, "%s P%d ", t->id, t->priority);
    edge_put_text(o->f, t->title, strlen(t->title), 0);
    (void)fputc('\n', o->f);
    return 0;
}

static int put_pending(void *arg, const strata_pending *p)
{
    struct out *o = arg;
    (void)fprintf(o->f, "%s: ", p->id);
    edge_put_name(o->f, p->entity);
    (void)fputc(' ', o->f);
    edge_put_name(o->f, p->attribute);
    (void)fputs(" was written in two places at once:", o->f);
    for (size_t i = 0; i < p->count; i++) {
        (void)fprintf(o->f, " %zu) ", i + 1);
        edge_put_text(o->f, p->items[i].value, p->items[i].value_size, 200);
    }
    (void)fputc('\n', o->f);
    return 0;
}

static int put_operation(void *arg, const strata_operation *op)
{
    struct out *o = arg;
    edge_put_name(o->f, op->key);
    (void)fprintf(o->f, " is %s\n",
                  op->state == STRATA_OP_IN_DOUBT ? "in doubt" : "waiting to be approved");
    return 0;
}

static int put_unapproved(void *arg, const strata_operation *op)
{
    return op->needs_approval && !op->approved ? put_operation(arg, op) : 0;
}

static int put_given_up(void *arg, const strata_task *t)
{
    struct out *o = arg;
    (void)fprintf(o->f, "Task %s failed %d times: ", t->id, STRATA_TASK_RETRIES);
    edge_put_text(o->f, t->reason, strlen(t->reason), 200);
    (void)fputs(" (", o->f);
    edge_put_text(o->f, t->title, strlen(t->title), 120);
    (void)fprintf(o->f,
                  "); a person tries it again (strata update %s --reopen) or gives it up (strata "
                  "cancel %s)\n",
                  t->id, t->id);
    return 0;
}

static int read_pending(struct out *o, strata *s)
{
    strata_task_query given_up = {
        .size = sizeof(given_up), .view = STRATA_TASKS_GIVEN_UP, .limit = 100};
    int code = strata_pending_each(s, STRATA_PENDING_CONFLICT, 100, put_pending, o);
    if (code == STRATA_OK)
        code = strata_op_each(s, STRATA_OP_IN_DOUBT, NULL, 100, put_operation, o);
    if (code == STRATA_OK)
        code = strata_op_each(s, STRATA_OP_PROPOSED, NULL, 100, put_unapproved, o);
    if (code == STRATA_OK)
        code = strata_task_each(s, &given_up, put_given_up, o);
    return code;
}

static int read_task(struct out *o, strata *s, const char *id)
{
    strata_task t;
    int code = strata_task_get(s, id, &t);
    if (code != STRATA_OK)
        return code;
    tool_put_task(o->f, &t);
    if (t.holder[0] != '\0')
        (void)fprintf(o->f, "Claimed by: %s\n", t.holder);
    for (size_t i = 0; i < t.depends_count; i++)
        (void)fprintf(o->f, "%s%s%s", i == 0 ? "After: " : ", ", t.depends[i],
                      i + 1 == t.depends_count ? "\n" : "");
    if (t.reason[0] != '\0') {
        (void)fputs("Reason: ", o->f);
        edge_put_text(o->f, t.reason, strlen(t.reason), 0);
        (void)fputc('\n', o->f);
    }
    return STRATA_OK;
}

#define ENTITY "strata://entity/"
#define TASK   "strata://task/"

/* Behind a prefix, with %XX undone; false: it does not begin so, or ends in the middle. */
static bool name_in(const char *uri, const char *prefix, char out[MCP_URI_SIZE_MAX])
{
    size_t n = strlen(prefix), at = 0;
    if (strncmp(uri, prefix, n) != 0 || strlen(uri) >= MCP_URI_SIZE_MAX)
        return false;
    for (const char *p = uri + n; *p != '\0'; p++) {
        char hex[3] = {0}, *end;
        if (*p != '%') {
            out[at++] = *p;
            continue;
        }
        hex[0] = p[1];
        hex[1] = p[1] != '\0' ? p[2] : '\0';
        unsigned long byte = strtoul(hex, &end, 16);
        if (end != hex + 2 || byte == 0)
            return false;
        out[at++] = (char)byte;
        p += 2;
    }
    out[at] = '\0';
    return at > 0;
}

static bool known(void *context, const char *uri)
{
    char name[MCP_URI_SIZE_MAX];
    (void)context;
    for (const struct mcp_resource *x = resources; x->uri != NULL; x++)
        if (strcmp(x->uri, uri) == 0)
            return true;
    return name_in(uri, ENTITY, name) || name_in(uri, TASK, name);
}

static void look(void *context)
{
    (void)mcp_session_news(context);
}

static bool tasks_changed(const struct mcp_news *n)
{
    bool task = n->all || n->strong;
    for (size_t i = 0; i < n->count; i++)
        task = task || strata_entity_kind(n->entities[i]) == STRATA_ENTITY_NUMBERED;
    return task;
}

static bool changed(void *context, const char *uri)
{
    const struct mcp_news *n = ((const struct mcp_session *)context)->news;
    char name[MCP_URI_SIZE_MAX], task[MCP_URI_SIZE_MAX + 1] = "#";
    if (n == NULL)
        return false;
    if (strcmp(uri, resources[0].uri) == 0)
        return n->board || n->all;
    if (strcmp(uri, resources[1].uri) == 0)
        return tasks_changed(n);
    if (strcmp(uri, resources[2].uri) == 0)
        return n->any || n->strong;
    if (name_in(uri, ENTITY, name))
        return mcp_news_has(n, name);
    return name_in(uri, TASK, task + 1) && (n->strong || mcp_news_has(n, task));
}

static int read_into(struct out *o, strata *s, const char *agent, const char *uri)
{
    char name[MCP_URI_SIZE_MAX];
    strata_task_query ready = {
        .size = sizeof ready, .view = STRATA_TASKS_READY, .agent = agent, .limit = 100};
    if (strcmp(uri, resources[0].uri) == 0)
        return strata_agent_each(s, put_agent, o);
    if (strcmp(uri, resources[1].uri) == 0)
        return strata_task_each(s, &ready, put_task, o);
    if (strcmp(uri, resources[2].uri) == 0)
        return read_pending(o, s);
    return name_in(uri, ENTITY, name) ? tool_put_entity(o->f, s, name)
           : name_in(uri, TASK, name) ? read_task(o, s, name)
                                      : STRATA_NOT_FOUND;
}

static char *read_resource(void *context, const char *uri, const char **mime,
                           char message[MCP_FAULT_SIZE])
{
    strata_error error = {0};
    char *text = NULL;
    size_t size;
    if (!known(context, uri))
        return NULL;
    *mime = TEXT;
    struct mcp_agent *a = mcp_session_agent(context, NULL, 0, &error);
    struct out o = {.f = open_memstream(&text, &size)};
    if (a != NULL && o.f != NULL &&
        read_into(&o, a->s, a->name[0] != '\0' ? a->name : NULL, uri) != STRATA_OK)
        error = *strata_last_error(a->s);
    if (o.f != NULL)
        (void)fclose(o.f);
    if (error.code == 0)
        return text;
    (void)snprintf(message, MCP_FAULT_SIZE, "%s", error.message);
    free(text);
    return NULL;
}

void mcp_main_face(struct mcp_session *x, struct mcp_face *face)
{
    *face = (struct mcp_face){
        .name = "strata",
        .instructions = "Shared memory, tasks and once-only actions of the agents on this "
                        "workspace. Call prime first.",
        .tools = tools,
        .tool_count = sizeof tools / sizeof tools[0],
        .strict = true,
        .repeated = true,
        .resources = resources,
        .templates = templates,
        .read = read_resource,
        .known = known,
        .look = look,
        .changed = changed,
        .idle = mcp_session_idle,
        .tick = mcp_session_tick,
        .context = x,
    };
}
