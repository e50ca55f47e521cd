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
#include "files/view.h"

#include "core/task_internal.h"
#include "store/log.h"

#include <stdio.h>
#include <stdlib.h>

/* Lines of tasks that are not finished: some hundred pages; who has more looks with `strata list`. */
#define OPEN_MAX 10000
/* Finished ones with the highest numbers: what a person looks back through. */
#define FINISHED_MAX 1000
/* Numbers that are looked through for them: bounds what a rendering costs in a long-lived workspace.
 */
#define FINISHED_NUMBERS 65536

static const char more_open[] = "_There are more: `strata list`._";
static const char more_finished[] = "_Older ones: `strata list --all`._";

/* --- one task --------------------------------------------------------------------------------- */

/* A task as it stands: the line that it has, and what that line shows. */
struct reader {
    const struct st_view_source *src;
    struct st_read_scratch scratch;
    struct st_buf key, depends;
    struct st_arena arena; /* of the line's texts */
    struct st_task_line line;
    struct st_task summary;   /* without its texts */
    struct st_rendering *out; /* gets the dots; may be NULL */
    bool unlisted, failed;
};

static void reader_init(struct reader *r, const struct st_view_source *src)
{
    *r = (struct reader){.src = src};
    st_read_scratch_init(&r->scratch, st_alloc_libc());
    st_buf_init(&r->key, st_alloc_libc());
    st_buf_init(&r->depends, st_alloc_libc());
}

static void reader_release(struct reader *r)
{
    st_read_scratch_release(&r->scratch);
    st_buf_release(&r->key);
    st_buf_release(&r->depends);
    st_arena_reset(&r->arena);
}

static struct st_str kept(struct reader *r, struct st_str text)
{
    struct st_str copy = {st_arena_text(&r->arena, text), text.n};
    r->failed = r->failed || copy.p == NULL;
    return copy.p != NULL ? copy : (struct st_str){"", 0};
}

static void add_depends(struct reader *r, const struct st_attribute *a)
{
    struct st_task_id id;
    for (size_t i = 0; i < a->count; i++) {
        const struct st_item *item = &a->items[i];
        bool again =
            i > 0 && a->items[i - 1].kind == ST_ITEM_MEMBER && st_item_same(&a->items[i - 1], item);
        if (item->kind != ST_ITEM_MEMBER || again || !st_task_id_parse(item->value, &id))
            continue;
        if (r->depends.n > 0)
            st_buf_add_char(&r->depends, ',');
        st_buf_add(&r->depends, item->value.p + 1, item->value.n - 1);
    }
}

/* Attributes that a line can say something of. */
static const char *const editable[] = {"title",    "state",      "agent",  "channel",
                                       "priority", "not_before", "parent", "depends"};

static void add_dots(struct reader *r, const struct st_attribute *a)
{
    bool shown = false;
    for (size_t i = 0; !shown && i < sizeof editable / sizeof editable[0]; i++)
        shown = st_str_equal(a->attribute, st_str_of(editable[i]));
    for (size_t i = 0; shown && r->out != NULL && i < a->count; i++)
        st_rendering_add_dot(r->out, a->items[i].dot);
}

static enum st_code read_attribute(void *arg, const struct st_attribute *a)
{
    struct reader *r = arg;
    struct st_task_id id;
    add_dots(r, a);
#define IS(text) st_str_equal(a->attribute, ST_STR(text))
    if (IS("depends"))
        add_depends(r, a);
    if (a->shown >= a->count || a->items[a->shown].kind != ST_ITEM_VALUE)
        return r->failed ? ST_NO_MEMORY : ST_OK;
    struct st_str v = a->items[a->shown].value;
    if (IS("title"))
        r->line.title = kept(r, v);
    else if (IS("state") && r->summary.state == ST_TASK_HELD)
        r->line.state = kept(r, v);
    else if (IS("not_before") && r->summary.not_before_ms != 0)
        r->line.not_before = kept(r, v);
    else if (IS("parent") && st_task_id_parse(v, &id))
        r->line.parent = kept(r, (struct st_str){v.p + 1, v.n - 1});
    else if (IS("reported") && !st_task_finished(r->summary.state))
        r->line.state = v.n > 0 && v.p[0] == 'f' ? ST_STR("failed?") : ST_STR("done?");
    else if (IS("unlisted"))
        r->unlisted = true;
#undef IS
    return r->failed ? ST_NO_MEMORY : ST_OK;
}

/* Keys that were made for new lines say nothing to anybody. */
#define OWN_KEY "line:"

static bool own_key(struct st_str key)
{
    return key.n > sizeof OWN_KEY - 1 && memcmp(key.p, OWN_KEY, sizeof OWN_KEY - 1) == 0;
}

static void fill_box(struct reader *r, struct st_str entity)
{
    struct st_task_line *l = &r->line;
    const char *holder = r->src->holder != NULL && !st_task_finished(r->summary.state)
                             ? r->src->holder(r->src->holder_arg, entity)
                             : NULL;
    if (r->summary.state == ST_TASK_DONE || st_str_equal(l->state, ST_STR("done?")))
        l->box = ST_BOX_DONE;
    else if (r->summary.state == ST_TASK_FAILED || st_str_equal(l->state, ST_STR("failed?")))
        l->box = ST_BOX_FAILED;
    else if (r->summary.state == ST_TASK_CANCELLED)
        l->box = ST_BOX_CANCELLED;
    else if (holder != NULL || r->summary.state == ST_TASK_HELD)
        l->box = ST_BOX_BUSY;
    if (holder != NULL && l->box == ST_BOX_BUSY)
        l->claimed = kept(r, st_str_of(holder));
    if (st_str_equal(l->state, ST_STR("in_progress")))
        l->state.n = 0; /* that is what the box says */
}

/* ST_NOT_FOUND: there is no such task. */
static enum st_code task_read(struct reader *r, struct st_str entity)
{
    st_arena_reset(&r->arena);
    st_buf_reset(&r->depends);
    r->unlisted = false;
    r->line = (struct st_task_line){.box = ST_BOX_OPEN, .priority = -1};
    enum st_code code = st_task_read(r->src->kv, entity, &r->key, &r->summary);
    if (code == ST_OK && (!r->summary.is_task || r->summary.is_message))
        code = ST_NOT_FOUND;
    if (code != ST_OK)
        return code;
    r->line.seq = kept(r, (struct st_str){entity.p + 1, entity.n - 1});
    r->line.agent = kept(r, r->summary.agent);
    if (!own_key(r->summary.key))
        r->line.key = kept(r, r->summary.key);
    bool usual =
        st_str_equal(r->summary.channel, r->src->subject[0] != '\0' ? st_str_of(r->src->subject)
                                                                    : ST_STR(ST_CHANNEL_DEFAULT));
    if (!usual)
        r->line.channel = kept(r, r->summary.channel);
    if (r->summary.priority != ST_PRIORITY_DEFAULT)
        r->line.priority = r->summary.priority;
    code = st_attribute_each(r->src->kv, entity, (struct st_str){"", 0}, (struct st_str){"", 0},
                             &r->scratch, read_attribute, r);
    if (code != ST_OK)
        return code;
    fill_box(r, entity);
    r->line.depends = st_buf_str(&r->depends);
    return r->failed || r->depends.failed ? ST_NO_MEMORY : ST_OK;
}

/* --- which ------------------------------------------------------------------------------------ */

struct id {
    uint64_t number;
    char suffix[ST_SUFFIX_SIZE_MAX + 1];
};

struct ids {
    const struct st_view_source *src;
    struct id *list;
    size_t count, cap;
    size_t page; /* of one scan: at most so many; 0: no limit */
};

static enum st_code ids_add(struct ids *x, struct st_task_id id)
{
    if (x->count == x->cap) {
        size_t cap = x->cap == 0 ? 256 : x->cap * 2;
        struct id *p = realloc(x->list, cap * sizeof *p);
        if (p == NULL)
            return ST_NO_MEMORY;
        x->list = p;
        x->cap = cap;
    }
    struct id *one = &x->list[x->count++];
    one->number = id.number;
    snprintf(one->suffix, sizeof one->suffix, "%.*s", (int)id.suffix.n, id.suffix.p);
    return ST_OK;
}

static void entity_of(const struct id *id, char out[ST_NUMBERED_SIZE + 1])
{
    snprintf(out, ST_NUMBERED_SIZE + 1, "#%llu%s%s", (unsigned long long)id->number,
             id->suffix[0] != '\0' ? "@" : "", id->suffix);
}

static bool channel_fits(const struct ids *x, const struct st_task *t)
{
    return x->src->subject[0] == '\0' || st_str_equal(t->channel, st_str_of(x->src->subject));
}

static enum st_code visit_open(void *arg, struct st_str key, struct st_str value)
{
    struct ids *x = arg;
    struct st_task_id id;
    (void)value;
    if (!st_task_id_take(key, 2, &id))
        return ST_DAMAGED;
    enum st_code code = ids_add(x, id);
    return code == ST_OK && --x->page == 0 ? ST_SCAN_STOP : code;
}

/* Of those from `first` on only the ones of the channel stay. */
static enum st_code keep_fitting(struct ids *x, size_t first)
{
    struct st_buf key;
    enum st_code code = ST_OK;
    size_t to = first;
    st_buf_init(&key, st_alloc_libc());
    for (size_t i = first; code == ST_OK && i < x->count; i++) {
        char entity[ST_NUMBERED_SIZE + 1];
        struct st_task t;
        entity_of(&x->list[i], entity);
        code = st_task_read(x->src->kv, st_str_of(entity), &key, &t);
        if (code == ST_OK && channel_fits(x, &t))
            x->list[to++] = x->list[i];
    }
    x->count = to;
    st_buf_release(&key);
    return code;
}

/* What is not finished, by number; *more: there is more than OPEN_MAX. */
static enum st_code find_open(struct ids *x, bool *more)
{
    const struct st_kv *kv = x->src->kv;
    struct st_buf after;
    enum st_code code = ST_OK;
    bool last = false;
    st_buf_init(&after, st_alloc_libc());
    while (code == ST_OK && !last && x->count <= OPEN_MAX) {
        size_t first = x->count, page = OPEN_MAX + 1 - first;
        x->page = page;
        code = kv->scan(kv->ctx, ST_STR("qo"), st_buf_str(&after), visit_open, x);
        last = x->count < first + page;
        if (code != ST_OK || x->count == first)
            break;
        const struct id *id = &x->list[x->count - 1];
        st_buf_reset(&after);
        st_task_key_unfinished(&after, (struct st_task_id){id->number, st_str_of(id->suffix)});
        code = after.failed ? ST_NO_MEMORY : ST_OK;
        if (code == ST_OK && x->src->subject[0] != '\0')
            code = keep_fitting(x, first);
    }
    st_buf_release(&after);
    *more = x->count > OPEN_MAX;
    if (*more)
        x->count = OPEN_MAX;
    return code;
}

static enum st_code visit_any(void *arg, struct st_str key, struct st_str value)
{
    (void)key;
    (void)value;
    *(bool *)arg = true;
    return ST_SCAN_STOP;
}

static enum st_code is_behind(const struct st_kv *kv, struct st_buf *key, uint64_t number, bool *is)
{
    *is = false;
    st_buf_reset(key);
    st_task_key(key, (struct st_task_id){number, {"", 0}});
    return key->failed ? ST_NO_MEMORY
                       : kv->scan(kv->ctx, ST_STR("qt"), st_buf_str(key), visit_any, is);
}

/* The highest number that there is, or one less. */
static enum st_code find_top(const struct st_kv *kv, struct st_buf *key, uint64_t *top)
{
    uint64_t low = 0, high = 1;
    bool is = true;
    enum st_code code = ST_OK;
    while (code == ST_OK && is && high < ST_NUMBER_MAX) {
        code = is_behind(kv, key, high, &is);
        low = is ? high : low;
        high *= 2;
    }
    while (code == ST_OK && high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        code = is_behind(kv, key, middle, &is);
        low = is ? middle : low;
        high = is ? high : middle;
    }
    *top = low + 1;
    return code;
}

static enum st_code visit_finished(void *arg, struct st_str key, struct st_str value)
{
    struct ids *x = arg;
    struct st_task_id id;
    struct st_task t;
    if (!st_task_id_take(key, 2, &id) || st_task_decode(value, &t) != ST_OK)
        return ST_DAMAGED;
    bool shown = t.is_task && !t.is_message &&
                 (t.state == ST_TASK_DONE || t.state == ST_TASK_FAILED) && channel_fits(x, &t);
    return shown ? ids_add(x, id) : ST_OK;
}

/* The last ones that are done or failed: looked for in ever more numbers before the highest. */
static enum st_code find_finished(struct ids *x, bool *more)
{
    const struct st_kv *kv = x->src->kv;
    struct st_buf key;
    uint64_t top = 0, window = 2 * FINISHED_MAX;
    size_t first = x->count;
    st_buf_init(&key, st_alloc_libc());
    enum st_code code = find_top(kv, &key, &top);
    for (bool done = false; code == ST_OK && !done; window *= 4) {
        uint64_t after = top > window ? top - window : 0;
        x->count = first;
        st_buf_reset(&key);
        st_task_key(&key, (struct st_task_id){after, {"", 0}});
        code = key.failed ? ST_NO_MEMORY
                          : kv->scan(kv->ctx, ST_STR("qt"), st_buf_str(&key), visit_finished, x);
        done = after == 0 || x->count - first > FINISHED_MAX || window >= FINISHED_NUMBERS;
        *more = x->count - first > FINISHED_MAX || after > 0;
    }
    st_buf_release(&key);
    if (code == ST_OK && x->count - first > FINISHED_MAX) {
        size_t over = x->count - first - FINISHED_MAX;
        memmove(x->list + first, x->list + first + over, FINISHED_MAX * sizeof *x->list);
        x->count -= over;
    }
    return code;
}

static int compare_ids(const void *a, const void *b)
{
    const struct id *x = a, *y = b;
    if (x->number != y->number)
        return x->number < y->number ? -1 : 1;
    return strcmp(x->suffix, y->suffix);
}

/* --- rendering -------------------------------------------------------------------------------- */

static enum st_code render_one(struct reader *r, const struct id *id)
{
    char entity[ST_NUMBERED_SIZE + 1];
    size_t dots = r->out->dot_count;
    entity_of(id, entity);
    enum st_code code = task_read(r, st_str_of(entity));
    if (code == ST_NOT_FOUND ||
        (code == ST_OK && r->unlisted && st_task_finished(r->summary.state))) {
        r->out->dot_count = dots;
        return ST_OK;
    }
    if (code != ST_OK)
        return code;
    st_task_line_add(&r->out->text, &r->line);
    st_rendering_end_line(r->out);
    return r->out->failed ? ST_NO_MEMORY : ST_OK;
}

static void render_fixed(struct st_rendering *out, const char *line)
{
    st_buf_add_text(&out->text, line);
    st_rendering_end_line(out);
}

static enum st_code render(const struct st_view_source *src, struct st_rendering *out)
{
    struct ids x = {.src = src};
    struct reader r;
    bool open = false, finished = false;
    reader_init(&r, src);
    r.out = out;
    enum st_code code = find_open(&x, &open);
    if (code == ST_OK)
        code = find_finished(&x, &finished);
    if (x.count > 1)
        qsort(x.list, x.count, sizeof *x.list, compare_ids);
    if (code == ST_OK && finished)
        render_fixed(out, more_finished);
    for (size_t i = 0; code == ST_OK && i < x.count; i++)
        code = render_one(&r, &x.list[i]);
    if (code == ST_OK && open)
        render_fixed(out, more_open);
    reader_release(&r);
    free(x.list);
    return code == ST_OK && out->failed ? ST_NO_MEMORY : code;
}

/* --- lines ------------------------------------------------------------------------------------ */

static bool is_number(struct st_str name)
{
    char entity[ST_NUMBERED_SIZE + 1];
    struct st_task_id id;
    return name.n < ST_NUMBERED_SIZE &&
           snprintf(entity, sizeof entity, "#%.*s", (int)name.n, name.p) > 0 &&
           st_task_id_parse(st_str_of(entity), &id);
}

static bool identify(struct st_str line, struct st_str *id)
{
    return st_task_line_seq(line, id) && is_number(*id);
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
    return valid && (t->seq.n == 0 || is_number(t->seq));
}

static bool parse(struct st_str line, struct st_buf *text, struct st_task_line *out)
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
    if (st_str_equal(line, st_str_of(more_open)) || st_str_equal(line, st_str_of(more_finished)))
        return ST_LINE_FIXED;
    st_buf_init(&text, st_alloc_libc());
    bool good = parse(line, &text, &t);
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
    struct reader now;        /* the task as it stands */
    struct st_rendering dots; /* of what it shows now */
    struct st_buf before, after;
    struct missing *missing; /* sorted */
    size_t missing_count;
    bool *found; /* of each edit: a line without an id is it */
    bool loose;  /* the line was written anew: what it leaves out is as it was */
    uint64_t *new_lines;
    size_t new_count;
};

/* What a box and a state mark say. `before` is the line as it was; NULL: there was none. */
static struct st_str word_of(const struct st_task_line *t, const struct st_task_line *before)
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
            return word_of(before, NULL);
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
    int n = is_number(name) ? snprintf(out, ST_NUMBERED_SIZE + 1, "#%.*s", (int)name.n, name.p) : 0;
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
    if (is_number(*name))
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
        if (code == ST_OK && !has && is_number(name)) {
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

static struct st_str priority_of(const struct st_task_line *t)
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
        code = write_field(a, e, entity, "priority", priority_of(before), priority_of(after));
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
    struct st_str was = word_of(before, NULL), is = word_of(after, before);
    if (st_str_equal(was, is))
        return ST_OK;
    if (!ends(was) && !ends(is))
        return write_field(a, e, entity, "state", was, is);
    struct st_str now = word_of(&a->now.line, NULL);
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
    if (!parse(e->before, &a->before, &before) || !parse(line, &a->after, &after))
        return ST_OK;
    struct st_str entity = entity_named(before.seq, name);
    enum st_code code = task_read(&a->now, entity);
    if (code != ST_OK)
        return code == ST_NOT_FOUND ? ST_OK : code;
    code = write_fields(a, e, entity, &before, &after);
    return code == ST_OK ? write_state(a, e, entity, &before, &after) : code;
}

static enum st_code apply_removed(struct applier *a, const struct st_edit *e)
{
    char name[ST_NUMBERED_SIZE + 1];
    struct st_task_line before;
    if (!parse(e->before, &a->before, &before))
        return ST_OK;
    struct st_str entity = entity_named(before.seq, name);
    enum st_code code = task_read(&a->now, entity);
    if (code != ST_OK)
        return code == ST_NOT_FOUND ? ST_OK : code;
    if (!ends(word_of(&before, NULL)) || before.state.n > 0) {
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
    enum st_code code = task_read(&a->now, entity);
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
    struct st_str was = word_of(&before, NULL), is = word_of(after, NULL);
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
    enum st_code code = task_read(&a->now, entity_named(st_str_of(number), name));
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
        snprintf(key, 32, OWN_KEY "%016llx", (unsigned long long)st_checksum(parts, sizeof parts));
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
    if (!parse(line, &a->after, t))
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
    w.value = word_of(t, NULL);
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
        if (e->list[i].kind != ST_EDIT_REMOVED || !parse(e->list[i].before, &a->before, &t))
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
        if (!a->found[i] && parse(a->edits->list[i].before, &a->before, &t) &&
            st_str_equal(kind == 't' ? t.title : t.key, text))
            return i;
    }
    return SIZE_MAX;
}

static enum st_code apply_new(struct applier *a, const struct st_edit *e)
{
    struct st_task_line t;
    if (!parse(e->after, &a->after, &t))
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
    reader_init(&a.now, src);
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
    reader_release(&a.now);
    st_rendering_release(&a.dots);
    st_buf_release(&a.before);
    st_buf_release(&a.after);
    free(a.missing);
    free(a.found);
    free(a.new_lines);
    return code;
}

const struct st_view st_view_queue = {
    .name = "queue",
    .file = "QUEUE.md",
    .takes_subject = true,
    .names_are_ids = true,
    .shows_claims = true,
    .render = render,
    .identify = identify,
    .classify = classify,
    .apply = apply,
};
