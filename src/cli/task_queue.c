/*
 * task_queue.c - task lists in Markdown, as people and agents keep them:
 *
 *   - [ ] title            an item with a box and marks, as in files/task_line.h
 *   ## title               a heading with a line `- Status: ...` below it, and more such lines
 *   | Task | Status |      a table with these two columns at least (task_table.c)
 *
 * An item is known by its [key:..], else by its [seq:..], else by a name in front of its title, as in
 * `PR-12: title`, else by its title; others wait for it by that name. An open box below a heading
 * that says how things stand there ("In Progress", "Blocked") is held by that. What is said of a
 * heading's item beside status, dependencies, agent and priority is its data. Blocks that are Strata's
 * own, and code, are passed over. What looks like tasks and cannot be read is noted with its lines.
 */
#include "cli/task_queue.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- words ------------------------------------------------------------------------------------ */

static struct st_str trim(struct st_str s, const char *ends)
{
    while (s.n > 0 && s.p[0] != '\0' && strchr(ends, s.p[0]) != NULL)
        s = (struct st_str){s.p + 1, s.n - 1};
    while (s.n > 0 && s.p[s.n - 1] != '\0' && strchr(ends, s.p[s.n - 1]) != NULL)
        s.n--;
    return s;
}

bool task_queue_says(struct st_str s, const char *word)
{
    size_t n = strlen(word);
    return s.n >= n && strncasecmp(s.p, word, n) == 0 &&
           (s.n == n || !isalnum((unsigned char)s.p[n]));
}

const char *task_queue_state(struct st_str status)
{
    static const struct {
        const char *word, *state;
    } words[] = {{"todo", "open"},
                 {"to do", "open"},
                 {"open", "open"},
                 {"ready", "open"},
                 {"pending", "open"},
                 {"queued", "open"},
                 {"backlog", "open"},
                 {"new", "open"},
                 {"[ ]", "open"},
                 {"done", "done"},
                 {"complete", "done"},
                 {"completed", "done"},
                 {"closed", "done"},
                 {"merged", "done"},
                 {"finished", "done"},
                 {"[x]", "done"},
                 {"cancelled", "cancelled"},
                 {"canceled", "cancelled"},
                 {"dropped", "cancelled"},
                 {"failed", "failed"},
                 {"doing", "in_progress"},
                 {"in progress", "in_progress"},
                 {"in_progress", "in_progress"},
                 {"in-progress", "in_progress"},
                 {"wip", "in_progress"},
                 {"active", "in_progress"},
                 {"blocked", "blocked"}};
    status = trim(status, " \t*`_");
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (task_queue_says(status, words[i].word))
            return words[i].state;
    return status.n == 0 ? "open" : "held";
}

/* --- items ------------------------------------------------------------------------------------ */

/* "PR-12: title": its name. */
static struct st_str leading_name(struct st_str title)
{
    size_t n = 0;
    bool dash = false, digit = false;
    while (n < title.n &&
           (isalnum((unsigned char)title.p[n]) || strchr("-_.", title.p[n]) != NULL) &&
           title.p[n] != '\0') {
        dash = dash || title.p[n] == '-';
        digit = digit || isdigit((unsigned char)title.p[n]);
        n++;
    }
    bool is =
        dash && digit && n < title.n && title.p[n] == ':' && isalpha((unsigned char)title.p[0]);
    return (struct st_str){title.p, is ? n : 0};
}

/* Keys are names: at most 255 bytes, cut at a character. */
static struct st_str cut_key(struct st_str key)
{
    if (key.n > TASK_KEY_MAX)
        for (key.n = TASK_KEY_MAX; key.n > 0 && ((unsigned char)key.p[key.n] & 0xc0) == 0x80;)
            key.n--;
    return trim(key, " \t");
}

static const char *keep(struct task_queue *q, struct st_str s)
{
    const char *text = task_items_text(q->t, s.p, s.n);
    q->failed = q->failed || text == NULL;
    return text;
}

static const char *keep_some(struct task_queue *q, struct st_str s)
{
    return s.n > 0 ? keep(q, s) : NULL;
}

static void keep_links(struct task_queue *q, strata_task_item *item, struct st_str list)
{
    struct st_str rest = list, name;
    size_t count = 0;
    while (st_task_line_next(&rest, &name))
        count++;
    struct strata_task_link *links =
        count > 0 ? task_items_memory(q->t, count * sizeof(*links)) : NULL;
    q->failed = q->failed || (count > 0 && links == NULL);
    item->links = links;
    item->link_count = 0;
    while (links != NULL && st_task_line_next(&list, &name)) {
        struct st_str id = leading_name(name); /* "PR-1: what it is called" */
        links[item->link_count++] =
            (struct strata_task_link){"depends", keep(q, id.n > 0 ? id : name)};
    }
}

int task_queue_add(struct task_queue *q, const struct st_task_line *line, const char *state,
                   strata_task_item **out)
{
    struct st_str key = line->key.n > 0   ? line->key
                        : line->seq.n > 0 ? line->seq
                                          : leading_name(line->title);
    *out = NULL;
    if (line->title.n == 0)
        return STRATA_OK;
    strata_task_item *item = task_items_add(q->t);
    if (item == NULL)
        return task_items_fail(q->t, STRATA_NO_MEMORY, q->line, "out of memory");
    item->key = keep(q, cut_key(key.n > 0 ? key : line->title));
    item->title = keep(q, line->title);
    item->state = strcmp(state, "open") == 0 ? NULL : keep(q, st_str_of(state));
    item->agent = keep_some(q, line->agent);
    item->channel = keep_some(q, line->channel);
    item->parent = keep_some(q, line->parent);
    item->not_before = keep_some(q, line->not_before);
    if (line->priority >= 0)
        item->priority = line->priority;
    keep_links(q, item, line->depends);
    *out = item;
    return q->failed ? task_items_fail(q->t, STRATA_NO_MEMORY, q->line, "out of memory")
                     : STRATA_OK;
}

/* --- boxes ------------------------------------------------------------------------------------ */

static int read_box(struct task_queue *q, struct st_str line)
{
    struct st_task_line t;
    strata_task_item *item;
    const char *state;
    if (!st_task_line_parse(line, &q->text, &t))
        return task_items_fail(q->t, STRATA_INVALID, q->line,
                               "a mark in brackets is there twice or says what it cannot");
    switch (t.box) {
    case ST_BOX_DONE:
        state = "done";
        break;
    case ST_BOX_FAILED:
        state = "failed";
        break;
    case ST_BOX_CANCELLED:
        state = "cancelled";
        break;
    case ST_BOX_BUSY:
        state = t.state.n > 0 ? keep(q, t.state) : "in_progress";
        break;
    default:
        state = t.state.n > 0 ? keep(q, t.state) : q->section;
    }
    return task_queue_add(q, &t, state != NULL ? state : "open", &item);
}

/* "- [?] title": a box, but not one that is known. */
static bool strange_box(struct st_str line)
{
    line = trim(line, " \t");
    return line.n > 6 && strchr("-*+", line.p[0]) != NULL && memcmp(line.p + 1, " [", 2) == 0 &&
           line.p[4] == ']' && line.p[5] == ' ';
}

/* --- headings --------------------------------------------------------------------------------- */

/* "- **Name:** value", "Name: value" */
static bool field_of(struct st_str line, struct st_str *name, struct st_str *value)
{
    line = trim(line, " \t");
    if (line.n > 2 && strchr("-*+", line.p[0]) != NULL && line.p[1] == ' ')
        line = trim((struct st_str){line.p + 2, line.n - 2}, " \t");
    const char *colon = line.n > 0 ? memchr(line.p, ':', line.n < 40 ? line.n : 40) : NULL;
    if (colon == NULL)
        return false;
    *name = trim((struct st_str){line.p, (size_t)(colon - line.p)}, " *`_");
    *value = trim((struct st_str){colon + 1, line.n - (size_t)(colon - line.p) - 1}, " \t*`_");
    return name->n > 0;
}

static int read_heading(struct task_queue *q, struct st_str line)
{
    struct st_str title = trim(line, "# \t");
    const char *state = task_queue_state(title);
    q->item = NULL;
    q->section =
        strcmp(state, "in_progress") == 0 || strcmp(state, "blocked") == 0 ? state : "open";
    st_buf_reset(&q->heading);
    st_buf_add_str(&q->heading, title);
    return q->heading.failed ? task_items_fail(q->t, STRATA_NO_MEMORY, q->line, "out of memory")
                             : STRATA_OK;
}

static int add_data(struct task_queue *q, struct st_str line)
{
    strata_task_item *item = &q->t->list[q->item_index];
    struct st_buf all;
    st_buf_init(&all, st_alloc_libc());
    if (item->data != NULL) {
        st_buf_add(&all, item->data, item->data_size);
        st_buf_add_char(&all, '\n');
    }
    st_buf_add_str(&all, line);
    item->data = keep(q, st_buf_str(&all));
    item->data_size = all.n;
    q->failed = q->failed || all.failed;
    bool over = all.n > TASK_DATA_MAX;
    st_buf_release(&all);
    if (over)
        return task_items_fail(q->t, STRATA_LIMIT, q->line, "more than %d bytes of one task",
                               TASK_DATA_MAX);
    return q->failed ? task_items_fail(q->t, STRATA_NO_MEMORY, q->line, "out of memory")
                     : STRATA_OK;
}

int task_queue_field(struct task_queue *q, strata_task_item *item, struct st_str name,
                     struct st_str value, bool *taken)
{
    *taken = true;
    if (task_queue_says(name, "depends") || task_queue_says(name, "dependencies") ||
        task_queue_says(name, "blocked by") || task_queue_says(name, "after")) {
        keep_links(q, item, value);
    } else if (task_queue_says(name, "agent") || task_queue_says(name, "owner") ||
               task_queue_says(name, "assignee")) {
        if (!task_queue_says(value, "none") && !st_str_equal(value, ST_STR("-")))
            item->agent = keep_some(q, value);
    } else if (task_queue_says(name, "priority")) {
        struct st_str digit = value.n == 2 && toupper((unsigned char)value.p[0]) == 'P'
                                  ? (struct st_str){value.p + 1, 1}
                                  : value;
        *taken = digit.n == 1 && digit.p[0] >= '0' && digit.p[0] <= '4';
        if (*taken)
            item->priority = digit.p[0] - '0';
    } else {
        *taken = false;
    }
    return q->failed ? task_items_fail(q->t, STRATA_NO_MEMORY, q->line, "out of memory")
                     : STRATA_OK;
}

/* A line below a heading: its item begins with the status; what stands before that is kept. */
static int read_below(struct task_queue *q, struct st_str line)
{
    struct st_str name = {"", 0}, value = {"", 0};
    bool field = field_of(line, &name, &value), taken = false;
    int code = STRATA_OK;
    if (q->item == NULL && field && q->heading.n > 0 && task_queue_says(name, "status")) {
        struct st_buf title = q->heading;
        struct st_task_line t = {.box = ST_BOX_OPEN, .priority = -1, .title = st_buf_str(&title)};
        code = task_queue_add(q, &t, task_queue_state(value), &q->item);
        q->item_index = q->t->count - 1;
        return code;
    }
    if (q->item == NULL || trim(line, " \t").n == 0)
        return STRATA_OK;
    if (field)
        code = task_queue_field(q, &q->t->list[q->item_index], name, value, &taken);
    return code == STRATA_OK && !taken ? add_data(q, line) : code;
}

/* --- lines ------------------------------------------------------------------------------------ */

void task_queue_note(struct task_queue *q, size_t from, size_t to, const char *why)
{
    struct task_items *t = q->t;
    if (t->unread_count < TASK_UNREAD_MAX)
        t->unread[t->unread_count] = (struct task_unread){from, to, why};
    t->unread_count++;
}

static bool begins(struct st_str line, const char *text)
{
    size_t n = strlen(text);
    line = trim(line, " \t");
    return line.n >= n && memcmp(line.p, text, n) == 0;
}

/* Whether the line is of a block that Strata wrote, or of code. */
static bool passed_over(struct task_queue *q, struct st_str line)
{
    bool fence = begins(line, "```") || begins(line, "~~~");
    if (begins(line, "<!-- strata:begin ")) {
        q->own = true;
        task_queue_note(q, q->line, q->line, "a view of Strata: its lines are tasks already");
    }
    bool over = q->own || q->code || fence;
    if (begins(line, "<!-- strata:end "))
        q->own = false;
    if (fence && !q->own)
        q->code = !q->code;
    return over;
}

static int read_line(struct task_queue *q, struct st_str line)
{
    struct st_str rest;
    char box;
    if (passed_over(q, line))
        return q->item != NULL && !q->own ? add_data(q, line) : STRATA_OK;
    if (begins(line, "|"))
        return task_table_line(q, line);
    task_table_end(q);
    if (line.n > 0 && line.p[0] == '#')
        return read_heading(q, line);
    /* A list below an item that a heading made is its own text. */
    if (q->item == NULL && st_task_line_box(line, &box, &rest))
        return read_box(q, line);
    if (q->item == NULL && strange_box(line))
        task_queue_note(q, q->line, q->line, "a box that is not known");
    return read_below(q, line);
}

/* --- names that are there twice ----------------------------------------------------------------- */

static int compare_keys(const void *a, const void *b)
{
    const strata_task_item *const *x = a, *const *y = b;
    int order = strcmp((*x)->key, (*y)->key);
    return order != 0 ? order : *x < *y ? -1 : *x > *y;
}

/* The second "tests" is known as "tests #2". */
static int tell_apart(struct task_queue *q)
{
    struct task_items *t = q->t;
    strata_task_item **sorted = calloc(t->count + 1, sizeof(*sorted));
    size_t same = 1;
    if (sorted == NULL)
        return task_items_fail(t, STRATA_NO_MEMORY, 0, "out of memory");
    for (size_t i = 0; i < t->count; i++)
        sorted[i] = &t->list[i];
    if (t->count > 1)
        qsort(sorted, t->count, sizeof(*sorted), compare_keys);
    const char *first = t->count > 0 ? sorted[0]->key : NULL;
    for (size_t i = 1; i < t->count && !q->failed; i++) {
        if (strcmp(sorted[i]->key, first) != 0) {
            first = sorted[i]->key;
            same = 1;
            continue;
        }
        char text[TASK_KEY_MAX + 32];
        int n = snprintf(
            text, sizeof(text), "%.*s #%zu",
            (int)cut_key((struct st_str){first, strlen(first) < 230 ? strlen(first) : 230}).n,
            first, ++same);
        sorted[i]->key = keep(q, (struct st_str){text, (size_t)n});
    }
    free(sorted);
    return q->failed ? task_items_fail(t, STRATA_NO_MEMORY, 0, "out of memory") : STRATA_OK;
}

int task_queue_parse(struct task_items *t, const char *bytes, size_t n)
{
    struct task_queue q = {.t = t, .section = "open"};
    int code = STRATA_OK;
    st_buf_init(&q.text, st_alloc_libc());
    st_buf_init(&q.heading, st_alloc_libc());
    if (n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) {
        bytes += 3;
        n -= 3;
    }
    for (size_t at = 0; at < n && code == STRATA_OK;) {
        const char *end = memchr(bytes + at, '\n', n - at);
        size_t size = end != NULL ? (size_t)(end - bytes) - at : n - at;
        struct st_str line = {bytes + at, size};
        q.line++;
        if (line.n > 0 && line.p[line.n - 1] == '\r')
            line.n--;
        if (memchr(line.p, '\0', line.n) != NULL)
            code = task_items_fail(t, STRATA_INVALID, q.line, "a NUL byte");
        else if (line.n > TASK_DATA_MAX)
            code = task_items_fail(t, STRATA_LIMIT, q.line, "a line has more than %d bytes",
                                   TASK_DATA_MAX);
        else
            code = read_line(&q, line);
        at += size + 1;
    }
    task_table_end(&q);
    if (code == STRATA_OK)
        code = tell_apart(&q);
    st_buf_release(&q.text);
    st_buf_release(&q.heading);
    return code;
}
