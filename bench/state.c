/*
 * state.c - workspaces of a given size, and how long it takes to bring the index up to the log.
 *
 *   bench-state fill DIR RECORDS ENTITIES   makes a workspace in DIR; prints writes per second
 *   bench-state index DIR                   throws the index away and builds it; records per second
 *   bench-state merge DIR RECORDS KEYS      two replicas write RECORDS each over the same KEYS,
 *                                           apart; prints the milliseconds one of them needs to
 *                                           take in the other's, durable and indexed
 */
#include "bench.h"

#include "strata.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void check(strata *s, int code)
{
    if (code != STRATA_OK)
        bench_die("%s", strata_last_error(s)->message);
}

static void path_of(char out[4096], const char *dir, const char *name)
{
    if (snprintf(out, 4096, "%s/%s", dir, name) >= 4096)
        bench_die("the path is too long");
}

static strata *open_state(const char *dir, const char *state)
{
    strata_options o = {.size = sizeof o, .state_dir = state, .agent = "bench"};
    strata_error e;
    strata *s;
    if (strata_open(dir, &o, &s, &e) != STRATA_OK)
        bench_die("%s", e.message);
    return s;
}

static strata *make_state(const char *dir, const char *name)
{
    char state[4096];
    path_of(state, dir, name);
    strata_init_options o = {.size = sizeof o, .state_dir = state};
    strata_init_result r;
    strata_error e;
    if (strata_init(dir, &o, &r, &e) != STRATA_OK)
        bench_die("%s", e.message);
    return open_state(dir, state);
}

static void set_one(strata *s, uint64_t key, uint64_t n)
{
    char entity[40], value[80];
    snprintf(entity, sizeof entity, "service-%07llu", (unsigned long long)key);
    snprintf(value, sizeof value, "revision %llu was deployed by the night shift",
             (unsigned long long)n);
    strata_op op = {.kind = STRATA_SET,
                    .entity = entity,
                    .attribute = "status",
                    .value = value,
                    .value_size = STRATA_NUL};
    check(s, strata_write(s, &op, 1, STRATA_NO_FLUSH, NULL, NULL));
}

/* The keys in an order that is neither that of the index nor quite without one. */
static uint64_t scattered(uint64_t n, uint64_t entities)
{
    return n * 2654435761u % entities;
}

static double indexed(strata *s, uint64_t *records)
{
    strata_status st;
    uint64_t start = bench_now_ns();
    check(s, strata_status_get(s, &st));
    *records = st.records;
    return (double)(bench_now_ns() - start) / 1e9;
}

static void fill(const char *dir, uint64_t records, uint64_t entities)
{
    strata *s = make_state(dir, ".strata");
    uint64_t start = bench_now_ns(), applied;
    for (uint64_t i = 0; i < records; i++)
        set_one(s, scattered(i, entities), i);
    check(s, strata_flush(s));
    printf("%.0f\n", (double)records * 1e9 / (double)(bench_now_ns() - start));
    indexed(s, &applied);
    strata_close(s);
}

static void drop_index(const char *state)
{
    static const char *const names[] = {"index.db", "index.db-wal", "index.db-shm"};
    for (size_t i = 0; i < 3; i++) {
        char path[4096];
        path_of(path, state, names[i]);
        unlink(path);
    }
}

static void index_again(const char *dir)
{
    char state[4096];
    path_of(state, dir, ".strata");
    drop_index(state);
    strata *s = open_state(dir, state);
    uint64_t records;
    double seconds = indexed(s, &records);
    strata_close(s);
    printf("%.0f\n", (double)records / seconds);
}

static void merge(const char *dir, uint64_t records, uint64_t keys)
{
    strata *a = make_state(dir, "a"), *b = make_state(dir, "b");
    strata_merge_result r;
    uint64_t applied;
    set_one(a, 0, 0);
    check(b, strata_merge_state(b, strata_state_dir(a), false, &r)); /* one workspace */
    for (uint64_t i = 0; i < records; i++) {
        set_one(a, scattered(i, keys), i);
        set_one(b, scattered(i, keys), i + records);
    }
    check(a, strata_flush(a));
    check(b, strata_flush(b));
    indexed(a, &applied);
    strata_close(b);
    char state[4096];
    path_of(state, dir, "a");
    strata_close(a);
    a = open_state(dir, state);
    uint64_t start = bench_now_ns();
    char other[4096];
    path_of(other, dir, "b");
    check(a, strata_merge_state(a, other, false, &r));
    indexed(a, &applied);
    double ms = (double)(bench_now_ns() - start) / 1e6;
    if (r.records < records)
        bench_die("only %llu records came", (unsigned long long)r.records);
    strata_close(a);
    printf("%.1f\n", ms);
}

int main(int argc, char **argv)
{
    const char *what = argc >= 3 ? argv[1] : "";
    if (strcmp(what, "fill") == 0 && argc == 5)
        fill(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    else if (strcmp(what, "index") == 0 && argc == 3)
        index_again(argv[2]);
    else if (strcmp(what, "merge") == 0 && argc == 5)
        merge(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    else {
        fputs("usage: bench-state fill DIR RECORDS ENTITIES | index DIR | merge DIR RECORDS KEYS\n",
              stderr);
        return 2;
    }
    return 0;
}
