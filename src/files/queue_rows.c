/* queue_rows.c - see queue_rows.h. */
#include "files/queue_rows.h"

#include "store/alloc.h"
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

const char st_queue_more_open[] = "_There are more: `strata list`._";
const char st_queue_more_finished[] = "_Older ones: `strata list --all`._";

/* --- one task --------------------------------------------------------------------------------- */

void st_queue_reader_init(struct st_queue_reader *r, const struct st_view_source *src)
{
    *r = (struct st_queue_reader){.src = src};
    st_read_scratch_init(&r->scratch, st_alloc_libc());
    st_buf_init(&r->key, st_alloc_libc());
    st_buf_init(&r->depends, st_alloc_libc());
}

void st_queue_reader_release(struct st_queue_reader *r)
{
    st_read_scratch_release(&r->scratch);
    st_buf_release(&r->key);
    st_buf_release(&r->depends);
    st_arena_reset(&r->arena);
}

static struct st_str kept(struct st_queue_reader *r, struct st_str text)
{
    struct st_str copy = {st_arena_text(&r->arena, text), text.n};
    r->failed = r->failed || copy.p == NULL;
    return copy.p != NULL ? copy : (struct st_str){"", 0};
}

static void add_depends(struct st_queue_reader *r, const struct st_attribute *a)
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

static void add_dots(struct st_queue_reader *r, const struct st_attribute *a)
{
    bool shown = false;
    for (size_t i = 0; !shown && i < sizeof editable / sizeof editable[0]; i++)
        shown = st_str_equal(a->attribute, st_str_of(editable[i]));
    for (size_t i = 0; shown && r->out != NULL && i < a->count; i++)
        st_rendering_add_dot(r->out, a->items[i].dot);
}

static enum st_code read_attribute(void *arg, const struct st_attribute *a)
{
    struct st_queue_reader *r = arg;
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

static bool own_key(struct st_str key)
{
    return key.n > sizeof ST_QUEUE_OWN_KEY - 1 &&
           memcmp(key.p, ST_QUEUE_OWN_KEY, sizeof ST_QUEUE_OWN_KEY - 1) == 0;
}

static void fill_box(struct st_queue_reader *r, struct st_str entity)
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
enum st_code st_queue_task_read(struct st_queue_reader *r, struct st_str entity)
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
    if (!st_grow(&x->list, &x->cap, x->count + 1, sizeof *x->list))
        return ST_NO_MEMORY;
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

static enum st_code render_one(struct st_queue_reader *r, const struct id *id)
{
    char entity[ST_NUMBERED_SIZE + 1];
    size_t dots = r->out->dot_count;
    entity_of(id, entity);
    enum st_code code = st_queue_task_read(r, st_str_of(entity));
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

enum st_code st_queue_render(const struct st_view_source *src, struct st_rendering *out)
{
    struct ids x = {.src = src};
    struct st_queue_reader r;
    bool open = false, finished = false;
    st_queue_reader_init(&r, src);
    r.out = out;
    enum st_code code = find_open(&x, &open);
    if (code == ST_OK)
        code = find_finished(&x, &finished);
    if (x.count > 1)
        qsort(x.list, x.count, sizeof *x.list, compare_ids);
    if (code == ST_OK && finished)
        render_fixed(out, st_queue_more_finished);
    for (size_t i = 0; code == ST_OK && i < x.count; i++)
        code = render_one(&r, &x.list[i]);
    if (code == ST_OK && open)
        render_fixed(out, st_queue_more_open);
    st_queue_reader_release(&r);
    free(x.list);
    return code == ST_OK && out->failed ? ST_NO_MEMORY : code;
}
