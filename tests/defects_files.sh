#!/bin/sh
# defects_files.sh - every deliberate defect of views and tracked documents must be caught. See defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/files/block.c src/files/kept.c src/files/lines.c src/files/re*.c src/files/view*.c \
    src/lib/files*.c src/lib/view*.c src/lib/documents.c src/lib/tracked.c src/lib/ignore.c src/lib/watch.c
library
ldflags=-Wl,--wrap=st_env_posix

caught_by() {
    case $1 in
    '') tests='test_lib_views test_lib_files test_lib_queue test_lib_view_merge' ;;
    MERGE_*) tests=test_lib_view_merge ;;
    QUEUE_*) tests=test_lib_queue ;;
    REMOVES_UNSEEN | DROPS_NEWEST_MARKS | EXCLUDE_* | ONE_NAME_* | WATCH_*) tests=test_lib_files ;;
    *) tests=test_lib_views ;;
    esac
    for test in $tests; do
        link $test "$1" tests/lib_world.c tests/file_tools.c tests/$test.c
        if fails $test 100; then
            failed_tests
            return
        fi
    done
}

try_all
