/*
 * limits.h - every bound of the MCP server and its sessions, with its reason. Beyond a bound there
 * is a named error, and a test. How much of a list a tool takes or shows is said where the tool is.
 */
#ifndef ST_MCP_LIMITS_H
#define ST_MCP_LIMITS_H

/* One message from the client: a call that creates a few dozen entities with observations of full
 * size (64 KiB each). Bytes. */
#define MCP_MESSAGE_SIZE_MAX ((size_t)4 * 1024 * 1024)

/* Nesting of a message: the deepest call has 6 levels; a parser's stack is not the client's. */
#define MCP_DEPTH_MAX 64

/* One answer. A model reads a thousandth of it; the whole of a large graph has to fit, or clients
 * of the reference server could not move. Bytes. */
#define MCP_RESULT_SIZE_MAX ((size_t)32 * 1024 * 1024)

/* Answers that the client has not read yet. Beyond it no further request is read from the client.
 * Bytes; one answer of full size may come on top. */
#define MCP_OUTPUT_SIZE_MAX ((size_t)1024 * 1024)

/* A client that reads nothing for so long while answers wait for it is taken for dead.
 * Milliseconds: longer than a machine under load needs, shorter than a lease that nobody renews. */
#define MCP_STALL_MS 60000

/* Calls that wait (for a task, for an operation) at one time. Beyond it a call that would wait is
 * answered at once. */
#define MCP_WAITING_MAX 1024

/* Longest wait of one call. Clients give up after a minute or so. Milliseconds. */
#define MCP_WAIT_MS_MAX 55000

/* Between two looks for calls that wait and resources that are watched. Milliseconds: nobody
 * notices, and a core does not mind. */
#define MCP_POLL_MS 100

/* Between two looks at what has to be renewed. Milliseconds. */
#define MCP_TICK_MS 10000

/* A client that has been answered and asks nothing for so long is thinking: time for what its next call
 * would have to wait for. Milliseconds. */
#define MCP_IDLE_MS 10

/* Between two notes of progress for a call that waits. Milliseconds. */
#ifndef MCP_PROGRESS_MS
#define MCP_PROGRESS_MS 5000
#endif

/* URIs that one client watches. */
#define MCP_WATCHED_MAX 256

/* Agents that one client speaks for: each has an open workspace with its own reads. */
#define MCP_AGENTS_MAX 32

/* Claims, reservations and once-only operations of one client at one time: an agent has a handful,
 * and a linear search through them is cheap. */
#define MCP_HELD_MAX 128

/* What is held for an agent lapses so long after it was last renewed: a killed server keeps others
 * waiting no longer, and one that is stopped for a while loses nothing. Milliseconds. */
#define MCP_TERM_MS 600000
/* Between two renewals: four may fail before the term has passed. Milliseconds. */
#define MCP_RENEW_MS 120000
/* Between two signs of life of each agent: within the two minutes after which it counts as silent.
 * Milliseconds. */
#define MCP_BEAT_MS 30000

/* Entities that changed between two looks; with more of them everything counts as changed. */
#define MCP_NEWS_MAX 256

/* An URI of ours: a name of 255 bytes, each of which may be written as %XX. Bytes. */
#define MCP_URI_SIZE_MAX 1024

#endif
