/*
 * replay.c - runs a fuzz target over files, without a fuzzer: the corpus is replayed with every
 * test run.
 *
 *   replay-TARGET FILE...
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return 1;
    }
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1);
    int failed = data == NULL || size < 0 || fread(data, 1, (size_t)size, f) != (size_t)size;
    fclose(f);
    if (failed)
        fprintf(stderr, "%s: cannot be read\n", path);
    else
        LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    return failed;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;
    for (int i = 1; i < argc; i++)
        failed = replay(argv[i]) || failed;
    printf("%d files replayed\n", argc - 1);
    return failed;
}
