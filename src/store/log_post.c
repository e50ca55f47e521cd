/*
 * log_post.c - <state>/posts: memory in which processes leave records for whoever appends next, and sleep
 * until theirs is there.
 *
 * A slot goes through these states, by comparisons of one word (serial number and state), so that nobody
 * takes a slot for the one that he knew:
 *
 *   free      -> filling   by who posts
 *   filling   -> posted    the draft is there; it may be withdrawn again, until it is placed
 *   posted    -> placed    by who has the append lock, before the line is written: the slot tells where
 *                          it will stand
 *   placed    -> done      the line is in the log, or was refused
 *   done      -> free      by who posted, who has read it
 *
 * Who appends may be killed at any moment. The next one under the append lock finds the slot placed, and
 * looks at that place: with this checksum, it is that line and was written; else it is posted as before.
 * Who posted looks after its slot until that is done. Where it has not done so for a second it was killed, or
 * is stopped: then its record is dropped, which must not come when nobody expects it any more. The slot is free
 * again when nobody has fetched what became of it for a minute. (One killed while filling keeps its slot until
 * the system starts again.)
 *
 * The file is of one boot and one inode: what a copy of the directory, or the last boot, has in it was of
 * other processes. Without it, on another clock than who made it, without a free slot, or with a draft that is
 * larger than one, everybody appends for himself.
 */
#include "store/log_internal.h"

#include <stdio.h>

#define MAGIC 0x53545051u /* "STPQ" */

/* As long as anybody may be stopped and still hear what became of its record. Nanoseconds. */
#define KEPT_NS (60ull * 1000 * 1000 * 1000)
/* Who has not looked after its record for so long does not wait for it: far more than one sleep (log_commit.c)
 * takes on a busy machine. Nanoseconds. */
#define ALIVE_NS (1000ull * 1000 * 1000)

/* Instead of a parity: it has been woken, and may not have got a processor yet. It looks what became of its
 * record before it sleeps again. */
#define WOKEN 2u

enum state { FREE, FILLING, POSTED, PLACED, DONE };
#define STATE_BITS  3
#define STATE(word) ((enum state)((word) & ((1u << STATE_BITS) - 1)))

struct slot {
    /* what is to be written */
    uint64_t number;
    uint32_t new_count, size, quiet, parity; /* of the word that it sleeps on */
    /* what became of it: in the state `placed`, where it will stand */
    int32_t code, system;
    struct st_record head;    /* of st_record_put() */
    uint64_t segment, offset; /* where its line begins */
    uint64_t ns;              /* when who posted has looked after it; when it was done */
    char suffix[ST_SUFFIX_SIZE_MAX + 1];
    char text[ST_POST_SIZE];
};

struct st_posts {
    uint32_t magic, slot_size;
    uint8_t boot_id[16];
    uint64_t inode, birth_ns;
    uint64_t clock; /* st_env.clock_id: who is on another one cannot say how old anything is here */
    uint32_t serving;  /* somebody is about to look what is posted; it may have been killed */
    uint32_t first;    /* where the next process begins to look for a free slot */
    uint32_t rounds;   /* how often somebody has looked what is posted */
    uint32_t wakes[2]; /* futex words for those of even and odd rounds */
    uint32_t sleepers[2];
    uint32_t reserved;
    uint64_t words[ST_POSTS];
    struct slot slots[ST_POSTS];
};

static bool advance(struct st_posts *p, uint32_t at, uint64_t from, enum state to)
{
    uint64_t next = (from & ~(uint64_t)((1u << STATE_BITS) - 1)) | to;
    return st_atomic_replace(&p->words[at], &from, next);
}

/* --- opening ---------------------------------------------------------------------------------- */

static bool is_of_here(const struct st_log *log, const struct st_posts *p,
                       const struct st_file_info *info)
{
    return st_atomic_load(&p->magic) == MAGIC && p->slot_size == sizeof(struct slot) &&
           memcmp(p->boot_id, log->boot_id, 16) == 0 && p->inode == info->inode &&
           p->birth_ns == info->birth_ns;
}

/* By one at a time; not worth waiting for. */
static bool begin(struct st_log *log, struct st_posts *p, const struct st_file_info *info)
{
    bool mine = !log->locked[ST_LOCK_APPEND];
    if (mine && st_log_take(log, ST_LOCK_APPEND, 0) != ST_OK)
        return false;
    if (!is_of_here(log, p, info)) {
        memset(p, 0, offsetof(struct st_posts, slots)); /* what is in a free slot nobody reads */
        p->slot_size = sizeof(struct slot);
        memcpy(p->boot_id, log->boot_id, 16);
        p->inode = info->inode;
        p->birth_ns = info->birth_ns;
        p->clock = log->env->clock_id(log->env->ctx);
        st_atomic_store(&log->page->posts, 0u);
        st_atomic_store(&p->magic, MAGIC);
    }
    if (mine)
        st_log_drop(log, ST_LOCK_APPEND);
    return true;
}

static struct st_posts *posts_of(struct st_log *log)
{
    const struct st_env *env = log->env;
    char path[ST_PATH_SIZE];
    struct st_file_info info;
    void *map = NULL;
    if (log->posts != NULL)
        return log->posts;
    if (log->read_only || log->page == NULL ||
        snprintf(path, sizeof path, "%s/posts", log->dir) >= (int)sizeof path ||
        st_shared_map(env, path, sizeof(struct st_posts), 0, &map) < 0)
        return NULL;
    if (env->stat(env->ctx, path, &info) < 0 ||
        (!is_of_here(log, map, &info) && !begin(log, map, &info))) {
        env->unmap(env->ctx, map, sizeof(struct st_posts));
        return NULL;
    }
    log->posts = map;
    log->post_first = st_atomic_add(&log->posts->first, 1u);
    return log->posts;
}

void st_posts_close(struct st_log *log)
{
    if (log->posts != NULL)
        log->env->unmap(log->env->ctx, log->posts, sizeof(struct st_posts));
    log->posts = NULL;
}

/* --- posting ---------------------------------------------------------------------------------- */

static void stamp(const struct st_log *log, struct slot *s)
{
    s->ns = log->env->boot_ns(log->env->ctx);
}

static bool is_older(const struct st_log *log, const struct slot *s, uint64_t ns)
{
    uint64_t now = log->env->boot_ns(log->env->ctx);
    return now > s->ns && now - s->ns > ns;
}

static bool claim(struct st_log *log, struct st_posts *p, struct st_post *post)
{
    for (uint32_t i = 0; i < ST_POSTS; i++) {
        uint32_t at = (log->post_first + i) % ST_POSTS;
        uint64_t word = st_atomic_load(&p->words[at]);
        if (STATE(word) != FREE)
            continue;
        uint64_t next = ((word >> STATE_BITS) + 1) << STATE_BITS | FILLING;
        if (!st_atomic_replace(&p->words[at], &word, next))
            continue;
        st_atomic_add(&log->page->posts, 1u);
        *post = (struct st_post){.slot = at, .serial = next >> STATE_BITS};
        log->post_first = at; /* its memory is at hand */
        return true;
    }
    return false;
}

bool st_post(struct st_log *log, const struct st_draft *draft, struct st_post *post)
{
    struct st_posts *p = draft->text.n <= ST_POST_SIZE ? posts_of(log) : NULL;
    if (p == NULL || p->clock != log->env->clock_id(log->env->ctx) || !claim(log, p, post))
        return false;
    struct slot *s = &p->slots[post->slot];
    s->number = draft->number;
    s->new_count = draft->new_count;
    s->quiet = log->quiet;
    s->size = (uint32_t)draft->text.n;
    stamp(log, s);
    memcpy(s->text, draft->text.p, draft->text.n);
    st_point(log, "post.filled");
    st_atomic_store(&p->words[post->slot], post->serial << STATE_BITS | POSTED);
    st_point(log, "post.posted");
    return true;
}

static bool vacate(struct st_log *log, uint32_t at, uint64_t word)
{
    bool mine = advance(log->posts, at, word, FREE);
    if (mine)
        st_atomic_add(&log->page->posts, (uint32_t)-1);
    return mine;
}

bool st_post_withdraw(struct st_log *log, const struct st_post *post)
{
    return vacate(log, post->slot, post->serial << STATE_BITS | POSTED);
}

static enum st_code lost(struct st_log *log)
{
    st_fail(&log->fault, ST_OUTCOME_UNKNOWN,
            "this process was stopped for so long that nobody knows any more what became of its "
            "write");
    return st_hint(&log->fault,
                   "look with `strata log` whether it is there before writing it again");
}

static enum st_code refused(struct st_log *log, const struct slot *s)
{
    enum st_code code = (enum st_code)s->code;
    if (s->system != 0)
        return st_cannot_append(log, -s->system);
    return st_fail(&log->fault, code, "%s: %s",
                   code == ST_OUTCOME_UNKNOWN ? "the log was interrupted" : "nothing was recorded",
                   st_code_text(code));
}

static enum st_code fetch(struct st_log *log, const struct slot *s, struct st_posted *out)
{
    if (s->code != ST_OK)
        return refused(log, s);
    out->head = s->head;
    memcpy(out->suffix, s->suffix, sizeof out->suffix);
    out->suffix[sizeof out->suffix - 1] = '\0';
    return ST_OK;
}

enum st_code st_post_learn(struct st_log *log, const struct st_post *post, struct st_posted *out)
{
    const uint64_t *word = &log->posts->words[post->slot];
    uint64_t now = st_atomic_load(word);
    if (now >> STATE_BITS == post->serial && STATE(now) != DONE)
        return ST_NOT_FOUND;
    enum st_code code = fetch(log, &log->posts->slots[post->slot], out);
    /* Nobody changes a slot that is done but who posted, and who takes it a minute later. */
    return st_atomic_load(word) == (post->serial << STATE_BITS | DONE) ? code : lost(log);
}

void st_post_end(struct st_log *log, struct st_post *post)
{
    vacate(log, post->slot, post->serial << STATE_BITS | DONE);
}

/* --- sleeping, waking ------------------------------------------------------------------------- */

struct st_post_watch st_post_watch(struct st_log *log, const struct st_post *post)
{
    struct st_posts *p = log->posts;
    struct slot *s = &p->slots[post->slot];
    uint32_t parity = st_atomic_load(&p->rounds) % 2;
    if (st_atomic_load(&p->words[post->slot]) >> STATE_BITS == post->serial) {
        stamp(log, s);
        st_atomic_store(&s->parity, parity);
    }
    return (struct st_post_watch){parity, st_atomic_load(&p->wakes[parity])};
}

void st_post_sleep(struct st_log *log, const struct st_post_watch *w, uint64_t most_ns)
{
    struct st_posts *p = log->posts;
    st_word_sleep(log->env, &p->wakes[w->parity], w->seen, &p->sleepers[w->parity], most_ns);
}

static void wake(struct st_log *log, uint32_t parity, bool all)
{
    struct st_posts *p = log->posts;
    st_word_wake(log->env, &p->wakes[parity], &p->sleepers[parity], all);
}

static struct st_posts *posts_in_use(struct st_log *log)
{
    return log->page != NULL && st_atomic_load(&log->page->posts) != 0 ? posts_of(log) : NULL;
}

void st_posts_wake(struct st_log *log, uint64_t epoch, uint64_t counter)
{
    struct st_posts *p = posts_in_use(log);
    bool due[2] = {false, false};
    for (uint32_t at = 0; p != NULL && at < ST_POSTS; at++) {
        struct slot *s = &p->slots[at];
        uint32_t parity = st_atomic_load(&s->parity);
        if (parity == WOKEN || STATE(st_atomic_load(&p->words[at])) != DONE ||
            (s->code == ST_OK && s->head.dot.writer.epoch == epoch &&
             s->head.dot.counter > counter))
            continue;
        due[parity % 2] = true;
        st_atomic_store(&s->parity, WOKEN);
    }
    for (uint32_t parity = 0; parity < 2; parity++)
        if (due[parity])
            wake(log, parity, true);
}

/* Not appended yet, or not on disk. */
static bool still_waits(struct st_log *log, uint32_t at)
{
    const struct slot *s = &log->posts->slots[at];
    enum state state = STATE(st_atomic_load(&log->posts->words[at]));
    return state == POSTED || state == PLACED ||
           (state == DONE && s->code == ST_OK &&
            !st_log_durable(log, s->head.dot.writer.epoch, s->head.dot.counter));
}

void st_posts_hand_over(struct st_log *log)
{
    struct st_posts *p = posts_in_use(log);
    for (uint32_t at = 0; p != NULL && at < ST_POSTS; at++)
        if (still_waits(log, at)) {
            wake(log, st_atomic_load(&p->slots[at].parity) % 2, false);
            return;
        }
}

uint32_t st_posts_waiting(struct st_log *log)
{
    struct st_posts *p = posts_in_use(log);
    uint32_t count = 0;
    for (uint32_t at = 0; p != NULL && at < ST_POSTS; at++)
        count += STATE(st_atomic_load(&p->words[at])) == POSTED;
    return count;
}

bool st_posts_serve(struct st_log *log, bool anyway)
{
    uint32_t nobody = 0;
    struct st_posts *p = posts_in_use(log);
    return p == NULL || anyway || st_atomic_replace(&p->serving, &nobody, 1u);
}

void st_posts_served(struct st_log *log)
{
    if (log->posts != NULL)
        st_atomic_store(&log->posts->serving, 0u);
}

/* --- collecting ------------------------------------------------------------------------------- */

static void done(struct st_log *log, uint32_t at, uint64_t word, enum st_code code)
{
    struct slot *s = &log->posts->slots[at];
    s->code = code;
    s->system = code != ST_OK && code != ST_UNAVAILABLE ? log->fault.system : 0;
    stamp(log, s);
    /* Not if it was withdrawn. */
    if (advance(log->posts, at, word, DONE) && code != ST_OK)
        wake(log, st_atomic_load(&s->parity) % 2, true);
}

/* Whether the line is where the slot says. ST_OK, ST_NOT_FOUND; else it cannot be told. */
static enum st_code look_for(struct st_log *log, const struct slot *s)
{
    struct st_log_reader r;
    struct st_str line;
    struct st_record head;
    enum st_code code = st_log_reader_open(&r, log->env, log->alloc, log->dir, s->head.dot.writer);
    if (code == ST_OK)
        code = st_log_reader_at(&r, s->segment, s->offset, &line);
    if (code == ST_OK)
        code = st_record_decode_head(line, &head);
    if (code == ST_OK &&
        (head.checksum != s->head.checksum || head.dot.counter != s->head.dot.counter))
        code = ST_NOT_FOUND;
    st_log_reader_close(&r);
    return code == ST_DAMAGED ? ST_NOT_FOUND : code;
}

/* Whoever placed it is gone, as the append lock was free. */
static void resolve(struct st_log *log, uint32_t at, uint64_t word)
{
    struct slot *s = &log->posts->slots[at];
    enum st_code code = look_for(log, s);
#ifdef ST_DEFECT_POST_AGAIN
    code = ST_NOT_FOUND;
#endif
#ifdef ST_DEFECT_POST_BELIEVED
    code = ST_OK;
#endif
    if (code == ST_OK)
        done(log, at, word, ST_OK);
    else if (code == ST_NOT_FOUND && s->head.dot.writer.epoch == log->identity.epoch)
        advance(log->posts, at, word, POSTED);
    else if (code == ST_NOT_FOUND)
        done(log, at, word, ST_OUTCOME_UNKNOWN); /* it may be in quarantine */
}

/* What others have left behind who are gone. */
static void sweep(struct st_log *log)
{
    for (uint32_t at = 0; at < ST_POSTS; at++) {
        uint64_t word = st_atomic_load(&log->posts->words[at]);
        struct slot *s = &log->posts->slots[at];
        if (STATE(word) == PLACED)
            resolve(log, at, word);
        else if (STATE(word) == DONE && is_older(log, s, KEPT_NS))
            vacate(log, at, word);
#ifndef ST_DEFECT_POST_OF_THE_DEAD
        else if (STATE(word) == POSTED && is_older(log, s, ALIVE_NS))
            done(log, at, word, ST_UNAVAILABLE);
#endif
    }
}

/* The lines that are to be written at once, in log->line. */
struct batch {
    uint32_t count;
    bool told; /* somebody has to look at one of them */
    struct {
        uint32_t at;
        uint64_t word; /* of the state `placed` */
    } list[ST_POSTS];
};

static void place(struct st_log *log, uint32_t at, uint64_t word, struct st_tail *tail,
                  struct batch *b)
{
    struct slot *s = &log->posts->slots[at];
    size_t size = s->size < ST_POST_SIZE ? s->size : ST_POST_SIZE;
    struct st_draft draft = {
        .text = {s->text, size}, .number = s->number, .new_count = s->new_count};
    struct st_tail next = *tail;
    struct st_record head;
    size_t start = log->line.n;
    enum st_code code =
        st_record_put(log, st_log_writer(log), &draft, (struct st_hlc){0}, &next, &head);
    if (code != ST_OK) {
        log->line.n = start;
        done(log, at, word, code);
        return;
    }
    s->head = head;
    s->segment = tail->segment;
    s->offset = tail->offset;
    memcpy(s->suffix, log->identity.number_suffix, sizeof s->suffix);
    if (!advance(log->posts, at, word, PLACED)) {
        log->line.n = start; /* withdrawn */
        return;
    }
    *tail = next;
    b->told |= s->quiet == 0;
    b->list[b->count].at = at;
    b->list[b->count++].word = (word & ~(uint64_t)((1u << STATE_BITS) - 1)) | PLACED;
}

static enum st_code write_batch(struct st_log *log, const struct st_tail *from,
                                const struct st_tail *tail, const struct batch *b)
{
    bool left;
    if (b->told)
        st_changes_tell(log);
    st_point(log, "post.placed");
    enum st_code code = st_lines_write(log, log->fd, from->offset, &left);
    if (code == ST_OK) {
        st_point(log, "post.written");
        st_page_set_tail(log->page, tail);
        st_room_make(log, tail);
        if (b->told)
            st_changes_tell(log);
        st_point(log, "post.published");
    } else if (left) {
        return code; /* who comes next sees what became of each */
    }
    for (uint32_t i = 0; i < b->count; i++)
        done(log, b->list[i].at, b->list[i].word, code);
    return code;
}

enum st_code st_posts_collect(struct st_log *log)
{
    ST_ASSERT(log->locked[ST_LOCK_APPEND]);
    struct st_posts *p = posts_in_use(log);
    struct st_tail from, tail;
    struct batch b = {0};
    if (p == NULL)
        return ST_OK;
    sweep(log);
    if (st_posts_waiting(log) == 0)
        return ST_OK;
    enum st_code code = st_segment_ready(log, &from);
    if (code != ST_OK)
        return code;
    tail = from;
    st_buf_reset(&log->line);
    for (uint32_t at = 0; at < ST_POSTS; at++) {
        uint64_t word = st_atomic_load(&p->words[at]);
        if (STATE(word) == POSTED)
            place(log, at, word, &tail, &b);
    }
    /* Who posts from now on is of the next round. One that was overlooked is woken with this one, in vain. */
    st_atomic_add(&p->rounds, 1u);
    return b.count > 0 ? write_batch(log, &from, &tail, &b) : ST_OK;
}
