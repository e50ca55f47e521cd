/*
 * cmd_read.c - reading facts: get, list, search. Listings come in pages.
 */
#include "cli/cli.h"

#include <string.h>

/* A rival value in a note: enough to recognise it. */
#define PENDING_VALUE_MAX 200

/* --- get -------------------------------------------------------------------------------------- */

static void tell_pending(struct cli *c, const strata_attribute *a)
{
    char value[PENDING_VALUE_MAX], age[CLI_AGE_SIZE];

    for (size_t i = 0; i < a->count; i++) {
        const strata_item *item = &a->items[i];
        if (item->kind == STRATA_ITEM_MEMBER || item->shown || item == a->shown)
            continue;
        cli_age(c, item->time_ms, age);
        bool absent = item->kind == STRATA_ITEM_ABSENT;
        cli_clean(absent ? "unset" : item->value, value, sizeof(value));
        cli_note(c, "pending for %s %s: %s%s (%s on %s, %s)", a->entity, a->attribute,
                 absent ? "" : "= ", value, item->agent[0] != '\0' ? item->agent : "unnamed",
                 item->replica, age);
    }
    cli_note(c, "written in two places at once; to settle: strata pending");
}

int cmd_fact_get(struct cli *c)
{
    strata_attribute a = {0};
    uint64_t as_of = 0;
    int status = cli_subject_check(c);

    if (status == 0 && cli_given(c, OPT_AS_OF))
        status = cli_time(c, "--as-of", c->options[OPT_AS_OF], true, &as_of);
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    int code = strata_fact_get(c->s, c->args[0], c->args[1], as_of, &a);
    if (code == STRATA_NOT_FOUND)
        return cli_error(c, code, a.pending ? "other values are pending: strata pending" : NULL,
                         "%s %s has no value", c->args[0], c->args[1]);
    if (code != STRATA_OK)
        return cli_fail(c, code);
    if (c->json)
        return cli_json(c, cli_json_attribute(&a));
    if (a.shown != NULL && a.shown->kind == STRATA_ITEM_VALUE) {
        (void)fwrite(a.shown->value, 1, a.shown->value_size, stdout);
        (void)putchar('\n');
    }
    for (size_t i = 0; i < a.count; i++) {
        if (a.items[i].kind != STRATA_ITEM_MEMBER)
            continue;
        (void)fwrite(a.items[i].value, 1, a.items[i].value_size, stdout);
        (void)putchar('\n');
    }
    if (a.pending)
        tell_pending(c, &a);
    return 0;
}

/* --- list, search ----------------------------------------------------------------------------- */

/* A page of attributes: prints `limit` of them and remembers the last, to say where to go on. */
struct page {
    struct cli *c;
    json_t *list;
    size_t limit, count;
    bool more;
    char entity[CLI_NAME_SIZE_MAX + 1], attribute[CLI_NAME_SIZE_MAX + 1];
};

static int visit_attribute(void *arg, const strata_attribute *a)
{
    struct page *page = arg;

    if (page->limit != 0 && page->count == page->limit) {
        page->more = true;
        return 1;
    }
    page->count++;
    (void)snprintf(page->entity, sizeof(page->entity), "%s", a->entity);
    (void)snprintf(page->attribute, sizeof(page->attribute), "%s", a->attribute);
    if (!page->c->json) {
        cli_put_attribute(page->c, stdout, a);
        return ferror(stdout) ? 1 : 0;
    }
    return json_array_append_new(page->list, cli_json_attribute(a)) == 0 ? 0 : STRATA_NO_MEMORY;
}

/* "entity/attribute": the last slash divides; a slash in an attribute is %2F, a percent %25. */
static void cursor_text(const struct page *page, char out[4 * CLI_NAME_SIZE_MAX + 2])
{
    size_t n = (size_t)snprintf(out, CLI_NAME_SIZE_MAX + 2, "%s/", page->entity);
    for (const char *p = page->attribute; *p != '\0'; p++) {
        bool escape = *p == '/' || *p == '%';
        if (escape)
            n += (size_t)snprintf(out + n, 4, "%%%02X", (unsigned)*p);
        else
            out[n++] = *p;
    }
    out[n] = '\0';
}

static int cursor_parse(struct cli *c, const char *text, struct page *at)
{
    const char *slash = strrchr(text, '/');
    size_t n = 0, m = 0;

    if (slash == NULL || slash == text || slash[1] == '\0')
        return cli_usage(c, "--after takes ENTITY/ATTRIBUTE, as an earlier page named it");
    n = (size_t)(slash - text);
    if (n > CLI_NAME_SIZE_MAX || strlen(slash + 1) > 3 * CLI_NAME_SIZE_MAX)
        return cli_error(c, STRATA_LIMIT, NULL, "--after is longer than names can be");
    memcpy(at->entity, text, n);
    at->entity[n] = '\0';
    for (const char *p = slash + 1; *p != '\0' && m < CLI_NAME_SIZE_MAX; p++) {
        bool slash_sign = strncmp(p, "%2F", 3) == 0, percent_sign = strncmp(p, "%25", 3) == 0;
        at->attribute[m++] = slash_sign ? '/' : percent_sign ? '%' : *p;
        p += slash_sign || percent_sign ? 2 : 0;
    }
    at->attribute[m] = '\0';
    return 0;
}

static int print_page(struct cli *c, struct page *page, int code, const char *key)
{
    char next[4 * CLI_NAME_SIZE_MAX + 2] = "";

    if (code != STRATA_OK && code != STRATA_NOT_FOUND) {
        json_decref(page->list);
        return cli_fail(c, code);
    }
    bool pages = strcmp(key, "facts") == 0;
    if (page->more && pages)
        cursor_text(page, next);
    if (c->json)
        return cli_json(c, json_pack("{s:o,s:b,s:s?}", key, page->list, "more", page->more, "next",
                                     next[0] != '\0' ? next : NULL));
    if (page->more && pages)
        cli_note(c, "there is more; go on with: --after '%s' (or --limit N)", next);
    else if (page->more)
        cli_note(c, "there is more; --limit N prints more");
    else if (page->count == 0)
        cli_note(c, "nothing found");
    return 0;
}

static int read_filters(struct cli *c, strata_fact_query *query)
{
    int status = 0;
    query->attribute = c->options[OPT_ATTRIBUTE];
    query->agent = c->options[OPT_AUTHOR];
    query->with_absent = cli_given(c, OPT_ALL_ABSENT);
    if (query->attribute != NULL)
        status = cli_name_check(c, "--attribute", query->attribute);
    if (status == 0 && cli_given(c, OPT_SINCE))
        status = cli_time(c, "--since", c->options[OPT_SINCE], false, &query->since_ms);
    if (status == 0 && cli_given(c, OPT_UNTIL))
        status = cli_time(c, "--until", c->options[OPT_UNTIL], true, &query->until_ms);
    if (status == 0 && cli_given(c, OPT_AS_OF))
        status = cli_time(c, "--as-of", c->options[OPT_AS_OF], true, &query->as_of_ms);
    return status;
}

int cmd_fact_list(struct cli *c)
{
    strata_fact_query query = {.size = sizeof(query)};
    struct page page = {.c = c}, after = {0};
    int status = c->arg_count > 0 ? cli_subject_check(c) : 0;

    if (status == 0)
        status = read_filters(c, &query);
    if (status == 0)
        status = cli_limit(c, &page.limit);
    if (status == 0 && cli_given(c, OPT_AFTER)) {
        status = cursor_parse(c, c->options[OPT_AFTER], &after);
        query.after_entity = after.entity;
        query.after_attribute = after.attribute;
    }
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    query.entity = c->arg_count > 0 ? c->args[0] : NULL;
    query.facts_only = true;
    query.limit = page.limit != 0 ? page.limit + 1 : 0;
    if (c->json)
        page.list = json_array();
    return print_page(c, &page, strata_fact_each(c->s, &query, visit_attribute, &page), "facts");
}

#define SEARCH_SIZE_MAX 4096

int cmd_search(struct cli *c)
{
    struct page page = {.c = c};
    char words[SEARCH_SIZE_MAX];
    size_t n = 0;
    int status = cli_limit(c, &page.limit);

    for (size_t i = 0; status == 0 && i < c->arg_count; i++) {
        size_t size = strlen(c->args[i]);
        if (n + size + 2 > sizeof(words))
            return cli_error(c, STRATA_LIMIT, NULL, "WORDS is longer than the limit of %d bytes",
                             SEARCH_SIZE_MAX - 2);
        memcpy(words + n, c->args[i], size);
        n += size;
        words[n++] = ' ';
    }
    if (status == 0)
        status = cli_open(c);
    if (status != 0)
        return status;
    words[n - 1] = '\0';
    if (c->json)
        page.list = json_array();
    size_t limit = page.limit != 0 ? page.limit + 1 : 0;
    return print_page(c, &page, strata_search(c->s, words, limit, visit_attribute, &page),
                      "matches");
}
