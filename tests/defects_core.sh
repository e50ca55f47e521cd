#!/bin/sh
# defects_core.sh - are the tests of layer 1 able to fail?
#
# Builds test_state, explore and explore_tasks with one deliberate defect of src/core each (ST_DEFECT_*, never
# defined in a normal build) and runs them until one says no. A defect that none notices
# fails this script. One line per defect; the first test that caught it is named.
#
# usage: tests/defects_core.sh [compiler]
set -eu

cd "$(dirname "$0")/.."
cc=${1:-${CC:-cc}}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM

core="src/core/base.c src/core/clock.c src/core/memkv.c src/core/rows.c src/core/attribute.c
      src/core/state.c src/core/state_read.c src/core/task.c src/core/task_apply.c src/core/record.c
      src/core/record_unknown.c"
flags="-std=gnu17 -O1 -w -D_GNU_SOURCE -fno-strict-aliasing -Iinclude -Isrc -Itests"
defects="REMOVE_NO_DOT COMPARE_CLOCKS COUNT_TWICE FORGET_SEEN ROW_ORDER IGNORE_AT"
task_defects="FINISHED_NOT_ABSORBING NOT_COUNTED_BACK SETTLED_COUNTS"
defects="$defects $task_defects"

# build NAME DEFECT: the test programs; DEFECT may be empty.
build() {
    define=${2:+-DST_DEFECT_$2}
    # shellcheck disable=SC2086 # lists of words
    "$cc" $flags $define $core tests/state_world.c tests/test_state.c -lcmocka \
        -o "$dir/test_state.$1"
    # shellcheck disable=SC2086
    "$cc" $flags $define $core tests/spec.c tests/explore_check.c tests/explore.c -lxxhash \
        -o "$dir/explore.$1"
    # shellcheck disable=SC2086
    "$cc" $flags $define -DEXPLORE_TASKS $core tests/spec.c tests/explore_check.c \
        tests/explore_tasks.c tests/explore.c -lxxhash -o "$dir/explore_tasks.$1"
}

# Every switch in the sources is tried here, and the other way round.
# shellcheck disable=SC2086
used=$(grep -ho 'ST_DEFECT_[A-Z_]*' $core | sed 's/ST_DEFECT_//' | sort -u | tr '\n' ' ')
# shellcheck disable=SC2086
listed=$(printf '%s\n' $defects | sort | tr '\n' ' ')
if [ "$used" != "$listed" ]; then
    echo "defects in the sources: $used- but tried here: $listed" >&2
    exit 1
fi

# Without a defect the quick test must pass, or nothing below means anything. (explore without
# a defect is a test of its own.)
build none ""
if ! "$dir/test_state.none" >"$dir/out" 2>&1; then
    echo "test_state fails without any defect" >&2
    exit 1
fi

# fails PROGRAM SECONDS: a program that does not end has noticed nothing
fails() {
    status=0
    timeout "$2" "$dir/$1" >"$dir/out" 2>&1 || status=$?
    [ "$status" -ne 0 ] && [ "$status" -ne 124 ]
}

missed=0
for defect in $defects; do
    build "$defect" "$defect"
    by=
    if fails "test_state.$defect" 60; then
        failed=$(sed -n 's/^\[  FAILED  \] \(test_[a-z_]*\).*/\1/p' "$dir/out" | sort -u | wc -l)
        by="test_state ($failed tests)"
    fi
    case " $task_defects " in
    *" $defect "*) explore=explore_tasks ;;
    *) explore=explore ;;
    esac
    if fails "$explore.$defect" 300; then
        by="$by${by:+, }$explore ($(sed -n "s/^MISMATCH in //p" "$dir/out"))"
    fi
    if [ -n "$by" ]; then
        echo "caught  $defect: $by"
    else
        echo "MISSED  $defect"
        missed=1
    fi
done
exit "$missed"
