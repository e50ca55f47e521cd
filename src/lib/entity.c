/* entity.c - what an entity's name stands for. */
#include "strata.h"

#include "core/record.h"

int strata_entity_kind(const char *entity)
{
    _Static_assert((int)ST_ENTITY_NUMBERED == STRATA_ENTITY_NUMBERED &&
                       (int)ST_ENTITY_DOCUMENT == STRATA_ENTITY_DOCUMENT,
                   "both lists agree");
    return (int)st_entity_kind(st_str_of(entity));
}
