/*
 * table.c - the one table of commands and options. Parsing, help, completion scripts, man pages
 * and suggestions derive from it; nothing about a command's call is written anywhere else.
 */
#include "cli/cli.h"
#include "cli/transfer.h"

#include <string.h>

/* clang-format off */
const struct cli_option cli_options[OPT_COUNT] = {
    [OPT_AGENT] = {"--agent", 0, "NAME",
        "who is writing and reading; else $STRATA_AGENT, else the work tree's name", false, false},
    [OPT_DIR] = {"--dir", 'C', "DIR",
        "the workspace that DIR belongs to; else $STRATA_DIR, else the current directory", false, false},
    [OPT_STATE_DIR] = {"--state-dir", 0, "DIR",
        "where the state is, if not in its usual place; else $STRATA_STATE_DIR", false, false},
    [OPT_JSON] = {"--json", 0, NULL, "answer with one JSON object; errors as JSON too", false, false},
    [OPT_QUIET] = {"--quiet", 'q', NULL, "writes print only the id; no notes", false, false},
    [OPT_NO_FLUSH] = {"--no-flush", 0, NULL,
        "do not wait for the disk: faster, a power cut may lose the last seconds", false, false},
    [OPT_WAIT] = {"--wait", 0, "DURATION",
        "longest wait for another process (500ms, 10s, 2m); 10s if not given", false, false},
    [OPT_HELP_SHORT] = {"-h", 'h', NULL, "short help", false, false},
    [OPT_HELP] = {"--help", 0, NULL, "full help, examples first", false, false},
    [OPT_VERSION] = {"--version", 'V', NULL, "print the version", false, false},

    [OPT_NAME] = {"--name", 0, "NAME", "name of this copy for people; else the host's name", false, false},
    [OPT_DRY_RUN] = {"--dry-run", 'n', NULL, "say what would be done, and do nothing", false, false},
    [OPT_LINK] = {"--link", 'l', NULL, "VALUE is the name of an entity", false, false},
    [OPT_EXPECT] = {"--expect", 0, "OLD",
        "write only if the value is OLD now; else exit 3, nothing written", false, false},
    [OPT_EXPECT_ABSENT] = {"--expect-absent", 0, NULL,
        "write only if there is no value now; else exit 3, nothing written", false, false},
    [OPT_ATTRIBUTE] = {"--attribute", 'a', "A", "only this attribute", false, false},
    [OPT_AUTHOR] = {"--author", 0, "AGENT", "only what AGENT wrote", false, false},
    [OPT_SINCE] = {"--since", 0, "T",
        "only what was written at or after T: 2026-11-23, 2026-11-23T10:00:00Z, or an age as 2h",
        false, false},
    [OPT_UNTIL] = {"--until", 0, "T", "only what was written at or before T", false, false},
    [OPT_AS_OF] = {"--as-of", 0, "T", "as it was at T", false, false},
    [OPT_LIMIT] = {"--limit", 'n', "N", "at most N (0: all); 50 if not given", false, false},
    [OPT_AFTER] = {"--after", 0, "E/A", "go on after this entity and attribute", false, false},
    [OPT_ALL_ABSENT] = {"--all", 0, NULL, "also attributes whose value was taken away", false, false},
    [OPT_UNSEEN] = {"--unseen", 0, NULL, "values that were overwritten by who had not read them",
        false, false},
    [OPT_TAKE] = {"--take", 0, "N|latest", "the value with this number, or the latest", false, false},
    [OPT_VALUE] = {"--value", 0, "V", "another value; `-` and @FILE read it", false, false},
    [OPT_SEEN] = {"--seen", 0, NULL, "an overwritten value: it has been looked at", false, false},
    [OPT_ALL_PENDING] = {"--all", 0, NULL, "everything; with --take latest", false, false},
    [OPT_UNDER] = {"--under", 0, "ENTITY", "with --all: only of this entity", false, false},
    [OPT_FOLLOW] = {"--follow", 'f', NULL, "go on printing as events arrive", false, false},
    [OPT_SINCE_CURSOR] = {"--since", 0, "CURSOR",
        "what came after this number, the first column of an earlier `strata log`", false, false},
    [OPT_FIX] = {"--fix", 0, NULL, "repair what can be repaired without loss; deletes nothing",
        false, false},
    [OPT_ADOPT] = {"--adopt", 0, NULL, "take it in even though it is another workspace", false, false},
    [OPT_FORMAT_IN] = {"--format", 0, "jsonl|csv|memory|beads|queue",
        "format of FILE; guessed if not given", false, false},
    [OPT_FORMAT_OUT] = {"--format", 0, "jsonl|csv|memory|dot|beads",
        "format of the output; by the ending of --output, else jsonl", false, false},
    [OPT_ENTITY] = {"--entity", 0, "ENTITY", "only this entity, without counters", false, false},
    [OPT_OUTPUT] = {"--output", 'o', "FILE",
        "write to FILE, replaced only when all is written", false, false},
    [OPT_MAN] = {"--man", 0, NULL, "print the man page (mdoc)", true, false},
    [OPT_KEY] = {"--key", 'k', "KEY", "the name of what must not happen twice", false, false},
    [OPT_CLASS] = {"--class", 0, "naked|keyed|queryable|idempotent",
        "what is known of the effect; naked if not given: nobody can look it up", false, false},
    [OPT_VALID_FOR] = {"--valid-for", 0, "DURATION",
        "with --class keyed: how long the service remembers the key", false, false},
    [OPT_TIMEOUT] = {"--timeout", 0, "DURATION",
        "end the command after this; its outcome is then unknown", false, false},
    [OPT_NEEDS_APPROVAL] = {"--needs-approval", 0, NULL, "a person has to approve it first", false, false},
    [OPT_NOTHING_ON] = {"--nothing-happened-on", 0, "STATUS[,STATUS]",
        "exit statuses that mean that nothing happened", false, false},
    [OPT_STATE] = {"--state", 0,
        "proposed|granted|executing|committed|failed|expired|in_doubt", "only these", false, false},
    [OPT_OUTCOME] = {"--outcome", 0, "committed|failed|retry",
        "it happened; it did not; it did not, and is to be run", false, false},
    [OPT_EVIDENCE] = {"--evidence", 0, "TEXT", "how you know", false, false},
    [OPT_RESULT] = {"--result", 0, "TEXT", "its result; `-` and @FILE read it", false, false},
    [OPT_REASON] = {"--reason", 0, "TEXT", "why", false, false},
    [OPT_BY] = {"--by", 0, "NAME", "who decides; your user name if not given", false, false},
    [OPT_TTL] = {"--ttl", 0, "DURATION", "how long it lasts unless it is renewed: 100ms to 30d", false,
        false},
    [OPT_FORCE] = {"--force", 0, NULL, "without asking whoever had it so far", false, false},
    [OPT_TOKEN] = {"--token", 0, "N", "the number that was printed when it was given out", false, false},
    [OPT_PARAMS] = {"--params", 0, "TEXT",
        "what is done: the same key with others is refused; `-` and @FILE read it", false, false},
    [OPT_OLDER_THAN] = {"--older-than", 0, "DURATION", "only what ended longer ago", false, false},
    [OPT_CHECK] = {"--check", 0, "COMMAND",
        "with --class queryable: a shell command that ends with 0 if it happened", false, false},
    [OPT_SHARED] = {"--shared", 0, NULL, "others may reserve it too, as shared", false, false},
    [OPT_TO] = {"--to", 0, "DIR|PLACE", "the copy that is to decide", false, false},
    [OPT_ACCEPT] = {"--accept", 0, NULL, "go on here with the log that was sealed for this copy",
        false, false},
    [OPT_OPS] = {"--ops", 0, NULL, "the ordered log: who did what, when, on what evidence", false, false},
    [OPT_MEMORY] = {"--memory", 0, NULL,
        "the nine tools of the MCP memory server, in its place", false, false},
    [OPT_AGENTS] = {"--agents", 0, NULL,
        "also wire Claude Code, Codex and OpenClaw: tools, skill, hooks", false, false},
    [OPT_AGENTS_MD] = {"--agents-md", 0, NULL, "with --agents: also a block in AGENTS.md", false, false},
    [OPT_YES] = {"--yes", 'y', NULL, "agree without being asked", false, false},
    [OPT_JOIN] = {"--join", 0, "REMOTE", "join the workspace that this remote carries", false, false},
    [OPT_NEW] = {"--new", 0, NULL, "a new workspace; do not ask the remotes for one", false, false},
    [OPT_WATCH] = {"--watch", 0, "INTERVAL", "again and again, this long after each (10s, 5m)",
        false, false},
    [OPT_LEDGER] = {"--ledger", 0, NULL, "the ledger, with results of operations, may go there, too",
        false, false},
    [OPT_DEPENDS] = {"--after", 0, "N", "not before task N is done; several: 141,142, or again",
        false, true},
    [OPT_CHANNEL] = {"--channel", 'c', "NAME", "the channel: a queue of its own", false, false},
    [OPT_FOR_AGENT] = {"--agent", 0, "AGENT",
        "for this agent, or for AGENT@COPY on one copy; else for anybody", false, false},
    [OPT_PRIORITY] = {"--priority", 'p', "0|1|2|3|4", "0 is first; 2 if not given", false, false},
    [OPT_NOT_BEFORE] = {"--not-before", 0, "T",
        "not ready before T: 2026-11-23T10:00:00Z, or in a while as 2h", false, false},
    [OPT_PARENT] = {"--parent", 0, "N", "a part of task N; without meaning for what is ready",
        false, false},
    [OPT_DATA] = {"--data", 0, "TEXT", "what belongs to it; `-` and @FILE read it", false, false},
    [OPT_TASK_KEY] = {"--key", 'k', "KEY",
        "a name of your own: with it a second add gives the first task's number", false, false},
    [OPT_AFTER_TASK] = {"--after", 0, "N", "go on after this task", false, false},
    [OPT_BLOCKED] = {"--blocked", 0, NULL, "what waits for something, and for what", false, false},
    [OPT_TREE] = {"--tree", 0, NULL, "parts below what they are part of", false, false},
    [OPT_DOT] = {"--dot", 0, NULL, "a graph of what waits for what, for Graphviz", false, false},
    [OPT_ALL_TASKS] = {"--all", 0, NULL, "finished ones too", false, false},
    [OPT_TASK_STATE] = {"--state", 0, "STATE",
        "open, done, failed, cancelled; any other word, as blocked, holds the task: nobody gets it",
        false, false},
    [OPT_TITLE] = {"--title", 0, "TEXT", "what is to be done", false, false},
    [OPT_REOPEN] = {"--reopen", 0, NULL, "open what is finished again", false, false},
    [OPT_NEXT] = {"--next", 0, NULL, "and take the next one, in the same step", false, false},
    [OPT_RETRY_IN] = {"--retry-in", 0, "DURATION",
        "it may be tried again after this; five times, then it has failed", false, false},
    [OPT_TASK_TOKEN] = {"--token", 0, "N",
        "of the claim; your live claim on the task if not given", false, false},
    [OPT_CHECKPOINT_DATA] = {"--data", 0, "TEXT",
        "how far it is: for whoever goes on with it; `-` and @FILE read it", false, false},
    [OPT_TERM] = {"--term", 0, "DURATION",
        "how long it lasts without a sign of life; if not given an hour, of `work` 30s", false, false},
    [OPT_TASKS_MAX] = {"--limit", 'n', "N", "end after N tasks", false, false},
    [OPT_CREATE] = {"--create", 0, NULL, "also to an agent that was never heard of", false, false},
    [OPT_ACK] = {"--ack", 0, NULL, "they are read: not shown again", false, false},
    [OPT_DEP_KIND] = {"--kind", 0, "blocks|parent", "what N is to M; blocks if not given", false, false},
    [OPT_FILE] = {"--file", 'f', "FILE", "the file it is in", false, false},
    [OPT_ENTITY_VIEW] = {"--entity", 0, "ENTITY", "facts: only those of this entity", false, false},
    [OPT_GIT_MERGE] = {"--git-merge", 0, "PATTERN",
        "have Git merge files like '*.jsonl' with strata; may be repeated", false, true},
    [OPT_COMMITTED] = {"--committed", 0, NULL,
        "Git has the file: write it after edits, and by `view render` only", false, false},
    [OPT_SEEN_FILE] = {"--seen", 0, NULL,
        "the agent has read FILE: merge its next edit against what FILE has now", false, false},
    [OPT_TAKE_FILE] = {"--take", 0, NULL,
        "the text that FILE has is the next version as it is: what is missing in it is removed", false, false},
};

#define ON(id) CLI_SET(id)

const struct cli_command cli_commands[] = {
    {"init", "[DIR]", 0, 1,
     ON(OPT_NAME) | ON(OPT_DRY_RUN) | ON(OPT_JOIN) | ON(OPT_NEW) | ON(OPT_AGENTS) |
         ON(OPT_AGENTS_MD) | ON(OPT_YES) | ON(OPT_GIT_MERGE),
     "set up a workspace, or say where it is",
     "Makes the state directory: in a Git repository inside its .git directory, shared by all "
     "work trees and never tracked; elsewhere .strata in DIR. No file of yours is changed. "
     "Doing it again is harmless.\n\n"
     "In a clone whose remote carries a workspace already (`strata sync`), this becomes another copy "
     "of that one, and takes in its records. When a remote cannot be asked, nothing is made.\n\n"
     "--git-merge sets `merge-driver` up for this clone, in its configuration and .git/info/attributes; "
     "`strata uninit` takes that back.\n\n"
     "--agents writes a plugin into the state directory and asks before it calls `claude`, `codex` or "
     "`openclaw` to make Strata known there; without a terminal it prints what is left to do. With "
     "--dry-run it prints what it would ask for.",
     {{"strata init", "here"},
      {"strata init --git-merge '*.jsonl'", "and merge trackers without loss"},
      {"strata init --dry-run", "only say what would be made"},
      {"strata init --name laptop ~/project", "there, with a name for this machine"},
      {"strata init --agents", "wire the agents' clients too; asks before calling them"}},
     cmd_init, false},
    {"uninit", "", 0, 0, ON(OPT_YES),
     "take the wiring back; the data stays",
     "Undoes what init changed outside of the state directory. The facts, the history and "
     "everything else that was written stay where they are, and `strata init` goes on with them. So do views "
     "and tracked files: `strata view remove` and `strata untrack` end those.\n\n"
     "It asks before it calls a client, and prints what is left to do where it may not. What a client "
     "has once for all workspaces of a user stays until the last of them that needs it is unwired.",
     {{"strata uninit", "take the wiring back"},
      {"strata uninit --yes", "without being asked about each client"}},
     cmd_uninit, false},
    {"status", "", 0, 0, 0,
     "overview of the workspace", NULL,
     {{"strata status", "for people"},
      {"strata status --json", "for programs: .data.pending, .data.replica, ..."}},
     cmd_status, false},
    {"doctor", "", 0, 0, ON(OPT_FIX),
     "check everything, repair what can be repaired",
     "Reads all logs and compares them with the index. Exit status 1 when something has to be "
     "mended. With --fix damaged parts are moved aside, never deleted.",
     {{"strata doctor", "check"}, {"strata doctor --fix", "check and repair"}},
     cmd_doctor, false},
    {"beat", "[STATUS]", 0, 1, 0,
     "say that this agent is alive, and what it does",
     "Of heartbeats only the last is kept; a changed status is kept in the log too.",
     {{"strata beat \"reviewing #12\" --agent ann", "alive, and busy with this"},
      {"strata beat --agent ann", "still alive, status unchanged"}},
     cmd_beat, false},
    {"agent list", "", 0, 0, 0,
     "who works here, on what, and when they were last heard of",
     "alive: a sign of life within 2 minutes. silent: within an hour. gone: longer ago.",
     {{"strata agent list", "all agents"}},
     cmd_agent_list, false},
    {"agent register", "", 0, 0, ON(OPT_FORCE), "register this agent; prints its incarnation",
     "The name is this agent's for an hour from its last command on. The incarnation tells this start "
     "from earlier ones: with STRATA_INCARNATION in its environment, an agent whose name was taken over "
     "(--force) is refused what it asks for.",
     {{"export STRATA_INCARNATION=$(strata agent register --agent ann)", "at the start"}},
     cmd_agent_register, false},
    {"agent retire", "", 0, 0, 0, "end this agent's registration", NULL,
     {{"strata agent retire --agent ann", "at the end"}}, cmd_agent_retire, false},
    {"fact set", "ENTITY ATTRIBUTE VALUE", 3, 3,
     ON(OPT_LINK) | ON(OPT_EXPECT) | ON(OPT_EXPECT_ABSENT),
     "set an attribute to one value",
     "Replaces the value that is shown here. The answer says what was replaced, whose it was and "
     "how old. When it has answered, the value is kept.\n\n"
     "VALUE is literal; @FILE reads it from a file and `-` from standard input (one newline at "
     "the end is left out); @@x means the text @x.",
     {{"strata fact set api port 9090", "one value"},
      {"strata fact set api port 9090 --expect 8080", "only if it is 8080 now; else exit 3"},
      {"strata fact set build lock ann --expect-absent", "only if nobody has set it"},
      {"strata fact set api owner ann --link", "a value that points at the entity ann"},
      {"git log -1 | strata fact set repo head -", "a longer text"}},
     cmd_fact_set, false},
    {"fact add", "ENTITY ATTRIBUTE VALUE", 3, 3, ON(OPT_LINK),
     "add a member to an attribute that has several",
     "Nothing is replaced: additions of different agents all stay.",
     {{"strata fact add api tag public", "one more tag"},
      {"strata fact add api uses db --link", "one more edge to an entity"}},
     cmd_fact_add, false},
    {"fact remove", "ENTITY ATTRIBUTE VALUE", 3, 3, ON(OPT_LINK),
     "take one member out of an attribute", NULL,
     {{"strata fact remove api tag public", "the other tags stay"}},
     cmd_fact_remove, false},
    {"fact unset", "ENTITY [ATTRIBUTE]", 1, 2, ON(OPT_EXPECT),
     "take away the value of an attribute, or all of an entity",
     "The history keeps what was there. Without ATTRIBUTE everything that the entity shows goes "
     "at once: values and members.",
     {{"strata fact unset api port", "one attribute"},
      {"strata fact unset api", "the whole entity"},
      {"strata fact unset build lock --expect ann", "only if it is ann now; else exit 3"}},
     cmd_fact_unset, false},
    {"fact get", "ENTITY ATTRIBUTE", 2, 2, ON(OPT_AS_OF),
     "print a value, and nothing else",
     "Prints the value alone; members one per line. If somebody wrote another value at the same "
     "time, standard error says so. Exit status 1 when there is no value.",
     {{"strata fact get api port", "9090"},
      {"strata fact get api port --as-of 2h", "what it was two hours ago"}},
     cmd_fact_get, false},
    {"fact list", "[ENTITY]", 0, 1,
     ON(OPT_ATTRIBUTE) | ON(OPT_AUTHOR) | ON(OPT_SINCE) | ON(OPT_UNTIL) | ON(OPT_AS_OF) |
         ON(OPT_LIMIT) | ON(OPT_AFTER) | ON(OPT_ALL_ABSENT),
     "list facts",
     "Tasks, messages and tracked files are kept in the same way, and are listed when ENTITY names one: "
     "`strata fact list file:MEMORY.md`.",
     {{"strata fact list", "all facts, the first 50"},
      {"strata fact list api", "one entity"},
      {"strata fact list --author ann --since 1d", "what ann wrote since yesterday"},
      {"strata fact list --after api/port", "the next page"}},
     cmd_fact_list, false},
    {"history", "ENTITY [ATTRIBUTE]", 1, 2, ON(OPT_LIMIT),
     "all that was written to an entity or an attribute, newest first", NULL,
     {{"strata history api port", "one attribute"}, {"strata history api", "one entity"}},
     cmd_history, false},
    {"search", "WORDS", 1, 64, ON(OPT_LIMIT),
     "full-text search in the facts",
     "All words must occur, in the entity's name, the attribute's name or the value. Whole words come first, then "
     "what only begins with them.",
     {{"strata search api port", "facts with both words"}},
     cmd_search, false},
    {"count", "[NAME [+N|-N]]", 0, 2, 0,
     "read or change a counter",
     "Prints the counter's value alone. Counts of different agents and machines add up, none is "
     "lost in a merge; a power cut may lose the last seconds. Without NAME lists all counters.",
     {{"strata count builds +1", "count one more"},
      {"strata count builds", "how many"},
      {"strata count", "all counters"}},
     cmd_count, false},
    {"pending", "", 0, 0, ON(OPT_UNSEEN) | ON(OPT_LIMIT),
     "what waits for a decision: values written in two places at once",
     "Each entry has an ID and its values numbered from 1; one is shown meanwhile, none is lost. "
     "`strata resolve` settles it. Operations in doubt or to be approved, and tasks that have failed "
     "as often as they may be tried again, are listed too, with the command that decides.",
     {{"strata pending", "values in conflict"},
      {"strata pending --unseen", "values overwritten by who had not read them"}},
     cmd_pending, false},
    {"resolve", "[ID]", 0, 1,
     ON(OPT_TAKE) | ON(OPT_VALUE) | ON(OPT_LINK) | ON(OPT_SEEN) | ON(OPT_ALL_PENDING) |
         ON(OPT_UNDER),
     "settle what is pending",
     "ID comes from `strata pending`. The values that were not taken stay in the history.",
     {{"strata resolve ID --take 2", "the second value"},
      {"strata resolve ID --take latest", "the latest"},
      {"strata resolve ID --value 9091", "another one"},
      {"strata resolve ID --seen", "an overwritten value: noted"},
      {"strata resolve --all --take latest --under api", "all of one entity"}},
     cmd_resolve, false},
    {"add", "TITLE", 1, 1,
     ON(OPT_DEPENDS) | ON(OPT_FOR_AGENT) | ON(OPT_PRIORITY) | ON(OPT_NOT_BEFORE) |
         ON(OPT_PARENT) | ON(OPT_CHANNEL) | ON(OPT_TASK_KEY) | ON(OPT_DATA),
     "add a task; prints its number",
     "The number stays the task's for ever. On another copy than the first it has the copy's name "
     "behind it, as 143@pi-3f9a2c; where only one fits, 143@pi will do.",
     {{"strata add \"build frontend\"", "143"},
      {"strata add \"deploy\" --after 143 --priority 0", "ready when 143 is done"},
      {"strata add \"review\" --agent ann --channel docs", "for ann, in a channel of its own"},
      {"strata add \"nightly\" --key nightly-2026-11-23", "once, however often it is said"}},
     cmd_add, false},
    {"ready", "", 0, 0, ON(OPT_CHANNEL) | ON(OPT_FOR_AGENT) | ON(OPT_PARENT) | ON(OPT_LIMIT),
     "tasks that can be done now, the first ones first",
     "Open tasks that wait for nothing, by priority and number.",
     {{"strata ready", "the first 50"},
      {"strata ready --agent ann --limit 1", "what ann would be given next"}},
     cmd_ready, false},
    {"list", "", 0, 0,
     ON(OPT_BLOCKED) | ON(OPT_TREE) | ON(OPT_DOT) | ON(OPT_ALL_TASKS) | ON(OPT_CHANNEL) |
         ON(OPT_FOR_AGENT) | ON(OPT_PARENT) | ON(OPT_AFTER_TASK) | ON(OPT_LIMIT),
     "tasks that are not finished, by number",
     "With --blocked what waits, and for what: also cycles, which two copies can make together.",
     {{"strata list", "the first 50"},
      {"strata list --blocked", "who waits for what"},
      {"strata list --tree --all", "all tasks with their parts"},
      {"strata list --dot | dot -Tsvg > tasks.svg", "a picture"}},
     cmd_list, false},
    {"show", "N", 1, 1, 0, "all about one task, with its history", NULL,
     {{"strata show 143", "for people"}, {"strata show 143 --json", "for programs"}},
     cmd_show, false},
    {"update", "N", 1, 1,
     ON(OPT_TITLE) | ON(OPT_FOR_AGENT) | ON(OPT_PRIORITY) | ON(OPT_NOT_BEFORE) | ON(OPT_PARENT) |
         ON(OPT_CHANNEL) | ON(OPT_DATA) | ON(OPT_TASK_STATE) | ON(OPT_REOPEN),
     "change a task",
     "An empty text takes a value away: --agent \"\".",
     {{"strata update 143 --priority 0", "first"},
      {"strata update 143 --state blocked", "held until it is opened: --state open"},
      {"strata update 143 --reopen", "it was not done after all"}},
     cmd_update, false},
    {"dep add", "N M", 2, 2, ON(OPT_DEP_KIND), "task N waits for task M",
     "Refused when M waits for N already: the cycle is printed. With --kind parent N becomes a part "
     "of M.",
     {{"strata dep add 143 141", "143 is not ready before 141 is done"}},
     cmd_dep_add, false},
    {"dep remove", "N M", 2, 2, ON(OPT_DEP_KIND), "task N no longer waits for task M", NULL,
     {{"strata dep remove 143 141", "141 may take its time"}}, cmd_dep_remove, false},
    {"next", "", 0, 0, ON(OPT_CHANNEL) | ON(OPT_TERM),
     "take the best task that is ready",
     "Claims it for you: nobody else is given it while you are at work. Any command of yours "
     "extends the claim, which lasts an hour otherwise. If somebody worked on it before, the answer "
     "has the last checkpoint. Exit status 5 when nothing is ready within --wait; the error says "
     "who has what.",
     {{"strata next --agent ann", "what ann is to do now"},
      {"strata next --wait 60s --json", "for scripts: data.seq, data.title, data.token, data.checkpoint"}},
     cmd_next, false},
    {"claim", "N", 1, 1, ON(OPT_TERM), "take one task", NULL,
     {{"strata claim 143", "exit 5 when somebody has it"}}, cmd_claim, false},
    {"release", "N", 1, 1, ON(OPT_TASK_TOKEN), "give a task back, for others to take", NULL,
     {{"strata release 143", "your claim"}}, cmd_release, false},
    {"checkpoint", "N", 1, 1, ON(OPT_CHECKPOINT_DATA) | ON(OPT_TASK_TOKEN),
     "keep how far a task is",
     "Whoever takes it after you goes on from there. Refused (exit 3) when the task is no longer "
     "yours.",
     {{"strata checkpoint 143 --data @progress.md", "from a file"}}, cmd_checkpoint, false},
    {"done", "N", 1, 1, ON(OPT_RESULT) | ON(OPT_TASK_TOKEN) | ON(OPT_NEXT) | ON(OPT_CHANNEL),
     "finish a task",
     "What waits for it and for nothing else is ready then. Accepted once, and only from whoever "
     "has the task: a second, different result is refused (exit 3). Where another copy decides, the "
     "report is kept, and accepted there if the claim still holds.",
     {{"strata done 143", "done"},
      {"strata done 143 --result @report.md", "with a result"},
      {"strata done 143 --next --json", "and the next one, as with `next`"}},
     cmd_done, false},
    {"fail", "N", 1, 1, ON(OPT_REASON) | ON(OPT_TASK_TOKEN) | ON(OPT_RETRY_IN),
     "a task did not succeed",
     "What waits for it goes on waiting, until it is opened again, or cancelled.",
     {{"strata fail 143 --reason \"no credentials\"", "with the reason"},
      {"strata fail 143 --reason \"rate limit\" --retry-in 5m", "ready again in 5 minutes"}},
     cmd_fail, false},
    {"work", "-- COMMAND [ARGUMENT ...]", 1, 4096,
     ON(OPT_CHANNEL) | ON(OPT_TERM) | ON(OPT_RETRY_IN) | ON(OPT_TASKS_MAX),
     "take tasks, and run a command for each",
     "The command gets the task as JSON on standard input, and STRATA_TASK, STRATA_TASK_TITLE and "
     "STRATA_FENCE (the claim's token) in its environment. What it writes into the file "
     "STRATA_CHECKPOINT is kept as the checkpoint; at the start the last checkpoint is in it. Exit "
     "status 0 finishes the task, with what was printed as its result; any other fails it, or gives "
     "it back with --retry-in. The claim is renewed while the command lives, and ends with this "
     "process; a command whose claim could not be renewed in time is ended. SIGTERM is passed on to "
     "the command; then the task is given back.\n\n"
     "With --wait the worker ends when nothing was ready for that long; else it goes on.",
     {{"strata work --agent coder -- ./solve.sh", "for ever"},
      {"strata work --wait 0s -- ./solve.sh", "what is there now"}},
     cmd_work, false},
    {"send", "AGENT TEXT", 2, 2, ON(OPT_CREATE) | ON(OPT_DATA), "a message to an agent",
     "Stays in the agent's inbox until it is acknowledged, on every copy. At most 1,000 wait.",
     {{"strata send ann \"the API has changed, see 143\"", "prints its number"}}, cmd_send, false},
    {"inbox", "[N ...]", 0, 100, ON(OPT_ACK) | ON(OPT_LIMIT), "your messages",
     "With --ack those that are shown are acknowledged, or only those that are named.",
     {{"strata inbox --agent ann --ack", "read, and done with"},
      {"strata inbox --wait 60s", "wait for one; exit 5 when none came"}},
     cmd_inbox, false},
    {"cancel", "N", 1, 1, ON(OPT_REASON), "a task is not needed any more",
     "What waits for it does so no longer.",
     {{"strata cancel 143 --reason \"done by hand\"", "with the reason"}},
     cmd_cancel, false},
    {"once", "-- COMMAND [ARGUMENT ...]", 1, 4096,
     ON(OPT_KEY) | ON(OPT_CLASS) | ON(OPT_VALID_FOR) | ON(OPT_TIMEOUT) | ON(OPT_NEEDS_APPROVAL) |
         ON(OPT_NOTHING_ON) | ON(OPT_CHECK),
     "run a command at most once, across all agents and restarts",
     "The first caller of a key runs the command. Everybody else waits if it is running (--wait "
     "bounds that), and is then given its output and exit status, byte for byte, as long as the "
     "key is known. Up to 64,512 bytes each of standard output and standard error are kept. The "
     "command finds STRATA_OP_KEY and STRATA_FENCE in its environment.\n\n"
     "If whoever runs it dies in between, nobody knows whether it happened: it is in doubt, and is "
     "not run again until a person has found out and settles it (`strata op settle`). With "
     "--class idempotent, or keyed within --valid-for, it is run again without asking. With --class "
     "queryable, --check is asked: if that ends with 0, it happened, and what it printed is the "
     "result; that nothing happened is for a person to say, as something of it may still come.\n\n"
     "Exit status: the command's own; 110 plus the code where Strata has to say something: 113 the "
     "key stands for something else, 115 not in time, 116 unavailable, 117 in doubt.",
     {{"strata once --key deploy-42 -- ./deploy.sh staging", "deploys once"},
      {"strata once --key mail-7 --nothing-happened-on 75 -- ./send-mail 7",
       "exit 75 means that nothing was sent"},
      {"strata once --key pay-9 --needs-approval -- ./pay 9", "a person approves first"}},
     cmd_once, false},
    {"op list", "", 0, 0, ON(OPT_STATE) | ON(OPT_LIMIT) | ON(OPT_AFTER),
     "the ledger of once-only operations", NULL,
     {{"strata op list --state in_doubt", "what waits for a person"}},
     cmd_op_list, false},
    {"op show", "KEY", 1, 1, 0, "one operation, with its result", NULL,
     {{"strata op show deploy-42 --json", "for scripts: data.state, data.token, data.attempts, data.result"}},
     cmd_op_show, false},
    {"op settle", "KEY", 1, 1,
     ON(OPT_OUTCOME) | ON(OPT_EVIDENCE) | ON(OPT_RESULT) | ON(OPT_BY),
     "say what became of an operation in doubt (for persons)",
     "Refused while something of it still runs. Refused without a terminal, or where the "
     "environment says that an agent is calling: a guard, not a wall.",
     {{"strata op settle mail-7 --outcome committed --evidence \"it is in the outbox\"",
       "it happened"},
      {"strata op settle mail-7 --outcome retry --evidence \"the outbox is empty\"",
       "it did not; the next caller runs it"}},
     cmd_op_settle, false},
    {"op approve", "KEY", 1, 1, ON(OPT_BY) | ON(OPT_REASON), "approve an operation (for persons)",
     NULL, {{"strata op approve pay-9", "the next caller runs it"}}, cmd_op_approve, false},
    {"op reject", "KEY", 1, 1, ON(OPT_BY) | ON(OPT_REASON), "reject an operation (for persons)",
     NULL, {{"strata op reject pay-9 --reason \"wrong account\"", "it is never run"}},
     cmd_op_reject, false},
    {"op again", "KEY", 1, 1, ON(OPT_BY) | ON(OPT_REASON),
     "have an ended operation run once more (for persons)", NULL,
     {{"strata op again deploy-42 --reason \"rolled back by hand\"", "the next caller runs it"}},
     cmd_op_again, false},
    {"op begin", "", 0, 0,
     ON(OPT_KEY) | ON(OPT_PARAMS) | ON(OPT_CLASS) | ON(OPT_VALID_FOR) | ON(OPT_NEEDS_APPROVAL) |
         ON(OPT_TERM),
     "ask for the right to make a call that must not happen twice",
     "For programs that make the call themselves, in several steps: begin prints a token; `op start` "
     "just before the call; then `op report` with the result, or `op refuse` if it is certain that "
     "nothing happened. Who does not report within the term (`op renew` begins it anew) leaves the "
     "operation in doubt if it was started, and free if it was not.\n\n"
     "Exit status: 0 go on, the token is printed; 8 done before, the result is printed; 5 somebody "
     "is at it; 7 in doubt; 3 the key stands for something else; 4 a person has to approve it; "
     "9 it ended without effect, or its result was pruned.",
     {{"token=$(strata op begin --key mail-7 --params @mail.txt)", "may I?"},
      {"strata op start mail-7 --token $token && ./send", "on disk before the call"},
      {"strata op report mail-7 --token $token --result @answer.txt", "it happened"}},
     cmd_op_begin, false},
    {"op start", "KEY", 1, 1, ON(OPT_TOKEN), "say that the call is made now",
     "When it has answered, that is on disk. It is accepted once: without exit status 0 do not make "
     "the call.",
     {{"strata op start mail-7 --token $token", "just before the call"}}, cmd_op_start, false},
    {"op renew", "KEY", 1, 1, ON(OPT_TOKEN) | ON(OPT_TERM), "begin the term anew", NULL,
     {{"strata op renew mail-7 --token $token --term 10m", "still at it"}}, cmd_op_renew, false},
    {"op report", "KEY", 1, 1, ON(OPT_TOKEN) | ON(OPT_RESULT), "it happened: keep the result",
     "Every later caller of the key is given this result.",
     {{"strata op report mail-7 --token $token --result @answer.txt", "it happened"}},
     cmd_op_report, false},
    {"op refuse", "KEY", 1, 1, ON(OPT_TOKEN) | ON(OPT_EVIDENCE),
     "nothing happened: the service said no, or the call was not made", NULL,
     {{"strata op refuse mail-7 --token $token --evidence \"550 no such user\"", "with the proof"}},
     cmd_op_refuse, false},
    {"op prune", "", 0, 0, ON(OPT_OLDER_THAN),
     "forget the results of operations that ended long ago",
     "Their keys stay known: who asks for one is told that it was known before, and it is not run. "
     "What is in doubt stays.",
     {{"strata op prune --older-than 90d", "results of the last 90 days stay"}}, cmd_op_prune, false},
    {"lock", "NAME -- COMMAND [ARGUMENT ...]", 1, 4096, ON(OPT_TTL),
     "run a command while holding a lock",
     "The lock is renewed while the command lives; its term is 30s if --ttl is not given. When it cannot be renewed in time, or this "
     "program is killed, the command and its process group are asked to end, and ended before the "
     "lock's term is over. A descendant that left the group is not: it can know by STRATA_FENCE, a "
     "number that only grows, in its environment. --wait says how long to wait for the lock; not "
     "at all if not given. Exit status: the command's own; 113 when the lock was lost, 115 when it "
     "was not to be had.",
     {{"strata lock deploy --wait 10s -- ./deploy.sh", "one at a time"}},
     cmd_lock, false},
    {"lock acquire", "NAME", 1, 1, ON(OPT_TTL), "take a lock; prints its token",
     "For an hour if --ttl is not given. Exit status 5 when it was not to be had within --wait.",
     {{"token=$(strata lock acquire deploy --ttl 10m --wait 5s)", "for programs"}},
     cmd_lock_acquire, false},
    {"lock renew", "NAME", 1, 1, ON(OPT_TTL) | ON(OPT_TOKEN), "begin the term of a lock anew",
     "Exit status 3 when the token is not the current one: the lock is lost.",
     {{"strata lock renew deploy --token $token --ttl 10m", "still needed"}},
     cmd_lock_renew, false},
    {"lock release", "NAME", 1, 1, ON(OPT_TOKEN), "give a lock back", NULL,
     {{"strata lock release deploy --token $token", "done"}}, cmd_lock_release, false},
    {"lock list", "", 0, 0, 0, "who holds what, and for how long", NULL,
     {{"strata lock list", "all locks"}}, cmd_lock_list, false},
    {"fence", "NAME TOKEN", 2, 2, 0, "is this the current token of a lock?",
     "Exit status 3 when it is not. Advice: the lock may be lost before you have acted on the answer. "
     "What has to be certain, the one who is written to has to check.",
     {{"strata fence deploy $STRATA_FENCE && ./step-2.sh", "still ours"}}, cmd_fence, false},
    {"reserve", "PATTERN", 1, 1, ON(OPT_SHARED) | ON(OPT_REASON) | ON(OPT_TTL),
     "reserve paths of this work tree; prints a token",
     "PATTERN is relative to the work tree: * and ? within a name, ** for any directories. Exit status "
     "5 when somebody else has some of these paths; two --shared ones may overlap. In another work "
     "tree the same paths are other files: that is only warned of. For an hour if --ttl is not given; "
     "the same again begins the term anew. A reservation is a promise between agents: nothing keeps an "
     "editor from writing.",
     {{"strata reserve 'src/**' --agent ann --reason \"renaming\"", "these files are ann's"},
      {"strata reserve 'docs/*.md' --shared", "others may, too"}},
     cmd_reserve, false},
    {"reserve check", "PATH", 1, 1, 0, "who has reserved this path",
     "Exit status 3 when somebody else has it in this work tree, alone.",
     {{"strata reserve check src/main.c", "before you write"}}, cmd_reserve_check, false},
    {"reserve list", "", 0, 0, 0, "who has reserved what", NULL,
     {{"strata reserve list", "all work trees"}}, cmd_reserve_list, false},
    {"reserve release", "PATTERN", 1, 1, ON(OPT_TOKEN), "give reserved paths back", NULL,
     {{"strata reserve release 'src/**' --token $token", "done"}}, cmd_reserve_release, false},
    {"coordinator show", "", 0, 0, 0, "which copy decides about once-only operations and locks",
     NULL, {{"strata coordinator show", "here or elsewhere"}}, cmd_coordinator_show, false},
    {"coordinator move", "", 0, 0,
     ON(OPT_TO) | ON(OPT_ACCEPT) | ON(OPT_FORCE) | ON(OPT_REASON) | ON(OPT_BY),
     "let another copy decide (for persons)",
     "--to DIR hands over to the copy of this workspace in DIR, at once. Where it cannot be reached "
     "from here: --to PLACE (`strata coordinator show` there prints it) seals the log here; when it "
     "has arrived there (`strata merge-state`, or `strata sync REMOTE --ledger` on both), --accept "
     "there goes on from exactly there. In between nobody decides.\n\n"
     "--force is for when the copy that decided is gone for good. What ran there after this copy was "
     "made is not known here: every operation that had not ended, and every key that is not known "
     "here, is in doubt from then on, and is not run. Locks and claims that only the lost part knew "
     "may still be held: wait for their terms to end.",
     {{"strata coordinator move --to ~/box/project --reason \"the laptop travels\"", "hand over"},
      {"strata coordinator move --to box:5f3a9e10c2b84d67 --reason \"the laptop travels\"",
       "seal, for a copy that is not reachable"},
      {"strata coordinator move --accept", "there, when the log has arrived"},
      {"strata coordinator move --force --reason \"the laptop was stolen\"",
       "here, from now on"}},
     cmd_coordinator_move, false},
    {"log", "", 0, 0, ON(OPT_FOLLOW) | ON(OPT_LIMIT) | ON(OPT_SINCE_CURSOR) | ON(OPT_OPS),
     "what happened, in order of arrival here",
     "Prints the last events. With --since the first ones after that point, so that a program can "
     "go on where it stopped. What one command wrote of a task is one line, and one to --limit; with "
     "--json each change counts. --follow --json prints one JSON object per line. With --ops: what "
     "somebody wanted, in the order that decides who gets it; `op show`, `lock list` and `show` tell "
     "what became of it.",
     {{"strata log", "the last 50"},
      {"strata log --since 120", "what came after 120"},
      {"strata log --follow --json", "a stream for programs"},
      {"strata log --ops", "once-only operations, locks, claims: who wanted what, on what evidence, and what came of it"}},
     cmd_log, false},
    {"log verify", "", 0, 0, 0, "check every link of the ordered log, and print its head",
     "Two copies with the same head have the same once-only operations, locks and claims in the same "
     "order. Exit status 1 when a link is broken; the message says where.",
     {{"strata log verify", "all of it"}}, cmd_log_verify, false},
    {"import", "FILE", 1, 1, ON(OPT_FORMAT_IN) | ON(OPT_DRY_RUN),
     "take in facts, or tasks, from a file",
     "The whole file is checked before the first fact is written. Importing it again adds "
     "nothing. `-` reads standard input.",
     {{"strata import facts.jsonl", "facts that `strata export` wrote"},
      {"strata import memory.json --format memory", "the store of the MCP memory server"},
      {"strata import issues.jsonl --format beads", "tasks, with their dependencies"},
      {"strata import QUEUE.md", "tasks: a list with boxes, or headings with a status"},
      {"strata import facts.csv --dry-run", "only check"}},
     cmd_import, false},
    {"export", "", 0, 0, ON(OPT_FORMAT_OUT) | ON(OPT_ENTITY) | ON(OPT_OUTPUT) | ON(OPT_AS_OF),
     "print all facts, or all tasks, in a format for other programs", NULL,
     {{"strata export > facts.jsonl", "all facts, one JSON object per line"},
      {"strata export --format beads > issues.jsonl", "all tasks"},
      {"strata export --format dot | dot -Tsvg > facts.svg", "a picture of the links"}},
     cmd_export, false},
    {"merge-state", "DIR", 1, 1, ON(OPT_ADOPT),
     "take in what another copy of this workspace has",
     "DIR is the other copy's state directory, or a directory that has one. It is only read. Doing "
     "it again is harmless.",
     {{"strata merge-state /mnt/usb/project", "take in the copy on the stick"}},
     cmd_merge_state, false},
    {"prime", "", 0, 0, 0,
     "what an agent has to know when it starts, in Markdown",
     "Its unfinished task with the last checkpoint, messages, what is ready, what is pending, and the "
     "rules of the workspace.",
     {{"strata prime --agent ann", "for ann"}},
     cmd_prime, false},
    {"hook", "NAME", 1, 1, 0,
     "what an agent's client calls by itself: session-start, pre-edit, post-read, post-edit, session-end",
     "Reads what the client tells from standard input, as JSON. session-start prints `strata prime` "
     "and gives the session its name; pre-edit refuses (exit status 2) to edit a file that another "
     "agent has reserved; post-read and post-edit are for tracked files: an edit is merged against what its "
     "agent has read; session-end gives reservations back. Anything that is wrong with a hook is "
     "passed over.",
     {{"strata hook session-start", "in the client's settings; `strata init --agents` writes them"}},
     cmd_hook, false},
    {"mcp", "", 0, 0, ON(OPT_MEMORY),
     "serve agents by the Model Context Protocol, on standard input and output",
     "A client starts one for each agent; any number may be open on one workspace. It serves the "
     "protocol's revisions 2026-07-28, 2025-11-25 and 2025-06-18, and ends when the client "
     "closes.\n\n"
     "With --memory it stands in for the reference memory server: same tools, same arguments, same "
     "results. The file that MEMORY_FILE_PATH names is taken in at the first start and not "
     "written; the workspace is then the one of its directory, and is made if there is none.",
     {{"claude mcp add strata -- strata mcp", "for Claude Code"},
      {"MEMORY_FILE_PATH=~/memory.jsonl strata mcp --memory", "a memory for several agents"}},
     cmd_mcp, false},
    {"merge-driver", "BASE OURS THEIRS [MARKER_SIZE] [PATH]", 3, 5, 0,
     "merge three versions of a file into OURS, for Git",
     "Works outside of a workspace too. JSON Lines (by the ending of PATH, or by what is in the "
     "files) are merged record by record and field by field: no addition and no change is lost, "
     "and nothing deleted comes back. Where both sides changed the same lines of another text, "
     "Markdown keeps both versions, ours first, and any other text gets Git's conflict markers. A view is "
     "made from the state where that has seen both sides, else merged line by line.\n\n"
     "What somebody should look at is listed on standard error; with --json everything that was "
     "merged is. In a workspace, when Git calls, what has to be decided is pending, too (strata "
     "pending). Exit status: 0 when nothing is lost, 1 when it could not be merged.",
     {{"strata merge-driver %O %A %B %L %P", "as Git calls it"},
      {"strata merge-driver base.jsonl ours.jsonl theirs.jsonl", "by hand; the result is in ours.jsonl"}},
     cmd_merge_driver, false},
    {"view add", "heartbeat|facts|queue", 1, 1,
     ON(OPT_FILE) | ON(OPT_ENTITY_VIEW) | ON(OPT_CHANNEL) | ON(OPT_COMMITTED),
     "show a part of the state as Markdown, to read and to edit",
     "heartbeat: who does what, in HEARTBEAT.md. facts: a table, in FACTS.md; with --entity the page "
     "of one, in ENTITY.md. queue: the tasks, in QUEUE.md; with --channel those of one channel. The "
     "view is a block between two comments; the rest of the file stays "
     "yours. Whatever is changed in its lines, by any editor, is written to the state when the next "
     "strata command runs in this work tree.",
     {{"strata view add heartbeat --file AGENTS-STATUS.md", "the board"},
      {"strata view add facts", "all facts"},
      {"strata view add facts --entity api --file docs/api.md", "a page for one entity"},
      {"strata view add queue --channel docs", "tasks as a list with boxes"}},
     cmd_view_add, false},
    {"view remove", "NAME", 1, 1, ON(OPT_FILE) | ON(OPT_ENTITY_VIEW) | ON(OPT_CHANNEL),
     "take a view out of its file",
     "Edits are taken in first. The state stays as it is. A file with nothing else in it goes.",
     {{"strata view remove heartbeat", "the block goes"}}, cmd_view_remove, false},
    {"view list", "", 0, 0, 0, "the views of this work tree", NULL,
     {{"strata view list", "names and files"}}, cmd_view_list, false},
    {"view render", "", 0, 0, 0, "take in all edits and write all views",
     "Every command does that for what has changed; this one looks into every file, and also writes "
     "the views that were added with --committed.",
     {{"strata view render", "before a commit"}}, cmd_view_render, false},
    {"track", "[FILE ...]", 0, 1024, ON(OPT_SEEN_FILE) | ON(OPT_TAKE_FILE),
     "share a text file, merged by lines; without FILE: list them",
     "What any editor writes into a tracked file is taken in by the next strata command. It is merged "
     "by lines with what others wrote meanwhile, here or in another copy of the workspace. Where both "
     "changed the same lines, both versions are kept: `strata pending`. A pattern in quotes tracks "
     "files of one directory as they appear. Up to 240 KiB of UTF-8. A missing file is written again. A file "
     "that Git has put back to an older text (checkout, stash, reset) is left so until it is edited; "
     "`track FILE` brings it up to date, `track --take FILE` makes the older text that of all.",
     {{"strata track MEMORY.md", "one file"},
      {"strata track 'memory/*.md'", "all in a directory, later ones too"},
      {"strata track --seen MEMORY.md --agent ann", "for hooks: ann has read it now"}},
     cmd_track, false},
    {"untrack", "FILE ...", 1, 1024, 0, "no longer track a file",
     "The file stays as it is, and so does its history.",
     {{"strata untrack MEMORY.md", "from now on a file like others"}}, cmd_untrack, false},
    {"append", "FILE TEXT", 2, 2, 0, "append a line to a file",
     "One write at the end of the file, on disk when it has answered; many may append at once. Works "
     "for tracked files and for others.",
     {{"strata append memory/today.md \"- the port is 9090\"", "one line"},
      {"git log -1 | strata append log.md -", "a longer text"}},
     cmd_append, false},
    {"watch", "", 0, 0, 0, "take in edits at once, and keep the views up to date",
     "Runs until it is ended. Prints a line for each time that something was taken in or written; with "
     "--json one JSON object per line. A tracked file that is truncated and closed is an edit, too, to "
     "an empty text; what it had stays: strata fact get file:FILE text --as-of TIME.",
     {{"strata watch", "in a terminal of its own"}}, cmd_watch, false},
    {"sync", "[REMOTE]", 0, 1, ON(OPT_WATCH) | ON(OPT_DRY_RUN) | ON(OPT_YES) | ON(OPT_LEDGER),
     "exchange records with other copies through a Git repository",
     "REMOTE is a remote of the clone, or the address or path of a repository; a plain bare one "
     "will do. Without REMOTE all are synced that were agreed to before. Records travel on a "
     "reference of this copy, refs/strata/...; branches, index and work trees are not touched, and "
     "nothing is ever sent by force. It may be interrupted at any time and run again. Each copy "
     "sends its own records and nobody else's: all copies have to sync with one remote at least.\n\n"
     "Whoever can read the remote can read the records. So the first sync with a remote asks, and "
     "is refused where nobody can answer, unless --yes is given. What operations have printed stays "
     "here: the ledger of operations and claims goes along only after --ledger, which asks once, "
     "too. Other copies can then read it, and start from it when the one that decides is moved. "
     "--wait bounds the wait for each answer of the remote; 10m if not given.",
     {{"strata sync origin", "the first time it asks, then never again"},
      {"strata sync origin --ledger", "with the ledger, from now on"},
      {"strata sync", "with all remotes that were agreed to"},
      {"strata sync --watch 1m", "every minute, until it is interrupted"},
      {"strata sync origin --dry-run", "what would be sent, and who has something new"}},
     cmd_sync, false},
    {"completion", "bash|zsh|fish", 1, 1, 0,
     "print a completion script for a shell", NULL,
     {{"source <(strata completion bash)", "in ~/.bashrc"},
      {"strata completion fish > ~/.config/fish/completions/strata.fish", "for fish"}},
     cmd_completion, false},
    {"help", "[COMMAND]", 0, 2, ON(OPT_MAN),
     "explain a command", NULL,
     {{"strata help", "all commands"}, {"strata help fact set", "one command"}},
     cmd_help, false},
};
/* clang-format on */

const size_t cli_command_count = sizeof(cli_commands) / sizeof(cli_commands[0]);

const struct cli_example cli_statuses[] = {
    {"0", "done"},
    {"1", "error; nothing found; the doctor found something to mend"},
    {"2", "wrong call, or a name or value that is not allowed"},
    {"3", "conflict: the value is not what --expect said; it is somebody else's, or ended; another "
          "workspace"},
    {"4", "not allowed"},
    {"5", "not acquired in time"},
    {"6",
     "unavailable: another copy decides, read-only state, no space left; nothing was recorded"},
    {"7", "in doubt: nobody knows whether it happened, or is kept; look, do not just try again"},
    {"130", "interrupted"},
    {NULL, NULL},
};

const struct cli_example cli_environment[] = {
    {"STRATA_AGENT", "who is writing and reading, as --agent"},
    {"STRATA_INCARNATION", "which start of the agent, as `strata agent register` printed it"},
    {"STRATA_DIR", "the workspace that this directory belongs to, as --dir"},
    {"STRATA_STATE_DIR", "where the state is, as --state-dir"},
    {"NO_COLOR", "has no effect: no colors are printed"},
    {NULL, NULL},
};

const char cli_description[] =
    "Facts, files, tasks, messages, locks and once-only operations for agents that share a "
    "workspace on one machine or a few. When a command has answered, your write is kept: it is the "
    "current value, or in `strata history` under what replaced it, or in `strata pending` because "
    "somebody wrote the same "
    "thing elsewhere at the same time. Of heartbeats only the last is kept, and `count` may lose "
    "its last seconds in a power cut.";

const struct cli_example cli_introduction[] = {
    {"strata init", "set up the workspace, once"},
    {"strata fact set api port 9090", "write; the answer says what was replaced"},
    {"strata fact get api port", "read"},
    {"strata add \"build frontend\" --after 141",
     "a task; `strata next` takes the best that is ready"},
    {"strata once --key deploy-42 -- ./deploy.sh", "what must not happen twice"},
    {"strata pending", "what waits for a decision"},
    {NULL, NULL},
};

/* Words people use for the same thing. The right side is a command of the table. */
static const struct {
    const char *alias, *name;
} aliases[] = {
    {"fact rm", "fact remove"},
    {"fact ls", "fact list"},
    {"fact show", "fact list"},
    {"fact history", "history"},
    {"fact search", "search"},
    {"fact del", "fact unset"},
    {"fact delete", "fact unset"},
    {"facts", "fact list"},
    {"agents", "agent list"},
    {"agent ls", "agent list"},
    {"views", "view list"},
    {"agent beat", "beat"},
    {"counter", "count"},
    {"heartbeat", "beat"},
    {"merge", "merge-state"},
    {"conflicts", "pending"},
    {"create", "add"},
    {"close", "done"},
    {"tasks", "list"},
    {"message", "send"},
};

/* Words of other programs, of the MCP tools, and of hope: what is meant is only said, not done. */
static const struct {
    const char *word, *name;
} meant[] = {
    {"new", "add"},         {"task", "list"},         {"todo", "list"},
    {"blocked", "list"},    {"complete", "done"},     {"finish", "done"},
    {"start", "claim"},     {"take", "next"},         {"edit", "update"},
    {"reopen", "update"},   {"remember", "fact set"}, {"memory", "fact list"},
    {"read", "inbox"},      {"messages", "inbox"},    {"fact_search", "search"},
    {"once_begin", "once"}, {"once_report", "once"},  {"unlock", "lock release"},
    {"undo", "history"},    {"whoami", "status"},
};

static const struct cli_command *find_exact(const char *name)
{
    for (size_t i = 0; i < cli_command_count; i++)
        if (strcmp(cli_commands[i].name, name) == 0)
            return &cli_commands[i];
    return NULL;
}

const struct cli_command *cli_command_find(const char *name)
{
    const struct cli_command *command = find_exact(name);
    for (size_t i = 0; command == NULL && i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (strcmp(aliases[i].alias, name) == 0)
            command = find_exact(aliases[i].name);
    return command;
}

bool cli_group_known(const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < cli_command_count; i++)
        if (strncmp(cli_commands[i].name, word, n) == 0 && cli_commands[i].name[n] == ' ')
            return true;
    return false;
}

#define DISTANCE_SIZE_MAX 64

unsigned cli_edit_distance(const char *a, const char *b)
{
    size_t n = strnlen(a, DISTANCE_SIZE_MAX), m = strnlen(b, DISTANCE_SIZE_MAX);
    unsigned rows[3][DISTANCE_SIZE_MAX + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];

    for (size_t j = 0; j <= m; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        unsigned *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[m];
}

/* Near enough to be meant: one letter in three may be wrong. */
static bool near(const char *a, const char *b, unsigned *best)
{
    unsigned distance = cli_edit_distance(a, b);
    if (distance >= *best || distance * 3 > strlen(b) + 1)
        return false;
    *best = distance;
    return true;
}

const struct cli_command *cli_command_suggest(const char *name)
{
    const struct cli_command *found = NULL;
    unsigned best = DISTANCE_SIZE_MAX;

    for (size_t i = 0; i < sizeof(meant) / sizeof(meant[0]); i++)
        if (strcmp(meant[i].word, name) == 0)
            return find_exact(meant[i].name);
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = &cli_commands[i];
        const char *verb = strchr(command->name, ' ');
        if (command->hidden)
            continue;
        if (near(name, command->name, &best) || (verb != NULL && near(name, verb + 1, &best)))
            found = command;
    }
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
        const char *verb = strchr(aliases[i].alias, ' ');
        if (near(name, aliases[i].alias, &best) || (verb != NULL && near(name, verb + 1, &best)))
            found = find_exact(aliases[i].name);
    }
    return found;
}
