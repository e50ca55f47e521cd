/*
 * fuzz_import_beads.c - any bytes as input of `strata import --format beads`. Of what is accepted,
 * an export has to give back every field with the value that it came with.
 */
#include "fuzz_tasks.h"

static const char *key_of(void *arg, const char *id)
{
    (void)arg;
    return id;
}

static bool is_known(void *arg, const char *key)
{
    (void)arg;
    (void)key;
    return false;
}

/* Not what it waits for: that is the business of links, which are not here. */
static void comes_back(const strata_task_item *item, json_t *o)
{
    const struct task_names names = {key_of, is_known, NULL};
    const char *state = item->state != NULL ? item->state : "ready";
    strata_task t = {
        .id = item->key,
        .title = item->title,
        .state = state,
        .finished = strcmp(state, "done") == 0 || strcmp(state, "failed") == 0 ||
                    strcmp(state, "cancelled") == 0,
        .priority = item->priority >= 0 ? item->priority : 2,
        .key = item->key,
        .data = item->data,
        .data_size = item->data_size,
        .imported = item->imported,
        .imported_size = item->imported_size,
    };
    json_t *back = task_beads_object(&t, &names), *value;
    const char *name;
    if (back == NULL)
        abort();
    json_object_foreach(o, name, value) if (strcmp(name, "dependencies") != 0 &&
                                            !json_equal(value, json_object_get(back, name)))
        abort();
    json_decref(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct task_items t;
    const char *p = (const char *)bytes;
    if (fuzz_tasks(&t, task_beads_parse, bytes, n)) {
        size_t item = 0;
        for (size_t at = 0; at < n;) {
            const char *end = memchr(p + at, '\n', n - at);
            size_t size = end != NULL ? (size_t)(end - p) - at : n - at;
            json_t *o = json_loadb(p + at, size, JSON_REJECT_DUPLICATES, NULL);
            if (o != NULL)
                comes_back(&t.list[item++], o);
            json_decref(o);
            at += size + 1;
        }
        if (item != t.count)
            abort();
    }
    task_items_release(&t);
    return 0;
}
