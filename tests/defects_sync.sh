#!/bin/sh
# defects_sync.sh - every deliberate defect of the exchange through Git must be caught by a case of
# tests/sync.bats. See defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/sync/*.c
program

# Each case takes seconds, so only the one is run that has to notice it. (Without a defect they are a test of
# their own.)
caught_by() {
    case $1 in
    '') return ;;
    SYNC_FORCED) case='never by force: ' ;;
    SYNC_OWN_UNCOMPARED) case='a snapshot of the disk put back' ;;
    SYNC_SPEAKS_FOR_OTHERS | SYNC_UNVERIFIED) case='records changed on the way' ;;
    SYNC_UNDURABLE) case='what is not on disk' ;;
    *) case=. ;;
    esac
    link strata "$1"
    ldflags=-Wl,--wrap=st_env_posix
    link strata_mortal "$1" tests/die_at.c
    ldflags=
    STRATA=$dir/strata STRATA_MORTAL=$dir/strata_mortal timeout 300 \
        bats -f "$case" tests/sync.bats >"$dir/out" 2>&1 || status=$?
    sed -n 's/^not ok [0-9]* \([^:,;]*\).*/\1/p' "$dir/out"
}

try_all
