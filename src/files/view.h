/*
 * view.h - views: Markdown made from the state, whose edits become operations.
 *
 * A view is one small module (view_*.c) with a table of functions:
 *   render    rows of the state to lines; each line of an item carries the item's id, and names the
 *             dots of what it shows
 *   identify  the id in a line
 *   classify  what a line is, for damaged blocks and for new lines
 *   apply     edits (lines kept, changed, removed, added against a known rendering) to operations
 *
 * An edit supersedes exactly what its author was shown: operations carry `at`, the dots of the line
 * as it was rendered. So what came after the rendering stays, and is pending beside the edit.
 *
 * Applying the same edits twice adds nothing: a process may be killed after the records are
 * written and before the file is. So apply() looks at the state as it is now, and leaves out what
 * is there already.
 */
#ifndef ST_FILES_VIEW_H
#define ST_FILES_VIEW_H

#include "core/state.h"
#include "files/block.h"
#include "files/task_line.h"
#include "store/arena.h"
#include "store/env.h"
#include "store/fault.h"

struct st_index;

/* Where a view gets its rows from. All borrowed for the call. */
struct st_view_source {
    const struct st_kv *kv;
    struct st_index *index; /* for the history; may be NULL */
    const struct st_env *env;
    const char *state_dir; /* for the board */
    const char *subject;   /* "" when the view takes none */
    uint64_t now_ms;
    bool founding; /* plain numbers of tasks are made here */
    /* Who has claimed a task; NULL: nobody, or it is not known here. Lent. */
    const char *(*holder)(void *arg, struct st_str entity);
    void *holder_arg;
};

/* --- rendering -------------------------------------------------------------------------------- */

struct st_render_line {
    size_t offset, size; /* in text; without the newline */
    size_t dot_first, dot_count;
};

struct st_rendering {
    struct st_buf text; /* the lines, each with \n */
    struct st_render_line *lines;
    size_t line_count, line_cap;
    struct st_dot *dots;
    size_t dot_count, dot_cap;
    bool failed; /* out of memory */
};

void st_rendering_init(struct st_rendering *r);
void st_rendering_release(struct st_rendering *r);
/* Ends the line that was appended to r->text since the last end; dots added since belong to it. */
void st_rendering_end_line(struct st_rendering *r);
void st_rendering_add_dot(struct st_rendering *r, struct st_dot dot);
struct st_str st_rendering_line(const struct st_rendering *r, size_t i);

/* --- edits ------------------------------------------------------------------------------------ */

enum st_edit_kind { ST_EDIT_KEPT, ST_EDIT_CHANGED, ST_EDIT_REMOVED, ST_EDIT_ADDED };

struct st_edit {
    enum st_edit_kind kind;
    struct st_str before, after; /* lines; before is empty with ADDED, after with REMOVED */
    const struct st_dot *dots;   /* of `before` */
    size_t dot_count;
};

/* The lines of the rendering in its order, then the added ones. Fixed lines are left out. */
struct st_edits {
    struct st_edit *list;
    size_t count, cap;
    size_t changes; /* that are not KEPT */
    struct st_buf
        below; /* lines that are no items: they go behind the block, where they are text */
    size_t below_count;
    size_t repeated; /* lines with an id that another line has already */
    size_t unknown;  /* lines with an id that the rendering does not have */
    bool base_known;
    char
        base[ST_BLOCK_HASH_SIZE]; /* the rendering's name; "": not known. For the caller to fill. */
};

struct st_view;

/* Compares the lines between the markers with the rendering that they were made from; NULL: it is
 * not known, then only new lines count. Texts are borrowed from both. ST_NO_MEMORY. */
enum st_code st_edits_find(const struct st_view *view, const struct st_rendering *base,
                           struct st_str body, struct st_edits *out);
void st_edits_release(struct st_edits *e);

/* Operations of one or more records. Strings live in the arena. */
struct st_file_op {
    struct st_str agent; /* whose status this is; empty: the one who takes the edit in */
    struct st_op op;
};

/*
 * What is not for a record alone to say, but for the commands on tasks: a new one gets a number, an
 * end is for the ledger to accept, a cycle is refused.
 */
enum st_wish_kind { ST_WISH_ADD, ST_WISH_DEPEND, ST_WISH_STATE };

struct st_wish {
    enum st_wish_kind kind;
    struct st_str entity;     /* depend, state; add: not empty when it is there already */
    struct st_str value;      /* depend: on which number or key; state: a word */
    struct st_task_line line; /* add; its key names it, its seq is what its author called it */
};

struct st_file_ops {
    struct st_arena arena;
    struct st_file_op *list;
    size_t count, cap;
    struct st_wish *wishes;
    size_t wish_count, wish_cap;
    size_t unknown; /* lines, or names in them, of what is not known here: not taken in */
};

void st_file_ops_release(struct st_file_ops *ops);
/* Copies op with its strings and, when has_at, `dots` as what it replaces. False: out of memory. */
bool st_file_ops_add(struct st_file_ops *ops, struct st_str agent, const struct st_op *op,
                     const struct st_dot *dots, size_t dot_count);

/* --- writing facts (view_write.c) ------------------------------------------------------------- */

/* What a line says of an attribute. Strings are borrowed. */
struct st_view_fact {
    struct st_str entity, attribute, value;
    enum st_item_kind kind;
    bool link;
};

bool st_view_has_dot(const struct st_dot *dots, size_t count, struct st_dot dot);
bool st_view_item_is(const struct st_item *item, const struct st_view_fact *f);
/* Set, unset, add or remove; all but add supersede `dots`. False: out of memory. */
bool st_view_op_add(struct st_file_ops *ops, enum st_op_kind kind, const struct st_view_fact *f,
                    const struct st_dot *dots, size_t count);
/* Sets the attribute, or (ST_ITEM_ABSENT) unsets it; supersedes `dots`, which showed `was`. Nothing
 * when it says so already, or did since the rendering: the edit came in before. */
enum st_code st_view_register_write(const struct st_view_source *src, const struct st_view_fact *f,
                                    const struct st_view_fact *was, const struct st_dot *dots,
                                    size_t count, struct st_read_scratch *scratch,
                                    struct st_file_ops *out);

/* Whether somebody wrote this since the rendering whose line has these dots. */
bool st_view_written_since(const struct st_view_source *src, const struct st_view_fact *f,
                           const struct st_dot *dots, size_t count);
/* Whether somebody ever wrote this. ST_NO_MEMORY, ... */
enum st_code st_view_was_written(const struct st_view_source *src, const struct st_view_fact *f,
                                 bool *was);
/* Copies the wish with its strings. False: out of memory. */
bool st_view_wish_add(struct st_file_ops *ops, const struct st_wish *wish);

/* --- the views -------------------------------------------------------------------------------- */

struct st_view {
    const char *name;
    const char *file;   /* when none is given; NULL: made from the subject */
    bool takes_subject; /* an entity, of the queue a channel; may be left out */
    bool names_are_ids; /* an author chooses the id of a new item: an unknown one is an addition */
    bool shows_board;   /* renders heartbeats: changes with time, not with records alone */
    bool shows_claims;  /* wants `holder` */
    bool (*shows)(const struct st_op *op); /* whether it can change what the view shows */
    enum st_code (*render)(const struct st_view_source *source, struct st_rendering *out);
    bool (*identify)(struct st_str line, struct st_str *id);
    st_line_classify *classify;
    enum st_code (*apply)(const struct st_view_source *source, const struct st_edits *edits,
                          struct st_file_ops *out);
    /* Whether what a rendered line shows was ever in the state, what it does not show otherwise than
     * `before` (the line of this id before; empty: none) left out. NULL: only what it shows now is
     * known to have been. */
    enum st_code (*knows)(const struct st_view_source *source, struct st_str line,
                          struct st_str before, bool *known);
};

/* NULL when there is no view of that name. */
const struct st_view *st_view_find(const char *name);
/* The i-th, or NULL. */
const struct st_view *st_view_at(size_t i);

/* The key in a block's markers; the subject as it is, or its hash where it has other characters
 * than letters, digits, dot, dash and underscore, or is long. */
void st_view_key(const struct st_view *view, const char *subject, char out[ST_BLOCK_KEY_SIZE]);
/* The name of a rendering: a hash of key and text. */
void st_rendering_hash(const char *key, struct st_str text, char out[ST_BLOCK_HASH_SIZE]);

extern const struct st_view st_view_heartbeat;
extern const struct st_view st_view_facts;
extern const struct st_view st_view_queue;

#endif
