/*
 * output.c - what the program prints: errors, notes, and values for people. What goes out as
 * JSON is built in json.c.
 *
 * Data goes to standard output, the rest to standard error. Text from files and arguments is
 * never put on a terminal as it is: control characters are spelled out.
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

/* Not gmtime(3): it reads the time zone file of the machine first. */
void cli_stamp(uint64_t ms, char out[CLI_STAMP_SIZE])
{
    uint64_t day = ms / 86400000, rest = ms % 86400000;
    uint64_t z = day + 719468, era = z / 146097, in_era = z % 146097;
    uint64_t year_of_era = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint64_t in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t mp = (5 * in_year + 2) / 153, month = mp < 10 ? mp + 3 : mp - 9;
    uint64_t year = year_of_era + era * 400 + (month <= 2);
    unsigned date = (unsigned)(in_year - (153 * mp + 2) / 5 + 1);

    if (year > 9999) { /* RFC 3339 has four digits; only a broken clock gets here */
        (void)snprintf(out, CLI_STAMP_SIZE, "9999-12-31T23:59:59.999Z");
        return;
    }
    (void)snprintf(out, CLI_STAMP_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)year,
                   (unsigned)month, date, (unsigned)(rest / 3600000), (unsigned)(rest / 60000 % 60),
                   (unsigned)(rest / 1000 % 60), (unsigned)(rest % 1000));
}

void cli_span(uint64_t span_ms, char out[CLI_AGE_SIZE])
{
    uint64_t s = span_ms / 1000;
    unsigned long long n = s;
    const char *unit = "s";

    if (s >= 2 * 86400) {
        n = s / 86400;
        unit = "days";
    } else if (s >= 2 * 3600) {
        n = s / 3600;
        unit = "h";
    } else if (s >= 120) {
        n = s / 60;
        unit = "min";
    }
    (void)snprintf(out, CLI_AGE_SIZE, "%llu %s", n, unit);
}

void cli_age(struct cli *c, uint64_t ms, char out[CLI_AGE_SIZE])
{
    uint64_t now = cli_now(c);
    char span[CLI_AGE_SIZE];

    if (ms > now + 2000) {
        cli_span(ms - now, span);
        (void)snprintf(out, CLI_AGE_SIZE, "%.20s ahead", span);
        return;
    }
    if (ms >= now || now - ms < 1000) {
        (void)snprintf(out, CLI_AGE_SIZE, "just now");
        return;
    }
    cli_span(now - ms, span);
    (void)snprintf(out, CLI_AGE_SIZE, "%.20s ago", span);
}

/* --- text for people -------------------------------------------------------------------------- */

/* Bytes of the well-formed UTF-8 character at p (RFC 3629), 0 if it is none. */
static size_t utf8_size(const unsigned char *p, size_t n)
{
    size_t size = p[0] < 0x80   ? 1
                  : p[0] < 0xc2 ? 0
                  : p[0] < 0xe0 ? 2
                  : p[0] < 0xf0 ? 3
                  : p[0] < 0xf5 ? 4
                                : 0;
    if (size == 0 || size > n)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool outside = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return overlong || outside ? 0 : size;
}

/* One character of text as it may be printed; returns the bytes read, *size those in out. */
static size_t spell(const char *text, size_t n, char out[8], size_t *size)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t used = utf8_size(p, n);
    bool c1 = used == 2 && p[0] == 0xc2 && p[1] < 0xa0;

    if (used == 0 || c1 || p[0] < 0x20 || p[0] == 0x7f) {
        const char *known = p[0] == '\n'   ? "\\n"
                            : p[0] == '\t' ? "\\t"
                            : p[0] == '\r' ? "\\r"
                                           : NULL;
        *size = (size_t)(known != NULL ? snprintf(out, 8, "%s", known)
                                       : snprintf(out, 8, "\\x%02x", c1 ? p[1] : p[0]));
        return used == 0 ? 1 : used;
    }
    memcpy(out, text, used);
    *size = used;
    return used;
}

void cli_put_text(FILE *f, const char *text, size_t n, size_t max)
{
    size_t i = 0;
    while (i < n && (max == 0 || i < max)) {
        char out[8];
        size_t size;
        i += spell(text + i, n - i, out, &size);
        (void)fwrite(out, 1, size, f);
    }
    if (i < n)
        (void)fprintf(f, "... [%zu bytes more]", n - i);
}

const char *cli_clean(const char *text, char *out, size_t size)
{
    size_t n = strlen(text), used = 0;
    for (size_t i = 0; i < n;) {
        char c[8];
        size_t length;
        i += spell(text + i, n - i, c, &length);
        if (used + length + sizeof("...") > size) {
            (void)snprintf(out + used, size - used, "...");
            return out;
        }
        memcpy(out + used, c, length);
        used += length;
    }
    out[used] = '\0';
    return out;
}

void cli_put_name(FILE *f, const char *name)
{
    bool quote = strpbrk(name, " \"'`=()[]{}<>|;&$#*?!\\~") != NULL;
    if (!quote) {
        cli_put_text(f, name, strlen(name), 0);
        return;
    }
    (void)fputc('"', f);
    for (const char *p = name; *p != '\0';) {
        size_t plain = strcspn(p, "\"\\");
        cli_put_text(f, p, plain, 0);
        p += plain;
        if (*p != '\0')
            (void)fprintf(f, "\\%c", *p++);
    }
    (void)fputc('"', f);
}

void cli_put_origin(struct cli *c, FILE *f, const char *agent, const char *replica, uint64_t ms,
                    bool where)
{
    char age[CLI_AGE_SIZE];
    cli_age(c, ms, age);
    (void)fputs(agent[0] != '\0' ? agent : "unnamed", f);
    if (where && replica[0] != '\0') {
        (void)fputs(" on ", f);
        cli_put_text(f, replica, strlen(replica), 0);
    }
    (void)fprintf(f, ", %s", age);
}

/* A listing is for skimming; `fact get` and --json have the whole value. */
#define LISTED_VALUE_MAX 500

static void put_item(struct cli *c, FILE *f, const strata_attribute *a, const strata_item *item)
{
    cli_put_name(f, a->entity);
    (void)fputc(' ', f);
    cli_put_name(f, a->attribute);
    if (item->kind == STRATA_ITEM_ABSENT) {
        (void)fputs(" has no value", f);
    } else {
        (void)fputs(item->kind == STRATA_ITEM_MEMBER ? " has " : " = ", f);
        if (item->link)
            (void)fputs("-> ", f);
        cli_put_text(f, item->value, item->value_size, LISTED_VALUE_MAX);
    }
    (void)fputs(" (", f);
    cli_put_origin(c, f, item->agent, item->replica, item->time_ms, false);
    (void)fputc(')', f);
}

void cli_put_attribute(struct cli *c, FILE *f, const strata_attribute *a)
{
    size_t rivals = 0;
    for (size_t i = 0; i < a->count; i++)
        rivals += a->items[i].kind != STRATA_ITEM_MEMBER;
    for (size_t i = 0; i < a->count; i++) {
        const strata_item *item = &a->items[i];
        if (item->kind != STRATA_ITEM_MEMBER && !item->shown && item != a->shown)
            continue;
        put_item(c, f, a, item);
        if (a->pending && item->kind != STRATA_ITEM_MEMBER)
            (void)fprintf(f, " [pending: %zu answers, see strata pending]", rivals);
        (void)fputc('\n', f);
    }
}
