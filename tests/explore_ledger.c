/*
 * explore_ledger.c - bounded-exhaustive exploration of the strong layer's state machine.
 *
 * One operation, three agents, up to four tokens. The machine is the production code: every
 * distinct pair of rows and command is given to st_ledger_apply() (twice, to see that it is a
 * function) and the answer kept; the exploration then walks over all interleavings of the world
 * around it:
 *
 *   - messages: a command of an agent, once sent, may arrive at any later time, any number of
 *     times; the answer to a start may arrive late, or never (the coordinator crashed behind its
 *     flush, or the message was lost; a crash before it is a message that has not arrived yet);
 *   - agents: crash at every point; the child of a dead agent may live on and have its effect
 * later;
 *   - effects: a counter outside of the machine. An agent has its effect only after the answer to
 * its start. The service may refuse; a service with keys has one effect per key while it remembers;
 *   - lapses of any token at any time, right or wrong, early or late; expiry; reissue;
 *   - persons and check commands settle with evidence that is true when given; whoever claims
 *     quiescence is right; claims without quiescence, person or evidence are made too, and must be
 *     refused;
 *   - a forced move to any earlier copy of the rows (its own scope).
 *
 * Left out by symmetry: a grant goes to the lowest idle agent (the machine only keeps the name). An
 * assumption: valid_until is set so early that what was started before it has arrived before the
 * service forgets.
 *
 * Checked on every state and every answer: the seven invariants of docs/strong.md, and that whatever
 * is carried out is a row of its table (transitions[], written from that table); at the end, that every
 * row was taken. `explore_ledger [-N] [SCOPE...]` runs all, or these; with -N (1 to 7) only that invariant
 * is judged: what a wrong variant leads to, not where it leaves the table. Exit status 1 and a trace at
 * the first violation.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <xxhash.h>

#include "core/command.h"
#include "core/memkv.h"
#include "core/state_internal.h"
#include "explore_tools.h"

#define AGENTS      3
#define TOKENS_MAX  4
#define VALUES_MAX  (2 * TOKENS_MAX + 1) /* token values: none, of two generations */
#define RUNS_MAX    2
#define VALID_UNTIL 10
#define IN_TIME     5
#define TOO_LATE    15

struct scope {
    const char *name;
    enum st_operation_class class;
    unsigned tokens;
    bool again, approval, prune, forced;
};

static const struct scope scopes[] = {
    {"naked", ST_CLASS_NAKED, 4, false, false, false, false},
    {"queryable", ST_CLASS_QUERYABLE, 4, false, false, false, false},
    {"keyed", ST_CLASS_KEYED, 4, false, false, false, false},
    {"idempotent", ST_CLASS_IDEMPOTENT, 4, false, false, false, false},
    {"naked-again", ST_CLASS_NAKED, 4, true, true, true, false},
    {"queryable-again", ST_CLASS_QUERYABLE, 4, true, true, true, false},
    {"idempotent-again", ST_CLASS_IDEMPOTENT, 3, true, true, true, false},
    {"naked-forced", ST_CLASS_NAKED, 3, true, false, false, true},
    {"keyed-forced", ST_CLASS_KEYED, 3, false, false, false, true},
    {"idempotent-forced", ST_CLASS_IDEMPOTENT, 3, false, false, false, true},
    /* The largest comes last: a defect is caught before. */
    {"keyed-again", ST_CLASS_KEYED, 4, true, true, true, false},
};

static const struct scope *now;

/* --- commands ----------------------------------------------------------------------------- */

#define COMMANDS_MAX 192

static struct st_command commands[COMMANDS_MAX];
static size_t command_count;
static uint64_t values[VALUES_MAX];

/* Indexes into commands[]; those with [v] per token value, [late] by time of day. */
static unsigned c_propose, c_other, c_approve, c_approve_agent, c_reject, c_grant, c_again,
    c_again_agent, c_prune, c_move, c_move_agent, c_clear, c_clear_agent;
static unsigned c_start[VALUES_MAX][2], c_report[VALUES_MAX], c_refuse[VALUES_MAX],
    c_renew[VALUES_MAX], c_lapse[VALUES_MAX], c_expire[VALUES_MAX], c_reissue[2];
/* settle by outcome: claims what is needed; not quiescent; nobody; check command. */
static unsigned c_settle[VALUES_MAX][3], c_settle_early[VALUES_MAX][3], c_settle_nobody[VALUES_MAX],
    c_settle_check[VALUES_MAX][3];

static unsigned command_add(struct st_command c)
{
    if (command_count == COMMANDS_MAX)
        exit(2);
    if (c.time_ms == 0)
        c.time_ms = IN_TIME;
    commands[command_count] = c;
    return (unsigned)command_count++;
}

#define KEYED(k, ...) ((struct st_command){.kind = (k), .key = ST_STR("deploy"), __VA_ARGS__})
#define PERSON        .person = ST_STR("pat")
#define EVIDENCE      .evidence = ST_STR("the log of the service")

static void commands_of_token(unsigned v)
{
    static char results[VALUES_MAX][8];
    uint64_t t = values[v];
    size_t n = (size_t)snprintf(results[v], sizeof(results[v]), "out%c%u", '\0', v);
    struct st_str result = {results[v], n};
    static const char *const said[] = {"it\0is there", "it\0is not", "it\0may go"};
    struct st_deadline d = {7, 100, 10};
    c_start[v][0] = command_add(KEYED(ST_CMD_START, .token = t));
    c_start[v][1] = command_add(KEYED(ST_CMD_START, .token = t, .time_ms = TOO_LATE));
    c_report[v] = command_add(KEYED(ST_CMD_REPORT, .token = t, .result = result));
    c_refuse[v] = command_add(KEYED(ST_CMD_REFUSE, .token = t, .evidence = ST_STR("409")));
    c_renew[v] = command_add(KEYED(ST_CMD_RENEW, .token = t, .deadline = d));
    c_lapse[v] = command_add(KEYED(ST_CMD_LAPSE, .token = t));
    c_expire[v] = command_add(KEYED(ST_CMD_EXPIRE, .token = t));
    for (unsigned o = 0; o < 3; o++) {
        struct st_command s = KEYED(ST_CMD_SETTLE, .token = t, .outcome = (enum st_outcome)o,
                                    EVIDENCE, .quiescent = true);
        s.by_check = true;
        s.result = (struct st_str){said[o], 8};
        c_settle_check[v][o] = command_add(s);
        s.by_check = false;
        s.person = ST_STR("pat");
        c_settle[v][o] = command_add(s);
        s.quiescent = false;
        c_settle_early[v][o] = command_add(s);
    }
    c_settle_nobody[v] = command_add(
        KEYED(ST_CMD_SETTLE, .token = t, .outcome = ST_OUTCOME_RETRY, EVIDENCE, .quiescent = true));
}

static void commands_build(void)
{
    struct st_deadline d = {7, 100, 10};
    struct st_command p = KEYED(ST_CMD_PROPOSE, .parameters = {1, 2}, .class = now->class);
    command_count = 0;
    if (now->class == ST_CLASS_KEYED)
        p.valid_until_ms = VALID_UNTIL;
    p.needs_approval = now->approval;
    c_propose = command_add(p);
    p.parameters[1] = 3;
    c_other = command_add(p);
    c_approve = command_add(KEYED(ST_CMD_APPROVE, PERSON));
    c_approve_agent = command_add(KEYED(ST_CMD_APPROVE, EVIDENCE));
    c_reject = command_add(KEYED(ST_CMD_REJECT, PERSON, EVIDENCE));
    c_grant = command_add(KEYED(ST_CMD_GRANT, .deadline = d, .agent = ST_STR("agent")));
    c_reissue[0] = command_add(KEYED(ST_CMD_REISSUE, .time_ms = IN_TIME));
    c_reissue[1] = command_add(KEYED(ST_CMD_REISSUE, .time_ms = TOO_LATE));
    c_again = command_add(KEYED(ST_CMD_AGAIN, PERSON, EVIDENCE));
    c_again_agent = command_add(KEYED(ST_CMD_AGAIN, EVIDENCE));
    c_prune = command_add(KEYED(ST_CMD_PRUNE, .limit_ms = 100));
    c_move = command_add((struct st_command){.kind = ST_CMD_GENERATION,
                                             .generation = 2,
                                             .forced = true,
                                             .successor = ST_STR("box"),
                                             PERSON});
    c_move_agent = command_add((struct st_command){
        .kind = ST_CMD_GENERATION, .generation = 2, .forced = true, .successor = ST_STR("box")});
    c_clear = command_add(KEYED(ST_CMD_CLEAR, PERSON, EVIDENCE, .quiescent = true));
    c_clear_agent = command_add(KEYED(ST_CMD_CLEAR, EVIDENCE, .quiescent = true));
    for (unsigned v = 0; v < VALUES_MAX; v++) {
        uint64_t generation = v == 0 ? 0 : v <= TOKENS_MAX ? 1 : 2;
        values[v] = generation << ST_TOKEN_NUMBER_BITS | (v <= TOKENS_MAX ? v : v - TOKENS_MAX);
        commands_of_token(v);
    }
}

static unsigned value_index(uint64_t token)
{
    for (unsigned v = 0; v < VALUES_MAX; v++) {
        if (values[v] == token)
            return v;
    }
    return VALUES_MAX;
}

/* --- the world ---------------------------------------------------------------------------- */

enum phase {
    PHASE_HELD,    /* the agent has a token */
    PHASE_ASKED,   /* and has sent start */
    PHASE_TOLD,    /* the answer is on its way */
    PHASE_GO,      /* the answer is here: the effect comes, or not */
    PHASE_RAN,     /* the effect was; not reported yet */
    PHASE_REFUSED, /* the service said no; not reported yet */
    PHASE_ORPHAN,  /* the agent is dead, its child is not */
    PHASE_OVER,    /* nothing more comes, but messages that were sent */
};

#define SENT_START  1U
#define SENT_REPORT 2U
#define SENT_REFUSE 4U

struct sender {
    uint8_t token; /* index of its value; 0: not given out */
    uint8_t phase : 4, agent : 4;
    uint8_t sent : 4, run : 4;
};

struct world {
    uint32_t rows, copy, undo; /* undo: 0, or 1 + the rows before a start that is not durable */
    struct sender senders[TOKENS_MAX];
    uint8_t effects[RUNS_MAX];
    uint8_t fate[RUNS_MAX]; /* how earlier runs ended */
    uint8_t run, run_moved; /* the run that a forced move left in doubt */
    bool expired;           /* the service has forgotten its keys */
    bool copied, moved;
    bool lost_runs;
};

struct node {
    struct world w;
    uint32_t parent;
    uint16_t action;
};

/* --- the machine, memoised ---------------------------------------------------------------- */

struct answer {
    uint32_t next; /* rows; UINT32_MAX: not asked yet */
    uint8_t verdict, token;
};

/* One distinct content of the store. */
struct rows {
    char *bytes;
    size_t size;
    uint8_t state; /* of the operation; of the pruned one */
    bool pruned, known, asked;
    bool approved, doubt; /* of the operation; a forced move left unknown keys in doubt */
    uint8_t token, runs, open;
    uint64_t number; /* of the last token given out */
    struct answer *answers;
};

#include "explore_rows.h"

static uint64_t applied;

static _Noreturn void violation(const char *what);

static int judged; /* an invariant; 0: all, and the table */

/* An invariant (its number first), or something else that must not be. */
static void broken(const char *what)
{
    if (judged == 0 || what[0] == '0' + judged)
        violation(what);
}

/* Every operation has one row in the index of states, and the other way round. */
static void check_index(const struct st_memkv *m, const struct rows *r)
{
    size_t operations = 0, index = 0;
    for (size_t i = 0; i < m->count; i++) {
        operations += m->rows[i].bytes[0] == 'O';
        if (m->rows[i].bytes[0] != 'Q')
            continue;
        index++;
        if ((uint8_t)m->rows[i].bytes[1] != r->state)
            violation("the index has another state");
    }
    if (operations != index || operations != (r->known ? 1 : 0))
        violation("the index of states is not complete");
}

static void rows_describe(struct st_memkv *m, struct rows *r)
{
    struct st_ledger l;
    struct st_operation o;
    enum st_operation_state state;
    uint64_t ended;
    struct st_head head;
    st_ledger_init(&l, &m->kv, &arena_alloc);
    if (st_head_read(&l, &head) != ST_OK)
        violation("a head that cannot be read");
    r->doubt = head.doubt != 0;
    r->number = head.generation << ST_TOKEN_NUMBER_BITS | head.number;
    enum st_code code = st_operation_read(&l, ST_STR("deploy"), &o);
    r->known = code == ST_OK;
    if (code == ST_OK) {
        r->state = (uint8_t)o.state;
        r->token = (uint8_t)value_index(o.token);
        r->runs = (uint8_t)o.runs;
        r->open = (uint8_t)o.open;
        r->approved = o.approved;
        if (r->token == VALUES_MAX)
            violation("a token out of nowhere");
    } else if (st_pruned_read(&l, ST_STR("deploy"), &state, &ended) == ST_OK) {
        r->pruned = true;
        r->state = (uint8_t)state;
    } else if (code != ST_NOT_FOUND) {
        violation("a row that cannot be read");
    }
    check_index(m, r);
}

static bool is_end(unsigned state)
{
    return state == ST_OPERATION_COMMITTED || state == ST_OPERATION_FAILED ||
           state == ST_OPERATION_EXPIRED;
}

/* --- the table -------------------------------------------------------------------------------- */

#define GONE 15 /* pruned */

/* Every row of the table, and what a forced move adds to it. An end is IN DOUBT instead when another
 * start is open. */
static struct transition {
    uint8_t from, to;
    enum st_command_kind command;
    bool open;  /* only with a start open beside the one that the command is about */
    bool moved; /* only after a forced move */
    bool taken; /* seen */
} transitions[] = {
    {ST_OPERATION_NONE, ST_OPERATION_PROPOSED, ST_CMD_PROPOSE, false, false, false},
    {ST_OPERATION_NONE, ST_OPERATION_IN_DOUBT, ST_CMD_PROPOSE, false, true, false},
    {ST_OPERATION_PROPOSED, ST_OPERATION_PROPOSED, ST_CMD_APPROVE, false, false, false},
    {ST_OPERATION_PROPOSED, ST_OPERATION_FAILED, ST_CMD_REJECT, false, false, false},
    {ST_OPERATION_PROPOSED, ST_OPERATION_IN_DOUBT, ST_CMD_REJECT, true, false, false},
    {ST_OPERATION_PROPOSED, ST_OPERATION_GRANTED, ST_CMD_GRANT, false, false, false},
    {ST_OPERATION_PROPOSED, ST_OPERATION_EXPIRED, ST_CMD_EXPIRE, false, false, false},
    {ST_OPERATION_PROPOSED, ST_OPERATION_IN_DOUBT, ST_CMD_EXPIRE, true, false, false},
    {ST_OPERATION_GRANTED, ST_OPERATION_PROPOSED, ST_CMD_LAPSE, false, false, false},
    {ST_OPERATION_GRANTED, ST_OPERATION_GRANTED, ST_CMD_RENEW, false, false, false},
    {ST_OPERATION_GRANTED, ST_OPERATION_EXECUTING, ST_CMD_START, false, false, false},
    {ST_OPERATION_EXECUTING, ST_OPERATION_EXECUTING, ST_CMD_RENEW, false, false, false},
    {ST_OPERATION_EXECUTING, ST_OPERATION_COMMITTED, ST_CMD_REPORT, false, false, false},
    {ST_OPERATION_IN_DOUBT, ST_OPERATION_COMMITTED, ST_CMD_REPORT, false, false, false},
    {ST_OPERATION_EXECUTING, ST_OPERATION_FAILED, ST_CMD_REFUSE, false, false, false},
    {ST_OPERATION_EXECUTING, ST_OPERATION_IN_DOUBT, ST_CMD_REFUSE, true, false, false},
    {ST_OPERATION_EXECUTING, ST_OPERATION_IN_DOUBT, ST_CMD_LAPSE, false, false, false},
    {ST_OPERATION_IN_DOUBT, ST_OPERATION_PROPOSED, ST_CMD_REISSUE, false, false, false},
    {ST_OPERATION_IN_DOUBT, ST_OPERATION_COMMITTED, ST_CMD_SETTLE, false, false, false},
    {ST_OPERATION_IN_DOUBT, ST_OPERATION_FAILED, ST_CMD_SETTLE, false, false, false},
    {ST_OPERATION_IN_DOUBT, ST_OPERATION_PROPOSED, ST_CMD_SETTLE, false, false, false},
    {ST_OPERATION_COMMITTED, ST_OPERATION_PROPOSED, ST_CMD_AGAIN, false, false, false},
    {ST_OPERATION_FAILED, ST_OPERATION_PROPOSED, ST_CMD_AGAIN, false, false, false},
    {ST_OPERATION_EXPIRED, ST_OPERATION_PROPOSED, ST_CMD_AGAIN, false, false, false},
    {ST_OPERATION_COMMITTED, ST_OPERATION_IN_DOUBT, ST_CMD_AGAIN, false, true, false},
    {ST_OPERATION_FAILED, ST_OPERATION_IN_DOUBT, ST_CMD_AGAIN, false, true, false},
    {ST_OPERATION_EXPIRED, ST_OPERATION_IN_DOUBT, ST_CMD_AGAIN, false, true, false},
    {ST_OPERATION_COMMITTED, GONE, ST_CMD_PRUNE, false, false, false},
    {ST_OPERATION_FAILED, GONE, ST_CMD_PRUNE, false, false, false},
    {ST_OPERATION_EXPIRED, GONE, ST_CMD_PRUNE, false, false, false},
};
#define TRANSITIONS (sizeof(transitions) / sizeof(transitions[0]))

static uint8_t place_of(const struct rows *r)
{
    return r->pruned ? GONE : r->known ? r->state : ST_OPERATION_NONE;
}

/* Starts that are open beside the one that is refused. */
static bool another_open(const struct rows *r, const struct st_command *c)
{
    return r->open > (c->kind == ST_CMD_REFUSE ? 1 : 0);
}

/* Of a command that was carried out. */
static void check_transition(const struct rows *r, const struct st_command *c,
                             const struct rows *after)
{
    uint8_t from = place_of(r), to = place_of(after);
    if (c->kind == ST_CMD_GENERATION || c->kind == ST_CMD_CLEAR) {
        bool doubted = c->forced && from != to && !is_end(from) && from != GONE &&
                       from != ST_OPERATION_NONE && to == ST_OPERATION_IN_DOUBT;
        if (from != to && !doubted)
            broken("a move of the log changed an operation, but not to doubt");
        return;
    }
    if (from == to && c->kind == ST_CMD_PRUNE)
        return; /* of none */
    for (size_t i = 0; i < TRANSITIONS; i++) {
        struct transition *t = &transitions[i];
        if (t->from != from || t->to != to || t->command != c->kind || (t->moved && !r->doubt) ||
            (t->open && !another_open(r, c)))
            continue;
        t->taken = true;
        return;
    }
    broken("not a row of the table");
}

static bool all_taken(void)
{
    size_t taken = 0;
    for (size_t i = 0; i < TRANSITIONS; i++) {
        taken += transitions[i].taken;
        if (!transitions[i].taken)
            fprintf(stderr, "never taken: state %u, %s, state %u\n", transitions[i].from,
                    st_command_name(transitions[i].command), transitions[i].to);
    }
    printf("%zu of the %zu rows of the table taken\n", taken, TRANSITIONS);
    return taken == TRANSITIONS;
}

static bool has_token(const struct st_command *c)
{
    switch (c->kind) {
    case ST_CMD_START:
    case ST_CMD_RENEW:
    case ST_CMD_REPORT:
    case ST_CMD_REFUSE:
    case ST_CMD_LAPSE:
    case ST_CMD_EXPIRE:
    case ST_CMD_SETTLE:
        return true;
    default:
        return false;
    }
}

static bool for_persons(const struct st_command *c)
{
    return c->kind == ST_CMD_SETTLE || c->kind == ST_CMD_APPROVE || c->kind == ST_CMD_REJECT ||
           c->kind == ST_CMD_AGAIN || c->kind == ST_CMD_CLEAR || c->forced;
}

/* What is asked of one answer, whatever the world. */
static void check_answer(const struct rows *r, const struct st_command *c, struct st_ledger *l,
                         const struct st_ledger_result *result, const struct rows *after)
{
    bool done = result->verdict == ST_VERDICT_DONE;
    struct st_operation o;
    if (!done && after != r)
        broken("refused, and yet changed");
    if (done)
        check_transition(r, c, after);
    if (done && c->kind == ST_CMD_GRANT && result->token <= r->number)
        broken("5: a token that is not new");
    if (done && c->kind == ST_CMD_GRANT && now->approval && !r->approved)
        broken("granted without approval");
    if (done && c->kind == ST_CMD_AGAIN && after->approved)
        broken("a second run without an approval of its own");
    if (done && c->kind == ST_CMD_REFUSE &&
        (st_operation_read(l, c->key, &o) != ST_OK || !st_str_equal(o.evidence, c->evidence)))
        broken("7: a refusal whose proof is not kept");
    if (is_end(r->state) && c->kind != ST_CMD_AGAIN && c->kind != ST_CMD_PRUNE && after != r &&
        c->kind != ST_CMD_GENERATION)
        broken("6: an end does not absorb");
    if (r->known && c->kind == ST_CMD_PROPOSE &&
        result->verdict != (c->parameters[1] == 2 ? ST_VERDICT_SAME : ST_VERDICT_MISMATCH))
        broken("6: a replay, or a mismatch, not told");
    if (r->pruned && done && c->kind != ST_CMD_GENERATION)
        broken("6: a pruned key came back");
    if (done && after->pruned && !is_end(after->state))
        broken("an operation is gone before anybody settled it");
    if (done && has_token(c) && c->token != values[r->token])
        broken("4: a command with another token than the current one is carried out");
    if (done && for_persons(c) && c->person.n == 0 &&
        !(c->by_check && now->class == ST_CLASS_QUERYABLE))
        broken("7: settled by nobody");
    if (done && c->kind == ST_CMD_SETTLE &&
        (st_operation_read(l, c->key, &o) != ST_OK || !st_str_equal(o.evidence, c->evidence) ||
         !st_str_equal(o.person, c->person) || !st_str_equal(o.result, c->result)))
        broken("7: a settlement that does not name who and why");
    if (after->known && after->state == ST_OPERATION_COMMITTED && c->kind == ST_CMD_REPORT &&
        (st_operation_read(l, c->key, &o) != ST_OK ||
         (result->verdict != ST_VERDICT_REFUSED && result->verdict != ST_VERDICT_STALE &&
          !st_str_equal(o.result, c->result))))
        broken("6: another result than the reported one");
}

static const struct st_command *asked; /* for messages */

static bool same_result(const struct st_ledger_result *a, const struct st_ledger_result *b)
{
    return a->verdict == b->verdict && a->token == b->token && a->state == b->state &&
           a->before == b->before && a->count == b->count;
}

static struct answer ask(uint32_t id, unsigned command)
{
    if (rows[id].answers[command].next != UINT32_MAX)
        return rows[id].answers[command];
    struct st_memkv m;
    struct st_ledger l;
    struct st_ledger_result result[2];
    uint32_t next[2];
    asked = &commands[command];
    for (int i = 0; i < 2; i++) {
        rows_load(&rows[id], &m);
        st_ledger_init(&l, &m.kv, &arena_alloc);
        if (st_ledger_apply(&l, asked, &result[i]) != ST_OK)
            violation("a command that cannot be applied");
        next[i] = rows_intern(&m, command_count);
        applied++;
    }
    if (next[0] != next[1] || !same_result(&result[0], &result[1]))
        violation("not a function");
    if (result[0].verdict == ST_VERDICT_INVALID)
        violation("a command of this test is not valid");
    check_answer(&rows[id], asked, &l, &result[0], &rows[next[0]]);
    struct answer a = {next[0], (uint8_t)result[0].verdict, (uint8_t)value_index(result[0].token)};
    rows[id].answers[command] = a;
    return a;
}

/* --- what happens ------------------------------------------------------------------------- */

/* An action for the trace: a command, or what happens outside. */
enum happening {
    H_LOST = COMMANDS_MAX, /* + command: carried out, but the answer is lost */
    H_OUTSIDE = 2 * COMMANDS_MAX,
    H_ASK = H_OUTSIDE,
    H_TOLD = H_ASK + TOKENS_MAX,
    H_EFFECT = H_TOLD + TOKENS_MAX,
    H_NO_EFFECT = H_EFFECT + TOKENS_MAX,
    H_REPORT = H_NO_EFFECT + TOKENS_MAX,
    H_CRASH = H_REPORT + TOKENS_MAX,
    H_CRASH_CHILD = H_CRASH + TOKENS_MAX,
    H_FORGET = H_CRASH_CHILD + TOKENS_MAX,
    H_COPY,
    H_POWER_CUT,
};

static void print_action(unsigned a)
{
    static const char *const outside[] = {"asks to start",           "hears that it may go",
                                          "has its effect",          "is refused by the service",
                                          "sends its report",        "is dead",
                                          "is dead, its child lives"};
    if (a >= H_FORGET) {
        fprintf(stderr, "  %s\n",
                a == H_FORGET ? "the service forgets keys"
                : a == H_COPY ? "the coordinator is copied"
                              : "power cut");
    } else if (a >= H_OUTSIDE) {
        fprintf(stderr, "  sender %u %s\n", (a - H_OUTSIDE) % TOKENS_MAX,
                outside[(a - H_OUTSIDE) / TOKENS_MAX]);
    } else {
        const struct st_command *c = &commands[a % COMMANDS_MAX];
        fprintf(stderr, "  %s token %" PRIx64 "%s%s%s%s\n", st_command_name(c->kind), c->token,
                c->kind == ST_CMD_SETTLE
                    ? (const char *[]){" committed", " failed", " retry"}[c->outcome]
                    : "",
                c->quiescent ? " quiescent" : "", c->by_check ? " by check" : "",
                a >= H_LOST ? ", and the answer is lost" : "");
    }
}

static void print_trace(size_t node)
{
    if (node == 0)
        return;
    print_trace(nodes[node].parent);
    print_action(nodes[node].action);
}

static _Noreturn void violation(const char *what)
{
    printf("VIOLATION in %s: %s\n", now->name, what);
    fflush(stdout);
    if (node_count > 0)
        print_trace(node_now);
    if (asked != NULL)
        fprintf(stderr, "last asked: %s\n", st_command_name(asked->kind));
    exit(1);
}

/* --- invariants --------------------------------------------------------------------------- */

static void check_fate(const struct world *w, unsigned run, unsigned state)
{
    if (state == ST_OPERATION_COMMITTED && w->effects[run] == 0)
        broken("2: committed without an effect");
    if ((state == ST_OPERATION_FAILED || state == ST_OPERATION_EXPIRED) && w->effects[run] > 0)
        broken("3: failed or expired, with an effect");
}

static void check_senders(const struct world *w)
{
    const struct rows *r = &rows[w->rows];
    unsigned holders = 0;
    for (unsigned i = 0; i < TOKENS_MAX; i++) {
        const struct sender *s = &w->senders[i];
        holders += s->token != 0 && s->token == r->token && s->phase < PHASE_ORPHAN;
    }
    if (holders > 1)
        broken("4: two senders with the current token");
}

static void check_world(const struct world *w)
{
    for (unsigned run = 0; run < RUNS_MAX; run++) {
        unsigned asked_for = w->lost_runs && run == w->run_moved ? 2 : 1;
        if (w->effects[run] > asked_for && now->class != ST_CLASS_IDEMPOTENT)
            broken("1: a second effect");
        check_fate(w, run, w->fate[run]);
    }
    check_fate(w, w->run, rows[w->rows].state);
    check_senders(w);
}

/* --- steps -------------------------------------------------------------------------------- */

static void reach(const struct world *w, unsigned action)
{
    node_add(w, (struct node){.action = (uint16_t)action});
}

/* A command that is carried out; false when it changes nothing. */
static bool carry_out(struct world *w, unsigned command, struct answer *a)
{
    *a = ask(w->rows, command);
    if (a->verdict != ST_VERDICT_DONE)
        return false;
    w->rows = a->next;
    w->undo = 0; /* later commands flush what came before */
    return true;
}

static void command_only(const struct world *from, unsigned command)
{
    struct world w = *from;
    struct answer a;
    if (carry_out(&w, command, &a))
        reach(&w, command);
}

static void step_grant(const struct world *from)
{
    struct world w = *from;
    struct answer a;
    unsigned i = 0;
    unsigned busy = 0;
    while (i < now->tokens && w.senders[i].token != 0) {
        if (w.senders[i].phase < PHASE_ORPHAN)
            busy |= 1U << w.senders[i].agent;
        i++;
    }
    if (i == now->tokens || busy == (1U << AGENTS) - 1)
        return;
    if (!carry_out(&w, c_grant, &a))
        return;
    for (unsigned k = 0; k < i; k++) {
        if (values[a.token] <= values[w.senders[k].token])
            broken("5: a token does not grow");
    }
    w.senders[i] = (struct sender){.token = a.token, .run = (unsigned char)(w.run & 15U)};
    while ((busy & 1U << w.senders[i].agent) != 0)
        w.senders[i].agent++;
    reach(&w, c_grant);
    w.senders[i].phase = PHASE_OVER;
    w.senders[i].agent = 0;
    reach(&w, H_LOST + c_grant);
}

static void step_start(const struct world *from, unsigned i)
{
    struct world w = *from;
    struct answer a;
    unsigned command = c_start[w.senders[i].token][w.expired];
    if (!carry_out(&w, command, &a))
        return;
#ifdef ST_DEFECT_START_NOT_DURABLE
    w.undo = 1 + from->rows;
#endif
    reach(&w, H_LOST + command);
    if (w.senders[i].phase == PHASE_ASKED) {
        w.senders[i].phase = PHASE_TOLD;
        reach(&w, command);
    }
}

static void over(struct sender *s)
{
    s->phase = PHASE_OVER;
    s->agent = 0; /* nothing depends on it any more */
}

static void have_effect(struct world *w, const struct sender *s)
{
    uint8_t *count = &w->effects[s->run];
    if (now->class == ST_CLASS_KEYED && !w->expired && *count > 0)
        return;
    if (*count < 3) /* more are no worse */
        ++*count;
}

/* What an agent or its child does. */
static void step_sender(const struct world *from, unsigned i)
{
    struct world w = *from;
    struct sender *s = &w.senders[i];
    switch (s->phase) {
    case PHASE_HELD:
        s->phase = PHASE_ASKED;
        s->sent |= SENT_START;
        reach(&w, H_ASK + i);
        break;
    case PHASE_TOLD:
        s->phase = PHASE_GO;
        reach(&w, H_TOLD + i);
        break;
    case PHASE_GO:
        have_effect(&w, s);
        s->phase = PHASE_RAN;
        reach(&w, H_EFFECT + i);
        w = *from;
        s->phase = PHASE_REFUSED;
        reach(&w, H_NO_EFFECT + i);
        w = *from;
        s->phase = PHASE_ORPHAN;
        s->agent = 0;
        reach(&w, H_CRASH_CHILD + i);
        break;
    case PHASE_RAN:
    case PHASE_REFUSED:
        s->sent |= (s->phase == PHASE_RAN ? SENT_REPORT : SENT_REFUSE) & 15;
        over(s);
        reach(&w, H_REPORT + i);
        break;
    case PHASE_ORPHAN:
        have_effect(&w, s);
        over(s);
        reach(&w, H_EFFECT + i);
        break;
    default:
        return;
    }
    w = *from;
    over(s);
    reach(&w, H_CRASH + i);
}

static void step_messages(const struct world *w, unsigned i)
{
    const struct sender *s = &w->senders[i];
    if ((s->sent & SENT_START) != 0)
        step_start(w, i);
    if ((s->sent & SENT_REPORT) != 0)
        command_only(w, c_report[s->token]);
    if ((s->sent & SENT_REFUSE) != 0)
        command_only(w, c_refuse[s->token]);
    command_only(w, c_renew[s->token]);
    command_only(w, c_lapse[s->token]);
}

/* Nothing that was started can still have an effect. */
static bool is_quiet(const struct world *w)
{
    for (unsigned i = 0; i < TOKENS_MAX; i++) {
        const struct sender *s = &w->senders[i];
        if (s->token != 0 &&
            (s->phase == PHASE_TOLD || s->phase == PHASE_GO || s->phase == PHASE_ORPHAN))
            return false;
    }
    return true;
}

static void step_settle(const struct world *w)
{
    unsigned v = rows[w->rows].token;
    for (unsigned o = 0; o < 3; o++) {
        if ((o == ST_OUTCOME_COMMITTED) != (w->effects[w->run] > 0))
            continue; /* evidence is true */
        command_only(w, c_settle_early[v][o]);
        if (!is_quiet(w))
            continue;
        command_only(w, c_settle[v][o]);
        command_only(w, c_settle_check[v][o]);
    }
    command_only(w, c_settle_nobody[v]);
}

static void step_again(const struct world *from)
{
    struct world w = *from;
    struct answer a;
    command_only(from, c_again_agent);
    if (!now->again || rows[w.rows].runs >= RUNS_MAX)
        return;
    uint8_t state = rows[w.rows].state;
    if (!carry_out(&w, c_again, &a))
        return;
    w.fate[w.run] = state;
    w.run = (uint8_t)(rows[w.rows].runs - 1);
    reach(&w, c_again);
}

/* A run that the copy does not know becomes part of the doubt about the last one that it knows: its
 * effects are among those to settle, and a person had asked for one more. */
static void fold_run(struct world *w, unsigned run)
{
    w->effects[w->run] = (uint8_t)(w->effects[w->run] + w->effects[run]);
    w->effects[run] = 0;
    w->lost_runs = true;
    for (unsigned i = 0; i < TOKENS_MAX; i++) {
        if (w->senders[i].run == run)
            w->senders[i].run = w->run & 15U;
    }
}

static void step_move(const struct world *from)
{
    struct world w = *from;
    struct answer a;
    if (!w.copied) {
        w.copy = w.rows;
        w.copied = true;
        reach(&w, H_COPY);
        w = *from;
    }
    if (w.moved)
        return;
    w.rows = w.copy;
    command_only(&w, c_move_agent);
    if (!carry_out(&w, c_move, &a))
        return;
    w.moved = true;
    w.copied = true;
    w.copy = 0;
    /* What the copy did not know is not promised any more; it is in doubt. */
    w.run = rows[w.rows].known ? (uint8_t)(rows[w.rows].runs - 1) : 0;
    w.run_moved = w.run;
    for (unsigned run = w.run; run < RUNS_MAX; run++)
        w.fate[run] = 0;
    /* When the copy knows its last run to have ended, a lost one is the next, also here. */
    for (unsigned run = w.run + 1U; run <= from->run && !is_end(rows[w.rows].state); run++)
        fold_run(&w, run);
    reach(&w, c_move);
}

static void step_clear(const struct world *w)
{
    command_only(w, c_clear_agent);
    if (w->effects[0] == 0 && is_quiet(w) && !rows[w->rows].known)
        command_only(w, c_clear);
}

/* What nobody in this world would say, or not now, is asked too: for the checks of the answer. */
static void ask_everything(uint32_t id)
{
    if (rows[id].asked)
        return;
    rows[id].asked = true;
    for (unsigned i = 0; i < command_count; i++) {
        const char *what;
        if (i == c_grant || (i == c_other && !rows[id].known))
            continue; /* beyond the scope */
        if (st_command_check(&commands[i], &what) == ST_OK)
            (void)ask(id, i);
    }
}

static void step_world(const struct world *w)
{
    bool keyed = now->class == ST_CLASS_KEYED;
    ask_everything(w->rows);
    command_only(w, c_propose);
    if (rows[w->rows].known)
        command_only(w, c_other); /* the same key with other parameters */
    if (now->approval) {
        command_only(w, c_approve);
        command_only(w, c_approve_agent);
        command_only(w, c_reject);
    }
    step_grant(w);
    command_only(w, c_expire[rows[w->rows].token]);
    command_only(w, c_reissue[w->expired]);
    step_settle(w);
    step_again(w);
    if (now->prune)
        command_only(w, c_prune);
    if (now->forced) {
        step_move(w);
        step_clear(w);
    }
    if (keyed && !w->expired && is_quiet(w)) {
        struct world later = *w;
        later.expired = true;
        reach(&later, H_FORGET);
    }
    if (w->undo != 0) {
        struct world back = *w;
        back.rows = w->undo - 1;
        back.undo = 0;
        reach(&back, H_POWER_CUT);
    }
    for (unsigned i = 0; i < now->tokens && w->senders[i].token != 0; i++) {
        step_sender(w, i);
        step_messages(w, i);
    }
}

/* --- running ------------------------------------------------------------------------------ */

/* Rows of generation 1, after a planned move: so that a forced one is not the first. */
static uint32_t first_rows(void)
{
    struct st_memkv m;
    struct st_ledger l;
    struct st_ledger_result result;
    struct st_command seal = {
        .kind = ST_CMD_SEAL, .successor = ST_STR("desk"), .position = 1, .time_ms = 1};
    struct st_command go = {.kind = ST_CMD_GENERATION,
                            .successor = ST_STR("desk"),
                            .position = 1,
                            .generation = 1,
                            .time_ms = 1};
    arena_used = 0;
    st_memkv_init(&m, &arena_alloc);
    st_ledger_init(&l, &m.kv, &arena_alloc);
    if (st_ledger_apply(&l, &seal, &result) != ST_OK || result.verdict != ST_VERDICT_DONE ||
        st_ledger_apply(&l, &go, &result) != ST_OK || result.verdict != ST_VERDICT_DONE)
        violation("a planned move is refused");
    return rows_intern(&m, command_count);
}

static void run_scope(const struct scope *s)
{
    clock_t start = clock();
    now = s;
    asked = NULL;
    explored_forget();
    commands_build();
    struct world w;
    memset(&w, 0, sizeof(w));
    w.rows = first_rows();
    w.copy = now->forced ? w.rows : 0;
    reach(&w, 0);
    for (node_now = 0; node_now < node_count; node_now++) {
        struct world from = nodes[node_now].w;
        step_world(&from);
    }
    printf("%-18s %u tokens: %9zu states, %5zu row contents, %7" PRIu64
           " commands applied, %.1f s\n",
           s->name, s->tokens, node_count, rows_count, applied,
           (double)(clock() - start) / CLOCKS_PER_SEC);
    fflush(stdout);
    applied = 0;
}

static bool wanted(const char *name, int count, char **names)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return count == 0;
}

int main(int argc, char **argv)
{
    int ran = 0;
    argc--, argv++;
    if (argc > 0 && argv[0][0] == '-') {
        judged = atoi(argv[0] + 1);
        argc--, argv++;
    }
    for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
        if (!wanted(scopes[i].name, argc, argv))
            continue;
        run_scope(&scopes[i]);
        ran++;
    }
    explored_forget();
    free(nodes);
    free(rows);
    if (argc > 0 && ran != argc) {
        fprintf(stderr, "explore_ledger: no such scope\n");
        return 2;
    }
    return argc > 0 || judged != 0 || all_taken() ? 0 : 1;
}
