#!/bin/sh
# defects_lib.sh - every deliberate defect of the index, of intake and of the tasks must be caught by a test
# of the library; with small segments, several to a log. See defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/store/index*.c src/store/intake.c src/lib/task*.c
flags="$flags -DST_SEGMENT_SIZE=4096"
library_here
ldflags=-Wl,--wrap=st_env_posix

# The tests that are about the file with the defect come first: to be caught by one is enough.
tests_of() {
    case $(grep -lrw "ST_DEFECT_$1" src) in
    src/lib/task*) echo tasks task_ends ;;
    src/store/index_near.c) echo gap ;;
    src/store/index*) echo index gap ;;
    *) echo identity merge tasks task_ends ;;
    esac
}

caught_by() {
    if [ -n "$1" ]; then
        # shellcheck disable=SC2046 # a list of words
        set -- "$1" $(tests_of "$1")
    else
        set -- "" gap index identity tasks task_ends merge
    fi
    defect=$1
    shift
    for name in "$@"; do
        link "test_lib_$name" "$defect" tests/lib_world.c "tests/test_lib_$name.c"
        if fails "test_lib_$name" 100; then
            failed_tests
            return
        fi
    done
}

try_all
