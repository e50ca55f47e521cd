/* jsonscan.c - see jsonscan.h. */
#include "files/jsonscan.h"

struct scan {
    const char *p, *end;
};

static void space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool take(struct scan *s, char c)
{
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static bool word(struct scan *s, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, text, n) != 0)
        return false;
    s->p += n;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool digits(struct scan *s)
{
    const char *start = s->p;
    while (s->p < s->end && is_digit(*s->p))
        s->p++;
    return s->p > start;
}

static bool number(struct scan *s)
{
    (void)take(s, '-');
    if (!take(s, '0') && !digits(s))
        return false;
    if (take(s, '.') && !digits(s))
        return false;
    if (!take(s, 'e') && !take(s, 'E'))
        return true;
    if (!take(s, '-'))
        (void)take(s, '+');
    return digits(s);
}

static bool escape(struct scan *s)
{
    if (s->p == s->end)
        return false;
    char c = *s->p++;
    if (c != 'u')
        return c != '\0' && strchr("\"\\/bfnrt", c) != NULL;
    for (int i = 0; i < 4; i++, s->p++) {
        if (s->p == s->end)
            return false;
        char low = (char)(*s->p | 0x20);
        if (!is_digit(*s->p) && !(low >= 'a' && low <= 'f'))
            return false;
    }
    return true;
}

static bool string(struct scan *s)
{
    if (!take(s, '"'))
        return false;
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p++;
        if (c == '"')
            return true;
        if (c < 0x20 || (c == '\\' && !escape(s)))
            return false;
    }
    return false;
}

static bool value(struct scan *s, unsigned depth);

/* The members of an object or the elements of an array, s at its first character. */
static bool parts(struct scan *s, unsigned depth, st_json_visit *visit, void *arg)
{
    bool object = *s->p == '{';
    char close = object ? '}' : ']';
    if (depth >= ST_JSON_SCAN_DEPTH_MAX)
        return false;
    s->p++;
    space(s);
    if (take(s, close))
        return true;
    for (;;) {
        struct st_str key = {s->p, 0}, part;
        if (object) {
            if (!string(s))
                return false;
            key.n = (size_t)(s->p - key.p);
            space(s);
            if (!take(s, ':'))
                return false;
            space(s);
        }
        part.p = s->p;
        if (!value(s, depth + 1))
            return false;
        part.n = (size_t)(s->p - part.p);
        if (visit != NULL && !visit(arg, key, part))
            return false;
        space(s);
        if (take(s, close))
            return true;
        if (!take(s, ','))
            return false;
        space(s);
    }
}

static bool value(struct scan *s, unsigned depth)
{
    if (s->p == s->end)
        return false;
    switch (*s->p) {
    case '{':
    case '[':
        return parts(s, depth, NULL, NULL);
    case '"':
        return string(s);
    case 't':
        return word(s, "true");
    case 'f':
        return word(s, "false");
    case 'n':
        return word(s, "null");
    default:
        return number(s);
    }
}

bool st_json_valid(struct st_str text)
{
    struct scan s = {text.p, text.p + text.n};
    space(&s);
    if (!value(&s, 0))
        return false;
    space(&s);
    return s.p == s.end;
}

bool st_json_each(struct st_str text, st_json_visit *visit, void *arg)
{
    struct scan s = {text.p, text.p + text.n};
    space(&s);
    if (s.p == s.end || (*s.p != '{' && *s.p != '[') || !parts(&s, 0, visit, arg))
        return false;
    space(&s);
    return s.p == s.end;
}
