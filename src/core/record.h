/*
 * record.h - one record: what one command did, as one line of JSON.
 *
 *   {"r":"<16 hex>","e":"<16 hex>","c":17,"p":"<16 hex>","t":[1795472400123,0],"n":142,
 *    "a":"coz","i":"<16 hex>","o":[<operations>],"x":"<16 hex>"}\n
 *
 * on one line without spaces, keys in exactly this order. "n" is left out when it is 0, "a" and
 * "i" when there is no agent or no incarnation.
 *
 *   r e  the writer: replica and epoch          c  the counter, from 1 without gaps
 *   p    checksum ("x") of this writer's previous record; of its first record: 16 zeros
 *   t    hybrid logical clock: [milliseconds, logical]
 *   n    the highest number of a task or message that the writer knew, those that this record
 *        makes included (task.h); a Lamport clock
 *   a i  agent and incarnation                   o  operations, 1 to ST_RECORD_OPS_MAX
 *   x    checksum: XXH3-64 of every byte of the line before `,"x":`. The core does not compute
 *        it (it has no hash function of its own): st_record_encode() leaves the line ready for
 *        st_record_seal(), st_record_decode() says where the checksummed bytes end.
 *
 * Operations (keys in this order; [..] optional):
 *   {"op":"set","e":E,"a":A,"v":TEXT|"l":ENTITY[,"at":["<dot>",..]][,"read":"<dot>"]}
 *   {"op":"unset","e":E,"a":A[,"at":["<dot>",..]][,"read":"<dot>"]}
 *   {"op":"add","e":E,"a":A,"v":TEXT|"l":ENTITY}
 *   {"op":"remove","e":E,"a":A,"v":TEXT|"l":ENTITY[,"at":["<dot>",..]]}
 *   {"op":"count","n":NAME,"d":DELTA}
 *   {"op":"beat","s":STATUS}
 *   {"op":"seen","v":{"<32 hex>":COUNTER,..}}
 *   {"op":"ack","d":"<dot>"}
 * Anything else with a string "op" first is ST_OP_UNKNOWN: kept as it is, passed on, not applied.
 *
 * What supersedes what. A record's causal context is: every earlier record of the same writer,
 * and everything covered by the "seen" operations of the same writer so far ("seen" is written
 * when a replica takes in others' records; its vector entries join). The first record of a
 * writer starts with a "seen" of everything its replica had, unless that is nothing. "at"
 * narrows the context of one operation to some records (an edit of what they had made).
 * "read" is the dot of the value that the author had last read; without it the write was blind.
 *
 * A dot is written as <16 hex replica>-<16 hex epoch>-<counter>. A vector is an object from
 * <32 hex: replica, epoch> to counter, sorted by key. The dots of an "at" are sorted too, by writer
 * and counter.
 *
 * Canonical form: the encoder's output is the only valid spelling; the decoder refuses anything
 * that does not re-encode to the same bytes (unknown operations are compared as raw bytes).
 * Strings: UTF-8; escaped are only `"` `\` and U+0000 to U+001F, as \" \\ \b \f \n \r \t
 * and otherwise \u00xx in lower case.
 */
#ifndef ST_CORE_RECORD_H
#define ST_CORE_RECORD_H

#include "core/clock.h"
#include "core/error.h"

enum st_op_kind {
    ST_OP_UNKNOWN = 0,
    ST_OP_SET,
    ST_OP_UNSET,
    ST_OP_ADD,
    ST_OP_REMOVE,
    ST_OP_COUNT,
    ST_OP_BEAT,
    ST_OP_SEEN,
    ST_OP_ACK,
};

enum st_value_kind {
    ST_VALUE_TEXT = 0,
    ST_VALUE_LINK, /* the value names an entity */
};

/* What a new task or message of a record is called: `#143`, or `#143@pi-3f9a2c`. */
#define ST_NUMBERED_SIZE (sizeof("#9007199254740991@") - 1 + ST_SUFFIX_SIZE_MAX)

struct st_op {
    enum st_op_kind kind;
    /* In a record about to be appended: the entity, or the value, is the name of the record's
     * i-th new number, from 1; the kernel fills it in. 0: as it stands. Not part of the line. */
    uint32_t new_entity, new_value;
    struct st_str entity;    /* set, unset, add, remove; count: the counter's name */
    struct st_str attribute; /* set, unset, add, remove */
    enum st_value_kind value_kind;
    struct st_str value;     /* set, add, remove; beat: the status */
    int64_t delta;           /* count */
    bool has_at;             /* `at` narrows the context (set, unset, remove) */
    const struct st_dot *at; /* sorted, no duplicates */
    size_t at_count;
    struct st_vector vector; /* seen */
    struct st_dot dot;       /* "read" of set and unset (counter 0: blind), "d" of ack */
    struct st_str raw;       /* unknown: the whole operation as it stands in the line */
};

struct st_record {
    struct st_dot dot;
    uint64_t previous; /* checksum of the writer's previous record */
    struct st_hlc time;
    uint64_t number;      /* 0: none */
    uint32_t new_count;   /* to be appended: how many new numbers it makes */
    struct st_str agent;  /* empty: none */
    uint64_t incarnation; /* 0: none */
    struct st_op *ops;
    size_t op_count;
    uint64_t checksum; /* as found in the line; set by decode and seal */
};

/*
 * Decoding needs memory for the operations and for strings with escapes; both live here and are
 * reused from record to record. A decoded record is lent: valid until the next decode with the
 * same scratch. Unescaped strings point into the line itself.
 */
struct st_record_scratch {
    struct st_op *ops;
    size_t ops_cap;
    struct st_buf text;
    const struct st_alloc *alloc;
};

void st_record_scratch_init(struct st_record_scratch *s, const struct st_alloc *alloc);
void st_record_scratch_release(struct st_record_scratch *s);

/* Appends the line without its checksum, ready for st_record_seal(). The record must be valid
 * (st_record_check). `out->failed` tells that memory ran out. */
void st_record_encode(const struct st_record *r, struct st_buf *out);

/*
 * The same in two steps, for a record whose place in the log is not known yet: first all that does not
 * depend on it, with the names of new numbers left open; then, of *head, the dot, previous, time, number
 * and new_count, and the draft behind them. The record's agent and operations must be valid
 * (st_record_check_draft), and the suffix one of an identity.
 */
void st_record_draft(const struct st_record *r, struct st_buf *out);
void st_record_place(const struct st_record *head, struct st_str suffix, struct st_str draft,
                     struct st_buf *out);

/* `#143`, or `#143@<suffix>`. */
void st_number_name(struct st_buf *out, uint64_t number, struct st_str suffix);

/* Completes a line that st_record_encode() began at out->p + start, with the checksum of the
 * bytes from start to out->n: appends `,"x":"<16 hex>"}\n`. */
void st_record_seal(struct st_buf *out, uint64_t checksum);

/* Length of what st_record_seal() appends. */
#define ST_SEAL_SIZE (sizeof(",\"x\":\"0123456789abcdef\"}\n") - 1)

/*
 * Decodes one line, with its newline as last byte. The checksum covers the first
 * line.n - ST_SEAL_SIZE bytes; comparing it is the caller's work, best before this.
 * ST_OK, ST_DAMAGED (not a canonical record), ST_LIMIT, ST_NO_MEMORY.
 */
enum st_code st_record_decode(struct st_str line, struct st_record_scratch *scratch,
                              struct st_record *out);

/* The fixed fields of a line only: dot, previous, time, number, checksum; agent empty, no operations.
 * For tail checks and for skipping. Same results as st_record_decode(), cheaper. */
enum st_code st_record_decode_head(struct st_str line, struct st_record *out);

/* Whether a line may hold a "seen" operation. No: it certainly holds none; much cheaper than decoding. */
bool st_record_may_see(struct st_str line);

/* Whether the record is within all limits and well-formed (names, UTF-8, values, counts).
 * ST_OK, ST_INVALID, ST_LIMIT; *what then points at a static text that names the field. */
enum st_code st_record_check(const struct st_record *r, const char **what);
/* The two halves of it: what depends on the record's place, and the rest. */
enum st_code st_record_check_head(const struct st_record *r, const char **what);
enum st_code st_record_check_draft(const struct st_record *r, const char **what);

/* Names of entities, attributes, counters: 1 to ST_NAME_SIZE_MAX bytes of UTF-8 without control
 * characters (U+0000-U+001F, U+007F-U+009F), no leading or trailing space. */
enum st_code st_name_check(struct st_str name);
/* Whose the name of an entity is, well-formed or not. Names that begin with # and a digit are for
 * tasks and messages (task.h), those that begin with file: for tracked files; the rest for facts. */
#define ST_DOCUMENT_PREFIX "file:"
enum st_entity_kind { ST_ENTITY_FACT, ST_ENTITY_NUMBERED, ST_ENTITY_DOCUMENT };
enum st_entity_kind st_entity_kind(struct st_str entity);
/* Agent names: 1 to ST_AGENT_SIZE_MAX of [A-Za-z0-9._-], not starting with a dot or a dash
 * (they become file names). */
enum st_code st_agent_check(struct st_str name);
/* Values: up to ST_VALUE_SIZE_MAX bytes of UTF-8; control characters only tab, newline, return. */
enum st_code st_value_check(struct st_str value);
/* Statuses: one line of text, UTF-8 without control characters, up to ST_STATUS_SIZE_MAX bytes. */
enum st_code st_status_check(struct st_str status);

/* Text form of a dot and back; st_dot_parse wants exactly the canonical form. */
void st_dot_add(struct st_buf *out, struct st_dot d);
bool st_dot_parse(struct st_str text, struct st_dot *out);
/* {"<32 hex>":n,..}; parse takes the canonical form only. *v is joined into, so init it first. */
void st_vector_add(struct st_buf *out, const struct st_vector *v);
bool st_vector_parse(struct st_str text, struct st_vector *v);

/* Appends s as a JSON string with quotes, escaped as above. */
void st_json_add_string(struct st_buf *out, struct st_str s);

#endif
