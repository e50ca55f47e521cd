/*
 * cmd_reserve.c - reservations of paths, and `fence`.
 */
#include "cli/cli.h"
#include "edge/tree.h"

#include <inttypes.h>
#include <string.h>

#define TERM_MS_DEFAULT (3600ull * 1000)

/* The root of the work tree here. */
static int find_tree(struct cli *c, char out[EDGE_PATH_SIZE])
{
    return edge_tree(c->dir, out) ? 0
                                  : cli_error(c, STRATA_NOT_FOUND, NULL, "there is no directory %s",
                                              c->dir != NULL ? c->dir : ".");
}

bool cli_is_refused(const struct cli *c, const strata_reservation *r)
{
    return r->here && !r->shared && (c->agent == NULL || strcmp(r->holder, c->agent) != 0);
}

static json_t *reservation_json(struct cli *c, const strata_reservation *r)
{
    return json_pack("{s:s,s:s,s:s,s:I,s:b,s:b,s:s,s:o}", "pattern", r->pattern, "holder",
                     r->holder, "reason", r->reason, "token", (json_int_t)r->token, "shared",
                     (int)r->shared, "here", (int)r->here, "tree", r->tree, "until",
                     cli_json_time(cli_now(c) + r->left_ms));
}

static void put_reservation(struct cli *c, const strata_reservation *r)
{
    char left[CLI_AGE_SIZE];
    (void)c;
    cli_span(r->left_ms, left);
    cli_put_text(stdout, r->pattern, strlen(r->pattern), 0);
    (void)printf(": %s%s, token %" PRIu64 ", for another %s",
                 r->holder[0] != '\0' ? r->holder : "somebody", r->shared ? ", shared" : "",
                 r->token, left);
    if (!r->here)
        (void)fputs(", in another work tree", stdout);
    if (r->reason[0] != '\0') {
        (void)fputs(": ", stdout);
        cli_put_text(stdout, r->reason, strlen(r->reason), 0);
    }
    (void)putchar('\n');
}

/* --- reserve ---------------------------------------------------------------------------------- */

void cli_warn_elsewhere(struct cli *c, const strata_reservation *r)
{
    if (!r->here)
        cli_warn(c,
                 "%s has reserved %s in another work tree: its files are not these, but a "
                 "merge of both may conflict",
                 r->holder[0] != '\0' ? r->holder : "somebody", r->pattern);
}

static int visit_elsewhere(void *arg, const strata_reservation *r)
{
    cli_warn_elsewhere(arg, r);
    return 0;
}

int cmd_reserve(struct cli *c)
{
    char tree[EDGE_PATH_SIZE];
    uint64_t token;
    strata_reserve_request r = {.size = sizeof r, .ttl_ms = TERM_MS_DEFAULT};
    int status = find_tree(c, tree);
    if (status == 0 && cli_given(c, OPT_TTL))
        status = cli_duration(c, "--ttl", c->options[OPT_TTL], &r.ttl_ms);
    if (status == 0)
        status = cli_open(c);
    if (status == 0)
        status = cli_need_agent(c);
    if (status != 0)
        return status;
    r.tree = tree;
    r.pattern = c->args[0];
    r.reason = c->options[OPT_REASON];
    r.shared = cli_given(c, OPT_SHARED);
    int code = strata_reserve(c->s, &r, &token);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    (void)strata_reserve_each(c->s, tree, NULL, r.pattern, visit_elsewhere, c);
    if (c->json)
        return cli_json(c,
                        json_pack("{s:s,s:I}", "pattern", r.pattern, "token", (json_int_t)token));
    (void)printf("%" PRIu64 "\n", token);
    return 0;
}

struct listing {
    struct cli *c;
    json_t *list;
    size_t count;
    bool others; /* somebody else has it, here */
};

static int visit(void *arg, const strata_reservation *r)
{
    struct listing *l = arg;
    l->count++;
    l->others = l->others || cli_is_refused(l->c, r);
    if (l->list != NULL)
        return json_array_append_new(l->list, reservation_json(l->c, r)) == 0 ? 0
                                                                              : STRATA_NO_MEMORY;
    put_reservation(l->c, r);
    return 0;
}

static int list(struct cli *c, const char *path, bool *others)
{
    char tree[EDGE_PATH_SIZE];
    struct listing l = {.c = c};
    int status = find_tree(c, tree);
    if (status == 0)
        status = cli_open(c);
    if (status == 0) /* whether a path is free is for the copy that decides to say */
        status = cli_known_here(c, path != NULL);
    if (status != 0)
        return status;
    if (c->json)
        l.list = json_array();
    int code = strata_reserve_each(c->s, tree, path, NULL, visit, &l);
    *others = l.others;
    return cli_listed(c, code, l.list, l.count,
                      path != NULL ? "nobody has reserved it" : "nothing is reserved");
}

int cmd_reserve_check(struct cli *c)
{
    bool others = false;
    int status = list(c, c->args[0], &others);
    return status == 0 && others ? strata_code_exit(STRATA_CONFLICT) : status;
}

int cmd_reserve_list(struct cli *c)
{
    bool others;
    return list(c, NULL, &others);
}

int cmd_reserve_release(struct cli *c)
{
    char tree[EDGE_PATH_SIZE];
    uint64_t token;
    int status = cli_token(c, "strata reserve list", &token);
    if (status == 0)
        status = find_tree(c, tree);
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_reserve_release(c->s, tree, c->args[0], token);
    return code == STRATA_OK ? 0 : cli_fail(c, code);
}

/* --- fence ------------------------------------------------------------------------------------ */

int cmd_fence(struct cli *c)
{
    uint64_t token;
    int status = cli_number(c, "TOKEN", c->args[1], (UINT64_C(1) << 53) - 1, &token);
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_fence(c->s, c->args[0], token);
    return code == STRATA_OK ? 0 : cli_fail(c, code);
}
