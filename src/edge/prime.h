/* prime.h - what an agent has to know when it starts, in Markdown: `strata prime` and the tool. */
#ifndef ST_EDGE_PRIME_H
#define ST_EDGE_PRIME_H

#include <stdio.h>

#include "strata.h"

/* In which words the rules are: who has tools does not know the commands, and the other way round. */
enum edge_door { EDGE_TOOLS, EDGE_COMMANDS };

/* A code of strata.h. agent NULL: nobody in particular. */
int edge_prime(FILE *f, strata *s, const char *agent, uint64_t now_ms, enum edge_door door);

#endif
