/*
 * sync.h - exchange with other copies of the workspace through a Git repository.
 *
 * Each replica publishes its own log as a commit on a reference of its own, refs/strata/<replica>
 * (catalog.h has the layout). It pushes that reference and no other, and never by force; what
 * others published is fetched to refs/strata-remote/<remote>/<replica>. Work tree, index and
 * branches are not touched, and git's own keeping of references and objects is what makes clones,
 * mirrors and `git gc` harmless. One round, in this order:
 *
 *   st_sync_begin     one at a time in a clone (sync.lock)
 *   st_sync_look      what the remote has, what we have published
 *   st_sync_collect   fetch what is new, check it, lay its logs out in <state>/sync/in like a state
 *   (intake)          store/intake.h takes in from there
 *   st_sync_taken     remember it
 *   st_sync_publish   blobs, trees, commit, our own reference here
 *   st_sync_push      ST_CONFLICT: somebody pushed meanwhile; begin again with st_sync_look
 *   st_sync_end
 *
 * A process may die between any two steps and inside of each: what git has then is unreferenced, or
 * is published again; what lies in <state>/sync is thrown away by the next.
 *
 * The log is the truth, the reference a publication of it. So our own reference is only ever added
 * to: where the remote has one that ours does not descend from (a copy of this clone goes on
 * elsewhere, or ours was lost or restored), the next commit is made on top of that. Whether a
 * publication knows more of our own log than we do, or knows it otherwise, is looked for in the
 * records themselves: intake then begins a new epoch. Commits are no proof: two copies that know of
 * each other push the same reference by turns, and need no new epoch each time.
 *
 * Only durable records travel: up to the watermark, which is raised to the tail first.
 */
#ifndef ST_SYNC_SYNC_H
#define ST_SYNC_SYNC_H

#include "sync/catalog.h"

/* Replicas that a remote may have: a few machines with some clones each are tens; a fetch names all
 * of them on its command line. */
#define ST_SYNC_REPLICAS_MAX 1024

/* Addresses of remotes, and names of remotes. Bytes with the NUL. */
#define ST_REMOTE_SIZE 2048

/* Rounds of one sync that lose the race for our own reference against a copy of this clone. */
#define ST_SYNC_ATTEMPTS 5

/* Small pieces are put together when there are this many of them in a row: a listing of a segment
 * stays within some hundred lines, however often it is synced. */
#define ST_PIECES_RUN 16
/* What small is: two sizes, so that no byte is stored more than a few times. Bytes. */
#define ST_PIECE_SMALL  (4u * 1024)
#define ST_PIECE_MEDIUM (64u * 1024)

/* What one refused reference was refused for. */
struct st_refusal {
    char ref[ST_REMOTE_SIZE];
    char why[ST_FAULT_TEXT_SIZE];
};

/* A reference of the remote. */
struct st_remote_ref {
    uint64_t replica;
    char id[ST_OBJECT_ID_SIZE];      /* as the remote listed it */
    char fetched[ST_OBJECT_ID_SIZE]; /* as it is here; "": not here */
    bool own;                        /* of our replica */
    bool taken;                      /* all that it has was taken in before */
    bool refused;
    bool ledger;                   /* it has the strong layer's log */
    char board[ST_OBJECT_ID_SIZE]; /* of its heartbeats; "": none, or taken before */
    struct st_manifest manifest;
};

struct st_sync {
    struct st_log *log; /* borrowed */
    /* The log of the strong layer; borrowed until st_sync_end(). NULL: not published, what was stays.
     */
    struct st_log *ledger;
    struct st_ledger_head ledger_head; /* published beside it, and without it */
    struct st_git git;
    struct st_fault fault;
    char dir[ST_PATH_SIZE]; /* <state>/sync */
    int lock_fd;
    char remote[ST_REMOTE_SIZE]; /* as git is told */
    bool named;                  /* a remote of the clone's configuration, else an address */
    char space[ST_REMOTE_SIZE];  /* refs/strata-remote/<...>, with a slash at the end */
    char own_ref[64];
    /* what st_sync_look() found */
    struct st_remote_ref *refs;
    size_t ref_count;
    uint64_t strange_refs;               /* of the remote, under refs/strata, but no replica's */
    char local_value[ST_OBJECT_ID_SIZE]; /* our own reference here; "": none */
    char local[ST_OBJECT_ID_SIZE];       /* the same; "" also when its commit is not readable */
    char remote_own[ST_OBJECT_ID_SIZE];  /* and there */
    bool remote_ahead;                   /* ours does not descend from theirs */
    bool own_refused;                    /* theirs cannot be used, so ours cannot be sent */
    struct st_catalog base;              /* of what the next commit adds to */
    /* what st_sync_collect() found */
    struct st_remote_ref mine; /* what we have published, as it is here: a ledger that was put back
                                  to an earlier moment finds the rest there */
    bool staged;
    uint64_t workspace; /* of what is staged */
    struct st_refusal *refusals;
    size_t refusal_count;
    /* what st_sync_publish() did */
    uint64_t published;        /* records that were new in it */
    uint64_t ledger_published; /* and of the strong layer's log */
    char commit[ST_OBJECT_ID_SIZE];
    void (*progress)(void *arg, const char *step); /* may be NULL */
    void *progress_arg;
};

/* Takes the lock. `git_dir`: the clone's common directory. On failure nothing has to be ended. */
enum st_code st_sync_begin(struct st_sync *y, struct st_log *log, const char *git_dir,
                           struct st_fault *fault);
void st_sync_end(struct st_sync *y);

/* Which remote: the name of one of the clone's, else an address or a path. *url: where records
 * would go. ST_NOT_FOUND, ST_INVALID. */
enum st_code st_sync_remote(struct st_sync *y, const char *remote, char url[ST_REMOTE_SIZE]);

/*
 * What somebody has agreed to, kept in <state>/sync/remotes: lines of <remote> <tab> <where its
 * records go>, with <tab> `ledger` behind it when the strong layer's log may go there, too. A remote
 * that goes elsewhere since then has to be agreed to again.
 */
enum st_sync_consent { ST_SYNC_NOTHING, ST_SYNC_RECORDS, ST_SYNC_LEDGER };
enum st_code st_sync_agreed(struct st_sync *y, const char *url, enum st_sync_consent *out);
enum st_code st_sync_agree(struct st_sync *y, const char *url, enum st_sync_consent to);
/* The remotes of the file, newline after each, appended to *out. */
enum st_code st_sync_remotes(struct st_log *log, struct st_buf *out, struct st_fault *fault);

enum st_code st_sync_look(struct st_sync *y);
/* References that cannot be used are refused one by one (y->refusals); ST_CONFLICT: the remote
 * carries another workspace and none of ours. */
enum st_code st_sync_collect(struct st_sync *y);
/* Where st_sync_collect() laid out what is new. */
enum st_code st_sync_stage(struct st_sync *y, char out[ST_PATH_SIZE]);
/* Lays the strong layer's log of a reference out, all of it, verified, as that of a state directory,
 * in the place of all that was laid out before. ST_DAMAGED. */
enum st_code st_sync_stage_ledger(struct st_sync *y, const struct st_remote_ref *ref,
                                  char state_dir[ST_PATH_SIZE]);
/* Takes in the heartbeats of all that is not refused. What cannot be read is left out: the next beat
 * replaces it. */
void st_sync_take_board(struct st_sync *y);
enum st_code st_sync_taken(struct st_sync *y);
/* Reads what was published so far, for st_sync_unpublished() without st_sync_collect(). */
enum st_code st_sync_base(struct st_sync *y);
/* Counts what would be published that is not yet: records, and those of the strong layer's log. */
enum st_code st_sync_unpublished(struct st_sync *y, uint64_t *records, uint64_t *entries);
enum st_code st_sync_publish(struct st_sync *y);
enum st_code st_sync_push(struct st_sync *y);

/* The workspace that a clone belongs to already. */
struct st_found {
    uint64_t workspace;           /* 0: none was found; with look_only: 1 when there is one */
    char remote[ST_REMOTE_SIZE];  /* where */
    char unreached[ST_PATH_SIZE]; /* a remote that could not be asked; "": all were */
};

/*
 * Looks at the clone itself and then at its remotes (or only at `remote`, if that is not NULL).
 * With look_only nothing is fetched. ST_CONFLICT: one of them carries several workspaces.
 */
enum st_code st_sync_discover(const struct st_env *env, const struct st_alloc *alloc,
                              const char *git_dir, const char *remote, bool look_only,
                              uint64_t network_ms, struct st_found *out, struct st_fault *fault);

#endif
