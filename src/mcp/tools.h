/* tools.h - the tools of `strata mcp`, by what they are about. */
#ifndef ST_MCP_TOOLS_H
#define ST_MCP_TOOLS_H

#include "mcp/session.h"

/* tools_fact.c */
extern const struct mcp_field fact_set_input[], fact_search_input[], fact_search_output[];
enum mcp_progress tool_fact_set(struct mcp_call *call);
enum mcp_progress tool_fact_search(struct mcp_call *call);
/* Every attribute of an entity, for resources. */
int tool_put_entity(FILE *f, strata *s, const char *entity);

/* tools_task.c */
extern const struct mcp_field prime_input[], add_input[], next_input[], update_input[];
extern const struct mcp_field answer_output[], id_output[], next_output[];
enum mcp_progress tool_prime(struct mcp_call *call);
enum mcp_progress tool_add(struct mcp_call *call);
enum mcp_progress tool_next(struct mcp_call *call);
enum mcp_progress tool_update(struct mcp_call *call);
/* One task, whole. */
void tool_put_task(FILE *f, const strata_task *t);

/* tools_other.c: messages, once-only operations, reservations */
extern const struct mcp_field message_input[], once_begin_input[], once_begin_output[];
extern const struct mcp_field once_report_input[], reserve_input[];
enum mcp_progress tool_message(struct mcp_call *call);
enum mcp_progress tool_once_begin(struct mcp_call *call);
enum mcp_progress tool_once_report(struct mcp_call *call);
enum mcp_progress tool_reserve(struct mcp_call *call);

#endif
