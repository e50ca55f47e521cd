/*
 * log_open.c - who writes here: the identity file, the shared page, and epochs.
 *
 * The identity file is one line of JSON with the fields of struct st_identity in this order:
 *   {"format":1,"workspace":"<16 hex>","replica":"<16 hex>","epoch":"<16 hex>",
 *    "boot":"<32 hex>","inode":N,"birth":N,"fs":"<16 hex>","page_inode":N,"page_birth":N,
 *    "name":"...","reason":"..."[,"number_suffix":"..."]}
 *
 * A new epoch is made in this order, so that a crash anywhere leaves either the old epoch, frozen,
 * or the new one complete: flush and freeze the old log, settle its tail, write the new epoch's
 * first record, replace the identity, set up the page. Whoever finds a frozen page, or one that
 * does not belong to the identity, does it all again; a directory with one record that nobody
 * refers to may be left behind.
 */
#include "store/log_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const lock_files[ST_LOCK_KINDS] = {"append.lock", "flush.lock", "intake.lock",
                                                      "index.lock"};

enum st_code st_path(struct st_fault *f, char out[ST_PATH_SIZE], const char *dir, const char *a,
                     const char *b)
{
    int n = b != NULL ? snprintf(out, ST_PATH_SIZE, "%s/%s/%s", dir, a, b)
                      : snprintf(out, ST_PATH_SIZE, "%s/%s", dir, a);
    if (n < 0 || n >= ST_PATH_SIZE)
        return st_fail(f, ST_LIMIT, "the path %.64s/... is longer than %d bytes", dir,
                       ST_PATH_SIZE - 1);
    return ST_OK;
}

enum st_code st_writer_path(struct st_fault *f, char out[ST_PATH_SIZE], const char *state_dir,
                            struct st_writer w)
{
    char name[40];
    snprintf(name, sizeof name, "%016" PRIx64 "-%016" PRIx64, w.replica, w.epoch);
    return st_path(f, out, state_dir, "log", name);
}

enum st_code st_segment_path(struct st_fault *f, char out[ST_PATH_SIZE], const char *state_dir,
                             struct st_writer w, uint64_t segment)
{
    char name[80];
    snprintf(name, sizeof name, "%016" PRIx64 "-%016" PRIx64 "/%016" PRIu64 ".jsonl", w.replica,
             w.epoch, segment);
    return st_path(f, out, state_dir, "log", name);
}

/* --- identity --------------------------------------------------------------------------------- */

#define IDENTITY_SIZE_MAX 1024

static void boot_to_hex(const uint8_t boot[16], char out[33])
{
    for (int i = 0; i < 16; i++)
        snprintf(out + (ptrdiff_t)i * 2, 3, "%02x", boot[i]);
}

static bool boot_from_hex(const char *hex, uint8_t boot[16])
{
    uint64_t half[2];
    if (strlen(hex) != 32 || !st_parse_hex64(hex, &half[0]) || !st_parse_hex64(hex + 16, &half[1]))
        return false;
    for (int i = 0; i < 16; i++)
        boot[i] = (uint8_t)(half[i / 8] >> (56 - 8 * (i % 8)));
    return true;
}

static bool identity_parse(const char *text, struct st_identity *id)
{
    char boot[33];
    int end = 0;
    memset(id, 0, sizeof *id);
    int fields = sscanf(
        text,
        "{\"format\":1,\"workspace\":\"%16" SCNx64 "\",\"replica\":\"%16" SCNx64
        "\",\"epoch\":\"%16" SCNx64 "\",\"boot\":\"%32[0-9a-f]\",\"inode\":%" SCNu64
        ",\"birth\":%" SCNu64 ",\"fs\":\"%16" SCNx64 "\",\"page_inode\":%" SCNu64
        ",\"page_birth\":%" SCNu64 ",\"name\":\"%64[A-Za-z0-9._-]\",\"reason\":\"%31[a-z]\"%n",
        &id->workspace, &id->replica, &id->epoch, boot, &id->inode, &id->birth_ns, &id->fs_id,
        &id->page_inode, &id->page_birth_ns, id->name, id->reason, &end);
    if (fields != 11 || end == 0)
        return false;
    text += end;
    end = 0;
    if (sscanf(text, ",\"number_suffix\":\"%71[A-Za-z0-9._-]\"%n", id->number_suffix, &end) == 1)
        text += end;
    return strcmp(text, "}\n") == 0 && boot_from_hex(boot, id->boot_id) && id->workspace != 0 &&
           id->replica != 0 && id->epoch != 0;
}

static int identity_format(const struct st_identity *id, char out[IDENTITY_SIZE_MAX])
{
    char boot[33];
    bool suffix = id->number_suffix[0] != '\0';
    boot_to_hex(id->boot_id, boot);
    return snprintf(out, IDENTITY_SIZE_MAX,
                    "{\"format\":1,\"workspace\":\"%016" PRIx64 "\",\"replica\":\"%016" PRIx64
                    "\",\"epoch\":\"%016" PRIx64 "\",\"boot\":\"%s\",\"inode\":%" PRIu64
                    ",\"birth\":%" PRIu64 ",\"fs\":\"%016" PRIx64 "\",\"page_inode\":%" PRIu64
                    ",\"page_birth\":%" PRIu64 ",\"name\":\"%s\",\"reason\":\"%s\"%s%s%s}\n",
                    id->workspace, id->replica, id->epoch, boot, id->inode, id->birth_ns, id->fs_id,
                    id->page_inode, id->page_birth_ns, id->name, id->reason,
                    suffix ? ",\"number_suffix\":\"" : "", id->number_suffix, suffix ? "\"" : "");
}

enum st_code st_identity_load(struct st_log *log)
{
    const struct st_env *env = log->env;
    char path[ST_PATH_SIZE], text[IDENTITY_SIZE_MAX + 1];
    enum st_code code = st_path(&log->fault, path, log->dir, "identity", NULL);
    if (code != ST_OK)
        return code;
    int fd = env->open(env->ctx, path, ST_OPEN_READ);
    if (fd == -ENOENT || fd == -ENOTDIR) {
        st_fail(&log->fault, ST_NO_WORKSPACE, "there is no Strata state in %s", log->dir);
        return st_hint(&log->fault, "run `strata init` in the workspace");
    }
    if (fd < 0)
        return st_fail_system(&log->fault, fd, "cannot read %s", path);
    ssize_t n = env->pread(env->ctx, fd, text, IDENTITY_SIZE_MAX, 0);
    env->close(env->ctx, fd);
    if (n < 0)
        return st_fail_system(&log->fault, (int)n, "cannot read %s", path);
    text[n] = '\0';
    if (strncmp(text, "{\"format\":", 10) == 0 && strncmp(text + 10, "1,", 2) != 0)
        return st_fail(&log->fault, ST_VERSION, "%s was made by a newer version of Strata", path);
    struct st_identity id;
    if (!identity_parse(text, &id))
        return st_fail(&log->fault, ST_DAMAGED, "%s is damaged", path);
    log->identity = id;
    return ST_OK;
}

enum st_code st_log_replace(struct st_log *log, const char *name, const char *text, size_t n)
{
    const struct st_env *env = log->env;
    char to[ST_PATH_SIZE], from[ST_PATH_SIZE], new_name[64];
    snprintf(new_name, sizeof new_name, "%s.new", name);
    enum st_code code = st_path(&log->fault, to, log->dir, name, NULL);
    if (code == ST_OK)
        code = st_path(&log->fault, from, log->dir, new_name, NULL);
    if (code != ST_OK)
        return code;
    int fd = env->open(env->ctx, from, ST_OPEN_WRITE | ST_OPEN_CREATE);
    if (fd < 0)
        return st_fail_system(&log->fault, fd, "cannot create %s", from);
    int r = env->ftruncate(env->ctx, fd, 0);
    if (r >= 0)
        r = st_write_all(env, fd, text, n, 0);
    if (r >= 0)
        r = env->fdatasync(env->ctx, fd);
    env->close(env->ctx, fd);
    if (r >= 0)
        r = env->rename(env->ctx, from, to);
    if (r >= 0)
        r = env->sync_directory(env->ctx, log->dir);
    return r < 0 ? st_fail_system(&log->fault, r, "cannot write %s", to) : ST_OK;
}

static enum st_code identity_store(struct st_log *log, const struct st_identity *id)
{
    char text[IDENTITY_SIZE_MAX];
    int n = identity_format(id, text);
    ST_ASSERT(n > 0 && n < IDENTITY_SIZE_MAX);
    return st_log_replace(log, "identity", text, (size_t)n);
}

enum st_code st_log_describe(const struct st_env *env, const char *dir,
                             const struct st_identity *identity, struct st_fault *fault)
{
    struct st_log log = {.env = env};
    if (strlen(dir) >= ST_PATH_SIZE)
        return st_fail(fault, ST_LIMIT, "the path is over %d bytes", ST_PATH_SIZE - 1);
    strcpy(log.dir, dir);
    enum st_code code = identity_store(&log, identity);
    if (code != ST_OK)
        *fault = log.fault;
    return code;
}

/* What tells a copied or restored state directory from the one that the identity was made in. */
static enum st_code fingerprint(struct st_log *log, struct st_identity *id)
{
    const struct st_env *env = log->env;
    char path[ST_PATH_SIZE];
    struct st_file_info dir, page;
    enum st_code code = st_path(&log->fault, path, log->dir, "log", NULL);
    int r = code == ST_OK ? env->stat(env->ctx, path, &dir) : 0;
    if (code == ST_OK && r >= 0)
        code = st_path(&log->fault, path, log->dir, "page", NULL);
    if (code == ST_OK && r >= 0)
        r = env->stat(env->ctx, path, &page);
    if (r < 0)
        return st_fail_system(&log->fault, r, "cannot look at %s", path);
    if (code != ST_OK)
        return code;
    id->inode = dir.inode;
    id->birth_ns = dir.birth_ns;
    id->fs_id = dir.fs_id;
    id->page_inode = page.inode;
    id->page_birth_ns = page.birth_ns;
    return ST_OK;
}

static bool fingerprint_same(const struct st_identity *a, const struct st_identity *b)
{
#ifdef ST_DEFECT_REUSE_COUNTER_AFTER_COPY
    (void)a, (void)b;
    return true;
#else
    return a->inode == b->inode && a->birth_ns == b->birth_ns && a->fs_id == b->fs_id &&
           a->page_inode == b->page_inode && a->page_birth_ns == b->page_birth_ns;
#endif
}

/* --- page ------------------------------------------------------------------------------------- */

static bool page_of_epoch(const struct st_log *log)
{
    const struct st_page *page = log->page;
    return page != NULL && st_atomic_load(&page->magic) == ST_PAGE_MAGIC &&
           page->version == ST_PAGE_VERSION && page->epoch == log->identity.epoch;
}

bool st_page_valid(const struct st_log *log)
{
    return page_of_epoch(log) && memcmp(log->page->boot_id, log->boot_id, 16) == 0;
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

static enum st_code page_map(struct st_log *log)
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
    return ST_OK;
}

/* The append lock is held. While magic is 0 nobody trusts the page. Those who still wait for
 * records of the epoch that the page described so far find its end in previous_*. */
static void page_begin(struct st_log *log, const struct st_tail *tail)
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
    st_page_set_tail(page, tail);
    st_atomic_store(&page->durable, st_mark(log->identity.epoch, tail->counter));
    st_atomic_store(&page->magic, ST_PAGE_MAGIC);
    st_atomic_add(&page->wake, 1u);
    log->env->futex_wake_all(log->env->ctx, &page->wake);
}

static enum st_code locks_open(struct st_log *log);
static enum st_code log_begin(struct st_log *log, const struct st_env *env,
                              const struct st_alloc *alloc, const char *dir, const char *what);

/* --- epochs ----------------------------------------------------------------------------------- */

static enum st_code random_id(struct st_log *log, uint64_t *out)
{
    do {
        int r = log->env->random(log->env->ctx, out, sizeof *out);
        if (r < 0)
            return st_fail_system(&log->fault, r, "cannot get random numbers");
    } while (*out == 0);
    return ST_OK;
}

struct settled {
    struct st_tail tail;      /* of the old log */
    struct st_vector context; /* all that this replica has: the old log's context and itself */
};

/* The segment of writer w that holds `counter`, or would; 0 when there is none. */
static enum st_code segment_of(struct st_log *log, struct st_writer w, uint64_t counter,
                               uint64_t *segment)
{
    char path[ST_PATH_SIZE];
    enum st_code code = st_writer_path(&log->fault, path, log->dir, w);
    if (code != ST_OK)
        return code;
    return st_segment_find(log->env, path, counter, segment, &log->fault);
}

static enum st_code damaged(struct st_log *log, struct st_writer w, const struct st_tail *tail,
                            uint64_t watermark)
{
    char path[ST_PATH_SIZE];
    enum st_code code = st_segment_path(&log->fault, path, log->dir, w, tail->segment);
    if (code != ST_OK)
        return code;
    st_fail(&log->fault, ST_DAMAGED,
            "%s is damaged at byte %" PRIu64 ": record %" PRIu64 " cannot be read, though %" PRIu64
            " records were on disk",
            path, tail->offset, tail->counter + 1, watermark);
    return st_hint(&log->fault,
                   "nothing was changed; run `strata doctor`, and restore the file from a copy or "
                   "another replica, or let `strata doctor --fix` move the damage aside");
}

/* Scans one segment of the old log, cuts what is broken, flushes what stays. *more: the next
 * segment follows without a gap. */
static enum st_code settle_segment(struct st_log *log, struct st_writer w, uint64_t watermark,
                                   bool cut, struct st_tail *tail, bool *more)
{
    const struct st_env *env = log->env;
    char path[ST_PATH_SIZE];
    *more = false;
    enum st_code code = st_segment_path(&log->fault, path, log->dir, w, tail->segment);
    if (code != ST_OK)
        return code;
    int fd = env->open(env->ctx, path, ST_OPEN_WRITE);
    if (fd == -ENOENT)
        return ST_OK;
    if (fd < 0)
        return st_fail_system(&log->fault, fd, "cannot open %s", path);
    bool broken;
    /* A frozen log ends at its watermark: what the page cache shows behind that may be lost on
     * disk. */
    struct st_tail scan = *tail;
    code = st_tail_scan(log, fd, w, &scan, cut ? watermark : UINT64_MAX, &broken);
    if (code == ST_OK && scan.counter < watermark && broken && !log->repairing)
        code = damaged(log, w, &scan, watermark);
    if (code == ST_OK && broken)
        code = st_tail_quarantine(log, fd, &scan);
    if (code == ST_OK) {
        int r = env->fdatasync(env->ctx, fd);
        if (r < 0)
            code = st_fail_system(&log->fault, r, "cannot flush %s", path);
    }
    env->close(env->ctx, fd);
    if (code == ST_OK) {
        *more = !broken && scan.counter > tail->counter;
        *tail = scan;
    }
    return code;
}

/* What the page tells of the old log. */
struct end {
    uint64_t watermark; /* up to here it was on disk */
    bool cut;           /* what is behind it does not count */
};

/*
 * Ends the old epoch for every process: flushes it if that can still be done, then freezes the
 * watermark. A page from before a reboot, or one that was copied, only tells what was on disk; in a
 * copy not even that.
 */
static enum st_code freeze(struct st_log *log, bool copied, struct end *end)
{
    *end = (struct end){0};
    if (!page_of_epoch(log) || copied)
        return ST_OK;
    bool running = st_page_valid(log);
    if (running && !st_page_frozen(log->page)) {
        enum st_code code = st_flush_all(log);
        if (code != ST_OK && code != ST_OUTCOME_UNKNOWN)
            return code;
    }
    st_page_freeze(log, log->identity.epoch);
    st_point(log, "epoch.frozen");
    end->watermark = st_page_durable(log->page);
    end->cut = running;
    return ST_OK;
}

/* Nobody knows whether a copy is on disk. */
static enum st_code flush_copy(struct st_log *log)
{
    const struct st_env *env = log->env;
    struct st_writer *writers = NULL;
    size_t count = 0;
    enum st_code code = st_log_writers(env, log->alloc, log->dir, &writers, &count);
    if (code != ST_OK)
        return st_fail(&log->fault, code, "cannot list the logs in %s", log->dir);
    for (size_t i = 0; i < count && code == ST_OK; i++)
        code = st_writer_flush(log, writers[i]);
    if (writers != NULL)
        log->alloc->resize(log->alloc->ctx, writers, 0);
    return code;
}

struct aside {
    struct st_log *log;
    struct st_writer w;
    uint64_t counter;
    enum st_code code;
};

static int move_aside(void *arg, const char *name)
{
    struct aside *a = arg;
    char dir[ST_PATH_SIZE], from[ST_PATH_SIZE], to[ST_PATH_SIZE], aside[80];
    if (strtoull(name, NULL, 10) <= a->counter)
        return 0;
    snprintf(aside, sizeof aside, "%016" PRIx64 "-%.40s", a->w.epoch, name);
    a->code = st_writer_path(&a->log->fault, dir, a->log->dir, a->w);
    if (a->code == ST_OK)
        a->code = st_path(&a->log->fault, from, dir, name, NULL);
    if (a->code == ST_OK)
        a->code = st_path(&a->log->fault, to, a->log->dir, "quarantine", aside);
    int r = a->code == ST_OK ? a->log->env->rename(a->log->env->ctx, from, to) : 0;
    if (r < 0)
        a->code = st_fail_system(&a->log->fault, r, "cannot move %s aside", from);
    return a->code == ST_OK ? 0 : -EIO;
}

/* Repairing: whole segments behind the damage go to quarantine too. */
static enum st_code segments_aside(struct st_log *log, struct st_writer w, uint64_t counter)
{
    struct aside a = {log, w, counter, ST_OK};
    char dir[ST_PATH_SIZE];
    enum st_code code = st_writer_path(&log->fault, dir, log->dir, w);
    if (code != ST_OK)
        return code;
    int r = log->env->list(log->env->ctx, dir, move_aside, &a);
    if (a.code != ST_OK)
        return a.code;
    if (r >= 0)
        r = log->env->sync_directory(log->env->ctx, dir);
    return r < 0 && r != -ENOENT ? st_fail_system(&log->fault, r, "cannot list %s", dir) : ST_OK;
}

/*
 * The old log as it stays for ever: from the persisted watermark on everything is verified, what
 * is broken is moved to quarantine, the rest is flushed.
 */
static enum st_code settle(struct st_log *log, struct st_writer w, const struct end *old_end,
                           struct settled *out)
{
    uint64_t watermark = old_end->watermark;
    uint64_t segment = 0;
    enum st_code code =
        segment_of(log, w, watermark > 0 && !log->repairing ? watermark : 1, &segment);
    if (code != ST_OK)
        return code;
    struct st_tail tail = {.segment = segment, .counter = segment > 0 ? segment - 1 : 0};
    bool more = segment > 0;
    while (code == ST_OK && more) {
        struct st_tail next = tail;
        if (tail.counter >= segment) {
            next.segment = tail.counter + 1;
            next.offset = 0;
        }
        uint64_t before = tail.counter;
        code = settle_segment(log, w, watermark, old_end->cut, &next, &more);
        if (code == ST_OK && next.counter > before)
            tail = next;
    }
    if (code != ST_OK)
        return code;
    if (tail.counter < watermark && !log->repairing)
        return damaged(log, w, &tail, watermark);
    if (tail.counter < watermark)
        code = segments_aside(log, w, tail.counter);
    if (code != ST_OK)
        return code;
    out->tail = tail;
    if (tail.counter > 0) {
        code = st_context_read(log, w, &tail, &out->context);
        if (code == ST_OK && !st_vector_raise(&out->context, w, tail.counter))
            code = st_fail(&log->fault, ST_LIMIT, "this replica has had more than %d epochs",
                           ST_WRITERS_MAX);
    }
    return code;
}

/* Writes the new epoch's first record, flushed, if there is a context to tell. */
static enum st_code first_record(struct st_log *log, const struct st_identity *id,
                                 const struct settled *old, struct st_tail *tail)
{
    const struct st_env *env = log->env;
    struct st_writer w = {id->replica, id->epoch};
    char path[ST_PATH_SIZE], parent[ST_PATH_SIZE];
    enum st_code code = st_writer_path(&log->fault, path, log->dir, w);
    if (code == ST_OK)
        code = st_path(&log->fault, parent, log->dir, "log", NULL);
    if (code != ST_OK)
        return code;
    int r = env->mkdir(env->ctx, path);
    if (r < 0)
        return st_fail_system(&log->fault, r, "cannot create %s", path);
    memset(tail, 0, sizeof *tail);
    if (old->context.count > 0) {
        code = st_segment_begin(log, w, &old->context, &old->tail, tail);
        if (code != ST_OK)
            return code;
    }
    r = env->sync_directory(env->ctx, parent);
    return r < 0 ? st_fail_system(&log->fault, r, "cannot flush %s", parent) : ST_OK;
}

/* Numbers that were made under another suffix than before can be no others than these. */
static void suffix_renew(struct st_identity *id)
{
    snprintf(id->number_suffix, sizeof id->number_suffix, "%s-%06" PRIx64, id->name,
             id->epoch & 0xffffffu);
}

/* Whether others may make, or know, numbers that this log would give out next. */
static bool suffix_is_due(const char *reason)
{
#ifdef ST_DEFECT_KEEP_SUFFIX
    (void)reason;
    return false;
#else
    static const char *const reasons[] = {"join", "copy", "doubt", "repair"};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (strcmp(reason, reasons[i]) == 0)
            return true;
    return false;
#endif
}

/* Records that a failed flush lost may have been read, and their numbers with them. */
static uint64_t page_number(const struct st_log *log)
{
    struct st_tail tail = {0};
    if (st_page_valid(log))
        st_page_tail(log->page, &tail);
    return tail.number;
}

enum st_code st_epoch_begin(struct st_log *log, const char *reason)
{
    ST_ASSERT(log->locked[ST_LOCK_APPEND] && log->page != NULL);
    struct st_identity id = log->identity;
    struct st_writer old_writer = {id.replica, id.epoch};
    struct settled old = {0};
    st_vector_init(&old.context, log->alloc);
    enum st_code code = ST_OK;
    st_point(log, "epoch.begin");
    bool copied = strcmp(reason, "copy") == 0;
    struct end end = {0};
    if (copied)
        code = flush_copy(log);
    if (code == ST_OK && id.epoch != 0)
        code = freeze(log, copied, &end);
    if (code == ST_OK && id.epoch != 0)
        code = settle(log, old_writer, &end, &old);
#ifndef ST_DEFECT_NUMBERS_FROM_DISK
    if (code == ST_OK && page_number(log) > old.tail.number)
        old.tail.number = page_number(log);
#endif
    uint64_t random;
    if (code == ST_OK)
        code = random_id(log, &random);
    if (code == ST_OK)
        code = fingerprint(log, &id);
    struct st_tail tail = {0};
    if (code == ST_OK) {
        uint64_t ordinal = st_epoch_ordinal(id.epoch) + 1;
        id.epoch = ordinal << 48 | (random & 0xffffffffffffu);
        memcpy(id.boot_id, log->boot_id, 16);
        snprintf(id.reason, sizeof id.reason, "%s", reason);
        if (suffix_is_due(reason))
            suffix_renew(&id);
        code = first_record(log, &id, &old, &tail);
    }
    st_point(log, "epoch.recorded");
    if (code == ST_OK)
        code = identity_store(log, &id);
    st_point(log, "epoch.stored");
    if (code == ST_OK) {
        st_segment_close(log);
        log->identity = id;
        page_begin(log, &tail);
        log->began_epoch = true;
    }
    st_vector_release(&old.context);
    return code;
}

/* A version before this one, which made no numbers, has written here in this boot. */
static bool page_is_older(const struct st_log *log)
{
    const struct st_page *page = log->page;
    return page != NULL && st_atomic_load(&page->magic) == ST_PAGE_MAGIC && page->version == 1 &&
           page->epoch == log->identity.epoch;
}

/* Why a new epoch is due, or NULL. */
static enum st_code epoch_due(struct st_log *log, const char **reason)
{
    struct st_identity now = {0};
    *reason = NULL;
    enum st_code code = fingerprint(log, &now);
    if (code != ST_OK)
        return code;
    if (memcmp(log->identity.boot_id, log->boot_id, 16) != 0)
        *reason = "boot";
    else if (!fingerprint_same(&log->identity, &now))
        *reason = "copy";
    else if (!st_page_valid(log))
        *reason = page_is_older(log) ? "upgrade" : "doubt";
    else if (st_page_frozen(log->page))
        *reason = "dead";
    return ST_OK;
}

enum st_code st_epoch_check(struct st_log *log)
{
    enum st_code code = st_identity_load(log);
    const char *reason = NULL;
    if (code == ST_OK)
        code = epoch_due(log, &reason);
    if (code == ST_OK && reason != NULL)
        code = st_epoch_begin(log, reason);
    return code;
}

enum st_code st_log_repair(const struct st_env *env, const struct st_alloc *alloc, const char *dir,
                           const char *what, struct st_fault *fault)
{
    struct st_log log;
    enum st_code code = log_begin(&log, env, alloc, dir, what);
    if (code == ST_OK)
        code = st_identity_load(&log);
    if (code == ST_OK)
        code = locks_open(&log);
    if (code == ST_OK)
        code = page_map(&log);
    if (code == ST_OK)
        code = st_log_take(&log, ST_LOCK_APPEND, log.wait_ms);
    log.repairing = true;
    if (code == ST_OK)
        code = st_identity_load(&log);
    if (code == ST_OK)
        code = st_epoch_begin(&log, "repair");
    if (code != ST_OK)
        *fault = log.fault;
    st_log_close(&log);
    return code;
}

enum st_code st_log_renew(struct st_log *log, const char *reason)
{
    enum st_code code = st_log_lock(log);
    if (code != ST_OK)
        return code;
    code = st_epoch_begin(log, reason);
    st_log_unlock(log);
    return code;
}

enum st_code st_log_set_workspace(struct st_log *log, uint64_t workspace)
{
    enum st_code code = st_log_lock(log);
    if (code != ST_OK)
        return code;
    struct st_identity id = log->identity;
    id.workspace = workspace;
    suffix_renew(&id);
    code = identity_store(log, &id);
    if (code == ST_OK)
        log->identity = id;
    st_log_unlock(log);
    return code;
}

/* --- opening ---------------------------------------------------------------------------------- */

static enum st_code locks_open(struct st_log *log)
{
    const struct st_env *env = log->env;
    for (int i = 0; i < ST_LOCK_KINDS; i++) {
        char path[ST_PATH_SIZE];
        enum st_code code = st_path(&log->fault, path, log->dir, lock_files[i], NULL);
        if (code != ST_OK)
            return code;
        int fd = env->open(env->ctx, path, ST_OPEN_WRITE | ST_OPEN_CREATE);
        if (fd < 0)
            return st_fail_system(&log->fault, fd, "cannot open %s", path);
        log->lock_fds[i] = fd;
    }
    return ST_OK;
}

static enum st_code log_begin(struct st_log *log, const struct st_env *env,
                              const struct st_alloc *alloc, const char *dir, const char *what)
{
    memset(log, 0, sizeof *log);
    log->env = env;
    log->alloc = alloc;
    log->fd = -1;
    log->wait_ms = ST_WAIT_MS_DEFAULT;
    for (int i = 0; i < ST_LOCK_KINDS; i++)
        log->lock_fds[i] = -1;
    st_buf_init(&log->line, alloc);
    st_buf_init(&log->names, alloc);
    snprintf(log->what, sizeof log->what, "%s", what);
    if (strlen(dir) >= ST_PATH_SIZE)
        return st_fail(&log->fault, ST_LIMIT, "the path of the state is over %d bytes",
                       ST_PATH_SIZE - 1);
    strcpy(log->dir, dir);
    int r = env->boot_id(env->ctx, log->boot_id);
    return r < 0 ? st_fail_system(&log->fault, r, "cannot read the boot id") : ST_OK;
}

static enum st_code open_writable(struct st_log *log)
{
    enum st_code code = locks_open(log);
    if (code != ST_OK)
        return code;
    code = page_map(log);
    const char *reason = NULL;
    if (code == ST_OK)
        code = epoch_due(log, &reason);
    if (code == ST_OK && reason != NULL) {
        code = st_log_take(log, ST_LOCK_APPEND, log->wait_ms);
        if (code == ST_OK)
            code = st_epoch_check(log);
        st_log_drop(log, ST_LOCK_APPEND);
    }
    return code;
}

enum st_code st_log_open(struct st_log *log, const struct st_env *env, const struct st_alloc *alloc,
                         const char *dir, bool read_only, const char *what)
{
    enum st_code code = log_begin(log, env, alloc, dir, what);
    if (code == ST_OK)
        code = st_identity_load(log);
    if (code == ST_OK && !read_only) {
        code = open_writable(log);
        /* A sandbox that lets us only read: go on as a reader. */
        read_only = code == ST_READ_ONLY;
    }
    if (read_only && (code == ST_OK || code == ST_READ_ONLY)) {
        log->read_only = true;
        if (log->page != NULL)
            env->unmap(env->ctx, log->page, sizeof *log->page);
        log->page = NULL;
        code = page_map(log);
    }
    return code;
}

void st_log_close(struct st_log *log)
{
    if (log->env == NULL)
        return;
    const struct st_env *env = log->env;
    for (int i = 0; i < ST_LOCK_KINDS; i++) {
        if (log->locked[i])
            st_log_drop(log, (enum st_lock_kind)i);
        if (log->lock_fds[i] >= 0)
            env->close(env->ctx, log->lock_fds[i]);
    }
    st_segment_close(log);
    if (log->page != NULL)
        env->unmap(env->ctx, log->page, sizeof *log->page);
    st_buf_release(&log->line);
    st_buf_release(&log->names);
    memset(log, 0, sizeof *log);
}

static enum st_code make_directory(struct st_log *log, const char *name)
{
    char path[ST_PATH_SIZE];
    enum st_code code = st_path(&log->fault, path, log->dir, name, NULL);
    if (code != ST_OK)
        return code;
    int r = log->env->mkdir(log->env->ctx, path);
    if (r < 0 && r != -EEXIST)
        return st_fail_system(&log->fault, r, "cannot create %s", path);
    return ST_OK;
}

static enum st_code create_locked(struct st_log *log, struct st_identity *identity)
{
    enum st_code code = st_identity_load(log);
    if (code == ST_OK)
        return st_fail(&log->fault, ST_EXISTS, "%s holds a replica already", log->dir);
    if (code != ST_NO_WORKSPACE)
        return code;
    log->identity = (struct st_identity){.workspace = identity->workspace};
    snprintf(log->identity.name, sizeof log->identity.name, "%s", identity->name);
    code = random_id(log, &log->identity.replica);
    if (code == ST_OK && log->identity.workspace == 0)
        code = random_id(log, &log->identity.workspace);
    if (code == ST_OK)
        code = st_epoch_begin(log, strcmp(identity->reason, "join") == 0 ? "join" : "init");
    *identity = log->identity;
    return code;
}

enum st_code st_log_create(const struct st_env *env, const struct st_alloc *alloc, const char *dir,
                           struct st_identity *identity, struct st_fault *fault)
{
    struct st_log log;
    enum st_code code = log_begin(&log, env, alloc, dir, "init");
    if (code == ST_OK && st_agent_check(st_str_of(identity->name)) != ST_OK)
        code = st_fail(&log.fault, ST_INVALID, "'%s' cannot be a replica's name", identity->name);
    if (code == ST_OK)
        code = make_directory(&log, "log");
    if (code == ST_OK)
        code = make_directory(&log, "quarantine");
    if (code == ST_OK)
        code = locks_open(&log);
    if (code == ST_OK)
        code = page_map(&log);
    if (code == ST_OK)
        code = st_log_take(&log, ST_LOCK_APPEND, log.wait_ms);
    if (code == ST_OK)
        code = create_locked(&log, identity);
    if (code != ST_OK)
        *fault = log.fault;
    st_log_close(&log);
    return code;
}
