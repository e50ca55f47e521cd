/* messages.c - messages between agents: entities as tasks are, with a text instead of a title. */
#include "lib/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- sending ---------------------------------------------------------------------------------- */

struct looked_for {
    const char *agent;
    bool found;
};

static int visit_agent(void *arg, const strata_agent *a)
{
    struct looked_for *l = arg;
    l->found = strcmp(a->agent, l->agent) == 0;
    return l->found;
}

static int visit_author(void *arg, const strata_event *e)
{
    struct looked_for *l = arg;
    l->found = strcmp(e->agent, l->agent) == 0;
    return l->found;
}

/* Who has written nothing for so many changes, and shows in no other way, may be gone for good. */
#define LOOK_BACK 10000

/* Somebody was heard of who has shown a sign of life, has read something here, has taken a task, or has
 * lately written something, here or on another copy. */
static int agent_known(strata *s, const char *agent, bool *known)
{
    static const char *const notes[] = {"reads", "strong/claims"};
    char path[ST_PATH_SIZE + 80];
    struct looked_for l = {agent, false};
    uint64_t end = 0, next;
    int code = strata_agent_each(s, visit_agent, &l);
    for (size_t i = 0; i < sizeof notes / sizeof *notes && !l.found; i++) {
        snprintf(path, sizeof path, "%s/%s/%s", s->log.dir, notes[i], agent);
        l.found = access(path, F_OK) == 0;
    }
    if (code == STRATA_NOT_FOUND || code == STRATA_OK)
        code = l.found ? STRATA_OK : strata_events_end(s, &end);
    if (code == STRATA_OK && !l.found)
        code = strata_events(s, end > LOOK_BACK ? end - LOOK_BACK : 0, LOOK_BACK, &next,
                             visit_author, &l);
    *known = l.found;
    return code;
}

static int check_room(strata *s, void *arg)
{
    const char *to = arg;
    struct st_buf key;
    struct st_str row;
    uint64_t count = 0;
    st_buf_init(&key, st_alloc_libc());
    st_task_key_inbox_count(&key, st_str_of(to));
    const struct st_kv *kv = st_index_kv(s->index);
    enum st_code code = key.failed ? ST_NO_MEMORY : kv->get(kv->ctx, st_buf_str(&key), &row);
    if (code == ST_OK && !st_take_varint(&row, &count))
        code = ST_DAMAGED;
    st_buf_release(&key);
    if (code != ST_OK && code != ST_NOT_FOUND)
        return st_lib_index_fault(s, code);
    if (count < STRATA_INBOX_MAX)
        return STRATA_OK;
    st_lib_fail(s, ST_LIMIT, "%d messages wait in the inbox of %s: it is full", STRATA_INBOX_MAX,
                to);
    st_lib_hint(s, "nothing was recorded; is that agent still there? `strata agent list`");
    return ST_LIMIT;
}

int strata_message_send(strata *s, const char *to, const char *text, size_t size, bool create,
                        char id[STRATA_TASK_SIZE])
{
    struct st_str v = {text, size == STRATA_NUL ? strlen(text) : size};
    bool known = create;
    int code = st_lib_value(s, "message", v);
    if (code == STRATA_OK && st_agent_check(st_str_of(to)) != ST_OK)
        code = st_lib_fail(s, ST_INVALID, "'%.80s' is not an agent's name", to);
    if (code == STRATA_OK && v.n == 0)
        code = st_lib_fail(s, ST_INVALID, "the message is empty");
    if (code == STRATA_OK && !known)
        code = agent_known(s, to, &known);
    if (code == STRATA_OK && !known) {
        code = st_lib_fail(s, ST_NOT_FOUND, "nobody called %s was ever heard of", to);
        st_lib_hint(s,
                    "nothing was sent; an agent is known once it has done or read something here");
    }
    if (code != STRATA_OK)
        return code;
    struct st_op ops[2] = {
        {.kind = ST_OP_SET, .new_entity = 1, .attribute = ST_STR("to"), .value = st_str_of(to)},
        {.kind = ST_OP_SET, .new_entity = 1, .attribute = ST_STR("message"), .value = v}};
    struct st_record r = {.agent = st_str_of(s->agent),
                          .incarnation = s->incarnation,
                          .ops = ops,
                          .op_count = 2,
                          .new_count = 1};
    code = st_lib_append(s, &r, check_room, (void *)(uintptr_t)to, 0);
    if (code != STRATA_OK)
        return code;
    snprintf(id, STRATA_TASK_SIZE, "%.*s", (int)ops[0].entity.n - 1, ops[0].entity.p + 1);
    return STRATA_OK;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct inbox {
    size_t prefix, limit, count;
    struct st_buf names; /* entities, NUL-terminated */
};

static enum st_code visit_row(void *arg, struct st_str key, struct st_str value)
{
    struct inbox *x = arg;
    struct st_task_id id;
    (void)value;
    if (!st_task_id_take(key, x->prefix, &id))
        return ST_DAMAGED;
    st_task_id_add(&x->names, id);
    st_buf_add_char(&x->names, '\0');
    x->count++;
    return x->names.failed                         ? ST_NO_MEMORY
           : x->limit != 0 && x->count >= x->limit ? ST_SCAN_STOP
                                                   : ST_OK;
}

static enum st_code message_of(strata *s, const char *entity, const char *agent,
                               strata_message *out)
{
    struct st_attribute a;
    enum st_code code = st_attribute_read(st_index_kv(s->index), st_str_of(entity),
                                          ST_STR("message"), &s->read, &a);
    if (code != ST_OK)
        return code;
    if (a.shown >= a.count)
        return ST_NOT_FOUND;
    const struct st_item *item = &a.items[a.shown];
    *out = (strata_message){
        .id = st_task_name(s, st_str_of(entity)),
        .from = st_arena_text(&s->arena, item->agent),
        .to = agent,
        .text = st_arena_text(&s->arena, item->value),
        .text_size = item->value.n,
        .time_ms = item->time.ms,
    };
    return out->from != NULL && out->text != NULL ? ST_OK : ST_NO_MEMORY;
}

int strata_message_each(strata *s, const char *agent, size_t limit,
                        int (*visit)(void *arg, const strata_message *m), void *arg)
{
    struct inbox x = {.limit = limit};
    struct st_buf key;
    int result = st_lib_begin(s), stop = 0;
    if (result != STRATA_OK)
        return result;
    st_buf_init(&key, st_alloc_libc());
    st_buf_init(&x.names, st_alloc_libc());
    st_task_key_inbox(&key, st_str_of(agent));
    x.prefix = key.n;
    const struct st_kv *kv = st_index_kv(s->index);
    enum st_code code =
        key.failed ? ST_NO_MEMORY
                   : kv->scan(kv->ctx, st_buf_str(&key), (struct st_str){"", 0}, visit_row, &x);
    const char *p = x.names.p;
    for (size_t i = 0; i < x.count && code == ST_OK && stop == 0; i++, p += strlen(p) + 1) {
        strata_message m;
        st_arena_reset(&s->arena);
        code = message_of(s, p, agent, &m);
        if (code == ST_OK)
            stop = visit(arg, &m);
    }
    st_buf_release(&key);
    st_buf_release(&x.names);
    if (code != ST_OK)
        result = st_lib_index_fault(s, code);
    st_lib_end(s);
    return result == STRATA_OK && stop < 0 ? stop : result;
}

/* --- acknowledging ---------------------------------------------------------------------------- */

static int find_messages(strata *s, const char *const *ids, size_t count,
                         char (*entities)[ST_NUMBERED_SIZE + 1])
{
    struct st_buf key;
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    st_buf_init(&key, st_alloc_libc());
    for (size_t i = 0; i < count && code == STRATA_OK; i++) {
        struct st_task t = {.is_message = false};
        code = st_task_find(s, ids[i], entities[i]);
        if (code != STRATA_OK)
            continue;
        enum st_code got = st_task_read(st_index_kv(s->index), st_str_of(entities[i]), &key, &t);
        if (got != ST_OK)
            code = st_lib_index_fault(s, got);
        else if (!t.is_message)
            code = st_lib_fail(s, ST_NOT_FOUND, "%.90s is not a message", ids[i]);
    }
    st_buf_release(&key);
    st_lib_end(s);
    return code;
}

int strata_message_ack(strata *s, const char *const *ids, size_t count)
{
    if (count == 0 || count > ST_RECORD_OPS_MAX)
        return st_lib_fail(s, ST_LIMIT, "%zu messages at once; 1 to %d are possible", count,
                           ST_RECORD_OPS_MAX);
    struct st_op *ops = calloc(count, sizeof *ops);
    char(*entities)[ST_NUMBERED_SIZE + 1] = calloc(count, sizeof *entities);
    if (ops == NULL || entities == NULL) {
        free(ops);
        free(entities);
        return st_lib_no_memory(s);
    }
    int code = find_messages(s, ids, count, entities);
    for (size_t i = 0; code == STRATA_OK && i < count; i++)
        ops[i] = (struct st_op){.kind = ST_OP_SET,
                                .entity = st_str_of(entities[i]),
                                .attribute = ST_STR("acknowledged"),
                                .value = ST_STR("yes")};
    if (code == STRATA_OK) {
        struct st_record r = {.agent = st_str_of(s->agent),
                              .incarnation = s->incarnation,
                              .ops = ops,
                              .op_count = count};
        code = st_lib_append(s, &r, NULL, NULL, 0);
    }
    free(ops);
    free(entities);
    return code;
}
