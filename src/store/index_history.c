/*
 * index_history.c - every operation in the order in which this replica applied it.
 *
 * 126 entries make a chunk, one row of the table hist; the last, unfinished chunk is rewritten with
 * every commit. In a chunk each entry is five varints: how many entries before it the one on the same
 * attribute is (0: there is none), the writer's number, the number of the operation, and by how much
 * segment and offset are more than those of the entry before it in the chunk (zigzag).
 */
#include "store/index_internal.h"

#include <stdlib.h>
#include <string.h>

/* --- chunks ------------------------------------------------------------------------------------- */

static uint64_t zigzag(uint64_t to, uint64_t from)
{
    uint64_t d = to - from;
    return d << 1 ^ (0 - (d >> 63));
}

static uint64_t unzigzag(uint64_t z, uint64_t from)
{
    return from + (z >> 1 ^ (0 - (z & 1)));
}

/* The chunk whose first entry has the number `first`. */
static void chunk_pack(struct st_buf *out, uint64_t first, const struct st_place *list,
                       size_t count)
{
    struct st_place before = {0};
    for (size_t i = 0; i < count; i++) {
        const struct st_place *e = &list[i];
        st_buf_add_varint(out, e->previous == 0 ? 0 : first + i - e->previous);
        st_buf_add_varint(out, e->writer_no);
        st_buf_add_varint(out, e->op);
        st_buf_add_varint(out, zigzag(e->segment, before.segment));
        st_buf_add_varint(out, zigzag(e->offset, before.offset));
        before = *e;
    }
}

static bool take_u32(struct st_str *s, uint32_t *out)
{
    uint64_t n;
    if (!st_take_varint(s, &n) || n > UINT32_MAX)
        return false;
    *out = (uint32_t)n;
    return true;
}

/* Its first `count` entries. */
static bool chunk_unpack(struct st_str data, uint64_t first, struct st_place *list, size_t count)
{
    struct st_place e = {0};
    for (size_t i = 0; i < count; i++) {
        uint64_t distance, segment, offset;
        if (!st_take_varint(&data, &distance) || distance >= first + i ||
            !take_u32(&data, &e.writer_no) || !take_u32(&data, &e.op) ||
            !st_take_varint(&data, &segment) || !st_take_varint(&data, &offset))
            return false;
        e.previous = distance == 0 ? 0 : first + i - distance;
        e.segment = unzigzag(segment, e.segment);
        e.offset = unzigzag(offset, e.offset);
        list[i] = e;
    }
    return true;
}

/* Reads the first `count` entries of a chunk. */
static enum st_code chunk_read(struct st_index *x, uint64_t chunk, struct st_place *list,
                               size_t count)
{
    sqlite3_stmt *s = st_index_sql(x, ST_SQL_CHUNK_GET);
    if (s == NULL)
        return x->fault.code;
    sqlite3_bind_int64(s, 1, (sqlite3_int64)chunk);
    int r = sqlite3_step(s);
    enum st_code code = ST_OK;
    struct st_str data = {"", 0};
    if (r == SQLITE_ROW)
        data = (struct st_str){sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0)};
    if (r != SQLITE_ROW && r != SQLITE_DONE)
        code = st_index_sql_fail(x, "read");
    else if (!chunk_unpack(data, chunk * ST_CHUNK_ENTRIES + 1, list, count))
        code = st_fail(&x->fault, ST_DAMAGED, "the history of the index is cut short");
    sqlite3_reset(s);
    return code;
}

static enum st_code chunk_write(struct st_index *x, uint64_t first, const struct st_place *list,
                                size_t count)
{
    sqlite3_stmt *s = st_index_sql(x, ST_SQL_CHUNK_PUT);
    if (s == NULL)
        return x->fault.code;
    st_buf_reset(&x->value);
    chunk_pack(&x->value, first, list, count);
    if (x->value.failed)
        return st_fail(&x->fault, ST_NO_MEMORY, "out of memory for the index");
    sqlite3_bind_int64(s, 1, (sqlite3_int64)((first - 1) / ST_CHUNK_ENTRIES));
    sqlite3_bind_blob(s, 2, x->value.p, (int)x->value.n, SQLITE_STATIC);
    int r = sqlite3_step(s);
    sqlite3_reset(s);
    return r == SQLITE_DONE ? ST_OK : st_index_sql_fail(x, "write");
}

/* --- the end ------------------------------------------------------------------------------------ */

void st_history_forget(struct st_index *x)
{
    x->tail_count = 0;
    x->tail_first = 0;
}

static enum st_code tail_grow(struct st_index *x, size_t count)
{
    return st_grow(&x->tail, &x->tail_cap, count, sizeof *x->tail)
               ? ST_OK
               : st_fail(&x->fault, ST_NO_MEMORY, "out of memory for the index");
}

/* Brings the unfinished chunk into the buffer. */
static enum st_code tail_load(struct st_index *x)
{
    if (x->tail_first != 0)
        return ST_OK;
    uint64_t chunk = x->position.entries / ST_CHUNK_ENTRIES;
    size_t want = x->position.entries % ST_CHUNK_ENTRIES;
    enum st_code code = tail_grow(x, ST_CHUNK_ENTRIES);
    if (code == ST_OK && want > 0)
        code = chunk_read(x, chunk, x->tail, want);
    if (code != ST_OK)
        return code;
    x->tail_first = chunk * ST_CHUNK_ENTRIES + 1;
    x->tail_count = want;
    return ST_OK;
}

enum st_code st_history_push(struct st_index *x, uint32_t writer_no, uint64_t segment,
                             uint64_t offset, size_t ops)
{
    enum st_code code = tail_load(x);
    if (code == ST_OK && x->writing && x->tail_count >= ST_TAIL_ENTRIES_MAX)
        code = st_history_flush(x);
    if (code == ST_OK)
        code = tail_grow(x, x->tail_count + ops);
    if (code != ST_OK)
        return code;
    for (size_t i = 0; i < ops; i++)
        x->tail[x->tail_count++] = (struct st_place){0, writer_no, (uint32_t)i, segment, offset};
    x->position.entries += ops;
    return ST_OK;
}

void st_history_set_previous(struct st_index *x, uint64_t number, uint64_t previous)
{
    ST_ASSERT(number >= x->tail_first && number < x->tail_first + x->tail_count);
    x->tail[number - x->tail_first].previous = previous;
}

enum st_code st_history_flush(struct st_index *x)
{
    if (x->tail_first == 0)
        return ST_OK;
    for (size_t written = 0; written < x->tail_count; written += ST_CHUNK_ENTRIES) {
        size_t left = x->tail_count - written;
        enum st_code code = chunk_write(x, x->tail_first + written, x->tail + written,
                                        left < ST_CHUNK_ENTRIES ? left : ST_CHUNK_ENTRIES);
        if (code != ST_OK)
            return code;
    }
    /* Keep the unfinished chunk. */
    size_t keep = x->tail_count % ST_CHUNK_ENTRIES, gone = x->tail_count - keep;
    memmove(x->tail, x->tail + gone, keep * sizeof *x->tail);
    x->tail_first += gone;
    x->tail_count = keep;
    return ST_OK;
}

/* --- looking up --------------------------------------------------------------------------------- */

enum st_code st_index_entry(struct st_index *x, uint64_t number, struct st_index_entry *out)
{
    if (number == 0 || number > x->position.entries)
        return ST_NOT_FOUND;
    enum st_code code = st_index_writers_load(x);
    if (code != ST_OK)
        return code;
    struct st_place e;
    if (x->tail_first != 0 && number >= x->tail_first) {
        e = x->tail[number - x->tail_first];
    } else {
        struct st_place list[ST_CHUNK_ENTRIES];
        size_t at = (number - 1) % ST_CHUNK_ENTRIES;
        code = chunk_read(x, (number - 1) / ST_CHUNK_ENTRIES, list, at + 1);
        if (code != ST_OK)
            return code;
        e = list[at];
    }
    if (e.writer_no == 0 || e.writer_no > x->writer_count)
        return st_fail(&x->fault, ST_DAMAGED, "the history of the index names an unknown writer");
    *out = (struct st_index_entry){
        .previous = e.previous,
        .writer = x->writers[e.writer_no - 1].writer,
        .op = e.op,
        .segment = e.segment,
        .offset = e.offset,
    };
    return ST_OK;
}

enum st_code st_index_head(struct st_index *x, struct st_str key, uint64_t *number)
{
    return st_rows_head(x, key, number);
}

enum st_code st_index_record(struct st_index *x, const struct st_index_entry *entry,
                             struct st_record *out)
{
    struct st_log_reader *r = &x->history_reader;
    enum st_code code = ST_OK;
    /* The operations of one record follow each other. */
    if (x->history_reader_open && x->read_segment == entry->segment &&
        x->read_offset == entry->offset && st_writer_compare(r->writer, entry->writer) == 0 &&
        entry->op < x->read_record.op_count) {
        *out = x->read_record;
        return ST_OK;
    }
    x->read_segment = 0;
    if (x->history_reader_open && st_writer_compare(r->writer, entry->writer) != 0) {
        st_log_reader_close(r);
        x->history_reader_open = false;
    }
    if (!x->history_reader_open) {
        code = st_log_reader_open(r, x->log->env, x->alloc, x->log->dir, entry->writer);
        x->history_reader_open = code == ST_OK;
    }
    if (code == ST_OK) {
        struct st_str line;
        code = st_log_reader_at(r, entry->segment, entry->offset, &line);
        if (code == ST_OK)
            code = st_record_decode(line, &x->read_scratch, out);
    }
    if (code == ST_OK && entry->op >= out->op_count)
        code = ST_DAMAGED;
    if (code == ST_NOT_FOUND)
        code = ST_DAMAGED;
    if (code != ST_OK) {
        x->fault = r->fault;
        return code;
    }
    x->read_record = *out;
    x->read_segment = entry->segment;
    x->read_offset = entry->offset;
    return ST_OK;
}
