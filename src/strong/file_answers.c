/*
 * file_answers.c - <state>/strong/answers: memory that the processes of one machine share. What was
 * answered to the latest entries, in a ring; the nearest deadline; a word to sleep on.
 *
 *   offset 0    magic, version (4 bytes each)
 *          8    the futex word of even rounds (file_serve.c); how many sleep on any of these words
 *          16   clock, nearest deadline (order.h, struct st_due)
 *          32   when somebody looked, for st_strong_looked()
 *          40   the round: how far it goes, times two; its last bit tells odd from even
 *          48   the futex words of odd rounds, and of rows; how many wait for rows
 *          64   SLOTS slots for the answers to few commands, then as many for many; entry n has slot
 *               n % SLOTS of its kind
 *
 * A slot is believed when its checksum is right. So it can be written without a lock, by several at
 * once (who apply the same entry write the same), and a process that is killed in between leaves
 * nothing wrong; nor does one that has slots of another size. Most entries are of few commands: their
 * answers lie close together, since every process has a page fault for each page of them. Native byte
 * order. The file may be deleted when nobody works here. Without it, as on a full disk, everybody works for
 * himself.
 */
#include "strong/file.h"

#include "store/log_internal.h"
#include "store/shared.h"

#include <stdio.h>
#include <string.h>

#define MAGIC   0x53544131u /* "STA1" */
#define VERSION 1u

/* Entries that may be ordered and applied while somebody is on its way to its answer. Far more than
 * processes can be waiting; who comes later still has to read the whole log again. */
#define SLOTS 4096u

/* A millisecond each: somebody else is writing it, which is worth waiting for. Who works without it
 * applies entries for which the others then find no answer. Once; after that it is only looked at. */
#define FILL_TRIES 2000

struct slot_result {
    uint64_t token;
    uint32_t count;
    uint8_t verdict, state, before, reserved;
};

struct slot {
    uint64_t checksum; /* of the rest, as far as it is used */
    uint64_t epoch, number;
    uint64_t count;
    struct slot_result results[ST_ENTRY_COMMANDS_MAX];
};
#define SLOT_HEAD    offsetof(struct slot, results)
#define SLOT_SIZE(n) (SLOT_HEAD + (n) * sizeof(struct slot_result))

/* An operation is begun with three commands, a task taken with four. */
#define FEW 4

struct st_answers {
    uint32_t magic, version;
    uint32_t wake_even, sleepers;
    struct st_due due;
    uint64_t looked;
    uint64_t round;
    uint32_t wake_odd, wake_rows, rows_sleepers, reserved;
    unsigned char few[SLOTS][SLOT_SIZE(FEW)];
    unsigned char many[SLOTS][SLOT_SIZE(ST_ENTRY_COMMANDS_MAX)];
};
_Static_assert(offsetof(struct st_answers, few) == 64, "as the head of this file says");

void st_answers_open(struct st_file *f, bool patient)
{
    const struct st_env *env = f->log.env;
    char path[ST_PATH_SIZE];
    void *p = NULL;
    if (f->log.read_only ||
        snprintf(path, sizeof path, "%s/answers", f->log.dir) >= (int)sizeof path ||
        st_shared_map(env, path, sizeof(struct st_answers), patient ? FILL_TRIES : 0, &p) < 0)
        return;
    struct st_answers *a = p;
    if (a->magic == 0) {
        a->version = VERSION;
        st_atomic_store(&a->magic, MAGIC);
    }
    if (a->magic != MAGIC || a->version != VERSION) {
        env->unmap(env->ctx, p, sizeof *a);
        return;
    }
    f->answers = a;
    f->order.due = &a->due;
    f->order.looked = &a->looked;
}

void st_answers_close(struct st_file *f)
{
    if (f->answers != NULL)
        f->log.env->unmap(f->log.env->ctx, f->answers, sizeof *f->answers);
    f->answers = NULL;
    f->order.due = &f->no_due;
    f->order.looked = NULL;
}

static uint64_t slot_checksum(const struct slot *s)
{
    const size_t from = sizeof s->checksum;
    return st_checksum((const char *)s + from, SLOT_SIZE(s->count) - from) | 1;
}

static unsigned char *slot_of(struct st_answers *a, uint64_t number, size_t count)
{
    return count <= FEW ? a->few[number % SLOTS] : a->many[number % SLOTS];
}

void st_answers_put(struct st_file *f, struct st_mark mark, const struct st_ledger_result *results,
                    size_t count)
{
    struct slot s;
    if (f->answers == NULL)
        return;
    s.epoch = mark.epoch;
    s.number = mark.number;
    s.count = count;
    for (size_t i = 0; i < count; i++)
        s.results[i] = (struct slot_result){
            .token = results[i].token,
            .count = results[i].count,
            .verdict = (uint8_t)results[i].verdict,
            .state = (uint8_t)results[i].state,
            .before = (uint8_t)results[i].before,
        };
    s.checksum = slot_checksum(&s);
    memcpy(slot_of(f->answers, mark.number, count), &s, SLOT_SIZE(count));
}

bool st_answers_get(struct st_file *f, struct st_mark mark, struct st_ledger_result *results,
                    size_t count)
{
    struct slot s;
    if (f->answers == NULL)
        return false;
    memcpy(&s, slot_of(f->answers, mark.number, count), SLOT_SIZE(count));
    if (s.number != mark.number || s.epoch != mark.epoch || s.count != count ||
        s.checksum != slot_checksum(&s))
        return false;
    for (size_t i = 0; i < count; i++)
        results[i] = (struct st_ledger_result){
            .token = s.results[i].token,
            .count = s.results[i].count,
            .verdict = (enum st_verdict)s.results[i].verdict,
            .state = (enum st_operation_state)s.results[i].state,
            .before = (enum st_operation_state)s.results[i].before,
        };
    return true;
}

/* --- sleeping, waking ------------------------------------------------------------------------- */

static uint32_t *word_of(struct st_answers *a, uint64_t round)
{
    return round % 2 == 0 ? &a->wake_even : &a->wake_odd;
}

void st_answers_round(struct st_file *f, uint64_t last)
{
    struct st_answers *a = f->answers;
    if (a != NULL)
        st_atomic_store(&a->round, last << 1 | ((st_atomic_load(&a->round) + 1) & 1));
}

struct st_watch st_answers_watch(struct st_file *f, uint64_t number)
{
    struct st_answers *a = f->answers;
    if (a == NULL)
        return (struct st_watch){NULL, 0};
    uint64_t round = st_atomic_load(&a->round);
    uint32_t *word = word_of(a, round >> 1 >= number ? round : round + 1);
    return (struct st_watch){word, st_atomic_load(word)};
}

struct st_watch st_answers_watch_rows(struct st_file *f)
{
    struct st_answers *a = f->answers;
    return a != NULL ? (struct st_watch){&a->wake_rows, st_atomic_load(&a->wake_rows)}
                     : (struct st_watch){NULL, 0};
}

void st_answers_sleep(struct st_file *f, const struct st_watch *w)
{
    const struct st_env *env = f->log.env;
    struct st_answers *a = f->answers;
    if (w->word == NULL) {
        env->sleep_ns(env->ctx, ST_SLEEP_NS_MAX / 20);
        return;
    }
    uint32_t rows = w->word == &a->wake_rows;
    st_atomic_add(&a->rows_sleepers, rows);
    st_word_sleep(env, w->word, w->seen, &a->sleepers, ST_SLEEP_NS_MAX);
    st_atomic_add(&a->rows_sleepers, -rows);
}

static void wake(struct st_file *f, uint32_t *word)
{
    st_word_wake(f->log.env, word, &f->answers->sleepers, true);
}

void st_answers_wake_round(struct st_file *f)
{
    if (f->answers != NULL)
        wake(f, word_of(f->answers, st_atomic_load(&f->answers->round)));
}

void st_answers_wake_next(struct st_file *f)
{
    struct st_answers *a = f->answers;
    if (a == NULL)
        return;
    st_word_wake(f->log.env, word_of(a, st_atomic_load(&a->round) + 1), &a->sleepers, false);
    if (st_answers_rows_awaited(f))
        wake(f, &a->wake_rows);
}

void st_answers_wake(struct st_file *f)
{
    if (f->answers == NULL)
        return;
    wake(f, &f->answers->wake_even);
    wake(f, &f->answers->wake_odd);
    wake(f, &f->answers->wake_rows);
}

bool st_answers_rows_awaited(const struct st_file *f)
{
    return f->answers != NULL && st_atomic_load(&f->answers->rows_sleepers) != 0;
}

bool st_answers_awaited(const struct st_file *f)
{
    return (f->answers != NULL && st_atomic_load(&f->answers->sleepers) != 0) ||
           (f->log.page != NULL && st_page_sleepers(f->log.page) != 0);
}
