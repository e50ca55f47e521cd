/*
 * explore.c - bounded-exhaustive exploration of layer 1.
 *
 * Three replicas. In one step a replica makes one record out of a small alphabet, or takes in
 * everything that another one has and says so in a "seen" record of its own, as real replicas
 * do. All interleavings up to a number of records and of intakes are visited. Clocks are skewed,
 * so that causally later records often carry earlier times.
 *
 * What a replica knows is its history: its records in the order of arrival. Each distinct
 * history is given to the production code once, in a fresh store, and then
 *   - everything readable is compared with the plain specification (spec.c);
 *   - every record is delivered again: ST_EXISTS, and no byte of the store changes;
 *   - the writers' states survive saving and loading;
 *   - any two histories of the same set of records have equal visible rows.
 * Interleavings that lead to the same three histories are one state. In each state in which all
 * records are made, a reader takes in the three histories in several orders: commutativity,
 * associativity, and convergence.
 *
 * Two scopes. "wide": fewer records, every replica may begin, all six orders of merging. "deep":
 * more records; replicas begin in the order of their numbers (they differ only in the order of
 * their names and in their clocks, which "wide" permutes), and merging is done in two opposite
 * orders. An intake that nothing follows is left out of merging: the state without it is there.
 *
 * Compositions are in explore_moves.h. `explore [name]` runs all, or one. Exit status 1 and a
 * trace at the first mismatch.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <xxhash.h>

#include "core/memkv.h"
#include "explore.h"
#include "explore_tools.h"

#define NOT_POSSIBLE UINT32_MAX

static struct history *histories;
static size_t history_count, history_cap;
static struct table history_of; /* order_hash -> index */
static struct table set_of;     /* set_hash -> index of the first history with that set */
static struct table record_of;  /* checksum -> pointer */
static struct table state_of;   /* visited states */
static const struct composition *now;
static bool deep;
static uint64_t applied_count;

const struct st_writer explore_writers[REPLICAS] = {{0x11, 7}, {0x22, 3}, {0x33, 5}};

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t both[2] = {a, b};
    return XXH3_64bits(both, sizeof(both)) | 1;
}

/* --- giving one history to the production code ------------------------------------------------ */

static XXH128_hash_t rows_hash(const struct st_memkv *m, bool only_visible)
{
    static char bytes[1 << 16];
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        struct st_str key = {m->rows[i].bytes, m->rows[i].key_size};
        struct st_str value = {key.p + key.n, m->rows[i].value_size};
        if (only_visible && !st_key_visible(key))
            continue;
        if (only_visible)
            value = st_row_visible(key, value);
        size_t sizes[2] = {key.n, value.n};
        ST_ASSERT(n + sizeof(sizes) + key.n + value.n <= sizeof(bytes));
        memcpy(bytes + n, sizes, sizeof(sizes));
        n += sizeof(sizes);
        memcpy(bytes + n, key.p, key.n);
        n += key.n;
        if (value.n > 0)
            memcpy(bytes + n, value.p, value.n);
        n += value.n;
    }
    return XXH3_128bits(bytes, n);
}

static void check_saved(const struct history *h, const struct st_state *s)
{
    struct st_state loaded;
    if (st_state_init(&loaded, s->kv, &explore_alloc) != ST_OK)
        explore_fail(h, "the saved state cannot be loaded");
    bool same = loaded.writer_count == s->writer_count &&
                st_vector_within(&loaded.applied, &s->applied) &&
                st_vector_within(&s->applied, &loaded.applied);
    for (size_t i = 0; same && i < s->writer_count; i++) {
        const struct st_writer_state *a = &s->writers[i];
        const struct st_writer_state *b = &loaded.writers[i];
        same = st_writer_compare(a->writer, b->writer) == 0 && a->counter == b->counter &&
               a->checksum == b->checksum && st_hlc_compare(a->time, b->time) == 0 &&
               st_vector_within(&a->seen, &b->seen) && st_vector_within(&b->seen, &a->seen);
    }
    if (!same)
        explore_fail(h, "the saved state is not the one that was saved");
}

static void check_redelivery(const struct history *h, struct st_state *s, struct st_memkv *m)
{
    XXH128_hash_t before = rows_hash(m, false);
    for (size_t i = 0; i < h->count; i++) {
        if (st_state_apply(s, &h->records[i]->r) != ST_EXISTS) {
            explore_fail_head(h, "a record delivered again was not recognised");
            explore_print_dot(h->records[i]->r.dot);
            printf("\n");
            exit(1);
        }
    }
    if (!XXH128_isEqual(before, rows_hash(m, false)))
        explore_fail(h, "records delivered again changed the store");
}

static void check_history(struct history *h, uint32_t index)
{
    struct st_memkv m;
    struct st_state s;
    explore_alloc_reset();
    st_memkv_init(&m, &explore_alloc);
    if (st_state_init(&s, &m.kv, &explore_alloc) != ST_OK)
        explore_fail(h, "an empty store cannot be opened");
    for (size_t i = 0; i < h->count; i++) {
        enum st_code code = st_state_apply(&s, &h->records[i]->r);
        if (code != ST_OK) {
            explore_fail_head(h, "a record was refused");
            explore_print_dot(h->records[i]->r.dot);
            printf(": code %d\n", code);
            exit(1);
        }
        applied_count += h->records[i]->r.op_count;
    }
    if (st_state_save(&s) != ST_OK)
        explore_fail(h, "the state cannot be saved");
    explore_check(h, &m.kv);
    check_saved(h, &s);
    check_redelivery(h, &s, &m);

    h->visible = rows_hash(&m, true);
    bool fresh;
    uint64_t *other = table_find(&set_of, h->set_hash, &fresh);
    if (fresh) {
        *other = index;
    } else if (!XXH128_isEqual(histories[*other].visible, h->visible)) {
        explore_fail_head(h, "the same records in another order give other visible rows");
        printf("the other order:\n");
        explore_print_history(&histories[*other]);
        exit(1);
    }
}

/* --- histories -------------------------------------------------------------------------------- */

static uint32_t history_add(const struct history *like)
{
    bool fresh;
    uint64_t *slot = table_find(&history_of, like->order_hash, &fresh);
    if (!fresh)
        return (uint32_t)*slot;
    if (history_count == history_cap) {
        history_cap = history_cap > 0 ? 2 * history_cap : 1024;
        histories = must_alloc(histories, history_cap * sizeof(*histories));
    }
    uint32_t index = (uint32_t)history_count++;
    *slot = index;
    histories[index] = *like;
    memset(histories[index].next, 0, sizeof(histories[index].next));
    check_history(&histories[index], index);
    return index;
}

static void append(struct history *h, const struct rec *rec)
{
    ST_ASSERT(h->count < HISTORY_MAX);
    h->records[h->count++] = rec;
    h->order_hash = mix(h->order_hash, rec->r.checksum);
    h->set_hash = (h->set_hash + mix(rec->r.checksum, 0)) | 1;
}

static bool has_record(const struct history *h, const struct rec *rec)
{
    for (size_t i = 0; i < h->count; i++) {
        if (h->records[i] == rec)
            return true;
    }
    return false;
}

/* Fills a vector with what the first `count` records cover, but for one replica. */
static void cover(struct st_vector *v, struct st_vector_entry *entries, const struct history *h,
                  size_t count, unsigned except)
{
    uint64_t counters[REPLICAS] = {0};
    for (size_t i = 0; i < count; i++)
        counters[h->records[i]->replica] = h->records[i]->r.dot.counter;
    *v = (struct st_vector){.entries = entries, .cap = REPLICAS};
    for (unsigned i = 0; i < REPLICAS; i++) {
        if (i != except && counters[i] > 0)
            entries[v->count++] = (struct st_vector_entry){explore_writers[i], counters[i]};
    }
}

/* The records before the last one, sorted. */
static size_t before_last(struct st_dot *out, const struct history *h)
{
    size_t count = 0;
    for (size_t i = 0; i + 1 < h->count; i++)
        count = st_dots_add(out, count, h->records[i]->r.dot);
    return count;
}

/* A record's dot, predecessor and time; clocks of the replicas are skewed against each other. */
static void record_head(struct rec *rec, const struct history *h)
{
    memset(rec, 0, sizeof(*rec));
    rec->replica = h->replica;
    rec->r.dot.writer = explore_writers[h->replica];
    for (size_t i = 0; i < h->count; i++) {
        if (h->records[i]->replica == h->replica) {
            rec->r.dot.counter = h->records[i]->r.dot.counter;
            rec->r.previous = h->records[i]->r.checksum;
        }
    }
    uint64_t c = ++rec->r.dot.counter;
    static const uint64_t start[REPLICAS] = {20, 18, 21};
    static const uint64_t pace[REPLICAS] = {1, 2, 0};
    rec->r.time = (struct st_hlc){start[h->replica] + pace[h->replica] * c, (uint32_t)c};
}

/* The record with this content, made once. */
static const struct rec *record_intern(const struct rec *made, const struct move *move)
{
    uint64_t sum = mix(made->r.previous, (uint64_t)(uintptr_t)move);
    sum = mix(sum, made->replica << 8 | (made->is_intake ? 1U : 0U));
    for (size_t i = 0; i < made->r.op_count; i++) {
        sum = mix(sum, mix(made->ops[i].dot.writer.replica, made->ops[i].dot.counter));
        for (size_t j = 0; j < made->ops[i].vector.count; j++)
            sum = mix(sum, mix(made->seen[j].writer.replica, made->seen[j].counter));
        for (size_t j = 0; j < made->ops[i].at_count; j++)
            sum = mix(sum, mix(made->at[i][j].writer.replica, made->at[i][j].counter));
    }
    bool fresh;
    uint64_t *slot = table_find(&record_of, sum, &fresh);
    if (!fresh)
        return (const struct rec *)(uintptr_t)*slot;
    struct rec *rec = must_alloc(NULL, sizeof(*rec));
    *rec = *made;
    rec->r.checksum = sum;
    rec->r.ops = rec->ops;
    for (size_t i = 0; i < MOVE_OPS_MAX; i++) {
        rec->ops[i].vector.entries = rec->seen;
        rec->ops[i].at = rec->at[i];
    }
    *slot = (uint64_t)(uintptr_t)rec;
    return rec;
}

/* --- steps ------------------------------------------------------------------------------------ */

/* The dot that an author read: of what is shown, or of the first write of all (a stale read). */
static struct st_dot read_dot(const struct history *h, const struct proto *p,
                              const struct spec *spec)
{
    static struct spec_attribute a;
    struct st_dot none = {{0, 0}, 0};
    spec_attribute(spec, st_str_of(p->entity), st_str_of(p->attribute), &a);
    if (p->read == READ_SHOWN)
        return a.shown < a.count ? a.items[a.shown].dot : none;
    for (size_t i = 0; p->read == READ_FIRST && i < h->count; i++) {
        if (h->records[i]->ops[0].kind == ST_OP_SET || h->records[i]->ops[0].kind == ST_OP_UNSET)
            return h->records[i]->r.dot;
    }
    return none;
}

/* One operation out of the alphabet; false when it makes no sense here. */
static bool make_op(struct rec *rec, const struct history *h, const struct proto *p,
                    const struct spec *spec)
{
    struct st_op *op = &rec->ops[rec->r.op_count];
    *op = (struct st_op){
        .kind = p->kind,
        .entity = st_str_of(p->entity),
        .attribute = st_str_of(p->attribute),
        .value_kind = p->value_kind,
        .value = st_str_of(p->value),
        .delta = p->delta,
        .has_at = p->at != AT_NONE,
    };
    op->at = rec->at[rec->r.op_count];
    if (p->at == AT_BEFORE)
        op->at_count = before_last(rec->at[rec->r.op_count], h);
    if (p->read != READ_NONE)
        op->dot = read_dot(h, p, spec);
    if (p->kind == ST_OP_ACK) {
        static struct st_unseen_row rows[SPEC_OPS_MAX];
        if (spec_unseen(spec, rows) == 0)
            return false;
        op->dot = rows[0].dot;
    }
    rec->r.op_count++;
    return true;
}

static uint32_t make_move(uint32_t from, const struct move *move)
{
    static struct spec spec;
    struct history h = histories[from];
    const struct st_record *records[HISTORY_MAX] = {NULL};
    for (size_t i = 0; i < h.count; i++)
        records[i] = &h.records[i]->r;
    spec_init(&spec, records, h.count);

    struct rec rec;
    record_head(&rec, &h);
    rec.r.agent = st_str_of(move->agent);
    rec.r.incarnation = 1;
    for (size_t i = 0; i < MOVE_OPS_MAX && move->ops[i].kind != ST_OP_UNKNOWN; i++) {
        if (!make_op(&rec, &h, &move->ops[i], &spec))
            return NOT_POSSIBLE;
    }
    append(&h, record_intern(&rec, move));
    return history_add(&h);
}

static uint32_t step(uint32_t from, size_t move)
{
    if (histories[from].next[move] == 0) {
        uint32_t to = make_move(from, &now->moves[move]);
        histories[from].next[move] = to == NOT_POSSIBLE ? NOT_POSSIBLE : to + 1;
    }
    uint32_t next = histories[from].next[move];
    return next == NOT_POSSIBLE ? NOT_POSSIBLE : next - 1;
}

/* `to` takes in what `from` has. Not possible when that is nothing that somebody wrote. */
static uint32_t take_in(uint32_t to, uint32_t from)
{
    struct history h = histories[to];
    const struct history *other = &histories[from];
    bool useful = false;
    for (size_t i = 0; i < other->count; i++) {
        if (has_record(&histories[to], other->records[i]))
            continue;
        append(&h, other->records[i]);
        useful = useful || !other->records[i]->is_intake;
    }
    if (h.replica == READER)
        return history_add(&h);
    if (!useful)
        return NOT_POSSIBLE;

    struct rec rec;
    record_head(&rec, &h);
    rec.is_intake = true;
    rec.r.op_count = 1;
    rec.ops[0].kind = ST_OP_SEEN;
    cover(&rec.ops[0].vector, rec.seen, &h, h.count, h.replica);
    append(&h, record_intern(&rec, NULL));
    return history_add(&h);
}

/* --- exploration ------------------------------------------------------------------------------ */

struct state {
    uint32_t replica[REPLICAS];
    unsigned moves, intakes; /* left */
};

static uint32_t reader;

/* Whether the replica's last act was an intake that nobody else has seen. */
static bool idle_intake(const struct state *st, unsigned i)
{
    const struct history *h = &histories[st->replica[i]];
    if (h->count == 0 || !h->records[h->count - 1]->is_intake)
        return false;
    for (unsigned j = 0; j < REPLICAS; j++) {
        if (j != i && has_record(&histories[st->replica[j]], h->records[h->count - 1]))
            return false;
    }
    return true;
}

static void merge_all(const struct state *st)
{
    static const unsigned orders[6][REPLICAS] = {{0, 1, 2}, {2, 1, 0}, {0, 2, 1},
                                                 {1, 0, 2}, {1, 2, 0}, {2, 0, 1}};
    if (idle_intake(st, 0) || idle_intake(st, 1) || idle_intake(st, 2))
        return;
    for (size_t i = 0; i < (deep ? 2 : 6); i++) {
        uint32_t merged = reader;
        for (size_t j = 0; j < REPLICAS; j++)
            merged = take_in(merged, st->replica[orders[i][j]]);
    }
}

static void explore(const struct state *st)
{
    bool fresh;
    uint64_t key = mix((uint64_t)st->replica[0] << 32 | st->replica[1], st->replica[2]);
    (void)table_find(&state_of, key, &fresh);
    if (!fresh)
        return;
    if (st->moves == 0) {
        merge_all(st);
        return;
    }
    for (unsigned i = 0; i < REPLICAS; i++) {
        if (deep && i > 0 && histories[st->replica[i - 1]].count == 0)
            break;
        for (size_t m = 0; m < now->move_count; m++) {
            struct state next = *st;
            next.replica[i] = step(st->replica[i], m);
            next.moves--;
            if (next.replica[i] != NOT_POSSIBLE)
                explore(&next);
        }
        for (unsigned j = 0; j < REPLICAS && st->intakes > 0; j++) {
            struct state next = *st;
            next.replica[i] = j != i ? take_in(st->replica[i], st->replica[j]) : NOT_POSSIBLE;
            next.intakes--;
            if (next.replica[i] != NOT_POSSIBLE)
                explore(&next);
        }
    }
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void forget(void)
{
    for (size_t i = 0; i < record_of.cap; i++) {
        if (record_of.keys[i] != 0)
            free((void *)(uintptr_t)record_of.values[i]);
    }
    table_clear(&record_of);
    table_clear(&history_of);
    table_clear(&set_of);
    table_clear(&state_of);
    free(histories);
    histories = NULL;
    history_count = history_cap = 0;
    applied_count = 0;
}

static void run(const struct composition *c, bool is_deep)
{
    double start = seconds();
    now = c;
    explore_composition = c->name;
    deep = is_deep;
    struct state first = {.moves = c->moves_max, .intakes = c->intakes_max};
    if (!deep) {
        first.moves--;
        first.intakes = 3;
    }
    for (unsigned i = 0; i <= REPLICAS; i++) {
        struct history empty = {.order_hash = mix(i, 1), .set_hash = 1, .replica = i};
        uint32_t index = history_add(&empty);
        if (i == READER)
            reader = index;
        else
            first.replica[i] = index;
    }
    explore(&first);
    printf("%-28s %s %u records %u intakes: %8zu states %8zu histories %8zu record sets "
           "%9llu operations %5.2f s\n",
           c->name, deep ? "deep" : "wide", first.moves, first.intakes, state_of.count,
           history_count, set_of.count, (unsigned long long)applied_count, seconds() - start);
    fflush(stdout);
    forget();
}

int main(int argc, char **argv)
{
    bool any = false;
    for (size_t i = 0; i < COMPOSITIONS; i++) {
        if (argc > 1 && strcmp(argv[1], compositions[i].name) != 0)
            continue;
        run(&compositions[i], false);
        run(&compositions[i], true);
        any = true;
    }
    return any ? 0 : 2;
}
