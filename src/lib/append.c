/*
 * append.c - one line at the end of a file. Of a tracked one it becomes a version first and goes into
 * the file then, so that it is kept whoever writes the file meanwhile.
 */
#include "lib/files.h"

#include "files/lines.h"
#include "store/log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* One write(2) at the end, flushed. *again: another file is there by now. */
static enum st_code append_once(strata *s, const char *path, struct st_str text, bool *again,
                                struct st_fault *fault)
{
    struct stat mine, there;
    struct st_buf line;
    char last = '\n';
    int fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return st_fail_system(fault, -errno, "cannot open %s", path);
    st_buf_init(&line, st_alloc_libc());
    if (fstat(fd, &mine) == 0 && mine.st_size > 0)
        (void)!pread(fd, &last, 1, mine.st_size - 1);
    st_line_append(&line, last, text);
    st_point(&s->log, "append.opened");
    enum st_code code = ST_OK;
    if (line.failed)
        code = st_fail(fault, ST_NO_MEMORY, "out of memory");
    ssize_t n = code == ST_OK ? write(fd, line.p, line.n) : 0;
    if (code == ST_OK && n >= 0 && (size_t)n < line.n) {
        /* A full disk: all or nothing, unless somebody has written behind it. */
        off_t end = lseek(fd, 0, SEEK_END);
        if (end == mine.st_size + n)
            (void)!ftruncate(fd, mine.st_size);
        errno = ENOSPC;
        n = -1;
    }
    if (code == ST_OK && (n < 0 || fdatasync(fd) < 0))
        code = st_fail_system(fault, -errno, "cannot append to %s", path);
    *again = code == ST_OK &&
             (stat(path, &there) < 0 || there.st_ino != mine.st_ino || there.st_dev != mine.st_dev);
    close(fd);
    st_buf_release(&line);
    return code;
}

static int append_plain(strata *s, const char *relative, const char *path, struct st_str line)
{
    struct st_fault fault;
    bool again = true;
    for (int i = 0; again && i < ST_FILES_TRIES; i++)
        if (append_once(s, path, line, &again, &fault) != ST_OK)
            return st_lib_fault(s, &fault);
    if (!again)
        return STRATA_OK;
    return st_lib_fail(s, ST_OUTCOME_UNKNOWN,
                       "%s was replaced by somebody each time: the line may not be in it",
                       relative);
}

int strata_append(strata *s, const char *given, const char *text, size_t size)
{
    char relative[ST_PATH_SIZE], path[ST_PATH_SIZE];
    struct st_str line = {text, size == STRATA_NUL ? strlen(text) : size};
    if (line.n > ST_VALUE_SIZE_MAX)
        return st_lib_fail(s, ST_LIMIT, "the text is %zu bytes long; the limit is %d", line.n,
                           ST_VALUE_SIZE_MAX);
    int code = st_files_begin(s);
    if (code != STRATA_OK)
        return code;
    code = st_files_relative(s, given, relative);
    if (code == STRATA_OK)
        code = st_files_path(s, relative, path);
    struct st_entry *e = code == STRATA_OK ? st_files_entry(s, relative) : NULL;
    if (code == STRATA_OK && e != NULL && e->kind == ST_ENTRY_FILE)
        code = st_document_append(s, e, line);
    else if (code == STRATA_OK)
        code = append_plain(s, relative, path, line);
    return st_files_end(s, code);
}
