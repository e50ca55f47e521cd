/* push.c - our own reference to the remote, never by force. */
#include "sync/sync_internal.h"

#include <stdio.h>

/* Somebody else has moved the reference since it was looked at: a copy of this clone. */
static bool lost_a_race(const char *report)
{
    static const char *const signs[] = {
        "[rejected]",           "fetch first",    "non-fast-forward",   "cannot lock ref",
        "failed to update ref", "already exists", "incorrect old value"};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++)
        if (strstr(report, signs[i]) != NULL)
            return true;
    return false;
}

static enum st_code push_refused(struct st_sync *y, const struct st_git_call *call, char *report)
{
    char *line = strstr(report, "!\t");
    if (line == NULL) {
        st_fail(&y->fault, ST_UNAVAILABLE, "git push failed: %s", call->message);
        return st_hint(&y->fault, "the records are kept here and are sent next time; look whether "
                                  "`git push` to that remote works");
    }
    line[strcspn(line, "\n")] = '\0';
    if (lost_a_race(line))
        return st_fail(&y->fault, ST_CONFLICT, "%s changed meanwhile: %s", y->remote, line + 2);
    st_fail(&y->fault, ST_DENIED, "%s does not accept %s: %s", y->remote, y->own_ref, line + 2);
    return st_hint(&y->fault, "the records are kept here; whoever runs the remote has to allow "
                              "references under refs/strata");
}

enum st_code st_sync_push(struct st_sync *y)
{
    if (y->commit[0] == '\0' || strcmp(y->commit, y->remote_own) == 0)
        return ST_OK;
    char spec[160], mirror[ST_REMOTE_SIZE + 32];
#ifdef ST_DEFECT_SYNC_FORCED
    snprintf(spec, sizeof spec, "+%s:%s", y->own_ref, y->own_ref);
#else
    snprintf(spec, sizeof spec, "%s:%s", y->own_ref, y->own_ref);
#endif
    /* A remote that is set up as a mirror would be sent everything. */
    snprintf(mirror, sizeof mirror, "remote.%s.mirror=false", y->named ? y->remote : "strata");
    const char *const args[] = {"-c",          mirror,
                                "push",        "--porcelain",
                                "--no-verify", "--no-follow-tags",
                                "--no-signed", "--recurse-submodules=no",
                                "--",          y->remote,
                                spec,          NULL};
    struct st_buf report;
    st_buf_init(&report, y->log->alloc);
    struct st_git_call call = {.args = args, .out = &report, .network = true};
    st_sync_say(y, "sending");
    enum st_code code = st_git_run(&y->git, &call);
    st_point(y->log, "sync.pushed");
    st_buf_add_char(&report, '\0');
    if (code == ST_OK && report.failed)
        code = st_fail(&y->fault, ST_NO_MEMORY, "out of memory");
    if (code == ST_OK && call.status != 0)
        code = push_refused(y, &call, report.p);
    st_buf_release(&report);
    return code;
}
