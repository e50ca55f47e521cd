#!/usr/bin/env bats
# files.bats - views and tracked documents as agents and people meet them: files that any editor writes.
#
#   STRATA=build/strata bats tests/files.bats

load helpers

setup() {
    program_alone
    in_workspace git
}

teardown() {
    [ -z "${watcher:-}" ] || kill "$watcher" 2>/dev/null || true
}

# line NUMBER FILE
line() {
    sed -n "$1p" "$2"
}

# --- the board --------------------------------------------------------------------------------------

@test "a board: added, shown, followed" {
    strata beat "reviewing #12" >/dev/null
    try 0 view add heartbeat
    same "$output" "heartbeat in HEARTBEAT.md"
    same "$(wc -l <HEARTBEAT.md)" 3
    [[ $(line 2 HEARTBEAT.md) =~ ^-\ \[agent:ann\]\ reviewing\ #12\ \(since\ 20..-..-..T..:..Z\)$ ]]
    strata beat building --agent bob >/dev/null
    has "$(cat HEARTBEAT.md)" "[agent:bob] building"
    try 0 view list
    same "$output" "heartbeat in HEARTBEAT.md"
}

@test "a board: a status changed, a line added, a line removed with an editor become records" {
    strata beat "reviewing #12" >/dev/null
    strata beat idle --agent cid >/dev/null
    strata view add heartbeat >/dev/null
    sed -i 's/reviewing #12/merging #12/; /agent:cid/d; $ i - bob: building' HEARTBEAT.md
    try 0 agent list
    has "$output" "ann on desk: alive, last heard of 0 s ago; merging #12"
    has "$output" "bob on desk: alive, last heard of 0 s ago; building"
    hasnt "$output" "idle"
    has "$stderr" "HEARTBEAT.md: 3 edited lines were taken in"
    has "$(line 3 HEARTBEAT.md)" "- [agent:bob] building (since "
    hasnt "$(cat HEARTBEAT.md)" cid
    # nothing is taken in twice
    local before
    before=$(strata log --limit 0)
    strata view render >/dev/null
    same "$(strata log --limit 0)" "$before"
}

@test "a board: a heartbeat alone does not touch the file" {
    strata beat busy >/dev/null
    strata view add heartbeat >/dev/null
    local before
    before=$(stat -c '%i %y %z' HEARTBEAT.md)
    strata beat >/dev/null
    strata beat busy >/dev/null
    strata fact set api port 1 >/dev/null
    strata status >/dev/null
    same "$(stat -c '%i %y %z' HEARTBEAT.md)" "$before"
}

@test "a HEARTBEAT.md with instructions is left alone, and another file is proposed" {
    printf '# Every 20 minutes\n\n- [ ] check the mail\n' >HEARTBEAT.md
    cp HEARTBEAT.md saved
    try 3 view add heartbeat
    has "$stderr" "has instructions that agents follow"
    has "$stderr" "strata view add heartbeat --file AGENTS-STATUS.md"
    cmp HEARTBEAT.md saved
    try 0 view add heartbeat --file AGENTS-STATUS.md
    has "$(cat AGENTS-STATUS.md)" "strata:begin heartbeat"
    # comments, headings and empty items are no instructions
    printf '# Heartbeat\n\n<!-- keep empty -->\n- [ ]\n' >HEARTBEAT.md
    try 0 view add heartbeat
}

@test "text around a block stays as it is, byte for byte" {
    printf '# Notes\r\n\r\n\xff\xfe binary \x01\r\nno newline at the end' >notes.md
    cp notes.md saved
    try 0 view add facts --file notes.md
    same "$stderr" ""
    cmp -n "$(stat -c %s saved)" notes.md saved
    grep -q $'strata:begin facts.*\r$' notes.md
    strata fact set api port 1 >/dev/null
    cmp -n "$(stat -c %s saved)" notes.md saved
    grep -q $'| api | port | 1 | <!-- [0-9a-f]* -->\r$' notes.md
    printf 'text behind' >>notes.md
    strata fact set api port 2 >/dev/null
    same "$(tail -c 11 notes.md)" "text behind"
    strata view remove facts >/dev/null
    cmp -n "$(stat -c %s saved)" notes.md saved
    hasnt "$(tr -d '\0' <notes.md)" strata
    same "$(tail -c 11 notes.md)" "text behind"
}

# --- facts ------------------------------------------------------------------------------------------

@test "facts: a value changed, a row added, a row removed become records" {
    strata fact set api port 8080 >/dev/null
    strata fact add api tag public >/dev/null
    strata fact set api old 1 >/dev/null
    strata view add facts >/dev/null
    sed -i 's/8080/9090/; /| old |/d; $ i | db | host | 10.0.0.1 |\n| api | tag | + beta |' FACTS.md
    same "$(strata fact get api port)" 9090
    same "$(strata fact get db host)" 10.0.0.1
    same "$(strata fact get api tag)" $'beta\npublic'
    try 1 fact get api old
    try 0 history api port
    has "$output" "api port = 8080 (ann on desk"
    same "$(grep -c '<!-- [0-9a-f]* -->' FACTS.md)" 4
}

@test "facts: the page of one entity" {
    strata fact set api port 8080 >/dev/null
    strata fact set db port 5432 >/dev/null
    try 0 view add facts --entity api
    same "$output" "facts of api in api.md"
    hasnt "$(cat api.md)" 5432
    sed -i '$ i | host | example |' api.md
    same "$(strata fact get api host)" example
}

@test "facts: a rendering that was forgotten is kept again before it is edited" {
    strata fact set x y 1 >/dev/null
    strata view add facts --entity x >/dev/null
    rm .git/strata/views/kept/*
    strata fact set other z 1 >/dev/null # nothing that this page shows
    sed -i 's/| y | 1 |/| y | 2 |/' x.md
    try 0 fact get x y
    same "$output" 2
    hasnt "$stderr" "not known"
}

@test "facts: several values of one attribute have a line each; to delete one settles it" {
    mkdir ../other && strata --dir ../other init --name other >/dev/null
    strata fact set x y 0 >/dev/null
    strata --dir ../other merge-state . --adopt >/dev/null
    strata --dir ../other fact set x y there >/dev/null
    strata fact set x y here >/dev/null
    strata merge-state ../other >/dev/null
    strata view add facts >/dev/null
    same "$(grep -c ' pending -->' FACTS.md)" 2
    sed -i '/| there |/d' FACTS.md
    try 0 pending
    same "$output" "nothing is pending"
    same "$(strata fact get x y)" here
    try 0 history x y
    has "$output" "x y = there (ann on other"
}

@test "every value survives the way through a cell" {
    local values=(' ' '  two  ' '\' '\n' 'a|b' '|' $'a\nb' $'\ttab\r' '-> x' '+ x' '\unset' '\\' '<!-- c -->'
        '<!-- 0123456789ab -->' '' 's' ' s' '\s' 'é→' '->' '+' '`| code |`' '| x | y |')
    jq -nc '$ARGS.positional | to_entries[] |
        {entity: "e\(.key)", attribute: "a|\(.key)", value, kind: "value"},
        {entity: "m\(.key)", attribute: "a", value, kind: "member"}' --args -- "${values[@]}" >../facts.jsonl
    strata import ../facts.jsonl >/dev/null
    strata view add facts >/dev/null
    strata export >../before.jsonl
    # the same lines without their ids, in an empty workspace
    mkdir ../empty && cd ../empty && "$STRATA" init >/dev/null
    "$STRATA" view add facts >/dev/null
    { sed -n 1,3p FACTS.md; sed -n '4,$p' ../work/FACTS.md | sed 's/| <!-- [0-9a-f]* -->$/|/; $d'; tail -1 FACTS.md; } >new.md
    mv new.md FACTS.md
    "$STRATA" view render >/dev/null
    "$STRATA" export >../after.jsonl
    same "$(jq -cS 'select(.entity) | [.entity, .attribute, .value, .kind]' ../after.jsonl | sort)" \
        "$(jq -cS 'select(.entity) | [.entity, .attribute, .value, .kind]' ../before.jsonl | sort)"
    same "$(grep -c entity ../before.jsonl)" 46
}

# --- Git and work trees ------------------------------------------------------------------------------

@test "views are ignored by Git unless asked, and the rest of info/exclude stays" {
    printf '*.log\n' >.git/info/exclude
    strata view add facts >/dev/null
    same "$(git status --porcelain)" ""
    has "$(cat .git/info/exclude)" '*.log'
    strata view remove facts >/dev/null
    same "$(cat .git/info/exclude)" '*.log'
    [ ! -e FACTS.md ]
    strata view add facts --committed >/dev/null
    same "$(git status --porcelain)" "?? FACTS.md"
}

@test "a view that Git has is written after edits and by view render only" {
    strata fact set x y 1 >/dev/null
    strata view add facts --committed >/dev/null
    git add FACTS.md && git -c user.name=a -c user.email=a@b commit -qm "a table"
    strata fact set x y 2 >/dev/null
    same "$(git status --porcelain)" ""
    sed -i '$ i | x | z | 3 |' FACTS.md
    same "$(strata fact get x z)" 3
    same "$(strata fact get x y)" 2
    has "$(cat FACTS.md)" "| x | y | 2 |"
    strata fact set x y 4 >/dev/null
    hasnt "$(cat FACTS.md)" "| x | y | 4 |"
    strata view render >/dev/null
    has "$(cat FACTS.md)" "| x | y | 4 |"
    # an existing file that Git has is found to be one
    strata view remove facts >/dev/null
    git checkout -q FACTS.md
    sed -i '/strata/d' FACTS.md
    try 0 view add facts
    same "$output" "facts in FACTS.md, committed"
}

@test "a branch switch, clean -ffdx and stash -a lose nothing" {
    git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first
    strata fact set x y 1 >/dev/null
    strata view add facts >/dev/null
    sed -i 's/| x | y | 1 |/| x | y | 2 |/' FACTS.md
    strata status >/dev/null
    git clean -qffdx
    [ ! -e FACTS.md ]
    same "$(strata fact get x y)" 2
    has "$(cat FACTS.md)" "| x | y | 2 |"
    git -c user.name=a -c user.email=a@b stash -qa
    strata fact set x y 3 >/dev/null
    git checkout -q -b other
    git -c user.name=a -c user.email=a@b stash pop -q || true
    strata status >/dev/null
    same "$(strata fact get x y)" 3
    has "$(cat FACTS.md)" "| x | y | 3 |"
    same "$(strata history x y | grep -c =)" 3
}

@test "each work tree has its views; one that is deleted does no harm" {
    git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first
    git worktree add -q ../second
    strata fact set x y 1 >/dev/null
    strata view add facts >/dev/null
    (cd ../second && "$STRATA" view add facts --file T.md) >/dev/null
    (cd ../second && sed -i 's/| x | y | 1 |/| x | y | 2 |/' T.md && "$STRATA" status) >/dev/null
    same "$(strata fact get x y)" 2
    has "$(cat FACTS.md)" "| x | y | 2 |"
    same "$(cd ../second && "$STRATA" view list)" "facts in T.md"
    rm -rf ../second
    strata fact set x y 3 >/dev/null
    git worktree prune
    same "$(strata fact get x y)" 3
    # a new tree of the same name starts without views
    git worktree add -q -f ../second second
    same "$(cd ../second && "$STRATA" view list 2>/dev/null)" ""
}

@test "a bare repository has no files; its work trees do" {
    git clone -q --bare . ../bare.git
    cd ../bare.git
    strata init >/dev/null
    try 1 view add facts
    has "$stderr" "there is no work tree here"
    git -c user.name=a -c user.email=a@b commit-tree -m first "$(git hash-object -t tree -w /dev/null)" >../id
    git branch main "$(cat ../id)"
    git worktree add -q ../tree main
    cd ../tree
    strata fact set x y 1 >/dev/null
    try 0 view add facts
    has "$(cat FACTS.md)" "| x | y | 1 |"
    [ -e ../bare.git/worktrees/tree/strata-views/files ]
}

# --- merges -----------------------------------------------------------------------------------------

as_git() {
    git -c user.name=a -c user.email=a@b "$@"
}

@test "a view that Git has: merged from the logs, and without them line by line" {
    strata init --git-merge FACTS.md --git-merge MEMORY.md >/dev/null
    printf 'head\n\ntail\n' >FACTS.md
    strata fact set x y 1 >/dev/null
    strata fact set x gone 1 >/dev/null
    strata view add facts --committed >/dev/null
    git add FACTS.md && as_git commit -qm base
    git clone -q . ../other
    (cd ../other && "$STRATA" init --new --name other --git-merge FACTS.md && "$STRATA" merge-state ../work --adopt &&
        "$STRATA" view add facts) >/dev/null 2>&1
    strata fact set x here 1 >/dev/null
    strata fact set x y 2 >/dev/null
    strata view render >/dev/null
    sed -i 's/^head/head of ours/' FACTS.md
    as_git commit -qam ours
    (cd ../other && "$STRATA" fact set x there 1 && "$STRATA" fact unset x gone && "$STRATA" view render) >/dev/null
    sed -i 's/^tail/tail of theirs/' ../other/FACTS.md
    (cd ../other && as_git commit -qam theirs)
    # without the other's log: both sides' lines, what was deleted stays away
    as_git pull -q --no-rebase --no-edit ../other
    local merged
    merged=$(cat FACTS.md)
    has "$merged" "head of ours"
    has "$merged" "tail of theirs"
    has "$merged" "| x | here | 1 |"
    has "$merged" "| x | there | 1 |"
    has "$merged" "| x | y | 2 |"
    hasnt "$merged" "| x | gone |"
    hasnt "$merged" "<<<<"
    # the next command repairs, and changes nothing in the state
    same "$(strata fact get x gone)" 1
    has "$(cat FACTS.md)" "| x | gone | 1 |"
    hasnt "$(cat FACTS.md)" "| x | there |"
    # with both logs: what they show together
    git reset -q --hard HEAD^
    strata merge-state ../other >/dev/null 2>&1
    as_git pull -q --no-rebase --no-edit ../other
    cp FACTS.md merged
    strata view render >/dev/null
    cmp FACTS.md merged
    has "$(cat FACTS.md)" "| x | there | 1 |"
    hasnt "$(cat FACTS.md)" "| x | gone |"
    has "$(cat FACTS.md)" "head of ours"
    same "$(strata pending)" "nothing is pending"
}

# no_marker FILE...: each has one whole block, and no conflict marker of Git in it
no_marker() {
    local f
    for f in "$@"; do
        same "$f: $(grep -c strata:begin "$f") $(grep -c strata:end "$f")" "$f: 1 1"
        same "$(sed -n '/strata:begin/,/strata:end/p' "$f" | grep -E '^(<{7}|={7}|>{7}|\|{7})')" ""
    done
}

@test "both branches changed a board and a table that Git has: no marker in a block, logs or none, driver or none" {
    local f all="BOARD.md FACTS.md" pull="as_git pull -q --no-rebase --no-edit ../other"
    strata init --git-merge BOARD.md --git-merge FACTS.md >/dev/null
    strata beat base >/dev/null
    strata fact set x y base >/dev/null
    strata view add heartbeat --file BOARD.md --committed >/dev/null
    strata view add facts --committed >/dev/null
    git add $all && as_git commit -qm base
    git clone -q . ../other
    (cd ../other && "$STRATA" init --new --name other && "$STRATA" merge-state ../work --adopt &&
        "$STRATA" view add heartbeat --file BOARD.md && "$STRATA" view add facts) >/dev/null 2>&1
    sed -i 's/base/ours/; $ i - bob: here' BOARD.md
    sed -i 's/base/ours/; $ i | x | here | 1 |' FACTS.md
    sed -i 's/base/theirs/; $ i - cid: there' ../other/BOARD.md
    sed -i 's/base/theirs/; $ i | x | there | 1 |' ../other/FACTS.md
    strata view render >/dev/null && as_git commit -qam ours
    (cd ../other && "$STRATA" view render >/dev/null && as_git commit -qam theirs)
    # without the other's log
    $pull
    for f in $all; do
        no_marker "$f"
        same "$(grep -oE '\b(ours|here|theirs|there)\b' "$f" | sort | xargs)" "here ours theirs there"
    done
    try 0 status
    no_marker $all
    same "$(strata fact get x y)" ours
    # by Git alone: its markers are in the block until the next command, and what it had is kept
    git reset -q --hard HEAD^
    mv .git/info/attributes ../attributes
    rm -r .git/strata/views/aside
    ! $pull 2>/dev/null >&2
    grep -q '^<<<<<<<' BOARD.md && grep -q '^<<<<<<<' FACTS.md
    try 0 status
    has "$stderr" "BOARD.md"
    has "$stderr" "FACTS.md"
    no_marker $all
    same "$(cat .git/strata/views/aside/* | grep -cE 'theirs|there')" 4
    has "$(cat $all)" here
    # with both logs: what they show together
    git reset -q --hard
    mv ../attributes .git/info/attributes
    strata merge-state ../other >/dev/null 2>&1
    $pull
    no_marker $all
    mkdir merged && cp $all merged
    strata view render >/dev/null
    for f in $all; do
        cmp "$f" "merged/$f"
        has "$(cat "$f")" here
        has "$(cat "$f")" there
    done
    same "$(grep -cE '\| (ours|theirs) \|' FACTS.md)" 2 # pending; of ann's statuses the later one
}

@test "edits that were committed on two branches before any command saw them are both taken in" {
    strata init --git-merge FACTS.md >/dev/null
    strata fact set x y 1 >/dev/null
    strata fact set x z 1 >/dev/null
    strata view add facts --committed >/dev/null
    git add FACTS.md && as_git commit -qm base
    git checkout -qb side
    sed -i 's/| y | 1 |/| y | 2 |/' FACTS.md && as_git commit -qam side
    git checkout -q -
    sed -i 's/| z | 1 |/| z | 2 |/' FACTS.md && as_git commit -qam main
    as_git merge -q --no-edit side
    same "$(strata fact get x y) $(strata fact get x z)" "2 2"
}

@test "hostile files with views are merged: CRLF, NUL, invalid UTF-8, a line of 10 MB, no final newline" {
    local block='<!-- strata:begin facts 0 x -->\r\n| a | b | 1 |\r\n<!-- strata:end facts -->\r\n'
    {
        printf 'one\r\ntwo\0\xff\xfe\r\n'
        head -c 10000000 /dev/zero | tr '\0' y
        printf "\r\n$block"'no end'
    } >base
    sed 's/^one/ONE/; s/| a | b | 1 |/| a | b | 2 |/' base >ours
    { sed 's/| a | b | 1 |/| a | b | 3 |/' base; printf ', and more'; } >theirs
    try 0 merge-driver base ours theirs 7 x.md
    same "$(head -c 3 ours)$(tail -c 16 ours)" "ONEno end, and more"
    same "$(LC_ALL=C grep -ac $'\xff\xfe\r$' ours)" 1
    same "$(grep -ac $'| a | b | [23] |\r$' ours)" 2
    same "$(grep -ac 'strata:begin facts' ours)$(tr -dc '\0' <ours | wc -c)" 11
    # not a byte is missing: theirs, the row of ours, and a begin that is as long as ours are
    same "$(stat -c %s ours)" "$(($(stat -c %s theirs) + 15 + $(grep -a strata:begin ours | wc -c) - 33))"
}

# --- files that belong to the user --------------------------------------------------------------------

@test "an AGENTS.md that is a link, no file, or no text is left as it is, and the user is told" {
    echo mine >../target
    ln -s ../target AGENTS.md
    try 1 init --agents --agents-md
    has "$stderr" "AGENTS.md cannot be changed"
    [ -L AGENTS.md ]
    same "$(cat ../target)" mine
    rm AGENTS.md && mkfifo AGENTS.md
    try 1 init --agents --agents-md --wait 5s
    [ -p AGENTS.md ]
    rm AGENTS.md && printf 'a\0b' >AGENTS.md
    try 1 init --agents --agents-md
    same "$(od -An -c AGENTS.md | tr -d ' ')" 'a\0b'
    head -c 2000000 /dev/zero | tr '\0' x >AGENTS.md
    try 1 init --agents --agents-md
    same "$(stat -c %s AGENTS.md)" 2000000
    if [ "$(id -u)" -ne 0 ]; then
        echo secret >AGENTS.md && chmod 0 AGENTS.md
        try 1 init --agents --agents-md
        chmod 600 AGENTS.md
        same "$(cat AGENTS.md)" secret
    fi
    # wired, then a link in its place: uninit says so and follows nothing
    printf 'mine\n' >AGENTS.md && chmod 640 AGENTS.md
    strata init --agents --agents-md >/dev/null
    same "$(stat -c %a AGENTS.md)" 640
    mv AGENTS.md ../target && ln -s ../target AGENTS.md
    cp ../target ../before
    try 0 uninit
    has "$stderr" "AGENTS.md was left as it is"
    cmp ../target ../before
    rm AGENTS.md && mv ../target AGENTS.md
    strata uninit >/dev/null
    same "$(cat AGENTS.md)" mine
}

@test "uninit says that views and tracked files stay, and what ends that" {
    try 0 uninit
    hasnt "$output" "work tree"
    strata view add facts >/dev/null
    strata view add heartbeat >/dev/null
    echo one >MEMORY.md && strata track MEMORY.md >/dev/null
    try 0 uninit
    has "$output" '2 views of this work tree stay, and are written as before: `strata view list`; `strata view remove`'
    has "$output" '1 tracked file of it stays tracked: `strata track`; `strata untrack` ends that'
    try 0 uninit --json
    json '.data | .views == 2 and .tracked == 1 and .unwired == []'
    strata view remove facts >/dev/null
    strata view remove heartbeat >/dev/null
    strata untrack MEMORY.md >/dev/null
    try 0 uninit
    hasnt "$output" "view"
    hasnt "$output" "tracked"
}

@test "init --git-merge refuses what Git would never match" {
    local pattern
    for pattern in '' '#x' '[attr]x' 'x[a' 'two words'; do
        try 2 init --git-merge "$pattern"
        has "$stderr" "--git-merge: this is no pattern: $pattern"
    done
    ! grep -q merge=strata .git/info/attributes
}

@test "a NUL byte in info/attributes survives init --git-merge and uninit" {
    printf '*.png binary\n# \0 \n' >.git/info/attributes
    cp .git/info/attributes ../saved
    cp .git/config ../config
    try 2 init --git-merge '*.jsonl'
    has "$stderr" "it has a NUL byte"
    cmp .git/info/attributes ../saved
    cmp .git/config ../config
    rm .git/info/attributes
    strata init --git-merge '*.jsonl' >/dev/null
    printf '\0\n' >>.git/info/attributes
    cp .git/info/attributes ../saved
    run --separate-stderr strata uninit
    [ "$status" -ne 0 ]
    has "$stderr" "it has a NUL byte"
    cmp .git/info/attributes ../saved
    printf '*.png -text' >.git/info/attributes
    strata init --git-merge '*.jsonl' >/dev/null
    strata uninit >/dev/null
    same "$(cat .git/info/attributes)" '*.png -text'
}

@test "inside of a hook of one repository, another is set up, synced and left" {
    git init -q --bare ../hub.git && git init -q --bare ../hub2.git
    git init -q ../second
    cat >.git/hooks/post-commit <<EOF
#!/bin/sh
set -e
[ -n "\$GIT_INDEX_FILE" ]
export GIT_DIR="\${GIT_DIR:-$PWD/.git}" GIT_WORK_TREE="$PWD"
cd ../second
"$STRATA" init --new --name second --git-merge '*.jsonl'
"$STRATA" fact set x y 1
"$STRATA" view add facts
"$STRATA" sync ../hub.git --yes
test "\$(git --git-dir=.git config merge.strata.name)" != ""
cp .git/info/attributes ../attributes
"$STRATA" uninit
touch ../ran
EOF
    chmod +x .git/hooks/post-commit
    cp .git/config ../config
    as_git commit -q --allow-empty -m x
    [ -e ../ran ]
    cmp .git/config ../config
    [ ! -e .git/info/attributes ]
    hasnt "$(cat .git/info/exclude)" FACTS.md
    same "$(git for-each-ref 'refs/strata*')" ""
    same "$(git ls-files)" ""
    has "$(cat ../attributes)" '*.jsonl merge=strata'
    has "$(cat ../second/.git/info/exclude)" /FACTS.md
    has "$(git --git-dir=../hub.git for-each-ref)" refs/strata/
    [ ! -e ../second/.git/info/attributes ]
    # and the repository of the hook itself
    sed -i "s|cd ../second|cd \"$PWD\"|; s|init --new --name second|init|; s|hub.git|hub2.git|" .git/hooks/post-commit
    rm ../ran
    as_git commit -q --allow-empty -m y
    [ -e ../ran ]
    has "$(git for-each-ref)" refs/strata
    [ ! -e .git/info/attributes ]
}

# --- what is refused ---------------------------------------------------------------------------------

@test "files outside of the work tree, and ways out of it, are refused" {
    echo secret >../outside.md
    try 4 view add facts --file ../outside.md
    has "$stderr" "outside of the work tree"
    ln -s ../outside.md link.md
    try 4 view add facts --file link.md
    mkdir ../elsewhere && ln -s ../elsewhere dir
    try 4 view add facts --file dir/f.md
    try 4 view add facts --file .git/f.md
    try 2 view add facts --file nowhere/f.md
    # a file that becomes a link later is not followed
    mkdir sub
    strata view add facts --file sub/f.md >/dev/null
    rm -r sub && ln -s ../elsewhere sub
    try 0 fact set x y 1
    has "$stderr" "a symbolic link leads from"
    same "$(ls ../elsewhere)" ""
    rm sub && mkdir sub && ln -s ../../outside.md sub/f.md
    try 0 fact set x y 2
    has "$stderr" "is a symbolic link"
    same "$(cat ../outside.md)" secret
}

@test "a file that cannot be had: what it is, and what to do" {
    ln -s nowhere dangling.md
    mkdir dir
    try 2 track dangling.md
    has "$stderr" "'dangling.md' is a symbolic link that leads nowhere"
    (cd dir && run --separate-stderr "$STRATA" track ../dangling.md && has "$stderr" "leads nowhere")
    try 2 append nodir/x.md text
    has "$stderr" "make the directory first"
    try 2 append dir text
    has "$stderr" "'dir' is no regular file"
    try 1 untrack new.md
    has "$stderr" '`strata track` lists what is tracked'
    try 2 track --seen --take new.md
    has "$stderr" "--seen and --take do not go together"
}

@test "hostile files: taken as they are, or refused with a reason" {
    # 50 MB of text around a block
    yes "$(printf 'x%.0s' {1..99})" | head -c 50000000 >big.md
    cp big.md saved
    try 0 view add facts --file big.md
    strata fact set x y 1 >/dev/null
    cmp -n 50000000 big.md saved
    has "$(tail -2 big.md)" "| x | y | 1 |"
    strata view remove facts >/dev/null
    # no document, and it says why
    try 2 track saved
    has "$stderr" "the limit of a tracked file is 245760"
    # merged, in the middle and at both ends
    { echo ours; cat saved; } >ours
    { head -c 25000000 saved; echo theirs; tail -c 25000000 saved; printf end; } >theirs
    try 0 merge-driver saved ours theirs 7 big.md
    same "$(stat -c %s ours)" 50000015
    same "$(head -n 1 ours) $(grep -n theirs ours) $(tail -c 3 ours)" "ours 250002:theirs end"
    same "$(grep -vc '^x\{99\}$' ours)" 3
    rm saved ours theirs
    # over the limit: named, and untouched
    truncate -s 70000000 huge.md
    try 2 view add facts --file huge.md
    has "$stderr" "over the limit"
    same "$(stat -c %s huge.md)" 70000000
    same "$(strata view list 2>&1)" "strata: note: there are no views here; \`strata view add heartbeat\` makes one"
    # NUL bytes and invalid UTF-8 inside a block stay, as text below it
    strata view add facts --file f.md >/dev/null
    sed -i '$ i | a | b | \x00 |\n| a | c | \xff\xfe |' f.md
    try 0 status
    has "$stderr" "2 lines are no line of the view facts"
    same "$(tail -2 f.md | tr '\0' '0' | xxd -p)" "$(printf '| a | b | 0 |\n| a | c | \xff\xfe |\n' | xxd -p)"
    try 1 fact get a b
    # a line of 10 MB
    { head -n -1 f.md; printf '| a | d | '; head -c 10000000 /dev/zero | tr '\0' y; printf ' |\n'; } >g.md
    mv g.md f.md
    try 0 status
    same "$(tail -1 f.md | wc -c)" 10000013
}

@test "read-only state: files are left alone, reading works" {
    strata view add facts >/dev/null
    sed -i '$ i | x | y | 1 |' FACTS.md
    cp FACTS.md saved
    [ "$(id -u)" -ne 0 ] || skip "root writes everywhere"
    chmod -R a-w .git/strata
    try 0 status
    chmod -R u+w .git/strata
    cmp FACTS.md saved
}

# --- documents ---------------------------------------------------------------------------------------

# a second copy of the workspace beside it, with the same file tracked
second_copy() {
    mkdir ../other && (cd ../other && git init -q . && "$STRATA" init --name other) >/dev/null
    (cd ../other && "$STRATA" merge-state ../work) >/dev/null 2>&1
    (cd ../other && "$STRATA" track MEMORY.md) >/dev/null
}

exchange() {
    (cd ../other && "$STRATA" merge-state ../work) >/dev/null 2>&1
    strata merge-state ../other >/dev/null 2>&1
    (cd ../other && "$STRATA" merge-state ../work) >/dev/null 2>&1
}

@test "a tracked file: edits become versions, the history has them all" {
    printf 'one\ntwo\n' >MEMORY.md
    try 0 track MEMORY.md
    same "$output" "MEMORY.md is tracked"
    same "$(strata track)" MEMORY.md
    echo three >>MEMORY.md
    try 0 status
    same "$(strata fact get file:MEMORY.md text)" "$(cat MEMORY.md)"
    sed -i 's/one/1/' MEMORY.md
    strata status >/dev/null
    try 0 history file:MEMORY.md
    same "$(wc -l <<<"$output")" 3
    has "$output" 'one\ntwo\n'
    try 4 fact set file:MEMORY.md text x
    try 4 fact unset file:MEMORY.md
    # the same bytes again are no version
    touch MEMORY.md && strata status >/dev/null
    same "$(strata history file:MEMORY.md | wc -l)" 3
    try 0 untrack MEMORY.md
    echo four >>MEMORY.md
    strata status >/dev/null
    hasnt "$(strata fact get file:MEMORY.md text)" four
}

@test "a tracked file in two copies: separate changes are merged, alike on both" {
    printf '%s\n' one two three four five >MEMORY.md
    strata track MEMORY.md >/dev/null
    second_copy
    cmp MEMORY.md ../other/MEMORY.md
    sed -i 's/one/1/' MEMORY.md && echo six >>MEMORY.md
    (cd ../other && sed -i 's/three/3/' MEMORY.md && echo seven >>MEMORY.md)
    strata status >/dev/null
    (cd ../other && "$STRATA" status) >/dev/null
    # both merge before they see what the other made of it
    cp -r ../other ../frozen
    strata merge-state ../frozen >/dev/null 2>&1
    (cd ../other && "$STRATA" merge-state ../work) >/dev/null 2>&1
    exchange
    cmp MEMORY.md ../other/MEMORY.md
    same "$(sort MEMORY.md | tr '\n' ' ')" "1 3 five four seven six two "
    same "$(strata pending)" "nothing is pending"
    same "$(cd ../other && "$STRATA" pending)" "nothing is pending"
    same "$(strata status | grep checksum)" "$(cd ../other && "$STRATA" status | grep checksum)"
}

@test "a tracked file in two copies: an overlap keeps both versions, and is settled once" {
    printf '%s\n' one two three four >MEMORY.md
    strata track MEMORY.md >/dev/null
    second_copy
    sed -i 's/two/here/; s/four/4/' MEMORY.md
    (cd ../other && sed -i 's/two/there/; s/one/1/' MEMORY.md)
    strata status >/dev/null
    sleep 0.01
    (cd ../other && "$STRATA" status) >/dev/null
    exchange
    cmp MEMORY.md ../other/MEMORY.md
    # what does not overlap is in, whoever wrote it
    same "$(tr '\n' ' ' <MEMORY.md)" "1 there three 4 "
    try 0 pending
    has "$output" "there"
    has "$output" "here"
    local id
    id=$(strata pending --json | jq -r '.data.pending[0].id')
    local value='1
here
three
4
'
    strata resolve "$id" --value "$value" >/dev/null
    same "$(tr '\n' ' ' <MEMORY.md)" "1 here three 4 "
    exchange
    (cd ../other && "$STRATA" status) >/dev/null
    cmp MEMORY.md ../other/MEMORY.md
    same "$(cd ../other && "$STRATA" pending)" "nothing is pending"
}

@test "a text of several parts: a version is settled whole, whichever part is named" {
    seq -f 'line %.0f of a text that is longer than one value' 3000 >MEMORY.md
    strata track MEMORY.md >/dev/null
    second_copy
    # Both change the same lines at the beginning and near the end; one becomes shorter by a part.
    sed -i 's/^line 5 .*/here 5/; s/^line 2000 .*/here 2000/; 2200,$d' MEMORY.md
    (cd ../other && sed -i 's/^line 5 .*/there 5/; s/^line 2000 .*/there 2000/' MEMORY.md)
    strata status >/dev/null
    sleep 0.01
    (cd ../other && "$STRATA" status) >/dev/null
    cp MEMORY.md ../mine
    cp ../other/MEMORY.md ../theirs
    exchange
    cp -r ../other ../again
    local version id
    for version in text text.2; do
        id=$(strata pending --json | jq -r --arg a "$version" '.data.pending[] | select(.attribute == $a) | .id')
        [ -n "$id" ]
        local number
        number=$(strata pending --json | jq -r --arg id "$id" '[.data.pending[] | select(.id == $id) |
            .items[].value | test("\nhere ")] | index(true) + 1')
        [ -n "$number" ]
        strata resolve "$id" --take "$number" >/dev/null
        same "$(grep -c '^here' MEMORY.md) $(grep -c '^there' MEMORY.md) $(grep -c "^line" MEMORY.md)" "2 0 2197"
        cmp MEMORY.md ../mine
        same "$(strata pending)" "nothing is pending"
        # the other version is still to be had
        has "$(strata history file:MEMORY.md text)" "there 5"
        [ "$version" = text ] || break
        # once more on the other copy, by a part in the middle
        cd ../again
    done
    cd ../work
    exchange
    (cd ../other && "$STRATA" status) >/dev/null
    cmp MEMORY.md ../other/MEMORY.md
    same "$(cd ../other && "$STRATA" pending)" "nothing is pending"
}

@test "a text that becomes shorter and longer again has no parts of before" {
    seq -f 'line %.0f of a text that is longer than one value' 3000 >MEMORY.md
    strata track MEMORY.md >/dev/null
    second_copy
    cp -r ../other ../third
    cp MEMORY.md ../long
    head -n 5 ../long >../other/MEMORY.md
    (cd ../other && "$STRATA" status) >/dev/null
    "$STRATA" -C ../third merge-state ../other >/dev/null 2>&1
    same "$(wc -l <../third/MEMORY.md)" 5
    (cd ../third && sed 's/$/ again/' ../long >MEMORY.md && "$STRATA" status) >/dev/null
    strata merge-state ../third >/dev/null 2>&1
    cmp MEMORY.md ../third/MEMORY.md
    same "$(strata pending)" "nothing is pending"
}

# a process that died while it replaced MEMORY.md: its journal, and what it displaced
died_replacing() {
    printf 'MEMORY.md\t1\t%016x\t%016x\n' 1 2 >"$views/writing"
}

@test "what was displaced and cannot be read or kept stays, until a person has looked at it" {
    echo one >MEMORY.md
    strata track MEMORY.md >/dev/null
    local views
    views=$(strata status --json | jq -r .data.state_dir)/views
    died_replacing
    ln -s /etc/hostname .MEMORY.md.strata-old
    run --separate-stderr strata append MEMORY.md two
    [ "$status" -ne 0 ]
    has "$stderr" strata-old
    [ -L .MEMORY.md.strata-old ] && [ -e "$views/writing" ]
    rm .MEMORY.md.strata-old
    # neither the text of the journal nor what that was made from: it would be put aside
    echo precious >.MEMORY.md.strata-old
    echo no directory >"$views/aside"
    run --separate-stderr strata append MEMORY.md two
    [ "$status" -ne 0 ]
    same "$(cat .MEMORY.md.strata-old)" precious
    rm "$views/aside"
    strata append MEMORY.md two
    same "$(cat "$views"/aside/*)" precious
    same "$(tail -n 1 MEMORY.md)" two
    [ ! -e "$views/writing" ]
}

@test "an editor with an older text: merged against the base that it had, if that is known" {
    printf '%s\n' one two three >MEMORY.md
    strata track MEMORY.md >/dev/null
    strata track --seen MEMORY.md --agent bob >/dev/null
    cp MEMORY.md bobs
    sed -i 's/one/1/' MEMORY.md
    strata status >/dev/null
    # bob writes what he made of the older text
    echo four >>bobs && cp bobs MEMORY.md
    try 0 status --agent bob
    same "$(tr '\n' ' ' <MEMORY.md)" "1 two three four "
    has "$(strata history file:MEMORY.md --limit 1)" "(bob on desk"
}

@test "an editor with an older text: base unknown, what it removes of others is listed and kept" {
    printf '%s\n' one two three >MEMORY.md
    strata track MEMORY.md >/dev/null
    strata track --seen MEMORY.md --agent bob >/dev/null
    cp MEMORY.md old
    sed -i '1i added by bob' MEMORY.md
    strata status --agent bob >/dev/null
    same "$(head -1 MEMORY.md)" "added by bob"
    echo four >>old && cp old MEMORY.md
    try 0 status
    has "$stderr" '1 line that bob added lately was removed: "added by bob"'
    same "$(tr '\n' ' ' <MEMORY.md)" "one two three four "
    try 0 pending --unseen
    has "$output" "added by bob"
    has "$(strata history file:MEMORY.md)" "added by bob"
    # what the same editor takes out again is his own
    sed -i /four/d MEMORY.md
    try 0 status
    hasnt "$stderr" lately
    same "$(strata pending --unseen --json | jq '.data.pending | length')" 1
}

# what everybody has read of NOTES.md, whatever this work tree has
shared() {
    strata fact get file:NOTES.md text | xargs
}

@test "branches, stash, reset, rebase, bisect: what Git puts into a tracked file is no edit" {
    git config user.name a
    git config user.email a@b
    git checkout -q -b main
    for i in 1 2 3 4; do
        printf '%s\n' "$i" >>NOTES.md
        git add NOTES.md
        GIT_COMMITTER_DATE=2020-01-0${i}T00:00:00Z git commit -qm "$i"
        [ "$i" != 3 ] || strata track NOTES.md >/dev/null
    done
    git branch feature HEAD~1
    strata append NOTES.md uncommitted >/dev/null
    local all="1 2 3 4 uncommitted"
    same "$(shared)" "$all"
    # another work tree, on an older branch, where it is tracked too
    git worktree add -q ../second feature
    (cd ../second && "$STRATA" track NOTES.md >/dev/null && git checkout -q NOTES.md && "$STRATA" status >/dev/null 2>&1)
    same "$(xargs <../second/NOTES.md)" "1 2 3"
    same "$(shared)" "$all"
    # thrown away here, not everywhere; and told
    try 0 status
    git stash -q
    try 0 status
    has "$stderr" "NOTES.md has an older text, as Git has it: the file is left so"
    try 0 track --json
    json '.data.files == [{file: "NOTES.md", pattern: false, held: true}]'
    try 0 prime
    has "$output" "## Files that Git has put back"
    has "$output" "- NOTES.md"
    git stash pop -q
    try 0 track
    same "$output" "NOTES.md"
    same "$(shared)" "$all"
    git reset -q --hard
    strata status >/dev/null 2>&1
    same "$(xargs <NOTES.md)" "1 2 3 4"
    same "$(shared)" "$all"
    # Git can go where it wants: nothing is written in between
    git bisect start HEAD HEAD~3 >/dev/null
    strata status >/dev/null 2>&1
    git bisect bad >/dev/null
    try 0 status
    has "$stderr" "NOTES.md has a text of another commit"
    git bisect reset 2>/dev/null
    strata status >/dev/null 2>&1
    same "$(shared)" "$all"
    same "$(git status --porcelain)" ""
    (cd ../second && git commit -q --allow-empty -m more && git rebase -q main && "$STRATA" status >/dev/null 2>&1)
    same "$(shared)" "$all"
    # a merge that stops: its markers are nobody's text
    try 0 track NOTES.md
    git commit -qam "with it"
    (cd ../second && "$STRATA" untrack NOTES.md >/dev/null && printf 'zero\n1\n' >NOTES.md && git commit -qam zero)
    git merge -q feature >/dev/null 2>&1 || true
    grep -q '^<<<<<<<' NOTES.md
    try 0 status
    has "$stderr" "NOTES.md has a merge that is not resolved"
    same "$(shared)" "$all"
    printf 'zero\n1\n2\n3\n4\nuncommitted\n' >NOTES.md
    git commit -qam merged
    same "$(shared)" "zero $all"
    try 0 track --take NOTES.md
    same "$output" "NOTES.md is the document's text"
    try 1 track --take nowhere.md
    try 2 track --take
}

@test "documents of every size up to the limit, and what is refused" {
    head -c 100000 /dev/zero | tr '\0' 'e' | fold -w 79 | sed 's/e$/é/' >MEMORY.md
    printf 'no end' >>MEMORY.md
    cp MEMORY.md saved
    try 0 track MEMORY.md
    rm MEMORY.md
    try 0 status
    has "$stderr" "MEMORY.md is gone; its text is kept"
    [ ! -e MEMORY.md ]
    try 0 track MEMORY.md
    cmp MEMORY.md saved
    # every byte of the largest one escaped
    head -c 245760 /dev/zero | tr '\0' '\n' >full.md
    try 0 track full.md
    rm full.md && strata track full.md >/dev/null
    same "$(stat -c %s full.md)" 245760
    # one more, and others that are no text
    echo >>full.md
    try 0 status
    has "$stderr" "the limit of a tracked file is 245760"
    same "$(stat -c %s full.md)" 245761
    printf 'a\0b\n' >nul.md
    try 2 track nul.md
    has "$stderr" 'line 1 of nul.md has the control character \x00'
    printf 'a\nb\xff\n' >bytes.md
    try 2 track bytes.md
    has "$stderr" "is not UTF-8"
    same "$(od -c bytes.md | head -1)" "0000000   a  \n   b 377  \n"
    printf 'a\r\nb' >crlf.md
    try 0 track crlf.md
    printf '\r\nc\r\n' >>crlf.md
    strata status >/dev/null
    same "$(strata fact get file:crlf.md text | od -c | head -1)" "$(printf 'a\r\nb\r\nc\r\n\n' | od -c | head -1)"
    same "$(strata track | tr '\n' ' ')" "MEMORY.md full.md crlf.md "
    try 1 track missing.md
    try 3 view add heartbeat --file missing.md || true
}

@test "a pattern tracks what matches, later files too" {
    mkdir memory && echo a >memory/a.md && echo t >memory/t.txt
    try 0 track 'memory/*.md'
    same "$(strata fact get file:memory/a.md text)" a
    sleep 0.05
    echo b >memory/b.md
    strata status >/dev/null
    same "$(strata fact get file:memory/b.md text)" b
    try 1 fact get file:memory/t.txt text
    try 2 track '**/*.md'
}

@test "append: many at once, tracked or not; each line once and whole" {
    printf 'no newline' >log.md
    strata track log.md >/dev/null
    local i
    for i in $(seq 12); do
        strata append log.md "line $i" --wait 60s >/dev/null &
        strata append plain.log "line $i" --wait 60s >/dev/null &
    done
    wait
    same "$(grep -c '^line [0-9]*$' plain.log)" 12
    same "$(sort -u plain.log | wc -l)" 12
    same "$(grep -c '^line [0-9]*$' log.md)" 12
    same "$(strata fact get file:log.md text)" "$(cat log.md)"
    has "$(head -1 log.md)" "no newline"
    # the editor's line beside them is kept
    echo by hand >>log.md
    strata append log.md last >/dev/null
    same "$(tail -2 log.md)" $'by hand\nlast'
    try 4 append ../outside.md x
    try 2 append log.md "$(head -c 70000 /dev/zero | tr '\0' x)"
}

@test "append: where another file has taken the name meanwhile, the line is in that one, too" {
    echo one >plain.log
    ln plain.log was
    STRATA_DIE_AT=append.opened STRATA_THERE='echo other >new && mv new plain.log' "$STRATA_MORTAL" append plain.log two
    same "$(xargs <plain.log)" "other two"
    same "$(xargs <was)" "one two"
}

# --- files as agents really write them ---------------------------------------------------------------

agent_files() {
    data=${STRATA_SHARED:-$BATS_TEST_DIRNAME/../../shared}/data/agent-files
    [ -d "$data" ] || skip "no data"
    mkdir real && cp "$data"/*.md real && chmod u+w real/*
}

# lines_kept FROM TO: every line of FROM is in TO
lines_kept() {
    local missing
    missing=$(comm -23 <(sort -u "$1") <(sort -u "$2"))
    [ -z "$missing" ] || { echo "missing in $2: $missing"; return 1; }
}

@test "agents' files: edited in two copies, merged; an overlap keeps both" {
    local f
    agent_files
    cp -r real ../saved
    strata track real/*.md >/dev/null
    mkdir ../other && (cd ../other && git init -q . && "$STRATA" init --name other) >/dev/null
    (cd ../other && "$STRATA" merge-state ../work --adopt && mkdir real && cd ../saved &&
        "$STRATA" -C ../other track $(printf 'real/%s ' *.md)) >/dev/null 2>&1
    diff -r real ../other/real
    sed -i '1i a line of this copy' real/*.md
    for f in real/*.md; do
        printf '%s\n' '' 'a line of the other' >>"../other/$f"
    done
    # the same line of one of them, on both
    sed -i '3s/.*/ours/' real/beads.AGENTS.md
    sed -i '2s/.*/theirs/' ../other/real/beads.AGENTS.md
    strata status >/dev/null
    (cd ../other && "$STRATA" status) >/dev/null
    exchange
    diff -r real ../other/real
    same "$(grep -L 'a line of this copy' real/*.md; grep -L 'a line of the other' real/*.md)" ""
    for f in real/*.md; do
        [ "$f" = real/beads.AGENTS.md ] || lines_kept "../saved/${f#real/}" "$f"
    done
    same "$(strata pending --json | jq '.data.pending | length')" 1
    has "$(strata history file:real/beads.AGENTS.md --json)" ours
    has "$(strata history file:real/beads.AGENTS.md --json)" theirs
}

@test "agents' files: a view in each leaves the rest as it is; instructions are named" {
    local f size warned=0
    agent_files
    for f in real/*HEARTBEAT*.md; do
        cp "$f" HEARTBEAT.md
        try 3 view add heartbeat
        has "$stderr" "has instructions that agents follow"
        has "$stderr" "--file AGENTS-STATUS.md"
        cmp "$f" HEARTBEAT.md
        warned=$((warned + 1))
    done
    [ "$warned" -ge 4 ]
    # what OpenClaw makes of it when there is nothing to do
    sed -n '/^#/p' "$data/openclaw.HEARTBEAT.template-note.txt" >HEARTBEAT.md
    try 0 view add heartbeat
    cp -r real ../saved
    strata fact set x y 1 >/dev/null
    for f in real/*.md; do
        strata view add facts --file "$f" >/dev/null
    done
    strata fact set x y 2 >/dev/null
    sed -i 's/| x | y | 2 |/| x | y | 3 |/' real/gastown.AGENTS.md
    same "$(strata fact get x y)" 3
    for f in real/*.md; do
        size=$(stat -c %s "../saved/${f#real/}")
        cmp -n "$size" "../saved/${f#real/}" "$f"
        has "$(tail -n 3 "$f")" "| x | y | 3 |"
    done
    for f in real/*.md; do
        strata view remove facts --file "$f" >/dev/null
        cmp -n "$(stat -c %s "../saved/${f#real/}")" "../saved/${f#real/}" "$f"
        hasnt "$(tail -n 3 "$f")" strata:
    done
}

# --- watching ----------------------------------------------------------------------------------------

log_has() {
    strata_quiet=$("$STRATA" log --limit 0 --state-dir "$PWD/.git/strata" --dir / 2>/dev/null)
    [[ $strata_quiet == *"$1"* ]]
}

@test "watch: edits are taken in at once, by write, by rename and by swap file" {
    strata fact set x y 1 >/dev/null
    strata view add facts >/dev/null
    echo one >MEMORY.md && strata track MEMORY.md >/dev/null
    "$STRATA" watch >watch.out 2>&1 3>&- &
    watcher=$!
    eventually test -e watch.out
    sleep 0.3
    sed 's/| x | y | 1 |/| x | y | 2 |/' FACTS.md >new && cat new >FACTS.md
    eventually log_has "x y = 2"
    sed -i 's/| x | y | 2 |/| x | y | 3 |/' FACTS.md
    eventually log_has "x y = 3"
    cp FACTS.md .FACTS.md.swp && sed -i 's/| x | y | 3 |/| x | y | 4 |/' .FACTS.md.swp && mv .FACTS.md.swp FACTS.md
    eventually log_has "x y = 4"
    echo two >>MEMORY.md
    eventually log_has 'one\ntwo'
    # what others write is shown at once
    "$STRATA" fact set x z 5 --state-dir "$PWD/.git/strata" --dir / >/dev/null
    eventually grep -q '| x | z | 5 |' FACTS.md
    kill "$watcher"
    grep -q 'taken in' watch.out
}
