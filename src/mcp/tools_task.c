/* tools_task.c - prime, add, next, update. */
#include "mcp/tools.h"

#include "edge/prime.h"
#include "edge/text.h"

#include <string.h>

const struct mcp_field prime_input[] = {
    {"agent", MCP_STRING, .optional = true,
     .about = "who you are, here and in every tool, if this server speaks for several"},
    {0},
};
const struct mcp_field add_input[] = {
    {"title", .type = MCP_STRING},
    {"after", MCP_ARRAY, .optional = true, .about = "tasks to be done before"},
    {"for", MCP_STRING, .optional = true, .about = "agent; else anybody"},
    {"channel", MCP_STRING, .optional = true, .about = "queue"},
    {"priority", MCP_INTEGER, .optional = true, .max = 4, .about = "0 is first"},
    {"data", MCP_STRING, .optional = true, .about = "what else its worker has to know"},
    {"key", MCP_STRING, .optional = true, .about = "adding it twice gives the first task"},
    {"agent", MCP_STRING, .optional = true, .about = "who you are"},
    {0},
};
const struct mcp_field next_input[] = {
    {"channel", MCP_STRING, .optional = true},
    {"wait_ms", MCP_INTEGER, .optional = true, .max = MCP_WAIT_MS_MAX,
     .about = "wait for one if none is ready"},
    {"agent", MCP_STRING, .optional = true, .about = "who you are"},
    {0},
};
static const char *const actions[] = {"checkpoint", "done", "fail", "retry", "release", NULL};
const struct mcp_field update_input[] = {
    {"id", .type = MCP_STRING},
    {"action", MCP_STRING, .choices = actions,
     .about = "fail: for good; retry: failed, another try may do; release: not tried"},
    {"text", MCP_STRING, .optional = true, .about = "how far it is; the result; the reason"},
    {"agent", MCP_STRING, .optional = true, .about = "who you are"},
    {0},
};
const struct mcp_field answer_output[] = {{"answer", .type = MCP_STRING}, {0}};
const struct mcp_field id_output[] = {
    {"answer", .type = MCP_STRING},
    {"id", .type = MCP_STRING},
    {0},
};
const struct mcp_field next_output[] = {
    {"answer", .type = MCP_STRING},
    {"id", MCP_STRING, .optional = true},
    {0},
};

enum mcp_progress tool_prime(struct mcp_call *call)
{
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL)
        return MCP_DONE;
    const char *agent = a->name[0] != '\0' ? a->name : NULL;
    if (edge_prime(mcp_say(call), a->s, agent, mcp_wall_ms(), EDGE_TOOLS) != STRATA_OK)
        mcp_call_fail(call, a->s);
    else
        call->structured = json_object();
    return MCP_DONE;
}

/* --- add -------------------------------------------------------------------------------------- */

#define AFTER_MAX 100

enum mcp_progress tool_add(struct mcp_call *call)
{
    const char *after[AFTER_MAX];
    const json_t *list = json_object_get(call->arguments, "after");
    const json_t *data = json_object_get(call->arguments, "data");
    const json_t *priority = json_object_get(call->arguments, "priority");
    char id[STRATA_TASK_SIZE];
    bool existed = false;
    if (json_array_size(list) > AFTER_MAX) {
        mcp_refuse(call, "add: after has more than %d tasks. Nothing was done.", AFTER_MAX);
        return MCP_DONE;
    }
    for (size_t i = 0; i < json_array_size(list); i++)
        after[i] = json_string_value(json_array_get(list, i));
    strata_task_new task = {
        .size = sizeof task,
        .title = mcp_text(call, "title"),
        .channel = mcp_text(call, "channel"),
        .agent = mcp_text(call, "for"),
        .key = mcp_text(call, "key"),
        .priority =
            json_is_integer(priority) ? (int)json_integer_value(priority) : STRATA_PRIORITY_NONE,
        .data = json_string_value(data),
        .data_size = json_string_length(data),
        .after = after,
        .after_count = json_array_size(list),
    };
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL)
        return MCP_DONE;
    if (strata_task_add(a->s, &task, 0, id, &existed) != STRATA_OK) {
        mcp_call_fail(call, a->s);
        return MCP_DONE;
    }
    (void)fprintf(mcp_say(call),
                  existed ? "Task %s is it: it was added before." : "Task %s is added, for %s.", id,
                  task.agent != NULL ? task.agent : "anybody");
    call->structured = json_pack("{s:s}", "id", id);
    return MCP_DONE;
}

/* --- next ------------------------------------------------------------------------------------- */

void tool_put_task(FILE *f, const strata_task *t)
{
    (void)fprintf(f, "Task %s (%s, P%d): ", t->id, t->state, t->priority);
    edge_put_text(f, t->title, strlen(t->title), 0);
    if (t->data_size > 0)
        (void)fprintf(f, "\nData: %s", t->data);
    if (t->checkpoint_size > 0)
        (void)fprintf(f, "\nLast checkpoint, go on from here: %s", t->checkpoint);
    if (t->result_size > 0)
        (void)fprintf(f, "\nResult: %s", t->result);
    (void)fputc('\n', f);
}

/* A claim ends with this process, and is renewed while it lives (hold.c). */
enum mcp_progress tool_next(struct mcp_call *call)
{
    strata_task_taken taken = {.token = 0};
    strata_task t;
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL)
        return MCP_DONE;
    if (a->name[0] == '\0') {
        mcp_refuse(call, "next: say who you are with agent.");
        return MCP_DONE;
    }
    call->wait_ms = (uint64_t)json_integer_value(json_object_get(call->arguments, "wait_ms"));
    strata_task_query q = {
        .size = sizeof q, .channel = mcp_text(call, "channel"), .agent = a->name};
#ifdef ST_DEFECT_MCP_CLAIM_OUTLIVES
    a->run = 0;
    int code = strata_task_next(a->s, &q, 0, MCP_TERM_MS, 0, NULL, &taken);
#else
    int code = mcp_agent_run(a) ? strata_task_next(a->s, &q, 0, MCP_TERM_MS, a->run, NULL, &taken)
                                : strata_last_error(a->s)->code;
#endif
    if (code == STRATA_TIMEOUT && !call->last && call->wait_ms > 0)
        return MCP_WAIT;
    if (code == STRATA_TIMEOUT) {
        strata_error error = *strata_last_error(a->s);
        char shown[600];
        (void)fprintf(mcp_say(call), "%s. To wait: wait_ms (at most %d). Or stop.",
                      edge_clean(error.message, shown, sizeof shown), MCP_WAIT_MS_MAX);
        call->structured = json_object();
        return MCP_DONE;
    }
    if (code == STRATA_OK && taken.token != 0)
        mcp_hold(call->context, a, MCP_HOLD_TASK, taken.id, taken.token, -1);
    if (code != STRATA_OK || strata_task_get(a->s, taken.id, &t) != STRATA_OK) {
        mcp_call_fail(call, a->s);
        return MCP_DONE;
    }
    tool_put_task(mcp_say(call), &t);
    (void)fprintf(mcp_say(call), "It is yours. Save how far you are with update (checkpoint); end "
                                 "with done or fail.");
    call->structured = json_pack("{s:s}", "id", taken.id);
    return MCP_DONE;
}

/* --- update ----------------------------------------------------------------------------------- */

static const char *bare(const char *id)
{
    return id[0] == '#' ? id + 1 : id;
}

static int finish(struct mcp_call *call, struct mcp_agent *a, const char *id, uint64_t token,
                  const char *state)
{
    bool accepted = false;
    const json_t *text = json_object_get(call->arguments, "text");
    strata_task_end end = {
        .size = sizeof end,
        .id = id,
        .token = token,
        .state = state,
        .text = json_string_value(text),
        .text_size = json_string_length(text),
    };
    int code = strata_task_finish(a->s, &end, &accepted);
    if (code == STRATA_OK)
        (void)fprintf(mcp_say(call),
                      accepted ? "Task %s: %s. Take the next one with next."
                               : "Task %s: %s is reported, not accepted yet: another copy "
                                 "decides. You have nothing more to do for it.",
                      id, state);
    return code;
}

static int checkpoint(struct mcp_call *call, struct mcp_agent *a, const char *id, uint64_t token)
{
    const json_t *text = json_object_get(call->arguments, "text");
    int code = strata_task_checkpoint(a->s, id, token, json_string_value(text),
                                      json_string_length(text), MCP_TERM_MS);
    if (code == STRATA_OK)
        (void)fprintf(mcp_say(call), "Task %s: checkpoint kept. Whoever goes on with it gets it.",
                      id);
    return code;
}

enum mcp_progress tool_update(struct mcp_call *call)
{
    const char *id = bare(mcp_text(call, "id")), *action = mcp_text(call, "action");
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL)
        return MCP_DONE;
    uint64_t token = mcp_held(call->context, a, MCP_HOLD_TASK, id);
    int code;
    if (strcmp(action, "checkpoint") == 0 && mcp_text(call, "text") == NULL) {
        mcp_refuse(call, "update: a checkpoint needs text. Nothing was done.");
        return MCP_DONE;
    }
    if (strcmp(action, "checkpoint") == 0) {
        code = checkpoint(call, a, id, token);
    } else if (strcmp(action, "release") == 0) {
        code = strata_task_release(a->s, id, token);
        if (code == STRATA_OK)
            (void)fprintf(mcp_say(call), "Task %s is given back.", id);
    } else {
        code = finish(call, a, id, token, strcmp(action, "fail") == 0 ? "failed" : action);
    }
    if (code != STRATA_OK)
        mcp_call_fail(call, a->s);
    else
        call->structured = json_object();
    if ((code == STRATA_OK || code == STRATA_CONFLICT) && strcmp(action, "checkpoint") != 0)
        mcp_let_go(call->context, a, MCP_HOLD_TASK, id);
    return MCP_DONE;
}
