/*
 * etcd.c - puts per second of an etcd server through its own JSON gateway, one connection for each
 * process.
 *
 *   bench-etcd PORT PROCESSES MS
 */
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct work {
    int port, fd, number;
    unsigned long n;
};

static void prepare(void *arg, int number)
{
    struct work *w = arg;
    int on = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)w->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    w->number = number;
    w->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (w->fd < 0 || connect(w->fd, (struct sockaddr *)&to, sizeof to) < 0)
        bench_die("connect");
    setsockopt(w->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* Key and value in base64: 12 letters of it are 9 bytes; any text of a length divisible by 4 will
 * do. */
static void put(void *arg)
{
    struct work *w = arg;
    char body[512], request[1024], answer[4096];
    char value[201];
    memset(value, 'A', 200);
    value[200] = '\0';
    int size = snprintf(body, sizeof body, "{\"key\":\"%04d%08lu\",\"value\":\"%s\"}", w->number,
                        w->n++ % 100000000, value);
    int n = snprintf(request, sizeof request,
                     "POST /v3/kv/put HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                     "application/json\r\nContent-Length: %d\r\n\r\n%s",
                     size, body);
    if (write(w->fd, request, (size_t)n) != n)
        bench_die("write");
    size_t have = 0;
    for (;;) {
        ssize_t got = read(w->fd, answer + have, sizeof answer - 1 - have);
        if (got <= 0)
            bench_die("read");
        have += (size_t)got;
        answer[have] = '\0';
        const char *end = strstr(answer, "\r\n\r\n"), *length = strstr(answer, "Content-Length: ");
        if (end != NULL && length != NULL &&
            have >= (size_t)(end + 4 - answer) + strtoul(length + 16, NULL, 10))
            break;
    }
    if (strncmp(answer, "HTTP/1.1 200", 12) != 0)
        bench_die("%.60s", answer);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fputs("usage: bench-etcd PORT PROCESSES MS\n", stderr);
        return 2;
    }
    struct work w = {.port = atoi(argv[1])};
    printf("%.0f\n", bench_rate(atoi(argv[2]), (uint32_t)atoi(argv[3]), prepare, put, &w));
    return 0;
}
