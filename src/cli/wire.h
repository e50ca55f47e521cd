/*
 * wire.h - what agents' clients need to find Strata: `init --agents`, and taking it back.
 *
 * <state>/plugin is one directory for Claude Code, Codex and OpenClaw; <state>/wired has a line for
 * each thing outside of the state directory that was changed: "client NAME", "client NAME MARKET
 * TREE" (of one work tree), "file PATH". Clients without work trees have one entry for all workspaces
 * of a user: who needs it stands in a directory of the user's (wire_user.c).
 */
#ifndef ST_CLI_WIRE_H
#define ST_CLI_WIRE_H

#include "cli/cli.h"

#include <limits.h>

/* The name under which Claude Code finds the plugin of one workspace: "strata-" and 8 digits. */
#define WIRE_MARKET_SIZE 24

/* What came of it: arrays of texts. */
struct wire_report {
    json_t *wired;   /* lines of <state>/wired; of `uninit`: what was taken back */
    json_t *left;    /* commands that are left to do (--dry-run: that would be asked for) */
    json_t *shared;  /* lines that other workspaces have, too: the client keeps its entry */
    json_t *missing; /* clients that are not installed */
};
void wire_report_release(struct wire_report *report);

/* Writes the plugin, asks before it calls a client's own program, says what is left to do. `dir`:
 * in the work tree. With --dry-run only says so. *report is to be released, whatever the status. */
int wire_agents(struct cli *c, const strata_init_result *made, const char *dir,
                struct wire_report *report);
/* Takes it back. */
int unwire_agents(struct cli *c, const char *state_dir, struct wire_report *report);

/* wire_plugin.c */
int wire_plugin_write(struct cli *c, const char *state_dir, const char *market);
void wire_plugin_remove(const char *state_dir, json_t *list);

/* wire_user.c: which workspaces of this user need an entry that a client has once for all of them. */
/* False with errno. */
bool wire_user_add(const char *client, const char *replica, const char *state_dir);
void wire_user_remove(const char *client, const char *state_dir);
/* Whether a workspace other than state_dir needs it, and which. */
bool wire_user_other(const char *client, const char *state_dir, char other[PATH_MAX]);

#endif
