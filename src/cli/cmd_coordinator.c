/* cmd_coordinator.c - which copy decides about once-only operations and locks, and moving that. */
#include "cli/cli.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

int cli_known_here(struct cli *c, bool only)
{
    strata_coordinator k = {0};
    int code = strata_coordinator_here(c->s);
    if (code == STRATA_OK)
        return 0;
    if (only || code != STRATA_UNAVAILABLE)
        return cli_fail(c, code);
    char why[sizeof strata_last_error(c->s)->message];
    memcpy(why, strata_last_error(c->s)->message, sizeof why);
    if (strata_coordinator_get(c->s, &k) == STRATA_OK && k.position > 0) {
        cli_note(c, "this is what is known here, up to entry %" PRIu64 "; %s", k.position, why);
        return 0;
    }
    code = strata_coordinator_here(c->s);
    return code == STRATA_OK ? 0 : cli_fail(c, code);
}

int cmd_coordinator_show(struct cli *c)
{
    strata_coordinator k;
    int status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_coordinator_get(c->s, &k);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, json_pack("{s:b,s:I,s:I,s:s,s:b,s:b,s:s,s:s}", "here", (int)k.here,
                                     "generation", (json_int_t)k.generation, "position",
                                     (json_int_t)k.position, "head", k.head, "doubt", (int)k.doubt,
                                     "sealed", (int)k.sealed, "successor", k.successor, "place",
                                     k.place));
    if (k.sealed)
        (void)printf("nobody decides that is known here: the log was sealed for %s\n",
                     strcmp(k.successor, k.place) == 0 ? "this copy; accept it" : k.successor);
    else
        (void)puts(k.here ? "this copy decides" : "another copy decides");
    (void)printf("generation %llu, %llu entries known here, head %s\nthis place: %s\n",
                 (unsigned long long)k.generation, (unsigned long long)k.position, k.head, k.place);
    if (k.doubt)
        (void)puts("after a forced move: keys that are not known here are in doubt");
    return 0;
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int move(struct cli *c, const char *person)
{
    const char *to = c->options[OPT_TO], *reason = c->options[OPT_REASON];
    if (cli_given(c, OPT_FORCE))
        return strata_coordinator_force(c->s, person, reason);
    if (cli_given(c, OPT_ACCEPT))
        return strata_coordinator_accept(c->s, person);
    return is_directory(to) ? strata_coordinator_hand_over(c->s, to, person, reason)
                            : strata_coordinator_seal(c->s, to, person, reason);
}

static void said(struct cli *c)
{
    if (cli_given(c, OPT_FORCE))
        cli_note(c, "this copy decides from now on; what is not known here to have ended is in "
                    "doubt");
    else if (cli_given(c, OPT_ACCEPT))
        cli_note(c, "this copy decides from now on");
    else if (is_directory(c->options[OPT_TO]))
        cli_note(c, "the copy in %s decides from now on", c->options[OPT_TO]);
    else
        cli_note(c,
                 "the log here is sealed; nobody decides until it has arrived at %s "
                 "(`strata merge-state`, or `strata sync REMOTE --ledger` on both) and is accepted "
                 "there (`strata coordinator move --accept`)",
                 c->options[OPT_TO]);
}

int cmd_coordinator_move(struct cli *c)
{
    const char *person;
    int status = cli_need_person(c, &person);
    int ways = cli_given(c, OPT_TO) + cli_given(c, OPT_ACCEPT) + cli_given(c, OPT_FORCE);
    if (status == 0 && ways != 1)
        status = cli_usage(c, "one of --to DIR (the other copy is reachable), --to PLACE and then "
                              "--accept there (it is not), --force (the copy that decided is gone "
                              "for good)");
    if (status == 0 && !cli_given(c, OPT_ACCEPT))
        status = cli_need_option(c, OPT_REASON, "--reason TEXT");
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    int code = move(c, person);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    said(c);
    return 0;
}
