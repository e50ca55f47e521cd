/*
 * command_internal.h - what the files of the command codec share:
 *   command.c        what a valid command is
 *   command_codec.c  command to JSON and back
 */
#ifndef ST_CORE_COMMAND_INTERNAL_H
#define ST_CORE_COMMAND_INTERNAL_H

#include "core/command.h"

/* In the order of the encoding. */
enum st_command_field {
    F_TIME,
    F_KEY,
    F_TOKEN,
    F_PARAMETERS,
    F_CLASS,
    F_VALID,
    F_APPROVAL,
    F_OUTCOME,
    F_LEASE,
    F_TAKEOVER,
    F_SHARED,
    F_QUIESCENT,
    F_CHECK,
    F_PERSON,
    F_EVIDENCE,
    F_LIMIT,
    F_SUCCESSOR,
    F_GENERATION,
    F_POSITION,
    F_FORCED,
    F_ALTERNATIVE,
    F_RUN,
    F_DEADLINE,
    F_RESULT,
    F_COUNT,
};

#define BIT(f) (1U << (f))

#define ST_COMMAND_KINDS (ST_CMD_CLAIM_COPIED + 1)

/* Which fields each kind has and which of them it must have; the time may always be there. name
 * NULL: there is no such kind. */
struct st_command_kind_fields {
    const char *name;
    uint32_t must, may;
};
extern const struct st_command_kind_fields st_command_kinds[ST_COMMAND_KINDS];

/* How the encoding writes it, with the comma before it. */
extern const char *const st_command_keys[F_COUNT];
#define ST_COMMAND_CLASSES  4
#define ST_COMMAND_LEASES   4
#define ST_COMMAND_OUTCOMES 3
extern const char *const st_command_classes[ST_COMMAND_CLASSES];
extern const char *const st_command_leases[ST_COMMAND_LEASES];
extern const char *const st_command_outcomes[ST_COMMAND_OUTCOMES];

/* The field behind its number; NULL when it is not of that type. */
uint64_t *st_command_number(struct st_command *c, enum st_command_field f);
bool *st_command_flag(struct st_command *c, enum st_command_field f);
struct st_str *st_command_string(struct st_command *c, enum st_command_field f);
/* Whether the field is other than its empty value; class, lease and outcome have none. */
bool st_command_is_set(const struct st_command *c, enum st_command_field f);
/* Written also when zero. */
bool st_command_is_always(enum st_command_field f);

#endif
