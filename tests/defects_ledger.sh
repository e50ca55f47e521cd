#!/bin/sh
# defects_ledger.sh - are the tests of the strong layer's machine able to fail? See defects.sh.
# (START_NOT_DURABLE is one of the world around the machine. The explorers without a defect are tests of
# their own.)
. "$(dirname "$0")/defects.sh"
defects_of src/core/ledger*.c src/core/operation.c src/core/lease.c src/core/claim.c tests/explore_ledger.c
library

caught_by() {
    for name in test_ledger test_lease; do
        link "$name" "$1" "tests/$name.c"
        if fails "$name" 60; then
            failed_tests
        fi
    done
    case $1 in
    '') return ;;
    CLAIM_*) explore=explore_claims ;; # the other one knows no claims
    *) explore=explore_ledger ;;
    esac
    link "$explore" "$1" "tests/$explore.c"
    if fails "$explore" 120; then
        echo "$explore ($(sed -n 's/^VIOLATION in //p' "$dir/out"))"
    fi
}

try_all
