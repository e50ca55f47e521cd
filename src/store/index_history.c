/*
 * index_history.c - every operation in the order in which this replica applied it. An entry is 32
 * bytes: previous (8), writer number (4), operation (4), segment (8), offset (8), native order.
 * 126 entries make a chunk, one row of the table hist; the last, unfinished chunk is rewritten
 * with every commit.
 */
#include "store/index_internal.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t previous;
    uint32_t writer_no, op;
    uint64_t segment, offset;
};
_Static_assert(sizeof(struct entry) == ST_ENTRY_SIZE, "entries are stored as they are");

static enum st_code chunk_read(struct st_index *x, uint64_t chunk, const void **data, size_t *count)
{
    sqlite3_stmt *s = st_index_sql(x, ST_SQL_CHUNK_GET);
    if (s == NULL)
        return x->fault.code;
    sqlite3_bind_int64(s, 1, (sqlite3_int64)chunk);
    int r = sqlite3_step(s);
    if (r != SQLITE_ROW && r != SQLITE_DONE)
        return st_index_sql_fail(x, "read");
    *data = r == SQLITE_ROW ? sqlite3_column_blob(s, 0) : NULL;
    *count = r == SQLITE_ROW ? (size_t)sqlite3_column_bytes(s, 0) / ST_ENTRY_SIZE : 0;
    return ST_OK;
}

void st_history_forget(struct st_index *x)
{
    x->tail_count = 0;
    x->tail_first = 0;
}

/* Brings the unfinished chunk into the buffer. */
static enum st_code tail_load(struct st_index *x)
{
    if (x->tail_first != 0)
        return ST_OK;
    uint64_t chunk = x->position.entries / ST_CHUNK_ENTRIES;
    size_t want = x->position.entries % ST_CHUNK_ENTRIES, have = 0;
    const void *data = NULL;
    if (want > 0) {
        enum st_code code = chunk_read(x, chunk, &data, &have);
        if (code == ST_OK && have < want)
            code = st_fail(&x->fault, ST_DAMAGED, "the history of the index is cut short");
        if (code != ST_OK)
            return code;
    }
    if (x->tail_cap < ST_CHUNK_ENTRIES) {
        unsigned char *p = realloc(x->tail, (size_t)ST_CHUNK_ENTRIES * ST_ENTRY_SIZE);
        if (p == NULL)
            return st_fail(&x->fault, ST_NO_MEMORY, "out of memory for the index");
        x->tail = p;
        x->tail_cap = ST_CHUNK_ENTRIES;
    }
    if (want > 0)
        memcpy(x->tail, data, want * ST_ENTRY_SIZE);
    if (x->sql[ST_SQL_CHUNK_GET] != NULL)
        sqlite3_reset(x->sql[ST_SQL_CHUNK_GET]);
    x->tail_first = chunk * ST_CHUNK_ENTRIES + 1;
    x->tail_count = want;
    return ST_OK;
}

enum st_code st_history_push(struct st_index *x, uint32_t writer_no, uint64_t segment,
                             uint64_t offset, size_t ops)
{
    enum st_code code = tail_load(x);
    if (code != ST_OK)
        return code;
    if (x->tail_count + ops > x->tail_cap) {
        size_t cap = (x->tail_count + ops) * 2;
        unsigned char *p = realloc(x->tail, cap * ST_ENTRY_SIZE);
        if (p == NULL)
            return st_fail(&x->fault, ST_NO_MEMORY, "out of memory for the index");
        x->tail = p;
        x->tail_cap = cap;
    }
    for (size_t i = 0; i < ops; i++) {
        struct entry e = {0, writer_no, (uint32_t)i, segment, offset};
        memcpy(x->tail + (x->tail_count + i) * ST_ENTRY_SIZE, &e, sizeof e);
    }
    x->tail_count += ops;
    x->position.entries += ops;
    return ST_OK;
}

void st_history_set_previous(struct st_index *x, uint64_t number, uint64_t previous)
{
    ST_ASSERT(number >= x->tail_first && number < x->tail_first + x->tail_count);
    memcpy(x->tail + (number - x->tail_first) * ST_ENTRY_SIZE, &previous, sizeof previous);
}

enum st_code st_history_flush(struct st_index *x)
{
    if (x->tail_first == 0)
        return ST_OK;
    size_t written = 0;
    while (written < x->tail_count) {
        size_t n =
            x->tail_count - written < ST_CHUNK_ENTRIES ? x->tail_count - written : ST_CHUNK_ENTRIES;
        sqlite3_stmt *s = st_index_sql(x, ST_SQL_CHUNK_PUT);
        if (s == NULL)
            return x->fault.code;
        sqlite3_bind_int64(s, 1, (sqlite3_int64)((x->tail_first - 1 + written) / ST_CHUNK_ENTRIES));
        sqlite3_bind_blob(s, 2, x->tail + written * ST_ENTRY_SIZE, (int)(n * ST_ENTRY_SIZE),
                          SQLITE_STATIC);
        int r = sqlite3_step(s);
        sqlite3_reset(s);
        if (r != SQLITE_DONE)
            return st_index_sql_fail(x, "write");
        written += n;
    }
    /* Keep the unfinished chunk. */
    size_t keep = x->tail_count % ST_CHUNK_ENTRIES, gone = x->tail_count - keep;
    memmove(x->tail, x->tail + gone * ST_ENTRY_SIZE, keep * ST_ENTRY_SIZE);
    x->tail_first += gone;
    x->tail_count = keep;
    return ST_OK;
}

enum st_code st_index_entry(struct st_index *x, uint64_t number, struct st_index_entry *out)
{
    if (number == 0 || number > x->position.entries)
        return ST_NOT_FOUND;
    enum st_code code = st_index_writers_load(x);
    if (code != ST_OK)
        return code;
    struct entry e;
    if (x->tail_first != 0 && number >= x->tail_first) {
        memcpy(&e, x->tail + (number - x->tail_first) * ST_ENTRY_SIZE, sizeof e);
    } else {
        const void *data;
        size_t count = 0, at = (number - 1) % ST_CHUNK_ENTRIES;
        code = chunk_read(x, (number - 1) / ST_CHUNK_ENTRIES, &data, &count);
        if (code == ST_OK && at >= count)
            code = st_fail(&x->fault, ST_DAMAGED, "the history of the index is cut short");
        if (code == ST_OK)
            memcpy(&e, (const char *)data + at * ST_ENTRY_SIZE, sizeof e);
        if (x->sql[ST_SQL_CHUNK_GET] != NULL)
            sqlite3_reset(x->sql[ST_SQL_CHUNK_GET]);
        if (code != ST_OK)
            return code;
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
