#!/usr/bin/env bats
# coordinator.bats - which copy decides, moving that, and the ordered log as its users see it.
#
#   STRATA=build/strata bats tests/coordinator.bats
#
# Two copies of one workspace: `desk`, which decides, and `box`. `ran` counts effects in a file that
# Strata never reads.

load helpers

setup() {
    program_alone
    export STRATA STRATA_AGENT=ann EFFECTS=$BATS_TEST_TMPDIR/effects
    : >"$EFFECTS"
    mkdir "$BATS_TEST_TMPDIR/desk" "$BATS_TEST_TMPDIR/box"
    cd "$BATS_TEST_TMPDIR/desk"
    "$STRATA" init --name desk >/dev/null
    "$STRATA" fact set a b c >/dev/null
    once 0 k
    cd ../box
    "$STRATA" init --name box >/dev/null
    merge ../desk
    cd ../desk
}

effect='echo x >>"$EFFECTS"; echo done'

once() { # STATUS KEY
    try "$1" once --key "$2" -- sh -c "$effect"
}

merge() { # DIR
    "$STRATA" merge-state "$1" >"$BATS_TEST_TMPDIR/merged" 2>&1
}

coordinator() { # KEY... of `coordinator show`
    "$STRATA" coordinator show --json | jq -r "[.data | $(printf '.%s, ' "$@") empty] | join(\" \")"
}

same_log() { # DIR
    [ "$(coordinator position head generation)" = \
        "$(cd "$1" && coordinator position head generation)" ]
}

@test "the log travels with a merge, as a read-only copy; who joins does not decide" {
    same_log ../box
    [ "$(coordinator here)" = true ]
    cd ../box
    [ "$(coordinator here)" = false ]
    once 116 k
    has "$stderr" "another copy of this workspace decides"
    has "$stderr" "nothing was recorded; run this there"
    try 0 op show k
    try 6 lock acquire l
    cd ../desk
    once 0 l
    try 0 lock acquire m
    cd ../box
    try 6 op show l
    merge ../desk
    same_log ../desk
    try 0 op show l --json
    [ "$(jq -r .data.state <<<"$output")" = committed ]
    merge ../desk
    same_log ../desk
    ran 2
}

@test "joining before the first strong command: still only one decides" {
    mkdir ../new ../old
    cd ../old && "$STRATA" init --name old >/dev/null && "$STRATA" fact set a b c >/dev/null
    cd ../new && "$STRATA" init --name new >/dev/null
    merge ../old
    once 116 k
    cd ../old
    once 0 k
    ran 2
}

@test "hand-over: --to DIR, at once; tokens grow, keys stay known, and back again" {
    try 0 lock acquire before
    before=$output
    try 4 coordinator move --to ../box --reason "it travels"
    person 0 coordinator move --to ../box --reason "it travels" --by pat
    same_log ../box
    once 116 k
    has "$stderr" "since generation 1 box:"
    once 116 new
    try 6 lock release before --token "$before"
    person 3 coordinator move --accept
    cd ../box
    [ "$(coordinator here)" = true ]
    [ "$(coordinator generation)" -eq 1 ]
    once 0 k
    [ "$output" = "done" ]
    once 0 new
    ran 2
    try 0 lock release before --token "$before"
    try 0 lock acquire before
    [ "$output" -gt "$before" ]
    person 1 coordinator move --to ../box --reason "nonsense"
    person 0 coordinator move --to ../desk --reason "back" --by pat
    once 116 new
    cd ../desk
    once 0 new
    once 0 newer
    ran 3
    [ "$(coordinator generation)" -eq 2 ]
    try 0 doctor
}

@test "two steps: seal for a place, the log travels, accept there" {
    place=$(cd ../box && coordinator place)
    person 2 coordinator move --to nowhere --reason "it travels"
    person 0 coordinator move --to "$place" --reason "it travels" --by pat
    has "$output" "strata sync REMOTE --ledger"
    once 116 new
    has "$stderr" "$place"
    try 0 coordinator show
    has "$output" "sealed for $place"
    cd ../box
    person 3 coordinator move --accept # it has not arrived
    has "$output" "strata sync REMOTE --ledger"
    once 116 new
    merge ../desk
    cp -r . ../stolen
    cd ../stolen # a copy of the successor is not the successor
    person 3 coordinator move --accept
    cd ../box
    try 0 coordinator show
    has "$output" "this copy; accept it"
    person 0 coordinator move --accept --by pat
    person 1 coordinator move --accept
    once 0 new
    once 0 k
    ran 2
    cd ../stolen
    merge ../box
    person 3 coordinator move --accept
    once 116 newer
    same_log ../box
}

@test "forced: a key that ran after the copy is in doubt, never run" {
    once 0 after
    cd ../box
    person 0 coordinator move --force --reason "the desk burned" --by pat
    once 117 after
    once 117 unknown
    once 0 k
    ran 2
    # It did not burn, and hears of it: it decides no more, its log is kept aside.
    cd ../desk
    once 0 later
    merge ../box
    has "$(cat "$BATS_TEST_TMPDIR/merged")" "have grown apart"
    once 116 after
    same_log ../box
    grep -rq '"k":"later"' .strata/quarantine/strong-*/log
    cd ../box
    merge ../desk
    same_log ../desk
    once 117 later
}

@test "forced at a copy that knew everything: the old one stands down when it hears of it" {
    cd ../box
    person 0 coordinator move --force --reason "the desk burned"
    cd ../desk
    merge ../box
    has "$(cat "$BATS_TEST_TMPDIR/merged")" "does not decide any more"
    once 116 new
    same_log ../box
}

@test "log --ops: who, what, when, on what evidence" {
    try 117 once --key doubt -- sh -c 'kill -9 $$'
    person 0 op settle doubt --outcome committed --evidence "it is in the outbox" --by eve
    try 0 log --ops
    has "$output" "ann: proposed k"
    has "$output" "ann: started doubt"
    has "$output" "settled doubt as committed"
    has "$output" "by eve: it is in the outbox"
    try 0 log --ops --json
    jq -e '.data.commands[0] | .position == 1 and .agent == "ann" and .command == "propose" and
        .key == "k" and .class == "naked"' <<<"$output"
    jq -e '.data.commands | map(select(.command == "settle")) |
        length == 1 and .[0].evidence == "it is in the outbox" and .[0].person == "eve"' <<<"$output"
    last=$(jq '.data.next' <<<"$output")
    try 0 log --ops --since "$last" --json
    jq -e '.data.commands == [] and .data.more == false' <<<"$output"
    try 0 log --ops --limit 1
    has "$output" "settled doubt"
    [[ $output != *"proposed k"* ]]
    try 2 log --ops --follow
}

@test "log --ops: who was refused does not look like who got it" {
    try 0 lock acquire db --ttl 60s
    try 5 --agent bob lock acquire db --ttl 60s
    once 0 k2
    once 0 k2
    try 0 log --ops --json
    jq -e '[.data.commands[] | select(.command == "lease-acquire" and .key == "db") | [.agent, .verdict]]
        == [["ann", "done"], ["bob", "held"]]' <<<"$output"
    jq -e '[.data.commands[] | select(.key == "k2") | [.command, .verdict]] == [["propose", "done"],
        ["grant", "done"], ["start", "done"], ["report", "done"], ["propose", "same"],
        ["grant", "refused"], ["start", "stale"]]' <<<"$output"
    try 0 log --ops
    [[ $output =~ "ann: asked for lock "db[^$'\n']*" -> done" ]]
    [[ $output =~ "bob: asked for lock "db[^$'\n']*" -> refused: somebody else has it" ]]
    rm .strata/strong/answers # who remembers it is gone
    try 0 log --ops
    hasnt "$output" "->"
    try 0 log --ops --json
    jq -e 'all(.data.commands[]; .verdict == "")' <<<"$output"
}

@test "log --ops: tasks and paths, as they are called elsewhere" {
    strata add one >/dev/null
    strata add two >/dev/null
    try 0 next
    try 0 done 1
    try 0 reserve 'src/**'
    try 0 log --ops
    has "$output" "ann: asked for claim \"#1\""
    has "$output" "ann: or else for claim \"#2\""
    has "$output" "finished \"#1\" as done (token"
    has "$output" "ann: asked for the paths \"src/**\" (work tree "
    hasnt "$output" "@"
    tree=$(strata reserve list --json | jq -r '.data[0].tree')
    try 0 log --ops --json
    jq -e --arg tree "$tree" '.data.commands[-1] | .key == "src/**" and .tree == $tree' <<<"$output"
    jq -e '[.data.commands[] | select(.alternative) | .key] == ["#1", "#2"]' <<<"$output"
}

@test "log verify: the head, and a broken link with file and place" {
    try 0 log verify --json
    [ "$(jq -r .data.head <<<"$output")" = "$(coordinator head)" ]
    cd ../box
    try 0 log verify
    has "$output" "$(cd ../desk && coordinator head)"
    cd ../desk
    once 0 l
    segment=$(ls .strata/strong/log/*/*.jsonl | tail -n 1)
    sed -i '0,/"k":"k"/s//"k":"j"/' "$segment"
    try 1 log verify
    has "$stderr" "$(basename "$segment")"
}
