/*
 * record_internal.h - what the files of the record codec share:
 *   record.c          what a valid record is
 *   record_unknown.c  operations of a newer version
 *   record_encode.c   record to line
 *   record_decode.c   line to record
 */
#ifndef ST_CORE_RECORD_INTERNAL_H
#define ST_CORE_RECORD_INTERNAL_H

#include "core/record.h"

/* Numbers in records: what every JSON reader, those that know only doubles included, has
 * exactly. */
#define ST_U53_MAX ((UINT64_C(1) << 53) - 1)

/* Whether a string is this literal; the constant size makes it a few instructions. */
#define ST_STR_IS(s, literal)                                                                      \
    ((s).n == sizeof(literal) - 1 && __builtin_memcmp((s).p, (literal), sizeof(literal) - 1) == 0)

/* ST_OP_UNKNOWN for any other name. */
enum st_op_kind st_op_kind_of(struct st_str name);

/* Where the unknown operation that starts at p ends: behind its brace. NULL when there is none
 * that is well-formed, see record_unknown.c. */
const char *st_op_unknown_end(const char *p, const char *end);

static inline bool st_writer_valid(struct st_writer w)
{
    return w.replica != 0 && w.epoch != 0;
}

static inline bool st_counter_valid(uint64_t counter)
{
    return counter >= 1 && counter <= ST_U53_MAX;
}

/* How many of the n bytes at p come before the first that a JSON string has to escape. */
static inline size_t st_json_plain(const char *p, size_t n)
{
    size_t i = 0;

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones * 0x80;

    /* x - 1 borrows into the top bit of a byte that was 0; a borrow that runs on can only spoil
     * bytes behind the first hit, and only the first counts. */
    for (; n - i >= sizeof(uint64_t); i += sizeof(uint64_t)) {
        uint64_t word, quote, backslash, hits;

        __builtin_memcpy(&word, p + i, sizeof(word));
        quote = word ^ ones * '"';
        backslash = word ^ ones * '\\';
        hits = ((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) |
               ((word - ones * 0x20) & ~word);
        if ((hits & tops) != 0)
            return i + (size_t)__builtin_ctzll(hits & tops) / 8;
    }
#endif
    while (i < n && p[i] != '"' && p[i] != '\\' && (uint8_t)p[i] >= 0x20)
        i++;
    return i;
}

#endif
