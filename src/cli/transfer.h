/*
 * transfer.h - `strata import` and `strata export`.
 */
#ifndef STRATA_CLI_TRANSFER_H
#define STRATA_CLI_TRANSFER_H

#include "cli/import.h"

#include <stdio.h>

struct cli;

/* A record of an import: small enough that a reader holds it in memory at ease, and that a
 * writer of something else waits only briefly. Operations; bytes as escaped JSON. */
#define IMPORT_RECORD_OPS_MAX  500
#define IMPORT_RECORD_SIZE_MAX ((size_t)200 * 1024)

int cmd_import(struct cli *c);
int cmd_export(struct cli *c);

/* What an export wrote. */
struct export_counts {
    uint64_t lines;    /* facts, rows, objects, nodes and edges */
    uint64_t pending;  /* attributes of which only the shown value was written */
    uint64_t left_out; /* counters that the format has no place for */
    uint64_t reshaped; /* memory: attributes written as observations "attribute: value" */
};

/* Writes what the query finds to out, and the counters if it asks for all entities of now. The
 * caller flushes and closes, and looks at ferror(). A negative code when reading fails. */
int export_write(strata *s, enum import_format format, const strata_fact_query *query, FILE *out,
                 struct export_counts *counts);

#endif
