/* strong.c - what the parts of layer 3 in the API share. See lib/strong.h. */
#include "lib/strong.h"

int st_lib_strong_fault(strata *s)
{
    return st_lib_fault(s, st_strong_fault(s->strong));
}

/* It was made for a workspace of its own, before this copy joined another. Where it has no entry it is one
 * of that workspace from now on, which does not decide there. */
static bool opened_joined(strata *s)
{
    struct st_strong_head head;
    uint64_t workspace = s->log.identity.workspace;
    return st_strong_workspace(s->strong) == workspace ||
           (!s->log.read_only && st_strong_head(s->strong, &head) == ST_OK && head.position == 0 &&
            st_strong_resign(s->strong, workspace) == ST_OK);
}

int st_lib_strong_open(strata *s)
{
    st_arena_reset(&s->arena);
    if (s->strong != NULL)
        return STRATA_OK;
    struct st_fault fault = {0};
    enum st_code code = st_strong_open(&s->strong, s->log.env, s->log.alloc, s->log.dir,
                                       s->log.read_only, s->log.what, s->log.wait_ms, &fault);
    if (code != ST_OK)
        return st_lib_fault(s, &fault);
    if (opened_joined(s))
        return STRATA_OK;
    st_strong_close(s->strong);
    s->strong = NULL;
    st_lib_fail(s, ST_UNAVAILABLE, "this copy joined a workspace in which another copy decides");
    st_lib_hint(s, "nothing was recorded; run this there, or see `strata coordinator show`");
    return ST_UNAVAILABLE;
}

int st_lib_strong_begin(strata *s)
{
    return st_strong_begin(s->strong) == ST_OK ? STRATA_OK : st_lib_strong_fault(s);
}

int st_lib_strong_end(strata *s, enum st_code got)
{
    st_strong_end(s->strong);
    return got == ST_OK ? STRATA_OK : st_lib_fail(s, got, "the ledger cannot be read");
}

int st_lib_submit(strata *s, struct st_command *commands, size_t count,
                  struct st_ledger_result *results)
{
    enum st_code code =
        st_strong_submit(s->strong, st_str_of(s->agent), s->incarnation, commands, count, results);
    return code == ST_OK ? STRATA_OK : st_lib_strong_fault(s);
}

int st_lib_decides(strata *s)
{
    return st_strong_decides(s->strong) == ST_OK ? STRATA_OK : st_lib_strong_fault(s);
}

int st_lib_replaced(strata *s)
{
    st_lib_fail(s, ST_CONFLICT,
                "another %s has been registered since; this one is refused what it "
                "asks for",
                s->agent);
    st_lib_hint(s, "stop: somebody else goes on under this name");
    return ST_CONFLICT;
}

uint64_t st_lib_deadline_left(strata *s, const struct st_deadline *newest,
                              const struct st_deadline *earlier)
{
    const struct st_env *env = s->log.env;
    struct st_deadline d = st_strong_deadline_here(s->strong, newest, earlier);
    uint64_t now = env->boot_ns(env->ctx);
    switch (st_strong_deadline_state(s->strong, &d)) {
    case ST_DEADLINE_AHEAD: /* when it was asked; it may have passed since */
        return d.ns > now ? (d.ns - now) / ST_NS_PER_MS : 0;
    case ST_DEADLINE_OTHER_CLOCK:
        return d.term_ns / ST_NS_PER_MS;
    default:
        return 0;
    }
}

bool st_lib_alive(strata *s, uint64_t run, const struct st_deadline *newest,
                  const struct st_deadline *earlier)
{
    if (run != 0)
        return st_strong_run_alive(s->strong, run);
    struct st_deadline d = st_strong_deadline_here(s->strong, newest, earlier);
    enum st_deadline_state state = st_strong_deadline_state(s->strong, &d);
    return state == ST_DEADLINE_AHEAD || state == ST_DEADLINE_OTHER_CLOCK;
}

int st_lib_text_check(strata *s, const char *what, const char *text, bool needed)
{
    if (text == NULL || text[0] == '\0')
        return needed ? st_lib_fail(s, ST_USAGE, "the %s is missing", what) : STRATA_OK;
    if (strlen(text) > ST_EVIDENCE_SIZE_MAX)
        return st_lib_fail(s, ST_LIMIT, "the %s is %zu bytes long; the limit is %d", what,
                           strlen(text), ST_EVIDENCE_SIZE_MAX);
    return st_value_check(st_str_of(text)) == ST_OK
               ? STRATA_OK
               : st_lib_fail(s, ST_INVALID, "the %s has control characters or invalid UTF-8", what);
}
