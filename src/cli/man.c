/*
 * man.c - man pages in mdoc(7) from the table: strata(1) and one page for each command, for the
 * build. `strata help --man fact set > strata-fact-set.1`
 */
#include "cli/cli.h"

#include <ctype.h>
#include <string.h>

/* Of the texts in the table, not of the build: builds have to be reproducible. */
#define PAGE_DATE "November 23, 2026"

/* Text as roff: no escapes, no control lines, quotes as they are. */
static void put_text(const char *text)
{
    bool start = true;
    for (const char *p = text; *p != '\0'; p++) {
        if (start && (*p == '.' || *p == '\''))
            (void)fputs("\\&", stdout);
        start = *p == '\n';
        if (*p == '\\')
            (void)fputs("\\e", stdout);
        else if (*p == '`')
            (void)fputs("\\(ga", stdout);
        else if (*p == '~')
            (void)fputs("\\(ti", stdout);
        else if (*p == '-')
            (void)fputs("\\-", stdout);
        else
            (void)putchar(*p);
    }
}

/* Paragraphs, each sentence on a line of its own. */
static void put_paragraphs(const char *text)
{
    char sentence[1024];

    for (const char *p = text; *p != '\0';) {
        const char *end = p;
        while (*end != '\0' && *end != '\n' &&
               !(end[0] == '.' && end[1] == ' ' && isupper((unsigned char)end[2])))
            end++;
        end += *end == '.';
        (void)snprintf(sentence, sizeof(sentence), "%.*s", (int)(end - p), p);
        put_text(sentence);
        (void)putchar('\n');
        if (end[0] == '\n')
            (void)puts(".Pp");
        p = end + strspn(end, " \n");
    }
}

/* Words on a macro line must not be taken for macros. */
static void put_macro_words(const char *text)
{
    for (const char *p = text; *p != '\0';) {
        size_t n = strcspn(p, " ");
        bool macro = n <= 3 && isupper((unsigned char)*p);
        (void)fputs(macro ? "\\&" : "", stdout);
        (void)fwrite(p, 1, n, stdout);
        p += n;
        for (; *p == ' '; p++)
            (void)putchar(' ');
    }
}

static void put_option(const struct cli_option *o)
{
    (void)fputs(".It ", stdout);
    if (o->name[1] != '-')
        (void)printf("Fl %c", o->name[1]);
    else {
        if (o->letter != 0)
            (void)printf("Fl %c , ", o->letter);
        (void)printf("Fl Fl %s", o->name + 2);
    }
    if (o->arg != NULL) {
        (void)fputs(" Ar ", stdout);
        put_macro_words(o->arg);
    }
    (void)putchar('\n');
    put_text(o->help);
    (void)puts(".");
}

static void put_options(cli_set set)
{
    (void)puts(".Bl -tag -width Ds");
    for (size_t id = 0; id < OPT_COUNT; id++)
        if ((set & CLI_SET(id)) != 0 && !cli_options[id].hidden)
            put_option(&cli_options[id]);
    (void)puts(".El");
}

static bool visible(cli_set set)
{
    for (size_t id = 0; id < OPT_COUNT; id++)
        if ((set & CLI_SET(id)) != 0 && !cli_options[id].hidden)
            return true;
    return false;
}

static void put_pairs(const struct cli_example *pairs, const char *macro)
{
    (void)puts(".Bl -tag -width Ds");
    for (; pairs->command != NULL; pairs++) {
        (void)printf(".It %s %s\n", macro, pairs->command);
        put_text(pairs->what);
        (void)puts(".");
    }
    (void)puts(".El");
}

static void put_examples(const struct cli_example *examples, size_t max)
{
    (void)puts(".Sh EXAMPLES");
    for (size_t i = 0; i < max && examples[i].command != NULL; i++) {
        char first[2] = {(char)toupper((unsigned char)examples[i].what[0]), '\0'};
        put_text(first);
        put_text(examples[i].what + 1);
        (void)puts(":\n.Bd -literal -offset indent");
        put_text(examples[i].command);
        (void)puts("\n.Ed");
    }
}

static void put_page_name(const char *name, bool upper)
{
    for (const char *p = name; *p != '\0'; p++)
        (void)putchar(*p == ' ' ? '-' : upper ? toupper((unsigned char)*p) : *p);
}

static void put_head(const char *page, const char *title, const char *summary)
{
    (void)printf(".Dd %s\n.Dt ", PAGE_DATE);
    put_page_name(page, true);
    (void)printf(" 1\n.Os Strata %s\n.Sh NAME\n.Nm \"%s\"\n.Nd ", strata_version(), title);
    put_macro_words(summary);
    (void)putchar('\n');
}

static void page_of_command(const struct cli_command *command)
{
    char page[96], title[96];

    (void)snprintf(page, sizeof(page), "strata-%s", command->name);
    (void)snprintf(title, sizeof(title), "strata %s", command->name);
    put_head(page, title, command->summary);
    (void)puts(".Sh SYNOPSIS\n.Nm\n.Op Ar options");
    if (command->arguments[0] != '\0') {
        (void)fputs(".Ar ", stdout);
        put_macro_words(command->arguments);
        (void)putchar('\n');
    }
    (void)puts(".Sh DESCRIPTION");
    if (command->details != NULL) {
        put_paragraphs(command->details);
    } else {
        char first[2] = {(char)toupper((unsigned char)command->summary[0]), '\0'};
        put_text(first);
        put_text(command->summary + 1);
        (void)puts(".");
    }
    if (visible(command->options)) {
        (void)puts(".Pp\nThe options are:");
        put_options(command->options);
    }
    (void)puts(".Pp\nThe options of all commands are in\n.Xr strata 1 .\n.Sh EXIT STATUS\nSee\n"
               ".Xr strata 1 .");
    put_examples(command->examples, sizeof(command->examples) / sizeof(command->examples[0]));
    (void)puts(".Sh SEE ALSO\n.Xr strata 1");
}

/* mdoc wants them sorted. There are few: the next name greater than the last, each time. */
static void put_references(void)
{
    const char *last = "";
    for (;;) {
        const char *next = NULL;
        for (size_t i = 0; i < cli_command_count; i++) {
            const struct cli_command *command = &cli_commands[i];
            if (!command->hidden && strcmp(command->name, last) > 0 &&
                (next == NULL || strcmp(command->name, next) < 0))
                next = command->name;
        }
        if (next == NULL)
            break;
        (void)fputs(last[0] != '\0' ? " ,\n.Xr strata-" : ".Xr strata-", stdout);
        put_page_name(next, false);
        (void)fputs(" 1", stdout);
        last = next;
    }
    (void)putchar('\n');
}

static void page_of_program(void)
{
    put_head("strata", "strata", "coordination for agents that share a workspace");
    (void)puts(".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar options\n.Op Ar arguments\n.Sh DESCRIPTION");
    put_paragraphs(cli_description);
    (void)puts(".Ss Commands\n.Bl -tag -width Ds");
    for (size_t i = 0; i < cli_command_count; i++) {
        const struct cli_command *command = &cli_commands[i];
        if (command->hidden)
            continue;
        (void)printf(".It Cm %s", command->name);
        if (command->arguments[0] != '\0') {
            (void)fputs(" Ar ", stdout);
            put_macro_words(command->arguments);
        }
        (void)putchar('\n');
        put_text(command->summary);
        (void)puts(".");
    }
    (void)puts(".El\n.Ss Options of all commands");
    put_options(CLI_SET(OPT_GLOBAL_COUNT) - 1);
    (void)puts(
        ".Ss Texts\nA value or a status is literal.\n.Cm @FILE\nreads it from a file and\n"
        ".Cm \\-\nfrom standard input, less one newline at the end;\n.Cm @@x\nmeans the text "
        "@x.\n.Sh ENVIRONMENT");
    put_pairs(cli_environment, "Ev");
    (void)puts(".Sh EXIT STATUS");
    put_pairs(cli_statuses, "");
    put_examples(cli_introduction, SIZE_MAX);
    (void)puts(".Sh SEE ALSO");
    put_references();
}

int cli_man(struct cli *c, const char *page)
{
    const struct cli_command *command = cli_command_find(page);
    char shown[96];

    if (command != NULL) {
        page_of_command(command);
        return 0;
    }
    if (strcmp(page, "strata") == 0) {
        page_of_program();
        return 0;
    }
    return cli_error(c, STRATA_USAGE, NULL, "there is no man page `%s`",
                     cli_clean(page, shown, sizeof(shown)));
}
