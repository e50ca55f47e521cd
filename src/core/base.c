/*
 * base.c - buffers, numbers as text, varints, UTF-8.
 *
 * Built with -ffreestanding, where the compiler takes memcpy() for any function: the
 * __builtin_ forms are used where a copy of a few bytes should stay a few instructions.
 */
#include "core/base.h"

#define BUF_CAP_MIN 64

/* One byte repeated in all eight places of a word. */
#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

int st_str_compare(struct st_str a, struct st_str b)
{
    size_t common = a.n < b.n ? a.n : b.n;
    int order = common == 0 ? 0 : memcmp(a.p, b.p, common);

    if (order != 0)
        return order < 0 ? -1 : 1;
    return (a.n > b.n) - (a.n < b.n);
}

void st_buf_init(struct st_buf *b, const struct st_alloc *alloc)
{
    *b = (struct st_buf){.alloc = alloc};
}

void st_buf_release(struct st_buf *b)
{
    if (b->p != NULL)
        (void)b->alloc->resize(b->alloc->ctx, b->p, 0);
    st_buf_init(b, b->alloc);
}

void st_buf_reset(struct st_buf *b)
{
    b->n = 0;
    b->failed = false;
}

bool st_buf_grow(struct st_buf *b, size_t more)
{
    size_t cap;
    char *p;

    if (b->failed)
        return false;
    if (more > SIZE_MAX / 2 - b->n) {
        b->failed = true;
        return false;
    }
    cap = b->cap < BUF_CAP_MIN ? BUF_CAP_MIN : b->cap;
    while (cap < b->n + more)
        cap *= 2;
    p = b->alloc->resize(b->alloc->ctx, b->p, cap);
    if (p == NULL) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void st_buf_add_str(struct st_buf *b, struct st_str s)
{
    st_buf_add(b, s.p, s.n);
}

void st_buf_add_text(struct st_buf *b, const char *text)
{
    st_buf_add(b, text, strlen(text));
}

void st_buf_add_u64(struct st_buf *b, uint64_t value)
{
    char digits[20];
    size_t i = sizeof(digits);

    do {
        digits[--i] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    st_buf_add(b, digits + i, sizeof(digits) - i);
}

void st_buf_add_i64(struct st_buf *b, int64_t value)
{
    if (value < 0)
        st_buf_add_char(b, '-');
    /* Negated as unsigned, so that INT64_MIN is right too. */
    st_buf_add_u64(b, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* Between eight characters and a word whose highest byte is the first character. */
static uint64_t word_of(const char *p)
{
    uint64_t word;

    __builtin_memcpy(&word, p, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

static void word_to(char *p, uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    __builtin_memcpy(p, &word, sizeof(word));
}

/* Eight values 0 to 15, one per byte, as lower-case hex digits: '0' + n, and 39 more for the
 * letters, found by the carry of n + 6 into bit 4. */
static uint64_t hex_digits(uint64_t nibbles)
{
    uint64_t letters = ((nibbles + EACH(6)) >> 4) & EACH(1);

    return nibbles + EACH('0') + letters * 39;
}

static uint64_t nibbles_spread(uint32_t value)
{
    uint64_t x = value;

    x = (x | x << 16) & UINT64_C(0x0000ffff0000ffff);
    x = (x | x << 8) & UINT64_C(0x00ff00ff00ff00ff);
    return (x | x << 4) & EACH(0x0f);
}

static uint32_t nibbles_gather(uint64_t x)
{
    x = (x | x >> 4) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x | x >> 8) & UINT64_C(0x0000ffff0000ffff);
    return (uint32_t)(x | x >> 16);
}

void st_buf_add_hex64(struct st_buf *b, uint64_t value)
{
    if (!st_buf_reserve(b, 16))
        return;
    word_to(b->p + b->n, hex_digits(nibbles_spread((uint32_t)(value >> 32))));
    word_to(b->p + b->n + 8, hex_digits(nibbles_spread((uint32_t)value)));
    b->n += 16;
}

/* A digit has its value in the low four bits, a letter 9 less. Whatever is no hex digit gives
 * some nibble too, but is not that nibble's digit: one comparison with the way back tells. */
static bool parse_hex32(const char *p, uint32_t *value)
{
    uint64_t word = word_of(p);
    uint64_t letters = (word >> 6) & EACH(1);
    uint64_t nibbles = ((word & EACH(0x0f)) + letters * 9) & EACH(0x0f);

    *value = nibbles_gather(nibbles);
    return hex_digits(nibbles) == word;
}

bool st_parse_hex64(const char *p, uint64_t *value)
{
    uint32_t high, low;

    if (!parse_hex32(p, &high) || !parse_hex32(p + 8, &low))
        return false;
    *value = (uint64_t)high << 32 | low;
    return true;
}

void st_put_u64(char *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        at[i] = (char)(unsigned char)(value >> (56 - 8 * i));
}

uint64_t st_get_u64(const char *at)
{
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | (unsigned char)at[i];
    return value;
}

void st_buf_add_varint(struct st_buf *b, uint64_t value)
{
    char bytes[10];
    size_t n = 0;

    while (value >= 0x80) {
        bytes[n++] = (char)(value | 0x80);
        value >>= 7;
    }
    bytes[n++] = (char)value;
    st_buf_add(b, bytes, n);
}

bool st_take_varint(struct st_str *s, uint64_t *value)
{
    uint64_t result = 0;
    size_t i;

    for (i = 0; i < s->n && i < 10; i++) {
        uint8_t byte = (uint8_t)s->p[i];

        if (i == 9 && byte > 1)
            return false;
        result |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *value = result;
            s->p += i + 1;
            s->n -= i + 1;
            return true;
        }
    }
    return false;
}

/* Length of the well-formed non-ASCII sequence at p (Unicode 15, table 3-7), 0 when it is none. */
static size_t utf8_sequence(const uint8_t *p, size_t n)
{
    uint8_t low = 0x80, high = 0xbf; /* of the second byte */
    size_t size, i;

    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        size = 2;
    else if (p[0] >= 0xe0 && p[0] <= 0xef)
        size = 3;
    else if (p[0] >= 0xf0 && p[0] <= 0xf4)
        size = 4;
    else
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0; /* overlong */
    else if (p[0] == 0xed)
        high = 0x9f; /* surrogates */
    else if (p[0] == 0xf0)
        low = 0x90; /* overlong */
    else if (p[0] == 0xf4)
        high = 0x8f; /* above U+10FFFF */
    if (n < size || p[1] < low || p[1] > high)
        return 0;
    for (i = 2; i < size; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    }
    return size;
}

bool st_utf8_valid(struct st_str s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    size_t i = 0;

    while (i < s.n) {
        uint64_t word;
        size_t size;

        if (s.n - i >= sizeof(word)) {
            __builtin_memcpy(&word, p + i, sizeof(word));
            if ((word & EACH(0x80)) == 0) {
                i += sizeof(word);
                continue;
            }
        }
        size = p[i] < 0x80 ? 1 : utf8_sequence(p + i, s.n - i);
        if (size == 0)
            return false;
        i += size;
    }
    return true;
}
