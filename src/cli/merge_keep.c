/* merge_keep.c - see merge_keep.h. */
#include "cli/merge_keep.h"

#include <stdlib.h>
#include <string.h>

/* Git waits for us: nobody is kept waiting by a lock for longer than this. Milliseconds. */
#define WAIT_MS 2000

static void add(struct merge_keep *k, char *place, struct st_str taken, struct st_str other)
{
    if (k->count == k->cap && k->cap < MERGE_KEEP_MAX) {
        size_t cap = k->cap > 0 ? 4 * k->cap : 16;
        cap = cap < MERGE_KEEP_MAX ? cap : MERGE_KEEP_MAX;
        strata_merge_conflict *list = realloc(k->list, cap * sizeof(*list));
        if (list != NULL) {
            k->list = list;
            k->cap = cap;
        }
    }
    if (place == NULL || k->count == k->cap) {
        free(place);
        k->left_out++;
        return;
    }
    k->list[k->count++] = (strata_merge_conflict){place, {taken.p, taken.n}, {other.p, other.n}};
}

/* A JSON string as it reads, if that is simple. */
static struct st_str plain(struct st_str json)
{
    bool simple = json.n > 2 && json.p[0] == '"' && memchr(json.p, '\\', json.n) == NULL;
    return simple ? (struct st_str){json.p + 1, json.n - 2} : json;
}

static char *place_of(struct st_str id, struct st_str field)
{
    char *place = malloc(id.n + field.n + 3);
    if (place != NULL)
        (void)snprintf(place, id.n + field.n + 3, "%.*s%s%.*s", (int)id.n, id.p,
                       field.n > 0 ? ": " : "", (int)field.n, field.n > 0 ? field.p : "");
    return place;
}

void merge_keep_note(struct merge_keep *k, const struct st_jsonl_note *n)
{
    bool kept = n->kind == ST_JSONL_KEPT && !n->said_nothing;
    if (n->kind == ST_JSONL_FIELD || n->kind == ST_JSONL_WHOLE || kept)
        add(k, place_of(plain(n->id), n->field.p != NULL ? plain(n->field) : (struct st_str){0}),
            n->shown, kept ? (struct st_str){0} : n->other);
}

void merge_keep_overlap(struct merge_keep *k, size_t line, struct st_str ours, struct st_str theirs)
{
    char *place = malloc(32);
    if (place != NULL)
        (void)snprintf(place, 32, "line %zu", line);
    add(k, place, ours, theirs);
}

static void not_kept(struct cli *c, const strata_error *error)
{
    char message[512];
    cli_warn(c, "what is listed could not be kept for `strata pending`: %s",
             cli_clean(error->message, message, sizeof(message)));
}

size_t merge_keep_write(struct merge_keep *k, struct cli *c, const char *path)
{
    strata_error error = {0};
    strata *s = NULL;
    size_t kept = 0;
    if (k->count == 0 || cli_find_agent(c) != 0)
        return 0;
    strata_options options = {.size = sizeof(options),
                              .state_dir = c->state_dir,
                              .agent = c->agent,
                              .program = "strata merge-driver",
                              .wait_ms = WAIT_MS};
    int code = strata_open(c->dir, &options, &s, &error);
    if (code == STRATA_NO_WORKSPACE)
        return 0;
    if (code == STRATA_OK) {
        code = strata_merge_keep(s, path, k->list, k->count, &kept);
        if (code != STRATA_OK)
            error = *strata_last_error(s);
    }
    if (code != STRATA_OK)
        not_kept(c, &error);
    else
        k->left_out += k->count - kept;
    strata_close(s);
    return kept;
}

void merge_keep_release(struct merge_keep *k)
{
    for (size_t i = 0; i < k->count; i++)
        free((char *)(uintptr_t)k->list[i].place);
    free(k->list);
}
