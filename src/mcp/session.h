/*
 * session.h - what the tools stand on: the open workspace, once for each agent that the client
 * speaks for, so that each has its own reads (a write over something newer than its author has read
 * is told).
 */
#ifndef ST_MCP_SESSION_H
#define ST_MCP_SESSION_H

#include "edge/tree.h"
#include "mcp/limits.h"
#include "mcp/mcp.h"
#include "mcp/server.h"

struct mcp_agent {
    char name[65]; /* "": writes carry no agent */
    strata *s;
    bool known; /* it was asked for: others can write to it from then on */
    uint64_t used_ms;
    uint64_t run; /* what is claimed with it is free when this process has died; 0: none yet */
    int run_fd;
};

enum mcp_hold_kind { MCP_HOLD_TASK, MCP_HOLD_PATHS, MCP_HOLD_SHARED_PATHS, MCP_HOLD_ONCE };

struct mcp_held {
    enum mcp_hold_kind kind;
    struct mcp_agent *agent;
    char name[256]; /* task, pattern of paths, key */
    uint64_t token;
    int fd; /* of a once-only operation's executor; else -1 */
};

struct mcp_session {
    const struct mcp_options *options;
    char tree[EDGE_PATH_SIZE]; /* root of the work tree, whose paths are reserved */
    struct mcp_agent agents[MCP_AGENTS_MAX];
    size_t agent_count;
    struct mcp_held held[MCP_HELD_MAX];
    size_t held_count;
    uint64_t beat_ms, renewed_ms;
    uint64_t cursor;       /* events up to here were looked at; 0: none were yet */
    struct mcp_news *news; /* what the last look found; NULL: nothing yet */
    bool ready;            /* what the first call needs is open */
    bool taken_in;         /* the memory file was, or there is none */
};

void mcp_session_init(struct mcp_session *x, const struct mcp_options *options);
void mcp_session_close(struct mcp_session *x);

/* The workspace of an agent (NULL or "": the default one); opened when it is first needed, lent
 * until the next call. NULL: *error says why. */
struct mcp_agent *mcp_session_agent(struct mcp_session *x, const char *name, uint64_t now_ms,
                                    strata_error *error);
/* The client thinks. At first: opens the default agent's workspace and its files before the first call needs
 * them; nobody is told of the agent yet. Later: brings the index up to date. */
void mcp_session_idle(void *session);
/* The same for the agent that the call names; NULL: the call was refused. */
struct mcp_agent *mcp_call_agent(struct mcp_call *call);
/* Refuses the call with the handle's last error. */
void mcp_call_fail(struct mcp_call *call, const strata *s);
void mcp_call_error(struct mcp_call *call, const strata_error *error);
/* --- what agents hold (hold.c) ---------------------------------------------------------------- */

/* Reserves the paths, or (they are held already) begins the term anew. */
int mcp_reserve(struct mcp_session *x, struct mcp_agent *a, const char *pattern, bool shared,
                uint64_t *token);
bool mcp_can_hold(const struct mcp_session *x);
/* There is room: mcp_can_hold(). Takes fd. */
void mcp_hold(struct mcp_session *x, struct mcp_agent *a, enum mcp_hold_kind kind, const char *name,
              uint64_t token, int fd);
/* The token; 0: not held. */
uint64_t mcp_held(const struct mcp_session *x, const struct mcp_agent *a, enum mcp_hold_kind kind,
                  const char *name);
/* Gives the descriptor to the caller; -1: there is none. */
int mcp_take_fd(struct mcp_session *x, const struct mcp_agent *a, enum mcp_hold_kind kind,
                const char *name);
/* Forgets it; gives nothing back to the ledger. */
void mcp_let_go(struct mcp_session *x, const struct mcp_agent *a, enum mcp_hold_kind kind,
                const char *name);
/* Begins the agent's run, unless it has one. False: see strata_last_error(). */
bool mcp_agent_run(struct mcp_agent *a);
/* Renewals and signs of life that are due. */
void mcp_session_tick(void *session, uint64_t now_ms);
/* The client has closed: gives back what is held. Once-only operations that were not reported are
 * in doubt from then on. */
void mcp_session_goodbye(struct mcp_session *x);

/* --- resources -------------------------------------------------------------------------------- */

struct mcp_news {
    char entities[MCP_NEWS_MAX][256];
    size_t count;
    bool any, board, all; /* any: something happened; all: too much to tell what */
    uint64_t position;    /* of the ordered log of layer 3 */
    bool strong;          /* that moved */
};

/* Looks what happened since the last look. Lent; NULL: out of memory, or no workspace. */
const struct mcp_news *mcp_session_news(struct mcp_session *x);
/* Whether an entity is among it. */
bool mcp_news_has(const struct mcp_news *n, const char *entity);
/* Now, for "5 s ago". */
uint64_t mcp_wall_ms(void);

#endif
