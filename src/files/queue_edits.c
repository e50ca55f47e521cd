/* queue_edits.c - from an edited line of the queue to operations and wishes. See queue_edits.h. */
#include "files/queue_edits.h"

#include "store/log.h"

#include <stdio.h>

/* --- edits ------------------------------------------------------------------------------------ */

struct st_str st_queue_word_of(const struct st_task_line *t, const struct st_task_line *before)
{
    switch (t->box) {
    case ST_BOX_DONE:
        return ST_STR("done");
    case ST_BOX_FAILED:
        return ST_STR("failed");
    case ST_BOX_CANCELLED:
        return ST_STR("cancelled");
    case ST_BOX_BUSY:
        if (t->state.n > 0)
            return t->state;
        if (before != NULL && before->box == ST_BOX_BUSY)
            return st_queue_word_of(before, NULL);
        return t->claimed.n > 0 ? ST_STR("open") : ST_STR("in_progress");
    default:
        return t->state.n > 0 && (before == NULL || !st_str_equal(before->state, t->state))
                   ? t->state
                   : ST_STR("open");
    }
}

static bool ends(struct st_str word)
{
    return st_task_finished(st_task_state_of(word));
}

static enum st_code wish(struct st_queue_applier *a, enum st_wish_kind kind, struct st_str entity,
                         struct st_str value)
{
    struct st_wish w = {.kind = kind, .entity = entity, .value = value};
    return st_view_wish_add(a->out, &w) ? ST_OK : ST_NO_MEMORY;
}

static struct st_view_fact fact_of(struct st_str entity, const char *attribute, struct st_str value)
{
    return (struct st_view_fact){
        .entity = entity,
        .attribute = st_str_of(attribute),
        .value = value,
        .kind = value.n > 0 ? ST_ITEM_VALUE : ST_ITEM_ABSENT,
    };
}

static enum st_code write_field(struct st_queue_applier *a, const struct st_edit *e,
                                struct st_str entity, const char *attribute, struct st_str before,
                                struct st_str after)
{
    if (st_str_equal(before, after) || (after.n == 0 && a->loose))
        return ST_OK;
    struct st_view_fact f = fact_of(entity, attribute, after);
    struct st_view_fact was = fact_of(entity, attribute, before);
    return st_view_register_write(a->src, &f, &was, e->dots, e->dot_count, &a->now.scratch, a->out);
}

/* "#12", when there is such a task; else empty. */
static struct st_str known_entity(struct st_queue_applier *a, struct st_str name,
                                  char out[ST_NUMBERED_SIZE + 1])
{
    struct st_task t;
    int n = st_queue_is_number(name)
                ? snprintf(out, ST_NUMBERED_SIZE + 1, "#%.*s", (int)name.n, name.p)
                : 0;
    struct st_str entity = {out, (size_t)n};
    return n > 0 && st_task_read(a->src->kv, entity, &a->now.key, &t) == ST_OK
               ? entity
               : (struct st_str){"", 0};
}

static enum st_code write_parent(struct st_queue_applier *a, const struct st_edit *e,
                                 struct st_str entity, struct st_str before, struct st_str after)
{
    char was_name[ST_NUMBERED_SIZE + 1], is_name[ST_NUMBERED_SIZE + 1];
    if (st_str_equal(before, after) || (after.n == 0 && a->loose))
        return ST_OK;
    struct st_view_fact f = fact_of(entity, "parent", known_entity(a, after, is_name));
    struct st_view_fact was = fact_of(entity, "parent", known_entity(a, before, was_name));
    if (after.n > 0 && f.value.n == 0) {
        a->out->unknown++;
        return ST_OK;
    }
    f.link = f.value.n > 0;
    was.link = was.value.n > 0;
    return st_view_register_write(a->src, &f, &was, e->dots, e->dot_count, &a->now.scratch, a->out);
}

struct keyed {
    size_t prefix;
    char *out; /* "12" or "12@pi-3f9a2c" */
};

static enum st_code visit_keyed(void *arg, struct st_str key, struct st_str value)
{
    struct keyed *k = arg;
    struct st_task_id id;
    (void)value;
    if (!st_task_id_take(key, k->prefix, &id))
        return ST_DAMAGED;
    snprintf(k->out, ST_NUMBERED_SIZE + 1, "%llu%s%.*s", (unsigned long long)id.number,
             id.suffix.n > 0 ? "@" : "", (int)id.suffix.n, id.suffix.p);
    return ST_SCAN_STOP;
}

/* The number of the first task with this key; "": there is none. */
static enum st_code keyed(struct st_queue_applier *a, struct st_str key,
                          char out[ST_NUMBERED_SIZE + 1])
{
    const struct st_kv *kv = a->src->kv;
    out[0] = '\0';
    st_buf_reset(&a->now.key);
    st_task_key_keyed(&a->now.key, key);
    if (a->now.key.failed)
        return ST_NO_MEMORY;
    struct keyed k = {a->now.key.n, out};
    return kv->scan(kv->ctx, st_buf_str(&a->now.key), (struct st_str){"", 0}, visit_keyed, &k);
}

/* A name in `depends` as a number, if it is a key. */
static enum st_code as_number(struct st_queue_applier *a, struct st_str *name,
                              char out[ST_NUMBERED_SIZE + 1])
{
    if (st_queue_is_number(*name))
        return ST_OK;
    enum st_code code = keyed(a, *name, out);
    if (code == ST_OK && out[0] != '\0')
        *name = st_str_of(out);
    return code;
}

static enum st_code has_name(struct st_queue_applier *a, struct st_str list, struct st_str wanted,
                             bool *has)
{
    struct st_str name;
    enum st_code code = ST_OK;
    *has = false;
    while (code == ST_OK && !*has && st_task_line_next(&list, &name)) {
        char number[ST_NUMBERED_SIZE + 1];
        code = as_number(a, &name, number);
        *has = code == ST_OK && st_str_equal(name, wanted);
    }
    return code;
}

/* Takes away what was shown, not what was added anew since. */
static enum st_code remove_link(struct st_queue_applier *a, const struct st_edit *e,
                                struct st_str entity, struct st_str target)
{
    struct st_attribute now;
    struct st_view_fact f = fact_of(entity, "depends", target);
    f.kind = ST_ITEM_MEMBER;
    f.link = true;
    enum st_code code = st_attribute_read(a->src->kv, entity, f.attribute, &a->now.scratch, &now);
    bool live = false;
    for (size_t i = 0; code == ST_OK && !live && i < now.count; i++)
        live = st_view_has_dot(e->dots, e->dot_count, now.items[i].dot) &&
               st_view_item_is(&now.items[i], &f);
    if (live && !st_view_op_add(a->out, ST_OP_REMOVE, &f, e->dots, e->dot_count))
        return ST_NO_MEMORY;
    return code;
}

static enum st_code write_depends(struct st_queue_applier *a, const struct st_edit *e,
                                  struct st_str entity, struct st_str before, struct st_str after)
{
    struct st_str list = before, name;
    enum st_code code = ST_OK;
    bool has;
    if (st_str_equal(before, after) || (after.n == 0 && a->loose))
        return ST_OK;
    while (code == ST_OK && st_task_line_next(&list, &name)) {
        char target[ST_NUMBERED_SIZE + 1];
        code = has_name(a, after, name, &has);
        if (code == ST_OK && !has && st_queue_is_number(name)) {
            int n = snprintf(target, sizeof target, "#%.*s", (int)name.n, name.p);
            code = remove_link(a, e, entity, (struct st_str){target, (size_t)n});
        }
    }
    list = after;
    while (code == ST_OK && st_task_line_next(&list, &name)) {
        char number[ST_NUMBERED_SIZE + 1];
        code = as_number(a, &name, number);
        if (code == ST_OK)
            code = has_name(a, before, name, &has);
        if (code == ST_OK && !has)
            code = wish(a, ST_WISH_DEPEND, entity, name);
    }
    return code;
}

/* Where a task without a channel mark is. */
static struct st_str usual_channel(const struct st_queue_applier *a)
{
    return st_str_of(a->src->subject);
}

struct st_str st_queue_priority(const struct st_task_line *t)
{
    static const char digits[] = "01234";
    return t->priority < 0 ? (struct st_str){"", 0} : (struct st_str){&digits[t->priority], 1};
}

static enum st_code write_fields(struct st_queue_applier *a, const struct st_edit *e,
                                 struct st_str entity, const struct st_task_line *before,
                                 const struct st_task_line *after)
{
    struct st_str from = before->channel.n > 0 ? before->channel : usual_channel(a);
    struct st_str to = after->channel.n > 0 ? after->channel : usual_channel(a);
    bool stays = after->channel.n == 0 && a->loose;
    enum st_code code = write_field(a, e, entity, "title", before->title, after->title);
    if (code == ST_OK)
        code = write_field(a, e, entity, "agent", before->agent, after->agent);
    if (code == ST_OK && !stays)
        code = write_field(a, e, entity, "channel", from, to);
    if (code == ST_OK)
        code = write_field(a, e, entity, "priority", st_queue_priority(before),
                           st_queue_priority(after));
    if (code == ST_OK)
        code = write_field(a, e, entity, "not_before", before->not_before, after->not_before);
    if (code == ST_OK)
        code = write_parent(a, e, entity, before->parent, after->parent);
    return code == ST_OK ? write_depends(a, e, entity, before->depends, after->depends) : code;
}

/*
 * Between words that do not end a task an edit is one of an attribute, as any other. What ends it or
 * opens it again is a wish, unless the task is not any more as its author was shown it, or this was
 * carried out before.
 */
static enum st_code write_state(struct st_queue_applier *a, const struct st_edit *e,
                                struct st_str entity, const struct st_task_line *before,
                                const struct st_task_line *after)
{
    struct st_str was = st_queue_word_of(before, NULL), is = st_queue_word_of(after, before);
    if (st_str_equal(was, is))
        return ST_OK;
    if (!ends(was) && !ends(is))
        return write_field(a, e, entity, "state", was, is);
    struct st_str now = st_queue_word_of(&a->now.line, NULL);
    struct st_view_fact f = fact_of(entity, "state", is);
    bool moved = ends(was) && !st_str_equal(now, was);
    if (st_str_equal(now, is) || moved || st_view_written_since(a->src, &f, e->dots, e->dot_count))
        return ST_OK;
    return wish(a, ST_WISH_STATE, entity, is);
}

static struct st_str entity_named(struct st_str seq, char out[ST_NUMBERED_SIZE + 1])
{
    int n = snprintf(out, ST_NUMBERED_SIZE + 1, "#%.*s", (int)seq.n, seq.p);
    return (struct st_str){out, (size_t)n};
}

enum st_code st_queue_apply_changed(struct st_queue_applier *a, const struct st_edit *e,
                                    struct st_str line)
{
    char name[ST_NUMBERED_SIZE + 1];
    struct st_task_line before, after;
    if (!st_queue_line_parse(e->before, &a->before, &before) ||
        !st_queue_line_parse(line, &a->after, &after))
        return ST_OK;
    struct st_str entity = entity_named(before.seq, name);
    enum st_code code = st_queue_task_read(&a->now, entity);
    if (code != ST_OK)
        return code == ST_NOT_FOUND ? ST_OK : code;
    code = write_fields(a, e, entity, &before, &after);
    return code == ST_OK ? write_state(a, e, entity, &before, &after) : code;
}

enum st_code st_queue_apply_removed(struct st_queue_applier *a, const struct st_edit *e)
{
    char name[ST_NUMBERED_SIZE + 1];
    struct st_task_line before;
    if (!st_queue_line_parse(e->before, &a->before, &before))
        return ST_OK;
    struct st_str entity = entity_named(before.seq, name);
    enum st_code code = st_queue_task_read(&a->now, entity);
    if (code != ST_OK)
        return code == ST_NOT_FOUND ? ST_OK : code;
    if (!ends(st_queue_word_of(&before, NULL)) || before.state.n > 0) {
        struct st_task_line gone = before;
        gone.box = ST_BOX_CANCELLED;
        return st_task_finished(a->now.summary.state) ? ST_OK
                                                      : write_state(a, e, entity, &before, &gone);
    }
    return st_task_finished(a->now.summary.state) && !a->now.unlisted
               ? write_field(a, e, entity, "unlisted", (struct st_str){"", 0}, ST_STR("yes"))
               : ST_OK;
}

/* --- new lines -------------------------------------------------------------------------------- */

/* A task that a new line means by its key: it is on the list again. */
static enum st_code apply_again(struct st_queue_applier *a, const struct st_task_line *after,
                                struct st_str entity)
{
    st_rendering_release(&a->dots);
    st_rendering_init(&a->dots);
    a->now.out = &a->dots;
    enum st_code code = st_queue_task_read(&a->now, entity);
    a->now.out = NULL;
    if (code != ST_OK)
        return code == ST_NOT_FOUND ? ST_OK : code;
    struct st_task_line before = a->now.line;
    if (!a->edits->base_known)
        return ST_OK; /* then nothing is changed */
    bool gone = before.box == ST_BOX_CANCELLED;
    if (!gone && !(a->now.unlisted && st_task_finished(a->now.summary.state))) {
        a->out->unknown += !st_str_equal(before.title, after->title);
        return ST_OK;
    }
    struct st_edit e = {
        .kind = ST_EDIT_CHANGED, .dots = a->dots.dots, .dot_count = a->dots.dot_count};
    if (a->now.unlisted) {
        struct st_view_fact f = fact_of(entity, "unlisted", (struct st_str){"", 0});
        if (!st_view_op_add(a->out, ST_OP_UNSET, &f, e.dots, e.dot_count))
            return ST_NO_MEMORY;
    }
    a->loose = true;
    code = write_fields(a, &e, entity, &before, after);
    a->loose = false;
    struct st_str was = st_queue_word_of(&before, NULL), is = st_queue_word_of(after, NULL);
    if (code == ST_OK && !st_str_equal(was, is))
        code = wish(a, ST_WISH_STATE, entity, ST_STR("open"));
    if (code == ST_OK && !st_str_equal(was, is) && !st_str_equal(is, ST_STR("open")))
        code = wish(a, ST_WISH_STATE, entity, is);
    return code;
}

/* Whether the task was made of this very line, and is on the list: a process died before it wrote
 * the file, or somebody has saved an old text once more. */
static enum st_code is_there(struct st_queue_applier *a, const char *number, bool *is)
{
    char name[ST_NUMBERED_SIZE + 1];
    enum st_code code = st_queue_task_read(&a->now, entity_named(st_str_of(number), name));
    bool finished = st_task_finished(a->now.summary.state);
    *is = code == ST_OK && a->now.summary.state != ST_TASK_CANCELLED &&
          (a->edits->base_known ? !(finished && a->now.unlisted) : !finished);
    return code == ST_NOT_FOUND ? ST_OK : code;
}

#define SAME_LINE_MAX 1000 /* times that one line was added, and its task left the list again */

/* The key of a new line: of its text, the rendering that it was added to, and how often it was
 * added. *there: its task is there already. */
static enum st_code line_key(struct st_queue_applier *a, struct st_str line, char key[32],
                             bool *there)
{
    uint64_t same = 0, text = st_checksum(line.p, line.n);
    enum st_code code = ST_OK;
    for (size_t i = 0; i < a->new_count; i++)
        same += a->new_lines[i] == text;
    a->new_lines[a->new_count++] = text;
    *there = true;
    for (uint64_t i = 0; code == ST_OK && *there && i < SAME_LINE_MAX; i++) {
        char number[ST_NUMBERED_SIZE + 1];
        uint64_t parts[] = {st_checksum(a->src->subject, strlen(a->src->subject)),
                            st_checksum(a->edits->base, strlen(a->edits->base)), text, same, i};
        snprintf(key, 32, ST_QUEUE_OWN_KEY "%016llx",
                 (unsigned long long)st_checksum(parts, sizeof parts));
        code = keyed(a, st_str_of(key), number);
        *there = false;
        if (code == ST_OK && number[0] != '\0') {
            code = is_there(a, number, there);
#ifdef ST_DEFECT_QUEUE_TWICE
            *there = false;
#endif
            if (*there)
                return code;
            *there = true; /* the next one */
        }
    }
    return code;
}

enum st_code st_queue_apply_added(struct st_queue_applier *a, struct st_str line)
{
    char name[ST_NUMBERED_SIZE + 1], key[32];
    struct st_wish w = {.kind = ST_WISH_ADD};
    struct st_task_line *t = &w.line;
    enum st_code code = ST_OK;
    bool there;
    if (!st_queue_line_parse(line, &a->after, t))
        return ST_OK;
    bool invented = t->seq.n > 0 && a->src->founding && memchr(t->seq.p, '@', t->seq.n) == NULL;
    if (t->seq.n > 0 && (!invented || known_entity(a, t->seq, name).n > 0)) {
        a->out->unknown++;
        return ST_OK;
    }
    if (t->key.n > 0) {
        code = keyed(a, t->key, name);
        if (code == ST_OK && name[0] != '\0') {
            char again[ST_NUMBERED_SIZE + 1];
            return apply_again(a, t, entity_named(st_str_of(name), again));
        }
    } else {
        code = line_key(a, line, key, &there);
        if (code != ST_OK || (there && t->seq.n == 0))
            return code;
        t->key = st_str_of(key);
        if (there)
            w.entity = st_str_of(key); /* for what other lines call it */
    }
    if (t->channel.n == 0)
        t->channel = usual_channel(a);
    w.value = st_queue_word_of(t, NULL);
    return code == ST_OK && !st_view_wish_add(a->out, &w) ? ST_NO_MEMORY : code;
}
