/*
 * view_heartbeat.c - the board: one line per agent with its status and since when.
 *
 *   - [agent:ann] reviewing #12 (since 2026-11-24T00:21Z)
 *   - [agent:bob] building (since 2026-11-24T00:02Z, gone since 2026-11-24T00:40Z)
 *
 * Times are absolute, so that the file changes only when a status does, or when an agent that said
 * nothing for an hour counts as gone. The agent's name is the id. A new line may be written as
 * `- bob: building`. A changed text is a new status of that agent, a removed line an empty status;
 * agents with an empty status are not listed.
 */
#include "files/view.h"

#include "core/date.h"
#include "store/alloc.h"
#include "store/board.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct row {
    char agent[ST_AGENT_SIZE_MAX + 1];
    char status[ST_STATUS_SIZE_MAX + 1];
    struct st_dot dot;
    uint64_t status_ms, beat_ms;
    bool said; /* it has had a status */
};

struct board {
    struct row *rows;
    size_t count, cap;
    bool failed;
};

static struct row *row_find(const struct board *b, struct st_str agent)
{
    for (size_t i = 0; i < b->count; i++)
        if (st_str_equal(agent, st_str_of(b->rows[i].agent)))
            return &b->rows[i];
    return NULL;
}

/* The row of the agent, made if need be. NULL: out of memory. */
static struct row *row_of(struct board *b, struct st_str agent)
{
    struct row *found = row_find(b, agent);
    if (found != NULL)
        return found;
    if (!st_grow(&b->rows, &b->cap, b->count + 1, sizeof *b->rows)) {
        b->failed = true;
        return NULL;
    }
    struct row *row = &b->rows[b->count++];
    memset(row, 0, sizeof *row);
    memcpy(row->agent, agent.p, agent.n);
    return row;
}

static enum st_code add_status(void *arg, struct st_str key, struct st_str value)
{
    struct st_status_row status;
    enum st_code code = st_status_decode(key, value, &status);
    if (code != ST_OK)
        return code;
    if (st_agent_check(status.agent) != ST_OK)
        return ST_OK; /* a status without an agent has no line */
    struct row *row = row_of(arg, status.agent);
    if (row == NULL)
        return ST_NO_MEMORY;
    memcpy(row->status, status.status.p, status.status.n);
    row->status[status.status.n] = '\0';
    row->dot = status.dot;
    row->status_ms = row->beat_ms = status.time.ms;
    row->said = true;
    return ST_OK;
}

static void add_slot(void *arg, const struct st_slot *slot)
{
    struct row *row = row_of(arg, st_str_of(slot->agent));
    if (row != NULL && slot->time_ms > row->beat_ms)
        row->beat_ms = slot->time_ms;
}

static int compare_rows(const void *a, const void *b)
{
    return strcmp(((const struct row *)a)->agent, ((const struct row *)b)->agent);
}

static enum st_code board_read(const struct st_view_source *src, struct board *b)
{
    struct st_fault fault;
    memset(b, 0, sizeof *b);
    enum st_code code =
        src->kv->scan(src->kv->ctx, ST_STR("b"), (struct st_str){"", 0}, add_status, b);
    if (code == ST_OK)
        code = st_board_each(src->env, src->state_dir, add_slot, b, &fault);
    if (code == ST_OK && b->failed)
        code = ST_NO_MEMORY;
    if (b->count > 1)
        qsort(b->rows, b->count, sizeof *b->rows, compare_rows);
    return code;
}

/* --- rendering -------------------------------------------------------------------------------- */

/* "2026-11-24T00:21Z": to the minute, UTC. */
static void add_minute(struct st_buf *out, uint64_t ms)
{
    struct st_date d = st_date_of((int64_t)(ms / 86400000));
    unsigned minute = (unsigned)(ms / 60000 % 1440);
    char text[48];
    snprintf(text, sizeof text, "%04u-%02u-%02uT%02u:%02uZ", (unsigned)(d.year % 10000),
             (unsigned)d.month, (unsigned)d.day, minute / 60, minute % 60);
    st_buf_add_text(out, text);
}

static void render_row(const struct row *row, uint64_t now_ms, struct st_rendering *out)
{
    struct st_buf *t = &out->text;
    bool gone = row->beat_ms + ST_SILENT_MS < now_ms;
    st_buf_add_text(t, "- [agent:");
    st_buf_add_text(t, row->agent);
    st_buf_add_text(t, "]");
    if (row->said) {
        st_buf_add_char(t, ' ');
        st_buf_add_text(t, row->status);
    }
    if (row->said || gone) {
        st_buf_add_text(t, " (");
        if (row->said) {
            st_buf_add_text(t, "since ");
            add_minute(t, row->status_ms);
        }
        if (gone) {
            st_buf_add_text(t, row->said ? ", gone since " : "gone since ");
            add_minute(t, row->beat_ms);
        }
        st_buf_add_char(t, ')');
    }
    if (row->said)
        st_rendering_add_dot(out, row->dot);
    st_rendering_end_line(out);
}

static enum st_code render(const struct st_view_source *src, struct st_rendering *out)
{
    struct board b;
    enum st_code code = board_read(src, &b);
    for (size_t i = 0; code == ST_OK && i < b.count; i++)
        if (!b.rows[i].said || b.rows[i].status[0] != '\0')
            render_row(&b.rows[i], src->now_ms, out);
    free(b.rows);
    return code == ST_OK && out->failed ? ST_NO_MEMORY : code;
}

/* --- lines ------------------------------------------------------------------------------------ */

/* What stands behind "- " or "* ". */
static bool bullet(struct st_str line, struct st_str *rest)
{
    line = st_line_trim(line);
    if (line.n < 2 || (line.p[0] != '-' && line.p[0] != '*') || line.p[1] != ' ')
        return false;
    *rest = st_line_trim((struct st_str){line.p + 2, line.n - 2});
    return true;
}

/* " (since 2026-11-24T00:21Z)" and its kin at the end belong to the rendering, not to the status.
 */
static struct st_str without_times(struct st_str s)
{
    if (s.n == 0 || s.p[s.n - 1] != ')')
        return s;
    size_t open = s.n;
    while (open > 0 && s.p[open - 1] != '(')
        open--;
    struct st_str inside = {s.p + open, s.n - open};
    bool ours =
        open > 0 && (st_line_starts(inside, "since 2") || st_line_starts(inside, "gone since 2"));
    return ours ? st_line_trim((struct st_str){s.p, open - 1}) : s;
}

/* "[agent:ann] text", or "ann: text" */
static bool parse(struct st_str line, struct st_str *agent, struct st_str *status, bool *tagged)
{
    struct st_str rest;
    if (!bullet(line, &rest))
        return false;
    *tagged = st_line_starts(rest, "[agent:");
    if (*tagged)
        rest = (struct st_str){rest.p + 7, rest.n - 7};
    const char *end = memchr(rest.p, *tagged ? ']' : ':', rest.n);
    if (end == NULL)
        return false;
    *agent = (struct st_str){rest.p, (size_t)(end - rest.p)};
    *status = without_times(st_line_trim((struct st_str){end + 1, rest.n - agent->n - 1}));
    return st_agent_check(*agent) == ST_OK;
}

static bool identify(struct st_str line, struct st_str *id)
{
    struct st_str status;
    bool tagged;
    return parse(line, id, &status, &tagged) && tagged;
}

static enum st_line_class classify(struct st_str line)
{
    struct st_str agent, status;
    bool tagged;
    if (!parse(line, &agent, &status, &tagged) || st_status_check(status) != ST_OK)
        return ST_LINE_OTHER;
    return tagged ? ST_LINE_ITEM : ST_LINE_NEW;
}

/* --- edits ------------------------------------------------------------------------------------ */

static bool say(struct st_file_ops *out, struct st_str agent, struct st_str status)
{
    struct st_op op = {.kind = ST_OP_BEAT, .value = status};
    return st_file_ops_add(out, agent, &op, NULL, 0);
}

/*
 * An agent's newest status stays when it said something since the rendering: then the edit goes
 * into the log before it, where it can be found, and the status is said again.
 */
static enum st_code write_status(const struct board *b, struct st_str agent, struct st_str status,
                                 const struct st_edit *e, struct st_file_ops *out)
{
    const struct row *now = row_find(b, agent);
    struct st_str current = st_str_of(now != NULL ? now->status : "");
    if (now != NULL && now->said && st_str_equal(current, status))
        return ST_OK;
    bool newer = false;
#ifndef ST_DEFECT_VIEW_IGNORES_BASE
    newer = now != NULL && now->said &&
            (e->dot_count == 0 || st_dot_compare(now->dot, e->dots[0]) != 0);
    struct st_str was_agent, was;
    bool tagged;
    if (newer && e->before.n > 0 && parse(e->before, &was_agent, &was, &tagged) &&
        st_str_equal(was, current))
        newer = false; /* the same words again */
#endif
    if (!say(out, agent, status) || (newer && !say(out, agent, current)))
        return ST_NO_MEMORY;
    return ST_OK;
}

static enum st_code apply_one(const struct board *b, const struct st_edit *e,
                              struct st_file_ops *out)
{
    struct st_str before, after, agent, status, ignored;
    bool tagged;
    if (e->kind == ST_EDIT_KEPT)
        return ST_OK;
    bool had = e->before.n > 0 && parse(e->before, &before, &ignored, &tagged);
    bool has = e->after.n > 0 && parse(e->after, &after, &status, &tagged);
    agent = has ? after : before;
    if (!has && !had)
        return ST_OK;
    if (!has)
        status = (struct st_str){"", 0};
    return write_status(b, agent, status, e, out);
}

static enum st_code apply(const struct st_view_source *src, const struct st_edits *edits,
                          struct st_file_ops *out)
{
    struct board b;
    enum st_code code = board_read(src, &b);
    for (size_t i = 0; code == ST_OK && i < edits->count; i++)
        code = apply_one(&b, &edits->list[i], out);
    free(b.rows);
    return code;
}

/* Of an agent the last status is kept: what was said before that was in the state, too. */
static enum st_code knows(const struct st_view_source *src, struct st_str line,
                          struct st_str before, bool *known)
{
    (void)before;
    struct board b;
    struct st_str agent, status;
    bool tagged;
    *known = false;
    if (!parse(line, &agent, &status, &tagged))
        return ST_OK;
    enum st_code code = board_read(src, &b);
    const struct row *row = code == ST_OK ? row_find(&b, agent) : NULL;
    const char *since = memmem(line.p, line.n, "(since ", 7);
    if (row != NULL && since == NULL) {
        *known = true; /* a sign of life */
    } else if (row != NULL && row->said) {
        struct st_buf now;
        st_buf_init(&now, st_alloc_libc());
        add_minute(&now, row->status_ms);
        size_t left = (size_t)(line.p + line.n - since) - 7;
        int order = memcmp(now.p, since + 7, left < now.n ? left : now.n);
        *known = order > 0 || (order == 0 && st_str_equal(status, st_str_of(row->status)));
        st_buf_release(&now);
    }
    free(b.rows);
    return code;
}

static bool shows(const struct st_op *op)
{
    return op->kind == ST_OP_BEAT;
}

const struct st_view st_view_heartbeat = {
    .name = "heartbeat",
    .file = "HEARTBEAT.md",
    .names_are_ids = true,
    .shows_board = true,
    .render = render,
    .shows = shows,
    .identify = identify,
    .classify = classify,
    .apply = apply,
    .knows = knows,
};
