/* watch.c - resources: their lists, reading, and telling who watches them that they changed. */
#include "mcp/server_internal.h"

#include <stdlib.h>
#include <string.h>

#define META_SUBSCRIPTION "io.modelcontextprotocol/subscriptionId"

/* --- lists and reading ------------------------------------------------------------------------ */

static json_t *resource_list(const struct mcp_resource *list, const char *uri)
{
    json_t *out = json_array();
    int bad = 0;
    for (const struct mcp_resource *x = list; x->uri != NULL; x++)
        bad |= json_array_append_new(out,
                                     json_pack("{s:s, s:s, s:s, s:s}", uri, x->uri, "name", x->name,
                                               "description", x->about, "mimeType", x->mime));
    if (bad == 0)
        return out;
    json_decref(out);
    return NULL;
}

#define LISTS_TTL_MS 3600000

void mcp_resources_list(struct mcp_server *v, const struct request *r)
{
    mcp_reply_cached(v, r,
                     json_pack("{s:o}", "resources", resource_list(v->face->resources, "uri")),
                     LISTS_TTL_MS, true);
}

void mcp_resources_templates(struct mcp_server *v, const struct request *r)
{
    mcp_reply_cached(
        v, r,
        json_pack("{s:o}", "resourceTemplates", resource_list(v->face->templates, "uriTemplate")),
        LISTS_TTL_MS, true);
}

void mcp_resources_read(struct mcp_server *v, const struct request *r)
{
    char message[MCP_FAULT_SIZE] = "there is no such resource";
    const char *mime = "text/plain", *uri = mcp_param(v, r, "uri");
    if (uri == NULL)
        return;
    char *text = v->face->read(v->face->context, uri, &mime, message);
    if (text == NULL) {
        mcp_reply_error(v, r->id, r->stateless ? MCP_INVALID_PARAMS : MCP_RESOURCE_NOT_FOUND,
                        json_pack("{s:s}", "uri", uri), "%s: %s", uri, message);
        return;
    }
    mcp_reply_cached(
        v, r,
        json_pack("{s:[{s:s, s:s, s:s}]}", "contents", "uri", uri, "mimeType", mime, "text", text),
        0, false);
    free(text);
}

/* --- watching --------------------------------------------------------------------------------- */

/* Copies the URI. */
static bool watch_add(struct mcp_server *v, json_t *id, const char *uri)
{
    char *copy = uri != NULL ? strdup(uri) : NULL;
    if (v->watch_count == MCP_WATCHED_MAX || (uri != NULL && copy == NULL)) {
        free(copy);
        return false;
    }
    /* What happened before is not news. */
    if (v->watch_count == 0 && v->face->look != NULL)
        v->face->look(v->face->context);
    v->watches[v->watch_count++] = (struct watch){.id = json_incref(id), .uri = copy};
    return true;
}

static void watch_drop(struct mcp_server *v, size_t i)
{
    json_decref(v->watches[i].id);
    free(v->watches[i].uri);
    v->watches[i] = v->watches[--v->watch_count];
}

static bool same_id(const json_t *a, const json_t *b)
{
    return a == NULL ? b == NULL : b != NULL && json_equal(a, b);
}

bool mcp_watch_known(const struct mcp_server *v, const json_t *id)
{
    for (size_t i = 0; i < v->watch_count; i++)
        if (same_id(v->watches[i].id, id))
            return true;
    return false;
}

bool mcp_watch_cancel(struct mcp_server *v, const json_t *id)
{
    bool found = false;
    for (size_t i = v->watch_count; i-- > 0;)
        if (same_id(v->watches[i].id, id)) {
            watch_drop(v, i);
            found = true;
        }
    return found;
}

void mcp_resources_subscribe(struct mcp_server *v, const struct request *r)
{
    const char *uri = mcp_param(v, r, "uri");
    if (uri == NULL)
        return;
    bool there = false;
    for (size_t i = 0; i < v->watch_count; i++)
        there = there || (v->watches[i].id == NULL && strcmp(v->watches[i].uri, uri) == 0);
    if (!v->face->known(v->face->context, uri))
        mcp_reply_error(v, r->id, MCP_RESOURCE_NOT_FOUND, NULL, "%s: there is no such resource",
                        uri);
    else if (!there && !watch_add(v, NULL, uri))
        mcp_reply_error(v, r->id, MCP_INVALID_PARAMS, NULL,
                        "%d resources are watched already; unsubscribe from one", MCP_WATCHED_MAX);
    else
        mcp_reply(v, r->id, false, json_object());
}

void mcp_resources_unsubscribe(struct mcp_server *v, const struct request *r)
{
    const char *uri = mcp_param(v, r, "uri");
    if (uri == NULL)
        return;
    for (size_t i = v->watch_count; i-- > 0;)
        if (v->watches[i].id == NULL && strcmp(v->watches[i].uri, uri) == 0)
            watch_drop(v, i);
    mcp_reply(v, r->id, false, json_object());
}

static json_t *subscription_meta(json_t *id)
{
    return json_pack("{s:O}", META_SUBSCRIPTION, id);
}

/* The URIs of a filter that there can be, each watched; NULL: too many. */
static json_t *listen_to(struct mcp_server *v, const struct request *r, const json_t *uris)
{
    json_t *honored = json_array();
    size_t i;
    const json_t *item;
    json_array_foreach(uris, i, item)
    {
        const char *uri = json_string_value(item);
        if (uri == NULL || v->face->known == NULL || !v->face->known(v->face->context, uri))
            continue;
        if (!watch_add(v, r->id, uri)) {
            json_decref(honored);
            return NULL;
        }
        (void)json_array_append_new(honored, json_string(uri));
    }
    return honored;
}

void mcp_listen(struct mcp_server *v, const struct request *r)
{
    const json_t *filter = json_object_get(r->params, "notifications");
    const json_t *uris = json_object_get(filter, "resourceSubscriptions");
    if (!json_is_object(filter) || (uris != NULL && !json_is_array(uris))) {
        mcp_reply_error(v, r->id, MCP_INVALID_PARAMS, NULL,
                        "params.notifications has to be an object, and its resourceSubscriptions "
                        "an array");
        return;
    }
    json_t *honored = listen_to(v, r, uris);
    bool any = honored != NULL && json_array_size(honored) > 0;
    if (honored == NULL || (!any && !watch_add(v, r->id, NULL))) {
        json_decref(honored);
        (void)mcp_watch_cancel(v, r->id);
        mcp_reply_error(v, r->id, MCP_INVALID_PARAMS, NULL, "at most %d resources can be watched",
                        MCP_WATCHED_MAX);
        return;
    }
    json_t *agreed = json_object();
    if (uris != NULL)
        (void)json_object_set(agreed, "resourceSubscriptions", honored);
    json_decref(honored);
    mcp_notify(v, "notifications/subscriptions/acknowledged",
               json_pack("{s:o, s:o}", "_meta", subscription_meta(r->id), "notifications", agreed));
}

void mcp_watch_tick(struct mcp_server *v, uint64_t now_ms)
{
    if (v->watch_count == 0 || now_ms - v->looked_ms < MCP_POLL_MS || v->face->look == NULL)
        return;
    v->looked_ms = now_ms;
    v->face->look(v->face->context);
    for (size_t i = 0; i < v->watch_count; i++) {
        const struct watch *w = &v->watches[i];
#ifdef ST_DEFECT_MCP_NEWS_OF_ALL
        if (w->uri == NULL)
#else
        if (w->uri == NULL || !v->face->changed(v->face->context, w->uri))
#endif
            continue;
        json_t *params = json_pack("{s:s}", "uri", w->uri);
        if (w->id != NULL)
            (void)json_object_set_new(params, "_meta", subscription_meta(w->id));
        mcp_notify(v, "notifications/resources/updated", params);
    }
}

void mcp_watch_end(struct mcp_server *v)
{
    while (v->watch_count > 0) {
        json_t *id = v->watches[0].id;
        if (id == NULL || v->send == NULL) {
            watch_drop(v, 0);
            continue;
        }
        (void)json_incref(id);
        (void)mcp_watch_cancel(v, id);
        mcp_reply(v, id, true, json_pack("{s:o}", "_meta", subscription_meta(id)));
        json_decref(id);
    }
}
