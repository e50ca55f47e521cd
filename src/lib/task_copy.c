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

/* dot: of the record that said so; may be NULL. */
static enum st_code shown_number(strata *s, const char *entity, const char *attribute,
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
    enum st_code code = shown_number(s, c->entity, "copied", &position, &copied);
    c->due = position < c->kept.position;
    if (code == ST_OK && c->due)
        code = is_finished(s, c->entity, copied, &c->finished);
    if (code == ST_OK && c->due && c->kept.outcome == ST_CLAIM_RETRY)
        code = shown_number(s, c->entity, "retries", &c->retries, NULL);
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

/* The append lock is held: nobody can copy, or say anything else, between the look and the record.
 */
static int copy_locked(strata *s, struct copies *c)
{
    bool any;
    if (st_index_begin_alone(s->index) != ST_OK)
        return st_lib_index_fault(s, st_index_fault(s->index)->code);
    int code = look_at_all(s, c, &any);
    st_index_end(s->index);
    for (size_t i = 0; i < c->count && code == STRATA_OK; i++) {
        struct telling t;
        if (!c->list[i].due)
            continue;
        tell_copy(&t, &c->list[i]);
        struct st_record r = {.agent = st_str_of(c->list[i].by), .ops = t.ops, .op_count = t.count};
        s->log.quiet = is_quiet(&c->list[i].kept);
        enum st_code put = st_log_append(&s->log, &r, (struct st_hlc){0});
        s->log.quiet = false;
        if (put != ST_OK)
            return st_lib_fault(s, &s->log.fault);
        c->seen = r.dot;
    }
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

static int copy_all(strata *s)
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

/* --- reports ---------------------------------------------------------------------------------- */

/*
 * A report: "WORD TOKEN AGENT\nTEXT"; WORD is done, failed or retry, AGENT "-" when it has none, and
 * the text of a retry as below.
 */
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
    st_task_id_text(id, r->list[r->count]);
    return ++r->count == sizeof r->list / sizeof *r->list ? ST_SCAN_STOP : ST_OK;
}

/* What was decided about: another report that came meanwhile is not touched. */
struct deciding {
    const char *entity, *text;
};

static int check_reported(strata *s, void *arg)
{
    const struct deciding *d = arg;
    struct st_str v;
    struct st_attribute a;
    enum st_code code = st_task_shown(s, d->entity, "reported", &v, &a);
    if (code != ST_OK)
        return st_lib_index_fault(s, code);
    return st_str_equal(v, st_str_of(d->text)) ? STRATA_OK : STRATA_EXISTS;
}

static int report_end(strata *s, struct deciding *d, const char *refusal)
{
    struct st_op ops[2] = {
        {.kind = ST_OP_UNSET, .entity = st_str_of(d->entity), .attribute = ST_STR("reported")},
        {.kind = ST_OP_SET,
         .entity = st_str_of(d->entity),
         .attribute = ST_STR("refused"),
         .value = refusal != NULL ? st_str_of(refusal) : ST_STR("")}};
    struct st_record r = {
        .agent = st_str_of(s->agent), .ops = ops, .op_count = refusal != NULL ? 2 : 1};
    int code = st_lib_append(s, &r, check_reported, d, 0);
    return code == STRATA_EXISTS ? STRATA_OK : code; /* another process has decided, too */
}

/* Whether the ledger has this very end: whoever put it there died before it could say so here. */
static bool is_kept(strata *s, const struct st_claim_end *end)
{
    struct st_claim_kept kept;
    strata_error error = s->error;
    enum st_claim_outcome outcome = end->outcome == ST_OUTCOME_COMMITTED ? ST_CLAIM_DONE
                                    : end->outcome == ST_OUTCOME_FAILED  ? ST_CLAIM_FAILED
                                                                         : ST_CLAIM_RETRY;
    bool is = st_claims_kept(s, end->name, &kept) == STRATA_OK && kept.outcome == outcome &&
              (end->token == 0 || end->token == kept.token) &&
              st_str_equal(kept.result, (struct st_str){end->result, end->result_size});
    s->error = error;
    return is;
}

/* Without a token: accepted if nobody has claimed it. */
static int report_unclaimed(strata *s, const struct st_claim_end *end)
{
    struct st_claim claim;
    int code = st_claims_look(s, &end->name, 1, &claim);
    if (code != STRATA_OK)
        return code;
    return claim.token == 0
               ? st_claims_finish(s, end)
               : st_lib_fail(s, ST_CONFLICT, "%s was claimed meanwhile", end->name + 1);
}

/* The strings are those of `text`, which is taken apart. */
static bool report_parse(char *text, uint64_t retried, struct st_claim_end *out,
                         char agent[ST_AGENT_SIZE_MAX + 1])
{
    static const char *const words[] = {[ST_OUTCOME_COMMITTED] = "done",
                                        [ST_OUTCOME_FAILED] = "failed",
                                        [ST_OUTCOME_RETRY] = "retry"};
    char word[16] = "";
    char *rest = strchr(text, '\n');
    size_t i = 0;
    if (rest == NULL ||
        sscanf(text, "%15[a-z] %" SCNu64 " %64[A-Za-z0-9._-]", word, &out->token, agent) < 2)
        return false;
    while (i < sizeof words / sizeof *words && strcmp(word, words[i]) != 0)
        i++;
    out->outcome = (enum st_outcome)i;
    struct st_str reason = st_str_of(rest + 1);
    uint64_t unused;
    if (out->outcome == ST_OUTCOME_RETRY && retried + 1 >= STRATA_TASK_RETRIES) {
        st_task_retry_parse(reason, &unused, &reason);
        out->outcome = ST_OUTCOME_FAILED;
    }
    out->result = reason.p;
    out->result_size = reason.n;
    return i < sizeof words / sizeof *words;
}

static int retries_of(strata *s, const char *entity, uint64_t *out)
{
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = shown_number(s, entity, "retries", out, NULL);
    st_lib_end(s);
    return got == ST_OK ? STRATA_OK : st_lib_index_fault(s, got);
}

static int decide(strata *s, const char *entity, char *text)
{
    char agent[ST_AGENT_SIZE_MAX + 1] = "", own[ST_AGENT_SIZE_MAX + 1];
    struct st_claim_end end = {.name = entity};
    uint64_t retried, incarnation = s->incarnation;
    int code = retries_of(s, entity, &retried);
    if (code != STRATA_OK)
        return code;
    if (!report_parse(text, retried, &end, agent))
        return st_lib_fail(s, ST_CONFLICT, "the report cannot be read");
    /* It is said in the name of who reported it. */
    strcpy(own, s->agent);
    if (st_agent_check(st_str_of(agent)) == ST_OK) {
        strcpy(s->agent, agent);
        s->incarnation = 0;
    }
    code = end.token != 0 ? st_claims_finish(s, &end) : report_unclaimed(s, &end);
#ifndef ST_DEFECT_REPORT_DECIDED_TWICE
    if (code == STRATA_CONFLICT && is_kept(s, &end))
        code = STRATA_OK;
#endif
    strcpy(s->agent, own);
    s->incarnation = incarnation;
    return code;
}

static int decide_one(strata *s, const char *entity)
{
    struct st_str v;
    struct st_attribute a;
    int code = st_lib_begin(s);
    if (code != STRATA_OK)
        return code;
    enum st_code got = st_task_shown(s, entity, "reported", &v, &a);
    char *text = got == ST_OK ? strndup(v.p, v.n) : NULL;
    char *parts = text != NULL ? strdup(text) : NULL;
    st_lib_end(s);
    if (parts == NULL) {
        free(text);
        return st_lib_fail(s, got != ST_OK ? got : ST_NO_MEMORY, "a report cannot be read");
    }
    struct deciding d = {entity, text};
    if (text[0] != '\0') {
        code = decide(s, entity, parts);
        if (code == STRATA_OK || code == STRATA_CONFLICT) {
            char refusal[sizeof s->error.message];
            snprintf(refusal, sizeof refusal, "%s", s->error.message);
            code = report_end(s, &d, code == STRATA_OK ? NULL : refusal);
        }
    }
    free(parts);
    free(text);
    return code;
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
    if (r.count == 0)
        return STRATA_OK;
    code = copy_all(s); /* it tells how often a task was tried again */
    if (code == STRATA_OK && !st_strong_here(s->strong))
        return STRATA_OK; /* another copy decides */
    for (size_t i = 0; i < r.count && code == STRATA_OK; i++)
        code = decide_one(s, r.list[i]);
    return code;
}

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
    int code = copy_all(s);
    if (code == STRATA_OK)
        code = decide_reports(s);
#else
    int code = decide_reports(s);
    if (code == STRATA_OK)
        code = copy_all(s);
#endif
    if (code == STRATA_OK || code == STRATA_UNAVAILABLE) {
        s->settled_ns = s->log.env->boot_ns(s->log.env->ctx);
        s->unsettled = false;
    }
    if (code != STRATA_UNAVAILABLE)
        return code;
    s->error = kept; /* another copy decides: nothing to do here */
    return STRATA_OK;
}

enum st_code st_task_copied(strata *s, const char *entity, uint64_t position, bool *copied)
{
    uint64_t known = 0;
    enum st_code code = position > 0 ? shown_number(s, entity, "copied", &known, NULL) : ST_OK;
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
