/*
 * command.c - commands of the strong layer: what a valid one is, to JSON and back. The format is in
 * command.h.
 *
 * One table says which fields each kind has and which of them it must have; check, encoder and
 * decoder all follow it, so they cannot differ. The decoder compares the text with the one spelling
 * that the encoder gives, from left to right.
 */
#include "core/command.h"
#include "core/glob.h"
#include "core/record_internal.h"

/* In the order of the encoding. */
enum field {
    F_TIME,
    F_KEY,
    F_TOKEN,
    F_PARAMETERS,
    F_CLASS,
    F_VALID,
    F_APPROVAL,
    F_OUTCOME,
    F_LEASE,
    F_TAKEOVER,
    F_SHARED,
    F_QUIESCENT,
    F_CHECK,
    F_PERSON,
    F_EVIDENCE,
    F_LIMIT,
    F_SUCCESSOR,
    F_GENERATION,
    F_POSITION,
    F_FORCED,
    F_ALTERNATIVE,
    F_RUN,
    F_DEADLINE,
    F_RESULT,
    F_COUNT,
};

#define BIT(f) (1U << (f))

/* Names in the encoding, and for messages. */
static const char *const field_keys[F_COUNT] = {
    ",\"t\":",  ",\"k\":",  ",\"n\":",  ",\"h\":", ",\"c\":",  ",\"v\":",  ",\"ap\":", ",\"oc\":",
    ",\"l\":",  ",\"to\":", ",\"sh\":", ",\"q\":", ",\"ck\":", ",\"by\":", ",\"ev\":", ",\"li\":",
    ",\"su\":", ",\"g\":",  ",\"p\":",  ",\"f\":", ",\"al\":", ",\"ru\":", ",\"d\":",  ",\"re\":",
};
static const char *const field_names[F_COUNT] = {
    "time",     "key",     "token",       "parameters", "class",     "validity",
    "approval", "outcome", "lease",       "takeover",   "shared",    "quiescent",
    "by check", "person",  "evidence",    "limit",      "successor", "generation",
    "position", "forced",  "alternative", "run",        "deadline",  "result",
};

#define KEY BIT(F_KEY)

static const struct {
    const char *name;
    uint32_t must, may; /* time may always be there */
} kinds[] = {
    [ST_CMD_PROPOSE] = {"propose", KEY | BIT(F_PARAMETERS) | BIT(F_CLASS),
                        BIT(F_VALID) | BIT(F_APPROVAL) | BIT(F_DEADLINE)},
    [ST_CMD_APPROVE] = {"approve", KEY, BIT(F_PERSON) | BIT(F_EVIDENCE)},
    [ST_CMD_REJECT] = {"reject", KEY | BIT(F_EVIDENCE), BIT(F_PERSON)},
    [ST_CMD_GRANT] = {"grant", KEY, BIT(F_RUN) | BIT(F_DEADLINE)},
    [ST_CMD_START] = {"start", KEY, BIT(F_TOKEN)},
    [ST_CMD_RENEW] = {"renew", KEY | BIT(F_TOKEN), BIT(F_DEADLINE)},
    [ST_CMD_REPORT] = {"report", KEY, BIT(F_TOKEN) | BIT(F_RESULT)},
    [ST_CMD_REFUSE] = {"refuse", KEY | BIT(F_EVIDENCE), BIT(F_TOKEN) | BIT(F_RESULT)},
    [ST_CMD_LAPSE] = {"lapse", KEY | BIT(F_TOKEN), BIT(F_DEADLINE)},
    [ST_CMD_EXPIRE] = {"expire", KEY, BIT(F_TOKEN) | BIT(F_DEADLINE)},
    [ST_CMD_REISSUE] = {"reissue", KEY, 0},
    [ST_CMD_SETTLE] = {"settle", KEY | BIT(F_OUTCOME) | BIT(F_EVIDENCE),
                       BIT(F_TOKEN) | BIT(F_PERSON) | BIT(F_QUIESCENT) | BIT(F_CHECK) |
                           BIT(F_RESULT)},
    [ST_CMD_AGAIN] = {"again", KEY | BIT(F_EVIDENCE),
                      BIT(F_PERSON) | BIT(F_VALID) | BIT(F_DEADLINE)},
    [ST_CMD_PRUNE] = {"prune", BIT(F_LIMIT), KEY},
    [ST_CMD_CLEAR] = {"clear", BIT(F_EVIDENCE), KEY | BIT(F_PERSON) | BIT(F_QUIESCENT)},
    [ST_CMD_LEASE_ACQUIRE] = {"lease-acquire", KEY | BIT(F_LEASE),
                              BIT(F_TOKEN) | BIT(F_TAKEOVER) | BIT(F_SHARED) | BIT(F_ALTERNATIVE) |
                                  BIT(F_RUN) | BIT(F_DEADLINE)},
    [ST_CMD_LEASE_RENEW] = {"lease-renew", KEY | BIT(F_LEASE) | BIT(F_TOKEN), BIT(F_DEADLINE)},
    [ST_CMD_LEASE_RELEASE] = {"lease-release", KEY | BIT(F_LEASE) | BIT(F_TOKEN), 0},
    [ST_CMD_LEASE_LAPSE] = {"lease-lapse", KEY | BIT(F_LEASE) | BIT(F_TOKEN), BIT(F_DEADLINE)},
    [ST_CMD_REARM] = {"rearm", KEY | BIT(F_DEADLINE), BIT(F_TOKEN)},
    [ST_CMD_LEASE_REARM] = {"lease-rearm", KEY | BIT(F_LEASE) | BIT(F_TOKEN) | BIT(F_DEADLINE), 0},
    [ST_CMD_RESERVE] = {"reserve", KEY,
                        BIT(F_TOKEN) | BIT(F_SHARED) | BIT(F_EVIDENCE) | BIT(F_DEADLINE)},
    [ST_CMD_UNRESERVE] = {"unreserve", KEY | BIT(F_TOKEN), 0},
    [ST_CMD_SEAL] = {"seal", BIT(F_SUCCESSOR), BIT(F_POSITION) | BIT(F_PERSON) | BIT(F_EVIDENCE)},
    [ST_CMD_GENERATION] = {"generation", BIT(F_SUCCESSOR) | BIT(F_GENERATION),
                           BIT(F_POSITION) | BIT(F_FORCED) | BIT(F_PERSON) | BIT(F_EVIDENCE)},
    [ST_CMD_CLAIM_CHECKPOINT] = {"claim-checkpoint", KEY | BIT(F_TOKEN),
                                 BIT(F_DEADLINE) | BIT(F_RESULT)},
    [ST_CMD_CLAIM_FINISH] = {"claim-finish", KEY | BIT(F_OUTCOME), BIT(F_TOKEN) | BIT(F_RESULT)},
    [ST_CMD_CLAIM_REOPEN] = {"claim-reopen", KEY, BIT(F_TOKEN) | BIT(F_EVIDENCE)},
    [ST_CMD_CLAIM_COPIED] = {"claim-copied", BIT(F_POSITION), 0},
};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static const char *const class_words[] = {"\"naked\"", "\"keyed\"", "\"queryable\"",
                                          "\"idempotent\""};
static const char *const lease_words[] = {"\"lock\"", "\"claim\"", "\"agent\"", "\"path\""};
static const char *const outcome_words[] = {"\"committed\"", "\"failed\"", "\"retry\""};

#define WORDS(list) (sizeof(list) / sizeof((list)[0]))

const char *st_command_name(enum st_command_kind k)
{
    return k >= ST_CMD_PROPOSE && (size_t)k < KIND_COUNT ? kinds[k].name : "unknown";
}

static bool kind_valid(enum st_command_kind k)
{
    return k >= ST_CMD_PROPOSE && (size_t)k < KIND_COUNT && kinds[k].name != NULL;
}

/* --- fields by number ------------------------------------------------------------------------- */

/* The field behind its number; NULL when it is not of that type. */
static uint64_t *number_of(struct st_command *c, enum field f)
{
    switch (f) {
    case F_TIME:
        return &c->time_ms;
    case F_TOKEN:
        return &c->token;
    case F_VALID:
        return &c->valid_until_ms;
    case F_LIMIT:
        return &c->limit_ms;
    case F_GENERATION:
        return &c->generation;
    case F_POSITION:
        return &c->position;
    case F_RUN:
        return &c->run;
    default:
        return NULL;
    }
}

static bool *flag_of(struct st_command *c, enum field f)
{
    switch (f) {
    case F_APPROVAL:
        return &c->needs_approval;
    case F_TAKEOVER:
        return &c->takeover;
    case F_SHARED:
        return &c->shared;
    case F_QUIESCENT:
        return &c->quiescent;
    case F_CHECK:
        return &c->by_check;
    case F_FORCED:
        return &c->forced;
    case F_ALTERNATIVE:
        return &c->alternative;
    default:
        return NULL;
    }
}

static struct st_str *string_of(struct st_command *c, enum field f)
{
    switch (f) {
    case F_KEY:
        return &c->key;
    case F_PERSON:
        return &c->person;
    case F_EVIDENCE:
        return &c->evidence;
    case F_SUCCESSOR:
        return &c->successor;
    default:
        return NULL;
    }
}

/* Whether the field is other than its empty value; class, lease and outcome have none. */
static bool is_set(const struct st_command *command, enum field f)
{
    struct st_command copy = *command;
    struct st_command *c = &copy;
    if (number_of(c, f) != NULL)
        return *number_of(c, f) != 0;
    if (flag_of(c, f) != NULL)
        return *flag_of(c, f);
    if (string_of(c, f) != NULL)
        return string_of(c, f)->n != 0;
    switch (f) {
    case F_PARAMETERS:
        return c->parameters[0] != 0 || c->parameters[1] != 0;
    case F_CLASS:
        return c->class != 0;
    case F_OUTCOME:
        return c->outcome != 0;
    case F_LEASE:
        return c->lease != 0;
    case F_DEADLINE:
        return c->deadline.clock != 0 || c->deadline.ns != 0 || c->deadline.term_ns != 0;
    case F_RESULT:
        return c->result.n != 0;
    default:
        return false;
    }
}

/* Written also when zero. */
static bool is_always(enum field f)
{
    return f == F_PARAMETERS || f == F_CLASS || f == F_OUTCOME || f == F_LEASE;
}

/* --- what is valid ---------------------------------------------------------------------------- */

static enum st_code text_check(struct st_str s, size_t size_max)
{
    return s.n > size_max ? ST_LIMIT : st_value_check(s);
}

static enum st_code key_check(const struct st_command *c)
{
    bool path = c->kind == ST_CMD_RESERVE || c->kind == ST_CMD_UNRESERVE;
    bool lease = (kinds[c->kind].must & BIT(F_LEASE)) != 0;
    enum st_code code = st_name_check(c->key);
    if (code != ST_OK)
        return code;
    if (path || (lease && c->lease == ST_LEASE_PATH))
        return st_glob_check(c->key);
    return lease && c->lease == ST_LEASE_AGENT ? st_agent_check(c->key) : ST_OK;
}

static size_t result_size_max(const struct st_command *c)
{
    bool claim = c->kind == ST_CMD_CLAIM_CHECKPOINT || c->kind == ST_CMD_CLAIM_FINISH;
    return claim ? ST_CLAIM_TEXT_SIZE_MAX : ST_RESULT_SIZE_MAX;
}

static enum st_code field_check(const struct st_command *command, enum field f)
{
    struct st_command copy = *command;
    struct st_command *c = &copy;
    if (number_of(c, f) != NULL && *number_of(c, f) > ST_U53_MAX)
        return ST_LIMIT;
    switch (f) {
    case F_KEY:
        return key_check(c);
    case F_CLASS:
        return (size_t)c->class < WORDS(class_words) ? ST_OK : ST_INVALID;
    case F_OUTCOME:
        return (size_t)c->outcome < WORDS(outcome_words) ? ST_OK : ST_INVALID;
    case F_LEASE:
        return (size_t)c->lease < WORDS(lease_words) ? ST_OK : ST_INVALID;
    case F_PERSON:
    case F_SUCCESSOR:
        return st_name_check(*string_of(c, f));
    case F_EVIDENCE:
        return text_check(c->evidence, ST_EVIDENCE_SIZE_MAX);
    case F_GENERATION:
        return c->generation <= ST_GENERATION_MAX ? ST_OK : ST_LIMIT;
    case F_DEADLINE:
        return c->deadline.clock != 0 ? ST_OK : ST_INVALID;
    case F_RESULT:
        return c->result.n <= result_size_max(c) ? ST_OK : ST_LIMIT;
    default:
        return ST_OK;
    }
}

enum st_code st_command_check(const struct st_command *c, const char **what)
{
    *what = "kind";
    if (!kind_valid(c->kind))
        return ST_INVALID;
    uint32_t must = kinds[c->kind].must, may = kinds[c->kind].may | must | BIT(F_TIME);
    for (enum field f = 0; f < F_COUNT; f++) {
        enum st_code code = ST_OK;
        *what = field_names[f];
        bool set = is_set(c, f);
        if (set && (may & BIT(f)) == 0)
            return ST_INVALID;
        if (!set && !is_always(f) && (must & BIT(f)) != 0)
            return ST_INVALID;
        if (set)
            code = field_check(c, f);
        if (code != ST_OK)
            return code;
    }
    if (c->agent.n > 0) {
        *what = "agent";
        return st_agent_check(c->agent);
    }
    return ST_OK;
}

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

static void add_field(struct st_buf *out, const struct st_command *command, enum field f)
{
    struct st_command copy = *command;
    struct st_command *c = &copy;
    st_buf_add_text(out, field_keys[f]);
    if (number_of(c, f) != NULL)
        st_buf_add_u64(out, *number_of(c, f));
    else if (flag_of(c, f) != NULL)
        st_buf_add_text(out, "true");
    else if (string_of(c, f) != NULL)
        st_json_add_string(out, *string_of(c, f));
    else if (f == F_CLASS)
        st_buf_add_text(out, class_words[c->class]);
    else if (f == F_OUTCOME)
        st_buf_add_text(out, outcome_words[c->outcome]);
    else if (f == F_LEASE)
        st_buf_add_text(out, lease_words[c->lease]);
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
    st_buf_add_text(out, kinds[c->kind].name);
    st_buf_add_char(out, '"');
    for (enum field f = 0; f < F_COUNT; f++) {
        bool always = is_always(f) && (kinds[c->kind].must & BIT(f)) != 0;
        if (always || is_set(c, f))
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

static bool take_field(struct reader *r, struct st_command *c, enum field f)
{
    unsigned word = 0;
    bool ok;
    if (number_of(c, f) != NULL)
        return take_number(r, number_of(c, f));
    if (string_of(c, f) != NULL)
        return take_string(r, string_of(c, f)) && string_of(c, f)->n > 0;
    if (flag_of(c, f) != NULL) {
        *flag_of(c, f) = true;
        return take(r, "true");
    }
    switch (f) {
    case F_CLASS:
        ok = take_word(r, class_words, WORDS(class_words), &word);
        c->class = (enum st_operation_class)word;
        return ok;
    case F_OUTCOME:
        ok = take_word(r, outcome_words, WORDS(outcome_words), &word);
        c->outcome = (enum st_outcome)word;
        return ok;
    case F_LEASE:
        ok = take_word(r, lease_words, WORDS(lease_words), &word);
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
    for (unsigned k = ST_CMD_PROPOSE; k < KIND_COUNT; k++) {
        r->p = start;
        if (kinds[k].name != NULL && take(r, kinds[k].name) && take(r, "\"")) {
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
    uint32_t may = kinds[out->kind].may | kinds[out->kind].must | BIT(F_TIME);
    for (enum field f = 0; f < F_COUNT; f++) {
        if ((may & BIT(f)) == 0)
            continue;
        bool there = take(&r, field_keys[f]);
        if (!there && (kinds[out->kind].must & BIT(f)) != 0)
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
