/* order_memory.c - see order_memory.h. */
#include "order_memory.h"

#include "core/memkv.h"
#include "store/log.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kept {
    char *bytes; /* agent, then the commands, one after the other */
    struct st_str agent, commands[ST_ENTRY_COMMANDS_MAX];
    size_t count;
    uint64_t incarnation;
    bool answered;
    struct st_ledger_result results[ST_ENTRY_COMMANDS_MAX];
};

struct memory_place {
    pthread_mutex_t lock, held;
    char name[ST_PLACE_SIZE];
    struct kept **entries;
    size_t count, cap, durable, applied;
    struct st_memkv rows;
    struct st_due due;
    bool decides, disk;
    uint64_t clock, ns;
};

struct handle {
    struct st_order order;
    struct memory_place *place;
};

static struct memory_place *place_of(struct st_order *o)
{
    return ((struct handle *)o)->place;
}

static struct kept *keep(const struct st_entry *e)
{
    size_t n = e->agent.n + 1;
    for (size_t i = 0; i < e->count; i++)
        n += e->commands[i].n;
    struct kept *k = calloc(1, sizeof *k);
    char *at = k->bytes = malloc(n);
    ST_ASSERT(k != NULL && at != NULL);
    if (e->agent.n > 0)
        memcpy(at, e->agent.p, e->agent.n);
    k->agent = (struct st_str){at, e->agent.n};
    at += e->agent.n;
    for (size_t i = 0; i < e->count; i++) {
        memcpy(at, e->commands[i].p, e->commands[i].n);
        k->commands[i] = (struct st_str){at, e->commands[i].n};
        at += e->commands[i].n;
    }
    k->count = e->count;
    k->incarnation = e->incarnation;
    return k;
}

static struct st_entry entry_of(const struct kept *k, size_t index)
{
    return (struct st_entry){.agent = k->agent,
                             .incarnation = k->incarnation,
                             .commands = k->commands,
                             .count = k->count,
                             .place = index + 1};
}

/* The lock is held. */
static enum st_code apply(struct st_order *o)
{
    struct memory_place *p = place_of(o);
    enum st_code code = ST_OK;
    for (; p->applied < p->count && code == ST_OK; p->applied++) {
        struct kept *k = p->entries[p->applied];
        struct st_entry e = entry_of(k, p->applied);
        code = o->machine.apply(o->machine.ctx, &e, k->results);
        k->answered = true;
    }
    return code;
}

static enum st_code memory_decides(struct st_order *o)
{
    struct memory_place *p = place_of(o);
    pthread_mutex_lock(&p->lock);
    bool decides = p->decides;
    pthread_mutex_unlock(&p->lock);
    return decides ? ST_OK : st_fail(&o->fault, ST_UNAVAILABLE, "%s does not decide", p->name);
}

static enum st_code memory_append(struct st_order *o, const struct st_entry *e,
                                  struct st_mark *mark)
{
    struct memory_place *p = place_of(o);
    pthread_mutex_lock(&p->lock);
    if (p->count == p->cap) {
        p->cap = p->cap == 0 ? 1024 : p->cap * 2;
        p->entries = realloc(p->entries, p->cap * sizeof *p->entries);
        ST_ASSERT(p->entries != NULL);
    }
    p->entries[p->count++] = keep(e);
    *mark = (struct st_mark){1, p->count};
    pthread_mutex_unlock(&p->lock);
    return ST_OK;
}

static enum st_code memory_wait(struct st_order *o, struct st_mark mark)
{
    struct memory_place *p = place_of(o);
    pthread_mutex_lock(&p->lock);
    if (p->disk)
        p->durable = p->count;
    bool durable = p->durable >= mark.number;
    pthread_mutex_unlock(&p->lock);
    return durable ? ST_OK : st_fail(&o->fault, ST_TIMEOUT, "not flushed in time");
}

static enum st_code memory_answer(struct st_order *o, struct st_mark mark,
                                  struct st_ledger_result *results, size_t count)
{
    struct memory_place *p = place_of(o);
    pthread_mutex_lock(&p->lock);
    enum st_code code = apply(o);
    if (code == ST_OK)
        memcpy(results, p->entries[mark.number - 1]->results, count * sizeof *results);
    pthread_mutex_unlock(&p->lock);
    return code;
}

static enum st_code memory_tail(struct st_order *o, struct st_mark *out)
{
    *out = (struct st_mark){1, memory_entries(place_of(o))};
    return ST_OK;
}

/* The lock is held until end(): the rows stay as they are. wait() may come in between. */
static enum st_code memory_begin(struct st_order *o, struct st_mark *at)
{
    struct memory_place *p = place_of(o);
    pthread_mutex_lock(&p->lock);
    enum st_code code = apply(o);
    *at = (struct st_mark){1, p->count};
    if (code != ST_OK)
        pthread_mutex_unlock(&p->lock);
    return code;
}

static enum st_code memory_at_hand(struct st_order *o)
{
    struct st_mark at;
    return memory_begin(o, &at);
}

static void memory_end(struct st_order *o)
{
    pthread_mutex_unlock(&place_of(o)->lock);
}

static enum st_code memory_each(struct st_order *o, uint64_t place,
                                enum st_code (*visit)(void *arg, const struct st_entry *e),
                                void *arg)
{
    struct memory_place *p = place_of(o);
    enum st_code code = ST_OK;
    for (size_t i = place > 0 ? place - 1 : 0; i < p->count && code == ST_OK; i++) {
        struct st_entry e = entry_of(p->entries[i], i);
        code = visit(arg, &e);
    }
    return code == ST_SCAN_STOP ? ST_OK : code;
}

static enum st_code memory_anew(struct st_order *o)
{
    memory_forget(place_of(o));
    return ST_OK;
}

static void memory_now(struct st_order *o, uint64_t *clock, uint64_t *ns)
{
    *clock = place_of(o)->clock;
    *ns = place_of(o)->ns;
}

static uint64_t memory_wall_ms(struct st_order *o)
{
    return 1795000000000u + place_of(o)->ns / 1000000;
}

static enum st_code set_role(struct st_order *o, bool decides)
{
    struct memory_place *p = place_of(o);
    pthread_mutex_lock(&p->lock);
    p->decides = decides;
    pthread_mutex_unlock(&p->lock);
    return ST_OK;
}

static enum st_code memory_take(struct st_order *o, const char *by)
{
    (void)by;
    return set_role(o, true);
}

static enum st_code memory_give_up(struct st_order *o)
{
    return set_role(o, false);
}

static enum st_code memory_hold(struct st_order *o)
{
    pthread_mutex_lock(&place_of(o)->held);
    return ST_OK;
}

static void memory_release(struct st_order *o)
{
    pthread_mutex_unlock(&place_of(o)->held);
}

static uint64_t memory_workspace(struct st_order *o)
{
    (void)o;
    return 7;
}

static enum st_code memory_join(struct st_order *o, uint64_t workspace)
{
    (void)o, (void)workspace;
    return ST_OK;
}

static void memory_name(struct st_order *o, char out[ST_PLACE_SIZE])
{
    snprintf(out, ST_PLACE_SIZE, "%s", place_of(o)->name);
}

static void memory_close(struct st_order *o)
{
    free(o);
}

static const struct st_order_engine engine = {
    .name = "memory",
    .decides = memory_decides,
    .append = memory_append,
    .wait = memory_wait,
    .answer = memory_answer,
    .tail = memory_tail,
    .begin = memory_begin,
    .at_hand = memory_at_hand,
    .end = memory_end,
    .each = memory_each,
    .anew = memory_anew,
    .clock = memory_now,
    .wall_ms = memory_wall_ms,
    .take = memory_take,
    .give_up = memory_give_up,
    .hold = memory_hold,
    .release = memory_release,
    .workspace = memory_workspace,
    .join = memory_join,
    .place = memory_name,
    .close = memory_close,
};

struct memory_place *memory_place_new(const char *name, bool decides)
{
    struct memory_place *p = calloc(1, sizeof *p);
    pthread_mutexattr_t again;
    ST_ASSERT(p != NULL);
    pthread_mutexattr_init(&again);
    pthread_mutexattr_settype(&again, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&p->lock, &again);
    pthread_mutex_init(&p->held, NULL);
    snprintf(p->name, sizeof p->name, "%s", name);
    p->decides = decides;
    p->disk = true;
    p->clock = 1;
    p->ns = 1;
    st_memkv_init(&p->rows, st_alloc_libc());
    return p;
}

void memory_forget(struct memory_place *p)
{
    st_memkv_release(&p->rows);
    st_memkv_init(&p->rows, st_alloc_libc());
    p->applied = 0;
    p->due = (struct st_due){0};
}

static void cut(struct memory_place *p, size_t count)
{
    while (p->count > count) {
        free(p->entries[--p->count]->bytes);
        free(p->entries[p->count]);
    }
}

void memory_crash(struct memory_place *p)
{
    cut(p, p->durable);
    memory_forget(p);
    p->disk = true;
}

void memory_place_free(struct memory_place *p)
{
    cut(p, 0);
    free(p->entries);
    st_memkv_release(&p->rows);
    free(p);
}

struct st_order *memory_open(struct memory_place *p)
{
    struct handle *h = calloc(1, sizeof *h);
    ST_ASSERT(h != NULL);
    h->order.engine = &engine;
    h->order.kv = &p->rows.kv;
    h->order.due = &p->due;
    h->place = p;
    return &h->order;
}

size_t memory_entries(struct memory_place *p)
{
    pthread_mutex_lock(&p->lock);
    size_t count = p->count;
    pthread_mutex_unlock(&p->lock);
    return count;
}

void memory_clock(struct memory_place *p, uint64_t clock, uint64_t ns)
{
    p->clock = clock;
    p->ns = ns;
}

void memory_disk(struct memory_place *p, bool works)
{
    p->disk = works;
}
