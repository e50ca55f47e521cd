/*
 * view_queue.c - tasks, one line each (task_line.h), by number; with a subject those of one channel.
 *
 *   - [ ] [seq:142] [depends:141] [agent:code-intel] build frontend
 *
 * There is a line for every task that is not finished, and for the last of those that are done or
 * failed; what is cancelled has none. An edit is
 *   a box, a word       what became of the task, as `strata done`, `fail`, `cancel`, `update` would
 *   a title, a mark     the attribute, superseding what the line showed
 *   a new line          a new task; its seq, if it has one, is what other new lines call it
 *   a missing line      the task is cancelled; one that is finished leaves the list (`unlisted`)
 * A line without its seq that has the title or the key of a line that is missing is that line: who
 * writes the list anew in his own hand loses no task. What such a line leaves out is as it was.
 */
#include "files/queue_rows.h"

#include "store/log.h"

#include <stdio.h>
#include <stdlib.h>

/* --- lines ------------------------------------------------------------------------------------ */

bool st_queue_is_number(struct st_str name)
{
    char entity[ST_NUMBERED_SIZE + 1];
    struct st_task_id id;
    return name.n < ST_NUMBERED_SIZE &&
           snprintf(entity, sizeof entity, "#%.*s", (int)name.n, name.p) > 0 &&
           st_task_id_parse(st_str_of(entity), &id);
}

static bool identify(struct st_str line, struct st_str *id)
{
    return st_task_line_seq(line, id) && st_queue_is_number(*id);
}

static bool name_or_none(struct st_str name)
{
    return name.n == 0 || st_name_check(name) == ST_OK;
}

static bool is_valid(const struct st_task_line *t)
{
    uint64_t ms;
    struct st_str list = t->depends, name;
    bool valid = t->title.n > 0 && st_value_check(t->title) == ST_OK && name_or_none(t->key) &&
                 name_or_none(t->agent) && name_or_none(t->channel) && name_or_none(t->parent) &&
                 name_or_none(t->state) &&
                 (t->not_before.n == 0 || st_time_parse(t->not_before, &ms));
    while (valid && st_task_line_next(&list, &name))
        valid = st_name_check(name) == ST_OK;
    return valid && (t->seq.n == 0 || st_queue_is_number(t->seq));
}

bool st_queue_line_parse(struct st_str line, struct st_buf *text, struct st_task_line *out)
{
    if (!st_task_line_parse(line, text, out) || !is_valid(out))
        return false;
    if (out->seq.n > 0 && out->seq.p[0] == '#')
        out->seq = (struct st_str){out->seq.p + 1, out->seq.n - 1};
    return true;
}

static enum st_line_class classify(struct st_str line)
{
    struct st_buf text;
    struct st_task_line t;
    if (st_str_equal(line, st_str_of(st_queue_more_open)) ||
        st_str_equal(line, st_str_of(st_queue_more_finished)))
        return ST_LINE_FIXED;
    st_buf_init(&text, st_alloc_libc());
    bool good = st_queue_line_parse(line, &text, &t);
    bool known = good && t.seq.n > 0;
    st_buf_release(&text);
    return known ? ST_LINE_ITEM : good ? ST_LINE_NEW : ST_LINE_OTHER;
}

/* --- edits ------------------------------------------------------------------------------------ */

/* A line that is missing, under its title or its key. */
struct missing {
    uint64_t hash;
    size_t edit;
};

struct applier {
    const struct st_view_source *src;
    const struct st_edits *edits;
    struct st_file_ops *out;
    struct st_queue_reader now; /* the task as it stands */
    struct st_rendering dots;   /* of what it shows now */
    struct st_buf before, after;
    struct missing *missing; /* sorted */
    size_t missing_count;
    bool *found; /* of each edit: a line without an id is it */
    bool loose;  /* the line was written anew: what it leaves out is as it was */
    uint64_t *new_lines;
    size_t new_count;
};

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

static enum st_code wish(struct applier *a, enum st_wish_kind kind, struct st_str entity,
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

static enum st_code write_field(struct applier *a, const struct st_edit *e, struct st_str entity,
                                const char *attribute, struct st_str before, struct st_str after)
{
    if (st_str_equal(before, after) || (after.n == 0 && a->loose))
        return ST_OK;
    struct st_view_fact f = fact_of(entity, attribute, after);
    struct st_view_fact was = fact_of(entity, attribute, before);
    return st_view_register_write(a->src, &f, &was, e->dots, e->dot_count, &a->now.scratch, a->out);
}

/* "#12", when there is such a task; else empty. */
static struct st_str known_entity(struct applier *a, struct st_str name,
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

static enum st_code write_parent(struct applier *a, const struct st_edit *e, struct st_str entity,
                                 struct st_str before, struct st_str after)
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
static enum st_code keyed(struct applier *a, struct st_str key, char out[ST_NUMBERED_SIZE + 1])
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
static enum st_code as_number(struct applier *a, struct st_str *name,
                              char out[ST_NUMBERED_SIZE + 1])
{
    if (st_queue_is_number(*name))
        return ST_OK;
    enum st_code code = keyed(a, *name, out);
    if (code == ST_OK && out[0] != '\0')
        *name = st_str_of(out);
    return code;
}

static enum st_code has_name(struct applier *a, struct st_str list, struct st_str wanted, bool *has)
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
static enum st_code remove_link(struct applier *a, const struct st_edit *e, struct st_str entity,
                                struct st_str target)
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

static enum st_code write_depends(struct applier *a, const struct st_edit *e, struct st_str entity,
                                  struct st_str before, struct st_str after)
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
static struct st_str usual_channel(const struct applier *a)
{
    return st_str_of(a->src->subject);
}

struct st_str st_queue_priority(const struct st_task_line *t)
{
    static const char digits[] = "01234";
    return t->priority < 0 ? (struct st_str){"", 0} : (struct st_str){&digits[t->priority], 1};
}

static enum st_code write_fields(struct applier *a, const struct st_edit *e, struct st_str entity,
                                 const struct st_task_line *before,
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
static enum st_code write_state(struct applier *a, const struct st_edit *e, struct st_str entity,
                                const struct st_task_line *before, const struct st_task_line *after)
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

static enum st_code apply_changed(struct applier *a, const struct st_edit *e, struct st_str line)
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

static enum st_code apply_removed(struct applier *a, const struct st_edit *e)
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
static enum st_code apply_again(struct applier *a, const struct st_task_line *after,
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
static enum st_code is_there(struct applier *a, const char *number, bool *is)
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
static enum st_code line_key(struct applier *a, struct st_str line, char key[32], bool *there)
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

static enum st_code apply_added(struct applier *a, struct st_str line)
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

/* --- lines written anew ----------------------------------------------------------------------- */

static int compare_missing(const void *a, const void *b)
{
    const struct missing *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    return x->edit < y->edit ? -1 : x->edit > y->edit;
}

static uint64_t name_hash(char kind, struct st_str text)
{
    uint64_t parts[2] = {(uint64_t)kind, st_checksum(text.p, text.n)};
    return st_checksum(parts, sizeof parts);
}

static void add_missing(struct applier *a, char kind, struct st_str text, size_t edit)
{
    if (text.n > 0)
        a->missing[a->missing_count++] = (struct missing){name_hash(kind, text), edit};
}

static enum st_code find_missing(struct applier *a)
{
    const struct st_edits *e = a->edits;
    struct st_task_line t;
    a->missing = calloc(2 * e->count + 1, sizeof *a->missing);
    a->found = calloc(e->count + 1, sizeof *a->found);
    a->new_lines = calloc(e->count + 1, sizeof *a->new_lines);
    if (a->missing == NULL || a->found == NULL || a->new_lines == NULL)
        return ST_NO_MEMORY;
    for (size_t i = 0; i < e->count; i++) {
        if (e->list[i].kind != ST_EDIT_REMOVED ||
            !st_queue_line_parse(e->list[i].before, &a->before, &t))
            continue;
        add_missing(a, 't', t.title, i);
        add_missing(a, 'k', t.key, i);
    }
    if (a->missing_count > 1)
        qsort(a->missing, a->missing_count, sizeof *a->missing, compare_missing);
    return ST_OK;
}

/* The first line with this name that is missing and not yet found; SIZE_MAX: none. */
static size_t missing_named(struct applier *a, char kind, struct st_str text)
{
    uint64_t hash = name_hash(kind, text);
    size_t low = 0, high = a->missing_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (a->missing[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < a->missing_count && a->missing[low].hash == hash; low++) {
        struct st_task_line t;
        size_t i = a->missing[low].edit;
        if (!a->found[i] && st_queue_line_parse(a->edits->list[i].before, &a->before, &t) &&
            st_str_equal(kind == 't' ? t.title : t.key, text))
            return i;
    }
    return SIZE_MAX;
}

static enum st_code apply_new(struct applier *a, const struct st_edit *e)
{
    struct st_task_line t;
    if (!st_queue_line_parse(e->after, &a->after, &t))
        return ST_OK;
    size_t i = SIZE_MAX;
#ifndef ST_DEFECT_QUEUE_ANEW
    if (t.seq.n == 0 && t.key.n > 0)
        i = missing_named(a, 'k', t.key);
    else if (t.seq.n == 0)
        i = missing_named(a, 't', t.title);
#endif
    if (i == SIZE_MAX)
        return apply_added(a, e->after);
    a->found[i] = true;
    a->loose = true;
    enum st_code code = apply_changed(a, &a->edits->list[i], e->after);
    a->loose = false;
    return code;
}

static enum st_code apply(const struct st_view_source *src, const struct st_edits *edits,
                          struct st_file_ops *out)
{
    struct applier a = {.src = src, .edits = edits, .out = out};
    st_queue_reader_init(&a.now, src);
    st_rendering_init(&a.dots);
    st_buf_init(&a.before, st_alloc_libc());
    st_buf_init(&a.after, st_alloc_libc());
    enum st_code code = find_missing(&a);
    for (size_t i = 0; code == ST_OK && i < edits->count; i++)
        if (edits->list[i].kind == ST_EDIT_ADDED)
            code = apply_new(&a, &edits->list[i]);
    for (size_t i = 0; code == ST_OK && i < edits->count; i++) {
        const struct st_edit *e = &edits->list[i];
        if (e->kind == ST_EDIT_CHANGED)
            code = apply_changed(&a, e, e->after);
        else if (e->kind == ST_EDIT_REMOVED && !a.found[i])
            code = apply_removed(&a, e);
    }
    st_queue_reader_release(&a.now);
    st_rendering_release(&a.dots);
    st_buf_release(&a.before);
    st_buf_release(&a.after);
    free(a.missing);
    free(a.found);
    free(a.new_lines);
    return code;
}

static bool shows(const struct st_op *op)
{
    return op->kind != ST_OP_COUNT && st_entity_kind(op->entity) == ST_ENTITY_NUMBERED;
}

const struct st_view st_view_queue = {
    .name = "queue",
    .file = "QUEUE.md",
    .takes_subject = true,
    .names_are_ids = true,
    .shows_claims = true,
    .render = st_queue_render,
    .shows = shows,
    .identify = identify,
    .classify = classify,
    .apply = apply,
    .knows = st_queue_knows,
};
