/*
 * base.h - the few things every file of the core needs: assertions, borrowed
 * strings, an allocator that comes in from outside, and a growing buffer.
 *
 * The core is pure: no I/O, no clock, no randomness, no global state, and nothing
 * included but itself, the compiler's freestanding headers and <string.h>
 * (tests/purity.sh holds that). Memory comes in through struct st_alloc.
 *
 * Ownership words used in all comments:
 *   borrowed  the callee uses it for the call only
 *   copied    the callee keeps its own copy
 *   taken     ownership moves to the callee, on success only
 *   lent      stays valid until the next call on the owner
 */
#ifndef ST_CORE_BASE_H
#define ST_CORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What our own code guarantees, checked in production too. Never for input. */
#define ST_ASSERT(condition)                                                                       \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            __builtin_trap();                                                                      \
    } while (0)

/* Bytes that belong to somebody else. Not NUL-terminated, may contain anything. */
struct st_str {
    const char *p;
    size_t n; /* bytes */
};

#define ST_STR(literal) ((struct st_str){(literal), sizeof(literal) - 1})

static inline struct st_str st_str_of(const char *text)
{
    return (struct st_str){text, text != NULL ? strlen(text) : 0};
}

static inline bool st_str_equal(struct st_str a, struct st_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Bytewise order, the shorter first when one is a prefix of the other. */
int st_str_compare(struct st_str a, struct st_str b);

/*
 * Where memory comes from. resize() works as realloc(3): p NULL allocates, size 0
 * frees and returns NULL; on failure it returns NULL and p stays valid.
 */
struct st_alloc {
    void *(*resize)(void *ctx, void *p, size_t size);
    void *ctx;
};

/*
 * A growing byte buffer. A failed allocation sets `failed` and turns every further
 * append into a no-op, so that a writer checks once, at the end.
 */
struct st_buf {
    char *p;
    size_t n;                     /* bytes in use */
    size_t cap;                   /* bytes allocated */
    const struct st_alloc *alloc; /* borrowed for the life of the buffer */
    bool failed;
};

void st_buf_init(struct st_buf *b, const struct st_alloc *alloc);
void st_buf_release(struct st_buf *b);
/* Forgets the content, keeps the memory, clears `failed`. */
void st_buf_reset(struct st_buf *b);
/* st_buf_reserve() where the buffer is full. */
bool st_buf_grow(struct st_buf *b, size_t more);

/* Makes room for `more` further bytes. False (and `failed`) when there is none. */
static inline bool st_buf_reserve(struct st_buf *b, size_t more)
{
    return __builtin_expect(more <= b->cap - b->n && !b->failed, 1) || st_buf_grow(b, more);
}

static inline void st_buf_add(struct st_buf *b, const void *p, size_t n)
{
    if (n == 0 || !st_buf_reserve(b, n))
        return;
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void st_buf_add_char(struct st_buf *b, char c)
{
    if (st_buf_reserve(b, 1))
        b->p[b->n++] = c;
}

void st_buf_add_str(struct st_buf *b, struct st_str s);
void st_buf_add_text(struct st_buf *b, const char *text);
void st_buf_add_u64(struct st_buf *b, uint64_t value);   /* decimal */
void st_buf_add_i64(struct st_buf *b, int64_t value);    /* decimal */
void st_buf_add_hex64(struct st_buf *b, uint64_t value); /* 16 lower-case digits */
/* 8 bytes, big-endian: sorted as numbers. For index rows, as the next. */
void st_put_u64(char *at, uint64_t value);
uint64_t st_get_u64(const char *at);
/* LEB128, 1 to 10 bytes; for index rows, never for log records. */
void st_buf_add_varint(struct st_buf *b, uint64_t value);

static inline struct st_str st_buf_str(const struct st_buf *b)
{
    return (struct st_str){b->p, b->n};
}

/* Exactly 16 lower-case hex digits at p (16 readable bytes). False for anything else. */
bool st_parse_hex64(const char *p, uint64_t *value);

/* Reads a varint off the front of *s. False when it is cut short or over 64 bits. */
bool st_take_varint(struct st_str *s, uint64_t *value);

/* Whether s is well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool st_utf8_valid(struct st_str s);

#endif
