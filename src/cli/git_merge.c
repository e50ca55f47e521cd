/*
 * git_merge.c - telling Git to merge files with `strata merge-driver`: the driver in the clone's
 * configuration, and lines of our own, between two comments, in its info/attributes. Neither is
 * tracked, both are shared by all work trees of the clone, and hooks are left alone.
 */
#include "cli/git_merge.h"

#include "cli/user_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char begin_mark[] = "# strata: merged by strata (until the next comment of strata)\n";
/* Then the line end before it is ours, too. */
static const char begin_mark_cut[] = "# strata: merged by strata, the line before had no end\n";
static const char end_mark[] = "# strata: end\n";

/* --- Git -------------------------------------------------------------------------------------- */

/* Runs `git -C DIR ARGUMENTS`; the first line of its output goes to out. Its exit status, -1 when
 * it cannot be run. */
static int git(const char *dir, const char *const arguments[], char *out, size_t size)
{
    const char *argv[16] = {"git", "-C", dir};
    int fds[2], status = -1;
    pid_t pid;
    size_t n = 3, got = 0;
    for (size_t i = 0; arguments[i] != NULL && n < 15; i++)
        argv[n++] = arguments[i];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -1;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    /* Of the repository at `dir`, not of the one whose hook may have called us. */
    static const char *const elsewhere[] = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE",
                                            "GIT_COMMON_DIR", "GIT_PREFIX"};
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++)
        (void)unsetenv(elsewhere[i]);
    int failed = posix_spawnp(&pid, "git", &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    char rest[4096];
    while (failed == 0) {
        bool room = out != NULL && got + 1 < size;
        ssize_t r = read(fds[0], room ? out + got : rest, room ? size - 1 - got : sizeof rest);
        if (r == 0 || (r < 0 && errno != EINTR))
            break;
        got += room && r > 0 ? (size_t)r : 0;
    }
    close(fds[0]);
    if (out != NULL) {
        out[got] = '\0';
        out[strcspn(out, "\n")] = '\0';
    }
    while (failed == 0 && waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return failed == 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* <common git directory>/info/attributes of the clone. */
static bool attributes_path(const char *dir, char out[PATH_MAX])
{
    char common[PATH_MAX];
    const char *const ask[] = {"rev-parse", "--path-format=absolute", "--git-common-dir", NULL};
    return git(dir, ask, common, sizeof common) == 0 &&
           snprintf(out, PATH_MAX, "%s/info/attributes", common) < PATH_MAX;
}

/* The driver's command for Git's shell: this very program. */
static bool driver_command(char *out, size_t size)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        return false;
    self[n] = '\0';
    return strpbrk(self, "'%") == NULL &&
           snprintf(out, size, "'%s' merge-driver %%O %%A %%B %%L %%P", self) < (int)size;
}

/* --- info/attributes -------------------------------------------------------------------------- */

/* An empty text takes the file away. */
static bool put_attributes(const char *path, const char *text)
{
    char folder[PATH_MAX];
    if (text[0] == '\0')
        return unlink(path) == 0 || errno == ENOENT;
    (void)snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    (void)mkdir(folder, 0777);
    return user_file_replace(path, text, strlen(text));
}

/* Where our lines are: from the first comment to behind the last. NULL: nowhere. */
static char *find_block(char *text, char **end, bool *cut)
{
    char *start = strstr(text, begin_mark);
    *cut = start == NULL;
    if (start == NULL)
        start = strstr(text, begin_mark_cut);
    char *last = start != NULL ? strstr(start, end_mark) : NULL;
    if (last == NULL)
        return NULL;
    *end = last + strlen(end_mark);
    return start;
}

static bool has_pattern(const char *text, const char *pattern)
{
    char line[PATH_MAX];
    int n = snprintf(line, sizeof line, "\n%s merge=strata\n", pattern);
    return n < (int)sizeof line && strstr(text, line) != NULL;
}

/* The file with the patterns added to our lines, to be freed; NULL: out of memory. */
static char *with_patterns(char *text, const char *const *patterns, size_t count)
{
    char *out = NULL, *end, *head_end;
    size_t size;
    bool cut;
    FILE *f = open_memstream(&out, &size);
    if (f == NULL)
        return NULL;
    size_t n = strlen(text);
    if (find_block(text, &end, &cut) != NULL) {
        head_end = end - strlen(end_mark);
        (void)fwrite(text, 1, (size_t)(head_end - text), f);
    } else {
        bool ended = n == 0 || text[n - 1] == '\n';
        (void)fputs(text, f);
        (void)fputs(ended ? "" : "\n", f);
        (void)fputs(ended ? begin_mark : begin_mark_cut, f);
        end = text + n;
    }
    for (size_t i = 0; i < count; i++) {
        bool there = has_pattern(text, patterns[i]);
        for (size_t k = 0; k < i && !there; k++)
            there = strcmp(patterns[k], patterns[i]) == 0;
        if (!there)
            (void)fprintf(f, "%s merge=strata\n", patterns[i]);
    }
    (void)fputs(end_mark, f);
    (void)fputs(end, f);
    if (fclose(f) == 0)
        return out;
    free(out);
    return NULL;
}

/* --- the two commands ------------------------------------------------------------------------- */

static int check_patterns(struct cli *c, const char *const *patterns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *p = patterns[i];
        bool good = p[0] != '\0' && strlen(p) < 1000 && strchr("#!\"[", p[0]) == NULL;
        const char *set = strchr(p, '['); /* one that is not closed matches nothing */
        good = good && (set == NULL || strchr(set, ']') != NULL);
        for (; good && *p != '\0'; p++)
            good = (unsigned char)*p > ' ';
        if (!good)
            return cli_error(c, STRATA_INVALID, "as in .gitattributes, without spaces: '*.jsonl'",
                             "--git-merge: this is no pattern: %s", patterns[i]);
    }
    return 0;
}

static int unreadable(struct cli *c, const char *path)
{
    return cli_error(c, STRATA_INVALID, "it was not touched; see to it, then try again",
                     "%s cannot be changed: %s", path,
                     errno == EINVAL ? "it has a NUL byte: it is no text" : strerror(errno));
}

int git_merge_check(struct cli *c, const char *dir, const char *const *patterns, size_t count)
{
    char path[PATH_MAX], command[PATH_MAX + 64];
    int status = check_patterns(c, patterns, count);
    if (status != 0)
        return status;
    if (!attributes_path(dir, path))
        return cli_error(c, STRATA_USAGE, NULL, "--git-merge: there is no Git repository here");
    if (!driver_command(command, sizeof command))
        return cli_error(c, STRATA_INVALID, NULL,
                         "--git-merge: Git could not call this program under its name");
    char *text = user_file_read(path);
    status = text != NULL ? 0 : unreadable(c, path);
    free(text);
    return status;
}

int git_merge_add(struct cli *c, const char *dir, const char *const *patterns, size_t count)
{
    char path[PATH_MAX], command[PATH_MAX + 64];
    int status = git_merge_check(c, dir, patterns, count);
    if (status != 0 || !attributes_path(dir, path) || !driver_command(command, sizeof command))
        return status;
    const char *const name[] = {"config", "merge.strata.name", "strata: nothing is lost", NULL};
    const char *const driver[] = {"config", "merge.strata.driver", command, NULL};
    if (git(dir, name, NULL, 0) != 0 || git(dir, driver, NULL, 0) != 0)
        return cli_error(c, STRATA_IO, NULL, "--git-merge: Git did not take the configuration");
    char *text = user_file_read(path),
         *wanted = text != NULL ? with_patterns(text, patterns, count) : NULL;
    bool good = wanted != NULL && (strcmp(text, wanted) == 0 || put_attributes(path, wanted));
    free(text);
    free(wanted);
    return good ? 0
                : cli_error(c, STRATA_IO, NULL, "--git-merge: cannot write %s: %s", path,
                            strerror(errno));
}

int git_merge_remove(struct cli *c, const char *dir, bool *removed)
{
    char path[PATH_MAX], driver[16], *end;
    bool cut, good = true;
    const char *const ask[] = {"config", "--local", "--get", "merge.strata.driver", NULL};
    const char *const forget[] = {"config", "--local", "--remove-section", "merge.strata", NULL};
    *removed = false;
    if (!attributes_path(dir, path))
        return 0;
    char *text = user_file_read(path), *start = text != NULL ? find_block(text, &end, &cut) : NULL;
    if (text == NULL)
        return unreadable(c, path);
    if (start != NULL) {
        if (cut && start > text && *end == '\0')
            start--;
        memmove(start, end, strlen(end) + 1);
        good = put_attributes(path, text);
        *removed = good;
    }
    free(text);
    if (good && git(dir, ask, driver, sizeof driver) == 0)
        *removed = good = git(dir, forget, NULL, 0) == 0;
    return good ? 0 : cli_error(c, STRATA_IO, NULL, "the merge driver could not be taken back");
}
