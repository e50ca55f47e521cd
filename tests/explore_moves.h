/*
 * explore_moves.h - the alphabets that explore.c goes through: for each type, and for each
 * composition of types, the records that a replica may make. One move is one record. With
 * EXPLORE_TASKS those of layer 2: explore_task_moves.h.
 */
#ifndef EXPLORE_MOVES_H
#define EXPLORE_MOVES_H

#include "core/record.h"

#define MOVE_OPS_MAX 3
#define MOVES_MAX    8

enum at_mode {
    AT_NONE,
    AT_EMPTY,  /* narrowed to nothing: an edit of an empty rendering */
    AT_BEFORE, /* to what the replica had before the last record that it got or made */
};

enum read_mode {
    READ_NONE,  /* blind */
    READ_SHOWN, /* the author had read what is shown now */
    READ_FIRST, /* the author had read the first value of all, and no other since */
};

struct proto {
    enum st_op_kind kind; /* ST_OP_UNKNOWN ends the list */
    const char *entity, *attribute, *value;
    enum at_mode at;
    enum read_mode read;
    int64_t delta;
    enum st_value_kind value_kind;
};

struct move {
    const char *agent;
    struct proto ops[MOVE_OPS_MAX];
};

struct composition {
    const char *name;
    unsigned moves_max, intakes_max;
    size_t move_count;
    struct move moves[MOVES_MAX];
};

#ifdef EXPLORE_TASKS
#include "explore_task_moves.h"
#else
/* Every attribute that a move below uses. */
static const struct {
    const char *entity, *attribute;
} attribute_names[] = {{"x", "p"}, {"x", "pq"}, {"x", "seen_at"}};

#define NAMES (sizeof(attribute_names) / sizeof(attribute_names[0]))

/* One move per line. */
/* clang-format off */
#define SET(a, v)          {.kind = ST_OP_SET, .entity = "x", .attribute = a, .value = v}
#define UNSET(a)           {.kind = ST_OP_UNSET, .entity = "x", .attribute = a}
#define ADD(a, v)          {.kind = ST_OP_ADD, .entity = "x", .attribute = a, .value = v}
#define REMOVE(a, v)       {.kind = ST_OP_REMOVE, .entity = "x", .attribute = a, .value = v}
#define COUNT(d)           {.kind = ST_OP_COUNT, .entity = "x", .delta = d}
#define BEAT(s)            {.kind = ST_OP_BEAT, .value = s}
#define ACK                {.kind = ST_OP_ACK}
#define SET_AT(a, v, w)    {.kind = ST_OP_SET, .entity = "x", .attribute = a, .value = v, .at = w}
#define UNSET_AT(a, w)     {.kind = ST_OP_UNSET, .entity = "x", .attribute = a, .at = w}
#define REMOVE_AT(a, v, w) \
    {.kind = ST_OP_REMOVE, .entity = "x", .attribute = a, .value = v, .at = w}
#define SET_READ(a, v, w)  {.kind = ST_OP_SET, .entity = "x", .attribute = a, .value = v, .read = w}
#define UNSET_READ(a, w)   {.kind = ST_OP_UNSET, .entity = "x", .attribute = a, .read = w}
#define ADD_LINK(a, v) \
    {.kind = ST_OP_ADD, .entity = "x", .attribute = a, .value = v, .value_kind = ST_VALUE_LINK}

/* name, records, intakes, number of moves, moves: agent and operations */
static const struct composition compositions[] = {
    {"register", 4, 3, 3, {
        {"ann", {SET("p", "a")}},
        {"ann", {SET("p", "b")}},
        {"ann", {UNSET("p")}},
    }},
    {"set", 4, 2, 4, {
        {"ann", {ADD("p", "a")}},
        {"ann", {ADD("p", "b")}},
        {"ann", {REMOVE("p", "a")}},
        {"ann", {REMOVE("p", "b")}},
    }},
    {"register and set", 4, 2, 5, {
        {"ann", {SET("p", "a")}},
        {"ann", {UNSET("p")}},
        {"ann", {ADD("p", "a")}},
        {"ann", {ADD("p", "b")}},
        {"ann", {REMOVE("p", "a")}},
    }},
    {"two attributes, one record", 4, 2, 4, {
        {"ann", {SET("p", "a"), SET("pq", "a")}},
        {"ann", {SET("p", "b")}},
        {"ann", {UNSET("pq"), ADD("p", "a")}},
        {"ann", {ADD("pq", "a")}},
    }},
    {"one attribute, one record", 4, 2, 4, {
        {"ann", {SET("p", "a"), SET("p", "b")}},
        {"ann", {ADD("p", "a"), REMOVE("p", "a"), ADD("p", "b")}},
        {"ann", {UNSET("p"), ADD("p", "a")}},
        {"ann", {SET("p", "c"), SET_AT("p", "d", AT_BEFORE)}},
    }},
    {"edits of older renderings", 4, 2, 5, {
        {"ann", {SET("p", "a")}},
        {"ann", {SET_AT("p", "b", AT_BEFORE)}},
        {"ann", {SET_AT("p", "c", AT_EMPTY)}},
        {"ann", {UNSET_AT("p", AT_BEFORE)}},
        {"ann", {ADD("p", "a")}},
    }},
    {"removes of older renderings", 4, 2, 4, {
        {"ann", {ADD("p", "a")}},
        {"ann", {REMOVE_AT("p", "a", AT_BEFORE)}},
        {"ann", {REMOVE("p", "a")}},
        {"ann", {ADD_LINK("p", "a")}},
    }},
    {"times", 4, 2, 4, {
        {"ann", {SET("seen_at", "1")}},
        {"ann", {SET("seen_at", "2")}},
        {"ann", {UNSET("seen_at")}},
        {"ann", {ADD("seen_at", "1")}},
    }},
    {"read and overwritten", 4, 2, 5, {
        {"ann", {SET("p", "a")}},
        {"ann", {SET_READ("p", "b", READ_SHOWN)}},
        {"bob", {SET_READ("p", "c", READ_FIRST)}},
        {"bob", {UNSET_READ("p", READ_FIRST)}},
        {"bob", {ACK}},
    }},
    {"counter", 5, 2, 2, {
        {"ann", {COUNT(1)}},
        {"ann", {COUNT(-3), SET("p", "a")}},
    }},
    {"counter at its limits", 4, 2, 3, {
        {"ann", {COUNT(INT64_MAX)}},
        {"ann", {COUNT(INT64_MIN)}},
        {"ann", {COUNT(INT64_C(1) << 61)}},
    }},
    {"status board", 4, 2, 4, {
        {"ann", {BEAT("s")}},
        {"ann", {BEAT("t"), BEAT("u")}},
        {"bob", {BEAT("s")}},
        {"ann", {BEAT("v"), COUNT(1), SET("p", "a")}},
    }},
};
/* clang-format on */

#define COMPOSITIONS (sizeof(compositions) / sizeof(compositions[0]))
#endif

#endif
