/* user_file.c - see user_file.h. */
#include "cli/user_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *read_whole(FILE *f)
{
    char *text = malloc(USER_FILE_SIZE_MAX + 1);
    size_t n = text != NULL ? fread(text, 1, USER_FILE_SIZE_MAX, f) : 0;
    int wrong = text == NULL                 ? ENOMEM
                : ferror(f)                  ? EIO
                : fgetc(f) != EOF            ? EFBIG
                : memchr(text, 0, n) != NULL ? EINVAL
                                             : 0;
    if (wrong == 0) {
        text[n] = '\0';
        return text;
    }
    free(text);
    errno = wrong;
    return NULL;
}

char *user_file_read(const char *path)
{
    struct stat st;
    /* What is no file may keep us waiting when it is opened. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return errno == ENOENT ? strdup("") : NULL;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        errno = EISDIR;
        return NULL;
    }
    FILE *f = fdopen(fd, "r");
    char *text = f != NULL ? read_whole(f) : NULL;
    int saved = errno;
    if (f != NULL)
        (void)fclose(f);
    else
        (void)close(fd);
    errno = saved;
    return text;
}

bool user_file_replace(const char *path, const char *text, size_t n)
{
    char beside[PATH_MAX];
    struct stat st;
    if (snprintf(beside, sizeof beside, "%s.strata-XXXXXX", path) >= (int)sizeof beside) {
        errno = ENAMETOOLONG;
        return false;
    }
    int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return false;
    mode_t mask = umask(0);
    (void)umask(mask);
    bool there = lstat(path, &st) == 0;
    bool good = fchmod(fd, there ? st.st_mode & 07777 : 0666 & ~mask) == 0;
    while (good && n > 0) {
        ssize_t done = write(fd, text, n);
        good = done >= 0 || errno == EINTR;
        text += done > 0 ? done : 0;
        n -= done > 0 ? (size_t)done : 0;
    }
    good = good && fsync(fd) == 0;
    good = close(fd) == 0 && good;
    good = good && rename(beside, path) == 0;
    int saved = errno;
    if (!good)
        (void)unlink(beside);
    errno = saved;
    return good;
}
