#!/usr/bin/env bats
# unshare.bats - what takes a name space of its own: deadlines in another time name space, whose
# CLOCK_BOOTTIME cannot be compared with ours; a small file system that is full.
#
#   STRATA=build/strata bats tests/unshare.bats

load helpers

setup() {
    program_alone
    export STRATA EFFECTS=$BATS_TEST_TMPDIR/effects
    in_workspace
}

other_time() {
    unshare --time --boottime 864000 true 2>/dev/null || skip "unshare --time is not permitted here"
}

@test "ten days ahead in another time name space: the lock is held there for one full term" {
    other_time
    "$STRATA" lock acquire db --ttl 2s --agent ann
    run unshare --time --boottime 864000 "$STRATA" lock acquire db --agent bob
    [ "$status" -eq 5 ]
    run unshare --time --boottime 864000 "$STRATA" lock acquire db --agent bob --wait 6s
    [ "$status" -eq 0 ]
}

@test "a lock taken there does not look lapsed, or endless, here" {
    other_time
    unshare --time --boottime 864000 "$STRATA" lock acquire db --ttl 1s --agent ann
    run "$STRATA" lock acquire db --agent bob
    [ "$status" -eq 5 ]
    run "$STRATA" lock acquire db --agent bob --wait 5s
    [ "$status" -eq 0 ]
}

@test "a full disk: nothing runs that cannot be recorded, no key is forgotten, nobody crashes" {
    cat >full.sh <<'END'
set -u
mount -t tmpfs -o size=8m none "$1" && cd "$1" || exit 77
once() { # KEY COMMAND: its exit status into `status`
    status=0
    "$STRATA" once --key "$1" -- sh -c "$2" >out 2>err </dev/null || status=$?
    [ "$status" -lt 128 ] || { echo "$1: exit $status"; cat err; exit 1; }
}
fill='head -c 20M /dev/zero >fill 2>/dev/null; true'
effects() { grep -c "^$1$" "$EFFECTS" || true; }
"$STRATA" init --name small >/dev/null
eval "$fill"
n=0
while once "full-$n" "echo full-$n >>$EFFECTS"; [ "$status" -eq 0 ]; do
    n=$((n + 1))
    [ $n -lt 200 ] || { echo "the disk is never full"; exit 1; }
done
[ "$(effects "full-$n")" -eq 0 ] || { echo "ran, exit $status"; exit 1; }
for command in "lock acquire l" "op list" "status" "lock list" "coordinator show"; do
    status=0
    "$STRATA" $command >/dev/null 2>err || status=$?
    [ "$status" -lt 128 ] || { echo "$command: exit $status"; exit 1; }
done
rm fill # there is room again: every key is known, and what did not run runs now
for i in $(seq 0 $n); do
    once "full-$i" "echo full-$i >>$EFFECTS"
    [ "$status" -eq 0 ] && [ "$(effects "full-$i")" -eq 1 ] || { echo "full-$i: exit $status"; cat err; exit 1; }
done
# It fills up between the start and the report.
for i in $(seq 0 9); do
    once "while-$i" "echo while-$i >>$EFFECTS; $fill"
    [ "$status" -eq 0 ] || [ "$status" -eq 117 ] || { echo "while: exit $status"; exit 1; }
    rm -f fill
    once "while-$i" "echo while-$i >>$EFFECTS; $fill"
    [ "$(effects "while-$i")" -eq 1 ] || { echo "while-$i ran again"; exit 1; }
    rm -f fill
done
"$STRATA" log verify >/dev/null && "$STRATA" doctor >out || { cat out; exit 1; }
END
    unshare -rm true 2>/dev/null || skip "name spaces are not permitted here"
    mkdir ../small
    : >"$EFFECTS"
    run unshare -rm sh full.sh "$BATS_TEST_TMPDIR/small"
    [ "$status" -ne 77 ] || skip "a file system of its own is not permitted here"
    [ "$status" -eq 0 ] || { echo "$output"; return 1; }
}
