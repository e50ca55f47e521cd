/*
 * record_unknown.c - operations of a newer version: kept and passed on, so they have to be safe
 * for every reader of the line.
 *
 * Such an operation is a JSON object (RFC 8259) without white space outside of strings, nested at
 * most ST_JSON_DEPTH_MAX deep, UTF-8, whose first key is "op" with a name that needs no escape
 * and that this version does not know. What could mean one thing to us and another to a JSON
 * reader is refused: "op" a second time, escapes in the keys beside it, U+0000, halves of
 * surrogate pairs, integers beyond +-(2^53 - 1), numbers that are infinite as a double.
 */
#include "core/record_internal.h"

/* With an exponent of two digits, a number this long is still far from the largest double. */
#define REAL_SIZE_MAX 64

struct scan {
    const char *p, *end;
};

static bool scan_char(struct scan *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static bool scan_text(struct scan *s, struct st_str text)
{
    if ((size_t)(s->end - s->p) < text.n || memcmp(s->p, text.p, text.n) != 0)
        return false;
    s->p += text.n;
    return true;
}

/* Four hex digits of either case. */
static bool scan_unit(struct scan *s, unsigned *unit)
{
    int i;

    if (s->end - s->p < 4)
        return false;
    *unit = 0;
    for (i = 0; i < 4; i++) {
        char c = *s->p++;
        char low = (char)(c | 0x20);

        if (c >= '0' && c <= '9')
            *unit = *unit << 4 | (unsigned)(c - '0');
        else if (low >= 'a' && low <= 'f')
            *unit = *unit << 4 | (unsigned)(low - 'a' + 10);
        else
            return false;
    }
    return true;
}

/* Behind the backslash. */
static bool scan_escape(struct scan *s)
{
    unsigned unit;

    if (s->p == s->end)
        return false;
    switch (*s->p++) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return true;
    case 'u':
        break;
    default:
        return false;
    }
    if (!scan_unit(s, &unit) || unit == 0)
        return false;
    if (unit < 0xd800 || unit > 0xdfff)
        return true;
    return unit <= 0xdbff && scan_text(s, ST_STR("\\u")) && scan_unit(s, &unit) && unit >= 0xdc00 &&
           unit <= 0xdfff;
}

/* Whether the bytes are UTF-8 is left to the end, for the whole operation at once. */
static bool scan_string(struct scan *s)
{
    if (!scan_char(s, '"'))
        return false;
    for (;;) {
        s->p += st_json_plain(s->p, (size_t)(s->end - s->p));
        if (scan_char(s, '"'))
            return true;
        if (!scan_char(s, '\\') || !scan_escape(s))
            return false;
    }
}

/* One digit or more; *value stays at its maximum when it runs over. */
static bool scan_digits(struct scan *s, uint64_t *value)
{
    const char *start = s->p;

    *value = 0;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9') {
        uint64_t digit = (uint64_t)(*s->p++ - '0');

        *value = *value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : *value * 10 + digit;
    }
    return s->p > start;
}

static bool scan_number(struct scan *s)
{
    const char *start = s->p, *digits;
    uint64_t value, rest;
    bool real = false;

    (void)scan_char(s, '-');
    digits = s->p;
    if (!scan_digits(s, &value) || (*digits == '0' && s->p - digits > 1))
        return false;
    if (scan_char(s, '.')) {
        real = true;
        if (!scan_digits(s, &rest))
            return false;
    }
    if (scan_char(s, 'e') || scan_char(s, 'E')) {
        real = true;
        if (!scan_char(s, '+'))
            (void)scan_char(s, '-');
        if (!scan_digits(s, &rest) || rest > 99)
            return false;
    }
    return real ? s->p - start <= REAL_SIZE_MAX : value <= ST_U53_MAX;
}

static bool scan_value(struct scan *s, unsigned depth);

/* Behind the bracket or brace that opens a list of values, or of keys and values. */
static bool scan_list(struct scan *s, bool keys, unsigned depth)
{
    char close = keys ? '}' : ']';

    if (depth > ST_JSON_DEPTH_MAX)
        return false;
    if (scan_char(s, close))
        return true;
    do {
        if (keys && !(scan_string(s) && scan_char(s, ':')))
            return false;
        if (!scan_value(s, depth))
            return false;
    } while (scan_char(s, ','));
    return scan_char(s, close);
}

/* `depth`: how many lists are open around the value. */
static bool scan_value(struct scan *s, unsigned depth)
{
    if (s->p == s->end)
        return false;
    switch (*s->p) {
    case '"':
        return scan_string(s);
    case '{':
        s->p++;
        return scan_list(s, true, depth + 1);
    case '[':
        s->p++;
        return scan_list(s, false, depth + 1);
    case 't':
        return scan_text(s, ST_STR("true"));
    case 'f':
        return scan_text(s, ST_STR("false"));
    case 'n':
        return scan_text(s, ST_STR("null"));
    default:
        return scan_number(s);
    }
}

/* A key beside "op", with its colon. */
static bool scan_sibling_key(struct scan *s)
{
    struct st_str key;
    size_t i;

    key.p = s->p;
    if (!scan_string(s))
        return false;
    key.n = (size_t)(s->p - key.p);
    for (i = 0; i < key.n; i++) {
        if (key.p[i] == '\\')
            return false;
    }
    return !ST_STR_IS(key, "\"op\"") && scan_char(s, ':');
}

const char *st_op_unknown_end(const char *p, const char *end)
{
    struct scan s = {p, end};
    struct st_str name;

    if (!scan_text(&s, ST_STR("{\"op\":\"")))
        return NULL;
    name.p = s.p;
    name.n = st_json_plain(s.p, (size_t)(end - s.p));
    s.p += name.n;
    if (st_name_check(name) != ST_OK || st_op_kind_of(name) != ST_OP_UNKNOWN || !scan_char(&s, '"'))
        return NULL;
    while (scan_char(&s, ',')) {
        if (!scan_sibling_key(&s) || !scan_value(&s, 1))
            return NULL;
    }
    if (!scan_char(&s, '}') || !st_utf8_valid((struct st_str){p, (size_t)(s.p - p)}))
        return NULL;
    return s.p;
}
