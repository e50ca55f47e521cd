#!/usr/bin/env bats
# queue.bats - the task channels as QUEUE.md: a list with boxes that any editor writes.
#
#   STRATA=build/strata bats tests/queue.bats

load helpers

setup() {
    program_alone
    in_workspace git
}

teardown() {
    [ -z "${watcher:-}" ] || kill "$watcher" 2>/dev/null || true
}

# the lines between the markers
block() {
    sed '/strata:begin/d; /strata:end/d' "${1:-QUEUE.md}"
}

# two TITLE: a backend, a frontend that waits for it, for bob; shown in QUEUE.md
two_tasks() {
    strata add "build backend" >/dev/null
    strata add "build frontend" --after 1 --agent bob --priority 1 >/dev/null
    strata view add queue >/dev/null
}

@test "a queue: shown in the entry form, and followed" {
    two_tasks
    same "$(block)" "- [ ] [seq:1] build backend
- [ ] [seq:2] [depends:1] [agent:bob] [priority:1] build frontend"
    strata add "write docs" --channel docs --key doc-1 --not-before 2031-01-02T03:04:05Z >/dev/null
    has "$(block)" "- [ ] [seq:3] [key:doc-1] [channel:docs] [not_before:2031-01-02T03:04:05.000Z] write docs"
    strata done 1 >/dev/null
    strata fail 2 --reason "no time" --agent bob >/dev/null
    strata update 3 --state blocked >/dev/null
    same "$(block)" "- [x] [seq:1] build backend
- [!] [seq:2] [depends:1] [agent:bob] [priority:1] build frontend
- [~] [seq:3] [key:doc-1] [channel:docs] [not_before:2031-01-02T03:04:05.000Z] [state:blocked] write docs"
    strata cancel 3 >/dev/null
    hasnt "$(block)" "write docs"
    # nothing moves when nothing that it shows has changed
    local before
    before=$(stat -c '%i %y %z' QUEUE.md)
    strata fact set api port 1 >/dev/null
    same "$(stat -c '%i %y %z' QUEUE.md)" "$before"
}

@test "a queue: boxes, titles, marks and lines changed with an editor become what the commands would do" {
    two_tasks
    sed -i 's/\[ \] \[seq:1\]/[x] [seq:1]/
        s/\[agent:bob\] \[priority:1\] build frontend/[agent:cid] [priority:P0] build the frontend/
        $ i - [ ] [depends:2] [agent:bob] write docs' QUEUE.md
    try 0 list --all --json
    json '.data[0] | .state == "done"'
    json '.data[1] | .state == "ready" and .title == "build the frontend" and .agent == "cid" and .priority == 0'
    json '.data[2] | .seq == 3 and .title == "write docs" and .agent == "bob" and .depends == [2]'
    has "$stderr" "QUEUE.md: 3 edited lines were taken in"
    same "$(block)" "- [x] [seq:1] build backend
- [ ] [seq:2] [depends:1] [agent:cid] [priority:0] build the frontend
- [ ] [seq:3] [depends:2] [agent:bob] write docs"
    # the end is in the ledger, by whoever edits here: it is accepted once
    try 0 log --ops --json
    json '[.data.commands[] | select(.command == "claim-finish" and .key == "#1")] | length == 1 and .[0].agent == "work"'
    # nothing is taken in twice
    local before
    before=$(strata log --limit 0)
    strata view render >/dev/null
    same "$(strata log --limit 0)" "$before"
    # marks taken away, a box emptied, a word put down
    sed -i 's/\[x\] \[seq:1\]/[ ] [seq:1]/; s/\[depends:1\] \[agent:cid\] \[priority:0\] //
        s/\[ \] \[seq:3\]/[~] [seq:3]/' QUEUE.md
    try 0 list --all --json
    json '.data[0].state == "ready"'
    json '.data[1] | .state == "ready" and .agent == "" and .priority == 2 and .depends == []'
    json '.data[2].state == "in_progress"'
    has "$(block)" "- [~] [seq:3] [depends:2] [agent:bob] write docs"
    sed -i 's/\[~\]/[ ]/; s/\[ \] \[seq:2\]/[ ] [seq:2] [state:blocked]/' QUEUE.md
    try 0 list --all --json
    json '.data[1].state == "blocked" and .data[2].state == "waiting"'
}

@test "a queue: what somebody has claimed is his; a box checked by another is put back" {
    two_tasks
    strata claim 1 --agent bob >/dev/null
    has "$(block)" "- [~] [seq:1] [claimed:bob] build backend"
    sed -i 's/\[~\] \[seq:1\]/[x] [seq:1]/' QUEUE.md
    try 0 list
    has "$stderr" "QUEUE.md: 1: not accepted: 1 is claimed by bob"
    has "$(block)" "- [~] [seq:1] [claimed:bob] build backend"
    has "$(cat .git/strata/views/aside/*)" "- [x] [seq:1]"
    # nor does it go with its line
    sed -i '/seq:1/d' QUEUE.md
    try 0 list
    has "$stderr" "QUEUE.md: 1: claimed by bob, so not cancelled"
    has "$(block)" "- [~] [seq:1] [claimed:bob] build backend"
    strata release 1 --agent bob >/dev/null
    has "$(block)" "- [ ] [seq:1] build backend"
    # whose work tree it is may end what it has claimed
    strata claim 1 --agent work >/dev/null
    sed -i 's/\[~\] \[seq:1\]/[x] [seq:1]/' QUEUE.md
    try 0 show 1 --json
    json '.data.state == "done"'
}

@test "a queue: a missing line cancels, or takes what is finished off the list; nothing is lost" {
    two_tasks
    strata done 1 >/dev/null
    strata add three >/dev/null
    sed -i '/seq:1/d; /seq:3/d' QUEUE.md
    try 0 list --all --json
    json '[.data[].state] == ["done", "ready", "cancelled"]'
    same "$(block)" "- [ ] [seq:2] [depends:1] [agent:bob] [priority:1] build frontend"
    strata update 3 --reopen >/dev/null
    has "$(block)" "- [ ] [seq:3] three"
    # a line that comes again is a new task, or by its key the one that left
    strata add four --key K4 >/dev/null
    sed -i '/seq:3/d; /seq:4/d' QUEUE.md
    strata list >/dev/null
    sed -i '$ i - [ ] three\n- [x] [key:K4] four again' QUEUE.md
    try 0 list --all --json
    json '.data[2].state == "cancelled" and .data[4].title == "three" and .data[4].state == "ready"'
    json '.data[3] | .title == "four again" and .state == "done"'
    # as often as it likes
    for _ in 1 2 3; do
        sed -i '/ three$/d' QUEUE.md
        strata list >/dev/null
        sed -i '$ i - [ ] three' QUEUE.md
        strata list >/dev/null
        has "$(block)" " three"
    done
}

@test "a queue written anew by an agent in its own hand: its lines are the tasks that they were" {
    two_tasks
    strata add "write docs" --key doc-1 >/dev/null
    local head end
    head=$(grep strata:begin QUEUE.md)
    end=$(grep strata:end QUEUE.md)
    printf '%s\n' "$head" "* [X] build backend" "- [ ] tests [depends:7]" \
        "- [ ] [seq:7] fixtures" "- [ ] [key:doc-1] write the docs" "- [ ] build frontend" "$end" >QUEUE.md
    try 0 list --all --json
    json '.data | length == 5'
    json '.data[0].state == "done"'
    json '.data[1] | .state == "ready" and .agent == "bob" and .depends == [1]'
    json '.data[2] | .title == "write the docs" and .state == "ready"'
    json '.data[3] | .title == "tests" and .depends == [5]'
    json '.data[4] | .title == "fixtures"'
    # an old text that is saved once more with another line adds that line only
    printf '%s\n' "$head" "- [ ] [seq:1] build backend" "- [ ] [seq:2] [depends:1] [agent:bob] [priority:1] build frontend" \
        "- [ ] [seq:3] [key:doc-1] write docs" "- [ ] tests [depends:7]" "- [ ] more" "$end" >QUEUE.md
    try 0 list --all --json
    json '[.data[].title] == ["build backend", "build frontend", "write the docs", "tests", "fixtures", "more"]'
    json '[.data[].state] == ["done", "ready", "ready", "waiting", "ready", "ready"]'
}

@test "a queue: a cycle, an id of another line, a name that nobody knows are told, and the text is kept" {
    two_tasks
    sed -i 's/\[seq:1\]/[seq:1] [depends:2]/; $ i - [ ] [seq:2] again\n- [ ] [seq:9@pi-3f9a2c] elsewhere\n- [ ] last [depends:nobody]' QUEUE.md
    try 0 list --all --json
    has "$stderr" "QUEUE.md: 1: that would be a cycle"
    has "$stderr" "name 1 task that is not known"
    json '[.data[].title] == ["build backend", "build frontend", "last"]'
    json '.data[0].depends == []'
    has "$(cat .git/strata/views/aside/*)" "again"
    has "$(cat .git/strata/views/aside/*)" "elsewhere"
    # what is no line of a queue stands below it
    sed -i '$ i a remark\n- [ ] [priority:9] urgent' QUEUE.md
    try 0 list
    has "$(sed -n '/strata:end/,$p' QUEUE.md)" "a remark"
    has "$(sed -n '/strata:end/,$p' QUEUE.md)" "urgent"
}

@test "a queue whose block is damaged, or of an unknown rendering, costs nothing" {
    two_tasks
    sed -i 's/build backend/x/; /strata:end/c - [ ] new one\ntext of the author' QUEUE.md
    try 0 list --all --json
    json '[.data[].title] == ["build backend", "build frontend", "new one"]'
    has "$(cat QUEUE.md)" "text of the author"
    has "$stderr" "the block was damaged"
    # conflict markers of Git
    sed -i 's/^- \[ \] \[seq:1\].*/<<<<<<< ours\n&\n=======\n- [x] [seq:1] build backend\n>>>>>>> theirs/' QUEUE.md
    try 0 list --all --json
    json '[.data[].title] == ["build backend", "build frontend", "new one"]'
    hasnt "$(cat QUEUE.md)" "<<<<<<<"
    hasnt "$(cat QUEUE.md)" ">>>>>>>"
    # nobody knows what its author was shown
    rm -r .git/strata/views/kept
    sed -i '/seq:2/d; /strata:end/i - [ ] one more' QUEUE.md
    try 0 list --all --json
    json '[.data[] | select(.state != "cancelled")] | length == 4'
}

@test "a queue of one channel: its tasks, and new ones go there" {
    strata add one --channel docs >/dev/null
    strata add two >/dev/null
    try 0 view add queue --channel docs --file docs.md --json
    json '.data == {name: "queue", entity: null, channel: "docs", file: "docs.md", committed: false}'
    same "$(block docs.md)" "- [ ] [seq:1] one"
    sed -i '$ i - [ ] three' docs.md
    try 0 list --channel docs --json
    json '[.data[].title] == ["one", "three"]'
    # moved out
    sed -i 's/\[seq:1\]/[seq:1] [channel:other]/' docs.md
    try 0 list --channel other --json
    json '[.data[].title] == ["one"]'
    same "$(block docs.md)" "- [ ] [seq:3] three"
    try 2 view add queue --entity docs
    try 2 view add facts --channel docs
    try 0 view remove queue --channel docs
    [ ! -e docs.md ]
}

@test "a queue: titles with anything in them come back as they are" {
    local title
    for title in '[seq:1] [agent:x] not a mark' 'a & b &#10; &amp; c:\new' '<!-- strata:end queue -->' '[x] [link](http://a/b) `code` | cell' '☃ ünïcode'; do
        strata add "$title" >/dev/null
    done
    strata add "$(printf 'two\nlines\twith tab')" >/dev/null
    strata view add queue >/dev/null
    try 0 list --json
    local before=$output
    sed -i 's/\[seq:\([0-9]*\)\]/[seq:\1] [priority:0]/' QUEUE.md
    try 0 list --json
    same "$(jq -c '[.data[] | [.title, .agent, .priority]]' <<<"$output")" \
        "$(jq -c '[.data[] | [.title, "", 0]]' <<<"$before")"
}

@test "a queue: what two copies wrote meets, and what both changed is pending" {
    two_tasks
    mkdir ../other && git -C ../other init -q .
    (cd ../other && "$STRATA" init --name pi --join >/dev/null 2>&1 || "$STRATA" init --name pi --new >/dev/null)
    (cd ../other && "$STRATA" merge-state ../work/.git/strata --adopt >/dev/null 2>&1 || "$STRATA" merge-state ../work >/dev/null)
    (cd ../other && "$STRATA" view add queue >/dev/null)
    same "$(block ../other/QUEUE.md)" "$(block)"
    sed -i 's/build backend/build the backend/' QUEUE.md
    sed -i 's/build backend/build a backend/; $ i - [ ] from pi' ../other/QUEUE.md
    strata list >/dev/null
    (cd ../other && "$STRATA" list >/dev/null)
    strata merge-state ../other >/dev/null
    (cd ../other && "$STRATA" merge-state ../work >/dev/null)
    same "$(block ../other/QUEUE.md)" "$(block)"
    has "$(block)" "from pi"
    has "$(block)" "[seq:3@pi-"
    try 0 pending
    has "$output" "build the backend"
    has "$output" "build a backend"
}

@test "a queue under watch: edits are taken in, and claims shown, at once" {
    two_tasks
    "$STRATA" watch >watch.out 2>&1 3>&- &
    watcher=$!
    eventually test -e watch.out
    sleep 0.3
    local out=("$STRATA" --state-dir "$PWD/.git/strata" --dir /)
    sed -i 's/\[ \] \[seq:1\]/[x] [seq:1]/' QUEUE.md
    done_1() { [ "$("$STRATA" show 1 --json --state-dir "$PWD/.git/strata" --dir / | jq -r .data.state)" = done ]; }
    eventually done_1
    "$STRATA" add "from elsewhere" --state-dir "$PWD/.git/strata" --dir / >/dev/null
    eventually grep -q 'from elsewhere' QUEUE.md
    "$STRATA" claim 3 --agent bob --state-dir "$PWD/.git/strata" --dir / >/dev/null
    eventually grep -q 'claimed:bob' QUEUE.md
    kill "$watcher"
}

# --- what happens, and how much there is ----------------------------------------------------------------

@test "log does not tell the key that a new line was given" {
    strata view add queue
    sed -i '/strata:end/i - [ ] new inside' QUEUE.md
    strata list >/dev/null
    has "$(strata log)" "added: new inside"
    hasnt "$(strata log)" "line:"
}

@test "log tells what happened to tasks and messages, a line for what one command wrote of one; --json is as it was" {
    strata add "build backend" >/dev/null
    strata add "build frontend" --after 1 --agent bob --priority 1 >/dev/null
    strata done 1 --result "it is up" >/dev/null
    strata update 2 --title "build the frontend" --state blocked >/dev/null
    strata update 2 --state open >/dev/null
    strata fail 2 --reason "no time" --agent bob >/dev/null
    strata send bob "see 2" --create >/dev/null
    strata fact set api port 1 >/dev/null
    try 0 log
    same "$(sed 's/^[0-9]* [^ ]* //' <<<"$output" | uniq)" "ann on desk: #1 added: build backend
ann on desk: #2 added: build frontend, for bob, priority 1, waits for #1
ann on desk: #1 done: it is up
ann on desk: #2 title: build the frontend, held: blocked
ann on desk: #2 opened again
bob on desk: #2 failed: no time
ann on desk: #3 to bob, message: see 2
ann on desk: api port = 1"
    # the number in front goes on from there
    local cursor
    cursor=$(sed -n 's/ .*: #1 done: it is up$//p' <<<"$output")
    try 0 log --since "$cursor" --limit 0
    has "${lines[0]}" "#2 title: build the frontend"
    try 0 log --json --limit 0
    json '[.data.events[] | select(.entity == "#1") | .attribute] == ["title", "copied", "state", "result"]'
    "$STRATA" log --follow --since "$cursor" >followed 2>&1 3>&- &
    watcher=$!
    eventually grep -q 'api port = 1' followed
    strata done 3 2>/dev/null || strata add four >/dev/null
    eventually grep -qE '#4 added: four|#3 done' followed
}

@test "status counts tasks by what became of them" {
    try 0 status
    hasnt "$output" "tasks"
    strata add one >/dev/null
    strata add two --after 1 >/dev/null
    strata add three --not-before 2031-01-02T03:04:05Z >/dev/null
    strata add four --not-before 2020-01-02T03:04:05Z >/dev/null
    strata add five >/dev/null
    strata update 5 --state blocked >/dev/null
    strata add six >/dev/null && strata fail 6 --reason "no" >/dev/null
    strata add seven >/dev/null && strata cancel 7 >/dev/null
    strata add eight >/dev/null && strata done 8 >/dev/null
    try 0 status --json
    json '.data.tasks == {total: 8, ready: 2, claimed: 0, waiting: 1, deferred: 1, held: 1, done: 1, failed: 1, cancelled: 1}'
    strata claim 1 --agent bob >/dev/null
    strata claim 4 --agent bob >/dev/null
    try 0 status --json
    json '.data.tasks | .ready == 0 and .claimed == 2 and .deferred == 1'
    try 0 status
    has "$output" "tasks      2 claimed, 1 waiting, 1 deferred, 1 held, 1 done, 1 failed, 1 cancelled"
}

# --- reading a list of others ------------------------------------------------------------------------

@test "import of a QUEUE.md: boxes under headings, headings with a status, tables; what was not read is told" {
    cat >TODO.md <<'END'
# Queue

- [ ] [P1] plain [priority:1] [depends:PR-7]
- [x] finished
- [ ] plain text
- [?] strange
```
- [ ] code
```
## In Progress
- [ ] begun
* [-] dropped

## PR-7: a heading
- **Status:** TODO
- Branch: pr-7
- Depends on: T-1, T-2
- Owner: bob
- [ ] its own list

| # | Task | Status | Depends on | Phase |
| --- | --- | :-: | --- | --- |
| T-1 | `one \| a` | complete | - | 7 |
| T-2 | two | **queued** | T-1 | 8 |

| Name | Size |
| --- | --- |
| x | 1 |
END
    try 0 import TODO.md --dry-run --json
    json '.data.added == 8 and .data.unread == [{from: 6, to: 6, why: "a box that is not known"},
        {from: 26, to: 28, why: "a table without a column Task (or Title) and one Status"}]'
    try 0 import TODO.md
    has "$stderr" "TODO.md, line 6 was not read"
    has "$stderr" "TODO.md, lines 26 to 28 were not read"
    try 0 list --all --json
    local found=$output
    output=$(jq -c '[.data[] | {key: (.key), value: .}] | from_entries' <<<"$found")
    json '."[P1] plain" | .priority == 1 and .state == "waiting"'
    json '.finished.state == "done" and .dropped.state == "cancelled" and .begun.state == "in_progress"'
    json '."PR-7" | .title == "PR-7: a heading" and .agent == "bob" and .state == "waiting" and (.depends | length == 2)'
    json '."T-1" | .title == "one | a" and .state == "done"'
    json '."T-2" | .state == "ready" and (.depends | length == 1)'
    try 0 show "$(jq '."PR-7".seq' <<<"$output")" --json
    json '.data.data == "- Branch: pr-7\n- [ ] its own list"'
    # again: nothing; one that changed: that one
    sed -i 's/^- \[ \] plain text/- [x] plain text/' TODO.md
    try 0 import TODO.md --json
    json '.data | .added == 0 and .changed == 1 and .same == 7'
    # names that are there twice are told apart
    printf -- '- [ ] tests\n- [ ] tests\n' >twice.md
    try 0 import twice.md --json
    json '.data.added == 2'
    try 0 import twice.md --json
    json '.data | .added == 0 and .same == 2'
    # a view's own lines are tasks already
    strata view add queue --file TODO.md >/dev/null
    try 0 import TODO.md --json
    json '.data | .added == 0 and (.unread[2].why | startswith("a view of Strata"))'
    # what cannot be read is refused with its line, and nothing is written
    printf -- '- [ ] good\n- [ ] bad [priority:9]\n' >bad.md
    try 2 import bad.md
    has "$stderr" "bad.md, line 2"
}
