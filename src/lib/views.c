/*
 * views.c - edits of views taken in, and views written anew.
 *
 * A step: the text of the file, the block in it, the rendering that the block names; what differs
 * from that becomes records; the state as it then is, is rendered; the file is replaced if that is
 * not what it has. If somebody wrote in between, the displaced text is the next step's.
 */
#include "lib/files.h"

#include "files/kept.h"
#include "files/lines.h"

#include <stdlib.h>

/* One view in one file. */
struct job {
    strata *s;
    struct st_entry *e;
    const struct st_view *view;
    char key[ST_BLOCK_KEY_SIZE];
    char path[ST_PATH_SIZE];
    unsigned why;
    struct st_rendering now; /* the state */
    char hash[ST_BLOCK_HASH_SIZE];
    bool missing;                        /* there was no file */
    uint64_t shown_epoch, shown_counter; /* what `now` was rendered from */
};

static int job_begin(strata *s, struct st_entry *e, unsigned why, struct job *j)
{
    *j = (struct job){.s = s, .e = e, .why = why, .view = st_view_find(e->name)};
    st_rendering_init(&j->now);
    if (j->view == NULL)
        return st_lib_fail(s, ST_VERSION, "the view %s is of a newer version", e->name);
    st_view_key(j->view, e->subject, j->key);
    return st_files_path(s, e->path, j->path);
}

static void job_end(struct job *j)
{
    st_rendering_release(&j->now);
}

static const char *holder(void *arg, struct st_str entity)
{
    const struct st_held_one *held = st_task_holder(arg, entity);
    return held != NULL ? held->holder : NULL;
}

struct st_view_source st_view_source(strata *s, const char *subject)
{
    const struct st_env *env = s->log.env;
    return (struct st_view_source){
        .kv = st_index_kv(s->index),
        .index = s->index,
        .env = env,
        .state_dir = s->log.dir,
        .subject = subject,
        .now_ms = env->wall_ms(env->ctx),
        .founding = s->log.identity.number_suffix[0] == '\0',
        .holder = holder,
        .holder_arg = s,
    };
}

int st_view_begin(strata *s, const struct st_view *view)
{
    int code = view->shows_claims ? st_task_settle(s) : STRATA_OK;
    if (code == STRATA_OK && view->shows_claims)
        code = st_task_held(s);
    return code == STRATA_OK ? st_lib_begin(s) : code;
}

static int render(struct job *j)
{
    struct st_tail tail;
    bool known = st_log_tail(&j->s->log, &tail) == ST_OK;
    j->shown_epoch = known ? st_log_writer(&j->s->log).epoch : 0;
    j->shown_counter = known ? tail.counter : 0;
    int code = st_view_begin(j->s, j->view);
    if (code != STRATA_OK)
        return code;
    st_rendering_release(&j->now);
    st_rendering_init(&j->now);
    struct st_view_source source = st_view_source(j->s, j->e->subject);
    enum st_code got = j->view->render(&source, &j->now);
    st_lib_end(j->s);
    if (got != ST_OK)
        return got == ST_NO_MEMORY ? st_lib_no_memory(j->s) : st_lib_index_fault(j->s, got);
    st_rendering_hash(j->key, st_buf_str(&j->now.text), j->hash);
    return STRATA_OK;
}

/* --- taking in -------------------------------------------------------------------------------- */

/* Also keeps the text as it was where not all of it could be taken in. */
static int tell(struct job *j, const struct st_edits *e, const struct st_blocks *b,
                const struct st_file_ops *ops, size_t refused, struct st_str text)
{
    strata *s = j->s;
    size_t lines = 0;
    for (size_t i = 0; i < e->count; i++)
        lines += e->list[i].kind != ST_EDIT_KEPT;
    if (ops->count + ops->wish_count > 0)
        st_lib_notice(s, "%s: %zu edited %s taken in", j->e->path, lines,
                      lines == 1 ? "line was" : "lines were");
    if (e->below_count > 0)
        st_lib_notice(s, "%s: %zu %s no line of the view %s and now %s below its block", j->e->path,
                      e->below_count, e->below_count == 1 ? "line is" : "lines are", j->view->name,
                      e->below_count == 1 ? "stands" : "stand");
    const char *why = NULL;
    if (b->damaged)
        why = "the block was damaged: new lines were taken in, other changes were not";
    else if (!e->base_known && e->unknown > 0)
        why = "it is not known what its author was shown: new lines were taken in, other changes "
              "were not";
    else if (refused > 0)
        why = "not all that was edited could be done";
    else if (e->unknown + e->repeated + ops->unknown > 0)
        why = "lines with the id of another or an unknown item were not taken in; a new line is "
              "written without an id";
    return why != NULL ? st_files_put_aside(s, j->path, text, why) : STRATA_OK;
}

static int apply(struct job *j, const struct st_edits *edits, struct st_file_ops *ops)
{
    int code = st_view_begin(j->s, j->view);
    if (code != STRATA_OK)
        return code;
    struct st_view_source source = st_view_source(j->s, j->e->subject);
    enum st_code got = j->view->apply(&source, edits, ops);
    st_lib_end(j->s);
    if (got == ST_INVALID || got == ST_LIMIT)
        return st_lib_fail(j->s, got,
                           "a line of the view %s has a text that is not allowed or too "
                           "long; nothing of the edit was taken in",
                           j->view->name);
    if (got != ST_OK)
        return got == ST_NO_MEMORY ? st_lib_no_memory(j->s) : st_lib_index_fault(j->s, got);
    return STRATA_OK;
}

/* All lines of all pieces; the markers among them are passed over later. */
static bool body_of(struct st_str text, const struct st_blocks *b, struct st_buf *body)
{
    for (size_t i = 0; i < b->count; i++) {
        st_buf_add(body, text.p + b->pieces[i].start, b->pieces[i].end - b->pieces[i].start);
        st_buf_add_char(body, '\n');
    }
    return !body->failed;
}

/* What is edited in the text becomes records. Lines that are none of the view's: appended to below.
 */
static int take_in(struct job *j, struct st_str text, const struct st_blocks *b,
                   struct st_buf *below)
{
    strata *s = j->s;
    struct st_rendering base;
    struct st_edits edits;
    struct st_buf body;
    struct st_file_ops ops = {0};
    size_t refused = 0;
    const char *hash = b->count == 1 && !b->damaged ? b->pieces[0].hash : "";
    bool known = st_kept_load(s->files->kept, j->key, hash, &base) == ST_OK;
    st_buf_init(&body, st_alloc_libc());
    if (!body_of(text, b, &body))
        return st_lib_no_memory(s);
    enum st_code found = st_edits_find(j->view, known ? &base : NULL, st_buf_str(&body), &edits);
    int code = found == ST_OK ? STRATA_OK : st_lib_no_memory(s);
    memcpy(edits.base, known ? hash : "", known ? sizeof edits.base : 1);
    if (code == STRATA_OK && edits.changes > 0)
        code = apply(j, &edits, &ops);
    if (code == STRATA_OK && ops.count > 0)
        code = st_files_write(s, &ops);
    if (code == STRATA_OK && ops.wish_count > 0)
        code = st_files_wishes(s, j->e->path, &ops, &refused);
    if (code == STRATA_OK) {
        st_buf_add_str(below, st_buf_str(&edits.below));
        code = tell(j, &edits, b, &ops, refused, text);
        if (s->files->result != NULL)
            s->files->result->taken_in += ops.count + ops.wish_count > 0 ? edits.changes : 0;
        if (edits.changes + edits.below_count + edits.unknown + edits.repeated > 0 || b->damaged)
            j->why |= ST_VIEW_FORCE; /* it is being edited: also where Git has it */
    }
    st_edits_release(&edits);
    st_file_ops_release(&ops);
    st_rendering_release(&base);
    st_buf_release(&body);
    return code;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* The text with the block as it should be now. */
static int compose(struct job *j, struct st_str text, struct st_buf *out)
{
    struct st_blocks b;
    struct st_buf below;
    st_blocks_find(text, j->key, j->view->classify, &b);
    st_buf_init(&below, st_alloc_libc());
    int code = b.count > 0 ? take_in(j, text, &b, &below) : STRATA_OK;
    if (code == STRATA_OK && b.count == 0 && j->e->rendering[0] != '\0' && !j->missing)
        st_lib_notice(j->s,
                      "%s: the block of the view %s was gone and is there again; `strata view "
                      "remove %s` ends it",
                      j->e->path, j->view->name, j->view->name);
    if (code == STRATA_OK)
        code = render(j);
    if (code == STRATA_OK)
        st_block_put(text, &b, j->key, j->hash, st_buf_str(&j->now.text), st_buf_str(&below), out);
    if (code == STRATA_OK && out->failed)
        code = st_lib_no_memory(j->s);
    st_buf_release(&below);
    return code;
}

/* Whether the file may stay as it is: what Git has is not written only because the state moved. */
static bool leave_alone(const struct job *j, const struct st_blocks *b)
{
    return j->e->committed && (j->why & ST_VIEW_FORCE) == 0 && b->count == 1 && !b->damaged;
}

static int keep_rendering(struct job *j)
{
    struct st_fault fault;
    strata *s = j->s;
    enum st_code code = st_kept_save(s->log.env, s->files->kept, j->key, &j->now, &fault);
    return code == ST_OK ? STRATA_OK : st_lib_fault(s, &fault);
}

/* The file has it already, from another copy of the workspace perhaps: what is edited next, is edited of it. */
static int adopt_rendering(struct job *j)
{
    strata *s = j->s;
    if (strcmp(j->e->rendering, j->hash) != 0) {
        memcpy(j->e->rendering, j->hash, sizeof j->hash);
        s->files->changed = true;
    }
    return st_kept_has(s->files->kept, j->hash) ? STRATA_OK : keep_rendering(j);
}

/*
 * Steps until the file has what it should. `text` is what is to be taken in, `made_from` what the
 * file has (the same, but after a death).
 */
static int step_until_done(struct job *j, struct st_buf *text, struct st_buf *made_from)
{
    strata *s = j->s;
    int code = STRATA_OK;
    bool done = false;
    for (int i = 0; code == STRATA_OK && !done && i < ST_FILES_TRIES; i++) {
        struct st_buf next, displaced;
        struct st_blocks b;
        st_buf_init(&next, st_alloc_libc());
        st_buf_init(&displaced, st_alloc_libc());
        code = compose(j, st_buf_str(text), &next);
        st_blocks_find(st_buf_str(text), j->key, j->view->classify, &b);
        bool same = st_str_equal(st_buf_str(&next), st_buf_str(made_from));
        done = code == STRATA_OK && (leave_alone(j, &b) || same);
        if (done && same)
            code = adopt_rendering(j);
        if (code == STRATA_OK && !done) {
            code = keep_rendering(j);
            if (code == STRATA_OK)
                code = st_files_replace(s, j->e, j->path, st_buf_str(&next), st_buf_str(made_from),
                                        &displaced);
            done = code == STRATA_OK;
            if (done)
                memcpy(j->e->rendering, j->hash, sizeof j->hash);
        }
        if (code == ST_CONFLICT) {
            /* The first displaced text has all that was outside of the block. A later one may be of
             * an author who did not have what the one before wrote. */
            struct st_buf merged;
            size_t overlaps;
            st_buf_init(&merged, st_alloc_libc());
            if (i == 0)
                st_buf_add_str(&merged, st_buf_str(&displaced));
            else if (st_lines_merge(st_buf_str(made_from), st_buf_str(&next),
                                    st_buf_str(&displaced), ST_PREFER_B, &merged,
                                    &overlaps) != ST_OK)
                merged.failed = true;
            st_buf_release(text);
            *text = merged;
            struct st_buf swap = *made_from;
            *made_from = next;
            next = swap;
            j->missing = false;
            code = text->failed ? st_lib_no_memory(s) : STRATA_OK;
        }
        st_buf_release(&next);
        st_buf_release(&displaced);
    }
    return code;
}

static int read_file(struct job *j, struct st_buf *text, struct st_file_stamp *stamp)
{
    struct st_fault fault;
    st_file_await_writers(j->s->log.env, j->path);
    enum st_code code = st_file_get(j->path, ST_FILE_SIZE_MAX, text, stamp, &fault);
    j->missing = code == ST_NOT_FOUND;
    return code == ST_OK || j->missing ? STRATA_OK : st_lib_fault(j->s, &fault);
}

/* As it was when all of it was taken in. Its times alone do not tell: within the grain of their clock it may
 * have been written again, and after our own writing that is always so. */
static bool is_as_looked_at(const struct job *j, struct st_str text)
{
    return !j->missing && j->e->looked_ns != 0 && st_checksum(text.p, text.n) == j->e->content;
}

/* The file is read, taken in, and written if need be. */
static int update_file(struct job *j, bool stale)
{
    struct st_buf text, made_from;
    struct st_file_stamp stamp = {0};
    st_buf_init(&text, st_alloc_libc());
    st_buf_init(&made_from, st_alloc_libc());
    int code = read_file(j, &text, &stamp);
    if (code == STRATA_OK && j->missing && j->e->content != 0)
        st_lib_notice(j->s, "%s was missing and is there again; `strata view remove %s` ends it",
                      j->e->path, j->view->name);
    bool done = code == STRATA_OK && !stale && is_as_looked_at(j, st_buf_str(&text));
    if (code == STRATA_OK && !j->missing)
        st_files_looked(j->s, j->e, &stamp, st_buf_str(&text));
    if (code == STRATA_OK && !done) {
        st_buf_add_str(&made_from, st_buf_str(&text));
        code = made_from.failed ? st_lib_no_memory(j->s) : step_until_done(j, &text, &made_from);
        if (code != STRATA_OK)
            j->e->looked_ns = 0; /* what was edited is not taken in: to be looked at again */
    }
    st_buf_release(&text);
    st_buf_release(&made_from);
    return code;
}

int st_view_update(strata *s, struct st_entry *e, unsigned why)
{
    struct job j;
    int code = job_begin(s, e, why, &j);
    bool needed = (why & (ST_VIEW_DIRTY | ST_VIEW_FORCE)) != 0;
    if (code == STRATA_OK && !needed) {
        code = render(&j);
        needed = code == STRATA_OK && strcmp(j.hash, e->rendering) != 0;
        /* Forgotten meanwhile: an edit of what the file shows would not be understood. */
        if (code == STRATA_OK && !needed && !st_kept_has(s->files->kept, j.hash))
            code = keep_rendering(&j);
    }
    if (code == STRATA_OK && needed)
        code = update_file(&j, why != ST_VIEW_DIRTY);
    if (code == STRATA_OK && j.shown_epoch != 0) {
        e->shown_epoch = j.shown_epoch;
        e->shown_counter = j.shown_counter;
    }
    job_end(&j);
    return code;
}

int st_view_absorb(strata *s, struct st_entry *e, struct st_str unseen, struct st_str now)
{
    struct job j;
    struct st_buf text, made_from;
    int code = job_begin(s, e, ST_VIEW_DIRTY | ST_VIEW_FORCE, &j);
    st_buf_init(&text, st_alloc_libc());
    st_buf_init(&made_from, st_alloc_libc());
    st_buf_add_str(&text, unseen);
    st_buf_add_str(&made_from, now);
    if (code == STRATA_OK)
        code = text.failed || made_from.failed ? st_lib_no_memory(s)
                                               : step_until_done(&j, &text, &made_from);
    st_buf_release(&text);
    st_buf_release(&made_from);
    job_end(&j);
    return code;
}

/* --- taking a view out ------------------------------------------------------------------------ */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool only_space(struct st_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_space(s.p[i]))
            return false;
    return true;
}

/* The text without the block; what was edited in it is taken in. */
static int cut_out(struct job *j, struct st_buf *text, struct st_buf *out)
{
    struct st_blocks b;
    struct st_buf below, with;
    st_blocks_find(st_buf_str(text), j->key, j->view->classify, &b);
    if (b.count == 0) {
        st_buf_add_str(out, st_buf_str(text));
        return out->failed ? st_lib_no_memory(j->s) : STRATA_OK;
    }
    st_buf_init(&below, st_alloc_libc());
    st_buf_init(&with, st_alloc_libc());
    int code = take_in(j, st_buf_str(text), &b, &below);
    if (code == STRATA_OK) {
        st_block_put(st_buf_str(text), &b, j->key, "", (struct st_str){"", 0}, st_buf_str(&below),
                     &with);
        st_blocks_find(st_buf_str(&with), j->key, j->view->classify, &b);
        st_block_cut(st_buf_str(&with), &b, out);
        code = with.failed || out->failed ? st_lib_no_memory(j->s) : STRATA_OK;
    }
    st_buf_release(&below);
    st_buf_release(&with);
    return code;
}

/* The file with this text, or without it no file at all. */
static int put_or_take_away(struct job *j, struct st_str next, struct st_str made_from,
                            struct st_buf *displaced)
{
    if (!only_space(next))
        return st_files_replace(j->s, j->e, j->path, next, made_from, displaced);
#ifndef ST_DEFECT_REMOVES_UNSEEN
    return st_files_take_away(j->s, j->e, j->path, made_from, displaced);
#else
    j->s->log.env->unlink(j->s->log.env->ctx, j->path);
    return STRATA_OK;
#endif
}

/* Until nobody writes in between. */
static int take_out(struct job *j, struct st_buf *text)
{
    struct st_buf made_from, next, displaced;
    int code = ST_CONFLICT;
    st_buf_init(&made_from, st_alloc_libc());
    st_buf_init(&next, st_alloc_libc());
    st_buf_init(&displaced, st_alloc_libc());
    st_buf_add_str(&made_from, st_buf_str(text));
    for (int i = 0; code == ST_CONFLICT && i < ST_FILES_TRIES; i++) {
        st_buf_reset(&next);
        st_buf_reset(&displaced);
        code = cut_out(j, text, &next);
        if (code == STRATA_OK && i == 0 && st_str_equal(st_buf_str(&next), st_buf_str(text)))
            break; /* there is no block */
        if (code == STRATA_OK)
            code = put_or_take_away(j, st_buf_str(&next), st_buf_str(&made_from), &displaced);
        st_buf_reset(text);
        st_buf_add_str(text, st_buf_str(&displaced));
        st_buf_reset(&made_from);
        if (!only_space(st_buf_str(&next)))
            st_buf_add_str(&made_from, st_buf_str(&next));
    }
    st_buf_release(&made_from);
    st_buf_release(&next);
    st_buf_release(&displaced);
    return code;
}

int st_view_take_out(strata *s, struct st_entry *e)
{
    struct job j;
    struct st_buf text;
    struct st_file_stamp stamp;
    int code = job_begin(s, e, ST_VIEW_DIRTY, &j);
    st_buf_init(&text, st_alloc_libc());
    if (code == STRATA_OK)
        code = read_file(&j, &text, &stamp);
    if (code == STRATA_OK && !j.missing)
        code = take_out(&j, &text);
    st_buf_release(&text);
    job_end(&j);
    return code;
}
