#include "files/block.h"

static const char begin_text[] = "<!-- strata:begin ";
static const char end_text[] = "<!-- strata:end ";
static const char explanation[] = " edit the lines; the next strata command takes it in -->";

bool st_line_next(struct st_str *rest, struct st_str *line)
{
    if (rest->n == 0)
        return false;
    const char *newline = memchr(rest->p, '\n', rest->n);
    size_t n = newline != NULL ? (size_t)(newline - rest->p) : rest->n;
    *line = (struct st_str){rest->p, n};
    size_t used = newline != NULL ? n + 1 : n;
    rest->p += used;
    rest->n -= used;
    if (line->n > 0 && line->p[line->n - 1] == '\r')
        line->n--;
    return true;
}

bool st_line_starts(struct st_str s, const char *text)
{
    size_t n = strlen(text);
    return s.n >= n && memcmp(s.p, text, n) == 0;
}

struct st_str st_line_trim(struct st_str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = (struct st_str){s.p + 1, s.n - 1};
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Takes a word that ends at a space or at the end. */
static struct st_str take_word(struct st_str *s)
{
    const char *space = memchr(s->p, ' ', s->n);
    struct st_str word = {s->p, space != NULL ? (size_t)(space - s->p) : s->n};
    size_t used = word.n + (space != NULL);
    s->p += used;
    s->n -= used;
    return word;
}

enum st_mark_kind st_block_mark(struct st_str line, const char *key, char hash[ST_BLOCK_HASH_SIZE])
{
    line = st_line_trim(line);
    bool begin = st_line_starts(line, begin_text);
    if (!begin && !st_line_starts(line, end_text))
        return ST_MARK_NONE;
    size_t skip = begin ? sizeof begin_text - 1 : sizeof end_text - 1;
    struct st_str rest = {line.p + skip, line.n - skip};
    struct st_str word = take_word(&rest);
    if (word.n == 0 || (key != NULL && !st_str_equal(word, st_str_of(key))))
        return ST_MARK_NONE;
    if (!begin)
        return ST_MARK_END;
    if (hash != NULL) {
        uint64_t value;
        struct st_str h = take_word(&rest);
        hash[0] = '\0';
        if (h.n == 16 && st_parse_hex64(h.p, &value)) {
            memcpy(hash, h.p, 16);
            hash[16] = '\0';
        }
    }
    return ST_MARK_BEGIN;
}

bool st_block_mark_key(struct st_str line, char key[ST_BLOCK_KEY_SIZE])
{
    line = st_line_trim(line);
    if (!st_line_starts(line, begin_text))
        return false;
    struct st_str rest = {line.p + sizeof begin_text - 1, line.n - (sizeof begin_text - 1)};
    struct st_str word = take_word(&rest);
    if (word.n == 0 || word.n >= ST_BLOCK_KEY_SIZE || memchr(word.p, 0, word.n) != NULL)
        return false;
    memcpy(key, word.p, word.n);
    key[word.n] = '\0';
    return true;
}

bool st_line_is_conflict(struct st_str line)
{
    static const char *const marks[] = {"<<<<<<<", "|||||||", "=======", ">>>>>>>"};
    if (line.n < 7 || (line.n > 7 && line.p[7] != ' '))
        return false;
    for (size_t i = 0; i < 4; i++)
        if (memcmp(line.p, marks[i], 7) == 0)
            return true;
    return false;
}

/* --- finding ---------------------------------------------------------------------------------- */

static size_t at(struct st_str text, struct st_str rest)
{
    return text.n - rest.n;
}

/* Where the block that began before `rest` ends, if it is whole; 0 if it is not. */
static size_t whole_end(struct st_str text, struct st_str rest, const char *key)
{
    struct st_str line;
    while (st_line_next(&rest, &line)) {
        enum st_mark_kind mark = st_block_mark(line, key, NULL);
        if (mark == ST_MARK_END)
            return at(text, rest);
        if (mark == ST_MARK_BEGIN || st_line_is_conflict(line))
            return 0;
    }
    return 0;
}

/* The end of the lines that can be the view's, without a gap. */
static size_t own_end(struct st_str text, struct st_str rest, const char *key,
                      st_line_classify *classify)
{
    struct st_str ahead = rest, line;
    while (st_line_next(&ahead, &line)) {
        enum st_mark_kind mark = st_block_mark(line, key, NULL);
        if (mark == ST_MARK_NONE && !st_line_is_conflict(line) && classify(line) == ST_LINE_OTHER)
            break;
        rest = ahead;
        struct st_str next;
        if (mark == ST_MARK_END && !(st_line_next(&ahead, &next) && st_line_is_conflict(next)))
            break;
        ahead = rest;
    }
    return at(text, rest);
}

struct finder {
    struct st_str text;
    const char *key;
    st_line_classify *classify;
    struct st_blocks *out;
    size_t own_from; /* start of the run of own lines that ends here; SIZE_MAX: none */
};

static void add_piece(struct finder *f, size_t start, size_t end, const char *hash)
{
    struct st_blocks *b = f->out;
    b->damaged = b->damaged || b->count > 0;
    if (b->count == ST_BLOCK_PIECES_MAX)
        return;
    struct st_block_piece *p = &b->pieces[b->count++];
    p->start = start;
    p->end = end;
    memcpy(p->hash, hash, strlen(hash) + 1);
}

static bool ends_crlf(struct st_str text, size_t end)
{
    return end >= 2 && text.p[end - 1] == '\n' && text.p[end - 2] == '\r';
}

/* A begin: its line starts at `start`, `rest` is behind it. Returns where the piece ends. */
static size_t take_begin(struct finder *f, size_t start, struct st_str rest, const char *hash)
{
    if (f->out->count == 0)
        f->out->crlf = ends_crlf(f->text, at(f->text, rest));
    size_t end = whole_end(f->text, rest, f->key);
    if (end == 0) {
        f->out->damaged = true;
        end = own_end(f->text, rest, f->key, f->classify);
        if (f->own_from != SIZE_MAX)
            start = f->own_from; /* a conflict marker in front */
    }
    add_piece(f, start, end, hash);
    return end;
}

void st_blocks_find(struct st_str text, const char *key, st_line_classify *classify,
                    struct st_blocks *out)
{
    struct finder f = {text, key, classify, out, SIZE_MAX};
    struct st_str rest = text, line;
    memset(out, 0, sizeof *out);
    for (size_t start = 0; st_line_next(&rest, &line); start = at(text, rest)) {
        char hash[ST_BLOCK_HASH_SIZE] = "";
        enum st_mark_kind mark = st_block_mark(line, key, hash);
        if (mark == ST_MARK_BEGIN) {
            size_t end = take_begin(&f, start, rest, hash);
            rest = (struct st_str){text.p + end, text.n - end};
            f.own_from = SIZE_MAX;
        } else if (mark == ST_MARK_END) {
            /* Its begin is gone: the own lines before it go with it. */
            out->damaged = true;
            add_piece(&f, f.own_from != SIZE_MAX ? f.own_from : start, at(text, rest), "");
            f.own_from = SIZE_MAX;
        } else {
            enum st_line_class class = classify(line);
            bool own = class == ST_LINE_ITEM || class == ST_LINE_FIXED || st_line_is_conflict(line);
            if (!own)
                f.own_from = SIZE_MAX;
            else if (f.own_from == SIZE_MAX)
                f.own_from = start;
        }
    }
    if (out->count == 0) {
        const char *newline = text.n > 0 ? memchr(text.p, '\n', text.n) : NULL;
        out->crlf = newline != NULL && ends_crlf(text, (size_t)(newline - text.p) + 1);
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

static void add_lines(struct st_buf *out, struct st_str lines, bool crlf)
{
    struct st_str line;
    if (!crlf) {
        st_buf_add_str(out, lines);
        return;
    }
    while (st_line_next(&lines, &line)) {
        st_buf_add_str(out, line);
        st_buf_add_text(out, "\r\n");
    }
}

static void add_block(struct st_buf *out, const char *key, const char *hash, struct st_str body,
                      bool crlf)
{
    const char *newline = crlf ? "\r\n" : "\n";
    st_buf_add_text(out, begin_text);
    st_buf_add_text(out, key);
    st_buf_add_char(out, ' ');
    st_buf_add_text(out, hash);
    st_buf_add_text(out, explanation);
    st_buf_add_text(out, newline);
    add_lines(out, body, crlf);
    st_buf_add_text(out, end_text);
    st_buf_add_text(out, key);
    st_buf_add_text(out, " -->");
    st_buf_add_text(out, newline);
}

void st_block_put(struct st_str text, const struct st_blocks *blocks, const char *key,
                  const char *hash, struct st_str body, struct st_str below, struct st_buf *out)
{
    const char *newline = blocks->crlf ? "\r\n" : "\n";
    size_t from = 0;
    for (size_t i = 0; i < blocks->count; i++) {
        const struct st_block_piece *p = &blocks->pieces[i];
        st_buf_add(out, text.p + from, p->start - from);
        from = p->end;
        if (i > 0)
            continue;
        add_block(out, key, hash, body, blocks->crlf);
        add_lines(out, below, blocks->crlf);
    }
    st_buf_add(out, text.p + from, text.n - from);
    if (blocks->count > 0)
        return;
    if (text.n > 0 && text.p[text.n - 1] != '\n')
        st_buf_add_text(out, newline);
    if (text.n > 0)
        st_buf_add_text(out, newline);
    add_block(out, key, hash, body, blocks->crlf);
    add_lines(out, below, blocks->crlf);
}

void st_block_cut(struct st_str text, const struct st_blocks *blocks, struct st_buf *out)
{
    size_t from = 0;
    for (size_t i = 0; i < blocks->count; i++) {
        st_buf_add(out, text.p + from, blocks->pieces[i].start - from);
        from = blocks->pieces[i].end;
    }
    st_buf_add(out, text.p + from, text.n - from);
}
