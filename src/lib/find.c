/*
 * find.c - where the state of a directory is: in a Git repository <common dir>/strata, which all
 * work trees of the clone share and which `git clean` and branch switches leave alone; elsewhere
 * <dir>/.strata. Git's files are read directly: starting git would cost more than most commands.
 */
#include "lib/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool join(char out[ST_PATH_SIZE], const char *a, const char *b)
{
    int n = b[0] == '/' ? snprintf(out, ST_PATH_SIZE, "%s", b)
                        : snprintf(out, ST_PATH_SIZE, "%s/%s", strcmp(a, "/") == 0 ? "" : a, b);
    return n > 0 && n < ST_PATH_SIZE;
}

/* The first line of a small file without its newline. */
static bool read_line(const char *path, char out[ST_PATH_SIZE])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, out, ST_PATH_SIZE - 1);
    close(fd);
    if (n <= 0)
        return false;
    out[n] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    return true;
}

/* gitrepository-layout(5): a work tree's .git file names its git directory, and the file
 * commondir there names the one that all work trees share. */
static bool common_dir(const char *git_dir, char out[ST_PATH_SIZE])
{
    char path[ST_PATH_SIZE], line[ST_PATH_SIZE], joined[ST_PATH_SIZE];
    if (!join(path, git_dir, "commondir"))
        return false;
    if (!read_line(path, line))
        return snprintf(out, ST_PATH_SIZE, "%s", git_dir) < ST_PATH_SIZE;
    return join(joined, git_dir, line) && realpath(joined, out) != NULL;
}

/* A bare repository, or somewhere inside a .git directory. */
static bool is_git_dir(const char *dir)
{
    char head[ST_PATH_SIZE], objects[ST_PATH_SIZE];
    return join(head, dir, "HEAD") && join(objects, dir, "objects") && is_file(head) &&
           is_directory(objects);
}

static bool git_dir_of(const char *dir, char out[ST_PATH_SIZE])
{
    static const char prefix[] = "gitdir: ";
    char path[ST_PATH_SIZE], line[ST_PATH_SIZE];
    if (!join(path, dir, ".git"))
        return false;
    if (is_directory(path))
        return common_dir(path, out);
    if (is_file(path) && read_line(path, line) && strncmp(line, prefix, sizeof prefix - 1) == 0)
        return join(path, dir, line + sizeof prefix - 1) && common_dir(path, out);
    return is_git_dir(dir) && snprintf(out, ST_PATH_SIZE, "%s", dir) < ST_PATH_SIZE;
}

static bool has_state(const char *state)
{
    char path[ST_PATH_SIZE];
    return join(path, state, "identity") && is_file(path);
}

/* Looks in one directory. *candidate: where the state would be, if this is a repository. */
static bool look_in(const char *dir, char candidate[ST_PATH_SIZE], bool *repository)
{
    char git[ST_PATH_SIZE];
    *repository = false;
    if (join(candidate, dir, ".strata") && has_state(candidate))
        return true;
    /* The directory is a state directory itself. */
    if (has_state(dir) && snprintf(candidate, ST_PATH_SIZE, "%s", dir) < ST_PATH_SIZE)
        return true;
    *repository = git_dir_of(dir, git) && join(candidate, git, "strata");
    return *repository && has_state(candidate);
}

enum st_code st_find_state(const char *dir, bool for_init, char out[ST_PATH_SIZE],
                           struct st_fault *fault)
{
    char at[PATH_MAX], candidate[ST_PATH_SIZE];
    if (realpath(dir, at) == NULL)
        return st_fail(fault, ST_INVALID, "cannot open the directory '%s': %s", dir,
                       strerror(errno));
    char start[PATH_MAX];
    strcpy(start, at);
    for (;;) {
        bool repository;
        bool found = look_in(at, candidate, &repository);
        if (found || (repository && for_init)) {
            strcpy(out, candidate);
            return ST_OK;
        }
        char *slash = strrchr(at, '/');
        if (repository || strcmp(at, "/") == 0 || slash == NULL)
            break;
        slash[slash == at ? 1 : 0] = '\0';
    }
    if (for_init)
        return join(out, start, ".strata")
                   ? ST_OK
                   : st_fail(fault, ST_LIMIT, "the path of '%s' is too long", dir);
    st_fail(fault, ST_NO_WORKSPACE, "no Strata workspace in %s or above", start);
    return st_hint(fault, "run `strata init` in the workspace's directory");
}

/* --- the work tree ------------------------------------------------------------------------------- */

/* The git directory of the work tree `dir` itself, before its common directory is looked up. */
static bool own_git_dir(const char *dir, char out[ST_PATH_SIZE])
{
    static const char prefix[] = "gitdir: ";
    char path[ST_PATH_SIZE], line[ST_PATH_SIZE];
    if (!join(path, dir, ".git"))
        return false;
    if (is_directory(path))
        return snprintf(out, ST_PATH_SIZE, "%s", path) < ST_PATH_SIZE;
    return is_file(path) && read_line(path, line) &&
           strncmp(line, prefix, sizeof prefix - 1) == 0 &&
           join(out, dir, line + sizeof prefix - 1);
}

static bool same_directory(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_ino == y.st_ino && x.st_dev == y.st_dev;
}

/* Where the list of files of the work tree `at` is, if the state is its usual one. */
static bool usual_home(const char *at, const char *state, char home[ST_PATH_SIZE])
{
    char path[ST_PATH_SIZE], own[ST_PATH_SIZE], common[ST_PATH_SIZE], theirs[ST_PATH_SIZE];
    if (join(path, at, ".strata") && same_directory(path, state))
        return join(home, state, "views");
    if (!own_git_dir(at, own) || !common_dir(own, common) || !join(theirs, common, "strata") ||
        !same_directory(theirs, state))
        return false;
    return same_directory(own, common) ? join(home, state, "views")
                                       : join(home, own, "strata-views");
}

/* The same for a state elsewhere: one list for each directory that uses it. */
static bool other_home(const char *at, const char *state, char home[ST_PATH_SIZE])
{
    return snprintf(home, ST_PATH_SIZE, "%s/views/tree-%016llx", state,
                    (unsigned long long)st_checksum(at, strlen(at))) < ST_PATH_SIZE;
}

enum st_code st_find_tree(const char *dir, const char *state, char root[ST_PATH_SIZE],
                          char home[ST_PATH_SIZE])
{
    char at[PATH_MAX], git[ST_PATH_SIZE];
    if (realpath(dir, at) == NULL)
        return ST_NOT_FOUND;
    for (;;) {
        bool tree = own_git_dir(at, git);
        if (!tree && is_git_dir(at))
            return ST_NOT_FOUND;
        if (usual_home(at, state, home))
            return snprintf(root, ST_PATH_SIZE, "%s", at) < ST_PATH_SIZE ? ST_OK : ST_LIMIT;
        if (tree || (other_home(at, state, home) && is_directory(home)))
            break;
        char *slash = strrchr(at, '/');
        if (slash == NULL || strcmp(at, "/") == 0) {
            if (realpath(dir, at) == NULL)
                return ST_NOT_FOUND;
            break;
        }
        slash[slash == at ? 1 : 0] = '\0';
    }
    /* A state that is not the usual one of any directory above. Inside a state there is no tree. */
    if (has_state(at) || !other_home(at, state, home))
        return ST_NOT_FOUND;
    return snprintf(root, ST_PATH_SIZE, "%s", at) < ST_PATH_SIZE ? ST_OK : ST_LIMIT;
}

bool st_find_index(const char *root, char out[ST_PATH_SIZE])
{
    char own[ST_PATH_SIZE];
    return own_git_dir(root, own) && join(out, own, "index");
}

bool st_find_exclude(const char *root, char out[ST_PATH_SIZE])
{
    char own[ST_PATH_SIZE], common[ST_PATH_SIZE], info[ST_PATH_SIZE];
    if (!own_git_dir(root, own) || !common_dir(own, common) || !join(info, common, "info") ||
        !join(out, info, "exclude"))
        return false;
    return is_directory(info) || mkdir(info, 0777) == 0;
}

bool st_find_repository(const char *dir, char out[ST_PATH_SIZE])
{
    char at[PATH_MAX];
    if (realpath(dir, at) == NULL)
        return false;
    while (!git_dir_of(at, out)) {
        char *slash = strrchr(at, '/');
        if (strcmp(at, "/") == 0 || slash == NULL)
            return false;
        slash[slash == at ? 1 : 0] = '\0';
    }
    return true;
}
