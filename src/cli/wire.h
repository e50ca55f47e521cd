/*
 * wire.h - what agents' clients need to find Strata: `init --agents`, and taking it back.
 *
 * <state>/plugin is one directory for Claude Code, Codex and OpenClaw; <state>/wired has a line for
 * each thing outside of the state directory that was changed: "client NAME", "client NAME MARKET
 * TREE" (of one work tree), "file PATH".
 */
#ifndef ST_CLI_WIRE_H
#define ST_CLI_WIRE_H

#include "cli/cli.h"

/* The name under which Claude Code finds the plugin of one workspace: "strata-" and 8 digits. */
#define WIRE_MARKET_SIZE 24

/* Writes the plugin, asks before it calls a client's own program, says what is left to do. `dir`:
 * in the work tree. */
int wire_agents(struct cli *c, const strata_init_result *made, const char *dir);
/* Takes it back; *list: what was, a new array of texts. */
int unwire_agents(struct cli *c, const char *state_dir, json_t **list);

/* wire_plugin.c */
int wire_plugin_write(struct cli *c, const char *state_dir, const char *market);
void wire_plugin_remove(const char *state_dir, json_t *list);

#endif
