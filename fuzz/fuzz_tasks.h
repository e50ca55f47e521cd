/*
 * fuzz_tasks.h - the oracle that the fuzzers of the importers of tasks share.
 */
#ifndef STRATA_FUZZ_TASKS_H
#define STRATA_FUZZ_TASKS_H

#include "cli/task_import.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static inline void fuzz_text(const char *text)
{
    if (text == NULL || text[0] == '\0')
        abort();
}

static inline void fuzz_item(const strata_task_item *item)
{
    fuzz_text(item->key);
    fuzz_text(item->title);
    if (item->priority < STRATA_PRIORITY_NONE || item->priority > 4 ||
        (item->data_size > 0 && (item->data == NULL || item->data_size > 65536)) ||
        (item->imported_size > 0 && item->imported == NULL))
        abort();
    for (size_t i = 0; i < item->link_count; i++) {
        fuzz_text(item->links[i].kind);
        fuzz_text(item->links[i].key);
    }
}

/* What is refused says why, and in which line. True: it was accepted. */
static inline bool fuzz_tasks(struct task_items *t,
                              int (*parse)(struct task_items *t, const char *bytes, size_t n),
                              const uint8_t *bytes, size_t n)
{
    size_t lines = 1;
    for (size_t i = 0; i < n; i++)
        lines += bytes[i] == '\n';
    memset(t, 0, sizeof(*t));
    if (parse(t, (const char *)bytes, n) != STRATA_OK) {
        if (t->error[0] == '\0' || t->error_line == 0 || t->error_line > lines)
            abort();
        return false;
    }
    for (size_t i = 0; i < t->count; i++)
        fuzz_item(&t->list[i]);
    for (size_t i = 0; i < t->unread_count && i < TASK_UNREAD_MAX; i++)
        if (t->unread[i].from == 0 || t->unread[i].to < t->unread[i].from ||
            t->unread[i].to > lines)
            abort();
    return true;
}

#endif
