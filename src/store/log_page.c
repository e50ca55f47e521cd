/* log_page.c - the page that all processes of this copy share: tail, watermark, holders of locks. */
#include "store/log_internal.h"

bool st_page_of_epoch(const struct st_log *log)
{
    const struct st_page *page = log->page;
    return page != NULL && st_atomic_load(&page->magic) == ST_PAGE_MAGIC &&
           page->version == ST_PAGE_VERSION && page->epoch == log->identity.epoch;
}

bool st_page_valid(const struct st_log *log)
{
    return st_page_of_epoch(log) && memcmp(log->page->boot_id, log->boot_id, 16) == 0;
}

void st_page_tail(const struct st_page *page, struct st_tail *out)
{
    /* The slot of an even count is not written before the count is odd, and the other way
     * round: an unchanged count means an unchanged slot. */
    uint32_t before;
    do {
        before = st_atomic_load(&page->tail_changes);
        memcpy(out, &page->tail[before % 2], sizeof *out);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
    } while (st_atomic_load(&page->tail_changes) != before);
}

void st_page_set_tail(struct st_page *page, const struct st_tail *tail)
{
    uint32_t changes = st_atomic_load(&page->tail_changes);
    memcpy(&page->tail[(changes + 1) % 2], tail, sizeof *tail);
    st_atomic_store(&page->tail_changes, changes + 1);
}

enum st_code st_page_map(struct st_log *log)
{
    const struct st_env *env = log->env;
    char path[ST_PATH_SIZE];
    enum st_code code = st_path(&log->fault, path, log->dir, "page", NULL);
    if (code != ST_OK)
        return code;
    int fd =
        env->open(env->ctx, path, log->read_only ? ST_OPEN_READ : ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (fd < 0)
        return log->read_only ? ST_OK : st_fail_system(&log->fault, fd, "cannot open %s", path);
    struct st_file_info info;
    int r = env->fstat(env->ctx, fd, &info);
    /* Touching a mapping behind the end of the file would kill the process. */
    if (r >= 0 && info.size < sizeof(struct st_page)) {
        if (log->read_only) {
            env->close(env->ctx, fd);
            return ST_OK;
        }
        /* Written, not only made longer: a store into a hole of a full disk kills, too. */
        static const struct st_page empty;
        r = st_write_all(env, fd, (const char *)&empty + info.size, sizeof empty - info.size,
                         info.size);
    }
    void *p = NULL;
    if (r >= 0)
        r = env->map(env->ctx, fd, sizeof(struct st_page), !log->read_only, &p);
    env->close(env->ctx, fd);
    if (r < 0)
        return log->read_only ? ST_OK : st_fail_system(&log->fault, r, "cannot map %s", path);
    log->page = p;
    log->page_inode = info.inode;
    log->looked_ns = env->boot_ns(env->ctx);
    return ST_OK;
}

/* The append lock is held. While magic is 0 nobody trusts the page. Those who still wait for
 * records of the epoch that the page described so far find its end in previous_*. */
void st_page_begin(struct st_log *log, const struct st_tail *tail)
{
    struct st_page *page = log->page;
    bool told = st_atomic_load(&page->magic) == ST_PAGE_MAGIC && page->version == ST_PAGE_VERSION &&
                memcmp(page->boot_id, log->boot_id, 16) == 0;
    uint64_t previous = told ? page->epoch : 0, end = told ? st_page_durable(page) : 0;
    st_atomic_store(&page->magic, 0u);
    st_point(log, "epoch.page");
    page->version = ST_PAGE_VERSION;
    st_atomic_store(&page->durable, (uint64_t)0);
    st_atomic_store(&page->flushing, (uint64_t)0);
    page->previous_epoch = previous;
    page->previous_durable = end;
    memcpy(page->boot_id, log->boot_id, 16);
    st_atomic_store(&page->epoch, log->identity.epoch);
    st_atomic_add(&page->changes, 1u);
    st_page_set_tail(page, tail);
    st_atomic_store(&page->durable, st_mark(log->identity.epoch, tail->counter));
    st_atomic_store(&page->magic, ST_PAGE_MAGIC);
    st_atomic_add(&page->wake, 1u);
    log->env->futex_wake_all(log->env->ctx, &page->wake);
    st_posts_wake(log, log->identity.epoch, UINT64_MAX);
}
