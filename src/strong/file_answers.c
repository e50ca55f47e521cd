/*
 * file_answers.c - <state>/strong/answers: memory that the processes of one machine share. What was
 * answered to the latest entries, in a ring; the nearest deadline; a word to sleep on.
 *
 *   offset 0    magic, version (4 bytes each)
 *          8    wake, sleepers: a futex word that changes whenever there is something new
 *          16   clock, nearest deadline (order.h, struct st_due)
 *          32   when somebody looked, for st_strong_looked()
 *          64   SLOTS slots; entry n has slot n % SLOTS
 *
 * A slot is believed when its checksum is right. So it can be written without a lock, by several at
 * once (who apply the same entry write the same), and a process that is killed in between leaves
 * nothing wrong. Native byte order. The file may be deleted when nobody works here. Without it, as on a
 * full disk, everybody works for himself.
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

/* Upper bound of one sleep: a process killed between its work and the wake-up costs the others this
 * much. Nanoseconds. */
#define SLEEP_NS_MAX 20000000ull

/* A millisecond each: somebody else is writing it, which is worth waiting for. Who works without it
 * applies entries for which the others then find no answer. Once; after that it is only looked at. */
#define FILL_TRIES 2000

struct slot_result {
    uint64_t token;
    uint32_t count;
    uint8_t verdict, state, before, reserved;
};

struct slot {
    uint64_t epoch, number;
    uint64_t count;
    struct slot_result results[ST_ENTRY_COMMANDS_MAX];
    uint64_t checksum;
};

struct st_answers {
    uint32_t magic, version;
    uint32_t wake, sleepers;
    struct st_due due;
    uint64_t looked;
    uint64_t reserved[3];
    struct slot slots[SLOTS];
};
_Static_assert(offsetof(struct st_answers, slots) == 64, "as the head of this file says");

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
    return st_checksum(s, offsetof(struct slot, checksum)) | 1;
}

void st_answers_put(struct st_file *f, struct st_mark mark, const struct st_ledger_result *results,
                    size_t count)
{
    struct slot s = {.epoch = mark.epoch, .number = mark.number, .count = count};
    if (f->answers == NULL)
        return;
    for (size_t i = 0; i < count; i++)
        s.results[i] = (struct slot_result){
            .token = results[i].token,
            .count = results[i].count,
            .verdict = (uint8_t)results[i].verdict,
            .state = (uint8_t)results[i].state,
            .before = (uint8_t)results[i].before,
        };
    s.checksum = slot_checksum(&s);
    memcpy(&f->answers->slots[mark.number % SLOTS], &s, sizeof s);
}

bool st_answers_get(struct st_file *f, struct st_mark mark, struct st_ledger_result *results,
                    size_t count)
{
    struct slot s;
    if (f->answers == NULL)
        return false;
    memcpy(&s, &f->answers->slots[mark.number % SLOTS], sizeof s);
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

uint32_t st_answers_word(struct st_file *f)
{
    return f->answers != NULL ? st_atomic_load(&f->answers->wake) : 0;
}

void st_answers_sleep(struct st_file *f, uint32_t word)
{
    const struct st_env *env = f->log.env;
    if (f->answers == NULL) {
        env->sleep_ns(env->ctx, SLEEP_NS_MAX / 20);
        return;
    }
    st_atomic_add(&f->answers->sleepers, 1u);
    env->futex_wait(env->ctx, &f->answers->wake, word, SLEEP_NS_MAX);
    st_atomic_add(&f->answers->sleepers, (uint32_t)-1);
}

void st_answers_wake(struct st_file *f)
{
    if (f->answers == NULL)
        return;
    st_atomic_add(&f->answers->wake, 1u);
    if (st_atomic_load(&f->answers->sleepers) != 0)
        f->log.env->futex_wake_all(f->log.env->ctx, &f->answers->wake);
}

bool st_answers_awaited(const struct st_file *f)
{
    return (f->answers != NULL && st_atomic_load(&f->answers->sleepers) != 0) ||
           (f->log.page != NULL && st_atomic_load(&f->log.page->sleepers) != 0);
}
