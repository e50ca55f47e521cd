/*
 * task_table.c - tables of tasks in Markdown (task_queue.h):
 *
 *   | Order | Task | Status | Depends on |
 *   |---|---|---|---|
 *   | 059 | first | complete | |
 *
 * A table needs a column for what is to be done and one for how it stands. Columns for a name,
 * dependencies, an agent and a priority are taken, all others are data. `\|` is no end of a cell.
 */
#include "cli/task_queue.h"

#include <stdio.h>
#include <string.h>

static struct st_str trim(struct st_str s)
{
    while (s.n > 0 && strchr(" \t", s.p[0]) != NULL)
        s = (struct st_str){s.p + 1, s.n - 1};
    while (s.n > 0 && strchr(" \t", s.p[s.n - 1]) != NULL)
        s.n--;
    return s;
}

/* A cell that is all in stars or backquotes, without them. */
static struct st_str plain(struct st_str s)
{
    while (s.n >= 2 && s.p[0] == s.p[s.n - 1] && strchr("`*_", s.p[0]) != NULL)
        s = (struct st_str){s.p + 1, s.n - 2};
    return trim(s);
}

static size_t split(struct st_str line, struct st_str cells[TASK_COLUMNS_MAX])
{
    size_t count = 0;
    line = trim(line);
    line = (struct st_str){line.p + 1, line.n - 1};
    if (line.n > 0 && line.p[line.n - 1] == '|' && !(line.n > 1 && line.p[line.n - 2] == '\\'))
        line.n--;
    for (size_t i = 0, from = 0; i <= line.n; i++) {
        if (i < line.n && (line.p[i] != '|' || (i > 0 && line.p[i - 1] == '\\')))
            continue;
        if (count < TASK_COLUMNS_MAX)
            cells[count] = plain(trim((struct st_str){line.p + from, i - from}));
        count++;
        from = i + 1;
    }
    return count < TASK_COLUMNS_MAX ? count : TASK_COLUMNS_MAX;
}

static bool is_rule(struct st_str line)
{
    bool dash = false;
    for (size_t i = 0; i < line.n; i++) {
        if (line.p[i] == '\0' || strchr("|-: \t", line.p[i]) == NULL)
            return false;
        dash = dash || line.p[i] == '-';
    }
    return dash;
}

static bool one_of(struct st_str s, const char *const *words)
{
    for (; *words != NULL; words++)
        if (s.n == strlen(*words) && task_queue_says(s, *words))
            return true;
    return false;
}

static enum task_column kind_of(struct st_str head)
{
    static const char *const titles[] = {"task",        "title", "item",    "name", "what",
                                         "description", "todo",  "summary", NULL};
    static const char *const states[] = {"status", "state", NULL};
    static const char *const keys[] = {"id",    "key", "#",    "no",  "number", "order",
                                       "issue", "pr",  "bead", "seq", NULL};
    static const char *const fields[] = {"depends",  "depends on", "dependencies", "blocked by",
                                         "after",    "agent",      "owner",        "assignee",
                                         "priority", NULL};
    return one_of(head, titles)   ? COLUMN_TITLE
           : one_of(head, states) ? COLUMN_STATUS
           : one_of(head, keys)   ? COLUMN_KEY
           : one_of(head, fields) ? COLUMN_FIELD
                                  : COLUMN_TEXT;
}

static void read_head(struct task_table *t, struct st_str line)
{
    struct st_str cells[TASK_COLUMNS_MAX];
    bool title = false, status = false, key = false;
    t->columns = split(line, cells);
    for (size_t i = 0; i < t->columns; i++) {
        enum task_column kind = kind_of(cells[i]);
        /* The first of each counts. */
        bool again = (kind == COLUMN_TITLE && title) || (kind == COLUMN_STATUS && status) ||
                     (kind == COLUMN_KEY && key);
        t->kind[i] = again ? COLUMN_TEXT : kind;
        title = title || kind == COLUMN_TITLE;
        status = status || kind == COLUMN_STATUS;
        key = key || kind == COLUMN_KEY;
        (void)snprintf(t->head[i], sizeof(t->head[i]), "%.*s", (int)cells[i].n, cells[i].p);
    }
    t->readable = title && status;
}

/* `\|` */
static struct st_str unescaped(struct st_buf *text, struct st_str cell)
{
    size_t start = text->n;
    for (size_t i = 0; i < cell.n; i++)
        if (!(cell.p[i] == '\\' && i + 1 < cell.n && cell.p[i + 1] == '|'))
            st_buf_add_char(text, cell.p[i]);
    return (struct st_str){text->p + start, text->n - start};
}

static int read_row(struct task_queue *q, struct st_str line)
{
    const struct task_table *t = &q->table;
    struct st_str cells[TASK_COLUMNS_MAX], data;
    struct st_task_line task = {.box = ST_BOX_OPEN, .priority = -1};
    const char *state = "open";
    strata_task_item *item;
    size_t count = split(line, cells);
    st_buf_reset(&q->text);
    if (!st_buf_reserve(&q->text, 2 * line.n + 70 * TASK_COLUMNS_MAX))
        return task_items_fail(q->t, STRATA_NO_MEMORY, q->line, "out of memory");
    for (size_t i = 0; i < count && i < t->columns; i++) {
        if (t->kind[i] == COLUMN_TITLE)
            task.title = unescaped(&q->text, cells[i]);
        else if (t->kind[i] == COLUMN_STATUS)
            state = task_queue_state(cells[i]);
        else if (t->kind[i] == COLUMN_KEY)
            task.key = unescaped(&q->text, cells[i]);
    }
    int code = task_queue_add(q, &task, state, &item);
    size_t start = q->text.n;
    for (size_t i = 0; code == STRATA_OK && item != NULL && i < count && i < t->columns; i++) {
        bool taken = false;
        if (t->kind[i] == COLUMN_FIELD)
            code = task_queue_field(q, item, st_str_of(t->head[i]), cells[i], &taken);
        bool text = t->kind[i] == COLUMN_TEXT || (t->kind[i] == COLUMN_FIELD && !taken);
        if (!text || cells[i].n == 0)
            continue;
        if (q->text.n > start)
            st_buf_add_char(&q->text, '\n');
        st_buf_add_text(&q->text, t->head[i]);
        st_buf_add_text(&q->text, ": ");
        (void)unescaped(&q->text, cells[i]);
    }
    data = (struct st_str){q->text.p + start, q->text.n - start};
    if (code == STRATA_OK && item != NULL && data.n > 0) {
        item->data = task_items_text(q->t, data.p, data.n);
        item->data_size = data.n;
        q->failed = q->failed || item->data == NULL;
    }
    return code == STRATA_OK && (q->failed || q->text.failed)
               ? task_items_fail(q->t, STRATA_NO_MEMORY, q->line, "out of memory")
               : code;
}

int task_table_line(struct task_queue *q, struct st_str line)
{
    struct task_table *t = &q->table;
    if (t->from == 0) {
        t->from = q->line;
        t->lines = 0;
        read_head(t, line);
    }
    t->lines++;
    if (t->lines == 2 && !is_rule(line))
        t->readable = false; /* no table at all */
    return t->lines > 2 && t->readable ? read_row(q, line) : STRATA_OK;
}

void task_table_end(struct task_queue *q)
{
    struct task_table *t = &q->table;
    if (t->from != 0 && !t->readable)
        task_queue_note(q, t->from, t->from + t->lines - 1,
                        "a table without a column Task (or Title) and one Status");
    t->from = 0;
}
