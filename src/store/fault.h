/*
 * fault.h - what went wrong, carried outwards: code, what failed on which subject, and what to
 * do next. One per handle; the last error wins.
 */
#ifndef ST_STORE_FAULT_H
#define ST_STORE_FAULT_H

#include "core/error.h"

#define ST_FAULT_TEXT_SIZE 512

struct st_fault {
    enum st_code code;
    int system; /* errno, 0 when it was not the system */
    char message[ST_FAULT_TEXT_SIZE];
    char hint[ST_FAULT_TEXT_SIZE]; /* what to do next; may be empty */
};

/* Sets code and message (printf-like) and clears hint. */
void st_fault_set(struct st_fault *f, enum st_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static inline enum st_code st_fault_code(enum st_code code)
{
    return code;
}
/* The same with the value `code`, for `return st_fail(...)`: a macro, so that a checker of the source,
 * too, sees that a failure is not ST_OK. */
#define st_fail(f, code, ...) (st_fault_set((f), (code), __VA_ARGS__), st_fault_code(code))
/* From a negative errno value: picks the code (ENOSPC, EDQUOT: ST_NO_SPACE; EROFS, EACCES,
 * EPERM: ST_READ_ONLY; ENOMEM: ST_NO_MEMORY; else ST_IO) and appends the system's text. */
enum st_code st_fail_system(struct st_fault *f, int negative_errno, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds the hint to the fault that st_fail() set. Returns f->code. */
enum st_code st_hint(struct st_fault *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Static strings. */
const char *st_code_name(enum st_code code); /* "no_space" */
const char *st_code_text(enum st_code code); /* "no space left" */
int st_code_exit(enum st_code code);
enum st_error_class st_code_class(enum st_code code);

#endif
