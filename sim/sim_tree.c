/*
 * sim_tree.c - names: directories, what of their changes is durable, and the operator's copies.
 */
#include "sim/sim_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

static char *text_copy(const char *text)
{
    size_t n = strlen(text) + 1;
    return memcpy(sim_memory(n), text, n);
}

struct sim_inode *sim_entry_get(const struct sim_entries *e, const char *name)
{
    for (size_t i = 0; i < e->n; i++)
        if (strcmp(e->p[i].name, name) == 0)
            return e->p[i].inode;
    return NULL;
}

/* inode NULL removes. */
static void entry_set(struct sim_entries *e, const char *name, struct sim_inode *inode)
{
    for (size_t i = 0; i < e->n; i++) {
        if (strcmp(e->p[i].name, name) != 0)
            continue;
        if (inode != NULL) {
            e->p[i].inode = inode;
            return;
        }
        free(e->p[i].name);
        e->p[i] = e->p[--e->n];
        return;
    }
    if (inode == NULL)
        return;
    if (e->n == e->cap) {
        e->cap = e->cap > 0 ? 2 * e->cap : 8;
        e->p = sim_grow(e->p, e->cap * sizeof *e->p);
    }
    e->p[e->n++] = (struct sim_entry){text_copy(name), inode};
}

void sim_tree_init(struct sim *s, int machine)
{
    struct sim_machine *m = &s->machines[machine];
    m->root = sim_inode_new(s, machine, true);
}

static void name_ops_clear(struct sim_machine *m)
{
    for (size_t i = 0; i < m->name_op_count; i++) {
        free(m->name_ops[i].from_name);
        free(m->name_ops[i].to_name);
    }
    m->name_op_count = 0;
}

void sim_tree_free(struct sim *s, int machine)
{
    struct sim_machine *m = &s->machines[machine];
    name_ops_clear(m);
    free(m->name_ops);
    while (m->inodes != NULL) {
        struct sim_inode *next = m->inodes->next;
        sim_inode_free(m->inodes);
        m->inodes = next;
    }
    m->used = false;
}

/* --- paths --------------------------------------------------------------------------------- */

struct sim_inode *sim_parent(struct sim *s, int machine, const char *path, const char **name)
{
    struct sim_inode *at = s->machines[machine].root;
    if (*path != '/')
        sim_die(s, "path without a leading slash: %s", path);
    for (;;) {
        while (*path == '/')
            path++;
        size_t n = strcspn(path, "/");
        if (path[n] == '\0') {
            *name = path;
            return at;
        }
        char part[256];
        if (n >= sizeof part)
            return NULL;
        memcpy(part, path, n);
        part[n] = '\0';
        at = sim_entry_get(&at->now, part);
        if (at == NULL || !at->directory)
            return NULL;
        path += n;
    }
}

struct sim_inode *sim_lookup(struct sim *s, int machine, const char *path)
{
    const char *name;
    struct sim_inode *parent = sim_parent(s, machine, path, &name);
    if (parent == NULL || *name == '\0')
        return parent;
    return sim_entry_get(&parent->now, name);
}

static struct sim_name_op *name_op_add(struct sim_machine *m)
{
    if (m->name_op_count == m->name_op_cap) {
        m->name_op_cap = m->name_op_cap > 0 ? 2 * m->name_op_cap : 16;
        m->name_ops = sim_grow(m->name_ops, m->name_op_cap * sizeof *m->name_ops);
    }
    struct sim_name_op *op = &m->name_ops[m->name_op_count++];
    *op = (struct sim_name_op){0};
    return op;
}

int sim_name_create(struct sim *s, int machine, const char *path, bool directory,
                    struct sim_inode **out)
{
    const char *name;
    struct sim_inode *parent = sim_parent(s, machine, path, &name);
    if (parent == NULL)
        return -ENOENT;
    if (*name == '\0' || sim_entry_get(&parent->now, name) != NULL)
        return -EEXIST;
    struct sim_inode *i = sim_inode_new(s, machine, directory);
    i->links = 1;
    entry_set(&parent->now, name, i);
    struct sim_name_op *op = name_op_add(&s->machines[machine]);
    op->to = parent;
    op->to_name = text_copy(name);
    op->target = i;
    if (out != NULL)
        *out = i;
    return 0;
}

int sim_name_unlink(struct sim *s, int machine, const char *path)
{
    const char *name;
    struct sim_inode *parent = sim_parent(s, machine, path, &name);
    struct sim_inode *i = parent != NULL ? sim_entry_get(&parent->now, name) : NULL;
    if (i == NULL)
        return -ENOENT;
    if (i->directory)
        return -EISDIR;
    i->links--;
    entry_set(&parent->now, name, NULL);
    struct sim_name_op *op = name_op_add(&s->machines[machine]);
    op->from = parent;
    op->from_name = text_copy(name);
    return 0;
}

int sim_name_rename(struct sim *s, int machine, const char *from, const char *to)
{
    const char *from_name, *to_name;
    struct sim_inode *a = sim_parent(s, machine, from, &from_name);
    struct sim_inode *b = sim_parent(s, machine, to, &to_name);
    struct sim_inode *i = a != NULL ? sim_entry_get(&a->now, from_name) : NULL;
    if (i == NULL || b == NULL || *to_name == '\0')
        return -ENOENT;
    struct sim_inode *old = sim_entry_get(&b->now, to_name);
    if (old == i)
        return 0;
    if (old != NULL && old->directory != i->directory)
        return old->directory ? -EISDIR : -ENOTDIR;
    if (old != NULL && old->directory && old->now.n > 0)
        return -ENOTEMPTY;
    if (old != NULL)
        old->links--;
    entry_set(&b->now, to_name, i);
    entry_set(&a->now, from_name, NULL);
    struct sim_name_op *op = name_op_add(&s->machines[machine]);
    op->from = a;
    op->from_name = text_copy(from_name);
    op->to = b;
    op->to_name = text_copy(to_name);
    op->target = i;
    return 0;
}

/* --- durability of names ------------------------------------------------------------------- */

static bool names_meet(struct sim_inode *dir, const char *name, const struct sim_name_op *op)
{
    return dir != NULL && ((op->from == dir && strcmp(op->from_name, name) == 0) ||
                           (op->to == dir && strcmp(op->to_name, name) == 0));
}

static bool ops_meet(const struct sim_name_op *a, const struct sim_name_op *b)
{
    return names_meet(a->from, a->from_name, b) || names_meet(a->to, a->to_name, b);
}

static void name_op_apply(const struct sim_name_op *op)
{
    if (op->from != NULL)
        entry_set(&op->from->durable, op->from_name, NULL);
    if (op->to != NULL)
        entry_set(&op->to->durable, op->to_name, op->target);
}

/* Applies and removes the chosen ones. */
static void name_ops_settle(struct sim_machine *m, const bool *chosen)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->name_op_count; i++) {
        if (!chosen[i]) {
            m->name_ops[kept++] = m->name_ops[i];
            continue;
        }
        name_op_apply(&m->name_ops[i]);
        free(m->name_ops[i].from_name);
        free(m->name_ops[i].to_name);
    }
    m->name_op_count = kept;
}

int sim_name_sync(struct sim *s, int machine, const char *path)
{
    struct sim_inode *dir = sim_lookup(s, machine, path);
    if (dir == NULL)
        return -ENOENT;
    if (!dir->directory)
        return -ENOTDIR;
    struct sim_machine *m = &s->machines[machine];
    bool *chosen = sim_memory(m->name_op_count);
    /* From the last to the first: what a chosen one builds on is chosen too. */
    for (size_t i = m->name_op_count; i-- > 0;) {
        chosen[i] = m->name_ops[i].from == dir || m->name_ops[i].to == dir;
        for (size_t j = i + 1; j < m->name_op_count && !chosen[i]; j++)
            chosen[i] = chosen[j] && ops_meet(&m->name_ops[j], &m->name_ops[i]);
    }
    name_ops_settle(m, chosen);
    free(chosen);
    return 0;
}

static void entries_copy(struct sim_entries *to, const struct sim_entries *from)
{
    while (to->n > 0)
        free(to->p[--to->n].name);
    for (size_t i = 0; i < from->n; i++)
        entry_set(to, from->p[i].name, from->p[i].inode);
}

static void reach(struct sim_inode *dir)
{
    dir->reached = true;
    for (size_t i = 0; i < dir->now.n; i++) {
        struct sim_inode *child = dir->now.p[i].inode;
        child->links++;
        child->reached = true;
        if (child->directory)
            reach(child);
    }
}

/* After a power loss or a sync: only what can be reached is left. No descriptor may be open. */
void sim_collect(struct sim *s, int machine)
{
    struct sim_machine *m = &s->machines[machine];
    for (struct sim_inode *i = m->inodes; i != NULL; i = i->next) {
        i->reached = false;
        i->links = 0;
    }
    reach(m->root);
    for (struct sim_inode **p = &m->inodes; *p != NULL;) {
        struct sim_inode *i = *p;
        if (i->reached || i->opens > 0) {
            p = &i->next;
            continue;
        }
        *p = i->next;
        sim_inode_free(i);
    }
}

void sim_names_power_loss(struct sim *s, int machine, enum sim_loss loss)
{
    struct sim_machine *m = &s->machines[machine];
    bool *chosen = sim_memory(m->name_op_count);
    uint64_t share = sim_below(s, 5);
    for (size_t i = 0; i < m->name_op_count; i++) {
        chosen[i] = loss == SIM_LOSS_NONE || (loss == SIM_LOSS_RANDOM && sim_below(s, 4) < share);
        for (size_t j = 0; j < i && chosen[i]; j++)
            chosen[i] = chosen[j] || !ops_meet(&m->name_ops[j], &m->name_ops[i]);
    }
    name_ops_settle(m, chosen);
    free(chosen);
    name_ops_clear(m);
    for (struct sim_inode *i = m->inodes; i != NULL; i = i->next)
        if (i->directory)
            entries_copy(&i->now, &i->durable);
    sim_collect(s, machine);
}

/* --- the operator's tools ------------------------------------------------------------------ */

void sim_sync(struct sim *s, int machine)
{
    struct sim_machine *m = &s->machines[machine];
    for (struct sim_inode *i = m->inodes; i != NULL; i = i->next) {
        if (i->directory) {
            entries_copy(&i->durable, &i->now);
        } else {
            sim_bytes_copy(&i->disk, &i->cache);
            sim_ops_clear(i);
        }
    }
    name_ops_clear(m);
    sim_collect(s, machine);
}

static struct sim_inode *child_make(struct sim *s, int machine, struct sim_inode *dir,
                                    const char *name, bool directory)
{
    s->now_ns += 10000;
    struct sim_inode *i = sim_inode_new(s, machine, directory);
    i->links = 1;
    entry_set(&dir->now, name, i);
    entry_set(&dir->durable, name, i);
    return i;
}

static void copy_into(struct sim *s, const struct sim_inode *from, int machine,
                      struct sim_inode *to)
{
    for (size_t k = 0; k < from->now.n; k++) {
        const struct sim_inode *child = from->now.p[k].inode;
        struct sim_inode *copy = child_make(s, machine, to, from->now.p[k].name, child->directory);
        if (child->directory)
            copy_into(s, child, machine, copy);
        else
            sim_file_set_durable(copy, child->cache.p, child->cache.n);
    }
}

void sim_copy_tree(struct sim *s, int from_machine, const char *from, int to_machine,
                   const char *to)
{
    const struct sim_inode *source = sim_lookup(s, from_machine, from);
    const char *name;
    struct sim_inode *parent = sim_parent(s, to_machine, to, &name);
    if (source == NULL || parent == NULL || sim_entry_get(&parent->now, name) != NULL)
        sim_die(s, "cannot copy %s to %s", from, to);
    copy_into(s, source, to_machine, child_make(s, to_machine, parent, name, true));
    sim_trace_add(s, SIM_CALLS, to, 0, 0, 0);
}

static void entry_drop(struct sim_inode *dir, const char *name)
{
    char *copy = text_copy(name);
    entry_set(&dir->now, copy, NULL);
    entry_set(&dir->durable, copy, NULL);
    free(copy);
}

void sim_remove_tree(struct sim *s, int machine, const char *path)
{
    const char *name;
    struct sim_inode *parent = sim_parent(s, machine, path, &name);
    if (parent == NULL || sim_entry_get(&parent->now, name) == NULL)
        sim_die(s, "cannot remove %s", path);
    sim_sync(s, machine);
    entry_drop(parent, name);
    sim_collect(s, machine);
}

static void restore_into(struct sim *s, const struct sim_inode *from, int machine,
                         struct sim_inode *to, bool overwrite)
{
    for (size_t k = to->now.n; k-- > 0;)
        if (!overwrite && sim_entry_get(&from->now, to->now.p[k].name) == NULL)
            entry_drop(to, to->now.p[k].name);
    for (size_t k = 0; k < from->now.n; k++) {
        const char *name = from->now.p[k].name;
        const struct sim_inode *child = from->now.p[k].inode;
        struct sim_inode *there = sim_entry_get(&to->now, name);
        bool same =
            there != NULL && !child->directory && there->cache.n == child->cache.n &&
            (child->cache.n == 0 || memcmp(there->cache.p, child->cache.p, child->cache.n) == 0);
        if (same)
            continue;
        if (there == NULL || (!child->directory && !overwrite)) {
            if (there != NULL)
                entry_drop(to, name);
            there = child_make(s, machine, to, name, child->directory);
        }
        if (child->directory)
            restore_into(s, child, machine, there, overwrite);
        else
            sim_file_set_durable(there, child->cache.p, child->cache.n);
    }
}

static void restore(struct sim *s, int machine, const char *from, const char *to, bool overwrite)
{
    struct sim_inode *a = sim_lookup(s, machine, from), *b = sim_lookup(s, machine, to);
    if (a == NULL || b == NULL)
        sim_die(s, "cannot restore %s to %s", from, to);
    sim_sync(s, machine);
    restore_into(s, a, machine, b, overwrite);
    sim_collect(s, machine);
}

void sim_restore_in_place(struct sim *s, int machine, const char *from, const char *to)
{
    restore(s, machine, from, to, false);
}

void sim_overwrite_in_place(struct sim *s, int machine, const char *from, const char *to)
{
    restore(s, machine, from, to, true);
}

bool sim_file(struct sim *s, int machine, const char *path, const uint8_t **p, size_t *n)
{
    const struct sim_inode *i = sim_lookup(s, machine, path);
    if (i == NULL || i->directory)
        return false;
    *p = i->cache.p;
    *n = i->cache.n;
    return true;
}

bool sim_file_durable(struct sim *s, int machine, const char *path, const uint8_t **p, size_t *n)
{
    struct sim_inode *at = s->machines[machine].root;
    while (*path != '\0' && at != NULL) {
        while (*path == '/')
            path++;
        char part[256];
        size_t size = strcspn(path, "/");
        ST_ASSERT(size < sizeof part);
        memcpy(part, path, size);
        part[size] = '\0';
        at = sim_entry_get(&at->durable, part);
        path += size;
    }
    if (at == NULL || at->directory)
        return false;
    *p = at->disk.p;
    *n = at->disk.n;
    return true;
}

void sim_rot(struct sim *s, int machine, const char *path, uint64_t offset, uint8_t mask)
{
    struct sim_inode *i = sim_lookup(s, machine, path);
    if (i == NULL || offset >= i->cache.n || i->op_count > 0)
        sim_die(s, "cannot rot %s at %" PRIu64, path, offset);
    i->cache.p[offset] ^= mask;
    i->disk.p[offset] ^= mask;
}

void sim_write_durable(struct sim *s, int machine, const char *path, const void *p, size_t n)
{
    struct sim_inode *i = sim_lookup(s, machine, path);
    const char *name;
    struct sim_inode *parent = sim_parent(s, machine, path, &name);
    if (parent == NULL)
        sim_die(s, "cannot write %s", path);
    if (i == NULL)
        i = child_make(s, machine, parent, name, false);
    sim_file_set_durable(i, p, n);
}

static void print_into(const struct sim_inode *dir, int depth, FILE *out)
{
    for (size_t k = 0; k < dir->now.n; k++) {
        const struct sim_inode *i = dir->now.p[k].inode;
        fprintf(out, "%*s%s%s inode %" PRIu64 " size %zu on disk %zu writes %zu\n", depth * 2, "",
                dir->now.p[k].name, i->directory ? "/" : "", i->number, i->cache.n, i->disk.n,
                i->op_count);
        if (i->directory)
            print_into(i, depth + 1, out);
    }
}

void sim_tree_print(struct sim *s, int machine, FILE *out)
{
    print_into(s->machines[machine].root, 0, out);
}
