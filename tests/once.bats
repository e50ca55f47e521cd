#!/usr/bin/env bats
# once.bats - once-only operations and locks as their users see them.
#
#   STRATA=build/strata bats tests/once.bats
#
# Every test has a directory and a workspace of its own. `ran` counts effects in a file that Strata
# never reads.

load helpers

setup() {
    program_alone
    export STRATA EFFECTS=$BATS_TEST_TMPDIR/effects
    in_workspace
    : >"$EFFECTS"
}

# what a case that failed left at work
teardown() {
    [ -z "${wrapper:-}" ] || kill -9 "$wrapper" 2>/dev/null || true
    [ ! -s pid ] || kill -9 "$(cat pid)" 2>/dev/null || true
}

effect='echo x >>"$EFFECTS"'

state_is() {
    try 0 op show "$1" --json
    json --arg s "$2" '.data.state == $s'
}

# eventually_ends STATUS ARGUMENT...: until it does not end with that status any more
eventually_ends() {
    local not=$1
    shift
    eventually differs "$not" "$@"
}
differs() {
    local not=$1 now=0
    shift
    "$STRATA" "$@" >/dev/null 2>&1 || now=$?
    [ "$now" -ne "$not" ]
}

# an operation in doubt: its wrapper was killed when the effect had happened
make_doubt() {
    local before
    before=$(wc -l <"$EFFECTS")
    "$STRATA" once --key "$1" -- sh -c "$effect; exec sleep 60" 3>&- &
    local wrapper=$!
    eventually ran $((before + 1)) >/dev/null
    local child
    child=$(pgrep -P $wrapper)
    kill -9 $wrapper
    kill -9 "$child"
    wait $wrapper || true
}

# --- answers --------------------------------------------------------------------------------------

@test "a command runs once; later callers get its output, errors and status, byte for byte" {
    cat >noisy <<'EOF'
#!/bin/sh
echo x >>"$EFFECTS"
printf 'a\000b\377\n\nlast'
printf 'e\001\376' >&2
exit 42
EOF
    chmod +x noisy
    for n in 1 2 3; do
        status=0
        STRATA_AGENT=agent$n "$STRATA" --quiet once --key noise -- ./noisy >out$n 2>err$n || status=$?
        [ "$status" -eq 42 ]
    done
    ran 1
    printf 'a\000b\377\n\nlast' | cmp - out1
    cmp out1 out2
    cmp out1 out3
    printf 'e\001\376' | cmp - err1
    grep -v '^strata: note: not run again: noise ran .* (agent1, exit 42); this is its output$' \
        err2 -a | head -c 3 | cmp - err1
}

@test "the child finds key and token; names for scripts" {
    try 0 once --key env-1 -- sh -c 'echo "$STRATA_OP_KEY $STRATA_FENCE"'
    read -r key fence <<<"$output"
    same "$key" env-1
    try 0 op show env-1 --json
    json --argjson f "$fence" '.data.state == "committed" and .data.token == $f'
    json '.data.attempts == 1 and (.data.result | type) != "null" and .data.holder == "ann"'
    try 0 once --key env-2 -- sh -c 'echo "$STRATA_FENCE"'
    [ "$output" -gt "$fence" ]
    try 0 op list
    has "$output" "env-1: committed (ann,"
    try 0 op list --state committed --json
    json '.data | map(.key) == ["env-1", "env-2"]'
    try 0 op list --state in_doubt --json
    json '.data == []'
    try 2 op list --state nonsense
    try 1 op show nobody
}

@test "the environment is the caller's but for key and token; a script without an interpreter's name runs" {
    # shellcheck disable=SC2016
    printf 'echo "$KEPT $STRATA_OP_KEY"\ntr "\\0" "\\n" </proc/$$/environ | grep -c ^STRATA_OP_KEY=\n' >script
    chmod +x script
    KEPT=yes STRATA_OP_KEY=outer try 0 once --key env-3 -- ./script
    same "$output" $'yes env-3\n1'
    KEPT=yes STRATA_OP_KEY=outer try 0 once --key env-4 -- sh ./script
    same "$output" $'yes env-4\n1'
}

@test "other arguments under the same key: 113, nothing runs" {
    try 0 once --key k -- sh -c "$effect"
    try 113 once --key k -- sh -c "$effect" other
    has "$stderr" "not run: k stands for a command with other arguments, which is committed"
    has "$stderr" "if that is the same in other words, do not run it"
    ran 1
    mkdir elsewhere && cd elsewhere # the key is bound to the arguments, not to the directory
    try 0 once --key k -- sh -c "$effect"
    ran 1
}

@test "a caller waits for the one who runs; --wait bounds that: 115" {
    "$STRATA" once --key slow -- sh -c "$effect; sleep 1; echo done" >first 3>&- &
    eventually test -s "$EFFECTS"
    try 115 once --key slow --wait 100ms -- sh -c "$effect; sleep 1; echo done"
    has "$stderr" "slow is being run by ann"
    try 0 once --key slow -- sh -c "$effect; sleep 1; echo done"
    same "$output" "done"
    wait
    ran 1
}

@test "approval: 115 until a person approves; then once" {
    try 115 once --key pay --needs-approval -- sh -c "$effect"
    has "$stderr" "pay waits for a person to approve it"
    state_is pay proposed
    try 4 op approve pay
    ran 0
    person 0 op approve pay --by eve
    try 0 once --key pay --needs-approval -- sh -c "$effect"
    try 0 once --key pay --needs-approval -- sh -c "$effect"
    ran 1
}

@test "rejected: it never runs" {
    try 115 once --key pay --needs-approval -- sh -c "$effect"
    try 4 op reject pay --reason "wrong account"
    person 0 op reject pay --reason "wrong account" --by eve
    try 113 once --key pay --needs-approval -- sh -c "$effect"
    has "$stderr" "wrong account"
    has "$stderr" "nothing happened"
    state_is pay failed
    ran 0
}

@test "a status that means that nothing happened: failed, and again only by a person" {
    try 75 once --key mail --nothing-happened-on 75,76 -- sh -c 'exit 75'
    state_is mail failed
    try 113 once --key mail --nothing-happened-on 75,76 -- sh -c 'exit 75'
    has "$stderr" "not run: mail has failed: exit status 75; nothing happened"
    try 4 op again mail --reason "the server is back"
    person 0 op again mail --reason "the server is back"
    try 75 once --key mail --nothing-happened-on 75,76 -- sh -c 'exit 75'
    try 0 op show mail --json
    json '.data.runs == 2 and .data.attempts == 1'
    try 112 once --key mail2 --nothing-happened-on 0 -- true
    try 112 once --key mail2 --nothing-happened-on 256 -- true
}

@test "a command that cannot be executed leaves nothing behind" {
    try 112 once --key none -- ./missing
    has "$stderr" "nothing was recorded"
    echo data >plain
    try 112 once --key none -- ./plain
    try 1 op show none
    printf '#!/missing/interpreter\n' >broken && chmod +x broken
    try 112 once --key broken -- ./broken
    has "$stderr" "nothing happened"
    state_is broken failed
}

@test "bad keys and options" {
    # A wrapper's own word is never taken for its command's.
    try 112 once --key k
    try 112 once --key k --
    try 112 once --key k --no-such-option -- true
    try 112 once --key k --class naked --valid-for 0 -- true
    try 2 op begin --key k --class naked --valid-for 1h
    try 112 once -- true
    try 112 once --key '' -- true
    try 112 once --key "$(printf 'k%.0s' {1..256})" -- true
    try 0 once --key "$(printf 'k%.0s' {1..255})" -- true
    try 112 once --key $'a\nb' -- true
    try 112 once --key k --class holy -- true
    try 1 op show k
}

@test "output larger than what is kept passes through whole and is kept cut" {
    status=0
    "$STRATA" once --key big -- sh -c "$effect; head -c 200000 /dev/zero; exit 3" >one || status=$?
    [ "$status" -eq 3 ]
    [ "$(stat -c %s one)" -eq 200000 ]
    "$STRATA" once --key big -- sh -c "$effect; head -c 200000 /dev/zero; exit 3" >two 2>err || status=$?
    [ "$status" -eq 3 ]
    [ "$(stat -c %s two)" -eq 64512 ]
    grep -q "longer than what is kept" err
    ran 1
}

@test "a descendant that goes on printing is not waited for" {
    status=0
    timeout 5 "$STRATA" once --key yes -- sh -c 'yes & exit 3' >out || status=$?
    [ "$status" -eq 3 ]
}

@test "closed standard descriptors do not let answers into the state" {
    "$STRATA" fact set a b c
    for n in 1 2 3; do
        "$STRATA" fact get a b >&-
        "$STRATA" once --key closed-$n -- sh -c "$effect; echo hello; echo hi >&2" <&- >&- 2>&- || true
    done
    ran 3
    try 0 doctor
    try 0 op list
}

# --- step by step ---------------------------------------------------------------------------------

@test "begin, start, report in processes of their own; every answer has a status of its own" {
    echo "to: ann" >mail
    try 0 op begin --key m --params @mail
    token=$output
    try 5 op begin --key m --params @mail
    has "$stderr" "m: ann is at it"
    try 3 op begin --key m --params other
    try 3 op report m --token "$token" --result early # not started
    has "$stderr" "strata op start comes before it"
    try 0 op start m --token "$token"
    try 3 op start m --token "$token" # accepted once
    has "$stderr" "do not make the call a second time"
    try 0 op renew m --token "$token" --term 10m
    try 0 op report m --token "$token" --result "250 ok"
    try 0 op report m --token "$token" --result "250 ok"
    try 3 op report m --token "$token" --result "251 ok"
    try 8 op begin --key m --params @mail
    same "$output" "250 ok"
    try 8 op begin --key m --params @mail --json
    json '.data.answer == "replay" and .data.operation.result == "250 ok"'
    try 3 op start m --token 1
    try 2 op start m
    try 2 op begin
    try 0 op begin --key n --json
    json '.data.answer == "run" and .data.token > 0'
    try 0 op start n --token "$(jq .data.token <<<"$output")"
    try 0 op refuse n --token "$(("$token" + 1))" --evidence "550 no such user"
    try 9 op begin --key n
    try 4 op begin --key a --needs-approval
    person 0 op approve a
    try 0 op begin --key a --needs-approval
    person 3 op again a --reason "once more"
    has "$output" "only what has ended is run once more"
}

@test "a term that ends: started is in doubt, not started is free" {
    try 0 op begin --key s --term 3s
    try 0 op start s --token "$output"
    try 5 op begin --key s
    try 0 op begin --key f --term 300ms
    first=$output
    eventually_ends 5 op begin --key s
    try 7 op begin --key s
    has "$stderr" "Do not retry and do not use another key"
    try 0 op begin --key f
    [ "$output" -gt "$first" ]
    try 3 op start f --token "$first"
    has "$stderr" "its current token is another one"
    has "$stderr" "do not make the call"
    state_is s in_doubt
    # A person is asked; who comes late with the current token may still tell what happened.
    try 0 pending
    has "$output" "s: in doubt"
    try 0 op report s --token "$((first - 1))" --result done
    state_is s committed
}

@test "pending lists what waits for a person" {
    make_doubt d
    try 115 once --key p --needs-approval -- true
    try 0 pending
    has "$output" "d: in doubt"
    has "$output" "p: proposed, waits for approval"
    has "$stderr" "strata op settle KEY"
    try 0 pending --json
    json '.data.operations | map(.key) == ["d", "p"]'
    try 4 op approve p
    has "$stderr" "strata pending"
    person 0 op settle d --outcome failed --evidence "nothing there"
    person 0 op reject p --reason no
    try 0 pending
    same "$output" "nothing is pending"
}

@test "prune: results go, keys stay known, doubts stay" {
    for n in 1 2 3; do try 0 once --key k$n -- sh -c "$effect"; done
    make_doubt d
    sleep 0.2
    try 0 op prune --older-than 1h --json
    json '.data.pruned == 0'
    try 0 op prune --older-than 100ms --json
    json '.data.pruned == 3'
    try 113 once --key k1 -- sh -c "$effect"
    has "$stderr" "not run: k1 was known before; its result was pruned"
    has "$stderr" "do not use another key for the same"
    try 9 op begin --key k2
    try 1 op show k2
    has "$stderr" "k2 was known before (committed); its result was pruned"
    try 117 once --key d -- sh -c "$effect; exec sleep 60"
    ran 4
    try 2 op prune
}

@test "queryable: the check command says that it happened; else a person" {
    for k in yes no; do
        "$STRATA" once --key $k --class queryable --check 'test -e $STRATA_OP_KEY && echo found' \
            -- sh -c "$effect; exec sleep 60" 3>&- &
        wrapper=$!
        eventually test -s "$EFFECTS"
        child=$(pgrep -P $wrapper)
        kill -9 $wrapper "$child"
        : >"$EFFECTS"
    done
    touch yes
    try 0 once --key yes --class queryable --check 'test -e $STRATA_OP_KEY && echo found' \
        -- sh -c "$effect; exec sleep 60"
    same "$output" found
    try 117 once --key no --class queryable --check 'test -e $STRATA_OP_KEY && echo found' \
        -- sh -c "$effect; exec sleep 60"
    state_is yes committed
    json '.data.evidence | startswith("the check command ended with 0")'
    state_is no in_doubt
    try 112 once --key x --check true -- true
    try 112 once --key x --valid-for 1h -- true
    ran 0
}

# --- in doubt -------------------------------------------------------------------------------------

@test "whoever ran it died: 117, and not run again, however often it is asked" {
    make_doubt deploy
    for n in 1 2 3; do
        try 117 once --key deploy -- sh -c "$effect; exec sleep 60"
        has "$stderr" "deploy: outcome unknown since 20"
        has "$stderr" "do not retry and do not use another key"
        has "$stderr" "A person has been asked"
        has "$stderr" "go on with other work"
    done
    ran 1
    state_is deploy in_doubt
    json '.data.result == null'
    try 0 op list --state in_doubt
    has "$output" "deploy: in doubt"
}

@test "killed by a signal: in doubt, whatever it had printed" {
    try 117 once --key k -- sh -c "$effect; kill -9 \$\$"
    try 117 once --key k -- sh -c "$effect; kill -9 \$\$"
    state_is k in_doubt
    ran 1
}

@test "a time-out ends the command and leaves it in doubt" {
    try 117 once --key k --timeout 200ms -- sh -c "$effect; sleep 20"
    has "$stderr" "time-out"
    has "$stderr" "do not retry"
    try 117 once --key k --timeout 200ms -- sh -c "$effect; sleep 20"
    state_is k in_doubt
    ran 1
    # What may be run again without asking anybody is not called a matter for a person.
    try 117 once --key i --class idempotent --timeout 200ms -- sleep 20
    has "$stderr" "who asks for this one again runs it again"
    hasnt "$stderr" "do not retry"
    try 2 op list --state doubtful
    has "$stderr" "in_doubt"
}

@test "idempotent: run again after a crash, without asking" {
    "$STRATA" once --key k --class idempotent -- sh -c "$effect; [ -e second ] || exec sleep 60" 3>&- &
    wrapper=$!
    eventually test -s "$EFFECTS"
    child=$(pgrep -P $wrapper)
    kill -9 $wrapper "$child"
    touch second
    try 0 once --key k --class idempotent -- sh -c "$effect; [ -e second ] || exec sleep 60"
    ran 2
    try 0 op show k --json
    json '.data.state == "committed" and .data.attempts == 2'
}

@test "idempotent: not beside what is left of the last attempt" {
    cat >leaves.sh <<'END'
[ -e pid ] && exit 0
setsid sleep 60 >/dev/null 2>&1 &
echo $! >pid
wait
END
    again=(once --key k --class idempotent --timeout 300ms -- sh leaves.sh)
    try 117 "${again[@]}"
    try 117 "${again[@]}"
    try 117 "${again[@]}"
    state_is k in_doubt
    kill "$(cat pid)"
    eventually_ends 117 "${again[@]}"
    state_is k committed
}

@test "keyed: run again only while the service knows the key" {
    "$STRATA" once --key k --class keyed --valid-for 1s -- sh -c "$effect; exec sleep 60" 3>&- &
    wrapper=$!
    eventually test -s "$EFFECTS"
    child=$(pgrep -P $wrapper)
    kill -9 $wrapper "$child"
    sleep 1.1
    try 117 once --key k --class keyed --valid-for 1s -- sh -c "$effect; exec sleep 60"
    ran 1
}

@test "settling: not for agents, not without a terminal, with evidence" {
    make_doubt k
    try 4 op settle k --outcome failed --evidence "I think so"
    has "$stderr" "STRATA_AGENT says that an agent is calling"
    has "$stderr" "strata pending"
    for mark in CLAUDECODE CLAUDE_CODE_ENTRYPOINT CODEX_SANDBOX OPENCLAW_AGENT OPENCLAW_SESSION; do
        run env -u STRATA_AGENT "$mark=1" script -qec \
            "'$STRATA' op settle k --outcome failed --evidence 'I think so'" /dev/null </dev/null
        [ "$status" -eq 4 ]
    done
    run env -u STRATA_AGENT "$STRATA" op settle k --outcome failed --evidence "so" </dev/null 2>&1
    [ "$status" -eq 4 ]
    person 2 op settle k --outcome failed
    person 2 op settle k --outcome maybe --evidence "so"
    person 1 op settle nobody --outcome failed --evidence "so"
    state_is k in_doubt
    person 0 op settle k --outcome committed --evidence "it is in the outbox" --by eve --result "sent"
    try 0 op show k --json
    json '.data.state == "committed" and .data.person == "eve" and .data.result == "sent"'
    json '.data.evidence == "it is in the outbox"'
    try 0 once --key k -- sh -c "$effect; exec sleep 60"
    same "$output" "sent"
    person 3 op settle k --outcome failed --evidence "changed my mind"
    has "$output" "only what is in doubt is settled"
    person 1 op approve nobody
    try 0 op begin --key s --term 1h
    person 3 op settle s --outcome failed --evidence "it was never started"
    try 0 op start s --token "$(strata op show s --json | jq .data.token)"
    person 6 op settle s --outcome failed --evidence "too early"
    has "$output" "its term is not over"
    ran 1
}

@test "settled as retry: the next caller runs it; as failed: nobody" {
    try 117 once --key a -- sh -c "[ -e fixed ] || kill -9 \$\$; $effect"
    try 117 once --key b -- sh -c "kill -9 \$\$; $effect"
    person 0 op settle a --outcome retry --evidence "the outbox is empty"
    person 0 op settle b --outcome failed --evidence "the outbox is empty"
    touch fixed
    try 0 once --key a -- sh -c "[ -e fixed ] || kill -9 \$\$; $effect"
    try 113 once --key b -- sh -c "kill -9 \$\$; $effect"
    ran 1
}

@test "a result that only looks like a kept one is given back as it is" {
    make_doubt k
    person 0 op settle k --outcome committed --evidence "seen" --result \
        "$(printf 'strata-result 1 exit=7 out=18446744073709551615 err=1 cut=0\n.')"
    try 0 once --key k -- sh -c "$effect; exec sleep 60"
    has "$output" "strata-result 1 exit=7"
}

@test "killed at every point of its way: one effect at most, and none before the start is on disk" {
    "$STRATA_MORTAL" once --key first -- true # what only the first one passes
    export STRATA_POINTS=$BATS_TEST_TMPDIR/points
    "$STRATA_MORTAL" once --key all -- sh -c "echo command >>$STRATA_POINTS; $effect"
    unset STRATA_POINTS
    points=$(awk '{print $0 ":" ++n[$0]}' "$BATS_TEST_TMPDIR/points")
    same "$(grep -c '^flush.published:' <<<"$points")" 2 # the start, and the report
    local begun=
    for point in $points; do
        if [ "$point" = command:1 ]; then
            begun=yes # what comes before is before the first instruction of the command
            continue
        fi
        before=$(wc -l <"$EFFECTS")
        run env STRATA_DIE_AT="$point" "$STRATA_MORTAL" once --key "k-$point" -- sh -c "$effect"
        same "$status" 137
        [ -n "$begun" ] || ran "$before"
        status=0
        "$STRATA" once --key "k-$point" -- sh -c "$effect" >/dev/null 2>&1 || status=$?
        [ "$status" -eq 0 ] || [ "$status" -eq 117 ] || { echo "$point: exit $status"; return 1; }
        now=$(wc -l <"$EFFECTS")
        [ "$now" -le $((before + 1)) ] || { echo "$point: a second effect"; return 1; }
        [ "$status" -eq 117 ] || [ "$now" -eq $((before + 1)) ] || { echo "$point: none"; return 1; }
    done
}

@test "no settling while a descendant lives, also one in a session of its own" {
    for how in "" setsid; do
        "$STRATA" once --key "k$how" -- sh -c "$how sh -c 'echo \$\$ >pid; exec sleep 60' & wait" 3>&- &
        wrapper=$!
        eventually test -s pid
        child=$(pgrep -P $wrapper)
        kill -9 $wrapper "$child"
        person 6 op settle "k$how" --outcome failed --evidence "the wrapper is dead"
        has "$output" "something of it still runs"
        try 115 once --key "k$how" --wait 100ms -- \
            sh -c "$how sh -c 'echo \$\$ >pid; exec sleep 60' & wait"
        kill -9 "$(cat pid)"
        eventually test ! -e "/proc/$(cat pid)"
        person 0 op settle "k$how" --outcome failed --evidence "all dead"
        rm pid
    done
}

# --- what is kept ---------------------------------------------------------------------------------

@test "the first 32 callers of a new workspace: one runs" {
    for n in {1..32}; do
        "$STRATA" once --key k -- sh -c "$effect; echo \$\$" >out$n 2>/dev/null 3>&- &
    done
    wait
    ran 1
    same "$(cat out* | sort -u | wc -l)" 1
    same "$(cat out* | wc -l)" 32
}

@test "without its index, or with garbage for one, no key is forgotten" {
    try 0 once --key k -- sh -c "$effect; echo hello"
    rm .strata/strong/index.db*
    try 0 once --key k -- sh -c "$effect; echo hello"
    same "$output" hello
    rm .strata/strong/index.db*
    head -c 20000 /dev/urandom >.strata/strong/index.db
    try 0 once --key k -- sh -c "$effect; echo hello"
    same "$output" hello
    ran 1
}

# records in the strong log here that are about anything
commands() {
    find .strata/strong/log -name '*.jsonl' -exec cat {} + | grep -c '"\(k\|new\|l\)"' || true
}

@test "a copy does not decide, whenever it was made; facts work there" {
    cp -r . ../early # before the first strong command
    try 0 once --key k -- sh -c "$effect"
    cp -r . ../late
    for copy in early late; do
        cd "../$copy"
        before=$(commands)
        for key in k new; do
            try 116 once --key $key -- sh -c "$effect"
            has "$stderr" "this copy of the workspace does not decide"
            has "$stderr" "nothing was recorded"
        done
        try 6 lock acquire l
        try 116 lock l -- true
        try 6 lock release l --token 1
        person 6 op again k --reason "I want it"
        try 0 fact set api port 1
        try 0 fact get api port
        same "$(commands)" "$before"
    done
    # What it can read, and says of itself.
    cd ../late
    for read in 'op list' 'op show k' 'lock list' 'reserve list'; do
        try 0 $read
        has "$stderr" "this is what is known here, up to entry"
        has "$stderr" "this copy of the workspace does not decide"
    done
    try 0 op show k --json
    json '.data.state == "committed"'
    for read in 'op show nobody' 'fence l 1' 'reserve check a.c'; do
        try 6 $read
        has "$stderr" "this copy of the workspace does not decide"
    done
    person 6 op settle nobody --outcome failed --evidence "I looked"
    cd ../early # nothing of the ledger came here
    for read in 'op list' 'op show k' 'lock list' 'fence l 1' 'reserve list' 'reserve check a.c'; do
        try 6 $read
        has "$stderr" "this copy of the workspace does not decide"
        has "$stderr" "strata coordinator move --force"
    done
    cd ../work
    try 0 once --key k -- sh -c "$effect"
    ran 1
}

@test "a workspace whose ledger was removed does not found another" {
    try 0 once --key k -- sh -c "$effect"
    rm -r .strata/strong
    try 116 once --key k -- sh -c "$effect"
    try 6 lock acquire l
    person 0 coordinator move --force --reason "the ledger is gone"
    try 117 once --key k -- sh -c "$effect"
    ran 1
}

# --- locks ----------------------------------------------------------------------------------------

@test "lock NAME -- COMMAND: one at a time, status of the command, token in its environment" {
    try 7 lock db -- sh -c 'echo $STRATA_FENCE; exit 7'
    first=$output
    try 0 lock db -- sh -c 'echo $STRATA_FENCE'
    [ "$output" -gt "$first" ]
    echo 0 >n
    for i in {1..8}; do
        "$STRATA" lock n --wait 20s -- sh -c 'v=$(cat n); sleep 0.02; echo $((v + 1)) >n' 3>&- &
    done
    wait
    same "$(cat n)" 8
    try 0 lock list
    same "$output" ""
    try 112 lock db -- ./missing
    try 112 lock db
}

@test "acquire, renew, release: tokens only grow, a stale one does nothing" {
    try 0 lock acquire db --ttl 20s --json
    json '(.data.token | type) == "number" and .data.until > "2020"'
    one=$(jq .data.token <<<"$output")
    STRATA_AGENT=bob try 5 lock acquire db
    has "$stderr" "held by ann"
    STRATA_AGENT=bob try 115 lock db --wait 100ms -- true
    try 0 lock list
    has "$output" "db: held by ann, token $one"
    try 2 lock release db
    has "$stderr" "lock list"
    try 0 lock renew db --token "$one" --ttl 20s
    try 0 lock release db --token "$one"
    try 0 lock acquire db --ttl 300ms
    two=$output
    [ "$two" -gt "$one" ]
    try 3 lock renew db --token "$one"
    try 3 lock release db --token "$one"
    sleep 0.4
    try 3 lock renew db --token "$two"
    STRATA_AGENT=bob try 0 lock acquire db
    [ "$output" -gt "$two" ]
    try 3 lock release db --token "$two"
    try 0 lock list
    has "$output" "held by bob"
    try 2 lock renew db
    try 2 lock acquire db --ttl 1ms
}

@test "a lock is renewed while its command lives" {
    "$STRATA" lock db --ttl 2s -- sh -c 'echo $$ >pid; until [ -e end ]; do sleep 0.05; done' 3>&- &
    eventually test -s pid
    sleep 2.5
    try 5 lock acquire db
    touch end
    wait $!
    try 0 lock acquire db
}

# a command under a lock, in the background: wrapper, and its command in `pid`
locked() {
    local ttl=$1
    shift
    rm -f pid
    "$STRATA" lock db --ttl "$ttl" -- "$@" 2>err 3>&- &
    wrapper=$!
    eventually test -s pid
}
gone() { [ ! -e "/proc/$1" ] || grep -q 'State:.*Z' "/proc/$1/status"; }

@test "a holder that was stopped: its command is ended before the term, then others have the lock" {
    locked 1s sh -c 'echo $$ >pid; exec sleep 300'
    kill -STOP $wrapper
    for _ in {1..50}; do # nobody but its guardian can do that
        gone "$(cat pid)" && break
        sleep 0.2
    done
    gone "$(cat pid)"
    try 0 lock acquire db --wait 5s
    kill -CONT $wrapper
    status=0
    wait $wrapper || status=$?
    [ "$status" -eq 113 ]
    grep -q "the lock db was lost, the command was ended" err
}

@test "all of it stopped beyond the term, as a paused machine is: ended as soon as it goes on" {
    locked 1s sh -c 'echo $$ >pid; trap "" TERM; while :; do sleep 0.05; done'
    guardian=$(pgrep -P $wrapper strata-guardian)
    kill -STOP $wrapper "$guardian" "$(cat pid)"
    try 0 lock acquire db --wait 8s
    kill -CONT "$guardian" "$(cat pid)" # the wrapper sleeps on
    eventually gone "$(cat pid)"
    kill -CONT $wrapper
    status=0
    wait $wrapper || status=$?
    [ "$status" -eq 113 ]
}

# The program of this case believes that the machine was suspended for the seconds that a file says.
@test "a suspended machine: terms go on, on the clock that counts it" {
    export STRATA_SUSPENDED=$BATS_TEST_TMPDIR/suspended
    echo 0 >"$STRATA_SUSPENDED"
    STRATA=$STRATA_MORTAL
    try 0 lock acquire token --ttl 1h
    token=$output
    try 0 op begin --key k --term 1h
    try 0 op start k --token "$output"
    locked 1h sh -c 'echo $$ >pid; exec sleep 15'
    # The guardian's timer is on CLOCK_BOOTTIME: nothing else wakes up in time.
    guardian=$(pgrep -P $wrapper strata-guardian)
    has "$(cat /proc/"$guardian"/fdinfo/*)" "clockid: 7"
    echo 3000 >"$STRATA_SUSPENDED"
    sleep 0.1
    STRATA_AGENT=bob try 5 lock acquire token
    try 5 op begin --key k
    echo 7300 >"$STRATA_SUSPENDED" # the command under the lock was renewed in between
    status=0
    wait $wrapper || status=$?
    [ "$status" -eq 113 ]
    gone "$(cat pid)"
    STRATA_AGENT=bob try 0 lock acquire token
    try 3 lock release token --token "$token"
    try 7 op begin --key k
}

@test "a command that does not listen is ended before the term, too" {
    locked 2s sh -c 'trap "" TERM; echo $$ >pid; while :; do sleep 0.05; done'
    SECONDS=0
    kill -STOP $wrapper
    until gone "$(cat pid)" || [ "$SECONDS" -ge 4 ]; do sleep 0.05; done
    gone "$(cat pid)"
    try 0 lock acquire db --wait 5s
    kill -CONT $wrapper
    wait $wrapper || true
}

@test "a wrapper that was killed: its command is ended, with grace, and then the lock is free" {
    locked 60s sh -c 'trap "until [ -e go ]; do sleep 0.05; done; echo tidy >end; exit" TERM
        echo $$ >pid; while :; do sleep 0.05; done'
    kill -9 $wrapper
    wait $wrapper || true
    STRATA_AGENT=bob try 5 lock acquire db # it is still tidying up
    touch go
    STRATA_AGENT=bob try 0 lock db --wait 10s -- cat end
    same "$output" tidy
    gone "$(cat pid)"
    same "$(ls .strata/strong/run)" "" # nothing is left of either
}

@test "a command whose wrapper and whole group are killed at once leaves the lock free at once" {
    locked 60s sh -c 'echo $$ >pid; exec sleep 30'
    kill -9 $wrapper "$(cat pid)"
    STRATA_AGENT=bob try 0 lock acquire db --wait 5s
}

@test "a descendant that left the group keeps the lock, but not beyond the term" {
    locked 4s setsid -w sh -c 'echo $$ >pid; exec sleep 30'
    kill -9 $wrapper
    STRATA_AGENT=bob try 5 lock acquire db
    STRATA_AGENT=bob try 0 lock acquire db --wait 8s
    kill -9 "$(cat pid)"
}

@test "a guardian does not outlive its command, and holds nothing open" {
    # The pipe ends as soon as the wrapper does, although it is killed.
    ("$STRATA" lock db -- sh -c 'echo $$ >pid; exec sleep 30' 2>&1 3>&- & echo $! >wrapper; wait) | cat >out &
    eventually test -s pid
    guardian=$(pgrep -P "$(cat wrapper)" -f strata-guardian || pgrep -P "$(cat wrapper)" strata-guardian)
    kill -9 "$(cat pid)"
    wait $!
    eventually gone "$guardian"
}

@test "a holder that cannot renew ends its command before the term ends" {
    locked 1s sh -c 'echo $$ >pid; exec sleep 30'
    rm .strata/strong/coordinator # it does not decide any more: every renewal is refused
    SECONDS=0
    status=0
    wait $wrapper || status=$?
    [ "$status" -eq 113 ]
    [ "$SECONDS" -lt 4 ]
    gone "$(cat pid)"
}

# --- workers ------------------------------------------------------------------------------------------

# a worker in the background with a term of 600 ms; its command is `pid`
worker() {
    "$STRATA" add "the task" >/dev/null
    "$STRATA" work --term 600ms --wait 0s -- sh -c 'echo $$ >pid; exec sleep 30' 2>err 3>&- &
    wrapper=$!
    eventually test -s pid
}

@test "a worker that was stopped beyond its term has lost its task; its command is ended" {
    worker
    kill -STOP $wrapper
    STRATA_AGENT=bob try 0 next --wait 5s --json
    token=$(jq -r .data.token <<<"$output")
    [ -e "/proc/$(cat pid)" ]
    kill -CONT $wrapper
    wait $wrapper || true
    grep -q "1 was lost" err
    [ ! -e "/proc/$(cat pid)" ]
    try 0 show 1 --json
    json '.data.state == "claimed" and .data.holder == "bob"'
    STRATA_AGENT=bob try 0 done 1 --token "$token"
}

@test "the late end of a worker that was stopped beyond its term is refused" {
    "$STRATA" add "the task" >/dev/null
    "$STRATA" work --term 600ms --wait 0s -- sh -c 'echo $$ >pid; until [ -e end ]; do sleep 0.02; done; echo late' \
        2>err 3>&- &
    wrapper=$!
    eventually test -s pid
    kill -STOP $wrapper
    STRATA_AGENT=bob try 0 next --wait 5s --json
    token=$(jq -r .data.token <<<"$output")
    touch end # the command has done its work; only then its wrapper goes on
    eventually grep -q 'State:.*Z' "/proc/$(cat pid)/status"
    kill -CONT $wrapper
    wait $wrapper || true
    grep -q "1 was lost" err
    STRATA_AGENT=bob try 0 done 1 --result "by bob" --token "$token"
    try 0 show 1 --json
    json '.data.state == "done" and .data.result == "by bob"'
}

@test "a worker that was killed: its command is ended, and only then somebody else has the task" {
    "$STRATA" add "the task" >/dev/null
    "$STRATA" work --term 60s --wait 0s -- sh -c \
        'exec >out 2>&1; trap "until [ -e go ]; do sleep 0.05; done; echo tidy >end; exit" TERM
        echo $$ >pid; while :; do sleep 0.05; done' 3>&- &
    wrapper=$!
    eventually test -s pid
    kill -9 $wrapper
    wait $wrapper || true
    STRATA_AGENT=bob try 5 next # it is still tidying up
    touch go
    STRATA_AGENT=bob try 0 next --wait 10s
    gone "$(cat pid)"
    same "$(cat end)" tidy
}

@test "a worker that cannot renew ends its command before the term ends" {
    worker
    rm .strata/strong/coordinator # it does not decide any more: every renewal is refused
    SECONDS=0
    wait $wrapper || true
    [ "$SECONDS" -lt 4 ]
    [ ! -e "/proc/$(cat pid)" ]
}

@test "fence: is this the current token" {
    try 0 lock acquire db --ttl 20s
    token=$output
    try 0 fence db "$token"
    try 3 fence db 1000000
    has "$stderr" "the current token of db is $token (ann)"
    try 0 lock release db --token "$token"
    try 3 fence db "$token"
    has "$stderr" "held by nobody"
    try 2 fence db x
}

# --- reservations ---------------------------------------------------------------------------------

@test "reserve: overlapping patterns of two agents block, shared ones do not" {
    try 0 reserve 'src/**' --reason renaming
    token=$output
    STRATA_AGENT=bob try 5 reserve 'src/a/*.c'
    has "$stderr" 'src/** is reserved by ann: renaming'
    STRATA_AGENT=bob try 5 reserve '*/x.c' --shared
    STRATA_AGENT=bob try 0 reserve 'docs/*' --shared
    try 0 reserve 'docs/a*' --shared
    STRATA_AGENT=cem try 5 reserve 'docs/a.md'
    try 0 reserve 'src/**' --ttl 2h # the same again: its term begins anew
    same "$output" "$token"
    try 0 reserve list --json
    json 'length > 0 and (.data | length == 3) and (.data | all(.here))'
    json '[.data[] | select(.pattern == "src/**") | .reason] == ["renaming"]'
    try 0 reserve check src/deep/down.c
    has "$output" 'src/**: ann'
    STRATA_AGENT=bob try 3 reserve check src/deep/down.c
    STRATA_AGENT=bob try 0 reserve check docs/b.md
    STRATA_AGENT=bob try 0 reserve check elsewhere.c
    same "$output" ""
    try 3 reserve release 'src/**' --token 999
    try 0 reserve release 'src/**' --token "$token"
    STRATA_AGENT=bob try 0 reserve 'src/a/*.c'
    for bad in /etc ../x 'a//b' 'src/**x' ''; do try 2 reserve "$bad"; done
    try 2 reserve "$(printf 'k%.0s' {1..238})"
    try 0 reserve "$(printf 'k%.0s' {1..237})"
    try 2 reserve release 'src/**'
}

@test "a reservation ends with its term" {
    try 0 reserve 'src/**' --ttl 3s
    STRATA_AGENT=bob try 5 reserve src/main.c
    eventually_ends 3 reserve check src/main.c --agent bob
    try 0 reserve list
    same "$output" ""
    STRATA_AGENT=bob try 0 reserve src/main.c
}

@test "another work tree has other files: only a warning" {
    cd "$BATS_TEST_TMPDIR"
    git init -q repo && cd repo
    git -c user.name=t -c user.email=t@t commit -q --allow-empty -m first
    git worktree add -q ../second
    "$STRATA" init >/dev/null
    try 0 reserve 'src/**'
    cd ../second
    STRATA_AGENT=bob try 0 reserve 'src/*.c'
    has "$stderr" 'ann has reserved src/** in another work tree'
    STRATA_AGENT=bob try 0 reserve check src/main.c
    has "$output" "in another work tree"
    STRATA_AGENT=cem try 5 reserve src/x.c
    cd ../repo/ && mkdir deep && cd deep
    STRATA_AGENT=cem try 5 reserve src/x.c # the same work tree from below its root
}

# --- agents ---------------------------------------------------------------------------------------

@test "register: a name once; a taken-over namesake is refused what it asks for" {
    try 0 agent register
    one=$output
    try 3 agent register
    has "$stderr" "ann is registered already"
    STRATA_INCARNATION=$one try 0 agent register # its own: begins the term anew
    same "$output" "$one"
    try 0 agent list --json
    json --argjson n "$one" '[.data.agents[] | select(.agent == "ann") | .incarnation] == [$n]'
    STRATA_INCARNATION=$one try 0 lock acquire db
    lock=$output
    try 0 agent register --force --json
    two=$(jq .data.incarnation <<<"$output")
    [ "$two" -gt "$one" ]
    STRATA_INCARNATION=$one try 3 agent retire
    STRATA_INCARNATION=$one try 3 lock renew db --token "$lock"
    STRATA_INCARNATION=$one try 0 lock release db --token "$lock" # what it gives back is taken
    STRATA_INCARNATION=$one try 113 once --key k -- sh -c "$effect"
    has "$stderr" "another ann has been registered since"
    STRATA_INCARNATION=$one try 3 lock acquire other
    STRATA_INCARNATION=$one try 3 reserve 'src/**'
    ran 0
    STRATA_INCARNATION=$two try 0 once --key k -- sh -c "$effect"
    STRATA_INCARNATION=$two try 0 agent retire
    try 1 agent retire
    try 0 agent list --json
    json '.data.agents | all(.incarnation == 0)'
    try 0 agent register --agent zoe
    try 3 agent register --agent zoe
    has "$stderr" "--force"
    try 0 agent list
    has "$output" "zoe: alive"
}

@test "status counts what waits for a person" {
    make_doubt d
    try 115 once --key p --needs-approval -- true
    try 0 status
    has "$output" "in doubt   1"
    has "$output" "to approve 1"
    try 0 status --json
    json '.data.operations_in_doubt == 1 and .data.operations_to_approve == 1'
}
