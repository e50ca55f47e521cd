/*
 * cli.h - what the files of the program `strata` share.
 *
 * The program stands on include/strata.h alone. main.c parses the command line by the one table
 * of commands (table.c) and calls the command's handler; help, completion scripts, suggestions
 * and man pages come from the same table.
 *
 * A handler is `int cmd_noun_verb(struct cli *c)` and returns the exit status. Data goes to
 * standard output, everything else to standard error, both through output.c: functions here that
 * return `int` have already said what is wrong when they return anything but 0, and what they
 * return is the exit status to leave with:
 *
 *     int status = cli_open(c);
 *     if (status != 0)
 *         return status;
 *     int code = strata_counter_get(c->s, name, &total);
 *     if (code != STRATA_OK)
 *         return cli_fail(c, code);
 *
 * main() closes c->s, passes on notices and flushes standard output after the handler.
 */
#ifndef ST_CLI_H
#define ST_CLI_H

#include <jansson.h>
#include <stdio.h>

#include "edge/json.h"
#include "edge/text.h"
#include "strata.h"

/* Limits of the public API, to name the argument that breaks one. Bytes. */
#define CLI_NAME_SIZE_MAX   255
#define CLI_AGENT_SIZE_MAX  64
#define CLI_STATUS_SIZE_MAX 1024
#define CLI_VALUE_SIZE_MAX  65536

/* Lines of a listing unless --limit says otherwise: about what an agent reads with profit. */
#define CLI_LIMIT_DEFAULT 50

/* Every option of every command; table.c has name, argument and help. At most 128. */
enum cli_option_id {
    /* global: valid with every command, before and after it */
    OPT_AGENT,
    OPT_DIR,
    OPT_STATE_DIR,
    OPT_JSON,
    OPT_QUIET,
    OPT_NO_FLUSH,
    OPT_WAIT,
    OPT_HELP_SHORT,
    OPT_HELP,
    OPT_VERSION,
    OPT_GLOBAL_COUNT,
    /* of single commands */
    OPT_NAME = OPT_GLOBAL_COUNT,
    OPT_DRY_RUN,
    OPT_LINK,
    OPT_EXPECT,
    OPT_EXPECT_ABSENT,
    OPT_ATTRIBUTE,
    OPT_AUTHOR,
    OPT_SINCE,
    OPT_UNTIL,
    OPT_AS_OF,
    OPT_LIMIT,
    OPT_AFTER,
    OPT_ALL_ABSENT, /* fact list --all */
    OPT_UNSEEN,
    OPT_TAKE,
    OPT_VALUE,
    OPT_SEEN,
    OPT_ALL_PENDING, /* resolve --all */
    OPT_UNDER,
    OPT_FOLLOW,
    OPT_SINCE_CURSOR, /* log --since */
    OPT_FIX,
    OPT_ADOPT,
    OPT_FORMAT_IN,  /* import --format jsonl|csv|memory */
    OPT_FORMAT_OUT, /* export --format jsonl|csv|memory|dot */
    OPT_ENTITY,     /* export --entity */
    OPT_OUTPUT,
    OPT_MAN,
    OPT_KEY, /* once */
    OPT_CLASS,
    OPT_VALID_FOR,
    OPT_TIMEOUT,
    OPT_NEEDS_APPROVAL,
    OPT_NOTHING_ON,
    OPT_STATE, /* op */
    OPT_OUTCOME,
    OPT_EVIDENCE,
    OPT_RESULT,
    OPT_REASON,
    OPT_BY,
    OPT_TTL, /* lock */
    OPT_TOKEN,
    OPT_FORCE,      /* coordinator move */
    OPT_PARAMS,     /* op begin */
    OPT_OLDER_THAN, /* op prune */
    OPT_CHECK,      /* once */
    OPT_SHARED,     /* reserve */
    OPT_TO,
    OPT_ACCEPT,
    OPT_OPS,    /* log */
    OPT_MEMORY, /* mcp */
    OPT_AGENTS, /* init */
    OPT_AGENTS_MD,
    OPT_YES,
    OPT_JOIN, /* init */
    OPT_NEW,
    OPT_WATCH,
    OPT_LEDGER,    /* sync */
    OPT_DEPENDS,   /* add --after */
    OPT_CHANNEL,   /* tasks */
    OPT_FOR_AGENT, /* add, update --for */
    OPT_PRIORITY,
    OPT_NOT_BEFORE,
    OPT_PARENT,
    OPT_DATA,
    OPT_TASK_KEY,
    OPT_AFTER_TASK, /* list --after */
    OPT_BLOCKED,
    OPT_TREE,
    OPT_DOT,
    OPT_ALL_TASKS, /* list --all */
    OPT_TASK_STATE,
    OPT_TITLE,
    OPT_REOPEN,
    OPT_DEP_KIND,
    OPT_NEXT, /* done --next */
    OPT_RETRY_IN,
    OPT_TASK_TOKEN,
    OPT_CHECKPOINT_DATA,
    OPT_TERM, /* next, claim, work */
    OPT_TASKS_MAX,
    OPT_CREATE,      /* send */
    OPT_ACK,         /* inbox */
    OPT_FILE,        /* view */
    OPT_ENTITY_VIEW, /* view --entity */
    OPT_COMMITTED,
    OPT_SEEN_FILE, /* track --seen */
    OPT_TAKE_FILE, /* track --take */
    OPT_GIT_MERGE, /* init */
    OPT_COUNT,
};
typedef unsigned __int128 cli_set; /* of options: 1 << OPT_... */
#define CLI_SET(id) ((cli_set)1 << (id))
_Static_assert(OPT_COUNT <= 128, "the options of a command are a set in one word");

/* How often all options that can be repeated may be given in one call. */
#define CLI_REPEATS_MAX 256

struct cli_option {
    const char *name; /* "--limit" */
    char letter;      /* 'n' for -n; 0: none */
    const char *arg;  /* "N", "a|b" (choices), NULL: takes none */
    const char *help;
    bool hidden;
    bool repeats; /* may be given several times */
};

struct cli;

struct cli_example {
    const char *command;
    const char *what;
};

struct cli_command {
    const char *name;      /* "fact set" */
    const char *arguments; /* "ENTITY ATTRIBUTE VALUE"; "" when none */
    unsigned args_min, args_max;
    cli_set options; /* the global ones left out */
    const char *summary;
    const char *details; /* paragraphs, separated by an empty line; NULL: none */
    struct cli_example examples[5];
    int (*run)(struct cli *c);
    bool hidden;
};

struct cli {
    const struct cli_command *command; /* NULL until it is known */
    char **args;                       /* positional arguments of the command; borrowed */
    size_t arg_count;
    const char *options[OPT_COUNT];        /* argument, "" for one without; NULL: not given */
    const char *repeated[CLI_REPEATS_MAX]; /* of the option that can be repeated, all of them */
    size_t repeat_count;

    /* from the global options and the environment */
    bool json, quiet, no_flush;
    uint32_t wait_ms;      /* 0: the library's default */
    const char *dir;       /* NULL: the current directory */
    const char *state_dir; /* NULL: found from dir */
    const char *agent;     /* set by cli_open(); NULL: none */
    char agent_buffer[CLI_AGENT_SIZE_MAX + 1];

    strata *s;       /* set by cli_open() */
    bool stdin_used; /* some argument was `-` */
    uint64_t now_ms; /* see cli_now() */
};

/* --- table.c ---------------------------------------------------------------------------------- */

extern const struct cli_option cli_options[OPT_COUNT];
extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;

/* Names with their meaning, for help and man pages; end with a NULL name. */
extern const struct cli_example cli_statuses[];
extern const struct cli_example cli_environment[];
extern const struct cli_example cli_introduction[]; /* examples of the whole program */
extern const char cli_description[];

/* The command of that name or alias ("fact set", "fact rm"), or NULL. */
const struct cli_command *cli_command_find(const char *name);
/* Whether some commands are called "<word> ...". */
bool cli_group_known(const char *word);
/* The command most probably meant, or NULL when nothing is near. */
const struct cli_command *cli_command_suggest(const char *name);
/* Letters to change, insert, delete or swap to get from a to b (at most 64 bytes of each). */
unsigned cli_edit_distance(const char *a, const char *b);

/* --- options.c -------------------------------------------------------------------------------- */

/* Fills c->command, args and options from the command line; reorders argv. Returns an exit
 * status; says what is wrong. */
int cli_parse(struct cli *c, int argc, char **argv);

static inline bool cli_given(const struct cli *c, enum cli_option_id id)
{
    return c->options[id] != NULL;
}

/* --limit: *limit lines, 0 for all. */
int cli_limit(struct cli *c, size_t *limit);
/* A whole number from 0 to max, digits only. */
int cli_number(struct cli *c, const char *what, const char *text, uint64_t max, uint64_t *out);
/* "500ms", "10s", "5m", "2h", "7d", "1w"; a bare number means seconds. */
int cli_duration(struct cli *c, const char *what, const char *text, uint64_t *ms);
/* RFC 3339, a day (its first millisecond, UTC; its last with end_of_day) or an age ("2h"). */
int cli_time(struct cli *c, const char *what, const char *text, bool end_of_day, uint64_t *ms);

/* A text argument: the argument itself, or what `@FILE` or `-` (standard input) has in it, less
 * one newline at the end; `@@x` is a literal `@x`. */
struct cli_text {
    const char *p; /* NUL-terminated */
    size_t n;
    char *owned; /* memory of p, or NULL */
};

/* `what` names the argument in errors, max is its limit in bytes. */
int cli_text_read(struct cli *c, const char *what, const char *arg, size_t max,
                  struct cli_text *out);
void cli_text_release(struct cli_text *t);
/* Refuses a name argument (never read from a file) that is empty or too long. */
int cli_name_check(struct cli *c, const char *what, const char *name);
/* The same for the first arguments, ENTITY and, if it is there, ATTRIBUTE. */
int cli_subject_check(struct cli *c);

/* --- workspace.c ------------------------------------------------------------------------------ */

/* Opens the workspace into c->s, with the agent that --agent, STRATA_AGENT or the work tree's
 * name gives, and takes in what was edited in the files of the work tree. */
int cli_open(struct cli *c);
/* Only finds out who is asking: c->agent. */
int cli_find_agent(struct cli *c);

/* After the command: writes the files of the work tree that show something else now. */
void cli_update_files(struct cli *c);
/* What cli_open() opens with: for what has to open it in another way. */
strata_options cli_open_options(const struct cli *c);
/* As cli_fail(), for a call without a handle. */
int cli_fail_with(struct cli *c, int code, const strata_error *error);
/* Fails (usage) when no agent is known. After cli_open(). */
int cli_need_agent(struct cli *c);
/* --class, --token, and --term or --ttl: usage errors name the option. `list`: the command that shows the
 * token; NULL: none. */
int cli_class(struct cli *c, int *out);
int cli_valid_for(struct cli *c, int op_class, uint64_t *ms); /* 0 when it is not given */
const char *cli_holder(const strata_operation *o);            /* or "somebody" */
int cli_token(struct cli *c, const char *list, uint64_t *token);

/* --- output.c --------------------------------------------------------------------------------- */

/* The error of the last call on c->s to standard error (JSON with --json); its exit status. */
int cli_fail(struct cli *c, int code);
/* An error of the program's own. hint may be NULL. Returns the exit status of the code. */
int cli_error(struct cli *c, int code, const char *hint, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A wrong call (exit 2), with the hint `strata help COMMAND`. */
int cli_usage(struct cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* `strata: note: ...` to standard error; not with --quiet. With --json as a JSON line. */
void cli_note(struct cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same as `strata: warning: ...`, and --quiet does not silence it. */
void cli_warn(struct cli *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Passes on what the library has to tell once. */
void cli_notices(struct cli *c);

/* Prints {"schema_version":1,"data":DATA} and a newline. Takes data (always; NULL means that
 * memory ran out). Returns an exit status. */
int cli_json(struct cli *c, json_t *data);
/* The end of a command that lists: with --json `list`, which is taken; else `none` is said where nothing was
 * printed. `code` is what the listing returned. */
int cli_listed(struct cli *c, int code, json_t *list, size_t count, const char *none);
/* One JSON value on a line of its own. Takes it. */
int cli_json_line(struct cli *c, json_t *value);
json_t *cli_json_operation(const strata_operation *o);
/* One line about an operation. */
void cli_put_operation(struct cli *c, const strata_operation *o);
/* Operations that wait for a person: in doubt, or to be approved. Prints them, or (list) adds them to
 * it; *count: how many. Where this copy has no ledger: none. */
int cli_operations_waiting(struct cli *c, json_t *list, size_t *in_doubt, size_t *approval);
/* Tasks that were tried again as often as they may be and have failed: into the list, or printed (at
 * most limit; 0: all). */
int cli_tasks_given_up(struct cli *c, json_t *list, size_t limit, size_t *count);
/* Whether somebody else has the paths for himself, in the work tree that was asked for. */
bool cli_is_refused(const struct cli *c, const strata_reservation *r);
/* A warning if it is of another work tree. */
void cli_warn_elsewhere(struct cli *c, const strata_reservation *r);

uint64_t cli_now(struct cli *c); /* wall clock, read once a command */

/* The program's names for what it shares with the MCP server (edge/text.h, edge/json.h). */
#define CLI_STAMP_SIZE     EDGE_STAMP_SIZE
#define CLI_AGE_SIZE       EDGE_AGE_SIZE
#define cli_stamp          edge_stamp
#define cli_span           edge_span
#define cli_clean          edge_clean
#define cli_put_text       edge_put_text
#define cli_put_name       edge_put_name
#define cli_json_time      edge_json_time
#define cli_json_text      edge_json_text
#define cli_json_item      edge_json_item
#define cli_json_attribute edge_json_attribute
#define cli_json_event     edge_json_event

static inline void cli_age(struct cli *c, uint64_t ms, char out[CLI_AGE_SIZE])
{
    edge_age(cli_now(c), ms, out);
}

static inline void cli_put_origin(struct cli *c, FILE *f, const char *agent, const char *replica,
                                  uint64_t ms, bool where)
{
    edge_put_origin(f, cli_now(c), agent, replica, ms, where);
}

static inline void cli_put_attribute(struct cli *c, FILE *f, const strata_attribute *a)
{
    edge_put_attribute(f, cli_now(c), a);
}

/* --- cmd_op.c --------------------------------------------------------------------------------- */

/* Refuses (exit 4) where the environment says that an agent is calling, or without a terminal; else
 * *name is --by, or the user's name. */
int cli_need_person(struct cli *c, const char **name);
/* After what was read of the ledger: a note when this copy does not decide, so that it may be old;
 * `unavailable` (its exit status) when nothing of the ledger ever came here, or `only` what is current
 * would do. */
int cli_known_here(struct cli *c, bool only);
/* Refuses (usage) when an option is missing; `what` is its call. */
int cli_need_option(struct cli *c, enum cli_option_id id, const char *what);

/* --- complete.c, man.c, cmd_help.c ------------------------------------------------------------ */

int cli_man(struct cli *c, const char *page);
void cli_help_short(FILE *f, const struct cli_command *command); /* NULL: of the program */
void cli_help_long(FILE *f, const struct cli_command *command);
/* Prints text (paragraphs separated by an empty line) in lines of at most 78 columns. */
void cli_help_wrap(FILE *f, const char *text, int indent);

/* --- handlers --------------------------------------------------------------------------------- */

int cmd_init(struct cli *c);
int cmd_uninit(struct cli *c);
int cmd_status(struct cli *c);
int cmd_doctor(struct cli *c);
int cmd_merge_state(struct cli *c);
int cmd_sync(struct cli *c);
int cmd_merge_driver(struct cli *c);
int cmd_beat(struct cli *c);
int cmd_agent_list(struct cli *c);
int cmd_fact_set(struct cli *c);
int cmd_fact_unset(struct cli *c);
int cmd_fact_add(struct cli *c);
int cmd_fact_remove(struct cli *c);
int cmd_fact_get(struct cli *c);
int cmd_fact_list(struct cli *c);
int cmd_history(struct cli *c);
int cmd_search(struct cli *c);
int cmd_count(struct cli *c);
int cmd_pending(struct cli *c);
int cmd_resolve(struct cli *c);
int cmd_log(struct cli *c);
int cmd_log_verify(struct cli *c);
/* log --ops: the last `limit` entries, or, with since, the first after a position. */
int cli_log_ops(struct cli *c, size_t limit, bool since, uint64_t after);
int cmd_once(struct cli *c);
int cmd_op_list(struct cli *c);
int cmd_op_show(struct cli *c);
int cmd_op_settle(struct cli *c);
int cmd_op_approve(struct cli *c);
int cmd_op_reject(struct cli *c);
int cmd_op_again(struct cli *c);
int cmd_op_begin(struct cli *c);
int cmd_op_start(struct cli *c);
int cmd_op_renew(struct cli *c);
int cmd_op_report(struct cli *c);
int cmd_op_refuse(struct cli *c);
int cmd_op_prune(struct cli *c);

int cmd_fence(struct cli *c);
int cmd_reserve(struct cli *c);
int cmd_reserve_check(struct cli *c);
int cmd_reserve_list(struct cli *c);
int cmd_reserve_release(struct cli *c);
int cmd_agent_register(struct cli *c);
int cmd_agent_retire(struct cli *c);
int cmd_coordinator_show(struct cli *c);
int cmd_coordinator_move(struct cli *c);
int cmd_lock(struct cli *c);
int cmd_lock_acquire(struct cli *c);
int cmd_lock_renew(struct cli *c);
int cmd_lock_release(struct cli *c);
int cmd_lock_list(struct cli *c);
int cmd_mcp(struct cli *c);
int cmd_prime(struct cli *c);
int cmd_hook(struct cli *c);
int cmd_add(struct cli *c);
int cmd_ready(struct cli *c);
int cmd_list(struct cli *c);
int cmd_show(struct cli *c);
int cmd_update(struct cli *c);
int cmd_dep_add(struct cli *c);
int cmd_dep_remove(struct cli *c);
int cmd_done(struct cli *c);
int cmd_fail(struct cli *c);
int cmd_cancel(struct cli *c);
int cmd_next(struct cli *c);
int cmd_claim(struct cli *c);
int cmd_release(struct cli *c);
int cmd_checkpoint(struct cli *c);
int cmd_work(struct cli *c);
int cmd_send(struct cli *c);
int cmd_inbox(struct cli *c);
int cmd_view_add(struct cli *c);
int cmd_view_remove(struct cli *c);
int cmd_view_list(struct cli *c);
int cmd_view_render(struct cli *c);
int cmd_track(struct cli *c);
int cmd_untrack(struct cli *c);
int cmd_append(struct cli *c);
int cmd_watch(struct cli *c);
int cmd_completion(struct cli *c);
int cmd_help(struct cli *c);

#endif
