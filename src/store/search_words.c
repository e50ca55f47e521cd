/*
 * search_words.c - what somebody searches for, as a query of FTS5.
 *
 * FTS5 gathers all matches of a prefix ("bui"*) before it returns the first. So a word that may be the mere
 * beginning of others is replaced by the terms of the text index that begin with it, of which each is read only
 * as far as somebody asks: ("build" OR "builds"). There are ST_SEARCH_TERMS_MAX of them at most.
 */
#include "store/search.h"

#include "store/index_internal.h"

#include <string.h>

struct query {
    struct st_index *x;
    struct st_buf *out;
    sqlite3_stmt *next; /* the first term from ?1 on */
    fts5_tokenizer cut;
    Fts5Tokenizer *cutter;
    struct st_buf before,
        last; /* of the word: its tokens with a space after each, without the last; that one */
    bool more;
};

/* The next word of what somebody typed; empty: there is none. */
static struct st_str next_word(const char **words)
{
    *words += strspn(*words, " \t\r\n");
    struct st_str word = {*words, strcspn(*words, " \t\r\n")};
    *words += word.n;
    return word;
}

static void add_quoted(struct st_buf *out, struct st_str word)
{
    st_buf_add_char(out, '"');
    for (size_t i = 0; i < word.n; i++) {
        if (word.p[i] == '"')
            st_buf_add_char(out, '"');
        st_buf_add_char(out, word.p[i]);
    }
    st_buf_add_char(out, '"');
}

enum st_code st_search_whole(struct st_index *x, const char *words, bool prefix, struct st_buf *out)
{
    struct st_str word;
    for (size_t n = 0; n < ST_SEARCH_WORDS_MAX && (word = next_word(&words)).n > 0; n++) {
        if (n > 0)
            st_buf_add_char(out, ' ');
        add_quoted(out, word);
        if (prefix)
            st_buf_add_char(out, '*');
    }
    if (out->failed)
        return st_fail(&x->fault, ST_NO_MEMORY, "out of memory");
    return out->n > 0 ? ST_OK : st_fail(&x->fault, ST_USAGE, "no words to search for");
}

/* --- the tokens of a word --------------------------------------------------------------------- */

static enum st_code open_tokenizer(struct query *q)
{
    fts5_api *api = NULL;
    sqlite3_stmt *s = NULL;
    if (sqlite3_prepare_v2(q->x->db, "SELECT fts5(?1)", -1, &s, NULL) != SQLITE_OK)
        return st_index_sql_fail(q->x, "search");
    sqlite3_bind_pointer(s, 1, &api, "fts5_api_ptr", NULL);
    sqlite3_step(s);
    sqlite3_finalize(s);
    void *context = NULL;
    if (api == NULL || api->xFindTokenizer(api, "unicode61", &context, &q->cut) != SQLITE_OK ||
        q->cut.xCreate(context, NULL, 0, &q->cutter) != SQLITE_OK)
        return st_fail(&q->x->fault, ST_IO, "cannot search the index: no tokenizer in SQLite");
    return ST_OK;
}

static int take_token(void *context, int flags, const char *token, int n, int start, int end)
{
    (void)flags, (void)start, (void)end;
    struct query *q = context;
    if (q->last.n > 0) {
        st_buf_add_str(&q->before, st_buf_str(&q->last));
        st_buf_add_char(&q->before, ' ');
        st_buf_reset(&q->last);
    }
    st_buf_add(&q->last, token, (size_t)n);
    return SQLITE_OK;
}

/* --- the terms that begin with it ------------------------------------------------------------- */

/* To go on from one place to the next is cheaper than to look for a term anew, if there are few of it. */
#define PLACES_MAX 16

static void look_from(struct query *q, struct st_str from)
{
    sqlite3_reset(q->next);
    sqlite3_bind_text(q->next, 1, from.p, (int)from.n, SQLITE_TRANSIENT);
}

/* The next term that is not before `from`, in *term, lent; empty: there is none. */
static enum st_code next_term(struct query *q, struct st_str from, struct st_str *term)
{
    int r;
    size_t places = 0;
    do {
        if (places++ == PLACES_MAX)
            look_from(q, from);
        r = sqlite3_step(q->next);
        *term = ST_STR("");
        if (r == SQLITE_ROW)
            *term = (struct st_str){(const char *)sqlite3_column_text(q->next, 0),
                                    (size_t)sqlite3_column_bytes(q->next, 0)};
    } while (r == SQLITE_ROW && st_str_compare(*term, from) < 0);
    return r == SQLITE_ROW || r == SQLITE_DONE ? ST_OK : st_index_sql_fail(q->x, "search");
}

static void add_phrase(struct query *q, struct st_str term)
{
    st_buf_add_char(q->out, '"');
    st_buf_add_str(q->out, st_buf_str(&q->before));
    st_buf_add_str(q->out, term);
    st_buf_add_char(q->out, '"');
}

/* Tokens have neither quotes nor control characters. */
static enum st_code add_alternatives(struct query *q)
{
    struct st_str begin = st_buf_str(&q->last), term;
    struct st_buf from;
    st_buf_init(&from, q->x->alloc);
    st_buf_add_str(&from, begin);
    enum st_code code = ST_OK;
    size_t count = 0;
    look_from(q, begin);
    while (code == ST_OK && (code = next_term(q, st_buf_str(&from), &term)) == ST_OK) {
        if (term.n < begin.n || memcmp(term.p, begin.p, begin.n) != 0)
            break;
        if (count == ST_SEARCH_TERMS_MAX) {
            q->more = true;
            break;
        }
        st_buf_add_text(q->out, count++ > 0 ? " OR " : "(");
        add_phrase(q, term);
        st_buf_reset(&from);
        st_buf_add_str(&from, term);
        st_buf_add_char(&from, '\1');
        if (from.failed)
            code = st_fail(&q->x->fault, ST_NO_MEMORY, "out of memory");
    }
    st_buf_release(&from);
    if (count > 0)
        st_buf_add_char(q->out, ')');
    else
        add_phrase(q, begin); /* which matches nothing */
    return code;
}

static enum st_code add_word(struct query *q, struct st_str word)
{
    st_buf_reset(&q->before);
    st_buf_reset(&q->last);
    int r = q->cut.xTokenize(q->cutter, q, FTS5_TOKENIZE_QUERY | FTS5_TOKENIZE_PREFIX, word.p,
                             (int)word.n, take_token);
    if (r != SQLITE_OK || q->before.failed || q->last.failed)
        return st_fail(&q->x->fault, ST_NO_MEMORY, "out of memory");
    if (q->last.n == 0)
        return ST_OK; /* of signs only: as if it were not there */
    if (q->out->n > 0)
        st_buf_add_text(q->out, " AND ");
    return add_alternatives(q);
}

enum st_code st_search_begun(struct st_index *x, const char *words, struct st_buf *out, bool *more)
{
    static const char terms[] =
        "CREATE VIRTUAL TABLE IF NOT EXISTS temp.fts_terms USING fts5vocab(main, fts, instance)";
    struct query q = {.x = x, .out = out};
    *more = false;
#ifdef ST_DEFECT_SEARCH_GATHERS
    return st_search_whole(x, words, true, out);
#endif
    st_buf_init(&q.before, x->alloc);
    st_buf_init(&q.last, x->alloc);
    enum st_code code = st_index_run(x, terms, "search");
    if (code == ST_OK && sqlite3_prepare_v2(x->db, "SELECT term FROM fts_terms WHERE term>=?1", -1,
                                            &q.next, NULL) != SQLITE_OK)
        code = st_index_sql_fail(x, "search");
    if (code == ST_OK)
        code = open_tokenizer(&q);
    struct st_str word;
    for (size_t n = 0; code == ST_OK && n < ST_SEARCH_WORDS_MAX && (word = next_word(&words)).n > 0;
         n++)
        code = add_word(&q, word);
    if (out->n == 0)
        add_quoted(out, ST_STR(""));
    if (code == ST_OK && out->failed)
        code = st_fail(&x->fault, ST_NO_MEMORY, "out of memory");
    *more = q.more;
    if (q.cutter != NULL)
        q.cut.xDelete(q.cutter);
    sqlite3_finalize(q.next);
    st_buf_release(&q.before);
    st_buf_release(&q.last);
    return code;
}
