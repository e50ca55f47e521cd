/*
 * main.c - the program `strata`: parse, run the handler, leave.
 *
 * Agents call it thousands of times a day, so nothing is set up before it is needed: no locale,
 * no time zone, no allocation for the command line. A signal ends the program as the shell
 * expects it (130 for SIGINT): what was acknowledged is on disk, what was not was never promised.
 */
#include "cli/child.h"
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

static int run(struct cli *c)
{
    if (cli_given(c, OPT_VERSION)) {
        if (c->json)
            return cli_json(c, json_pack("{s:s}", "version", strata_version()));
        (void)printf("strata %s\n", strata_version());
        return 0;
    }
    if (cli_given(c, OPT_HELP) || cli_given(c, OPT_HELP_SHORT)) {
        if (c->command == NULL && c->arg_count > 0)
            return cmd_help(c);
        if (cli_given(c, OPT_HELP))
            cli_help_long(stdout, c->command);
        else
            cli_help_short(stdout, c->command);
        return 0;
    }
    if (c->command == NULL && c->json)
        return cli_usage(c, "a command is missing");
    if (c->command == NULL) {
        cli_help_short(stderr, NULL);
        return strata_code_exit(STRATA_USAGE);
    }
    return c->command->run(c);
}

/* Its exit status is that of the command it runs. */
static bool wraps(const struct cli *c)
{
    return c->command != NULL && (c->command->run == cmd_once || c->command->run == cmd_lock ||
                                  c->command->run == cmd_work);
}

/* What was printed has to have arrived, or a script goes on with half an answer. */
static int finish_output(struct cli *c, int status)
{
    errno = 0;
    bool failed = fflush(stdout) != 0 || ferror(stdout) != 0;
    if (!failed || errno == EPIPE)
        return status;
    int code = errno == ENOSPC ? STRATA_NO_SPACE : STRATA_IO;
    int exit_status =
        cli_error(c, code, "what was written to the workspace stays written",
                  "cannot write the answer: %s", errno != 0 ? strerror(errno) : "output error");
    return status != 0 ? status : exit_status;
}

/* A descriptor 0, 1 or 2 that a caller left closed would be the next file that is opened: an answer
 * would then be written into the state. */
static void open_standard(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    struct cli c = {0};

    open_standard();
    /* A parent may have had it ignored; a reader that leaves early must end us quietly. */
    (void)signal(SIGPIPE, SIG_DFL);
    int status = cli_parse(&c, argc, argv);
    if (status == 0)
        status = run(&c);
    else if (wraps(&c))
        status = child_wrapped(status);
    status = finish_output(&c, status);
    cli_update_files(&c);
    cli_notices(&c);
    if (c.s != NULL)
        strata_close(c.s);
    return status;
}
