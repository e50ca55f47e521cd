/* cmd_log_ops.c - log --ops, log verify: the ordered log, in words. */
#include "cli/cli.h"

#include <string.h>

#define EVIDENCE_MAX 300

/* What somebody wanted of what; "by" whom comes before, why behind. */
static const struct {
    const char *command, *words;
} sentences[] = {
    {"propose", "proposed"},
    {"approve", "approved"},
    {"reject", "rejected"},
    {"grant", "asked for the grant of"},
    {"start", "started"},
    {"renew", "extended the term of"},
    {"report", "reported the result of"},
    {"refuse", "reported that nothing happened of"},
    {"lapse", "noted that the term or executor was lost of"},
    {"expire", "noted the expiry of"},
    {"reissue", "had run again"},
    {"settle", "settled"},
    {"again", "wants another run of"},
    {"prune", "pruned"},
    {"clear", "said that it never ran:"},
    {"lease-acquire", "asked for"},
    {"lease-renew", "extended the term of"},
    {"lease-release", "gave back"},
    {"lease-lapse", "noted that the term ended of"},
    {"rearm", "began the term anew, on another clock, of"},
    {"lease-rearm", "began the term anew, on another clock, of"},
    {"reserve", "asked for the paths"},
    {"unreserve", "gave back the paths"},
    {"claim-checkpoint", "left a checkpoint of"},
    {"claim-finish", "finished"},
    {"claim-reopen", "reopened"},
    {"claim-copied", "copied outcomes of tasks"},
    {"seal", "sealed the log; it goes on in"},
    {"generation", "took over in"},
};

static const char *words_of(const char *command)
{
    for (size_t i = 0; i < sizeof sentences / sizeof sentences[0]; i++)
        if (strcmp(sentences[i].command, command) == 0)
            return sentences[i].words;
    return "gave a command of a newer version";
}

struct ops {
    struct cli *c;
    json_t *list;
    uint64_t last, wanted; /* positions: of the last command; of the last that was an alternative */
    size_t count;
};

static json_t *command_json(const strata_command *k)
{
    return json_pack(
        "{s:I,s:o,s:s,s:s,s:s,s:s,s:s,s:I,s:s,s:s,s:s,s:s,s:I,s:b,s:b,s:b,s:I,s:s,s:s}", "position",
        (json_int_t)k->position, "time", cli_json_time(k->time_ms), "agent", k->agent, "command",
        k->command, "key", k->key, "kind", k->kind, "class", k->op_class, "token",
        (json_int_t)k->token, "outcome", k->outcome, "person", k->person, "evidence", k->evidence,
        "successor", k->successor, "generation", (json_int_t)k->generation, "forced",
        (int)k->forced, "by_check", (int)k->by_check, "alternative", (int)k->alternative,
        "result_bytes", (json_int_t)k->result_size, "tree", k->tree, "verdict", k->verdict);
}

/* Of a claim: what happened to the task. */
static const char *outcome_of(const strata_command *k)
{
    return strcmp(k->command, "claim-finish") != 0 ? k->outcome
           : strcmp(k->outcome, "committed") == 0  ? "done"
           : strcmp(k->outcome, "retry") == 0      ? "to be tried again"
                                                   : k->outcome;
}

/* What came of it. */
static const char *verdict_words(const strata_command *k)
{
    static const struct {
        const char *verdict, *words;
    } words[] = {
        {"same", "nothing to do, it was so already"},
        {"refused", "refused, as it stood"},
        {"mismatch", "refused: the key stands for something else"},
        {"stale", "refused: the token is not the current one"},
        {"held", "refused: somebody else has it"},
        {"pruned", "refused: known before, and pruned"},
        {"person", "refused: that is for a person"},
        {"sealed", "refused: this log had ended"},
        {"invalid", "refused: over a limit or not well-formed"},
        {"skipped", "not wanted any more"},
        {"ended", "refused: it has an outcome"},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i].verdict, k->verdict) == 0)
            return words[i].words;
    return k->verdict;
}

/* "17 2026-11-23T22:51:32Z ann: settled deploy-42 as committed (token 9); by eve: it is there -> done" */
static void put_command(const strata_command *k, bool or_else)
{
    char stamp[CLI_STAMP_SIZE];
    cli_stamp(k->time_ms, stamp);
    (void)printf("%llu %.19sZ %s: %s", (unsigned long long)k->position, stamp,
                 k->agent[0] != '\0'    ? k->agent
                 : k->person[0] != '\0' ? k->person
                                        : "strata",
                 or_else ? "or else for" : words_of(k->command));
    if (k->kind[0] != '\0')
        (void)printf(" %s", k->kind);
    if (k->key[0] != '\0') {
        (void)putchar(' ');
        cli_put_name(stdout, k->key);
    }
    if (k->tree[0] != '\0')
        (void)printf(" (work tree %s)", k->tree);
    if (k->successor[0] != '\0')
        (void)printf(" %s", k->successor);
    if (k->generation != 0)
        (void)printf(", generation %llu", (unsigned long long)k->generation);
    if (k->forced)
        (void)fputs(", by force", stdout);
    if (k->outcome[0] != '\0')
        (void)printf(" as %s", outcome_of(k));
    if (k->token != 0)
        (void)printf(" (token %llu)", (unsigned long long)k->token);
    if (k->by_check)
        (void)fputs("; by its check command", stdout);
    if (k->person[0] != '\0') {
        (void)fputs("; by ", stdout);
        cli_put_text(stdout, k->person, strlen(k->person), 0);
    }
    if (k->evidence[0] != '\0') {
        (void)fputs(": ", stdout);
        cli_put_text(stdout, k->evidence, strlen(k->evidence), EVIDENCE_MAX);
    }
    if (k->verdict[0] != '\0')
        (void)printf(" -> %s", verdict_words(k));
    (void)putchar('\n');
}

static int visit_command(void *arg, const strata_command *k)
{
    struct ops *o = arg;
    o->last = k->position;
    o->count++;
    if (o->list != NULL)
        return json_array_append_new(o->list, command_json(k)) == 0 ? 0 : STRATA_NO_MEMORY;
    put_command(k, k->alternative && o->wanted == k->position);
    if (k->alternative)
        o->wanted = k->position;
    return ferror(stdout) ? 1 : 0;
}

int cli_log_ops(struct cli *c, size_t limit, bool since, uint64_t after)
{
    struct ops o = {.c = c};
    strata_coordinator k;
    int code = strata_coordinator_get(c->s, &k);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (!since)
        after = limit != 0 && k.position > limit ? k.position - limit : 0;
    o.last = after;
    if (c->json)
        o.list = json_array();
    code = strata_commands(c->s, after, limit, visit_command, &o);
    if (code != STRATA_OK) {
        json_decref(o.list);
        return cli_fail(c, code);
    }
    bool more = since ? o.last < k.position : after > 0;
    if (c->json)
        return cli_json(c, json_pack("{s:o,s:b,s:I}", "commands", o.list, "more", (int)more, "next",
                                     (json_int_t)o.last));
    if (more && since)
        cli_note(c, "there is more; go on with: strata log --ops --since %llu",
                 (unsigned long long)o.last);
    else if (more)
        cli_note(c, "there is more before; --limit N prints more entries, --limit 0 all");
    else if (o.count == 0)
        cli_note(c, since ? "nothing since then" : "nothing was ordered yet");
    return 0;
}

int cmd_log_verify(struct cli *c)
{
    strata_coordinator k;
    int status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_log_verify(c->s, &k);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, json_pack("{s:I,s:s,s:I,s:b}", "position", (json_int_t)k.position,
                                     "head", k.head, "generation", (json_int_t)k.generation,
                                     "sealed", (int)k.sealed));
    (void)printf("%llu entries, all links hold, head %s\n", (unsigned long long)k.position, k.head);
    return 0;
}
