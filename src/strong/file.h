/*
 * file.h - the file engine (order.h): one log of its own, in a directory, ordered by the log kernel
 * (store/log.h); whoever has the directory may order, if it has the role. Shared by
 *   file.c          the engine
 *   file_serve.c    how an entry gets its answer
 *   file_role.c     who decides: the file `coordinator`
 *   file_answers.c  the file `answers`: what was answered to whom, shared by all processes
 *
 * An entry is a record whose operations are commands; records without any (a new epoch, a new
 * segment) are no entries. The rows are those of the index (store/index.h) of that log.
 *
 * Whoever gets the index lock applies all entries that are there, for everybody, and leaves the
 * results in `answers`; the others sleep until theirs is there. It is true as soon as it is there,
 * whether the index was committed or not: the results follow from the log alone. So the order is
 * append, flush (shared), apply (shared): one flush and one transaction of SQLite for as many
 * processes as there are.
 */
#ifndef ST_STRONG_FILE_H
#define ST_STRONG_FILE_H

#include "store/index.h"
#include "strong/order.h"

struct st_answers;

struct st_file {
    struct st_order order; /* first: a handle is a pointer to it */
    struct st_log log;
    bool log_open;
    struct st_index *index;
    struct st_answers *answers; /* NULL: cannot be mapped here */
    struct st_due no_due;       /* stands in for the shared one where there is none */
    /* The file of the role that says that this directory has it (file_role.c). */
    struct st_role {
        uint64_t epoch; /* of the log then; 0: not known */
        uint64_t inode, birth_ns, changed_ns;
    } role;
    /* What this process waits for, should it apply that entry itself. */
    struct st_mark wanted;
    bool found;
    bool serving; /* a round of this process is under way */
    struct st_ledger_result results[ST_ENTRY_COMMANDS_MAX];
};

/* Makes the log in an existing directory; with `decides`, gives it the role unless there is a file
 * `coordinator`. Doing it again is harmless. */
enum st_code st_file_found(const struct st_env *env, const struct st_alloc *alloc, const char *dir,
                           uint64_t workspace, const char *name, bool decides,
                           struct st_fault *fault);
/* Whether there is a log of this engine. */
bool st_file_exists(const struct st_env *env, const char *dir);
/* Whose log it is, and whether it has no entry, without its rows. */
enum st_code st_file_glance(const struct st_env *env, const struct st_alloc *alloc, const char *dir,
                            uint64_t *workspace, bool *empty);
/* Another number after each entry, without opening the log; 0: none was written since the system started. */
uint64_t st_file_moves(const struct st_env *env, const char *dir);
/* The handle is to be ended with its close(). */
enum st_code st_file_open(struct st_order **out, const struct st_env *env,
                          const struct st_alloc *alloc, const char *dir, bool read_only,
                          const char *what, uint64_t wait_ms, struct st_fault *fault);

/* The fault of a part as the engine's; its code. */
enum st_code st_file_log_fault(struct st_file *f);
enum st_code st_file_index_fault(struct st_file *f, enum st_code code);
/* As st_serve_await(), for an answer that was overwritten. */
enum st_code st_file_answer_again(struct st_file *f);

/* --- file_role.c ------------------------------------------------------------------------------ */

/* ST_OK: this directory has the role. */
enum st_code st_role_check(struct st_file *f);
enum st_code st_role_take(struct st_file *f, const char *by);
/* Nobody has it, and founding again does not give it back. */
enum st_code st_role_give_up(struct st_file *f);
void st_role_place(const struct st_file *f, char out[ST_PLACE_SIZE]);

/* --- file_answers.c --------------------------------------------------------------------------- */

/* Maps the file, made if need be; `patient`: waits while somebody else makes it. Without it everybody
 * works for itself. */
void st_answers_open(struct st_file *f, bool patient);
void st_answers_close(struct st_file *f);
void st_answers_put(struct st_file *f, struct st_mark mark, const struct st_ledger_result *results,
                    size_t count);
/* False: it is not there, or not any more. */
bool st_answers_get(struct st_file *f, struct st_mark mark, struct st_ledger_result *results,
                    size_t count);
/* A round begins, which goes up to entry `last`. The index lock is held. */
void st_answers_round(struct st_file *f, uint64_t last);
/* What to sleep on: to be had before looking for an answer, in vain. */
struct st_watch {
    uint32_t *word, seen;
};
/* Until the round that goes up to this entry, or further, has ended. */
struct st_watch st_answers_watch(struct st_file *f, uint64_t number);
/* Until rows were written. */
struct st_watch st_answers_watch_rows(struct st_file *f);
void st_answers_sleep(struct st_file *f, const struct st_watch *w);
/* Those whom the round concerns; one who waits for the next, and all who wait for rows; everybody. */
void st_answers_wake_round(struct st_file *f);
void st_answers_wake_next(struct st_file *f);
void st_answers_wake(struct st_file *f);
bool st_answers_rows_awaited(const struct st_file *f);
/* Whether somebody sleeps, here or until something is flushed. */
bool st_answers_awaited(const struct st_file *f);

/* --- file_serve.c ----------------------------------------------------------------------------- */

/* Until the entry that is wanted has been applied, by whomever; f->results. */
enum st_code st_serve_await(struct st_file *f, size_t count);

#endif
