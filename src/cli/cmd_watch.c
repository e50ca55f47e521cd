/*
 * cmd_watch.c - strata watch: edits are taken in at once.
 */
#include "cli/cli.h"

/* Heartbeats are no events of files: the board is looked at this often. Milliseconds. */
#define WATCH_MS 15000

static int report(struct cli *c, const strata_files_result *r)
{
    char stamp[CLI_STAMP_SIZE];
    if (r->taken_in == 0 && r->written == 0)
        return 0;
    c->now_ms = 0;
    cli_stamp(cli_now(c), stamp);
    if (c->json)
        return cli_json_line(c,
                             json_pack("{s:s,s:I,s:I}", "time", stamp, "taken_in",
                                       (json_int_t)r->taken_in, "written", (json_int_t)r->written));
    (void)printf("%s %zu taken in, %zu written\n", stamp, r->taken_in, r->written);
    return 0;
}

int cmd_watch(struct cli *c)
{
    int status = cli_open(c);
    while (status == 0) {
        bool all = false;
        strata_files_result r = {0};
        int code = strata_files_wait(c->s, WATCH_MS, &all);
        if (code != STRATA_OK && code != STRATA_TIMEOUT)
            return cli_fail(c, code);
        code = strata_files_update(c->s, all ? STRATA_FILES_ALL : 0, &r);
        if (code != STRATA_OK)
            return cli_fail(c, code);
        status = report(c, &r);
        cli_notices(c);
        if (fflush(stdout) != 0)
            break; /* the reader has gone */
    }
    return status;
}
