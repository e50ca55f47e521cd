/*
 * replay_tasks.c - a week of a real fleet, through claims: every change of hands of its event log
 * is made with claim, renew, release and done, and held against a plain table of who has what.
 *
 *   replay_tasks [FILE]      the event log as JSON Lines; else that of ../shared/data, else skipped
 */
#include "strata.h"

#include <jansson.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TASKS_MAX  1024
#define AGENTS_MAX 64

static char dir[256];

static struct {
    char name[65];
    strata *s;
} agents[AGENTS_MAX];
static size_t agent_count;

static struct {
    char key[128], id[STRATA_TASK_SIZE];
    size_t holder; /* agent + 1; 0: nobody */
    uint64_t token;
    bool done;
} tasks[TASKS_MAX];
static size_t task_count;

static uint64_t claims, refused, renewed, released, done;

static _Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "FAILED: %s: %s\n", what, detail);
    exit(1);
}

static size_t agent_of(const char *name)
{
    char clean[65];
    size_t n = 0;
    for (const char *p = name; *p != '\0' && n < 64; p++)
        clean[n++] = *p == '/' || *p == '@' || *p == ' ' ? '_' : *p;
    clean[n] = '\0';
    for (size_t i = 0; i < agent_count; i++)
        if (strcmp(agents[i].name, clean) == 0)
            return i;
    if (agent_count == AGENTS_MAX)
        fail("agents", "too many");
    strata_options o = {.size = sizeof o, .agent = clean};
    strata_error e;
    if (strata_open(dir, &o, &agents[agent_count].s, &e) != STRATA_OK)
        fail("open", e.message);
    strcpy(agents[agent_count].name, clean);
    return agent_count++;
}

static size_t task_of(const char *key, strata *s)
{
    for (size_t i = 0; i < task_count; i++)
        if (strcmp(tasks[i].key, key) == 0)
            return i;
    if (task_count == TASKS_MAX)
        fail("tasks", "too many");
    strata_task_new t = {
        .size = sizeof t, .title = key, .key = key, .priority = STRATA_PRIORITY_NONE};
    snprintf(tasks[task_count].key, sizeof tasks[0].key, "%s", key);
    if (strata_task_add(s, &t, 0, tasks[task_count].id, NULL) != STRATA_OK)
        fail("add", strata_last_error(s)->message);
    return task_count++;
}

/* Who takes it gets it exactly when nobody has it. */
static void take(size_t task, size_t agent)
{
    strata_task_taken t;
    strata *s = agents[agent].s;
    if (tasks[task].done) {
        if (strata_task_reopen(s, tasks[task].id, "taken again") != STRATA_OK)
            fail("reopen", strata_last_error(s)->message);
        tasks[task].done = false;
    }
    if (tasks[task].holder == agent + 1) {
        if (strata_task_renew(s, tasks[task].id, tasks[task].token, 0) != STRATA_OK)
            fail("renew", strata_last_error(s)->message);
        renewed++;
        return;
    }
    int code = strata_task_claim(s, tasks[task].id, 0, 0, &t);
    if (tasks[task].holder != 0) {
        if (code != STRATA_TIMEOUT)
            fail("a task was given to two", tasks[task].key);
        refused++;
        return;
    }
    if (code != STRATA_OK)
        fail("claim", strata_last_error(s)->message);
    if (t.token <= tasks[task].token)
        fail("a token that does not grow", tasks[task].key);
    tasks[task].holder = agent + 1;
    tasks[task].token = t.token;
    claims++;
}

static void give_back(size_t task)
{
    if (tasks[task].holder == 0)
        return;
    strata *s = agents[tasks[task].holder - 1].s;
    if (strata_task_release(s, tasks[task].id, tasks[task].token) != STRATA_OK)
        fail("release", strata_last_error(s)->message);
    tasks[task].holder = 0;
    released++;
}

static void end(size_t task, size_t agent)
{
    if (tasks[task].done)
        return;
    if (tasks[task].holder == 0)
        take(task, agent);
    /* Somebody else says so: not accepted. */
    strata_task_end e = {.size = sizeof e, .id = tasks[task].id, .state = "done"};
    strata *s = agents[agent].s;
    if (tasks[task].holder != agent + 1 && strata_task_finish(s, &e, NULL) != STRATA_CONFLICT)
        fail("an end was accepted from who does not have it", tasks[task].key);
    s = agents[tasks[task].holder - 1].s;
    e.token = tasks[task].token;
    if (strata_task_finish(s, &e, NULL) != STRATA_OK)
        fail("done", strata_last_error(s)->message);
    tasks[task].holder = 0;
    tasks[task].done = true;
    done++;
}

static void replay(json_t *o)
{
    const char *type = json_string_value(json_object_get(o, "event_type"));
    const char *key = json_string_value(json_object_get(o, "issue_id"));
    const char *actor = json_string_value(json_object_get(o, "actor"));
    const char *text = json_string_value(json_object_get(o, "new_value"));
    json_t *value = text != NULL ? json_loads(text, 0, NULL) : NULL;
    const char *status = json_string_value(json_object_get(value, "status"));
    const char *assignee = json_string_value(json_object_get(value, "assignee"));
    size_t by = agent_of(actor != NULL && actor[0] != '\0' ? actor : "nobody");
    size_t task = task_of(key, agents[by].s);
    if (strcmp(type, "closed") == 0)
        end(task, by);
    else if (status != NULL &&
             (strcmp(status, "hooked") == 0 || strcmp(status, "in_progress") == 0))
        take(task, assignee != NULL && assignee[0] != '\0' ? agent_of(assignee) : by);
    else if (status != NULL && strcmp(status, "open") == 0)
        give_back(task);
    json_decref(value);
}

static int visit(void *arg, const strata_task *t)
{
    size_t *checked = arg;
    for (size_t i = 0; i < task_count; i++) {
        if (strcmp(tasks[i].id, t->id) != 0)
            continue;
        const char *holder = tasks[i].holder != 0 ? agents[tasks[i].holder - 1].name : "";
        if (strcmp(t->holder, holder) != 0 || (strcmp(t->state, "done") == 0) != tasks[i].done)
            fail("a task is not as the table says", t->key);
        ++*checked;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const char *const places[] = {"../shared/data/issues", "../../shared/data/issues",
                                         "../../../shared/data/issues"};
    char command[600], line[128 * 1024];
    FILE *f = NULL;
    if (argc > 1)
        f = fopen(argv[1], "r");
    for (size_t i = 0; i < 3 && f == NULL; i++) {
        snprintf(command, sizeof command, "%s/gastown.events.jsonl.gz", places[i]);
        if (access(command, R_OK) != 0)
            continue;
        snprintf(command, sizeof command, "gzip -dc %s/gastown.events.jsonl.gz", places[i]);
        f = popen(command, "r");
    }
    if (f == NULL) {
        puts("no event log: skipped");
        return 77;
    }
    snprintf(dir, sizeof dir, "%s/replay_tasks.XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    strata_init_result r;
    strata_error e;
    if (mkdtemp(dir) == NULL || strata_init(dir, NULL, &r, &e) != STRATA_OK)
        fail("init", dir);
    size_t events = 0, checked = 0;
    while (fgets(line, sizeof line, f) != NULL) {
        json_t *o = json_loads(line, 0, NULL);
        if (o == NULL)
            fail("event log", "a line is no JSON");
        replay(o);
        json_decref(o);
        events++;
    }
    strata_task_query q = {.size = sizeof q, .view = STRATA_TASKS_ALL};
    if (strata_task_each(agents[0].s, &q, visit, &checked) != STRATA_OK || checked != task_count)
        fail("list", "tasks are missing");
    printf("%zu events, %zu tasks, %zu agents: %" PRIu64 " claims, %" PRIu64
           " refused as somebody had it, %" PRIu64 " renewed, %" PRIu64 " given back, %" PRIu64
           " done\n",
           events, task_count, agent_count, claims, refused, renewed, released, done);
    for (size_t i = 0; i < agent_count; i++)
        strata_close(agents[i].s);
    snprintf(command, sizeof command, "rm -r '%s'", dir);
    return events > 3000 && claims > 100 && system(command) == 0 ? 0 : 1;
}
