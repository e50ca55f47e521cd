/* lib_world.c - see lib_world.h. */
#include "lib_world.h"

#include "core/record.h"
#include "lib/internal.h"
#include "store/index.h"
#include "store/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int64_t world_clock_ms;
uint8_t world_boot;
uint64_t world_strike, world_term_ms, world_time_space;
uint64_t world_unflushed;
void (*world_before_exchange)(const char *path);
void (*world_before_rename)(const char *from);
void (*world_at_point)(const char *label);
void (*world_at_full_disk)(void);

static char world_dir[128];

/* TEST: only the tests of a program whose name matches this pattern. */
__attribute__((constructor)) static void choose_tests(void)
{
    cmocka_set_test_filter(getenv("TEST"));
}

/* --- the operating system, with a clock that can be set ------------------------------------------
 */

const struct st_env *__real_st_env_posix(void);
const struct st_env *__wrap_st_env_posix(void);

static uint64_t shifted_wall_ms(void *ctx)
{
    return (uint64_t)((int64_t)__real_st_env_posix()->wall_ms(ctx) + world_clock_ms);
}

static uint64_t shifted_boot_ns(void *ctx)
{
    return __real_st_env_posix()->boot_ns(ctx) + world_term_ms * 1000000;
}

static uint64_t other_clock_id(void *ctx)
{
    return __real_st_env_posix()->clock_id(ctx) ^ world_time_space;
}

static int other_boot_id(void *ctx, uint8_t out[16])
{
    int r = __real_st_env_posix()->boot_id(ctx, out);
    out[3] = (uint8_t)(out[3] ^ world_boot);
    return r;
}

#define FDS 1024
static bool dirty[FDS];
static uint64_t closed_dirty;

void world_forget_writes(void)
{
    memset(dirty, 0, sizeof dirty);
    closed_dirty = world_unflushed = 0;
}

uint64_t world_dirty(void)
{
    uint64_t count = closed_dirty;
    for (int i = 0; i < FDS; i++)
        count += dirty[i];
    return count;
}

static void note_write(int fd)
{
    world_unflushed = closed_dirty;
    for (int i = 0; i < FDS; i++)
        world_unflushed += dirty[i] && i != fd;
    if (fd < FDS)
        dirty[fd] = true;
}

static int noting_close(void *ctx, int fd)
{
    if (fd >= 0 && fd < FDS) {
        closed_dirty += dirty[fd];
        dirty[fd] = false;
    }
    return __real_st_env_posix()->close(ctx, fd);
}

static bool strikes(void)
{
    return world_strike > 0 && --world_strike == 0;
}

static void strike_maybe(void)
{
    if (strikes())
        kill(getpid(), SIGKILL);
}

static ssize_t striking_pwrite(void *ctx, int fd, const void *buf, size_t n, uint64_t offset)
{
    if (strikes()) {
        (void)!pwrite(fd, buf, n / 2, (off_t)offset);
        kill(getpid(), SIGKILL);
    }
    note_write(fd);
    void (*told)(void) = world_at_full_disk;
    world_at_full_disk = NULL;
    ssize_t done = __real_st_env_posix()->pwrite(ctx, fd, buf, told != NULL ? n - 10 : n, offset);
    if (told != NULL)
        told();
    return done;
}

/* --- power ------------------------------------------------------------------------------------ */

static char disk[160]; /* where it is noted what was flushed: i<inode> contents, d<inode> names */

static const char *noted(char kind, uint64_t inode)
{
    static char path[2][200];
    static unsigned next;
    char *out = path[next++ % 2];
    snprintf(out, sizeof path[0], "%s/%c%" PRIu64, disk, kind, inode);
    return out;
}

static void copy_bytes(int from, int to)
{
    static char buf[65536];
    ssize_t n;
    for (off_t at = 0; (n = pread(from, buf, sizeof buf, at)) > 0; at += n)
        if (pwrite(to, buf, (size_t)n, at) != n)
            abort();
}

static void note_content(int fd)
{
    struct stat st;
    if (disk[0] == '\0' || fstat(fd, &st) != 0)
        return;
    /* Aside and renamed: the process may die meanwhile. */
    char aside[200];
    snprintf(aside, sizeof aside, "%s/new", disk);
    int to = open(aside, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    copy_bytes(fd, to);
    close(to);
    if (rename(aside, noted('i', (uint64_t)st.st_ino)) != 0)
        abort();
}

static void note_names(const char *path)
{
    struct stat st;
    char aside[200];
    DIR *dir = disk[0] != '\0' && stat(path, &st) == 0 ? opendir(path) : NULL;
    if (dir == NULL)
        return;
    snprintf(aside, sizeof aside, "%s/new", disk);
    FILE *f = fopen(aside, "w");
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.')
            fprintf(f, "%" PRIu64 " %s\n", (uint64_t)e->d_ino, e->d_name);
    fclose(f);
    closedir(dir);
    if (rename(aside, noted('d', (uint64_t)st.st_ino)) != 0)
        abort();
}

static bool rebuilt_file(const char *name)
{
    return strncmp(name, "index", 5) == 0 || strcmp(name, "page") == 0 ||
           strcmp(name, "answers") == 0 || strstr(name, ".lock") != NULL;
}

static int note_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)ftw;
    if (type == FTW_D)
        note_names(path);
    int fd = type == FTW_F ? open(path, O_RDONLY) : -1;
    if (fd >= 0) {
        note_content(fd);
        close(fd);
    }
    return 0;
}

void world_power_watch(const char *name)
{
    snprintf(disk, sizeof disk, "%s/disk", world_dir);
    world_run("rm -rf disk && mkdir disk");
    assert_int_equal(nftw(world_file(name, ""), note_one, 16, FTW_PHYS), 0);
}

/* Whether the directory's name was flushed, and of which file it was then. */
static bool name_kept(uint64_t dir, const char *name, uint64_t *inode)
{
    char line[300];
    FILE *f = fopen(noted('d', dir), "r");
    bool kept = false;
    while (f != NULL && !kept && fgets(line, sizeof line, f) != NULL) {
        int at = 0;
        line[strcspn(line, "\n")] = '\0';
        kept = sscanf(line, "%" SCNu64 " %n", inode, &at) == 1 && strcmp(line + at, name) == 0;
    }
    if (f != NULL)
        fclose(f);
    return kept;
}

static bool lose_indexes;

/* Files first, then their directory. */
static int lose_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    const char *name = path + ftw->base;
    char parent[512];
    struct stat of;
    uint64_t inode;
    (void)st;
    snprintf(parent, sizeof parent, "%.*s", ftw->base > 0 ? ftw->base - 1 : 0, path);
    if (ftw->level == 0 || stat(parent, &of) != 0)
        return 0;
    if (type == FTW_F && rebuilt_file(name))
        return lose_indexes && strncmp(name, "index.db", 8) == 0 ? remove(path) : 0;
    if (!name_kept((uint64_t)of.st_ino, name, &inode))
        return remove(path);
    if (type != FTW_F)
        return 0;
    int to = open(path, O_WRONLY | O_TRUNC), from = open(noted('i', inode), O_RDONLY);
    if (from >= 0)
        copy_bytes(from, to);
    close(from);
    close(to);
    return 0;
}

void world_power_fail(const char *name, bool lose_index)
{
    lose_indexes = lose_index;
    assert_int_equal(nftw(world_file(name, ""), lose_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    world_boot++;
    disk[0] = '\0';
}

static int striking_fdatasync(void *ctx, int fd)
{
    strike_maybe();
    if (fd >= 0 && fd < FDS)
        dirty[fd] = false;
    int r = __real_st_env_posix()->fdatasync(ctx, fd);
    if (r >= 0)
        note_content(fd);
    return r;
}

static int striking_ftruncate(void *ctx, int fd, uint64_t size)
{
    strike_maybe();
    return __real_st_env_posix()->ftruncate(ctx, fd, size);
}

static int striking_allocate(void *ctx, int fd, uint64_t size)
{
    strike_maybe();
    return __real_st_env_posix()->allocate(ctx, fd, size);
}

static int striking_rename(void *ctx, const char *from, const char *to)
{
    if (world_before_rename != NULL)
        world_before_rename(from);
    strike_maybe();
    return __real_st_env_posix()->rename(ctx, from, to);
}

static int striking_exchange(void *ctx, const char *a, const char *b)
{
    if (world_before_exchange != NULL)
        world_before_exchange(b);
    strike_maybe();
    return __real_st_env_posix()->exchange(ctx, a, b);
}

static int striking_unlink(void *ctx, const char *path)
{
    strike_maybe();
    return __real_st_env_posix()->unlink(ctx, path);
}

static int striking_mkdir(void *ctx, const char *path)
{
    strike_maybe();
    return __real_st_env_posix()->mkdir(ctx, path);
}

static int striking_sync_directory(void *ctx, const char *path)
{
    strike_maybe();
    int r = __real_st_env_posix()->sync_directory(ctx, path);
    if (r >= 0)
        note_names(path);
    return r;
}

static void at_point(void *ctx, const char *label)
{
    (void)ctx;
    if (world_at_point != NULL)
        world_at_point(label);
}

const struct st_env *__wrap_st_env_posix(void)
{
    static struct st_env env;
    if (env.open == NULL) {
        env = *__real_st_env_posix();
        env.wall_ms = shifted_wall_ms;
        env.boot_id = other_boot_id;
        env.boot_ns = shifted_boot_ns;
        env.clock_id = other_clock_id;
        env.close = noting_close;
        env.pwrite = striking_pwrite;
        env.fdatasync = striking_fdatasync;
        env.ftruncate = striking_ftruncate;
        env.allocate = striking_allocate;
        env.rename = striking_rename;
        env.exchange = striking_exchange;
        env.unlink = striking_unlink;
        env.mkdir = striking_mkdir;
        env.sync_directory = striking_sync_directory;
        env.point = at_point;
    }
    return &env;
}

/* --- directories ------------------------------------------------------------------------------ */

static char *slot(void)
{
    static char slots[16][512];
    static unsigned next;
    return slots[next++ % 16];
}

int world_setup(void **state)
{
    (void)state;
    const char *parent = getenv("TMPDIR");
    world_clock_ms = 0;
    world_boot = 0;
    world_before_exchange = NULL;
    world_before_rename = NULL;
    world_at_point = NULL;
    world_at_full_disk = NULL;
    world_strike = world_term_ms = world_time_space = 0;
    world_forget_writes();
    disk[0] = '\0';
    snprintf(world_dir, sizeof world_dir, "%.100s/strata-lib-XXXXXX",
             parent != NULL ? parent : "/tmp");
    return mkdtemp(world_dir) != NULL ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path) == 0 || errno == EBUSY ? 0 : -1;
}

int world_teardown(void **state)
{
    (void)state;
    return nftw(world_dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *world_path(const char *name)
{
    char *out = slot();
    snprintf(out, 512, "%s/%s", world_dir, name);
    return out;
}

const char *world_file(const char *name, const char *file)
{
    char *out = slot();
    snprintf(out, 512, "%s/%s/.strata/%s", world_dir, name, file);
    return out;
}

void world_run(const char *format, ...)
{
    char command[1024], full[1300];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof command, format, args);
    va_end(args);
    snprintf(full, sizeof full, "cd '%s' && %s", world_dir, command);
    if (system(full) != 0)
        fail_msg("failed: %s", command);
}

/* --- replicas --------------------------------------------------------------------------------- */

void world_init(const char *name)
{
    strata_init_options o = {.size = sizeof o, .name = name};
    strata_init_result r;
    strata_error e;
    if (mkdir(world_path(name), 0777) < 0 && errno != EEXIST)
        fail_msg("cannot make %s", world_path(name));
    if (strata_init(world_path(name), &o, &r, &e) != STRATA_OK)
        fail_msg("init %s: %s", name, e.message);
    assert_true(r.created);
}

strata *world_open(const char *name, const char *agent)
{
    return world_open_life(name, agent, 0);
}

strata *world_open_life(const char *name, const char *agent, uint64_t incarnation)
{
    strata_options o = {
        .size = sizeof o, .agent = agent, .program = "test", .incarnation = incarnation};
    strata_error e;
    strata *s = NULL;
    if (strata_open(world_path(name), &o, &s, &e) != STRATA_OK)
        fail_msg("open %s: %s (%s)", name, e.message, e.hint);
    return s;
}

void world_code(strata *s, int code, int wanted, const char *file, int line)
{
    if (code != wanted)
        fail_msg("%s:%d: %s instead of %s: %s", file, line, strata_code_name(code),
                 strata_code_name(wanted), code != STRATA_OK ? strata_last_error(s)->message : "");
}

int world_write(strata *s, int kind, const char *entity, const char *attribute, const char *value,
                strata_written *written)
{
    strata_op op = {.kind = kind,
                    .entity = entity,
                    .attribute = attribute,
                    .value = value,
                    .value_size = STRATA_NUL,
                    .delta = kind == STRATA_COUNT ? strtoll(value, NULL, 10) : 0};
    return strata_write(s, &op, 1, written != NULL ? STRATA_ANSWER : 0, NULL, written);
}

void world_set(strata *s, const char *entity, const char *attribute, const char *value)
{
    ok(s, world_write(s, STRATA_SET, entity, attribute, value, NULL));
}

int64_t world_counted(const char *name)
{
    strata *s = world_open(name, NULL);
    int64_t total;
    ok(s, strata_counter_get(s, "written", &total));
    strata_close(s);
    return total;
}

const char *world_get(strata *s, const char *entity, const char *attribute)
{
    strata_attribute a;
    int code = strata_fact_get(s, entity, attribute, 0, &a);
    if (code == STRATA_NOT_FOUND)
        return "";
    ok(s, code);
    char *out = slot();
    snprintf(out, 512, "%s", a.shown != NULL ? a.shown->value : "");
    return out;
}

void world_shows(strata *s, const char *entity, const char *attribute, const char *value)
{
    assert_string_equal(world_get(s, entity, attribute), value);
}

void world_status(const char *name, strata_status *out)
{
    strata *s = world_open(name, NULL);
    ok(s, strata_status_get(s, out));
    strata_close(s);
    out->workspace = out->replica = out->name = out->state_dir = NULL;
    out->replicas = NULL;
}

void world_digest(const char *name, char out[33])
{
    strata_status st;
    world_status(name, &st);
    memcpy(out, st.digest, 33);
}

void world_same_digest(const char *a, const char *b)
{
    char x[33], y[33];
    world_digest(a, x);
    world_digest(b, y);
    assert_string_equal(x, y);
}

void world_replica(const char *name, char id[17])
{
    strata *s = world_open(name, NULL);
    strata_status st;
    ok(s, strata_status_get(s, &st));
    snprintf(id, 17, "%s", st.replica);
    strata_close(s);
}

struct first_pending {
    strata_pending *out;
    size_t count;
};

static int visit_pending(void *arg, const strata_pending *p)
{
    struct first_pending *f = arg;
    if (f->count++ == 0 && f->out != NULL) {
        *f->out = *p;
        f->out->items = NULL;
        f->out->entity = f->out->attribute = NULL;
    }
    return 0;
}

size_t world_pending(strata *s, int kind, strata_pending *first)
{
    struct first_pending f = {first, 0};
    ok(s, strata_pending_each(s, kind, 0, visit_pending, &f));
    return f.count;
}

uint64_t world_merge(const char *to, const char *from)
{
    strata *s = world_open(to, NULL);
    strata_merge_result r;
    ok(s, strata_merge_state(s, world_path(from), false, &r));
    strata_close(s);
    return r.records;
}

void world_rebuilt_digest(const char *name, char out[33])
{
    strata *s = world_open(name, NULL);
    ok(s, st_lib_begin(s));
    st_lib_end(s);
    assert_int_equal(st_index_rebuild(s->index), ST_OK);
    strata_status st;
    ok(s, strata_status_get(s, &st));
    memcpy(out, st.digest, 33);
    strata_close(s);
}

/* --- logs ------------------------------------------------------------------------------------- */

struct seen_dot {
    struct st_dot dot;
    uint64_t checksum;
};

struct dots {
    struct seen_dot *list;
    size_t count, cap;
};

static void dot_add(struct dots *d, struct st_dot dot, uint64_t checksum)
{
    if (d->count == d->cap) {
        d->cap = d->cap == 0 ? 1024 : d->cap * 2;
        d->list = realloc(d->list, d->cap * sizeof *d->list);
        assert_non_null(d->list);
    }
    d->list[d->count++] = (struct seen_dot){dot, checksum};
}

/* All records of all writers; `fn` per writer when it is not NULL. */
static void read_logs(const char *name, struct dots *d, size_t *writer_count)
{
    struct st_writer *writers = NULL;
    const struct st_env *env = __real_st_env_posix();
    const char *dir = world_file(name, "");
    assert_int_equal(st_log_writers(env, st_alloc_libc(), dir, &writers, writer_count), ST_OK);
    for (size_t i = 0; i < *writer_count; i++) {
        struct st_log_reader r;
        struct st_str line;
        struct st_record head;
        enum st_code code = st_log_reader_open(&r, env, st_alloc_libc(), dir, writers[i]);
        assert_int_equal(code, ST_OK);
        while ((code = st_log_reader_next(&r, &line, &head)) == ST_OK)
            dot_add(d, head.dot, head.checksum);
        if (code != ST_NOT_FOUND)
            fail_msg("%s", r.fault.message);
        st_log_reader_close(&r);
    }
    free(writers);
}

static int compare_dots(const void *a, const void *b)
{
    return st_dot_compare(((const struct seen_dot *)a)->dot, ((const struct seen_dot *)b)->dot);
}

void world_dots_are_unique(const char *const *names, size_t count)
{
    struct dots d = {0};
    for (size_t i = 0; i < count; i++) {
        size_t writers;
        read_logs(names[i], &d, &writers);
    }
    if (d.count > 1)
        qsort(d.list, d.count, sizeof *d.list, compare_dots);
    for (size_t i = 1; i < d.count; i++) {
        const struct seen_dot *x = &d.list[i - 1], *y = &d.list[i];
        if (st_dot_compare(x->dot, y->dot) == 0 && x->checksum != y->checksum)
            fail_msg("two records are %016" PRIx64 "-%016" PRIx64 "-%" PRIu64,
                     x->dot.writer.replica, x->dot.writer.epoch, x->dot.counter);
    }
    free(d.list);
}

uint64_t world_records(const char *name, size_t *writers)
{
    struct dots d = {0};
    size_t count;
    read_logs(name, &d, &count);
    free(d.list);
    if (writers != NULL)
        *writers = count;
    return d.count;
}

size_t world_notices(strata *s, const char *text)
{
    size_t found = 0;
    const char *notice;
    while ((notice = strata_next_notice(s)) != NULL)
        found += strstr(notice, text) != NULL;
    return found;
}

/* --- processes -------------------------------------------------------------------------------- */

void world_processes(size_t count, int (*run)(void *arg, size_t i), void *arg)
{
    pid_t children[64];
    int failed = 0;
    assert_true(count <= 64);
    fflush(NULL);
    for (size_t i = 0; i < count; i++) {
        children[i] = fork();
        if (children[i] == 0)
            _exit(run(arg, i));
        assert_true(children[i] > 0);
    }
    for (size_t i = 0; i < count; i++) {
        int status = 0;
        if (waitpid(children[i], &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            failed++;
    }
    if (failed > 0)
        fail_msg("%d of %zu processes failed", failed, count);
}

bool world_killed(void (*fn)(void), uint64_t strike, unsigned after_us)
{
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        world_strike = strike;
        fn();
        _exit(0);
    }
    if (after_us > 0) {
        usleep(after_us);
        kill(child, SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    return WIFSIGNALED(status);
}

int world_stopped(void (*hold)(void *arg), void *arg)
{
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        hold(arg);
        kill(getpid(), SIGSTOP);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    return child;
}

void world_continue(int process)
{
    int status;
    kill(process, SIGCONT);
    assert_int_equal(waitpid(process, &status, 0), process);
}

uint64_t world_random(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
