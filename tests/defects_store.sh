#!/bin/sh
# defects_store.sh - every deliberate defect of the log must be caught on the simulated disk, with small
# segments. See defects.sh. Environment: ARGS: arguments of the test.
. "$(dirname "$0")/defects.sh"
# shellcheck disable=SC2046 # a list of words
defects_of $(find src/store -name 'log*.c' ! -name log_present.c) # that is one of defects_lib.sh
flags="$flags -DST_SEGMENT_SIZE=4096 -DST_LINES_SIZE=1024 -DST_POSTS=3 -DST_POST_SIZE=256 -DST_CROWD=1"
flags="$flags -DST_ROOM_SIZE=2000 -DST_ROOM_AFTER=1"
library
# what has one of these sizes in it
segments=$(grep -lE 'ST_(SEGMENT_SIZE|POSTS|POST_SIZE|CROWD|ROOM_SIZE|ROOM_AFTER)' src/*/*.c)

caught_by() {
    # shellcheck disable=SC2086 # a list of words
    link test_log_sim "$1" $segments sim/*.c tests/log_model.c tests/log_cases.c tests/test_log_sim.c
    # shellcheck disable=SC2086 # a list of words
    if fails test_log_sim 60 ${ARGS:--q -n 1500}; then
        echo "$(grep -a '^scenario' "$dir/out" | tail -n 1 | cut -c11-70):" \
            "$(grep -a '^FAILED' "$dir/out" | tail -n 1 | cut -c9-100)"
    fi
}

try_all
