/*
 * command_codec.c - commands of the strong layer to JSON and back. The format is in command.h.
 *
 * The decoder compares the text with the one spelling that the encoder gives, from left to right.
 */
#include "core/command_internal.h"
#include "core/record_internal.h"

/* --- encoding --------------------------------------------------------------------------------- */

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void add_base64(struct st_buf *out, struct st_str s)
{
    st_buf_add_char(out, '"');
    if (!st_buf_reserve(out, (s.n + 2) / 3 * 4 + 1))
        return;
    for (size_t i = 0; i < s.n; i += 3) {
        char quad[4] = {'=', '=', '=', '='};
        uint32_t bits = (uint32_t)(uint8_t)s.p[i] << 16;
        size_t left = s.n - i;
        if (left > 1)
            bits |= (uint32_t)(uint8_t)s.p[i + 1] << 8;
        if (left > 2)
            bits |= (uint8_t)s.p[i + 2];
        for (size_t d = 0; d <= left && d < 4; d++)
            quad[d] = base64_digits[bits >> (18 - 6 * d) & 63];
        st_buf_add(out, quad, sizeof(quad));
    }
    st_buf_add_char(out, '"');
}

static void add_deadline(struct st_buf *out, struct st_deadline d)
{
    st_buf_add_char(out, '"');
    st_buf_add_hex64(out, d.clock);
    st_buf_add_char(out, '-');
    st_buf_add_hex64(out, d.ns);
    st_buf_add_char(out, '-');
    st_buf_add_hex64(out, d.term_ns);
    st_buf_add_char(out, '"');
}

static void add_field(struct st_buf *out, const struct st_command *command, enum st_command_field f)
{
    struct st_command copy = *command;
    struct st_command *c = &copy;
    st_buf_add_text(out, st_command_keys[f]);
    if (st_command_number(c, f) != NULL)
        st_buf_add_u64(out, *st_command_number(c, f));
    else if (st_command_flag(c, f) != NULL)
        st_buf_add_text(out, "true");
    else if (st_command_string(c, f) != NULL)
        st_json_add_string(out, *st_command_string(c, f));
    else if (f == F_CLASS)
        st_buf_add_text(out, st_command_classes[c->class]);
    else if (f == F_OUTCOME)
        st_buf_add_text(out, st_command_outcomes[c->outcome]);
    else if (f == F_LEASE)
        st_buf_add_text(out, st_command_leases[c->lease]);
    else if (f == F_DEADLINE)
        add_deadline(out, c->deadline);
    else if (f == F_RESULT)
        add_base64(out, c->result);
    else { /* parameters */
        st_buf_add_char(out, '"');
        st_buf_add_hex64(out, c->parameters[0]);
        st_buf_add_hex64(out, c->parameters[1]);
        st_buf_add_char(out, '"');
    }
}

enum st_code st_command_encode(const struct st_command *c, struct st_buf *out)
{
    const char *what;
    enum st_code code = st_command_check(c, &what);
    if (code != ST_OK)
        return code;
    st_buf_add_text(out, "{\"op\":\"");
    st_buf_add_text(out, st_command_kinds[c->kind].name);
    st_buf_add_char(out, '"');
    for (enum st_command_field f = 0; f < F_COUNT; f++) {
        bool always = st_command_is_always(f) && (st_command_kinds[c->kind].must & BIT(f)) != 0;
        if (always || st_command_is_set(c, f))
            add_field(out, c, f);
    }
    st_buf_add_char(out, '}');
    return out->failed ? ST_NO_MEMORY : ST_OK;
}

/* --- decoding --------------------------------------------------------------------------------- */

struct reader {
    const char *p, *end;
    struct st_buf *text; /* has room for the whole input: never moves */
};

static bool take(struct reader *r, const char *text)
{
    size_t n = strlen(text);
    if ((size_t)(r->end - r->p) < n || memcmp(r->p, text, n) != 0)
        return false;
    r->p += n;
    return true;
}

/* Not zero: zero is left out. */
static bool take_number(struct reader *r, uint64_t *value)
{
    uint64_t n = 0;
    if (r->p == r->end || *r->p == '0')
        return false;
    while (r->p < r->end && *r->p >= '0' && *r->p <= '9') {
        n = n * 10 + (uint64_t)(*r->p++ - '0');
        if (n > ST_U53_MAX)
            return false;
    }
    *value = n;
    return n > 0;
}

static bool take_hex64(struct reader *r, uint64_t *value)
{
    if (r->end - r->p < 16 || !st_parse_hex64(r->p, value))
        return false;
    r->p += 16;
    return true;
}

static bool take_word(struct reader *r, const char *const *words, size_t count, unsigned *index)
{
    for (unsigned i = 0; i < count; i++) {
        if (take(r, words[i])) {
            *index = i;
            return true;
        }
    }
    return false;
}

/* The escapes of valid texts; others stand for control characters that no field may hold. */
static bool take_escape(struct reader *r)
{
    static const char letters[] = "\\\\\"\"n\nt\tr\r";
    if (r->p == r->end)
        return false;
    for (size_t i = 0; i < sizeof(letters) - 1; i += 2) {
        if (letters[i] == *r->p) {
            st_buf_add_char(r->text, letters[i + 1]);
            r->p++;
            return true;
        }
    }
    return false;
}

static bool take_string(struct reader *r, struct st_str *out)
{
    if (!take(r, "\""))
        return false;
    const char *start = r->p;
    size_t before = r->text->n;
    bool escaped = false;
    for (;;) {
        size_t run = st_json_plain(r->p, (size_t)(r->end - r->p));
        if (escaped)
            st_buf_add(r->text, r->p, run);
        r->p += run;
        if (r->p == r->end || (*r->p != '"' && *r->p != '\\'))
            return false;
        if (*r->p == '"')
            break;
        if (!escaped)
            st_buf_add(r->text, start, (size_t)(r->p - start));
        escaped = true;
        r->p++;
        if (!take_escape(r))
            return false;
    }
    *out = escaped ? (struct st_str){r->text->p + before, r->text->n - before}
                   : (struct st_str){start, (size_t)(r->p - start)};
    r->p++;
    return true;
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters at r->p; padding only in the last four, the bits behind the end zero. */
static bool take_quad(struct reader *r, bool *last)
{
    uint32_t bits = 0;
    unsigned digits = 0;
    if (r->end - r->p < 4)
        return false;
    for (unsigned i = 0; i < 4; i++) {
        int value = base64_value(r->p[i]);
        if (value < 0 && (r->p[i] != '=' || i < 2))
            return false;
        if (value >= 0 && digits < i)
            return false; /* behind padding */
        digits += value >= 0;
        bits = bits << 6 | (uint32_t)(value >= 0 ? value : 0);
    }
    if ((digits == 2 && (bits & 0xffff) != 0) || (digits == 3 && (bits & 0xff) != 0))
        return false;
    for (unsigned i = 0; i + 1 < digits; i++)
        st_buf_add_char(r->text, (char)(uint8_t)(bits >> (16 - 8 * i)));
    r->p += 4;
    *last = digits < 4;
    return true;
}

static bool take_base64(struct reader *r, struct st_str *out)
{
    size_t before = r->text->n;
    bool last = false;
    if (!take(r, "\""))
        return false;
    while (!take(r, "\"")) {
        if (last || !take_quad(r, &last))
            return false;
    }
    *out = (struct st_str){r->text->p + before, r->text->n - before};
    return out->n > 0;
}

static bool take_deadline(struct reader *r, struct st_deadline *d)
{
    return take(r, "\"") && take_hex64(r, &d->clock) && take(r, "-") && take_hex64(r, &d->ns) &&
           take(r, "-") && take_hex64(r, &d->term_ns) && take(r, "\"");
}

static bool take_field(struct reader *r, struct st_command *c, enum st_command_field f)
{
    unsigned word = 0;
    bool ok;
    if (st_command_number(c, f) != NULL)
        return take_number(r, st_command_number(c, f));
    if (st_command_string(c, f) != NULL)
        return take_string(r, st_command_string(c, f)) && st_command_string(c, f)->n > 0;
    if (st_command_flag(c, f) != NULL) {
        *st_command_flag(c, f) = true;
        return take(r, "true");
    }
    switch (f) {
    case F_CLASS:
        ok = take_word(r, st_command_classes, ST_COMMAND_CLASSES, &word);
        c->class = (enum st_operation_class)word;
        return ok;
    case F_OUTCOME:
        ok = take_word(r, st_command_outcomes, ST_COMMAND_OUTCOMES, &word);
        c->outcome = (enum st_outcome)word;
        return ok;
    case F_LEASE:
        ok = take_word(r, st_command_leases, ST_COMMAND_LEASES, &word);
        c->lease = (enum st_lease_kind)word;
        return ok;
    case F_DEADLINE:
        return take_deadline(r, &c->deadline);
    case F_RESULT:
        return take_base64(r, &c->result);
    default: /* parameters */
        return take(r, "\"") && take_hex64(r, &c->parameters[0]) &&
               take_hex64(r, &c->parameters[1]) && take(r, "\"");
    }
}

static bool take_kind(struct reader *r, struct st_command *c)
{
    if (!take(r, "{\"op\":\""))
        return false;
    const char *start = r->p;
    for (unsigned k = ST_CMD_PROPOSE; k < ST_COMMAND_KINDS; k++) {
        r->p = start;
        if (st_command_kinds[k].name != NULL && take(r, st_command_kinds[k].name) &&
            take(r, "\"")) {
            c->kind = (enum st_command_kind)k;
            return true;
        }
    }
    return false;
}

enum st_code st_command_decode(struct st_str raw, struct st_command_scratch *scratch,
                               struct st_command *out)
{
    struct reader r = {raw.p, raw.p + raw.n, &scratch->text};
    const char *what;
    *out = (struct st_command){.kind = 0};
    if (raw.n == 0 || !take_kind(&r, out))
        return ST_NOT_FOUND;
    st_buf_reset(&scratch->text);
    if (!st_buf_reserve(&scratch->text, raw.n))
        return ST_NO_MEMORY;
    uint32_t may = st_command_kinds[out->kind].may | st_command_kinds[out->kind].must | BIT(F_TIME);
    for (enum st_command_field f = 0; f < F_COUNT; f++) {
        if ((may & BIT(f)) == 0)
            continue;
        bool there = take(&r, st_command_keys[f]);
        if (!there && (st_command_kinds[out->kind].must & BIT(f)) != 0)
            return ST_DAMAGED;
        if (there && !take_field(&r, out, f))
            return ST_DAMAGED;
    }
    if (!take(&r, "}") || r.p != r.end)
        return ST_DAMAGED;
    return st_command_check(out, &what) == ST_OK ? ST_OK : ST_DAMAGED;
}

void st_command_scratch_init(struct st_command_scratch *s, const struct st_alloc *alloc)
{
    st_buf_init(&s->text, alloc);
}

void st_command_scratch_release(struct st_command_scratch *s)
{
    st_buf_release(&s->text);
}
