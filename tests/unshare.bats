#!/usr/bin/env bats
# unshare.bats - deadlines in another time name space: its CLOCK_BOOTTIME cannot be compared with ours.
#
#   STRATA=build/strata bats tests/unshare.bats

load helpers

setup() {
    program_alone
    unshare --time --boottime 864000 true 2>/dev/null || skip "unshare --time is not permitted here"
    mkdir "$BATS_TEST_TMPDIR/work"
    cd "$BATS_TEST_TMPDIR/work"
    "$STRATA" init --name desk >/dev/null
}

@test "ten days ahead in another time name space: the lock is held there for one full term" {
    "$STRATA" lock acquire db --ttl 2s --agent ann
    run unshare --time --boottime 864000 "$STRATA" lock acquire db --agent bob
    [ "$status" -eq 5 ]
    run unshare --time --boottime 864000 "$STRATA" lock acquire db --agent bob --wait 6s
    [ "$status" -eq 0 ]
}

@test "a lock taken there does not look lapsed, or endless, here" {
    unshare --time --boottime 864000 "$STRATA" lock acquire db --ttl 1s --agent ann
    run "$STRATA" lock acquire db --agent bob
    [ "$status" -eq 5 ]
    run "$STRATA" lock acquire db --agent bob --wait 5s
    [ "$status" -eq 0 ]
}
