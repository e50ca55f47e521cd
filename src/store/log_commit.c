/*
 * log_commit.c - a record appended and on disk: who finds others at work leaves it to one of them.
 *
 * Whoever is alone appends and flushes. Who is not posts its record (log_post.c) and sleeps, once, until it
 * is on disk: one process appends what all have posted, with one write, flushes it and wakes them, and then one of
 * those who have posted meanwhile, to do the same. Where those are many it goes on itself, for a while.
 */
#include "store/log_internal.h"

/* So many are worth a flush at once, and another round: fewer get company, or another one to serve them, so
 * that nobody's caller waits for longer than others' (decisions.md, ll). */
#define MANY 8u
/* Rounds of one process. Each costs the caller of who serves as much as its own record took. */
#define ROUNDS_MAX 8

/* Others wait. One other is faster served by the flush after its own append. */
static bool is_crowd(const struct st_log *log)
{
    const struct st_page *page = log->page;
    return page != NULL && st_page_sleepers(page) + st_atomic_load(&page->posts) >= ST_CROWD;
}

static enum st_code append(struct st_log *log, struct st_record *r)
{
    enum st_code code = st_log_lock(log);
    if (code != ST_OK)
        return code;
    code = st_log_append(log, r, (struct st_hlc){0});
    st_log_unlock(log);
    return code;
}

static enum st_code write_alone(struct st_log *log, struct st_record *r)
{
    enum st_code code = append(log, r);
    return code == ST_OK ? st_log_wait_durable(log, r->dot.writer.epoch, r->dot.counter) : code;
}

/* --- serving ---------------------------------------------------------------------------------- */

static enum st_code collect(struct st_log *log)
{
    enum st_code code = st_log_lock(log);
    if (code != ST_OK)
        return code;
    code = st_posts_collect(log);
    st_log_unlock(log);
    return code;
}

/* *busy: somebody else flushes. */
static enum st_code serve(struct st_log *log, bool stalled, bool *busy)
{
    enum st_code code = ST_OK;
    /* Who can run does so first, and its record comes along: for a processor a flush is dearer than a record. */
    if (st_posts_waiting(log) < MANY)
        log->env->sleep_ns(log->env->ctx, 0);
    for (int i = 0; i < ROUNDS_MAX && code == ST_OK; i++) {
        code = collect(log);
        if (code == ST_OK)
            *busy = !st_flush_try(log, stalled);
        if (*busy || st_posts_waiting(log) < MANY)
            break;
    }
    st_posts_served(log);
    st_posts_hand_over(log);
    return code;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* ST_NOT_FOUND: not decided yet. */
static enum st_code decided(struct st_log *log, struct st_post *post, struct st_record *r)
{
    struct st_posted p;
    enum st_code code = st_post_learn(log, post, &p);
    if (code == ST_OK)
        code = st_log_verdict(log, p.head.dot.writer.epoch, p.head.dot.counter);
    if (code == ST_OK)
        st_record_told(log, r, &p.head, st_str_of(p.suffix));
    if (code != ST_NOT_FOUND)
        st_post_end(log, post);
    return code;
}

/* A flush, or somebody who serves, wakes those who wait. */
static bool left_to_others(struct st_log *log, bool overslept)
{
    if (!overslept && st_atomic_load(&log->page->flushing) != 0)
        return true;
    return !st_posts_serve(log, overslept);
}

/* Whether nobody has woken it. */
static bool oversleep(struct st_log *log, const struct st_post_watch *watch)
{
    const struct st_env *env = log->env;
    uint64_t before = env->boot_ns(env->ctx);
    st_post_sleep(log, watch, ST_SLEEP_NS_MAX);
    return env->boot_ns(env->ctx) - before >= ST_SLEEP_NS_MAX;
}

static enum st_code write_posted(struct st_log *log, struct st_post *post, struct st_record *r)
{
    struct st_patience patience;
    bool overslept = false;
    st_patience_begin(log, &patience);
    for (;;) {
        struct st_post_watch watch = st_post_watch(log, post);
        bool stalled, busy = true;
        enum st_code code = decided(log, post, r);
        if (code == ST_UNAVAILABLE)
            return write_alone(log, r);
        if (code != ST_NOT_FOUND)
            return code;
        if (!st_patience_lasts(log, &patience, &stalled))
            return st_post_withdraw(log, post) ? st_log_lock_timeout(log) : st_log_not_in_time(log);
        if (!left_to_others(log, overslept) && serve(log, stalled, &busy) != ST_OK &&
            st_post_withdraw(log, post))
            return log->fault.code;
        overslept = busy && oversleep(log, &watch);
    }
}

enum st_code st_log_write(struct st_log *log, struct st_record *r, bool flush)
{
    struct st_draft draft;
    struct st_post post;
    if (!flush)
        return append(log, r);
    if (!is_crowd(log))
        return write_alone(log, r);
    enum st_code code = st_draft_make(log, r, &draft);
    if (code != ST_OK)
        return code;
    return st_post(log, &draft, &post) ? write_posted(log, &post, r) : write_alone(log, r);
}
