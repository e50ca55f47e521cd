/*
 * explore_claims.c - bounded-exhaustive exploration of claims and their outbox.
 *
 * One or two tasks, three agents, up to four tokens. The machine is the production code
 * (st_ledger_apply); around it, in every order:
 *
 *   - agents take the first free one of the tasks, or a certain one, in one entry; the answer
 *     arrives or is lost; they send checkpoints and one end: done, failed, given back (finish),
 *     released, or done and take the next in one entry; they crash at every point. What was sent
 *     may arrive at any later time, any number of times;
 *   - lapses of any token at any time, right or wrong; reopenings with any token;
 *   - a copier takes the lock, reads the outbox, writes each record into the channel, says how far
 *     it came; it crashes at every point, and what it said may arrive late, again, or never.
 *
 * Left out by symmetry: which agent has which token (only how many are busy). Left out because
 * check_answer() shows that they change nothing: messages with a token that is not current any
 * more, renewals (all have one deadline), and what a copier said of positions that are gone.
 * Bounds: the number of tokens and of changes to copy, by scope.
 *
 * Checked on every state and every answer:
 *
 *   (1) of a task at most one outcome is accepted between two reopenings, and nobody is given it
 * then;
 *
 *   (2) at most one agent believes to hold the current token of a task;
 *
 *   (3) tokens only grow; another than the current one changes nothing; what is refused changes
 *   nothing;
 *
 *   (4) one entry gives at most one task, the first of its list that was free;
 *
 *   (5) a change that the channel does not show is in the outbox, once; the channel never goes
 * back;
 *
 *   (6) who gave back, or was given nothing, ends nothing; who ended a task does not end it again, after it
 *   was reopened;
 *
 *   (7) the index of what is held names just that.
 *
 * Exit status 1 and a trace at the first violation.
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

#define NAMES      2
#define AGENTS     3
#define TOKENS     4
#define COPIES_MAX 7

static const struct scope {
    const char *name;
    unsigned names, tokens, copies;
    bool checkpoints, copier;
    unsigned ends; /* of SENT_DONE ... */
} scopes[] = {
    {"one-task", 1, 4, 5, true, true, 0x7c},
    {"two-tasks", 2, 4, COPIES_MAX, false, false, 0x7c},
    {"two-tasks-copied", 2, 2, 3, true, true, 0x5c},
};

static const struct scope *now;

/* --- entries ---------------------------------------------------------------------------------- */

#define ENTRY_MAX   3
#define ENTRIES_MAX 128

struct entry {
    struct st_command commands[ENTRY_MAX];
    unsigned count;
};

static struct entry entries[ENTRIES_MAX];
static unsigned entry_count;
static unsigned e_take, e_take_one[NAMES];
static unsigned e_checkpoint[NAMES][TOKENS + 1], e_renew[NAMES][TOKENS + 1],
    e_finish[NAMES][TOKENS + 1][3], e_release[NAMES][TOKENS + 1], e_next[NAMES][TOKENS + 1],
    e_lapse[NAMES][TOKENS + 1], e_reopen[NAMES][TOKENS + 1], e_copied[COPIES_MAX + 1];

static const struct st_deadline term = {7, 100, 10};

static struct st_str name_of(unsigned n)
{
    return n == 0 ? ST_STR("#1") : ST_STR("#2");
}

static void put(struct st_command c)
{
    struct entry *e = &entries[entry_count];
    c.time_ms = 5;
    e->commands[e->count++] = c;
}

static void put_acquire(unsigned n)
{
    put((struct st_command){.kind = ST_CMD_LEASE_ACQUIRE,
                            .key = name_of(n),
                            .lease = ST_LEASE_CLAIM,
                            .agent = ST_STR("agent"),
                            .alternative = true,
                            .deadline = term});
}

static void put_lease(enum st_command_kind kind, unsigned n, uint64_t token)
{
    struct st_command c = {
        .kind = kind, .key = name_of(n), .lease = ST_LEASE_CLAIM, .token = token};
    if (kind == ST_CMD_LEASE_RENEW)
        c.deadline = term;
    put(c);
}

static void put_claim(enum st_command_kind kind, unsigned n, uint64_t token, unsigned outcome)
{
    struct st_command c = {
        .kind = kind, .key = name_of(n), .token = token, .agent = ST_STR("agent")};
    if (kind == ST_CMD_CLAIM_CHECKPOINT)
        c.deadline = term;
    if (kind == ST_CMD_CLAIM_FINISH) {
        c.outcome = (enum st_outcome)outcome;
        c.result = ST_STR("result");
    }
    put(c);
}

static unsigned end_entry(void)
{
    if (entry_count + 1 == ENTRIES_MAX)
        exit(2);
    return entry_count++;
}

static void entries_build(void)
{
    put_acquire(0);
    put_acquire(1);
    e_take = end_entry();
    for (unsigned n = 0; n < NAMES; n++) {
        put_acquire(n);
        e_take_one[n] = end_entry();
        for (uint64_t t = 1; t <= TOKENS; t++) {
            put_claim(ST_CMD_CLAIM_CHECKPOINT, n, t, 0);
            e_checkpoint[n][t] = end_entry();
            put_lease(ST_CMD_LEASE_RENEW, n, t);
            e_renew[n][t] = end_entry();
            put_lease(ST_CMD_LEASE_RELEASE, n, t);
            e_release[n][t] = end_entry();
            put_lease(ST_CMD_LEASE_LAPSE, n, t);
            e_lapse[n][t] = end_entry();
            put_claim(ST_CMD_CLAIM_REOPEN, n, t, 0);
            e_reopen[n][t] = end_entry();
            for (unsigned o = 0; o < 3; o++) {
                put_claim(ST_CMD_CLAIM_FINISH, n, t, o);
                e_finish[n][t][o] = end_entry();
            }
            put_claim(ST_CMD_CLAIM_FINISH, n, t, ST_OUTCOME_COMMITTED);
            for (unsigned other = 0; other < now->names; other++)
                put_acquire(other);
            e_next[n][t] = end_entry();
        }
    }
    for (uint64_t p = 1; p <= COPIES_MAX; p++) {
        put((struct st_command){.kind = ST_CMD_CLAIM_COPIED, .position = p});
        e_copied[p] = end_entry();
    }
}

/* --- the world -------------------------------------------------------------------------------- */

#define SENT_CHECKPOINT 1U
#define SENT_DONE       4U
#define SENT_FAILED     8U
#define SENT_RETRY      16U
#define SENT_RELEASE    32U
#define SENT_NEXT       64U

/* Who was given token i + 1. */
struct sender {
    uint8_t given : 1, name : 1, believes : 1; /* believes: alive, knows, has not ended it */
    uint8_t ended : 1;                         /* its outcome was accepted */
    uint8_t sent;
};

struct world {
    uint32_t rows;
    struct sender senders[TOKENS];
    uint8_t accepted[NAMES]; /* outcomes since the last reopening */
    uint8_t channel[NAMES];  /* position that the channel shows */
    uint8_t snapshot[NAMES]; /* what the copier has read and not yet written; 0: nothing */
    uint8_t copying;         /* 0: idle, else 1 + the highest position that it has read */
    uint8_t told;            /* set of positions that were said to be copied */
};

struct node {
    struct world w;
    uint32_t parent;
    const char *what;
    uint16_t entry;
};

/* --- the machine, memoised -------------------------------------------------------------------- */

struct answer {
    uint32_t next; /* rows; UINT32_MAX: not asked yet */
    uint8_t verdicts[ENTRY_MAX], tokens[ENTRY_MAX];
};

/* One distinct content of the store, and what it says. */
struct rows {
    char *bytes;
    size_t size;
    uint8_t token[NAMES], outcome[NAMES], position[NAMES];
    bool held[NAMES], noted[NAMES], asked;
    uint8_t last, copies;
    struct answer *answers;
};

#include "explore_rows.h"

static uint64_t applied;

static _Noreturn void violation(const char *what);

static unsigned number_of(struct st_str name)
{
    return st_str_equal(name, name_of(0)) ? 0 : 1;
}

static enum st_code see_note(void *arg, struct st_str name, const struct st_claim_kept *kept)
{
    struct rows *r = arg;
    if (r->noted[number_of(name)] || kept->position != r->position[number_of(name)])
        violation("5: two outbox rows of one task, or an old one");
    r->noted[number_of(name)] = true;
    return ST_OK;
}

static enum st_code see_held(void *arg, const struct st_lease *lease)
{
    unsigned *count = arg;
    (void)lease;
    ++*count;
    return ST_OK;
}

static void rows_describe(struct st_memkv *m, struct rows *r)
{
    struct st_ledger l;
    struct st_head h;
    unsigned held = 0, in_index = 0;
    st_ledger_init(&l, &m->kv, &arena_alloc);
    if (st_head_read(&l, &h) != ST_OK)
        violation("a head that cannot be read");
    r->last = (uint8_t)h.number;
    r->copies = (uint8_t)h.copies;
    for (unsigned n = 0; n < NAMES; n++) {
        struct st_lease lease;
        struct st_claim_kept kept;
        if (st_lease_read(&l, ST_LEASE_CLAIM, name_of(n), &lease) != ST_OK)
            continue;
        r->token[n] = (uint8_t)lease.token;
        r->held[n] = lease.held;
        r->outcome[n] = (uint8_t)lease.outcome;
        held += lease.held;
        if (st_claim_kept_read(&l, name_of(n), &kept) == ST_OK)
            r->position[n] = (uint8_t)kept.position;
        if (lease.token > h.number)
            violation("3: a token out of nowhere");
    }
    if (st_claim_uncopied_each(&l, 0, see_note, r) != ST_OK ||
        st_claim_held_each(&l, ST_STR("agent"), see_held, &in_index) != ST_OK)
        violation("7: an index names what is not there");
    if (held != in_index)
        violation("7: the index of what is held is not complete");
}

static bool needs_current(enum st_command_kind k)
{
    return k == ST_CMD_CLAIM_CHECKPOINT || k == ST_CMD_CLAIM_FINISH || k == ST_CMD_LEASE_RENEW ||
           k == ST_CMD_LEASE_RELEASE || k == ST_CMD_LEASE_LAPSE || k == ST_CMD_CLAIM_REOPEN;
}

/* What is asked of one answer, whatever the world. */
static void check_answer(const struct rows *r, const struct entry *e, const struct answer *a,
                         const struct rows *after)
{
    bool any = false, given = false;
    for (unsigned i = 0; i < e->count; i++) {
        const struct st_command *c = &e->commands[i];
        unsigned n = number_of(c->key);
        bool done = a->verdicts[i] == ST_VERDICT_DONE;
        any = any || done;
        if (a->verdicts[i] == ST_VERDICT_INVALID)
            violation("a command of this test is not valid");
        if (done && needs_current(c->kind) && c->token != r->token[n])
            violation("3: a command with another token than the current one is carried out");
        if (done && c->kind == ST_CMD_CLAIM_FINISH && r->outcome[n] != ST_CLAIM_NONE)
            violation("6: an end after the end");
        if (c->kind != ST_CMD_LEASE_ACQUIRE)
            continue;
        bool ended_here = e->count > 1 && i > 0 && e->commands[0].kind == ST_CMD_CLAIM_FINISH &&
                          number_of(e->commands[0].key) == n && a->verdicts[0] == ST_VERDICT_DONE;
        bool free = !r->held[n] && r->outcome[n] != ST_CLAIM_DONE &&
                    r->outcome[n] != ST_CLAIM_FAILED && !ended_here;
        if (done != (free && !given))
            violation("4: not the first free one");
        if (done && (a->tokens[i] <= r->last || after->token[n] != a->tokens[i]))
            violation("3: not a new token");
        given = given || done;
    }
    if (!any && after != r)
        violation("3: refused, and yet changed");
}

static const struct entry *asked; /* for messages */

static bool same_answer(const struct answer *a, const struct answer *b)
{
    return a->next == b->next && memcmp(a->verdicts, b->verdicts, sizeof(a->verdicts)) == 0 &&
           memcmp(a->tokens, b->tokens, sizeof(a->tokens)) == 0;
}

static struct answer ask(uint32_t id, unsigned entry)
{
    if (rows[id].answers[entry].next != UINT32_MAX)
        return rows[id].answers[entry];
    struct answer a[2];
    asked = &entries[entry];
    for (int i = 0; i < 2; i++) {
        struct st_memkv m;
        struct st_ledger l;
        memset(&a[i], 0, sizeof(a[i]));
        rows_load(&rows[id], &m);
        st_ledger_init(&l, &m.kv, &arena_alloc);
        st_ledger_entry(&l);
        for (unsigned k = 0; k < asked->count; k++) {
            struct st_ledger_result result;
            if (st_ledger_apply(&l, &asked->commands[k], &result) != ST_OK)
                violation("a command that cannot be applied");
            a[i].verdicts[k] = (uint8_t)result.verdict;
            a[i].tokens[k] = (uint8_t)result.token;
            applied++;
        }
        a[i].next = rows_intern(&m, entry_count);
    }
    if (!same_answer(&a[0], &a[1]))
        violation("not a function");
    check_answer(&rows[id], asked, &a[0], &rows[a[0].next]);
    return rows[id].answers[entry] = a[0];
}

/* --- the trace -------------------------------------------------------------------------------- */

static void print_trace(size_t node)
{
    if (node == 0)
        return;
    print_trace(nodes[node].parent);
    fprintf(stderr, "  %s", nodes[node].what);
    if (nodes[node].entry < entry_count) {
        const struct entry *e = &entries[nodes[node].entry];
        for (unsigned i = 0; i < e->count; i++)
            fprintf(stderr, "%s %s %.*s token %" PRIu64, i > 0 ? "," : ":",
                    st_command_name(e->commands[i].kind), (int)e->commands[i].key.n,
                    e->commands[i].key.n > 0 ? e->commands[i].key.p : "", e->commands[i].token);
    }
    fputc('\n', stderr);
}

static _Noreturn void violation(const char *what)
{
    printf("VIOLATION in %s: %s\n", now->name, what);
    fflush(stdout);
    if (node_count > 0)
        print_trace(node_now);
    if (asked != NULL)
        fprintf(stderr, "last asked: %s\n", st_command_name(asked->commands[0].kind));
    exit(1);
}

static void check_world(const struct world *w)
{
    const struct rows *r = &rows[w->rows];
    for (unsigned n = 0; n < NAMES; n++) {
        unsigned believers = 0;
        for (unsigned i = 0; i < TOKENS; i++)
            believers += w->senders[i].believes && w->senders[i].name == n && i + 1 == r->token[n];
        if (believers > 1)
            violation("2: two agents with the current token");
        if (w->accepted[n] > 1)
            violation("1: two outcomes of one task");
        if (w->channel[n] != r->position[n] && !r->noted[n])
            violation("5: a change that is not copied and forgotten");
    }
}

/* Without the messages that can change nothing any more. A `next` still takes a task. */
static struct world without_stale(const struct world *from)
{
    struct world w = *from;
    const struct rows *r = &rows[w.rows];
    for (unsigned i = 0; i < TOKENS; i++) {
        if (i + 1 == r->token[w.senders[i].name])
            continue;
        w.senders[i].sent &= SENT_NEXT;
        if (!w.senders[i].believes && w.senders[i].sent == 0)
            memset(&w.senders[i], 0, sizeof(w.senders[i]));
    }
    unsigned lowest = COPIES_MAX + 1;
    for (unsigned n = 0; n < NAMES; n++)
        if (r->noted[n] && r->position[n] < lowest)
            lowest = r->position[n];
    w.told &= (uint8_t) ~((1U << lowest) - 1);
    return w;
}

static void reach(const struct world *full, const char *what, unsigned entry)
{
    if (rows[full->rows].copies > now->copies)
        return; /* beyond the scope */
    struct world trimmed = without_stale(full);
    node_add(&trimmed, (struct node){.what = what, .entry = (uint16_t)entry});
}

static bool somebody_idle(const struct world *w)
{
    unsigned busy = 0;
    for (unsigned i = 0; i < TOKENS; i++)
        busy += w->senders[i].believes;
    return busy < AGENTS;
}

/* What the entry did outside of the rows: outcomes, reopenings, grants (heard: the answer arrives).
 */
static void carry_out(const struct world *from, const char *what, unsigned entry, bool heard)
{
    struct world w = *from;
    const struct entry *e = &entries[entry];
    struct answer a = ask(w.rows, entry);
    if (a.next == w.rows)
        return;
    w.rows = a.next;
    for (unsigned i = 0; i < e->count; i++) {
        const struct st_command *c = &e->commands[i];
        unsigned n = number_of(c->key);
        if (a.verdicts[i] != ST_VERDICT_DONE)
            continue;
        if (c->kind == ST_CMD_CLAIM_FINISH && c->outcome != ST_OUTCOME_RETRY) {
            struct sender *s = &w.senders[rows[from->rows].token[n] - 1];
            if (s->ended)
                violation("6: who ended it ends it again");
            s->ended = true;
            w.accepted[n]++;
        }
        if (c->kind == ST_CMD_CLAIM_REOPEN)
            w.accepted[n] = 0;
        if (c->kind != ST_CMD_LEASE_ACQUIRE)
            continue;
        if (w.accepted[n] != 0)
            violation("1: given to somebody after its outcome");
        w.senders[a.tokens[i] - 1] =
            (struct sender){.given = true, .name = n & 1, .believes = heard};
    }
    reach(&w, what, entry);
}

static void step_take(const struct world *w, unsigned entry)
{
    if (rows[w->rows].last == now->tokens)
        return;
    carry_out(w, "answer lost", entry, false);
    if (somebody_idle(w))
        carry_out(w, "taken", entry, true);
}

static void step_send(const struct world *from, unsigned i, unsigned what, bool end)
{
    struct world w = *from;
    w.senders[i].sent |= (uint8_t)what;
    if (end)
        w.senders[i].believes = false;
    reach(&w, end ? "an end is sent" : "a message is sent", ENTRIES_MAX);
}

static void step_sender(const struct world *w, unsigned i)
{
    unsigned n = w->senders[i].name, sent = w->senders[i].sent;
    uint64_t t = i + 1;
    if (w->senders[i].believes) {
        if (now->checkpoints)
            step_send(w, i, SENT_CHECKPOINT, false);
        for (unsigned end = SENT_DONE; end <= SENT_NEXT; end <<= 1)
            if ((now->ends & end) != 0)
                step_send(w, i, end, true);
        step_send(w, i, 0, true); /* a crash */
    }
    if ((sent & SENT_CHECKPOINT) != 0)
        carry_out(w, "arrives", e_checkpoint[n][t], false);
    for (unsigned o = 0; o < 3; o++)
        if ((sent & SENT_DONE << o) != 0)
            carry_out(w, "arrives", e_finish[n][t][o], false);
    if ((sent & SENT_RELEASE) != 0)
        carry_out(w, "arrives", e_release[n][t], false);
    if ((sent & SENT_NEXT) != 0 && rows[w->rows].last < now->tokens) {
        carry_out(w, "arrives, answer lost", e_next[n][t], false);
        if (somebody_idle(w))
            carry_out(w, "arrives, and the next is taken", e_next[n][t], true);
    }
}

/* The lock makes it one at a time; a crash gives the lock back. */
static void step_copier(const struct world *from)
{
    const struct rows *r = &rows[from->rows];
    struct world w = *from;
    if (w.copying == 0) {
        unsigned highest = 0;
        for (unsigned n = 0; n < NAMES; n++) {
            w.snapshot[n] = r->noted[n] ? r->position[n] : 0;
            highest = w.snapshot[n] > highest ? w.snapshot[n] : highest;
        }
        w.copying = (uint8_t)(1 + highest);
        if (highest > 0)
            reach(&w, "the copier reads the outbox", ENTRIES_MAX);
        return;
    }
    bool all = true;
    for (unsigned n = 0; n < NAMES; n++) {
        if (from->snapshot[n] == 0)
            continue;
        all = false;
        w = *from;
        if (w.channel[n] > w.snapshot[n])
            violation("5: the channel goes back");
        w.channel[n] = w.snapshot[n];
        w.snapshot[n] = 0;
        reach(&w, "the copier writes a record", ENTRIES_MAX);
    }
    if (all) {
        w = *from;
        w.told |= (uint8_t)(1U << (w.copying - 1));
        w.copying = 0;
        reach(&w, "the copier says how far it came", ENTRIES_MAX);
    }
    w = *from;
    w.copying = 0;
    memset(w.snapshot, 0, sizeof(w.snapshot));
    reach(&w, "the copier dies", ENTRIES_MAX);
}

/* What nobody in this world would send any more is asked too: for the checks of the answer. */
static void ask_everything(uint32_t id)
{
    if (rows[id].asked)
        return;
    rows[id].asked = true;
    for (unsigned n = 0; n < now->names; n++) {
        for (unsigned t = 1; t <= TOKENS; t++) {
            for (unsigned o = 0; o < 3; o++)
                (void)ask(id, e_finish[n][t][o]);
            (void)ask(id, e_checkpoint[n][t]);
            (void)ask(id, e_renew[n][t]); /* of whoever it was */
            (void)ask(id, e_release[n][t]);
        }
    }
}

static void step_world(const struct world *w)
{
    ask_everything(w->rows);
    if (now->names == NAMES)
        step_take(w, e_take);
    for (unsigned n = 0; n < now->names; n++) {
        step_take(w, e_take_one[n]);
        for (unsigned t = 1; t <= TOKENS; t++) {
            carry_out(w, "decided", e_lapse[n][t], false);
            if (rows[w->rows].last < now->tokens)
                carry_out(w, "decided", e_reopen[n][t], false);
        }
    }
    for (unsigned i = 0; i < TOKENS; i++)
        if (w->senders[i].given)
            step_sender(w, i);
    if (now->copier)
        step_copier(w);
    for (unsigned p = 1; p <= COPIES_MAX; p++)
        if ((w->told & 1U << p) != 0)
            carry_out(w, "arrives", e_copied[p], false);
}

static void forget_all(void)
{
    explored_forget();
    entry_count = 0;
    memset(entries, 0, sizeof(entries));
    applied = 0;
    asked = NULL;
}

static void run_scope(const struct scope *s)
{
    clock_t start = clock();
    struct world w;
    struct st_memkv empty;
    now = s;
    entries_build();
    memset(&w, 0, sizeof(w));
    st_memkv_init(&empty, &arena_alloc);
    w.rows = rows_intern(&empty, entry_count);
    reach(&w, "", ENTRIES_MAX);
    for (node_now = 0; node_now < node_count; node_now++) {
        struct world from = nodes[node_now].w;
        step_world(&from);
    }
    printf("%-17s %u tokens: %8zu states, %6zu row contents, %7" PRIu64
           " commands applied, %.1f s\n",
           s->name, s->tokens, node_count, rows_count, applied,
           (double)(clock() - start) / CLOCKS_PER_SEC);
    fflush(stdout);
    forget_all();
}

int main(int argc, char **argv)
{
    bool any = false;
    for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
        if (argc > 1 && strcmp(argv[1], scopes[i].name) != 0)
            continue;
        run_scope(&scopes[i]);
        any = true;
    }
    free(nodes);
    free(rows);
    if (!any)
        fprintf(stderr, "explore_claims: no such scope\n");
    return any ? 0 : 2;
}
