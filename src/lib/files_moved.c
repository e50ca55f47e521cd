/*
 * files_moved.c - what the log says since views were last looked at, and which of them that can
 * change.
 *
 * Rendering a view of a thousand lines costs more than all the rest of a command. Mostly a command
 * leaves one record, which is of something else: so the last records of our own log are read, from
 * the end backwards, which needs no index. Whoever took in records of others, or wrote more than is
 * looked through, has all views rendered.
 */
#include "lib/files.h"

#include "store/log_internal.h"

#include <stdlib.h>

/* Records that are looked through: those of one command, mostly one. */
#define RECORDS_MAX 64
/* And their bytes, from the end of the log. */
#define LOOK_SIZE (64u * 1024)

#define ALL UINT64_MAX

static uint64_t shown_by(const struct st_op *op)
{
    uint64_t views = 0;
    const struct st_view *v;
    if (op->kind == ST_OP_SEEN || op->kind == ST_OP_UNKNOWN)
        return ALL;
    for (size_t i = 0; (v = st_view_at(i)) != NULL; i++)
        if (v->shows(op))
            views |= UINT64_C(1) << i;
    return views;
}

/* The end of the tail's segment, up to `size` bytes. */
static size_t read_end(strata *s, const struct st_tail *tail, char *buf, size_t size)
{
    const struct st_env *env = s->log.env;
    char path[ST_PATH_SIZE];
    struct st_fault fault;
    size_t want = tail->offset < size ? (size_t)tail->offset : size;
    if (st_segment_path(&fault, path, s->log.dir, st_log_writer(&s->log), tail->segment) != ST_OK)
        return 0;
    int fd = env->open(env->ctx, path, ST_OPEN_READ);
    ssize_t n = fd >= 0 ? env->pread(env->ctx, fd, buf, want, tail->offset - want) : -1;
    if (fd >= 0)
        env->close(env->ctx, fd);
    return n == (ssize_t)want ? want : 0;
}

/* The last line of *text, with its newline; takes it off. */
static bool last_line(struct st_str *text, struct st_str *line)
{
    if (text->n == 0 || text->p[text->n - 1] != '\n')
        return false;
    const char *before = memrchr(text->p, '\n', text->n - 1);
    if (before == NULL)
        return false; /* it may begin before what was read */
    *line = (struct st_str){before + 1, (size_t)(text->p + text->n - (before + 1))};
    text->n -= line->n;
    return true;
}

/* Which views (bit i: st_view_at(i)) the records after `counter` can have changed; all when it is not
 * known. */
static uint64_t moved_since(strata *s, uint64_t counter, const struct st_tail *tail)
{
    struct st_record_scratch scratch;
    char *buf = NULL;
    uint64_t views = 0, count = tail->counter - counter;
#ifdef ST_DEFECT_MOVED_NEVER
    return 0;
#endif
    if (tail->counter < counter || count > RECORDS_MAX || tail->segment > counter + 1 ||
        (buf = malloc(LOOK_SIZE)) == NULL)
        return ALL;
    struct st_str text = {buf, read_end(s, tail, buf, LOOK_SIZE)}, line;
    st_record_scratch_init(&scratch, st_alloc_libc());
    for (uint64_t i = 0; i < count && views != ALL; i++) {
        struct st_record record = {0};
        if (!last_line(&text, &line) || st_record_decode(line, &scratch, &record) != ST_OK ||
            record.dot.counter != tail->counter - i) {
            views = ALL;
            break;
        }
        for (size_t k = 0; k < record.op_count && views != ALL; k++)
            views |= shown_by(&record.ops[k]);
    }
    st_record_scratch_release(&scratch);
    free(buf);
    return views;
}

bool st_files_moved(strata *s, const struct st_entry *e, const struct st_tail *tail)
{
    const struct st_registry *r = &s->files->registry;
    uint64_t epoch = st_log_writer(&s->log).epoch, counter = r->epoch == epoch ? r->counter : 0;
    const struct st_view *v;
    if (e->kind != ST_ENTRY_VIEW)
        return true; /* documents look for themselves */
    if (e->shown_epoch == epoch && e->shown_counter > counter)
        counter = e->shown_counter;
    else if (r->epoch != epoch)
        return true;
    uint64_t views = moved_since(s, counter, tail);
    for (size_t i = 0; (v = st_view_at(i)) != NULL; i++)
        if (strcmp(v->name, e->name) == 0)
            return (views >> i & 1) != 0;
    return true;
}
