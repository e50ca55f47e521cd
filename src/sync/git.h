/*
 * git.h - running the `git` program: one call is one process, started with an array of arguments
 * and never through a shell.
 *
 * Every call has a time-out, after which the process and all that it started are ended. It gets a
 * session of its own, so that nothing it starts can ask on the terminal of whoever runs us; if we
 * die, it is told to end (its locks then go with it). The variables by which git is told where the
 * repository is are taken out of its environment, because we may run inside one of git's hooks;
 * hooks of the clone are not run.
 */
#ifndef ST_SYNC_GIT_H
#define ST_SYNC_GIT_H

#include "store/log.h"

/* A hash in hex: 40 digits with SHA-1, 64 with SHA-256. */
#define ST_OBJECT_ID_SIZE 65

/* A local call reads and writes some megabytes; far above that on a busy disk. Milliseconds. */
#define ST_GIT_WAIT_MS 60000
/* A call that goes over the network, unless the user says otherwise: gigabytes over a slow line are
 * not given up too early, and a line that is dead is given up in the end. Milliseconds. */
#define ST_GIT_NETWORK_WAIT_MS 600000

/* What a call may print: the listing of some 400,000 chunks. Bytes. */
#define ST_GIT_OUTPUT_MAX (64u * 1024 * 1024)

/* What is kept of standard error: the end, where git says what went wrong. Bytes. */
#define ST_GIT_MESSAGE_SIZE 400

struct st_git {
    const struct st_alloc *alloc; /* borrowed */
    char dir[ST_PATH_SIZE];       /* the repository that all work trees share */
    char cwd[ST_PATH_SIZE];       /* what relative addresses of remotes refer to */
    uint64_t network_ms;          /* 0: ST_GIT_NETWORK_WAIT_MS */
    struct st_fault *fault;       /* borrowed: where errors go */
};

struct st_git_call {
    const char *const *args;        /* what follows `git`; ends with NULL */
    const char *const *environment; /* NAME=VALUE to add; ends with NULL; NULL: nothing */
    struct st_str input;            /* standard input */
    struct st_buf *out;             /* standard output is appended to it; NULL: thrown away */
    /* Or is given away as it comes; what is not ST_OK ends the call and is its result. */
    enum st_code (*sink)(void *arg, const char *p, size_t n);
    void *arg;
    bool network;
    /* out */
    int status;                        /* of the exit; 128 + signal */
    char message[ST_GIT_MESSAGE_SIZE]; /* of standard error, on one line */
};

/* The repository `dir` is the common directory of. */
enum st_code st_git_init(struct st_git *g, const struct st_alloc *alloc, const char *dir,
                         struct st_fault *fault);

/* ST_OK when the process has ended by itself, with whatever status. ST_UNAVAILABLE: git could not
 * be started; ST_TIMEOUT; ST_LIMIT: it printed too much. */
enum st_code st_git_run(struct st_git *g, struct st_git_call *call);
/* The same; a status other than 0 is ST_UNAVAILABLE for calls over the network, else ST_IO, with
 * what git said. */
enum st_code st_git_must(struct st_git *g, struct st_git_call *call);

/* The one line (a hash, an address, ...) that a call prints. ST_NOT_FOUND: it failed, or printed
 * nothing. */
enum st_code st_git_line(struct st_git *g, const char *const *args, char *out, size_t size);

/* Whether text is a hash in hex. */
bool st_object_id_valid(const char *text);

#endif
