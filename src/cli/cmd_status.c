/* cmd_status.c - the workspace as a whole: status, doctor, merge-state. */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>

/* --- status ----------------------------------------------------------------------------------- */

static json_t *totals_json(const strata_task_totals *t)
{
    return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "total", (json_int_t)t->tasks,
                     "ready", (json_int_t)t->to_be_had, "claimed", (json_int_t)t->claimed,
                     "waiting", (json_int_t)t->waiting, "deferred", (json_int_t)t->deferred, "held",
                     (json_int_t)t->held, "done", (json_int_t)t->done, "failed",
                     (json_int_t)t->failed, "cancelled", (json_int_t)t->cancelled);
}

/* "tasks      3 ready, 1 claimed, 2 waiting, 40 done": what there is */
static void put_totals(const strata_task_totals *t)
{
    const struct {
        const char *word;
        uint64_t count;
    } list[] = {{"ready", t->to_be_had},   {"claimed", t->claimed},    {"waiting", t->waiting},
                {"deferred", t->deferred}, {"held", t->held},          {"done", t->done},
                {"failed", t->failed},     {"cancelled", t->cancelled}};
    const char *before = "tasks      ";
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        if (list[i].count == 0)
            continue;
        (void)printf("%s%llu %s", before, (unsigned long long)list[i].count, list[i].word);
        before = ", ";
    }
    if (t->tasks > 0)
        (void)printf("%s\n", t->failed > 0 ? " (what waits for a failed one goes on waiting)" : "");
}

static int status_json(struct cli *c, const strata_status *st, const strata_task_totals *tasks,
                       size_t in_doubt, size_t approval)
{
    json_t *replicas = json_array();
    for (size_t i = 0; i < st->replica_count; i++) {
        const strata_replica_info *r = &st->replicas[i];
        json_t *o = json_pack("{s:s,s:s,s:b,s:I,s:o,s:I}", "id", r->id, "name", r->name, "self",
                              r->self, "records", (json_int_t)r->records, "last_at",
                              cli_json_time(r->last_ms), "ahead_ms", (json_int_t)r->ahead_ms);
        (void)json_array_append_new(replicas, o);
    }
    json_t *data = json_pack(
        "{s:s,s:s,s:s,s:o,s:i,s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:b,s:b,s:I,s:I,s:s?,s:o}",
        "workspace", st->workspace, "replica", st->replica, "name", st->name, "state_dir",
        cli_json_text(st->state_dir, strlen(st->state_dir)), "epoch", (int)st->epoch, "digest",
        st->digest, "records", (json_int_t)st->records, "attributes", (json_int_t)st->attributes,
        "pending", (json_int_t)st->pending, "unseen", (json_int_t)st->unseen, "waiting",
        (json_int_t)st->waiting, "quarantined_bytes", (json_int_t)st->quarantined, "log_bytes",
        (json_int_t)st->log_size, "replicas", replicas, "read_only", st->read_only, "index_behind",
        st->index_behind, "operations_in_doubt", (json_int_t)in_doubt, "operations_to_approve",
        (json_int_t)approval, "agent", c->agent, "tasks", totals_json(tasks));
    return cli_json(c, data);
}

static void put_size(uint64_t bytes)
{
    if (bytes < 10000)
        (void)printf("%llu bytes", (unsigned long long)bytes);
    else if (bytes < 10000000)
        (void)printf("%llu kB", (unsigned long long)(bytes / 1000));
    else
        (void)printf("%llu MB", (unsigned long long)(bytes / 1000000));
}

static void put_replica(struct cli *c, const strata_replica_info *r)
{
    char age[CLI_AGE_SIZE];

    (void)fputs("copy       ", stdout);
    cli_put_text(stdout, r->name[0] != '\0' ? r->name : r->id,
                 strlen(r->name[0] != '\0' ? r->name : r->id), 0);
    (void)printf(" (%s%s): %llu records", r->id, r->self ? ", this one" : "",
                 (unsigned long long)r->records);
    if (r->last_ms != 0) {
        cli_age(c, r->last_ms, age);
        (void)printf(", last %s", age);
    }
    if (r->ahead_ms > 0) {
        cli_span((uint64_t)r->ahead_ms, age);
        (void)printf("; its clock is %s ahead of this one", age);
    }
    (void)putchar('\n');
}

static void status_text(struct cli *c, const strata_status *st, const strata_task_totals *tasks)
{
    (void)printf("workspace  %s\nstate      ", st->workspace);
    cli_put_text(stdout, st->state_dir, strlen(st->state_dir), 0);
    (void)printf("%s\nagent      %s\n", st->read_only ? " (read-only here)" : "",
                 c->agent != NULL ? c->agent : "none (--agent, STRATA_AGENT)");
    (void)printf("attributes %llu\n", (unsigned long long)st->attributes);
    (void)printf("pending    %llu%s\n", (unsigned long long)st->pending,
                 st->pending > 0 ? " (strata pending)" : "");
    (void)printf("unseen     %llu%s\n", (unsigned long long)st->unseen,
                 st->unseen > 0 ? " (strata pending --unseen)" : "");
    put_totals(tasks);
    (void)printf("records    %llu, ", (unsigned long long)st->records);
    put_size(st->log_size);
    (void)putchar('\n');
    if (st->waiting > 0)
        (void)printf("waiting    %llu records of other copies, for earlier ones that are missing\n",
                     (unsigned long long)st->waiting);
    if (st->quarantined > 0) {
        (void)fputs("moved away ", stdout);
        put_size(st->quarantined);
        (void)fputs(" of damaged log (strata doctor)\n", stdout);
    }
    for (size_t i = 0; i < st->replica_count; i++)
        put_replica(c, &st->replicas[i]);
    (void)printf("checksum   %s (equal on copies that show the same)\n", st->digest);
    if (st->index_behind)
        cli_note(c, "the index is in use; this answer came from the log");
}

int cmd_status(struct cli *c)
{
    strata_status st = {0};
    strata_task_totals tasks = {0};
    size_t in_doubt = 0, approval = 0;
    int status = cli_open(c);
    if (status != 0)
        return status;
    int code = cli_operations_waiting(c, NULL, &in_doubt, &approval);
    if (code == STRATA_OK)
        code = strata_task_totals_get(c->s, &tasks);
    if (code == STRATA_OK)
        code = strata_status_get(c->s, &st);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return status_json(c, &st, &tasks, in_doubt, approval);
    status_text(c, &st, &tasks);
    if (in_doubt > 0)
        (void)printf(
            "in doubt   %zu once-only operations: a person settles them (strata pending)\n",
            in_doubt);
    if (approval > 0)
        (void)printf("to approve %zu once-only operations (strata pending)\n", approval);
    return 0;
}

/* --- doctor ----------------------------------------------------------------------------------- */

struct examination {
    struct cli *c;
    json_t *findings;
    unsigned count, bad;
};

static int visit_finding(void *arg, const strata_finding *f)
{
    struct examination *x = arg;
    const char *word = f->fixed           ? "fixed"
                       : f->severity == 0 ? "ok"
                       : f->severity == 1 ? "note"
                                          : "broken";
    x->count++;
    x->bad += f->severity >= 2 && !f->fixed;
    const char *path = f->path != NULL ? f->path : "";
    if (x->c->json) {
        json_t *o = json_pack("{s:s,s:o,s:o,s:b}", "severity",
                              f->severity == 0   ? "ok"
                              : f->severity == 1 ? "note"
                                                 : "broken",
                              "what", cli_json_text(f->what, strlen(f->what)), "path",
                              cli_json_text(path, strlen(path)), "fixed", f->fixed);
        return json_array_append_new(x->findings, o) == 0 ? 0 : STRATA_NO_MEMORY;
    }
    if (x->c->quiet && f->severity == 0)
        return 0;
    (void)printf("%-7s", word);
    cli_put_text(stdout, f->what, strlen(f->what), 0);
    if (path[0] != '\0') {
        (void)fputs(" (", stdout);
        cli_put_text(stdout, path, strlen(path), 0);
        (void)putchar(')');
    }
    (void)putchar('\n');
    return 0;
}

/* A log that cannot be written to any more is mended before anything can be looked at: opening
 * it, or the flush that every write begins with, says so. */
static int repair_if_damaged(struct cli *c)
{
    strata_options options = cli_open_options(c);
    strata_error error = {0};
    strata *s = NULL;
    int code = strata_open(c->dir, &options, &s, &error);
    if (code == STRATA_OK && !strata_is_read_only(s)) {
        code = strata_check(s);
        error = *strata_last_error(s);
    }
    strata_close(s);
    if (code != STRATA_DAMAGED)
        return code == STRATA_OK ? 0 : cli_fail_with(c, code, &error);
    code = strata_repair(c->dir, &options, &error);
    if (code != STRATA_OK)
        return cli_fail_with(c, code, &error);
    cli_note(c, "the damaged end of the log was moved to quarantine; records behind it come back "
                "with `strata merge-state` from a copy that has them");
    return 0;
}

int cmd_doctor(struct cli *c)
{
    bool fix = cli_given(c, OPT_FIX);
    struct examination x = {.c = c};
    int status = fix ? repair_if_damaged(c) : 0;
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    if (c->json)
        x.findings = json_array();
    int code = strata_doctor(c->s, fix, visit_finding, &x);
    if (code != STRATA_OK && code != STRATA_DAMAGED) {
        json_decref(x.findings);
        return cli_fail(c, code);
    }
    status = strata_code_exit(code);
    if (c->json) {
        int printed = cli_json(
            c, json_pack("{s:b,s:o}", "healthy", code == STRATA_OK, "findings", x.findings));
        return printed != 0 ? printed : status;
    }
    if (code == STRATA_OK)
        (void)puts("the workspace is in order");
    else
        (void)printf("%u %s to be mended%s\n", x.bad, x.bad == 1 ? "thing has" : "things have",
                     fix ? " by a person" : "; what can be repaired: strata doctor --fix");
    return status;
}

/* --- merge-state ------------------------------------------------------------------------------ */

int cmd_merge_state(struct cli *c)
{
    strata_merge_result r = {0};
    int status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_merge_state(c->s, c->args[0], cli_given(c, OPT_ADOPT), &r);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(
            c, json_pack("{s:I,s:I,s:I,s:I,s:I}", "records", (json_int_t)r.records, "writers",
                         (json_int_t)r.writers, "waiting", (json_int_t)r.waiting, "pending_before",
                         (json_int_t)r.pending_before, "pending", (json_int_t)r.pending_after));
    if (r.records == 0)
        (void)puts("nothing new there");
    else
        (void)printf("took in %llu %s; %llu pending%s\n", (unsigned long long)r.records,
                     r.records == 1 ? "record" : "records", (unsigned long long)r.pending_after,
                     r.pending_after > 0 ? " (strata pending)" : "");
    if (r.waiting > 0)
        cli_note(c, "%llu records wait for earlier ones that the copy does not have",
                 (unsigned long long)r.waiting);
    return 0;
}
