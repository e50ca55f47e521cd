/*
 * limits.h - every bound of the records and of what they may carry, with its reason.
 * Beyond a bound there is a named error, and a test.
 */
#ifndef ST_CORE_LIMITS_H
#define ST_CORE_LIMITS_H

/* Entity, attribute, counter names: what fits a line of a terminal or a table cell several
 * times over; also keeps index keys short. Bytes. */
#define ST_NAME_SIZE_MAX 255

/* Agent names become file names (slot, read marks) beside a suffix. Bytes. */
#define ST_AGENT_SIZE_MAX 64

/* What follows the @ of a number made on another replica than the first: the replica's name, a
 * dash, and 6 hex digits. Bytes. */
#define ST_SUFFIX_SIZE_MAX (ST_AGENT_SIZE_MAX + 7)

/* Numbers of tasks and messages: what every JSON reader has exactly. */
#define ST_NUMBER_MAX ((UINT64_C(1) << 53) - 1)

/* Agent's current status: one line that a person reads in a list. Bytes. */
#define ST_STATUS_SIZE_MAX 1024

/* One value: a long paragraph or a small file; larger texts are documents. Bytes. */
#define ST_VALUE_SIZE_MAX 65536

/* A tracked text file: goes into one record, in parts of one value each, and a line of
 * ST_LINE_SIZE_MAX has to hold it even when every byte of it is escaped as two. Bytes. */
#define ST_DOCUMENT_SIZE_MAX (240 * 1024)
/* Attributes that a document of that size is cut into. */
#define ST_DOCUMENT_PARTS_MAX 4

/* Operations of one record: a command touches a handful; a bulk import is cut into records
 * of at most this many, so that a reader can hold one in memory. */
#define ST_RECORD_OPS_MAX 1024

/* One record line with its newline. Holds one value of the maximum size even when every
 * byte of it is escaped as \u00XX (6 bytes each), with room for the rest. Bytes. */
#define ST_LINE_SIZE_MAX (512 * 1024)

/* Entries of one version vector: writers (replica epochs) one workspace can have seen.
 * A reboot makes one: 4096 are eleven years of daily reboots of one machine. */
#define ST_WRITERS_MAX 4096

/* Concurrent values that one register may hold: one per replica that wrote without having
 * seen the others. Beyond this a workspace is broken, and the record is refused. */
#define ST_SIBLINGS_MAX 4096

/* Records that one operation can say it replaces: what a register may hold. */
#define ST_AT_MAX ST_SIBLINGS_MAX

/* Nesting of the JSON inside an operation that this version does not know. */
#define ST_JSON_DEPTH_MAX 32

/* Wall clock ahead of the local one by more than this is named as suspect, and does not
 * advance the local clock. Milliseconds: 5 minutes, far above any NTP error. */
#define ST_CLOCK_AHEAD_MS_MAX (5 * 60 * 1000)

/* An agent is alive while its last sign of life is not older than the first, silent up to the
 * second, gone beyond: thinking for minutes is not death. Milliseconds. */
#define ST_ALIVE_MS  (2u * 60 * 1000)
#define ST_SILENT_MS (60u * 60 * 1000)

#endif
