/*
 * complete.c - completion scripts from the table, for bash, zsh and fish. They are static: a key
 * press never opens a workspace.
 *
 * bash and zsh walk the words to find the command (one word, or two after the name of a group; what
 * follows is its arguments) and offer its sub-commands, the choices of an option, or its options. Some
 * names of groups are commands, too: `log` and `log verify`.
 */
#include "cli/cli.h"

#include <string.h>

/* Calls put for each first word of the commands, once. */
static void each_first_word(void (*put)(const char *word, const char *summary))
{
    char last[64] = "";
    for (size_t i = 0; i < cli_command_count; i++) {
        char word[64];
        size_t n = strcspn(cli_commands[i].name, " ");
        bool group = cli_commands[i].name[n] != '\0';
        (void)snprintf(word, sizeof(word), "%.*s", (int)n, cli_commands[i].name);
        if (cli_commands[i].hidden || strcmp(word, last) == 0)
            continue;
        put(word, group ? "more commands" : cli_commands[i].summary);
        memcpy(last, word, sizeof(last));
    }
}

static bool new_group(size_t i, char *word, size_t size)
{
    size_t n = strcspn(cli_commands[i].name, " ");
    if (cli_commands[i].name[n] == '\0')
        return false;
    (void)snprintf(word, size, "%.*s", (int)n, cli_commands[i].name);
    return i == 0 || strncmp(cli_commands[i - 1].name, cli_commands[i].name, n + 1) != 0;
}

static bool in_group(const struct cli_command *command, const char *word)
{
    size_t n = strlen(word);
    return strncmp(command->name, word, n) == 0 && command->name[n] == ' ';
}

static bool option_of(const struct cli_command *command, size_t id)
{
    return !cli_options[id].hidden &&
           (id < OPT_GLOBAL_COUNT || (command->options & CLI_SET(id)) != 0);
}

/* "jsonl|csv" names choices; "N", "DIR" a kind of argument. The next choice from p on, with its size;
 * NULL when there is none. */
static const char *next_choice(const char *p, size_t *n)
{
    for (; p != NULL && *p != '\0'; p += *n + (p[*n] != '\0')) {
        *n = strcspn(p, "|");
        if (*n > 0 && *p != '-' && strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789-_") == *n)
            return p;
    }
    return NULL;
}

static bool has_choices(const char *arg)
{
    size_t n;
    return arg != NULL && strchr(arg, '|') != NULL && next_choice(arg, &n) != NULL;
}

static void put_choices(const char *arg)
{
    const char *separator = "";
    size_t n;
    for (const char *p = next_choice(arg, &n); p != NULL; p = next_choice(p + n, &n)) {
        (void)printf("%s%.*s", separator, (int)n, p);
        separator = " ";
    }
}

/* The pattern of all options that take an argument, so that it is not taken for the command. */
static void put_taking_pattern(void)
{
    const char *separator = "";
    for (size_t id = 0; id < OPT_COUNT; id++) {
        if (cli_options[id].arg == NULL)
            continue;
        (void)printf("%s%s", separator, cli_options[id].name);
        if (cli_options[id].letter != 0 && id < OPT_GLOBAL_COUNT)
            (void)printf("|-%c", cli_options[id].letter);
        separator = "|";
    }
}

/* ":fact|:log", the first words of groups. */
static void put_groups_pattern(void)
{
    char word[64];
    const char *separator = "";
    for (size_t i = 0; i < cli_command_count; i++)
        if (new_group(i, word, sizeof(word))) {
            (void)printf("%s:%s", separator, word);
            separator = "|";
        }
}

/* "fact:set|log:verify", the commands of groups. */
static void put_members_pattern(void)
{
    const char *separator = "";
    for (size_t i = 0; i < cli_command_count; i++) {
        size_t n = strcspn(cli_commands[i].name, " ");
        if (cli_commands[i].name[n] == '\0' || cli_commands[i].hidden)
            continue;
        (void)printf("%s%.*s:%s", separator, (int)n, cli_commands[i].name,
                     cli_commands[i].name + n + 1);
        separator = "|";
    }
}

/* The loop over the words before the one that is typed, the same in bash and zsh. */
static void put_walk(void)
{
    (void)fputs("        case $word in\n        ", stdout);
    put_taking_pattern();
    (void)fputs(") ((i++)) ;;\n"
                "        -*) ;;\n"
                "        *)  case $command:$word in\n"
                "            ",
                stdout);
    put_groups_pattern();
    (void)fputs(") command=$word ;;\n"
                "            :*) command=$word; break ;;\n"
                "            ",
                stdout);
    put_members_pattern();
    (void)puts(") command=\"$command $word\"; break ;;\n"
               "            *) break ;;\n"
               "            esac ;;\n"
               "        esac\n"
               "    done");
}

/* --- bash ------------------------------------------------------------------------------------- */

static void bash_word(const char *word, const char *summary)
{
    (void)summary;
    (void)printf("%s ", word);
}

static void bash_command(const struct cli_command *command)
{
    (void)printf("    '%s') words+='", command->name);
    if (has_choices(command->arguments)) {
        put_choices(command->arguments);
        (void)putchar(' ');
    }
    for (size_t id = 0; id < OPT_COUNT; id++)
        if (option_of(command, id))
            (void)printf("%s ", cli_options[id].name);
    (void)puts("' ;;");
}

/* The cases "command:option" of the options with choices, for bash and zsh. */
static void put_choice_cases(const char *before, const char *after)
{
    for (size_t i = 0; i < cli_command_count; i++)
        for (size_t id = 0; id < OPT_COUNT; id++)
            if (option_of(&cli_commands[i], id) && has_choices(cli_options[id].arg)) {
                (void)printf("    '%s:%s') %s", cli_commands[i].name, cli_options[id].name, before);
                put_choices(cli_options[id].arg);
                (void)puts(after);
            }
}

static void complete_bash(void)
{
    char word[64];

    (void)puts("# bash completion for strata\n"
               "_strata()\n"
               "{\n"
               "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
               "    local command= words= word i\n"
               "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
               "        word=${COMP_WORDS[i]}");
    put_walk();
    (void)puts("    case $command:$prev in");
    put_choice_cases("COMPREPLY=($(compgen -W '", "' -- \"$cur\")); return ;;");
    (void)puts("    *:--dir|*:-C|*:--state-dir) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n"
               "    esac\n"
               "    case $command in");
    (void)fputs("    '') words='", stdout);
    each_first_word(bash_word);
    (void)puts("--help --version' ;;");
    for (size_t i = 0; i < cli_command_count; i++)
        if (new_group(i, word, sizeof(word))) {
            (void)printf("    '%s') words='", word);
            for (size_t j = i; j < cli_command_count; j++)
                if (in_group(&cli_commands[j], word))
                    (void)printf("%s ", cli_commands[j].name + strlen(word) + 1);
            (void)puts("' ;;");
        }
    (void)puts("    esac\n"
               "    case $command in");
    for (size_t i = 0; i < cli_command_count; i++)
        if (!cli_commands[i].hidden)
            bash_command(&cli_commands[i]);
    (void)puts("    esac\n"
               "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
               "}\n"
               "complete -o default -F _strata strata");
}

/* --- zsh -------------------------------------------------------------------------------------- */

/* In single quotes, as _describe wants it: name:text. */
static void zsh_entry(const char *name, const char *text)
{
    (void)fputs(" '", stdout);
    (void)fputs(name, stdout);
    (void)putchar(':');
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\'')
            (void)fputs("'\\''", stdout);
        else if (*p == ':' || *p == '\\')
            (void)printf("\\%c", *p);
        else
            (void)putchar(*p);
    }
    (void)putchar('\'');
}

static void zsh_command(const struct cli_command *command)
{
    (void)printf("    '%s') ", command->name);
    if (has_choices(command->arguments)) {
        (void)fputs("compadd ", stdout);
        put_choices(command->arguments);
        (void)fputs("; ", stdout);
    }
    (void)fputs("found=(", stdout);
    for (size_t id = 0; id < OPT_COUNT; id++)
        if (option_of(command, id))
            zsh_entry(cli_options[id].name, cli_options[id].help);
    (void)puts(" ) ;;");
}

static void complete_zsh(void)
{
    char word[64];

    (void)puts("#compdef strata\n"
               "_strata()\n"
               "{\n"
               "    local command= word\n"
               "    local -i i\n"
               "    local -a found commands\n"
               "    for ((i = 2; i < CURRENT; i++)); do\n"
               "        word=$words[i]");
    put_walk();
    (void)puts("    case $command:$words[CURRENT-1] in");
    put_choice_cases("compadd ", "; return ;;");
    (void)puts("    *:--dir|*:-C|*:--state-dir) _files -/; return ;;\n"
               "    esac\n"
               "    case $command in");
    (void)fputs("    '') commands=(", stdout);
    each_first_word(zsh_entry);
    (void)puts(" ) ;;");
    for (size_t i = 0; i < cli_command_count; i++)
        if (new_group(i, word, sizeof(word))) {
            (void)printf("    '%s') commands=(", word);
            for (size_t j = i; j < cli_command_count; j++)
                if (in_group(&cli_commands[j], word))
                    zsh_entry(cli_commands[j].name + strlen(word) + 1, cli_commands[j].summary);
            (void)puts(" ) ;;");
        }
    (void)puts("    esac\n"
               "    case $command in");
    for (size_t i = 0; i < cli_command_count; i++)
        if (!cli_commands[i].hidden)
            zsh_command(&cli_commands[i]);
    (void)puts("    esac\n"
               "    if [[ $words[CURRENT] == -* ]]; then\n"
               "        _describe option found\n"
               "    elif (($#commands)); then\n"
               "        _describe command commands\n"
               "    else\n"
               "        _files\n"
               "    fi\n"
               "}\n"
               "if [[ $funcstack[1] == _strata ]]; then _strata \"$@\"; else compdef _strata "
               "strata; fi");
}

/* --- fish ------------------------------------------------------------------------------------- */

static void fish_text(const char *text)
{
    (void)putchar('\'');
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '\'' || *p == '\\')
            (void)putchar('\\');
        (void)putchar(*p);
    }
    (void)putchar('\'');
}

static void fish_first(const char *word, const char *summary)
{
    (void)printf("complete -c strata -f -n __fish_use_subcommand -a %s -d ", word);
    fish_text(summary);
    (void)putchar('\n');
}

static void fish_option(const char *condition, const struct cli_option *o)
{
    (void)printf("complete -c strata -n '%s' ", condition);
    if (o->name[1] == '-')
        (void)printf("-l %s ", o->name + 2);
    if (o->letter != 0)
        (void)printf("-s %c ", o->letter);
    if (has_choices(o->arg)) {
        (void)fputs("-x -a '", stdout);
        put_choices(o->arg);
        (void)fputs("' ", stdout);
    } else if (o->arg != NULL) {
        (void)fputs("-r ", stdout);
    }
    (void)fputs("-d ", stdout);
    fish_text(o->help);
    (void)putchar('\n');
}

static void fish_command(const struct cli_command *command)
{
    char condition[192], word[64];
    size_t n = strcspn(command->name, " ");

    (void)snprintf(word, sizeof(word), "%.*s", (int)n, command->name);
    (void)snprintf(condition, sizeof(condition), "__fish_seen_subcommand_from %s%s%s", word,
                   command->name[n] != '\0' ? "; and __fish_seen_subcommand_from " : "",
                   command->name[n] != '\0' ? command->name + n + 1 : "");
    if (command->name[n] != '\0') {
        (void)printf("complete -c strata -f -n '__fish_seen_subcommand_from %s; and not "
                     "__fish_seen_subcommand_from ",
                     word);
        for (size_t i = 0; i < cli_command_count; i++)
            if (in_group(&cli_commands[i], word))
                (void)printf("%s ", cli_commands[i].name + n + 1);
        (void)printf("' -a %s -d ", command->name + n + 1);
        fish_text(command->summary);
        (void)putchar('\n');
    }
    if (has_choices(command->arguments)) {
        (void)printf("complete -c strata -f -n '%s' -a '", condition);
        put_choices(command->arguments);
        (void)puts("'");
    }
    for (size_t id = OPT_GLOBAL_COUNT; id < OPT_COUNT; id++)
        if (option_of(command, id))
            fish_option(condition, &cli_options[id]);
}

static void complete_fish(void)
{
    (void)puts("# fish completion for strata");
    each_first_word(fish_first);
    for (size_t id = 0; id < OPT_GLOBAL_COUNT; id++)
        if (cli_options[id].name[1] == '-')
            fish_option("true", &cli_options[id]);
    for (size_t i = 0; i < cli_command_count; i++)
        if (!cli_commands[i].hidden)
            fish_command(&cli_commands[i]);
}

int cmd_completion(struct cli *c)
{
    const char *shell = c->args[0];
    char shown[64];

    if (strcmp(shell, "bash") == 0)
        complete_bash();
    else if (strcmp(shell, "zsh") == 0)
        complete_zsh();
    else if (strcmp(shell, "fish") == 0)
        complete_fish();
    else
        return cli_usage(c, "completion knows bash, zsh and fish, not `%s`",
                         cli_clean(shell, shown, sizeof(shown)));
    return 0;
}
