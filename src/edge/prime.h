/* prime.h - what an agent has to know when it starts, in Markdown: `strata prime` and the tool. */
#ifndef ST_EDGE_PRIME_H
#define ST_EDGE_PRIME_H

#include <stdio.h>

#include "strata.h"

/* A code of strata.h. agent NULL: nobody in particular. */
int edge_prime(FILE *f, strata *s, const char *agent, uint64_t now_ms);

#endif
