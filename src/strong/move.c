/*
 * move.c - which log is whose: comparing, following, sealing, going on.
 *
 * A planned move: the log is sealed (its last entry names the place that goes on), travels, and
 * that place accepts: its first entry is a generation that names the same place and position.
 * Nobody decides in between; a crash leaves that, and `accept` again goes on. Two cannot accept: a
 * place is one directory, and its copies are others.
 *
 * A forced move asks nobody. Then two logs may have grown apart; which one counts is what the
 * generations say, and the other is set aside by who finds out (the library's merge).
 */
#include "strong/strong_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct st_str nobody = {"", 0};

/* --- comparing -------------------------------------------------------------------------------- */

static enum st_code chain_of(struct st_strong *s, uint64_t position, struct st_chain *last,
                             struct st_chain *at)
{
    enum st_code code = st_strong_begin(s);
    if (code != ST_OK)
        return code;
    s->fault.code = ST_OK;
    code = st_chain_read(s, last);
    if (code == ST_OK)
        code = st_chain_at(s, position < last->position ? position : last->position, at);
    st_strong_end(s);
    if (code != ST_OK && s->fault.code == ST_OK)
        st_fail(&s->fault, code, "the ordered log cannot be read (%s)", st_code_name(code));
    return code;
}

enum st_code st_strong_compare(struct st_strong *s, struct st_strong *other, enum st_lineage *out)
{
    struct st_chain mine, theirs, mine_at, theirs_at;
    enum st_code code = chain_of(s, 0, &mine, &mine_at);
    if (code == ST_OK) {
        code = chain_of(other, mine.position, &theirs, &theirs_at);
        if (code != ST_OK)
            s->fault = other->fault;
    }
    if (code == ST_OK)
        code = chain_of(s, theirs_at.position, &mine, &mine_at);
    if (code != ST_OK)
        return code;
    if (memcmp(mine_at.head, theirs_at.head, sizeof mine_at.head) != 0)
        *out = ST_LINEAGE_FORKED;
    else if (mine.position == theirs.position)
        *out = ST_LINEAGE_SAME;
    else
        *out = mine.position < theirs.position ? ST_LINEAGE_BEHIND : ST_LINEAGE_AHEAD;
    return ST_OK;
}

/* --- following -------------------------------------------------------------------------------- */

struct follow {
    struct st_strong *s;
    struct st_mark last;
    uint64_t count;
};

static enum st_code follow_entry(void *arg, uint64_t position, const struct st_entry *e)
{
    struct follow *f = arg;
    struct st_order *o = f->s->order;
    (void)position;
    enum st_code code = o->engine->append(o, e, &f->last);
    if (code == ST_OK)
        f->count++;
    return code == ST_OK ? ST_OK : st_strong_fail(f->s, code);
}

/* Held: nobody else writes here. */
static enum st_code follow(struct st_strong *s, struct st_strong *other, uint64_t *count)
{
    struct st_chain here;
    struct follow f = {.s = s};
    enum st_code code = st_strong_begin(s);
    if (code != ST_OK)
        return code;
    code = st_chain_read(s, &here);
    st_strong_end(s);
    if (code != ST_OK)
        return st_fail(&s->fault, code, "the ledger cannot be read");
    s->fault.code = ST_OK;
    code = st_strong_begin(other);
    if (code == ST_OK) {
        code = st_chain_each(other, here.position, follow_entry, &f);
        st_strong_end(other);
    }
    if (code != ST_OK && s->fault.code == ST_OK)
        s->fault = other->fault;
    if (f.last.number != 0 && s->order->engine->wait(s->order, f.last) != ST_OK && code == ST_OK)
        code = st_strong_fail(s, s->order->fault.code);
    *count = f.count;
    return code;
}

/* This place decides, and the other's log goes on from here: it was taken over by force from a copy
 * that knew everything, or this directory was put back to an earlier moment. */
static enum st_code stand_down(struct st_strong *s)
{
    enum st_code code = s->order->engine->give_up(s->order);
    if (code != ST_OK)
        return st_strong_fail(s, code);
    return st_fail(&s->fault, ST_DENIED,
                   "the log of the other copy goes on where this one ends: it was moved there by "
                   "force, or this one was put back to an earlier moment. This copy does not "
                   "decide any more");
}

static enum st_code forked(struct st_strong *s)
{
    return st_fail(&s->fault, ST_CONFLICT,
                   "the ordered logs here and there have grown apart after a forced move; nothing "
                   "of it was taken in");
}

enum st_code st_strong_follow(struct st_strong *s, struct st_strong *other, uint64_t *count)
{
    enum st_lineage lineage;
    *count = 0;
    enum st_code code = s->order->engine->hold(s->order);
    if (code != ST_OK)
        return st_strong_fail(s, code);
    code = st_strong_compare(s, other, &lineage);
    if (code == ST_OK && lineage == ST_LINEAGE_BEHIND)
        code = st_strong_here(s) ? stand_down(s) : follow(s, other, count);
    else if (code == ST_OK && lineage == ST_LINEAGE_FORKED)
        code = forked(s);
    s->order->engine->release(s->order);
    return code;
}

/* --- what was published ----------------------------------------------------------------------- */

static enum st_code differs(struct st_strong *s, uint64_t generation, uint64_t position,
                            const char *head, bool *yes)
{
    struct st_strong_head now;
    struct st_chain last, at;
    char here[33];
    *yes = position == 0;
    enum st_code code = *yes ? ST_OK : st_strong_head(s, &now);
    if (*yes || code != ST_OK)
        return code;
    *yes = generation > now.generation || (generation == now.generation && position > now.position);
    if (*yes || generation != now.generation)
        return ST_OK;
    code = chain_of(s, position, &last, &at);
    if (code != ST_OK)
        return code;
    snprintf(here, sizeof here, "%016" PRIx64 "%016" PRIx64, at.head[0], at.head[1]);
    *yes = strcmp(here, head) != 0;
    return ST_OK;
}

enum st_code st_strong_hold_to(struct st_strong *s, uint64_t generation, uint64_t position,
                               const char *head, bool *doubted)
{
    *doubted = false;
    enum st_code code = s->order->engine->hold(s->order);
    if (code != ST_OK)
        return st_strong_fail(s, code);
    bool lacks = false;
    if (st_strong_here(s))
        code = differs(s, generation, position, head, &lacks);
    if (code == ST_OK && lacks) {
        code = s->order->engine->give_up(s->order);
        if (code != ST_OK)
            code = st_strong_fail(s, s->order->fault.code);
        *doubted = code == ST_OK;
    }
    s->order->engine->release(s->order);
    return code;
}

/* --- moving ----------------------------------------------------------------------------------- */

static enum st_code decide_command(struct st_strong *s, struct st_command *c, const char *what)
{
    struct st_ledger_result result = {0};
    enum st_code code = st_strong_order(s, nobody, 0, c, 1, &result);
    if (code == ST_OK && result.verdict != ST_VERDICT_DONE)
        code = st_fail(&s->fault, ST_CONFLICT, "the %s was refused (%s)", what,
                       st_verdict_name(result.verdict));
    return code;
}

/* Held. */
static enum st_code seal(struct st_strong *s, struct st_command *c)
{
    struct st_order *o = s->order;
    struct st_strong_head head;
    enum st_code code = st_strong_head(s, &head);
    if (code != ST_OK)
        return code;
    bool same = head.sealed && st_str_equal(st_str_of(head.successor), c->successor);
    if (!same) {
        code = o->engine->decides(o);
        if (code != ST_OK)
            return head.sealed ? st_strong_elsewhere(s) : st_strong_fail(s, code);
        if (st_str_equal(st_str_of(head.place), c->successor))
            return st_fail(&s->fault, ST_EXISTS, "this copy decides already; nothing was changed");
        code = decide_command(s, c, "seal");
    }
    if (code == ST_OK && o->engine->give_up(o) != ST_OK)
        code = st_strong_fail(s, o->fault.code);
    return code;
}

enum st_code st_strong_seal(struct st_strong *s, const char *successor, const char *person,
                            const char *reason)
{
    struct st_command c = {
        .kind = ST_CMD_SEAL,
        .successor = st_str_of(successor),
        .person = st_str_of(person),
        .evidence = st_str_of(reason),
    };
    enum st_code code = s->order->engine->hold(s->order);
    if (code != ST_OK)
        return st_strong_fail(s, code);
    code = seal(s, &c);
    s->order->engine->release(s->order);
    return code;
}

static enum st_code not_for_here(struct st_strong *s, const struct st_strong_head *head)
{
    if (head->sealed) {
        st_fail(&s->fault, ST_CONFLICT, "the log was sealed for %s; this is %s", head->successor,
                head->place);
        return st_hint(&s->fault, "nothing was changed; accept it there");
    }
    st_fail(&s->fault, ST_CONFLICT, "the log that is known here is not sealed");
    return st_hint(&s->fault,
                   "nothing was changed; first `strata coordinator move --to %s` at the "
                   "copy that decides, then take its log in (`strata merge-state`, or `strata sync "
                   "REMOTE --ledger` on both copies)",
                   head->place);
}

/* Held. */
static enum st_code accept(struct st_strong *s, const char *person)
{
    struct st_order *o = s->order;
    struct st_strong_head head;
    enum st_code code = st_strong_head(s, &head);
    if (code != ST_OK)
        return code;
    if (o->engine->decides(o) == ST_OK && !head.sealed)
        return st_fail(&s->fault, ST_EXISTS, "this copy decides already; nothing was changed");
#ifdef ST_DEFECT_ACCEPT_ANY
    snprintf(head.place, sizeof head.place, "%s", head.successor);
#endif
    if (strcmp(head.successor, head.place) != 0)
        return not_for_here(s, &head);
    /* Not sealed: the generation was ordered, and then somebody died. */
    if (head.sealed) {
        struct st_command c = {
            .kind = ST_CMD_GENERATION,
            .successor = st_str_of(head.place),
            .generation = head.generation + 1,
            .position = head.position,
            .person = st_str_of(person),
        };
        code = decide_command(s, &c, "move");
    }
    if (code == ST_OK && o->engine->take(o, person) != ST_OK)
        code = st_strong_fail(s, o->fault.code);
    return code;
}

enum st_code st_strong_accept(struct st_strong *s, const char *person)
{
    enum st_code code = s->order->engine->hold(s->order);
    if (code != ST_OK)
        return st_strong_fail(s, code);
    code = accept(s, person);
    s->order->engine->release(s->order);
    return code;
}

enum st_code st_strong_resign(struct st_strong *s, uint64_t workspace)
{
    enum st_code code = s->order->engine->give_up(s->order);
    if (code == ST_OK)
        code = s->order->engine->join(s->order, workspace);
    return code == ST_OK ? ST_OK : st_strong_fail(s, code);
}

/* Held. */
static enum st_code force(struct st_strong *s, const char *person, const char *reason)
{
    struct st_order *o = s->order;
    struct st_strong_head head;
    enum st_code code = st_strong_head(s, &head);
    if (code != ST_OK)
        return code;
    if (o->engine->decides(o) == ST_OK && !head.sealed)
        return st_fail(&s->fault, ST_EXISTS, "this copy decides already; nothing was changed");
    struct st_command c = {
        .kind = ST_CMD_GENERATION,
        .successor = st_str_of(head.place),
        .generation = head.generation + 1,
        .position = head.position,
        .forced = true,
        .person = st_str_of(person),
        .evidence = st_str_of(reason),
    };
    code = decide_command(s, &c, "move");
    /* The new generation is ordered before anything else can be: only then the role. */
    if (code == ST_OK && o->engine->take(o, person) != ST_OK)
        code = st_strong_fail(s, o->fault.code);
    return code;
}

enum st_code st_strong_force(struct st_strong *s, const char *person, const char *reason)
{
    enum st_code code = s->order->engine->hold(s->order);
    if (code != ST_OK)
        return st_strong_fail(s, code);
    code = force(s, person, reason);
    s->order->engine->release(s->order);
    return code;
}
