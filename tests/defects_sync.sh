#!/bin/sh
# defects_sync.sh - every deliberate defect of the exchange through Git must be caught by a case of
# tests/sync.bats. See defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/sync/*.c
program
cases='by force|not on disk|copied clone|restored from|changed on the way'

caught_by() {
    link strata "$1"
    ldflags=-Wl,--wrap=st_env_posix
    link strata_mortal "$1" tests/die_at.c
    ldflags=
    STRATA=$dir/strata STRATA_MORTAL=$dir/strata_mortal timeout 200 \
        bats -f "$cases" tests/sync.bats >"$dir/out" 2>&1 || status=$?
    sed -n 's/^not ok [0-9]* \([^:,]*\).*/\1/p' "$dir/out"
}

try_all
