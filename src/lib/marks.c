/*
 * marks.c - what each agent has read: for the answer "you have overwritten something newer than
 * you had read". Local, unreplicated, and allowed to forget: a lost mark makes a write blind.
 *
 * The file <state>/reads/<agent> is a table of 1024 sets of 4 places of 40 bytes:
 *   hash of (entity, attribute) (8), replica (8), epoch (8), counter (8), turn (8)
 * in native byte order; hash 0: free. A handle keeps what it used in memory and writes it to the
 * file when another mark needs the place, or at the end: a program that writes a hundred thousand
 * times a second must not write as many marks.
 *
 * hash 0: free. A new mark takes the place of the same hash, else a free one,
 * else the one with the lowest turn. A place is written with one call, without a lock: of two
 * processes of one agent one mark may win, which is as true as the other.
 */
#include "lib/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETS 1024u
#define WAYS 4u
/* Marks in memory; a power of two. A page of them that is touched first costs as much as a mark that is written. */
#define KEPT 1024u

struct place {
    uint64_t hash, replica, epoch, counter, turn;
};

struct st_marks {
    size_t first, end;       /* where marks lie that are not yet in the file */
    struct place kept[KEPT]; /* by hash; turn 1: not yet in the file */
};

static uint64_t hash_of(const char *entity, const char *attribute)
{
    char key[2 * ST_NAME_SIZE_MAX + 2];
    size_t n = strlen(entity), m = strlen(attribute);
    ST_ASSERT(n <= ST_NAME_SIZE_MAX && m <= ST_NAME_SIZE_MAX);
    memcpy(key, entity, n);
    key[n] = '\n';
    memcpy(key + n + 1, attribute, m);
    uint64_t hash = st_checksum(key, n + 1 + m);
    return hash != 0 ? hash : 1;
}

/* Who may only read has no use for marks: they are for who writes. */
static bool marks_open(strata *s)
{
    if (s->agent[0] == '\0' || s->log.read_only)
        return false;
    if (s->marks_fd >= 0)
        return true;
    char path[ST_PATH_SIZE + 80];
    snprintf(path, sizeof path, "%s/reads", s->log.dir);
    if (mkdir(path, 0777) < 0 && errno != EEXIST)
        return false;
    snprintf(path, sizeof path, "%s/reads/%s", s->log.dir, s->agent);
    s->marks_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    return s->marks_fd >= 0;
}

static void read_set(int fd, uint64_t hash, struct place set[WAYS])
{
    memset(set, 0, WAYS * sizeof *set);
    off_t at = (off_t)((hash % SETS) * WAYS * sizeof *set);
    if (pread(fd, set, WAYS * sizeof *set, at) < 0)
        memset(set, 0, WAYS * sizeof *set);
}

/* Into the file: in the place of the same hash, else a free one, else the oldest. */
static void store(strata *s, const struct place *mark)
{
    struct place set[WAYS];
    uint64_t turn = 0;
    size_t chosen = 0;
    if (!marks_open(s))
        return;
    read_set(s->marks_fd, mark->hash, set);
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].turn >= turn)
            turn = set[i].turn + 1;
        if (set[i].turn < set[chosen].turn)
            chosen = i;
    }
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].hash == mark->hash)
            chosen = i;
    struct place p = *mark;
    p.turn = turn;
    off_t at = (off_t)(((mark->hash % SETS) * WAYS + chosen) * sizeof p);
    /* A mark that cannot be kept is only a mark. */
    ssize_t ignored = pwrite(s->marks_fd, &p, sizeof p, at);
    (void)ignored;
}

/* The place in memory for a hash, with what the file knows of it; NULL: no agent, no memory. */
static struct place *place_of(strata *s, uint64_t hash)
{
    struct place set[WAYS];
    if (s->agent[0] == '\0')
        return NULL;
    if (s->marks == NULL)
        s->marks = calloc(1, sizeof *s->marks);
    if (s->marks == NULL)
        return NULL;
    struct place *p = &s->marks->kept[hash % KEPT];
    if (p->hash == hash)
        return p;
    if (p->turn != 0)
        store(s, p);
    *p = (struct place){.hash = hash};
    if (!marks_open(s))
        return p;
    read_set(s->marks_fd, hash, set);
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].hash == hash)
            *p = (struct place){hash, set[i].replica, set[i].epoch, set[i].counter, 0};
    return p;
}

void st_mark_get(strata *s, const char *entity, const char *attribute, struct st_dot *dot)
{
    const struct place *p = place_of(s, hash_of(entity, attribute));
    *dot = (struct st_dot){0};
    if (p != NULL && p->counter != 0)
        *dot = (struct st_dot){{p->replica, p->epoch}, p->counter};
}

void st_mark_set(strata *s, const char *entity, const char *attribute, struct st_dot dot)
{
    struct place *p = s->log.read_only ? NULL : place_of(s, hash_of(entity, attribute));
    if (p == NULL)
        return;
    struct place mark = {p->hash, dot.writer.replica, dot.writer.epoch, dot.counter, 1};
    if (memcmp(p, &mark, offsetof(struct place, turn)) == 0)
        return;
    *p = mark;
    struct st_marks *m = s->marks;
    size_t i = (size_t)(p - m->kept);
    m->first = m->end == 0 || i < m->first ? i : m->first;
    m->end = i + 1 > m->end ? i + 1 : m->end;
}

void st_marks_release(strata *s)
{
    for (size_t i = s->marks != NULL ? s->marks->first : 0; s->marks != NULL && i < s->marks->end;
         i++)
        if (s->marks->kept[i].turn != 0)
            store(s, &s->marks->kept[i]);
    free(s->marks);
    s->marks = NULL;
    if (s->marks_fd >= 0)
        close(s->marks_fd);
    s->marks_fd = -1;
}

void st_mark_read(strata *s, const strata_attribute *a, const struct st_attribute *from)
{
    if (from->shown < from->count)
        st_mark_set(s, a->entity, a->attribute, from->items[from->shown].dot);
}
