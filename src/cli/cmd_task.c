/* cmd_task.c - adding and changing tasks: add, update, done, fail, cancel, dep. */
#include "cli/task.h"

#include <stdlib.h>
#include <string.h>

/* Of all --after options together, as in the library. */
#define AFTER_MAX 1000

/* --- forms of arguments ----------------------------------------------------------------------- */

static int read_priority(struct cli *c, int *priority)
{
    uint64_t n;
    *priority = STRATA_PRIORITY_NONE;
    if (!cli_given(c, OPT_PRIORITY))
        return 0;
    const char *text = c->options[OPT_PRIORITY];
    int status =
        cli_number(c, "--priority", text[0] == 'P' || text[0] == 'p' ? text + 1 : text, 4, &n);
    *priority = (int)n;
    return status;
}

/* A time, or how long from now: an age looks back elsewhere, here it looks ahead. */
static int read_not_before(struct cli *c, uint64_t none, uint64_t *ms)
{
    *ms = none;
    if (!cli_given(c, OPT_NOT_BEFORE))
        return 0;
    const char *text = c->options[OPT_NOT_BEFORE];
    if (text[0] == '\0') {
        *ms = 0;
        return 0;
    }
    if (strchr(text, '-') != NULL)
        return cli_time(c, "--not-before", text, false, ms);
    uint64_t span;
    int status =
        cli_duration(c, "--not-before takes a time as 2027-01-31T09:00:00Z, or", text, &span);
    *ms = cli_now(c) + span;
    return status;
}

struct after {
    const char *list[AFTER_MAX];
    size_t count;
    char *copy[CLI_REPEATS_MAX]; /* memory of the names */
    size_t copies;
};

/* "141", "141,142", and the option again. */
static int read_after(struct cli *c, struct after *a)
{
    for (size_t i = 0; i < c->repeat_count; i++) {
        char *copy = strdup(c->repeated[i]), *rest = copy, *one;
        if (copy == NULL)
            return cli_error(c, STRATA_NO_MEMORY, NULL, "out of memory");
        a->copy[a->copies++] = copy;
        while ((one = strsep(&rest, ", ")) != NULL) {
            if (one[0] == '\0')
                continue;
            if (a->count == AFTER_MAX)
                return cli_error(c, STRATA_LIMIT,
                                 "nothing was recorded; `strata dep add` adds more",
                                 "--after names more than %d tasks", AFTER_MAX);
            a->list[a->count++] = one;
        }
    }
    return 0;
}

static void after_release(struct after *a)
{
    for (size_t i = 0; i < a->copies; i++)
        free(a->copy[i]);
    free(a);
}

/* --- add -------------------------------------------------------------------------------------- */

static int add_task(struct cli *c, const strata_task_new *task)
{
    char id[STRATA_TASK_SIZE];
    bool existed = false;
    int code = strata_task_add(c->s, task, c->no_flush ? STRATA_NO_FLUSH : 0, id, &existed);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, json_pack("{s:o,s:b}", "seq", task_json_name(id), "existed", existed));
    (void)printf("%s\n", id);
    if (existed)
        cli_note(c, "the key %s was there already", task->key);
    return 0;
}

int cmd_add(struct cli *c)
{
    struct cli_text title = {0}, data = {0};
    struct after *after = calloc(1, sizeof(*after));
    strata_task_new task = {
        .size = sizeof(task),
        .channel = c->options[OPT_CHANNEL],
        .agent = c->options[OPT_FOR_AGENT],
        .parent = c->options[OPT_PARENT],
        .key = c->options[OPT_TASK_KEY],
    };
    if (after == NULL)
        return cli_error(c, STRATA_NO_MEMORY, NULL, "out of memory");
    int status = cli_text_read(c, "TITLE", c->args[0], CLI_VALUE_SIZE_MAX, &title);
    if (status == 0 && cli_given(c, OPT_DATA))
        status = cli_text_read(c, "--data", c->options[OPT_DATA], CLI_VALUE_SIZE_MAX, &data);
    if (status == 0)
        status = read_priority(c, &task.priority);
    if (status == 0)
        status = read_not_before(c, 0, &task.not_before_ms);
    if (status == 0)
        status = read_after(c, after);
    if (status == 0)
        status = cli_open(c);
    if (status == 0) {
        task.title = title.p;
        task.data = data.p;
        task.data_size = data.n;
        task.after = after->list;
        task.after_count = after->count;
        status = add_task(c, &task);
    }
    cli_text_release(&title);
    cli_text_release(&data);
    after_release(after);
    return status;
}

/* --- update, done, fail, cancel --------------------------------------------------------------- */

static strata_task_change no_change(void)
{
    return (strata_task_change){
        .size = sizeof(strata_task_change),
        .priority = STRATA_PRIORITY_NONE,
        .not_before_ms = UINT64_MAX,
    };
}

/* Makes the change, and says what the task is now, or else what `said` tells of it. */
static int change_and_say(struct cli *c, const strata_task_change *change, const char *said)
{
    strata_task t;
    int code = strata_task_update(c->s, c->args[0], change, c->no_flush ? STRATA_NO_FLUSH : 0);
    if (code == STRATA_OK)
        code = strata_task_get(c->s, c->args[0], &t);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, task_json(&t, false));
    if (c->quiet) {
        (void)printf("%s\n", t.id);
        return 0;
    }
    if (said != NULL) {
        (void)printf("%s %s\n", t.id, said);
        return 0;
    }
    (void)printf("%s is %s: ", t.id, t.state);
    cli_put_text(stdout, t.title, strlen(t.title), 200);
    (void)putchar('\n');
    return 0;
}

static int change_task(struct cli *c, const strata_task_change *change)
{
    return change_and_say(c, change, NULL);
}

/* Opens it again, in the ledger too; then changes what else there is to change. */
static int reopen(struct cli *c, strata_task_change *change)
{
    int code = strata_task_reopen(c->s, c->args[0], "reopened");
    if (code != STRATA_OK)
        return cli_fail(c, code);
    change->state = "open";
    return change_task(c, change);
}

/* Words that would hold a task, and are meant for something else. */
static int check_state_word(struct cli *c)
{
    static const struct {
        const char *word, *command, *option;
    } words[] = {
        {"closed", "done", ""},
        {"complete", "done", ""},
        {"completed", "done", ""},
        {"finished", "done", ""},
        {"resolved", "done", ""},
        {"started", "claim", ""},
        {"claimed", "claim", ""},
        {"in_progress", "claim", ""},
        {"in-progress", "claim", ""},
        {"ready", "update", " --state open"},
        {"todo", "update", " --state open"},
    };
    const char *state = c->options[OPT_TASK_STATE];
    for (size_t i = 0; state != NULL && i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(state, words[i].word) == 0)
            return cli_usage(c,
                             "--state %s would hold it: nobody would get it; use: strata %s %s%s",
                             state, words[i].command, c->args[0], words[i].option);
    return 0;
}

int cmd_update(struct cli *c)
{
    struct cli_text title = {0}, data = {0};
    strata_task_change change = no_change();
    int status = check_state_word(c);
    if (status != 0)
        return status;
    if (cli_given(c, OPT_REOPEN) && cli_given(c, OPT_TASK_STATE))
        return cli_usage(c, "give either --reopen or --state");
    if (cli_given(c, OPT_TITLE))
        status = cli_text_read(c, "--title", c->options[OPT_TITLE], CLI_VALUE_SIZE_MAX, &title);
    if (status == 0 && cli_given(c, OPT_DATA))
        status = cli_text_read(c, "--data", c->options[OPT_DATA], CLI_VALUE_SIZE_MAX, &data);
    if (status == 0)
        status = read_priority(c, &change.priority);
    if (status == 0)
        status = read_not_before(c, UINT64_MAX, &change.not_before_ms);
    if (status == 0)
        status = cli_open(c);
    if (status == 0) {
        change.title = title.p;
        change.data = data.p;
        change.data_size = data.n;
        change.channel = c->options[OPT_CHANNEL];
        change.agent = c->options[OPT_FOR_AGENT];
        change.parent = c->options[OPT_PARENT];
        change.state = c->options[OPT_TASK_STATE];
        bool opens =
            cli_given(c, OPT_REOPEN) || (change.state != NULL && strcmp(change.state, "open") == 0);
        status = opens ? reopen(c, &change) : change_task(c, &change);
    }
    cli_text_release(&title);
    cli_text_release(&data);
    return status;
}

int task_token(struct cli *c, uint64_t *token)
{
    *token = 0;
    if (!cli_given(c, OPT_TASK_TOKEN))
        return 0;
    int status = cli_number(c, "--token", c->options[OPT_TASK_TOKEN], (uint64_t)1 << 53, token);
    return status == 0 && *token == 0 ? cli_usage(c, "--token is at least 1") : status;
}

/* Says what became of it. */
static int ended(struct cli *c, bool accepted)
{
    strata_task t;
    int code = strata_task_get(c->s, c->args[0], &t);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json) {
        json_t *o = task_json(&t, false);
        (void)json_object_set_new(o, "accepted", json_boolean(accepted));
        return cli_json(c, o);
    }
    if (!accepted)
        cli_note(c, "another copy decides: the report is kept, and accepted there if the claim "
                    "still holds");
    if (c->quiet) {
        (void)printf("%s\n", t.id);
        return 0;
    }
    (void)printf("%s is %s: ", t.id, accepted ? t.state : "reported");
    cli_put_text(stdout, t.title, strlen(t.title), 200);
    (void)putchar('\n');
    return 0;
}

/* done and fail; with --next the next one is taken in the same step. */
static int end_task(struct cli *c, const char *state, enum cli_option_id text_option)
{
    struct cli_text text = {0};
    strata_task_end end = {.size = sizeof(end), .id = c->args[0], .state = state};
    bool accepted;
    int status = task_token(c, &end.token);
    if (status == 0 && cli_given(c, OPT_RETRY_IN)) {
        status = cli_duration(c, "--retry-in", c->options[OPT_RETRY_IN], &end.retry_in_ms);
        end.state = "retry";
    }
    if (status == 0 && cli_given(c, text_option))
        status = cli_text_read(c, cli_options[text_option].name, c->options[text_option],
                               CLI_VALUE_SIZE_MAX, &text);
    if (status == 0)
        status = cli_open(c);
    if (status == 0) {
        end.text = text.p;
        end.text_size = text.n;
        if (cli_given(c, OPT_NEXT)) {
            status = task_take_next(c, &end);
        } else {
            int code = strata_task_finish(c->s, &end, &accepted);
            status = code == STRATA_OK ? ended(c, accepted) : cli_fail(c, code);
        }
    }
    cli_text_release(&text);
    return status;
}

int cmd_done(struct cli *c)
{
    return end_task(c, "done", OPT_RESULT);
}

int cmd_fail(struct cli *c)
{
    return end_task(c, "failed", OPT_REASON);
}

/* For whoever is in charge: no claim is asked for. */
int cmd_cancel(struct cli *c)
{
    struct cli_text text = {0};
    strata_task_change change = no_change();
    int status = 0;
    if (cli_given(c, OPT_REASON))
        status = cli_text_read(c, "--reason", c->options[OPT_REASON], CLI_VALUE_SIZE_MAX, &text);
    if (status == 0)
        status = cli_open(c);
    if (status == 0) {
        change.state = "cancelled";
        change.reason = text.p;
        status = change_task(c, &change);
    }
    cli_text_release(&text);
    return status;
}

/* --- dependencies ----------------------------------------------------------------------------- */

static int change_parent(struct cli *c, bool remove)
{
    strata_task_change change = no_change();
    if (remove) {
        strata_task t;
        int code = strata_task_get(c->s, c->args[0], &t);
        if (code != STRATA_OK)
            return cli_fail(c, code);
        if (strcmp(t.parent, c->args[1]) != 0)
            return cli_error(c, STRATA_NOT_FOUND, NULL, "%s is not a part of %s", t.id, c->args[1]);
    }
    char said[STRATA_TASK_SIZE + 32];
    (void)snprintf(said, sizeof(said), "is %s part of %.*s", remove ? "no longer" : "a",
                   STRATA_TASK_SIZE, c->args[1]);
    change.parent = remove ? "" : c->args[1];
    return change_and_say(c, &change, said);
}

static int change_dependency(struct cli *c, bool remove)
{
    const char *kind = c->options[OPT_DEP_KIND];
    bool changed = false;
    bool parent = kind != NULL && strcmp(kind, "parent") == 0;
    if (kind != NULL && !parent && strcmp(kind, "blocks") != 0)
        return cli_usage(c, "--kind is blocks or parent");
    int status = cli_open(c);
    if (status != 0)
        return status;
    if (parent)
        return change_parent(c, remove);
    int code = strata_task_depend(c->s, c->args[0], c->args[1], remove, &changed);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, json_pack("{s:o,s:o,s:b}", "seq", task_json_name(c->args[0]), "on",
                                     task_json_name(c->args[1]), "changed", changed));
    if (!c->quiet)
        (void)printf("%s %s %s%s\n", c->args[0], remove ? "no longer waits for" : "waits for",
                     c->args[1], changed ? "" : " (as before)");
    return 0;
}

int cmd_dep_add(struct cli *c)
{
    return change_dependency(c, false);
}

int cmd_dep_remove(struct cli *c)
{
    return change_dependency(c, true);
}
