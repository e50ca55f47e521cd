/*
 * fuzz_import_queue.c - any bytes as a list of tasks in Markdown. A line of a task, read and written
 * again, has to say the same.
 */
#include "fuzz_tasks.h"

#include "files/task_line.h"

static void line_comes_back(struct st_str line)
{
    struct st_task_line t, again;
    struct st_buf a, b, out;
    st_buf_init(&a, st_alloc_libc());
    st_buf_init(&b, st_alloc_libc());
    st_buf_init(&out, st_alloc_libc());
    if (st_task_line_parse(line, &a, &t)) {
        st_task_line_add(&out, &t);
        if (memchr(out.p, '\n', out.n) != NULL ||
            !st_task_line_parse(st_buf_str(&out), &b, &again) || again.box != t.box ||
            again.priority != t.priority)
            abort();
        const struct st_str *x = &t.title, *y = &again.title;
        for (; x <= &t.claimed; x++, y++)
            if (!st_str_equal(*x, *y))
                abort();
    }
    st_buf_release(&a);
    st_buf_release(&b);
    st_buf_release(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct task_items t;
    const char *p = (const char *)bytes;
    (void)fuzz_tasks(&t, task_queue_parse, bytes, n);
    task_items_release(&t);
    for (size_t at = 0; at < n;) {
        const char *end = memchr(p + at, '\n', n - at);
        size_t size = end != NULL ? (size_t)(end - p) - at : n - at;
        line_comes_back((struct st_str){p + at, size});
        at += size + 1;
    }
    return 0;
}
