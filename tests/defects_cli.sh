#!/bin/sh
# defects_cli.sh - every deliberate defect of the wrappers (`lock --`, `work --`), and of the clock that terms
# are on, must be caught by the case of tests/once.bats that is named here. See defects.sh.
. "$(dirname "$0")/defects.sh"
defects_of src/cli/*.c src/store/env_posix.c
program
at_once=6

# a part of the name of the case that has to say no; of a new defect it may be any
case_of() {
    case $1 in
    GUARD_NONE) echo 'a holder that was stopped' ;;
    GUARD_ASKS_ONLY) echo 'does not listen' ;;
    GUARD_FORGETS_WRAPPER) echo 'a wrapper that was killed: its command is ended, with grace' ;;
    GUARD_TIMER_STOPS | WRAPPER_CLOCK_STOPS | CLOCK_STOPS) echo 'a suspended machine' ;;
    *) echo '' ;;
    esac
}

caught_by() {
    [ -n "$1" ] || return 0 # without a defect they are a test of their own
    link strata "$1"
    ldflags=-Wl,--wrap=st_env_posix,--wrap=clock_gettime
    link strata_mortal "$1" tests/die_at.c tests/suspended.c
    ldflags=
    STRATA=$dir/strata STRATA_MORTAL=$dir/strata_mortal timeout 250 \
        bats -f "$(case_of "$1")" tests/once.bats >"$dir/out" 2>&1 || status=$?
    sed -n 's/^not ok [0-9]* \([^:,]*\).*/\1/p' "$dir/out"
}

try_all
