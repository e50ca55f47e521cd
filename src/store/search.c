#include "store/search.h"

#include "store/index_internal.h"

#include <string.h>

static const char search_schema[] =
    "CREATE VIRTUAL TABLE IF NOT EXISTS fts USING fts5(entity, attribute, value);"
    "CREATE TABLE IF NOT EXISTS fts_row(id INTEGER PRIMARY KEY, k BLOB NOT NULL UNIQUE);";

static const char by_rank[] = "SELECT entity,attribute FROM fts WHERE fts MATCH ?1"
                              " AND length(value)>0 ORDER BY rank LIMIT ?2";
static const char by_row[] = "SELECT entity,attribute FROM fts WHERE fts MATCH ?1"
                             " AND length(value)>0 ORDER BY rowid DESC LIMIT ?2";

struct search {
    struct st_index *x;
    sqlite3_stmt *find, *erase, *insert, *key, *position;
    struct st_buf register_key, text;
    struct st_read_scratch scratch;
};

static enum st_code prepare(struct st_index *x, const char *sql, sqlite3_stmt **out)
{
    return sqlite3_prepare_v2(x->db, sql, -1, out, NULL) == SQLITE_OK
               ? ST_OK
               : st_index_sql_fail(x, "search");
}

static enum st_code step(struct search *q, sqlite3_stmt *s)
{
    int r = sqlite3_step(s);
    sqlite3_reset(s);
    return r == SQLITE_DONE || r == SQLITE_ROW ? ST_OK : st_index_sql_fail(q->x, "search");
}

static enum st_code search_open(struct search *q, struct st_index *x)
{
    *q = (struct search){.x = x};
    st_buf_init(&q->register_key, x->alloc);
    st_buf_init(&q->text, x->alloc);
    st_read_scratch_init(&q->scratch, x->alloc);
    if (sqlite3_exec(x->db, search_schema, NULL, NULL, NULL) != SQLITE_OK)
        return st_index_sql_fail(x, "search");
    enum st_code code = prepare(x, "SELECT id FROM fts_row WHERE k=?1", &q->find);
    if (code == ST_OK)
        code = prepare(x, "DELETE FROM fts WHERE rowid=?1", &q->erase);
    if (code == ST_OK)
        code = prepare(x, "INSERT INTO fts(rowid,entity,attribute,value) VALUES(?1,?2,?3,?4)",
                       &q->insert);
    if (code == ST_OK)
        code = prepare(x, "INSERT INTO fts_row(k) VALUES(?1) RETURNING id", &q->key);
    if (code == ST_OK)
        code = prepare(x, "INSERT OR REPLACE INTO meta(k,v) VALUES('search',?1)", &q->position);
    return code;
}

static void search_close(struct search *q)
{
    sqlite3_finalize(q->find);
    sqlite3_finalize(q->erase);
    sqlite3_finalize(q->insert);
    sqlite3_finalize(q->key);
    sqlite3_finalize(q->position);
    st_buf_release(&q->register_key);
    st_buf_release(&q->text);
    st_read_scratch_release(&q->scratch);
}

static enum st_code position_of(struct st_index *x, uint64_t *position)
{
    sqlite3_stmt *s;
    *position = 0;
    enum st_code code = prepare(x, "SELECT v FROM meta WHERE k='search'", &s);
    if (code != ST_OK)
        return code;
    if (sqlite3_step(s) == SQLITE_ROW && sqlite3_column_bytes(s, 0) == (int)sizeof *position)
        memcpy(position, sqlite3_column_blob(s, 0), sizeof *position);
    sqlite3_finalize(s);
    return ST_OK;
}

static void bind_text(sqlite3_stmt *s, int i, struct st_str text)
{
    sqlite3_bind_text(s, i, text.p != NULL ? text.p : "", (int)text.n, SQLITE_STATIC);
}

static enum st_code insert_text(struct search *q, sqlite3_int64 id, const struct st_attribute *a)
{
    st_buf_reset(&q->text);
    for (size_t i = 0; i < a->count; i++) {
        if (a->items[i].kind == ST_ITEM_ABSENT)
            continue;
        if (q->text.n > 0)
            st_buf_add_char(&q->text, '\n');
        st_buf_add_str(&q->text, a->items[i].value);
    }
    if (q->text.failed)
        return st_fail(&q->x->fault, ST_NO_MEMORY, "out of memory");
    sqlite3_bind_int64(q->insert, 1, id);
    bind_text(q->insert, 2, a->entity);
    bind_text(q->insert, 3, a->attribute);
    bind_text(q->insert, 4, st_buf_str(&q->text));
    return step(q, q->insert);
}

/* The row number of a register key, made when it is new. */
static enum st_code row_of(struct search *q, sqlite3_int64 *id, bool *is_new)
{
    sqlite3_bind_blob(q->find, 1, q->register_key.p, (int)q->register_key.n, SQLITE_STATIC);
    int r = sqlite3_step(q->find);
    *is_new = r != SQLITE_ROW;
    if (r == SQLITE_ROW)
        *id = sqlite3_column_int64(q->find, 0);
    sqlite3_reset(q->find);
    if (r == SQLITE_ROW)
        return ST_OK;
    sqlite3_bind_blob(q->key, 1, q->register_key.p, (int)q->register_key.n, SQLITE_STATIC);
    r = sqlite3_step(q->key);
    if (r == SQLITE_ROW)
        *id = sqlite3_column_int64(q->key, 0);
    sqlite3_reset(q->key);
    return r == SQLITE_ROW ? ST_OK : st_index_sql_fail(q->x, "search");
}

/* Only the newest entry of an attribute counts: the rows are of now, whatever the entry says. */
static enum st_code take_attribute(struct search *q, struct st_str entity, struct st_str attribute,
                                   uint64_t number)
{
    struct st_attribute a;
    sqlite3_int64 id = 0;
    uint64_t newest = 0;
    bool is_new;
    st_buf_reset(&q->register_key);
    st_key_register(&q->register_key, entity, attribute);
    enum st_code code = q->register_key.failed
                            ? st_fail(&q->x->fault, ST_NO_MEMORY, "out of memory")
                            : st_index_head(q->x, st_buf_str(&q->register_key), &newest);
    if (code != ST_OK || newest != number)
        return code;
    code = st_attribute_read(&q->x->kv, entity, attribute, &q->scratch, &a);
    if (code == ST_OK)
        code = row_of(q, &id, &is_new);
    if (code == ST_OK && !is_new) {
        sqlite3_bind_int64(q->erase, 1, id);
        code = step(q, q->erase);
    }
    return code == ST_OK ? insert_text(q, id, &a) : code;
}

static enum st_code take_entry(struct search *q, uint64_t number)
{
    struct st_index_entry entry;
    struct st_record r;
    enum st_code code = st_index_entry(q->x, number, &entry);
    if (code == ST_OK)
        code = st_index_record(q->x, &entry, &r);
    if (code != ST_OK)
        return code;
    const struct st_op *op = &r.ops[entry.op];
    if (op->kind != ST_OP_SET && op->kind != ST_OP_UNSET && op->kind != ST_OP_ADD &&
        op->kind != ST_OP_REMOVE)
        return ST_OK;
    return take_attribute(q, op->entity, op->attribute, number);
}

static enum st_code update_batch(struct st_index *x, bool *done)
{
    struct search q;
    uint64_t position, end;
    enum st_code code = search_open(&q, x);
    if (code == ST_OK)
        code = position_of(x, &position);
    if (code == ST_OK) {
        end = position + ST_SEARCH_BATCH < x->position.entries ? position + ST_SEARCH_BATCH
                                                               : x->position.entries;
        for (uint64_t n = position + 1; n <= end && code == ST_OK; n++)
            code = take_entry(&q, n);
        *done = end == x->position.entries;
    }
    if (code == ST_OK) {
        sqlite3_bind_blob(q.position, 1, &end, sizeof end, SQLITE_STATIC);
        code = step(&q, q.position);
    }
    search_close(&q);
    return code;
}

enum st_code st_search_update(struct st_index *x)
{
    bool done = false;
    while (!done) {
        uint64_t position;
        enum st_code code = st_index_begin(x);
        if (code == ST_OK)
            code = position_of(x, &position);
        uint64_t entries = x->position.entries;
        st_index_end(x);
        if (code != ST_OK || position == entries)
            return code;
        code = st_index_write_begin(x, ST_INDEX_WAIT_MS);
        if (code != ST_OK)
            return code;
        code = update_batch(x, &done);
        code = st_index_write_end(x, code);
        if (code != ST_OK)
            return code;
    }
    return ST_OK;
}

static void add_column(struct st_buf *out, sqlite3_stmt *s, int column)
{
    st_buf_add(out, sqlite3_column_text(s, column), (size_t)sqlite3_column_bytes(s, column));
    st_buf_add_char(out, '\0');
}

/* Whether so many match that they are not ranked. */
static enum st_code is_common(struct st_index *x, struct st_str query, bool *common)
{
    sqlite3_stmt *s = NULL;
    *common = false;
    enum st_code code =
        prepare(x, "SELECT count(*) FROM (SELECT rowid FROM fts WHERE fts MATCH ?1 LIMIT ?2)", &s);
    if (code != ST_OK)
        return code;
    bind_text(s, 1, query);
    sqlite3_bind_int64(s, 2, ST_SEARCH_RANKED + 1);
    if (sqlite3_step(s) == SQLITE_ROW)
        *common = sqlite3_column_int64(s, 0) > ST_SEARCH_RANKED;
    else
        code = st_index_sql_fail(x, "search");
    sqlite3_finalize(s);
    return code;
}

/* Whether the pair of names at out->p + from stands before it, too. */
static bool is_repeated(const struct st_buf *out, size_t from)
{
    size_t n = out->n - from;
    for (size_t at = 0; at < from;) {
        size_t end = at + strlen(out->p + at) + 1;
        end += strlen(out->p + end) + 1;
        if (end - at == n && memcmp(out->p + at, out->p + from, n) == 0)
            return true;
        at = end;
    }
    return false;
}

/* Adds up to `limit` matches (0: all) that are not in *out yet; *found counts them up. */
static enum st_code find(struct st_index *x, const char *sql, struct st_str query, size_t limit,
                         size_t *found, struct st_buf *out)
{
    sqlite3_stmt *s = NULL;
    enum st_code code = prepare(x, sql, &s);
    if (code != ST_OK)
        return code;
    size_t known = out->n;
    bind_text(s, 1, query);
    sqlite3_bind_int64(s, 2, limit == 0 ? -1 : (sqlite3_int64)limit);
    int r = SQLITE_DONE;
    while ((limit == 0 || *found < limit) && (r = sqlite3_step(s)) == SQLITE_ROW) {
        size_t from = out->n;
        add_column(out, s, 0);
        add_column(out, s, 1);
        if (known > 0 && !out->failed && is_repeated(out, from))
            out->n = from;
        else
            (*found)++;
    }
    if (r != SQLITE_DONE && r != SQLITE_ROW)
        code = st_index_sql_fail(x, "search");
    sqlite3_finalize(s);
    return code;
}

/* So many are asked for that every match is read anyway. */
static enum st_code find_many(struct st_index *x, const char *words, size_t limit,
                              struct st_buf *out)
{
    struct st_buf query;
    size_t found = 0;
    st_buf_init(&query, x->alloc);
    enum st_code code = st_search_whole(x, words, true, &query);
    if (code == ST_OK)
        code = find(x, by_row, st_buf_str(&query), limit, &found, out);
    st_buf_release(&query);
    return code;
}

static enum st_code find_page(struct st_index *x, const char *words, size_t limit,
                              struct st_buf *out, bool *more)
{
    struct st_buf query;
    bool common = false;
    size_t found = 0;
    st_buf_init(&query, x->alloc);
    enum st_code code = st_search_whole(x, words, false, &query);
    if (code == ST_OK)
        code = is_common(x, st_buf_str(&query), &common);
    if (code == ST_OK)
        code = find(x, common ? by_row : by_rank, st_buf_str(&query), limit, &found, out);
    if (code == ST_OK && found < limit) {
        st_buf_reset(&query);
        code = st_search_begun(x, words, &query, more);
        if (code == ST_OK)
            code = find(x, by_row, st_buf_str(&query), limit, &found, out);
    }
    st_buf_release(&query);
    return code;
}

enum st_code st_search(struct st_index *x, const char *words, size_t limit, struct st_buf *out,
                       bool *more)
{
    *more = false;
    enum st_code code = limit == 0 || limit > ST_SEARCH_RANKED
                            ? find_many(x, words, limit, out)
                            : find_page(x, words, limit, out, more);
    /* Before the first update there is no table, and nothing to find. */
    return code == ST_DAMAGED ? ST_NOT_FOUND : code;
}
