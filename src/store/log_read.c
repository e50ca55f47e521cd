/*
 * log_read.c - reading a writer's segments: every line is verified (checksum, writer, counter,
 * predecessor) before it is given out. Readers never change anything.
 */
#include "store/log_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Reads grow from one to the other: a command looks at one record, a rebuild at all. A larger buffer
 * costs more page faults than it saves system calls. */
#define READ_SIZE_MIN (8u * 1024)
#define READ_SIZE_MAX (64u * 1024)

enum st_code st_log_reader_open(struct st_log_reader *r, const struct st_env *env,
                                const struct st_alloc *alloc, const char *state_dir,
                                struct st_writer writer)
{
    memset(r, 0, sizeof *r);
    r->env = env;
    r->alloc = alloc;
    r->writer = writer;
    r->fd = -1;
    r->segment = 1;
    r->step = READ_SIZE_MIN;
    r->checksum_known = r->counter_known = true;
    return st_writer_path(&r->fault, r->dir, state_dir, writer);
}

static void reader_file_close(struct st_log_reader *r)
{
    if (r->fd >= 0)
        r->env->close(r->env->ctx, r->fd);
    r->fd = -1;
    r->start = r->end = 0;
}

void st_log_reader_close(struct st_log_reader *r)
{
    if (r->env == NULL)
        return;
    reader_file_close(r);
    if (r->buf != NULL)
        r->alloc->resize(r->alloc->ctx, r->buf, 0);
    r->buf = NULL;
    r->cap = 0;
}

void st_log_reader_seek(struct st_log_reader *r, uint64_t segment, uint64_t offset,
                        uint64_t counter, uint64_t checksum)
{
    if (segment != r->segment)
        reader_file_close(r);
    r->start = r->end = 0;
    r->step = READ_SIZE_MIN;
    r->segment = segment;
    r->offset = offset;
    r->counter = counter;
    r->checksum = checksum;
    r->checksum_known = r->counter_known = true;
}

struct find {
    uint64_t limit, best;
};

static int find_segment(void *arg, const char *name)
{
    struct find *f = arg;
    char *end;
    uint64_t first = strtoull(name, &end, 10);
    if (end - name == 16 && strcmp(end, ".jsonl") == 0 && first <= f->limit && first > f->best)
        f->best = first;
    return 0;
}

enum st_code st_segment_find(const struct st_env *env, const char *dir, uint64_t counter,
                             uint64_t *segment, struct st_fault *fault)
{
    struct find f = {.limit = counter};
    int r = env->list(env->ctx, dir, find_segment, &f);
    if (r < 0 && r != -ENOENT)
        return st_fail_system(fault, r, "cannot list %s", dir);
    *segment = f.best;
    return ST_OK;
}

enum st_code st_log_reader_find(struct st_log_reader *r, uint64_t counter)
{
    uint64_t segment = 0;
    enum st_code found = st_segment_find(r->env, r->dir, counter, &segment, &r->fault);
    if (found != ST_OK)
        return found;
    if (segment == 0)
        return st_fail(&r->fault, ST_NOT_FOUND, "%s has no record %" PRIu64, r->dir, counter);
    st_log_reader_seek(r, segment, 0, segment - 1, 0);
    r->checksum_known = segment == 1;
    if (counter == UINT64_MAX)
        return ST_OK;
    while (r->counter + 1 < counter) {
        struct st_str line;
        struct st_record head;
        enum st_code code = st_log_reader_next(r, &line, &head);
        if (code != ST_OK)
            return code;
    }
    return ST_OK;
}

static enum st_code reader_file_open(struct st_log_reader *r)
{
    char name[32], path[ST_PATH_SIZE];
    snprintf(name, sizeof name, "%016" PRIu64 ".jsonl", r->segment);
    enum st_code code = st_path(&r->fault, path, r->dir, name, NULL);
    if (code != ST_OK)
        return code;
    int fd = r->env->open(r->env->ctx, path, ST_OPEN_READ);
    if (fd == -ENOENT)
        return ST_NOT_FOUND;
    if (fd < 0)
        return st_fail_system(&r->fault, fd, "cannot open %s", path);
    r->fd = fd;
    return ST_OK;
}

static enum st_code reader_damaged(struct st_log_reader *r, const char *why)
{
    return st_fail(&r->fault, ST_DAMAGED,
                   "%s/%016" PRIu64 ".jsonl is damaged at byte %" PRIu64 " (record %" PRIu64
                   "): %s",
                   r->dir, r->segment, r->offset, r->counter + 1, why);
}

/* Reads more of the segment behind what is in the buffer. ST_NOT_FOUND at its end. */
static enum st_code reader_fill(struct st_log_reader *r)
{
    if (r->start > 0) {
        memmove(r->buf, r->buf + r->start, r->end - r->start);
        r->end -= r->start;
        r->start = 0;
    }
    if (r->end > ST_LINE_SIZE_MAX)
        return reader_damaged(r, "a line is longer than any record");
    size_t want = r->step;
    r->step = want * 4 < READ_SIZE_MAX ? want * 4 : READ_SIZE_MAX;
    if (r->cap - r->end < want) {
        size_t cap = r->end + want;
        char *p = r->alloc->resize(r->alloc->ctx, r->buf, cap);
        if (p == NULL)
            return st_fail(&r->fault, ST_NO_MEMORY, "out of memory");
        r->buf = p;
        r->cap = cap;
    }
    ssize_t n = r->env->pread(r->env->ctx, r->fd, r->buf + r->end, want, r->offset + r->end);
    if (n < 0)
        return st_fail_system(&r->fault, (int)n, "cannot read %s", r->dir);
    r->end += (size_t)n;
    return n == 0 ? ST_NOT_FOUND : ST_OK;
}

/* The end of a segment: on to the next one, if there is one. */
static enum st_code reader_advance(struct st_log_reader *r)
{
    bool partial = r->end > r->start;
    /* What is incomplete now may be cut and replaced before the next look. */
    r->start = r->end = 0;
    if (partial || r->one_segment || r->counter + 1 == r->segment)
        return ST_NOT_FOUND;
    uint64_t segment = r->segment;
    uint64_t offset = r->offset;
    int fd = r->fd;
    r->segment = r->counter + 1;
    r->offset = 0;
    enum st_code code = reader_file_open(r);
    if (code != ST_OK) {
        r->segment = segment;
        r->offset = offset;
        r->fd = fd;
        return code;
    }
    r->env->close(r->env->ctx, fd);
    return ST_OK;
}

static enum st_code reader_decode(struct st_log_reader *r, struct st_str line,
                                  struct st_record *out)
{
    if (r->scratch != NULL && st_record_decode(line, r->scratch, out) == ST_OK)
        return ST_OK;
    return st_record_decode_head(line, out);
}

static enum st_code reader_verify(struct st_log_reader *r, struct st_str line,
                                  struct st_record *head)
{
    if (line.n > ST_LINE_SIZE_MAX || line.n <= ST_SEAL_SIZE)
        return reader_damaged(r, "not a record");
    enum st_code code = reader_decode(r, line, head);
    if (code != ST_OK)
        return reader_damaged(r, "not a record");
#ifndef ST_DEFECT_ADOPT_TORN
    if (head->checksum != st_checksum(line.p, line.n - ST_SEAL_SIZE))
        return reader_damaged(r, "the checksum does not fit");
    if (r->checksum_known && head->previous != r->checksum)
        return reader_damaged(r, "it does not follow the record before it");
#endif
    if (st_writer_compare(head->dot.writer, r->writer) != 0)
        return reader_damaged(r, "a record of another writer");
    if (r->counter_known && head->dot.counter != r->counter + 1)
        return reader_damaged(r, "the counter does not follow");
    return ST_OK;
}

/* Bytes of room from `at` to the end of the file, as it is now; -1 if there is anything else. Drops what is in
 * the buffer. */
static int64_t room_size(struct st_log_reader *r, uint64_t at)
{
    int64_t size = 0;
    ssize_t n;
    r->start = r->end = 0;
    while ((n = r->env->pread(r->env->ctx, r->fd, r->buf, r->cap, at + (uint64_t)size)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            if (!st_is_room(r->buf[i]))
                return -1;
        size += n;
    }
    return n == 0 ? size : -1;
}

/* Where the line that the buffer begins with is no record, at a second look: room, after which the next segment
 * comes, if there is one; or a record that is being written over room; or damage. */
static enum st_code reader_no_record(struct st_log_reader *r, size_t line_size)
{
    if (line_size == 1)
        return room_size(r, r->offset) >= 0 ? reader_advance(r)
                                            : reader_damaged(r, "an empty line");
#ifdef ST_DEFECT_ROOM_DAMAGES
    return ST_DAMAGED;
#endif
    return room_size(r, r->offset + line_size) > 0 ? ST_NOT_FOUND : ST_DAMAGED;
}

enum st_code st_log_reader_next(struct st_log_reader *r, struct st_str *line,
                                struct st_record *head)
{
    enum st_code code = ST_OK;
    if (r->fd < 0)
        code = reader_file_open(r);
    size_t searched = 0;
    bool again = false;
    while (code == ST_OK) {
        size_t have = r->end - r->start;
        char *newline =
            have > searched ? memchr(r->buf + r->start + searched, '\n', have - searched) : NULL;
        if (newline == NULL) {
            searched = have;
            code = reader_fill(r);
            if (code == ST_NOT_FOUND) {
                searched = 0;
                code = reader_advance(r);
            }
            continue;
        }
        *line = (struct st_str){r->buf + r->start, (size_t)(newline + 1 - r->buf) - r->start};
        code = line->n == 1 ? ST_DAMAGED : reader_verify(r, *line, head);
        if (code == ST_OK) {
            r->line_segment = r->segment;
            r->line_offset = r->offset;
            r->start += line->n;
            r->offset += line->n;
            r->counter = head->dot.counter;
            r->checksum = head->checksum;
            r->checksum_known = r->counter_known = true;
            return ST_OK;
        }
        if (code != ST_DAMAGED)
            return code;
#ifdef ST_DEFECT_ROOM_BELIEVED
        again = again || line->n == 1;
#endif
        if (again) {
            code = reader_no_record(r, line->n);
        } else {
            /* What was room may be a record by now. */
            code = ST_OK;
            r->start = r->end = 0;
            r->step = READ_SIZE_MIN;
        }
        again = !again;
        searched = 0;
    }
    return code;
}

enum st_code st_log_reader_at(struct st_log_reader *r, uint64_t segment, uint64_t offset,
                              struct st_str *line)
{
    struct st_record head;
    st_log_reader_seek(r, segment, offset, 0, 0);
    r->checksum_known = false;
    r->counter_known = false;
    r->one_segment = true;
    enum st_code code = st_log_reader_next(r, line, &head);
    return code;
}

/* --- which writers there are ------------------------------------------------------------------ */

struct writers {
    const struct st_alloc *alloc;
    struct st_writer *list;
    size_t count, cap;
};

static int add_writer(void *arg, const char *name)
{
    struct writers *w = arg;
    struct st_writer one;
    if (strlen(name) != 33 || name[16] != '-' || !st_parse_hex64(name, &one.replica) ||
        !st_parse_hex64(name + 17, &one.epoch))
        return 0;
    if (w->count == w->cap) {
        size_t cap = w->cap == 0 ? 16 : w->cap * 2;
        void *p = w->alloc->resize(w->alloc->ctx, w->list, cap * sizeof *w->list);
        if (p == NULL)
            return -ENOMEM;
        w->list = p;
        w->cap = cap;
    }
    w->list[w->count++] = one;
    return 0;
}

static int compare_writers(const void *a, const void *b)
{
    return st_writer_compare(*(const struct st_writer *)a, *(const struct st_writer *)b);
}

enum st_code st_log_writers(const struct st_env *env, const struct st_alloc *alloc,
                            const char *state_dir, struct st_writer **out, size_t *count)
{
    char path[ST_PATH_SIZE];
    struct st_fault fault;
    enum st_code code = st_path(&fault, path, state_dir, "log", NULL);
    if (code != ST_OK)
        return code;
    struct writers w = {.alloc = alloc};
    int r = env->list(env->ctx, path, add_writer, &w);
    if (r < 0) {
        if (w.list != NULL)
            alloc->resize(alloc->ctx, w.list, 0);
        return r == -ENOENT ? ST_NOT_FOUND : r == -ENOMEM ? ST_NO_MEMORY : ST_IO;
    }
    if (w.count > 1)
        qsort(w.list, w.count, sizeof *w.list, compare_writers);
    *out = w.list;
    *count = w.count;
    return ST_OK;
}
