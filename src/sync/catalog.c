#include "sync/catalog.h"

#include "store/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

void st_catalog_release(struct st_catalog *c)
{
    free(c->pieces);
    free(c->trees);
    memset(c, 0, sizeof *c);
}

bool st_catalog_add_piece(struct st_catalog *c, const struct st_piece *piece)
{
    if (!st_grow(&c->pieces, &c->piece_cap, c->piece_count + 1, sizeof *c->pieces))
        return false;
    c->pieces[c->piece_count++] = *piece;
    return true;
}

bool st_catalog_add_tree(struct st_catalog *c, const struct st_piece_tree *tree)
{
    if (!st_grow(&c->trees, &c->tree_cap, c->tree_count + 1, sizeof *c->trees))
        return false;
    c->trees[c->tree_count++] = *tree;
    return true;
}

static int compare_writers(enum st_log_kind ak, struct st_writer aw, enum st_log_kind bk,
                           struct st_writer bw)
{
    return ak != bk ? (ak < bk ? -1 : 1) : st_writer_compare(aw, bw);
}

size_t st_catalog_find(const struct st_catalog *c, enum st_log_kind kind, struct st_writer w)
{
    size_t low = 0, high = c->piece_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct st_piece *p = &c->pieces[middle];
        if (compare_writers(p->kind, p->writer, kind, w) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t st_catalog_end(const struct st_catalog *c, size_t from)
{
    size_t i = from;
    while (i < c->piece_count && compare_writers(c->pieces[i].kind, c->pieces[i].writer,
                                                 c->pieces[from].kind, c->pieces[from].writer) == 0)
        i++;
    return i;
}

bool st_catalog_has_ledger(const struct st_catalog *c)
{
    return c->piece_count > 0 && c->pieces[c->piece_count - 1].kind == ST_LOG_STRONG;
}

const struct st_piece *st_catalog_last(const struct st_catalog *c, enum st_log_kind kind,
                                       struct st_writer w)
{
    size_t from = st_catalog_find(c, kind, w), end = st_catalog_end(c, from);
    bool found = end > from && c->pieces[from].kind == kind &&
                 st_writer_compare(c->pieces[from].writer, w) == 0;
    return found ? &c->pieces[end - 1] : NULL;
}

static int compare_trees(const struct st_piece_tree *t, enum st_log_kind kind, struct st_writer w,
                         uint64_t segment)
{
    int order = compare_writers(t->kind, t->writer, kind, w);
    return order != 0 ? order : t->segment < segment ? -1 : t->segment > segment;
}

const struct st_piece_tree *st_catalog_tree(const struct st_catalog *c, enum st_log_kind kind,
                                            struct st_writer w, uint64_t segment)
{
    size_t low = 0, high = c->tree_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_trees(&c->trees[middle], kind, w, segment);
        if (order == 0)
            return &c->trees[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* --- names ------------------------------------------------------------------------------------ */

static const char *const kind_prefix[] = {[ST_LOG_MAIN] = "log-", [ST_LOG_STRONG] = "strong-"};

void st_piece_name(const struct st_piece *p, char out[ST_ENTRY_SIZE])
{
    snprintf(out, ST_ENTRY_SIZE, "%016" PRIu64 "-%016" PRIu64 "-%016" PRIx64, p->first, p->last,
             p->checksum);
}

void st_segment_name(uint64_t segment, char out[ST_ENTRY_SIZE])
{
    snprintf(out, ST_ENTRY_SIZE, "%016" PRIu64, segment);
}

void st_writer_name(enum st_log_kind kind, struct st_writer w, char out[ST_ENTRY_SIZE])
{
    snprintf(out, ST_ENTRY_SIZE, "%s%016" PRIx64 "-%016" PRIx64, kind_prefix[kind], w.replica,
             w.epoch);
}

/* Exactly 16 decimal digits. */
static bool take_decimal(const char **at, uint64_t *out)
{
    uint64_t value = 0;
    for (int i = 0; i < 16; i++) {
        char c = (*at)[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (uint64_t)(c - '0');
    }
    *at += 16;
    *out = value;
    return true;
}

static bool take_hex(const char **at, uint64_t *out)
{
    for (int i = 0; i < 16; i++)
        if ((*at)[i] == '\0')
            return false;
    if (!st_parse_hex64(*at, out))
        return false;
    *at += 16;
    return true;
}

static bool take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    (*at)++;
    return true;
}

/* --- the listing ------------------------------------------------------------------------------ */

struct listing {
    struct st_git *git;
    struct st_catalog *catalog;
    const char *commit;
};

static enum st_code refused(struct listing *l, const char *path, const char *why)
{
    char shown[80];
    size_t n = 0;
    for (; path[n] != '\0' && n < sizeof shown - 1; n++)
        shown[n] = (unsigned char)path[n] < 0x20 || (unsigned char)path[n] > 0x7e ? '?' : path[n];
    shown[n] = '\0';
    return st_fail(l->git->fault, ST_DAMAGED, "its entry `%s` is refused: %s", shown, why);
}

struct entry {
    bool directory;
    bool gone; /* a blob that git does not have (any more): its size is no number then */
    const char *id;
    uint64_t size;
    const char *path;
};

/* "<mode> <type> <id> <size, or - for a directory>\t<path>", cut at the blanks. */
static bool entry_split(char *line, struct entry *e)
{
    char *type = strchr(line, ' ');
    char *id = type != NULL ? strchr(type + 1, ' ') : NULL;
    char *size = id != NULL ? strchr(id + 1, ' ') : NULL;
    char *path = size != NULL ? strchr(size + 1, '\t') : NULL;
    if (path == NULL)
        return false;
    *type++ = *id++ = *size++ = *path++ = '\0';
    e->directory = strcmp(line, "040000") == 0 && strcmp(type, "tree") == 0;
    e->id = id;
    e->path = path;
    size += strspn(size, " ");
    e->gone = !e->directory && (*size < '0' || *size > '9');
    e->size = e->directory ? 0 : strtoull(size, NULL, 10);
    bool plain = strcmp(line, "100644") == 0 && strcmp(type, "blob") == 0;
    return (e->directory || plain) && st_object_id_valid(id);
}

/* A newer version may add entries beside ours; they are passed over, whatever is below them. */
static bool of_a_later_version(const char *path)
{
    size_t n = strspn(path, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n > 0 && (path[n] == '\0' || path[n] == '/') && strncmp(path, "log-", 4) != 0 &&
           strncmp(path, "strong-", 7) != 0;
}

static enum st_code piece_follows(struct listing *l, const struct entry *e,
                                  const struct st_piece *p)
{
    const struct st_catalog *c = l->catalog;
    const struct st_piece *before = c->piece_count > 0 ? &c->pieces[c->piece_count - 1] : NULL;
    bool same = before != NULL && before->kind == p->kind &&
                st_writer_compare(before->writer, p->writer) == 0;
    if (before != NULL && !same &&
        compare_writers(before->kind, before->writer, p->kind, p->writer) > 0)
        return refused(l, e->path, "it is out of order, or there twice");
    if (p->first == 0 || p->last < p->first || p->size == 0)
        return refused(l, e->path, "no records");
    if (p->size > ST_PIECE_SIZE_MAX)
        return st_fail(l->git->fault, ST_LIMIT,
                       "its entry `%s` has %" PRIu64 " bytes; the limit is %u", e->path, p->size,
                       ST_PIECE_SIZE_MAX);
    if (p->first != (same ? before->last + 1 : 1))
        return refused(l, e->path, "the records before it are missing, or are there twice");
    if (p->segment != (same && before->segment == p->segment ? before->segment : p->first))
        return refused(l, e->path, "it is not in its segment");
    return ST_OK;
}

static enum st_code take_entry(struct listing *l, const struct entry *e)
{
    const char *at = e->path;
    struct st_piece p = {.size = e->size};
    if (!e->directory && strcmp(at, "strata") == 0)
        return memcpy(l->catalog->manifest, e->id, strlen(e->id) + 1), ST_OK;
    if (!e->directory && strcmp(at, "board") == 0)
        return memcpy(l->catalog->board, e->id, strlen(e->id) + 1), ST_OK;
    if (of_a_later_version(at))
        return ST_OK;
    p.kind = strncmp(at, "strong-", 7) == 0 ? ST_LOG_STRONG : ST_LOG_MAIN;
    if (strncmp(at, kind_prefix[p.kind], strlen(kind_prefix[p.kind])) != 0)
        return refused(l, at, "not a name that Strata gives");
    at += strlen(kind_prefix[p.kind]);
    bool good =
        take_hex(&at, &p.writer.replica) && take_char(&at, '-') && take_hex(&at, &p.writer.epoch);
    if (good && *at != '\0')
        good = take_char(&at, '/') && take_decimal(&at, &p.segment) && p.segment > 0;
    if (good && *at == '\0' && e->directory) {
        struct st_piece_tree tree = {.kind = p.kind, .writer = p.writer, .segment = p.segment};
        memcpy(tree.id, e->id, strlen(e->id) + 1);
        const struct st_catalog *c = l->catalog;
        if (c->tree_count > 0 &&
            compare_trees(&c->trees[c->tree_count - 1], tree.kind, tree.writer, tree.segment) >= 0)
            return refused(l, e->path, "it is out of order, or there twice");
        return st_catalog_add_tree(l->catalog, &tree)
                   ? ST_OK
                   : st_fail(l->git->fault, ST_NO_MEMORY, "out of memory");
    }
    good = good && !e->directory && take_char(&at, '/') && take_decimal(&at, &p.first) &&
           take_char(&at, '-') && take_decimal(&at, &p.last) && take_char(&at, '-') &&
           take_hex(&at, &p.checksum) && *at == '\0';
    if (!good)
        return refused(l, e->path, "not a name that Strata gives");
    enum st_code code = piece_follows(l, e, &p);
    if (code != ST_OK)
        return code;
    memcpy(p.id, e->id, strlen(e->id) + 1);
    return st_catalog_add_piece(l->catalog, &p)
               ? ST_OK
               : st_fail(l->git->fault, ST_NO_MEMORY, "out of memory");
}

static enum st_code take_listing(struct listing *l, char *text, size_t n)
{
    enum st_code code = ST_OK;
    for (char *line = text; code == ST_OK && line < text + n;) {
        char *next = line + strlen(line) + 1;
        struct entry e;
        if (!entry_split(line, &e))
            code = refused(l, line, "neither a plain file nor a directory");
        else if (e.gone)
            code = st_fail(l->git->fault, ST_NOT_FOUND, "an object of its commit is gone");
        else
            code = take_entry(l, &e);
        line = next;
    }
    return code;
}

enum st_code st_catalog_read(struct st_git *g, const char *commit, struct st_catalog *out)
{
    const char *const args[] = {"ls-tree", "-r", "-t", "-l", "-z", "--full-tree", commit, NULL};
    struct st_buf text;
    struct st_git_call call = {.args = args, .out = &text};
    memset(out, 0, sizeof *out);
    st_buf_init(&text, g->alloc);
    struct listing l = {g, out, commit};
    enum st_code code = st_git_run(g, &call);
    if (code == ST_OK && call.status != 0)
        code = st_fail(g->fault, ST_NOT_FOUND, "its commit cannot be read: %s", call.message);
    st_buf_add_char(&text, '\0');
    if (code == ST_OK && text.failed)
        code = st_fail(g->fault, ST_NO_MEMORY, "out of memory");
    if (code == ST_OK)
        code = take_listing(&l, text.p, text.n - 1);
    if (code == ST_OK && out->manifest[0] == '\0')
        code = st_fail(g->fault, ST_DAMAGED, "it has no entry `strata`");
    st_buf_release(&text);
    if (code != ST_OK)
        st_catalog_release(out);
    return code;
}

/* --- manifest --------------------------------------------------------------------------------- */

int st_manifest_format(const struct st_manifest *m, char out[ST_MANIFEST_TEXT_SIZE])
{
    int n = snprintf(out, ST_MANIFEST_TEXT_SIZE,
                     "{\"format\":1,\"workspace\":\"%016" PRIx64 "\",\"replica\":\"%016" PRIx64
                     "\",\"name\":\"%s\"",
                     m->workspace, m->replica, m->name);
    if (m->ledger.position > 0)
        n += snprintf(out + n, ST_MANIFEST_TEXT_SIZE - (size_t)n,
                      ",\"ledger\":{\"generation\":%" PRIu64 ",\"position\":%" PRIu64
                      ",\"head\":\"%s\"}",
                      m->ledger.generation, m->ledger.position, m->ledger.head);
    return n + snprintf(out + n, ST_MANIFEST_TEXT_SIZE - (size_t)n, "}\n");
}

enum st_code st_manifest_parse(const char *text, struct st_manifest *out)
{
    int end = 0;
    struct st_ledger_head *l = &out->ledger;
    memset(out, 0, sizeof *out);
    if (strncmp(text, "{\"format\":", 10) == 0 && strncmp(text + 10, "1,", 2) != 0)
        return ST_VERSION;
    int fields = sscanf(text,
                        "{\"format\":1,\"workspace\":\"%16" SCNx64 "\",\"replica\":\"%16" SCNx64
                        "\",\"name\":\"%64[A-Za-z0-9._-]\"%n",
                        &out->workspace, &out->replica, out->name, &end);
    /* Keys may be added behind ours. */
    if (fields != 3 || end == 0 || (text[end] != '}' && text[end] != ',') || out->workspace == 0 ||
        out->replica == 0 || st_agent_check(st_str_of(out->name)) != ST_OK)
        return ST_DAMAGED;
    if (sscanf(text + end,
               ",\"ledger\":{\"generation\":%" SCNu64 ",\"position\":%" SCNu64
               ",\"head\":\"%32[0-9a-f]\"}",
               &l->generation, &l->position, l->head) != 3)
        *l = (struct st_ledger_head){0};
    return ST_OK;
}
