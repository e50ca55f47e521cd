#!/bin/sh
# defects_ledger.sh - are the explorations of the strong layer's machine able to fail? See defects.sh. A
# defect of operations must be refuted by explore_ledger, and with the verdict that is named here; one of
# claims and leases by explore_claims. COPIES_BEHIND needs a forced move, which explore_claims leaves out.
# (START_NOT_DURABLE is one of the world around the machine. The tests without a defect are tests of their
# own.)
. "$(dirname "$0")/defects.sh"
defects_of src/core/ledger*.c src/core/operation.c src/core/lease.c src/core/claim.c tests/explore_ledger.c
library
at_once=2

# The invariant that is broken in the end, and in which scope; another one may be seen to break earlier.
leads_to() {
    case $1 in
    NAKED_RETRY | FENCED_RETRY | START_NOT_DURABLE) echo -1 naked ;;
    KEYED_FOREVER) echo -1 keyed ;;
    REPORT_ANY_TOKEN | AGAIN_KEEPS_TOKEN) echo -2 naked-forced ;;
    SETTLE_EARLY | EXPIRE_STARTED | REFUSE_ANY_TOKEN) echo -3 naked ;;
    END_WITH_OPEN) echo -3 idempotent ;;
    FORCED_ABSENT) echo -3 naked-forced ;;
    LAPSE_STALE | START_ANY_TOKEN) echo -4 naked ;;
    TOKEN_KEPT) echo -5 naked ;;
    GENERATION_SAME) echo -5 naked-forced ;;
    REPORT_AGAIN | PROPOSE_MISMATCH) echo -6 naked ;;
    SETTLE_BY_ANYBODY | PROOF_FORGOTTEN) echo -7 naked ;;
    APPROVE_BY_ANYBODY) echo -7 naked-again ;;
    UNAPPROVED) echo naked-again ;;
    START_AGAIN | PRUNE_IN_DOUBT) echo naked ;;
    esac
}

explored() {
    explorer=$1 defect=$2
    shift 2
    link "$explorer" "$defect" "tests/$explorer.c"
    if fails "$explorer" 300 "$@"; then
        echo "$explorer ($(sed -n 's/^VIOLATION in //p' "$dir/out"))"
    fi
}

caught_by() {
    case $1 in
    '') ;;
    COPIES_BEHIND)
        link test_lease "$1" tests/test_lease.c
        if fails test_lease 60; then
            failed_tests
        fi
        ;;
    CLAIM_* | RELEASE_ANY_TOKEN) explored explore_claims "$1" one-task ;;
    *)
        # shellcheck disable=SC2046 # a list of words
        explored explore_ledger "$1" $(leads_to "$1")
        ;;
    esac
}

try_all
