/*
 * registry.h - which files of a work tree Strata looks after, and what it last saw in them.
 *
 * One file per work tree, <home>/files; <home> is <state>/views for the tree that the state belongs
 * to, and <git directory of the tree>/strata-views for further work trees, so that it goes with the
 * tree when that is removed. Replaced by rename. Lines of fields with a tab between them:
 *
 *   strata-files 1
 *   state <epoch, hex> <counter> <board ns> <checked ms>     what the views were last rendered from
 *   view <name> <subject> <flags> <rendering> <content> <stamp> <path>
 *   file <base> <content> <stamp> <path>
 *   held <base> <content> <stamp> <path>                     a file that is as Git has put it there
 *   glob <directory ns> <pattern>
 *   end <number of lines between>
 *
 * rendering  hash of the block that was last written or taken in (view.h)
 * content    checksum of the whole file as it was last looked at, hex; 0: never
 * stamp      <size> <inode> <mtime ns> <ctime ns> <when it was looked at, ns>
 * base       document: the dot of the version that the file has; empty: none is known
 *
 * A stamp is trusted when the file was last changed well before it was looked at: within the grain
 * of the file system's clock a second change would leave the same stamp.
 */
#ifndef ST_FILES_REGISTRY_H
#define ST_FILES_REGISTRY_H

#include "files/block.h"
#include "files/replace.h"
#include "store/arena.h"
#include "store/log.h"

/* Files of one work tree: each costs one stat(2) per command. */
#define ST_FILES_MAX 10000
/* Paths are names too: of the entity of a document. Bytes, without "file:". */
#define ST_FILE_PATH_MAX (ST_NAME_SIZE_MAX - 5)
/* How coarse a file system's clock may be: ext4 and its kin go by the timer tick. Nanoseconds. */
#define ST_STAMP_GRAIN_NS (20 * 1000000)

enum st_entry_kind { ST_ENTRY_VIEW, ST_ENTRY_FILE, ST_ENTRY_GLOB };

struct st_entry {
    enum st_entry_kind kind;
    const char *name, *subject; /* view */
    const char *path;           /* relative to the work tree; glob: the pattern */
    const char *base;           /* file; never NULL */
    bool held;                  /* file: left as it is until it is edited */
    bool committed;             /* view: Git has the file; written after edits and by render only */
    char rendering[ST_BLOCK_HASH_SIZE];
    uint64_t content;
    struct st_file_stamp stamp;
    int64_t looked_ns; /* glob: change time of the directory */
    /* view: what it was rendered from in this process, 0: not; not in the file */
    uint64_t shown_epoch, shown_counter;
};

struct st_registry {
    struct st_entry *list;
    size_t count, cap;
    uint64_t epoch, counter; /* of our log when the views were last rendered */
    uint64_t beside; /* what views show beside the log (heartbeats, claims): another number then */
    uint64_t checked_ms;
    struct st_arena arena;
};

void st_registry_init(struct st_registry *r);
void st_registry_release(struct st_registry *r);
/* ST_OK, ST_NOT_FOUND, ST_DAMAGED, ST_VERSION, ... On error the registry is empty. */
enum st_code st_registry_load(struct st_registry *r, const char *path, struct st_fault *fault);
/* `flush`: entries were added or removed. */
enum st_code st_registry_save(const struct st_registry *r, const struct st_env *env,
                              const char *path, bool flush, struct st_fault *fault);
/* Strings are copied. NULL: out of memory. */
struct st_entry *st_registry_add(struct st_registry *r, const struct st_entry *entry);
void st_registry_remove(struct st_registry *r, struct st_entry *entry);
/* Copies a string for an entry; NULL: out of memory. */
const char *st_registry_text(struct st_registry *r, const char *text);

/* Whether a file with this stamp is certainly as it was when the entry was looked at. */
bool st_entry_unchanged(const struct st_entry *e, const struct st_file_stamp *now);

#endif
