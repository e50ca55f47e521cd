/*
 * ledger_world.h - a ledger in memory for the tests of layer 3, and short ways to write commands.
 */
#ifndef LEDGER_WORLD_H
#define LEDGER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/command.h"
#include "core/memkv.h"

/* Grants `left` allocations, then fails. */
struct budget {
    size_t left;
};

static inline void *budget_resize(void *ctx, void *p, size_t size)
{
    struct budget *budget = ctx;
    if (size == 0) {
        free(p);
        return NULL;
    }
    if (budget->left == 0)
        return NULL;
    budget->left--;
    return realloc(p, size);
}

static struct budget plenty = {SIZE_MAX};
static const struct st_alloc heap = {budget_resize, &plenty};

struct ledger {
    struct st_memkv m;
    struct st_ledger l;
};

static inline int ledger_open(void **state)
{
    struct ledger *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    st_memkv_init(&w->m, &heap);
    st_ledger_init(&w->l, &w->m.kv, &heap);
    *state = w;
    return 0;
}

static inline int ledger_close(void **state)
{
    struct ledger *w = *state;
    st_ledger_release(&w->l);
    st_memkv_release(&w->m);
    free(w);
    return 0;
}

static inline struct st_ledger_result give(struct ledger *w, struct st_command c)
{
    struct st_ledger_result result;
    assert_int_equal(st_ledger_apply(&w->l, &c, &result), ST_OK);
    return result;
}

#define CMD(k, ...)   ((struct st_command){.kind = (k), __VA_ARGS__})
#define DO(w, k, ...) give((w), CMD(k, __VA_ARGS__))

#define EXPECT(verdict_, ...) assert_int_equal(give(__VA_ARGS__).verdict, ST_VERDICT_##verdict_)

/* Also in initialisers of static objects, which ST_STR is not for gcc. */
#define LIT(text)                                                                                  \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
#define K(text)  .key = LIT(text)
#define PAT      .person = LIT("pat")
#define BECAUSE  .evidence = LIT("seen in the service's log")
#define QUIET    .quiescent = true
#define AGENT(a) .agent = LIT(a)

#endif
