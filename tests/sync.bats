#!/usr/bin/env bats
# sync.bats - exchange through Git, on real repositories: what travels, what must not, and what
# people do to clones.
#
#   STRATA=build/strata bats tests/sync.bats
#
# Every test has a bare repository `hub` and clones of it, with a workspace in each.

bats_require_minimum_version 1.5.0

setup() {
    case $STRATA in
    /*) ;;
    *) STRATA=$PWD/${STRATA:?path of the program} ;;
    esac
    unset STRATA_DIR STRATA_STATE_DIR GIT_DIR GIT_WORK_TREE
    export STRATA_AGENT=ann HOME=$BATS_TEST_TMPDIR
    export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org
    export GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
    export GIT_CONFIG_NOSYSTEM=1
    cd "$BATS_TEST_TMPDIR"
    git -c init.defaultBranch=main init -q --bare hub
    git -c init.defaultBranch=main init -q seed
    (cd seed && echo one >file && git add file && git commit -qm one && git push -q ../hub main)
}

# clones of the hub with a workspace; the first founds it, the others join
clones() {
    for c in "$@"; do
        git clone -q hub "$c"
        "$STRATA" init --name "$c" "$c" >/dev/null
        sync "$c" origin --yes
    done
}

sync() { # sync CLONE [ARGUMENT...]
    local c=$1
    shift
    "$STRATA" -C "$c" sync "$@" >/dev/null 2>"sync.err" || { cat sync.err; return 1; }
}

# run in clone $2 with standard output in $output and standard error in $stderr
try() {
    local expected=$1 where=$2
    shift 2
    run --separate-stderr "$STRATA" -C "$where" "$@"
    if [ "$status" -ne "$expected" ]; then
        echo "strata -C $where $*: exit $status, not $expected"
        echo "stdout: $output"
        echo "stderr: $stderr"
        return 1
    fi
}

write() { # write CLONE ENTITY [COUNT]
    for i in $(seq "${3:-1}"); do
        "$STRATA" -C "$1" fact set "$2" "n$i" "$i" --no-flush
    done >/dev/null
}

same() {
    [ "$1" = "$2" ] || { echo "got: $1"; echo "not: $2"; return 1; }
}

has() {
    [[ $1 == *"$2"* ]] || { echo "\`$2' is not in: $1"; return 1; }
}

get() {
    "$STRATA" -C "$1" fact get "$2" "$3" 2>/dev/null || echo nothing
}

digest() {
    "$STRATA" -C "$1" status --json | jq -r .data.digest
}

status_of() { # status_of CLONE FILTER
    "$STRATA" -C "$1" status --json | jq -r ".data.$2"
}

own_ref() {
    echo "refs/strata/$(status_of "$1" replica)"
}

# all clones, until nothing changes any more, show the same
converge() {
    for round in 1 2 3; do
        for c in "$@"; do sync "$c"; done
    done
    local first
    first=$(digest "$1")
    for c in "$@"; do same "$(digest "$c")" "$first"; done
}

no_counter_twice() { # no two records of all clones have one number
    cat "$@" | sort -u | jq -r '[.r, .e, (.c | tostring)] | join("-")' | sort | uniq -d >twice
    same "$(cat twice)" ""
}

logs() {
    for c in "$@"; do ls "$c"/.git/strata/log/*/*.jsonl; done
}

# --- exchange -------------------------------------------------------------------------------------

@test "two clones exchange their records over a bare repository" {
    clones a b
    "$STRATA" -C a fact set api port 8080 >/dev/null
    try 0 a sync
    has "$output" "origin: sent 1"
    try 0 b sync
    has "$output" "took in 1"
    same "$(get b api port)" 8080
    "$STRATA" -C b fact set api port 9090 --agent bob >/dev/null
    converge a b
    same "$(get a api port)" 9090
    has "$("$STRATA" -C a history api port)" "bob on b"
    try 0 a sync
    same "$output" "origin: nothing new here or there"
}

@test "written in both at once: pending in both, none lost" {
    clones a b
    "$STRATA" -C a fact set api port 1 >/dev/null
    "$STRATA" -C b fact set api port 2 >/dev/null
    converge a b
    same "$(status_of a pending)" 1
    same "$(status_of b pending)" 1
}

@test "work tree, index and branches are not touched" {
    clones a
    cd a
    echo two >>file
    git add file
    echo three >>file
    echo new >untracked
    before=$(git status --porcelain=v2; git stash list; git for-each-ref refs/heads refs/remotes refs/tags
        git diff; cat .git/config .git/HEAD; sha1sum .git/index)
    "$STRATA" fact set api port 1 >/dev/null
    "$STRATA" sync >/dev/null
    after=$(git status --porcelain=v2; git stash list; git for-each-ref refs/heads refs/remotes refs/tags
        git diff; cat .git/config .git/HEAD; sha1sum .git/index)
    same "$after" "$before"
    [ ! -e .git/FETCH_HEAD ]
}

@test "only the own reference is pushed, and never by force" {
    clones a b
    own=$(own_ref a)
    other=$(own_ref b)
    git -C hub config receive.denyNonFastForwards true
    there=$(git -C hub rev-parse "$other")
    write b x 2
    write a x 2
    sync a
    same "$(git -C hub rev-parse "$other")" "$there"
    git -C hub merge-base --is-ancestor "$own" "$own"
    old=$(git -C hub rev-parse "$own")
    write a y 2
    sync a
    git -C hub merge-base --is-ancestor "$old" "$own"
    same "$(git -C hub for-each-ref --format='%(refname)' | grep -cv '^refs/strata/')" 1
}
