/*
 * board.c - heartbeats travel with what is published anyway: of each agent that was last heard of at
 * this copy, its slot. A beat alone is worth no commit.
 */
#include "store/board.h"

#include "sync/sync_internal.h"

#include <string.h>

struct board {
    uint64_t replica;
    struct st_buf *text;
};

static void add_slot(void *arg, const struct st_slot *slot)
{
    struct board *b = arg;
    char line[ST_SLOT_LINE_SIZE];
    size_t n = st_slot_format(slot, line);
    if (slot->replica != b->replica ||
        b->text->n + strlen(slot->agent) + 1 + n > ST_MANIFEST_SIZE_MAX)
        return;
    st_buf_add_text(b->text, slot->agent);
    st_buf_add_char(b->text, ' ');
    st_buf_add(b->text, line, n);
}

void st_sync_board_text(struct st_sync *y, struct st_buf *out)
{
    struct board b = {y->log->identity.replica, out};
    struct st_fault fault;
    st_board_each(y->log->env, y->log->dir, add_slot, &b, &fault);
    if (out->failed)
        st_buf_reset(out);
}

/* The agent's name, a space, its slot, a newline. */
static void take_line(struct st_sync *y, const struct st_remote_ref *ref, const char *line,
                      size_t n)
{
    struct st_slot slot;
    const char *space = memchr(line, ' ', n);
    size_t name = space != NULL ? (size_t)(space - line) : 0;
    if (name == 0 || name > ST_AGENT_SIZE_MAX || !st_slot_parse(space + 1, n - name - 1, &slot) ||
        slot.replica != ref->replica)
        return;
    memcpy(slot.agent, line, name);
    slot.agent[name] = '\0';
    int fd = -1;
    (void)st_board_beat(y->log, &slot, &fd);
    if (fd >= 0)
        y->log->env->close(y->log->env->ctx, fd);
}

void st_sync_take_board(struct st_sync *y)
{
    for (size_t i = 0; i < y->ref_count; i++) {
        const struct st_remote_ref *ref = &y->refs[i];
        struct st_buf text;
        if (ref->refused || ref->own || ref->board[0] == '\0')
            continue;
        st_buf_init(&text, y->log->alloc);
        if (st_sync_blob(y, ref->board, &text) == ST_OK)
            for (const char *at = text.p, *end; (end = strchr(at, '\n')) != NULL; at = end + 1)
                take_line(y, ref, at, (size_t)(end - at) + 1);
        st_buf_release(&text);
    }
}
