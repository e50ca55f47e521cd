#include "files/task_line.h"

#include "files/block.h"

/* --- marks ------------------------------------------------------------------------------------ */

enum mark {
    SEQ,
    KEY,
    DEPENDS,
    AGENT,
    PRIORITY,
    CHANNEL,
    PARENT,
    NOT_BEFORE,
    STATE,
    CLAIMED,
    MARKS
};

/* In the order in which they are written. */
static const char *const names[MARKS] = {
    [SEQ] = "seq",           [KEY] = "key",
    [DEPENDS] = "depends",   [AGENT] = "agent",
    [PRIORITY] = "priority", [CHANNEL] = "channel",
    [PARENT] = "parent",     [NOT_BEFORE] = "not_before",
    [STATE] = "state",       [CLAIMED] = "claimed",
};

static struct st_str *field(struct st_task_line *t, enum mark mark)
{
    switch (mark) {
    case SEQ:
        return &t->seq;
    case KEY:
        return &t->key;
    case DEPENDS:
        return &t->depends;
    case AGENT:
        return &t->agent;
    case CHANNEL:
        return &t->channel;
    case PARENT:
        return &t->parent;
    case NOT_BEFORE:
        return &t->not_before;
    case STATE:
        return &t->state;
    case CLAIMED:
        return &t->claimed;
    default:
        return NULL;
    }
}

/* The mark that begins at s: which it is, and what it says. MARKS: none does. */
static enum mark mark_at(struct st_str s, struct st_str *value, size_t *size)
{
    const char *colon = s.n > 1 && s.p[0] == '[' ? memchr(s.p, ':', s.n < 16 ? s.n : 16) : NULL;
    if (colon == NULL)
        return MARKS;
    struct st_str name = {s.p + 1, (size_t)(colon - s.p) - 1};
    for (int i = 0; i < MARKS; i++) {
        if (!st_str_equal(name, st_str_of(names[i])))
            continue;
        const char *end = memchr(colon, ']', s.n - (size_t)(colon - s.p));
        if (end == NULL)
            return MARKS;
        *value = st_line_trim((struct st_str){colon + 1, (size_t)(end - colon) - 1});
        *size = (size_t)(end - s.p) + 1;
        return (enum mark)i;
    }
    return MARKS;
}

/* --- characters ------------------------------------------------------------------------------- */

/* "&#10;": the characters that are written so. */
static bool reference(struct st_str s, char *c, size_t *size)
{
    static const unsigned char written[] = {9, 10, 13, 32, 38, 44, 60, 91, 93};
    unsigned value = 0;
    size_t i = 2;
    if (s.n < 4 || s.p[0] != '&' || s.p[1] != '#')
        return false;
    for (; i < s.n && i < 5 && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        value = value * 10 + (unsigned)(s.p[i] - '0');
    if (i == 2 || i == s.n || s.p[i] != ';')
        return false;
    *size = i + 1;
    *c = (char)value;
    return value < 128 && memchr(written, (int)value, sizeof written) != NULL;
}

static struct st_str add_decoded(struct st_buf *out, struct st_str s)
{
    size_t start = out->n, size;
    char c;
    for (size_t i = 0; i < s.n; i++) {
        if (reference((struct st_str){s.p + i, s.n - i}, &c, &size)) {
            st_buf_add_char(out, c);
            i += size - 1;
        } else {
            st_buf_add_char(out, s.p[i]);
        }
    }
    return (struct st_str){out->p + start, out->n - start};
}

static void add_reference(struct st_buf *out, char c)
{
    st_buf_add_text(out, "&#");
    st_buf_add_u64(out, (unsigned char)c);
    st_buf_add_char(out, ';');
}

static bool must_refer(struct st_str s, size_t i, bool in_mark)
{
    struct st_str rest = {s.p + i, s.n - i}, value;
    size_t size;
    char c = s.p[i], other;
    if (c == '\n' || c == '\r' || c == '\t' || (c == ' ' && (i == 0 || i + 1 == s.n)))
        return true;
    if (c == '&')
        return reference(rest, &other, &size);
    if (in_mark)
        return c == ']';
    return (c == '[' && mark_at(rest, &value, &size) != MARKS) ||
           (c == '<' && rest.n >= 4 && memcmp(rest.p, "<!--", 4) == 0);
}

static void add_encoded(struct st_buf *out, struct st_str s, bool in_mark)
{
    for (size_t i = 0; i < s.n; i++) {
        if (must_refer(s, i, in_mark))
            add_reference(out, s.p[i]);
        else
            st_buf_add_char(out, s.p[i]);
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

static bool is_bullet(char c)
{
    return c == '-' || c == '*' || c == '+';
}

bool st_task_line_box(struct st_str line, char *box, struct st_str *rest)
{
    line = st_line_trim(line);
    if (line.n < 2 || !is_bullet(line.p[0]) || line.p[1] != ' ')
        return false;
    line = st_line_trim((struct st_str){line.p + 2, line.n - 2});
    if (line.n < 3 || line.p[0] != '[' || line.p[2] != ']' ||
        (line.n > 3 && line.p[3] != ' ' && line.p[3] != '\t'))
        return false;
    switch (line.p[1]) {
    case ' ':
        *box = ST_BOX_OPEN;
        break;
    case 'x':
    case 'X':
        *box = ST_BOX_DONE;
        break;
    case '~':
    case '/':
    case '>':
        *box = ST_BOX_BUSY;
        break;
    case '!':
        *box = ST_BOX_FAILED;
        break;
    case '-':
        *box = ST_BOX_CANCELLED;
        break;
    default:
        return false;
    }
    *rest = st_line_trim((struct st_str){line.p + 3, line.n - 3});
    return true;
}

static bool take_priority(struct st_str value, int *out)
{
    if (value.n == 2 && (value.p[0] == 'P' || value.p[0] == 'p'))
        value = (struct st_str){value.p + 1, 1};
    if (value.n != 1 || value.p[0] < '0' || value.p[0] > '4' || *out >= 0)
        return false;
    *out = value.p[0] - '0';
    return true;
}

/* Where a mark was, one space is left. */
static void close_gap(struct st_buf *title, struct st_str rest, size_t *i)
{
    while (title->n > 0 && (title->p[title->n - 1] == ' ' || title->p[title->n - 1] == '\t'))
        title->n--;
    while (*i < rest.n && (rest.p[*i] == ' ' || rest.p[*i] == '\t'))
        ++*i;
    if (title->n > 0 && *i < rest.n)
        st_buf_add_char(title, ' ');
}

/* Appends what is no mark. */
static bool take_marks(struct st_str rest, struct st_buf *title, struct st_task_line *out)
{
    struct st_str value;
    size_t size;
    for (size_t i = 0; i < rest.n;) {
        enum mark mark = mark_at((struct st_str){rest.p + i, rest.n - i}, &value, &size);
        if (mark == MARKS) {
            st_buf_add_char(title, rest.p[i++]);
            continue;
        }
        struct st_str *to = field(out, mark);
        if (mark == PRIORITY ? !take_priority(value, &out->priority) : value.n == 0 || to->n > 0)
            return false;
        if (to != NULL)
            *to = value;
        i += size;
        close_gap(title, rest, &i);
    }
    return true;
}

bool st_task_title_parse(struct st_str rest, struct st_buf *text, struct st_task_line *out)
{
    *out = (struct st_task_line){.box = ST_BOX_OPEN, .priority = -1};
    st_buf_reset(text);
    /* What is decoded is no longer than what is read: nothing that is lent moves. */
    if (!st_buf_reserve(text, 2 * rest.n + 1) || !take_marks(st_line_trim(rest), text, out))
        return false;
    out->title = add_decoded(text, st_line_trim(st_buf_str(text)));
    for (int i = 0; i < MARKS; i++) {
        struct st_str *to = field(out, (enum mark)i);
        if (to != NULL && to->n > 0)
            *to = add_decoded(text, *to);
    }
    return !text->failed;
}

bool st_task_line_parse(struct st_str line, struct st_buf *text, struct st_task_line *out)
{
    char box;
    struct st_str rest;
    if (!st_task_line_box(line, &box, &rest) || !st_task_title_parse(rest, text, out))
        return false;
    out->box = box;
    return true;
}

static struct st_str without_hash(struct st_str name)
{
    return name.n > 0 && name.p[0] == '#' ? (struct st_str){name.p + 1, name.n - 1} : name;
}

bool st_task_line_seq(struct st_str line, struct st_str *seq)
{
    char box;
    struct st_str rest;
    size_t size;
    if (!st_task_line_box(line, &box, &rest))
        return false;
    for (size_t i = 0; i < rest.n; i++)
        if (mark_at((struct st_str){rest.p + i, rest.n - i}, seq, &size) == SEQ) {
            *seq = without_hash(*seq);
            return true;
        }
    return false;
}

bool st_task_line_next(struct st_str *list, struct st_str *name)
{
    while (list->n > 0) {
        const char *comma = memchr(list->p, ',', list->n);
        size_t n = comma != NULL ? (size_t)(comma - list->p) : list->n;
        *name = st_line_trim((struct st_str){list->p, n});
        size_t used = n + (comma != NULL);
        *list = (struct st_str){list->p + used, list->n - used};
        *name = without_hash(*name);
        if (name->n > 0 && !st_str_equal(*name, ST_STR("none")) &&
            !st_str_equal(*name, ST_STR("-")))
            return true;
    }
    return false;
}

/* --- writing ---------------------------------------------------------------------------------- */

void st_task_line_add(struct st_buf *out, const struct st_task_line *t)
{
    struct st_task_line copy = *t;
    const char priority[1] = {(char)('0' + t->priority)};
    st_buf_add_text(out, "- [");
    st_buf_add_char(out, t->box);
    st_buf_add_text(out, "] ");
    for (int i = 0; i < MARKS; i++) {
        const struct st_str *from = field(&copy, (enum mark)i);
        struct st_str value = from != NULL ? *from : (struct st_str){priority, t->priority >= 0};
        if (value.n == 0)
            continue;
        st_buf_add_char(out, '[');
        st_buf_add_text(out, names[i]);
        st_buf_add_char(out, ':');
        add_encoded(out, value, true);
        st_buf_add_text(out, "] ");
    }
    add_encoded(out, t->title, false);
}
