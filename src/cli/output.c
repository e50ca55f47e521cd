/*
 * output.c - what the program says beside its data: errors and notes. Values for people are put in
 * words in edge/text.c, as JSON in edge/json.c.
 *
 * Data goes to standard output, the rest to standard error.
 */
#include "cli/cli.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

/* --- errors and notes ------------------------------------------------------------------------- */

static void print_error(struct cli *c, int code, const char *message, const char *hint)
{
    if (c->json) {
        json_t *e =
            json_pack("{s:i,s:{s:s,s:o,s:o}}", "schema_version", 1, "error", "code",
                      strata_code_name(code), "message", cli_json_text(message, strlen(message)),
                      "hint", cli_json_text(hint, strlen(hint)));
        if (e != NULL)
            (void)json_dumpf(e, stderr, JSON_COMPACT | JSON_ENSURE_ASCII);
        (void)fputc('\n', stderr);
        json_decref(e);
        return;
    }
    (void)fprintf(stderr, "strata: %s\n", message);
    if (hint[0] != '\0')
        (void)fprintf(stderr, "hint: %s\n", hint);
}

int cli_fail(struct cli *c, int code)
{
    const strata_error *e = c->s != NULL ? strata_last_error(c->s) : NULL;
    char message[1024], hint[1024];

    (void)fflush(stdout);
    bool told = e != NULL && e->code == code && e->message[0] != '\0';
    cli_clean(told ? e->message : strata_code_name(code), message, sizeof(message));
    cli_clean(told ? e->hint : "", hint, sizeof(hint));
    print_error(c, code, message, hint);
    return strata_code_exit(code);
}

int cli_error(struct cli *c, int code, const char *hint, const char *format, ...)
{
    char message[1024];
    va_list args;

    (void)fflush(stdout);
    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    print_error(c, code, message, hint != NULL ? hint : "");
    return strata_code_exit(code);
}

int cli_usage(struct cli *c, const char *format, ...)
{
    char message[1024], hint[128];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    if (c->command != NULL)
        (void)snprintf(hint, sizeof(hint), "see: strata help %s", c->command->name);
    else
        (void)snprintf(hint, sizeof(hint), "see: strata help");
    print_error(c, STRATA_USAGE, message, hint);
    return strata_code_exit(STRATA_USAGE);
}

static void tell(struct cli *c, const char *kind, const char *format, va_list args)
{
    char raw[1024], message[1024];

    (void)fflush(stdout); /* the answer first: it must stand even if nobody reads this */
    (void)vsnprintf(raw, sizeof(raw), format, args);
    cli_clean(raw, message, sizeof(message));
    if (!c->json) {
        (void)fprintf(stderr, "strata: %s: %s\n", kind, message);
        return;
    }
    json_t *line = json_pack("{s:i,s:s}", "schema_version", 1, kind, message);
    if (line != NULL)
        (void)json_dumpf(line, stderr, JSON_COMPACT | JSON_ENSURE_ASCII);
    (void)fputc('\n', stderr);
    json_decref(line);
}

void cli_note(struct cli *c, const char *format, ...)
{
    va_list args;
    if (c->quiet)
        return;
    va_start(args, format);
    tell(c, "note", format, args);
    va_end(args);
}

void cli_warn(struct cli *c, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tell(c, "warning", format, args);
    va_end(args);
}

void cli_notices(struct cli *c)
{
    const char *notice;
    /* Once shown they are gone, so not even --quiet drops them. */
    while (c->s != NULL && (notice = strata_next_notice(c->s)) != NULL) {
        bool quiet = c->quiet;
        c->quiet = false;
        cli_note(c, "%s", notice);
        c->quiet = quiet;
    }
}

/* --- time ------------------------------------------------------------------------------------- */

uint64_t cli_now(struct cli *c)
{
    struct timespec t;
    if (c->now_ms == 0 && clock_gettime(CLOCK_REALTIME, &t) == 0)
        c->now_ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    return c->now_ms;
}
