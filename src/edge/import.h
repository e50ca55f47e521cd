/*
 * import.h - from the bytes of a file to a list of operations, and into a workspace. Pure but for
 * import_write.c: no files, no workspace.
 *
 * Every parser reads the whole input, checks each operation against the limits of strata.h and
 * stops at the first thing that is wrong, naming its line. Only a list that was parsed to its end
 * may be written: that is what makes an import all or nothing as far as its input goes.
 *
 * The formats are described in docs/exchange.md.
 */
#ifndef STRATA_EDGE_IMPORT_H
#define STRATA_EDGE_IMPORT_H

#include "strata.h"

/* One input file. A store of two million facts is smaller; more has to be split. Bytes. */
#define IMPORT_SIZE_MAX ((size_t)256 * 1024 * 1024)
/* One line of JSON, one row of CSV: an entity with 250 observations of full size. Bytes. */
#define IMPORT_LINE_SIZE_MAX ((size_t)16 * 1024 * 1024)
/* Operations of one input: the list takes 72 bytes for each beside its text. */
#define IMPORT_OPS_MAX ((size_t)4 * 1000 * 1000)
/* Same bounds as strata.h states for names and values. Bytes. */
#define IMPORT_NAME_SIZE_MAX  255
#define IMPORT_VALUE_SIZE_MAX 65536
/* One step of a counter: whole numbers that every JSON reader holds exactly, 2^53 - 1. */
#define IMPORT_STEP_MAX INT64_C(9007199254740991)
/* A record of an import: small enough that a reader holds it in memory at ease, and that a
 * writer of something else waits only briefly. Operations; bytes as escaped JSON. */
#define IMPORT_RECORD_OPS_MAX  500
#define IMPORT_RECORD_SIZE_MAX ((size_t)200 * 1024)
/* Version of our own exchange format. */
#define IMPORT_JSONL_VERSION 1

struct json_t;
struct import_block;

enum import_format {
    IMPORT_UNKNOWN = 0,
    IMPORT_JSONL,
    IMPORT_CSV,
    IMPORT_MEMORY,
    IMPORT_DOT, /* export only */
};

/*
 * What was read. Kinds are STRATA_SET, STRATA_ADD and STRATA_COUNT; of the last, `delta` is the
 * *total* that the input names, and whoever writes it turns it into a difference. All strings are
 * owned by the import, NUL-terminated, and live until import_release().
 */
struct import {
    strata_op *ops;
    uint32_t *lines; /* where each operation stands, from 1 */
    size_t count, cap;
    struct import_block *blocks; /* the strings */
    size_t block_left;
    char *block_next;
    size_t error_line; /* 0: the error has no line */
    char error[320];   /* one line without control characters; "" when there is none */
};

void import_init(struct import *im);
void import_release(struct import *im);

/*
 * STRATA_OK, or STRATA_INVALID, STRATA_LIMIT, STRATA_NO_MEMORY with error and error_line set and
 * the list in no useful state. Empty input is fine: nothing to do. The bytes are borrowed.
 */
int import_parse_jsonl(struct import *im, const char *bytes, size_t n);
int import_parse_csv(struct import *im, const char *bytes, size_t n);
int import_parse_memory(struct import *im, const char *bytes, size_t n);
int import_parse(struct import *im, enum import_format format, const char *bytes, size_t n);

/* "jsonl", "csv", "memory", "dot"; static. */
const char *import_format_name(enum import_format format);
enum import_format import_format_of(const char *name);
/* From the first line and the file name (NULL: none). IMPORT_UNKNOWN when neither tells. */
enum import_format import_guess(const char *name, const char *bytes, size_t n);

/* --- for the parsers -------------------------------------------------------------------------- */

/* Checks one operation and appends a copy. */
int import_add(struct import *im, size_t line, const strata_op *op);
/* Sets the error (printf-like); returns code. */
int import_fail(struct import *im, int code, size_t line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Calls `object` for the JSON object of each line that is not blank. The object is borrowed. */
int import_lines(struct import *im, const char *bytes, size_t n,
                 int (*object)(struct import *im, size_t line, struct json_t *o));
/* A member of a JSON object that has to be a string. *text stays NULL when it is absent. */
int import_string(struct import *im, size_t line, struct json_t *o, const char *key,
                  const char **text, size_t *size);
/* Size of a UTF-8 byte order mark at the start, which some programs write: 3 or 0. */
size_t import_bom(const char *bytes, size_t n);

/* --- what is still to be written (import_plan.c) ---------------------------------------------- */

enum import_state {
    IMPORT_WRITE = 0,    /* has to be written */
    IMPORT_THERE = 1,    /* its effect is there already */
    IMPORT_REPEATED = 2, /* a later line of the same input makes it void, or says it again */
};

struct import_table {
    uint32_t *slots; /* operation number + 1; 0: free */
    size_t mask, count;
};

/*
 * Decides for each operation whether it still has to be written, so that a repeated import adds
 * nothing. Use: import_plan_init(), then import_plan_attribute() and import_plan_counter() for
 * what the workspace has (at least
 * of the entities and counters in the input), then import_plan_finish(). Counts are operations.
 */
struct import_plan {
    struct import *im; /* borrowed */
    unsigned char *state;
    struct import_table entities, keys, members, counters;
    unsigned char *replaces; /* whether the workspace shows another value or members there */
    size_t write_count, there_count, repeated_count;
    size_t replace_count; /* of those to be written */
};

int import_plan_init(struct import_plan *p, struct import *im);
void import_plan_release(struct import_plan *p);
/* One attribute as the workspace shows it. */
void import_plan_attribute(struct import_plan *p, const strata_attribute *a);
/* One counter; turns the operation's total into a difference. STRATA_LIMIT when the difference
 * does not fit. */
int import_plan_counter(struct import_plan *p, const char *name, int64_t total);
/* STRATA_LIMIT, with the import's error set, when a counter would take a step over the limit. */
int import_plan_finish(struct import_plan *p);
/* How much of a record's size one operation takes at most, as escaped JSON. Bytes. */
size_t import_op_size(const strata_op *op);

/* --- into a workspace (import_write.c) -------------------------------------------------------- */

/* Makes the plan of what was parsed, for this workspace. STRATA_LIMIT with the import's error set
 * when a counter's step is too large; else the handle's error. */
int import_look(struct import_plan *p, struct import *im, strata *s);

/* Writes what the plan says, in records of bounded size; only the last of them waits for the disk,
 * which covers those before it. A crash in the middle leaves whole records; the same import then
 * writes what is missing. */
struct import_writer {
    const struct import_plan *plan; /* borrowed, like the rest */
    strata *s;
    bool no_flush;
    /* Each set, with what it replaced; NULL: nobody wants to know. */
    void (*tell)(void *arg, const strata_op *op, const strata_written *w);
    void (*progress)(void *arg, size_t written); /* after each record, or NULL */
    void *arg;
    size_t written, records; /* so far: operations, records */
};

int import_write(struct import_writer *w);

#endif
