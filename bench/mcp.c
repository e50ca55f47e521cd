/*
 * mcp.c - how fast MCP servers acknowledge writes, and how soon they answer.
 *
 *   bench-mcp CLIENTS CALLS TOOL PROGRAM [ARGUMENT...]
 *
 * Starts CLIENTS servers, and a process for each that makes CALLS calls of TOOL (create_entities or
 * fact_set), each with a name of its own, one after the other. Prints: acknowledged a second of all
 * together, until the last answer, refused, median ms of a call, median ms from a server's start to its first
 * answer. It ends when all servers have: those of the reference take longer for that than ours for everything.
 */
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLIENTS_MAX 64
#define CALLS_MAX   10000

struct shared {
    volatile int ready, go;
    int acknowledged[CLIENTS_MAX], refused[CLIENTS_MAX];
    uint64_t last_ns[CLIENTS_MAX]; /* when the last answer came */
    double first_ms[CLIENTS_MAX];
    double call_ms[CLIENTS_MAX][CALLS_MAX];
};

static FILE *to, *from;
static pid_t server;

static void start_server(char **argv)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        bench_die("pipe");
    server = fork();
    if (server == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(open("/dev/null", O_WRONLY), 2);
        execvp(argv[0], argv);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    to = fdopen(in[1], "w");
    from = fdopen(out[0], "r");
}

/* The answer's line, or NULL. Lent. */
static const char *answer(void)
{
    static char *line;
    static size_t cap;
    fflush(to);
    return getline(&line, &cap, from) > 0 ? line : NULL;
}

static void handshake(void)
{
    fputs(
        "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{\"protocolVersion\":"
        "\"2025-06-18\",\"capabilities\":{},\"clientInfo\":{\"name\":\"b\",\"version\":\"1\"}}}\n",
        to);
    if (answer() == NULL)
        bench_die("the server does not answer");
    fputs("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n", to);
}

static void call(const char *tool, int client, int i)
{
    fprintf(to,
            "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"tools/call\",\"params\":{\"name\":\"%s\","
            "\"arguments\":",
            i + 1, tool);
    if (strcmp(tool, "fact_set") == 0)
        fprintf(to, "{\"entity\":\"client-%d-entity-%d\",\"attribute\":\"a\",\"value\":\"v\"}}}\n",
                client, i);
    else
        fprintf(to,
                "{\"entities\":[{\"name\":\"client-%d-entity-%d\",\"entityType\":\"test\","
                "\"observations\":[\"observation %d\"]}]}}}\n",
                client, i, i);
}

static void client(struct shared *x, int number, int calls, const char *tool, char **argv)
{
    uint64_t begin = bench_now_ns();
    start_server(argv);
    handshake();
    x->first_ms[number] = (double)(bench_now_ns() - begin) / 1e6;
    __atomic_add_fetch(&x->ready, 1, __ATOMIC_SEQ_CST);
    while (!x->go)
        usleep(100);
    for (int i = 0; i < calls; i++) {
        begin = bench_now_ns();
        call(tool, number, i);
        const char *line = answer();
        bool good = line != NULL && strstr(line, "\"structuredContent\"") != NULL &&
                    strstr(line, "\"isError\":true") == NULL;
        x->acknowledged[number] += good;
        x->refused[number] += !good;
        x->last_ns[number] = bench_now_ns();
        x->call_ms[number][i] = (double)(x->last_ns[number] - begin) / 1e6;
    }
    fclose(to);
    waitpid(server, NULL, 0); /* nothing of it is left when something else is measured */
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fputs("usage: bench-mcp CLIENTS CALLS TOOL PROGRAM [ARGUMENT...]\n", stderr);
        return 2;
    }
    int clients = atoi(argv[1]), calls = atoi(argv[2]);
    if (clients < 1 || clients > CLIENTS_MAX || calls < 1 || calls > CALLS_MAX)
        bench_die("%s clients with %s calls are too many", argv[1], argv[2]);
    struct shared *x = bench_shared(sizeof *x);
    for (int i = 0; i < clients; i++)
        if (fork() == 0)
            client(x, i, calls, argv[3], argv + 4);
    while (x->ready < clients) {
        usleep(100);
        if (waitpid(-1, NULL, WNOHANG) > 0) {
            x->go = 1; /* the others must not wait for ever */
            bench_die("not all of the %d servers could be started", clients);
        }
    }
    uint64_t begin = bench_now_ns();
    x->go = 1;
    while (wait(NULL) > 0)
        ;
    uint64_t last = begin;
    int acknowledged = 0, refused = 0, count = 0;
    static double all[CLIENTS_MAX * CALLS_MAX];
    for (int i = 0; i < clients; i++) {
        last = x->last_ns[i] > last ? x->last_ns[i] : last;
        acknowledged += x->acknowledged[i];
        refused += x->refused[i];
        for (int k = 0; k < calls; k++)
            all[count++] = x->call_ms[i][k];
    }
    double seconds = (double)(last - begin) / 1e9;
    printf("%.0f %d %.3f %.2f\n", seconds > 0 ? acknowledged / seconds : 0, refused,
           bench_median(all, count), bench_median(x->first_ms, clients));
    return 0;
}
