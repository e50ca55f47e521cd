/*
 * marks.c - what each agent has read: for the answer "you have overwritten something newer than
 * you had read". Local, unreplicated, and allowed to forget: a lost mark makes a write blind.
 *
 * The file <state>/reads/<agent> is a table of 1024 sets of 4 places of 40 bytes:
 *   hash of (entity, attribute) (8), replica (8), epoch (8), counter (8), turn (8)
 * in native byte order; hash 0: free. A new mark takes the place of the same hash, else a free one,
 * else the one with the lowest turn. A place is written with one call, without a lock: of two
 * processes of one agent one mark may win, which is as true as the other.
 */
#include "lib/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define SETS 1024u
#define WAYS 4u

struct place {
    uint64_t hash, replica, epoch, counter, turn;
};

static uint64_t hash_of(const char *entity, const char *attribute)
{
    char key[2 * ST_NAME_SIZE_MAX + 2];
    int n = snprintf(key, sizeof key, "%s\n%s", entity, attribute);
    uint64_t hash = st_checksum(key, (size_t)n);
    return hash != 0 ? hash : 1;
}

static bool marks_open(strata *s, bool create)
{
    if (s->agent[0] == '\0')
        return false;
    if (s->marks_fd >= 0)
        return true;
    char path[ST_PATH_SIZE + 80];
    snprintf(path, sizeof path, "%s/reads", s->log.dir);
    if (create && mkdir(path, 0777) < 0 && errno != EEXIST)
        return false;
    snprintf(path, sizeof path, "%s/reads/%s", s->log.dir, s->agent);
    s->marks_fd = open(path, (create ? O_CREAT | O_RDWR : O_RDWR) | O_CLOEXEC, 0666);
    return s->marks_fd >= 0;
}

static void read_set(int fd, uint64_t hash, struct place set[WAYS])
{
    memset(set, 0, WAYS * sizeof *set);
    off_t at = (off_t)((hash % SETS) * WAYS * sizeof *set);
    if (pread(fd, set, WAYS * sizeof *set, at) < 0)
        memset(set, 0, WAYS * sizeof *set);
}

void st_mark_get(strata *s, const char *entity, const char *attribute, struct st_dot *dot)
{
    *dot = (struct st_dot){0};
    if (!marks_open(s, false))
        return;
    struct place set[WAYS];
    uint64_t hash = hash_of(entity, attribute);
    read_set(s->marks_fd, hash, set);
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].hash == hash)
            *dot = (struct st_dot){{set[i].replica, set[i].epoch}, set[i].counter};
}

void st_mark_set(strata *s, const char *entity, const char *attribute, struct st_dot dot)
{
    if (s->log.read_only || !marks_open(s, true))
        return;
    struct place set[WAYS];
    uint64_t hash = hash_of(entity, attribute), turn = 0;
    read_set(s->marks_fd, hash, set);
    size_t chosen = 0;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].turn >= turn)
            turn = set[i].turn + 1;
        if (set[i].turn < set[chosen].turn)
            chosen = i;
    }
    for (size_t i = 0; i < WAYS; i++)
        if (set[i].hash == hash)
            chosen = i;
    struct place p = {hash, dot.writer.replica, dot.writer.epoch, dot.counter, turn};
    if (memcmp(&set[chosen], &p, offsetof(struct place, turn)) == 0)
        return;
    off_t at = (off_t)(((hash % SETS) * WAYS + chosen) * sizeof p);
    /* A mark that cannot be kept is only a mark. */
    ssize_t ignored = pwrite(s->marks_fd, &p, sizeof p, at);
    (void)ignored;
}

void st_mark_read(strata *s, const strata_attribute *a, const struct st_attribute *from)
{
    if (from->shown < from->count)
        st_mark_set(s, a->entity, a->attribute, from->items[from->shown].dot);
}
