#!/bin/sh
# defects_files.sh - every deliberate defect of views and tracked documents must be caught. See defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/files/block.c src/files/kept.c src/files/lines.c src/files/re*.c src/files/view*.c src/files/queue*.c \
    src/lib/files*.c src/lib/view*.c src/lib/document*.c src/lib/tracked.c src/lib/ignore.c src/lib/watch.c
library
ldflags=-Wl,--wrap=st_env_posix

# PROGRAM TEST: the one that has to notice the defect; of a new defect it may be any. (Without a defect they
# are tests of their own.)
test_of() {
    case $1 in
    '') ;;
    DISPLACED_UNSEEN | LAST_WRITER_WINS | PLAIN_RENAME) echo views test_document_written_in_between ;;
    DROPS_NEWEST_MARKS) echo files test_marks_that_are_full ;;
    EXCLUDE_UNLOCKED) echo files test_many_trees_one_exclude_file ;;
    GIT_EDITS) echo documents test_git_takes_an_older_text ;;
    GIT_HOLDS) echo documents test_git_takes_what_was_edited ;;
    MOVED_NEVER) echo views test_what_the_log_says_is_rendered ;;
    MERGE_IGNORES_STATE) echo view_merge test_board_with_both_logs ;;
    MERGE_KEEPS_DELETED) echo view_merge test_facts_without_logs ;;
    MERGE_TRUSTS_STATE) echo view_merge test_board_without_logs ;;
    MERGED_FORGOTTEN) echo documents test_an_overlap_that_stays_open ;;
    ONE_ANCESTOR) echo documents test_merged_crosswise ;;
    ONE_NAME_BESIDE) echo files test_same_rendering_in_two_trees ;;
    QUEUE_ANEW) echo queue test_written_anew ;;
    QUEUE_KNOWS_ALL) echo view_merge test_queue_without_logs ;;
    QUEUE_KNOWS_NOTHING) echo view_merge test_queue_with_both_logs ;;
    QUEUE_NO_LEDGER) echo queue test_of_another_is_not_ended ;;
    QUEUE_TWICE) echo queue test_an_old_text_is_saved_again ;;
    RECOVER_FORGETS) echo views test_killed_at_every_step_interrupted ;;
    REMOVES_UNSEEN) echo files test_killed_while_a_view_goes ;;
    VIEW_IGNORES_BASE) echo views test_board_edit_behind_a_newer_status ;;
    VIEW_TAKES_TWICE) echo views test_edit_taken_in_before ;;
    WRITERS_UNSEEN) echo files test_a_file_that_is_being_written ;;
    WATCH_DIRECTORIES) echo files test_watch_directories_that_change ;;
    WATCH_OVERFLOW) echo files test_watch_overflow ;;
    *) printf '%s test_*\n' views files documents queue view_merge ;;
    esac
}

caught_by() {
    test_of "$1" | while read -r name TEST; do
        export TEST
        link "test_lib_$name" "$1" tests/lib_world.c tests/file_tools.c "tests/test_lib_$name.c"
        if fails "test_lib_$name" 100; then
            failed_tests
            break
        fi
    done
}

try_all
