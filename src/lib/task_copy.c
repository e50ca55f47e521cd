/*
 * task_copy.c - from the ledger into the channels.
 *
 * What the strong layer has accepted (a checkpoint, an end, a reopening) is told in the channel by
 * an ordinary record, so that every copy sees it. The two logs cannot be written in one step: the
 * ledger remembers what was not yet copied, and every process that reads or ends tasks makes up for
 * what one that died has left. The attribute `copied` of a task is the ledger's position of what
 * was copied last, so that an old copy never comes after a newer word.
 *
 * The other way round, reports from copies that do not decide (`reported`) are put to the ledger,
 * and then taken away, whatever the ledger says.
 */
#include "lib/claims.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* So many at a time; the rest with the next call. */
#define COPIES_MAX 256

struct copy {
    char entity[ST_NUMBERED_SIZE + 1];
    char by[ST_AGENT_SIZE_MAX + 1];
    struct st_claim_kept kept; /* texts owned: result.p, checkpoint.p */
};

struct copies {
    struct copy list[COPIES_MAX];
    size_t count;
};

static bool own(struct st_str *text)
{
    char *p = malloc(text->n + 1);
    if (p == NULL)
        return false;
    if (text->n > 0)
        memcpy(p, text->p, text->n);
    text->p = p;
    return true;
}

static int visit_uncopied(void *arg, const char *name, const struct st_claim_kept *kept)
{
    struct copies *c = arg;
    struct st_task_id id;
    if (!st_task_id_parse(st_str_of(name), &id))
        return 0;
    if (c->count == COPIES_MAX)
        return 1;
    struct copy *one = &c->list[c->count];
    *one = (struct copy){.kept = *kept};
    snprintf(one->entity, sizeof one->entity, "%s", name);
    snprintf(one->by, sizeof one->by, "%.*s", (int)kept->by.n, kept->by.p);
    if (!own(&one->kept.result))
        return STRATA_NO_MEMORY;
    if (!own(&one->kept.checkpoint)) {
        free((void *)(uintptr_t)one->kept.result.p);
        return STRATA_NO_MEMORY;
    }
    c->count++;
    return 0;
}

static enum st_code shown_value(strata *s, const char *entity, const char *attribute,
                                struct st_str *out)
{
    struct st_attribute a;
    *out = ST_STR("");
    enum st_code code = st_attribute_read(st_index_kv(s->index), st_str_of(entity),
                                          st_str_of(attribute), &s->read, &a);
    if (code == ST_OK && a.shown < a.count && a.items[a.shown].kind == ST_ITEM_VALUE)
        *out = a.items[a.shown].value;
    return code;
}

/* STRATA_EXISTS: it was copied, this or something later. */
static int check_copied(strata *s, void *arg)
{
    const struct copy *c = arg;
    struct st_str v;
    enum st_code code = shown_value(s, c->entity, "copied", &v);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    uint64_t position = 0;
    for (size_t i = 0; i < v.n && v.p[i] >= '0' && v.p[i] <= '9' && i < 16; i++)
        position = position * 10 + (uint64_t)(v.p[i] - '0');
    return position >= c->kept.position ? STRATA_EXISTS : STRATA_OK;
}

struct copy_record {
    struct st_op ops[5];
    size_t count;
    char position[24];
};

static void op_set(struct copy_record *r, const char *entity, const char *attribute,
                   struct st_str value)
{
    r->ops[r->count++] = (struct st_op){.kind = value.n > 0 ? ST_OP_SET : ST_OP_UNSET,
                                        .entity = st_str_of(entity),
                                        .attribute = st_str_of(attribute),
                                        .value = value};
}

static void copy_fill(const struct copy *c, struct copy_record *r)
{
    const struct st_claim_kept *k = &c->kept;
    snprintf(r->position, sizeof r->position, "%" PRIu64, k->position);
    op_set(r, c->entity, "copied", st_str_of(r->position));
    if (k->outcome == ST_CLAIM_DONE) {
        op_set(r, c->entity, "state", ST_STR("done"));
        if (k->result.n > 0)
            op_set(r, c->entity, "result", k->result);
    } else if (k->outcome == ST_CLAIM_FAILED) {
        op_set(r, c->entity, "state", ST_STR("failed"));
        if (k->result.n > 0)
            op_set(r, c->entity, "reason", k->result);
    } else if (k->outcome == ST_CLAIM_NONE && k->token != 0) {
        op_set(r, c->entity, "state", ST_STR("open"));
    }
    if (k->checkpoint_token != 0)
        op_set(r, c->entity, "checkpoint", k->checkpoint);
}

static int copy_one(strata *s, struct copy *c, struct st_dot *last)
{
    struct copy_record filled = {.count = 0};
    copy_fill(c, &filled);
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    code = check_copied(s, c);
    st_lib_end(s);
    if (code != STRATA_OK)
        return code == STRATA_EXISTS ? STRATA_OK : code;
    struct st_record r = {.agent = st_str_of(c->by), .ops = filled.ops, .op_count = filled.count};
    code = st_lib_append(s, &r, check_copied, c);
    if (code == STRATA_OK)
        *last = r.dot;
    return code == STRATA_EXISTS ? STRATA_OK : code;
}

static int copy_all(strata *s)
{
    struct copies *c = calloc(1, sizeof *c);
    if (c == NULL)
        return st_lib_fail(s, ST_NO_MEMORY, "out of memory");
    int code = st_claims_uncopied(s, visit_uncopied, c);
    struct st_dot last = {.counter = 0};
    for (size_t i = 0; i < c->count && code == STRATA_OK; i++)
        code = copy_one(s, &c->list[i], &last);
    /* What was found copied may be somebody's who is not yet durable: all of it is, with this. */
    if (code == STRATA_OK && c->count > 0)
        code = strata_flush(s);
    if (code == STRATA_OK && c->count > 0)
        st_claims_copied(s, c->list[c->count - 1].kept.position);
    for (size_t i = 0; i < c->count; i++) {
        free((void *)(uintptr_t)c->list[i].kept.result.p);
        free((void *)(uintptr_t)c->list[i].kept.checkpoint.p);
    }
    free(c);
    return code;
}

/* --- reports ---------------------------------------------------------------------------------- */

/* "done|failed TOKEN AGENT\nTEXT" */
struct report {
    char entity[ST_NUMBERED_SIZE + 1];
    char *text;
};

struct reports {
    char list[64][ST_NUMBERED_SIZE + 1];
    size_t count;
};

static enum st_code visit_reported(void *arg, struct st_str key, struct st_str value)
{
    struct reports *r = arg;
    struct st_task_id id;
    (void)value;
    if (!st_task_id_take(key, 2, &id))
        return ST_DAMAGED;
    snprintf(r->list[r->count], sizeof r->list[0], "#%" PRIu64 "%s%.*s", id.number,
             id.suffix.n > 0 ? "@" : "", (int)id.suffix.n, id.suffix.p);
    return ++r->count == 64 ? ST_SCAN_STOP : ST_OK;
}

static int report_end(strata *s, const char *entity, const char *refusal)
{
    struct st_op ops[2] = {
        {.kind = ST_OP_UNSET, .entity = st_str_of(entity), .attribute = ST_STR("reported")},
        {.kind = ST_OP_SET,
         .entity = st_str_of(entity),
         .attribute = ST_STR("refused"),
         .value = st_str_of(refusal)}};
    struct st_record r = {
        .agent = st_str_of(s->agent), .ops = ops, .op_count = refusal != NULL ? 2 : 1};
    int code = st_lib_append(s, &r, NULL, NULL);
    return code == STRATA_OK ? st_lib_wait(s, &r, 0) : code;
}

/* Without a token: accepted if nobody has claimed it. */
static int report_unclaimed(strata *s, struct st_claim_end *end)
{
    struct st_claim claim;
    int code = st_claims_look(s, &end->name, 1, &claim);
    if (code != STRATA_OK)
        return code;
    if (claim.token != 0)
        return st_lib_fail(s, ST_CONFLICT, "%s was claimed meanwhile", end->name + 1);
    const char *const names[] = {end->name};
    code = st_claims_take(s, names, 1, 0, 0, NULL, &claim);
    end->token = claim.token;
    return code == STRATA_OK ? st_claims_finish(s, end) : code;
}

static int decide_one(strata *s, const char *entity)
{
    struct st_str v;
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = shown_value(s, entity, "reported", &v);
    char *text = got == ST_OK ? strndup(v.p, v.n) : NULL;
    st_lib_end(s);
    if (got != ST_OK || text == NULL)
        return st_lib_fail(s, got != ST_OK ? got : ST_NO_MEMORY, "a report cannot be read");
    char word[16] = "", agent[ST_AGENT_SIZE_MAX + 1] = "";
    uint64_t token = 0;
    int head = 0;
    bool valid =
        sscanf(text, "%15[a-z] %" SCNu64 " %64[A-Za-z0-9._-]%n", word, &token, agent, &head) >= 2;
    const char *rest = strchr(text, '\n');
    struct st_claim_end end = {
        .name = entity,
        .token = token,
        .outcome = strcmp(word, "done") == 0 ? ST_OUTCOME_COMMITTED : ST_OUTCOME_FAILED,
        .result = rest != NULL ? rest + 1 : "",
        .result_size = rest != NULL ? strlen(rest + 1) : 0,
    };
    if (!valid)
        code = st_lib_fail(s, ST_CONFLICT, "the report cannot be read");
    else if (token != 0)
        code = st_claims_finish(s, &end);
    else
        code = report_unclaimed(s, &end);
    free(text);
    if (code != STRATA_OK && code != STRATA_CONFLICT && code != STRATA_TIMEOUT)
        return code;
    char refusal[sizeof s->error.message];
    snprintf(refusal, sizeof refusal, "%s", s->error.message);
    return report_end(s, entity, code == STRATA_OK ? NULL : refusal);
}

static int decide_reports(strata *s)
{
    struct reports r = {.count = 0};
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    const struct st_kv *kv = st_index_kv(s->index);
    enum st_code got = kv->scan(kv->ctx, ST_STR("qw"), (struct st_str){"", 0}, visit_reported, &r);
    st_lib_end(s);
    if (got != ST_OK)
        return st_lib_index_fault(s, got);
    for (size_t i = 0; i < r.count && code == STRATA_OK; i++)
        code = decide_one(s, r.list[i]);
    return code;
}

int st_task_settle(strata *s)
{
    if (s->log.read_only)
        return STRATA_OK;
    strata_error kept = s->error;
    int code = copy_all(s);
    if (code == STRATA_OK)
        code = decide_reports(s);
    if (code == STRATA_OK)
        code = copy_all(s);
    if (code != STRATA_UNAVAILABLE)
        return code;
    s->error = kept; /* another copy decides: nothing to do here */
    return STRATA_OK;
}
