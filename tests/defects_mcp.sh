#!/bin/sh
# defects_mcp.sh - every deliberate defect of the MCP server must be caught by a test of
# tests/mcp/session.py. See defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/mcp/*.c
program

# Only the one is run that has to notice it. (Without a defect they are a test of their own.)
caught_by() {
    case $1 in
    '') return ;;
    MCP_DEEP | MCP_DUPLICATE_KEYS) test=what_is_no_message ;;
    MCP_WAITS_ON) test=a_waiting_next_ends_in_time ;;
    MCP_CANCEL_IGNORED) test=cancellation ;;
    MCP_ID_TWICE) test=an_id_that_waits_is_taken ;;
    MCP_NEWS_OF_ALL) test=a_change_of_a_resource_is_told ;;
    MCP_KEEPS_AT_THE_END) test=what_is_held_is_given_back_when_the_client_closes ;;
    MCP_EXECUTOR_CLOSED | MCP_REPORT_ONCE) test=a_report_that_is_refused_can_be_made_again ;;
    MCP_GO_IN_DOUBT) test=once ;;
    MCP_ONE_READER) test=a_write_over_something_unread_is_told ;;
    MCP_CLAIM_OUTLIVES) test=a_killed_server_holds_no_task ;;
    MCP_IMPORT_AGAIN) test=the_memory_file_is_taken_in_once ;;
    MCP_NEVER_IDLE) test=the_index_is_brought_up_to_date_while_its_client_thinks ;;
    MCP_ANSWERS_PILE_UP) test=what_a_client_does_not_read_is_bounded ;;
    MCP_ANSWERS_ALL) test=what_is_there_is_not_made_again ;;
    *) return ;;
    esac
    link strata "$1"
    STRATA=$dir/strata timeout 100 tests/mcp/session.py "Session.test_$test" >"$dir/out" 2>&1 || status=$?
    sed -n 's/^\(FAIL\|ERROR\): test_\([a-z_]*\).*/\2/p' "$dir/out" | sort -u
}

try_all
