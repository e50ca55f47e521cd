/* memory_import.c - the file of the reference memory server, taken in once. */
#include "mcp/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

__attribute__((format(printf, 3, 4))) static int fail(strata_error *error, int code,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->message, sizeof error->message, format, args);
    va_end(args);
    error->code = code;
    error->hint[0] = '\0';
    return code;
}

/* --- which files were taken in ---------------------------------------------------------------- */

/*
 * <state>/memory-files has the path of each, one a line. It is locked while a file is taken in, so
 * that of servers that start together one does it and the others wait, and none serves before it is
 * done.
 */
static FILE *list_open(strata *s, strata_error *error)
{
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/memory-files", strata_state_dir(s));
    FILE *f = fopen(path, "a+e");
    if (f != NULL && flock(fileno(f), LOCK_EX) == 0)
        return f;
    (void)fail(error, STRATA_IO, "%s: %s", path, strerror(errno));
    if (f != NULL)
        (void)fclose(f);
    return NULL;
}

static bool list_has(FILE *list, const char *file)
{
    char line[PATH_MAX + 1];
    rewind(list);
    while (fgets(line, sizeof line, list) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, file) == 0)
            return true;
    }
    return false;
}

/* --- taking it in ----------------------------------------------------------------------------- */

static int load(const char *file, char **bytes, size_t *n, strata_error *error)
{
    struct stat st;
    FILE *f = fopen(file, "re");
    *bytes = NULL;
    if (f == NULL)
        return fail(error, STRATA_IO, "%s: %s", file, strerror(errno));
    int code = STRATA_OK;
    if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode) || (size_t)st.st_size > IMPORT_SIZE_MAX)
        code = fail(error, STRATA_LIMIT, "%s: not a file of at most %zu MB", file,
                    IMPORT_SIZE_MAX >> 20);
    else if ((*bytes = malloc((size_t)st.st_size + 1)) == NULL)
        code = fail(error, STRATA_NO_MEMORY, "out of memory");
    else
        *n = fread(*bytes, 1, (size_t)st.st_size, f);
    if (code == STRATA_OK && ferror(f))
        code = fail(error, STRATA_IO, "%s: cannot be read", file);
    (void)fclose(f);
    return code;
}

static int write_import(strata *s, struct import *im, strata_error *error)
{
    struct import_plan plan;
    int code = import_look(&plan, im, s);
    struct import_writer writer = {.plan = &plan, .s = s};
    if (code == STRATA_OK)
        code = import_write(&writer);
    import_plan_release(&plan);
    if (code != STRATA_OK)
        *error = *strata_last_error(s);
    error->code = code;
    return code;
}

static int take_in(strata *s, const char *file, strata_error *error)
{
    char *bytes;
    size_t n = 0;
    struct import im;
    import_init(&im);
    int code = load(file, &bytes, &n, error);
    if (code == STRATA_OK) {
        code = import_parse_memory(&im, bytes, n);
        if (code != STRATA_OK)
            (void)fail(error, code, "%s, line %zu: %s; nothing was taken in", file, im.error_line,
                       im.error);
        else
            code = write_import(s, &im, error);
    }
    free(bytes);
    import_release(&im);
    return code;
}

int memory_import(strata *s, const char *file, strata_error *error)
{
    char path[PATH_MAX];
    /* A name with a newline in it cannot stand in the list; nobody has one. */
    if (realpath(file, path) == NULL || strchr(path, '\n') != NULL)
        return errno == ENOENT ? STRATA_OK
                               : fail(error, STRATA_IO, "%s: %s", file, strerror(errno));
    FILE *list = list_open(s, error);
    if (list == NULL)
        return error->code;
#ifdef ST_DEFECT_MCP_IMPORT_AGAIN
    int code = take_in(s, path, error);
#else
    int code = list_has(list, path) ? STRATA_OK : take_in(s, path, error);
#endif
    if (code == STRATA_OK && !list_has(list, path) &&
        (fprintf(list, "%s\n", path) < 0 || fflush(list) != 0 || fsync(fileno(list)) != 0))
        code = fail(error, STRATA_IO, "cannot write the list of files that were taken in");
    (void)fclose(list);
    return code;
}
