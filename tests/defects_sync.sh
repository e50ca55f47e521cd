#!/bin/sh
# defects_sync.sh - every deliberate defect of the exchange through Git must be caught by a case of
# tests/sync.bats: by the one that is named here, as all of them for each defect would take minutes. See
# defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/sync/*.c src/lib/sync.c
program

# a part of the name of the case that has to say no
case_of() {
    case $1 in
    SYNC_FORCED) echo 'never by force: what came' ;;
    SYNC_MERGED_LATER) echo 'merges into tracked' ;;
    SYNC_UNDURABLE) echo 'not on disk is not published' ;;
    SYNC_OWN_UNCOMPARED) echo 'snapshot of the disk' ;;
    SYNC_HEAD_UNCOMPARED) echo 'put back in place that went on' ;;
    SYNC_SPEAKS_FOR_OTHERS | SYNC_UNVERIFIED) echo 'under our own name' ;;
    SYNC_NEVER_TOGETHER | SYNC_WHOLE_EACH_TIME) echo 'growth' ;;
    SYNC_LEDGER_UNASKED) echo 'ledger stays here' ;;
    SYNC_LEDGER_UNVERIFIED) echo 'ledger that was changed' ;;
    *) echo 'exchange their records' ;;
    esac
}

caught_by() {
    [ -n "$1" ] || return 0 # without a defect they are a test of their own
    link strata "$1"
    ldflags=-Wl,--wrap=st_env_posix
    link strata_mortal "$1" tests/die_at.c
    ldflags=
    STRATA=$dir/strata STRATA_MORTAL=$dir/strata_mortal timeout 300 \
        bats -f "$(case_of "$1")" tests/sync.bats >"$dir/out" 2>&1 || status=$?
    sed -n 's/^not ok [0-9]* \([^:,]*\).*/\1/p' "$dir/out"
}

try_all
