/*
 * task_copy.c - from the ledger into the channels.
 *
 * What the strong layer has accepted (a checkpoint, an end, a reopening) is told in the channel by
 * an ordinary record, so that every copy sees it. The two logs cannot be written in one step: the
 * ledger remembers what was not yet copied, and every process that reads or ends tasks makes up for
 * what one that died has left. The attribute `copied` of a task is the ledger's position of what
 * was copied last, so that an old copy never comes after a newer word.
 *
 * The other way round go reports from copies that do not decide (task_reports.c).
 */
#include "lib/task.h"

#include "lib/strong.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* So many under one lock. */
#define COPIES_MAX 256

struct copy {
    char entity[ST_NUMBERED_SIZE + 1];
    char by[ST_AGENT_SIZE_MAX + 1];
    struct st_claim_kept kept; /* texts owned: result.p, checkpoint.p */
    /* of the channel */
    bool due, finished;
    uint64_t retries;
};

struct copies {
    struct copy *list;
    size_t count, cap;
    struct st_dot seen; /* the record that the last look knew of, or that was written */
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
    if (!st_grow(&c->list, &c->cap, c->count + 1, sizeof *c->list))
        return STRATA_NO_MEMORY;
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

enum st_code st_task_shown(strata *s, const char *entity, const char *attribute, struct st_str *out,
                           struct st_attribute *a)
{
    *out = ST_STR("");
    enum st_code code = st_attribute_read(st_index_kv(s->index), st_str_of(entity),
                                          st_str_of(attribute), &s->read, a);
    if (code == ST_OK && a->shown < a->count && a->items[a->shown].kind == ST_ITEM_VALUE)
        *out = a->items[a->shown].value;
    return code;
}

static uint64_t number_of(struct st_str v)
{
    uint64_t n = 0;
    for (size_t i = 0; i < v.n && v.p[i] >= '0' && v.p[i] <= '9' && i < 16; i++)
        n = n * 10 + (uint64_t)(v.p[i] - '0');
    return n;
}

enum st_code st_task_shown_number(strata *s, const char *entity, const char *attribute,
                                  uint64_t *out, struct st_dot *dot)
{
    struct st_str v;
    struct st_attribute a;
    enum st_code code = st_task_shown(s, entity, attribute, &v, &a);
    *out = number_of(v);
    if (dot != NULL)
        *dot = code == ST_OK && v.n > 0 ? a.items[a.shown].dot : (struct st_dot){.counter = 0};
    return code;
}

/* Whether somebody has said that it is finished who did not ask the ledger, as an operator who
 * cancelled it, or another copy: in another record than the last copy. */
static enum st_code is_finished(strata *s, const char *entity, struct st_dot copied, bool *out)
{
    struct st_str v;
    struct st_attribute a;
    enum st_code code = st_task_shown(s, entity, "state", &v, &a);
    *out = false;
    for (size_t i = 0; i < a.count && code == ST_OK; i++)
        *out = *out ||
               (a.items[i].kind == ST_ITEM_VALUE && st_dot_compare(a.items[i].dot, copied) != 0 &&
                st_task_finished(st_task_state_of(a.items[i].value)));
    return code;
}

/* What the channel knows of it: c->due, c->finished, c->retries. */
static int look_at(strata *s, struct copy *c)
{
    uint64_t position;
    struct st_dot copied;
    enum st_code code = st_task_shown_number(s, c->entity, "copied", &position, &copied);
    c->due = position < c->kept.position;
    if (code == ST_OK && c->due)
        code = is_finished(s, c->entity, copied, &c->finished);
    if (code == ST_OK && c->due && c->kept.outcome == ST_CLAIM_RETRY)
        code = st_task_shown_number(s, c->entity, "retries", &c->retries, NULL);
    return code == ST_OK ? STRATA_OK : st_lib_index_fault(s, code);
}

static int look_at_all(strata *s, struct copies *c, bool *any)
{
    int code = STRATA_OK;
    *any = false;
    for (size_t i = 0; i < c->count && code == STRATA_OK; i++) {
        code = look_at(s, &c->list[i]);
        *any = *any || c->list[i].due;
    }
    c->seen = st_index_applied(s->index);
    return code;
}

/* A record in the making. */
struct telling {
    const char *entity;
    struct st_op ops[6];
    size_t count;
    char position[24], retries[24], not_before[ST_TIME_SIZE];
};

static struct st_op *tell_op(struct telling *t, const char *attribute, struct st_str value)
{
    struct st_op *op = &t->ops[t->count++];
    *op = (struct st_op){.kind = value.n > 0 ? ST_OP_SET : ST_OP_UNSET,
                         .entity = st_str_of(t->entity),
                         .attribute = st_str_of(attribute),
                         .value = value};
    return op;
}

/* Finished absorbs: where the channel says already that it is, both words are kept and pending. */
static void tell_end(struct telling *t, const char *attribute, struct st_str value, bool beside)
{
    if (value.n == 0)
        return;
    struct st_op *op = tell_op(t, attribute, value);
    op->has_at = beside; /* an empty context: it replaces nothing */
#ifdef ST_DEFECT_END_REPLACES
    op->has_at = false;
#endif
}

static void tell_retry(struct telling *t, uint64_t retries, struct st_str text)
{
    uint64_t not_before_ms;
    struct st_str reason;
    st_task_retry_parse(text, &not_before_ms, &reason);
    snprintf(t->retries, sizeof t->retries, "%" PRIu64, retries + 1);
    tell_op(t, "retries", st_str_of(t->retries));
    if (reason.n > 0)
        tell_op(t, "reason", reason);
    if (not_before_ms != 0 && st_task_time(not_before_ms, t->not_before))
        tell_op(t, "not_before", st_str_of(t->not_before));
}

static void tell_copy(struct telling *t, const struct copy *c)
{
    const struct st_claim_kept *k = &c->kept;
    *t = (struct telling){.entity = c->entity};
    snprintf(t->position, sizeof t->position, "%" PRIu64, k->position);
    tell_op(t, "copied", st_str_of(t->position));
    if (st_claim_is_over(k->outcome)) {
        bool done = k->outcome == ST_CLAIM_DONE;
        tell_end(t, "state", st_str_of(st_claim_outcome_name(k->outcome)), c->finished);
        tell_end(t, done ? "result" : "reason", k->result, c->finished);
    } else if (k->outcome == ST_CLAIM_RETRY) {
        tell_retry(t, c->retries, k->result);
    } else if (k->token != 0) {
        tell_op(t, "state", ST_STR("open"));
    }
    if (k->checkpoint_token != 0)
        tell_op(t, "checkpoint", k->checkpoint);
}

/* Whether it takes nothing away from what others have seen to be ready: an end, or a checkpoint, of
 * what only its holder could end. */
static bool is_quiet(const struct st_claim_kept *k)
{
    return st_claim_is_over(k->outcome) || (k->outcome == ST_CLAIM_NONE && k->token == 0);
}

/* Records that are appended with one write. */
#define TOLD_MAX 32

struct told {
    struct telling tellings[TOLD_MAX];
    struct st_record records[TOLD_MAX];
    size_t count;
    bool quiet;
};

static int told_append(strata *s, struct told *t, struct st_dot *seen)
{
    if (t->count == 0)
        return STRATA_OK;
    s->log.quiet = t->quiet;
    enum st_code put = st_log_append_all(&s->log, t->records, t->count, (struct st_hlc){0});
    s->log.quiet = false;
    if (put != ST_OK)
        return st_lib_fault(s, &s->log.fault);
    *seen = t->records[t->count - 1].dot;
    t->count = 0;
    return STRATA_OK;
}

static int told_add(strata *s, struct told *t, const struct copy *c, struct st_dot *seen)
{
    bool quiet = is_quiet(&c->kept);
    int code = STRATA_OK;
    if (t->count == TOLD_MAX || (t->count > 0 && t->quiet != quiet))
        code = told_append(s, t, seen);
    if (code != STRATA_OK)
        return code;
    struct telling *telling = &t->tellings[t->count];
    tell_copy(telling, c);
    t->records[t->count++] = (struct st_record){
        .agent = st_str_of(c->by), .ops = telling->ops, .op_count = telling->count};
    t->quiet = quiet;
    return STRATA_OK;
}

/* The append lock is held: nobody can copy, or say anything else, between the look and the record.
 */
static int copy_locked(strata *s, struct copies *c)
{
    bool any;
    if (st_index_begin_alone(s->index) != ST_OK)
        return st_lib_index_fault(s, st_index_fault(s->index)->code);
    int code = look_at_all(s, c, &any);
    st_index_end(s->index);
    struct told *t = malloc(sizeof *t); /* large, and mostly little of it is used */
    if (t == NULL)
        return st_lib_fail(s, ST_NO_MEMORY, "out of memory; nothing was recorded");
    t->count = 0;
    for (size_t i = 0; i < c->count && code == STRATA_OK; i++)
        if (c->list[i].due)
            code = told_add(s, t, &c->list[i], &c->seen);
    if (code == STRATA_OK)
        code = told_append(s, t, &c->seen);
    free(t);
    return code;
}

/* Most are found copied, as their writer has done it; else all of them under one lock. */
static int copy_list(strata *s, struct copies *c)
{
    bool any;
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    code = look_at_all(s, c, &any);
    st_lib_end(s);
    if (code != STRATA_OK || !any)
        return code;
    if (st_log_lock(&s->log) != ST_OK)
        return st_lib_fault(s, &s->log.fault);
    code = copy_locked(s, c);
    st_log_unlock(&s->log);
    st_lib_log_notices(s);
    /* While the rows are in memory that were looked at. */
    if (code == STRATA_OK)
        (void)st_index_catch_up(s->index, 0);
    return code;
}

static void copies_release(struct copies *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free((void *)(uintptr_t)c->list[i].kept.result.p);
        free((void *)(uintptr_t)c->list[i].kept.checkpoint.p);
    }
    free(c->list);
}

int st_task_copy_all(strata *s)
{
    for (;;) {
        struct copies c = {.count = 0};
        int code = st_claims_uncopied(s, visit_uncopied, &c);
        if (code == STRATA_OK && c.count > 0)
            code = copy_list(s, &c);
        if (code == STRATA_OK && c.count > 0)
            st_claims_copied(s, c.list[c.count - 1].kept.position, c.count, c.seen);
        bool more = code == STRATA_OK && c.count == COPIES_MAX;
        copies_release(&c);
        if (!more)
            return code;
    }
}

/* --- ends ------------------------------------------------------------------------------------- */

int st_task_ending_init(strata *s, struct st_task_ending *e, const char *entity,
                        const strata_task_end *asked, uint64_t retried)
{
    size_t size = st_task_text_size(asked->text, asked->text_size);
    bool retry = strcmp(asked->state, "retry") == 0 && retried + 1 < STRATA_TASK_RETRIES;
    e->end = (struct st_claim_end){
        .name = entity,
        .token = asked->token,
        .outcome = retry                               ? ST_OUTCOME_RETRY
                   : strcmp(asked->state, "done") == 0 ? ST_OUTCOME_COMMITTED
                                                       : ST_OUTCOME_FAILED,
        .result = asked->text,
        .result_size = size,
    };
    st_buf_init(&e->text, st_alloc_libc());
    if (!retry)
        return STRATA_OK;
    uint64_t now_ms = s->log.env->wall_ms(s->log.env->ctx);
    st_buf_add_u64(&e->text, asked->retry_in_ms > 0 ? now_ms + asked->retry_in_ms : 0);
    st_buf_add_char(&e->text, '\n');
    st_buf_add(&e->text, asked->text, size);
    if (e->text.failed)
        return st_lib_fail(s, ST_NO_MEMORY, "out of memory; nothing was recorded");
    e->end.result = e->text.p;
    e->end.result_size = e->text.n;
    return STRATA_OK;
}

void st_task_ending_release(struct st_task_ending *e)
{
    st_buf_release(&e->text);
}

void st_task_retry_parse(struct st_str text, uint64_t *not_before_ms, struct st_str *reason)
{
    size_t digits = 0;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    *not_before_ms = 0;
    *reason = text;
    if (digits == 0 || digits == text.n || text.p[digits] != '\n')
        return;
    *not_before_ms = number_of(text);
    *reason = (struct st_str){text.p + digits + 1, text.n - digits - 1};
}

int st_task_tell_retry(strata *s, const char *entity, uint64_t retried, struct st_str text)
{
    struct telling t = {.entity = entity};
    tell_retry(&t, retried, text);
    struct st_record r = {.agent = st_str_of(s->agent),
                          .incarnation = s->incarnation,
                          .ops = t.ops,
                          .op_count = t.count};
    return st_lib_append(s, &r, NULL, NULL, 0);
}

/* --- settling ---------------------------------------------------------------------------------- */

int st_task_settle(strata *s)
{
    if (s->log.read_only)
        return STRATA_OK;
    strata_error kept = s->error;
#ifdef ST_DEFECT_NO_COPY
    return STRATA_OK;
#endif
    /* In this order: a report that another process has decided meanwhile is gone only when its end is
     * there to be copied. */
#ifdef ST_DEFECT_ENDS_BEFORE_REPORTS
    int code = st_task_copy_all(s);
    if (code == STRATA_OK)
        code = st_task_reports_decide(s);
#else
    int code = st_task_reports_decide(s);
    if (code == STRATA_OK)
        code = st_task_copy_all(s);
#endif
    if (code == STRATA_OK || code == STRATA_UNAVAILABLE)
        s->unsettled = false;
    if (code != STRATA_UNAVAILABLE)
        return code;
    s->error = kept; /* another copy decides: nothing to do here */
    return STRATA_OK;
}

enum st_code st_task_copied(strata *s, const char *entity, uint64_t position, bool *copied)
{
    uint64_t known = 0;
    enum st_code code =
        position > 0 ? st_task_shown_number(s, entity, "copied", &known, NULL) : ST_OK;
    *copied = known >= position;
    return code;
}

/* How late others may see what was ended: far below what anybody waits for. Nanoseconds. */
#define SOON_NS 20000000ull

int st_task_settle_soon(strata *s)
{
    bool other = s->strong != NULL && !st_strong_looked(s->strong, SOON_NS, &s->settled_ns);
    if (other || !st_pool_settle_begin(s))
        return STRATA_OK;
    int code = st_task_settle(s);
    st_pool_settle_end(s);
    return code;
}
