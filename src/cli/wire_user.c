/*
 * wire_user.c - which workspaces of this user need an entry that a client has once for all of them:
 *
 *   $XDG_STATE_HOME/strata/CLIENT/REPLICA     (~/.local/state when it is not set)
 *
 * is a symbolic link to the workspace's state directory. It is made before the client is called, so
 * that whoever takes the entry back in between sees it. A link that leads nowhere counts for nothing.
 */
#include "cli/wire.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool directory_of(const char *client, char out[PATH_MAX])
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    int n = state != NULL && state[0] == '/'
                ? snprintf(out, PATH_MAX, "%s/strata/%s", state, client)
            : home != NULL && home[0] == '/'
                ? snprintf(out, PATH_MAX, "%s/.local/state/strata/%s", home, client)
                : -1;
    errno = n < 0 ? ENOENT : ENAMETOOLONG;
    return n > 0 && n < PATH_MAX;
}

static bool make_path(char *path)
{
    for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return false;
        if (slash == NULL)
            return true;
        *slash = '/';
    }
}

bool wire_user_add(const char *client, const char *replica, const char *state_dir)
{
    char dir[PATH_MAX], path[PATH_MAX];
    if (!directory_of(client, dir) || !make_path(dir))
        return false;
    if (snprintf(path, sizeof path, "%s/%s", dir, replica) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return false;
    }
    (void)unlink(path); /* of a workspace that was moved */
    return symlink(state_dir, path) == 0;
}

/* The first link that leads to state_dir, or (others) to another state directory that there is. */
static bool find(const char *client, const char *state_dir, bool others, char link[PATH_MAX],
                 char target[PATH_MAX])
{
    char dir[PATH_MAX];
    DIR *d = directory_of(client, dir) ? opendir(dir) : NULL;
    bool found = false;
    for (struct dirent *e; !found && d != NULL && (e = readdir(d)) != NULL;) {
        ssize_t n = -1;
        if (snprintf(link, PATH_MAX, "%s/%s", dir, e->d_name) < PATH_MAX)
            n = readlink(link, target, PATH_MAX - 1);
        if (n <= 0)
            continue;
        target[n] = '\0';
        bool own = strcmp(target, state_dir) == 0;
        found = others ? !own && access(target, F_OK) == 0 : own;
    }
    if (d != NULL)
        (void)closedir(d);
    return found;
}

void wire_user_remove(const char *client, const char *state_dir)
{
    char link[PATH_MAX], target[PATH_MAX];
    while (find(client, state_dir, false, link, target))
        if (unlink(link) != 0)
            break;
}

bool wire_user_other(const char *client, const char *state_dir, char other[PATH_MAX])
{
    char link[PATH_MAX];
    return find(client, state_dir, true, link, other);
}
