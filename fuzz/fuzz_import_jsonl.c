/*
 * fuzz_import_jsonl.c - any bytes as input of `strata import --format jsonl`. What is accepted has
 * to be within the limits of strata.h; what is refused has to say why and where.
 */
#include "fuzz_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    fuzz_import(import_parse_jsonl, bytes, n);
    return 0;
}
