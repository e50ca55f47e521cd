#include "store/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void st_fault_set(struct st_fault *f, enum st_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->message, sizeof f->message, format, args);
    va_end(args);
    f->code = code;
    f->system = 0;
    f->hint[0] = '\0';
}

static enum st_code code_of_errno(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return ST_NO_SPACE;
    case EROFS:
    case EACCES:
    case EPERM:
        return ST_READ_ONLY;
    case ENOMEM:
        return ST_NO_MEMORY;
    default:
        return ST_IO;
    }
}

enum st_code st_fail_system(struct st_fault *f, int negative_errno, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->message, sizeof f->message, format, args);
    va_end(args);
    f->system = -negative_errno;
    f->code = code_of_errno(f->system);
    size_t n = strlen(f->message);
    snprintf(f->message + n, ST_FAULT_TEXT_SIZE - n, ": %s", strerror(f->system));
    f->hint[0] = '\0';
    if (f->code == ST_NO_SPACE)
        st_hint(f, "free some disk space and try again");
    return f->code;
}

enum st_code st_hint(struct st_fault *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->hint, sizeof f->hint, format, args);
    va_end(args);
    return f->code;
}

struct code_row {
    enum st_code code;
    const char *name;
    int exit_status;
    enum st_error_class class;
    const char *text;
};

static const struct code_row rows[] = {
#define ROW(name, value, json, exit, class, text) {ST_##name, json, exit, ST_CLASS_##class, text},
    ST_ERRORS(ROW)
#undef ROW
};

static const struct code_row *row_of(enum st_code code)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].code == code)
            return &rows[i];
    return &rows[sizeof rows / sizeof rows[0] - 1];
}

const char *st_code_name(enum st_code code)
{
    return row_of(code)->name;
}

const char *st_code_text(enum st_code code)
{
    return row_of(code)->text;
}

int st_code_exit(enum st_code code)
{
    return row_of(code)->exit_status;
}

enum st_error_class st_code_class(enum st_code code)
{
    return row_of(code)->class;
}
