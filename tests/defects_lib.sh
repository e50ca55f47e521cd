#!/bin/sh
# defects_lib.sh - every deliberate defect of the index, of intake and of the tasks must be caught by a test
# of the library; with small segments, several to a log. See defects.sh. The first test that fails is named.
# Environment: TESTS: which of the tests.
. "$(dirname "$0")/defects.sh"
defects_of src/store/index*.c src/store/intake.c src/lib/task*.c
flags="$flags -DST_SEGMENT_SIZE=4096"
library_here
ldflags=-Wl,--wrap=st_env_posix

caught_by() {
    for name in ${TESTS:-gap index identity write tasks task_ends merge}; do
        link "test_lib_$name" "$1" tests/lib_world.c "tests/test_lib_$name.c"
        if fails "test_lib_$name" 100; then
            failed_tests
            return
        fi
    done
}

try_all
