/* tree.c - work trees: their roots, and what a path is called from there. */
#include "edge/tree.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_root(const char *dir, size_t n)
{
    static const char *const marks[] = {".git", ".strata"};
    char probe[EDGE_PATH_SIZE + 16];
    bool found = false;
    for (int i = 0; i < 2 && !found; i++) {
        (void)snprintf(probe, sizeof probe, "%.*s/%s", (int)n, dir, marks[i]);
        found = access(probe, F_OK) == 0;
    }
    return found;
}

bool edge_tree(const char *dir, char tree[EDGE_PATH_SIZE])
{
    if (realpath(dir != NULL ? dir : ".", tree) == NULL)
        return false;
    for (size_t n = strlen(tree); n > 0; n--) {
        bool whole = tree[n] == '\0' || tree[n] == '/';
        if (whole && is_root(tree, n)) {
            tree[n] = '\0';
            break;
        }
    }
    return true;
}

bool edge_tree_of(const char *file, char tree[EDGE_PATH_SIZE], char path[EDGE_PATH_SIZE])
{
    char dir[EDGE_PATH_SIZE], real[EDGE_PATH_SIZE];
    size_t n = strlen(file);
    bool found;
    if (n >= sizeof dir)
        return false;
    memcpy(dir, file, n + 1);
    /* Of the directories above it, the last one that is there. */
    do {
        n -= n > 0;
        while (n > 0 && dir[n - 1] != '/')
            n--;
        dir[n] = '\0';
        found = realpath(n > 0 ? dir : ".", real) != NULL;
    } while (!found && n > 0);
    if (!found || !edge_tree(real, tree))
        return false;
    const char *below = real + strlen(tree);
    below += *below == '/';
    int size = snprintf(path, EDGE_PATH_SIZE, "%s%s%s", below, *below != '\0' ? "/" : "", file + n);
    return size > 0 && size < EDGE_PATH_SIZE;
}
