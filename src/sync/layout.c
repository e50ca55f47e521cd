/* layout.c - pieces from Git as logs in <state>/sync/in, and whether they are whole. */
#include "sync/collection.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

/* --- laying out ------------------------------------------------------------------------------- */

/* What `git cat-file --batch` prints, as it comes: for each blob a line, its bytes, a newline. */
struct unpack {
    struct st_collection *k;
    size_t at; /* of k->wanted */
    char header[ST_OBJECT_ID_SIZE + 64];
    size_t header_size;
    bool in_blob;
    uint64_t left; /* bytes of the blob */
    int fd;
    struct st_laid place; /* of the open file */
    uint64_t segment, offset;
};

static const char *kind_directory(enum st_log_kind kind)
{
    return kind == ST_LOG_MAIN ? "main" : "strong";
}

static enum st_code directory_make(struct st_sync *y, const char *path)
{
    int r = y->log->env->mkdir(y->log->env->ctx, path);
    return r < 0 && r != -EEXIST ? st_fail_system(&y->fault, r, "cannot create %s", path) : ST_OK;
}

enum st_code st_collection_root(struct st_collection *k, enum st_log_kind kind,
                                char root[ST_PATH_SIZE])
{
    struct st_sync *y = k->y;
    char path[ST_PATH_SIZE];
    enum st_code code = st_path(&y->fault, root, k->in, kind_directory(kind), NULL);
    if (code == ST_OK)
        code = directory_make(y, root);
    if (code == ST_OK)
        code = st_path(&y->fault, path, root, "log", NULL);
    return code == ST_OK ? directory_make(y, path) : code;
}

static void file_close(struct unpack *u)
{
    if (u->fd >= 0)
        u->k->y->log->env->close(u->k->y->log->env->ctx, u->fd);
    u->fd = -1;
}

static enum st_code file_open(struct unpack *u, const struct st_piece *p)
{
    struct st_sync *y = u->k->y;
    char root[ST_PATH_SIZE], path[ST_PATH_SIZE];
    file_close(u);
    enum st_code code = st_collection_root(u->k, p->kind, root);
    if (code == ST_OK)
        code = st_writer_path(&y->fault, path, root, p->writer);
    if (code == ST_OK)
        code = directory_make(y, path);
    if (code == ST_OK)
        code = st_segment_path(&y->fault, path, root, p->writer, p->segment);
    if (code != ST_OK)
        return code;
    u->fd = y->log->env->open(y->log->env->ctx, path,
                              ST_OPEN_WRITE | ST_OPEN_CREATE | ST_OPEN_EXCLUSIVE);
    u->place = (struct st_laid){.kind = p->kind, .writer = p->writer};
    u->segment = p->segment;
    u->offset = 0;
    return u->fd < 0 ? st_fail_system(&y->fault, u->fd, "cannot create %s", path) : ST_OK;
}

static enum st_code blob_begin(struct unpack *u)
{
    struct st_sync *y = u->k->y;
    if (u->at == u->k->wanted_count)
        return st_fail(&y->fault, ST_IO, "git cat-file printed more than it was asked for");
    const struct st_piece *p = &u->k->wanted[u->at].piece;
    char should[sizeof u->header];
    snprintf(should, sizeof should, "%s blob %" PRIu64, p->id, p->size);
    u->header[u->header_size] = '\0';
    u->header_size = 0;
    if (strcmp(u->header, should) != 0)
        return st_fail(&y->fault, ST_DAMAGED, "a blob of the repository cannot be read: %s",
                       u->header);
    u->in_blob = true;
    u->left = p->size;
    bool same = u->fd >= 0 && u->place.kind == p->kind && u->segment == p->segment &&
                st_writer_compare(u->place.writer, p->writer) == 0;
    return same ? ST_OK : file_open(u, p);
}

static enum st_code unpack(void *arg, const char *bytes, size_t n)
{
    struct unpack *u = arg;
    struct st_sync *y = u->k->y;
    enum st_code code = ST_OK;
    while (n > 0 && code == ST_OK) {
        if (u->in_blob && u->left > 0) {
            size_t part = n < u->left ? n : (size_t)u->left;
            int r = st_write_all(y->log->env, u->fd, bytes, part, u->offset);
            if (r < 0)
                return st_fail_system(&y->fault, r, "cannot write to %s", u->k->in);
            u->offset += part;
            u->left -= part;
            bytes += part;
            n -= part;
            continue;
        }
        char c = *bytes++;
        n--;
        if (u->in_blob) {
            u->in_blob = false; /* its newline */
            u->at++;
        } else if (c == '\n') {
            code = blob_begin(u);
        } else if (u->header_size < sizeof u->header - 1) {
            u->header[u->header_size++] = c;
        }
    }
    return code;
}

enum st_code st_collection_lay_out(struct st_collection *k)
{
    const char *const args[] = {"cat-file", "--batch", NULL};
    struct st_buf input;
    struct unpack u = {.k = k, .fd = -1};
    st_buf_init(&input, k->y->log->alloc);
    for (size_t i = 0; i < k->wanted_count; i++) {
        st_buf_add_text(&input, k->wanted[i].piece.id);
        st_buf_add_char(&input, '\n');
    }
    struct st_git_call call = {
        .args = args, .input = st_buf_str(&input), .sink = unpack, .arg = &u};
    enum st_code code = input.failed ? st_collection_no_memory(k) : ST_OK;
    if (code == ST_OK)
        code = st_git_must(&k->y->git, &call);
    if (code == ST_OK && u.at != k->wanted_count)
        code = st_fail(&k->y->fault, ST_IO, "git cat-file printed less than it was asked for");
    file_close(&u);
    st_buf_release(&input);
    return code;
}

/* --- verifying -------------------------------------------------------------------------------- */

enum st_code st_laid_verify(struct st_collection *k, const struct st_laid *l)
{
    struct st_sync *y = k->y;
    char root[ST_PATH_SIZE];
    struct st_log_reader r;
    struct st_str line;
    struct st_record head = {.checksum = 0};
    enum st_code code = st_path(&y->fault, root, k->in, kind_directory(l->kind), NULL);
    if (code != ST_OK)
        return code;
    code = st_log_reader_open(&r, y->log->env, y->log->alloc, root, l->writer);
    st_log_reader_seek(&r, l->first, 0, l->first - 1, 0);
    r.checksum_known = l->first == 1;
    while (code == ST_OK && r.counter < l->last)
        code = st_log_reader_next(&r, &line, &head);
    if (code == ST_OK && head.checksum != l->checksum)
        code = st_fail(&r.fault, ST_DAMAGED, "record %" PRIu64 " is not the one that it names",
                       l->last);
    if (code == ST_OK && r.offset != l->size)
        code = st_fail(&r.fault, ST_DAMAGED, "it has more than it names behind record %" PRIu64,
                       l->last);
    if (code == ST_NOT_FOUND || code == ST_DAMAGED)
        code = st_fail(&y->fault, ST_DAMAGED,
                       "records of %016" PRIx64 "-%016" PRIx64
                       " are missing or damaged behind %" PRIu64,
                       l->writer.replica, l->writer.epoch, r.counter);
    else if (code != ST_OK)
        y->fault = r.fault;
    st_log_reader_close(&r);
    return code;
}

/* Nothing of a refused reference stays to be taken in. */
static enum st_code take_away(struct st_collection *k, size_t ref)
{
    enum st_code code = ST_OK;
    for (size_t i = 0; code == ST_OK && i < k->laid_count; i++) {
        char root[ST_PATH_SIZE], path[ST_PATH_SIZE];
        if (k->laid[i].ref != ref)
            continue;
        code = st_path(&k->y->fault, root, k->in, kind_directory(k->laid[i].kind), NULL);
        if (code == ST_OK)
            code = st_writer_path(&k->y->fault, path, root, k->laid[i].writer);
        if (code == ST_OK)
            st_sync_remove(path);
    }
    return code;
}

enum st_code st_collection_verify(struct st_collection *k)
{
    struct st_sync *y = k->y;
    enum st_code code = ST_OK;
#ifdef ST_DEFECT_SYNC_UNVERIFIED
    return code;
#endif
    for (size_t i = 0; code == ST_OK && i < k->laid_count; i++) {
        size_t ref = k->laid[i].ref;
        if (ref != SIZE_MAX && y->refs[ref].refused)
            continue;
        code = st_laid_verify(k, &k->laid[i]);
        if (code != ST_DAMAGED)
            continue;
        code = ref != SIZE_MAX ? st_sync_refuse(y, &y->refs[ref]) : ST_OK;
        if (code == ST_OK)
            code = take_away(k, ref);
    }
    return code;
}

void st_collection_leave_out_refused(struct st_collection *k)
{
    size_t kept = 0;
    for (size_t i = 0; i < k->wanted_count; i++)
        if (k->wanted[i].ref == SIZE_MAX || !k->y->refs[k->wanted[i].ref].refused)
            k->wanted[kept++] = k->wanted[i];
    k->wanted_count = kept;
}
