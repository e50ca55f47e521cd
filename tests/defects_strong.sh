#!/bin/sh
# defects_strong.sh - every deliberate defect of the strong layer must be caught on the two engines. See
# defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/strong/*.c
library
libs="$libs -lpthread"

caught_by() {
    link test_strong "$1" tests/test_strong.c tests/order_memory.c
    if fails test_strong 120; then
        failed_tests
    fi
}

try_all
