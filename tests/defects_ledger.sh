#!/bin/sh
# defects_ledger.sh - are the tests of the strong layer able to fail?
#
# Builds test_ledger, test_lease, explore_ledger and explore_claims with one deliberate defect each (ST_DEFECT_*,
# never defined in a normal build; START_NOT_DURABLE is one of the world around the machine) and runs
# them. A defect that none notices fails this script. One line per defect, with all that caught it.
#
# usage: tests/defects_ledger.sh [compiler]
set -eu

cd "$(dirname "$0")/.."
cc=${1:-${CC:-cc}}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM

flags="-std=gnu17 -O1 -w -D_GNU_SOURCE -Iinclude -Isrc -Itests"
ledger="src/core/ledger.c src/core/operation.c src/core/lease.c src/core/claim.c
        src/core/ledger_rows.c src/core/ledger_each.c"
rest="base clock memkv rows attribute state record record_encode record_unknown command glob
      task task_apply state_read"
defects="NAKED_RETRY FENCED_RETRY SETTLE_EARLY START_NOT_DURABLE REPORT_ANY_TOKEN PROPOSE_MISMATCH
         PRUNE_IN_DOUBT GENERATION_SAME LAPSE_STALE KEYED_FOREVER END_WITH_OPEN START_AGAIN
         FORCED_ABSENT AGAIN_KEEPS_TOKEN RELEASE_ANY_TOKEN CLAIM_STALE_TOKEN CLAIM_DONE_TWICE
         CLAIM_DONE_TAKEN CLAIM_OUTBOX_FORGOTTEN CLAIM_REOPEN_KEEPS_TOKEN"

# Every switch in the sources is tried here, and the other way round.
# shellcheck disable=SC2086 # lists of words
used=$(grep -ho 'ST_DEFECT_[A-Z_]*' $ledger tests/explore_ledger.c | sed 's/ST_DEFECT_//' | sort -u |
    tr '\n' ' ')
# shellcheck disable=SC2086
listed=$(printf '%s\n' $defects | sort | tr '\n' ' ')
if [ "$used" != "$listed" ]; then
    echo "defects in the sources: $used- but tried here: $listed" >&2
    exit 1
fi

objects=
for name in $rest; do
    # shellcheck disable=SC2086
    "$cc" $flags -c "src/core/$name.c" -o "$dir/$name.o"
    objects="$objects $dir/$name.o"
done

# build NAME FLAG LIBRARY
build() {
    # shellcheck disable=SC2086
    "$cc" $flags $2 $ledger "tests/$1.c" $objects "$3" -o "$dir/$1"
}

tests="test_ledger test_lease"
for name in $tests; do
    build "$name" "" -lcmocka
    if ! "$dir/$name" >"$dir/out" 2>&1; then
        echo "$name fails without any defect" >&2
        exit 1
    fi
done

missed=0
for defect in $defects; do
    by=
    for name in $tests; do
        build "$name" "-DST_DEFECT_$defect" -lcmocka
        if ! timeout 60 "$dir/$name" >"$dir/out" 2>&1; then
            failed=$(sed -n 's/^\[  FAILED  \] \(test_[a-z_]*\).*/\1/p' "$dir/out" | sort -u | wc -l)
            by="$by${by:+, }$name ($failed)"
        fi
    done
    case $defect in
    CLAIM_*) explorers=explore_claims ;; # the other one knows no claims
    *) explorers=explore_ledger ;;
    esac
    for name in $explorers; do
        build "$name" "-DST_DEFECT_$defect" -lxxhash
        if ! timeout 120 "$dir/$name" >"$dir/out" 2>&1; then
            by="$by${by:+, }$name ($(sed -n 's/^VIOLATION in //p' "$dir/out"))"
        fi
    done
    if [ -n "$by" ]; then
        echo "caught  $defect: $by"
    else
        echo "MISSED  $defect"
        missed=1
    fi
done
exit "$missed"
