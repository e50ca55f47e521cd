#!/bin/sh
# defects_lib.sh - every deliberate defect of the index, of intake and of the tasks must be caught by a test
# of the library; with small segments, several to a log. See defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/store/index*.c src/store/intake.c src/store/search*.c src/store/mend*.c src/lib/task*.c \
    src/lib/operations*.c src/store/log_present.c
flags="$flags -DST_SEGMENT_SIZE=4096"
library_here
environment=-Wl,--wrap=st_env_posix

# PROGRAM TEST: the one that has to notice the defect; of a new defect it may be any.
test_of() {
    case $1 in
    ANEW_IN_MEMORY) echo million 'test_verifying*' ;;
    ADD_UNFLUSHED) echo task_ends test_power_fails ;;
    CYCLE_UNSEEN) echo tasks test_cycles ;;
    EARLY_SHOWN) echo tasks test_nothing_before_its_cause ;;
    END_WITHOUT_TOKEN | NO_COPY) echo tasks test_a_claim_is_one_agents ;;
    INDEX_AHEAD) echo index 'test_index_ahead*' ;;
    NAME_BEFORE_FLUSH) echo merge test_named_only_when_on_disk ;;
    MEND_BASES_STAY) echo mend test_bases_are_forgotten ;;
    MEND_CACHES_STAY) echo mend test_edits_replace_what_they_replaced ;;
    MEND_NEEDS_UNSEEN) echo mend test_told_where_it_cannot_be_mended ;;
    MEND_UNPLANNED) echo mend test_killed_at_every_step ;;
    MEND_*) echo mend test_both_lives_go_on ;;
    NEAR_* | WHOLE_*) echo gap 'test_*' ;;
    PAST_FORGOTTEN) echo merge test_ring ;;
    NUMBER_NOT_RAISED) echo tasks test_a_copy_that_joined_has_numbers_of_its_own ;;
    RUN_KEPT_IN_DOUBT) echo operations test_a_run_file_serves_again ;;
    REPLACED_UNSEEN) echo identity test_replaced_under_a_handle ;;
    OWN_FORK_UNSEEN | TAKE_UNCLOSED) echo identity test_two_lives_are_told ;;
    SEARCH_GATHERS) echo index test_search_for_a_beginning_is_bounded ;;
    STALE_ROWS) echo gap test_a_gap_is_never_seen ;;
    ENDS_BEFORE_REPORTS) echo task_ends test_decided_while_settling ;;
    CLAIM_UNCHECKED) echo task_ends test_a_claim_looks_again ;;
    HAND_BLIND) echo task_ends test_going_on_sees_what_changed ;;
    END_REPLACES) echo task_ends test_cancelled_and_done_at_once ;;
    REPORT_DECIDED_TWICE) echo task_ends test_killed_while_deciding ;;
    REPORT_REPLACED) echo task_ends test_one_report_of_a_claim ;;
    *) printf '%s test_*\n' gap index identity tasks task_ends merge ;;
    esac
}

caught_by() {
    test_of "$1" | while read -r name TEST; do
        export TEST
        case $name in
        million) ldflags=$environment,--wrap=sqlite3_step ;;
        task_ends) ldflags=$environment,--wrap=st_claims_uncopied ;;
        *) ldflags=$environment ;;
        esac
        link "test_lib_$name" "$1" tests/lib_world.c "tests/test_lib_$name.c"
        if fails "test_lib_$name" 100; then
            failed_tests
            break
        fi
    done
}

try_all
