/* fetch.c - what others have pushed, to references of our own for each remote. */
#include "sync/sync_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* What is listed, not here, and not taken in. */
static enum st_code fetch(struct st_sync *y)
{
    static const char *const options[] = {
        "fetch",     "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
        "--refmap=", "--"};
    size_t n = sizeof options / sizeof options[0], wanted = 0;
    const char **args = calloc(n + y->ref_count + 2, sizeof *args);
    size_t size = strlen(y->space) + 64;
    char *specs = calloc(y->ref_count + 1, size);
    if (args == NULL || specs == NULL) {
        free(args);
        free(specs);
        return st_fail(&y->fault, ST_NO_MEMORY, "out of memory");
    }
    memcpy(args, options, sizeof options);
    args[n++] = y->remote;
    for (size_t i = 0; i < y->ref_count; i++) {
        const struct st_remote_ref *r = &y->refs[i];
        if (r->taken || strcmp(r->fetched, r->id) == 0)
            continue;
        char *spec = specs + size * wanted++;
        snprintf(spec, size, "+refs/strata/%016" PRIx64 ":%s%016" PRIx64, r->replica, y->space,
                 r->replica);
        args[n++] = spec;
    }
    struct st_git_call call = {.args = args, .network = true};
    enum st_code code = ST_OK;
    if (wanted > 0) {
        st_sync_say(y, "fetching");
        code = st_git_must(&y->git, &call);
        st_point(y->log, "sync.fetched");
    }
    free(args);
    free(specs);
    return code == ST_OK && wanted > 0 ? st_sync_local_refs(y) : code;
}

/* --- references to nothing -------------------------------------------------------------------- */

/*
 * A `git gc --prune=now` that looked for what is needed before a reference was there takes its objects
 * away after. Git then refuses to fetch anything. Ours is published again from the log, and those of
 * others are fetched again: so the reference goes.
 */
static bool drop_if_gone(struct st_sync *y, const char *ref, char id[ST_OBJECT_ID_SIZE])
{
    char tree[ST_OBJECT_ID_SIZE + 8];
    snprintf(tree, sizeof tree, "%s^{tree}", id);
    const char *const there[] = {"cat-file", "-e", tree, NULL};
    const char *const drop[] = {"update-ref", "--no-deref", "-d", ref, id, NULL};
    struct st_git_call look = {.args = there}, away = {.args = drop};
    if (id[0] == '\0' || st_git_run(&y->git, &look) != ST_OK || look.status == 0)
        return false;
    if (st_git_run(&y->git, &away) != ST_OK || away.status != 0)
        return false;
    id[0] = '\0';
    return true;
}

static bool drop_gone(struct st_sync *y)
{
    char ref[ST_REMOTE_SIZE + 32];
    bool own = drop_if_gone(y, y->own_ref, y->local_value), any = own;
    for (size_t i = 0; i < y->ref_count; i++) {
        struct st_remote_ref *r = &y->refs[i];
        snprintf(ref, sizeof ref, "%s%016" PRIx64, y->space, r->replica);
        any = drop_if_gone(y, ref, r->fetched) || any;
        if (own && r->own)
            r->taken = false;
    }
    if (own) {
        y->local[0] = '\0';
        y->remote_ahead = y->remote_own[0] != '\0';
    }
    return any;
}

enum st_code st_sync_fetch(struct st_sync *y)
{
    enum st_code code = fetch(y);
    if (code == ST_OK || code == ST_NO_MEMORY)
        return code;
    struct st_fault fault = y->fault;
    if (drop_gone(y))
        return fetch(y);
    y->fault = fault;
    return code;
}
