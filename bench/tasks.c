/*
 * tasks.c - how fast tasks are added, taken and finished.
 *
 *   bench-tasks add PROCESSES MS DIR
 *           tasks added a second, on disk when the number is told
 *   bench-tasks next PROCESSES MS DIR [TASKS]
 *           tasks finished a second, each in one step with taking the next (done --next), of TASKS
 *           (100,000) that are added first; all of one priority, as the jobs of bullmq.mjs are
 *   bench-tasks fill TASKS DIR
 *           makes a workspace of TASKS tasks, most of which wait for two earlier ones; prints how
 *           long finishing one and counting them takes, ms
 *
 * DIR has to exist; the workspace is made in it.
 */
#include "bench.h"

#include "strata.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct work {
    const char *dir;
    strata *s;
    char agent[32];
    strata_task_taken task; /* id "": none yet */
    bool over;
    uint64_t run;
    int run_fd;
};

static void check(struct work *w, int code)
{
    if (code != STRATA_OK)
        bench_die("%s", strata_last_error(w->s)->message);
}

static void open_workspace(struct work *w, int number)
{
    strata_error e;
    snprintf(w->agent, sizeof w->agent, "agent-%d", number);
    strata_options o = {.size = sizeof o, .agent = w->agent, .wait_ms = 60000};
    if (strata_open(w->dir, &o, &w->s, &e) != STRATA_OK)
        bench_die("%s", e.message);
}

static void make_workspace(struct work *w)
{
    strata_init_result r;
    strata_error e;
    if (strata_init(w->dir, NULL, &r, &e) != STRATA_OK)
        bench_die("%s", e.message);
}

static void prepare_add(void *arg, int number)
{
    open_workspace(arg, number);
}

static void add_one(void *arg)
{
    struct work *w = arg;
    char id[STRATA_TASK_SIZE];
    strata_task_new t = {.size = sizeof t,
                         .title = "build the frontend with the new interface",
                         .priority = STRATA_PRIORITY_NONE};
    check(w, strata_task_add(w->s, &t, 0, id, NULL));
}

static void finish_and_take(void *arg)
{
    struct work *w = arg;
    strata_task_query q = {.size = sizeof q, .agent = w->agent};
    strata_task_end end = {
        .size = sizeof end, .id = w->task.id, .token = w->task.token, .state = "done"};
    bool first = w->task.token == 0;
    int code = strata_task_next(w->s, &q, 60000, 3600000, w->run, first ? NULL : &end, &w->task);
    if (code == STRATA_TIMEOUT)
        bench_die("give more tasks if none are left: %s", strata_last_error(w->s)->message);
    check(w, code);
}

static void prepare_next(void *arg, int number)
{
    struct work *w = arg;
    open_workspace(w, number);
    check(w, strata_run_begin(w->s, &w->run, &w->run_fd));
    finish_and_take(w); /* its first one: workers are at work when the clock starts */
}

/* In records of many: this is not what is measured. */
static void fill(struct work *w, uint64_t count, bool linked)
{
    strata_task_item *items = calloc(count, sizeof *items);
    char(*keys)[24] = calloc(count, sizeof *keys);
    struct strata_task_link(*links)[2] = calloc(count, sizeof *links);
    strata_task_imported r;
    if (items == NULL || keys == NULL || links == NULL)
        bench_die("out of memory");
    for (uint64_t i = 0; i < count; i++) {
        snprintf(keys[i], sizeof keys[i], "k%llu", (unsigned long long)i);
        items[i] = (strata_task_item){.key = keys[i],
                                      .title = "build the frontend",
                                      .priority = linked ? (int)(i % 5) : STRATA_PRIORITY_NONE};
        if (!linked || i < 1000)
            continue;
        /* Anywhere among the earlier ones: none has very many that wait for it. */
        links[i][0] = (struct strata_task_link){"depends", keys[(i * 2654435761u >> 8) % i]};
        links[i][1] = (struct strata_task_link){"depends", keys[(i * 2246822519u >> 8) % i]};
        items[i].links = links[i];
        items[i].link_count = 2;
    }
    check(w, strata_task_import(w->s, items, count, false, &r));
    free(items);
    free(keys);
    free(links);
}

/* In a process of its own: those that are measured would share its memory, and copy each page of it that they
 * write to. */
static void prepare_tasks(struct work *w, uint64_t count)
{
    pid_t child = fork();
    if (child == 0) {
        strata_task_totals t;
        open_workspace(w, 0);
        fill(w, count, false);
        check(w, strata_task_totals_get(w->s, &t));
        strata_close(w->s);
        _exit(0);
    }
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0 || status != 0)
        bench_die("the tasks could not be added");
}

int main(int argc, char **argv)
{
    static struct work w;
    if (argc == 4 && strcmp(argv[1], "fill") == 0) {
        w.dir = argv[3];
        make_workspace(&w);
        open_workspace(&w, 0);
        fill(&w, strtoull(argv[2], NULL, 10), true);
        strata_task_totals t;
        check(&w, strata_task_totals_get(w.s, &t));
        uint64_t start = bench_now_ns();
        strata_task_end end = {.size = sizeof end, .id = "1", .state = "done"};
        check(&w, strata_task_finish(w.s, &end, NULL));
        check(&w, strata_task_totals_get(w.s, &t));
        printf("%.2f\n", (double)(bench_now_ns() - start) / 1e6);
        strata_close(w.s);
        return 0;
    }
    if (argc < 5)
        bench_die("bench-tasks add|next PROCESSES MS DIR [TASKS], or fill TASKS DIR");
    int processes = atoi(argv[2]);
    w.dir = argv[4];
    make_workspace(&w);
    if (strcmp(argv[1], "add") == 0) {
        printf("%.0f\n", bench_rate(processes, (uint32_t)atoi(argv[3]), prepare_add, add_one, &w));
        return 0;
    }
    prepare_tasks(&w, argc > 5 ? strtoull(argv[5], NULL, 10) : 100000);
    printf("%.0f\n",
           bench_rate(processes, (uint32_t)atoi(argv[3]), prepare_next, finish_and_take, &w));
    return 0;
}
