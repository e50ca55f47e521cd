/*
 * hello.c - the C API in one page: write, read, see what was replaced.
 *
 *   cc hello.c $(pkg-config --cflags --libs strata) -o hello
 *   strata init && ./hello && strata history api
 *
 * Every call returns STRATA_OK or a negative code; strata_last_error() then has a message and a
 * hint. What a call gives out by pointer is valid until the next call on the handle.
 */
#include <stdio.h>
#include <strata.h>

static int fail(const strata *s)
{
    const strata_error *e = strata_last_error(s);
    fprintf(stderr, "hello: %s\n%s\n", e->message, e->hint);
    return strata_code_exit(e->code);
}

/* Sets api port, and says what that replaced. */
static int set_port(strata *s, const char *port)
{
    strata_op op = {.kind = STRATA_SET,
                    .entity = "api",
                    .attribute = "port",
                    .value = port,
                    .value_size = STRATA_NUL};
    strata_written written;

    /* When this returns STRATA_OK, the write is on disk. STRATA_ANSWER asks what it replaced. */
    int code = strata_write(s, &op, 1, STRATA_ANSWER, NULL, &written);
    if (code != STRATA_OK)
        return code;
    if (written.replaced_count > 0)
        printf("port is %s; that replaced %s of %s\n", port, written.replaced.value,
               written.replaced.agent);
    else
        printf("port is %s\n", port);
    return STRATA_OK;
}

static int print_event(void *arg, const strata_event *e)
{
    (void)arg;
    printf("  %s by %s%s\n", e->value, e->agent, e->current ? " (current)" : "");
    return 0; /* go on */
}

int main(void)
{
    strata_options options = {.size = sizeof(options), .agent = "hello", .program = "hello"};
    strata_error error;
    strata *s;

    /* NULL: the workspace that the current directory belongs to. */
    if (strata_open(NULL, &options, &s, &error) != STRATA_OK) {
        fprintf(stderr, "hello: %s\n%s\n", error.message, error.hint);
        return strata_code_exit(error.code);
    }

    if (set_port(s, "8080") != STRATA_OK || set_port(s, "9090") != STRATA_OK)
        return fail(s);

    /* Written only if the port is still what we think it is. */
    strata_op op = {.kind = STRATA_SET,
                    .entity = "api",
                    .attribute = "port",
                    .value = "7070",
                    .value_size = STRATA_NUL};
    strata_expect expect = {.value = "8080", .value_size = STRATA_NUL};
    int code = strata_write(s, &op, 1, 0, &expect, NULL);
    if (code == STRATA_CONFLICT)
        printf("not 8080 any more, so nothing was written\n");
    else if (code != STRATA_OK)
        return fail(s);

    strata_attribute port;
    if (strata_fact_get(s, "api", "port", 0, &port) != STRATA_OK)
        return fail(s);
    printf("port is %s\nits history, newest first:\n", port.shown->value);
    if (strata_history(s, "api", "port", 0, print_event, NULL) != STRATA_OK)
        return fail(s);
    strata_close(s);
    return 0;
}
