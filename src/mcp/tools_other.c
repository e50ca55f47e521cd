/* tools_other.c - message, once_begin, once_report, reserve. */
#include "mcp/tools.h"

#include "edge/text.h"

#include <inttypes.h>
#include <string.h>

/* --- message ---------------------------------------------------------------------------------- */

const struct mcp_field message_input[] = {
    {"to", MCP_STRING, .optional = true, .about = "agent; without it your inbox is read"},
    {"text", MCP_STRING, .optional = true},
    {"read", MCP_ARRAY, .optional = true, .about = "ids of messages not to show again"},
    {"agent", MCP_STRING, .optional = true, .about = "who you are"},
    {0},
};

/* Messages of one answer. */
#define INBOX_SHOWN 20
/* Messages acknowledged in one call. */
#define READ_MAX 100

struct inbox {
    FILE *f;
    size_t count;
};

static int put_message(void *arg, const strata_message *m)
{
    struct inbox *x = arg;
    char age[EDGE_AGE_SIZE];
    edge_age(mcp_wall_ms(), m->time_ms, age);
    (void)fprintf(x->f, "%s, from %s, %s: ", m->id, m->from[0] != '\0' ? m->from : "unnamed", age);
    edge_put_text(x->f, m->text, m->text_size, 0);
    (void)fputc('\n', x->f);
    x->count++;
    return 0;
}

static int inbox(struct mcp_call *call, struct mcp_agent *a, const json_t *read)
{
    const char *ids[READ_MAX];
    size_t count = json_array_size(read) < READ_MAX ? json_array_size(read) : READ_MAX;
    for (size_t i = 0; i < count; i++)
        ids[i] = json_string_value(json_array_get(read, i));
    int code = count > 0 ? strata_message_ack(a->s, ids, count) : STRATA_OK;
    struct inbox x = {.f = mcp_say(call)};
    if (code == STRATA_OK)
        code = strata_message_each(a->s, a->name, INBOX_SHOWN, put_message, &x);
    if (code == STRATA_OK)
        (void)fputs(x.count == 0 ? "No messages." : "When you have read them: message with read.",
                    x.f);
    return code;
}

enum mcp_progress tool_message(struct mcp_call *call)
{
    const char *to = mcp_text(call, "to");
    const json_t *text = json_object_get(call->arguments, "text");
    char id[STRATA_TASK_SIZE];
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL)
        return MCP_DONE;
    if ((to == NULL) != !json_is_string(text) || a->name[0] == '\0') {
        mcp_refuse(call, a->name[0] == '\0'
                             ? "message: say who you are with agent."
                             : "message: to and text go together. Nothing was sent.");
        return MCP_DONE;
    }
    int code;
    if (to == NULL) {
        code = inbox(call, a, json_object_get(call->arguments, "read"));
    } else {
        code = strata_message_send(a->s, to, json_string_value(text), json_string_length(text),
                                   false, id);
        if (code == STRATA_OK)
            (void)fprintf(mcp_say(call), "Message %s waits for %s.", id, to);
    }
    if (code == STRATA_OK)
        call->structured = json_object();
    else if (to != NULL && code == STRATA_NOT_FOUND) /* the library's hint is for a shell */
        mcp_refuse(call,
                   "message: nobody called %s was ever heard of. Nothing was sent. strata://board "
                   "has who works here.",
                   to);
    else
        mcp_call_fail(call, a->s);
    return MCP_DONE;
}

/* --- once ------------------------------------------------------------------------------------- */

static const char *const classes[] = {"naked", "keyed", "queryable", "idempotent", NULL};
static const char *const outcomes[] = {"done", "nothing_happened", "unknown", NULL};

const struct mcp_field once_begin_input[] = {
    {"key", .type = MCP_STRING},
    {"what", MCP_STRING,
     .about = "the action, in the same words each time: the same key with others is refused"},
    {"class", MCP_STRING, .optional = true, .choices = classes,
     .about = "naked (default): a repeat is a second effect; keyed: the service drops repeats; "
              "queryable: it can be asked; idempotent: twice is harmless"},
    {"needs_approval", MCP_BOOLEAN, .optional = true, .about = "a person has to say yes first"},
    {"agent", MCP_STRING, .optional = true, .about = "who you are"},
    {0},
};
const struct mcp_field once_begin_output[] = {
    {"answer", .type = MCP_STRING},
    {"go", MCP_BOOLEAN, .about = "do it now"},
    {0},
};
const struct mcp_field once_report_input[] = {
    {"key", .type = MCP_STRING},
    {"outcome", MCP_STRING, .choices = outcomes, .about = "unknown: you cannot tell"},
    {"result", MCP_STRING, .optional = true, .about = "given to whoever asks again; or the proof"},
    {"agent", MCP_STRING, .optional = true, .about = "who you are"},
    {0},
};

static int class_of(const char *name)
{
    for (int i = 0; name != NULL && classes[i] != NULL; i++)
        if (strcmp(classes[i], name) == 0)
            return i;
    return STRATA_NAKED;
}

static void put_done_before(FILE *f, const char *key, const strata_operation *o)
{
    char stamp[EDGE_STAMP_SIZE];
    edge_stamp(o->ended_ms, stamp);
    (void)fprintf(f, "Do not do it: %s was done %s (%s). This is its result:\n", key, stamp,
                  o->holder[0] != '\0' ? o->holder : "somebody");
    (void)fwrite(o->result, 1, o->result_size, f);
}

static void put_answer(FILE *f, const char *key, const strata_op_answer *x, bool own)
{
    switch (x->answer) {
    case STRATA_OP_RUN:
        (void)fprintf(f,
                      "Go: do it now, once, then once_report. If you cannot tell whether it "
                      "happened, report unknown. (%s, token %" PRIu64 ")",
                      key, x->token);
        return;
    case STRATA_OP_REPLAY:
        put_done_before(f, key, &x->operation);
        return;
    case STRATA_OP_DOUBT:
        (void)fprintf(
            f,
            "Do not do it: %s: outcome unknown. Do not retry or use another key. A person "
            "has been asked; go on with other work.",
            key);
        return;
    case STRATA_OP_APPROVAL:
        (void)fprintf(f,
                      "Not yet: %s waits for a person to approve it. Go on with other work and "
                      "ask again later with the same key.",
                      key);
        return;
    case STRATA_OP_MISMATCH:
        (void)fprintf(f,
                      "Do not do it: %s was begun with another `what`. If that is this action in "
                      "other words, "
                      "ask with the same words; a key of its own is for another action only.",
                      key);
        return;
    case STRATA_OP_ENDED:
        (void)fprintf(f,
                      "Do not do it: %s has %s%s%s; nothing happened. A person can have it run "
                      "again.",
                      key, strata_op_state_name(x->operation.state),
                      x->operation.evidence[0] != '\0' ? ": " : "", x->operation.evidence);
        return;
    case STRATA_OP_PRUNED:
        (void)fprintf(
            f,
            "Do not do it, under no other key either: %s was known before; its result is not kept "
            "any more.",
            key);
        return;
    default:
        if (own) {
            (void)fprintf(f,
                          "Do not do it again: you have begun %s and not said what became of it. "
                          "Report it: once_report; unknown, if you cannot tell.",
                          key);
            return;
        }
        (void)fprintf(
            f, "Do not do it: %s is being done by %s. Ask again later with the same key.", key,
            x->operation.holder != NULL && x->operation.holder[0] != '\0' ? x->operation.holder
                                                                          : "somebody");
    }
}

/* The executor's descriptor stays open here until the report: should this server die before, the
 * operation is in doubt at once. */
enum mcp_progress tool_once_begin(struct mcp_call *call)
{
    const char *key = mcp_text(call, "key"), *what = mcp_text(call, "what");
    strata_op_answer answer;
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL)
        return MCP_DONE;
    if (!mcp_can_hold(call->context)) {
        mcp_refuse(call,
                   "once_begin: %d things are held already; report some first. Nothing was "
                   "recorded.",
                   MCP_HELD_MAX);
        return MCP_DONE;
    }
    strata_op_request request = {
        .size = sizeof request,
        .key = key,
        .parameters = what,
        .parameters_size = strlen(what),
        .op_class = class_of(mcp_text(call, "class")),
        .needs_approval = json_is_true(json_object_get(call->arguments, "needs_approval")),
    };
    int code = strata_op_begin(a->s, &request, &answer);
    if (code != STRATA_OK) {
        mcp_call_fail(call, a->s);
        (void)fputs(code == STRATA_INVALID || code == STRATA_LIMIT
                        ? ". Do not do it before once_begin takes it."
                        : ". Do not do it. once_begin with the same key says later how it stands.",
                    mcp_say(call));
        return MCP_DONE;
    }
    bool go = answer.answer == STRATA_OP_RUN;
#ifdef ST_DEFECT_MCP_GO_IN_DOUBT
    go = go || answer.answer == STRATA_OP_DOUBT;
#endif
    if (go)
        mcp_hold(call->context, a, MCP_HOLD_ONCE, key, answer.token, answer.executor);
    put_answer(mcp_say(call), key, &answer,
               !go && mcp_held(call->context, a, MCP_HOLD_ONCE, key) != 0);
    call->structured = json_pack("{s:b}", "go", go);
    return MCP_DONE;
}

enum mcp_progress tool_once_report(struct mcp_call *call)
{
    const char *key = mcp_text(call, "key"), *outcome = mcp_text(call, "outcome");
    const json_t *result = json_object_get(call->arguments, "result");
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL)
        return MCP_DONE;
    uint64_t token = mcp_held(call->context, a, MCP_HOLD_ONCE, key);
    if (token == 0) {
        mcp_refuse(call,
                   "once_report: %s was not begun here by you, or is reported already. "
                   "once_begin with the same key says how it stands.",
                   key);
        return MCP_DONE;
    }
    if (strcmp(outcome, "nothing_happened") == 0 && json_string_length(result) == 0) {
        mcp_refuse(call,
                   "once_report: say in result how you know that nothing happened. Nothing was "
                   "recorded; if you do not know, report unknown.");
        return MCP_DONE;
    }
    int fd = mcp_take_fd(call->context, a, MCP_HOLD_ONCE, key), code;
    if (strcmp(outcome, "done") == 0)
        code = strata_op_report(a->s, key, token, json_string_value(result),
                                json_string_length(result), fd);
    else if (strcmp(outcome, "unknown") == 0)
        code = strata_op_abandon(a->s, key, token, fd);
    else
        code = strata_op_refuse(a->s, key, token, json_string_value(result), fd);
    if (code != STRATA_OK)
        mcp_call_fail(call, a->s);
#ifdef ST_DEFECT_MCP_REPORT_ONCE
    if (false) {
#else
    if (code != STRATA_OK && code != STRATA_CONFLICT) {
#endif
        mcp_hold(call->context, a, MCP_HOLD_ONCE, key, token, fd);
        (void)fprintf(mcp_say(call),
                      ". It is still yours to report: do not do it again, only once_report.");
        return MCP_DONE;
    }
    mcp_let_go(call->context, a, MCP_HOLD_ONCE, key);
    if (code != STRATA_OK)
        return MCP_DONE;
    (void)fprintf(mcp_say(call),
                  strcmp(outcome, "done") == 0 ? "%s is done; whoever asks again gets the result."
                  : strcmp(outcome, "unknown") == 0 ? "%s is in doubt. Do not retry unless "
                                                      "once_begin with the same key says so; else "
                                                      "a person decides. Go on with other work."
                                                    : "%s: it is recorded that nothing happened.",
                  key);
    call->structured = json_object();
    return MCP_DONE;
}

/* --- reserve ---------------------------------------------------------------------------------- */

static const char *const reserve_actions[] = {"take", "release", NULL};
const struct mcp_field reserve_input[] = {
    {"path", MCP_STRING, .about = "or a pattern: src/**"},
    {"action", MCP_STRING, .optional = true, .choices = reserve_actions, .about = "default: take"},
    {"shared", MCP_BOOLEAN, .optional = true, .about = "others may have it too, as shared"},
    {"agent", MCP_STRING, .optional = true, .about = "who you are"},
    {0},
};

/* As it is called from the root of the work tree. */
static const char *from_root(const char *path, const char *tree)
{
    size_t n = strlen(tree);
    if (strncmp(path, tree, n) == 0 && path[n] == '/')
        return path + n + 1;
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    return path;
}

static void release(struct mcp_call *call, struct mcp_agent *a, const char *path)
{
    static const enum mcp_hold_kind kinds[] = {MCP_HOLD_PATHS, MCP_HOLD_SHARED_PATHS};
    struct mcp_session *x = call->context;
    size_t held = 0, lost = 0;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        uint64_t token = mcp_held(x, a, kinds[i], path);
        if (token == 0)
            continue;
        held++;
        lost += strata_reserve_release(a->s, x->tree, path, token) != STRATA_OK;
        mcp_let_go(x, a, kinds[i], path);
    }
    (void)fprintf(mcp_say(call),
                  held == 0  ? "You do not hold %s."
                  : lost > 0 ? "%s was not yours any more."
                             : "%s is free.",
                  path);
}

/* Others' reservations that are told in one answer. */
#define OTHERS_SHOWN 5

struct others {
    FILE *f;
    const char *agent;
    bool here, shared, more; /* more: something stands before it */
    size_t count;
};

static int put_other(void *arg, const strata_reservation *r)
{
    struct others *o = arg;
    char left[EDGE_AGE_SIZE];
    bool passed = o->here && o->shared && r->shared;
    if (r->here != o->here || passed || strcmp(r->holder, o->agent) == 0)
        return 0;
    edge_span(r->left_ms, left);
    (void)fputs(o->more ? "\n" : "", o->f);
    o->more = true;
    edge_put_text(o->f, r->pattern, strlen(r->pattern), 0);
    (void)fprintf(o->f, " is reserved by %s%s", r->holder[0] != '\0' ? r->holder : "somebody",
                  r->here ? "" : " in another work tree");
    if (r->reason[0] != '\0') {
        (void)fputs(": ", o->f);
        edge_put_text(o->f, r->reason, strlen(r->reason), 0);
    }
    (void)fprintf(o->f, ", for %s at most.", left);
    return ++o->count == OTHERS_SHOWN;
}

static void take(struct mcp_call *call, struct mcp_agent *a, const char *path, bool shared)
{
    struct mcp_session *x = call->context;
    uint64_t token;
    int code = mcp_reserve(x, a, path, shared, &token);
    if (code != STRATA_OK && code != STRATA_TIMEOUT) {
        mcp_call_fail(call, a->s);
        return;
    }
    struct others o = {.f = mcp_say(call),
                       .agent = a->name,
                       .here = code != STRATA_OK,
                       .shared = shared,
                       .more = code == STRATA_OK};
    if (code == STRATA_OK) {
        mcp_hold(x, a, shared ? MCP_HOLD_SHARED_PATHS : MCP_HOLD_PATHS, path, token, -1);
        (void)fprintf(o.f, "%s is yours until you release it or this session ends.", path);
    }
    (void)strata_reserve_each(a->s, x->tree, NULL, path, put_other, &o);
    if (code == STRATA_TIMEOUT)
        (void)fputs(o.count > 0
                        ? "\nNothing was reserved: work on something else, or ask with message."
                        : "Somebody else had some of it just now: ask again.",
                    o.f);
    else if (o.count > 0)
        (void)fputs("\nIts files are not yours, but a merge of both may conflict.", o.f);
}

enum mcp_progress tool_reserve(struct mcp_call *call)
{
    const struct mcp_session *x = call->context;
    const char *path = from_root(mcp_text(call, "path"), x->tree);
    const char *action = mcp_text(call, "action");
    struct mcp_agent *a = mcp_call_agent(call);
    if (a == NULL)
        return MCP_DONE;
    bool releases = action != NULL && strcmp(action, "release") == 0;
    if (a->name[0] == '\0')
        mcp_refuse(call, "reserve: say who you are with agent.");
    else if (releases)
        release(call, a, path);
    else if (mcp_can_hold(x))
        take(call, a, path, json_is_true(json_object_get(call->arguments, "shared")));
    else
        mcp_refuse(call, "reserve: %d things are held already; release some first.", MCP_HELD_MAX);
    if (!call->is_error)
        call->structured = json_object();
    return MCP_DONE;
}
