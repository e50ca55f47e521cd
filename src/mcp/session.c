/* session.c - the open workspaces of the agents that a client speaks for. */
#include "mcp/session.h"

#include "edge/text.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Many servers live long on one workspace and look after each write (include/strata.h). As many as keep the
 * filter of their names half empty (store/index_near.c), and a server busy for some 5 ms when it applies
 * them. Records. */
#define INDEX_GAP 1024

void mcp_session_init(struct mcp_session *x, const struct mcp_options *options)
{
    *x = (struct mcp_session){.options = options};
    (void)edge_tree(options->dir, x->tree); /* else there is no workspace: each call says so */
}

void mcp_session_close(struct mcp_session *x)
{
    mcp_session_goodbye(x);
    for (size_t i = 0; i < x->agent_count; i++)
        strata_close(x->agents[i].s);
    x->agent_count = 0;
    free(x->news);
    x->news = NULL;
}

uint64_t mcp_wall_ms(void)
{
    struct timespec t = {0};
    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool holds(const struct mcp_session *x, const struct mcp_agent *a)
{
    for (size_t i = 0; i < x->held_count; i++)
        if (x->held[i].agent == a)
            return true;
    return a->run != 0;
}

/* A place for one more agent: of those that hold nothing, the one that was not used for the longest
 * time has to go. NULL: all hold something. */
static struct mcp_agent *place(struct mcp_session *x)
{
    struct mcp_agent *found = NULL;
    if (x->agent_count < MCP_AGENTS_MAX)
        return &x->agents[x->agent_count++];
    for (size_t i = 0; i < x->agent_count; i++) {
        struct mcp_agent *a = &x->agents[i];
        if (!holds(x, a) && (found == NULL || a->used_ms < found->used_ms))
            found = a;
    }
    if (found != NULL)
        strata_close(found->s); /* its reads go into its file */
    return found;
}

static int open_agent(struct mcp_session *x, const char *name, strata **s, strata_error *error)
{
    const struct mcp_options *o = x->options;
    strata_options options = {
        .size = sizeof options,
        .state_dir = o->state_dir,
        .agent = name[0] != '\0' ? name : NULL,
        .program = "strata mcp",
        .wait_ms = o->wait_ms,
        .index_gap = INDEX_GAP,
    };
    return strata_open(o->dir, &options, s, error);
}

static struct mcp_agent *find_or_open(struct mcp_session *x, const char *name, uint64_t now_ms,
                                      strata_error *error)
{
    for (size_t i = 0; i < x->agent_count; i++)
#ifdef ST_DEFECT_MCP_ONE_READER
        if (true) {
#else
        if (strcmp(x->agents[i].name, name) == 0) {
#endif
            x->agents[i].used_ms = now_ms;
            return &x->agents[i];
        }
    strata *s;
    if (open_agent(x, name, &s, error) != STRATA_OK)
        return NULL;
    struct mcp_agent *a = place(x);
    if (a == NULL) {
        strata_close(s);
        error->code = STRATA_LIMIT;
        (void)snprintf(error->message, sizeof error->message,
                       "%d agents of this client hold something; no further one is served",
                       MCP_AGENTS_MAX);
        return NULL;
    }
    *a = (struct mcp_agent){.s = s, .used_ms = now_ms, .run_fd = -1};
    (void)snprintf(a->name, sizeof a->name, "%s", name);
    return a;
}

static const char *default_name(const struct mcp_session *x)
{
    return x->options->agent != NULL ? x->options->agent : "";
}

struct mcp_agent *mcp_session_agent(struct mcp_session *x, const char *name, uint64_t now_ms,
                                    strata_error *error)
{
    if (name == NULL || name[0] == '\0')
        name = default_name(x);
    struct mcp_agent *a = find_or_open(x, name, now_ms, error);
    if (a == NULL || a->known)
        return a;
    a->known = true;
    if (a->name[0] != '\0' && !x->options->memory && !strata_is_read_only(a->s))
        (void)strata_beat(a->s, NULL);
    return a;
}

/* Goes the ways that the first call will go: what they need is open then. */
static void get_ready(strata *s)
{
    strata_attribute nothing;
    (void)strata_fact_get(s, "strata", "ready", 0, &nothing);
    if (!strata_is_read_only(s))
        (void)strata_check(s);
}

void mcp_session_idle(void *session)
{
    struct mcp_session *x = session;
    strata_error error;
    bool first = !x->ready;
    struct mcp_agent *a = x->agent_count > 0 ? &x->agents[0] : NULL;
    if (first)
        a = find_or_open(x, default_name(x), 0, &error);
    x->ready = true;
    if (a == NULL)
        return;              /* the first call says why */
    (void)strata_idle(a->s); /* they share the index */
    if (first)
        get_ready(a->s);
}

/* What the library's hints call commands, for who has tools. */
static const struct {
    const char *command, *here;
} in_hints[] = {
    {"`strata list --blocked`", "strata://task/N"},
    {"`strata list`", "the resource strata://tasks/ready"},
    {"`strata claim N` takes it", "the tool next takes tasks"},
    {"`strata agent list`", "the resource strata://board has who works here"},
    {"`strata pending`", "the resource strata://pending"},
};

static void hint_of(const strata_error *error, char out[600])
{
    /* The library's hint sends who writes in a sandbox to the tools that this is one of. */
    bool said = strstr(error->message, "nothing was recorded") != NULL;
    if (error->code == STRATA_READ_ONLY)
        (void)snprintf(out, 600,
                       "%sask the operator to start this server where the state can be written",
                       said ? "" : "nothing was recorded; ");
    else
        edge_clean(error->hint, out, 600);
    for (size_t i = 0; i < sizeof in_hints / sizeof in_hints[0]; i++) {
        char *at = strstr(out, in_hints[i].command), rest[600];
        if (at == NULL)
            continue;
        (void)snprintf(rest, sizeof rest, "%s", at + strlen(in_hints[i].command));
        (void)snprintf(at, 600 - (size_t)(at - out), "%s%s", in_hints[i].here, rest);
    }
    size_t n = strlen(out);
    if (strstr(out, "`strata ") != NULL)
        (void)snprintf(out + n, 600 - n, " (on a command line; else ask the operator)");
}

void mcp_call_error(struct mcp_call *call, const strata_error *error)
{
    char message[600], hint[600];
    edge_clean(error->message, message, sizeof message);
    hint_of(error, hint);
    mcp_refuse(call, "%s%s%s", message[0] != '\0' ? message : strata_code_name(error->code),
               hint[0] != '\0' ? "; " : "", hint);
}

void mcp_call_fail(struct mcp_call *call, const strata *s)
{
    mcp_call_error(call, strata_last_error(s));
}

struct mcp_agent *mcp_call_agent(struct mcp_call *call)
{
    strata_error error = {0};
    struct mcp_agent *a =
        mcp_session_agent(call->context, mcp_text(call, "agent"), call->now_ms, &error);
    if (a == NULL)
        mcp_call_error(call, &error);
    return a;
}

/* --- what happened ---------------------------------------------------------------------------- */

bool mcp_news_has(const struct mcp_news *n, const char *entity)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->entities[i], entity) == 0)
            return true;
    return n->all;
}

static int see_event(void *arg, const strata_event *e)
{
    struct mcp_news *n = arg;
    n->any = true;
    if (e->kind == STRATA_BEAT)
        n->board = true;
    /* What came from another copy, or is of a kind that is not known: it may be anything. */
    if (e->kind == STRATA_SEEN || e->kind == STRATA_OP_OTHER || n->count == MCP_NEWS_MAX)
        n->all = true;
    if (e->entity[0] == '\0' || mcp_news_has(n, e->entity))
        return 0;
    (void)snprintf(n->entities[n->count++], sizeof n->entities[0], "%s", e->entity);
    return 0;
}

const struct mcp_news *mcp_session_news(struct mcp_session *x)
{
    strata_error error;
    strata_coordinator coordinator = {0};
    struct mcp_agent *a = mcp_session_agent(x, NULL, 0, &error);
    bool first = x->news == NULL;
    if (first)
        x->news = calloc(1, sizeof *x->news);
    struct mcp_news *n = x->news;
    if (a == NULL || n == NULL)
        return NULL;
    n->count = 0;
    n->any = n->board = n->all = n->strong = false;
    /* At the first look everything is old. */
    if (first)
        (void)strata_events_end(a->s, &x->cursor);
    else
        (void)strata_events(a->s, x->cursor, 0, &x->cursor, see_event, n);
    if (strata_coordinator_get(a->s, &coordinator) == STRATA_OK) {
        n->strong = coordinator.position != n->position && !first;
        n->position = coordinator.position;
    }
    return n;
}
