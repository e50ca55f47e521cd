/*
 * merged.c - what a merge of a file could not decide, kept as conflicts: pending, settled, and
 * exchanged as those of facts are.
 *
 * A place of the file is an attribute of the entity file:<path>, named by the caller, with " (merge)"
 * behind it so that it cannot be mistaken for a part of a tracked file. One record has both values,
 * neither superseding the other; the one that the merge put into the file is written last, and so is
 * the one that is shown. What an earlier merge left at the same place and nobody has settled yet
 * stays beside them.
 */
#include "lib/internal.h"

#include <stdio.h>
#include <stdlib.h>

/* Values of one record: it fits into its line however it is escaped. Bytes. */
#define RECORD_SIZE_MAX ST_DOCUMENT_SIZE_MAX
_Static_assert(RECORD_SIZE_MAX > 2 * ST_VALUE_SIZE_MAX, "a record holds a conflict");

struct place {
    char name[ST_NAME_SIZE_MAX + 1]; /* "": cannot be kept */
    bool pending;                    /* something waits there already */
};

struct keeping {
    strata *s;
    char entity[ST_NAME_SIZE_MAX + 1];
    struct place *places;
    struct st_op ops[ST_RECORD_OPS_MAX];
    size_t count, size;      /* of the record to be */
    struct st_record newest; /* of those written; counter 0: none */
};

/* The name of a place; where it is too long it is cut, and a checksum tells it from others. */
static void place_name(const char *place, char out[ST_NAME_SIZE_MAX + 1])
{
    static const char mark[] = STRATA_MERGE_MARK;
    size_t n = strlen(place), kept = n, room = ST_NAME_SIZE_MAX + 1 - sizeof mark;
    char sum[16] = "";
    if (n > room) {
        kept = room - 9;
        while (kept > 0 && ((unsigned char)place[kept] & 0xc0) == 0x80)
            kept--;
        (void)snprintf(sum, sizeof sum, "~%08x", (unsigned)st_checksum(place, n));
    }
    (void)snprintf(out, ST_NAME_SIZE_MAX + 1, "%.*s%s%s", (int)kept, place, sum, mark);
}

static bool value_good(const strata_merge_value *v)
{
    return v->text == NULL || st_value_check((struct st_str){v->text, v->size}) == ST_OK;
}

static int find_places(struct keeping *k, const strata_merge_conflict *list, size_t count)
{
    strata *s = k->s;
    int code = st_lib_begin_for(s, k->entity);
    if (code != STRATA_OK)
        return code;
    enum st_code got = ST_OK;
    for (size_t i = 0; i < count && (got == ST_OK || got == ST_NOT_FOUND); i++) {
        struct place *p = &k->places[i];
        struct st_attribute a;
        place_name(list[i].place, p->name);
        if (st_name_check(st_str_of(p->name)) != ST_OK || !value_good(&list[i].taken) ||
            !value_good(&list[i].other)) {
            p->name[0] = '\0';
            continue;
        }
        got = st_attribute_read(st_index_kv(s->index), st_str_of(k->entity), st_str_of(p->name),
                                &s->read, &a);
        p->pending = got == ST_OK && a.count > 1;
    }
    st_lib_end(s);
    return got == ST_OK || got == ST_NOT_FOUND ? STRATA_OK : st_lib_index_fault(s, got);
}

static int write_record(struct keeping *k)
{
    struct st_record r = {.agent = st_str_of(k->s->agent),
                          .incarnation = k->s->incarnation,
                          .ops = k->ops,
                          .op_count = k->count};
    if (k->count == 0)
        return STRATA_OK;
    enum st_code code = st_log_write(&k->s->log, &r, false);
    st_lib_log_notices(k->s);
    if (code != ST_OK)
        return st_lib_fault(k->s, &k->s->log.fault);
    k->newest = r;
    k->count = k->size = 0;
    return STRATA_OK;
}

/* An operation that supersedes nothing, or what is there. */
static void add_op(struct keeping *k, const struct place *p, const strata_merge_value *v,
                   bool supersedes)
{
    bool absent = v->text == NULL;
    k->ops[k->count++] = (struct st_op){
        .kind = absent ? ST_OP_UNSET : ST_OP_SET,
        .entity = st_str_of(k->entity),
        .attribute = st_str_of(p->name),
        .value = {absent ? "" : v->text, absent ? 0 : v->size},
        .has_at = !supersedes,
    };
}

static int write_all(struct keeping *k, const strata_merge_conflict *list, size_t count,
                     size_t *kept)
{
    int code = STRATA_OK;
    size_t usable = 0;
    for (size_t i = 0; code == STRATA_OK && i < count; i++) {
        const strata_merge_conflict *c = &list[i];
        size_t size = c->taken.size + c->other.size + 2 * sizeof k->entity + sizeof c->place;
        if (k->places[i].name[0] == '\0')
            continue;
        if (k->size + size > RECORD_SIZE_MAX || k->count + 2 > ST_RECORD_OPS_MAX)
            code = write_record(k);
        if (code != STRATA_OK)
            return code;
        add_op(k, &k->places[i], &c->other, !k->places[i].pending);
        add_op(k, &k->places[i], &c->taken, false);
        k->size += size;
        usable++;
    }
    if (code == STRATA_OK)
        code = write_record(k);
    if (code == STRATA_OK && usable > 0)
        code = st_lib_wait(k->s, &k->newest);
    *kept = code == STRATA_OK ? usable : 0;
    return code;
}

int strata_merge_keep(strata *s, const char *path, const strata_merge_conflict *list, size_t count,
                      size_t *kept)
{
    struct keeping *k = calloc(1, sizeof *k);
    struct place *places = calloc(count + 1, sizeof *places);
    int code = STRATA_OK;
    *kept = 0;
    if (k == NULL || places == NULL)
        code = st_lib_fail(s, ST_NO_MEMORY, "out of memory");
    if (code == STRATA_OK) {
        k->s = s;
        k->places = places;
        int n = snprintf(k->entity, sizeof k->entity, "%s%s", ST_DOCUMENT_PREFIX, path);
        if (n >= (int)sizeof k->entity)
            code = st_lib_fail(s, ST_LIMIT, "the path is longer than %zu bytes",
                               sizeof k->entity - sizeof ST_DOCUMENT_PREFIX);
        else
            code = st_lib_name(s, "path", k->entity);
    }
    if (code == STRATA_OK)
        code = find_places(k, list, count);
    if (code == STRATA_OK)
        code = write_all(k, list, count, kept);
    free(places);
    free(k);
    return code;
}
