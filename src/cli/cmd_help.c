/*
 * cmd_help.c - help texts from the table: short (-h), long with examples first (--help, help).
 */
#include "cli/cli.h"

#include <string.h>

#define COLUMNS       78
#define COMMAND_PAD   12
#define EXAMPLE_PAD   46
#define NAME_TEXT_MAX 96

void cli_help_wrap(FILE *f, const char *text, int indent)
{
    int column = indent;

    (void)fprintf(f, "%*s", indent, "");
    for (const char *p = text; *p != '\0';) {
        size_t word = strcspn(p, " \n");
        if (column > indent && column + 1 + (int)word > COLUMNS) {
            (void)fprintf(f, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            (void)fputc(' ', f);
            column++;
        }
        (void)fwrite(p, 1, word, f);
        column += (int)word;
        p += word;
        if (p[0] == '\n' && p[1] == '\n') {
            (void)fprintf(f, "\n\n%*s", indent, "");
            column = indent;
        }
        p += strspn(p, " \n");
    }
    (void)fputc('\n', f);
}

static void put_option(FILE *f, const struct cli_option *o)
{
    char name[NAME_TEXT_MAX];

    if (o->name[1] != '-')
        (void)snprintf(name, sizeof(name), "%s", o->name);
    else if (o->letter != 0)
        (void)snprintf(name, sizeof(name), "-%c, %s%s%s", o->letter, o->name,
                       o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
    else
        (void)snprintf(name, sizeof(name), "    %s%s%s", o->name, o->arg != NULL ? " " : "",
                       o->arg != NULL ? o->arg : "");
    (void)fprintf(f, "  %s\n", name);
    cli_help_wrap(f, o->help, 10);
}

static void put_options(FILE *f, const struct cli_command *command)
{
    const char *title = "\nOptions:\n";
    for (size_t id = OPT_GLOBAL_COUNT; id < OPT_COUNT; id++) {
        if ((command->options & CLI_SET(id)) == 0 || cli_options[id].hidden)
            continue;
        (void)fputs(title, f);
        title = "";
        put_option(f, &cli_options[id]);
    }
}

static void put_globals(FILE *f)
{
    (void)fputs("\nOptions of all commands:\n", f);
    for (size_t id = 0; id < OPT_GLOBAL_COUNT; id++)
        put_option(f, &cli_options[id]);
}

static void put_examples(FILE *f, const struct cli_example *examples, size_t max)
{
    for (size_t i = 0; i < max && examples[i].command != NULL; i++) {
        bool wide = strlen(examples[i].command) >= EXAMPLE_PAD;
        (void)fprintf(f, "  %-*s%s# %s\n", EXAMPLE_PAD, examples[i].command, wide ? "  " : "",
                      examples[i].what);
    }
}

static void put_commands(FILE *f, const char *group)
{
    size_t n = group != NULL ? strlen(group) : 0;
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = &cli_commands[i];
        bool in_group = strncmp(command->name, group != NULL ? group : "", n) == 0 &&
                        (n == 0 || command->name[n] == ' ');
        if (in_group && !command->hidden)
            (void)fprintf(f, "  %-*s %s\n", COMMAND_PAD, command->name, command->summary);
    }
}

static void put_usage(FILE *f, const struct cli_command *command)
{
    (void)fprintf(f, "usage: strata %s [options]%s%s\n", command->name,
                  command->arguments[0] != '\0' ? " " : "", command->arguments);
}

void cli_help_short(FILE *f, const struct cli_command *command)
{
    if (command == NULL) {
        (void)fputs("usage: strata COMMAND [options] [arguments]\n\n", f);
        put_commands(f, NULL);
        (void)fputs("\nmore: strata help, strata help COMMAND\n", f);
        return;
    }
    put_usage(f, command);
    (void)fprintf(f, "%s\n", command->summary);
    put_options(f, command);
    (void)fprintf(f, "\nmore: strata help %s\n", command->name);
}

static void help_program(FILE *f)
{
    (void)fputs("strata - coordination for agents that share a workspace\n\nExamples:\n", f);
    put_examples(f, cli_introduction, SIZE_MAX);
    (void)fputs("\nusage: strata COMMAND [options] [arguments]\n\n", f);
    cli_help_wrap(f, cli_description, 0);
    (void)fputs("\nCommands:\n", f);
    put_commands(f, NULL);
    put_globals(f);
    (void)fputs("\nEnvironment:\n", f);
    for (const struct cli_example *e = cli_environment; e->command != NULL; e++)
        (void)fprintf(f, "  %-20s%s\n", e->command, e->what);
    (void)fputs("\nExit status:\n", f);
    for (const struct cli_example *e = cli_statuses; e->command != NULL; e++)
        (void)fprintf(f, "  %-6s%s\n", e->command, e->what);
}

void cli_help_long(FILE *f, const struct cli_command *command)
{
    if (command == NULL) {
        help_program(f);
        return;
    }
    (void)fprintf(f, "strata %s - %s\n\nExamples:\n", command->name, command->summary);
    put_examples(f, command->examples, sizeof(command->examples) / sizeof(command->examples[0]));
    (void)fputc('\n', f);
    put_usage(f, command);
    if (command->details != NULL) {
        (void)fputc('\n', f);
        cli_help_wrap(f, command->details, 0);
    }
    put_options(f, command);
    put_globals(f);
}

/* The words of the command as one name: "fact", "set" -> "fact set". */
static void join(const struct cli *c, char *out, size_t size)
{
    size_t n = 0;
    out[0] = '\0';
    for (size_t i = 0; i < c->arg_count && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i > 0 ? " " : "", c->args[i]);
}

int cmd_help(struct cli *c)
{
    char name[NAME_TEXT_MAX], shown[NAME_TEXT_MAX], hint[NAME_TEXT_MAX + 32];

    join(c, name, sizeof(name));
    if (cli_given(c, OPT_MAN))
        return cli_man(c, c->arg_count > 0 ? name : "strata");
    const struct cli_command *command = cli_command_find(name);
    if (command != NULL || c->arg_count == 0) {
        cli_help_long(stdout, command);
        return 0;
    }
    if (c->arg_count == 1 && cli_group_known(name)) {
        (void)printf("usage: strata %s COMMAND [options] [arguments]\n\n", name);
        put_commands(stdout, name);
        (void)printf("\nmore: strata help %s COMMAND\n", name);
        return 0;
    }
    command = cli_command_suggest(name);
    (void)snprintf(hint, sizeof(hint), "%s%s", command != NULL ? "did you mean: strata help " : "",
                   command != NULL ? command->name : "all commands: strata help");
    return cli_error(c, STRATA_USAGE, hint, "there is no command `%s`",
                     cli_clean(name, shown, sizeof(shown)));
}
