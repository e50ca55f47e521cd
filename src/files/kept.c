/* kept.c - see kept.h. */
#include "files/kept.h"

#include "files/replace.h"
#include "store/alloc.h"
#include "store/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[] = "strata-rendering 1 ";
#define HEAD_SIZE (sizeof magic - 1 + 16 + 1)

static bool path_of(char out[ST_PATH_SIZE], const char *dir, const char *name)
{
    return snprintf(out, ST_PATH_SIZE, "%s/%s", dir, name) < ST_PATH_SIZE;
}

/* --- bounding --------------------------------------------------------------------------------- */

struct kept_file {
    char name[48]; /* a rendering; or one that a process left when it died: <hash>.<hex>.new */
    uint64_t size;
    int64_t used_ns;
};

struct kept_list {
    const char *dir;
    struct kept_file *list;
    size_t count, cap;
    uint64_t size;
};

static int note_file(void *arg, const char *name)
{
    struct kept_list *k = arg;
    char path[ST_PATH_SIZE];
    struct st_file_stamp stamp;
    struct st_fault ignored;
    if (strlen(name) >= sizeof k->list->name || !path_of(path, k->dir, name) ||
        st_file_stamp_get(path, &stamp, &ignored) != ST_OK)
        return 0;
    if (!st_grow(&k->list, &k->cap, k->count + 1, sizeof *k->list))
        return -ENOMEM;
    struct kept_file *f = &k->list[k->count++];
    strcpy(f->name, name);
    f->size = stamp.size;
    f->used_ns = stamp.mtime_ns;
    k->size += f->size;
    return 0;
}

static int compare_used(const void *a, const void *b)
{
    const struct kept_file *x = a, *y = b;
    return (x->used_ns > y->used_ns) - (x->used_ns < y->used_ns);
}

static void bound(const struct st_env *env, const char *dir)
{
    struct kept_list k = {.dir = dir};
    char path[ST_PATH_SIZE];
    int r = env->list(env->ctx, dir, note_file, &k);
    if (r == 0 && (k.count > ST_KEPT_COUNT_MAX || k.size > ST_KEPT_SIZE_MAX)) {
        qsort(k.list, k.count, sizeof *k.list, compare_used);
        size_t left = k.count;
        for (size_t i = 0;
             i + 1 < k.count && (left > ST_KEPT_COUNT_LOW || k.size > ST_KEPT_SIZE_LOW); i++) {
            if (path_of(path, dir, k.list[i].name))
                env->unlink(env->ctx, path);
            k.size -= k.list[i].size;
            left--;
        }
    }
    free(k.list);
}

/* --- saving ----------------------------------------------------------------------------------- */

static void add_dots(struct st_buf *out, const struct st_rendering *r)
{
    for (size_t i = 0; i < r->line_count; i++) {
        const struct st_render_line *line = &r->lines[i];
        if (line->dot_count == 0)
            continue;
        st_buf_add_u64(out, i);
        for (size_t k = 0; k < line->dot_count; k++) {
            st_buf_add_char(out, ' ');
            st_dot_add(out, r->dots[line->dot_first + k]);
        }
        st_buf_add_char(out, '\n');
    }
}

static void encode(const struct st_rendering *r, struct st_buf *out)
{
    struct st_buf dots;
    st_buf_init(&dots, st_alloc_libc());
    add_dots(&dots, r);
    st_buf_add_text(out, magic);
    st_buf_add_hex64(out, st_checksum(dots.p, dots.n));
    st_buf_add_char(out, '\n');
    st_buf_add_str(out, st_buf_str(&dots));
    st_buf_add_char(out, '\n');
    st_buf_add_str(out, st_buf_str(&r->text));
    out->failed = out->failed || dots.failed;
    st_buf_release(&dots);
}

enum st_code st_kept_save(const struct st_env *env, const char *dir, const char *key,
                          const struct st_rendering *r, struct st_fault *fault)
{
    char hash[ST_BLOCK_HASH_SIZE], path[ST_PATH_SIZE];
    struct st_buf text;
    st_rendering_hash(key, st_buf_str(&r->text), hash);
    if (!path_of(path, dir, hash))
        return st_fail(fault, ST_LIMIT, "the path of the state is too long");
    st_buf_init(&text, st_alloc_libc());
    encode(r, &text);
    enum st_code code = text.failed
                            ? st_fail(fault, ST_NO_MEMORY, "out of memory")
                            : st_file_put_shared(env, path, st_buf_str(&text), false, fault);
    if (code != ST_OK && fault->system == ENOENT) {
        env->mkdir(env->ctx, dir);
        code = st_file_put_shared(env, path, st_buf_str(&text), false, fault);
    }
    st_buf_release(&text);
    /* Looking through the directory costs more than saving: one time in thirty-two will do. */
    if (code == ST_OK && hash[0] == '0' && hash[1] < '8')
        bound(env, dir);
    return code;
}

/* --- loading ---------------------------------------------------------------------------------- */

static bool take_dots(struct st_str line, struct st_rendering *r)
{
    uint64_t number = 0;
    size_t i = 0;
    for (; i < line.n && line.p[i] >= '0' && line.p[i] <= '9' && number < SIZE_MAX / 16; i++)
        number = number * 10 + (uint64_t)(line.p[i] - '0');
    if (i == 0 || number >= r->line_count)
        return false;
    struct st_render_line *to = &r->lines[number];
    to->dot_first = r->dot_count;
    while (i < line.n) {
        const char *p = line.p + i + 1, *space = memchr(p, ' ', (size_t)(line.p + line.n - p));
        size_t n = space != NULL ? (size_t)(space - p) : (size_t)(line.p + line.n - p);
        struct st_dot dot;
        if (line.p[i] != ' ' || !st_dot_parse((struct st_str){p, n}, &dot))
            return false;
        st_rendering_add_dot(r, dot);
        i += 1 + n;
    }
    to->dot_count = r->dot_count - to->dot_first;
    return !r->failed;
}

static bool decode(struct st_str file, const char *key, const char *hash, struct st_rendering *r)
{
    uint64_t sum;
    char is[ST_BLOCK_HASH_SIZE];
    if (file.n < HEAD_SIZE || memcmp(file.p, magic, sizeof magic - 1) != 0 ||
        !st_parse_hex64(file.p + sizeof magic - 1, &sum))
        return false;
    struct st_str rest = {file.p + HEAD_SIZE, file.n - HEAD_SIZE}, line, dots = rest;
    while (st_line_next(&rest, &line) && line.n > 0)
        ;
    dots.n = file.n - HEAD_SIZE - rest.n;
    st_rendering_hash(key, rest, is);
    if (dots.n == 0 || strcmp(is, hash) != 0 || st_checksum(dots.p, dots.n - 1) != sum)
        return false;
    while (st_line_next(&rest, &line)) {
        st_buf_add_str(&r->text, line);
        st_rendering_end_line(r);
    }
    dots.n--;
    while (st_line_next(&dots, &line))
        if (!take_dots(line, r))
            return false;
    return !r->failed && !r->text.failed;
}

bool st_kept_has(const char *dir, const char *hash)
{
    char path[ST_PATH_SIZE];
    struct stat st;
    return hash[0] != '\0' && path_of(path, dir, hash) && stat(path, &st) == 0;
}

enum st_code st_kept_load(const char *dir, const char *key, const char *hash,
                          struct st_rendering *out)
{
    char path[ST_PATH_SIZE];
    struct st_buf text;
    struct st_fault fault;
    st_rendering_init(out);
    if (hash[0] == '\0' || !path_of(path, dir, hash))
        return ST_NOT_FOUND;
    st_buf_init(&text, st_alloc_libc());
    enum st_code code = st_file_get(path, ST_KEPT_SIZE_MAX, &text, NULL, &fault);
    if (code == ST_OK && !decode(st_buf_str(&text), key, hash, out))
        code = ST_NOT_FOUND;
    st_buf_release(&text);
    if (code == ST_OK)
        utimensat(AT_FDCWD, path, NULL, 0); /* used: not among the first to go */
    return code == ST_OK || code == ST_NO_MEMORY ? code : ST_NOT_FOUND;
}
