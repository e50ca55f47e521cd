# shellcheck shell=bash
# helpers.bash - what the tests of the program share; each .bats file begins with `load helpers`.

bats_require_minimum_version 1.5.0

# the first lines of every setup: the program by its full path, and nothing of the caller's world
program_alone() {
    case $STRATA in
    /*) ;;
    *) STRATA=$PWD/${STRATA:?path of the program} ;;
    esac
    unset STRATA_DIR STRATA_STATE_DIR STRATA_AGENT GIT_DIR GIT_WORK_TREE CLAUDE_ENV_FILE
}

# the rest of most setups: a workspace of its own, to be in; with `git`, in a repository
in_workspace() { # in_workspace [git]
    export STRATA_AGENT=ann
    mkdir "$BATS_TEST_TMPDIR/work"
    cd "$BATS_TEST_TMPDIR/work" || return
    [ "${1:-}" != git ] || git init -q .
    "$STRATA" init --new --name desk >/dev/null # without --new it asks git about remotes
}

strata() {
    "$STRATA" "$@"
}

# try STATUS ARGUMENT...: run with standard output in $output and standard error in $stderr
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

# person STATUS ARGUMENT...: as a person at a terminal; what is printed, on both, goes to $output
person() {
    local expected=$1 line
    shift
    printf -v line ' %q' "$STRATA" "$@"
    run env -u STRATA_AGENT -u CLAUDECODE -u CLAUDE_CODE_ENTRYPOINT -u CODEX_SANDBOX \
        -u OPENCLAW_AGENT -u OPENCLAW_SESSION script -qec "$line" /dev/null </dev/null
    if [ "$status" -ne "$expected" ]; then
        echo "a person:$line: exit $status, not $expected: $output"
        return 1
    fi
}

# jq on the JSON of the last try
json() {
    jq -e "$@" <<<"$output" >/dev/null || { echo "not so: $* in $output"; return 1; }
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

# ran COUNT: so many effects are in the file that Strata never reads
ran() {
    [ "$(wc -l <"$EFFECTS")" -eq "$1" ] || { echo "ran $(wc -l <"$EFFECTS") times, not $1"; return 1; }
}

# until a command succeeds; 10 s at most
eventually() {
    local i
    for i in {1..500}; do
        "$@" && return 0
        sleep 0.02
    done
    echo "never so: $*"
    return 1
}
