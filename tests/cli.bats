#!/usr/bin/env bats
# cli.bats - the program `strata` as its users see it: answers, exit statuses, JSON, bad input.
#
#   STRATA=build/src/strata bats tests/cli.bats
#
# Every test has a directory and a workspace of its own.

load helpers

setup() {
    program_alone
    in_workspace
}

error_json() {
    jq -e "$@" <<<"$stderr" >/dev/null || { echo "not so: $* in $stderr"; return 1; }
}

# two workspaces a and b that know each other's records; the current directory has them
two_copies() {
    cd "$BATS_TEST_TMPDIR" # beside the workspace of the test, not in it
    mkdir a b
    (cd a && strata init --name a && strata fact set shared key 1) >/dev/null
    (cd b && strata init --name b) >/dev/null
    strata --dir b merge-state a --adopt >/dev/null
    strata --dir a merge-state b --adopt >/dev/null
}

# --- set up ---------------------------------------------------------------------------------------

@test "init says where the state is, and is harmless the second time" {
    mkdir ../new && cd ../new && git init -q .
    try 0 init
    has "$output" ".git/strata"
    has "$output" "no file of yours was changed"
    same "$(git status --porcelain)" ""
    strata fact set api port 1 >/dev/null
    try 0 init --json
    json '.schema_version == 1 and .data.created == false'
    same "$(strata fact get api port)" 1
}

@test "init --dry-run makes nothing" {
    mkdir ../new
    try 0 init --dry-run ../new
    has "$output" "would make a workspace"
    has "$output" "nothing was done"
    same "$(ls -A ../new)" ""
}

@test "init DIR makes the workspace there, with the name" {
    mkdir ../new
    try 0 init ../new --name laptop --json
    json '.data.name == "laptop" and .data.created == true and (.data.replica | length == 16)'
    [ -d ../new/.strata ]
    try 0 init ../new --name desktop
    has "$stderr" "it keeps its name laptop"
    mkdir ../new/below
    try 0 init ../new/below # belongs to a workspace already: no second one is made in silence
    has "$output" "is there already"
    has "$output" "new/.strata"
}

@test "without a workspace: exit 1 and what to do" {
    cd / # no parent of the test's directory may have one
    try 1 status --dir /
    has "$stderr" "strata init"
    try 1 status --dir / --json
    error_json '.schema_version == 1 and .error.code == "no_workspace"'
}

@test "uninit keeps the data" {
    strata fact set api port 1 >/dev/null
    try 0 uninit
    has "$output" "nothing outside of the state directory was wired"
    has "$output" "your data stays in"
    same "$(strata fact get api port)" 1
}

@test "the state is found from below, by --dir, STRATA_DIR and STRATA_STATE_DIR" {
    strata fact set api port 1 >/dev/null
    mkdir -p deep/er
    same "$(cd deep/er && strata fact get api port)" 1
    same "$(cd / && strata fact get api port --dir "$OLDPWD")" 1
    here=$PWD
    same "$(cd / && STRATA_DIR=$here strata fact get api port)" 1
    same "$(cd / && STRATA_STATE_DIR=$here/.strata strata fact get api port)" 1
    same "$(cd / && strata --state-dir "$here/.strata" fact get api port)" 1
}

# --- facts ------------------------------------------------------------------------------------------

@test "fact set tells what it replaced, get prints the value alone" {
    try 0 fact set api port 8080
    same "$output" "api port = 8080"
    same "$stderr" ""
    try 0 fact set api port 9090
    has "$output" "api port = 9090 (replaced 8080, ann, "
    same "$stderr" ""
    try 0 fact get api port
    same "$output" 9090
    same "$stderr" ""
}

@test "a write over what the agent has not read is told on standard error" {
    strata fact set api port 1 >/dev/null
    strata fact get api port --agent bob >/dev/null
    strata fact set api port 2 >/dev/null
    try 0 fact set api port 3 --agent bob
    has "$output" "(replaced 2, ann, "
    has "$stderr" "strata: warning: you had not read"
    try 0 pending --unseen
    has "$output" "was 2 (ann"
    has "$output" "now 3 (bob"
    id=${output%%:*}
    try 0 resolve "$id" --seen
    try 0 pending --unseen
    same "$output" "nothing was overwritten unseen"
    try 1 resolve "$id" --seen
}

@test "fact set --json" {
    strata fact set api port 8080 >/dev/null
    try 0 fact set api port 9090 --json
    json '.data.entity == "api" and .data.attribute == "port" and .data.value == "9090"'
    json '.data.replaced.value == "8080" and .data.replaced.agent == "ann"'
    json '.data.unseen == false and .data.replaced_count == 1 and .data.link == false'
    json '.data.time | test("^20[0-9-]+T[0-9:]+\\.[0-9]{3}Z$")'
}

@test "--quiet prints only the id" {
    try 0 fact set api port 1 --quiet
    [[ $output =~ ^[0-9a-f]{16}-[0-9a-f]{16}-[0-9]+ ]]
    same "$stderr" ""
}

@test "--expect writes only over the expected value" {
    strata fact set api port 8080 --agent bob >/dev/null
    try 3 fact set api port 1 --expect 7070
    has "$stderr" "api port is 8080 now (bob, "
    has "$stderr" "nothing was written"
    same "$output" ""
    try 3 fact set api port 1 --expect-absent --json
    error_json '.error.code == "conflict" and (.error.message | contains("8080"))'
    try 0 fact set api port 1 --expect 8080
    same "$(strata fact get api port)" 1
    try 3 fact set api host x --expect y
    has "$stderr" "api host has no value now"
    try 0 fact set api host x --expect-absent
    try 3 fact unset api host --expect y
    try 0 fact unset api host --expect x
    try 1 fact get api host
    try 2 fact set api host x --expect y --expect-absent
}

@test "members: add, remove, get one per line" {
    try 0 fact add api tag red
    same "$output" "api tag has red"
    try 0 fact add api tag red
    has "$output" "(it had it already)"
    strata fact add api tag blue >/dev/null
    same "$(strata fact get api tag | sort | tr '\n' ' ')" "blue red "
    try 0 fact remove api tag red
    same "$output" "api tag no longer has red"
    same "$(strata fact get api tag)" blue
    try 0 fact rm api tag red
    has "$output" "(it did not have it)"
    try 0 fact get api tag --json
    json '.data.present and .data.value == null and .data.items[0].kind == "member"'
}

@test "fact get of what is not there: exit 1" {
    try 1 fact get api port
    has "$stderr" "api port has no value"
    try 1 fact get api port --json
    error_json '.error.code == "not_found"'
    same "$output" ""
}

@test "fact unset: one attribute, the whole entity, nothing" {
    strata fact set api port 1 >/dev/null
    strata fact set api host x >/dev/null
    strata fact add api tag red >/dev/null
    strata fact add api tag blue >/dev/null
    try 0 fact unset api port
    has "$output" "api port unset (replaced 1, ann, "
    try 1 fact unset api port
    has "$stderr" "nothing was written"
    try 0 fact unset api --json
    json '.data.written | map(.kind) | sort == ["remove", "remove", "unset"]'
    json '.data.written | map(.id | sub("\\.[0-9]+$"; "")) | unique | length == 1'
    same "$(strata fact list api)" ""
    has "$(strata fact list api --all)" "api port has no value (ann, "
    try 0 fact set api port 2
    has "$output" "api port = 2 (was unset, ann, "
}

@test "links are shown and kept" {
    try 0 fact set api owner bob --link --json
    json '.data.link == true'
    same "$(strata fact get api owner)" bob
    has "$(strata fact list api)" "api owner = -> bob (ann, "
}

@test "fact list: filters and pages" {
    for i in 1 2 3 4 5; do strata fact set "e$i" a/b "$i" --no-flush >/dev/null; done
    strata fact set e1 c x --agent bob >/dev/null
    try 0 fact list --limit 2
    same "$(wc -l <<<"$output")" 2
    has "$stderr" "there is more; go on with: --after 'e1/c'"
    try 0 fact list --limit 2 --after e1/c
    same "$(cut -d' ' -f1 <<<"$output" | tr '\n' ' ')" "e2 e3 "
    has "$stderr" "--after 'e3/a%2Fb'"
    try 0 fact list --after e3/a%2Fb
    same "$(cut -d' ' -f1 <<<"$output" | tr '\n' ' ')" "e4 e5 "
    same "$stderr" ""
    same "$(strata fact ls e1 --attribute c | cut -d '(' -f 1)" "$(strata fact list --author bob | cut -d '(' -f 1)"
    try 0 fact list --limit 1 --json
    json '.data.more == true and .data.next == "e1/a%2Fb" and (.data.facts | length == 1)'
    try 0 fact list --json --limit 0
    json '.data.more == false and .data.next == null and (.data.facts | length == 6)'
    json '.data.facts[0].items[0].replica == "desk"'
    same "$(strata fact list --until 2020-01-01)" ""
    same "$(strata fact list --since 1h | wc -l)" 6
    try 2 fact list --after nothing
}

@test "fact list: tasks, messages and tracked files only where one is named" {
    local name
    for name in '!' '#' '#:' file 'file;' zz; do strata fact set "$name" a 1 --no-flush >/dev/null; done
    strata add "a task" >/dev/null
    echo text >doc.md && strata track doc.md >/dev/null
    same "$(strata fact list | cut -d' ' -f1 | tr -d '"' | xargs)" '! # #: file file; zz'
    same "$(strata fact list --as-of 0s | cut -d' ' -f1 | tr -d '"' | xargs)" '! # #: file file; zz'
    same "$(strata fact list --limit 2 --after '#/a' 2>/dev/null | cut -d' ' -f1 | xargs)" '#: file'
    has "$(strata fact list file:doc.md)" 'file:doc.md text = text'
    has "$(strata fact list '#1')" 'title = a task'
}

@test "--as-of shows the state of then" {
    strata fact set api port 1 >/dev/null
    sleep 0.05
    then=$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)
    sleep 0.05
    strata fact set api port 2 >/dev/null
    same "$(strata fact get api port --as-of "$then")" 1
    has "$(strata fact list --as-of "$then")" "api port = 1"
    same "$(strata fact get api port)" 2
    try 1 fact get api port --as-of 2020-01-01
}

@test "names that could mislead are quoted in listings" {
    strata fact set "my api" "a=b" "line 1
line 2" >/dev/null
    has "$(strata fact list)" '"my api" "a=b" = line 1\nline 2 (ann, '
    same "$(strata fact get "my api" "a=b" | wc -l)" 2
}

@test "history, newest first" {
    strata fact set api port 1 >/dev/null
    strata fact set api port 2 >/dev/null
    strata fact unset api port >/dev/null
    try 0 history api port
    same "$(sed 's/ (.*//' <<<"$output" | tr '\n' ';')" "api port unset;api port = 2;api port = 1;"
    has "${output%%$'\n'*}" ", current)"
    try 0 fact history api --limit 1
    has "$stderr" "there is more"
    try 0 history api --json
    json '.data.events | map(.kind) == ["unset", "set", "set"]'
    json '.data.events | map(.current) == [true, false, false]'
    try 0 history nobody
    same "$output" ""
}

@test "search finds all words" {
    strata fact set api note "the port is open" >/dev/null
    strata fact set db note "the port is closed" >/dev/null
    has "$(strata search port open)" "api note = the port is open"
    same "$(strata search port open | wc -l)" 1
    same "$(strata fact search port | wc -l)" 2
    try 0 search nowhere --json
    json '.data.matches == [] and .data.more == false'
    try 0 search port --limit 1
    has "$stderr" "there is more"
}

# --- counters, agents ----------------------------------------------------------------------------------

@test "count prints the number alone" {
    try 0 count builds
    same "$output" 0
    has "$stderr" "never counted"
    try 0 count builds +5
    same "$output" 5
    try 0 count builds -7
    same "$output" -2
    try 0 count builds
    same "$output" -2
    same "$stderr" ""
    try 0 count builds +1 --json
    json '.data.name == "builds" and .data.total == -1'
    strata count other +1 >/dev/null
    same "$(strata count | tr '\n' ';')" "builds = -1;other = 1;"
    try 0 count --json
    json '.data.counters == {"builds": -1, "other": 1}'
    try 2 count builds 5
    has "$stderr" "+N or -N"
    try 2 count builds +x
    try 2 count builds +99999999999999999999
    try 2 count builds +9007199254740992
    has "$stderr" 9007199254740991
    same "$(strata count builds)" -1
}

@test "beat and agent list" {
    try 0 beat "reviewing #12"
    same "$output" "ann is alive: reviewing #12"
    strata beat --agent bob >/dev/null
    try 0 agent list
    has "$output" "ann on desk: alive"
    has "$output" "reviewing #12 (said"
    has "$output" "bob on desk: alive"
    try 0 agents --json
    json '.data.agents | map(.agent) | sort == ["ann", "bob"]'
    json '.data.agents[0].state == "alive" and (.data.agents[0].beat_at | test("Z$"))'
}

@test "the agent is --agent, else STRATA_AGENT, else the directory's name" {
    who() { strata history api port --json | jq -r '.data.events[0].agent'; }
    strata fact set api port 1 --agent cleo >/dev/null
    same "$(who)" cleo
    strata fact set api port 2 >/dev/null
    same "$(who)" ann
    mkdir below
    (cd below && STRATA_AGENT= strata fact set api port 3 >/dev/null)
    same "$(who)" work
    try 2 fact set api port 4 --agent "a b"
    has "$stderr" "no name for an agent"
    try 2 fact set api port 4 --agent ../x
    STRATA_AGENT=-x try 2 beat
    has "$stderr" "STRATA_AGENT"
}

@test "beat without a usable name says what to give" {
    mkdir "$BATS_TEST_TMPDIR/bad name"
    cd "$BATS_TEST_TMPDIR/bad name"
    strata init >/dev/null
    unset STRATA_AGENT
    try 2 beat
    has "$stderr" "--agent NAME"
    try 0 fact set api port 1
}

# --- log, status, doctor --------------------------------------------------------------------------------

@test "log: the last, from a point, as JSON" {
    for i in 1 2 3 4 5; do strata fact set api port $i --no-flush >/dev/null; done
    strata beat busy >/dev/null
    try 0 log --limit 2
    has "${lines[0]}" "ann on desk: api port = 5"
    has "${lines[1]}" "ann on desk: status: busy"
    has "$stderr" "there is more before"
    try 0 log --limit 0
    same "$(wc -l <<<"$output")" 6
    cursor=${lines[1]%% *}
    try 0 log --since "$cursor" --limit 2
    has "${lines[0]}" "api port = 3"
    has "$stderr" "go on with: strata log --since"
    next=${stderr##* }
    try 0 log --since "$next"
    has "${lines[0]}" "api port = 5"
    same "$(wc -l <<<"$output")" 2
    strata fact set pair a 1 >/dev/null && strata fact set pair b 2 >/dev/null
    strata fact unset pair >/dev/null # one record of two operations
    end=$(strata log --json | jq .data.next)
    has "$(strata log --since "$((end - 2))" --limit 1)" "pair a unset"
    has "$(strata log --since "$((end - 1))")" "pair b unset"
    try 0 log --json --limit 6 --since 0
    json '.data.more == true'
    json '.data.events | length == 6'
    json '.data.events[5].kind == "beat" and .data.events[5].status == "busy"'
    try 0 log --since "$end" --json
    json '.data.events == [] and .data.more == false'
    try 2 log --since yesterday
}

@test "log --follow --json streams one object per line, SIGINT ends it with 130" {
    strata fact set api port 1 >/dev/null
    timeout -s INT --preserve-status 10 "$STRATA" log --follow --json >out 2>err &
    pid=$!
    for i in $(seq 50); do [ -s out ] && break; sleep 0.1; done
    strata fact set api port 2 >/dev/null
    for i in $(seq 50); do [ "$(wc -l <out)" -ge 2 ] && break; sleep 0.1; done
    kill -INT "$pid" 2>/dev/null || true
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" || true
    same "$(jq -r .value out | tr '\n' ' ')" "1 2 "
    same "$(cat err)" ""
    run timeout -s INT --preserve-status 0.5 "$STRATA" log --follow
    same "$status" 130
}

@test "a reader that leaves early ends the program quietly" {
    for i in $(seq 40); do strata fact set "entity-$i" note "$(printf '%0400d' "$i")" --no-flush; done >/dev/null
    run --separate-stderr bash -c '"$1" fact list --limit 0 | head -n 1' - "$STRATA"
    same "$stderr" ""
    has "$output" "entity-1 note"
    run --separate-stderr bash -c '"$1" fact list >/dev/full' - "$STRATA"
    same "$status" 6
    has "$stderr" "cannot write the answer"
}

@test "status for people and programs" {
    strata fact set api port 1 >/dev/null
    try 0 status
    has "$output" "pending    0"
    has "$output" "desk"
    try 0 status --json
    json '.schema_version == 1 and .data.pending == 0 and .data.unseen == 0'
    json '.data.replica | test("^[0-9a-f]{16}$")'
    json '.data.digest | test("^[0-9a-f]{32}$")'
    json '.data.records >= 1 and .data.log_bytes > 0 and .data.read_only == false'
    json '.data.replicas | length == 1 and .[0].self and .[0].name == "desk"'
    json '.data.agent == "ann"'
}

@test "doctor finds a healthy workspace healthy" {
    strata fact set api port 1 >/dev/null
    try 0 doctor
    has "$output" "the workspace is in order"
    try 0 doctor --fix --json
    json '.data.healthy == true and (.data.findings | type == "array")'
    same "$(strata fact get api port)" 1
}

@test "doctor misses the ledger, and says what brings it back" {
    two_copies
    cd a
    rm -rf .strata/strong
    try 1 doctor
    has "$output" "the ledger of operations, locks and claims is gone: \`strata merge-state\` of a copy"
    strata merge-state ../b >/dev/null
    try 0 doctor
}

# --- two copies -----------------------------------------------------------------------------------------

@test "merge-state: an empty workspace becomes a copy of the other" {
    strata fact set db host x >/dev/null
    mkdir ../other
    (cd ../other && strata init --name other >/dev/null)
    try 0 merge-state "$PWD" --dir ../other
    has "$output" "took in"
    same "$(strata --dir ../other fact get db host)" x
    same "$(strata --dir ../other status --json | jq -r .data.workspace)" \
        "$(strata status --json | jq -r .data.workspace)"
}

@test "a state without a whole identity file says what to do, and is not founded anew" {
    strata fact set a b 1 >/dev/null
    cp .strata/identity ../kept
    truncate -s 10 .strata/identity
    for command in "fact get a b" status "doctor --fix" init; do
        try 1 $command
        has "$stderr" "identity is damaged"
        has "$stderr" "put the file back"
    done
    rm .strata/identity
    try 1 init
    has "$stderr" "has records, and no file"
    cp ../kept .strata/identity
    same "$(strata fact get a b)" 1
    echo '{"format":2,"workspace":"x"}' >.strata/identity
    try 1 init
    has "$stderr" "newer version"
}

@test "a lock that something else holds is named" {
    exec 9>>.strata/append.lock
    flock 9
    try 6 fact set a b 1 --wait 100ms
    has "$stderr" "nothing was recorded"
    has "$stderr" "fuser $PWD/.strata/append.lock"
    exec 9>&-
    try 0 fact set a b 1
}

@test "merge-state: two copies that decide nothing do not open their ledgers" {
    strata fact set a b 1 >/dev/null
    mkdir ../other
    try 0 init --dir ../other
    try 0 merge-state "$PWD" --dir ../other
    try 0 merge-state ../other
    strata fact set a b 2 >/dev/null
    try 0 merge-state "$PWD" --dir ../other
    [ ! -e .strata/strong/index.db ]
    strata once --key k -- true
    try 0 merge-state "$PWD" --dir ../other
    try 0 op show k --dir ../other
}

@test "merge-state: another workspace is refused, --adopt takes it in" {
    strata fact set api port 1 >/dev/null
    mkdir ../other
    (cd ../other && strata init --name other && strata fact set db host x) >/dev/null
    try 3 merge-state ../other
    has "$stderr" "--adopt"
    try 1 fact get db host
    try 0 merge-state ../other --adopt
    has "$output" "took in"
    same "$(strata fact get db host)" x
    try 0 merge-state ../other --adopt --json
    json '.data.records == 0 and .data.pending == 0'
    try 2 merge-state /nowhere
    has "$stderr" "/nowhere"
}

@test "merge-state --adopt: two workspaces with tasks are not mixed" {
    strata add "mine" >/dev/null
    mkdir ../other
    (cd ../other && strata init --name other && strata add "theirs") >/dev/null
    try 3 merge-state ../other --adopt
    has "$stderr" "both workspaces have tasks"
    has "$stderr" "strata export --format beads"
    same "$(strata show 1 --json | jq -r .data.title)" mine
    strata -C ../other export --format beads >issues.jsonl
    strata import --format beads issues.jsonl >/dev/null
    same "$(strata show 2 --json | jq -r .data.title)" theirs
}

@test "two copies show the same after merging both ways" {
    two_copies
    strata --dir a fact set api host from-a >/dev/null
    strata --dir b fact add api tag from-b >/dev/null
    strata --dir a count n +2 >/dev/null
    strata --dir b count n +3 >/dev/null
    strata --dir a merge-state b >/dev/null
    strata --dir b merge-state a >/dev/null
    strata --dir a merge-state b >/dev/null
    same "$(strata --dir a count n)" 5
    same "$(strata --dir a fact list --limit 0 | sed 's/ (.*//')" \
        "$(strata --dir b fact list --limit 0 | sed 's/ (.*//')"
    same "$(strata --dir a status --json | jq -r .data.digest)" \
        "$(strata --dir b status --json | jq -r .data.digest)"
}

conflict() {
    two_copies
    strata --dir a fact set api port 8080 --agent ann >/dev/null
    strata --dir b fact set api port 9090 --agent bob >/dev/null
    strata --dir a merge-state b >/dev/null
    cd a
}

@test "a conflict is pending; both values are kept; --take N settles it" {
    conflict
    try 0 status --json
    json '.data.pending == 1'
    try 0 fact get api port
    same "$output" 9090
    has "$stderr" "pending for api port: = 8080 (ann on a"
    has "$stderr" "strata pending"
    try 0 pending
    has "$output" "api port was written in 2 places at once"
    has "$output" "9090 (bob on b"
    has "$stderr" "strata resolve ID --take N"
    try 0 pending --json
    json '.data.pending | length == 1 and .[0].kind == "conflict" and (.[0].items | length == 2)'
    id=$(jq -r '.data.pending[0].id' <<<"$output")
    number=$(jq -r '.data.pending[0].items[] | select(.value == "8080") | .number' <<<"$output")
    try 3 fact set api port 1 --expect 9090
    has "$stderr" "pending"
    try 2 resolve "$id" --take 3
    try 0 resolve "$id" --take "$number"
    has "$output" "api port = 8080 (settled"
    same "$(strata pending)" "nothing is pending"
    same "$(strata fact get api port 2>&1)" 8080
    has "$(strata history api port)" "9090 (bob on b"
    try 1 resolve "$id" --take latest
    has "$stderr" "not pending"
}

@test "resolve --take latest, --value" {
    conflict
    id=$(strata pending --json | jq -r '.data.pending[0].id')
    try 0 resolve "$id" --take latest --json
    json '.data.entity == "api" and .data.attribute == "port" and .data.value == "9090"'
    cd .. && strata --dir b fact set x y 1 >/dev/null && strata --dir a fact set x y 2 >/dev/null
    cd a && strata merge-state ../b >/dev/null
    id=$(strata pending --json | jq -r '.data.pending[0].id')
    printf 'three\n' >value
    try 0 resolve "$id" --value @value
    has "$output" "x y = three (settled"
    same "$(strata fact get x y)" three
}

@test "resolve --all --take latest, also under one entity" {
    two_copies
    for e in one two; do
        strata --dir a fact set $e k 1 >/dev/null
        strata --dir b fact set $e k 2 >/dev/null
    done
    strata --dir a merge-state b >/dev/null
    cd a
    try 0 resolve --all --take latest --under one
    has "$output" "settled 1 "
    try 0 resolve --all --take latest --json
    json '.data.count == 1'
    same "$(strata fact get two k 2>&1)" 2
    same "$(strata pending)" "nothing is pending"
}

@test "status names a copy whose clock is ahead; what it wrote can be replaced, also by who is an hour behind" {
    two_copies
    echo 86400 >ahead
    STRATA_CLOCK_AHEAD=$PWD/ahead "$STRATA_MORTAL" --dir a fact set api port 1 >/dev/null
    strata --dir b merge-state a >/dev/null
    run "$STRATA" --dir b status
    same "$(grep -c 'clock is' <<<"$output")" 1
    grep 'clock is' <<<"$output" | grep -Eq '^copy +a .*; its clock is (1 d|24 h|23 h)[^,]* ahead of this one'
    strata --dir b status --json | jq -e '[.data.replicas[] | select(.ahead_ms > 86000000) | .name] == ["a"]'
    same "$(strata --dir b fact get api port)" 1
    echo -3600 >ahead
    STRATA_CLOCK_AHEAD=$PWD/ahead "$STRATA_MORTAL" --dir b fact set api port 2 >/dev/null
    strata --dir a merge-state b >/dev/null
    same "$(strata --dir a fact get api port)" 2
    strata --dir a status --json | jq -e ".data.pending == 0"
}

@test "resolve: what does not go together" {
    try 2 resolve
    try 2 resolve x
    try 2 resolve --all
    try 2 resolve --all --take 1
    try 2 resolve x --all --take latest
    try 2 resolve x --take 0
    try 2 resolve x --take one
    try 2 resolve x --take 1 --value y
    try 2 resolve x --take 1 --link
    try 2 resolve x --take 1 --under e
    try 1 resolve x --take 1
}

@test "equal values written in two places are no conflict" {
    two_copies
    strata --dir a fact set api port 1 >/dev/null
    strata --dir b fact set api port 1 >/dev/null
    strata --dir a merge-state b >/dev/null
    same "$(strata --dir a pending)" "nothing is pending"
}

# --- texts and bad input ------------------------------------------------------------------------------------

@test "a value is literal; @FILE and - read it, @@ is an @" {
    printf 'from a file\n' >value
    strata fact set e a @value >/dev/null
    same "$(strata fact get e a)" "from a file"
    printf 'from\nstdin' | strata fact set e a - >/dev/null
    same "$(strata fact get e a --json | jq -r .data.value)" $'from\nstdin'
    strata fact set e a @@value >/dev/null
    same "$(strata fact get e a)" @value
    strata fact set e a -- --link >/dev/null
    same "$(strata fact get e a)" --link
    strata fact set e a '- learned --this' >/dev/null
    same "$(strata fact get e a)" '- learned --this'
    strata fact set e a -5 >/dev/null
    same "$(strata fact get e a)" -5
    strata fact set e a '' >/dev/null
    same "$(strata fact get e a --json | jq -r .data.value)" ""
    strata fact set e a ' $HOME `x` \n "q"' >/dev/null
    same "$(strata fact get e a)" ' $HOME `x` \n "q"'
    printf busy | strata beat - >/dev/null
    has "$(strata agent list)" busy
    try 2 fact set e a @missing
    has "$stderr" "missing"
    try 2 fact set e a @.
    same "$(strata fact get e a)" ' $HOME `x` \n "q"'
}

@test "limits: the longest fits, one more is refused by name" {
    name=$(printf '%0255d' 0)
    strata fact set "$name" "$name" 1 >/dev/null
    same "$(strata fact get "$name" "$name")" 1
    try 2 fact set "${name}0" a 1
    has "$stderr" "ENTITY is 256 bytes long; the limit is 255"
    try 2 fact set e "${name}0" 1 --json
    error_json '.error.code == "limit" and (.error.message | contains("ATTRIBUTE"))'
    try 2 fact set "" a 1
    has "$stderr" "ENTITY is empty"
    head -c 65536 /dev/zero | tr '\0' x >value
    strata fact set e a @value >/dev/null
    same "$(strata fact get e a | wc -c)" 65537
    printf x >>value
    try 2 fact set e a @value
    has "$stderr" "VALUE is longer than the limit of 65536 bytes"
    try 2 fact set e b "$(cat value)"
    has "$stderr" "VALUE is longer than the limit of 65536 bytes"
    try 2 beat "$(head -c 1025 value)"
    has "$stderr" "STATUS"
    try 2 fact set e b 1 --agent "$(head -c 65 value)"
    has "$stderr" "--agent is 65 bytes long; the limit is 64"
    try 2 count "${name}0" +1
    has "$stderr" "NAME"
    same "$(strata fact list e --attribute b)" ""
}

@test "NUL, invalid UTF-8 and control characters are refused, nothing is written" {
    printf 'a\0b' >value
    try 2 fact set e a @value
    has "$stderr" "has a NUL byte at offset 1"
    try 2 fact set e a "$(printf 'x\xff')"
    try 2 fact set "$(printf 'x\xc3')" a 1 --json
    error_json '.error.code == "invalid"'
    try 2 fact set "$(printf 'x\xed\xa0\x80')" a 1
    try 2 fact set e "$(printf 'a\nb')" 1
    try 2 fact set e "$(printf 'a\x1b[31m')" 1
    [[ $stderr != *$'\x1b'* ]]
    try 2 fact set e a "$(printf 'a\x1b[31m')"
    try 2 fact set " e" a 1
    try 2 fact set "e " a 1
    try 2 count "$(printf 'n\tm')" +1
    try 2 beat "$(printf 'x\xff')"
    try 2 beat "$(printf 'a\nb')"
    has "$stderr" "one line"
    same "$(strata fact list)" ""
    same "$(strata log 2>/dev/null)" ""
}

@test "names that would lead elsewhere: refused where they could, text where not" {
    files() { find .. -name .strata -prune -o -name 'separate-stderr*' -o -print | sort; }
    before=$(files)
    for name in .. . ../x a/b -x .x 'a b' '*' '~'; do
        try 2 fact set e a 1 "--agent=$name" --json
        error_json '.error.code == "invalid" and (.error.hint | contains("letters, digits"))' ||
            error_json '.error.code == "usage"'
        has "$stderr" "--agent"
        try 2 init "--name=$name"
        has "$stderr" "replica's name"
    done
    same "$(strata fact list)" ""
    # An entity, an attribute, a counter is never a path.
    strata fact set ../../up "../a/b" "../../value" >/dev/null
    strata count ../../n +1 >/dev/null
    same "$(strata fact get ../../up "../a/b")" "../../value"
    same "$(strata count ../../n)" 1
    same "$(files)" "$before"
}

# --- calls ------------------------------------------------------------------------------------------------

@test "unknown commands and options: exit 2 and a suggestion" {
    try 2 statsu
    has "$stderr" 'did you mean `strata status`'
    try 2 fact st
    has "$stderr" 'did you mean `strata fact set`'
    try 2 set a b c
    has "$stderr" 'did you mean `strata fact set`'
    try 2 status --jsn
    has "$stderr" "did you mean --json?"
    has "$stderr" "strata help status"
    try 2 fact set a b c --expct 1
    has "$stderr" "did you mean --expect?"
    # Words of other programs and of the tools of the MCP server; no near word that means something else.
    for words in "task:list" "new:add" "start:claim" "complete:done" "once_begin:once" "remember:fact set"; do
        try 2 "${words%%:*}" x
        has "$stderr" "did you mean \`strata ${words#*:}\`"
    done
    try 2 log --tail 3
    [[ "$stderr" != *"did you mean"* ]]
    try 2 checkpoint 3 half
    has "$stderr" "strata checkpoint N --data TEXT"
    try 2 fail 3 because
    has "$stderr" "strata fail N --reason TEXT"
    try 2 xyzzyxyzzy --json
    error_json '.schema_version == 1 and .error.code == "usage" and .error.hint == "all commands: strata help"'
    try 2 fact
    try 2
}

@test "wrong numbers of arguments: exit 2 and the right call" {
    try 2 fact set api port
    has "$stderr" "ENTITY ATTRIBUTE VALUE"
    try 2 fact set api port two words
    has "$stderr" "quotes"
    try 2 status now
    try 2 fact get api
    try 2 search
    try 2 merge-state
    try 2 fact list --limit
    try 2 fact list --limit x
    try 2 fact list --limit -1
    try 2 fact list --since 2026-13-01
    try 2 fact list --since 2026-02-29
    try 2 fact list --limit 1 --limit 2
    try 2 status --json=yes
    try 2 status --wait soon
    try 0 status --wait 500ms
    try 0 --json status
    try 0 fact list --limit=1 --since 2024-02-29T23:59:59.5+01:00
}

@test "help: short, long with examples first, for every command" {
    try 0 --help
    has "$output" "Examples:"
    all=$output
    for command in init uninit status doctor beat "agent list" "fact set" "fact add" "fact remove" \
        "fact unset" "fact get" "fact list" history search count pending resolve log import export \
        merge-state completion help; do
        has "$all" "  $command "
        run --separate-stderr "$STRATA" $command -h
        same "$status" 0
        has "${lines[0]}" "usage: strata $command"
        run --separate-stderr "$STRATA" help $command
        same "$status" 0
        has "${lines[1]}" "Examples:"
        run --separate-stderr bash -c '"$1" help --man $2 | mandoc -Tlint -W warning' - "$STRATA" "$command"
        same "$output" ""
    done
    run --separate-stderr bash -c '"$1" help --man strata | mandoc -Tlint -W warning' - "$STRATA"
    same "$output" ""
    try 0 help fact
    has "$output" "fact set"
    try 2 help nonsense
    try 0 --version
    has "$output" "strata "
}

@test "help and man page of a command have all its options, and no other" {
    # What the completion script offers comes from the table, too, but another way.
    strata completion bash | awk -F "'" '/words\+=/ {
        n = split($4, words, " ")
        for (i = 1; i <= n; i++) if (words[i] ~ /^--/) print $2 ": " words[i]
    }' | sort -u >offered
    cut -d: -f1 offered | uniq >commands
    [ "$(wc -l <commands)" -gt 60 ]
    while read -r command; do
        strata help --man $command | sed -n "s/^\.It .*Fl Fl \([a-z-]*\).*/$command: --\1/p" >>man
        strata help $command | sed -n "/^Options:/,\$s/^  \(-., \|    \)--\([a-z-]*\).*/$command: --\2/p" >>help
    done <commands
    # The global ones are on the page of the program, and at the end of each help.
    strata help --man strata | sed -n 's/^\.It .*Fl Fl \([a-z-]*\).*/: --\1$/p' >global
    [ "$(wc -l <global)" -gt 5 ]
    grep -v -f global offered >own
    diff own <(grep -v -f global man | sort -u)
    diff own <(grep -v -f global help | sort -u)
}

@test "completion in bash" {
    try 2 completion tcsh
    strata completion bash >script
    complete() { # words: the last one is being typed
        bash -c 'source ./script; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _strata
                 echo "${COMPREPLY[*]}"' - - "$@"
    }
    same "$(complete strata stat)" status
    same "$(complete strata --agent fact fact uns)" unset
    same "$(complete strata import --format '')" "jsonl csv memory beads queue"
    same "$(complete strata fact set --expect-)" --expect-absent
    same "$(complete strata completion z)" zsh
    # `log' is a command, and `log verify' is one
    same "$(complete strata log v)" verify
    same "$(complete strata log --limit 5 --fol)" --follow
    same "$(complete strata log verify --fol)" ""
    same "$(complete strata lock deploy --tt)" --ttl
    same "$(complete strata resolve 1 --take '')" latest # and not the word for a number
    same "$(complete strata count x '')" "$(complete strata count '')"
    hasnt "$(complete strata count '')" "["
}

@test "completion in zsh" {
    command -v zsh >/dev/null || skip "no zsh here"
    strata completion zsh >script
    complete() { # zsh's own functions only print what they are given
        zsh -fc 'compdef() { }; compadd() { print -- $@; }; _files() { print FILES $@; }
                 _describe() { print -- ${(P)2%%:*}; }
                 source ./script; words=("$@"); CURRENT=$#; _strata' - "$@"
    }
    has " $(complete strata '') " " merge-state "
    same "$(complete strata fact '')" "set add remove unset get list"
    has "$(complete strata fact set -)" "--expect-absent"
    hasnt "$(complete strata fact get -)" "--expect-absent"
    same "$(complete strata import --format '')" "jsonl csv memory beads queue"
    same "$(complete strata import '')" FILES
    same "$(complete strata --dir '')" "FILES -/"
    same "$(complete strata log '')" verify
    has "$(complete strata log --limit 5 -)" "--follow"
    hasnt "$(complete strata log verify -)" "--follow"
    has "$(complete strata completion '')" "bash zsh fish"
}

@test "completion in fish" {
    command -v fish >/dev/null || skip "no fish here"
    strata completion fish >script
    export HOME=$PWD
    complete() { # prints what can stand for the last word
        fish --no-config -c 'source ./script; complete -C $argv[1]' "$1" | cut -f 1 | sort | paste -sd ' '
    }
    same "$(complete "strata stat")" status
    same "$(complete "strata fact ")" "add get list remove set unset"
    same "$(complete "strata fact set --expect-a")" --expect-absent
    same "$(complete "strata fact get --expect-a")" ""
    same "$(complete "strata import --format ")" "beads csv jsonl memory queue"
    same "$(complete "strata log v")" verify
    same "$(complete "strata log --fol")" --follow
    same "$(complete "strata completion z")" zsh
    >notes.md
    same "$(complete "strata track no")" notes.md
    same "$(complete "strata fact set no")" notes.md
}

@test "a state that cannot be written: reads work, writes exit 6" {
    [ "$(id -u)" -ne 0 ] || skip "root writes everywhere"
    strata fact set api port 1 >/dev/null
    chmod -R a-w .strata
    try 0 fact get api port
    same "$output" 1
    try 6 fact set api port 2
    chmod -R u+w .strata
    same "$(strata fact get api port)" 1
}

# --- files in and out ---------------------------------------------------------------------------------------

@test "export and import carry the facts to another workspace" {
    strata fact set api port 1 >/dev/null
    strata fact add api tag red >/dev/null
    strata export >facts.jsonl
    mkdir ../other
    (cd ../other && strata init >/dev/null)
    try 0 import facts.jsonl --dir ../other
    same "$(strata --dir ../other fact get api port)" 1
    same "$(strata --dir ../other fact get api tag)" red
    try 1 import missing.jsonl
}

@test "doctor --fix goes on after a log was cut by hand, and says what it did" {
    "$STRATA" init -q
    "$STRATA" fact set a v 1
    "$STRATA" fact set b v 2
    truncate -s -20 .strata/log/*/*.jsonl
    run "$STRATA" fact set c v 3
    [ "$status" -eq 1 ]
    [[ "$output" == *"nothing was recorded"* ]]
    [[ "$output" == *"doctor --fix"* ]]
    run "$STRATA" doctor
    [ "$status" -eq 1 ]
    run "$STRATA" doctor --fix
    [ "$status" -eq 0 ]
    [[ "$output" == *"quarantine"* ]]
    [ "$("$STRATA" fact get a v)" = 1 ]
    run "$STRATA" fact get b v
    [ "$status" -eq 1 ]
    "$STRATA" fact set c v 3
    [ "$("$STRATA" fact get c v)" = 3 ]
    [ -n "$(ls .strata/quarantine)" ]
}

@test "the index is made once, and then kept" {
    strata fact set api port 1 >/dev/null
    local index
    index=$(find . -name index.db -not -path '*/strong/*')
    [ -n "$index" ]
    strata status >/dev/null
    local inode
    inode=$(stat -c %i "$index")
    strata fact set api port 2 >/dev/null
    strata fact get api port >/dev/null
    same "$(stat -c %i "$index")" "$inode"
}
