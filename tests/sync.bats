#!/usr/bin/env bats
# sync.bats - exchange through Git, on real repositories: what travels, what must not, and what
# people do to clones.
#
#   STRATA=build/strata bats tests/sync.bats
#
# Every test has a bare repository `hub` and clones of it, with a workspace in each.

load helpers

git_alone() {
    export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@example.org
    export GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@example.org
    export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$BATS_FILE_TMPDIR/gitconfig HOME=$1
    cd "$1" || return
}

# a hub and a clone, made once: a copy costs a tenth of what git takes
setup_file() {
    git_alone "$BATS_FILE_TMPDIR"
    # No process of its own that looks whether there is something to tidy up.
    printf '[%s]\n %s = false\n' maintenance auto receive autogc >gitconfig
    git -c init.defaultBranch=main init -q --template= seed
    (cd seed && echo one >file && git add file && git commit -qm one)
    git clone -q --bare --template= seed hub
    git -C hub remote remove origin
    git clone -q --template= hub clone
}

setup() {
    program_alone
    export STRATA_AGENT=ann
    git_alone "$BATS_TEST_TMPDIR"
    cp -r "$BATS_FILE_TMPDIR/hub" .
}

clone() { # clone NAME: `git clone hub NAME`
    cp -r "$BATS_FILE_TMPDIR/clone" "$1"
    sed -i "s|url = .*|url = $PWD/hub|" "$1/.git/config"
}

# clones of the hub with a workspace: that of the first. An empty one joins with its first sync.
clones() {
    for c in "$@"; do
        clone "$c"
        "$STRATA" init --new --name "$c" "$c" >/dev/null
        sync "$c" origin --yes
    done
}

sync() { # sync CLONE [ARGUMENT...]
    local c=$1
    shift
    "$STRATA" -C "$c" sync "$@" >/dev/null 2>"sync.err" || { cat sync.err; return 1; }
}

# try_in STATUS CLONE ARGUMENT...: `try` in the clone
try_in() {
    local expected=$1 clone=$2
    shift 2
    try "$expected" -C "$clone" "$@"
}

write() { # write CLONE ENTITY [COUNT]
    for i in $(seq "${3:-1}"); do
        "$STRATA" -C "$1" fact set "$2" "n$i" "$i" --no-flush
    done >/dev/null
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

# all clones, when nothing changes any more, show the same
converge() {
    local c
    for c in "$@"; do sync "$c"; done
    # The last one has seen all of them, and the others see that now.
    for c in "${@:1:$#-1}"; do sync "$c"; done
    same "$(for c in "$@"; do digest "$c"; done | sort -u | wc -l)" 1
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
    try_in 0 a sync
    has "$output" "origin: sent 1"
    try_in 0 b sync
    has "$output" "took in 1"
    same "$(get b api port)" 8080
    "$STRATA" -C b fact set api port 9090 --agent bob >/dev/null
    converge a b
    same "$(get a api port)" 9090
    has "$("$STRATA" -C a history api port)" "bob on b"
    try_in 0 a sync
    same "$output" "origin: nothing new here or there"
}

@test "two remotes: nobody passes on what another wrote; what has seen it waits, and that is told" {
    clones a b
    git init -q --bare other
    sync b "$PWD/other" --yes
    "$STRATA" -C b fact set api port 1 >/dev/null
    sync b "$PWD/other"
    sync a "$PWD/other" --yes
    "$STRATA" -C a fact set api port 2 >/dev/null
    sync a
    clone c
    "$STRATA" init --name c c >/dev/null
    try_in 0 c sync origin --yes
    has "$stderr" "wait for earlier ones that are not there yet: of a copy that has to sync with this remote, too"
    same "$(get c api port)" nothing
    sync b origin
    sync c
    same "$(get c api port)" 2
    # what git says is told on one line
    mv hub gone
    try_in 6 a sync origin
    has "$stderr" "; fatal: "
}

@test "what a sync merges into tracked files travels with the same sync" {
    clones a b
    printf '%s\n' one two three >a/M.md
    "$STRATA" -C a track M.md >/dev/null
    sync a
    sync b
    "$STRATA" -C b track M.md >/dev/null # writes it
    sed -i s/one/1/ a/M.md
    sed -i s/three/3/ b/M.md
    sync a
    sync b # sends its own edit, and the two merged
    same "$(tr '\n' ' ' <b/M.md)" "1 two 3 "
    sync a
    cmp a/M.md b/M.md
    same "$(digest a)" "$(digest b)"
    same "$("$STRATA" -C a history file:M.md | wc -l)" 4
}

@test "heartbeats travel with what is published" {
    clones a b
    "$STRATA" -C a beat "indexing" --agent ann
    sleep 0.05
    "$STRATA" -C a beat "indexing" --agent ann # changes the slot only: no record says so
    "$STRATA" -C b beat "reviewing" --agent bob
    sync a
    sync b
    sync a
    agents() {
        "$STRATA" -C "$1" agent list --json | jq -c '.data.agents[] | [.agent, .replica, .state, .status, .beat_at]'
    }
    same "$(agents b)" "$(agents a)"
    same "$(agents b | jq -r '.[0:4] | join(" ")')" "$(printf '%s\n' 'ann a alive indexing' 'bob b alive reviewing')"
    "$STRATA" -C b agent list --json | jq -e '.data.agents[] | select(.agent == "ann") | .beat_at > .status_at'
    # The later one stays, also when the earlier one comes again.
    "$STRATA" -C b beat "elsewhere now" --agent ann
    sync b
    sync a
    sync b
    same "$(agents b)" "$(agents a)"
    same "$(agents a | jq -r 'select(.[0] == "ann") | .[0:4] | join(" ")')" "ann b alive elsewhere now"
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
    old=$(git -C hub rev-parse "$own")
    write a y 2
    sync a
    git -C hub merge-base --is-ancestor "$old" "$own"
    same "$(git -C hub for-each-ref --format='%(refname)' | grep -cv '^refs/strata/')" 1
}

@test "nobody has agreed: nothing is sent, and the answer says how many records it would be" {
    clone a
    "$STRATA" init --name a a >/dev/null
    write a x 3
    try_in 4 a sync origin
    has "$stderr" "3 records"
    same "$(git -C hub for-each-ref refs/strata)" ""
    try_in 0 a sync origin --dry-run
    same "$(git -C hub for-each-ref refs/strata)" ""
    try_in 0 a sync origin --yes
    same "$(git -C hub for-each-ref refs/strata | wc -l)" 1
    write a y 1
    try_in 0 a sync # it is known now
    has "$output" "sent 1"
}

# answer STATUS TEXT ARGUMENT...: as a person at a terminal who types TEXT; both outputs in $output
answer() {
    local expected=$1 text=$2 line
    shift 2
    printf -v line ' %q' "$STRATA" "$@"
    run bash -c 'printf "%s\n" "$1" | script -qec "$2" /dev/null' - "$text" "$line"
    [ "$status" -eq "$expected" ] || { echo "exit $status, not $expected: $output"; return 1; }
}

@test "a person is asked once for each remote, and again when it leads elsewhere" {
    clone a
    git init -q --bare other
    "$STRATA" init --name a a >/dev/null
    write a x 3
    answer 4 n -C a sync origin
    has "$output" "3 records of this copy would become readable"
    has "$output" "$PWD/hub"
    same "$(git -C hub for-each-ref refs/strata)" ""
    answer 0 y -C a sync origin
    has "$output" "sent 3"
    write a y 1
    answer 0 n -C a sync origin
    hasnt "$output" "readable"
    has "$output" "sent 1"
    answer 4 n -C a sync origin --ledger
    has "$output" "of the ledger with the results of operations"
    git -C a remote set-url origin "$PWD/other"
    answer 4 n -C a sync origin
    has "$output" "$PWD/other"
    same "$(git -C other for-each-ref refs/strata)" ""
}

slow_git() { # a git whose calls over the network take two seconds longer
    mkdir bin
    cat >bin/git <<EOF
#!/bin/sh
PATH=$PATH
case " \$* " in *" ls-remote "*) sleep 2 ;; esac
exec git "\$@"
EOF
    chmod +x bin/git
}

@test "what takes long is told to a person, and to nobody else" {
    clones a
    write a x
    slow_git
    PATH=$PWD/bin:$PATH answer 0 "" -C a sync
    has "$output" "strata: packing ("
    write a y
    PATH=$PWD/bin:$PATH try_in 0 a sync
    hasnt "$stderr" "packing"
}

@test "--watch goes on by itself, and through a remote that is away for a while" {
    clones a b
    "$STRATA" -C a --json sync --watch 1s >lines 2>err 3>&- &
    watching=$!
    "$STRATA" -C b fact set x y 1 >/dev/null
    sync b
    eventually grep -q '"taken":1,' lines
    same "$(get a x y)" 1
    mv hub away
    eventually grep -q unavailable err
    mv away hub
    "$STRATA" -C a fact set x z 2 >/dev/null
    eventually sh -c '"$1" -C b sync >/dev/null 2>&1; [ "$("$1" -C b fact get x z 2>/dev/null)" = 2 ]' - "$STRATA"
    kill "$watching"
    wait "$watching" || true
    jq -e .remote lines >/dev/null
}

@test "never by force: what came to the own reference meanwhile is built upon" {
    clones a
    own=$(own_ref a)
    # A git that somebody outruns right before the first push.
    mkdir bin
    cat >bin/git <<EOF
#!/bin/sh
PATH=$PATH
case " \$* " in
*" push "*)
    if [ ! -e "$PWD/outran" ]; then
        new=\$(git -C "$PWD/hub" commit-tree -p "$own" -m other "$own^{tree}")
        git -C "$PWD/hub" update-ref "$own" "\$new"
        echo "\$new" >"$PWD/outran"
    fi
    ;;
esac
exec git "\$@"
EOF
    chmod +x bin/git
    write a x 2
    PATH=$PWD/bin:$PATH sync a
    git -C hub merge-base --is-ancestor "$(cat outran)" "$own"
    clones b
    same "$(get b x n2)" 2
}

@test "what is not on disk is not published" {
    clones a
    write a x 2
    (cd a && STRATA_POINTS="$BATS_TEST_TMPDIR/points" "$STRATA_MORTAL" sync >/dev/null 2>&1)
    same "$(grep -m 1 -x 'flush.done\|sync.committed' points)" flush.done
}

# --- joining --------------------------------------------------------------------------------------

@test "init in a clone whose remote carries a workspace joins it, with its records" {
    clones a
    "$STRATA" -C a fact set api port 8080 >/dev/null
    sync a
    clone b
    run --separate-stderr "$STRATA" init --name b b
    same "$status" 0
    same "$(status_of b workspace)" "$(status_of a workspace)"
    same "$(get b api port)" 8080
    [ "$(status_of b replica)" != "$(status_of a replica)" ]
}

@test "a remote that cannot be asked: nothing is made, unless a new workspace is meant" {
    clone b
    git -C b remote set-url origin "$PWD/gone"
    run --separate-stderr "$STRATA" init b
    same "$status" 6
    [ ! -e b/.git/strata/identity ]
    run --separate-stderr "$STRATA" init --new b
    same "$status" 0
}

@test "another workspace is refused on both sides" {
    clones a
    write a x
    sync a
    clone b
    "$STRATA" init --new --name b b >/dev/null
    write b y
    try_in 3 b sync origin --yes
    has "$stderr" "another workspace"
    same "$(get b x n1)" nothing
}

# --- what people do to clones ---------------------------------------------------------------------

@test "branches, stash -a, reset --hard, clean -ffdx, gc: nothing is lost" {
    clones a b
    write a x 3
    (
        cd a
        echo junk >junk
        git checkout -q -b other
        git stash -q -a
        "$STRATA" fact set x on other >/dev/null
        git checkout -q main
        git reset -q --hard
        git clean -q -ffdx
        git reflog expire --expire=now --all
        git gc -q --prune=now
    )
    sync a
    (cd a && git gc -q --prune=now && git clean -q -ffdx)
    (cd hub && git gc -q --prune=now)
    write a y 2
    converge a b
    same "$(get b x on)" other
    same "$(get b x n3)" 3
    same "$(get b y n2)" 2
    no_counter_twice $(logs a b)
}

@test "work trees share the state; a deleted one takes nothing along; a bare repository will do" {
    git clone -q --bare hub bare
    git -C bare worktree add -q ../one main
    git -C bare worktree add -q ../two -b two
    "$STRATA" init --name bare one >/dev/null
    "$STRATA" -C one fact set x from one >/dev/null
    "$STRATA" -C two fact set y from two >/dev/null
    rm -rf one
    git -C bare worktree prune
    same "$(get two x from)" one
    "$STRATA" -C two sync origin --yes >/dev/null
    clones b
    same "$(get b x from)" one
    same "$(get b y from)" two
}

@test "a state elsewhere, by a relative path" {
    clone a
    "$STRATA" --state-dir a/elsewhere init --name a a >/dev/null
    "$STRATA" --state-dir a/elsewhere fact set x y z >/dev/null
    try_in 0 a --state-dir a/elsewhere sync origin --yes
    clones b
    same "$(get b x y)" z
}

@test "a shallow clone exchanges everything" {
    clones a
    write a x 3
    sync a
    git clone -q --depth 1 "file://$PWD/hub" b
    "$STRATA" init --name b b >/dev/null
    sync b origin --yes
    same "$(get b x n3)" 3
    write b y 2
    sync b
    sync a
    same "$(get a y n2)" 2
}

@test "push --mirror from elsewhere deletes our references: they are pushed again" {
    clones a b
    write a x 3
    sync a
    git clone -q --mirror "$PWD/hub" elsewhere
    (cd elsewhere && for r in $(git for-each-ref --format='%(refname)' refs/strata); do
        git update-ref -d "$r"
    done && git push -q --mirror)
    same "$(git -C hub for-each-ref refs/strata)" ""
    sync a
    sync b
    same "$(git -C hub for-each-ref refs/strata | wc -l)" 2
    converge a b
    same "$(get b x n3)" 3
}

@test "a copied clone: both go on, no number is given twice, nothing is lost" {
    clones a
    write a x 2
    sync a
    cp -r a c
    write a y 2
    write c z 2
    sync a
    sync c
    write a y2 1
    converge a c
    same "$(get a z n2)" 2
    same "$(get c y n2)" 2
    no_counter_twice $(logs a c)
}

@test "a state restored from an older copy: what it had published comes back, no number twice" {
    clones a b
    write a x 2
    sync a
    cp -r a/.git/strata old
    write a y 2
    sync a
    rm -rf a/.git/strata
    cp -r old a/.git/strata
    write a z 2
    converge a b
    same "$(get a y n2)" 2
    same "$(get a z n2)" 2
    same "$(get b y n2)" 2
    no_counter_twice $(logs a b)
}

# The same files with the bytes of then: nothing on this disk tells that time went back.
put_back() { # put_back DIRECTORY OLD
    chmod -R u+w "$1"
    comm -23 <(cd "$1" && find . -type f | sort) <(cd "$2" && find . -type f | sort) |
        (cd "$1" && xargs rm -f)
    cp -r "$2/." "$1" # writes into the files that are there
}

@test "a snapshot of the disk put back: what was published comes back, what was written since goes on" {
    clones a b
    write a x
    sync a
    cp -r a/.git old
    write a y
    sync a
    put_back a/.git old
    sync a
    same "$(get a y n1)" 1
    write a z
    converge a b
    same "$(get b z n1)" 1
    no_counter_twice $(logs a b)
    # Once more, and this time something is written before anybody is asked.
    cp -r a/.git older
    write a y 2
    sync a
    put_back a/.git older
    write a u 3
    try_in 0 a sync
    has "$stderr" "3 records were written again in a new epoch"
    write a v
    epoch_of() {
        cat $(logs a) | jq -r --arg e "$1" 'select(any(.o[]; .e == $e)) | .e' | tail -n 1
    }
    same "$(epoch_of u)" "$(epoch_of v)"
    converge a b
    for clone in a b; do
        same "$(get $clone y n2)" 2
        same "$(get $clone u n3)" 3
        same "$(get $clone v n1)" 1
    done
    no_counter_twice $(logs a b)
    try_in 0 a sync
    [[ "$stderr" != *"written again"* ]]
}

@test "the state put back in place and written since, Git newer: both lives go on, and no number means two things" {
    clones a b
    write a x
    "$STRATA" -C a fact set port n before >/dev/null
    "$STRATA" -C a add "the first task" >/dev/null
    sync a
    cp -r a/.git/strata old
    write a y 2
    "$STRATA" -C a fact set port n published >/dev/null
    "$STRATA" -C a count builds +2 >/dev/null
    "$STRATA" -C a add "published" >/dev/null
    sync a
    put_back a/.git/strata old
    write a z 3
    "$STRATA" -C a fact set port n first >/dev/null
    "$STRATA" -C a fact set port n kept >/dev/null
    "$STRATA" -C a count builds +3 >/dev/null
    "$STRATA" -C a add "made again" --after 1 >/dev/null
    sync b
    "$STRATA" -C b fact set w n 1 >/dev/null # b has seen what was published
    try_in 0 a sync
    has "$stderr" "written again in a new epoch"
    has "$stderr" "others know #2 to #2 for something else"
    converge a b
    for clone in a b; do
        same "$(get $clone y n2)" 2
        same "$(get $clone z n3)" 3
        same "$("$STRATA" -C $clone count builds --json | jq .data.total)" 5
        # Written at the same time as what was published: a person decides. What it replaced stays replaced.
        same "$("$STRATA" -C $clone fact get port n --json | jq -r '[.data.items[].value] | sort | join(" ")')" \
            "kept published"
        same "$("$STRATA" -C $clone show 2 --json | jq -r .data.title)" published
        again=$("$STRATA" -C $clone list --json | jq -r '.data[] | select(.title == "made again") | .seq')
        case $again in 2@a-*) ;; *) echo "got: $again"; false ;; esac
        same "$("$STRATA" -C $clone show "$again" --json | jq -c '.data.depends')" "[1]"
    done
    no_counter_twice $(logs a b)
    [ -n "$(ls a/.git/strata/quarantine)" ]
}

@test "three copies under random syncs show the same in the end" {
    clones a b c
    RANDOM=7
    for i in $(seq 25); do
        set -- a b c
        shift $((RANDOM % 3))
        case $((RANDOM % 4)) in
        0) sync "$1" ;;
        1) "$STRATA" -C "$1" fact add "set$((RANDOM % 2))" tag "$((RANDOM % 5))" >/dev/null ;;
        2) "$STRATA" -C "$1" fact unset "e$((RANDOM % 3))" n >/dev/null 2>&1 || true ;;
        *) "$STRATA" -C "$1" fact set "e$((RANDOM % 3))" n "$i" >/dev/null ;;
        esac
    done
    converge a b c
    no_counter_twice $(logs a b c)
}

@test "ssh is git's own: what is configured is used" {
    clones a
    cat >ssh <<'EOF'
#!/bin/sh
shift # the host
eval "$*"
EOF
    chmod +x ssh
    clone b
    git -C b remote set-url origin "ssh://somewhere$PWD/hub"
    write a x
    sync a
    GIT_SSH_COMMAND="$PWD/ssh" GIT_SSH_VARIANT=simple "$STRATA" init --name b b >/dev/null
    same "$(get b x n1)" 1
}

# --- the ledger -----------------------------------------------------------------------------------

# once CLONE STATUS KEY: with an effect that is counted
once() {
    try "$2" -C "$1" once --key "$3" -- sh -c 'echo "$0" >>"$EFFECTS"; echo "ran $0"' "$3"
}

person_any() { # what a person tries, refused or not
    person 0 "$@" >/dev/null || true
}

no_key_twice() {
    same "$(sort "$EFFECTS" | uniq -d)" ""
}

ledgers() { # clones a and b, whose ledgers travel; a decides
    export EFFECTS=$BATS_TEST_TMPDIR/effects
    : >"$EFFECTS"
    clones a b
    sync a origin --ledger --yes
    sync b origin --ledger --yes
}

coordinator() { # coordinator CLONE FILTER
    "$STRATA" -C "$1" coordinator show --json | jq -er ".data | $2"
}

same_ledger() {
    same "$(coordinator a '.position, .head')" "$(coordinator b '.position, .head')"
}

@test "the ledger stays here until somebody agrees; then others can read it, and only that" {
    clones a b
    export EFFECTS=$PWD/effects
    once a 0 k
    sync a
    same "$(git -C hub ls-tree -r --name-only "$(own_ref a)" | grep -c '^strong-')" 0
    has "$(git -C hub show "$(own_ref a):strata")" "\"head\":\"$(coordinator a .head)\"" # but its head
    try_in 4 a sync origin --ledger
    has "$stderr" "entries of the ledger, with results,"
    same "$(git -C hub ls-tree -r --name-only "$(own_ref a)" | grep -c '^strong-')" 0
    try_in 0 a sync origin --ledger --yes
    has "$output" "the ledger: sent"
    try_in 0 b sync
    has "$output" "the ledger: took in"
    try_in 0 b op show k
    has "$output" "ran k"
    same_ledger
    once b 116 k
    once b 116 other
    try_in 6 b lock acquire l
    once a 0 l
    sync a # as agreed, from now on
    sync b
    try_in 0 b op show l
    try_in 0 a sync
    same "$output" "origin: nothing new here or there"
    same "$(sort effects)" "$(printf 'k\nl')"
}

@test "the coordinator moves over sync: sealed there, accepted here, and back; no key runs twice" {
    ledgers
    once a 0 k
    sync a
    sync b
    person 0 -C a coordinator move --to "$(coordinator b .place)" --reason travels --by pat
    once a 116 new
    once b 116 new
    person 3 -C b coordinator move --accept # it has not arrived
    sync a
    sync b
    person 0 -C b coordinator move --accept --by pat
    once b 0 new
    once b 0 k
    same "$output" "ran k"
    sync b
    sync a
    same_ledger
    once a 116 newer
    try_in 0 a op show new
    person 0 -C b coordinator move --to "$(coordinator a .place)" --reason back --by pat
    sync b
    sync a
    person 0 -C a coordinator move --accept --by pat
    once a 0 newer
    once a 0 new
    sync a
    sync b
    same_ledger
    same "$(sort "$EFFECTS")" "$(printf 'k\nnew\nnewer')"
}

@test "moved by force from what sync brought: the rest is in doubt, and the old one stands down" {
    ledgers
    once a 0 k
    sync a
    sync b
    once a 0 after # b knows nothing of it
    person 0 -C b coordinator move --force --reason "a burned" --by pat
    once b 117 after
    once b 0 k
    # It did not burn.
    once a 0 later
    sync b
    try_in 0 a sync
    has "$stderr" "have grown apart"
    once a 116 late
    same_ledger
    grep -rq '"k":"later"' a/.git/strata/quarantine/strong-*/log
    sync b
    once b 117 later
    sync b
    sync a
    same_ledger
    no_key_twice
}

@test "a coordinator put back in place that went on: what it has told of its ledger takes its role" {
    export EFFECTS=$BATS_TEST_TMPDIR/effects
    clones a
    once a 0 k
    sync a # the ledger stays here, its head is told
    cp -r a/.git/strata old
    once a 0 l
    sync a
    put_back a/.git/strata old
    once a 0 m # as many entries, but others
    try_in 0 a sync
    has "$stderr" "not decided here any more"
    once a 116 n
    person 0 -C a coordinator move --force --reason "only l was lost" --by pat
    once a 0 m
    same "$output" "ran m" # its result, once more
    once a 117 l
    try_in 0 a sync
    [[ "$stderr" != *"not decided"* ]]
    same "$(sort "$EFFECTS")" "$(printf 'k\nl\nm')"
}

@test "a coordinator put back to an earlier moment: its role is gone, its own publication brings the rest" {
    ledgers
    once a 0 k
    sync a
    cp -r a/.git/strata old
    once a 0 l
    sync a
    rm -rf a/.git/strata
    cp -r old a/.git/strata
    once a 116 l
    sync a
    try_in 0 a op show l
    sync b
    same_ledger
    person 0 -C a coordinator move --force --reason "put back" --by pat
    once a 0 l
    same "$output" "ran l"
    sync a
    sync b
    same_ledger
    no_key_twice
}

@test "keys asked for on random copies, moves and syncs: no key runs twice" {
    ledgers
    RANDOM=11
    for i in $(seq 30); do
        set -- a b
        [ $((RANDOM % 2)) = 0 ] || set -- b a
        case $((RANDOM % 8)) in
        0 | 1 | 2) sync "$1" ;;
        3 | 4 | 5) key=k$((RANDOM % 6))
            "$STRATA" -C "$1" once --key "$key" -- sh -c 'echo "$0" >>"$EFFECTS"' "$key" \
                >/dev/null 2>&1 || true ;;
        6) person_any -C "$1" coordinator move --to "$(coordinator "$2" .place)" --reason r ;;
        7) person_any -C "$1" coordinator move --accept ;;
        esac
    done
    converge a b
    same_ledger
    no_key_twice
    [ "$(wc -l <"$EFFECTS")" -ge 2 ]
    [ "$(coordinator a .generation)" -ge 1 ]
}

@test "a ledger that was changed on the way is not taken in; the records are" {
    ledgers
    once a 0 k
    write a x 1
    sync a
    ref=$(own_ref a)
    exchange_blob "$ref" '	strong-' 's/"k":"k"/"k":"j"/'
    try_in 0 b sync
    has "$stderr" "the ledger of a was not taken in"
    same "$(get b x n1)" 1
    same "$(coordinator b .position)" 0
    once a 0 l
    git -C hub update-ref -d "$ref"
    sync a
    sync b
    same_ledger
}

# --- growth ---------------------------------------------------------------------------------------

stored() { # stored REPOSITORY: bytes of all its objects
    git -C "$1" cat-file --batch-all-objects --batch-check='%(objectsize:disk)' | awk '{n += $1} END {print n}'
}

@test "growth: many syncs cost little more than the records compressed once" {
    git init -q --bare empty
    git init -q a
    "$STRATA" init --name a a >/dev/null
    for i in $(seq 4); do
        # Texts of which each is another, as records are.
        seq "$i"00001 "$i"03000 | awk '{printf "{\"entity\":\"service-%d\",\"attribute\":\"note\",\"value\":\"%d was deployed, build %d, by the night shift\"}\n", $1, $1, $1 * 7919 % 1000003}' >facts.jsonl
        "$STRATA" -C a import facts.jsonl >/dev/null
        "$STRATA" -C a sync "$PWD/empty" --yes >/dev/null
    done
    compressed=$(cat a/.git/strata/log/*/*.jsonl | gzip -6 | wc -c)
    [ "$compressed" -gt 100000 ]
    for r in a empty; do
        [ $(($(stored "$r") * 100)) -le $((compressed * 150)) ] || { echo "$r: $(stored "$r"), compressed $compressed"; false; }
    done
    echo "# stored $(stored empty) bytes; compressed once they are $compressed" >&3
    # One line after the other: the listing stays short.
    for i in $(seq 16); do
        write a "$i"
        "$STRATA" -C a sync "$PWD/empty" >/dev/null
    done
    [ "$(git -C empty ls-tree -r --name-only "$(own_ref a)" | grep -c '^log-')" -le 10 ]
}

# --- interruptions --------------------------------------------------------------------------------

@test "killed at every step: the next sync finishes the work" {
    ledgers
    write b b0
    sync b
    write a a0
    once a 0 k0
    rm -f points
    (cd a && STRATA_POINTS="$BATS_TEST_TMPDIR/points" "$STRATA_MORTAL" sync >/dev/null 2>&1)
    labels=$(grep '^sync\.\|^intake\.' points | sort -u)
    [ "$(echo "$labels" | grep -c '^sync\.')" -ge 7 ] || { echo "only $labels"; return 1; }
    n=0
    for label in $labels; do
        n=$((n + 1))
        case $label in
        sync.hashed | sync.committed | sync.referenced | sync.pushed) ;; # what came was taken in long before
        *) write b "b$n"; sync b ;;
        esac
        write a "a$n"
        once a 0 "k$n"
        run env STRATA_DIE_AT="$label" "$STRATA_MORTAL" -C a sync
        same "$label $status" "$label 137"
        sync a
        same "$label $(get b "b$n" n1)" "$label $(get a "b$n" n1)"
    done
    once a 0 last
    sync a
    run env STRATA_DIE_AT=sync.ledger "$STRATA_MORTAL" -C b sync
    same "$status" 137
    converge a b
    for i in $(seq "$n"); do
        same "a$i $(get b "a$i" n1)" "a$i 1"
    done
    same "$("$STRATA" -C b op list --json | jq -r '.data[].key' | sort)" "$( (seq -f k%.0f 0 "$n"; echo last) | sort)"
    same_ledger
    no_key_twice
    no_counter_twice $(logs a b)
    git -C a fsck --strict >/dev/null 2>fsck.err || { cat fsck.err; return 1; }
}

# meanwhile LABEL CLONE COMMAND: a sync of the clone, in the middle of which the command is run
meanwhile() {
    rm -f reached
    run --separate-stderr env STRATA_DIE_AT="sync.$1" STRATA_THERE="touch reached; $3" "$STRATA_MORTAL" -C "$2" sync
    [ -e reached ] || { echo "no sync came to $1"; return 1; }
}

@test "gc and repack in the middle of a sync and between, pruning at once: no record lost" {
    clones a b
    # what `git gc --prune=now` does, without that which has nothing to do with objects
    local n=0 label tidy='git -C a repack -adq; git -C a prune --expire=now'
    write b b
    sync b
    for label in hashed committed referenced; do
        n=$((n + 1))
        write a "a$n"
        meanwhile "$label" a "$tidy"
        # What nothing refers to yet is away: then git says so, and the next one does it again.
        case $label in
        hashed | committed) [ "$status" -ne 0 ] && has "$stderr" "git" ;;
        *) same "$label $status" "$label 0" ;;
        esac
    done
    git -C a maintenance run --quiet --task=gc
    git -C hub gc -q --prune=now
    # One that looked before our reference was there for what is needed, and then takes away the rest.
    write a late
    touch before
    meanwhile referenced a 'find a/.git/objects/?? -type f -newer before -delete'
    write a later
    sync a
    # Or of what it has only the records.
    write a lone
    meanwhile referenced a 'for o in $(git -C a ls-tree -r "$(git -C a for-each-ref --format="%(refname)" refs/strata)" |
        cut -c 13-52); do rm -f a/.git/objects/*/${o#??}; done'
    sync a
    sync b
    for i in $(seq "$n"); do
        same "a$i $(get b "a$i" n1)" "a$i 1"
    done
    same "$(get b late n1)$(get b later n1)$(get b lone n1)$(get a b n1)" 1111
    git -C a fsck --strict --connectivity-only >/dev/null 2>fsck.err || { cat fsck.err; return 1; }
}

# --- somebody hostile -----------------------------------------------------------------------------

forge() { # forge REF MODE NAME FILE: adds an entry to the tree of a reference of the hub
    local tree commit
    tree=$({
        git -C hub ls-tree "$1" | grep -v "	$3\$" || true
        printf '%s blob %s\t%s\n' "$2" "$(git -C hub hash-object -w --stdin <"$4")" "$3"
    } | git -C hub mktree)
    commit=$(git -C hub commit-tree -p "$1" -m forged "$tree")
    git -C hub update-ref "$1" "$commit"
}

# exchange_blob REF PATTERN SED: the last piece that fits gets other bytes of the same size, under its name
exchange_blob() {
    local old new tree
    old=$(git -C hub ls-tree -r "$1" | grep "$2" | tail -n 1 | cut -f1 | cut -d' ' -f3)
    new=$(git -C hub cat-file blob "$old" | sed "$3" | git -C hub hash-object -w --stdin)
    [ "$old" != "$new" ]
    git -C hub ls-tree -r "$1" | sed "s/$old/$new/" |
        GIT_DIR=hub GIT_INDEX_FILE="$PWD/index" git update-index --index-info
    tree=$(GIT_DIR=hub GIT_INDEX_FILE="$PWD/index" git write-tree)
    git -C hub update-ref "$1" "$(git -C hub commit-tree -p "$1" -m forged "$tree")"
}

@test "a reference with garbage is refused and named; the others are taken in" {
    clones a b
    write b x 2
    sync b
    git -C hub update-ref refs/strata/00000000deadbeef main
    try_in 1 a sync
    has "$stderr" "refs/strata/00000000deadbeef"
    same "$(get a x n2)" 2
}

@test "names that would lead elsewhere, links, oversized pieces: refused, nothing is written there" {
    clones a b
    write b x 2
    sync b
    ref=$(own_ref b)
    good=$(git -C hub rev-parse "$ref")
    echo bad >bad
    head -c 34000000 /dev/zero >big
    # Names of a later version are passed over: nothing is ever written under a name from there.
    forge "$ref" 100644 extra bad
    sync a
    same "$(get a x n2)" 2
    [ -z "$(find . -name extra)" ]
    write b y 2
    for entry in "100644 ..x bad" "120000 log bad" "100644 log-0000000000000001 bad" "100644 log-.. bad" "100644 strata bad" \
        "100644 strata big"; do
        set -- $entry
        git -C hub update-ref "$ref" "$good"
        forge "$ref" "$1" "$2" "$3"
        try_in 1 a sync
        has "$stderr" "$ref"
        same "$(get a y n1)" nothing
    done
    git -C hub update-ref "$ref" "$good"
    sync b
    sync a
    same "$(get a y n1)" 1
}

@test "records changed on the way, or under our own name, are not taken in" {
    clones a b
    write b x 2
    sync b
    ref=$(own_ref b)
    good=$(git -C hub rev-parse "$ref")
    exchange_blob "$ref" '	log-' 's/"v":"1"/"v":"9"/'
    try_in 1 a sync
    has "$stderr" "$ref"
    same "$(get a x n1)" nothing
    # The records of b under the name of a, with the manifest of either.
    git -C hub update-ref -d "$ref"
    own=$(own_ref a)
    kept=$(git -C hub rev-parse "$own")
    git -C hub update-ref "$own" "$(git -C hub commit-tree -p "$own" -m forged "$good^{tree}")"
    try_in 1 a sync
    same "$(get a x n1)" nothing
    rm index
    git -C hub ls-tree -r "$good" |
        sed "/\tstrata$/s/[0-9a-f]\{40\}/$(git -C hub rev-parse "$kept:strata")/" |
        GIT_DIR=hub GIT_INDEX_FILE="$PWD/index" git update-index --index-info
    tree=$(GIT_DIR=hub GIT_INDEX_FILE="$PWD/index" git write-tree)
    git -C hub update-ref "$own" "$(git -C hub commit-tree -p "$kept" -m forged "$tree")"
    try_in 1 a sync
    has "$stderr" "under the name of another replica"
    same "$(get a x n1)" nothing
    git -C hub update-ref "$ref" "$good"
    git -C hub update-ref -d "$own"
    sync a
    same "$(get a x n2)" 2
}
