/* file_tools.c - see file_tools.h. */
#include "file_tools.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

void file_put(const char *path, const char *text, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, n), n);
    close(fd);
}

void file_put_text(const char *path, const char *text)
{
    file_put(path, text, strlen(text));
}

char *file_get(const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("no file %s", path);
    assert_int_equal(fstat(fd, &st), 0);
    char *text = calloc(1, (size_t)st.st_size + 1);
    assert_non_null(text);
    assert_int_equal(read(fd, text, (size_t)st.st_size), st.st_size);
    close(fd);
    return text;
}

bool file_has(const char *path, const char *text)
{
    char *whole = file_get(path);
    bool found = strstr(whole, text) != NULL;
    free(whole);
    return found;
}

void file_must_have(const char *path, const char *text)
{
    if (!file_has(path, text)) {
        char *whole = file_get(path);
        fail_msg("`%s' is not in:\n%s", text, whole);
    }
}

void file_edit(const char *path, const char *from, const char *to)
{
    char *whole = file_get(path), *at = strstr(whole, from);
    if (at == NULL) {
        fail_msg("`%s' is not in:\n%s", from, whole);
        abort(); /* which no checker of the source knows of fail_msg() */
    }
    size_t head = (size_t)(at - whole), tail = strlen(at + strlen(from));
    char *out = calloc(1, head + strlen(to) + tail + 1);
    assert_non_null(out);
    memcpy(out, whole, head);
    strcpy(out + head, to);
    strcat(out + head, at + strlen(from));
    file_put_text(path, out);
    free(out);
    free(whole);
}

void file_cut_line(const char *path, const char *text)
{
    char *whole = file_get(path), *at = strstr(whole, text);
    assert_non_null(at);
    while (at > whole && at[-1] != '\n')
        at--;
    char *end = strchr(at, '\n');
    assert_non_null(end);
    memmove(at, end + 1, strlen(end + 1) + 1);
    file_put_text(path, whole);
    free(whole);
}

void files_add_view(strata *s, const char *name, const char *path, bool committed)
{
    strata_view_options o = {.size = sizeof o, .name = name, .path = path, .committed = committed};
    strata_view v;
    ok(s, strata_view_add(s, &o, &v));
    assert_string_equal(v.path, path);
}

size_t files_update(strata *s, unsigned flags)
{
    strata_files_result r;
    ok(s, strata_files_update(s, flags, &r));
    return r.taken_in;
}

void files_update_by(const char *name)
{
    strata *s = world_open(name, NULL);
    files_update(s, 0);
    strata_close(s);
}

size_t files_count(const char *dir, const char *part)
{
    DIR *d = opendir(dir);
    size_t n = 0;
    struct dirent *e;
    while (d != NULL && (e = readdir(d)) != NULL)
        n += strstr(e->d_name, part) != NULL;
    if (d != NULL)
        closedir(d);
    return n;
}

static int count_event(void *arg, const strata_event *e)
{
    (void)e;
    (*(size_t *)arg)++;
    return 0;
}

size_t files_writes_of(strata *s, const char *entity, const char *attribute)
{
    size_t n = 0;
    ok(s, strata_history(s, entity, attribute, 0, count_event, &n));
    return n;
}

void files_are_clean(void)
{
    assert_int_equal(files_count(world_path("a"), "strata-new"), 0);
    assert_int_equal(files_count(world_path("a"), "strata-old"), 0);
    assert_int_equal(access(world_file("a", "views/writing"), F_OK), -1);
}
