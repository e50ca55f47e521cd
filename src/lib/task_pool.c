/*
 * task_pool.c - <state>/ready: memory that the processes of one machine share, with what was free a
 * moment ago. One looks for all who go on at once (task_next.c), and each is given a name that nobody
 * else is given.
 *
 *   offset 0    magic, version (4 bytes each)
 *          8    wake: a futex word that changes when a look has ended
 *          16   since when somebody copies into the channels (task_copy.c); 0: nobody
 *          64   SLOTS slots; the queries of a channel have one
 *
 * It promises nothing: whether a task is free is for the ledger to say, and whether what was seen still
 * holds for the log's word (st_log_changes()). So there is no lock that a killed process could leave.
 * A look has a random number; its head and each of its names are believed when their checksum is right,
 * which covers that number: what two have written at once fits neither. Names are drawn by counting up
 * `next`. What was drawn is not seen again by the look after; a name that was drawn by somebody who died
 * is by the one after that.
 *
 * Only what is nobody's is shared. Agents that have tasks of their own among what is ready are named in
 * the head, and look for themselves.
 */
#include "lib/task.h"

#include "store/log_internal.h"
#include "store/shared.h"

#include <stdio.h>
#include <stdlib.h>

#define MAGIC   0x53545231u /* "STR1" */
#define VERSION 1u

/* Channels that workers of one machine wait on at the same time; with more they look more often. */
#define SLOTS 4u
/* What many take in the time that a look counts. */
#define NAMES_MAX 512u
/* So many are looked at: more when they were used up before their time. */
#define WINDOW_MIN 64u
#define WINDOW_MAX 2048u

/* What has become ready meanwhile, and is better than what was seen, is seen so late. */
#define LOOK_NS 100000000ull
/* Another one is begun before nothing is left. */
#define LOOK_AGAIN_NS (LOOK_NS / 2)
/* When nothing more was there, it is not asked again before. */
#define NOTHING_NS 5000000ull
/* Whoever looks is done by then, or was killed; the others sleep so long. */
#define LOOKING_NS 50000000ull
/* The same for who copies into the channels. */
#define SETTLING_NS 200000000ull
/* They look for themselves after that. */
#define WAIT_NS 250000000ull
/* A holder that has died is seen so late by those who go on; each goes on to look alone then. */
#define PROBE_NS 200000000ull

/* A millisecond each: as file_answers.c. */
#define MAP_TRIES 2000

struct name {
    uint64_t look;
    char entity[ST_NUMBERED_SIZE + 1];
    uint64_t checksum;
};

struct head {
    uint64_t look; /* 0: none yet */
    uint64_t epoch, query;
    uint64_t looked_ns;
    struct st_dot at; /* the last record that was looked at */
    uint32_t changes; /* the log's word before the look */
    uint32_t count;
    uint32_t window; /* how many were looked at */
    bool all;        /* there were no more than these */
    struct st_apart apart;
    uint64_t checksum;
};

struct slot {
    uint64_t looking; /* since when somebody looks; 0: nobody */
    uint64_t probed;  /* when somebody looked for dead holders */
    uint64_t next;    /* the look (its low half), and which name is next */
    uint64_t reserved[5];
    struct head head;
    struct name names[NAMES_MAX];
};

struct page {
    uint32_t magic, version;
    uint32_t wake, reserved_word;
    uint64_t settling;
    uint64_t reserved[5];
    struct slot slots[SLOTS];
};
_Static_assert(offsetof(struct page, slots) == 64, "as the head of this file says");

struct st_pool {
    struct page *page;
    bool mapped; /* else it is this handle's alone */
};

/* --- the memory ------------------------------------------------------------------------------- */

static struct page *page_map(strata *s)
{
    const struct st_env *env = s->log.env;
    char path[ST_PATH_SIZE];
    void *p;
    if (s->log.read_only ||
        snprintf(path, sizeof path, "%s/ready", s->log.dir) >= (int)sizeof path ||
        st_shared_map(env, path, sizeof(struct page), MAP_TRIES, &p) < 0)
        return NULL;
    struct page *page = p;
    if (page->magic == 0) {
        page->version = VERSION;
        st_atomic_store(&page->magic, MAGIC);
    }
    if (page->magic == MAGIC && page->version == VERSION)
        return page;
    env->unmap(env->ctx, p, sizeof *page);
    return NULL;
}

static int pool_open(strata *s)
{
    if (s->pool != NULL)
        return STRATA_OK;
    struct st_pool *pool = calloc(1, sizeof *pool);
    struct page *page = pool != NULL ? page_map(s) : NULL;
    if (pool != NULL)
        *pool = (struct st_pool){page != NULL ? page : calloc(1, sizeof *page), page != NULL};
    if (pool == NULL || pool->page == NULL) {
        free(pool);
        return st_lib_fail(s, ST_NO_MEMORY, "out of memory; nothing was recorded");
    }
    s->pool = pool;
    return STRATA_OK;
}

void st_pool_release(strata *s)
{
    if (s->pool == NULL)
        return;
    if (s->pool->mapped)
        s->log.env->unmap(s->log.env->ctx, s->pool->page, sizeof *s->pool->page);
    else
        free(s->pool->page);
    free(s->pool);
    s->pool = NULL;
}

/* --- what a look has seen --------------------------------------------------------------------- */

bool st_task_unchanged(const strata *s, uint32_t changes)
{
    uint32_t word;
#ifdef ST_DEFECT_HAND_BLIND
    return true;
#endif
    return st_log_changes(&s->log, &word) && word == changes;
}

static uint64_t head_checksum(const struct head *h)
{
    return st_checksum(h, offsetof(struct head, checksum)) | 1;
}

static uint64_t name_checksum(const struct name *n)
{
    return st_checksum(n, offsetof(struct name, checksum)) | 1;
}

/* One call of st_pool_take(). */
struct taking {
    strata *s;
    const strata_task_query *q;
    uint64_t query, now;
    struct page *page;
    struct slot *slot;
    struct head head; /* of the last look that is believed; look 0: none */
};

static void head_read(struct taking *t)
{
    memcpy(&t->head, &t->slot->head, sizeof t->head);
    t->now = t->s->log.env->boot_ns(t->s->log.env->ctx);
    if (t->head.look == 0 || t->head.checksum != head_checksum(&t->head) ||
        t->head.query != t->query || t->head.epoch != t->s->log.identity.epoch)
        t->head.look = 0;
}

static bool is_good(const struct taking *t)
{
    return t->head.look != 0 && t->now - t->head.looked_ns < LOOK_NS &&
           st_task_unchanged(t->s, t->head.changes);
}

static uint32_t drawn(const struct taking *t)
{
    uint64_t next = st_atomic_load(&t->slot->next);
    return next >> 32 == (uint32_t)t->head.look ? (uint32_t)next : t->head.count;
}

static bool is_used_up(const struct taking *t)
{
    return drawn(t) >= t->head.count;
}

/* Before all are given, so that nobody has to wait for the next look. */
static bool is_low(const struct taking *t)
{
    return t->now - t->head.looked_ns > LOOK_AGAIN_NS ||
           (!t->head.all && drawn(t) >= t->head.count - t->head.count / 4);
}

static bool is_apart(const struct taking *t)
{
    const struct st_apart *a = &t->head.apart;
    bool anybodys = t->q->agent == NULL;
    uint64_t own = anybodys ? 0 : st_apart_mark(st_str_of(t->q->agent));
    for (uint32_t i = 0; i < a->count; i++)
        if (anybodys || a->agents[i] == own)
            return true;
    return a->more;
}

static bool draw(struct taking *t, struct st_pooled *out)
{
    uint64_t next = st_atomic_load(&t->slot->next);
    for (;;) {
        uint32_t i = (uint32_t)next;
        if (next >> 32 != (uint32_t)t->head.look || i >= t->head.count)
            return false;
        if (!st_atomic_replace(&t->slot->next, &next, next + 1))
            continue;
        struct name n;
        memcpy(&n, &t->slot->names[i], sizeof n);
        if (n.look != t->head.look || n.checksum != name_checksum(&n))
            return false; /* another look writes its own */
        out->given = true;
        memcpy(out->entity, n.entity, sizeof out->entity);
        return true;
    }
}

/* --- looking ---------------------------------------------------------------------------------- */

static void look_end(struct taking *t)
{
    st_atomic_store(&t->slot->looking, (uint64_t)0);
    st_atomic_add(&t->page->wake, 1u);
    t->s->log.env->futex_wake_all(t->s->log.env->ctx, &t->page->wake);
}

/* More when they were used up early, less when most were looked at for nothing. */
static uint32_t window_next(const struct taking *t)
{
    uint32_t window = t->head.look != 0 ? t->head.window : WINDOW_MIN;
    bool early = t->head.look != 0 && !t->head.all && t->now - t->head.looked_ns < LOOK_AGAIN_NS;
    if (early && drawn(t) >= t->head.count / 2 && window < WINDOW_MAX)
        return window * 2;
    return drawn(t) < t->head.count / 4 && window > WINDOW_MIN ? window / 2 : window;
}

/* Those that were drawn from the look before: taken, by whoever the ledger may not name yet, or ended. */
struct drawn_names {
    uint64_t marks[NAMES_MAX]; /* sorted */
    size_t count;
};

static uint64_t mark_of(const char *entity)
{
    return st_checksum(entity, strlen(entity));
}

static int compare_marks(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void note_drawn(const struct taking *t, struct drawn_names *d)
{
    uint32_t end = t->head.look != 0 ? drawn(t) : 0;
    d->count = 0;
    for (uint32_t i = 0; i < end && i < NAMES_MAX; i++) {
        struct name n;
        memcpy(&n, &t->slot->names[i], sizeof n);
        if (n.look == t->head.look && n.checksum == name_checksum(&n))
            d->marks[d->count++] = mark_of(n.entity);
    }
    qsort(d->marks, d->count, sizeof *d->marks, compare_marks);
}

static bool was_drawn(const struct drawn_names *d, const char *entity)
{
    uint64_t mark = mark_of(entity);
    return bsearch(&mark, d->marks, d->count, sizeof mark, compare_marks) != NULL;
}

/* Names first, the head last: in between nothing that is there is believed. */
static void publish(struct taking *t, struct head *h, const char *const *names,
                    const size_t *free_ones, size_t count)
{
    for (h->count = 0; h->count < count; h->count++) {
        struct name n;
        memset(&n, 0, sizeof n);
        n.look = h->look;
        strcpy(n.entity, names[free_ones[h->count]]);
        n.checksum = name_checksum(&n);
        memcpy(&t->slot->names[h->count], &n, sizeof n);
    }
    st_atomic_store(&t->slot->next, (uint64_t)(uint32_t)h->look << 32);
    h->checksum = head_checksum(h);
    memcpy(&t->slot->head, h, sizeof *h);
}

static int look_at(struct taking *t, struct head *h, struct st_candidates *c, const char **names,
                   size_t *free_ones)
{
    strata_task_query nobodys = {.size = sizeof nobodys, .agent = "", .channel = t->q->channel};
    struct drawn_names gone;
    size_t count = 0, found = 0;
    int code = st_task_candidates(t->s, &nobodys, c);
    note_drawn(t, &gone);
    for (size_t i = 0; i < c->count; i++)
        if (!was_drawn(&gone, c->entities[i]))
            names[count++] = c->entities[i];
    if (code == STRATA_OK)
        code = st_claims_free(t->s, names, count, NAMES_MAX, free_ones, &found);
    if (code != STRATA_OK)
        return code;
    h->at = c->at;
    h->all = c->all;
    publish(t, h, names, free_ones, found);
    return STRATA_OK;
}

static int look(struct taking *t)
{
    strata *s = t->s;
    struct head h;
    memset(&h, 0, sizeof h);
    h.epoch = s->log.identity.epoch;
    h.query = t->query;
    h.looked_ns = t->now;
    h.window = window_next(t);
    if (s->log.env->random(s->log.env->ctx, &h.look, sizeof h.look) < 0 || h.look == 0 ||
        !st_log_changes(&s->log, &h.changes))
        return STRATA_OK; /* without it everybody looks for himself */
    struct st_candidates c = {.entities = malloc(h.window * sizeof *c.entities),
                              .max = h.window,
                              .apart = &h.apart,
                              .at = t->head.at};
    const char **names = malloc(h.window * sizeof *names);
    size_t *free_ones = malloc(h.window * sizeof *free_ones);
    /* Who goes on need not see what is quiet. */
    c.since = t->head.look != 0 && st_task_unchanged(s, t->head.changes);
    int code = c.entities != NULL && names != NULL && free_ones != NULL
                   ? look_at(t, &h, &c, names, free_ones)
                   : st_lib_fail(s, ST_NO_MEMORY, "out of memory; nothing was recorded");
    free(c.entities);
    free(names);
    free(free_ones);
    return code;
}

/* --- taking ----------------------------------------------------------------------------------- */

/* Nothing more was there a moment ago. */
static bool is_nothing(const struct taking *t)
{
    bool all = t->head.all || (t->head.count == 0 && t->head.window >= WINDOW_MAX);
    return all && is_used_up(t) && t->now - t->head.looked_ns < NOTHING_NS;
}

/* ST_NOT_FOUND: somebody has looked meanwhile, or was waited for. */
static int take_once(struct taking *t, bool *looked, struct st_pooled *out)
{
    uint32_t word = st_atomic_load(&t->page->wake);
    head_read(t);
    bool good = is_good(t);
    out->seen = good ? t->head.at : (struct st_dot){.counter = 0};
    out->changes = t->head.changes;
    if (good && (is_apart(t) || is_nothing(t)))
        return STRATA_OK;
    /* Now and then one of all who go on looks alone, for holders that have died. */
    if (good && st_turn_take(&t->slot->probed, t->now, PROBE_NS)) {
        st_claims_probe(t->s);
        return STRATA_OK;
    }
    if (good && !is_low(t) && draw(t, out))
        return STRATA_OK;
    if (!*looked && st_turn_take(&t->slot->looking, t->now, LOOKING_NS)) {
        int code = look(t);
        look_end(t);
        *looked = true;
        return code == STRATA_OK ? STRATA_NOT_FOUND : code;
    }
    if ((good && draw(t, out)) || *looked)
        return STRATA_OK;
    t->s->log.env->futex_wait(t->s->log.env->ctx, &t->page->wake, word, LOOKING_NS);
    return STRATA_NOT_FOUND;
}

bool st_pool_settle_begin(strata *s)
{
    return s->pool == NULL || st_turn_take(&s->pool->page->settling,
                                           s->log.env->boot_ns(s->log.env->ctx), SETTLING_NS);
}

void st_pool_settle_end(strata *s)
{
    if (s->pool != NULL)
        st_atomic_store(&s->pool->page->settling, (uint64_t)0);
}

int st_pool_take(strata *s, const strata_task_query *q, struct st_pooled *out)
{
    *out = (struct st_pooled){.given = false};
    int code = pool_open(s);
    if (code != STRATA_OK)
        return code;
    const char *channel = q->channel != NULL ? q->channel : "";
    uint64_t query = st_checksum(channel, strlen(channel));
    struct taking t = {.s = s,
                       .q = q,
                       .query = query,
                       .page = s->pool->page,
                       .slot = &s->pool->page->slots[query % SLOTS]};
    uint64_t start = s->log.env->boot_ns(s->log.env->ctx);
    bool looked = false;
    do
        code = take_once(&t, &looked, out);
    while (code == STRATA_NOT_FOUND && (looked || t.now - start < WAIT_NS));
    return code == STRATA_NOT_FOUND ? STRATA_OK : code;
}
