#!/usr/bin/env bats
# tasks.bats - tasks, hand-offs and messages from the outside. STRATA: the program.

load helpers

setup() {
    program_alone
    T="$(mktemp -d)"
    mkdir "$T/here"
    cd "$T/here"
    export HOME="$T" TMPDIR="$T" STRATA_AGENT=ann
    EFFECTS="$T/effects"
    : >"$EFFECTS"
    strata init --name here >/dev/null
}

teardown() {
    cd /
    rm -rf "$T"
}

add() {
    for title in "$@"; do strata add "$title" >/dev/null; done
}

field() { # ID FIELD: of a task, as JSON
    strata show "$1" --json | jq -c ".data.$2"
}

# a second copy, which does not decide
second_copy() {
    mkdir ../there
    strata init ../there --name there >/dev/null
    strata -C ../there merge-state . >/dev/null
}

@test "a word that means an end or a beginning elsewhere does not hold a task" {
    strata add build >/dev/null
    for word in closed completed in_progress ready; do
        run strata update 1 --state "$word"
        [ "$status" -eq 2 ]
        has "$output" "would hold it"
    done
    [ "$(strata show 1 --json | jq -r .data.state)" = ready ]
    strata create "another" >/dev/null
    strata close 2 >/dev/null
    [ "$(strata show 2 --json | jq -r .data.state)" = done ]
}

@test "add, ready, list, show: what waits for what" {
    same "$(strata add "build backend")" 1
    same "$(strata add "build frontend" --after 1 --priority 0)" 2
    same "$(strata add "both" --after 1,2)" 3
    try 0 ready --json
    json '.data | length == 1 and .[0].seq == 1 and .[0].state == "ready" and .[0].depends == []'
    try 0 list --blocked
    has "$output" "waits for 1 (ready), 2 (waiting)"
    try 0 list --json
    json '.data | map(.seq) == [1, 2, 3] and .[2].depends == [1, 2]'
    strata done 1 >/dev/null
    try 0 show 3
    has "$output" "after      1, 2"
    same "$(field 2 state)" '"ready"'
    try 0 list --dot
    has "$output" "digraph"
    try 1 show 77
    has "$stderr" "77"
    try 2 show seven
    try 1 add "x" --after 99
    has "$stderr" "99"
}

@test "help and man pages name the options of lists" {
    try 0 list --help
    has "$output" "--blocked"
    has "$output" "--tree"
    hasnt "$output" "--next"
    try 0 help --man list
    has "$output" 'blocked'
}

@test "add: agent, channel, priority, not before, key, parent, data" {
    strata add "later" --not-before 1h >/dev/null
    strata add "docs" --channel docs --priority 4 >/dev/null
    strata add "bob's" --agent bob --priority 0 >/dev/null
    same "$(strata add "nightly" --key nightly)" 4
    same "$(strata add "nightly" --key nightly 2>/dev/null)" 4
    echo payload >data.txt
    strata add "part" --parent 2 --data @data.txt >/dev/null
    same "$(field 1 state)" '"deferred"'
    same "$(strata ready --json | jq -c '[.data[].seq]')" '[3,4,5,2]'
    same "$(strata ready --agent ann --json | jq -c '[.data[].seq]')" '[4,5,2]'
    same "$(strata ready --channel docs --json | jq -c '[.data[].seq]')" '[2]'
    same "$(field 5 data)" '"payload"'
    try 0 list --tree
    has "$output" "  5"
    try 2 add "x" --priority 9
    try 2 add ""
    head -c 70000 /dev/zero | tr '\0' x >big.txt
    try 2 add "x" --data @big.txt
    has "$stderr" "65536"
    same "$(strata list --json | jq '.data | length')" 5
}

@test "next: JSON for scripts; why there is nothing" {
    try 5 next
    has "$stderr" "nothing ready: there is no open task"
    add one
    try 0 next --agent bob --json
    json '.data.seq == 1 and .data.title == "one" and .data.token == 1 and .data.checkpoint == null
        and (.data.lease_until | length) == 24 and .data.agent != "x"'
    strata add two --after 1 >/dev/null
    try 5 next
    has "$stderr" "1 is claimed by bob"
    has "$stderr" "1 more waits or is held"
    try 5 next --agent bob
    has "$stderr" "1 is claimed by bob (you)"
    has "$stderr" "go on with 1"
    try 5 next --wait 300ms --json
    try 5 claim 1
    has "$stderr" "claimed by bob"
    try 5 claim 1 --agent bob
    has "$stderr" "it is yours already"
    try 3 done 1 --agent bob --token 99
    has "$stderr" "never given out"
    try 2 add later --not-before yesterday
    has "$stderr" "2027-01-31T09:00:00Z"
    try 3 claim 2
    has "$stderr" "2 waits for 1 other"
    strata done 1 --agent bob >/dev/null
    try 0 next --wait 5s
    has "$output" "two"
}

@test "next --wait is woken by a new task" {
    (sleep 0.3; strata add "late" >/dev/null) &
    try 0 next --wait 20s --json
    json '.data.title == "late"'
    wait
}

@test "next: where others have all that is ready it waits, and does not look on and on" {
    add one
    # whose process lives: its claim does not lapse, however often somebody asks
    "$STRATA" work --agent bob -- sh -c "echo >>$EFFECTS; exec sleep 60" 2>/dev/null 3>&- &
    worker=$!
    eventually ran 1
    cat >"$T/wait.py" <<'EOF'
import resource, subprocess, sys

def cost(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.argv[1], *arguments], capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

once = max(cost("list") for _ in range(3))
waited = cost("next", "--agent", "cid", "--wait", "2s")
# Some three looks; without a pause they would be hundreds.
assert waited < 10 * once, f"{waited} s; one look {once} s"
EOF
    python3 "$T/wait.py" "$STRATA"
    kill -TERM $worker
    wait $worker || true
}

@test "checkpoint, done: of the holder only; the token says who" {
    add one two
    token=$(strata next --json | jq .data.token)
    echo half >half.txt
    strata checkpoint 1 --data @half.txt >/dev/null
    try 0 show 1 --json
    json '[.data.history[] | select(.attribute == "checkpoint") | .agent] == ["ann"]'
    try 3 done 1 --agent bob
    has "$stderr" "claimed by ann"
    strata release 1 >/dev/null
    try 0 next --agent bob --json
    json '.data.checkpoint == "half"'
    try 3 checkpoint 1 --token "$token" --data "late"
    has "$stderr" "not the current one"
    try 3 done 1 --token "$token" --result "late"
    try 3 fail 1 --token "$token" --reason "late" --retry-in 1h
    same "$(field 1 not_before)" null
    try 0 done 1 --agent bob --result "good" --next --json
    json '.data.seq == 2'
    same "$(field 1 result)" '"good"'
    try 3 done 1 --result "other"
    try 3 done 1 --token "$token"
}

@test "fail, --retry-in, the retry limit, cancel, --reopen" {
    add flaky
    strata add after --after 1 >/dev/null
    for i in 1 2 3 4; do
        strata claim 1 >/dev/null
        strata fail 1 --reason "no network" --retry-in 1ms >/dev/null
        eventually bash -c "'$STRATA' ready --json | jq -e '.data[0].seq == 1' >/dev/null"
    done
    strata next >/dev/null
    try 0 fail 1 --reason "no network" --retry-in 1ms
    same "$(field 1 state)" '"failed"'
    same "$(field 2 state)" '"waiting"'
    try 0 pending
    has "$output" "1: failed 5 times: no network  (flaky)"
    has "$stderr" "strata update N --reopen"
    try 0 pending --json
    json '[.data.tasks[] | [.seq, .state, .reason]] == [[1, "failed", "no network"]]'
    try 2 resolve 1
    has "$stderr" "strata update 1 --reopen"
    has "$stderr" "strata cancel 1"
    try 2 resolve 1 --take latest
    has "$stderr" "strata update 1 --reopen"
    try 2 resolve 2
    has "$stderr" "2 is a task"
    try 1 resolve 7
    strata update 1 --reopen >/dev/null
    same "$(field 1 state)" '"ready"'
    # It is said in the ledger's copy, and with what is taken away; not once more.
    same "$(strata log --limit 0 | grep -c "opened again")" 2
    try 0 pending
    same "$output" "nothing is pending"
    strata done 1 >/dev/null
    strata update 1 --state open >/dev/null
    try 0 next --json
    json '.data.seq == 1'
    strata release 1 >/dev/null
    strata cancel 1 --reason "by hand" >/dev/null
    same "$(field 1 state)" '"cancelled"'
    same "$(field 2 state)" '"ready"'
    try 3 done 1
    has "$stderr" "cancelled"
}

@test "dep: cycles are refused and printed; parents; nothing of itself" {
    add one two three
    strata dep add 2 1 >/dev/null
    strata dep add 3 2 >/dev/null
    try 3 dep add 1 3
    has "$stderr" "1 -> 3 -> 2 -> 1"
    try 3 dep add 1 1
    has "$stderr" "itself"
    try 1 dep add 1 99
    try 0 dep add 3 2 --json
    json '.data.changed == false'
    strata dep remove 3 2 >/dev/null
    same "$(field 3 state)" '"ready"'
    same "$(strata dep add 3 1 --kind parent)" "3 is a part of 1"
    same "$(field 3 parent)" 1
    try 2 dep add 3 1 --kind friend
    same "$(field 1 state)" '"ready"'
}

@test "two copies: numbers apart, one cycle together, hand-offs and reports without who decides" {
    add one two
    second_copy
    id=$(strata -C ../there add "made there" --after 1)
    [[ $id == 3@there-* ]]
    same "$(strata add "made here")" 3
    strata -C ../there dep add 1 2 >/dev/null
    strata dep add 2 1 >/dev/null
    strata add "for bob" --agent bob@there >/dev/null
    strata -C ../there merge-state . >/dev/null
    strata merge-state ../there >/dev/null
    try 0 show 3@there
    has "$output" "made there"
    try 0 list --blocked
    has "$output" "1 -> 2 -> 1"
    # The cycle holds up its members only.
    has "$(strata ready)" "made here"
    try 6 -C ../there next --agent cid
    try 6 -C ../there claim 3
    try 0 -C ../there next --agent bob --json
    json '.data.title == "for bob" and .data.token == null or .data.token == 0'
    strata -C ../there done 4 --agent bob --result "by bob" >/dev/null
    try 0 -C ../there done 3 --agent bob --json
    json '.data.accepted == false'
    same "$(strata show 3 --json | jq -r .data.state)" ready
    strata merge-state ../there >/dev/null
    same "$(field 3 state)" '"done"'
    same "$(field 4 result)" '"by bob"'
}

@test "a report is judged by who has the task now, and by how often it was tried" {
    add one two
    second_copy
    strata -C ../there done 1 --agent bob --result "by bob" >/dev/null
    strata claim 1 --agent cid >/dev/null
    for _ in 1 2 3 4; do
        strata claim 2 >/dev/null
        strata fail 2 --retry-in 0s --reason "no disk" >/dev/null
    done
    token=$(strata claim 2 --agent bob --json | jq .data.token)
    # That copy has not heard of the four times before.
    strata -C ../there fail 2 --agent bob --token "$token" --retry-in 0s --reason "no network" >/dev/null
    strata merge-state ../there >/dev/null
    try 0 show 1 --json
    json '.data.state == "claimed" and .data.holder == "cid"'
    has "$(strata show 1)" "refused = 1 was claimed meanwhile"
    # It is given up with the fifth time, wherever that was.
    same "$(field 2 state)" '"failed"'
    same "$(field 2 reason)" '"no network"'
    has "$(strata log --ops)" "bob: finished \"#2\" as failed"
    has "$(strata pending)" "failed 5 times"
}

@test "work: the task on standard input and in the environment; results, failures, checkpoints" {
    add "good one" "bad one"
    cat >solve.sh <<'END'
jq -r .title
echo "$STRATA_TASK/$STRATA_FENCE/$STRATA_TASK_TITLE"
echo "step of $STRATA_TASK" >"$STRATA_CHECKPOINT"
[ "$STRATA_TASK" != 2 ]
END
    try 0 work --wait 0s -- sh solve.sh
    has "$stderr" "2 tasks, 1 of them failed"
    same "$(field 1 state)" '"done"'
    same "$(field 1 result)" '"good one\n1/1/good one"'
    same "$(field 2 state)" '"failed"'
    same "$(field 2 reason)" '"exit status 1"'
    same "$(field 2 checkpoint)" '"step of 2\n"'
    strata update 2 --reopen >/dev/null
    try 0 work --wait 0s --retry-in 1h -- false
    same "$(field 2 state)" '"deferred"'
    try 112 work --wait 0s -- ./no-such-program
    # What is for this agent on this copy needs no claim, and keeps its checkpoints too.
    strata add "mine" --agent ann@here >/dev/null
    try 0 work --wait 0s -- sh -c 'echo kept >"$STRATA_CHECKPOINT"'
    same "$(field 3 state)" '"done"'
    same "$(field 3 checkpoint)" '"kept\n"'
}

@test "work: the command gets its own arguments, whatever stood before it" {
    add one
    try 0 work --agent bob --wait 0s -- echo hi
    same "$(field 1 result)" '"hi"'
}

@test "work: a command that thinks longer than the term keeps its task" {
    add "think"
    "$STRATA" work --wait 0s --term 1s -- sh -c \
        "while [ ! -e enough ]; do sleep 0.05; done; echo thought" 2>/dev/null 3>&- &
    worker=$!
    eventually bash -c "[ \"\$('$STRATA' show 1 --json | jq -r .data.state)\" = claimed ]"
    for i in 1 2 3; do
        sleep 0.7
        try 5 claim 1 --agent bob
    done
    touch enough
    wait $worker
    same "$(field 1 result)" '"thought"'
}

@test "work: SIGTERM gives the task back; a killed worker's is free, with its checkpoint" {
    add "long"
    "$STRATA" work -- sh -c "echo half >\$STRATA_CHECKPOINT; echo >>$EFFECTS; exec sleep 60" \
        2>/dev/null 3>&- &
    worker=$!
    eventually ran 1
    kill -TERM $worker
    wait $worker || true
    same "$(field 1 state)" '"ready"'
    same "$(field 1 checkpoint)" '"half\n"'
    "$STRATA" work --agent bob -- sh -c "cat \$STRATA_CHECKPOINT >>$EFFECTS; exec sleep 60" \
        2>/dev/null 3>&- &
    worker=$!
    eventually ran 2
    has "$(cat "$EFFECTS")" half
    child=$(pgrep -P $worker)
    kill -KILL $worker $child
    wait $worker || true
    eventually bash -c "'$STRATA' next --agent cid >/dev/null 2>&1"
    same "$(field 1 checkpoint)" '"half\n"'
    try 0 done 1 --agent cid
}

@test "send, inbox: to whom, how long, once" {
    try 1 send bob "see 143"
    has "$stderr" "--create"
    same "$(strata send bob "see 143" --create)" 1
    try 0 inbox --agent bob --json
    json '.data | length == 1 and .[0].seq == 1 and .[0].from == "ann" and .[0].text == "see 143"'
    strata send bob "and 144" >/dev/null
    try 0 inbox 1 --agent bob --ack
    # Who took a task, or only wrote something, can be written to.
    add task
    try 1 send cid hello
    strata next --agent cid >/dev/null
    try 0 send cid hello
    try 1 send zoe hello
    strata update 3 --priority 1 --agent zoe >/dev/null
    try 1 send zoe hello
    STRATA_AGENT=zoe strata update 3 --priority 0 >/dev/null
    try 0 send zoe hello
    strata cancel 3 >/dev/null
    try 0 inbox --agent bob --ack
    has "$output" "and 144"
    hasnt "$output" "see 143"
    try 5 inbox --agent bob --wait 300ms
    (sleep 0.3; strata send bob "late" >/dev/null) &
    try 0 inbox --agent bob --wait 20s
    has "$output" "late"
    wait
    try 1 inbox 999 --agent bob --ack
    has "$stderr" "0 of 1 wait for bob"
    try 2 send bob ""
    try 2 send "no body" "x"
    try 0 ready --json
    json '.data == []'
}

@test "log --limit counts lines, of which a command writes one for a task; with --json changes" {
    strata add one --channel build --priority 1 --data "a lot" >/dev/null
    strata add two --channel build >/dev/null
    strata fact set api port 80 >/dev/null
    try 0 log --limit 2
    same "$(printf '%s\n' "$output" | grep -c '^[0-9]')" 2
    has "$output" "#2 added: two"
    has "$output" "api port = 80"
    try 0 log --limit 3
    has "$output" "#1 added: one"
    try 0 log --since 0 --limit 1
    has "$output" "#1 added: one"
    hasnt "$output" "two"
    next=$(printf "%s\n" "$stderr" | sed -n "s/.*strata log --since //p")
    try 0 log --since "$next" --limit 1
    has "$output" "#2 added: two"
    hasnt "$output" "#1"
    try 0 log --limit 2 --json
    json '.data.events | length == 2'
}

@test "log --follow shows what happens to tasks, from a cursor" {
    add one
    cursor=$(strata log --limit 0 --json | jq .data.next)
    timeout 30 "$STRATA" log --follow --json --since "$cursor" >followed 3>&- &
    reader=$!
    strata next >/dev/null
    strata done 1 --result fine >/dev/null
    eventually grep -q '"value":"fine"' followed
    kill $reader
    wait $reader || true
    hasnt "$(cat followed)" '"title"'
}

@test "agent list shows who has a task, with or without a sign of life" {
    add one two
    strata next --agent bob >/dev/null
    try 0 agent list
    has "$output" "bob: alive, last heard of"
    has "$output" "has 1 task"
    try 0 agent list --json
    json '.data.agents | length == 1 and .[0].agent == "bob" and .[0].tasks == 1 and .[0].age_ms < 60000'
    strata release 1 --agent bob >/dev/null
    same "$(strata agent list)" ""
}

@test "an import says what nobody will get: what a word holds" {
    cat >issues.jsonl <<'END'
{"id":"a-1","title":"one","status":"in_progress"}
{"id":"a-2","title":"two","status":"open"}
{"id":"a-3","title":"three","status":"closed"}
END
    try 0 import issues.jsonl --format beads
    has "$stderr" '1 tasks are held by a word as `in_progress`, and by nobody'
    same "$(strata ready --json | jq -c '[.data[].seq]')" '[2]'
    has "$(strata list)" "in_progress"
    strata update 1 --state open >/dev/null
    same "$(strata ready --json | jq -c '[.data[].seq]')" '[1,2]'
    try 0 import issues.jsonl --format beads --dry-run --json
    json '.data.held == 1'
}

@test "import of a list with boxes; doing it again changes nothing" {
    cat >QUEUE.md <<'END'
# Queue

- [ ] first thing
- [x] second thing
- [ ] third thing
END
    try 0 import QUEUE.md
    has "$output" "3 tasks added"
    same "$(strata ready --json | jq -c '[.data[].title]')" '["first thing","third thing"]'
    try 0 import QUEUE.md
    has "$output" "3 as before"
}

@test "what an import has left to do costs in proportion to it" {
    cat >"$T/cost.py" <<'EOF'
import json, resource, subprocess, sys
strata, count = sys.argv[1], 8000

def cost(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([strata, *arguments], check=True, capture_output=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

with open("issues.jsonl", "w") as f:
    for i in range(count):
        issue = {"id": f"a-{i:04}", "title": f"task {i}", "status": "closed" if i % 4 else "open",
                 "issue_type": "task"}
        if i:
            issue["dependencies"] = [{"issue_id": issue["id"], "type": "blocks",
                                      "depends_on_id": f"a-{i * 7 // 8:04}"}]
        f.write(json.dumps(issue) + "\n")
written = cost("import", "--format", "beads", "issues.jsonl")
applied = cost("ready", "--limit", "1")
# In proportion it is some 4 times, with a look through all that was changed for each task some 100.
assert applied < 12 * written, f"{applied} s after {written} s"
EOF
    python3 "$T/cost.py" "$STRATA"
}
