#!/bin/sh
# defects_core.sh - are the tests of layer 1 and of the tasks able to fail? See defects.sh. (explore without
# a defect is a test of its own. Its histories show nothing of AT_COVERS and EARLY_SHOWN, which test_state
# has to catch; it would go through all of them.)
. "$(dirname "$0")/defects.sh"
layer1="src/core/attribute.c src/core/state.c src/core/state_read.c src/core/rows.c src/core/record*.c
    src/core/clock.c src/core/base.c src/core/memkv.c"
tasks="src/core/task.c src/core/task_apply.c"
# shellcheck disable=SC2086 # lists of words
defects_of $layer1 $tasks
library

caught_by() {
    link test_state "$1" tests/state_world.c tests/test_state.c
    if fails test_state 60; then
        failed_tests
    fi
    case $1 in
    '' | AT_COVERS | EARLY_SHOWN) return 0 ;;
    esac
    explore=explore
    # shellcheck disable=SC2086
    if grep -qw "ST_DEFECT_$1" $tasks; then
        explore=explore_tasks variant=tasks_
        flags="$flags -DEXPLORE_TASKS"
        set -- "$1" tests/explore_tasks.c
    fi
    link "$explore" "$@" tests/spec.c tests/explore_check.c tests/explore.c
    if fails "$explore" 300; then
        echo "$explore ($(sed -n 's/^MISMATCH in //p' "$dir/out"))"
    fi
}

try_all
