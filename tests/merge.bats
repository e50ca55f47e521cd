#!/usr/bin/env bats
# merge.bats - the merge driver as Git calls it, and on hostile and real files.
#
#   STRATA=build/strata bats tests/merge.bats

load helpers

setup() {
    program_alone
    export STRATA_AGENT=ann GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
    data=${STRATA_SHARED:-$BATS_TEST_DIRNAME/../../shared}/data
    mkdir "$BATS_TEST_TMPDIR/work"
    cd "$BATS_TEST_TMPDIR/work"
}

ours() { # what main has to say, not committed
    printf '%s\n' '{"id":"a","status":"closed"}' \
        '{"id":"b","title":"ours","updated_at":"2026-01-01T00:00:00Z"}' '{"id":"c"}' '{"id":"x"}' >t.jsonl
}

# Two branches: main adds x and closes a, side adds y and labels a; both rename b.
repository() {
    git init -q -b main .
    "$STRATA" init --git-merge '*.jsonl' >/dev/null
    printf '%s\n' '{"id":"a","status":"open"}' '{"id":"b","title":"b"}' '{"id":"c"}' >t.jsonl
    git add t.jsonl
    git commit -qm base
    git checkout -qb side
    printf '%s\n' '{"id":"a","status":"open","labels":["l"]}' \
        '{"id":"b","title":"theirs","updated_at":"2026-01-02T00:00:00Z"}' '{"id":"y"}' >t.jsonl
    git commit -qam side
    git checkout -q main
    ours
}

wanted='{"id":"a","labels":["l"],"status":"closed"}
{"id":"b","title":"theirs","updated_at":"2026-01-02T00:00:00Z"}
{"id":"x"}
{"id":"y"}'

merged() {
    same "$(jq -cS . "${1:-t.jsonl}" | sort)" "$wanted"
}

@test "git merge, rebase, cherry-pick, stash pop, a second work tree" {
    repository
    git stash -q
    git merge -q side 2>/dev/null
    git stash pop 2>"$BATS_TEST_TMPDIR/err"
    merged
    grep -q '"b" "title": changed by both' "$BATS_TEST_TMPDIR/err"
    grep -q '"ours"' "$BATS_TEST_TMPDIR/err"
    git reset -q --hard HEAD~1
    git checkout -q main
    ours
    git commit -qam ours
    for how in 'merge -q side' 'cherry-pick side' 'rebase -q side'; do
        git branch -f keep
        # shellcheck disable=SC2086 # a list of words
        git $how
        merged
        git reset -q --hard keep
    done
    git worktree add -q ../tree keep
    (cd ../tree && git checkout -q -b other && git merge -q side && merged)
}

pending() { # pending FILTER
    "$STRATA" pending --json | jq -er ".data.pending | $1"
}

@test "what a merge has listed is pending in a workspace, until somebody settles it; the file stays" {
    repository
    git commit -qam ours
    git merge -q side 2>err
    has "$(cat err)" "1 of them: strata pending"
    same "$(pending 'length')" 1
    same "$(pending '.[0] | "\(.entity) \(.attribute)"')" "file:t.jsonl b: title (merge)"
    same "$(pending '.[0].items | map([.value, .shown]) | sort | tostring')" \
        '[["\"ours\"",false],["\"theirs\"",true]]'
    try 0 resolve "$(pending '.[0].id')" --take 1
    has "$stderr" "the file is as the merge left it"
    same "$(pending 'length')" 0
    merged
    # The same again after it was settled: the two of now, not what was settled then.
    git reset -q --hard HEAD~1
    git merge -q side 2>err
    same "$(pending '.[0].items | length')" 2
    # Another merge at the same place, before that was settled: nothing goes away.
    git reset -q --hard HEAD~1
    sed -i 's/"ours"/"mine"/' t.jsonl
    git commit -qam mine
    git merge -q side 2>err
    same "$(pending '.[0].items | map(.value) | unique | tostring')" '["\"mine\"","\"ours\"","\"theirs\""]'
}

@test "deleted here, changed there: pending, unless only a time or a hash has changed; lines of Markdown" {
    git init -q -b main .
    "$STRATA" init --git-merge '*.jsonl' --git-merge '*.md' >/dev/null
    printf '%s\n' '{"id":"a","t":1}' '{"id":"b","updated_at":"2026-01-01T00:00:00Z"}' '{"id":"c"}' >t.jsonl
    printf '1\n2\n3\n' >t.md
    git add . && git commit -qm base
    git checkout -qb side
    printf '%s\n' '{"id":"a","t":2,"n":"é\u0001"}' \
        '{"id":"b","updated_at":"2026-01-02T00:00:00Z","content_hash":"x"}' '{"id":"c"}' >t.jsonl
    printf '1\ntheirs\n3\n' >t.md
    git commit -qam side
    git checkout -q main
    echo '{"id":"c"}' >t.jsonl
    printf '1\nours\n3\n' >t.md
    git commit -qam ours
    git merge -q side 2>err
    has "$(cat err)" '"a": deleted by ours, changed by theirs: ["t","n"]: kept'
    has "$(cat err)" '"b": deleted by ours, changed by theirs: ["updated_at","content_hash"]: kept'
    same "$(wc -l <t.jsonl)" 3
    same "$(pending 'map("\(.entity) \(.attribute)") | sort | join(", ")')" \
        "file:t.jsonl a (merge), file:t.md line 2 (merge)"
    same "$(pending '.[] | select(.attribute == "a (merge)") | .items | map(.kind) | sort | tostring')" \
        '["absent","value"]'
    same "$(pending '.[] | select(.attribute == "a (merge)") | .items[] | select(.shown) | .value')" \
        '{"id":"a","t":2,"n":"é\u0001"}'
}

@test "a workspace that cannot be written, and none at all: the merge is the same, nothing is lost" {
    repository
    git commit -qam ours
    before=$("$STRATA" log --json | jq '.data.events | length')
    exec 9>>.git/strata/append.lock
    flock 9
    git merge -q side 2>err 9>&-
    exec 9>&-
    has "$(cat err)" '"b" "title": changed by both'
    has "$(cat err)" "could not be kept for \`strata pending\`: the append lock"
    merged
    same "$("$STRATA" log --json | jq '.data.events | length')" "$before"
    # No workspace.
    rm -rf .git/strata
    git reset -q --hard HEAD~1
    git merge -q side 2>err
    has "$(cat err)" '"b" "title": changed by both'
    hasnt "$(cat err)" "pending"
    merged
    [ ! -e .git/strata ] && [ ! -e .strata ]
}

@test "init --git-merge says what it does, can be repeated, and uninit takes it back exactly" {
    git init -q -b main .
    "$STRATA" init >/dev/null
    printf '*.png binary' >.git/info/attributes
    cp .git/info/attributes before
    cp .git/config config
    "$STRATA" init --dry-run --git-merge '*.jsonl' | grep -q 'would merge \*.jsonl'
    cmp .git/info/attributes before
    cmp .git/config config
    "$STRATA" init --git-merge '*.jsonl' >/dev/null
    cp .git/info/attributes first
    "$STRATA" init --git-merge '*.jsonl' >/dev/null
    cmp .git/info/attributes first
    "$STRATA" init --git-merge '*.jsonl' --git-merge 'QUEUE.md' >/dev/null
    same "$(git check-attr merge QUEUE.md a/b.jsonl c.png | cut -d: -f3 | tr -d '\n')" " strata strata unset"
    [ -z "$(find .git/hooks -type f ! -name '*.sample')" ]
    "$STRATA" uninit | grep -q 'taken back: git-merge'
    cmp .git/info/attributes before
    cmp .git/config config
    run "$STRATA" init --git-merge 'a b'
    same "$status" 2
}

# driver NAME STATUS: merges base, ours, theirs
driver() {
    run --separate-stderr "$STRATA" merge-driver base ours theirs 7 "$1"
    same "$status" "$2"
}

@test "what is broken or twice is kept and reported with its line" {
    printf '%s\n' '{"id":"a"}' >base
    printf '%s\n' '{"id":"a"}' '<<<<<<< x' '{"id":"a","n":1}' >ours
    printf '%s\n' '{"id":"a"}' '{"id":"b"' >theirs
    driver x.jsonl 0
    same "$(sort ours)" "$(printf '%s\n' '{"id":"a"}' '<<<<<<< x' '{"id":"a","n":1}' '{"id":"b"' | sort)"
    [[ $stderr == *'line 2 of ours is no JSON'* ]]
    [[ $stderr == *'line 2 of theirs is no JSON'* ]]
    [[ $stderr == *'line 3 of ours: a second record with the id "a"'* ]]
}

@test "hostile input: long lines, NUL, invalid UTF-8, CRLF, no final newline; the mode stays" {
    printf '{"id":"a"}\r\n{"id":"z"}' >base
    { printf '{"id":"a"}\r\n\xff\xfe\r\n{"id":"z"}\r\n{"id":"long","v":"'; head -c 10000000 /dev/zero | tr '\0' y
      printf '"}'; } >ours
    printf '{"id":"a","t":1}\r\n\0\0\r\n{"id":"z"}' >theirs
    chmod 640 ours
    driver x.jsonl 0
    same "$(stat -c %a ours)" 640
    same "$(wc -c <ours)" 10000058
    same "$(grep -ac '"t":1' ours)$(grep -c $'\xff\xfe' -a ours)" 11
    { head -c 68000000 /dev/zero | tr '\0' y; } >theirs
    cp ours before
    driver x.jsonl 1
    [[ $stderr == *'line 1 of theirs is over the limit of 67108864 bytes'* ]]
    cmp ours before
}

@test "a tracker of 1,000,000 lines: within ten times its size of memory, what is wrong in it by its line" {
    seq 1000000 | sed 's/.*/{"id":"t-&","title":"one of a million","status":"open","labels":["a","b"]}/' >base
    sed -e '7~100s/open/closed/' -e '50~1000d' base >ours
    sed -e '7~90s/"open"/"open","n":1/' -e '60~1000d' base >theirs
    printf '%s\n' '{"id":"t-3","again":1}' 'no JSON' >>ours # 1,000 lines were deleted before
    printf '%s\n' '{"id":"new"}' '<<<<<<< x' >>theirs
    size=$(($(stat -c %s base) / 1024))
    memory=$((size * 10))
    [ -z "${STRATA_SANITIZE:-}" ] || memory=unlimited # a sanitizer maps terabytes
    (ulimit -v "$memory" && timeout 120 "$STRATA" merge-driver base ours theirs 7 x.jsonl 2>err)
    has "$(cat err)" 'line 999001 of ours: a second record with the id "t-3"'
    has "$(cat err)" 'line 999002 of ours is no JSON'
    has "$(cat err)" 'line 999002 of theirs is no JSON'
    same "$(wc -l <ours)" $((1000000 - 2000 + 4))
    same "$(grep -c '"closed"' ours)" 10000
    same "$(grep -c '"n":1' ours)" "$(grep -c '"n":1' theirs)"
    grep -q '"id":"t-6307",.*"status":"closed","n":1' ours # by both
}

@test "texts: clean as Git, Markdown keeps both, others get markers" {
    printf '1\n2\n3\n' >base
    printf '1\nours\n3\n' >ours
    printf '1\ntheirs\n3\n' >theirs
    cp ours saved
    driver x.md 0
    same "$(tr '\n' ' ' <ours)" "1 ours theirs 3 "
    [[ $stderr == *'changed by both, kept both'* ]]
    cp saved ours
    driver x.c 1
    same "$(cat ours)" "$(printf '1\n<<<<<<< ours\nours\n=======\ntheirs\n>>>>>>> theirs\n3\n')"
    printf '<!-- strata:begin facts 0 -->\n1\n<!-- strata:end facts -->\n' >base
    sed s/1/2/ base >ours
    sed s/1/3/ base >theirs
    driver notes.txt 0
    same "$(sed -n 2,3p ours | tr '\n' ' ')" "2 3 "
}

@test "real merges of JSON Lines: no loss" {
    [ -d "$data/merges-jsonl" ] || skip "no data"
    python3 "$BATS_TEST_DIRNAME/merge_judge.py" "$STRATA" "$data/merges-jsonl" >&3
}

@test "random merges: no loss in either direction; merge(x, x, y) = y" {
    python3 "$BATS_TEST_DIRNAME/merge_judge.py" "$STRATA" --random 40
}

@test "real merges of Markdown: as Git where Git is clean, else no line is lost" {
    [ -d "$data/merges-md" ] || skip "no data"
    python3 "$BATS_TEST_DIRNAME/merge_judge.py" "$STRATA" --markdown "$data/merges-md" >&3
}
