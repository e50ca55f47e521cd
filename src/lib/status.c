/*
 * status.c - the workspace as a whole: status, agents, taking in another copy.
 *
 * The file <state>/names holds, for people only, the names of the replicas that were met: lines of
 * <16 hex> <name>. It is appended to and may lose a line.
 */
#include "lib/strong.h"

#include "store/board.h"
#include "store/intake.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* --- names ------------------------------------------------------------------------------------ */

static char *read_names(const char *state_dir)
{
    char path[ST_PATH_SIZE + 8];
    snprintf(path, sizeof path, "%s/names", state_dir);
    FILE *f = fopen(path, "re");
    char *text = NULL;
    size_t n = 0, size = 0;
    if (f != NULL) {
        n = (size_t)getdelim(&text, &size, '\0', f);
        fclose(f);
    }
    if (f == NULL || n == (size_t)-1) {
        free(text);
        return calloc(1, 1);
    }
    return text;
}

static bool name_in(const char *names, uint64_t replica, char out[ST_AGENT_SIZE_MAX + 1])
{
    char id[18];
    snprintf(id, sizeof id, "%016" PRIx64 " ", replica);
    for (const char *line = names; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        size_t n = end != NULL ? (size_t)(end - line) : strlen(line);
        if (n > 17 && n - 17 <= ST_AGENT_SIZE_MAX && strncmp(line, id, 17) == 0) {
            memcpy(out, line + 17, n - 17);
            out[n - 17] = '\0';
            return st_agent_check(st_str_of(out)) == ST_OK;
        }
        line = end != NULL ? end + 1 : NULL;
    }
    return false;
}

const char *st_lib_replica_name(strata *s, uint64_t replica)
{
    if (replica == s->log.identity.replica)
        return s->log.identity.name;
    if (s->names == NULL)
        s->names = read_names(s->log.dir);
    char name[ST_AGENT_SIZE_MAX + 1];
    if (s->names == NULL || !name_in(s->names, replica, name))
        snprintf(name, sizeof name, "%016" PRIx64, replica);
    const char *text = st_arena_text(&s->arena, st_str_of(name));
    return text != NULL ? text : "";
}

void st_lib_add_name(strata *s, uint64_t replica, const char *name)
{
    char known[ST_AGENT_SIZE_MAX + 1], path[ST_PATH_SIZE + 8];
    if (s->names == NULL)
        s->names = read_names(s->log.dir);
    if (replica == s->log.identity.replica || s->names == NULL ||
        name_in(s->names, replica, known) || st_agent_check(st_str_of(name)) != ST_OK)
        return;
    snprintf(path, sizeof path, "%s/names", s->log.dir);
    FILE *f = fopen(path, "ae");
    if (f == NULL)
        return;
    fprintf(f, "%016" PRIx64 " %s\n", replica, name);
    fclose(f);
    free(s->names);
    s->names = NULL;
}

static void take_names(strata *s, const char *other)
{
    struct st_log there;
    if (st_log_open(&there, s->log.env, s->log.alloc, other, true, "strata") == ST_OK)
        st_lib_add_name(s, there.identity.replica, there.identity.name);
    st_log_close(&there);
    char *names = read_names(other);
    for (char *line = names; line != NULL && *line != '\0';) {
        char *end = strchr(line, '\n');
        uint64_t replica;
        if (end != NULL)
            *end = '\0';
        if (strlen(line) > 17 && st_parse_hex64(line, &replica))
            st_lib_add_name(s, replica, line + 17);
        line = end != NULL ? end + 1 : NULL;
    }
    free(names);
}

/* --- agents ----------------------------------------------------------------------------------- */

struct agents {
    strata *s;
    strata_agent *list;
    size_t count, cap;
    bool failed;
};

static strata_agent *agent_of(struct agents *a, struct st_str name)
{
    for (size_t i = 0; i < a->count; i++)
        if (st_str_equal(st_str_of(a->list[i].agent), name))
            return &a->list[i];
    if (!st_grow(&a->list, &a->cap, a->count + 1, sizeof *a->list)) {
        a->failed = true;
        return NULL;
    }
    const char *text = st_arena_text(&a->s->arena, name);
    if (text == NULL)
        return NULL;
    a->list[a->count] = (strata_agent){.agent = text, .replica = "", .status = ""};
    return &a->list[a->count++];
}

static enum st_code add_status(void *arg, struct st_str key, struct st_str value)
{
    struct agents *a = arg;
    struct st_status_row row;
    enum st_code code = st_status_decode(key, value, &row);
    if (code != ST_OK)
        return code;
    strata_agent *one = agent_of(a, row.agent);
    const char *status = st_arena_text(&a->s->arena, row.status);
    if (one == NULL || status == NULL)
        return ST_NO_MEMORY;
    one->status = status;
    one->status_ms = one->beat_ms = row.time.ms;
    one->replica = st_lib_replica_name(a->s, row.dot.writer.replica);
    return ST_OK;
}

static void add_slot(void *arg, const struct st_slot *slot)
{
    struct agents *a = arg;
    strata_agent *one = agent_of(a, st_str_of(slot->agent));
    if (one == NULL || slot->time_ms < one->beat_ms)
        return;
    one->beat_ms = slot->time_ms;
    one->replica = st_lib_replica_name(a->s, slot->replica);
}

/* A term is begun anew by what the agent does, or by its process. */
static void heard(struct agents *a, strata_agent *one, const struct st_lease *lease)
{
    const struct st_env *env = a->s->log.env;
    uint64_t now = env->wall_ms(env->ctx), at = lease->since_ms;
    uint64_t term = lease->deadline.term_ns / ST_NS_PER_MS;
    uint64_t left = st_lib_deadline_left(a->s, &lease->deadline, lease->earlier);
    if (left > 0 && left <= term && now > term - left && now - (term - left) > at)
        at = now - (term - left);
    if (at > one->beat_ms)
        one->beat_ms = at;
}

/* Only those that are registered now; lapsed ones are as if they had never been. */
static enum st_code add_registered(void *arg, const struct st_lease *lease)
{
    struct agents *a = arg;
    if (!st_strong_lease_holds(a->s->strong, lease))
        return ST_OK;
    strata_agent *one = agent_of(a, lease->name);
    if (one == NULL)
        return ST_NO_MEMORY;
    one->incarnation = lease->token;
    heard(a, one, lease);
    return ST_OK;
}

/* Who has a task is at work, whatever else is known of it. */
static enum st_code add_claimed(void *arg, const struct st_lease *lease)
{
    struct agents *a = arg;
    if (lease->holder.n == 0 || !st_strong_lease_holds(a->s->strong, lease))
        return ST_OK;
    strata_agent *one = agent_of(a, lease->holder);
    if (one == NULL)
        return ST_NO_MEMORY;
    one->tasks++;
    heard(a, one, lease);
    return ST_OK;
}

static enum st_code read_registry(strata *s, struct agents *a)
{
    if (s->strong == NULL || st_strong_begin(s->strong) != ST_OK)
        return ST_OK; /* this copy has no ledger: nobody is registered that it knows of */
    enum st_code code =
        st_lease_each(st_strong_ledger(s->strong), ST_LEASE_AGENT, add_registered, a);
    if (code == ST_OK)
        code = st_claim_held_each(st_strong_ledger(s->strong), (struct st_str){NULL, 0},
                                  add_claimed, a);
    st_strong_end(s->strong);
    return code;
}

static int compare_agents(const void *x, const void *y)
{
    return strcmp(((const strata_agent *)x)->agent, ((const strata_agent *)y)->agent);
}

static void judge(strata_agent *one, uint64_t now)
{
    one->age_ms = now > one->beat_ms ? now - one->beat_ms : 0;
    one->state = one->age_ms <= ST_ALIVE_MS    ? STRATA_AGENT_ALIVE
                 : one->age_ms <= ST_SILENT_MS ? STRATA_AGENT_SILENT
                                               : STRATA_AGENT_GONE;
}

int strata_agent_each(strata *s, int (*visit)(void *arg, const strata_agent *a), void *arg)
{
    (void)st_lib_strong_open(s);
    int code = st_lib_begin(s), result = 0;
    if (code != STRATA_OK)
        return code;
    struct agents a = {.s = s};
    struct st_fault fault;
    const struct st_kv *kv = st_index_kv(s->index);
    enum st_code got = kv->scan(kv->ctx, ST_STR("b"), (struct st_str){"", 0}, add_status, &a);
    st_lib_end(s);
    if (got != ST_OK)
        code = st_lib_index_fault(s, got);
    if (code == STRATA_OK && st_board_each(s->log.env, s->log.dir, add_slot, &a, &fault) != ST_OK)
        code = st_lib_fault(s, &fault);
    if (code == STRATA_OK && read_registry(s, &a) != ST_OK)
        code = st_lib_fail(s, ST_DAMAGED, "the registry cannot be read");
    if (code == STRATA_OK && a.failed)
        code = st_lib_fail(s, ST_NO_MEMORY, "out of memory");
    if (a.count > 1)
        qsort(a.list, a.count, sizeof *a.list, compare_agents);
    for (size_t i = 0; code == STRATA_OK && result == 0 && i < a.count; i++) {
        judge(&a.list[i], s->log.env->wall_ms(s->log.env->ctx));
        result = visit(arg, &a.list[i]);
    }
    free(a.list);
    return code == STRATA_OK && result < 0 ? result : code;
}

/* --- status ----------------------------------------------------------------------------------- */

static uint64_t directory_size(const char *dir, const char *name, int depth)
{
    char path[ST_PATH_SIZE];
    uint64_t sum = 0;
    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path)
        return 0;
    DIR *d = opendir(path);
    if (d == NULL)
        return 0;
    struct dirent *e;
    while ((e = readdir(d)) != NULL) {
        struct stat st;
        if (e->d_name[0] == '.' || fstatat(dirfd(d), e->d_name, &st, 0) < 0)
            continue;
        if (S_ISREG(st.st_mode))
            sum += (uint64_t)st.st_size;
        else if (depth > 0)
            sum += directory_size(path, e->d_name, depth - 1);
    }
    closedir(d);
    return sum;
}

static uint64_t number_in(const char *dir, const char *name)
{
    char path[ST_PATH_SIZE + 16];
    uint64_t value = 0;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fscanf(f, "%" SCNu64, &value) != 1)
        value = 0;
    fclose(f);
    return value;
}

static bool fill_replicas(strata *s, const struct st_state *state, strata_status *out)
{
    uint64_t now = s->log.env->wall_ms(s->log.env->ctx);
    strata_replica_info *list = st_arena_take(&s->arena, (state->writer_count + 1) * sizeof *list);
    if (list == NULL)
        return false;
    uint64_t last = 0;
    for (size_t i = 0; i < state->writer_count; i++) {
        const struct st_writer_state *w = &state->writers[i];
        if (i == 0 || w->writer.replica != last) {
            char id[17];
            snprintf(id, sizeof id, "%016" PRIx64, w->writer.replica);
            list[out->replica_count++] = (strata_replica_info){
                .id = st_arena_text(&s->arena, st_str_of(id)),
                .name = st_lib_replica_name(s, w->writer.replica),
                .self = w->writer.replica == s->log.identity.replica,
            };
        }
        last = w->writer.replica;
        strata_replica_info *r = &list[out->replica_count - 1];
        r->records += w->counter;
        if (w->time.ms > r->last_ms)
            r->last_ms = w->time.ms;
    }
    for (size_t i = 0; i < out->replica_count; i++)
        if (list[i].last_ms > now + ST_CLOCK_AHEAD_MS_MAX)
            list[i].ahead_ms = (int64_t)(list[i].last_ms - now);
    out->replicas = list;
    return true;
}

int strata_status_get(strata *s, strata_status *out)
{
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    struct st_index_totals t;
    const struct st_state *state;
    *out = (strata_status){
        .workspace = s->workspace_id,
        .replica = s->replica_id,
        .name = s->log.identity.name,
        .state_dir = s->log.dir,
        .epoch = (uint32_t)st_epoch_ordinal(s->log.identity.epoch),
        .read_only = s->log.read_only,
    };
    enum st_code got = st_index_state(s->index, &state);
    if (got == ST_OK && !fill_replicas(s, state, out))
        got = ST_NO_MEMORY;
    st_index_totals(s->index, &t);
    if (got != ST_OK)
        code = st_lib_index_fault(s, got);
    st_lib_end(s);
    snprintf(out->digest, sizeof out->digest, "%016" PRIx64 "%016" PRIx64, t.digest[1],
             t.digest[0]);
    out->records = t.records;
    out->attributes = t.attributes;
    out->pending = t.pending;
    out->unseen = t.unseen;
    out->index_behind = t.behind;
    out->waiting = number_in(s->log.dir, "waiting");
    out->quarantined = directory_size(s->log.dir, "quarantine", 0);
    out->log_size = directory_size(s->log.dir, "log", 1);
    return code;
}

/* --- merging ---------------------------------------------------------------------------------- */

static void take_slot(void *arg, const struct st_slot *slot)
{
    strata *s = arg;
    int fd = -1;
    /* A heartbeat that cannot be taken over is replaced by the next one. */
    st_board_beat(&s->log, slot, &fd);
    if (fd >= 0)
        s->log.env->close(s->log.env->ctx, fd);
}

void st_lib_keep_waiting(strata *s, uint64_t waiting)
{
    char path[ST_PATH_SIZE + 16];
    snprintf(path, sizeof path, "%s/waiting", s->log.dir);
    FILE *f = fopen(path, "we");
    if (f == NULL)
        return;
    fprintf(f, "%" PRIu64 "\n", waiting);
    fclose(f);
}

int st_lib_pending(strata *s, uint64_t *count)
{
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    struct st_index_totals t;
    st_index_totals(s->index, &t);
    *count = t.pending;
    enum st_code told = st_index_tell_context(s->index);
    st_lib_end(s);
    return told == ST_OK ? STRATA_OK : st_lib_index_fault(s, told);
}

/* Each workspace has a task 1: in one state they would be one. */
static int check_numbers(strata *s, const char *other)
{
    struct st_log there;
    struct st_tail mine = {.number = 0}, theirs = {.number = 0};
    enum st_code code = st_log_open(&there, s->log.env, s->log.alloc, other, true, s->log.what);
    bool foreign = code == ST_OK && there.identity.workspace != s->log.identity.workspace;
    if (foreign)
        code = st_log_tail(&there, &theirs);
    if (foreign && code == ST_OK)
        code = st_log_tail(&s->log, &mine);
    int result = code == ST_OK ? STRATA_OK : st_lib_fault(s, &there.fault);
    st_log_close(&there);
    if (mine.number == 0 || theirs.number == 0)
        return result;
    st_lib_fail(s, ST_CONFLICT,
                "both workspaces have tasks or messages: 1 here and 1 in %s are not the same",
                other);
    st_lib_hint(s,
                "nothing was taken in; there `strata export --format beads`, here `strata import "
                "--format beads` takes the tasks over under numbers of their own");
    return ST_CONFLICT;
}

int strata_merge_state(strata *s, const char *dir, bool adopt, strata_merge_result *out)
{
    char other[ST_PATH_SIZE];
    struct st_fault fault;
    struct st_intake in;
    memset(out, 0, sizeof *out);
    if (st_find_state(dir, false, other, &fault) != ST_OK)
        return st_lib_fault(s, &fault);
    struct st_file_info a, b;
    char mine[ST_PATH_SIZE + 8], theirs[ST_PATH_SIZE + 8];
    snprintf(mine, sizeof mine, "%s/log", s->log.dir);
    snprintf(theirs, sizeof theirs, "%s/log", other);
    if (s->log.env->stat(s->log.env->ctx, mine, &a) >= 0 &&
        s->log.env->stat(s->log.env->ctx, theirs, &b) >= 0 && a.inode == b.inode &&
        a.fs_id == b.fs_id)
        return st_lib_fail(s, ST_INVALID, "%s is this workspace itself", other);
    int code = adopt ? check_numbers(s, other) : STRATA_OK;
    if (code == STRATA_OK)
        code = st_lib_pending(s, &out->pending_before);
    if (code != STRATA_OK)
        return code;
    enum st_code got = st_intake(&s->log, other, adopt, &in);
    st_lib_log_notices(s);
    if (got != ST_OK)
        return st_lib_fault(s, &s->log.fault);
    if (in.own_found)
        st_lib_strong_hold_to(s, 0, 0, "");
    st_lib_strong_merge(s, other, in.joined);
    take_names(s, other);
    st_board_each(s->log.env, other, take_slot, s, &fault);
    st_lib_keep_waiting(s, in.waiting);
    out->records = in.records;
    out->writers = in.writers;
    out->waiting = in.waiting;
    snprintf(s->workspace_id, sizeof s->workspace_id, "%016" PRIx64, s->log.identity.workspace);
    if (in.forks > 0)
        st_lib_notice(s,
                      "%s exists here and there with different records under the same numbers; "
                      "what is there was not taken in",
                      in.fork);
    if (in.joined)
        st_lib_notice(s, "this replica was empty and is now one of workspace %s", s->workspace_id);
    return st_lib_pending(s, &out->pending_after);
}
