/*
 * task.c - names of tasks and messages, and the bytes of their rows (task.h).
 *
 * Values (v: varint, bytes: v length and that many bytes):
 *   summary  byte flags (1 task, 2 message, 4 acknowledged, 8 reported), byte state, byte priority,
 *            v waits, v not_before, bytes channel, bytes agent, bytes key, bytes to
 *   totals   v tasks, v unfinished, v ready, v messages, v waiting, v deferred, v failed, v cancelled
 */
#include "core/task_internal.h"

#include "core/date.h"

/* --- names ------------------------------------------------------------------------------------ */

static bool suffix_valid(struct st_str s)
{
    if (s.n == 0 || s.n > ST_SUFFIX_SIZE_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

bool st_task_id_parse(struct st_str entity, struct st_task_id *out)
{
    *out = (struct st_task_id){.suffix = {"", 0}};
    if (st_entity_kind(entity) != ST_ENTITY_NUMBERED || entity.p[1] == '0')
        return false;
    size_t i = 1;
    for (; i < entity.n && entity.p[i] >= '0' && entity.p[i] <= '9'; i++) {
        out->number = out->number * 10 + (uint64_t)(entity.p[i] - '0');
        if (out->number > ST_NUMBER_MAX)
            return false;
    }
    if (i == entity.n)
        return true;
    out->suffix = (struct st_str){entity.p + i + 1, entity.n - i - 1};
    return entity.p[i] == '@' && suffix_valid(out->suffix);
}

void st_task_id_add(struct st_buf *out, struct st_task_id id)
{
    st_buf_add_char(out, '#');
    st_buf_add_u64(out, id.number);
    if (id.suffix.n > 0) {
        st_buf_add_char(out, '@');
        st_buf_add_str(out, id.suffix);
    }
}

/* --- times ------------------------------------------------------------------------------------ */

static bool digits(struct st_str text, size_t at, size_t count, unsigned *out)
{
    *out = 0;
    for (size_t i = at; i < at + count; i++) {
        if (i >= text.n || text.p[i] < '0' || text.p[i] > '9')
            return false;
        *out = *out * 10 + (unsigned)(text.p[i] - '0');
    }
    return true;
}

bool st_time_parse(struct st_str t, uint64_t *ms)
{
    unsigned year, month, day, hour, minute, second, milli = 0;
    static const char shape[] = "    -  -  T  :  :  ";
    for (size_t i = 0; i < sizeof shape - 1; i++)
        if (i >= t.n || (shape[i] != ' ' && t.p[i] != shape[i]))
            return false;
    if (!digits(t, 0, 4, &year) || !digits(t, 5, 2, &month) || !digits(t, 8, 2, &day) ||
        !digits(t, 11, 2, &hour) || !digits(t, 14, 2, &minute) || !digits(t, 17, 2, &second))
        return false;
    size_t end = sizeof shape - 1;
    if (end < t.n && t.p[end] == '.') {
        if (!digits(t, end + 1, 3, &milli))
            return false;
        end += 4;
    }
    if (end + 1 != t.n || t.p[end] != 'Z' || year < 1970 || month < 1 || month > 12 || day < 1 ||
        day > 31 || hour > 23 || minute > 59 || second > 60)
        return false;
    uint64_t days = (uint64_t)st_date_days((struct st_date){year, month, day});
    *ms = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + milli;
    return true;
}

/* --- keys ------------------------------------------------------------------------------------- */

static void key_begin(struct st_buf *out, char kind)
{
    st_buf_add_char(out, 'q');
    st_buf_add_char(out, kind);
}

static void add_name(struct st_buf *out, struct st_str name)
{
    st_buf_add_str(out, name);
    st_buf_add_char(out, '\0');
}

static void add_id(struct st_buf *out, struct st_task_id id)
{
    st_row_add_u64(out, id.number);
    add_name(out, id.suffix);
}

void st_task_key(struct st_buf *out, struct st_task_id id)
{
    key_begin(out, 't');
    add_id(out, id);
}

void st_task_key_unfinished(struct st_buf *out, struct st_task_id id)
{
    key_begin(out, 'o');
    add_id(out, id);
}

void st_task_key_failed(struct st_buf *out, struct st_task_id id)
{
    key_begin(out, 'f');
    add_id(out, id);
}

void st_task_key_reported(struct st_buf *out, struct st_task_id id)
{
    key_begin(out, 'w');
    add_id(out, id);
}

void st_task_key_ready(struct st_buf *out, struct st_str channel, struct st_str agent)
{
    key_begin(out, 'r');
    add_name(out, channel);
    add_name(out, agent);
}

void st_task_key_ready_priority(struct st_buf *out, struct st_str channel, struct st_str agent,
                                uint8_t priority)
{
    st_task_key_ready(out, channel, agent);
    st_buf_add_char(out, (char)priority);
}

void st_task_key_number(struct st_buf *out, uint64_t number)
{
    st_row_add_u64(out, number);
}

void st_task_key_place(struct st_buf *out, const struct st_task *t, struct st_task_id id)
{
    if (t->not_before_ms != 0) {
        key_begin(out, 'd');
        st_row_add_u64(out, t->not_before_ms);
    } else {
        st_task_key_ready(out, t->channel, t->agent);
        st_buf_add_char(out, (char)t->priority);
    }
    add_id(out, id);
}

void st_task_key_dependents(struct st_buf *out, struct st_str target)
{
    key_begin(out, 'v');
    add_name(out, target);
}

void st_task_key_dependent(struct st_buf *out, struct st_str target, struct st_task_id id)
{
    st_task_key_dependents(out, target);
    add_id(out, id);
}

void st_task_key_keyed(struct st_buf *out, struct st_str key)
{
    key_begin(out, 'k');
    add_name(out, key);
}

void st_task_key_of_key(struct st_buf *out, struct st_str key, struct st_task_id id)
{
    st_task_key_keyed(out, key);
    add_id(out, id);
}

void st_task_key_inbox(struct st_buf *out, struct st_str agent)
{
    key_begin(out, 'i');
    add_name(out, agent);
}

void st_task_key_message(struct st_buf *out, struct st_str agent, struct st_task_id id)
{
    st_task_key_inbox(out, agent);
    add_id(out, id);
}

void st_task_key_inbox_count(struct st_buf *out, struct st_str agent)
{
    key_begin(out, 'I');
    add_name(out, agent);
}

/* Takes a name with its NUL off the front. */
static bool take_name(struct st_str *s, struct st_str *out)
{
    const char *end = s->n > 0 ? memchr(s->p, '\0', s->n) : NULL;
    if (end == NULL)
        return false;
    *out = (struct st_str){s->p, (size_t)(end - s->p)};
    s->n -= out->n + 1;
    s->p = end + 1;
    return true;
}

static bool take_id(struct st_str *s, struct st_task_id *out)
{
    return st_row_take_u64(s, &out->number) && take_name(s, &out->suffix) && s->n == 0;
}

bool st_task_id_take(struct st_str key, size_t at, struct st_task_id *out)
{
    struct st_str rest = {key.p + at, key.n - at};
    return at <= key.n && take_id(&rest, out);
}

bool st_task_ready_split(struct st_str key, struct st_task_ready_key *out)
{
    struct st_str rest = {key.p + 2, key.n - 2};
    if (key.n < 2 || !take_name(&rest, &out->channel) || !take_name(&rest, &out->agent) ||
        rest.n == 0)
        return false;
    out->priority = (uint8_t)rest.p[0];
    rest.p++;
    rest.n--;
    return take_id(&rest, &out->id);
}

bool st_task_deferred_split(struct st_str key, uint64_t *not_before_ms, struct st_task_id *id)
{
    struct st_str rest = {key.p + 2, key.n - 2};
    return key.n >= 2 && st_row_take_u64(&rest, not_before_ms) && take_id(&rest, id);
}

/* --- values ----------------------------------------------------------------------------------- */

#define FLAG_TASK         1u
#define FLAG_MESSAGE      2u
#define FLAG_ACKNOWLEDGED 4u
#define FLAG_REPORTED     8u

void st_task_encode(struct st_buf *out, const struct st_task *t)
{
    unsigned flags = (t->is_task ? FLAG_TASK : 0) | (t->is_message ? FLAG_MESSAGE : 0) |
                     (t->acknowledged ? FLAG_ACKNOWLEDGED : 0) | (t->reported ? FLAG_REPORTED : 0);
    st_buf_add_char(out, (char)flags);
    st_buf_add_char(out, (char)t->state);
    st_buf_add_char(out, (char)t->priority);
    st_buf_add_varint(out, t->waits);
    st_buf_add_varint(out, t->not_before_ms);
    st_row_add_bytes(out, t->channel);
    st_row_add_bytes(out, t->agent);
    st_row_add_bytes(out, t->key);
    st_row_add_bytes(out, t->to);
}

enum st_code st_task_decode(struct st_str row, struct st_task *out)
{
    if (row.n < 3 || (unsigned char)row.p[1] > ST_TASK_CANCELLED ||
        (unsigned char)row.p[2] > ST_PRIORITY_MAX)
        return ST_DAMAGED;
    *out = (struct st_task){
        .is_task = ((unsigned char)row.p[0] & FLAG_TASK) != 0,
        .is_message = ((unsigned char)row.p[0] & FLAG_MESSAGE) != 0,
        .acknowledged = ((unsigned char)row.p[0] & FLAG_ACKNOWLEDGED) != 0,
        .reported = ((unsigned char)row.p[0] & FLAG_REPORTED) != 0,
        .state = (enum st_task_state)row.p[1],
        .priority = (uint8_t)row.p[2],
    };
    row.p += 3;
    row.n -= 3;
    return st_take_varint(&row, &out->waits) && st_take_varint(&row, &out->not_before_ms) &&
                   st_row_take_bytes(&row, &out->channel) && st_row_take_bytes(&row, &out->agent) &&
                   st_row_take_bytes(&row, &out->key) && st_row_take_bytes(&row, &out->to) &&
                   row.n == 0
               ? ST_OK
               : ST_DAMAGED;
}

void st_task_totals_encode(struct st_buf *out, const struct st_task_totals *t)
{
    st_buf_add_varint(out, t->tasks);
    st_buf_add_varint(out, t->unfinished);
    st_buf_add_varint(out, t->ready);
    st_buf_add_varint(out, t->messages);
    st_buf_add_varint(out, t->waiting);
    st_buf_add_varint(out, t->deferred);
    st_buf_add_varint(out, t->failed);
    st_buf_add_varint(out, t->cancelled);
}

enum st_code st_task_totals_read(const struct st_kv *kv, struct st_task_totals *out)
{
    struct st_str row;
    *out = (struct st_task_totals){0};
    enum st_code code = kv->get(kv->ctx, ST_STR("qn"), &row);
    if (code == ST_NOT_FOUND)
        return ST_OK;
    if (code != ST_OK)
        return code;
    return st_take_varint(&row, &out->tasks) && st_take_varint(&row, &out->unfinished) &&
                   st_take_varint(&row, &out->ready) && st_take_varint(&row, &out->messages) &&
                   st_take_varint(&row, &out->waiting) && st_take_varint(&row, &out->deferred) &&
                   st_take_varint(&row, &out->failed) && st_take_varint(&row, &out->cancelled)
               ? ST_OK
               : ST_DAMAGED;
}

enum st_code st_task_read(const struct st_kv *kv, struct st_str entity, struct st_buf *scratch,
                          struct st_task *out)
{
    struct st_task_id id;
    struct st_str row;
    *out = (struct st_task){.priority = ST_PRIORITY_DEFAULT};
    if (!st_task_id_parse(entity, &id))
        return ST_NOT_FOUND;
    st_buf_reset(scratch);
    st_task_key(scratch, id);
    if (scratch->failed)
        return ST_NO_MEMORY;
    enum st_code code = kv->get(kv->ctx, st_buf_str(scratch), &row);
    return code == ST_OK ? st_task_decode(row, out) : code;
}
