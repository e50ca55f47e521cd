/*
 * hold.c - what agents hold through this server: claims on tasks, reservations, once-only
 * operations. It is renewed while the process lives, and given back when the client closes; what
 * the process cannot give back because it was killed is free when its run file is (claims) or
 * lapses.
 */
#include "mcp/session.h"

#include <string.h>
#include <unistd.h>

bool mcp_can_hold(const struct mcp_session *x)
{
    return x->held_count < MCP_HELD_MAX;
}

static struct mcp_held *find(const struct mcp_session *x, const struct mcp_agent *a,
                             enum mcp_hold_kind kind, const char *name)
{
    for (size_t i = 0; i < x->held_count; i++) {
        const struct mcp_held *h = &x->held[i];
        if (h->agent == a && h->kind == kind && strcmp(h->name, name) == 0)
            return (struct mcp_held *)(uintptr_t)h;
    }
    return NULL;
}

static void drop(struct mcp_session *x, struct mcp_held *h)
{
    if (h->fd >= 0)
        close(h->fd);
    *h = x->held[--x->held_count];
}

void mcp_hold(struct mcp_session *x, struct mcp_agent *a, enum mcp_hold_kind kind, const char *name,
              uint64_t token, int fd)
{
    mcp_let_go(x, a, kind, name); /* of an earlier time */
    if (!mcp_can_hold(x)) {
        /* A claim: it is renewed by the agent's own calls. */
        if (fd >= 0)
            close(fd);
        return;
    }
    struct mcp_held *h = &x->held[x->held_count++];
#ifdef ST_DEFECT_MCP_EXECUTOR_CLOSED
    if (fd >= 0)
        close(fd);
    fd = -1;
#endif
    *h = (struct mcp_held){.kind = kind, .agent = a, .token = token, .fd = fd};
    (void)snprintf(h->name, sizeof h->name, "%s", name);
}

uint64_t mcp_held(const struct mcp_session *x, const struct mcp_agent *a, enum mcp_hold_kind kind,
                  const char *name)
{
    const struct mcp_held *h = find(x, a, kind, name);
    return h != NULL ? h->token : 0;
}

int mcp_take_fd(struct mcp_session *x, const struct mcp_agent *a, enum mcp_hold_kind kind,
                const char *name)
{
    struct mcp_held *h = find(x, a, kind, name);
    int fd = h != NULL ? h->fd : -1;
    if (h != NULL)
        h->fd = -1;
    return fd;
}

void mcp_let_go(struct mcp_session *x, const struct mcp_agent *a, enum mcp_hold_kind kind,
                const char *name)
{
    struct mcp_held *h = find(x, a, kind, name);
    if (h != NULL)
        drop(x, h);
}

bool mcp_agent_run(struct mcp_agent *a)
{
    return a->run != 0 || strata_run_begin(a->s, &a->run, &a->run_fd) == STRATA_OK;
}

int mcp_reserve(struct mcp_session *x, struct mcp_agent *a, const char *pattern, bool shared,
                uint64_t *token)
{
    strata_reserve_request r = {
        .size = sizeof r,
        .tree = x->tree,
        .pattern = pattern,
        .shared = shared,
        .ttl_ms = MCP_TERM_MS,
    };
    return strata_reserve(a->s, &r, token);
}

/* Reserving again renews; where that gives another token, the old one was taken back or had lapsed.
 */
static int renew_paths(struct mcp_session *x, const struct mcp_held *h)
{
    uint64_t token;
    int code = mcp_reserve(x, h->agent, h->name, h->kind == MCP_HOLD_SHARED_PATHS, &token);
    if (code != STRATA_OK || token == h->token)
        return code == STRATA_TIMEOUT ? STRATA_CONFLICT : code;
    (void)strata_reserve_release(h->agent->s, x->tree, h->name, token);
    return STRATA_CONFLICT;
}

/* Whether it is lost. Where the coordinator cannot be reached for a moment, it is not. */
static bool renew(struct mcp_session *x, const struct mcp_held *h)
{
    int code = STRATA_OK;
    if (h->kind == MCP_HOLD_TASK)
        code = strata_task_renew(h->agent->s, h->name, h->token, MCP_TERM_MS);
    else if (h->kind != MCP_HOLD_ONCE)
        code = renew_paths(x, h);
    return code == STRATA_CONFLICT || code == STRATA_NOT_FOUND;
}

void mcp_session_tick(void *session, uint64_t now_ms)
{
    struct mcp_session *x = session;
    if (now_ms - x->beat_ms >= MCP_BEAT_MS) {
        x->beat_ms = now_ms;
        for (size_t i = 0; i < x->agent_count; i++)
            if (x->agents[i].known && x->agents[i].name[0] != '\0' &&
                !strata_is_read_only(x->agents[i].s))
                (void)strata_beat(x->agents[i].s, NULL);
    }
    if (now_ms - x->renewed_ms < MCP_RENEW_MS)
        return;
    x->renewed_ms = now_ms;
    for (size_t i = x->held_count; i-- > 0;)
        if (renew(x, &x->held[i]))
            drop(x, &x->held[i]);
}

void mcp_session_goodbye(struct mcp_session *x)
{
    while (x->held_count > 0) {
        struct mcp_held *h = &x->held[x->held_count - 1];
#ifdef ST_DEFECT_MCP_KEEPS_AT_THE_END
        drop(x, h);
        continue;
#endif
        if (h->kind == MCP_HOLD_TASK)
            (void)strata_task_release(h->agent->s, h->name, h->token);
        else if (h->kind != MCP_HOLD_ONCE)
            (void)strata_reserve_release(h->agent->s, x->tree, h->name, h->token);
        drop(x, h);
    }
    for (size_t i = 0; i < x->agent_count; i++) {
        struct mcp_agent *a = &x->agents[i];
        if (a->run != 0)
            strata_run_end(a->s, a->run, a->run_fd);
        a->run = 0;
    }
}
