/*
 * error.h - the one list of errors. Each has a code, a name for JSON, an exit status, a class
 * and a text. include/strata.h repeats the codes as its public enum; src/lib asserts that
 * both agree.
 *
 * Classes: CALLER  the caller's fault, the same call fails again
 *          RETRY   try again later
 *          UNKNOWN the outcome is unknown: the write may or may not be kept
 *          FATAL   somebody has to look
 */
#ifndef ST_CORE_ERROR_H
#define ST_CORE_ERROR_H

enum st_error_class {
    ST_CLASS_NONE,
    ST_CLASS_CALLER,
    ST_CLASS_RETRY,
    ST_CLASS_UNKNOWN,
    ST_CLASS_FATAL,
};

/* clang-format off */
/*      name          value  json name              exit class    text */
#define ST_ERRORS(X)                                                                               \
    X(OK,              0, "ok",                  0, NONE,    "ok")                                 \
    X(USAGE,          -1, "usage",               2, CALLER,  "not a valid call")                   \
    X(INVALID,        -2, "invalid",             2, CALLER,  "invalid value")                      \
    X(LIMIT,          -3, "limit",               2, CALLER,  "over a limit")                       \
    X(NOT_FOUND,      -4, "not_found",           1, CALLER,  "not found")                          \
    X(CONFLICT,       -5, "conflict",            3, CALLER,  "the current value is another one")   \
    X(DENIED,         -6, "denied",              4, CALLER,  "not allowed")                        \
    X(NO_WORKSPACE,   -7, "no_workspace",        1, CALLER,  "no workspace here")                  \
    X(EXISTS,         -8, "exists",              1, CALLER,  "exists already")                     \
    X(TIMEOUT,        -9, "timeout",             5, RETRY,   "not acquired in time")               \
    X(UNAVAILABLE,   -10, "unavailable",         6, RETRY,   "unavailable")                        \
    X(READ_ONLY,     -11, "read_only",           6, RETRY,   "the state is read-only here")        \
    X(NO_SPACE,      -12, "no_space",            6, RETRY,   "no space left")                      \
    X(OUTCOME_UNKNOWN, -13, "outcome_unknown",   7, UNKNOWN, "the outcome is unknown")             \
    X(IO,            -14, "io",                  1, FATAL,   "input/output error")                 \
    X(DAMAGED,       -15, "damaged",             1, FATAL,   "the state is damaged")               \
    X(VERSION,       -16, "version",             1, FATAL,   "made by a newer version")            \
    X(NO_MEMORY,     -17, "no_memory",           1, FATAL,   "out of memory")                      \
    X(INTERRUPTED,   -18, "interrupted",       130, CALLER,  "interrupted")                        \
    X(INTERNAL,      -19, "internal",            1, FATAL,   "internal error")
/* clang-format on */

#define ST_X(name, value, json, exit, class, text) ST_##name = (value),
enum st_code { ST_ERRORS(ST_X) };
#undef ST_X

#endif
