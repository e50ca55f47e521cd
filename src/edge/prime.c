/* prime.c - what an agent has to know when it starts. Short: it is read at every start. */
#include "edge/prime.h"

#include "edge/text.h"

#include <inttypes.h>
#include <string.h>

/* Of each list; whoever wants more asks. */
#define LISTED 5
/* Of a text: enough to know what it is about, and to go on from a checkpoint. Bytes. */
#define TEXT_MAX       300
#define CHECKPOINT_MAX 2000

struct prime {
    FILE *f;
    const char *agent;
    uint64_t now_ms, count;
};

static int put_own(void *arg, const strata_task *t)
{
    struct prime *p = arg;
    if (t->holder == NULL || p->agent == NULL || strcmp(t->holder, p->agent) != 0)
        return 0;
    if (p->count++ == 0)
        (void)fputs("\n## Your unfinished work: go on with it first\n", p->f);
    (void)fprintf(p->f, "- task %s: ", t->id);
    edge_put_text(p->f, t->title, strlen(t->title), TEXT_MAX);
    if (t->checkpoint_size > 0) {
        (void)fputs("\n  last checkpoint: ", p->f);
        edge_put_text(p->f, t->checkpoint, t->checkpoint_size, CHECKPOINT_MAX);
    }
    (void)fputc('\n', p->f);
    return p->count >= LISTED;
}

static int put_ready(void *arg, const strata_task *t)
{
    struct prime *p = arg;
    if (p->count++ == 0)
        (void)fputs("\n## Ready tasks\n", p->f);
    (void)fprintf(p->f, "- %s P%d ", t->id, t->priority);
    edge_put_text(p->f, t->title, strlen(t->title), TEXT_MAX);
    (void)fputc('\n', p->f);
    return 0;
}

static int put_message(void *arg, const strata_message *m)
{
    struct prime *p = arg;
    char age[EDGE_AGE_SIZE];
    if (p->count++ == 0)
        (void)fputs("\n## Messages for you (acknowledge them when read)\n", p->f);
    edge_age(p->now_ms, m->time_ms, age);
    (void)fprintf(p->f, "- %s, from %s, %s: ", m->id, m->from[0] != '\0' ? m->from : "unnamed",
                  age);
    edge_put_text(p->f, m->text, m->text_size, TEXT_MAX);
    (void)fputc('\n', p->f);
    return 0;
}

static int put_pending(void *arg, const strata_pending *x)
{
    struct prime *p = arg;
    if (p->count++ == 0)
        (void)fputs("\n## Written in two places at once (one value is shown meanwhile)\n", p->f);
    (void)fprintf(p->f, "- %s: ", x->id);
    edge_put_name(p->f, x->entity);
    (void)fputc(' ', p->f);
    edge_put_name(p->f, x->attribute);
    (void)fputc('\n', p->f);
    return 0;
}

static int put_held(void *arg, const strata_tracked *file)
{
    struct prime *p = arg;
    if (!file->held)
        return 0;
    if (p->count++ == 0)
        (void)fputs("\n## Files that Git has put back: what was written since is not in them\n",
                    p->f);
    (void)fputs("- ", p->f);
    edge_put_name(p->f, file->path);
    (void)fputc('\n', p->f);
    return p->count >= LISTED;
}

static int put_doubt(void *arg, const strata_operation *o)
{
    struct prime *p = arg;
    if (p->count++ == 0)
        (void)fputs("\n## In doubt: do not retry, do not use another key; a person decides\n",
                    p->f);
    (void)fputs("- ", p->f);
    edge_put_name(p->f, o->key);
    (void)fputc('\n', p->f);
    return 0;
}

static const char *const rules[] = {
    [EDGE_TOOLS] =
        "\n## Rules\n"
        "1. Take work with `next`; nobody else gets it while you hold it.\n"
        "2. Save how far you are with `update` (checkpoint) before long steps; end with done or "
        "fail.\n"
        "3. What others have to know is a fact: `fact_set`. Look first: `fact_search`.\n"
        "4. An answer that says what you replaced, or that it was newer than what you had read, is "
        "for you to judge.\n"
        "5. What must not happen twice (mail, deployment, payment): `once_begin`, do it only when "
        "told to, then `once_report`.\n"
        "6. In doubt means that nobody knows: do not retry, do not use another key, go on with "
        "other work.\n"
        "7. Nothing ready is no error: wait with wait_ms, or stop.\n",
    [EDGE_COMMANDS] =
        "\n## Rules\n"
        "1. Take work with `strata next`; nobody else gets it while you hold it.\n"
        "2. Save how far you are with `strata checkpoint N --data TEXT` before long steps; end "
        "with "
        "`strata done N` or `strata fail N --reason TEXT`.\n"
        "3. What others have to know is a fact: `strata fact set ENTITY ATTRIBUTE VALUE`. Look "
        "first: `strata search WORDS`, `strata fact list ENTITY`.\n"
        "4. An answer that says what you replaced, or that it was newer than what you had read, is "
        "for you to judge.\n"
        "5. What must not happen twice (mail, deployment, payment): `strata once --key KEY -- "
        "COMMAND`.\n"
        "6. In doubt means that nobody knows: do not retry, do not use another key, go on with "
        "other work.\n"
        "7. Nothing ready is no error: `strata next --wait 60s`, or stop.\n"
        "8. `strata inbox` has your messages, `strata send AGENT TEXT` answers, `strata help "
        "COMMAND` explains.\n",
};

int edge_prime(FILE *f, strata *s, const char *agent, uint64_t now_ms, enum edge_door door)
{
    struct prime p = {.f = f, .agent = agent, .now_ms = now_ms};
    strata_task_query q = {.size = sizeof q, .view = STRATA_TASKS_UNFINISHED, .agent = agent};
    (void)fprintf(f, "# Strata: shared workspace%s%s\n", agent != NULL ? ", you are " : "",
                  agent != NULL ? agent : "");
    int code = strata_task_each(s, &q, put_own, &p);
    if (code == STRATA_OK && agent != NULL) {
        p.count = 0;
        code = strata_message_each(s, agent, LISTED, put_message, &p);
    }
    q.view = STRATA_TASKS_READY;
    q.limit = LISTED;
    p.count = 0;
    if (code == STRATA_OK)
        code = strata_task_each(s, &q, put_ready, &p);
    p.count = 0;
    if (code == STRATA_OK)
        code = strata_pending_each(s, STRATA_PENDING_CONFLICT, LISTED, put_pending, &p);
    p.count = 0;
    if (code == STRATA_OK)
        code = strata_file_each(s, put_held, &p);
    p.count = 0;
    /* Where the ledger cannot be read there is nothing to tell of it. */
    if (code == STRATA_OK)
        (void)strata_op_each(s, STRATA_OP_IN_DOUBT, NULL, LISTED, put_doubt, &p);
    if (code == STRATA_OK)
        (void)fputs(rules[door], f);
    return code;
}
