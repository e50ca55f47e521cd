/*
 * transfer.h - `strata import` and `strata export`.
 */
#ifndef STRATA_CLI_TRANSFER_H
#define STRATA_CLI_TRANSFER_H

#include "edge/import.h"

#include <stdio.h>

struct cli;

int cmd_import(struct cli *c);
int cmd_export(struct cli *c);

/* What an export wrote. */
struct export_counts {
    uint64_t lines;    /* facts, rows, objects, nodes and edges */
    uint64_t pending;  /* attributes of which only the shown value was written */
    uint64_t left_out; /* counters that the format has no place for */
    /* What cannot be taken in as facts: tasks and messages, tracked files. */
    uint64_t tasks_left_out, files_left_out;
    uint64_t reshaped; /* memory: attributes written as observations "attribute: value" */
};

/* Writes what the query finds to out, and the counters if it asks for all entities of now. The
 * caller flushes and closes, and looks at ferror(). A negative code when reading fails. */
int export_write(strata *s, enum import_format format, const strata_fact_query *query, FILE *out,
                 struct export_counts *counts);

#endif
