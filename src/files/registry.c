/* registry.c - see registry.h. */
#include "files/registry.h"

#include "store/alloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A registry with ST_FILES_MAX entries of the longest kind. Bytes. */
#define REGISTRY_SIZE_MAX (16u * 1024 * 1024)
#define FIELDS_MAX        10

void st_registry_init(struct st_registry *r)
{
    memset(r, 0, sizeof *r);
}

void st_registry_release(struct st_registry *r)
{
    st_arena_reset(&r->arena);
    free(r->list);
    memset(r, 0, sizeof *r);
}

const char *st_registry_text(struct st_registry *r, const char *text)
{
    return st_arena_text(&r->arena, st_str_of(text != NULL ? text : ""));
}

struct st_entry *st_registry_add(struct st_registry *r, const struct st_entry *entry)
{
    if (!st_grow(&r->list, &r->cap, r->count + 1, sizeof *r->list))
        return NULL;
    struct st_entry *e = &r->list[r->count];
    *e = *entry;
    e->name = st_registry_text(r, entry->name);
    e->subject = st_registry_text(r, entry->subject);
    e->path = st_registry_text(r, entry->path);
    e->base = st_registry_text(r, entry->base);
    if (e->name == NULL || e->subject == NULL || e->path == NULL || e->base == NULL)
        return NULL;
    r->count++;
    return e;
}

void st_registry_remove(struct st_registry *r, struct st_entry *entry)
{
    size_t i = (size_t)(entry - r->list);
    memmove(entry, entry + 1, (r->count - i - 1) * sizeof *entry);
    r->count--;
}

bool st_entry_unchanged(const struct st_entry *e, const struct st_file_stamp *now)
{
    return e->looked_ns != 0 && st_file_stamp_equal(&e->stamp, now) &&
           now->mtime_ns + ST_STAMP_GRAIN_NS < e->looked_ns &&
           now->ctime_ns + ST_STAMP_GRAIN_NS < e->looked_ns;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Cuts a line in place. Returns the number of fields. */
static size_t split(char *line, char *fields[FIELDS_MAX])
{
    size_t n = 0;
    for (char *p = line; p != NULL && n < FIELDS_MAX; n++) {
        fields[n] = p;
        p = strchr(p, '\t');
        if (p != NULL)
            *p++ = '\0';
    }
    return n;
}

static bool take_stamp(const char *text, struct st_entry *e)
{
    return sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNd64 " %" SCNd64 " %" SCNd64, &e->stamp.size,
                  &e->stamp.inode, &e->stamp.mtime_ns, &e->stamp.ctime_ns, &e->looked_ns) == 5;
}

static bool take_content(const char *text, struct st_entry *e)
{
    return strlen(text) == 16 && st_parse_hex64(text, &e->content);
}

static bool take_entry(struct st_registry *r, char *f[FIELDS_MAX], size_t n)
{
    struct st_entry e = {0};
    if (n == 8 && strcmp(f[0], "view") == 0 && strlen(f[4]) < sizeof e.rendering) {
        e = (struct st_entry){.kind = ST_ENTRY_VIEW, .name = f[1], .subject = f[2], .path = f[7]};
        e.committed = strcmp(f[3], "committed") == 0;
        strcpy(e.rendering, f[4]);
        if (!take_content(f[5], &e) || !take_stamp(f[6], &e))
            return false;
    } else if (n == 5 && (strcmp(f[0], "file") == 0 || strcmp(f[0], "held") == 0)) {
        e = (struct st_entry){.kind = ST_ENTRY_FILE, .base = f[1], .path = f[4]};
        e.held = f[0][0] == 'h';
        if (!take_content(f[2], &e) || !take_stamp(f[3], &e))
            return false;
    } else if (n == 3 && strcmp(f[0], "glob") == 0) {
        e = (struct st_entry){.kind = ST_ENTRY_GLOB, .path = f[2]};
        e.looked_ns = strtoll(f[1], NULL, 10);
    } else {
        return false;
    }
    return st_registry_add(r, &e) != NULL;
}

static enum st_code damaged(struct st_fault *fault, const char *path)
{
    st_fail(fault, ST_DAMAGED, "%s, the list of views and tracked files, is damaged", path);
    return st_hint(fault, "move it aside, then add the views and track the files again; their "
                          "content is not affected");
}

static enum st_code parse(struct st_registry *r, char *text, const char *path,
                          struct st_fault *fault)
{
    bool ended = false;
    char *line = text, *next;
    for (size_t number = 0; line != NULL && *line != '\0' && !ended; number++, line = next) {
        char *f[FIELDS_MAX];
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        if (number == 0 && strcmp(line, "strata-files 1") != 0)
            return strncmp(line, "strata-files ", 13) == 0
                       ? st_fail(fault, ST_VERSION, "%s was made by a newer version", path)
                       : damaged(fault, path);
        if (number == 0)
            continue;
        size_t n = split(line, f);
        if (n == 2 && strcmp(f[0], "end") == 0)
            ended = strtoull(f[1], NULL, 10) == number - 1;
        else if (n == 5 && strcmp(f[0], "state") == 0) {
            r->epoch = strtoull(f[1], NULL, 16);
            r->counter = strtoull(f[2], NULL, 10);
            r->beside = strtoull(f[3], NULL, 10);
            r->checked_ms = strtoull(f[4], NULL, 10);
        } else if (!take_entry(r, f, n))
            return damaged(fault, path);
    }
    return ended ? ST_OK : damaged(fault, path);
}

enum st_code st_registry_load(struct st_registry *r, const char *path, struct st_fault *fault)
{
    struct st_buf text;
    st_registry_release(r);
    st_buf_init(&text, st_alloc_libc());
    enum st_code code = st_file_get(path, REGISTRY_SIZE_MAX, &text, NULL, fault);
    st_buf_add_char(&text, '\0');
    if (code == ST_OK && text.failed)
        code = st_fail(fault, ST_NO_MEMORY, "out of memory");
    if (code == ST_OK)
        code = parse(r, text.p, path, fault);
    st_buf_release(&text);
    if (code != ST_OK)
        st_registry_release(r);
    return code;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void add_field(struct st_buf *out, const char *text)
{
    st_buf_add_char(out, '\t');
    st_buf_add_text(out, text);
}

static void add_seen(struct st_buf *out, const struct st_entry *e)
{
    char text[160];
    snprintf(text, sizeof text,
             "\t%016" PRIx64 "\t%" PRIu64 " %" PRIu64 " %" PRId64 " %" PRId64 " %" PRId64,
             e->content, e->stamp.size, e->stamp.inode, e->stamp.mtime_ns, e->stamp.ctime_ns,
             e->looked_ns);
    st_buf_add_text(out, text);
}

static void add_entry(struct st_buf *out, const struct st_entry *e)
{
    switch (e->kind) {
    case ST_ENTRY_VIEW:
        st_buf_add_text(out, "view");
        add_field(out, e->name);
        add_field(out, e->subject);
        add_field(out, e->committed ? "committed" : "");
        add_field(out, e->rendering);
        add_seen(out, e);
        break;
    case ST_ENTRY_FILE:
        st_buf_add_text(out, e->held ? "held" : "file");
        add_field(out, e->base);
        add_seen(out, e);
        break;
    case ST_ENTRY_GLOB:
        st_buf_add_text(out, "glob\t");
        st_buf_add_i64(out, e->looked_ns);
        break;
    }
    add_field(out, e->path);
    st_buf_add_char(out, '\n');
}

enum st_code st_registry_save(const struct st_registry *r, const struct st_env *env,
                              const char *path, bool flush, struct st_fault *fault)
{
    struct st_buf out;
    char state[128];
    st_buf_init(&out, st_alloc_libc());
    snprintf(state, sizeof state,
             "strata-files 1\nstate\t%016" PRIx64 "\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\n",
             r->epoch, r->counter, r->beside, r->checked_ms);
    st_buf_add_text(&out, state);
    for (size_t i = 0; i < r->count; i++)
        add_entry(&out, &r->list[i]);
    st_buf_add_text(&out, "end\t");
    st_buf_add_u64(&out, r->count + 1);
    st_buf_add_char(&out, '\n');
    enum st_code code = out.failed ? st_fail(fault, ST_NO_MEMORY, "out of memory")
                                   : st_file_put(env, path, st_buf_str(&out), flush, fault);
    st_buf_release(&out);
    return code;
}
