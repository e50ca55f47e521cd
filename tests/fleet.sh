#!/bin/sh
# fleet.sh - the fleet as a test: 16 processes, kill -9, two copies; every acknowledged write is
# looked up, and the index has to equal one that is built from the logs alone.
#
#   FLEET=build/tests/fleet STRATA=build/strata tests/fleet.sh
#
# STRATA_FLEET_SECONDS: how long it writes (10; 60 on the machine that checks every change).
set -eu

: "${FLEET:?path of the fleet}" "${STRATA:?path of the program}"
seconds=${STRATA_FLEET_SECONDS:-10}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT INT TERM
unset STRATA_DIR STRATA_STATE_DIR STRATA_AGENT

fail() {
    echo "fleet.sh: $*" >&2
    exit 1
}

# Can it fail at all? A write that nobody made must not be found.
mkdir "$dir/invented"
if "$FLEET" --check 1 2 --dir "$dir/invented" --invent >"$dir/invented.out" 2>&1; then
    fail "a lost write was not noticed"
fi
grep -Eq "^  lost +1 " "$dir/invented.out" ||
    fail "the lost write is not in the report: $(cat "$dir/invented.out")"
grep -q 'were acknowledged' "$dir/invented.out" || fail "the lost step is not in the report"

mkdir "$dir/fleet"
"$FLEET" --check "$seconds" 16 --dir "$dir/fleet"

# The same once more through the program: its index against one that it makes from a copy.
digest() {
    "$STRATA" --state-dir "$1" status --quiet --json | jq -er .data.digest
}

for copy in here box; do
    state=$dir/fleet/$copy/.strata
    "$STRATA" --state-dir "$state" doctor >"$dir/doctor.out" ||
        fail "the doctor of $copy: $(cat "$dir/doctor.out")"
    cp -R "$state" "$dir/fresh-$copy"
    rm -f "$dir/fresh-$copy"/index.db*
    kept=$(digest "$state")
    fresh=$(digest "$dir/fresh-$copy")
    [ "$kept" = "$fresh" ] || fail "$copy: the digest is $kept, from the logs alone $fresh"
done
[ "$(digest "$dir/fleet/here/.strata")" = "$(digest "$dir/fleet/box/.strata")" ] ||
    fail "the two copies differ"
