/* task_items.c - what was read of another tracker's tasks, and the memory that it is in. */
#include "cli/task_import.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void task_items_release(struct task_items *t)
{
    for (size_t i = 0; i < t->text_count; i++)
        free(t->texts[i]);
    free(t->texts);
    free(t->list);
    *t = (struct task_items){.count = 0};
}

void *task_items_memory(struct task_items *t, size_t size)
{
    if (t->text_count == t->text_cap) {
        size_t cap = t->text_cap == 0 ? 256 : t->text_cap * 2;
        void **texts = realloc(t->texts, cap * sizeof(*texts));
        if (texts == NULL)
            return NULL;
        t->texts = texts;
        t->text_cap = cap;
    }
    void *p = calloc(1, size);
    if (p != NULL)
        t->texts[t->text_count++] = p;
    return p;
}

char *task_items_text(struct task_items *t, const char *p, size_t n)
{
    char *copy = task_items_memory(t, n + 1);
    if (copy != NULL && n > 0)
        memcpy(copy, p, n);
    return copy;
}

strata_task_item *task_items_add(struct task_items *t)
{
    if (t->count == t->cap) {
        size_t cap = t->cap == 0 ? 256 : t->cap * 2;
        strata_task_item *list = realloc(t->list, cap * sizeof(*list));
        if (list == NULL)
            return NULL;
        t->list = list;
        t->cap = cap;
    }
    strata_task_item *item = &t->list[t->count++];
    *item = (strata_task_item){.priority = STRATA_PRIORITY_NONE};
    return item;
}

int task_items_fail(struct task_items *t, int code, size_t line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(t->error, sizeof(t->error), format, args);
    va_end(args);
    t->error_line = line;
    return code;
}
