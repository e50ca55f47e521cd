/*
 * fuzz_import.h - the oracle that the three fuzzers of the importers share.
 */
#ifndef STRATA_FUZZ_IMPORT_H
#define STRATA_FUZZ_IMPORT_H

#include "edge/import.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static inline void fuzz_name(const char *name)
{
    size_t n = name != NULL ? strlen(name) : 0;
    if (n == 0 || n > IMPORT_NAME_SIZE_MAX || name[0] == ' ' || name[n - 1] == ' ')
        abort();
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            abort();
    }
}

static inline void fuzz_op(const strata_op *op)
{
    fuzz_name(op->entity);
    if (op->kind == STRATA_COUNT)
        return;
    if (op->kind != STRATA_SET && op->kind != STRATA_ADD)
        abort();
    fuzz_name(op->attribute);
    if (op->link)
        fuzz_name(op->value);
    if (op->value_size > IMPORT_VALUE_SIZE_MAX || strlen(op->value) != op->value_size)
        abort();
}

/* The plan has to account for every operation, and in an empty workspace nothing is replaced. */
static inline void fuzz_plan(struct import *im)
{
    struct import_plan p;
    if (import_plan_init(&p, im) != STRATA_OK)
        return;
    if (import_plan_finish(&p) == STRATA_OK &&
        (p.write_count + p.there_count + p.repeated_count != im->count || p.replace_count != 0))
        abort();
    import_plan_release(&p);
}

static inline void fuzz_import(int (*parse)(struct import *im, const char *bytes, size_t n),
                               const uint8_t *bytes, size_t n)
{
    struct import im;
    import_init(&im);
    size_t lines = 1;
    for (size_t i = 0; i < n; i++)
        lines += bytes[i] == '\n';
    int rc = parse(&im, (const char *)bytes, n);
    if (rc == STRATA_OK) {
        for (size_t i = 0; i < im.count; i++) {
            fuzz_op(&im.ops[i]);
            if (im.lines[i] == 0 || im.lines[i] > lines)
                abort();
        }
        fuzz_plan(&im);
    } else if (im.error[0] == '\0' || im.error_line == 0 || im.error_line > lines) {
        abort();
    }
    import_release(&im);
}

#endif
