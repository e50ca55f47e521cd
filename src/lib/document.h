/*
 * document.h - a tracked file and its versions, for the files document*.c. See documents.c.
 */
#ifndef ST_LIB_DOCUMENT_H
#define ST_LIB_DOCUMENT_H

#include "lib/files.h"

#define ST_DOCUMENT_ATTRIBUTE "text"

/* Bytes of one part: a value, less what a cut at a character's border needs. */
#define ST_PART_SIZE      (ST_VALUE_SIZE_MAX - 8)
#define ST_PART_NAME_SIZE 24

/* What a version names: more copies do not write at once between two exchanges. */
#define ST_PARENTS_MAX 8

/* For marking. */
enum st_version_mark {
    ST_MARK_REAL_A = 1, /* ancestors of the one, that it replaced */
    ST_MARK_REAL_B = 2, /* of the other */
    ST_MARK_A = 4,      /* ancestors of the one, merged ones too */
    ST_MARK_B = 8,
    ST_MARK_BELOW = 16, /* ancestors of a common ancestor */
};

struct st_version {
    struct st_dot dot;
    uint64_t time_ms, number; /* entry of the index */
    char agent[ST_AGENT_SIZE_MAX + 1];
    /* Those that it replaced, then those that it has all of but for overlaps: they stay. */
    struct st_dot parents[ST_PARENTS_MAX];
    size_t replaced, parent_count;
    bool live;
    unsigned marks; /* of the last question about ancestors */
};

/* The versions of a document, newest first, as they stood at one moment. */
struct st_versions {
    struct st_version *list;
    size_t count, live;
    size_t shown; /* number of the one that is shown; count: none */
};

/* `text`, `text.2`, ... */
struct st_str st_part_name(size_t number, char out[ST_PART_NAME_SIZE]);

/* Reads them anew. ST_OK or the code of a fault that st_lib_fault() was told of; free(v->list). */
int st_versions_read(strata *s, const char *entity, struct st_versions *v);
/* NULL: not known. */
struct st_version *st_version_find(const struct st_versions *v, struct st_dot dot);
/* Appends the text of a version: its parts, in the order of its record. */
int st_version_text(strata *s, const char *entity, const struct st_version *v, struct st_buf *out);

/* How two versions stand to each other. */
enum st_relation {
    ST_UNRELATED,  /* nothing in common but the name */
    ST_CONTAINED,  /* one of them has all of the other but for overlaps */
    ST_DIVERGED,   /* base: the text that both come from */
    ST_CONFLICTED, /* the same, and an overlap of what they come from is not settled */
};

/*
 * How a and b stand to each other; appends the base to merge them against. Where they have several
 * latest common ancestors (two copies merged the same versions, each for itself), the base is what
 * those give when they are merged, against their own base in turn: what both have of all of them is
 * then no change of either. The same on every copy that knows both versions.
 */
int st_versions_base(strata *s, const char *entity, struct st_versions *v,
                     const struct st_version *a, const struct st_version *b, struct st_buf *base,
                     enum st_relation *relation);

/* A tracked file that is being looked after. */
struct st_document {
    strata *s;
    struct st_entry *e;
    char entity[ST_NAME_SIZE_MAX + 1];
    char path[ST_PATH_SIZE]; /* of the file */
    struct st_versions h;
    const char *author;
};

/* --- document_write.c --------------------------------------------------------------------------- */

/* Whether a text can be a version; tells why not. */
int st_document_check(struct st_document *d, struct st_str text);
/* A version that replaces these. read: what its author had last read, if that is older. merged: what
 * else it has all of but for overlaps, or NULL. Reads the versions anew. */
int st_document_write(struct st_document *d, struct st_str text, const struct st_dot *replaces,
                      size_t count, struct st_dot read, const struct st_version *merged);

/* --- document_edits.c --------------------------------------------------------------------------- */

/* The text of an editor becomes a version, beside or on top of what there is. */
int st_document_take_in(struct st_document *d, struct st_str text);
/* Merges what was written in several places, as far as it can be. */
int st_document_reconcile(struct st_document *d);
/* The latest version with this text: a file that came by another way, as with a clone of the repository,
 * often is as it was at some time. NULL: none. */
int st_document_version_with(struct st_document *d, struct st_str text, struct st_version **out);
/* The live versions with the text of v: who was shown one was shown all. */
int st_document_dots(struct st_document *d, const struct st_version *v,
                     struct st_dot dots[ST_PARENTS_MAX], size_t *count);
/* The file has the text of v. */
int st_document_set_base(struct st_document *d, const struct st_version *v);

/* --- document_git.c ----------------------------------------------------------------------------- */

/* Whether the file has a text that Git has put there and that is no edit; then it is held. `stamp`: of the
 * file as it was read. */
int st_document_hold(struct st_document *d, struct st_str text, const struct st_file_stamp *stamp,
                     bool *held);

#endif
