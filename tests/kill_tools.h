/* kill_tools.h - for programs that kill processes at random: how they fail, and the random numbers.
 */
#ifndef KILL_TOOLS_H
#define KILL_TOOLS_H

#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static _Noreturn void fail(const char *what, const char *detail)
{
    fprintf(stderr, "FAILED: %s: %s\n", what, detail);
    _exit(1);
}

static uint64_t next_random(uint64_t *x)
{
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#endif
