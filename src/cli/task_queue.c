/*
 * task_queue.c - task lists in Markdown, as people and agents keep them:
 *
 *   - [ ] title            an item with a box; [x] is done, [-] cancelled, [~] held in progress
 *   ## title               a heading with a line `- Status: ...` below it
 *
 * Marks in an item's title are taken out: [seq:142] names it (other items can wait for it by that),
 * [depends:141,140], [agent:ann], [key:..]. Without a name an item's key is its title. Anything
 * else in the file is left alone.
 */
#include "cli/task_import.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX    4096
#define DEPENDS_MAX 64

struct reading {
    struct task_items *t;
    size_t line;
    char heading[LINE_MAX]; /* the last one, until it has got a status */
};

static void trim(char *text)
{
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        text[--n] = '\0';
    size_t start = strspn(text, " \t");
    memmove(text, text + start, n - start + 1);
}

/* Takes `[name:value]` out of the title. */
static bool take_mark(char *title, const char *name, char out[LINE_MAX])
{
    char open[32];
    (void)snprintf(open, sizeof(open), "[%s:", name);
    char *start = strstr(title, open), *end = start != NULL ? strchr(start, ']') : NULL;
    if (end == NULL)
        return false;
    char *value = start + strlen(open);
    memcpy(out, value, (size_t)(end - value));
    out[end - value] = '\0';
    trim(out);
    memmove(start, end + 1, strlen(end + 1) + 1);
    trim(title);
    return out[0] != '\0';
}

static int add_links(struct reading *r, strata_task_item *item, char *list)
{
    struct strata_task_link *links = task_items_memory(r->t, DEPENDS_MAX * sizeof(*links));
    char *rest = list, *one;
    if (links == NULL)
        return task_items_fail(r->t, STRATA_NO_MEMORY, r->line, "out of memory");
    item->links = links;
    while ((one = strsep(&rest, ", ")) != NULL) {
        char key[LINE_MAX + 8];
        if (one[0] == '\0' || strcmp(one, "none") == 0 || strcmp(one, "-") == 0)
            continue;
        if (item->link_count == DEPENDS_MAX)
            return task_items_fail(r->t, STRATA_LIMIT, r->line, "more than %d dependencies",
                                   DEPENDS_MAX);
        (void)snprintf(key, sizeof(key), "%s", one[0] == '#' ? one + 1 : one);
        char *kept = task_items_text(r->t, key, strlen(key));
        if (kept == NULL)
            return task_items_fail(r->t, STRATA_NO_MEMORY, r->line, "out of memory");
        links[item->link_count++] = (struct strata_task_link){"depends", kept};
    }
    return STRATA_OK;
}

/* Keys are names: at most 255 bytes, cut at a character. */
static void cut_key(char *key)
{
    size_t n = strlen(key);
    if (n <= 255)
        return;
    n = 255;
    while (n > 0 && ((unsigned char)key[n] & 0xc0) == 0x80)
        n--;
    key[n] = '\0';
    trim(key);
}

static bool has_key(const struct task_items *t, const char *key)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->list[i].key != NULL && strcmp(t->list[i].key, key) == 0)
            return true;
    return false;
}

static int add_item(struct reading *r, char *title, const char *state)
{
    char key[LINE_MAX] = "", agent[LINE_MAX], depends[LINE_MAX];
    bool waits = take_mark(title, "depends", depends);
    bool agented = take_mark(title, "agent", agent);
    if (!take_mark(title, "seq", key) && !take_mark(title, "key", key))
        (void)snprintf(key, sizeof(key), "%.*s", LINE_MAX - 1, title);
    trim(title);
    cut_key(key);
    if (title[0] == '\0' || has_key(r->t, key))
        return title[0] == '\0'
                   ? STRATA_OK
                   : task_items_fail(r->t, STRATA_INVALID, r->line,
                                     "`%.100s` is there twice; give each a [key:...]", key);
    strata_task_item *item = task_items_add(r->t);
    if (item == NULL)
        return task_items_fail(r->t, STRATA_NO_MEMORY, r->line, "out of memory");
    item->key = task_items_text(r->t, key, strlen(key));
    item->title = task_items_text(r->t, title, strlen(title));
    item->state = state;
    item->agent = agented ? task_items_text(r->t, agent, strlen(agent)) : NULL;
    if (item->key == NULL || item->title == NULL)
        return task_items_fail(r->t, STRATA_NO_MEMORY, r->line, "out of memory");
    return waits ? add_links(r, item, depends) : STRATA_OK;
}

/* "- [ ] title": which state, and where the title begins; NULL when it is none. */
static char *box(char *line, const char **state)
{
    char *p = line + strspn(line, " \t");
    if ((*p != '-' && *p != '*' && *p != '+') || p[1] != ' ')
        return NULL;
    p += 2;
    p += strspn(p, " ");
    if (p[0] != '[' || p[1] == '\0' || p[2] != ']' || (p[3] != ' ' && p[3] != '\t'))
        return NULL;
    switch (p[1]) {
    case ' ':
        *state = NULL;
        break;
    case 'x':
    case 'X':
        *state = "done";
        break;
    case '-':
        *state = "cancelled";
        break;
    case '~':
    case '/':
    case '>':
        *state = "in_progress";
        break;
    default:
        return NULL;
    }
    return p + 4;
}

static const char *state_of(const char *status)
{
    static const struct {
        const char *word, *state;
    } words[] = {{"todo", NULL},
                 {"open", NULL},
                 {"ready", NULL},
                 {"pending", NULL},
                 {"queued", NULL},
                 {"backlog", NULL},
                 {"done", "done"},
                 {"complete", "done"},
                 {"completed", "done"},
                 {"closed", "done"},
                 {"merged", "done"},
                 {"cancelled", "cancelled"},
                 {"canceled", "cancelled"},
                 {"dropped", "cancelled"},
                 {"failed", "failed"},
                 {"doing", "in_progress"},
                 {"in progress", "in_progress"},
                 {"in_progress", "in_progress"},
                 {"blocked", "blocked"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strncasecmp(status, words[i].word, strlen(words[i].word)) == 0)
            return words[i].state;
    return "held";
}

/* "- Status: DONE", with or without stars around the word. */
static char *status_of(char *line)
{
    char *p = line + strspn(line, " \t-*");
    if (strncasecmp(p, "status", 6) != 0)
        return NULL;
    p += 6;
    p += strspn(p, "*");
    if (*p != ':')
        return NULL;
    p++;
    return p + strspn(p, " \t*`");
}

static int read_line(struct reading *r, char *line)
{
    const char *state;
    char *title = box(line, &state), *status;
    if (title != NULL)
        return add_item(r, title, state);
    if (line[0] == '#') {
        (void)snprintf(r->heading, sizeof(r->heading), "%s", line + strspn(line, "# "));
        trim(r->heading);
        return STRATA_OK;
    }
    status = r->heading[0] != '\0' ? status_of(line) : NULL;
    if (status == NULL)
        return STRATA_OK;
    char heading[LINE_MAX];
    memcpy(heading, r->heading, sizeof(heading));
    r->heading[0] = '\0';
    return add_item(r, heading, state_of(status));
}

int task_queue_parse(struct task_items *t, const char *bytes, size_t n)
{
    struct reading *r = calloc(1, sizeof(*r));
    char line[LINE_MAX];
    int code = STRATA_OK;
    if (r == NULL)
        return task_items_fail(t, STRATA_NO_MEMORY, 0, "out of memory");
    r->t = t;
    for (size_t at = 0; at < n && code == STRATA_OK;) {
        const char *end = memchr(bytes + at, '\n', n - at);
        size_t size = end != NULL ? (size_t)(end - bytes) - at : n - at;
        r->line++;
        if (memchr(bytes + at, '\0', size) != NULL)
            code = task_items_fail(t, STRATA_INVALID, r->line, "a NUL byte");
        size_t cut = size < sizeof(line) - 1 ? size : sizeof(line) - 1;
        memcpy(line, bytes + at, cut);
        line[cut] = '\0';
        if (code == STRATA_OK && size < sizeof(line))
            code = read_line(r, line);
        at += size + 1;
    }
    free(r);
    return code;
}
