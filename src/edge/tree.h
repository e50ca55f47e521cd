/* tree.h - work trees: the directory whose files the paths of a reservation are. */
#ifndef ST_EDGE_TREE_H
#define ST_EDGE_TREE_H

#include <stdbool.h>

#define EDGE_PATH_SIZE 4096

/* The root of the work tree that a directory (NULL: the current one) is in: what holds .git or
 * .strata; else the directory itself. False: there is no such directory. */
bool edge_tree(const char *dir, char tree[EDGE_PATH_SIZE]);

/* The same for a file, which need not be there, and its path from that root. */
bool edge_tree_of(const char *file, char tree[EDGE_PATH_SIZE], char path[EDGE_PATH_SIZE]);

#endif
