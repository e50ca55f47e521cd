/*
 * text.c - times and texts for people and agents, as the program and the MCP server print them.
 * Text from files and arguments is never put out as it is: control characters are spelled out.
 */
#include "edge/text.h"

#include <string.h>

/* --- time ------------------------------------------------------------------------------------- */

/* Not gmtime(3): it reads the time zone file of the machine first. */
void edge_stamp(uint64_t ms, char out[EDGE_STAMP_SIZE])
{
    uint64_t day = ms / 86400000, rest = ms % 86400000;
    uint64_t z = day + 719468, era = z / 146097, in_era = z % 146097;
    uint64_t year_of_era = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    uint64_t in_year = in_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t mp = (5 * in_year + 2) / 153, month = mp < 10 ? mp + 3 : mp - 9;
    uint64_t year = year_of_era + era * 400 + (month <= 2);
    unsigned date = (unsigned)(in_year - (153 * mp + 2) / 5 + 1);

    if (year > 9999) { /* RFC 3339 has four digits; only a broken clock gets here */
        (void)snprintf(out, EDGE_STAMP_SIZE, "9999-12-31T23:59:59.999Z");
        return;
    }
    (void)snprintf(out, EDGE_STAMP_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", (unsigned)year,
                   (unsigned)month, date, (unsigned)(rest / 3600000), (unsigned)(rest / 60000 % 60),
                   (unsigned)(rest / 1000 % 60), (unsigned)(rest % 1000));
}

void edge_span(uint64_t span_ms, char out[EDGE_AGE_SIZE])
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
    (void)snprintf(out, EDGE_AGE_SIZE, "%llu %s", n, unit);
}

void edge_age(uint64_t now_ms, uint64_t ms, char out[EDGE_AGE_SIZE])
{
    char span[EDGE_AGE_SIZE];

    if (ms > now_ms + 2000) {
        edge_span(ms - now_ms, span);
        (void)snprintf(out, EDGE_AGE_SIZE, "%.20s ahead", span);
        return;
    }
    if (ms >= now_ms || now_ms - ms < 1000) {
        (void)snprintf(out, EDGE_AGE_SIZE, "just now");
        return;
    }
    edge_span(now_ms - ms, span);
    (void)snprintf(out, EDGE_AGE_SIZE, "%.20s ago", span);
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

void edge_put_text(FILE *f, const char *text, size_t n, size_t max)
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

const char *edge_clean(const char *text, char *out, size_t size)
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

void edge_put_name(FILE *f, const char *name)
{
    bool quote = strpbrk(name, " \"'`=()[]{}<>|;&$#*?!\\~") != NULL;
    if (!quote) {
        edge_put_text(f, name, strlen(name), 0);
        return;
    }
    (void)fputc('"', f);
    for (const char *p = name; *p != '\0';) {
        size_t plain = strcspn(p, "\"\\");
        edge_put_text(f, p, plain, 0);
        p += plain;
        if (*p != '\0')
            (void)fprintf(f, "\\%c", *p++);
    }
    (void)fputc('"', f);
}

void edge_put_origin(FILE *f, uint64_t now_ms, const char *agent, const char *replica, uint64_t ms,
                     bool where)
{
    char age[EDGE_AGE_SIZE];
    edge_age(now_ms, ms, age);
    (void)fputs(agent[0] != '\0' ? agent : "unnamed", f);
    if (where && replica[0] != '\0') {
        (void)fputs(" on ", f);
        edge_put_text(f, replica, strlen(replica), 0);
    }
    (void)fprintf(f, ", %s", age);
}

/* A listing is for skimming; `fact get` and --json have the whole value. */
#define LISTED_VALUE_MAX 500

static void put_item(FILE *f, uint64_t now_ms, const strata_attribute *a, const strata_item *item)
{
    edge_put_name(f, a->entity);
    (void)fputc(' ', f);
    edge_put_name(f, a->attribute);
    if (item->kind == STRATA_ITEM_ABSENT) {
        (void)fputs(" has no value", f);
    } else {
        (void)fputs(item->kind == STRATA_ITEM_MEMBER ? " has " : " = ", f);
        if (item->link)
            (void)fputs("-> ", f);
        edge_put_text(f, item->value, item->value_size, LISTED_VALUE_MAX);
    }
    (void)fputs(" (", f);
    edge_put_origin(f, now_ms, item->agent, item->replica, item->time_ms, false);
    (void)fputc(')', f);
}

void edge_put_attribute(FILE *f, uint64_t now_ms, const strata_attribute *a)
{
    size_t rivals = 0;
    for (size_t i = 0; i < a->count; i++)
        rivals += a->items[i].kind != STRATA_ITEM_MEMBER;
    for (size_t i = 0; i < a->count; i++) {
        const strata_item *item = &a->items[i];
        if (item->kind != STRATA_ITEM_MEMBER && !item->shown && item != a->shown)
            continue;
        put_item(f, now_ms, a, item);
        if (a->pending && item->kind != STRATA_ITEM_MEMBER)
            (void)fprintf(f, " [pending: %zu answers, see strata pending]", rivals);
        (void)fputc('\n', f);
    }
}
