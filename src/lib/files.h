/*
 * files.h - the files of one work tree, as the library goes through them: views.c, documents.c.
 *
 * All work on files happens under the lock of the work tree (<home>/lock). Who cannot have it
 * leaves the work to the one who has: that one looks again, after it has let go, whether the log
 * has moved meanwhile.
 */
#ifndef ST_LIB_FILES_H
#define ST_LIB_FILES_H

#include "files/registry.h"
#include "files/view.h"
#include "lib/internal.h"
#include "store/mend.h"

/* How long a command waits for another that works on the files, before it leaves the work to that
 * one. Milliseconds: ten times what a view of 1,000 lines takes. */
#define ST_FILES_WAIT_MS 200

/* Heartbeats are no records, and claims lapse without one: so often at most a view is looked at for
 * them alone. Milliseconds. */
#define ST_FILES_BOARD_MS 60000

/* The marks of one agent: what it has read of which files, for some thousand files. Bytes. */
#define ST_SEEN_SIZE_MAX (256u * 1024)

/* Times that a file which others keep changing is written again, before it is left for the next
 * command. */
#define ST_FILES_TRIES 8

struct st_watch;

struct st_files {
    char root[ST_PATH_SIZE];           /* of the work tree */
    char home[ST_PATH_SIZE];           /* list, lock, journal */
    char list[ST_PATH_SIZE];           /* <home>/files */
    char kept[ST_PATH_SIZE];           /* <state>/views/kept */
    char agent[ST_AGENT_SIZE_MAX + 1]; /* who edits are put down to: the work tree's name, or "" */
    struct st_registry registry;
    struct st_file_stamp list_stamp; /* of the list that `registry` was read from */
    int lock_fd;
    bool loaded, changed, changed_set; /* changed_set: entries came or went */
    strata_files_result *result;
    struct st_watch *watch; /* NULL until strata_files_wait() */
};

/* --- files_moved.c ----------------------------------------------------------------------------- */

/* Whether records up to `tail` can have changed what an entry shows since it was last looked at. */
bool st_files_moved(strata *s, const struct st_entry *e, const struct st_tail *tail);

/* --- files.c ---------------------------------------------------------------------------------- */

/* Finds the work tree: s->files. STRATA_NOT_FOUND, without an error: there is none. */
int st_files_find(strata *s);
/* Reads the list unless it is the one that was read last. ST_NOT_FOUND: there is none. */
int st_files_load(strata *s);
/* Both, with an error. No list is an empty one. */
int st_files_list(strata *s);

/* For calls that are about files: the lock, the list (a new one if there is none), things put
 * right. st_files_end() after STRATA_OK saves the list, and returns `code` unless that is STRATA_OK. */
int st_files_begin(strata *s);
int st_files_end(strata *s, int code);

/* A path given by a person to one of the work tree, without symbolic links. */
int st_files_relative(strata *s, const char *given, char out[ST_PATH_SIZE]);
/* The view or tracked file with this path; NULL. */
struct st_entry *st_files_entry(strata *s, const char *path);
/* STRATA_LIMIT: one entry more is too many. */
int st_files_room(strata *s);
/* Locks a file, opened if *fd is -1 and made if need be; close(2) or unlock ends it. STRATA_TIMEOUT:
 * somebody else has it. */
int st_files_lock(strata *s, const char *path, int *fd, uint64_t wait_ms);
/* The real time, as the stamps of files have it. */
int64_t st_files_now_ns(void);

/* The absolute path of an entry. ST_LIMIT; ST_INVALID: a directory on the way leads elsewhere. */
int st_files_path(strata *s, const char *relative, char out[ST_PATH_SIZE]);

/* Whether a view shows claims; else whether one shows heartbeats. */
bool st_files_show(const struct st_registry *r, bool claims);

/* Appends the operations: one record for each agent whose status it is, the others together. */
int st_files_write(strata *s, const struct st_file_ops *ops);

/* view_tasks.c: carries out what an edit wants of tasks. What is refused (claimed by somebody else, a
 * cycle) is told and counted; any other code: not all was done, and it can be done again. */
int st_files_wishes(strata *s, const char *path, const struct st_file_ops *ops, size_t *refused);

/* --- files_replace.c -------------------------------------------------------------------------- */

/* Puts right what a process that died while it replaced a file has left. Under the lock. */
int st_files_recover(strata *s);

/*
 * Replaces a file. `made_from` is the text that `text` was made from. ST_OK, or ST_CONFLICT:
 * somebody wrote in between; `text` is in the file, and what was displaced is appended to
 * *displaced. The entry's content and stamp are set to what was written.
 */
int st_files_replace(strata *s, struct st_entry *e, const char *path, struct st_str text,
                     struct st_str made_from, struct st_buf *displaced);
/* Removes a file. As st_files_replace(); after ST_CONFLICT there is no file. */
int st_files_take_away(strata *s, struct st_entry *e, const char *path, struct st_str made_from,
                       struct st_buf *displaced);
/* Puts a text that cannot be taken in as it is aside, in <state>/views/aside; tells where. Else the
 * text is nowhere: whoever has the only copy keeps it. */
int st_files_put_aside(strata *s, const char *path, struct st_str text, const char *why);

/* The entry was looked at: this is what is there. */
void st_files_looked(strata *s, struct st_entry *e, const struct st_file_stamp *stamp,
                     struct st_str text);

/* --- tracked.c -------------------------------------------------------------------------------- */

/* Tracks what matches a pattern by now. Moves the list of entries. */
int st_pattern_update(strata *s, struct st_entry *e);
/* Whether its directory has changed since. */
bool st_pattern_moved(strata *s, const struct st_entry *e);

/* What the handle's agent has been told to have read of a file: the dot of a version. The mark is
 * good for one edit: getting it takes it away. False: none. */
bool st_files_seen_get(strata *s, const char *path, char dot[ST_ID_SIZE]);

/* --- documents.c ------------------------------------------------------------------------------ */

/* Takes in what was edited, merges what was written in two places, writes the file if its text is
 * another then. With ST_VIEW_FORCE a missing file is written again. */
int st_document_update(strata *s, struct st_entry *e, unsigned why);
/* The text of the file as it is becomes the next version. */
int st_document_take(strata *s, struct st_entry *e);
/* Takes in what was edited, then a version with one line more, of the handle's agent; kept whoever writes the file
 * meanwhile. */
int st_document_append(strata *s, struct st_entry *e, struct st_str line);
/* Whether the attribute is the text of a document, or a further part of it. */
bool st_document_part(struct st_str entity, struct st_str attribute);
/*
 * The operations that leave one version of a document, with all its parts, of those that are
 * pending on like->attribute; between begin and end of a read. `chosen`: the dot of one of them,
 * and which operation of its record; NULL: like->value is the whole text, or (unset) there is none.
 */
enum st_code st_document_settle(strata *s, const struct st_op *like, const struct st_dot *chosen,
                                uint32_t chosen_op, struct st_file_ops *ops);
/* As st_view_absorb(). */
int st_document_absorb(strata *s, struct st_entry *e, struct st_str unseen, struct st_str now);

/* --- ignore.c --------------------------------------------------------------------------------- */

/* Whether Git has this file of the work tree in its index (runs git). */
bool st_git_has(const char *root, const char *path);
/* Has Git ignore the file, or no longer; without Git: nothing. */
void st_git_ignore(strata *s, const char *path, bool ignored);

/* --- views.c ---------------------------------------------------------------------------------- */

enum { ST_VIEW_DIRTY = 1, ST_VIEW_STALE = 2, ST_VIEW_FORCE = 4 };

/* Takes in what was edited, and writes the view anew if its meaning changed. */
int st_view_update(strata *s, struct st_entry *e, unsigned why);
/* The same for a text that was displaced from the file, and not looked at before a process died. */
int st_view_absorb(strata *s, struct st_entry *e, struct st_str unseen, struct st_str now);
/* What a view is rendered from, and edits are applied to; between begin and end of a read. */
struct st_view_source st_view_source(strata *s, const char *subject);
/* Begins a read of what the view shows. */
int st_view_begin(strata *s, const struct st_view *view);
/* Takes the block out of its file, after taking in what was edited. */
int st_view_take_out(strata *s, struct st_entry *e);

/* --- watch.c ---------------------------------------------------------------------------------- */

void st_watch_close(struct st_watch *w);

#endif
