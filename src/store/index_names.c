/*
 * index_names.c - which entities lines of a log name, in a filter.
 *
 * The line of a record names the entities whose attributes it touches behind "e":, in the one spelling
 * there is (core/record_encode.c), in which no quote within a string stands without its backslash.
 * Only "seen" takes in more than it says, and an operation of a newer version may touch anything.
 *
 * A Bloom filter: a name that is in a line is in it, and of the others nearly none.
 */
#include "store/index_internal.h"

#include <string.h>

void st_names_reset(struct st_names *n)
{
    if (n->set > 0)
        memset(n->bits, 0, sizeof n->bits);
    n->set = 0;
    n->seen = n->any = false;
}

/* --- the filter ------------------------------------------------------------------------------- */

static bool is_set(const struct st_names *n, uint64_t bit)
{
    return (n->bits[bit / 64] >> bit % 64 & 1) != 0;
}

static void set(struct st_names *n, uint64_t bit)
{
    n->set += !is_set(n, bit);
    n->bits[bit / 64] |= 1ull << bit % 64;
}

bool st_names_have(const struct st_names *n, struct st_str spelled)
{
    uint64_t h = st_checksum(spelled.p, spelled.n);
    return is_set(n, h % ST_NAMES_BITS) && is_set(n, (h >> 32) % ST_NAMES_BITS);
}

static void add(struct st_names *n, struct st_str spelled)
{
    uint64_t h = st_checksum(spelled.p, spelled.n);
    set(n, h % ST_NAMES_BITS);
    set(n, (h >> 32) % ST_NAMES_BITS);
}

struct st_str st_names_spelled(struct st_index *x, struct st_str entity)
{
    st_buf_reset(&x->name);
    st_json_add_string(&x->name, entity);
    return x->name.failed ? (struct st_str){"", 0}
                          : (struct st_str){x->name.p + 1, x->name.n - 2}; /* no quotes */
}

/* --- lines ------------------------------------------------------------------------------------ */

static bool begins(const char *p, const char *end, const char *text)
{
    size_t n = strlen(text);
    return (size_t)(end - p) >= n && memcmp(p, text, n) == 0;
}

/* Operations without an entity; "seen" is told apart. */
static bool touches_nothing(const char *p, const char *end)
{
    return begins(p, end, "count\"") || begins(p, end, "beat\"") || begins(p, end, "ack\"");
}

/* From the operation's name on. Returns where to go on. */
static const char *add_op(struct st_names *n, const char *p, const char *end)
{
    static const char entity[] = "\",\"e\":\"";
    const char *quote = memchr(p, '"', (size_t)(end - p));
    if (quote == NULL)
        return end;
    if (!begins(quote, end, entity)) {
        bool seen = begins(p, end, "seen\"");
        n->seen = n->seen || seen;
        n->any = n->any || !(seen || touches_nothing(p, end));
        return quote;
    }
    struct st_str name = {quote + sizeof entity - 1, 0};
    for (p = name.p; p < end && *p != '"';)
        p += *p == '\\' && p + 1 < end ? 2 : 1;
    name.n = (size_t)(p - name.p);
    add(n, name);
    return p;
}

static void add_line(struct st_names *n, struct st_str line)
{
    static const char op[] = "{\"op\":\"";
    const char *p = line.p, *end = line.p + line.n;
    while ((p = memchr(p, '{', (size_t)(end - p))) != NULL)
        p = begins(p, end, op) ? add_op(n, p + sizeof op - 1, end) : p + 1;
}

enum st_code st_names_read(struct st_names *n, struct st_log_reader *r, struct st_str *line)
{
    struct st_record head;
    enum st_code code = st_log_reader_next(r, line, &head);
    if (code == ST_OK)
        add_line(n, *line);
    return code;
}

bool st_names_at(const struct st_log_reader *r, const struct st_tail *tail)
{
#ifdef ST_DEFECT_NEAR_UNCOMPARED
    return true;
#endif
    return r->checksum == tail->checksum;
}
