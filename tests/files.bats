#!/usr/bin/env bats
# files.bats - views and tracked documents as agents and people meet them: files that any editor writes.
#
#   STRATA=build/strata bats tests/files.bats

bats_require_minimum_version 1.5.0

setup() {
    case $STRATA in
    /*) ;;
    *) STRATA=$PWD/${STRATA:?path of the program} ;;
    esac
    unset STRATA_DIR STRATA_STATE_DIR
    export STRATA_AGENT=ann
    mkdir "$BATS_TEST_TMPDIR/work"
    cd "$BATS_TEST_TMPDIR/work"
    git init -q .
    "$STRATA" init --name desk >/dev/null
}

strata() {
    "$STRATA" "$@"
}

# run with standard output in $output and standard error in $stderr; first the exit status
try() {
    local expected=$1
    shift
    run --separate-stderr "$STRATA" "$@"
    if [ "$status" -ne "$expected" ]; then
        echo "strata $*: exit $status, not $expected"
        echo "stdout: $output"
        echo "stderr: $stderr"
        return 1
    fi
}

same() {
    [ "$1" = "$2" ] || { echo "got: $1"; echo "not: $2"; return 1; }
}

has() {
    [[ $1 == *"$2"* ]] || { echo "\`$2' is not in: $1"; return 1; }
}

hasnt() {
    [[ $1 != *"$2"* ]] || { echo "\`$2' is in: $1"; return 1; }
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
    strata view add facts --file notes.md >/dev/null
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
