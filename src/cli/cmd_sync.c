/*
 * cmd_sync.c - `strata sync`: exchange with other copies through a Git repository, once or again
 * and again.
 */
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Remotes that are synced when none is named: more than anybody has. */
#define REMOTES_MAX 64
/* Shorter than this a remote is not asked again. */
#define INTERVAL_MS_MIN 1000
/* What takes longer is told to whoever looks. */
#define PATIENCE_MS 1500

struct syncing {
    struct cli *c;
    char *remotes[REMOTES_MAX];
    size_t count;
    json_t *told; /* an object for each remote; NULL: for people */
    bool watching, progress;
    uint64_t start_ms;
};

static uint64_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* --- asking ----------------------------------------------------------------------------------- */

static int ask(void *arg, const strata_sync_offer *offer)
{
    struct syncing *y = arg;
    char answer[16], url[512];
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return 0;
    (void)fprintf(stderr, "%llu %s of this copy", (unsigned long long)offer->records,
                  offer->records == 1 ? "record" : "records");
    if (cli_given(y->c, OPT_LEDGER))
        (void)fprintf(stderr, ", and %llu %s of the ledger with the results of operations,",
                      (unsigned long long)offer->entries,
                      offer->entries == 1 ? "entry" : "entries");
    (void)fprintf(stderr, " would become readable at\n  %s\n",
                  cli_clean(offer->url, url, sizeof url));
    (void)fprintf(stderr, "for everybody who can read that repository, with all that follows. "
                          "Send them? [y/N] ");
    (void)fflush(stderr);
    y->start_ms = clock_ms();
    bool read = fgets(answer, sizeof answer, stdin) != NULL;
    return read && (answer[0] == 'y' || answer[0] == 'Y');
}

static void progress(void *arg, const char *step)
{
    struct syncing *y = arg;
    uint64_t spent = clock_ms() - y->start_ms;
    if (y->progress && spent >= PATIENCE_MS)
        (void)fprintf(stderr, "strata: %s (%llu s)\n", step, (unsigned long long)(spent / 1000));
}

/* --- telling ---------------------------------------------------------------------------------- */

static json_t *result_json(const strata_sync_result *r)
{
    json_t *refused = json_array();
    for (size_t i = 0; i < r->refused_count; i++)
        (void)json_array_append_new(
            refused, json_pack("{s:o,s:o}", "ref",
                               cli_json_text(r->refused[i].ref, strlen(r->refused[i].ref)), "why",
                               cli_json_text(r->refused[i].why, strlen(r->refused[i].why))));
    return json_pack(
        "{s:o,s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o}", "remote",
        cli_json_text(r->remote, strlen(r->remote)), "url", cli_json_text(r->url, strlen(r->url)),
        "sent", (json_int_t)r->sent, "taken", (json_int_t)r->taken, "changed",
        (json_int_t)r->changed, "waiting", (json_int_t)r->waiting, "ledger_sent",
        (json_int_t)r->ledger_sent, "ledger_taken", (json_int_t)r->ledger_taken, "pending_before",
        (json_int_t)r->pending_before, "pending", (json_int_t)r->pending_after, "refused", refused);
}

static bool something(const strata_sync_result *r)
{
    return r->sent > 0 || r->taken > 0 || r->ledger_sent > 0 || r->ledger_taken > 0;
}

static void put_result(struct syncing *y, const strata_sync_result *r)
{
    cli_put_text(stdout, r->remote, strlen(r->remote), 0);
    if (cli_given(y->c, OPT_DRY_RUN))
        (void)printf(": would send %llu %s; %llu %s published something new\n",
                     (unsigned long long)r->sent, r->sent == 1 ? "record" : "records",
                     (unsigned long long)r->changed, r->changed == 1 ? "copy has" : "copies have");
    else if (!something(r))
        (void)puts(": nothing new here or there");
    else
        (void)printf(": sent %llu, took in %llu; %llu pending%s\n", (unsigned long long)r->sent,
                     (unsigned long long)r->taken, (unsigned long long)r->pending_after,
                     r->pending_after > 0 ? " (strata pending)" : "");
    if (r->ledger_sent > 0)
        (void)printf("  the ledger: %s %llu %s\n",
                     cli_given(y->c, OPT_DRY_RUN) ? "would send" : "sent",
                     (unsigned long long)r->ledger_sent, r->ledger_sent == 1 ? "entry" : "entries");
    if (r->ledger_taken > 0)
        (void)printf("  the ledger: took in %llu %s, to read\n",
                     (unsigned long long)r->ledger_taken,
                     r->ledger_taken == 1 ? "entry" : "entries");
    if (r->waiting > 0)
        cli_note(y->c,
                 "%llu records wait for earlier ones that are not there yet: of a copy that has "
                 "to sync with this remote, too",
                 (unsigned long long)r->waiting);
}

/* The first refusal is the error that follows. */
static void warn_refused(struct syncing *y, const strata_sync_result *r)
{
    for (size_t i = 1; i < r->refused_count; i++)
        cli_warn(y->c, "%s cannot be used: %s", r->refused[i].ref, r->refused[i].why);
}

static void tell(struct syncing *y, const strata_sync_result *r)
{
    if (y->watching && !something(r))
        return;
    if (y->watching && y->c->json)
        (void)cli_json_line(y->c, result_json(r));
    else if (y->told != NULL)
        (void)json_array_append_new(y->told, result_json(r));
    else if (!y->c->quiet)
        put_result(y, r);
    (void)fflush(stdout);
}

/* --- doing ------------------------------------------------------------------------------------ */

static int sync_one(struct syncing *y, const char *remote)
{
    strata_sync_options options = {
        .size = sizeof options,
        .dir = y->c->dir,
        .remote = remote,
        .dry_run = cli_given(y->c, OPT_DRY_RUN),
        .agreed = cli_given(y->c, OPT_YES),
        .network_ms = y->c->wait_ms,
        .ask = ask,
        .progress = progress,
        .arg = y,
        .ledger = cli_given(y->c, OPT_LEDGER),
    };
    strata_sync_result result;
    y->start_ms = clock_ms();
    int code = strata_sync(y->c->s, &options, &result);
    if (code != STRATA_OK && code != STRATA_DAMAGED)
        return cli_fail(y->c, code);
    if (code == STRATA_OK || result.refused_count > 0)
        tell(y, &result);
    warn_refused(y, &result);
    return code == STRATA_OK ? 0 : cli_fail(y->c, code);
}

static int sync_all(struct syncing *y)
{
    int status = 0;
    for (size_t i = 0; i < y->count; i++) {
        int one = sync_one(y, y->remotes[i]);
        status = status == 0 ? one : status;
    }
    return status;
}

static bool worth_trying_again(int status)
{
    return status == 0 || status == strata_code_exit(STRATA_TIMEOUT) ||
           status == strata_code_exit(STRATA_UNAVAILABLE) ||
           status == strata_code_exit(STRATA_DAMAGED);
}

static int watch(struct syncing *y, uint64_t interval_ms)
{
    y->watching = true;
    for (;;) {
        int status = sync_all(y);
        if (!worth_trying_again(status))
            return status;
        cli_notices(y->c);
        struct timespec t = {(time_t)(interval_ms / 1000), (long)(interval_ms % 1000) * 1000000};
        (void)nanosleep(&t, NULL);
    }
}

static int add_remote(void *arg, const char *remote)
{
    struct syncing *y = arg;
    if (y->count == REMOTES_MAX)
        return STRATA_LIMIT;
    y->remotes[y->count] = strdup(remote);
    return y->remotes[y->count++] != NULL ? 0 : STRATA_NO_MEMORY;
}

static int find_remotes(struct syncing *y)
{
    int code = y->c->arg_count > 0 ? add_remote(y, y->c->args[0])
                                   : strata_sync_remotes(y->c->s, add_remote, y);
    if (code != STRATA_OK)
        return cli_fail(y->c, code);
    if (y->count == 0)
        return cli_usage(y->c,
                         "no remote has been agreed to yet: name one, as `strata sync origin`");
    return 0;
}

int cmd_sync(struct cli *c)
{
    uint64_t interval_ms = 0;
    int status = 0;
    if (cli_given(c, OPT_WATCH))
        status = cli_duration(c, "--watch", c->options[OPT_WATCH], &interval_ms);
    if (status == 0 && cli_given(c, OPT_WATCH) && interval_ms < INTERVAL_MS_MIN)
        status = cli_usage(c, "--watch: at least %d s", INTERVAL_MS_MIN / 1000);
    if (status == 0 && cli_given(c, OPT_WATCH) && cli_given(c, OPT_DRY_RUN))
        status = cli_usage(c, "give either --watch or --dry-run");
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    struct syncing y = {.c = c, .progress = !c->quiet && !c->json && isatty(STDERR_FILENO)};
    status = find_remotes(&y);
    if (status == 0 && interval_ms != 0)
        status = watch(&y, interval_ms);
    else if (status == 0) {
        y.told = c->json ? json_array() : NULL;
        status = sync_all(&y);
        if (c->json && json_array_size(y.told) > 0) {
            int printed = cli_json(
                c, json_pack("{s:b,s:O}", "dry_run", cli_given(c, OPT_DRY_RUN), "remotes", y.told));
            status = status != 0 ? status : printed;
        }
        json_decref(y.told);
    }
    for (size_t i = 0; i < y.count; i++)
        free(y.remotes[i]);
    return status;
}
