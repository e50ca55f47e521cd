/*
 * export.c - the visible state as our exchange format, CSV, the memory server's format, or a
 * Graphviz drawing (docs/exchange.md). Streams: holds at most one entity in memory.
 *
 * Of an attribute with several values that wait for a decision, the shown one is written, and
 * counted as pending.
 */
#include "cli/transfer.h"
#include "edge/graph.h"
#include "edge/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The memory format needs all of an entity before its line can be written. */
struct entity_text {
    char *name;
    char *type; /* JSON, or NULL */
    char *observations, *relations;
    size_t observations_size, relations_size;
    FILE *observations_out, *relations_out;
    uint64_t observation_count;
};

struct export
{
    FILE *out;
    struct export_counts *counts;
    enum import_format format;
    struct entity_text entity;
    char *last_node; /* dot: the entity whose node was written last */
    bool facts_only;
    char *last_left; /* the entity that was left out last */
};

/* --- pieces ----------------------------------------------------------------------------------- */

static void put_json(FILE *out, const char *p, size_t n)
{
    putc('"', out);
    for (size_t i = 0; i < n; i++) {
        unsigned char b = (unsigned char)p[i];
        if (b == '"' || b == '\\')
            fprintf(out, "\\%c", b);
        else if (b == '\n')
            fputs("\\n", out);
        else if (b == '\r')
            fputs("\\r", out);
        else if (b == '\t')
            fputs("\\t", out);
        else if (b < 0x20)
            fprintf(out, "\\u%04x", b);
        else
            putc(b, out);
    }
    putc('"', out);
}

static void put_json_text(FILE *out, const char *text)
{
    put_json(out, text, strlen(text));
}

static void put_csv(FILE *out, const char *p, size_t n)
{
    bool quote = n > 0 && (p[0] == ' ' || p[n - 1] == ' ');
    for (size_t i = 0; i < n && !quote; i++)
        quote = p[i] == '"' || p[i] == ',' || p[i] == '\n' || p[i] == '\r';
    if (!quote) {
        fwrite(p, 1, n, out);
        return;
    }
    putc('"', out);
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '"')
            putc('"', out);
        putc(p[i], out);
    }
    putc('"', out);
}

/* A quoted string of Graphviz. It keeps \\ as two characters in a node's identity, which does no
 * harm (all nodes are written so); a label then shows one. */
static void put_dot(FILE *out, const char *text)
{
    putc('"', out);
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            putc('\\', out);
        putc(*p, out);
    }
    putc('"', out);
}

static void put_time(FILE *out, uint64_t ms)
{
    char stamp[EDGE_STAMP_SIZE];
    edge_stamp(ms, stamp);
    fprintf(out, "\"%s\"", stamp);
}

/* --- our exchange format, CSV ----------------------------------------------------------------- */

static void jsonl_item(FILE *out, const strata_attribute *a, const strata_item *item)
{
    fputs("{\"entity\":", out);
    put_json_text(out, a->entity);
    fputs(",\"attribute\":", out);
    put_json_text(out, a->attribute);
    fputs(item->link ? ",\"link\":" : ",\"value\":", out);
    put_json(out, item->value, item->value_size);
    fprintf(out,
            ",\"kind\":\"%s\",\"time\":", item->kind == STRATA_ITEM_MEMBER ? "member" : "value");
    put_time(out, item->time_ms);
    if (item->agent[0] != '\0') {
        fputs(",\"agent\":", out);
        put_json_text(out, item->agent);
    }
    fputs("}\n", out);
}

static void csv_item(FILE *out, const strata_attribute *a, const strata_item *item)
{
    put_csv(out, a->entity, strlen(a->entity));
    putc(',', out);
    put_csv(out, a->attribute, strlen(a->attribute));
    putc(',', out);
    if (!item->link)
        put_csv(out, item->value, item->value_size);
    fputs(item->kind == STRATA_ITEM_MEMBER ? ",member," : ",value,", out);
    if (item->link)
        put_csv(out, item->value, item->value_size);
    fputs("\r\n", out);
}

/* --- memory ----------------------------------------------------------------------------------- */

static int entity_begin(struct entity_text *e, const char *name)
{
    memset(e, 0, sizeof *e);
    e->name = strdup(name);
    e->observations_out = open_memstream(&e->observations, &e->observations_size);
    e->relations_out = open_memstream(&e->relations, &e->relations_size);
    bool ok = e->name != NULL && e->observations_out != NULL && e->relations_out != NULL;
    return ok ? STRATA_OK : STRATA_NO_MEMORY;
}

/* Writes what was gathered of an entity and forgets it. */
static int entity_end(struct export *x, bool write)
{
    struct entity_text *e = &x->entity;
    int rc = STRATA_OK;
    if (e->observations_out != NULL && fclose(e->observations_out) != 0)
        rc = STRATA_NO_MEMORY;
    if (e->relations_out != NULL && fclose(e->relations_out) != 0)
        rc = STRATA_NO_MEMORY;
    if (write && rc == STRATA_OK && e->name != NULL) {
        if (e->type != NULL || e->observation_count > 0) {
            fputs("{\"type\":\"entity\",\"name\":", x->out);
            put_json_text(x->out, graph_name(e->name));
            fprintf(x->out, ",\"entityType\":%s,\"observations\":[", e->type ? e->type : "\"\"");
            fwrite(e->observations, 1, e->observations_size, x->out);
            fputs("]}\n", x->out);
            x->counts->lines++;
        }
        fwrite(e->relations, 1, e->relations_size, x->out);
    }
    free(e->name);
    free(e->type);
    free(e->observations);
    free(e->relations);
    memset(e, 0, sizeof *e);
    return rc;
}

static void memory_relation(struct export *x, const strata_attribute *a, const strata_item *item)
{
    FILE *out = x->entity.relations_out;
    fputs("{\"type\":\"relation\",\"from\":", out);
    put_json_text(out, graph_name(a->entity));
    fputs(",\"to\":", out);
    put_json_text(out, graph_name(item->value));
    fputs(",\"relationType\":", out);
    put_json_text(out, graph_relation_type(a->attribute));
    fputs("}\n", out);
    x->counts->lines++;
}

static int memory_type(struct entity_text *e, const strata_item *item)
{
    size_t size;
    FILE *out = open_memstream(&e->type, &size);
    if (out == NULL)
        return STRATA_NO_MEMORY;
    put_json(out, item->value, item->value_size);
    return fclose(out) == 0 ? STRATA_OK : STRATA_NO_MEMORY;
}

/* Joins "attribute: value" for what the memory server has no place for. */
static int memory_observation(struct export *x, const strata_attribute *a, const strata_item *item)
{
    FILE *out = x->entity.observations_out;
    if (x->entity.observation_count++ > 0)
        putc(',', out);
    if (!graph_is_reshaped(a)) {
        put_json(out, item->value, item->value_size);
        return STRATA_OK;
    }
    size_t n = strlen(a->attribute);
    char *text = malloc(n + 2 + item->value_size + 1);
    if (text == NULL)
        return STRATA_NO_MEMORY;
    (void)snprintf(text, n + 3, "%s: ", a->attribute);
    memcpy(text + n + 2, item->value, item->value_size);
    put_json(out, text, n + 2 + item->value_size);
    free(text);
    x->counts->reshaped++;
    return STRATA_OK;
}

static int memory_item(struct export *x, const strata_attribute *a, const strata_item *item)
{
    if (x->entity.name == NULL || strcmp(x->entity.name, a->entity) != 0) {
        int rc = entity_end(x, true);
        if (rc == STRATA_OK)
            rc = entity_begin(&x->entity, a->entity);
        if (rc != STRATA_OK)
            return rc;
    }
    switch (graph_part_of(a, item)) {
    case GRAPH_IS_RELATION:
        memory_relation(x, a, item);
        return STRATA_OK;
    case GRAPH_IS_TYPE:
        return memory_type(&x->entity, item);
    default:
        return memory_observation(x, a, item);
    }
}

/* --- Graphviz --------------------------------------------------------------------------------- */

static int dot_node(struct export *x, const char *name)
{
    if (x->last_node != NULL && strcmp(x->last_node, name) == 0)
        return STRATA_OK;
    free(x->last_node);
    x->last_node = strdup(name);
    if (x->last_node == NULL)
        return STRATA_NO_MEMORY;
    fputs("  ", x->out);
    put_dot(x->out, name);
    fputs(" [label=", x->out);
    put_dot(x->out, name);
    fputs("];\n", x->out);
    x->counts->lines++;
    return STRATA_OK;
}

static int dot_item(struct export *x, const strata_attribute *a, const strata_item *item)
{
    int rc = dot_node(x, a->entity);
    if (rc != STRATA_OK || !item->link)
        return rc;
    /* A node without a statement of its own gets its name as label, with escapes. */
    if (strchr(item->value, '\\') != NULL) {
        fputs("  ", x->out);
        put_dot(x->out, item->value);
        fputs(" [label=", x->out);
        put_dot(x->out, item->value);
        fputs("];\n", x->out);
    }
    fputs("  ", x->out);
    put_dot(x->out, a->entity);
    fputs(" -> ", x->out);
    put_dot(x->out, item->value);
    fputs(" [label=", x->out);
    put_dot(x->out, a->attribute);
    fputs("];\n", x->out);
    x->counts->lines++;
    return STRATA_OK;
}

/* --- all -------------------------------------------------------------------------------------- */

static int export_item(struct export *x, const strata_attribute *a, const strata_item *item)
{
    switch (x->format) {
    case IMPORT_JSONL:
        jsonl_item(x->out, a, item);
        break;
    case IMPORT_CSV:
        csv_item(x->out, a, item);
        break;
    case IMPORT_MEMORY:
        return memory_item(x, a, item);
    case IMPORT_DOT:
        return dot_item(x, a, item);
    case IMPORT_UNKNOWN:
        return STRATA_INTERNAL;
    }
    x->counts->lines++;
    return STRATA_OK;
}

/* Tasks, messages and tracked files have commands of their own, and cannot be imported as facts. */
static int leave_out(struct export *x, const strata_attribute *a)
{
    if (x->last_left != NULL && strcmp(x->last_left, a->entity) == 0)
        return STRATA_OK;
    free(x->last_left);
    x->last_left = strdup(a->entity);
    if (strata_entity_kind(a->entity) == STRATA_ENTITY_NUMBERED)
        x->counts->tasks_left_out++;
    else
        x->counts->files_left_out++;
    return x->last_left != NULL ? STRATA_OK : STRATA_NO_MEMORY;
}

static int visit_attribute(void *arg, const strata_attribute *a)
{
    struct export *x = arg;
    if (x->facts_only && strata_entity_kind(a->entity) != STRATA_ENTITY_FACT)
        return leave_out(x, a);
    x->counts->pending += a->pending;
    for (size_t i = 0; i < a->count; i++) {
        if (!graph_is_visible(&a->items[i]))
            continue;
        int rc = export_item(x, a, &a->items[i]);
        if (rc != STRATA_OK)
            return rc;
    }
    return ferror(x->out) ? STRATA_IO : STRATA_OK;
}

static int visit_counter(void *arg, const char *name, int64_t total)
{
    struct export *x = arg;
    if (x->format == IMPORT_JSONL) {
        fputs("{\"counter\":", x->out);
        put_json_text(x->out, name);
        fprintf(x->out, ",\"total\":%" PRId64 "}\n", total);
    } else if (x->format == IMPORT_CSV) {
        put_csv(x->out, name, strlen(name));
        fprintf(x->out, ",,%" PRId64 ",counter,\r\n", total);
    } else {
        x->counts->left_out++;
        return STRATA_OK;
    }
    x->counts->lines++;
    return ferror(x->out) ? STRATA_IO : STRATA_OK;
}

int export_write(strata *s, enum import_format format, const strata_fact_query *query, FILE *out,
                 struct export_counts *counts)
{
    struct export x = {.out = out,
                       .counts = counts,
                       .format = format,
                       .facts_only = format != IMPORT_DOT && query->entity == NULL};
    memset(counts, 0, sizeof *counts);
    if (format == IMPORT_CSV)
        fputs("entity,attribute,value,kind,link\r\n", out);
    if (format == IMPORT_DOT)
        fputs("digraph strata {\n  rankdir=LR;\n  node [shape=box];\n", out);
    int rc = strata_fact_each(s, query, visit_attribute, &x);
    int end = entity_end(&x, rc == STRATA_OK);
    if (rc == STRATA_OK)
        rc = end;
    if (rc == STRATA_OK && query->entity == NULL && query->as_of_ms == 0)
        rc = strata_counter_each(s, NULL, visit_counter, &x);
    if (format == IMPORT_DOT)
        fputs("}\n", out);
    free(x.last_node);
    free(x.last_left);
    return rc;
}
