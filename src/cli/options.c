/*
 * options.c - the command line: which command, which options, which arguments; and the forms of
 * arguments that several commands take (numbers, times, texts).
 *
 * Options stand anywhere, `--` ends them, `--name=value` and `--name value` are the same. An
 * argument that starts with a dash and a digit or a space is no option, so that `count builds -3` and
 * `append MEMORY.md "- learned this"` work.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHOWN_SIZE 96

static bool option_allowed(const struct cli *c, size_t id)
{
    if (id < OPT_GLOBAL_COUNT)
        return true;
    return c->command != NULL && (c->command->options & CLI_SET(id)) != 0;
}

/* The option most probably meant, or NULL. Before the command is known it may be anybody's. */
static const struct cli_option *suggest_option(const struct cli *c, const char *name)
{
    const struct cli_option *found = NULL;
    unsigned best = 4;

    for (size_t id = 0; id < OPT_COUNT; id++) {
        const struct cli_option *o = &cli_options[id];
        bool wanted = c->command == NULL || option_allowed(c, id);
        if (!wanted || o->hidden || o->name[1] != '-')
            continue;
        unsigned distance = cli_edit_distance(name, o->name);
        /* Less than half of the letters. */
        if (distance < best && distance * 2 < strlen(o->name) - 2) {
            best = distance;
            found = o;
        }
    }
    return found;
}

static int refuse_option(struct cli *c, const char *name)
{
    char shown[SHOWN_SIZE];
    const struct cli_option *meant = suggest_option(c, name);

    cli_clean(name, shown, sizeof(shown));
    if (meant != NULL && strcmp(meant->name, name) == 0)
        return cli_usage(c, "put %s after the command", shown);
    if (meant != NULL)
        return cli_usage(c, "unknown option %s; did you mean %s?", shown, meant->name);
    if (c->command == NULL)
        return cli_usage(c, "unknown option %s", shown);
    return cli_usage(c, "%s has no option %s; before a text that starts with a dash put --",
                     c->command->name, shown);
}

/* Finds the option of argv[*i], takes its argument, which may be argv[*i + 1]. */
static int take_option(struct cli *c, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *equals = strchr(arg, '=');
    bool is_long = arg[1] == '-';
    size_t n = equals != NULL && is_long ? (size_t)(equals - arg) : strlen(arg);
    char name[SHOWN_SIZE];
    size_t id = OPT_COUNT;

    /* The command's own first: `add --agent ann` is about the task. */
    for (size_t k = 0; k < OPT_COUNT && id == OPT_COUNT; k++) {
        size_t candidate = (k + OPT_GLOBAL_COUNT) % OPT_COUNT;
        const struct cli_option *o = &cli_options[candidate];
        bool match = is_long ? strlen(o->name) == n && strncmp(arg, o->name, n) == 0
                             : o->letter != 0 && arg[1] == o->letter && arg[2] == '\0';
        if (match && option_allowed(c, candidate))
            id = candidate;
    }
    if (id == OPT_COUNT) {
        (void)snprintf(name, sizeof(name), "%.*s", (int)(n < sizeof(name) ? n : sizeof(name)), arg);
        return refuse_option(c, name);
    }
    bool again = c->options[id] != NULL && !cli_options[id].repeats;
    if (again && cli_options[id].arg != NULL && id >= OPT_GLOBAL_COUNT)
        return cli_usage(c, "%s is given twice", cli_options[id].name);
    if (cli_options[id].arg == NULL) {
        if (is_long && equals != NULL)
            return cli_usage(c, "%s takes no value", cli_options[id].name);
        c->options[id] = "";
    } else if (is_long && equals != NULL) {
        c->options[id] = equals + 1;
    } else if (*i + 1 < argc) {
        c->options[id] = argv[++*i];
    } else {
        return cli_usage(c, "%s needs a value: %s %s", cli_options[id].name, cli_options[id].name,
                         cli_options[id].arg);
    }
    if (cli_options[id].repeats && c->repeat_count == CLI_REPEATS_MAX)
        return cli_usage(c, "%s is given more than %d times", cli_options[id].name,
                         CLI_REPEATS_MAX);
    if (cli_options[id].repeats)
        c->repeated[c->repeat_count++] = c->options[id];
    return 0;
}

static int refuse_command(struct cli *c, const char *name)
{
    char shown[SHOWN_SIZE], hint[256];
    const struct cli_command *command = cli_command_suggest(name);

    cli_clean(name, shown, sizeof(shown));
    if (command != NULL)
        (void)snprintf(hint, sizeof(hint), "did you mean `strata %s`? See: strata help",
                       command->name);
    else
        (void)snprintf(hint, sizeof(hint), "all commands: strata help");
    return cli_error(c, STRATA_USAGE, hint, "there is no command `%s`", shown);
}

/* Takes a word of the command. *word has the group's name until the command is known. */
static int take_word(struct cli *c, const char **word, const char *arg)
{
    char name[SHOWN_SIZE];
    int n;

    if (*word == NULL) {
        bool group = cli_group_known(arg);
        c->command = group ? NULL : cli_command_find(arg);
        if (c->command == NULL && !group)
            return refuse_command(c, arg);
        *word = arg;
        return 0;
    }
    n = snprintf(name, sizeof(name), "%s %s", *word, arg);
    c->command = n < (int)sizeof(name) ? cli_command_find(name) : NULL;
    if (c->command == NULL)
        /* A word that is a command of its own as well: `lock NAME -- ...`. */
        c->command = cli_command_find(*word);
    else
        return 0;
    if (c->command == NULL)
        return refuse_command(c, name);
    c->args[c->arg_count++] = (char *)(uintptr_t)arg;
    return 0;
}

/* Where a text goes with a command whose arguments have none; NULL: it takes none. */
static const char *text_option(const struct cli_command *command)
{
    static const enum cli_option_id texts[] = {OPT_CHECKPOINT_DATA, OPT_RESULT, OPT_REASON};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if ((command->options & CLI_SET(texts[i])) != 0 && strcmp(command->arguments, "N") == 0)
            return cli_options[texts[i]].name;
    return NULL;
}

static int check_count(struct cli *c)
{
    const struct cli_command *command = c->command;

    if (c->arg_count < command->args_min)
        return cli_usage(c, "%s needs %s%s", command->name, c->arg_count == 0 ? "" : "all of ",
                         command->arguments);
    if (c->arg_count > command->args_max) {
        char shown[SHOWN_SIZE];
        cli_clean(c->args[command->args_max], shown, sizeof(shown));
        if (command->args_max == 0)
            return cli_usage(c, "%s takes no argument, but `%s` was given", command->name, shown);
        if (text_option(command) != NULL)
            return cli_usage(c, "too many arguments from `%s` on: strata %s N %s TEXT", shown,
                             command->name, text_option(command));
        return cli_usage(c,
                         "too many arguments from `%s` on: strata %s %s; put quotes around a "
                         "text with spaces",
                         shown, command->name, command->arguments);
    }
    return 0;
}

static const char *from_environment(const char *given, const char *name)
{
    const char *value = given != NULL ? given : getenv(name);
    return value != NULL && (given != NULL || value[0] != '\0') ? value : NULL;
}

static int take_globals(struct cli *c)
{
    uint64_t ms = 0;

    c->quiet = cli_given(c, OPT_QUIET);
    c->no_flush = cli_given(c, OPT_NO_FLUSH);
    c->dir = from_environment(c->options[OPT_DIR], "STRATA_DIR");
    c->state_dir = from_environment(c->options[OPT_STATE_DIR], "STRATA_STATE_DIR");
    if (c->dir != NULL && c->dir[0] == '\0')
        return cli_usage(c, "--dir is empty");
    if (c->state_dir != NULL && c->state_dir[0] == '\0')
        return cli_usage(c, "--state-dir is empty");
    if (cli_given(c, OPT_WAIT)) {
        int status = cli_duration(c, "--wait", c->options[OPT_WAIT], &ms);
        if (status != 0)
            return status;
        /* 0 means "default" to the library; an hour is longer than anybody waits for a lock */
        c->wait_ms = ms == 0 ? 1 : ms > 3600000 ? 3600000 : (uint32_t)ms;
    }
    return 0;
}

/* Looked for first, so that a mistake before it is told as JSON too. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

/* `log --ops`, where there is `log verify` too: an option that is not for all commands tells that
 * the word alone is meant. */
static void settle_word(struct cli *c, const char *word, const char *arg)
{
    size_t n = strcspn(arg, "=");
    for (size_t id = 0; id < OPT_GLOBAL_COUNT; id++) {
        const struct cli_option *o = &cli_options[id];
        if ((strlen(o->name) == n && strncmp(arg, o->name, n) == 0) ||
            (o->letter != 0 && arg[1] == o->letter && arg[2] == '\0'))
            return;
    }
    c->command = cli_command_find(word);
}

/* Neither `-` (standard input) nor `-1` (a number) nor `- learned this` (an item of a list). */
static bool looks_like_option(const char *arg)
{
    return arg[0] == '-' && arg[1] != '\0' && arg[1] != ' ' && !(arg[1] >= '0' && arg[1] <= '9');
}

int cli_parse(struct cli *c, int argc, char **argv)
{
    const char *word = NULL;
    bool options_end = false;
    int status = 0;

    c->args = argv; /* compacted in place: never more of them than were read */
    c->json = wants_json(argc, argv);
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        bool is_option = !options_end && looks_like_option(arg);
        if (is_option && strcmp(arg, "--") == 0) {
            options_end = true;
        } else if (is_option) {
            if (c->command == NULL && word != NULL)
                settle_word(c, word, arg);
            status = take_option(c, argc, argv, &i);
        } else if (c->command == NULL && !cli_given(c, OPT_HELP) && !cli_given(c, OPT_HELP_SHORT)) {
            status = take_word(c, &word, arg);
        } else {
            c->args[c->arg_count++] = argv[i];
        }
        if (status != 0)
            return status;
    }
    c->json = cli_given(c, OPT_JSON);
    if (cli_given(c, OPT_HELP) || cli_given(c, OPT_HELP_SHORT) || cli_given(c, OPT_VERSION)) {
        if (c->command == NULL && word != NULL)
            c->command = cli_command_find(word);
        if (c->command == NULL && word != NULL)
            c->args[c->arg_count++] = (char *)(uintptr_t)word; /* a group: help on it */
        return 0;
    }
    if (c->command == NULL && word != NULL)
        c->command = cli_command_find(word);
    if (c->command == NULL && word != NULL)
        return cli_error(c, STRATA_USAGE, "see: strata help", "`strata %s` needs one more word",
                         word);
    if (c->command == NULL)
        return 0;
    status = take_globals(c);
    return status != 0 ? status : check_count(c);
}

/* --- forms of arguments ----------------------------------------------------------------------- */

int cli_number(struct cli *c, const char *what, const char *text, uint64_t max, uint64_t *out)
{
    char shown[SHOWN_SIZE];
    uint64_t n = 0;
    const char *p = text;

    for (; *p >= '0' && *p <= '9'; p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (n > (max - digit) / 10)
            return cli_usage(c, "%s is at most %llu", what, (unsigned long long)max);
        n = n * 10 + digit;
    }
    if (p == text || *p != '\0')
        return cli_usage(c, "%s takes a whole number, not `%s`", what,
                         cli_clean(text, shown, sizeof(shown)));
    *out = n;
    return 0;
}

int cli_limit(struct cli *c, size_t *limit)
{
    uint64_t n = CLI_LIMIT_DEFAULT;
    if (cli_given(c, OPT_LIMIT)) {
        int status = cli_number(c, "--limit", c->options[OPT_LIMIT], 1000000000, &n);
        if (status != 0)
            return status;
    }
    *limit = (size_t)n;
    return 0;
}

/* The whole of text as a span. False if it is none, or longer than 100 years. */
static bool parse_span(const char *text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1},      {"", 1000},     {"s", 1000},     {"m", 60000},
                 {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000}};
    uint64_t n = 0;
    const char *p = text;

    for (; *p >= '0' && *p <= '9'; p++) {
        if (n > 4000000000000)
            return false;
        n = n * 10 + (uint64_t)(*p - '0');
    }
    for (size_t i = 0; p != text && i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(p, units[i].unit) != 0)
            continue;
        *ms = n * units[i].ms;
        return n <= (uint64_t)3155760000000 / units[i].ms;
    }
    return false;
}

int cli_duration(struct cli *c, const char *what, const char *text, uint64_t *ms)
{
    char shown[SHOWN_SIZE];
    if (parse_span(text, ms))
        return 0;
    return cli_usage(c, "%s takes a duration such as 500ms, 10s, 5m or 2h, not `%s`", what,
                     cli_clean(text, shown, sizeof(shown)));
}

/* `count` digits at *p. -1 when there are other bytes. */
static int digits(const char **p, int count)
{
    int n = 0;
    for (int i = 0; i < count; i++, (*p)++) {
        if (**p < '0' || **p > '9')
            return -1;
        n = n * 10 + (**p - '0');
    }
    return n;
}

static bool parse_day(const char **p, int64_t *ms)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = digits(p, 4);
    if (year < 1970 || *(*p)++ != '-')
        return false;
    int month = digits(p, 2);
    if (month < 1 || month > 12 || *(*p)++ != '-')
        return false;
    int day = digits(p, 2);
    bool leap = month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day < 1 || day > lengths[month - 1] + leap)
        return false;
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
    *ms = (int64_t)timegm(&tm) * 1000;
    return true;
}

/* "10:00:00", "10:00:00.123" */
static bool parse_clock(const char **p, int64_t *ms)
{
    int hour = digits(p, 2);
    if (hour < 0 || hour > 23 || *(*p)++ != ':')
        return false;
    int minute = digits(p, 2);
    if (minute < 0 || minute > 59 || *(*p)++ != ':')
        return false;
    int second = digits(p, 2);
    if (second < 0 || second > 60)
        return false;
    *ms += ((hour * 60 + minute) * 60 + second) * (int64_t)1000;
    if (**p == '.') {
        int64_t scale = 100;
        const char *start = ++*p;
        for (; **p >= '0' && **p <= '9'; (*p)++, scale /= 10)
            *ms += (**p - '0') * scale;
        return *p != start;
    }
    return true;
}

/* "Z", "+01:00" */
static bool parse_zone(const char **p, int64_t *ms)
{
    char sign = *(*p)++;
    if (sign == 'Z' || sign == 'z')
        return true;
    if (sign != '+' && sign != '-')
        return false;
    int hour = digits(p, 2);
    if (hour < 0 || hour > 23 || *(*p)++ != ':')
        return false;
    int minute = digits(p, 2);
    if (minute < 0 || minute > 59)
        return false;
    *ms -= (sign == '+' ? 1 : -1) * (hour * 60 + minute) * (int64_t)60000;
    return true;
}

int cli_time(struct cli *c, const char *what, const char *text, bool end_of_day, uint64_t *ms)
{
    char shown[SHOWN_SIZE];
    const char *p = text;
    int64_t at = 0;
    uint64_t span;
    bool good = false;

    if (parse_span(text, &span)) {
        uint64_t now = cli_now(c);
        *ms = span < now ? now - span : 1;
        return 0;
    }
    if (parse_day(&p, &at)) {
        if (*p == '\0' && end_of_day)
            at += 86400000 - 1;
        if (*p == '\0')
            good = true;
        else if (*p == 'T' || *p == 't' || *p == ' ')
            good = (p++, parse_clock(&p, &at)) && parse_zone(&p, &at) && *p == '\0';
    }
    if (!good || at < 0)
        return cli_usage(c,
                         "%s takes a time such as 2026-11-23, 2026-11-23T10:00:00Z or 2h (ago), "
                         "not `%s`",
                         what, cli_clean(text, shown, sizeof(shown)));
    *ms = at == 0 ? 1 : (uint64_t)at; /* 0 means "no bound" to the library */
    return 0;
}

/* --- texts ------------------------------------------------------------------------------------ */

int cli_name_check(struct cli *c, const char *what, const char *name)
{
    size_t n = strlen(name);
    if (n == 0)
        return cli_error(c, STRATA_INVALID, NULL, "%s is empty", what);
    if (n > CLI_NAME_SIZE_MAX)
        return cli_error(c, STRATA_LIMIT, "put the text into the value, with a short name",
                         "%s is %zu bytes long; the limit is %d", what, n, CLI_NAME_SIZE_MAX);
    return 0;
}

int cli_subject_check(struct cli *c)
{
    int status = cli_name_check(c, "ENTITY", c->args[0]);
    if (status == 0 && c->arg_count > 1)
        status = cli_name_check(c, "ATTRIBUTE", c->args[1]);
    return status;
}

/* Reads at most max + 2 bytes: one for a newline at the end, one to know that it is too long. */
static char *read_all(int fd, size_t max, size_t *n)
{
    size_t cap = max + 2;
    char *p = malloc(cap + 1);
    *n = 0;
    while (p != NULL && *n < cap) {
        ssize_t got = read(fd, p + *n, cap - *n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            int saved = errno;
            free(p);
            errno = saved;
            return NULL;
        }
        if (got == 0)
            break;
        *n += (size_t)got;
    }
    return p;
}

/* The bytes of a file or of standard input. */
static int read_source(struct cli *c, const char *what, const char *arg, size_t max,
                       const char *shown, struct cli_text *out)
{
    bool is_stdin = strcmp(arg, "-") == 0;
    int fd;

    if (is_stdin && c->stdin_used)
        return cli_usage(c, "only one argument can be `-` (standard input)");
    c->stdin_used |= is_stdin;
    fd = is_stdin ? STDIN_FILENO : open(arg + 1, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cli_error(c, STRATA_INVALID,
                         "@ reads a file; a text that starts with @ is written with @@",
                         "%s: cannot read %s: %s", what, shown, strerror(errno));
    out->owned = read_all(fd, max, &out->n);
    int saved = errno;
    if (!is_stdin)
        (void)close(fd);
    if (out->owned == NULL)
        return cli_error(c, saved == ENOMEM ? STRATA_NO_MEMORY : STRATA_INVALID, NULL,
                         "%s: cannot read %s: %s", what, shown, strerror(saved));
    out->p = out->owned;
    if (out->n > 0 && out->owned[out->n - 1] == '\n' && out->n <= max + 1)
        out->n--;
    out->owned[out->n] = '\0';
    return 0;
}

int cli_text_read(struct cli *c, const char *what, const char *arg, size_t max,
                  struct cli_text *out)
{
    char shown[SHOWN_SIZE];
    bool is_source = strcmp(arg, "-") == 0 || (arg[0] == '@' && arg[1] != '@' && arg[1] != '\0');
    int status = 0;

    *out = (struct cli_text){0};
    if (is_source) {
        if (arg[0] == '-')
            (void)snprintf(shown, sizeof(shown), "standard input");
        else
            cli_clean(arg + 1, shown, sizeof(shown));
        status = read_source(c, what, arg, max, shown, out);
    } else {
        out->p = arg[0] == '@' && arg[1] == '@' ? arg + 1 : arg;
        out->n = strlen(out->p);
    }
    if (status == 0 && out->n > max)
        status = cli_error(c, STRATA_LIMIT, "keep the text in a file and its name in the value",
                           "%s is longer than the limit of %zu bytes", what, max);
    const char *nul = status == 0 ? memchr(out->p, '\0', out->n) : NULL;
    if (nul != NULL)
        status = cli_error(c, STRATA_INVALID, "values are text",
                           "%s from %s has a NUL byte at offset %zu", what, shown,
                           (size_t)(nul - out->p));
    if (status != 0)
        cli_text_release(out);
    return status;
}

void cli_text_release(struct cli_text *t)
{
    free(t->owned);
    *t = (struct cli_text){0};
}
