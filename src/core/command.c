/*
 * command.c - commands of the strong layer: what a valid one is.
 *
 * One table says which fields each kind has and which of them it must have; check, encoder and
 * decoder (command_codec.c) all follow it, so they cannot differ.
 */
#include "core/command_internal.h"
#include "core/glob.h"
#include "core/record_internal.h"

const char *const st_command_keys[F_COUNT] = {
    ",\"t\":",  ",\"k\":",  ",\"n\":",  ",\"h\":", ",\"c\":",  ",\"v\":",  ",\"ap\":", ",\"oc\":",
    ",\"l\":",  ",\"to\":", ",\"sh\":", ",\"q\":", ",\"ck\":", ",\"by\":", ",\"ev\":", ",\"li\":",
    ",\"su\":", ",\"g\":",  ",\"p\":",  ",\"f\":", ",\"al\":", ",\"ru\":", ",\"d\":",  ",\"re\":",
};
/* For messages. */
static const char *const field_names[F_COUNT] = {
    "time",     "key",     "token",       "parameters", "class",     "validity",
    "approval", "outcome", "lease",       "takeover",   "shared",    "quiescent",
    "by check", "person",  "evidence",    "limit",      "successor", "generation",
    "position", "forced",  "alternative", "run",        "deadline",  "result",
};

#define KEY BIT(F_KEY)

const struct st_command_kind_fields st_command_kinds[ST_COMMAND_KINDS] = {
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

const char *const st_command_classes[ST_COMMAND_CLASSES] = {"\"naked\"", "\"keyed\"",
                                                            "\"queryable\"", "\"idempotent\""};
const char *const st_command_leases[ST_COMMAND_LEASES] = {"\"lock\"", "\"claim\"", "\"agent\"",
                                                          "\"path\""};
const char *const st_command_outcomes[ST_COMMAND_OUTCOMES] = {"\"committed\"", "\"failed\"",
                                                              "\"retry\""};

const char *st_command_name(enum st_command_kind k)
{
    return k >= ST_CMD_PROPOSE && (size_t)k < ST_COMMAND_KINDS ? st_command_kinds[k].name
                                                               : "unknown";
}

static bool kind_valid(enum st_command_kind k)
{
    return k >= ST_CMD_PROPOSE && (size_t)k < ST_COMMAND_KINDS && st_command_kinds[k].name != NULL;
}

/* --- fields by number ------------------------------------------------------------------------- */

uint64_t *st_command_number(struct st_command *c, enum st_command_field f)
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

bool *st_command_flag(struct st_command *c, enum st_command_field f)
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

struct st_str *st_command_string(struct st_command *c, enum st_command_field f)
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

bool st_command_is_set(const struct st_command *command, enum st_command_field f)
{
    struct st_command copy = *command;
    struct st_command *c = &copy;
    if (st_command_number(c, f) != NULL)
        return *st_command_number(c, f) != 0;
    if (st_command_flag(c, f) != NULL)
        return *st_command_flag(c, f);
    if (st_command_string(c, f) != NULL)
        return st_command_string(c, f)->n != 0;
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

bool st_command_is_always(enum st_command_field f)
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
    bool lease = (st_command_kinds[c->kind].must & BIT(F_LEASE)) != 0;
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

static enum st_code field_check(const struct st_command *command, enum st_command_field f)
{
    struct st_command copy = *command;
    struct st_command *c = &copy;
    if (st_command_number(c, f) != NULL && *st_command_number(c, f) > ST_U53_MAX)
        return ST_LIMIT;
    switch (f) {
    case F_KEY:
        return key_check(c);
    case F_CLASS:
        return (size_t)c->class < ST_COMMAND_CLASSES ? ST_OK : ST_INVALID;
    case F_OUTCOME:
        return (size_t)c->outcome < ST_COMMAND_OUTCOMES ? ST_OK : ST_INVALID;
    case F_LEASE:
        return (size_t)c->lease < ST_COMMAND_LEASES ? ST_OK : ST_INVALID;
    case F_PERSON:
    case F_SUCCESSOR:
        return st_name_check(*st_command_string(c, f));
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
    uint32_t must = st_command_kinds[c->kind].must,
             may = st_command_kinds[c->kind].may | must | BIT(F_TIME);
    for (enum st_command_field f = 0; f < F_COUNT; f++) {
        enum st_code code = ST_OK;
        *what = field_names[f];
        bool set = st_command_is_set(c, f);
        if (set && (may & BIT(f)) == 0)
            return ST_INVALID;
        if (!set && !st_command_is_always(f) && (must & BIT(f)) != 0)
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
