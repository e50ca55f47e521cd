/*
 * explore_task_moves.h - the alphabets of layer 2 for explore.c, built with EXPLORE_TASKS: tasks
 * that wait for each other, are finished, opened again, and cycles.
 */
#ifndef EXPLORE_TASK_MOVES_H
#define EXPLORE_TASK_MOVES_H

/* Every attribute that a move below uses. */
static const struct {
    const char *entity, *attribute;
} attribute_names[] = {
    {"#1", "title"},        {"#1", "state"},   {"#1", "depends"},    {"#2", "title"},
    {"#2", "state"},        {"#2", "depends"}, {"#1", "message"},    {"#1", "to"},
    {"#1", "acknowledged"}, {"#1", "channel"}, {"#1", "not_before"}, {"#1", "key"},
    {"#1", "priority"},
};

#define NAMES (sizeof(attribute_names) / sizeof(attribute_names[0]))

/* One move per line. */
/* clang-format off */
#define SET(e, a, v)   {.kind = ST_OP_SET, .entity = e, .attribute = a, .value = v}
#define UNSET(e, a)    {.kind = ST_OP_UNSET, .entity = e, .attribute = a}
#define WAIT(e, v) \
    {.kind = ST_OP_ADD, .entity = e, .attribute = "depends", .value = v, .value_kind = ST_VALUE_LINK}
#define NO_WAIT(e, v) \
    {.kind = ST_OP_REMOVE, .entity = e, .attribute = "depends", .value = v, \
     .value_kind = ST_VALUE_LINK}

/* name, records, intakes, number of moves, moves: agent and operations */
static const struct composition compositions[] = {
    {"states of a task", 4, 3, 4, {
        {"ann", {SET("#1", "title", "t"), SET("#1", "state", "done")}},
        {"ann", {SET("#1", "state", "cancelled")}},
        {"ann", {SET("#1", "state", "open")}},
        {"ann", {UNSET("#1", "state")}},
    }},
    {"a dependency", 4, 2, 6, {
        {"ann", {SET("#2", "title", "t"), WAIT("#2", "#1")}},
        {"ann", {NO_WAIT("#2", "#1")}},
        {"ann", {SET("#1", "state", "done")}},
        {"ann", {SET("#1", "state", "failed")}},
        {"ann", {SET("#1", "state", "open")}},
        {"ann", {WAIT("#2", "#1")}},
    }},
    {"a cycle made apart", 4, 2, 5, {
        {"ann", {SET("#1", "title", "t"), WAIT("#1", "#2")}},
        {"ann", {SET("#2", "title", "t"), WAIT("#2", "#1")}},
        {"ann", {NO_WAIT("#1", "#2"), SET("#2", "state", "done")}},
        {"ann", {SET("#1", "state", "cancelled")}},
        {"ann", {UNSET("#1", "depends")}},
    }},
    {"all in one record", 4, 2, 5, {
        {"ann", {WAIT("#2", "#1"), SET("#1", "state", "done"), SET("#2", "title", "t")}},
        {"ann", {SET("#1", "state", "open"), WAIT("#1", "#1"), SET("#1", "title", "t")}},
        {"ann", {SET("#1", "state", "done"), NO_WAIT("#2", "#1"), WAIT("#2", "#1")}},
        {"ann", {SET("#2", "depends", "x"), SET("#2", "title", "t")}},
        {"ann", {WAIT("#2", "#9"), UNSET("#1", "title"), NO_WAIT("#1", "#1")}},
    }},
    {"places in the queue", 4, 2, 6, {
        {"ann", {SET("#1", "title", "t"), SET("#1", "channel", "c")}},
        {"ann", {SET("#1", "priority", "0"), UNSET("#1", "channel")}},
        {"ann", {SET("#1", "not_before", "2026-11-26T00:00:00Z")}},
        {"ann", {UNSET("#1", "not_before"), SET("#1", "key", "k")}},
        {"ann", {SET("#1", "key", "l"), SET("#1", "priority", "none")}},
        {"ann", {UNSET("#1", "title")}},
    }},
    {"a message", 4, 2, 5, {
        {"ann", {SET("#1", "message", "m"), SET("#1", "to", "bob")}},
        {"bob", {SET("#1", "acknowledged", "yes")}},
        {"ann", {SET("#1", "to", "cid")}},
        {"ann", {UNSET("#1", "message")}},
        {"bob", {UNSET("#1", "acknowledged"), SET("#1", "title", "t")}},
    }},
};
/* clang-format on */

#define COMPOSITIONS (sizeof(compositions) / sizeof(compositions[0]))

#endif
