/* tasks.c - tasks: their names, adding and changing them. See core/task.h for what they are. */
#include "lib/task.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Dependencies of a new task: what one record can hold beside everything else. */
#define AFTER_MAX 1000

/* --- names ------------------------------------------------------------------------------------ */

void st_task_id_text(struct st_task_id id, char out[ST_NUMBERED_SIZE + 1])
{
    snprintf(out, ST_NUMBERED_SIZE + 1, "#%" PRIu64 "%s%.*s", id.number, id.suffix.n > 0 ? "@" : "",
             (int)id.suffix.n, id.suffix.p);
}

const char *st_task_name(strata *s, struct st_str entity)
{
    struct st_task_id id;
    if (!st_task_id_parse(entity, &id))
        return "";
    const char *name = st_arena_text(&s->arena, (struct st_str){entity.p + 1, entity.n - 1});
    return name != NULL ? name : "";
}

struct name_search {
    struct st_task_id wanted;
    size_t key_size; /* of the prefix */
    size_t count;
    char found[ST_NUMBERED_SIZE + 1];
    char all[256]; /* what fits, for the error */
    bool exact;
};

static enum st_code visit_name(void *arg, struct st_str key, struct st_str value)
{
    struct name_search *n = arg;
    struct st_task_id id;
    (void)value;
    if (!st_task_id_take(key, 2, &id))
        return ST_DAMAGED;
    bool exact = st_str_equal(id.suffix, n->wanted.suffix);
    bool fits = id.suffix.n >= n->wanted.suffix.n &&
                (n->wanted.suffix.n == 0 ||
                 memcmp(id.suffix.p, n->wanted.suffix.p, n->wanted.suffix.n) == 0);
    if (!fits || n->exact)
        return ST_OK;
    n->exact = exact;
    n->count = exact ? 1 : n->count + 1;
    st_task_id_text(id, n->found);
    size_t used = strlen(n->all);
    snprintf(n->all + used, sizeof n->all - used, "%s%s", used > 0 ? ", " : "", n->found + 1);
    return ST_OK;
}

static int name_not_found(strata *s, const char *id, const struct name_search *n)
{
    st_lib_fail(s, ST_NOT_FOUND, "there is no task %.90s", id);
    char hint[300];
    snprintf(hint, sizeof hint, "there is %s, made on another copy", n->all);
    st_lib_hint(s, n->count > 0 ? hint : "`strata list` shows what there is");
    return ST_NOT_FOUND;
}

int st_task_find(strata *s, const char *id, char entity[ST_NUMBERED_SIZE + 1])
{
    struct name_search n = {.count = 0};
    char text[ST_NUMBERED_SIZE + 1];
    if (id == NULL)
        id = "";
    int size = snprintf(text, sizeof text, "#%s", id[0] == '#' ? id + 1 : id);
    if (size < 2 || (size_t)size >= sizeof text || !st_task_id_parse(st_str_of(text), &n.wanted)) {
        st_lib_fail(s, ST_INVALID, "'%.90s' is not the name of a task", id);
        st_lib_hint(s, "a number, as 143, or with the copy that it was made on, as 143@pi");
        return ST_INVALID;
    }
    struct st_buf key;
    st_buf_init(&key, st_alloc_libc());
    st_task_key(&key, (struct st_task_id){.number = n.wanted.number, .suffix = {"", 0}});
    n.key_size = key.n - 1;
    const struct st_kv *kv = st_index_kv(s->index);
    enum st_code code = key.failed ? ST_NO_MEMORY
                                   : kv->scan(kv->ctx, (struct st_str){key.p, n.key_size},
                                              (struct st_str){"", 0}, visit_name, &n);
    st_buf_release(&key);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    if (n.count == 0 || (n.wanted.suffix.n == 0 && !n.exact))
        return name_not_found(s, id, &n);
    if (n.count > 1) {
        st_lib_fail(s, ST_INVALID, "%.90s can be %s", id, n.all);
        st_lib_hint(s, "nothing was done; give the whole name");
        return ST_INVALID;
    }
    strcpy(entity, n.found);
    return STRATA_OK;
}

/* --- building a record ------------------------------------------------------------------------ */

struct draft {
    strata *s;
    struct st_op *ops;
    size_t count;
    const char *entity; /* NULL: the record's first new number */
    int code;
};

static struct st_op *draft_op(struct draft *d, enum st_op_kind kind, const char *attribute)
{
    struct st_op *op = &d->ops[d->count++];
    *op = (struct st_op){.kind = kind, .attribute = st_str_of(attribute)};
    if (d->entity == NULL)
        op->new_entity = 1;
    else
        op->entity = st_str_of(d->entity);
    if (d->entity != NULL && (kind == ST_OP_SET || kind == ST_OP_UNSET))
        st_mark_get(d->s, d->entity, attribute, &op->dot);
    return op;
}

/* Sets an attribute; NULL leaves it alone, "" takes it away. */
static void draft_set(struct draft *d, const char *attribute, const char *value, size_t size)
{
    if (value == NULL || d->code != STRATA_OK)
        return;
    struct st_str v = {value, size == STRATA_NUL ? strlen(value) : size};
    if (v.n == 0) {
        if (d->entity != NULL)
            draft_op(d, ST_OP_UNSET, attribute);
        return;
    }
    d->code = st_lib_value(d->s, attribute, v);
    if (d->code == STRATA_OK)
        draft_op(d, ST_OP_SET, attribute)->value = v;
}

/* One that is a name: channels, agents, keys. */
static void draft_name(struct draft *d, const char *attribute, const char *value)
{
    if (value != NULL && value[0] != '\0' && d->code == STRATA_OK)
        d->code = st_lib_name(d->s, attribute, value);
    draft_set(d, attribute, value, STRATA_NUL);
}

/* An agent, or an agent on one copy. */
static void draft_agent(struct draft *d, const char *value)
{
    if (value != NULL && value[0] != '\0' && d->code == STRATA_OK) {
        const char *at = strchr(value, '@');
        struct st_str name = {value, at != NULL ? (size_t)(at - value) : strlen(value)};
        if (st_agent_check(name) != ST_OK ||
            (at != NULL && st_agent_check(st_str_of(at + 1)) != ST_OK)) {
            d->code = st_lib_fail(d->s, ST_INVALID, "'%.140s' is not an agent's name", value);
            st_lib_hint(d->s, "ann, or ann@pi for ann on the copy pi");
        }
    }
    draft_set(d, "agent", value, STRATA_NUL);
}

static void draft_link(struct draft *d, enum st_op_kind kind, const char *attribute,
                       const char *entity)
{
    struct st_op *op = draft_op(d, kind, attribute);
    op->value_kind = ST_VALUE_LINK;
    op->value = st_str_of(entity);
}

static void draft_priority(struct draft *d, int priority)
{
    static const char *const texts[] = {"0", "1", "2", "3", "4"};
    if (priority == STRATA_PRIORITY_NONE || d->code != STRATA_OK)
        return;
    if (priority < 0 || priority > ST_PRIORITY_MAX)
        d->code = st_lib_fail(d->s, ST_INVALID, "the priority is %d; 0 (first) to %d are possible",
                              priority, ST_PRIORITY_MAX);
    else
        draft_set(d, "priority", texts[priority], 1);
}

bool st_task_time(uint64_t ms, char out[ST_TIME_SIZE])
{
    struct tm t;
    time_t seconds = (time_t)(ms / 1000);
    if (gmtime_r(&seconds, &t) == NULL || t.tm_year > 9999 - 1900)
        return false;
    snprintf(out + strftime(out, ST_TIME_SIZE, "%FT%T", &t), 8, ".%03uZ", (unsigned)(ms % 1000));
    return true;
}

/* `out` holds the text for as long as the draft. UINT64_MAX: leave it alone; 0: take it away. */
static void draft_not_before(struct draft *d, uint64_t ms, char out[ST_TIME_SIZE])
{
    if (ms == UINT64_MAX || d->code != STRATA_OK)
        return;
    out[0] = '\0';
    if (ms != 0 && !st_task_time(ms, out))
        d->code = st_lib_fail(d->s, ST_INVALID, "not before: a time after the year 9999");
    draft_set(d, "not_before", out, STRATA_NUL);
}

static struct st_record record_of(const struct draft *d)
{
    return (struct st_record){
        .agent = st_str_of(d->s->agent),
        .incarnation = d->s->incarnation,
        .ops = d->ops,
        .op_count = d->count,
        .new_count = d->entity == NULL,
    };
}

/* --- adding ----------------------------------------------------------------------------------- */

struct adding {
    const char *key;
    char *id;
    bool *existed;
};

struct first_id {
    size_t prefix;
    bool found;
    char *entity;
};

static enum st_code visit_first(void *arg, struct st_str key, struct st_str value)
{
    struct first_id *f = arg;
    struct st_task_id id;
    (void)value;
    if (!st_task_id_take(key, f->prefix, &id))
        return ST_DAMAGED;
    f->found = true;
    st_task_id_text(id, f->entity);
    return ST_SCAN_STOP;
}

enum st_code st_task_keyed(strata *s, const char *key, char entity[ST_NUMBERED_SIZE + 1])
{
    struct st_buf prefix;
    st_buf_init(&prefix, st_alloc_libc());
    st_task_key_keyed(&prefix, st_str_of(key));
    struct first_id f = {.prefix = prefix.n, .entity = entity};
    const struct st_kv *kv = st_index_kv(s->index);
    enum st_code code = prefix.failed ? ST_NO_MEMORY
                                      : kv->scan(kv->ctx, st_buf_str(&prefix),
                                                 (struct st_str){"", 0}, visit_first, &f);
    st_buf_release(&prefix);
    return code == ST_OK && !f.found ? ST_NOT_FOUND : code;
}

/* With the append lock: of two with one key the second finds the first. */
static int check_key(strata *s, void *arg)
{
    const struct adding *a = arg;
    char entity[ST_NUMBERED_SIZE + 1];
    enum st_code code = st_task_keyed(s, a->key, entity);
    if (code == ST_NOT_FOUND)
        return STRATA_OK;
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    snprintf(a->id, STRATA_TASK_SIZE, "%s", entity + 1);
    *a->existed = true;
    return STRATA_EXISTS;
}

static void draft_task(struct draft *d, const strata_task_new *t, char not_before[ST_TIME_SIZE])
{
    draft_set(d, "title", t->title, STRATA_NUL);
    if (ST_HAS(t, channel))
        draft_name(d, "channel", t->channel);
    if (ST_HAS(t, agent))
        draft_agent(d, t->agent);
    if (ST_HAS(t, key))
        draft_name(d, "key", t->key);
    if (ST_HAS(t, priority))
        draft_priority(d, t->priority);
    if (ST_HAS(t, not_before_ms) && t->not_before_ms != 0)
        draft_not_before(d, t->not_before_ms, not_before);
    if (ST_HAS(t, data_size))
        draft_set(d, "data", t->data, t->data_size);
}

/* Finds what the new task refers to; entities is an array of names for each, the parent's last. */
static int find_references(strata *s, const strata_task_new *t, size_t count,
                           char (*entities)[ST_NUMBERED_SIZE + 1])
{
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    for (size_t i = 0; i < count && code == STRATA_OK; i++)
        code = st_task_find(s, t->after[i], entities[i]);
    if (code == STRATA_OK && ST_HAS(t, parent) && t->parent != NULL)
        code = st_task_find(s, t->parent, entities[count]);
    st_lib_end(s);
    return code;
}

static int add_drafted(strata *s, struct draft *d, const strata_task_new *t, unsigned flags,
                       char id[STRATA_TASK_SIZE], bool *existed)
{
    struct st_record r = record_of(d);
    struct adding a = {ST_HAS(t, key) ? t->key : NULL, id, existed};
    bool keyed = a.key != NULL && a.key[0] != '\0';
#ifdef ST_DEFECT_ADD_UNFLUSHED
    flags |= STRATA_NO_FLUSH;
#endif
    int code = st_lib_append(s, &r, keyed ? check_key : NULL, &a, flags);
    if (code == STRATA_EXISTS && *existed)
        return strata_flush(s); /* what is told about is on disk first */
    if (code != STRATA_OK)
        return code;
    snprintf(id, STRATA_TASK_SIZE, "%.*s", (int)d->ops[0].entity.n - 1, d->ops[0].entity.p + 1);
    return STRATA_OK;
}

int strata_task_add(strata *s, const strata_task_new *t, unsigned flags, char id[STRATA_TASK_SIZE],
                    bool *existed)
{
    bool unused;
    char not_before[ST_TIME_SIZE];
    size_t count = ST_HAS(t, after_count) && t->after != NULL ? t->after_count : 0;
    if (existed == NULL)
        existed = &unused;
    *existed = false;
    if (t->title == NULL || t->title[0] == '\0')
        return st_lib_fail(s, ST_INVALID, "the title is empty");
    if (count > AFTER_MAX)
        return st_lib_fail(s, ST_LIMIT, "%zu dependencies; the limit for a new task is %d", count,
                           AFTER_MAX);
    bool refers = count > 0 || (ST_HAS(t, parent) && t->parent != NULL);
    struct draft d = {.s = s};
    char(*entities)[ST_NUMBERED_SIZE + 1] = calloc(count + 1, sizeof *entities);
    d.ops = calloc(count + 16, sizeof *d.ops);
    if (entities == NULL || d.ops == NULL)
        d.code = st_lib_no_memory(s);
    if (d.code == STRATA_OK && refers)
        d.code = find_references(s, t, count, entities);
    if (d.code == STRATA_OK)
        draft_task(&d, t, not_before);
    if (d.code == STRATA_OK) {
        for (size_t i = 0; i < count; i++)
            draft_link(&d, ST_OP_ADD, "depends", entities[i]);
        if (ST_HAS(t, parent) && t->parent != NULL)
            draft_link(&d, ST_OP_SET, "parent", entities[count]);
        d.code = add_drafted(s, &d, t, flags, id, existed);
    }
    free(entities);
    free(d.ops);
    return d.code;
}

/* --- changing --------------------------------------------------------------------------------- */

struct changing {
    const strata_task_change *change;
    struct draft *d;
    struct st_record *r;
};

static bool same_text(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t n = a == NULL ? 0 : a_size == STRATA_NUL ? strlen(a) : a_size;
    return n == b_size && (n == 0 || memcmp(a, b, n) == 0);
}

/* Finished absorbs: what is finished stays so, unless it is opened again, with all its tries. */
static int check_change(strata *s, void *arg)
{
    struct changing *x = arg;
    const strata_task_change *c = x->change;
    strata_task t;
    st_arena_reset(&s->arena);
    enum st_code code = st_task_fill(s, st_str_of(x->d->entity), &t);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    if (strcmp(c->state, "open") == 0) {
        size_t given = x->d->count;
        if (t.result_size > 0)
            draft_op(x->d, ST_OP_UNSET, "result");
        if (t.reason[0] != '\0')
            draft_op(x->d, ST_OP_UNSET, "reason");
        if (t.retries > 0)
            draft_op(x->d, ST_OP_UNSET, "retries");
        x->r->op_count = x->d->count;
        /* Only that it is open, which it is: said by nobody else, and not held by another word. */
        static const char *const open_states[] = {"ready", "waiting", "deferred", "claimed"};
        bool open = false;
        for (size_t i = 0; i < sizeof open_states / sizeof *open_states && !t.pending; i++)
            open = open || strcmp(t.state, open_states[i]) == 0;
        return open && given == 1 && x->d->count == 1 ? STRATA_EXISTS : STRATA_OK;
    }
    if (!t.finished)
        return STRATA_OK;
    /* What has failed can be given up: then what waits for it goes on. */
    if (strcmp(t.state, "failed") == 0 && strcmp(c->state, "cancelled") == 0)
        return STRATA_OK;
    bool same = strcmp(t.state, c->state) == 0 &&
                (!ST_HAS(c, result_size) || c->result == NULL ||
                 same_text(c->result, c->result_size, t.result, t.result_size));
    if (same)
        return STRATA_EXISTS;
    st_lib_fail(s, ST_CONFLICT, "%s is %s already%s%.*s", t.id, t.state,
                t.result_size > 0 ? ": " : "", (int)(t.result_size < 200 ? t.result_size : 200),
                t.result);
    st_lib_hint(s, "nothing was recorded; `strata update N --reopen` opens it again");
    return ST_CONFLICT;
}

static void draft_change(struct draft *d, const strata_task_change *c,
                         char not_before[ST_TIME_SIZE])
{
    draft_set(d, "title", ST_HAS(c, title) ? c->title : NULL, STRATA_NUL);
    if (ST_HAS(c, channel))
        draft_name(d, "channel", c->channel);
    if (ST_HAS(c, agent))
        draft_agent(d, c->agent);
    if (ST_HAS(c, state))
        draft_name(d, "state", c->state);
    if (ST_HAS(c, result_size))
        draft_set(d, "result", c->result, c->result_size);
    if (ST_HAS(c, reason))
        draft_set(d, "reason", c->reason, STRATA_NUL);
    if (ST_HAS(c, data_size))
        draft_set(d, "data", c->data, c->data_size);
    if (ST_HAS(c, checkpoint_size))
        draft_set(d, "checkpoint", c->checkpoint, c->checkpoint_size);
    if (ST_HAS(c, priority))
        draft_priority(d, c->priority);
    if (ST_HAS(c, not_before_ms))
        draft_not_before(d, c->not_before_ms, not_before);
}

int strata_task_update(strata *s, const char *id, const strata_task_change *c, unsigned flags)
{
    char entity[ST_NUMBERED_SIZE + 1], parent[ST_NUMBERED_SIZE + 1] = "", not_before[ST_TIME_SIZE];
    struct st_op ops[16];
    struct draft d = {.s = s, .ops = ops, .entity = entity};
    if (ST_HAS(c, title) && c->title != NULL && c->title[0] == '\0')
        return st_lib_fail(s, ST_INVALID, "the title is empty");
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    code = st_task_find(s, id, entity);
    bool moves = ST_HAS(c, parent) && c->parent != NULL;
    if (code == STRATA_OK && moves && c->parent[0] != '\0')
        code = st_task_find(s, c->parent, parent);
    st_lib_end(s);
    if (code != STRATA_OK)
        return code;
    draft_change(&d, c, not_before);
    if (d.code == STRATA_OK && moves && parent[0] != '\0')
        draft_link(&d, ST_OP_SET, "parent", parent);
    else if (d.code == STRATA_OK && moves)
        draft_op(&d, ST_OP_UNSET, "parent");
    if (d.code != STRATA_OK)
        return d.code;
    if (d.count == 0)
        return st_lib_fail(s, ST_USAGE, "nothing to change: it is not said what");
    struct st_record r = record_of(&d);
    struct changing x = {c, &d, &r};
    bool judged = ST_HAS(c, state) && c->state != NULL;
    code = st_lib_append(s, &r, judged ? check_change : NULL, &x, flags);
    if (code == STRATA_EXISTS)
        return strata_flush(s); /* it says the same already */
    if (code != STRATA_OK)
        return code;
    for (size_t i = 0; i < d.count; i++)
        if (ops[i].kind == ST_OP_SET || ops[i].kind == ST_OP_UNSET) {
            char name[32];
            snprintf(name, sizeof name, "%.*s", (int)ops[i].attribute.n, ops[i].attribute.p);
            st_mark_set(s, entity, name, r.dot);
        }
    return STRATA_OK;
}

/* --- dependencies ----------------------------------------------------------------------------- */

struct linking {
    struct st_op *op;
    bool *changed;
};

static int would_be_cycle(strata *s, const struct st_op *op)
{
    const char *path;
    enum st_code code = st_task_path(s, op->value, op->entity, &path);
    if (code == ST_NOT_FOUND)
        return STRATA_OK;
    if (code == ST_LIMIT)
        return st_lib_fail(s, code, "too many dependencies to see whether this is a cycle");
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    st_lib_fail(s, ST_CONFLICT, "that would be a cycle: %s -> %.400s", st_task_name(s, op->entity),
                path);
    st_lib_hint(s, "nothing was recorded");
    return ST_CONFLICT;
}

static int check_link(strata *s, void *arg)
{
    const struct linking *x = arg;
    struct st_buf key;
    struct st_str value;
    st_arena_reset(&s->arena);
    st_buf_init(&key, st_alloc_libc());
    st_key_member(&key, x->op->entity, x->op->attribute, ST_VALUE_LINK, x->op->value);
    const struct st_kv *kv = st_index_kv(s->index);
    enum st_code code = key.failed ? ST_NO_MEMORY : kv->get(kv->ctx, st_buf_str(&key), &value);
    st_buf_release(&key);
    if (code != ST_OK && code != ST_NOT_FOUND)
        return st_lib_index_fault(s, code);
    *x->changed = (code == ST_OK) == (x->op->kind == ST_OP_REMOVE);
    if (!*x->changed)
        return STRATA_EXISTS;
#ifndef ST_DEFECT_CYCLE_UNSEEN
    if (x->op->kind == ST_OP_ADD)
        return would_be_cycle(s, x->op);
#endif
    return STRATA_OK;
}

int strata_task_depend(strata *s, const char *id, const char *on, bool remove, bool *changed)
{
    char entity[ST_NUMBERED_SIZE + 1], target[ST_NUMBERED_SIZE + 1];
    bool unused;
    struct st_op op;
    struct draft d = {.s = s, .ops = &op, .entity = entity};
    if (changed == NULL)
        changed = &unused;
    *changed = false;
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    code = st_task_find(s, id, entity);
    if (code == STRATA_OK)
        code = st_task_find(s, on, target);
    st_lib_end(s);
    if (code != STRATA_OK)
        return code;
    if (!remove && strcmp(entity, target) == 0)
        return st_lib_fail(s, ST_CONFLICT, "%s cannot wait for itself", entity + 1);
    draft_link(&d, remove ? ST_OP_REMOVE : ST_OP_ADD, "depends", target);
    struct st_record r = record_of(&d);
    struct linking x = {&op, changed};
    code = st_lib_append(s, &r, check_link, &x, 0);
    return code == STRATA_EXISTS ? strata_flush(s) : code;
}
