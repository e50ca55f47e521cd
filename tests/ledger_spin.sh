#!/bin/sh
# ledger_spin.sh - the Promela models of the strong layer (ledger.pml: operations; claims.pml: claims):
# right variants hold on every state, each wrong one is caught. Needs spin; exit status 77 (skipped) without it.
#
# usage: tests/ledger_spin.sh [compiler]
set -eu

cd "$(dirname "$0")"
cc=${1:-${CC:-cc}}
if ! command -v spin >/dev/null 2>&1; then
    echo "skipped: spin is not installed (Debian: spin)"
    exit 77
fi
models=$PWD
model=ledger
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
cd "$dir"

# check NAME FLAGS OPTIMIZATION TABLE: sets `errors` and `states`; TABLE: bits of the table of states
check() {
    # shellcheck disable=SC2086 # a list of words
    spin $2 -a "$models/$model.pml" >spin.out 2>&1 || { cat spin.out >&2; exit 1; }
    "$cc" "$3" -w -DSAFETY -DNOREDUCE -DVECTORSZ=512 -o pan pan.c
    # -E: an agent that waits for ever is no error here.
    ./pan -E -m100000 "-w$4" >pan.out 2>&1 || true
    errors=$(sed -n 's/.*errors: \([0-9]*\).*/\1/p' pan.out)
    states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' pan.out)
    if [ -z "$errors" ] || grep -q 'max search depth too small\|out of memory' pan.out; then
        echo "$1: the search did not end" >&2
        tail -5 pan.out >&2
        exit 1
    fi
}

failed=0
right() {
    check "$1" "$2" -O1 20
    if [ "$errors" = 0 ]; then
        echo "holds   $1: $states states"
    else
        echo "FAILS   $1: $(sed -n 's/^pan:1: //p' pan.out)"
        failed=1
    fi
}
wrong() {
    check "$1" "-D$1 $2" -O0 14 # a counterexample is found at once
    if [ "$errors" != 0 ]; then
        echo "caught  $1: $(sed -n 's/^pan:1: \(.*\) (at.*/\1/p' pan.out)"
    else
        echo "MISSED  $1: $states states"
        failed=1
    fi
}

right naked "-DCLASS=0 -DTOKENS=4"
right keyed "-DCLASS=1 -DTOKENS=3"
right idempotent "-DCLASS=2 -DTOKENS=3"
right "naked, run again" "-DCLASS=0 -DTOKENS=3 -DAGAIN -DTOLD_ONCE"
right "naked, run again, approval, prune" "-DCLASS=0 -DTOKENS=3 -DAGAIN -DAPPROVAL -DPRUNE"

wrong NAKED_RETRY "-DCLASS=0 -DTOKENS=3 -DONLY_EFFECTS"
wrong FENCED_RETRY "-DCLASS=0 -DTOKENS=3 -DONLY_EFFECTS"
wrong SETTLE_EARLY "-DCLASS=0 -DTOKENS=3"
wrong START_NOT_DURABLE "-DCLASS=0 -DTOKENS=3 -DONLY_EFFECTS"
wrong REPORT_ANY_TOKEN "-DCLASS=0 -DTOKENS=3 -DAGAIN"
wrong END_WITH_OPEN "-DCLASS=2 -DTOKENS=3"
wrong KEYED_FOREVER "-DCLASS=1 -DTOKENS=3"
wrong REFUSE_ANY_TOKEN "-DCLASS=0 -DTOKENS=3"
wrong EXPIRE_STARTED "-DCLASS=0 -DTOKENS=3"
wrong TOKEN_KEPT "-DCLASS=0 -DTOKENS=3"
wrong START_ANY_TOKEN "-DCLASS=0 -DTOKENS=3"
wrong START_AGAIN "-DCLASS=0 -DTOKENS=3 -DTOLD_ONCE"
wrong PRUNE_IN_DOUBT "-DCLASS=0 -DTOKENS=3 -DPRUNE"
wrong UNAPPROVED "-DCLASS=0 -DTOKENS=3 -DAPPROVAL"

model=claims
right claims ""
for variant in CLAIM_STALE_TOKEN CLAIM_DONE_TWICE CLAIM_DONE_TAKEN CLAIM_OUTBOX_FORGOTTEN \
    CLAIM_REOPEN_KEEPS_TOKEN RELEASE_ANY_TOKEN LAPSE_STALE COPY_UNCONDITIONAL; do
    wrong "$variant" "-DTOKENS=2"
done
exit "$failed"
